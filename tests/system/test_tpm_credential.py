"""Credentials that a TPM opens, and evidence that a TPM made: swtpm and tpm2-tools against policy/attest."""
import datetime
import os
import secrets
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

import tpm as software_tpm
from tpm import AK_ATTRIBUTES, EK_ATTRIBUTES, KEY_ATTRIBUTES, Tpm, bundle, nonce

TOOL = os.path.join(os.environ.get("ENROLLD_BIN", "out/asan"), "tests", "tpm_tool")
EKU_AK = ObjectIdentifier("2.23.133.8.3")
RSA_KEY = "rsa2048:null"


@pytest.fixture(scope="module", autouse=True)
def programs():
    assert software_tpm.missing() is None, software_tpm.missing()
    assert os.path.exists(TOOL), TOOL + " is not built"


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    made = Tpm(tmp_path_factory.mktemp("tpm"))
    yield made
    made.stop()


def tool(*arguments, works=True):
    done = subprocess.run([TOOL, *arguments], capture_output=True, timeout=60)
    assert "Sanitizer" not in done.stderr.decode() and done.returncode in (0, 1), done.stderr.decode()
    if works:
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def credential(tpm, ek, ak_name):
    secret = secrets.token_bytes(32)
    tool("make", ek, ak_name, secret.hex(), tpm.path("credential"))
    return secret, tpm.path("credential")


EKS = {
    "rsa": lambda tpm: (tpm.ek("rsa"), True)[1],
    "ecc": lambda tpm: (tpm.ek("ecc"), True)[1],
    "p384": lambda tpm: (tpm.primary("ek", "ecc384:null:aes256cfb", EK_ATTRIBUTES, "sha384"), False)[1],
    "rsa3072": lambda tpm: (tpm.primary("ek", "rsa3072:null:aes256cfb", EK_ATTRIBUTES, "sha384"), False)[1],
}
AKS = {"rsa": "rsa2048:rsassa-sha256:null", "ecc": "ecc256:ecdsa-sha256:null"}


@pytest.mark.parametrize("kind", EKS)
@pytest.mark.parametrize("ak", AKS)
def test_a_tpm_opens_our_credential_for_its_own_ak_only(tpm, kind, ak):
    policy = EKS[kind](tpm)
    for name in ("ak", "other"):
        tpm.key(name, AKS[ak], AK_ATTRIBUTES)
    secret, path = credential(tpm, tpm.path("ek.pem"), tpm.name_of("ak"))
    assert tpm.activate("ek", "other", path, policy) is None
    assert tpm.activate("ek", "ak", path, policy) == secret


@pytest.mark.parametrize("at", [10, 50, -1])
def test_a_tpm_refuses_a_credential_that_was_changed(tpm, at):
    tpm.ek("ecc")
    tpm.key("ak", AKS["ecc"], AK_ATTRIBUTES)
    _, path = credential(tpm, tpm.path("ek.pem"), tpm.name_of("ak"))
    octets = bytearray(tpm.read("credential"))
    octets[at] ^= 1
    tpm.write("credential", octets)
    assert tpm.activate("ek", "ak", path, True) is None


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_the_certificate_of_an_ek_is_taken_from_its_maker(tpm, maker, kind):
    """swtpm_cert writes it as TPM makers do."""
    tpm.ek(kind)
    tpm.run("swtpm_cert", "--tpm2", "--type", "ek", "--decryption", "--pubkey", "ek.pem", "--signkey", maker.key_file,
            "--issuercert", maker.pem, "--out-cert", "ek.cert", "--days", "2", "--tpm-manufacturer", "id:00001014",
            "--tpm-model", "swtpm", "--tpm-version", "id:20191023", "--tpm-spec-family", "2.0", "--tpm-spec-level", "0",
            "--tpm-spec-revision", "164")
    said = tool("ek", tpm.path("ek.cert"), maker.pem, str(int(time.time())))
    key = serialization.load_pem_public_key(tpm.read("ek.pem"))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    assert said.splitlines()[-1] == "ek " + digest.finalize().hex()
    late = tool("ek", tpm.path("ek.cert"), maker.pem, str(int(time.time()) + 3 * 86400), works=False)
    assert "fail tpm.ek.chain" in late and "\nek " not in late


