#!/usr/bin/python3
"""The units on a machine of their own: Debian with its systemd, booted by user-mode Linux.

    tests/system/run.py --build build

User-mode Linux is a kernel that runs as an ordinary program (Debian's user-mode-linux): no hypervisor, no
privileges, and cgroup v2 whatever the machine itself has. Its disk is a file; it runs as `nobody`, so that
nothing it does can reach this machine's files. Making the disk takes root (debootstrap) and, the first time,
Debian's mirror; the base system is kept in <build>/system. What is checked stands in guest.py.

Exit 0: all went well, or it was skipped with a reason. SYSTEM_TEST_REQUIRED=1 makes a skip a failure.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITE, MIRROR = "bookworm", os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = """systemd systemd-sysv dbus libcurl4 libuv1 libjansson4 libwebsockets17 libwebsockets-evlib-uv libssl3
libsqlite3-0 libseccomp2 libcap2 libpcre2-8-0 libyaml-0-2 libuuid1 python3 ca-certificates procps""".split()
DISK_MB, MEMORY_MB, BOOT_LIMIT_S = 1500, 700, 1200

TEST_UNIT = """[Unit]
Description=fairlead system test
After=multi-user.target

[Service]
Type=exec
ExecStart=/usr/bin/python3 -B /usr/lib/fairlead-test/guest.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""
SMALL_LIMIT = "[Service]\nTasksMax=600\n"


def skip(why):
    print(f"system test skipped: {why}")
    sys.exit(1 if os.environ.get("SYSTEM_TEST_REQUIRED") else 0)


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], check=True, **kw)


def make_base(cache):
    """The base system as an archive, made once."""
    base = cache / f"{SUITE}.tar"
    if base.exists():
        return base
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        tree = pathlib.Path(folder) / "root"
        print(f"making a {SUITE} base system from {MIRROR}", flush=True)
        # A mount namespace of its own: what debootstrap mounts is gone with it.
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
                               "--include=" + ",".join(PACKAGES), SUITE, str(tree), MIRROR],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            skip(f"debootstrap failed: {done.stdout.strip().splitlines()[-1:]}")
        part = base.with_suffix(".part")
        run("tar", "-C", tree, "--one-file-system", "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*",
            "-cf", part, ".")
        part.rename(base)
    return base


def make_disk(base, build, folder):
    """The base system with fairlead installed by `make install`, as a file of ext4."""
    tree, disk = folder / "root", folder / "disk"
    tree.mkdir()
    run("tar", "-C", tree, "-xf", base)
    run("make", "--no-print-directory", "-C", ROOT, "install-strip", f"DESTDIR={tree}", f"BUILD={build}",
        stdout=subprocess.DEVNULL)
    here = tree / "usr/lib/fairlead-test"
    here.mkdir()
    shutil.copy(ROOT / "tests/system/guest.py", here)
    shutil.copy(ROOT / "scripts/lib/flapi.py", here)
    units = tree / "etc/systemd/system"
    (units / "fairlead-test.service").write_text(TEST_UNIT)
    (units / "multi-user.target.wants/fairlead-test.service").symlink_to("../fairlead-test.service")
    (units / "fairlead-agent.service.d").mkdir()
    (units / "fairlead-agent.service.d/small.conf").write_text(SMALL_LIMIT)
    (tree / "etc/hostname").write_text("fairlead-test\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost fairlead-test\n")
    for unit in ("getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    with open(disk, "wb") as f:
        f.truncate(DISK_MB << 20)
    run("mkfs.ext4", "-q", "-F", "-d", tree, disk)
    shutil.rmtree(tree)
    return disk


def boot(kernel, disk, folder):
    """The machine's console, to its end."""
    home = folder / "home"
    home.mkdir()
    folder.chmod(0o711)
    for path in (home, disk):
        shutil.chown(path, "nobody", "nogroup")
    # con0 alone is connected; a reboot starts the program anew on the same disk.
    argv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", "env", "-i",
            f"HOME={home}", f"TMPDIR={home}", "PATH=/usr/bin:/bin", "timeout", "-k", "10", str(BOOT_LIMIT_S), kernel,
            f"uml_dir={home}/", "umid=fairlead", f"mem={MEMORY_MB}M", f"ubd0={disk}", "root=/dev/ubda", "rw",
            "init=/lib/systemd/systemd", "con=null", "con0=null,fd:2", "con0=fd:0,fd:1", "quiet",
            "systemd.show_status=no"]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", cwd=home, start_new_session=True)
    lines = []
    for line in child.stdout:
        lines.append(line.rstrip())
        if line.startswith(("RESULT", "systemd-analyze")):
            print(line.rstrip(), flush=True)
    child.wait()
    return lines


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", default="build")
    ap.add_argument("--kernel", default=shutil.which("linux.uml"), help="of user-mode Linux")
    ap.add_argument("--keep-console", help="where the whole console goes")
    args = ap.parse_args()
    if os.geteuid() != 0:
        skip("making a disk with a system on it takes root")
    if not args.kernel:
        skip("no linux.uml: install user-mode-linux (scripts/deps --system)")
    for tool in ("debootstrap", "mkfs.ext4", "setpriv", "unshare"):
        if not shutil.which(tool):
            skip(f"no {tool} (scripts/deps --system)")
    build = (ROOT / args.build).resolve()
    base = make_base(build / "system")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="fairlead-system-") as folder:
        folder = pathlib.Path(folder)
        lines = boot(args.kernel, make_disk(base, build, folder), folder)
    if args.keep_console:
        pathlib.Path(args.keep_console).write_text("\n".join(lines) + "\n")
    wanted = re.findall(r"^def (\w+)\(\):", (ROOT / "tests/system/guest.py").read_text(), re.M)
    wanted = [w for w in wanted if w != "main"] + ["end"]
    missing = [w for w in wanted if not any(line.startswith(f"RESULT {w} ok") for line in lines)]
    if missing:
        print("\n".join(lines[-300:]))
        print("system test FAILED: " + " ".join(missing))
        return 1
    print(f"system test: {len(wanted)} checks ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
