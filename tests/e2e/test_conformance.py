"""Every case of documents-conformance.json, sent to a real agent and compared field by field: through the reference
plane, which sends any payload, and as a document of our own plane, made and run with boto3 and with the AWS CLI."""
import json
import re

import pytest
from botocore.exceptions import ClientError

import conftest
import flsandbox

CASES = json.loads((flsandbox.ROOT / "tests/vectors/documents-conformance.json").read_text())
REBOOTS = "exit-194-requests-reboot"
LIMIT_S = 60
# What a plane sees to before a node gets it (protocol 4 §1.2, "The rest is the server's job").
PLANE_REFUSES = {
    "precondition-unknown-operator": "InvalidDocumentContent",
    "precondition-in-schema-2.0": "InvalidDocumentContent",
    "unknown-plugin-fails": "InvalidDocumentContent",
    "windows-only-plugin-fails-in-1.2": "UnsupportedPlatformType",
    "substitution-whole-and-embedded": "InvalidDocumentContent",
    "allowed-pattern-violation-fails-document": "InvalidParameters",
    "allowed-values-not-checked-by-agent": "InvalidParameters",
    "unsupported-schema": "InvalidDocumentSchemaVersion",
    "empty-main-steps": "InvalidDocumentContent",
    "step-level-timeout-as-string": "InvalidDocumentContent",
    "run-command-as-plain-string": "InvalidDocumentContent",
    # {{ w }} of the inner document stands in the outer one, which has no such parameter
    "run-document-local-path": "InvalidDocumentContent",
    "run-document-inner-allowed-values": "InvalidDocumentContent",
}


class Got:
    """What came of a document, as far as it was told: steps by key."""

    def __init__(self, status, steps, error=None):
        self.status, self.steps, self.error = status, steps, error


def differences(case, got, show=lambda status: status, fields=("code", "stdout", "stderr", "output")):
    """What is not as the case wants it, in words. `show`: what a status is on this way."""
    want, name = case["expect"], case["name"]
    if "error" in want or "error_prefix" in want:
        if got.status != "Failed" or got.steps:
            return [f"{name}: {got.status}, steps {sorted(got.steps)}"]
        good = got.error == want["error"] if "error" in want else got.error.startswith(want["error_prefix"])
        return [] if good else [f"{name}: error {got.error!r}"]
    bad = []

    def expect(what, is_, wanted, good):
        if not good:
            bad.append(f"{name}: {what} is {is_!r}, not {wanted!r}")

    expect("document", got.status, want["status"], got.status == show(want["status"]))
    statuses = {k: s["status"] for k, s in got.steps.items()}
    wanted = {k: show(s) for k, s in want["steps"].items()}
    expect("steps", statuses, wanted, statuses == wanted)
    step = got.steps.get(want.get("of", next(iter(want["steps"]))))
    for field in fields if step else ():
        is_ = step[field]
        checks = {"": lambda w: is_ == w, "_prefix": lambda w: is_.startswith(w), "_suffix": lambda w: is_.endswith(w),
                  "_length": lambda w: len(is_.encode()) == w}
        for suffix, check in checks.items():
            if field + suffix in want:
                expect(field + suffix, is_, want[field + suffix], check(want[field + suffix]))
    return bad


def from_replies(job):
    """The merged replies of a job at the reference plane."""
    names = {"code": "code", "stdout": "standardOutput", "stderr": "standardError", "output": "output"}
    last = job.replies[-1][1]
    steps = {k: {"status": s["status"], **{n: s[w] for n, w in names.items()}} for k, s in job.steps().items()}
    return Got(last["documentStatus"], steps, last["documentTraceOutput"])


def test_at_the_reference_plane(ref_plane, new_agent):
    agent = new_agent(ref_plane, config={"Mds": {"CommandWorkersLimit": len(CASES)},
                                         "Fairlead": {"RebootCommand": "exit 0"}})
    plain = [(c, ref_plane.send_job(c["document"], c["parameters"])) for c in CASES if c["name"] != REBOOTS]
    for case, job in plain:
        ref_plane.finished(job, LIMIT_S)
    # Alone: while it waits for the reboot no other document is begun.
    case = next(c for c in CASES if c["name"] == REBOOTS)
    job = ref_plane.send_job(case["document"], case["parameters"])
    ref_plane.wait(lambda: any(i["documentStatus"] == "SuccessAndReboot" for _, i, _ in job.replies), LIMIT_S, REBOOTS)
    bad = [d for c, j in [*plain, (case, job)] for d in differences(c, from_replies(j))]
    assert not bad, "\n".join(bad)
    assert agent.running() and len(plain) + 1 == len(CASES)


def shown(status):
    """The API's enums have no Skipped and no SuccessAndReboot (protocol 4 §2.4)."""
    return {"Skipped": "Success", "SuccessAndReboot": "InProgress"}.get(status, status)


def as_parameters(values):
    return {k: v if isinstance(v, list) else [v if isinstance(v, str) else json.dumps(v)] for k, v in values.items()}


def long_name(name):
    """PluginName of GetCommandInvocation has at least 4 characters."""
    return name if len(name) >= 4 else f"step-{name}"


def with_long_names(case):
    """The case with such names for its steps, where they are made and where they are told."""
    case = json.loads(re.sub(r"(Step name: |and id )([^ \"]+)", lambda m: m[1] + long_name(m[2]), json.dumps(case)))
    for step in case["document"].get("mainSteps", []):
        step["name"] = long_name(step["name"])
    want = case["expect"]
    if "steps" in want:
        want["steps"] = {long_name(k): v for k, v in want["steps"].items()}
    if "of" in want:
        want["of"] = long_name(want["of"])
    return case


