# SPDX-License-Identifier: PostgreSQL
"""The admin console: what it shows, what it changes, and who may."""
import os
import pwd
import socket
import subprocess
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, as_user, wait_until
from proxy import (ADMIN_PASSWORD, ADMIN_USER, STATS_PASSWORD, STATS_USER, dicts_of, last_route, one,
                   rows_of)

NODES = ("shard node host port role breaker breaker_reason generation lag_ms fresh_ms_ago "
         "replay_lsn timeline in_flight connections latency_us weight admin_state")

# PgBouncer's columns, in PgBouncer's order; newer releases of it add some in between.
COLUMNS = {
    "NODES": NODES,
    "ROUTES": "database shard target verdict reason count",
    "PINS": "reason count",
    "POOLS": "database user cl_active cl_waiting sv_active sv_idle sv_used sv_tested sv_login "
             "maxwait maxwait_us pool_mode",
    "CLIENTS": "type user database state addr port local_addr local_port connect_time request_time "
               "wait wait_us close_needed ptr link remote_pid tls",
    "SERVERS": "type user database state addr port local_addr local_port connect_time request_time "
               "wait wait_us close_needed ptr link remote_pid tls",
    "DATABASES": "name host port database force_user pool_size reserve_pool pool_mode "
                 "max_connections current_connections paused disabled",
    "STATS": "database total_xact_count total_query_count total_received total_sent total_xact_time "
             "total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent "
             "avg_xact_time avg_query_time avg_wait_time total_login_failures",
    "LISTS": "list items",
    "CONFIG": "key value default changeable",
    "VERSION": "version",
}


def columns_of(p, command):
    connection = p.connect_admin()
    with connection.cursor() as cursor:
        cursor.execute(command)
        return [column.name for column in cursor.description]


def is_subsequence(wanted, found):
    rest = iter(found)
    return all(name in rest for name in wanted)


@pytest.mark.core
@pytest.mark.parametrize("command", COLUMNS)
def test_show_has_its_columns_in_order(gear, command):
    one(gear.connect(), "select 1")
    found = columns_of(gear, f"SHOW {command}")
    wanted = COLUMNS[command].split()
    assert is_subsequence(wanted, found), found
    assert found[0] == wanted[0]


def test_show_is_not_picky_about_case_and_semicolons(gear):
    assert columns_of(gear, "show nodes;") == columns_of(gear, "SHOW  NODES")


def test_show_help_names_the_commands(gear):
    connection = gear.connect_admin()
    rows = rows_of(connection, "SHOW HELP")
    text = "".join(connection.notices) + str(rows)
    for word in ("NODES", "ROUTES", "POOLS", "DRAIN", "BREAKER", "READS", "RELOAD", "SHUTDOWN"):
        assert word in text


@pytest.mark.core
def test_show_nodes_tells_the_truth(cluster, gear):
    nodes = gear.nodes()
    assert set(nodes) == {"p1", "r1", "r2"}
    for name, row in nodes.items():
        assert row["shard"] == "main"
        assert int(row["port"]) == cluster.node(name).port
        assert row["role"] == ("primary" if name == "p1" else "replica")
        assert row["breaker"] == "CLOSED"
    assert float(nodes["r1"]["lag_ms"]) < 5000


def test_show_databases_and_lists_count(gear):
    databases = {row["name"]: row for row in gear.admin("SHOW DATABASES")}
    assert int(databases[APP_DATABASE]["pool_size"]) == 20
    lists = {row["list"]: int(row["items"]) for row in gear.admin("SHOW LISTS")}
    assert lists["databases"] >= 1 and lists["used_clients"] >= 1


def test_show_lists_counts_clients_that_log_in(gear):
    def logging_in():
        return [int(r["items"]) for r in gear.admin("SHOW LISTS") if r["list"] == "login_clients"]

    assert logging_in() == [0]
    with socket.create_connection(("127.0.0.1", gear.port)) as silent:
        wait_until(lambda: logging_in() == [1], 5, "the one that has said nothing yet")
        silent.sendall(b"\0\0\0")
    wait_until(lambda: logging_in() == [0], 5, "it has left")
    c = gear.connect()
    assert one(c, "select 1") == 1 and logging_in() == [0]


def test_show_clients_and_servers_list_connections(gear):
    kept = [gear.connect() for _ in range(3)]
    for c in kept:
        one(c, "select 1")
    clients = [r for r in gear.admin("SHOW CLIENTS") if r["database"] == APP_DATABASE]
    assert len(clients) == 3 and {r["user"] for r in clients} == {"app"}
    assert len([r for r in gear.admin("SHOW SERVERS") if r["database"] == APP_DATABASE]) >= 1


