# SPDX-License-Identifier: PostgreSQL
"""COPY and FunctionCall: items 32 to 36."""
from words import (B, C, D, DONE, E, H, P, Q, S, Turn, copy_data, copy_fail, function_call, message,
                   script, statement)

IN = "copy w (id, v) from stdin"
BEGUN = Q("truncate w")
SEEN = Q("select id, v from w order by id")
ROWS = copy_data("1\t10\n") + copy_data("2\t20\n3\t") + copy_data("30\n")
BAD = copy_data("1\tnot a number\n")

# ---- in, by a simple Query ----

script("COPY IN", (33,), BEGUN, Turn(Q(IN), until="G"), Turn(ROWS, DONE), SEEN)
script("COPY IN, sent at once", (33,), BEGUN, Turn(Q(IN), ROWS, DONE), SEEN)
script("COPY IN of nothing", (33,), BEGUN, Turn(Q(IN), until="G"), Turn(DONE), SEEN)
script("COPY IN with the end mark of old times", (33,), BEGUN, Turn(Q(IN), until="G"),
       Turn(ROWS, copy_data("\\.\n"), DONE), SEEN)
script("COPY IN with Sync and Flush in the middle", (33,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data("1\t1\n"), S, H, S, copy_data("2\t2\n"), H, DONE), SEEN)
script("COPY IN that the client fails", (34,), BEGUN, Turn(Q(IN), until="G"),
       Turn(ROWS, copy_fail("no more of this")), SEEN)
script("COPY IN that the client fails at once", (34,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_fail("")), SEEN)
script("COPY IN with an error before CopyDone", (35,), BEGUN, Turn(Q(IN), until="G"),
       Turn(BAD, copy_data("5\t5\n"), DONE), SEEN)
script("COPY IN whose error was read before CopyDone", (35,), BEGUN, Turn(Q(IN), until="G"),
       Turn(BAD + copy_data("x" * 70000), until="EZ"), Turn(copy_data("5\t5\n"), DONE, until=""),
       SEEN)
script("COPY IN whose error was read before CopyFail", (35,), BEGUN, Turn(Q(IN), until="G"),
       Turn(BAD + copy_data("x" * 70000), until="EZ"), Turn(copy_fail("late"), until=""), SEEN)
script("COPY IN with an error at CopyDone", (35,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data("7\t70\n7\t70\n"), DONE), SEEN)
script("COPY IN with an error at the end of the transaction", (35,), Q("truncate deferred"),
       Turn(Q("copy deferred from stdin"), until="G"), Turn(copy_data("1\n1\n"), DONE),
       Q("select count(*) from deferred"))
script("COPY IN that cannot begin", (35,), Q("copy no_such_table from stdin"), Q("select 1"))
script("COPY IN that cannot begin, data sent along", (35,),
       Turn(Q("copy no_such_table from stdin"), copy_data("1\n"), copy_data("2\n"), DONE),
       Q("select 1"))
script("COPY IN that cannot begin, CopyFail sent along", (35,),
       Turn(Q("copy no_such_table from stdin"), copy_data("1\n"), copy_fail("oh")), Q("select 1"))
script("COPY IN, a Query sent along behind it", (33,), BEGUN,
       Turn(Q(IN), ROWS, DONE, Q("select count(*) from w"), until="ZZ"), SEEN)
script("COPY IN, a Query instead of data", (34,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data("1\t1\n"), Q("select 'not now'")), Q("select 1"), SEEN)
script("COPY IN, a Parse instead of data", (34,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data("1\t1\n"), P("", "select 1"), S, until="Z"), SEEN)
script("COPY IN, Terminate instead of data", (34,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data("1\t1\n"), message("X"), until="$"), ends=True)
script("COPY IN in a transaction", (33, 20), BEGUN, Q("begin"), Turn(Q(IN), until="G"), Turn(ROWS, DONE),
       SEEN, Q("rollback"), SEEN)
script("COPY IN that fails in a transaction", (35, 20), BEGUN, Q("begin"), Turn(Q(IN), until="G"),
       Turn(BAD, DONE), Q("select 1"), Q("rollback"), SEEN)
script("COPY IN at once after BEGIN", (33, 20), BEGUN, Turn(Q("begin"), Q(IN), until="ZG"),
       Turn(ROWS, DONE), Q("commit"), SEEN)
script("COPY IN in binary", (33,), BEGUN,
       Turn(Q("copy w (id, v) from stdin (format binary)"), until="G"),
       Turn(copy_data(b"PGCOPY\n\xff\r\n\0" + b"\0" * 8 + b"\0\2\0\0\0\4\0\0\0\5\0\0\0\4\0\0\0\6" +
                      b"\xff\xff"), DONE), SEEN)
