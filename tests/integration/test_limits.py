# SPDX-License-Identifier: PostgreSQL
"""How many server connections and clients there may be, and who waits for whom."""
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import Load, last_route, one, rows_of

OWNER = {"user": "app", "password": "app-secret"}
NODES = ("p1", "r1", "r2")
ON_PRIMARY = "/* switchgear: route=primary */ "


def backends(cluster):
    return {node.name: len(node.backends()) for node in cluster.nodes}


class Watch:
    """The most application backends at one moment: of each node, and of all together."""

    def __init__(self, cluster):
        self.cluster, self.most, self.most_of_all = cluster, {}, 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self):
        """What two looks in a row have seen: nodes are asked one after another, and a server's
        process outlives its connection by a moment."""
        before = {}
        while not self.ending.wait(0.02):
            now = backends(self.cluster)
            self.most_of_all = max(self.most_of_all, min(sum(now.values()), sum(before.values())))
            for name, count in now.items():
                count = min(count, before.get(name, 0))
                self.most[name] = max(self.most.get(name, 0), count)
            before = now


def in_parallel(works):
    """Runs them at the same time; returns what they returned, or the errors that they raised."""
    results = [None] * len(works)

    def run(i):
        try:
            results[i] = works[i]()
        except psycopg2.Error as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def mixed(connection, index):
    rows_of(connection, "select pg_sleep(0.01)" if index % 2 else
            "update t set v = v + 1 where id = 50")


def test_max_db_connections_counts_all_nodes_and_workers(cluster, proxy):
    p = proxy(database={"max_db_connections": 3, "pool_size": 10})
    with Watch(cluster) as watch:
        with Load(p, mixed, clients=12) as load:
            time.sleep(1.5)
        assert load.errors == []
    assert load.done > 50
    assert 0 < watch.most_of_all <= 3, watch.most


def settled(p, seconds=4, clients=12):
    """What many clients that read and write get done in each part of the time, once all is open."""
    with Load(p, mixed, clients=clients, pause=0) as load:
        wait_until(lambda: load.done > clients, 20, "all are under way")
        parts = []
        for _ in range(4):
            before = load.done
            time.sleep(seconds / 4)
            parts.append(load.done - before)
    assert load.errors == []
    return parts


def test_one_connection_for_all_nodes_stalls_nobody(cluster, proxy):
    p = proxy(database={"max_db_connections": 1, "pool_size": 2})
    with Watch(cluster) as watch:
        parts = settled(p)
    assert min(parts) > 0, parts
    assert watch.most_of_all == 1, watch.most


def test_a_node_limit_is_as_good_as_a_pool_size(proxy):
    """The workers share the one connection: nothing is closed for who waits in the same pool."""
    p = proxy(database={"pool_size": 10}, nodes={n: {"max_connections": 1} for n in NODES})
    settled(p)
    opened = p.metric("switchgear_connect_duration_seconds_count")
    assert opened < 20, opened


@pytest.mark.parametrize("where", ["database", "switchgear"])
def test_a_limit_per_node_is_as_good_as_a_pool_size(cluster, proxy, where):
    p = proxy(database={"pool_size": 1})
    by_size = sum(settled(p))
    p.stop()
    limit = {"max_db_connections_per_node": 1}
    p = proxy(**{"database": {"pool_size": 10}, where: {**limit, **(
        {"pool_size": 10} if where == "database" else {})}})
    with Watch(cluster) as watch:
        by_limit = sum(settled(p))
    assert by_limit * 3 > by_size, (by_limit, by_size)  # 1.3 on a machine of its own: a stall is meant
    assert max(watch.most.values()) == 1, watch.most
    assert watch.most["p1"] == 1


def test_a_limit_per_node_counts_all_users_and_one_database(cluster, proxy):
    p = proxy(database={"max_db_connections_per_node": 1, "user": "app", "password": "app-secret"},
              databases={"other": {}})
    held, other = p.connect(), p.connect(dbname="other")
    rows_of(held, "begin")
    rows_of(held, "update t set v = v + 1 where id = 50")
    rows_of(other, "update t set v = v + 1 where id = 51")  # not counted there
    assert len(cluster.primary.backends()) == 2
    p.admin("SET database.app.max_db_connections_per_node = 2")
    rows_of(p.connect(), "update t set v = v + 1 where id = 51")
    assert len(cluster.primary.backends()) == 3
    rows_of(held, "commit")
    p.admin("SET database.app.max_db_connections_per_node = 1")
    wait_until(lambda: [rows_of(held, "update t set v = v + 1 where id = 50")]
               and len(cluster.primary.backends()) == 2, 5, "the surplus is closed")


