"""Bad input gets an error that names the thing, and everything goes on afterwards."""
import datetime
import json
import socket
import ssl
import subprocess
import time
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

import flapi
import flsandbox
import refnode
import refplane
import wire

BODY_LIMIT = 2 << 20


# ---- the public API ------------------------------------------------------------------------------

def post(plane, body, target="AmazonSSM.ListCommands", headers=None, sign=True, now=None, secret=None, key=None):
    """A signed POST, byte for byte; (status, decoded JSON or None, headers)."""
    api = flapi.Api(plane.endpoint, str(plane.ca_file), key or plane.access_key, secret or plane.secret_key)
    h = {"content-type": "application/x-amz-json-1.1", "host": api.netloc, "x-amz-target": target}
    if target is None:
        del h["x-amz-target"]
    if sign:
        api.sign(h, body, "ssm", now)
    h.update(headers or {})
    status, answer_headers, text = api.raw(body, h)
    try:
        return status, json.loads(text), answer_headers
    except ValueError:
        return status, None, answer_headers


def expect_error(got, status, name):
    assert got[0] == status and got[1] is not None, got
    assert got[1]["__type"].rpartition("#")[2] == name, got
    assert got[1].get("message") or got[1].get("Message"), got
    assert "json" in got[2]["content-type"]
    return got[1].get("message") or got[1].get("Message")


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\"x\"", b"{\"MaxResults\":\"5\"}", b"\xff\xfe", b"{}x",
                                  b"{\"a\":" * 500, b"{\"MaxResults\":5"])
def test_malformed_json(box, body):
    expect_error(post(box.plane, body), 400, "SerializationException")


def test_unknown_members_and_nulls_are_ignored(box):
    status, answer, _ = post(box.plane, b'{"Nope":[1,{"x":null}],"MaxResults":null}')
    assert status == 200 and "Commands" in answer


@pytest.mark.parametrize("target", ["AmazonSSM.NoSuchOperation", "AmazonSSM.", "Nope.ListCommands",
                                    "AmazonSSM.GetResourcePolicies"])
def test_unknown_operation(box, target):
    expect_error(post(box.plane, b"{}", target=target), 400, "UnknownOperationException")


@pytest.mark.parametrize("command", [("iam", "list-users"), ("sns", "list-topics"), ("sts", "get-access-key-info",
                                                                                    "--access-key-id", "AKIA" + "X" * 16),
                                     ("cloudwatch", "put-metric-data", "--namespace", "a", "--metric-name", "b",
                                      "--value", "1")])
def test_query_services_that_are_not_here(aws, command):
    """Clients that send forms read XML and nothing else."""
    got = aws(*command)
    assert got.code == 254 and "(InvalidAction)" in got.err, got


def test_oversized_body(box):
    body = json.dumps({"Pad": "x" * (BODY_LIMIT + 1000)}).encode()
    try:
        got = post(box.plane, body)
    except (ssl.SSLError, ConnectionError) as e:
        pytest.fail(f"no answer before the connection ended: {e}")
    assert got[0] == 413 and got[1] is not None and got[1]["__type"], got
    assert got[1]["Message"] == got[1]["message"] and uuid.UUID(got[2]["x-amzn-requestid"])
    assert post(box.plane, b"{}")[0] == 200


def test_body_under_the_limit_is_read_whole(box):
    assert post(box.plane, json.dumps({"Pad": "x" * (BODY_LIMIT - 10000)}).encode())[0] == 200


def test_oversized_chunked_body(box):
    """Without a length in front, the limit must hold while the body arrives."""
    plane = box.plane
    sock = wire.tls_connect(plane.host, plane.port, plane.ca_file)
    sock.sendall((f"POST / HTTP/1.1\r\nHost: {plane.host}:{plane.port}\r\nTransfer-Encoding: chunked\r\n"
                  "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonSSM.ListCommands\r\n\r\n").encode())
    sent = 0
    try:
        while sent < 100 * BODY_LIMIT:
            sock.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
    except (ssl.SSLError, OSError):
        pass
    assert sent < 100 * BODY_LIMIT, "a chunked body without end was taken"
    assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")
    sock.close()
    assert post(plane, b"{}")[0] == 200


def test_expect_100_continue_is_answered(box):
    plane = box.plane
    sock = wire.tls_connect(plane.host, plane.port, plane.ca_file)
    sock.sendall((f"POST / HTTP/1.1\r\nHost: {plane.host}:{plane.port}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
                  "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonSSM.ListCommands\r\n\r\n").encode())
    sock.settimeout(5)
    assert sock.recv(1000).startswith(b"HTTP/1.1 100")
    sock.sendall(b"{}")
    assert b"400" in sock.recv(1000).split(b"\r\n")[0]
    sock.close()


