# SPDX-License-Identifier: PostgreSQL
"""Ten kinds of clients, hundreds of each, that connect, ask, fail, cancel and vanish at random.

A kind is a coroutine kind(world, owner, rnd): one life of one client. Every row that it reads
carries its owner; a row of somebody else, an error that was not its own doing, or an answer out of
order is a Wrong. Losing the connection is part of the game.
"""
import asyncio
import random
import struct
import time

from async_wire import Client, Lost, Refused, Vanished
from cluster import APP_DATABASE, APP_USER
from wire import SSL_REQUEST, bind, close, cstring, describe, execute, message, parse, query, sync

# What honest clients may be told: lost servers, full pools and pins, lost races; never a cancel.
ALLOWED = ("08", "57P", "53", "40")
CANCELED = "57014"
ANSWER_SECONDS = 60  # who waits longer for one hangs
ROLES = ("crowd_a", "crowd_b")
FLUSH = message("H")

SCHEMA = f"""
drop table if exists crowd, crowd_log;
create table crowd (owner text primary key, n int not null);
create table crowd_log (owner text, batch int, n int);
alter table crowd owner to {APP_USER};
alter table crowd_log owner to {APP_USER};
grant select on crowd, crowd_log to public;
create or replace function crowd_mess(owner text) returns text language plpgsql as $$ begin
    perform set_config('application_name', owner, false);
    perform set_config('search_path', 'pg_catalog', false);
    create temporary table if not exists left_over as select owner;
    perform pg_advisory_lock(hashtext(owner));
    return owner;
end $$;
""" + "".join(f"""
do $$ begin create role {role}; exception when duplicate_object then null; end $$;
grant {role} to {APP_USER};
create schema if not exists {role} authorization {APP_USER};
""" for role in ROLES)


class Wrong(Exception):
    """An answer that is not the truth."""


def insist(owner, got, wanted):
    if got != wanted:
        raise Wrong(f"{owner} was answered {got!r}, not {wanted!r}")


class World:
    """What all clients share. ports: of the proxy itself and of relays to it."""

    def __init__(self, ports, seconds, seed):
        self.ports, self.seed = ports, seed
        self.deadline = time.monotonic() + seconds
        self.complaints, self.done, self.errors = [], {}, {}
        self.possible = {}  # owner: the numbers that its row in crowd may hold
        self.clients = {}  # task: the Client that it lives on

    def running(self):
        return time.monotonic() < self.deadline and not self.complaints

    def count(self, kind, outcome):
        self.done[kind] = self.done.get(kind, 0) + 1
        if outcome:
            self.errors[(kind, outcome)] = self.errors.get((kind, outcome), 0) + 1

    async def connect(self, rnd, **parameters):
        cuts = (0.02, 0.004) if rnd.random() < 0.5 else (0.0, 0.0)
        client = Client(rnd.choice(self.ports), rnd, cuts)
        client.until = self.deadline
        self.clients[asyncio.current_task()] = client
        try:
            return await client.open(APP_USER, APP_DATABASE, **parameters)
        except BaseException:
            client.close()
            raise


# ---- kinds ----

async def simple(world, owner, rnd):
    """And nobody else's settings are in force, nor locks or temporary tables held."""
    own = {"application_name": owner} if rnd.random() < 0.5 else {}
    c = await world.connect(rnd, **own)
    try:
        for i in range(rnd.randrange(1, 30)):
            n = rnd.randrange(1, 101)
            insist(owner, await c.rows(f"select '{owner}-{i}', id from t where id = {n}"),
                   [(f"{owner}-{i}", str(n))])
            found = await c.rows("select current_user, current_setting('search_path'), "
                                 "current_setting('application_name')")
            insist(owner, found[0][:2], (APP_USER, '"$user", public'))
            if found[0][2] not in (own.get("application_name"), "", "switchgear"):
                raise Wrong(f"{owner} has the application_name {found[0][2]}")
            if rnd.random() < 0.3:
                insist(owner, await c.rows(
                    "select count(*), to_regclass('pg_temp.left_over') from pg_locks "
                    "where locktype = 'advisory' and pid = pg_backend_pid()"), [("0", None)])
            if rnd.random() < 0.2:
                r = await c.sql(f"select '{owner}'; ; select {i}, '{owner}'")
                insist(owner, (r.types, r.rows), ("TDCTDCZ", [(owner,), (str(i), owner)]))
    finally:
        c.close()