def test_users_under_a_limit_per_node_make_room_for_each_other(cluster, proxy):
    cluster.primary.psql("create role tenant_of_a_limit login password 'second-secret'; grant app to tenant_of_a_limit")
    cluster.wait_replicated()
    p = proxy(database={"max_db_connections_per_node": 1}, users={"tenant_of_a_limit": "second-secret"})
    try:
        mine, theirs = p.connect(), p.connect(user="tenant_of_a_limit", password="second-secret")
        for _ in range(3):
            for c in (mine, theirs):
                assert one(c, "select 1 from txid_current()") == 1
                assert one(c, "select 1") == 1
        kept = [len(n.backends()) + len(n.backends("tenant_of_a_limit")) for n in cluster.nodes]
        assert max(kept) == 1, kept
    finally:
        p.stop()
        cluster.primary.psql("drop role tenant_of_a_limit")


def test_max_user_connections_counts_all_databases(cluster, proxy):
    p = proxy(switchgear={"max_user_connections": 3}, databases={"other": {}})
    clients = [p.connect(dbname=name) for name in (APP_DATABASE, "other") * 4]
    with Watch(cluster) as watch:
        results = in_parallel([lambda c=c, i=i: [mixed(c, i) for _ in range(60)]
                               for i, c in enumerate(clients)])
    assert not [r for r in results if isinstance(r, Exception)], results
    assert 0 < watch.most_of_all <= 3, watch.most


def test_max_connections_of_a_node_counts_all_pools(cluster, proxy):
    p = proxy(nodes={"p1": {"max_connections": 2}}, databases={"other": {}})
    clients = [p.connect(dbname=name) for name in (APP_DATABASE, "other") * 4]
    with Watch(cluster) as watch:
        results = in_parallel([lambda c=c: [rows_of(c, "update t set v = v + 1 where id = 51")
                                            for _ in range(150)] for c in clients])
    assert not [r for r in results if isinstance(r, Exception)], results
    assert 0 < watch.most["p1"] <= 2, watch.most


@pytest.mark.core
def test_an_idle_connection_of_another_pool_makes_room(cluster, proxy):
    p = proxy(nodes={"p1": {"max_connections": 1}}, databases={"other": {}})
    mine, theirs = p.connect(), p.connect(dbname="other")
    began = time.monotonic()
    for _ in range(3):
        rows_of(mine, "update t set v = v + 1 where id = 52")
        rows_of(theirs, "update t set v = v + 1 where id = 52")
    assert time.monotonic() - began < 3
    assert len(cluster.primary.backends()) == 1


def test_a_busy_pool_does_not_starve_another_under_the_same_limit(proxy):
    p = proxy(nodes={"p1": {"max_connections": 2}}, databases={"other": {}})
    theirs = p.connect(dbname="other")
    slow = "select pg_sleep(0.05), txid_current()"
    with Load(p, lambda c, _: rows_of(c, slow), clients=8, pause=0) as load:
        time.sleep(0.3)
        began = time.monotonic()
        rows_of(theirs, "update t set v = v + 1 where id = 53")
        waited = time.monotonic() - began
    assert load.errors == []
    assert waited < 3


@pytest.mark.core
def test_the_reserve_serves_who_waited_long_enough_and_goes_again(cluster, proxy):
    p = proxy(switchgear={"reserve_pool_timeout": "400ms"},
              database={"pool_size": 1, "reserve_pool_size": 1})
    holder, second, third = p.connect(), p.connect(), p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 54")
    began = time.monotonic()
    rows_of(second, "update t set v = v + 1 where id = 55")
    assert 0.35 < time.monotonic() - began < 3
    rows_of(holder, "commit")
    rows_of(third, "update t set v = v + 1 where id = 55")
    wait_until(lambda: len(cluster.primary.backends()) == 1, 5, "the reserve is closed again")


