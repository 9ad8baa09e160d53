"""
Kill -9 and power loss while requests go from one CA to another of its group: because the first does not answer, and because the
next generation takes over by a reload. Each request has one certificate in the end, of whichever CA.
"""
import contextlib
import os
import signal
import socket
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import est  # noqa: E402
import halt  # noqa: E402
import pki  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from gateway import free_port  # noqa: E402
from test_ca_crash import DONE, LABEL, SETTLE_S, SO_FAR, UNKNOWN, WAIT_S, boundaries, committed, public  # noqa: E402
from test_ca_crash_servers import ByEjbca  # noqa: E402
from test_ca_failover import under  # noqa: E402

CROWD = 5       # requests under way; so many failures in a row open a breaker
DEATHS = 6      # of the places to die, evenly; with halt.EVERY all
LATER_S = 60    # whatever was put off is due


class Door:
    """In front of a server, and shut at first: then nobody listens, and the port is still ours."""

    def __init__(self, port):
        self.to, self.thread, self.port = port, None, free_port()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))  # by its number: else it would have another when it listens again

    def open(self):
        if self.thread is None:
            self.socket.listen(16)
            self.thread = threading.Thread(target=self._accept, daemon=True)
            self.thread.start()

    def shut(self):
        if self.thread is not None:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.thread.join(WAIT_S)
            assert not self.thread.is_alive()
            self.thread = None

    def _accept(self):
        while True:
            try:
                near = self.socket.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                sink.sendall(octets)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.shut()
        self.socket.close()


class Behind(ByEjbca):
    """An EJBCA that makes certificates for everybody."""

    def issued_to(self, key):
        return [(one.revoked is None, one.cert) for one in list(self.server.issued) if public(one.cert) == public(key)]


class Group:
    """A gateway, two CAs, the first of them behind a door, and a crowd that asks by one label."""
    crowd, behind = CROWD, Behind

    def __init__(self, folders, new_gateway, acme):
        trees = [driver.Hierarchy(folders(name)) for name in ("first", "second")]
        under(*trees)
        self.first, self.second = (self.behind(None, new_gateway, acme, name, tree) for name, tree in zip(("first", "second"), trees))
        self.door = Door(self.first.port)
        self.first.ca.update(group="fleet", calls=1, wait="0s", url=Behind.url % self.door.port)
        self.second.ca.update(group="fleet", calls=1, wait="0s")
        self.gateway = gateway = new_gateway()
        gateway.settings["cas"].append(self.first.ca)
        gateway.add_profile(LABEL, **Behind.settings)
        gateway.add_label(LABEL, ca="first", profile=LABEL, operations=["enroll"])
        self.devices = [acme.idevid() for _ in range(self.crowd)]
        gateway.start()
        gateway.own(*self.devices)
        self.keys = [pki.ec_key() for _ in self.devices]
        self.csrs = [pki.csr(key, "CN=" + device.tag) for device, key in zip(self.devices, self.keys)]
        self.halting = halt.Halting(gateway, self.door.port, self.second.port)

    def close(self):
        self.door.close()
        self.first.close()
        self.second.close()

    def ask(self, n):
        return est.enroll(self.gateway, self.csrs[n], self.devices[n], label=LABEL)

    def all_ask(self):
        return [self.ask(n) for n in range(self.crowd)]

    def rows(self, sql, *values):
        with halt.reading(self.gateway.db) as db:
            return db.execute(sql, values).fetchall()

    def are_done(self):
        return self.rows("SELECT state FROM intent") == [(DONE,)] * self.crowd

    def begin(self):
        """Of a round: the store and the CAs are as they were."""
        self.door.shut()
        self.halting.replace(self.beginning)
        self.halting.set_clock(LATER_S)
        for by in (self.first, self.second):
            by.begin(self.keys[0])

    def until(self, good, push=lambda: None):
        ends = time.monotonic() + WAIT_S
        while not good() and self.gateway.process.poll() is None:
            assert time.monotonic() < ends, self.gateway.log[-3000:]
            push()
            time.sleep(0.02)

    def push(self):
        """What is unknown at the first is not asked of the second: only the first, when it is back, can tell."""
        if self.rows("SELECT 1 FROM intent WHERE ca = 'first' AND state = ?", UNKNOWN):
            self.door.open()
        self.later_s += 5 + SETTLE_S * bool(self.rows("SELECT 1 FROM intent WHERE error = ? AND state = ?", SO_FAR, UNKNOWN))
        self.halting.set_clock(self.later_s)
        self.gateway.ctl("ca", "list")

    def recover(self):
        """Started again: one certificate for each. {CA: how many}"""
        self.second.restarted()
        self.later_s, self.looked_at = LATER_S, []
        self.halting.start()
        self.all_ask()
        self.until(self.are_done, self.push)
        certs = [answer.cert() for answer in self.all_ask()]
        found = {}
        for cert, key, device in zip(certs, self.keys, self.devices):
            first, second = self.first.issued_to(key), self.second.issued_to(key)
            assert [one for valid, one in first + second if valid] == [cert], "one, there"
            assert len(first + second) == 1 + (device.tag in self.looked_at), "one more only where an operator was shown it"
            ca = "second" if second else "first"
            der = cert.public_bytes(driver.serialization.Encoding.DER)
            assert self.rows("SELECT d.der, c.status, c.ca FROM certificate c JOIN certificate_der d ON d.id = c.id"
                             " JOIN asset a ON a.id = c.asset_id WHERE a.tag = ?", device.tag) == [(der, 0, ca)], "and here"
            self.check_way(device, ca)
            found[ca] = found.get(ca, 0) + 1
        assert self.are_done()
        with halt.reading(self.gateway.db) as db:
            halt.check_chain(db)
        self.gateway.kill()
        return found

    def check_way(self, device, ca):
        """From the first to the second it went once, or not at all."""
        assert self.rows("SELECT count(*) FROM audit WHERE action = 'ca.failover' AND subject = ?", device.tag) == [
            (int(ca == "second"),)]


