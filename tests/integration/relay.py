# SPDX-License-Identifier: PostgreSQL
"""A relay between the proxy and one node that can lie: it forwards everything until a client's
statement holds a marker that it was told of; then the server's answer is replaced.

    with LyingRelay(node.port) as relay:
        p = proxy(nodes={"p1": {"port": relay.port}})
        relay.lie("/*lie*/", b"nonsense")

It can also keep what servers say to itself for a while (relay.silent), and take nothing from anybody
(relay.deaf).
"""
import contextlib
import select
import socket
import threading
import time


class LyingRelay:
    def __init__(self, target_port):
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lies = {}  # marker -> [bytes, and_then, times]
        self.clients = {}  # near socket -> the start-up packet that it sent
        self.told = 0
        self.silent = False
        self.deaf = False
        self.ending = False
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for thread in self.threads:
            thread.join(5)

    def lie(self, marker, answer, and_then="relay", times=1 << 30):
        """The statement with this marker never reaches the server; its client gets `answer`, and
        the connection is closed, relayed further or reset ("close", "relay", "reset"). This happens
        so many times."""
        self.lies[marker.encode()] = [answer, and_then, times]

    def say(self, data, user, and_close=False):
        """Every connection of this user gets these bytes, which nobody has asked for: its server
        is idle, or they fall into an answer. Returns how many there were."""
        chosen = [s for s, packet in list(self.clients.items())
                  if b"user\0" + user.encode() + b"\0" in packet]
        for s in chosen:
            s.sendall(data)
            if and_close:
                with contextlib.suppress(OSError):  # the proxy may have been quicker
                    s.shutdown(socket.SHUT_RDWR)
        return len(chosen)

    def accept(self):
        while not self.ending:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(near,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target_port), 5)
        except OSError:
            near.close()
            return
        with near, far:
            try:
                while not self.ending and self.pass_on(near, far):
                    pass
            except OSError:
                pass
            finally:
                self.clients.pop(near, None)

    def pass_on(self, near, far):
        """One round; False when the connection is to end."""
        if self.deaf:
            time.sleep(0.05)
            return True
        ready = select.select([near] if self.silent else [near, far], [], [], 0.05)[0]
        if far in ready:
            data = far.recv(65536)
            near.sendall(data)
            if not data:
                return False
        if near not in ready:
            return True
        data = near.recv(65536)
        if b"user\0" in data[:40]:
            self.clients[near] = data
        for marker, lie in list(self.lies.items()):
            answer, and_then, times = lie
            if marker in data and times > 0:
                lie[2] -= 1
                self.told += 1
                near.sendall(answer)
                if and_then == "reset":
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return and_then == "relay"
        far.sendall(data)
        return bool(data)