def test_min_pool_size_is_filled_as_soon_as_somebody_is_there(cluster, proxy):
    p = proxy(switchgear={"min_pool_size": 3, "server_idle_timeout": "300ms"})
    assert sum(backends(cluster).values()) == 0
    c = p.connect()
    wait_until(lambda: backends(cluster) == {"p1": 3, "r1": 3, "r2": 3}, 10, "three on each node")
    time.sleep(0.8)
    assert backends(cluster) == {"p1": 3, "r1": 3, "r2": 3}, "server_idle_timeout spares them"
    assert one(c, "select 1") == 1


def test_min_pool_size_of_a_database_with_its_own_user_needs_no_client(cluster, proxy):
    proxy(database={**OWNER, "min_pool_size": 2})
    wait_until(lambda: backends(cluster) == {"p1": 2, "r1": 2, "r2": 2}, 10, "two on each node")


def test_min_pool_size_comes_back_after_connections_were_lost(cluster, proxy):
    proxy(database={**OWNER, "min_pool_size": 2})
    wait_until(lambda: backends(cluster)["p1"] == 2, 10, "two on the primary")
    cluster.primary.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where usename = 'app'")
    wait_until(lambda: backends(cluster)["p1"] == 2, 10, "two again")


@pytest.mark.core
def test_fallback_limit_keeps_room_for_writes(cluster, proxy):
    p = proxy(switchgear={"query_wait_timeout": "800ms"},
              database={"pool_size": 4, "fallback_limit": "50%"})
    for name in ("r1", "r2"):
        p.admin(f"DRAIN {name}")
    readers = [p.connect() for _ in range(6)]
    writer = p.connect()
    works = [lambda c=c: one(c, "select 1 from pg_sleep(2)") for c in readers]
    results = []
    thread = threading.Thread(target=lambda: results.extend(in_parallel(works)))
    thread.start()
    wait_until(lambda: len([b for b in cluster.primary.backends() if b[1] == "active"]) == 2, 5,
               "two reads run on the primary")
    began = time.monotonic()
    rows_of(writer, "update t set v = v + 1 where id = 56")
    assert time.monotonic() - began < 0.7
    assert len([b for b in cluster.primary.backends() if b[1] == "active"]) == 2
    thread.join(30)
    refused = [r for r in results if isinstance(r, psycopg2.Error)]
    assert results.count(1) == 2 and len(refused) == 4, results
    assert {r.pgcode for r in refused} == {"57P03"} and "fallback_limit" in str(refused[0])


def test_reads_that_wait_for_the_primary_go_to_a_replica_that_is_back(cluster, proxy):
    p = proxy(database={"pool_size": 2, "fallback_limit": "50%"})
    for name in ("r1", "r2"):
        p.admin(f"DRAIN {name}")
    busy, waiter = p.connect(), p.connect()
    thread = threading.Thread(target=one, args=(busy, "select 1 from pg_sleep(3)"))
    thread.start()
    wait_until(lambda: [b for b in cluster.primary.backends() if b[1] == "active"], 5, "it runs")
    timer = threading.Timer(0.3, p.admin, ["UNDRAIN r1"])
    timer.start()
    began = time.monotonic()
    assert one(waiter, "select 1") == 1
    assert last_route(waiter)["node"] == "r1"
    assert time.monotonic() - began < 2
    timer.join()
    thread.join(10)


def test_reads_that_wait_take_turns_on_what_fallback_limit_leaves(proxy):
    p = proxy(database={"pool_size": 2, "fallback_limit": "50%"})
    for name in ("r1", "r2"):
        p.admin(f"DRAIN {name}")
    clients = [p.connect() for _ in range(6)]
    results = in_parallel([lambda c=c: one(c, "select 1 from pg_sleep(0.1)") for c in clients])
    assert results == [1] * 6


def test_reads_for_their_level_are_no_fallback(cluster, proxy):
    p = proxy(database={"pool_size": 2, "fallback_limit": "0%"})
    assert one(p.connect(), ON_PRIMARY + "select pg_is_in_recovery()") is False


def test_clients_of_a_user_and_of_a_database_are_limited(proxy):
    p = proxy(switchgear={"max_user_client_connections": 2, "max_db_client_connections": 3},
              databases={"other": {}}, users={"second": "second-secret"})
    kept = [p.connect(), p.connect(dbname="other")]
    with pytest.raises(psycopg2.OperationalError, match="max_user_client_connections"):
        p.connect()
    p.write_config(switchgear={"max_user_client_connections": 10})
    p.admin("RELOAD")
    kept += [p.connect(), p.connect()]
    with pytest.raises(psycopg2.OperationalError, match="max_db_client_connections"):
        p.connect()
    kept[0].close()
    wait_until(lambda: connects(p), 5, "a place is free again")