def test_missing_and_malformed_authorization(box):
    expect_error(post(box.plane, b"{}", sign=False), 400, "MissingAuthenticationTokenException")
    expect_error(post(box.plane, b"{}", headers={"authorization": "AWS4-HMAC-SHA256 nonsense"}), 400,
                 "IncompleteSignatureException")


def test_bad_signature(box):
    expect_error(post(box.plane, b"{}", secret="x" * 40), 400, "InvalidSignatureException")
    expect_error(post(box.plane, b"{}", key="AKIA0000000000000000"), 400, "UnrecognizedClientException")
    # A signed body that was changed on its way.
    expect_error(post(box.plane, b"{}", headers={"x-amz-date": "20260102T030405Z"}), 400, "InvalidSignatureException")


@pytest.mark.parametrize("minutes, good", [(-14, True), (14, True), (-16, False), (16, False)])
def test_clock_skew(box, minutes, good):
    """Signed by botocore with a forged date, on both sides of the window."""
    plane = box.plane
    when = datetime.datetime.utcnow() + datetime.timedelta(minutes=minutes)
    request = botocore.awsrequest.AWSRequest("POST", plane.endpoint + "/", data=b"{}", headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.ListCommands"})
    auth = botocore.auth.SigV4Auth(botocore.credentials.Credentials(plane.access_key, plane.secret_key), "ssm",
                                   flsandbox.REGION)
    request.context["timestamp"] = when.strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    auth._inject_signature_to_request(request, auth.signature(auth.string_to_sign(request, canonical), request))
    headers = {k.lower(): v for k, v in request.headers.items()}
    headers.setdefault("host", f"{plane.host}:{plane.port}")
    status, _, text = plane.api.raw(b"{}", headers)
    if good:
        assert status == 200, text
    else:
        got = json.loads(text)
        assert status == 400 and got["__type"] == "InvalidSignatureException", text
        stamp = when.strftime("%Y%m%dT%H%M%SZ")
        message = got.get("message") or got.get("Message")
        assert ("Signature expired" if minutes < 0 else "Signature not yet current") in message and stamp in message


def test_answers_carry_date_and_request_id(box):
    for target in ("AmazonSSM.ListCommands", "AmazonSSM.Nope"):
        _, _, headers = post(box.plane, b"{}", target=target)
        assert uuid.UUID(headers["x-amzn-requestid"]) and headers["date"]


def test_unknown_paths_are_json_errors(box):
    for path in ("/nope", "/v1/control-channel/", "/v1/control-channel/mi-00000000000000000"):
        status, text = box.plane.api.get(path)
        assert 400 <= status < 500, (path, status)


def test_garbage_instead_of_tls_and_http(box):
    plane = box.plane
    for junk in (b"\x00" * 1000, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 20):
        with socket.create_connection((plane.host, plane.port)) as s:
            s.sendall(junk)
            s.settimeout(2)
            try:
                s.recv(100)
            except OSError:
                pass
    for junk in (b"\x00" * 1000, b"NOPE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 200000,
                 b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                 b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"):
        sock = wire.tls_connect(plane.host, plane.port, plane.ca_file)
        sock.settimeout(2)
        try:
            sock.sendall(junk)
            sock.recv(1000)
        except OSError:
            pass
        sock.close()
    assert post(plane, b"{}")[0] == 200


# ---- registration --------------------------------------------------------------------------------

def test_wrong_code(box, new_node):
    node = new_node(online=False)
    activation = box.plane.activation()
    for changed in ({"ActivationCode": "x" * 20}, {"ActivationId": str(uuid.uuid4())}):
        with pytest.raises(refnode.NodeError) as e:
            node.register(dict(activation, **changed))
        assert (e.value.status, e.value.code) == (400, "InvalidActivation")
    node.register(activation)


def test_registration_limit_and_repetition(box, new_node):
    activation = box.plane.activation(limit=1)
    node = new_node(online=False)
    first = node.register(activation)
    assert node.register(activation) == first, "the same key again is the same registration"
    with pytest.raises(refnode.NodeError) as e:
        new_node(online=False).register(activation)
    assert e.value.code == "RegistrationLimitExceeded"


def test_expired_activation(box, new_node):
    soon = time.time() + 2
    activation = box.plane.activation(ExpirationDate=soon)
    time.sleep(max(0, soon - time.time()) + 0.3)
    with pytest.raises(refnode.NodeError) as e:
        new_node(online=False).register(activation)
    assert (e.value.status, e.value.code) == (400, "ActivationExpired")
    listed = box.plane.api.call("DescribeActivations", Filters=[
        {"FilterKey": "ActivationIds", "FilterValues": [activation["ActivationId"]]}])
    assert listed["ActivationList"][0]["Expired"] is True


@pytest.mark.parametrize("key", ["", "x" * 392, "A" * 400, "MIIBIjANBg" + "A" * 382])
def test_bad_public_key(box, new_node, key):
    with pytest.raises(refnode.NodeError) as e:
        new_node(online=False).register(box.plane.activation(), PublicKey=key)
    assert e.value.status == 400 and e.value.code in ("InvalidPublicKey", "ValidationException"), e.value


# ---- what only nodes call ------------------------------------------------------------------------

def test_token_checks(box, new_node):
    node, other = new_node(), new_node()
    assert abs(node.get_token()["TokenExpirationDate"] - time.time() - 3600) < 120
    node.get_token(chunked=False)
    cases = [
        ({"Fingerprint": str(uuid.uuid4())}, {}, "MachineFingerprintDoesNotMatch"),
        ({"Fingerprint": node.fingerprint}, {"key": other.key}, "AccessDeniedException"),
    ]
    for members, kw, name in cases:
        with pytest.raises(refnode.NodeError) as e:
            node.rsa_call("RequestManagedInstanceRoleToken", members, **kw)
        assert (e.value.status, e.value.code) == (400, name)
    old = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 3600))
    with pytest.raises(refnode.NodeError) as e:
        node.get_token(amz_date=old)
    assert e.value.code == "InvalidSignatureException"


