"""Sessions encrypted with a KMS key (protocol 3 §7): our plane, agent and client, and each of them with a reference peer."""
import base64
import dataclasses
import json
import os
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
        self.versions = {}  # of the preferences, by key

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
        name, call = "SSM-SessionManagerRunShell", self.plane.api.call
        content = json.dumps({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"kmsKeyId": key}})
        if not self.versions:
            made = call("CreateDocument", Name=name, DocumentType="Session", Content=content)
        elif key not in self.versions:
            made = call("UpdateDocument", Name=name, Content=content, DocumentVersion="$LATEST")
        if key not in self.versions:
            self.versions[key] = made["DocumentDescription"]["DocumentVersion"]
        call("UpdateDocumentDefaultVersion", Name=name, DocumentVersion=self.versions[key])

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


def on_a_terminal(argv, env, node_sends=SECRET.decode(), encrypted=True):
    """A shell that echoes what was typed; what stood on the terminal."""
    t = Terminal(argv, env)
    if encrypted:
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


def test_a_key_that_is_a_parameter(place):
    """Whether it is encrypted, and so recorded, is judged with the parameters in place."""
    document = place.document("Chosen", "NonInteractiveCommands", "{{ key }}", parameters={
        "key": {"type": "String", "default": ""}}, properties={
            "linux": {"commands": "echo plain-or-not", "separateOutputStream": "true"}})
    for more, recorded in (([], "output"), (["-p", "key=alias/sessions"], "counts, encrypted")):
        done = place("session", place.node, "-D", document, *more)
        assert done.returncode == OK and b"plain-or-not" in done.stdout, done
        session = place.ended("Terminated")["SessionId"]
        row = flsandbox.wait_for("its transcript", lambda: next(
            (r for r in place.transcripts() if r["SessionId"] == session and "EndDate" in r), None))
        assert row["Recorded"] == recorded


def test_as_the_plugin_of_the_aws_cli(place, tmp_path):
    (tmp_path / "session-manager-plugin").symlink_to(place.box.build / "fairlead")
    document = place.document("Plugin")
    env = place.env()
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    # The plane is known by --endpoint-url alone, as with the official plugin.
    for name in ("FAIRLEAD_ENDPOINT", "AWS_ENDPOINT_URL"):
        del env[name]
    text = on_a_terminal(["/usr/bin/aws", "--endpoint-url", place.plane.endpoint, "ssm", "start-session", "--target",
                          place.node, "--document-name", document], env)
    assert "Starting session with SessionId" in text and "Exiting session with sessionId" in text


# ---- where it is refused ----

def failed(place, document, why, **env):
    """Both sides say why; nothing hangs."""
    done = place("session", place.node, "-D", document, **env)
    assert done.returncode == SERVICE and done.stdout == b"", done
    for word in why:
        assert word.encode() in done.stderr, done.stderr
    details = place.ended("Failed").get("Details", "")
    assert all(word in details for word in why), details


