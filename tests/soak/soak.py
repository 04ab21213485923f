#!/usr/bin/python3
"""Long runs, made short by a fast clock or high rates: what grows, leaks or stops after a week shows here.

    make check-soak [T=WORD] [SCALE=0.1]      only parts whose name holds WORD; a tenth of the amounts
    tests/soak/soak.py [--build DIR] [--only WORD] [--scale F] [--json FILE]

A part is a module here with NAME, ABOUT and run(run). The end-to-end tests run each at a tiny scale, where
memory is only watched loosely. Exit status 1 if a check failed.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(ROOT / "scripts/lib"), str(ROOT / "tests/e2e")]
import flproc  # noqa: E402
import commands  # noqa: E402
import connects  # noqa: E402
import documents  # noqa: E402
import rotations  # noqa: E402
import slow_reader  # noqa: E402
import week  # noqa: E402

PARTS = [documents, commands, week, rotations, slow_reader, connects]  # the longest first
# Shorter runs tell less well what grows from what fills up or merely varies: from this scale on, memory may grow
# by that share, descriptors and threads by that many.
STRICTNESS = ((0.5, 0.01, 0), (0.05, 0.05, 2), (0, 0.25, 8))
LANES = 2  # parts at a time: some mostly wait


class Run:
    """One part under way: what it may use, and where it says what it saw."""

    def __init__(self, build, place, scale, say=lambda text: None):
        self.build, self.place, self.scale, self.say = build, place, scale, say
        self.checks, self.figures = [], {}
        self.flat, self.slack = next((flat, slack) for least, flat, slack in STRICTNESS if scale >= least)
        # The network part of an agent started by root runs as another user, who must get through here.
        place.chmod(0o755)

    def count(self, full, least=1):
        return max(least, int(full * self.scale))

    def check(self, what, ok, detail=""):
        self.checks.append((what, bool(ok), str(detail)))
        self.say(f"  {'ok  ' if ok else 'FAIL'}  {what}: {detail}")

    def figure(self, name, value, unit=""):
        self.figures[name] = {"value": value, "unit": unit}

    @property
    def failed(self):
        return [f"{what}: {detail}" for what, ok, detail in self.checks if not ok]


def run_part(part, build, place, scale, say=lambda text: None):
    """The Run of a part; raises what the part raises."""
    run = Run(pathlib.Path(build), pathlib.Path(place), scale, say)
    started = time.monotonic()
    part.run(run)
    run.figure("seconds", round(time.monotonic() - started, 1), "s")
    return run


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    ap.add_argument("--only", default="")
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--json", type=pathlib.Path)
    args = ap.parse_args()
    args.build = args.build.resolve()
    args.json = args.json or args.build / "soak.json"
    flproc.become_subreaper()

    parts = [p for p in PARTS if args.only in p.NAME]
    report = one(parts[0], args) if len(parts) == 1 else each_by_itself(parts, args)
    failed = sum(len(r["failed"]) for r in report.values())
    args.json.write_text(json.dumps({"parts": report, "cores": os.cpu_count(), "kernel": os.uname().release,
                                     "version": (ROOT / "VERSION").read_text().strip()}, indent=2) + "\n")
    print(f"{len(report)} parts, {failed} checks failed; written to {args.json}")
    return 1 if failed or not report else 0


def one(part, args):
    print(f"{part.NAME}: {part.ABOUT}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fl-soak-") as place:
        run = run_part(part, args.build, place, args.scale, lambda text: print(text, flush=True))
    for name, f in run.figures.items():
        print(f"        {name}: {f['value']} {f['unit']}".rstrip(), flush=True)
    return {part.NAME: {"scale": args.scale, "failed": run.failed, "figures": run.figures}}


def each_by_itself(parts, args):
    """Several parts: each in a process of its own, LANES at a time; what one says stands together."""
    def run(part):
        with tempfile.TemporaryDirectory(prefix="fl-soak-") as place:
            out = pathlib.Path(place) / "json"
            done = subprocess.run([sys.executable, __file__, "--build", args.build, "--only", part.NAME,
                                   "--scale", str(args.scale), "--json", out], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            print("\n".join(done.stdout.splitlines()[:-1] if out.exists() else [done.stdout]), flush=True)
            if out.exists():
                return json.loads(out.read_text())["parts"]
        return {part.NAME: {"scale": args.scale, "failed": [f"ended with status {done.returncode}"], "figures": {}}}

    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        return {name: r for found in pool.map(run, parts) for name, r in found.items()}


if __name__ == "__main__":
    sys.exit(main())
