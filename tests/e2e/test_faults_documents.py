"""A document of every kind of step under fire: it asks for a reboot, fails with onFailure, ends with a finallyStep, and
monitor, net and worker are killed at each record of its journal. `make check-faults` goes through all of them, `make
check` through some. The agent runs with a boot id that is a file of the test: a reboot is another one in it."""
import signal
import struct
import threading
import time
import uuid

import pytest

import flproc
import flsandbox
import refplane
from test_faults_agent import (LONG, NOTICE_S, as_root, fast, fast_agent, long, needs_faketime, revive,  # noqa: F401
                               role, went_offline)

BOOT_ID = "/proc/sys/kernel/random/boot_id"
N_RECORDS = 20  # of the document below, from its first to its last


class Machine:
    """An agent on a machine that can be rebooted, as far as the agent can tell."""

    def __init__(self, plane, new_agent, folder, config=None):
        self.plane, self.boot_id, self.asked = plane, folder / "boot_id", folder / "asked"
        self.boot_id.write_text(f"{uuid.uuid4()}\n")
        config = config or {}
        self.agent = new_agent(plane, start=False, config={
            **config, "Fairlead": {**config.get("Fairlead", {}), "RebootCommand": f"echo asked >> {self.asked}"}})
        plain = self.agent.argv
        script = f'mount --make-rprivate / && mount --bind "$1" {BOOT_ID} && shift && exec "$@"'
        self.agent.argv = lambda *args: ["unshare", "-m", "sh", "-c", script, "sh", self.boot_id, *plain(*args)]
        self.agent.start()
        plane.wait_online()
        self.agent.note()

    def keep_up(self):
        """systemd's part."""
        if not self.agent.running():
            self.agent.child.wait()
            self.agent.start()

    def times_asked(self):
        return self.asked.read_text().count("asked\n") if self.asked.exists() else 0

    def boot(self):
        """Power off, power on."""
        for pid in [self.agent.pid, *self.agent.below()]:
            flproc.kill(pid, signal.SIGKILL)
        self.agent.child.wait()
        with open(self.boot_id, "r+") as f:  # the file itself is what is mounted
            f.write(f"{uuid.uuid4()}\n")
        self.agent.start()


class Document:
    """ok; a reboot; a failure that ends it; what is skipped; what runs all the same."""

    steps = ("ok", "reboot", "fail", "skipped", "end")

    def __init__(self, machine):
        self.machine, self.marks = machine, machine.agent.folder / f"marks-{time.monotonic_ns()}"
        mark = f"echo $$ >> {self.marks}."
        inputs = {
            "ok": {"runCommand": [f"{mark}ok", "echo ok"]},
            "reboot": {"runCommand": [f"{mark}reboot", "echo here", f"[ $(wc -l < {self.marks}.reboot) -gt 1 ] || exit 194"]},
            "fail": {"runCommand": [f"{mark}fail", "exit 3"], "onFailure": "exit"},
            "skipped": {"runCommand": [f"{mark}skipped"]},
            "end": {"runCommand": [f"{mark}end", "echo end"], "finallyStep": True},
        }
        self.command, self.asked_before = str(uuid.uuid4()), machine.times_asked()
        self.job = machine.plane.send_job({"schemaVersion": "2.2", "mainSteps": [
            {"action": "aws:runShellScript", "name": n, "inputs": inputs[n]} for n in self.steps]}, command_id=self.command)

    def runs(self, step):
        path = self.marks.with_name(f"{self.marks.name}.{step}")
        return len(path.read_text().splitlines()) if path.exists() else 0

    def records(self):
        """Whole records in its journal."""
        for folder in ("jobs", "done"):
            try:
                data = (self.machine.agent.state / folder / self.command / "journal").read_bytes()
                break
            except OSError:
                data = b""
        n = at = 0
        while at + 8 <= len(data):
            size = struct.unpack_from("=I", data, at)[0]
            if size == 0 or at + 8 + size > len(data):
                break
            n, at = n + 1, at + 8 + size
        return n

    def waits_for_boot(self):
        return any(i["documentStatus"] == "SuccessAndReboot" for _, i, _ in self.job.replies)

    def settle(self):
        """To its end: the agent is revived, the machine is booted when the document waits for that."""
        booted, limit = False, time.monotonic() + 60
        while not self.job.final() and time.monotonic() < limit:
            self.machine.keep_up()
            if self.waits_for_boot() and not booted and self.machine.times_asked() > self.asked_before:
                self.machine.boot()
                booted = True
                continue
            if not self.job.acks:
                try:
                    self.machine.plane.channel.send_binary(self.job.frame)
                except (OSError, AttributeError):
                    pass
            with self.machine.plane.changed:
                self.machine.plane.changed.wait_for(self.job.final, 0.2)

    def check(self, where):
        replies = self.job.replies
        finals = [i for _, i, _ in replies if i["documentStatus"] not in ("InProgress", "SuccessAndReboot")]
        assert len(finals) == 1, (where, replies)
        assert finals[0]["documentStatus"] == "Failed", (where, finals)
        steps = self.job.steps()
        if finals[0]["runtimeStatus"] is None:
            raise AssertionError((where, finals))
        assert set(steps) == set(self.steps), (where, sorted(steps))
        good = {"ok": "Success", "reboot": "Success", "fail": "Failed", "skipped": "Skipped", "end": "Success"}
        for name in self.steps:
            interrupted = "was interrupted" in steps[name]["standardError"]
            assert self.runs(name) <= (2 if name == "reboot" else 1), (where, name, self.runs(name))
            assert steps[name]["status"] == ("Failed" if interrupted else good[name]), (where, name, steps[name])
            if not interrupted and name != "skipped":
                assert self.runs(name) == (2 if name == "reboot" else 1), (where, name)
        assert self.runs("skipped") == 0, where
        if steps["reboot"]["status"] == "Success":
            assert steps["reboot"]["standardOutput"] == "here\nhere\n", (where, steps["reboot"])


