"""The reference plane with sessions: interactive_shell to a real agent, its data channel, and a verbatim
relay to a reference client (refsession.py). Checks every byte the agent sends on the way."""
import base64
import json
import os
import threading
import time
import uuid

import refplane
import refsession
import sessionwire as sw
import wire

TASK_MEMBERS = ["SchemaVersion", "TaskId", "Topic", "FinalTaskStatus", "IsRoutingFailure", "AwsAccountId",
                "InstanceId", "Output", "S3Bucket", "S3UrlSuffix", "CwlGroup", "CwlStream", "RetryNumber"]


class Session:
    def __init__(self, plane, session_id, ours=False):
        self.plane, self.session_id = plane, session_id
        self.ours = ours                     # its plane is one of fairlead
        self.agent = self.client = None      # WebSockets
        self.held = []                       # for a client that is not there
        self.states, self.completes = [], []  # agent_session_state, agent_task_complete
        self.opened = 0                      # data channels of the agent
        self.opened_at = None                # the agent's first
        self.trace = []                      # (side, message)
        self.expected = 0                    # next sequence number of the agent's first messages
        self.lock = threading.RLock()

    def cut(self, side="agent"):
        ws = getattr(self, side)
        if ws:
            ws.abort()

    def status(self):
        return self.completes[0]["FinalTaskStatus"] if self.completes else None


