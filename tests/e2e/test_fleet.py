"""Fleet Manager's documents on real nodes, and the client's commands on top of them: top, ps, kill, ls, cat, tail."""
import calendar
import json
import os
import pathlib
import select
import signal
import stat
import subprocess
import sys
import time

import pytest

import flapi
import flproc
import flsandbox
from test_cli import FAILED, INTERRUPTED, OK, SERVICE, USAGE, Cli

pytestmark = [pytest.mark.xdist_group("fleet"), pytest.mark.once]
ROOT = os.geteuid() == 0
NOBODY = 65534


class Fleet:
    """A plane with a node that may do all (with an /etc of its own) and one that may do little."""

    def __init__(self, box):
        self.box = box
        self.mighty = self.add(self.own_etc if ROOT else None)
        self.weak = self.add(self.as_nobody if ROOT else None)
        for agent in (self.mighty, self.weak):
            agent.start()
        for agent in (self.mighty, self.weak):
            agent.wait_online(box.plane)

    def add(self, wrap):
        agent = flsandbox.Agent(self.box.folder / "nodes" / str(len(self.box.agents) + 1), self.box.build,
                                self.box.plane.endpoint, self.box.plane.ca_file)
        self.box.agents.append(agent)
        if wrap:
            wrap(agent, agent.argv)
        agent.register(self.box.plane.activation())
        return agent

    def own_etc(self, agent, plain):
        self.etc = agent.folder / "etc"
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True)
        script = 'mount --make-rprivate / && mount --bind "$1" /etc && shift && exec "$@"'
        agent.argv = lambda *args: ["unshare", "-m", "sh", "-c", script, "sh", self.etc, *plain(*args)]

    def as_nobody(self, agent, plain):
        for place in (agent.folder, agent.home):
            os.chown(place, NOBODY, NOBODY)
        agent.argv = lambda *args: ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                                    *plain(*args)]

    def run(self, document, node=None, **parameters):
        """(status, answer): what GetCommandInvocation has in the end."""
        api = self.box.plane.api
        node = (node or self.mighty).node_id
        values = {k: v if isinstance(v, list) else [v] for k, v in parameters.items()}
        sent = api.call("SendCommand", DocumentName=f"AWSFleetManager-{document}", InstanceIds=[node],
                        Parameters=values)["Command"]["CommandId"]

        def ended():
            try:
                got = api.call("GetCommandInvocation", CommandId=sent, InstanceId=node)
            except flapi.ApiError:
                return None
            return got if got["Status"] not in ("Pending", "InProgress", "Delayed") else None
        got = flsandbox.wait_for(f"the end of {document}", ended)
        return got["Status"], json.loads(got["StandardOutputContent"])

    def rows(self, document, **parameters):
        status, answer = self.run(document, **parameters)
        assert (status, answer["error"]) == ("Success", None), answer
        return answer["data"]["results"]

    def error(self, document, **parameters):
        status, answer = self.run(document, **parameters)
        assert status == "Failed" and answer["data"]["results"] == [], (status, answer)
        return answer["error"]


@pytest.fixture(scope="module")
def fleet():
    with flsandbox.Sandbox(nodes=0) as box:
        yield Fleet(box)
        box.keep = True
        box.stop()
        reports = box.sanitizer_reports()
        subprocess.run(["rm", "-rf", str(box.folder)], check=False)
        assert not reports, "\n".join(reports)


@pytest.fixture
def cli(fleet, tmp_path, request):
    yield Cli(fleet.box, tmp_path)
    if getattr(request.node, "failed_call", False):
        for log in fleet.box.logs():
            print(f"---- {log} ----\n{flsandbox.tail(log, 15)}")


@pytest.fixture
def place(tmp_path):
    """A folder of the test that every user may read."""
    for p in (tmp_path, *tmp_path.parents):
        if p.stat().st_uid == os.geteuid() and not p.stat().st_mode & 0o011 == 0o011:
            p.chmod(p.stat().st_mode | 0o711)
    folder = tmp_path / "place"
    folder.mkdir(mode=0o755)
    return folder


