#!/usr/bin/python3
"""A reference client of sessions: what the official session-manager-plugin does (protocol 3 §2, §4-§8).

As a library: Client. As a program (its name, or that of a link to it, is session-manager-plugin): what
the stock `aws ssm start-session` starts. Written from the protocol notes alone.
"""
import base64
import configparser
import dataclasses
import fcntl
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.parse

import sessionwire as sw
import wire

VERSION = "1.2.677.0"
ENV_ARGUMENT = "AWS_SSM_START_SESSION_RESPONSE"
SHELLS = ("Standard_Stream", "InteractiveCommands", "NonInteractiveCommands")


@dataclasses.dataclass(frozen=True)
class Quirks:
    """What the official plugin does that a better one would not. Each can be switched off."""
    pause_s: float = 0.001       # sleep after each chunk
    early_ping: bool = True      # the first ping goes before the token
    deaf: bool = True            # mux: HandshakeComplete before the ack of the response: never reads again
    newline: bool = True         # a chunk of one byte LF becomes CR, whatever the session
    mux_socket: bool = True      # a local socket named by the session's id must be free
    reads_before_resume: int = 5
    silent_version: bool = False  # plugins before 1.2.677 send no ClientVersion


class SessionError(Exception):
    pass


def fnv1a32(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class Api:
    """The three calls a plugin makes itself, signed as the CLI's user."""

    def __init__(self, endpoint, region, access_key, secret_key, token=None, ca_file=None, kms_endpoint=None):
        self.endpoint, self.region, self.ca_file = endpoint, region, ca_file
        self.keys = access_key, secret_key, token
        self.kms_endpoint = kms_endpoint or endpoint

    def call(self, service, target, members, endpoint=None):
        url = urllib.parse.urlsplit(endpoint or self.endpoint)
        body = json.dumps(members).encode()
        headers = {"host": url.netloc, "content-type": "application/x-amz-json-1.1", "x-amz-target": target}
        wire.sign_headers(headers, "POST", "/", "", body, *self.keys[:2], self.region, service,
                          token=self.keys[2])
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            conn = http.client.HTTPSConnection(url.hostname, url.port, timeout=30, context=context)
        else:
            conn = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        try:
            conn.request("POST", "/", body, headers)
            answer = conn.getresponse()
            text = answer.read()
        finally:
            conn.close()
        if answer.status != 200:
            raise SessionError(f"{target}: {answer.status} {text[:300].decode(errors='replace')}")
        return json.loads(text or b"{}")

    def resume(self, session_id):
        return self.call("ssm", "AmazonSSM.ResumeSession", {"SessionId": session_id})

    def terminate(self, session_id):
        return self.call("ssm", "AmazonSSM.TerminateSession", {"SessionId": session_id})

    def data_key(self, key_id, context):
        """(64 bytes of key, its sealed form)"""
        got = self.call("kms", "TrentService.GenerateDataKey",
                        {"KeyId": key_id, "NumberOfBytes": 64, "EncryptionContext": context},
                        self.kms_endpoint)
        return base64.b64decode(got["Plaintext"]), base64.b64decode(got["CiphertextBlob"])


class Client:
    """One session from the client's side. `response` is StartSession's answer. What comes is in
    `output` (types 1, 11 and 12 together, as the plugin prints them) and `messages` [(type, bytes)].
    `wait(test)` waits for a change; `ended` says why it is over: closed, timed out, left, lost.
    """

    def __init__(self, response, target, api=None, ca_file=None, version=VERSION, quirks=Quirks(),
                 on_output=None, on_text=None):
        self.session_id, self.token, self.url = (response[k] for k in ("SessionId", "TokenValue", "StreamUrl"))
        self.target, self.api, self.version, self.quirks = target, api, version, quirks
        self.ca_file, self.client_id = ca_file, sw.new_id()
        self.on_output, self.on_text = on_output, on_text or (lambda text: None)
        self.changed = threading.Condition()
        self.output, self.messages, self.notes = bytearray(), [], []
        self.violations = []      # breaches of the protocol by the other side
        self.session_type = self.properties = self.agent_version = None
        self.customer_message = self.closed = self.ended = None
        self.handshake = None     # "running" | "done"
        self.resumes, self.deaf = 0, False
        self.seal = self.port = None
        self.response_seq = None
        self.window = 300, 100
        self.link = sw.Link(self._tick, ping_s=300)
        self.stream = sw.Stream(sw.PLUGIN, self.link.transmit, self._handle, quirks.pause_s,
                                (sw.HANDSHAKE_REQUEST, sw.HANDSHAKE_COMPLETE, sw.CHALLENGE_REQUEST))

    # ---- what a user does ----

    def start(self):
        self._connect()
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def send(self, data):
        """Typed bytes, or bytes of the SSH type."""
        if data == b"\n" and self.quirks.newline:
            data = b"\r"
        room = sw.CHUNK_BYTES
        self.stream.send_data(sw.OUTPUT, data, self.seal.seal if self.seal else None, room)

    def resize(self, cols, rows):
        self.window = cols, rows
        self.stream.send(sw.SIZE, sw.size_payload(cols, rows))

    def flag(self, value):
        self.stream.send(sw.FLAG, struct.pack(">I", value))

    def wait(self, test, timeout_s=30, what="condition"):
        with self.changed:
            if not self.changed.wait_for(test, timeout_s):
                raise AssertionError(f"{what}: not within {timeout_s} s; {self!r}")

    def wait_output(self, text, timeout_s=30):
        self.wait(lambda: text in self.output or self.ended, timeout_s, f"output {text!r}")
        if text not in self.output:
            raise AssertionError(f"ended ({self.ended}) without {text!r}: {self!r}")

    def wait_ready(self, timeout_s=30):
        self.wait(lambda: self.ready() or self.ended, timeout_s, "session type known")
        if not self.ready():
            raise AssertionError(f"ended ({self.ended}) before it began: {self!r}")

    def wait_end(self, timeout_s=30):
        self.wait(lambda: self.ended, timeout_s, "end of the session")
        return self.ended

    def interrupt(self):
        """Ctrl-C of a port session."""
        if self.session_type != "Port" or not self.port or self.port.kind == "ssh":
            raise SessionError("no tunnel")
        if self.agent_version and sw.newer(self.agent_version, "2.3.722.0"):
            self.flag(sw.TERMINATE_SESSION)
            self.link.flush()
        else:
            self.api.terminate(self.session_id)
        self.leave()

    def leave(self):
        """The plugin's process ends: nothing more is sent, the socket goes without a close frame."""
        self._end("left")

    def drop(self):
        """The network goes; the client resumes."""
        self.link.ws.abort()

    def __repr__(self):
        return (f"Client({self.session_id} type={self.session_type} handshake={self.handshake} ended={self.ended} "
                f"output={bytes(self.output[-300:])!r} {dict(self.stream.count)} violations={self.violations})")

    # ---- the socket ----

    def _connect(self):
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        ws = sw.dial_ws(self.url, context=context)
        if self.quirks.early_ping:
            ws.send_frame(wire.PING, b"keepalive")
        first = {"MessageSchemaVersion": "1.0", "RequestId": sw.new_id(), "TokenValue": self.token,
                 "ClientId": self.client_id}
        if not self.quirks.silent_version:
            first["ClientVersion"] = self.version
        ws.send_text(sw.compact(first))
        self.link.use(ws)

    def _run(self):
        failures = 0
        while not self.ended:
            try:
                opcode, data = self.link.ws.recv(timeout_s=None)
                failures = 0
            except (wire.WsClosed, OSError, ValueError) as e:
                failures += 1
                self.notes.append(f"read: {e!r}")
                if failures >= self.quirks.reads_before_resume and not self.ended and not self._resume():
                    return
                continue
            while self.deaf and not self.ended:
                time.sleep(0.05)
            if opcode != wire.BINARY:
                self.violations.append(f"a text frame: {data[:100]!r}")
                continue
            self._frame(data)

    def _resume(self):
        self.link.use(None)
        if not self.api:
            self._end("lost")
            return False
        for delay in sw.retry_delays():
            if self.ended:
                return False
            try:
                token = self.api.resume(self.session_id).get("TokenValue")
                if not token:
                    self.on_text(f"Session: {self.session_id} timed out.\n")
                    self._end("timed out")
                    return False
                self.token = token
                self._connect()
                self.resumes += 1
                self._changed()
                return True
            except (SessionError, OSError, wire.WsClosed, ConnectionError) as e:
                self.notes.append(f"resume: {e!r}")
                time.sleep(delay)
        self._end("lost")
        return False

    def _tick(self):
        self.stream.tick()
        if self.stream.gave_up and not self.ended:
            if self.api:
                self.api.terminate(self.session_id)
            self._end("lost")

    def _end(self, why):
        with self.changed:
            if self.ended:
                return
            self.ended = why
            self.changed.notify_all()
        self.link.end()
        if self.port:
            self.port.close()
        if self.link.ws:
            self.link.ws.abort()

    def _changed(self):
        with self.changed:
            self.changed.notify_all()

    # ---- messages ----

    def _frame(self, data):
        try:
            message, wrong = sw.read_frame(data)
        except ValueError as e:
            self.violations.append(str(e))
            return
        if wrong:
            self.violations.append(f"{message.type} {message.seq}: {wrong}")
            return
        if message.type == "output_stream_data":
            self.stream.receive(message)
        elif message.type == "acknowledge":
            self.stream.on_ack(message)
        elif message.type == "channel_closed":
            self.closed = json.loads(message.payload)
            if not isinstance(self.closed.get("CreatedDate"), str) or self.closed.get("SchemaVersion") != 1 \
                    or self.closed.get("SessionId") != self.session_id:
                self.violations.append(f"channel_closed {self.closed}")
            output = self.closed.get("Output")
            self.on_text(f"\n\nSessionId: {self.session_id} : {output}\n\n" if output else
                         f"\n\nExiting session with sessionId: {self.session_id}.\n\n")
            self._end("closed")
        elif message.type not in ("pause_publication", "start_publication"):
            self.violations.append(f"a frame of type {message.type!r}")
        self._changed()

    def ready(self):
        return self.session_type is not None and self.handshake != "running" and (
            self.session_type != "Port" or self.port is not None)

    def _handle(self, ptype, payload, drained):
        if ptype in (sw.HANDSHAKE_REQUEST, sw.HANDSHAKE_COMPLETE, sw.CHALLENGE_REQUEST):
            if drained:
                self.violations.append(f"handshake type {ptype} came early and is lost")
            else:
                {sw.HANDSHAKE_REQUEST: self._request, sw.CHALLENGE_REQUEST: self._challenge,
                 sw.HANDSHAKE_COMPLETE: self._complete}[ptype](payload)
            return sw.READY
        if self.handshake == "running":
            return sw.NOT_READY
        if self.session_type is None:
            self._set_type("Standard_Stream", None)
        if ptype in (sw.OUTPUT, sw.STDERR, sw.EXIT_CODE):
            if self.seal:
                payload = self.seal.open(payload)
            self.messages.append((ptype, payload))
            if self.port:
                self.port.input(payload)
            else:
                self.output += payload
                if self.on_output:
                    self.on_output(payload)
        elif ptype == sw.FLAG:
            self.messages.append((ptype, payload))
            if payload == struct.pack(">I", sw.CONNECT_TO_PORT_ERROR):
                self.on_text("\nConnection to destination port failed, check SSM Agent logs.\n")
        else:
            self.violations.append(f"payload type {ptype} from the agent")
        self._changed()
        return sw.READY

    def _set_type(self, session_type, properties):
        self.session_type, self.properties = session_type, properties
        if self.session_type == "Port":
            self._open_port()
        else:
            self.stream.send(sw.SIZE, sw.size_payload(*self.window))
        self._changed()

    def _request(self, payload):
        request = json.loads(payload)
        self.handshake = "running"
        self.agent_version = request["AgentVersion"]
        done, self.wanted = [], None
        for action in request["RequestedClientActions"]:
            kind, parameters = action["ActionType"], action["ActionParameters"]
            status, result, error = 1, None, ""
            if kind == "SessionType":
                self.wanted = parameters["SessionType"], parameters.get("Properties")
                if self.wanted[0] not in (*SHELLS, "Port"):
                    status, error = 2, f"Unknown session type {self.wanted[0]}"
            elif kind == "KMSEncryption":
                try:
                    context = {"aws:ssm:SessionId": self.session_id, "aws:ssm:TargetId": self.target}
                    key, blob = self.api.data_key(parameters["KMSKeyId"], context)
                    self.pending_seal = sw.Seal(key, agent=False)
                    result = {"KMSCipherTextKey": base64.b64encode(blob).decode(), "KMSCipherTextHash": None}
                except (SessionError, OSError) as e:
                    status, error = 2, str(e)
            else:
                status, result, error = 0, 3, f"Unsupported action {kind}"
            done.append({"ActionType": kind, "ActionStatus": status, "ActionResult": result, "Error": error})
        errors = [d["Error"] for d in done if d["Error"]] or None
        self.response_seq = self.stream.next_seq
        self.stream.send(sw.HANDSHAKE_RESPONSE, sw.compact(
            {"ClientVersion": self.version, "ProcessedClientActions": done, "Errors": errors}))

    def _challenge(self, payload):
        sealed = base64.b64decode(json.loads(payload)["Challenge"])
        plain = self.pending_seal.open(sealed)
        self.stream.send(sw.CHALLENGE_RESPONSE, sw.compact(
            {"Challenge": base64.b64encode(self.pending_seal.seal(plain)).decode()}))

    def _complete(self, payload):
        got = json.loads(payload)
        self.handshake = "done"
        self.customer_message = got.get("CustomerMessage") or ""
        if self.customer_message:
            self.on_text(self.customer_message + "\n")
        self.seal = getattr(self, "pending_seal", None)
        unacked = self.response_seq in self.stream.out
        self._set_type(*self.wanted)
        if unacked and self.port and self.port.kind == "mux" and self.quirks.deaf:
            self.deaf = True  # §5, race (b)

    def _open_port(self):
        properties = self.properties or {}
        if properties.get("type") != "LocalPortForwarding":
            self.port = SshPort(self)
        elif (len(self.agent_version.split(".")) == 4 and sw.newer(self.agent_version, "3.0.196.0")
              and not sw.newer("1.1.70", self.version)):  # those before know nothing of it
            self.port = MuxPort(self)
        else:
            self.port = BasicPort(self)


# ---- port sessions -------------------------------------------------------------------------------

def listen_for(client):
    p = client.properties
    if p.get("localConnectionType") == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(p["localUnixSocket"])
        server.listen(64)
        client.on_text(f"Unix socket {p['localUnixSocket']} opened for sessionId {client.session_id}.\n")
    else:
        server = socket.create_server(("127.0.0.1", int(p.get("localPortNumber") or 0)), backlog=64)
        client.on_text(f"Port {server.getsockname()[1]} opened for sessionId {client.session_id}.\n")
    client.on_text("Waiting for connections...\n")
    return server


class Port:
    def __init__(self, client):
        self.client = client
        self.server = listen_for(client)
        self.address = self.server.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.client.on_text(f"\nConnection accepted for session [{self.client.session_id}]\n")
            self.serve(sock)

    def close(self):
        try:
            self.server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.server.close()


class MuxPort(Port):
    kind = "mux"

    def __init__(self, client):
        self.name = None
        if client.quirks.mux_socket:
            self.name = pathlib.Path(tempfile.gettempdir()) / \
                f"{fnv1a32(client.session_id)}_session_manager_plugin_mux.sock"
            self.holder = socket.socket(socket.AF_UNIX)
            self.holder.bind(str(self.name))  # a stale one: the start fails
        self.smux = sw.Smux(lambda data: client.stream.send_data(sw.OUTPUT, data))
        super().__init__(client)

    def serve(self, sock):
        self.smux.connect(sock)

    def input(self, data):
        try:
            self.smux.input(data)
        except sw.SmuxError as e:  # what is no smux ends the tunnel, not the session
            self.client.notes.append(f"{e}: {data[:200]!r}")
            self.smux.close()

    def close(self):
        super().close()
        self.smux.close()
        if self.name:
            self.holder.close()
            self.name.unlink(missing_ok=True)


class BasicPort(Port):
    """One connection at a time; its end is told by a flag."""
    kind = "basic"

    def __init__(self, client):
        self.pipe, self.early = None, []
        self.lock = threading.Lock()
        super().__init__(client)

    def serve(self, sock):
        with self.lock:
            self.pipe = sw.Pipe(sock)
            for data in self.early:
                self.pipe.write(data)
            self.early = []
        for data in self.pipe.chunks(sw.CHUNK_BYTES):
            self.client.send(data)
        self.pipe.close()
        with self.lock:
            self.pipe = None
        if not self.client.ended:
            self.client.flag(sw.DISCONNECT_TO_PORT)

    def input(self, data):
        with self.lock:
            if self.pipe:
                self.pipe.write(data)
            else:
                self.early.append(data)

    def close(self):
        super().close()
        if self.pipe:
            self.pipe.close()


class SshPort:
    """Standard input and output are the connection."""
    kind = "ssh"

    def __init__(self, client):
        self.client = client

    def input(self, data):
        self.client.output += data
        if self.client.on_output:
            self.client.on_output(data)

    def close(self):
        pass


# ---- the program ---------------------------------------------------------------------------------

def install(folder):
    """Puts the program into a folder for PATH; returns the folder."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "session-manager-plugin").symlink_to(pathlib.Path(__file__).resolve())
    return folder


def user_keys(profile):
    env = os.environ
    if env.get("AWS_ACCESS_KEY_ID") and not profile:
        return env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN")
    files = configparser.ConfigParser()
    files.read([env.get("AWS_SHARED_CREDENTIALS_FILE", os.path.expanduser("~/.aws/credentials"))])
    section = files[profile or env.get("AWS_PROFILE") or "default"]
    return section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token")


def write_all(data):
    while data:
        data = data[os.write(1, data):]


def terminal_size():
    try:
        rows, cols = struct.unpack("HHHH", fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8)))[:2]
        return (cols, rows) if cols and rows else (300, 100)
    except OSError:
        return 300, 100


class Plugin:
    """The process around a Client: standard streams, terminal, signals."""

    def __init__(self, client):
        self.client = client
        self.tty = os.isatty(0)

    def text(self, text):
        write_all(text.encode())

    def run(self):
        client = self.client
        client.window = terminal_size()
        saved = None
        self.wake_r, self.wake_w = os.pipe()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
            signal.signal(number, self.on_signal)
        client.start()
        try:
            while not client.ended and not client.ready():
                time.sleep(0.01)
            if self.tty and client.session_type in SHELLS:
                saved = termios.tcgetattr(0)
                subprocess.run(["stty", "cbreak", "-echo"], check=False)
            self.pump()
        finally:
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
        return 0

    def on_signal(self, number, frame):
        byte = {signal.SIGINT: b"\x03", signal.SIGQUIT: b"\x1c", signal.SIGTSTP: b"\x1a"}[number]
        client = self.client
        if client.session_type in SHELLS:
            threading.Thread(target=client.send, args=(byte,), daemon=True).start()
        elif client.port and client.port.kind != "ssh":
            if number == signal.SIGINT:
                threading.Thread(target=client.interrupt, daemon=True).start()
        elif number == signal.SIGINT:
            client.leave()

    def pump(self):
        client = self.client
        takes_input = client.session_type in SHELLS or (client.port and client.port.kind == "ssh")
        while not client.ended:
            size = terminal_size()
            if client.session_type in SHELLS and size != client.window:
                client.resize(*size)
            if not takes_input:
                time.sleep(0.05)
                continue
            if not select.select([0], [], [], 0.1)[0]:
                continue
            data = os.read(0, sw.CHUNK_BYTES)
            if not data:  # §8: leaves at once, losing what is still to come
                client.link.flush()
                client.leave()
                return
            client.send(data)


def main(argv):
    if len(argv) == 1:
        print("\nThe Session Manager plugin was installed successfully. "
              "Use the AWS CLI to start a session.\n")
        return 0
    if len(argv) == 2 and argv[1] == "--version":
        print(VERSION)
        return 0
    text, region, operation = argv[1:4]
    profile, request, endpoint = (argv[4:7] + ["", "{}", ""])[:3] if len(argv) > 4 else ("", "{}", "")
    if text.startswith(ENV_ARGUMENT):
        text = os.environ.pop(text)
    if operation != "StartSession":
        print("Invalid Operation")
        return 1
    response = json.loads(text)
    target = json.loads(request)["Target"] if len(argv) > 5 else ""
    ca_file = os.environ.get("SSL_CERT_FILE")
    api = Api(endpoint, region, *user_keys(profile), ca_file=ca_file) if endpoint else None
    client = Client(response, target, api, ca_file, on_output=write_all, on_text=lambda t: write_all(t.encode()))
    write_all(f"\nStarting session with SessionId: {client.session_id}\n".encode())
    return Plugin(client).run()


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    os._exit(code)
