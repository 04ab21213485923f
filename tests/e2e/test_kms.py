"""The plane's kms subset with boto3 and the AWS CLI, and what a node may decrypt."""
import base64

import pytest

import conftest
import flsandbox
import refnode
from test_iam import new_user
from test_s3 import code_of

CONTEXT = {"aws:ssm:SessionId": "ann-1", "aws:ssm:TargetId": "mi-0123456789abcdef0"}


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=0) as box:
        yield box


@pytest.fixture(scope="module")
def kms(place):
    return conftest.client(place.plane, "kms")


@pytest.fixture(scope="module")
def key(kms):
    return kms.create_key(Description="sessions")["KeyMetadata"]


def test_keys_and_aliases(kms, key):
    assert key["Arn"].endswith(":key/" + key["KeyId"]) and key["KeyState"] == "Enabled" and key["Description"] == "sessions"
    kms.create_alias(AliasName="alias/sessions", TargetKeyId=key["KeyId"])
    assert code_of(kms.create_alias, AliasName="alias/sessions", TargetKeyId=key["KeyId"]) == "AlreadyExistsException"
    assert code_of(kms.create_alias, AliasName="alias/aws/x", TargetKeyId=key["KeyId"]) == "InvalidAliasNameException"
    for name in (key["KeyId"], key["Arn"], "alias/sessions", key["Arn"].split("key/")[0] + "alias/sessions"):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == key["KeyId"]
    for name in ("alias/none", "00000000-0000-4000-8000-000000000000", "no key"):
        assert code_of(kms.describe_key, KeyId=name) == "NotFoundException"
    others = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(4)}
    pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}))
    assert len(pages) >= 3 and others | {key["KeyId"]} <= {k["KeyId"] for p in pages for k in p["Keys"]}
    aliases = kms.list_aliases(KeyId=key["KeyId"])["Aliases"]
    assert [(a["AliasName"], a["TargetKeyId"]) for a in aliases] == [("alias/sessions", key["KeyId"])]
    kms.delete_alias(AliasName="alias/sessions")
    assert kms.list_aliases(KeyId=key["KeyId"])["Aliases"] == []


def test_data_key_is_bound_to_its_context(kms, key):
    made = kms.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=64, EncryptionContext=CONTEXT)
    blob = made["CiphertextBlob"]
    assert len(made["Plaintext"]) == 64 and made["Plaintext"] not in blob and made["KeyId"] == key["Arn"]
    reordered = dict(reversed(list(CONTEXT.items())))
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=reordered)
    assert opened["Plaintext"] == made["Plaintext"] and opened["KeyId"] == key["Arn"]
    for context in ({}, {**CONTEXT, "more": ""}, {**CONTEXT, "aws:ssm:SessionId": "ann-2"}):
        assert code_of(kms.decrypt, CiphertextBlob=blob, EncryptionContext=context) == "InvalidCiphertextException"
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    assert code_of(kms.decrypt, CiphertextBlob=blob, KeyId=other, EncryptionContext=CONTEXT) == "IncorrectKeyException"
    for at in range(len(blob)):
        bad = bytearray(blob)
        bad[at] ^= 1
        assert code_of(kms.decrypt, CiphertextBlob=bytes(bad), EncryptionContext=CONTEXT) in (
            "InvalidCiphertextException", "NotFoundException"), at
    assert code_of(kms.decrypt, CiphertextBlob=blob[:16], EncryptionContext=CONTEXT) == "InvalidCiphertextException"
    assert len(kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")["Plaintext"]) == 32
    assert code_of(kms.generate_data_key, KeyId=key["KeyId"]) == "ValidationException"


def test_disabled_key(kms):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    assert code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == "DisabledException"
    assert code_of(kms.decrypt, CiphertextBlob=blob) == "DisabledException"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_policies(place, kms, key):
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    ann = conftest.client(place.plane, "kms", *new_user(place.plane, "ann", {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key["Arn"]}]}))
    blob = ann.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=64)["CiphertextBlob"]
    assert code_of(ann.generate_data_key, KeyId=other, NumberOfBytes=64) == "AccessDeniedException"
    assert code_of(ann.decrypt, CiphertextBlob=blob) == "AccessDeniedException"
    assert code_of(ann.describe_key, KeyId=key["KeyId"]) == "AccessDeniedException"


def test_a_node_decrypts_what_is_for_it(place, kms, key, request):
    node = refnode.RefNode(place.plane.endpoint, place.plane.ca_file)
    request.addfinalizer(node.close)
    node.online(place.plane.activation())
    mine = conftest.client(place.plane, "kms", *(node.credentials[k] for k in (
        "AccessKeyId", "SecretAccessKey", "SessionToken")))

    def made_for(target):
        context = {"aws:ssm:SessionId": "ann-1", "aws:ssm:TargetId": target}
        return context, kms.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=64, EncryptionContext=context)
    context, made = made_for(node.node_id)
    assert mine.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)["Plaintext"] == made["Plaintext"]
    context, made = made_for("mi-0123456789abcdef0")
    assert code_of(mine.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context) == "AccessDeniedException"
    lie = {**context, "aws:ssm:TargetId": node.node_id}
    assert code_of(mine.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=lie) == "InvalidCiphertextException"
    assert code_of(mine.generate_data_key, KeyId=key["KeyId"], NumberOfBytes=64) == "AccessDeniedException"


def test_with_the_cli_and_nothing_in_the_clear(place, kms):
    aws = conftest.Aws(place)
    key = aws("kms", "create-key").json["KeyMetadata"]["KeyId"]
    secret = b"a text that nobody else writes"
    blob = kms.encrypt(KeyId=key, Plaintext=secret)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == secret
    needles = (secret, base64.b64encode(secret)[:36])
    for path in place.plane.data.rglob("*"):
        if path.is_file():
            assert not any(n in path.read_bytes() for n in needles), path
