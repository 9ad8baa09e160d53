"""Two operators: enrollctl as other users, whom the control socket knows by their credentials."""
import json
import os
import shutil
import tempfile

import pytest

from gateway import ENV, Refused, binary, run

GROUP = "users"
SECOND, THIRD = "backup", "games"  # users that every Debian has


class Operators:
    """A gateway whose socket the group may open, and a folder that everybody may read."""

    def __init__(self, gateway):
        if os.geteuid() != 0:
            pytest.skip("only root can be several operators")
        self.gateway = gateway
        self.dir = tempfile.mkdtemp(prefix="operators-")
        os.chmod(self.dir, 0o755)
        gateway.socket = os.path.join(self.dir, "control.sock")
        gateway.settings["listen"].update(control=gateway.socket, control_group=GROUP, control_mode="0660")
        self.enrollctl = shutil.copy(binary("enrollctl"), self.dir)  # where it was built others may not be let in
        os.chmod(self.enrollctl, 0o755)

    def close(self):
        shutil.rmtree(self.dir)

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, 0o644)
        return path

    def ctl(self, user, *args, code=0, json_out=True):
        """enrollctl as this user: what it says."""
        words = ("setpriv", "--reuid=" + user, "--regid=" + GROUP, "--clear-groups") if user != "root" else ()
        done = run(*words, self.enrollctl, "--socket", self.gateway.socket, *(("--json",) if json_out else ()), *args,
                   env=dict(ENV, HOME="/"), cwd="/")
        if done.returncode != code:
            raise Refused(done)
        if code not in (0, 4) and not done.stdout:
            return done.stderr
        return json.loads(done.stdout) if json_out else done.stdout
