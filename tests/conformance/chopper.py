# SPDX-License-Identifier: PostgreSQL
"""A wire that hands on what a server sends in pieces of a few bytes, cut without regard to messages.

Happy path: accept, connect, two tasks copy. The client's bytes pass as they come.
"""
import asyncio
import random
import socket
import threading

PIECE_MAX = 24
ONE_BY_ONE = 512  # this many bytes at the front of a burst are cut; the rest of it passes whole


class Chopper:
    def __init__(self, server_port, seed=0):
        self.server_port = server_port
        self.random = random.Random(seed)
        self.loop = asyncio.new_event_loop()
        self.port = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            asyncio.start_server(self.on_client, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def on_client(self, reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1",
                                                                         self.server_port)
        except OSError:
            writer.close()
            return
        for w in (writer, server_writer):
            w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(self.copy(reader, server_writer, False),
                             self.copy(server_reader, writer, True), return_exceptions=True)

    async def copy(self, reader, writer, cut):
        try:
            while True:
                data = await reader.read(65536)
                if not data:
                    break
                while cut and data and len(data) < ONE_BY_ONE:
                    size = self.random.choice((1, 1, 2, 3, 5, PIECE_MAX))
                    writer.write(data[:size])
                    data = data[size:]
                    await asyncio.sleep(0)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
