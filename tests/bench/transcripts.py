"""Searching transcripts: 1,000 of them with 100 MB of output, by the index and, as a yardstick, in the files."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import sqlite3
import struct
import time

import flproc
import flsandbox

SESSIONS, SESSION_BYTES = 1000, 100_000
NAMES = ("transcripts: search of 100 MB, by the index", "transcripts: index on the disk, of 100 MB",
         "transcripts: CPU to index 100 MB")
TEXT = "rm -rf /srv/needle"  # on one line of one session
NUMBER = "UPDATE transcript SET indexed_bytes = {}"


class Ruler:
    NAME = "in the files"


class Writer:
    """Files and rows as the plane makes them (server/session/transcript_file.h)."""

    def __init__(self, plane):
        seal = (plane.data / "keys/seal").read_bytes()
        seal = seal if len(seal) == 32 else base64.b64decode(seal)
        self.key = hmac.new(seal, b"fairlead transcripts 1", hashlib.sha256).digest()
        self.data, self.conf = plane.data, json.loads((plane.data / "server.json").read_text())
        self.random = random.Random(1)
        self.lines = [line for path in sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
                      for line in path.read_bytes().splitlines() if line.strip()]

    def output(self, extra=b""):
        out, size = [], 0
        while size < SESSION_BYTES:
            line = b"\x1b[32m%d\x1b[0m %s\r\n" % (size, self.random.choice(self.lines))
            out.append(line)
            size += len(line)
        out.insert(len(out) // 2, extra)
        return b"".join(out)

    def file(self, session, text):
        mac, blocks = hashlib.sha256(session.encode()).digest(), [b"fairlead transcript 1\n"]
        for number, at in enumerate(range(0, len(text), 8000)):
            data = text[at:at + 8000]
            body = struct.pack(">cQI", b"O", 1_700_000_000_000 + at, len(data)) + data
            block = struct.pack(">QQI", number, 1_700_000_000_000, len(body)) + body
            mac = hmac.new(self.key, mac + block, hashlib.sha256).digest()
            blocks += [block, mac]
        path = self.data / "transcripts" / session
        path.write_bytes(b"".join(blocks))
        os.chmod(path, 0o600)
        return path.stat().st_size, (len(blocks) - 1) // 2, mac.hex()

    def rows(self):
        db = sqlite3.connect(self.data / "db/fairlead.db")
        for n in range(SESSIONS):
            session = f"bench-{n:017d}"
            size, blocks, mac = self.file(session, self.output(f"$ {TEXT}\r\n".encode() if n == SESSIONS // 3 else b""))
            db.execute("INSERT INTO transcript VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0,0,0,0,0)", (
                session, self.conf["Account"], flsandbox.REGION, "mi-0123456789abcdef0", "arn:x", "d", "Standard_Stream",
                "", "output", int(time.time() * 1000) - 1000 * (SESSIONS - n), int(time.time() * 1000), size, blocks, mac, 0,
                SESSION_BYTES, 0, "", n + 1))
        db.commit()
        db.close()


def call(api, operation, members):
    body = json.dumps(members).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "host": api.netloc, "x-amz-target": "Fairlead." + operation}
    api.sign(headers, body, "fairlead")
    status, _, text = api.raw(body, headers)
    return api.answer(status, text)


def search(api):
    """(milliseconds, matches) of a search to its last page."""
    began, found, token = time.perf_counter(), [], {}
    while True:
        page = call(api, "SearchTranscripts", {"Text": TEXT, **token})
        found += page["Matches"]
        if "NextToken" not in page:
            return (time.perf_counter() - began) * 1e3, found
        token = {"NextToken": page["NextToken"]}


def one(path, statement):
    db = sqlite3.connect(path, timeout=30)
    value = db.execute(statement).fetchone()
    db.commit()
    db.close()
    return value[0] if value else None


def restart(plane, index_max, indexed):
    plane.stop()
    plane.configure(TranscriptIndexMaxBytes=index_max)
    one(plane.data / "db/fairlead.db", NUMBER.format(indexed))
    plane.start()


def measure(bench):
    if not bench.wanted(*NAMES):
        return
    bench.note("transcripts: 1,000 with 100 MB")
    with flsandbox.Sandbox(nodes=0, build=bench.args.build) as box:
        plane, path = box.plane, box.plane.data / "db/fairlead.db"
        plane.stop()
        Writer(plane).rows()
        restart(plane, 0, -1)
        before = path.stat().st_size
        in_files = [search(plane.api) for _ in range(3)]
        restart(plane, 1 << 30, 0)
        cpu = flproc.cpu_seconds([plane.pid])
        flsandbox.wait_for("the index", lambda: not one(
            path, "SELECT COUNT(*) FROM transcript WHERE indexed_bytes < file_bytes"), 600, 0.5)
        cpu = flproc.cpu_seconds([plane.pid]) - cpu
        by_index = [search(plane.api) for _ in range(bench.runs)]
        assert all(len(found) == 1 for _, found in in_files + by_index), "not found once"
        plane.stop()  # which puts all of the log into the database
        bench.put(NAMES[0], [ms for ms, _ in by_index], [ms for ms, _ in in_files], Ruler)
        bench.put(NAMES[1], (path.stat().st_size - before) / (SESSIONS * SESSION_BYTES))
        bench.put(NAMES[2], cpu)
