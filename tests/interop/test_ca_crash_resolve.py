"""
Kill -9 and power loss while an operator says what became of a request that its CA cannot be asked about: `enrollctl ca resolve` in
each of its forms. Whatever was left, the operator can say it again, or is told that it was taken; the end is what was said, with
one certificate at most, and no two rows of the audit contradict each other.
"""
import contextlib
import json
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cmp_ca  # noqa: E402
import driver  # noqa: E402
import halt  # noqa: E402
import pki  # noqa: E402
from gateway import Refused  # noqa: E402
from test_ca_crash import DONE, FAILED, SENT, UNKNOWN, By, Peer, boundaries, kind_of, public, without_greetings  # noqa: E402
from test_ca_crash_revoke import QUARANTINED, TOLD, Lax, one, written  # noqa: E402
from test_ca_crash_servers import ByScep, ByVault  # noqa: E402
from test_ca_upstream import leaf  # noqa: E402
from vault_server import VaultServer  # noqa: E402

OPEN, WAITING = 0, 2  # states of an intent
NAMES = {DONE: "done", FAILED: "failed", QUARANTINED: "quarantined"}
# Of these rows a few belong to a request from when the operator speaks on: they are told apart from those before by their number.
ROWS = "SELECT action, actor, detail_json FROM audit WHERE seq > ? AND (action LIKE 'ca.%' OR action = 'enroll.issued') ORDER BY seq"
BEFORE, AFTER = "before", "after"  # it has made the certificate


class SilentVault(Lax, VaultServer):
    """It hangs up without a word; silent: when."""
    silent, lax = "", False

    def _sign(self, document):
        if self.silent == BEFORE:
            raise ConnectionResetError
        answer = super()._sign(document)
        if self.silent == AFTER:
            raise ConnectionResetError
        return answer


class BySilent(ByVault):
    kind, state, later_s, kept = SilentVault, UNKNOWN, 0, None

    def ask(self, ask, made):
        """A request of which nobody hears any more."""
        self.server.silent = AFTER if made else BEFORE
        assert ask().status == 202

    def speak(self):
        self.server.silent = ""

    def again(self):
        """Of a round: as it was when the operator began to speak."""
        if self.kept is None:
            self.kept = list(self.server.issued)
        self.server.issued[:] = self.kept
        for issued in self.kept:
            issued.revoked = None

    def found(self):
        cert, = [cert for valid, cert in self.issued() if valid]
        return cert

    def revoke(self):
        assert self.server.revoke(self.found().serial_number, "operator")


class ByWaiting(By):
    """A CMP CA that makes wait; its operators hand out what they have signed by themselves."""
    state, tells, later_s = WAITING, False, 0

    def __init__(self, folder, new_gateway, acme):
        self.tree = driver.Hierarchy(folder)
        self.service = cmp_ca.CmpCa(self.tree, "--check-after", "3600").start()
        self.port, self.settings = self.service.port, {"subject": "CN={tag}", "san": []}
        self.ca = dict(self.service.settings, name="corporate")
        self.made = self.kept = []

    def own(self, device):
        self.tag = device.tag

    def ask(self, ask, made):
        self.service.order("wait")
        assert ask().status == 202
        self.kept = [leaf(self.tree, self.key, self.tag)] if made else []

    def speak(self):
        self.service.order()

    def again(self):
        self.made = list(self.kept)
        self.given = [one.serial for one in self.service.issued()]

    def found(self):
        return self.made[0]

    def revoke(self):
        """What waits there is refused there, and what was signed is put into the fire."""
        self.made = []

    def issued(self):
        return [(True, cert) for cert in self.made] + [
            (not one.revoked, one.cert) for one in self.service.issued() if public(one.cert) == public(self.key)
            and one.serial not in self.given]

    def close(self):
        self.service.stop()


class ByPolled(ByScep):
    """A CA that makes wait, and can be asked; its operators hand out what they have signed by themselves. Nobody polls in a round."""
    state, later_s = WAITING, -60

    def own(self, device):
        self.tag = device.tag

    def ask(self, ask, made):
        self.server.slow = True
        assert ask().status == 202
        self.made = [leaf(self.tree, self.key, self.tag)]

    def speak(self):
        """Not in the way that it is asked in."""

    def again(self):
        assert not self.server.issued

    def found(self):
        return self.made[0]

    def issued(self):
        return [(True, cert) for cert in self.made]


