"""Sessions through our plane, between the reference peers: a client that does what the official plugin
does, and a node that does what the official agent does (protocol 3)."""
import json
import os
import re
import ssl
import subprocess
import threading
import time

import pytest

import awscli_server
import conftest
import flapi
import flsandbox
import refsession
import refsessionnode
import sessionwire as sw
import tcpecho
import wire

FAST = refsessionnode.Quirks(start_s=0.01)
SHELL = "SSM-SessionManagerRunShell"


class Place:
    """A plane, a node with sessions, and their users."""

    def __init__(self, plane, quirks=FAST):
        self.plane = plane
        self.node = refsessionnode.SessionNode(plane.endpoint, plane.ca_file, quirks=quirks)
        self.node.online(plane.activation())
        self.target = self.node.node_id
        self.clients, self.documents = [], []

    def document(self, name, **members):
        """A session document of the account, until the place closes."""
        self.call("CreateDocument", Name=name, DocumentType="Session",
                  Content=json.dumps(dict({"schemaVersion": "1.0", "sessionType": "Standard_Stream"}, **members)))
        self.documents.append(name)
        return name

    def api(self):
        p = self.plane
        return refsession.Api(p.endpoint, flsandbox.REGION, p.access_key, p.secret_key, ca_file=p.ca_file)

    def call(self, operation, **members):
        return self.plane.api.call(operation, **members)

    def start(self, document=None, client=True, **members):
        """A session, and a client connected to it unless `client` is false: (client or answer, agent)."""
        if document:
            members["DocumentName"] = document
        answer = self.call("StartSession", Target=self.target, **members)
        agent = self.node.session(answer["SessionId"])
        return (self.connect(answer) if client else answer), agent

    def connect(self, answer, **kw):
        c = refsession.Client(answer, self.target, self.api(), self.plane.ca_file, **kw)
        self.clients.append(c)
        return c.start()

    def row(self, session_id):
        for state in ("Active", "History"):
            found = self.call("DescribeSessions", State=state,
                              Filters=[{"key": "SessionId", "value": session_id}])["Sessions"]
            if found:
                return dict(found[0], State=state)
        return None

    def until(self, session_id, status, timeout_s=30):
        return flsandbox.wait_for(
            f"{session_id} to be {status}",
            lambda: (r := self.row(session_id)) and r["Status"] == status and r, timeout_s)

    def audit(self, operation, session_id):
        lines = (self.plane.data / "audit/audit.log").read_text().splitlines()
        return [a for a in map(json.loads, lines)
                if a.get("operation") == operation and session_id in json.dumps(a)]

    def close(self):
        for c in self.clients:
            c.leave()
        for name in self.documents:
            self.call("DeleteDocument", Name=name)
        self.node.close()


@pytest.fixture
def place(box):
    p = Place(box.plane)
    yield p
    p.close()


@pytest.fixture
def own_place(new_box):
    made = []

    def make(**conf):
        made.append(Place(new_box(nodes=0, conf=conf).plane))
        return made[-1]

    yield make
    for p in made:
        p.close()


def refused(call, name):
    with pytest.raises(Exception) as e:
        call()
    assert getattr(e.value, "code", "") == name, e.value
    return str(e.value)


# ---- sessions of every type ----------------------------------------------------------------------

def test_shell(place):
    client, agent = place.start(Reason="to see")
    client.wait_ready()
    client.send(b"echo $((40+2))\r")
    client.wait_output(b"42")
    row = place.until(client.session_id, "Connected")
    assert row["State"] == "Active" and row["Target"] == place.target and row["Reason"] == "to see"
    assert row["DocumentName"] == SHELL and row["AccessType"] == "Standard" and "EndDate" not in row
    client.send(b"exit\r")
    assert client.wait_end() == "closed"
    agent.wait_end()
    row = place.until(client.session_id, "Terminated")
    assert row["State"] == "History" and row["EndDate"] >= row["StartDate"] and "Details" not in row
    assert client.violations == [] and agent.violations == [] and place.node.unacknowledged == []


