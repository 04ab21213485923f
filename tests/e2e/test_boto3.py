"""The main path and its errors with boto3: paginators, the waiter, modelled exceptions."""
import concurrent.futures
import datetime
import hashlib
import json
import uuid

import botocore.exceptions
import pytest

import conftest
import flsandbox
import refnode

pytestmark = pytest.mark.once

NO_NODE = "mi-00000000000000000"


def error_of(call, **members):
    """Name and HTTP status of the error that a call ends with."""
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(**members)
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def run(ssm, node, line, **members):
    sent = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[node],
                            Parameters={"commands": [line]}, **members)["Command"]
    ssm.get_waiter("command_executed").wait(CommandId=sent["CommandId"], InstanceId=node,
                                            WaiterConfig={"Delay": 0.2, "MaxAttempts": 150})
    return sent["CommandId"]


def test_main_path(ssm, box):
    node = box.agents[0].node_id
    command = run(ssm, node, "echo out; echo err >&2")
    got = ssm.get_command_invocation(CommandId=command, InstanceId=node)
    assert (got["Status"], got["StandardOutputContent"], got["StandardErrorContent"]) == (
        "Success", "out\n", "err\n")
    assert (got["CommandId"], got["InstanceId"], got["DocumentName"]) == (command, node, "AWS-RunShellScript")
    assert got["DocumentVersion"] and got["Comment"] == ""
    assert got["CloudWatchOutputConfig"]["CloudWatchOutputEnabled"] is False
    details = ssm.list_command_invocations(CommandId=command, Details=True)["CommandInvocations"][0]
    assert details["CommandPlugins"][0]["Output"] == "out\n\n----------ERROR-------\nerr\n"
    assert isinstance(details["RequestedDateTime"], datetime.datetime)
    assert "RequestId" in ssm.list_commands()["ResponseMetadata"]


def test_waiter_reports_failure(ssm, box):
    with pytest.raises(botocore.exceptions.WaiterError):
        run(ssm, box.agents[0].node_id, "exit 3")


def test_waiter_retries_until_the_invocation_exists(ssm, box):
    with pytest.raises(botocore.exceptions.WaiterError, match="Max attempts"):
        ssm.get_waiter("command_executed").wait(CommandId=str(uuid.uuid4()), InstanceId=NO_NODE,
                                                WaiterConfig={"Delay": 0.1, "MaxAttempts": 2})


def test_list_commands_pages(ssm, box):
    node = box.agents[0].node_id
    mine = {run(ssm, node, "true", Comment="pages") for _ in range(5)}
    pages = list(ssm.get_paginator("list_commands").paginate(PaginationConfig={"PageSize": 2}))
    ids = [c["CommandId"] for p in pages for c in p["Commands"]]
    assert mine <= set(ids) and len(ids) == len(set(ids))
    assert all(len(p["Commands"]) <= 2 for p in pages)
    # A page cut on the client resumes with a token that embeds the server's.
    part = ssm.get_paginator("list_commands").paginate(PaginationConfig={"PageSize": 2, "MaxItems": 3}).build_full_result()
    assert len(part["Commands"]) == 3
    rest = ssm.get_paginator("list_commands").paginate(
        PaginationConfig={"PageSize": 2, "StartingToken": part["NextToken"]}).build_full_result()
    assert [c["CommandId"] for c in part["Commands"] + rest["Commands"]][:len(ids)] == ids


def test_describe_instance_information_pages(ssm, new_node):
    nodes = {new_node().node_id for _ in range(6)}
    pages = list(ssm.get_paginator("describe_instance_information").paginate(PaginationConfig={"PageSize": 5}))
    listed = [i["InstanceId"] for p in pages for i in p["InstanceInformationList"]]
    assert nodes <= set(listed) and len(listed) == len(set(listed)) and len(pages) >= 2


def test_tokens_of_other_operations_and_garbage(ssm, box):
    run(ssm, box.agents[0].node_id, "true")
    run(ssm, box.agents[0].node_id, "true")
    token = ssm.list_commands(MaxResults=1)["NextToken"]
    assert error_of(ssm.describe_activations, NextToken=token) == ("InvalidNextToken", 400)
    assert error_of(ssm.list_commands, NextToken="garbage") == ("InvalidNextToken", 400)
    # Stateless and reusable.
    assert ssm.list_commands(MaxResults=1, NextToken=token)["Commands"] == \
        ssm.list_commands(MaxResults=1, NextToken=token)["Commands"]


