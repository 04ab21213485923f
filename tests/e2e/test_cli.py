"""The operator's client, `fairlead`: as scripts use it (pipes, exit statuses) and as people do (a terminal)."""
import collections
import fcntl
import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

import conftest
import flsandbox

OK, FAILED, USAGE, SERVICE, INTERRUPTED = 0, 1, 2, 3, 130
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_REGION",
                 "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
                 "AWS_ENDPOINT_URL", "FAIRLEAD_ENDPOINT", "XDG_CONFIG_HOME")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A plane with two nodes for all tests of this file."""
    with conftest.box_of_many(nodes=2) as box:
        yield box


class Cli:
    """`fairlead` against a plane, in a home of its own."""

    def __init__(self, box, home):
        self.box, self.home = box, home
        self.program = str(box.build / "fairlead")

    def env(self, bare=False, **more):
        env = dict(self.box.env(), HOME=str(self.home), TERM="xterm")
        if bare:
            env = {k: v for k, v in env.items() if k not in AWS_VARIABLES}
        env.update(more)
        return {k: v for k, v in env.items() if v is not None}

    def __call__(self, *args, stdin="", bare=False, timeout=60, **env):
        return subprocess.run([self.program, *map(str, args)], env=self.env(bare, **env), input=stdin,
                              capture_output=True, text=True, timeout=timeout)

    def ok(self, *args, **kw):
        done = self(*args, **kw)
        assert done.returncode == OK, done
        return done.stdout

    def lines(self, *args, **kw):
        return [json.loads(line) for line in self.ok("--json", *args, **kw).splitlines()]

    def terminal(self, *args, bare=False, **env):
        return Terminal([self.program, *map(str, args)], self.env(bare, **env))


class Terminal:
    """A program whose standard streams are a terminal, 100 columns wide, that it controls."""

    def __init__(self, argv, env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.text = ""

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.child = subprocess.Popen(argv, env=env, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
        self.slave = slave

    def read(self, until, timeout_s=60):
        """Reads on until the pattern has come since the last such call; the match."""
        limit = time.monotonic() + timeout_s
        seen = getattr(self, "seen", 0)
        while True:
            found = re.search(until, self.text[seen:], re.S)
            if found:
                self.seen = seen + found.end()
                return found
            assert time.monotonic() < limit, f"{until!r} did not come: {self.text!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            elif self.child.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                assert re.search(until, self.text[seen:], re.S), f"{until!r} did not come: {self.text!r}"

    def type(self, text):
        os.write(self.master, text.encode())

    def echo_is_on(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self, timeout_s=60):
        """Exit status; `text` then holds everything."""
        limit = time.monotonic() + timeout_s
        while self.child.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert time.monotonic() < limit, f"does not end: {self.text!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        os.close(self.master)
        os.close(self.slave)
        return self.child.returncode

    def shown(self):
        """What stands on the terminal in the end: carriage returns and erased lines are followed."""
        lines = []
        for line in self.text.replace("\r\n", "\n").split("\n"):
            lines.append(line.rsplit("\r\x1b[K", 1)[-1])
        return "\n".join(lines)


@pytest.fixture
def cli(fleet, tmp_path, request):
    yield Cli(fleet, tmp_path)
    if getattr(request.node, "failed_call", False):
        for log in fleet.logs():
            print(f"---- {log} ----\n{flsandbox.tail(log, 15)}")


def nodes_of(fleet):
    return [a.node_id for a in fleet.agents]


# ---- profiles ----

def test_login_from_a_pipe_and_what_it_stores(cli, fleet):
    plane = fleet.plane
    login = ("login", "--endpoint", plane.endpoint, "--access-key-id", plane.access_key)
    done = cli("nodes", bare=True)
    assert done.returncode == SERVICE and "fairlead login" in done.stderr, done
    done = cli(*login, stdin=plane.secret_key + "\n", bare=True)
    assert done.returncode == SERVICE and "--ca-file FILE" in done.stderr and "fairlead-server admin ca" in done.stderr, done
    done = cli(*login, "--ca-file", plane.ca_file, stdin="wrong\n", bare=True)
    assert done.returncode == SERVICE and "SignatureDoesNotMatch" in done.stderr, done
    file = cli.home / ".config/fairlead/config"
    assert not file.exists()
    out = cli.ok(*login, "--ca-file", plane.ca_file, stdin=plane.secret_key + "\n", bare=True)
    assert ":user/admin" in out and plane.secret_key not in out
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert ":user/admin" in cli.ok("whoami", bare=True)
    # another profile leaves the first as it is
    before = file.read_text()
    cli.ok("login", "two", *login[1:], "--ca-file", plane.ca_file, stdin=plane.secret_key, bare=True)
    assert file.read_text().startswith(before)
    got = cli.lines("profiles", bare=True, FAIRLEAD_PROFILE="two")
    assert [(p["Profile"], p["Active"], p["Keys"]) for p in got] == [("default", False, "keys"), ("two", True, "keys")]
    assert ":user/admin" in cli.ok("--profile", "two", "whoami", bare=True)
    done = cli("whoami", "--profile", "three", bare=True)
    assert done.returncode == SERVICE and '"three"' in done.stderr, done


def test_login_on_a_terminal_does_not_show_the_secret(cli, fleet):
    plane = fleet.plane
    t = cli.terminal("login", "--ca-file", plane.ca_file, bare=True)
    t.read("address: ")
    t.type(plane.endpoint + "\n")
    t.read("key id: ")
    t.type(plane.access_key + "\n")
    t.read("Secret access key: ")
    flsandbox.wait_for("echo to be off", lambda: not t.echo_is_on(), 10)
    t.type(plane.secret_key + "\n")
    t.read(":user/admin")
    assert t.echo_is_on()
    assert t.end() == OK
    assert plane.secret_key not in t.text


def test_ctrl_c_at_the_secret_leaves_the_terminal_as_it_was(cli, fleet):
    plane = fleet.plane
    t = cli.terminal("login", "--endpoint", plane.endpoint, "-i", "AKIA", "--ca-file", plane.ca_file, bare=True)
    t.read("Secret access key: ")
    flsandbox.wait_for("echo to be off", lambda: not t.echo_is_on(), 10)
    t.type("\x03")
    flsandbox.wait_for("echo to be on", t.echo_is_on, 10)
    assert t.end() == INTERRUPTED
    assert not (cli.home / ".config").exists()


def test_keys_from_a_file_a_program_and_a_role(cli, fleet, tmp_path):
    plane = fleet.plane
    keys = tmp_path / "admin-credentials"
    keys.write_text(f"[default]\naws_access_key_id = {plane.access_key}\naws_secret_access_key = {plane.secret_key}\n")
    cli.ok("login", "file", "--endpoint", plane.endpoint, "--ca-file", plane.ca_file, "--keys-file", keys, bare=True)
    for argv in (["role", "add", "cli-role"], ["policy", "put", "cli-all", "-"],
                 ["policy", "attach", "cli-all", "--role", "cli-role"],
                 ["policy", "attach", "cli-all", "--user", "admin"]):
        done = subprocess.run([str(fleet.build / "fairlead-server"), "admin", *argv, "--data", str(plane.data)],
                              input='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
    account = re.search(r"iam::(\d{12}):", cli.ok("whoami", "--profile", "file", bare=True))[1]
    (tmp_path / ".aws").mkdir()
    program = json.dumps({"Version": 1, "AccessKeyId": plane.access_key, "SecretAccessKey": plane.secret_key})
    (tmp_path / ".aws/config").write_text(f"""[profile program]