@pytest.mark.parametrize("document, members, want", [
    ("AWS-StartInteractiveCommand", {"command": ["echo in $((1+2))"]}, b"in 3"),
    ("AWS-StartNonInteractiveCommand", {"command": ["echo non"]}, b"non"),
    ("AWS-StartNonInteractiveCommand", {"command": ["echo sep"], "separateOutputStream": ["true"]}, b"EXIT_CODE: 0"),
    ("AWS-StartNonInteractiveCommand", {"command": ["echo sep"], "separateOutputStream": ["True"]}, b"EXIT_CODE: 0"),
])
def test_commands(place, document, members, want):
    client, agent = place.start(document, Parameters=members)
    assert client.wait_end() == "closed"
    assert want in client.output, client
    place.until(client.session_id, "Terminated")
    assert client.violations == [] and agent.violations == []


def test_port(place, echo):
    client, agent = place.start("AWS-StartPortForwardingSession",
                                Parameters={"portNumber": [str(echo)], "localPortNumber": ["0"]})
    client.wait(lambda: client.port, what="a port to connect to")
    data = os.urandom(100_000)
    assert tcpecho.through(client.port.address, data) == data
    client.interrupt()
    agent.wait_end()
    assert place.until(client.session_id, "Terminated")
    assert client.violations == [] and agent.violations == []


@pytest.mark.parametrize("first", ["complete", "ack"])
def test_port_with_the_race_of_the_handshake(box, first, echo):
    """HandshakeComplete overtakes the ack of HandshakeResponse: the plugin then never reads again, unless
    the relay puts them in order (rule 6)."""
    p = Place(box.plane, refsessionnode.Quirks(start_s=0.01, complete_first=first == "complete"))
    try:
        client, _ = p.start("AWS-StartPortForwardingSession", Parameters={"portNumber": [str(echo)]})
        client.wait(lambda: client.port or client.deaf, what="a port to connect to")
        assert not client.deaf
        assert tcpecho.through(client.port.address, b"x" * 5000) == b"x" * 5000
    finally:
        p.close()


@pytest.mark.parametrize("quirk", [{"require_ack": True}, {"late_insert_s": 0.05}])
def test_agents_with_their_faults(box, quirk):
    """Old agents wait for data_channel_ready; a fast ack finds nothing and the message is sent again, which the
    plugin does not answer (rule 4)."""
    p = Place(box.plane, refsessionnode.Quirks(start_s=0.01, **quirk))
    try:
        client, agent = p.start()
        client.wait_ready()
        for i in range(5):
            client.send(b"echo $((%d+1))-said\r" % i)
            client.wait_output(b"%d-said" % (i + 1))
        assert agent.stream.settled(20)
        client.send(b"exit\r")
        assert client.wait_end() == "closed"
        agent.wait_end()
        assert client.violations == [] and agent.violations == []
    finally:
        p.close()


def test_encrypted(place):
    """With a key of the plane's kms subset: what passes the relay is sealed."""
    key_id = place.api().call("kms", "TrentService.CreateKey", {"Description": "sessions"})["KeyMetadata"]["KeyId"]
    client, agent = place.start(place.document("Session-Sealed", inputs={"kmsKeyId": key_id}))
    client.wait_ready()
    client.send(b"echo sea''led\r")
    client.wait_output(b"sealed")
    assert client.seal and agent.seal
    assert client.violations == [] and agent.violations == []


# ---- who may come ---------------------------------------------------------------------------------

def dial(place, session_id, headers=(), path=None):
    url = f"wss://127.0.0.1:{place.plane.port}" + (path or f"/v1/data-channel/{session_id}?role=publish_subscribe")
    return sw.dial_ws(url, context=ssl.create_default_context(cafile=str(place.plane.ca_file)))


def first_frame(token, **more):
    return sw.compact({"MessageSchemaVersion": "1.0", "RequestId": sw.new_id(), "TokenValue": token,
                       "ClientId": sw.new_id(), "ClientVersion": "1.2.677.0", **more})


