"""Programs on the terminal of a session, through our plane and our agent, in a real terminal: tmux."""
import os
import subprocess
import time

import pytest

import flsandbox

pytestmark = pytest.mark.once

COLS, ROWS = 100, 30


class Tmux:
    """One window that runs `fairlead session`."""

    def __init__(self, box, folder):
        self.base = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux.sock")]
        env = dict(box.env(), HOME=str(folder), LANG="C.UTF-8", LC_ALL="C.UTF-8", TERM="xterm-256color")
        env.pop("TMUX", None)
        program = str(flsandbox.default_build() / "fairlead")
        self.env = env
        subprocess.run([*self.base, "-u", "new-session", "-d", "-x", str(COLS), "-y", str(ROWS), program, "session",
                        box.agents[0].node_id, ";", "set", "-g", "remain-on-exit", "on"], env=env, check=True)

    def tmux(self, *args):
        return subprocess.run([*self.base, *args], env=self.env, capture_output=True, text=True, check=True).stdout

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def line(self, text):
        self.tmux("send-keys", "-l", text)
        self.type("Enter")

    def screen(self, *more):
        return self.tmux("capture-pane", "-p", *more)

    def read(self, test, timeout_s=40, colours=False):
        """Waits until the screen has the text, or makes the function true."""
        limit = time.monotonic() + timeout_s
        while True:
            screen = self.screen(*(["-e"] if colours else []))
            if test in screen if isinstance(test, str) else test(screen):
                return screen
            assert time.monotonic() < limit, f"{test!r} did not come:\n{screen}"
            time.sleep(0.05)

    def close(self):
        subprocess.run([*self.base, "kill-server"], env=self.env, capture_output=True)


@pytest.fixture
def window(box, tmp_path):
    t = Tmux(box, tmp_path)
    t.read(lambda s: s.strip()[-1:] in ("$", "#"))
    t.line("PS1='node> '; cd $(mktemp -d); clear")
    t.read(lambda s: lines(s) == ["node>"])
    yield t
    t.close()


def lines(screen):
    return [line for line in screen.split("\n") if line]


def test_vim(window):
    window.line("vi -u NONE -N f")
    window.read("~\n~\n")
    window.type("i")
    window.tmux("send-keys", "-l", "first line")
    window.type("Enter")
    window.tmux("send-keys", "-l", "zw\u00f6lf \u20ac")
    window.type("Escape")
    window.tmux("send-keys", "-l", "ggyyP")
    window.read("first line\nfirst line\nzw\u00f6lf \u20ac\n~")
    window.line(":wq")
    window.read(lambda s: lines(s)[-1].startswith("node>"))
    window.line("wc -l f; cat f")
    window.read("\n3 f\nfirst line\nfirst line\nzw\u00f6lf \u20ac\n")


def test_the_size_follows_the_window(window):
    window.line("stty size")
    window.read(f"{ROWS} {COLS}")
    window.line("trap 'echo now $(stty size)' WINCH; echo tr''apped")
    window.read("trapped")
    window.tmux("resize-window", "-x", "77", "-y", "20")
    window.type("Enter")
    window.read("now 20 77")
    window.tmux("resize-window", "-x", "120", "-y", "40")
    window.type("Enter")
    window.read("now 40 120")


def test_interrupts_and_jobs(window):
    window.line("sleep 1000; echo after")
    window.read("sleep 1000")
    window.type("C-c")
    window.read(lambda s: "^C" in s and lines(s)[-1].startswith("node>"))
    reader = "sh -c 'echo $0; exec cat'"  # whose word shows that the terminal is its own
    window.line(f"clear; {reader} one")
    window.read(lambda s: "one" in lines(s))
    window.type("C-z")
    window.read("Stopped")
    window.line("kill %1; echo $((20+3))")
    window.read("23")
    window.line(f"clear; {reader} two")
    window.read(lambda s: "two" in lines(s))
    window.type("C-\\")
    window.read("^\\")
    window.line("echo $((30+3))")
    window.read("33")


def test_text_of_all_scripts(window):
    text = "gr\u00fc\u00df \u4f60\u597d \u0928\u092e\u0938\u094d\u0924\u0947 \U0001f600 e\u0301"
    window.line(f"echo '{text}' | cat")
    window.read(lambda s: s.count("\u4f60\u597d \u0928\u092e") >= 2 and s.count("\U0001f600") >= 2)
    window.line("for i in $(seq 1 40000); do printf \u20ac; done | tr -d '\\n' | wc -c")
    window.read("120000")
    window.line("printf '\u20ac%.0s' $(seq 1 5000); clear; echo cle''ar")
    screen = window.read("clear\n")
    assert "\ufffd" not in screen


def test_256_colours(window):
    window.line("clear; tput colors; printf '\\033[38;5;196mred\\033[48;5;21mblue\\033[0m\\n'")
    screen = window.read("\x1b[38;5;196mred", colours=True)
    assert "48;5;21m" in screen
    window.read("256")


def test_a_flood_can_be_interrupted(window):
    """Ctrl-C is heard while output pours."""
    window.line("yes flood")
    window.read("flood\nflood\nflood")
    begin = time.monotonic()
    window.type("C-c")
    window.read(lambda s: lines(s)[-1].startswith("node>"))
    window.line("echo calm")
    window.read("\ncalm")
    assert time.monotonic() - begin < 30 * float(os.environ.get("FL_TEST_PATIENCE", 1))


def test_its_end(window):
    window.line("exit")
    window.read("logout")
    # Asked, not read off the screen: tmux writes there only once it has reaped the program, and may miss that signal.
    flsandbox.wait_for("the client's end", lambda: window.tmux("list-panes", "-F", "#{pane_dead}").strip() == "1")
