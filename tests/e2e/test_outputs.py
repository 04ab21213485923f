"""Outputs that a command wants in a bucket or a log group (protocol 4 §4.3, protocol 6 §1.6): against a server that
is S3 and CloudWatch Logs in one, checks every signature and keeps what it is given."""
import hashlib
import http.server
import json
import re
import os
import signal
import threading
import urllib.parse

import pytest

import conftest
import flsandbox
import refplane
import wire
from test_faults_agent import Disk
from test_faults_documents import Machine

AWS_HOSTS = ["s3.local.amazonaws.com", "s3.eu-west-9.amazonaws.com", "logs.local.amazonaws.com"]
BUCKET_HOSTS = ["b1.s3.local.amazonaws.com", "b1.s3.eu-west-9.amazonaws.com", "b1.store.test"]
NAMES = ("127.0.0.1", "localhost", "store.test", *AWS_HOSTS, *BUCKET_HOSTS)
EVENT_MAX = 200_000
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs mounts")
POSITION = re.compile(r"fairlead:([0-9a-f]{32}):(\d+):(\d+)")


class Store:
    """What the agent may think of as AWS. `refuse[what]` is a list of (status, code) to answer first; `gates[what]`
    an event that such calls wait for. `what` is a method of S3 or an operation of the logs."""

    def __init__(self, plane):
        self.plane = plane
        self.objects, self.groups = {}, {}
        self.seen, self.violations = [], []
        self.refuse, self.gates, self.began = {}, {}, {}
        self.bucket_region = plane.region
        self.encryption = ""
        self.tokens = False  # sequence tokens matter
        self.positions = {}  # of streams, if it is to know ours: {stream: (writer, offset)}; None: it does not
        self.unsaid = {}  # {operation: how many answers get lost}
        self.changed = threading.Condition()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self):
                store.serve(self)

            do_HEAD = do_PUT = do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = plane.tls.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.proxy = refplane.Proxy("u", "p", {f"{n}:{p}": ("127.0.0.1", self.port)
                                               for n in NAMES[2:] for p in (443, self.port)})
        url = f"https://127.0.0.1:{self.port}"
        self.config = {"S3": {"Endpoint": url}, "Fairlead": {"LogsEndpoint": url}}
        self.proxied = {"Proxy": {"Https": f"http://u:p@127.0.0.1:{self.proxy.port}", "NoProxy": "127.0.0.1"}}

    def close(self):
        for gate in self.gates.values():
            gate.set()
        self.proxy.close()
        self.server.shutdown()
        self.server.server_close()

    # ---- requests ----

    def expect(self, condition, text):
        if not condition:
            self.violations.append(text)

    def serve(self, request):
        h = {k.lower(): v for k, v in request.headers.items()}
        path, _, query = request.path.partition("?")
        host = h["host"].partition(":")[0]
        logs = h.get("x-amz-target", "").startswith("Logs_20140328.")
        what = h["x-amz-target"].partition(".")[2] if logs else request.command
        with self.changed:
            self.seen.append((what, host, request.path))
            self.began[what] = self.began.get(what, 0) + 1
            self.changed.notify_all()
        if what in self.gates:
            self.gates[what].wait(120)
        body = request.rfile.read(int(h.get("content-length", 0)))
        status, answer, headers = self.answer(request.command, host, path, query, h, body, logs, what)
        if self.unsaid.get(what):
            self.unsaid[what] -= 1
            request.close_connection = True
            return
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(answer)
        except OSError:
            pass
        with self.changed:
            self.changed.notify_all()

    def answer(self, method, host, path, query, h, body, logs, what):
        service = "logs" if logs else "s3"
        auth = wire.parse_authorization(h["authorization"])
        access_key, _, region, scope_service, _ = auth["Credential"].split("/")
        secret, token, _ = self.plane.tokens[access_key]
        body_hash = hashlib.sha256(body).hexdigest()
        sent_hash = h.get("x-amz-content-sha256", body_hash)
        canonical = wire.canonical_request(method, urllib.parse.unquote(path) if service == "s3" else path, query, h,
                                           auth["SignedHeaders"], sent_hash)  # s3 encodes once
        _, signature = wire.sigv4(secret, h["x-amz-date"], region, service, canonical)
        self.expect(signature == auth["Signature"] and scope_service == service, f"signature of {method} {path}")
        self.expect(h["x-amz-security-token"] == token, f"token of {method} {path}")
        self.expect(sent_hash in (body_hash, "UNSIGNED-PAYLOAD"), f"hash of {method} {path}")
        self.expect({n for n in h if n.startswith("x-amz-")} <= set(auth["SignedHeaders"]), f"unsigned {sorted(h)}")
        if self.refuse.get(what):
            status, code = self.refuse[what].pop(0)
            if logs:
                return status, json.dumps({"__type": code, "message": "no"}).encode(), {}
            return status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), {}
        if logs:
            return self.answer_logs(what, json.loads(body), h)
        return self.answer_s3(method, host, path, query, h, body, region)

    def answer_s3(self, method, host, path, query, h, body, region):
        if host in BUCKET_HOSTS:
            bucket, key = host.partition(".")[0], urllib.parse.unquote(path[1:])
        else:
            bucket, _, key = urllib.parse.unquote(path[1:]).partition("/")
        where = {"x-amz-bucket-region": self.bucket_region}
        if region != self.bucket_region:
            return 301, b"<Error><Code>PermanentRedirect</Code></Error>", where
        if method == "HEAD":
            return 200, b"", where
        if query == "encryption":
            if not self.encryption:
                return 404, b"<Error><Code>ServerSideEncryptionConfigurationNotFoundError</Code></Error>", {}
            return 200, self.encryption.encode(), {}
        self.expect(method == "PUT" and not query, f"{method} {path}?{query}")
        self.expect(h["content-type"] == "text/plain", f"Content-Type {h['content-type']}")
        self.expect(h["x-amz-acl"] == "bucket-owner-full-control", "x-amz-acl")
        self.objects[bucket, key] = body, h
        return 200, b"", {"ETag": '"1"'}

    def answer_logs(self, what, members, h):
        def error(name, **more):
            return 400, json.dumps({"__type": name, "message": "no", **more}).encode(), {}

        self.expect(h["content-type"] == "application/x-amz-json-1.1", f"Content-Type {h['content-type']}")
        group, stream = members["logGroupName"], members.get("logStreamName")
        if what == "CreateLogGroup":
            if group in self.groups:
                return error("ResourceAlreadyExistsException")
            self.groups[group] = {}
        elif what == "CreateLogStream":
            if stream in self.groups[group]:
                return error("ResourceAlreadyExistsException")
            self.groups[group][stream] = []
        elif what == "PutLogEvents":
            events, kept = members["logEvents"], self.groups[group][stream]
            expected, token = str(len(kept)) if kept else None, members.get("sequenceToken")
            position = POSITION.fullmatch(token or "") if self.positions is not None else None
            if position and not self.tokens:
                writer, start, end = position[1], int(position[2]), int(position[3])
                at = self.positions.get((group, stream), ("", 0))
                if at[0] == writer and start < at[1]:
                    return 200, json.dumps({"nextSequenceToken": f"fairlead:{writer}:{at[1]}:{at[1]}"}).encode(), {}
                self.positions[group, stream] = writer, end
            if self.tokens and token != expected:
                return error("InvalidSequenceTokenException", expectedSequenceToken=expected)
            self.expect(1 <= len(events) <= 4, f"{len(events)} events in a call")
            self.expect(all(0 < len(e["message"].encode()) <= EVENT_MAX for e in events), "length of an event")
            kept += [e["message"] for e in events]
            following = f"fairlead:{writer}:{end}:{end}" if position and not self.tokens else str(len(kept))
            return 200, json.dumps({"nextSequenceToken": following}).encode(), {}
        else:
            self.violations.append(f"logs: {what}")
        return 200, b"{}", {}

    # ---- what tests do ----

    def wait(self, test, what):
        with self.changed:
            assert self.changed.wait_for(test, 60), what

    def text(self, bucket, key):
        return self.objects[bucket, key][0].decode()

    def lines(self, group, stream):
        """All that a stream holds, as it was printed."""
        return "".join(m + "\n" for m in self.groups.get(group, {}).get(stream, []))


