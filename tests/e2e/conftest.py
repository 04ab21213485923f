"""Fixtures: private planes, agents, reference ends. Nothing has a fixed port; all may run in parallel."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lib")]

import awscli_server  # noqa: E402
import flproc  # noqa: E402
import flsandbox  # noqa: E402
import refnode  # noqa: E402
import refplane  # noqa: E402
import tcpecho  # noqa: E402

flproc.become_subreaper()
# A shell without job control has background processes ignore it, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps the outcome on the item, so that fixtures can show logs of failed tests."""
    outcome = yield
    if call.when == "call":
        item.failed_call = outcome.get_result().failed


def pytest_collection_modifyitems(config, items):
    """What is marked `long` runs in `make check-faults` alone, what is marked `once` not under AddressSanitizer,
    what is marked `first` begins."""
    out = set() if os.environ.get("FAULTS_FULL") else {"long"}
    if flsandbox.keeps_what_was_freed(flsandbox.default_build() / "fairlead-server"):
        out.add("once")
    left = [i for i in items if any(i.get_closest_marker(m) for m in out)]
    config.hook.pytest_deselected(items=left)
    items[:] = sorted((i for i in items if i not in left), key=lambda i: not i.get_closest_marker("first"))


def show_logs(logs):
    for log in logs:
        text = flsandbox.tail(log, 25)
        if text:
            print(f"---- {log} ----\n{text}")


def check_and_stop(box, request):
    """Takes a sandbox down, shows its logs after a failure, fails on a sanitizer's report."""
    for p in [box.plane, *box.agents, *box.extra]:
        p.note()
    box.keep = True
    box.stop()
    reports = box.sanitizer_reports()
    if reports or getattr(request.node, "failed_call", False):
        show_logs(box.logs() + [p.log for p in box.extra])
    subprocess.run(["rm", "-rf", str(box.folder)], check=False)
    assert not reports, "\n".join(reports)


@pytest.fixture(scope="session")
def build():
    return flsandbox.default_build()


@pytest.fixture(scope="session", autouse=True)
def awscli_ends():
    yield
    awscli_server.stop()


@contextlib.contextmanager
def box_of_many(nodes):
    """A plane with online agents for many tests; what the sanitizers said fails the last of them."""
    box = flsandbox.Sandbox(nodes=nodes)
    with box:
        yield box
        box.keep = True
        box.stop()
        reports = box.sanitizer_reports()
        subprocess.run(["rm", "-rf", str(box.folder)], check=False)
        assert not reports, "\n".join(reports)


@pytest.fixture(scope="session")
def shared_box():
    """A plane with one online agent for tests that leave both as they found them."""
    with box_of_many(nodes=1) as box:
        yield box


@pytest.fixture
def box(shared_box, request):
    yield shared_box
    if getattr(request.node, "failed_call", False):
        show_logs(shared_box.logs())


@pytest.fixture
def new_box(request):
    """A function that makes a plane of the test's own: new_box(nodes=1). `before(box)` is called before it starts;
    with `conf`, settings of server.json, it is started again with those."""
    made = []

    def make(nodes=1, before=None, conf=None, **kw):
        b = flsandbox.Sandbox(nodes=nodes, **kw)
        made.append(b)
        if before:
            before(b)
        b.start()
        if conf:
            b.plane.stop()
            b.plane.configure(**conf)
            b.plane.start()
        return b

    yield make
    for b in made:
        check_and_stop(b, request)


@contextlib.contextmanager
def reference(make, tmp_path, **kw):
    """make(folder, …), a RefPlane or more than that; the test fails if the agent broke the protocol."""
    place = tmp_path / "refplane"
    place.mkdir()
    place.chmod(0o755)
    plane = make(place, **kw)
    yield plane
    plane.close()
    assert plane.violations == []


@pytest.fixture
def ref_plane(tmp_path):
    with reference(refplane.RefPlane, tmp_path) as plane:
        yield plane