def test_no_right_to_the_key(place):
    """Who may start a session, but not ask for a data key of that key."""
    def policy(*more):
        return {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["ssm:*", "ssmmessages:*"], "Resource": "*"}, *more]}
    access, secret = new_user(place.plane, "ann", policy())
    document = place.document("Denied")
    keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    failed(place, document, ["AccessDeniedException", "kms:GenerateDataKey"], **keys)
    access, secret = new_user(place.plane, "ben", policy(
        {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": place.key["Arn"]}))
    on_a_terminal([str(place.box.build / "fairlead"), "session", place.node, "-D", document],
                  place.env(AWS_ACCESS_KEY_ID=access, AWS_SECRET_ACCESS_KEY=secret))


def test_no_such_key(place):
    failed(place, place.document("Unknown", key="alias/none"), ["NotFoundException", "alias/none"])


def test_a_disabled_key(place):
    key = place.kms.create_key()["KeyMetadata"]
    document = place.document("Disabled", key=key["KeyId"])
    place.kms.disable_key(KeyId=key["KeyId"])
    failed(place, document, ["DisabledException", key["Arn"]])
    place.kms.enable_key(KeyId=key["KeyId"])
    on_a_terminal([str(place.box.build / "fairlead"), "session", place.node, "-D", document], place.env())


def test_disabled_between_the_ends(place):
    """The client has its key, the agent can no longer open it: the client is told why."""
    key = place.kms.create_key()["KeyMetadata"]["KeyId"]
    document = place.document("Between", key=key)
    answer = place.plane.api.call("StartSession", Target=place.node, DocumentName=document)
    api = refsession.Api(place.plane.endpoint, flsandbox.REGION, place.plane.access_key, place.plane.secret_key,
                         ca_file=place.plane.ca_file)
    made = api.data_key

    def data_key(*args):
        got = made(*args)
        place.kms.disable_key(KeyId=key)
        return got
    api.data_key = data_key
    client = refsession.Client(answer, place.node, api, place.plane.ca_file).start()
    assert client.wait_end() == "closed" and client.violations == []
    details = place.ended("Failed")["Details"]
    assert "Decrypt" in details and "DisabledException" in details
    assert "DisabledException" in json.dumps(client.closed)


def test_another_nodes_key(place):
    """A data key for one node is no use to another, whatever that one says it is for."""
    context = {"aws:ssm:SessionId": "s-1", "aws:ssm:TargetId": place.node}
    made = place.kms.generate_data_key(KeyId="alias/sessions", NumberOfBytes=64, EncryptionContext=context)
    other = refnode.RefNode(place.plane.endpoint, place.plane.ca_file)
    try:
        other.online(place.plane.activation())
        its = conftest.client(place.plane, "kms", *(other.credentials[k] for k in (
            "AccessKeyId", "SecretAccessKey", "SessionToken")))
        blob = made["CiphertextBlob"]
        assert code_of(its.decrypt, CiphertextBlob=blob, EncryptionContext=context) == "AccessDeniedException"
        lie = dict(context, **{"aws:ssm:TargetId": other.node_id})
        assert code_of(its.decrypt, CiphertextBlob=blob, EncryptionContext=lie) == "InvalidCiphertextException"
    finally:
        other.close()


# ---- one end is a reference peer ----

def test_our_agent_with_the_reference_client(place):
    document = place.document("Theirs")
    answer = place.plane.api.call("StartSession", Target=place.node, DocumentName=document)
    api = refsession.Api(place.plane.endpoint, flsandbox.REGION, place.plane.access_key, place.plane.secret_key,
                         ca_file=place.plane.ca_file)
    client = refsession.Client(answer, place.node, api, place.plane.ca_file).start()
    client.wait_ready()
    assert client.seal and "encrypted" in client.customer_message
    client.send(b"echo got-$((40+2))\r")
    client.wait_output(b"got-42")
    client.send(b"exit\r")
    assert client.wait_end() == "closed" and client.violations == []


def test_our_client_with_the_reference_agent(place):
    theirs = test_sessions.Place(place.plane)
    try:
        document = place.document("Official")
        on_a_terminal([str(place.box.build / "fairlead"), "session", theirs.target, "-D", document], place.env())
        agent = list(theirs.node.sessions.values())[-1]
        agent.wait_end()
        assert agent.seal and agent.violations == []
        commands = place.document("OfficialCommand", "NonInteractiveCommands", properties={
            "linux": {"commands": "sh -c 'echo out; echo err >&2; exit 7'", "separateOutputStream": "true"}})
        done = place("session", theirs.target, "-D", commands)
        assert b"out" in done.stdout and b"err" in done.stderr and done.returncode == 7, done
    finally:
        theirs.close()


# ---- the client alone, at a plane that answers what it likes ----

class KeyRelay(clientrelay.ClientRelay):
    """`answer` makes of the right answer to GenerateDataKey what is sent; `keys` has those that were given out."""

    def __init__(self):
        super().__init__()
        self.answer_key, self.given = (lambda right: (200, right)), []
        document = clientrelay.session_document()
        self.documents["SSM-SessionManagerRunShell"] = dict(document, inputs={"kmsKeyId": "alias/sessions"})

    def post(self, request):
        if not request.headers["X-Amz-Target"].endswith(".GenerateDataKey"):
            super().post(request)
            return
        assert "/kms/aws4_request" in request.headers["Authorization"]
        members = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        assert members["KeyId"] == "alias/sessions" and members["NumberOfBytes"] == 64
        key, sealed = os.urandom(64), os.urandom(40)
        self.keys[sealed] = key, members["EncryptionContext"]
        self.given.append(key)
        self.answer(request, *self.answer_key({"Plaintext": base64.b64encode(key).decode(),
                                               "CiphertextBlob": base64.b64encode(sealed).decode()}))


@pytest.fixture
def keys():
    r = KeyRelay()
    yield r
    r.close()
    for node in r.nodes.values():
        node.stopped.set()
        node.handler.kill()


@pytest.mark.parametrize("answer, why", [
    (lambda right: (200, {**right, "Plaintext": base64.b64encode(bytes(32)).decode()}), "the answer has no data key"),
    (lambda right: (200, {**right, "Plaintext": "no base64!"}), "the answer has no data key"),
    (lambda right: (200, {**right, "CiphertextBlob": ""}), "the answer has no data key"),
    (lambda right: (200, {"Plaintext": right["Plaintext"]}), "the answer has no data key"),
    (lambda right: (200, []), "the answer has no data key"),
    (lambda right: (400, {"__type": "KMSInvalidStateException", "message": "pending deletion"}),
     "KMSInvalidStateException: pending deletion"),
    (lambda right: (200, {**right, "Plaintext": base64.b64encode(bytes(64)).decode()}),
     "the agent does not have the session's key"),
])
def test_a_wrong_answer_of_kms(keys, tmp_path, answer, why):
    keys.answer_key = answer
    done = Client(keys, tmp_path)("session", clientrelay.NODE)
    assert done.returncode == SERVICE and done.stdout == b"" and why.encode() in done.stderr, done
    if "agent" not in why:
        assert "alias/sessions" in done.stderr.decode()
        output = flsandbox.wait_for("the end of the session", lambda: keys.done_with.get(keys.last.session_id))
        assert output[0] == "Failed" and why in output[1], output


def test_kms_is_silent(keys, tmp_path):
    """The node gives up first, and the client with it."""
    over = threading.Event()

    def silent(right):
        over.wait(60)
        return 500, {}
    keys.answer_key, keys.node = silent, {"quirks": dataclasses.replace(clientrelay.FAST, handshake_s=1)}
    done = Client(keys, tmp_path)("session", clientrelay.NODE)
    over.set()
    assert b"Handshake timed out" in done.stderr and done.stdout == b"", done


def test_without_credentials(keys, tmp_path):
    """The plugin gets a session from its caller, and may have no credentials of its own."""
    _, granted = keys.StartSession({"Target": clientrelay.NODE})
    done = subprocess.run(
        ["session-manager-plugin", json.dumps(granted), "local", "StartSession", "", json.dumps(
            {"Target": clientrelay.NODE}), keys.endpoint], executable=str(flsandbox.default_build() / "fairlead"),
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, timeout=60, check=False)
    assert b"there are no credentials to ask for a data key with" in done.stderr, done


def test_a_lost_connection(keys, tmp_path):
    """What is sent again is what was sealed then."""
    t = Client(keys, tmp_path).terminal("session", clientrelay.NODE)
    t.read(r"[$#] ")
    for i in range(3):
        t.type(f"echo n{i}-$((40+2))\r")
        t.read(f"n{i}-42")
        keys.lose_client()
        t.type(f"echo m{i}-$((40+2))\r")
        t.read(f"m{i}-42")
    t.type("exit\r")
    assert t.end() == 0 and len(keys.given) == 1
