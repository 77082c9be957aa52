# SPDX-License-Identifier: PostgreSQL
"""Messages that only the scripts need, under the one-letter names that the protocol has for them."""
import struct

from talk import Turn, script
from wire import bind, close, cstring, describe, execute, message, parse, query, sync

P, B, D, E, C, Q = parse, bind, describe, execute, close, query
S = sync()
H = message("H")  # Flush
DONE = message("c")  # CopyDone


def copy_data(text):
    return message("d", text if isinstance(text, bytes) else text.encode())


def copy_fail(reason):
    return message("f", cstring(reason))


def function_call(oid, *arguments, result_format=0):
    body = struct.pack("!IHH", oid, 0, len(arguments))
    for argument in arguments:
        if argument is None:
            body += struct.pack("!i", -1)
        else:
            raw = argument.encode()
            body += struct.pack("!I", len(raw)) + raw
    return message("F", body + struct.pack("!H", result_format))


def bind_raw(portal, statement, formats=(), values=(), results=()):
    """values are bytes or None for NULL."""
    body = cstring(portal) + cstring(statement) + struct.pack("!H", len(formats))
    body += b"".join(struct.pack("!H", f) for f in formats) + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return message("B", body + struct.pack("!H", len(results)) +
                   b"".join(struct.pack("!H", f) for f in results))


def statement(sql, *values, portal="", name="", types=()):
    """Parse, Bind, Describe, Execute, as a driver sends them."""
    return (P(name, sql, types) + B(portal, name, values) + D("P", portal) + E(portal))


def framed(kind, length, body=b""):
    """A message whose length word says what it likes."""
    return kind.encode("latin-1") + struct.pack("!I", length) + body


__all__ = ["B", "C", "D", "DONE", "E", "H", "P", "Q", "S", "Turn", "bind_raw", "copy_data",
           "copy_fail", "cstring", "framed", "function_call", "message", "script", "statement"]
