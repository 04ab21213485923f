"""Documents made to harm: sent by a hostile plane straight to an agent, brought in by aws:runDocument, and offered to
our plane. Each ends in a clear failure or as if it were harmless; the agent goes on, and nothing stays behind."""
import json
import os
import uuid

import flproc
import flsandbox
from botocore.exceptions import ClientError

LIMIT_S = 60
DEEP = "[" * 100_000 + "]" * 100_000


def step(name="s", lines=("true",), **more):
    return {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": list(lines)}, **more}


def document(*steps, parameters=None):
    return {"schemaVersion": "2.2", **({"parameters": parameters} if parameters else {}), "mainSteps": list(steps)}


def with_inputs(text):
    """A document whose only step has these inputs, letter by letter."""
    return ('{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"s","inputs":' + text + "}]}")


def nested(depth, open_="[", close="]"):
    return open_ * depth + close * depth


def declared(value=None, **limits):
    return document(step(lines=["echo '{{ p }}' | wc -c"]), parameters={"p": dict({"type": "String"}, **limits)})


def send(plane, text, parameters="{}"):
    """A document and parameters as they are written, JSON or not."""
    command = str(uuid.uuid4())
    content = (f'{{"Parameters":{parameters},"DocumentContent":{text},"CommandId":"{command}","DocumentName":"Hostile",'
               '"OutputS3BucketName":"","OutputS3KeyPrefix":"","CloudWatchLogGroupName":"",'
               '"CloudWatchOutputEnabled":"false"}')
    return plane.send_content(f"aws.ssm.{command}.{next(iter(plane.nodes))}", "aws.ssm.sendCommand", content)


# What it is, the document (text or value), parameters (text or value), what must stand in what is told; None: it is
# harmless after all. A refusal whose words are "" is told without words: what was sent could not be read (51408).
STORM = "{{" * 100_000
CASES = {
    "text of brackets": (DEEP, {}, ""),
    "brackets in inputs": (with_inputs(DEEP), {}, ""),
    "inputs deeper than they may be": (with_inputs(nested(1000)), {}, "nested too deeply"),
    "a deep value in deep inputs": (
        with_inputs("[" * 500 + '"{{ p }}"' + "]" * 500), '{"p":' + nested(2000) + "}", "nested too deeply"),
    "objects in inputs": (with_inputs(nested(1000, '{"a":', "1}".replace("1", ""))).replace(":}", ":1}"), {}, "nested too deeply"),
    "100,000 steps": ('{"schemaVersion":"2.2","mainSteps":[' + ",".join(["{}"] * 100_000) + "]}", {},
                      "more than 1000 steps"),
    "no object": ('{"schemaVersion":"2.2","mainSteps":{"a":1}}', {}, "cannot unmarshal object"),
    "step names that walk": (document(step("../../x"), step("/etc/passwd"), step("..")), {}, None),
    "step names that collide": (document(step("a:b"), step("ab"), step("a/b"), step("ab")), {}, None),
    "a step name of 100 kB": (document(step("x" * 100_000)), {}, "1 to 256 bytes"),
    "a step name with a line feed": (document(step("x\ny")), {}, "control character"),
    "an action that walks": (document({"action": "../../bin/sh", "name": "s"}), {}, "not supported"),
    "keys that stand twice": (with_inputs('{"runCommand":["exit 9"],"runCommand":["true"]}'), {}, None),
    "numbers beyond all": ('{"schemaVersion":"2.2","mainSteps":[{"action":"a","name":"s","maxAttempts":1e999}]}', {}, ""),
    "an integer of 100 digits": (with_inputs('{"runCommand":["true"],"timeoutSeconds":' + "9" * 100 + "}"), {}, ""),
    "a time of 1e300 seconds": (with_inputs('{"runCommand":["true"],"timeoutSeconds":1e300}'), {}, None),
    "half a surrogate pair": (with_inputs(r'{"runCommand":["echo \ud800"]}'), {}, ""),
    "bytes that are not UTF-8": (with_inputs('{"runCommand":["echo \udcff"]}').encode("utf-8", "surrogateescape")
                                 .decode("latin-1"), {}, None),
    "NUL in a line": (with_inputs(r'{"runCommand":["echo a\u0000b"]}'), {}, None),
    "NUL in a parameter": (declared(), {"p": "a\0b"}, "NUL"),
    "NUL past a pattern": (declared(allowedPattern="^a$"), {"p": "a\0; id"}, "NUL"),
    "a pattern that tries for ever": (declared(allowedPattern="^(a|a|aa)+$"), {"p": "a" * 5000 + "b"},
                                      "takes too much work"),
    "a pattern that is none": (declared(allowedPattern="(" * 5000), {"p": "a"}, "allowed pattern"),
    "a pattern that works hard on each element": (
        document(step(), parameters={"p": {"type": "StringList", "allowedPattern": "^(a|a)*b|^a"}}),
        {"p": ["a" * 13] * 30_000}, "takes too much work"),
    "braces without end": (declared(), {"p": STORM}, None),
    "braces in the document": (with_inputs(json.dumps({"runCommand": [": " + STORM]})), {}, None),
    "blanks between braces": (with_inputs(json.dumps({"runCommand": [": " + ("{{" + " " * 1000) * 300]})), {"p": "x"}, None),
    "a value that names itself": (declared(), {"p": "{{ p }}" * 1000}, None),
    "a long value 1000 times": (document(step(lines=["{{ p }}" * 100] * 100), parameters={"p": {"type": "String"}}),
                                {"p": "x" * 100_000}, "make it too large"),
    "a large map 1000 times": (
        document(step(lines=["{{ p }} {{ p }}"] * 1000), parameters={"p": {"type": "StringMap"}}),
        {"p": {f"k{i}": "v" * 20 for i in range(10_000)}}, "make it too large"),
    "a map put in whole 1000 times": (
        document({"action": "aws:runShellScript", "name": "s", "inputs": {"runCommand": ["{{ p }}"] * 1000}},
                 parameters={"p": {"type": "StringMap"}}),
        {"p": {f"k{i}": {} for i in range(10_000)}}, "make it too large"),
    "50,000 declarations": (document(step(), parameters={f"p{i}": {} for i in range(20_000)}), {}, None),
    "lists and nothing in them": (with_inputs("[" + ",".join(["[]"] * 5_000) + "]"), {}, "Invalid format"),
    "2 MB of parameters": (declared(), {"p": "x" * 2_000_000}, "cannot keep the document: content"),
    "preconditions without end": (document(step(precondition={f"Op{i}": ["a", "b"] for i in range(20_000)})), {},
                                  "Unrecognized precondition(s)"),
    "a bad reference many times": (with_inputs(json.dumps({"runCommand": ["{{ssm:p}}" * 50_000]})), {},
                                   "invalid parameters [p]"),
    "2000 references": (with_inputs(json.dumps({"runCommand": ["".join(f"{{{{ssm:p{i}}}}}" for i in range(2000))]})),
                        {}, "more than 1000 parameters"),
}


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


class Watch:
    """What an agent has before and after: processes, descriptors, memory, files."""

    def __init__(self, agent, outside):
        self.agent, self.outside = agent, outside
        # A process that has just been started has another name for a moment: it is no part of what was before.
        self.before = flsandbox.wait_for("the workers to end", self.at_rest, 20)
        self.had = self.descriptors()
        self.memory = self.memory_kb()

    def at_rest(self):
        seen = self.look()
        return seen if seen[0] == ["fairlead-agent", "fairlead-net"] else None

    def pids(self):
        """By name; those that make calls end when they are idle."""
        named = {p: flproc.name(p) for p in flproc.tree(self.agent.child.pid)}
        return {n: p for p, n in named.items() if n and n != "fairlead-fetch"}

    def look(self):
        """Descriptors apart, which may become fewer: (processes, files outside)."""
        return (sorted(self.pids()), sorted(str(p) for p in self.outside.rglob("*") if self.agent.folder not in p.parents))

    def descriptors(self):
        return {n: len(os.listdir(f"/proc/{p}/fd")) for n, p in self.pids().items()}

    def is_as_it_was(self):
        # A connection or two may have come since.
        return self.look() == self.before and all(n <= self.had.get(p, -2) + 2 for p, n in self.descriptors().items())

    def memory_kb(self):
        return flproc.memory_kb([self.agent.child.pid])["Private"]

    def check(self):
        try:
            flsandbox.wait_for("everything to be as it was", self.is_as_it_was, 40)
        except flsandbox.SandboxError:
            assert (self.look(), self.descriptors()) == (self.before, self.had)
        if not flsandbox.keeps_what_was_freed(self.agent.build / "fairlead-agent"):
            assert self.memory_kb() < self.memory + 4096
        # Of each job its folder alone: no parts of downloads, nothing unfinished.
        for name in ("download-*", ".fairlead-*", "*.new", "*.tmp"):
            assert not list(self.agent.state.rglob(name)), name


def told(job):
    """All that was said of a document."""
    words = [i["documentTraceOutput"] for _, i, _ in job.replies]
    return "\n".join(words + [s["output"] + s["standardError"] for s in job.steps().values()])


def check(plane, cases):
    """Runs (what, a function that sends it, the words or None) and tells what came out otherwise."""
    bad = []
    for what, send_it, words in cases:
        job = plane.finished(send_it(), LIMIT_S)
        if job.final()["documentStatus"] != ("Success" if words is None else "Failed") or (words or "") not in told(job):
            bad.append(f"{what}: {job.final()['documentStatus']} {told(job)[:300]!r}")
    assert not bad, "\n".join(bad)


def still_here(plane, agent):
    assert plane.shell("echo still here").steps()["aws:runShellScript"]["standardOutput"] == "still here\n"
    assert agent.running()


def test_straight_to_the_agent(ref_plane, new_agent, tmp_path):
    agent = new_agent(ref_plane)
    ref_plane.shell("true")
    watch = Watch(agent, tmp_path)
    check(ref_plane, [(what, lambda t=text, p=parameters: send(ref_plane, as_text(t), as_text(p)), words)
                      for what, (text, parameters, words) in CASES.items()])
    still_here(ref_plane, agent)
    watch.check()


def test_ten_megabytes(ref_plane, new_agent, tmp_path):
    """Nothing of that size is read: the agent leaves such a channel, and comes back to the next."""
    agent = new_agent(ref_plane)
    watch, channels = Watch(agent, tmp_path), ref_plane.channels_opened
    try:
        send(ref_plane, as_text(declared()), json.dumps({"p": "x" * 10_000_000}))
    except OSError:
        pass  # the agent need not wait for its end
    ref_plane.wait(lambda: ref_plane.channels_opened > channels, LIMIT_S, "the next channel")
    ref_plane.wait_online()
    still_here(ref_plane, agent)
    watch.check()


# ---- documents inside documents ----

def nest(path, kind="SSMDocument", name="outer", **inputs):
    return {"action": "aws:runDocument", "name": name,
            "inputs": {"documentType": kind, "documentPath": str(path), **inputs}}


LAUGHS = ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi"))
    + "schemaVersion: '2.2'\nmainSteps: *i\n")
