"""The agent under fire, against the reference plane: killed at every record, cut off, on a full disk, without
descriptors, with a clock that jumps. Whatever happens: a document goes on or is reported, once, and no step
runs twice. `make check-faults` goes through all of it, `make check` through a part that takes seconds."""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import flproc
import flsandbox
import refplane

sys.path.append(str(flsandbox.ROOT / "tests/soak"))
import fastclock  # noqa: E402

LONG = bool(os.environ.get("FAULTS_FULL"))
long = pytest.mark.long
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
# A traced process cannot be looked through for leaks at its end.
TRACED = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}


# ---- what must hold ------------------------------------------------------------------------------

class Marked:
    """A document of steps that each leave a line in a file of their own when they run."""

    def __init__(self, agent, plane, steps=3, pause_s=0.0):
        self.folder = agent.folder / f"marks-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.names = [f"step{i + 1}" for i in range(steps)]
        self.job = plane.send_job(refplane.steps_document(*[
            f"echo begin; echo run >> {self.folder}/{n}; sleep {pause_s}; echo end" for n in self.names]))

    def runs(self, name):
        path = self.folder / name
        return path.read_text().count("run\n") if path.exists() else 0

    def check(self):
        """Reported once, nothing ran twice, and what is said to have succeeded did."""
        finals = [i for _, i, _ in self.job.replies if i["documentStatus"] not in ("InProgress", "SuccessAndReboot")]
        assert len(finals) == 1, self.job.replies
        assert finals[0]["documentStatus"] in ("Success", "Failed")
        steps = self.job.steps()
        if finals[0]["runtimeStatus"] is not None:
            assert set(steps) == set(self.names), steps
        for name in self.names:
            assert self.runs(name) <= 1, f"{name} ran {self.runs(name)} times"
            step = steps.get(name)
            if not step:
                continue
            assert "begin\nend\n".startswith(step["standardOutput"]), step
            if step["status"] == "Success":
                assert step["standardOutput"] == "begin\nend\n" and self.runs(name) == 1, step
            else:
                assert "was interrupted" in step["standardError"], step
        if finals[0]["documentStatus"] == "Success":
            assert all(s["status"] == "Success" for s in steps.values())


def role(agent, name):
    """Pids of one of the agent's roles: monitor, net or worker."""
    if name == "monitor":
        return [agent.pid] if agent.running() else []
    word = {"net": "fairlead-agent-net", "worker": "worker"}[name]
    return [p for p in agent.below() if any(a.endswith(word) for a in flproc.cmdline(p)[:2])]


def revive(agent, plane):
    """systemd's part: a monitor that ended is started again. Then the agent is online."""
    if not agent.running():
        agent.child.wait()
        agent.start()
    plane.wait(lambda: plane.channel is not None, 40, "the agent to come back")


def settle(agent, plane, marked):
    end = time.monotonic() + 60
    while not marked.job.final() and time.monotonic() < end:
        revive(agent, plane)
        try:
            plane.settle(marked.job, 5)
        except AssertionError:
            if plane.violations:
                raise
    marked.check()


# ---- killed --------------------------------------------------------------------------------------

