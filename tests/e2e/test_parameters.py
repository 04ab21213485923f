"""Parameter Store with stock clients: paginators, policies, nodes, callers at once, the key, and where secrets stand."""
import base64
import datetime
import json
import os
import threading

import botocore.exceptions
import pytest

import conftest
import flsandbox
from test_iam import admin, new_user, refused

SECRET = "Qm7-hunter2-ZZ9"


@pytest.fixture(scope="module")
def plane():
    with flsandbox.Sandbox(nodes=0) as box:
        yield box.plane


@pytest.fixture
def ssm(plane):
    """The administrator's; what a test made is gone when it ends."""
    client = conftest.client(plane, "ssm")
    yield client
    pages = client.get_paginator("describe_parameters").paginate()
    names = [p["Name"] for page in pages for p in page["Parameters"]]
    for at in range(0, len(names), 10):
        assert not client.delete_parameters(Names=names[at:at + 10])["InvalidParameters"]


def put(ssm, name, value="v", kind="String", **members):
    return ssm.put_parameter(Name=name, Value=value, Type=kind, **members)


def statement(action, *names, effect="Allow"):
    return {"Effect": effect, "Action": action,
            "Resource": [n if n == "*" else f"arn:aws:{n}" for n in names]}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


DECRYPT = statement("kms:Decrypt", "kms:*:*:alias/aws/ssm")


# ---- stock clients ----

def test_members_and_their_types(ssm):
    put(ssm, "/m/list", "a,b", "StringList", Description="d", AllowedPattern=".", Tags=[{"Key": "Env", "Value": "Dev"}])
    got = ssm.get_parameter(Name="/m/list")["Parameter"]
    assert (got["Value"], got["Type"], got["Version"], got["DataType"]) == ("a,b", "StringList", 1, "text")
    assert isinstance(got["LastModifiedDate"], datetime.datetime)
    assert got["ARN"].endswith(":parameter/m/list")
    assert ssm.get_parameter(Name=got["ARN"])["Parameter"]["Name"] == "/m/list"
    listed = ssm.describe_parameters(ParameterFilters=[{"Key": "tag:Env", "Values": ["Dev"]}])["Parameters"]
    assert [(p["Name"], p["Description"], p["AllowedPattern"], p["Tier"]) for p in listed] == [
        ("/m/list", "d", ".", "Standard")]
    assert listed[0]["LastModifiedUser"].endswith(":user/admin")
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/m/list")["TagList"]
    assert tags == [{"Key": "Env", "Value": "Dev"}]
    ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId="/m/list", TagKeys=["Env"])
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="/m/list", Tags=[{"Key": "A", "Value": "1"}])
    assert ssm.describe_parameters(ParameterFilters=[{"Key": "tag:A"}])["Parameters"]


def test_paginators(ssm):
    names = [f"/p/{i:02d}" for i in range(23)]
    for name in names:
        put(ssm, name)
    for _ in range(6):
        ssm.put_parameter(Name="/p/00", Value="w", Overwrite=True)

    def walk(operation, size, **members):
        pages = list(ssm.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}, **members))
        assert all(len(p["Parameters"]) <= size for p in pages)
        return len(pages), [p["Name"] for page in pages for p in page["Parameters"]]

    assert walk("get_parameters_by_path", 10, Path="/p") == (3, names)
    assert walk("get_parameters_by_path", 1, Path="/p/", Recursive=True) == (23, names)
    assert walk("describe_parameters", 4) == (6, names)
    assert walk("describe_parameters", 50, ParameterFilters=[{"Key": "Path", "Values": ["/p"]}]) == (1, names)
    assert walk("get_parameter_history", 3, Name="/p/00") == (3, ["/p/00"] * 7)
    history = ssm.get_parameter_history(Name="/p/00")["Parameters"]
    assert [h["Version"] for h in history] == list(range(1, 8)) and history[0]["Value"] == "v"


def test_modelled_errors(ssm):
    put(ssm, "e")
    for error, call in (
            (ssm.exceptions.ParameterAlreadyExists, lambda: put(ssm, "e")),
            (ssm.exceptions.ParameterNotFound, lambda: ssm.get_parameter(Name="none")),
            (ssm.exceptions.ParameterVersionNotFound, lambda: ssm.get_parameter(Name="e:2")),
            (ssm.exceptions.HierarchyTypeMismatchException, lambda: put(ssm, "e", kind="SecureString", Overwrite=True)),
            (ssm.exceptions.HierarchyLevelLimitExceededException, lambda: put(ssm, "/1" * 16)),
            (ssm.exceptions.ParameterPatternMismatchException, lambda: put(ssm, "n", AllowedPattern="^\\d$")),
            (ssm.exceptions.InvalidKeyId, lambda: put(ssm, "n", kind="SecureString", KeyId="alias/mine"))):
        with pytest.raises(error):
            call()


