"""aws:runDocument: documents inside documents (protocol 4 §5.1)."""
import json
import os
import signal
import uuid

import flproc
import flsandbox


def document(*steps, parameters=None, version="2.2"):
    return json.dumps({"schemaVersion": version, "mainSteps": list(steps),
                       **({"parameters": parameters} if parameters else {})})


def shell(name, *lines, **inputs):
    return {"action": "aws:runShellScript", "name": name, "inputs": dict(inputs, runCommand=list(lines))}


def nest(path, type_="SSMDocument", name="outer", **more):
    inputs = {"documentType": type_, "documentPath": str(path), **more.pop("inputs", {})}
    return {"action": "aws:runDocument", "name": name, "inputs": inputs, **more}


def run(plane, *steps):
    job = plane.send_job(json.loads(document(*steps)))
    plane.finished(job, 40)
    return job


def outcome(job, name="outer"):
    s = job.steps()[name]
    return s["status"], s["code"], s["standardOutput"], s["standardError"]


def test_steps_run_by_the_rules(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"stored": ("String", "from the store")}
    ref_plane.documents = {
        "Good": document(shell("one", "echo {{p}}; echo e1 >&2"), shell("two", "echo '{{ssm:stored}}'"),
                         parameters={"p": {"type": "String", "default": "d"}}),
        "Bad": document(shell("one", "echo 1; exit 3"), shell("two", "echo 2"), shell("three", "sleep 9",
                                                                                     timeoutSeconds="1")),
        "Stops": document(shell("one", "echo 1; exit 1", onFailure="exit"), shell("two", "echo never")),
        "Unknown": document({"action": "aws:nothing", "name": "n", "inputs": {}}, shell("two", "echo 2")),
        "Jumps": json.dumps({"schemaVersion": "2.2", "parameters": {"fairleadSteps": {"type": "String", "default": "written"}},
                             "mainSteps": [dict(shell("one", "echo 1"), nextStep="three"), shell("two", "echo 2"),
                                           shell("three", "echo 3")]}),
        "Old": document(shell("one", "echo old"), version="2.0"),
    }
    job = run(ref_plane, nest("Good", inputs={"documentParameters": {"p": "given"}}), shell("after", "echo after"))
    assert outcome(job) == ("Success", 0, "given\n\nfrom the store\n", "e1\n")
    assert outcome(job, "after")[2] == "after\n"
    assert outcome(run(ref_plane, nest("Good", inputs={"documentParameters": '{"p": "text"}'})))[2].startswith("text\n")
    assert outcome(run(ref_plane, nest("Good", inputs={"documentParameters": "p: on"})))[2].startswith("true\n")
    assert outcome(run(ref_plane, nest("Good:2")))[2].startswith("d\n")
    assert ("GetDocument", {"Name": "Good", "DocumentVersion": "2"}) in ref_plane.calls
    status, code, out, err = outcome(run(ref_plane, nest("Bad")))
    assert (status, code, out) == ("Failed", 1, "1\n\n2\n") and "exit status 3" in err
    status, code, out, err = outcome(run(ref_plane, nest("Stops")))
    assert (status, code) == ("Failed", 1) and out.startswith("1\n\nStep was found to have onFailure property")
    assert "never" not in out and "skipped due to prior step" in out
    status, _, out, err = outcome(run(ref_plane, nest("Unknown")))
    assert status == "Failed" and "aws:nothing is not supported" in err and out == "2\n"
    assert outcome(run(ref_plane, nest("Jumps")))[2] == "1\n\n3\n"
    assert outcome(run(ref_plane, nest("Old")))[2] == "old\n"
    assert outcome(run(ref_plane, nest("AWS-Noop")))[:2] == ("Success", 0)
    assert agent.running()


def test_what_cannot_be_run(ref_plane, new_agent, tmp_path):
    new_agent(ref_plane)
    ref_plane.documents = {"NoJson": "{", "Schema": document(shell("a", "x"), version="9"),
                           "Parameter": document(shell("a", "x"), parameters={
                               "p": {"type": "String", "allowedPattern": "^a$"}}),
                           "Store": document(shell("a", "echo {{ssm:gone}}"))}
    head = "There was an error while preparing documents - "
    for step, words in [
            (nest("Gone"), head + "InvalidDocument"), (nest("NoJson"), head),
            (nest("Schema"), head + "Document with schema version 9"),
            (nest("Store"), head + "Input contains invalid parameters [gone]"),
            (nest("Parameter", inputs={"documentParameters": {"p": "b"}}), "does not match the allowed pattern"),
            (nest(tmp_path / "none", "LocalPath"), head + "File is empty!"),
            (nest("x", "Other"), "documentType Other"), (nest(""), "documentPath"),
            (nest("Store", settings={"x": 1}), "There was an error obtaining the depth of execution")]:
        status, code, _, err = outcome(run(ref_plane, step))
        assert (status, code) == ("Failed", 1) and words in err, (words, err)


