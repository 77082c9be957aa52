# SPDX-License-Identifier: PostgreSQL
"""Blocks declared READ ONLY read on a replica, and go to the primary for what is its own in such a block."""
import psycopg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import last_route, one, rows_of

pytestmark = pytest.mark.one_session


@pytest.fixture(scope="module", autouse=True)
def functions(cluster):
    cluster.primary.psql("""
        create schema ro;
        create function ro.hold(k int) returns int language plpgsql as
            $$ begin perform pg_advisory_lock(k); return k; end $$;
        create function ro.hold_for_now(k int) returns int language plpgsql as
            $$ begin perform pg_advisory_xact_lock(k); return k; end $$;
        create function ro.says(what text) returns text language plpgsql as
            $$ begin perform pg_notify('ro', what); return what; end $$;
        create function ro.number() returns text language plpgsql as
            $$ begin return txid_current()::text; end $$;
        create function ro.twice(k int) returns int language sql immutable as $$ select 2 * k $$;
        create function ro.counted() returns bigint language sql stable as $$ select count(*) from t $$;
        create function ro.writes() returns int language plpgsql as
            $$ begin insert into log (note) values ('ro'); return 1; end $$;
        create procedure ro.proc(k int) language plpgsql as
            $$ begin perform pg_advisory_xact_lock(k); end $$;
        create view ro.held as select ro.hold_for_now(9) as k;
        create sequence ro.steps;
        create operator ro.<#> (procedure = ro.hold_both, leftarg = int, rightarg = int)
        """.replace("create operator", """create function ro.hold_both(a int, b int) returns int language plpgsql as
            $$ begin perform pg_advisory_xact_lock(a, b); return a; end $$;
        create operator"""), APP_DATABASE)
    cluster.primary.psql("grant usage on schema ro to public; grant select on ro.held to public; "
                         "grant all on ro.steps to public",
                         APP_DATABASE)
    cluster.wait_replicated()
    yield
    cluster.primary.psql("drop schema ro cascade", APP_DATABASE)
    cluster.wait_replicated()


def locks(node):
    return node.psql("select count(*) from pg_locks where locktype = 'advisory'", APP_DATABASE)[0][0]


def begun(p, begin="begin read only", **options):
    """A session in a block that has read on a replica."""
    c = p.connect(**options)

    def reads():
        rows_of(c, begin)
        one(c, "select count(*) from t")
        if last_route(c)["role"] == "replica":
            return True
        rows_of(c, "rollback")
        return False
    wait_until(reads, 10, "the names are known")
    return c


DECLARED = [["begin", "begin read only"], ["begin", "start transaction read only"],
            ["begin", "set transaction read only"], ["begin", "set local transaction_read_only = on"],
            ["begin", "savepoint s", "begin read only"], ["begin", "select 1", "begin read only", "select 1"],
            ["begin read only", "begin"], ["begin read only", "savepoint s", "begin isolation level read committed"],
            ["begin", "begin isolation level repeatable read read only"],
            ["begin", "start transaction isolation level serializable, read only, deferrable"],
            ["begin", "begin read only, isolation level repeatable read", "savepoint s"],
            ["begin", "set transaction isolation level repeatable read, read only"],
            ["begin", "select 1", "rollback", "begin", "begin isolation level repeatable read read only", "select 1"],
            ["begin", "begin isolation level repeatable read", "set transaction read only"],
            ["begin", "begin read only", "begin isolation level repeatable read"]]
FIRST = ["insert into log (note) values ('declared')", "select ro.writes()", "select nextval('ro.steps')",
         "create temp table declared (a int)", "lock table t", "notify declared", "do 'begin perform ro.writes(); end'",
         "select ro.hold_for_now(17)", "insert into scratch values (1)", "call ro.proc(18)"]


