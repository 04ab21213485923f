"""The wire, written from the protocol notes alone: AgentMessage frames, WebSockets, SigV4, RSA requests.

Nothing here is shared with fairlead's own code, so that a mistake there cannot hide here.
"""
import base64
import collections
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

# ---- AgentMessage (protocol 2 §2) ---------------------------------------------------------------

HEADER_LENGTH = 116
PAYLOAD_AT = 120
Message = collections.namedtuple("Message", "type schema created seq flags id ptype payload")


def swap_halves(id_bytes):
    return id_bytes[8:] + id_bytes[:8]


def encode_message(type_, payload, id_=None, created_ms=None, seq=0, flags=0, ptype=0):
    if isinstance(payload, str):
        payload = payload.encode()
    id_ = uuid.UUID(str(id_)) if id_ else uuid.uuid4()
    created_ms = int(time.time() * 1000) if created_ms is None else created_ms
    return struct.pack(">I32sIQqQ16s32sII", HEADER_LENGTH, type_.encode().ljust(32, b" "), 1, created_ms,
                       seq, flags, swap_halves(id_.bytes), hashlib.sha256(payload).digest(), ptype,
                       len(payload)) + payload


def decode_message(frame):
    """Strict: ValueError names what is wrong."""
    if len(frame) < PAYLOAD_AT:
        raise ValueError(f"frame of {len(frame)} bytes")
    hl, type_, schema, created, seq, flags, id_, digest, ptype, plen = struct.unpack(
        ">I32sIQqQ16s32sII", frame[:PAYLOAD_AT])
    payload = frame[PAYLOAD_AT:]
    if hl != HEADER_LENGTH:
        raise ValueError(f"HeaderLength {hl}")
    name = type_.decode("ascii")
    if not name.strip(" \0") or name != name.rstrip(" ").ljust(32, " "):
        raise ValueError(f"MessageType {type_!r} is not padded with spaces")
    if created == 0:
        raise ValueError("CreatedDate 0")
    if plen != len(payload):
        raise ValueError(f"PayloadLength {plen}, but {len(payload)} bytes follow")
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("PayloadDigest does not match")
    return Message(name.rstrip(" "), schema, created, seq, flags, uuid.UUID(bytes=swap_halves(id_)),
                   ptype, payload)


VECTOR_B = bytes.fromhex(
    "00000074696e7075745f73747265616d5f646174612020202020202020202020"
    "20202020000000010000018bcfe5687c00000000000000050000000000000000"
    "0123456789abcdeffedcba98765432101d887ce0f8672e4914d9000e801cd74e"
    "cd805dd9366c0bc42dc16adc0197dc2f00000001000000036c730d")


def bad_frames():
    """N1-N9 of protocol 2 §2.1, each an altered vector B: (name, bytes)."""
    b = VECTOR_B

    def put(at, data):
        return b[:at] + data + b[at + len(data):]

    return [
        ("N1-116-bytes", b[:116]),
        ("N2-119-bytes", b[:119]),
        ("N3-header-length-0", put(0, struct.pack(">I", 0))),
        ("N4-header-length-5000", put(0, struct.pack(">I", 5000))),
        ("N4-header-length-wraps", put(0, struct.pack(">I", 0xFFFFFFFC))),
        ("N5-header-length-112", put(0, struct.pack(">I", 112))),
        ("N6-type-spaces", put(4, b" " * 32)),
        ("N6-type-nul", put(4, b"\0" * 32)),
        ("N7-created-0", put(40, bytes(8))),
        ("N8-digest-bit", put(80, bytes([b[80] ^ 1]))),
        ("N9-payload-length-4", put(116, struct.pack(">I", 4))),
        ("N9-payload-length-2", put(116, struct.pack(">I", 2))),
    ]


# ---- WebSocket (RFC 6455), both ends -------------------------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RECV_MAX_BYTES = 64 << 20


class WsClosed(Exception):
    def __init__(self, code=None, reason=""):
        super().__init__(f"closed {code} {reason}")
        self.code = code