GOOD_YAML = "schemaVersion: '2.2'\nmainSteps:\n- {action: aws:runShellScript, name: s, inputs: {runCommand: [echo %s]}}\n"
# What stands in a file or comes from the service, and what must be told of it.
TEXTS = {
    "brackets": ("[" * 100_000, "PREPARING"),
    "YAML brackets": ("x: " + "[" * 100_000, "PREPARING"),
    "YAML dashes": ("- " * 50_000, "PREPARING"),
    "YAML question marks": ("? " * 50_000, "PREPARING"),
    "a billion laughs": (LAUGHS, "too many or too large values"),
    "an alias of itself": ("a: &a [*a]\n", "an alias of something that does not stand before it"),
    "2000 anchors": ("".join(f"k{i}: &a{i} 1\n" for i in range(2000)), "too many anchors"),
    "a tag": ("schemaVersion: !!python/object/apply:os.system ['id']\n", "PREPARING"),
    "a merge key": ("a: &a {b: 1}\nc: {<<: *a}\n", "merge keys"),
    "a YAML key twice": ("a: 1\na: 2\n", "this key stands twice"),
    "NUL in YAML": ('schemaVersion: "2.2\\0"\n', "a NUL in a string"),
    "a real NUL": ("schemaVersion: '2.2'\0\n", "PREPARING"),
    "nothing": ("", "File is empty!"),
    "a number": ("7", "not a JSON object"),
    "10 MB": ("#" + " " * 10_000_000, "PREPARING"),
    "100,000 steps": ('{"schemaVersion":"2.2","mainSteps":[' + ",".join(["{}"] * 100_000) + "]}", "more than 1000 steps"),
    "deep inputs": (with_inputs(nested(1000)), "nested too deeply"),
    "half a surrogate pair": (with_inputs(r'{"runCommand":["echo \ud800"]}'), "PREPARING"),
    "good YAML": (GOOD_YAML % "yes", None),
}


