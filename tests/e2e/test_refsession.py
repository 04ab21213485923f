"""The two reference peers of sessions against each other, over a relay that only passes on, and the test
vectors of protocol 3 §13. A fault here is a fault of the peers, not of fairlead."""
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading

import pytest

import refsession
import refsessionnode
import sessionrelay
import sessionwire as sw
import tcpecho
import wire

pytestmark = pytest.mark.once

A = "11223344-5566-4788-99aa-bbccddeeff00"
B = "0f0e0d0c-0b0a-4908-8706-050403020100"
C = "a0a1a2a3-a4a5-46a7-88a9-aaabacadaeaf"
SHELL = {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {}}
FAST = refsessionnode.Quirks(start_s=0.01)
HERE = pathlib.Path(__file__).resolve().parent


def hexed(text):
    return bytes.fromhex("".join(text.split()))


VECTORS = {
    "size": (wire.encode_message("input_stream_data", sw.size_payload(80, 24), A, 1700000000000, 1, 0, 3), """
        00000074 696e7075745f73747265616d5f64617461202020202020202020202020202020
        00000001 0000018bcfe56800 0000000000000001 0000000000000000
        99aabbccddeeff001122334455664788
        d53ca1ea7dce87c11432052a8550ed2615cf715ca843c89710ed83325b691cba
        00000003 00000015 7b22636f6c73223a38302c22726f7773223a32347d"""),
    "output": (wire.encode_message("output_stream_data", b"$ ", B, 1700000000250, 2, 0, 1), """
        00000074 6f75747075745f73747265616d5f646174612020202020202020202020202020
        00000001 0000018bcfe568fa 0000000000000002 0000000000000000
        87060504030201000f0e0d0c0b0a4908
        e5b111ba26d5bb1cc89d8a3d74fad4cf1ebd5701c29877969c322b456d0784a3
        00000001 00000002 2420"""),
    "acknowledge": (wire.encode_message("acknowledge", sw.ack_payload("output_stream_data", B, 2), C,
                                        1700000000260, 0, 3, 0)[:120], """
        00000074 61636b6e6f776c65646765202020202020202020202020202020202020202020
        00000001 0000018bcfe56904 0000000000000000 0000000000000003
        88a9aaabacadaeafa0a1a2a3a4a546a7
        215cf696eaca787511105a60bf836d7a373f4e954dc861ba4bb0ee9a495d122e
        00000000 000000b0"""),
    "handshake": (wire.encode_message("output_stream_data", sw.compact(
        {"AgentVersion": "3.3.0.0", "RequestedClientActions": [{"ActionType": "SessionType", "ActionParameters": {
            "SessionType": "Standard_Stream", "Properties": None}}]}), A, 1700000000000, 0, 1, 5)[:120], """
        00000074 6f75747075745f73747265616d5f646174612020202020202020202020202020
        00000001 0000018bcfe56800 0000000000000000 0000000000000001
        99aabbccddeeff001122334455664788
        a60f86afa6f2990a926275080a4e1940f314180c47d97383762a41c396aa3554
        00000005 00000099"""),
    "flag": (wire.encode_message("input_stream_data", struct.pack(">I", sw.TERMINATE_SESSION), ptype=10)[80:],
             "433ebf5bc03dffa38536673207a21281612cef5faa9bc7a4d5b9be2fdb12cf1a 0000000a 00000004 00000002"),
    "smux": (sw.smux_frame(sw.SMUX_SYN, 3) + sw.smux_frame(sw.SMUX_PSH, 3, b"GET") +
             sw.smux_frame(sw.SMUX_FIN, 3), "0100000003000000 0102030003000000 474554 0101000003000000"),
    "seal-agent": (sw.Seal(bytes(range(64)), True).seal(b"hello\n", bytes(range(0xa0, 0xac))),
                   "a0a1a2a3a4a5a6a7a8a9aaab 8e7d10412ac1 2b0fbf10c5dd16b9f1b1a3f707e5e0d7"),
    "seal-client": (sw.Seal(bytes(range(64)), False).seal(b"ls\r", bytes(range(0xa0, 0xac))),
                    "a0a1a2a3a4a5a6a7a8a9aaab 124fa9 c3be5ea267c186006575655e2404c2cb"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    made, text = VECTORS[name]
    assert made.hex() == hexed(text).hex()


@pytest.fixture
def relay():
    r = sessionrelay.Relay()
    yield r
    r.close()


@pytest.fixture
def pair(relay):
    """A function that starts a session: pair(document) -> (client, agent session). At the end neither may
    have seen a breach of the protocol."""
    made = []

    def start(document=SHELL, parameters=None, quirks=FAST, client_quirks=refsession.Quirks(),
              agent_version="3.3.0.0", **client):
        response, agent = relay.start_session(document, parameters, quirks=quirks, version=agent_version)
        api = refsession.Api(relay.endpoint, "local", "AKIDEXAMPLE", "secret")
        c = refsession.Client(response, agent.instance_id, api, quirks=client_quirks, **client)
        made.append((c, agent))
        return c.start(), agent

    yield start
    for c, agent in made:
        c.leave()
        agent.stopped.set()
        agent.handler.kill()
        assert c.violations == [] and agent.violations == []


def port_document(**properties):
    return {"schemaVersion": "1.0", "sessionType": "Port", "properties": properties}


def test_shell(pair, relay):
    client, agent = pair()
    client.wait_ready()
    client.send(b"stty size; echo a$((1+1))b\n")
    client.wait_output(b"100 300\r\na2b\r\n")
    client.resize(81, 25)
    client.send(b"stty size\r")
    client.wait_output(b"25 81\r\n")
    client.send(b"exit\r")
    assert agent.wait_end() == "Success"
    assert client.wait_end() == "closed"
    kinds = [(s, m.type, m.ptype, m.flags) for s, m in relay.trace]
    assert kinds[0] == ("agent", "agent_session_state", 0, 3)
    assert kinds[1] == ("agent", "output_stream_data", sw.OUTPUT, 1)
    assert kinds[-1][:2] == ("agent", "agent_session_state")
    assert {k[3] for k in kinds if k[1] == "input_stream_data"} == {0}


def test_interactive_commands_and_parameters(pair):
    document = {"schemaVersion": "1.0", "sessionType": "InteractiveCommands",
                "parameters": {"command": {"type": "String"}},
                "properties": {"linux": {"commands": "{{ command }}", "runAsElevated": False}}}
    client, agent = pair(document, {"command": "tty >/dev/null && echo yes"})
    client.wait_output(b"yes\r\n")
    assert client.wait_end() == "closed" and agent.status == "Success"


@pytest.mark.parametrize("separate", [True, False])
def test_commands_without_a_terminal(pair, separate):
    linux = {"commands": "sh -c 'echo out; echo err >&2; exit 3'", "runAsElevated": False}
    if separate:
        linux.update(separateOutputStream="true", stdOutSeparatorPrefix="O:", stdErrSeparatorPrefix="E:")
    client, agent = pair({"schemaVersion": "1.0", "sessionType": "NonInteractiveCommands",
                          "properties": {"linux": linux}})
    assert client.wait_end() == "closed" and agent.status == "Success"
    if separate:
        assert sorted(client.messages) == [(sw.OUTPUT, b"O:out\n"), (sw.STDERR, b"E:err\n"),
                                           (sw.EXIT_CODE, b"EXIT_CODE: 3")]
    else:
        assert bytes(client.output) == b"out\nerr\n"


def test_mux(pair, echo):
    client, agent = pair(port_document(portNumber=str(echo), localPortNumber="0", type="LocalPortForwarding"))
    client.wait_ready()
    assert client.port.kind == "mux" and not client.deaf
    datas = [os.urandom(30000 + i) for i in range(4)]
    got = [None] * 4

    def one(i):
        got[i] = tcpecho.through(client.port.address, datas[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == datas
    client.interrupt()
    assert agent.wait_end() == "Success"


def test_mux_port_that_nobody_serves(pair):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client, agent = pair(port_document(portNumber=str(free.getsockname()[1]), type="LocalPortForwarding"))
        client.wait_ready()
        with socket.create_connection(client.port.address, 30) as sock:
            assert sock.recv(1) == b""
    assert (sw.FLAG, struct.pack(">I", sw.CONNECT_TO_PORT_ERROR)) in client.messages
    assert agent.status is None  # goes on


def test_basic_port(pair, echo):
    client, agent = pair(port_document(portNumber=str(echo), type="LocalPortForwarding"), version="1.1.61.0",
                         agent_version="3.0.100.0")
    client.wait_ready()
    assert client.port.kind == "basic"
    for data in (b"one", b"two"):
        assert tcpecho.through(client.port.address, data) == data
    assert agent.status is None


def test_ssh_type(pair, echo):
    client, agent = pair(port_document(portNumber=str(echo)))
    client.wait_ready()
    assert client.port.kind == "ssh"
    client.send(b"SSH-2.0-x\r\n")
    client.wait_output(b"SSH-2.0-x\r\n")


def test_remote_host_that_is_denied(pair):
    client, agent = pair(port_document(portNumber="80", host="169.254.169.254", type="LocalPortForwarding"))
    assert agent.wait_end() == "Failed"
    client.wait_end()
    assert "forbidden" in client.closed["Output"]


def test_encrypted(pair, relay):
    document = dict(SHELL, inputs={"kmsKeyId": "alias/sessions"})
    client, agent = pair(document)
    client.wait_ready()
    client.send(b"echo s3cr$((1))t\r")
    client.wait_output(b"s3cr1t")
    assert "encrypted" in client.customer_message
    assert not any(b"s3cr1t" in m.payload for _, m in relay.trace)


@pytest.mark.parametrize("who", ["client", "agent"])
def test_a_lost_socket(pair, who):
    client, agent = pair()
    client.wait_ready()
    client.send(b"for i in 1 2 3 4 5 6; do echo line$i; sleep 0.2; done; echo al''l\r")
    client.wait_output(b"line2")
    (client if who == "client" else agent).drop()
    client.wait_output(b"all\r\n", 60)
    assert [b"line%d" % i in client.output for i in range(1, 7)] == [True] * 6
    assert client.output.count(b"line6\r\n") == 1
    assert (client.resumes, agent.reconnects) == ((1, 0) if who == "client" else (0, 1))


def test_losses_and_repeats(pair, relay):
    """Every third message is lost once, every fifth comes twice: all bytes arrive once, in order."""
    seen = set()

    def steer(side, message, frame):
        if message.type == "acknowledge" or message.id in seen or message.ptype != sw.OUTPUT:
            return [frame]
        seen.add(message.id)
        return [] if message.seq % 3 == 2 else [frame, frame] if message.seq % 5 == 1 else [frame]

    relay.steer = steer
    client, agent = pair()
    client.wait_ready()
    for i in range(5):
        client.send(b"echo n%d\r" % i)
    for i in range(5):
        client.wait_output(b"n%d\r\n" % i, 60)
    client.send(b"cat\r")
    client.wait(lambda: not client.stream.out, what="acks")
    assert client.stream.count["resent"] > 0 and agent.stream.count["duplicates"] > 0
    assert bytes(client.output).count(b"n3\r\n") == 2  # echo and answer


def test_race_a(pair):
    """An ack that comes before the message is kept: it is resent for good, for the plugin never acks it again."""
    client, agent = pair(quirks=refsessionnode.Quirks(start_s=0.01, late_insert_s=0.05))
    client.wait_output(b"$ " if os.getuid() else b"# ")
    client.wait(lambda: client.stream.count["duplicates"] >= 2, what="repeats of what was acknowledged")
    assert len(agent.stream.out) >= 1


def test_race_b(pair):
    """HandshakeComplete overtakes the ack of the response: the plugin goes deaf in mux mode."""
    client, agent = pair(port_document(portNumber="1", type="LocalPortForwarding"),
                         quirks=refsessionnode.Quirks(start_s=0.01, complete_first=True))
    client.wait(lambda: client.deaf, what="deafness")
    agent.wait(lambda: agent.stream.count["duplicates"] >= 2, what="HandshakeResponse again and again")


def test_pause_reorders(pair, relay):
    """The message in flight is kept back: the next one overtakes it after the pause."""
    client, agent = pair()
    client.wait_ready()
    client.wait(lambda: agent.stream.settled(0), what="all acknowledged")
    agent.stream.paused.set()
    agent.say(b"first ")
    agent.stream.paused.clear()
    agent.say(b"second")
    client.wait_output(b"first second")
    assert client.stream.count["early"] >= 1


def test_terminated_from_above(pair, relay):
    client, agent = pair()
    client.wait_ready()
    relay.close_channel(client.session_id, output="idle for too long")
    assert client.wait_end() == "closed" and client.closed["Output"] == "idle for too long"
    assert agent.wait_end() == "Success"
    states = [json.loads(m.payload)["SessionState"] for s, m in relay.trace if m.type == "agent_session_state"]
    assert states == ["Connected"]


def test_resume_of_what_is_over(pair, relay):
    client, agent = pair()
    client.wait_ready()
    relay.done_with[client.session_id] = "Success", ""
    client.drop()
    assert client.wait_end() == "timed out"


def test_list_parameter_of_a_port(pair):
    document = dict(port_document(portNumber="{{ portNumber }}"), parameters={"portNumber": {"type": "String"}})
    client, agent = pair(document, {"portNumber": ["80"]})
    assert agent.wait_end() == "Failed"


def test_program(relay):
    """As the AWS CLI starts it: the session's JSON in an environment variable, the end of input at once."""
    response, agent = relay.start_session(SHELL, quirks=FAST)
    env = dict(os.environ, AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="secret",
               AWS_SSM_START_SESSION_RESPONSE=json.dumps(response))
    with subprocess.Popen([sys.executable, str(HERE / "refsession.py"), "AWS_SSM_START_SESSION_RESPONSE", "local",
                           "StartSession", "", json.dumps({"Target": agent.instance_id}), relay.endpoint],
                          env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as plugin:
        plugin.stdin.write(b"echo h$((1))i; exit\n")
        plugin.stdin.flush()
        out = plugin.stdout.read().decode()
        assert plugin.wait() == 0
    assert out.startswith(f"\nStarting session with SessionId: {response['SessionId']}\n")
    assert "h1i\r\n" in out and out.endswith(f"\n\nExiting session with sessionId: {response['SessionId']}.\n\n")


@pytest.mark.parametrize("argv, out", [([], "installed successfully"), (["--version"], refsession.VERSION)])
def test_program_says(tmp_path, argv, out):
    program = refsession.install(tmp_path / "bin") / "session-manager-plugin"
    done = subprocess.run([program, *argv], capture_output=True, text=True, check=True)
    assert out in done.stdout


def test_the_writer_does_not_wait_for_itself():
    """What is due to be sent again while the queue is full, when only the writer can make room."""
    class Slow:
        def __init__(self):
            self.go, self.sent = threading.Event(), []

        def send_binary(self, frame):
            assert self.go.wait(30)
            self.sent.append(frame)

    def tick():
        if again.is_set() or not slow.sent:
            return
        again.set()
        link.transmit(b"again")
        done.set()

    slow, again, done = Slow(), threading.Event(), threading.Event()
    link = sw.Link(tick, ping_s=60, tick_s=0)
    try:
        link.use(slow)
        for _ in range(2 * link.QUEUE):
            link.frames.put(b"data")
        slow.go.set()
        assert done.wait(10)
    finally:
        link.end()
