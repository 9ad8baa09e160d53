"""
A SCEP client (RFC 8894) that decides every octet, on sockets, python3-cryptography and cms.py.

Every answer is checked whole as it comes: status, content type, signature by the
RA, signed attributes, nonces, transaction, and what is encrypted to whom.
"""
import base64
import datetime
import hashlib
import os
import re
import socket
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import cms
import est
import pki
from gateway import free_port

CERT_REP, RENEWAL_REQ, UPDATE_REQ, PKCS_REQ, CERT_POLL, GET_CERT, GET_CRL = 3, 17, 18, 19, 20, 21, 22
SUCCESS, FAILURE, PENDING = "0", "2", "3"
BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = "01234"
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    "2.16.840.1.113733.1.9.%d" % n for n in (2, 3, 4, 5, 6, 7))
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
SUFFIXES = ["/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/certsrv/mscep/mscep.dll"]
ROOT = "/scep"
PRINTABLE, UTF8, OCTETS = 19, 12, 4  # universal tags


# ---- keys and certificates of clients

_primes, _keys, _drawn = [], [], 0


def _pair(number):
    """Two primes of a pool for each number: making a key takes six times as long as putting one together."""
    j = 1
    while number >= j:
        number, j = number - j, j + 1
    while len(_primes) <= j:
        numbers = rsa.generate_private_key(65537, 2048).private_numbers()
        _primes.extend((numbers.p, numbers.q))
    return sorted((_primes[number], _primes[j]), reverse=True)


def fresh_key():
    """An RSA-2048 key that this file's gateways have not seen: a key belongs to one asset. Good for tests and nothing else."""
    global _drawn
    if _drawn == len(_keys):
        p, q = _pair(_drawn)
        d = pow(65537, -1, (p - 1) * (q - 1))
        _keys.append(rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q),
                                           rsa.RSAPublicNumbers(65537, p * q)).private_key())
    _drawn += 1
    return _keys[_drawn - 1]


def forget_keys():
    """Another file, other gateways: the same keys are fresh again."""
    global _drawn
    _drawn = 0


def _time(moment):
    return pki.tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


def certificate(key, subject="CN=SCEP SIGNER", serial=None, version=3, issuer=None, issuer_key=None, days=(-1, 1),
                digest=hashes.SHA256, extensions=()):
    """A certificate as octets, self-signed unless an issuer is given; version 1 has no extensions."""
    subject = pki.name(subject) if isinstance(subject, str) else subject
    oid = {hashes.SHA256: pki.RSA_SHA256, hashes.SHA1: "1.2.840.113549.1.1.5", hashes.MD5: "1.2.840.113549.1.1.4"}[digest]
    signer = issuer_key or key
    elliptic = hasattr(signer, "curve")
    how = cms.algorithm(pki.ECDSA_SHA256, b"") if elliptic else cms.algorithm(oid)
    start, end = (pki.now() + datetime.timedelta(days=n) for n in days)
    body = pki.seq(pki.tlv(0xa0, pki.integer(2)) if version == 3 else b"",
                   pki.integer(int.from_bytes(os.urandom(15), "big") if serial is None else serial), how,
                   cms.subject_of(issuer) if issuer else subject, pki.seq(_time(start), _time(end)), subject,
                   pki.spki(key), pki.tlv(0xa3, pki.seq(*extensions)) if version == 3 and extensions else b"")
    value = signer.sign(body, *((pki.ec.ECDSA(digest()),) if elliptic else (padding.PKCS1v15(), digest())))
    return pki.seq(body, how, pki.tlv(0x03, b"\x00", value))


class Signer:
    """A key and the certificate that goes along with what it signs."""

    def __init__(self, key=None, cert=None, **kw):
        self.key = key or fresh_key()
        self.cert = pki.cert_der(cert) if isinstance(cert, x509.Certificate) else cert or certificate(self.key, **kw)

    def with_cert(self, cert):
        return Signer(self.key, cert)

    @property
    def cert_object(self):
        return x509.load_der_x509_certificate(self.cert)


