"""Kills and restarts: nothing accepted is lost, nothing runs twice."""
import os
import signal
import subprocess
import threading
import time
import uuid

import pytest

import flapi
import flproc
import flsandbox

TERMINAL = ("Success", "Failed", "Cancelled", "TimedOut")


def send(plane, node, line):
    return plane.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node],
                          Parameters={"commands": [line]})["Command"]["CommandId"]


def settled(plane, command_id, node, timeout_s=60):
    def terminal():
        try:
            got = plane.api.call("GetCommandInvocation", CommandId=command_id, InstanceId=node)
        except (OSError, flapi.ApiError) as e:
            if isinstance(e, flapi.ApiError) and e.code != "InvocationDoesNotExist":
                raise
            return None
        return got if got["Status"] in TERMINAL else None
    return flsandbox.wait_for(f"command {command_id}", terminal, timeout_s)


# ---- the plane -----------------------------------------------------------------------------------

def test_second_start_on_the_same_data_is_refused(new_box):
    box = new_box(nodes=0)
    done = box.plane.command("run", "--data", box.plane.data)
    assert done.returncode != 0
    assert str(box.plane.data) in done.stderr + done.stdout or "lock" in (done.stderr + done.stdout).lower()
    assert box.plane.api.call("ListCommands")["Commands"] == []


def test_init_does_not_overwrite(new_box):
    box = new_box(nodes=0)
    before = (box.plane.data / "admin-credentials").read_bytes()
    done = box.plane.command("init", "--data", box.plane.data)
    assert done.returncode != 0 and (box.plane.data / "admin-credentials").read_bytes() == before


def test_graceful_stop(new_box):
    """SIGTERM: ends with 0, the agent comes back to the next start, and so do the results."""
    box = new_box()
    agent = box.agents[0]
    command = send(box.plane, agent.node_id, "echo kept")
    settled(box.plane, command, agent.node_id)
    started = time.monotonic()
    assert box.plane.stop() == 0
    assert time.monotonic() - started < 10
    box.plane.restart()
    agent.wait_online(box.plane)
    assert settled(box.plane, command, agent.node_id)["StandardOutputContent"] == "kept\n"


def test_a_second_signal_stops_at_once(new_box):
    box = new_box()
    box.plane.kill(signal.SIGTERM)
    box.plane.kill(signal.SIGTERM)
    box.plane.asked = True
    assert box.plane.stop() in (0, -signal.SIGTERM)


def test_health_and_metrics(new_box):
    box = new_box()
    assert box.plane.api.get("/healthz")[0] == 200
    assert box.plane.api.get("/readyz")[0] == 200
    settled(box.plane, send(box.plane, box.agents[0].node_id, "true"), box.agents[0].node_id)
    status, text = box.plane.api.get("/metrics")
    assert status == 200 and "# TYPE" in text and "# HELP" in text
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            float(line.rpartition(" ")[2])
    assert any("node" in f and "connect" in f for f in families), families
    assert any("duration" in f or "latency" in f or "seconds" in f for f in families), families
    assert "Success" in text


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_server_loses_nothing(new_box, new_node, seed):
    """kill -9 while commands are accepted and replies are acknowledged, then a look at the books."""
    box = new_box(nodes=0)
    node = new_node(plane=box.plane)
    finals, lock = {}, threading.Lock()

    def answer(m, outer, content):
        node.ack(m, outer["JobId"])
        ids = node.finish(outer["JobId"], out=content["CommandId"])
        with lock:
            finals[content["CommandId"]] = ids
    node.on_job = answer
    accepted, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                accepted.append(send(box.plane, node.node_id, "true"))
            except (OSError, flapi.ApiError):
                if not stop.is_set():
                    time.sleep(0.01)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    flsandbox.wait_for("some load", lambda: len(accepted) > 20 * seed, 60)
    box.plane.kill()
    stop.set()
    for t in threads:
        t.join()
    node.thread.join(10)
    acknowledged = {c for c, ids in finals.items() if ids[1] in node.acked}
    known = list(accepted)
    box.plane.restart()
    # What was acknowledged must be there before the node says another word.
    for command in acknowledged & set(known):
        got = box.plane.api.call("GetCommandInvocation", CommandId=command, InstanceId=node.node_id)
        assert got["Status"] == "Success" and got["StandardOutputContent"] == command, got
    # What was accepted is there, and ends once the node is back and repeats what was not acknowledged.
    node.open()
    for command in {content["CommandId"] for _, _, content in list(node.jobs)}:
        if command not in acknowledged:
            node.finish(f"aws.ssm.{command}.{node.node_id}", out=command)
    for command in known:
        got = settled(box.plane, command, node.node_id)
        assert got["Status"] == "Success" and got["StandardOutputContent"] == command
    listed = set()
    token = {}
    while True:
        page = box.plane.api.call("ListCommands", MaxResults=50, **token)
        listed |= {c["CommandId"] for c in page["Commands"]}
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    assert set(known) <= listed


