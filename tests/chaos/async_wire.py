# SPDX-License-Identifier: PostgreSQL
"""A client that speaks the wire protocol by hand, hundreds of them in one asyncio loop, and that may
vanish in the middle of whatever it sends or reads. And a relay that cuts what goes through it."""
import asyncio
import socket
import struct
import time

from wire import CANCEL_REQUEST, cstring, error_fields, message, startup

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel sends a RST instead of a FIN


class Lost(Exception):
    """The connection is gone; `fields` of the FATAL that came before its end, if one came."""

    def __init__(self, fields=None):
        super().__init__(fields)
        self.fields = fields or {}


class Vanished(Exception):
    """Its own doing."""


class Refused(Exception):
    """An ErrorResponse."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('C')} {fields.get('M')}")
        self.code = fields.get("C", "")


def cut(writer, with_reset):
    """Ends a connection at once, whatever is on its way."""
    s = writer.get_extra_info("socket")
    if with_reset and s is not None and s.fileno() >= 0:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Reply:
    """What came up to a ReadyForQuery."""

    def __init__(self):
        self.types = ""
        self.rows = []
        self.tags = []
        self.errors = []
        self.data = []  # CopyData
        self.status = ""

    def take(self, kind, body):
        self.types += kind
        if kind == "D":
            self.rows.append(read_row(body))
        elif kind == "C":
            self.tags.append(body[:-1].decode())
        elif kind == "E":
            self.errors.append(error_fields(body))
        elif kind == "d":
            self.data.append(body)
        elif kind == "Z":
            self.status = body.decode()

    def checked(self):
        if self.errors:
            raise Refused(self.errors[0])
        return self


def read_row(body):
    values, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        values.append(None if size < 0 else body[at:at + size].decode())
        at += max(size, 0)
    return tuple(values)


class Client:
    """cuts: chances (at each send, at each message read) that it vanishes there. longest: seconds
    that any of them has waited for an answer."""

    longest = 0.0

    def __init__(self, port, rnd, cuts=(0.0, 0.0)):
        self.port, self.rnd, self.cuts = port, rnd, cuts
        self.reader = self.writer = self.key = None
        self.until = None  # the time from which on it sends nothing more, but vanishes
        self.waiting_since = None  # for an answer
        self.parameters = {}
        self.notices = []  # payloads of notifications, with their channels

    async def open(self, user, database, **parameters):
        await self.dial()
        await self.send(startup(user, database, **parameters))
        (await self.until_ready()).checked()
        return self

    async def dial(self):
        try:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            raise Lost() from error

    def vanish(self):
        cut(self.writer, self.rnd.random() < 0.6)
        raise Vanished

    def close(self):
        if self.writer is not None:
            cut(self.writer, False)

    async def send(self, *parts):
        if self.until is not None and time.monotonic() > self.until:
            self.vanish()
        data = b"".join(parts)
        gone = self.rnd.random() < self.cuts[0]
        if gone:
            data = data[:self.rnd.randrange(len(data) + 1)]
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise Lost() from error
        if gone:
            await asyncio.sleep(self.rnd.choice((0, 0, 0.01, 0.05)))
            self.vanish()

    async def recv(self):
        self.waiting_since = time.monotonic()
        try:
            head = await self.reader.readexactly(5)
            if self.rnd.random() < self.cuts[1]:
                self.vanish()
            body = await self.reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Lost() from error
        Client.longest = max(Client.longest, time.monotonic() - self.waiting_since)
        self.waiting_since = None
        return head[:1].decode("latin-1"), body

    async def message(self):
        """The next one that is not asynchronous. A FATAL is remembered by the Lost that follows."""
        while True:
            kind, body = await self.recv()
            if kind == "A":
                channel, payload, _ = body[4:].split(b"\0")
                self.notices.append((channel.decode(), payload.decode()))
            elif kind == "S":
                name, value, _ = body.split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = body
            elif kind == "E" and error_fields(body).get("S") in ("FATAL", "PANIC"):
                raise Lost(error_fields(body))
            elif kind != "N":
                return kind, body

    async def until_ready(self, stop_at="Z"):
        reply = Reply()
        while True:
            kind, body = await self.message()
            reply.take(kind, body)
            if kind in stop_at:
                return reply

    async def run(self, *parts):
        await self.send(*parts)
        return await self.until_ready()

    async def sql(self, text):
        """One simple Query; raises Refused on an error."""
        return (await self.run(message("Q", cstring(text)))).checked()

    async def rows(self, text):
        return (await self.sql(text)).rows

    async def cancel(self):
        """Another connection asks to cancel what runs here."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(struct.pack("!II", len(self.key) + 8, CANCEL_REQUEST) + self.key)
            await writer.drain()
            writer.close()
        except OSError:
            pass


class Cutter:
    """A relay to 127.0.0.1:`target`. Each connection through it is cut after a random number of
    bytes, most often in mid message, with a RST to one side or both."""

    def __init__(self, target, rnd, bytes_mean, chance=1.0):
        self.target, self.rnd, self.bytes_mean, self.chance = target, rnd, bytes_mean, chance
        self.server, self.port, self.cuts = None, None, 0
        self.writers = set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def heal(self):
        """No cuts from now on, for new connections."""
        self.chance = 0.0

    def hurt(self):
        """Each new connection will be cut."""
        self.chance = 1.0

    async def serve(self, reader, writer):
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            cut(writer, True)
            return
        pair = (writer, other_writer)
        self.writers.update(pair)
        left = [int(self.rnd.expovariate(1 / self.bytes_mean))
                if self.rnd.random() < self.chance else 1 << 60]
        await asyncio.gather(self.pump(reader, other_writer, pair, left),
                             self.pump(other_reader, writer, pair, left))
        self.writers.difference_update(pair)

    async def pump(self, reader, writer, pair, left):
        try:
            while data := await reader.read(16384):
                if len(data) > left[0]:
                    writer.write(data[:left[0]])
                    self.cuts += 1
                    break
                left[0] -= len(data)
                if self.rnd.random() < 0.05 and len(data) > 1:  # torn in two
                    at = self.rnd.randrange(1, len(data))
                    writer.write(data[:at])
                    await asyncio.sleep(0.002)
                    data = data[at:]
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        await asyncio.sleep(0)
        for w in pair:
            cut(w, self.rnd.random() < 0.5)

    def stop(self):
        self.server.close()
        for writer in list(self.writers):
            cut(writer, False)
