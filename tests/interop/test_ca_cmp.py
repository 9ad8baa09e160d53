"""Devices, a gateway, and a CMP CA behind it that issues (tests/ca/cmp_ca.c): many devices, waits, restarts, revocations, mistakes."""
import collections
import hashlib
import http.client
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import cmp_ca  # noqa: E402
import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
import faults  # noqa: E402
from fault_cells import csr_of, names_of  # noqa: E402
from gateway import ENV, SANITIZER, binary  # noqa: E402

SETTLE_S = 60
POLL_S = 0.1
DEVICES = 6
WAITING, UNKNOWN, DONE = 2, 3, 4  # of intents


@pytest.fixture
def make_ca(tmp_path_factory):
    made = []

    def make(*options, **kw):
        made.append(cmp_ca.CmpCa(driver.Hierarchy(tmp_path_factory.mktemp("cmp")), *options, **kw))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def ca(make_ca):
    return make_ca().start()


@pytest.fixture
def make_gw(new_gateway):
    def make(ca, **more):
        gw = new_gateway()
        gw.settings["cas"].append(dict(ca.settings, name="corporate", wait="1s", **more))
        gw.add_profile("plain", san=["dns:{hostname}"])
        gw.add_label("corporate", ca="corporate", profile="plain", retry_after="1s", operations=["enroll", "renew"])
        return gw.start()

    return make


@pytest.fixture
def gw(make_gw, ca):
    return make_gw(ca)


class Asked:
    """A device and the one request that it sends as often as it likes."""

    def __init__(self, gw, acme):
        self.gw, self.device, self.key = gw, gw.own(acme.idevid()), pki.ec_key()
        self.csr = csr_of(self.device, self.key)

    def ask(self):
        return est.enroll(self.gw, self.csr, self.device, label="corporate")

    def ask_until_told(self):
        ends = time.monotonic() + SETTLE_S
        while True:
            answer = self.ask()
            if answer.status != 202:
                return answer
            assert time.monotonic() < ends, self.gw.log[-3000:]
            time.sleep(POLL_S)

    def of(self, ca):
        """What the CA has made for this request."""
        return [one for one in ca.issued() if one.request == hashlib.sha256(self.csr).hexdigest()]

    def check(self, cert, tree):
        """Key, names and chain, by another library."""
        subject, host = names_of(self.device)
        assert pki.spki(cert.public_key()) == pki.spki(self.key)
        assert [one.value for one in cert.subject] == [part.split("=")[1] for part in subject.split(",")]
        assert [name.value for name in driver.sans(cert)] == [host]
        for lower, upper in ((cert, tree.issuing_cert), (tree.issuing_cert, tree.root_cert)):
            assert lower.issuer == upper.subject
            upper.public_key().verify(lower.signature, lower.tbs_certificate_bytes, ec.ECDSA(lower.signature_hash_algorithm))


def intents(gw, column="state"):
    with sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True, timeout=30) as db:
        return [row[0] for row in db.execute("SELECT %s FROM intent ORDER BY id" % column)]


def await_that(good, gw):
    ends = time.monotonic() + SETTLE_S
    while not good():
        assert time.monotonic() < ends, gw.log[-3000:]
        time.sleep(POLL_S)


@pytest.mark.parametrize("by_secret", [True, False], ids=["secret", "signature"])
def test_each_device_gets_a_certificate_of_its_own(make_ca, make_gw, acme, by_secret):
    ca = make_ca(by_secret=by_secret).start()
    gw = make_gw(ca)
    asked = [Asked(gw, acme) for _ in range(DEVICES)]
    answers = est.in_parallel([one.ask_until_told for one in asked])
    assert [answer.status for answer in answers] == [200] * DEVICES, gw.log[-3000:]
    for one, answer in zip(asked, answers):
        one.check(answer.cert(), ca.tree)
        (made,) = one.of(ca)
        assert made.cert == answer.cert() and ca.told(made) == "confirmed" and not made.revoked
        assert made.serial.bit_length() in (126, 127)
    assert len({answer.cert().serial_number for answer in answers}) == DEVICES == len(ca.issued())
    again = est.in_parallel([one.ask for one in asked])
    assert [answer.cert() for answer in again] == [answer.cert() for answer in answers]
    assert len(ca.issued()) == DEVICES


def test_what_waits_at_the_ca_is_issued_when_the_ca_says_so(gw, ca, acme):
    ca.order("wait")
    asked = [Asked(gw, acme) for _ in range(2)]
    assert [one.ask().status for one in asked] == [202, 202]
    await_that(lambda: intents(gw) == [WAITING, WAITING], gw)
    assert ca.issued() == []
    ca.order()
    for one in asked:
        answer = one.ask_until_told()
        one.check(answer.cert(), ca.tree)
        assert [made.cert for made in one.of(ca)] == [answer.cert()]
    assert [ca.told(made) for made in ca.issued()] == ["confirmed"] * 2


