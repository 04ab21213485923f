"""Rows 1-48 and 53-58 of the acceptance list (protocol 6 §7), one test a row, with the stock AWS CLI.

The rows build on one another and run in order on one plane of their own. Names in capitals are those of
the list: N online node, OFF registered but stopped node, N2 spare node, A activation, C and C2 commands.
"""
import datetime
import json
import os
import re
import shutil
import time

import pytest

import conftest
import flsandbox

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.first]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NO_NODE = "mi-00000000000000000"
SH = ("--document-name", "AWS-RunShellScript")
OFF_TIMEOUT_S, OFF_EXECUTION_S = 30, 5


class Rows:
    """What one row leaves for the next."""


@pytest.fixture(scope="module")
def rows():
    with flsandbox.Sandbox(nodes=0) as box:
        r = Rows()
        r.box, r.aws = box, conftest.Aws(box)
        spare = box.plane.activation(limit=2)
        r.n2 = box.new_agent(spare)
        off = box.new_agent(spare)
        for agent in (r.n2, off):
            agent.wait_online(box.plane)
        off.stop()
        r.N2, r.OFF = r.n2.node_id, off.node_id
        # Row 25 needs 35 seconds: they pass while the other rows run.
        r.off_sent = time.monotonic()
        r.off_command = r.aws.ok("send-command", *SH, "--instance-ids", r.OFF, "--timeout-seconds",
                                 OFF_TIMEOUT_S, "--parameters",
                                 f"commands=id,executionTimeout={OFF_EXECUTION_S}")["Command"]["CommandId"]
        r.first = r.aws.ok("send-command", *SH, "--instance-ids", r.N2, "--parameters",
                           "commands=true")["Command"]["CommandId"]
        r.aws.settled(r.first, r.N2)
        yield r
        box.keep = True
        box.stop()
        reports = box.sanitizer_reports()
        if reports:
            conftest.show_logs(box.logs())
        shutil.rmtree(box.folder, ignore_errors=True)
        assert not reports, "\n".join(reports)


@pytest.fixture(autouse=True)
def logs_on_failure(rows, request):
    yield
    if getattr(request.node, "failed_call", False):
        conftest.show_logs(rows.box.logs())


def when(text):
    """Seconds since the epoch of a time that the CLI printed."""
    return datetime.datetime.fromisoformat(text).timestamp()


def send(rows, *args):
    return rows.aws.ok("send-command", *SH, *args)["Command"]


def command(rows, command_id):
    return rows.aws.ok("list-commands", "--command-id", command_id)["Commands"][0]


def command_settled(rows, command_id, timeout_s=60):
    def done():
        c = command(rows, command_id)
        return c if c["Status"] not in ("Pending", "InProgress", "Cancelling") else None
    return flsandbox.wait_for(f"command {command_id}", done, timeout_s)


# ---- identity and transport ----

def test_row_01_caller_identity(rows):
    got = rows.aws("sts", "get-caller-identity")
    assert got.code == 0, got
    assert re.fullmatch(r"\d{12}", got.json["Account"])
    assert got.json["Arn"].startswith("arn:aws:") and got.json["UserId"]


def test_row_02_sts_wrong_secret(rows):
    got = rows.aws("sts", "get-caller-identity", AWS_SECRET_ACCESS_KEY="x" * 40)
    assert got.code == 254 and "(SignatureDoesNotMatch)" in got.err, got


def test_row_03_ssm_wrong_secret_is_not_retried(rows):
    got = rows.aws("--debug", "ssm", "list-commands", AWS_SECRET_ACCESS_KEY="x" * 40)
    assert got.code == 254 and "(InvalidSignatureException)" in got.err, got
    assert got.err.count("Sending http request:") == 1


def test_row_04_unknown_key(rows):
    rows.aws.fails("UnrecognizedClientException", "list-commands", AWS_ACCESS_KEY_ID="AKIA0000000000000000")