@pytest.mark.parametrize("operation, members, name", [
    ("send_command", {"DocumentName": "NoSuch", "InstanceIds": [NO_NODE]}, "InvalidDocument"),
    ("send_command", {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]}}, "InvalidParameters"),
    ("send_command", {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]},
                      "InstanceIds": [NO_NODE], "Comment": "x" * 101}, "ValidationException"),
    ("send_command", {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]},
                      "InstanceIds": [NO_NODE], "MaxErrors": "101%"}, "ValidationException"),
    ("send_command", {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]},
                      "InstanceIds": [NO_NODE], "Targets": [{"Key": "tag:a", "Values": ["b"]}]}, "InvalidParameters"),
    ("send_command", {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]},
                      "InstanceIds": [f"mi-{i:017x}" for i in range(51)]}, "ValidationException"),
    ("list_commands", {"CommandId": str(uuid.UUID(int=1, version=4))}, "InvalidCommandId"),
    ("create_activation", {"IamRole": "x" * 65}, "ValidationException"),
    ("create_activation", {"IamRole": "r", "RegistrationLimit": 1001}, "ValidationException"),
    ("create_activation", {"IamRole": "r", "ExpirationDate": datetime.datetime(2020, 1, 1)}, "InvalidParameters"),
    ("describe_instance_information", {"Filters": [{"Key": "InstanceIds", "Values": [NO_NODE]}],
                                       "InstanceInformationFilterList": [{"key": "InstanceIds", "valueSet": [NO_NODE]}]},
     "ValidationException"),
    ("get_command_invocation", {"CommandId": "x" * 36, "InstanceId": "nonsense"}, "ValidationException"),
    ("get_document", {"Name": "NoSuch"}, "InvalidDocument"),
    ("describe_document", {"Name": "NoSuch"}, "InvalidDocument"),
    ("start_change_request_execution", {"DocumentName": "abc", "Runbooks": [{"DocumentName": "abc"}]},
     "UnknownOperationException"),
])
def test_errors(ssm, operation, members, name):
    assert error_of(getattr(ssm, operation), **members) == (name, 400)


def test_modelled_exceptions_carry_the_message(ssm):
    with pytest.raises(ssm.exceptions.InvalidDocument) as e:
        ssm.describe_document(Name="NoSuch")
    assert e.value.response["Error"]["Message"]
    assert e.value.response["Message"] == e.value.response["Error"]["Message"]


def test_built_in_documents(ssm):
    names = [d["Name"] for p in ssm.get_paginator("list_documents").paginate(
        Filters=[{"Key": "Owner", "Values": ["Amazon"]}]) for d in p["DocumentIdentifiers"]]
    assert {"AWS-RunShellScript", "AWS-RunPowerShellScript"} <= set(names)
    described = ssm.describe_document(Name="AWS-RunShellScript")["Document"]
    assert (described["Owner"], described["DocumentType"], described["Status"]) == ("Amazon", "Command", "Active")
    assert len(described["Hash"]) == 64 and described["HashType"] == "Sha256"
    assert "Linux" in described["PlatformTypes"]
    parameters = {p["Name"]: p for p in described["Parameters"]}
    assert parameters["commands"]["Type"] == "StringList"
    got = ssm.get_document(Name="AWS-RunShellScript")
    json.loads(got["Content"])
    assert hashlib.sha256(got["Content"].encode()).hexdigest() == described["Hash"]


def test_document_hash_is_checked(ssm, box):
    described = ssm.describe_document(Name="AWS-RunShellScript")["Document"]
    members = {"DocumentName": "AWS-RunShellScript", "InstanceIds": [box.agents[0].node_id],
               "Parameters": {"commands": ["true"]}, "DocumentHashType": "Sha256"}
    ssm.send_command(DocumentHash=described["Hash"], **members)
    assert error_of(ssm.send_command, DocumentHash="0" * 64, **members) == ("InvalidDocument", 400)


