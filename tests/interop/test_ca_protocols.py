"""Devices that speak SCEP and CoAP, and a CA elsewhere that is down when they ask."""
import os
import sqlite3
import sys
import time

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import cmp_ca  # noqa: E402
import coap  # noqa: E402
import driver  # noqa: E402
import pki  # noqa: E402
import scep  # noqa: E402
from fault_cells import csr_of, names_of  # noqa: E402

SETTLE_S = 60
POLL_S = 0.2


@pytest.fixture
def ca(tmp_path_factory):
    """Down, and its port is known."""
    made = cmp_ca.CmpCa(driver.Hierarchy(tmp_path_factory.mktemp("cmp"))).start()
    made.stop()
    yield made
    made.stop()


class PlantRa(scep.Ra):
    """By the CA elsewhere: what else should a device believe?"""

    def __init__(self, gw, tree):
        self.name, self.key, self.apart = "plant", scep.fresh_key(), False
        cert = pki.ra_cert(tree.issuing_cert, tree.issuing_key, self.key, "SCEP RA", ("digital_signature", "key_encipherment"))
        pki.write_pair(os.path.join(gw.dir, self.name), cert, self.key)
        self.cert = self.encryption = pki.cert_der(cert)
        self.decrypt_key = self.key

    def settings(self, previous=()):
        return dict(super().settings(previous), name=self.name)


def add_scep_label(gw, name, **kw):
    gw.settings["ras"].append(gw.ra.settings())
    scep.add_label(gw, name, scep_ra=gw.ra.name, **kw)


def behind(gw, ca, add_label):
    gw.settings["cas"].append(dict(ca.settings, name="corporate", wait="1s"))
    gw.add_profile("plain", san=["dns:{hostname}"])
    add_label(gw, "corporate", ca="corporate", profile="plain", retry_after="4s", operations=["enroll", "renew"])
    return gw.start()


def rows(gw, sql, *values):
    with sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True, timeout=30) as db:
        return db.execute(sql, values).fetchall()


def await_down(gw):
    """The CA has been called in vain."""
    ends = time.monotonic() + SETTLE_S
    while rows(gw, "SELECT count(*) FROM intent WHERE state = 0 AND tries > 0 AND error <> ''") != [(1,)]:
        assert time.monotonic() < ends, gw.log[-3000:]
        time.sleep(POLL_S)


def until(good, ask, gw):
    ends = time.monotonic() + SETTLE_S
    while True:
        answer = ask()
        if good(answer):
            return answer
        assert time.monotonic() < ends, (answer, gw.log[-3000:])
        time.sleep(POLL_S)


def check(gw, ca, device, key, cert):
    """One request, one certificate, of this asset, in both records."""
    subject, host = names_of(device)
    assert pki.spki(cert.public_key()) == pki.spki(key)
    assert [one.value for one in cert.subject] == [part.split("=")[1] for part in subject.split(",")]
    assert [name.value for name in driver.sans(cert)] == [host]
    (made,) = ca.issued()
    assert made.cert == cert and ca.told(made) == "confirmed" and not made.revoked
    assert rows(gw, "SELECT a.tag, c.ca, c.label, c.status, c.serial FROM certificate c JOIN asset a ON a.id = c.asset_id") == [
        (device.tag, "corporate", "corporate", 0, "%032x" % cert.serial_number)]
    assert rows(gw, "SELECT count(*) FROM request") == rows(gw, "SELECT count(*) FROM intent WHERE state = 4") == [(1,)]
    assert rows(gw, "SELECT count(*) FROM audit WHERE action = 'enroll.issued' AND subject = ?", device.tag) == [(1,)]


def test_scep_waits_for_a_ca_that_is_down_and_polls_its_certificate(ca, new_gateway, acme):
    gw = scep.configure(new_gateway())
    gw.ra = PlantRa(gw, ca.tree)
    behind(gw, ca, add_scep_label)
    owned = scep.Owned(gw, acme)
    subject, host = names_of(owned.device)
    message = scep.pkcs_req(gw.ra, owned.signer, csr=pki.csr(owned.signer.key, subject, [("dns", host)], owned.challenge))

    def poll(transaction=message.transaction, signer=owned.signer):
        return scep.send(gw, scep.cert_poll(gw.ra, signer, transaction, subject=subject), "corporate")

    assert scep.send(gw, message, "corporate").status == scep.PENDING
    await_down(gw)
    assert [poll().status for _ in range(3)] == [scep.PENDING] * 3
    assert ca.issued() == [] and gw.certs(owned.tag) == []
    gw.restart()
    assert poll().status == scep.PENDING
    ca.start()
    reply = until(lambda answer: answer.status != scep.PENDING, poll, gw)
    assert reply.status == scep.SUCCESS, reply
    check(gw, ca, owned.device, owned.signer.key, reply.cert)
    # Asked for once more, by poll or by the same request, it is the same one; another's key gets nothing of it.
    assert poll().cert == reply.cert == scep.send(gw, message.again(), "corporate").cert
    assert poll(signer=scep.Signer()).status == scep.FAILURE
    check(gw, ca, owned.device, owned.signer.key, reply.cert)


def test_coap_is_told_when_to_come_back_to_a_ca_that_is_down(ca, new_gateway, acme):
    gw = behind(coap.configure(new_gateway()), ca, coap.add_label)
    device, key = gw.own(acme.idevid()), pki.ec_key()
    csr = csr_of(device, key)
    with coap.Conn(gw, device) as conn:
        for _ in range(2):
            answer = conn.post("sen", csr, "corporate")
            # RFC 9148, section 4.4.2: "the EST-coaps server MUST respond with a 5.03 (Service Unavailable)" and a Max-Age
            assert answer.code == 503 and 1 <= answer.get(coap.MAX_AGE) <= 60, answer
            await_down(gw)
        assert ca.issued() == [] and gw.certs(device.tag) == []
        ca.start()
        answer = until(lambda answer: answer.code != 503, lambda: conn.post("sen", csr, "corporate"), gw)
        cert = answer.cert()
        check(gw, ca, device, key, cert)
        again = conn.post("sen", csr, "corporate")
        assert again.cert() == cert
    assert isinstance(cert, x509.Certificate)
    check(gw, ca, device, key, cert)
