# SPDX-License-Identifier: PostgreSQL
"""Extended query: items 18 and 21 to 31."""
from words import (B, C, D, DONE, E, H, P, Q, S, Turn, bind_raw, copy_data, script, statement)

INT4, TEXT = 23, 25

# ---- the order of replies ----

script("one of each message", (21,),
       P("", "select $1::int") + D("S", "") + B("", "", ["5"]) + D("P", "") + E() + C("P", "") +
       C("S", "") + S)
script("one of each message, named", (21,),
       P("st", "select name from fixed where id = $1") + D("S", "st") + B("po", "st", ["5"]) +
       D("P", "po") + E("po") + C("P", "po") + C("S", "st") + S)
script("Describe of what returns nothing", (21,),
       P("n", "update w set v = v where id = $1") + D("S", "n") + B("", "n", ["1"]) + D("P", "") +
       E() + S)
script("nothing but Sync", (21,), Turn(S), Turn(S, S, S, until="ZZZ"), Q("select 1"))
script("an empty statement", (17, 21), P("", "") + D("S", "") + B("", "") + D("P", "") + E() + S,
       P("e", "-- only this") + B("", "e") + E() + S, B("", "e") + D("P", "") + E() + S)
script("every kind of parameter", (21, 29),
       P("", "select $1::int, $2::text, $3::bool, $4::int[]", (INT4, TEXT)) + D("S", "") +
       B("", "", ["1", "x", "t", "{1,2}"]) + D("P", "") + E() + S)
script("binary formats", (21,),
       P("", "select $1::int4, $2::text") +
       bind_raw("", "", (1, 0), (b"\0\0\1\0", b"text"), (1,)) + D("P", "") + E() + S,
       P("", "select $1::int4, $2::text") + bind_raw("", "", (0,), (b"7", None), (0, 1)) + E() + S)
script("the wrong number of parameters", (21, 28), P("", "select $1::int") + B("", "") + E() + S,
       B("", "", ["1", "2"]) + E() + S, B("", "", ["1"]) + E() + S)
script("the wrong number of formats", (21,),
       P("", "select $1::int, $2::int") + bind_raw("", "", (0, 0, 0), (b"1", b"2")) + E() + S,
       P("", "select 1") + bind_raw("", "", (), (), (0, 0, 0)) + E() + S, Q("select 1"))
script("a parameter that cannot be read", (21,), P("", "select $1::int") + B("", "", ["x"]) + E() + S,
       P("", "select $1::int4") + bind_raw("", "", (1,), (b"\0\0",)) + E() + S, Q("select 1"))
script("a parameter without a type", (21,), P("", "select $1") + D("S", "") + S,
       P("", "select $2::int") + S, P("", "select $1::int + $1::text") + S)

# ---- several Syncs ----

script("two batches in one flight", (22,),
       Turn(statement("select 1") + S + statement("select 2") + S, until="ZZ"))
script("many batches in one flight", (22,),
       Turn(*(statement("select $1::int", str(i)) + S for i in range(60)), until="Z" * 60))
script("many batches of one named statement", (22, 26),
       Turn(P("st", "select name from fixed where id = $1") + S +
            b"".join(B("", "st", [str(i)]) + E() + S for i in range(1, 50)), until="Z" * 50))
script("batches with an error in each second one", (22, 23),
       Turn(*(statement("select 1 / $1::int", str(i % 2)) + S for i in range(30)), until="Z" * 30))
script("an error leaves the next batches alone", (22, 23),
       Turn(P("a", "select 1") + P("b", "nonsense") + P("c", "select 3") + S + B("", "a") + E() + S +
            B("", "c") + E() + S + P("c", "select 4") + B("", "c") + E() + S, until="ZZZZ"))
script("writes in several batches of one flight", (22,),
       Turn(statement("truncate w") + S + statement("insert into w values (1, 1)") + S +
            statement("insert into w values (1, 1)") + S +
            statement("insert into w values (2, 2)") + S +
            statement("select id from w order by id") + S, until="ZZZZZ"))
