"""Files of documents that the plane keeps: made with the AWS CLI, installed by a real agent, deleted; who may read them."""
import hashlib
import json
import os
import signal
import subprocess
import urllib.parse

import pytest

import conftest
import flsandbox
from test_faults_agent import as_root, role
from test_faults_documents import Machine
from test_iam import new_user
from test_packages import make_zip, manifest, scripts

BUCKET = "fairlead-documents"


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=0) as box:
        aws = conftest.Aws(box)
        for bucket in ("packages", "private"):
            made = aws("s3", "mb", f"s3://{bucket}")
            assert made.code == 0, made
        yield box


@pytest.fixture(scope="module")
def aws(place):
    return conftest.Aws(place)


def upload(aws, tmp_path, data, where):
    (tmp_path / "up").write_bytes(data)
    done = aws("s3", "cp", tmp_path / "up", where)
    assert done.code == 0, done


def curl(box, url, *args):
    done = subprocess.run(["curl", "-sS", "--cacert", box.plane.ca_file, "-o", "-", "-w", "\n%{http_code}", *args, url],
                          capture_output=True, check=True)
    body, _, code = done.stdout.rpartition(b"\n")
    return int(code), body


def files(box):
    return [p for p in (box.plane.data / "objects").rglob("*") if p.is_file()]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def text_of(data, **changes):
    return json.dumps(manifest("1.0", data, **changes))


@pytest.mark.parametrize("source", ["s3file", "s3folder", "https", "https-folder"])
def test_a_file_through_its_life(place, aws, tmp_path, source):
    data = os.urandom(20 << 20 if source == "s3file" else 700_000)  # the first one comes in parts
    upload(aws, tmp_path, data, f"s3://packages/{source}/v1/tool.zip")
    before = len(files(place))
    attach = {"s3file": f"Key=S3FileUrl,Name=tool.zip,Values=s3://packages/{source}/v1/tool.zip",
              "s3folder": f"Key=SourceUrl,Values=s3://packages/{source}/v1/",
              "https": f"Key=S3FileUrl,Values={place.plane.endpoint}/packages/{source}/v1/tool.zip",
              "https-folder": f"Key=SourceUrl,Values={place.plane.endpoint}/packages/{source}/v1"}[source]
    name = f"life-{source}"
    made = aws.ok("create-document", "--name", name, "--document-type", "Package", "--version-name", "1.0", "--content",
                  text_of(data), "--attachments", attach)["DocumentDescription"]
    assert made["Status"] == "Creating" and made["AttachmentsInformation"] == [{"Name": "tool.zip"}], made
    got = aws.ok("get-document", "--name", name)["AttachmentsContent"]
    url = got[0].pop("Url")
    assert got == [{"Name": "tool.zip", "Size": len(data), "Hash": sha256(data), "HashType": "Sha256"}]
    assert aws.ok("describe-document", "--name", name)["Document"]["AttachmentsInformation"] == [{"Name": "tool.zip"}]
    # The copy is the plane's own.
    done = aws("s3", "rm", f"s3://packages/{source}/v1/tool.zip")
    assert done.code == 0, done
    assert curl(place, url) == (200, data)
    assert curl(place, url, "-r", "10-19") == (206, data[10:20])
    # An update without attachments keeps them, one by reference has them too; a changed manifest has lost them.
    aws.ok("update-document", "--name", name, "--document-version", "$LATEST", "--content", text_of(data, publisher="2"))
    kept = aws.ok("get-document", "--name", name, "--document-version", "2")["AttachmentsContent"]
    assert kept[0]["Hash"] == sha256(data) and curl(place, kept[0]["Url"]) == (200, data)
    aws.ok("update-document", "--name", name, "--document-version", "$LATEST", "--content", text_of(data, publisher="3"),
           "--attachments", f"Key=AttachmentReference,Values={name}/1/tool.zip")
    assert aws.ok("get-document", "--name", name, "--document-version", "3")["AttachmentsContent"][0]["Hash"] == sha256(data)
    aws.ok("update-document", "--name", name, "--document-version", "$LATEST", "--content", text_of(b"other"))
    assert not aws.ok("get-document", "--name", name, "--document-version", "4").get("AttachmentsContent")
    pieces = 3 if source == "s3file" else 1
    assert len(files(place)) == before  # copied once, and the source is gone
    # The file goes with the last version that has it.
    aws.ok("delete-document", "--name", name, "--document-version", "3")
    assert curl(place, url) == (200, data)
    aws.ok("delete-document", "--name", name)
    flsandbox.wait_for("the files to go", lambda: len(files(place)) == before - pieces)
    assert curl(place, url)[0] == 404


