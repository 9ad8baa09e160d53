"""Evidence, approvals and proofs hold for what they were given for, and for no longer: other labels, later keys, stricter policies."""
import socket
from contextlib import contextmanager

import pytest

import est
import evidence
import pki


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return evidence.Root(tmp_path_factory.mktemp("attest"), "yubico")


@pytest.fixture(scope="module")
def gw(module_gateway, root):
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "keys", "method": "yubikey", "roots": [root.pem], "identity_required": False},
                                     {"name": "acme", "method": "idevid"}]
    gateway.settings["rules"] = [
        {"name": "renewals", "action": "allow", "labels": ["strict"], "operations": ["renew"]},
        {"name": "factory", "action": "require", "labels": ["factory"], "attesters": ["acme"]},
        {"name": "strict", "action": "require", "labels": ["strict"], "operations": ["enroll"], "attesters": ["keys"]},
        {"name": "all", "action": "allow"}]
    for label in ("factory", "strict", "lax"):
        gateway.add_label(label)
    gateway.add_label("manual", approval="manual")
    return gateway.start()


@pytest.fixture
def device(gw, acme):
    return gw.own(acme.idevid())


def approve(gateway, device):
    gateway.ctl("request", "approve", gateway.ctl("request", "list", "--asset", device.tag, "--state", "pending")[-1]["id"])


def reason(gateway, device):
    return gateway.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def test_a_second_key_made_here_needs_the_factory_s_word_again(gw, device):
    csr = pki.csr(pki.ec_key())
    assert est.post(gw, "serverkeygen", csr, device, "factory").status == 200
    secret = gw.secret(device.tag, "--static")
    assert est.post(gw, "serverkeygen", csr, None, "factory", user=device.tag, secret=secret).status == 403
    assert reason(gw, device) == "attestation.present"
    assert est.post(gw, "serverkeygen", csr, device, "factory").status == 200


def test_a_second_key_made_here_needs_another_approval(gw, device):
    csr = pki.csr(pki.ec_key())
    for _ in range(2):
        assert est.post(gw, "serverkeygen", csr, device, "manual").status == 202
        approve(gw, device)
        assert est.post(gw, "serverkeygen", csr, device, "manual").status == 200
    assert est.post(gw, "serverkeygen", csr, device, "manual").status == 202


def test_a_certificate_of_a_laxer_label_is_no_way_around_the_evidence(gw, device, root, tmp_path):
    key = pki.ec_key()
    assert est.enroll(gw, pki.csr(key, ""), device, label="strict").status == 403
    lax = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device, label="lax").cert(), key, "-lax")
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), lax, label="strict").status == 403
    assert reason(gw, device) == "attestation.present"
    # With the evidence it is a first certificate of that label; and that is renewed without.
    token, key = evidence.Token(root), pki.ec_key()
    first = est.reenroll(gw, evidence.csr(key, token.yubikey(key), subject=""), lax, label="strict").cert()
    strict = device.with_cert(tmp_path, first, key, "-strict")
    est.reenroll(gw, pki.csr(pki.ec_key(), ""), strict, label="strict").cert()


@pytest.mark.parametrize("pattern", ["(none)", "(non?)", "*"])
def test_the_path_without_a_label_has_its_rules_too(new_gateway, acme, root, pattern):
    gateway = new_gateway()
    gateway.settings["attesters"] = [{"name": "keys", "method": "yubikey", "roots": [root.pem], "identity_required": False}]
    gateway.settings["rules"] = [{"name": "keys", "action": "require", "labels": [pattern], "attesters": ["keys"]},
                                 {"name": "all", "action": "allow"}]
    gateway.start()
    device = gateway.own(acme.idevid())
    token, key = evidence.Token(root), pki.ec_key()
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 403
    assert len(evidence.nonce(gateway)) >= 16
    est.enroll(gateway, evidence.csr(key, token.yubikey(key)), device).cert()


@contextmanager
def coming_from(address):
    usual = socket.create_connection
    socket.create_connection = lambda to, timeout=None, **more: usual(to, timeout, source_address=(address, 0))
    try:
        yield
    finally:
        socket.create_connection = usual


def test_who_has_a_revoked_key_cannot_put_the_device_into_quarantine(new_gateway, acme, tmp_path):
    gateway = new_gateway()
    gateway.settings["registry"] = {"clone_places": "quarantine"}
    gateway.start()
    device, key = gateway.own(acme.idevid()), pki.ec_key()
    old = device.with_cert(tmp_path, est.enroll(gateway, pki.csr(key, ""), device).cert(), key)
    gateway.ctl("cert", "revoke", gateway.certs(device.tag)[0]["serial"], "--reason", "keyCompromise")
    for _ in range(2):
        with coming_from("127.0.9.1"):
            assert est.reenroll(gateway, pki.csr(pki.ec_key(), ""), old).status == 403
        est.enroll(gateway, pki.csr(pki.ec_key(), ""), device).cert()
    assert gateway.ctl("asset", "show", device.tag)["state"] != "quarantined"
    assert gateway.audit("identity.clone", device.tag) == []


@pytest.fixture
def waiting(new_gateway, acme, tmp_path_factory):
    """A request that waits with evidence which the policy of that moment takes; and how to send it again."""
    gateway, roots = new_gateway(), evidence.Root(tmp_path_factory.mktemp("phones"), "google")
    gateway.settings["attesters"] = [{"name": "phones", "method": "android", "roots": [roots.pem], "identity_required": False,
                                      "android_level": "tee", "android_locked": False}]
    gateway.settings["rules"] = [{"name": "phones", "action": "require", "labels": ["manual"], "attesters": ["phones"]},
                                 {"name": "all", "action": "allow"}]
    gateway.add_label("manual", approval="manual")
    gateway.start()
    device, key, phone = gateway.own(acme.idevid()), pki.ec_key(), evidence.Token(roots)
    csr = evidence.csr(key, phone.android(key, evidence.nonce(gateway, "manual"), level=1, locked=False))
    assert est.enroll(gateway, csr, device, label="manual").status == 202
    approve(gateway, device)
    return gateway, device, lambda: est.enroll(gateway, csr, device, label="manual")


@pytest.mark.parametrize("change", [{"identity_required": True}, {"android_level": "strongbox"}, {"android_locked": True}, "roots"])
def test_a_stricter_policy_judges_what_waits_anew(waiting, tmp_path_factory, change):
    gateway, device, again = waiting
    if change == "roots":
        change = {"roots": [evidence.Root(tmp_path_factory.mktemp("others"), "others").pem]}
    gateway.settings["attesters"][0].update(change)
    gateway.reload()
    assert again().status == 403
    assert reason(gateway, device).startswith("attestation.")


def test_a_policy_that_takes_it_as_well_lets_what_waits_pass(waiting):
    gateway, _, again = waiting
    gateway.settings["rules"].insert(0, {"name": "another", "action": "deny", "labels": ["*"], "addresses": ["192.0.2.1"]})
    gateway.reload()
    again().cert()