script("a transaction over several batches", (20, 22),
       Turn(statement("truncate w") + S + statement("begin") + S +
            statement("insert into w values (1, 1)") + S + statement("select v from w") + S +
            statement("commit") + S + statement("select v from w") + S, until="ZZZZZZ"))
script("a transaction that fails over several batches", (20, 22, 23),
       Turn(statement("begin") + S + statement("select 1/0") + S + statement("select 1") + S +
            statement("commit") + S + statement("select 2") + S, until="ZZZZZ"))
script("a whole transaction in one batch", (20, 23),
       statement("truncate w") + S,
       statement("begin") + statement("insert into w values (1, 1)") + statement("commit") +
       statement("select v from w") + S)
script("a batch is one implicit transaction", (20, 23), statement("truncate w") + S,
       statement("insert into w values (1, 1)") + statement("insert into w values (1, 1)") + S,
       statement("select count(*) from w") + S)
script("a COMMIT within an implicit transaction of a batch", (20, 23), statement("truncate w") + S,
       statement("insert into w values (1, 1)") + statement("commit") +
       statement("insert into w values (2, 2)") + statement("select 1/0") + S,
       statement("select id from w") + S)
script("BEGIN with an isolation level behind a statement of the batch", (20,),
       statement("select 1") + statement("begin isolation level serializable") + S,
       Q("rollback"))
script("a batch of reads and a write", (22,), statement("truncate w") + S,
       statement("select 1") + statement("insert into w values (4, 4)") +
       statement("select v from w") + S)

# ---- errors and the way to Sync ----

script("an error in Parse skips to Sync", (23,),
       P("", "nonsense") + B("", "") + D("P", "") + E() + S, P("", "select 1") + B("", "") + E() + S)
script("an error in Bind skips to Sync", (23,),
       P("keep", "select $1::int") + B("", "keep", ["x"]) + E() + P("lost", "select 2") + S,
       B("", "keep", ["1"]) + E() + S, B("", "lost") + E() + S)
script("an error in Execute skips to Sync", (23,),
       P("", "select 1/$1::int") + B("", "", ["0"]) + E() + P("lost", "select 2") + C("S", "x") + S,
       B("", "lost") + E() + S, B("", "", ["1"]) + E() + S)
script("a Close that was skipped did not happen", (23,),
       P("st", "select 7") + S, P("", "nonsense") + C("S", "st") + S, B("", "st") + E() + S)
script("a Parse that was skipped did not happen", (23,),
       P("", "nonsense") + P("st", "select 7") + S, B("", "st") + E() + S,
       P("st", "select 8") + B("", "st") + E() + S)
script("Close and Parse anew, both skipped", (23,),
       P("st", "select 1") + S, P("", "nonsense") + C("S", "st") + P("st", "select 2") + S,
       B("", "st") + E() + S)
script("Close and Parse anew, then an error", (23,),
       P("st", "select 1") + S, C("S", "st") + P("st", "select 2") + P("", "nonsense") + S,
       B("", "st") + E() + S)
script("a Query is skipped after an error too", (18, 23),
       Turn(P("", "nonsense") + Q("select 1") + Q("select 2") + S), Q("select 3"))
script("Flush is skipped after an error", (23, 25), Turn(P("", "nonsense") + H, until="E"),
       Turn(P("", "select 1") + H + B("", "") + E() + H + S))
script("a failed transaction refuses all but its end", (20, 23), Q("begin"), Q("nonsense"),
       P("", "select 1") + B("", "") + E() + S, P("", "") + B("", "") + E() + S,
       P("", "rollback") + B("", "") + E() + S)
script("a prepared ROLLBACK in a failed transaction", (20, 23), P("rb", "rollback") + S,
       P("sel", "select 1") + S, Q("begin"), Q("nonsense"), B("", "sel") + E() + S,
       D("S", "sel") + S, B("", "rb") + E() + S, B("", "sel") + E() + S)
