"""What the agent does on the wire and on the machine, against the reference plane."""
import base64
import datetime
import json
import os
import pathlib
import stat
import subprocess
import time
import uuid

import pytest
from cryptography.hazmat.primitives import serialization

import flproc
import flsandbox
import refplane


def step_of(job, name="aws:runShellScript"):
    return job.steps()[name]


def test_first_contact(ref_plane, new_agent):
    """Token, short ping, full ping, channel: in that order and nothing else (protocol 2 §7)."""
    new_agent(ref_plane)
    ref_plane.wait(lambda: len(ref_plane.pings) >= 2, 10, "the full ping")
    targets = [r.headers.get("x-amz-target", r.path) for r in ref_plane.requests]
    assert targets[:3] == ["AmazonSSM.RegisterManagedInstance", "AmazonSSM.RequestManagedInstanceRoleToken",
                           "AmazonSSM.UpdateInstanceInformation"]
    assert set(ref_plane.pings[0]) == {"AgentName", "AgentVersion", "InstanceId", "PlatformType"}
    assert "AgentStatus" in ref_plane.pings[1]
    assert ref_plane.token_count == 1


def test_echo_and_the_order_of_replies(ref_plane, new_agent):
    new_agent(ref_plane)
    job = ref_plane.shell("echo hi", "echo there >&2")
    assert [a["statusCode"] for a in job.acks] == ["200"] and job.acks[0]["errorMessage"] == "Successful"
    statuses = [i["documentStatus"] for _, i, _ in job.replies]
    assert statuses[0] == "InProgress" and job.replies[0][1]["runtimeStatus"] is None
    assert statuses[-1] == "Success" or "Success" in statuses
    step = step_of(job)
    assert (step["status"], step["code"], step["name"]) == ("Success", 0, "aws:runShellScript")
    assert (step["standardOutput"], step["standardError"]) == ("hi\n", "there\n")
    assert step["output"] == "hi\n\n----------ERROR-------\nthere\n"
    assert job.final()["additionalInfo"]["runtimeStatusCounts"] == {"Success": 1}
    assert len({m for m, _, _ in job.replies}) == len(job.replies)
    assert job.duplicates == 0
    assert all(topic == "aws.ssm.sendCommand" for _, _, topic in job.replies)


@pytest.mark.parametrize("script, status, code", [
    (["exit 0"], "Success", 0), (["exit 1"], "Failed", 1), (["exit 7"], "Failed", 7), (["exit 255"], "Failed", 255),
    (["false", "true"], "Success", 0), (["no_such_command_anywhere"], "Failed", 127),
    (["exit 137"], "TimedOut", 137),
])
def test_exit_codes(ref_plane, new_agent, script, status, code):
    new_agent(ref_plane)
    job = ref_plane.shell(*script)
    assert job.final()["documentStatus"] == status == step_of(job)["status"]
    assert step_of(job)["code"] == code


def test_script_that_kills_itself(ref_plane, new_agent, tmp_path):
    """Protocol 4 §3: what is seen depends on whether this machine's sh stays as the script's parent."""
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/bash\nkill -9 $$\n")
    script.chmod(0o700)
    seen = subprocess.run(["sh", "-c", str(script)], stderr=subprocess.DEVNULL, check=False).returncode
    status, code = {137: ("TimedOut", 137), -9: ("Failed", -1)}[seen]
    new_agent(ref_plane)
    job = ref_plane.shell("#!/bin/bash", "kill -9 $$")
    assert job.final()["documentStatus"] == status == step_of(job)["status"]
    assert step_of(job)["code"] == code


def test_working_directory_and_environment(ref_plane, new_agent, tmp_path):
    agent = new_agent(ref_plane)
    where = tmp_path / "work dir"
    where.mkdir()
    job = ref_plane.shell("pwd", "echo $0 >/dev/null; cat /dev/stdin | wc -c", workingDirectory=str(where))
    assert step_of(job)["standardOutput"].split("\n")[0] == str(where)
    job = ref_plane.shell("env")
    env = step_of(job)["standardOutput"]
    for secret in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert secret not in env
    assert agent.running()


