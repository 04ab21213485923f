"""Sessions as the operator's client has them, against the reference node behind a relay: terminals, pipes, tunnels, copies;
and the same by the stock `aws ssm start-session`, with the client as its plugin."""
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
import time

import pytest

import clientrelay
import flsandbox
import sessionwire as sw
import tcpecho
import wire
from test_cli import Terminal

NODE = clientrelay.NODE
PROMPT = r"[$#] "


class Client:
    """`fairlead` with a home of its own at a relay."""

    def __init__(self, relay, home):
        self.relay, self.home = relay, home
        self.program = str(flsandbox.default_build() / "fairlead")

    def env(self, **more):
        return self.relay.env(self.home, **more)

    def __call__(self, *args, stdin=b"", timeout=60, **env):
        return subprocess.run([self.program, *map(str, args)], env=self.env(**env), input=stdin, capture_output=True,
                              timeout=timeout)

    def start(self, *args, **kw):
        return subprocess.Popen([self.program, *map(str, args)], env=self.env(), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **kw)

    def terminal(self, *args, **env):
        return Terminal([self.program, *map(str, args)], self.env(**env))

    def as_plugin(self):
        """The environment of an AWS CLI that finds the client as its plugin."""
        folder = self.home / "bin"
        folder.mkdir(exist_ok=True)
        link = folder / "session-manager-plugin"
        if not link.exists():
            link.symlink_to(self.program)
        return self.env(PATH=f"{folder}:/usr/bin:/bin:/usr/sbin:/sbin", AWS_DEFAULT_REGION="local")


@pytest.fixture
def relay():
    r = clientrelay.ClientRelay()
    yield r
    r.close()
    for node in r.nodes.values():
        node.stopped.set()
        node.handler.kill()
        assert node.violations == []


@pytest.fixture
def client(relay, tmp_path):
    return Client(relay, tmp_path)


@pytest.fixture
def ours(relay):
    """The node is one of fairlead."""
    relay.node_class = clientrelay.FairleadSession
    return relay


def until(test, what, timeout_s=30):
    limit = time.monotonic() + timeout_s
    while not test():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


# ---- a terminal ----