def test_so_many_polls_as_the_ca_wants(make_ca, make_gw, acme):
    ca = make_ca("--wait", "3").start()
    one = Asked(make_gw(ca), acme)
    one.check(one.ask_until_told().cert(), ca.tree)
    assert [words[1] for event, *words in ca.events() if event == "waiting"] == ["3", "2", "1"]


def test_what_is_revoked_here_is_on_the_cas_list(gw, ca, acme):
    asked = [Asked(gw, acme) for _ in range(2)]
    certs = [one.ask_until_told().cert() for one in asked]
    gw.set_state(asked[0].device, "deployed")
    gw.set_state(asked[0].device, "stolen")
    await_that(lambda: [made.serial for made in ca.issued() if made.revoked] == [certs[0].serial_number], gw)
    await_that(lambda: gw.audit("ca.revoked"), gw)
    assert [words[0] for event, *words in ca.events() if event == "revoked"] == ["%x" % certs[0].serial_number]


def test_a_hold_ends_and_a_revocation_does_not(ca):
    certs = []
    for name in ("gw-1-0", "gw-2-0"):
        csr, _ = ca.tree.csr("rtr-7")
        certs.append(driver.drive(ca.settings, "issue", csr, name, cn="rtr-7").serial)

    def said(serial, reason):
        return driver.drive(ca.settings, "revoke", serial, str(reason)).text.split(" ")[0].strip()

    def standing():
        return [(one.revoked, one.held) for one in ca.issued()]

    assert said(certs[0], 6) == "revoked" and standing() == [(True, True), (False, False)]
    assert said(certs[1], 1) == "revoked" and standing() == [(True, True), (True, False)]
    ca.kill()
    ca.start()
    assert said(certs[0], 8) == "revoked" and standing() == [(False, False), (True, False)]
    assert said(certs[1], 8) == "error" and standing() == [(False, False), (True, False)]
    assert said(certs[1], 4) == "revoked" and said("0a1b2c", 4) == "error"


def test_a_wrong_secret_costs_time_until_it_is_mended(make_ca, make_gw, acme):
    ca = make_ca().start()
    right = ca.settings["secret_file"]
    ca.settings["secret_file"] = ca.tree.path("wrong.secret", b"0123456789abcdef\n")
    gw = make_gw(ca)
    one = Asked(gw, acme)
    assert one.ask().status == 202
    await_that(lambda: "check our secret" in (intents(gw, "error") or [""])[0], gw)
    assert ca.events() == []
    gw.settings["cas"][-1]["secret_file"] = right
    gw.restart()
    one.check(one.ask_until_told().cert(), ca.tree)
    assert len(ca.issued()) == 1


def test_a_ca_that_dies_while_a_request_waits_there_gives_one_certificate(gw, ca, acme):
    ca.order("wait")
    one = Asked(gw, acme)
    assert one.ask().status == 202
    await_that(lambda: intents(gw) == [WAITING], gw)
    ca.kill()
    tries = intents(gw, "tries")[0]
    await_that(lambda: intents(gw, "tries")[0] > tries, gw)  # a poll that reached nobody
    assert one.ask().status == 202 and intents(gw) == [WAITING]
    ca.start()
    ca.order()
    one.check(one.ask_until_told().cert(), ca.tree)
    (made,) = ca.issued()
    assert ca.told(made) == "confirmed" and not made.revoked


def test_one_request_never_has_two_certificates(make_gw, make_ca, acme):
    """Asked many times at once, while it waits, and across deaths of both; between two polls, since the answer to one must not be lost."""
    ca = make_ca("--check-after", "5").start()
    gw = make_gw(ca)
    ca.order("wait")
    asked = [Asked(gw, acme) for _ in range(3)]
    jobs = [one.ask for one in asked for _ in range(3)]
    assert {answer.status for answer in est.in_parallel(jobs)} == {202}
    await_that(lambda: intents(gw) == [WAITING] * 3, gw)
    gw.kill()
    ca.kill()
    gw.start()
    ca.start()
    assert {answer.status for answer in est.in_parallel(jobs)} == {202}
    ca.order()
    told = est.in_parallel([one.ask_until_told for one in asked for _ in range(3)])
    assert [answer.status for answer in told] == [200] * 9
    made = collections.Counter(one.request for one in ca.issued())
    assert made == {hashlib.sha256(one.csr).hexdigest(): 1 for one in asked}
    for i, one in enumerate(asked):
        assert {answer.cert().serial_number for answer in told[3 * i:3 * i + 3]} == {one.of(ca)[0].serial}
    gw.kill()
    gw.start()
    assert [one.ask().status for one in asked] == [200] * 3
    assert len(ca.issued()) == 3