def closed_with(ws, timeout_s=30):
    """The code that the plane closes with, whatever it says before."""
    until = time.monotonic() + timeout_s
    with pytest.raises(wire.WsClosed) as e:
        while time.monotonic() < until:
            ws.recv(timeout_s=timeout_s)
    return e.value.code


def test_tokens_are_for_one_side_once(place):
    answer, agent = place.start(client=False)
    sid, token = answer["SessionId"], answer["TokenValue"]
    agent.wait(lambda: agent.link.ws, what="the agent's channel")
    assert len(token) <= 300
    # no token, a wrong one, a token cut short, that of another session, the agent's
    other, _ = place.start(client=False)
    for bad in ("", "x", token[:-4], other["TokenValue"], place.node.create(sid)):
        ws = dial(place, sid)
        ws.send_text(first_frame(bad))
        assert closed_with(ws) == 1008, bad
    # a client's token on a connection that a node has signed
    ws = place.node.dial_data(sid)
    ws.send_text(first_frame(token))
    assert closed_with(ws) == 1008
    # the right one, then once more
    ws = dial(place, sid)
    ws.send_text(first_frame(token))
    place.until(sid, "Connected")
    again = dial(place, sid)
    again.send_text(first_frame(token))
    assert closed_with(again) == 1008
    ws.abort()
    refusals = flsandbox.wait_for("audit lines", lambda: (
        found := [a for a in place.audit("ssmmessages:OpenDataChannel", sid) if a["status"] == 403]) and
        len(found) >= 7 and found)
    assert all(a["error"] in ("AccessDeniedException", "BadRequest") for a in refusals)
    assert any(a["status"] == 101 and "user" in a.get("caller", "")
               for a in place.audit("ssmmessages:OpenDataChannel", sid))


def test_another_node_gets_no_channel(place, box):
    answer, _ = place.start(client=False)
    thief = refsessionnode.SessionNode(box.plane.endpoint, box.plane.ca_file)
    thief.online(box.plane.activation())
    try:
        with pytest.raises(refsessionnode.Refused) as e:
            thief.create(answer["SessionId"])
        assert "no such session" in str(e.value)
        # with the owner's token, on a connection of its own
        ws = thief.dial_data(answer["SessionId"])
        ws.send_text(sw.compact({"MessageSchemaVersion": "1.0", "RequestId": sw.new_id(), "ClientId": "",
                                 "TokenValue": place.node.create(answer["SessionId"]),
                                 "ClientInstanceId": thief.node_id}))
        assert closed_with(ws) == 1008
    finally:
        thief.close()


@pytest.mark.parametrize("first", ["binary", "text", "oversize", "not json", "other"])
def test_frames_before_the_token(place, first):
    answer, _ = place.start(client=False)
    ws = dial(place, answer["SessionId"])
    if first == "binary":
        ws.send_binary(wire.encode_message("input_stream_data", b"rm -rf\r", sw.new_id(), ptype=1))
    elif first == "oversize":
        ws.send_text(first_frame(answer["TokenValue"], Padding="x" * 5000))
    elif first == "not json":
        ws.send_text("{" + answer["TokenValue"])
    elif first == "other":
        ws.send_text(sw.compact({"TokenValue": {"a": 1}}))
    else:
        ws.send_text("hello")
    assert closed_with(ws) in (1008, 1009)
    client = place.connect(answer)  # the token is not used up
    client.wait_ready()


@pytest.mark.parametrize("path", [
    "/v1/data-channel/", "/v1/data-channel/../control-channel/x", "/v1/data-channel/a/b", "/v1/data-channel/%2e%2e",
    "/v1/data-channel/a%2fb", "/v1/data-channel/a%00b", "/v1/data-channel/" + "a" * 97, "/v1/data-channel/.hidden",
])
def test_paths(place, path):
    with pytest.raises(Exception) as e:
        dial(place, None, path=path + "?role=publish_subscribe")
    assert "404" in str(e.value) or "403" in str(e.value), e.value


