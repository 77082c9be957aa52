# SPDX-License-Identifier: PostgreSQL
"""What meets where the proxy does something of its own: errors that it makes, a BEGIN that it holds
back, blocks that a replica serves, settings in a pipeline. And odd corners of several items."""
from words import (B, C, D, DONE, E, H, P, Q, S, Turn, bind_raw, copy_data, copy_fail, function_call,
                   message, script, statement)

EMPTIED = Q("truncate w")
SEEN = Q("select id from w order by id")
INSERT = P("i", "insert into w values ($1, 1)")

# ---- errors of the proxy's own: what came before them in the batch is undone ----

script("a duplicate statement undoes the write before it", (24, 28), EMPTIED, P("st", "select 1") + S,
       INSERT + B("", "i", ["1"]) + E() + P("st", "select 2") + S, SEEN)
script("a missing unnamed statement undoes the write before it", (24, 26), EMPTIED,
       INSERT + B("", "i", ["1"]) + E() + B("", "") + E() + S, SEEN)
script("a reserved name undoes the write before it", (24, 28), EMPTIED,
       INSERT + B("", "i", ["1"]) + E() + B("", "sg_x") + E() + S, SEEN)
script("an error of the proxy's own fails the transaction", (20, 24), EMPTIED, Q("begin"),
       INSERT + B("", "i", ["1"]) + E() + S, B("", "") + E() + S, Q("select 1"), Q("commit"), SEEN)
script("an error of the proxy's own behind a Flush", (24, 25), P("st", "select 1") + S,
       Turn(statement("select 2") + H, until="C"), Turn(P("st", "select 3") + H, until="E"),
       Turn(statement("select 4") + S), Q("select 5"))
script("errors of the proxy's own in each batch of a flight", (22, 24), P("st", "select 1") + S,
       Turn(*(P("st", "select 1") + S + statement(f"select {i}") + S for i in range(10)),
            until="Z" * 20))

script("what is wrong with a text comes before its name", (23, 28), P("st", "select 1") + S,
       P("st", "nonsense") + S, P("st", "select nowhere") + S, P("st", "select 1; select 2") + S,
       P("st", "") + S, Q("begin"), Q("nonsense"), P("st", "select 2") + S, P("st", "rollback") + S,
       Q("rollback"), P("st", "select 3") + S, B("", "st") + E() + S, statement("select 4") + S)
script("the unnamed statement outlives a Parse that is skipped", (23, 26), P("", "select 1") + S,
       P("x", "nonsense") + P("", "select 2") + S, B("", "") + E() + S,
       P("x", "nonsense") + C("S", "") + P("", "select 3") + S, B("", "") + E() + S,
       Turn(P("x", "nonsense"), Q("select 4"), P("", "select 5"), S), B("", "") + E() + S,
       Turn(P("x", "nonsense"), P("", "select 6"), S, B("", "") + E() + S,
            P("x", "nonsense") + P("", "select 7") + S, P("", "select 8") + S, B("", "") + E() + S,
            until="ZZZZZ"),
       P("x", "select 9") + P("", "nonsense") + P("", "select 10") + S, B("", "") + E() + S)

# ---- a BEGIN that is held back ----

BEGIN, READ_ONLY = Q("begin"), Q("begin read only")
script("BEGIN, then a batch, then COMMIT, in one flight", (20, 22),
       Turn(BEGIN, statement("select 1") + S, Q("commit"), until="ZZZ"), Q("select 2"))
script("BEGIN, then Parse and Flush", (20, 25), BEGIN, Turn(P("", "select 1") + H, until="1"),
       Turn(B("", "") + E() + H, until="C"), Turn(S), Q("rollback"))
script("BEGIN, then a Parse that fails", (20, 23), BEGIN, P("", "nonsense") + S, Q("select 1"),
       Q("rollback"))
script("BEGIN, then a malformed message", (11, 20), BEGIN, Turn(message("D", b"x\0"), S),
       Q("rollback"))
script("BEGIN, then late CopyData", (20, 35), BEGIN, Turn(copy_data("late"), DONE, Q("select 1")),
       Q("commit"))
script("BEGIN, then only Syncs and Closes", (20, 21), BEGIN, Turn(S, S, until="ZZ"),
       C("S", "none") + S, Q("commit"))
script("BEGIN, then a COPY", (20, 36), BEGIN, Q("copy other_fixed to stdout"), Q("commit"))
script("BEGIN, then a FunctionCall", (20, 32), BEGIN, function_call(1397, "-3"), Q("commit"))
script("BEGIN, then several statements", (16, 20), EMPTIED, BEGIN,
       Q("insert into w values (1, 1); select 2; insert into w values (2, 2)"), Q("rollback"), SEEN)