# Names that some shell, awk, format, pattern or document would read as something else.
ODD_NAMES = ["a b", " ", "-rf", "--", "*", "?", "[a]", "'", '"', "\\", "\\n", "$(id)", "`id`", "${HOME}", ";id", "a;b|c&d",
             "{{ Path }}", "%s%n", "\n", "a\nb\n", "\t", "\x01\x1b[31m", "\x7f", ".hidden", "...", "~", "#x", "!x", "é€😀",
             "a=b", "==> x <==", "\\u0041", "<b>", "x" * 255]


def at(node, path):
    return f"{node.node_id}:{path}"


# ---- files ----

def test_odd_names_survive(fleet, cli, place):
    for name in ODD_NAMES:
        (place / name).write_text(f"this is {name}")
    rows = cli.lines("ls", "--all", at(fleet.mighty, place))
    assert sorted(r["Name"] for r in rows) == sorted(ODD_NAMES)
    assert all(r["Mode"].startswith("-rw") and "NameHex" not in r for r in rows)
    for name in ODD_NAMES:
        row = next(r for r in rows if r["Name"] == name)
        assert row["Length"] == len(f"this is {name}".encode())
    for name in ("\n", "$(id)", "{{ Path }}", "é€😀", "-rf", "'", ".hidden"):
        assert cli.ok("cat", at(fleet.mighty, place / name)) == f"this is {name}"
        assert [r["Name"] for r in cli.lines("ls", at(fleet.mighty, place / name))] == [name]
    table = cli.ok("ls", at(fleet.mighty, place), LC_ALL="C.UTF-8")
    assert "é€😀" in table and "\x1b" not in table and ".hidden" not in table
    assert len(table.splitlines()) == 1 + sum(not n.startswith(".") for n in ODD_NAMES)


def test_a_name_that_is_no_text_is_told_in_hexadecimal(fleet, cli, place):
    raw = b"bad\xff\xc3\xed\xa0\x80"
    with open(os.fsencode(place) + b"/" + raw, "wb"):
        pass
    row, = cli.lines("ls", at(fleet.mighty, place))
    assert bytes.fromhex(row["NameHex"]) == raw and row["Name"] == "bad" + 5 * "\ufffd"


def test_a_listing_of_many_pages(fleet, cli, place):
    names = [f"file {i:04d} with a name that is not short" for i in range(700)]
    for name in names:
        (place / name).touch()
    rows = cli.lines("ls", at(fleet.mighty, place))
    assert [r["Name"] for r in rows] == names
    status, answer = fleet.run("GetFileSystemContent", Path=str(place))
    assert status == "Success" and answer["data"]["nextToken"] == str(len(answer["data"]["results"]))
    assert "more than" in fleet.error("GetFileSystemContent", Path=str(place), AllowTruncatedOutput="No")
    assert fleet.rows("GetFileSystemContent", Path=str(place), NextToken="700") == []
    assert fleet.rows("GetFileSystemContent", Path=str(place), NextToken="999999999999") == []


def test_what_is_told_of_a_file(fleet, cli, place):
    (place / "file").write_bytes(b"x" * 12345)
    os.utime(place / "file", (1_000_000_000, 1_000_000_000))
    (place / "file").chmod(0o4640)
    (place / "folder").mkdir()
    (place / "link").symlink_to("/nowhere/at all")
    rows = {r["Name"]: r for r in cli.lines("ls", at(fleet.mighty, place))}
    assert rows["file"]["LastWriteTimeUTC"] == "2001-09-09T01:46:40Z"
    assert (rows["file"]["Mode"], rows["file"]["Length"]) == ("-rwSr-----", 12345)
    assert rows["folder"]["Mode"][0] == "d" and rows["link"]["Mode"][0] == "l"
    assert [r["Name"] for r in cli.lines("ls", "-s", "size", at(fleet.mighty, place))][0] == "file"
    assert [r["Name"] for r in cli.lines("ls", "-s", "time", at(fleet.mighty, place))][-1] == "file"
    assert "12K  2001-09-09T01:46:40Z  file" in cli.ok("ls", at(fleet.mighty, place))
    assert cli.ok("ls", at(fleet.mighty, place / "folder")) == ""


