"""What sessions print, taken to S3 and CloudWatch Logs by the agent (protocol 3 §10), and values of Parameter Store
in session documents: the reference plane and client, and the store of test_outputs.py."""
import json
import os
import re
import signal
import threading
import time

import pytest

import conftest
import flsandbox
import refsessionplane
from test_outputs import NAMES, Store
from test_sessions_agent import CONFIG, OURS, SHELL, USER, commands, holder_of, marks, over, session  # noqa: F401

FRAME = re.compile(r"\AScript started on \S+Z\n(.*)\nScript done on \S+Z\n\Z", re.S)
ENCRYPTED = "<C><Rule><D><SSEAlgorithm>AES256</SSEAlgorithm></D></Rule></C>"


class LogStore(Store):
    """Its log groups are there before: {name: key id or ""}. None is ever made."""

    def __init__(self, plane, **groups):
        super().__init__(plane)
        self.group_keys = groups
        self.groups = {name: {} for name in groups}

    def answer_logs(self, what, members, h):
        if what == "DescribeLogGroups":
            self.expect(list(members) == ["logGroupNamePrefix"], f"{what} {members}")
            return 200, json.dumps({"logGroups": [
                {"logGroupName": n, **({"kmsKeyId": k} if k else {})} for n, k in self.group_keys.items()
                if n.startswith(members["logGroupNamePrefix"])]}).encode(), {}
        self.expect(what != "CreateLogGroup", "a log group is made")
        if members["logGroupName"] not in self.groups:
            return 400, b'{"__type":"ResourceNotFoundException","message":"no"}', {}
        return super().answer_logs(what, members, h)

    def transcript(self, session, prefix="", bucket="b1"):
        key = (bucket, f"{prefix}{session.session_id}.log")
        self.wait(lambda: key in self.objects, f"object {key}")
        return FRAME.match(self.objects[key][0].decode())[1]

    def events(self, group, session):
        return self.groups[group].get(session.session_id, [])

    def streamed(self, group, session):
        return [line for e in self.events(group, session) for line in json.loads(e)["sessionData"]]


@pytest.fixture
def plane(tmp_path):
    with conftest.reference(refsessionplane.SessionPlane, tmp_path, names=NAMES) as p:
        yield p


@pytest.fixture
def store(plane):
    store = LogStore(plane, plain="", sealed="arn:key")
    yield store
    store.close()
    assert store.violations == []


@pytest.fixture
def agent(plane, store, new_agent):
    return new_agent(plane, config={"Kms": {"Endpoint": plane.endpoint}, "S3": store.config["S3"],
                                    "Fairlead": {**CONFIG["Fairlead"], **store.config["Fairlead"]}})


def logged(kind=SHELL, **inputs):
    return dict(kind, inputs=inputs)


def refused(plane, session, why, document, parameters=None):
    client, s = session(document, parameters)
    assert plane.wait_status(s) == "Failed"
    assert why in s.completes[0]["Output"], s.completes
    assert s.opened == 0


def no_folders(agent):
    flsandbox.wait_for("the folders to go", lambda: not any((agent.state / "sessions").iterdir()), 30)


def test_transcript_in_a_bucket(session, plane, store, agent):
    client, s = session(logged(s3BucketName="b1", s3KeyPrefix="a/b"))
    client.wait_ready()
    marks(client, "shown")
    record = agent.state / "sessions" / s.session_id / "record"
    assert record.stat().st_mode & 0o777 == 0o600 and b"shown" in record.read_bytes()
    client.send(b"exit\r")
    over(plane, client, s)
    told = s.completes[0]
    assert (told["S3Bucket"], told["S3UrlSuffix"]) == ("b1", f"a/b/{s.session_id}.log")
    assert (told["CwlGroup"], told["CwlStream"]) == ("", "")
    text = store.transcript(s, "a/b/")
    assert text.encode() == client.output  # as it was shown
    no_folders(agent)


def test_nothing_is_kept_where_nothing_is_asked_for(session, plane, store, agent):
    for document, content in (
            (SHELL, {}),
            (logged(s3BucketName="", cloudWatchLogGroupName=""), {}),
            (logged(s3BucketName="b1", cloudWatchLogGroupName="plain"),
             {"Fairlead": {**OURS["Fairlead"], "KeepsBucket": True, "KeepsGroup": True}})):  # the plane sees to it
        client, s = session(document, **content)
        client.wait_ready()
        assert not (agent.state / "sessions" / s.session_id / "record").exists()
        client.send(b"exit\r")
        over(plane, client, s)
    no_folders(agent)
    assert store.objects == {} and store.seen == []


def test_commands_are_logged(session, plane, store):
    document = logged(commands("NonInteractiveCommands", "sh -c 'echo out; echo err >&2'"), s3BucketName="b1",
                      cloudWatchLogGroupName="plain", cloudWatchStreamingEnabled=True)
    client, s = session(document)
    over(plane, client, s)
    assert store.transcript(s) == "out\nerr\n"
    store.wait(lambda: store.events("plain", s), "events")
    assert "out\nerr" in store.events("plain", s)[0]  # streams are of shells alone


