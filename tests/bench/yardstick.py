"""What the machine itself takes for the parts that a measured thing is made of, measured in turn with it.

On a shared or virtual machine milliseconds are mostly noise, but noise that both share: the ratio of a
measurement to its yardstick stays, and it is what a baseline can be compared with.
"""
import os
import pathlib
import subprocess
import time


def spawn_and_wait(argv, **kw):
    os.waitpid(os.posix_spawn(argv[0], argv, os.environ, **kw), 0)


class Script:
    """A document's unavoidable parts: three synced writes to a fresh folder, a process beside the agent (the
    worker), `sh -c FILE` of a script without a #! line."""
    NAME = "3 synced writes, a process, sh -c FILE"

    def __init__(self, place):
        self.place, self.n = pathlib.Path(place) / "yard", 0
        self.place.mkdir(mode=0o755)
        self.null = os.open("/dev/null", os.O_RDWR)

    def __call__(self):
        started = time.perf_counter()
        self.n += 1
        folder = self.place / str(self.n)
        folder.mkdir()
        fd = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT, 0o600)
        for i in range(3):
            os.write(fd, b"x" * 100)
            os.fdatasync(fd)
        script = folder / "script"
        script.write_text("echo hi\n")
        script.chmod(0o700)
        spawn_and_wait(["/bin/true"])
        spawn_and_wait(["/bin/sh", "-c", str(script)], file_actions=[(os.POSIX_SPAWN_DUP2, self.null, 1)])
        os.close(fd)
        return (time.perf_counter() - started) * 1e3


class Handshake:
    """A program that starts with OpenSSL, connects and shakes hands: three of them, as the agent's start has."""
    NAME = "3 runs of openssl s_client"

    def __init__(self, port, ca_file):
        self.argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(ca_file)]

    def __call__(self):
        started = time.perf_counter()
        for _ in range(3):
            subprocess.run(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=False)
        return (time.perf_counter() - started) * 1e3


class BareRequest:
    """A request over the same kept connection that neither signs nor reads the store."""
    NAME = "GET /readyz, connection kept"

    def __init__(self, kept):
        self.conn = kept.conn

    def __call__(self):
        started = time.perf_counter()
        self.conn.request("GET", "/readyz")
        self.conn.getresponse().read()
        return (time.perf_counter() - started) * 1e3


class SyncedRequest(BareRequest):
    """The same, and one synced write to the disk the plane is on."""
    NAME = "GET /readyz and a synced write"

    def __init__(self, kept, place):
        super().__init__(kept)
        self.fd = os.open(pathlib.Path(place) / "synced", os.O_WRONLY | os.O_CREAT, 0o600)

    def __call__(self):
        started = time.perf_counter()
        os.write(self.fd, b"x" * 1000)
        os.fdatasync(self.fd)
        return (time.perf_counter() - started) * 1e3 + super().__call__()


class Hashes:
    """What tests/bench/session.c measures by itself."""
    NAME = "SHA-256 of the same bytes, twice"
