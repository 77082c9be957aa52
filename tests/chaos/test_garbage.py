# SPDX-License-Identifier: PostgreSQL
"""A thousand strangers that do not speak the protocol: none is served, none costs anything."""
import os
import random
import socket
import struct
import time

from baseline import own_files, pools
from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one
from test_soak import SEED
from wire import CANCEL_REQUEST, GSS_REQUEST, SSL_REQUEST, startup


def packet(rnd):
    good = startup(APP_USER, APP_DATABASE)
    kind = rnd.randrange(9)
    if kind == 0:
        return rnd.randbytes(rnd.randrange(0, 300))
    if kind == 1:
        return good[:rnd.randrange(len(good))]
    if kind == 2:  # a bit is wrong
        at = rnd.randrange(len(good))
        return good[:at] + bytes([good[at] ^ 1 << rnd.randrange(8)]) + good[at + 1:]
    if kind == 3:
        return struct.pack("!II", rnd.choice([0, 4, 7, 8, 9, 10001, 1 << 31, 0xffffffff]), 196608)
    if kind == 4:
        return struct.pack("!II", 8, rnd.choice([SSL_REQUEST, GSS_REQUEST])) * rnd.randrange(1, 5)
    if kind == 5:
        return struct.pack("!II", 8, SSL_REQUEST) + good
    if kind == 6:
        return struct.pack("!IIII", 16, CANCEL_REQUEST, rnd.randrange(1 << 32),
                           rnd.randrange(1 << 32))
    if kind == 7:  # a password that never ends, or is none
        return good + rnd.choice([b"p\xff\xff\xff\xff", b"Q\0\0\0\x0bselect", b"p\0\0\0\x05x"])
    return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x16\x03\x01" + rnd.randbytes(40)


def test_a_thousand_start_ups_with_garbage_leave_no_trace(proxy):
    print(f"CHAOS_SEED={SEED}")
    rnd = random.Random(SEED)
    p = proxy(switchgear={"client_login_timeout": "2s"})
    assert one(p.connect(), "select 1") == 1
    before = own_files(p)
    pools_before = len(pools(p))
    held = []
    for i in range(1000):
        s = socket.create_connection(("127.0.0.1", p.port), timeout=10)
        try:
            s.sendall(packet(rnd))
            how = rnd.randrange(4)
            if how == 0:
                s.shutdown(socket.SHUT_WR)
            elif how == 1:
                s.settimeout(0.001)
                s.recv(4096)
            elif how == 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        if len(held) < 100 and rnd.random() < 0.3:
            held.append(s)
        else:
            s.close()
        if i % 250 == 0:
            assert one(p.connect(), "select 1") == 1, "the others are served"
    for c in p.connections[1:]:
        c.close()
    # those that stay are sent away by the log-in timeout
    wait_until(lambda: own_files(p) <= before + 1, 10, "no descriptor is left over")
    for s in held:
        s.close()
    time.sleep(0.2)
    assert len(pools(p)) <= pools_before + 2, "names that nobody has make no pools"
    assert one(p.connect(), "select 1") == 1
    assert os.path.isdir(f"/proc/{p.process.pid}")
