"""Sessions whose data channels lose, double, delay and hold back frames (lossy.py): every byte arrives, in order, once."""
import concurrent.futures
import random
import re
import socket
import subprocess
import threading

import pytest

import flsandbox
import lossy
import tcpecho
from lossy import Faults
from test_sessions import Place

pytestmark = pytest.mark.once

ROWS = {  # faults at the agent's side, at the client's
    "good": (Faults(), Faults()),
    "1 % lost": (Faults(lose=0.01), Faults(lose=0.01)),
    "30 % lost": (Faults(lose=0.3), Faults(lose=0.3)),
    "twice": (Faults(twice=0.3), Faults(twice=0.3)),
    "late": (Faults(late=0.3), Faults(late=0.3)),
    "stalls": (Faults(stall=0.01), Faults(stall=0.01)),
    "all": (Faults(0.05, 0.05, 0.1, 0.05, 0.002, 0.3, 0.0005),) * 2,
}
BYTES = 100_000


@pytest.fixture
def lossy_box(new_box):
    made = []

    def make(nodes, seed=1):
        made.append(new_box(nodes=nodes, host=lossy.HOST, before=lambda b: lossy.put_before(b, seed)))
        return made[-1]

    yield make
    for b in made:
        print(dict(b.lossy.counts))
        b.lossy.close()


class Forward:
    """`fairlead forward` until the end of the block."""

    def __init__(self, box, node, port):
        self.argv = [box.build / "fairlead", "forward", node, f"0:{port}"]
        self.env = box.env()

    def __enter__(self):
        self.child = subprocess.Popen(self.argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
            line = self.child.stdout.readline()
            assert line, said
            said += line
        threading.Thread(target=self.child.stdout.read, daemon=True).start()
        return "127.0.0.1", int(found[1])

    def __exit__(self, *exc):
        self.child.terminate()
        self.child.wait(30)


def three_at_once(address, seed):
    datas = [random.Random(seed + i).randbytes(BYTES) for i in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for sent, got in zip(datas, pool.map(lambda d: tcpecho.through(address, d), datas)):
            assert got == sent


def check_faults(relay, rows):
    """What was to happen did; chances below one in ten may have missed the few long messages of our own ends."""
    for side, faults in zip(("agent", "client"), rows):
        assert relay.counts[side, "passed"] > 30
        for what in ("lose", "twice", "late"):
            assert relay.counts[side, what] or getattr(faults, what) < 0.1, (side, what)


@pytest.mark.parametrize("row", ["1 % lost", "twice", "late", "stalls"])
def test_our_client_and_a_reference_node(lossy_box, echo, row):
    """An official agent sends its oldest message again, one a time, so that losses take long."""
    b = lossy_box(nodes=0)
    place = Place(b.plane)
    try:
        with Forward(b, place.target, echo) as address:
            b.lossy.faults = dict(zip(("agent", "client"), ROWS[row]))
            three_at_once(address, 1)
        check_faults(b.lossy, ROWS[row])
    finally:
        place.close()


def run(b, *args, stdin=b"", timeout=120):
    return subprocess.run([b.build / "fairlead", *args], env=b.env(), input=stdin, capture_output=True, timeout=timeout)


# with nearly every third frame lost each byte takes long, and shows nothing that the other rows do not
@pytest.mark.parametrize("row", [pytest.param(r, marks=pytest.mark.long) if r == "30 % lost" else r for r in ROWS])
def test_our_agent_and_client(lossy_box, echo, row):
    b = lossy_box(nodes=1)
    node = b.agents[0].node_id
    data = random.Random(7).randbytes(5 * BYTES)
    b.lossy.faults = dict(zip(("agent", "client"), ROWS[row]))
    done = run(b, "exec", node, "--", "sh", "-c", "cat; echo end >&2; exit 3", stdin=data)
    assert (done.returncode, done.stderr) == (3, b"end\n")
    assert done.stdout == data
    with Forward(b, node, echo) as address:
        three_at_once(address, 1)
    check_faults(b.lossy, ROWS[row])


@pytest.mark.parametrize("sides", [("agent",), ("client",), ("agent", "client")], ids=" and ".join)
def test_connections_that_are_cut(lossy_box, sides):
    """A command writes and reads all the time while its connections go, one after the other."""
    b = lossy_box(nodes=1)
    lines = b"".join(b"%d\n" % i for i in range(30_000))
    script = "i=0; while read line; do echo $line; i=$((i + 1)); [ $((i % 3000)) != 0 ] || sleep 0.3; done"
    stop, cuts = threading.Event(), []

    def cut():
        flsandbox.wait_for("both ends", lambda: {c.side for c in list(b.lossy.channels)} == {"agent", "client"}, 60)
        while not stop.wait(0.7):
            for side in sides:
                b.lossy.cut(side)
                cuts.append(side)

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    done = run(b, "exec", b.agents[0].node_id, "--", "sh", "-c", script, stdin=lines)
    stop.set()
    thread.join(30)
    assert done.returncode == 0, done.stderr
    assert done.stdout == lines
    assert set(cuts) == set(sides)


def test_one_direction_of_a_connection_ends_alone(lossy_box):
    """What smux cannot say, our own ends tell each other: a server that answers when it has heard all, and a client that
    still speaks to one that says nothing more."""
    b = lossy_box(nodes=1)
    server, heard = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        for last_word in (True, False):
            sock, _ = server.accept()
            with sock:
                sock.settimeout(60)
                if not last_word:
                    sock.sendall(b"hello")
                    sock.shutdown(socket.SHUT_WR)
                heard.append(b"".join(iter(lambda: sock.recv(65536), b"")))
                if last_word:
                    sock.sendall(b"%d bytes" % len(heard[-1]))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with Forward(b, b.agents[0].node_id, server.getsockname()[1]) as address:
        with socket.create_connection(address, 10) as sock:
            sock.settimeout(60)
            sock.sendall(b"x" * BYTES)
            sock.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: sock.recv(65536), b"")) == b"%d bytes" % BYTES
        with socket.create_connection(address, 10) as sock:
            sock.settimeout(60)
            assert b"".join(iter(lambda: sock.recv(65536), b"")) == b"hello"
            sock.sendall(b"y" * BYTES)
        thread.join(60)
    assert heard == [b"x" * BYTES, b"y" * BYTES]