def test_local_files_and_depth(ref_plane, new_agent, tmp_path):
    new_agent(ref_plane)
    (tmp_path / "doc.yaml").write_text("schemaVersion: 2.2\nmainSteps:\n- action: aws:runShellScript\n  name: a\n"
                                       "  inputs:\n    runCommand: [echo yaml]\n")
    assert outcome(run(ref_plane, nest(tmp_path / "doc.yaml", "LocalPath")))[2] == "yaml\n"
    # What a step before it downloaded is found by a relative path.
    ref_plane.documents = {"D": document(shell("a", "echo downloaded")),
                           "L1": document(nest("L2")), "L2": document(nest("L3"), shell("s", "echo two")),
                           "L3": document(shell("s", "echo three")), "Loop": document(nest("Loop"))}
    get = {"action": "aws:downloadContent", "name": "get", "inputs": {
        "sourceType": "SSMDocument", "sourceInfo": {"name": "D"}, "destinationPath": "sub/"}}
    assert outcome(run(ref_plane, get, nest("sub/D.json", "LocalPath")))[2] == "downloaded\n"
    assert outcome(run(ref_plane, nest("L1")))[:3] == ("Success", 0, "three\n\ntwo\n")
    status, _, _, err = outcome(run(ref_plane, nest("Loop")))
    assert status == "Failed"
    assert "Maximum depth for document execution exceeded. Maximum depth permitted - 3 and current depth - 4" in err


def test_a_reboot_is_refused(ref_plane, new_agent):
    new_agent(ref_plane)
    ref_plane.documents = {"R": document(shell("a", "echo 1; exit 194"), shell("b", "echo never"))}
    status, code, out, err = outcome(run(ref_plane, nest("R")))
    assert (status, code) == ("Failed", 1) and "cannot ask for a reboot" in err and "never\n" not in out


def running(mark):
    return [p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
            if any(mark in a for a in flproc.cmdline(p)) and flproc.alive(p)]


def test_cancel_reaches_the_inner_step(ref_plane, new_agent):
    new_agent(ref_plane)
    mark = f"703.{os.getpid()}{uuid.uuid4().int % 1000}"
    ref_plane.documents = {"C": document(shell("a", f"sleep {mark} & sleep {mark}"), shell("b", "echo never"))}
    job = ref_plane.send_job(json.loads(document(nest("C"), shell("after", "echo never"))))
    flsandbox.wait_for("the script", lambda: len(running(mark)) >= 2, 20)
    ref_plane.cancel(job)
    ref_plane.finished(job, 20)
    assert outcome(job)[0] == "Cancelled" and outcome(job, "after")[0] == "Cancelled"
    assert "never" not in outcome(job)[2]
    flsandbox.wait_for("its processes to go", lambda: not running(mark))


def test_a_worker_that_dies_ends_the_inner_step(ref_plane, new_agent):
    """The group of the inner step is noted for the step around it: nothing of it stays."""
    agent = new_agent(ref_plane)
    mark = f"704.{os.getpid()}{uuid.uuid4().int % 1000}"
    ref_plane.documents = {"S": document(shell("a", f"sleep {mark} & sleep {mark}"))}
    job = ref_plane.send_job(json.loads(document(nest("S"), shell("after", "echo after"))))
    flsandbox.wait_for("the script", lambda: len(running(mark)) >= 2, 20)
    workers = [p for p in flproc.descendants(agent.child.pid) if any("worker" in a for a in flproc.cmdline(p)[:2])]
    os.kill(workers[0], signal.SIGKILL)
    ref_plane.finished(job, 30)
    status, code, _, err = outcome(job)
    assert (status, code) == ("Failed", 1) and "interrupted" in err
    assert outcome(job, "after")[2] == "after\n"
    flsandbox.wait_for("its processes to go", lambda: not running(mark))


def test_the_nodes_policy_holds_inside(ref_plane, new_agent, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"version": 1, "default": "allow", "rules": [
        {"name": "nest", "effect": "allow", "match": {"actions": ["aws:runDocument"]}},
        {"name": "no danger", "effect": "deny", "match": {"inputs": {"runCommand": ".*danger.*"}}}]}))
    policy.chmod(0o600)
    new_agent(ref_plane, config={"Fairlead": {"PolicyFile": str(policy)}})
    ref_plane.documents = {"D": document(shell("a", "echo fine"), shell("b", "echo {{p}}"), shell("c", "echo on"),
                                         parameters={"p": {"type": "String", "default": "{{ssm:x}}"}})}
    ref_plane.parameters = {"x": ("String", "danger")}
    status, code, out, err = outcome(run(ref_plane, nest("D")))
    assert (status, code, out) == ("Failed", 1, "fine\n\non\n") and 'rule "no danger"' in err, (out, err)
