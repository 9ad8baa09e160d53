"""
Kill -9 and power loss while a CA elsewhere is told of a revocation, a hold, or its end: it is told in the end, and "done" is never
said before. The same while a certificate that is not what was approved is put into quarantine: revoked there, told of here, and
nobody has it.
"""
import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import halt  # noqa: E402
import pki  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from gateway import Refused  # noqa: E402
from test_ca_crash import DONE, SETTLE_S, Peer, boundaries, committed, kind_of, without_greetings  # noqa: E402
from test_ca_crash_servers import ByEjbca, ByVault  # noqa: E402
from vault_server import VaultServer  # noqa: E402

QUARANTINED = 6  # state of an intent
VALID, REVOKED, HELD = 0, 1, 2  # of a certificate
TOLD = 1  # state of a revocation
STRIDE = 1 if halt.EVERY else 5  # of the stores that are judged by SQLite alone


def one(db, sql, *values):
    return db.execute(sql, values).fetchone()


def written(cert):
    """The serial number as the store has it."""
    return driver.serial_hex(cert.serial_number)


# ---- what is told

class Telling(Peer):
    """A device that has its certificate, and an operator whose word the CA has to hear; every round begins with all as it was."""

    def __init__(self, by, new_gateway, acme):
        super().__init__(by, new_gateway, acme)
        self.key = pki.ec_key()
        self.csr = pki.csr(self.key, "CN=" + self.device.tag)
        by.begin(self.key)
        self.gateway.start()
        self.serial = written(self.ask().cert())
        self.prepare()
        self.gateway.stop()
        self.beginning = self.halting.files()

    def prepare(self):
        """What an operator said before."""

    def state(self, db):
        """Of the certificate, and whether the CA has been told of it."""
        status, = one(db, "SELECT status FROM certificate")
        rows = db.execute("SELECT serial, state FROM ca_revocation").fetchall()
        assert rows in ([(self.serial, 0)], [(self.serial, TOLD)]) or not rows and status == VALID, "what is done here is told there"
        told = status == self.status and rows == [(self.serial, TOLD)]
        assert one(db, "SELECT count(*) FROM audit WHERE action = ? AND subject = ?", self.audited, self.serial) == (told,)
        return status, told

    def now(self):
        with self.opened() as db:
            return self.state(db)

    def is_over(self):
        return self.now() == (self.status, True)

    def left(self):
        """The same of the store that somebody who died has left."""
        with halt.opened(self.gateway.dir, self.halting.files()) as db:
            halt.check_chain(db)
            return self.state(db)

    def standing(self):
        """What the CA makes of the certificate; None: it is good."""
        return [issued.revoked for issued in self.by.server.issued if written(issued.cert) == self.serial][0]

    def said(self):
        """Whether the operator hears that it was taken."""
        try:
            self.say()
        except Refused:
            return False
        return True

    def round(self, at=0):
        """Up to the step; whether the operator heard that it was taken, and what it died of."""
        for issued in self.by.server.issued:
            issued.revoked = self.first
        self.halting.replace(self.beginning)
        self.halting.start(at)
        self.halting.arm()
        taken = self.said()
        self.until(self.is_over)
        return taken, self.halting.dead()

    def recover(self, taken):
        """What it took."""
        self.by.restarted()
        status, told = self.left()
        assert not told or self.standing() == self.last, "it was not told"
        assert not taken or status == self.status, "the operator was told so"
        self.halting.start()
        if status != self.status:
            assert self.said()
        self.until(self.is_over)
        assert self.is_over() and self.standing() == self.last
        self.gateway.kill()
        assert self.left() == (self.status, True)
        return "told before" if told else "told" if status == self.status else "said again"


class Revoking(Telling):
    status, audited, first, last = REVOKED, "ca.revoked", None, "unspecified"  # Vault keeps no reasons

    def say(self):
        self.gateway.ctl("cert", "revoke", self.serial, "--reason", "stolen")


class Holding(Telling):
    status, audited, first, last = HELD, "ca.held", None, "CERTIFICATE_HOLD"

    def say(self):
        self.gateway.set_state(self.device, "quarantined")


class Releasing(Telling):
    status, audited, first, last = VALID, "ca.released", "CERTIFICATE_HOLD", None

    def prepare(self):
        self.gateway.set_state(self.device, "quarantined")
        self.until(lambda: self.standing() is not None and self.rows("SELECT state FROM ca_revocation") == [(TOLD,)])

    def say(self):
        self.gateway.set_state(self.device, "staged")


def check_stores(peer, ops, steps):
    """Whatever a death leaves: nothing is told before the CA has said so."""
    answered = max(op.step for op in steps if op.what == "received")
    for at in range(1, len(steps) + 2):
        if at % STRIDE == 0 or at > len(steps) - 2:
            for files in halt.Disk(peer.beginning).follow(halt.until(ops, at)).all_left().values():
                with halt.opened(peer.gateway.dir, files) as db:
                    halt.check_chain(db)
                    told = peer.state(db)[1]
                    assert not told or at > answered


# How many places to die before the CA is turned to: the rest is what is the same for all. EJBCA revokes below, out of quarantine.
TOLD_OF = [(Revoking, ByVault, 3), (Holding, ByEjbca, 3), (Releasing, ByEjbca, 0)]