class Saying(Peer):
    """An operator's words about a request; every round begins with all as it was."""
    made = True  # the CA has made a certificate

    def __init__(self, by, new_gateway, acme):
        super().__init__(by, new_gateway, acme)
        self.key, by.ca["wait"] = pki.ec_key(), "0s"
        self.csr = pki.csr(self.key, "CN=" + self.device.tag)
        by.begin(self.key)
        self.gateway.start()
        by.ask(self.ask, self.made)
        self.until(lambda: self.rows("SELECT state FROM intent") == [(by.state,)])
        self.number, self.since = self.rows("SELECT i.id, a.seq FROM intent i, audit_head a")[0]
        self.gateway.stop()
        self.beginning = self.halting.files()
        by.again()

    def resolve(self, *words):
        return self.gateway.ctl("ca", "resolve", str(self.number), *words, "--reason", "looked")

    def issued(self):
        """The words of somebody who has found it."""
        return ["--issued", self.by.tree.path("found.pem", self.by.found().public_bytes(driver.PEM))]

    def said(self):
        """Whether the operator hears that it was taken."""
        try:
            self.say()
        except Refused:
            return False
        return True

    def state(self, db):
        """Of the intent; what the store says of it agrees."""
        state, = one(db, "SELECT state FROM intent WHERE id = ?", self.number)
        certs = db.execute("SELECT serial FROM certificate").fetchall()
        rows = db.execute(ROWS, (self.since,)).fetchall()
        actions = " ".join(action for action, _, _ in rows)
        assert len(certs) == (state == DONE) and ("enroll.issued" in actions) == (state == DONE)
        for action, actor, detail in rows:
            detail = json.loads(detail)
            assert (actor == "enrolld") == (action != "ca.resolved") or action == "enroll.issued", (action, actor)
            assert action != "ca.resolved" or (detail["intent"] == self.number and detail.get("serial") in self.serials())
        assert state in self.audit and re.fullmatch(self.audit[state], actions), (state, actions)
        return state

    def serials(self):
        """Of the certificate that the operator may have spoken of; None: of none."""
        return [None]

    def left(self):
        with halt.opened(self.gateway.dir, self.halting.files()) as db:
            halt.check_chain(db)
            return self.state(db)

    def now(self):
        with self.opened() as db:
            return self.state(db)

    def is_over(self):
        return self.now() == self.over

    def round(self, at=0):
        """Up to the step; whether the operator heard that it was taken, and what it died of."""
        self.by.again()
        self.by.speak()
        self.halting.replace(self.beginning)
        self.halting.set_clock(self.by.later_s)
        self.halting.start(at)
        self.halting.arm()
        taken = self.said()
        self.until(self.is_over)
        return taken, self.halting.dead()

    def undecided(self):
        return [row["state"] for row in self.gateway.ctl("ca", "intents", "--open") if row["id"] == self.number and
                row["state"] in ("unknown", "waiting")]

    def recover(self, taken):
        """What it took."""
        self.by.restarted()
        state = self.left()
        assert not taken or state in self.taken, "the operator was told so"
        self.halting.start()
        if self.by.tells:  # that it waits, if it does
            self.until(lambda: self.now() not in (SENT, UNKNOWN))
        again = self.undecided()
        if again:
            self.say_again()
        self.until(self.is_over)
        assert self.is_over()
        if not again:
            self.check_refused()
        self.check()
        with self.opened() as db:
            halt.check_chain(db)
        self.gateway.kill()
        return "said again" if again else "over" if state == self.over else "taken"

    def say_again(self):
        self.say()

    def check_refused(self):
        """Whoever says it once more is told that it is over, and nothing changes."""
        before = self.rows("SELECT seq FROM audit_head")
        with pytest.raises(Refused, match="is %s; only one that is unknown or waiting takes" % NAMES[self.over]):
            self.say()
        assert self.rows("SELECT seq FROM audit_head") == before

    def check_one(self):
        """The device is served; one certificate, here and there. The certificate."""
        got, said = self.served()
        assert not said, "nobody has to say anything any more"
        der = got.public_bytes(driver.serialization.Encoding.DER)
        assert self.rows("SELECT d.der, c.status FROM certificate c JOIN certificate_der d ON d.id = c.id") == [(der, 0)]
        assert [cert for valid, cert in self.by.issued() if valid] == [got]
        return got


# What stands in the audit, by the state of the intent, while the operator is to say it (again).
TOLD_AGAIN = "(ca.resolved ca.unknown )*(ca.resolved ca.unknown)?"
AT_REST = {UNKNOWN: TOLD_AGAIN, WAITING: TOLD_AGAIN, SENT: "(ca.resolved ca.unknown )*ca.resolved"}


