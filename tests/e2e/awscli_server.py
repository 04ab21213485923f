"""The AWS CLI of this machine many times over, without its start each time: a process that has loaded what /usr/bin/aws
loads and forks for every command. Standard input: a line of JSON, the arguments; standard output: [exit status, stdout,
stderr]."""
import json
import os
import sys
import tempfile

import awscli.clidriver


def run(driver, argv):
    """In a child, so that no command sees what another one left."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 255
            try:
                code = driver.main(argv)
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
    driver = awscli.clidriver.create_clidriver()
    driver.session.get_service_model("ssm")
    for line in sys.stdin:
        print(json.dumps(run(driver, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
