"""Faults under the plane: kills, power loss, full, failing and slow disks, cloned nodes, key rotations cut short.

The loops go through a sample of their points in `make check`, and through all of them in `make check-faults`.
"""
import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

import flapi
import flproc
import flsandbox
import refnode
from conftest import check_and_stop
from test_faults import send, settled
from test_faults_agent import TRACED, Tracer, long

pytestmark = pytest.mark.once

all_points = pytest.mark.parametrize("full", [False, pytest.param(True, marks=long)])
ROOT = os.geteuid() == 0
need_root = pytest.mark.skipif(not ROOT, reason="needs root")
need_strace = pytest.mark.skipif(not (ROOT and shutil.which("strace")), reason="needs root and strace")
CLONE_NEWNS = 0x20000

# What a commit writes, it writes whole: rows of this query are halves.
HALVES = """
SELECT 'command without its parts ' || c.command_id FROM command c
 WHERE NOT EXISTS (SELECT 1 FROM command_state s WHERE s.command_id = c.command_id)
    OR NOT EXISTS (SELECT 1 FROM command_job j WHERE j.command_id = c.command_id)
    OR NOT EXISTS (SELECT 1 FROM invocation i WHERE i.command_id = c.command_id)
UNION ALL
SELECT 'counts of ' || s.command_id FROM command_state s
 WHERE stage_queued + stage_released + stage_parked + stage_delivered + stage_done
       <> (SELECT count(*) FROM invocation i WHERE i.command_id = s.command_id)
UNION ALL
SELECT 'invocation without a command ' || i.command_id FROM invocation i
 WHERE NOT EXISTS (SELECT 1 FROM command c WHERE c.command_id = i.command_id)
UNION ALL
SELECT 'registrations of ' || a.activation_id FROM activation a
 WHERE registrations <> (SELECT count(*) FROM node n WHERE n.activation_id = a.activation_id)
UNION ALL
SELECT 'key without a user ' || k.access_key_id FROM iam_access_key k
 WHERE NOT EXISTS (SELECT 1 FROM iam_user u WHERE u.account = k.account AND u.name = k.user_name)
"""


def books(path):
    """Opens a database as a start would; fails on damage and on halves."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute(HALVES).fetchall() == []
    return db


def db_path(plane):
    return plane.data / "db/fairlead.db"


def copy_data(plane, target):
    """The database as it is at one instant: the plane stands still meanwhile."""
    target.mkdir()
    flproc.kill(plane.pid, signal.SIGSTOP)
    for name in ("fairlead.db", "fairlead.db-wal"):
        shutil.copyfile(db_path(plane).with_name(name), target / name)
    flproc.kill(plane.pid, signal.SIGCONT)
    return target / "fairlead.db"


def log_count(plane, words):
    return plane.log.read_text(errors="replace").count(words)


def metric(plane, name):
    for line in plane.api.get("/metrics")[1].splitlines():
        if line.split(" ")[0] == name:
            return float(line.split(" ")[1])
    raise AssertionError(f"no metric {name}")


def refused(plane, node):
    """Tries a command; the error that refused it, or the command's id."""
    try:
        return None, send(plane, node, "true")
    except flapi.ApiError as e:
        return e, None


def strace_to_end(argv, inject, out, env, timeout_s=60):
    """Runs argv under strace -f with one injection; whether something of it was killed."""
    done = subprocess.run(["strace", "-f", "-o", str(out), "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
                           *[str(a) for a in argv]], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s)
    return "killed by SIGKILL" in out.read_text(errors="replace"), done


# ---- killed -----------------------------------------------------------------------------------------