script("errors of several kinds one after the other", (23, 28),
       B("", "none") + E() + S, E("none") + S, D("S", "none") + S, D("P", "none") + S,
       P("", "select") + S, P("a", "select 1") + P("a", "select 1") + S, Q("select 1"))

# ---- all statements are forgotten in the middle of a batch ----

for forget in ("deallocate all", "discard all"):
    script(f"a name is given again behind {forget}", (26, 30), P("s", "select 1") + S,
           statement(forget) + P("s", "select 2") + B("", "s") + E() + S, B("", "s") + E() + S)
    script(f"a name is gone behind {forget}", (26, 30), P("s", "select 1") + S,
           statement(forget) + B("", "s") + E() + S, B("", "s") + E() + S)
    script(f"an error behind {forget} brings no name back", (23, 30), P("s", "select 1") + S,
           statement(forget) + P("s", "nonsense") + P("t", "select 2") + S, B("", "s") + E() + S,
           B("", "t") + E() + S)
    script(f"an error in front of {forget} keeps the names", (23, 30), P("s", "select 1") + S,
           P("", "nonsense") + statement(forget) + P("s", "select 2") + S, B("", "s") + E() + S)
    script(f"{forget} in a Query, and a batch at once", (19, 30), P("s", "select 1") + S,
           Turn(Q(forget) + P("s", "select 2") + B("", "s") + E() + S, until="ZZ"))
script("a name of the batch itself goes with deallocate all", (26, 30),
       P("s", "select 1") + statement("deallocate all") + B("", "s") + E() + S)
script("deallocate all twice in a batch", (26, 30), P("s", "select 1") + S,
       statement("deallocate all") + P("s", "select 2") + B("", "s") + E() +
       statement("deallocate all") + P("s", "select 3") + B("", "s") + E() + S, B("", "s") + E() + S)
script("deallocate all in a batch of a transaction", (20, 30), P("s", "select 1") + S, Q("begin"),
       statement("deallocate all") + P("s", "select 2") + B("", "s") + E() + S, Q("rollback"),
       B("", "s") + E() + S)
script("deallocate all behind a write of its batch", (20, 30), Q("truncate w"), P("s", "select 1") + S,
       statement("insert into w values (1, 1)") + statement("deallocate all") + P("s", "select 2") +
       statement("select 1/0") + S, Q("select count(*) from w"), B("", "s") + E() + S)

# ---- what comes without a Sync: a server flushes errors, notices and CopyInResponse at once ----

script("an error in Parse comes without a Sync", (23, 25), Turn(P("", "nonsense"), until="E"), S,
       Q("select 1"))
script("an error in Bind comes without a Sync", (23, 25),
       Turn(P("st", "select $1::int") + B("", "st", ["x"]), until="E"), Turn(E() + S),
       B("", "st", ["1"]) + E() + S)
script("an error in Execute comes without a Sync", (23, 25),
       Turn(P("", "select 1/0") + B("", "") + E(), until="E"),
       Turn(P("", "select 2") + B("", "") + E(), until=""), S, Q("select 3"))
script("an error without a Sync, in a transaction", (23, 25), Q("begin"),
       Turn(statement("select 1/0"), until="E"), S, Q("select 1"), Q("rollback"))
script("an error without a Sync, in a transaction that has written", (23, 25), Q("truncate w"),
       Q("begin"), Q("insert into w values (1, 1)"),
       Turn(statement("insert into w values (1, 1)"), until="E"), S, Q("rollback"),
       Q("select count(*) from w"))
script("an error behind a write without a Sync takes that back", (23, 25), Q("truncate w"),
       Turn(statement("insert into w values (1, 1)") + statement("select 1/0"), until="E"), S,
       Q("select count(*) from w"))
script("an error of a BEGIN with more, without a Sync", (23, 25),
       Turn(statement("begin") + statement("nonsense"), until="E"), S, Q("rollback"))
