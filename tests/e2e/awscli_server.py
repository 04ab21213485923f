"""The AWS CLI of this machine many times over, without its start each time: half of what a call costs is Python loading it.

As a program: a process that has loaded what /usr/bin/aws loads and forks for every command. Standard input: a line of
JSON, {"argv", "env"}; standard output: [exit status, stdout, stderr]. `run` is subprocess.run over such a process."""
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
import threading

PROGRAM = "/usr/bin/aws"
MAIN = b"awscli.clidriver.main()"  # what the text of that program has once


def command(argv, env):
    """In a child, so that no command sees what another one left."""
    import awscli.clidriver
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            code = 255
            try:
                for fd, file in ((0, open(os.devnull)), (1, out), (2, err)):
                    os.dup2(file.fileno(), fd)
                data = os.environ["AWS_DATA_PATH"]  # set as awscli is imported
                os.environ.clear()
                os.environ.update(env, AWS_DATA_PATH=data)
                sys.argv = [PROGRAM, *argv]
                code = awscli.clidriver.main()
            except SystemExit as e:
                code = e.code
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return [code, out.read().decode(), err.read().decode()]


def main():
    import awscli.clidriver
    import botocore.session  # the AWS CLI's own
    session = awscli.clidriver.create_clidriver().session
    loader = session.get_component("data_loader")
    loader.list_available_services("service-2")
    for service in ("ssm", "s3", "logs"):
        session.get_service_model(service)
    # Files of the AWS CLI, which every command would look through again.
    botocore.session.create_loader = lambda path=None: loader
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(command(asked["argv"], asked["env"])), flush=True)


_lock = threading.Lock()
_server = None


@functools.lru_cache(None)
def _is_python():
    with open(PROGRAM, "rb") as f:
        return f.read(65536).count(MAIN) == 1


def _start():
    return subprocess.Popen(["/usr/bin/python3", __file__], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            start_new_session=True)


def run(argv, env, timeout):
    """PROGRAM with these arguments: a subprocess.CompletedProcess. As a process of its own while another thread's command
    runs, and if it is not that Python program."""
    global _server
    if not _is_python() or not _lock.acquire(blocking=False):
        return subprocess.run([PROGRAM, *argv], env=env, capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL)
    try:
        if _server is None or _server.poll() is not None:
            _server = _start()
        _server.stdin.write(json.dumps({"argv": argv, "env": env}) + "\n")
        _server.stdin.flush()
        if not select.select([_server.stdout], [], [], timeout)[0]:
            os.killpg(_server.pid, 9)
            _server.wait()
            raise subprocess.TimeoutExpired([PROGRAM, *argv], timeout)
        return subprocess.CompletedProcess([PROGRAM, *argv], *json.loads(_server.stdout.readline()))
    finally:
        _lock.release()


def stop():
    """Ends what `run` started."""
    global _server
    if _server is not None:
        _server.stdin.close()
        _server.wait(30)
        _server = None


if __name__ == "__main__":
    main()