script("COPY IN, one row in many messages", (33,), BEGUN, Turn(Q(IN), until="G"),
       Turn(*(copy_data(c) for c in "12\t34\n56\t78\n"), DONE), SEEN)
script("COPY IN, empty messages of data", (33,), BEGUN, Turn(Q(IN), until="G"),
       Turn(copy_data(""), copy_data("1\t1\n"), copy_data(""), DONE), SEEN)
script("COPY IN of many rows", (33,), BEGUN, Turn(Q(IN), until="G"),
       Turn(*(copy_data(f"{i}\t{i % 999}\n") for i in range(5000)), DONE),
       Q("select count(*), sum(v) from w"), cuts=False)

# ---- several in one Query ----

script("two COPY IN in one Query", (36,), BEGUN,
       Turn(Q(f"{IN}; {IN}; select count(*) from w"), until="G"),
       Turn(copy_data("1\t1\n"), DONE, until="G"), Turn(copy_data("2\t2\n"), DONE), SEEN)
script("two COPY IN in one Query, sent at once", (36,), BEGUN,
       Turn(Q(f"{IN}; {IN}"), copy_data("1\t1\n"), DONE, copy_data("2\t2\n"), DONE), SEEN)
script("two COPY IN in one Query, the first fails", (36, 35), BEGUN,
       Turn(Q(f"{IN}; {IN}"), BAD, DONE, copy_data("2\t2\n"), DONE), SEEN)
script("COPY IN, COPY OUT and a SELECT in one Query", (36,), BEGUN,
       Turn(Q(f"{IN}; copy w (id) to stdout; select 'end'"), until="G"), Turn(ROWS, DONE), SEEN)
script("two COPY OUT in one Query", (36,),
       Q("copy other_fixed to stdout; select 1; copy (select id from fixed where id < 4) to stdout"))

# ---- out ----

script("COPY OUT", (36,), Q("copy other_fixed to stdout"),
       Q("copy (select * from fixed where id < 9 order by id) to stdout (format csv, header)"))
script("COPY OUT in binary", (36,), Q("copy (select 1::int4, 'x'::text) to stdout (format binary)"))
script("COPY OUT with an error in the middle", (36,),
       Turn(Q("copy (select 1 / (5 - i) from generate_series(1, 9) i) to stdout"), until="ddddEZ"),
       Q("select 1"))
script("COPY OUT with an error when most of it has left", (36,),
       Turn(Q("copy (select repeat('p', 90), 1 / (2000 - i) from generate_series(1, 2001) i) to stdout"),
            until="d" * 1999 + "EZ"), Q("select 1"))
script("COPY OUT of many rows", (36,),
       Q("copy (select id, payload from fixed, generate_series(1, 60)) to stdout"), cuts=False)
script("COPY OUT by an extended statement", (36,),
       P("", "copy other_fixed to stdout") + B("", "") + D("P", "") + E() + S)
script("COPY OUT by a named statement, twice", (36,),
       P("out", "copy other_fixed to stdout") + B("", "out") + E() + S,
       B("", "out") + E() + Q("select 1") + S)
script("COPY OUT, then more of the batch", (36,),
       P("", "copy other_fixed to stdout") + B("", "") + E() + statement("select 2") + S)
script("COPY OUT that cannot begin", (36,), P("", "copy no_such_table to stdout") + B("", "") + E() + S,
       Q("select 1"))
script("late CopyData without any COPY is dropped", (35,),
       Turn(copy_data("nobody asked"), DONE, Q("select 1")), Turn(copy_fail("x"), Q("select 2")),
       Turn(P("", "select 3"), copy_data("x"), B("", ""), E(), S))

# ---- in, by an extended statement ----

COPY_IN = P("", IN) + B("", "") + E()
script("extended COPY IN, Sync after CopyDone", (33,), BEGUN, Turn(COPY_IN + H, until="G"),
       Turn(ROWS, DONE, S), SEEN)
script("extended COPY IN, Sync before the data is ignored", (33,), BEGUN,
       Turn(COPY_IN + S, until="G"), Turn(ROWS, DONE, S), SEEN)
script("extended COPY IN, all at once with two Syncs", (33,), BEGUN,
       Turn(COPY_IN, S, ROWS, DONE, S), SEEN)
script("extended COPY IN, all at once with one Sync", (33,), BEGUN, Turn(COPY_IN, ROWS, DONE, S), SEEN)
script("extended COPY IN with Flush and Sync in the middle", (33,), BEGUN, Turn(COPY_IN, H, until="G"),
       Turn(copy_data("1\t1\n"), H, S, H, copy_data("2\t2\n"), DONE, S), SEEN)
