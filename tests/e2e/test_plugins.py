"""Actions beyond scripts and downloads: users' plugins, docker, refreshAssociation, cloudWatch."""
import json
import os
import time

import pytest

PLUGIN = """#!/usr/bin/env python3
import json, os, sys, time
def say(**line):
    print(json.dumps(line), flush=True)
inputs = json.load(sys.stdin)
"""


@pytest.fixture
def run(ref_plane, new_agent, tmp_path):
    """A function that runs one step on an agent whose PATH begins with tmp_path/bin; gives its result."""
    bin_dir, plugins = tmp_path / "bin", tmp_path / "plugins.d"
    for d in (bin_dir, plugins):
        d.mkdir()
        d.chmod(0o755)
    agent = new_agent(ref_plane, config={"Fairlead": {"PluginsDir": str(plugins)}},
                      env={"PATH": f"{bin_dir}:{os.environ['PATH']}"})

    def run(action, inputs, wait=True, schema="2.2"):
        job = ref_plane.send_job({"schemaVersion": schema, "mainSteps": [
            {"action": action, "name": "it", "inputs": inputs}]})
        if not wait:
            return job
        ref_plane.finished(job, 40)
        return job.steps()["it"]

    run.plane, run.bin, run.plugins, run.agent = ref_plane, bin_dir, plugins, agent
    return run


def add(folder, name, text, mode=0o755):
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


# ---- users' plugins ----

def test_a_user_plugin(run):
    add(run.plugins, "acme:restart", PLUGIN + """
say(stdout="for " + inputs["service"] + " in " + os.environ["FAIRLEAD_ACTION"] + "\\n")
print("own words", file=sys.stderr)
say(stderr="and these\\n", stdout="second\\n")
assert os.environ["AWS_SSM_INSTANCE_ID"].startswith("mi-")
say(status=inputs.get("end", "Success"), **({"code": inputs["code"]} if "code" in inputs else {}))
""")
    step = run("acme:restart", {"service": "web"})
    assert (step["status"], step["code"]) == ("Success", 0)
    assert step["standardOutput"] == "for web in acme:restart\nsecond\n"
    assert sorted(step["standardError"].splitlines()) == ["and these", "own words"]
    step = run("acme:restart", {"service": "web", "end": "Failed", "code": 7})
    assert (step["status"], step["code"]) == ("Failed", 7)
    step = run("acme:restart", {"service": "web", "end": "Failed"})
    assert (step["status"], step["code"]) == ("Failed", 1)
    # Inputs that are a list: once an element.
    step = run("acme:restart", [{"service": "a"}, {"service": "b"}])
    assert step["standardOutput"].count("for ") == 2


@pytest.mark.parametrize("words, status, code, text", [
    ("sys.exit(3)", "Failed", 3, "failed to run commands: exit status 3"),
    ("say(status='Success')\nsys.exit(4)", "Failed", 4, "exit status 4"),
    ("pass", "Success", 0, ""),
    ("print('hello')", "Failed", 1, "line 1: "),
    ("say(stdout='a')\nsay(other=1)", "Failed", 1, "line 2: has no stdout, stderr or status"),
    ("say(status='Success')\nsay(stdout='late')", "Failed", 1, "line 2: comes after the status"),
    ("say(status='Finished')", "Failed", 1, "line 1: unknown status Finished"),
    ("say(status='Success', code=256)", "Failed", 1, "line 1: a code outside"),
    ("print('x' * 2000000, flush=True)\ntime.sleep(60)", "Failed", 1, "line 1: has more than 1048576 bytes"),
    ("sys.stdout.write(json.dumps({'status': 'Success'}))", "Success", 0, ""),
], ids=["exit", "exit-wins", "silent", "no-json", "unknown", "late", "status", "code", "long", "no-newline"])
def test_what_a_user_plugin_may_say(run, words, status, code, text):
    add(run.plugins, "acme:say", PLUGIN + words)
    step = run("acme:say", {})
    assert (step["status"], step["code"]) == (status, code), step
    assert text in step["standardError"]


def test_plugins_that_others_could_have_written_are_refused(run, tmp_path):
    add(run.plugins, "acme:loose", "#!/bin/sh\ntouch %s\n" % (tmp_path / "ran"), 0o757)
    add(run.plugins, "acme:group", "#!/bin/sh\ntouch %s\n" % (tmp_path / "ran"), 0o775)
    good = add(run.plugins, "acme:good", "#!/bin/sh\ntouch %s\n" % (tmp_path / "ran"))
    (run.plugins / "acme:link").symlink_to(good)
    for name, words in [("acme:loose", "others than its owner can write"),
                        ("acme:group", "others than its owner can write"),
                        ("acme:link", "not a regular file")]:
        step = run(name, {})
        assert (step["status"], step["code"]) == ("Failed", 1) and words in step["standardError"], step
    if os.getuid() == 0:
        os.chown(add(run.plugins, "acme:other", "#!/bin/sh\n"), 12345, 12345)
        assert "belongs to user 12345" in run("acme:other", {})["standardError"]
    run.plugins.chmod(0o777)
    assert "others than its owner can write" in run("acme:good", {})["standardError"]
    assert not (tmp_path / "ran").exists()
    # Names that are no plugin's.
    for name in ("acme:none", "acme:../x", "aws:good", "good"):
        text = run(name, {})["output"]
        assert f"Plugin with name {name} is not supported by this version" in text


