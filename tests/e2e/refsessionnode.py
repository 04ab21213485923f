"""A reference node with sessions: what the official agent does on the data channel (protocol 3 §3-§10).

SessionNode joins refnode.RefNode; AgentSession is one session and needs only a transport, so that it can
be run through any relay. Written from the protocol notes alone.
"""
import base64
import codecs
import dataclasses
import fcntl
import json
import os
import pty
import pwd
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import xml.etree.ElementTree as ET

import refnode
import sessionwire as sw
import wire

DENIED = ("169.254.169.254", "169.254.169.253", "169.254.169.123", "169.254.169.250", "169.254.169.251",
          "fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::123", "fd00:ec2::240")


@dataclasses.dataclass(frozen=True)
class Quirks:
    """What the official agent does that a better one would not."""
    pause_s: float = 0.001         # sleep after each chunk
    start_s: float = 1.0           # before output is read, and before start errors are told
    late_insert_s: float = 0       # race (a): an ack that comes within this time finds nothing
    complete_first: bool = False   # race (b): HandshakeComplete overtakes the ack of the response
    acks_wait_s: float = 2.0       # at the end of a shell, for what is unacknowledged
    handshake_s: float = 15
    discards: bool = True          # acknowledges and throws away what comes while the handshake is pending
    require_ack: bool = False      # 3.2.2086.0 <= v < 3.3.131.0: waits for data_channel_ready
    ping_s: float = 54


# What is run begins with every signal at its default: this process may have been started with SIGINT ignored,
# as a shell without job control does to what it starts in the background, and a shell cannot undo that.
DEFAULT_SIGNALS = ["env", "--default-signal"]


class SessionFailed(Exception):
    pass


class Terminated(Exception):
    """channel_closed or a flag of the client."""


# ---- the document (§3, §9) -----------------------------------------------------------------------

TOKEN = re.compile(r"\{\{\s*([a-zA-Z0-9]+)\s*\}\}")


def resolve_parameters(document, given):
    values = {}
    for name, spec in (document.get("parameters") or {}).items():
        value = given.get(name, spec.get("default"))
        if spec.get("type") == "String" and isinstance(value, list):
            raise SessionFailed(f"parameter {name} is a list")
        pattern = spec.get("allowedPattern")
        if pattern and value is not None and not re.fullmatch(pattern.strip("^$"), str(value)):
            raise SessionFailed(f"parameter {name}: {value!r} does not match {pattern}")
        values[name] = value
    return values


def substitute(value, values):
    if isinstance(value, dict):
        return {k: substitute(v, values) for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(v, values) for v in value]
    if not isinstance(value, str):
        return value
    whole = TOKEN.fullmatch(value)
    if whole and whole[1] in values:
        return values[whole[1]]
    return TOKEN.sub(lambda m: str(values[m[1]]).replace("$$", "$") if m[1] in values else m[0], value)


def truth(value):
    return value is True or str(value).lower() == "true"


# ---- one session ---------------------------------------------------------------------------------

