#!/usr/bin/python3
"""Measures what design.md has budgets for, and prints a table: median, p95, budget and share of it, ratio to a
yardstick measured in turn, and how that ratio changed against the stored baseline.

    make bench [T=WORD] [STRICT=1]    only measurements whose name holds WORD; exit status 1 if one regressed
    make bench-baseline               five rounds, whose ratios become tests/bench/baseline.json
    tests/bench/bench.py [--build DIR] [--only WORD] [--json FILE] [--quick] [--strict] [--baseline ROUNDS]

The agent is measured at the reference plane of the end-to-end tests, so that no plane of ours and no client's
start-up time is in the figures. Runs on loopback and needs no root; shared libraries count with their
proportional share, as PSS does. Rows of `make check-load` are shown from its build/load.json if there is one.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(ROOT / "scripts/lib"), str(ROOT / "tests/e2e"), str(ROOT / "tests/soak")]
import fastclock  # noqa: E402
import flapi  # noqa: E402
import flproc  # noqa: E402
import flsandbox  # noqa: E402
import refplane  # noqa: E402
import report  # noqa: E402
import sessions  # noqa: E402
import transcripts  # noqa: E402
import yardstick  # noqa: E402

BASELINE = HERE / "baseline.json"
HOUR_RATE = 60  # the idle hour passes in a minute: timeouts of 15 s must still be some while
# A run-time page or two more after 1000 documents is no growth: a leak of a byte a document is 1 kB.
RSS_NOISE_KB = 64

# name, unit, budget (None: none yet)
ROWS = {
    "idle PSS, all agent processes": ("kB", 10 * 1024),
    "idle private memory, all agent processes": ("kB", 5 * 1024),
    "idle CPU in an hour (a minute, clock 60 times as fast)": ("s", 1.0),
    "idle log lines in that hour": ("lines", 0),
    "idle agent processes": ("", None),
    "idle agent threads": ("", None),
    "installed size of the agent": ("kB", 2 * 1024),
    "start to Online, credentials cached": ("ms", 300),
    "start to Online, no credentials": ("ms", 1000),
    "echo hi, job sent to final reply acknowledged": ("ms", 10),
    "RSS growth over 1000 documents": ("kB", 0),
    "a step of 50, CPU of the agent's processes": ("ms", 5),
    "100 documents at once: slowest ping on the channel": ("ms", 100),
    "100 documents at once: slowest answer of the monitor": ("ms", None),
    "100 documents at once: all of them done": ("ms", None),
    "session wire: CPU of both ends, 1 GB by 64 KiB": ("ms", 2500),
    "session wire: CPU of both ends, 1 GB by 1 KiB": ("ms", None),
    "session: key to echo": ("ms", 2),
    "session: start to prompt": ("ms", 200),
    "session: exec true": ("ms", 100),
    "session: forward, 100 MB from the node": ("ms", 1000),
    "session: forward, 100 MB to the node": ("ms", 1000),
    "session: plane's CPU for 1 GB, relayed": ("ms", None),
    "session: plane's CPU for 1 GB, relayed and recorded": ("ms", None),
    "transcripts: search of 100 MB, by the index": ("ms", 100),
    "transcripts: index on the disk, of 100 MB": ("x", 2),
    "transcripts: CPU to index 100 MB": ("s", 30),
    "plane: ListCommands, connection kept": ("ms", None),
    "plane: SendCommand, connection kept": ("ms", None),
    "plane: command to result, our agent": ("ms", None),
}


def cpu_ns(pids):
    """Exact CPU time of the living processes, and by the clock tick that of the children they waited for."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
            with open(f"/proc/{pid}/stat") as f:
                rest = f.read().rpartition(")")[2].split()
            total += (int(rest[13]) + int(rest[14])) * 10**9 // os.sysconf("SC_CLK_TCK")
        except OSError:
            pass
    return total


