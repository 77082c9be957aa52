# SPDX-License-Identifier: PostgreSQL
"""A session that speaks the protocol by hand: statements in, rows and errors out.

Without a password: through a proxy with auth_type = trust, or to a server's private socket.
"""
import socket

from wire import Wire, bind, error_fields, execute, message, parse, query, sync

COPIED = b"1\n"  # the line that each COPY FROM gets, unless told


class Session(Wire):
    """run() answers (rows, the first error or None); an error is {field letter: text}."""

    def __init__(self, port, database, user, timeout=20):
        super().__init__(port, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begin(database, user)

    def begin(self, database, user):
        answer = self.login(user, database)
        assert answer and answer[-1][0] == "Z", answer

    def batch(self, sql, extended=False, values=()):
        if not extended:
            return query(sql)
        return parse("", sql) + bind("", "", values) + execute() + sync()

    def run(self, sql, extended=False, copied=COPIED):
        self.send(self.batch(sql, extended))
        return self.answer(extended, copied)

    def answer(self, extended=False, copied=COPIED):
        """What the server says up to its next ReadyForQuery."""
        rows, error = [], None
        while True:
            m = self.recv()
            if m is None:
                return rows, error or {"C": "lost", "M": "the connection ended"}
            kind, body = m
            if kind == "G":
                self.send(message("d", copied), message("c"), sync() if extended else b"")
            elif kind == "D":
                rows.append(values_of(body))
            elif kind == "E":
                error = error or error_fields(body)
            elif kind == "Z":
                return rows, error

    def leave(self, politely=True):
        try:
            if politely:
                self.send(message("X"))
        except OSError:
            pass
        self.socket.close()


class Direct(Session):
    """Past the proxy."""

    def __init__(self, node, database, user):
        self.socket, self.buffer = socket.socket(socket.AF_UNIX), b""
        self.socket.settimeout(20)
        self.socket.connect(f"{node.base}/.s.PGSQL.{node.port}")
        self.begin(database, user)


def values_of(body):
    """The columns of a DataRow, as text."""
    values, at = [], 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size = int.from_bytes(body[at:at + 4], "big", signed=True)
        at += 4
        values.append(None if size < 0 else body[at:at + size].decode())
        at += max(size, 0)
    return values


def said(error):
    return error["C"] + " " + error["M"]
