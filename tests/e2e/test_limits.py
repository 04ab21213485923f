"""The plane's front under attack: TLS, slow and many connections, guessing, descriptors, secrets.

Every plane here is private, with short limits, so that what takes minutes in life takes seconds.
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import flapi
import flsandbox
import refnode
import wire


def start_plane(folder, nofile=None, settings=None, port=None):
    """A plane with settings of the test's own and, if given, few descriptors."""
    plane = flsandbox.Plane(folder, flsandbox.default_build(), port=port)
    plane.init()
    plane.configure(**(settings or {}))
    if nofile:
        spawn = plane.spawn
        plane.spawn = lambda argv, log, env: spawn(["prlimit", f"--nofile={nofile}:{nofile}", *argv], log, env)
    plane.start()
    return plane


@pytest.fixture
def make_plane(tmp_path, request):
    made = []

    def make(name="plane", **kw):
        made.append(start_plane(tmp_path / name, **kw))
        return made[-1]

    yield make
    for plane in made:
        plane.end_everything()
        text = plane.log.read_text(errors="replace")
        if getattr(request.node, "failed_call", False):
            print(flsandbox.tail(plane.log, 25))
        assert not [m for m in flsandbox.SANITIZER_MARKS if m in text], text[-5000:]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """One plane for the tests that leave it as it was."""
    plane = start_plane(tmp_path_factory.mktemp("limits") / "plane", settings={"HeaderSeconds": 6})
    yield plane
    plane.end_everything()


def metric(plane, name, source="127.0.0.1"):
    text = fetch(plane, "GET", "/metrics", source=source)[1].decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))


def fetch(plane, method, path, body=None, headers=None, source="127.0.0.1"):
    """(status, body) of a request from an address of loopback."""
    conn = http.client.HTTPSConnection(plane.host, plane.port, context=plane.api.tls, timeout=60,
                                       source_address=(source, 0))
    try:
        conn.request(method, path, body, headers or {})
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- TLS -----------------------------------------------------------------------------------------

def s_client(plane, *args, text=""):
    done = subprocess.run(["openssl", "s_client", "-connect", f"{plane.host}:{plane.port}", "-CAfile",
                           str(plane.ca_file), *args], input=text, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.parametrize("args, taken", [
    (["-tls1_3"], True),
    (["-tls1_2"], True),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True),
    (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], False),
    (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], False),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], False),
    (["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES128-SHA:@SECLEVEL=0"], False),
    (["-tls1_2", "-cipher", "NULL:aNULL:@SECLEVEL=0"], False),
])
def test_tls_versions_and_suites(plane, args, taken):
    said = s_client(plane, *args)
    assert ("Verify return code: 0 (ok)" in said and "Cipher is (NONE)" not in said) == taken, said


def test_renegotiation_is_refused(plane):
    said = s_client(plane, "-tls1_2", text="R\n")
    assert "Secure Renegotiation IS supported" in said  # the protection, not the thing
    assert "no renegotiation" in said, said


def test_python_resumes_sessions_and_speaks_nothing_old(plane):
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = ssl.create_default_context(cafile=plane.ca_file)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(socket.create_connection((plane.host, plane.port)), server_hostname=plane.host)
    ctx = ssl.create_default_context(cafile=plane.ca_file)
    session = None
    for i in range(8):  # whichever loop answers
        with ctx.wrap_socket(socket.create_connection((plane.host, plane.port)), server_hostname=plane.host,
                             session=session) as s:
            assert s.session_reused == (i > 0)
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
            session = s.session


# ---- slow connections ----------------------------------------------------------------------------