@pytest.mark.slow
def test_killed_server_and_our_agent(new_box, tmp_path):
    """The same with the real agent: every accepted command ran exactly once."""
    box = new_box()
    agent = box.agents[0]
    agent.folder.chmod(0o755)
    journal = agent.folder / "ran"
    commands = [send(box.plane, agent.node_id, f"echo run >> {journal}; sleep 0.3; echo done") for _ in range(6)]
    box.plane.kill()
    time.sleep(1)
    box.plane.restart()
    for command in commands:
        assert settled(box.plane, command, agent.node_id, 90)["StandardOutputContent"] == "done\n"
    assert journal.read_text() == "run\n" * len(commands)


# ---- the agent -----------------------------------------------------------------------------------

def slow_job(plane, agent, seconds=3, mark=None):
    """A document that counts its own runs, takes `seconds` and prints at both ends."""
    counter = agent.folder / f"count-{uuid.uuid4().hex}"
    job = plane.send_job(parameters={"commands": [
        f"echo begin; echo run >> {counter}; sleep {seconds}; echo end"]})
    flsandbox.wait_for("the document to start", counter.exists, 20)
    return job, counter


def workers(agent):
    """Pids of the agent's worker processes: same program, told so by their arguments."""
    return [p for p in agent.below() if flproc.cmdline(p)[:1] == ["fairlead-agent-worker"]]


def net_of(agent):
    return next(p for p in agent.below() if any("fairlead-agent-net" in a for a in flproc.cmdline(p)[:1]))


def check_whole(plane, job, counter, timeout_s=30):
    plane.finished(job, timeout_s)
    assert job.final()["documentStatus"] == "Success"
    step = job.steps()["aws:runShellScript"]
    assert (step["standardOutput"], step["code"]) == ("begin\nend\n", 0)
    assert counter.read_text() == "run\n", "the document ran more than once"


def test_monitor_killed_during_a_document(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent)
    agent.kill()
    ref_plane.wait(lambda: ref_plane.channel is None, 10, "net to go with its monitor")
    agent.start()
    ref_plane.wait_online()
    check_whole(ref_plane, job, counter)


def test_monitor_killed_and_document_ends_meanwhile(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent, seconds=1)
    agent.kill()
    time.sleep(2)
    agent.start()
    ref_plane.wait_online()
    check_whole(ref_plane, job, counter)


def test_net_killed_during_a_document(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent)
    opened = ref_plane.channels_opened
    flproc.kill(net_of(agent), signal.SIGKILL)
    ref_plane.wait(lambda: ref_plane.channels_opened > opened and ref_plane.channel, 30, "a new channel")
    assert agent.running()
    check_whole(ref_plane, job, counter)


def test_worker_killed_during_a_document(ref_plane, new_agent):
    """It is reported, once, and the agent goes on (protocol 2 §5)."""
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent, seconds=30)
    found = workers(agent)
    assert found, [flproc.cmdline(p) for p in agent.below()]
    for p in found:
        flproc.kill(p, signal.SIGKILL)
    ref_plane.finished(job, 30)
    assert job.final()["documentStatus"] == "Failed"
    assert counter.read_text() == "run\n"
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_everything_killed_at_once(ref_plane, new_agent):
    """As after a power cut: the document is reported, and did not start again."""
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent, seconds=30)
    everything = agent.below()
    for sig in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: nobody sees another one go
        for p in everything:
            flproc.kill(p, sig)
    agent.child.wait()
    agent.start()
    ref_plane.wait_online()
    ref_plane.finished(job, 30)
    assert job.final()["documentStatus"] == "Failed"
    assert counter.read_text() == "run\n"
    assert ref_plane.shell("echo hi").final()["documentStatus"] == "Success"