script("BEGIN, then a COMMIT by an extended statement", (20,), BEGIN, statement("commit") + S,
       Q("select 1"))
script("BEGIN, then Terminate", (20, 42), BEGIN, Turn(message("X"), until="$"), ends=True)
script("BEGIN twice, and the second one declares", (20, 37), EMPTIED, BEGIN, READ_ONLY,
       Q("insert into w values (1, 1)"), Q("rollback"), READ_ONLY, Q("begin read write"),
       Q("insert into w values (2, 2)"), Q("commit"), BEGIN,
       statement("begin isolation level repeatable read") + S, Q("show transaction_isolation"),
       Q("rollback"), SEEN)
script("BEGIN by an extended statement with Describe", (20, 21),
       P("b", "begin") + D("S", "b") + B("", "b") + D("P", "") + E() + S, Q("select 1"),
       B("", "b") + E() + S, Q("rollback"))
script("BEGIN twice by extended statements", (20, 37), statement("begin") + S, statement("begin") + S,
       statement("rollback") + S)
script("BEGIN and ROLLBACK many times", (20,), *(Q(w) for _ in range(5)
                                               for w in ("begin", "select 1", "rollback")))
script("BEGIN with a comment and a semicolon", (20,), Q("/* x */ begin ; -- y"), Q("select 1"),
       Q("commit;"))

# ---- blocks that a replica may serve ----

script("a read only block with a cursor", (20, 27), READ_ONLY,
       P("", "select id from fixed order by id") + B("po", "") + E("po", 2) + S, E("po", 2) + S,
       Q("commit"), E("po", 1) + S)
script("a read only block with COPY OUT", (20, 36), READ_ONLY, Q("copy other_fixed to stdout"),
       P("", "copy other_fixed to stdout") + B("", "") + E() + S, Q("commit"))
script("a read only block with errors and savepoints", (20, 23), READ_ONLY, Q("savepoint a"),
       Q("select 1/0"), Q("select 1"), Q("rollback to a"), Q("select 2"), Q("commit"))
script("a read only block with COPY IN", (20, 35), READ_ONLY, Q("copy w from stdin"), Q("rollback"),
       READ_ONLY, Q("select 1"), Q("copy w from stdin"), Q("rollback"), READ_ONLY,
       statement("select 1") + S, statement("copy w from stdin") + statement("select 1") + S,
       Q("rollback"))
script("a read only block with what replicas refuse and a primary does not", (20,), READ_ONLY,
       Q("analyze fixed"), Q("lock table fixed in exclusive mode"), Q("notify nobody"), Q("commit"))
script("a read only block with a write by an extended statement", (20,), READ_ONLY,
       statement("insert into w values (1, 1)") + S, statement("select 1") + S, Q("rollback"))
script("a read only block with prepared statements of before", (20, 26),
       P("st", "select name from fixed where id = $1") + S, READ_ONLY, B("", "st", ["1"]) + E() + S,
       P("in", "select 1") + S, Q("commit"), B("", "in") + E() + B("", "st", ["2"]) + E() + S)
script("a read only block that begins by SET TRANSACTION", (20,), BEGIN,
       Q("set transaction read only"), Q("select 1"), Q("insert into w values (1, 1)"), Q("rollback"))
script("a read only block with settings", (20, 38), READ_ONLY, Q("set local datestyle = 'German'"),
       Q("select date '2026-11-20'"), Q("commit"), Q("select date '2026-11-20'"))
script("a read only block with a notice", (20, 37), READ_ONLY,
       Q("drop table if exists no_such_table"), Q("rollback"))
script("a read only block that is chained", (20,), READ_ONLY, Q("select 1"), Q("commit and chain"),
       Q("show transaction_read_only"), Q("commit"))

# ---- settings in pipelines ----

DATE = "select date '2026-11-20'"
script("SET in the middle of a flight", (22, 38),
       Turn(Q(DATE), Q("set datestyle = 'German'"), Q(DATE), Q("reset datestyle"), Q(DATE),
            until="ZZZZZ"))
script("SET in the middle of a batch", (22, 38),
       statement("set datestyle = 'German'") + statement(DATE) + S, statement(DATE) + S)
script("SET in a batch that fails", (23, 38),
       statement("set datestyle = 'German'") + statement("select 1/0") + S, statement(DATE) + S)
script("SET by a prepared statement, several times", (26, 38), P("st", "set datestyle = 'German'") + S,
       B("", "st") + E() + S, Q(DATE), Q("set datestyle = 'ISO'"), B("", "st") + E() + S, Q(DATE))
