# SPDX-License-Identifier: PostgreSQL
"""Simple Query: items 16 to 20, and what comes at any time (37, 38)."""
from words import H, Q, S, Turn, script

# ---- several statements in one string ----

script("several statements have one ReadyForQuery", (16,),
       Q("select 1; select 2, 'two'; select id from fixed where id < 4"))
script("several statements with an error in the middle", (16,),
       Q("select 1; select 1/0; select 2"), Q("select 3"))
script("several statements are one implicit transaction", (16, 20),
       Q("truncate w"),
       Q("insert into w values (1, 1); insert into w values (2, 2); select 1/0"),
       Q("select * from w"))
script("several statements may begin a transaction", (16, 20),
       Q("truncate w"),
       Q("insert into w values (1, 1); begin; insert into w values (2, 2)"),
       Q("insert into w values (3, 3)"), Q("rollback"), Q("select id from w order by id"))
script("several statements may commit in the middle", (16, 20),
       Q("truncate w"),
       Q("begin; insert into w values (1, 1); commit; insert into w values (2, 2); select 1/0"),
       Q("select id from w order by id"))
script("an implicit transaction may be committed within a string", (16, 20),
       Q("truncate w"),
       Q("insert into w values (1, 1); commit; insert into w values (2, 2); select 1/0"),
       Q("select id from w order by id"))
script("an implicit transaction may be rolled back within a string", (16, 20),
       Q("truncate w"),
       Q("insert into w values (1, 1); rollback; insert into w values (2, 2)"),
       Q("select id from w order by id"))
script("a savepoint outside a transaction is an error", (16, 20), Q("savepoint a"), Q("select 1"))
script("a savepoint in an implicit transaction block is an error", (16, 20),
       Q("select 1; savepoint a"), Q("select 1"))
script("a syntax error in one statement fails all of the string", (16,),
       Q("truncate w"), Q("insert into w values (1, 1); selec 1"), Q("select * from w"))
script("a Query of only separators", (16, 17), Q(";;;"), Q("; select 1;;"), Q(" ;\n; "))

# ---- empty ----

script("an empty Query", (17,), Q(""), Q("select 1"))
script("a blank Query", (17,), Q("  \n\t "), Q("select 1"))
script("a Query that is a comment", (17,), Q("-- nothing"), Q("/* nothing /* at */ all */"))
script("empty Queries in a transaction", (17, 20), Q("begin"), Q(""), Q("-- x"), Q("select 1"),
       Q(""), Q("commit"), Q(""))
script("empty Queries in a failed transaction", (17, 20), Q("begin"), Q("select 1/0"), Q(""),
       Q("/* */"), Q("rollback"))

# ---- pipelined ----

script("pipelined Queries", (19,), Turn(b"".join(Q(f"select {i}") for i in range(50)), until="Z" * 50))
script("pipelined Queries with errors among them", (19,),
       Turn(*(Q(f"select 10 / {i % 5}") for i in range(40)), until="Z" * 40))
script("pipelined Queries that open and close a transaction", (19, 20),
       Turn(Q("begin"), Q("select 1"), Q("commit"), Q("select 2"), Q("begin"), Q("rollback"),
            Q("select 3"), until="ZZZZZZZ"))
script("pipelined transaction whose second statement fails", (19, 20),
       Turn(Q("truncate w"), Q("begin"), Q("insert into w values (1, 1)"),
            Q("insert into w values (1, 1)"), Q("insert into w values (2, 2)"), Q("commit"),
            Q("select count(*) from w"), until="ZZZZZZZ"))
script("pipelined reads and writes see each other in order", (19,),
       Turn(Q("truncate w"), Q("insert into w values (1, 1)"), Q("select v from w"),
            Q("update w set v = 2"), Q("select v from w"), Q("delete from w"),
            Q("select v from w"), until="ZZZZZZZ"))
script("pipelined empty Queries", (17, 19), Turn(Q(""), Q("select 1"), Q(""), Q(""), until="ZZZZ"))

