"""What sessions show, in buckets and log groups of the plane: once, by the plane or by the node."""
import hashlib
import json
import subprocess

import pytest

import conftest
import flsandbox
import refnode
import wire
from test_iam import admin
from test_logs import now_ms
from test_s3 import code_of, s3_client
from test_session_kms import Place, on_a_terminal

WORD = "shown-once"


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=1) as box:
        p = Place(box)
        p.s3, p.logs = s3_client(p.plane), conftest.client(p.plane, "logs")
        p.s3.create_bucket(Bucket="shown")
        p.logs.create_log_group(logGroupName="/shown")
        yield p


def document(place, name, key, **inputs):
    return place.document(name, key=key, inputs={
        "kmsKeyId": key, "s3BucketName": "shown", "s3KeyPrefix": "all/of", "cloudWatchLogGroupName": "/shown", **inputs})


def audited(place, word, *operations):
    lines = map(json.loads, (place.plane.data / "audit/audit.log").read_text().splitlines())
    return [a for a in lines if a.get("operation") in operations and word in json.dumps(a)]


def streamed(place, session):
    try:
        got = place.logs.get_log_events(logGroupName="/shown", logStreamName=session, startFromHead=True)["events"]
    except place.logs.exceptions.ResourceNotFoundException:
        return None
    return [e["message"] for e in got]


def in_a_shell(place, name, key, streams):
    on_a_terminal([str(place.box.build / "fairlead"), "session", place.node, "-D",
                   document(place, name, key, cloudWatchStreamingEnabled=streams)], place.env(), WORD,
                  encrypted=bool(key))
    return place.ended("Terminated")["SessionId"]


@pytest.mark.parametrize("key", ["alias/sessions", ""], ids=["encrypted", "plain"])
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
def test_once(place, key, streams):
    session = in_a_shell(place, f"Once-{bool(key)}-{streams}", key, streams)
    name = f"all/of/{session}.log"
    body = flsandbox.wait_for("the object", lambda: any(
        o["Key"] == name for o in place.s3.list_objects_v2(Bucket="shown").get("Contents", []))
        and place.s3.get_object(Bucket="shown", Key=name)["Body"].read().decode())
    assert body.startswith("Script started on ") and body.count(f"got-{WORD}\r\n") == 1
    text = flsandbox.wait_for("its events", lambda: (m := "\n".join(streamed(place, session) or [])) and (
        f"got-{WORD}" in m and (streams or "Script done" in m)) and m)
    if streams:
        lines = [line for e in streamed(place, session) for line in json.loads(e)["sessionData"]]
        assert lines.count(f"got-{WORD}") == 1
    else:
        assert text.count(f"got-{WORD}\r\n") == 1
    # The folder on the node goes when all is there.
    flsandbox.wait_for("the end on the node", lambda: not list(
        (place.box.agents[0].state / "sessions").glob("*")))
    by_node = audited(place, session, "s3:PutObject", "logs:PutLogEvents")
    assert {a["operation"] for a in by_node} == ({"s3:PutObject", "logs:PutLogEvents"} if key else set())
    assert len([a for a in by_node if a["operation"] == "s3:PutObject"]) == (1 if key else 0)
    row = flsandbox.wait_for("where it is", lambda: place.last().get("OutputUrl", {}).get("S3OutputUrl"))
    assert row.endswith(f"/shown/{name}")