def test_in_documents_that_run_documents(ref_plane, new_agent, tmp_path):
    agent = new_agent(ref_plane)
    ref_plane.shell("true")
    for i, (text, _) in enumerate(TEXTS.values()):
        (tmp_path / f"{i}.yaml").write_text(text)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    # Each calls itself; each step of the last calls it twice, and no deeper than three.
    ref_plane.documents = {f"D{i}": json.dumps(document(nest(f"D{i + 1}"))) for i in range(64)}
    ref_plane.documents.update({
        "D64": json.dumps(document(step(lines=["echo the end"]))), "Self": json.dumps(document(nest("Self"))),
        "Wide": json.dumps(document(*[nest("Wide", name=f"n{i}") for i in range(6)]))})
    self = tmp_path / "self.yaml"
    self.write_text(json.dumps(document(nest(self, "LocalPath"))))
    watch = Watch(agent, tmp_path)

    def run(*steps, parameters=None):
        return lambda: ref_plane.send_job(document(*steps), parameters)

    head = "There was an error while preparing documents - "
    too_deep = "Maximum depth for document execution exceeded"
    cases = [(what, run(nest(tmp_path / f"{i}.yaml", "LocalPath")), words and words.replace("PREPARING", head))
             for i, (what, (_, words)) in enumerate(TEXTS.items())]
    cases += [(str(p), run(nest(tmp_path / p, "LocalPath")), head) for p in ("pipe", "folder", "loop", "/dev/zero", "x" * 300)]
    cases += [("itself", run(nest(self, "LocalPath")), too_deep), ("itself by name", run(nest("Self")), too_deep),
              ("64 deep", run(nest("D0")), too_deep), ("itself many times", run(nest("Wide")), too_deep),
              ("a NUL given", run(nest("D64", documentParameters={"p": "a\0b"})), "NUL"),
              ("YAML laughs given", run(nest("D64", documentParameters=LAUGHS)), "too many or too large"),
              ("a path that walks", run(nest("../../etc/hostname", "LocalPath")), head),
              ("a name that walks", run(nest("../../etc/hostname")), "not a document's name")]
    check(ref_plane, cases)
    assert not list(agent.state.rglob("nested-*"))
    still_here(ref_plane, agent)
    watch.check()