def test_sts_session_and_role(box):
    plane = box.plane
    sts = conftest.client(plane, "sts")
    me = sts.get_caller_identity()
    session = sts.get_session_token(DurationSeconds=900)["Credentials"]
    as_me = conftest.client(plane, "sts", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    assert as_me.get_caller_identity()["Account"] == me["Account"]
    ssm = conftest.client(plane, "ssm", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    ssm.list_commands()
    broken = conftest.client(plane, "ssm", session["AccessKeyId"], session["SecretAccessKey"], "x" + session["SessionToken"])
    assert error_of(broken.list_commands)[0] == "UnrecognizedClientException"
    lacking = conftest.client(plane, "ssm", session["AccessKeyId"], session["SecretAccessKey"])
    assert error_of(lacking.list_commands)[0] == "UnrecognizedClientException"


def test_the_role_of_a_node(box, new_node):
    """Its name, as policies and ARNs have it, is what stands behind the path (protocol 1 §5.3)."""
    for role in ("fleet", "service-role/fleet"):
        node = new_node(online=False)
        node.register(box.plane.activation(IamRole=role))
        token = node.get_token()
        sts = conftest.client(box.plane, "sts", token["AccessKeyId"], token["SecretAccessKey"], token["SessionToken"])
        me = sts.get_caller_identity()
        assert me["Arn"] == f"arn:aws:sts::{me['Account']}:assumed-role/fleet/{node.node_id}"


def test_filters_of_nodes(ssm, new_node):
    node = new_node(DefaultInstanceName="filtered", IamRole="role-a", Tags=[{"Key": "Env", "Value": "F1"}])

    def ids(*filters):
        found = ssm.get_paginator("describe_instance_information").paginate(
            Filters=[{"Key": k, "Values": list(v)} for k, *v in filters])
        return [i["InstanceId"] for page in found for i in page["InstanceInformationList"]]

    assert ids(("InstanceIds", node.node_id)) == [node.node_id]
    assert ids(("InstanceIds", node.node_id, NO_NODE)) == [node.node_id]
    assert ids(("InstanceIds", NO_NODE)) == [] == ids(("InstanceIds", "mi-" + "Z" * 17, "i-" + "a_" * 4))
    for bad in ("mi-" + "0" * 8, "i-" + "0" * 9, "mi-" + "0" * 16 + "-", "x", "m"):
        assert error_of(ssm.describe_instance_information, Filters=[{"Key": "InstanceIds", "Values": [bad]}])[0] in (
            "InvalidInstanceId", "ValidationException")
    assert node.node_id in ids(("IamRole", "role-a"))
    assert node.node_id in ids(("PingStatus", "Online"), ("PlatformTypes", "Linux"))
    assert ids(("PlatformTypes", "Windows")) == []
    assert ids(("tag:Env", "F1")) == [node.node_id] == ids(("tag:Env", "F0", "F1"))
    assert node.node_id in ids(("tag-key", "Env"))
    assert ids(("tag:Env", "f1")) == []
    assert node.node_id in ids(("AgentVersion", "3.3.0.0"))
    assert node.node_id in ids(("ResourceType", "ManagedInstance"))
    legacy = ssm.describe_instance_information(InstanceInformationFilterList=[{"key": "InstanceIds", "valueSet": [node.node_id]}])
    info = legacy["InstanceInformationList"][0]
    assert (info["Name"], info["IamRole"], info["ComputerName"], info["IPAddress"], info["PlatformName"]) == (
        "filtered", "role-a", "refnode.example.net", "192.0.2.10", "Reference Linux")
    assert info["SourceType"] == "AWS::SSM::ManagedInstance" and info["SourceId"] == node.node_id


def test_update_role_and_tags(ssm, new_node):
    node = new_node().node_id
    ssm.update_managed_instance_role(InstanceId=node, IamRole="other")
    info = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [node]}])
    assert info["InstanceInformationList"][0]["IamRole"] == "other"
    assert error_of(ssm.update_managed_instance_role, InstanceId=NO_NODE, IamRole="x")[0] == "InvalidInstanceId"
    resource = {"ResourceType": "ManagedInstance", "ResourceId": node}
    ssm.add_tags_to_resource(Tags=[{"Key": f"k{i}", "Value": "v"} for i in range(50)], **resource)
    assert error_of(ssm.add_tags_to_resource, Tags=[{"Key": "one-more", "Value": "v"}], **resource)[0] == "TooManyTagsError"
    ssm.remove_tags_from_resource(TagKeys=["k0", "absent"], **resource)
    assert len(ssm.list_tags_for_resource(**resource)["TagList"]) == 49


