"""Sessions on a real agent: the reference plane relays to a reference client; both check every byte."""
import base64
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import conftest
import flsandbox
import refsession
import refsessionplane
import sessionwire as sw
import tcpecho

SHELL = {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {}}
OURS = {"Fairlead": {"MaxPayload": 65536, "EndOfInput": True, "Handshake": True}}
ROOT = os.geteuid() == 0
USER = pwd.getpwuid(os.geteuid()).pw_name
CONFIG = {"Fairlead": {"SessionUser": USER, "PamService": "none"}}


@pytest.fixture
def plane(tmp_path):
    with conftest.reference(refsessionplane.SessionPlane, tmp_path) as p:
        yield p


@pytest.fixture
def agent(plane, new_agent):
    return new_agent(plane, config=dict(CONFIG, Kms={"Endpoint": plane.endpoint}))


@pytest.fixture
def session(plane, agent):
    """A function that starts a session: session(document, …) -> (client, Session)."""
    made = []

    def start(document=SHELL, parameters=None, client=None, **content):
        s, answer = plane.start_session(document, parameters, **content)
        c = plane.client(answer, **(client or {}))
        made.append(c)
        return c.start(), s

    yield start
    for c in made:
        c.leave()
        assert c.violations == []


def commands(kind, line, **more):
    return {"schemaVersion": "1.0", "sessionType": kind, "properties": {"linux": {"commands": line, **more}}}


def over(plane, client, s, status="Success", output=""):
    """The session ends, once."""
    assert plane.wait_status(s) == status
    assert client.wait_end() == "closed"
    assert len(s.completes) == 1 and s.completes[0]["Output"] == output


def test_shell(session, plane):
    client, s = session()
    client.wait_ready()
    client.send(b"stty size; echo a$((1+1))b; shopt -q login_shell && echo log''in\n")
    client.wait_output(b"a2b\r\nlogin\r\n")
    client.resize(81, 25)
    client.send(b"stty size\r")
    client.wait_output(b"25 81\r\n")
    client.send(b"env | sort; pwd; tty\r")
    home = pwd.getpwnam(USER).pw_dir
    for line in (f"HOME={home}", f"USER={USER}", f"LOGNAME={USER}", "TERM=xterm-256color", "LANG=",
                 f"SHELL={pwd.getpwnam(USER).pw_shell}", f"\n{home}\r\n/dev/pts/"):
        client.wait_output(line.encode())
    assert b"AWS_" not in client.output and b"FAIRLEAD" not in client.output
    client.send(b"exit\r")
    over(plane, client, s)
    assert s.states == ["Connected", "Terminating"]


def test_size_before_the_first_output(session, plane):
    """With a handshake, the command begins when the client has said its size, however slow it is."""
    def steer(s, side, message, frame):
        if message.ptype == sw.SIZE:
            time.sleep(0.15)
        return [frame]
    plane.steer = steer
    client, s = session(commands("InteractiveCommands", "stty size"), **OURS)
    client.wait_output(b"100 300\r\n")
    over(plane, client, s)


def test_profile(session, plane):
    client, s = session(dict(SHELL, inputs={"shellProfile": {"linux": "PS1=re''ady:"}}))
    client.wait_output(b"ready:")
    client.send(b"exit 7\r")
    over(plane, client, s)


def test_interactive_commands_as_a_user(session, plane):
    document = commands("InteractiveCommands", "{{ command }}")
    document["parameters"] = {"command": {"type": "String"}}
    content = {"RunAsUser": "nobody"} if ROOT else {}
    client, s = session(document, {"command": "tty; id -un; id -Gn; pwd; echo $$ '$HOME'"}, **content)
    client.wait_output(b"/dev/pts/")
    client.wait_output(b"nobody\r\n" if ROOT else USER.encode())
    if ROOT:
        client.wait_output(b"nogroup\r\n/\r\n")
    client.wait_output(b" $HOME\r\n")
    over(plane, client, s)


def test_run_as_is_refused(session, plane):
    """Nobody named, somebody who does not exist, root."""
    for user, words in (("no-such-user", "does not exist"), ("root", "must not be root")):
        client, s = session(RunAsUser=user)
        assert plane.wait_status(s) == "Failed" and client.wait_end() == "closed"
        assert (words if ROOT else "does not run as root") in s.completes[0]["Output"]
    client, s = session(dict(SHELL, inputs={"runAsEnabled": "true"}))
    assert plane.wait_status(s) == "Failed"
    assert ("no user is named" if ROOT else "does not run as root") in s.completes[0]["Output"]


