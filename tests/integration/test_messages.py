# SPDX-License-Identifier: PostgreSQL
"""What the log, /health and /metrics say of a failure."""
import re

import psycopg2
import pytest

from cluster import wait_until
from proxy import one


def lines(p, event):
    return [line for line in p.log_text().splitlines() if f"event={event} " in line]


def test_a_probe_that_fails_names_all_that_one_needs(cluster, proxy):
    p = proxy()
    r1 = cluster.replicas[0]
    r1.kill9()
    def refused():  # the first one may tell of the connection that was lost
        return [line for line in lines(p, "probe") if "node=r1 ok=no" in line and "fault=refused" in line]

    wait_until(refused, 40, "a line")
    p.wait_breaker("r1", "OPEN", 10, drive=False)
    said = refused()[0]
    for part in (f"host={r1.host}", f"port={r1.port}", "user=probe", "database=postgres",
                 "errno=ECONNREFUSED"):
        assert part in said, said


def test_a_breaker_that_opens_says_why(cluster, proxy):
    p = proxy()
    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 10, drive=False)
    opened = [line for line in lines(p, "breaker") if "node=r1" in line and "to=OPEN" in line]
    assert len(opened) == 1
    assert re.search(r"reason=\w+ .*error=.*refused", opened[0]), opened[0]


@pytest.mark.parametrize("database, said", [
    ({"user": "nobody_is_this", "password": "x"}, ["sqlstate=28", "user=nobody_is_this"]),
    ({"dbname": "no_such_one"}, ["sqlstate=3D000", "database=no_such_one"]),
], ids=["user", "database"])
def test_one_fault_of_a_log_in_is_one_line_a_node(cluster, proxy, database, said):
    p = proxy(database=database, wait=False)
    p.wait_listening()
    for _ in range(6):
        with pytest.raises(psycopg2.OperationalError):
            one(p.connect(), "select 1")
    told = [line for line in lines(p, "connect_failed") if said[1] in line]
    nodes = [re.search(r"node=(\w+)", line).group(1) for line in told]
    assert told and len(nodes) == len(set(nodes)), "\n".join(told)
    for line in told:
        assert said[0] in line and f"host={cluster.primary.host}" in line and "port=" in line


@pytest.mark.parametrize("parameters, detail", [
    ({"password": "wrong"}, "wrong password"),
    ({"user": "stranger", "password": "x"}, "unknown user"),
    ({"dbname": "nowhere"}, "nowhere"),
    ({"options": "-c no_such_setting_at_all=1"}, "no_such_setting_at_all"),
    ({"options": "-c switchgear.consistency=maybe"}, "invalid setting"),
], ids=["password", "user", "database", "setting", "level"])
def test_a_log_in_that_fails_has_its_detail(gear, parameters, detail):
    before = len(lines(gear, "login_failed"))
    with pytest.raises(psycopg2.OperationalError):
        one(gear.connect(**parameters), "select 1")
    wait_until(lambda: len(lines(gear, "login_failed")) > before, 5, "a line")
    said = lines(gear, "login_failed")[-1]
    assert re.search(f'detail=.*{detail}', said), said


def test_health_says_what_keeps_it_from_healthy(cluster, proxy):
    p = proxy()
    assert p.http_json("/health")[1]["reasons"] == []
    p.admin("DRAIN r2")
    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 10, drive=False)
    body = p.http_json("/health")[1]
    assert body["status"] == "degraded"
    assert "node r2: drained" in body["reasons"]
    assert any(r.startswith("node r1: breaker OPEN") and "refused" in r for r in body["reasons"])
    cluster.primary.kill9()
    p.wait_breaker("p1", "OPEN", 10, drive=False)
    for path in ("/health", "/health/detailed"):
        wait_until(lambda at=path: "shard main: no primary can be reached"
                   in p.http_json(at)[1]["reasons"], 5, path)


def test_the_process_has_the_names_that_prometheus_knows(gear):
    names = {name: value for name, labels, value in gear.metrics() if name.startswith("process_")}
    assert names["process_resident_memory_bytes"] > 1 << 20
    assert names["process_virtual_memory_bytes"] >= names["process_resident_memory_bytes"]
    assert 10 < names["process_open_fds"] < names["process_max_fds"]
    assert names["process_threads"] >= 3
    assert names["process_start_time_seconds"] > 1.7e9
    assert names["process_cpu_seconds_total"] >= 0


def test_every_sample_of_a_node_has_its_shard(gear):
    one(gear.connect(), "select 1")
    of_nodes = [labels for _, labels, _ in gear.metrics() if "node" in labels]
    assert of_nodes and all(labels.get("shard") == "main" for labels in of_nodes)


def test_objectives_are_bounds_of_histograms(gear):
    one(gear.connect(), "select 1")
    bounds = {labels["le"] for name, labels, _ in gear.metrics()
              if name == "switchgear_query_duration_seconds_bucket"}
    assert {"0.25", "0.35", "0.5"} <= bounds


@pytest.mark.parametrize("slept, le", [(0.2, "0.25"), (0.3, "0.35"), (0.4, "0.5")])
def test_a_statement_counts_in_its_bucket(gear, slept, le):
    def count(bound):
        return gear.metric("switchgear_query_duration_seconds_bucket", le=bound)
    below = {"0.25": "0.131072", "0.35": "0.262144", "0.5": "0.35"}[le]
    before = count(le) - count(below)
    one(gear.connect(), f"select pg_sleep({slept})")
    wait_until(lambda: count(le) - count(below) == before + 1, 5, f"one more within {le} s")


def test_a_primary_that_is_away_is_said(cluster, proxy):
    p = proxy()
    cluster.primary.kill9()
    wait_until(lambda: lines(p, "primary_gone"), 15, "the line")
    said = lines(p, "primary_gone")[0]
    assert "shard=main" in said and "last=p1" in said and "refused" in said
    assert len(lines(p, "primary_gone")) <= 2, "once, and again if it was seen to be back for a moment"