def begin_put(node, path, body):
    """A PutObject that was allowed and whose body is still to come; the returned function sends it, for the status."""
    headers = node.signed("PUT", path, "", body, "s3", {"x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
                                                        "content-length": str(len(body)), "expect": "100-continue"})
    sock = wire.tls_connect(node.host, node.port, node.ca_file)
    sock.sendall("\r\n".join([f"PUT {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode())

    def answer():
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        return int(head.split()[1])

    def send():
        with sock:
            sock.sendall(body)
            return answer()

    assert answer() == 100
    return send


def test_who_may(place):
    """A node puts what the plane cannot, for its own session, once. What the plane does no policy lets it do."""
    admin(place.plane, "role", "add", "free")
    admin(place.plane, "policy", "put", "all", "-", text=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:*", "logs:*"], "Resource": "*"}]}))
    admin(place.plane, "policy", "attach", "all", "--role", "free")
    nodes = {}
    try:
        for role in ("fleet", "free", "other"):
            node = nodes[role] = refnode.RefNode(place.plane.endpoint, place.plane.ca_file)
            node.online(place.plane.activation(IamRole="fleet" if role == "other" else role))
            keys = tuple(node.credentials[k] for k in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
            node.s3, node.logs = s3_client(place.plane, *keys), conftest.client(place.plane, "logs", *keys)
        sealed, plain = document(place, "May-sealed", "alias/sessions"), document(place, "May-plain", "")

        def start(node, doc):
            return place.plane.api.call("StartSession", Target=node.node_id, DocumentName=doc)["SessionId"]

        def put(node, session, bucket="shown", prefix="all/of/"):
            return node.s3.put_object(Bucket=bucket, Key=f"{prefix}{session}.log", Body=b"x")

        def stream(node, session, group="/shown"):
            return node.logs.create_log_stream(logGroupName=group, logStreamName=session)

        me, free, other = nodes["fleet"], nodes["free"], nodes["other"]
        mine, its, ours = start(me, sealed), start(free, sealed), start(me, plain)
        by_policy = start(free, plain)
        place.s3.create_bucket(Bucket="not-shown")
        place.logs.create_log_group(logGroupName="/not-shown")
        for node, session, more in ((other, mine, {}), (free, mine, {}), (me, its, {}), (me, ours, {}), (free, by_policy, {}),
                                    (me, mine, {"prefix": ""}), (me, mine, {"bucket": "not-shown"})):
            assert code_of(put, node, session, **more) == "AccessDenied", (session, more)
        for node, session, more in ((other, mine, {}), (free, mine, {}), (me, its, {}), (me, ours, {}), (free, by_policy, {}),
                                    (me, mine, {"group": "/not-shown"}), (me, "free", {})):
            assert code_of(stream, node, session, **more) == "AccessDeniedException", (session, more)
        late = begin_put(me, f"/shown/all/of/{mine}.log", b"other")
        put(me, mine)
        assert late() == 403  # as it was there when this came to its end
        assert place.s3.get_object(Bucket="shown", Key=f"all/of/{mine}.log")["Body"].read() == b"x"
        assert code_of(put, me, mine) == "AccessDenied"  # nor afterwards
        stream(me, mine)
        me.logs.put_log_events(logGroupName="/shown", logStreamName=mine, logEvents=[
            {"timestamp": now_ms(), "message": "x"}])
        for call, members in ((me.s3.get_object, {"Bucket": "shown", "Key": f"all/of/{mine}.log"}),
                              (me.s3.delete_object, {"Bucket": "shown", "Key": f"all/of/{mine}.log"})):
            assert code_of(call, **members) == "AccessDenied"
        for call in (me.logs.get_log_events, me.logs.delete_log_stream):
            assert code_of(call, logGroupName="/shown", logStreamName=mine) == "AccessDeniedException"
    finally:
        for node in nodes.values():
            node.close()


def test_demands_that_the_plane_cannot_meet(place):
    """It encrypts neither: an encrypted session that demands it does not begin."""
    for name, inputs, words in (("Sealed-bucket", {"s3EncryptionEnabled": True}, "bucket shown does not encrypt"),
                                ("Sealed-group", {"cloudWatchEncryptionEnabled": True}, "log group /shown is not encrypted")):
        done = place("session", place.node, "-D", document(place, name, "alias/sessions", **inputs))
        assert done.returncode != 0 and words in done.stderr.decode(), done
        assert words in place.ended("Failed")["Details"]


def test_a_client_that_comes_after_the_refusal(place):
    """The node, which is quick, never opened a channel: the client hears why all the same."""
    granted = place.plane.api.call("StartSession", Target=place.node, DocumentName=document(
        place, "Refused-early", "alias/sessions", s3EncryptionEnabled=True))
    flsandbox.wait_for("its end", lambda: place.last()["SessionId"] == granted["SessionId"] and place.ended("Failed"))
    done = subprocess.run(["session-manager-plugin", json.dumps(granted), "local", "StartSession"], env=place.env(),
                          executable=place.box.build / "fairlead", stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert "bucket shown does not encrypt" in done.stdout.decode(), done
