"""Agent and client that are told no CA: the system's pool, as a bundle and as a folder of hashed names."""
import json
import os
import shutil
import subprocess

import pytest

import flsandbox

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.once]
POOL = "/etc/ssl/certs"
SCRIPT = 'mount --make-rprivate / && mount --bind "$1" ' + POOL + ' && shift && exec "$@"'


@pytest.fixture
def plane(new_box):
    return new_box(nodes=0)


def pool(box, folder, hashed, bundled):
    """A copy of the system's with the plane's CA, by its hash, in the bundle, or both."""
    shutil.copytree(POOL, folder, symlinks=True)
    ca = box.plane.ca_file
    if hashed:
        name = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", ca], capture_output=True, text=True, check=True)
        shutil.copy(ca, folder / f"{name.stdout.strip()}.0")
    if bundled:
        with open(folder / "ca-certificates.crt", "ab") as f:
            f.write(ca.read_bytes())
    return lambda *argv: ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(folder), *[str(a) for a in argv]]


def client(box, wrap, home, *args, **more):
    """`fairlead ARGS`, without a word of where CAs are."""
    env = {k: v for k, v in dict(box.env(), HOME=str(home)).items()
           if not k.endswith("CA_BUNDLE") and not k.startswith(("SSL_CERT", "FAIRLEAD_CA"))} | more
    return subprocess.run(wrap(box.build / "fairlead", *args), env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("hashed, bundled", [(True, True), (True, False), (False, True)])
def test_the_system_trusts_the_plane(plane, tmp_path, hashed, bundled):
    wrap = pool(plane, tmp_path / "certs", hashed, bundled)
    tmp_path.chmod(0o755)
    agent = plane.new_agent(start=False)
    config = json.loads(agent.config.read_text())
    del config["Fairlead"]["CaFile"]
    agent.config.write_text(json.dumps(config))
    plain = agent.argv
    agent.argv = lambda *args: wrap(*plain(*args))
    agent.start()
    agent.wait_online(plane.plane)
    done = client(plane, wrap, tmp_path, "exec", agent.node_id, "--", "echo", "trusted")
    assert (done.returncode, done.stdout) == (0, "trusted\n"), done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_the_client_looks_once(plane, tmp_path):
    """For its calls and for its session."""
    wrap, log = pool(plane, tmp_path / "certs", True, True), tmp_path / "strace"
    agent = plane.new_agent()
    agent.wait_online(plane.plane)
    done = client(plane, lambda *argv: wrap("strace", "-f", "-e", "trace=openat", "-o", log, *argv), tmp_path,
                  "exec", agent.node_id, "--", "echo", "trusted")
    assert (done.returncode, done.stdout) == (0, "trusted\n"), done.stderr
    assert log.read_text().count("/cert.pem") == 1


def test_it_does_not(plane, tmp_path):
    done = client(plane, pool(plane, tmp_path / "certs", False, False), tmp_path, "nodes")
    assert done.returncode == 3 and "CA certificates: the system's" in done.stderr, done.stderr


def test_what_openssl_is_told_holds_for_calls(plane, tmp_path):
    """As for the official plugin; sessions are opened by OpenSSL itself."""
    for name, value in (("SSL_CERT_FILE", plane.plane.ca_file), ("SSL_CERT_DIR", tmp_path)):
        ca = plane.plane.ca_file
        subprocess.run(f"cp {ca} {tmp_path}/$(openssl x509 -hash -noout -in {ca}).0", shell=True, check=True)
        done = client(plane, lambda *argv: argv, tmp_path, "nodes", **{name: str(value)})
        assert done.returncode == 0, (name, done.stderr)
