# SPDX-License-Identifier: PostgreSQL
"""The client's side of SCRAM-SHA-256(-PLUS), by hand, so that a test can do it wrong. RFC 5802."""
import base64
import hashlib
import hmac
import os
import struct

from wire import message

PLAIN, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
BOUND = "p=tls-server-end-point,,"


def secret(password, salt=b"0123456789abcdef", rounds=4096):
    """As the server stores it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    return (f"SCRAM-SHA-256${rounds}:{text(salt)}$"
            f"{text(hashlib.sha256(client).digest())}:{text(server)}")


def text(raw):
    return base64.b64encode(raw).decode()


def first(header="n,,", nonce=None):
    """(the whole message, what is behind its header)"""
    bare = f"n=,r={nonce or text(os.urandom(18))}"
    return header + bare, bare


def initial(mechanism, data):
    raw = data.encode()
    return message("p", mechanism.encode() + b"\0" + struct.pack("!i", len(raw)) + raw)


def attributes(data):
    return dict(part.split("=", 1) for part in data.split(","))


def final(bare, server_first, password, header="n,,", binding=b""):
    """(the message, what the server must answer)"""
    found = attributes(server_first)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(found["s"]),
                                 int(found["i"]))
    without_proof = f"c={text(header.encode() + binding)},r={found['r']}"
    covered = f"{bare},{server_first},{without_proof}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), covered, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    verifier = text(hmac.digest(server_key, covered, "sha256"))
    return message("p", f"{without_proof},p={text(proof)}".encode()), f"v={verifier}"


def log_in(wire, password, mechanism=PLAIN, header="n,,", binding=b""):
    """Behind the start-up packet. Returns the messages that came, to the welcome or to an error;
    the mechanisms offered are in wire.mechanisms, server-first in wire.server_first."""
    kind, body = wire.recv()
    assert (kind, body[:4]) == ("R", struct.pack("!I", 10)), (kind, body)
    wire.mechanisms = body[4:-2].decode().split("\0")
    whole, bare = first(header)
    wire.send(initial(mechanism, whole))
    kind, body = wire.recv()
    if kind == "E":
        return [(kind, body)]
    assert (kind, body[:4]) == ("R", struct.pack("!I", 11)), (kind, body)
    wire.server_first = body[4:].decode()
    reply, wire.expected = final(bare, wire.server_first, password, header, binding)
    wire.send(reply)
    return wire.recv_all()
