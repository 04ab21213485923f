"""What arbitrary code in the place of net or fetch can do: nothing but talk.

takeover.c is installed as fairlead-agent-net and -fetch of a prefix of the test's own and started by a real
monitor. The tables below say what each thing it tries must meet.
"""
import errno
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import flproc
import flsandbox
import refplane

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing the user takes root")
PROGRAMS = ["fairlead-agent", "fairlead-agent-worker", "fairlead-agent-net", "fairlead-agent-fetch",
            "fairlead-agent-key", "fairlead-agent-policy", "fairlead-agent-unpack", "fairlead-agent-holder",
            "fairlead-agent-session"]

# What meets arbitrary code inside the filter. "A|B": which one depends on the machine. SIG31 is SIGSYS: the process is gone.
IN_SANDBOX = {
    # secrets and other people's work
    "read-vault": "EACCES", "read-registration": "EACCES", "list-state": "EACCES", "read-job": "EACCES",
    "read-config": "EACCES",
    # other processes
    "monitor-memory": "EACCES", "monitor-environ": "EACCES", "monitor-root": "EACCES", "monitor-fds": "EACCES",
    "trace-monitor": "SIG31", "read-monitor": "SIG31", "write-monitor": "SIG31", "signal-monitor": "EPERM",
    "signal-monitor-thread": "EPERM", "signal-fellow": "EPERM", "queue-signal": "EPERM", "open-pidfd": "ENOSYS",
    # files
    "write-file": "EPERM", "write-log": "EPERM", "make-directory": "EPERM", "delete-file": "EPERM",
    "rename-file": "EPERM", "make-setuid": "EPERM", "link-file": "EPERM", "make-device": "EPERM",
    "memory-file": "EPERM", "open-memory": "EACCES|ENOENT", "open-kernel-log": "EACCES|EPERM",
    # network
    "raw-socket": "EPERM", "raw-socket-v6": "EPERM", "packet-socket": "EPERM", "netfilter-socket": "EPERM",
    "kernel-crypto-socket": "EPERM", "vsock-socket": "EPERM", "listen-on-port": "EPERM", "status-socket": "EACCES",
    # processes
    "execute": "SIG31", "execute-at": "SIG31", "fork": "EPERM", "fork-by-clone": "EPERM", "fork-by-clone3": "ENOSYS",
    # the kernel
    "new-user-namespace": "EPERM", "enter-namespace": "EPERM", "mount": "EPERM", "chroot": "EPERM",
    "become-root": "EPERM", "kernel-keys": "EPERM", "add-kernel-key": "EPERM", "load-bpf": "SIG31",
    "perf-events": "EPERM", "io-uring": "ENOSYS", "userfaultfd": "EPERM", "load-module": "SIG31", "set-clock": "EPERM",
    "reboot": "EPERM", "raise-limits": "EPERM", "allow-core": "EPERM", "be-dumpable": "EPERM",
    "second-filter": "EPERM", "32-bit-abi": "SIG31", "x32-abi": "SIG31", "see-dumpable": "EACCES",
    # what it is there for
    "plain-socket": "ok", "read-public-file": "ok",
}

# What the monitor took away before the program began: holds even for a program that enters no sandbox.
BEFORE_SANDBOX = {
    "read-vault": "EACCES", "read-registration": "EACCES", "list-state": "EACCES", "read-job": "EACCES",
    "read-config": "EACCES", "monitor-memory": "EACCES", "monitor-environ": "EACCES", "monitor-root": "EACCES",
    "monitor-fds": "EACCES", "trace-monitor": "EPERM", "read-monitor": "EPERM", "write-monitor": "EPERM",
    "signal-monitor": "EPERM", "signal-monitor-thread": "EPERM", "queue-signal": "EPERM", "make-device": "EACCES",
    "open-memory": "EACCES|ENOENT", "raw-socket": "EPERM", "raw-socket-v6": "EPERM", "packet-socket": "EPERM",
    "mount": "EPERM", "chroot": "EPERM", "become-root": "EPERM", "load-module": "EPERM|ENOSYS", "set-clock": "EPERM",
    "reboot": "EPERM", "raise-limits": "EPERM", "allow-core": "EPERM", "make-setuid": "EPERM",
    "status-socket": "EACCES", "delete-file": "EACCES", "rename-file": "EACCES", "write-file": "EACCES",
    "make-directory": "EACCES", "link-file": "EACCES",
}


# What the compiler brings.
RUNTIME = {"libc", "libm", "libgcc_s", "libasan", "libubsan", "libtsan"}


