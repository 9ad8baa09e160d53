"""
CMS (RFC 5652) for SCEP: written octet by octet, read by python3-asn1crypto.

Nothing here uses OpenSSL's CMS, which is what the gateway reads and writes with:
a mistake of that library, or of its use, does not cancel out. Everything that is
written can be spoilt before it is encoded.
"""
import os

from asn1crypto import cms, core
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes, padding as block_padding
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import pki

DATA, SIGNED_DATA, ENVELOPED_DATA = ("1.2.840.113549.1.7.%d" % n for n in (1, 2, 3))
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
RSA_ENCRYPTION, RSAES_OAEP, MGF1 = ("1.2.840.113549.1.1.%d" % n for n in (1, 7, 8))

DIGESTS = {  # name: digest OID, hash, OID of the signature that names the digest too
    "MD5": ("1.2.840.113549.2.5", hashes.MD5, "1.2.840.113549.1.1.4"),
    "SHA-1": ("1.3.14.3.2.26", hashes.SHA1, "1.2.840.113549.1.1.5"),
    "SHA-224": ("2.16.840.1.101.3.4.2.4", hashes.SHA224, "1.2.840.113549.1.1.14"),
    "SHA-256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256, "1.2.840.113549.1.1.11"),
    "SHA-384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384, "1.2.840.113549.1.1.12"),
    "SHA-512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512, "1.2.840.113549.1.1.13"),
}
CIPHERS = {  # name: OID, octets of key, octets of block
    "DES": ("1.3.14.3.2.7", 8, 8),
    "3DES": ("1.2.840.113549.3.7", 24, 8),
    "AES-128": ("2.16.840.1.101.3.4.1.2", 16, 16),
    "AES-192": ("2.16.840.1.101.3.4.1.22", 24, 16),
    "AES-256": ("2.16.840.1.101.3.4.1.42", 32, 16),
    "Camellia-128": ("1.2.392.200011.61.1.1.1.2", 16, 16),
}
_NAME_OF = {oid: name for table in (DIGESTS, CIPHERS) for name, (oid, *_) in table.items()}
CHUNK = 500  # octets in each piece of a constructed OCTET STRING


# ---- DER and BER

def node(tag, *parts, ber=False):
    """A constructed value; in BER of indefinite length."""
    return bytes([tag, 0x80]) + b"".join(parts) + b"\x00\x00" if ber else pki.tlv(tag, *parts)


def string(value, tag=0x04, ber=False):
    """An OCTET STRING; in BER constructed from pieces."""
    if not ber:
        return pki.tlv(tag, value)
    pieces = [pki.octets(value[at:at + CHUNK]) for at in range(0, len(value), CHUNK)]
    return node(tag | 0x20, *pieces, ber=True)


def algorithm(dotted, parameters=b"\x05\x00"):
    return pki.seq(pki.oid(dotted), parameters)


def is_der_set(contents):
    """The members are in the order of their octets, as DER wants them in a SET OF."""
    members = [member.dump() for member in core.SetOf.load(pki.tlv(0x31, contents), spec=core.Any)]
    return members == sorted(members) and b"".join(members) == contents


# ---- certificates as octets: what python3-cryptography re-encodes or refuses stays as it is

def issuer_and_serial(cert):
    tbs = asn1_x509.Certificate.load(cert)["tbs_certificate"]
    return pki.seq(tbs["issuer"].dump(), tbs["serial_number"].dump())


def subject_of(cert):
    return asn1_x509.Certificate.load(cert)["tbs_certificate"]["subject"].dump()


def issuer_of(cert):
    return asn1_x509.Certificate.load(cert)["tbs_certificate"]["issuer"].dump()


def public_key_of(cert):
    spki = asn1_x509.Certificate.load(cert)["tbs_certificate"]["subject_public_key_info"].dump()
    return pki.serialization.load_der_public_key(spki)


# ---- EnvelopedData

def _cipher(name, key, iv):
    if name == "DES":
        return Cipher(algorithms.TripleDES(key * 3), modes.CBC(iv))  # three equal keys are single DES
    kind = {"3DES": algorithms.TripleDES, "Camellia-128": algorithms.Camellia}.get(name, algorithms.AES)
    return Cipher(kind(key), modes.CBC(iv))


def encrypt(name, key, iv, padded):
    encryptor = _cipher(name, key, iv).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def pad(octets, block):
    padder = block_padding.PKCS7(block * 8).padder()
    return padder.update(octets) + padder.finalize()


def _oaep(digest):
    kind = DIGESTS[digest][1]()
    return padding.OAEP(padding.MGF1(kind), kind, None)


