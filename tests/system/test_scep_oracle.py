"""
Whatever keeps a message from being opened, the answer is one and the same (notes on SCEP, 10; RFC 3218).

Anybody can put a signature of his own around an envelope that he caught, so the answers
must not tell RSA paddings apart (Bleichenbacher), nor content paddings, nor whether there is a
request behind a content padding (Vaudenay): the challenge of the device would come out.
"""
import os

import pytest

import cms
import scep

BLOCK = 256  # octets of the RA's modulus


@pytest.fixture(scope="module")
def gw(module_gateway):
    return scep.configure(module_gateway()).start()


@pytest.fixture(scope="module")
def victim(gw, acme):
    return scep.Owned(gw, acme)


def _v15(secret, head=b"\x00\x02", end=b"\x00", filler=None):
    length = BLOCK - len(head) - len(end) - len(secret)
    return head + (filler or bytes(b % 255 + 1 for b in os.urandom(length)))[:length] + end + secret


def raw(make):
    """The block that RSA encrypts is made here."""
    def spoil(message):
        message.envelope.recipients[0].encrypt_raw(make(message.envelope.key))
    return spoil


def encrypted(make):
    def spoil(message):
        message.envelope.recipients[0].encrypted = make(message.envelope.recipients[0].encrypted)
    return spoil


def padded(make):
    """The content and its padding are made here."""
    def spoil(message):
        message.envelope.seal(make(message.csr))
    return spoil


def ciphertext(make):
    def spoil(message):
        message.envelope.encrypted = make(message.envelope.encrypted)
    return spoil


def strangers_only(message):
    message.envelope.recipients = [cms.Recipient(scep.certificate(scep.fresh_key()), message.envelope.key)]


def nobody(message):
    message.envelope.recipients = []


def _to_block(octets, fill):
    return octets + fill * (16 - len(octets) % 16 or 16)


def flip(octets, at):
    at %= len(octets)
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1:]