# ---- the status byte ----

script("a transaction that commits", (20,), Q("begin"), Q("select 1"), Q("commit"), Q("select 1"))
script("a transaction that fails and is rolled back", (20,), Q("begin"), Q("select 1/0"),
       Q("select 1"), Q("rollback"), Q("select 1"))
script("a commit of a failed transaction is a rollback", (20,), Q("begin"), Q("nonsense"),
       Q("commit"), Q("select 1"))
script("a transaction that does nothing", (20,), Q("begin"), Q("commit"))
script("a transaction that does nothing and is rolled back", (20,), Q("start transaction"),
       Q("rollback"))
script("BEGIN in other words", (20,), Q("BEGIN WORK"), Q("end"), Q("start transaction read write"),
       Q("abort"), Q("begin isolation level repeatable read"), Q("select 1"), Q("commit work"))
script("a BEGIN within a transaction is a warning", (20, 37), Q("begin"), Q("begin"),
       Q("select 1"), Q("begin"), Q("commit"))
script("a COMMIT without a transaction is a warning", (20, 37), Q("commit"), Q("rollback"),
       Q("select 1"))
script("COMMIT AND CHAIN begins another transaction", (20,), Q("begin"), Q("select 1"),
       Q("commit and chain"), Q("select 2"), Q("rollback and chain"), Q("select 3"), Q("rollback"))
script("COMMIT AND CHAIN at once after BEGIN", (20,), Q("begin"), Q("commit and chain"),
       Q("select 2"), Q("rollback"))
script("AND CHAIN without a transaction is an error", (20,), Q("commit and chain"), Q("select 1"))
script("savepoints", (20,), Q("begin"), Q("savepoint a"), Q("select 1/0"), Q("rollback to a"),
       Q("select 1"), Q("release a"), Q("commit"))
script("a savepoint at once after BEGIN", (20,), Q("begin"), Q("savepoint a"), Q("rollback to b"),
       Q("rollback to a"), Q("commit"))
script("SET TRANSACTION at once after BEGIN", (20,), Q("begin"),
       Q("set transaction isolation level serializable"), Q("show transaction_isolation"),
       Q("commit"), Q("show transaction_isolation"))
script("a read only transaction refuses a write", (20,), Q("begin read only"),
       Q("select 1"), Q("insert into w values (7, 7)"), Q("rollback"))
script("BEGIN with an error in it", (20,), Q("begin nonsense"), Q("select 1"))
script("BEGIN as several statements", (20,), Q("begin; select 1"), Q("select 2"), Q("commit"))
script("a deferred constraint fails the COMMIT", (20,), Q("truncate deferred"), Q("begin"),
       Q("insert into deferred values (1), (1)"), Q("commit"), Q("select count(*) from deferred"))
script("two phase commit", (20,), Q("truncate w"), Q("begin"), Q("insert into w values (1, 1)"),
       Q("prepare transaction 'conformance'"), Q("select 1"), Q("commit prepared 'conformance'"),
       Q("select id from w"))
script("a procedure that commits", (20,), Q("truncate w"),
       Q("do $$ begin insert into w values (1, 1); commit; insert into w values (2, 2); rollback; "
         "end $$"), Q("select id from w order by id"))

# ---- errors with all their fields; notices ----

script("every field of an error arrives", (37, 41), Q("select warns_and_fails()"), Q("select 1"))
script("constraint violations carry their names", (41,), Q("truncate w"),
       Q("insert into w values (1, 5000)"), Q("insert into w values (null, 1)"),
       Q("insert into w values (1, 1), (1, 1)"))
script("the position of an error is the client's", (41,), Q("select  nonsense from fixed"),
       Q("select 'unterminated"), Q("select 1 +"))
script("notices come between the rows", (37,),
       Q("select says('one'); select says('two'), id from fixed where id < 4"))
script("notices of DDL", (37,), Q("drop table if exists no_such_table"),
       Q("create table if not exists w (id int)"))