def test_clients_that_only_connect_are_closed(own_place):
    place = own_place(MaxUnauthenticated=8, MaxUnauthenticatedPerAddress=8)
    held = [dial(place, "nobody-0123456789abcdefg") for _ in range(6)]
    client, _ = place.start()  # others get through
    client.wait_ready()
    assert {closed_with(ws) for ws in held} <= {1008, None, 1006}


# ---- coming back ---------------------------------------------------------------------------------

def test_client_comes_back(place):
    client, agent = place.start()
    client.wait_ready()
    client.send(b"echo bef''ore\r")
    client.wait_output(b"before")
    client.drop()
    client.wait(lambda: client.resumes == 1, what="resume")
    client.send(b"echo af''ter\r")
    client.wait_output(b"after")
    place.until(client.session_id, "Connected")
    assert client.violations == [] and agent.violations == []


def test_client_that_is_away_misses_nothing(place):
    client, agent = place.start()
    client.wait_ready()
    client.send(b"for i in $(seq 2000); do echo line-$i; [ $i = 3 ] && sleep 1; done; echo fin''ished\r")
    client.wait_output(b"line-3\r\n")
    client.drop()
    client.wait_output(b"finished", 60)
    lines = [l for l in bytes(client.output).replace(b"\r", b"").split(b"\n") if l.startswith(b"line-")]
    assert lines == [b"line-%d" % i for i in range(1, 2001)]
    assert client.resumes == 1


def test_disconnected_is_seen(place):
    client, agent = place.start()
    client.wait_ready()
    place.until(client.session_id, "Connected")
    client.leave()
    place.until(client.session_id, "Disconnected")
    answer = place.call("ResumeSession", SessionId=client.session_id)
    again = place.connect(answer)
    place.until(client.session_id, "Connected")
    again.leave()


def test_a_client_that_comes_back_at_the_end(place):
    """It is told that the session ends, and not that it has no more of it."""
    client, agent = place.start()
    client.wait_ready()
    client.leave()
    place.until(client.session_id, "Disconnected")
    agent.tell_state("Terminating")
    place.until(client.session_id, "Terminating")
    again = place.connect(place.call("ResumeSession", SessionId=client.session_id))
    assert again.wait_end() == "closed"
    agent.handler.kill()
    place.until(client.session_id, "Terminated")
    assert place.call("ResumeSession", SessionId=client.session_id) == {"SessionId": client.session_id}


def test_agent_comes_back(place):
    client, agent = place.start()
    client.wait_ready()
    agent.drop()
    agent.wait(lambda: agent.reconnects >= 1, what="reconnect")
    client.send(b"echo st''ill\r")
    client.wait_output(b"still")
    assert client.violations == [] and agent.violations == []


def test_plane_restarts_in_mid_session(own_place):
    place = own_place()
    client, agent = place.start()
    client.wait_ready()
    client.send(b"echo bef''ore\r")
    client.wait_output(b"before")
    place.plane.kill()
    place.plane.start()
    agent.wait(lambda: agent.reconnects >= 1, 60, "reconnect")
    client.wait(lambda: client.resumes >= 1 or client.ended, 60, "resume")
    assert not client.ended, client
    client.send(b"echo af''ter\r")
    client.wait_output(b"after", 60)
    place.until(client.session_id, "Connected")


# ---- ends -----------------------------------------------------------------------------------------

def test_terminate(place):
    client, agent = place.start()
    client.wait_ready()
    assert place.call("TerminateSession", SessionId=client.session_id) == {"SessionId": client.session_id}
    assert client.wait_end() == "closed"
    assert "terminated by" in client.closed["Output"]
    agent.wait_end()
    row = place.until(client.session_id, "Terminated")
    assert "terminated by" in row["Details"]
    flsandbox.wait_for("audit", lambda: place.audit("fairlead:SessionEnded", client.session_id))
    # idempotent; resuming gives no token; the agent is told that it is over
    place.call("TerminateSession", SessionId=client.session_id)
    assert place.call("ResumeSession", SessionId=client.session_id) == {"SessionId": client.session_id}
    with pytest.raises(refsessionnode.Refused) as e:
        place.node.create(client.session_id)
    assert "Session is already terminated" in str(e.value)