def connects(p):
    try:
        return p.connect()
    except psycopg2.OperationalError:
        return None


def test_a_refused_log_in_is_not_tried_again_for_server_login_retry(cluster, proxy):
    p = proxy(switchgear={"server_login_retry": "4s"},
              database={"user": "app", "password": "wrong"})
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            p.connect()
    assert time.monotonic() - began < 3.5, "the later ones were told at once"
    tried = refused_by(cluster)
    assert 1 <= tried < 20, "each node at most once per worker, and what asks for the catalog"
    wait_until(lambda: not connects(p) and refused_by(cluster) > tried, 15, "it is tried again later")


def refused_by(cluster):
    """As the servers have it: the proxy's log says it once for a while."""
    count = 0
    for node in cluster.nodes:
        with open(node.log_path, "rb") as f:
            f.seek(node.log_mark)
            count += f.read().count(b"password authentication failed")
    return count


@pytest.fixture
def late_user(cluster):
    """A user whom the servers let in from when they are told to."""
    cluster.primary.psql("create role tardy nologin password 'late'; select 1")
    cluster.wait_replicated()

    def let_in(action="alter role tardy login"):
        cluster.primary.psql(action + "; select 1")
        cluster.wait_replicated()

    yield let_in
    cluster.primary.psql("drop role tardy; select 1")


@pytest.mark.parametrize("how", ["RELOAD", "SET log_level = 'debug'", "RECONNECT", "RECONNECT app"])
def test_a_refusal_is_forgotten_when_somebody_says_that_things_have_changed(proxy, late_user, how):
    p = proxy(switchgear={"server_login_retry": "1h", "auth_type": "trust"},
              database={"user": "tardy", "password": "late"})
    for _ in range(3):
        with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
            p.connect()
    late_user()
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        p.connect()  # nobody has said so
    p.admin(how)
    began = time.monotonic()
    rows_of(p.connect(), "select 1")
    assert time.monotonic() - began < 5


def test_a_new_password_is_tried_with_the_reload_that_brings_it(proxy, late_user):
    late_user()
    p = proxy(switchgear={"server_login_retry": "1h", "auth_type": "trust"},
              database={"user": "tardy", "password": "wrong"})
    for _ in range(3):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            p.connect()
    p.write_config(database={"user": "tardy", "password": "late"})
    p.admin("RELOAD")
    rows_of(p.connect(), "select 1")


def test_the_refusal_of_one_user_is_no_matter_of_another_and_is_forgotten(proxy, late_user):
    p = proxy(switchgear={"server_login_retry": "1h"}, users={"tardy": "late"})
    for _ in range(4):  # of either worker
        with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
            p.connect(user="tardy", password="late")
        rows_of(p.connect(), "select 1")
    late_user()
    p.admin("RECONNECT")
    for _ in range(4):
        rows_of(p.connect(user="tardy", password="late"), "select 1")


def test_a_server_without_room_is_asked_again_and_named_in_the_error(cluster, proxy):
    p = proxy(switchgear={"query_wait_timeout": "700ms"})
    c = p.connect()
    rows_of(c, "update t set v = v + 1 where id = 26")
    try:
        cluster.primary.psql(f"alter role {APP_USER} connection limit 0")
        p.admin("RECONNECT")
        with pytest.raises(psycopg2.Error, match="too many connections for role") as caught:
            rows_of(c, "update t set v = v + 1 where id = 26")
        assert caught.value.pgcode == "53300"
    finally:
        cluster.primary.psql(f"alter role {APP_USER} connection limit -1")
    p.admin("SET query_wait_timeout = '10s'")
    rows_of(c, "update t set v = v + 1 where id = 26")


def test_a_cold_pool_fills_at_once(cluster, proxy):
    p = proxy(database={"pool_size": 8})
    clients = [p.connect() for _ in range(8)]
    began = time.monotonic()
    in_parallel([lambda c=c: rows_of(c, "select pg_sleep(0.5), txid_current()") for c in clients])
    assert time.monotonic() - began < 2.5, "eight times half a second, at the same time"
    assert len(cluster.primary.backends()) == 8