class AgentSession:
    """`transport`: create(session_id) -> token or raises Refused; dial_data(session_id) -> WebSocket;
    done(session, status, output). `content` is interactive_shell's Content."""

    def __init__(self, transport, content, instance_id="mi-0123456789abcdef0", version=refnode.AGENT_VERSION,
                 quirks=Quirks(), denied=DENIED, kms=None):
        self.transport, self.content, self.instance_id = transport, content, instance_id
        self.version, self.quirks, self.denied, self.kms = version, quirks, denied, kms
        self.session_id = content["SessionId"]
        self.document = content.get("DocumentContent") or {}
        self.type = self.document.get("sessionType", "Standard_Stream")
        self.changed = threading.Condition()
        self.client_version = self.seal = None
        self.handshake = None  # "running" | "done"
        self.responses, self.challenge_answers, self.violations, self.notes = [], [], [], []
        self.stopped = threading.Event()   # channel_closed or the client's flag
        self.ready_now = threading.Event()  # data_channel_ready
        self.status = None
        self.reconnects, self.gave_up, self.input_bytes = 0, False, 0
        self.sizes = []
        self.response_acked, self.complete_sent = threading.Event(), threading.Event()
        self.link = sw.Link(self._tick, quirks.ping_s)
        self.stream = sw.Stream(sw.AGENT, self.link.transmit, self._handle, quirks.pause_s,
                                late_insert_s=quirks.late_insert_s, on_acked=self._on_acked)
        self.handler = SESSION_TYPES.get(self.type, Unknown)(self)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def __repr__(self):
        return (f"AgentSession({self.session_id} {self.type} handshake={self.handshake} status={self.status} "
                f"{dict(self.stream.count)} violations={self.violations} notes={self.notes[-5:]})")

    # ---- life ----

    def _run(self):
        status, output = "Success", ""
        try:
            self.prepare()
            self.connect(first=True)
            threading.Thread(target=self._read, daemon=True).start()
            if self.type in ("Port", "NonInteractiveCommands") or self.encrypted:
                self.shake_hands()
            self.handler.run()
            if self.type != "Port" and not self.stopped.is_set():
                self.stream.settled(self.quirks.acks_wait_s)
                self.tell_state("Terminating")
        except Terminated:
            pass
        except (SessionFailed, OSError, ValueError, sw.SmuxError) as e:
            status, output = "Failed", str(e)
        self.handler.kill()
        self.link.flush()
        self.link.end()
        if self.link.ws:
            self.link.ws.abort()  # no close frame
        self.status = status
        self.transport.done(self, status, output)
        self._changed()

    def prepare(self):
        if self.type not in SESSION_TYPES:
            raise SessionFailed(f"unknown session type {self.type}")
        values = resolve_parameters(self.document, self.content.get("Parameters") or {})
        self.properties = substitute(self.document.get("properties") or {}, values)
        self.inputs = substitute(self.document.get("inputs") or {}, values)
        self.encrypted = bool(self.inputs.get("kmsKeyId")) and self.type != "Port"

    def connect(self, first=False):
        """CreateDataChannel, upgrade, the first text frame."""
        for delay in [*sw.retry_delays(), None]:
            try:
                token = self.transport.create(self.session_id)
                ws = self.transport.dial_data(self.session_id)
                break
            except Refused as e:
                self.notes.append(str(e))
                if "Session is already terminated" in e.text or delay is None:
                    raise
            except OSError as e:
                self.notes.append(repr(e))
                if delay is None:
                    raise
            time.sleep(delay)
        text = {"MessageSchemaVersion": "1.0", "RequestId": sw.new_id(), "TokenValue": token,
                "ClientInstanceId": self.instance_id, "ClientId": ""}
        if self.quirks.require_ack:
            self.ready_now.clear()
            text["RequireAcknowledgement"] = True
        ws.send_text(sw.compact(text))
        if self.quirks.require_ack:
            self._await_ready(ws)
        self.link.use(ws)
        self.stream.paused.clear()
        if first:
            self.tell_state("Connected")
        self._changed()

    def _await_ready(self, ws):
        ws.deadline = None
        opcode, data = ws.recv(timeout_s=2)
        message, _ = sw.read_frame(data)
        if message.type != "data_channel_ready":
            raise SessionFailed(f"{message.type} instead of data_channel_ready")
        self.ready_now.set()

    def tell_state(self, state):
        self.link.transmit(wire.encode_message("agent_session_state", sw.compact(
            {"SchemaVersion": 1, "SessionState": state, "SessionId": self.session_id}), flags=sw.SYN | sw.FIN))

    def _read(self):
        while self.status is None and not self.link.ended:
            try:
                opcode, data = self.link.ws.recv(timeout_s=None)
            except (wire.WsClosed, OSError, ValueError) as e:
                if self.link.ended or self.stopped.is_set():
                    return
                self.notes.append(f"read: {e!r}")
                self.link.use(None)
                try:
                    self.connect()
                    self.reconnects += 1
                    self._changed()
                except (Refused, OSError, wire.WsClosed):
                    self.gave_up = True  # silently: the shell lingers
                    self._changed()
                    return
                continue
            if opcode != wire.BINARY:
                self.violations.append(f"a text frame: {data[:100]!r}")
                continue
            self._frame(data)

    def _frame(self, data):
        try:
            message, wrong = sw.read_frame(data)
        except ValueError as e:
            self.violations.append(str(e))
            return
        if wrong:
            self.notes.append(f"{message.type} {message.seq}: {wrong}")  # never checked
        if message.type == "input_stream_data":
            self.stream.paused.clear()
            self.stream.receive(message)
        elif message.type == "acknowledge":
            self.stream.paused.clear()
            self.stream.on_ack(message)
        elif message.type == "pause_publication":
            self.stream.paused.set()
        elif message.type == "start_publication":
            self.stream.paused.clear()
        elif message.type == "channel_closed":
            self.close(json.loads(message.payload))
        elif message.type != "data_channel_ready":
            self.violations.append(f"a frame of type {message.type!r}")
        self._changed()

    def close(self, closed):
        """channel_closed, on either channel."""
        if closed.get("SessionId") != self.session_id or not isinstance(closed.get("CreatedDate"), str):
            self.violations.append(f"channel_closed {closed}")
        self.stopped.set()
        self.handler.kill()
        self._changed()

    def _tick(self):
        self.stream.tick()

    def _changed(self):
        with self.changed:
            self.changed.notify_all()

    def wait(self, test, timeout_s=30, what="condition"):
        with self.changed:
            if not self.changed.wait_for(test, timeout_s):
                raise AssertionError(f"{what}: not within {timeout_s} s; {self!r}")

    def wait_end(self, timeout_s=30):
        self.wait(lambda: self.status, timeout_s, "end of the session")
        return self.status

    def drop(self):
        """The network goes; the agent reconnects."""
        self.link.ws.abort()

    def go_on(self):
        """Waits while publication is paused; Terminated once the session is closed."""
        while self.stream.paused.is_set() and not self.stopped.is_set():
            time.sleep(0.01)
        if self.stopped.is_set():
            raise Terminated()

    def say(self, data, ptype=sw.OUTPUT):
        self.stream.send_data(ptype, data, self.seal.seal if self.seal else None)

    # ---- the handshake (§6, §7) ----

    def shake_hands(self):
        started = time.monotonic()
        self.handshake = "running"
        actions = [{"ActionType": "SessionType", "ActionParameters": {
            "SessionType": self.type, "Properties": self.properties if self.type == "Port" else None}}]
        challenge = base64.b64encode(os.urandom(16)).decode()
        if self.encrypted:
            actions.append({"ActionType": "KMSEncryption", "ActionParameters": {
                "KMSKeyId": self.inputs["kmsKeyId"], "Challenge": challenge}})
        self.stream.send(sw.HANDSHAKE_REQUEST, sw.compact(
            {"AgentVersion": self.version, "RequestedClientActions": actions}))
        response = self._answer(self.responses, "handshake response")
        self.client_version = response["ClientVersion"]
        for done in response["ProcessedClientActions"]:
            if done["ActionStatus"] != 1:
                raise SessionFailed(f"{done['ActionType']} failed on client: {done['Error']}")
        message = ""
        if self.encrypted:
            self._challenge(response)
            message = f"This session is encrypted using AWS KMS. {self.inputs['kmsKeyId']}"
        complete = sw.compact({"HandshakeTimeToComplete": int((time.monotonic() - started) * 1e9),
                               "CustomerMessage": message})
        if not self.quirks.complete_first:
            self.response_acked.wait(5)
        self.handshake = "done"
        self.stream.send(sw.HANDSHAKE_COMPLETE, complete)
        self.complete_sent.set()

    def _answer(self, answers, what):
        with self.changed:
            if not self.changed.wait_for(lambda: answers or self.stopped.is_set(), self.quirks.handshake_s):
                raise SessionFailed(f"Handshake timed out. No {what}. Please ensure that you have the latest "
                                    "version of the session manager plugin.")
        if self.stopped.is_set():
            raise Terminated()
        return answers[0]

    def _challenge(self, response):
        result = next(d["ActionResult"] for d in response["ProcessedClientActions"]
                      if d["ActionType"] == "KMSEncryption")
        context = {"aws:ssm:SessionId": self.session_id, "aws:ssm:TargetId": self.instance_id}
        key = self.kms(base64.b64decode(result["KMSCipherTextKey"]), self.inputs["kmsKeyId"], context)
        seal = sw.Seal(key, agent=True)
        secret = os.urandom(64)
        self.stream.send(sw.CHALLENGE_REQUEST, sw.compact(
            {"Challenge": base64.b64encode(seal.seal(secret)).decode()}))
        answer = self._answer(self.challenge_answers, "challenge response")
        if seal.open(base64.b64decode(answer["Challenge"])) != secret:
            raise SessionFailed("the challenge was answered wrong")
        self.seal = seal

    # ---- input ----

    def _handle(self, ptype, payload, drained):
        if ptype == sw.HANDSHAKE_RESPONSE:
            self.responses.append(json.loads(payload))
            self._changed()
            if self.quirks.complete_first and not self.encrypted:
                self.complete_sent.wait(5)  # the ack goes out when this returns
            return sw.READY
        if ptype == sw.CHALLENGE_RESPONSE:
            self.challenge_answers.append(json.loads(payload))
            self._changed()
            return sw.READY
        if self.handshake == "running":
            self.notes.append(f"type {ptype} during the handshake")
            return sw.READY if self.quirks.discards else sw.NOT_READY
        if ptype == sw.SIZE:
            size = json.loads(payload)
            self.sizes.append((size["cols"], size["rows"]))
            self.handler.resize(*self.sizes[-1])
        elif ptype == sw.OUTPUT:
            if self.seal:
                payload = self.seal.open(payload)
            self.input_bytes += len(payload)
            return self.handler.input(payload)
        elif ptype == sw.FLAG:
            value, = struct.unpack(">I", payload)
            if value == sw.TERMINATE_SESSION:
                self.stopped.set()
                threading.Timer(0.05, self.handler.kill).start()  # after the ack
            elif value == sw.DISCONNECT_TO_PORT:
                self.handler.disconnect()
        else:
            self.violations.append(f"payload type {ptype} from the client")
        return sw.READY

    def _on_acked(self, ptype):
        if ptype == sw.HANDSHAKE_RESPONSE:
            self.response_acked.set()