def test_the_same_file_is_kept_once(place, aws, tmp_path):
    data = os.urandom(5000)
    upload(aws, tmp_path, data, "s3://packages/same/tool.zip")
    before = len(files(place))
    for name in ("same-1", "same-2"):
        aws.ok("create-document", "--name", name, "--document-type", "Package", "--content", text_of(data),
               "--attachments", "Key=SourceUrl,Values=s3://packages/same")
    flsandbox.wait_for("one copy", lambda: len(files(place)) == before + 1)
    aws.ok("delete-document", "--name", "same-1")
    url = aws.ok("get-document", "--name", "same-2")["AttachmentsContent"][0]["Url"]
    assert curl(place, url) == (200, data)
    place.plane.stop()
    place.plane.start()
    url = aws.ok("get-document", "--name", "same-2")["AttachmentsContent"][0]["Url"]
    assert curl(place, url) == (200, data)
    aws.ok("delete-document", "--name", "same-2")
    flsandbox.wait_for("none", lambda: len(files(place)) == before)


def test_files_of_other_types(place, aws, tmp_path):
    upload(aws, tmp_path, b"print(1)\n", "s3://packages/script.py")
    content = {"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "a", "inputs": {
        "runCommand": ["true"]}}]}
    aws.ok("create-document", "--name", "with-script", "--content", json.dumps(content), "--attachments",
           "Key=S3FileUrl,Name=script.py,Values=s3://packages/script.py")
    got = aws.ok("get-document", "--name", "with-script")["AttachmentsContent"][0]
    assert got["Size"] == 9 and curl(place, got["Url"]) == (200, b"print(1)\n")
    content["description"] = "changed"
    aws.ok("update-document", "--name", "with-script", "--document-version", "$LATEST", "--content", json.dumps(content))
    assert aws.ok("get-document", "--name", "with-script", "--document-version", "2")["AttachmentsContent"][0]["Hash"] \
        == got["Hash"]
    upload(aws, tmp_path, b"", "s3://packages/empty.txt")
    aws.ok("create-document", "--name", "with-empty", "--content", json.dumps(content), "--attachments",
           "Key=S3FileUrl,Name=empty.txt,Values=s3://packages/empty.txt")
    got = aws.ok("get-document", "--name", "with-empty")["AttachmentsContent"][0]
    assert got["Hash"] == sha256(b"") and curl(place, got["Url"]) == (200, b"")
    aws.ok("delete-document", "--name", "with-script")
    aws.ok("delete-document", "--name", "with-empty")


def test_what_is_refused_leaves_nothing(place, aws, tmp_path):
    data = os.urandom(3000)
    upload(aws, tmp_path, data, "s3://packages/refuse/tool.zip")
    before = len(files(place))

    def refused(words, attach, content=None):
        done = aws.fails("ValidationException", "create-document", "--name", "refused", "--document-type", "Package",
                         "--content", content or text_of(data), "--attachments", attach)
        assert words in done.err, done

    refused("no such object", "Key=SourceUrl,Values=s3://packages/none")
    refused("no such object", "Key=SourceUrl,Values=s3://nobucket/refuse")
    refused("no such object", f"Key=S3FileUrl,Values={place.plane.endpoint}/{BUCKET}/{'0' * 64}/x.zip")
    refused("must be", "Key=S3FileUrl,Name=tool.zip,Values=s3://packages")
    refused("must be", "Key=S3FileUrl,Name=tool.zip,Values=file:///etc/passwd")
    refused(f"its SHA-256 is {sha256(data)}, the document says {sha256(b'x')}", "Key=SourceUrl,Values=s3://packages/refuse",
            text_of(b"x"))
    refused("two have this name", json.dumps([{"Key": "SourceUrl", "Values": ["s3://packages/refuse"]}] * 2))
    aws.fails("InvalidDocument", "describe-document", "--name", "refused")
    flsandbox.wait_for("nothing to be left", lambda: len(files(place)) == before)


