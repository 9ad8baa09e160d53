"""
Kill -9 and power loss at every kind of step of an enrollment with a CA elsewhere: one valid certificate, recorded here and issued
there, however the gateway died (halt.py).
"""
import contextlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import urllib.request

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import est  # noqa: E402
import halt  # noqa: E402
import pki  # noqa: E402
from gateway import free_port  # noqa: E402
from test_ca_pipeline import Cfssl  # noqa: E402
from test_ca_upstream import SECRET, leaf, need  # noqa: E402

LABEL = "elsewhere"
WAIT_S = 30
SETTLE_S, SO_FAR = 61, "the CA has not issued it so far"
SENT, UNKNOWN, DONE, FAILED = 1, 3, 4, 5  # states of an intent
WAITS = 0  # of a request
LOSSES = (halt.TORN, halt.LAST)
HEAD = 7  # deaths before the log has anything of a request: system/test_crash.py
NEVER = 1_000_000  # a step that nobody comes to


def public(key):
    return key.public_key().public_bytes(driver.PEM, driver.serialization.PublicFormat.SubjectPublicKeyInfo)


class By:
    """A CA: `ca` and `settings` are the gateway's, `tells` whether it can be asked what became of a request."""
    before = 3  # so many places to die before it is turned to: before them is what is the same for all CAs
    greets = True  # the way there is looked at step by step
    kinds = {"write", "sync", "synced", "connect", "send", "received"}  # of steps with deaths

    def own(self, device):
        """It has to know this device."""

    def begin(self, key):
        """Of a round."""
        self.key = key

    def restarted(self):
        """Of the gateway that died nothing is on its way any more; another is about to start."""

    def asked(self, ops):
        """Whether the gateway that was started then, and did this, has asked for a certificate."""
        return any(op.what == "send" for op in ops)

    def how(self, said):
        """What it took to have the certificate, when no operator said anything."""
        return said

    def look(self):
        """What an operator finds, and revokes, when nothing is going on there any more."""
        raise AssertionError("an operator is not needed here")

    def says(self):
        """What the operator says, after a look."""
        return ["--failed"] if self.look() else ["--absent"]

    def close(self):
        pass


class ByCfssl(By):
    """It cannot be asked what became of a request: that is an operator's."""
    tells, words = False, {"", "absent", "failed"}
    before = 100

    def __init__(self, folder, new_gateway, acme):
        self.cfssl = Cfssl(folder)
        self.ca, self.port, self.settings = self.cfssl.ca, self.cfssl.port, {"san": ["dns:{hostname}"]}
        self.context = ssl.create_default_context(cafile=self.cfssl.tree.root)
        self.cfssl.start()

    def issued(self):
        """[(valid, certificate)] of the round's key."""
        return [(status == "good", cert) for _, status, cert in self.cfssl.rows() if public(cert) == public(self.key)]

    def look(self):
        self.cfssl.stop()
        found = [cert for valid, cert in self.issued() if valid]
        self.cfssl.start()
        for cert in found:  # it keeps its certificates under no authority, which its command line does not take
            words = {"serial": str(cert.serial_number), "authority_key_id": "", "reason": "superseded"}
            request = urllib.request.Request(self.ca["url"] + "/api/v1/cfssl/revoke", json.dumps(words).encode())
            with urllib.request.urlopen(request, timeout=WAIT_S, context=self.context) as answer:
                assert json.load(answer)["success"]
        return found

    def close(self):
        self.cfssl.stop()


