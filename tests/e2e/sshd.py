"""OpenSSH's server on a free port of loopback, which lets root in by a key of its own."""
import os
import pathlib
import socket
import subprocess
import time


def usable():
    return os.access("/usr/sbin/sshd", os.X_OK) and os.geteuid() == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Sshd:
    """`wrap` makes a command of a command: what runs it."""

    def __init__(self, folder, wrap=lambda *argv: argv):
        self.port, self.folder = free_port(), folder
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            f"StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n")
        self.process = subprocess.Popen(wrap("/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"),
                                        stderr=open(folder / "sshd.log", "w"))
        limit = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < limit, (folder / "sshd.log").read_text()
            time.sleep(0.02)

    def config(self, way):
        """ssh_config(5) of a host `node`; `way` is its HostName or ProxyCommand."""
        path = self.folder / "ssh_config"
        path.write_text(
            f"Host node\n  {way}\n  Port {self.port}\n"
            f"  User root\n  IdentityFile {self.folder}/user\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  BatchMode yes\n")
        return path

    def close(self):
        self.process.terminate()
        self.process.wait(30)
