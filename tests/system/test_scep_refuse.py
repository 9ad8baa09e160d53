"""Messages that are refused for what they are: types, algorithms, signatures, attributes, keys (notes on SCEP, 1 3 8 9 11 12 14)."""
import re

import pytest

import cms
import pki
import scep

INJECTIONS = ["'; DROP TABLE request; --", "a\" result=issued tag=\"x", "%s%n%x", "../../etc/passwd", "<script>", "a\\n{}", "${x}"]


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    scep.add_label(gateway, "cisco", scep_legacy="insecure-cisco", scep_allow=["sha1", "3des"])
    scep.add_label(gateway, "sha1", scep_allow=["sha1"])
    scep.add_label(gateway, "3des", scep_allow=["3des"])
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


@pytest.fixture
def message(gw, owned):
    """A good one, to be spoilt."""
    return scep.pkcs_req(gw.ra, owned.signer, owned.challenge)


def malformed(gw, octets, owned=None, reason=""):
    """Nobody to answer to: HTTP 400 in words, a row in the audit, nothing issued."""
    answer = scep.post(gw, octets)
    assert answer.status == 400 and answer.get("Content-Type").startswith("text/plain"), answer
    assert len(answer.body) < 200
    scep.recorded(gw, reason)
    if owned is not None:
        assert gw.certs(owned.tag) == []


def unspent(gw, owned, label=""):
    """The challenge is as good as before."""
    assert scep.enroll(gw, owned.signer, owned.challenge, label).status == scep.SUCCESS


# ---- 1: message types

@pytest.mark.parametrize("kind", ["18", "0", "1", "3", "4", "16", "23", "190", "019", " 19", "19 ", "-19", "1.9", "", "x", "4294967315"])
def test_a_message_of_a_type_that_is_none_is_refused(gw, owned, message, kind):
    message.signature.set(scep.MESSAGE_TYPE, pki.printable(kind))
    malformed(gw, message.der(), owned)
    unspent(gw, owned)


def test_an_update_request_is_no_way_around_the_challenge(gw, owned):
    malformed(gw, scep.pkcs_req(gw.ra, owned.signer, kind=scep.UPDATE_REQ).der(), owned)
    mine = owned.enrolled(gw)
    malformed(gw, scep.renewal_req(gw.ra, mine, scep.fresh_key(), kind=scep.UPDATE_REQ).der())
    assert len(gw.certs(owned.tag)) == 1


@pytest.mark.parametrize("attribute", [scep.MESSAGE_TYPE, scep.TRANSACTION_ID, scep.SENDER_NONCE],
                         ids=["messageType", "transactionID", "senderNonce"])
class TestAttributes:
    def test_a_missing_one_is_refused(self, gw, owned, message, attribute):
        message.signature.drop(attribute)
        malformed(gw, message.der(), owned)
        unspent(gw, owned)

    def test_a_second_one_is_refused(self, gw, owned, message, attribute):
        value = next(a for a in message.signature.attributes if a[0] == attribute)
        message.signature.attributes.append(list(value))
        malformed(gw, message.der(), owned)

    def test_two_values_are_refused(self, gw, owned, message, attribute):
        value = next(a for a in message.signature.attributes if a[0] == attribute)
        message.signature.set(attribute, value[1], value[1])
        malformed(gw, message.der(), owned)

    def test_no_value_is_refused(self, gw, owned, message, attribute):
        message.signature.set(attribute)
        malformed(gw, message.der(), owned)

    @pytest.mark.parametrize("value", [pki.integer(19), b"\x05\x00", pki.seq(), pki.printable(""), pki.octets(b""), pki.oid("1.2.3"),
                                       b"\x13\x84\x7f\xff\xff\xff"],
                             ids=["INTEGER", "NULL", "SEQUENCE", "empty text", "no octets", "OID", "a long length"])
    def test_a_value_of_another_kind_is_refused(self, gw, owned, message, attribute, value):
        message.signature.set(attribute, value)
        malformed(gw, message.der(), owned)


# ---- 3: the signer's key is the request's

def test_a_request_for_a_key_that_did_not_sign_the_message_is_refused(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, csr_key=scep.fresh_key())
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "key", owned)
    unspent(gw, owned)