def test_show_stats_counts_queries(gear):
    def queries():
        return sum(int(r["total_query_count"]) for r in gear.admin("SHOW STATS")
                   if r["database"] == APP_DATABASE)

    before = queries()
    c = gear.connect()
    for _ in range(10):
        one(c, "select 1")
    wait_until(lambda: queries() == before + 10, 5, "ten queries were counted")


def test_an_unknown_command_is_an_error_and_the_console_lives(gear):
    connection = gear.connect_admin()
    with pytest.raises(psycopg2.Error):
        rows_of(connection, "SHOW NOTHING_LIKE_THIS")
    assert len(rows_of(connection, "SHOW NODES")) == 3


def test_the_console_speaks_the_extended_protocol(gear):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(gear.dsn(ADMIN_USER, ADMIN_PASSWORD, "switchgear"), autocommit=True) as c:
        for _ in range(2):
            assert len(c.execute("SHOW NODES", prepare=True).fetchall()) == 3


@pytest.mark.parametrize("database", ["switchgear", "pgbouncer"])
def test_admin_users_log_in_over_tcp_with_a_password(gear, database):
    c = gear.connect_admin(ADMIN_USER, ADMIN_PASSWORD, database)
    assert len(rows_of(c, "SHOW NODES")) == 3
    with pytest.raises(psycopg2.OperationalError):
        gear.connect_admin(ADMIN_USER, "wrong", database)


def test_an_ordinary_user_is_not_let_into_the_console(gear):
    with pytest.raises(psycopg2.OperationalError):
        gear.connect(dbname="switchgear")


@pytest.mark.core
def test_stats_users_may_only_show(gear):
    c = gear.connect_admin(STATS_USER, STATS_PASSWORD)
    assert len(rows_of(c, "SHOW NODES")) == 3
    for command in ("DRAIN r1", "BREAKER r1 OPEN", "READS app TO PRIMARY", "RELOAD", "SHUTDOWN",
                    "PAUSE"):
        with pytest.raises(psycopg2.Error) as caught:
            rows_of(c, command)
        assert caught.value.pgcode == "42501", command
    assert gear.breaker("r1") == "CLOSED" and gear.alive()


@pytest.mark.skipif(os.getuid() != 0, reason="needs a second operating system user")
def test_the_admin_socket_refuses_other_users(cluster, gear):
    psql = cluster.binary("psql")
    command = [psql, "-h", gear.directory, "-p", str(gear.port), "-U", "admin", "-d", "switchgear",
               "-Atc", "SHOW VERSION"]
    allowed = subprocess.run(command, capture_output=True, text=True, **as_user(cluster.user))
    assert allowed.returncode == 0, allowed.stderr
    # Whether the directory or the peer check stops it: no other user gets in.
    refused = subprocess.run(command, capture_output=True, text=True,
                             **as_user(pwd.getpwnam("nobody")))
    assert refused.returncode != 0


def replicas_seen(cluster, p, count=20):
    cluster.mark_logs()
    for _ in range(count):
        c = p.connect()
        one(c, "select 1 /*seen_by*/")
        c.close()
    return cluster.saw("seen_by")


@pytest.mark.core
def test_a_forced_breaker_holds_until_auto(cluster, gear):
    try:
        gear.admin("BREAKER r1 OPEN")
        assert gear.breaker("r1") == "OPEN"
        assert gear.nodes()["r1"]["breaker_reason"] == "admin"
        assert replicas_seen(cluster, gear) == {"r2": 20}
        gear.admin("BREAKER r1 CLOSE")
        assert gear.breaker("r1") == "CLOSED"
    finally:
        gear.admin("BREAKER r1 AUTO")
    assert gear.breaker("r1") == "CLOSED"
    assert replicas_seen(cluster, gear, 40).get("r1", 0) > 0


@pytest.mark.core
def test_a_drained_node_gets_no_new_statement_and_finishes_the_running_one(cluster, gear):
    c = gear.connect()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(one(c, "select 5 from pg_sleep(1.2) /*run*/")))
    thread.start()
    wait_until(lambda: cluster.saw("run"), 5, "it runs")
    busy = next(iter(cluster.saw("run")))
    try:
        gear.admin(f"DRAIN {busy}")
        assert "drain" in gear.nodes()[busy]["admin_state"].lower()
        assert busy not in replicas_seen(cluster, gear)
        thread.join(5)
        assert ended == [5]
    finally:
        gear.admin(f"UNDRAIN {busy}")
    assert busy in replicas_seen(cluster, gear, 40)


