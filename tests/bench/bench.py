#!/usr/bin/python3
"""Measures the agent and the plane and prints a table: median, p95, budget, ratio to it.

    make bench [T=WORD]          only measurements whose name holds WORD
    tests/bench/bench.py [--build DIR] [--only WORD] [--json FILE] [--quick]

The agent is measured at the reference plane of the end-to-end tests, so that no plane of ours and no
client's start-up time is in the figures. A ratio up to 1.00 is within the budget. Runs on loopback and
needs no root; shared libraries count with their proportional share, as PSS does.
"""
import argparse
import http.client
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
sys.path[:0] = [str(ROOT / "scripts/lib"), str(ROOT / "tests/e2e")]
import flproc  # noqa: E402
import flsandbox  # noqa: E402
import refplane  # noqa: E402

# name, unit, budget (None: none yet)
ROWS = {
    "idle PSS, all agent processes": ("kB", 10 * 1024),
    "idle private memory, all agent processes": ("kB", 5 * 1024),
    "idle CPU in an hour, from 10 s": ("s", 1.0),
    "idle log lines in 10 s": ("lines", 0),
    "idle agent processes": ("", None),
    "idle agent threads": ("", None),
    "installed size of the agent": ("kB", 2 * 1024),
    "start to Online, credentials cached": ("ms", 300),
    "start to Online, no credentials": ("ms", 1000),
    "echo hi, job sent to final reply acknowledged": ("ms", 10),
    "RSS growth over 1000 documents": ("kB", 0),
    "plane: ListCommands, connection kept": ("ms", None),
    "plane: SendCommand, connection kept": ("ms", None),
    "plane: command to result, our agent": ("ms", None),
}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(round(share * (len(ordered) - 1))))]