def test_key_rotation_keeps_the_old_key_until_the_new_one_signed(box, new_node):
    from cryptography.hazmat.primitives.asymmetric import rsa
    node = new_node()
    old, new = node.key, rsa.generate_private_key(public_exponent=65537, key_size=2048)
    update = {"NewPublicKey": node.public_key(new), "NewPublicKeyType": "Rsa"}
    node.rsa_call("UpdateManagedInstancePublicKey", update)
    node.rsa_call("UpdateManagedInstancePublicKey", update)  # a retry, still signed with the old key
    node.get_token(key=old, update_key=True)  # asked again: two keys must not stay valid for ever
    node.get_token(key=new)

    def old_is_refused():
        try:
            node.get_token(key=old, update_key=True)
        except refnode.NodeError as e:
            return e
        return None
    # A token needs no disk: that the new key has proven itself is noted a moment later.
    assert flsandbox.wait_for("the old key to be refused", old_is_refused).code == "AccessDeniedException"


def test_a_node_speaks_only_for_itself(box, new_node):
    node, other = new_node(), new_node()
    for call in (lambda: node.ping(InstanceId=other.node_id), lambda: node.call("ListCommands"),
                 lambda: node.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[other.node_id],
                                   Parameters={"commands": ["id"]})):
        with pytest.raises(refnode.NodeError) as e:
            call()
        assert e.value.code == "AccessDeniedException", e.value
    status, _ = node.create_channel(other.node_id)
    assert status in (400, 403)
    assert node.dial(other.node_id)[0] in (400, 401, 403)


def test_packages_that_are_documents(box, new_node):
    """The official agent looks for a document of the name after one answer of GetManifest only (protocol 4 §5.4)."""
    expect_error(post(box.plane, b"{}", target="AmazonSSM.GetManifest"), 400, "AccessDeniedException")
    with pytest.raises(refnode.NodeError) as e:
        new_node().call("GetManifest", PackageName="MyPackage", PackageVersion="latest")
    assert (e.value.status, e.value.code) == (400, "ResourceNotFoundException")


def test_deregistered_node_is_locked_out(box, new_node, ssm):
    node = new_node()
    ssm.deregister_managed_instance(InstanceId=node.node_id)
    node.thread.join(10)
    assert not node.thread.is_alive(), "its channel stayed open"
    with pytest.raises(refnode.NodeError) as e:
        node.get_token()
    assert e.value.code in ("AccessDeniedException", "InvalidInstanceId")
    with pytest.raises(refnode.NodeError):
        node.ping()


