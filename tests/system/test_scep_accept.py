"""Oddities that real clients send, and that are accepted: notes of what micromdm, strongSwan, certmonger, Cisco, Apple and Windows do."""
import base64
import hashlib
import os
import urllib.parse

import pytest

import cms
import pki
import scep


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    scep.add_label(gateway, "cisco", scep_legacy="insecure-cisco", scep_allow=["sha1", "3des"])
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


def issued(gw, reply, owned):
    assert pki.spki(reply.cert.public_key()) == pki.spki(owned.signer.key)
    assert pki.sha256_hex(pki.cert_der(reply.cert)) in [row["sha256"] for row in gw.certs(owned.tag)]
    return reply


# ---- encodings of a message

@pytest.mark.parametrize("method", ["GET", "POST"])
def test_indefinite_lengths_and_constructed_octet_strings(gw, owned, method):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, ber=True)
    octets = message.der()
    assert octets[1] == 0x80 and b"\x24\x80\x04" in octets and b"\xa0\x80\x04" in octets
    issued(gw, scep.send(gw, message, method=method), owned)


@pytest.mark.parametrize("outer,inner", [(False, True), (True, False)], ids=["inside", "outside"])
def test_ber_in_one_layer_and_der_in_the_other(gw, owned, outer, inner):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, ber=outer)
    message.envelope.ber = inner
    issued(gw, scep.send(gw, message), owned)


@pytest.mark.parametrize("chunk", [1, 16, 100000])
def test_octet_strings_in_pieces_of_any_size(gw, owned, chunk, monkeypatch):
    """micromdm's encryptedContent is constructed from one piece, others' from many."""
    monkeypatch.setattr(cms, "CHUNK", chunk)
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, ber=True)
    message.ber = chunk > 1  # 30,000 pieces inside of pieces are no message but a bomb
    issued(gw, scep.send(gw, message), owned)


def test_a_constructed_encrypted_content_of_definite_length(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    envelope = message.envelope
    inner = pki.seq(pki.oid(cms.DATA), cms.algorithm(envelope.oid, pki.octets(envelope.iv)),
                    pki.tlv(0xa0, pki.octets(envelope.encrypted)))
    body = pki.seq(pki.integer(0), pki.der_set(*[info.der() for info in envelope.recipients]), inner)
    message.envelope.der = lambda: pki.seq(pki.oid(cms.ENVELOPED_DATA), pki.tlv(0xa0, body))
    issued(gw, scep.send(gw, message), owned)


@pytest.mark.parametrize("names_digest", [False, True], ids=["rsaEncryption", "shaXwithRSA"])
@pytest.mark.parametrize("digest", ["MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"])
def test_both_names_of_a_signature(gw, owned, digest, names_digest):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, digest=digest, names_digest=names_digest)
    issued(gw, scep.send(gw, message, "cisco"), owned)


@pytest.mark.parametrize("oaep", [None, "SHA-1", "SHA-256", "SHA-512"])
@pytest.mark.parametrize("cipher", ["AES-128", "AES-256"])
def test_both_key_transports(gw, owned, oaep, cipher):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, oaep=oaep, cipher=cipher)
    issued(gw, scep.send(gw, message), owned)


def test_more_recipients_than_us(gw, owned):
    """micromdm encrypts to every RA certificate it was shown."""
    others = [scep.certificate(scep.fresh_key(), "CN=other %d" % i) for i in range(3)]
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, extra_recipients=others)
    issued(gw, scep.send(gw, message), owned)


