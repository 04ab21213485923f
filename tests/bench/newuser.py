"""A home folder for sessions that are measured: what the shell of whoever runs this reads at its start is no figure of
ours."""
import os
import pathlib
import pwd
import shutil


class Home:
    """Whoever runs this, as a user who was just made: a home folder from /etc/skel."""

    def __init__(self, place, shell=None):
        me, self.passwd = pwd.getpwuid(os.getuid()), place / "passwd"
        shutil.copytree("/etc/skel", place / "home")
        lines = pathlib.Path("/etc/passwd").read_text().splitlines()
        own = ":".join([me.pw_name, me.pw_passwd, str(me.pw_uid), str(me.pw_gid), me.pw_gecos, str(place / "home"),
                        shell or me.pw_shell])
        self.passwd.write_text("\n".join(own if li.startswith(f"{me.pw_name}:") else li for li in lines) + "\n")

    def argv(self, *argv):
        """A command that finds that home in its passwd."""
        script = 'mount --make-rprivate / && mount --bind "$1" /etc/passwd && shift && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, "sh", self.passwd, *argv]

    def node(self, box):
        agent = box.new_agent(start=False)
        plain = agent.argv
        agent.argv = lambda *args: self.argv(*plain(*args))
        agent.start()
        agent.wait_online(box.plane)
        return agent.node_id