@pytest.mark.slow
def test_mgs_only_answers_of_the_old_channel(box, new_node):
    """GetMessages holds and gives nothing; associations are empty (protocol 2 §4.2, §7)."""
    node = new_node()
    assert node.call("ListInstanceAssociations", InstanceId=node.node_id, MaxResults=20) == {"Associations": []}
    request = {"Destination": node.node_id, "MessagesRequestId": str(uuid.uuid4()), "VisibilityTimeoutInSeconds": 10}
    started = time.monotonic()
    got = node.service_call("ec2messages", "EC2WindowsMessageDeliveryService.", "GetMessages", request)
    assert got == {"Destination": node.node_id, "MessagesRequestId": request["MessagesRequestId"], "Messages": []}
    assert 8 < time.monotonic() - started < 30


# ---- the control channel -------------------------------------------------------------------------

def command_for(ssm, node, **members):
    return ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[node.node_id],
                            Parameters={"commands": ["echo hi"]}, **members)["Command"]["CommandId"]


def invocation(ssm, command_id, node, want=("Success",), timeout_s=30):
    def settled():
        try:
            got = ssm.get_command_invocation(CommandId=command_id, InstanceId=node.node_id)
        except ssm.exceptions.InvocationDoesNotExist:
            return None
        return got if got["Status"] in want else None
    return flsandbox.wait_for(f"{want}", settled, timeout_s)


@pytest.mark.parametrize("name, frame", wire.bad_frames(), ids=[n for n, _ in wire.bad_frames()])
def test_bad_frame_from_a_node(box, new_node, ssm, name, frame):
    """N1-N9: rejected; the plane goes on, and so does the node, on this channel or a new one."""
    node = new_node()
    node.channel.send_binary(frame)
    node.channel.send_binary(frame)
    try:
        node.wait(lambda: not node.thread.is_alive(), 0.5)
        node.open()
    except AssertionError:
        pass  # the channel stayed open, which is as good
    assert invocation(ssm, command_for(ssm, node), node)["StandardOutputContent"] == "hi\n"


def test_rejected_frames_are_counted(box, new_node):
    def bad_frames():
        _, text = box.plane.api.get("/metrics")
        return sum(float(l.split()[-1]) for l in text.splitlines() if "bad_frames" in l and not l.startswith("#"))
    before = bad_frames()
    node = new_node()
    node.channel.send_binary(wire.VECTOR_B[:119])
    flsandbox.wait_for("the counter", lambda: bad_frames() > before, 10)


@pytest.mark.parametrize("type_", ["agent_job_ack", "agent_job_reply", "agent_telemetry", "no_such_type"])
def test_bad_payloads_from_a_node(box, new_node, ssm, type_):
    node = new_node()
    for payload in (b"{", b"", b"[]", b"{}", b'{"jobId":1}', b"\xff" * 100, b"{\"content\":\"{\"}"):
        if not node.thread.is_alive():
            node.open()
        try:
            node.channel.send_binary(wire.encode_message(type_, payload))
        except OSError:
            node.open()
    node.thread.join(0.3)
    if not node.thread.is_alive():
        node.open()
    assert invocation(ssm, command_for(ssm, node), node)["Status"] == "Success"


def test_wrong_channel_token_and_early_frames(box, new_node):
    node = new_node(online=False)
    node.register(box.plane.activation())
    node.get_token()
    node.ping()
    node.open(token="nonsense")
    node.thread.join(10)
    assert not node.thread.is_alive(), "a channel with a wrong token stayed open"
    _, channel = node.dial()
    channel.send_binary(wire.VECTOR_B)  # before OpenControlChannel
    with pytest.raises((wire.WsClosed, OSError)):
        channel.recv(10)
    assert box.plane.api.call("GetConnectionStatus", Target=node.node_id)["Status"] == "notconnected"


def test_ready_message_only_when_asked(box, new_node):
    node = new_node(online=False)
    node.register(box.plane.activation())
    node.get_token()
    node.ping()
    node.open(RequireAcknowledgement=True, AgentVersion="3.2.1705.0")
    node.wait(lambda: any(m.type == "control_channel_ready" for m in node.other), 5, "control_channel_ready")
    plain = new_node()
    time.sleep(0.3)
    assert plain.other == []


def test_newer_channel_replaces_the_older(box, new_node, ssm):
    node = new_node()
    first = node.thread
    node.open()
    first.join(30)
    assert not first.is_alive()
    assert invocation(ssm, command_for(ssm, node), node)["Status"] == "Success"
    assert len(node.jobs) == 1


