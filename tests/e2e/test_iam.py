"""Users, keys, roles and policies: made with `fairlead-server admin`, seen with boto3."""
import json
import subprocess

import botocore.exceptions
import pytest

import conftest
import flsandbox

READ_ONLY = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["ssm:Describe*", "ssm:List*", "ssm:Get*"], "Resource": "*"}]}
ONLY_DEV = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "arn:aws:ssm:*:*:document/AWS-RunShellScript"},
    {"Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "arn:aws:ssm:*:*:managed-instance/*",
     "Condition": {"StringEquals": {"ssm:resourceTag/Env": "Dev"}}},
    {"Effect": "Deny", "Action": "ssm:CancelCommand", "Resource": "*"}]}
ELSEWHERE = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ssm:*", "Resource": "*",
     "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}]}


@pytest.fixture(scope="module")
def plane():
    with flsandbox.Sandbox(nodes=0) as box:
        yield box.plane


def admin(plane, *args, text=None, code=0):
    done = subprocess.run([str(plane.build / "fairlead-server"), "admin", *args, "--data", str(plane.data)],
                          input=text, capture_output=True, text=True, timeout=30, env=plane.base_env())
    assert done.returncode == code, (args, done)
    return done


def new_user(plane, name, policy):
    """A user with that policy; (access key id, secret)."""
    admin(plane, "policy", "put", f"{name}-policy", "-", text=json.dumps(policy))
    admin(plane, "user", "add", name, "--policy", f"{name}-policy")
    key = json.loads(admin(plane, "key", "create", name, "--json").stdout)
    return key["AccessKeyId"], key["SecretAccessKey"]


def refused(call, **members):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(**members)
    return e.value.response["Error"]["Code"]


def test_read_only_user_and_the_life_of_a_key(plane):
    key, secret = new_user(plane, "ann", READ_ONLY)
    assert conftest.client(plane, "sts", key, secret).get_caller_identity()["Arn"].endswith("user/ann")
    ssm = conftest.client(plane, "ssm", key, secret)
    assert "Commands" in ssm.list_commands()
    assert refused(ssm.create_activation, IamRole="fleet") == "AccessDeniedException"
    assert "ann" in admin(plane, "user", "list").stdout
    admin(plane, "key", "disable", key)
    assert refused(ssm.list_commands) == "UnrecognizedClientException"
    admin(plane, "key", "enable", key)
    ssm.list_commands()
    admin(plane, "policy", "detach", "ann-policy", "--user", "ann")
    assert refused(ssm.list_commands) == "AccessDeniedException"
    admin(plane, "key", "delete", key)
    admin(plane, "user", "delete", "ann")
    assert refused(ssm.list_commands) == "UnrecognizedClientException"


def test_temporary_credentials_end_with_what_they_came_from(plane):
    """Who has stolen a key, and has asked for a session at once, has that for a day and a half."""
    def session(key, secret, **kw):
        sts = conftest.client(plane, "sts", key, secret)
        got = sts.assume_role(RoleSessionName="one", **kw) if kw else sts.get_session_token()
        c = got["Credentials"]
        return conftest.client(plane, "ssm", c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])

    key, secret = new_user(plane, "eve", READ_ONLY | {"Statement": READ_ONLY["Statement"] + [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]})
    account = conftest.client(plane, "sts", key, secret).get_caller_identity()["Account"]
    admin(plane, "role", "add", "evening")
    admin(plane, "policy", "attach", "eve-policy", "--role", "evening")
    own, role = session(key, secret), session(key, secret, RoleArn=f"arn:aws:iam::{account}:role/evening")
    own.list_commands()
    admin(plane, "key", "disable", key)
    assert refused(own.list_commands) == "UnrecognizedClientException"
    admin(plane, "key", "enable", key)
    own.list_commands()
    role.list_commands()
    # another of the same name is another
    admin(plane, "user", "delete", "eve")
    admin(plane, "role", "delete", "evening")
    admin(plane, "user", "add", "eve", "--policy", "eve-policy")
    admin(plane, "role", "add", "evening")
    admin(plane, "policy", "attach", "eve-policy", "--role", "evening")
    assert refused(own.list_commands) == refused(role.list_commands) == "UnrecognizedClientException"


def test_conditions_on_tags(plane, new_node):
    dev = new_node(plane=plane, Tags=[{"Key": "Env", "Value": "Dev"}])
    prod = new_node(plane=plane, Tags=[{"Key": "Env", "Value": "Prod"}])
    ssm = conftest.client(plane, "ssm", *new_user(plane, "bob", ONLY_DEV))
    run = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]}}
    sent = ssm.send_command(InstanceIds=[dev.node_id], **run)["Command"]["CommandId"]
    assert refused(ssm.send_command, InstanceIds=[prod.node_id], **run) == "AccessDeniedException"
    assert refused(ssm.send_command, InstanceIds=[dev.node_id, prod.node_id], **run) == "AccessDeniedException"
    assert refused(ssm.cancel_command, CommandId=sent) == "AccessDeniedException"


def test_condition_on_the_source_address(plane):
    ssm = conftest.client(plane, "ssm", *new_user(plane, "carol", ELSEWHERE))
    assert refused(ssm.list_commands) == "AccessDeniedException"


def test_assumed_role(plane):
    admin(plane, "policy", "put", "reader", "-", text=json.dumps(READ_ONLY))
    admin(plane, "role", "add", "reader")
    admin(plane, "policy", "attach", "reader", "--role", "reader")
    sts = conftest.client(plane, "sts")
    account = sts.get_caller_identity()["Account"]
    got = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/reader", RoleSessionName="me", DurationSeconds=900)
    c = got["Credentials"]
    assert got["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/reader/me"
    ssm = conftest.client(plane, "ssm", c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
    ssm.list_commands()
    assert refused(ssm.create_activation, IamRole="fleet") == "AccessDeniedException"
    assert refused(sts.assume_role, RoleArn=f"arn:aws:iam::{account}:role/nobody", RoleSessionName="me") in (
        "AccessDenied", "AccessDeniedException", "NoSuchEntity")


def test_a_change_while_it_runs_costs_no_data(new_box):
    """The database is open twice then; what the plane accepted before and after must survive a kill."""
    box = new_box(nodes=0)
    ids = [box.plane.activation()["ActivationId"]]
    admin(box.plane, "user", "add", "dave")
    ids.append(box.plane.activation()["ActivationId"])
    assert sorted(p.name for p in (box.plane.data / "db").glob("*.db-*")) == ["fairlead.db-shm", "fairlead.db-wal"]
    box.plane.kill()
    box.plane.restart()
    kept = [a["ActivationId"] for a in box.plane.api.call("DescribeActivations")["ActivationList"]]
    assert set(ids) <= set(kept)
    assert "dave" in admin(box.plane, "user", "list").stdout


@pytest.mark.parametrize("policy", ["{", "[]", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'])
def test_bad_policies_are_refused(plane, policy):
    done = admin(plane, "policy", "put", "bad", "-", text=policy, code=1)
    assert done.stderr.strip()


def test_a_list_in_json_has_a_row_a_line(plane):
    """Also where the document came from a file that ends with line breaks."""
    admin(plane, "policy", "put", "edited", "-", text=json.dumps(READ_ONLY) + "\r\n\n")
    out = admin(plane, "policy", "list", "--json").stdout
    rows = json.loads(out)
    assert out.endswith("}\n]\n")
    assert [json.loads(line.rstrip(",")) for line in out.splitlines()[1:-1]] == rows
    assert READ_ONLY in [row["PolicyDocument"] for row in rows]


def test_unknown_names_are_errors(plane):
    for args in (["user", "delete", "nobody"], ["key", "create", "nobody"], ["policy", "attach", "none", "--user", "admin"]):
        assert admin(plane, *args, code=1).stderr.strip()