@pytest.mark.invariant
@pytest.mark.parametrize("reads", ["until_write", "primary"])
def test_a_block_that_was_declared_later_moves_as_what_it_was_declared(cluster, proxy, reads):
    """The proxy does not know what names stand for, as it may not read all that it asks for: so the write is the
    primary's, in a READ ONLY block too, and the block moves there."""
    cluster.primary.psql("revoke select on pg_amproc from public", APP_DATABASE)
    try:
        p = proxy(database={"transaction_reads": reads})
        written = [declared for declared in DECLARED * 2 if writes_as(p, declared, FIRST[0])]
        assert written == []
    finally:
        cluster.primary.psql("grant select on pg_amproc to public", APP_DATABASE)
    p = proxy(database={"transaction_reads": reads})
    begun(p)
    written = [(first, declared) for declared in DECLARED for first in FIRST if writes_as(p, declared, first)]
    assert written == []


def writes_as(p, declared, first):
    """Behind `first` a row is written, or the block says that it might be."""
    c = p.connect()
    for sql in declared:
        rows_of(c, sql)
    try:
        rows_of(c, first)
        if one(c, "show transaction_read_only") != "on":
            return True
        rows_of(c, FIRST[0])
        return True
    except psycopg2.errors.lookup("25006"):
        return False
    except psycopg2.Error as error:
        return error.pgcode not in ("0A000", "40001", "25P02")
    finally:
        rows_of(c, "rollback")
        c.close()


PRIMARYS = {
    "session lock": "select ro.hold({n})",
    "lock": "select ro.hold_for_now({n})",
    "lock in a view": "select k, {n} from ro.held",
    "lock by an operator": "select 1 operator(ro.<#>) {n}",
    "lock in a condition": "select id from t where id < 3 and ro.hold_for_now({n}) > 0",
    "procedure": "call ro.proc({n})",
    "do": "do $$ begin perform pg_advisory_xact_lock({n}); end $$",
    "direct": "select pg_advisory_xact_lock({n})",
    "copy": "copy (select ro.hold_for_now({n})) to stdout",
    "explain": "explain analyze select ro.hold_for_now({n})",
    "string": "select 1; select ro.hold_for_now({n})",
}


@pytest.mark.core
@pytest.mark.invariant
@pytest.mark.parametrize("form", list(PRIMARYS))
def test_a_lock_that_no_text_shows_is_taken_on_the_primary(cluster, gear, form):
    c = begun(gear)
    sql = PRIMARYS[form].format(n=5000 + list(PRIMARYS).index(form))
    with c.cursor() as cursor:
        if form == "copy":
            with open("/dev/null", "w", encoding="ascii") as nowhere:
                cursor.copy_expert(sql, nowhere)
        else:
            cursor.execute(sql)
    assert (locks(cluster.primary), [locks(r) for r in cluster.replicas]) == (1, [0, 0])
    rows_of(c, "rollback")
    c.close()
    wait_until(lambda: locks(cluster.primary) == 0, 10, "what was held is free")


def test_what_a_standby_refuses_is_done(gear):
    c = begun(gear)
    assert one(c, "select ro.says('x')") == "x"
    assert int(one(c, "select ro.number()")) > 0
    rows_of(c, "commit")
    for sql in ("notify ro", "lock table t in share mode", "select count(*) from scratch", "listen ro"):
        c = begun(gear)
        rows_of(c, sql)
        rows_of(c, "commit")
        c.close()


def test_the_rest_of_the_block_is_there_too(cluster, gear):
    c = begun(gear)
    one(c, "select ro.hold_for_now(51)")
    assert one(c, "select count(*) from t /*behind*/") == 100
    assert last_route(c)["role"] == "primary"
    rows_of(c, "commit")
    assert set(cluster.saw("behind")) == {"p1"}


def test_it_is_read_only_there(cluster, gear):
    before = cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0]
    for sql in ("select ro.writes()", "select nextval('ro.steps')", "insert into log (note) values ('ro')"):
        c = begun(gear)
        with pytest.raises(psycopg2.Error) as caught:
            rows_of(c, sql)
        assert caught.value.pgcode == "25006" and "read-only transaction" in str(caught.value)
        rows_of(c, "rollback")
    assert cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0] == before