class ByEst(By):
    """A second enrolld: the identical request again is the question what became of it."""
    tells, words = True, {""}

    def __init__(self, folder, new_gateway, acme):
        self.gateway = gateway = new_gateway()
        gateway.settings["profiles"][0].update(lifetime="30d")
        gateway.add_profile("registrar", eku=["clientAuth", "cmcRA"], classes=["registrar"])
        gateway.add_label("registrars", profile="registrar", auth=["certificate"])
        gateway.add_label("site", auth=["own", "registrar"])
        gateway.start()
        key, made = pki.ec_key(), acme.idevid()
        gateway.own(made, **{"class": "registrar"})
        registrar = made.with_cert(folder, est.enroll(gateway, pki.csr(key, ""), made, label="registrars").cert(), key)
        self.port, self.settings = gateway.port, {}
        self.ca = {"name": "corporate", "type": "est", "url": "https://127.0.0.1:%d" % gateway.port, "tls_ca": gateway.root,
                   "profile": "site", "certificate": gateway.issuing, "chain": [gateway.root],
                   "client_cert": registrar.pem, "client_key": registrar.key_file}

    def own(self, device):
        self.device = self.gateway.own(device)

    def issued(self):
        with halt.reading(self.gateway.db) as db:
            found = [(status == 0, x509.load_der_x509_certificate(der)) for status, der in db.execute(
                "SELECT c.status, d.der FROM certificate c JOIN certificate_der d ON d.id = c.id")]
        return [(valid, cert) for valid, cert in found if public(cert) == public(self.key)]


class Relay:
    """In front of a CMP server: it knows what went through."""

    KINDS = {4: "p10cr", 24: "certConf", 25: "pollReq"}  # RFC 4210, section 5.1.2

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.to, self.talks, self.probes = self.listener.getsockname()[1], None, [], set()
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, name = self.listener.accept()
                if name in self.probes:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                talk = bytearray(), bytearray()
                pumps = [threading.Thread(target=self._pump, args=words, daemon=True)
                         for words in ((near, far, talk[0]), (far, near, talk[1]))]
                for pump in pumps:
                    pump.start()
                self.talks.append(talk + tuple(pumps))

    @staticmethod
    def _pump(source, sink, kept):
        octets = b" "
        while octets:
            try:
                octets = source.recv(65536)
            except OSError:
                octets = b""
            kept += octets
            with contextlib.suppress(OSError):
                sink.sendall(octets) if octets else sink.shutdown(socket.SHUT_WR)

    def settle(self):
        """The gateway is gone: whatever it has sent gets where it was sent to, whoever waited to be accepted too."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.probes.add(probe.getsockname())
            probe.connect(self.listener.getsockname())
            assert probe.recv(1) == b""
        for talk in self.talks:
            for pump in talk[2:]:
                pump.join(WAIT_S)
                assert not pump.is_alive()

    def asked(self):
        """The kinds of the messages that were sent whole."""
        kinds = []
        for octets in (bytes(talk[0]) for talk in self.talks):
            while b"\r\n\r\n" in octets:
                head, octets = octets.split(b"\r\n\r\n", 1)
                length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                message, octets = octets[:length], octets[length:]
                if len(message) == length:
                    kinds.append(self._kind(message))
        return kinds

    def _kind(self, message):
        """PKIMessage ::= SEQUENCE { header, body, ... }, and the body's tag says what it is (RFC 4210, section 5.1)."""
        def parse(at):
            """Where the contents begin and where they end."""
            size = message[at + 1]
            if size < 0x80:
                return at + 2, at + 2 + size
            more = at + 2 + (size & 0x7f)
            return more, more + int.from_bytes(message[at + 2:more], "big")

        return self.KINDS.get(message[parse(parse(0)[0])[1]] & 0x1f)

    def gave(self, octets):
        return any(octets in talk[1] for talk in self.talks)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(WAIT_S)