def test_row_05_max_results_too_high(rows):
    rows.aws.fails("ValidationException", "list-commands", "--max-results", 51)


def test_row_06_client_side_minimum(rows):
    got = rows.aws("--debug", "ssm", "describe-instance-information", "--max-results", 1)
    assert got.code == 252, got
    assert "Sending http request:" not in got.err


def test_row_07_pages_of_one(rows):
    whole = rows.aws.ok("list-commands")["Commands"]
    assert len(whole) >= 2
    paged = rows.aws("--debug", "ssm", "list-commands", "--page-size", 1)
    assert paged.code == 0, paged
    assert {c["CommandId"] for c in paged.json["Commands"]} == {c["CommandId"] for c in whole}
    assert paged.err.count("Sending http request:") == len(whole)


# ---- activations, nodes, tags ----

def test_row_08_create_activation(rows):
    got = rows.aws.ok("create-activation", "--iam-role", "fleet", "--registration-limit", 2,
                      "--default-instance-name", "web", "--tags", "Key=Env,Value=Dev")
    assert UUID.fullmatch(got["ActivationId"])
    assert 20 <= len(got["ActivationCode"]) <= 250
    rows.activation, rows.A = got, got["ActivationId"]


def test_row_09_describe_activation(rows):
    listed = rows.aws.ok("describe-activations", "--filters", f"FilterKey=ActivationIds,FilterValues={rows.A}")
    assert len(listed["ActivationList"]) == 1
    got = listed["ActivationList"][0]
    assert got["RegistrationsCount"] == 0 and got["Expired"] is False
    assert abs(when(got["ExpirationDate"]) - when(got["CreatedDate"]) - 86400) < 2
    assert "ActivationCode" not in got


def test_row_10_registered_node_is_online(rows):
    agent = rows.box.new_agent(rows.activation)
    agent.wait_online(rows.box.plane)
    rows.N, rows.agent = agent.node_id, agent
    listed = rows.aws.ok("describe-instance-information", "--filters", f"Key=ActivationIds,Values={rows.A}")
    assert len(listed["InstanceInformationList"]) == 1
    got = listed["InstanceInformationList"][0]
    assert re.fullmatch(r"mi-[0-9a-f]{17}", got["InstanceId"]) and got["InstanceId"] == rows.N
    assert (got["PingStatus"], got["ResourceType"], got["Name"]) == ("Online", "ManagedInstance", "web")


def test_row_11_activation_tags_were_copied(rows):
    listed = rows.aws.ok("describe-instance-information", "--filters", "Key=tag:Env,Values=Dev")
    assert [i["InstanceId"] for i in listed["InstanceInformationList"]] == [rows.N]


def test_row_12_unknown_filter(rows):
    rows.aws.fails("InvalidFilterKey", "describe-instance-information", "--filters", "Key=Nope,Values=x")


def test_row_13_bad_filter_value(rows):
    rows.aws.fails("InvalidInstanceInformationFilterValue", "describe-instance-information", "--filters",
                   "Key=PingStatus,Values=Nope")


def test_row_14_add_tags(rows):
    assert rows.aws.ok("add-tags-to-resource", "--resource-type", "ManagedInstance", "--resource-id", rows.N,
                       "--tags", "Key=Role,Value=db") is None
    listed = rows.aws.ok("list-tags-for-resource", "--resource-type", "ManagedInstance", "--resource-id", rows.N)
    assert {t["Key"]: t["Value"] for t in listed["TagList"]} == {"Env": "Dev", "Role": "db"}


def test_row_15_tag_an_unknown_node(rows):
    rows.aws.fails("InvalidResourceId", "add-tags-to-resource", "--resource-type", "ManagedInstance",
                   "--resource-id", NO_NODE, "--tags", "Key=a,Value=b")


