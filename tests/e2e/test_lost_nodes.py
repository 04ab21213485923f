"""Nodes that are gone in the middle of sessions: all their processes killed, stopped, cut off. Every client is told in
time, in words, and ends with a status that says so. Nodes that only stumble are not lost."""
import json
import os
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
from test_sessions_ours import Client, Terminal

pytestmark = pytest.mark.once

LOST = b"The connection of the node to the session was lost."
TOLD_S = 15
LOADED_S = TOLD_S + 7  # what a machine that does other things at the same time may add


class Running:
    """A client in the middle of its session: `at_work` came out of it."""

    def __init__(self, client, argv, at_work, env=None):
        self.argv = list(map(str, argv))
        self.child = subprocess.Popen(self.argv, env=env or client.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
        self.text, end = b"", time.monotonic() + 60
        while at_work not in self.text:
            assert select.select([self.child.stdout], [], [], end - time.monotonic())[0], (argv, self.text)
            piece = os.read(self.child.stdout.fileno(), 65536)
            assert piece, (argv, self.text, self.child.stderr.read())
            self.text += piece

    def read_on(self):
        for stream in (self.child.stdout, self.child.stderr):
            while stream.read(1 << 20):
                pass

    def check_told(self, status, since):
        """Ends in time with that status and the words."""
        out, err = self.child.communicate(timeout=max(since + LOADED_S - time.monotonic(), 0.1))
        print(f"{self.argv[1]}: {time.monotonic() - since:.1f} s")
        assert self.child.returncode == status, (self.argv, self.child.returncode, out, err)
        assert LOST in out + err, (self.argv, out, err)


class Shell(Terminal):
    def check_told(self, status, since):
        while True:
            assert select.select([self.fd], [], [], max(since + LOADED_S - time.monotonic(), 0.1))[0], self.text
            try:
                self.text += os.read(self.fd, 65536)
            except OSError:  # the end of a terminal
                break
        print(f"session: {time.monotonic() - since:.1f} s")
        assert LOST in self.text and self.close() == status, self.text


@pytest.fixture
def greeter():
    """Port of a server that greets and then says nothing."""
    server, held = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        while True:
            try:
                held.append(server.accept()[0])
                held[-1].sendall(b"SSH-2.0-greeter\r\n")
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def plugin_env(client, folder):
    """The client is the plugin of the AWS CLI."""
    folder.mkdir()
    (folder / "session-manager-plugin").symlink_to(client.argv()[0])
    return dict(client.env, PATH=f"{folder}:{client.env['PATH']}")


def one_of_each(client, folder, greeter):
    """Clients at work, with the status that each is to end with."""
    said = ["sh", "-c", "echo at''work; sleep 1000"]
    shell = Shell(client)
    shell.type(b"echo at''work\r")
    shell.until(b"atwork\r\n")
    aws = ["aws", "--endpoint-url", client.box.plane.endpoint, "ssm", "start-session", "--target", client.node,
           "--document-name", "AWS-StartInteractiveCommand", "--parameters", json.dumps({"command": [said[2]]})]
    return [(shell, 3),
            (Running(client, client.argv("exec", client.node, "--", *said), b"atwork"), 255),
            (Running(client, client.argv("forward", client.node, f"0:{greeter}"), b"127.0.0.1:"), 3),
            (Running(client, client.argv("ssh-proxy", client.node, greeter), b"SSH-2.0"), 255),
            (Running(client, aws, b"atwork", plugin_env(client, folder)), 0)]  # by words alone, as the official plugin's


def all_of(agent):
    """Its processes, and theirs: those of sessions, shells."""
    agent.note()
    return [p for p, started in agent.seen.items() if flproc.alive(p, started)]


def signalled(pids, *signals):
    """None is left to tell of the others; since when."""
    since = time.monotonic()
    for sig in signals:
        for pid in pids:
            flproc.kill(pid, sig)
    return since


@pytest.mark.parametrize("signals", [(signal.SIGSTOP, signal.SIGKILL), (signal.SIGSTOP,)], ids=["killed", "stopped"])
def test_every_client_is_told(new_box, tmp_path, greeter, signals):
    box = new_box()
    client, agent = Client(box), box.agents[0]
    running = one_of_each(client, tmp_path / "bin", greeter)
    pids = all_of(agent)
    since = signalled(pids, *signals)
    try:
        for r, status in running:
            r.check_told(status, since)
    finally:
        signalled(pids, signal.SIGKILL)


def test_a_session_at_a_node_that_is_gone(new_box):
    """The plane has not noticed yet: its connection says nothing, not even that it is closed."""
    box = new_box()
    client, agent = Client(box), box.agents[0]
    pids = all_of(agent)
    since = signalled(pids, signal.SIGSTOP)
    try:
        r = subprocess.run(client.argv("exec", client.node, "--", "true"), env=client.env, capture_output=True, text=True,
                           timeout=LOADED_S)
        print(f"{time.monotonic() - since:.1f} s")
        assert r.returncode == 255 and "The node does not answer" in r.stderr, r
        r = subprocess.run(client.argv("exec", client.node, "--", "true"), env=client.env, capture_output=True, text=True,
                           timeout=LOADED_S)
        assert r.returncode == 255 and "is not connected" in r.stderr, r
        signalled(pids, signal.SIGCONT)
        agent.wait_online(box.plane)
    finally:
        signalled(pids, signal.SIGKILL)


@pytest.fixture
def far_node(new_box):
    """A plane, and a node at the other end of a cable: (box, agent, a function that pulls the cable)."""
    ns, ends, addresses = f"fl{os.getpid()}", (f"fl{os.getpid()}a", f"fl{os.getpid()}b"), ("10.203.119.1", "10.203.119.2")

    def ip(*words, check=True):
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)

    if not shutil.which("ip") or ip("netns", "add", ns, check=False).returncode:
        pytest.skip("network namespaces, and the right to make them")
    try:
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", ns)
        ip("addr", "add", f"{addresses[0]}/30", "dev", ends[0])
        ip("link", "set", ends[0], "up")
        for words in (("addr", "add", f"{addresses[1]}/30", "dev", ends[1]), ("link", "set", ends[1], "up"),
                      ("link", "set", "lo", "up")):
            ip("-n", ns, *words)
        box = new_box(nodes=0, host=addresses[0], bind=addresses[0])
        agent = box.new_agent(start=False)
        agent.spawn(["ip", "netns", "exec", ns, *agent.argv()], agent.log, agent.env())
        agent.wait_online(box.plane)
        yield box, agent, lambda: ip("link", "set", ends[0], "down")
        agent.end_everything()
    finally:
        ip("netns", "del", ns)