@pytest.mark.parametrize("separate", [True, False])
def test_commands_without_a_terminal(session, plane, separate):
    more = {"separateOutputStream": "true", "stdOutSeparatorPrefix": "O:", "stdErrSeparatorPrefix": "E:"}
    client, s = session(commands("NonInteractiveCommands", "sh -c 'echo out; echo err >&2; test -t 0; exit 3'",
                                 **(more if separate else {})))
    over(plane, client, s)
    if separate:
        assert sorted(client.messages) == [(sw.OUTPUT, b"O:out\n"), (sw.STDERR, b"E:err\n"),
                                           (sw.EXIT_CODE, b"EXIT_CODE: 3")]
    else:
        assert bytes(client.output) == b"out\nerr\n"


def test_a_command_that_is_not_there(session, plane):
    client, s = session(commands("NonInteractiveCommands", "no-such-program x", separateOutputStream=True))
    assert plane.wait_status(s) == "Failed"
    assert "no-such-program" in s.completes[0]["Output"]
    assert client.messages[0][0] == sw.STDERR


def test_a_signal_for_a_command(session, plane):
    client, s = session(commands("NonInteractiveCommands", "sh -c 'trap \"echo caught; exit 5\" INT; echo go; "
                                 "while :; do sleep 0.05; done'", separateOutputStream=True))
    client.wait_output(b"go\n")
    client.send(b"\x03")
    over(plane, client, s)
    assert client.messages[-2:] == [(sw.OUTPUT, b"caught\n"), (sw.EXIT_CODE, b"EXIT_CODE: 5")]


def port_document(**properties):
    return {"schemaVersion": "1.0", "sessionType": "Port", "properties": properties}


