"""What documents fetch over the network: parameters of Parameter Store (protocol 4 §1.4)."""
import json
import signal
import subprocess

import flsandbox
import refplane


def step_of(job, name="step1"):
    return job.steps()[name]


def run(ref_plane, *lines, parameters=None, declared=None):
    document = refplane.steps_document(list(lines))
    if declared:
        document["parameters"] = declared
    return ref_plane.finished(ref_plane.send_job(document, parameters))


def names_asked(ref_plane):
    return [n for operation, members in ref_plane.calls for n in members["Names"]]


def test_references_become_values(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"/app/one": ("String", "first {{ssm:/app/two}}"), "two": ("String", "2"),
                            "list": ("StringList", "echo a,echo b c")}
    job = run(ref_plane, "echo '{{ssm:/app/one}}' {{ ssm:two }}{{ssm:two:1}} {{p}}", " {{ ssm:list }} ",
              parameters={"p": "<{{ssm:two}}>"}, declared={"p": {"type": "String"}})
    assert job.final()["documentStatus"] == "Failed"  # the shell's: < is its
    job = run(ref_plane, "echo '{{ssm:/app/one}}' {{ ssm:two }}{{ssm:two:1}} '{{p}}'", " {{ ssm:list }} ",
              parameters={"p": "<{{ssm:two}}>"}, declared={"p": {"type": "String"}})
    assert step_of(job)["standardOutput"] == "first {{ssm:/app/two}} 22 <2>\na\nb c\n"
    assert all(members["WithDecryption"] is False for _, members in ref_plane.calls)
    assert not ref_plane.violations
    assert "first" not in agent.log.read_text()


def test_ten_names_a_call(ref_plane, new_agent):
    new_agent(ref_plane)
    ref_plane.parameters = {f"p{i}": ("String", str(i)) for i in range(23)}
    job = run(ref_plane, "echo " + " ".join(f"{{{{ssm:p{i}}}}}" for i in range(23)))
    assert step_of(job)["standardOutput"] == " ".join(map(str, range(23))) + "\n"
    assert [len(m["Names"]) for _, m in ref_plane.calls] == [10, 10, 3]


def failure(ref_plane, *lines, **more):
    """The words of a document error: over this channel they stand in the agent's log only."""
    job = run(ref_plane, *lines, **more)
    assert job.final()["documentStatus"] == "Failed" and job.steps() == {}
    return job


def test_references_that_cannot_be(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"secret": ("SecureString", "hush"), "list": ("StringList", "a,b"), "x": ("String", "1")}
    for line, words in [
            ("echo {{ssm:gone}} {{ssm:x}}", "Input contains invalid parameters [gone]"),
            ("echo {{ssm:gone}} {{ssm:lost:2}}", "Input contains invalid parameters [gone lost:2]"),
            ("echo {{ssm:secret}}", "Parameters [secret] of type SecureString are not supported"),
            ("echo {{ssm:list}}", "Parameter list of type StringList cannot be used as a String"),
            ("echo {{ssm:x:label}}", "Encountered error while parsing input - internal error")]:
        failure(ref_plane, line)
        assert words in agent.log.read_text(), line
    # What only looks like one stays.
    job = run(ref_plane, "echo '{{ssm-secure:secret}} {{ssm:}} {{ssm:a b}} {{ssm:x}'")
    assert step_of(job)["standardOutput"] == "{{ssm-secure:secret}} {{ssm:}} {{ssm:a b}} {{ssm:x}\n"


def test_allowed_pattern_sees_the_value(ref_plane, new_agent):
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"good": ("String", "abc"), "bad": ("String", "hidden-value")}
    declared = {"p": {"type": "String", "allowedPattern": "^[a-c]+$"}}
    job = run(ref_plane, "echo {{p}}", parameters={"p": "{{ssm:good}}"}, declared=declared)
    assert step_of(job)["standardOutput"] == "abc\n"
    failure(ref_plane, "echo {{p}}", parameters={"p": "{{ssm:bad}}"}, declared=declared)
    assert "hidden-value" not in agent.log.read_text()


def test_variables_get_the_value(ref_plane, new_agent):
    new_agent(ref_plane)
    ref_plane.parameters = {"x": ("String", "$(id)")}
    job = run(ref_plane, 'echo "$SSM_p"', parameters={"p": "{{ssm:x}}"},
              declared={"p": {"type": "String", "interpolationType": "ENV_VAR"}})
    assert step_of(job)["standardOutput"] == "$(id)\n"


