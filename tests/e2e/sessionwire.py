"""What travels on a session's data channel, for both reference peers: numbering and acknowledgement
(protocol 3 §5), acknowledge and handshake payloads, smux (§8), the seal (§7), versions (§6).

Written from the protocol notes alone; frames are wire.py's.
"""
import base64
import collections
import dataclasses
import hashlib
import json
import os
import queue
import random
import socket
import ssl
import struct
import threading
import time
import urllib.parse
import uuid

import wire

OUTPUT, ERROR, SIZE, PARAMETER, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE, \
    CHALLENGE_REQUEST, CHALLENGE_RESPONSE, FLAG, STDERR, EXIT_CODE = range(1, 13)
DISCONNECT_TO_PORT, TERMINATE_SESSION, CONNECT_TO_PORT_ERROR = 1, 2, 3
CHUNK_BYTES = 1024  # of data in one message, before encryption
SYN, FIN = 1, 2
READY, NOT_READY = True, False


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def members_of(text):
    """A JSON object whose member names are read without regard to case, as Go does."""
    return collections.defaultdict(lambda: None, {k.lower(): v for k, v in json.loads(text).items()})


def ack_payload(message_type, message_id, seq):
    return compact({"AcknowledgedMessageType": message_type, "AcknowledgedMessageId": str(message_id),
                    "AcknowledgedMessageSequenceNumber": seq, "IsSequentialMessage": True})


def size_payload(cols, rows):
    return compact({"cols": cols, "rows": rows})


def newer(version, than):
    """version > than, component by component; missing ones are smaller."""
    def parts(text):
        return [int(p) if p.isdigit() else 0 for p in text.split(".")]
    return parts(version) > parts(than)


def read_frame(data):
    """(Message, what is wrong with it or None), as lenient as the official readers (§4): the type may be
    padded with NULs on either side, the payload is what follows, the digest is only looked at.
    ValueError for what is no frame."""
    if len(data) < wire.PAYLOAD_AT:
        raise ValueError(f"frame of {len(data)} bytes")
    head, type_, schema, created, seq, flags, id_, digest, ptype, n = struct.unpack(
        ">I32sIQqQ16s32sII", data[:wire.PAYLOAD_AT])
    payload = data[wire.PAYLOAD_AT:]
    wrong = None
    if head != wire.HEADER_LENGTH:
        raise ValueError(f"HeaderLength {head}")
    if n and digest != hashlib.sha256(payload).digest():
        wrong = "digest"
    elif n != len(payload):
        wrong = f"PayloadLength {n} of {len(payload)}"
    return wire.Message(type_.strip(b" \0").decode("ascii"), schema, created, seq, flags,
                        uuid.UUID(bytes=wire.swap_halves(id_)), ptype, payload), wrong


# ---- one end of the reliable stream (§5) --------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class End:
    sends: str
    receives: str
    capacity: int            # messages kept unacknowledged, and held out of order
    acks_duplicates: bool
    notes_resends: bool      # a resend restarts the timer; else it is due every tick from then on
    drops_oldest: bool       # when full: forgets the oldest; else does not keep the new one
    gives_up_after: int      # resends of one message; 0: never
    syn: bool                # the first message has flag SYN


PLUGIN = End("input_stream_data", "output_stream_data", 10_000, False, False, True, 3000, False)
AGENT = End("output_stream_data", "input_stream_data", 100_000, True, True, False, 0, True)
Unacked = collections.namedtuple("Unacked", "frame seq")