endpoint_url = {plane.endpoint}
ca_bundle = {plane.ca_file}
region = local
credential_process = printf %s '{program}'
[profile role]
endpoint_url = {plane.endpoint}
ca_bundle = {plane.ca_file}
region = local
role_arn = arn:aws:iam::{account}:role/cli-role
role_session_name = here
source_profile = program
""")
    assert ":user/admin" in cli.ok("whoami", "--profile", "program", bare=True)
    done = cli("whoami", "--profile", "role", bare=True)
    if "AccessDenied" in done.stderr:
        assert "sts:AssumeRole" in done.stderr, done  # the role's trust decides; the call was made as it should
    else:
        assert done.stdout.strip().endswith("assumed-role/cli-role/here"), done


# ---- what scripts see ----

def test_tables_and_json_in_a_pipe(cli, fleet):
    out = cli.ok("nodes")
    assert "\x1b" not in out and "\r" not in out
    head, *rows = out.splitlines()
    assert head.split() == ["NODE", "STATUS", "NAME", "COMPUTER", "ADDRESS", "PLATFORM", "VERSION", "AGENT"]
    assert sorted(r.split()[0] for r in rows) == sorted(nodes_of(fleet))
    assert cli.ok("nodes", "--no-headers").splitlines() == rows
    assert {n["InstanceId"] for n in cli.lines("nodes")} == set(nodes_of(fleet))
    assert {n["PingStatus"] for n in cli.lines("nodes")} == {"Online"}
    assert cli.lines("nodes", "--offline") == []
    assert len(cli.lines("nodes", "--online", "--platform", "linux", "*")) == 2
    one = cli.ok("node", "show", nodes_of(fleet)[0])
    assert re.search(rf"^Node +{nodes_of(fleet)[0]}$", one, re.M)


def test_output_is_passed_on_byte_for_byte(cli, fleet):
    node = nodes_of(fleet)[0]
    done = cli("run", node, "--", "printf 'no line end'; printf 'to stderr\\n' >&2")
    assert (done.returncode, done.stdout, done.stderr) == (OK, "no line end", "to stderr\n")
    done = cli("run", node, "--", "printf", "%s|", "two  words", "$HOME", "it's", "*")
    assert (done.returncode, done.stdout, done.stderr) == (OK, "two  words|$HOME|it's|*|", "")
    done = cli("run", "--script", "-", node, stdin="for i in 1 2; do\n  echo $i\ndone\n")
    assert (done.returncode, done.stdout) == (OK, "1\n2\n")
    done = cli("run", node, "--", "printf 'a\\033[31mb'")
    assert done.stdout == "a\x1b[31mb"
    done = cli("run", node, "-D", "AWS-RunShellScript", "-p", "commands=pwd", "--parameters", '{"workingDirectory":"/"}')
    assert (done.returncode, done.stdout) == (OK, "/\n")


def test_exit_statuses_and_failures(cli, fleet):
    one, two = nodes_of(fleet)
    done = cli("run", one, "--", "exit 3")
    assert done.returncode == FAILED and done.stderr.endswith(f"fairlead: {one}: Failed, exit status 3\n"), done
    assert done.stdout == ""
    done = cli("run", one, two, "--", "echo out")
    heads = re.findall(r"^==> (mi-\S+): Success\nout\n", done.stdout, re.M)
    assert done.returncode == OK and sorted(heads) == sorted((one, two)) and done.stderr == "", done
    done = cli("run", "--all", "-q", "--", "echo x")
    assert (done.returncode, done.stdout, done.stderr) == (OK, "x\nx\n", "")
    got = cli.lines("run", "--all", "--", "printf x; printf y >&2")
    assert {g["InstanceId"] for g in got} == {one, two}
    for g in got:
        (step,) = g["Steps"]
        assert (g["Status"], step["ResponseCode"]) == ("Success", 0)
        assert (step["StandardOutputContent"], step["StandardErrorContent"]) == ("x", "y")
    for argv, status, says in (
            (["run", "--all", "x", "--", "true"], USAGE, "--all"), (["run", one], USAGE, "COMMAND"), (["run"], USAGE, "TARGET"),
            (["run", "-t", "1s", one, "--", "true"], USAGE, "at least"),
            (["run", one, "tag:a=b", "--", "true"], USAGE, "tags"), (["run", "tag:a", "--", "true"], USAGE, "tag:KEY"),
            (["run", "nobody", "--", "true"], SERVICE, "nobody"), (["run", "tag:No=ne", "--", "true"], FAILED, "no node"),
            (["run", one, "--parameters", "[1]", "--", "x"], USAGE, "JSON"),
            (["run", "mi-00000000000000000", "--", "true"], SERVICE, "InvalidInstanceId"),
            (["run", one, "-D", "NoSuchDocument"], SERVICE, "InvalidDocument"),
            (["nonsense"], USAGE, "nonsense"), (["doc"], USAGE, "doc"), (["doc", "nonsense"], USAGE, "doc nonsense"),
            (["nodes", "--nonsense"], USAGE, "nonsense"), (["command", "show", "not-an-id"], SERVICE, "")):
        done = cli(*argv)
        assert (done.returncode, done.stdout) == (status, "") and says in done.stderr, (argv, done)


def test_names_patterns_and_tags(cli, fleet, tmp_path):
    one, two = nodes_of(fleet)
    host = os.uname().nodename
    done = cli("run", host, "--", "true")
    assert done.returncode == SERVICE and "2 nodes have the name" in done.stderr, done
    assert len(cli.lines("run", host[:1] + "*", "--", "true")) == 2
    key = f"Cli{os.getpid()}"
    cli.ok("call", "AddTagsToResource", json.dumps({"ResourceType": "ManagedInstance", "ResourceId": two,
                                                    "Tags": [{"Key": key, "Value": "a"}]}))
    assert [g["InstanceId"] for g in cli.lines("run", f"tag:{key}=b,a", "--", "true")] == [two]
    assert [n["InstanceId"] for n in cli.lines("nodes", "--tag", f"{key}=a")] == [two]
    assert re.search(rf"^Tags +(.*,)?{key}=a", cli.ok("node", "show", two), re.M)
    cli.ok("call", "RemoveTagsFromResource", json.dumps({"ResourceType": "ManagedInstance", "ResourceId": two,
                                                         "TagKeys": [key]}))


def gate(tmp_path, name="gate"):
    """A file, and shell that waits for it."""
    path = tmp_path / name
    for p in (tmp_path, *tmp_path.parents):
        if os.stat(p).st_uid == os.getuid() and str(p) != "/":
            p.chmod(p.stat().st_mode | 0o711)
    return path, f"while [ ! -e {path} ]; do sleep 0.05; done"


def test_a_command_sent_is_followed_later(cli, fleet, tmp_path):
    node = nodes_of(fleet)[0]
    path, wait = gate(tmp_path)
    out = cli.ok("run", "--detach", "--comment", "for later", node, "--", f"echo begin; {wait}; echo end")
    command = out.strip()
    assert re.fullmatch(ID, command)
    (row,) = [c for c in cli.lines("command", "list", "--node", node, "--since", "1h") if c["CommandId"] == command]
    assert row["Comment"] == "for later"
    assert len(cli.ok("command", "list", "-n", "1", "--no-headers").splitlines()) == 1
    shown = cli.ok("command", "show", command)
    assert re.search(rf"^{node} ", shown, re.M) and "for later" in shown
    path.touch()
    assert cli.ok("command", "watch", command) == "begin\nend\n"
    assert cli.ok("command", "output", "-q", command, node) == "begin\nend\n"
    path.unlink()
    command = cli.ok("run", "-d", node, "--", wait).strip()
    cli.ok("command", "cancel", command)
    done = cli("command", "watch", command)
    assert done.returncode == FAILED and "Cancelled" in done.stderr, done


# ---- what people see ----

FIRST = "if mkdir {0}.first 2>/dev/null; then echo first; else {1}; echo second; fi"


def test_progress_on_a_terminal(cli, fleet, tmp_path):
    path, wait = gate(tmp_path)
    t = cli.terminal("run", "--all", "--", FIRST.format(path, wait))
    t.read("first\r\n")           # printed while the other one still runs
    t.read("1 of 2 nodes finished")
    path.touch()
    assert t.end() == OK
    shown = t.shown()
    assert "nodes finished" not in shown and "\x1b" not in shown, shown
    assert re.search(r"first\n.*second\nfairlead: 2 of 2 nodes succeeded\n", shown, re.S), shown


def test_control_characters_do_not_reach_a_terminal(cli, fleet):
    t = cli.terminal("run", nodes_of(fleet)[0], "--", "printf 'a\\033]0;title\\007b\\tc\\n'")
    assert t.end() == OK
    assert "a\\x1b]0;title\\x07b" in t.text and "\x1b]" not in t.text, t.text


def test_ctrl_c_asks_and_cancels(cli, fleet, tmp_path):
    _, wait = gate(tmp_path)
    t = cli.terminal("run", nodes_of(fleet)[0], "--", wait)
    t.read("0 of 1 nodes finished")
    t.type("\x03")
    t.read(r"Cancel the command .*\[y/N\] ")
    t.type("n\n")
    t.read("0 of 1 nodes finished")
    t.type("\x03")
    t.read(r"\[y/N\] ")
    t.type("y\n")
    t.read("Cancelled")
    assert t.end() == FAILED


def test_ctrl_c_twice_leaves_the_command_running(cli, fleet, tmp_path):
    path, wait = gate(tmp_path)
    t = cli.terminal("run", nodes_of(fleet)[0], "--", f"{wait}; echo still here")
    t.read("0 of 1 nodes finished")
    t.type("\x03")
    t.read(r"\[y/N\] ")
    t.type("\x03")
    command = t.read(rf"Command ({ID}) goes on")[1]
    assert t.end() == INTERRUPTED
    assert t.child.returncode == INTERRUPTED
    path.touch()
    assert cli.ok("command", "watch", command) == "still here\n"


def test_ctrl_c_with_yes_cancels_at_once(cli, fleet, tmp_path):
    _, wait = gate(tmp_path)
    t = cli.terminal("run", "--yes", nodes_of(fleet)[0], "--", wait)
    t.read("0 of 1 nodes finished")
    t.type("\x03")
    t.read("Cancelling")
    assert t.end() == FAILED and "[y/N]" not in t.text


def test_an_interrupt_without_a_terminal_leaves(cli, fleet, tmp_path):
    path, wait = gate(tmp_path)
    started = tmp_path / "started"
    child = subprocess.Popen([cli.program, "run", nodes_of(fleet)[0], "--", f"touch {started}; {wait}"], env=cli.env(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    flsandbox.wait_for("the command to run", started.exists)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == INTERRUPTED and out == "", (child.returncode, out, err)
    command = re.search(rf"Command ({ID}) goes on", err)[1]
    path.touch()
    cli.ok("command", "watch", command)


def test_a_step_that_never_ran_says_why(cli, fleet, tmp_path):
    """Its words are in the list of invocations alone; what the node says of a script ends with a line end."""
    (tmp_path / "doc.json").write_text(json.dumps({"schemaVersion": "2.2", "mainSteps": [
        {"action": "nobody:makes-this", "name": "odd", "inputs": {}}]}))
    node, name = nodes_of(fleet)[0], f"Odd-{os.getpid()}"
    cli.ok("doc", "create", name, tmp_path / "doc.json")
    done = cli("run", node, "--document", name)
    assert done.returncode == 1 and done.stdout == "", done
    why, line = done.stderr.splitlines()
    assert "nobody:makes-this is not supported" in why and re.fullmatch(r"fairlead: \S+: Failed, exit status 1", line)
    done = cli("run", node, "--document", name, "--json")
    step = json.loads(done.stdout)["Steps"][0]
    assert step["Output"] == why and step["StandardErrorContent"] == "", step
    done = cli("run", node, "--", "exit 3")
    assert done.stderr.splitlines()[1].startswith("fairlead: "), done
    assert "Output" not in json.loads(cli("run", node, "--json", "--", "exit 3").stdout)["Steps"][0]
    cli.ok("doc", "delete", name)


def test_a_reader_that_has_enough(cli, fleet):
    done = subprocess.run(["/bin/bash", "-c", f"{cli.program} nodes | true; echo ${{PIPESTATUS[0]}}"], env=cli.env(),
                          capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.stdout.strip() in ("0", "141"), done
    with open("/dev/full", "w") as full:
        done = subprocess.run([cli.program, "nodes"], env=cli.env(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == SERVICE and "standard output" in done.stderr, done


# ---- trying again ----

class Service(threading.Thread):
    """An HTTP service that gives what `answers` lists, the last of them for ever; None cuts the connection."""

    def __init__(self, *answers):
        super().__init__(daemon=True)
        self.seen = collections.Counter()
        service, left = self, list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                service.seen[self.headers["X-Amz-Target"]] += 1
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.start()

    def run(self):
        self.server.serve_forever(0.05)


THROTTLED = (400, {"__type": "com.amazon#ThrottlingException", "message": "later"})
NO_NODES = (200, {"InstanceInformationList": []})


@pytest.mark.parametrize("answers, argv, status, calls", [
    (((503, {}), THROTTLED, NO_NODES), ["nodes"], OK, 3),
    ((None, NO_NODES), ["nodes"], OK, 2),
    (((500, {}),), ["nodes"], SERVICE, 3),
    (((400, {"__type": "ValidationException", "message": "no"}),), ["nodes"], SERVICE, 1),
    ((None,), ["run", "mi-0123456789abcdef0", "--", "true"], SERVICE, 1),  # may have been taken: never twice
    (((503, {}), None), ["run", "mi-0123456789abcdef0", "--", "true"], SERVICE, 2),
    (((200, ["not", "an", "object"]),), ["nodes"], SERVICE, 1),
    (((200, {"InstanceInformationList": [], "NextToken": "same"}),), ["nodes"], OK, 2),
])
def test_calls_are_tried_again_as_sdks_do(cli, answers, argv, status, calls):
    service = Service(*answers)
    done = cli(*argv, FAIRLEAD_ENDPOINT=service.endpoint)
    assert done.returncode == status, done
    assert sum(service.seen.values()) == calls, (service.seen, done)
    if argv[0] == "run" and answers[-1] is None:
        assert "whether it was taken is not known" in done.stderr, done


HOSTILE = "\x1b]52;c;RVZJTA==\x07\x9b5n\x9d0;t\x9c\x7f"  # into the clipboard, a question, a title
HOSTILE_ANSWERS = {
    "nodes": [{"InstanceInformationList": [{"InstanceId": HOSTILE, "ComputerName": HOSTILE}]}],
    "nodes --json": [{"InstanceInformationList": [{"InstanceId": "mi-0", "ComputerName": HOSTILE}]}],
    "call ListCommands": [{"Commands": [HOSTILE]}],
    "transcripts search x": [{"Matches": [{"SessionId": HOSTILE, "Target": HOSTILE, "Time": 1, "Line": HOSTILE}]}],
    "transcripts verify s": [{"Valid": False, "Error": HOSTILE}],
    "transcripts list": [{"Transcripts": [{"SessionId": "s", "Endpoint": HOSTILE, "Note": HOSTILE}]}],
    "doc list": [{"DocumentIdentifiers": [{"Name": HOSTILE, "Owner": HOSTILE}]}],
    "param delete /a": [{"DeletedParameters": [], "InvalidParameters": [HOSTILE]}],
    "run -d mi-0123456789abcdef0 -- true": [{"Command": {"CommandId": HOSTILE, "Status": "Pending"}}],
}


@pytest.mark.parametrize("argv", HOSTILE_ANSWERS)
def test_what_a_hostile_plane_says_does_not_command_the_terminal(cli, argv):
    """Names that a node chose are the least of it."""
    service = Service(*[(200, answer) for answer in HOSTILE_ANSWERS[argv]])
    t = cli.terminal(*argv.split(), FAIRLEAD_ENDPOINT=service.endpoint)
    t.end()
    text = re.sub(r"\r\x1b\[K[^\x1b]*", "", t.text)  # our own progress
    assert "RVZ" in text, text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text), text


def test_a_slow_service_is_told_about_on_a_terminal_only(cli):
    held = threading.Event()
    service = Service(NO_NODES)
    handler = service.server.RequestHandlerClass
    answer = handler.do_POST

    def slow(self):
        held.wait(60)
        answer(self)
    handler.do_POST = slow
    t = cli.terminal("nodes", FAIRLEAD_ENDPOINT=service.endpoint)
    t.read("waiting for 127.0.0.1")
    held.set()
    assert t.end() == OK
    assert "waiting" not in t.shown()


def test_ctrl_c_twice_leaves_a_silent_service(cli):
    held = threading.Event()
    service = Service(NO_NODES)
    service.server.RequestHandlerClass.do_POST = lambda self: (service.seen.update(["call"]), held.wait(60))
    t = cli.terminal("run", "mi-0123456789abcdef0", "--", "true", FAIRLEAD_ENDPOINT=service.endpoint)
    flsandbox.wait_for("the call", lambda: service.seen["call"])
    t.type("\x03")
    t.read("Ctrl-C again leaves")
    t.type("\x03")
    t.read("Whether the command was taken is not known")
    assert t.end() == INTERRUPTED
    held.set()


# ---- help, manual, completion ----

def test_help_of_every_command(cli):
    overview = cli.ok("help")
    names = re.findall(r"^  ([a-z]+(?: [a-z]+)?) {2,}[A-Z]", overview, re.M)
    assert {"login", "run", "nodes", "doc create", "param put", "activation create", "completion"} <= set(names)
    for name in names:
        text = cli.ok("help", *name.split())
        assert text.startswith(f"usage: fairlead {name}") and text == cli.ok(*name.split(), "--help")
    assert cli.ok("--version").startswith("fairlead ")
    assert "doc create" in cli.ok("help", "doc")


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_the_manual_page_renders(cli, fleet):
    page = fleet.build / "fairlead.1"
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(page)], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8"))
    assert (done.returncode, done.stderr) == (0, ""), done
    for name in re.findall(r"^  ([a-z]+(?: [a-z]+)?) {2,}[A-Z]", cli.ok("help"), re.M):
        assert re.search(rf"^ +{name}( |$)", done.stdout, re.M), name
    for part in ("EXIT STATUS", "ENVIRONMENT", "--max-errors"):
        assert part in done.stdout


def complete(cli, line, **env):
    """What bash offers at the end of the line, by the installed function."""
    script = """
