"""Where secrets stand and where they must not: modes of everything made, logs, command lines, cores."""
import base64
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import stat
import subprocess

import pytest

import flproc
import flsandbox

# (path below the sandbox's folder, type, mode); the first row that matches counts, and one must.
MODES = [
    # the agent
    (r"nodes/1/state", "d", 0o700),
    (r"nodes/1/state/(Vault|Vault/Store|runtimeconfig|jobs|done)", "d", 0o700),
    (r"nodes/1/state/(jobs|done)/[0-9a-f-]+(/steps(/\d+)?)?", "d", 0o700),
    (r"nodes/1/state/(jobs|done)/[0-9a-f-]+/steps/\d+/_script\.sh", "f", 0o700),
    (r"nodes/1/state/(jobs|done)/[0-9a-f-]+/(steps/\d+/std(out|err)|job|journal|acks)", "f", 0o600),
    (r"nodes/1/state/(jobs|done)/[0-9a-f-]+/sock", "s", 0o600),
    (r"nodes/1/state/(Vault/Manifest|Vault/Store/\w+|registration|runtimeconfig/\w+\.json|seen)", "f", 0o600),
    (r"nodes/1/state/seen-sessions", "f", 0o600),
    (r"nodes/1/run", "d", 0o755),
    (r"nodes/1/run/monitor\.lock", "f", 0o600),
    (r"nodes/1/run/status\.sock", "s", 0o600),
    (r"nodes/1/home/\.aws", "d", 0o700),
    (r"nodes/1/home/\.aws/credentials", "f", 0o600),
    # the plane
    (r"plane/data(/audit|/db|/keys|/pki|/objects(/(tmp|[0-9a-f]{2}))?)?", "d", 0o700),
    (r"plane/data/(admin-credentials|server\.json|audit/audit\.log|db/fairlead\.db(-shm|-wal|\.lock)?)", "f", 0o600),
    (r"plane/data/transcripts", "d", 0o700),
    (r"plane/data/keys/(seal|parameters)", "f", 0o600),
    (r"plane/data/pki/\w+\.key", "f", 0o600),
    (r"plane/data/pki/\w+\.crt", "f", 0o644),
    (r"plane/data/run", "d", 0o755),
    (r"plane/data/run/(port|ready)", "f", 0o644),
]
MUST_BE_SEEN = ["nodes/1/state/Vault/Store/RegistrationKey", "nodes/1/home/.aws/credentials",
                "nodes/1/state/runtimeconfig/credentials.json", "plane/data/keys/seal", "plane/data/pki/ca.key",
                "plane/data/keys/parameters", "plane/data/db/fairlead.db-wal", "nodes/1/run/status.sock"]
KIND = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFSOCK: "s"}


def run_command(box, *lines):
    return box.plane.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[box.agents[0].node_id],
                              Parameters={"commands": list(lines)})["Command"]["CommandId"]


def finished(box, command):
    def over():
        try:
            got = box.plane.api.call("GetCommandInvocation", CommandId=command, InstanceId=box.agents[0].node_id)
        except Exception as e:
            assert "InvocationDoesNotExist" in str(e)
            return None
        return got if got["Status"] in ("Success", "Failed", "Cancelled", "TimedOut") else None
    return flsandbox.wait_for("the command to end", over, 60)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_of_everything(new_box, umask):
    old = os.umask(umask)
    try:
        box = new_box(nodes=0)
        agent = box.new_agent(config={"Profile": {"ShareCreds": True}})
        agent.wait_online(box.plane)
        finished(box, run_command(box, "echo hi; echo no >&2"))
        running = run_command(box, "echo hi; sleep 60")
        flsandbox.wait_for("a running script", lambda: (agent.state / f"jobs/{running}/steps/0/stdout").exists())
    finally:
        os.umask(old)
    seen, wrong = set(), []
    for top in (agent.state, agent.runtime, agent.home / ".aws", box.plane.data):
        for folder, _, files in os.walk(top):
            for path in [folder] + [os.path.join(folder, f) for f in files]:
                name = os.path.relpath(path, box.folder)
                try:
                    st = os.lstat(path)
                except FileNotFoundError:
                    continue  # a job that has just been put away
                row = next(((k, m) for pattern, k, m in MODES if re.fullmatch(pattern, name)), None)
                found = (KIND.get(stat.S_IFMT(st.st_mode)), stat.S_IMODE(st.st_mode))
                seen.add(name)
                if row != found or st.st_uid != os.geteuid():
                    wrong.append((name, found, row, st.st_uid))
    assert wrong == []
    assert set(MUST_BE_SEEN) <= seen


# What may be made for others to read, from the first moment on.
PUBLIC = r".*/(nodes/1/run|plane/data/run)"


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_modes_hold_from_creation_on(new_box, tmp_path, build):
    """No file or folder is made open and closed later: under umask 0 the very call that makes it says its mode."""
    if b"__asan_report_load" in (build / "fairlead-agent").read_bytes():
        pytest.skip("the leak check at exit traces, which a traced program cannot")
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=open,openat,creat,mkdir,mkdirat,mknod,mknodat", "-e", "signal=none",
              "-s", "512", "-o", str(trace), "-A"]
    box = new_box(nodes=0)
    old = os.umask(0)
    try:
        agent = flsandbox.Agent(box.folder / "nodes/1", build, box.plane.endpoint, box.plane.ca_file)
        for argv in ([build / "fairlead-server", "init", "--data", box.folder / "second/plane/data"],
                     agent.argv(*agent.register_argv(box.plane.activation()))):
            subprocess.run(strace + [str(a) for a in argv], env=agent.env(), check=True, capture_output=True,
                           timeout=120)
    finally:
        os.umask(old)
    made, wrong = 0, []
    for line in trace.read_text().splitlines():
        m = re.search(r'"([^"]+)", (?:O_\S*O_CREAT\S*, )?(0[0-7]+)\) += \d', line)
        if not m or not ("O_CREAT" in line or "mkdir" in line) or not m[1].startswith(str(box.folder)):
            continue
        made += 1
        if int(m[2], 8) & 0o077 and not re.fullmatch(PUBLIC, m[1]):
            wrong.append(line)
    assert wrong == []
    assert made >= 15, trace.read_text()[-3000:]