def test_a_store_that_is_busy(ref_plane, new_agent):
    new_agent(ref_plane)
    ref_plane.parameters = {"x": ("String", "1")}
    ref_plane.fail["GetParameters"] = [(400, "ThrottlingException"), (500, "InternalServerError")]
    job = run(ref_plane, "echo {{ssm:x}}")
    assert step_of(job)["standardOutput"] == "1\n"
    ref_plane.fail["GetParameters"] = [(400, "AccessDeniedException")]
    failure(ref_plane, "echo {{ssm:x}}")


def test_values_stay_out_of_the_nodes_files(ref_plane, new_agent):
    """Only what a script prints is kept; logs and journals hold no value."""
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"x": ("String", "value-that-is-nobodys-business")}
    run(ref_plane, ": {{ssm:x}}")
    found = subprocess.run(["grep", "-rla", "nobodys-business", str(agent.folder)], capture_output=True, text=True,
                           check=False).stdout.splitlines()
    assert all(f.endswith("_script.sh") for f in found), found


def test_a_monitor_that_restarts_is_waited_for(ref_plane, new_agent):
    """The store answers only when the monitor that was asked for a way out has been killed."""
    agent = new_agent(ref_plane)
    ref_plane.parameters = {"x": ("String", "1")}
    ref_plane.fail["GetParameters"] = [(500, "InternalServerError")]
    job = ref_plane.send_job(refplane.steps_document("echo {{ssm:x}}"))
    ref_plane.wait(lambda: not ref_plane.fail["GetParameters"], 20, "the first question")
    agent.kill(signal.SIGKILL)
    agent.start()
    ref_plane.finished(job, 40)
    assert step_of(job)["standardOutput"] == "1\n"


def test_with_our_own_plane(box, ssm):
    """The node asks the plane it is registered with, as itself; documents and downloads come from there, too."""
    ssm.put_parameter(Name="/calls/greeting", Type="String", Value="hello", Overwrite=True)
    ssm.put_parameter(Name="/calls/list", Type="StringList", Value="echo a,echo b", Overwrite=True)
    ssm.put_parameter(Name="/calls/secret", Type="SecureString", Value="hush", Overwrite=True)
    content = {"schemaVersion": "2.2", "description": "inner", "parameters": {"p": {"type": "String", "default": "d"}},
               "mainSteps": [{"action": "aws:runShellScript", "name": "in", "inputs": {"runCommand": ["echo inner {{p}}"]}}]}
    outer = {"schemaVersion": "2.2", "description": "outer", "mainSteps": [
        {"action": "aws:runShellScript", "name": "refs",
         "inputs": {"runCommand": ["echo {{ssm:/calls/greeting}}", "{{ssm:/calls/list}}"]}},
        {"action": "aws:downloadContent", "name": "fetch", "inputs": {
            "sourceType": "SSMDocument", "sourceInfo": {"name": "CallsInner"}, "destinationPath": "d/"}},
        {"action": "aws:runDocument", "name": "local", "inputs": {
            "documentType": "LocalPath", "documentPath": "d/CallsInner.json"}},
        {"action": "aws:runDocument", "name": "service", "inputs": {
            "documentType": "SSMDocument", "documentPath": "CallsInner",
            "documentParameters": {"p": "{{ssm:/calls/greeting}}"}}}]}
    names = []
    try:
        for name, body in (("CallsInner", content), ("CallsOuter", outer)):
            ssm.create_document(Name=name, DocumentType="Command", Content=json.dumps(body))
            names.append(name)
        node = box.agents[0].node_id
        command = ssm.send_command(InstanceIds=[node], DocumentName="CallsOuter")["Command"]["CommandId"]
        flsandbox.wait_for("the command", lambda: ssm.list_commands(CommandId=command)["Commands"][0]["Status"]
                           not in ("Pending", "InProgress"), 40)
        got = {n: ssm.get_command_invocation(CommandId=command, InstanceId=node, PluginName=n)
               for n in ("refs", "fetch", "local", "service")}
        assert {n: g["Status"] for n, g in got.items()} == dict.fromkeys(got, "Success"), got
        assert got["refs"]["StandardOutputContent"] == "hello\na\nb\n"
        assert got["local"]["StandardOutputContent"] == "inner d\n"
        assert got["service"]["StandardOutputContent"] == "inner hello\n"
    finally:
        for name in names:
            ssm.delete_document(Name=name)
        ssm.delete_parameters(Names=["/calls/greeting", "/calls/list", "/calls/secret"])
