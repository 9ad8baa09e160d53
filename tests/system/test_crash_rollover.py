"""
Kill -9 and power loss while the built-in CA gets a successor: the reload that gives its label to the next generation, and what comes
then: a device of the old one renews, fetches what it is to trust, another's certificate is revoked. (CAs elsewhere:
interop/test_ca_crash_group.py.)
"""
import copy
import os
import signal
import sys

from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

import est
import halt
import pki
import scep
from gateway import Refused
from test_ca_crash import boundaries
from test_ca_rollover import Rollover, cacerts, enrolled, owned
from test_crash import broken

STRIDE = 1 if halt.EVERY else 3  # of the stores that are judged by SQLite alone
OLD, NEW = "issuing", "new"
GOOD, REVOKED = 0, 1  # status of a certificate
OVER = (2, True, 1, True, True)  # see Succession.state()


def follows(after, before):
    """Whether nothing of it was undone."""
    return all(late >= early for late, early in zip(after, before))


class Succession:
    """Every round begins with the old generation alone, and three devices of it."""

    def __init__(self, gw, acme, folder):
        self.gw, self.roll, self.folder = gw, Rollover(gw), str(folder)
        gw.start()
        self.kept, self.kept_csr = owned(gw, acme), pki.csr(pki.ec_key(), "")
        self.kept_cert = est.enroll(gw, self.kept_csr, self.kept).cert()
        late, lost = (owned(gw, acme) for _ in range(2))
        self.late, self.lost = (enrolled(gw, device, folder) for device in (late, lost))
        self.tags = [device.tag for device in (self.kept, late, lost)]
        self.late_csr = pki.csr(pki.ec_key(), "")
        self.serial = gw.certs(lost.tag)[0]["serial"]
        gw.stop()
        self.before = copy.deepcopy(gw.settings)
        self.roll.announce()
        self.roll.switch()
        self.after = gw.settings
        self.halting = halt.Halting(gw)
        self.beginning = self.halting.files()
        self.bundles = {OLD: [OLD], NEW: [OLD, OLD, NEW]}  # whose certificates were handed out, and what for

    def renewed(self):
        return broken(lambda: est.reenroll(self.gw, self.late_csr, self.late).cert())

    def fetched(self):
        return broken(lambda: cacerts(self.gw, device=self.late))

    def revoked(self):
        """Whether the operator hears that it was done."""
        try:
            self.gw.ctl("cert", "revoke", self.serial, "--reason", "lost")
        except Refused:
            return False
        return True

    def round(self, at=0):
        """Up to the step; what was seen of it, and what it died of."""
        gw = self.gw
        self.halting.replace(self.beginning)
        gw.settings = self.before
        self.halting.start(at)
        gw.settings = self.after
        gw.write()
        since = len(gw.log)
        self.halting.arm()
        gw.process.send_signal(signal.SIGHUP)
        try:
            gw.wait_log("is in force", since)
        except AssertionError:
            assert gw.process.wait(halt.STOP_S) == -signal.SIGKILL, gw.log[since:]
        seen = self.renewed(), self.fetched(), self.revoked()
        return seen, self.halting.dead()

    def state(self, db):
        """(configurations kept, whether both are handed out, how often the device was renewed, whether it knows, whether the other is revoked)."""
        halt.check_chain(db)
        bundles = [ca for ca, in db.execute("SELECT ca FROM bundle ORDER BY id")]
        assert bundles in self.bundles.values(), "all of a configuration's, or none"
        assert [ca for ca, in db.execute("SELECT subject FROM audit WHERE action = 'ca.certificates' ORDER BY seq")] == bundles
        policies = db.execute("SELECT version FROM policy ORDER BY version").fetchall()
        assert policies == db.execute("SELECT subject FROM audit WHERE action = 'policy.kept' ORDER BY subject").fetchall()
        kept, late, lost = (db.execute("SELECT c.ca, c.status FROM certificate c JOIN asset a ON a.id = c.asset_id JOIN certificate_der d"
                                       " ON d.id = c.id WHERE a.tag = ? ORDER BY c.id", (tag,)).fetchall() for tag in self.tags)
        assert kept == [(OLD, GOOD)] and late in ([(OLD, GOOD)], [(OLD, GOOD), (NEW, GOOD)])
        assert lost in ([(OLD, GOOD)], [(OLD, REVOKED)])
        renewals, revoked = len(late) - 1, lost == [(OLD, REVOKED)]
        assert db.execute("SELECT count(*) FROM audit WHERE action = 'enroll.issued'").fetchall() == [(3 + renewals,)]
        assert db.execute("SELECT count(*) FROM request WHERE state = 2 AND cert_id IS NOT NULL").fetchall() == [(3 + renewals,)]
        assert db.execute("SELECT count(*) FROM audit WHERE action = 'cert.revoked'").fetchall() == [(revoked,)]
        assert renewals == 0 or bundles == self.bundles[NEW], "it was told before of what it gets"
        knows = db.execute("SELECT s.ca, b.ca FROM trust_seen s JOIN bundle b ON b.id = s.bundle_id").fetchall()
        assert knows in ([], [(NEW, NEW)])
        return len(policies), bundles == self.bundles[NEW], renewals, knows != [], revoked

    def judge(self, files):
        with halt.opened(self.folder, files) as db:
            return self.state(db)

    def on_list(self, ca, generation):
        answer = scep.request(self.gw, "GET", "/crl/%s.crl" % ca)
        found = x509.load_der_x509_crl(answer.body)
        assert answer.status == 200 and found.is_signature_valid(generation.issuing.public_key())
        return [one.serial_number for one in found]

    def recover(self, seen):
        """Started again: each device has one certificate of each generation that it has asked, and everybody knows the same."""
        roll, (renewed, fetched, revoked) = self.roll, seen
        was = self.judge(self.halting.files())
        assert follows(was[2:], (renewed is not None, fetched is not None, revoked)), "somebody was told so"
        self.halting.start()
        got = self.renewed()
        assert renewed in (None, got) and self.renewed() == got, "a second certificate for one request"
        assert roll.new.issued(got)
        assert self.fetched() == cacerts(self.gw) == roll.new.chain + roll.old.chain + roll.cross
        assert est.enroll(self.gw, self.kept_csr, self.kept).cert() == self.kept_cert, "what the old one gave is good"
        assert self.revoked() or was[-1]
        assert self.on_list(OLD, roll.old) == [self.lost.cert.serial_number] and self.on_list(NEW, roll.new) == []
        assert {row["ca"]: (row["role"], row["certificates"], row["know"]) for row in self.gw.ctl("ca", "rollover")} == {
            OLD: ("previous", 2, 1), NEW: ("issuing", 1, 1)}
        self.gw.ctl("audit", "verify")
        self.gw.kill()
        assert self.judge(self.halting.files()) == OVER
        return was


