"""Runs inside the machine that run.py boots, as a service: the units under a real systemd.

Prints "RESULT <check> ok" or "RESULT <check> FAILED: <why>" to the console, is rebooted twice, the second time by a
document, and powers off at the end.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, "/usr/lib/fairlead-test")
import flapi  # noqa: E402

STATE = pathlib.Path("/var/lib/fairlead-test.json")
DATA = pathlib.Path("/var/lib/fairlead-server")
BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
REBOOT_LIMIT_S = 300
GROUP = pathlib.Path("/sys/fs/cgroup/system.slice/fairlead-agent.service")
AGENT, SERVER = "fairlead-agent.service", "fairlead-server.service"
ENDED = ("Success", "Failed", "Cancelled", "TimedOut")
# Of the drop-in that run.py installs: small, so that a fork bomb does not need the machine's memory.
TASKS_MAX, RESERVE = 600, 256


def sh(*argv, check=True, timeout=120):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def wait(what, test, timeout_s=180):
    limit = time.monotonic() + timeout_s
    while True:
        try:
            value = test()
        except (OSError, flapi.ApiError):
            value = None
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.3)


def recalled(path=STATE):
    return json.loads(path.read_text()) if path.exists() else {}


def remember(**things):
    STATE.write_text(json.dumps(dict(recalled(), **things)))


def prop(unit, name):
    return sh("systemctl", "show", "--value", "-p", name, unit).strip()


class Node:
    """The one node, and the plane's API as its administrator."""

    def __init__(self):
        key, secret = flapi.read_credentials(DATA / "admin-credentials")
        self.api = flapi.Api("https://localhost:8443", str(DATA / "pki/ca.crt"), key, secret)
        self.id = recalled().get("node")

    def connected(self):
        return self.id and self.api.call("GetConnectionStatus", Target=self.id)["Status"] == "connected"

    def online(self):
        wait("the node online", self.connected)

    def send(self, *lines):
        return self.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[self.id],
                             Parameters={"commands": list(lines)})["Command"]["CommandId"]

    def get(self, command):
        return self.api.call("GetCommandInvocation", CommandId=command, InstanceId=self.id)

    def ended(self, command, timeout_s=180):
        def over():
            got = self.get(command)
            return got if got["Status"] in ENDED else None
        return wait(f"command {command} to end", over, timeout_s)

    def began(self, command, path):
        wait(f"{path} of {command}", lambda: os.path.exists(path))

    def run(self, *lines, timeout_s=180):
        return self.ended(self.send(*lines), timeout_s)

    def works(self, word, timeout_s=180):
        got = self.run(f"echo {word}", timeout_s=timeout_s)
        assert (got["Status"], got["StandardOutputContent"]) == ("Success", word + "\n"), got


# ---- before the reboot ----

def units_are_valid():
    units = [f"/usr/local/lib/systemd/system/{u}" for u in (AGENT, SERVER)]
    out = sh("systemd-analyze", "verify", *units)
    assert "fairlead" not in out, out


def exposure_of_the_server():
    out = sh("systemd-analyze", "security", "--no-pager", SERVER)
    level = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", out)[1])
    print(f"systemd-analyze security {SERVER}: {level}", flush=True)
    assert level <= 1.5, out


def agent_waits_for_its_registration():
    sh("systemctl", "start", AGENT)
    assert prop(AGENT, "ActiveState") == "inactive" and prop(AGENT, "ConditionResult") == "no"


def plane_starts():
    sh("fairlead-server", "init", "--host", "localhost", "--bind", "127.0.0.1")
    sh("systemctl", "enable", "--now", SERVER)
    assert prop(SERVER, "ActiveState") == "active"
    pid = prop(SERVER, "MainPID")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert not re.search(r"^Uid:\s+0\b", status, re.M) and re.search(r"^Seccomp:\s+2$", status, re.M), status
    # The administrator's command works beside it, and a restart after that does.
    sh("fairlead-server", "admin", "user", "add", "somebody")
    sh("systemctl", "restart", SERVER)
    assert Node().api.get("/readyz")[0] == 200
    sh("systemctl", "reload", SERVER)
    wait("the certificate to be read again", lambda: "server certificate read again" in
         sh("journalctl", "--no-pager", "-o", "cat", "-u", SERVER))


