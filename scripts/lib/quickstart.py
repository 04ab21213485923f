"""The part of scripts/quickstart that comes after the build: plane, activation, node, a command."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import flapi  # noqa: E402
import flproc  # noqa: E402
import flsandbox  # noqa: E402

DEFAULT_PORT = 8443
COMMAND = "echo \"hello from $(hostname), $(uname -sr)\"; uptime"


class Interrupted(BaseException):
    pass


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def folder():
    if os.environ.get("FAIRLEAD_QUICKSTART_DIR"):
        return pathlib.Path(os.environ["FAIRLEAD_QUICKSTART_DIR"])
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/fairlead-quickstart")
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return pathlib.Path(state) / "fairlead-quickstart"


def lock(path):
    """One quickstart at a time on the same data."""
    import fcntl
    f = open(path, "a+")
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("quickstart: another quickstart is running already; stop it first (Ctrl-C there)")
    return f


def port_of(port_file):
    try:
        return int(port_file.read_text().strip())
    except (OSError, ValueError):
        return None


def start_plane(place, build, args):
    plane = flsandbox.Plane(place / "plane", build)
    kept = port_of(place / "port")
    plane.port = args.port or kept or (DEFAULT_PORT if flsandbox.port_is_free(DEFAULT_PORT)
                                       else flsandbox.free_port())
    if kept and kept != plane.port:
        sys.exit(f"quickstart: the existing plane uses port {kept}; add --fresh to begin anew on {plane.port}")
    if not kept:
        shutil.rmtree(plane.data, ignore_errors=True)
        plane.init()
        (place / "port").write_text(f"{plane.port}\n")
    plane.open_api()
    plane.start()
    return plane


def start_node(place, plane, build):
    """The registered node of an earlier run if the plane still knows it, else a new one."""
    agent = flsandbox.Agent(place / "node", build, plane.endpoint, plane.ca_file)
    try:
        agent.node_id = json.loads((agent.state / "registration").read_text())["ManagedInstanceID"]
    except (OSError, ValueError, KeyError):
        pass
    if not agent.node_id or plane.node_info(agent.node_id) is None:
        activation = plane.activation(DefaultInstanceName=os.uname().nodename[:256],
                                      Description="made by scripts/quickstart")
        say(f"    activation {activation['ActivationId']} made; registering with it")
        agent.register(activation)
    agent.start()
    agent.wait_online(plane)
    return agent


def run_command(plane, node_id):
    """SendCommand, wait for the end, print what the node printed. True on Success."""
    sent = plane.api.call("SendCommand", DocumentName="AWS-RunShellScript", InstanceIds=[node_id],
                          Parameters={"commands": [COMMAND]}, Comment="quickstart")
    command_id = sent["Command"]["CommandId"]

    def finished():
        try:
            got = plane.api.call("GetCommandInvocation", CommandId=command_id, InstanceId=node_id)
        except flapi.ApiError as e:
            if e.code == "InvocationDoesNotExist":
                return None
            raise
        return got if got["Status"] not in ("Pending", "InProgress", "Delayed") else None

    got = flsandbox.wait_for("the command's result", finished)
    print(got["StandardOutputContent"], end="")
    print(got["StandardErrorContent"], end="", file=sys.stderr)
    say(f"    {got['Status']}, exit code {got['ResponseCode']}, took {got['ExecutionElapsedTime']}")
    return got["Status"] == "Success"


def write_env(place, plane):
    """A file to source: everything the AWS CLI needs except the endpoint."""
    config = place / "aws-config"
    config.write_text(f"[default]\nregion = {flsandbox.REGION}\noutput = json\n")
    env = place / "env"
    env.write_text(
        "# Lets the AWS CLI talk to the quickstart's control plane: . this file\n"
        "unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\n"
        f"export AWS_SHARED_CREDENTIALS_FILE='{plane.credentials_file}'\n"
        f"export AWS_CONFIG_FILE='{config}'\n"
        f"export AWS_CA_BUNDLE='{plane.ca_file}'\n"
        f"export AWS_DEFAULT_REGION={flsandbox.REGION} AWS_EC2_METADATA_DISABLED=true AWS_PAGER=\n"
        f"export AWS_ENDPOINT_URL={plane.endpoint}\n")
    env.chmod(0o600)
    return env


def print_next(env, plane, agent):
    aws = f"aws --endpoint-url {plane.endpoint} ssm"
    print(f"""
Running. The control plane is {plane.endpoint}, this machine is {agent.node_id}.
In another terminal, first

    . {env}

then try

    {aws} describe-instance-information
    {aws} send-command --document-name AWS-RunShellScript --instance-ids {agent.node_id} --parameters commands="df -h /"
    {aws} list-command-invocations --details --max-items 1
    {aws} create-activation --iam-role fleet --registration-limit 5

    {' '.join(str(a) for a in agent.argv('status'))}

Logs: {plane.log}
      {agent.log}
docs/user-guide.md says what comes next. Ctrl-C stops everything.""", flush=True)
    if not shutil.which("aws"):
        print("\nThere is no aws command on this machine: install the AWS CLI to use these lines.", flush=True)


def interrupted(number, frame):
    raise Interrupted()


def main():
    ap = argparse.ArgumentParser(prog="quickstart")
    ap.add_argument("--port", type=int, help="of the control plane (default 8443)")
    ap.add_argument("--fresh", action="store_true", help="forget the plane and the node of earlier runs")
    ap.add_argument("--once", action="store_true", help=argparse.SUPPRESS)  # stop after the command: for tests
    args = ap.parse_args()

    place, build = folder(), flsandbox.default_build()
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o755)
    held = lock(place / "lock")
    if args.fresh:
        for name in ("plane", "node"):
            shutil.rmtree(place / name, ignore_errors=True)
        (place / "port").unlink(missing_ok=True)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    flproc.become_subreaper()
    programs, status = [], 1
    try:
        say("3/5 starting the control plane")
        plane = start_plane(place, build, args)
        programs.append(plane)
        say(f"    {plane.endpoint} is ready")
        say("4/5 registering this machine and bringing its agent online")
        agent = start_node(place, plane, build)
        programs.append(agent)
        say(f"    {agent.node_id} is Online")
        say(f"5/5 running a command on it through Run Command: {COMMAND}")
        status = 0 if run_command(plane, agent.node_id) else 1
        env = write_env(place, plane)
        if not args.once:
            print_next(env, plane, agent)
            while all(p.running() for p in programs):
                time.sleep(1)
                for p in programs:
                    p.note()
            for p in programs:
                if not p.running():
                    say(f"{p.child.args[0]} ended with exit status {p.child.returncode}")
                    print(flsandbox.tail(p.log), file=sys.stderr)
            status = 1
    except Interrupted:
        status = status if args.once else 0
    except (flsandbox.SandboxError, flapi.ApiError, OSError) as e:
        print(f"quickstart: {e}", file=sys.stderr)
        for log in (place / "plane/server.log", place / "node/agent.log"):
            if flsandbox.tail(log):
                print(f"quickstart: last lines of {log}:\n{flsandbox.tail(log, 15)}", file=sys.stderr)
        status = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        say("stopping everything")
        for p in reversed(programs):
            p.end_everything()
        flproc.end(flproc.descendants(os.getpid()), grace_s=1.0)
        held.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