def test_whole_transcript_in_a_log_group(session, plane, store, agent):
    client, s = session(logged(cloudWatchLogGroupName="plain", cloudWatchStreamingEnabled=False))
    client.wait_ready()
    client.send(b"seq 60000; exit\r")
    over(plane, client, s)
    no_folders(agent)
    told = s.completes[0]
    assert (told["CwlGroup"], told["CwlStream"], told["S3Bucket"]) == ("plain", s.session_id, "")
    text = "".join(m + "\n" for m in store.events("plain", s))
    assert FRAME.match(text)[1].encode() == client.output
    assert len(store.events("plain", s)) > 1
    assert not any(m.startswith("{") for m in store.events("plain", s))


def test_lines_are_streamed(session, plane, store, agent):
    client, s = session(logged(cloudWatchLogGroupName="plain", cloudWatchStreamingEnabled=True, s3BucketName="b1"))
    client.wait_ready()
    client.send(b"printf 'a\\tb\\033[31mred\\033[0m\\n'; echo two\r")
    store.wait(lambda: "two" in store.streamed("plain", s), "a line while it runs")
    event = json.loads(store.events("plain", s)[0])
    assert list(event) == ["eventVersion", "eventTime", "awsRegion", "target", "userIdentity", "runAsUser",
                           "sessionId", "sessionData"]
    assert event["target"] == {"id": next(iter(plane.nodes))} and event["sessionId"] == s.session_id
    assert event["userIdentity"] == {"arn": "arn:aws:iam::123456789012:user/alice"}
    assert (event["eventVersion"], event["awsRegion"], event["runAsUser"]) == ("1.0", plane.region, USER)
    client.send(b"seq 30000; exit\r")
    over(plane, client, s)
    no_folders(agent)
    lines = store.streamed("plain", s)
    assert [n for n in lines if n.isdigit()] == [str(i) for i in range(1, 30001)]
    assert any(re.fullmatch(r"a\s+bred", n) for n in lines) and not any("Script" in n for n in lines)
    assert store.transcript(s).encode() == client.output


def test_streams_go_on_after_a_restart(session, plane, store, agent):
    client, s = session(logged(cloudWatchLogGroupName="plain", cloudWatchStreamingEnabled=True))
    client.wait_ready()
    client.send(b"echo fir''st\r")
    store.wait(lambda: "first" in store.streamed("plain", s), "the first line")
    folder = agent.state / "sessions" / s.session_id
    flsandbox.wait_for("a note of it", lambda: (folder / "record").read_bytes().rfind(b"first") < int(
        (folder / "logged").read_text()[:20] or "0"), 10)
    agent.kill()
    marks(client, "meanwhile")
    agent.start()
    plane.wait_online(60)
    store.wait(lambda: "meanwhile" in store.streamed("plain", s), "the line of meanwhile")
    client.send(b"exit\r")
    over(plane, client, s)
    no_folders(agent)
    lines = store.streamed("plain", s)
    assert [n for n in lines if n in ("first", "meanwhile")] == ["first", "meanwhile"]


def test_a_holder_that_dies_before_the_answer(session, plane, store, agent):
    """What the service took stands there once, although nobody could note it."""
    client, s = session(logged(cloudWatchLogGroupName="plain", cloudWatchStreamingEnabled=True))
    client.wait_ready()
    store.unsaid["PutLogEvents"] = 1000
    client.send(b"echo fir''st\r")
    store.wait(lambda: "first" in store.streamed("plain", s), "the first line")
    os.kill(holder_of(agent), signal.SIGKILL)
    store.unsaid.clear()
    assert plane.wait_status(s) == "Failed"
    no_folders(agent)
    assert store.streamed("plain", s).count("first") == 1


@pytest.mark.parametrize("inputs, words", [
    ({"s3BucketName": "b1", "s3EncryptionEnabled": True}, "bucket b1 does not encrypt"),
    ({"s3BucketName": "b1", "s3EncryptionEnabled": "true"}, "bucket b1 does not encrypt"),
    ({"cloudWatchLogGroupName": "plain", "cloudWatchEncryptionEnabled": True}, "log group plain is not encrypted"),
])
def test_encryption_is_demanded(session, plane, store, inputs, words):
    refused(plane, session, words, logged(**inputs))
    assert store.objects == {} and store.groups["plain"] == {}


def test_what_cannot_be_asked_is_not_encrypted(session, plane, store):
    store.refuse = {"DescribeLogGroups": [(400, "AccessDeniedException")], "GET": [(403, "AccessDenied")]}
    refused(plane, session, "AccessDenied", logged(cloudWatchLogGroupName="sealed", cloudWatchEncryptionEnabled=True))
    refused(plane, session, "does not say so", logged(s3BucketName="b1", s3EncryptionEnabled=True))


