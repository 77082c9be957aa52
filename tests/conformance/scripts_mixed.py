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

# ---- a BEGIN that is held back ----

BEGIN = Q("begin")
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

READ_ONLY = Q("begin read only")
script("a read only block with a cursor", (20, 27), READ_ONLY,
       P("", "select id from fixed order by id") + B("po", "") + E("po", 2) + S, E("po", 2) + S,
       Q("commit"), E("po", 1) + S)
script("a read only block with COPY OUT", (20, 36), READ_ONLY, Q("copy other_fixed to stdout"),
       P("", "copy other_fixed to stdout") + B("", "") + E() + S, Q("commit"))
script("a read only block with errors and savepoints", (20, 23), READ_ONLY, Q("savepoint a"),
       Q("select 1/0"), Q("select 1"), Q("rollback to a"), Q("select 2"), Q("commit"))
script("a read only block with COPY IN", (20, 35), READ_ONLY, Q("copy w from stdin"), Q("rollback"),
       modes=("session",))  # a replica says "during recovery" instead
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