@pytest.mark.parametrize("telling, kind, before", TOLD_OF, ids=["revocation", "hold", "release"])
def test_a_death_at_any_step_leaves_nothing_untold(telling, kind, before, tmp_path_factory, new_gateway, acme):
    by, table = kind(tmp_path_factory.mktemp("ca"), new_gateway, acme), []
    with contextlib.closing(by):
        peer = telling(by, new_gateway, acme)
        assert peer.round() == (True, None) and peer.standing() == peer.last
        ops, steps = peer.halting.ops(), peer.halting.steps()
        check_stores(peer, ops, steps)
        places, connect = boundaries(steps), next(op.step for op in steps if op.what == "connect")
        places = places[0 if halt.EVERY else sum(at < connect for at, _ in places) - before:]
        places = without_greetings(places, steps)
        for at, state in places:
            taken, end = peer.round(at)
            peer.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, peer.recover(taken)))
    print("\n%s %s: %d steps, %d deaths" % (telling.__name__, kind.__name__, len(steps), len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {kind_of(place, steps) for place in places} >= by.kinds | {""}
    assert {row[3] for row in table} >= {"told before", "told"}


# ---- quarantine

class Lax:
    lax = True

    def certify(self, public, subject, names=None, end=None, **kw):
        return super().certify(public, subject, names, pki.ahead(days=200) if self.lax else end, **kw)


class LaxVault(Lax, VaultServer):
    pass


class LaxEjbca(Lax, EjbcaServer):
    pass


class Quarantining(Peer):
    """A CA that gives certificates for too long."""
    ended, audited = TOLD, "ca.revoked"  # of what it is told of them

    def __init__(self, by, new_gateway, acme):
        super().__init__(by, new_gateway, acme)
        self.gateway.settings["labels"][-1]["retry_after"] = "60s"

    def at_large(self):
        """What is good there, and nobody here knows that it should not be."""
        return [cert for valid, cert in self.by.issued() if valid]

    def now(self):
        return self.rows("SELECT (SELECT count(*) FROM intent WHERE state < ?), (SELECT count(*) FROM intent WHERE state = ?),"
                         " (SELECT count(*) FROM ca_revocation WHERE state = ?),"
                         " (SELECT count(*) FROM ca_revocation WHERE state <> ?)", DONE, QUARANTINED, self.ended, self.ended)[0]

    def is_over(self):
        """Nothing is open, and each that is in quarantine is revoked there."""
        opened, quarantined, told, untold = self.now()
        return opened == untold == 0 and quarantined == told > 0

    def round(self, at=0):
        """Up to the step; the status of the answer, if any, and what it died of."""
        self.by.server.lax = True
        answer = self.request(at)
        self.until(self.is_over)
        return answer and answer.status, self.halting.dead()

    def check_quarantined(self):
        issued = sorted(written(cert) for _, cert in self.by.issued())
        assert issued and not self.at_large(), "valid there"
        assert sorted(serial for serial, in self.rows("SELECT serial FROM ca_revocation")) == issued
        assert self.rows("SELECT count(*) FROM certificate") == [(0,)]
        for action in ("ca.quarantined", self.audited):
            assert [action, len(issued)] == [action] + list(self.rows(
                "SELECT count(*) FROM audit WHERE action = ?", action)[0]), self.gateway.log[-3000:]
        return len(issued)

    def recover(self, seen):
        """How many certificates were made for too long, and what the operator said."""
        assert seen in (None, 403)
        self.by.ca["wait"] = "0s"
        self.by.restarted()
        self.halting.start()
        assert self.ask().status in (202, 403)
        said = [""]
        self.until(lambda: self.is_over() or said.append(said.pop() or self.operator()))
        count = self.check_quarantined()
        assert self.ask().status == 403 and self.check_quarantined() == count, "told from the record, and nobody is called"
        # The CA is mended: now there is one that may be had.
        self.halting.set_clock(self.halting.later_s + SETTLE_S)
        self.by.server.lax = False
        got, _ = self.served()
        assert self.at_large() == [got]
        assert self.rows("SELECT serial, status FROM certificate") == [(written(got), VALID)]
        with self.opened() as db:
            halt.check_chain(db)
        self.gateway.kill()
        return "%d %s" % (count, said[0])


class VaultForTooLong(ByVault):
    kind = LaxVault


class EjbcaForTooLong(ByEjbca):
    kind = LaxEjbca


def places(peer, ops, steps, all_of_it):
    """To die: from just before the request goes out, for what was before is the same with a CA that is right."""
    commit = committed(peer, ops, "SELECT 1 FROM intent WHERE state = %d" % QUARANTINED)
    request = max(op.step for op in steps if op.what == "send" and op.step < commit)
    found = boundaries(steps, head=0)
    before = [place for place in found if place[0] < request]
    found = found if halt.EVERY else before[-1:] + without_greetings(found[len(before):], steps)
    return found if all_of_it else [place for place in found if place[0] <= commit]


def through_quarantines(by, quarantining, all_of_it, new_gateway, acme):
    table = []
    with contextlib.closing(by):
        peer = quarantining(by, new_gateway, acme)
        assert peer.round() == (403, None)
        steps = peer.halting.steps()
        chosen = places(peer, peer.halting.ops(), steps, all_of_it or halt.EVERY)
        for at, state in chosen:
            status, end = peer.round(at)
            peer.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, peer.recover(status)))
    print("\n%s: %d steps, %d deaths" % (type(by).__name__, len(steps), len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {kind_of(place, steps) for place in chosen} >= {"send", "received", "write", "sync"}
    if halt.EVERY or not by.tells:  # of the few places of a short run none may be the one between sending and issuing
        assert "1 " + ("so far" if by.tells else "issued") in {row[3] for row in table}


@pytest.mark.parametrize("kind", [VaultForTooLong, EjbcaForTooLong], ids=["vault", "ejbca"])
def test_a_death_at_any_step_leaves_nothing_at_large_that_was_not_approved(kind, tmp_path_factory, new_gateway, acme):
    by = kind(tmp_path_factory.mktemp("ca"), new_gateway, acme)
    through_quarantines(by, Quarantining, by.tells, new_gateway, acme)