def test_several_steps(ref_plane, new_agent):
    """All run, a failure does not stop the next; the last reply has an empty runtimeStatus (protocol 2 §3.4)."""
    new_agent(ref_plane)
    job = ref_plane.finished(ref_plane.send_job(refplane.steps_document("echo one", "exit 3", "echo three")))
    steps = job.steps()
    assert [steps[f"step{i}"]["code"] for i in (1, 2, 3)] == [0, 3, 0]
    assert steps["step3"]["standardOutput"] == "three\n"
    final = job.final()
    assert final["documentStatus"] == "Failed" and final["runtimeStatus"] == {}
    assert final["additionalInfo"]["runtimeStatusCounts"] == {"Success": 2, "Failed": 1}


def test_step_timeout(ref_plane, new_agent):
    new_agent(ref_plane)
    mark = f"700.{os.getpid()}{uuid.uuid4().int % 1000}"
    started = time.monotonic()
    job = ref_plane.shell("echo before", f"sleep {mark}", executionTimeout="5", timeout_s=20)
    assert 4.5 < time.monotonic() - started < 10
    assert job.final()["documentStatus"] == "TimedOut"
    assert (step_of(job)["status"], step_of(job)["code"]) == ("TimedOut", 137)
    assert step_of(job)["standardOutput"].startswith("before\n")
    assert not running(mark)


def running(mark):
    return [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if any(mark in a for a in flproc.cmdline(p))
            and flproc.alive(p)]


def test_cancel(ref_plane, new_agent):
    """Running: step Cancelled with 137, later steps Cancelled with 1, final Cancelled; the cancel job is only
    acknowledged (protocol 2 §5)."""
    new_agent(ref_plane)
    mark = f"701.{os.getpid()}{uuid.uuid4().int % 1000}"
    job = ref_plane.send_job(refplane.steps_document(f"echo go; sleep {mark} & sleep {mark}", "echo never"))
    flsandbox.wait_for("the script", lambda: len(running(mark)) >= 2, 20)
    cancel = ref_plane.cancel(job)
    ref_plane.finished(job, 10)
    assert job.final()["documentStatus"] == "Cancelled"
    assert (job.steps()["step1"]["status"], job.steps()["step1"]["code"]) == ("Cancelled", 137)
    assert (job.steps()["step2"]["status"], job.steps()["step2"]["code"]) == ("Cancelled", 1)
    ref_plane.wait(lambda: cancel.acks, 10, "the ack of the cancel job")
    assert cancel.acks[0]["statusCode"] == "200"
    assert all(i["documentStatus"] == "InProgress" for _, i, _ in cancel.replies)
    flsandbox.wait_for("its processes to go", lambda: not running(mark))


def test_cancel_of_nothing(ref_plane, new_agent):
    new_agent(ref_plane)
    node = next(iter(ref_plane.nodes))
    gone = ref_plane.shell("true")
    for target in (gone.job_id, f"aws.ssm.{uuid.uuid4()}.{node}"):
        cancel = ref_plane.send_content(f"aws.ssm.{uuid.uuid4()}.{node}", "aws.ssm.cancelCommand",
                                        {"CancelMessageId": target})
        ref_plane.wait(lambda c=cancel: c.acks, 10, "the ack")
        assert cancel.acks[0]["statusCode"] == "200"
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_a_queued_job_can_be_cancelled(ref_plane, new_agent):
    """The official agent drops it without a word and runs it after a restart; ours reports Cancelled, never runs it."""
    agent = new_agent(ref_plane, config={"Mds": {"CommandWorkersLimit": 1, "CommandWorkerBufferLimit": 5}})
    touched = agent.folder / "touched"
    mark = f"702.{os.getpid()}{uuid.uuid4().int % 1000}"
    busy = ref_plane.send_job(parameters={"commands": [f"sleep {mark}"]})
    flsandbox.wait_for("the first script", lambda: running(mark), 20)
    queued = ref_plane.send_job(parameters={"commands": [f"touch {touched}"]})
    ref_plane.wait(lambda: queued.acks, 10, "the ack of the queued job")
    ref_plane.cancel(queued)
    ref_plane.finished(queued, 10)
    assert queued.final()["documentStatus"] == "Cancelled"
    ref_plane.cancel(busy)
    ref_plane.finished(busy, 10)
    assert ref_plane.shell("echo on").final()["documentStatus"] == "Success"
    assert not touched.exists()


