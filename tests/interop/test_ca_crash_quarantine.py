"""
Kill -9 and power loss while what a CA has made, and nobody approved, goes into quarantine: with cfssl, which revokes it, and with
SCEP, where nobody can be told: an alert says so, once. (Vault and EJBCA: test_ca_crash_revoke.py.)
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from scep_server import ScepServer  # noqa: E402
from test_ca_crash import ByCfssl  # noqa: E402
from test_ca_crash_revoke import Lax, Quarantining, through_quarantines, written  # noqa: E402
from test_ca_crash_servers import ByScep, HandedIn  # noqa: E402

IMPOSSIBLE = 2  # state of a revocation


class CfsslForTooMuch(HandedIn, ByCfssl):
    """Its certificates are a server's, too."""

    def __init__(self, folder, new_gateway, acme):
        super().__init__(folder, new_gateway, acme)
        self.server, self.tree, self._lax = self, self.cfssl.tree, False

    @property
    def lax(self):
        return self._lax

    @lax.setter
    def lax(self, lax):
        if lax == self._lax:
            return
        self._lax, path = lax, self.tree.path("config.json")
        with open(path) as text:
            config = json.load(text)
        for profile in [config["signing"]["default"], *config["signing"]["profiles"].values()]:
            profile["usages"] = ["digital signature", "client auth"] + lax * ["server auth"]
        self.tree.path("config.json", json.dumps(config).encode())
        self.restarted()

    def restarted(self):
        self.cfssl.stop()
        self.cfssl.start()


def test_a_death_at_any_step_leaves_nothing_at_large_that_cfssl_was_not_asked_for(tmp_path_factory, new_gateway, acme):
    by = CfsslForTooMuch(tmp_path_factory.mktemp("ca"), new_gateway, acme)
    through_quarantines(by, Quarantining, True, new_gateway, acme)


class LaxScep(Lax, ScepServer):
    pass


class ScepForTooLong(ByScep):
    kind = LaxScep


class QuarantiningInVain(Quarantining):
    """What is good there is known here, and somebody has been told that it is."""
    ended, audited = IMPOSSIBLE, "ca.revoke_impossible"

    def at_large(self):
        known = {serial for serial, in self.rows("SELECT serial FROM ca_revocation")}
        return [cert for cert in super().at_large() if written(cert) not in known]


def test_a_death_at_any_step_hides_nothing_that_scep_was_not_asked_for(tmp_path_factory, new_gateway, acme):
    by = ScepForTooLong(tmp_path_factory.mktemp("ca"), new_gateway, acme)
    through_quarantines(by, QuarantiningInVain, True, new_gateway, acme)