def test_bytes_arrive_as_they_are(fleet, cli, place):
    data = bytes(range(256)) * 200
    (place / "data").write_bytes(data)
    program = [cli.program, "cat"]

    def cat(*args):
        return subprocess.run([*program, *args], env=cli.env(), capture_output=True, timeout=120)
    assert cat(at(fleet.mighty, place / "data")).stdout == data
    assert cat("--limit", "20000", at(fleet.mighty, place / "data")).stdout == data[:20000]
    (place / "empty").touch()
    both = cat(at(fleet.mighty, place / "empty"), at(fleet.mighty, "/proc/version"))
    assert both.stdout == pathlib.Path("/proc/version").read_bytes()
    os.truncate(place / "data", 10 << 20)
    large = cat(at(fleet.mighty, place / "data"))
    assert (large.returncode, large.stdout) == (FAILED, b"") and b"--limit" in large.stderr


def test_files_that_cannot_be_read(fleet, cli, place):
    os.mkfifo(place / "fifo")
    (place / "loop").symlink_to("loop")
    for words, text in ((("cat", place / "nope"), "No such file or directory"), (("cat", place), "Is a directory"),
                        (("cat", place / "fifo"), "Not a regular file"), (("tail", place / "nope"), "No such file"),
                        (("cat", "/dev/zero"), "Not a regular file"), (("ls", place / "nope"), "No such file"),
                        (("cat", place / "loop"), "Not a regular file"), (("ls", place / "fifo/x"), "Not a directory")):
        done = cli(words[0], at(fleet.mighty, words[1]))
        assert done.returncode == FAILED and text in done.stderr and done.stdout == "", done
        assert done.stderr.startswith(f"fairlead: {fleet.mighty.node_id}: {words[1]}"), done
    for words in (("cat", fleet.mighty.node_id), ("ls", f"{fleet.mighty.node_id}:relative"), ("ls", ":/x"),
                  ("ls", "--sort", "age", at(fleet.mighty, "/")), ("ps", "--sort", "x", fleet.mighty.node_id)):
        assert cli(*words).returncode == USAGE, words
    assert cli("ls", "no-such-node:/").returncode == SERVICE


def test_files_that_others_own(fleet, cli, place):
    if not ROOT:
        pytest.skip("needs a file of another user")
    (place / "secret").write_text("secret")
    (place / "secret").chmod(0o600)
    (place / "closed").mkdir(mode=0o700)
    (place / "closed/x").touch()
    (place / "names").mkdir(mode=0o711)
    assert "Permission denied" in fleet.error("GetFileContent", node=fleet.weak, Path=f"{place}/closed/x")
    for words in (("cat", "secret"), ("ls", "closed"), ("ls", "names"), ("tail", "secret")):
        done = cli(words[0], at(fleet.weak, place / words[1]))
        assert done.returncode == FAILED and "Permission denied" in done.stderr, done
    for document, parameters in (("CreateDirectory", {"Path": f"{place}/new"}),
                                 ("DeleteFileSystemItem", {"Path": f"{place}/secret"}),
                                 ("MoveFileSystemItem", {"SourcePath": f"{place}/secret", "DestinationPath": f"{place}/x"}),
                                 ("CopyFileSystemItem", {"SourcePath": f"{place}/secret", "DestinationPath": f"{place}/copy"})):
        assert "Permission denied" in fleet.error(document, node=fleet.weak, PerformAction="Yes", **parameters)
    done = cli("kill", fleet.weak.node_id, fleet.mighty.pid)
    assert done.returncode == FAILED and "Operation not permitted" in done.stderr, done


