# SPDX-License-Identifier: PostgreSQL
"""Nothing of a client reaches another: each way to leave something, times each thing to leave.

This file knows nothing of how the proxy works. What a change leaves is what a direct connection to
PostgreSQL shows after it: through the proxy, the client that made it must find the same (or have
been told an error), and a fresh client of the same pool must find what a fresh connection finds.
"""
import json
import math

import pytest

import leak_changes as changes
from client import Direct, said, Session
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until

INSPECT = """select json_build_object(
 'user', current_user, 'session_user', session_user, 'role', current_setting('role'),
 'tenant', nullif(current_setting('app.tenant', true), ''),
 'other', nullif(current_setting('leak.other', true), ''),
 'temporary', (select string_agg(regexp_replace(pg_describe_object(classid, objid, 0),
                                 'pg_temp_[0-9]+', 'pg_temp'), ', ' order by objid)
               from pg_catalog.pg_depend where refclassid = 'pg_catalog.pg_namespace'::regclass
               and refobjid = pg_my_temp_schema()),
 'locks', (select string_agg(mode || classid || ':' || objid, ', ' order by objid)
           from pg_catalog.pg_locks where pid = pg_backend_pid() and locktype = 'advisory'),
 'channels', (select string_agg(c, ', ') from pg_listening_channels() c),
 'cursors', (select string_agg(name, ', ') from pg_catalog.pg_cursors where name <> ''),
 'prepared', (select string_agg(name, ', ') from pg_catalog.pg_prepared_statements where from_sql),
 'standby', pg_is_in_recovery(),
 'origin', pg_replication_origin_session_is_setup(),
 'slots', (select string_agg(slot_name, ', ') from pg_catalog.pg_replication_slots
           where temporary and active_pid = pg_backend_pid()),
 'settings', (select string_agg(name || '=' || setting, E'\\001') from pg_show_all_settings()
              where name not like 'transaction\\_%'))::text"""
ON_PRIMARY, ON_REPLICA = "/* switchgear: route=primary */ ", "/* switchgear: route=replica */ "
OTHER = "bob"  # another user, the same servers
LEAVING, STAYING, ON_STANDBY = 450, 250, 200  # so many changes are tried
PROXYS_OWN = {"application_name", "seed", "tcp_keepalives_count", "tcp_keepalives_idle",
"tcp_keepalives_interval"}


# A standby has none.
INSPECT_REPLICA = ON_REPLICA + INSPECT.replace("pg_replication_origin_session_is_setup()", "false")


def inspect(session, inspection=ON_PRIMARY + INSPECT):
    """All that a session can find about itself, as one dictionary."""
    rows, error = session.run(inspection)
    return {"error": said(error)} if error else flat(json.loads(rows[0][0]))


def flat(found):
    settings = dict(pair.split("=", 1) for pair in found.pop("settings").split("\1"))
    return {**found, **{k: v for k, v in settings.items()
                        if k not in PROXYS_OWN and not k.startswith("plpgsql.")}}


def differences(found, expected):
    """{what: (found, expected)}. What another role may not see is not there, and says nothing."""
    if "error" in found:
        return {"error": (found["error"], None)}
    return {k: (v, expected.get(k)) for k, v in found.items() if v != expected.get(k)}


class Change:
    """One way with one state, in or out of a block, by either protocol; on: the node that it is
      sent to."""

    BLOCKS = {"plain": ([], []), "committed": (["begin"], ["commit"]), "undone": (["begin"],
    ["rollback"]),
              "undone in part": (["begin", "savepoint s"], ["rollback to s", "commit"]),
              "left open": (["begin"], [])}

    def __init__(self, way, state, block="plain", extended=False, on=""):
        self.way, self.state, self.block, self.extended, self.on = way, state, block, extended, on
        self.database, self.user = ("root", changes.CHIEF) if state.chief else ("app", APP_USER)

    def __str__(self):
        return (f"{self.state.name} by {self.way.name}, {self.block}, "
                f"{'extended' if self.extended else 'simple'}{', on a replica' if self.on else ''}")

    def make(self, session):
        """The errors of it."""
        before, after = self.BLOCKS[self.block]
        extended = self.extended and not self.way.simple
        errors = [session.run(sql)[1] for sql in before]
        errors += [session.run(self.on + sql,
        extended)[1] for sql in self.way.statements(self.state)]
        errors += [session.run(sql)[1] for sql in after]
        return [said(e) for e in errors if e]


def all_changes():
    """Each way with each state once; the rest takes turns."""
    blocks = ["plain", "committed", "plain", "undone", "plain", "undone in part", "committed"]
    for i, state in enumerate(changes.STATES):
        for k, way in enumerate(changes.WAYS):
            block = "plain" if way.own_block else blocks[(3 * i + k) % len(blocks)]
            yield Change(way, state, block, extended=(i + k) % 2 == 1)


def replica_changes():
    for i, state in enumerate(s for s in changes.STATES if s.standby):
        for k, way in enumerate(w for w in changes.WAYS if w.read):
            yield Change(way, state, "plain", (i + k) % 2 == 0, ON_REPLICA)


# ---- servers and pools ----

