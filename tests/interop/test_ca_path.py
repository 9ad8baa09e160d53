"""What the certificates above a leaf allow it: the gateway says what OpenSSL's own verifier says, which every relying party may be."""
import datetime
import ipaddress
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from fault_cells import csr_of  # noqa: E402
from vault_server import VaultServer  # noqa: E402

NAME = "rtr-7.example.net"
SETTLE_S = 60
QUARANTINED = 6  # of intents
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def permitted(*names):
    return x509.NameConstraints(list(names), None), True


def excluded(*names):
    return x509.NameConstraints(None, list(names)), True


def usages(*ids):
    return x509.ExtendedKeyUsage(list(ids)), False


def ca_cert(tree, name, key, issuer, length, days, *extensions):
    start = driver.now() + datetime.timedelta(days=min(days, 0) - 1)
    build = (x509.CertificateBuilder().subject_name(driver.name(name)).issuer_name(driver.name(issuer)).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(start)
             .not_valid_after(driver.now() + datetime.timedelta(days=days))
             .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
             .add_extension(x509.BasicConstraints(True, length), True)
             .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True))
    for value, critical in extensions:
        build = build.add_extension(value, critical)
    return build.sign(tree.root_key, hashes.SHA256())


class Vault(VaultServer):
    """With a chain of its own below the hierarchy's root key; TLS stays as it is."""

    def __init__(self, folder, issuing=(), root=(), length=None, issuing_days=300, root_days=365):
        tree = driver.Hierarchy(folder)
        self.tls_ca = tree.path("tls.pem", tree.root_cert.public_bytes(driver.PEM))
        tree.root_cert = ca_cert(tree, "Peer Root", tree.root_key, "Peer Root", length, root_days, *root)
        tree.issuing_cert = ca_cert(tree, "Peer Issuing", tree.issuing_key, "Peer Root", 0, issuing_days, *issuing)
        tree.path("root.pem", tree.root_cert.public_bytes(driver.PEM))
        tree.path("issuing.pem", tree.issuing_cert.public_bytes(driver.PEM))
        super().__init__(tree)

    @property
    def settings(self):
        return {"type": "vault", "url": "https://127.0.0.1:%d" % self.port, "tls_ca": self.tls_ca, "certificate": self.tree.issuing,
                "chain": self.tree.root, "profile": "device", "auth": "token",
                "secret_file": self.tree.path("token", self.token.encode() + b"\n")}

    def judged(self, cert):
        """By `openssl verify`."""
        leaf = self.tree.path("leaf.pem", cert.public_bytes(driver.PEM))
        done = subprocess.run(["openssl", "verify", "-purpose", "sslclient", "-CAfile", self.tree.root, "-untrusted", self.tree.issuing,
                               leaf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode == 0, done.stdout


@pytest.fixture
def make(tmp_path_factory):
    made = []

    def one(**kw):
        made.append(Vault(tmp_path_factory.mktemp("vault"), **kw))
        return made[-1]

    yield one
    for server in made:
        server.stop()


DNS, IP = x509.DNSName, x509.IPAddress
CASES = {
    "nothing": (True, {}),
    "permitted": (True, {"issuing": [permitted(DNS("example.net"))]}),
    "another name permitted": (False, {"issuing": [permitted(DNS("other.example"))]}),
    "excluded": (False, {"issuing": [excluded(DNS("example.net"))]}),
    "another name excluded": (True, {"issuing": [excluded(DNS("other.example"))]}),
    "by the root": (False, {"root": [permitted(DNS("other.example"))]}),
    "addresses": (True, {"root": [permitted(IP(ipaddress.ip_network("192.0.2.0/24")))]}),
    "organization": (False, {"issuing": [permitted(x509.DirectoryName(driver.name("x")))]}),
    "client": (True, {"issuing": [usages(SERVER, CLIENT)]}),
    "server only": (False, {"issuing": [usages(SERVER)]}),
    "server only above": (False, {"issuing": [usages(SERVER, CLIENT)], "root": [usages(SERVER)]}),
    "any usage": (True, {"issuing": [usages(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, CLIENT)]}),
    "ended above": (False, {"root_days": -1}),
}


@pytest.mark.parametrize("case", list(CASES), ids=[name.replace(" ", "-") for name in CASES])
def test_the_chain_is_judged_as_openssl_judges_it(make, case):
    good, how = CASES[case]
    vault = make(**how)
    csr, key = vault.tree.csr("rtr-7", [DNS(NAME)])
    done = driver.drive(vault.settings, "issue", csr, "gw-1-0", cn="rtr-7", o="Operations", dns=NAME, lifetime="3600")
    driver.check_issued(done, vault.tree.issuing_cert, key)
    accepted, words = vault.judged(done.cert)
    assert accepted == good, words
    assert (done.verify == "ok") == accepted, "%s\n%s" % (done.text, words)


def test_a_root_that_allows_no_ca_below_it_is_not_opened(make):
    vault = make(length=0)
    csr, _ = vault.tree.csr("rtr-7", [DNS(NAME)])
    done = driver.drive(vault.settings, "issue", csr, "gw-1-0", cn="rtr-7", o="Operations", dns=NAME)
    assert done.code == 1 and "the path length (0) of certificate" in done.text, done.text
    leaf = vault.certify(pki.ec_key().public_key(), driver.name("rtr-7"), [DNS(NAME)])
    accepted, words = vault.judged(leaf)
    assert not accepted and "path length" in words, words


def gateway_for(new_gateway, vault):
    gw = new_gateway()
    settings = dict(vault.settings, name="corporate", wait="1s")
    gw.settings["cas"].append(settings)
    gw.add_profile("plain", san=["dns:{hostname}"], lifetime="1h")
    gw.add_label("corporate", ca="corporate", profile="plain", retry_after="1s", operations=["enroll", "renew"])
    return gw.start()


def rows(gw, sql):
    with sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True, timeout=30) as db:
        return db.execute(sql).fetchall()


def await_rows(gw, sql, wanted):
    ends = time.monotonic() + SETTLE_S
    while rows(gw, sql) != wanted:
        assert time.monotonic() < ends, (rows(gw, sql), gw.log[-3000:])
        time.sleep(0.1)


def test_what_the_chain_does_not_allow_never_reaches_a_device(make, new_gateway, acme):
    vault = make(issuing=[permitted(DNS("other.example"))])
    gw = gateway_for(new_gateway, vault)
    device, key = gw.own(acme.idevid()), pki.ec_key()
    csr = csr_of(device, key)
    answer = est.enroll(gw, csr, device, label="corporate")
    await_rows(gw, "SELECT state FROM intent", [(QUARANTINED,)])
    assert answer.status != 200 and est.enroll(gw, csr, device, label="corporate").status == 403
    ((reason, sentence),) = rows(gw, "SELECT reason, sentence FROM request")
    assert reason == "ca.verification" and "permitted subtree violation" in sentence
    (made,) = vault.issued
    assert vault.judged(made.cert)[0] is False
    await_rows(gw, "SELECT count(*) FROM audit WHERE action = 'ca.revoked'", [(1,)])
    assert made.revoked is not None


def test_a_ca_whose_certificate_has_ended_is_sent_nothing(make, new_gateway, acme):
    vault = make(issuing_days=-1)
    gw = gateway_for(new_gateway, vault)
    device, key = gw.own(acme.idevid()), pki.ec_key()
    csr = csr_of(device, key)
    assert est.enroll(gw, csr, device, label="corporate").status == 202
    await_rows(gw, "SELECT state, error LIKE '%nothing is sent%ended at%' FROM intent", [(0, 1)])
    ready = gw.admin_get("/readyz")[1]
    ready = ready if isinstance(ready, str) else ready.decode()
    assert "ca corporate: the chain of its certificates ended at " in ready
    assert est.enroll(gw, csr, device, label="corporate").status == 202
    assert vault.issued == []