class ByCmp(By):
    """`openssl cmp`, which makes wait: it is polled, also by a gateway that never asked. What became of a request is not told."""
    tells, words = False, {"", "polled", "absent", "failed"}
    before, kinds = -2, {"sync", "connect", "received"}  # fewer: a round waits for a poll, or for two

    def __init__(self, folder, new_gateway, acme):
        self.tree, self.relay, self.service = driver.Hierarchy(folder), Relay(), None
        self.port = self.relay.port
        self.ca = {"name": "corporate", "type": "cmp", "url": "http://127.0.0.1:%d/" % self.port, "allow_plain": True,
                   "tls_ca": self.tree.root, "certificate": self.tree.issuing, "chain": [self.tree.root], "auth": "secret",
                   "user": "gateway", "secret_file": self.tree.path("secret", SECRET.encode() + b"\n")}
        self.settings = {"subject": "CN={tag}", "san": []}

    def own(self, device):
        self.tag = device.tag

    def begin(self, key):
        self.key, self.made, self.revoked, self.relay.talks = key, [], [], []
        self.serve()

    def serve(self):
        """
        A server that has made one certificate for the key, and gives it to the second poll. With the connection that it keeps its
        transaction ends, and a certificate that it gave once it does not give again; so what a dead gateway left there is over
        when the next one polls, but for what had been made to wait.
        """
        self.stop()
        self.made.append(leaf(self.tree, self.key, self.tag))
        rsp = self.tree.path("rsp.pem", self.made[-1].public_bytes(driver.PEM))
        self.relay.to = free_port()
        self.service = driver.Service([need("openssl", "openssl"), "cmp", "-port", str(self.relay.to), "-srv_ref", "ca",
                                       "-srv_secret", "pass:" + SECRET, "-rsp_cert", rsp, "-poll_count", "2", "-check_after",
                                       "1"], self.relay.to, self.tree.path("cmp.log"), self.tree.dir)

    def restarted(self):
        self.relay.settle()
        self.before = len(self.relay.asked())

    def issued(self):
        return [(cert not in self.revoked, cert) for cert in self.made
                if self.relay.gave(cert.public_bytes(driver.serialization.Encoding.DER))]

    def look(self):
        self.stop()
        found = [cert for valid, cert in self.issued() if valid]
        self.revoked += found
        self.serve()
        return found

    def asked(self, ops):
        return "p10cr" in self.relay.asked()[self.before:]

    def how(self, said):
        """A request that the CA makes wait is sent once, whoever polls for it in the end."""
        assert self.relay.asked().count("p10cr") <= (2 if said else 1)
        return "polled" if self.relay.asked()[self.before:] == ["pollReq", "certConf"] else said

    def stop(self):
        if self.service is not None:
            self.service.stop()
            self.service = None

    def close(self):
        self.stop()
        self.relay.close()


