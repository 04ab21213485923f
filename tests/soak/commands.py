"""100,000 commands through one plane: it grows by their rows and by nothing else, and forgets them in time."""
import concurrent.futures
import datetime
import sqlite3
import threading
import time

import fastclock
import flapi
import flsandbox
import meter
import refnode

NAME = "commands"
ABOUT = "100,000 commands through one plane, then their retention"
COMMANDS = 100_000
NODES = 2
SENDERS = 8
SAMPLES = 50
TABLES = ("command", "command_state", "command_job", "invocation", "invocation_step", "command_cancel")
MARGIN_KB = 4096   # of a database that is used again: its pages are found free, but not each in its place


class Nodes:
    """Reference nodes that answer; counts what they were sent."""

    def __init__(self, plane, n):
        self.lock, self.jobs = threading.Lock(), {}
        activation = plane.activation(limit=n)
        self.nodes = [refnode.RefNode(plane.endpoint, plane.ca_file) for _ in range(n)]
        for node in self.nodes:
            node.on_job = lambda message, outer, content, node=node: self.answer(node, message, outer, content)
            node.online(activation)

    def answer(self, node, message, outer, content):
        with self.lock:
            self.jobs[content["CommandId"]] = self.jobs.get(content["CommandId"], 0) + 1
        node.jobs.clear()
        node.acked.clear()
        node.answer_success(message, outer, content)

    def close(self):
        for node in self.nodes:
            node.close()


def rows(plane):
    db = sqlite3.connect(f"file:{database(plane)}?mode=ro", uri=True)
    try:
        return {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}
    finally:
        db.close()


def database(plane):
    return plane.data / "db/fairlead.db"


def send(plane, nodes, n, each):
    """Sends n commands from several threads; each(sent) is called now and then."""
    numbers, lock, local = iter(range(n)), threading.Lock(), threading.local()

    def one_thread():
        local.api = flapi.KeptApi(plane.api)
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return local.api.close()
            local.api.call("SendCommand", DocumentName="AWS-RunShellScript",
                           InstanceIds=[nodes.nodes[i % NODES].node_id],
                           Parameters={"commands": ["echo hi"]})
            each(i + 1)

    with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
        for f in [pool.submit(one_thread) for _ in range(SENDERS)]:
            f.result()


def open_commands(plane):
    found = plane.api.call("ListCommands", MaxResults=50, Filters=[{"key": "ExecutionStage", "value": "Executing"}])
    return found["Commands"]


def run(run):
    n = run.count(COMMANDS, least=100)
    with flsandbox.Sandbox(nodes=0, build=run.build, folder=run.place) as box:
        grow(run, box.plane, n)
        forget(run, box.plane, n)


def grow(run, plane, n):
    nodes, meters, started = Nodes(plane, NODES), meter.Meter(plane), time.monotonic()
    empty = meter.folder(plane.data)

    def each(sent):
        if sent % max(1, n // SAMPLES) == 0:
            meters.take()
        if sent % max(1, n // 10) == 0:
            run.say(f"        {sent} commands, {time.monotonic() - started:.0f} s, {meter.folder(plane.data)}")

    try:
        send(plane, nodes, n, each)
        flsandbox.wait_for("every command to end", lambda: not open_commands(plane), 120, 0.3)
        seconds = time.monotonic() - started
        have, disk = rows(plane), meter.folder(plane.data)
        run.figure("commands a second", round(n / seconds, 1))
        run.figure("rows", have)
        run.figure("bytes on disk a command", round((disk["kB"] - empty["kB"]) * 1024 / n))
        run.figure("server's log lines", len(plane.log.read_text().splitlines()))
        run.check("every command reached its node once", len(nodes.jobs) == n and set(nodes.jobs.values()) == {1},
                  (len(nodes.jobs), max(nodes.jobs.values())))
        run.check("every command has its rows", have["command"] == have["invocation"] == n, have)
        run.check("nothing waits", have["command_cancel"] == 0, have)
        meters.judge(run, ["fairlead-server"])
    finally:
        nodes.close()


def forget(run, plane, n):
    """The same plane 31 days later: it forgets, and the room is used again."""
    before = meter.folder(plane.data)["kB"]
    plane.stop()
    later = datetime.timedelta(days=31)
    plane.extra_env = {"LD_PRELOAD": fastclock.library(), "FAKETIME": f"+{later.total_seconds():.0f}", "NO_FAKE_STAT": "1"}
    plane.start()
    started = time.monotonic()
    flsandbox.wait_for("every command to be forgotten", lambda: rows(plane)["command"] == 0, 60 + n / 200, 0.2)
    left = rows(plane)
    run.figure("seconds to forget", round(time.monotonic() - started, 1), "s")
    run.check("every row is gone", not any(left.values()), left)
    plane.stop()
    fastclock.sweep()
    plane.extra_env = {}
    plane.start()
    nodes, again = Nodes(plane, NODES), max(50, n // 20)
    try:
        send(plane, nodes, again, lambda sent: None)
        flsandbox.wait_for("every command to end", lambda: not open_commands(plane), 120, 0.3)
    finally:
        nodes.close()
    after = meter.folder(plane.data)["kB"]
    run.figure("disk full, and used again", [before, after], "kB")
    run.check("the room is used again", after <= before + MARGIN_KB, f"{before} -> {after} kB")