def thin(places):
    """Some of them, evenly, and the last."""
    if halt.EVERY or len(places) <= DEATHS:
        return places
    return [places[i * (len(places) - 1) // (DEATHS - 1)] for i in range(DEATHS)]


# ---- the first does not answer

class Failover(Group):
    def __init__(self, folders, new_gateway, acme):
        super().__init__(folders, new_gateway, acme)
        gateway = self.gateway
        self.all_ask()
        self.until(lambda: self.rows("SELECT count(*) FROM intent WHERE state = 0") == [(CROWD,)])
        gateway.stop()
        self.first.ca["failover"] = ["second"]
        gateway.settings["cas"].append(self.second.ca)
        # What the store is to know of the second CA it knows, and nothing was due.
        self.halting.set_clock(-LATER_S)
        self.halting.start()
        gateway.kill()
        self.beginning = self.halting.files()

    def round(self, at=0):
        self.begin()
        self.halting.start_armed(at)
        self.until(self.are_done)
        return self.halting.dead()


def test_a_death_while_requests_go_to_a_stand_in_leaves_one_certificate_for_each(tmp_path_factory, new_gateway, acme):
    table = []
    with contextlib.closing(Failover(tmp_path_factory.mktemp, new_gateway, acme)) as group:
        assert group.round() is None
        steps = group.halting.steps()
        after = committed(group, group.halting.ops(), "SELECT 1 FROM intent WHERE ca = 'second'")
        first = next(op.step for op in steps if op.place == "ca")
        places = [place for place in boundaries(steps, head=0) if place[0] >= first]
        for at, state in [(after - 1, halt.KILLED), (after - 1, halt.NOTHING), (after, halt.KILLED)] + thin(places):
            end = group.round(at)
            group.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, group.recover()))
    print("\n%d steps, they go over at %d" % (len(steps), after))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {"second"} in [set(row[3]) for row in table], "all of them"