class Tracer:
    """strace on the processes that pids() names, and (follow) on all they start, with an `inject=` expression."""

    def __init__(self, pids, inject, folder, follow=True):
        self.log = folder / "strace.log"
        flsandbox.wait_for("strace to attach", lambda: self.attach(pids(), inject, follow), 30)
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def attach(self, pids, inject, follow):
        """False if one of them has just gone."""
        self.child = subprocess.Popen(
            ["strace", *(["-f"] if follow else []), "-o", str(self.log),
             "-e", f"trace={inject.split(':')[0]}", "-e", f"inject={inject}",
             *[a for p in pids for a in ("-p", str(p))]],
            stderr=subprocess.PIPE, text=True, start_new_session=True)
        if pids and all("attached" in self.child.stderr.readline() for _ in pids):
            return True
        self.stop()
        return False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Lets go of those that live. True if one was killed."""
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:  # it waits for one that sleeps in the kernel
            self.child.kill()
            self.child.wait()
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "killed by SIGKILL" in text


def online(agent, plane):
    """As seen from both ends: whoever was killed is back."""
    def both():
        revive(agent, plane)
        code, status = agent.status()
        return code == 0 and status["online"] and plane.channel is not None
    flsandbox.wait_for("the agent to be online", both, 60, 0.1)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@as_root
@long
@pytest.mark.parametrize("call", ["pwrite64", "fsync", "fdatasync", "sendmsg", "recvmsg", "mkdirat", "rename", "flock",
                                  "openat", "close"])
def test_killed_at_every_call(ref_plane, new_agent, tmp_path, call):
    """Monitor, net and worker, each at its first, second, … such call, until a document passes. Journal records are
    written with pwrite64 and made durable with fsync and fdatasync; processes tell each other by sendmsg. Of the
    calls that are made all the time, every third."""
    agent = new_agent(ref_plane, env=TRACED)
    kills = untouched = 0
    for n in range(1, 60, 3 if call in ("openat", "close", "recvmsg") else 1):
        online(agent, ref_plane)
        tracer = Tracer(lambda: [agent.pid, *role(agent, "net")], f"{call}:signal=KILL:when={n}", tmp_path)
        marked = Marked(agent, ref_plane, steps=2)
        limit = time.monotonic() + 30
        while not marked.job.final() and time.monotonic() < limit and agent.running() and tracer.child.poll() is None:
            time.sleep(0.01)
        killed = tracer.stop()
        settle(agent, ref_plane, marked)
        kills += killed
        untouched = 0 if killed else untouched + 1
        if untouched == 2:
            break
    print(f"{call}: killed in {kills} documents of {n}")
    assert kills, "nobody was killed"


def test_killed_at_random_moments(ref_plane, new_agent):
    """One after the other of the three is killed while documents run."""
    seed = int(os.environ.get("FAULTS_SEED", time.time_ns() % 1000000))
    print(f"FAULTS_SEED={seed}")
    rnd = random.Random(seed)
    agent = new_agent(ref_plane)
    for i in range(100 if LONG else 3):
        online(agent, ref_plane)
        marked = Marked(agent, ref_plane, steps=3, pause_s=0.05)
        name = ("monitor", "worker", "net")[i % 3] if not LONG else rnd.choice(("monitor", "worker", "net"))
        time.sleep(rnd.uniform(0, 0.3))
        for p in role(agent, name):
            flproc.kill(p, signal.SIGKILL)
        if name == "monitor":
            agent.child.wait()
            if rnd.random() < 0.3:  # the worker goes on alone for a while
                time.sleep(rnd.uniform(0, 0.3))
        settle(agent, ref_plane, marked)


# ---- the network ---------------------------------------------------------------------------------

class Relay:
    """A TCP relay in front of a reference plane, which takes its port for its own."""

    def __init__(self, plane):
        self.changed = threading.Condition()
        self.target, self.mode, self.pause_s = plane.port, "pass", 0.0
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = plane.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, mode, pause_s=0.0):
        """pass; hold: nothing moves, nothing closes; trickle: a byte to the agent every pause_s; delay: what the plane
        says comes pause_s later."""
        with self.changed:
            self.mode, self.pause_s = mode, pause_s
            self.changed.notify_all()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                return
            far.settimeout(None)
            self.pairs.append((near, far))
            threading.Thread(target=self.pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, True), daemon=True).start()

    def pump(self, source, sink, to_agent):
        try:
            while True:
                data = source.recv(65536)
                with self.changed:
                    held = self.mode == "hold"
                    self.changed.wait_for(lambda: self.mode != "hold")
                if not data or held:  # a connection cut for so long is forgotten on the way
                    break
                if to_agent and self.mode == "delay":
                    time.sleep(self.pause_s)
                while data and to_agent and self.mode == "trickle":
                    sink.sendall(data[:1])
                    data = data[1:]
                    time.sleep(self.pause_s)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def lose_plane(self):
        """Half open: the plane's ends are gone, and the agent hears nothing of it."""
        self.set("hold")
        for _, far in self.pairs:
            try:
                far.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.set("pass")
        for pair in self.pairs:
            for s in pair:
                s.close()