def test_rate_control(ssm, new_node):
    """MaxErrors 0: after the first failure nothing more is sent, the rest ends Terminated."""
    tag = uuid.uuid4().hex
    nodes = [new_node(Tags=[{"Key": "Batch", "Value": tag}]) for _ in range(4)]
    for node in nodes:
        node.on_job = lambda m, outer, content, node=node: (
            node.ack(m, outer["JobId"]), node.finish(outer["JobId"], "Failed", code=1))
    sent = ssm.send_command(DocumentName="AWS-RunShellScript", Targets=[{"Key": "tag:Batch", "Values": [tag]}],
                            Parameters={"commands": ["false"]}, MaxConcurrency="1", MaxErrors="0")["Command"]

    def done():
        c = ssm.list_commands(CommandId=sent["CommandId"])["Commands"][0]
        return c if c["Status"] not in ("Pending", "InProgress") else None
    command = flsandbox.wait_for("the command to end", done, 30)
    assert (command["Status"], command["TargetCount"], command["CompletedCount"]) == ("Failed", 4, 4)
    assert command["ErrorCount"] == 1
    details = sorted(i["StatusDetails"] for i in ssm.list_command_invocations(
        CommandId=sent["CommandId"])["CommandInvocations"])
    assert details == ["Failed", "Terminated", "Terminated", "Terminated"]
    assert sum(len(n.jobs) for n in nodes) == 1


def test_many_nodes_all_succeed(ssm, new_node):
    tag = uuid.uuid4().hex
    nodes = [new_node(Tags=[{"Key": "Batch", "Value": tag}]) for _ in range(6)]
    sent = ssm.send_command(DocumentName="AWS-RunShellScript", Targets=[{"Key": "tag:Batch", "Values": [tag]}],
                            Parameters={"commands": ["true"]}, MaxConcurrency="50%")["Command"]

    def done():
        c = ssm.list_commands(CommandId=sent["CommandId"])["Commands"][0]
        return c if c["Status"] not in ("Pending", "InProgress") else None
    command = flsandbox.wait_for("the command to end", done, 30)
    assert (command["Status"], command["TargetCount"], command["CompletedCount"]) == ("Success", 6, 6)
    assert [len(n.jobs) for n in nodes] == [1] * 6


# ---- documents ----

def command_document(line, **more):
    return json.dumps({"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": [line]}}], **more})


@pytest.fixture
def document(ssm):
    """The name of a document of its own, gone afterwards."""
    name = "boto3-" + uuid.uuid4().hex
    ssm.create_document(Name=name, Content=command_document("echo 1"), VersionName="first",
                        Tags=[{"Key": "Made", "Value": "boto3"}])
    yield name
    for ids in ssm.describe_document_permission(Name=name, PermissionType="Share")["AccountIds"]:
        ssm.modify_document_permission(Name=name, PermissionType="Share", AccountIdsToRemove=[ids])
    ssm.delete_document(Name=name)


def test_document_versions(ssm, document):
    for i in range(2, 6):
        got = ssm.update_document(Name=document, Content=command_document(f"echo {i}"),
                                  DocumentVersion="$LATEST", VersionName=f"v{i}")["DocumentDescription"]
        assert (got["DocumentVersion"], got["Status"], got["DefaultVersion"]) == (str(i), "Updating", "1")
    pages = list(ssm.get_paginator("list_document_versions").paginate(
        Name=document, PaginationConfig={"PageSize": 2}))
    assert [len(p["DocumentVersions"]) for p in pages] == [2, 2, 1]
    listed = [v for p in pages for v in p["DocumentVersions"]]
    assert [v["DocumentVersion"] for v in listed] == ["5", "4", "3", "2", "1"]
    assert [v["DocumentVersion"] for v in listed if v["IsDefaultVersion"]] == ["1"]
    got = ssm.get_document(Name=document, VersionName="v3")
    assert (got["DocumentVersion"], got["Content"]) == ("3", command_document("echo 3"))
    assert got["CreatedDate"] and got["DocumentFormat"] == "JSON"
    assert ssm.describe_document(Name=document, VersionName="v3")["Document"]["Hash"] == hashlib.sha256(
        got["Content"].encode()).hexdigest()
    ssm.delete_document(Name=document, VersionName="v5")
    assert ssm.describe_document(Name=document)["Document"]["LatestVersion"] == "4"
    assert error_of(ssm.update_document, Name=document, Content=command_document("x"), VersionName="v2",
                    DocumentVersion="$LATEST") == ("DuplicateDocumentVersionName", 400)


