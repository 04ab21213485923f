"""aws:downloadContent (protocol 4 §5.2, §5.3) from a server that stands in for every host there is."""
import base64
import http.server
import io
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

import pytest

import conftest
import refplane
import wire

NAMES = ("127.0.0.1", "localhost", "files.test", "other.test", "api.github.com", "s3.us-east-1.amazonaws.com",
         "s3.eu-central-1.amazonaws.com")


class Files:
    """The server: files by (host, path), what it was asked, and how it misbehaves."""

    def __init__(self, plane):
        self.plane, self.files, self.requests, self.objects = plane, {}, [], {}
        self.bucket_region = "eu-central-1"
        self.gate = threading.Event()  # opened by a test that wants a download to hang
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                files.serve(self)

            do_POST = do_GET

        self.https, self.http = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2))
        self.https.socket = plane.tls.wrap_socket(self.https.socket, server_side=True)
        for server in (self.https, self.http):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        port = self.https.server_address[1]
        self.proxy = refplane.Proxy("u", "p", {f"{n}:443": ("127.0.0.1", port) for n in NAMES})
        self.config = {"Fairlead": {"Proxy": {"Https": f"http://u:p@127.0.0.1:{self.proxy.port}",
                                              "NoProxy": "127.0.0.1"}}}

    def close(self):
        self.gate.set()
        self.proxy.close()
        for server in (self.https, self.http):
            server.shutdown()
            server.server_close()

    @staticmethod
    def reply(request, status, body, **headers):
        request.send_response(status)
        request.send_header("Content-Length", str(headers.pop("length", len(body))))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    def serve(self, request):
        host = request.headers["Host"].partition(":")[0]
        path, _, query = request.path.partition("?")
        self.requests.append((host, request.path, dict(request.headers)))
        if host.startswith("s3."):
            return self.serve_s3(request, host, path, query)
        found = self.files.get((host, path))
        if callable(found):
            return found(request)
        if found is None:
            return self.reply(request, 404, b"nothing here")
        return self.reply(request, 200, found)

    def serve_s3(self, request, host, path, query):
        region = host.split(".")[1]
        h = {k.lower(): v for k, v in request.headers.items()}
        auth = wire.parse_authorization(h["authorization"])
        secret, token, _ = self.plane.tokens[auth["Credential"].split("/")[0]]
        canonical = wire.canonical_request("GET", urllib.parse.unquote(path), query, h, auth["SignedHeaders"],
                                           h["x-amz-content-sha256"])  # s3 encodes once
        _, signature = wire.sigv4(secret, h["x-amz-date"], region, "s3", canonical)
        if signature != auth["Signature"] or h["x-amz-security-token"] != token:
            return self.reply(request, 403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if region != self.bucket_region:
            return self.reply(request, 301, b"<Error><Code>PermanentRedirect</Code></Error>",
                              x_amz_bucket_region=self.bucket_region)
        bucket, _, key = urllib.parse.unquote(path[1:]).partition("/")
        if not key:
            asked = urllib.parse.parse_qs(query)
            prefix, marker = asked.get("prefix", [""])[0], asked.get("marker", [""])[0]
            keys = sorted(k for b, k in self.objects if b == bucket and k.startswith(prefix) and k > marker)
            page = keys[:2]
            body = "".join(f"<Contents><Key>{escape(k)}</Key><Size>1</Size></Contents>" for k in page)
            more = "true" if len(keys) > 2 else "false"
            return self.reply(request, 200, (f"<?xml version='1.0'?><ListBucketResult><IsTruncated>{more}</IsTruncated>"
                                             f"{body}</ListBucketResult>").encode())
        if (bucket, key) not in self.objects:
            return self.reply(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self.reply(request, 200, self.objects[bucket, key])


@pytest.fixture
def plane(tmp_path):
    with conftest.reference(refplane.RefPlane, tmp_path, names=NAMES) as plane:
        yield plane


@pytest.fixture
def files(plane):
    server = Files(plane)
    yield server
    server.close()


def download(plane, source_type, info, destination, timeout_s=40):
    """One step; (its result, the text of the error or what it printed)."""
    job = plane.send_job({"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:downloadContent", "name": "get", "inputs": {
            "sourceType": source_type, "sourceInfo": info, "destinationPath": str(destination)}}]})
    plane.finished(job, timeout_s)
    step = job.steps()["get"]
    return step["status"], step["standardOutput"] + step["standardError"]


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names_below(folder):
    """Job folders may go while one looks: os.walk does not mind."""
    return {name for _, folders, files in os.walk(folder) for name in folders + files}