def under_asan(build):
    return b"__asan_report_load" in pathlib.Path(build / "fairlead-agent-net").read_bytes()


def test_libraries_of_every_process(build):
    """The table of ARCHITECTURE.md. What is resident, and what is root, carries no more than it needs."""
    table = dict(re.findall(r"^\| `(fairlead-agent[a-z-]*)`[^|]*\|[^|]*\| ([^|]*) \|",
                            (flsandbox.ROOT / "ARCHITECTURE.md").read_text(), re.M))
    names = {"PCRE2": "libpcre2-8", "jansson": "libjansson", "libyaml": "libyaml-0"}
    for name in PROGRAMS:
        needed = subprocess.run(["readelf", "-d", build / name], capture_output=True, text=True, check=True).stdout
        linked = set(re.findall(r"NEEDED.*\[(lib[\w-]+?)\.so", needed)) - RUNTIME
        assert linked == {names.get(library, library) for library in table[name].split(", ")}, name


class Taken:
    """A registered agent on a prefix of its own, whose net and fetch are the hostile program."""

    def __init__(self, folder, build):
        self.prefix = folder / "prefix"
        self.prefix.mkdir()
        for name in PROGRAMS:
            shutil.copy(build / name, self.prefix / name)
        (folder / "plane").mkdir()
        self.plane = refplane.RefPlane(folder / "plane")
        self.agent = flsandbox.Agent(folder / "agent", self.prefix, self.plane.endpoint, self.plane.ca_file)
        # The way to the secrets is open: only their own modes guard them.
        for p in (folder, *folder.parents):
            if p != pathlib.Path("/") and os.stat(p).st_uid == os.geteuid():
                p.chmod(p.stat().st_mode | 0o711)
        self.agent.register(self.plane.activation)
        for name in ("fairlead-agent-net", "fairlead-agent-fetch"):
            shutil.copy(build / "tests/e2e/takeover", self.prefix / name)

    def plan(self, do, **keys):
        lines = [f"do {do}"] + [f"{k} {v}" for k, v in keys.items()]
        (self.prefix / "plan").write_text("\n".join(lines) + "\n")

    def text(self):
        return self.agent.log.read_text(errors="replace") if self.agent.log.exists() else ""

    def wait_log(self, what, timeout_s=30):
        return flsandbox.wait_for(f"{what!r} in the log", lambda: re.search(what, self.text()), timeout_s)

    def said(self, kind):
        """The messages of one kind that the monitor sent."""
        return [json.loads(line.split(" ", 3)[3]) for line in self.text().splitlines()
                if line.startswith(f"takeover NET said:{kind} ")]

    def run(self, do, **keys):
        self.plan(do, **keys)
        self.agent.log.unlink(missing_ok=True)
        self.agent.start()

    def stop(self):
        """At once: a hostile net does not end when it is asked to."""
        if self.agent.running():
            self.agent.kill()
        self.agent.end_everything()
        for name in ("jobs", "done", "seen"):
            shutil.rmtree(self.agent.state / name, ignore_errors=True)
        (self.agent.state / "seen").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def taken_agent(tmp_path_factory, build):
    t = Taken(tmp_path_factory.mktemp("taken"), build)
    yield t
    t.plane.close()


@pytest.fixture
def taken(taken_agent):
    yield taken_agent
    print(taken_agent.text()[-6000:])
    taken_agent.stop()


def outcomes(text, role):
    got = {}
    for line in text.splitlines():
        m = re.fullmatch(rf"takeover {role} (\S+) (\S+)", line)
        if m and not m[1].startswith("said:"):
            got[m[1]] = m[2]
    return got


@needs_root
def test_taken_over_net_and_fetch(taken, build):
    """Everything in the tables, in the place of net and of fetch."""
    if under_asan(build):
        pytest.skip("programs built with AddressSanitizer may be traced by their leak check (sandbox.c)")
    state = taken.agent.state
    vault = next(p for p in sorted((state / "Vault").rglob("*")) if p.is_file())
    job = state / "jobs/j/journal"
    job.parent.mkdir(parents=True)
    job.write_text("x")
    taken.agent.config.chmod(0o600)
    os.chmod(taken.agent.config.parent, 0o755)
    taken.run("attacks", vault=vault, registration=state / "registration", state=state, job=job,
              config=taken.agent.config, status=taken.agent.runtime / "status.sock", scratch=taken.prefix / "made")
    for role in ("NET", "FETCH"):
        taken.wait_log(rf"takeover {role} end ok")
        got = outcomes(taken.text(), role)
        assert {k for k in got if not k.startswith("raw:")} == set(IN_SANDBOX) | {"end"}
        wrong = [(role, k, got[k], want) for k, want in IN_SANDBOX.items() if got[k] not in want.split("|")]
        wrong += [(role, "raw:" + k, got["raw:" + k], want) for k, want in BEFORE_SANDBOX.items()
                  if got["raw:" + k] not in want.split("|")]
        assert wrong == []
    assert taken.agent.running() and not (taken.prefix / "made").exists()


