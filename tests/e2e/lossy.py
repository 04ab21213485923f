"""A relay that loses, doubles, delays and holds back what passes on data channels, between a plane and all who talk to it.

It stands where the plane says it is (127.0.0.2, while the plane listens on 127.0.0.1) with the plane's own
certificate, so nobody needs to know of it. Only data channels are mistreated, a WebSocket frame at a time, and of them
only what is acknowledged: stream data and acknowledgements. All else passes as it is.

    box = new_box(nodes=1, host=lossy.HOST, before=lossy.put_before)
    box.lossy.faults["agent"] = lossy.Faults(lose=0.1)    # between agent and plane, both directions
"""
import asyncio
import collections
import contextlib
import dataclasses
import heapq
import itertools
import json
import random
import re
import socket
import ssl
import struct
import threading

import flsandbox

HOST, PLANE = "127.0.0.2", "127.0.0.1"
TEXT, BINARY = 1, 2
RESENT = (b"output_stream_data", b"input_stream_data", b"acknowledge")  # what is sent again if it does not arrive
HELD_MAX_BYTES = 1 << 20  # of one direction; then nothing more is read


@dataclasses.dataclass(frozen=True)
class Faults:
    """Chances of one frame; times in seconds."""
    lose: float = 0
    twice: float = 0
    late: float = 0     # it comes up to late_s later, after others that were sent after it
    late_s: float = 0.05
    stall: float = 0    # nothing comes for up to stall_s
    stall_s: float = 0.5
    cut: float = 0      # the connection is gone, without a close


class Lossy:
    def __init__(self, port, pki, seed=1):
        self.port, self.pki = port, pki
        self.faults = {"agent": Faults(), "client": Faults()}
        self.random = random.Random(seed)
        self.counts = collections.Counter()  # (side, what happened)
        self.channels = set()                # open data channels
        self.loop = asyncio.new_event_loop()
        self.stopping = asyncio.Event()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self._run()), daemon=True)
        self.thread.start()

    def close(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(10)

    def all_sides(self, faults):
        self.faults = {"agent": faults, "client": faults}

    def cut(self, side=None):
        """Drops the data channels of a side, or all."""
        def now():
            for c in list(self.channels):
                if side in (None, c.side):
                    c.cut()
        self.loop.call_soon_threadsafe(now)

    async def _run(self):
        ca, crt, key = (self.pki / name for name in ("ca.crt", "server.crt", "server.key"))
        while not all(f.exists() for f in (ca, crt, key)) and not self.stopping.is_set():  # until `init` has made them
            await asyncio.sleep(0.01)
        if self.stopping.is_set():
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        self.upstream = ssl.create_default_context(cafile=ca)
        server = await asyncio.start_server(self._serve, HOST, self.port, ssl=context)
        await self.stopping.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection(PLANE, self.port, ssl=self.upstream)
            try:
                # a call may come first: an agent makes its data channel and opens it on one connection
                while not re.match(rb"GET \S*/v1/data-channel/", head := await passed_head(reader, up_writer)):
                    if not await passed_body(head, reader, up_writer) or not await passed_body(
                            await passed_head(up_reader, writer), up_reader, writer):
                        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))
                        return
                if (await passed_head(up_reader, writer)).startswith(b"HTTP/1.1 101"):
                    await Channel(self, reader, writer, up_reader, up_writer).run()
                else:
                    await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))
            finally:
                abort(up_writer)
                abort(writer)


async def passed_head(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    return head


async def passed_body(head, reader, writer):
    """False: nothing says where it ends."""
    found = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.I)
    if not found:
        return False
    writer.write(await reader.readexactly(int(found[1])))
    await writer.drain()
    return True


def abort(writer):
    with contextlib.suppress(AttributeError):  # of asyncio, for what is gone already
        writer.transport.abort()


async def pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, NotImplementedError):
        writer.close()