@pytest.mark.parametrize("order", ["again", "also"])
def test_another_devices_certificate_is_neither_given_nor_revoked_nor_forgotten(gw, ca, acme, order):
    """again: the CA gives the certificate of the device before, and makes none. also: it makes one besides, which nobody sees."""
    first, second = Asked(gw, acme), Asked(gw, acme)
    good = first.ask_until_told().cert()
    ca.order(order)
    assert second.ask().status == 202
    await_that(lambda: intents(gw) == [DONE, UNKNOWN], gw)
    (told,) = gw.audit("ca.unknown")
    assert "%x" % good.serial_number in str(told)
    made = second.of(ca)
    assert [one.revoked for one in made] == ([True] if order == "also" else [])  # by the CA itself: it was refused
    assert not first.of(ca)[0].revoked
    ca.order()
    assert second.ask().status == 202 and len(second.of(ca)) == len(made), "it was sent again, and nobody has looked"
    number = intents(gw, "id")[-1]
    gw.ctl("ca", "resolve", str(number), "--absent", "--reason", "looked at the CA")
    second.check(second.ask_until_told().cert(), ca.tree)
    assert first.ask().cert() == good and not first.of(ca)[0].revoked
    assert [one.revoked for one in second.of(ca)] == [True] * len(made) + [False]


def test_a_certificate_of_a_key_that_nobody_has_waits_for_an_operator(gw, ca, acme):
    ca.order("other-key")
    one = Asked(gw, acme)
    assert one.ask().status == 202
    await_that(lambda: intents(gw) == [UNKNOWN], gw)
    (made,) = ca.issued()
    assert "%x" % made.serial in str(gw.audit("ca.unknown"))
    assert ca.told(made) == "refused"


def test_a_certificate_of_another_name_is_taken_back(gw, ca, acme):
    ca.order("other-name")
    one = Asked(gw, acme)
    assert one.ask_until_told().status == 403
    (made,) = one.of(ca)
    assert made.revoked and ca.told(made) == "refused" and gw.audit("ca.quarantined")


def test_what_begins_a_little_later_than_approved_is_confirmed_before_a_device_has_it(make_ca, make_gw, acme):
    """Profiles approve five minutes of backdate, and a little less is asked for: what is in between is as approved, too."""
    ca = make_ca("--backdate", "270").start()
    gw = make_gw(ca)
    one = Asked(gw, acme)
    assert one.ask_until_told().status == 200
    (made,) = one.of(ca)
    assert ca.told(made) == "confirmed" and not made.revoked


def test_what_the_next_generation_signed_is_confirmed_before_a_device_has_it(make_ca, make_gw, acme):
    ca = make_ca()
    tree, key = ca.tree, ec.generate_private_key(ec.SECP256R1())
    cert = tree._sign(driver.name("Peer Issuing"), key, tree.root_cert.subject, ca=0)
    coming = tree.path("next.pem", cert.public_bytes(driver.PEM))
    ca.options[ca.options.index("--certificate") + 1] = coming
    ca.options[ca.options.index("--key") + 1] = tree.path("next.key", driver.key_pem(key))
    ca.start()
    gw = make_gw(ca, next=coming)
    one = Asked(gw, acme)
    assert one.ask_until_told().status == 200
    (made,) = one.of(ca)
    assert ca.told(made) == "confirmed" and not made.revoked and gw.audit("ca.other_generation")


def test_the_ca_does_not_tell_what_became_of_a_lost_answer(ca):
    """Why the connector has no reconcile: a pollReq in a transaction that is over is an error, whatever became of it."""
    csr, _ = ca.tree.csr("rtr-7")
    assert driver.drive(ca.settings, "issue", csr, "gw-4-0", cn="rtr-7").state == "issued"
    again = driver.drive(ca.settings, "poll", csr, "gw-4-0", ca.issued()[0].transaction + "::", cn="rtr-7")
    assert again.state == "unknown" and "what we poll for" in again.text, again.text


def test_a_lost_answer_to_a_poll_ends_the_transaction_of_a_ca_that_compares_nonces(ca):
    """Its next poll names the nonce that came last, and this CA, on OpenSSL, sent another since: an operator's, and no refusal."""
    csr, _ = ca.tree.csr("rtr-7")
    ca.order("wait")
    waits = driver.drive(ca.settings, "issue", csr, "gw-1-0", cn="rtr-7")
    assert waits.state == "waiting"
    proxy = faults.Proxy(ca.tree, ca.port, lambda request: True, None, SETTLE_S)
    try:
        proxy.set("reset")
        lost = driver.drive(dict(ca.settings, url="https://127.0.0.1:%d/" % proxy.port), "poll", csr, "gw-1-0",
                            waits.reference, cn="rtr-7")
    finally:
        proxy.stop()
    assert lost.state == "waiting" and lost.reference == waits.reference, lost.text
    ca.order()
    again = driver.drive(ca.settings, "poll", csr, "gw-1-0", lost.reference, cn="rtr-7")
    assert again.state == "unknown" and "what we poll for" in again.text, again.text
    assert ca.issued() == []


