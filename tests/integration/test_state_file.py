# SPDX-License-Identifier: PostgreSQL
"""What a restart of the proxy must not forget: which timeline was the last one, and what operators have flipped."""
import json
import os
import re
import signal

import psycopg2
import pytest

from cluster import wait_until
from proxy import one, rows_of


def file_of(p):
    return os.path.join(p.directory, "switchgear.state")


def kept(p):
    try:
        with open(file_of(p), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def again(p, how=signal.SIGKILL):
    """Another run of the same proxy, with the same files."""
    p.process.send_signal(how)
    p.process.wait(20)
    with open(p.log_path, "w", encoding="utf-8"):
        pass
    p.start(wait=False)
    wait_until(lambda: "event=ready" in p.log_text(), 10, "it listens")


def timeline(p):
    state = kept(p)
    return state["shards"][0]["timeline"] if state and state["shards"] else 0


def code_of_a_write(p):
    try:
        c = p.connect(connect_timeout=20)
        rows_of(c, "insert into log (note) values ('state')")
        return None
    except psycopg2.Error as error:
        return error.pgcode


def test_an_old_primary_is_not_believed_after_a_restart(cluster, proxy):
    """The new one is away, the old one is still writable: what it acknowledged would be lost."""
    p = proxy(database={"write_wait": "500ms"}, switchgear={"role_wait": "1s"})
    wait_until(lambda: timeline(p) == 1, what="the first one is kept")
    new = cluster.replicas[0]
    new.promote()
    wait_until(lambda: p.nodes()["r1"]["role"] == "primary", 10, "it is seen")
    wait_until(lambda: timeline(p) == 2, what="that is kept")
    new.kill9()
    again(p)
    wait_until(lambda: re.search(r"event=fenced node=p1 .*older timeline", p.log_text()), 10, "it is fenced")
    for _ in range(4):
        assert code_of_a_write(p) == "57P03"
    assert p.nodes()["p1"]["role"] == "unknown"
    new.start()
    wait_until(lambda: p.nodes()["r1"]["role"] == "primary", 10, "the new one is back")
    assert code_of_a_write(p) is None


def test_forget_cluster_believes_whoever_is_there(cluster, proxy):
    p = proxy(database={"write_wait": "500ms"}, switchgear={"role_wait": "1s"})
    wait_until(lambda: timeline(p) == 1, what="the first one is kept")
    with pytest.raises(psycopg2.Error, match="has a primary that answers"):
        p.admin("FORGET CLUSTER main")
    with pytest.raises(psycopg2.Error, match="there is no shard"):
        p.admin("FORGET CLUSTER other")
    cluster.replicas[0].promote()
    wait_until(lambda: timeline(p) == 2, what="that is kept")
    cluster.replicas[0].kill9()
    again(p)
    wait_until(lambda: "event=fenced node=p1" in p.log_text(), 10, "the old one is fenced")
    p.admin("FORGET CLUSTER main")
    wait_until(lambda: p.nodes()["p1"]["role"] == "primary", 10, "it is believed")
    assert code_of_a_write(p) is None
    wait_until(lambda: timeline(p) == 1, what="that is kept")


def test_a_sole_primary_waits_for_the_others_at_a_restart_and_not_the_first_time(cluster, proxy):
    cluster.replicas[0].stop("fast")
    p = proxy(wait=False, switchgear={"role_wait": "3s"}, database={"write_wait": "20s"})
    p.wait_listening()
    wait_until(lambda: p.nodes()["p1"]["role"] == "primary", what="it is believed at once")
    assert "event=role_wait" not in p.log_text()
    wait_until(lambda: timeline(p) == 1, what="it is kept")
    again(p)
    wait_until(lambda: re.search(r"event=role_wait node=p1 wait_ms=3000", p.log_text()), 10, "it waits")
    assert p.nodes()["p1"]["role"] == "unknown"
    assert code_of_a_write(p) is None, "who waits is served"
    assert p.nodes()["p1"]["role"] == "primary"
    cluster.replicas[0].start()
    wait_until(lambda: p.nodes()["r1"]["role"] == "replica", 10, "all answer")
    again(p)
    wait_until(lambda: p.nodes()["p1"]["role"] == "primary", 10, "it is believed")


def test_what_operators_have_flipped_survives(cluster, proxy):
    p = proxy()
    p.admin("DRAIN r1")
    p.admin("BREAKER r2 OPEN")
    p.admin("READS app TO PRIMARY")
    wait_until(lambda: kept(p) and kept(p)["databases"] and len(kept(p)["nodes"]) == 2, what="it is kept")
    for how in (signal.SIGKILL, signal.SIGTERM):
        again(p, how)
        wait_until(lambda: "unknown" not in {n["role"] for n in p.nodes().values()}, what="all are known")
        nodes = p.nodes()
        assert nodes["r1"]["admin_state"] == "drained" and nodes["r2"]["admin_state"] == "forced open"
        assert [r["reads"] for r in p.admin("SHOW DATABASES") if r["name"] == "app"] == ["primary"]
        assert p.log_text().count("event=state ") >= 3
    for undo in ("UNDRAIN r1", "BREAKER r2 AUTO", "READS app TO AUTO"):
        p.admin(undo)
    wait_until(lambda: not kept(p)["databases"] and not kept(p)["nodes"], what="that too")
    again(p)
    p.wait_ready()
    assert {n["admin_state"] for n in p.nodes().values()} == {""}


BROKEN = {"nothing": "", "no JSON": "{", "another thing": "[1, 2]", "another version": '{"version": 9}',
          "odd values": '{"version": 1, "shards": [{"shard": "main", "timeline": -7}, 3, {"shard": 5}], '
                        '"nodes": {"node": 1}, "databases": [{"database": null}]}',
          "a timeline out of range": '{"version": 1, "shards": [{"shard": "main", "timeline": 1e300}]}',
          "bytes": "\0\1\2" * 1000, "very much": '{"version": 1, "x": "' + "y" * 2_000_000 + '"}'}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_none_is_said_and_passed_over(proxy, what):
    p = proxy()
    wait_until(lambda: timeline(p) == 1, what="it is written")
    p.process.send_signal(signal.SIGKILL)
    p.process.wait(20)
    with open(file_of(p), "w", encoding="utf-8") as f:
        f.write(BROKEN[what])
    p.start()
    if "odd" not in what and "range" not in what:
        assert "event=state_not_read" in p.log_text()
    assert code_of_a_write(p) is None
    wait_until(lambda: timeline(p) == 1, what="it is written anew")


def test_a_place_that_cannot_be_written_is_said_once(proxy):
    p = proxy(switchgear={"state_file": "/proc/nowhere/state"})
    wait_until(lambda: "event=state_not_kept" in p.log_text(), what="it says so")
    for _ in range(3):
        p.admin("DRAIN r1")
        p.admin("UNDRAIN r1")
    assert p.log_text().count("event=state_not_kept") == 1
    assert code_of_a_write(p) is None


def test_nothing_is_kept_where_nothing_is_to_be(proxy):
    p = proxy(switchgear={"state_file": ""})
    p.admin("DRAIN r1")
    p.admin("UNDRAIN r1")
    assert one(p.connect(), "select count(*) from t where id = 1") == 1
    assert not os.path.exists(file_of(p))
