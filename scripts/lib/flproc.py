"""Processes: the tree below one, how to end it, and how much memory it takes. Linux, /proc only."""
import ctypes
import os
import signal
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper():
    """Orphans below this process become its children, so that workers which outlive their monitor
    can still be found."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(sig=signal.SIGKILL):
    """For preexec_fn, or after fork: a signal when the parent goes without a word."""
    _libc.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)


def _stat(pid):
    """(name, state, ppid, start time) or None. The name may hold blanks and brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read().decode(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]
    rest = text[text.rindex(")") + 2:].split()
    return name, rest[0], int(rest[1]), int(rest[19])


def start_time(pid):
    s = _stat(pid)
    return s[3] if s else None


def alive(pid, started=None):
    """Whether pid runs (a zombie does not), and is the one that started then."""
    s = _stat(pid)
    return bool(s) and s[1] not in "ZX" and (started is None or s[3] == started)


def name(pid):
    s = _stat(pid)
    return s[0] if s else None


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return [a.decode(errors="replace") for a in f.read().split(b"\0")[:-1]]
    except OSError:
        return []


def descendants(root):
    """Pids below `root` (without it), parents before children."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            s = _stat(int(entry))
            if s and s[1] not in "ZX":
                children.setdefault(s[2], []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def tree(root):
    return ([root] if alive(root) else []) + descendants(root)


def uses_folder(pid, folder):
    """Whether a process names `folder` in its arguments, working directory or open files."""
    if any(folder in a for a in cmdline(pid)):
        return True
    links = [f"/proc/{pid}/cwd"]
    try:
        links += [f"/proc/{pid}/fd/{n}" for n in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for link in links:
        try:
            if os.readlink(link).startswith(folder):
                return True
        except OSError:
            pass
    return False


def kill(pid, sig):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def end(pids, grace_s=3.0):
    """SIGTERM, then SIGKILL for what is left after `grace_s`."""
    left = {p: start_time(p) for p in pids}
    for sig, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        left = {p: t for p, t in left.items() if t is not None and alive(p, t)}
        for p in left:
            kill(p, sig)
        limit = time.monotonic() + wait_s
        while left and time.monotonic() < limit:
            time.sleep(0.02)
            left = {p: t for p, t in left.items() if alive(p, t)}


def memory_kb(pids):
    """Sums over smaps_rollup in kB: {"Rss", "Pss", "Private", "n"}. Needs to be the owner or root."""
    total = {"Rss": 0, "Pss": 0, "Private": 0, "n": 0}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                lines = f.read().splitlines()
        except OSError:
            continue
        total["n"] += 1
        for line in lines:
            key, _, value = line.partition(":")
            if key in ("Rss", "Pss"):
                total[key] += int(value.split()[0])
            elif key in ("Private_Clean", "Private_Dirty"):
                total["Private"] += int(value.split()[0])
    return total


def own_cpu_ns(pids):
    """Exact CPU time of these processes, their children left out."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def cpu_seconds(pids):
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                rest = f.read().decode(errors="replace").rpartition(")")[2].split()
            total += (int(rest[11]) + int(rest[12])) / ticks
        except OSError:
            pass
    return total