def test_a_signer_with_the_requests_key_that_another_key_signed_is_refused(gw, owned):
    other = scep.fresh_key()
    cert = scep.certificate(owned.signer.key, "CN=SCEP SIGNER", issuer_key=other)
    reply = scep.enroll(gw, owned.signer.with_cert(cert), owned.challenge)
    scep.refused(gw, reply, reply.fail, "", owned)
    unspent(gw, owned)


# ---- 8: algorithms

@pytest.mark.parametrize("label,how", [
    ("", dict(digest="MD5")), ("", dict(digest="SHA-1")), ("", dict(cipher="DES")), ("", dict(cipher="3DES")),
    ("", dict(digest="SHA-1", cipher="3DES")), ("", dict(digest="MD5", cipher="DES")), ("", dict(digest="SHA-224")),
    ("", dict(cipher="Camellia-128")), ("sha1", dict(cipher="3DES")), ("sha1", dict(digest="MD5")), ("sha1", dict(cipher="DES")),
    ("3des", dict(digest="SHA-1")), ("3des", dict(digest="MD5")), ("3des", dict(cipher="DES")),
    ("cisco", dict(digest="SHA-224")), ("cisco", dict(cipher="Camellia-128")),
], ids=lambda value: value if isinstance(value, str) else " ".join(value.values()))
def test_an_algorithm_that_the_label_does_not_allow_is_refused_and_costs_no_challenge(gw, owned, label, how):
    reply = scep.enroll(gw, owned.signer, owned.challenge, label, **how)
    scep.refused(gw, reply, scep.BAD_ALG, "(?i)alg|digest|cipher|SHA|MD5|DES", owned)
    assert reply.digest.startswith("SHA-") and reply.digest != "SHA-1", "the refusal itself is signed with a good one"
    unspent(gw, owned)


def test_a_digest_of_the_request_that_differs_from_the_signatures_is_no_way_in(gw, owned, message):
    """SHA-256 in digestAlgorithm, SHA-1 or MD5 in the signature's name."""
    for name in ("SHA-1", "MD5"):
        octets = message.der()
        good, bad = cms.algorithm(cms.RSA_ENCRYPTION), cms.algorithm(cms.DIGESTS[name][2])
        at = octets.rindex(good)
        answer = scep.post(gw, octets[:at] + bad + octets[at + len(good):])
        if answer.status == 200:
            scep.refused(gw, scep.Reply(answer, message), scep.Reply(answer, message).fail, "", owned)
        else:
            assert answer.status == 400
    assert gw.certs(owned.tag) == []
    unspent(gw, owned)


@pytest.mark.parametrize("digest", ["MD5", "SHA-1"])
def test_a_request_with_an_old_signature_is_refused_where_the_label_does_not_allow_it(gw, owned, digest):
    info = pki.csr_info(owned.signer.key, attributes=[pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(owned.challenge))])
    value = owned.signer.key.sign(info, cms.padding.PKCS1v15(), cms.DIGESTS[digest][1]())
    csr = pki.seq(info, cms.algorithm(cms.DIGESTS[digest][2]), pki.tlv(0x03, b"\x00", value))
    scep.refused(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr)), scep.BAD_ALG, "", owned)
    unspent(gw, owned)


# ---- 9: signatures

def test_a_signature_with_one_wrong_bit_is_refused(gw, owned, message):
    for at in (0, 100, -1):
        message.signature.spoil = lambda value, i=at: value[:i % len(value)] + bytes([value[i] ^ 1]) + value[i % len(value) + 1:]
        scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "(?i)signature", owned)
    unspent(gw, owned)


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00" * 256, b"\xff" * 256, b"\x01" * 257, b"x" * 8000],
                         ids=["none", "one", "zeros", "ones", "too long", "very long"])
def test_a_signature_that_is_none_is_refused(gw, owned, message, value):
    message.signature.spoil = lambda signature: value
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "", owned)


def test_another_keys_signature_is_refused(gw, owned, message):
    message.signature.key = scep.fresh_key()
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "(?i)signature", owned)
    unspent(gw, owned)


def test_a_digest_that_is_not_the_contents_is_refused(gw, owned, message):
    message.signature.message_digest = b"\x00" * 32
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "(?i)digest", owned)
    unspent(gw, owned)