def empty(agent, folder):
    """Nothing is left behind, neither in the destination nor in the job folders."""
    assert not folder.exists() or not list(folder.rglob("*"))
    assert not [n for n in names_below(agent.state) if n.startswith(("download-", ".fairlead-"))]


def test_http(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    content = os.urandom(3_000_000)
    files.files["files.test", "/a/file.bin"] = content
    out = tmp_path / "out"
    assert download(plane, "HTTP", {"url": "https://files.test/a/file.bin"}, out / "it") == (
        "Success", f"Content downloaded to {out / 'it'}")
    assert tree(out) == {"it": content}
    assert (out / "it").stat().st_mode & 0o7777 == 0o700 and out.stat().st_mode & 0o7777 == 0o700
    # A folder gets a name of its own; sourceInfo may be text.
    status, text = download(plane, "HTTP", json.dumps({"url": "https://files.test/a/file.bin"}), f"{out}/")
    name = os.path.basename(text)
    assert status == "Success" and name.startswith("download") and (out / name).read_bytes() == content
    # Below the downloads folder, which scripts find.
    assert download(plane, "HTTP", {"url": "https://files.test/a/file.bin"}, "sub/x")[0] == "Success"
    assert not list(agent.state.rglob("download-*"))


def test_http_passwords(plane, files, new_agent, tmp_path):
    new_agent(plane, config=files.config)
    plane.parameters = {"pw": ("SecureString", "s3cret"), "user": ("String", "me"), "plain": ("String", "s3cret")}

    def basic(request):
        if request.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:s3cret").decode():
            return files.reply(request, 200, b"in")
        return files.reply(request, 401, b"out", WWW_Authenticate='Basic realm="r"')

    files.files["files.test", "/b"] = basic
    info = {"url": "https://files.test/b", "authMethod": "Basic", "username": "{{ssm:user}}",
            "password": "{{ ssm-secure:pw }}"}
    assert download(plane, "HTTP", info, tmp_path / "b")[0] == "Success"
    assert plane.calls[-1][1] == {"Names": ["pw"], "WithDecryption": True}
    status, text = download(plane, "HTTP", dict(info, password="{{ssm-secure:plain}}"), tmp_path / "c")
    assert status == "Failed" and "must be of type SecureString" in text
    status, text = download(plane, "HTTP", dict(info, password="{{ssm-secure:gone}}"), tmp_path / "c")
    assert status == "Failed" and "invalid parameters [gone]" in text
    status, text = download(plane, "HTTP", dict(info, password="wrong"), tmp_path / "c")
    assert status == "Failed" and "401" in text and not (tmp_path / "c").exists()
    status, text = download(plane, "HTTP", dict(info, authMethod="Token"), tmp_path / "c")
    assert status == "Failed" and "authMethod" in text


def test_insecure_http(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    url = f"http://127.0.0.1:{files.http.server_address[1]}/f"
    files.files["127.0.0.1", "/f"] = b"plain"
    files.files["files.test", "/down"] = lambda r: files.reply(r, 302, b"", Location=url)
    files.files["files.test", "/over"] = lambda r: files.reply(r, 302, b"", Location="https://other.test/f")
    files.files["other.test", "/f"] = b"other"
    out = tmp_path / "out"
    assert download(plane, "HTTP", {"url": url}, out / "f")[0] == "Failed"
    status, text = download(plane, "HTTP", {"url": "https://files.test/down"}, out / "f")
    assert status == "Failed" and "from https to http" in text
    empty(agent, out)
    for insecure in (True, "true"):
        assert download(plane, "HTTP", {"url": url, "allowInsecureDownload": insecure}, out / "f")[0] == "Success"
    assert download(plane, "HTTP", {"url": "https://files.test/over"}, out / "f")[0] == "Success"
    assert tree(out) == {"f": b"other"}


def test_downloads_that_fail_leave_nothing(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    def cut(request):
        files.reply(request, 200, b"x" * 1000, length=100000)
        request.close_connection = True

    files.files["files.test", "/cut"] = cut
    out = tmp_path / "out"
    for url, words in [("https://files.test/none", "404"), ("https://files.test/cut", "middle of an answer"),
                       ("https://nowhere.invalid/x", "nowhere.invalid"), ("ftp://files.test/x", "not an http")]:
        status, text = download(plane, "HTTP", {"url": url}, out / "f")
        assert status == "Failed" and words in text, text
        empty(agent, out)
    for source_type, words in [("Ftp", "invalid input: Unsupported source type"),
                               ("http", "invalid input: Unsupported source type")]:
        assert download(plane, source_type, {"url": "https://files.test/none"}, out)[1] == words
    assert "sourceInfo" in download(plane, "HTTP", "not json", out)[1]


def test_cancel_during_a_download(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    began = threading.Event()

    def slow(request):
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        request.wfile.write(b"x" * 500)
        request.wfile.flush()
        began.set()
        files.gate.wait(60)

    files.files["files.test", "/slow"] = slow
    job = plane.send_job({"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:downloadContent", "name": "get", "inputs": {
            "sourceType": "HTTP", "sourceInfo": {"url": "https://files.test/slow"},
            "destinationPath": str(tmp_path / "out" / "f")}}]})
    assert began.wait(30)
    plane.cancel(job)
    plane.finished(job, 20)
    assert job.steps()["get"]["status"] == "Cancelled"
    empty(agent, tmp_path / "out")


def test_destinations(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    files.files["files.test", "/f"] = b"new"
    info = {"url": "https://files.test/f"}
    for bad in ("../x", "a/../../x", "./x", "a//b"):
        status, text = download(plane, "HTTP", info, bad)
        assert status == "Failed" and "leads out of its folder" in text, bad
    # A link at the file's place is replaced, not followed.
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"old")
    link.symlink_to(victim)
    assert download(plane, "HTTP", info, link)[0] == "Success"
    assert victim.read_bytes() == b"old" and not link.is_symlink() and link.read_bytes() == b"new"
    assert not list(agent.state.rglob("download-*"))


def test_s3_object_and_prefix(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    files.objects = {("b", "dir/a b+ü.txt"): b"1", ("b", "dir/sub/2"): b"2", ("b", "dir/sub/"): b"",
                     ("b", "dir/z"): b"3", ("b", "dir2"): b"4"}
    out = tmp_path / "out"
    # The whole prefix over three pages; the bucket's region is learnt from the first answer.
    status, text = download(plane, "S3", {"path": "https://s3.amazonaws.com/b/dir"}, out)
    assert (status, text) == ("Success", f"Content downloaded to {out}")
    assert tree(out) == {"a b+ü.txt": b"1", "sub/2": b"2", "z": b"3"}
    # One object; "+" and %20 are blanks, %2B is a plus.
    one = tmp_path / "one"
    status, text = download(plane, "S3", {"path": "https://b.s3.eu-central-1.amazonaws.com/dir/a+b%2B%C3%BC.txt"}, f"{one}/")
    assert (status, text) == ("Success", f"Content downloaded to {one}/a b+ü.txt")
    assert download(plane, "S3", {"path": "https://b.s3.amazonaws.com/dir2"}, one / "named")[0] == "Success"
    assert (one / "named").read_bytes() == b"4"
    for bad in ("https://example.com/b/k", "http://s3.amazonaws.com/b/k", "https://s3.amazonaws.com/",
                "https://s3.amazonaws.com.evil.test/b/k"):
        assert download(plane, "S3", {"path": bad}, one)[1] == "invalid S3 path parameter"
    status, text = download(plane, "S3", {"path": "https://b.s3.amazonaws.com/none"}, tmp_path / "none")
    assert status == "Failed" and "404" in text
    empty(agent, tmp_path / "none")


def test_keys_that_lead_elsewhere(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    for key in ("p/../../x", "p//x", "p/./x", "p/" + "n" * 300):
        files.objects = {("b", "p/a"): b"1", ("b", key): b"2"}
        status, text = download(plane, "S3", {"path": "https://s3.eu-central-1.amazonaws.com/b/p"}, tmp_path / "out")
        assert status == "Failed" and "leads out of the destination" in text, key
        empty(agent, tmp_path / "out")
    # A link below the destination is not walked through.
    out, victim = tmp_path / "out2", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    (out / "sub").symlink_to(victim)
    files.objects = {("b", "p/a"): b"1", ("b", "p/sub/x"): b"2"}
    status, text = download(plane, "S3", {"path": "https://s3.eu-central-1.amazonaws.com/b/p"}, out)
    assert status == "Failed" and not list(victim.iterdir())
    assert [p.name for p in out.iterdir()] == ["sub"]


def test_github(plane, files, new_agent, tmp_path):
    new_agent(plane, config=files.config)
    plane.parameters = {"token": ("SecureString", "ghp_x")}
    content = {"dir/a.sh": b"#!/bin/sh\n", "dir/sub/b": b"\0\xff", "top": b"t"}

    def api(path):
        def answer(request):
            wanted = [p for p in content if p == path or p.startswith(path + "/")]
            if "raw" in request.headers["Accept"]:
                return files.reply(request, 200, content[path])
            if path in content:
                return files.reply(request, 200, json.dumps({"type": "file", "path": path}).encode())
            below = {path + "/" + p[len(path) + 1:].split("/")[0] for p in wanted}
            return files.reply(request, 200, json.dumps(
                [{"type": "file" if p in content else "dir", "path": p, "size": 1} for p in sorted(below)]).encode())
        return answer

    for path in ("dir", "dir/a.sh", "dir/sub", "dir/sub/b", "top"):
        files.files["api.github.com", f"/repos/o/r/contents/{path}"] = api(path)
    out = tmp_path / "out"
    info = {"owner": "o", "repository": "r", "path": "dir"}
    assert download(plane, "GitHub", info, out)[0] == "Success"
    assert tree(out) == {"a.sh": content["dir/a.sh"], "sub/b": content["dir/sub/b"]}
    assert all(p.endswith("?ref=master") and "Authorization" not in h for _, p, h in files.requests)
    files.requests.clear()
    info = {"owner": "o", "repository": "r", "path": "top", "getOptions": "branch:f/x",
            "tokenInfo": "{{ ssm-secure:token }}"}
    assert download(plane, "GitHub", info, f"{out}/")[1] == f"Content downloaded to {out}/top"
    assert all(p.endswith("?ref=f%2Fx") and h["Authorization"] == "Bearer ghp_x" for _, p, h in files.requests)
    assert "ssm-secure" in download(plane, "GitHub", dict(info, tokenInfo="ghp_x"), out)[1]
    assert "getOptions" in download(plane, "GitHub", dict(info, getOptions="tag:x"), out)[1]
    files.files["api.github.com", "/repos/o/r/contents/dir"] = lambda r: files.reply(
        r, 200, json.dumps([{"type": "file", "path": "dir/../../x"}]).encode())
    status, text = download(plane, "GitHub", {"owner": "o", "repository": "r", "path": "dir"}, tmp_path / "no")
    assert status == "Failed" and "leads out" in text and not (tmp_path / "no").exists()


def test_ssm_document(plane, files, new_agent, tmp_path):
    new_agent(plane, config=files.config)
    plane.documents = {"Doc.One": '{"a":1}', "arn:aws:ssm:eu-west-1:111122223333:document/Doc.One": "other"}
    out = tmp_path / "out"
    assert download(plane, "SSMDocument", {"name": "Doc.One:3"}, f"{out}/")[1] == f"Content downloaded to {out}/Doc.One.json"
    assert plane.calls[-1] == ("GetDocument", {"Name": "Doc.One", "DocumentVersion": "3"})
    assert download(plane, "SSMDocument", {"name": "arn:aws:ssm:eu-west-1:111122223333:document/Doc.One"}, out / "x")[0] == "Success"
    assert tree(out) == {"Doc.One.json": b'{"a":1}', "x": b"other"}
    status, text = download(plane, "SSMDocument", {"name": "Gone"}, out)
    assert status == "Failed" and "InvalidDocument" in text
    assert "not a document's" in download(plane, "SSMDocument", {"name": "../x"}, out)[1]


@pytest.mark.skipif(os.getuid() != 0, reason="needs a small file system")
def test_a_full_disk(plane, files, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("cannot mount")
    try:
        files.files["files.test", "/big"] = b"x" * 2_000_000
        status, text = download(plane, "HTTP", {"url": "https://files.test/big"}, small / "sub" / "f")
        assert status == "Failed" and "No space left" in text
        empty(agent, small)
    finally:
        os.system(f"umount {small}")


# ---- Git ----


class Repository:
    """A bare repository, served as `git http-backend` does it."""

    def __init__(self, files, folder, host="files.test", prefix="/r"):
        self.files, self.folder, self.user = files, folder, None
        self.root = folder.parent
        self.backend_env = {}
        self.run("init", "-q", "--bare", "-b", "main", str(folder), cwd=self.root)
        for name in ("/info/refs", "/git-upload-pack"):
            files.files[host, prefix + name] = lambda request, name=name: self.serve(request, name)

    def run(self, *args, cwd=None, **kw):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a",
                   GIT_AUTHOR_EMAIL="a@a", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@a")
        return subprocess.run(["git", *args], cwd=cwd or self.folder, env=env, check=True, capture_output=True,
                              timeout=60, **kw).stdout.decode().strip()

    def blob(self, content):
        return self.run("hash-object", "-w", "--stdin", input=content)

    def tree(self, entries):
        """entries: (mode, name, content, or the id of a tree or commit)."""
        lines = b""
        for mode, name, what in entries:
            kind = {"040000": "tree", "160000": "commit"}.get(mode, "blob")
            lines += f"{mode} {kind} {self.blob(what) if isinstance(what, bytes) else what}\t{name}\0".encode()
        return self.run("mktree", "-z", "--missing", input=lines)

    def commit(self, tree, ref="refs/heads/main"):
        commit = self.run("commit-tree", tree, "-m", "m")
        self.run("update-ref", ref, commit)
        return commit

    def serve(self, request, name):
        if self.user:
            wanted = "Basic " + base64.b64encode(self.user.encode()).decode()
            if request.headers.get("Authorization") != wanted:
                return self.files.reply(request, 401, b"", WWW_Authenticate='Basic realm="r"')
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.folder), "GIT_HTTP_EXPORT_ALL": "1",
               "PATH_INFO": name, "REQUEST_METHOD": request.command, "QUERY_STRING": request.path.partition("?")[2],
               "CONTENT_TYPE": request.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""), "GIT_CONFIG_NOSYSTEM": "1", **self.backend_env}
        out = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, timeout=60).stdout
        head, _, body = out.partition(b"\r\n\r\n")
        status = 200
        for line in head.decode().splitlines():
            if line.startswith("Status: "):
                status = int(line.split()[1])
        return self.files.reply(request, status, body)


@pytest.fixture
def repository(files, tmp_path):
    return Repository(files, tmp_path / "repository.git")


GIT = {"repository": "https://files.test/r"}


def no_git_left(agent):
    assert not names_below(agent.state) & {"git", "objects"}


@pytest.mark.parametrize("version", ["", "0"])
def test_git(plane, files, repository, new_agent, tmp_path, version):
    agent = new_agent(plane, config=files.config)
    if version:
        repository.serve = (lambda serve: lambda request, name: (
            request.headers.__delitem__("Git-Protocol"), serve(request, name)))(repository.serve)
        repository.run("config", "uploadpack.allowAnySHA1InWant", "true")
    big = os.urandom(3_000_000)
    sub = repository.tree([("100755", "b ü", b"b\0\xff"), ("100644", "empty", b"")])
    first = repository.commit(repository.tree([("100644", "old", b"1")]))
    repository.commit(repository.tree([("100644", "a", b"a\n"), ("100644", "big", big), ("040000", "sub", sub)]))
    repository.commit(repository.tree([("100644", "other", b"o")]), "refs/heads/f/x")
    repository.run("tag", "-a", "-m", "m", "v1", first)
    out = tmp_path / "out"
    # HEAD; always a folder.
    assert download(plane, "Git", GIT, out) == ("Success", f"Content downloaded to {out}")
    assert tree(out) == {"a": b"a\n", "big": big, "sub/b ü": b"b\0\xff", "sub/empty": b""}
    assert all(p.stat().st_mode & 0o7777 == 0o700 for p in out.rglob("*"))
    for name, options, want in [("b", "branch:f/x", {"other": b"o"}), ("c", f"commitID:{first}", {"old": b"1"}),
                                ("d", "branch:refs/tags/v1", {"old": b"1"})]:
        assert download(plane, "Git", dict(GIT, getOptions=options), tmp_path / name)[0] == "Success", name
        assert tree(tmp_path / name) == want
    no_git_left(agent)


def test_git_passwords(plane, files, repository, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    plane.parameters = {"pw": ("SecureString", "s3cret-of-git")}
    repository.commit(repository.tree([("100644", "a", b"a")]))
    repository.user = "me:s3cret-of-git"
    info = dict(GIT, username="me", password="{{ ssm-secure:pw }}")
    status, text = download(plane, "Git", GIT, tmp_path / "out")
    assert status == "Failed" and "401" in text and not (tmp_path / "out").exists()
    assert download(plane, "Git", info, tmp_path / "out")[0] == "Success"
    assert tree(tmp_path / "out") == {"a": b"a"}
    assert "s3cret-of-git" not in agent.log.read_text()
    no_git_left(agent)


def test_git_inputs_that_are_refused(plane, files, repository, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    repository.commit(repository.tree([("100644", "a", b"a")]))
    plain = f"http://127.0.0.1:{files.http.server_address[1]}"
    files.files["files.test", "/text/info/refs"] = b"hello"
    for info, words in [
            ({"repository": "file:///etc"}, "not an http or https URL"),
            ({"repository": "ext::sh -c touch% /tmp/x"}, "not an http or https URL"),
            ({"repository": "git@files.test:r"}, "not an http or https URL"),
            ({"repository": "https://me:pw@files.test/r"}, "without query, user and password"),
            ({"repository": "git@files.test:r", "privateSSHKey": "k"}, "privateSSHKey is not supported"),
            (dict(GIT, getOptions="tag:x"), "getOptions"), (dict(GIT, getOptions="commitID:abc"), "40 digits"),
            (dict(GIT, getOptions="branch:none"), "has no refs/heads/none"),
            (dict(GIT, getOptions="commitID:" + 40 * "1"), "not our ref"),
            ({"repository": "https://files.test/none"}, "404"), ({"repository": "https://files.test/text"}, "not Git's"),
            ({"repository": f"{plain}/none"}, "404")]:
        status, text = download(plane, "Git", info, tmp_path / "out")
        assert status == "Failed" and words in text, text
        empty(agent, tmp_path / "out")
    no_git_left(agent)


def test_git_redirects(plane, files, repository, new_agent, tmp_path):
    """None is followed, to whatever scheme; but a host may want the name with .git."""
    agent = new_agent(plane, config=files.config)
    repository.commit(repository.tree([("100644", "a", b"a")]))
    for where in ("https://files.test/r/info/refs", "http://files.test/r/info/refs", "file:///etc/passwd", "ext::x"):
        files.files["files.test", "/moved/info/refs"] = lambda r: files.reply(r, 301, b"", Location=where)
        files.files["files.test", "/moved.git/info/refs"] = files.files["files.test", "/moved/info/refs"]
        status, text = download(plane, "Git", {"repository": "https://files.test/moved"}, tmp_path / "out")
        assert status == "Failed" and "the server redirects" in text
        empty(agent, tmp_path / "out")
    for name in ("/info/refs", "/git-upload-pack"):
        files.files["files.test", "/full.git" + name] = files.files["files.test", "/r" + name]
    assert download(plane, "Git", {"repository": "https://files.test/full/"}, tmp_path / "out")[0] == "Success"


def test_a_hostile_repository(plane, files, repository, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    witness, out = tmp_path / "witness", tmp_path / "out"
    act = f"#!/bin/sh\ntouch {witness}\n".encode()
    hooks = repository.tree([("100755", "post-checkout", act)])
    # Links, submodules, filters and hooks come to nothing.
    repository.commit(repository.tree([
        ("100644", ".gitattributes", b"* filter=lfs text eol=crlf ident\n"), ("100755", "hook", act),
        ("100644", ".gitmodules", f'[submodule "m"]\npath = m\nurl = file://{repository.folder}\n'.encode()),
        ("160000", "m", 40 * "1"), ("120000", "etc", b"/etc"), ("100644", "f", b"$Id$\n"), ("040000", "hooks", hooks)]))
    status, text = download(plane, "Git", GIT, out)
    assert status == "Success" and "2 links and submodules of the repository were left out" in text
    assert sorted(tree(out)) == [".gitattributes", ".gitmodules", "f", "hook", "hooks/post-checkout"]
    assert (out / "f").read_bytes() == b"$Id$\n" and not (out / "etc").is_symlink() and not witness.exists()
    # Names that lead elsewhere.
    for name in ("..", "."):
        bad = repository.tree([("100644", "x", b"x")])
        repository.commit(repository.tree([("040000", name, bad), ("100644", "a", b"a")]))
        status, text = download(plane, "Git", GIT, tmp_path / "bad")
        assert status == "Failed" and "leads out of the destination" in text
        empty(agent, tmp_path / "bad")
    # A small pack with much in it: the same megabyte 9,000 times; too many files.
    blob = repository.blob(bytes(1 << 20))
    for n, what, words in [(9000, blob, "too large"), (10001, b"x", "more than 10000 files")]:
        what = repository.blob(what) if isinstance(what, bytes) else what
        repository.commit(repository.tree([("100644", f"f{i}", what) for i in range(n)]))
        status, text = download(plane, "Git", GIT, tmp_path / "bad")
        assert status == "Failed" and words in text, text
        empty(agent, tmp_path / "bad")
    no_git_left(agent)


def test_a_pack_that_is_none(plane, files, repository, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config)
    repository.commit(repository.tree([("100644", "a", b"a")]))
    serve = files.files["files.test", "/r/git-upload-pack"]

    def line(text):
        return b"%04x%s" % (len(text) + 4, text)

    def instead(answer):
        def answered(request):
            body = request.rfile.read(int(request.headers["Content-Length"]))
            if b"command=fetch" in body:
                return files.reply(request, 200, answer)
            request.rfile = io.BytesIO(body)
            return serve(request)
        files.files["files.test", "/r/git-upload-pack"] = answered

    for answer, words in [(b"", "cut off"), (line(b"packfile\n") + line(b"\x01PACK"), "cut off"),
                          (line(b"packfile\n") + line(b"\x01PACKrubbish") + b"0000", "git ended with status"),
                          (line(b"packfile\n") + line(b"\x03no \x1b[31mmore\n"), "the server says: no  [31mmore"),
                          (line(b"ERR gone\n"), "the server says: gone"), (b"zzzz", "not Git's"),
                          (line(b"packfile\n") + b"0000" + line(b"\x01x"), "not Git's")]:
        instead(answer)
        status, text = download(plane, "Git", GIT, tmp_path / "out")
        assert status == "Failed" and words in text, text
        empty(agent, tmp_path / "out")
        no_git_left(agent)


@pytest.mark.parametrize("where", ["server", "program"])
def test_cancel_during_git(plane, files, repository, new_agent, tmp_path, where):
    """While the server is slow; while git is, which is then a program of that name that never ends."""
    began = threading.Event()
    programs = tmp_path / "programs"
    programs.mkdir(mode=0o755)
    config, env = files.config, None
    if where == "program":
        fake = programs / "git"
        fake.write_text("#!/bin/sh\necho $$ >mine\nsleep 1000 &\nexec sleep 1000\n")
        fake.chmod(0o755)
        env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    agent = new_agent(plane, config=config, env=env)
    repository.commit(repository.tree([("100644", "a", b"a")]))
    serve = repository.serve

    def slow(request, name):
        if where == "server" and name == "/git-upload-pack":
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
            request.wfile.flush()
            began.set()
            return files.gate.wait(60)
        return serve(request, name)

    repository.serve = slow
    job = plane.send_job({"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:downloadContent", "name": "get", "inputs": {
            "sourceType": "Git", "sourceInfo": GIT, "destinationPath": str(tmp_path / "out")}}]})
    pid = 0
    if where == "server":
        assert began.wait(30)
    else:
        deadline = time.monotonic() + 30
        while not pid and time.monotonic() < deadline:
            found = [p.read_text() for p in agent.state.rglob("git/mine")]
            pid = int(found[0]) if found and found[0].endswith("\n") else 0
            time.sleep(0.05)
        assert pid
        if os.getuid() == 0:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            assert "\nUid:\t0\t" not in status and "\nCapPrm:\t0000000000000000\n" in status
            assert "\nNoNewPrivs:\t1\n" in status
            limits = [" ".join(line.split()) for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()]
            assert f"Max address space {2 << 30} {2 << 30} bytes" in limits
            assert f"Max file size {1 << 30} {1 << 30} bytes" in limits
            names = {v.partition(b"=")[0] for v in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if v}
            assert not [n for n in names if not n.startswith(b"GIT_") and n not in (b"PATH", b"HOME", b"LC_ALL", b"PWD", b"_")]
    plane.cancel(job)
    plane.finished(job, 20)
    assert job.steps()["get"]["status"] == "Cancelled"
    empty(agent, tmp_path / "out")
    no_git_left(agent)
    assert not pid or not pathlib.Path(f"/proc/{pid}").exists()


def test_a_node_without_git(plane, files, repository, new_agent, tmp_path):
    agent = new_agent(plane, config=files.config, env={"PATH": str(tmp_path)})
    status, text = download(plane, "Git", GIT, tmp_path / "out")
    assert status == "Failed" and "needs the program git, which this node does not have" in text
    empty(agent, tmp_path / "out")
