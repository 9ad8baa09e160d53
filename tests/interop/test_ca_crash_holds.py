"""
Kill -9 and power loss while an operator changes their mind: a hold, its end, and a hold again, each said while the CA is at work on the
one before. In the end the CA knows the last of it, and what the store takes for told was told.
"""
import contextlib
import os
import sys
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import halt  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from gateway import Refused  # noqa: E402
from test_ca_crash import NEVER, WAIT_S, boundaries, kind_of, without_greetings  # noqa: E402
from test_ca_crash_revoke import HELD, TOLD, VALID, Telling, one  # noqa: E402
from test_ca_crash_servers import ByEjbca  # noqa: E402

HOLD, RELEASE = "quarantined", "staged"
STATUS = {HOLD: HELD, RELEASE: VALID}
STANDING = {HELD: "CERTIFICATE_HOLD", VALID: None}
UNSURE = 3  # what it was told
HEARD = {HELD: "held", VALID: "good", UNSURE: "unsure"}


class Thoughtful(EjbcaServer):
    """It does as it is told, and keeps its answer back as often as the test wants it to."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.back, self.news = 0, threading.Condition()
        self.at_work = False

    def _revoke(self, text, reason):
        answer = super()._revoke(text, reason)
        with self.news:
            if self.back > 0:
                self.back -= 1
                self.at_work = True
                self.news.notify_all()
                assert self.news.wait_for(lambda: not self.at_work, WAIT_S)
        return answer

    def answer_now(self):
        with self.news:
            self.at_work = False
            self.news.notify_all()

    def give_up(self):
        with self.news:
            self.back = 0
        self.answer_now()


class ByThoughtful(ByEjbca):
    kind = Thoughtful


class Wavering(Telling):
    """
    turns: of words. Between two turns the CA has begun with what it was told of the first, and answers only when the second has been
    said; what was before, it has heard.
    """

    def __init__(self, by, new_gateway, acme, turns):
        self.turns, self.words = turns, [word for turn in turns for word in turn]
        self.status = STATUS[self.words[-1]]
        super().__init__(by, new_gateway, acme)
        with halt.opened(self.gateway.dir, self.beginning) as db:
            self.since, = one(db, "SELECT seq FROM audit_head")

    def state(self, db):
        """How many of the words are recorded, what the CA was told, and whether it has to hear more; all that is said of it agrees."""
        status, = one(db, "SELECT status FROM certificate")
        said, = one(db, "SELECT count(*) FROM audit WHERE seq > ? AND action = 'asset.state'", self.since)
        rows = db.execute("SELECT wanted, told, state FROM ca_revocation").fetchall()
        (wanted, told, state), = rows or [(VALID, VALID, TOLD)]
        assert status == wanted == (STATUS[self.words[said - 1]] if said else VALID)
        heard = [action for action, in db.execute("SELECT action FROM audit WHERE action IN ('ca.held', 'ca.released') ORDER BY seq")]
        if told != UNSURE:
            assert (heard[-1:] == ["ca.held"]) == (told == HELD)
        assert (state == TOLD) == (told == wanted)
        return said, told, state == TOLD

    def is_over(self):
        return self.now() == (len(self.words), self.status, True)

    def say(self, word):
        """Whether the operator hears that it was taken."""
        try:
            self.gateway.set_state(self.device, word)
        except Refused:
            return False
        return True

    def say_all(self):
        """How many were taken."""
        taken, server = 0, self.by.server
        for turn in self.turns:
            for word in turn:
                taken += self.say(word)
            if turn is not self.turns[0]:
                server.answer_now()  # to the turn before
            if turn is not self.turns[-1]:
                self.until(lambda: server.at_work)
        return taken

    def round(self, at=0):
        """Up to the step; how many words were taken, and what it died of."""
        server = self.by.server
        for issued in server.issued:
            issued.revoked = None
        server.told.clear()
        server.back = len(self.turns) - 1
        self.halting.replace(self.beginning)
        self.halting.start(at)
        self.halting.arm()
        taken = self.say_all()
        self.until(self.is_over)
        end = self.halting.dead()
        server.give_up()
        return taken, end

    def recover(self, taken):
        """What was left to say."""
        self.by.restarted()
        said, told, _ = self.left()
        assert said >= taken, "the operator was told so"
        assert told == UNSURE or self.standing() == STANDING[told], "it was told something else"
        self.halting.start()
        for word in self.words[said:]:
            assert self.say(word)
        self.until(self.is_over)
        assert self.is_over() and self.standing() == STANDING[self.status]
        self.gateway.kill()
        assert self.left() == (len(self.words), self.status, True)
        return "%d to say, %s" % (len(self.words) - said, HEARD[told])


def distinct(peer, first):
    """Of the places to die, when at least so many words are recorded, one for each state that the store and the CA's call are left in."""
    ops, steps = peer.halting.ops(), peer.halting.steps()
    out, seen = [], set()
    for at, loss in without_greetings(boundaries(steps), steps):
        with halt.opened(peer.gateway.dir, halt.Disk(peer.beginning).follow(halt.until(ops, at)).left(loss)) as db:
            halt.check_chain(db)
            state = peer.state(db)
        kind = kind_of((at, loss), steps)
        state += (kind if kind in ("connect", "send", "received") else "", at == NEVER)
        if halt.EVERY or (state[0] >= first and state not in seen):
            seen.add(state)
            out.append((at, loss))
    return out


# turns; how many calls that makes; from which word on it differs from "at-once"
WAYS = [([HOLD], [RELEASE, HOLD]), ([HOLD], [RELEASE]), ([HOLD], [RELEASE], [HOLD])]


@pytest.mark.parametrize("turns, calls, first", [(WAYS[0], 1, 0), (WAYS[1], 2, 2), (WAYS[2], 3, 2)],
                         ids=["at-once", "hold-release", "hold-release-hold"])
def test_a_death_at_any_step_leaves_the_ca_with_the_last_word(turns, calls, first, tmp_path_factory, new_gateway, acme):
    by, table = ByThoughtful(tmp_path_factory.mktemp("ca"), new_gateway, acme), []
    with contextlib.closing(by):
        peer = Wavering(by, new_gateway, acme, turns)
        assert peer.round() == (len(peer.words), None) and peer.standing() == STANDING[peer.status]
        assert [reason for _, reason in by.server.told] == ["CERTIFICATE_HOLD", "REMOVE_FROM_CRL", "CERTIFICATE_HOLD"][:calls]
        steps = len(peer.halting.steps())
        for at, state in distinct(peer, first):
            taken, end = peer.round(at)
            assert taken == len(peer.words) or end is not None
            peer.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, peer.recover(taken)))
    print("\n%d steps, %d deaths" % (steps, len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {"0 to say, unsure", "0 to say, " + HEARD[peer.status]} <= {row[3] for row in table}