class Stream:
    """Both directions of one end. `transmit(frame)` sends or drops; `handle(ptype, payload, drained)`
    gives READY or NOT_READY. receive() is for one thread; send() for any."""

    def __init__(self, end, transmit, handle, pause_s=0.001, acks_first=(), late_insert_s=0,
                 on_acked=None):
        self.end, self.transmit, self.handle = end, transmit, handle
        self.pause_s = pause_s              # official programs sleep 1 ms after each chunk
        self.acks_first = acks_first        # payload types acknowledged before they are handled
        self.late_insert_s = late_insert_s  # race (a): time between sending and keeping
        self.on_acked = on_acked or (lambda ptype: None)  # a message of that type was acknowledged by us
        self.lock = threading.RLock()
        self.send_lock = threading.Lock()   # keeps the order of numbers on the wire
        self.next_seq, self.expected = 0, 0
        self.out = collections.OrderedDict()  # seq -> [frame, last sent, first sent, resends]
        self.early = {}
        self.paused = threading.Event()
        self.srtt, self.rttvar, self.rto = 0.1, 0.0, 0.2
        self.gave_up = False
        self.acked = threading.Condition(self.lock)
        self.count = collections.Counter()  # sent resent received duplicates early bad unready lost

    # -- out --

    def send(self, ptype, payload):
        """One message; returns its sequence number."""
        if isinstance(payload, str):
            payload = payload.encode()
        assert payload, "official programs cannot send an empty payload"
        with self.send_lock:
            seq = self.next_seq
            self.next_seq += 1
            frame = wire.encode_message(self.end.sends, payload, seq=seq, ptype=ptype,
                                        flags=SYN if self.end.syn and seq == 0 else 0)
            if self.late_insert_s and not self.paused.is_set():
                self.transmit(frame)
                time.sleep(self.late_insert_s)
                self._keep(seq, frame)
            else:
                self._keep(seq, frame)
                if not self.paused.is_set():
                    self.transmit(frame)
            self.count["sent"] += 1
        return seq

    def _keep(self, seq, frame):
        with self.lock:
            if len(self.out) >= self.end.capacity:
                self.count["lost"] += 1
                if not self.end.drops_oldest:
                    return
                self.out.popitem(last=False)
            now = time.monotonic()
            self.out[seq] = [frame, now, now, 0]

    def send_data(self, ptype, data, seal=None, room=CHUNK_BYTES):
        for at in range(0, len(data), room):
            piece = bytes(data[at:at + room])
            self.send(ptype, seal(piece) if seal else piece)
            if self.pause_s:
                time.sleep(self.pause_s)

    def tick(self):
        """Every 100 ms: the oldest message alone is sent again."""
        with self.lock:
            if self.paused.is_set() or not self.out:
                return
            seq, entry = next(iter(self.out.items()))
            now = time.monotonic()
            if now - entry[1] <= self.rto:
                return
            entry[3] += 1
            if self.end.notes_resends:
                entry[1] = now
            if self.end.gives_up_after and entry[3] > self.end.gives_up_after:
                self.gave_up = True
                return
            self.count["resent"] += 1
            frame = entry[0]
        self.transmit(frame)

    def on_ack(self, message):
        seq = members_of(message.payload)["acknowledgedmessagesequencenumber"]
        with self.lock:
            entry = self.out.pop(seq, None)
            if entry is None:
                self.count["stray acks"] += 1
                return
            sample = time.monotonic() - entry[1]
            self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.srtt - sample)
            self.srtt = 0.875 * self.srtt + 0.125 * sample
            self.rto = min(1.0, self.srtt + max(0.01, 4 * self.rttvar))
            self.acked.notify_all()

    def settled(self, timeout_s=None):
        """Waits until all is acknowledged; whether it is."""
        with self.lock:
            return self.acked.wait_for(lambda: not self.out, timeout_s)

    # -- in --

    def receive(self, message):
        seq = message.seq
        if seq > self.expected:
            if len(self.early) < self.end.capacity:
                self.count["early"] += seq not in self.early
                self.early.setdefault(seq, message)
                self.ack(message)
            return
        if seq < self.expected:
            self.count["duplicates"] += 1
            if self.end.acks_duplicates:
                self.ack(message)
            return
        if not self._take(message, drained=False):
            self.count["unready"] += 1
            return
        while self.expected in self.early:
            self._take(self.early.pop(self.expected), drained=True)

    def _take(self, message, drained):
        first = message.ptype in self.acks_first and not drained
        if first:
            self.ack(message)
        if self.handle(message.ptype, message.payload, drained) is NOT_READY and not drained:
            return NOT_READY
        if not first and not drained:
            self.ack(message)
            self.on_acked(message.ptype)
        self.expected += 1
        self.count["received"] += 1
        return READY

    def ack(self, message):
        self.transmit(wire.encode_message("acknowledge", ack_payload(message.type, message.id, message.seq),
                                          flags=SYN | FIN))


# ---- a socket with a writer of its own -----------------------------------------------------------