@pytest.fixture
def plane(tmp_path):
    with conftest.reference(refplane.RefPlane, tmp_path, names=NAMES) as plane:
        yield plane


@pytest.fixture
def store(plane):
    store = Store(plane)
    yield store
    store.close()
    assert store.violations == []


def document(*steps):
    return {"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": list(lines)}}
        for name, *lines in steps]}


def run(plane, *steps, timeout_s=40, **content):
    job = plane.send_job(document(*steps), OutputS3BucketName="b1", **content)
    return plane.finished(job, timeout_s)


def place(plane, job):
    """"<command>/<node>" of a job, as keys and streams have it."""
    return f"{job.job_id.split('.')[2]}/{next(iter(plane.nodes))}"


# ---- S3 ----

def test_objects_of_a_document(plane, store, new_agent):
    new_agent(plane, config=store.config)
    job = run(plane, ("one:step", "echo out; echo err >&2"), ("quiet", "true"), ("two", "echo 'ü %+'; exit 3"),
              OutputS3KeyPrefix="/pre fix//./x/../logs/")
    at = f"pre fix/logs/{place(plane, job)}/awsrunShellScript"
    assert {k: v[0] for k, v in store.objects.items()} == {
        ("b1", f"{at}/onestep/stdout"): b"out\n", ("b1", f"{at}/onestep/stderr"): b"err\n",
        ("b1", f"{at}/two/stdout"): "ü %+\n".encode(),
        ("b1", f"{at}/two/stderr"): b"failed to run commands: exit status 3"}
    steps = job.steps()
    for key, name in (("one:step", "onestep"), ("quiet", "quiet"), ("two", "two")):
        told = steps[key]
        assert (told["outputS3BucketName"], told["outputS3KeyPrefix"], told["stepName"]) == ("b1", at, name)
    assert steps["two"]["status"] == "Failed" and job.final()["documentStatus"] == "Failed"
    # The bucket is asked once a document.
    assert [w for w, _, _ in store.seen] == ["HEAD", "GET", "PUT", "PUT", "PUT", "PUT"]
    assert [p for _, _, p in store.seen[:2]] == ["/b1/", "/b1/?encryption"]
    assert all("x-amz-server-side-encryption" not in h for _, h in store.objects.values())


