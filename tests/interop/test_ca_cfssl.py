"""The cfssl connector against Debian's cfssl."""
import json
import os
import shutil
import sqlite3
import sys

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
from gateway import free_port  # noqa: E402

KEY = os.urandom(16).hex()
TABLES = """
CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob,
  status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL,
  expiry timestamp, PRIMARY KEY (serial_number, authority_key_identifier));
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    program = shutil.which("cfssl")
    if program is None:
        pytest.fail("cfssl is not installed: apt-get install golang-cfssl", pytrace=False)
    tree = driver.Hierarchy(tmp_path_factory.mktemp("cfssl"))
    profile = {"usages": ["digital signature", "client auth"], "expiry": "20h", "auth_key": "gate"}
    tree.path("config.json", json.dumps({
        "signing": {"default": profile, "profiles": {"device": profile}},
        "auth_keys": {"gate": {"type": "standard", "key": KEY}}}).encode())
    tree.db = tree.path("certs.db")
    with sqlite3.connect(tree.db) as db:
        db.executescript(TABLES)
    tree.path("db.json", json.dumps({"driver": "sqlite3", "data_source": tree.db}).encode())
    port = free_port()
    service = driver.Service([program, "serve", "-address", "127.0.0.1", "-port", str(port), "-ca", tree.issuing,
                              "-ca-key", tree.issuing_key_file, "-config", tree.path("config.json"), "-db-config",
                              tree.path("db.json"), "-tls-cert", tree.server, "-tls-key", tree.server_key_file],
                             port, tree.path("cfssl.log"), tree.dir)
    tree.settings = {"type": "cfssl", "url": "https://127.0.0.1:%d" % port, "tls_ca": tree.root,
                     "certificate": tree.issuing, "chain": tree.root, "profile": "device",
                     "secret_file": tree.path("secret", KEY.encode() + b"\n")}
    yield tree
    service.stop()


def test_it_issues_what_was_approved_and_not_what_the_request_names(peer):
    csr, key = peer.csr("somebody else", [x509.DNSName("other.example.net")])
    done = driver.drive(peer.settings, "issue", csr, "gw-1-0", o="Zürcher Werke", cn="rtr-7", sn="SN-1",
                        dns="rtr-7.example.net", ip="192.0.2.7", email="ops@example.net")
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "rtr-7"
    assert done.cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Zürcher Werke"
    assert x509.DNSName("other.example.net") not in driver.sans(done.cert)
    assert sorted(str(san.value) for san in driver.sans(done.cert)) == ["192.0.2.7", "ops@example.net",
                                                                        "rtr-7.example.net"]


def test_what_it_issues_passes_the_check(peer):
    csr, key = peer.csr()
    done = driver.drive(peer.settings, "issue", csr, "gw-2-0", o="Example Works", cn="rtr-7", sn="SN-1",
                        dns="rtr-7.example.net", ip="192.0.2.7", email="ops@example.net")
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.verify == "ok", done.text


def test_it_cannot_write_a_uri_and_that_is_noticed(peer):
    csr, key = peer.csr()
    done = driver.drive(peer.settings, "issue", csr, "gw-3-0", cn="rtr-7", uri="urn:dev:sn:1")
    driver.check_issued(done, peer.issuing_cert, key)
    assert not [san for san in driver.sans(done.cert) if isinstance(san, x509.UniformResourceIdentifier)]
    assert done.verify.startswith("denied: "), done.text


def test_a_lifetime_beyond_what_was_approved_is_noticed(peer):
    csr, _ = peer.csr()
    done = driver.drive(peer.settings, "issue", csr, "gw-4-0", cn="rtr-7", dns="rtr-7.example.net", lifetime=3600)
    assert done.state == "issued" and done.verify.startswith("denied: "), done.text


def test_another_hmac_key_is_an_operators_matter(peer):
    csr, _ = peer.csr()
    wrong = dict(peer.settings, secret_file=peer.path("wrong", b"ff" * 16 + b"\n"))
    done = driver.drive(wrong, "issue", csr, "gw-5-0", cn="rtr-7")
    assert done.code == 1 and "error upstream: " in done.text and "secret_file" in done.text, done.text


def test_it_revokes_and_a_second_time_is_no_error(peer):
    csr, key = peer.csr()
    done = driver.drive(peer.settings, "issue", csr, "gw-6-0", cn="rtr-7")
    driver.check_issued(done, peer.issuing_cert, key)
    for _ in range(2):
        again = driver.drive(peer.settings, "revoke", done.serial, 4)
        assert again.code == 0, again.text
    with sqlite3.connect(peer.db) as db:
        rows = db.execute("SELECT status, reason FROM certificates WHERE serial_number = ?",
                          (str(done.cert.serial_number),)).fetchall()
    assert [(str(status), reason) for status, reason in rows] == [("revoked", 4)]


def test_it_is_well_and_issues_with_the_configured_certificate(peer):
    assert driver.drive(peer.settings, "check").code == 0
    other = dict(peer.settings, certificate=peer.root)
    del other["chain"]
    done = driver.drive(other, "check")
    assert done.code == 1 and "Peer Issuing" in done.text, done.text
