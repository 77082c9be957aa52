# SPDX-License-Identifier: PostgreSQL
"""A replica refuses what looks like a read: that text is learned, whatever can be done for its client.

stable_liar() says that it is STABLE, and inserts. Its rows in `log` tell how often something was done.
"""
import time

import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import last_route, one
from wire import Wire, bind, execute, first_error, parse, query, sync, types

pytestmark = pytest.mark.one_session


@pytest.fixture(scope="module", autouse=True)
def liars(cluster):
    cluster.primary.psql("""
        create function late_liar(n int) returns int language plpgsql stable as
            $$ begin if n = 99 then perform stable_liar('late'); end if; return n; end $$;
        create view lies as select stable_liar('view') as x;
        create view late_lies as select id, late_liar(id) as x from t order by id;
        grant select on lies, late_lies to public""", APP_DATABASE)
    cluster.wait_replicated()
    yield
    cluster.primary.psql("drop view lies, late_lies; drop function late_liar", APP_DATABASE)
    cluster.wait_replicated()


@pytest.fixture(name="open_gear")
def a_proxy_without_passwords(proxy):
    return proxy(switchgear={"auth_type": "trust", "workers": 1},
                 database={"transaction_reads": "until_write"})


def pipeline(*texts):
    return b"".join(parse("", text) + bind("", "") + execute() for text in texts) + sync()


# The client has had something of its answer before the replica refused: it cannot be helped.
BEGUN = {
    "copy": query("copy (select x as a1 from lies) to stdout"),
    "copy late": query("copy (select x as a2 from late_lies) to stdout"),
    "string": query("select 2; select x as a3 from lies"),
    "string with rows": query("select generate_series(1, 100); select x as a4 from lies; select 3"),
    "rows": query("select x as a5 from late_lies"),
    "extended rows": pipeline("select x as a6 from late_lies"),
    "pipeline": pipeline("select 4", "select x as a7 from lies", "select 5"),
    "long pipeline": pipeline(*(f"select {n} as c{n}" for n in range(9)), "select x as a8 from lies"),
    "named": parse("n1", "select x as a9 from late_lies") + bind("", "n1") + execute() + sync(),
    "two portals": (parse("", "select x as b1 from late_lies") + bind("one", "") + parse("", "select 6") +
                    bind("two", "") + execute("two") + execute("one") + sync()),
    "in pieces": (parse("", "select x as b2 from late_lies") + bind("", "") + execute(rows=10) +
                  execute(rows=0) + sync()),
    "explain analyze": query("select 7; explain analyze select x as b3 from lies"),
    "hint": query("/* switchgear: route=replica */ select x as b4 from late_lies"),
    "binary copy": query("copy (select x as b5 from lies) to stdout (format binary)"),
}


@pytest.mark.parametrize("form", list(BEGUN))
def test_a_client_that_cannot_be_helped_gets_the_error_once(cluster, open_gear, form):
    before = cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0]
    done, errors = 0, []
    # the primary may take the first ones, and a lesson goes when the catalog is asked for anew
    end = time.monotonic() + 20
    while time.monotonic() < end and errors[-3:] != ["25006", None, None]:
        with Wire(open_gear.port) as w:
            w.login(APP_USER, APP_DATABASE)
            messages = w.run(BEGUN[form])
            error = first_error(messages)
            errors.append(error and error["C"])
            done += error is None
    assert errors.count("25006") <= 2 and errors[-2:] == [None, None], errors
    after = cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0]
    assert after - before == done


# Nothing but descriptions came before it: nobody notices.
WHOLE = {
    "query": query("select x as d1 from lies"),
    "extended": pipeline("select x as d2 from lies"),
    "described": parse("", "select x as d3 from lies") + bind("", "") + execute() + sync(),
    "named": parse("n1", "select x as d4 from lies") + bind("", "n1") + execute() + sync(),
    "first of a string": query("select x as d5 from lies; select 2"),
}


@pytest.mark.parametrize("form", list(WHOLE))
def test_who_can_be_helped_notices_nothing(cluster, open_gear, form):
    before = cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0]
    for _ in range(2):
        with Wire(open_gear.port) as w:
            w.login(APP_USER, APP_DATABASE)
            assert first_error(w.run(WHOLE[form])) is None
    assert cluster.primary.psql("select count(*) from log", APP_DATABASE)[0][0] == before + 2


def test_in_a_pipeline_the_reads_beside_it_are_not_learned(open_gear):
    c = open_gear.connect()  # the names are known then
    with Wire(open_gear.port) as w:
        w.login(APP_USER, APP_DATABASE)
        w.run(pipeline("select id as e1 from t where id = 1", "select x as e2 from late_lies",
                       "select id as e3 from t where id = 1"))
    for text in ("select id as e1 from t where id = 1", "select id as e3 from t where id = 1"):
        wait_until(lambda t=text: one(c, t) == 1 and last_route(c)["role"] == "replica", 10,
                   "a replica reads it")


def test_in_a_block_that_is_half_read_the_client_is_told_and_the_text_learned(cluster, open_gear):
    text, errors = "select x as f1 from late_lies", []
    for _ in range(5):  # a lesson goes when the catalog is asked for anew
        with Wire(open_gear.port) as w:
            w.login(APP_USER, APP_DATABASE)
            w.run(query("begin"))
            assert first_error(w.run(parse("", text), bind("", ""), execute(rows=1), sync())) is None
            error = first_error(w.run(execute(), sync()))
            errors.append(error and error["C"])
            assert types(w.run(query("rollback"))) == "CZ"
    assert set(errors) <= {None, "25006", "40001"} and errors.count(None) >= 3 and errors[-1] is None, errors


QUIET_LIARS = {  # each says that it is STABLE, and tells nobody that a replica has refused it
    "perform": "perform do_note('{n}'); return 1",
    "execute": "execute 'select do_note(''{n}'')'; return 1",
    "select into": "select do_note('{n}') into found_it; return found_it",
}


@pytest.mark.invariant
@pytest.mark.parametrize("reads", ["until_write", "primary"])
def test_a_liar_that_catches_its_refusal_writes_all_the_same(cluster, proxy, reads):
    cluster.primary.psql("delete from log where note like 'quiet%'", APP_DATABASE)
    for name, body in QUIET_LIARS.items():
        name = "quiet_" + name.replace(" ", "_")
        cluster.primary.psql(f"create or replace function {name}() returns int language plpgsql stable as $f$ declare "
                             f"found_it int; begin {body.format(n=name)}; exception when others then return -1; end $f$",
                             APP_DATABASE)
    cluster.primary.psql("create or replace function quiet_cast(what text) returns int language plpgsql immutable as "
                         "'begin return what::int; exception when others then return null; end'", APP_DATABASE)
    cluster.wait_replicated()
    p = proxy(database={"transaction_reads": reads})
    c = p.connect()
    wait_until(lambda: one(c, "select quiet_cast('7')") == 7 and last_route(c)["role"] == "replica", 10,
               "what only computes may go to a replica, and the names are known")
    for name in QUIET_LIARS:
        name = "quiet_" + name.replace(" ", "_")
        block = p.connect(autocommit=False)
        assert one(c, f"select {name}()") == 1
        assert one(block, f"select {name}()") == 1
        block.commit()
        block.close()
        assert cluster.primary.psql(f"select count(*) from log where note = '{name}'", APP_DATABASE)[0][0] == 2