def test_document_is_found(ssm, document):
    def names(*filters):
        pages = ssm.get_paginator("list_documents").paginate(
            Filters=[{"Key": k, "Values": [v]} for k, v in filters], PaginationConfig={"PageSize": 3})
        return [d["Name"] for p in pages for d in p["DocumentIdentifiers"]]
    assert names(("tag:Made", "boto3"), ("Name", document)) == [document]
    assert names(("tag:Made", "cli"), ("Name", document)) == []
    everything = names()
    assert document in everything and "AWS-RunShellScript" in everything
    assert everything == sorted(everything) and len(everything) == len(set(everything))
    assert ssm.list_tags_for_resource(ResourceType="Document", ResourceId=document)["TagList"] == [
        {"Key": "Made", "Value": "boto3"}]


def test_document_permission(ssm, document):
    accounts = [f"{i:012}" for i in range(1, 6)]
    ssm.modify_document_permission(Name=document, PermissionType="Share", AccountIdsToAdd=accounts)
    got = ssm.describe_document_permission(Name=document, PermissionType="Share", MaxResults=3)
    rest = ssm.describe_document_permission(Name=document, PermissionType="Share", NextToken=got["NextToken"])
    assert got["AccountIds"] + rest["AccountIds"] == accounts
    assert got["AccountSharingInfoList"][0] == {"AccountId": accounts[0], "SharedDocumentVersion": "$DEFAULT"}
    assert error_of(ssm.modify_document_permission, Name=document, PermissionType="Share",
                    AccountIdsToAdd=["All"]) == ("DocumentPermissionLimit", 400)
    assert error_of(ssm.delete_document, Name=document) == ("InvalidDocumentOperation", 400)


def test_document_metadata(ssm, document):
    ssm.update_document_metadata(Name=document, DocumentReviews={
        "Action": "SendForReview", "Comment": [{"Type": "Comment", "Content": "please look"}]})
    ssm.update_document_metadata(Name=document, DocumentVersion="1", DocumentReviews={"Action": "Approve"})
    got = ssm.list_document_metadata_history(Name=document, Metadata="DocumentReviews")
    assert [r["ReviewStatus"] for r in got["Metadata"]["ReviewerResponse"]] == ["PENDING", "APPROVED"]
    assert ssm.get_document(Name=document)["ReviewStatus"] == "APPROVED"


def test_nodes_read_documents_and_nothing_else(ssm, document, new_node):
    """What an agent needs for aws:runDocument, with its own credentials."""
    node = new_node()
    got = node.call("GetDocument", Name=document)
    assert (got["Content"], got["DocumentVersion"]) == (command_document("echo 1"), "1")
    assert node.call("DescribeDocument", Name=document)["Document"]["Hash"]
    for operation, members in (("ListDocuments", {}), ("DeleteDocument", {"Name": document}),
                               ("UpdateDocument", {"Name": document, "Content": "{}"}),
                               ("CreateDocument", {"Name": "of-a-node", "Content": command_document("x")})):
        with pytest.raises(refnode.NodeError) as e:
            node.call(operation, **members)
        assert e.value.code == "AccessDeniedException"


def test_updates_at_once_make_every_version_once(ssm, document):
    def update(i):
        try:
            return ssm.update_document(Name=document, Content=command_document(f"echo at once {i}"),
                                       DocumentVersion="$LATEST")["DocumentDescription"]["DocumentVersion"]
        except botocore.exceptions.ClientError as e:
            return e.response["Error"]["Code"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = sorted(pool.map(update, range(24)), key=int)
        same = [pool.submit(update, 99) for _ in range(8)]
    assert made == [str(i) for i in range(2, 26)]
    assert sorted(f.result() for f in same) == ["26"] + ["DuplicateDocumentContent"] * 7
