"""The connectors by CMP, SCEP and EST, and keys in a token, against peers that nobody here wrote (and a second enrolld)."""
import datetime
import os
import re
import shutil
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from gateway import free_port  # noqa: E402

CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
SECRET = os.urandom(16).hex()
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
DAY = datetime.timedelta(days=1)


def need(program, package):
    path = shutil.which(program)
    if path is None:
        pytest.fail("%s is not installed: apt-get install %s" % (program, package), pytrace=False)
    return path


def leaf(tree, key, cn="rtr-7", usage=ExtendedKeyUsageOID.CLIENT_AUTH):
    """What a CA would issue for the driver's request, by the tree's issuing CA."""
    ski = x509.SubjectKeyIdentifier.from_public_key
    return (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
            .issuer_name(tree.issuing_cert.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(driver.now() - datetime.timedelta(seconds=60)).not_valid_after(driver.now() + DAY / 2)
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .add_extension(ski(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(tree.issuing_key.public_key()), False)
            .sign(tree.issuing_key, hashes.SHA256()))


class CmpServer:
    """`openssl cmp -port`: it answers every request with one certificate, which the test makes beforehand."""

    def __init__(self, tree):
        self.tree = tree
        self.program = need("openssl", "openssl")
        self.service = None

    def start(self, *options, key=None, secret=SECRET):
        self.stop()
        self.csr, self.key = self.tree.csr("rtr-7")
        self.cert = leaf(self.tree, key or self.key)
        port = free_port()
        rsp = self.tree.path("rsp.pem", self.cert.public_bytes(driver.PEM))
        self.service = driver.Service([self.program, "cmp", "-port", str(port), "-srv_ref", "ca", "-srv_secret",
                                       "pass:" + secret, "-rsp_cert", rsp] + list(options), port,
                                      self.tree.path("cmp.log"), self.tree.dir)
        self.settings = {"type": "cmp", "url": "http://127.0.0.1:%d/" % port, "allow_plain": "yes",
                         "tls_ca": self.tree.root, "certificate": self.tree.issuing, "chain": self.tree.root,
                         "auth": "secret", "user": "gateway",
                         "secret_file": self.tree.path("secret", SECRET.encode() + b"\n")}
        return self

    def run(self, *command, **more):
        return driver.drive(dict(self.settings, **more), *command, cn="rtr-7")

    def stop(self):
        if self.service is not None:
            self.service.stop()
            self.service = None


@pytest.fixture
def cmp(tmp_path):
    server = CmpServer(driver.Hierarchy(tmp_path))
    yield server
    server.stop()


def test_cmp_issues_confirms_and_revokes(cmp):
    cmp.start()
    done = cmp.run("issue", cmp.csr, "gw-1-0")
    driver.check_issued(done, cmp.tree.issuing_cert, cmp.key)
    assert done.verify == "ok" and done.cert == cmp.cert
    assert cmp.run("revoke", done.serial, "1").text == "revoked\n"
    # The mock server knows its one certificate only.
    other = cmp.run("revoke", "0a0b0c", "1")
    assert other.code == 1 and other.text.startswith("error "), other.text


def test_cmp_by_signature(cmp):
    tree = cmp.tree
    ra_key = ec.generate_private_key(ec.SECP256R1())
    ra = tree.path("ra.pem", leaf(tree, ra_key, "CMP RA", CMC_RA).public_bytes(driver.PEM))
    key = tree.path("ra.key", driver.key_pem(ra_key))
    signed = ["-srv_cert", ra, "-srv_key", key, "-srv_trusted", tree.root, "-srv_untrusted", tree.issuing]
    mine = {"auth": "signature", "client_cert": ra, "client_key": key}
    cmp.start(*signed)
    for setting in ("user", "secret_file"):
        del cmp.settings[setting]
    driver.check_issued(cmp.run("issue", cmp.csr, "gw-2-0", **mine), tree.issuing_cert, cmp.key)
    # A device's certificate signs as well as any, and is not believed.
    device = tree.path("device.pem", leaf(tree, ra_key, "device").public_bytes(driver.PEM))
    cmp.start(*(["-srv_cert", device] + signed[2:]))
    for setting in ("user", "secret_file"):
        del cmp.settings[setting]
    done = cmp.run("issue", cmp.csr, "gw-2-1", **mine)
    assert done.state == "unknown" and "answer" in done.text, done.text


def test_cmp_polls_in_a_process_that_never_asked(cmp):
    """No more than one poll: the mock server ends a transaction whose kept connection ends, as a process's does here."""
    cmp.start("-poll_count", "2", "-check_after", "7")
    done = cmp.run("issue", cmp.csr, "gw-3-0")
    assert done.state == "waiting", done.text
    done = cmp.run("poll", cmp.csr, "gw-3-0", done.reference)
    driver.check_issued(done, cmp.tree.issuing_cert, cmp.key)
    assert done.verify == "ok"


@pytest.mark.parametrize("options,code,words", [
    (["-pkistatus", "2", "-failure", "19", "-statusstring", "no such name"], "denied", "no such name"),
    (["-pkistatus", "2", "-failure", "25"], "upstream", "cannot work now"),
    (["-pkistatus", "2", "-failure", "23"], "upstream", "credentials"),
    (["-pkistatus", "2", "-failure", "21"], None, "transaction"),
])
def test_cmp_refusals(cmp, options, code, words):
    cmp.start(*options)
    done = cmp.run("issue", cmp.csr, "gw-5-0")
    if code is None:
        assert done.state == "unknown" and words in done.text, done.text
    else:
        assert done.text.startswith("error %s:" % code) and words in done.text, done.text


def test_cmp_with_the_wrong_secret_or_a_certificate_of_another_key(cmp):
    cmp.start(secret="another")
    done = cmp.run("issue", cmp.csr, "gw-6-0")
    assert done.text.startswith("error upstream:") and "check our secret" in done.text, done.text
    cmp.start(key=ec.generate_private_key(ec.SECP256R1()))
    done = cmp.run("issue", cmp.csr, "gw-6-1")
    assert done.state == "unknown" and "another key, serial number " + driver.serial_hex(cmp.cert.serial_number) in done.text, done.text


# ---- SCEP: micromdm's scepserver

@pytest.fixture(scope="module")
def scepserver(tmp_path_factory):
    program = need("scepserver", "scep")
    folder = str(tmp_path_factory.mktemp("scepserver"))
    subprocess.run([program, "ca", "-init", "-depot", "depot", "-keySize", "2048"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = free_port()
    ca = os.path.join(folder, "depot", "ca.pem")
    service = driver.Service([program, "-depot", "depot", "-port", str(port), "-debug"], port,
                             os.path.join(folder, "log"), folder)
    service.folder, service.ca = folder, ca
    service.settings = {"type": "scep", "url": "http://127.0.0.1:%d/scep" % port, "allow_plain": "yes", "tls_ca": ca,
                        "certificate": ca}
    yield service
    service.stop()


def rsa_csr(folder, cn):
    """scepserver signs by the algorithm of the request's own signature: its key is RSA."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return driver.write(os.path.join(folder, cn + ".csr"), request.public_bytes(driver.PEM)), key


def test_scepserver_issues_with_old_algorithms_allowed(scepserver):
    csr, key = rsa_csr(scepserver.folder, "rtr-7")
    legacy = dict(scepserver.settings, auth="legacy")
    done = driver.drive(legacy, "issue", csr, "gw-7-0", cn="rtr-7", lifetime=400 * 86400)
    # Its serial numbers count from 2, which is less than the gateway releases.
    assert done.state == "issued" and done.verify.startswith("denied:") and "serial number" in done.verify, done.text
    with open(scepserver.ca, "rb") as pem:
        issuer = x509.load_pem_x509_certificate(pem.read())
    issuer.public_key().verify(done.cert.signature, done.cert.tbs_certificate_bytes, padding.PKCS1v15(),
                               done.cert.signature_hash_algorithm)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert done.cert.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
    again = driver.drive(legacy, "issue", csr, "gw-7-1", cn="rtr-7")
    assert again.text.startswith("error denied:") and "badRequest" in again.text, again.text


def test_scepserver_answers_in_sha1_and_is_not_believed_otherwise(scepserver):
    csr, _ = rsa_csr(scepserver.folder, "rtr-8")
    done = driver.drive(scepserver.settings, "issue", csr, "gw-8-0", cn="rtr-8")
    assert done.state == "unknown" and "sha1" in done.text, done.text
    # It does not implement CertPoll: what became of the request cannot be told.
    again = driver.drive(scepserver.settings, "reconcile", csr, "gw-8-0", done.reference, cn="rtr-8")
    assert again.text.startswith("error upstream:"), again.text


# ---- EST: a second enrolld

@pytest.fixture(scope="module")
def upstream(module_gateway):
    gateway = module_gateway()
    gateway.add_profile("registrar", eku=["clientAuth", "cmcRA"], classes=["registrar"])
    gateway.add_label("registrars", profile="registrar", auth=["certificate"])
    gateway.add_label("site", auth=["own", "registrar"])
    gateway.add_label("guarded", auth=["own", "registrar"], approval="manual")
    return gateway.start()


@pytest.fixture
def registrar(upstream, acme, tmp_path):
    key, made = pki.ec_key(), acme.idevid()
    upstream.own(made, **{"class": "registrar"})
    cert = est.enroll(upstream, pki.csr(key, ""), made, label="registrars").cert()
    return made.with_cert(tmp_path, cert, key)


@pytest.fixture
def other(upstream, acme):
    made = acme.idevid()
    upstream.own(made)
    return made


def est_settings(upstream, registrar, label):
    return {"type": "est", "url": "https://127.0.0.1:%d" % upstream.port, "tls_ca": upstream.root, "profile": label,
            "certificate": upstream.issuing, "chain": upstream.root, "client_cert": registrar.pem,
            "client_key": registrar.key_file}


def device_csr(folder, tag):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, tag)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return driver.write(os.path.join(str(folder), tag + ".csr"), request.public_bytes(driver.PEM)), key


def issuing_cert(upstream):
    with open(upstream.issuing, "rb") as pem:
        return x509.load_pem_x509_certificate(pem.read())


def test_est_upstream_issues_once_for_the_same_request(upstream, registrar, other, tmp_path):
    settings = est_settings(upstream, registrar, "site")
    csr, key = device_csr(tmp_path, other.tag)
    assert driver.drive(settings, "check").text == "well\n"
    done = driver.drive(settings, "issue", csr, "gw-9-0", cn=other.tag)
    driver.check_issued(done, issuing_cert(upstream), key)
    assert done.cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == other.tag
    reference = "csr-" + csr_hash(csr)
    again = driver.drive(settings, "reconcile", csr, "gw-9-0", reference, cn=other.tag)
    assert again.state == "issued" and again.cert == done.cert
    assert len(upstream.certs(other.tag)) == 1


def csr_hash(path):
    with open(path, "rb") as pem:
        request = x509.load_pem_x509_csr(pem.read())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(request.public_bytes(serialization.Encoding.DER))
    return digest.finalize().hex()


def test_est_upstream_makes_wait_until_it_is_approved(upstream, registrar, other, tmp_path):
    settings = est_settings(upstream, registrar, "guarded")
    csr, key = device_csr(tmp_path, other.tag)
    done = driver.drive(settings, "issue", csr, "gw-10-0", cn=other.tag)
    assert done.state == "waiting" and done.reference == "csr-" + csr_hash(csr), done.text
    waiting = [row for row in upstream.ctl("request", "list") if row["asset"] == other.tag]
    upstream.ctl("request", "approve", str(waiting[0]["id"]))
    done = driver.drive(settings, "poll", csr, "gw-10-0", done.reference, cn=other.tag)
    driver.check_issued(done, issuing_cert(upstream), key)


def test_est_upstream_refuses_whom_it_does_not_know(upstream, registrar, tmp_path):
    csr, _ = device_csr(tmp_path, "nobody")
    done = driver.drive(est_settings(upstream, registrar, "site"), "issue", csr, "gw-11-0", cn="nobody")
    assert re.match("error (denied|upstream): ca peer: HTTP 40[13]", done.text), done.text


# ---- PKCS#11: SoftHSM

@pytest.fixture(scope="module")
def token(tmp_path_factory):
    tree = driver.Hierarchy(tmp_path_factory.mktemp("token"))
    program = need("softhsm2-util", "softhsm2")
    tree.conf = tree.path("softhsm2.conf", ("directories.tokendir = %s\nlog.level = ERROR\n" % tree.dir).encode())
    tree.pin = tree.path("pin", b"483920\n")
    pkcs8 = tree.path("issuing.p8", driver.key_pem(tree.issuing_key))
    env = dict(os.environ, SOFTHSM2_CONF=tree.conf)
    for words in (["--init-token", "--free", "--label", "plant", "--so-pin", "999999", "--pin", "483920"],
                  ["--import", pkcs8, "--token", "plant", "--label", "issuing", "--id", "0a01", "--pin", "483920"]):
        subprocess.run([program] + words, env=env, check=True, stdout=subprocess.DEVNULL)
    os.unlink(pkcs8)
    return tree


def test_the_built_in_ca_issues_by_a_key_in_a_token(token, monkeypatch):
    monkeypatch.setitem(driver.run.__globals__["ENV"], "SOFTHSM2_CONF", token.conf)
    csr, key = token.csr("rtr-7")
    settings = {"type": "builtin", "certificate": token.issuing, "chain": token.root,
                "key": "pkcs11:token=plant;object=issuing?module-path=%s&pin-source=file:%s" % (SOFTHSM, token.pin)}
    done = driver.drive(settings, "issue", csr, "gw-12-0", cn="rtr-7", dns="rtr-7.example.net")
    driver.check_issued(done, token.issuing_cert, key)
    assert driver.drive(settings, "check").text == "well\n"
    settings["key"] = settings["key"].replace("object=issuing", "object=none")
    assert "no such private key" in driver.drive(settings, "check").text