# ---- who may ----

def test_policies_name_parameters(plane, ssm):
    put(ssm, "/team/a")
    put(ssm, "/team/sub/b", SECRET, "SecureString")
    put(ssm, "/other/c")
    ann = conftest.client(plane, "ssm", *new_user(plane, "ann", policy(
        statement(["ssm:GetParameter*", "ssm:PutParameter"], "ssm:*:*:parameter/team*"),
        statement("ssm:GetParameter*", "ssm:*:*:parameter/team/no*", effect="Deny"))))
    assert ann.get_parameter(Name="/team/a")["Parameter"]["Value"] == "v"
    assert ann.get_parameter(Name="/team/a", WithDecryption=True)["Parameter"]["Value"] == "v"
    assert [p["Name"] for p in ann.get_parameters_by_path(Path="/team", Recursive=True)["Parameters"]] == [
        "/team/a", "/team/sub/b"]
    put(ann, "/team/mine")
    for call in (lambda: ann.get_parameter(Name="/other/c"), lambda: ann.get_parameters(Names=["/team/a", "/other/c"]),
                 lambda: put(ann, "/other/d"), lambda: ann.get_parameters_by_path(Path="/"),
                 lambda: ann.get_parameter(Name="/team/nothing"), lambda: ann.describe_parameters(),
                 lambda: ann.delete_parameter(Name="/team/a"),
                 lambda: ann.get_parameter(Name=ssm.get_parameter(Name="/other/c")["Parameter"]["ARN"] + ":1")):
        assert refused(call) == "AccessDeniedException"


def test_decryption_is_a_right_of_its_own(plane, ssm):
    put(ssm, "/d/pw", SECRET, "SecureString")
    put(ssm, "/d/plain")
    read = statement("ssm:GetParameter*", "*")
    bob = conftest.client(plane, "ssm", *new_user(plane, "bob", policy(read)))
    eve = conftest.client(plane, "ssm", *new_user(plane, "eve", policy(read, DECRYPT)))

    def reads(who, **members):
        return (lambda: who.get_parameter(Name="/d/pw", **members),
                lambda: who.get_parameter(Name="/d/pw:1", **members),
                lambda: who.get_parameters(Names=["/d/plain", "/d/pw"], **members),
                lambda: who.get_parameters_by_path(Path="/d", **members),
                lambda: who.get_parameters_by_path(Path="/", Recursive=True, **members),
                lambda: who.get_parameter_history(Name="/d/pw", **members))
    for call in reads(bob):
        assert SECRET not in str(call())
    for call in reads(bob, WithDecryption=True):
        assert refused(call) == "AccessDeniedException"
    for call in reads(eve, WithDecryption=True):
        assert SECRET in str(call())
    # where no SecureString is among what is read, nothing is decrypted
    assert bob.get_parameters(Names=["/d/plain"], WithDecryption=True)["Parameters"]


def test_conditions_on_tags(plane, ssm):
    put(ssm, "/t/dev", Tags=[{"Key": "Env", "Value": "Dev"}])
    put(ssm, "/t/prod", Tags=[{"Key": "Env", "Value": "Prod"}])
    carl = conftest.client(plane, "ssm", *new_user(plane, "carl", policy(
        dict(statement("ssm:*", "*"), Condition={"StringEquals": {"ssm:resourceTag/Env": "Dev"}}))))
    carl.get_parameter(Name="/t/dev")
    assert refused(carl.get_parameter, Name="/t/prod") == "AccessDeniedException"
    assert refused(carl.add_tags_to_resource, ResourceType="Parameter", ResourceId="/t/prod",
                   Tags=[{"Key": "Env", "Value": "Dev"}]) == "AccessDeniedException"


def node_client(plane, node):
    c = node.credentials
    return conftest.client(plane, "ssm", c["AccessKeyId"], c["SecretAccessKey"], c.get("SessionToken"))