class Slow:
    """A connection that says a byte a second at most. `kind` is how far it goes at first."""

    def __init__(self, plane, kind):
        self.sock = socket.create_connection((plane.host, plane.port), timeout=30)
        self.rest = iter(())
        if kind == "hello":
            self.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        if kind in ("head", "body"):
            ctx = ssl.create_default_context(cafile=plane.ca_file)
            self.sock = ctx.wrap_socket(self.sock, server_hostname=plane.host)
        if kind == "head":
            self.rest = iter(b"POST / HTTP/1.1\r\nX-Long: " + b"a" * 1000)
        if kind == "body":
            self.sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
            self.rest = iter(b"b" * 1000)
        self.kind = kind

    def drip(self):
        """One byte more. False once the plane has closed."""
        try:
            self.sock.settimeout(5)
            for byte in self.rest:
                self.sock.send(bytes([byte]))
                break
            if select.select([self.sock], [], [], 0)[0]:
                return len(self.sock.recv(4096)) > 0
            return True
        except ssl.SSLWantReadError:
            return True
        except (OSError, ssl.SSLError):
            return False


def timed_call(plane):
    began = time.monotonic()
    plane.api.call("ListCommands", timeout_s=10)
    return time.monotonic() - began


def test_slow_connections_do_no_harm(plane):
    """Several hundred attackers: whoever has a request is answered, and the attackers are cut off."""
    quiet = sorted(timed_call(plane) for _ in range(20))
    before_kb, before_s = rss_kb(plane.pid), cpu_s(plane.pid)
    slow = [Slow(plane, kind) for kind in ["silent"] * 200 + ["hello"] * 180 + ["head"] * 120]
    peak_kb, times = before_kb, []
    end = time.monotonic() + 40
    while slow:
        assert time.monotonic() < end, [s.kind for s in slow]
        times += [timed_call(plane) for _ in range(10)]
        peak_kb = max(peak_kb, rss_kb(plane.pid))
        slow = [s for s in slow if s.drip()]
    times.sort()
    print(f"\n500 slow connections: memory {before_kb} -> {peak_kb} KB, {cpu_s(plane.pid) - before_s:.2f} s of CPU; "
          f"a call {times[len(times) // 2] * 1000:.1f} ms (median of {len(times)}), {times[-1] * 1000:.1f} ms (most); "
          f"before {quiet[10] * 1000:.1f} and {quiet[-1] * 1000:.1f} ms")
    if "asan" not in str(plane.build):
        assert peak_kb - before_kb < 500 * 100


def test_more_slow_connections_than_places(make_plane):
    """With every place of an address taken by who has shown nothing, others of it get one within seconds,
    other addresses at once, and nodes that are connected do not notice."""
    plane = make_plane(settings={"MaxUnauthenticatedPerAddress": 6, "HeaderSeconds": 60, "Loops": 2})
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    node.online(plane.activation())
    slow = [Slow(plane, "silent") for _ in range(16)]
    assert from_elsewhere(plane) == 200
    assert metric(plane, "fairlead_connections_dropped_total", "127.0.0.2") == 0  # nobody had to make room
    assert plane.api.call("ListCommands", timeout_s=60) is not None
    assert metric(plane, "fairlead_connections_dropped_total", "127.0.0.2") > 0
    assert metric(plane, "fairlead_nodes_connected", "127.0.0.2") == 1
    assert try_send(plane, node)
    node.close()
    for s in slow:
        s.sock.close()


# ---- descriptors ---------------------------------------------------------------------------------

def test_out_of_descriptors(make_plane):
    """Nothing left to accept with: no busy loop, few words, those who are here go on, and all is well
    afterwards."""
    plane = make_plane(settings={"HeaderSeconds": 3})
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    node.online(plane.activation())
    used = len(os.listdir(f"/proc/{plane.pid}/fd"))
    soft, hard = resource.prlimit(plane.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, (used + 5, hard))
    crowd = []
    for _ in range(100):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((plane.host, plane.port))
        crowd.append(s)
    flsandbox.wait_for("the plane to say so", lambda: "no descriptor is free" in plane.log.read_text())
    began = cpu_s(plane.pid)
    time.sleep(1)
    assert cpu_s(plane.pid) - began < 0.5
    for s in crowd:
        s.close()
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, (soft, hard))
    command = flsandbox.wait_for("a command to be taken", lambda: try_send(plane, node), 40)
    flsandbox.wait_for("the node's answer", lambda: plane.api.call(
        "ListCommands", CommandId=command)["Commands"][0]["Status"] == "Success", 40)
    assert metric(plane, "fairlead_channel_opens_total") == 1
    assert metric(plane, "fairlead_accept_failures_total") > 0
    assert plane.log.read_text().count("descriptor") == 1
    node.close()