def test_terminate_without_a_data_channel(place):
    """The agent has only its control channel: it is told there, whether or not the plane has seen the loss."""
    answer, agent = place.start(client=False)
    agent.wait(lambda: agent.link.ws, what="the agent's channel")
    create = place.node.create

    def fail(session_id):
        raise OSError("no network")

    place.node.create = fail
    try:
        agent.drop()
        place.call("TerminateSession", SessionId=answer["SessionId"])
        agent.wait_end()
    finally:
        place.node.create = create
    place.until(answer["SessionId"], "Terminated")


def test_what_the_node_has_missed(place):
    """Beginnings and ends that were not heard are told again on the node's next control channel."""
    node, control = place.node, place.node.on_other
    node.on_other = lambda message: None
    sid = place.call("StartSession", Target=place.target)["SessionId"]
    node.channel.abort()
    node.on_other = control
    node.open()
    agent = node.session(sid)
    agent.wait(lambda: agent.link.ws, what="the agent's channel")
    create, node.create = node.create, lambda session_id: (_ for _ in ()).throw(OSError("no network"))
    node.on_other = lambda message: None
    try:
        agent.drop()
        place.call("TerminateSession", SessionId=sid)
        node.channel.abort()
        node.on_other = control
        node.open()
        agent.wait_end()
    finally:
        node.create = create
    place.until(sid, "Terminated")


def test_a_late_client_gets_what_was_said(place):
    answer, agent = place.start("AWS-StartInteractiveCommand", client=False,
                                Parameters={"command": ["echo early bird"]})
    agent.wait_end()
    place.until(answer["SessionId"], "Terminated")
    client = place.connect(answer)
    assert client.wait_end() == "closed"
    assert b"early bird" in client.output


def test_failure_of_the_agent(place):
    client, agent = place.start(place.document(
        "Session-Failing", sessionType="InteractiveCommands", properties={"linux": {"commands": "id"}},
        inputs={"runAsEnabled": True, "runAsDefaultUser": "nobody-has-this-name"}))
    assert client.wait_end() == "closed"
    if agent.status == "Failed":
        row = place.until(client.session_id, "Failed")
        assert row["Details"] == client.closed["Output"] != ""


def test_deregistered_node(place):
    client, agent = place.start()
    client.wait_ready()
    place.call("DeregisterManagedInstance", InstanceId=place.target)
    assert client.wait_end() == "closed"
    assert "deregistered" in place.until(client.session_id, "Terminated")["Details"]


# ---- the API ---------------------------------------------------------------------------------------

def test_documents_and_parameters(place):
    start = lambda **kw: place.call("StartSession", Target=place.target, **kw)  # noqa: E731
    refused(lambda: start(DocumentName="Nowhere"), "InvalidDocument")
    refused(lambda: start(DocumentName="AWS-RunShellScript"), "InvalidDocument")
    for bad in ({"portNumber": ["0"]}, {"portNumber": ["65536"]}, {"nope": ["1"]}, {"portNumber": ["1", "2"]}):
        refused(lambda: start(DocumentName="AWS-StartPortForwardingSession", Parameters=bad), "ValidationException")
    refused(lambda: start(DocumentName="AWS-StartInteractiveCommand"), "ValidationException")
    refused(lambda: start(Parameters={"x": ["y"]}), "ValidationException")
    refused(lambda: place.call("StartSession", Target="mi-00000000000000000"), "TargetNotConnected")
    refused(lambda: place.call("ResumeSession", SessionId="nobody-0123456789abcdefg"), "DoesNotExistException")
    assert place.call("TerminateSession", SessionId="nobody-0") == {"SessionId": "nobody-0"}
    answer, agent = place.start("AWS-StartPortForwardingSession", client=False, Parameters={})
    assert agent.content["Parameters"] == {} and agent.type == "Port"
    answer, agent = place.start("AWS-StartPortForwardingSessionToSocket", client=False,
                                Parameters={"portNumber": ["1"], "localUnixSocket": ["/tmp/x"]})
    assert agent.content["Parameters"] == {"portNumber": "1", "localUnixSocket": "/tmp/x"}
    assert agent.content["SessionOwner"].endswith(":user/admin")
    assert agent.content["Fairlead"] == {"MaxPayload": 65536, "EndOfInput": True}