script("an error without a Sync, and Queries behind it", (18, 23, 25),
       Turn(P("", "nonsense"), until="E"), Turn(Q("select 1") + Q("select 2") + S), Q("select 3"))
script("an error without a Sync, of a name that is taken", (23, 25, 28), P("st", "select 1") + S,
       Turn(P("st", "select 2"), until="E"), S, B("", "st") + E() + S)
script("an unknown statement and an unknown portal, without a Sync", (23, 25, 28),
       Turn(B("", "none"), until="E"), S, Turn(E("none"), until="E"), S, Turn(D("S", "none"), until="E"),
       S, Q("select 1"))
script("a notice comes without a Sync", (25, 37), Turn(statement("select says('a')"), until="N"), S)
script("a COPY IN begins without a Sync", (25, 33), Q("truncate w"),
       Turn(P("", "copy w (id, v) from stdin") + B("", "") + E(), until="G"),
       Turn(copy_data("1\t1\n") + DONE + S), Q("select count(*) from w"))
script("two errors without a Sync, one after the other", (23, 25), Turn(P("", "nonsense"), until="E"),
       S, Turn(P("", "more of it"), until="E"), S, Q("select 1"))

# ---- simple Query in the middle ----

script("a Query in the middle of a batch", (18,),
       Turn(P("", "select 1") + B("", "") + E() + Q("select 2") + P("", "select 3") + B("", "") + E() +
            S, until="ZZ"))
script("a Query after Parse drops the unnamed statement", (18,),
       Turn(P("", "select 1") + Q("select 2") + B("", "") + E() + S, until="ZZ"))
script("a Query drops the unnamed statement and portal", (18, 26), P("", "select 1") + S,
       Q("select 2"), B("", "") + E() + S)
script("an empty Query drops the unnamed statement", (17, 18, 26), P("", "select 1") + S, Q(""),
       B("", "") + E() + S)
script("a failed Query drops the unnamed statement", (18, 26), P("", "select 1") + S,
       Q("nonsense"), B("", "") + E() + S)
script("a Query keeps named statements", (18, 26), P("st", "select 1") + S, Q("select 2"),
       B("", "st") + E() + S)
script("a Query keeps named portals in a transaction", (18, 27), Q("begin"),
       P("", "select id from fixed order by id") + B("po", "") + E("po", 2) + S, Q("select 'x'"),
       E("po", 2) + S, Q("commit"), E("po", 2) + S)
script("a Query ends the implicit transaction of the batch before it", (18, 20),
       Q("truncate w"),
       Turn(statement("insert into w values (1, 1)") + Q("select 1/0") + S, until="ZZ"),
       Q("select * from w"))
script("a write in a batch without Sync, then a Query that writes", (18, 20), Q("truncate w"),
       Turn(P("", "insert into w values (1, 1)") + B("", "") + E() + Q("insert into w values (2, 2)"),
            until="Z"), Turn(S), Q("select id from w order by id"))

# ---- Flush ----

script("Flush brings answers without Sync", (25,), Turn(P("", "select 1") + H, until="1"),
       Turn(B("", "") + H, until="2"), Turn(D("P", "") + H, until="T"), Turn(E() + H, until="C"),
       Turn(S))
script("Flush after Parse and Describe, as drivers do", (25,),
       Turn(P("st", "select name from fixed where id = $1") + D("S", "st") + H, until="T"),
       Turn(B("", "st", ["1"]) + E() + S), Turn(B("", "st", ["2"]) + E() + S))
script("Flush after a write", (25,), Q("truncate w"),
       Turn(statement("insert into w values (1, 1)") + H, until="C"),
       Turn(statement("select v from w") + H, until="C"), Turn(S), Q("select v from w"))
script("Flush after an error", (25,), Turn(P("", "nonsense") + H, until="E"), Turn(H, S),
       Q("select 1"))
script("Flush with nothing before it", (25,), Turn(H, H, H, until=""), Q("select 1"),
       Turn(H, P("", "select 2"), H, until="1"), Turn(S))