def test_connections_leave_descriptors_for_the_store(make_plane):
    plane = make_plane(nofile=200, settings={"Loops": 2, "HeaderSeconds": 2})
    crowd = []
    for _ in range(300):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((plane.host, plane.port))
        crowd.append(s)
    flsandbox.wait_for("a command to be taken", lambda: try_call(plane), 40)
    assert metric(plane, "fairlead_connections_refused_total") > 0
    assert metric(plane, "fairlead_accept_failures_total") == 0
    for s in crowd:
        s.close()


def try_call(plane):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return plane.api.call("ListCommands") is not None
    return None


def try_send(plane, node):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return plane.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node.node_id],
                              Parameters={"commands": ["true"]})["Command"]["CommandId"]
    return None


# ---- one port, one plane -------------------------------------------------------------------------

def test_a_port_is_of_one_plane(make_plane):
    first = make_plane("first")
    second = flsandbox.Plane(first.folder.parent / "second", first.build, port=first.port)
    second.init()
    second.spawn([second.build / "fairlead-server", "run", "--data", second.data], second.log, second.base_env())
    assert second.child.wait(30) != 0
    assert "in use" in second.log.read_text()
    assert first.api.call("ListCommands") is not None


# ---- certificates --------------------------------------------------------------------------------

def serial(plane):
    with wire.tls_connect(plane.host, plane.port, plane.ca_file) as s:
        return ssl.DER_cert_to_PEM_cert(s.getpeercert(True))


def test_hangup_reads_the_certificate_and_drops_nobody(make_plane, tmp_path):
    plane = make_plane()
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    node.online(plane.activation())
    old = serial(plane)
    kept = http.client.HTTPSConnection(plane.host, plane.port, context=ssl.create_default_context(
        cafile=plane.ca_file))
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    pki = plane.data / "pki"
    new_cert(pki, tmp_path)
    os.kill(plane.pid, signal.SIGHUP)
    flsandbox.wait_for("the new certificate", lambda: serial(plane) != old)
    for _ in range(6):  # every loop has it
        assert serial(plane) != old
    kept.request("GET", "/healthz")
    assert kept.getresponse().status == 200
    node.ping()
    assert metric(plane, "fairlead_nodes_connected") == 1
    assert metric(plane, "fairlead_channel_opens_total") == 1
    (pki / "server.crt").write_text("nonsense")
    now = serial(plane)
    os.kill(plane.pid, signal.SIGHUP)
    flsandbox.wait_for("words", lambda: "the certificate in use stays" in plane.log.read_text())
    assert serial(plane) == now
    node.close()


def new_cert(pki, tmp_path):
    """Another certificate of the plane's own CA."""
    ext = tmp_path / "ext"
    ext.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True)  # noqa: E731
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "k",
        "-out", tmp_path / "r", "-subj", "/CN=new")
    run("x509", "-req", "-in", tmp_path / "r", "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial",
        "-CAserial", tmp_path / "serial", "-days", "30", "-extfile", ext, "-out", tmp_path / "c")
    shutil.copyfile(tmp_path / "k", pki / "server.key")
    shutil.copyfile(tmp_path / "c", pki / "server.crt")


# ---- guessing ------------------------------------------------------------------------------------