class Bench:
    def __init__(self, args, place):
        self.args, self.place, self.rows, self.detail = args, place, {}, {}
        self.runs = 5 if args.quick else 20

    def wanted(self, *names):
        return not self.args.only or any(self.args.only.lower() in n.lower() for n in names)

    def put(self, name, values, yard=None, ruler=None):
        unit, budget = ROWS[name]
        self.rows[name] = report.summed_up(unit, budget, values, yard, ruler.NAME if ruler else None)

    def note(self, text):
        print(f"== {text}", file=sys.stderr, flush=True)

    # ---- the agent at the reference plane ----

    def agent(self, name="agent", env=None, **config):
        self.plane = refplane.RefPlane(self.place)
        self.place.chmod(0o755)
        agent = flsandbox.Agent(self.place / name, self.args.build, self.plane.endpoint, self.plane.ca_file)
        if config:
            agent.configure(**config)
        agent.register(self.plane.activation)
        agent.extra_env = env or {}
        return agent

    def online(self, agent):
        """Milliseconds from the start of the process to the first frame of its control channel."""
        opened = self.plane.channels_opened
        started = time.perf_counter()
        agent.start()
        self.plane.wait(lambda: self.plane.channels_opened > opened, 30, "online")
        return (time.perf_counter() - started) * 1e3

    def measure_start(self, agent):
        names = ("start to Online, credentials cached", "start to Online, no credentials")
        if not self.wanted(*names):
            return
        self.note("start to Online")
        ruler = yardstick.Handshake(self.plane.port, self.plane.ca_file)
        self.online(agent)
        cached, fresh, yard = [], [], []
        for _ in range(self.runs):
            self.stop(agent)
            cached.append(self.online(agent))
            self.stop(agent)
            shutil.rmtree(agent.state / "runtimeconfig", ignore_errors=True)
            shutil.rmtree(agent.home / ".aws", ignore_errors=True)
            fresh.append(self.online(agent))
            yard += [ruler(), ruler()]
        self.put(names[0], cached, yard, ruler)
        self.put(names[1], fresh, yard, ruler)

    def stop(self, agent):
        """Once credentials are on disk and the first pings were sent."""
        flsandbox.wait_for("credentials", lambda: (agent.home / ".aws/credentials").exists(), 10)
        time.sleep(0.1)
        agent.stop()

    def measure_idle(self, agent):
        if not self.wanted(*(n for n in ROWS if n.startswith("idle") and "hour" not in n)):
            return
        if not agent.running():
            self.online(agent)
        self.note("idle: memory after 12 s")
        for _ in range(3):
            self.plane.shell("echo hi")
        # Helpers that are kept warm for a moment have gone by then: fetch after 10 s.
        flsandbox.wait_for("the idle helpers to go", lambda: len(agent.below()) <= 2, 30, 0.5)
        time.sleep(2)
        pids = agent.below()
        memory = flproc.memory_kb(pids)
        self.put("idle PSS, all agent processes", memory["Pss"])
        self.put("idle private memory, all agent processes", memory["Private"])
        self.put("idle agent processes", memory["n"])
        self.put("idle agent threads", sum(len(os.listdir(f"/proc/{p}/task")) for p in pids))
        self.detail["processes"] = {(flproc.cmdline(p) or ["?"])[0].rpartition("/")[2] + f" {p}": flproc.memory_kb([p]) for p in pids}

    def measure_hour(self):
        """CPU and log of a whole idle hour: every ping, token and health report of it, with a clock that is fast.
        libfaketime's own share is in the figure, so it is an upper bound."""
        names = [n for n in ROWS if "hour" in n]
        if not self.wanted(*names):
            return
        if not fastclock.library():
            self.note("no libfaketime: the idle hour is left out")
            return
        self.note("idle: an hour in a minute")
        clock = fastclock.FastClock(self.place)
        agent = self.agent("hour", clock.env())
        try:
            agent.start()
            clock.start()
            self.plane.clock = clock.now
            self.plane.wait_online()
            clock.run(HOUR_RATE)
            self.plane.shell("echo hi")  # wakes who sleeps by the slow clock
            flsandbox.wait_for("the idle helpers to go", lambda: len(agent.below()) <= 2, 30, 0.5)
            lines, cpu, began = len(fastclock.own_lines(agent.log)), cpu_ns(agent.below()), clock.now()
            time.sleep(3600 / HOUR_RATE)
            hours = (clock.now() - began) / 3600
            self.put(names[0], (cpu_ns(agent.below()) - cpu) / 1e9 / hours)
            told = fastclock.own_lines(agent.log)[lines:]
            self.put(names[1], len(told))
            self.detail["log lines of the idle hour"] = told
        finally:
            agent.end_everything()
            self.plane.close()
            clock.close()

    def measure_echo(self, agent, documents):
        name, growth = "echo hi, job sent to final reply acknowledged", "RSS growth over 1000 documents"
        if not self.wanted(name, growth):
            return
        if not agent.running():
            self.online(agent)
        self.note("echo hi")
        ruler, times, yard = yardstick.Script(self.place), [], []
        for _ in range(10):
            self.plane.shell("echo hi")
            ruler()
        for _ in range(50 if self.args.quick else 300):
            job = self.plane.shell("echo hi")
            times.append((job.final_acked_at - job.sent_at) * 1e3)
            yard.append(ruler())
        self.put(name, times, yard, ruler)
        if self.args.quick or not documents:
            return
        self.note("1000 documents")
        before = flproc.memory_kb(agent.below())["Rss"]
        for _ in range(1000):
            self.plane.shell("echo hi")
        time.sleep(1)
        grown = flproc.memory_kb(agent.below())["Rss"] - before
        self.put(growth, grown if grown > RSS_NOISE_KB else 0)

    def measure_steps(self, agent):
        """Of the worker by what its last step sees of it, of monitor and net from outside."""
        name = "a step of 50, CPU of the agent's processes"
        if not self.wanted(name):
            return
        if not agent.running():
            self.online(agent)
        self.note("a document of 50 steps")
        document = refplane.steps_document(*[":"] * 49, [
            "p=$PPID; [ $(cat /proc/$p/comm) = fairlead-worker ] || p=$(cut -d' ' -f4 /proc/$p/stat)",
            "cat /proc/$p/comm /proc/$p/task/*/schedstat"])
        steps = []
        for _ in range(3 if self.args.quick else 10):
            pids = [agent.pid, *(p for p in agent.below() if "fairlead-agent-net" in str(flproc.cmdline(p)[:1]))]
            before = flproc.own_cpu_ns(pids)
            job = self.plane.finished(self.plane.send_job(document))
            comm, *tasks = job.steps()["step50"]["standardOutput"].splitlines()
            if comm != "fairlead-worker" or not tasks:
                raise RuntimeError(f"not the worker: {comm}")
            total = flproc.own_cpu_ns(pids) - before + sum(int(t.split()[0]) for t in tasks)
            steps.append(total / 50 / 1e6)
        self.put(name, steps)

    def measure_crowd(self):
        """100 documents of three steps, sent in one go, all running at once; pings, and jobs that the monitor has to
        refuse as known, between them."""
        names = [n for n in ROWS if n.startswith("100 documents at once")]
        if not self.wanted(*names):
            return
        self.note("100 documents at once")
        agent = self.agent("crowd", Mds={"CommandWorkersLimit": 100})
        try:
            self.online(agent)
            self.plane.wait_online()
            known, channel = self.plane.shell("echo hi"), self.plane.channel
            document = refplane.steps_document("sleep 0.5; echo 1", "echo 2", "echo 3")
            began = time.perf_counter()
            jobs = [self.plane.send_job(document) for _ in range(100)]
            sent, answers = {}, []
            while not all(j.final() for j in jobs):
                payload, acks = str(len(sent)).encode(), len(known.acks)
                sent[payload] = time.perf_counter()
                channel.send_frame(refplane.wire.PING, payload)
                channel.send_binary(known.frame)
                with self.plane.changed:
                    self.plane.changed.wait_for(lambda: len(known.acks) > acks, 30)
                answers.append((time.perf_counter() - sent[payload]) * 1e3)
                time.sleep(0.02)
            took = (time.perf_counter() - began) * 1e3
            self.plane.shell("echo hi")
            if any(j.final()["documentStatus"] != "Success" for j in jobs) or set(sent) - set(channel.pongs):
                raise RuntimeError("not every document succeeded, or not every ping was answered")
            self.put(names[0], max((channel.pongs[p] - at) * 1e3 for p, at in sent.items()))
            self.put(names[1], max(answers))
            self.put(names[2], took)
        finally:
            agent.end_everything()
            self.plane.close()

    def measure_size(self):
        name = "installed size of the agent"
        if not self.wanted(name):
            return
        root = self.place / "root"
        subprocess.run(["make", "-s", "--no-print-directory", "install-strip", f"DESTDIR={root}", "PREFIX=/usr",
                        f"BUILD={self.args.build}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        files = [p for p in root.rglob("*") if p.is_file() and "fairlead-agent" in p.name]
        self.put(name, sum(p.stat().st_size for p in files) // 1024)

    # ---- sessions ----

    def measure_session_wire(self):
        """Numbering, digests, acknowledgements and smux of tests/bench/session.c, in memory. The yardstick is that
        program's, too: both ends must hash every byte."""
        for name, payload, megabytes in (("session wire: CPU of both ends, 1 GB by 64 KiB", 65536, 500),
                                         ("session wire: CPU of both ends, 1 GB by 1 KiB", 1024, 100)):
            if not self.wanted(name):
                continue
            self.note(name)
            out = subprocess.run([self.args.build / "tests/bench/session", *[str(payload), str(megabytes)] * self.runs],
                                 check=True, stdout=subprocess.PIPE, text=True).stdout
            took, hashed = zip(*(map(float, line.split()[2:]) for line in out.splitlines()))
            self.put(name, [t * 1000 / megabytes for t in took], [h * 1000 / megabytes for h in hashed], yardstick.Hashes)
            self.note(f"{megabytes * 1000 / statistics.median(took):.0f} MB/s on one core that is both ends")

    # ---- the plane ----

    def measure_plane(self):
        names = [n for n in ROWS if n.startswith("plane:")]
        if not self.wanted(*names):
            return
        self.note("plane")
        with flsandbox.Sandbox(nodes=1, build=self.args.build) as box:
            api, node = flapi.KeptApi(box.plane.api), box.agents[0].node_id
            bare, synced = yardstick.BareRequest(api), yardstick.SyncedRequest(api, box.folder)
            script = yardstick.Script(box.folder)

            def timed(operation, **members):
                started = time.perf_counter()
                answer = api.call(operation, **members)
                return (time.perf_counter() - started) * 1e3, answer

            lists, sends, whole, yards = [], [], [], ([], [], [])
            for i in range(5 * self.runs + 5):
                took, bare_took = timed("ListCommands", MaxResults=1)[0], bare()
                if i >= 5:
                    lists.append(took)
                    yards[0].append(bare_took)
            for _ in range(4 * self.runs):
                started = time.perf_counter()
                took, sent = timed("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node],
                                   Parameters={"commands": ["echo hi"]})
                sends.append(took)
                command = sent["Command"]["CommandId"]
                while timed("ListCommands", CommandId=command)[1]["Commands"][0]["Status"] != "Success":
                    if time.perf_counter() - started > 30:
                        raise RuntimeError("a command took more than 30 s")
                    time.sleep(0.001)
                whole.append((time.perf_counter() - started) * 1e3)
                yards[1].append(synced())
                yards[2].append(script())
            self.put(names[0], lists, yards[0], bare)
            self.put(names[1], sends, yards[1], synced)
            self.put(names[2], whole, yards[2], script)

    def run(self, first=True):
        if first:  # what does not vary
            self.measure_size()
            self.measure_hour()
        self.measure_session_wire()
        if self.wanted(*(n for n in ROWS if not n.startswith(("plane:", "100 ", "session ")) and "hour" not in n)):
            agent = self.agent()
            try:
                self.measure_start(agent)
                if first:
                    self.measure_idle(agent)
                self.measure_echo(agent, first)
                self.measure_steps(agent)
            finally:
                agent.end_everything()
                self.plane.close()
        self.measure_crowd()
        self.measure_plane()
        sessions.measure(self)
        transcripts.measure(self)


def load_rows(path):
    """The rows of `make check-load` that have a budget."""
    try:
        load = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    rows = {}
    for r in load["rows"]:
        if r.get("budget") is None:
            continue
        scale = "" if load["scale"] == 1 else f" (at scale {load['scale']:g})"
        row = report.summed_up(r["unit"], r["budget"], r["value"])
        row["within"] = r["ok"]
        rows[f"{r['scenario']}: {r['what']}{scale}"] = row
    return rows


def one_round(args, first=True):
    with tempfile.TemporaryDirectory(prefix="fl-bench-") as place:
        bench = Bench(args, pathlib.Path(place))
        bench.run(first)
    return bench


def make_baseline(args):
    rounds = []
    for i in range(args.baseline):
        print(f"== round {i + 1} of {args.baseline}", file=sys.stderr, flush=True)
        rounds.append(one_round(args, i == 0).rows)
    baseline = report.to_baseline(rounds)
    for name, b in baseline.items():
        noisy = "   noisy: no regression is told by it" if b["spread"] > report.REGRESSION else ""
        print(f"{name:52} {b['compare']:>10} spread {100 * b['spread']:.0f} %{noisy}")
    kept = json.loads(BASELINE.read_text()) if args.only and BASELINE.exists() else {}
    BASELINE.write_text(json.dumps({**kept, **baseline}, indent=2) + "\n")
    print(f"written to {BASELINE}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    ap.add_argument("--only")
    ap.add_argument("--json", type=pathlib.Path)
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--strict", action="store_true", help="exit status 1 if a ratio regressed by more than 15 %%")
    ap.add_argument("--baseline", type=int, metavar="ROUNDS", help="make the baseline of so many rounds")
    args = ap.parse_args()
    args.build = args.build.resolve()
    args.json = args.json or args.build / "bench.json"
    flproc.become_subreaper()

    if args.baseline:
        return make_baseline(args)
    bench = one_round(args)
    rows = {**bench.rows, **({} if args.only else load_rows(args.build / "load.json"))}
    report.against(rows, json.loads(BASELINE.read_text()) if BASELINE.exists() else {})
    report.print_table(rows)
    report.write_json(args.json, rows, detail=bench.detail, cores=os.cpu_count(), kernel=os.uname().release,
                      version=(ROOT / "VERSION").read_text().strip())
    print(f"\nwritten to {args.json}")
    return 1 if args.strict and any(r.get("regressed") for r in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