def agent_registers_and_runs():
    node = Node()
    act = node.api.call("CreateActivation", IamRole="any", RegistrationLimit=1)
    sh("fairlead-agent", "-register", "-y", "-id", act["ActivationId"], "-code", act["ActivationCode"], "-region",
       "local", "--endpoint", "https://localhost:8443", "--ca-file", "/etc/fairlead/ca.crt")
    node.id = json.loads(pathlib.Path("/var/lib/fairlead/registration").read_text())["ManagedInstanceID"]
    remember(node=node.id, code=act["ActivationCode"])
    sh("systemctl", "enable", "--now", AGENT)
    node.online()
    node.works("hi")


def groups_of_documents():
    node = Node()
    command = node.send("touch /run/began-group", "sleep 1000")
    node.began(command, "/run/began-group")
    group = GROUP / "documents" / command
    each = (TASKS_MAX - RESERVE) // 2
    assert (GROUP / "documents/pids.max").read_text() == f"{TASKS_MAX - RESERVE}\n"
    assert (group / "pids.max").read_text() == f"{each}\n"
    assert int((group / "pids.current").read_text()) >= 3  # worker, sh, sleep
    main = prop(AGENT, "MainPID")
    assert pathlib.Path(f"/proc/{main}/cgroup").read_text().strip().endswith("/fairlead-agent.service")
    node.api.call("CancelCommand", CommandId=command)
    assert node.ended(command)["Status"] == "Cancelled"
    wait("nobody left in it", lambda: not group.exists() or
         (group / "cgroup.events").read_text().startswith("populated 0"))
    node.works("after-the-group")
    assert not group.exists()


def restart_during_a_document():
    node = Node()
    command = node.send("touch /run/began-restart", "echo once >> /run/times", "while [ ! -e /run/go-on ]; do sleep 0.2; "
                        "done", "echo done")
    node.began(command, "/run/began-restart")
    before = prop(AGENT, "MainPID")
    sh("systemctl", "restart", AGENT)
    os.kill(int(prop(AGENT, "MainPID")), signal.SIGKILL)
    wait("a new main process", lambda: prop(AGENT, "MainPID") not in ("0", before))
    node.online()
    assert (GROUP / "documents" / command).is_dir()
    pathlib.Path("/run/go-on").touch()
    got = node.ended(command)
    assert (got["Status"], got["StandardOutputContent"]) == ("Success", "done\n"), got
    assert pathlib.Path("/run/times").read_text() == "once\n"


def stop_during_a_document():
    node = Node()
    command = node.send("touch /run/began-stop", "sleep 5", "echo survived")
    node.began(command, "/run/began-stop")
    sh("systemctl", "stop", AGENT)
    assert prop(AGENT, "ActiveState") == "inactive"
    net = [p for p in pathlib.Path("/proc").glob("[0-9]*/comm") if p.read_text().strip() == "fairlead-net"]
    assert not net
    sh("systemctl", "start", AGENT)
    got = node.ended(command)
    assert (got["Status"], got["StandardOutputContent"]) == ("Success", "survived\n"), got


def fork_bomb():
    """Its document's limit holds; the agent stays connected, runs other documents, and can cancel it."""
    node = Node()
    restarts = prop(AGENT, "NRestarts")
    command = node.send("touch /run/began-bomb", "bomb() { bomb | bomb & }; bomb; sleep 1000")
    node.began(command, "/run/began-bomb")
    group = GROUP / "documents" / command
    wait("the limit to be met", lambda: int(re.search(
        r"max (\d+)", (group / "pids.events").read_text())[1]) > 0)
    current = int((group / "pids.current").read_text())
    assert current <= (TASKS_MAX - RESERVE) // 2, current
    assert node.connected()
    node.works("reachable", timeout_s=300)
    assert "cannot fork" not in sh("journalctl", "--no-pager", "-o", "cat", "-u", AGENT)
    node.api.call("CancelCommand", CommandId=command)
    assert node.ended(command, 300)["Status"] == "Cancelled"
    node.works("after-the-bomb", timeout_s=300)
    wait("nobody left of the bomb", lambda: not group.exists() or
         (group / "cgroup.events").read_text().startswith("populated 0"))
    node.works("and-its-group-goes")
    assert not group.exists()
    assert prop(AGENT, "NRestarts") == restarts


def memory_hog():
    """The kernel ends it; the unit goes on."""
    node = Node()
    restarts, pid = prop(AGENT, "NRestarts"), prop(AGENT, "MainPID")
    got = node.run("python3 -c 'b=[]\nwhile True: b.append(bytearray(1<<24))'", timeout_s=300)
    assert got["Status"] in ("Failed", "TimedOut") and got["ResponseCode"] == 137, got
    assert (prop(AGENT, "NRestarts"), prop(AGENT, "MainPID")) == (restarts, pid)
    node.online()
    node.works("still-there")