def api_with(plane, secret=None, key=None):
    return flapi.Api(plane.endpoint, str(plane.ca_file), key or plane.access_key, secret or plane.secret_key)


def code_of(call):
    try:
        call()
        return "ok"
    except flapi.ApiError as e:
        return e.code.rpartition("#")[2]


def audit_lines(plane):
    return [json.loads(line) for line in (plane.data / "audit/audit.log").read_text().splitlines()]


def test_guessing_a_secret_is_slow_and_hinders_nobody_else(make_plane):
    plane = make_plane()
    wrong = api_with(plane, "x" * 40)
    began = time.monotonic()
    for _ in range(6):
        assert code_of(lambda: wrong.call("ListCommands")) == "InvalidSignatureException"
    assert time.monotonic() - began > 0.25 + 0.5 + 1.0  # the fourth and on are kept back
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        # As many as there may be at a time, kept back for seconds each …
        held = [pool.submit(code_of, lambda: wrong.call("ListCommands", timeout_s=60)) for _ in range(20)]
        flsandbox.wait_for("refusals", lambda: metric(plane, "fairlead_guesses_refused_total") >= 6)
        assert metric(plane, "fairlead_guesses_slowed_total") >= 8
        # … meanwhile another key of the same address works, and this one from elsewhere.
        other = json.loads(plane.command("admin", "--data", plane.data, "--json", "key", "create",
                                         "admin").stdout)
        second = api_with(plane, other["SecretAccessKey"], other["AccessKeyId"])
        for _ in range(5):
            assert code_of(lambda: second.call("ListCommands")) == "ok"
            assert from_elsewhere(plane) == 200
        assert metric(plane, "fairlead_guesses_slowed_total") >= 8
        codes = [h.result(60) for h in held]
    looked_at = codes.count("InvalidSignatureException")
    assert 8 <= looked_at <= 14 and looked_at + codes.count("ThrottlingException") == 20, codes
    assert code_of(lambda: plane.api.call("ListCommands")) == "ok"  # the right one, at once again
    plane.stop()
    wrong_lines = [a for a in audit_lines(plane) if a.get("error") == "InvalidSignatureException"]
    assert len(wrong_lines) == 11, wrong_lines  # ten, and one that counts the rest
    assert wrong_lines[-1]["count"] == 6 + looked_at - 10 and wrong_lines[-1]["sourceIp"] == "127.0.0.1"
    assert plane.log.read_text().count("wrong credentials") == 1


def from_elsewhere(plane):
    """Status of a call with the right key from another address."""
    api, body = plane.api, b"{}"
    headers = {"content-type": "application/x-amz-json-1.1", "host": api.netloc,
               "x-amz-target": "AmazonSSM.ListCommands"}
    api.sign(headers, body, "ssm")
    return fetch(plane, "POST", "/", body, headers, "127.0.0.2")[0]


def test_guessing_a_code_hinders_no_other_registration(make_plane):
    """One node behind an address has a wrong code and tries for ever; the others register."""
    plane = make_plane()
    activation = plane.activation(limit=20)
    wrong = dict(activation, ActivationCode="A" * 20)
    stop = threading.Event()
    seen = []

    def insist():
        with contextlib.suppress(OSError, http.client.HTTPException):  # the plane is gone in the end
            while not stop.is_set():
                try:
                    nodes[0].register(wrong)
                except refnode.NodeError as e:
                    seen.append(e.code)

    nodes = [refnode.RefNode(plane.endpoint, plane.ca_file) for _ in range(3)]
    threading.Thread(target=insist, daemon=True).start()
    flsandbox.wait_for("wrong guesses", lambda: len(seen) >= 5)
    for node in nodes[1:]:
        node.register(activation)
    stop.set()
    assert set(seen) == {"InvalidActivation"}
    assert metric(plane, "fairlead_guesses_slowed_total") >= 1


# ---- nodes that vanish ---------------------------------------------------------------------------