def test_mux(session, plane, echo):
    client, s = session(port_document(portNumber=str(echo), localPortNumber="0", type="LocalPortForwarding"))
    client.wait(lambda: client.port)
    assert client.port.kind == "mux"
    datas = [os.urandom(100000 + i) for i in range(5)]
    got = [None] * 5

    def one(i):
        got[i] = tcpecho.through(client.port.address, datas[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert got == datas
    client.interrupt()
    assert plane.wait_status(s) == "Success" and s.states == ["Connected"]


def test_mux_to_a_closed_port(session, plane):
    closed = flsandbox.free_port()
    client, s = session(port_document(portNumber=str(closed), type="LocalPortForwarding"))
    client.wait(lambda: client.port)
    with socket.create_connection(client.port.address, 30) as sock:
        sock.sendall(b"x")
        assert sock.recv(10) == b""
    client.wait(lambda: any(t == sw.FLAG for t, _ in client.messages))
    assert not s.completes
    client.interrupt()
    assert plane.wait_status(s) == "Success"


def test_mux_of_a_client_that_speaks_no_smux(session, plane, echo):
    client, s = session(port_document(portNumber=str(echo), type="LocalPortForwarding"))
    client.wait(lambda: client.port)
    client.stream.send(sw.OUTPUT, b"\x07 is no version of smux")
    over(plane, client, s, "Failed", "fairlead: what the client sent is not smux")


def basic(session, port):
    """A client of times before smux: one connection after the other."""
    client, s = session(port_document(portNumber=str(port), type="LocalPortForwarding"),
                        client={"version": "1.1.69.0", "quirks": refsession.Quirks(pause_s=0)})
    client.wait(lambda: client.port)
    assert client.port.kind == "basic"
    return client, s


def test_basic(session, plane):
    said = []
    with tcpecho.banner_server(said) as server:
        client, s = basic(session, server.getsockname()[1])
        with socket.create_connection(client.port.address, 30) as sock:
            assert sock.recv(6) == b"hello\n"  # dialled at the start
        client.wait(lambda: said, what="the node's end of it")
        with socket.create_connection(client.port.address, 30) as sock:
            sock.sendall(b"second")  # dialled again for this
            assert sock.makefile("rb").read(12) == b"hello\nsecond"
        client.wait(lambda: len(said) == 2, what="the node's end of it")
        assert said == [b"", b"second"]
    client.interrupt()
    assert plane.wait_status(s) == "Success"


def test_basic_ends_behind_its_data(session, plane):
    """What was sent before the flag that ends a connection is written, however slowly it is read."""
    data = os.urandom(3_200_000)  # more than a kernel holds for one connection
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        client, s = basic(session, server.getsockname()[1])
        target, _ = server.accept()
        with target:
            with socket.create_connection(client.port.address, 30) as sock:
                sock.sendall(data)
            time.sleep(1)
            got = b"".join(iter(lambda: target.recv(65536), b""))
    assert got == data
    client.leave()
    plane.channel_closed(s, "control")
    assert plane.wait_status(s) == "Success"


def test_ssh_type(session, plane, echo):
    client, s = session(port_document(portNumber=str(echo)))
    client.wait_ready()
    data = os.urandom(50000).replace(b"\n", b"x")
    client.send(data)
    client.wait(lambda: sum(len(p) for t, p in client.messages if t == sw.OUTPUT) >= len(data))
    assert b"".join(p for t, p in client.messages if t == sw.OUTPUT) == data
    client.leave()
    plane.channel_closed(s, "control")
    assert plane.wait_status(s) == "Success"


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_forbidden_host(session, plane, host):
    client, s = session(port_document(portNumber="80", host=host, type="LocalPortForwarding"))
    assert plane.wait_status(s) == "Failed"
    assert s.completes[0]["Output"] == f"Forwarding to IP address {host.replace('::ffff:', '')} is forbidden."


def test_a_remote_host(session, plane, echo):
    client, s = session(port_document(portNumber=str(echo), host="localhost", type="LocalPortForwarding"))
    client.wait(lambda: client.port)
    assert tcpecho.through(client.port.address, b"hello") == b"hello"


def test_encryption(session, plane):
    document = commands("InteractiveCommands", "read x; echo got $x")
    document["inputs"] = {"kmsKeyId": "alias/sessions"}
    client, s = session(document)
    client.wait_ready()
    client.send(b"secret words\r")
    client.wait_output(b"got secret words\r\n")
    over(plane, client, s)
    assert not any(b"secret words" in m.payload for _, m in s.trace)
    assert "encrypted" in client.customer_message


def encrypted(line="echo ready"):
    return dict(commands("InteractiveCommands", line), inputs={"kmsKeyId": "alias/sessions"})


def test_what_does_not_open_ends_an_encrypted_session(session, plane):
    """Else a relay could put it in the place of words of the client, which would never come."""
    client, s = session(encrypted("read x; echo got $x; read x"))
    client.wait_ready()
    client.stream.send(sw.OUTPUT, b"not sealed, but of a good length\r")
    over(plane, client, s, "Failed", "fairlead: what the client sent makes no sense")


def wrong_answer(client):
    client.stream.send(sw.CHALLENGE_RESPONSE, sw.compact({"Challenge": base64.b64encode(bytes(92)).decode()}))


@pytest.mark.parametrize("answer, why", [
    # long: the agent waits its full 15 s, as the official one
    pytest.param(lambda client: None, "did not answer in time", marks=pytest.mark.long),
    (wrong_answer, "does not have the session's key"),
])
def test_a_challenge_without_its_answer(plane, agent, answer, why):
    """Nothing is run, and nothing said."""
    s, granted = plane.start_session(encrypted(), None)
    client = plane.client(granted)
    client._challenge = lambda payload: answer(client)
    client.start()
    assert plane.wait_status(s, 60) == "Failed"
    assert len(s.completes) == 1 and why in s.completes[0]["Output"]
    assert not any(m.type == "output_stream_data" and m.ptype == sw.OUTPUT for _, m in s.trace)
    client.leave()


def test_a_key_bound_to_the_challenge_is_demanded(plane, new_agent):
    """Kms.RequireKMSChallengeResponse; the reference client's keys are not, as the official plugin's."""
    new_agent(plane, config=dict(CONFIG, Kms={"Endpoint": plane.endpoint, "RequireKMSChallengeResponse": True}))
    s, answer = plane.start_session(encrypted(), None)
    client = plane.client(answer).start()
    assert plane.wait_status(s) == "Failed"
    assert "RequireKMSChallengeResponse" in s.completes[0]["Output"]
    client.leave()


# ---- ends ----

def sleepers(seconds):
    """Pids of `sleep SECONDS`."""
    out = subprocess.run(["pgrep", "-f", f"^sleep {seconds}$"], capture_output=True, text=True).stdout
    return [int(p) for p in out.split()]


@pytest.mark.parametrize("over_", ["data", "control"])
def test_terminated_by_the_service(session, plane, over_):
    """The whole tree goes, also what left the terminal."""
    client, s = session()
    client.wait_ready()
    n = random.randint(100000, 999999)
    client.send(f"setsid sleep {n}1 & (setsid sleep {n}2 &); sleep {n}3 & echo pid''s\r".encode())
    client.wait_output(b"pids\r\n")
    plane.channel_closed(s, over_)
    assert plane.wait_status(s) == "Success"
    assert "Terminating" not in s.states
    flsandbox.wait_for("all to be gone", lambda: not sleepers(f"{n}[123]"))


def test_the_client_ends_it(session, plane):
    client, s = session()
    client.wait_ready()
    client.flag(sw.TERMINATE_SESSION)
    assert plane.wait_status(s) == "Success"


# ---- restarts and deaths ----

def processes(agent, name):
    """Pids below the agent's folders by the first 15 bytes of their names."""
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (p / "comm").read_text().strip() == name and (
                    str(agent.state) in (p / "cmdline").read_text() or name != "fairlead-holder"):
                found.append(int(p.name))
        except OSError:
            pass
    return found


def children(pid, name):
    out = subprocess.run(["pgrep", "-P", str(pid), "-x", name], capture_output=True, text=True).stdout
    return [int(p) for p in out.split()]


def holder_of(agent):
    return flsandbox.wait_for("the holder", lambda: processes(agent, "fairlead-holder"), 10)[0]


def marks(client, text):
    """The session answers."""
    client.send(f"echo {text[0]}''{text[1:]}\r".encode())
    client.wait_output(f"{text}\r\n".encode())


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_credentials_are_sent_once(session, plane, agent, tmp_path):
    """By the monitor to the holder, by the holder to the session process."""
    log = tmp_path / "strace"
    tracer = subprocess.Popen(["strace", "-f", "-s", "8000", "-e", "trace=sendmsg", "-o", str(log), "-p", str(agent.pid)],
                              stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    threading.Thread(target=tracer.stderr.read, daemon=True).start()
    try:
        client, s = session()
        client.wait_ready(timeout_s=120)  # every system call of the agent stops it
        marks(client, "hello")
        client.send(b"exit\r")
        over(plane, client, s)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    keys = [line for line in log.read_text().splitlines() if any(key in line for key in plane.tokens)]
    assert len(keys) == 2, keys


@pytest.mark.parametrize("victims", [["monitor"], ["net"], ["monitor", "net"]])
def test_agent_killed_in_the_middle(session, plane, agent, victims):
    """kill -9 of monitor, net, both: the session lives, and ends once."""
    client, s = session()
    client.wait_ready()
    marks(client, "before")
    net = children(agent.child.pid, "fairlead-net")[0]
    if "net" in victims:
        os.kill(net, signal.SIGKILL)
    if "monitor" in victims:
        agent.kill()
    marks(client, "during")
    opened = plane.channels_opened
    if "monitor" in victims:
        agent.start()
    plane.wait(lambda: plane.channels_opened > opened or plane.channel is not None, 60, "back")
    plane.wait_online(60)
    marks(client, "after")
    assert s.opened == 1
    client.send(b"exit\r")
    over(plane, client, s)
    time.sleep(1.5)
    assert len(s.completes) == 1
    flsandbox.wait_for("the folder to go", lambda: not any((agent.state / "sessions").iterdir()), 10)


def test_terminated_after_a_restart(session, plane, agent):
    client, s = session()
    client.wait_ready()
    agent.kill()
    agent.start()
    plane.wait_online(60)
    plane.channel_closed(s, "control")
    assert plane.wait_status(s) == "Success"


def test_the_end_comes_while_the_agent_is_away(session, plane, agent):
    client, s = session()
    client.wait_ready()
    agent.kill()
    client.send(b"exit\r")
    plane.wait(lambda: s.states[-1:] == ["Terminating"], 30, "the end on the data channel")
    assert not s.completes
    agent.start()
    over(plane, client, s)


def test_an_unacknowledged_end_is_told_three_times(session, plane, agent):
    plane.ack_tasks = False
    client, s = session()
    client.wait_ready()
    client.send(b"exit\r")
    plane.wait(lambda: len(s.completes) == 3, 20, "three reports")
    time.sleep(1.5)
    assert len(s.completes) == 3 and len({c["id"] for c in s.completes}) == 1
    assert [c["RetryNumber"] for c in s.completes] == [1, 2, 3]
    plane.ack_tasks = True
    agent.kill()
    agent.start()
    plane.wait(lambda: len(s.completes) == 4, 60, "told again after a restart")
    assert len({c["id"] for c in s.completes}) == 1 and s.completes[3]["RetryNumber"] == 1
    flsandbox.wait_for("the folder to go", lambda: not any((agent.state / "sessions").iterdir()), 10)


@pytest.mark.parametrize("victim", ["fairlead-sess", "fairlead-holder"])
def test_a_process_of_the_session_is_killed(session, plane, agent, victim):
    """Reported once, in words; nothing of it stays."""
    client, s = session()
    client.wait_ready()
    n = random.randint(100000, 999999)
    client.send(f"trap '' HUP; sleep {n} & wait\r".encode())
    holder = holder_of(agent)
    left = flsandbox.wait_for("sleep", lambda: sleepers(n), 10)
    os.kill(children(holder, "fairlead-sess")[0] if victim == "fairlead-sess" else holder, signal.SIGKILL)
    assert plane.wait_status(s) == "Failed"
    assert "killed by signal 9" in s.completes[0]["Output"]
    time.sleep(1.5)
    assert len(s.completes) == 1
    if victim == "fairlead-sess":
        assert not sleepers(n)
    for pid in sleepers(n):  # a holder that is killed can end nothing
        assert pid in left
        os.kill(pid, signal.SIGKILL)


def test_data_channel_lost(session, plane):
    """It comes back with a new token, numbers go on, nothing is lost or doubled."""
    client, s = session()
    client.wait_ready()
    marks(client, "before")
    client.send(b"for i in $(seq 2000); do echo line $i; done\r")
    client.wait_output(b"line 5\r\n")
    for _ in range(3):
        opened = s.opened
        s.cut()
        plane.wait(lambda: s.opened > opened and s.agent, 30, "a new data channel")
    client.wait_output(b"line 2000\r\n", 60)
    text = bytes(client.output)
    assert text[text.index(b"line 1\r\n"):].startswith(b"".join(b"line %d\r\n" % i for i in range(1, 2001)))
    assert s.states == ["Connected"]


def test_client_lost_and_resumed(session, plane):
    client, s = session()
    client.wait_ready()
    plane.publication(s, "pause")
    client.drop()
    client.wait(lambda: client.resumes == 1, 30, "resume")
    plane.publication(s, "start")
    marks(client, "back")


def test_a_service_that_refuses_the_channel(session, plane):
    plane.fail["CreateDataChannel"] = [(500, "InternalServerError")] * 3
    client, s = session()
    client.wait_ready()
    marks(client, "there")
    plane.fail["CreateDataChannel"] = [(400, "AccessDenied")] * 10
    s.cut()
    assert plane.wait_status(s, 60) == "Failed"
    assert "AccessDenied" in s.completes[0]["Output"]


def upgrades(plane, s):
    """Which request of its connection each upgrade of the agent was."""
    return [r.nth for r in plane.requests if "upgrade" in r.headers and "authorization" in r.headers and
            r.path.endswith(s.session_id)]


def test_the_channel_is_on_the_connection_of_its_call(session, plane):
    client, s = session()
    client.wait_ready()
    s.cut()
    marks(client, "there")
    assert upgrades(plane, s) == [2, 2]


def test_a_service_that_hangs_up_on_such_an_upgrade(session, plane):
    plane.hangs_up_on_upgrades = True
    client, s = session()
    client.wait_ready()
    s.cut()
    marks(client, "there")
    assert upgrades(plane, s) == [2, 1, 1]


# ---- what is not to be trusted ----

def test_hostile_starts(plane, agent):
    """Ids that lead elsewhere, contents that are none: refused or failed, and the agent goes on."""
    for bad in ("../../etc", "a/b", ".hidden", "", "x" * 97, "a\u0000b", "a b"):
        plane.send_shell(bad, {"SessionId": bad, "DocumentName": "d", "DocumentContent": SHELL})
    plane.send_raw("{}", "interactive_shell")
    plane.send_raw('{"Content": "[]"}', "interactive_shell")
    plane.send_raw("x", "channel_closed")
    plane.send_raw("{}", "agent_task_acknowledge")
    assert not (agent.state / "sessions").exists() or not any((agent.state / "sessions").iterdir())
    for document in ({"schemaVersion": "2.2", "sessionType": "Standard_Stream"},
                     {"schemaVersion": "1.0", "sessionType": "Telepathy"},
                     {"schemaVersion": "1.0", "sessionType": "Port"},
                     port_document(portNumber="0"), port_document(portNumber="70000"),
                     port_document(portNumber=22), port_document(portNumber="22", type="Remote"),
                     commands("InteractiveCommands", "  "), commands("NonInteractiveCommands", "'open"),
                     commands("NonInteractiveCommands", "x", stdOutSeparatorPrefix="$(rm)"),
                     commands("InteractiveCommands", "x", runAsElevated="perhaps"),
                     {"schemaVersion": "1.0", "sessionType": "InteractiveCommands", "properties": 5}):
        s, answer = plane.start_session(document)
        client = plane.client(answer).start() if "commands" in str(document) or "port" in str(document) else None
        assert plane.wait_status(s) == "Failed" and s.completes[0]["Output"], document
        if client:
            client.leave()
    huge, _ = plane.start_session(dict(SHELL, description="x" * 300000))
    time.sleep(0.3)
    assert not huge.completes and agent.running()
    agent.check_running()


def test_a_repeated_start_is_dropped(session, plane, agent):
    client, s = session(session_id="alice-again")
    client.wait_ready()
    content = {"SessionId": "alice-again", "DocumentName": "d", "DocumentContent": SHELL}
    plane.send_shell("alice-again", content)
    marks(client, "same")
    client.send(b"exit\r")
    over(plane, client, s)
    plane.send_shell("alice-again", content)
    time.sleep(0.5)
    assert len(s.completes) == 1 and s.opened == 1


def test_hostile_frames(session, plane):
    """What comes on the data channel is noise: the session goes on."""
    import wire
    client, s = session()
    client.wait_ready()
    for frame in (b"", b"x", os.urandom(200), wire.encode_message("no_such_type", "{}"),
                  wire.encode_message("acknowledge", "[]"), wire.encode_message("acknowledge", "{}"),
                  wire.encode_message("channel_closed", '{"SessionId": "other"}'),
                  wire.encode_message("channel_closed", "\xff"),
                  wire.encode_message("input_stream_data", "x", seq=-5, ptype=1),
                  wire.encode_message("input_stream_data", "x", seq=2**62, ptype=1),
                  wire.encode_message("output_stream_data", "x", seq=0, ptype=1),
                  wire.encode_message("acknowledge", '{"AcknowledgedMessageSequenceNumber": 999999}')):
        s.agent.send_binary(frame)
    marks(client, "still")


def test_regions(plane, new_agent):
    """Agent.Region and Mgs.Region are what calls are signed for; the identity stays where it was registered (protocol 1 §5.2)."""
    plane.regions = {"ssm": "us-east-9", "ssmmessages": "eu-west-9"}
    new_agent(plane, config=dict(CONFIG, Agent={"Region": "us-east-9"}, Mgs={"Region": "eu-west-9"}))
    s, answer = plane.start_session(SHELL)
    client = plane.client(answer).start()
    client.wait_ready()
    marks(client, "signed")
    client.leave()


def test_many_sessions_are_limited(plane, new_agent):
    agent = new_agent(plane, config=dict(CONFIG, Mgs={"SessionWorkersLimit": 2}))
    clients = []
    for i in range(3):
        s, answer = plane.start_session(SHELL)
        clients.append((plane.client(answer).start(), s))
        if i < 2:
            clients[i][0].wait_ready()
    assert plane.wait_status(clients[2][1]) == "Failed"
    assert "too many sessions" in clients[2][1].completes[0]["Output"]
    for c, _ in clients:
        c.leave()


# ---- who may do what ----

def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {k: v.strip() for k, v in (line.split(":", 1) for line in text.splitlines())}


def test_rights(session, agent):
    """The session process is confined as net is; the user's shell has the user's ids and no descriptor of ours."""
    client, s = session(commands("InteractiveCommands", "ls -l /proc/self/fd; id; sleep 6789"),
                        **({"RunAsUser": "nobody"} if ROOT else {}))
    client.wait_output(b"uid=")
    holder = holder_of(agent)
    sess = status_of(children(holder, "fairlead-sess")[0])
    assert (sess["CapEff"], sess["CapBnd"] if ROOT else "0" * 16, sess["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert sess["Seccomp"] == "2" or "Seccomp" not in sess
    if ROOT:
        assert sess["Uid"].split()[0] not in ("0", "65534")
        child = status_of([p for p in children(holder, "sh") + children(holder, "sleep")][0])
        assert set(child["Uid"].split()) == {"65534"} and set(child["Gid"].split()) == {"65534"}
        assert child["CapEff"] == "0" * 16
    fds = [line for line in bytes(client.output).split(b"\r\n") if b"->" in line]
    assert sum(b"/dev/pts/" in line for line in fds) == 3 and len(fds) == 4, fds  # and that of /proc/self/fd


def test_policy(session, plane, agent):
    """What the node's policy does not allow ends as Failed, with the rule's name."""
    policy = agent.config.parent / "policy.json"
    policy.write_text(json.dumps({"version": 1, "default": "deny", "rules": [
        {"name": "no ports at all", "effect": "deny", "match": {"sessionTypes": ["Port"]}},
        {"name": "terminals", "effect": "allow", "match": {"sessionTypes": ["*Stream"], "runAs": [USER]}}]}))
    policy.chmod(0o600)
    client, s = session(port_document(portNumber="22"))
    assert plane.wait_status(s) == "Failed"
    assert 'rule "no ports at all" (session, Port)' in s.completes[0]["Output"]
    client, s = session()
    client.wait_ready()
    marks(client, "allowed")
    client, s = session(commands("NonInteractiveCommands", "true"))
    assert plane.wait_status(s) == "Failed" and "no rule allows it" in s.completes[0]["Output"]
    policy.write_text("{")
    client, s = session()
    assert plane.wait_status(s) == "Failed" and "policy" in s.completes[0]["Output"]


def test_sessions_on_a_disk_that_takes_nothing(session, agent):
    """Whoever is to mend it must get in: the folder is in memory then."""
    (agent.state / "sessions").write_text("in the way")
    client, s = session()
    client.wait_ready()
    marks(client, "there")
    assert any((agent.runtime / "sessions").iterdir())


class Traced:
    """strace on the monitor and all it starts."""

    def __init__(self, agent, *options):
        self.log = agent.folder / "strace.log"
        self.child = subprocess.Popen(["strace", "-f", "-y", "-o", str(self.log), *options, "-p", str(agent.child.pid)],
                                      stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert "attached" in self.child.stderr.readline()
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(30)

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()


need_strace = pytest.mark.skipif(not (ROOT and shutil.which("strace")), reason="needs root and strace")


@need_strace
def test_a_session_is_on_disk_before_anybody_hears_of_it(session, agent):
    session()[0].wait_ready()  # which makes the folder of all
    with Traced(agent, "-ttt", "-e", "trace=fsync", "-e", "inject=fsync:delay_exit=200000") as trace:
        client, s = session()
        client.wait_ready()
        lines = trace.lines()
    folder = agent.state / "sessions"
    for path in (folder, folder / s.session_id, folder / s.session_id / "session", folder / s.session_id / "journal"):
        synced = [float(line.split()[1]) for line in lines if f"<{path}>" in line]
        assert synced and synced[0] < s.opened_at, (path, synced, s.opened_at)


@need_strace
def test_a_disk_that_keeps_nothing(session, agent):
    """It may be forgotten, but whoever is to mend the disk gets in."""
    session()[0].wait_ready()  # which makes the folder of all
    with Traced(agent, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"):
        client, s = session()
        client.wait_ready()
        marks(client, "there")
    assert "session may be forgotten" in agent.log.read_text()


def test_a_client_that_takes_nothing(session, plane, agent):
    """Output waits where it is made: nothing piles up here, and nothing is lost."""
    kept, keeping = [], [False]

    def steer(s, side, message, frame):
        if side == "client" and message.type == "acknowledge" and keeping[0]:
            kept.append(frame)
            return []
        return [frame]
    plane.steer = steer
    client, s = session(commands("NonInteractiveCommands", "sh -c 'head -c 9000000 /dev/zero; echo end'",
                                 separateOutputStream=True))
    client.wait(lambda: len(client.output) > 100000)
    keeping[0] = True
    sess = children(holder_of(agent), "fairlead-sess")[0]

    def stands():
        before = s.expected
        time.sleep(1)
        return before == s.expected
    flsandbox.wait_for("the window to be full", stands, 60)
    assert s.expected < 5000
    assert int(status_of(sess)["VmRSS"].split()[0]) < 30000 or "asan" in str(agent.build)
    with s.lock:
        keeping[0] = False
        for frame in kept:
            s.agent.send_binary(frame)
    assert plane.wait_status(s, 120) == "Success"
    client.wait(lambda: bytes(client.output[-19:]) == b"\0\0\0end\nEXIT_CODE: 0", 60)
    assert len(client.output) == 9000000 + 4 + 12


@pytest.mark.skipif(not ROOT, reason="making users takes root")
def test_the_user_is_made(plane, new_agent, tmp_path):
    """ssm-user, where nobody else is configured: with a home, a shell, sudo, in an /etc of the test's own."""
    etc, home = tmp_path / "etc", tmp_path / "home"
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    home.mkdir()
    (etc / "sudoers.d").mkdir(exist_ok=True)
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"):
        f = etc / name
        if f.exists():
            f.write_text("".join(line for line in f.read_text().splitlines(True) if not line.startswith("ssm-user:")))
    with open(etc / "group", "a") as f:
        f.write("operators:x:43210:ssm-user\n")
    slow, real = tmp_path / "slow-useradd", tmp_path / "useradd"
    shutil.copy("/usr/sbin/useradd", real)
    slow.write_text(f"#!/bin/sh\n# as useradd does: the user first, the home last\nshift\n{real} -M \"$@\" || exit\nsleep 1\n"
                    "cp -r /etc/skel /home/ssm-user && chown -R ssm-user: /home/ssm-user\n")
    slow.chmod(0o755)
    agent = new_agent(plane, start=False, config={"Fairlead": {"SessionUser": "", "PamService": "none"}})
    argv = agent.argv
    agent.argv = lambda *args: ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                                f"mount --bind {etc} /etc && mount --bind {home} /home && "
                                f"mount --bind {slow} /usr/sbin/useradd && exec \"$@\"", "sh",
                                *argv(*args)]
    agent.start()
    plane.wait_online(60)
    both = []
    for others in range(2):  # the second finds the user, and no home yet
        flsandbox.wait_for("ssm-user", lambda: not others or "ssm-user:" in (etc / "passwd").read_text())
        s, answer = plane.start_session(commands("InteractiveCommands", "id -Gn; cd; pwd; echo $SHELL; read x"))
        both.append((plane.client(answer).start(), s))
    for client, s in both:
        client.wait_output(b"ssm-user operators\r\n/home/ssm-user\r\n/bin/bash\r\n", 60)
        client.send(b"\r")
        over(plane, client, s)
    assert (etc / "passwd").read_text().count("\nssm-user:") == 1
    assert agent.log.read_text().count("user made") == 1
    sudoers = etc / "sudoers.d/ssm-agent-users"
    assert sudoers.stat().st_mode & 0o7777 == 0o440 and "NOPASSWD:ALL" in sudoers.read_text()
    assert "ssm-user" not in pathlib.Path("/etc/passwd").read_text()


takes_pam = pytest.mark.skipif(not ROOT or not pathlib.Path("/lib/x86_64-linux-gnu/libpam.so.0").exists(),
                               reason="PAM takes root and libpam")


@takes_pam
@pytest.mark.long  # PAM has a minute
def test_a_module_of_pam_that_hangs(plane, new_agent, tmp_path):
    """Nor does what it started stay behind."""
    etc, pid, script = tmp_path / "pam.d", tmp_path / "pid", tmp_path / "script"
    etc.mkdir()
    script.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec sleep 150\n")
    script.chmod(0o755)
    (etc / "fairlead").write_text("auth required pam_permit.so\naccount required pam_permit.so\n"
                                  f"session required pam_exec.so {script}\n")
    agent = new_agent(plane, start=False, config={"Fairlead": {"SessionUser": USER, "PamService": ""}})
    argv = agent.argv
    agent.argv = lambda *args: ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                                f"mount --bind {etc} /etc/pam.d && exec \"$@\"", "sh", *argv(*args)]
    plane.pings.clear()
    agent.start()
    plane.wait_online(60)
    s, answer = plane.start_session(commands("InteractiveCommands", "echo never"))
    client = plane.client(answer).start()
    assert plane.wait_status(s, 120) == "Failed" and "PAM did not answer" in s.completes[0]["Output"]
    client.leave()
    assert not pathlib.Path(f"/proc/{pid.read_text().strip()}/exe").exists()
    agent.stop()


@takes_pam
def test_pam(plane, new_agent, tmp_path):
    """Its environment and limits are the session's (not the agent's, which goes on writing its files), and it stands in
    wtmp; a module that refuses ends it."""
    wtmp = tmp_path / "wtmp"
    wtmp.touch()
    etc = tmp_path / "pam.d"
    subprocess.run(["cp", "-a", "/etc/pam.d", etc], check=True)
    (tmp_path / "env").write_text("FROM_PAM DEFAULT=yes\n")
    (tmp_path / "limits").write_text("".join(f"{who} hard nofile 321\n{who} soft fsize 0\n" for who in ("*", "root")))
    (etc / "fairlead").write_text("account required pam_permit.so\nsession required pam_limits.so "
                                  f"conf={tmp_path}/limits\nsession required pam_env.so conffile={tmp_path}/env\n"
                                  "session required pam_permit.so\n")
    (etc / "refuses").write_text("account required pam_deny.so\nsession required pam_permit.so\n")
    for service, check in (("", "yes"), ("refuses", None)):
        agent = new_agent(plane, start=False, config={"Fairlead": {"SessionUser": USER, "PamService": service}})
        argv = agent.argv
        agent.argv = lambda *args, argv=argv: [
            "unshare", "--mount", "--propagation", "private", "sh", "-c",
            f"mount --bind {etc} /etc/pam.d && {{ [ ! -e /var/log/wtmp ] || mount --bind {wtmp} /var/log/wtmp; }} && "
            "exec \"$@\"", "sh", *argv(*args)]
        plane.pings.clear()
        agent.start()
        plane.wait_online(60)
        s, answer = plane.start_session(commands("InteractiveCommands", "echo $FROM_PAM $(ulimit -Hn)"))
        client = plane.client(answer).start()
        if check:
            client.wait_output(b"yes 321\r\n")
            over(plane, client, s)
            if pathlib.Path("/var/log/wtmp").exists():
                entries = subprocess.run(["utmpdump", wtmp], capture_output=True, text=True, check=True).stdout.split("\n")
                assert entries[0].startswith("[7]") and f"[{USER}" in entries[0] and s.session_id in entries[0]
                assert entries[1].startswith("[8]")
        else:
            assert plane.wait_status(s) == "Failed"
            assert "PAM refuses the session (account)" in s.completes[0]["Output"]
            client.leave()
        agent.stop()