# ---- messages

class Message:
    """One pkiMessage. Its envelope and its signature can be spoilt before der()."""

    def __init__(self, ra, signer, kind, content, transaction=None, nonce=None, digest="SHA-256", cipher="AES-128",
                 oaep=None, ber=False, names_digest=False, extra_recipients=()):
        self.signer, self.ber = signer, ber
        self.transaction = transaction if transaction is not None else hashlib.sha256(os.urandom(16)).hexdigest()
        self.nonce = os.urandom(16) if nonce is None else nonce
        self.envelope = None
        if content is not None:
            self.envelope = cms.Envelope(content, [ra.encryption] + list(extra_recipients), cipher, oaep, ber)
        self.signature = cms.Signature(signer.cert, signer.key, digest, names_digest)
        self.signature.set(MESSAGE_TYPE, pki.printable(str(kind)))
        self.signature.set(TRANSACTION_ID, pki.printable(self.transaction))
        self.signature.set(SENDER_NONCE, pki.octets(self.nonce))
        self.signatures, self.certs = [self.signature], [signer.cert]
        self.kind, self.ra, self.content_type = kind, ra, cms.DATA

    def again(self):
        """The same contents in a message of their own, as a client that asks again makes one."""
        self.nonce = os.urandom(16)
        self.signature.set(SENDER_NONCE, pki.octets(self.nonce))
        return self

    def der(self):
        content = self.envelope.der() if self.envelope else None
        return cms.signed_data(content, self.signatures, self.certs, self.ber, self.content_type)


def pkcs_req(ra, signer, challenge=None, csr=None, kind=PKCS_REQ, subject="CN=device", csr_key=None, san=(), **kw):
    csr = csr or pki.csr(csr_key or signer.key, subject, san, challenge)
    message = Message(ra, signer, kind, csr, **kw)
    message.csr = csr
    return message


def renewal_req(ra, signer, key, **kw):
    """A request for another key, signed by the current certificate."""
    kw.setdefault("subject", cms.subject_of(signer.cert))
    kw.setdefault("kind", RENEWAL_REQ)
    return pkcs_req(ra, signer, csr_key=key, **kw)


def cert_poll(ra, signer, transaction, subject="CN=device", issuer=None, **kw):
    subject = pki.name(subject) if isinstance(subject, str) else subject
    content = pki.seq(issuer or cms.subject_of(ra.cert), subject)
    return Message(ra, signer, CERT_POLL, content, transaction=transaction, **kw)


def get_cert(ra, signer, wanted, kind=GET_CERT, **kw):
    return Message(ra, signer, kind, cms.issuer_and_serial(wanted), **kw)


