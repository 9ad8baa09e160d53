"""Two of Debian's cfssl behind one gateway, in one trust group: who is asked when the first does not answer, and who is not."""
import os
import socket
import struct
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from test_ca_pipeline import Cfssl, await_rows, check, gw_rows  # noqa: E402

BREAKER = 5  # failures in a row open it
WAIT_S = 60
DONE_BY = "SELECT count(*) FROM certificate WHERE ca = '%s'"


def under(tree, other):
    """The second tree's issuing CA and server, below the first one's root."""
    other.root_key, other.root_cert = tree.root_key, tree.root_cert
    other.issuing_cert = other._sign(driver.name("Peer Issuing B"), other.issuing_key, tree.root_cert.subject, ca=0)
    server = other._sign(driver.name("server"), other.server_key, tree.root_cert.subject, ca=None)
    for path, cert in ((other.root, tree.root_cert), (other.issuing, other.issuing_cert), (other.server, server)):
        with open(path, "wb") as out:
            out.write(cert.public_bytes(driver.PEM))


def hang_up(sock):
    """At once, though another thread waits for it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Relay:
    """Takes connections for a service. "pass": both ways; "lose": the request goes there, and no answer comes back."""

    def __init__(self, port):
        self.to, self.mode = port, "pass"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, self.mode), daemon=True).start()

    def _serve(self, client, mode):
        try:
            server = socket.create_connection(("127.0.0.1", self.to), 5)
        except OSError:
            client.close()
            return
        asked = threading.Event()
        back = threading.Thread(target=self._back, args=(server, client, mode, asked), daemon=True)
        back.start()
        received = b""
        try:
            while data := client.recv(65536):
                received += data
                # The request is the one long record of application data (RFC 8446, section 5.1: type 23).
                while len(received) >= 5 and len(received) >= 5 + struct.unpack(">H", received[3:5])[0]:
                    size = struct.unpack(">H", received[3:5])[0]
                    if received[0] == 23 and size > 400:
                        asked.set()
                    received = received[5 + size:]
                server.sendall(data)
        except OSError:
            pass
        if not asked.is_set() or mode == "pass":
            hang_up(server)

    @staticmethod
    def _back(server, client, mode, asked):
        try:
            while data := server.recv(65536):
                if mode == "lose" and asked.is_set():
                    hang_up(client)
                    while server.recv(65536):
                        pass
                    return
                client.sendall(data)
        except OSError:
            pass
        hang_up(client)

    def close(self):
        self.listener.close()


class Pair:
    def __init__(self, folders):
        self.first, self.second = Cfssl(folders("first")), Cfssl(folders("second"))
        under(self.first.tree, self.second.tree)
        self.relay = None
        self.first.ca.update(name="first", group="fleet", wait="0s", failover=["second"])
        self.second.ca.update(name="second", group="fleet", wait="20s")

    def through_a_relay(self):
        self.relay = Relay(self.first.port)
        self.first.ca["url"] = "https://127.0.0.1:%d" % self.relay.port

    def stop(self):
        self.first.stop()
        self.second.stop()
        if self.relay is not None:
            self.relay.close()


@pytest.fixture
def pair(tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp)
    yield made
    made.stop()


@pytest.fixture
def gw(new_gateway, pair):
    made = new_gateway()
    made.settings["cas"] += [pair.first.ca, pair.second.ca]
    made.add_profile("plain", san=["dns:{hostname}"])
    made.add_label("fleet", ca="first", profile="plain", operations=["enroll", "renew"])
    return made


class Device:
    def __init__(self, gw, acme):
        self.gw, self.idevid, self.key = gw, gw.own(acme.idevid()), pki.ec_key()
        self.request = pki.csr(self.key, "")

    def ask(self):
        return est.enroll(self.gw, self.request, self.idevid, label="fleet")

    def waits(self):
        answer = self.ask()
        assert answer.status == 202 and int(answer.get("Retry-After")) >= 1, (answer, self.gw.log)
        return self

    def served_by(self, ca):
        answer = self.ask()
        assert answer.status == 200, (answer, self.gw.log[-3000:])
        check(answer.cert(), ca, self.key)
        return answer.cert()


def await_breaker(gw, ca, state):
    ends = time.monotonic() + WAIT_S
    while [row["breaker"] for row in gw.ctl("ca", "list") if row["ca"] == ca] != [state]:
        assert time.monotonic() < ends, gw.log[-3000:]
        time.sleep(0.1)


def number(gw, sql):
    with gw_rows(gw) as db:
        return db.execute(sql).fetchone()[0]


def each_exactly_one(gw, pair, by_first, by_second):
    """In the CAs' own books, and in the gateway's."""
    assert (len(pair.first.rows()), len(pair.second.rows())) == (by_first, by_second)
    assert number(gw, DONE_BY % "first") == by_first and number(gw, DONE_BY % "second") == by_second
    assert number(gw, "SELECT count(DISTINCT request_id) FROM certificate") == by_first + by_second


def test_the_first_is_down_before_anybody_asks(gw, pair, acme):
    pair.second.start()
    gw.start()
    device = Device(gw, acme).waits()
    await_rows(gw, DONE_BY % "second", 1)
    device.served_by(pair.second)
    # The next one need not wait at all.
    Device(gw, acme).served_by(pair.second)
    each_exactly_one(gw, pair, 0, 2)
    assert number(gw, "SELECT count(*) FROM audit WHERE action = 'ca.failover'") == 2
    assert [row["failover"] for row in gw.ctl("ca", "list") if row["ca"] == "first"] == ["second"]
    metrics = gw.admin_get("/metrics")[1]
    metrics = metrics if isinstance(metrics, str) else metrics.decode()
    assert 'enrolld_ca_failovers_total{from="first",to="second"} 2\n' in metrics


def test_a_wave_is_served_by_the_second_and_the_first_comes_back(gw, pair, acme):
    pair.first.start()
    gw.start()
    early = Device(gw, acme).waits()
    await_rows(gw, DONE_BY % "first", 1)
    early.served_by(pair.first)
    pair.first.stop()
    # Nobody answers: they wait, each with its request at the first.
    wave = [Device(gw, acme).waits() for _ in range(BREAKER + 3)]
    await_breaker(gw, "first", "open")
    pair.second.start()
    await_rows(gw, DONE_BY % "second", len(wave))
    serials = {device.served_by(pair.second).serial_number for device in wave}
    assert len(serials) == len(wave)
    each_exactly_one(gw, pair, 1, len(wave))
    assert number(gw, "SELECT count(*) FROM audit WHERE action = 'ca.failover'") == len(wave)
    # Nothing is asked of the first, and still it is found when it is back; what is new goes there.
    pair.first.start()
    await_breaker(gw, "first", "closed")
    late = Device(gw, acme).waits()
    await_rows(gw, DONE_BY % "first", 2)
    late.served_by(pair.first)
    assert early.served_by(pair.first) and wave[0].served_by(pair.second)
    each_exactly_one(gw, pair, 2, len(wave))
    assert gw.ctl("audit", "verify")


def test_one_whose_answer_was_lost_is_not_asked_of_another(gw, pair, acme):
    pair.through_a_relay()
    pair.first.start()
    pair.second.start()
    pair.relay.mode = "lose"
    gw.start()
    lost = Device(gw, acme).waits()
    await_rows(gw, "SELECT count(*) FROM intent WHERE state = 3", 1)
    assert len(pair.first.rows()) == 1
    pair.first.stop()
    wave = [Device(gw, acme) for _ in range(BREAKER + 1)]
    for device in wave:
        assert device.ask().status in (200, 202)
    await_rows(gw, DONE_BY % "second", len(wave))
    lost.waits()
    assert [(row["ca"], row["state"]) for row in gw.ctl("ca", "intents", "--open")] == [("first", "unknown")]
    assert number(gw, "SELECT count(*) FROM audit WHERE action = 'ca.failover'") == len(wave)
    assert (len(pair.first.rows()), len(pair.second.rows())) == (1, len(wave))
    # An operator looks into the first one's books, revokes what nobody has there, and lets it be asked anew: now by the second.
    row = gw.ctl("ca", "intents", "--open")[0]
    gw.ctl("ca", "resolve", str(row["id"]), "--absent", "--reason", "revoked there")
    await_rows(gw, DONE_BY % "second", len(wave) + 1)
    lost.served_by(pair.second)


def test_the_one_that_issued_is_told_of_the_revocation(gw, pair, acme):
    pair.second.start()
    gw.start()
    device = Device(gw, acme).waits()
    await_rows(gw, DONE_BY % "second", 1)
    cert = device.served_by(pair.second)
    pair.first.start()
    await_breaker(gw, "first", "closed")
    gw.ctl("asset", "set-state", device.idevid.tag, "deployed", "--reason", "test")
    gw.ctl("asset", "set-state", device.idevid.tag, "stolen", "--reason", "test")
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE ca = 'second' AND state = 1", 1)
    assert [row[:2] for row in pair.second.rows()] == [(str(cert.serial_number), "revoked")]
    assert pair.first.rows() == []