def test_row_16_delete_activation_twice(rows):
    assert rows.aws.ok("delete-activation", "--activation-id", rows.A) is None
    rows.aws.fails("InvalidActivationId", "delete-activation", "--activation-id", rows.A)
    listed = rows.aws.ok("describe-instance-information", "--filters", f"Key=InstanceIds,Values={rows.N}")
    assert len(listed["InstanceInformationList"]) == 1


def test_row_17_deregister_twice(rows):
    assert rows.aws.ok("deregister-managed-instance", "--instance-id", rows.N2) is None
    listed = rows.aws.ok("describe-instance-information")
    assert rows.N2 not in [i["InstanceId"] for i in listed["InstanceInformationList"]]
    rows.aws.fails("InvalidInstanceId", "deregister-managed-instance", "--instance-id", rows.N2)
    rows.n2.stop()


# ---- Run Command ----

def test_row_18_send_command(rows):
    got = send(rows, "--instance-ids", rows.N, "--parameters", "commands=echo hi", "--comment", "t1")
    assert (got["Status"], got["MaxConcurrency"], got["MaxErrors"]) == ("Pending", "50", "0")
    assert abs(when(got["ExpiresAfter"]) - when(got["RequestedDateTime"]) - 7200) < 0.01
    assert got["Comment"] == "t1"
    rows.C = got["CommandId"]


def test_row_19_wait(rows):
    got = rows.aws("ssm", "wait", "command-executed", "--command-id", rows.C, "--instance-id", rows.N)
    assert got.code == 0, got


def test_row_20_get_command_invocation(rows):
    got = rows.aws.ok("get-command-invocation", "--command-id", rows.C, "--instance-id", rows.N)
    assert (got["Status"], got["ResponseCode"], got["StandardOutputContent"], got["PluginName"]) == (
        "Success", 0, "hi\n", "aws:runShellScript")
    assert re.fullmatch(r"PT(\d+H)?(\d+M)?\d+(\.\d+)?S", got["ExecutionElapsedTime"])


def test_row_21_list_invocations_with_details(rows):
    got = rows.aws.ok("list-command-invocations", "--command-id", rows.C, "--details")["CommandInvocations"]
    assert len(got) == 1 and len(got[0]["CommandPlugins"]) == 1
    assert got[0]["CommandPlugins"][0]["Output"] == "hi\n"
    got = rows.aws.ok("list-command-invocations", "--command-id", rows.C)["CommandInvocations"]
    assert len(got) == 1 and got[0]["CommandPlugins"] == []


def test_row_22_list_command(rows):
    got = command(rows, rows.C)
    assert (got["Status"], got["TargetCount"], got["CompletedCount"], got["ErrorCount"]) == ("Success", 1, 1, 0)


def test_row_23_exit_code(rows):
    sent = send(rows, "--instance-ids", rows.N, "--parameters", "commands=exit 7")
    waited = rows.aws("ssm", "wait", "command-executed", "--command-id", sent["CommandId"], "--instance-id", rows.N)
    assert waited.code == 255, waited
    got = rows.aws.settled(sent["CommandId"], rows.N)
    assert (got["Status"], got["StatusDetails"], got["ResponseCode"]) == ("Failed", "Failed", 7)
    assert command_settled(rows, sent["CommandId"])["ErrorCount"] == 1