class OverTheApi:
    """A case as a document of a plane: made, sent, read back, removed."""

    def __init__(self, ssm, node, case, prefix="conformance-"):
        self.ssm, self.node, self.case = ssm, node, case
        self.name, self.command, self.refused = prefix + case["name"], None, None
        try:
            ssm.create_document(Name=self.name, Content=json.dumps(case["document"]), DocumentType="Command")
            self.command = ssm.send_command(DocumentName=self.name, InstanceIds=[node],
                                            Parameters=as_parameters(case["parameters"]))["Command"]["CommandId"]
        except ClientError as e:
            self.refused = e.response["Error"]["Code"]

    def result(self):
        """None while it runs."""
        shown_ = self.ssm.list_command_invocations(CommandId=self.command, InstanceId=self.node, Details=True)
        if not shown_["CommandInvocations"] or shown_["CommandInvocations"][0]["Status"] in ("Pending", "InProgress"):
            return None
        invocation = shown_["CommandInvocations"][0]
        steps = {}
        for plugin in invocation["CommandPlugins"]:
            one = self.ssm.get_command_invocation(CommandId=self.command, InstanceId=self.node,
                                                  PluginName=plugin["Name"])
            steps[plugin["Name"]] = {"status": plugin["Status"], "code": plugin["ResponseCode"],
                                     "stdout": one["StandardOutputContent"], "stderr": one["StandardErrorContent"],
                                     "output": plugin["Output"]}
        return Got(invocation["Status"], steps, invocation.get("TraceOutput", ""))

    def wait(self):
        return flsandbox.wait_for(self.case["name"], self.result, LIMIT_S, 0.1)

    def remove(self):
        try:
            self.ssm.delete_document(Name=self.name)
        except ClientError:
            pass


def all_cases(box, ssm, prefix):
    """What is not as the cases want it; the box's agent is everybody's and not rebooted."""
    bad, sent = [], []
    try:
        for case in map(with_long_names, CASES):
            if case["name"] != REBOOTS:
                sent.append(OverTheApi(ssm, box.agents[0].node_id, case, prefix))
        for one in sent:
            if one.refused:
                if one.refused != PLANE_REFUSES.get(one.case["name"]):
                    bad.append(f"{one.case['name']}: refused with {one.refused}")
            elif one.case["name"] in PLANE_REFUSES:
                bad.append(f"{one.case['name']}: not refused")
            else:
                bad += differences(one.case, one.wait(), shown)
    finally:
        for one in sent:
            one.remove()
    assert len(sent) == len(CASES) - 1
    return bad


def test_at_our_plane(box, ssm):
    bad = all_cases(box, ssm, "conformance-")
    assert not bad, "\n".join(bad)


class Cli:
    """`aws ssm …` with the methods of boto3's client."""

    def __init__(self, box):
        self.aws, self.calls = conftest.Aws(box), 0

    def __getattr__(self, operation):
        def call(**members):
            argv = ["ssm", operation.replace("_", "-")]
            for name, value in members.items():
                option = "--" + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
                argv += [option] if value is True else [option, value if isinstance(value, str) else json.dumps(value)]
            done = self.aws(*argv)
            self.calls += 1
            if done.code == 254:
                raise ClientError({"Error": {"Code": re.search(r"\((\w+)\)", done.err)[1]}}, operation)
            assert done.code == 0, (argv, done)
            return done.json if done.out.strip() else {}
        return call


@pytest.mark.first
@pytest.mark.once
def test_with_the_aws_cli(box):
    cli = Cli(box)
    bad = all_cases(box, cli, "cli-")
    assert not bad, "\n".join(bad)
    assert cli.calls > 3 * len(CASES)


def test_steps_that_mean_what_is_written(box, ssm):
    """docs/documents.md: the plane takes such a document like any other, a caller can turn it off, and a value in a
    variable is no code."""
    document = {"schemaVersion": "2.2", "description": "written", "parameters": {
        "fairleadSteps": {"type": "String", "default": "written", "allowedValues": ["written", "official"]},
        "value": {"type": "String", "interpolationType": "ENV_VAR"}},
        "mainSteps": [
            {"action": "aws:runShellScript", "name": "first", "nextStep": "third", "timeoutSeconds": 60,
             "inputs": {"runCommand": ["printf '%s\\n' \"$SSM_value\""]}},
            {"action": "aws:runShellScript", "name": "second", "inputs": {"runCommand": ["echo second"]}},
            {"action": "aws:runShellScript", "name": "third", "maxAttempts": 2, "onFailure": "Abort",
             "inputs": {"runCommand": ["echo try; exit 3"]}},
            {"action": "aws:runShellScript", "name": "fourth", "inputs": {"runCommand": ["echo fourth"]}}]}
    value = "$(touch /tmp/never) `id` \"'"
    ran = {}
    for mode in ("written", "official"):
        one = OverTheApi(ssm, box.agents[0].node_id, {
            "name": f"steps-{mode}", "document": document, "parameters": {"fairleadSteps": mode, "value": value}})
        try:
            assert not one.refused, one.refused
            ran[mode] = one.wait().steps
        finally:
            one.remove()
        assert ran[mode]["first"]["stdout"] == value + "\n"
    written, official = ({k: s["stdout"] for k, s in ran[m].items()} for m in ("written", "official"))
    abort = "\nStep was found to have onFailure property. Further document steps will be skipped."
    assert (written["second"], written["third"], written["fourth"]) == ("", "try\n\ntry\n" + abort, "")
    assert (official["second"], official["third"], official["fourth"]) == ("second\n", "try\n", "fourth\n")
