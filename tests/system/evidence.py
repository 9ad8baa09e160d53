"""Attestation evidence as devices make it: YubiKey PIV and Android key attestation, under roots made at run time."""
import base64
import datetime
import itertools
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

import est
import pki

ATTRIBUTE = "1.2.840.113549.1.9.16.2.59"
YUBIKEY = "1.3.6.1.4.1.41482.3.1"
ANDROID = "1.3.6.1.4.1.11129.2.1.17"
FRESHNESS = "application/est-attestation-freshness+json"
NULL = b"\x05\x00"
_numbers = itertools.count(10000001)


def b64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64url(text):
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def nonce(gateway, label="", device=None):
    answer = est.get(gateway, "nonce", label, device)
    assert answer.status == 200, answer
    assert answer.get("Content-Type") == FRESHNESS
    return unb64url(json.loads(answer.body)["nonce"])


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _cert(subject, public, issuer, key, ca, extensions=(), not_before=None, not_after=None):
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(public)
               .serial_number(x509.random_serial_number()).not_valid_before(not_before or pki.ago(days=30))
               .not_valid_after(not_after or pki.ahead(days=3650)))
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    for dotted, value in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value), False)
    return builder.sign(key, hashes.SHA256())


class Root:
    """A maker of attesting devices: a root in a PEM file."""

    def __init__(self, folder, name):
        self.name = name
        self.key = pki.ec_key()
        self.cert = _cert(name, self.key.public_key(), name, self.key, True)
        self.pem = os.path.join(str(folder), name + "-attest.pem")
        with open(self.pem, "wb") as out:
            out.write(pki.cert_pem(self.cert))


class Token:
    """Something that attests keys it has made: a YubiKey or a phone with this serial number."""

    def __init__(self, root, serial=None):
        self.root = root
        self.serial = serial or str(next(_numbers))
        self.key = pki.ec_key()
        self.cert = _cert("attester " + self.serial, self.key.public_key(), root.name, root.key, True)

    def _leaf(self, subject, key, extensions, **kw):
        leaf = _cert(subject, key.public_key(), "attester " + self.serial, self.key, False, extensions, **kw)
        return [pki.cert_der(leaf), pki.cert_der(self.cert)]

    def yubikey(self, key, given=None, pin=2, touch=2, **kw):
        """given: a nonce for the statement."""
        chain = self._leaf("YubiKey PIV Attestation 9a", key, [
            ("1.3.6.1.4.1.41482.3.3", bytes([5, 7, 1])), ("1.3.6.1.4.1.41482.3.7", pki.integer(int(self.serial))),
            ("1.3.6.1.4.1.41482.3.8", bytes([pin, touch]))], **kw)
        return bundle(YUBIKEY, NULL if given is None else pki.octets(given), chain)

    def android(self, key, given, level=1, locked=True, origin=0, **kw):
        chain = self._leaf("Android Keystore Key", key,
                           [(ANDROID, description(given, self.serial, level, locked, origin))], **kw)
        return bundle(ANDROID, NULL, chain)


def bundle(kind, statement, certs):
    return pki.seq(pki.seq(pki.seq(pki.oid(kind), statement)), pki.seq(*certs))


def _tagged(number, body):
    tag = bytes([0xa0 | number]) if number < 31 else \
        bytes([0xbf] + ([0x80 | number >> 7] if number > 127 else []) + [number & 0x7f])
    return tag + pki.tlv(0, body)[1:]


def _enum(number):
    return bytes([0x0a, 1, number])


def description(challenge, serial, level, locked, origin):
    """KeyDescription of Android key attestation, version 300."""
    hardware = pki.seq(_tagged(1, pki.der_set(pki.integer(2))), _tagged(2, pki.integer(3)), _tagged(503, NULL),
                       _tagged(702, pki.integer(origin)),
                       _tagged(704, pki.seq(pki.octets(b"k" * 32), pki.boolean(locked), _enum(0), pki.octets(b"h" * 32))),
                       _tagged(705, pki.integer(150000)), _tagged(706, pki.integer(202611)),
                       _tagged(713, pki.octets(serial.encode())))
    return pki.seq(pki.integer(300), _enum(level), pki.integer(300), _enum(level), pki.octets(challenge), pki.octets(b""),
                   pki.seq(), hardware)


def csr(key, evidence, **kw):
    """A request with this evidence (None: none)."""
    attributes = list(kw.pop("attributes", ()))
    if evidence is not None:
        attributes.append(pki.attribute(ATTRIBUTE, evidence))
    return pki.csr(key, attributes=attributes, **kw)


def days_from(cert):
    return (cert.not_valid_after - datetime.datetime.utcnow()).days