def test_agent_restart_during_a_document(ref_plane, new_agent):
    """A stop in order leaves the document running; the next start reports it."""
    agent = new_agent(ref_plane)
    job, counter = slow_job(ref_plane, agent)
    assert agent.stop() == 0
    agent.start()
    ref_plane.wait_online()
    check_whole(ref_plane, job, counter)


def test_agent_restart_with_queued_jobs(ref_plane, new_agent):
    agent = new_agent(ref_plane, config={"Mds": {"CommandWorkersLimit": 1, "CommandWorkerBufferLimit": 5}})
    job, counter = slow_job(ref_plane, agent, seconds=2)
    queued = [ref_plane.send_job(parameters={"commands": [f"echo {i}"]}) for i in range(3)]
    ref_plane.wait(lambda: all(q.acks for q in queued), 10, "acks")
    agent.kill()
    agent.start()
    ref_plane.wait_online()
    check_whole(ref_plane, job, counter)
    for i, q in enumerate(queued):
        assert ref_plane.finished(q).steps()["aws:runShellScript"]["standardOutput"] == f"{i}\n"


def test_agent_survives_a_long_absence_of_the_plane(new_box):
    box = new_box()
    agent = box.agents[0]
    command = send(box.plane, agent.node_id, "sleep 1; echo offline")
    flsandbox.wait_for("delivery", lambda: box.plane.api.call(
        "GetCommandInvocation", CommandId=command, InstanceId=agent.node_id)["Status"] == "InProgress", 20)
    box.plane.kill()
    time.sleep(3)
    assert agent.running()
    box.plane.restart()
    assert settled(box.plane, command, agent.node_id, 60)["StandardOutputContent"] == "offline\n"


# ---- the sandbox itself --------------------------------------------------------------------------

SANDBOX = str(flsandbox.ROOT / "scripts/sandbox")


def processes_of(folder):
    return [p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
            if any(folder in a for a in flproc.cmdline(p)) and flproc.alive(p) and p != os.getpid()]


def test_sandbox_status_and_environment(tmp_path):
    done = subprocess.run([SANDBOX, "--nodes", "2", "--", "sh", "-c",
                           "echo $FAIRLEAD_DIR; echo $FAIRLEAD_NODES; aws ssm get-connection-status --target $FAIRLEAD_NODE;"
                           " kill -0 $FAIRLEAD_AGENT_PID || exit 9; fairlead-agent -version; exit 7"],
                          capture_output=True, text=True, timeout=180)
    assert done.returncode == 7, done
    lines = done.stdout.splitlines()
    assert len(lines[1].split()) == 2 and '"connected"' in done.stdout
    assert not os.path.exists(lines[0]) and not processes_of(lines[0])


@pytest.mark.parametrize("how", ["terminate", "interrupt-group", "kill-front", "kill-inner"])
def test_sandbox_leaves_nothing_behind(how):
    child = subprocess.Popen([SANDBOX, "--", "sh", "-c", "echo $FAIRLEAD_DIR; exec sleep 600"], stdout=subprocess.PIPE,
                             text=True, start_new_session=True)
    folder = child.stdout.readline().strip()
    assert len(processes_of(folder)) >= 2
    if how == "terminate":
        child.terminate()
    elif how == "interrupt-group":
        os.killpg(child.pid, signal.SIGINT)
    elif how == "kill-front":
        child.kill()
    else:
        inner = next(p for p in flproc.descendants(child.pid) if "sandbox" in " ".join(flproc.cmdline(p)))
        flproc.kill(inner, signal.SIGKILL)
    child.wait(60)
    flsandbox.wait_for("everything to go", lambda: not processes_of(folder), 20)
    assert child.returncode != 0
    child.stdout.close()
    flsandbox.wait_for("the folder to go", lambda: not os.path.exists(folder), 10)