def test_unacked_job_is_sent_again_with_the_same_id(box, new_node, ssm):
    node = new_node()
    node.on_job = None
    command = command_for(ssm, node)
    node.wait(lambda: len(node.jobs) >= 2, 25, "redelivery")
    assert node.jobs[0][1]["JobId"] == node.jobs[1][1]["JobId"] == f"aws.ssm.{command}.{node.node_id}"
    node.on_job = node.answer_success
    node.answer_success(*node.jobs[-1])
    assert invocation(ssm, command, node)["Status"] == "Success"


def test_unacked_job_follows_the_node_to_its_next_channel(box, new_node, ssm):
    node = new_node()
    node.on_job = None
    command = command_for(ssm, node)
    node.wait(lambda: node.jobs, 10, "the job")
    node.channel.abort()
    node.on_job = node.answer_success
    node.open()
    assert invocation(ssm, command, node)["Status"] == "Success"


def test_acked_job_is_not_sent_again(box, new_node, ssm):
    node = new_node()
    node.on_job = lambda m, outer, content: node.ack(m, outer["JobId"])
    command = command_for(ssm, node)
    node.wait(lambda: node.jobs, 10, "the job")
    invocation(ssm, command, node, ("InProgress",))
    node.channel.close()
    node.on_job = None
    node.open()
    time.sleep(1)
    assert len(node.jobs) == 1
    node.finish(node.jobs[0][1]["JobId"])
    assert invocation(ssm, command, node)["Status"] == "Success"


@pytest.mark.parametrize("code, text, want", [
    ("51403", "UnexpectedDocumentType", ("Failed", "Undeliverable")),
    ("51407", "ContainerNotSupported", ("Failed", "Undeliverable")),
    ("51406", "InvalidDocument", ("Failed", "Failed")),
])
def test_refusing_acks(box, new_node, ssm, code, text, want):
    node = new_node()
    node.on_job = lambda m, outer, content: node.ack(m, outer["JobId"], code, text)
    got = invocation(ssm, command_for(ssm, node), node, ("Failed",))
    assert (got["Status"], got["StatusDetails"]) == want


def test_job_content_is_what_the_notes_say(box, new_node, ssm):
    node = new_node()
    command = command_for(ssm, node, OutputS3KeyPrefix="")
    node.wait(lambda: node.jobs, 10, "the job")
    message, outer, content = node.jobs[0]
    assert (message.schema, message.seq, message.flags, message.ptype) == (1, 0, 0, 0)
    assert set(outer) == {"Content", "JobId", "Topic", "SchemaVersion"} and outer["SchemaVersion"] == 1
    assert outer["Topic"].startswith("aws.ssm.sendCommand")
    assert content["CommandId"] == command and content["DocumentName"] == "AWS-RunShellScript"
    assert isinstance(content["DocumentContent"], dict) and content["Parameters"]["commands"] == ["echo hi"]
    assert content["CloudWatchOutputEnabled"] == "false"
    assert isinstance(content["OutputS3BucketName"], str)


def test_terminal_is_sticky_and_order_is_free(box, new_node, ssm):
    """The final reply may overtake the step's; later replies change nothing but are acknowledged."""
    node = new_node()
    acked = []

    def answer(m, outer, content):
        node.ack(m, outer["JobId"])
        steps = {"aws:runShellScript": node.step()}
        acked.append(node.reply(outer["JobId"], "Success", steps, {"Success": 1}))
        acked.append(node.reply(outer["JobId"], "InProgress", steps, {"Success": 1}))
        acked.append(node.reply(outer["JobId"], "Failed", {"aws:runShellScript": node.step("Failed", 1)}, {"Failed": 1}))
        acked.append(node.reply(outer["JobId"], "Success", steps, {"Success": 1}, message_id=acked[0]))
    node.on_job = answer
    command = command_for(ssm, node)
    got = invocation(ssm, command, node, ("Success", "Failed"))
    node.wait(lambda: set(acked) <= node.acked and len(acked) == 4, 10, "all replies acknowledged")
    got = invocation(ssm, command, node, ("Success", "Failed"))
    assert (got["Status"], got["ResponseCode"], got["StandardOutputContent"]) == ("Success", 0, "hi\n")


def test_replies_for_unknown_jobs_are_acknowledged(box, new_node):
    node = new_node()
    ids = [node.reply(f"aws.ssm.{uuid.uuid4()}.{node.node_id}", "Success", {"x": node.step()}, {"Success": 1})]
    node.wait(lambda: set(ids) <= node.acked, 10, "the acknowledgement")