def _oaep_algorithm(digest):
    """SHA-1 is the default of RFC 4055, and DEFAULT values are left out."""
    if digest == "SHA-1":
        return algorithm(RSAES_OAEP, pki.seq())
    inner = algorithm(DIGESTS[digest][0])
    return algorithm(RSAES_OAEP, pki.seq(pki.tlv(0xa0, inner), pki.tlv(0xa1, algorithm(MGF1, inner))))


class Recipient:
    """One KeyTransRecipientInfo; oaep: None or the name of a digest."""

    def __init__(self, cert, secret, oaep=None):
        self.rid = issuer_and_serial(cert)
        self.public = public_key_of(cert)
        self.oaep = oaep
        self.encrypted = self.public.encrypt(secret, _oaep(oaep) if oaep else padding.PKCS1v15())

    def encrypt_raw(self, block):
        """Textbook RSA on a block of the modulus' length: wrong paddings are made with it."""
        numbers = self.public.public_numbers()
        self.encrypted = pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(len(block), "big")

    def der(self):
        how = _oaep_algorithm(self.oaep) if self.oaep else algorithm(RSA_ENCRYPTION)
        return pki.seq(pki.integer(0), self.rid, how, pki.octets(self.encrypted))


class Envelope:
    def __init__(self, content, recipients, cipher="AES-128", oaep=None, ber=False, key=None):
        self.cipher, self.ber = cipher, ber
        self.oid, size, self.block = CIPHERS[cipher]
        self.key, self.iv = key or os.urandom(size), os.urandom(self.block)
        self.recipients = [Recipient(cert, self.key, oaep) for cert in recipients]
        self.content_type = DATA
        self.seal(pad(content, self.block))

    def seal(self, padded):
        """Encrypt what has its padding already."""
        self.encrypted = encrypt(self.cipher, self.key, self.iv, padded)

    def der(self):
        inner = node(0x30, pki.oid(self.content_type), algorithm(self.oid, pki.octets(self.iv)),
                     string(self.encrypted, 0x80, self.ber), ber=self.ber)
        body = node(0x30, pki.integer(0), pki.der_set(*sorted(info.der() for info in self.recipients)), inner,
                    ber=self.ber)
        return node(0x30, pki.oid(ENVELOPED_DATA), node(0xa0, body, ber=self.ber), ber=self.ber)


# ---- SignedData

class Signature:
    """One SignerInfo; names_digest: its signature OID is shaXwithRSA instead of rsaEncryption."""

    def __init__(self, cert, key, digest="SHA-256", names_digest=False):
        self.cert, self.key, self.digest, self.names_digest = cert, key, digest, names_digest
        self.sid = issuer_and_serial(cert)
        self.attributes = []  # [OID, value, value...], in the order of the wire when sort is False
        self.message_digest = self.content_type = None
        self.attributed = self.sort = True
        self.spoil = lambda signature: signature

    def set(self, oid, *values):
        self.drop(oid)
        self.attributes.append([oid, *values])

    def drop(self, oid):
        self.attributes = [attribute for attribute in self.attributes if attribute[0] != oid]

    def der(self, content):
        digest_oid, kind, signature_oid = DIGESTS[self.digest]
        hashed = hashes.Hash(kind())
        hashed.update(content or b"")
        attributes = [pki.attribute(*attribute) for attribute in self.attributes]
        if self.content_type is not False:
            attributes.append(pki.attribute(CONTENT_TYPE, pki.oid(self.content_type or DATA)))
        if self.message_digest is not False:
            attributes.append(pki.attribute(MESSAGE_DIGEST, pki.octets(self.message_digest or hashed.finalize())))
        if self.sort:
            attributes.sort()
        signed = pki.der_set(*attributes) if self.attributed else content or b""
        if hasattr(self.key, "curve"):
            how = (pki.ec.ECDSA(kind()),)
        else:
            how = (padding.PKCS1v15(), kind())
        value = self.spoil(self.key.sign(signed, *how))
        return pki.seq(pki.integer(1), self.sid, algorithm(digest_oid),
                       pki.tlv(0xa0, *attributes) if self.attributed else b"",
                       algorithm(signature_oid if self.names_digest else RSA_ENCRYPTION), pki.octets(value))


