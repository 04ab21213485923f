"""A reference node: registers, gets tokens, opens the control channel, answers jobs.

It speaks to a plane as the official agent does (protocol 1 §1-§3, protocol 2), with no code of ours,
so it checks the plane by itself and can send what a healthy agent never would.
"""
import base64
import http.client
import json
import re
import ssl
import threading
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ET

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import wire

AGENT_VERSION = "3.3.0.0"


class NodeError(Exception):
    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


def now_text():
    t = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t * 1000) % 1000:03d}Z"


class RefNode:
    def __init__(self, endpoint, ca_file, region="local"):
        url = urllib.parse.urlsplit(endpoint)
        self.host, self.port, self.netloc = url.hostname, url.port, url.netloc
        self.ca_file, self.region = str(ca_file), region
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.fingerprint = str(uuid.uuid4())
        self.node_id = self.credentials = self.channel = self.thread = None
        self.jobs = []        # (Message, outer, content) of every agent_job
        self.other = []       # every other message
        self.acked = set()    # message ids of replies the plane acknowledged
        self.owed = {}        # job id -> ids of its two replies, of what answer_success took over
        self.changed = threading.Condition()
        self.on_job = self.answer_success
        self.on_other = None  # called with each other message

    def public_key(self, key=None):
        der = (key or self.key).public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    # ---- HTTP ----

    def http(self, method, path, body, headers, chunked=False):
        """(status, headers, body bytes) of one request on its own connection."""
        conn = http.client.HTTPSConnection(self.host, self.port, timeout=30,
                                           context=ssl.create_default_context(cafile=self.ca_file))
        try:
            conn.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                conn.putheader(name, value)
            if chunked:
                conn.putheader("Transfer-Encoding", "chunked")
                conn.endheaders()
                conn.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            else:
                conn.putheader("Content-Length", str(len(body)))
                conn.endheaders(body)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()

    def json_answer(self, answer):
        status, headers, text = answer
        decoded = json.loads(text or b"{}")
        if status != 200:
            raise NodeError(status, decoded.get("__type", "?"),
                            decoded.get("message") or decoded.get("Message"))
        return decoded

    def register(self, activation, **changes):
        members = {"ActivationCode": activation["ActivationCode"],
                   "ActivationId": activation["ActivationId"], "Fingerprint": self.fingerprint,
                   "PublicKey": self.public_key(), "PublicKeyType": "Rsa"}
        members.update(changes)
        body = json.dumps(members).encode()
        got = self.json_answer(self.http("POST", "/", body, {
            "Host": self.netloc, "User-Agent": "aws-sdk-go/1.51.20 amazon-ssm-agent/",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AmazonSSM.RegisterManagedInstance"}))
        assert re.fullmatch(r"mi-[0-9a-f]{17}", got["InstanceId"])
        self.node_id = got["InstanceId"]
        return self.node_id

    def rsa_call(self, operation, members, key=None, amz_date=None, chunked=True, **header_changes):
        body = json.dumps(members).encode()
        headers = wire.rsa_headers(key or self.key, self.node_id, self.region, self.netloc,
                                   "AmazonSSM." + operation, body, amz_date)
        headers.update(header_changes)
        return self.json_answer(self.http("POST", "/", body, headers, chunked=chunked))

    def get_token(self, update_key=False, **kw):
        got = self.rsa_call("RequestManagedInstanceRoleToken", {"Fingerprint": self.fingerprint}, **kw)
        for member in ("AccessKeyId", "SecretAccessKey", "SessionToken", "TokenExpirationDate"):
            assert got[member], member
        assert got["UpdateKeyPair"] is update_key
        self.credentials = got
        return got

    def signed(self, method, path, query, body, service, headers):
        c = self.credentials
        headers = dict(headers, host=self.netloc)
        return wire.sign_headers(headers, method, path, query, body, c["AccessKeyId"], c["SecretAccessKey"],
                                 self.region, service, token=c["SessionToken"])

    def call(self, operation, **members):
        return self.service_call("ssm", "AmazonSSM.", operation, members)

    def service_call(self, service, prefix, operation, members):
        body = json.dumps(members).encode()
        headers = self.signed("POST", "/", "", body, service, {
            "content-type": "application/x-amz-json-1.1", "x-amz-target": prefix + operation})
        return self.json_answer(self.http("POST", "/", body, headers))

    def ping(self, full=True, **changes):
        members = {"AgentName": "amazon-ssm-agent", "AgentVersion": AGENT_VERSION,
                   "InstanceId": self.node_id, "PlatformType": "Linux"}
        if full:
            members.update({"AgentStatus": "Active", "AvailabilityZone": "", "AvailabilityZoneId": "",
                            "ComputerName": "refnode.example.net", "IPAddress": "192.0.2.10",
                            "PlatformName": "Reference Linux", "PlatformVersion": "1",
                            "SSMConnectionChannel": "ssmmessages"})
        members.update(changes)
        return self.call("UpdateInstanceInformation", **members)

    # ---- control channel ----

    def create_channel(self, node_id=None):
        """POST /v1/control-channel/{id}: (status, body bytes)."""
        path = f"/v1/control-channel/{node_id or self.node_id}"
        body = json.dumps({"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4())}).encode()
        headers = self.signed("POST", path, "", body, "ssmmessages", {"content-type": "application/json"})
        status, _, text = self.http("POST", path, body, headers)
        return status, text

    def dial(self, node_id=None):
        """The control channel's WebSocket upgrade; returns (status, WebSocket or None)."""
        return self.upgrade(f"/v1/control-channel/{node_id or self.node_id}", "role=subscribe&stream=input")

    def upgrade(self, path, query):
        headers = self.signed("GET", path, query, b"", "ssmmessages", {})
        sock = wire.tls_connect(self.host, self.port, self.ca_file)
        ws_key = base64.b64encode(uuid.uuid4().bytes).decode()
        lines = [f"GET {path}?{query} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers.items()]
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                  f"Sec-WebSocket-Key: {ws_key}", "", ""]
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
            return status, None
        fields = {l.partition(":")[0].strip().lower(): l.partition(":")[2].strip()
                  for l in text.split("\r\n")[1:]}
        assert fields["sec-websocket-accept"] == wire.ws_accept(ws_key)
        assert "sec-websocket-extensions" not in fields
        return status, wire.WebSocket(sock, client=True, rest=rest)

    def open(self, token=None, listen=True, **changes):
        """CreateControlChannel, upgrade, OpenControlChannel. With `listen`, a thread answers jobs."""
        if token is None:
            status, text = self.create_channel()
            assert status == 201, (status, text)
            token = next(e.text for e in ET.fromstring(text).iter()
                         if e.tag.rpartition("}")[2] == "TokenValue")
            assert token
        status, self.channel = self.dial()
        assert status == 101, status
        first = {"Cookie": None, "MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()),
                 "TokenValue": token, "AgentVersion": AGENT_VERSION, "PlatformType": "linux"}
        first.update(changes)
        self.channel.send_text(json.dumps(first, separators=(",", ":")))
        if listen:
            self.thread = threading.Thread(target=self.listen, args=(self.channel,), daemon=True)
            self.thread.start()
        return self.channel

    def listen(self, channel):
        try:
            self.answer_owed()
        except OSError:
            pass  # as below
        while True:
            try:
                opcode, data = channel.recv(timeout_s=None)
            except (wire.WsClosed, OSError, ValueError):
                with self.changed:
                    self.changed.notify_all()
                return
            assert opcode == wire.BINARY
            message = wire.decode_message(data)
            with self.changed:
                if message.type == "agent_job":
                    outer = json.loads(message.payload)
                    self.jobs.append((message, outer, json.loads(outer["Content"])))
                elif message.type == "agent_job_reply_ack":
                    self.acked.add(json.loads(message.payload)["acknowledgedMessageId"])
                else:
                    self.other.append(message)
                self.changed.notify_all()
            if message.type == "agent_job" and self.on_job:
                try:
                    self.on_job(*self.jobs[-1])
                except OSError:
                    pass  # the plane went while we answered; recv() says so next
            elif self.on_other:
                self.on_other(message)

    def wait(self, test, timeout_s=30, what="condition"):
        with self.changed:
            if not self.changed.wait_for(test, timeout_s):
                raise AssertionError(f"{what}: not within {timeout_s} s")

    def online(self, activation):
        """Everything up to an open channel."""
        self.register(activation)
        self.get_token()
        self.ping()
        self.open()
        return self.node_id

    # ---- answers ----

    def ack(self, message, job_id, code="200", text="Successful"):
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(message.created / 1000)) + \
            f".{message.created % 1000:03d}Z"
        self.channel.send_binary(wire.encode_message("agent_job_ack", json.dumps({
            "jobId": job_id, "acknowledgedMessageId": str(message.id), "createdDate": created,
            "statusCode": code, "errorMessage": text})))

    def reply(self, job_id, status, steps=None, counts=None, topic="aws.ssm.sendCommand", message_id=None,
              piece=None):
        """One agent_job_reply; returns its message id."""
        inner = {"additionalInfo": {"agent": {"lang": "en-US", "name": "amazon-ssm-agent", "os": "",
                                              "osver": "1", "ver": AGENT_VERSION},
                                    "dateTime": now_text(), "runId": "", "runtimeStatusCounts": counts},
                 "documentStatus": status, "documentTraceOutput": "", "runtimeStatus": steps}
        message_id = str(message_id or uuid.uuid4())
        frame = wire.encode_message("agent_job_reply", json.dumps({
            "schemaVersion": 1, "jobId": job_id, "content": json.dumps(inner), "topic": topic}), message_id)
        if piece:
            self.channel.send_fragmented(frame, piece=piece)
        else:
            self.channel.send_binary(frame)
        return message_id

    @staticmethod
    def step(status="Success", code=0, out="hi\n", err="", plugin="aws:runShellScript", output=None):
        start = now_text()
        return {"status": status, "code": code, "name": plugin,
                "output": out if output is None else output, "startDateTime": start,
                "endDateTime": now_text(), "outputS3BucketName": "", "outputS3KeyPrefix": "",
                "stepName": "", "standardOutput": out, "standardError": err}

    def finish(self, job_id, status="Success", message_ids=(None, None), **step):
        """Step reply and final reply, as for a document of one step; ids of both replies."""
        steps = {"aws:runShellScript": self.step(status, **step)}
        return [self.reply(job_id, "InProgress", steps, {status: 1}, message_id=message_ids[0]),
                self.reply(job_id, status, steps, {status: 1}, message_id=message_ids[1])]

    def answer_success(self, message, outer, content):
        job_id = outer["JobId"]
        command = outer["Topic"].startswith("aws.ssm.sendCommand")
        if command:
            self.owed.setdefault(job_id, [str(uuid.uuid4()), str(uuid.uuid4())])
        self.ack(message, job_id)
        if command:
            self.reply(job_id, "InProgress")
            self.finish(job_id, message_ids=self.owed[job_id])
        else:
            self.reply(job_id, "InProgress", topic="aws.ssm.cancelCommand")

    def answer_owed(self):
        """What answer_success took over is told, with the same ids, until the plane has acknowledged it."""
        for job_id, ids in self.owed.items():
            if not self.acked.issuperset(ids):
                self.finish(job_id, message_ids=ids)

    def close(self):
        if self.channel:
            self.channel.close()
