"""Every part of `make check-soak` at a tiny scale, so that it keeps running; what it is about shows at scale 1."""
import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import fastclock  # noqa: E402
import soak  # noqa: E402

# One fast clock at a time: what waits for others to get the processor is late by hours.
pytestmark = [pytest.mark.once, pytest.mark.xdist_group("soak"), pytest.mark.first]

SCALE = {"week": 0.008, "documents": 0.0004, "rotations": 0.006, "commands": 0.001, "connects": 0.004, "slow-reader": 0.05}
FAST_CLOCK = {"week", "rotations", "commands"}


def is_sanitized(build):
    return "libasan" in subprocess.run(["ldd", str(build / "fairlead-agent")], capture_output=True, text=True,
                                       check=True).stdout


@pytest.mark.parametrize("part", soak.PARTS, ids=lambda p: p.NAME)
def test_soak(part, build, tmp_path):
    if part.NAME in FAST_CLOCK and not fastclock.library():
        pytest.skip("libfaketime is missing: scripts/deps --test installs it")
    if part.NAME in FAST_CLOCK and is_sanitized(build):
        pytest.skip("AddressSanitizer wants to be the first library, libfaketime too")
    for p in tmp_path.parents:  # as conftest's new_agent: the network part is another user
        if p.stat().st_uid == 0 and p != pathlib.Path("/"):
            p.chmod(p.stat().st_mode | 0o711)
    run = soak.run_part(part, build, tmp_path, SCALE[part.NAME])
    # Freed memory stays in the sanitizer's quarantine for a while: its growth says nothing.
    assert [f for f in run.failed if not (is_sanitized(build) and ": Rss " in f)] == []