def test_what_the_service_gives_for_a_name(ref_plane, new_agent, tmp_path):
    agent = new_agent(ref_plane)
    ref_plane.shell("true")
    ref_plane.documents = {f"T{i}": text for i, (text, _) in enumerate(TEXTS.values())}
    ref_plane.documents["../x"] = "{}"
    watch, out = Watch(agent, tmp_path), tmp_path / "out"
    head = "There was an error while preparing documents - "
    cases = [(what, lambda i=i: ref_plane.send_job(document(nest(f"T{i}"))),
              words if words is None else "" if what == "10 MB" else words.replace("PREPARING", head))
             for i, (what, (_, words)) in enumerate(TEXTS.items())]

    def get(name, destination):
        return lambda: ref_plane.send_job(document(
            {"action": "aws:downloadContent", "name": "get", "inputs": {
                "sourceType": "SSMDocument", "sourceInfo": {"name": name}, "destinationPath": str(destination)}}))

    # Links in the way of a relative path are made by a step before: scripts begin in the folder of downloads' parent.
    cases += [("a destination that walks", get("T0", "../../x"), "leads out of its folder"),
              ("one that walks in the middle", get("T0", "a/../../../x"), "leads out of its folder"),
              ("an absolute one that is a file's", get("T0", agent.config / "x"), "Not a directory"),
              ("one of 5000 bytes", get("T0", "x/" * 2500), ""), ("a name of 300 bytes", get("T0", "x" * 300), ""),
              ("a name that walks", get("../x", f"{out}/"), "not a document's")]
    check(ref_plane, cases)
    assert not out.exists()
    still_here(ref_plane, agent)
    watch.check()


def test_links_in_the_way_of_a_download(ref_plane, new_agent, tmp_path):
    """A relative destination stays below the downloads, whatever a script before it put there; an absolute one is the
    sender's word, and a link in a file's place is replaced."""
    agent = new_agent(ref_plane)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_text("mine")
    ref_plane.documents = {"D": "new"}
    watch = Watch(agent, tmp_path)

    def get(destination, name="get"):
        return {"action": "aws:downloadContent", "name": name, "inputs": {
            "sourceType": "SSMDocument", "sourceInfo": {"name": "D"}, "destinationPath": destination}}

    job = ref_plane.finished(ref_plane.send_job(document(
        get("there", "first"),
        step("link", ["d=$(dirname $(find %s -name there | head -n 1))" % agent.state,
                      f"ln -s {victim} $d/way; ln -s {victim}/f $d/file; mkfifo $d/pipe"]),
        get("way/f", "through"), get("way/", "into"), get("file", "over"), get("pipe", "pipe"))), LIMIT_S)
    statuses = {k: v["status"] for k, v in job.steps().items()}
    assert statuses == {"first": "Success", "link": "Success", "through": "Failed", "into": "Failed", "over": "Success",
                        "pipe": "Success"}, job.steps()
    assert (victim / "f").read_text() == "mine" and os.listdir(victim) == ["f"]
    watch.check()


