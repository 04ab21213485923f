"""The node's policy against a plane that sends what it forbids: the reference plane sends anything.

Signatures are made here from docs/policy.md, not with fairlead's code.
"""
import base64
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import uuid

import botocore.exceptions
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import conftest
import flsandbox
import refplane

HERE = pathlib.Path(__file__).resolve().parent
SIGNATURE = "FairleadSignature"


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(value):
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Signer:
    def __init__(self, name="alice"):
        self.name, self.key = name, Ed25519PrivateKey.generate()

    def public(self):
        return base64.b64encode(self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).decode()

    def sign(self, document, parameters, name="AWS-RunShellScript", targets="*", start=None, life_s=600):
        start = int(time.time()) - 5 if start is None else int(start)
        nonce = uuid.uuid4().hex
        effective = {k: v.get("default") for k, v in document.get("parameters", {}).items()}
        effective.update(parameters)
        effective.pop(SIGNATURE, None)
        text = "".join(line + "\n" for line in [
            "fairlead command signature 1", f"key {self.name}", f"not-before {start}", f"not-after {start + life_s}",
            f"nonce {nonce}", f"targets {targets}", f"document {name}", f"content-sha256 {sha256(document)}",
            f"parameters-sha256 {sha256(effective)}"])
        made = base64.b64encode(self.key.sign(text.encode())).decode()
        return f"fairlead1:{self.name}:{start}:{start + life_s}:{nonce}:{targets}:{made}"


def rule(name, effect, **match):
    return {"name": name, "effect": effect, "match": match}


def policy(*rules, default="deny", **more):
    return dict({"version": 1, "default": default, "rules": list(rules)}, **more)


@pytest.fixture
def node(ref_plane, new_agent):
    """An online agent and what writes its policy."""
    class Node:
        agent = new_agent(ref_plane)
        file = agent.config.parent / "policy.json"
        proof = agent.folder / "proof"

        def rule(self, value):
            fresh = self.file.with_suffix(".new")
            fresh.write_text(value if isinstance(value, str) else json.dumps(value, indent=1))
            fresh.chmod(0o644)
            fresh.rename(self.file)

        def send(self, document, parameters=None, **more):
            return ref_plane.finished(ref_plane.send_job(document, parameters, **more))

        def touch(self, n=1):
            """A document of n harmless steps and a last one that leaves a proof that it ran."""
            return refplane.steps_document(*["true"] * (n - 1), f"echo ran >> {self.proof}")

        def ran(self):
            there = self.proof.exists()
            self.proof.unlink(missing_ok=True)
            return there

    return Node()


def refusal(job):
    """(step, text) of the one failed step of a refused document."""
    final = job.final()
    assert final["documentStatus"] == "Failed", final
    assert final["additionalInfo"]["runtimeStatusCounts"] == {"Failed": 1}, final
    (name, step), = final["runtimeStatus"].items()
    assert step["status"] == "Failed" and step["code"] == 1 and step["standardOutput"] == ""
    assert step["output"] == step["standardError"]
    return name, step["output"]


def with_signature(document):
    return dict(document, parameters={"p": {"type": "String", "default": "x"},
                                      SIGNATURE: {"type": "String", "default": ""}})


