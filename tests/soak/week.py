"""The plane is away for a simulated week: it refuses connections, takes them and is silent, fails, refuses again.

What is held while a try is under way differs from one to the next: it ends as it began, so that like is compared with like."""
import pathlib
import socket
import time

import fastclock
import flsandbox
import meter
import refplane

NAME = "week"
ABOUT = "the plane is away for a simulated week, then comes back"
WEEK_S = 7 * 86400
RATE = 2500       # of the clock while the plane is away
BACK_RATE = 40    # and when it is back: a handshake must fit the timeouts
SAMPLES = 60
LOG_LINES = 150   # two troubles, each told some fifty times a week
OPERATIONS = ("RequestManagedInstanceRoleToken", "UpdateInstanceInformation", "CreateControlChannel")


class Always(list):
    """Answers of RefPlane.fail that never run out."""

    def pop(self, *args):
        return self[0]


class Silent:
    """Takes connections in the plane's place and says nothing; lets go of them after a while."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)

    def close(self):
        self.listener.close()


def fail(plane, wanted):
    for op in OPERATIONS:
        if wanted:
            plane.fail[op] = Always([(503, "ServiceUnavailable")])
        else:
            plane.fail.pop(op, None)


def sleep_sampling(seconds, samples, meters):
    for _ in range(samples):
        time.sleep(seconds / samples)
        meters.take()
        fastclock.sweep()  # thousands of short processes: their pids come round


def run(run):
    if not fastclock.library():
        raise RuntimeError("libfaketime is missing: scripts/deps --test installs it")
    plane = refplane.RefPlane(run.place)
    clock = fastclock.FastClock(run.place)
    agent = flsandbox.Agent(run.place / "agent", run.build, plane.endpoint, plane.ca_file)
    agent.register(plane.activation)
    agent.extra_env = clock.env()
    try:
        agent.start()
        clock.start()
        plane.clock = clock.now
        plane.wait_online()
        plane.shell("echo before")
        plane.ack_replies = False  # this one's replies are still owed when the plane goes
        plane.shell("echo owed")
        stay_away(run, plane, clock, agent)
        come_back(run, plane, clock, agent)
    finally:
        agent.end_everything()
        plane.close()
        clock.close()


def stay_away(run, plane, clock, agent):
    folders = lambda: meter.folder(agent.folder)  # noqa: E731
    meters, before = meter.Meter(agent), folders()
    left = clock.now()
    plane.go()
    clock.run(RATE)
    part_s = WEEK_S * run.scale / RATE / 4
    each = max(5, int(SAMPLES * min(1, run.scale * 5) / 4))

    sleep_sampling(part_s, each, meters)      # refuses
    silent = Silent(plane.port)
    sleep_sampling(part_s, each, meters)      # is silent
    silent.close()
    fail(plane, True)
    plane.come()
    sleep_sampling(part_s, each, meters)      # fails
    plane.go()
    fail(plane, False)
    sleep_sampling(part_s, each, meters)      # refuses

    lines = fastclock.own_lines(agent.log)
    after = folders()
    log_kb = agent.log.stat().st_size // 1024
    run.figure("simulated hours away", round((clock.now() - left) / 3600, 1), "h")
    run.figure("requests seen while failing", len(plane.requests))
    run.figure("log lines", len(lines))
    run.figure("disk before, after", [before["kB"], after["kB"]], "kB")
    run.figure("files before, after", [before["files"], after["files"]])
    meters.judge(run, ["fairlead-agent", "fairlead-agent-net"])
    run.check("disk is bounded", after["kB"] - log_kb <= before["kB"] + 64, f"{before['kB']} -> {after['kB']} kB")
    run.check("files are bounded", after["files"] <= before["files"] + 2, f"{before['files']} -> {after['files']}")
    run.check("the log is bounded", len(lines) <= LOG_LINES, f"{len(lines)} lines")


def come_back(run, plane, clock, agent):
    opened = plane.channels_opened
    plane.requests.clear()
    plane.ack_replies = True
    clock.run(BACK_RATE)
    plane.come()
    started = clock.now()
    try:
        plane.wait(lambda: plane.channels_opened > opened, 90, "back")
    except AssertionError:
        run.check("the agent comes back", False, flsandbox.tail(agent.log, 8))
        return
    run.figure("simulated minutes until back", round((clock.now() - started) / 60, 1), "min")
    job = plane.shell("echo back")
    run.check("the agent comes back and works", job.final()["documentStatus"] == "Success",
              job.final()["documentStatus"])
    owed = pathlib.Path(agent.state / "jobs")
    flsandbox.wait_for("no job left open", lambda: not list(owed.iterdir()), 30)
    run.check("the protocol was kept", not plane.violations, plane.violations[:3])
