"""A reference plane: registers one agent, gives it tokens, opens its control channel, sends it jobs.

Strict about protocol 1 and 2: whatever an agent does that the notes do not allow is put into
`violations`, and tests assert that there are none. No code of ours takes part.
"""
import base64
import datetime
import ipaddress
import itertools
import json
import re
import select
import socket
import ssl
import threading
import time
import uuid

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

import wire

HEAD_MAX_BYTES = 16384
MAX_SKEW_S = 300
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
REPLY_CONTENT_MAX_BYTES = 120000
PLUGIN_STATUSES = {"NotStarted", "InProgress", "Success", "SuccessAndReboot", "Failed", "Cancelled",
                   "TimedOut", "Skipped"}

SHELL_DOCUMENT = {"schemaVersion": "1.2", "description": "Run a shell script",
                  "parameters": {"commands": {"type": "StringList"},
                                 "workingDirectory": {"type": "String", "default": ""},
                                 "executionTimeout": {"type": "String", "default": "3600"}},
                  "runtimeConfig": {"aws:runShellScript": {"properties": [{
                      "id": "0.aws:runShellScript", "runCommand": "{{ commands }}",
                      "workingDirectory": "{{ workingDirectory }}",
                      "timeoutSeconds": "{{ executionTimeout }}"}]}}}


def steps_document(*scripts, timeout="3600", version="2.2"):
    """A document of several aws:runShellScript steps, step1, step2, …"""
    return {"schemaVersion": version, "description": "", "mainSteps": [
        {"action": "aws:runShellScript", "name": f"step{i}",
         "inputs": {"runCommand": script if isinstance(script, list) else [script],
                    "timeoutSeconds": timeout}}
        for i, script in enumerate(scripts, 1)]}


def make_pki(folder, names=("localhost", "127.0.0.1")):
    """A CA and a server certificate; (ca path, certificate path, key path)."""
    now = datetime.datetime.utcnow()

    def write(name, data):
        path = folder / name
        path.write_bytes(data)
        return path

    def certificate(subject, key, issuer, issuer_key, extensions):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(datetime.datetime(1960, 1, 1))  # clocks that are off trust it too
                   .not_valid_after(datetime.datetime(2049, 1, 1)))
        for e, critical in extensions:
            builder = builder.add_extension(e, critical)
        return builder.sign(issuer_key, hashes.SHA256())

    def subject(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate(subject("reference CA"), ca_key, subject("reference CA"), ca_key, [
        (x509.BasicConstraints(True, None), True),
        (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True),
        (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)])
    alternatives = []
    for n in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(n)))
        except ValueError:
            alternatives.append(x509.DNSName(n))
    cert = certificate(subject(names[0]), key, ca.subject, ca_key, [
        (x509.BasicConstraints(False, None), True), (x509.SubjectAlternativeName(alternatives), False)])
    pem = serialization.Encoding.PEM
    return (write("ca.crt", ca.public_bytes(pem)), write("server.crt", cert.public_bytes(pem)),
            write("server.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8,
                                                  serialization.NoEncryption())))


class Request:
    def __init__(self, method, path, query, headers, body):
        self.method, self.path, self.query = method, path, query
        self.headers, self.body = headers, body
        self.at, self.nth = time.monotonic(), 0  # of its connection


class Answer(Exception):
    """Raised by a handler to answer with an error."""

    def __init__(self, status, name, message=""):
        super().__init__(name)
        self.status, self.name, self.message = status, name, message


class Job:
    """A job that was sent: its acks, replies and when things happened (time.perf_counter)."""

    def __init__(self, job_id, message_id, created_ms):
        self.job_id, self.message_id, self.created_ms = job_id, message_id, created_ms
        self.acks = []       # decoded agent_job_ack
        self.replies = []    # (message id, decoded inner, topic), duplicates left out
        self.times = []      # arrival of each reply, same index
        self.sent_at = self.final_acked_at = None
        self.duplicates = 0

    def final(self):
        for _, inner, _ in self.replies:
            if inner["documentStatus"] != "InProgress" and inner["documentStatus"] != "SuccessAndReboot":
                return inner
        return None

    def steps(self):
        """Step results merged over all replies; the last one of a name wins."""
        merged = {}
        for _, inner, _ in self.replies:
            merged.update(inner["runtimeStatus"] or {})
        return merged