def test_a_hostile_plane_meets_the_policy(node):
    """Documents, actions, parameters, inputs: each refusal names its rule, and no step has run."""
    evil = node.touch()
    third = node.touch(3)
    third["mainSteps"][2]["action"] = "aws:runPowerShellScript"
    nested = {"schemaVersion": "2.2", "mainSteps": [
        {"action": "aws:runDocument", "name": "inner", "inputs": {
            "documentType": "SSMDocument", "documentPath": "AWS-RunShellScript"}}]}
    shell = {"commands": [f"echo ran >> {node.proof}"]}
    cases = [
        ("a forbidden document", policy(rule("ours", "allow", documents=["Our-*"])), evil, {},
         "step1", "no rule allows it"),
        ("the same by a rule", policy(rule("no aws", "deny", documents=["AWS-*"]), default="allow"), evil, {},
         "step1", 'rule "no aws"'),
        ("an action in step 3", policy(rule("no power", "deny", actions=["*PowerShell*"]), default="allow"), third, {},
         "step3", 'rule "no power"'),
        ("content that another name stands on", policy(rule("pinned", "allow", documentHashes=[sha256(third)])), evil,
         {}, "step1", "no rule allows it"),
        ("a parameter outside of the pattern",
         policy(rule("look", "allow", parameters={"commands": "uptime|df -h", "workingDirectory": "",
                                                  "executionTimeout": "[0-9]+"})),
         None, {"commands": ["uptime", f"echo ran >> {node.proof}"]}, "aws:runShellScript", "no rule allows it"),
        ("a parameter the rule does not know",
         policy(rule("look", "allow", parameters={"commands": ".*", "executionTimeout": ".*"})),
         None, shell, "aws:runShellScript", "no rule allows it"),
        ("one bad word among many", policy(rule("no echo", "deny", parameters={"commands": ".*echo.*"}),
                                           default="allow"),
         None, {"commands": ["uptime", f"echo ran >> {node.proof}"]}, "aws:runShellScript", 'rule "no echo"'),
        ("what runs, whatever its name says",
         policy(rule("look", "allow", inputs={"runCommand": "uptime", "timeoutSeconds": ".*"})), evil, {},
         "step1", "no rule allows it"),
        ("the same in other letters",
         policy(rule("no echo", "deny", inputs={"RUNCOMMAND": ".*echo.*"}), default="allow"), evil, {},
         "step1", 'rule "no echo"'),
        ("another document in this one, by default", policy(default="allow"), nested, {},
         "inner", "no rule allows this action by its name"),
        ("another document in this one, by a rule", policy(rule("all", "allow")), nested, {},
         "inner", "no rule allows it"),
        ("a closed window", policy(rule("never", "allow", times=[closed_window()])), evil, {},
         "step1", "no rule allows it"),
        ("a user", policy(rule("other user", "allow", runAs=["nobody-of-that-name"])), evil, {},
         "step1", "no rule allows it"),
        ("a signature that is not there", policy(rule("signed", "allow", signedBy=["alice"]),
                                                 keys={"alice": Signer().public()}),
         evil, {}, "step1", "no rule allows it"),
    ]
    for what, rules, document, parameters, step, words in cases:
        node.rule(rules)
        name, text = refusal(node.send(document, parameters))
        assert name == step and words in text, (what, name, text)
        assert text.startswith("fairlead: refused by the policy of this node: "), text
        assert not node.ran(), what


def closed_window():
    """An hour that is not now."""
    hour = (time.gmtime().tm_hour + 12) % 24
    return f"{hour:02}:00-{hour:02}:59 UTC"


def test_what_the_policy_allows_runs(node):
    document = node.touch(2)
    shell = {"commands": [f"echo ran >> {node.proof}"]}
    cases = [
        (policy(rule("aws", "allow", documents=["AWS-*"])), document, {}),
        (policy(rule("pinned", "allow", documentHashes=[sha256(document)], runAs=[user()])), document, {}),
        (policy(rule("actions", "allow", actions=["aws:runShellScript"])), document, {}),
        (policy(rule("look", "allow", parameters={"commands": "echo [a-z]+ >> .*", "workingDirectory": "",
                                                  "executionTimeout": "3600"})), None, shell),
        (policy(rule("runs", "allow", inputs={"RunCommand": "true|echo ran >> .*", "timeoutSeconds": "3600"})),
         document, {}),
        (policy(rule("power", "deny", actions=["aws:runPowerShellScript"]), default="allow"), document, {}),
        (policy(rule("always", "allow", times=["00:00-24:00 UTC"])), document, {}),
    ]
    for i, (rules, doc, parameters) in enumerate(cases):
        node.rule(rules)
        job = node.send(doc, parameters)
        assert job.final()["documentStatus"] == "Success", (i, job.replies)
        assert node.ran(), i


def user():
    import pwd
    return pwd.getpwuid(os.geteuid()).pw_name