# ---- at our plane ----

def test_at_our_plane(box, ssm):
    """Refused with the line and the member, or the whole call with the limit's name; the plane goes on."""
    def shell(inputs):
        return '{\n "schemaVersion": "2.2",\n "mainSteps": [\n  {"action": "aws:runShellScript", "name": "s",\n' \
               f'   "inputs": {inputs}}}]}}'

    cases = [
        ("brackets", "JSON", DEEP[:60_000], "InvalidDocumentContent", "line 1"),
        ("brackets in inputs", "JSON", shell("[" * 20_000), "InvalidDocumentContent", "line 5"),
        ("deep inputs", "JSON", shell(nested(1000)), "InvalidDocumentContent", "line 5"),
        ("deep YAML", "YAML", "schemaVersion: '2.2'\nx: " + "[" * 50_000, "InvalidDocumentContent", "line 2"),
        ("YAML dashes", "YAML", "- " * 30_000, "InvalidDocumentContent", "line 1"),
        ("a billion laughs", "YAML", LAUGHS, "InvalidDocumentContent", "line "),
        ("an alias of itself", "YAML", "a: 1\nb: &b [*b]\n", "InvalidDocumentContent", "line 2"),
        ("NUL", "YAML", 'a: 1\nb: "\\0"\n', "InvalidDocumentContent", "line 2"),
        ("a key twice", "YAML", "a: 1\na: 2\n", "InvalidDocumentContent", "line 2"),
        ("steps of one name", "JSON", shell("{}").replace("]}", ',\n  {"action": "aws:runShellScript", "name": "s", "inputs": {}}]}'),
         "InvalidDocumentContent", "mainSteps[1]: another step"),
        ("a step name that walks", "JSON", shell("{}").replace('"s"', '"../../x"'), "InvalidDocumentContent", "mainSteps[0].name"),
        ("half a surrogate pair", "JSON", shell(r'{"runCommand": ["\ud800"]}'), "InvalidDocumentContent", "line 5"),
        ("a number beyond all", "JSON", shell('{"runCommand": ["x"], "timeoutSeconds": 1e999}'), "InvalidDocumentContent", "line 5"),
        ("an integer of 100 digits", "JSON", shell('{"timeoutSeconds": ' + "9" * 100 + "}"), "InvalidDocumentContent", "line 5"),
        ("a pattern that is none", "JSON", '{"schemaVersion": "2.2",\n "parameters": {"p": {"type": "String",\n'
         '  "allowedPattern": "((("}},\n "mainSteps": []}', "InvalidDocumentContent", "parameters.p.allowedPattern"),
        ("a default that works hard", "JSON", json.dumps(
            {"schemaVersion": "2.2", "parameters": {"p": {"type": "StringList", "allowedPattern": "^(a|a)*b|^a",
                                                         "default": ["a" * 13] * 3000}}, "mainSteps": [step()]}, indent=1),
         "InvalidDocumentContent", "parameters.p.default"),
        ("10 MB", "JSON", " " * 10_000_000, None, None),
        ("100,000 steps", "JSON", '{"schemaVersion":"2.2","mainSteps":[' + ",".join(["{}"] * 100_000) + "]}",
         "MaxDocumentSizeExceeded", ""),
    ]
    bad = []
    for what, kind, text, code, words in cases:
        try:
            ssm.create_document(Name=f"hostile-{uuid.uuid4().hex}", DocumentType="Command", DocumentFormat=kind, Content=text)
            bad.append(f"{what}: taken")
        except ClientError as e:
            error = e.response["Error"]
            if (code and error["Code"] != code) or (words or "") not in error["Message"]:
                bad.append(f"{what}: {error['Code']}: {error['Message'][:200]}")
    assert not bad, "\n".join(bad)
    assert ssm.list_documents(Filters=[{"Key": "Name", "Values": ["hostile"]}])["DocumentIdentifiers"] == []