def kill_at(machine, name, n):
    """The document, with that process killed once its journal has n records."""
    document = Document(machine)
    stop, killed = threading.Event(), []

    def watch():
        while not stop.is_set() and document.records() < n:
            time.sleep(0.0005)
        if not stop.is_set():
            for pid in role(machine.agent, name):
                flproc.kill(pid, signal.SIGKILL)
                killed.append(pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    document.settle()
    stop.set()
    watcher.join()
    revive(machine.agent, machine.plane)
    document.check(f"{name} at record {n}")
    return bool(killed)


@as_root
@pytest.mark.parametrize("name", ["worker", "monitor", "net"])
def test_killed_at_every_record(ref_plane, new_agent, tmp_path, name):
    machine = Machine(ref_plane, new_agent, tmp_path)
    points = range(1, N_RECORDS + 1) if LONG else range(1, N_RECORDS + 1, 5)
    kills = sum(kill_at(machine, name, n) for n in points)
    # On a busy machine a document may be over before it is noticed that the record is there.
    print(f"{name}: killed in {kills} of {len(points)} documents")


@as_root
def test_reboot_without_any_trouble(ref_plane, new_agent, tmp_path):
    """What is told, word for word: the vector of protocol 4 §6 with an onFailure in it."""
    machine = Machine(ref_plane, new_agent, tmp_path)
    document = Document(machine)
    ref_plane.wait(document.waits_for_boot, 30, "SuccessAndReboot")
    flsandbox.wait_for("the reboot asked for", lambda: machine.times_asked() == 1, 10)
    assert machine.agent.status()[1]["documents"][0]["state"] == "waiting for a reboot"
    machine.agent.stop()  # an agent that starts again in the same boot
    machine.agent.start()
    flsandbox.wait_for("the channel", lambda: ref_plane.channel is not None, 30)
    assert machine.times_asked() == 1 and document.runs("reboot") == 1
    told = [(i["documentStatus"], {k: s["status"] for k, s in (i["runtimeStatus"] or {}).items()})
            for _, i, _ in document.job.replies]
    assert told == [("InProgress", {}), ("InProgress", {"ok": "Success"}),
                    ("InProgress", {"reboot": "SuccessAndReboot"}), ("SuccessAndReboot", {})], told
    document.settle()
    document.check("no kill")
    assert document.records() == N_RECORDS
    assert document.job.final()["additionalInfo"]["runtimeStatusCounts"] == {"Success": 2, "Failed": 1, "Skipped": 1}
    assert machine.times_asked() == 1


@needs_faketime
@long
def test_plane_gone_between_two_steps(ref_plane, new_agent, tmp_path, fast):  # noqa: F811
    """For longer than replies wait to be sent again: the rest of the document runs, and all of it is told once."""
    agent = fast_agent(new_agent, ref_plane, fast)
    go, marks = tmp_path / "go", tmp_path / "marks"
    job = ref_plane.send_job(refplane.steps_document(
        f"echo 1 >> {marks}", f"echo 2 >> {marks}", f"while [ ! -e {go} ]; do sleep 0.1; done; echo 3 >> {marks}",
        f"echo 4 >> {marks}"))
    ref_plane.wait(lambda: "step2" in job.steps(), 20, "step2")
    ref_plane.go()
    go.touch()
    flsandbox.wait_for("the last step", lambda: marks.exists() and marks.read_text().endswith("4\n"), 20)
    flsandbox.wait_for("the agent to notice", lambda: went_offline(agent), (NOTICE_S + 10) / fast.rate + 3)
    time.sleep(6 * 60 / fast.rate)
    ref_plane.come()
    ref_plane.finished(job, 60)
    assert marks.read_text() == "1\n2\n3\n4\n"
    assert sorted(job.steps()) == ["step1", "step2", "step3", "step4"]
    assert job.final()["documentStatus"] == "Success"