def test_signed_attributes_that_are_not_sorted(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.signature.sort = False
    message.signature.attributes.reverse()
    der = message.der()
    with pytest.raises(AssertionError, match="sorts them"):
        cms.Opened(der)
    reply = scep.Reply(scep.post(gw, der), message)
    # RFC 5652, section 5.4, signs the DER; what was signed here is another order, so either is right. No crash, no doubt.
    assert reply.status == scep.SUCCESS or reply.fail == scep.BAD_MESSAGE_CHECK
    assert len(gw.certs(owned.tag)) == (1 if reply.status == scep.SUCCESS else 0)


def test_attributes_that_nobody_asked_for(gw, owned):
    """Windows and Apple send signingTime, SMIMECapabilities and extensionReq of their own."""
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.signature.set("1.2.840.113549.1.9.5", pki.tlv(0x17, b"260101000000Z"))
    message.signature.set("1.2.840.113549.1.9.15", pki.seq())
    message.signature.set("2.16.840.1.113733.1.9.8", pki.printable("x"))
    issued(gw, scep.send(gw, message), owned)


def test_more_certificates_than_the_signers(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.certs = [scep.certificate(scep.fresh_key(), "CN=somebody"), owned.signer.cert, gw.ra.cert]
    issued(gw, scep.send(gw, message), owned)


# ---- certificates of signers

@pytest.mark.parametrize("how", [
    dict(version=1), dict(version=1, serial=2 ** 255 + 1), dict(serial=2 ** 255 + 0xabcdef), dict(serial=0),
    dict(serial=1), dict(days=(-3000, -2900)), dict(days=(10, 20)), dict(digest=cms.hashes.SHA1), dict(digest=cms.hashes.MD5),
    dict(subject=""), dict(subject="CN=Ünïcödé"),
    dict(extensions=[pki.extension("2.5.29.15", b"\x03\x02\x05\xa0", True), pki.extension("2.5.29.19", pki.seq())]),
    dict(extensions=[pki.extension("1.2.3.4", b"\x05\x00", True)]),
], ids=["version 1", "certmonger's", "32 octets of serial number", "serial number 0", "serial number 1", "expired",
        "not valid yet", "signed with SHA-1", "signed with MD5", "no subject", "UTF-8", "extensions", "unknown and critical"])
def test_self_signed_signers_of_every_kind(gw, owned, how):
    """It proves that its key is there, which the CSR proves again; nothing else in it matters."""
    signer = scep.Signer(owned.signer.key, **how)
    reply = issued(gw, scep.enroll(gw, signer, owned.challenge), owned)
    assert reply.cipher == "AES-128"


def test_a_serial_number_that_is_the_transaction_id(gw, owned):
    """strongSwan: hexadecimal SHA-1 of the public key is both."""
    transaction = hashlib.sha1(pki.spki(owned.signer.key)).hexdigest().upper()
    signer = scep.Signer(owned.signer.key, serial=int(transaction, 16) & ~(1 << 159))
    issued(gw, scep.enroll(gw, signer, owned.challenge, transaction=transaction), owned)


# ---- requests

def test_a_set_of_attributes_that_is_not_sorted(gw, owned):
    """strongSwan's pki: the signature is over the octets as they are."""
    attributes = sorted([pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(owned.challenge)),
                         pki.attribute(pki.EXTENSION_REQUEST, pki.seq(pki.san_extension([("dns", "x.example.net")])))])
    csr = pki.csr(owned.signer.key, attributes=attributes[::-1])
    issued(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr)), owned)


@pytest.mark.parametrize("encode", [pki.printable, pki.utf8, lambda text: pki.tlv(0x16, text.encode()),
                                    lambda text: pki.tlv(0x14, text.encode()),
                                    lambda text: pki.tlv(0x1e, text.encode("utf-16-be"))],
                         ids=["PrintableString", "UTF8String", "IA5String", "TeletexString", "BMPString"])
def test_challenges_of_every_string_type(gw, owned, encode):
    csr = pki.csr(owned.signer.key, attributes=[pki.attribute(pki.CHALLENGE_PASSWORD, encode(owned.challenge))])
    issued(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr)), owned)


def test_an_unstructured_name_beside_the_challenge(gw, owned):
    """Cisco routers name themselves so."""
    attributes = [pki.attribute("1.2.840.113549.1.9.2", pki.tlv(0x16, b"router.example.net")),
                  pki.attribute(pki.CHALLENGE_PASSWORD, pki.printable(owned.challenge))]
    issued(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=pki.csr(owned.signer.key, attributes=attributes))), owned)