script("Flush in a transaction", (25,), Q("begin"), Turn(statement("select 1") + H, until="C"),
       Turn(statement("select 1/0") + H, until="E"), Turn(S), Q("rollback"))
script("Parse, Flush, then a Query", (18, 25), Turn(P("", "select 1") + H, until="1"), Q("select 2"),
       Turn(P("st", "select 3") + H, until="1"), Q("select 4"), B("", "st") + E() + S)
script("Flush, then Terminate", (25,), Turn(statement("select 1") + H, until="C"),
       Turn(b"X\0\0\0\4", until="$"), ends=True)
script("Flush between Parse and Bind of a write", (25,), Q("truncate w"),
       Turn(P("", "insert into w values ($1, 1) returning id") + D("S", "") + H, until="T"),
       Turn(B("", "", ["1"]) + E() + S), Q("select id from w"))
script("the rows of a flushed read come before its Sync", (25,),
       Turn(statement("select id from fixed where id < 5") + H, until="C"),
       Turn(statement("select id from fixed where id < 3") + H, until="C"), Turn(S))

# ---- the unnamed statement ----

script("the unnamed statement lives across batches", (26,), P("", "select $1::int") + S,
       B("", "", ["1"]) + E() + S, B("", "", ["2"]) + E() + S)
script("the unnamed statement lives across transactions", (26,), P("", "select $1::int") + S,
       P("b", "begin") + S, P("c", "commit") + S, B("", "b") + E() + S, B("", "", ["1"]) + E() + S,
       B("", "c") + E() + S, B("", "", ["2"]) + E() + S)
script("an unnamed Parse replaces the former one", (26,), P("", "select 1") + S, P("", "select 2") + S,
       B("", "") + E() + S)
script("a failed unnamed Parse leaves none", (26,), P("", "select 1") + S, P("", "nonsense") + S,
       B("", "") + E() + S)
script("the unnamed statement survives an error elsewhere", (26,), P("", "select 5") + S,
       B("", "none") + S, B("", "") + E() + S)
script("Close of the unnamed statement", (26, 30), P("", "select 1") + S, C("S", "") + S,
       B("", "") + E() + S, C("S", "") + S)
script("the unnamed statement after DISCARD ALL", (26, 30), P("", "select 1") + S, Q("discard all"),
       B("", "") + E() + S)
script("the unnamed statement after DEALLOCATE ALL", (26, 30), P("", "select 1") + S,
       P("st", "deallocate all") + B("", "st") + E() + S, B("", "") + E() + S)
script("Describe of the unnamed statement, later", (26,), P("", "select name from fixed where id = $1") +
       S, D("S", "") + S, B("", "", ["4"]) + E() + S, D("S", "") + S)
script("an unnamed write lives across batches", (26,), Q("truncate w"),
       P("", "insert into w values ($1, 1)") + S, B("", "", ["1"]) + E() + S,
       B("", "", ["2"]) + E() + S, B("", "", ["1"]) + E() + S)

# ---- portals ----

script("max_rows and PortalSuspended", (27,),
       P("", "select id from fixed where id < 8 order by id") + B("", "") + E("", 3) + E("", 3) +
       E("", 3) + E("", 3) + S)
script("max_rows over several batches in a transaction", (27,), Q("begin"),
       P("", "select id from fixed where id < 8 order by id") + B("po", "") + E("po", 3) + S,
       E("po", 3) + S, E("po", 3) + S, E("po", 3) + S, Q("commit"))
script("portals die with their implicit transaction", (27, 28),
       P("", "select id from fixed order by id") + B("po", "") + E("po", 3) + S, E("po", 3) + S)
script("the unnamed portal dies with its implicit transaction", (27, 28),
       P("", "select id from fixed order by id") + B("", "") + E("", 3) + S, E("", 3) + S)
script("the unnamed portal lives in a transaction", (27,), Q("begin"),
       P("", "select id from fixed order by id") + B("", "") + E("", 3) + S, E("", 3) + S,
       Q("select 1"), E("", 3) + S, Q("rollback"))