def test_nothing_is_done_without_perform_action(fleet, place):
    (place / "a").write_text("a")
    (place / "full").mkdir()
    (place / "full/x").touch()
    before = sorted(p.name for p in place.rglob("*"))
    path = {"Path": f"{place}/a"}
    pair = {"SourcePath": f"{place}/a", "DestinationPath": f"{place}/b"}
    for document, parameters in (("CreateDirectory", {"Path": f"{place}/new"}), ("CopyFileSystemItem", pair),
                                 ("MoveFileSystemItem", pair), ("RenameFileSystemItem", {**path, "NewName": "b"}),
                                 ("DeleteFileSystemItem", path),
                                 ("DeleteFileSystemItem", {"Path": f"{place}/full", "Recursive": "Yes"}),
                                 ("StartProcess", {"FilePath": "/bin/touch", "Arguments": f"{place}/b"}),
                                 ("TerminateProcess", {"ProcessIds": str(fleet.mighty.pid)})):
        row, = fleet.rows(document, **parameters)
        assert row["Performed"] is False, (document, row)
    assert sorted(p.name for p in place.rglob("*")) == before and fleet.mighty.running()


def test_files_are_made_moved_and_deleted(fleet, place):
    odd = "it's \"$(id)\" `x`\n-rf"
    here = f"{place}/{odd}"
    assert fleet.rows("CreateDirectory", Path=here, PerformAction="Yes") == [{"Path": here, "Performed": True}]
    assert "File exists" in fleet.error("CreateDirectory", Path=here, PerformAction="Yes")
    (place / odd / "x").write_text("x")
    (place / odd / "x").chmod(0o751)
    fleet.rows("CopyFileSystemItem", SourcePath=here, DestinationPath=here + "2", PerformAction="Yes")
    copy = place / (odd + "2") / "x"
    assert copy.read_text() == "x" and stat.S_IMODE(copy.stat().st_mode) == 0o751
    assert "File exists" in fleet.error("CopyFileSystemItem", SourcePath=here, DestinationPath=here + "2",
                                        PerformAction="Yes")
    assert "File exists" in fleet.error("MoveFileSystemItem", SourcePath=here, DestinationPath=here + "2",
                                        PerformAction="Yes")
    fleet.rows("RenameFileSystemItem", Path=here + "2", NewName="-v '$(id)'", PerformAction="Yes")
    assert (place / "-v '$(id)'" / "x").exists()
    fleet.rows("MoveFileSystemItem", SourcePath=f"{place}/-v '$(id)'", DestinationPath=here + "3", PerformAction="Yes")
    assert (place / (odd + "3") / "x").exists()
    assert "not empty" in fleet.error("DeleteFileSystemItem", Path=here, PerformAction="Yes")
    fleet.rows("DeleteFileSystemItem", Path=here, Recursive="Yes", PerformAction="Yes")
    fleet.rows("DeleteFileSystemItem", Path=here + "3/x", PerformAction="Yes")
    fleet.rows("DeleteFileSystemItem", Path=here + "3", PerformAction="Yes")
    (place / "kept").mkdir()
    (place / "kept/x").touch()
    (place / "link").symlink_to("kept")
    fleet.rows("DeleteFileSystemItem", Path=f"{place}/link", Recursive="Yes", PerformAction="Yes")
    assert [p.name for p in place.iterdir()] == ["kept"] and (place / "kept/x").exists()
    for root in ("/", "//", "/.", "/.."):
        assert "root directory" in fleet.error("DeleteFileSystemItem", Path=root, Recursive="Yes")


# ---- what is no value ----