@pytest.mark.parametrize("digest", ["MD5", "SHA-1"])
def test_a_request_with_an_old_signature_where_the_label_allows_it(gw, owned, digest):
    """An IOS that knows nothing newer signs its PKCS#10 as it signs the message."""
    info = pki.csr_info(owned.signer.key, attributes=[pki.attribute(pki.CHALLENGE_PASSWORD, pki.printable(owned.challenge))])
    oid, kind, signature_oid = cms.DIGESTS[digest]
    value = owned.signer.key.sign(info, cms.padding.PKCS1v15(), kind())
    csr = pki.seq(info, cms.algorithm(signature_oid), pki.tlv(0x03, b"\x00", value))
    issued(gw, scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr, digest=digest, cipher="DES"), "cisco"), owned)


# ---- transactions and nonces

@pytest.mark.parametrize("transaction", [
    "0" * 40, hashlib.md5(b"x").hexdigest(), base64.b64encode(hashlib.sha1(b"y").digest()).decode(), "1",
    "12345678901234567890123456789012345678901234567890123456789012345678901234567", "with spaces (and) 'quotes', a/b:c=d?+",
    "5f0c5a38-0c2f-4f5c-9d7e-bd7a5e5b1f60", "x" * 128,
], ids=["hex", "MD5", "base64", "one", "77 digits", "every printable character", "UUID", "128 characters"])
def test_transaction_ids_of_every_make(gw, owned, transaction):
    issued(gw, scep.enroll(gw, owned.signer, owned.challenge, transaction=transaction), owned)


@pytest.mark.parametrize("size", [8, 16, 20, 32, 64])
def test_nonces_of_every_make(gw, owned, size):
    issued(gw, scep.enroll(gw, owned.signer, owned.challenge, nonce=os.urandom(size)), owned)


def test_answers_have_fresh_nonces(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    octets = message.der()
    replies = [scep.Reply(scep.post(gw, octets), message) for _ in range(3)]
    assert len({reply.nonce for reply in replies}) == 3
    assert len({pki.cert_der(reply.cert) for reply in replies}) == 1


# ---- GET

def _wrapped(octets):
    text = base64.b64encode(octets).decode()
    return "%0A".join(urllib.parse.quote(text[at:at + 64], safe="") for at in range(0, len(text), 64)) + "%0A"


@pytest.mark.parametrize("encode", [
    lambda octets: base64.b64encode(octets).decode(),
    scep.quoted,
    lambda octets: scep.quoted(octets).replace("%2B", "%2b").replace("%2F", "%2f"),
    lambda octets: base64.urlsafe_b64encode(octets).decode(),
    lambda octets: base64.urlsafe_b64encode(octets).decode().rstrip("="),
    lambda octets: base64.b64encode(octets).decode().rstrip("="),
    _wrapped,
    lambda octets: base64.b64encode(octets).decode().replace("+", "%20"),
    lambda octets: base64.b64encode(octets).decode().replace("=", "%3D"),
    lambda octets: "".join("%%%02X" % ord(c) if c.isalpha() else c for c in base64.b64encode(octets).decode()),
], ids=["raw + / =", "percent", "lower-case percent", "base64url", "base64url without padding", "without padding",
        "line feeds every 64", "spaces for +", "raw + and /", "letters in percent"])
def test_messages_in_every_encoding_of_get(gw, owned, encode):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    while b"+" not in base64.b64encode(message.der()) or b"/" not in base64.b64encode(message.der()):
        message.again()
    answer = scep.get(gw, "PKIOperation", message=encode(message.der()))
    issued(gw, scep.Reply(answer, message), owned)


@pytest.mark.parametrize("query", ["?message=%s&operation=PKIOperation", "?operation=PKIOperation&message=%s&x=y",
                                   "?x=y&&operation=PKIOperation&message=%s&"])
def test_parameters_in_any_order_and_company(gw, owned, query):
    """micromdm: the message comes first."""
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    answer = scep.request(gw, "GET", scep.path() + query % scep.quoted(message.der()))
    issued(gw, scep.Reply(answer, message), owned)


def test_a_get_of_nearly_16_kilobytes(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    message.signature.set("1.2.3.4.5", pki.octets(b"x" * (12050 - len(message.der()))))
    octets = message.der()
    assert 16000 < len(base64.b64encode(octets)) < 16200
    answer = scep.get(gw, "PKIOperation", message=base64.urlsafe_b64encode(octets).decode())
    issued(gw, scep.Reply(answer, message), owned)