@pytest.mark.slow
@all_points
def test_killed_again_and_again(new_box, new_node, full):
    """Commands, replies, registrations, tokens and admin commands, and kill -9 at random moments: what was
    answered is there after each start, and nothing of anything is there by half."""
    box = new_box(nodes=0)
    plane = box.plane
    node = new_node(plane=plane)
    activation = plane.activation(limit=1000)
    commands, finals, nodes, keys = [], {}, [], []
    looked_at = set()
    lock, running, seed = threading.Lock(), threading.Event(), random.randrange(1 << 30)
    rnd = random.Random(seed)
    print("seed", seed)

    def answer(m, outer, content):
        node.ack(m, outer["JobId"])
        ids = node.finish(outer["JobId"], out=content["CommandId"])
        with lock:
            finals[content["CommandId"]] = ids
    node.on_job = answer

    def forever(work):
        while running.is_set():
            try:
                work()
            except (OSError, flapi.ApiError, refnode.NodeError, ValueError, subprocess.SubprocessError):
                pass  # the plane is down
            time.sleep(0.1)  # the load is the plane's, not the test's

    def register():
        fresh = refnode.RefNode(plane.endpoint, plane.ca_file)
        fresh.register(activation)
        nodes.append(fresh)
        time.sleep(0.2)  # making a key takes more than everything else

    def make_key():
        user = f"u{len(keys)}-{rnd.randrange(1 << 30)}"
        if plane.command("admin", "user", "add", user, "--policy", "AdministratorAccess", "--data", plane.data).returncode:
            return
        done = plane.command("admin", "key", "create", user, "--json", "--data", plane.data)
        if done.returncode == 0:
            keys.append(json.loads(done.stdout))

    work = [lambda: commands.append(send(plane, node.node_id, "true"))] * 2 + [register, node.get_token, make_key]
    for cycle in range(20 if full else 3):
        before = len(commands), len(nodes), len(keys)
        running.set()
        threads = [threading.Thread(target=forever, args=(w,)) for w in work]
        for t in threads:
            t.start()
        flsandbox.wait_for("some load", lambda: len(commands) > before[0] + 5 and len(nodes) > before[1] and
                           len(keys) > before[2], 60)
        time.sleep(rnd.uniform(0, 0.4))
        plane.kill()
        running.clear()
        for t in threads:
            t.join()
        node.thread.join(10)
        books(db_path(plane)).close()
        plane.restart()
        acknowledged = {c for c, ids in list(finals.items()) if ids[1] in node.acked}
        for c in acknowledged - looked_at:
            got = plane.api.call("GetCommandInvocation", CommandId=c, InstanceId=node.node_id)
            assert (got["Status"], got["StandardOutputContent"]) == ("Success", c), got
        looked_at |= acknowledged
        node.open()
        for c in {content["CommandId"] for _, _, content in list(node.jobs)} - acknowledged:
            node.finish(f"aws.ssm.{c}.{node.node_id}", out=c)
        for n in nodes:
            assert plane.node_info(n.node_id), n.node_id
        for key in keys:
            api = flapi.Api(plane.endpoint, str(plane.ca_file), key["AccessKeyId"], key["SecretAccessKey"])
            assert "Commands" in api.call("ListCommands", MaxResults=1)
    for c in commands:
        got = settled(plane, c, node.node_id)
        assert (got["Status"], got["StandardOutputContent"]) == ("Success", c), got
    for n in nodes:  # the same key is the same node
        assert n.register(activation) == n.node_id


@need_strace
@all_points
def test_init_killed_at_each_write(tmp_path, full):
    """Killed in the middle, `init` run again ends well, or says that a folder has to be removed, and then does."""
    plane = flsandbox.Plane(tmp_path / "p", flsandbox.default_build())
    kills = asked = 0
    for call in ("rename", "mkdir", "fdatasync", "pwrite64") + (("write", "fsync", "openat", "ftruncate") if full else ()):
        for n in range(1, 200):
            if not full and n > 1 and n % 12:
                continue
            data = tmp_path / "data"
            argv = [plane.build / "fairlead-server", "init", "--data", data, "--port", "18443"]
            killed, done = strace_to_end(argv, f"{call}:signal=KILL:when={n}", tmp_path / "trace", dict(plane.base_env(), **TRACED))
            again = plane.command(*argv[1:])
            if killed and again.returncode != 0 and not (data / "server.json").exists():
                assert str(data) in again.stderr and "remove that folder" in again.stderr, again
                shutil.rmtree(data)
                again = plane.command(*argv[1:])
                asked += 1
            assert again.returncode == 0 or "holds a control plane already" in again.stderr, (call, n, again)
            for name in ("server.json", "keys/seal", "pki/ca.crt", "pki/server.key", "admin-credentials"):
                assert (data / name).stat().st_size > 0, (call, n, name)
            books(data / "db/fairlead.db").close()
            shutil.rmtree(data)
            if not killed:
                assert done.returncode == 0, done
                break
            kills += 1
    assert kills >= 5 and asked >= 3