WAYS = {
    "RSA padding begins 00 01": raw(lambda key: _v15(key, b"\x00\x01")),
    "RSA padding begins 00 00": raw(lambda key: _v15(key, b"\x00\x00")),
    "RSA padding begins 01 02": raw(lambda key: _v15(key, b"\x01\x02")),
    "RSA padding without its end": raw(lambda key: _v15(b"\x01" * 16, end=b"\x01")),
    "RSA padding ends after 7 octets": raw(lambda key: b"\x00\x02" + b"\x01" * 7 + b"\x00" + b"\x01" * (BLOCK - 26) + key),
    "RSA padding is all there is": raw(lambda key: _v15(b"")),
    "RSA of nothing": raw(lambda key: b"\x00" * BLOCK),
    "RSA of one": raw(lambda key: b"\x00" * (BLOCK - 1) + b"\x01"),
    "a key of 15 octets": raw(lambda key: _v15(key[:15])),
    "a key of 17 octets": raw(lambda key: _v15(key + b"\x01")),
    "a key of 32 octets": raw(lambda key: _v15(key + key)),
    "another key": raw(lambda key: _v15(os.urandom(16))),
    "an encrypted key with one wrong bit": encrypted(lambda value: flip(value, -1)),
    "an encrypted key that is random": encrypted(lambda value: b"\x00" + os.urandom(BLOCK - 1)),
    "an encrypted key above the modulus": encrypted(lambda value: b"\xff" * BLOCK),
    "an encrypted key that is too short": encrypted(lambda value: value[:-1]),
    "an encrypted key that is too long": encrypted(lambda value: value + b"\x00"),
    "an encrypted key of no octets": encrypted(lambda value: b""),
    "recipients that are all others": strangers_only,
    "no recipient": nobody,
    "ciphertext without its last octet": ciphertext(lambda value: value[:-1]),
    "ciphertext without its last block": ciphertext(lambda value: value[:-16]),
    "ciphertext of one block": ciphertext(lambda value: value[:16]),
    "ciphertext of no octets": ciphertext(lambda value: b""),
    "ciphertext with one wrong bit at its end": ciphertext(lambda value: flip(value, -1)),
    "ciphertext with one wrong bit before its end": ciphertext(lambda value: flip(value, -17)),
    "ciphertext with one wrong bit in the middle": ciphertext(lambda value: flip(value, len(value) // 2)),
    "ciphertext with one wrong bit at its beginning": ciphertext(lambda value: flip(value, 0)),
    "content padded with zeros": padded(lambda csr: _to_block(csr, b"\x00")),
    "content padded with 17s": padded(lambda csr: _to_block(csr, b"\x11")),
    "content padded beyond a block": padded(lambda csr: cms.pad(csr, 32) if len(cms.pad(csr, 32)) % 16 else _to_block(csr, b"\x20")),
    "content padded to a wrong length": padded(lambda csr: cms.pad(csr + b"\x00" * 3, 16)),
    "content that is padding only": padded(lambda csr: b"\x10" * 16),
    "content that is random": padded(lambda csr: cms.pad(os.urandom(len(csr)), 16)),
    "content that is cut off": padded(lambda csr: cms.pad(csr[:-1], 16)),
    "content with more behind it": padded(lambda csr: cms.pad(csr + csr[:16], 16)),
    "content with one wrong bit in its names": padded(lambda csr: cms.pad(flip(csr, csr.index(b"device")), 16)),
    "content whose own signature is wrong": padded(lambda csr: cms.pad(flip(csr, -1), 16)),
    "content that is good, but the signature is somebody else's": lambda message: None,
}


def normal(reply):
    """The octets of an answer without what must be new in each one."""
    opened = cms.Opened(reply.octets)
    octets = reply.octets
    signature = cms.cms.ContentInfo.load(octets)["content"]["signer_infos"][0]["signature"].native
    for fresh in (signature, opened.attributes[scep.SENDER_NONCE].native, opened.attributes[scep.RECIPIENT_NONCE].native,
                  opened.attributes[scep.TRANSACTION_ID].native.encode()):
        assert octets.count(fresh) == 1
        octets = octets.replace(fresh, b"?" * len(fresh))
    return octets


def answer_to(gw, victim, spoil, oaep=None, kind=scep.PKCS_REQ, attacker=None):
    """The answer to a spoilt envelope of the victim in a message of the attacker."""
    attacker = attacker or scep.Signer()
    message = scep.pkcs_req(gw.ra, victim.signer, victim.challenge, oaep=oaep, kind=kind)
    spoil(message)
    message.signature.cert, message.signature.key, message.certs = attacker.cert, attacker.key, [attacker.cert]
    message.signature.sid, message.signer = cms.issuer_and_serial(attacker.cert), attacker
    response = scep.post(gw, message.der())
    reply = scep.Reply(response, message)
    fields = sorted((name, value) for name, value in response.fields if name != "Date")
    scep.recorded(gw)
    assert (reply.status, reply.fail) == (scep.FAILURE, scep.BAD_MESSAGE_CHECK), reply
    return normal(reply), fields


@pytest.fixture(scope="module")
def insider(gw, acme):
    return scep.Owned(gw, acme).enrolled(gw)


@pytest.fixture(scope="module")
def wanted(gw, victim):
    return answer_to(gw, victim, WAYS["another key"])


@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_of_not_opening_a_message_is_answered_alike(gw, victim, wanted, way):
    assert answer_to(gw, victim, WAYS[way]) == wanted


@pytest.mark.parametrize("kind", [scep.PKCS_REQ, scep.RENEWAL_REQ])
@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("c") and "somebody else" not in way])
def test_a_device_with_a_certificate_learns_no_more_than_a_stranger(gw, victim, wanted, insider, way, kind):
    assert answer_to(gw, victim, WAYS[way], kind=kind, attacker=insider) == wanted


@pytest.mark.parametrize("way", [
    encrypted(lambda value: flip(value, 1)), encrypted(lambda value: b"\x00" + os.urandom(BLOCK - 1)),
    raw(lambda key: b"\x00" * (BLOCK - 1) + b"\x01"), encrypted(lambda value: value[:-1]),
    lambda message: setattr(message.envelope.recipients[0], "oaep", "SHA-512"),
    raw(lambda key: _v15(key)), ciphertext(lambda value: flip(value, -1)), strangers_only],
    ids=["wrong bit", "random", "one", "too short", "another digest", "the other padding", "ciphertext", "others"])
def test_oaep_is_answered_in_the_same_way(gw, victim, wanted, way):
    assert answer_to(gw, victim, way, oaep="SHA-256") == wanted


@pytest.mark.parametrize("kind", [scep.RENEWAL_REQ, scep.CERT_POLL, scep.GET_CERT, scep.GET_CRL])
@pytest.mark.parametrize("way", ["another key", "RSA padding begins 00 01", "content padded with zeros", "content that is random",
                                 "recipients that are all others", "content that is good, but the signature is somebody else's"])
def test_every_type_of_message_is_answered_alike(gw, victim, wanted, kind, way):
    assert answer_to(gw, victim, WAYS[way], kind=kind) == wanted


def test_nothing_was_issued_and_the_challenge_is_as_good_as_before(gw, victim):
    assert gw.certs(victim.tag) == []
    assert victim.enrolled(gw)