class Relay:
    """A TCP relay that can stop relaying without closing anything: a network that is gone."""

    def __init__(self, host, port):
        self.to, self.cut, self.pairs = (host, port), False, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                a, _ = self.listener.accept()
                b = socket.create_connection(self.to)
                self.pairs += [a, b]
                for x, y in ((a, b), (b, a)):
                    threading.Thread(target=self.pump, args=(x, y), daemon=True).start()

    def pump(self, x, y):
        with contextlib.suppress(OSError):
            while True:
                data = x.recv(65536)
                while self.cut:
                    time.sleep(0.1)
                if not data:
                    y.shutdown(socket.SHUT_WR)
                    return
                y.sendall(data)

    def close(self):
        self.cut = False
        for s in [self.listener, *self.pairs]:
            s.close()


def test_a_node_whose_network_is_gone_is_noticed(make_plane):
    plane = make_plane(settings={"SilentNodeSeconds": 3})
    relay = Relay(plane.host, plane.port)
    node = refnode.RefNode(f"https://127.0.0.1:{relay.port}", plane.ca_file)
    node.register(plane.activation())
    node.get_token()
    node.open()  # and no health ping, which counts for 15 minutes: it is Online by its channel
    flsandbox.wait_for("Online", lambda: plane.node_info(node.node_id)["PingStatus"] == "Online")
    relay.cut = True
    flsandbox.wait_for("ConnectionLost", lambda: plane.node_info(node.node_id)["PingStatus"] == "ConnectionLost", 30)
    assert metric(plane, "fairlead_nodes_connected") == 0
    command = try_send(plane, node)
    again = refnode.RefNode(plane.endpoint, plane.ca_file)
    again.key, again.fingerprint, again.node_id = node.key, node.fingerprint, node.node_id
    again.get_token()
    again.open()
    flsandbox.wait_for("the job over the next channel", lambda: plane.api.call(
        "ListCommands", CommandId=command)["Commands"][0]["Status"] == "Success", 30)
    relay.close()
    node.close()
    again.close()


# ---- secrets -------------------------------------------------------------------------------------

def test_no_secret_is_written_anywhere(make_plane):
    """Everything secret that passes the plane, looked for in all that it writes for people to read."""
    plane = make_plane(settings={"LogLevel": "debug"})
    secrets = {"admin's secret key": plane.secret_key}
    activation = plane.activation()
    secrets["activation code"] = activation["ActivationCode"]
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    bad = dict(activation, ActivationCode="wrong" + "B" * 15)
    with pytest.raises(refnode.NodeError):
        node.register(bad)
    secrets["wrong activation code"] = bad["ActivationCode"]
    node.online(activation)
    secrets["node's secret key"] = node.credentials["SecretAccessKey"]
    secrets["node's session token"] = node.credentials["SessionToken"]
    key = json.loads(plane.command("admin", "--data", plane.data, "--json", "key", "create", "admin").stdout)
    secrets["second secret key"] = key["SecretAccessKey"]
    secrets["parameter"] = "hunter2-very-secret-parameter"
    sent = plane.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node.node_id],
                          Parameters={"commands": [f"PASSWORD={secrets['parameter']} true"]})
    flsandbox.wait_for("the answer", lambda: plane.api.call(
        "ListCommands", CommandId=sent["Command"]["CommandId"])["Commands"][0]["Status"] == "Success")
    for wrong in (api_with(plane, "y" * 40), api_with(plane, key="AKIA0000000000000000")):
        assert code_of(lambda: wrong.call("ListCommands")) != "ok"  # noqa: B023
    body = b'{"Parameters": {"x": ["' + secrets["parameter"].encode() + b'"]}, "InstanceIds": 5}'
    headers = {"content-type": "application/x-amz-json-1.1", "host": plane.api.netloc,
               "x-amz-target": "AmazonSSM.SendCommand"}
    plane.api.sign(headers, body, "ssm")
    secrets["signature"] = headers["authorization"].rpartition("Signature=")[2]
    answer = plane.api.raw(body, headers)
    assert answer[0] == 400
    assert secrets["parameter"] not in answer[2].decode()
    for f in ("server.key", "ca.key"):
        lines = (plane.data / "pki" / f).read_text().splitlines()
        secrets[f] = max(lines, key=len)
    secrets["seal key"] = (plane.data / "keys/seal").read_bytes().hex()
    metrics = plane.api.get("/metrics")[1]
    node.close()
    plane.stop()
    written = {"log": plane.log.read_text(errors="replace"), "metrics": str(metrics),
               "audit": "".join(p.read_text() for p in (plane.data / "audit").iterdir())}
    assert node.node_id in written["audit"] or "SendCommand" in written["audit"]  # it is the right file
    found = [(what, where) for what, secret in secrets.items() for where, text in written.items() if secret in text]
    assert found == []


