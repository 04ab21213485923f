"""A plane of sessions for the client: the relay of sessionrelay.py, which also starts, ends and loses them. Its node is
the reference node, so that what is tested here is the client alone."""
import json
import os
import struct
import subprocess
import threading

import refsessionnode
import sessionrelay
import sessionwire as sw

# An official node goes two seconds after its last word whether that was heard or not, which here would be a busy machine's doing.
FAST = refsessionnode.Quirks(start_s=0.01, pause_s=0, acks_wait_s=60)
NODE = "mi-0123456789abcdef0"
END_OF_INPUT = 0x464C0001


def session_document(kind="Standard_Stream", parameters=(), **properties):
    return {"schemaVersion": "1.0", "sessionType": kind, "inputs": {}, "properties": properties,
            "parameters": {name: {"type": "String", "default": ""} for name in parameters}}


def port_document(**properties):
    return session_document("Port", ("portNumber", "localPortNumber", "host", "localUnixSocket"),
                            portNumber="{{ portNumber }}", **properties)


FORWARD = {"type": "LocalPortForwarding", "localPortNumber": "{{ localPortNumber }}"}
COMMAND = {"commands": "{{ command }}", "separateOutputStream": "true"}
DOCUMENTS = {
    "SSM-SessionManagerRunShell": session_document(),
    "AWS-StartInteractiveCommand": session_document("InteractiveCommands", ["command"],
                                                    linux={"commands": "{{ command }}"}),
    "AWS-StartNonInteractiveCommand": session_document("NonInteractiveCommands", ["command"], linux=COMMAND),
    "Fairlead-Exec": session_document("NonInteractiveCommands", ["command"],
                                      linux=COMMAND | {"shell": "true", "stdin": "true"}),
    "AWS-StartSSHSession": port_document(),
    "AWS-StartPortForwardingSession": port_document(**FORWARD),
    "AWS-StartPortForwardingSessionToRemoteHost": port_document(host="{{ host }}", **FORWARD),
    "AWS-StartPortForwardingSessionToSocket": port_document(
        type="LocalPortForwarding", localConnectionType="unix", localUnixSocket="{{ localUnixSocket }}"),
}


class Exec(refsessionnode.Batch):
    """What a node of fairlead makes of NonInteractiveCommands with `shell` and `stdin`."""

    def __init__(self, session):
        super().__init__(session)
        self.waiting, self.input_ended, self.lock = [], False, threading.Lock()

    def run(self):
        s = self.session
        self.process = subprocess.Popen(["sh", "-c", s.properties["linux"]["commands"]], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        threading.Thread(target=self.feed, daemon=True).start()
        threads = [threading.Thread(target=self.copy, args=a, daemon=True)
                   for a in ((self.process.stdout, sw.OUTPUT), (self.process.stderr, sw.STDERR))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        s.say(f"EXIT_CODE: {self.process.wait()}".encode(), sw.EXIT_CODE)
        if s.stopped.is_set():
            raise refsessionnode.Terminated()

    def copy(self, stream, ptype):
        while data := os.read(stream.fileno(), 65536):
            self.session.say(data, ptype)

    def feed(self):
        try:
            while True:
                with self.session.changed:
                    self.session.changed.wait_for(lambda: self.waiting or self.input_ended)
                    data, self.waiting = b"".join(self.waiting), []
                if not data:
                    break
                self.process.stdin.write(data)
                self.process.stdin.flush()
            self.process.stdin.close()
        except OSError:
            pass

    def input(self, data):
        with self.session.changed:
            self.waiting.append(data)
            self.session.changed.notify_all()
        return sw.READY

    def end_of_input(self):
        with self.session.changed:
            self.input_ended = True
            self.session.changed.notify_all()

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, 9)


class FairleadSession(refsessionnode.AgentSession):
    """A session of a node of fairlead: the extras are agreed on."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        linux = (self.document.get("properties") or {}).get("linux") or {}
        if linux.get("stdin"):
            self.handler = Exec(self)

    def shake_hands(self):
        send, self.stream.send = self.stream.send, self.send_with_extras
        self.send_plain = send
        try:
            super().shake_hands()
        finally:
            self.stream.send = send

    def send_with_extras(self, ptype, payload):
        if ptype == sw.HANDSHAKE_REQUEST:
            payload = sw.compact(json.loads(payload) | {"Fairlead": {"MaxPayload": 65536, "EndOfInput": True}})
        self.send_plain(ptype, payload)

    def _handle(self, ptype, payload, drained):
        if ptype == sw.FLAG and struct.unpack(">I", payload)[0] == END_OF_INPUT:
            self.handler.end_of_input()
            return sw.READY
        return super()._handle(ptype, payload, drained)


class ClientRelay(sessionrelay.Relay):
    """`documents`, `node_class` and `node` (keywords of AgentSession) may be changed by a test. `nodes` has the node's
    ends by session id, `terminated` the ids that TerminateSession was called for, `started` StartSession's requests."""

    def __init__(self):
        super().__init__()
        self.documents, self.node, self.node_class = dict(DOCUMENTS), {"quirks": FAST}, refsessionnode.AgentSession
        self.nodes, self.started, self.terminated, self.resumed = {}, [], [], []
        self.refuse_resume = 0  # so many calls of ResumeSession fail

    def post(self, request):
        target = request.headers["X-Amz-Target"].rpartition(".")[2]
        if target == "ResumeSession":
            self.resumed.append(target)
            if len(self.resumed) <= self.refuse_resume:
                request.rfile.read(int(request.headers["Content-Length"]))
                self.answer(request, 400, {"__type": "InternalServerError"})
                return
        if target not in ("StartSession", "TerminateSession"):
            super().post(request)
            return
        members = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.answer(request, *getattr(self, target)(members))

    @staticmethod
    def answer(request, status, members):
        body = json.dumps(members).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def StartSession(self, members):
        self.started.append(members)
        document = self.documents.get(members.get("DocumentName") or "SSM-SessionManagerRunShell")
        if not document:
            return 400, {"__type": "InvalidDocument", "message": "no such document"}
        given = {k: v[0] for k, v in (members.get("Parameters") or {}).items()}
        plain, refsessionnode.AgentSession = refsessionnode.AgentSession, self.node_class
        try:
            answer, node = self.start_session(document, given, instance_id=members["Target"], **self.node)
        finally:
            refsessionnode.AgentSession = plain
        self.nodes[answer["SessionId"]] = node
        return 200, answer

    def TerminateSession(self, members):
        session_id = members["SessionId"]
        self.terminated.append(session_id)
        self.close_channel(session_id, ("agent", "client"))
        return 200, {"SessionId": session_id}

    def env(self, home, **more):
        return {"HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "TERM": "xterm-256color",
                "FAIRLEAD_ENDPOINT": self.endpoint, "AWS_REGION": "local", "LANG": "C.UTF-8",
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"} | more

    @property
    def last(self):
        """The node's end of the newest session."""
        return list(self.nodes.values())[-1]

    def lose_client(self):
        """Drops the client's connections as a broken network does."""
        for ends in self.sessions.values():
            if ends["client"]:
                ends["client"].abort()
