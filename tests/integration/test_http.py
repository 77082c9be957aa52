# SPDX-License-Identifier: PostgreSQL
"""The HTTP endpoint: metrics, health, readiness."""
import shutil
import subprocess

import pytest

from cluster import wait_until
from proxy import one, rows_of


@pytest.mark.core
def test_metrics_parse_and_carry_the_routing_counters(gear):
    before = gear.metric("switchgear_routes_total", target="replica")
    c = gear.connect()
    for _ in range(5):
        one(c, "select 1")
    rows_of(c, "update t set v = v + 1 where id = 90")
    samples = gear.metrics()
    assert all(name.startswith("switchgear_") for name, _, _ in samples)
    wait_until(lambda: gear.metric("switchgear_routes_total", target="replica") == before + 5, 5,
               "five reads on replicas were counted")


def test_no_metric_is_given_twice(gear):
    keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in gear.metrics()]
    assert len(keys) == len(set(keys))


def test_promtool_has_nothing_to_say(gear):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, "check", "metrics"], input=gear.http("/metrics")[2], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_openmetrics_ends_with_eof(gear):
    status, kind, text = gear.http("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert status == 200 and text.endswith("# EOF\n")
    assert "text" in kind


@pytest.mark.core
def test_health_is_healthy_and_degrades_when_a_replica_dies(cluster, proxy):
    p = proxy()
    assert p.http_json("/health") == (200, {**p.http_json("/health")[1], "status": "healthy"})
    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 10, drive=False)
    wait_until(lambda: p.http_json("/health")[1]["status"] == "degraded", 5, "degraded")
    assert p.http("/health")[0] == 200


def test_detailed_health_names_every_node(gear):
    status, body = gear.http_json("/health/detailed")
    assert status == 200
    text = str(body)
    assert all(name in text for name in ("p1", "r1", "r2", "CLOSED"))


def test_ready_follows_the_primary(cluster, proxy):
    p = proxy()
    assert p.http("/ready")[0] == 200
    cluster.primary.stop("immediate")
    wait_until(lambda: p.http("/ready")[0] == 503, 10, "not ready without a primary")
    cluster.primary.start()
    wait_until(lambda: p.http("/ready")[0] == 200, 40, "ready again")


def test_unknown_paths_are_404_and_the_endpoint_lives(gear):
    assert gear.http("/nothing/here")[0] == 404
    assert gear.http("/health")[0] == 200


def test_no_password_is_published(gear):
    for path in ("/metrics", "/health", "/health/detailed", "/ready"):
        assert "secret" not in gear.http(path)[2]
    assert "secret" not in str(gear.admin("SHOW CONFIG"))
    assert "-secret" not in gear.log_text()


def test_pinned_clients_are_counted_wherever_they_are_shown(proxy):
    p = proxy(switchgear={"workers": 2})

    def shown():
        lists = {row["list"]: int(row["items"]) for row in p.admin("SHOW LISTS")}
        return (p.metric("switchgear_clients_pinned"), lists["pinned_clients"],
                p.http_json("/health/detailed")[1]["clients_pinned"])

    assert shown() == (0, 0, 0)
    clients = [p.connect() for _ in range(4)]
    rows_of(clients[0], "listen news")
    rows_of(clients[1], "create temp table mine (i int)")
    rows_of(clients[2], "select pg_advisory_lock(77001)")
    assert shown() == (3, 3, 3)
    rows_of(clients[0], "prepare q as select 1")  # a second reason is no second client
    rows_of(clients[3], "select 1")
    assert shown() == (3, 3, 3)
    rows_of(clients[0], "deallocate q")
    rows_of(clients[0], "unlisten *")
    rows_of(clients[0], "discard all")
    wait_until(lambda: shown() == (2, 2, 2), 5, "one is free again")
    for c in clients:
        c.close()
    wait_until(lambda: shown() == (0, 0, 0), 5, "whoever leaves is pinned no more")


def test_statements_are_counted_as_they_are_routed(proxy):
    p = proxy()
    c = p.connect()
    for _ in range(5):
        one(c, "select 1")
    rows_of(c, "update t set v = v + 1 where id = 92; select 1")
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 93")
    rows_of(c, "commit")

    def counted():
        routed = sum(value for name, _, value in p.metrics() if name == "switchgear_routes_total")
        return p.metric("switchgear_statements_total"), routed

    wait_until(lambda: counted()[0] == counted()[1] > 7, 5, "all that was routed is counted")
