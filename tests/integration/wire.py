# SPDX-License-Identifier: PostgreSQL
"""A client that speaks the wire protocol by hand, for what no driver would send.

Messages are (type, body) pairs of a one-letter str and bytes. Chapter "Frontend/Backend Protocol"
of PostgreSQL's manual.
"""
import socket
import struct

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST, VERSION_3 = 80877103, 80877104, 80877102, 196608


def cstring(text):
    return text.encode() + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def startup(user, database, **parameters):
    pairs = {"user": user, "database": database, **parameters}
    body = b"".join(cstring(k) + cstring(v) for k, v in pairs.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, VERSION_3) + body


def query(sql):
    return message("Q", cstring(sql))


def parse(name, sql, types=()):
    return message("P", cstring(name) + cstring(sql) + struct.pack("!H", len(types)) +
                   b"".join(struct.pack("!I", t) for t in types))


def bind(portal, statement, values=()):
    body = cstring(portal) + cstring(statement) + struct.pack("!HH", 0, len(values))
    for value in values:
        raw = value.encode()
        body += struct.pack("!I", len(raw)) + raw
    return message("B", body + struct.pack("!H", 0))


def execute(portal="", rows=0):
    return message("E", cstring(portal) + struct.pack("!I", rows))


def describe(kind, name):
    return message("D", kind.encode() + cstring(name))


def close(kind, name):
    return message("C", kind.encode() + cstring(name))


def sync():
    return message("S")


def error_fields(body):
    """{field letter: text} of an ErrorResponse or NoticeResponse."""
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}


class Wire:
    """One TCP connection. recv() returns None at the peer's end."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buffer = b""
        self.key = None  # BackendKeyData

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def recv_bytes(self, size):
        while len(self.buffer) < size:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not chunk:
                return None
            self.buffer += chunk
        result, self.buffer = self.buffer[:size], self.buffer[size:]
        return result

    def recv(self):
        head = self.recv_bytes(5)
        if head is None:
            return None
        kind, size = head[:1].decode("latin-1"), struct.unpack("!I", head[1:])[0]
        body = self.recv_bytes(size - 4)
        return None if body is None else (kind, body)

    def recv_all(self, until="Z"):
        """Messages up to and with the first of type `until`, or to the end of the stream."""
        result = []
        while True:
            m = self.recv()
            if m is None:
                return result
            result.append(m)
            if m[0] == until:
                return result

    def login(self, user, database, **parameters):
        """Start-up without a password; returns the messages up to ReadyForQuery."""
        self.send(startup(user, database, **parameters))
        messages = self.recv_all()
        for kind, body in messages:
            if kind == "K":
                self.key = body
        return messages

    def run(self, *parts):
        """Sends, and returns the replies up to ReadyForQuery."""
        self.send(*parts)
        return self.recv_all()

    def closed_within(self, seconds):
        """True when the peer ends the connection in that time; what it says first is dropped."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False


def types(messages):
    return "".join(kind for kind, _ in messages)


def first_error(messages):
    """The fields of the first ErrorResponse, or None."""
    return next((error_fields(body) for kind, body in messages if kind == "E"), None)
