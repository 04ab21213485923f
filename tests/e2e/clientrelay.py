"""A plane of sessions for the client: the relay of sessionrelay.py, which also starts, ends and loses them. Its node is
the reference node, so that what is tested here is the client alone."""
import json
import subprocess
import sys

import refsessionnode
import sessionrelay
import sessionwire as sw

FAST = refsessionnode.Quirks(start_s=0.01)
NODE = "mi-0123456789abcdef0"


def session_document(kind="Standard_Stream", **properties):
    return {"schemaVersion": "1.0", "sessionType": kind, "inputs": {}, "properties": properties}


def port_document(**properties):
    return session_document("Port", portNumber="{{ portNumber }}", **properties) | {
        "parameters": {"portNumber": {"type": "String"}, "localPortNumber": {"type": "String", "default": "0"},
                       "host": {"type": "String", "default": "localhost"}}}


DOCUMENTS = {
    "SSM-SessionManagerRunShell": session_document(),
    "AWS-StartInteractiveCommand": session_document(
        "InteractiveCommands", linux={"commands": "{{ command }}"}) | {"parameters": {"command": {"type": "String"}}},
    "Fairlead-Exec": session_document("NonInteractiveCommands", linux={
        "commands": "{{ command }}", "separateOutputStream": "true"}) | {"parameters": {"command": {"type": "String"}}},
    "AWS-StartSSHSession": port_document(),
    "AWS-StartPortForwardingSession": port_document(type="LocalPortForwarding",
                                                    localPortNumber="{{ localPortNumber }}"),
    "AWS-StartPortForwardingSessionToRemoteHost": port_document(
        type="LocalPortForwarding", localPortNumber="{{ localPortNumber }}", host="{{ host }}"),
}


class ClientRelay(sessionrelay.Relay):
    """`documents` and `node` (keywords of AgentSession) may be changed by a test. `sessions_of` has the node's ends by
    session id, `terminated` the ids that TerminateSession was called for, `started` the requests of StartSession."""

    def __init__(self):
        super().__init__()
        self.documents, self.node = dict(DOCUMENTS), {"quirks": FAST}
        self.nodes, self.started, self.terminated = {}, [], []

    def post(self, request):
        target = request.headers["X-Amz-Target"].rpartition(".")[2]
        if target not in ("StartSession", "TerminateSession"):
            super().post(request)
            return
        members = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        status, answer = getattr(self, target)(members)
        body = json.dumps(answer).encode()
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
        answer, node = self.start_session(document, given, instance_id=members["Target"], **self.node)
        self.nodes[answer["SessionId"]] = node
        return 200, answer

    def TerminateSession(self, members):
        session_id = members["SessionId"]
        self.terminated.append(session_id)
        self.close_channel(session_id, ("agent", "client"))
        return 200, {"SessionId": session_id}

    def env(self, home):
        return {"HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "TERM": "xterm-256color",
                "FAIRLEAD_ENDPOINT": self.endpoint, "AWS_REGION": "local", "LANG": "C.UTF-8",
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}

    @property
    def last(self):
        """The node's end of the newest session."""
        return list(self.nodes.values())[-1]

    def lose_client(self):
        """Drops the client's connection as a broken network does."""
        for ends in self.sessions.values():
            if ends["client"]:
                ends["client"].sock.close()
