"""Manufacturers, factory certificates and certification requests, made at run time.

Requests are put together octet by octet (seq, oid, ...), because a library
would not make the wrong ones that the tests need.
"""
import datetime
import hashlib
import itertools
import os
import random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NO_EXPIRY = datetime.datetime(9999, 12, 31, 23, 59, 59)  # IEEE 802.1AR: the certificate of a device that lasts
_serials = itertools.count(1)


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def ago(**kw):
    return now() - datetime.timedelta(**kw)


def ahead(**kw):
    return now() + datetime.timedelta(**kw)


# ---- keys

def ec_key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


_rsa_keys = {}


def rsa_key(bits=2048, exponent=65537, name="shared"):
    """RSA keys are slow to make: one for each name."""
    if (bits, exponent, name) not in _rsa_keys:
        _rsa_keys[bits, exponent, name] = rsa.generate_private_key(exponent, bits)
    return _rsa_keys[bits, exponent, name]


def _is_prime(n):
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for _ in range(16):
        x = pow(random.randrange(2, n - 1), d, n)
        if x in (1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def roca_key():
    """An RSA-2048 key whose primes are k * M + 65537^a mod M, as the flawed library of CVE-2017-15361 made them."""
    m = 1
    for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
              101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167):
        m *= p

    def prime():
        while True:
            low = 3 << 1022
            k = random.randrange(low // m + 1, (1 << 1024) // m)
            p = k * m + pow(65537, random.randrange(m), m)
            if p.bit_length() == 1024 and all(p % q for q in range(3, 2000, 2)) and _is_prime(p):
                return p

    p, q, e = prime(), prime(), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q),
                                 rsa.RSAPublicNumbers(e, p * q)).private_key()


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def load_key(path):
    with open(path, "rb") as file:
        return serialization.load_pem_private_key(file.read(), None)


def cert_pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def cert_der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def spki(key):
    public = key if hasattr(key, "public_numbers") and not hasattr(key, "private_bytes") else key.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_ids(key):
    """What a subjectKeyIdentifier may be: RFC 5280, section 4.2.1.2 (1), or RFC 7093, section 2 (1)."""
    bits = x509.SubjectKeyIdentifier.from_public_key(key if hasattr(key, "verify") else key.public_key()).digest
    public = spki(key)
    at = next(i for i in range(len(public)) if hashlib.sha1(public[i:]).digest() == bits)
    return {bits, hashlib.sha256(public[at:]).digest()[:20]}


def sha256_hex(octets):
    return hashlib.sha256(octets).hexdigest()


# ---- certificates

class Device:
    """Something with a key and a certificate, also as files for TLS stacks that want files."""

    def __init__(self, folder, name, key, cert, serial="", chain=()):
        self.tag = name
        self.serial = serial
        self.key = key
        self.cert = cert
        self.stem = os.path.join(str(folder), name)
        self.pem = self.stem + ".pem"
        self.key_file = self.stem + ".key"
        with open(self.pem, "wb") as out:
            out.write(cert_pem(cert) + b"".join(cert_pem(c) for c in chain))
        with open(os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(key_pem(key))

    def with_cert(self, folder, cert, key=None, suffix="-own"):
        return Device(folder, self.tag + suffix, key or self.key, cert, self.serial)


class Manufacturer:
    """A root, and factory certificates under it."""

    def __init__(self, folder, name="acme", key=None):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.name = name
        self.key = key or ec_key()
        self.subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
                                  x509.NameAttribute(NameOID.COMMON_NAME, name + " device root")])
        self.cert = (x509.CertificateBuilder().subject_name(self.subject).issuer_name(self.subject)
                     .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                     .not_valid_before(ago(days=3650)).not_valid_after(NO_EXPIRY)
                     .add_extension(x509.BasicConstraints(True, None), True)
                     .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
                     .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
                     .sign(self.key, hashes.SHA256()))
        self.pem = os.path.join(self.folder, name + "-root.pem")
        with open(self.pem, "wb") as out:
            out.write(cert_pem(self.cert))

    def next_serial(self):
        return "SN%07d" % next(_serials)

    def idevid(self, serial=None, key=None, subject=None, not_before=None, not_after=NO_EXPIRY, eku=None, ca=False,
               usage=(), chain=()):
        serial = serial or self.next_serial()
        key = key or ec_key()
        tag = "%s-%s" % (self.name, serial)
        subject = subject or x509.Name([
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.name),
            x509.NameAttribute(NameOID.COMMON_NAME, "X1 " + serial),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "PID:X1 SN:" + serial)])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(not_before or ago(days=400)).not_valid_after(not_after)
                   .add_extension(x509.BasicConstraints(ca, None), True)
                   .add_extension(x509.KeyUsage(True, False, "key_encipherment" in usage, False,
                                                "key_agreement" in usage, ca, False, False, False), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False))
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), False)
        return Device(self.folder, tag, key, builder.sign(self.key, hashes.SHA256()), serial, chain)


def server_cert(issuer_cert, issuer_key, key, name="localhost"):
    """A server certificate by a CA of --init, for reload tests."""
    return (x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer_cert.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ago(minutes=5)).not_valid_after(ahead(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer_cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value), False)
            .sign(issuer_key, hashes.SHA256()))