def test_who_came_first_is_served_first(proxy):
    p = proxy(switchgear={"workers": 1}, database={"pool_size": 1})
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 57")
    threads = []
    for number in range(8):
        statement = f"insert into log (note) values ('in turn {number}')"
        threads.append(threading.Thread(target=rows_of, args=(p.connect(), statement)))
        threads[-1].start()
        wait_until(lambda n=number: waiting(p) == n + 1, 5, "it waits")
    rows_of(holder, "commit")
    for thread in threads:
        thread.join(10)
    order = [r[0] for r in rows_of(holder, ON_PRIMARY + "select note from log where note like "
                                   "'in turn %' order by id")]
    assert order == [f"in turn {number}" for number in range(8)]


def waiting(p):
    return int([r for r in p.admin("SHOW POOLS") if r["node"] == "p1"][0]["cl_waiting"])


def test_show_pools_counts_clients_and_stats_count_time(proxy):
    p = proxy(database={"pool_size": 2})
    clients = [p.connect() for _ in range(3)]
    for c in clients:
        rows_of(c, "select pg_sleep(0.02), txid_current()")

    def row():
        return [r for r in p.admin("SHOW POOLS") if r["node"] == "p1"][0]

    wait_until(lambda: row()["cl_active"] == "3", 5, "idle clients are active ones of PgBouncer's")
    rows_of(clients[0], "begin")
    rows_of(clients[0], "update t set v = v + 1 where id = 58")
    time.sleep(0.3)
    rows_of(clients[0], "commit")
    stats = [r for r in p.admin("SHOW STATS") if r["database"] == APP_DATABASE][0]
    assert 360_000 < int(stats["total_xact_time"]) < 5_000_000, "3 x 20 ms, and 300 ms of a block"
    assert int(stats["total_query_time"]) < int(stats["total_xact_time"])


def test_errors_are_counted_by_class(proxy):
    p = proxy(switchgear={"query_wait_timeout": "300ms"}, database={"pool_size": 1})
    c = p.connect()
    for statement in ("select nothing_like_this", "selekt", "select 1/0", "select 1/0"):
        with pytest.raises(psycopg2.Error):
            rows_of(c, statement)
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 59")
    with pytest.raises(psycopg2.Error):
        rows_of(c, "update t set v = v + 1 where id = 60")
    rows_of(holder, "commit")

    def counted(name, sqlclass):
        return p.metric(name, **{"class": sqlclass})

    assert counted("switchgear_client_errors_total", "42") == 2
    assert counted("switchgear_client_errors_total", "22") == 2
    assert counted("switchgear_client_errors_total", "53") == 1, "ours"
    wait_until(lambda: counted("switchgear_server_errors_total", "22") == 2, 5, "the server's")
    assert counted("switchgear_server_errors_total", "53") == 0


def test_clients_of_a_database_with_its_own_user_share_one_pool(cluster, proxy):
    p = proxy(database={**OWNER, "pool_size": 1}, users={"alice": "a", "bob": "b"})
    alice = p.connect(user="alice", password="a")
    bob = p.connect(user="bob", password="b")
    pids = {one(c, "select pg_backend_pid() from txid_current()") for c in (alice, bob)}
    assert len(pids) == 1
    assert {r["user"] for r in p.admin("SHOW POOLS") if r["database"] == APP_DATABASE} == {"app"}
    assert {r["user"] for r in p.admin("SHOW CLIENTS") if r["database"] == APP_DATABASE} == {
        "alice", "bob"}
    assert database_row(p)["force_user"] == "app"


def database_row(p):
    return [row for row in p.admin("SHOW DATABASES") if row["name"] == APP_DATABASE][0]


def test_a_smaller_pin_limit_holds_after_a_reload(proxy):
    p = proxy(switchgear={"query_wait_timeout": "1s"}, database={"pool_size": 10, "pin_limit": "50%"})
    kept = [p.connect() for _ in range(2)]
    rows_of(kept[0], "listen something")
    p.admin("SET database.app.pin_limit = '10%'")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(kept[1], "listen something")
    assert caught.value.pgcode == "53300" and "pin_limit" in str(caught.value)