def test_a_reply_for_another_nodes_job_changes_nothing(box, new_node, ssm):
    node, other = new_node(), new_node()
    node.on_job = lambda m, outer, content: node.ack(m, outer["JobId"])
    command = command_for(ssm, node)
    invocation(ssm, command, node, ("InProgress",))
    other.finish(f"aws.ssm.{command}.{node.node_id}", "Failed", code=1)
    time.sleep(0.5)
    assert ssm.get_command_invocation(CommandId=command, InstanceId=node.node_id)["Status"] == "InProgress"
    node.finish(node.jobs[0][1]["JobId"])
    assert invocation(ssm, command, node)["Status"] == "Success"


def test_large_reply_in_several_frames(box, new_node, ssm):
    node = new_node()

    def answer(m, outer, content):
        node.ack(m, outer["JobId"])
        steps = {"aws:runShellScript": node.step(out="\u0001" * 9000, err="e" * 9000, output="x")}
        node.reply(outer["JobId"], "Success", steps, {"Success": 1}, piece=7000)
    node.on_job = answer
    got = invocation(ssm, command_for(ssm, node), node)
    assert got["StandardOutputContent"] == "\u0001" * 9000
    assert got["StandardErrorContent"] == "e" * 8000 or len(got["StandardErrorContent"]) == 8000


def test_steps_that_the_document_does_not_have(box, new_node, ssm):
    """An agent that reports another set of steps than the document has must not break reading."""
    node = new_node()
    node.on_job = lambda m, outer, content: (
        node.ack(m, outer["JobId"]),
        node.reply(outer["JobId"], "InProgress", {"a": node.step(out="1\n")}, {"Success": 1}),
        node.reply(outer["JobId"], "InProgress", {"b": node.step("Failed", 9, out="2\n")}, {"Success": 1, "Failed": 1}),
        node.reply(outer["JobId"], "Failed", {}, {"Success": 1, "Failed": 1}))
    command = command_for(ssm, node)
    got = invocation(ssm, command, node, ("Failed",))
    assert got["StatusDetails"] == "Failed"
    assert ssm.list_command_invocations(CommandId=command, Details=True)["CommandInvocations"][0]["Status"] == "Failed"


def test_success_and_reboot_is_not_the_end(box, new_node, ssm):
    node = new_node()
    node.on_job = lambda m, outer, content: (
        node.ack(m, outer["JobId"]),
        node.reply(outer["JobId"], "SuccessAndReboot",
                   {"aws:runShellScript": node.step("SuccessAndReboot", 194)}, {"SuccessAndReboot": 1}))
    command = command_for(ssm, node)
    invocation(ssm, command, node, ("InProgress",))
    node.wait(lambda: node.acked, 10, "the acknowledgement")
    assert ssm.get_command_invocation(CommandId=command, InstanceId=node.node_id)["Status"] == "InProgress"
    node.channel.close()
    node.open()
    node.finish(node.jobs[0][1]["JobId"])
    assert invocation(ssm, command, node)["Status"] == "Success"


def test_cancel_job_on_the_wire(box, new_node, ssm):
    node = new_node()
    node.on_job = lambda m, outer, content: node.ack(m, outer["JobId"])
    command = command_for(ssm, node)
    invocation(ssm, command, node, ("InProgress",))
    ssm.cancel_command(CommandId=command)
    node.wait(lambda: len(node.jobs) == 2, 10, "the cancel job")
    _, outer, content = node.jobs[1]
    assert outer["Topic"].startswith("aws.ssm.cancelCommand")
    assert content == {"CancelMessageId": f"aws.ssm.{command}.{node.node_id}"}
    assert command not in outer["JobId"], "a cancel job needs a command id of its own"
    assert invocation(ssm, command, node, ("Cancelling",))
    node.finish(f"aws.ssm.{command}.{node.node_id}", "Cancelled", code=137)
    assert invocation(ssm, command, node, ("Cancelled",))["StatusDetails"] == "Cancelled"


# ---- the agent -----------------------------------------------------------------------------------

