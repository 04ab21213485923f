"""A clock that runs fast for one agent and everything it starts: libfaketime, preloaded, with a rate that can
be changed while the processes run.

Both clocks, wall and monotonic, and every wait (epoll_wait, poll, nanosleep) go by the rate, so timers and
back-offs are gone through one by one: nothing is skipped. The network part is reached too: it is started with
the monitor's environment, and its seccomp filter allows what the library calls.
"""
import glob
import os
import time


def library():
    """Path of libfaketime, None if it is not installed (Debian: package faketime)."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") + glob.glob("/usr/lib*/faketime/libfaketime.so.1")
    return found[0] if found else None


def sweep():
    """Removes what the library left of processes that are gone. It makes a semaphore and a counter for each, named by
    its pid, and a process of another user that gets the pid later could not open them."""
    for path in glob.glob("/dev/shm/faketime_shm_*") + glob.glob("/dev/shm/sem.faketime_sem_*"):
        if not os.path.exists("/proc/" + path.rpartition("_")[2]):
            try:
                os.unlink(path)
            except OSError:
                pass


def own_lines(log):
    """Lines of a log that are not the library's."""
    return [line for line in log.read_text().splitlines() if not line.startswith("libfaketime:")]


class FastClock:
    """fake = start + (now - start) * rate + offset, in every process with `start` as its own start. A change of
    the rate changes the offset so that the clock of a process started when start() was called never jumps."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.rate, self.offset = 1.0, 0.0
        self.started = None
        self.write()
        self.file.chmod(0o644)
        sweep()

    def close(self):
        sweep()

    def env(self):
        return {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "NO_FAKE_STAT": "1", "FAKETIME_DONT_RESET": "1"}

    def write(self):
        self.file.write_text(f"{self.offset:+.3f} x{self.rate:g}\n")

    def start(self):
        self.started = time.time()

    def now(self):
        """The agent's wall clock."""
        now = time.time()
        return self.started + (now - self.started) * self.rate + self.offset

    def run(self, rate):
        """From now on the clock runs `rate` times as fast."""
        now = time.time() - self.started
        self.offset += now * (self.rate - rate)
        self.rate = rate
        self.write()