def test_a_terminal_and_its_size(client, relay):
    t = client.terminal("session", NODE, "--reason", "look")
    t.read(PROMPT)
    t.type("stty size; tty; echo $((6*7))\r")
    t.read(r"30 100\r\n/dev/\S+\r\n42\r\n")
    assert relay.last.sizes == [(100, 30)] and relay.started[0]["Reason"] == "look"
    fcntl.ioctl(t.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    t.child.send_signal(signal.SIGWINCH)
    until(lambda: relay.last.sizes[-1] == (132, 50), "the new size")
    t.type("stty size\r")
    t.read(r"50 132\r\n")
    t.type("exit\r")
    assert t.end() == 0


@pytest.mark.parametrize("way", ["exit", "escape", "SIGTERM", "SIGHUP", "SIGSEGV", "SIGABRT", "plane", "node"])
def test_the_terminal_is_given_back(client, relay, way):
    t = client.terminal("session", NODE)
    before = termios.tcgetattr(t.slave)
    t.read(PROMPT)
    until(lambda: not t.echo_is_on(), "raw")
    if way == "exit":
        t.type("exit\r")
    elif way == "escape":
        t.type("\r~.")
    elif way == "plane":
        relay.close_channel(relay.last.session_id, ("client", "agent"), "time is up")
    elif way == "node":
        relay.last.handler.kill()
    else:
        t.child.send_signal(getattr(signal, way))
    t.child.wait(30)
    assert termios.tcgetattr(t.slave) == before
    status = t.end()
    if "AddressSanitizer" in t.text and way == "SIGSEGV":
        return  # which has a status of its own
    assert status == {"exit": 0, "escape": 130, "SIGTERM": 143, "SIGHUP": 129, "plane": 3, "node": 0}.get(
        way, -getattr(signal, way, 0)), t.text
    assert bool(relay.terminated) == (way in ("escape", "SIGTERM", "SIGHUP"))
    if way == "plane":
        assert "time is up" in t.text


def test_keys_are_the_nodes(client, relay):
    t = client.terminal("session", NODE)
    t.read(PROMPT)
    t.type("sleep 1000\r")
    until(lambda: relay.last.input_bytes >= 11, "typed")
    time.sleep(0.2)  # sleep has begun: where not, the shell takes the key, with the same outcome
    t.type("\x03")
    t.read(r"\^C.*" + PROMPT)
    t.type("echo gr\u00fc\u00df \U0001f600\r")
    t.read("gr\u00fc\u00df \U0001f600\r\n")
    t.type("cat\r")
    t.type("one\r")
    t.read(r"one\r\none\r\n")
    t.type("\x04")
    t.read(PROMPT)
    t.type("\r~?")
    t.read(r"~\.\s+end the session")
    t.type("~~")
    t.type("\r")
    t.read("~")
    t.type("exit\r")
    t.end()


def test_suspended_and_back(client, relay, tmp_path):
    """~^Z stops the client as a job of its shell, the terminal being usable meanwhile."""
    t = Terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"], client.env(PS1="local> "))
    t.read("local> ")
    t.type(f"{client.program} session {NODE}\r")
    t.read(PROMPT)
    t.type("\r~\x1a")
    t.read(r"Stopped.*local> ")
    assert t.echo_is_on()
    t.type("stty cols 77\r")
    t.read("local> ")
    t.type("fg\r")
    until(lambda: relay.last.sizes and relay.last.sizes[-1][0] == 77, "the size after fg")
    t.type("echo ba''ck\r")
    t.read("back\r\n")
    t.type("exit\r")
    t.read("local> ")
    assert t.echo_is_on()
    t.type("exit\r")
    t.end()


def test_typed_in_a_pipe(client, relay):
    """The end of input ends the shell, and nothing of the output is lost."""
    done = client("session", NODE, stdin=b"seq 1 20000 | tail -n +1\necho las''t\n")
    assert done.returncode == 0 and not done.stderr
    assert b"20000\r\n" in done.stdout and b"last\r\n" in done.stdout
    lines = [int(x) for x in re.findall(rb"^(\d+)\r$", done.stdout, re.M)]
    assert lines == list(range(1, 20001))


def test_the_end_of_input_reaches_who_reads(client):
    """A program of the shell takes the first end, the shell the next; a line without its end is no trap."""
    done = client("session", NODE, stdin=b"stty -echo; cat; echo $((40+2))\nhello")
    assert done.returncode == 0
    assert b"hello" in done.stdout and b"42\r\n" in done.stdout


def test_connections_are_made_again(client, relay):
    """Nothing typed or printed is lost or doubled by a connection that breaks, again and again."""
    relay.refuse_resume = 2
    t = client.terminal("session", NODE)
    t.read(PROMPT)
    t.type("stty -echo; PS1=; for i in $(seq 1 300); do echo line $i; sleep 0.01; done; echo do''ne\r")
    for _ in range(3):
        time.sleep(0.3)
        relay.lose_client()
        t.read("connection lost")
        t.read("connected again")
    t.read(r"done\r\n")
    lines = [int(x) for x in re.findall(r"^line (\d+)\r$", t.text, re.M)]
    assert lines == list(range(1, 301))
    t.type("exit\r")
    assert t.end() == 0


def test_a_session_that_is_over_meanwhile(client, relay):
    t = client.terminal("session", NODE)
    t.read(PROMPT)
    relay.done_with[relay.last.session_id] = "Success", ""
    relay.lose_client()
    t.read("the session ended while it was not connected")
    assert t.end() == 3


def test_an_end_with_something_missing_before_it(client, relay):
    """What would come between was lost with the node: nobody will send it any more."""
    t = client.terminal("session", NODE)
    t.read(PROMPT)
    node = relay.last
    node.link.transmit(wire.encode_message("output_stream_data", "late", seq=10_000, ptype=sw.OUTPUT))
    node.link.flush()
    relay.close_channel(node.session_id, ("client",))
    assert t.end() == 0


@pytest.mark.parametrize("args", [("exec", NODE, "--", "sleep", "60"), ("cp", f"{NODE}:x", "/nonexistent/x"),
                                  ("forward", NODE, "0:1")])
def test_the_agents_words_have_one_name_before_them(client, ours, args):
    words = "fairlead: handshake: the client did not answer in time"
    if args[0] == "cp":
        instead(ours, "sleep 60")
    p = client.start(*args, stdin=subprocess.DEVNULL)
    until(lambda: ours.nodes and ours.last.handshake == "done", "it has begun")
    ours.close_channel(ours.last.session_id, ("client",), words)
    err = p.communicate(timeout=30)[1].decode()
    assert p.returncode != 0 and err.count("fairlead: ") == 1 and "handshake: the client did" in err, err


def test_a_command_whose_end_is_not_heard(client, ours):
    """All of it has come when the connection goes in place of the plane's word that the session is over."""
    ours.close_channel = lambda *args: ours.lose_client()
    done = client("exec", NODE, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert b"err\n" in done.stderr and b"connection lost" in done.stderr
    assert b"not connected" not in done.stderr


def test_refusals(client, relay):
    done = client("session", NODE, "--document", "nope")
    assert done.returncode == 3 and b"InvalidDocument" in done.stderr
    assert client("exec", NODE, "--", "x", FAIRLEAD_ENDPOINT="http://127.0.0.1:9").returncode == 255
    assert client("session", NODE, "--escape", "xx").returncode == 2
    assert client("exec", NODE).returncode == 2
    assert client("cp", "a", "b").returncode == 2


# ---- one command ----

WORDS = ["plain", "two words", "", "it's", "$HOME", "`id`", "a\nb", "\\", "*", "~", "gr\u00fc\u00df", "-n", "a;b", '"q"']


def test_arguments_arrive_as_they_were(client, ours):
    done = client("exec", NODE, "--", "printf", "<%s>", *WORDS)
    assert done.returncode == 0, done
    assert done.stdout.decode() == "".join(f"<{w}>" for w in WORDS) and done.stderr == b""


def test_streams_and_status_are_the_commands(client, ours):
    data = os.urandom(300_000)
    done = client("exec", NODE, "--", "sh", "-c", "cat; echo problem >&2; exit 42", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (42, data, b"problem\n")
    assert client("exec", NODE, "--shell", "exit 7").returncode == 7
    assert client("exec", NODE, "--shell", "echo $((1+1)) | cat").stdout == b"2\n"
    assert client("exec", "-n", NODE, "--", "cat", stdin=b"x").stdout == b""


def test_streams_that_are_closed(client, ours):
    """Nothing of the session comes to stand in their place."""
    def run(closed, *command):
        return subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", client.program, "exec", NODE, "--", *command],
                              env=client.env(), capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    done = run("<&- >&- 2>&-", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    done = run("<&-", "sh", "-c", "wc -c; exit 3")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (3, b"0", b""), done
    assert run(">&-", "echo", "x").returncode == 0


def test_commands_without_an_exit_status_fail(client, relay):
    relay.documents["Fairlead-Exec"] = clientrelay.session_document(
        "NonInteractiveCommands", ["command"], linux={"commands": "{{ command }}"})
    done = client("exec", NODE, "--", "true")
    assert done.returncode == 255


@pytest.fixture
def at_aws(relay):
    """A plane and a node as AWS has them."""
    del relay.documents["Fairlead-Exec"]
    names = ["command", "separateOutputStream", "stdoutSeparatorPrefix", "stderrSeparatorPrefix"]
    relay.documents["AWS-StartNonInteractiveCommand"] = clientrelay.session_document(
        "NonInteractiveCommands", names, linux={
            "commands": "{{ command }}", "separateOutputStream": "{{ separateOutputStream }}",
            "stdOutSeparatorPrefix": "{{ stdoutSeparatorPrefix }}",
            "stdErrSeparatorPrefix": "{{ stderrSeparatorPrefix }}"})
    return relay


def test_commands_at_aws(client, at_aws):
    done = client("exec", NODE, "--", "printf", "<%s>", *WORDS)
    assert (done.returncode, done.stdout.decode()) == (0, "".join(f"<{w}>" for w in WORDS)), done
    assert [r["DocumentName"] for r in at_aws.started] == ["Fairlead-Exec", "AWS-StartNonInteractiveCommand"]
    lines = "".join(f"{i}\n" for i in range(20000))
    done = client("exec", NODE, "--shell", "seq 0 19999; echo 'prob''lem' >&2; printf out:; exit 42")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (42, lines + "out:", b"problem\n")
    done = client("exec", NODE, "--", "sleep", "60", stdin=b"x")
    assert (done.returncode, done.stdout) == (255, b"") and b"--no-stdin" in done.stderr
    assert len(at_aws.terminated) == 1
    assert client("exec", "-n", NODE, "--", "echo", "a", stdin=b"x").stdout == b"a\n"


def test_booleans_at_aws(client, at_aws):
    """It may want them the other way."""
    plain, refused = at_aws.StartSession, []

    def start(members):
        if (members.get("Parameters") or {}).get("separateOutputStream") == ["true"]:
            refused.append(members)
            return 400, {"__type": "ValidationException", "message": "not allowed"}
        return plain(members)

    at_aws.StartSession = start
    done = client("exec", NODE, "--", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout, len(refused)) == (3, b"out\n", 1), done


def test_copies_at_aws_name_another_way(client, at_aws, tmp_path):
    (tmp_path / "a").write_text("a")
    for args in ((tmp_path / "a", f"{NODE}:/tmp/b"), (f"{NODE}:/etc/hostname", tmp_path / "b")):
        done = client("cp", *args)
        assert done.returncode == 3 and b'scp -o ProxyCommand="fairlead ssh-proxy %h %p"' in done.stderr, done
    assert not (tmp_path / "b").exists()


def test_copies_from_an_official_node_name_another_way(client, relay, tmp_path):
    done = client("cp", f"{NODE}:/etc/hostname", tmp_path / "b")
    assert done.returncode != 0 and b"scp -o ProxyCommand" in done.stderr, done


def test_a_reader_that_has_enough(client, ours):
    """`fairlead exec … | head -1`: the command is ended, and the client ends as any writer does."""
    p = client.start("exec", NODE, "--", "yes", stdin=subprocess.DEVNULL)
    assert p.stdout.readline() == b"y\n"
    p.stdout.close()
    assert p.wait(30) == -signal.SIGPIPE
    p.stderr.close()
    until(lambda: ours.terminated, "TerminateSession")


def test_a_reader_that_is_slow_loses_nothing(client, ours):
    p = client.start("exec", NODE, "--", "sh", "-c", "head -c 6000000 /dev/zero", stdin=subprocess.DEVNULL)
    time.sleep(1)
    assert p.poll() is None
    out, err = p.communicate(timeout=60)
    assert len(out) == 6_000_000 and p.returncode == 0 and err == b""


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_commands_end(client, ours, signo):
    p = client.start("exec", NODE, "--", "sh", "-c", "echo begun; exec sleep 1000", stdin=subprocess.DEVNULL)
    assert p.stdout.readline() == b"begun\n"
    p.send_signal(signo)
    assert p.wait(30) == 128 + signo
    p.communicate()
    assert ours.last.handler.process.wait(30) == -9
    assert len(ours.terminated) == 1


def test_files_as_streams(client, ours, tmp_path):
    """Standard streams that are files, which no poll knows."""
    (tmp_path / "in").write_bytes(os.urandom(200_000))
    with open(tmp_path / "in", "rb") as i, open(tmp_path / "out", "wb") as o:
        assert subprocess.run([client.program, "exec", NODE, "--", "cat"], env=client.env(), stdin=i, stdout=o,
                              timeout=60).returncode == 0
    assert (tmp_path / "in").read_bytes() == (tmp_path / "out").read_bytes()


def test_shared_streams_stay_blocking(client, ours):
    """Whoever shares a pipe with the client finds it as it was."""
    code = ("import fcntl,os,subprocess,sys; subprocess.run(sys.argv[1:]); "
            "sys.exit(any(fcntl.fcntl(f, fcntl.F_GETFL) & os.O_NONBLOCK for f in (0, 1, 2)))")
    a, b = socket.socketpair()
    with a, b:
        b.shutdown(socket.SHUT_WR)
        for stdin in (subprocess.PIPE, a):
            p = subprocess.run(["/usr/bin/python3", "-c", code, client.program, "exec", NODE, "--", "echo", "x"],
                               env=client.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                               **({"input": b""} if stdin == subprocess.PIPE else {"stdin": stdin}))
            assert (p.returncode, p.stdout, p.stderr) == (0, b"x\n", b"")


# ---- tunnels ----

def first_line(p):
    line = p.stdout.readline().decode()
    assert line, p.stderr.read()
    return line


def test_forwards_of_all_kinds(client, relay, echo, tmp_path):
    sock = tmp_path / "s"
    p = client.start("forward", NODE, f"0:{echo}", f"{sock}:{echo}", f"127.0.0.1:0:localhost:{echo}")
    places = [first_line(p).split(" -> ") for _ in range(3)]
    by_remote = {remote.strip(): local for local, remote in places}
    assert len(places) == 3 and f"localhost:{echo}" in by_remote, places
    data = os.urandom(200_000)
    for local, _ in places:
        s = socket.socket(socket.AF_UNIX) if "/" in local else socket.socket()
        with s:
            s.settimeout(30)
            s.connect(local if "/" in local else ("127.0.0.1", int(local.rpartition(":")[2])))
            assert tcpecho.exchange(s, data) == data
    assert [r["DocumentName"].removeprefix("AWS-StartPortForwardingSession") for r in relay.started] == [
        "", "", "ToRemoteHost"]
    p.send_signal(signal.SIGINT)
    assert p.wait(30) == 130
    assert len(relay.terminated) == 3 and not sock.exists()
    p.communicate()


def test_a_forward_outlives_its_connection(client, relay, echo):
    p = client.start("forward", NODE, f"0:{echo}")
    port = int(first_line(p).split(" ")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        assert tcpecho.exchange(s, b"before") == b"before"
        relay.lose_client()
        data = os.urandom(50_000)
        assert tcpecho.exchange(s, data) == data
    p.terminate()
    p.wait(30)
    assert b"connected again" in p.communicate()[1]


def test_agents_of_times_before_smux_have_one_connection_at_a_time(client, relay):
    relay.node = {"quirks": clientrelay.FAST, "version": "3.0.100.0"}
    said = []
    with tcpecho.banner_server(said) as server:
        p = client.start("forward", NODE, f"0:{server.getsockname()[1]}")
        port = int(first_line(p).split(" ")[0].rpartition(":")[2])
        big = os.urandom(200_000)
        first = socket.create_connection(("127.0.0.1", port), 30)
        assert first.makefile("rb").readline() == b"hello\n"
        assert tcpecho.exchange(first, big) == big
        second = socket.create_connection(("127.0.0.1", port), 30)
        second.sendall(b"second")  # waits
        assert tcpecho.exchange(first, b"again") == b"again"
        assert not said
        first.close()
        got = second.makefile("rb")
        assert got.read(12) == b"hello\nsecond"
        assert tcpecho.exchange(second, big[::-1]) == big[::-1]
        got.close()
        second.close()
        until(lambda: len(said) == 2, "both connections")
        assert said == [big + b"again", b"second" + big[::-1]]
        p.terminate()
        p.communicate(timeout=30)


def test_agents_that_want_to_hear_of_the_client_do(client, relay, echo):
    """Up to 3.1.1511 they end a tunnel that says nothing for half a minute."""
    relay.node = {"quirks": clientrelay.FAST, "version": "3.1.1511.0"}
    p = client.start("forward", NODE, f"0:{echo}")
    port = int(first_line(p).split(" ")[0].rpartition(":")[2])
    until(lambda: relay.last.handler.smux.count[sw.SMUX_NOP] > 0, "a word of the client")
    data = os.urandom(50_000)
    assert tcpecho.through(("127.0.0.1", port), data) == data
    p.terminate()
    p.communicate(timeout=30)


@pytest.mark.parametrize("version, flags", [("2.3.722.0", []), ("2.3.722.1", [sw.TERMINATE_SESSION])])
def test_agents_that_know_no_flag_for_the_end_get_none(client, relay, echo, version, flags):
    relay.node = {"quirks": clientrelay.FAST, "version": version}
    p = client.start("forward", NODE, f"0:{echo}")
    first_line(p)
    p.send_signal(signal.SIGINT)
    assert p.wait(30) == 130
    p.communicate()
    until(lambda: [m.payload for side, m in relay.trace if side == "client" and m.ptype == sw.FLAG] == [
        struct.pack(">I", f) for f in flags], "what the node is told")
    assert len(relay.terminated) == 1


def test_a_port_that_is_taken_is_found_first(client, relay, echo):
    done = client("forward", NODE, f"{echo}:1")
    assert done.returncode == 3 and b"in use" in done.stderr and relay.started == []


def test_nobody_at_the_other_end(client, relay):
    with socket.create_server(("127.0.0.1", 0)) as s:
        free = s.getsockname()[1]
    p = client.start("forward", NODE, f"0:{free}")
    port = int(first_line(p).split(" ")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        assert s.recv(1) == b""
    p.terminate()
    assert f"could not connect to localhost:{free}\n".encode() in p.communicate(timeout=30)[1]


def test_ssh_proxy_passes_bytes(client, relay, echo):
    data = os.urandom(150_000) + b"\n"
    p = client.start("ssh-proxy", NODE, echo, stdin=subprocess.PIPE)
    threading.Thread(target=lambda: (p.stdin.write(data), p.stdin.flush()), daemon=True).start()
    got = b""
    while len(got) < len(data):
        got += os.read(p.stdout.fileno(), 65536)
    assert got == data
    p.stdin.close()
    p.stdin = None
    assert p.wait(30) == 0
    assert p.communicate() == (b"", b"")
    assert relay.started[0]["Parameters"] == {"portNumber": [str(echo)]}


# ---- copies ----

def test_files_there_and_back(client, ours, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    data = os.urandom(2_500_000)
    (here / "a b").write_bytes(data)
    (here / "a b").chmod(0o750)
    assert client("cp", here / "a b", f"{NODE}:{there}").returncode == 0
    assert (there / "a b").read_bytes() == data and (there / "a b").stat().st_mode & 0o777 == 0o750
    assert client("cp", f"{NODE}:{there}/a b", here / "back").returncode == 0
    assert (here / "back").read_bytes() == data and (here / "back").stat().st_mode & 0o777 == 0o750
    (here / "link").symlink_to("a b")
    assert client("cp", here / "link", f"{NODE}:{there}").returncode == 0
    assert (there / "link").read_bytes() == data and not (there / "link").is_symlink()
    (here / "link").unlink(), (there / "link").unlink()
    (here / "empty").write_bytes(b"")
    assert client("cp", here / "empty", f"{NODE}:{there}/e").returncode == 0
    assert (there / "e").read_bytes() == b""
    assert client("cp", f"{NODE}:{there}/e", here).returncode == 0
    assert (here / "e").read_bytes() == b""
    assert sorted(os.listdir(there)) == ["a b", "e"] and sorted(os.listdir(here)) == ["a b", "back", "e", "empty"]


def test_folders_there_and_back(client, ours, tmp_path):
    tree, there = tmp_path / "tree", tmp_path / "there"
    (tree / "x/y").mkdir(parents=True), there.mkdir()
    (tree / "x/y/file").write_bytes(os.urandom(1_500_000))
    (tree / "link").symlink_to("x/y/file")
    assert client("cp", tree, f"{NODE}:{there}").returncode == 3
    assert client("cp", "-r", tree, f"{NODE}:{there}").returncode == 0
    assert client("cp", "-r", f"{NODE}:{there}/tree", tmp_path / "back").returncode == 0
    for copy in (there / "tree", tmp_path / "back"):
        assert (copy / "x/y/file").read_bytes() == (tree / "x/y/file").read_bytes()
        assert os.readlink(copy / "link") == "x/y/file"
    (tree / "x/y/file").unlink()
    done = client("cp", "-r", tree, f"{NODE}:{there}")
    assert done.returncode == 1 and b"--force" in done.stderr and (there / "tree/x/y/file").exists()
    assert client("cp", "-rf", tree, f"{NODE}:{there}").returncode == 0
    assert not (there / "tree/x/y/file").exists() and (there / "tree/x/y").is_dir()
    assert client("cp", "-rf", f"{NODE}:{there}/tree", tmp_path / "back").returncode == 0
    assert (tmp_path / "back/tree/x").is_dir()  # a folder that is there takes it in
    assert sorted(os.listdir(there)) == ["tree"]


@pytest.mark.skipif(os.geteuid() != 0, reason="devices take root")
def test_a_node_puts_no_devices_here(client, ours, tmp_path):
    """The disk of whoever copies as root, for all to read."""
    there = tmp_path / "there"
    there.mkdir()
    try:
        os.mknod(there / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 99))
    except PermissionError:
        pytest.skip("nor may root make any here")
    os.mkfifo(there / "pipe")
    done = client("cp", "-r", f"{NODE}:{there}", tmp_path / "here")
    assert done.returncode == 1 and b"disk" in done.stderr, done
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_copies_that_fail_leave_all_as_it_was(client, ours, tmp_path):
    there, mine = tmp_path / "there", tmp_path / "mine"
    there.mkdir()
    os.mkfifo(tmp_path / "fifo")
    (there / "f").write_text("old")
    mine.write_text("mine")
    for args, words in (((f"{NODE}:{there}/nope", mine), b"no such file"),
                        ((f"{NODE}:{there}", mine), b"is a folder"),
                        ((f"{NODE}:{tmp_path}/fifo", mine), b"neither file nor folder"),
                        ((mine, f"{NODE}:{there}/no/"), b"no such folder"),
                        ((mine, f"{NODE}:{there}/no/f"), b": %s/no: no such folder\n" % bytes(there)),
                        ((mine, f"{NODE}:/proc/f"), b": /proc: No such file or directory\n"),
                        ((f"{NODE}:{there}/f", f"{tmp_path}/no/"), b"no such folder")):
        done = client("cp", *args)
        assert done.returncode == 1 and words in done.stderr, done
    assert (there / "f").read_text() == "old" and mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["fifo", "mine", "there"] and os.listdir(there) == ["f"]


def test_a_copy_that_is_interrupted_leaves_nothing(client, ours, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    (there / "f").write_text("old")
    big = tmp_path / "tree/big"
    big.parent.mkdir()
    with open(big, "wb") as f:
        f.truncate(1 << 30)
    for n, more in enumerate(([big, f"{NODE}:{there}/f"], ["-r", big.parent, f"{NODE}:{there}/new"]), 1):
        p = client.start("cp", *more, stdin=subprocess.DEVNULL)
        until(lambda: len(ours.nodes) == n and ours.last.input_bytes > 500_000, "it has begun")
        until(lambda: len(os.listdir(there)) == 2, "the node has a place for it")
        p.terminate()
        assert p.wait(60) == 143
        assert p.communicate()[1] == b""
        assert os.listdir(there) == ["f"] and (there / "f").read_text() == "old"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    p = client.start("cp", f"{NODE}:{big}", tmp_path / "copy", stdin=subprocess.DEVNULL)
    until(lambda: any(n.startswith("copy.") for n in os.listdir(tmp_path)), "it has begun")
    p.terminate()
    assert p.wait(30) == 143
    p.communicate()
    assert not [n for n in os.listdir(tmp_path) if n.startswith("copy")] and os.listdir(scratch) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="puts another tar in the place of tar")
def test_a_folder_that_tar_has_not_all_of_is_not_made(client, ours, tmp_path):
    """What tar had given is an archive without a fault, and its output ends before its status is known."""
    tree, shim = tmp_path / "tree", tmp_path / "shim"
    for folder in (tree, shim):
        folder.mkdir()
    (tree / "f").write_text("f")
    shutil.copy("/bin/tar", shim / "real")
    (shim / "tar").write_text(f'#!/bin/sh\n{shim}/real "$@"\nexec >&-\nsleep 1\nexit 2\n')
    (shim / "tar").chmod(0o755)
    done = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /bin/tar && exec "$@"', shim / "tar",
                           client.program, "cp", "-r", tree, f"{NODE}:{tmp_path}/copy"], env=client.env(),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"tar ended with status 2" in done.stderr, done
    until(lambda: sorted(os.listdir(tmp_path)) == ["shim", "tree"], "what the node had is gone")


def test_what_was_changed_on_the_way_is_refused(client, ours, tmp_path):
    """One byte of data differs from what the node hashed: no file appears."""
    (tmp_path / "f").write_bytes(b"x" * 5000)
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "cat").write_text('#!/bin/sh\n/bin/cat "$@" | tr x y\n')
    (shim / "sha256sum").write_text("#!/bin/sh\n/usr/bin/sha256sum | tr 0-9 1-90\n")
    (shim / "sha256sum").chmod(0o755)
    os.environ["PATH"], path = f"{shim}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        done = client("cp", f"{NODE}:{tmp_path}/f", tmp_path / "g")
        assert done.returncode == 1 and b"not what was sent" in done.stderr, done
        done = client("cp", tmp_path / "f", f"{NODE}:{tmp_path}/g")
        assert done.returncode == 1 and b"checksum" in done.stderr, done
    finally:
        os.environ["PATH"] = path
    assert not (tmp_path / "g").exists()


def instead(relay, line):
    """What the node runs, whatever the client asks for."""
    relay.documents["Fairlead-Exec"] = clientrelay.session_document(
        "NonInteractiveCommands", ["command"], linux=clientrelay.COMMAND | {"commands": line, "stdin": "true"})


@pytest.mark.parametrize("options", [[], ["-r"]])
def test_a_node_that_has_enough_before_the_end_has_no_copy(client, ours, tmp_path, options):
    tree = tmp_path / "tree"
    tree.mkdir()
    with open(tree / "f", "wb") as f:
        f.truncate(30_000_000)
    instead(ours, "exit 0")
    done = client("cp", *options, tree if options else tree / "f", f"{NODE}:x")
    assert done.returncode == 1 and b"ended early" in done.stderr, done


def test_a_folder_is_whole_however_late_it_is_written(client, ours, tmp_path):
    """The session is over while tar has not read all of it yet, and not all may be acknowledged."""
    ours.node["quirks"] = dataclasses.replace(clientrelay.FAST, acks_wait_s=2)
    tree, go = tmp_path / "tree", tmp_path / "go"
    tree.mkdir()
    (tree / "f").write_bytes(os.urandom(700_000))
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", tree, "."], check=True)
    instead(ours, f"echo d 0 0; until [ -e {go} ]; do sleep 0.01; done; cat {tmp_path}/tar; "
                  f"sha256sum {tmp_path}/tar | cut -c 1-64")
    p = client.start("cp", "-r", f"{NODE}:x", tmp_path / "back", stdin=subprocess.DEVNULL)
    children = pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children")
    until(lambda: children.read_text().split(), "tar runs")
    tar = int(children.read_text().split()[0])
    os.kill(tar, signal.SIGSTOP)
    go.touch()
    until(lambda: ours.last.status, "the session is over")
    time.sleep(0.5)  # and the client knows; if not, nothing is shown
    os.kill(tar, signal.SIGCONT)
    assert p.wait(30) == 0, p.communicate()
    p.communicate()
    assert (tmp_path / "back/f").read_bytes() == (tree / "f").read_bytes()


def test_a_folder_brings_no_rights_along(client, ours, tmp_path):
    """What is set-user-ID at one end is not set-user-ID of whoever copies it: root, it may be."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_text("x")
    (tree / "f").chmod(0o7777)
    umask = os.umask(0)
    os.umask(umask)
    for source, target, copy in ((f"{NODE}:{tree}", tmp_path / "back", tmp_path / "back"),
                                 (tree, f"{NODE}:{tmp_path}/up", tmp_path / "up")):
        assert client("cp", "-r", source, target).returncode == 0
        assert (copy / "f").stat().st_mode & 0o7777 == 0o777 & ~umask


def test_what_takes_a_file_s_place_takes_none_of_its_rights(client, ours, tmp_path, monkeypatch):
    """Also where its owner may not be taken over, which would take them away."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/chown").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "f").write_text("new")
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o6750)
    assert client("cp", tmp_path / "f", f"{NODE}:{tmp_path}/old").returncode == 0
    assert (tmp_path / "old").read_text() == "new" and (tmp_path / "old").stat().st_mode & 0o7777 == 0o750


def test_progress_on_a_terminal(client, ours, tmp_path):
    with open(tmp_path / "f", "wb") as f:
        f.truncate(30_000_000)
    t = client.terminal("cp", tmp_path / "f", f"{NODE}:{tmp_path}/g")
    t.read(r"\[=* *\] +\d+%  [\d.]+ .?B  [\d.]+ .?B/s")
    assert t.end() == 0
    assert t.shown().strip() == "" and (tmp_path / "g").stat().st_size == 30_000_000


# ---- as the plugin of the AWS CLI ----

def aws(client, *args):
    return ["/usr/bin/aws", "--endpoint-url", client.relay.endpoint, "ssm", *args]


def test_the_stock_cli_opens_a_terminal(client, relay):
    t = Terminal(aws(client, "start-session", "--target", NODE), client.as_plugin())
    t.read(r"\r\nStarting session with SessionId: (ref-\w+)\r\n")
    t.read(PROMPT)
    t.type("stty size; sleep 1000\r")
    t.read(r"30 100\r\n")
    t.type("\x03")
    t.read(r"\^C.*" + PROMPT)
    t.type("exit\r")
    t.read(r"\r\n\r\nExiting session with sessionId: ref-\w+\.\r\n\r\n")
    assert t.end() == 0
    assert relay.terminated == []


def test_the_stock_cli_runs_commands(client, relay):
    done = subprocess.run(aws(client, "start-session", "--target", NODE, "--document-name",
                              "AWS-StartNonInteractiveCommand", "--parameters", "command=echo hello"),
                          env=client.as_plugin(), capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done
    assert re.fullmatch(rb"\nStarting session with SessionId: (\S+)\nhello\n\n\nExiting session with sessionId: \1\.\n\n",
                        done.stdout), done


@pytest.mark.parametrize("how", ["fails", "terminated", "over meanwhile"])
def test_the_stock_cli_takes_no_end_for_a_crash(client, relay, how):
    """Any status but 0 of its plugin makes it print the call, with the token in it (protocol 3 §8: 0)."""
    command = "sh -c 'echo begun; exit 3'" if how == "fails" else "sh -c 'echo begun; exec sleep 1000'"
    p = subprocess.Popen(aws(client, "start-session", "--target", NODE, "--document-name",
                             "AWS-StartNonInteractiveCommand", "--parameters", json.dumps({"command": [command]})),
                         env=client.as_plugin(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    head = [p.stdout.readline() for _ in range(3)]
    assert head[2] == b"begun\n"
    if how == "terminated":
        relay.close_channel(relay.last.session_id, ("agent", "client"), output="by somebody")
    elif how == "over meanwhile":
        relay.done_with[relay.last.session_id] = "Success", ""
        relay.lose_client()
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and b"TokenValue" not in err and b"Traceback" not in err, err
    assert (b" : by somebody\n" in out) == (how == "terminated")


def test_the_stock_cli_interrupts_commands(client, relay):
    """The key is for the command; whoever presses it twice leaves."""
    def start(trap):
        p = subprocess.Popen(aws(client, "start-session", "--target", NODE, "--document-name",
                                 "AWS-StartNonInteractiveCommand", "--parameters", json.dumps(
                                     {"command": [f"sh -c 'trap \"{trap}\" INT; echo go; "
                                                  "while :; do sleep 0.05; done'"]})),
                             env=client.as_plugin(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             start_new_session=True)
        assert [p.stdout.readline() for _ in range(3)][2] == b"go\n"
        os.killpg(p.pid, signal.SIGINT)
        return p

    p = start("echo caught; exit 5")
    out, _ = p.communicate(timeout=30)
    assert p.returncode == 0 and out.startswith(b"caught\n") and relay.terminated == []
    p = start("echo stays")
    assert p.stdout.readline() == b"stays\n"
    os.killpg(p.pid, signal.SIGINT)
    p.communicate(timeout=30)
    assert p.returncode == 0 and relay.terminated == [relay.last.session_id]


@pytest.mark.parametrize("document, more", [("AWS-StartPortForwardingSession", ""),
                                            ("AWS-StartPortForwardingSessionToRemoteHost", ",host=localhost"),
                                            ("AWS-StartPortForwardingSessionToSocket", "unix")])
def test_the_stock_cli_forwards(client, relay, echo, tmp_path, document, more):
    path = tmp_path / "sock"
    local = f"localUnixSocket={path}" if more == "unix" else f"localPortNumber=0{more}"
    p = subprocess.Popen(aws(client, "start-session", "--target", NODE, "--document-name", document, "--parameters",
                             f"portNumber={echo},{local}"), env=client.as_plugin(), stdout=subprocess.PIPE, text=True,
                         start_new_session=True)
    text = ""
    while "Waiting for connections...\n" not in text:
        text += p.stdout.readline()
    found = re.search(r"\nStarting session with SessionId: (\S+)\n(Port|Unix socket) (\S+) opened for sessionId \1\.\n"
                      r"Waiting for connections\.\.\.\n", text)
    assert found, text
    s = socket.socket(socket.AF_UNIX) if more == "unix" else socket.socket()
    with s:
        s.settimeout(30)
        s.connect(str(path) if more == "unix" else ("127.0.0.1", int(found[3])))
        data = os.urandom(100_000)
        assert tcpecho.exchange(s, data) == data
    assert p.stdout.readline() == "\n" and p.stdout.readline() == f"Connection accepted for session [{found[1]}]\n"
    os.killpg(p.pid, signal.SIGINT)
    assert p.wait(30) == 0
    assert relay.terminated == [found[1]]


@pytest.mark.parametrize("local", ["localPortNumber=*:0", "localPortNumber=FILE", "localPortNumber=FILE2",
                                   "localUnixSocket=FILE"])
def test_a_node_does_not_say_where_else_to_listen(client, relay, tmp_path, local):
    """These properties come from the node: it could have had any file deleted, or the port opened for everybody."""
    (tmp_path / "file").write_text("precious")
    document = "AWS-StartPortForwardingSession" + ("ToSocket" if "Unix" in local else "")
    done = client("session", NODE, "-D", document, "-p", "portNumber=1", "-p",
                  local.replace("FILE", str(tmp_path / "file")), stdin=b"")
    assert done.returncode == 3 and (b"is none" in done.stderr or b"Address already in use" in done.stderr), done
    assert (tmp_path / "file").read_text() == "precious" and len(list(tmp_path.iterdir())) == 1


def test_a_node_makes_no_port_of_a_shell(client, relay, tmp_path):
    relay.documents["SSM-SessionManagerRunShell"] = relay.documents["Fairlead-Exec"] = clientrelay.session_document(
        "Port", portNumber="1", type="LocalPortForwarding", localConnectionType="unix", localUnixSocket=f"{tmp_path}/s")
    for args in ("session", NODE), ("exec", NODE, "--", "true"):
        done = client(*args, stdin=b"")
        assert done.returncode != 0 and b"made a port" in done.stderr and not list(tmp_path.iterdir()), done


def test_the_stock_cli_as_an_ssh_proxy(client, relay, echo):
    """Nothing but the bytes of the port."""
    p = subprocess.Popen(aws(client, "start-session", "--target", NODE, "--document-name", "AWS-StartSSHSession",
                             "--parameters", f"portNumber={echo}"), env=client.as_plugin(), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    p.stdin.write(b"\nSSH-2.0-x\r\n")
    p.stdin.flush()
    assert p.stdout.read(12) == b"\nSSH-2.0-x\r\n"
    p.stdin.close()
    assert p.wait(30) == 0 and p.stdout.read() == b""


def test_old_ways_to_call_the_plugin(client, relay):
    """The answer as an argument, as CLIs before 1.2.497 pass it, and with four arguments alone."""
    for argv in (5, 3):
        answer = relay.StartSession({"Target": NODE})[1]
        args = [json.dumps(answer), "local", "StartSession", "", json.dumps({"Target": NODE}), relay.endpoint][:argv + 1]
        done = subprocess.run(["session-manager-plugin", *args], executable=client.program, env=client.env(),
                              input=b"echo $((5+6))\nexit\n", capture_output=True, timeout=60)
        assert done.returncode == 0 and b"11\r\n" in done.stdout, done
    done = subprocess.run(["session-manager-plugin", "{}", "local", "Nope", ""], executable=client.program,
                          env=client.env(), capture_output=True)
    assert done.returncode == 1 and done.stderr == b"Invalid Operation\n"