class Peer:
    """A gateway, the CA behind it, and a device; every round begins with the same store and a new key."""

    def __init__(self, by, new_gateway, acme):
        self.by, self.gateway = by, new_gateway()
        gateway, by.ca["wait"] = self.gateway, "20s"
        gateway.settings["cas"].append(by.ca)
        gateway.add_profile(LABEL, **by.settings)
        gateway.add_label(LABEL, ca="corporate", profile=LABEL, operations=["enroll"])
        gateway.start()
        self.device = gateway.own(acme.idevid())
        by.own(self.device)
        gateway.stop()
        self.halting = halt.Halting(gateway, by.port)
        self.beginning = self.halting.files()

    def until(self, good):
        """Until the store is as it should be, or nobody is there any more to make it so."""
        ends = time.monotonic() + WAIT_S
        while not good() and self.gateway.process.poll() is None:
            assert time.monotonic() < ends, self.gateway.log[-3000:]
            time.sleep(0.02)

    def enroll(self, at=0):
        """A request with a new key, up to the step; the certificate, None without one, and what it died of."""
        answer = self.request(at)
        end = self.halting.dead()
        assert (answer is None) == (end is not None), (at, answer, end)
        return answer and answer.cert(), end

    def request(self, at=0):
        """The same; the answer, None without one."""
        self.key = pki.ec_key()
        self.csr = pki.csr(self.key, "CN=" + self.device.tag)
        self.by.begin(self.key)
        self.by.ca["wait"] = "20s"
        self.halting.replace(self.beginning)
        self.halting.set_clock(0)
        self.halting.start(at)
        self.halting.arm()
        try:
            return self.ask()
        except (OSError, est.Closed):
            return None

    def ask(self):
        return est.enroll(self.gateway, self.csr, self.device, label=LABEL)

    def opened(self):
        return halt.reading(self.gateway.db)

    def rows(self, sql, *values):
        with self.opened() as db:
            return db.execute(sql, values).fetchall()

    def operator(self):
        """What nobody here can know is not sent again before somebody has looked. The word given, if any."""
        unknown = self.rows("SELECT id, error FROM intent WHERE state = ?", UNKNOWN)
        if not unknown:
            return ""
        if self.by.tells:
            return self.believed(unknown[0][1])
        assert not self.by.asked(self.halting.ops()), "sent again, and nobody knew what of"
        assert [row["id"] for row in self.gateway.ctl("ca", "intents", "--open") if row["state"] == "unknown"] == [unknown[0][0]]
        words = self.by.says()
        self.gateway.ctl("ca", "resolve", str(unknown[0][0]), *words, "--reason", "looked")
        return words[0][len("--"):]

    def believed(self, error):
        """That nothing was issued is heard twice, a minute apart (gateway/core/README.md)."""
        if error != SO_FAR:
            return ""
        self.halting.set_clock(self.halting.later_s + SETTLE_S)
        self.gateway.ctl("ca", "list")  # an operator's word makes the gateway look
        return "so far"

    def served(self):
        """The device asks until it is served; the certificate, and what the operator said."""
        answer, said = self.told()
        return answer.cert(), said

    def told(self):
        """The device asks until it need not wait, whenever the store has news, and whatever an operator has to do for it."""
        ends, said = time.monotonic() + WAIT_S, self.operator()
        while True:
            answer = self.ask()
            if answer.status != 202:
                return answer, said
            while self.rows("SELECT state FROM request") == [(WAITS,)]:
                said = said or self.operator()
                assert time.monotonic() < ends, self.gateway.log[-3000:]
                time.sleep(0.05)

    def recover(self, seen):
        """Started again: one certificate, here, there, and at the device. What the operator said."""
        self.by.ca["wait"] = "0s"
        self.by.restarted()
        self.halting.start()
        got, said = self.served()
        assert seen in (None, got), "a second certificate for one request"
        der = got.public_bytes(driver.serialization.Encoding.DER)
        assert self.rows("SELECT d.der, c.status, c.label FROM certificate c JOIN certificate_der d ON d.id = c.id"
                         ) == [(der, 0, LABEL)]
        issued = self.by.issued()
        assert [cert for valid, cert in issued if valid] == [got]
        assert len(issued) == (2 if said == "failed" else 1), "one more only where an operator was shown it"
        assert sorted(self.rows("SELECT state FROM intent")) == [(DONE,)] + [(FAILED,)] * (said == "failed")
        with self.opened() as db:
            halt.check_chain(db)
        self.gateway.kill()
        return self.by.how(said)


def committed(peer, ops, sql):
    """The step after the synchronisation that has made something of this true for good."""
    disk = halt.Disk(peer.beginning)
    for op in ops:
        disk.follow([op])
        if op.what == "synced" and op.place == "log":
            with halt.opened(peer.gateway.dir, disk.left(halt.NOTHING)) as db:
                if db.execute(sql).fetchone():
                    return op.step
    raise AssertionError("it is never so: " + sql)