class Reply:
    """The CertRep to a message; whatever breaks RFC 8894 in it is a failed assertion."""

    def __init__(self, response, message):
        assert response.status == 200, response
        assert response.get("Content-Type") == "application/x-pki-message", response
        self.octets = response.body
        opened = cms.Opened(response.body)
        assert opened.content_type == cms.DATA
        assert opened.certs == [message.ra.cert] and opened.signer == message.ra.cert, "signed by the RA, exactly"
        assert opened.signature_oid == cms.RSA_ENCRYPTION, "strongSwan knows no other"
        self.digest, self.attributes = opened.digest, opened.attributes
        known = {cms.CONTENT_TYPE, cms.MESSAGE_DIGEST, MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, FAIL_INFO_TEXT,
                 SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID}
        assert set(opened.attributes) <= known
        assert self._get(MESSAGE_TYPE, PRINTABLE) == str(CERT_REP)
        assert self._get(TRANSACTION_ID, PRINTABLE) == message.transaction
        assert self._get(RECIPIENT_NONCE, OCTETS) == message.nonce
        self.nonce = self._get(SENDER_NONCE, OCTETS)
        assert len(self.nonce) == 16 and self.nonce != message.nonce
        self.status = self._get(PKI_STATUS, PRINTABLE)
        self.fail = self._get(FAIL_INFO, PRINTABLE)
        self.fail_text = self._get(FAIL_INFO_TEXT, UTF8)
        assert (self.fail is not None) == (self.status == FAILURE)
        self.certs, self.crls, self.cipher = [], [], None
        if self.status != SUCCESS:
            assert opened.content == b"", "certmonger breaks on an absent eContent"
            return
        sealed = cms.Sealed(opened.content, message.signer.cert, message.signer.key)
        assert len(sealed.recipients) == 1
        self.cipher, self.oaep = sealed.cipher, sealed.oaep
        inner = cms.Opened(sealed.content)
        assert inner.signer is None and inner.content is None, "a degenerate SignedData"
        self.certs = [x509.load_der_x509_certificate(cert) for cert in inner.certs]
        self.crls = [x509.load_der_x509_crl(crl) for crl in inner.crls]

    def _get(self, oid, tag):
        value = self.attributes.get(oid)
        if value is None:
            return None
        octets = value.dump()
        assert octets[0] == tag, (oid, octets)
        return value.native

    def __repr__(self):
        return "<CertRep status=%s fail=%s %r %d certificates>" % (self.status, self.fail, self.fail_text, len(self.certs))

    @property
    def cert(self):
        assert self.status == SUCCESS and self.certs and not self.crls, self
        return self.certs[0]


def refused(gateway, reply, fail=BAD_REQUEST, reason="", owned=None, certs=0):
    """A signed FAILURE, a new row in the audit that says why, and nothing was issued."""
    assert (reply.status, reply.fail) == (FAILURE, fail), reply
    recorded(gateway, reason)
    if owned is not None:
        assert len(gateway.certs(owned.tag)) == certs


def recorded(gateway, reason=""):
    """The newest refusal of the audit, which is newer than the one that was looked at before, has this reason."""
    seen = getattr(gateway, "audit_seen", 0)
    rows = gateway.ctl("audit", "list", "--after", str(seen), "--limit", "100000")
    rows = [row for row in rows if row["action"] in ("enroll.denied", "enroll.refused")]
    assert rows, "no row tells of the refusal"
    gateway.audit_seen = rows[-1]["seq"]
    detail = rows[-1]["detail"]
    assert re.search(reason, "%s %s" % (detail["reason"], detail.get("sentence", ""))), rows[-1]
    return rows[-1]


# ---- HTTP

