"""What processes and folders take over time, and whether it grows."""
import os
import statistics
import subprocess

import flproc


def folder(path):
    """{"kB", "files"} below a folder, as the disk has them."""
    def du(*flags):
        done = subprocess.run(["du", "-s", *flags, str(path)], capture_output=True, text=True, check=False)
        return int(done.stdout.split()[0])  # files that go meanwhile are no failure
    return {"kB": du("-k"), "files": du("--inodes")}


class Meter:
    """Samples of resident memory, descriptors and threads of the long-lived processes of a program, by name."""

    def __init__(self, program):
        self.program = program
        self.samples = {}  # name -> [{"pid", "Rss", "fds", "threads"}]

    def take(self):
        for pid in self.program.below():
            name = (flproc.cmdline(pid) or ["?"])[0].rpartition("/")[2]
            known = self.samples[name][-1]["pid"] if name in self.samples else pid
            if pid != known and flproc.alive(known):
                continue  # a copy of it that is about to become another program
            try:
                row = {"pid": pid, "Rss": flproc.memory_kb([pid])["Rss"], "fds": len(os.listdir(f"/proc/{pid}/fd")),
                       "threads": len(os.listdir(f"/proc/{pid}/task"))}
            except OSError:
                continue  # it has just ended
            if row["Rss"]:
                self.samples.setdefault(name, []).append(row)

    def grown(self, name, key, warm_up):
        """(first, last, most) of the fifth after the warm-up and of the last fifth: medians of memory; of what
        work under way holds for a moment, the least."""
        values = [s[key] for s in self.samples[name]]
        values = values[int(len(values) * warm_up):]
        fifth = max(1, len(values) // 5)
        typical = statistics.median if key == "Rss" else min
        return (round(typical(values[:fifth])), round(typical(values[-fifth:])), max(values))

    def judge(self, run, names):
        """Checks that every process of `names` lived all the time and grew in nothing."""
        for name in names:
            pids = {s["pid"] for s in self.samples[name]}
            run.check(f"{name}: one process all the time", len(pids) == 1, sorted(pids))
            for key, unit in (("Rss", "kB"), ("fds", ""), ("threads", "")):
                self.judge_one(run, name, key, unit)

    def judge_one(self, run, name, key, unit="", warm_up=0.2):
        first, last, most = self.grown(name, key, warm_up)
        allowed = first * run.flat if key == "Rss" else run.slack
        run.figure(f"{name}: {key} first, last, most", [first, last, most], unit)
        run.check(f"{name}: {key} does not grow", last - first <= allowed, f"{first} -> {last} {unit}".strip())