# ---- the next generation takes over

class Holding(EjbcaServer):
    """It makes a certificate, and keeps the answer back until the test lets go."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.held, self.free = threading.Event(), threading.Event()
        self.free.set()

    def _enroll(self, document):
        answer = super()._enroll(document)
        self.held.set()
        assert self.free.wait(WAIT_S)
        return answer


class BehindHolding(Behind):
    kind = Holding


class Rollover(Group):
    """
    Of a crowd one has its certificate made by the old CA, others wait behind it, when the label is given to the new one by a reload;
    a latecomer asks then. kept: the old one still is in the configuration.
    """
    crowd, behind = 4, BehindHolding

    def __init__(self, folders, new_gateway, acme, kept):
        super().__init__(folders, new_gateway, acme)
        self.kept = kept
        self.door.open()
        self.old = dict(cas=list(self.gateway.settings["cas"]), labels=[dict(label) for label in self.gateway.settings["labels"]])
        successor = dict(self.second.ca, succeeds="first") if kept else self.second.ca
        self.new = dict(cas=self.old["cas"][:-1] + kept * [self.first.ca] + [successor],
                        labels=self.old["labels"][:-1] + [dict(self.old["labels"][-1], ca="second")])
        self.gateway.stop()
        self.beginning = self.halting.files()

    def round(self, at=0):
        """The old configuration, the crowd, and then, up to the step, the new one."""
        gateway, server = self.gateway, self.first.server
        self.begin()
        self.door.open()
        server.held.clear()
        server.free.clear()
        gateway.settings.update(self.old)
        self.halting.start(at)
        for n in range(self.crowd - 1):
            assert self.ask(n).status == 202
        assert server.held.wait(WAIT_S)
        gateway.settings.update(self.new)
        gateway.write()
        since = len(gateway.log)
        self.halting.arm()
        gateway.process.send_signal(signal.SIGHUP)
        self.until(lambda: "is in force" in gateway.log[since:])
        with contextlib.suppress(OSError, est.Closed):
            self.ask(self.crowd - 1)
        server.free.set()
        self.until(self.are_done)
        return self.halting.dead()

    def recover(self):
        self.first.restarted()
        found = super().recover()
        with halt.reading(self.gateway.db) as db:
            given = {ca for ca, in db.execute("SELECT DISTINCT ca FROM bundle")}
        assert given == {"issuing", "first", "second"}
        return found

    def check_way(self, device, ca):
        moved, = self.rows("SELECT count(*) FROM audit WHERE action = 'ca.failover' AND subject = ?", device.tag)[0]
        if ca == "first" or self.kept:
            assert moved == 0, "what was asked of one that answers is its"
        assert moved <= 1

    def push(self):
        """What is unknown at one that is not known any more is an operator's."""
        super().push()
        for number, tag in [] if self.kept else self.rows(
                "SELECT i.id, a.tag FROM intent i JOIN request r ON r.id = i.request_id JOIN asset a ON a.id = r.asset_id"
                " WHERE i.ca = 'first' AND i.state = ?", UNKNOWN):
            key = next(key for key, device in zip(self.keys, self.devices) if device.tag == tag)
            for _, cert in self.first.issued_to(key):
                assert self.first.server.revoke(cert.serial_number, "operator")
                self.looked_at.append(tag)
            self.gateway.ctl("ca", "resolve", str(number), "--absent", "--reason", "revoked there")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
def test_a_death_while_the_next_generation_takes_over_leaves_one_certificate_for_each(kept, tmp_path_factory, new_gateway, acme):
    table = []
    with contextlib.closing(Rollover(tmp_path_factory.mktemp, new_gateway, acme, kept)) as group:
        assert group.round() is None
        steps = group.halting.steps()
        places = boundaries(steps, head=0)
        for at, state in thin(places):
            end = group.round(at)
            group.halting.lose_power(state)
            table.append((at, end.what if end else "done", state, group.recover()))
    print("\n%d steps" % len(steps))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