script("set_config with a parameter", (38,), P("", "select set_config('datestyle', $1, false)") +
       B("", "", ["German"]) + E() + S, Q(DATE))
script("SET LOCAL in an implicit transaction of a batch", (38,),
       statement("set local datestyle = 'German'") + statement(DATE) + S, Q(DATE))
script("search_path in the middle of a flight", (22, 29),
       Turn(Q("set search_path = s1"), statement("select place from where_am_i") + S,
            Q("set search_path = s2"), statement("select place from where_am_i") + S, until="ZZZZ"))
script("DISCARD ALL by an extended statement", (30, 38), Q("set datestyle = 'German'"),
       P("gone", "select 1") + S, statement("discard all") + S, Q(DATE), B("", "gone") + S)
script("SET ROLE to what may not be", (38,), Q("set role postgres"), Q("select current_user"),
       Q("set session authorization postgres"), Q("select session_user"))

# ---- COPY among other things ----

script("a whole flight of Queries with COPY in both directions", (19, 33, 36), EMPTIED,
       Turn(Q("select 1"), Q("copy w (id, v) from stdin"), copy_data("1\t1\n"), DONE,
            Q("copy w (id) to stdout"), Q("copy w (id, v) from stdin"), copy_data("2\t2\n"), DONE,
            Q("select count(*) from w"), until="ZZZZZ"))
script("COPY IN behind a transaction of the same flight", (19, 33), EMPTIED,
       Turn(BEGIN, Q("insert into w values (9, 9)"), Q("copy w (id, v) from stdin"),
            copy_data("1\t1\n"), copy_fail("no"), Q("select 1"), Q("rollback"), until="ZZZZZ"), SEEN)
script("extended COPY IN in a flight of batches", (22, 33), EMPTIED,
       Turn(statement("select 1") + S, P("", "copy w (id, v) from stdin") + B("", "") + E() + S,
            copy_data("1\t1\n"), DONE, S, statement("select count(*) from w") + S, until="ZZZ"))
script("CopyFail skips the rest of the batch", (23, 34), EMPTIED,
       Turn(P("", "copy w (id, v) from stdin") + B("", "") + E() + H, until="G"),
       Turn(copy_fail("x"), statement("insert into w values (5, 5)"), S), SEEN)
script("CopyDone in COPY OUT is dropped", (35, 36),
       Turn(Q("copy other_fixed to stdout"), DONE, copy_fail("x"), Q("select 1"), until="ZZ"))

# ---- one namespace: statements of the protocol and of SQL ----

PLUS = P("plus", "select $1::int + 1 as sum") + S
script("EXECUTE of a statement of the protocol", (26, 28), PLUS, Q("execute plus(1)"),
       Q("execute plus(2); execute plus(3)"), B("", "plus", ["4"]) + E() + S, Q("execute plus(5)"),
       Q("execute plus"), Q("execute plus('x')"), Q("execute plus(6)"), Q("select 1"))
script("EXECUTE of a statement of the protocol in blocks", (20, 26), PLUS, Q("begin"),
       Q("execute plus(1)"), Q("savepoint a"), Q("execute plus('x')"), Q("execute plus(2)"),
       Q("rollback to a"), Q("execute plus(3)"), Q("commit"), Q("begin; execute plus(4); rollback"))
script("EXECUTE by an extended statement", (21, 26), PLUS, statement("execute plus(1)") + S,
       P("ex", "execute plus(2)") + D("S", "ex") + S, B("", "ex") + D("P", "") + E() + S,
       B("", "ex") + E() + S, statement("execute plus('x')") + S, B("", "ex") + E() + S,
       C("S", "plus") + S, B("", "ex") + E() + S, Q("select 1"))
script("EXECUTE in EXPLAIN and in CREATE TABLE AS", (26,), PLUS,
       Q("explain (costs off) execute plus(1)"), Q("explain (costs off, analyze off) execute plus(2)"),
       Q("begin"), Q("create table made_by_execute as execute plus(3)"),
       Q("select sum(sum) from made_by_execute"), Q("rollback"),
       statement("explain (costs off) execute plus(4)") + S)
script("EXECUTE of a statement that writes", (26,), EMPTIED, P("ins", "insert into w values ($1, 1)") + S,
       Q("execute ins(1)"), Q("begin"), Q("execute ins(2)"), Q("rollback"), Q("execute ins(3)"), SEEN)