def test_content_that_was_exchanged_is_refused(gw, acme, owned, message):
    """The attacker's request in the victim's message."""
    mine = scep.Owned(gw, acme)
    old, new = message.envelope.der(), scep.pkcs_req(gw.ra, mine.signer, mine.challenge).envelope.der()
    octets = message.der()
    assert len(old) == len(new) and octets.count(old) == 1
    reply = scep.Reply(scep.post(gw, octets.replace(old, new)), message)
    scep.refused(gw, reply, scep.BAD_MESSAGE_CHECK, "", mine)
    assert gw.certs(owned.tag) == []


@pytest.mark.parametrize("attribute", ["message_digest", "content_type"])
def test_a_missing_cms_attribute_is_refused(gw, owned, message, attribute):
    setattr(message.signature, attribute, False)
    answer = scep.post(gw, message.der())
    assert answer.status == 400 or scep.Reply(answer, message).fail == scep.BAD_MESSAGE_CHECK, answer
    scep.recorded(gw)
    assert gw.certs(owned.tag) == []
    unspent(gw, owned)


def test_a_wrong_content_type_attribute_is_refused(gw, owned, message):
    message.signature.content_type = cms.ENVELOPED_DATA
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "", owned)


def test_no_signed_attributes_at_all_are_refused(gw, owned, message):
    message.signature.attributed = False
    malformed(gw, message.der(), owned)
    message.signature.attributed, message.signature.attributes = True, []
    malformed(gw, message.der(), owned)


def test_two_signers_and_none_are_refused(gw, owned, message):
    message.signatures = [message.signature, message.signature]
    malformed(gw, message.der(), owned)
    other = scep.pkcs_req(gw.ra, scep.Signer(), owned.challenge)
    message.signatures, message.certs = [message.signature, other.signature], message.certs + other.certs
    malformed(gw, message.der(), owned)
    message.signatures = []
    malformed(gw, message.der(), owned)
    unspent(gw, owned)


def test_a_message_without_its_signers_certificate_is_refused(gw, owned, message):
    for certs in ([], [scep.certificate(scep.fresh_key())], [scep.certificate(owned.signer.key, "CN=another")]):
        message.certs = certs
        malformed(gw, message.der(), owned)


def test_two_certificates_of_one_issuer_and_number_are_no_choice(gw, owned, message):
    """Whichever is taken, it is the one whose key signed."""
    other = scep.fresh_key()
    twin = scep.certificate(other, serial=owned.signer.cert_object.serial_number, subject="CN=" + owned.tag)
    message.certs = [twin, owned.signer.cert]
    for order in (1, -1):
        message.certs = message.certs[::order]
        answer = scep.post(gw, message.der())
        reply = scep.Reply(answer, message) if answer.status == 200 else None
        assert answer.status == 400 or reply.fail or pki.spki(reply.cert.public_key()) == pki.spki(owned.signer.key)


def test_a_request_whose_own_signature_is_wrong_is_refused(gw, owned):
    other = scep.fresh_key()
    info = pki.csr_info(owned.signer.key, attributes=[pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(owned.challenge))])
    csr = pki.csr_wrap(info, *pki.sign(other, info))
    reply = scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr))
    scep.refused(gw, reply, reply.fail, "(?i)signature|possession", owned)
    assert reply.fail in (scep.BAD_MESSAGE_CHECK, scep.BAD_REQUEST)
    unspent(gw, owned)


@pytest.mark.parametrize("content", [b"\x00", b"\x30\x00", b"not a request", b"\x30\x80\x00\x00", b"\x30\x82\xff\xff" + b"x" * 100])
def test_content_that_is_no_request_is_refused(gw, owned, content):
    reply = scep.send(gw, scep.Message(gw.ra, owned.signer, scep.PKCS_REQ, content))
    scep.refused(gw, reply, scep.BAD_MESSAGE_CHECK, "", owned)


def test_octets_after_the_request_are_refused(gw, owned):
    csr = pki.csr(owned.signer.key, challenge=owned.challenge)
    scep.refused(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr + b"\x00")), scep.BAD_MESSAGE_CHECK, "", owned)
    unspent(gw, owned)