script("two portals interleaved", (27,), Q("begin"),
       P("", "select id from fixed order by id") + B("up", "") + S,
       P("", "select id from fixed order by id desc") + B("down", "") + S,
       E("up", 2) + E("down", 2) + E("up", 2) + E("down", 2) + S, C("P", "up") + S,
       E("down", 1) + E("up", 1) + S, Q("rollback"))
script("Bind now, Execute in the next batch", (27,), Q("begin"), P("", "select 4") + B("po", "") + S,
       D("P", "po") + E("po") + S, E("po") + S, Q("commit"))
script("Bind without a transaction, Execute in the next batch", (27, 28),
       P("", "select 4") + B("po", "") + S, E("po") + S)
script("Bind of a write without a transaction, Execute in the next batch", (27, 28), Q("truncate w"),
       P("", "insert into w values (1, 1)") + B("po", "") + S, E("po") + S, Q("select * from w"))
script("Bind and Flush, Execute and Flush, Sync", (25, 27),
       Turn(P("", "select id from fixed order by id") + B("po", "") + H, until="2"),
       Turn(E("po", 2) + H, until="s"), Turn(E("po", 2) + H, until="s"), Turn(C("P", "po") + H,
                                                                            until="3"),
       Turn(E("po", 2) + S))
script("max_rows of a write", (27,), Q("truncate w"),
       P("", "insert into w select i, i from generate_series(1, 5) i returning id") + B("", "") +
       E("", 2) + E("", 2) + E("", 2) + S, Q("select count(*) from w"))
script("a portal of SQL's DECLARE", (27,), Q("begin"),
       Q("declare c cursor for select id from fixed order by id"), D("P", "c") + E("c", 2) + S,
       Q("fetch 1 from c"), C("P", "c") + S, Q("fetch 1 from c"), Q("rollback"))
script("Execute of a portal twice", (27,), P("", "select 1") + B("", "") + E() + E() + S,
       P("", "insert into w values (99, 1) on conflict do nothing") + B("", "") + E() + E() + S)
script("Close of a portal in use", (27, 30), Q("begin"),
       P("", "select id from fixed order by id") + B("po", "") + E("po", 1) + C("P", "po") +
       E("po", 1) + S, Q("rollback"))
script("portals after a rollback to a savepoint", (27,), Q("begin"), Q("savepoint a"),
       P("", "select id from fixed order by id") + B("po", "") + E("po", 1) + S, Q("rollback to a"),
       E("po", 1) + S, Q("rollback"))

# ---- names ----

script("an unknown statement", (28,), B("", "none") + E() + S, D("S", "none") + S, Q("select 1"))
script("an unknown portal", (28,), E("none") + S, D("P", "none") + S, Q("select 1"))
script("an unknown portal in a transaction", (28,), Q("begin"), E("none") + S, Q("select 1"),
       Q("rollback"))
script("a duplicate statement", (28,), P("st", "select 1") + S, P("st", "select 1") + S,
       P("st", "select 2") + S, B("", "st") + E() + S)
script("a duplicate statement in one batch", (28,), P("st", "select 1") + P("st", "select 2") + S,
       B("", "st") + E() + S)
script("a duplicate statement in a transaction", (24, 28), P("st", "select 1") + S, Q("begin"),
       P("st", "select 1") + S, Q("select 1"), Q("rollback"), B("", "st") + E() + S)
script("a duplicate portal", (28,), P("", "select 1") + B("po", "") + B("po", "") + S, Q("begin"),
       P("", "select 1") + B("po", "") + S, B("po", "") + S, Q("rollback"))
script("the unnamed portal may be bound again", (28,), P("", "select $1::int") + B("", "", ["1"]) +
       B("", "", ["2"]) + E() + S)
script("Close of what does not exist", (30,), C("S", "none") + C("P", "none") + C("S", "") +
       C("P", "") + S, Turn(C("S", "none") + H, until="3"), Turn(S))