class Bench:
    def __init__(self, args, place):
        self.args, self.place, self.results = args, place, {}
        self.runs = 5 if args.quick else 20

    def wanted(self, *names):
        return not self.args.only or any(self.args.only.lower() in n.lower() for n in names)

    def put(self, name, values):
        values = values if isinstance(values, list) else [values]
        unit, budget = ROWS[name]
        median = statistics.median(values)
        self.results[name] = {"unit": unit, "n": len(values), "median": median,
                              "p95": percentile(values, 0.95), "budget": budget,
                              "ratio": None if budget is None else
                              (median / budget if budget else (0.0 if median <= 0 else float("inf")))}

    def note(self, text):
        print(f"== {text}", file=sys.stderr, flush=True)

    # ---- the agent at the reference plane ----

    def agent(self):
        self.plane = refplane.RefPlane(self.place)
        self.place.chmod(0o755)
        agent = flsandbox.Agent(self.place / "agent", self.args.build, self.plane.endpoint, self.plane.ca_file)
        agent.register(self.plane.activation)
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
        self.online(agent)
        cached, fresh = [], []
        for _ in range(self.runs):
            self.settle(agent)
            agent.stop()
            cached.append(self.online(agent))
        for _ in range(self.runs):
            self.settle(agent)
            agent.stop()
            shutil.rmtree(agent.state / "runtimeconfig", ignore_errors=True)
            shutil.rmtree(agent.home / ".aws", ignore_errors=True)
            fresh.append(self.online(agent))
        self.put(names[0], cached)
        self.put(names[1], fresh)

    def settle(self, agent):
        """Until credentials are on disk and the first pings were sent."""
        flsandbox.wait_for("credentials", lambda: (agent.home / ".aws/credentials").exists(), 10)
        time.sleep(0.1)

    def measure_idle(self, agent):
        if not self.wanted("idle"):
            return
        if not agent.running():
            self.online(agent)
        self.note("idle for 15 s")
        for _ in range(3):
            self.plane.shell("echo hi")
        time.sleep(5)  # helpers that are kept warm for a moment have gone by then
        pids = agent.below()
        cpu, log = flproc.cpu_seconds(pids), agent.log.read_text()
        time.sleep(10)
        self.put("idle CPU in an hour, from 10 s", max(0, flproc.cpu_seconds(pids) - cpu) * 360)
        pids = agent.below()
        memory = flproc.memory_kb(pids)
        self.put("idle log lines in 10 s", len(agent.log.read_text().splitlines()) - len(log.splitlines()))
        self.put("idle PSS, all agent processes", memory["Pss"])
        self.put("idle private memory, all agent processes", memory["Private"])
        self.put("idle agent processes", memory["n"])
        self.put("idle agent threads", sum(len(os.listdir(f"/proc/{p}/task")) for p in pids))
        self.detail = {(flproc.cmdline(p) or ["?"])[0].rpartition("/")[2] + f" {p}": flproc.memory_kb([p]) for p in pids}

    def measure_echo(self, agent):
        name, growth = "echo hi, job sent to final reply acknowledged", "RSS growth over 1000 documents"
        if not self.wanted(name, growth):
            return
        if not agent.running():
            self.online(agent)
        self.note("echo hi")
        for _ in range(10):
            self.plane.shell("echo hi")
        times = []
        for _ in range(50 if self.args.quick else 300):
            job = self.plane.shell("echo hi")
            times.append((job.final_acked_at - job.sent_at) * 1e3)
        self.put(name, times)
        if self.args.quick:
            return
        self.note("1000 documents")
        before = flproc.memory_kb(agent.below())["Rss"]
        for _ in range(1000):
            self.plane.shell("echo hi")
        time.sleep(1)
        # A page or two of noise is no growth: the unit is a document, and 1000 must not show.
        grown = flproc.memory_kb(agent.below())["Rss"] - before
        self.put(growth, max(0, grown if grown > 128 else 0))

    def measure_size(self):
        name = "installed size of the agent"
        if not self.wanted(name):
            return
        root = self.place / "root"
        subprocess.run(["make", "-s", "--no-print-directory", "install-strip", f"DESTDIR={root}", "PREFIX=/usr",
                        f"BUILD={self.args.build}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        files = [p for p in root.rglob("*") if p.is_file() and "fairlead-agent" in p.name]
        self.put(name, sum(p.stat().st_size for p in files) // 1024)

    # ---- the plane ----

    def measure_plane(self):
        names = [n for n in ROWS if n.startswith("plane:")]
        if not self.wanted(*names):
            return
        self.note("plane")
        with flsandbox.Sandbox(nodes=1, build=self.args.build) as box:
            api, node = box.plane.api, box.agents[0].node_id
            conn = http.client.HTTPSConnection(api.host, api.port, context=api.tls, timeout=30)

            def call(operation, **members):
                body = json.dumps(members).encode()
                headers = {"content-type": "application/x-amz-json-1.1", "host": api.netloc,
                           "x-amz-target": "AmazonSSM." + operation}
                api.sign(headers, body, "ssm")
                started = time.perf_counter()
                conn.request("POST", "/", body=body, headers=headers)
                answer = conn.getresponse()
                text = answer.read()
                took = (time.perf_counter() - started) * 1e3
                if answer.status != 200:
                    raise RuntimeError(text)
                return took, json.loads(text)

            def send():
                return call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node],
                            Parameters={"commands": ["echo hi"]})

            for _ in range(5):
                call("ListCommands")
            lists, sends, whole = [], [], []
            for _ in range(5 * self.runs):
                lists.append(call("ListCommands", MaxResults=1)[0])
            for _ in range(self.runs):
                started = time.perf_counter()
                took, sent = send()
                sends.append(took)
                command = sent["Command"]["CommandId"]
                while call("ListCommands", CommandId=command)[1]["Commands"][0]["Status"] != "Success":
                    if time.perf_counter() - started > 30:
                        raise RuntimeError("a command took more than 30 s")
                    time.sleep(0.001)
                whole.append((time.perf_counter() - started) * 1e3)
            self.put("plane: ListCommands, connection kept", lists)
            self.put("plane: SendCommand, connection kept", sends)
            self.put("plane: command to result, our agent", whole)

    def run(self):
        self.measure_size()
        if self.wanted("start", "idle", "echo", "RSS growth"):
            agent = self.agent()
            try:
                self.measure_start(agent)
                self.measure_idle(agent)
                self.measure_echo(agent)
            finally:
                agent.end_everything()
                self.plane.close()
        self.measure_plane()

    def table(self):
        print(f"{'what':47} {'median':>10} {'p95':>10} {'unit':>5} {'n':>5} {'budget':>9} {'ratio':>6}")
        for name, r in self.results.items():
            def f(v):
                return "-" if v is None else f"{v:.0f}" if v >= 100 or v == int(v) else f"{v:.2f}"
            ratio = "-" if r["ratio"] is None else "over" if r["ratio"] == float("inf") else f"{r['ratio']:.2f}"
            print(f"{name:47} {f(r['median']):>10} {f(r['p95']):>10} {r['unit']:>5} {r['n']:>5} "
                  f"{f(r['budget']):>9} {ratio:>6}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    ap.add_argument("--only")
    ap.add_argument("--json", type=pathlib.Path)
    ap.add_argument("--quick", action="store_true")
    args = ap.parse_args()
    args.build = args.build.resolve()
    args.json = args.json or args.build / "bench.json"
    flproc.become_subreaper()

    with tempfile.TemporaryDirectory(prefix="fl-bench-") as place:
        bench = Bench(args, pathlib.Path(place))
        bench.run()
    bench.table()
    for r in bench.results.values():
        if r["ratio"] == float("inf"):
            r["ratio"] = None
    report = {"results": bench.results, "processes": getattr(bench, "detail", {}), "cores": os.cpu_count(),
              "kernel": os.uname().release, "version": (ROOT / "VERSION").read_text().strip()}
    args.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {args.json}")


if __name__ == "__main__":
    sys.exit(main())