async def extended(world, owner, rnd):
    """Unnamed statements, several batches on their way at once."""
    c = await world.connect(rnd)
    try:
        for i in range(rnd.randrange(1, 20)):
            depth = rnd.randrange(1, 6)
            parts = []
            for d in range(depth):
                parts += [parse("", "select $1::text, id from t where id = $2::int"),
                          bind("", "", (f"{owner}-{i}-{d}", str(d + 1))), describe("P", ""),
                          execute(), sync()]
            await c.send(*parts)
            for d in range(depth):
                r = (await c.until_ready()).checked()
                insist(owner, (r.types, r.rows), ("12TDCZ", [(f"{owner}-{i}-{d}", str(d + 1))]))
    finally:
        c.close()


async def named(world, owner, rnd):
    """Names that all of them use, for texts of their own and texts that many share."""
    c = await world.connect(rnd)
    texts = {}
    try:
        for i in range(rnd.randrange(1, 30)):
            name = f"s{rnd.randrange(4)}"
            parts, types = [], ""
            if name not in texts or rnd.random() < 0.2:
                mine = rnd.random() < 0.5
                texts[name] = owner if mine else "shared"
                text = f"select $1::text, '{texts[name]}', count(*) from t"
                parts, types = [close("S", name), parse(name, text)], "31"
            r = (await c.run(*parts, bind("", name, (f"{owner}-{i}",)), execute(), sync())).checked()
            insist(owner, (r.types, r.rows),
                   (types + "2DCZ", [(f"{owner}-{i}", texts[name], "100")]))
    finally:
        c.close()


async def transactions(world, owner, rnd):
    """One row of its own, whose number is known but for commits that were not answered."""
    c = await world.connect(rnd)
    possible = world.possible.setdefault(owner, {None})
    try:
        for _ in range(rnd.randrange(1, 8)):
            await c.sql(rnd.choice(("begin", "begin isolation level read committed", "BEGIN;")))
            found = await c.rows(f"select n from crowd where owner = '{owner}' for update")
            n = int(found[0][0]) if found else None
            if n not in possible:
                raise Wrong(f"{owner} finds {n}, not one of {possible}")
            possible.clear()
            possible.add(n)
            after = 0 if n is None else n + 1
            await c.sql(f"insert into crowd values ('{owner}', {after}) "
                        f"on conflict (owner) do update set n = excluded.n")
            insist(owner, await c.rows(f"select owner, n from crowd where owner = '{owner}'"),
                   [(owner, str(after))])
            if rnd.random() < 0.3:
                await c.sql("savepoint s")
                await c.sql(f"update crowd set n = -1 where owner = '{owner}'")
                await c.sql("rollback to s")
            if rnd.random() < 0.4:
                await c.sql("rollback")
                continue
            possible.add(after)
            r = await c.sql("commit")
            insist(owner, (r.tags, r.status), (["COMMIT"], "I"))
            possible.discard(n)
    finally:
        c.close()


async def copies(world, owner, rnd):
    c = await world.connect(rnd)
    try:
        for _ in range(rnd.randrange(1, 5)):
            if rnd.random() < 0.5:
                count = rnd.randrange(1, 3000)
                r = await c.sql(f"copy (select '{owner}', g from generate_series(1, {count}) g) "
                                "to stdout")
                insist(owner, b"".join(r.data).decode(),
                       "".join(f"{owner}\t{g}\n" for g in range(1, count + 1)))
            else:
                await copy_in(c, owner, rnd)
            insist(owner, await c.rows(f"select '{owner}'"), [(owner,)])
    finally:
        c.close()


