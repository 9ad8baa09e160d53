"""Too much, too deep, too slow, and what is no SCEP at all (notes on SCEP, 13)."""
import base64
import time

import pytest

import cms
import est
import pki
import scep


@pytest.fixture(scope="module")
def gw(module_gateway):
    return scep.configure(module_gateway()).start()


@pytest.fixture(scope="module")
def hasty(module_gateway):
    gateway = scep.configure(module_gateway())
    gateway.settings["limits"].update(handshake_time="1s", header_time="1s", body_time="1s", idle_time="2s",
                                      connections=40, connections_per_address=25)
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


def alive(gw):
    assert scep.get(gw, "GetCACaps").status == 200


# ---- operations

@pytest.mark.parametrize("query", ["", "?", "?operation=", "?operation=getcacaps", "?operation=GetCACaps2", "?operation=PKIOperation2",
                                   "?operation=%00", "?operation=GetCACaps%00", "?operation", "?message=x", "?operation=CertPoll",
                                   "?operation=GetCACaps&operation=GetCACert", "?operation=PKIOperation&message=AA&message=AA"])
def test_an_operation_that_is_none_is_refused(gw, query):
    answer = scep.request(gw, "GET", scep.path() + query)
    assert answer.status == 400 and answer.get("Content-Type").startswith("text/plain"), answer
    alive(gw)


@pytest.mark.parametrize("operation", ["GetCACaps", "GetCACert", "GetNextCACert"])
def test_what_is_asked_for_by_get_is_not_posted(gw, operation):
    answer = scep.post(gw, b"x", query="?operation=" + operation)
    assert answer.status == 405 and answer.get("Allow") == "GET"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(gw, method):
    assert scep.request(gw, method, scep.path() + "?operation=PKIOperation", b"x").status in (405, 501)


@pytest.mark.parametrize("message", [None, "", "%", "%4", "%zz", "!!!!", "AAAA*", "A", "====", "AA=A", "%00", "%F0%9F%98%80", "A" * 5],
                         ids=lambda value: repr(value))
def test_a_message_of_get_that_is_no_base64_is_refused(gw, message):
    answer = scep.get(gw, "PKIOperation", message=message)
    assert answer.status == 400, answer
    scep.recorded(gw)


def test_a_post_of_nothing_is_refused(gw):
    assert scep.post(gw, b"").status == 400
    scep.recorded(gw)


def test_a_post_in_base64_is_no_message(gw, owned):
    """EST's bodies are; SCEP's never were."""
    octets = base64.b64encode(scep.pkcs_req(gw.ra, owned.signer, owned.challenge).der())
    assert scep.post(gw, octets).status == 400
    assert gw.certs(owned.tag) == []


# ---- size

