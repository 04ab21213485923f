"""Sessions through our plane and our agent by our client, each figure in turn with OpenSSH's on the same machine:
`ssh` to an `sshd` on loopback, which has no plane between. Both find a home folder as a new user has it: what the
shell of whoever runs this reads at its start would be most of the time to the first prompt."""
import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import flsandbox
import newuser
import sshd

AMOUNT = 100_000_000
NAMES = ("session: key to echo", "session: start to prompt", "session: exec true",
         "session: forward, 100 MB from the node", "session: forward, 100 MB to the node",
         "session: plane's CPU for 1 GB, relayed", "session: plane's CPU for 1 GB, relayed and recorded")
RECORDED = 50_000_000  # of a session's output: less than TranscriptMaxBytes
PATIENCE_S = 120


class Ruler:
    def __init__(self, name):
        self.NAME = name


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv, env):
        self.master, slave = pty.openpty()
        self.started = time.perf_counter()
        self.child = subprocess.Popen(argv, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.text = b""

    def read(self, test):
        while not test(self.text):
            if not select.select([self.master], [], [], PATIENCE_S)[0]:
                raise RuntimeError(f"nothing came any more: {self.text[-200:]!r}")
            self.text += os.read(self.master, 65536)
        return (time.perf_counter() - self.started) * 1e3

    def prompt(self):
        return self.read(lambda t: t.rstrip(b"\x1b[0123456789;?hlm ").endswith((b"$", b"#")))

    def keys(self, n):
        """Milliseconds from each key to its echo by `cat`."""
        os.write(self.master, b"stty -icanon; echo be''gin; exec cat\r")
        self.read(lambda t: b"begin\r\n" in t)
        took = []
        for i in range(n):
            key = b"abcdefghij"[i % 10:i % 10 + 1]
            at = len(self.text)
            self.started = time.perf_counter()
            os.write(self.master, key)
            took.append(self.read(lambda t, at=at, key=key: key in t[at:]))
            time.sleep(0.005)
        return took

    def close(self):
        self.child.kill()
        self.child.wait()
        os.close(self.master)


class Stream:
    """A server on loopback that pours AMOUNT bytes, or takes them."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.block = os.urandom(1 << 20)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            way = sock.recv(1)
            if way == b"<":
                self.pour(sock)
            elif way:
                self.take(sock)
                sock.sendall(b".")

    def pour(self, sock):
        left = AMOUNT
        while left:
            sock.sendall(self.block[:min(left, len(self.block))])
            left -= min(left, len(self.block))

    @staticmethod
    def take(sock):
        left = AMOUNT
        while left:
            data = sock.recv(min(left, 1 << 20))
            if not data:
                raise RuntimeError("a tunnel closed early")
            left -= len(data)

    def through(self, port, way):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            started = time.perf_counter()
            sock.sendall(way)
            if way == b"<":
                self.take(sock)
            else:
                self.pour(sock)
                sock.recv(1)
            return (time.perf_counter() - started) * 1e3

    def close(self):
        self.server.close()


def spent(argv, env):
    started = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1e3


def cpu_ms(pid):
    """Of its threads that live; the plane's all do."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e6


def records(bench, env, program, node, pid):
    """What a command prints is written to its transcript on its way."""
    took = []
    for _ in range(max(3, bench.runs // 4)):
        before = cpu_ms(pid)
        spent([program, "exec", node, "--", "sh", "-c", f"yes 'a line as programs print them' | head -c {RECORDED}"], env)
        took.append((cpu_ms(pid) - before) * 1e9 / RECORDED)
    bench.put(NAMES[6], took)


def wait_port(port):
    limit = time.monotonic() + PATIENCE_S
    while socket.socket().connect_ex(("127.0.0.1", port)):
        if time.monotonic() > limit:
            raise RuntimeError("ssh -L does not listen")
        time.sleep(0.02)


def terminals(bench, env, ours, theirs):
    echo, echo_ssh, prompt, prompt_ssh = [], [], [], []
    for i in range(max(3, bench.runs // 4)):
        for argv, keys, starts in ((ours, echo, prompt), (theirs, echo_ssh, prompt_ssh)):
            t = Terminal(argv, env)
            starts.append(t.prompt())
            keys += t.keys(10 * bench.runs)
            t.close()
    bench.put(NAMES[0], echo, echo_ssh or None, Ruler("ssh -tt"))
    bench.put(NAMES[1], prompt, prompt_ssh or None, Ruler("ssh -tt"))


def forwards(bench, env, program, node, ssh, pid):
    stream, relayed = Stream(), []
    p = subprocess.Popen([program, "forward", node, f"0:{stream.port}"], env=env, stdout=subprocess.PIPE, text=True)
    with socket.create_server(("127.0.0.1", 0)) as s:
        ssh_port = s.getsockname()[1]
    q = subprocess.Popen([*ssh, "-N", "-L", f"{ssh_port}:127.0.0.1:{stream.port}", "node"], env=env)
    try:
        port = int(p.stdout.readline().split(" ")[0].rpartition(":")[2])
        wait_port(ssh_port)
        for name, way in ((NAMES[3], b"<"), (NAMES[4], b">")):
            ours, theirs = [], []
            for _ in range(max(3, bench.runs // 4)):
                before = cpu_ms(pid)
                ours.append(stream.through(port, way))
                relayed.append((cpu_ms(pid) - before) * 1e9 / AMOUNT)
                theirs.append(stream.through(ssh_port, way))
            bench.put(name, ours, theirs, Ruler("ssh -L"))
        bench.put(NAMES[5], relayed)
    finally:
        for child in (p, q):
            child.terminate()
            child.wait()
        p.stdout.close()
        stream.close()


def measure(bench):
    if not bench.wanted(*NAMES):
        return
    if not sshd.usable():
        bench.note("sessions: not measured, they need sshd, and root to start it")
        return
    bench.note("sessions")
    place = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
    place.chmod(0o755)
    home = newuser.Home(place)
    with flsandbox.Sandbox(nodes=0, build=bench.args.build) as box:
        server = sshd.Sshd(place, home.argv)
        program, node = str(bench.args.build / "fairlead"), home.node(box)
        env = dict(box.env(), HOME=str(place), TERM="xterm", PS1="$ ")
        ssh = ["ssh", "-F", str(server.config("HostName 127.0.0.1"))]
        try:
            ours, theirs = [], []
            for _ in range(bench.runs):
                ours.append(spent([program, "exec", node, "--", "true"], env))
                theirs.append(spent([*ssh, "node", "true"], env))
            bench.put(NAMES[2], ours, theirs, Ruler("ssh true"))
            terminals(bench, env, [program, "session", node], [*ssh, "-tt", "node"])
            forwards(bench, env, program, node, ssh, box.plane.pid)
            records(bench, env, program, node, box.plane.pid)
        finally:
            server.close()
            shutil.rmtree(place, ignore_errors=True)
