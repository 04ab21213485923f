"""Real programs through tunnels of our plane and our agent: OpenSSH, rsync, curl."""
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

import flsandbox

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Sshd:
    def __init__(self, folder):
        self.port, self.folder = free_port(), folder
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            f"StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n")
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"],
                                        stderr=open(folder / "sshd.log", "w"))
        limit = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < limit, (folder / "sshd.log").read_text()
            time.sleep(0.02)

    def config(self, node):
        path = self.folder / "ssh_config"
        path.write_text(
            f"Host node\n  ProxyCommand {flsandbox.default_build()}/fairlead ssh-proxy {node} %p\n  Port {self.port}\n"
            f"  User root\n  IdentityFile {self.folder}/user\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  BatchMode yes\n")
        return path


@pytest.fixture
def ssh(box, tmp_path):
    """A function that runs one of OpenSSH's programs by way of the node: ssh("ssh", "node", "id")."""
    if not os.access("/usr/sbin/sshd", os.X_OK) or os.geteuid() != 0:
        pytest.skip("sshd, and root to start it")
    sshd = Sshd(tmp_path)
    config = sshd.config(box.agents[0].node_id)

    def run(program, *args, **kw):
        if program == "rsync":
            args = ("-e", f"ssh -F {config}", *args)
        else:
            args = ("-F", str(config), *args)
        done = subprocess.run([program, *map(str, args)], env=box.env(), capture_output=True, timeout=120, **kw)
        assert done.returncode == 0, done
        return done.stdout

    yield run
    sshd.process.terminate()
    sshd.process.wait(30)


def make_tree(folder):
    for i in range(20):
        place = folder / f"d{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"file {i}").write_bytes(os.urandom(i * 20_000))
    return folder


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*") if p.is_file()}


def test_ssh(ssh):
    assert ssh("ssh", "node", "echo $((40+2)); exit 0") == b"42\n"
    data = os.urandom(5_000_000)
    assert ssh("ssh", "node", "cat", input=data) == data


def test_scp_and_sftp(ssh, tmp_path):
    tree = make_tree(tmp_path / "tree")
    ssh("scp", "-r", tree, f"node:{tmp_path}/up")
    ssh("scp", "-r", f"node:{tmp_path}/up", tmp_path / "down")
    assert digests(tmp_path / "down") == digests(tree)
    (tmp_path / "batch").write_text(f"put \"{tree}/d1/file 19\" \"{tmp_path}/s\"\nget \"{tmp_path}/s\" \"{tmp_path}/t\"\n")
    ssh("sftp", "-b", tmp_path / "batch", "node")
    assert (tmp_path / "t").read_bytes() == (tree / "d1/file 19").read_bytes()


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync")
def test_rsync(ssh, tmp_path):
    tree = make_tree(tmp_path / "tree")
    ssh("rsync", "-a", f"{tree}/", f"node:{tmp_path}/up/")
    (tree / "d0/file 0").write_text("more")
    (tree / "d1/file 1").unlink()
    ssh("rsync", "-a", "--delete", f"{tree}/", f"node:{tmp_path}/up/")
    ssh("rsync", "-az", f"node:{tmp_path}/up/", f"{tmp_path}/down/")
    assert digests(tmp_path / "down") == digests(tree) == digests(tmp_path / "up")


def test_http_through_a_forward(box, tmp_path):
    """Many connections at once and one after the other, with bodies of all sizes."""
    bodies = {f"/{n}": os.urandom(n) for n in (0, 1, 1000, 70_000, 3_000_000)}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = bodies[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies["/put"] = hashlib.sha256(body).hexdigest().encode()
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    p = subprocess.Popen([flsandbox.default_build() / "fairlead", "--json", "forward", box.agents[0].node_id,
                          f"0:{server.server_port}"], env=box.env(), stdout=subprocess.PIPE)
    try:
        port = json.loads(p.stdout.readline())["LocalPort"]
        url = f"http://127.0.0.1:{port}"
        runs = []
        for i in range(12):
            args = [a for path in list(bodies) for a in (url + path, "-o", str(tmp_path / f"{i}{path.replace('/', '-')}"))]
            runs.append(subprocess.Popen(["curl", "-sS", "--fail", "--max-time", "100", *args]))
        assert [r.wait(120) for r in runs] == [0] * 12
        for i in range(12):
            for path, body in bodies.items():
                assert (tmp_path / f"{i}{path.replace('/', '-')}").read_bytes() == body
        (tmp_path / "up").write_bytes(os.urandom(8_000_000))
        subprocess.run(["curl", "-sS", "--fail", "--max-time", "100", "-T", tmp_path / "up", url + "/put"], check=True)
        assert bodies["/put"].decode() == hashlib.sha256((tmp_path / "up").read_bytes()).hexdigest()
    finally:
        p.terminate()
        p.wait(30)
        p.stdout.close()
        server.shutdown()
        server.server_close()