def test_schema_1_goes_by_the_id(plane, store, new_agent):
    new_agent(plane, config=store.config)
    job = plane.finished(plane.send_job({"schemaVersion": "1.2", "runtimeConfig": {"aws:runShellScript": {"properties": [
        {"id": "0.aws:runShellScript", "runCommand": ["echo hi"]}]}}}, OutputS3BucketName="b1",
        CloudWatchOutputEnabled="true", document_name="My Doc:x"))
    assert list(store.objects) == [("b1", f"{place(plane, job)}/awsrunShellScript/0.awsrunShellScript/stdout")]
    told = job.steps()["aws:runShellScript"]
    assert told["stepName"] == "0.awsrunShellScript"
    assert told["outputS3KeyPrefix"] == f"{place(plane, job)}/awsrunShellScript"
    assert store.groups == {"/aws/ssm/My.Doc.x": {f"{place(plane, job)}/aws-runShellScript/stdout": ["hi"]}}


def test_encryption_of_the_bucket_is_asked_for(plane, store, new_agent):
    new_agent(plane, config=store.config)
    store.encryption = ("<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>"
                        "aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:r:1:key/a-b</KMSMasterKeyID>"
                        "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>")
    run(plane, ("a", "echo 1"))
    (_, headers), = store.objects.values()
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:aws:kms:r:1:key/a-b"
    # What is no such word does not become a header.
    store.encryption = "<SSEAlgorithm>AES256\r\nx-amz-acl: public-read</SSEAlgorithm>"
    store.objects.clear()
    run(plane, ("a", "echo 1"))
    (_, headers), = store.objects.values()
    assert "x-amz-server-side-encryption" not in headers


def standard_endpoints(agent, store):
    """As a node of AWS is configured: by its region."""
    config = json.loads(agent.config.read_text())
    del config["S3"], config["Fairlead"]["LogsEndpoint"]
    config["Fairlead"].update(store.proxied)
    agent.config.write_text(json.dumps(config))
    agent.start()


def test_standard_endpoints_and_another_region(plane, store, new_agent):
    agent = new_agent(plane, start=False, config=store.config)
    standard_endpoints(agent, store)
    plane.wait_online()
    store.bucket_region = "eu-west-9"
    job = run(plane, ("a", "echo 1"), CloudWatchOutputEnabled="true", CloudWatchLogGroupName="g")
    key = f"{place(plane, job)}/awsrunShellScript/a/stdout"
    assert list(store.objects) == [("b1", key)]
    hosts = [h for w, h, _ in store.seen if not w.startswith(("Create", "PutLog"))]
    assert hosts[0] == "b1.s3.local.amazonaws.com" and set(hosts[1:]) == {"b1.s3.eu-west-9.amazonaws.com"}
    assert store.lines("g", f"{place(plane, job)}/a/stdout") == "1\n"
    # A name that no certificate fits is part of the path.
    plane.finished(plane.send_job(document(("a", "echo 1")), OutputS3BucketName="b.1"))
    assert [k for k in store.objects if k[0] == "b.1"]
    assert store.seen[-1][1] == "s3.eu-west-9.amazonaws.com"


