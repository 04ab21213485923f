"""Real programs through tunnels of our plane and our agent: OpenSSH, rsync, curl, psql."""
import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

import flsandbox
import postgres
import sshd
from test_lossy import Forward

pytestmark = pytest.mark.once

@pytest.fixture
def ssh(box, tmp_path):
    """A function that runs one of OpenSSH's programs by way of the node: ssh("ssh", "node", "id")."""
    if not sshd.usable():
        pytest.skip("sshd, and root to start it")
    server = sshd.Sshd(tmp_path)
    config = server.config(f"ProxyCommand {flsandbox.default_build()}/fairlead ssh-proxy {box.agents[0].node_id} %p")

    def run(program, *args, **kw):
        if program == "rsync":
            args = ("-e", f"ssh -F {config}", *args)
        else:
            args = ("-F", str(config), *args)
        done = subprocess.run([program, *map(str, args)], env=box.env(), capture_output=True, timeout=120, **kw)
        assert done.returncode == 0, done
        return done.stdout

    yield run
    server.close()


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


@pytest.fixture
def database(tmp_path_factory):
    if not postgres.folder_of_programs():
        pytest.skip("postgresql")
    folder = tmp_path_factory.mktemp("pg")
    for p in folder.parents:  # the server is another user
        if p.stat().st_uid == os.getuid() and p != pathlib.Path("/"):
            p.chmod(p.stat().st_mode | 0o711)
    server = postgres.Postgres(folder)
    yield server
    server.close()


def test_a_database_through_a_forward(box, database, tmp_path):
    """Several clients at once, each with much in both directions, and one that gives up its query half-way."""
    env = dict(os.environ, PGPASSWORD=postgres.PASSWORD, PGCONNECT_TIMEOUT="60")
    with Forward(box, box.agents[0].node_id, database.port) as (host, port):
        psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", str(port), "-U", postgres.USER, "postgres"]

        def query(text, **kw):
            return subprocess.run([*psql, "-c", text], env=env, capture_output=True, text=True, timeout=120, check=True,
                                  **kw).stdout

        def one(i):
            rows = "".join(f"{n}\t{hashlib.sha256(b'%d %d' % (i, n)).hexdigest()}\n" for n in range(20_000))
            query(f"create table t{i} (n int primary key, h text)")
            query(f"copy t{i} from stdin", input=rows)
            assert query(f"copy (select * from t{i} order by n) to stdout") == rows
            assert query(f"select count(*), sum(n) from t{i}") == f"20000|{sum(range(20_000))}\n"

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            list(pool.map(one, range(5)))
        # a cancel is a connection of its own, while the first waits
        sleeper = subprocess.Popen([*psql, "-c", "select 'tired', pg_sleep(1000)"], env=env, stderr=subprocess.PIPE)
        flsandbox.wait_for("the query", lambda: query("select count(*) from pg_stat_activity where query ~ 'tired' "
                                                      "and wait_event = 'PgSleep'") == "1\n")
        sleeper.send_signal(signal.SIGINT)
        assert b"canceling statement due to user request" in sleeper.communicate(timeout=60)[1]


def test_commands_and_copies_on_a_real_node(box, tmp_path):
    program, node = flsandbox.default_build() / "fairlead", box.agents[0].node_id

    def run(*args, **kw):
        return subprocess.run([program, *map(str, args)], env=box.env(), capture_output=True, timeout=120, **kw)

    data = os.urandom(5_000_000)
    done = run("exec", node, "--", "sh", "-c", "cat; echo said >&2; exit 9", input=data)
    assert (done.returncode, done.stdout, done.stderr) == (9, data, b"said\n")
    words = ["", "two words", "it's", "$HOME", "*", "a\nb"]
    assert run("exec", node, "--", "printf", "<%s>", *words, stdin=subprocess.DEVNULL).stdout.decode() == "".join(
        f"<{w}>" for w in words)
    assert run("exec", "-n", node, "--", "cat").stdout == b""
    place = run("exec", "-n", node, "--", "mktemp", "-d").stdout.decode().strip()
    (tmp_path / "f").write_bytes(data)
    tree = make_tree(tmp_path / "tree")
    for args in (("cp", tmp_path / "f", f"{node}:{place}/g"), ("cp", f"{node}:{place}/g", tmp_path / "h"),
                 ("cp", "-r", tree, f"{node}:{place}"), ("cp", "-r", f"{node}:{place}/tree", tmp_path / "back")):
        done = run(*args, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done
    assert (tmp_path / "h").read_bytes() == data and digests(tmp_path / "back") == digests(tree)
    assert run("exec", "-n", node, "--", "rm", "-r", place).returncode == 0