class SessionPlane(refplane.RefPlane):
    def __init__(self, folder, **kw):
        self.sessions, self.data_tokens, self.keys = {}, {}, {}
        self.ack_tasks, self.hangs_up_on_upgrades = True, False  # that are not the first of their connection
        self.steer = lambda session, side, message, frame: [frame]
        super().__init__(folder, **kw)

    # ---- what tests do ----

    def start_session(self, document, parameters=None, session_id=None, name="doc", **content):
        """interactive_shell to the agent; (Session, StartSession's answer)."""
        session_id = session_id or f"alice-{uuid.uuid4().hex[:17]}"
        session = self.sessions[session_id] = Session(
            self, session_id, ours=any(content.get("Fairlead", {}).get(k) for k in ("MaxPayload", "Handshake", "EndOfInput")))
        content = {"SessionId": session_id, "DocumentName": name, "DocumentContent": document,
                   "Parameters": parameters or {}, "RunAsUser": "",
                   "SessionOwner": "arn:aws:iam::123456789012:user/alice", **content}
        self.send_shell(session_id, content)
        return session, {"SessionId": session_id, "TokenValue": self.data_token(session, "client"),
                         "StreamUrl": f"{self.endpoint.replace('https', 'wss')}/v1/data-channel/{session_id}"
                                      "?role=publish_subscribe"}

    def send_shell(self, session_id, content):
        self.send_raw(json.dumps({"SchemaVersion": 1, "TaskId": session_id, "Topic": "any",
                                  "Content": json.dumps(content)}), "interactive_shell")

    def client(self, answer, **kw):
        """A reference client of that session, not started."""
        api = refsession.Api(self.endpoint, self.region, "AKIDCLIENT", "secret", ca_file=self.ca_file)
        return refsession.Client(answer, next(iter(self.nodes)), kw.pop("api", api), ca_file=self.ca_file, **kw)

    def channel_closed(self, session, over="data"):
        text = json.dumps({"MessageType": "channel_closed", "MessageId": sw.new_id(), "DestinationId": "mi-x",
                           "SessionId": session.session_id, "SchemaVersion": 1, "CreatedDate": "2026-01-01",
                           "Output": ""})
        if over == "control":
            self.send_raw(text, "channel_closed")
        else:
            session.agent.send_binary(wire.encode_message("channel_closed", text))

    def publication(self, session, kind):
        session.agent.send_binary(wire.encode_message(f"{kind}_publication", "x"))

    def wait_status(self, session, timeout_s=30):
        self.wait(lambda: session.completes, timeout_s, f"end of {session.session_id}")
        return session.status()

    # ---- calls ----

    def data_token(self, session, side):
        token = base64.b64encode(os.urandom(24)).decode()
        self.data_tokens[token] = session, side
        return token

    def dispatch(self, request):
        target = request.headers.get("x-amz-target", "")
        if request.path.startswith("/v1/data-channel/"):
            try:
                return self.create_data(request)
            except refplane.Answer as a:
                return a.status, "application/xml", f"<E><message>{a.name} {a.message}</message></E>".encode()
        if target.endswith((".ResumeSession", ".GenerateDataKey", ".TerminateSession", ".Decrypt")):
            answer = getattr(self, "op_" + target.rpartition(".")[2])(request, json.loads(request.body))
            return 200, "application/x-amz-json-1.1", json.dumps(answer).encode()
        return super().dispatch(request)

    def op_ResumeSession(self, request, members):
        session = self.sessions[members["SessionId"]]
        if session.completes:
            return {"SessionId": session.session_id}
        return {"SessionId": session.session_id, "TokenValue": self.data_token(session, "client"),
                "StreamUrl": ""}

    def op_TerminateSession(self, request, members):
        self.channel_closed(self.sessions[members["SessionId"]])
        return {"SessionId": members["SessionId"]}

    def op_GenerateDataKey(self, request, members):
        key, sealed = os.urandom(members["NumberOfBytes"]), os.urandom(40)
        self.keys[sealed] = key, members["EncryptionContext"], members["KeyId"]
        return {"Plaintext": base64.b64encode(key).decode(), "CiphertextBlob": base64.b64encode(sealed).decode()}

    def op_Decrypt(self, request, members):
        self.check_sigv4(request, "kms", ["content-type", "host", "x-amz-date", "x-amz-security-token",
                                          "x-amz-target"])
        key, context, key_id = self.keys[base64.b64decode(members["CiphertextBlob"], validate=True)]
        self.expect(members == {"CiphertextBlob": members["CiphertextBlob"], "KeyId": key_id,
                                "EncryptionContext": context}, f"Decrypt {members}")
        return {"Plaintext": base64.b64encode(key).decode(), "KeyId": key_id}

    def create_data(self, request):
        self.check_sigv4(request, "ssmmessages", ["content-type", "host", "x-amz-date", "x-amz-security-token"])
        self.expect(request.method == "POST" and not request.query, "CreateDataChannel is a POST, no query")
        self.expect(request.headers.get("content-type") == "application/json", "CreateDataChannel type")
        body = json.loads(request.body)
        self.expect(list(body) == ["MessageSchemaVersion", "RequestId", "ClientId"] and
                    body["MessageSchemaVersion"] == "1.0" and body["ClientId"] == "", f"CreateDataChannel {body}")
        uuid.UUID(body["RequestId"])
        waiting = self.fail.get("CreateDataChannel")
        if waiting:
            status, name = waiting.pop(0)
            raise refplane.Answer(status, name)
        session = self.sessions.get(request.path.rpartition("/")[2])
        if not session:
            raise refplane.Answer(400, "NoSuchSession")
        if session.completes:
            raise refplane.Answer(400, "Session is already terminated")
        return 201, "application/xml", (f"<R><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>"
                                        f"{self.data_token(session, 'agent')}</TokenValue></R>").encode()

    # ---- the data channel ----

    def upgrade(self, sock, request, rest):
        if not request.path.startswith("/v1/data-channel/"):
            return super().upgrade(sock, request, rest)
        h = request.headers
        if request.nth > 1 and self.hangs_up_on_upgrades:
            return None
        if "authorization" in h:
            try:
                self.check_sigv4(request, "ssmmessages", ["host", "x-amz-date", "x-amz-security-token"])
            except refplane.Answer:
                sock.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
                return None
        self.expect(request.query == "role=publish_subscribe", f"data-channel query {request.query}")
        for name in ("sec-websocket-protocol", "sec-websocket-extensions", "origin"):
            self.expect(name not in h, f"upgrade offers {name}: {h.get(name)}")
        sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {wire.ws_accept(h['sec-websocket-key'])}\r\n\r\n").encode())
        ws = wire.WebSocket(sock, client=False, rest=rest)
        session = side = None
        try:
            session, side = self.first_frame(ws, request)
            while True:
                opcode, frame = ws.recv(timeout_s=None)
                self.expect(opcode == wire.BINARY, f"a text frame of the {side}")
                self.on_frame(session, side, frame)
        except (wire.WsClosed, OSError):
            pass
        except (ValueError, KeyError, TypeError) as e:
            self.violation(f"data channel of the {side}: {type(e).__name__}: {e}")
        finally:
            if session:
                with self.changed:
                    if getattr(session, side) is ws:
                        setattr(session, side, None)
                    self.changed.notify_all()
        return None

    def first_frame(self, ws, request):
        opcode, data = ws.recv(timeout_s=15)
        first = json.loads(data)
        session, side = self.data_tokens.pop(first["TokenValue"])
        self.expect(request.path == f"/v1/data-channel/{session.session_id}", f"path {request.path}")
        if side == "agent":
            session.opened_at = session.opened_at or time.time()
            ours = {"Fairlead": {"Beats": True}} if session.ours else {}
            self.expect(opcode == wire.TEXT and list(first) == [
                "MessageSchemaVersion", "RequestId", "TokenValue", "ClientInstanceId", "ClientId", *ours],
                f"OpenDataChannel {list(first)}")
            self.expect(first.get("Fairlead") == ours.get("Fairlead"), f"{first.get('Fairlead')}")
            self.expect(first["ClientInstanceId"] in self.nodes and first["ClientId"] == "", f"{first}")
            self.expect("authorization" in request.headers, "an agent's upgrade is signed")
        with session.lock:
            old = getattr(session, side)
            setattr(session, side, ws)
            if old:
                old.abort()
            if side == "client":
                held, session.held = session.held, []
                for frame in held:
                    ws.send_binary(frame)
                if self.ack_tasks and session.completes:
                    self.close_client(session)
        with self.changed:
            session.opened += side == "agent"
            self.changed.notify_all()
        return session, side

    def on_frame(self, session, side, frame):
        message, wrong = sw.read_frame(frame)
        if side == "agent":
            self.expect(not wrong, f"{message.type}: {wrong}")
            self.expect(message.id.version == 4, f"{message.type} id {message.id}")
        with session.lock:
            session.trace.append((side, message))
            if message.type == "agent_session_state":
                body = json.loads(message.payload)
                self.expect(list(body) == ["SchemaVersion", "SessionState", "SessionId"] and
                            (message.seq, message.flags, message.ptype) == (0, 3, 0), f"state {body}")
                with self.changed:
                    session.states.append(body["SessionState"])
                    self.changed.notify_all()
                return
            if side == "agent" and message.type == "output_stream_data" and message.seq >= session.expected:
                self.expect(message.seq == session.expected, f"sequence {message.seq}, not {session.expected}")
                self.expect(message.flags == (1 if message.seq == 0 else 0), f"flags {message.flags}")
                session.expected += 1
            other = session.client if side == "agent" else session.agent
            for out in self.steer(session, side, message, frame):
                if other:
                    try:
                        other.send_binary(out)
                    except OSError:
                        pass
                elif side == "agent":
                    session.held.append(out)

    # ---- the end ----

    def on_message(self, ws, message, arrived):
        if message.type != "agent_task_complete":
            return super().on_message(ws, message, arrived)
        body = json.loads(message.payload)
        self.expect(list(body) == TASK_MEMBERS, f"agent_task_complete {list(body)}")
        self.expect(message.flags == 0 and body["Topic"] == "agent_task_complete" and body["SchemaVersion"] == 1,
                    f"agent_task_complete {body}")
        session = self.sessions.get(body["TaskId"])
        if self.ack_tasks:
            ws.send_binary(wire.encode_message("agent_task_acknowledge", json.dumps(
                {"SchemaVersion": 1, "MessageId": str(message.id), "TaskId": body["TaskId"], "Topic": "x"})))
        if session:
            with session.lock:
                first = not session.completes
                session.completes.append(dict(body, id=str(message.id)))
                if self.ack_tasks and first:
                    self.close_client(session)
        with self.changed:
            self.changed.notify_all()
        return None

    @staticmethod
    def close_client(session):
        """Also one that comes when the session is over already."""
        if not session.client:
            return
        text = json.dumps({"MessageType": "channel_closed", "MessageId": sw.new_id(), "DestinationId": "mi-x",
                           "SessionId": session.session_id, "SchemaVersion": 1, "CreatedDate": "2026-01-01",
                           "Output": session.completes[0]["Output"]})
        try:
            session.client.send_binary(wire.encode_message("channel_closed", text))
        except OSError:
            pass