@pytest.fixture
def new_agent(tmp_path, build, request):
    """A function that registers and starts an agent: new_agent(ref_plane, start=True, config=None)."""
    # Agents started by root run their network part as another user: the way here must be open.
    for p in (tmp_path, *tmp_path.parents):
        if os.stat(p).st_uid == os.getuid() and p != pathlib.Path("/"):
            try:
                p.chmod(p.stat().st_mode | 0o711)
            except PermissionError:
                pass
    made = []

    def make(plane, start=True, register=True, config=None, env=None):
        agent = flsandbox.Agent(tmp_path / f"agent{len(made) + 1}", build, plane.endpoint,
                                plane.ca_file, env)
        made.append(agent)
        if config:
            agent.configure(**config)
        if register:
            agent.register(plane.activation() if callable(plane.activation) else plane.activation)
        if start:
            agent.start()
            plane.wait_online()
            agent.note()
        return agent

    yield make
    reports = []
    for agent in made:
        agent.end_everything()
    for log in tmp_path.rglob("*.log"):
        text = log.read_text(errors="replace")
        reports += [f"{log}: {m}" for m in flsandbox.SANITIZER_MARKS if m in text]
    if reports or getattr(request.node, "failed_call", False):
        show_logs([a.log for a in made])
    assert not reports, reports


@pytest.fixture
def new_node(box):
    """A function that makes a reference node: new_node(online=True)."""
    made = []

    def make(online=True, plane=None, **activation):
        plane = plane or box.plane
        node = refnode.RefNode(plane.endpoint, plane.ca_file)
        made.append(node)
        if online:
            node.online(plane.activation(**activation))
        return node

    yield make
    for node in made:
        node.close()


class AwsResult:
    """What a command of the AWS CLI gave."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out[:2000]}\nstderr: {self.err[-2000:]}"


class Aws:
    """The stock AWS CLI against a sandbox."""

    def __init__(self, box):
        self.box = box

    def __call__(self, *args, timeout=120, **env):
        """aws --endpoint-url … ARGS, whatever comes of it. Keywords change the environment."""
        argv = ["--endpoint-url", self.box.plane.endpoint, *[str(a) for a in args]]
        return AwsResult(awscli_server.run(argv, dict(self.box.env(), **env), timeout))

    def ok(self, *args, **kw):
        """`aws ssm ARGS` that must succeed; the decoded output, None without output."""
        done = self("ssm", *args, **kw)
        assert done.code == 0, done
        return done.json if done.out.strip() else None

    def fails(self, name, *args, **kw):
        """`aws ssm ARGS` that must fail with exit 254 and that error name in parentheses."""
        done = self("ssm", *args, **kw)
        assert done.code == 254 and f"({name})" in done.err, (name, done)
        return done

    def settled(self, command_id, node_id, timeout_s=60):
        """get-command-invocation once it is terminal."""
        def terminal():
            got = self("ssm", "get-command-invocation", "--command-id", command_id, "--instance-id", node_id)
            if got.code == 254 and "InvocationDoesNotExist" in got.err:
                return None
            assert got.code == 0, got
            return got.json if got.json["Status"] not in (
                "Pending", "InProgress", "Delayed", "Cancelling") else None
        return flsandbox.wait_for(f"command {command_id} to end", terminal, timeout_s)


@pytest.fixture
def aws(box):
    return Aws(box)


@pytest.fixture
def aws_of():
    """The AWS CLI against any sandbox."""
    return Aws


@pytest.fixture
def ssm(box):
    """boto3's ssm client of the administrator, retries off so that an error is one request."""
    return client(box.plane, "ssm")


def client(plane, service, access_key=None, secret_key=None, token=None):
    import boto3
    from botocore.config import Config
    return boto3.session.Session().client(
        service, endpoint_url=plane.endpoint, region_name=flsandbox.REGION, verify=str(plane.ca_file),
        aws_access_key_id=access_key or plane.access_key, aws_secret_access_key=secret_key or plane.secret_key,
        aws_session_token=token, config=Config(retries={"max_attempts": 0}, proxies={}))


@pytest.fixture
def echo():
    """Port of a server that sends back what it gets."""
    with tcpecho.server() as port:
        yield port