def test_what_a_node_may_read(plane, ssm, new_node):
    """What AWS's policy for nodes grants: GetParameter and GetParameters, and no text of a SecureString."""
    put(ssm, "/n/plain")
    put(ssm, "/n/pw", SECRET, "SecureString")
    put(ssm, "/n/mi-settings")
    first, second = new_node(plane=plane, IamRole="plainrole"), new_node(plane=plane, IamRole="trusted")
    put(ssm, f"/n/{first.node_id}", "mine")
    admin(plane, "role", "add", "trusted")
    admin(plane, "policy", "put", "decrypt", "-", text=json.dumps(policy(DECRYPT)))
    admin(plane, "policy", "attach", "decrypt", "--role", "trusted")
    one, two = (node_client(plane, n) for n in (first, second))
    got = one.get_parameters(Names=["/n/plain", "/n/pw", "/n/none"])
    assert [p["Name"] for p in got["Parameters"]] == ["/n/plain", "/n/pw"] and got["InvalidParameters"] == ["/n/none"]
    assert SECRET not in str(got)
    assert refused(one.get_parameters, Names=["/n/pw"], WithDecryption=True) == "AccessDeniedException"
    assert two.get_parameter(Name="/n/pw", WithDecryption=True)["Parameter"]["Value"] == SECRET
    # a parameter that ends in a node's id is no other node's
    assert one.get_parameter(Name="/n/mi-settings")["Parameter"]["Value"] == "v"
    assert one.get_parameter(Name=f"/n/{first.node_id}")["Parameter"]["Value"] == "mine"
    assert refused(two.get_parameter, Name=f"/n/{first.node_id}") == "AccessDeniedException"
    for call in (lambda: put(one, "/n/new"), lambda: one.delete_parameter(Name="/n/plain"),
                 lambda: one.get_parameters_by_path(Path="/n"), lambda: one.get_parameter_history(Name="/n/plain"),
                 lambda: one.describe_parameters()):
        assert refused(call) == "AccessDeniedException"


def test_references_in_commands_are_left_to_the_node(plane, ssm, new_node):
    node = new_node(plane=plane)
    ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[node.node_id],
                     Parameters={"commands": ["echo {{ssm:/n/none}}"], "executionTimeout": ["{{ ssm:timeout }}"]})
    node.wait(lambda: node.jobs, what="the job")
    assert "{{ssm:/n/none}}" in json.dumps(node.jobs[0][2])


# ---- many at once, kills ----

def test_versions_are_never_doubled(plane, ssm):
    """Every version is given out once, whoever puts."""
    put(ssm, "/c/one", "0", "SecureString")
    given, failed, n, rounds = [], [], 6, 12

    def work(who):
        client = conftest.client(plane, "ssm")
        for i in range(rounds):
            try:
                value = f"{who}.{i}"
                given.append((client.put_parameter(Name="/c/one", Value=value, Overwrite=True)["Version"], value))
            except Exception as e:  # in a thread: told to the test
                failed.append(repr(e))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failed == []
    assert sorted(v for v, _ in given) == list(range(2, 2 + n * rounds))
    pages = ssm.get_paginator("get_parameter_history").paginate(Name="/c/one", WithDecryption=True)
    kept = {h["Version"]: h["Value"] for page in pages for h in page["Parameters"]}
    assert kept == {**dict(given), 1: "0"}


def test_only_one_makes_a_parameter(plane, ssm):
    made, refused_with = [], []

    def work():
        try:
            made.append(put(conftest.client(plane, "ssm"), "/c/new")["Version"])
        except botocore.exceptions.ClientError as e:
            refused_with.append(e.response["Error"]["Code"])
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert made == [1] and refused_with == ["ParameterAlreadyExists"] * 5


def test_what_was_answered_survives_a_kill(new_box):
    plane = new_box(nodes=0).plane
    ssm = conftest.client(plane, "ssm")
    put(ssm, "/k/pw", SECRET, "SecureString")
    ssm.label_parameter_version(Name="/k/pw", Labels=["live"])
    plane.kill()
    plane.restart()
    got = conftest.client(plane, "ssm").get_parameter(Name="/k/pw:live", WithDecryption=True)["Parameter"]
    assert (got["Value"], got["Version"]) == (SECRET, 1)


# ---- the key ----

def test_the_key_of_an_older_plane_and_a_lost_key(new_box):
    """A plane without the key gets one at its start, unless its database holds what only a lost key decrypts."""
    plane = new_box(nodes=0).plane
    key = plane.data / "keys/parameters"
    plane.stop()
    key.unlink()
    plane.start()
    assert key.stat().st_size == 32 and key.stat().st_mode & 0o777 == 0o600
    ssm = conftest.client(plane, "ssm")
    put(ssm, "pw", SECRET, "SecureString")
    plane.stop()
    kept = key.read_bytes()
    for wrong in (None, os.urandom(32), kept[:31]):
        key.unlink(missing_ok=True)
        if wrong:
            key.write_bytes(wrong)
        done = plane.command("run", "--data", plane.data)
        assert done.returncode == 1 and "keys/parameters" in done.stderr, done
        assert key.exists() == bool(wrong)
    key.write_bytes(kept)
    plane.start()
    assert conftest.client(plane, "ssm").get_parameter(Name="pw", WithDecryption=True)["Parameter"]["Value"] == SECRET


