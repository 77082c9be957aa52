# SPDX-License-Identifier: PostgreSQL
"""What one client can send at once: many messages, each of them small and of little work. A kind is
a function of no arguments that returns the bytes; all of them end in an answer to `END`."""
import struct

from wire import bind, close, describe, execute, message, parse, query, sync

SIZE = 900_000  # below statement_max, so that a batch of it is planned whole
END = "the flood has ended"


def many(make, size=SIZE):
    """As many messages as fit, each of them another."""
    parts, used = [], 0
    while used < size:
        parts.append(make(len(parts)))
        used += len(parts[-1])
    return b"".join(parts)


def full_of_settings():
    """So much as is followed: about 14 kB of them."""
    return b"".join(query(f"set a.s{i} = '{'x' * 100}'") for i in range(90))


def savepoints(i):
    return query(f"savepoint s{i}") + query(f"rollback to s{i // 2}")


FLOODS = {
    "queries": lambda: many(lambda i: query(f"select {i} as a{i}")),
    "empty queries": lambda: many(lambda i: query("")),
    "words for the proxy": lambda: many(lambda i: query("show switchgear.last_route")),
    "blocks": lambda: many(lambda i: query("begin") + query("commit")),
    "blocks with a read": lambda: many(lambda i: query("begin") + query("select 1") +
                                       query("commit"), 400_000),
    "words in a failed block": lambda: query("begin") + query("select 1/0") + many(
        lambda i: query(f"select {i}")) + query("rollback"),
    "savepoints": lambda: query("begin") + many(savepoints, 200_000) + query("rollback"),
    "texts": lambda: many(lambda i: parse("", f"select a{i}")) + sync(),
    "texts with names": lambda: many(lambda i: parse(f"n{i}", f"select {i} as a{i}")) + sync(),
    "batches": lambda: many(lambda i: parse("", f"select {i} as a{i}") + bind("", "") + execute() +
                            sync()),
    "batches of unlike texts": lambda: many(
        lambda i: parse("", f"select {i} as a{i}") + parse("", f"insert into b{i} values (1)") +
        sync(), 600_000),
    "executes": lambda: parse("", "select 1") + bind("", "") + many(lambda i: execute()) + sync(),
    "binds": lambda: parse("s", "select 1") + many(lambda i: bind("", "s") + execute()) + sync(),
    "binds that name nothing": lambda: many(lambda i: bind("", f"no{i}")) + sync(),
    "descriptions": lambda: parse("s", "select 1") + many(lambda i: describe("S", "s")) + sync(),
    "closes": lambda: many(lambda i: close("S", f"c{i}")) + sync(),
    "closes of our names": lambda: many(lambda i: close("S", f"sg_{i}")) + sync(),
    "closes of portals": lambda: many(lambda i: close("P", f"c{i}")) + sync(),
    "syncs": lambda: many(lambda i: sync()),
    "flushes": lambda: many(lambda i: message("H")) + sync(),
    "an error and what is skipped": lambda: parse("", "x") + many(lambda i: execute()) + sync(),
    "a batch of settings": lambda: full_of_settings() + many(
        lambda i: parse("", f"set a.s{i % 90} = '{i:0100}'") + bind("", "") + execute(),
        SIZE) + sync(),
    "names that are all forgotten": lambda: b"".join(
        b"".join(parse(f"n{i}", "select 1") for i in range(2000)) + sync() +
        query("deallocate all") for _ in range(12)),
    "names that are forgotten one by one": lambda: b"".join(
        parse(f"n{i}", "select 1") for i in range(3000)) + sync() + b"".join(
            query(f"deallocate n{i}") for i in range(3000)),
    "copied bytes": lambda: query("create temp table c (a text)") + query("copy c from stdin") +
    many(lambda i: message("d"), 500_000) + message("d", b"a\n") * 50_000 + message("c"),
    "copied bytes that nobody wants": lambda: many(lambda i: message("d")),
    "many parameters": lambda: parse("", "select 1") + bind("", "", ["1"] * 65535) + sync(),
    "many types": lambda: parse("", "select 1", [23] * 65535) + sync(),
    "many small rows": lambda: query("select from generate_series(1, 2000000)"),
    "many notices": lambda: query(
        "do $$ begin for i in 1..20000 loop raise notice 'x'; end loop; end $$"),
    "calls of functions": lambda: many(
        lambda i: message("F", struct.pack("!IHHH", 1, 0, 0, 0)), 200_000),
}