script("many notices before any row", (37,),
       Q("do $$ begin for i in 1..300 loop raise notice 'notice %', i; end loop; end $$"))
script("an error after many rows", (40, 41),
       Turn(Q("select 1 / (3000 - i) from generate_series(1, 3001) i"), until="D" * 2999 + "EZ"))

# ---- ParameterStatus ----

script("ParameterStatus after SET", (38,), Q("set datestyle = 'German'"), Q("select date '2026-11-20'"),
       Q("reset datestyle"), Q("select date '2026-11-20'"))
script("a rollback sends the old ParameterStatus", (38,), Q("begin"),
       Q("set datestyle = 'SQL, DMY'"), Q("select date '2026-11-20'"), Q("rollback"),
       Q("select date '2026-11-20'"))
script("SET LOCAL sends ParameterStatus twice", (38,), Q("begin"),
       Q("set local timezone = 'Asia/Tokyo'"), Q("select 1"), Q("commit"), Q("show timezone"))
script("an error in an implicit transaction takes SET back", (38,),
       Q("set intervalstyle = 'iso_8601'; select 1/0"), Q("show intervalstyle"))
script("SET in a transaction that commits stays", (38,), Q("begin"), Q("set timezone = 'Asia/Tokyo'"),
       Q("commit"), Q("show timezone"), Q("reset all"), Q("show timezone"))
script("a rollback to a savepoint takes SET back", (38,), Q("begin"), Q("savepoint a"),
       Q("set timezone = 'Asia/Tokyo'"), Q("rollback to a"), Q("show timezone"), Q("commit"))
script("application_name is reported", (38,), Q("set application_name = 'ein Name'"),
       Q("show application_name"))
script("set_config is reported", (38,), Q("select set_config('DateStyle', 'German', false)"),
       Q("select date '2026-11-20'"))
script("SET of what does not exist", (38,), Q("set nonsense = 1"), Q("set datestyle = 'nonsense'"),
       Q("select 1"))
script("search_path chooses the table", (29, 38), Q("set search_path = s1"),
       Q("select place from where_am_i"), Q("set search_path = s2, public"),
       Q("select place from where_am_i"), Q("reset search_path"), Q("select place from where_am_i"))
script("DISCARD ALL resets settings", (30, 38), Q("set timezone = 'Asia/Tokyo'"), Q("discard all"),
       Q("show timezone"), Q("select 1"))
script("DISCARD ALL in a transaction is an error", (30,), Q("begin"), Q("discard all"),
       Q("rollback"))
script("SET SESSION CHARACTERISTICS", (38,),
       Q("set session characteristics as transaction read only"), Q("show transaction_read_only"),
       Q("insert into w values (1, 1)"),
       Q("set session characteristics as transaction read write"),
       Q("show transaction_read_only"))

# ---- LISTEN ----

script("NOTIFY reaches its own session before ReadyForQuery", (37,), Q("listen chatter"),
       Q("notify chatter, 'hello'"), Q("select 1"), Q("begin"), Q("notify chatter, 'later'"),
       Q("select 2"), Q("commit"), Q("unlisten chatter"), Q("notify chatter, 'nobody'"))
script("a NOTIFY that is rolled back is not sent", (37,), Q("listen chatter"), Q("begin"),
       Q("notify chatter, 'never'"), Q("rollback"), Q("unlisten *"))
script("LISTEN in a transaction that is rolled back", (37,), Q("begin"), Q("listen chatter"),
       Q("rollback"), Q("notify chatter, 'nobody'"), Q("select 1"))

# ---- sessions ----

script("a temporary table belongs to its session", (37,),
       Q("create temp table mine (id int)"), Q("insert into mine values (1), (2)"),
       Q("select id + 0 from mine order by id"), Q("drop table mine"), Q("select 1"))
script("SQL cursors", (20,), Q("begin"), Q("declare c cursor for select id from fixed order by id"),
       Q("fetch 3 from c"), Q("move 5 in c"), Q("fetch 2 from c"), Q("close c"), Q("fetch c"),
       Q("rollback"))