class Link:
    """The WebSocket of the moment. Frames go out through a queue, so that a reader never waits for a
    writer; what is queued while there is no socket is lost, as on the official side."""

    QUEUE = 512  # frames of data; acknowledgements, and what the writer itself sends again, are not held up

    def __init__(self, on_tick, ping_s, tick_s=0.1):
        self.ws = None
        self.on_tick, self.ping_s, self.tick_s = on_tick, ping_s, tick_s
        self.frames = queue.Queue()
        self.ended = False
        self.thread = threading.Thread(target=self._write, daemon=True)

    def use(self, ws):
        self.ws = ws
        if self.thread.ident is None:  # not before: what on_tick needs is made after the link
            self.thread.start()

    def transmit(self, frame):
        waits = frame[4:15] != b"acknowledge" and threading.current_thread() is not self.thread
        while waits and self.frames.qsize() > self.QUEUE and not self.ended and self.ws:
            time.sleep(0.002)
        self.frames.put(frame)

    def _write(self):
        tick_at = time.monotonic() + self.tick_s
        ping_at = time.monotonic() + self.ping_s
        while not self.ended:
            try:
                frame = self.frames.get(timeout=max(0, tick_at - time.monotonic()))
            except queue.Empty:
                frame = None
            try:
                if frame and self.ws:
                    self.ws.send_binary(frame)
                if time.monotonic() >= ping_at:
                    ping_at += self.ping_s
                    if self.ws:
                        self.ws.send_frame(wire.PING, b"keepalive")
            except (OSError, ValueError):
                pass  # the reader sees the end of the socket
            if time.monotonic() >= tick_at:
                tick_at = time.monotonic() + self.tick_s
                self.on_tick()

    def flush(self, timeout_s=5):
        limit = time.monotonic() + timeout_s
        while not self.frames.empty() and self.ws and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(0.01)  # the frame that was taken off last

    def end(self):
        self.ended = True