source <(fairlead completion bash)
complete -p fairlead >/dev/null || exit 9
COMP_LINE=$1 COMP_POINT=${#1}
# bash's own way to make words of a line
IFS=$' \\t\\n' read -r -a COMP_WORDS <<< "${1//=/ = }"
[[ $1 == *[[:space:]=] ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_fairlead fairlead
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["/bin/bash", "-c", script, "bash", line], capture_output=True, text=True, timeout=60,
                          env=dict(cli.env(**env), PATH=f"{cli.box.build}:/usr/bin:/bin"))
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_completion_in_bash(cli, fleet):
    assert "run" in complete(cli, "fairlead ") and "__complete" not in complete(cli, "fairlead ")
    assert complete(cli, "fairlead do") == ["doc"]
    assert set(complete(cli, "fairlead doc ")) >= {"list", "get", "create"}
    assert set(nodes_of(fleet)) <= set(complete(cli, "fairlead run "))
    assert {n + ":/" for n in nodes_of(fleet)} <= set(complete(cli, "fairlead ls "))
    assert complete(cli, f"fairlead ls {nodes_of(fleet)[0]}:")[-1].endswith("/")
    assert complete(cli, f"fairlead ls {nodes_of(fleet)[0]}:/e") == []
    assert complete(cli, f"fairlead run {nodes_of(fleet)[0][:-1]}") [0].startswith("mi-")
    assert "AWS-RunShellScript" in complete(cli, "fairlead run --document ")
    assert "AWS-RunShellScript" in complete(cli, "fairlead run --document=AWS-RunS")
    assert complete(cli, "fairlead run --det") == ["--detach"]
    assert complete(cli, "fairlead completion z") == ["zsh"]
    assert complete(cli, "fairlead --profile nobody run ") == []      # no such profile: silence
    assert complete(cli, "fairlead run ", FAIRLEAD_ENDPOINT="https://127.0.0.1:1") == []


def test_tab_in_an_interactive_bash(cli, tmp_path):
    rc = tmp_path / "rc"
    rc.write_text("PS1='ready> '\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n"
                  "source <(fairlead completion bash)\n")
    t = Terminal(["/bin/bash", "--noprofile", "--rcfile", str(rc), "-i"],
                 dict(cli.env(), PATH=f"{cli.box.build}:/usr/bin:/bin"))
    t.read("ready> ")
    t.type("fairlead comp\t")
    t.read("fairlead completion ")
    t.type("b\t; exit 5\n")
    t.read("complete -F _fairlead fairlead")
    assert t.end() == 5


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_are_well_formed(cli, shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(cli.ok("completion", shell))
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    if shell == "fish":
        done = subprocess.run(["fish", "-c", f"source {script}; complete -C 'fairlead doc '"], capture_output=True,
                              text=True, timeout=60, env=dict(cli.env(), PATH=f"{cli.box.build}:/usr/bin:/bin"))
        assert "create" in done.stdout.split(), done


# ---- parameters, documents, activations ----

def test_parameters(cli, tmp_path):
    name = f"/cli/{os.getpid()}"
    assert cli.ok("param", "put", f"{name}/url", "http://one", "--description", "where") == f"{name}/url version 1\n"
    done = cli("param", "put", f"{name}/url", "http://two")
    assert done.returncode == SERVICE and "ParameterAlreadyExists" in done.stderr, done
    cli.ok("param", "put", "--overwrite", f"{name}/url", "http://two")
    assert cli.ok("param", "get", f"{name}/url", f"{name}/url:1") == "http://two\nhttp://one\n"
    secret = "s3cr3t of the test"
    done = cli("param", "put", "--secure", f"{name}/pw", secret)
    assert done.returncode == USAGE and "seen by every user" in done.stderr, done
    cli.ok("param", "put", "--secure", f"{name}/pw", stdin=secret)
    done = cli("param", "get", f"{name}/pw")
    assert done.returncode == SERVICE and done.stdout == "" and "--decrypt" in done.stderr, done
    assert cli.ok("param", "get", "--decrypt", f"{name}/pw") == secret + "\n"
    assert "Value" not in cli.lines("param", "get", f"{name}/pw")[0]
    assert secret not in cli.ok("param", "history", f"{name}/pw") and "AQ" not in cli.ok("param", "history", f"{name}/pw")
    assert secret in cli.ok("param", "history", "--decrypt", f"{name}/pw")
    (tmp_path / "value").write_text("from a file\nof two lines")
    cli.ok("param", "put", f"{name}/file", "--file", tmp_path / "value")
    assert cli.ok("param", "get", f"{name}/file") == "from a file\nof two lines\n"
    listed = cli.lines("param", "list", "--path", name)
    assert {p["Name"]: p["Type"] for p in listed} == {f"{name}/url": "String", f"{name}/pw": "SecureString",
                                                      f"{name}/file": "String"}
    t = cli.terminal("param", "put", "-s", "-o", f"{name}/pw")
    t.read("Value: ")
    flsandbox.wait_for("echo to be off", lambda: not t.echo_is_on(), 10)
    t.type("typed\n")
    assert t.end() == OK and "typed" not in t.text
    assert cli.ok("param", "get", "-d", f"{name}/pw") == "typed\n"
    assert f"{name}/url" in complete(cli, f"fairlead param get {name}/u")
    done = cli("param", "delete", f"{name}/url", f"{name}/pw", f"{name}/file", f"{name}/none")
    assert done.returncode == SERVICE and "/none" in done.stderr, done
    assert cli.lines("param", "list", "--path", name) == []


def test_labels_of_parameters(cli):
    cli.ok("param", "put", "/labelled", "one")
    cli.ok("param", "put", "/labelled", "two", "--overwrite")
    assert cli.ok("param", "label", "/labelled", "live", "new") == "/labelled version 2\n"
    assert cli.lines("param", "label", "-v", "1", "/labelled", "live") == [{"ParameterVersion": 1}]
    assert cli.ok("param", "get", "/labelled:live", "/labelled:new") == "one\ntwo\n"
    done = cli("param", "label", "--remove", "-v", "2", "/labelled", "new", "live")
    assert (done.returncode, done.stderr) == (SERVICE, 'fairlead: "live" is no label of that version\n')
    assert cli("param", "get", "/labelled:new").returncode == SERVICE
    assert cli("param", "label", "/labelled", "1st").returncode == SERVICE
    assert cli("param", "label", "--remove", "/labelled", "live").returncode == USAGE
    cli.ok("param", "delete", "/labelled")


def test_activations(cli, fleet):
    out = cli.ok("activation", "create", "--limit", "3", "--expires", "2h", "--name", "cli", "--tag", "Env=Cli")
    activation = re.search(rf"activation id +({ID})", out)[1]
    line = re.search(r"^    (printf .*)$", out, re.M)[1]
    code = re.search(r"activation code +(\S+)", out)[1]
    assert f"-id {activation}" in line and code in line and fleet.plane.endpoint in line and "--ca-file" in line
    (row,) = [a for a in cli.lines("activation", "list") if a["ActivationId"] == activation]
    assert (row["RegistrationLimit"], row["DefaultInstanceName"]) == (3, "cli")
    assert 0 < row["ExpirationDate"] - time.time() <= 7200
    cli.ok("activation", "delete", activation)
    assert activation not in cli.ok("activation", "list")
    done = cli("activation", "delete", activation)
    assert done.returncode == SERVICE and "InvalidActivation" in done.stderr, done


def test_built_in_documents(cli):
    assert "AWS-RunShellScript" in cli.ok("doc", "list", "--owner", "Amazon")
    assert re.search(r"^Owner +Amazon$", cli.ok("doc", "show", "AWS-RunShellScript"), re.M)
    assert json.loads(cli.ok("doc", "get", "AWS-RunShellScript"))["schemaVersion"]
    done = cli("doc", "show", "NoSuchDocument")
    assert done.returncode == SERVICE and "InvalidDocument" in done.stderr, done


def test_documents_of_ones_own(cli, fleet, tmp_path):
    name = f"Cli-{os.getpid()}"
    step = {"action": "aws:runShellScript", "name": "one", "inputs": {"runCommand": ["echo {{ Word }}"]}}
    document = {"schemaVersion": "2.2", "description": "d", "parameters": {"Word": {"type": "String", "default": "none"}},
                "mainSteps": [step]}
    (tmp_path / "doc.json").write_text(json.dumps(document))
    assert cli.ok("doc", "create", name, tmp_path / "doc.json", "--tag", "Of=cli") == f"{name} version 1\n"
    assert cli.ok("doc", "get", name) == json.dumps(document)
    done = cli("run", nodes_of(fleet)[0], "--document", name, "-p", "Word=hello")
    assert (done.returncode, done.stdout) == (OK, "hello\n"), done
    document["mainSteps"].append({"action": "aws:runShellScript", "name": "second",
                                  "inputs": {"runCommand": ["echo two; echo bad >&2; exit 4"]}})
    assert cli.ok("doc", "update", name, "-", stdin=json.dumps(document)) == f"{name} version 2\n"
    versions = {v["DocumentVersion"]: v["IsDefaultVersion"] for v in cli.lines("doc", "versions", name)}
    assert versions == {"1": True, "2": False}
    cli.ok("doc", "default", name, "2")
    done = cli("run", nodes_of(fleet)[0], "--document", name)
    assert done.returncode == FAILED and "second exit status 4" in done.stderr and "bad\n" in done.stderr, done
    # "one" is too short a name for GetCommandInvocation: its output comes from the list of invocations
    assert done.stdout == "-- one: Success\nnone\n-- second: Failed\ntwo\n"
    assert "mainSteps:" in cli.ok("doc", "get", name, "--format", "YAML", "-v", "2")
    (tmp_path / "doc.yml").write_text("schemaVersion: '2.2'\nmainSteps:\n- action: aws:runShellScript\n  name: yaml\n"
                                      "  inputs:\n    runCommand: [echo yaml]\n")
    assert cli.ok("doc", "update", "--default", name, tmp_path / "doc.yml") == f"{name} version 3\n"
    assert re.search(r"^Default version +3$", cli.ok("doc", "show", name), re.M)
    done = cli("doc", "create", name, tmp_path / "doc.json")
    assert done.returncode == SERVICE and "DocumentAlreadyExists" in done.stderr, done
    (tmp_path / "bad.json").write_text('{"schemaVersion": "2.2",\n "mainSteps": 5}')
    done = cli("doc", "create", name + "-bad", tmp_path / "bad.json")
    assert done.returncode == SERVICE and "InvalidDocument" in done.stderr, done
    assert [d["Name"] for d in cli.lines("doc", "list", "--owner", "Self", "--tag", "Of=cli")] == [name]
    assert [d["Name"] for d in cli.lines("doc", "list", name)] == [name]
    cli.ok("doc", "delete", name)
    assert cli.lines("doc", "list", name) == []


def test_documents_are_validated_without_a_plane(cli, tmp_path):
    good, bad, text = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "bad.json"
    step = 'schemaVersion: "2.2"\nmainSteps:\n- action: aws:runShellScript\n  name: a\n  inputs:\n    runCommand: '
    good.write_text(step + "[id]\n")
    bad.write_text(step + "5\n")
    text.write_text('{"schemaVersion": "2.2",\n "mainSteps": [}')
    done = cli("doc", "validate", good, bad, text, bare=True)
    assert done.returncode == FAILED and done.stdout == f"{good}: Command, schema 2.2, for Linux, MacOS\n"
    assert done.stderr.splitlines() == [
        f"{bad}: line 6, column 5: mainSteps[0].inputs.runCommand: must be a list or a {{{{ parameter }}}}",
        f"{text}: line 2, column 16: unexpected token"]
    done = cli("--json", "doc", "validate", "--format", "YAML", "-", stdin=bad.read_text(), bare=True)
    assert done.returncode == FAILED and json.loads(done.stdout)["Valid"] is False
    assert cli("doc", "validate", "--type", "Automation", good, bare=True).returncode == FAILED
    assert cli("doc", "validate", "--type", "Nope", good, bare=True).returncode == USAGE
    assert cli("doc", "validate", tmp_path / "nope", bare=True).returncode == SERVICE


def test_nodes_are_watched(cli, fleet):
    terminal = cli.terminal("nodes", "--watch", "--interval", "1")
    terminal.read(r"\x1b\[H\x1b\[2J.*Online.*\x1b\[H\x1b\[2J.*Online")
    terminal.type("\x03")
    assert terminal.end() == -signal.SIGINT
    watching = subprocess.Popen([cli.program, "nodes", "-w", "-i", "1", "--no-headers"], env=cli.env(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "Online" in watching.stdout.readline()
    watching.stdout.close()  # who has read enough is no error
    assert (watching.wait(30), watching.stderr.read()) == (INTERRUPTED, "")