def test_names_and_keys_are_those_that_the_tpm_tells(tpm):
    for kind, digest in (("ecc256:null:null", "sha256"), ("ecc384:null:null", "sha384"), ("rsa2048:null:null", "sha512"),
                         ("rsa3072:null:null", "sha256"), (AKS["rsa"], "sha256"), (AKS["ecc"], "sha384")):
        tpm.key("k", kind, AK_ATTRIBUTES if kind in AKS.values() else KEY_ATTRIBUTES, digest)
        area = tpm.write("k.area", tpm.read("k.pub")[2:])
        told = hashes.Hash(hashes.SHA256())
        told.update(tpm.read("k.spki"))
        assert tool("name", area).split() == [tpm.name_of("k"), told.finalize().hex()], kind


class Maker:
    """Who certifies AKs."""

    def __init__(self, folder):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TPM maker")])
        self.root = self._cert(self.name, self.key.public_key(), True)
        self.pem = os.path.join(str(folder), "roots.pem")
        with open(self.pem, "wb") as f:
            f.write(self.root.public_bytes(serialization.Encoding.PEM))
        self.key_file = os.path.join(str(folder), "key.pem")
        with open(self.key_file, "wb") as f:
            f.write(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))

    def _cert(self, subject, key, ca, usages=()):
        now = datetime.datetime.utcnow()
        day = datetime.timedelta(days=1)
        b = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        b = b.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        b = b.add_extension(x509.BasicConstraints(ca, None), True)
        b = b.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        if usages:
            b = b.add_extension(x509.ExtendedKeyUsage(usages), False)
        return b.sign(self.key, hashes.SHA256())

    def ak_cert(self, spki):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AK")])
        cert = self._cert(subject, serialization.load_der_public_key(spki), False, [EKU_AK])
        return cert.public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("maker"))


def verify(tpm, octets, key, fresh, roots="-", bound="-", now=None):
    """({check: passed}, {claim: value}, [anchors]) and whether it is valid."""
    tpm.write("bundle", octets)
    done = subprocess.run([TOOL, "verify", tpm.path("bundle"), tpm.path(key + ".spki"), fresh.hex(),
                           str(int(now or time.time())), roots, bound], capture_output=True, timeout=60)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr.decode()
    rows = [line.split(" ", 2) for line in done.stdout.decode().splitlines()]
    return ({row[1]: row[0] == "pass" for row in rows if row[0] in ("pass", "fail")},
            {row[1]: row[2] for row in rows if row[0] == "claim"},
            [row[1:] for row in rows if row[0] == "anchor"], done.returncode == 0)


def failed(result):
    return [name for name, passed in result[0].items() if not passed]


@pytest.mark.parametrize("ak", AKS)
@pytest.mark.parametrize("kind", ["rsa2048:null:null", "ecc256:null:null", "ecc384:null:null"])
@pytest.mark.parametrize("how", ["certify", "certify_creation"])
def test_what_a_tpm_certifies_is_taken(tpm, maker, ak, kind, how):
    tpm.key("ak", AKS[ak], AK_ATTRIBUTES)
    tpm.key("key", kind)
    fresh = nonce()
    attest, signature = getattr(tpm, how)("key", "ak", fresh)
    sized = tpm.read("key.pub")
    certified = bundle(attest, signature, sized[2:], certs=[maker.ak_cert(tpm.read("ak.spki"))])
    result = verify(tpm, certified, "key", fresh, roots=maker.pem)
    assert result[3], result
    assert result[1]["tpm.statement"] == ("certify" if how == "certify" else "creation")
    assert result[1]["tpm.key_name"] == tpm.name_of("key")
    bound = tool("name", tpm.write("ak.area", tpm.read("ak.pub")[2:])).split()[1]
    # TPM2B_PUBLIC, as tpm2_readpublic writes it, is taken too.
    result = verify(tpm, bundle(attest, signature, sized, ak=tpm.read("ak.pub")), "key", fresh, bound=bound)
    assert result[3] and result[2] == [["ek_pub_sha256", 64 * "e"]], result
    # ... and nothing of it for another key, another nonce, another AK, or a year later.
    tpm.key("software", "ecc256:null:null")
    assert failed(verify(tpm, certified, "software", fresh, roots=maker.pem)) == ["tpm.key"]
    assert failed(verify(tpm, certified, "key", nonce(), roots=maker.pem)) == ["tpm.nonce"]
    assert failed(verify(tpm, certified, "key", fresh, roots=maker.pem, now=time.time() + 366 * 86400)) == [
        "tpm.ak.chain", "tpm.ak"]
    other = bundle(attest, signature, sized[2:], certs=[maker.ak_cert(tpm.read("software.spki"))])
    assert failed(verify(tpm, other, "key", fresh, roots=maker.pem)) == ["tpm.signature"]
    assert failed(verify(tpm, certified, "key", fresh)) == ["tpm.ak.chain", "tpm.ak"]