# name of the attack -> what the monitor says before it ends this net and starts another
BREACHES = {
    "unknown-type": "message type 99 is not for this end",
    "own-type": "message type 2 is not for this end",
    "before-ready": "reply-acked is not allowed now",
    "ready-twice": "ready is not allowed now",
    "malformed": "state is malformed",
    "oversized": "a frame of 4294967295 bytes is over the limit",
    "absent-fds": "need-fetch came without its descriptors",
    "many-fds": "Protocol error",
    "too-many-fds-at-once": "Protocol error",
}


def test_breaches_of_the_ipc(taken):
    """A net that breaks the protocol is ended and replaced; the monitor lives and answers."""
    for name, words in BREACHES.items():
        taken.run(name)
        taken.wait_log(re.escape(words))
        taken.wait_log(r"net ended role=monitor signal=9")
        code, status = taken.agent.status()
        assert status["registered"] and taken.agent.running(), (name, code)
        if os.geteuid() == 0:  # the monitor is undumpable: nobody else may look
            fds = len(os.listdir(f"/proc/{taken.agent.pid}/fd"))
            assert fds < 64, (name, fds)
        taken.stop()


def test_lies_of_a_taken_over_net(taken):
    """Well-formed lies: refused in words, nothing outside the job folders, no fork without end."""
    taken.run("lies")
    flsandbox.wait_for("all requests answered", lambda: len(taken.said("fetch")) >= 50, 30)
    acks = taken.said("job-ack")
    # Six ids that are none and one job that is too large: invalid. The cancel names no job of ours: nothing to do.
    assert [a["status_code"] for a in acks] == ["51406"] * 7 + ["200"], acks
    assert list((taken.agent.state / "jobs").iterdir()) == []
    assert not list(taken.prefix.parent.rglob("escape*"))
    answers = taken.said("fetch")
    assert sum(a["ok"] for a in answers) <= 4 and len(answers) == 50
    lines = taken.text().splitlines()
    assert not any(line.startswith("<0>forged") for line in lines)
    assert max(len(line) for line in lines if "takeover" not in line) <= 4096
    assert "net broke the protocol" not in taken.text()
    assert taken.agent.running()


def test_what_net_can_have_signed(taken):
    """The key signs two requests whose every byte the node chose; net cannot put in anything."""
    taken.run("sign")
    flsandbox.wait_for("a second call", lambda: len(taken.said("token-call")) >= 2, 60)
    bodies = {"RequestManagedInstanceRoleToken": r'\{"Fingerprint":"[0-9a-f-]{36}"\}',
              "UpdateManagedInstancePublicKey":
                  r'\{"NewPublicKey":"[A-Za-z0-9+/=]+","NewPublicKeyType":"Rsa"\}'}
    host = taken.plane.endpoint.split("//")[1]
    calls = taken.said("token-call")
    assert {c["operation"] for c in calls} == set(bodies)
    for c in calls:
        assert re.fullmatch(bodies[c["operation"]], c["body"]), c
        assert c["host"] == host
        assert re.search(r"SignedHeaders=content-type;host;x-amz-date;x-amz-target,", c["authorization"]), c
    assert "BEGIN" not in json.dumps(calls) and "PRIVATE" not in json.dumps(calls)


def invented(proof):
    """A job's content: a document that leaves who it ran as in `proof`."""
    document = {"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:runShellScript", "name": "x", "inputs": {"runCommand": [f"id -u > {proof}"]}}]}
    return json.dumps({"DocumentContent": document, "CommandId": "forged", "DocumentName": "AWS-RunShellScript",
                       "Parameters": {}})


def test_a_job_that_net_invents_runs(taken):
    """What docs/security.md says plainly: without a policy of the node the plane's word is net's word."""
    proof = taken.prefix.parent / "proof"
    proof.unlink(missing_ok=True)
    taken.run("forge-job", content=invented(proof))
    flsandbox.wait_for("the job's work", lambda: proof.exists() and proof.read_text() == f"{os.geteuid()}\n", 30)


@pytest.mark.parametrize("match", [
    {"signedBy": ["alice"]}, {"inputs": {"runCommand": "uptime"}}, {"documentHashes": ["0" * 64]}],
    ids=["signed", "inputs", "hash"])