def signed_data(content, signatures, certs, ber=False, content_type=DATA, content_ber=None):
    """content None: an absent eContent; b"": one of no octets."""
    inner = [] if content is None else [node(0xa0, string(content, ber=ber if content_ber is None else content_ber), ber=ber)]
    digests = sorted({algorithm(DIGESTS[signature.digest][0]) for signature in signatures})
    body = node(0x30, pki.integer(1), pki.der_set(*digests), node(0x30, pki.oid(content_type), *inner, ber=ber),
                node(0xa0, *certs, ber=ber), node(0x31, *[signature.der(content) for signature in signatures], ber=ber),
                ber=ber)
    return node(0x30, pki.oid(SIGNED_DATA), node(0xa0, body, ber=ber), ber=ber)


# ---- reading

def _one(value, spec):
    """The only value, with nothing behind it."""
    return spec.load(value, strict=True)


class Opened:
    """A SignedData with one signature, which is checked, or with none."""

    def __init__(self, der):
        info = _one(der, cms.ContentInfo)
        assert info["content_type"].dotted == SIGNED_DATA
        data = info["content"]
        self.content_type = data["encap_content_info"]["content_type"].dotted
        content = data["encap_content_info"]["content"]
        self.content = None if isinstance(content, core.Void) else _octets(content)
        self.certs = [choice.chosen.dump() for choice in data["certificates"] or []]
        self.crls = [choice.chosen.dump() for choice in data["crls"] or []]
        infos = data["signer_infos"]
        assert len(infos) <= 1
        self.signer = None
        if len(infos) == 1:
            self._verify(infos[0], data)

    def _verify(self, info, data):
        signer = info["sid"].chosen.dump()
        self.signer = next(cert for cert in self.certs if issuer_and_serial(cert) == signer)
        self.digest = _NAME_OF[info["digest_algorithm"]["algorithm"].dotted]
        assert [name["algorithm"].dotted for name in data["digest_algorithms"]] == [DIGESTS[self.digest][0]]
        self.signature_oid = info["signature_algorithm"]["algorithm"].dotted
        assert isinstance(info["unsigned_attrs"], core.Void)
        public, signature, kind = public_key_of(self.signer), info["signature"].native, DIGESTS[self.digest][1]()
        self.attributes = {}
        if isinstance(info["signed_attrs"], core.Void):  # RFC 5652, section 5.3: optional when the content is data
            assert self.content_type == DATA
            return public.verify(signature, self.content, padding.PKCS1v15(), kind)
        contents = info["signed_attrs"].contents
        assert is_der_set(contents), "signed attributes are DER, which sorts them"
        for attribute in info["signed_attrs"]:
            oid = attribute["type"].dotted
            assert oid not in self.attributes and len(attribute["values"]) == 1
            self.attributes[oid] = attribute["values"][0]
        hashed = hashes.Hash(kind)
        hashed.update(self.content or b"")
        assert self.attributes[MESSAGE_DIGEST].native == hashed.finalize()
        assert self.attributes[CONTENT_TYPE].dotted == self.content_type
        return public.verify(signature, pki.tlv(0x31, contents), padding.PKCS1v15(), kind)


def _octets(content):
    return content.native if isinstance(content.native, bytes) else content.parsed.native


class Sealed:
    """An EnvelopedData, opened with the key of one of its recipients."""

    def __init__(self, der, cert, key):
        info = _one(der, cms.ContentInfo)
        assert info["content_type"].dotted == ENVELOPED_DATA
        data = info["content"]
        self.recipients = [choice.chosen for choice in data["recipient_infos"]]
        mine = [one for one in self.recipients if one["rid"].chosen.dump() == issuer_and_serial(cert)]
        assert len(mine) == 1, "it is not encrypted to the certificate of the request"
        how = mine[0]["key_encryption_algorithm"]
        self.oaep = how["algorithm"].dotted == RSAES_OAEP
        digest = _NAME_OF[how["parameters"]["hash_algorithm"]["algorithm"].dotted] if self.oaep else None
        secret = key.decrypt(mine[0]["encrypted_key"].native, _oaep(digest) if self.oaep else padding.PKCS1v15())
        inner = data["encrypted_content_info"]
        assert inner["content_type"].dotted == DATA
        self.cipher = _NAME_OF[inner["content_encryption_algorithm"]["algorithm"].dotted]
        oid, size, block = CIPHERS[self.cipher]
        assert len(secret) == size
        iv = inner["content_encryption_algorithm"]["parameters"].native
        decryptor = _cipher(self.cipher, secret, iv).decryptor()
        padded = decryptor.update(inner["encrypted_content"].native) + decryptor.finalize()
        unpadder = block_padding.PKCS7(block * 8).unpadder()
        self.content = unpadder.update(padded) + unpadder.finalize()