def test_preferences_are_merged(own_place):
    place = own_place()
    inputs = {"s3BucketName": "transcripts", "runAsEnabled": True, "runAsDefaultUser": "op",
              "idleSessionTimeout": "7", "maxSessionDuration": "90"}
    place.document(SHELL, inputs=inputs)
    answer, agent = place.start("AWS-StartInteractiveCommand", client=False, Parameters={"command": ["true"]})
    assert agent.content["DocumentContent"]["inputs"] == inputs
    assert place.row(answer["SessionId"])["MaxSessionDuration"] == "90"
    own = {"runAsEnabled": False, "maxSessionDuration": "5"}
    answer, agent = place.start(place.document("Mine", inputs=own), client=False)
    assert agent.content["DocumentContent"]["inputs"] == dict(inputs, **own)
    assert place.row(answer["SessionId"])["MaxSessionDuration"] == "5"


def test_who_takes_the_transcript_away(own_place):
    """What the plane does, our agents leave to it."""
    place = own_place(OutputBucketsElsewhere=True)
    flags = lambda: {k: v for k, v in place.start(client=False)[1].content["Fairlead"].items()  # noqa: E731
                     if k.startswith("Keeps")}
    assert flags() == {}
    place.document(SHELL, inputs={"s3BucketName": "elsewhere", "cloudWatchLogGroupName": "ours"})
    assert flags() == {}
    conftest.client(place.plane, "logs").create_log_group(logGroupName="ours")
    assert flags() == {"KeepsGroup": True}


@pytest.mark.parametrize("conf, inputs, kept", [
    ({}, {}, {"KeepsBucket": True, "KeepsGroup": True}),
    ({}, {"kmsKeyId": "k"}, {}),
    ({}, {"kmsKeyId": "{{ key }}"}, {"KeepsBucket": True, "KeepsGroup": True}),
    ({}, {"s3BucketName": "{{ssm:bucket}}"}, {"KeepsGroup": True}),
    ({"Transcripts": "off"}, {}, {}),
], ids=["plain", "encrypted", "by-parameter", "parameter-store", "off"])
def test_what_the_plane_cannot_read_the_node_takes_away(own_place, conf, inputs, kept):
    place = own_place(**conf)
    document = place.document("Mine", parameters={"key": {"type": "String", "default": ""}}, inputs={
        "s3BucketName": "ours", "cloudWatchLogGroupName": "ours", **inputs})
    flags = place.start(document, client=False)[1].content["Fairlead"]
    assert {k: v for k, v in flags.items() if k.startswith("Keeps")} == kept
    if inputs.get("kmsKeyId", "").startswith("{"):
        flags = place.start(document, client=False, Parameters={"key": ["k"]})[1].content["Fairlead"]
        assert not any(k.startswith("Keeps") for k in flags)


def test_passwords_are_typed_into_encrypted_sessions_only(own_place):
    place = own_place()
    start = lambda: place.start("AWS-PasswordReset", client=False, Parameters={"username": ["op"]})  # noqa: E731
    assert "KMS" in refused(start, "ValidationException")
    key = conftest.client(place.plane, "kms").create_key()["KeyMetadata"]["KeyId"]
    place.document(SHELL, inputs={"kmsKeyId": key})
    assert start()[1].content["DocumentContent"]["inputs"] == {"kmsKeyId": key}


def test_limits(own_place):
    place = own_place(SessionsMaxPerNode=2)
    first, _ = place.start(client=False)
    place.start(client=False)
    text = refused(lambda: place.call("StartSession", Target=place.target), "ServiceQuotaExceededException")
    assert "node" in text
    place.call("TerminateSession", SessionId=first["SessionId"])
    place.until(first["SessionId"], "Terminated")
    place.start(client=False)