class WebSocket:
    """Messages over a connected socket. Pings are answered inside recv(); frames may be sent from
    several threads."""

    def __init__(self, sock, client, rest=b""):
        self.sock, self.client, self.buffer = sock, client, rest
        self.sock.settimeout(0)
        self.send_lock = threading.Lock()  # one frame after the other
        self.tls_lock = threading.Lock()   # an OpenSSL connection is not for two threads at once
        self.pings = []     # (monotonic time, payload) of pings seen
        self.pongs = {}     # payload -> time.perf_counter() of its pong
        self.fragments = 0  # messages that came in more than one frame

    def send_frame(self, opcode, data=b"", fin=True):
        head = bytes([(0x80 if fin else 0) | opcode])
        mask_bit = 0x80 if self.client else 0
        n = len(data)
        if n < 126:
            head += bytes([mask_bit | n])
        elif n < 65536:
            head += bytes([mask_bit | 126]) + struct.pack(">H", n)
        else:
            head += bytes([mask_bit | 127]) + struct.pack(">Q", n)
        if self.client:
            mask = os.urandom(4)
            repeated = (mask * (n // 4 + 1))[:n]
            data = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(n, "big")
            head += mask
        with self.send_lock:
            self._send(head + data)

    def _send(self, data):
        view = memoryview(data)
        while view:
            try:
                with self.tls_lock:
                    sent = self.sock.send(view)
                view = view[sent:]
            except (ssl.SSLWantWriteError, BlockingIOError):
                if not select.select([], [self.sock], [], 30)[1]:
                    raise socket.timeout("the peer does not read") from None
            except ssl.SSLWantReadError:
                select.select([self.sock], [], [], 1)

    def _recv(self):
        """Some bytes, or b"" at the end; socket.timeout after the deadline of recv()."""
        while True:
            try:
                with self.tls_lock:
                    return self.sock.recv(65536)
            except (ssl.SSLWantReadError, BlockingIOError):
                left = None if self.deadline is None else max(0, self.deadline - time.monotonic())
                if not select.select([self.sock], [], [], left)[0]:
                    raise socket.timeout("nothing came") from None
            except ssl.SSLWantWriteError:
                select.select([], [self.sock], [], 1)
            except ssl.SSLEOFError:
                return b""
            except ValueError:  # closed by another thread
                return b""

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def send_binary(self, data):
        self.send_frame(BINARY, data)

    def send_fragmented(self, data, opcode=BINARY, piece=1000):
        pieces = [data[i:i + piece] for i in range(0, len(data), piece)] or [b""]
        for i, p in enumerate(pieces):
            self.send_frame(opcode if i == 0 else 0, p, fin=i == len(pieces) - 1)

    def _read(self, n):
        while len(self.buffer) < n:
            data = self._recv()
            if not data:
                raise WsClosed()
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def recv_frame(self):
        a, b = self._read(2)
        if a & 0x70:
            raise ValueError("reserved bits set")
        n = b & 0x7F
        if n == 126:
            n, = struct.unpack(">H", self._read(2))
        elif n == 127:
            n, = struct.unpack(">Q", self._read(8))
        if n > RECV_MAX_BYTES:
            raise ValueError(f"frame of {n} bytes")
        masked = bool(b & 0x80)
        if masked == self.client:
            raise ValueError("wrong masking")
        mask = self._read(4) if masked else b""
        data = self._read(n)
        if masked and n:
            repeated = (mask * (n // 4 + 1))[:n]
            data = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(n, "big")
        return a & 0x0F, bool(a & 0x80), data

    def recv(self, timeout_s=30):
        """(opcode, data) of the next whole message. WsClosed at the end, socket.timeout when late."""
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        opcode, parts = None, []
        while True:
            op, fin, data = self.recv_frame()
            if op == PING:
                self.pings.append((time.monotonic(), data))
                self.send_frame(PONG, data)
            elif op == PONG:
                self.pongs[data] = time.perf_counter()
            elif op == CLOSE:
                code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else None
                try:
                    self.send_frame(CLOSE, data[:2])
                except OSError:
                    pass
                raise WsClosed(code, data[2:].decode(errors="replace"))
            else:
                if op:
                    opcode, parts = op, []
                parts.append(data)
                if fin:
                    self.fragments += len(parts) > 1
                    return opcode, b"".join(parts)

    def close(self, code=1000):
        try:
            self.send_frame(CLOSE, struct.pack(">H", code))
        except OSError:
            pass
        self.abort()

    def abort(self):
        # The socket's own shutdown: that of ssl would let a thread that still reads see raw TLS records.
        # Closing is left to the end of the object, since another thread may wait on the descriptor.
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            pass


def ws_accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + WS_GUID).digest()).decode()


def tls_connect(host, port, ca_file, server_name=None, timeout_s=30):
    context = ssl.create_default_context(cafile=str(ca_file))
    context.set_alpn_protocols(["http/1.1"])
    sock = socket.create_connection((host, port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(sock, server_hostname=server_name or host)


# ---- signatures ----------------------------------------------------------------------------------

def sha256_hex(data):
    return hashlib.sha256(data).hexdigest()


def canonical_query(query):
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)

    def quote(text):
        return urllib.parse.quote(text, safe="-_.~")

    return "&".join(f"{k}={v}" for k, v in sorted((quote(k), quote(v)) for k, v in pairs))


def canonical_request(method, path, query, headers, signed, payload_hash):
    """`headers`: lower-case names. `signed`: the names in the order they are listed."""
    lines = [f"{n}:{' '.join(headers[n].split())}" for n in signed]
    return "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), canonical_query(query), *lines, "",
                      ";".join(signed), payload_hash])


def string_to_sign(amz_date, scope, canonical):
    return "\n".join(["AWS4-HMAC-SHA256", amz_date, scope, sha256_hex(canonical.encode())])


def sigv4(secret, amz_date, region, service, canonical):
    scope = f"{amz_date[:8]}/{region}/{service}/aws4_request"
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return scope, hmac.new(key, string_to_sign(amz_date, scope, canonical).encode(),
                           hashlib.sha256).hexdigest()


def sign_headers(headers, method, path, query, body, access_key, secret, region, service, amz_date=None,
                 token=None, also_signed=()):
    """Adds X-Amz-Date, X-Amz-Security-Token and Authorization to `headers` (lower-case names)."""
    headers["x-amz-date"] = amz_date or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if token:
        headers["x-amz-security-token"] = token
    wanted = {"content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target", *also_signed}
    signed = sorted(n for n in headers if n in wanted)
    canonical = canonical_request(method, path, query, headers, signed, sha256_hex(body))
    scope, signature = sigv4(secret, headers["x-amz-date"], region, service, canonical)
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
                                f"SignedHeaders={';'.join(signed)}, Signature={signature}")
    return headers


PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
RSA_SIGNED = ["content-type", "host", "x-amz-date", "x-amz-target"]


def rsa_headers(key, node_id, region, host, target, body, amz_date=None):
    """The headers of an RSA-signed call (protocol 1 §3.1), x-amz-content-sha256 unsigned like the
    official agent's."""
    headers = {"content-type": "application/x-amz-json-1.1", "host": host, "x-amz-target": target,
               "x-amz-date": amz_date or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())}
    scope = f"{headers['x-amz-date'][:8]}/{region}/ssm/aws4_request"
    canonical = canonical_request("POST", "/", "", headers, RSA_SIGNED, sha256_hex(body))
    signature = key.sign(string_to_sign(headers["x-amz-date"], scope, canonical).encode(), PSS,
                         hashes.SHA256())
    headers["x-amz-content-sha256"] = sha256_hex(body)
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={node_id}/{scope}, "
                                f"SignedHeaders={';'.join(RSA_SIGNED)}, "
                                f"Signature={base64.b64encode(signature).decode()}")
    return headers


def parse_authorization(value):
    """{Credential, SignedHeaders (list), Signature}; ValueError if it has another form."""
    algorithm, _, rest = value.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise ValueError(f"algorithm {algorithm!r}")
    parts = dict(p.split("=", 1) for p in rest.split(", "))
    parts["SignedHeaders"] = parts["SignedHeaders"].split(";")
    return parts