class RefPlane:
    def __init__(self, folder, region="local", names=("localhost", "127.0.0.1")):
        self.region = region
        self.regions = {}        # service -> the region that node credentials sign for, if it is another
        self.ca_file, cert, key = make_pki(folder, names)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.tls.load_cert_chain(cert, key)
        self.tls.set_alpn_protocols(["http/1.1"])
        self.activation = {"ActivationId": str(uuid.uuid4()), "ActivationCode": "ABCDEFGHIJ+/KLMNOPQRST"}
        self.violations, self.requests = [], []
        self.nodes = {}          # node id -> (public key, fingerprint)
        self.tokens = {}         # access key id -> (secret, session token, node id)
        self.expiries = {}       # access key id -> seconds by our clock
        self.token_life_s = 3600
        self.skewed = 0          # requests refused for their time
        self.token_count = 0
        self.update_key_pair = False
        self.fail = {}           # operation -> list of (status, error name) to answer first
        self.pings = []
        self.parameters = {}     # Parameter Store: name -> (type, value), as version 1
        self.documents = {}      # name -> content
        self.calls = []          # (operation, members) of what workers asked for
        self.channel_tokens = set()
        self.channel = None      # the open WebSocket
        self.channels_opened = 0
        self.jobs = {}           # job id -> Job
        self.ack_replies = True
        self.other = []          # messages that are neither ack nor reply
        self.changed = threading.Condition()
        self.clock = time.time   # what this plane takes for the time
        self.port = 0
        self.host = names[0] if names[0] != "localhost" else "127.0.0.1"
        self.come()

    @property
    def endpoint(self):
        return f"https://{self.host}:{self.port}"

    def violation(self, text):
        with self.changed:
            self.violations.append(text)
            self.changed.notify_all()

    def expect(self, condition, text):
        if not condition:
            self.violation(text)

    def wait(self, test, timeout_s=30, what="condition"):
        with self.changed:
            if not self.changed.wait_for(test, timeout_s):
                raise AssertionError(f"{what}: not within {timeout_s} s; violations: {self.violations}")

    def come(self):
        """Listens: on a free port the first time, on the same one after go()."""
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept_loop, args=(self.listener,), daemon=True).start()

    def go(self):
        """Away: connections are refused, the control channel is cut."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would take one more
        except OSError:
            pass
        self.listener.close()
        if self.channel:
            self.channel.abort()

    close = go

    # ---- HTTP ----

    def accept_loop(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connection, args=(sock,), daemon=True).start()

    def connection(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(120)
            tls = self.tls.wrap_socket(sock, server_side=True)
            buffer = b""
            for nth in itertools.count(1):
                request, buffer = self.read_request(tls, buffer)
                if request is None or self.listener.fileno() < 0:
                    return
                request.nth = nth
                with self.changed:
                    self.requests.append(request)
                    self.changed.notify_all()
                if request.headers.get("upgrade", "").lower() == "websocket":
                    return self.upgrade(tls, request, buffer)
                status, content_type, body = self.dispatch(request)
                tls.sendall((f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n"
                             f"Content-Length: {len(body)}\r\nx-amzn-RequestId: {uuid.uuid4()}\r\n"
                             f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(self.clock()))}\r\n\r\n"
                             ).encode() + body)
        except (OSError, ssl.SSLError):
            pass
        finally:
            sock.close()

    def read_request(self, sock, buffer):
        def more():
            nonlocal buffer
            data = sock.recv(65536)
            if not data:
                raise ConnectionError
            buffer += data

        try:
            while b"\r\n\r\n" not in buffer:
                if len(buffer) > HEAD_MAX_BYTES:
                    self.violation("request headers over 16 KiB")
                    return None, b""
                more()
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            path, _, query = target.partition("?")
            if headers.get("expect", "").lower() == "100-continue":
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = b""
            if headers.get("transfer-encoding", "").lower() == "chunked":
                while True:
                    while b"\r\n" not in buffer:
                        more()
                    size_text, _, buffer = buffer.partition(b"\r\n")
                    size = int(size_text, 16)
                    while len(buffer) < size + 2:
                        more()
                    body += buffer[:size]
                    buffer = buffer[size + 2:]
                    if size == 0:
                        break
            else:
                size = int(headers.get("content-length", 0))
                while len(buffer) < size:
                    more()
                body, buffer = buffer[:size], buffer[size:]
            return Request(method, path, query, headers, body), buffer
        except (ConnectionError, socket.timeout, ssl.SSLError):
            return None, b""

    def dispatch(self, request):
        is_channel = request.path.startswith("/v1/control-channel/")
        try:
            if is_channel:
                return self.create_channel(request)
            target = request.headers.get("x-amz-target", "")
            self.expect(request.method == "POST" and request.path == "/" and not request.query,
                        f"{target}: {request.method} {request.path}?{request.query}")
            self.expect(request.headers.get("content-type") == "application/x-amz-json-1.1",
                        f"{target}: Content-Type {request.headers.get('content-type')!r}")
            handler = {"AmazonSSM.RegisterManagedInstance": self.op_register,
                       "AmazonSSM.RequestManagedInstanceRoleToken": self.op_token,
                       "AmazonSSM.UpdateManagedInstancePublicKey": self.op_update_key,
                       "AmazonSSM.UpdateInstanceInformation": self.op_ping,
                       "AmazonSSM.ListInstanceAssociations": self.op_no_associations,
                       "AmazonSSM.GetParameters": self.op_get_parameters,
                       "AmazonSSM.GetDocument": self.op_get_document,
                       "EC2WindowsMessageDeliveryService.GetMessages": self.op_no_messages}.get(target)
            if not handler:
                self.violation(f"unexpected call {target!r}")
                raise Answer(400, "UnknownOperationException", target)
            waiting = self.fail.get(target.partition(".")[2])
            if waiting:
                status, name = waiting.pop(0)
                raise Answer(status, name, "as the test wants it")
            body = json.dumps(handler(request, json.loads(request.body))).encode()
            return 200, "application/x-amz-json-1.1", body
        except Answer as a:
            if is_channel:
                return a.status, "application/xml", f"<{a.name}><message>{a.message}</message></{a.name}>".encode()
            return a.status, "application/x-amz-json-1.1", json.dumps(
                {"__type": a.name, "message": a.message}).encode()

    # ---- checks of signatures ----

    def check_rsa(self, request):
        """The node that signed with its identity key (protocol 1 §3.1)."""
        h = request.headers
        try:
            auth = wire.parse_authorization(h["authorization"])
            node_id, date, region, service, end = auth["Credential"].split("/")
            public, _ = self.nodes[node_id]
            self.expect((region, service, end) == (self.region, "ssm", "aws4_request"),
                        f"RSA scope {auth['Credential']}")
            self.expect(date == h["x-amz-date"][:8], "RSA scope date is not that of X-Amz-Date")
            self.expect(auth["SignedHeaders"] == wire.RSA_SIGNED, f"RSA SignedHeaders {auth['SignedHeaders']}")
            self.expect(h["host"] == f"{self.host}:{self.port}", f"Host {h['host']}")
            if "x-amz-content-sha256" in h:
                self.expect(h["x-amz-content-sha256"] == wire.sha256_hex(request.body), "x-amz-content-sha256")
            self.expect("x-amz-security-token" not in h, "RSA call with a session token")
            canonical = wire.canonical_request("POST", "/", "", h, auth["SignedHeaders"],
                                               wire.sha256_hex(request.body))
            text = wire.string_to_sign(h["x-amz-date"], f"{date}/{region}/{service}/{end}", canonical)
            public.verify(base64.b64decode(auth["Signature"], validate=True), text.encode(), wire.PSS,
                          hashes.SHA256())
            self.check_time(h["x-amz-date"])
            return node_id
        except (KeyError, ValueError, InvalidSignature) as e:
            self.violation(f"RSA signature: {type(e).__name__} {e}")
            raise Answer(400, "AccessDeniedException", "bad signature") from None

    def check_time(self, date):
        signed = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs(signed.timestamp() - self.clock()) > MAX_SKEW_S:
            self.skewed += 1
            raise Answer(400, "InvalidSignatureException", f"Signature not yet current or expired: {date}")

    def check_sigv4(self, request, service, must_sign):
        """The node whose temporary credentials signed."""
        h = request.headers
        try:
            auth = wire.parse_authorization(h["authorization"])
            access_key, date, region, svc, end = auth["Credential"].split("/")
            secret, token, node_id = self.tokens[access_key]
            self.expect((region, svc, end) == (self.regions.get(service, self.region), service, "aws4_request"),
                        f"scope {auth['Credential']}")
            self.expect(date == h["x-amz-date"][:8], "scope date is not that of X-Amz-Date")
            self.expect(h.get("x-amz-security-token") == token, "session token")
            missing = set(must_sign) - set(auth["SignedHeaders"])
            self.expect(not missing, f"{service}: not signed: {missing}")
            self.expect(auth["SignedHeaders"] == sorted(auth["SignedHeaders"]), "SignedHeaders not sorted")
            canonical = wire.canonical_request(request.method, request.path, request.query, h,
                                               auth["SignedHeaders"], wire.sha256_hex(request.body))
            _, signature = wire.sigv4(secret, h["x-amz-date"], region, svc, canonical)
            if signature != auth["Signature"]:
                raise ValueError("mismatch")
            self.check_time(h["x-amz-date"])
            if self.clock() > self.expiries[access_key]:
                raise Answer(400, "ExpiredTokenException", "The security token included in the request is expired")
            return node_id
        except (KeyError, ValueError) as e:
            self.violation(f"SigV4 {request.method} {request.path}: {type(e).__name__} {e}")
            raise Answer(400, "InvalidSignatureException", "bad signature") from None

    # ---- operations ----

    def op_register(self, request, members):
        for name in ("authorization", "x-amz-date", "x-amz-content-sha256"):
            self.expect(name not in request.headers, f"RegisterManagedInstance with {name}")
        self.expect(set(members) == {"ActivationCode", "ActivationId", "Fingerprint", "PublicKey",
                                     "PublicKeyType"}, f"RegisterManagedInstance members {sorted(members)}")
        self.expect(members["PublicKeyType"] == "Rsa", "PublicKeyType")
        self.expect(len(members["PublicKey"]) >= 392 and "\n" not in members["PublicKey"], "PublicKey form")
        fingerprint = members["Fingerprint"]
        self.expect(str(uuid.UUID(fingerprint)) == fingerprint and uuid.UUID(fingerprint).version == 4,
                    f"Fingerprint {fingerprint}")
        if (members["ActivationId"], members["ActivationCode"]) != (
                self.activation["ActivationId"], self.activation["ActivationCode"]):
            raise Answer(400, "InvalidActivation", "no such activation")
        node_id = "mi-" + uuid.uuid4().hex[:17]
        self.nodes[node_id] = (self.load_key(members["PublicKey"]), fingerprint)
        return {"InstanceId": node_id}

    def load_key(self, text):
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
        self.expect(isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
                    and key.public_numbers().e == 65537, "public key is not RSA-2048 with e=65537")
        return key

    def op_token(self, request, members):
        node_id = self.check_rsa(request)
        self.expect(members == {"Fingerprint": self.nodes[node_id][1]}, f"token request {members}")
        self.token_count += 1
        access_key = "ASIA" + uuid.uuid4().hex[:16].upper()
        self.tokens[access_key] = (uuid.uuid4().hex + "/+Ab", "FwoREF//" + uuid.uuid4().hex + "+/==", node_id)
        self.expiries[access_key] = self.clock() + self.token_life_s
        secret, token, _ = self.tokens[access_key]
        update, self.update_key_pair = self.update_key_pair, False
        return {"AccessKeyId": access_key, "SecretAccessKey": secret, "SessionToken": token,
                "TokenExpirationDate": self.expiries[access_key], "UpdateKeyPair": update}

    def op_update_key(self, request, members):
        node_id = self.check_rsa(request)
        self.expect(members.get("NewPublicKeyType") == "Rsa", f"key update {sorted(members)}")
        self.nodes[node_id] = (self.load_key(members["NewPublicKey"]), self.nodes[node_id][1])
        return {}

    def op_ping(self, request, members):
        node_id = self.check_sigv4(request, "ssm", ["content-type", "host", "x-amz-date",
                                                    "x-amz-security-token", "x-amz-target"])
        self.expect(members.get("InstanceId") == node_id, "ping for another node")
        self.expect(members.get("AgentName") == "amazon-ssm-agent", f"AgentName {members.get('AgentName')}")
        self.expect(re.fullmatch(r"\d{1,6}(\.\d{1,6}){2,3}", members.get("AgentVersion", "")),
                    f"AgentVersion {members.get('AgentVersion')}")
        self.expect(members.get("PlatformType") == "Linux", "PlatformType")
        if "AgentStatus" in members:
            wanted = {"AgentName", "AgentStatus", "AgentVersion", "AvailabilityZone", "AvailabilityZoneId",
                      "ComputerName", "IPAddress", "InstanceId", "PlatformName", "PlatformType",
                      "PlatformVersion", "SSMConnectionChannel"}
            self.expect(set(members) == wanted, f"full ping members differ by {set(members) ^ wanted}")
            self.expect(members["AgentStatus"] == "Active", "AgentStatus")
            self.expect(1 <= len(members.get("ComputerName", "")) <= 255, "ComputerName")
            self.expect(1 <= len(members.get("IPAddress", "")) <= 46, "IPAddress")
            self.expect(members.get("SSMConnectionChannel") in ("", "ssmmessages"), "SSMConnectionChannel")
        with self.changed:
            self.pings.append(members)
            self.changed.notify_all()
        return {}

    def note_call(self, request, members):
        self.check_sigv4(request, "ssm", ["content-type", "host", "x-amz-date", "x-amz-security-token",
                                          "x-amz-target"])
        with self.changed:
            self.calls.append((request.headers["x-amz-target"].partition(".")[2], members))
            self.changed.notify_all()

    def op_get_parameters(self, request, members):
        self.note_call(request, members)
        self.expect(1 <= len(members["Names"]) <= 10, f"GetParameters of {len(members['Names'])} names")
        self.expect(len(set(members["Names"])) == len(members["Names"]), "GetParameters asks twice for a name")
        found, invalid = [], []
        for asked in members["Names"]:
            name, _, selector = asked.partition(":")
            if name not in self.parameters or selector not in ("", "1", "label"):
                invalid.append(asked)
                continue
            kind, value = self.parameters[name]
            if kind == "SecureString" and not members["WithDecryption"]:
                value = "AQICencrypted"
            found.append({"Name": name, "Type": kind, "Value": value, "Version": 1,
                          **({"Selector": ":" + selector} if selector else {})})
        return {"Parameters": found, "InvalidParameters": invalid}

    def op_get_document(self, request, members):
        self.note_call(request, members)
        if members["Name"] not in self.documents:
            raise Answer(400, "InvalidDocument", "no such document")
        return {"Name": members["Name"], "DocumentVersion": members.get("DocumentVersion", "1"),
                "Content": self.documents[members["Name"]], "DocumentFormat": "JSON"}

    def op_no_associations(self, request, members):
        self.check_sigv4(request, "ssm", ["host", "x-amz-date", "x-amz-target"])
        return {"Associations": []}

    def op_no_messages(self, request, members):
        self.check_sigv4(request, "ec2messages", ["host", "x-amz-date", "x-amz-target"])
        return {"Destination": members["Destination"], "MessagesRequestId": members["MessagesRequestId"],
                "Messages": []}

    # ---- control channel ----

    def create_channel(self, request):
        node_id = self.check_sigv4(request, "ssmmessages", ["content-type", "host", "x-amz-date",
                                                            "x-amz-security-token"])
        self.expect(request.method == "POST" and not request.query, "CreateControlChannel is a POST, no query")
        self.expect(request.headers.get("content-type") == "application/json", "CreateControlChannel type")
        self.expect(request.path == f"/v1/control-channel/{node_id}", f"path {request.path}")
        body = json.loads(request.body)
        self.expect(set(body) == {"MessageSchemaVersion", "RequestId"} and
                    body["MessageSchemaVersion"] == "1.0", f"CreateControlChannel body {body}")
        uuid.UUID(body["RequestId"])
        waiting = self.fail.get("CreateControlChannel")
        if waiting:
            status, name = waiting.pop(0)
            raise Answer(status, name)
        token = uuid.uuid4().hex
        self.channel_tokens.add(token)
        return 201, "application/xml", (
            "<CreateControlChannelResponse><MessageSchemaVersion>1.0</MessageSchemaVersion>"
            f"<TokenValue>{token}</TokenValue></CreateControlChannelResponse>").encode()

    def upgrade(self, sock, request, rest):
        try:
            node_id = self.check_sigv4(request, "ssmmessages", ["host", "x-amz-date", "x-amz-security-token"])
        except Answer:
            sock.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
            return
        h = request.headers
        self.expect(request.path == f"/v1/control-channel/{node_id}", f"upgrade path {request.path}")
        self.expect(request.query == "role=subscribe&stream=input", f"upgrade query {request.query}")
        for name in ("sec-websocket-protocol", "sec-websocket-extensions", "origin"):
            self.expect(name not in h, f"upgrade offers {name}: {h.get(name)}")
        sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {wire.ws_accept(h['sec-websocket-key'])}\r\n\r\n").encode())
        ws = wire.WebSocket(sock, client=False, rest=rest)
        try:
            opcode, data = ws.recv(timeout_s=15)
            first = json.loads(data)
            self.expect(opcode == wire.TEXT, "OpenControlChannel is not a text frame")
            self.expect(list(first)[:6] == ["Cookie", "MessageSchemaVersion", "RequestId", "TokenValue",
                                            "AgentVersion", "PlatformType"], f"OpenControlChannel {list(first)}")
            self.expect(first["Cookie"] is None and first["MessageSchemaVersion"] == "1.0"
                        and first["PlatformType"] == "linux", f"OpenControlChannel {first}")
            uuid.UUID(first["RequestId"])
            self.expect(first["TokenValue"] in self.channel_tokens, "OpenControlChannel: unknown or used token")
            self.channel_tokens.discard(first["TokenValue"])
            with self.changed:
                self.channel, self.channels_opened = ws, self.channels_opened + 1
                self.changed.notify_all()
            while True:
                opcode, data = ws.recv(timeout_s=180)
                arrived = time.perf_counter()
                self.expect(opcode == wire.BINARY, "a text frame after OpenControlChannel")
                self.on_message(ws, wire.decode_message(data), arrived)
        except (wire.WsClosed, OSError):
            pass
        except (ValueError, KeyError, TypeError) as e:
            self.violation(f"control channel: {type(e).__name__}: {e}")
        finally:
            with self.changed:
                if self.channel is ws:
                    self.channel = None
                self.changed.notify_all()

    def on_message(self, ws, message, arrived):
        self.expect((message.schema, message.seq, message.flags, message.ptype) == (1, 0, 0, 0),
                    f"{message.type} header {message[1:5]}")
        self.expect(message.id.version == 4, f"{message.type} id {message.id}")
        self.expect(abs(message.created - self.clock() * 1000) < 120000, f"{message.type} CreatedDate")
        body = json.loads(message.payload)
        if message.type == "agent_job_ack":
            self.expect(list(body) == ["jobId", "acknowledgedMessageId", "createdDate", "statusCode",
                                       "errorMessage"], f"ack members {list(body)}")
            self.expect(all(isinstance(v, str) for v in body.values()), f"ack {body}")
            job = self.jobs.get(body["jobId"]) or next(
                (j for j in self.jobs.values() if j.message_id == body["acknowledgedMessageId"]), None)
            if not job:
                return self.violation(f"ack of an unknown job {body}")
            self.expect(body["acknowledgedMessageId"] == job.message_id, f"ack {body}")
            want = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(job.created_ms / 1000)) + \
                f".{job.created_ms % 1000:03d}Z"
            self.expect(body["createdDate"] == want, f"createdDate {body['createdDate']}, not {want}")
            with self.changed:
                job.acks.append(body)
                self.changed.notify_all()
        elif message.type == "agent_job_reply":
            self.on_reply(ws, message, body, arrived)
        else:
            with self.changed:
                self.other.append((message, body))
                self.changed.notify_all()

    def on_reply(self, ws, message, body, arrived):
        self.expect(list(body) == ["schemaVersion", "jobId", "content", "topic"], f"reply members {list(body)}")
        self.expect(body["schemaVersion"] == 1, "reply schemaVersion")
        self.expect(body["topic"] in ("aws.ssm.sendCommand", "aws.ssm.cancelCommand"), f"topic {body['topic']}")
        self.expect(len(body["content"].encode()) <= REPLY_CONTENT_MAX_BYTES,
                    f"reply content of {len(body['content'].encode())} bytes")
        job = self.jobs.get(body["jobId"])
        if not job:
            return self.violation(f"reply for an unknown job {body['jobId']}")
        inner = json.loads(body["content"])
        self.check_inner(inner)
        bare = inner["runtimeStatus"] is None
        message_id = str(message.id)
        acked_at = None
        if self.ack_replies and not bare:
            ws.send_binary(wire.encode_message("agent_job_reply_ack", json.dumps(
                {"jobId": body["jobId"], "acknowledgedMessageId": message_id})))
            acked_at = time.perf_counter()
        with self.changed:
            if any(message_id == m for m, _, _ in job.replies):
                job.duplicates += 1
            else:
                job.replies.append((message_id, inner, body["topic"]))
                job.times.append(arrived)
                if inner["documentStatus"] not in ("InProgress", "SuccessAndReboot"):
                    job.final_acked_at = acked_at
            self.changed.notify_all()

    def check_inner(self, inner):
        """Every member of the inner reply (protocol 2 §3.4)."""
        e = self.expect
        e(set(inner) == {"additionalInfo", "documentStatus", "documentTraceOutput", "runtimeStatus"},
          f"inner reply members {sorted(inner)}")
        info = inner["additionalInfo"]
        e(set(info) == {"agent", "dateTime", "runId", "runtimeStatusCounts"}, f"additionalInfo {sorted(info)}")
        e(set(info["agent"]) == {"lang", "name", "os", "osver", "ver"}, f"agent {info['agent']}")
        e(info["agent"]["name"] == "amazon-ssm-agent" and info["agent"]["lang"] == "en-US", f"{info['agent']}")
        e(DATE.fullmatch(info["dateTime"]), f"dateTime {info['dateTime']}")
        # A failure without steps tells its reason; the official agent leaves it out.
        e(info["runId"] == "" and (inner["documentTraceOutput"] == "" or (
            inner["documentStatus"] == "Failed" and inner["runtimeStatus"] is None)), "runId, documentTraceOutput")
        steps = inner["runtimeStatus"]
        if steps is None:
            e(info["runtimeStatusCounts"] is None, "bare reply with counts")
            return
        for name, step in steps.items():
            e(set(step) == {"status", "code", "name", "output", "startDateTime", "endDateTime",
                            "outputS3BucketName", "outputS3KeyPrefix", "stepName", "standardOutput",
                            "standardError"}, f"step {name} members {sorted(step)}")
            e(step["status"] in PLUGIN_STATUSES, f"step status {step['status']}")
            e(type(step["code"]) is int, f"step code {step['code']!r}")
            for key in ("startDateTime", "endDateTime"):
                e(DATE.fullmatch(step[key]), f"{key} {step[key]}")
            e(len(step["standardOutput"].encode()) <= 24000 * 3, "standardOutput too long")
            e(len(step["output"].encode()) <= 2500 * 3, "output too long")

    # ---- what tests do ----

    def wait_online(self, timeout_s=30):
        self.wait(lambda: self.channel is not None and self.pings, timeout_s, "agent online")

    def send_raw(self, payload, type_="agent_job", id_=None, created_ms=None):
        """Any payload as a control-channel message; returns its message id."""
        id_ = str(id_ or uuid.uuid4())
        self.channel.send_binary(wire.encode_message(type_, payload, id_, created_ms))
        return id_

    def send_job(self, document=None, parameters=None, command_id=None, document_name="AWS-RunShellScript",
                 node_id=None, **content_changes):
        """agent_job sendCommand; returns the Job."""
        command_id = command_id or str(uuid.uuid4())
        content = {"Parameters": parameters or {}, "DocumentContent": document or SHELL_DOCUMENT,
                   "CommandId": command_id, "DocumentName": document_name, "OutputS3BucketName": "",
                   "OutputS3KeyPrefix": "", "CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": "false"}
        content.update(content_changes)
        return self.send_content(f"aws.ssm.{command_id}.{node_id or next(iter(self.nodes))}",
                                 "aws.ssm.sendCommand", content)

    def send_content(self, job_id, topic, content):
        created_ms, message_id = int(self.clock() * 1000), str(uuid.uuid4())
        job = self.jobs.get(job_id) or Job(job_id, message_id, created_ms)
        job.message_id, job.created_ms = message_id, created_ms
        self.jobs[job_id] = job
        frame = wire.encode_message("agent_job", json.dumps({
            "Content": content if isinstance(content, str) else json.dumps(content), "JobId": job_id,
            "Topic": topic, "SchemaVersion": 1}), message_id, created_ms)
        job.sent_at, job.frame = time.perf_counter(), frame
        self.channel.send_binary(frame)
        return job

    def settle(self, job, timeout_s=60):
        """Delivers a job until it is acknowledged, as a plane must (protocol 2 §6), then waits for its end."""
        limit = time.monotonic() + timeout_s
        while not job.acks and not job.final() and time.monotonic() < limit:
            with self.changed:
                self.changed.wait_for(lambda: job.acks, 1)
                channel = self.channel
            if channel and not job.acks:
                try:
                    channel.send_binary(job.frame)
                except OSError:
                    pass
        return self.finished(job, max(1, limit - time.monotonic()))

    def cancel(self, job):
        """agent_job cancelCommand for a job; returns the cancel's own Job."""
        return self.send_content(f"aws.ssm.{uuid.uuid4()}.{job.job_id.rpartition('.')[2]}",
                                 "aws.ssm.cancelCommand", {"CancelMessageId": job.job_id})

    def shell(self, *lines, timeout_s=30, **parameters):
        """Runs lines with AWS-RunShellScript to the final reply; returns the Job."""
        job = self.send_job(parameters=dict({"commands": list(lines)}, **parameters))
        return self.finished(job, timeout_s)

    def finished(self, job, timeout_s=30):
        self.wait(job.final, timeout_s, f"final reply of {job.job_id}")
        return job


class Proxy:
    """A CONNECT proxy that wants a password and knows the addresses of made-up names: hosts[NAME] is another
    name, hosts["NAME:PORT"] an address with its port."""

    def __init__(self, user, password, hosts):
        self.hosts, self.connects, self.refused = hosts, [], 0
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {l.partition(":")[0].lower(): l.partition(":")[2].strip() for l in lines[1:] if l}
            if method != "CONNECT" or headers.get("proxy-authorization") != self.wanted:
                self.refused += 1
                sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                             b"Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = target.rpartition(":")
            self.connects.append(target)
            address = self.hosts.get(target) or (self.hosts.get(host, host), int(port))
            try:
                far = socket.create_connection(address, 10)
            except OSError as e:
                return sock.sendall(f"HTTP/1.1 502 {address}: {e}\r\nContent-Length: 0\r\n\r\n".encode())
            with far:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pair = {sock: far, far: sock}
                while True:
                    for s in select.select(list(pair), [], [], 180)[0]:
                        data = s.recv(65536)
                        if not data:
                            return
                        pair[s].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def close(self):
        self.listener.close()