def test_no_value_is_read_as_shell(fleet, place):
    mark = place / "mark"
    texts = [f"$(touch {mark})", f"`touch {mark}`", f"';touch {mark};'", f'";touch {mark};"', f"\ntouch {mark}\n",
             f"\nEND\ntouch {mark}\n", f";touch {mark};#", f"|touch {mark}", f"$((a[$(touch {mark})]))"]
    for text in ["".join(texts), "".join(reversed(texts))]:
        path = f"/nope/{text}"
        for document, parameters in (("GetFileSystemContent", {"Path": path}), ("GetFileContent", {"Path": path}),
                                     ("CopyFileSystemItem", {"SourcePath": path, "DestinationPath": path}),
                                     ("DeleteFileSystemItem", {"Path": path}), ("CreateDirectory", {"Path": path})):
            if not document.startswith("Get"):
                parameters["PerformAction"] = "Yes"
            assert "No such file or directory" in fleet.error(document, **parameters)
    for text in texts:
        assert "No such file or directory" in fleet.error("GetFileContent", Path=f"/nope/{text}")
        refused = [("TerminateProcess", {"ProcessIds": [text]}), ("GetFileContent", {"Path": "/etc/hosts", "NextToken": text}),
                   ("GetPerformanceCounters", {"SampleSeconds": text}), ("CreateUser", {"UserName": text}),
                   ("AddUsersToGroups", {"Users": ["root"], "Groups": [text]}),
                   ("RemoveUsersFromGroups", {"Users": [text], "Groups": ["root"]}),
                   ("CreateGroup", {"GroupName": text}), ("DeleteUser", {"UserName": text}),
                   ("GetProcessDetails", {"NextToken": text}), ("CreateDirectory", {"Path": "/x", "PerformAction": text})]
        for document, parameters in refused:
            with pytest.raises(flapi.ApiError) as e:
                fleet.run(document, **parameters)
            assert e.value.code == "InvalidParameters", (document, text)
    assert not mark.exists()


def test_a_program_is_started_with_words(fleet, place):
    program = place / "program"
    program.write_text('#!/bin/sh\nfor a; do echo "<$a>"; done > "$0.out"; mv "$0.out" "$0.args"\nexec sleep 1000\n')
    program.chmod(0o755)
    row, = fleet.rows("StartProcess", FilePath=str(program), Arguments=" $(id)  *\t;x  'a b'", WorkingDirectory="/",
                      PerformAction="Yes")
    flsandbox.wait_for("the arguments", (place / "program.args").exists)
    assert (place / "program.args").read_text() == "<$(id)>\n<*>\n<;x>\n<'a>\n<b'>\n"
    flsandbox.wait_for("sleep", lambda: flproc.name(row["Id"]) == "sleep")
    try:
        assert os.getsid(row["Id"]) == row["Id"]
    finally:
        os.kill(row["Id"], signal.SIGKILL)
    program.chmod(0o644)
    assert "Permission denied" in fleet.error("StartProcess", FilePath=str(program), PerformAction="Yes")
    assert "No such file" in fleet.error("StartProcess", FilePath="/nope", PerformAction="Yes")
    assert "No such directory" in fleet.error("StartProcess", FilePath="/bin/true", WorkingDirectory="/nope")


# ---- processes ----