script("EXECUTE of a statement that is closed or not there", (28, 30), Q("execute plus(1)"), PLUS,
       Q("execute plus(1)"), C("S", "plus") + S, Q("execute plus(2)"), PLUS, Q("execute plus(3)"),
       Q("deallocate plus"), Q("execute plus(4)"), PLUS, Q("deallocate all"), Q("execute plus(5)"))
script("EXECUTE of a statement whose table is gone", (26, 31), Q("create table going (id int)"),
       P("gone", "select count(*) from going") + S, Q("execute gone"), Q("drop table going"),
       Q("execute gone"), Q("begin"), Q("execute gone"), Q("execute gone"), Q("rollback"),
       Q("select 1"))
script("EXECUTE in a flight of batches", (22, 26),
       Turn(PLUS, Q("execute plus(1)"), B("", "plus", ["2"]) + E() + S, Q("execute plus('x')"),
            Q("execute plus(3)"), statement("execute plus(4)") + S, Q("select 1"), until="ZZZZZZZ"))
script("PREPARE, then Bind and Describe by its name", (26, 28), Q("prepare sql_made(int) as select $1 + 1"),
       D("S", "sql_made") + B("", "sql_made", ["1"]) + D("P", "") + E() + S, Q("execute sql_made(2)"),
       B("", "sql_made", ["3"]) + E() + S, C("S", "sql_made") + S, Q("execute sql_made(4)"),
       B("", "sql_made", ["5"]) + E() + S)
script("PREPARE of a write, then Bind by its name", (26,), EMPTIED,
       Q("prepare sql_ins(int) as insert into w values ($1, 1)"), B("", "sql_ins", ["1"]) + E() + S,
       SEEN, Q("deallocate sql_ins"), SEEN, B("", "sql_ins", ["2"]) + E() + S)
script("one name twice: PREPARE behind Parse", (28,), PLUS, Q("prepare plus as select 1"),
       Q("execute plus(1)"), B("", "plus", ["1"]) + E() + S, statement("prepare plus as select 2") + S,
       C("S", "plus") + S, Q("prepare plus as select 3"), Q("execute plus"))
script("one name twice: Parse behind PREPARE", (28,), Q("prepare plus as select 1"), PLUS,
       Q("execute plus"), B("", "plus") + E() + S, C("S", "plus") + S, PLUS,
       B("", "plus", ["1"]) + E() + S, Q("execute plus(2)"))
script("EXECUTE of what binds the session", (26,), P("lock", "select pg_advisory_lock($1)") + S,
       Q("execute lock(801)"), Q("select pg_advisory_unlock(801)"), Q("select pg_advisory_unlock(801)"))
script("EXECUTE of a SET", (26, 38), P("st", "set datestyle = 'German'") + S, Q("execute st"), Q(DATE))

# ---- pins come and go ----

script("advisory locks whose keys are parameters", (20, 26),
       P("lock", "select pg_advisory_lock($1)") + P("free", "select pg_advisory_unlock($1)") + S,
       *(B("", name, ["802"]) + E() + S for name in ("lock", "lock", "free", "free", "free")),
       statement("select pg_try_advisory_lock($1)", "803") + S, Q("select 1"),
       statement("select pg_advisory_unlock($1)", "803") + S, B("", "free", ["803"]) + E() + S)
script("advisory locks in a flight", (22,),
       Turn(Q("select pg_advisory_lock(804)"), Q("select pg_advisory_unlock(804)"), Q("select 1"),
            Q("select pg_advisory_unlock(804)"), until="ZZZZ"))
COUNT = Q("select count(*) from x")
script("temporary tables come and go", (20,), Q("create temp table x (id int)"), COUNT,
       Q("drop table x"), COUNT, Q("begin"), Q("create temp table x (id int)"), Q("rollback"), COUNT,
       statement("create temp table x as select 1 as one") + S, COUNT, statement("drop table x") + S,
       COUNT)
script("cursors WITH HOLD come and go", (20, 27), Q("begin"),
       Q("declare c cursor with hold for select generate_series(1, 3)"), Q("commit"), Q("fetch 2 from c"),
       Q("close c"), Q("fetch c"), Q("begin"), Q("declare c cursor with hold for select 1"), Q("rollback"),
       Q("fetch c"))
script("the unnamed statement behind an unlock", (26,), Q("select pg_advisory_lock(805)"),
       P("", "select pg_advisory_unlock(805)") + S, B("", "") + E() + S, B("", "") + E() + S)

# ---- corners of the extended protocol ----

script("several commands in one Parse", (21, 23), P("", "select 1; select 2") + S, Q("select 1"))
script("five hundred parameters", (21,),
       P("", "select " + " + ".join(f"${i}::int" for i in range(1, 501))) +
       bind_raw("", "", (), tuple(str(i).encode() for i in range(500))) + E() + S)