@pytest.fixture
def relay(ref_plane):
    r = Relay(ref_plane)
    yield r
    r.close()


RATE = 15  # seconds of the agent's in one of ours
needs_faketime = pytest.mark.skipif(not fastclock.library(), reason="needs faketime")


@pytest.fixture
def fast(ref_plane, tmp_path):
    """A clock that agent and plane share."""
    clock = fastclock.FastClock(tmp_path)
    ref_plane.clock = lambda: clock.now() if clock.started else time.time()
    return clock


def fast_agent(new_agent, plane, clock, **kw):
    agent = new_agent(plane, start=False, env=clock.env(), **kw)
    clock.rate = RATE  # from the beginning: who sleeps already does not wake for a faster clock
    clock.write()
    clock.start()
    agent.start()
    plane.wait_online()
    agent.note()
    return agent


def went_offline(agent):
    return "offline" in agent.log.read_text()


def wait_fake(clock, what, test, fake_s):
    """Until test() holds, at most fake_s of the agent's seconds and three of ours."""
    flsandbox.wait_for(what, test, fake_s / clock.rate + 3)


# The agent's own limits (docs/user-guide.md, "When the plane cannot be reached").
NOTICE_S = 114       # a silent connection is given up, at the latest
BACKOFF_CAP_S = 300  # the longest pause between two tries
TRY_S = 40           # one try: call, connection, upgrade


@needs_faketime
@long
def test_network_cut_and_back(ref_plane, new_agent, relay, fast):
    """Ten minutes without a byte: noticed, waited out, and the document that ended meanwhile is reported."""
    agent = fast_agent(new_agent, ref_plane, fast)
    marked = Marked(agent, ref_plane, steps=2, pause_s=20)
    ref_plane.wait(lambda: marked.job.acks, 20, "the ack")
    opened = ref_plane.channels_opened
    relay.set("hold")
    wait_fake(fast, "the agent to notice", lambda: went_offline(agent), NOTICE_S + 10)
    time.sleep(600 / RATE)
    relay.set("pass")
    wait_fake(fast, "the agent to come back", lambda: ref_plane.channels_opened > opened, BACKOFF_CAP_S + TRY_S)
    ref_plane.finished(marked.job, 30)
    marked.check()
    assert marked.job.final()["documentStatus"] == "Success" and agent.running()


@needs_faketime
@long
def test_half_open_connection(ref_plane, new_agent, relay, fast):
    """The plane forgot the connection and the way back is silent: no FIN, no RST, no pong."""
    agent = fast_agent(new_agent, ref_plane, fast)
    opened = ref_plane.channels_opened
    relay.lose_plane()
    wait_fake(fast, "the agent to notice", lambda: went_offline(agent), NOTICE_S + 10)
    relay.set("pass")
    wait_fake(fast, "a new channel", lambda: ref_plane.channels_opened > opened, 60 + TRY_S)
    fast.run(1)
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def resources(agent):
    """Descriptors and kB of the monitor and of net."""
    pids = [agent.pid, *role(agent, "net")]
    return (sum(len(os.listdir(f"/proc/{p}/fd")) for p in pids), flproc.memory_kb(pids)["Rss"])