async def copy_in(c, owner, rnd):
    """Good, given up, or with a bad row: either all of it is there afterwards, or nothing."""
    batch, count = rnd.randrange(1 << 30), rnd.randrange(1, 500)
    await c.send(query("copy crowd_log from stdin"))
    r = await c.until_ready("ZG")
    if r.errors:
        r.checked()
    how = rnd.choice(("good", "good", "failed", "bad"))
    lines = [f"{owner}\t{batch}\t{i}\n".encode() for i in range(count)]
    if how == "bad":
        lines[rnd.randrange(count)] = b"no number\n"
    for at in range(0, count, 50):
        await c.send(message("d", b"".join(lines[at:at + 50])))
    r = await c.run(message("f", cstring("given up")) if how == "failed" else message("c"))
    if how == "good":
        insist(owner, r.checked().tags, [f"COPY {count}"])
    else:
        insist(owner, [e["C"] for e in r.errors], ["22P04" if how == "bad" else CANCELED])
    insist(owner, await c.rows("select count(*), count(distinct n) from crowd_log "
                               f"where owner = '{owner}' and batch = {batch}"),
           [(str(count),) * 2 if how == "good" else ("0", "0")])


async def listeners(world, owner, rnd):
    c = await world.connect(rnd)
    channel = owner.replace("-", "_")
    try:
        await c.sql(f"listen {channel}")
        for i in range(rnd.randrange(1, 6)):
            await c.sql(f"notify {channel}, '{owner}-{i}'")
            for _ in range(20):
                if (channel, f"{owner}-{i}") in c.notices:
                    break
                await c.rows("select pg_sleep(0.005)")
            else:
                raise Wrong(f"{owner} did not hear of {i}: {c.notices}")
        if rnd.random() < 0.5:
            await c.sql(f"unlisten {channel}")
        for heard, payload in c.notices:
            if heard != channel or not payload.startswith(owner + "-"):
                raise Wrong(f"{owner} heard {heard} {payload}")
    finally:
        c.close()


async def settings(world, owner, rnd):
    c = await world.connect(rnd)
    role = rnd.choice(ROLES)
    show = ("select '" + owner + "', current_user, current_setting('search_path'), "
            "current_setting('application_name'), current_setting('work_mem')")
    try:
        await c.sql(f"set application_name = '{owner}'")
        await c.sql(f"set role {role}")
        await c.sql(f"set search_path = {role}, public; set work_mem = '5MB'")
        wanted = [(owner, role, f"{role}, public", owner, "5MB")]
        for _ in range(rnd.randrange(1, 10)):
            insist(owner, await c.rows(show), wanted)
            if rnd.random() < 0.3:
                await c.sql("begin")
                await c.sql("set local work_mem = '6MB'")
                insist(owner, await c.rows("show work_mem"), [("6MB",)])
                await c.sql("rollback")
        await c.sql("reset role")
        await c.sql("reset search_path; reset work_mem")
        insist(owner, (await c.rows(show))[0][:4], (owner, APP_USER, '"$user", public', owner))
    finally:
        c.close()


async def cancellers(world, owner, rnd):
    c = await world.connect(rnd)
    try:
        for _ in range(rnd.randrange(1, 4)):
            await c.send(query(rnd.choice(("select pg_sleep(0.4)",
                                           "select count(*) from t, pg_sleep(0.3)"))))
            await asyncio.sleep(rnd.uniform(0, 0.2))
            for _ in range(rnd.choice((1, 1, 3))):
                await c.cancel()
            r = await c.until_ready()
            if r.errors and r.errors[0]["C"] != CANCELED:
                r.checked()
            for _ in range(10):  # a late one may still come: as late as one can to PostgreSQL
                try:
                    insist(owner, await c.rows(f"select '{owner}'"), [(owner,)])
                except Refused as error:
                    if error.code != CANCELED:
                        raise
    finally:
        c.close()


async def pinned(world, owner, rnd):
    c = await world.connect(rnd)
    try:
        how = rnd.randrange(4)
        if how == 0:
            await c.sql("create temporary table mine (owner text)")
            await c.sql(f"insert into mine values ('{owner}')")
            for _ in range(5):
                insist(owner, await c.rows("select owner from mine"), [(owner,)])
        elif how == 1:
            key = random.Random(owner).randrange(1 << 40)
            insist(owner, await c.rows(f"select pg_try_advisory_lock({key})"), [("t",)])
            await asyncio.sleep(rnd.uniform(0, 0.05))
            insist(owner, await c.rows(f"select pg_advisory_unlock({key})"), [("t",)])
        elif how == 2:  # what a function does to its connection, no other client inherits
            insist(owner, await c.rows(f"select crowd_mess('{owner}')"), [(owner,)])
        else:
            await c.sql("begin")
            await c.sql(f"declare mine cursor with hold for select '{owner}', g "
                        "from generate_series(1, 10) g")
            await c.sql("commit")
            for g in range(1, 6):
                insist(owner, await c.rows("fetch 1 from mine"), [(owner, str(g))])
        if rnd.random() < 0.5:
            await c.sql("discard all")
            insist(owner, await c.rows(f"select '{owner}'"), [(owner,)])
    finally:
        c.close()