def test_full_queue_is_refused_and_the_job_may_come_again(ref_plane, new_agent):
    new_agent(ref_plane, config={"Mds": {"CommandWorkersLimit": 1, "CommandWorkerBufferLimit": 1}})
    mark = f"703.{os.getpid()}{uuid.uuid4().int % 1000}"
    first = ref_plane.send_job(parameters={"commands": [f"sleep {mark}"]})
    flsandbox.wait_for("the first script", lambda: running(mark), 20)
    second = ref_plane.send_job(parameters={"commands": ["echo two"]})
    ref_plane.wait(lambda: second.acks, 10, "the second ack")
    third_id = str(uuid.uuid4())
    third = ref_plane.send_job(parameters={"commands": ["echo three"]}, command_id=third_id)
    ref_plane.wait(lambda: third.acks, 10, "the third ack")
    assert (third.acks[0]["statusCode"], third.acks[0]["errorMessage"]) == ("51402", "ProcessorBufferFull")
    ref_plane.cancel(first)
    ref_plane.finished(second, 15)
    ref_plane.send_job(parameters={"commands": ["echo three"]}, command_id=third_id)
    ref_plane.finished(third, 15)
    assert step_of(third)["standardOutput"] == "three\n"


def test_a_job_that_comes_twice_runs_once(ref_plane, new_agent, tmp_path):
    agent = new_agent(ref_plane)
    counter = tmp_path / "counter"
    command_id = str(uuid.uuid4())
    params = {"commands": [f"echo x >> {counter}"]}
    job = ref_plane.send_job(parameters=params, command_id=command_id)
    ref_plane.finished(job)
    ref_plane.send_job(parameters=params, command_id=command_id)
    ref_plane.wait(lambda: len(job.acks) >= 2, 10, "the second ack")
    assert (job.acks[1]["statusCode"], job.acks[1]["errorMessage"]) == ("51405", "DuplicateCommand")
    agent.stop()
    agent.start()
    ref_plane.wait_online()
    ref_plane.send_job(parameters=params, command_id=command_id)
    ref_plane.wait(lambda: len(job.acks) >= 3, 10, "the third ack")
    assert job.acks[2]["statusCode"] == "51405"
    assert ref_plane.shell("true").final() and counter.read_text() == "x\n"


def test_parallel_jobs(ref_plane, new_agent):
    new_agent(ref_plane)
    jobs = [ref_plane.send_job(parameters={"commands": [f"sleep 0.2; echo {i}"]}) for i in range(8)]
    for i, job in enumerate(jobs):
        assert step_of(ref_plane.finished(job))["standardOutput"] == f"{i}\n"


def test_unacknowledged_reply_is_kept_and_sent_again(ref_plane, new_agent):
    """Replies wait until acknowledged, with the same message id, over reconnects and restarts."""
    agent = new_agent(ref_plane)
    ref_plane.ack_replies = False
    job = ref_plane.shell("echo kept")
    ids = {m for m, i, _ in job.replies if i["runtimeStatus"] is not None}
    agent.stop()
    ref_plane.ack_replies = True
    seen = job.duplicates
    agent.start()
    ref_plane.wait_online()
    ref_plane.wait(lambda: job.duplicates >= seen + len(ids), 20, "the replies again")
    assert {m for m, i, _ in job.replies if i["runtimeStatus"] is not None} == ids
    # What was acknowledged counts once the agent has noted it: then the job is put away.
    flsandbox.wait_for("the job to be put away", lambda: not list((agent.state / "jobs").iterdir()))
    agent.stop()
    count = job.duplicates
    agent.start()
    ref_plane.wait_online()
    assert ref_plane.shell("true").final()
    assert job.duplicates == count, "an acknowledged reply came again"


