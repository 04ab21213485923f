"""What all three programs have in common on their command lines: words for what is wrong, outputs that cannot be
written, the manual pages."""
import json
import os
import re
import shutil
import subprocess

import pytest

import flsandbox

PRINTING = [
    ("fairlead", "--version"), ("fairlead", "nodes", "--help"), ("fairlead", "completion", "bash"),
    ("fairlead-server", "--version"), ("fairlead-server", "admin", "--help"),
    ("fairlead-agent", "--version"), ("fairlead-agent", "--help"),
]

# What help has no room for: long forms of the official agent's flags, another name of a command.
KNOWN_TO_PAGES_ALONE = {
    "fairlead-server.8": {"--version"},
    "fairlead-agent.8": {"-h", "--register", "--disable-similarity-check", "--similarity-threshold"},
}


def run(build, *argv, **more):
    env = dict(os.environ, HOME="/nonexistent", FAIRLEAD_CONFIG="/nonexistent/config")
    return subprocess.run([str(build / argv[0]), *argv[1:]], env=env, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=60, **more)


@pytest.mark.parametrize("argv", PRINTING, ids=" ".join)
def test_what_cannot_be_printed_is_no_success(build, argv):
    with open("/dev/full", "w") as full:
        done = run(build, *argv, stdout=full)
    assert done.returncode in (1, 3) and "standard output: No space left on device" in done.stderr, done
    done = run(build, *argv, preexec_fn=lambda: os.close(1))
    assert done.returncode in (1, 3) and "standard output: Bad file descriptor" in done.stderr, done
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        done = run(build, *argv, stdout=pipe)
    assert done.returncode == -13 and done.stderr == "", done  # SIGPIPE


@pytest.mark.parametrize("argv, words", [
    (("fairlead", "nods"), 'did you mean "nodes"?'),
    (("fairlead", "docs", "list"), 'did you mean "doc list"?'),
    (("fairlead", "doc"), 'Try "fairlead help doc"'),
    (("fairlead", "doc", "lst"), 'there is no command "doc lst"; did you mean "doc list"?'),
    (("fairlead", "--jsn"), "there is no option --jsn; did you mean --json?"),
    (("fairlead", "nodes", "--tga=x"), "fairlead nodes: there is no option --tga; did you mean --tag?"),
    (("fairlead", "nodes", "--tag"), "--tag needs a value"),
    (("fairlead", "nodes", "-Q"), "there is no option -Q"),
    (("fairlead-server", "int"), 'did you mean "init"?'),
    (("fairlead-server", "init", "--bnd", "::1"), "did you mean --bind?"),
    (("fairlead-server", "init", "--data"), "init: --data needs a value"),
    (("fairlead-server", "init", "--bind", "300.1.1.1"), "--bind 300.1.1.1: not an IPv4 or IPv6 address"),
    (("fairlead-server", "run", "--port", "1"), "there is no option --port"),
    (("fairlead-server", "admin", "user"), '"user" needs a command behind it'),
    (("fairlead-server", "admin", "user", "ad"), 'did you mean "user add"?'),
    (("fairlead-server", "admin", "key", "create"), "key create: an argument is missing"),
    (("fairlead-server", "admin", "user", "list", "x"), 'unexpected argument "x"'),
    (("fairlead-agent", "statsu"), "did you mean status?"),
    (("fairlead-agent", "--regster"), "--regster: unknown flag; did you mean --register?"),
    (("fairlead-agent", "-regster"), "-regster: unknown flag; did you mean -register?"),
])
def test_a_wrong_line_is_told_in_few_words(build, tmp_path, argv, words):
    more = ("--data", str(tmp_path / "data")) if argv[1] == "init" and argv[2] == "--bind" else ()
    done = run(build, *argv, *more, stdout=subprocess.PIPE)
    assert done.returncode == 2 and done.stdout == "", done
    assert words in done.stderr and done.stderr.startswith(argv[0]), done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr


@pytest.mark.parametrize("name", ["worker", "net", "fetch", "key", "policy", "unpack", "holder", "session"])
@pytest.mark.parametrize("argv", [(), ("--help",), ("--version",)], ids=str)
def test_what_only_the_agent_starts_says_so(build, name, argv):
    done = run(build, f"fairlead-agent-{name}", *argv, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", f'fairlead-agent-{name} is started by fairlead-agent; see "fairlead-agent --help"\n')


def test_a_limit_is_no_trouble_of_the_store(build, tmp_path):
    data = ("--data", str(tmp_path / "data"))
    assert run(build, "fairlead-server", "init", *data, stdout=subprocess.DEVNULL).returncode == 0
    done = run(build, "fairlead-server", "admin", "key", "create", "admin", "--json", *data, stdout=subprocess.PIPE)
    assert json.loads(done.stdout)["AccessKeyId"].startswith("AKIA"), done
    done = run(build, "fairlead-server", "admin", "key", "create", "admin", *data, stdout=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr == (
        "fairlead-server: user admin has 2 access keys already: delete one first\n"), done
    done = run(build, "fairlead-server", "admin", "policy", "delete", "AdministratorAccess", *data, stdout=subprocess.PIPE)
    assert done.returncode == 1 and re.fullmatch(r"fairlead-server: policy \S+ is still attached 1 times.*\n",
                                                 done.stderr), done


OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def page_of(build, name):
    """A manual page as plain text, and what groff complains of."""
    if name == "fairlead.1":
        source = (build / name).read_text()
    else:
        source = (flsandbox.ROOT / "packaging/man" / name).read_text()
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-P-cbou", "-rHY=0", "-rLL=1000n"], input=source,
                          capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr


def helps(build, name):
    if name == "fairlead-agent.8":
        lines = [["fairlead-agent", "--help"]]
    elif name == "fairlead-server.8":
        lines = [["fairlead-server", *words, "--help"] for words in ((), ("init",), ("run",), ("admin",))]
    else:
        named = run(build, "fairlead", "--help", stdout=subprocess.PIPE).stdout.split("Options of all commands")[0]
        commands = re.findall(r"^  (.{18}) \S", named, re.M)
        assert len(commands) > 40
        lines = [["fairlead", "help", *c.split()] for c in commands]
    return "".join(run(build, *line, stdout=subprocess.PIPE).stdout for line in lines)


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff")
@pytest.mark.parametrize("name", ["fairlead.1", "fairlead-agent.8", "fairlead-server.8"])
def test_manual_and_help_know_the_same_options(build, name):
    page, complaints = page_of(build, name)
    assert complaints == ""
    told, shown = set(OPTION.findall(helps(build, name))), set(OPTION.findall(page))
    assert told <= shown | {"-flag"}, told - shown
    assert shown - told <= KNOWN_TO_PAGES_ALONE.get(name, set()), shown - told