def test_a_cable_is_pulled(far_node):
    """Not even a packet that says that nobody is there."""
    box, agent, pull = far_node
    client = Client(box)
    shell = Shell(client)
    shell.type(b"echo at''work\r")
    shell.until(b"atwork\r\n")
    command = Running(client, client.argv("exec", client.node, "--", "yes"), b"y\ny")
    reader = threading.Thread(target=command.read_on, daemon=True)
    reader.start()
    since = time.monotonic()
    pull()
    shell.check_told(3, since)
    reader.join(LOADED_S)
    assert command.child.wait(30) == 255


def test_a_node_that_stumbles_is_not_lost(new_box):
    """All of it stands still for a while, and then goes on."""
    box = new_box()
    client, agent = Client(box), box.agents[0]
    shell = Shell(client)
    shell.until(b"# " if os.geteuid() == 0 else b"$ ")
    pids = all_of(agent)
    signalled(pids, signal.SIGSTOP)
    time.sleep(6)
    signalled(pids, signal.SIGCONT)
    shell.type(b"echo at''work\r")
    shell.until(b"atwork\r\n")
    shell.type(b"exit\r")
    assert shell.close() == 0


def test_a_plane_that_stumbles_loses_no_node(new_box):
    """What it did not read while it stood still was not unsaid."""
    box = new_box()
    client = Client(box)
    shell = Shell(client)
    shell.until(b"# " if os.geteuid() == 0 else b"$ ")
    box.plane.kill(signal.SIGSTOP)
    time.sleep(TOLD_S)
    box.plane.kill(signal.SIGCONT)
    shell.type(b"echo at''work\r")
    shell.until(b"atwork\r\n", 60)
    shell.type(b"exit\r")
    assert shell.close() == 0