def test_a_body_that_is_too_long_is_refused_before_it_comes(gw):
    with scep.Plain(gw) as conn:
        conn.send(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n")
        assert conn.receive().status == 413
    alive(gw)


@pytest.mark.parametrize("size", [16500, 30000, 200000])
def test_a_get_that_is_too_long_is_refused(gw, size):
    answer = None
    try:
        answer = scep.get(gw, "PKIOperation", message="A" * size)
    except (est.Closed, OSError):
        pass  # it need not read to the end what it does not want
    assert answer is None or answer.status in (400, 413, 414, 431), answer
    alive(gw)


def test_a_message_of_nearly_64_kilobytes_is_read(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.signature.set("1.2.3.4.5", pki.octets(b"x" * 60000))
    assert 61000 < len(message.der()) < 65536
    assert scep.send(gw, message).status == scep.SUCCESS


def test_a_crowd_of_certificates_in_a_message_does_no_harm(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    small = scep.certificate(owned.signer.key, "CN=x", version=1)
    message.certs += [small] * ((63000 - len(message.der())) // len(small))
    answer = scep.post(gw, message.der())
    assert answer.status in (200, 400, 413)
    alive(gw)


# ---- ASN.1

def nested(depth, tag=0x30, indefinite=False):
    if indefinite:
        return bytes([tag, 0x80]) * depth + b"\x00\x00" * depth
    out = b""
    for _ in range(depth):
        out = pki.tlv(tag, out)
    return out


SIGNED = pki.oid(cms.SIGNED_DATA)
BOMBS = {
    "30 deep": nested(30), "1000 deep": nested(1000), "8000 deep": nested(8000), "indefinite, 16000 deep": nested(16000, indefinite=True),
    "indefinite without end": b"\x30\x80" * 30000, "octet strings, 8000 deep": nested(8000, 0x24, True),
    "octet strings without end": b"\x24\x80" * 30000, "sets": nested(5000, 0x31, True), "contexts": nested(5000, 0xa0, True),
    "2 GB": b"\x30\x84\x7f\xff\xff\xff", "2^64": b"\x30\x88" + b"\xff" * 8, "126 octets of length": b"\x30\xfe" + b"\xff" * 126,
    "length not minimal": b"\x30\x82\x00\x05\x02\x01\x00\x30\x00", "tag without end": b"\x3f" + b"\xff" * 4000,
    "ends everywhere": b"\x30\x80" + b"\x00\x00" * 20000, "only an OID": pki.seq(SIGNED), "no content": pki.seq(SIGNED, pki.tlv(0xa0)),
    "signed data, deep inside": pki.seq(SIGNED, pki.tlv(0xa0, nested(3000))),
    "30000 empty octet strings": pki.seq(SIGNED, pki.tlv(0xa0, b"\x24\x80" + b"\x04\x00" * 30000 + b"\x00\x00")),
    "enveloped data": pki.seq(pki.oid(cms.ENVELOPED_DATA), pki.tlv(0xa0, pki.seq(pki.integer(0)))),
    "data": pki.seq(pki.oid(cms.DATA), pki.tlv(0xa0, pki.octets(b"x"))),
    "compressed data": pki.seq(pki.oid("1.2.840.113549.1.9.16.1.9"), pki.tlv(0xa0, pki.seq(pki.integer(0)))),
    "zeros": b"\x00" * 60000, "ones": b"\xff" * 60000, "a certificate": None,
}


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_bad_asn1_is_refused_at_once(gw, bomb):
    body = BOMBS[bomb] if BOMBS[bomb] is not None else gw.ra.cert
    began = time.monotonic()
    with scep.Plain(gw) as conn:
        answer = scep.post(gw, body, conn=conn)
        assert answer.status in (400, 413), answer
        assert scep.get(gw, "GetCACaps", conn=conn).status == 200
    assert time.monotonic() - began < 20, "parsing must not be where time goes"
    scep.recorded(gw)


@pytest.mark.parametrize("bomb", ["8000 deep", "indefinite, 16000 deep", "octet strings without end", "octet strings, 8000 deep", "zeros"])
def test_bad_asn1_inside_of_a_good_signature_is_refused(gw, owned, bomb):
    class Bomb:
        def der(self):
            return BOMBS[bomb]
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.envelope = Bomb()
    answer = scep.post(gw, message.der())
    assert answer.status in (400, 413) or scep.Reply(answer, message).status == scep.FAILURE, answer
    message = scep.Message(gw.ra, owned.signer, scep.PKCS_REQ, BOMBS[bomb])
    answer = scep.post(gw, message.der())
    assert answer.status == 413 or scep.Reply(answer, message).fail == scep.BAD_MESSAGE_CHECK
    assert gw.certs(owned.tag) == []
    alive(gw)


def test_a_message_cut_off_anywhere_is_refused(gw, owned):
    octets = scep.pkcs_req(gw.ra, owned.signer, owned.challenge).der()
    with scep.Plain(gw) as conn:
        for at in list(range(1, 60, 3)) + list(range(60, len(octets), 41)) + [len(octets) - 1]:
            assert scep.post(gw, octets[:at], conn=conn).status == 400, at
        assert scep.post(gw, octets + b"\x00", conn=conn).status == 400
    assert gw.certs(owned.tag) == []


def test_a_message_with_any_octet_changed_never_gets_a_certificate_for_another_key(gw, acme):
    """Most changes break the signature; those that do not, change nothing that matters."""
    one = scep.Owned(gw, acme, "--static")
    message = scep.pkcs_req(gw.ra, one.signer, one.challenge)
    octets = message.der()
    with scep.Plain(gw) as conn:
        for at in range(0, len(octets), 23):
            answer = scep.post(gw, octets[:at] + bytes([octets[at] ^ 0x41]) + octets[at + 1:], conn=conn)
            assert answer.status in (200, 400, 413), (at, answer)
            if answer.status == 200:
                opened = cms.Opened(answer.body)
                assert opened.signer == gw.ra.cert
                if opened.attributes[scep.PKI_STATUS].native == scep.SUCCESS:
                    sealed = cms.Sealed(opened.content, one.signer.cert, one.signer.key)
                    leaf = scep.x509.load_der_x509_certificate(cms.Opened(sealed.content).certs[0])
                    assert pki.spki(leaf.public_key()) == pki.spki(one.signer.key)
    assert len(gw.certs(one.tag)) <= 1
    gw.ctl("audit", "verify")


# ---- time and crowds, on the plain listener as on the other

def test_a_body_that_drips_in_is_cut_off_at_its_deadline(hasty):
    with scep.Plain(hasty) as conn:
        conn.send(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n\x30")
        began = time.monotonic()
        assert conn.at_end().startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("octets", [b"", b"G", b"GET /scep?operation=PKIOperation&message=AAAA"],
                         ids=["nothing", "one octet", "half a query"])
def test_a_header_that_does_not_end_is_cut_off(hasty, octets):
    with scep.Plain(hasty) as conn:
        if octets:
            conn.send(octets)
        assert conn.at_end() == b"" or octets


def test_tls_on_the_plain_listener_is_refused(hasty):
    with scep.Plain(hasty) as conn:
        conn.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200)
        received = conn.at_end()
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")
    alive(hasty)


def test_a_crowd_on_the_plain_listener_keeps_nobody_out_for_long(hasty):
    crowd = []
    for _ in range(60):
        try:
            crowd.append(scep.Plain(hasty))
        except OSError:
            break
    deadline = time.monotonic() + 30
    while True:
        try:
            alive(hasty)
            break
        except (est.Closed, OSError):
            assert time.monotonic() < deadline
    for conn in crowd:
        conn.close()


def test_slow_clients_hold_up_nobody(gw, acme):
    slow = [scep.Plain(gw) for _ in range(40)]
    for conn in slow:
        conn.send(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n\x30")
    for _ in range(3):
        assert scep.Owned(gw, acme).enrolled(gw)
    for conn in slow:
        conn.close()


def test_many_devices_at_once(gw, acme):
    owned = [scep.Owned(gw, acme) for _ in range(16)]
    messages = [scep.pkcs_req(gw.ra, one.signer, one.challenge) for one in owned]
    conns = [scep.connect(gw, tls=i % 2 == 1) for i in range(16)]
    replies = est.in_parallel([lambda m=message, c=conn: scep.send(gw, m, conn=c) for message, conn in zip(messages, conns)])
    for conn in conns:
        conn.close()
    assert [reply.status for reply in replies] == [scep.SUCCESS] * 16
    assert all(len(gw.certs(one.tag)) == 1 for one in owned)


# ---- guesses

def test_guessing_challenges_is_limited(new_gateway, acme):
    gateway = scep.configure(new_gateway())
    gateway.settings["limits"].update(auth_failures=3, auth_window="10m", auth_lock="10m")
    gateway.start()
    owned = scep.Owned(gateway, acme)
    for guess in ("a", "b", "c"):
        wrong = owned.challenge.split("-", 1)[0] + "-" + guess * 26
        assert scep.enroll(gateway, owned.signer, wrong).status == scep.FAILURE
    reply = scep.enroll(gateway, owned.signer, owned.challenge)
    assert reply.status == scep.FAILURE and gateway.certs(owned.tag) == []
    # The number before the dash is anybody's guess, what is behind it nobody's: the owner is not shut out elsewhere.
    with scep.Plain(gateway, "::1") as conn:
        message = scep.pkcs_req(gateway.ra, owned.signer, owned.challenge)
        assert scep.send(gateway, message, conn=conn).status == scep.SUCCESS