script("Close, then use", (30,), P("st", "select 1") + S, C("S", "st") + S, B("", "st") + E() + S,
       P("st", "select 2") + B("", "st") + E() + S)
script("Close and use within one batch", (30,), P("st", "select 1") + S,
       C("S", "st") + B("", "st") + E() + S, B("", "st") + E() + S)
script("Close of a statement keeps its portals", (27, 30), Q("begin"),
       P("st", "select id from fixed order by id") + B("po", "st") + C("S", "st") + E("po", 2) + S,
       E("po", 1) + S, Q("commit"))
script("two names for one text", (26, 30), P("a", "select 9") + P("b", "select 9") + S, C("S", "a") + S,
       B("", "b") + E() + S, B("", "a") + E() + S)
script("a name given again to another text", (26, 30), P("st", "select 1") + S, C("S", "st") + S,
       P("st", "select 'two'") + D("S", "st") + B("", "st") + E() + S)
script("names of every kind", (26, 28), P("a b", "select 1") + P("Ä☃", "select 2") +
       P("x" * 200, "select 3") + S, B("p 1", "a b") + E("p 1") + B("", "Ä☃") + E() +
       B("", "x" * 200) + E() + S, B("", "A B") + S)
script("names that begin as the proxy's own do", (28,), P("sg_1", "select 1") + B("", "sg_1") + E() + S,
       B("", "sg_none") + E() + S, C("S", "sg_1") + C("S", "sg_none") + S, B("", "sg_1") + E() + S)
script("names are told apart by 63 bytes", (28,), P("n" * 63 + "a", "select 1") + S,
       B("", "n" * 63 + "b") + E() + S, P("n" * 63 + "c", "select 2") + S, C("S", "n" * 63 + "d") + S,
       B("", "n" * 63 + "a") + E() + S)
script("very long names", (28,), P("n" * 3000, "select 1") + B("p" * 3000, "n" * 3000) +
       E("p" * 3000) + C("S", "n" * 3000) + S, B("", "n" * 3000) + S, Q("select 1"))

# ---- SQL that reaches the names ----

script("DEALLOCATE in SQL", (30,), P("st", "select 1") + S, Q("deallocate st"), B("", "st") + E() + S,
       Q("deallocate st"), P("st", "select 2") + B("", "st") + E() + S)
script("DEALLOCATE as an extended statement", (30,), P("st", "select 1") + S,
       statement("deallocate st") + S, B("", "st") + E() + S)
script("DEALLOCATE of a quoted name", (30,), P("Mixed Case", "select 1") + P("lower", "select 2") + S,
       Q("deallocate Mixed"), Q('deallocate "Mixed Case"'), Q("deallocate LOWER"),
       B("", "Mixed Case") + S, B("", "lower") + S)
script("DEALLOCATE ALL", (30,), P("a", "select 1") + P("b", "select 2") + S, Q("deallocate all"),
       B("", "a") + E() + S, B("", "b") + E() + S, P("a", "select 3") + B("", "a") + E() + S)
script("DEALLOCATE ALL as an extended statement", (30,), P("a", "select 1") + S,
       statement("deallocate all") + S, B("", "a") + E() + S, P("a", "select 2") + B("", "a") + E() + S)
script("DISCARD ALL drops statements", (30,), P("a", "select 1") + S, Q("discard all"),
       B("", "a") + E() + S, P("a", "select 2") + B("", "a") + E() + S)
script("DISCARD PLANS keeps statements", (30,), P("a", "select 1") + S, Q("discard plans"),
       B("", "a") + E() + S)
script("a protocol Bind of SQL's PREPARE", (30,), Q("prepare st as select 7"), B("", "st") + E() + S,
       C("S", "st") + S, Q("execute st"))
script("DEALLOCATE in a transaction that is rolled back", (30,), P("st", "select 1") + S, Q("begin"),
       Q("deallocate st"), Q("rollback"), B("", "st") + E() + S)