class Issued(Saying):
    over, taken = DONE, [DONE]
    audit = AT_REST | {DONE: "(ca.resolved ca.unknown )*ca.resolved enroll.issued"}

    def say(self):
        self.resolve(*self.issued())

    def serials(self):
        return [written(cert) for _, cert in self.by.issued()]

    def check(self):
        assert self.check_one() == self.by.found() and len(self.by.issued()) == 1


class Wrong(Issued):
    """It was issued, and is not what was approved."""
    over, taken = QUARANTINED, [QUARANTINED]
    audit = AT_REST | {QUARANTINED: "(ca.resolved ca.unknown )*ca.resolved ca.quarantined( ca.revoked)?"}

    def __init__(self, by, new_gateway, acme):
        by.server.lax = True
        super().__init__(by, new_gateway, acme)
        by.server.lax = False

    def issued(self):
        cert, = [cert for _, cert in self.by.issued()]
        return ["--issued", self.by.tree.path("found.pem", cert.public_bytes(driver.PEM))]

    def is_over(self):
        return super().is_over() and self.rows("SELECT state FROM ca_revocation") == [(TOLD,)]

    def check(self):
        (valid, cert), = self.by.issued()
        assert not valid and self.rows("SELECT serial FROM ca_revocation") == [(written(cert),)]
        assert self.rows("SELECT count(*) FROM audit WHERE action = 'ca.revoked'") == [(1,)]


class Failed(Saying):
    over, taken = FAILED, [FAILED]
    audit = {UNKNOWN: "", WAITING: "", FAILED: "ca.resolved"}

    def say(self):
        """By who has had it refused, or revoked it."""
        if [cert for valid, cert in self.by.issued() if valid]:
            self.by.revoke()
        self.resolve("--failed")

    def check(self):
        before = len(self.by.issued())
        self.check_one()
        assert len(self.by.issued()) == before + 1 and self.rows("SELECT state FROM intent ORDER BY id") == [(FAILED,), (DONE,)]
        assert [action for action, _, _ in self.rows(ROWS, self.since)] == ["ca.resolved", "enroll.issued"]


class Absent(Saying):
    """It was not issued: it is sent again, and then it may be unknown for another reason."""
    made, over, taken = False, DONE, [OPEN, SENT, DONE]
    audit = AT_REST | {OPEN: "(ca.resolved ca.unknown )*ca.resolved", DONE: "(ca.resolved ca.unknown )*ca.resolved enroll.issued"}

    def say(self):
        self.resolve("--absent")

    def say_again(self):
        """As it is by now."""
        self.resolve(*(self.issued() if self.by.issued() else ["--absent"]))

    def serials(self):
        return [None] + [written(cert) for _, cert in self.by.issued()]

    def check(self):
        self.check_one()
        assert len(self.by.issued()) == 1


# Which places to die: not those of the step that takes it from its lane, which is the same, and not what other files' tests have,
# an enrollment's end and a revocation.
ALL, CLAIMED, UP_TO_ANSWER, UP_TO_QUARANTINE = slice(None), slice(3, None), slice(10), slice(3, 7)
FORMS = [(Issued, BySilent, ALL), (Failed, BySilent, ALL), (Absent, BySilent, UP_TO_ANSWER), (Wrong, BySilent, UP_TO_QUARANTINE),
         (Issued, ByWaiting, CLAIMED), (Failed, ByWaiting, ALL), (Issued, ByPolled, CLAIMED)]


@pytest.mark.parametrize("form, kind, part", FORMS, ids=["unknown-issued", "unknown-failed", "unknown-absent", "unknown-wrong",
                                                   "waiting-issued", "waiting-failed", "polled-issued"])
def test_a_death_at_any_step_of_what_an_operator_says_leaves_what_was_said(form, kind, part, tmp_path_factory, new_gateway,
                                                                                         acme):
    by, table = kind(tmp_path_factory.mktemp("ca"), new_gateway, acme), []
    with contextlib.closing(by):
        peer = form(by, new_gateway, acme)
        assert peer.round() == (True, None)
        steps = peer.halting.steps()
        places = without_greetings(boundaries(steps), steps)
        places = places if halt.EVERY else places[:-1][part] + places[-1:]
        for at, state in places:
            taken, end = peer.round(at)
            assert taken or end is not None
            peer.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, peer.recover(taken)))
    print("\n%s %s: %d steps, %d deaths" % (form.__name__, kind.__name__, len(steps), len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {kind_of(place, steps) for place in places} >= {"write", "sync", ""}
    assert {row[3] for row in table} >= {"said again", "over"}