def ra_cert(issuer_cert, issuer_key, key, name="SCEP RA", usage=("digital_signature", "key_encipherment"),
            not_before=None, not_after=None):
    """A registration authority's certificate, by a CA of --init."""
    bits = {bit: bit in usage for bit in ("digital_signature", "content_commitment", "key_encipherment",
                                          "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
                                          "encipher_only", "decipher_only")}
    return (x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer_cert.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or ago(minutes=5)).not_valid_after(not_after or ahead(days=365))
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.KeyUsage(**bits), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer_cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value), False)
            .sign(issuer_key, hashes.SHA256()))


def write_pair(stem, cert, key):
    """<stem>.pem and <stem>.key"""
    for suffix, octets_, mode in ((".pem", cert_pem(cert), 0o644), (".key", key_pem(key), 0o600)):
        with open(os.open(stem + suffix, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
            out.write(octets_)


def verify(issuer, cert):
    """The signature is the issuer's; raises if not."""
    public = issuer.public_key()
    how = (ec.ECDSA(cert.signature_hash_algorithm),) if isinstance(public, ec.EllipticCurvePublicKey) else \
        (padding.PKCS1v15(), cert.signature_hash_algorithm)
    public.verify(cert.signature, cert.tbs_certificate_bytes, *how)
    assert cert.issuer == issuer.subject


def replace_by_rsa(folder):
    """Put RSA keys and certificates in the place of those that enrolld --init has made."""
    def put(path, octets, mode=0o644):
        with open(os.open(os.path.join(folder, path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
            out.write(octets)

    def ca(name, key, issuer, issuer_key, length):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(ago(days=1)).not_valid_after(ahead(days=3650))
                .add_extension(x509.BasicConstraints(True, length), True)
                .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
                .sign(issuer_key, hashes.SHA256()))

    root_key, issuing_key, server_key = (rsa_key(2048, name=name) for name in ("root", "issuing", "server"))
    root = ca("RSA root", root_key, None, root_key, 1)
    issuing = ca("RSA issuing", issuing_key, root, root_key, 0)
    put("ca/root.pem", cert_pem(root))
    put("ca/issuing.pem", cert_pem(issuing))
    put("ca/issuing.key", key_pem(issuing_key), 0o600)
    put("tls/server.pem", cert_pem(server_cert(issuing, issuing_key, server_key)) + cert_pem(issuing))
    put("tls/server.key", key_pem(server_key), 0o600)


# ---- DER, by hand

def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 0x80:
        head = bytes([len(body)])
    else:
        octets = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
        head = bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + head + body


def seq(*parts):
    return tlv(0x30, *parts)


def der_set(*parts):
    return tlv(0x31, *parts)


def octets(value):
    return tlv(0x04, value)


def utf8(text):
    return tlv(0x0c, text.encode())


def printable(text):
    return tlv(0x13, text.encode())


def boolean(value):
    return tlv(0x01, b"\xff" if value else b"\x00")


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted):
    arcs = [int(arc) for arc in dotted.split(".")]
    out = bytearray()
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        part = [arc & 0x7f]
        while arc > 0x7f:
            arc >>= 7
            part.append(0x80 | arc & 0x7f)
        out += bytes(reversed(part))
    return tlv(0x06, bytes(out))


NAME_OIDS = {"CN": "2.5.4.3", "serialNumber": "2.5.4.5", "O": "2.5.4.10", "OU": "2.5.4.11", "C": "2.5.4.6"}
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
DECRYPT_KEY_ID = "1.2.840.113549.1.9.16.2.37"
ASYM_DECRYPT_KEY_ID = "1.2.840.113549.1.9.16.2.54"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
RSA_SHA256 = "1.2.840.113549.1.1.11"


def name(text):
    """"CN=a,O=b" as a Name; an empty text is the empty Name."""
    return seq(*[der_set(seq(oid(NAME_OIDS[kind]), utf8(value)))
                 for kind, value in (part.split("=", 1) for part in text.split(",") if part)])


def attribute(kind, *values):
    return seq(oid(kind), der_set(*values))


def extension(kind, value, critical=False):
    return seq(oid(kind), boolean(True) if critical else b"", octets(value))


def san_extension(names):
    """[("dns", "a"), ("uri", "b")]"""
    tags = {"email": 0x81, "dns": 0x82, "uri": 0x86}
    return extension("2.5.29.17", seq(*[tlv(tags[kind], value.encode()) for kind, value in names]))


def sign(key, octets_):
    if isinstance(key, rsa.RSAPrivateKey):
        return RSA_SHA256, key.sign(octets_, padding.PKCS1v15(), hashes.SHA256())
    return ECDSA_SHA256, key.sign(octets_, ec.ECDSA(hashes.SHA256()))


def csr_info(key, subject="CN=device", attributes=(), public=None):
    return seq(b"\x02\x01\x00", name(subject) if isinstance(subject, str) else subject,
               public or spki(key), tlv(0xa0, *attributes))


def csr_wrap(info, algorithm, signature):
    parameters = b"\x05\x00" if algorithm == RSA_SHA256 else b""
    return seq(info, seq(oid(algorithm), parameters), tlv(0x03, b"\x00", signature))


def csr(key, subject="CN=device", san=(), challenge=None, extensions=(), attributes=(), signer=None):
    """A PKCS#10 request in DER."""
    extensions = list(extensions)
    if san:
        extensions.append(san_extension(san))
    attributes = list(attributes)
    if extensions:
        attributes.append(attribute(EXTENSION_REQUEST, seq(*extensions)))
    if challenge is not None:
        attributes.append(attribute(CHALLENGE_PASSWORD, utf8(challenge)))
    info = csr_info(key, subject, attributes)
    return csr_wrap(info, *sign(signer or key, info))