# ---- where secrets stand ----

def forms(secret):
    """How a secret may stand in a file: as it is, and the middle of it in base64 at every offset, and in hex."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    for skip in range(3):
        part = raw[skip:]
        yield base64.b64encode(part[:len(part) // 3 * 3])


def post(api, operation, body):
    """(status, text) of a signed request with any body."""
    _, headers = api.request(operation, {})
    headers = {n: headers[n] for n in ("content-type", "host", "x-amz-target")}
    api.sign(headers, body, "ssm")
    status, _, text = api.raw(body, headers)
    return status, text.decode()


def use_it(plane, secret):
    """Everything that has to do with a SecureString, and what goes wrong with one."""
    ssm = conftest.client(plane, "ssm")
    put(ssm, "/s/pw", secret, "SecureString", AllowedPattern="^Qm")
    ssm.put_parameter(Name="/s/pw", Value=secret, Overwrite=True)
    for members in ({}, {"WithDecryption": True}):
        ssm.get_parameter(Name="/s/pw", **members)
        ssm.get_parameters(Names=["/s/pw", "/s/pw:1"], **members)
        ssm.get_parameters_by_path(Path="/s", **members)
        ssm.get_parameter_history(Name="/s/pw", **members)
    ssm.describe_parameters()
    texts = []
    for name, value, more in (("/s/pw", secret, {}), ("/s/pw", "x" + secret, {"Overwrite": True}),
                              ("/s/new", secret, {"KeyId": "alias/mine"}), ("awsx", secret, {}),
                              ("/s/new", secret * 300, {}), ("/s/new", secret + "{{a}}", {}),
                              ("/s/new", secret, {"Type": "Secret"}), ("/s/new", secret, {"AllowedPattern": "["}),
                              ("/s/new", secret, {"Policies": "x"})):
        with pytest.raises(botocore.exceptions.ClientError) as e:
            ssm.put_parameter(**dict({"Name": name, "Value": value, "Type": "SecureString"}, **more))
        texts.append(str(e.value))
    for body in ('{"Name":"/s/x","Type":7,"Value":"%s"}', '{"Name":"/s/x","Value":["%s"]}', '{"Value":"%s"}',
                 '{"Name":"/s/x","Value":"%s'):
        status, text = post(plane.api, "PutParameter", (body % secret).encode())
        assert status == 400
        texts.append(text)
    return texts


def test_a_secret_stands_in_no_file(new_box):
    """Not in the database, its journal, logs at the level debug, the audit log; nor in any error's text."""
    box = new_box(nodes=0)
    plane = box.plane
    plane.configure(LogLevel="debug")
    plane.stop()
    plane.restart()
    texts = use_it(plane, SECRET)
    assert [t for t in texts if SECRET in t] == []

    def leaks():
        files = [p for p in box.folder.rglob("*") if p.is_file()]
        assert any(p.name == "fairlead.db-wal" for p in files) and any(p.name == "audit.log" for p in files)
        return [(p, form) for p in files for form in forms(SECRET) if form in p.read_bytes()]
    flsandbox.wait_for("the audit log", lambda: b"kms" in (plane.data / "audit/audit.log").read_bytes(), 10)
    assert leaks() == []
    put(conftest.client(plane, "ssm"), "/s/open", SECRET)  # a plain String would have been found
    assert leaks() != []


def memory_of(pid):
    """All that a process can write to, as root sees it: what a core file would hold."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if "w" not in rights or "[v" in line:
                continue
            start, end = (int(n, 16) for n in span.split("-"))
            mem.seek(start)
            try:
                found.append(mem.read(end - start))
            except OSError:
                continue  # it went away, or is a device's
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the memory of an undumpable process")
def test_a_secret_does_not_stay_in_memory(new_box, build):
    """The plane leaves no core; and if it did, no value that was written or read a moment ago would be in it."""
    if flsandbox.keeps_what_was_freed(build / "fairlead-server"):
        pytest.skip("AddressSanitizer keeps what was freed")
    plane = new_box(nodes=0).plane
    use_it(plane, SECRET)
    conftest.client(plane, "ssm").delete_parameter(Name="/s/pw")

    def kept():
        return [m[max(at - 120, 0):at + 40] for m in memory_of(plane.pid) for form in forms(SECRET)
                for at in [m.find(form)] if at >= 0]
    assert str(plane.data).encode() in b"".join(memory_of(plane.pid))  # memory is seen at all
    assert kept() == []
