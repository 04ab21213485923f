"""Nodes and clients that trust what the system trusts: no CA of their own is named anywhere."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPT = 'mount --make-rprivate / && mount --bind "$1" /etc/ssl/certs && shift && exec "$@"'
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of its own takes root")


def hash_of(ca_file):
    return subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", ca_file], capture_output=True, text=True,
                          check=True).stdout.strip()


@pytest.fixture(params=["a bundle", "a bundle and its hashed folder", "neither"])
def system(request, box, tmp_path):
    """(/etc/ssl/certs, whether it has the plane's CA)"""
    folder, ca = tmp_path / "certs", box.plane.ca_file
    with_hashes, known = "hashed" in request.param, request.param != "neither"
    tmp_path.chmod(0o755)
    folder.mkdir()
    for f in pathlib.Path("/etc/ssl/certs").glob("*"):
        if f.is_file() and (f.name == "ca-certificates.crt" or with_hashes):
            shutil.copy(f, folder / f.name)
    if known:
        with open(folder / "ca-certificates.crt", "a") as f:
            f.write(ca.read_text())
    if with_hashes:
        shutil.copy(ca, folder / f"{hash_of(ca)}.0")
    return folder, known


def test_agent_and_client(system, box, new_agent):
    folder, known = system

    def within(argv):
        return ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(folder), *map(str, argv)]

    agent = new_agent(box.plane, start=False, register=False)
    plain, agent.argv = agent.argv, lambda *args: within(plain(*args))
    activation = box.plane.activation()
    argv = agent.register_argv(activation)
    done = agent.command(*argv[:argv.index("--ca-file")])
    if not known:
        assert done.returncode != 0 and "certificate" in done.stderr, done
        return
    assert done.returncode == 0, done
    agent.node_id = json.loads((agent.state / "registration").read_text())["ManagedInstanceID"]
    agent.start()
    agent.wait_online(box.plane)
    env = {k: v for k, v in box.env().items() if k not in ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")}
    done = subprocess.run(within([box.build / "fairlead", "exec", agent.node_id, "--", "echo", "trusted"]), env=env,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "trusted\n"), done