def dial_ws(url, headers=None, context=None, timeout_s=30):
    """Any ws:// or wss:// URL; WsRefused says with which status it was refused."""
    parts = urllib.parse.urlsplit(url)
    tls = parts.scheme == "wss"
    port = parts.port or (443 if tls else 80)
    sock = socket.create_connection((parts.hostname, port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = context or ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        sock = context.wrap_socket(sock, server_hostname=parts.hostname)
    key = base64.b64encode(os.urandom(16)).decode()
    target = parts.path + ("?" + parts.query if parts.query else "")
    fields = {"Host": parts.netloc, "User-Agent": "Go-http-client/1.1"}
    fields.update(headers or {})
    lines = [f"GET {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in fields.items()]
    lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
              "Upgrade: websocket", "", ""]
    sock.sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("closed during the upgrade")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    text = head.decode()
    status = int(text.split()[1])
    if status != 101:
        sock.close()
        raise WsRefused(status, text)
    got = {l.partition(":")[0].strip().lower(): l.partition(":")[2].strip() for l in text.split("\r\n")[1:]}
    assert got["sec-websocket-accept"] == wire.ws_accept(key)
    assert "sec-websocket-extensions" not in got and "sec-websocket-protocol" not in got
    return wire.WebSocket(sock, client=True, rest=rest)


class WsRefused(ConnectionError):
    def __init__(self, status, head):
        super().__init__(f"upgrade refused: {head.splitlines()[0]}")
        self.status = status


# ---- encryption (§7) ----------------------------------------------------------------------------

class Seal:
    """AES-256-GCM of one end; `key` has 64 bytes, the first half is the agent's."""

    def __init__(self, key, agent):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        assert len(key) == 64
        mine, theirs = (key[:32], key[32:]) if agent else (key[32:], key[:32])
        self.out, self.into = AESGCM(mine), AESGCM(theirs)
        self.counter = int.from_bytes(os.urandom(12), "little") if agent else None
        self.lock = threading.Lock()

    def nonce(self):
        if self.counter is None:
            return os.urandom(12)
        with self.lock:
            self.counter = (self.counter + 1) % (1 << 96)
            return self.counter.to_bytes(12, "little")

    def seal(self, data, nonce=None):
        nonce = nonce or self.nonce()
        return nonce + self.out.encrypt(nonce, bytes(data), None)

    def open(self, data):
        from cryptography.exceptions import InvalidTag
        try:
            return self.into.decrypt(data[:12], data[12:], None)
        except InvalidTag:
            raise ValueError("the seal does not open") from None


# ---- smux version 1 (§8) ------------------------------------------------------------------------

SMUX_SYN, SMUX_FIN, SMUX_PSH, SMUX_NOP = 0, 1, 2, 3
SMUX_FRAME_BYTES = 32768


def smux_frame(cmd, sid, data=b""):
    return struct.pack("<BBHI", 1, cmd, len(data), sid) + data


class SmuxError(Exception):
    pass


class Smux:
    """Either role. Each stream is a TCP connection: `on_open(sid)` gives its socket or None (server).
    `write(bytes)` takes what goes to the peer."""

    def __init__(self, write, on_open=None, on_refused=None):
        self.write_bytes, self.on_open, self.on_refused = write, on_open, on_refused
        self.buffer, self.streams, self.last_id = b"", {}, 1
        self.lock, self.write_lock = threading.Lock(), threading.Lock()
        self.count = collections.Counter()

    def write(self, frame):
        with self.write_lock:  # a frame is cut into messages: those of another may not come between
            self.write_bytes(frame)

    def connect(self, sock):
        """A new stream of the client for that connection."""
        with self.lock:
            self.last_id += 2
            sid = self.last_id
        pipe = self.streams[sid] = Pipe(sock)  # before: on one machine a refusal comes faster than this goes on
        self.write(smux_frame(SMUX_SYN, sid))
        self._run(sid, pipe)
        return sid

    def _run(self, sid, pipe):

        def read():
            for data in pipe.chunks(SMUX_FRAME_BYTES):
                self.write(smux_frame(SMUX_PSH, sid, data))
            if self.streams.pop(sid, None):
                self.write(smux_frame(SMUX_FIN, sid))
            pipe.close()

        threading.Thread(target=read, daemon=True).start()

    def input(self, data):
        self.buffer += data
        while len(self.buffer) >= 8:
            version, cmd, n, sid = struct.unpack("<BBHI", self.buffer[:8])
            if version != 1 or cmd > SMUX_NOP:
                raise SmuxError(f"version {version} command {cmd}")
            if len(self.buffer) < 8 + n:
                return
            body, self.buffer = self.buffer[8:8 + n], self.buffer[8 + n:]
            self.count[cmd] += 1
            if cmd == SMUX_SYN and self.on_open and sid not in self.streams:
                sock = self.on_open(sid)
                if sock:
                    self.streams[sid] = Pipe(sock)
                    self._run(sid, self.streams[sid])
                else:
                    self.on_refused(sid)
                    self.write(smux_frame(SMUX_FIN, sid))
            elif cmd == SMUX_PSH and sid in self.streams:
                self.streams[sid].write(body)
            elif cmd == SMUX_FIN and sid in self.streams:
                self.streams.pop(sid).finish()

    def close(self):
        for pipe in list(self.streams.values()):
            pipe.close()
        self.streams.clear()


class Pipe:
    """A connected socket with a writer of its own, so that the data channel is read on."""

    def __init__(self, sock):
        self.sock, self.queue = sock, queue.Queue()
        threading.Thread(target=self._write, daemon=True).start()

    def chunks(self, n):
        while True:
            try:
                data = self.sock.recv(n)
            except OSError:
                return
            if not data:
                return
            yield data

    def write(self, data):
        self.queue.put(data)

    def finish(self):
        """Closes once all that was written is out."""
        self.queue.put(None)

    def _write(self):
        while True:
            data = self.queue.get()
            try:
                if data is None:
                    return
                self.sock.sendall(data)
            except OSError:
                return
            finally:
                if data is None:
                    self.close()

    def close(self):
        self.queue.put(None)
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


# ---- retries ------------------------------------------------------------------------------------

def retry_delays(tries=5, cap_s=5):
    """100-199 ms, doubled each time; starts again above the cap."""
    start = delay = random.uniform(0.1, 0.199)
    for _ in range(tries):
        yield delay
        delay = delay * 2 if delay * 2 <= cap_s else start


def new_id():
    return str(uuid.uuid4())