script("WITH HOLD cursors outlive their transaction", (20,),
       Q("declare held cursor with hold for select id from fixed order by id"),
       Q("fetch 2 from held"), Q("fetch 2 from held"), Q("close held"), Q("fetch held"))
script("SQL prepared statements", (30,), Q("prepare p (int) as select name from fixed where id = $1"),
       Q("execute p(3)"), Q("execute p(4)"), Q("deallocate p"), Q("execute p(3)"), Q("select 1"))
script("SQL prepared statements are dropped by DEALLOCATE ALL", (30,), Q("prepare p as select 1"),
       Q("prepare q as select 2"), Q("deallocate all"), Q("execute p"), Q("execute q"))
script("SQL prepared statements twice", (28, 30), Q("prepare p as select 1"), Q("prepare p as select 1"),
       Q("deallocate nonsense"), Q("deallocate p"))
script("explain", (16,), Q("explain (costs off) select * from fixed where id = 3"),
       Q("explain (analyze, costs off, timing off, summary off) select count(*) from other_fixed"))
script("utility statements", (16,), Q("vacuum other_fixed"), Q("analyze other_fixed"),
       Q("lock table w"), Q("begin"), Q("lock table w"), Q("commit"), Q("checkpoint"))
script("vacuum in a transaction is an error", (16,), Q("begin"), Q("vacuum w"), Q("rollback"),
       Q("select 1; vacuum w"))
script("a result without columns", (16,), Q("select"), Q("select from fixed where id < 3"))
script("values of many kinds", (13,),
       Q("select null, ''::text, 'x'::bytea, 1.5::numeric, true, array[1, null, 3], "
         "row(1, 'a'), '{\"a\": 1}'::jsonb, 'ok'::mood, 'NaN'::float8"))
script("a long row", (13,), Q("select repeat('long ', 100000)"), Q("select 1"))
script("a wide row", (13,), Q("select " + ", ".join(f"{i} as c{i}" for i in range(600))))
script("many rows", (13,), Q("select id, payload from fixed, generate_series(1, 40) order by 1"))
script("a long statement", (13,), Q("select length('" + "y" * 300000 + "')"), cuts=False)
script("a statement beyond every buffer", (13,), Q("select length('" + "y" * 3000000 + "')"),
       Q("select 1"), cuts=False)
script("text in UTF-8", (13,), Q("select 'häßlich ☃ 漢字'"), Q("select length('☃☃')"))
script("text that is not UTF-8", (13, 41), Q("select 'ABC'").replace(b"ABC", b"\xff\xfe."), Q("select 1"))
script("standard_conforming_strings off", (38,), Q("set standard_conforming_strings = off"),
       Q("select 'a\\'b'"), Q("reset standard_conforming_strings"))
script("Flush and Sync between Queries", (19, 25), Turn(H, Q("select 1"), H), Turn(S, S, until="ZZ"),
       Q("select 2"))

# ---- a server that ends a statement, or itself ----

script("a statement that is cancelled by itself", (39,),
       Q("select pg_cancel_backend(pg_backend_pid()), pg_sleep(1)"), Q("select 1"))
script("a statement_timeout", (39,), Q("set statement_timeout = '30ms'"), Q("select pg_sleep(5)"),
       Q("reset statement_timeout"), cuts=False)
script("a server process that ends itself", (39,),
       Turn(Q("select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)"), until="$"), ends=True)
script("a server process that ends itself in a transaction", (39,), Q("begin"), Q("select 1"),
       Turn(Q("select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)"), until="$"), ends=True)
script("a transaction that is idle for too long", (39,),
       Q("set idle_in_transaction_session_timeout = '30ms'"), Q("begin"), Q("select 1"),
       Turn(until="$"), ends=True, cuts=False)
script("a session that is idle for too long", (39,), Q("set idle_session_timeout = '30ms'"),
       Turn(until="$"), ends=True, cuts=False, modes=("session",))
