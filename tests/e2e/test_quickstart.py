"""scripts/quickstart after its build step, as root and as an ordinary user; the operator client beside it."""
import json
import os
import re
import signal
import subprocess
import tempfile

import pytest

import flproc
import flsandbox

pytestmark = pytest.mark.once

QUICKSTART = str(flsandbox.ROOT / "scripts/lib/quickstart.py")
NOBODY = 65534


@pytest.fixture(params=["as-we-are", "as-ordinary-user"])
def user(request):
    """(how to start a program, a folder that this user may write)."""
    with tempfile.TemporaryDirectory(prefix="fl-quick-") as place:
        os.chmod(place, 0o755)
        if request.param == "as-we-are":
            yield [], place
            return
        if os.geteuid() != 0:
            pytest.skip("this is the ordinary user already")
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        reachable = subprocess.run([*as_nobody, "test", "-x", str(flsandbox.default_build() / "fairlead-agent")])
        if reachable.returncode != 0:
            pytest.skip("other users cannot reach this checkout")
        os.chown(place, NOBODY, NOBODY)
        yield as_nobody, place


def start(user, *args):
    how, place = user
    env = dict(os.environ, FAIRLEAD_QUICKSTART_DIR=place + "/data", HOME=place, PYTHONUNBUFFERED="1",
               SANDBOX_BUILD=str(flsandbox.default_build()))
    return subprocess.Popen([*how, "/usr/bin/python3", QUICKSTART, *args], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def left_behind(place):
    return [p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
            if flproc.alive(p) and any(place in a for a in flproc.cmdline(p))]


@pytest.mark.parametrize("argv, code", [(["--help"], 0), (["--frsh"], 2), (["--port"], 1), (["--port", "x"], 1)], ids=str)
def test_a_wrong_word_is_told_before_anything_is_done(argv, code):
    done = subprocess.run([str(flsandbox.ROOT / "scripts/quickstart"), *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "==" not in done.stderr, done
    assert code == 0 or argv[-1] in done.stderr, done
    assert ("--fresh" in done.stdout) == (code == 0), done


def test_once_and_once_more(user):
    port = str(flsandbox.free_port())
    first, _ = (p := start(user, "--once", "--port", port)).communicate(timeout=180)
    assert p.returncode == 0, first
    assert re.search(r"^hello from ", first, re.M) and "Success, exit code 0" in first
    again, _ = (p := start(user, "--once")).communicate(timeout=180)
    assert p.returncode == 0, again
    assert "registering with it" in first and "registering with it" not in again
    node = re.search(r"mi-[0-9a-f]{17}", first)[0]
    assert node in again
    assert not left_behind(user[1])


def test_interrupt_stops_everything(user):
    child = start(user, "--port", str(flsandbox.free_port()))
    lines = []
    for line in child.stdout:
        lines.append(line)
        if "Ctrl-C stops everything" in line:
            break
    text = "".join(lines)
    assert child.poll() is None, text
    assert re.search(r"aws --endpoint-url https://127.0.0.1:\d+ ssm send-command", text)
    env_file = re.search(r"^\s+\. (\S+)$", text, re.M)[1]
    if os.path.exists("/usr/bin/aws"):
        line = next(l for l in lines if "describe-instance-information" in l).strip()
        done = subprocess.run(["sh", "-c", f". {env_file}; PATH=/usr/bin:/bin; {line}"], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["InstanceInformationList"][0]["PingStatus"] == "Online"
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert child.returncode == 0, rest
    assert not left_behind(user[1])


def test_operator_client(box):
    def fairlead(*args):
        return subprocess.run([str(box.build / "fairlead"), *args], env=box.env(), capture_output=True, text=True,
                              timeout=30)
    done = fairlead("nodes")
    assert done.returncode == 0 and box.agents[0].node_id in done.stdout, done
    done = fairlead("call", "GetConnectionStatus", json.dumps({"Target": box.agents[0].node_id}))
    assert done.returncode == 0 and json.loads(done.stdout)["Status"] == "connected", done
    done = fairlead("call", "DescribeDocument", '{"Name":"NoSuch"}')
    assert done.returncode != 0 and "InvalidDocument" in done.stderr, done


LAYERS = str(flsandbox.ROOT / "scripts/check-layers")


def test_the_layer_check_knows_this_tree():
    done = subprocess.run(["/usr/bin/python3", LAYERS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