script("negative max_rows", (27,), P("", "select id from fixed where id < 4") + B("", "") +
       E("", 0x80000000) + S, P("", "select 1") + B("", "") + E("", 0xffffffff) + S)
script("max_rows exactly met", (27,), P("", "select id from fixed where id < 4") + B("", "") +
       E("", 3) + E("", 3) + S)
script("max_rows of what returns nothing", (27,), EMPTIED,
       P("", "insert into w values (1, 1)") + B("", "") + E("", 5) + S)
script("a statement closed, and its name given again, in one flight", (22, 30),
       Turn(P("st", "select 1") + S, C("S", "st") + P("st", "select 2") + B("", "st") + E() + S,
            C("S", "st") + S, B("", "st") + E() + S, until="ZZZZ"))
script("a Close that is skipped in one batch of a flight", (22, 23, 30),
       Turn(P("st", "select 1") + S, P("", "nonsense") + C("S", "st") + S, B("", "st") + E() + S,
            until="ZZZ"))
script("Describe between Executes", (21, 27), Q("begin"),
       P("", "select id from fixed order by id") + B("po", "") + D("P", "po") + E("po", 1) +
       D("P", "po") + E("po", 1) + C("P", "po") + D("P", "po") + S, Q("rollback"))
script("notices of extended statements", (37,), statement("select says('extended')") + S,
       P("", "select says($1)") + B("", "", ["one"]) + E() + B("", "", ["two"]) + E() + S)
script("LISTEN and NOTIFY by extended statements", (37,), statement("listen chatter") + S,
       statement("notify chatter, 'x'") + S, statement("unlisten *") + S)
script("a temporary table in a flight", (22, 37),
       Turn(Q("create temp table flying (id int)"), statement("insert into flying values (1)") + S,
            Q("select id + 0 from flying"), Q("drop table flying"), until="ZZZZ"))
script("a WITH HOLD cursor in a flight", (22, 27),
       Turn(Q("declare held cursor with hold for select id from fixed order by id"),
            Q("fetch 2 from held"), Q("close held"), until="ZZZ"))
script("savepoints by extended statements", (20, 22), EMPTIED,
       Turn(Q("begin"), statement("savepoint a") + S, statement("insert into w values (1, 1)") + S,
            statement("rollback to a") + S, statement("insert into w values (2, 2)") + S,
            statement("release a") + S, Q("commit"), until="Z" * 7), SEEN)
script("RETURNING with rows and an error", (23, 40), EMPTIED,
       P("", "insert into w select i, 1000 - 995 + i * 199 from generate_series(1, 9) i returning id") +
       B("", "") + E() + S, SEEN)
script("many names at once", (26, 30),
       b"".join(P(f"n{i}", f"select {i}") for i in range(120)) + S,
       b"".join(B("", f"n{i}") + E() for i in range(0, 120, 7)) + S,
       b"".join(C("S", f"n{i}") for i in range(120)) + S, B("", "n5") + S, cuts=False)
script("a FunctionCall, then what was prepared before", (26, 32), P("st", "select 3") + S,
       function_call(1397, "-1"), B("", "st") + E() + S)

# ---- RESET goes back to what the client brought along ----

BROUGHT = {"parameters": {"datestyle": "German", "work_mem": "5MB"}}
script("RESET in a batch", (38,), statement("reset datestyle") + statement(DATE) + S, Q(DATE),
       Q("set datestyle = 'SQL'"), statement("reset all") + statement(DATE) +
       statement("show work_mem") + S, Q(DATE), P("r", "set datestyle to default") +
       B("po", "r") + E("po") + statement(DATE) + S, Q(DATE), Q("begin"),
       statement("set datestyle = 'SQL'") + statement("reset datestyle") + statement("select 1/0") + S,
       Q("rollback"), Q(DATE), Q("set datestyle = 'SQL'"),
       statement("reset datestyle") + statement("select 1/0") + S, Q(DATE), **BROUGHT)
script("RESET twice in a string, with letters beyond ASCII", (16, 38),
       Q(f"reset work_mem; show work_mem; set datestyle = 'SQL'; reset datestyle; {DATE}; select nowhere"),
       Q(DATE), Q(f"select 'äöü'; reset datestyle; {DATE}; select 'ß', nowhere"),
       Q(f"reset datestyle; select 'ä'; reset all; {DATE}; select 'ß'; reset datestyle; {DATE}"),
       Q(f"reset datestyle; select 'ä'; select 1/0; reset all; {DATE}"), Q(DATE), **BROUGHT)