def test_a_user_plugin_out_of_time_and_cancelled(run, tmp_path):
    add(run.plugins, "acme:slow", f"#!/bin/sh\necho '{{\"stdout\":\"began\"}}'\ntouch {tmp_path}/began\nexec sleep 600\n")
    step = run("acme:slow", {"timeoutSeconds": "5"})
    assert (step["status"], step["code"], step["standardOutput"]) == ("TimedOut", 137, "began")
    (tmp_path / "began").unlink()
    job = run("acme:slow", {}, wait=False)
    until = time.monotonic() + 30
    while not (tmp_path / "began").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    run.plane.cancel(job)
    run.plane.finished(job, 30)
    assert job.steps()["it"]["status"] == "Cancelled"


# ---- docker ----

DOCKER = """#!/usr/bin/env python3
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
print("did", sys.argv[1])
sys.exit(3 if "broken" in sys.argv else 0)
"""
CREATED = {"container": "web", "image": "reg.example:5000/nginx:1.25", "memory": "64m", "cpuShares": 512,
           "volume": ["/a:/b:ro", "/c:/d"], "env": "A=b c", "user": "1000:1000", "publish": "127.0.0.1:80:8080",
           "cmd": "nginx -g off"}
OPTIONS = ["--volume", "/a:/b:ro", "--volume", "/c:/d", "--name", "web", "--memory", "64m", "--cpu-shares", "512",
           "--publish", "127.0.0.1:80:8080", "--env", "A=b c", "--user", "1000:1000", "reg.example:5000/nginx:1.25",
           "nginx -g off"]


def test_docker(run, tmp_path):
    log = tmp_path / "argv"
    log.touch()
    add(run.bin, "docker", DOCKER.format(log=str(log)))
    cases = [
        (dict(CREATED, action="Run"), ["run", "-d", *OPTIONS]),
        (dict(CREATED, action="Create"), ["create", *OPTIONS]),
        ({"action": "Run", "image": "x", "cpuShares": "2"}, ["run", "-d", "--cpu-shares", "2", "x"]),
        ({"action": "Start", "container": "c"}, ["start", "c"]),
        ({"action": "Stop", "container": "c"}, ["stop", "c"]),
        ({"action": "Rm", "container": "c"}, ["rm", "c"]),
        ({"action": "Logs", "container": "c"}, ["logs", "c"]),
        ({"action": "Exec", "container": "c", "cmd": "ls -l", "user": "root"}, ["exec", "--user", "root", "c", "ls -l"]),
        ({"action": "Inspect", "container": "c", "image": "i"}, ["inspect", "c", "i"]),
        ({"action": "Stats"}, ["stats", "--no-stream"]),
        ({"action": "Ps"}, ["ps", "--all"]),
        ({"action": "Images"}, ["images"]),
        ({"action": "Pull", "image": "i"}, ["pull", "i"]),
        ({"action": "Rmi", "image": "i"}, ["rmi", "i"]),
    ]
    step = run("aws:runDockerAction", [inputs for inputs, _ in cases])
    assert step["status"] == "Success", step
    assert [json.loads(line) for line in log.read_text().splitlines()] == [words for _, words in cases]
    assert step["standardOutput"].startswith("did run\n")
    step = run("aws:runDockerAction", {"action": "Start", "container": "broken"})
    assert (step["status"], step["code"]) == ("Failed", 3) and step["standardError"].endswith("exit status 3")


def test_docker_is_not_called_with_bad_values(run, tmp_path):
    log = tmp_path / "argv"
    add(run.bin, "docker", DOCKER.format(log=str(log)))
    for inputs, text in [
        ({"action": "Run"}, "Action Run requires parameter image"),
        ({"action": "Exec", "container": "c"}, "Action Exec requires parameter cmd"),
        ({"action": "run", "image": "x"}, "Docker Action is set to unsupported value: run"),
        ({}, "Docker Action is set to unsupported value: "),
        ({"action": "Start", "container": "--help"}, "Validation error, invalid value for container"),
        ({"action": "Run", "image": "-v"}, "Validation error, invalid value for image"),
        ({"action": "Run", "image": "x", "cmd": "a;b"}, "Validation error, invalid value for cmd"),
        ({"action": "Run", "image": "x", "env": "A=1,B"}, "Validation error, invalid value for env"),
        ({"action": "Run", "image": "x", "memory": "lots"}, "Validation error, invalid value for memory"),
        ({"action": "Run", "image": "x", "cpuShares": "-1"}, "Validation error, invalid value for cpuShares"),
        ({"action": "Run", "image": "x", "volume": ["/a|b"]}, "Validation error, invalid value for volume"),
    ]:
        step = run("aws:runDockerAction", inputs)
        assert (step["status"], step["code"], step["standardError"]) == ("Failed", 1, text), inputs
    assert not log.exists()


# ---- the small ones ----

def test_refresh_association_and_cloud_watch(run):
    step = run("aws:refreshAssociation", {"associationIds": []})
    assert step["status"] == "Success" and "runs no associations" in step["standardOutput"]
    job = run.plane.send_job({"schemaVersion": "1.2", "runtimeConfig": {
        "aws:cloudWatch": {"settings": {"startType": "Enabled"}, "properties": "{}"}}})
    run.plane.finished(job, 40)
    (step,) = job.steps().values()
    assert (step["status"], step["code"]) == ("Failed", 1)
    assert "Plugin aws:cloudWatch is not registered by agent" in step["output"]