script("Parse in a transaction that is rolled back", (30,), Q("begin"), P("st", "select 1") + S,
       Q("rollback"), B("", "st") + E() + S)

# ---- identity of statements ----

script("parameter types tell statements apart", (29,),
       P("a", "select $1 || 'x'", (TEXT,)) + D("S", "a") + S,
       P("b", "select $1", (INT4,)) + D("S", "b") + P("c", "select $1", (TEXT,)) + D("S", "c") + S,
       B("", "b", ["1"]) + D("P", "") + E() + S, B("", "c", ["1"]) + D("P", "") + E() + S)
script("the search_path at Parse and at Bind", (29,), Q("set search_path = s1"),
       P("st", "select place from where_am_i") + S, B("", "st") + E() + S, Q("set search_path = s2"),
       B("", "st") + E() + S, Q("reset search_path"), B("", "st") + E() + S)
script("a statement prepared before its table was dropped", (29, 31), Q("drop table if exists gone"),
       Q("create table gone (id int)"), P("st", "select * from gone") + S, B("", "st") + E() + S,
       Q("drop table gone"), B("", "st") + E() + S, Q("select 1"))
script("a statement that was prepared in vain", (31,), P("st", "select * from never_there") + S,
       B("", "st") + E() + S, P("st", "select 1") + B("", "st") + E() + S)

# ---- cached plan must not change result type: outside a transaction the proxy may hide it ----

CHANGE = (Q("drop table if exists changing; create table changing (id int); "
            "insert into changing values (1)"),)
script("a changed result type within a transaction", (31,), *CHANGE,
       P("st", "select * from changing") + S, B("", "st") + E() + S,
       Q("begin"), Q("alter table changing add column extra int default 2"), B("", "st") + E() + S,
       Q("rollback"), B("", "st") + E() + S, modes=("session",))
script("a changed type of a column that is not read", (31,), *CHANGE,
       P("st", "select id from changing") + S, B("", "st") + E() + S,
       Q("alter table changing add column extra int default 2"), B("", "st") + E() + S)

# ---- what DEALLOCATE ALL and DISCARD ALL leave ----

script("DEALLOCATE ALL that did not run", (28, 30), P("a", "select 1") + S,
       Q("select 1/0; deallocate all"), B("", "a") + E() + S, Q("begin"), Q("select 1/0"),
       Q("deallocate all"), Q("rollback"), B("", "a") + E() + S, Q("begin"), Q("discard all"),
       Q("rollback"), B("", "a") + E() + S, statement("select 1") + statement("discard all") + S,
       B("", "a") + E() + S, statement("select 1/0") + statement("deallocate all") + S,
       B("", "a") + E() + S)
script("DEALLOCATE ALL behind which something failed", (28, 30), P("a", "select 1") + S,
       Q("deallocate all; select 1/0"), B("", "a") + E() + S, P("a", "select 2") + S,
       statement("deallocate all") + P("b", "select 3") + S, B("", "b") + E() + S,
       B("", "a") + E() + S, Q("begin"), Q("deallocate all"), Q("rollback"), B("", "b") + E() + S)
script("an unnamed portal that was never bound", (27, 28), Q("begin"), E() + S, Q("rollback"),
       Q("begin"), D("P", "") + S, Q("rollback"), Q("begin"), C("P", "") + E() + S, Q("rollback"),
       Q("set datestyle = 'German'"), D("P", "") + S, E() + S)
script("DEALLOCATE among other statements", (28, 30), P("a", "select 1") + S,
       Q("deallocate a; select 2"), B("", "a") + E() + S, P("a", "select 3") + S,
       Q("select 1/0; deallocate a"), B("", "a") + E() + S, Q("select 4; deallocate a; deallocate a"),
       Q("execute a"), P("a", "select 5") + S,
       Q("begin; execute a; deallocate a; prepare a as select 6; execute a; rollback"),
       Q("execute a"), Q("deallocate a; deallocate all"), B("", "a") + E() + S)
