# SPDX-License-Identifier: PostgreSQL
"""No text holds up the other clients of its worker. How much each kind of text costs is counted in
tests/perf; here a hostile client and its neighbour share the only worker."""
import threading
import time

import psycopg2
import pytest

from cluster import wait_until
from proxy import one, rows_of

OWNER = {"user": "app", "password": "app-secret"}
TURN_MAX_S = 0.5  # 20 ms are meant, but the machine may do something else in between

# PostgreSQL itself takes as many steps as the square of the length of the first five.
TEXTS = {
    "signs": "select " + "+" * 20000 + "1",
    "signs behind a star": "select 1 *" + "+-" * 10000 + "1",
    "empty comments": "/**/" * 15000 + "select 1",
    "comments behind": "select 1" + "/**/" * 15000,
    "comments in comments": "/*" * 10000 + "*/" * 10000 + "select 1",
    "columns": "select 1" + ",a" * 130000,
    "casts of rows": "select 1" + ",(t)::int" * 28000 + " from t",
    "statements": "select 1;" * 29000,
    "settings": "set a.b = 1;" * 21000,
    "names to prepare": "execute a;" * 26000,
    "parentheses": "select " + "(" * 128000 + "1" + ")" * 128000,
    "hints": "/*a='b'*/" * 28000 + "select 1",
    "semicolons": "select 1" + ";" * 250000,
    "no token": "select " + "\\" * 250000,
}


@pytest.fixture(name="p")
def only_worker(proxy):
    return proxy(switchgear={"workers": 1})


class Neighbour:
    """Asks the proxy something that it answers itself, again and again."""

    def __init__(self, p):
        self.connection = p.connect()
        self.waits, self.ending = [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self):
        while not self.ending.wait(0.002):
            began = time.monotonic()
            rows_of(self.connection, "show switchgear.last_route")
            self.waits.append(time.monotonic() - began)


def say(p, text):
    """The server's error does not matter, but it has to come."""
    connection = p.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = '20s'")
            cursor.execute(text)
    except psycopg2.Error:
        pass
    finally:
        p.connections.remove(connection)
        connection.close()


def test_no_text_holds_up_another_client(p):
    turns = {}
    with Neighbour(p) as neighbour:
        wait_until(lambda: len(neighbour.waits) > 10, 10, "the neighbour is served")
        for kind, text in TEXTS.items():
            say(p, text)
            seen = len(neighbour.waits)
            wait_until(lambda seen=seen: len(neighbour.waits) > seen + 50, 30, "... still is")
            turns[kind] = p.metric("switchgear_worker_turn_seconds_max", worker="1")
    assert max(turns.values()) < TURN_MAX_S, turns  # of all texts so far
    assert one(p.connect(), "select 1") == 1


def test_a_long_list_of_literals_is_still_a_read(p):
    connection = p.connect()
    assert one(connection, "select 1 where 1 in (" + ",".join(map(str, range(20000))) + ")") == 1
    assert rows_of(connection, "show switchgear.last_route")[0][2] == "read"
    with connection.cursor() as cursor:
        cursor.execute("select 1" + ", (1) + (1)" * 800)
    assert rows_of(connection, "show switchgear.last_route")[0][2:4] == ("write", "too_long")


def test_each_worker_tells_its_longest_turn(p):
    wait_until(lambda: p.metric("switchgear_worker_turn_seconds_max", worker="1") > 0, 10,
               "a turn was counted")
    row, = p.admin("SHOW WORKERS")
    assert int(row["worker"]) == 1 and int(row["turns"]) > 0
    assert int(row["turn_max_us"]) >= int(row["turn_recent_us"]) > 0