def test_registration_points_at_the_plane(plane, store, new_agent):
    """All of a plane's services are at one address; a store that was chosen by hand stays."""
    def endpoints(agent):
        config = json.loads(agent.config.read_text())
        return config["S3"]["Endpoint"], config["Fairlead"]["LogsEndpoint"]

    agent = new_agent(plane, start=False)
    assert endpoints(agent) == (plane.endpoint, plane.endpoint)
    plane.host = "localhost"  # it moves
    agent.endpoint = plane.endpoint
    agent.register(plane.activation)
    assert endpoints(agent) == (plane.endpoint, plane.endpoint)
    agent = new_agent(plane, start=False, config=store.config)
    assert endpoints(agent) == (store.config["S3"]["Endpoint"], store.config["Fairlead"]["LogsEndpoint"])


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_the_style_is_configured(plane, store, new_agent, style):
    config = {"S3": {"Endpoint": f"https://store.test:{store.port}"},
              "Fairlead": {"S3AddressingStyle": style, **store.proxied}}
    new_agent(plane, config=config)
    run(plane, ("a", "echo 1"))
    assert {b for b, _ in store.objects} == {"b1"}
    assert {h for _, h, _ in store.seen} == {"store.test" if style == "path" else "b1.store.test"}


def test_uploads_that_fail_change_no_result(plane, store, new_agent):
    agent = new_agent(plane, config=store.config)
    store.refuse["PUT"] = [(503, "SlowDown"), (500, "InternalError")]
    store.refuse["HEAD"] = [(403, "AccessDenied")]
    job = run(plane, ("a", "echo 1"))
    assert len(store.objects) == 1 and store.began["PUT"] == 3
    store.refuse["PUT"] = [(403, "AccessDenied")]
    job = run(plane, ("a", "echo 1; echo 2 >&2"))
    assert job.final()["documentStatus"] == "Success" and job.steps()["a"]["outputS3BucketName"] == "b1"
    assert [k[1].rpartition("/")[2] for k in store.objects][1:] == ["stderr"]
    assert "AccessDenied" in agent.log.read_text() and "output not uploaded" in agent.log.read_text()
    # A bucket that can be none, and a key that is too long, are not even asked for.
    asked = len(store.seen)
    for bucket, prefix in (("b1/x?y", ""), ("..", ""), ("b1", "p" * 1500)):
        plane.finished(plane.send_job(document(("a", "echo 1")), OutputS3BucketName=bucket, OutputS3KeyPrefix=prefix))
    assert not [s for s in store.seen[asked:] if s[0] == "PUT"]


def workers(agent):
    return agent.below("fairlead-worker")


def test_a_worker_that_dies_during_an_upload(plane, store, new_agent):
    """The step has run: it is not run again, its result is not lost, and its output arrives once more."""
    agent = new_agent(plane, config=store.config)
    gate = store.gates["PUT"] = threading.Event()
    job = plane.send_job(document(("a", "echo 1; echo ran >> ../../../../ran"), ("b", "echo 2")), OutputS3BucketName="b1")
    store.wait(lambda: store.began.get("PUT"), "the first upload")
    assert job.final() is None
    for pid in workers(agent):
        os.kill(pid, signal.SIGKILL)
    store.wait(lambda: store.began["PUT"] == 2, "the second")
    agent.kill(signal.SIGKILL)  # the monitor; the worker goes on
    agent.start()
    gate.set()
    plane.finished(job, 40)
    assert {s: v["status"] for s, v in job.steps().items()} == {"a": "Success", "b": "Success"}
    at = f"{place(plane, job)}/awsrunShellScript"
    assert {k[1]: v[0] for k, v in store.objects.items()} == {f"{at}/a/stdout": b"1\n", f"{at}/b/stdout": b"2\n"}


