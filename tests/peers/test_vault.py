"""The vault connector against OpenBao or HashiCorp Vault (vault_peer.py)."""
import os
import sys

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import vault_peer  # noqa: E402

NAMES = {"dns": "rtr-7.example.net", "ip": "192.0.2.7", "uri": "urn:dev:sn:1", "email": "ops@example.net"}


def begin(tmp_path_factory, *flags):
    if vault_peer.PROGRAM is None:
        pytest.skip(vault_peer.MISSING)
    return vault_peer.VaultPeer(driver.Hierarchy(tmp_path_factory.mktemp("vault")), *flags)


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    vault = begin(tmp_path_factory)
    yield vault
    vault.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One node of several, the others of which are not there."""
    vault = begin(tmp_path_factory, "-dev-ha")
    yield vault
    vault.stop()


def issue(peer, spec=None, **change):
    csr, key = peer.tree.csr("somebody else", [x509.DNSName("other.example.net")])
    return key, driver.drive(dict(peer.settings, **change), "issue", csr, "gw-1-0",
                             **dict({"cn": "rtr-7", "o": "Example Works", "sn": "SN-1"}, **(NAMES if spec is None else spec)))


def issued(peer, spec=None, **change):
    key, done = issue(peer, spec, **change)
    driver.check_issued(done, peer.tree.issuing_cert, key)
    assert done.verify == "ok", done.text
    return done


def refused(peer, code, words, spec=None, **change):
    _, done = issue(peer, spec, **change)
    assert done.code == 1 and "error %s: " % code in done.text and words in done.text, done.text
    return done


def test_it_issues_what_was_approved_and_that_passes_the_check(peer):
    done = issued(peer)
    assert sorted(str(san.value) for san in driver.sans(done.cert)) == sorted(NAMES.values())
    assert peer.record(done.cert.serial_number)[0].strip() == done.cert.public_bytes(driver.PEM).decode().strip()


def test_several_names_of_a_kind_are_all_there_and_none_is_no_name(peer):
    names = {"dns": ["a.example.net", "b.example.net"], "ip": ["192.0.2.7", "2001:db8::7"], "uri": ["urn:a", "urn:b"]}
    assert len(driver.sans(issued(peer, names).cert)) == 6
    assert driver.sans(issued(peer, {}).cert) == []


def test_a_uri_with_a_comma_is_one_name(peer):
    done = issued(peer, {"uri": ["urn:dev:ops:32473-a,b", "urn:dev:c"]})
    assert [san.value for san in driver.sans(done.cert)] == ["urn:dev:ops:32473-a,b", "urn:dev:c"]


def test_a_token_of_its_own_does_as_well(peer):
    issued(peer, **peer.as_root())


def test_a_certificate_logs_in_as_well(peer):
    tree = peer.tree
    peer.api("POST", "sys/auth/cert", {"type": "cert"})
    with open(tree.root) as root:
        peer.api("POST", "auth/cert/certs/gate", {"certificate": root.read(), "token_policies": "gate"})
    settings = {name: value for name, value in peer.settings.items() if name != "secret_file"}
    settings.update(auth="cert", user="gate", client_cert=tree.server, client_key=tree.server_key_file)
    csr, key = tree.csr("somebody else")
    done = driver.drive(settings, "issue", csr, "gw-2-0", cn="rtr-7")
    driver.check_issued(done, tree.issuing_cert, key)
    done = driver.drive(dict(settings, user="nobody"), "issue", csr, "gw-2-1", cn="rtr-7")
    assert done.code == 1 and "check client_cert and the role in user" in done.text, done.text


def test_a_wrong_secret_is_an_operators_matter(peer):
    done = refused(peer, "upstream", "check user and secret_file",
                   secret_file=peer.tree.path("wrong", b"no-such-secret\n"))
    assert "no-such-secret" not in done.text
    refused(peer, "upstream", "check user and secret_file", user="nobody")


def test_what_its_policy_does_not_allow_is_an_operators_matter(peer):
    refused(peer, "upstream", "its policy lacks", profile="other")


def test_a_role_or_a_mount_that_is_not_there_is_an_operators_matter(peer):
    refused(peer, "upstream", "unknown role: other", profile="other", **peer.as_root())
    refused(peer, "upstream", "is a PKI engine mounted", authority="nowhere", **peer.as_root())


def test_a_mount_without_an_issuer_has_issued_nothing(peer):
    peer.api("POST", "sys/mounts/empty", {"type": "pki"})
    peer.api("POST", "empty/roles/device", vault_peer.ROLE)
    refused(peer, "upstream", "could not fetch the CA certificate", authority="empty", **peer.as_root())


def test_what_its_role_does_not_allow_is_refused_in_its_words(peer):
    peer.add_role("strict", allow_any_name=False, allowed_domains="example.org", allow_subdomains=True)
    refused(peer, "denied", "not allowed by this role", profile="strict", **peer.as_root())
    peer.add_role("rsa", key_type="rsa", key_bits=2048)
    refused(peer, "denied", "role requires keys of type rsa", profile="rsa", **peer.as_root())


def test_a_lifetime_past_the_end_of_the_ca_is_refused_in_its_words(peer):
    refused(peer, "denied", "beyond the expiration of the CA", {"lifetime": 400 * 86400})


def test_a_role_bounds_no_lifetime(peer):
    """Its max_ttl (90 days) is for requests with a ttl: README.md of gateway/ca says so."""
    issued(peer, {"lifetime": 100 * 86400})


def test_it_revokes_and_a_second_time_is_no_error(peer):
    done = issued(peer)
    for _ in range(2):
        again = driver.drive(peer.settings, "revoke", done.serial, 4)
        assert again.code == 0, again.text
    assert peer.record(done.cert.serial_number)[1]
    crl = x509.load_pem_x509_crl(peer.api("GET", "pki/cert/crl")["data"]["certificate"].encode())
    assert crl.get_revoked_certificate_by_serial_number(done.cert.serial_number) is not None


def test_what_it_did_not_store_is_revoked_by_the_certificate(peer):
    peer.add_role("unstored", no_store=True, organization="Example Works")
    done = issued(peer, profile="unstored", **peer.as_root())
    pem = peer.tree.path("unstored.pem", done.cert.public_bytes(driver.PEM))
    without = driver.drive(peer.settings, "revoke", done.serial, 4)
    assert without.code == 1 and "not found" in without.text, without.text
    again = driver.drive(peer.settings, "revoke", done.serial, 4, pem)
    assert again.code == 0, again.text
    assert peer.record(done.cert.serial_number)[1]


def test_a_certificate_of_another_ca_is_not_revoked(peer):
    done = driver.drive(peer.settings, "revoke", driver.serial_hex(peer.tree.root_cert.serial_number), 4, peer.tree.root)
    assert done.code == 1 and "error denied: " in done.text, done.text


def test_a_quota_means_later(peer):
    peer.api("POST", "sys/quotas/rate-limit/device", {"rate": 1, "interval": "60s", "path": "pki/"})
    try:
        issued(peer)
        refused(peer, "upstream", "HTTP 429")
    finally:
        peer.api("DELETE", "sys/quotas/rate-limit/device")


def test_it_is_well(peer):
    done = driver.drive(peer.settings, "check")
    assert done.code == 0, done.text


def test_a_wrong_secret_is_seen_before_anybody_asks(peer):
    done = driver.drive(dict(peer.settings, user="nobody"), "check")
    assert done.code == 1 and "check user and secret_file" in done.text, done.text


def test_a_certificate_that_is_not_pinned_gets_no_secret(peer):
    refused(peer, "upstream", "not trusted", tls_ca=peer.tree.root)


def test_sealed_it_is_not_well_and_issues_nothing(peer):
    peer.seal()
    try:
        done = driver.drive(peer.settings, "check")
        assert done.code == 1 and "it is sealed" in done.text, done.text
        refused(peer, "upstream", "Vault is sealed", **peer.as_root())
        refused(peer, "upstream", "nobody is let in now")
    finally:
        peer.unseal()
    issued(peer)


def test_a_standby_node_without_an_active_one_has_issued_nothing(node):
    issued(node)
    node.api("PUT", "sys/step-down")
    node.await_health(429)
    refused(node, "upstream", "active cluster node not found", **node.as_root())
    refused(node, "upstream", "nobody is let in now")
    node.await_health(200)  # it waits ten seconds for others
    issued(node)
