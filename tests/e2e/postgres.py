"""A PostgreSQL server of its own on a free port of loopback, with a password; as root it runs as `postgres`."""
import os
import pathlib
import shutil
import subprocess

from sshd import free_port

USER, PASSWORD = "postgres", "a word for the test"


def folder_of_programs():
    """Where the newest version has its programs, or None: Debian does not put them into the PATH."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    return found[-1].parent if found and shutil.which("psql") else None


class Postgres:
    def __init__(self, folder):
        self.bin, self.data, self.port = folder_of_programs(), folder / "db", free_port()
        (folder / "password").write_text(PASSWORD)
        self.as_user = []
        if os.geteuid() == 0:
            self.as_user = ["runuser", "-u", USER, "--"]
            shutil.chown(folder, USER)
            shutil.chown(folder / "password", USER)
        self.run("initdb", "-U", USER, "-A", "scram-sha-256", "--no-sync", "--pwfile", folder / "password")
        self.run("pg_ctl", "-w", "-l", folder / "log", "-o", f"-c listen_addresses=127.0.0.1 -c port={self.port} "
                 f"-c unix_socket_directories= -c fsync=off -c shared_buffers=16MB", "start")

    def run(self, program, *args):
        subprocess.run([*self.as_user, self.bin / program, "-D", self.data, *map(str, args)], check=True, timeout=60,
                       stdout=subprocess.DEVNULL, cwd="/")

    def close(self):
        self.run("pg_ctl", "-m", "immediate", "stop")