@pytest.mark.parametrize("kind", [scep.PKCS_REQ, scep.RENEWAL_REQ, scep.CERT_POLL, scep.GET_CERT, scep.GET_CRL])
def test_a_message_without_an_envelope_is_refused(gw, owned, kind):
    message = scep.Message(gw.ra, owned.signer, kind, None)
    answer = scep.post(gw, message.der())
    assert answer.status == 400 or scep.Reply(answer, message).status == scep.FAILURE, answer
    scep.recorded(gw)


def test_content_that_is_not_encrypted_is_refused(gw, owned, message):
    """Old implementations sent the bare request when a key could not decrypt: the challenge would be in the clear."""
    class Bare:
        def der(self):
            return message.csr
    message.envelope = Bare()
    malformed(gw, message.der(), owned)
    message.content_type = cms.ENVELOPED_DATA
    malformed(gw, message.der(), owned)


# ---- 11: nonces

@pytest.mark.parametrize("size", [1, 7, 65, 1000, 20000])
def test_a_nonce_that_is_too_short_or_too_long_is_refused(gw, owned, size):
    malformed(gw, scep.pkcs_req(gw.ra, owned.signer, owned.challenge, nonce=b"n" * size).der(), owned)
    unspent(gw, owned)


# ---- 12: transactions

@pytest.mark.parametrize("transaction", INJECTIONS)
def test_a_hostile_transaction_id_is_nothing_but_text(gw, owned, transaction):
    since = len(gw.log)
    message = scep.pkcs_req(gw.ra, owned.signer, "wrong", transaction=transaction)
    answer = scep.post(gw, message.der())
    if answer.status == 200:
        assert scep.Reply(answer, message).status == scep.FAILURE
    else:
        assert answer.status == 400
    scep.recorded(gw)
    gw.wait_log("result=", since)
    for line in gw.log[since:].splitlines():
        results = [value for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line) if key == "result"]
        assert len(results) == 1 and results != ["issued"], line
    good = scep.enroll(gw, owned.signer, owned.challenge, transaction=transaction + owned.tag)
    assert good.status in (scep.SUCCESS, scep.FAILURE)
    gw.ctl("audit", "verify")


@pytest.mark.parametrize("transaction", [b"a\nb", b"a\r\nresult=issued", b"a\x00b", b"\x1b[2J", b"\x7f", b"\xff\xfe",
                                         b"x" * 129, b"x" * 10240],
                         ids=["LF", "CRLF", "NUL", "ESC", "DEL", "no UTF-8", "129 characters", "10 kB"])
def test_a_transaction_id_that_is_no_text_is_refused(gw, owned, message, transaction):
    since = len(gw.log)
    message.signature.set(scep.TRANSACTION_ID, pki.tlv(0x13, transaction))
    malformed(gw, message.der(), owned)
    lines = gw.log[since:]
    assert "\x00" not in lines and "\x1b" not in lines and "\nresult=" not in lines
    unspent(gw, owned)


# ---- 14: keys

def test_a_weak_rsa_key_is_refused(gw, owned):
    for key in (pki.rsa_key(1024), pki.rsa_key(2048, 3, "three"), pki.roca_key()):
        reply = scep.enroll(gw, scep.Signer(key), owned.challenge)
        assert reply.fail in (scep.BAD_ALG, scep.BAD_REQUEST)
        scep.refused(gw, reply, reply.fail, "(?i)weak|RSA|ROCA|exponent|bits|key", owned)
    unspent(gw, owned)


def test_an_elliptic_signer_is_refused_because_nothing_can_be_encrypted_to_it(gw, owned):
    key = pki.ec_key()
    signer = scep.Signer(key, scep.certificate(key))
    message = scep.pkcs_req(gw.ra, signer, owned.challenge)
    answer = scep.post(gw, message.der())
    scep.refused(gw, scep.Reply(answer, message), scep.BAD_ALG, "", owned)
    unspent(gw, owned)


def test_a_key_of_another_asset_is_refused(gw, acme, owned):
    owned.enrolled(gw)
    thief = scep.Owned(gw, acme)
    reply = scep.enroll(gw, owned.signer, thief.challenge, subject="CN=" + thief.tag)
    scep.refused(gw, reply, scep.BAD_REQUEST, "csr.reuse", thief)
