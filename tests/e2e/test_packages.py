"""aws:configurePackage with real zip files, through our plane, by boto3 and the stock CLI."""
import hashlib
import http.server
import io
import json
import os
import stat
import threading
import time
import zipfile

import pytest

import conftest
import flsandbox

INSTALL = """echo "installing $SSM_WHO on $BWS_PLATFORM_NAME $BWS_ARCHITECTURE"
[ "$BWS_ACTION_NAME" = install ] || exit 9
echo "install {v} $(cat data/text)" >> {log}
"""


def make_zip(files, infos=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in files.items():
            z.writestr(name, content)
        for info, content in infos:
            z.writestr(info, content)
    return out.getvalue()


def scripts(log, version, **more):
    """A package that tells the log what was run."""
    files = {"install.sh": INSTALL.format(v=version, log=log), "data/text": f"text of {version}",
             "uninstall.sh": f"echo uninstall {version} >> {log}\n"}
    for name, text in more.items():
        files[f"{name}.sh"] = text
    return {k: v for k, v in files.items() if v is not None}


def manifest(version, archive, /, url=None, **changes):
    sums = {"checksums": {"sha256": hashlib.sha256(archive).hexdigest()}}
    if url:
        sums["downloadLocation"] = url
    text = {"schemaVersion": "2.0", "version": version, "publisher": "tests",
            "packages": {"_any": {"_any": {"_any": {"file": "tool.zip"}}}},
            "files": {"tool.zip": sums}}
    return dict(text, **changes)


class Packages:
    """A plane, an agent, and a web server with archives."""

    def __init__(self, box, tmp_path):
        self.box, self.agent, self.aws, self.archives, self.requests = box, box.agents[0], conftest.Aws(box), {}, []
        self.node = self.agent.status()["InstanceId"] if "InstanceId" in self.agent.status() else None
        self.log = tmp_path / "log"
        packages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                packages.requests.append(self.path)
                body = packages.archives.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.ssm = conftest.client(box.plane, "ssm")
        nodes = self.aws.ok("describe-instance-information")["InstanceInformationList"]
        self.node = nodes[0]["InstanceId"]

    def url(self, version):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{version}"

    def publish(self, name, version, archive, /, update=False, **changes):
        """The document on the plane, its archive at the web server."""
        self.archives[f"/{version}/tool.zip"] = archive
        text = manifest(version, archive, url=self.url(version) + "/tool.zip", **changes)
        words = {"Name": name, "Content": json.dumps(text), "VersionName": version}
        if update:
            return self.ssm.update_document(DocumentVersion="$LATEST", **words)
        return self.ssm.create_document(DocumentType="Package", **words)

    def run(self, action, name, timeout_s=60, **parameters):
        parameters = {k: [v] for k, v in dict(parameters, action=action, name=name).items()}
        sent = self.ssm.send_command(DocumentName="AWS-ConfigureAWSPackage", InstanceIds=[self.node],
                                     Parameters=parameters)["Command"]

        def terminal():
            got = self.ssm.get_command_invocation(CommandId=sent["CommandId"], InstanceId=self.node)
            return got if got["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") else None
        return flsandbox.wait_for(f"{action} {name}", terminal, timeout_s)

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def dir(self, name):
        return self.agent.state / "packages" / name

    def state(self, name):
        return json.loads((self.dir(name) / "installstate").read_text())


@pytest.fixture
def packages(new_box, tmp_path):
    for p in (tmp_path, *tmp_path.parents[:2]):
        p.chmod(p.stat().st_mode | 0o711)
    made = Packages(new_box(nodes=1), tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_package_through_its_life(packages):
    p, log = packages, packages.log
    p.publish("Tool", "1.0", make_zip(scripts(log, "1.0", validate=f"echo validate 1.0 >> {log}\n")))
    done = p.run("Install", "Tool", additionalArguments='{"SSM_WHO":"me"}')
    assert done["Status"] == "Success", done
    out = done["StandardOutputContent"]
    assert out.startswith("Initiating Tool 1.0 install\ninstall output: Running sh install.sh\ninstalling me on ")
    assert out.endswith("Successfully installed Tool 1.0\n")
    assert p.lines() == ["install 1.0 text of 1.0"]
    assert {k: v for k, v in p.state("Tool").items() if k != "time"} == {
        "name": "Tool", "version": "1.0", "state": 8, "lastinstalledversion": "", "retrycount": 0}

    # The same again: only looked at, nothing fetched.
    n = len(p.requests)
    done = p.run("Install", "Tool", version="1.0")
    assert done["Status"] == "Success" and "Tool 1.0 is already installed" in done["StandardOutputContent"], done
    assert p.lines()[1:] == ["validate 1.0"] and len(p.requests) == n

    # Another version: the newest one without being asked for.
    p.publish("Tool", "2.0", make_zip(scripts(log, "2.0")), update=True)
    assert p.run("Install", "Tool")["Status"] == "Success"
    assert p.lines()[2:] == ["uninstall 1.0", "install 2.0 text of 2.0"]
    assert sorted(os.listdir(p.dir("Tool") / "versions")) == ["2.0"]
    assert p.run("Install", "Tool", version="9.9")["Status"] == "Failed"

    # Uninstalled, though the plane has forgotten the document.
    done = p.run("Uninstall", "Tool", version="1.0")
    assert done["Status"] == "Success" and "Tool 1.0 is not installed" in done["StandardOutputContent"]
    p.aws.ok("delete-document", "--name", "Tool")
    done = p.run("Uninstall", "Tool")
    assert done["Status"] == "Success" and "Successfully uninstalled Tool 2.0" in done["StandardOutputContent"], done
    assert p.lines()[4:] == ["uninstall 2.0"]
    assert p.state("Tool")["state"] == 4 and os.listdir(p.dir("Tool") / "versions") == []
    assert "is not installed" in p.run("Uninstall", "Tool")["StandardOutputContent"]
    # Nothing of the archives is left.
    assert not list(p.agent.state.rglob("package.*")) and not (p.dir("Tool") / "staging").exists()


def test_what_fails_is_rolled_back(packages):
    p, log = packages, packages.log
    p.publish("Tool", "1.0", make_zip(scripts(log, "1.0")))
    assert p.run("Install", "Tool")["Status"] == "Success"
    bad = scripts(log, "2.0", install=f"echo broken 2.0 >> {log}; echo why >&2; exit 3\n")
    p.publish("Tool", "2.0", make_zip(bad), update=True)
    done = p.run("Install", "Tool")
    assert done["Status"] == "Failed" and "Rolled back to Tool 1.0" in done["StandardErrorContent"], done
    assert "why" in done["StandardErrorContent"] and "install status Failed" in done["StandardErrorContent"]
    assert p.lines()[1:] == ["uninstall 1.0", "broken 2.0", "uninstall 2.0", "install 1.0 text of 1.0"]
    assert (p.state("Tool")["version"], p.state("Tool")["state"]) == ("1.0", 8)
    assert os.listdir(p.dir("Tool") / "versions") == ["1.0"]
    # A package that was never there: failed, and the next try begins with its uninstall script.
    p.publish("New", "2.0", make_zip(bad))
    assert p.run("Install", "New")["Status"] == "Failed" and p.state("New")["state"] == 2
    n = len(p.lines())
    assert p.run("Install", "New")["Status"] == "Failed"
    assert p.lines()[n:] == ["uninstall 2.0", "broken 2.0"]


def test_in_place(packages):
    p, log = packages, packages.log
    p.publish("Tool", "1.0", make_zip(scripts(log, "1.0")))
    assert p.run("Install", "Tool", installationType="In-place update")["Status"] == "Success"
    p.publish("Tool", "2.0", make_zip(scripts(log, "2.0")), update=True)
    done = p.run("Install", "Tool", installationType="In-place update")
    assert done["Status"] == "Failed" and "no update script" in done["StandardErrorContent"]
    assert p.lines() == ["install 1.0 text of 1.0"]
    p.publish("Tool", "3.0", make_zip(scripts(log, "3.0", update=f"echo update 3.0 >> {log}\n")), update=True)
    p.run("Install", "Tool", version="1.0")
    n = len(p.lines())
    done = p.run("Install", "Tool", installationType="In-place update")
    assert done["Status"] == "Success" and p.lines()[n:] == ["update 3.0"], done


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def damaged(archive):
    at = archive.index(b"install.sh") + 14
    return archive[:at] + bytes([archive[at] ^ 0xff]) + archive[at + 1:]


HOSTILE = [
    ("dots", make_zip({"../evil": "x"}), "leads out of it"),
    ("inner-dots", make_zip({"a/../../evil": "x"}), "leads out of it"),
    ("absolute", make_zip({"/tmp/fairlead-evil": "x"}), "leads out of it"),
    ("link", make_zip({}, [link("l", "/etc/passwd")]), "a link"),
    ("through-link", make_zip({}, [link("l", "/tmp"), (zipfile.ZipInfo("l/evil"), "x")]), "a link"),
    ("twice", None, "exists"),
    ("bomb", None, "more than a package of its size"),
    ("damaged", None, ""),
    ("no-zip", b"#!/bin/sh\necho this is no archive\n", "archive: "),
    ("empty", b"", "archive: "),
    ("cut", None, ""),
    ("two-scripts", make_zip({"install.sh": "true", "install.ps1": "1"}), "both install.sh and install.ps1"),
]


def test_hostile_archives(packages, tmp_path):
    p = packages
    good = make_zip({"install.sh": "true\n" * 1000, "x": os.urandom(5000)})
    made = {
        "twice": make_zip({"install.sh": "true"}, [(zipfile.ZipInfo("install.sh"), "false")]),
        "bomb": make_zip({f"zeros{i}": bytes(60 << 20) for i in range(5)}),
        "damaged": damaged(good), "cut": good[:len(good) // 2],
    }
    for i, (name, archive, words) in enumerate(HOSTILE):
        package = f"Bad-{name}"
        p.publish(package, f"1.{i}", archive if archive is not None else made[name])
        done = p.run("Install", package)
        assert done["Status"] == "Failed" and words in done["StandardErrorContent"], (name, done)
        if name != "two-scripts":
            assert not (p.dir(package) / "versions").exists(), name
        assert not (p.dir(package) / "staging").exists(), name
    assert not list(p.agent.state.rglob("evil")) and not os.path.exists("/tmp/fairlead-evil")
    assert not os.path.exists("/tmp/evil") and not list(p.agent.state.rglob("package.*"))


def test_archives_and_manifests_that_do_not_fit(packages):
    p = packages
    archive = make_zip({"install.sh": f"echo ran >> {p.log}\n"})
    other = {"tool.zip": {"checksums": {"sha256": "0" * 64}, "downloadLocation": p.url("1-checksum") + "/tool.zip"}}
    cases = [
        ("checksum", {"files": other}, "checksum of the archive is"),
        ("none", {"files": {"tool.zip": {}}}, "has no sha256"),
        ("platform", {"packages": {"windows": {"_any": {"x86_64": {"file": "tool.zip"}}}}}, "no manifest entry for platform"),
        ("file", {"packages": {"_any": {"_any": {"_any": {"file": "a.zip"}}}}}, "is not among its files"),
        ("version", {"version": "../1"}, "a version that cannot be used"),
    ]
    for name, changes, words in cases:
        p.publish(f"Odd-{name}", f"1-{name}", archive, **changes)
        done = p.run("Install", f"Odd-{name}")
        assert done["Status"] == "Failed" and words in done["StandardErrorContent"], (name, done)
    p.archives.clear()
    p.aws.ok("create-document", "--document-type", "Package", "--name", "Gone", "--content",
             json.dumps(manifest("1.0", archive, url=p.url("gone"))))
    assert "HTTP status 404" in p.run("Install", "Gone")["StandardErrorContent"]
    p.aws.ok("create-document", "--document-type", "Package", "--name", "Bare", "--content",
             json.dumps(manifest("1.0", archive)))
    assert "no attachment tool.zip" in p.run("Install", "Bare")["StandardErrorContent"]
    assert "InvalidDocument" in p.run("Install", "Nobody")["StandardErrorContent"]
    done = p.run("Install", "Bare", additionalArguments='{"PATH":"/x"}')
    assert "does not begin with SSM_" in done["StandardErrorContent"], done
    assert p.lines() == []


def test_cancel_and_lock(packages, tmp_path):
    p = packages
    slow = f"touch {tmp_path}/began; sleep 600\n"
    p.publish("Slow", "1.0", make_zip({"install.sh": slow}))
    words = ["--document-name", "AWS-ConfigureAWSPackage", "--instance-ids", p.node, "--parameters",
             json.dumps({"action": ["Install"], "name": ["Slow"]})]
    tmp_path.chmod(0o777)
    first = p.aws.ok("send-command", *words)["Command"]["CommandId"]
    flsandbox.wait_for("the script to begin", (tmp_path / "began").exists)
    second = p.run("Install", "Slow")
    assert second["Status"] == "Failed" and "already in the process of" in second["StandardErrorContent"]
    p.aws.ok("cancel-command", "--command-id", first)
    assert p.aws.settled(first, p.node)["Status"] == "Cancelled"
    flsandbox.wait_for("the state", lambda: p.state("Slow")["state"] == 2)
