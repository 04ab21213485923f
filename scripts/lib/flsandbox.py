"""A private plane and its agents in one folder: start, wait until Online, break, restart, take down.

scripts/sandbox, the end-to-end tests, the benchmarks and the quickstart all use these classes.
Nothing here reads or writes outside the folder, except that the programs listen on loopback.
"""
import concurrent.futures
import getpass
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import subprocess
import time

import flapi
import flproc

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = "local"
START_TIMEOUT_S = float(os.environ.get("SANDBOX_TIMEOUT", 60))
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                   "AddressSanitizer:DEADLYSIGNAL", "WARNING: ThreadSanitizer", "FATAL: ThreadSanitizer")


def keeps_what_was_freed(program):
    """Whether a program was built with AddressSanitizer: then its memory says nothing of what it needs."""
    return b"__asan_report_load" in program.read_bytes()


class SandboxError(Exception):
    pass


def default_build():
    return (ROOT / os.environ.get("SANDBOX_BUILD", "build")).resolve()


def wait_for(what, test, timeout_s=START_TIMEOUT_S, pause_s=0.03):
    """Calls test() until it gives something true and returns that; SandboxError names `what`."""
    limit = time.monotonic() + timeout_s
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > limit:
            raise SandboxError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port():
    """A free loopback port below the ephemeral range, so that no outgoing connection takes it while
    a plane is down between two starts."""
    for _ in range(200):
        port = random.randint(20000, 31999)
        if port_is_free(port):
            return port
    raise SandboxError("no free port between 20000 and 31999")


def tail(path, lines=30):
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Program:
    """One program that the sandbox runs, with its log and everything that it ever started."""

    def __init__(self, folder, build):
        self.folder, self.build = pathlib.Path(folder), pathlib.Path(build)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = None
        self.asked = False
        self.extra_env = {}
        self.seen = {}  # pid -> start time, of the process and all below it

    def base_env(self):
        """A small environment: nothing of the caller's AWS or proxy settings leaks in."""
        keep = ("PATH", "LANG", "LC_ALL", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
                "LD_LIBRARY_PATH")
        env = {k: os.environ[k] for k in keep if k in os.environ}
        supp = ROOT / "tests/suppressions"
        env.setdefault("ASAN_OPTIONS", "exitcode=99")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.setdefault("LSAN_OPTIONS", f"suppressions={supp}/lsan.supp:print_suppressions=0")
        env.setdefault("TSAN_OPTIONS", f"suppressions={supp}/tsan.supp:exitcode=99:second_deadlock_stack=1")
        return env

    def spawn(self, argv, log, env):
        with open(log, "ab") as out:
            self.child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, env=env, cwd=self.folder, start_new_session=True,
                                          preexec_fn=flproc.die_with_parent)
        self.asked = False  # to stop
        self.note()

    @property
    def pid(self):
        return self.child.pid if self.child else None

    def running(self):
        return self.child is not None and self.child.poll() is None

    def note(self):
        """Remembers the processes below, so that those that outlive their parent are still known."""
        if self.running():
            for p in flproc.tree(self.child.pid):
                self.seen[p] = flproc.start_time(p)

    def below(self, name=None):
        """Pids of the process tree; only those whose short name is or starts with `name`."""
        self.note()
        pids = flproc.tree(self.child.pid) if self.running() else []
        return [p for p in pids if name is None or (flproc.name(p) or "").startswith(name[:15])]

    def kill(self, sig=signal.SIGKILL):
        """To the main process alone; waits for its end when the signal is SIGKILL."""
        self.note()
        flproc.kill(self.child.pid, sig)
        if sig == signal.SIGKILL:
            self.child.wait()

    def ask_to_stop(self):
        """SIGTERM, once: a second one means "at once" to a program."""
        if self.running() and not self.asked:
            self.asked = True
            self.child.terminate()

    def stop(self, grace_s=10.0):
        """SIGTERM, then SIGKILL; returns the exit status (negative: the signal)."""
        if self.child is None:
            return None
        self.note()
        self.ask_to_stop()
        if self.child.poll() is None:
            try:
                self.child.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode

    def end_everything(self):
        """stop(), then every process it left behind."""
        self.stop()
        flproc.end([p for p, t in self.seen.items() if t is not None and flproc.alive(p, t)])