def test_signatures(node):
    """Signed is run once; every other use of a signature is refused and told why."""
    alice, mallory = Signer(), Signer()
    document = with_signature(node.touch())
    node.rule(policy(rule("signed only", "allow", signedBy=["alice"]), keys={"alice": alice.public()},
                     labels=["web"]))

    def send(signature, doc=document, name="AWS-RunShellScript", **parameters):
        return node.send(doc, dict(parameters, **{SIGNATURE: signature}), document_name=name)

    def runs(signature, **more):
        job = send(signature, **more)
        assert job.final()["documentStatus"] == "Success", job.final()
        assert node.ran()

    def refused(words, signature, **more):
        _, text = refusal(send(signature, **more))
        assert words in text, text
        assert not node.ran()

    good = alice.sign(document, {})
    runs(good)
    refused("has used it already", good)
    runs(alice.sign(document, {"p": "y"}), p="y")
    runs(alice.sign(document, {"p": "x"}))  # the default, said or not, is one thing
    runs(alice.sign(document, {}, targets=f"mi-0,{node.agent.node_id}"))
    runs(alice.sign(document, {}, targets="@web,@db"))
    refused("it is for other nodes", alice.sign(document, {}, targets="mi-0123456789abcdef0,@db"))
    refused("it expired at", alice.sign(document, {}, start=time.time() - 3600))
    refused("it holds from", alice.sign(document, {}, start=time.time() + 3600))
    refused("did not sign this", mallory.sign(document, {}))
    refused("did not sign this", alice.sign(document, {}), p="y")
    refused("did not sign this", alice.sign(document, {}), name="Other")
    refused("did not sign this", alice.sign(document, {}), doc=with_signature(node.touch(2)))
    refused("no key \"bob\"", Signer("bob").sign(document, {}))
    refused("no rule allows it", "")
    refused("signature: ", "fairlead1:alice:0:1:x")
    fresh = alice.sign(document, {})
    refused("signature: not as it was written", fresh.replace(":1", ":01", 1))
    runs(fresh)  # what was refused has not used it up


def test_a_signature_that_the_document_does_not_declare(node):
    """A hostile plane has a signed command of a plain document: it can send it once, as it is, and nothing else."""
    alice = Signer()
    document, other = node.touch(), node.touch(2)
    document["parameters"] = other["parameters"] = {"p": {"type": "String", "default": "x"}}
    node.rule(policy(rule("signed only", "allow", signedBy=["alice"]), keys={"alice": alice.public()}))
    good = alice.sign(document, {})

    def refused(words, doc, **parameters):
        _, text = refusal(node.send(doc, parameters))
        assert words in text and not node.ran(), text

    refused("no rule allows it", document)
    refused("did not sign this", other, **{SIGNATURE: good})
    refused("did not sign this", document, p="y", **{SIGNATURE: good})
    refused("did not sign this", document, extra="y", **{SIGNATURE: good})
    refused("did not sign this", with_signature(document), **{SIGNATURE: good})
    refused("no rule allows it", document, **{SIGNATURE.lower(): good})
    refused("no rule allows it", document, **{SIGNATURE: [good]})
    assert node.send(document, {SIGNATURE: good}).final()["documentStatus"] == "Success" and node.ran()
    refused("has used it already", document, **{SIGNATURE: good})


def test_signed_commands_of_aws_documents_through_our_plane(new_box, build, tmp_path):
    """Signed from a file of the operator's, sent as any command is; nodes without a policy ignore the signature."""
    box = new_box(nodes=2)
    signer, plain = box.agents
    ssm = conftest.client(box.plane, "ssm")
    key, file = tmp_path / "key", tmp_path / "shell.json"
    made = client(build, "keygen", "--name", "ann", "--no-passphrase", key)
    public = json.loads("{" + made.stdout + "}")["ann"]
    write(signer.config.parent / "policy.json",
          policy(rule("signed only", "allow", signedBy=["ann"]), keys={"ann": public})).chmod(0o644)
    file.write_text(ssm.get_document(Name="AWS-RunShellScript")["Content"])

    def run(parameters, agent=signer):
        sent = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[agent.node_id],
                                Parameters=parameters)["Command"]["CommandId"]

        def ended():
            got = ssm.list_command_invocations(CommandId=sent, Details=True)["CommandInvocations"]
            return got and got[0]["Status"] in ("Success", "Failed") and got[0]
        got = flsandbox.wait_for("the command", ended, 60, 0.1)
        return got["Status"], got["CommandPlugins"][0]["Output"]

    def sign(*more):
        done = client(build, "sign", "--key", key, "--document", "AWS-RunShellScript", "--document-file", file,
                      "--parameters", '{"commands": ["echo signed"]}', "--targets", *more, "--send-ready")
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    status, text = run({"commands": ["echo signed"]})
    assert status == "Failed" and "no rule allows it" in text
    ready = sign(signer.node_id)
    status, text = run(dict(ready, commands=["echo changed"]))
    assert status == "Failed" and "did not sign this" in text
    assert run(ready) == ("Success", "signed\n")
    status, text = run(ready)
    assert status == "Failed" and "has used it already" in text
    assert run(ready, plain) == ("Success", "signed\n")
    for bad in (["nonsense"], [ready[SIGNATURE][0], "x"], []):
        with pytest.raises(botocore.exceptions.ClientError) as e:
            ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[signer.node_id],
                             Parameters=dict(ready, **{SIGNATURE: bad}))
        assert e.value.response["Error"]["Code"] == "InvalidParameters"


