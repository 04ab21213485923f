"""Programs from npm: the main path with @aws-sdk/client-ssm, objects with client-s3, a session with ssm-session."""
import fcntl
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import refsessionnode
import sessionrelay

pytestmark = pytest.mark.once

JS = pathlib.Path(__file__).resolve().parent / "js"
NODE_MIN = 18


@pytest.fixture(scope="module")
def node_program():
    """Path of node, with what package.json names installed; a skip names what is missing."""
    node = next((p for p in ("/usr/bin/node", shutil.which("node")) if p and os.path.exists(p)), None)
    npm = next((p for p in ("/usr/bin/npm", shutil.which("npm")) if p and os.path.exists(p)), None)
    if not node or not npm:
        pytest.skip("node or npm is not installed")
    version = int(subprocess.run([node, "-p", "process.versions.node.split('.')[0]"], capture_output=True,
                                 text=True, check=True).stdout)
    if version < NODE_MIN:
        pytest.skip(f"node {version}: the client needs {NODE_MIN} or newer")
    with open(JS / "package.json", encoding="utf-8") as package:
        fcntl.flock(package, fcntl.LOCK_EX)  # workers share the folder that npm fills
        install(npm, json.load(package)["dependencies"])
    return node


def install(npm, wanted):
    if not all((JS / "node_modules" / name / "package.json").exists() for name in wanted):
        done = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=JS, capture_output=True, text=True,
                              timeout=300)
        if done.returncode != 0:
            unreachable = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH",
                           "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
            if any(word in done.stderr for word in unreachable):
                pytest.skip("the npm registry cannot be reached")
            pytest.fail(done.stderr[-2000:])


def test_main_path(node_program, box):
    done = subprocess.run([node_program, str(JS / "main.mjs")], env=box.env(), capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert 20 <= got["activation"] <= 250
    assert got["expires"] == 7200
    assert got["waiter"] == "SUCCESS"
    assert got["output"] == "hi\n" and got["code"] == 0
    assert got["pages"] >= 2 and got["commands"] == got["unique"] and got["commands"] >= 2
    assert got["online"] == "Online"
    assert got["errors"] == {"unknown-document": "InvalidDocument", "bad-value": "ValidationException",
                             "no-invocation": "InvocationDoesNotExist", "wrong-secret": "InvalidSignatureException"}


def test_objects(node_program, box):
    """What the newest SDKs send by default: checksums in trailers of chunked bodies, uploads in parts."""
    done = subprocess.run([node_program, str(JS / "s3.mjs")], env=box.env(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    kinds = ("CRC32", "CRC32C", "SHA1", "SHA256")
    assert got["sums"] == got["streamed"] == {"default": ["ChecksumCRC32"], **{k: ["Checksum" + k] for k in kinds}}
    assert got["parts"] == dict.fromkeys(("default", *kinds), '2"')  # of its ETag
    assert got["same"] == [True] * 15 and got["head"] == ["ChecksumCRC32C"]
    assert got["listed"] == got["deleted"] == 15
    assert got["errors"] == {"none": "NoSuchKey", "copy": "NotImplemented", "tagging": "NotImplemented",
                             "attributes": "NotImplemented"}


def in_session(node_program, started, env=None):
    return subprocess.run([node_program, str(JS / "session.mjs"), started["StreamUrl"], started["TokenValue"],
                           "stty size; echo a$((1+1))b\r", "a2b\r\n"], env=env, capture_output=True, text=True, timeout=90)


def test_session(node_program):
    """ssm-session numbers its messages and acknowledges, but sends a wrong digest, acknowledges even
    acknowledgements, and pads the type in front: the reference node takes it as the official agent does."""
    relay = sessionrelay.Relay()
    try:
        started, agent = relay.start_session({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {}},
                                             quirks=refsessionnode.Quirks(start_s=0.01))
        done = in_session(node_program, started)
        agent.close({"SessionId": agent.session_id, "CreatedDate": ""})
    finally:
        relay.close()
    assert done.returncode == 0, (done.stderr, agent)
    assert "34 197\n" in done.stdout.replace("\r", "")
    assert agent.violations == []


def test_session_with_our_plane_and_agent(node_program, box):
    started = box.plane.api.call("StartSession", Target=box.agents[0].node_id)
    done = in_session(node_program, started, box.env())
    assert done.returncode == 0, done.stderr
    assert "34 197\n" in done.stdout.replace("\r", "")
    box.plane.api.call("TerminateSession", SessionId=started["SessionId"])