def test_openssls_client_and_a_certificate_that_nobody_confirmed(ca):
    """The CA believes others than the connector, too; what it took back it gives to nobody's confirmation."""
    certs = []
    for options in ((), ("-disable_confirm",)):
        csr, key = ca.tree.csr("rtr-7")
        out = ca.tree.path("out.pem")
        done = subprocess.run(
            ["openssl", "cmp", "-cmd", "p10cr", "-server", "127.0.0.1:%d" % ca.port, "-path", "pkix/", "-ref", "gateway",
             "-secret", "file:" + ca.settings["secret_file"], "-recipient", "/CN=Peer Issuing", "-csr", csr, "-certout", out]
            + list(options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert done.returncode == 0, done.stdout
        with open(out, "rb") as pem:
            certs.append(x509.load_pem_x509_certificate(pem.read()))
        assert pki.spki(certs[-1].public_key()) == pki.spki(key)
    assert [made.cert for made in ca.issued()] == certs
    assert [ca.told(made) for made in ca.issued()] == ["confirmed", None]
    ca.kill()
    ca.start()
    ca.time_is_over()
    assert [made.revoked for made in ca.issued()] == [False, True]


def test_a_ca_that_dies_before_the_confirmation_takes_it_afterwards(ca):
    def seen(request, answer):
        if cmp_ca.body_of(answer.body) == cmp_ca.CP:
            ca.kill()
            ca.start()

    proxy = faults.Proxy(ca.tree, ca.port, lambda request: True, None, SETTLE_S, seen=seen)
    csr, key = ca.tree.csr("rtr-7")
    try:
        done = driver.drive(dict(ca.settings, url="https://127.0.0.1:%d/" % proxy.port), "issue", csr, "gw-1-0", cn="rtr-7")
    finally:
        proxy.stop()
    driver.check_issued(done, ca.tree.issuing_cert, key)
    assert [ca.told(made) for made in ca.issued()] == ["confirmed"]


def test_a_ca_with_an_rsa_key(tmp_path):
    key, tree = rsa.generate_private_key(65537, 2048), driver.Hierarchy(tmp_path)
    tree.issuing_key, tree.issuing_cert = key, tree._sign(driver.name("Peer Issuing"), key, tree.root_cert.subject, ca=0)
    tree.issuing = tree.path("issuing.pem", tree.issuing_cert.public_bytes(driver.PEM))
    tree.issuing_key_file = tree.path("issuing.key", driver.key_pem(key))
    ca = cmp_ca.CmpCa(tree).start()
    try:
        csr, own = tree.csr("rtr-7")
        done = driver.drive(ca.settings, "issue", csr, "gw-1-0", cn="rtr-7")
    finally:
        ca.stop()
    assert done.state == "issued" and done.verify == "ok" and pki.spki(done.cert.public_key()) == pki.spki(own), done.text
    key.public_key().verify(done.cert.signature, done.cert.tbs_certificate_bytes, padding.PKCS1v15(),
                            done.cert.signature_hash_algorithm)


def test_the_ca_speaks_http_on_a_kept_connection(ca):
    """RFC 6712, section 3: POST, and its media type; what is no PKIMessage has no PKIMessage as its answer."""
    conn = http.client.HTTPConnection("127.0.0.1", ca.port, timeout=SETTLE_S)
    conn.connect()
    kept, typed = conn.sock, {"Content-Type": "application/pkixcmp"}
    for method, body, headers, status in (("GET", None, {}, 405), ("POST", b"0", {"Content-Type": "text/plain"}, 415),
                                          ("POST", b"garbage", typed, 400), ("POST", b"0" * (300 << 10), typed, 413)):
        conn.request(method, "/pkix/", body, headers)
        answer = conn.getresponse()
        assert answer.status == status and answer.read() == b"" and conn.sock is kept, (method, answer.status)
    conn.close()
    assert ca.events() == []


def test_the_ca_tells_of_itself():
    done = subprocess.run([binary("ca/cmp_ca"), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    assert done.returncode == 0 and done.stdout.startswith("usage: cmp_ca") and done.stderr == ""
    done = subprocess.run([binary("ca/cmp_ca")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    assert done.returncode == 2 and done.stderr.startswith("usage: cmp_ca") and not SANITIZER.search(done.stderr)