def a_document_is_running_when_the_machine_goes_down():
    node = Node()
    command = node.send("touch /var/lib/began-reboot", "sleep 1000")
    node.began(command, "/var/lib/began-reboot")
    remember(interrupted=command)


# ---- after it ----

def units_come_back():
    for unit in (SERVER, AGENT):
        wait(f"{unit} active", lambda: prop(unit, "ActiveState") == "active")
    Node().online()


def the_interrupted_document_is_reported_and_not_repeated():
    node = Node()
    got = node.ended(recalled()["interrupted"])
    assert got["Status"] == "Failed" and "interrupted" in got["StandardErrorContent"], got
    node.works("after-the-reboot")


def a_document_asks_for_a_reboot():
    """Here main() ends: the agent has /sbin/shutdown reboot the machine in a minute."""
    node = Node()
    command = node.send("echo run >> /var/lib/reboot-runs", "echo before", "[ $(wc -l < /var/lib/reboot-runs) -gt 1 ] || "
                        "exit 194", f"echo since {BOOT_ID.read_text().strip()} && cat {BOOT_ID}")
    remember(rebooting=command, boot=BOOT_ID.read_text().strip())
    wait("the reboot asked for", lambda: "a document wants the machine rebooted" in
         sh("journalctl", "--no-pager", "-b", "-o", "cat", "-u", AGENT))
    wait("the reboot scheduled", lambda: os.path.exists("/run/systemd/shutdown/scheduled"), 60)
    # Neither a restart of the agent nor its death is a reboot.
    sh("systemctl", "restart", AGENT)
    os.kill(int(prop(AGENT, "MainPID")), signal.SIGKILL)
    node.online()
    assert node.get(command)["Status"] == "InProgress"
    assert pathlib.Path("/var/lib/reboot-runs").read_text() == "run\n"


# ---- after that ----

def the_document_went_on():
    node = Node()
    got = node.ended(recalled()["rebooting"])
    now = BOOT_ID.read_text().strip()
    assert now != recalled()["boot"]
    assert (got["Status"], got["ResponseCode"]) == ("Success", 0), got
    assert got["StandardOutputContent"] == f"before\nbefore\nsince {recalled()['boot']}\n{now}\n", got
    assert pathlib.Path("/var/lib/reboot-runs").read_text() == "run\nrun\n"
    node.works("after-the-documents-reboot")


def no_secret_in_the_journal():
    text = sh("journalctl", "--no-pager", "-o", "cat", "-u", AGENT, "-u", SERVER)
    assert "online" in text
    _, secret = flapi.read_credentials(DATA / "admin-credentials")
    for word in (secret, recalled()["code"], "PRIVATE KEY"):
        assert word not in text


STAGES = [
    [units_are_valid, agent_waits_for_its_registration, plane_starts, exposure_of_the_server,
     agent_registers_and_runs, groups_of_documents, restart_during_a_document, stop_during_a_document, fork_bomb,
     memory_hog, a_document_is_running_when_the_machine_goes_down],
    [units_come_back, the_interrupted_document_is_reported_and_not_repeated, a_document_asks_for_a_reboot],
    [units_come_back, the_document_went_on, no_secret_in_the_journal],
]


def main():
    stage = recalled().get("stage", 0)
    failed = False
    for check in STAGES[stage]:
        began = time.monotonic()
        try:
            if check is agent_registers_and_runs:
                pathlib.Path("/etc/fairlead").mkdir(exist_ok=True)
                pathlib.Path("/etc/fairlead/ca.crt").write_bytes((DATA / "pki/ca.crt").read_bytes())
            check()
            print(f"RESULT {check.__name__} ok {time.monotonic() - began:.1f} s", flush=True)
        except Exception as e:  # each check needs those before it
            failed = True
            print(f"RESULT {check.__name__} FAILED: {e!r}", flush=True)
            break
    if failed:
        print(sh("journalctl", "--no-pager", "-b", "-n", "150", "-o", "short-monotonic", check=False), flush=True)
        sh("systemctl", "poweroff", check=False)
    elif stage + 1 < len(STAGES):
        remember(stage=stage + 1)
        if a_document_asks_for_a_reboot in STAGES[stage]:
            time.sleep(REBOOT_LIMIT_S)
            print("RESULT the document's reboot FAILED: it did not come", flush=True)
            sh("systemctl", "poweroff", check=False)
        sh("systemctl", "reboot", check=False)
    else:
        print("RESULT end ok", flush=True)
        sh("systemctl", "poweroff", check=False)


main()