def test_a_cancel_ends_an_upload_soon(plane, store, new_agent):
    new_agent(plane, config=store.config)
    store.gates["PUT"] = threading.Event()
    job = plane.send_job(document(("a", "echo 1"), ("b", "echo 2")), OutputS3BucketName="b1")
    store.wait(lambda: store.began.get("PUT"), "the upload")
    plane.cancel(job)
    plane.finished(job, 50)  # the bound without a cancel is a minute
    assert {s: v["status"] for s, v in job.steps().items()} == {"a": "Success", "b": "Cancelled"}


def test_local_copies_go_after_the_upload(plane, store, new_agent):
    agent = new_agent(plane, config={**store.config, "Ssm": {"PluginLocalOutputCleanup": "after-upload"}})

    def kept(job):
        done = agent.state / "done" / job.job_id.split(".")[2]
        flsandbox.wait_for("the folder to be put away", done.exists)
        return (done / "steps").exists()

    assert not kept(run(plane, ("a", "echo 1")))
    store.refuse["PUT"] = [(403, "AccessDenied")]
    assert kept(run(plane, ("a", "echo 1")))
    assert kept(plane.finished(plane.send_job(document(("a", "echo 1")))))  # nowhere to upload to


# ---- CloudWatch Logs ----

def test_lines_are_streamed_while_the_step_runs(plane, store, new_agent, tmp_path):
    new_agent(plane, config=store.config)
    store.tokens = True
    go = tmp_path / "go"
    job = plane.send_job(document(("a:b*c", "echo first; printf 'half '", f"while [ ! -e {go} ]; do sleep 0.05; done",
                                   "echo line; echo err >&2; printf end")),
                         CloudWatchOutputEnabled="true", CloudWatchLogGroupName="/my/group")
    stream = f"{place(plane, job)}/a-b-c"
    store.wait(lambda: store.lines("/my/group", f"{stream}/stdout"), "an event")
    assert store.lines("/my/group", f"{stream}/stdout") == "first\n"  # only whole lines
    assert list(store.groups["/my/group"]) == [f"{stream}/stdout"]    # made with the first output
    go.write_text("")
    plane.finished(job)
    assert store.lines("/my/group", f"{stream}/stdout") == "first\nhalf line\nend\n"
    assert store.lines("/my/group", f"{stream}/stderr") == "err\n"


def test_an_answer_that_is_lost(plane, store, new_agent, tmp_path):
    """The service has taken the events, and nobody knows: with our plane they do not stand twice."""
    new_agent(plane, config=store.config)
    store.unsaid["PutLogEvents"] = 2
    go = tmp_path / "go"
    job = plane.send_job(document(("a", "echo one", f"while [ ! -e {go} ]; do sleep 0.05; done", "echo two; echo err >&2")),
                         CloudWatchOutputEnabled="true", CloudWatchLogGroupName="/my/group")
    store.wait(lambda: store.began.get("PutLogEvents", 0) >= 2, "another try")
    go.write_text("")
    plane.finished(job, 60)
    assert store.lines("/my/group", f"{place(plane, job)}/a/stdout") == "one\ntwo\n"
    assert store.lines("/my/group", f"{place(plane, job)}/a/stderr") == "err\n"
    assert store.unsaid["PutLogEvents"] == 0


def test_a_service_that_knows_no_positions(plane, store, new_agent):
    new_agent(plane, config=store.config)
    store.positions = None
    job = plane.finished(plane.send_job(document(("a", "seq 300000")), CloudWatchOutputEnabled="true",
                                        CloudWatchLogGroupName="/my/group"))
    assert store.lines("/my/group", f"{place(plane, job)}/a/stdout") == "".join(f"{i}\n" for i in range(1, 300001))


def test_much_at_once(plane, store, new_agent):
    new_agent(plane, config=store.config)
    job = plane.finished(plane.send_job(
        document(("a", "seq 300000"), ("b", "head -c 450000 /dev/zero | tr '\\0' x; printf '\\377\\n'")),
        CloudWatchOutputEnabled="True"))
    at, group = place(plane, job), "/aws/ssm/AWS-RunShellScript"
    assert store.lines(group, f"{at}/a/stdout") == "".join(f"{i}\n" for i in range(1, 300001))
    assert all(m[0].isdigit() for m in store.groups[group][f"{at}/a/stdout"])
    assert "".join(store.groups[group][f"{at}/b/stdout"]) == "x" * 450000 + "\ufffd"
    assert "b/stderr" not in "".join(store.groups[group])


