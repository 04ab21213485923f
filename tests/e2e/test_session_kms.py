"""Sessions encrypted with a KMS key (protocol 3 §7): our plane, agent and client, and each of them with a reference peer."""
import base64
import json
import subprocess
import threading

import pytest

import clientrelay
import conftest
import flsandbox
import refnode
import refsession
import test_sessions
from test_cli import Terminal
from test_iam import new_user
from test_s3 import code_of
from test_session_cli import Client

OK, SERVICE, EXEC_FAILURE = 0, 3, 255
SECRET = b"words-for-two"


class Place:
    """A plane with a node of ours, a key, and the operator's client."""

    def __init__(self, box):
        self.box, self.plane, self.node = box, box.plane, box.agents[0].node_id
        self.kms = conftest.client(box.plane, "kms")
        self.key = self.kms.create_key()["KeyMetadata"]
        self.kms.create_alias(AliasName="alias/sessions", TargetKeyId=self.key["KeyId"])

    def env(self, **more):
        return dict(self.box.env(), **more)

    def __call__(self, *args, stdin=b"", **env):
        return subprocess.run([str(self.box.build / "fairlead"), *map(str, args)], env=self.env(**env), input=stdin,
                              capture_output=True, timeout=60, check=False)

    def document(self, name, kind="Standard_Stream", key="alias/sessions", **more):
        self.plane.api.call("CreateDocument", Name=name, DocumentType="Session", Content=json.dumps({
            "schemaVersion": "1.0", "sessionType": kind, "inputs": {"kmsKeyId": key}, **more}))
        return name

    def preferences(self, key):
        """What all sessions do without a document, or inputs, of their own."""
        name = "SSM-SessionManagerRunShell"
        content = json.dumps({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"kmsKeyId": key}})
        if code := code_of_call(self.plane.api, "CreateDocument", Name=name, DocumentType="Session", Content=content):
            assert code == "DocumentAlreadyExists"
            code = code_of_call(self.plane.api, "UpdateDocument", Name=name, Content=content, DocumentVersion="$LATEST")
            assert code in (None, "DuplicateDocumentContent")
            versions = self.plane.api.call("ListDocumentVersions", Name=name)["DocumentVersions"]
            newest = max(int(v["DocumentVersion"]) for v in versions)
            self.plane.api.call("UpdateDocumentDefaultVersion", Name=name, DocumentVersion=str(newest))

    def last(self):
        rows = [r for state in ("Active", "History")
                for r in self.plane.api.call("DescribeSessions", State=state)["Sessions"]]
        return max(rows, key=lambda r: r["StartDate"])

    def ended(self, status):
        return flsandbox.wait_for(f"a session that is {status}", lambda: (r := self.last())["Status"] == status and r)

    def transcripts(self):
        done = self("transcripts", "list", "--json")
        assert done.returncode == OK, done
        return [json.loads(line) for line in done.stdout.splitlines()]


def code_of_call(api, operation, **members):
    try:
        api.call(operation, **members)
    except Exception as e:  # flapi.ApiError
        return e.code
    return None


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=1) as box:
        yield Place(box)


@pytest.fixture
def preferred(place):
    """Sessions are encrypted unless they say otherwise."""
    place.preferences("alias/sessions")
    yield place
    place.preferences("")


def on_a_terminal(argv, env, node_sends=SECRET.decode()):
    """A shell that echoes what was typed; what stood on the terminal."""
    t = Terminal(argv, env)
    t.read(r"encrypted using AWS KMS")
    t.read(r"[$#] ")
    t.type(f"x={node_sends}; echo got-$x\r")
    t.read(r"got-" + node_sends)
    t.type("exit\r")
    assert t.end() == 0
    return t.text


@pytest.mark.parametrize("form", ["alias", "id", "arn", "alias-arn"])
def test_a_shell_by_every_name_of_the_key(place, form):
    arn = place.key["Arn"]
    name = {"alias": "alias/sessions", "id": place.key["KeyId"], "arn": arn,
            "alias-arn": arn.split("key/")[0] + "alias/sessions"}[form]
    document = place.document(f"Shell-{form}", key=name)
    on_a_terminal([str(place.box.build / "fairlead"), "session", place.node, "-D", document], place.env())
    assert place.ended("Terminated")["DocumentName"] == document


def test_the_preferences_hold_for_shells_and_exec(preferred):
    on_a_terminal([str(preferred.box.build / "fairlead"), "session", preferred.node], preferred.env())
    big = bytes(range(256)) * 4096
    done = preferred("exec", preferred.node, "--shell", "cat; echo err >&2; exit 3", stdin=big)
    assert (done.returncode, done.stdout) == (3, big) and b"err\n" in done.stderr, done.stderr
    assert b"encrypted using AWS KMS" in done.stderr


def test_nothing_is_kept_but_sizes(preferred):
    """What relay and transcript have is ciphertext; the transcript says so."""
    done = preferred("exec", preferred.node, "--shell", "cat; echo err-$((40+2)) >&2", stdin=SECRET)
    assert done.stdout == SECRET
    session = preferred.ended("Terminated")["SessionId"]
    row = flsandbox.wait_for("its transcript", lambda: next(
        (r for r in preferred.transcripts() if r["SessionId"] == session and "EndDate" in r), None))
    assert row["Recorded"] == "counts, encrypted" and row["BytesOut"] > 0, row
    assert preferred("transcripts", "search", "words", "--json").stdout == b""
    assert preferred("transcripts", "verify", session).returncode == OK
    assert b"encrypted" in preferred("transcripts", "list").stdout
    for path in preferred.plane.folder.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert SECRET not in text and b"err-42" not in text, path