def test_secrets_rest_sealed_or_hashed(make_plane):
    plane = make_plane()
    activation = plane.activation()
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    node.online(activation)
    node.close()
    plane.stop()
    stored = b"".join(p.read_bytes() for p in (plane.data / "db").iterdir())
    assert activation["ActivationId"].encode() in stored  # it is the right file
    for secret in (plane.secret_key, activation["ActivationCode"], node.credentials["SecretAccessKey"],
                   node.credentials["SessionToken"]):
        assert secret.encode() not in stored


def test_the_plane_leaves_no_core_file(plane):
    if "asan" in str(plane.build):
        pytest.skip("the sanitizer's leak check needs what this forbids")
    limits = pathlib.Path(f"/proc/{plane.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    if os.geteuid() == 0:
        return  # root's files are root's either way
    assert os.stat(f"/proc/{plane.pid}/environ").st_uid == 0  # as the kernel marks the undumpable


# ---- what the agent speaks to ---------------------------------------------------------------------

@pytest.fixture(scope="module")
def tls_files(tmp_path_factory):
    """A CA that agents are told to trust, good for 127.0.0.1, and one for another name."""
    folder = tmp_path_factory.mktemp("tls")
    for p in (folder, *folder.parents):  # the agent's network part is another user
        if os.stat(p).st_uid == os.getuid() and p != pathlib.Path("/"):
            with contextlib.suppress(PermissionError):
                p.chmod(p.stat().st_mode | 0o711)
    for name, san in (("good", "IP:127.0.0.1"), ("other", "DNS:other.example.net")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=t",
                        "-addext", f"subjectAltName={san}", "-keyout", str(folder / f"{name}.key"), "-out",
                        str(folder / f"{name}.crt")], check=True, capture_output=True)
        (folder / f"{name}.crt").chmod(0o644)
    return folder


@pytest.mark.parametrize("cert, args, words", [
    ("good", ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "protocol version|no protocols"),
    ("good", ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"], "handshake failure"),
    ("other", ["-tls1_2"], "does not match|subject name"),
])
def test_the_agent_insists_on_tls(tls_files, tmp_path, cert, args, words):
    """Old versions and suites and another's certificate: registration gives up before it says anything."""
    port = flsandbox.free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
                               str(tls_files / f"{cert}.crt"), "-key", str(tls_files / f"{cert}.key"), "-www", *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        flsandbox.wait_for("s_server", lambda: not flsandbox.port_is_free(port))
        agent = flsandbox.Agent(tmp_path / "agent", flsandbox.default_build(), f"https://127.0.0.1:{port}",
                                tls_files / f"{cert}.crt")
        with pytest.raises(flsandbox.SandboxError) as e:
            agent.register({"ActivationId": "00000000-0000-4000-8000-000000000000", "ActivationCode": "A" * 20})
        said = str(e.value)
        assert re.search(words, said), said
    finally:
        server.kill()
        server.communicate()