@pytest.fixture(scope="module", name="made")
def make_ways(cluster):
    """The objects of all ways; what a fresh connection finds, by (user, inspection)."""
    cluster.primary.psql(changes.BEFORE, APP_DATABASE)
    cluster.primary.psql(changes.setup(), APP_DATABASE)
    cluster.wait_replicated()
    yield {(user, inspection): inspected(Direct(node, APP_DATABASE, user), inspection)
           for user in (APP_USER, changes.CHIEF)
           for node, inspection in ((cluster.primary, ON_PRIMARY + INSPECT),
                                    (cluster.node("r1"), INSPECT_REPLICA))}
    # with it what hides names of PostgreSQL's own: other tests go by those
    cluster.primary.psql("drop schema lk cascade", APP_DATABASE)


def inspected(session, inspection=ON_PRIMARY + INSPECT):
    found = inspect(session, inspection)
    session.leave()
    return found


@pytest.fixture(name="pool")
def pool_of(proxy, made):
    """pool(size) starts a proxy whose clients, whoever they are, share so many servers a node."""
    def make(size):
        shared = {"pool_size": size, "pin_limit": "100%" if size == 1 else "80%"}
        p = proxy(switchgear={"auth_type": "trust", "workers": 1},
                  users={OTHER: "x", changes.CHIEF: changes.CHIEF_PASSWORD},
                  database={**shared, "user": APP_USER, "password": APP_PASSWORD},
                  databases={"root": {**shared, "user": changes.CHIEF,
                                      "password": changes.CHIEF_PASSWORD}})
        p.admin("DRAIN r2")  # one replica, so that both clients meet on it
        return p

    return make


class Leaks(list):
    """What was found, one line a change; the test's word is the list itself."""

    def note(self, change, found):
        if found:
            self.append(f"{change}: {str(found)[:200]}")
        return found


def share(all_of_them, count):
    """About so many, of each way and each state."""
    changes_ = list(all_of_them)
    step = max(1, len(changes_) // count)
    while math.gcd(step, len(changes.WAYS)) != 1:
        step += 1
    return changes_[::step]


def wait_for_locks(cluster):
    """A server whose client has left gives its locks away a moment later."""
    wait_until(lambda: not cluster.primary.psql("select 1 from pg_locks where locktype = "
    "'advisory'"),
               10, "no locks")


def found_there(session, change, look, expected):
    """As found_by(), but on the standby where that is meant: a new connection waits for a probe
    before it carries reads, and the primary answers until then."""
    found = []

    def is_there():
        found[:] = [found_by(session, change, look, expected)]
        return "standby" not in found[0]

    wait_until(is_there, 10, f"it is looked at on the standby: {change}", 0.02)
    return found[0]


# ---- the tests ----

@pytest.mark.invariant
@pytest.mark.parametrize("where", ["the primary", "a replica"])
def test_nothing_is_left_to_the_next_client(pool, made, where):
    """One server connection a node: A makes a change and leaves, politely or not; B comes."""
    look, tried = {"the primary": (ON_PRIMARY + INSPECT, share(all_changes(), LEAVING)),
                   "a replica": (INSPECT_REPLICA, share(replica_changes(), ON_STANDBY))}[where]
    p, leaks = pool(1), Leaks()
    for i, change in enumerate(tried):
        a = Session(p.port, change.database, change.user)
        change.make(a)
        a.leave(politely=i % 2 == 0)
        b = Session(p.port, change.database, OTHER)
        if leaks.note(change, found_there(b, change, look, made[change.user, look])):
            p.admin("RECONNECT")  # what is left there is found once
        b.leave()
    assert leaks == []


@pytest.mark.invariant
def test_who_stays_keeps_what_it_made_and_others_do_not_see_it(cluster, pool, made):
    """Four server connections: B takes the one that A used, A comes back over another."""
    p, leaks = pool(4), Leaks()
    for change in share(all_changes(), STAYING):
        fresh = made[change.user, ON_PRIMARY + INSPECT]
        direct = Direct(cluster.primary, APP_DATABASE, change.user)
        refused = change.make(direct)
        kept = differences(inspected(direct), fresh)
        if "locks" in kept:
            wait_for_locks(cluster)
        a = Session(p.port, change.database, change.user)
        errors = change.make(a)
        b = Session(p.port, change.database, OTHER)
        b.run("begin")
        if leaks.note(change, differences(inspect(b), fresh)):
            p.admin("RECONNECT")
        if not errors and not refused:
            leaks.note(change, lost(kept, differences(inspect(a), fresh)))
        b.leave()
        a.leave()
    assert leaks == []


def found_by(session, change, inspection, fresh):
    """What a client finds that a fresh one would not."""
    found = differences(inspect(session, inspection), fresh)
    if change.state.name == "sequence" and inspection.startswith(ON_PRIMARY):
        session.run("begin")
        session.run("insert into lk.sink_role values (1)")
        last = session.run("select lastval()")[0]  # nobody called nextval here
        session.run("rollback")
        found.update({"lastval": last} if last else {})
    return found


def lost(kept, found):
    """What PostgreSQL would have kept for A, or has changed. An error that A is told is no loss."""
    if "error" in found:
        return {}
    return {"lost: " + k: (found.get(k), kept.get(k)) for k in {*kept, *found}
            if (found.get(k) or [None])[0] != (kept.get(k) or [None])[0]}