def test_encrypted_places(session, plane, store, agent):
    store.encryption = ENCRYPTED
    client, s = session(logged(s3BucketName="b1", s3EncryptionEnabled=True, cloudWatchLogGroupName="sealed",
                               cloudWatchEncryptionEnabled=True))
    client.wait_ready()
    client.send(b"exit\r")
    over(plane, client, s)
    store.transcript(s)
    assert store.objects["b1", f"{s.session_id}.log"][1]["x-amz-server-side-encryption"] == "AES256"
    no_folders(agent)
    assert store.events("sealed", s)


def test_a_group_that_is_missing(session, plane, store, agent):
    client, s = session(logged(cloudWatchLogGroupName="missing", cloudWatchEncryptionEnabled=True,
                               cloudWatchStreamingEnabled=True, s3BucketName="b1"))
    client.wait_ready()
    client.send(b"exit\r")
    over(plane, client, s)
    store.transcript(s)
    no_folders(agent)


def test_an_upload_that_is_refused_changes_nothing(session, plane, store, agent):
    store.refuse = {"PUT": [(500, "InternalError"), (403, "AccessDenied")]}
    client, s = session(logged(s3BucketName="b1"))
    client.wait_ready()
    client.send(b"exit\r")
    over(plane, client, s)
    no_folders(agent)
    assert store.objects == {}
    assert "output not uploaded" in agent.log.read_text()


@pytest.mark.parametrize("victim", ["monitor", "holder", "both"])
def test_deaths_during_the_upload(session, plane, store, agent, victim):
    """The end is told before the upload, which goes on after any death; what is there is whole."""
    gate = store.gates["PUT"] = threading.Event()
    client, s = session(logged(s3BucketName="b1"))
    client.wait_ready()
    marks(client, "shown")
    told = agent.status()[1]["sessions"]
    assert [(t["sessionId"], t["documentName"], t["state"]) for t in told] == [(s.session_id, "doc", "running")]
    assert told[0]["owner"] == "arn:aws:iam::123456789012:user/alice" and told[0]["since"].endswith("Z")
    client.send(b"exit\r")
    over(plane, client, s)
    store.wait(lambda: store.began.get("PUT"), "the upload")
    assert agent.status()[1]["sessions"] == [dict(told[0], state="uploading")]
    assert f"uploading doc {s.session_id} of {told[0]['owner']} since" in agent.command("status").stdout
    holder = holder_of(agent)
    if victim in ("monitor", "both"):
        agent.kill()
    if victim in ("holder", "both"):
        os.kill(holder, signal.SIGKILL)
    gate.set()
    if victim != "holder":
        agent.start()
        plane.wait_online(60)
    assert "shown" in store.transcript(s)
    no_folders(agent)
    time.sleep(0.2)
    assert len(s.completes) == 1


def test_a_holder_that_dies_in_the_middle(session, plane, store, agent):
    """What was printed until then goes where it should."""
    client, s = session(logged(s3BucketName="b1"))
    client.wait_ready()
    marks(client, "shown")
    os.kill(holder_of(agent), signal.SIGKILL)
    assert plane.wait_status(s) == "Failed"
    assert "shown" in store.transcript(s)
    no_folders(agent)


def test_encrypted_sessions_are_logged_in_clear(session, plane, store):
    client, s = session(logged(kmsKeyId="k", s3BucketName="b1"))
    client.wait_ready()
    marks(client, "shown")
    client.send(b"exit\r")
    over(plane, client, s)
    assert "shown" in store.transcript(s)


# ---- Parameter Store ----

def test_values_of_parameter_store(session, plane, store):
    plane.parameters = {"/line": ("String", "echo from''-store"), "bucket": ("String", "b1")}
    document = logged(commands("InteractiveCommands", "{{ssm:/line}}; {{ command }}"), s3BucketName="{{ ssm:bucket }}")
    document["parameters"] = {"command": {"type": "String"}}
    client, s = session(document, {"command": "{{ssm:/line:1}}-2"})
    client.wait_output(b"from-store\r\nfrom-store-2\r\n")
    over(plane, client, s)
    assert "from-store" in store.transcript(s)


@pytest.mark.parametrize("name, words", [
    ("secret", "Parameters [secret] of type SecureString are not supported"),
    ("none", "invalid parameters [none]"),
])
def test_values_that_cannot_be(session, plane, name, words):
    plane.parameters = {"secret": ("SecureString", "x")}
    refused(plane, session, words, commands("InteractiveCommands", "echo {{ssm:%s}}" % name))


def test_rights_do_not_come_from_parameter_store(session, plane):
    plane.parameters = {"yes": ("String", "true"), "who": ("String", "root")}
    refused(plane, session, "runAsElevated", commands("InteractiveCommands", "id", runAsElevated="{{ssm:yes}}"))
    refused(plane, session, "may not come from Parameter Store",
            logged(runAsEnabled=True, runAsDefaultUser="{{ssm:who}}"))