def distinct(succession, ops, steps):
    """Of the places to die one for each store that a death there leaves, by a kill and by a power loss."""
    out = {}
    for at, loss in boundaries(steps, head=0):
        left = halt.Disk(succession.beginning).follow(halt.until(ops, at)).left(loss)
        out.setdefault((succession.judge(left), loss if halt.EVERY else loss == halt.KILLED), (at, loss))
    return list(out.values())


def test_a_death_while_the_next_generation_takes_over_leaves_each_device_one_certificate(new_gateway, acme, tmp_path):
    succession = Succession(new_gateway(), acme, tmp_path)
    seen, end = succession.round()
    assert end is None and succession.roll.new.issued(seen[0]) and seen[2]
    ops, steps = succession.halting.ops(), succession.halting.steps()
    for state in halt.STATES:
        found = [succession.judge(halt.Disk(succession.beginning).follow(halt.until(ops, at)).left(state))
                 for at in range(1, len(steps) + 2) if at % STRIDE == 0 or at > len(steps)]
        assert found[-1] == OVER and all(follows(after, before) for before, after in zip(found, found[1:])), "nothing is undone"
    table = []
    for at, state in distinct(succession, ops, steps):
        seen, end = succession.round(at)
        succession.halting.lose_power(state)
        table.append((at, end.what if end else "done", state, succession.recover(seen)))
    print("\n%d steps, %d deaths" % (len(steps), len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert len({row[3] for row in table}) >= 5