# ---- power loss -------------------------------------------------------------------------------------

@pytest.mark.slow
@all_points
def test_power_lost_at_any_byte_of_the_log(new_box, new_node, tmp_path, full):
    """The disk keeps any part of the write-ahead log: its start up to some byte, the rest gone or garbage. What
    was answered before the last byte that is there was written, is there."""
    box = new_box(nodes=0)
    plane = box.plane
    node = new_node(plane=plane)
    node.on_job = node.answer_success
    # Checkpointed, so that what follows fits one generation of the log.
    plane.stop()
    plane.restart()
    node.thread.join(10)
    node.open()
    wal = pathlib.Path(f"{db_path(plane)}-wal")
    answered = []  # (bytes of the log when it was answered, command)
    for _ in range(30):
        command = send(plane, node.node_id, "true")
        answered.append((wal.stat().st_size, command))
    base = copy_data(plane, tmp_path / "base")
    log = pathlib.Path(f"{base}-wal").read_bytes()
    page, = struct.unpack(">I", log[8:12])
    frame = page + 24
    assert len(log) < 1000 * frame, "the log was begun anew in between: its offsets say nothing"
    ends = range(32, len(log) + 1, frame)
    rnd = random.Random(7)
    some = ends if full else rnd.sample(ends, min(12, len(ends)))
    cuts = {0, 1, 31, 33, len(log)} | {e + d for e in some for d in (-1, 0, 1, 24)} | \
        {rnd.randrange(len(log)) for _ in range(2000 if full else 40)}
    work = tmp_path / "cut"
    work.mkdir()
    seen = set()
    for i, cut in enumerate(sorted(c for c in cuts if 0 <= c <= len(log))):
        shutil.copyfile(base, work / "fairlead.db")
        rest = b"" if i % 3 == 0 else bytes(len(log) - cut) if i % 3 == 1 else rnd.randbytes(min(len(log) - cut, 3 * frame))
        (work / "fairlead.db-wal").write_bytes(log[:cut] + rest)
        (work / "fairlead.db-shm").unlink(missing_ok=True)
        db = books(work / "fairlead.db")
        there = {c for c, in db.execute("SELECT command_id FROM command")}
        db.close()
        missing = [c for size, c in answered if size <= cut and c not in there]
        assert not missing, (cut, missing)
        seen.add(len(there))
    assert len(seen) > 5  # the cuts did take something away
    # And the plane itself starts on such a log.
    plane.kill()
    for cut in rnd.sample(range(len(log)), 6 if full else 2):
        shutil.copyfile(base, db_path(plane))
        wal.write_bytes(log[:cut])
        pathlib.Path(f"{db_path(plane)}-shm").unlink(missing_ok=True)
        plane.restart()
        there = {c["CommandId"] for c in plane.api.call("ListCommands", MaxResults=50)["Commands"]}
        assert {c for size, c in answered if size <= cut} <= there
        plane.kill()
        books(db_path(plane)).close()


def test_renewal_of_the_certificate_killed_between_its_files(new_box):
    """A key that does not belong to the certificate is no plane that cannot start."""
    box = new_box(nodes=0)
    plane = box.plane
    other = flsandbox.Plane(box.folder / "other", box.build)
    other.init()
    plane.stop()
    shutil.copyfile(other.data / "pki/server.key", plane.data / "pki/server.key")
    plane.restart()
    assert plane.api.call("ListCommands")["Commands"] == []
    assert "certificate renewed" in plane.log.read_text()


# ---- the database cannot be opened ------------------------------------------------------------------

def damage_header(path):
    path.write_bytes(b"this is not a database" + path.read_bytes()[22:])


def damage_schema(path):
    data = bytearray(path.read_bytes())
    data[100:4096] = os.urandom(3996)
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def newer(path):
    db = sqlite3.connect(path)
    db.execute("INSERT INTO schema_step VALUES ('999-future', 1)")
    db.commit()
    db.close()