script("extended COPY IN that the client fails", (34,), BEGUN, Turn(COPY_IN + H, until="G"),
       Turn(ROWS, copy_fail("not this time"), S), SEEN)
script("extended COPY IN with an error before CopyDone", (35,), BEGUN, Turn(COPY_IN + H, until="G"),
       Turn(BAD, copy_data("5\t5\n"), DONE, S), SEEN)
script("extended COPY IN whose error was read before CopyDone", (35,), BEGUN,
       Turn(COPY_IN + H, until="G"), Turn(BAD + copy_data("x" * 70000), until="E"),
       Turn(copy_data("5\t5\n"), DONE, S), SEEN)
script("extended COPY IN with an error at CopyDone", (35,), BEGUN, Turn(COPY_IN + H, until="G"),
       Turn(copy_data("7\t70\n7\t70\n"), DONE, S), SEEN)
script("extended COPY IN that cannot begin, data sent along", (35,),
       Turn(P("", "copy no_such_table from stdin") + B("", "") + E(), copy_data("1\n"), DONE, S),
       Q("select 1"))
script("extended COPY IN that cannot begin, two Syncs sent along", (35,),
       Turn(P("", "copy no_such_table from stdin") + B("", "") + E(), S, copy_data("1\n"), DONE, S,
            until="ZZ"), Q("select 1"))
script("extended COPY IN, another message instead of data", (34,), BEGUN,
       Turn(COPY_IN + H, until="G"), Turn(copy_data("1\t1\n"), P("", "select 1"), S), Q("select 1"),
       SEEN)
script("extended COPY IN, then more of the batch", (33,), BEGUN, Turn(COPY_IN + H, until="G"),
       Turn(ROWS, DONE, statement("select count(*) from w"), S), SEEN)
script("extended COPY IN, then another in the next batch", (33,), BEGUN,
       Turn(COPY_IN + H, until="G"), Turn(copy_data("1\t1\n"), DONE, S),
       Turn(P("ci", IN) + B("", "ci") + E() + H, until="G"), Turn(copy_data("2\t2\n"), DONE, S), SEEN)
script("extended COPY IN behind a read of the same flight", (33,), BEGUN,
       Turn(statement("select 1") + S + COPY_IN + H, until="ZG"), Turn(ROWS, DONE, S), SEEN)
script("extended COPY IN behind an error of the same batch", (35,), BEGUN,
       Turn(P("", "nonsense") + COPY_IN, copy_data("1\t1\n"), DONE, S), SEEN)
script("extended COPY IN in a transaction", (33, 20), BEGUN, Q("begin"), Turn(COPY_IN + H, until="G"),
       Turn(ROWS, DONE, S), Q("commit"), SEEN)

# ---- FunctionCall ----

INT4ABS, UPPER, TEXT_LENGTH = 1397, 871, 1317
script("FunctionCall", (32,), function_call(INT4ABS, "-5"), function_call(UPPER, "shout"),
       function_call(TEXT_LENGTH, "four"), Q("select 1"))
script("FunctionCall with NULL", (32,), function_call(UPPER, None))
script("FunctionCall with a binary result", (32,), function_call(INT4ABS, "-5", result_format=1))
script("FunctionCall of what does not exist", (32,), function_call(4294967000, "x"), Q("select 1"))
script("FunctionCall with the wrong number of arguments", (32,), function_call(INT4ABS), Q("select 1"))
script("FunctionCall with an argument that cannot be read", (32,), function_call(INT4ABS, "x"),
       Q("select 1"))
script("FunctionCall in a transaction", (32, 20), Q("begin"), function_call(INT4ABS, "-7"),
       function_call(INT4ABS, "x"), function_call(INT4ABS, "-7"), Q("rollback"))
script("pipelined FunctionCalls", (32, 19),
       Turn(*(function_call(INT4ABS, str(-i)) for i in range(20)), Q("select 1"), until="Z" * 21))
script("FunctionCall in the middle of a batch", (32, 18),
       Turn(P("", "select 1") + B("", "") + E(), function_call(INT4ABS, "-1"),
            P("", "select 2") + B("", "") + E() + S, until="ZZ"))
script("FunctionCall drops nothing", (32, 26), P("", "select 5") + S, function_call(INT4ABS, "-1"),
       B("", "") + E() + S)
script("Close in COPY OUT's shadow", (30, 36),
       Turn(Q("copy other_fixed to stdout"), C("S", "none") + S, until="ZZ"))