class Plane(Program):
    """A control plane of its own: data, CA, administrator's key, a port on loopback."""

    def __init__(self, folder, build, host="127.0.0.1", port=None, bind="127.0.0.1"):
        super().__init__(folder, build)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.host, self.port, self.bind = host, port, bind
        self.ca_file = self.folder / "ca.crt"
        self.api = None

    @property
    def endpoint(self):
        return f"https://{self.host}:{self.port}"

    def command(self, *args, **kw):
        """fairlead-server ARGS to its end; CompletedProcess with text."""
        return subprocess.run([str(self.build / "fairlead-server"), *[str(a) for a in args]],
                              env=self.base_env(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, **kw)

    def init(self):
        port = self.port or free_port()
        done = self.command("init", "--data", self.data, "--host", self.host, "--port", port,
                            "--bind", self.bind, "--region", REGION)
        if done.returncode != 0:
            raise SandboxError(f"fairlead-server init: exit {done.returncode}\n{done.stdout}{done.stderr}")
        self.port = port
        self.open_api()

    def configure(self, **settings):
        """Changes server.json, for the next start."""
        conf = self.data / "server.json"
        conf.write_text(json.dumps(dict(json.loads(conf.read_text()), **settings)))

    def open_api(self):
        """Reads the CA and the administrator's key that `init` made."""
        # A copy outside the data folder: agents that drop root must be able to read it.
        shutil.copyfile(self.data / "pki/ca.crt", self.ca_file)
        self.ca_file.chmod(0o644)
        self.credentials_file = self.data / "admin-credentials"
        self.access_key, self.secret_key = flapi.read_credentials(self.credentials_file)
        self.api = flapi.Api(self.endpoint, str(self.ca_file), self.access_key, self.secret_key, REGION)

    def ready(self):
        if not self.running():
            raise SandboxError(f"fairlead-server ended: exit {self.child.returncode}\n{tail(self.log)}")
        try:
            return self.api.get("/readyz")[0] == 200
        except OSError:
            return False

    def start(self, wait=True):
        self.spawn([self.build / "fairlead-server", "run", "--data", self.data], self.log,
                   dict(self.base_env(), **self.extra_env))
        if wait:
            wait_for("fairlead-server ready", self.ready)

    def create(self):
        """init and start on a free port; another port if somebody was faster."""
        for attempt in range(5):
            self.init()
            try:
                return self.start()
            except SandboxError:
                if self.running() or "in use" not in tail(self.log) or attempt == 4:
                    raise
                shutil.rmtree(self.data)
                self.port = None

    def restart(self):
        self.start()

    def activation(self, limit=1, **members):
        members.setdefault("IamRole", "fleet")
        return self.api.call("CreateActivation", RegistrationLimit=limit, **members)

    def node_info(self, node_id):
        found = self.api.call("DescribeInstanceInformation",
                              Filters=[{"Key": "InstanceIds", "Values": [node_id]}])
        items = found["InstanceInformationList"]
        return items[0] if items else None


class Agent(Program):
    """One node's agent with its own configuration, state, runtime and home folders."""

    def __init__(self, folder, build, plane_endpoint=None, ca_file=None, env=None):
        super().__init__(folder, build)
        self.config = self.folder / "agent.json"
        self.state = self.folder / "state"
        self.runtime = self.folder / "run"
        self.home = self.folder / "home"
        self.log = self.folder / "agent.log"
        self.home.mkdir(exist_ok=True)
        self.endpoint, self.ca_file = plane_endpoint, ca_file
        self.extra_env = env or {}
        self.node_id = None
        if not self.config.exists():  # of an earlier run: the registration added its endpoint
            self.configure()

    def env(self):
        return dict(self.base_env(), HOME=str(self.home), **self.extra_env)

    def argv(self, *args):
        return [self.build / "fairlead-agent", "--config", self.config, "--state", self.state,
                "--runtime", self.runtime, *args]

    def command(self, *args, timeout=60, stdin=""):
        """fairlead-agent with this node's folders and ARGS, to its end; CompletedProcess with text."""
        return subprocess.run([str(a) for a in self.argv(*args)], env=self.env(), input=stdin,
                              capture_output=True, text=True, timeout=timeout)

    def configure(self, **sections):
        """Writes the configuration: sections of the official file, plus Fairlead={…}. Sessions run as whoever
        runs this, unless they say otherwise: no user is made on this machine."""
        ours = {"SessionUser": getpass.getuser(), "PamService": "none", **sections.get("Fairlead", {})}
        sections = {**sections, "Fairlead": ours}
        self.config.write_text(json.dumps(sections, indent=2) + "\n")

    def register_argv(self, activation, region=REGION):
        return ["-register", "-y", "-id", activation["ActivationId"], "-code", activation["ActivationCode"],
                "-region", region, "--endpoint", self.endpoint, "--ca-file", self.ca_file]

    def register(self, activation):
        done = self.command(*self.register_argv(activation))
        if done.returncode != 0:
            raise SandboxError(f"registration: exit {done.returncode}\n{done.stdout}{done.stderr}")
        self.node_id = json.loads((self.state / "registration").read_text())["ManagedInstanceID"]
        return self.node_id

    def start(self):
        self.spawn(self.argv(), self.log, self.env())

    def check_running(self):
        if not self.running():
            raise SandboxError(f"fairlead-agent ended: exit {self.child.returncode}\n{tail(self.log)}")

    def wait_online(self, plane, timeout_s=START_TIMEOUT_S):
        """Until the plane lists it as Online and has its control channel."""
        def online():
            self.check_running()
            try:
                info = plane.node_info(self.node_id)
                return info and info["PingStatus"] == "Online" and plane.api.call(
                    "GetConnectionStatus", Target=self.node_id)["Status"] == "connected"
            except (OSError, flapi.ApiError):
                return False
        wait_for(f"{self.node_id} online", online, timeout_s)
        self.note()

    def status(self):
        """(exit status, decoded output) of `status --json`."""
        done = self.command("status", "--json")
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, None


class Sandbox:
    """A plane and agents below `folder` (made if None, and then removed by stop())."""

    def __init__(self, nodes=1, build=None, folder=None, keep=False, log=lambda text: None,
                 host="127.0.0.1", bind="127.0.0.1"):
        self.build = pathlib.Path(build) if build else default_build()
        self.keep, self.log, self.n_nodes = keep, log, nodes
        self.own_folder = folder is None
        if folder is None:
            import tempfile
            folder = tempfile.mkdtemp(prefix="fairlead-")
        self.folder = pathlib.Path(folder).resolve()
        # Agents started by root run their network part as another user, who must get through here.
        self.folder.chmod(0o755)
        self.plane = Plane(self.folder / "plane", self.build, host=host, bind=bind)
        self.agents = []
        self.extra = []  # further Program objects to take down with the rest

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def new_agent(self, activation=None, start=True, env=None, config=None):
        """One more agent, registered and (start) running; wait_online() is up to the caller."""
        agent = Agent(self.folder / "nodes" / str(len(self.agents) + 1), self.build,
                      self.plane.endpoint, self.plane.ca_file, env)
        self.agents.append(agent)
        if config:
            agent.configure(**config)
        agent.register(activation or self.plane.activation())
        if start:
            agent.start()
        return agent

    def start(self):
        for name in ("fairlead-server", "fairlead-agent"):
            if not (self.build / name).exists():
                raise SandboxError(f"{self.build / name} is missing; run make first")
        self.log(f"starting a control plane in {self.folder}")
        self.plane.create()
        self.write_client_files()
        if self.n_nodes:
            self.log(f"registering and starting {self.n_nodes} agent(s)")
            activation = self.plane.activation(limit=self.n_nodes)
            batch = [Agent(self.folder / "nodes" / str(i + 1), self.build, self.plane.endpoint,
                           self.plane.ca_file) for i in range(self.n_nodes)]
            self.agents += batch

            # Registration makes an RSA key, which takes a moment: several at once. Programs are started
            # from this thread, since the kernel ties "die with parent" to the thread that forked.
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(lambda a: a.register(activation), batch))
            for agent in batch:
                agent.start()
            for agent in batch:
                agent.wait_online(self.plane)
        self.log(f"ready at {self.plane.endpoint}")

    def write_client_files(self):
        """What a client of this plane needs: the credentials, an empty config, an `aws` in the PATH.
        Debian's AWS CLI 2.9 does not know AWS_ENDPOINT_URL, so the wrapper adds --endpoint-url."""
        client, bindir = self.folder / "client", self.folder / "bin"
        client.mkdir()
        bindir.mkdir()
        (client / "config").write_text(f"[default]\nregion = {REGION}\noutput = json\n")
        shutil.copyfile(self.plane.credentials_file, client / "credentials")
        (client / "credentials").chmod(0o600)
        real = "/usr/bin/aws" if os.path.exists("/usr/bin/aws") else shutil.which("aws")
        if not real:
            return
        wrapper = bindir / "aws"
        wrapper.write_text(
            "#!/bin/sh\n# The AWS CLI against this sandbox, unless another endpoint is named.\n"
            "for a in \"$@\"; do\n"
            "    case $a in --endpoint-url | --endpoint-url=*) exec " + real + " \"$@\" ;; esac\n"
            "done\n"
            "exec " + real + " --endpoint-url \"$FAIRLEAD_ENDPOINT\" \"$@\"\n")
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    def env(self):
        """The environment of a command that talks to this plane, on top of the caller's."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("AWS_") and k.lower() not in ("http_proxy", "https_proxy", "all_proxy")}
        ids = [a.node_id for a in self.agents]
        env.update({
            "AWS_ACCESS_KEY_ID": self.plane.access_key,
            "AWS_SECRET_ACCESS_KEY": self.plane.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.plane.ca_file),
            "AWS_ENDPOINT_URL": self.plane.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "client/config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "client/credentials"),
            "AWS_PAGER": "",
            "NODE_EXTRA_CA_CERTS": str(self.plane.ca_file),
            "FAIRLEAD_ENDPOINT": self.plane.endpoint,
            "FAIRLEAD_NODE": ids[0] if ids else "",
            "FAIRLEAD_NODES": " ".join(ids),
            "FAIRLEAD_AGENT_PID": str(self.agents[0].pid) if self.agents and self.agents[0].pid else "",
            "FAIRLEAD_DIR": str(self.folder),
            "PATH": f"{self.folder / 'bin'}:{self.build}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        })
        return env

    def logs(self):
        return [self.plane.log] + [a.log for a in self.agents]

    def sanitizer_reports(self):
        """Log lines that say a sanitizer found something, with the file they are in."""
        found = []
        for log in sorted(self.folder.rglob("*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if any(mark in line for mark in SANITIZER_MARKS):
                    found.append(f"{log}: {line}")
        return found

    def stop(self):
        """Takes everything down; removes the folder if this object made it and --keep was not asked."""
        programs = self.agents + self.extra + [self.plane]
        for p in programs:
            p.note()
        for p in programs:
            p.ask_to_stop()
        for p in programs:
            p.end_everything()
        here = os.getpid()
        flproc.end([p for p in flproc.descendants(here)
                    if flproc.uses_folder(p, str(self.folder))], grace_s=1.0)
        if self.own_folder and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