def test_an_imported_key_is_told_from_one_that_the_tpm_made(tpm, maker):
    made = ec.generate_private_key(ec.SECP256R1())
    tpm.write("imported.key", made.private_bytes(serialization.Encoding.PEM,
                                                 serialization.PrivateFormat.TraditionalOpenSSL,
                                                 serialization.NoEncryption()))
    tpm.key("ak", AKS["ecc"], AK_ATTRIBUTES)
    tpm.run("tpm2_import", "-C", "srk.ctx", "-G", "ecc", "-i", "imported.key", "-u", "imported.pub", "-r",
            "imported.priv")
    tpm.load("imported")
    fresh = nonce()
    attest, signature = tpm.certify("imported", "ak", fresh)
    octets = bundle(attest, signature, tpm.read("imported.pub")[2:], certs=[maker.ak_cert(tpm.read("ak.spki"))])
    assert failed(verify(tpm, octets, "imported", fresh, roots=maker.pem)) == ["tpm.attributes"]


def test_a_duplicable_key_is_refused(tpm, maker):
    tpm.key("ak", AKS["ecc"], AK_ATTRIBUTES)
    tpm.key("loose", "ecc256:null:null", "sensitivedataorigin|userwithauth|sign")
    fresh = nonce()
    attest, signature = tpm.certify("loose", "ak", fresh)
    octets = bundle(attest, signature, tpm.read("loose.pub")[2:], certs=[maker.ak_cert(tpm.read("ak.spki"))])
    assert failed(verify(tpm, octets, "loose", fresh, roots=maker.pem)) == ["tpm.attributes"]


def test_a_key_that_signs_anything_is_no_ak(tpm):
    """It may sign a TPMS_ATTEST that was written by hand."""
    tpm.key("ak", "ecc256:ecdsa-sha256:null", KEY_ATTRIBUTES)
    tpm.key("key")
    fresh = nonce()
    attest, signature = tpm.certify("key", "ak", fresh)
    bound = tool("name", tpm.write("ak.area", tpm.read("ak.pub")[2:])).split()[1]
    octets = bundle(attest, signature, tpm.read("key.pub")[2:], ak=tpm.read("ak.pub")[2:])
    assert failed(verify(tpm, octets, "key", fresh, bound=bound)) == ["tpm.ak.key"]


def test_a_quote_is_no_certification(tpm, maker):
    tpm.key("ak", AKS["ecc"], AK_ATTRIBUTES)
    tpm.key("key")
    fresh = nonce()
    tpm.run("tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0", "-q", fresh.hex(), "-m", "attest.out", "-s", "sig.out")
    octets = bundle(tpm.read("attest.out"), tpm.read("sig.out"), tpm.read("key.pub")[2:],
                    certs=[maker.ak_cert(tpm.read("ak.spki"))])
    assert failed(verify(tpm, octets, "key", fresh, roots=maker.pem)) == ["tpm.type"]
