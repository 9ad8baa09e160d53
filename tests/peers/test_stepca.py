"""The step-ca connector against smallstep's step-ca."""
import base64
import ipaddress
import json
import os
import shutil
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
from gateway import free_port  # noqa: E402

TEMPLATE = """{"subject": {{ toJson .Token.subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"]}"""
NAMES = {"dns": "rtr-7.example.net", "ip": "192.0.2.7", "uri": "urn:dev:sn:1", "email": "ops@example.net"}


def request(peer):
    return peer.csr("rtr-7", [x509.DNSName(NAMES["dns"]), x509.IPAddress(ipaddress.ip_address(NAMES["ip"])),
                              x509.UniformResourceIdentifier(NAMES["uri"]), x509.RFC822Name(NAMES["email"])])


def jwk(key, kid):
    numbers = key.public_key().public_numbers()
    octets = [base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y)]
    return {"use": "sig", "kty": "EC", "kid": kid, "crv": "P-256", "alg": "ES256", "x": octets[0], "y": octets[1]}


def configuration(tree, port):
    provisioner = {"type": "JWK", "key": jwk(tree.provisioner_key, "gate-1"),
                   "claims": {"maxTLSCertDuration": "2400h", "defaultTLSCertDuration": "24h"}}
    return {"root": tree.root, "crt": tree.issuing, "key": tree.issuing_key_file, "address": "127.0.0.1:%d" % port,
            "dnsNames": ["127.0.0.1"], "db": {"type": "badgerv2", "dataSource": tree.path("db")},
            "authority": {"provisioners": [
                dict(provisioner, name="gate", options={"x509": {"template": TEMPLATE}}),
                dict(provisioner, name="plain")]}}


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    program = shutil.which("step-ca")
    if program is None:
        pytest.skip("step-ca is not installed: make test-peers does it")
    tree = driver.Hierarchy(tmp_path_factory.mktemp("stepca"))
    tree.provisioner_key = ec.generate_private_key(ec.SECP256R1())
    port = free_port()
    tree.path("ca.json", json.dumps(configuration(tree, port)).encode())
    env = dict(os.environ, STEPPATH=tree.dir, HOME=tree.dir)
    tree.start = lambda: driver.Service([program, tree.path("ca.json")], port, tree.path("stepca.log"), tree.dir, env)
    tree.service = tree.start()
    tree.settings = {"type": "stepca", "url": "https://127.0.0.1:%d" % port, "tls_ca": tree.root,
                     "certificate": tree.issuing, "chain": tree.root, "profile": "gate", "user": "gate-1",
                     "key_file": tree.path("provisioner.key", driver.key_pem(tree.provisioner_key))}
    yield tree
    tree.service.stop()


def issue(peer, name, **change):
    csr, key = request(peer)
    return csr, key, driver.drive(dict(peer.settings, **change), "issue", csr, name, cn="rtr-7", o="Zürcher Werke",
                                  sn="SN-1", **NAMES)


def test_it_issues_what_was_approved_and_that_passes_the_check(peer):
    _, key, done = issue(peer, "gw-1-0")
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.verify == "ok", done.text
    assert done.cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Zürcher Werke"
    assert sorted(str(san.value) for san in driver.sans(done.cert)) == sorted(NAMES.values())


def test_its_own_template_gives_the_common_name_alone_and_that_is_noticed(peer):
    _, key, done = issue(peer, "gw-2-0", profile="plain")
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.verify.startswith("denied: "), done.text


def test_a_request_with_other_names_is_refused(peer):
    csr, _ = peer.csr("rtr-8", [x509.DNSName("other.example.net")])
    done = driver.drive(peer.settings, "issue", csr, "gw-3-0", cn="rtr-7", dns="rtr-7.example.net")
    assert done.code == 1 and "error denied: " in done.text, done.text


def test_a_lifetime_it_does_not_allow_is_refused_in_its_words(peer):
    csr, _ = request(peer)
    done = driver.drive(peer.settings, "issue", csr, "gw-4-0", cn="rtr-7", lifetime=400 * 86400, **NAMES)
    assert done.code == 1 and "error denied: " in done.text and "duration" in done.text, done.text


def test_a_request_that_was_issued_cannot_be_issued_again_by_reconciling(peer):
    csr, _, done = issue(peer, "gw-5-0")
    assert done.state == "issued", done.text
    again = driver.drive(peer.settings, "reconcile", csr, "gw-5-0", "0", cn="rtr-7", **NAMES)
    assert again.code == 1 and "error upstream: " in again.text and "token was used" in again.text, again.text


def test_not_even_after_it_was_started_anew(peer):
    csr, _, done = issue(peer, "gw-6-0")
    assert done.state == "issued", done.text
    peer.service.stop()
    peer.service = peer.start()
    for n in range(1, 40):  # tokens of the second in which it began are too old for it
        _, _, done = issue(peer, "gw-6-%d" % n)
        if done.state == "issued":
            break
        time.sleep(0.1)
    assert done.state == "issued", done.text
    again = driver.drive(peer.settings, "reconcile", csr, "gw-6-0", "", cn="rtr-7", **NAMES)
    assert again.code == 1 and "token was used" in again.text, again.text


def test_a_request_that_never_arrived_is_issued_by_reconciling(peer):
    csr, key = request(peer)
    done = driver.drive(peer.settings, "reconcile", csr, "gw-7-0", "", cn="rtr-7", o="Zürcher Werke", **NAMES)
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.verify == "ok", done.text


def test_a_key_that_is_not_the_provisioners_is_an_operators_matter(peer):
    other = peer.path("other.key", driver.key_pem(ec.generate_private_key(ec.SECP256R1())))
    _, _, done = issue(peer, "gw-8-0", key_file=other)
    assert done.code == 1 and "error upstream: " in done.text and "credentials" in done.text, done.text


def test_it_revokes_and_a_second_time_is_no_error(peer):
    _, _, done = issue(peer, "gw-9-0")
    for _ in range(2):
        again = driver.drive(peer.settings, "revoke", done.serial, 4)
        assert again.code == 0, again.text


def test_it_is_well(peer):
    done = driver.drive(peer.settings, "check")
    assert done.code == 0, done.text