@pytest.fixture
def victim():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", "two words", "\x1b[31m é", "a\nb"])
    yield child
    child.kill()
    child.wait()


def test_processes_are_listed(fleet, cli, victim):
    def row():
        got = {r["Id"]: r for r in cli.lines("ps", fleet.mighty.node_id)}
        assert list(got) == sorted(got)
        return got.get(victim.pid)
    mine = row()
    assert mine["CommandLine"].endswith(" two words \x1b[31m é a\nb") and mine["ParentId"] == os.getpid()
    assert mine["WorkingSet"] > 1 << 20 and mine["State"] in "SR" and mine["Threads"] == 1
    assert abs(calendar.timegm(time.strptime(mine["StartTimeUTC"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()) < 3600
    table = cli.ok("ps", fleet.mighty.node_id, "--sort", "memory", "-n", "3")
    assert len(table.splitlines()) == 4 and "\x1b" not in table
    memory = [r["WorkingSet"] for r in cli.lines("ps", fleet.mighty.node_id, "-s", "memory")]
    assert memory == sorted(memory, reverse=True)
    assert cli.ok("ps", fleet.mighty.node_id, "-u", "no such user", "--no-headers") == ""


def test_kill(fleet, cli, victim):
    node = fleet.mighty.node_id
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = cli("kill", node, gone.pid, victim.pid, "-s", "STOP")
    assert (done.returncode, done.stderr) == (FAILED, f"fairlead: {node}: {gone.pid}: No such process\n")
    flsandbox.wait_for("the stop", lambda: flproc_state(victim.pid) == "T")
    row, = cli.lines("kill", node, victim.pid, "-s", "SIGCONT")
    assert row == {"Id": victim.pid, "Name": flproc.name(victim.pid), "Performed": True, "Error": None}
    assert cli.ok("kill", node, victim.pid) == ""
    assert victim.wait(30) == -signal.SIGTERM
    for words in ([node], [node, "0"], [node, "-1"], [node, "1x"], [node, "1", "-s", "NOPE"], [node, "01"]):
        assert cli("kill", *words).returncode == USAGE, words


def flproc_state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


# ---- top ----

def test_top(fleet, cli):
    node = fleet.mighty.node_id
    counters = {(c["Category"], c["Instance"], c["Counter"]): c["Value"] for c in cli.lines("top", "--once", node)[0]}
    with open("/proc/meminfo") as f:
        total = int(f.readline().split()[1]) * 1024
    assert counters["Memory", "", "TotalBytes"] == total > counters["Memory", "", "AvailableBytes"] > 0
    assert 0 <= counters["Cpu", "_Total", "BusyPercent"] <= 100
    assert counters["System", "", "CpuCount"] == sum(k[0] == "Cpu" and k[1] != "_Total" for k in counters)
    assert counters["System", "", "UptimeSeconds"] > 0
    assert all(v >= 0 for v in counters.values())
    shown = cli.ok("top", node, "-n", "2", "-i", "1")
    assert shown.count("\nCPU ") == 2 and shown.count("\nMemory ") == 2 and "\x1b" not in shown
    for words in (["-i", "0"], ["-i", "61"], []):
        assert cli("top", *words, *([node] if words else [])).returncode == USAGE


def test_ctrl_c_ends_top_and_its_command(fleet, cli):
    terminal = cli.terminal("top", fleet.mighty.node_id, "-i", "60")
    newest = None

    def running():
        nonlocal newest
        newest = next(iter(fleet.box.plane.api.call("ListCommands", MaxResults=1)["Commands"]), None)
        return newest and newest["DocumentName"].endswith("GetPerformanceCounters") and newest["Status"] == "InProgress"
    flsandbox.wait_for("the command", running)
    terminal.type("\x03")
    assert terminal.end() == INTERRUPTED
    ended = fleet.box.plane.api.call("ListCommands", CommandId=newest["CommandId"])["Commands"][0]
    assert ended["Status"] == "Cancelled"


def test_a_terminal_shows_one_measurement_at_a_time(fleet, cli):
    terminal = cli.terminal("top", fleet.mighty.node_id, "-i", "1", "-n", "2")
    assert terminal.end() == OK
    assert terminal.text.count("\x1b[H\x1b[2J") == 2


# ---- tail ----

def test_the_last_lines(fleet, cli, place):
    lines = [f"line {i} {'x' * (i % 97)}" for i in range(1000)]
    (place / "log").write_text("\n".join(lines) + "\n")
    for n in (0, 1, 10, 999, 1000, 5000):
        want = "".join(line + "\n" for line in (lines[-n:] if n else []))
        assert cli.ok("tail", "-n", n, at(fleet.mighty, place / "log")) == want, n
    (place / "log").write_text("no end")
    assert cli.ok("tail", at(fleet.mighty, place / "log")) == "no end"
    (place / "log").write_text("")
    assert cli.ok("tail", at(fleet.mighty, place / "log")) == ""


class Lines:
    """What a program prints, line by line, with a deadline."""

    def __init__(self, stream):
        self.stream, self.text = stream, b""

    def next(self, timeout_s=60):
        limit = time.monotonic() + timeout_s
        while b"\n" not in self.text:
            assert time.monotonic() < limit, f"no line within {timeout_s} s: {self.text!r}"
            if select.select([self.stream], [], [], 0.1)[0]:
                self.text += os.read(self.stream.fileno(), 65536)
        line, self.text = self.text.split(b"\n", 1)
        return line.decode()


def test_a_log_is_followed(fleet, cli, place):
    log = place / "log"
    log.write_text("1\n2\n3\n")
    tail = subprocess.Popen([cli.program, "tail", "-f", "-n", "2", "-i", "1", at(fleet.mighty, log)], env=cli.env(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = Lines(tail.stdout)
    try:
        assert [lines.next(), lines.next()] == ["2", "3"]
        with open(log, "a") as f:
            f.write("4\n" + "x" * 40000 + "\n")
        assert [lines.next(), lines.next()] == ["4", "x" * 40000]
        (place / "new").write_text("rotated\n" + "y" * 50000 + "\n")  # and longer than the one before
        os.rename(place / "new", log)
        assert [lines.next(), lines.next()] == ["rotated", "y" * 50000]
        os.truncate(log, 0)
        with open(log, "a") as f:
            f.write("b\n")
        assert lines.next() == "b"
        tail.stdout.close()  # nobody reads any more
        with open(log, "a") as f:
            f.write("more\n")
        assert tail.wait(60) == INTERRUPTED
        said = tail.stderr.read().decode()
        assert "another file is in its place" in said and "not all written" not in said
    finally:
        tail.kill()
        tail.wait()


# ---- users, disks ----

def test_users_and_groups(fleet):
    if not ROOT:
        pytest.skip("needs an agent that may make users")
    user, group = "fltest1", "flgroup1"

    def users():
        return {u["Name"]: u for u in fleet.rows("GetUsers")}

    def members():
        return {g["Name"]: g["Members"] for g in fleet.rows("GetGroups")}
    assert users()["root"]["Id"] == "0" and members()["root"] == []
    assert fleet.rows("CreateUser", UserName=user) == [{"UserName": user, "Performed": False}]
    assert user not in users()
    fleet.rows("CreateUser", UserName=user, Description="it's a $(test)", PerformAction="Yes")
    assert users()[user]["Description"] == "it's a $(test)"
    assert "exists" in fleet.error("CreateUser", UserName=user, PerformAction="Yes")
    assert f"\n{user}:!" in (fleet.etc / "shadow").read_text()  # no password
    fleet.rows("CreateGroup", GroupName=group, PerformAction="Yes")
    assert "exists" in fleet.error("CreateGroup", GroupName=group)
    fleet.rows("AddUsersToGroups", Users=[user, "nobody"], Groups=[group, "users"], PerformAction="Yes")
    assert members()[group] == [user, "nobody"] and user in members()["users"]
    assert "no such user" in fleet.error("AddUsersToGroups", Users=["nobody", "nope"], Groups=["daemon"],
                                         PerformAction="Yes")
    assert "no such group" in fleet.error("AddUsersToGroups", Users=["nobody"], Groups=["daemon", "nope"],
                                          PerformAction="Yes")
    assert members()["daemon"] == []
    fleet.rows("RemoveUsersFromGroups", Users=["nobody"], Groups=[group, "daemon"], PerformAction="Yes")
    assert members()[group] == [user]
    assert "Permission denied" in fleet.error("CreateGroup", node=fleet.weak, GroupName="flgroup2", PerformAction="Yes")
    fleet.rows("DeleteUser", UserName=user, PerformAction="Yes")
    fleet.rows("DeleteGroup", GroupName=group, PerformAction="Yes")
    assert user not in users() and group not in members()
    assert "no such user" in fleet.error("DeleteUser", UserName=user)
    assert "no such group" in fleet.error("DeleteGroup", GroupName=group)


def test_disks(fleet):
    rows = {r["MountPoint"]: r for r in fleet.rows("GetDiskInformation")}
    here = os.statvfs("/")
    assert rows["/"]["Size"] == here.f_blocks * here.f_frsize
    assert 0 < rows["/"]["Used"] < rows["/"]["Size"]
