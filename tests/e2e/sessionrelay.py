"""The smallest relay of sessions: verbatim, by message type, over plain ws://. It lets the two reference
peers meet without a plane; `steer(side, message, frame)` gives the frames to pass on, for faults and orders."""
import base64
import http.server
import json
import os
import threading
import urllib.parse
import uuid

import refsessionnode
import sessionwire as sw
import wire

TO_CLIENT, TO_AGENT = ("output_stream_data",), ("input_stream_data",)


class Relay:
    def __init__(self):
        self.sessions, self.tokens, self.trace, self.done_with = {}, {}, [], {}
        self.steer = lambda side, message, frame: [frame]
        self.lock = threading.RLock()
        self.keys = {}  # sealed data key -> (key, context)
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                relay.upgrade(self)

            def do_POST(self):
                relay.post(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ---- the plane's part ----

    def start_session(self, document, parameters=None, session_id=None, **agent):
        """StartSession's answer and the agent's session, already running."""
        session_id = session_id or f"ref-{uuid.uuid4().hex[:17]}"
        self.sessions[session_id] = {"agent": None, "client": None, "held": []}
        content = {"SessionId": session_id, "DocumentName": "doc", "DocumentContent": document,
                   "Parameters": parameters or {}, "RunAsUser": "", "SessionOwner": "arn:aws:iam::0:user/ref"}
        session = refsessionnode.AgentSession(self, content, kms=self.decrypt, **agent).start()
        return {"SessionId": session_id, "TokenValue": self.token(session_id, "client"),
                "StreamUrl": f"{self.endpoint.replace('http', 'ws')}/v1/data-channel/{session_id}"
                             "?role=publish_subscribe"}, session

    def token(self, session_id, side):
        token = base64.b64encode(os.urandom(12)).decode()
        self.tokens[token] = session_id, side
        return token

    def upgrade(self, request):
        session_id = urllib.parse.urlsplit(request.path).path.rpartition("/")[2]
        request.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"),
                            ("Sec-WebSocket-Accept", wire.ws_accept(request.headers["Sec-WebSocket-Key"]))):
            request.send_header(name, value)
        request.end_headers()
        request.wfile.flush()
        request.close_connection = True
        ws = wire.WebSocket(request.connection, client=False)
        try:
            self.serve(session_id, ws)
        except (wire.WsClosed, OSError, ValueError):
            pass

    def serve(self, session_id, ws):
        opcode, first = ws.recv()
        assert opcode == wire.TEXT
        token_session, side = self.tokens.pop(json.loads(first)["TokenValue"])
        assert token_session == session_id
        ends = self.sessions[session_id]
        with self.lock:
            ends[side] = ws
            if side == "client":
                held, ends["held"] = ends["held"], []
                for frame in held:
                    ws.send_binary(frame)
        while True:
            opcode, frame = ws.recv(timeout_s=None)
            self.pass_on(ends, side, sw.read_frame(frame)[0], frame)

    def pass_on(self, ends, side, message, frame):
        with self.lock:
            self.trace.append((side, message))
            if message.type == "agent_session_state":
                return
            other = "client" if side == "agent" else "agent"
            for out in self.steer(side, message, frame):
                if not ends[other] and other == "client":
                    ends["held"].append(out)
                self.send(ends[other], out)

    def close_channel(self, session_id, sides=("client", "agent"), output=""):
        text = json.dumps({"MessageType": "channel_closed", "MessageId": sw.new_id(), "DestinationId": "mi-x",
                           "SessionId": session_id, "SchemaVersion": 1, "CreatedDate": "2026-01-01T00:00:00Z",
                           "Output": output})
        frame, ends = wire.encode_message("channel_closed", text), self.sessions[session_id]
        with self.lock:
            for side in sides:
                if not ends[side] and side == "client":
                    ends["held"].append(frame)
                self.send(ends[side], frame)

    @staticmethod
    def send(ws, frame):
        """To an end that may be gone."""
        try:
            if ws:
                ws.send_binary(frame)
        except OSError:
            pass

    def post(self, request):
        members = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        target = request.headers["X-Amz-Target"].rpartition(".")[2]
        answer = {}
        if target == "ResumeSession" and members["SessionId"] not in self.done_with:
            answer = {"SessionId": members["SessionId"], "TokenValue": self.token(members["SessionId"], "client"),
                      "StreamUrl": ""}
        elif target == "GenerateDataKey":
            key, sealed = os.urandom(64), os.urandom(40)
            self.keys[sealed] = key, members["EncryptionContext"]
            answer = {"Plaintext": base64.b64encode(key).decode(),
                      "CiphertextBlob": base64.b64encode(sealed).decode()}
        body = json.dumps(answer).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    # ---- the transport of AgentSession ----

    def create(self, session_id):
        if session_id in self.done_with:
            raise refsessionnode.Refused(400, "Session is already terminated")
        return self.token(session_id, "agent")

    def dial_data(self, session_id):
        return sw.dial_ws(f"{self.endpoint.replace('http', 'ws')}/v1/data-channel/{session_id}")

    def done(self, session, status, output):
        self.done_with[session.session_id] = status, output
        self.close_channel(session.session_id, ("client",), output)

    def decrypt(self, blob, key_id, context):
        key, wanted = self.keys[blob]
        if context != wanted:
            raise ValueError(f"encryption context {context}")
        return key