def test_a_used_signature_is_remembered(node, ref_plane):
    """Across a restart; and a job whose agent was killed on the way still runs with its own."""
    alice = Signer()
    document = with_signature(node.touch())
    node.rule(policy(rule("signed only", "allow", signedBy=["alice"]), keys={"alice": alice.public()}))
    signature = alice.sign(document, {})
    node.send(document, {SIGNATURE: signature})
    assert node.ran()
    node.agent.kill()
    node.agent.start()
    ref_plane.wait_online()
    name, text = refusal(node.send(document, {SIGNATURE: signature}))
    assert "has used it already" in text and not node.ran()
    assert os.listdir(node.agent.state / "signatures")


def test_a_policy_that_cannot_be_used_refuses_everything(node, ref_plane):
    """Broken, open to others, gone: said in the log and in the status, nothing runs."""
    good = policy(rule("all", "allow"))

    def refused(words):
        job = node.send(node.touch())
        final = job.final()
        assert final["documentStatus"] == "Failed" and words in final["documentTraceOutput"], final
        assert not node.ran()
        _, status = node.agent.status()
        assert words in status["policy"] and "everything is refused" in status["policy"], status

    node.rule("{\n\"version\": 1,\n\"default\": \"deny\",\n\"rules\": [{\"name\": \"x\", \"effect\": \"alow\","
              " \"match\": {}}]\n}")
    refused("line 4: rules[0].effect: must be allow or deny")
    assert "EVERY DOCUMENT IS REFUSED" in node.agent.log.read_text()
    node.rule(good)
    node.file.chmod(0o666)
    refused("may be changed by others")
    node.rule(good)
    assert node.send(node.touch()).final()["documentStatus"] == "Success" and node.ran()
    node.file.unlink()
    refused("No such file")
    # Whoever may signal the agent says that this is meant.
    os.kill(node.agent.pid, signal.SIGHUP)
    flsandbox.wait_for("the reload", lambda: "was taken away" in node.agent.log.read_text(), 10)
    assert node.send(node.touch()).final()["documentStatus"] == "Success" and node.ran()
    assert node.agent.status()[1]["policy"].startswith("none")


def test_a_dead_judge_is_a_no(node, ref_plane, build):
    """Without fairlead-agent-policy nothing is decided, so nothing runs; others are not held up."""
    # An empty program in its place: it ends without an answer.
    prefix = node.agent.folder / "prefix"
    prefix.mkdir()
    for name in ("fairlead-agent", "fairlead-agent-worker", "fairlead-agent-net", "fairlead-agent-fetch",
                 "fairlead-agent-key"):
        os.link(build / name, prefix / name) if os.stat(build).st_dev == os.stat(prefix).st_dev else \
            (prefix / name).write_bytes((build / name).read_bytes())
        (prefix / name).chmod(0o755)
    (prefix / "fairlead-agent-policy").write_text("#!/bin/sh\nexit 0\n")
    (prefix / "fairlead-agent-policy").chmod(0o755)
    node.agent.kill()
    node.agent.build = prefix
    node.rule(policy(rule("all", "allow")))
    node.agent.start()
    ref_plane.wait_online()
    final = node.send(node.touch()).final()
    assert final["documentStatus"] == "Failed" and "ended before it had decided" in final["documentTraceOutput"], final
    assert not node.ran()


def client(build, *args, stdin=""):
    return subprocess.run([build / "fairlead", *map(str, args)], capture_output=True, text=True, input=stdin,
                          timeout=30, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})