@pytest.mark.parametrize("harm, words", [
    (damage_header, "restore it from a backup"), (damage_schema, "restore it from a backup"),
    (empty, "restore it from a backup"), (os.unlink, "restore it from a backup"),
    (newer, "start that version"),
])
def test_a_database_that_does_not_open_says_what_to_do(new_box, harm, words):
    box = new_box(nodes=0)
    plane = box.plane
    plane.stop()
    for suffix in ("-wal", "-shm"):
        pathlib.Path(f"{db_path(plane)}{suffix}").unlink(missing_ok=True)
    harm(db_path(plane))
    before = sorted(p.name for p in db_path(plane).parent.iterdir())
    for argv in (("run",), ("admin", "user", "list")):
        done = plane.command(*argv, "--data", plane.data)
        assert done.returncode == 1, done
        assert words in done.stderr and ("fairlead.db" in done.stderr or "999-future" in done.stderr), done
    left = {p.name for p in db_path(plane).parent.iterdir()} - {"fairlead.db-wal", "fairlead.db-shm", "fairlead.db.lock"}
    assert left <= set(before), "it made a new database in the place of the lost one"


# ---- the disk ---------------------------------------------------------------------------------------

@pytest.fixture
def small_disk(request):
    """A function that makes a plane whose data folder is a small file system of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = []

    def make(options):
        if libc.unshare(CLONE_NEWNS) != 0:
            pytest.skip("no mount namespaces here")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        box = flsandbox.Sandbox(nodes=0)
        box.plane.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", box.plane.data], check=True)
        made.append(box)
        box.start()
        return box

    yield make
    for box in made:
        data = box.plane.data
        for p in [box.plane, *box.agents, *box.extra]:
            p.end_everything()
        subprocess.run(["umount", "-l", data], check=False)
        check_and_stop(box, request)


def fill(folder):
    """Takes all the room there is; the file to remove."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as f:
        for size in (1 << 16, 4096, 512, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                pass
    return filler


@need_root
def test_full_disk(small_disk):
    """What writes is refused, and said once; what reads, and the nodes' channels, go on; a reply that came
    meanwhile arrives, once, when there is room again, with no restart of anything."""
    box = small_disk("size=14m,mode=0755")
    plane = box.plane
    agent = box.new_agent()
    agent.wait_online(plane)
    agent.folder.chmod(0o755)
    ran, go = agent.folder / "ran", agent.folder / "go"
    slow = send(plane, agent.node_id, f"echo ran >> {ran}; while ! test -e {go}; do sleep 0.1; done; echo kept")
    flsandbox.wait_for("the command to run", lambda: ran.exists() and plane.api.call(
        "GetCommandInvocation", CommandId=slow, InstanceId=agent.node_id)["Status"] == "InProgress", 30)
    filler = fill(plane.data)
    accepted, errors = [], []
    for _ in range(2000):  # the log has some room of its own left
        error, command = refused(plane, agent.node_id)
        if error:
            errors.append(error)
        else:
            accepted.append(command)
        if len(errors) == 20:
            break
    assert len(errors) == 20
    assert {(e.status, e.code) for e in errors} == {(503, "ServiceUnavailable")}
    # SDKs try again by themselves, and do not take it for their own mistake.
    # It answers from memory for a second, and the little that it writes may still have found room.
    flsandbox.wait_for("unreadiness", lambda: plane.api.get("/readyz")[0] == 503, 20)
    assert plane.api.get("/healthz")[0] == 200
    assert metric(plane, "fairlead_store_writable") == 0 and metric(plane, "fairlead_store_failed_commits_total") > 0
    assert plane.api.call("ListCommands", MaxResults=1)["Commands"]
    go.touch()
    time.sleep(1.5)  # the reply comes, and is refused
    assert plane.api.call("GetCommandInvocation", CommandId=slow, InstanceId=agent.node_id)["Status"] == "InProgress"
    # A node that comes back now is connected too, with fresh credentials.
    agent.stop()
    forget_credentials(agent)
    agent.start()
    flsandbox.wait_for("the channel", lambda: plane.api.call(
        "GetConnectionStatus", Target=agent.node_id)["Status"] == "connected", 20)
    time.sleep(1)
    assert plane.api.call("GetConnectionStatus", Target=agent.node_id)["Status"] == "connected"
    said = log_count(plane, "store: cannot be written")
    assert 1 <= said <= 5, "it is said once each time that it begins"
    assert log_count(plane, "request failed") == log_count(plane, "command work failed") == 0
    filler.unlink()
    got = settled(plane, slow, agent.node_id, 30)
    assert (got["Status"], got["StandardOutputContent"]) == ("Success", "kept\n")
    assert ran.read_text() == "ran\n"
    for command in [*accepted, send(plane, agent.node_id, "true")]:
        assert settled(plane, command, agent.node_id)["Status"] == "Success"
    assert log_count(plane, "store: can be written again") == log_count(plane, "store: cannot be written")
    assert metric(plane, "fairlead_store_writable") == 1
    plane.kill()
    books(db_path(plane)).close()


@need_root
def test_full_inodes(small_disk):
    """No file can be made: a running plane needs none, and one that was killed starts in the room that it left."""
    box = small_disk("size=30m,nr_inodes=200,mode=0755")
    plane = box.plane
    node = refnode.RefNode(plane.endpoint, plane.ca_file)
    node.online(plane.activation())
    folder = plane.data / "many"
    folder.mkdir()
    n = 0
    with pytest.raises(OSError):
        for n in range(1000):
            (folder / str(n)).touch()
    for _ in range(20):
        assert settled(plane, send(plane, node.node_id, "true"), node.node_id)["Status"] == "Success"
    plane.kill()
    plane.restart()
    node.thread.join(10)
    node.open()
    assert settled(plane, send(plane, node.node_id, "true"), node.node_id)["Status"] == "Success"
    node.close()


@need_strace
@pytest.mark.parametrize("inject", ["fdatasync,fsync:error=EIO", "pwrite64:error=EROFS", "pwrite64:error=EIO"])
def test_failing_disk(new_box, new_node, inject):
    """A write or a sync that fails is never acknowledged, and the plane goes on by itself."""
    box = new_box(nodes=0)
    plane = box.plane
    node = new_node(plane=plane)
    node.on_job = node.answer_success
    before = [send(plane, node.node_id, "true") for _ in range(3)]
    with Tracer(lambda: [plane.pid], inject, box.folder):
        for _ in range(5):
            error, _ = refused(plane, node.node_id)
            assert error and (error.status, error.code) == (503, "ServiceUnavailable"), error
        assert plane.api.call("ListCommands", MaxResults=1)["Commands"]
    after = [send(plane, node.node_id, "true") for _ in range(3)]
    for command in before + after:
        assert settled(plane, command, node.node_id)["Status"] == "Success"
    assert log_count(plane, "store: cannot be written") == log_count(plane, "store: can be written again") == 1
    plane.kill()
    db = books(db_path(plane))
    there = {c for c, in db.execute("SELECT command_id FROM command")}
    db.close()
    assert there == set(before + after), "a command that was refused is there"


@need_strace
@long
def test_slow_disk(new_box, new_node):
    """Every sync takes two seconds: writers wait together, readers not at all, and it is over when it is."""
    box = new_box(nodes=0)
    plane = box.plane
    node = new_node(plane=plane)
    node.on_job = node.answer_success
    accepted, failed, lock = [], [], threading.Lock()

    def one():
        try:
            command = send(plane, node.node_id, "true")
        except (OSError, flapi.ApiError) as e:
            with lock:
                failed.append(e)
            return
        with lock:
            accepted.append(command)

    with Tracer(lambda: [plane.pid], "fdatasync,fsync:delay_exit=2000000", box.folder):
        threads = [threading.Thread(target=one) for _ in range(30)]
        started = time.monotonic()
        for t in threads:
            t.start()
        time.sleep(0.5)
        read = time.monotonic()
        plane.api.call("ListCommands", MaxResults=1)
        read = time.monotonic() - read
        for t in threads:
            t.join()
        took = time.monotonic() - started
    assert not failed and len(accepted) == 30, failed
    assert read < 1.5, "reading waited for the writers' disk"
    assert took < 30, "thirty commands did not share their syncs"
    for command in accepted:
        assert settled(plane, command, node.node_id)["Status"] == "Success"


@long
def test_a_call_that_waits_too_long_is_not_done(new_box):
    """Another program keeps the database locked: calls are answered within their time, with nothing done."""
    box = new_box(nodes=0)
    plane = box.plane
    other = sqlite3.connect(db_path(plane), isolation_level=None)
    answers, lock = [], threading.Lock()

    def one(i):
        started = time.monotonic()
        try:
            plane.api.call("CreateActivation", IamRole="fleet", Description=f"late {i}")
            error = None
        except flapi.ApiError as e:
            error = e
        with lock:
            answers.append((time.monotonic() - started, error))

    other.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
        time.sleep(0.1)  # one begins, the others wait behind it
    plane.api.call("ListCommands")
    for t in threads:
        t.join()
    other.execute("ROLLBACK")
    other.close()
    assert {(e.status, e.code) for _, e in answers if e} == {(503, "ServiceUnavailable")}
    assert all(e for _, e in answers) and max(took for took, _ in answers) < 20, answers
    assert any("nothing was done" in e.message for _, e in answers), answers
    plane.activation(Description="in time")
    texts = [a.get("Description", "") for a in plane.api.call("DescribeActivations")["ActivationList"]]
    assert texts == ["in time"]


# ---- clones -----------------------------------------------------------------------------------------

def clones(plane):
    done = plane.command("admin", "clone", "list", "--json", "--data", plane.data)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def copy_agent(box, agent):
    """The same node on another machine."""
    agent.stop()
    twin = flsandbox.Agent(box.folder / "nodes" / "twin", box.build, agent.endpoint, agent.ca_file)
    shutil.copytree(agent.state, twin.state)
    if agent.config.exists():
        shutil.copyfile(agent.config, twin.config)
    twin.node_id = agent.node_id
    box.extra.append(twin)
    agent.start()
    agent.wait_online(box.plane)
    return twin


@pytest.mark.slow
def test_cloned_agent(new_box):
    """Two real agents from one state folder: both are told of, each command runs once, and nobody fights."""
    box = new_box(nodes=1)
    plane, agent = box.plane, box.agents[0]
    twin = copy_agent(box, agent)
    box.folder.chmod(0o755)
    ran = box.folder / "ran"
    ran.touch()
    ran.chmod(0o666)
    assert clones(plane) == []
    opens = metric(plane, "fairlead_channel_opens_total")
    twin.start()
    commands = []
    for i in range(12):
        commands.append(send(plane, agent.node_id, f"echo {i} >> {ran}"))
        time.sleep(0.4)
    for command in commands:
        assert settled(plane, command, agent.node_id, 90)["Status"] == "Success"
    assert sorted(ran.read_text().split(), key=int) == [str(i) for i in range(12)]
    found, = clones(plane)
    assert found["InstanceId"] == agent.node_id and found["Evidence"] == "channels"
    assert found["Address"] == found["OtherAddress"] == "127.0.0.1"
    assert agent.running() and twin.running()
    assert metric(plane, "fairlead_channel_opens_total") - opens <= 3, "the two fight for the channel"
    assert metric(plane, "fairlead_clone_sightings_total") >= 1
    assert "two machines hold one node's identity" in plane.log.read_text()
    audit = [json.loads(line) for line in (plane.data / "audit/audit.log").read_text().splitlines()]
    assert sum(line.get("operation") == "fairlead:CloneSighted" for line in audit) >= 2
    said = [a.log.read_text() for a in (agent, twin)]
    assert any("another machine connects with this node's identity" in text or
               "another machine connects with the identity" in text for text in said), said
    done = plane.command("admin", "clone", "forget", agent.node_id, "--data", plane.data)
    assert done.returncode == 0


def test_a_clone_with_another_fingerprint_gets_nothing(new_box, new_node):
    box = new_box(nodes=0)
    node = new_node(plane=box.plane)
    twin = refnode.RefNode(box.plane.endpoint, box.plane.ca_file)
    twin.key, twin.node_id = node.key, node.node_id
    with pytest.raises(refnode.NodeError) as e:
        twin.get_token()
    assert e.value.code == "MachineFingerprintDoesNotMatch"
    found, = flsandbox.wait_for("the sighting", lambda: clones(box.plane), 10)
    assert (found["Evidence"], found["OtherAddress"]) == ("fingerprint", "127.0.0.1")
    assert node.thread.is_alive()


# ---- key rotation -----------------------------------------------------------------------------------

def age_key(agent):
    """The next token makes it rotate its key."""
    path = agent.state / "Vault/Store/RegistrationKey"
    record = json.loads(path.read_text())
    record["privateKeyCreatedDate"] = "2020-01-01 00:00:00 +0000 UTC"
    path.write_text(json.dumps(record))
    return record["privateKey"]


def forget_credentials(agent):
    """So that the next start asks for a token."""
    (agent.state / "runtimeconfig/credentials.json").unlink(missing_ok=True)


def keys_of(plane, node_id):
    db = sqlite3.connect(f"file:{db_path(plane)}?mode=ro", uri=True)
    try:
        return db.execute("SELECT public_key, previous_public_key FROM node WHERE node_id = ?", (node_id,)).fetchone()
    finally:
        db.close()


def rotated(agent, old_private):
    """Whether the node has another key and nothing pending."""
    store = agent.state / "Vault/Store"
    return json.loads((store / "RegistrationKey").read_text())["privateKey"] != old_private and \
        not (store / "RegistrationKey.pending").exists()


def one_new_key(plane, agent, old_private):
    """And whether the plane accepts that key alone: it has signed a token request since."""
    return rotated(agent, old_private) and keys_of(plane, agent.node_id)[1] is None


def finish_rotation(plane, agent, old_private, what):
    """Starts the agent until the rotation has come to its end."""
    for _ in range(3):
        forget_credentials(agent)
        agent.start()
        agent.wait_online(plane)
        try:
            flsandbox.wait_for(what, lambda: one_new_key(plane, agent, old_private), 4)
            return
        except flsandbox.SandboxError:
            pass
        finally:
            agent.stop()
    raise AssertionError(f"{what}: {keys_of(plane, agent.node_id)}, {sorted(os.listdir(agent.state / 'Vault/Store'))}")


AGENT_WRITES = ("rename", "fsync", "unlink", "fchmod", "sendto")


@need_strace
@pytest.mark.slow
@all_points
def test_rotation_killed_at_each_write_of_the_agent(new_box, full):
    """Monitor, net or key process die at each write of a rotation: the node is never locked out, and one key is
    left in the end."""
    box = new_box(nodes=0)
    plane = box.plane
    agent = flsandbox.Agent(box.folder / "nodes/1", box.build, plane.endpoint, plane.ca_file)
    box.agents.append(agent)
    agent.configure(Profile={"KeyAutoRotateDays": 1})
    agent.register(plane.activation())
    # (system call, its N-th in any one process)
    points = [(c, n) for c in AGENT_WRITES for n in range(1, 9)] if full else \
        [("rename", 2), ("unlink", 1)]
    killed = 0
    for call, n in points:
        old = age_key(agent)
        forget_credentials(agent)
        trace = box.folder / "trace"
        trace.write_text("")
        with open(agent.log, "ab") as log:
            child = subprocess.Popen(["strace", "-f", "-o", trace, "-e", f"trace={call}", "-e",
                                      f"inject={call}:signal=KILL:when={n}", *[str(a) for a in agent.argv()]],
                                     env=dict(agent.env(), **TRACED), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True, preexec_fn=flproc.die_with_parent)
        try:
            flsandbox.wait_for("a death", lambda: "killed by SIGKILL" in trace.read_text() or child.poll() is not None or
                               rotated(agent, old), 20)
            killed += "killed by SIGKILL" in trace.read_text()
        finally:
            flproc.end(flproc.tree(child.pid), 1)
            child.wait()
        finish_rotation(plane, agent, old, f"one key after {call} {n}")
    assert killed >= 2


@need_strace
@pytest.mark.slow
@pytest.mark.parametrize("nth", [2, *(pytest.param(n, marks=long) for n in (1, 3, 4, 5, 6))])
def test_rotation_and_the_plane_killed(new_box, nth):
    """The plane dies before or after it has committed what a rotation asks of it."""
    box = new_box(nodes=0)
    plane = box.plane
    agent = flsandbox.Agent(box.folder / "nodes/1", box.build, plane.endpoint, plane.ca_file)
    box.agents.append(agent)
    agent.configure(Profile={"KeyAutoRotateDays": 1})
    agent.register(plane.activation())
    old = age_key(agent)
    with Tracer(lambda: [plane.pid], f"fdatasync:signal=KILL:when={nth}", box.folder):
        agent.start()
        flsandbox.wait_for("the plane's death", lambda: not plane.running() or rotated(agent, old), 20)
    if plane.running():
        plane.kill()
    agent.stop()
    plane.restart()
    finish_rotation(plane, agent, old, f"one key after commit {nth}")
