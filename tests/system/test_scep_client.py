"""The SCEP client of these tests is right itself: OpenSSL's CMS reads what it writes, and it reads what OpenSSL's writes."""
import os

import pytest
from asn1crypto import cms as asn1_cms

import cms
import pki
import scep
from gateway import run

CONTENT = b"%d octets of content" % 2000 * 90


class FakeRa:
    """As much of an RA as a message needs."""

    def __init__(self, folder):
        self.key = scep.fresh_key()
        self.cert = self.encryption = scep.certificate(self.key, "CN=RA")
        self.stem = os.path.join(str(folder), "ra")
        pki.write_pair(self.stem, scep.x509.load_der_x509_certificate(self.cert), self.key)


@pytest.fixture(scope="module")
def ra(tmp_path_factory):
    return FakeRa(tmp_path_factory.mktemp("ra"))


@pytest.fixture(scope="module")
def signer():
    return scep.Signer()


def openssl_opens(octets, ra, folder):
    """What openssl finds inside of the signature, and inside of the envelope."""
    message, inner, plain = (str(folder / name) for name in ("message", "inner", "plain"))
    open(message, "wb").write(octets)
    done = run("openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", message, "-out", inner)
    assert done.returncode == 0, done.stderr
    done = run("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", inner, "-out", plain, "-recip",
               ra.stem + ".pem", "-inkey", ra.stem + ".key", "-provider", "legacy", "-provider", "default")
    assert done.returncode == 0, done.stderr
    return open(inner, "rb").read(), open(plain, "rb").read()


@pytest.mark.parametrize("ber", [False, True], ids=["DER", "BER"])
@pytest.mark.parametrize("how", [
    dict(digest="MD5", cipher="DES"), dict(digest="SHA-1", cipher="3DES", names_digest=True), dict(cipher="AES-192"),
    dict(digest="SHA-384", cipher="AES-256", oaep="SHA-1"), dict(digest="SHA-512", names_digest=True, oaep="SHA-256")],
    ids=lambda how: " ".join(str(value) for value in how.values()))
def test_openssl_reads_what_the_client_writes(ra, signer, tmp_path, how, ber):
    message = scep.Message(ra, signer, scep.PKCS_REQ, CONTENT, ber=ber, **how)
    octets = message.der()
    inner, plain = openssl_opens(octets, ra, tmp_path)
    assert (inner, plain) == (message.envelope.der(), CONTENT)
    assert (octets[1] == 0x80) == ber
    opened = cms.Opened(octets)
    assert opened.content == inner and opened.digest == message.signature.digest and opened.signer == signer.cert
    sealed = cms.Sealed(inner, ra.cert, ra.key)
    assert (sealed.content, sealed.cipher, sealed.oaep) == (CONTENT, message.envelope.cipher, "oaep" in how)


@pytest.mark.parametrize("options", [["-aes-128-cbc"], ["-aes-256-cbc", "-keyopt", "rsa_padding_mode:oaep"], ["-des3"]],
                         ids=lambda options: " ".join(options))
def test_the_client_reads_what_openssl_encrypts(ra, tmp_path, options):
    (tmp_path / "plain").write_bytes(CONTENT)
    done = run("openssl", "cms", "-encrypt", "-binary", "-outform", "DER", "-in", tmp_path / "plain", "-out",
               tmp_path / "sealed", "-recip", ra.stem + ".pem", *options)
    assert done.returncode == 0, done.stderr
    assert cms.Sealed((tmp_path / "sealed").read_bytes(), ra.cert, ra.key).content == CONTENT


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "sha512"])
def test_the_client_reads_what_openssl_signs(ra, tmp_path, digest):
    (tmp_path / "plain").write_bytes(CONTENT)
    done = run("openssl", "cms", "-sign", "-nodetach", "-nosmimecap", "-binary", "-outform", "DER", "-in",
               tmp_path / "plain", "-out", tmp_path / "signed", "-signer", ra.stem + ".pem", "-inkey", ra.stem + ".key",
               "-md", digest)
    assert done.returncode == 0, done.stderr
    octets = (tmp_path / "signed").read_bytes()
    assert cms.Opened(octets).content == CONTENT
    for at in (octets.index(CONTENT) + 5, len(octets) - 5):
        with pytest.raises(Exception):
            cms.Opened(octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1:])


def test_a_signature_that_is_wrong_is_noticed(ra, signer):
    message = scep.Message(ra, signer, scep.PKCS_REQ, CONTENT)
    for spoil in (lambda m: setattr(m.signature, "message_digest", b"\x00" * 32),
                  lambda m: setattr(m.signature, "spoil", lambda value: value[:-1] + bytes([value[-1] ^ 1])),
                  lambda m: setattr(m.signature, "key", ra.key)):
        message = scep.Message(ra, signer, scep.PKCS_REQ, CONTENT)
        cms.Opened(message.der())
        spoil(message)
        with pytest.raises(Exception):
            cms.Opened(message.der())


def test_attributes_out_of_order_are_noticed(ra, signer):
    message = scep.Message(ra, signer, scep.PKCS_REQ, CONTENT)
    message.signature.sort = False
    with pytest.raises(AssertionError, match="sorts them"):
        cms.Opened(message.der())


def test_an_absent_content_and_an_empty_one_are_told_apart(signer):
    for content in (None, b"", b"x"):
        assert cms.Opened(cms.signed_data(content, [cms.Signature(signer.cert, signer.key)], [signer.cert])).content == content


@pytest.mark.parametrize("version,serial", [(1, None), (3, 2 ** 255 + 12345)], ids=["version 1", "32 octets of serial number"])
def test_odd_certificates_are_what_they_say(signer, tmp_path, version, serial):
    cert = scep.certificate(signer.key, "CN=odd", serial=serial, version=version)
    (tmp_path / "cert").write_bytes(cert)
    done = run("openssl", "x509", "-inform", "DER", "-in", tmp_path / "cert", "-noout", "-text")
    assert done.returncode == 0 and "Version: %d" % version in done.stdout, done.stdout + done.stderr
    parsed = asn1_cms.Certificate.load(cert, strict=True)
    assert serial is None or parsed["tbs_certificate"]["serial_number"].native == serial
    assert cms.subject_of(cert) == cms.issuer_of(cert) == pki.name("CN=odd")


def test_keys_of_the_pool_are_all_different_and_whole():
    keys = [scep.fresh_key() for _ in range(12)]
    assert len({pki.spki(key) for key in keys}) == 12
    for key in keys:
        assert key.key_size == 2048
        assert key.decrypt(key.public_key().encrypt(b"x", cms.padding.PKCS1v15()), cms.padding.PKCS1v15()) == b"x"
