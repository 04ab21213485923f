"""1 GB through a session whose reader is slow: every byte arrives, and nobody keeps more than his share of them."""
import hashlib
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import threading
import time

import flproc
import flsandbox

NAME = "slow-reader"
ABOUT = "1 GB to a client that reads in bursts, and to a node that does, with long pauses"
BYTES = 1_000_000_000
BURST = 8 << 20
BURST_S = 0.08   # 100 MB/s at most
PAUSES = 3       # in which nothing is read
PAUSE_S = 8      # at full scale; longer than pongs may take
# What one session may take on top of what its process has without: windows, queues and what TLS and sockets hold,
# none of which depends on how much passes. Of the plane's, 16 MB are page caches of two connections to its store
# (CACHE_KIB), which indexing the transcript fills.
MOST_KB = {"fairlead-server": 40 << 10, "fairlead": 40 << 10, "fairlead-sess": 24 << 10, "fairlead-holder": 8 << 10}


def status_kb(pid, key):
    try:
        return int(re.search(rf"^{key}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])
    except (OSError, TypeError):
        return 0


class Peaks:
    """The most memory that the processes of one transfer had at a time."""

    def __init__(self, box, client):
        self.box, self.client = box, client
        self.plane_kb = status_kb(box.plane.pid, "VmRSS")
        pathlib.Path(f"/proc/{box.plane.pid}/clear_refs").write_text("5")  # its VmHWM begins anew
        self.kb = {}

    def note(self):
        pids = {"fairlead-server": [self.box.plane.pid], "fairlead": [self.client.pid],
                **{name: self.box.agents[0].below(name) for name in ("fairlead-sess", "fairlead-holder")}}
        for name, found in pids.items():
            most = max((status_kb(p, "VmHWM") for p in found), default=0)
            self.kb[name] = max(self.kb.get(name, 0), most - (self.plane_kb if name == "fairlead-server" else 0))

    def judge(self, run, way):
        for name, most in MOST_KB.items():
            run.figure(f"{way}: {name}", self.kb.get(name, 0), "kB")
            run.check(f"{way}: {name} keeps little", 0 <= self.kb.get(name, -1) <= most, f"{self.kb.get(name)} kB")


def in_bursts(read, n, pause_s, each_burst):
    """Digest of `n` bytes, read at most BURST every BURST_S, with PAUSES in between."""
    digest, left, stops = hashlib.sha256(), n, {n * i // (PAUSES + 1) for i in range(1, PAUSES + 1)}
    while left:
        until = time.monotonic() + BURST_S
        burst = min(BURST, left, *(left - s for s in stops if s < left))
        while burst:
            data = read(min(burst, 1 << 20))
            if not data:
                return None
            digest.update(data)
            burst -= len(data)
            left -= len(data)
        each_burst()
        time.sleep(max(0, until - time.monotonic()) if left not in stops else pause_s)
        each_burst()
    return digest.hexdigest()


class Place:
    def __init__(self, run, box):
        self.run, self.box, self.node = run, box, box.agents[0].node_id
        self.n, self.pause_s = run.count(BYTES, least=1 << 20), max(1, PAUSE_S * run.scale)
        self.file = run.place / "file"
        rnd, digest, left = random.Random(5), hashlib.sha256(), self.n
        with open(self.file, "wb") as f:
            while left:
                piece = rnd.randbytes(min(left, 1 << 20))
                digest.update(piece)
                f.write(piece)
                left -= len(piece)
        self.digest = digest.hexdigest()

    def client(self, *args, **kw):
        return subprocess.Popen([self.box.build / "fairlead", *map(str, args)], env=self.box.env(), bufsize=0, **kw)


def command(place):
    """`fairlead exec NODE -- cat FILE` into a pipe that is read slowly."""
    child = place.client("exec", "-n", place.node, "--", "cat", place.file, stdout=subprocess.PIPE)
    peaks = Peaks(place.box, child)
    got = in_bursts(child.stdout.read, place.n, place.pause_s, peaks.note)
    return got, child.wait(60) == 0 and child.stdout.read() == b"", peaks


def tunnel(place):
    """`fairlead forward` to a server that sends all it has, at a client that reads slowly."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server.accept()[0] as sock, open(place.file, "rb") as f:
            sock.sendfile(f)

    threading.Thread(target=serve, daemon=True).start()
    child = place.client("--json", "forward", place.node, f"0:{server.getsockname()[1]}", stdout=subprocess.PIPE)
    peaks = Peaks(place.box, child)
    with socket.create_connection(("127.0.0.1", json.loads(child.stdout.readline())["LocalPort"]), 30) as sock:
        sock.settimeout(120)
        got = in_bursts(sock.recv, place.n, place.pause_s, peaks.note)
        end = sock.recv(1)
    child.terminate()
    server.close()
    return got, child.wait(60) == 143 and end == b"", peaks


def upload(place):
    """The other direction: a command on the node that reads slowly what the client has at once."""
    fifo = place.run.place / "fifo"
    os.mkfifo(fifo)
    with open(place.file, "rb") as data:
        child = place.client("exec", place.node, "--", "sh", "-c", f"cat >{fifo}", stdin=data)
    peaks = Peaks(place.box, child)
    with open(fifo, "rb", buffering=0) as pipe:
        got = in_bursts(pipe.read, place.n, place.pause_s, peaks.note)
    return got, child.wait(60) == 0, peaks


def run(run):
    with flsandbox.Sandbox(nodes=1, build=run.build, folder=run.place) as box:
        place = Place(run, box)
        for way in (command, tunnel, upload):
            got, ended, peaks = way(place)
            run.check(f"{way.__name__}: every byte arrives", got == place.digest, got)
            run.check(f"{way.__name__}: it ends well", ended)
            peaks.judge(run, way.__name__)
