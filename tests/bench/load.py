#!/usr/bin/python3
"""Puts a plane under the load of a large fleet and prints what it did: a table, and build/load.json.

    make check-load [T=WORD] [SCALE=0.1]
    tests/bench/load.py [--build DIR] [--only WORD] [--scale F] [--seconds S] [--json FILE] [--perf DIR]

Nodes are those of tests/bench/swarm.h, in two processes (each connection is an open file on both
sides, and 20,000 is a common limit). A third process makes plain API calls all the while, over a kept
connection and over fresh ones. All of it runs on this machine. Elsewhere nodes and plane have processors
of their own, so here, if we are root, neither goes before the other: the plane's share is that of each of
the two. The API calls go before all; what the swarm takes of two cores is missing to the plane.

Scenarios, in this order, on one fleet:
  idle      all nodes online and silent: memory of the plane per node, CPU per ping
  herd      10,000 of 15,000 nodes lose their connection at the same instant
  command   one command to 10,000 nodes, until the plane says that it is complete
  rate      500 SendCommand a second to 1,000 nodes, for a minute
  restart   the plane is killed and started again with all nodes connected
  sessions  500 terminals on one node, which is a real agent, by tests/bench/crowd.c; needs root
Then every command is accounted for: what callers were promised, what the plane lists, and what nodes
ran must be the same set.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(ROOT / "scripts/lib")]
import crowd  # noqa: E402
import flapi  # noqa: E402
import flproc  # noqa: E402
import flsandbox  # noqa: E402

IDLE, HERD, COMMAND, RATE, RATE_NODES, RATE_S = 15000, 10000, 10000, 500, 1000, 60
KEYS = 16              # identity keys a large swarm makes (a third of a second each); as many nodes
                       # register with one activation, for which a key stands for one node
STARTING = 48          # nodes that a swarm process brings up at a time
SOURCES = 200          # loopback addresses that nodes come from
KEPT_RATE, FRESH_RATE = 20, 5
API_P99_MS = 50
TRIES_PERCENT = 20      # of the nodes, at most so many try to come back in one second
PAGE_MS = 25            # of the list by which all is accounted for
NICE_PROBE = -10
NICE_ALL = -10         # all of it before whatever else the machine does
LIMIT_S = 690           # of the whole run; what is not done by then has failed
SCENARIOS = ("idle", "herd", "command", "rate", "restart", "sessions")
SESSIONS = 500          # on one node


def go_before(pid, nice):
    """Where the kernel shares processors out by session (autogroup), a process's nice value counts only among those
    of its session, and a session has a value of its own."""
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text(f"{NICE_ALL + nice}\n")
    except OSError:
        pass  # only root may ask for more than its share, and not every kernel has groups


class Swarm:
    """One swarm process."""

    def __init__(self, plane, build, log, nice, *options):
        env = dict(plane.base_env(), AWS_ACCESS_KEY_ID=plane.access_key,
                   AWS_SECRET_ACCESS_KEY=plane.secret_key)
        argv = [build / "tests/bench/swarm", "--url", plane.endpoint, "--ca", plane.ca_file,
                "--region", flsandbox.REGION, *options]

        def prepare():
            flproc.die_with_parent()
            try:
                os.nice(nice)
            except PermissionError:
                pass  # only root may ask for more than its share
        with open(log, "ab") as err:
            self.child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=err, env=env, text=True,
                                          start_new_session=True, preexec_fn=prepare)
        go_before(self.child.pid, nice)
        self.log = log

    def ask(self, *words):
        try:
            self.child.stdin.write(" ".join(str(w) for w in words) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise flsandbox.SandboxError(f"the swarm ended\n{flsandbox.tail(self.log)}")
        answer = json.loads(line)
        if "error" in answer:
            raise flsandbox.SandboxError(f"swarm: {words[0]}: {answer['error']}")
        return answer

    def stop(self):
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        return self.child.returncode


class Load:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.build = pathlib.Path(args.build).resolve()
        self.plane = flsandbox.Plane(folder / "plane", self.build)
        self.swarms, self.probe = [], None
        self.rows, self.result = [], {}
        self.accepted = set()

    # ---- what is printed ----

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", file=sys.stderr, flush=True)

    def row(self, scenario, what, value, unit, budget=None, at_least=False):
        ok = budget is None or (value >= budget if at_least else value <= budget)
        self.rows.append({"scenario": scenario, "what": what, "value": value, "unit": unit,
                          "budget": budget, "at_least": at_least, "ok": ok})

    def must(self, scenario, what, ok, value=0):
        self.rows.append({"scenario": scenario, "what": what, "value": value, "unit": "", "budget": None,
                          "at_least": False, "ok": bool(ok)})

    # ---- the fleet ----

    def start(self, nodes, tagged):
        self.began = time.monotonic()
        self.plane.create()
        go_before(self.plane.pid, 0)
        self.swarms = [Swarm(self.plane, self.build, self.folder / f"swarm{i}.log", 0,
                             "--sources", str(SOURCES))
                       for i in range(2)]
        self.probe = Swarm(self.plane, self.build, self.folder / "probe.log", NICE_PROBE)
        self.empty_kb = self.rss_kb()
        shares = [nodes - nodes // 2, nodes // 2]
        tags = [tagged - tagged // 2, tagged // 2]
        for swarm, share, tag in zip(self.swarms, shares, tags):
            while share > 0:
                n = min(KEYS if nodes > 2000 else 3, tag or share, share)
                members = {"Tags": [{"Key": "Group", "Value": "command"}]} if tag else {}
                a = self.plane.activation(limit=n, **members)
                swarm.ask("activation", a["ActivationId"], a["ActivationCode"], n)
                share, tag = share - n, max(tag - n, 0)
        self.say("activations made")
        cpu, then = self.cpu_s(), time.monotonic()
        for swarm, share in zip(self.swarms, [nodes - nodes // 2, nodes // 2]):
            if share:
                swarm.ask("start", share, STARTING)
        self.nodes = nodes
        self.wait_online(nodes, 60 + nodes / 40)
        self.row("start", "registered and online", nodes / (time.monotonic() - then), "nodes/s")
        self.row("start", "plane CPU per node, from registration to the first job",
                 (self.cpu_s() - cpu) * 1000 / nodes, "ms")

    def stats(self):
        total = {}
        for swarm in self.swarms:
            for k, v in swarm.ask("stats").items():
                total[k] = total.get(k, 0) + v
        return total

    def wait_online(self, n, timeout_s):
        timeout_s = max(min(timeout_s, self.began + LIMIT_S - time.monotonic()), 0)
        limit = time.monotonic() + timeout_s
        told = time.monotonic()
        while True:
            stats = self.stats()
            if stats["online"] >= n:
                return
            if time.monotonic() > limit:
                raise flsandbox.SandboxError(
                    f"{stats['online']} of {n} nodes online after {timeout_s:g} s: {stats}; "
                    f"{[s.ask('spread')['errors'] for s in self.swarms]}")
            if time.monotonic() > told + 5:
                told = time.monotonic()
                self.say(f"{stats['online']} of {n} nodes online")
            time.sleep(0.1)

    def tell_all(self, *words):
        return [s.ask(*words) for s in self.swarms]

    def spread(self):
        """What happened since `mark`, by second: (tries, opens), and errors."""
        both, errors = {"tries": [], "opens": []}, {}
        for answer in self.tell_all("spread"):
            a_second = 1000 // answer["bucket_ms"]
            for name, total in both.items():
                for i, n in enumerate(answer[name]):
                    while len(total) <= i // a_second:
                        total.append(0)
                    total[i // a_second] += n
            for k, v in answer["errors"].items():
                errors[k] = errors.get(k, 0) + v
        return both["tries"], both["opens"], errors

    # ---- the plane ----

    def cpu_s(self):
        return flproc.cpu_seconds([self.plane.pid])

    def swarm_cpu_s(self):
        return flproc.cpu_seconds([s.child.pid for s in self.swarms])

    def rss_kb(self):
        return flproc.memory_kb([self.plane.pid])["Rss"]

    def perf(self, scenario):
        """Records the plane's stacks until the returned function is called."""
        if not self.args.perf:
            return lambda: None
        out = pathlib.Path(self.args.perf) / f"{scenario}.data"
        out.parent.mkdir(parents=True, exist_ok=True)
        child = subprocess.Popen(["perf", "record", "-q", "-F", "199", "-g", "-p", str(self.plane.pid), "-o", out],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def end():
            child.terminate()
            child.wait()
        return end

    # ---- the API calls beside the load ----

    def begin_calls(self):
        self.probe.ask("call", "kept", "DescribeInstanceInformation", KEPT_RATE, 0, 1)
        self.probe.ask("call", "fresh", "ListCommands", FRESH_RATE, 0, 0)

    def end_calls(self, scenario, budget=API_P99_MS):
        for name in ("kept", "fresh"):
            self.probe.ask("stop", name)
        for name, words in (("kept", "kept connection"), ("fresh", "new connections")):
            got = flsandbox.wait_for("answers of API calls", lambda: (
                lambda r: r if r["over"] else None)(self.probe.ask("result", name)), 90, 0.1)
            self.probe.ask("forget", name)
            self.result.setdefault(scenario, {})[f"api {name}"] = got
            self.row(scenario, f"API call, {words}, p50", got["p50_ms"], "ms")
            self.row(scenario, f"API call, {words}, p99", got["p99_ms"], "ms", budget)
            if budget is not None:
                self.must(scenario, f"API calls not answered, {words}",
                          got["lost"] + got["refused"] + got["throttled"] == 0,
                          got["lost"] + got["refused"] + got["throttled"])

    # ---- scenarios ----

    def idle(self):
        time.sleep(self.args.settle_s)
        n = self.nodes
        self.row("idle", "nodes online", self.stats()["online"], "")
        self.row("idle", "plane memory per node (RSS)", (self.rss_kb() - self.empty_kb) / n, "kB", 25)
        self.result["idle"] = {"empty_kb": self.empty_kb, "full_kb": self.rss_kb()}
        self.begin_calls()
        end_perf = self.perf("idle")
        cpu, before, then = self.cpu_s(), self.stats(), time.monotonic()
        time.sleep(self.args.idle_s)
        after, cpu, took = self.stats(), self.cpu_s() - cpu, time.monotonic() - then
        end_perf()
        self.end_calls("idle")
        self.row("idle", "plane CPU, all nodes idle", cpu / took * 100, "% of a core")
        self.row("idle", "pings in that time", after["pings"] - before["pings"], "")
        self.row("idle", "health pings in that time", after["health_pings"] - before["health_pings"], "")
        cpu, then = self.cpu_s(), time.monotonic()
        before = self.stats()["pings"]
        self.tell_all("ping", int(self.args.idle_s * 100))
        time.sleep(self.args.idle_s / 5)
        pings = self.stats()["pings"] - before
        idle_cpu = self.rows_value("idle", "plane CPU, all nodes idle") / 100 * (time.monotonic() - then)
        self.row("idle", "plane CPU per WebSocket ping", max(self.cpu_s() - cpu - idle_cpu, 0) * 1e6 / max(pings, 1),
                 "us")
        self.must("idle", "nodes lost", self.stats()["online"] == n, n - self.stats()["online"])

    def rows_value(self, scenario, what):
        return next(r["value"] for r in self.rows if (r["scenario"], r["what"]) == (scenario, what))

    def herd(self, n):
        self.begin_calls()
        self.tell_all("mark")
        end_perf = self.perf("herd")
        cpu, swarm_cpu, then = self.cpu_s(), self.swarm_cpu_s(), time.monotonic()
        dropped = sum(s.ask("drop", share)["dropped"]
                      for s, share in zip(self.swarms, (n - n // 2, n // 2)))
        self.must("herd", "connections cut", dropped == n, dropped)
        time.sleep(0.5)
        self.wait_online(self.nodes, 180)
        self.row("herd", "until all are back", time.monotonic() - then, "s", 60)
        end_perf()
        self.herd_rows("herd", n, cpu, swarm_cpu)
        self.end_calls("herd")
        time.sleep(self.args.settle_s)
        self.row("herd", "plane memory per node afterwards (RSS)", (self.rss_kb() - self.empty_kb) / self.nodes, "kB",
                 25)

    def herd_rows(self, scenario, n, cpu, swarm_cpu):
        tries, opens, errors = self.spread()
        self.row(scenario, "plane CPU per node", (self.cpu_s() - cpu) * 1000 / n, "ms")
        self.row(scenario, "swarm CPU per node", (self.swarm_cpu_s() - swarm_cpu) * 1000 / n, "ms")
        self.row(scenario, "tries", sum(tries), "")
        self.row(scenario, "most opens in a second", max(opens, default=0), "")
        self.result.setdefault(scenario, {}).update(tries=tries, opens=opens, errors=errors)

    def command(self, n):
        self.begin_calls()
        end_perf = self.perf("command")
        cpu, swarm_cpu, then = self.cpu_s(), self.swarm_cpu_s(), time.monotonic()
        sent = self.plane.api.call("SendCommand", DocumentName="AWS-RunShellScript",
                                   Targets=[{"Key": "tag:Group", "Values": ["command"]}],
                                   Parameters={"commands": ["echo hi"]}, MaxConcurrency="100%",
                                   MaxErrors="100%")["Command"]["CommandId"]
        self.accepted.add(sent)

        def over():
            c = self.plane.api.call("ListCommands", CommandId=sent)["Commands"][0]
            return c if c["Status"] not in ("Pending", "InProgress") else None
        c = flsandbox.wait_for("the command is over", over, 180, 0.1)
        self.row("command", "until complete and durable", time.monotonic() - then, "s", 15)
        end_perf()
        self.row("command", "plane CPU per node", (self.cpu_s() - cpu) * 1000 / n, "ms")
        self.row("command", "swarm CPU per node", (self.swarm_cpu_s() - swarm_cpu) * 1000 / n, "ms")
        self.must("command", "invocations that succeeded",
                  (c["Status"], c["TargetCount"], c["CompletedCount"], c["ErrorCount"]) == ("Success", n, n, 0),
                  c["CompletedCount"])
        self.end_calls("command")

    def rate(self, rate, seconds, nodes):
        ids = self.folder / "accepted"
        self.begin_calls()
        end_perf = self.perf("rate")
        cpu, swarm_cpu, then = self.cpu_s(), self.swarm_cpu_s(), time.monotonic()
        self.swarms[0].ask("call", "send", "SendCommand", rate, seconds, 64, nodes, ids)
        got = flsandbox.wait_for("all commands sent", lambda: (
            lambda r: r if r["over"] else None)(self.swarms[0].ask("result", "send")), seconds * 3 + 60, 0.2)
        took = time.monotonic() - then
        end_perf()
        self.swarms[0].ask("forget", "send")
        sent = set(ids.read_text().split())
        self.accepted |= sent
        self.result["rate"] = {"send": got}
        self.row("rate", "SendCommand accepted", got["per_s"], "per s", rate * 0.98, at_least=True)
        self.row("rate", "SendCommand, p50", got["p50_ms"], "ms")
        self.row("rate", "SendCommand, p99", got["p99_ms"], "ms")
        self.must("rate", "SendCommand not accepted", len(sent) == got["ok"] == got["issued"],
                  got["issued"] - got["ok"])
        self.row("rate", "plane CPU per command", (self.cpu_s() - cpu) * 1000 / max(len(sent), 1), "ms")
        self.row("rate", "swarm CPU per command", (self.swarm_cpu_s() - swarm_cpu) * 1000 / max(len(sent), 1), "ms")
        self.row("rate", "plane CPU", (self.cpu_s() - cpu) / took * 100, "% of a core")
        self.end_calls("rate")

    def restart(self):
        n = self.nodes
        self.tell_all("mark")
        swarm_cpu, then = self.swarm_cpu_s(), time.monotonic()
        self.plane.kill()
        self.plane.start(wait=False)
        go_before(self.plane.pid, 0)
        flsandbox.wait_for("fairlead-server ready", self.plane.ready)
        up = time.monotonic()
        self.row("restart", "until the plane was ready again", up - then, "s")
        end_perf = self.perf("restart")
        self.begin_calls()
        self.wait_online(n, 240)
        self.row("restart", "until all are back", time.monotonic() - then, "s", 60)
        end_perf()
        self.herd_rows("restart", n, 0, swarm_cpu)
        self.end_calls("restart")
        tries = self.result["restart"]["tries"]
        self.row("restart", "most tries in a second", max(tries, default=0) / n * 100, "% of nodes", TRIES_PERCENT)

    # ---- nothing lost, nothing twice ----

    def account(self):
        jobs = {}
        for i, swarm in enumerate(self.swarms):
            path = self.folder / f"jobs{i}"
            swarm.ask("jobs", path)
            for line in path.read_text().splitlines():
                command, node, came = line.split()
                jobs[command, node] = int(came)
        flsandbox.wait_for("the last replies", lambda: (
            lambda s: s["replies"] == s["replies_acked"])(self.stats()), 60, 0.5)
        stats = self.stats()
        listed, token, pages = {}, {}, []
        api = flapi.KeptApi(self.plane.api)
        while True:
            then = time.monotonic()
            page = api.call("ListCommandInvocations", MaxResults=50, **token)
            pages.append(time.monotonic() - then)
            for inv in page["CommandInvocations"]:
                listed[inv["CommandId"], inv["InstanceId"]] = inv["Status"]
            if not page.get("NextToken"):
                break
            token = {"NextToken": page["NextToken"]}
        api.close()
        self.row("account", "a page of 50 invocations, mean", sum(pages) / len(pages) * 1000, "ms", PAGE_MS)
        self.row("account", "a page of 50 invocations, slowest", max(pages) * 1000, "ms")
        commands = {k[0] for k in listed}
        lost = self.accepted - commands
        self.must("account", "commands accepted", True, len(self.accepted))
        self.must("account", "accepted and not listed by the plane", not lost, len(lost))
        self.must("account", "run on nodes and not listed", not set(jobs) - set(listed), len(set(jobs) - set(listed)))
        self.must("account", "listed and not run", not set(listed) - set(jobs), len(set(listed) - set(jobs)))
        unfinished = sum(1 for s in listed.values() if s != "Success")
        self.must("account", "invocations that did not succeed", unfinished == 0, unfinished)
        self.must("account", "listed that nobody asked for", commands <= self.accepted,
                  len(commands - self.accepted))
        self.must("account", "acknowledgements of unknown replies", stats["unknown_acks"] == 0, stats["unknown_acks"])
        self.row("account", "jobs sent to a node that had them", stats["duplicates"], "")
        self.row("account", "replies sent again", stats["replies_sent"] - stats["replies"], "")

    # ---- all of it ----

    def run(self):
        scale = self.args.scale
        wanted = [s for s in SCENARIOS if not self.args.only or self.args.only in s]
        if not wanted:
            raise SystemExit(f"no scenario with \"{self.args.only}\" in its name")
        sizes = {"sessions": 0, "idle": IDLE, "herd": IDLE, "command": COMMAND, "rate": RATE_NODES, "restart": IDLE}
        nodes = max(int(max(sizes[s] for s in wanted) * scale), 8)
        part = {"sessions": max(int(SESSIONS * scale), 5), "herd": max(int(HERD * scale), 4), "command": max(int(COMMAND * scale), 4)}
        seconds = self.args.seconds or RATE_S
        self.start(nodes, part["command"] if "command" in wanted else 0)
        steps = {
            "idle": self.idle,
            "herd": lambda: self.herd(part["herd"]),
            "command": lambda: self.command(part["command"]),
            "rate": lambda: self.rate(max(RATE * min(scale * 10, 1), 5), seconds,
                                      max(min(int(RATE_NODES * scale), (nodes + 1) // 2), 4)),
            "restart": self.restart,
            "sessions": lambda: crowd.run(self, part["sessions"]),
        }
        for s in wanted:
            self.say(s)
            if time.monotonic() > self.began + LIMIT_S - 60:
                raise flsandbox.SandboxError(f"no time left for {s}")
            steps[s]()
        self.say("accounting")
        self.account()

    def stop(self):
        for s in [*self.swarms, self.probe]:
            if s and s.stop() != 0:
                self.must("end", "the swarm's exit status", False, s.child.returncode)
        self.plane.end_everything()

    def print_table(self):
        width = max(len(r["what"]) for r in self.rows)
        for r in self.rows:
            v = r["value"]
            text = f"{v:,.0f}" if isinstance(v, int) or abs(v) >= 1000 else f"{v:.2f}"
            limit = "" if r["budget"] is None else f"{'>=' if r['at_least'] else '<='} {r['budget']:g}"
            print(f"{r['scenario']:8} {r['what']:{width}} {text:>12} {r['unit']:12} {limit:9} "
                  f"{'' if r['ok'] else 'NOT MET'}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=str(flsandbox.default_build()))
    p.add_argument("--only", metavar="WORD", help="only scenarios whose name holds WORD")
    p.add_argument("--scale", type=float, default=1.0, help="fleet size, 1: 15,000 nodes")
    p.add_argument("--seconds", type=float, help=f"of the scenario `rate` (default {RATE_S})")
    p.add_argument("--idle-s", type=float, default=30, help="how long the idle fleet is watched")
    p.add_argument("--settle-s", type=float, default=32, help="before memory is read: until nodes have closed the "
                   "connections of their API calls and the plane has given memory back")
    p.add_argument("--json", help="where the figures go (default: BUILD/load.json)")
    p.add_argument("--perf", metavar="DIR", help="perf's recordings of the plane go here")
    args = p.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-load-"))
    load = Load(args, folder)
    go_before(os.getpid(), 0)
    try:
        load.run()
    except flsandbox.SandboxError as e:
        load.must("end", str(e).replace("\n", " "), False)
    finally:
        go_before(os.getpid(), -NICE_ALL)  # as it was: the caller's session is ours
        load.stop()
        reports = [line for log in folder.rglob("*.log") for line in log.read_text(errors="replace").splitlines()
                   if any(m in line for m in flsandbox.SANITIZER_MARKS)]
        if reports:
            load.must("end", reports[0], False, len(reports))
        shutil.rmtree(folder, ignore_errors=True)
    out = pathlib.Path(args.json or pathlib.Path(args.build) / "load.json")
    out.write_text(json.dumps({"scale": args.scale, "rows": load.rows, "details": load.result}, indent=1) + "\n")
    load.print_table()
    return 0 if all(r["ok"] for r in load.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
