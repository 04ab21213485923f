"""Sessions with nothing but our own: client, plane and agent."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import flproc
import flsandbox
import tcpecho

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


class Client:
    def __init__(self, box):
        self.box, self.node = box, box.agents[0].node_id
        self.env = dict(box.env(), TERM="xterm")

    def argv(self, *args):
        return [str(self.box.build / "fairlead"), *map(str, args)]

    def run(self, *args, **kw):
        return subprocess.run(self.argv(*args), env=self.env, capture_output=True, timeout=kw.pop("timeout", 120),
                              **kw)

    def exec(self, *words, **kw):
        return self.run("exec", self.node, "--", *words, **kw)


@pytest.fixture
def ours(box):
    return Client(box)


class Terminal:
    """`fairlead session` on a terminal of its own."""

    def __init__(self, client):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(client.argv()[0], client.argv("session", client.node), client.env)

    def until(self, text, timeout_s=30):
        """Bytes, or a pattern."""
        end = time.monotonic() + timeout_s
        while not (re.search(text, self.text) if isinstance(text, re.Pattern) else text in self.text):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (text, self.text[-2000:])
            self.text += os.read(self.fd, 65536)

    def type(self, text):
        os.write(self.fd, text)

    def close(self):
        """Exit status."""
        status = None
        for _ in range(200):
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.05)
        else:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_terminal(ours):
    t = Terminal(ours)
    t.until(b"# " if os.geteuid() == 0 else b"$ ")
    t.type(b"echo a$((1+1))b; stty size; exit 3\r")
    t.until(b"a2b\r\n")
    assert t.close() == 0


def test_a_command(ours):
    done = ours.exec("sh", "-c", "cat; echo err >&2; exit 7", input=b"in\0put\xff")
    assert (done.stdout, done.stderr, done.returncode) == (b"in\0put\xff", b"err\n", 7)


def test_much_in_both_directions(ours):
    data = os.urandom(5_000_000)
    done = ours.exec("cat", input=data)
    assert done.returncode == 0 and done.stdout == data


def test_forwarding(ours, echo):
    port = flsandbox.free_port()
    child = subprocess.Popen(ours.argv("forward", ours.node, f"{port}:{echo}"), env=ours.env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        def open_():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                assert child.poll() is None, child.stdout.read()
                return False
        flsandbox.wait_for("the forward", open_, 30)
        data = os.urandom(2_000_000)
        got = [None] * 3

        def one(i):
            got[i] = tcpecho.through(("127.0.0.1", port), data) == data
        threads = [threading.Thread(target=one, args=(i,)) for i in range(3)]
        for th in threads:
            th.start()
        for th in threads:
            th.join(120)
        assert got == [True] * 3
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(30)


@pytest.mark.parametrize("host, words", [
    (None, "localhost:{port}: Connection refused"),
    ("127.0.0.1", "127.0.0.1:{port}: Connection refused"),
    ("nobody.invalid", "nobody.invalid:{port}: "),
])
def test_a_connection_that_the_node_cannot_make(ours, host, words):
    """Where to and why, once for each, also with -q; the others go on."""
    port = flsandbox.free_port()
    to = f"0:{host}:{port}" if host else f"0:{port}"
    child = subprocess.Popen(ours.argv("--json", "forward", "-q", ours.node, to), env=ours.env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        local = json.loads(child.stdout.readline())["LocalPort"]
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", local), 30) as s:
                assert s.recv(1) == b""
    finally:
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=30)[1]
    lines = said.splitlines()
    assert len(lines) == 2, said
    for line in lines:
        before, _, after = line.partition(words.format(port=port))
        assert before.endswith("the node could not connect to "), said
        if host == "nobody.invalid":  # the resolver's words
            assert re.fullmatch(r"[A-Z][a-z ]+", after), said


def test_a_host_that_is_denied(ours):
    done = ours.run("forward", ours.node, "0:169.254.169.254:80")
    assert done.returncode == 3 and "169.254.169.254 is forbidden." in done.stderr.decode(), done


@pytest.mark.skipif(not os.access(SSHD, os.X_OK) or os.geteuid() != 0, reason="needs sshd, and root for it")
def test_ssh(ours, tmp_path):
    """OpenSSH through ssh-proxy: a command, its status, its input; scp of a file."""
    tmp_path.chmod(0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    shutil.copyfile(tmp_path / "user.pub", tmp_path / "authorized_keys")
    port = flsandbox.free_port()
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized_keys\n"
        f"PidFile none\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n")
    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    with open(tmp_path / "sshd.log", "w") as log:
        daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log)
    try:
        flsandbox.wait_for("sshd", lambda: "listening" in (tmp_path / "sshd.log").read_text(), 20)
        options = ["-F", "none", "-i", tmp_path / "user", "-o", f"UserKnownHostsFile={tmp_path}/known",
                   "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes",
                   "-o", f"ProxyCommand={ours.argv()[0]} ssh-proxy %h {port}"]
        done = subprocess.run(["ssh", *options, f"root@{ours.node}", "cat; id -un; exit 5"], env=ours.env,
                              input=b"to ssh\n", capture_output=True, timeout=120)
        assert (done.stdout, done.returncode) == (b"to ssh\nroot\n", 5), done
        data = os.urandom(3_000_000)
        (tmp_path / "data").write_bytes(data)
        done = subprocess.run(["scp", "-q", *options, tmp_path / "data", f"root@{ours.node}:{tmp_path}/copy"],
                              env=ours.env, capture_output=True, timeout=120)
        assert done.returncode == 0 and (tmp_path / "copy").read_bytes() == data, done
    finally:
        daemon.terminate()
        daemon.wait(10)


def test_everything_is_killed_in_the_middle(new_box):
    """Monitor and net, then the plane, then the agent stopped and started as by hand: the terminal goes on, and its
    transcript has all of it."""
    box = new_box()
    ours = Client(box)
    agent = box.agents[0]
    t = Terminal(ours)
    t.until(b"# " if os.geteuid() == 0 else b"$ ")
    t.type(b"echo be''fore\r")
    t.until(b"before\r\n")
    agent.kill()
    t.type(b"echo with''out\r")
    t.until(b"without\r\n")
    agent.start()
    agent.wait_online(box.plane)
    session = box.plane.api.call("DescribeSessions", State="Active")["Sessions"][0]["SessionId"]
    file = box.plane.data / "transcripts" / session  # gets what was said within a second
    flsandbox.wait_for("what was said on disk", lambda: file.exists() and b"without\r\n" in file.read_bytes())
    box.plane.kill()
    box.plane.restart()
    agent.wait_online(box.plane)
    t.type(b"echo af''ter\r")
    t.until(b"after\r\n", 60)
    assert agent.stop() == 0
    t.type(b"echo stop''ped\r")
    t.until(b"stopped\r\n")
    agent.start()
    agent.wait_online(box.plane)
    t.type(b"exit\r")
    assert t.close() == 0
    flsandbox.wait_for("its end to be listed", lambda: [
        s for s in box.plane.api.call("DescribeSessions", State="History")["Sessions"]
        if s["Status"] == "Terminated"], 30)
    flsandbox.wait_for("the end of its transcript", lambda: b"EndDate" in ours.run("transcripts", "list", "--json").stdout)
    done = ours.run("transcripts", "verify", session)
    assert done.returncode == 0, done
    raw = ours.run("transcripts", "export", "--raw", session).stdout
    words = [b"before", b"without", b"after", b"stopped"]
    assert [raw.count(w + b"\r\n") for w in words] == [1] * 4, raw
    assert sorted(words, key=raw.index) == words


def test_a_client_is_killed(ours):
    """Its session waits for it as disconnected, and ends for good when it is terminated: nothing is left on the node."""
    box = ours.box
    t = Terminal(ours)
    t.until(b"# " if os.geteuid() == 0 else b"$ ")
    before = set(box.agents[0].below("fairlead-holder"))
    t.type(b"echo shell=$$.\r")
    t.until(re.compile(rb"shell=(\d+)\."))
    shell = int(re.search(rb"shell=(\d+)\.", t.text)[1])
    os.kill(t.pid, signal.SIGKILL)
    assert t.close() == -signal.SIGKILL

    def mine():
        return [s for s in box.plane.api.call("DescribeSessions", State="Active")["Sessions"]
                if s["Target"] == ours.node and s["Status"] == "Disconnected"]

    session = flsandbox.wait_for("the session to be disconnected", mine)[0]["SessionId"]
    assert flproc.alive(shell) and before <= set(box.agents[0].below("fairlead-holder"))
    box.plane.api.call("TerminateSession", SessionId=session)
    flsandbox.wait_for("the end of its shell", lambda: not flproc.alive(shell))
    flsandbox.wait_for("the end of its processes", lambda: not before & set(box.agents[0].below("fairlead-holder")))