def test_keygen_and_sign(node, build, tmp_path):
    """What the client makes is what the node takes; keys are OpenSSL's own format."""
    key, document_file = tmp_path / "key", tmp_path / "document.json"
    made = client(build, "keygen", "--name", "ann", "--passphrase-file", "-", key, stdin="correct horse\n")
    assert made.returncode == 0 and made.stdout.startswith('"ann": "MCow'), made
    assert oct(key.stat().st_mode & 0o777) == "0o600" and "ENCRYPTED" in key.read_text()
    assert "correct horse" not in key.read_text()
    assert client(build, "keygen", "--name", "ann", "--no-passphrase", key).returncode != 0, "written over"
    private = serialization.load_pem_private_key(key.read_bytes(), b"correct horse")
    public = base64.b64encode(private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).decode()
    assert made.stdout == f'"ann": "{public}"\n'
    again = client(build, "keygen", "--public", "--passphrase-file", "-", key, stdin="correct horse")
    assert again.stdout == made.stdout

    document = {"schemaVersion": "2.2", "parameters": {
        "commands": {"type": "StringList"}, "p": {"type": "String", "default": "é\t\"<&>\" 1"},
        SIGNATURE: {"type": "String", "default": ""}},
        "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {
            "runCommand": "{{ commands }}", "ratio": 1.5, "big": 12345678901234567}}]}
    document_file.write_text(json.dumps(document, indent=3))
    node.rule(policy(rule("signed", "allow", signedBy=["ann"]), keys=json.loads("{" + made.stdout + "}")))
    words = ["sign", "--key", key, "--document", "Ours", "--document-file", document_file, "--passphrase-file", "-",
             "--parameters", json.dumps({"commands": [f"echo ran >> {node.proof}"]}), "--targets", node.agent.node_id]
    done = client(build, *words, "--send-ready", stdin="correct horse")
    assert done.returncode == 0, done
    ready = json.loads(done.stdout)
    assert all(isinstance(v, list) for v in ready.values())
    sent = {"commands": ready["commands"], SIGNATURE: ready[SIGNATURE][0]}  # as the service hands them on
    assert node.send(document, sent, document_name="Ours").final()["documentStatus"] == "Success"
    assert node.ran()
    assert client(build, *words, stdin="correct horse").stdout.startswith("fairlead1:ann:")
    assert "wrong passphrase" in client(build, *words, stdin="wrong battery").stderr
    assert "31 days" in client(build, *words, "--expires", "99d").stderr
    assert client(build, *words, "--expires", "31d", stdin="correct horse").returncode == 0


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def check(build, tmp_path, *args):
    return subprocess.run([build / "fairlead-agent", "--config", tmp_path / "agent.json", "--state", tmp_path / "state",
                           "policy", "check", *map(str, args)], capture_output=True, text=True, timeout=30)


def test_policy_check(build, tmp_path):
    """The documentation's example is good; a document is decided about; faults have line and member."""
    text = (HERE.parents[1] / "docs/policy.md").read_text()
    example = re.search(r"^    \{$.*?^    \}$", text, re.M | re.S)[0]
    file, document = tmp_path / "policy.json", tmp_path / "document.json"
    file.write_text(example)
    file.chmod(0o644)
    done = check(build, tmp_path)
    assert done.returncode == 0 and "good, 4 rules, default deny" in done.stdout, done
    assert "note" not in done.stdout

    shell = {"schemaVersion": "2.2", "parameters": {"c": {"type": "StringList"}}, "mainSteps": [
        {"action": "aws:runShellScript", "name": "s", "inputs": {"runCommand": "{{ c }}"}}]}
    document.write_text(json.dumps(shell))
    rules = policy(rule("look", "allow", inputs={"runCommand": "uptime"}), rule("trusting", "allow", documents=["x"]))
    other = write(tmp_path / "other.json", rules)
    words = ["--document", "Doc", "--document-file", document, "--parameters"]
    done = check(build, tmp_path, other, *words, '{"c": ["uptime"]}')
    assert done.returncode == 0 and 'allowed: rule "look"\n' in done.stdout, done
    assert f"document hash: {sha256(shell)}\n" in done.stdout
    assert 'note: rule "trusting" leaves the content of documents to the control plane' in done.stdout
    done = check(build, tmp_path, other, *words, '{"c": ["uptime", "id"]}')
    assert done.returncode == 1 and "no rule allows it (step 1, s, aws:runShellScript)" in done.stdout, done

    other.write_text(json.dumps(rules, indent=1).replace('"effect"', '"efect"'))
    done = check(build, tmp_path, other)
    assert done.returncode == 1 and "other.json: line 7: rules[0].efect: unknown member" in done.stderr, done
    file.chmod(0o666)
    assert "may be changed by others" in check(build, tmp_path).stderr
    file.unlink()
    assert check(build, tmp_path).returncode == 1


