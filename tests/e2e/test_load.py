"""The load test (tests/bench/load.py) at a size that takes seconds: that the swarm works, and that every
command is accounted for. Times are not judged here: `make check-load` does that."""
import json
import os
import subprocess
import sys

import pytest

import flsandbox

pytestmark = [pytest.mark.once, pytest.mark.first]


def test_a_small_fleet_under_every_load(build, tmp_path):
    out = tmp_path / "load.json"
    done = subprocess.run(
        [sys.executable, str(flsandbox.ROOT / "tests/bench/load.py"), "--build", str(build), "--scale", "0.002",
         "--seconds", "2", "--idle-s", "1", "--settle-s", "0", "--json", str(out)],
        capture_output=True, text=True, timeout=300)
    assert out.exists(), done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    seen = {(r["scenario"], r["what"]): r["value"] for r in rows}

    # Rows without a budget are about what was done, not about how fast.
    wrong = [r for r in rows if not r["ok"] and r["budget"] is None]
    assert not wrong, (wrong, done.stderr)
    assert seen["idle", "nodes online"] == 30
    assert seen["herd", "connections cut"] == 20
    assert seen["command", "invocations that succeeded"] == 20
    assert seen["account", "commands accepted"] == 1 + 20  # a tenth of 500 a second would be too many here
    assert seen["restart", "tries"] >= 30
    if os.geteuid() == 0:
        assert seen["sessions", "that echo"] == seen["sessions", "processes: holder"] == 5