class Refused(SessionFailed):
    """CreateDataChannel was answered with something else than 201."""

    def __init__(self, status, text):
        super().__init__(f"CreateDataChannel: {status} {text[:200]}")
        self.status, self.text = status, text


# ---- session types (§8) --------------------------------------------------------------------------

class Handler:
    def __init__(self, session):
        self.session = session

    def input(self, data):
        return sw.READY

    def resize(self, cols, rows):
        pass

    def disconnect(self):
        pass

    def kill(self):
        pass


class Unknown(Handler):
    pass


def session_env(elevated=False):
    user = "root" if elevated else pwd.getpwuid(os.getuid()).pw_name
    env = dict(os.environ, TERM="xterm-256color", HOME="/root" if elevated else f"/home/{user}")
    env.setdefault("LANG", "C.UTF-8")
    return env


class Terminal(Handler):
    """Standard_Stream and InteractiveCommands: a shell on a pty, as whoever runs this."""

    def __init__(self, session):
        super().__init__(session)
        self.master = None
        self.process = None

    def argv(self):
        if self.session.type == "Standard_Stream":
            return ["sh"]
        commands = (self.session.properties.get("linux") or {}).get("commands")
        if not commands:
            raise SessionFailed("commands are missing")
        return ["sh", "-c", commands]

    def run(self):
        s = self.session
        linux = s.properties.get("linux") or {} if s.type != "Standard_Stream" else {}
        self.master, slave = pty.openpty()
        if s.sizes:
            self.resize(*s.sizes[-1])
        self.process = subprocess.Popen([*DEFAULT_SIGNALS, "setsid", "-c", *self.argv()], stdin=slave, stdout=slave,
                                        stderr=slave, env=session_env(truth(linux.get("runAsElevated"))))
        os.close(slave)
        profile = ((s.inputs.get("shellProfile") or {}).get("linux") or "") if s.type == "Standard_Stream" else ""
        if profile:
            os.write(self.master, profile.encode() + b"\n")
        s.stopped.wait(s.quirks.start_s)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while True:
            s.go_on()
            if not select.select([self.master], [], [], 0.2)[0]:
                if self.process.poll() is None:
                    continue
                break  # what was started in the background may hold the terminal
            try:
                data = os.read(self.master, sw.CHUNK_BYTES)
            except OSError:
                break
            data = decoder.decode(data).encode("utf-8", "surrogateescape")  # holds an incomplete tail
            if data:
                s.say(data)
        self.process.wait()
        if s.stopped.is_set():
            raise Terminated()

    def input(self, data):
        if self.master is None:
            return sw.NOT_READY
        try:
            while data:
                data = data[os.write(self.master, data):]
        except OSError:
            pass
        return sw.READY

    def resize(self, cols, rows):
        if self.master is not None:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, cols & 0xFFFF, 0, 0))

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Batch(Handler):
    """NonInteractiveCommands: no shell, no terminal, no standard input."""

    def __init__(self, session):
        super().__init__(session)
        self.process = None

    def run(self):
        s = self.session
        linux = s.properties.get("linux") or {}
        argv = shlex.split(linux.get("commands") or "")
        if not argv:
            raise SessionFailed("commands are missing")
        env = session_env(truth(linux.get("runAsElevated")))
        try:
            if truth(linux.get("separateOutputStream")):
                self._separate(argv, env, linux)
            else:
                with tempfile.TemporaryFile() as out:
                    self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
                    self.process.wait()
                    out.seek(0)
                    while chunk := out.read(sw.CHUNK_BYTES):
                        s.go_on()
                        s.say(chunk)
        except FileNotFoundError as e:
            time.sleep(s.quirks.start_s)
            s.say(str(e).encode(), sw.STDERR)
        if s.stopped.is_set():
            raise Terminated()

    def _separate(self, argv, env, linux):
        s = self.session
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=env)

        def copy(stream, ptype, prefix):
            fresh = True
            while data := os.read(stream.fileno(), sw.CHUNK_BYTES - len(prefix)):
                s.say((prefix if fresh else b"") + data, ptype)
                fresh = data.endswith(b"\n")

        threads = [threading.Thread(target=copy, args=(
            stream, ptype, (linux.get(key) or "").encode()), daemon=True) for stream, ptype, key in (
            (self.process.stdout, sw.OUTPUT, "stdOutSeparatorPrefix"),
            (self.process.stderr, sw.STDERR, "stdErrSeparatorPrefix"))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        code = self.process.wait()
        s.say(f"EXIT_CODE: {code}".encode(), sw.EXIT_CODE)

    def input(self, data):
        for byte, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
            if data == byte and self.process and self.process.poll() is None:
                self.process.send_signal(number)
        return sw.READY

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()


class PortForward(Handler):
    """All three kinds of Port; which one is known after the handshake."""

    def __init__(self, session):
        super().__init__(session)
        self.kind = None
        self.pipe = self.smux = None
        self.again = threading.Condition()
        self.pending = []

    def addresses(self):
        s = self.session
        port = int(s.properties["portNumber"])
        host = s.properties.get("host")
        if not host:
            return [("localhost", port)]
        try:
            found = [i[4][0] for i in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError:
            found = []
        for address in found:
            if address in s.denied:
                s.say(f"Forwarding to IP address {host} is forbidden.".encode())
                raise SessionFailed(f"Forwarding to IP address {host} is forbidden.")
        return [(a, port) for a in dict.fromkeys(found)]

    def dial(self):
        error = OSError("no address")
        for address in self.targets:
            try:
                return socket.create_connection(address, 10)
            except OSError as e:
                error = e
        raise error

    def run(self):
        s = self.session
        self.targets = self.addresses()
        forwarding = s.properties.get("type") == "LocalPortForwarding"
        # agents of times before smux know nothing of it
        if forwarding and not sw.newer("1.1.70", s.client_version) and sw.newer(s.version, "3.0.196.0"):
            self._mux()
        else:
            self._plain(forwarding)

    def _mux(self):
        s = self.session
        self.smux = sw.Smux(s.say, self._open, lambda sid: s.stream.send(
            sw.FLAG, struct.pack(">I", sw.CONNECT_TO_PORT_ERROR)))
        for data in self.pending:
            self.smux.input(data)
        self.kind = "mux"
        # agents of times before that gate want to hear of every client
        beat = None if sw.newer(s.client_version, "1.2.331.0") and sw.newer(s.version, "3.1.1511.0") else 10
        while not s.stopped.wait(beat):
            s.say(sw.smux_frame(sw.SMUX_NOP, 0))

    def _open(self, sid):
        try:
            return self.dial()
        except OSError as e:
            self.session.notes.append(f"stream {sid}: {e}")
            return None

    def _plain(self, redial):
        """One connection at a time; with `redial`, the next Output makes a new one."""
        s = self.session
        pipe = self.pipe = sw.Pipe(self.dial())
        self.kind = "basic" if redial else "ssh"
        while True:
            for data in pipe.chunks(sw.CHUNK_BYTES):
                s.go_on()
                s.say(data)
            if s.stopped.is_set():
                raise Terminated()
            if not redial:
                s.stream.settled(s.quirks.acks_wait_s)
                return
            with self.again:
                if self.pipe is pipe:
                    self.pipe = None
                self.again.wait_for(lambda: self.pending or s.stopped.is_set())
                if s.stopped.is_set():
                    raise Terminated()
                pipe = self.pipe = sw.Pipe(self.dial())
                for data in self.pending:
                    self.pipe.write(data)
                self.pending = []

    def input(self, data):
        if self.kind is None:
            return sw.NOT_READY
        if self.kind == "mux":
            self.smux.input(data)
            return sw.READY
        with self.again:
            if self.pipe:
                self.pipe.write(data)
            else:
                self.pending.append(data)
                self.again.notify_all()
        return sw.READY

    def disconnect(self):
        with self.again:
            if self.pipe:
                self.pipe.close()
                self.pipe = None  # what comes from now on is for the next connection

    def kill(self):
        if self.smux:
            self.smux.close()
        with self.again:
            if self.pipe:
                self.pipe.close()
            self.again.notify_all()


SESSION_TYPES = {"Standard_Stream": Terminal, "InteractiveCommands": Terminal,
                 "NonInteractiveCommands": Batch, "Port": PortForward}


# ---- the node ------------------------------------------------------------------------------------

class SessionNode(refnode.RefNode):
    """A node that answers interactive_shell. `sessions` by id; `completed` has every agent_task_complete
    payload; `unacknowledged` ids of those that the plane did not acknowledge after three sends."""

    def __init__(self, endpoint, ca_file, region="local", quirks=Quirks()):
        super().__init__(endpoint, ca_file, region)
        self.quirks = quirks
        self.sessions, self.completed, self.unacknowledged = {}, [], []
        self.task_acks = set()
        self.scheme = "wss"
        self.on_other = self.control

    def control(self, message):
        if message.type == "interactive_shell":
            outer = json.loads(message.payload)
            content = json.loads(outer["Content"])
            assert outer["TaskId"] == content["SessionId"], outer
            if content["SessionId"] in self.sessions:
                return
            session = AgentSession(self, content, self.node_id, quirks=self.quirks, kms=self.decrypt)
            self.sessions[content["SessionId"]] = session
            session.start()
        elif message.type == "channel_closed":
            closed = json.loads(message.payload)
            if closed["SessionId"] in self.sessions:
                self.sessions[closed["SessionId"]].close(closed)
        elif message.type == "agent_task_acknowledge":
            self.task_acks.add(json.loads(message.payload)["MessageId"])
        with self.changed:
            self.changed.notify_all()

    def session(self, session_id, timeout_s=30):
        """The session of that id, once interactive_shell has come."""
        self.wait(lambda: session_id in self.sessions, timeout_s, f"interactive_shell of {session_id}")
        return self.sessions[session_id]

    # ---- transport ----

    def create(self, session_id):
        path = f"/v1/data-channel/{session_id}"
        body = json.dumps({"MessageSchemaVersion": "1.0", "RequestId": sw.new_id(), "ClientId": ""}).encode()
        headers = self.signed("POST", path, "", body, "ssmmessages", {"content-type": "application/json"})
        status, _, text = self.http("POST", path, body, headers)
        if status != 201:
            raise Refused(status, text.decode(errors="replace"))
        token = next(e.text for e in ET.fromstring(text).iter() if e.tag.rpartition("}")[2] == "TokenValue")
        assert token
        return token

    def dial_data(self, session_id):
        status, ws = self.upgrade(f"/v1/data-channel/{session_id}", "role=publish_subscribe")
        if ws is None:
            raise ConnectionError(f"upgrade of the data channel: {status}")
        return ws

    def done(self, session, status, output):
        """agent_task_complete: up to three sends, a second apart, until it is acknowledged."""
        text = sw.compact({
            "SchemaVersion": 1, "TaskId": session.session_id, "Topic": "agent_task_complete",
            "FinalTaskStatus": status, "IsRoutingFailure": False, "AwsAccountId": "",
            "InstanceId": self.node_id, "Output": output[:2500], "S3Bucket": "", "S3UrlSuffix": "",
            "CwlGroup": "", "CwlStream": "", "RetryNumber": 1})
        message_id = sw.new_id()
        self.completed.append(json.loads(text))
        for _ in range(3):
            try:
                self.channel.send_binary(wire.encode_message("agent_task_complete", text, message_id))
            except OSError:
                pass
            with self.changed:
                if self.changed.wait_for(lambda: message_id in self.task_acks, 1):
                    return
        self.unacknowledged.append(message_id)

    def decrypt(self, blob, key_id, context):
        got = self.service_call("kms", "TrentService.", "Decrypt", {
            "CiphertextBlob": base64.b64encode(blob).decode(), "KeyId": key_id, "EncryptionContext": context})
        return base64.b64decode(got["Plaintext"])

    def close(self):
        for session in list(self.sessions.values()):
            session.stopped.set()
            session.handler.kill()
            session.link.end()
            if session.link.ws:
                session.link.ws.abort()
        super().close()