def test_describe(place):
    answers = [place.start(client=False)[0]["SessionId"] for _ in range(3)]
    mine = [{"key": "Target", "value": place.target}]
    listed = place.call("DescribeSessions", State="Active", Filters=mine)["Sessions"]
    assert [s["SessionId"] for s in listed] == answers[::-1]
    seen, token = [], {}
    while True:
        page = place.call("DescribeSessions", State="Active", MaxResults=1, Filters=mine, **token)
        seen += [s["SessionId"] for s in page["Sessions"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert seen == answers[::-1]
    owner = listed[0]["Owner"]
    for key, value, n in (("Owner", owner, 3), ("Owner", "arn:aws:iam::1:user/x", 0), ("Status", "Terminated", 0),
                          ("InvokedAfter", "2000-01-01T00:00:00Z", 3), ("InvokedBefore", "2000-01-01T00:00:00Z", 0),
                          ("AccessType", "Standard", 3), ("AccessType", "JustInTime", 0)):
        got = place.call("DescribeSessions", State="Active", Filters=mine + [{"key": key, "value": value}])
        assert len(got["Sessions"]) == n, (key, value)
    refused(lambda: place.call("DescribeSessions", State="Active", NextToken="x"), "InvalidNextToken")
    refused(lambda: place.call("DescribeSessions", State="Active", Filters=[{"key": "Status", "value": "Odd"}]),
            "ValidationException")


def test_metrics_and_audit(place):
    client, _ = place.start()
    client.wait_ready()
    text = place.plane.api.get("/metrics")[1]
    numbers = dict(l.rsplit(" ", 1) for l in text.splitlines() if not l.startswith("#"))
    assert float(numbers["fairlead_sessions_relayed"]) >= 1
    assert float(numbers["fairlead_data_channel_opens_total"]) >= 2
    assert float(numbers["fairlead_session_messages_total"]) >= 1
    opened = flsandbox.wait_for("audit", lambda: len(place.audit("ssmmessages:OpenDataChannel",
                                                                 client.session_id)) >= 2)
    assert opened


# ---- what each may do -------------------------------------------------------------------------------

def new_user(plane, name, statements):
    """The API as a user of its own."""
    def admin(*args, text=None):
        done = subprocess.run([str(plane.build / "fairlead-server"), "admin", *args, "--data", str(plane.data)],
                              input=text, capture_output=True, text=True, timeout=30, env=plane.base_env())
        assert done.returncode == 0, (args, done)
        return done.stdout

    admin("policy", "put", f"{name}-policy", "-",
          text=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    admin("user", "add", name, "--policy", f"{name}-policy")
    key = json.loads(admin("key", "create", name, "--json"))
    return flapi.Api(plane.endpoint, str(plane.ca_file), key["AccessKeyId"], key["SecretAccessKey"],
                     flsandbox.REGION)


def test_policies(own_place):
    place = own_place()
    arn = f"arn:aws:ssm:*:*:managed-instance/{place.target}"
    statements = [
        {"Effect": "Allow", "Action": "ssm:StartSession",
         "Resource": [arn, "arn:aws:ssm:*::document/AWS-StartSSHSession"],
         "Condition": {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}},
        {"Effect": "Allow", "Action": ["ssm:TerminateSession", "ssm:ResumeSession"],
         "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*"},
    ]
    ann = new_user(place.plane, "ann-s", statements)
    bob = new_user(place.plane, "bob-s", statements)
    refused(lambda: ann.call("StartSession", Target=place.target), "AccessDeniedException")
    refused(lambda: ann.call("StartSession", Target=place.target, DocumentName="AWS-StartPortForwardingSession"),
            "AccessDeniedException")
    answer = ann.call("StartSession", Target=place.target, DocumentName="AWS-StartSSHSession")
    assert answer["SessionId"].startswith("ann-s-")
    refused(lambda: bob.call("TerminateSession", SessionId=answer["SessionId"]), "AccessDeniedException")
    refused(lambda: bob.call("ResumeSession", SessionId=answer["SessionId"]), "AccessDeniedException")
    assert ann.call("ResumeSession", SessionId=answer["SessionId"])["TokenValue"]
    assert ann.call("TerminateSession", SessionId=answer["SessionId"])


# ---- rows 49-52 of the acceptance list: the stock AWS CLI, with the reference client as its plugin --------

class Cli:
    """`aws ssm start-session …` in a pipe that stays open."""

    def __init__(self, aws, folder, *args):
        env = dict(aws.box.env(), SSL_CERT_FILE=str(aws.box.plane.ca_file))
        env["PATH"] = f"{refsession.install(folder)}:{env['PATH']}"
        self.child = subprocess.Popen(
            [awscli_server.PROGRAM, "--endpoint-url", aws.box.plane.endpoint, "ssm", "start-session", *args],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.out = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := os.read(self.child.stdout.fileno(), 65536):
            self.out += data

    def see(self, pattern, timeout_s=60):
        """The first group of what matches."""
        return flsandbox.wait_for(f"{pattern!r} in {bytes(self.out)!r}",
                                  lambda: re.search(pattern, self.out), timeout_s)[1].decode()

    def type(self, text):
        self.child.stdin.write(text)
        self.child.stdin.flush()

    def end(self):
        return self.child.wait(60)


SID = rb"Starting session with SessionId: (\S+)"


def test_row_49_start_session(place, aws, tmp_path):
    cli = Cli(aws, tmp_path / "bin", "--target", place.target)
    session_id = cli.see(SID)
    cli.type(b"echo $((6*7))-seen\n")
    cli.see(rb"(42-seen)")
    cli.type(b"exit\n")
    assert cli.end() == 0, cli.out
    place.until(session_id, "Terminated")
    listed = aws.ok("describe-sessions", "--state", "History", "--filters", f"key=SessionId,value={session_id}")
    assert [s["Status"] for s in listed["Sessions"]] == ["Terminated"]


def test_row_50_target_not_connected(place, aws):
    off = refsessionnode.SessionNode(place.plane.endpoint, place.plane.ca_file)
    off.register(place.plane.activation())
    aws.fails("TargetNotConnected", "start-session", "--target", off.node_id)


def test_row_51_port_forwarding(place, aws, tmp_path, echo):
    local = flsandbox.free_port()
    cli = Cli(aws, tmp_path / "bin", "--target", place.target, "--document-name",
              "AWS-StartPortForwardingSession", "--parameters",
              f"portNumber={echo},localPortNumber={local}")
    session_id = cli.see(SID)
    cli.see(rb"(Waiting for connections)")
    assert tcpecho.through(("127.0.0.1", local), b"over the session") == b"over the session"
    aws.ok("terminate-session", "--session-id", session_id)
    assert cli.end() == 0


def test_row_52_terminate_session(place, aws, tmp_path):
    cli = Cli(aws, tmp_path / "bin", "--target", place.target)
    session_id = cli.see(SID)
    place.until(session_id, "Connected")
    assert aws.ok("terminate-session", "--session-id", session_id) == {"SessionId": session_id}
    assert cli.end() == 0
    assert b"terminated by" in cli.out
    place.until(session_id, "Terminated")


def test_without_the_plugin_the_session_is_terminated(place, aws):
    done = aws("ssm", "start-session", "--target", place.target, PATH="/nowhere")
    assert done.code == 255, done
    flsandbox.wait_for("the end", lambda: place.call(
        "DescribeSessions", State="History", Filters=[{"key": "Target", "value": place.target}])["Sessions"])


# ---- many -------------------------------------------------------------------------------------------

def test_many_at_once(own_place):
    """Thirty sessions of one node, all of which say something and end."""
    place = own_place()
    started = [place.start() for _ in range(30)]
    for client, _ in started:
        client.wait_ready()
        client.send(b"echo it-is-''me; exit\r")
    for client, _ in started:
        assert client.wait_end(60) == "closed"
        assert b"it-is-me" in client.output
    for client, _ in started:
        place.until(client.session_id, "Terminated")