def the_secrets(box, activation):
    """Everything that nobody may read who may not read the file it stands in: name -> bytes."""
    agent, data = box.agents[0], box.plane.data
    creds = json.loads((agent.state / "runtimeconfig/credentials.json").read_text())
    key = json.dumps(json.loads((agent.state / "Vault/Store/RegistrationKey").read_text()))
    keys = {name: (data / "keys" / name).read_bytes() for name in ("seal", "parameters")}

    def texts(value):
        """The long strings of a JSON value, those within strings too."""
        if isinstance(value, dict):
            for k, v in value.items():
                yield from texts(v)
        elif isinstance(value, str):
            try:
                yield from texts(json.loads(value))
            except ValueError:
                if len(value) >= 30:
                    yield value
    found = {
        "activation code": activation["ActivationCode"].encode(),
        "administrator's secret key": box.plane.secret_key.encode(),
    }
    for name, raw in keys.items():
        found.update({f"{name}, raw": raw, f"{name}, hex": raw.hex().encode(), f"{name}, base64": base64.b64encode(raw)})
    for name, value in creds.items():
        if isinstance(value, str) and re.search("secret|token", name, re.I):
            found[f"node's {name}"] = value.encode()
    for i, text in enumerate(texts(json.loads(key))):
        found[f"node's private key, part {i}"] = text.encode()[40:140]
    for name in ("ca.key", "server.key"):
        body = (data / "pki" / name).read_text().splitlines()
        found[name] = body[1].encode()
    assert sum("node's" in n for n in found) >= 3, list(found)
    return {n: v for n, v in found.items() if v}


@pytest.fixture
def loud_box(new_box):
    """A plane and an agent that say all they have to say."""
    box = new_box(nodes=0)
    box.plane.configure(LogLevel="debug")
    box.plane.stop()
    # Cores are possible as far as the limits go; each program has to see to itself.
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    box.plane.start()
    box.activation = box.plane.activation()
    box.new_agent(box.activation, config={"Fairlead": {"LogLevel": "debug"}})
    box.agents[0].wait_online(box.plane)
    return box


def tree(box):
    return {p: " ".join(flproc.cmdline(p) or []) for prog in (box.plane, box.agents[0]) for p in prog.below()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the environment of undumpable processes")
def test_secrets_stay_where_they_belong(loud_box):
    """Not in logs at the level debug, not on command lines, not in environments, not in what scripts see."""
    box = loud_box
    done = finished(box, run_command(box, "env; cat /proc/$PPID/cmdline; ls -la /proc/self/fd"))
    assert done["Status"] == "Success" and "SSM_COMMAND_ID" in done["StandardOutputContent"]
    run_command(box, "sleep 60")
    flsandbox.wait_for("a worker", lambda: any("worker" in line for line in tree(box).values()))
    secrets = the_secrets(box, box.activation)
    places = {str(log): log.read_bytes() for log in box.logs()}
    places["audit log"] = (box.plane.data / "audit/audit.log").read_bytes()
    places["output of a script"] = done["StandardOutputContent"].encode()
    for pid, line in tree(box).items():
        places[f"command line of {line}"] = line.encode()
        try:
            places[f"environment of {line}"] = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue  # it has ended
    assert "document accepted" in box.agents[0].log.read_text() and "control plane ready" in box.plane.log.read_text()
    leaks = [(name, place) for name, secret in secrets.items() for place, text in places.items() if secret in text]
    assert leaks == []


def core_files_would_show(folder):
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    return not pattern.startswith(("|", "/")) and os.access(folder, os.W_OK)


def test_no_core_files(loud_box, build):
    """Killed by a signal that dumps, no process of ours leaves its memory on the disk; a script may."""
    box = loud_box
    if b"__asan_report_load" in (build / "fairlead-agent").read_bytes():
        pytest.skip("programs built with AddressSanitizer stay dumpable for their leak check")
    if not core_files_would_show(box.folder):
        pytest.skip("cores do not go to the process's folder here (kernel.core_pattern)")
    agent, plane = box.agents[0], box.plane
    own = box.folder / "own"
    own.mkdir()
    finished(box, run_command(box, f"cd {own}; sh -c 'kill -ABRT $$'"))
    assert list(own.glob("core*")), "the script's own core shows that cores would be seen"
    run_command(box, "sleep 60")
    flsandbox.wait_for("a worker", lambda: any("worker" in line for line in tree(box).values()))
    names = ("fairlead-server", "fairlead-agent-net", "fairlead-agent-fetch", "worker", str(build / "fairlead-agent"))
    hit = set()
    for pid, line in sorted(tree(box).items(), reverse=True):
        for name in names:
            if name in line and "sh -c" not in line:
                flproc.kill(pid, signal.SIGABRT)
                hit.add(name)
                break
    assert {"fairlead-server", "fairlead-agent-net", "worker", str(build / "fairlead-agent")} <= hit
    for prog in (agent, plane):
        prog.child.wait(30)
        assert prog.child.returncode == -signal.SIGABRT
    cores = [p for p in box.folder.rglob("core*") if p.parent != own and p.is_file()]
    assert cores == []