def test_reconnects_after_each_kind_of_loss(ref_plane, new_agent):
    new_agent(ref_plane)
    for loss in (lambda ws: ws.close(1000), lambda ws: ws.close(4001), lambda ws: ws.abort()):
        opened, channel = ref_plane.channels_opened, ref_plane.channel
        loss(channel)
        ref_plane.wait(lambda: ref_plane.channels_opened > opened and ref_plane.channel, 20, "reconnect")
        assert ref_plane.channel.sock.session_reused, "a full TLS handshake where a short one would do"
        assert ref_plane.shell("echo back").final()["documentStatus"] == "Success"


def test_refused_channel_is_tried_again(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    ref_plane.fail["CreateControlChannel"] = [(403, "AccessDeniedException")]
    agent.start()
    ref_plane.wait_online(40)
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_service_errors_at_the_start_are_survived(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    ref_plane.fail["RequestManagedInstanceRoleToken"] = [(500, "InternalServerError")]
    ref_plane.fail["UpdateInstanceInformation"] = [(503, "ServiceUnavailable")]
    agent.start()
    ref_plane.wait_online(90)


def test_token_is_renewed_at_half_life(ref_plane, new_agent):
    ref_plane.token_life_s = 8
    agent = new_agent(ref_plane)
    ref_plane.wait(lambda: ref_plane.token_count >= 3, 15, "renewal")
    times = [r.at for r in ref_plane.requests if r.headers.get("x-amz-target", "").endswith("RoleToken")]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert all(3 <= g <= 5.5 for g in gaps), gaps
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"
    assert agent.running()


def test_cached_credentials_are_used_at_the_start(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    agent.stop()
    agent.start()
    ref_plane.wait_online()
    assert ref_plane.token_count == 1


def test_key_rotation(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    before = next(iter(ref_plane.nodes.values()))[0].public_numbers()
    ref_plane.update_key_pair = True
    ref_plane.token_life_s = 6
    agent.start()
    ref_plane.wait_online()
    ref_plane.wait(lambda: next(iter(ref_plane.nodes.values()))[0].public_numbers() != before, 15, "a new key")
    count = ref_plane.token_count
    ref_plane.wait(lambda: ref_plane.token_count > count, 15, "a token with the new key")
    agent.stop()
    ref_plane.token_life_s = 3600
    agent.start()
    ref_plane.wait_online()


@pytest.mark.parametrize("status, name", [(400, "InvalidPublicKey"), (500, "InternalServerError")])
def test_refused_key_rotation_does_not_lock_the_node_out(ref_plane, new_agent, status, name):
    """The official agent takes any answer for success and is locked out (protocol 1 §4.3)."""
    agent = new_agent(ref_plane, start=False)
    ref_plane.update_key_pair = True
    ref_plane.token_life_s = 6
    ref_plane.fail["UpdateManagedInstancePublicKey"] = [(status, name)] * 20
    agent.start()
    ref_plane.wait_online()
    count = ref_plane.token_count
    ref_plane.wait(lambda: ref_plane.token_count > count + 1, 20, "further tokens")
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_shared_credentials_file(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    path = agent.home / ".aws/credentials"
    path.parent.mkdir()
    path.write_text("# mine\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = keep\n")
    agent.start()
    ref_plane.wait_online()
    flsandbox.wait_for("the credentials file", lambda: "aws_session_token" in path.read_text(), 10)
    text = path.read_text()
    access_key = next(iter(ref_plane.tokens))
    assert access_key in text and "[default]" in text
    assert "# mine\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = keep\n" in text


def test_a_profile_that_is_not_ours_is_never_overwritten(ref_plane, new_agent):
    agent = new_agent(ref_plane, start=False)
    path = agent.home / ".aws/credentials"
    path.parent.mkdir()
    theirs = "[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n"
    path.write_text(theirs)
    agent.start()
    ref_plane.wait_online()
    assert ref_plane.shell("true").final()["documentStatus"] == "Success"
    assert path.read_text().startswith(theirs), "their profile changed"


def test_share_creds_false_writes_nothing(ref_plane, new_agent):
    agent = new_agent(ref_plane, config={"Profile": {"ShareCreds": False}})
    assert ref_plane.shell("true").final()["documentStatus"] == "Success"
    assert not (agent.home / ".aws/credentials").exists()


def test_credential_process(ref_plane, new_agent):
    """`credentials` prints what AWS SDKs expect of a credential_process."""
    agent = new_agent(ref_plane)
    flsandbox.wait_for("credentials", lambda: agent.command("credentials").returncode == 0, 10)
    got = json.loads(agent.command("credentials").stdout)
    secret, token, _ = ref_plane.tokens[got["AccessKeyId"]]
    assert (got["Version"], got["SecretAccessKey"], got["SessionToken"]) == (1, secret, token)
    until = datetime.datetime.fromisoformat(got["Expiration"].replace("Z", "+00:00")).timestamp()
    assert abs(until - time.time() - ref_plane.token_life_s) < 120


def test_vault_files(ref_plane, new_agent):
    """The official agent's files and modes (protocol 1 §1.4)."""
    agent = new_agent(ref_plane)
    node = next(iter(ref_plane.nodes))
    key_file, manifest = agent.state / "Vault/Store/RegistrationKey", agent.state / "Vault/Manifest"
    record = json.loads(key_file.read_text())
    assert set(record) == {"instanceID", "region", "instanceType", "availabilityZone", "privateKey", "publicKey",
                           "privateKeyType", "privateKeyCreatedDate"}
    assert (record["instanceID"], record["region"], record["privateKeyType"]) == (node, "local", "Rsa")
    key = serialization.load_der_private_key(base64.b64decode(record["privateKey"]), None)
    assert key.public_key().public_numbers() == ref_plane.nodes[node][0].public_numbers()
    assert json.loads(manifest.read_text())["RegistrationKey"] == str(key_file)
    assert json.loads((agent.state / "registration").read_text()) == {"ManagedInstanceID": node, "Region": "local"}
    fingerprint = json.loads((agent.state / "Vault/Store/InstanceFingerprint").read_text())
    assert fingerprint["fingerprint"] == ref_plane.nodes[node][1] and fingerprint["similarityThreshold"] == 40
    assert len(fingerprint["hardwareHash"]) == 9
    for path in (key_file, manifest, agent.state / "Vault/Store/InstanceFingerprint"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_privilege_split(ref_plane, new_agent):
    """The process with the socket is not the one with the key; as root it is another user, without capabilities."""
    agent = new_agent(ref_plane)
    names = {flproc.name(p): p for p in agent.below()}
    net = next((p for n, p in names.items() if n.startswith("fairlead-agent-") and "net" in (flproc.cmdline(p) or [""])[0]), None) \
        or next(p for p in agent.below() if any("fairlead-agent-net" in a for a in flproc.cmdline(p)))
    sockets = {p: tcp_sockets(p) for p in agent.below()}
    assert sockets[net] >= 1
    assert sockets[agent.pid] == 0, "the monitor holds a network socket"
    text = pathlib.Path(f"/proc/{net}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0 and fields["NoNewPrivs"].strip() == "1"
    # A sanitizer needs calls that the filter refuses: such builds run without it.
    if "libasan" not in pathlib.Path(f"/proc/{net}/maps").read_text():
        assert fields["Seccomp"].strip() == "2"
    if os.geteuid() == 0:
        assert int(fields["Uid"].split()[0]) != 0


def tcp_sockets(pid):
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        try:
            for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                inodes.add(line.split()[9])
        except OSError:
            pass
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            count += 1
    return count


def test_idle_agent_is_quiet(ref_plane, new_agent):
    """Connected and idle: no log lines, next to no CPU, no calls."""
    agent = new_agent(ref_plane)
    ref_plane.shell("true")
    ref_plane.wait(lambda: len(ref_plane.pings) >= 2, 10, "the full ping")
    time.sleep(1)
    log, calls, cpu = agent.log.read_text(), list(ref_plane.requests), flproc.cpu_seconds(agent.below())
    time.sleep(5)
    assert agent.log.read_text() == log
    assert [r.headers.get("X-Amz-Target", r.path) for r in ref_plane.requests[len(calls):]] == []
    assert flproc.cpu_seconds(agent.below()) - cpu <= 0.05