def test_a_service_that_fails(plane, store, new_agent):
    agent = new_agent(plane, config=store.config)
    store.refuse = {"CreateLogGroup": [(400, "OperationAbortedException"), (400, "ThrottlingException")],
                    "PutLogEvents": [(500, "InternalFailure"), (400, "InvalidSequenceTokenException"),
                                     (503, "ServiceUnavailableException")]}
    logs = {"CloudWatchOutputEnabled": "true", "CloudWatchLogGroupName": "g"}
    job = plane.finished(plane.send_job(document(("a", "echo 1"), ("b", "echo 2")), **logs), 60)
    assert store.lines("g", f"{place(plane, job)}/a/stdout") == "1\n"
    assert store.lines("g", f"{place(plane, job)}/b/stdout") == "2\n"
    # A refusal for good ends it for the document, and that is all.
    store.refuse = {"PutLogEvents": [(400, "AccessDeniedException")]}
    job = plane.finished(plane.send_job(document(("a", "echo 1"), ("b", "echo 2")), **logs))
    assert job.final()["documentStatus"] == "Success"
    assert store.groups["g"] == {**store.groups["g"], f"{place(plane, job)}/a/stdout": []}
    assert f"{place(plane, job)}/b/stdout" not in store.groups["g"]
    assert agent.log.read_text().count("output is not streamed") == 1


def test_what_was_streamed_is_not_streamed_again(plane, store, new_agent, tmp_path):
    """A worker dies in the middle of a step: the next one sends what is left."""
    agent = new_agent(plane, config=store.config)
    job = plane.send_job(document(("a", "echo first", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"),
                                  ("b", "echo second")),
                         CloudWatchOutputEnabled="true", CloudWatchLogGroupName="g")
    stream = f"{place(plane, job)}/a/stdout"
    note = agent.state / "jobs" / job.job_id.split(".")[2] / "steps" / "0" / "logged"
    flsandbox.wait_for("the note of it", lambda: note.exists() and note.read_text().startswith(f"{6:020}"))
    for pid in workers(agent):
        os.kill(pid, signal.SIGKILL)
    plane.finished(job)
    assert job.steps()["a"]["status"] == "Failed"
    assert store.groups["g"] == {stream: ["first"], f"{place(plane, job)}/b/stdout": ["second"]}


# ---- machines in trouble ----

@as_root
def test_a_reboot_between(plane, store, new_agent, tmp_path):
    """What was printed before it arrives before it, and not twice after it."""
    machine = Machine(plane, new_agent, tmp_path, store.config)
    script = [f"echo run >> {tmp_path}/runs", f"echo $(wc -l < {tmp_path}/runs)", f"[ $(wc -l < {tmp_path}/runs) -gt 1 ] || exit 194"]
    job = plane.send_job(document(("a", *script), ("b", "echo 2")), OutputS3BucketName="b1",
                         CloudWatchOutputEnabled="true", CloudWatchLogGroupName="g")
    at = place(plane, job)
    flsandbox.wait_for("the reboot to be asked for", machine.times_asked)
    assert store.text("b1", f"{at}/awsrunShellScript/a/stdout") == "1\n"
    assert store.groups["g"] == {f"{at}/a/stdout": ["1"]}
    machine.boot()
    plane.finished(job)
    assert store.text("b1", f"{at}/awsrunShellScript/a/stdout") == "1\n2\n"
    assert store.groups["g"] == {f"{at}/a/stdout": ["1", "2"], f"{at}/b/stdout": ["2"]}


@as_root
def test_more_output_than_the_disk_takes(plane, store, new_agent, request):
    """What was kept is uploaded, the result is whole, and cleaning up makes room for the next document."""
    agent = new_agent(plane, start=False, config={**store.config, "Ssm": {"PluginLocalOutputCleanup": "after-upload"}})
    disk = Disk(agent, "full")
    request.addfinalizer(disk.release)
    agent.start()
    plane.wait_online()
    for _ in range(2):
        store.objects.clear()
        job = run(plane, ("a", "head -c 12000000 /dev/zero | tr '\\0' x"),
                  CloudWatchOutputEnabled="true", CloudWatchLogGroupName="g")
        assert job.final()["documentStatus"] == "Success"
        key = f"{place(plane, job)}/awsrunShellScript/a/stdout"
        assert 4_000_000 < len(store.text("b1", key)) < 9_000_000
        assert job.steps()["a"]["standardOutput"].endswith("--output truncated--")