class Channel:
    """One data channel: two lanes, and whose it is, which its first message says."""

    def __init__(self, lossy, reader, writer, up_reader, up_writer):
        self.lossy, self.side, self.writers = lossy, None, (writer, up_writer)
        self.lanes = Lane(self, reader, up_writer, True), Lane(self, up_reader, writer, False)

    async def run(self):
        self.lossy.channels.add(self)
        tasks = [asyncio.ensure_future(t) for lane in self.lanes for t in (lane.read(), lane.write())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.lossy.channels.discard(self)
            self.cut()
            for t in tasks:
                t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self):
        for w in self.writers:
            abort(w)


class Lane:
    """One direction: frames are read, judged, and written when they are due."""

    def __init__(self, channel, reader, writer, to_plane):
        self.channel, self.reader, self.writer, self.to_plane = channel, reader, writer, to_plane
        self.held, self.held_bytes = [], 0  # heap of (due, number, frame)
        self.numbers = itertools.count()
        self.stalled_until = 0
        self.changed = asyncio.Event()

    async def frame(self):
        """(opcode, unmasked payload or None for a part of a message, the frame's bytes)."""
        head = await self.reader.readexactly(2)
        n = head[1] & 0x7f
        if n >= 126:
            more = await self.reader.readexactly(2 if n == 126 else 8)
            n = struct.unpack(">H" if n == 126 else ">Q", more)[0]
            head += more
        mask = await self.reader.readexactly(4) if head[1] & 0x80 else b""
        payload = await self.reader.readexactly(n)
        raw = head + mask + payload
        whole = head[0] & 0x80 and head[0] & 0x0f
        if not whole:
            return head[0] & 0x0f, None, raw
        if mask:  # as much as is looked at
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload[:4096 if whole == TEXT else 36]))
        return whole, payload, raw

    async def read(self):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                opcode, payload, raw = await self.frame()
                if self.to_plane and opcode == TEXT and not self.channel.side and payload is not None:
                    self.channel.side = "agent" if "ClientInstanceId" in json.loads(payload) else "client"
                self.judge(opcode, payload, raw)
                while self.held_bytes > HELD_MAX_BYTES:
                    await asyncio.sleep(0.005)

    def judge(self, opcode, payload, raw):
        lossy, side = self.channel.lossy, self.channel.side
        f, now = lossy.faults.get(side, Faults()), lossy.loop.time()

        def happens(what, chance):
            if lossy.random.random() >= chance:
                return False
            lossy.counts[side, what] += 1
            return True

        if opcode != BINARY or payload is None or payload[4:36].strip(b" \0") not in RESENT:
            self.put(now, raw)
            return
        lossy.counts[side, "passed"] += 1
        if happens("cut", f.cut):
            self.channel.cut()
        if happens("stall", f.stall):
            self.stalled_until = now + lossy.random.random() * f.stall_s
        if happens("lose", f.lose):
            return
        for _ in range(2 if happens("twice", f.twice) else 1):
            self.put(now + (lossy.random.random() * f.late_s if happens("late", f.late) else 0), raw)

    def put(self, due, raw):
        heapq.heappush(self.held, (max(due, self.stalled_until), next(self.numbers), raw))
        self.held_bytes += len(raw)
        self.changed.set()

    async def write(self):
        with contextlib.suppress(OSError):
            while True:
                wait = self.held[0][0] - self.channel.lossy.loop.time() if self.held else None
                if wait is not None and wait <= 0:
                    raw = heapq.heappop(self.held)[2]
                    self.held_bytes -= len(raw)
                    self.writer.write(raw)
                    await self.writer.drain()
                    continue
                self.changed.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), wait)


def free_port():
    """Free on both addresses."""
    while True:
        port = flsandbox.free_port()
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((HOST, port))
            return port


def put_before(box, seed=1):
    """A relay before the plane of a Sandbox that is made with host=HOST and not started yet."""
    box.plane.port = free_port()
    box.lossy = Lossy(box.plane.port, box.plane.data / "pki", seed)
    return box.lossy