class Plain(est.Conn):
    """A connection without TLS."""

    def __init__(self, gateway, host="127.0.0.1", timeout=est.TIMEOUT):
        self.sock = socket.create_connection((host, gateway.http_port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""


def path(label="", suffix=""):
    return ROOT + ("/" + label if label else "") + suffix


def connect(gateway, tls=False):
    return est.Conn(gateway) if tls else Plain(gateway)


def request(gateway, method, target, body=None, tls=False, conn=None, headers=()):
    headers = dict({"Content-Type": "application/x-pki-message"} if body is not None else {}, **dict(headers))
    if conn is not None:
        return conn.request(method, target, body, headers)
    with connect(gateway, tls) as fresh:
        return fresh.request(method, target, body, headers)


def get(gateway, operation, label="", suffix="", message=None, **kw):
    target = path(label, suffix) + "?operation=" + operation
    if message is not None:
        target += "&message=" + message
    return request(gateway, "GET", target, **kw)


def post(gateway, octets, label="", suffix="", query="?operation=PKIOperation", **kw):
    """POST octets, whatever they are."""
    return request(gateway, "POST", path(label, suffix) + query, octets, **kw)


def quoted(octets):
    return urllib.parse.quote(base64.b64encode(octets).decode(), safe="")


def send(gateway, message, label="", method="POST", **kw):
    """Send a message; its checked reply."""
    octets = message.der()
    response = post(gateway, octets, label, **kw) if method == "POST" else \
        get(gateway, "PKIOperation", label, message=quoted(octets), **kw)
    return Reply(response, message)


def enroll(gateway, signer, challenge=None, label="", **kw):
    return send(gateway, pkcs_req(gateway.ra, signer, challenge, **kw), label)


def enroll_at(gateway, owned, label="", suffix=""):
    return send(gateway, pkcs_req(gateway.ra, owned.signer, owned.challenge), label, suffix=suffix)


def certs_of(response, kind):
    """The certificates of GetCACert, as octets in the order of the wire."""
    assert response.status == 200 and response.get("Content-Type") == kind, response
    if kind == "application/x-x509-ca-cert":
        x509.load_der_x509_certificate(response.body)
        return [response.body]
    opened = cms.Opened(response.body)
    assert opened.signer is None and opened.content is None
    return opened.certs


# ---- the gateway's side

def pem(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


class Ra:
    """An RA certificate, or two: one that signs, one that is encrypted to."""

    def __init__(self, gateway, name="ra", apart=False, key=None, **kw):
        self.name, self._dir = name, gateway.dir
        issuer = pem(gateway.issuing)
        issuer_key = pki.load_key(os.path.join(gateway.dir, "ca/issuing.key"))

        def make(stem, key, usage):
            cert = pki.ra_cert(issuer, issuer_key, key, "SCEP RA " + stem, usage, **kw)
            pki.write_pair(os.path.join(gateway.dir, stem), cert, key)
            return pki.cert_der(cert)

        both = ("digital_signature", "key_encipherment")
        self.key = key or fresh_key()
        self.cert = make(name, self.key, both[:1] if apart else both)
        self.decrypt_key, self.encryption = self.key, self.cert
        if apart:
            self.decrypt_key = fresh_key()
            self.encryption = make(name + "-decrypt", self.decrypt_key, both[1:])
        self.apart = apart

    def settings(self, previous=()):
        out = {"name": "ra", "certificate": self.name + ".pem", "key": "file:%s.key" % self.name}
        if self.apart:
            out.update(decrypt_certificate=self.name + "-decrypt.pem", decrypt_key="file:%s-decrypt.key" % self.name)
        if previous:
            out["previous_certificates"] = [old.name + ".pem" for old in previous]
            out["previous_keys"] = ["file:%s.key" % old.name for old in previous]
        return out


def configure(gateway, **label):
    """Let a new gateway speak SCEP at its first label, on a plain listener and on its TLS one."""
    gateway.http_port = free_port()
    gateway.ra = Ra(gateway)
    settings = gateway.settings
    settings["listen"]["http"] = ["127.0.0.1:%d" % gateway.http_port, "[::1]:%d" % gateway.http_port]
    settings["ras"] = [gateway.ra.settings()]
    settings["scep"] = {"suffixes": SUFFIXES}
    settings["labels"][0].update(dict(OFFERED, **label))
    return gateway


OFFERED = {"protocols": ["est", "scep"], "scep_ra": "ra"}


def add_label(gateway, name, **kw):
    gateway.add_label(name, **dict(OFFERED, **kw))


def challenge(gateway, device, *options):
    return gateway.secret(device.tag, "--scep", *options)


class Owned:
    """An asset of the registry with one challenge and one key: what most tests begin with."""

    def __init__(self, gateway, acme, *options):
        self.device = gateway.own(acme.idevid())
        self.tag, self.serial = self.device.tag, self.device.serial
        self.challenge = challenge(gateway, self.device, *options)
        self.signer = Signer(subject="CN=" + self.tag)

    def enrolled(self, gateway, label=""):
        """Enroll; a signer with the certificate that came."""
        return self.signer.with_cert(enroll(gateway, self.signer, self.challenge, label, subject="CN=" + self.tag).cert)
