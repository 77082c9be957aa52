# SPDX-License-Identifier: PostgreSQL
"""No flood of messages holds up the other clients of its worker: the turns of its loop stay short.
(A single text: test_bounded_work.py.)"""
import threading

import pytest

from cluster import APP_DATABASE
from floods import END, FLOODS
from proxy import is_sanitized
from wire import Wire, query

# 20 ms of its own are meant; starting and the other programs are in it too, and what a sanitizer does
TURN_MAX_US = 5_000_000 if is_sanitized() else 50_000
TRIES = 4  # the machine may do something else in the middle of a turn, but not each time


def say(p, flood):
    with Wire(p.port, timeout=60) as wire:
        wire.login("app", APP_DATABASE)
        sender = threading.Thread(target=wire.send, args=(flood, query(f"select '{END}'")))
        sender.start()
        last = b""
        while END.encode() not in last:
            got = wire.socket.recv(1 << 20)
            assert got, "the proxy has closed the connection"
            last = last[-100:] + got
        sender.join()


@pytest.mark.parametrize("kind", FLOODS)
def test_no_flood_takes_a_long_turn(proxy, kind):
    flood = FLOODS[kind]()
    turns = []
    for _ in range(TRIES):
        p = proxy(switchgear={"workers": 1, "auth_type": "trust"},
                  database={"user": "app", "password": "app-secret"})
        p.wait_names(p.connect())
        say(p, flood)
        row, = p.admin("SHOW WORKERS")
        turns.append(int(row["turn_max_us"]))
        if turns[-1] < TURN_MAX_US:
            return
    assert min(turns) < TURN_MAX_US, turns