def test_who_may(place, aws, tmp_path):
    data = os.urandom(3000)
    upload(aws, tmp_path, data, "s3://private/tool.zip")
    aws.ok("create-document", "--name", "secret-files", "--document-type", "Package", "--content", text_of(data),
           "--attachments", "Key=SourceUrl,Values=s3://private")
    key, secret = new_user(place.plane, "maker", {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ssm:CreateDocument", "s3:*"], "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::private/*"}]})
    env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    words = ["create-document", "--name", "thief", "--document-type", "Package", "--content", text_of(data)]
    # Neither by an object that the caller cannot read, there or not, nor by a document.
    for key in ("tool.zip", "none.zip"):
        done = aws("ssm", *words, "--attachments", f"Key=S3FileUrl,Name=tool.zip,Values=s3://private/{key}", **env)
        assert "AccessDeniedException" in done.err and "s3:GetObject" in done.err, done
    done = aws("ssm", *words, "--attachments", "Key=AttachmentReference,Values=secret-files/1/tool.zip", **env)
    assert "AccessDeniedException" in done.err and "ssm:GetDocument" in done.err, done
    # The bucket is nobody's.
    digest = sha256(data)
    for args in (["head-object", "--bucket", BUCKET, "--key", digest], ["list-objects-v2", "--bucket", BUCKET],
                 ["delete-object", "--bucket", BUCKET, "--key", digest],
                 ["put-object", "--bucket", BUCKET, "--key", digest], ["create-bucket", "--bucket", BUCKET],
                 ["delete-bucket", "--bucket", BUCKET]):
        for who in ({}, env):
            done = aws("s3api", *args, **who)
            assert done.code == 254, done
    assert BUCKET not in aws("s3api", "list-buckets").out
    # A URL is good for its one object, and for reading.
    url = aws.ok("get-document", "--name", "secret-files")["AttachmentsContent"][0]["Url"]
    assert curl(place, url) == (200, data)
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    assert parts.path == f"/{BUCKET}/{digest}" and int(query["X-Amz-Expires"]) == 3600
    assert curl(place, url, "-X", "DELETE")[0] == 403 and curl(place, url, "-X", "PUT", "-d", "x")[0] == 403
    assert curl(place, url.replace(digest, "0" * 64))[0] == 403
    assert curl(place, url[:-1] + ("0" if url[-1] != "0" else "1"))[0] == 403
    stolen = {"AWS_ACCESS_KEY_ID": query["X-Amz-Credential"].split("/")[0], "AWS_SECRET_ACCESS_KEY": "x" * 40,
              "AWS_SESSION_TOKEN": query["X-Amz-Security-Token"]}
    assert aws("ssm", "list-commands", **stolen).code == 254
    # The token tells nothing to the log, and the secret is in no log.
    for log in place.logs():
        assert query["X-Amz-Signature"] not in log.read_text(errors="replace"), log
    aws.ok("delete-document", "--name", "secret-files")


def test_a_package_from_bucket_to_node(new_box, aws_of, tmp_path):
    """The task of an operator, with the stock CLI alone."""
    box = new_box(nodes=1)
    aws, node = aws_of(box), box.agents[0].node_id
    for p in (tmp_path, *tmp_path.parents[:2]):
        p.chmod(p.stat().st_mode | 0o711)
    log = tmp_path / "log"
    archive = make_zip(scripts(log, "1.0"))
    assert aws("s3", "mb", "s3://packages").code == 0
    upload(aws, tmp_path, archive, "s3://packages/tool/tool.zip")
    aws.ok("create-document", "--name", "Tool", "--document-type", "Package", "--version-name", "1.0", "--content",
           text_of(archive), "--attachments", "Key=SourceUrl,Values=s3://packages/tool")
    assert aws("s3", "rb", "--force", "s3://packages").code == 0
    for action, words in (("Install", "Successfully installed Tool 1.0"), ("Uninstall", "Successfully uninstalled Tool 1.0")):
        sent = aws.ok("send-command", "--document-name", "AWS-ConfigureAWSPackage", "--instance-ids", node,
                      "--parameters", f"action={action},name=Tool")["Command"]["CommandId"]
        done = aws.settled(sent, node)
        assert done["Status"] == "Success" and words in done["StandardOutputContent"], done
    assert log.read_text().splitlines() == ["install 1.0 text of 1.0", "uninstall 1.0"]
    # Gone from the plane under a node that wants it: said in words, and the URL's secret is not among them.
    upload_again = make_zip(scripts(log, "2.0"))
    assert aws("s3", "mb", "s3://packages").code == 0
    upload(aws, tmp_path, upload_again, "s3://packages/tool/tool.zip")
    aws.ok("create-document", "--name", "Gone", "--document-type", "Package", "--version-name", "2.0", "--content",
           text_of(upload_again, version="2.0"), "--attachments", "Key=SourceUrl,Values=s3://packages/tool")
    for path in files(box):
        os.unlink(path)
    sent = aws.ok("send-command", "--document-name", "AWS-ConfigureAWSPackage", "--instance-ids", node,
                  "--parameters", "action=Install,name=Gone")["Command"]["CommandId"]
    done = aws.settled(sent, node)
    assert done["Status"] == "Failed" and "HTTP status 503" in done["StandardErrorContent"], done
    assert "X-Amz" not in json.dumps(done), done


class Online:
    """A sandbox as test_faults_documents.Machine sees a plane."""

    def __init__(self, box):
        self.box = box

    def new_agent(self, _plane, start, config):
        return self.box.new_agent(start=start, config=config)

    def wait_online(self):
        self.box.agents[0].wait_online(self.box.plane)


def package(aws, tmp_path, name, install, log):
    """A package from its install script to its document."""
    archive = make_zip(scripts(log, "1.0", install=install))
    upload(aws, tmp_path, archive, f"s3://packages/{name}/tool.zip")
    aws.ok("create-document", "--name", name, "--document-type", "Package", "--version-name", "1.0", "--content",
           text_of(archive), "--attachments", f"Key=SourceUrl,Values=s3://packages/{name}")


def install(aws, node, name):
    return aws.ok("send-command", "--document-name", "AWS-ConfigureAWSPackage", "--instance-ids", node, "--parameters",
                  f"action=Install,name={name}")["Command"]["CommandId"]


@as_root
def test_an_install_script_that_reboots_and_one_that_is_killed(new_box, aws_of, tmp_path):
    box = new_box(nodes=0)
    aws, log, begun = aws_of(box), tmp_path / "log", tmp_path / "begun"
    for p in (tmp_path, *tmp_path.parents[:2]):
        p.chmod(p.stat().st_mode | 0o711)
    online = Online(box)
    machine = Machine(online, online.new_agent, tmp_path)
    agent, node = machine.agent, machine.agent.node_id
    assert aws("s3", "mb", "s3://packages").code == 0

    # Exit 194: once more, after the boot; done once.
    package(aws, tmp_path, "Boots", f"echo install >> {log}; [ $(wc -l < {log}) -gt 1 ] || exit 194; echo after\n", log)
    command = install(aws, node, "Boots")
    flsandbox.wait_for("a reboot to be asked for", lambda: machine.times_asked() == 1)
    assert aws.ok("get-command-invocation", "--command-id", command, "--instance-id", node)["Status"] == "InProgress"
    machine.boot()
    done = aws.settled(command, node)
    assert done["Status"] == "Success" and "Successfully installed Boots 1.0" in done["StandardOutputContent"], done
    assert log.read_text() == "install\ninstall\n" and machine.times_asked() == 1
    log.unlink()

    # A worker that dies under a script: reported once, never begun again by itself; the next command takes
    # off what is left of it, and installs it.
    package(aws, tmp_path, "Dies", f"echo install >> {log}; [ -e {begun} ] && exit 0; touch {begun}; sleep 600\n", log)
    command = install(aws, node, "Dies")
    flsandbox.wait_for("the script to begin", begun.exists)
    os.kill(role(agent, "worker")[0], signal.SIGKILL)
    done = aws.settled(command, node)
    assert done["Status"] == "Failed" and log.read_text() == "install\n", done
    done = aws.settled(install(aws, node, "Dies"), node)
    assert done["Status"] == "Success" and "Successfully installed Dies 1.0" in done["StandardOutputContent"], done
    assert log.read_text().splitlines() == ["install", "uninstall 1.0", "install"]
    assert json.loads((agent.state / "packages/Dies/installstate").read_text())["state"] == 8