@needs_faketime
@long
@pytest.mark.parametrize("mode,pause_s", [("trickle", 1), ("trickle", 5), ("delay", 12)])
def test_slow_plane(ref_plane, new_agent, relay, fast, mode, pause_s):
    """A byte a second, in the handshake, the answer and the channel; or answers that take their time: every try ends
    by its deadline, nothing piles up, and once the plane is itself again the node is online."""
    agent = fast_agent(new_agent, ref_plane, fast)
    opened = ref_plane.channels_opened
    relay.set(mode, pause_s / RATE)
    ref_plane.channel.abort()
    wait_fake(fast, "the agent to notice", lambda: went_offline(agent), NOTICE_S + 10)
    time.sleep(90 / RATE)
    fds, rss = resources(agent)
    time.sleep(600 / RATE)
    assert resources(agent)[0] <= fds + 2 and resources(agent)[1] <= rss * 1.05
    relay.set("pass")
    wait_fake(fast, "a new channel", lambda: ref_plane.channels_opened > opened, BACKOFF_CAP_S + TRY_S)
    fast.run(1)
    assert agent.running() and len(role(agent, "net")) == 1
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


@as_root
@needs_faketime
@long
def test_names_gone_and_back(tmp_path, new_agent):
    """The plane's name resolves no more, then again; the agent sees a hosts file and a resolver of its own."""
    place = tmp_path / "refplane"
    place.mkdir()
    place.chmod(0o755)
    plane = refplane.RefPlane(place, names=("plane.test", "127.0.0.1"))
    hosts, resolv = tmp_path / "hosts", tmp_path / "resolv.conf"
    line = "127.0.0.1 localhost plane.test\n"
    hosts.write_text(line)
    resolv.write_text("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
    clock = fastclock.FastClock(tmp_path)
    plane.clock = lambda: clock.now() if clock.started else time.time()
    agent = new_agent(plane, start=False, register=False, env=clock.env())
    plain = agent.argv
    script = ('mount --make-rprivate / && mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && '
              'shift 2 && exec "$@"')
    agent.argv = lambda *args: ["unshare", "-m", "sh", "-c", script, "sh", hosts, resolv, *plain(*args)]
    agent.register(plane.activation)
    clock.rate = RATE
    clock.write()
    clock.start()
    agent.start()
    plane.wait_online()
    opened = plane.channels_opened
    hosts.write_text("127.0.0.1 localhost\n")
    plane.channel.abort()
    wait_fake(clock, "failing look-ups", lambda: "resolve" in str(agent.status()[1]) or
              "look up" in str(agent.status()[1]), 60)
    time.sleep(300 / RATE)
    hosts.write_text(line)
    wait_fake(clock, "a new channel", lambda: plane.channels_opened > opened, BACKOFF_CAP_S + TRY_S)
    assert plane.shell("echo hi").final()["documentStatus"] == "Success"
    plane.close()
    assert plane.violations == []


# ---- tokens and clocks ---------------------------------------------------------------------------

def test_credentials_expire_while_a_document_runs(ref_plane, new_agent):
    """No fresh ones to be had, the channel lost, a reply waiting: it arrives once there are."""
    ref_plane.token_life_s = 6
    agent = new_agent(ref_plane)
    ref_plane.fail["RequestManagedInstanceRoleToken"] = [(500, "InternalServerError")] * 2
    marked = Marked(agent, ref_plane, steps=1, pause_s=3)
    ref_plane.wait(lambda: marked.job.acks, 20, "the ack")
    time.sleep(1)
    ref_plane.channel.abort()
    ref_plane.token_life_s = 3600
    ref_plane.finished(marked.job, 60)
    marked.check()
    assert marked.job.final()["documentStatus"] == "Success"


class WallClock:
    """A wall clock that is off and jumps; the monotonic one goes on."""

    def __init__(self, folder, off_s=0):
        self.file = folder / "wall"
        self.set(off_s)
        self.file.chmod(0o644)

    def set(self, off_s):
        self.file.write_text(f"{off_s:+d}\n")

    def env(self):
        return {"LD_PRELOAD": fastclock.library(), "FAKETIME_TIMESTAMP_FILE": str(self.file),
                "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "exitcode=99:verify_asan_link_order=0"}


HOUR, DAY = 3600, 86400


@needs_faketime
@pytest.mark.parametrize("off_s", [HOUR, pytest.param(-HOUR, marks=long), pytest.param(-50 * 365 * DAY, marks=long)])
def test_clock_off_at_the_start(ref_plane, new_agent, tmp_path, off_s):
    """The service says what time it is: the agent signs with that."""
    wall = WallClock(tmp_path, off_s)
    agent = new_agent(ref_plane, start=False, env=wall.env())
    agent.start()
    ref_plane.wait_online()
    assert ref_plane.shell("echo hi").steps()["aws:runShellScript"]["standardOutput"] == "hi\n"
    assert 1 <= ref_plane.skewed <= 4, "requests refused for their time"
    assert "signed with the service's time" in agent.log.read_text()


@needs_faketime
@long
@pytest.mark.parametrize("jumps", [(-DAY, DAY), (HOUR, -HOUR), (-56 * 365 * DAY, 0), (8 * DAY, -8 * DAY)])
def test_clock_jumps_while_running(ref_plane, new_agent, tmp_path, jumps):
    """Timeouts are kept, tokens renewed, ids remembered; nothing storms and nothing stands still."""
    ref_plane.token_life_s = 8
    wall = WallClock(tmp_path)
    agent = new_agent(ref_plane, env=wall.env())
    first = ref_plane.shell("echo hi")
    for jump in jumps:
        tokens, calls = ref_plane.token_count, len(ref_plane.requests)
        stuck = ref_plane.send_job(parameters={"commands": ["echo begin; sleep 60"], "executionTimeout": "5"})
        fine = ref_plane.send_job(parameters={"commands": ["echo begin; sleep 2; echo end"]})
        ref_plane.wait(lambda: stuck.acks and fine.acks, 20, "acks")
        wall.set(jump)
        begin = time.monotonic()
        ref_plane.finished(stuck, 30)
        assert 3 < time.monotonic() - begin < 15
        assert stuck.final()["documentStatus"] == "TimedOut"
        assert ref_plane.finished(fine).steps()["aws:runShellScript"]["standardOutput"] == "begin\nend\n"
        # More than one life of the token went by: it was renewed, now and then.
        ref_plane.wait(lambda: ref_plane.token_count > tokens, 20, "a fresh token")
        assert ref_plane.token_count - tokens < 6 and len(ref_plane.requests) - calls < 40
        opened = ref_plane.channels_opened
        ref_plane.channel.abort()
        ref_plane.wait(lambda: ref_plane.channels_opened > opened, 20, "a new channel")
        again = ref_plane.send_content(first.job_id, "aws.ssm.sendCommand", {
            "DocumentContent": refplane.SHELL_DOCUMENT, "Parameters": {"commands": ["true"]}, "DocumentName": "again",
            "CommandId": first.job_id.split(".")[2], "CloudWatchOutputEnabled": "false"})
        ref_plane.wait(lambda: again.acks[-1]["acknowledgedMessageId"] == again.message_id, 20, "the ack")
        assert again.acks[-1]["statusCode"] == "51405"


# ---- the node's disk -----------------------------------------------------------------------------

class Disk:
    """A small file system as the agent's state folder, that can be filled, or made read-only."""

    def __init__(self, agent, kind):
        self.path, self.kind, self.mounts = agent.state, kind, 1
        kept = agent.folder / "kept"
        shutil.copytree(self.path, kept, ignore=shutil.ignore_patterns("sock"))
        self.mount("-t", "tmpfs", "-o", "size=8m,nr_inodes=300,mode=700", "tmpfs")
        shutil.copytree(kept, self.path, dirs_exist_ok=True)

    def mount(self, *args):
        done = subprocess.run(["mount", *args, str(self.path)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")

    def fail(self):
        """Again: takes what has become free."""
        if self.kind == "full":
            with open(self.path / "filler", "ab", buffering=0) as f:
                try:
                    while True:
                        f.write(b"x" * 4096)
                except OSError:
                    pass
        elif self.kind == "inodes":
            (self.path / "fillers").mkdir(exist_ok=True)
            try:
                for i in range(1000):
                    (self.path / "fillers" / str(i)).touch()
            except OSError:
                pass
        elif self.mounts == 1:
            self.mount("--bind", str(self.path))
            self.mounts += 1
            self.mount("-o", "remount,bind,ro")

    def mend(self):
        if self.kind == "full":
            (self.path / "filler").unlink()
        elif self.kind == "inodes":
            shutil.rmtree(self.path / "fillers")
        else:
            self.release(1)

    def release(self, n=None):
        for _ in range(n or self.mounts):
            subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)
            self.mounts -= 1


@as_root
@pytest.mark.parametrize("kind", ["full", pytest.param("inodes", marks=long), pytest.param("read-only", marks=long)])
def test_disk_trouble(ref_plane, new_agent, kind, request):
    """New documents fail and say why, running ones end with what they had, and then all is well again."""
    agent = new_agent(ref_plane, start=False)
    disk = Disk(agent, kind)
    request.addfinalizer(disk.release)
    agent.start()
    ref_plane.wait_online()
    running = ref_plane.send_job(refplane.steps_document(
        "echo one; while [ ! -e /proc/self/root%s/go ]; do sleep 0.05; done; echo two" % agent.folder, "echo three"))
    ref_plane.wait(lambda: running.acks, 20, "the ack")
    flsandbox.wait_for("its output", lambda: list(agent.state.glob("jobs/*/steps/0/stdout")), 20)
    ref_plane.ack_replies = False
    waiting = ref_plane.shell("echo kept")  # its replies wait on the disk
    ref_plane.ack_replies = True
    disk.fail()
    for _ in range(3):
        refused = ref_plane.send_job(parameters={"commands": ["echo hi"]})
        ref_plane.finished(refused, 20)
        assert refused.acks[0]["statusCode"] == "51499" and len(refused.replies) == 1
        final = refused.final()
        assert final["documentStatus"] == "Failed"
        assert "this node cannot keep the document" in final["documentTraceOutput"], final
        want = "Read-only file system" if kind == "read-only" else "No space left on device"
        assert want in final["documentTraceOutput"] or "no room" in final["documentTraceOutput"], final
    disk.fail()  # the waiting one's worker has tidied up meanwhile
    (agent.folder / "go").touch()
    ref_plane.finished(running, 40)
    step = running.steps()["step1"]
    assert step["status"] == "Success" and step["standardOutput"] == "one\ntwo\n", step
    later = running.steps()["step2"]  # there is no place for its script, unless a page was given back meanwhile
    if kind == "full" and later["status"] == "Success":
        assert later["standardOutput"] == "three\n", later
    else:
        assert later["status"] == "Failed" and (later["standardError"] or later["output"]), later
    cpu = flproc.cpu_seconds(agent.below())
    time.sleep(2)
    assert flproc.cpu_seconds(agent.below()) - cpu < 0.3, "it spins"
    # Replies that nobody acknowledged are still there for the next channel.
    opened = ref_plane.channels_opened
    ref_plane.channel.abort()
    ref_plane.wait(lambda: ref_plane.channels_opened > opened and waiting.duplicates >= 2, 30, "the waiting replies")
    disk.mend()
    assert ref_plane.shell("echo hi").steps()["aws:runShellScript"]["standardOutput"] == "hi\n"
    assert agent.running()


@as_root
def test_start_on_a_read_only_state_folder(ref_plane, new_agent, request):
    """The node is reachable, says what is wrong, and works once it is mended."""
    agent = new_agent(ref_plane)
    assert ref_plane.shell("true").final()["documentStatus"] == "Success"
    agent.stop()
    disk = Disk(agent, "read-only")
    request.addfinalizer(disk.release)
    disk.fail()
    agent.start()
    ref_plane.wait_online()
    assert "Read-only file system" in ref_plane.shell("true").final()["documentTraceOutput"]
    disk.mend()
    assert ref_plane.shell("true").final()["documentStatus"] == "Success"


@long
def test_a_log_that_nobody_reads(ref_plane, new_agent):
    """A full pipe behind stderr: the agent works on, and counts what it could not say."""
    agent = new_agent(ref_plane, start=False)
    plain, fifo = agent.log, agent.folder / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(filler, b"x" * 512)
    except BlockingIOError:
        pass
    agent.log = fifo
    agent.start()
    agent.log = plain
    ref_plane.wait_online()
    for _ in range(3):
        assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    assert b"lost" not in os.read(reader, 1 << 20)
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    assert b"log lines were lost" in os.read(reader, 1 << 20)
    os.close(filler)
    os.close(reader)  # and now it is gone altogether
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    assert agent.running()


# ---- descriptors and processes -------------------------------------------------------------------

def limit_files(pid, n):
    """n more descriptors for the process than it has; None: plenty."""
    used = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={used + n if n is not None else 1024}:"],
                   check=True)


@as_root
def test_monitor_without_descriptors(ref_plane, new_agent):
    """Documents are refused with the reason; who asks for the status waits; nothing spins."""
    agent = new_agent(ref_plane)
    assert ref_plane.shell("true").final()["documentStatus"] == "Success"
    limit_files(agent.pid, 0)
    refused = ref_plane.send_job(parameters={"commands": ["echo hi"]})
    ref_plane.finished(refused, 20)
    assert refused.acks[0]["statusCode"] == "51499"
    assert "Too many open files" in refused.final()["documentTraceOutput"]
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(agent.runtime / "status.sock"))
        cpu = flproc.cpu_seconds([agent.pid])
        time.sleep(1.5)
        assert flproc.cpu_seconds([agent.pid]) - cpu < 0.3, "it spins"
        limit_files(agent.pid, None)
        asker.settimeout(20)
        assert b"nodeId" in asker.recv(65536)
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


@long
@as_root
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_net_without_descriptors(ref_plane, new_agent, tmp_path):
    """The channel is lost and cannot be opened again: tried until it can. The document is not disturbed."""
    agent = new_agent(ref_plane, env=TRACED)
    marked = Marked(agent, ref_plane, steps=1, pause_s=3)
    ref_plane.wait(lambda: marked.job.acks, 20, "the ack")
    tracer = Tracer(lambda: role(agent, "net"), "socket:error=EMFILE", tmp_path, follow=False)
    opened = ref_plane.channels_opened
    ref_plane.channel.abort()
    flsandbox.wait_for("failing tries", lambda: "Too many open files" in str(agent.status()[1]), 20)
    assert ref_plane.channels_opened == opened
    assert agent.running()
    assert not tracer.stop()
    ref_plane.wait(lambda: ref_plane.channels_opened > opened, 40, "a new channel")
    ref_plane.finished(marked.job, 30)
    marked.check()
    assert marked.job.final()["documentStatus"] == "Success"


@as_root
def test_worker_without_descriptors(ref_plane, new_agent):
    """The step that cannot be started fails and says so; the document ends."""
    agent = new_agent(ref_plane)
    gate = agent.folder / "gate"
    job = ref_plane.send_job(refplane.steps_document(f"while [ ! -e {gate} ]; do sleep 0.05; done", "echo two"))
    flsandbox.wait_for("the worker", lambda: role(agent, "worker"), 20)
    flsandbox.wait_for("the step", lambda: list(agent.state.glob("jobs/*/steps/0/_script.sh")), 20)
    time.sleep(0.2)
    limit_files(role(agent, "worker")[0], 0)
    gate.touch()
    ref_plane.finished(job, 30)
    steps = job.steps()
    assert steps["step1"]["status"] == "Success"
    assert steps["step2"]["status"] == "Failed"
    assert "too many open files" in str(steps["step2"]).lower(), steps["step2"]


@long
@as_root
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_no_process_can_be_started(ref_plane, new_agent, tmp_path):
    """fork says EAGAIN for a while: the document waits, and runs once."""
    agent = new_agent(ref_plane, env=TRACED)
    tracer = Tracer(lambda: [agent.pid], "clone,clone3,fork,vfork:error=EAGAIN", tmp_path, follow=False)
    marked = Marked(agent, ref_plane, steps=1)
    flsandbox.wait_for("failing starts", lambda: "worker will be started again" in agent.log.read_text(), 20)
    assert not tracer.stop()
    ref_plane.finished(marked.job, 60)
    marked.check()
    assert marked.job.final()["documentStatus"] == "Success"


# ---- children that will not go -------------------------------------------------------------------

STUBBORN = {
    "ignores signals": "trap '' TERM INT HUP; echo out; while :; do sleep 1; done",
    "left the group, holds the pipes": "setsid sh -c 'trap \"\" TERM HUP; sleep 41.1' & echo out; sleep 60",
    "forked twice, holds the pipes": "(setsid sh -c 'sleep 41.2 & exit' &) ; echo out",
    "grandchildren in the group": "sh -c 'sleep 41.3 & sleep 41.3 & wait' & echo out; wait",
    "stopped": "echo out; kill -STOP $$",
}


def test_stubborn_children_end_at_the_deadline(ref_plane, new_agent):
    """Each of them timed out, and each of them cancelled: the document ends with what it had printed."""
    agent = new_agent(ref_plane, config={"Mds": {"CommandWorkersLimit": 20}})
    begin = time.monotonic()
    jobs = {(how, what): ref_plane.send_job(parameters={"commands": [script], "executionTimeout": "5"})
            for how in ("TimedOut", "Cancelled") for what, script in STUBBORN.items()}
    ref_plane.wait(lambda: all(j.acks for j in jobs.values()), 20, "acks")
    flsandbox.wait_for("all to have printed", lambda: len(list(agent.state.glob("jobs/*/steps/0/stdout"))) == len(jobs), 20)
    cancelled_at = time.monotonic()
    for (how, _), job in jobs.items():
        if how == "Cancelled":
            ref_plane.cancel(job)
    for (how, what), job in jobs.items():
        ref_plane.finished(job, 30)
        step = job.steps()["aws:runShellScript"]
        assert (step["status"], step["code"], step["standardOutput"]) == (how, 137, "out\n"), (what, step)
        assert job.final()["documentStatus"] == how, what
        if how == "Cancelled":
            assert time.monotonic() - cancelled_at < 20, what
    assert time.monotonic() - begin < 25
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    for p in [p for p in os.listdir("/proc") if p.isdigit() and flproc.cmdline(int(p))[:1] == ["sleep"]
              and flproc.cmdline(int(p))[1][:3] == "41."]:
        flproc.kill(int(p), signal.SIGKILL)  # those that left the group are the machine's


# ---- threads -------------------------------------------------------------------------------------

def test_idle_agent_has_few_threads(ref_plane, new_agent):
    """One each for monitor and net, and those of a pool: the monitor's two write files, so that one that hangs holds up
    no other, net's one looks up names."""
    agent = new_agent(ref_plane)
    ref_plane.shell("true")
    for pid, most in ((agent.pid, 3), *((p, 2) for p in role(agent, "net"))):
        assert len(os.listdir(f"/proc/{pid}/task")) <= most, flproc.cmdline(pid)
    assert "UV_THREADPOOL_SIZE" not in ref_plane.shell("env").steps()["aws:runShellScript"]["standardOutput"]