def test_a_job_that_net_invents_meets_the_policy(taken, match):
    """The same with a policy that does not take the plane's word for what a document holds."""
    proof = taken.prefix.parent / "proof"
    proof.unlink(missing_ok=True)
    policy = taken.agent.config.parent / "policy.json"
    policy.write_text(json.dumps({
        "version": 1, "default": "deny", "keys": {"alice": "MCowBQYDK2VwAyEA" + "A" * 43 + "="},
        "rules": [{"name": "ours", "effect": "allow", "match": match}]}))
    try:
        taken.run("forge-job", content=invented(proof))
        taken.wait_log("document refused by policy role=monitor command=forged")
        taken.wait_log("document ended role=monitor command=forged status=Failed")
        assert not proof.exists()
    finally:
        policy.unlink()


# Process -> what /proc/<pid>/status must show. None: whatever the agent itself was started with.
CONFINED = {"Uid": "user", "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1,
            "Seccomp": 2, "Seccomp_filters": 1, "Groups": ""}
STATUS = {
    "net": CONFINED,
    "fetch": CONFINED,
    "policy": CONFINED,
    "key": {"Uid": "root", "NoNewPrivs": 1},
    "monitor": {"Uid": "root", "NoNewPrivs": 0},
    "worker": {"Uid": "root", "NoNewPrivs": 0},
}


def proc_status(pid):
    out = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        out[key] = value.strip()
    return out


def status_text(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return ""


def limits(pid):
    return {line[:26].strip(): line[26:].split()[:2]
            for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]}


@needs_root
def test_rights_of_every_process(ref_plane, new_agent, build):
    """The kernel's own account of each process while a document runs; and no keys of the user who started the
    agent in what faces the network."""
    agent = new_agent(ref_plane, env={"AWS_SECRET_ACCESS_KEY": "the-users-own-key", "KEPT": "yes"})
    ref_plane.send_job(parameters={"commands": ["sleep 60"]})
    flsandbox.wait_for("the document", lambda: list((agent.state / "jobs").glob("*/steps/0/_script.sh")), 30)
    # Thinking about this takes a judge the seconds it needs to be looked at.
    slow = "|".join(f"[a-z]*{digit}" for digit in range(10))
    (agent.config.parent / "policy.json").write_text(json.dumps({"version": 1, "default": "deny", "rules": [
        {"name": f"slow {i}", "effect": "deny", "match": {"parameters": {"commands": slow}}}
        for i in range(1000)]}))
    ref_plane.send_job(parameters={"commands": ["a" * 300000]})

    def pids():
        found = {"monitor": agent.pid}
        for p in agent.below():
            line = " ".join(flproc.cmdline(p) or [])
            for name in ("net", "fetch", "policy"):
                if f"fairlead-agent-{name}" in line and "Seccomp_filters:\t1" in status_text(p):
                    found[name] = p
            if "fairlead-agent-worker" in line:
                found["worker"] = p
        return found if {"net", "fetch", "policy", "worker"} <= set(found) else None
    found = flsandbox.wait_for("net, fetch, policy and worker", pids, 30)
    key = subprocess.Popen([build / "fairlead-agent-key", "--state", agent.state], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
    try:
        key.stdin.write(b'{"op":"state"}\n')
        key.stdin.flush()
        assert json.loads(key.stdout.readline()) == {}  # it runs, and has set itself up
        found["key"] = key.pid
        for name, want in STATUS.items():
            got = proc_status(found[name])
            uid = int(got["Uid"].split()[0])
            assert len(set(got["Uid"].split())) == 1, (name, got["Uid"])
            assert (uid == 0) == (want["Uid"] == "root"), (name, uid)
            for key_name, value in want.items():
                if key_name == "Uid":
                    continue
                have = got.get(key_name, "")
                assert (int(have, 16) if isinstance(value, int) else have) == value, (name, key_name, have)
            if name in ("net", "fetch", "key", "policy"):
                assert limits(found[name])["Max core file size"] == ["0", "0"], name
            if name in ("net", "fetch"):
                assert limits(found[name])["Max open files"] == ["256", "256"], name
            if name == "policy":
                assert limits(found[name])["Max open files"] == ["0", "0"], name
            if name in ("net", "fetch", "policy"):
                env = pathlib.Path(f"/proc/{found[name]}/environ").read_bytes()
                assert b"the-users-own-key" not in env and b"KEPT=yes" in env, name
    finally:
        key.stdin.close()
        key.wait(10)
