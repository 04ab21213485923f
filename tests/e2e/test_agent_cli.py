"""The agent's command line: registration flags, status in words and JSON, exit codes."""
import json
import os
import re
import subprocess
import time

import pytest

import flsandbox

ONLINE, NOT_REGISTERED, NOT_RUNNING, OFFLINE = 0, 1, 3, 4


def test_status_through_a_life(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False, register=False)
    assert agent.command("status").returncode == NOT_REGISTERED
    node = agent.register(ref_plane.activation)
    done = agent.command("status")
    assert done.returncode == NOT_RUNNING and node in done.stdout, done
    agent.start()
    ref_plane.wait_online()
    flsandbox.wait_for("online status", lambda: agent.command("status").returncode == ONLINE, 10)
    done = agent.command("status")
    assert node in done.stdout and re.search(r"online", done.stdout, re.I)
    code, got = agent.status()
    assert code == ONLINE and node in json.dumps(got)
    job = ref_plane.send_job(parameters={"commands": [f"sleep 703.{os.getpid()}"]})
    ref_plane.wait(lambda: job.acks, 10, "the ack")
    command_id = job.job_id.split(".")[2]
    flsandbox.wait_for("the document in the status", lambda: command_id in json.dumps(agent.status()[1]), 10)
    assert command_id in agent.command("status").stdout
    ref_plane.cancel(job)
    ref_plane.finished(job)
    ref_plane.close()
    flsandbox.wait_for("offline status", lambda: agent.command("status").returncode == OFFLINE, 20)
    assert agent.status()[0] == OFFLINE
    agent.stop()
    assert agent.command("status").returncode == NOT_RUNNING


def test_stop_is_graceful_and_quick(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 9
    flsandbox.wait_for("all its processes to end", lambda: not [
        p for p, t in agent.seen.items() if flsandbox.flproc.alive(p, t)])


def test_second_monitor_is_refused(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    done = agent.command(timeout=15)
    assert done.returncode not in (0, None)
    assert re.search(r"runs|running", done.stderr + done.stdout)
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_not_registered_daemon_says_so(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False, register=False)
    done = agent.command(timeout=15)
    assert done.returncode != 0
    assert "regist" in done.stderr + done.stdout


@pytest.mark.parametrize("form", ["go", "go-equals", "gnu", "gnu-equals"])
def test_forms_of_flags(ref_plane, new_agent, form):
    agent = new_agent(ref_plane, start=False, register=False)
    a = ref_plane.activation
    values = {"id": a["ActivationId"], "code": a["ActivationCode"], "region": "local"}
    where = ["--endpoint", ref_plane.endpoint, "--ca-file", str(agent.ca_file)]
    dash = "-" if form.startswith("go") else "--"
    argv = [f"{dash}register", f"{dash}y"]
    for name, value in values.items():
        argv += [f"{dash}{name}={value}"] if form.endswith("equals") else [f"{dash}{name}", value]
    done = agent.command(*argv, *where)
    assert done.returncode == 0, done
    node = json.loads((agent.state / "registration").read_text())["ManagedInstanceID"]
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert any(line.endswith(f"Managed instance-id: {node}") for line in lines), lines
    config = json.loads(agent.config.read_text())
    assert ref_plane.endpoint in json.dumps(config) and str(agent.ca_file) in json.dumps(config)


def test_registering_again_asks(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    first = json.loads((agent.state / "registration").read_text())["ManagedInstanceID"]
    argv = [a for a in agent.register_argv(ref_plane.activation) if a != "-y"]
    for answer, code in (("n\n", 1), ("x\n", 1), ("", 1), ("yes\n", 0)):
        done = agent.command(*argv, stdin=answer)
        assert done.returncode == code, (answer, done)
        now = json.loads((agent.state / "registration").read_text())["ManagedInstanceID"]
        assert (now == first) == (code == 1)
    assert len({f for _, f in ref_plane.nodes.values()}) == 1, "the same machine keeps its fingerprint"


def test_failed_registration_keeps_the_old_identity(ref_plane, new_agent):
    """The official agent destroys it (protocol 1 §1.3)."""
    agent = new_agent(ref_plane, start=False)
    record = (agent.state / "Vault/Store/RegistrationKey").read_bytes()
    bad = dict(ref_plane.activation, ActivationCode="x" * 20)
    done = agent.command(*agent.register_argv(bad))
    assert done.returncode == 1
    assert "InvalidActivation" in done.stdout + done.stderr
    assert (agent.state / "Vault/Store/RegistrationKey").read_bytes() == record
    agent.start()
    ref_plane.wait_online()


@pytest.mark.parametrize("argv", [
    ["-register"], ["-register", "-id", "x"], ["-register", "-y", "-id", "short", "-code", "short", "-region", "local"],
    ["-register", "-y", "-id", "0" * 36, "-code", "0" * 20], ["-nope"], ["--nope=1"], ["nonsense"],
    ["-fingerprint", "-similarityThreshold", "0"], ["-fingerprint", "-similarityThreshold", "101"],
])
def test_bad_flags(ref_plane, new_agent, argv):
    agent = new_agent(ref_plane, start=False, register=False)
    done = agent.command(*argv, timeout=15)
    assert done.returncode in (1, 2), done
    assert (done.stderr + done.stdout).strip()
    assert not ref_plane.requests


def test_unreachable_plane_is_named(new_agent, ref_plane):
    agent = new_agent(ref_plane, start=False, register=False)
    agent.endpoint = "https://127.0.0.1:9"
    done = agent.command(*agent.register_argv(ref_plane.activation))
    assert done.returncode == 1 and "127.0.0.1" in done.stderr + done.stdout


def test_version(build):
    done = subprocess.run([str(build / "fairlead-agent"), "-version"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and re.search(r"\d+\.\d+", done.stdout)


def test_similarity_threshold(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    for given, want in (("60", 60), ("-1", -1), (None, 40)):
        done = agent.command("-fingerprint", *(("-similarityThreshold", given) if given else ()))
        assert done.returncode == 0, done
        assert json.loads((agent.state / "Vault/Store/InstanceFingerprint").read_text())["similarityThreshold"] == want


def test_clear(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    done = agent.command("-register", "-clear", "-y")
    assert done.returncode == 0, done
    assert agent.command("status").returncode == NOT_REGISTERED


def test_help(build):
    for argv in (["--help"], ["-h"], ["-help"]):
        done = subprocess.run([str(build / "fairlead-agent"), *argv], capture_output=True, text=True, timeout=10)
        assert "-register" in done.stdout + done.stderr
