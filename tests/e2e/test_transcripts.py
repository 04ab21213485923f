"""Transcripts of sessions: recorded by our plane between the reference peers, read with `fairlead`."""
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import termios
import threading

import pytest

import conftest
import flsandbox
import refnode
import test_iam
import test_sessions
import wire

OK, FAILED, SERVICE, INTERRUPTED = 0, 1, 3, 130


class Recorded(test_sessions.Place):
    """A plane with a node, and its operator's client."""

    def __init__(self, box):
        super().__init__(box.plane)
        self.box = box

    def cli(self, *args, **env):
        return subprocess.run([str(self.box.build / "fairlead"), *map(str, args)], env=dict(self.box.env(), **env),
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)

    def rows(self, *args):
        done = self.cli("transcripts", *args, "--json")
        assert done.returncode == OK, done
        return [json.loads(line) for line in done.stdout.splitlines()]

    def transcript(self, session_id):
        return next((r for r in self.rows("list") if r["SessionId"] == session_id), None)

    def ended(self, session_id):
        """Its row, once it has an end."""
        return flsandbox.wait_for("the end of the transcript", lambda: (
            r := self.transcript(session_id)) and "EndDate" in r and r)

    def file(self, session_id):
        return self.plane.data / "transcripts" / session_id

    def said(self, document=None, keys=b"echo ma$((1))ker; exit\r", **members):
        """A session in which that was typed, to its end; its id."""
        client, _ = self.start(document, **members)
        client.wait_ready()
        client.send(keys)
        assert client.wait_end() == "closed", client
        self.ended(client.session_id)
        return client.session_id

    def document(self, name, **inputs):
        self.call("CreateDocument", Name=name, DocumentType="Session", Content=json.dumps({
            "schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs}))
        return name


@pytest.fixture
def recorded(new_box):
    made = []

    def make(**conf):
        made.append(Recorded(new_box(nodes=0, conf=conf)))
        return made[-1]

    yield make
    for p in made:
        p.close()


def whole(place, session_id):
    done = place.cli("transcripts", "verify", session_id)
    assert done.returncode in (OK, FAILED), done
    return done.returncode == OK


def test_what_was_said(recorded, tmp_path):
    place = recorded()
    session = place.said()
    row = place.transcript(session)
    assert row["Target"] == place.target and row["Recorded"] == "output" and row["SessionType"] == "Standard_Stream"
    assert whole(place, session)
    found = place.rows("search", "MA1KER", "--node", place.target)
    assert [f["Line"] for f in found] == ["ma1ker"] and found[0]["SessionId"] == session
    assert place.rows("search", "ma2ker") == []

    raw = place.cli("transcripts", "export", "--raw", session).stdout
    assert b"\r\nma1ker\r\n" in raw
    cast = [json.loads(line) for line in place.cli("transcripts", "export", "--asciicast", session).stdout.splitlines()]
    assert cast[0]["version"] == 2 and (cast[0]["width"], cast[0]["height"]) == (300, 100)
    assert "".join(e[2] for e in cast[1:] if e[1] == "o").encode() == raw
    times = [e[0] for e in cast[1:]]
    assert times == sorted(times) and cast[-1][1:] == ["m", "Terminated"]
    assert place.cli("replay", session).stdout == raw
    out = tmp_path / "x.cast"
    assert place.cli("transcripts", "export", "-o", out, session).returncode == OK
    assert len(out.read_text().splitlines()) == len(cast)
    assert place.cli("replay", "nobody-0123456789abcdef0").returncode == SERVICE


def test_search(recorded):
    """Out of the index, which the file is not needed for; a password that was typed is not in it."""
    place = recorded(TranscriptInput=True)
    client, _ = place.start()
    client.wait_ready()
    client.send(b"stty -echo; echo re$((1))ady; read line; stty echo; echo thanks\r")
    client.wait_output(b"re1ady")
    client.send(b"hunter2hunter2\r")
    client.wait(lambda: client.output.endswith((b"$ ", b"# ")) and b"thanks\r\n" in client.output, 30, "the prompt")
    client.send(b"rm -rf /no/such/'PLACE of' mine; exit\r")
    assert client.wait_end() == "closed", client
    session = client.session_id
    place.ended(session)
    path = place.plane.data / "db/fairlead.db"

    def all_indexed():
        db = sqlite3.connect(path)
        left = db.execute("SELECT COUNT(*) FROM transcript WHERE indexed_bytes < file_bytes").fetchone()[0]
        db.close()
        return left == 0

    def search(*args):
        return [(m["SessionId"], m["Line"].lstrip("$# ")) for m in place.rows("search", *args)]

    flsandbox.wait_for("the transcript's last bytes", lambda: search("PLACE of"))  # what is found is up to a second old
    for where in "in the file", "in the index":
        assert search("place of") == search("RM -RF") == [(session, "rm -rf /no/such/'PLACE of' mine; exit")], where
        assert search("place of", "--case-sensitive") == search("RM -RF", "--case-sensitive") == [], where
        assert search("--node", place.target, "--since", "1h", "--case-sensitive", "PLACE of"), where
        assert search("--node", "mi-00000000000000000", "PLACE of") == search("--owner", "arn:x", "PLACE of") == [], where
        assert search("hunter2hunter2") == [], where
        flsandbox.wait_for("the index", all_indexed)
        if where == "in the file":
            place.file(session).rename(path.parent / "elsewhere")
    assert b"hunter2hunter2" in (path.parent / "elsewhere").read_bytes()  # recorded, as the setting says
    place.plane.stop()
    for file in path.parent.glob("fairlead.db*"):
        assert b"hunter2" not in file.read_bytes(), file
    assert b"PLACE of" in path.read_bytes()


def test_replay_on_a_terminal(recorded):
    place = recorded()
    hostile = rb"printf '\033]52;c;eA==\007\033[6n\033[?1000h\033[31mr\145d\n'"
    session = place.said(keys=b"echo o$((1))e; " + hostile + b"; sleep 1; echo t$((1))o; exit\r")

    def on_terminal(*args, interrupt_after=None):
        """(exit status, what the terminal got)"""
        pid, master = pty.fork()
        if pid == 0:
            # Else the kernel throws away what is written just as it sends the key's signal.
            attributes = termios.tcgetattr(0)
            attributes[3] |= termios.NOFLSH
            termios.tcsetattr(0, termios.TCSANOW, attributes)
            os.execve(place.box.build / "fairlead", ["fairlead", "replay", *args, session], place.box.env())
        got = b""
        try:
            while data := os.read(master, 4096):
                got += data
                if interrupt_after and interrupt_after in got:
                    interrupt_after = None
                    os.write(master, b"\x03")
        except OSError:
            pass  # the end of a terminal
        os.close(master)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), got.replace(b"\r\r\n", b"\r\n")

    code, got = on_terminal("--speed", "100")
    assert code == OK and b"o1e\r\n" in got and b"t1o\r\n" in got and got.endswith(b"\x1b[?1049l\r\n"), got
    # colours come, and nothing that the terminal would obey or answer
    assert b"\x1b[31mred" in got and b"\x1b]" not in got and b"\x1b[6n" not in got and b"\x1b[?1000h" not in got, got
    raw = place.cli("replay", session).stdout
    assert b"\x1b]52;c;eA==\x07\x1b[6n\x1b[?1000h\x1b[31mred" in raw, raw
    # the pause of a second is more than a minute now: only Ctrl-C ends it
    code, got = on_terminal("--speed", "0.01", "--max-idle", "1h", interrupt_after=b"o1e\r")
    assert code == INTERRUPTED and b"t1o" not in got and got.endswith(b"\x1b[?1049l\r\n"), (code, got)
    assert place.cli("replay", "--speed", "fast", session).returncode == 2


def test_audit_log_has_the_last_value(recorded):
    place = recorded()
    session = place.said()
    said = place.cli("transcripts", "verify", session).stdout.decode()
    ended = flsandbox.wait_for("the audit line", lambda: place.audit("fairlead:TranscriptEnded", session))
    assert len(ended) == 1 and ended[0]["resources"][1] in said


def test_all_that_was_recorded_is_there(recorded, tmp_path):
    """By the audit log, of which there is a copy elsewhere: what the plane's own root has done is found."""
    place = recorded()
    whole, removed, changed, forgotten = (place.said() for _ in range(4))
    for session in (whole, removed, changed, forgotten):
        flsandbox.wait_for("the audit line", lambda s=session: place.audit("fairlead:TranscriptEnded", s))

    def verify(*args):
        done = place.cli("transcripts", "verify", *args)
        words = {line.split(b": ")[0].decode(): line.split(b": ")[1] for line in done.stdout.splitlines()}
        return done.returncode, {s: w.split(b",")[0] for s, w in words.items()}
    audit = place.plane.data / "audit/audit.log"
    every = dict.fromkeys((whole, removed, changed, forgotten), b"whole")
    assert verify("--all") == verify("--audit", audit) == (OK, every)
    assert verify("--all", "--audit", audit, whole) == (OK, every)
    copy = tmp_path / "audit"
    head = place.audit("fairlead:TranscriptEnded", changed)[0]["resources"][1]
    copy.write_text(audit.read_text().replace(head, "0" * 64) + json.dumps(
        {"operation": "fairlead:TranscriptRemoved", "resources": [removed, "x"]}) + "\n")
    db = sqlite3.connect(place.plane.data / "db/fairlead.db")
    db.execute("DELETE FROM transcript WHERE session_id IN (?, ?)", (removed, forgotten))
    db.commit()
    db.close()
    for session in (removed, forgotten):
        place.file(session).unlink()
    assert verify("--all") == (OK, {whole: b"whole", changed: b"whole"})
    assert verify("--audit", copy) == (FAILED, {whole: b"whole", changed: b"NOT WHOLE", forgotten: b"NOT THERE"})
    place.file(whole).unlink()
    assert verify("--all") == (FAILED, {whole: b"NOT WHOLE", changed: b"whole"})
    assert place.cli("transcripts", "verify").returncode == 2
    assert place.cli("transcripts", "verify", "--audit", tmp_path / "none").returncode == SERVICE
    copy.write_text('{"operation":"fairlead:TranscriptEnded","resources":["\\u001b[2J/../x","y"]}\n')
    done = place.cli("transcripts", "verify", "--audit", copy)
    assert done.returncode == SERVICE and b"line 1 is not of an audit log" in done.stderr, done


@pytest.mark.parametrize("how", ["changed", "cut", "longer", "gone", "of another"])
def test_a_file_that_was_changed(recorded, how):
    place = recorded()
    session = place.said()
    path = place.file(session)
    data = bytearray(path.read_bytes())
    at = data.index(b"ma1ker")
    if how == "changed":
        data[at:at + 6] = b"nothin"
    path.write_bytes({"cut": data[:-200], "longer": data + b"x"}.get(how, data))
    if how == "gone":
        path.unlink()
    if how == "of another":
        shutil.copyfile(place.file(place.said()), path)
    done = place.cli("transcripts", "verify", session)
    assert done.returncode == FAILED and b"NOT WHOLE" in done.stdout, done
    if how != "longer":
        done = place.cli("transcripts", "export", session)
        assert done.returncode == SERVICE, done


@pytest.mark.parametrize("row", ["stored", "not stored"])
def test_the_plane_is_killed(recorded, row):
    """In mid-session: what was on disk stays, the chain goes on, both sides come back. Blocks come to the disk
    before their row to the store: what is not in the row is counted from them."""
    place = recorded()
    client, agent = place.start()
    client.wait_ready()
    client.send(b"echo be$((1))fore\r")
    client.wait_output(b"be1fore")
    path = place.file(client.session_id)
    flsandbox.wait_for("what was said on disk", lambda: path.exists() and b"be1fore" in path.read_bytes())
    if row == "stored":
        flsandbox.wait_for("its row", lambda: (
            r := place.transcript(client.session_id)) and r["BytesOut"] >= len("be1fore"))
    place.plane.kill(signal.SIGKILL)
    if row == "not stored":
        db = sqlite3.connect(place.plane.data / "db/fairlead.db")
        db.execute("DELETE FROM transcript WHERE session_id = ?", (client.session_id,))
        db.commit()
        db.close()
    with open(path, "ab") as f:
        f.write(b"half a block, as a power loss leaves it")
    place.plane.start()
    place.node.open()  # its end is told there
    flsandbox.wait_for("the agent back", lambda: agent.reconnects or agent.gave_up)
    flsandbox.wait_for("the client back", lambda: client.resumes or client.ended)
    assert client.ended is None, client
    client.send(b"echo af$((1))ter; exit\r")
    assert client.wait_end() == "closed", client
    ended = place.ended(client.session_id)
    done = place.cli("transcripts", "verify", client.session_id)
    assert done.returncode == OK, done
    raw = place.cli("transcripts", "export", "--raw", client.session_id).stdout
    assert b"be1fore" in raw and b"af1ter" in raw
    cast = place.cli("transcripts", "export", client.session_id).stdout.decode()
    assert "39 bytes cut off" in cast and ended["BytesOut"] == len(raw)


def test_what_was_seen_is_written(recorded):
    """However soon after it the plane is killed: before a byte goes on to the client, the kernel has it."""
    place = recorded()
    client, agent = place.start()
    client.wait_ready()
    for i in range(3):
        client.send(b"echo se$((%d))en\r" % i)
        client.wait_output(b"se%den" % i)
        place.plane.kill(signal.SIGKILL)
        assert b"se%den" % i in place.file(client.session_id).read_bytes()
        place.plane.start()
        done = place.cli("transcripts", "verify", client.session_id)
        assert done.returncode == OK and b"whole so far" in done.stdout, done
        assert b"se%den" % i in place.cli("transcripts", "export", "--raw", client.session_id).stdout
        place.node.open()
        flsandbox.wait_for("the client back", lambda i=i: client.resumes > i or client.ended)
        flsandbox.wait_for("the agent back", lambda i=i: agent.reconnects > i or agent.gave_up)
    client.send(b"exit\r")
    assert client.wait_end() == "closed", client
    ended = place.ended(client.session_id)
    assert place.cli("transcripts", "verify", client.session_id).stdout.startswith(client.session_id.encode() + b": whole, ")
    raw = place.cli("transcripts", "export", "--raw", client.session_id).stdout
    assert [raw.count(b"se%den" % i) for i in range(3)] == [1, 1, 1] and ended["BytesOut"] == len(raw)


def test_the_node_cannot_erase_it(recorded):
    """Whoever has the node has its credentials: nothing of what the plane keeps answers to them."""
    place = recorded()
    s3, logs = (conftest.client(place.plane, service) for service in ("s3", "logs"))
    s3.create_bucket(Bucket="transcripts")
    logs.create_log_group(logGroupName="/sessions")
    document = place.document("Kept", s3BucketName="transcripts", s3KeyPrefix="all/of", cloudWatchLogGroupName="/sessions",
                              cloudWatchStreamingEnabled=True)
    client, _ = place.start(document)
    client.wait_ready()
    client.send(b"echo ma$((1))ker\r")
    client.wait_output(b"ma1ker")
    session = client.session_id

    def streamed():
        try:
            events = logs.get_log_events(logGroupName="/sessions", logStreamName=session, startFromHead=True)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        lines = [line for e in events for line in json.loads(e["message"])["sessionData"]]
        return "ma1ker" in lines and json.loads(events[0]["message"])

    event = flsandbox.wait_for("lines in the log stream", streamed)
    assert event["sessionId"] == session and event["target"] == {"id": place.target}
    client.send(b"exit\r")
    client.wait_end()
    place.ended(session)
    key = f"all/of/{session}.log"
    body = flsandbox.wait_for("the object", lambda: next(
        (s3.get_object(Bucket="transcripts", Key=o["Key"])["Body"].read()
         for o in s3.list_objects_v2(Bucket="transcripts").get("Contents", []) if o["Key"] == key), None))
    assert body.startswith(b"Script started on ") and b"\r\nma1ker\r\n" in body

    node = place.node
    for method, path in (("DELETE", f"/transcripts/{key}"), ("PUT", f"/transcripts/{key}"), ("GET", f"/transcripts/{key}")):
        data = b"nothing happened" if method == "PUT" else b""
        headers = node.signed(method, path, "", data, "s3", {"x-amz-content-sha256": wire.sha256_hex(data)})
        status, _, text = node.http(method, path, data, headers)
        assert status == 403, (method, status, text)
    for call in (("logs", "Logs_20140328.", "DeleteLogStream", {"logGroupName": "/sessions", "logStreamName": session}),
                 ("logs", "Logs_20140328.", "DeleteLogGroup", {"logGroupName": "/sessions"}),
                 ("logs", "Logs_20140328.", "PutRetentionPolicy", {"logGroupName": "/sessions", "retentionInDays": 1}),
                 ("fairlead", "Fairlead.", "GetTranscript", {"SessionId": session}),
                 ("fairlead", "Fairlead.", "ListTranscripts", {})):
        with pytest.raises(refnode.NodeError) as e:
            node.service_call(*call)
        assert "AccessDenied" in e.value.code, (call, e.value)
    assert s3.get_object(Bucket="transcripts", Key=key)["Body"].read() == body
    assert streamed() and whole(place, session)
    where = place.row(session)["OutputUrl"]
    assert where["S3OutputUrl"].endswith(f"/transcripts/{key}")
    assert where["CloudWatchOutputUrl"].endswith(f"group=/sessions;stream={session}")


def test_an_alarm_ends_the_session(recorded):
    place = recorded(SessionAlarms=[{"Name": "root-shell", "Pattern": r"\bsudo\s+su\b", "End": True},
                                    {"Name": "look", "Pattern": "look"}])
    client, agent = place.start()
    client.wait_ready()
    client.send(b"echo look; echo do$((1))ne\r")
    client.wait_output(b"do1ne\r\n")  # else what is shown late would be taken for the line typed next
    client.send(b"echo x sudo   su\r")
    assert client.wait_end() == "closed", client
    agent.wait_end()
    place.until(client.session_id, "Terminated")
    told = flsandbox.wait_for("the audit lines", lambda: (
        a := place.audit("fairlead:SessionAlarm", client.session_id)) and len(a) == 2 and a)
    assert [a["resources"][2] for a in told] == ["look", "root-shell"]
    assert "sudo" not in json.dumps(told)
    assert place.ended(client.session_id)["Alarms"] == 2
    assert re.search(r"^fairlead_session_alarms_total 2$", place.plane.api.get("/metrics")[1], re.M)


def test_a_tunnel(recorded):
    place = recorded()
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = server.accept()
        sock.sendall(sock.recv(100)[::-1])
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    client, agent = place.start("AWS-StartPortForwardingSession", Parameters={
        "portNumber": [str(server.getsockname()[1])], "localPortNumber": ["0"]})
    client.wait_ready()
    with socket.create_connection(client.port.address, 30) as sock:
        sock.sendall(b"private words")
        assert sock.recv(100) == b"sdrow etavirp"
    client.interrupt()
    row = place.ended(client.session_id)
    assert row["Recorded"] == "counts" and row["Endpoint"] == f"localhost:{server.getsockname()[1]}"
    assert row["BytesIn"] >= 13 and row["BytesOut"] >= 13
    data = place.file(client.session_id).read_bytes()
    assert b"private words" not in data and b"sdrow etavirp" not in data
    assert whole(place, client.session_id)


def test_who_may_read(recorded):
    place = recorded()
    session = place.said()

    def keys(name, action, resource):
        key, secret = test_iam.new_user(place.plane, name, {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": resource}]})
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    reader = keys("reader", "fairlead:*", f"arn:aws:ssm:*:*:session/{session}")
    other = keys("other", "ssm:*", "*")
    assert place.cli("transcripts", "verify", session, **reader).returncode == OK
    for args in (("transcripts", "list"), ("transcripts", "search", "x")):
        assert place.cli(*args, **reader).returncode == SERVICE
    assert place.cli("replay", session, **other).returncode == SERVICE


def test_what_cannot_be_recorded_may_not_be(recorded):
    place = recorded(Transcripts="required", TranscriptMaxBytes=4096)
    client, agent = place.start()
    client.wait_ready()
    client.send(b"seq 10000\r")
    assert client.wait_end(60) == "closed", client
    assert "The session must be recorded, and its transcript is full." in place.until(
        client.session_id, "Terminated")["Details"]
    shutil.rmtree(place.plane.data / "transcripts")
    assert "transcripts cannot be written: No such file or directory" in test_sessions.refused(
        place.start, "InternalServerError")


def test_off(recorded):
    place = recorded(Transcripts="off")
    client, agent = place.start()
    client.wait_ready()
    client.send(b"exit\r")
    client.wait_end()
    assert place.rows("list") == []
    assert os.listdir(place.plane.data / "transcripts") == []  # made by the start before


def test_our_agent_and_client(new_box):
    """`fairlead exec` on a real node: standard output and error, the exit code."""
    box = new_box(nodes=1)
    node = box.agents[0].node_id

    def cli(*args):
        return subprocess.run([str(box.build / "fairlead"), *args], env=box.env(), capture_output=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False)

    done = cli("exec", node, "--", "sh", "-c", "echo wo$((1))rd; echo er$((1))ror >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"wo1rd\n", b"er1ror\n"), done
    row = flsandbox.wait_for("its transcript", lambda: next(
        (r for r in map(json.loads, cli("transcripts", "list", "--json").stdout.splitlines()) if "EndDate" in r), None))
    assert row["Target"] == node and row["Recorded"] == "output"
    cast = cli("transcripts", "export", row["SessionId"]).stdout.decode()
    assert "wo1rd" in cast and "er1ror" in cast and "EXIT_CODE: 7" in cast
    assert cli("transcripts", "verify", row["SessionId"]).returncode == OK
