"""Many terminals on one node at once, by tests/bench/crowd.c: one process of the client's own code, our plane, and an
agent whose sessions run sh (what bash reads and starts would be most of the time, and of the memory)."""
import json
import os
import subprocess
import time

import flproc
import flsandbox
import newuser

CALLS = 50       # of StartSession under way at a time
SETTLE_S = 4     # until a session process has given back what its start needed
ECHO_MS = 5000   # all of them, asked at the same instant
PARTS = (("holder", "fairlead-holder"), ("session process", "fairlead-sess"))


class Crowd:
    def __init__(self, box, build, node, n, log):
        self.log = log
        with open(log, "wb") as err:
            self.child = subprocess.Popen([str(build / "tests/bench/crowd"), node, str(n), str(CALLS)], env=box.env(),
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
                                          preexec_fn=flproc.die_with_parent)

    def says(self):
        line = self.child.stdout.readline()
        if not line:
            raise flsandbox.SandboxError(f"the crowd ended\n{flsandbox.tail(self.log)}")
        return json.loads(line)

    def again(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.says()

    def exit(self):
        self.child.stdin.close()
        return self.says()

    def end(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def with_room_for(plane, n):
    """The plane takes so many sessions with one node."""
    init = plane.init

    def init_with_room():
        init()
        plane.configure(SessionsMaxPerNode=n)
    plane.init = init_with_room


def cpu_ms(box, agent):
    return {"plane": flproc.own_cpu_ns([box.plane.pid]) / 1e6, "monitor": flproc.own_cpu_ns([agent.child.pid]) / 1e6}


def started(load, box, agent, n, got, before):
    load.must("sessions", "that echo", got["echoed"] == n, got["echoed"])
    load.must("sessions", f"that failed {got['error']}".strip(), got["failed"] == 0, got["failed"])
    load.row("sessions", "until all have echoed", got["ms"] / 1e3, "s")
    load.row("sessions", "from call to prompt, p50", got["prompt_p50_ms"], "ms")
    load.row("sessions", "from call to prompt, slowest", got["prompt_max_ms"], "ms")
    for who, ms in cpu_ms(box, agent).items():
        load.row("sessions", f"CPU per session, {who}", (ms - before[who]) / n, "ms")
    time.sleep(SETTLE_S)
    for what, name in PARTS:
        pids = agent.below(name)
        load.must("sessions", f"processes: {what}", len(pids) == n, len(pids))
        load.row("sessions", f"CPU per session, {what}", flproc.own_cpu_ns(pids) / 1e6 / max(len(pids), 1), "ms")
        load.row("sessions", f"private memory of a {what}", flproc.memory_kb(pids)["Private"] / max(len(pids), 1), "kB")


def run(load, n):
    if os.geteuid() != 0:
        load.say("sessions: left out, they need root")
        return
    folder = load.folder / "sessions"
    folder.mkdir()
    box = flsandbox.Sandbox(nodes=0, build=load.build, folder=folder)
    with_room_for(box.plane, n)
    with box:
        home = newuser.Home(folder, "/bin/sh")
        node, agent = home.node(box), box.agents[0]
        before = cpu_ms(box, agent)
        crowd = Crowd(box, load.build, node, n, load.folder / "crowd.log")
        try:
            started(load, box, agent, n, crowd.says(), before)
            got = crowd.again()
            load.must("sessions", "that echo a second time, all at once", got["echoed"] == n, got["echoed"])
            load.row("sessions", "until all have", got["ms"], "ms", ECHO_MS)
            load.row("sessions", "until all shells exited and all sessions ended", crowd.exit()["ms"] / 1e3, "s")
            load.must("sessions", "exit status of the crowd", crowd.child.wait(60) == 0, crowd.child.returncode)
        finally:
            crowd.end()
        flsandbox.wait_for("the end of all holders", lambda: not agent.below("fairlead-holder"), 60, 0.2)