@pytest.mark.core
def test_reads_flip_to_the_primary_and_back(cluster, gear):
    try:
        gear.admin("READS app TO PRIMARY")
        assert replicas_seen(cluster, gear) == {"p1": 20}
        c = gear.connect()
        one(c, "select 1")
        assert last_route(c)["reason"] == "forced"
    finally:
        gear.admin("READS app TO AUTO")
    assert "p1" not in replicas_seen(cluster, gear)


def test_reads_to_replicas_never_use_the_primary(cluster, proxy):
    p = proxy(switchgear={"query_wait_timeout": "1s"})
    p.admin("READS app TO REPLICAS")
    c = p.connect()
    rows_of(c, "update t set v = v + 1 where id = 80")
    one(c, "select 1 /*only_replicas*/")
    assert "p1" not in cluster.saw("only_replicas")
    for name in ("r1", "r2"):
        p.admin(f"BREAKER {name} OPEN")
    with pytest.raises(psycopg2.Error) as caught:
        one(c, "select 1")
    assert caught.value.pgcode == "57P03"


def test_commands_on_an_unknown_node_or_database_fail(gear):
    for command in ("DRAIN r9", "BREAKER r9 OPEN", "READS nowhere TO PRIMARY", "BREAKER r1 MAYBE"):
        with pytest.raises(psycopg2.Error):
            gear.admin(command)


def test_explain_route_of_the_console_names_node_and_reason(gear):
    row = gear.admin("EXPLAIN ROUTE app select * from t")[0]
    assert (row["role"], row["verdict"]) == ("replica", "read")
    row = gear.admin("EXPLAIN ROUTE app delete from t")[0]
    assert (row["role"], row["verdict"], row["reason"]) == ("primary", "write", "dml")


def test_reload_takes_a_new_weight(proxy):
    p = proxy()
    p.write_config(nodes={"r1": {"weight": 7}})
    p.admin("RELOAD")
    wait_until(lambda: str(p.nodes()["r1"]["weight"]) == "7", 5, "the weight changed")


def test_weights_share_the_reads(cluster, proxy):
    """Of two drawn at random the better one is taken: three of four reads at most. Latency counts too,
    and jitters: the weights are so far apart that it does not matter."""
    p = proxy(nodes={"r1": {"weight": 1000}, "r2": {"weight": 1}})
    seen = replicas_seen(cluster, p, 60)
    assert seen.get("r1", 0) > seen.get("r2", 0), seen
    p.write_config(nodes={"r1": {"weight": 1}, "r2": {"weight": 1000}})
    p.admin("RELOAD")
    wait_until(lambda: p.nodes()["r2"]["weight"] == "1000", what="the new weights count")
    seen = replicas_seen(cluster, p, 60)
    assert seen.get("r2", 0) > seen.get("r1", 0), seen


def test_shutdown_from_the_console_ends_the_process(proxy):
    p = proxy()
    try:
        p.admin("SHUTDOWN")
    except psycopg2.Error:
        pass  # the console's own connection may go first
    wait_until(lambda: not p.alive(), 10, "the process ended")


def test_shutdown_wait_for_clients_waits(proxy):
    p = proxy()
    c = p.connect(autocommit=False)
    rows_of(c, "update t set v = v + 1 where id = 81")
    try:
        p.admin("SHUTDOWN WAIT_FOR_CLIENTS")
    except psycopg2.Error:
        pass
    time.sleep(0.5)
    assert p.alive()
    c.commit()
    c.close()
    wait_until(lambda: not p.alive(), 10, "the process ended")


def test_pause_holds_statements_and_resume_lets_them_go(gear):
    c = gear.connect()  # the first of all has to learn from a server what to say to a client
    gear.admin("PAUSE app")
    results = []
    thread = threading.Thread(target=lambda: results.append(one(c, "select 9")))
    thread.start()
    time.sleep(0.4)
    assert results == []
    gear.admin("RESUME app")
    thread.join(5)
    assert results == [9]


def test_the_admin_console_answers_while_clients_are_busy(gear):
    busy = [threading.Thread(target=rows_of, args=(gear.connect(), "select pg_sleep(1)"))
            for _ in range(10)]
    for thread in busy:
        thread.start()
    assert dicts_of(gear.connect_admin(), "SHOW POOLS")
    assert all(thread.is_alive() for thread in busy)
    for thread in busy:
        thread.join(10)