def boundaries(steps, head=HEAD, last=None):
    """
    [(step, what becomes of the store)]. Of writes in a row the last, which commits: nothing before it does; before a
    synchronisation both what was written and what is safe; what was received last of what came in a row; each octet sent. Where
    the CA is turned to, the store's own last step is the same place. In the end nobody dies, and power is lost behind the answer.
    """
    out, loss = [], 0
    for op, after in zip(steps, steps[1:] + [steps[-1]._replace(what="answer", place="device")]):
        if op.what == "write" and after.what != op.what:
            out.append((op.step, LOSSES[loss % 2]))
            loss += 1
        elif op.what == "sync":
            out += [(op.step, halt.KILLED), (op.step, halt.NOTHING)]
        elif op.what != "write" and after.place != ("ca" if op.what == "synced" else "device") and (
                op.what != "received" or after.what != op.what):
            out.append((op.step, halt.KILLED))
    out = [place for place in out[head:] if last is None or place[0] <= last] + [(NEVER, halt.NOTHING)]
    if halt.EVERY:
        out = sorted(set(out) | {(at, halt.STATES[at % len(halt.STATES)]) for at in range(1, steps[-1].step + 1)})
    return out


def kind_of(place, steps):
    """What would be done there; in another round it may be the one before or after: the CA's octets come as they like."""
    return "" if place[0] == NEVER else steps[place[0] - 1].what


def without_greetings(places, steps):
    """The same, but of what is sent and received before something is written the last alone: handshakes are much the same."""
    kept, seen = [], set()
    for place in reversed(places):
        kind = kind_of(place, steps)
        if kind in ("write", "sync", "synced"):
            seen.clear()
        if kind not in seen or halt.EVERY:
            kept.append(place)
        if kind in ("send", "received"):
            seen.add(kind)
    return kept[::-1]


def check_order(peer, ops):
    """The CA hears nothing before the intent is safe, and what it said is safe before the device hears it."""
    disk = halt.Disk(peer.beginning)
    first = next(i for i, op in enumerate(ops) if op.place == "ca")
    disk.follow(ops[:first])
    assert disk.is_safe(), "sent with writes under way"
    with halt.opened(peer.gateway.dir, disk.left(halt.NOTHING)) as db:
        assert db.execute("SELECT state FROM intent").fetchall() == [(SENT,)]
        assert db.execute("SELECT count(*) FROM certificate").fetchall() == [(0,)]
    disk.follow(ops[first:])
    with halt.opened(peer.gateway.dir, disk.left(halt.NOTHING)) as db:
        assert db.execute("SELECT state FROM intent").fetchall() == [(DONE,)]
        assert db.execute("SELECT count(*) FROM certificate").fetchall() == [(1,)]


def through_deaths(by, new_gateway, acme):
    """An enrollment, and one for each death; the table of it is printed."""
    table = []
    with contextlib.closing(by):
        peer = Peer(by, new_gateway, acme)
        assert peer.enroll()[1] is None
        steps = peer.halting.steps()
        check_order(peer, peer.halting.ops())
        assert {op.what for op in steps} == By.kinds
        # What is written behind it tells the audit that the certificate went out.
        recorded = committed(peer, peer.halting.ops(), "SELECT 1 FROM certificate")
        places, connect = boundaries(steps, last=recorded), next(op.step for op in steps if op.what == "connect")
        first = 0 if halt.EVERY else sum(at < connect for at, _ in places) - by.before
        places = places[max(first, 0):] if by.greets else without_greetings(places[max(first, 0):], steps)
        places = [place for place in places if kind_of(place, steps) in by.kinds | {""} or halt.EVERY]
        for at, state in places:
            seen, end = peer.enroll(at)
            peer.halting.lose_power(state)
            table.append((at, end.what if end else "answered", state, peer.recover(seen)))
    print("\n%s: %d steps, %d deaths" % (type(by).__name__, len(steps), len(table)))
    print("\n".join("%7d %-8s %-7s %s" % row for row in table))
    assert {kind_of(place, steps) for place in places} >= by.kinds | {""}
    assert {row[3] for row in table} == by.words


@pytest.mark.parametrize("kind", [ByCfssl, ByEst, ByCmp], ids=["cfssl", "est", "cmp"])
def test_a_death_at_any_step_leaves_one_certificate_here_and_there(kind, tmp_path_factory, new_gateway, acme):
    through_deaths(kind(tmp_path_factory.mktemp("ca"), new_gateway, acme), new_gateway, acme)