async def failing(world, owner, rnd):
    """Errors of all sorts; then perhaps half a message, or bytes that are none."""
    c = await world.connect(rnd)
    try:
        for _ in range(rnd.randrange(1, 8)):
            text, code = rnd.choice((("select 1/0", "22012"), ("selekt", "42601"),
                                     ("select * from nowhere", "42P01"),
                                     ("select 1; select 1/0; select 2", "22012")))
            insist(owner, [e["C"] for e in (await c.run(query(text))).errors], [code])
            r = await c.run(parse("", f"select '{owner}'"), bind("", ""), execute(),
                            parse("", "select 1/$1::int"), bind("", "", ("0",)), execute(),
                            bind("", "", ("1",)), execute(), sync())
            insist(owner, (r.types, r.rows, r.errors[0]["C"]), ("12DC1EZ", [(owner,)], "22012"))
            insist(owner, [e["C"] for e in (await c.run(bind("", "none"), sync())).errors],
                   ["26000"])
        await c.send(rnd.choice((b"Q\0\0", b"Q\0\0\1\0select 1", b"P\0\0\0\x20half", b"\xff" * 40,
                                 b"Q\0\0\0\3", parse("", "select 1") + FLUSH + b"B\0",
                                 query("select pg_sleep(0.2)"), query("begin") + b"Q\0\0\0",
                                 struct.pack("!II", 8, SSL_REQUEST), b"")))
        await asyncio.sleep(rnd.choice((0, 0.01)))
    finally:
        c.close()


KINDS = (simple, extended, named, transactions, copies, listeners, settings, cancellers, pinned,
         failing)


def judged(world, owner, error):
    """The name of an error that is part of the game; others are complained of."""
    if isinstance(error, Vanished):
        return "vanished"
    code = error.code if isinstance(error, Refused) else error.fields.get("C", "")
    fatal_allowed = isinstance(error, Lost) and (not code or code == "08P01")
    if not fatal_allowed and not code.startswith(ALLOWED):
        world.complaints.append(f"{owner}: {error}")
    return f"{type(error).__name__} {code}"


async def one_life(world, kind, owner, rnd):
    """A life may be long on a busy machine; an answer may not."""
    task = asyncio.ensure_future(kind(world, owner, rnd))
    try:
        while not (await asyncio.wait({task}, timeout=5))[0]:
            client = world.clients.get(task)
            since = client.waiting_since if client else None
            if since is not None and time.monotonic() - since > ANSWER_SECONDS:
                task.cancel()
                raise asyncio.TimeoutError
        return task.result()
    finally:
        world.clients.pop(task, None)


async def live(world, kind, owner):
    rnd = random.Random(f"{world.seed}-{owner}")
    while world.running():
        outcome = None
        try:
            await one_life(world, kind, owner, rnd)
        except (Lost, Refused, Vanished) as error:
            outcome = judged(world, owner, error)
        except Wrong as wrong:
            world.complaints.append(str(wrong))
        except asyncio.TimeoutError:
            world.complaints.append(f"{owner} hangs")
        except Exception as error:  # of the test itself
            world.complaints.append(f"{owner}: {type(error).__name__} {error}")
        world.count(kind.__name__, outcome)
        await asyncio.sleep(rnd.uniform(0, 0.2))


async def run(world, clients):
    """All of them, until the time is over or somebody complains."""
    await asyncio.gather(*(live(world, KINDS[i % len(KINDS)], f"{KINDS[i % len(KINDS)].__name__}-{i}")
                           for i in range(clients)))