@pytest.mark.slow
def test_row_24_execution_timeout(rows):
    sent = send(rows, "--instance-ids", rows.N, "--parameters", "commands=sleep 20,executionTimeout=5")
    got = rows.aws.settled(sent["CommandId"], rows.N, 40)
    assert (got["Status"], got["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")


@pytest.mark.slow
def test_row_25_delivery_timeout(rows):
    left = OFF_TIMEOUT_S + OFF_EXECUTION_S - (time.monotonic() - rows.off_sent)
    if left > 3:
        got = rows.aws.ok("get-command-invocation", "--command-id", rows.off_command, "--instance-id", rows.OFF)
        assert got["Status"] in ("Pending", "Delayed"), "too early to time out"
    got = rows.aws.settled(rows.off_command, rows.OFF, max(left, 0) + 20)
    assert (got["Status"], got["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")
    got = command_settled(rows, rows.off_command)
    assert (got["DeliveryTimedOutCount"], got["ErrorCount"]) == (1, 0)


def test_row_26_tag_targets(rows):
    sent = send(rows, "--targets", "Key=tag:Env,Values=Dev", "--max-concurrency", "50%", "--max-errors", "1",
                "--parameters", "commands=id")
    assert sent["Targets"] == [{"Key": "tag:Env", "Values": ["Dev"]}] and sent["InstanceIds"] == []
    got = command_settled(rows, sent["CommandId"])
    tagged = rows.aws.ok("describe-instance-information", "--filters", "Key=tag:Env,Values=Dev")
    assert got["TargetCount"] == len(tagged["InstanceInformationList"]) == 1
    assert got["Status"] == "Success"


def test_row_27_targets_match_nothing(rows):
    sent = send(rows, "--targets", "Key=tag:Env,Values=none", "--parameters", "commands=id")
    assert sent["Status"] == "Pending"
    got = command_settled(rows, sent["CommandId"])
    assert (got["Status"], got["StatusDetails"], got["TargetCount"]) == ("Success", "NoInstancesInTag", 0)


def test_row_28_unknown_node(rows):
    rows.aws.fails("InvalidInstanceId", "send-command", *SH, "--instance-ids", NO_NODE, "--parameters",
                   "commands=id")


def test_row_29_node_twice(rows):
    rows.aws.fails("DuplicateInstanceId", "send-command", *SH, "--instance-ids", rows.N, rows.N,
                   "--parameters", "commands=id")


def test_row_30_unknown_document(rows):
    rows.aws.fails("InvalidDocument", "send-command", "--document-name", "NoSuchDoc", "--instance-ids", rows.N)


def test_row_31_unknown_version(rows):
    rows.aws.fails("InvalidDocumentVersion", "send-command", *SH, "--document-version", "99",
                   "--instance-ids", rows.N, "--parameters", "commands=id")


def test_row_32_parameters(rows):
    rows.aws.fails("InvalidParameters", "send-command", *SH, "--instance-ids", rows.N)
    rows.aws.fails("InvalidParameters", "send-command", *SH, "--instance-ids", rows.N, "--parameters",
                   "nope=x,commands=id")


def test_row_33_platform(rows):
    rows.aws.fails("UnsupportedPlatformType", "send-command", "--document-name", "AWS-RunPowerShellScript",
                   "--instance-ids", rows.N, "--parameters", "commands=dir")


def test_row_34_limits(rows):
    rows.aws.fails("ValidationException", "send-command", *SH, "--instance-ids", rows.N, "--max-concurrency",
                   "0", "--parameters", "commands=id")
    got = rows.aws("ssm", "send-command", *SH, "--instance-ids", rows.N, "--timeout-seconds", 10,
                   "--parameters", "commands=id")
    assert got.code == 252, got


def processes_with(mark):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if mark.encode() in f.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            pass
    return found


def test_row_35_cancel(rows):
    mark = f"600.{os.getpid()}"
    sent = send(rows, "--instance-ids", rows.N, "--parameters", f"commands=sleep {mark}")
    flsandbox.wait_for("the script to start", lambda: processes_with(mark), 30)
    assert rows.aws.ok("cancel-command", "--command-id", sent["CommandId"]) is None
    got = rows.aws.ok("get-command-invocation", "--command-id", sent["CommandId"], "--instance-id", rows.N)
    assert got["Status"] in ("Cancelling", "Cancelled")
    assert rows.aws.settled(sent["CommandId"], rows.N)["Status"] == "Cancelled"
    flsandbox.wait_for("the process to go", lambda: not processes_with(mark))
    assert command_settled(rows, sent["CommandId"])["Status"] == "Cancelled"


def test_row_36_cancel_unknown(rows):
    rows.aws.fails("InvalidCommandId", "cancel-command", "--command-id", "00000000-0000-0000-0000-000000000000")


def test_row_37_no_such_invocation(rows):
    rows.aws.fails("InvocationDoesNotExist", "get-command-invocation", "--command-id", rows.C, "--instance-id",
                   NO_NODE)


def test_row_38_no_such_plugin(rows):
    rows.aws.fails("InvalidPluginName", "get-command-invocation", "--command-id", rows.C, "--instance-id",
                   rows.N, "--plugin-name", "nope")


def test_row_39_execution_stage_filter(rows):
    stage = ("--filters", "key=ExecutionStage,value=Complete")
    rows.aws.fails("InvalidFilterKey", "list-command-invocations", *stage)
    got = rows.aws.ok("list-commands", *stage)["Commands"]
    assert rows.C in [c["CommandId"] for c in got]


# ---- documents ----

def demo(line):
    """A command document in YAML."""
    return f"""\
schemaVersion: '2.2'
description: A demonstration
parameters:
  who: {{type: String, default: me, allowedPattern: '^[a-z]+$'}}
mainSteps:
- action: aws:runShellScript
  name: greet
  inputs:
    runCommand:
    - {line}
"""


@pytest.fixture(scope="module")
def demos(rows):
    """demo.yaml, demo2.yaml, demo.json in a folder of the plane's box."""
    for name, text in (("demo.yaml", demo("echo {{ who }}")), ("demo2.yaml", demo("echo hello {{ who }}")),
                       ("demo.json", '{"schemaVersion":"2.2","mainSteps":[]}')):
        with open(os.path.join(rows.box.folder, name), "w", encoding="utf-8") as f:
            f.write(text)
    return lambda name: "file://" + os.path.join(rows.box.folder, name)


def test_row_40_create_document(rows, demos):
    create = ("create-document", "--name", "Demo", "--document-type", "Command", "--document-format", "YAML",
              "--content", demos("demo.yaml"))
    got = rows.aws.ok(*create)["DocumentDescription"]
    assert got["Status"] == "Creating"
    assert (got["DocumentVersion"], got["LatestVersion"], got["DefaultVersion"]) == ("1", "1", "1")
    assert re.fullmatch(r"[0-9a-f]{64}", got["Hash"]) and got["HashType"] == "Sha256"
    described = flsandbox.wait_for("the document to be active", lambda: (
        lambda d: d if d["Status"] == "Active" else None)(
            rows.aws.ok("describe-document", "--name", "Demo")["Document"]), 10)
    assert described["Hash"] == got["Hash"]
    rows.aws.fails("DocumentAlreadyExists", *create)


def test_row_41_reserved_name(rows, demos):
    rows.aws.fails("ValidationException", "create-document", "--name", "AWS-Demo", "--document-type", "Command",
                   "--content", demos("demo.json"))


def test_row_42_bad_content(rows):
    got = rows.aws.fails("InvalidDocumentContent", "create-document", "--name", "Bad", "--document-type",
                         "Command", "--content", "{}")
    assert "line 1, column 1: schemaVersion: missing" in got.err


def test_row_43_update_document(rows, demos):
    update = ("update-document", "--name", "Demo", "--document-version", "$LATEST", "--document-format", "YAML",
              "--content", demos("demo2.yaml"))
    got = rows.aws.ok(*update)["DocumentDescription"]
    assert (got["DocumentVersion"], got["LatestVersion"], got["DefaultVersion"]) == ("2", "2", "1")
    rows.aws.fails("DuplicateDocumentContent", *update)


def test_row_44_update_default_version(rows):
    def update(version):
        return ("update-document-default-version", "--name", "Demo", "--document-version", version)
    assert rows.aws.ok(*update(2))["Description"]["DefaultVersion"] == "2"
    rows.aws.fails("InvalidDocumentVersion", *update(9))


def test_row_45_get_document_as_json(rows):
    got = rows.aws.ok("get-document", "--name", "Demo", "--document-format", "JSON")
    assert got["DocumentFormat"] == "JSON"
    assert json.loads(got["Content"])["mainSteps"][0]["inputs"] == {"runCommand": ["echo hello {{ who }}"]}


def test_row_46_list_own_documents(rows):
    got = rows.aws.ok("list-documents", "--filters", "Key=Owner,Values=Self", "Key=DocumentType,Values=Command")
    names = [d["Name"] for d in got["DocumentIdentifiers"]]
    assert "Demo" in names and "AWS-RunShellScript" not in names


def test_own_document_runs(rows):
    """Not a row: the document that the rows made does what it says, in the version asked for."""
    for version, parameters, out in (("$DEFAULT", "who=you", "hello you\n"), ("1", "who=them", "them\n"),
                                     ("$LATEST", None, "hello me\n")):
        args = ("--parameters", parameters) if parameters else ()
        sent = rows.aws.ok("send-command", "--document-name", "Demo", "--document-version", version,
                           "--instance-ids", rows.N, *args)["Command"]
        got = rows.aws.settled(sent["CommandId"], rows.N)
        assert (got["Status"], got["StandardOutputContent"]) == ("Success", out)
        assert (got["DocumentName"], got["PluginName"]) == ("Demo", "greet")
    rows.aws.fails("InvalidParameters", "send-command", "--document-name", "Demo", "--instance-ids", rows.N,
                   "--parameters", "who=X")


def test_row_47_delete_document(rows):
    rows.aws.fails("InvalidDocumentOperation", "delete-document", "--name", "Demo", "--document-version", 2)
    rows.aws.ok("delete-document", "--name", "Demo")
    rows.aws.fails("InvalidDocument", "describe-document", "--name", "Demo")


def test_row_48_connection_status(rows):
    assert rows.aws.ok("get-connection-status", "--target", rows.N)["Status"] == "connected"
    assert rows.aws.ok("get-connection-status", "--target", rows.OFF)["Status"] == "notconnected"


# ---- parameters ----

def test_row_53_put_parameter(rows):
    put = ("put-parameter", "--name", "/app/db", "--type", "String", "--value", "v1")
    assert rows.aws.ok(*put) == {"Version": 1, "Tier": "Standard"}
    rows.aws.fails("ParameterAlreadyExists", *put)


def test_row_54_secure_string(rows):
    rows.aws.ok("put-parameter", "--name", "/app/pw", "--type", "SecureString", "--value", "s3cret")
    get = ("get-parameter", "--name", "/app/pw")
    assert rows.aws.ok(*get, "--with-decryption")["Parameter"]["Value"] == "s3cret"
    assert "s3cret" not in rows.aws.ok(*get)["Parameter"]["Value"]


def test_row_55_selector(rows):
    got = rows.aws.ok("get-parameter", "--name", "/app/db:1")["Parameter"]
    assert (got["Name"], got["Selector"], got["Value"]) == ("/app/db", ":1", "v1")
    rows.aws.fails("ParameterVersionNotFound", "get-parameter", "--name", "/app/db:99")
    rows.aws.fails("ParameterNotFound", "get-parameter", "--name", "/app/none")


def test_row_56_get_parameters(rows):
    got = rows.aws.ok("get-parameters", "--names", "/app/db", "/app/none")
    assert [p["Name"] for p in got["Parameters"]] == ["/app/db"] and got["InvalidParameters"] == ["/app/none"]


def test_row_57_by_path(rows):
    got = rows.aws.ok("get-parameters-by-path", "--path", "/app", "--recursive")
    assert [p["Name"] for p in got["Parameters"]] == ["/app/db", "/app/pw"]


def test_row_58_reserved_name(rows):
    rows.aws.fails("ValidationException", "put-parameter", "--name", "awsthing", "--type", "String", "--value", "x")