@pytest.mark.parametrize("sql", ["select ro.twice(2)", "select ro.counted()", "select 1 from pg_class limit 1",
                                 "explain select ro.hold(1)", "select current_setting('work_mem')",
                                 "fetch c", "select random()"])
def test_what_is_known_stays_on_its_replica(gear, sql):
    c = begun(gear)
    rows_of(c, "declare c cursor for select 1" if sql == "fetch c" else "savepoint s")
    rows_of(c, sql)
    assert last_route(c)["role"] == "replica"
    rows_of(c, "commit")


def test_set_local_and_savepoints_go_with_it(gear):
    c = gear.connect()
    rows_of(c, "begin")
    rows_of(c, "set transaction read only")
    rows_of(c, "set local work_mem = '7MB'")
    one(c, "select count(*) from t")
    assert last_route(c)["role"] == "replica"
    rows_of(c, "savepoint a")
    one(c, "select ro.hold_for_now(52)")
    assert last_route(c)["role"] == "primary"
    assert one(c, "show work_mem") == "7MB" and one(c, "show transaction_read_only") == "on"
    rows_of(c, "rollback to a")
    rows_of(c, "commit")


@pytest.mark.parametrize("behind", ["declare c cursor for select 1", "set work_mem = '6MB'",
                                    "select set_config('ro.x', 'y', true)",
                                    "lock table t in access share mode"])
def test_with_something_open_it_stays_where_it_is(gear, behind):
    c = begun(gear)
    rows_of(c, behind)
    one(c, "select ro.hold_for_now(53)")
    assert last_route(c)["role"] == "replica"
    if behind.startswith("declare"):
        assert one(c, "fetch c") == 1
    rows_of(c, "commit")


def test_a_snapshot_stays_where_it_is(gear):
    c = begun(gear, "begin isolation level repeatable read read only")
    one(c, "select ro.hold_for_now(54)")
    assert last_route(c)["role"] == "replica"
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(c, "select pg_advisory_xact_lock(54)")
    assert caught.value.pgcode == "0A000" and "first in its READ ONLY" in str(caught.value)
    rows_of(c, "rollback")
    rows_of(c, "begin isolation level repeatable read read only")
    one(c, "select ro.hold_for_now(54)")
    assert last_route(c)["role"] == "primary"
    rows_of(c, "rollback")


def test_a_snapshot_that_the_server_makes_by_default_stays(cluster, proxy):
    cluster.primary.psql(f"alter role {APP_USER} set default_transaction_isolation = 'repeatable read'")
    cluster.wait_replicated()
    try:
        c = begun(proxy())
        one(c, "select ro.hold_for_now(55)")
        assert last_route(c)["role"] == "replica"
        assert one(c, "show transaction_isolation") == "repeatable read"
        rows_of(c, "commit")
    finally:
        cluster.primary.psql(f"alter role {APP_USER} reset default_transaction_isolation")
        cluster.wait_replicated()


def test_a_read_only_session_of_a_driver_moves(cluster, gear):
    begun(gear).close()
    with psycopg.connect(host="127.0.0.1", port=gear.port, user=APP_USER, password=APP_PASSWORD,
                         dbname=APP_DATABASE) as c:
        c.read_only = True
        for prepare in (False, True):
            wait_until(lambda p=prepare: c.execute("select count(*) from t", prepare=p).fetchone()[0] == 100,
                       5, "it reads")
            c.execute("select ro.hold_for_now(%s) + 0", (56,), prepare=prepare)
            assert (locks(cluster.primary), [locks(r) for r in cluster.replicas]) == (1, [0, 0])
            c.commit()


def test_the_given_case(cluster, gear):
    """BEGIN READ ONLY; a function that takes a lock; COMMIT: also behind a read."""
    for reads in ([], ["select count(*) from t"]):
        c = begun(gear)
        rows_of(c, "rollback")
        for sql in ["begin read only", *reads, "select ro.hold(57)", "commit"]:
            rows_of(c, sql)
        assert (locks(cluster.primary), [locks(r) for r in cluster.replicas]) == (1, [0, 0])
        c.close()
        wait_until(lambda: locks(cluster.primary) == 0, 10, "it is free")