def test_the_agent_is_killed_around_a_decision(node, ref_plane):
    """Whenever it is killed, a signed command is decided about, runs once, and is reported."""
    alice = Signer()
    document = with_signature(node.touch())
    node.rule(policy(rule("signed only", "allow", signedBy=["alice"]), keys={"alice": alice.public()}))
    for pause_s in (0, 0.02, 0.05, 0.1):
        job = ref_plane.send_job(document, {SIGNATURE: alice.sign(document, {})})
        ref_plane.wait(lambda: job.acks, 10, "the ack")
        time.sleep(pause_s)
        node.agent.kill()
        node.agent.start()
        flsandbox.wait_for("the agent online", lambda: (node.agent.status()[1] or {}).get("online"), 30)
        final = ref_plane.settle(job).final()
        assert final["documentStatus"] == "Success", (pause_s, final)
        assert node.proof.read_text() == "ran\n", pause_s
        node.proof.unlink()


def test_what_parameter_store_gives_is_judged_too(node, ref_plane):
    """The plane answers for a reference that the policy allows: the step is held to the policy with the value."""
    document = refplane.steps_document("echo {{ssm:x}}")
    node.rule(policy(rule("words", "allow", inputs={"runCommand": r"echo (\{\{ssm:x\}\}|[a-z]+)",
                                                    "timeoutSeconds": "[0-9]+"})))
    ref_plane.parameters = {"x": ("String", "abc")}
    assert node.send(document).steps()["step1"]["standardOutput"] == "abc\n"
    ref_plane.parameters = {"x": ("String", f"a; echo ran >> {node.proof}")}
    step = node.send(document).steps()["step1"]
    assert step["status"] == "Failed" and "refused by the policy of this node: no rule allows it" in step["output"]
    assert not node.ran()


def nesting(path, kind="SSMDocument", parameters=None, name="outer"):
    inputs = {"documentType": kind, "documentPath": str(path), **({"documentParameters": parameters} if parameters else {})}
    return dict(with_signature({"schemaVersion": "2.2"}), mainSteps=[
        {"action": "aws:runDocument", "name": name, "inputs": inputs}])


def test_documents_inside_documents_are_judged_by_themselves(node, ref_plane, tmp_path):
    """What speaks for the outer document (name, hash, parameters, signature, action) says nothing of the steps inside."""
    alice = Signer()
    inner = dict(node.touch(), parameters={"p": {"type": "String", "default": "x"}})
    local = tmp_path / "inner.json"
    local.write_text(json.dumps(inner))
    ref_plane.documents = {"Evil": json.dumps(inner), "Our-Inner": json.dumps(inner),
                           "Our-Way": json.dumps(nesting("Evil"))}
    nest = rule("nest", "allow", actions=["aws:runDocument"])
    ours = rule("ours", "allow", actions=["*"], documents=["Our-*"])
    outer, given = nesting("Evil"), nesting("Evil", parameters={"p": "evil"})
    signed = policy(rule("signed", "allow", actions=["*"], signedBy=["alice"]), keys={"alice": alice.public()})
    in_bounds = rule("in bounds", "allow", actions=["*"], parameters={"p": "x"})
    script = rule("script", "allow", inputs={"runCommand": "echo ran >> .*", "timeoutSeconds": "3600"})

    def send(rules, document, **parameters):
        node.rule(rules)
        job = node.send(document, parameters, document_name="Our-Outer")
        step = job.steps()["outer"]
        assert step["status"] == job.final()["documentStatus"]
        return step["status"], step["standardError"]

    for what, rules, document, parameters in [
            ("the action", policy(nest), outer, {}),
            ("the name", policy(ours), outer, {}),
            ("the name, of a file", policy(ours), nesting(local, "LocalPath"), {}),
            ("the name, two deep", policy(nest, ours), nesting("Our-Way"), {}),
            ("the hash", policy(rule("pinned", "allow", actions=["*"], documentHashes=[sha256(outer)])), outer, {}),
            ("parameters", policy(in_bounds), given, {}),
            ("the signature", signed, outer, {SIGNATURE: alice.sign(outer, {}, name="Our-Outer")}),
            ("a rule that denies", policy(rule("no evil", "deny", documents=["Evil"]), nest, default="allow"), outer, {}),
    ]:
        status, text = send(rules, document, **parameters)
        assert status == "Failed" and "refused by the policy of this node: " in text, (what, status, text)
        assert not node.ran(), what
    for what, rules, document in [
            ("its name", policy(ours), nesting("Our-Inner")),
            ("its hash", policy(nest, rule("pinned", "allow", documentHashes=[sha256(inner)])), nesting(local, "LocalPath")),
            ("its inputs, two deep", policy(nest, script), nesting("Our-Way")),
            ("its parameters", policy(nest, in_bounds), outer)]:
        assert send(rules, document) == ("Success", ""), what
        assert node.ran(), what