def test_bad_frames_to_the_agent(ref_plane, new_agent):
    """N1-N9 and worse from a plane: the agent drops them and still runs commands."""
    agent = new_agent(ref_plane)
    for name, frame in wire.bad_frames() + [("empty", b""), ("junk", bytes(range(256))), ("long", b"\0" * 300000)]:
        ref_plane.wait_online()
        ref_plane.channel.send_binary(frame)
        assert agent.running(), name
    time.sleep(0.3)
    assert ref_plane.channels_opened == 1, "a bad frame cost the channel or the process"
    for type_ in ("agent_job", "agent_job_reply_ack", "interactive_shell", "channel_closed", "no_such_type"):
        for payload in (b"", b"{", b"[]", b"{}", b"\xff" * 50, b'{"Content":1}'):
            ref_plane.wait_online()
            try:
                ref_plane.send_raw(payload, type_)
            except (OSError, AttributeError):
                pass  # the channel went in this moment
    # Acks for unreadable jobs carry an empty job id; they are none of this test's business.
    time.sleep(0.3)
    with ref_plane.changed:
        ref_plane.violations[:] = [v for v in ref_plane.violations if not v.startswith("ack of an unknown job")]
    ref_plane.wait_online()
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    assert agent.running()


def test_unparsable_job_is_acked_and_fails(ref_plane, new_agent):
    """51408 and a Failed reply (protocol 2 §3.3) for content that is no document."""
    new_agent(ref_plane)
    job = ref_plane.send_content(f"aws.ssm.{uuid.uuid4()}.{next(iter(ref_plane.nodes))}", "aws.ssm.sendCommand",
                                 "{\"Parameters\":")
    ref_plane.wait(lambda: job.acks, 10, "the ack")
    assert (job.acks[0]["statusCode"], job.acks[0]["errorMessage"]) == ("51408", "AgentJobMessageParseError")
    ref_plane.wait(job.final, 10, "the Failed reply")
    assert job.final()["documentStatus"] == "Failed"


