"""The built-in documents beyond scripts, each sent with boto3 to a real agent of our plane."""
import json
import shutil

import pytest

import conftest
import flsandbox
from test_iam import admin


@pytest.fixture(scope="module")
def place():
    """A plane with a bucket that nodes may read, and a node."""
    with flsandbox.Sandbox(nodes=1) as box:
        admin(box.plane, "policy", "put", "scripts", "-", text=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
             "Resource": ["arn:aws:s3:::scripts", "arn:aws:s3:::scripts/*"]}]}))
        admin(box.plane, "role", "add", "fleet")
        admin(box.plane, "policy", "attach", "scripts", "--role", "fleet")
        conftest.client(box.plane, "s3").create_bucket(Bucket="scripts")
        yield box


@pytest.fixture
def run(place):
    ssm = conftest.client(place.plane, "ssm")

    def made(document, **parameters):
        values = {k: v if isinstance(v, list) else [v if isinstance(v, str) else json.dumps(v)]
                  for k, v in parameters.items()}
        sent = ssm.send_command(DocumentName=document, InstanceIds=[place.agents[0].node_id],
                                Parameters=values)["Command"]["CommandId"]

        def ended():
            shown = ssm.list_command_invocations(CommandId=sent, Details=True)["CommandInvocations"]
            return shown and shown[0]["Status"] not in ("Pending", "InProgress", "Delayed") and shown[0]
        shown = flsandbox.wait_for(document, ended, 60, 0.1)
        return shown["Status"], {p["Name"]: p for p in shown["CommandPlugins"]}
    return made


@pytest.fixture
def put(place):
    def made(name, text):
        conftest.client(place.plane, "s3").put_object(Bucket="scripts", Key=name, Body=text.encode())
        return {"path": f"s3://scripts/{name}"}
    return made


INNER = {"schemaVersion": "2.2", "parameters": {"who": {"type": "String", "default": "nobody"}}, "mainSteps": [
    {"action": "aws:runShellScript", "name": "greet", "inputs": {"runCommand": ["echo hello {{ who }}"]}}]}


def test_remote_script(run, put):
    status, steps = run("AWS-RunRemoteScript", sourceType="S3", sourceInfo=put("hello.sh", "echo \"hello $1\"; exit $2\n"),
                        commandLine="sh hello.sh you 0")
    assert (status, steps["runShellScript"]["Output"]) == ("Success", "hello you\n"), steps
    status, steps = run("AWS-RunRemoteScript", sourceType="S3", sourceInfo=put("sub/hello.sh", "exit $1\n"),
                        commandLine="sh hello.sh 7")
    assert (status, steps["runShellScript"]["ResponseCode"]) == ("Failed", 7), steps


def test_document_of_a_bucket_and_of_the_plane(place, run, put):
    status, steps = run("AWS-RunDocument", sourceType="S3", sourceInfo=put("inner.json", json.dumps(INNER)),
                        documentParameters={"who": "bucket"})
    assert status == "Success" and "hello bucket\n" in steps["runDocument"]["Output"], steps
    conftest.client(place.plane, "ssm").create_document(Name="Inner", DocumentType="Command", Content=json.dumps(INNER))
    status, steps = run("AWS-RunDocument", sourceType="SSMDocument", sourceInfo={"name": "Inner"})
    assert status == "Success" and "hello nobody\n" in steps["runDocument"]["Output"], steps


def test_noop_and_refresh(run):
    status, steps = run("AWS-Noop")
    assert status == "Success" and len(steps) == 1, steps
    status, steps = run("AWS-RefreshAssociation")
    assert status == "Success" and "associations" in steps["refreshAssociation"]["Output"], steps
    status, steps = run("AWS-RefreshAssociation", associationIds=["11111111-2222-4333-8444-555555555555"])
    assert status == "Success", steps


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible is not installed")
def test_playbooks(run, put):
    play = ("- hosts: all\n  gather_facts: false\n  tasks:\n    - name: tell\n      debug:\n"
            "        msg: \"who is {{ who }}\"\n")
    status, steps = run("AWS-ApplyAnsiblePlaybooks", SourceType="S3", SourceInfo=put("site.yml", play),
                        InstallDependencies="False", PlaybookFile="site.yml", ExtraVariables="who=ansible")
    assert status == "Success" and "who is ansible" in steps["runShellScript"]["Output"], steps


def test_playbook_that_is_not_there(run, put):
    status, steps = run("AWS-ApplyAnsiblePlaybooks", SourceType="S3", SourceInfo=put("other.yml", "- hosts: all\n"),
                        InstallDependencies="False", PlaybookFile="site.yml")
    assert status == "Failed" and steps["runShellScript"]["ResponseCode"] == 2, steps
    assert "is not among what was fetched" in steps["runShellScript"]["Output"], steps