@pytest.mark.slow
def test_a_gigabyte_of_output(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    job = ref_plane.shell("yes 0123456789abcdef | head -c 1000000000", timeout_s=240)
    step = job.steps()["aws:runShellScript"]
    assert job.final()["documentStatus"] == "Success" and step["code"] == 0
    text = step["standardOutput"]
    assert len(text) == 24000 and text.endswith("--output truncated--")
    assert text.startswith("0123456789abcdef\n" * 1000)
    assert len(step["output"]) <= 2500
    used = int(subprocess.run(["du", "-sk", agent.state], capture_output=True, text=True, check=True).stdout.split()[0])
    assert used < 64 * 1024, f"{used} kB of state for one command"
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_binary_output(ref_plane, new_agent):
    """Bytes that are no UTF-8, NULs and control characters arrive as JSON text."""
    new_agent(ref_plane)
    job = ref_plane.shell("printf 'a\\377\\000\\001b\\303\\050c'; head -c 2000 /dev/urandom")
    step = job.steps()["aws:runShellScript"]
    assert job.final()["documentStatus"] == "Success"
    assert step["standardOutput"].startswith("a\ufffd\u0000\u0001b\ufffd(c")


def test_output_of_control_characters_is_trimmed_to_fit(ref_plane, new_agent):
    """Each becomes six bytes of JSON: more than the 120,000 that a reply may have. Ours trims, and arrives."""
    new_agent(ref_plane)
    job = ref_plane.shell("head -c 23900 /dev/zero; head -c 23900 /dev/zero >&2", timeout_s=30)
    assert job.final()["documentStatus"] == "Success"
    assert job.steps()["aws:runShellScript"]["standardOutput"].startswith("\u0000" * 100)


@pytest.mark.slow
def test_many_tiny_outputs(ref_plane, new_agent):
    new_agent(ref_plane)
    job = ref_plane.shell("i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done", timeout_s=120)
    step = job.steps()["aws:runShellScript"]
    whole = "".join(f"{i}\n" for i in range(100000))
    assert job.final()["documentStatus"] == "Success"
    assert step["standardOutput"] == whole[:23980] + "--output truncated--"


def test_truncation_rules(ref_plane, new_agent):
    """standardOutput, standardError and output, exactly as protocol 2 §3.4 has them."""
    new_agent(ref_plane)

    def stream(char, n):
        return char * n if n < 24000 else char * 23980 + "--output truncated--"

    for out, err in [(0, 0), (10, 0), (2499, 0), (2500, 0), (3000, 0), (0, 3000), (2000, 400), (2000, 475), (2000, 476),
                     (3000, 3000), (1238, 3000), (1239, 3000), (3000, 100), (23999, 10), (24000, 10), (24001, 24001)]:
        job = ref_plane.shell(f"head -c {out} /dev/zero | tr '\\0' o", f"head -c {err} /dev/zero | tr '\\0' e >&2")
        step = job.steps()["aws:runShellScript"]
        assert step["standardOutput"] == stream("o", out), (out, err)
        assert step["standardError"] == stream("e", err), (out, err)
        assert step["output"] == combined("o" * out, "e" * err), (out, err)


def combined(out, err):
    title, no_out, no_err = "\n----------ERROR-------\n", "\n---Output truncated---", "\n---Error truncated----"
    cap = 2500 - (len(title) if err else 0)
    if len(out) + len(err) < cap:
        return out + (title + err if err else "")
    if len(out) > cap // 2 and len(err) > cap // 2:
        part = (cap - len(no_out) - len(no_err)) // 2
        return out[:part] + no_out + title + err[:part] + no_err
    if len(out) <= cap // 2:
        return out + title + err[:cap - len(no_err) - len(out)] + no_err
    return out[:cap - len(no_out) - len(err)] + no_out + (title + err if err else "")


def test_proxy_that_wants_a_password(tmp_path, new_agent):
    """HTTPS and WebSocket both go through CONNECT with basic authentication; a wrong password is named."""
    name = "plane.fairlead.test"
    plane = refplane.RefPlane(tmp_path, names=(name,))
    proxy = refplane.Proxy("user", "p@ss:w%rd", {name: "127.0.0.1"})
    try:
        good = f"http://user:p%40ss%3Aw%25rd@127.0.0.1:{proxy.port}"
        bad = f"http://user:wrong@127.0.0.1:{proxy.port}"
        agent = new_agent(plane, start=False, register=False, env={"https_proxy": bad})
        done = agent.command(*agent.register_argv(plane.activation))
        assert done.returncode == 1
        said = (done.stdout + done.stderr).lower()
        assert "407" in said or "proxy" in said, said
        assert "wrong" not in said.replace("wrong password", ""), "the password was printed"
        agent = new_agent(plane, env={"https_proxy": good})
        assert any(c.startswith(name) for c in proxy.connects) and proxy.refused >= 1
        assert plane.shell("echo through").final()["documentStatus"] == "Success"
        # The same from the configuration file.
        agent2 = new_agent(plane, start=False, register=False, config={"Fairlead": {"Proxy": {"Https": good}}})
        done = agent2.command(*agent2.register_argv(plane.activation))
        assert done.returncode == 0, done.stderr
        for a in (agent, agent2):
            for log in a.folder.rglob("*.log"):
                assert "p@ss" not in log.read_text() and "p%40ss" not in log.read_text()
        assert plane.violations == []
    finally:
        plane.close()
        proxy.close()


def test_no_proxy_for_loopback(ref_plane, new_agent):
    new_agent(ref_plane, env={"https_proxy": "http://127.0.0.1:9"})
    assert ref_plane.shell("echo direct").final()["documentStatus"] == "Success"


def test_plane_with_an_unknown_ca(ref_plane, new_agent, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    wrong_ca, _, _ = refplane.make_pki(other)
    agent = new_agent(ref_plane, start=False, register=False)
    agent.ca_file = wrong_ca
    done = agent.command(*agent.register_argv(ref_plane.activation))
    assert done.returncode == 1
    said = (done.stdout + done.stderr).lower()
    assert "certificate" in said, said
    assert not ref_plane.requests, "something was sent to a plane that is not trusted"


def test_running_agent_meets_an_unknown_ca(ref_plane, new_agent, tmp_path):
    """It stays offline, says why, and comes back by itself once the CA is right."""
    agent = new_agent(ref_plane, start=False)
    right = ref_plane.ca_file.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    wrong, _, _ = refplane.make_pki(other)
    ref_plane.ca_file.write_bytes(wrong.read_bytes())
    agent.start()

    def told():
        code, status = agent.status()
        return code == 4 and status and "certificate" in json.dumps(status).lower()
    try:
        flsandbox.wait_for("status names the certificate", told, 20)
    finally:
        ref_plane.ca_file.write_bytes(right)
    agent.stop()
    agent.start()
    ref_plane.wait_online()


@pytest.mark.parametrize("content, word", [(b"{", "agent.json"), (b"[]", "agent.json"),
                                           (b'{"Ssm":{"HealthFrequencyMinutes":"x"}}', "HealthFrequencyMinutes"),
                                           (b'{"Fairlead":{"Nope":1}}', "Nope")])
def test_bad_configuration_is_named(ref_plane, new_agent, content, word):
    agent = new_agent(ref_plane, start=False)
    agent.config.write_bytes(content)
    done = agent.command(timeout=20)
    assert done.returncode not in (0, None)
    assert word in done.stderr + done.stdout
