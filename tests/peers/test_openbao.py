"""The vault connector against OpenBao (bao) or HashiCorp Vault (vault), whichever is in PATH, in its development mode."""
import json
import os
import shutil
import sys
import urllib.request

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
from gateway import free_port  # noqa: E402

ROOT_TOKEN = "root-" + os.urandom(8).hex()
NAMES = {"dns": "rtr-7.example.net", "ip": "192.0.2.7", "uri": "urn:dev:sn:1"}
POLICY = """path "pki/sign/device" { capabilities = ["update"] }
path "pki/revoke" { capabilities = ["update"] }"""
ROLE = {"allow_any_name": True, "enforce_hostnames": False, "allow_ip_sans": True, "allowed_uri_sans": "*",
        "allowed_serial_numbers": "*", "use_csr_common_name": False, "use_csr_sans": False, "key_type": "any",
        "key_usage": "DigitalSignature", "server_flag": False, "client_flag": True, "organization": "Example Works",
        "max_ttl": "2160h", "not_before_duration": "30s"}


class Api:
    def __init__(self, port):
        self.url = "http://127.0.0.1:%d" % port

    def __call__(self, method, path, **body):
        asked = urllib.request.Request(self.url + "/v1/" + path, json.dumps(body).encode() if body else None,
                                       {"X-Vault-Token": ROOT_TOKEN, "Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else {}


def configure(api, tree):
    api("POST", "sys/mounts/pki", type="pki", config={"max_lease_ttl": "8760h"})
    with open(tree.issuing) as cert, open(tree.issuing_key_file) as key:
        api("POST", "pki/config/ca", pem_bundle=cert.read() + key.read())
    api("POST", "pki/roles/device", **ROLE)
    api("PUT", "sys/policies/acl/gate", policy=POLICY)
    api("POST", "sys/auth/approle", type="approle")
    api("POST", "auth/approle/role/gate", token_policies="gate", token_ttl="1h")
    role = api("GET", "auth/approle/role/gate/role-id")["data"]["role_id"]
    return role, api("POST", "auth/approle/role/gate/secret-id", metadata="{}")["data"]["secret_id"]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    program = shutil.which("bao") or shutil.which("vault")
    if program is None:
        pytest.skip("neither bao (OpenBao) nor vault is in PATH")
    tree = driver.Hierarchy(tmp_path_factory.mktemp("openbao"))
    port = free_port()
    service = driver.Service([program, "server", "-dev", "-dev-root-token-id=" + ROOT_TOKEN, "-dev-no-store-token",
                              "-dev-listen-address=127.0.0.1:%d" % port], port, tree.path("openbao.log"), tree.dir,
                             dict(os.environ, HOME=tree.dir))
    try:
        role, secret = configure(Api(port), tree)
        tree.settings = {"type": "vault", "url": "http://127.0.0.1:%d" % port, "allow_plain": "1", "tls_ca": tree.root,
                         "certificate": tree.issuing, "chain": tree.root, "profile": "device", "auth": "approle",
                         "user": role, "secret_file": tree.path("secret", secret.encode() + b"\n")}
        yield tree
    finally:
        service.stop()


def issue(peer, **change):
    csr, key = peer.csr("somebody else", [x509.DNSName("other.example.net")])
    return key, driver.drive(dict(peer.settings, **change), "issue", csr, "gw-1-0", cn="rtr-7", o="Example Works",
                             sn="SN-1", **NAMES)


def test_it_issues_what_was_approved_and_that_passes_the_check(peer):
    key, done = issue(peer)
    driver.check_issued(done, peer.issuing_cert, key)
    assert done.verify == "ok", done.text
    assert sorted(str(san.value) for san in driver.sans(done.cert)) == sorted(NAMES.values())


def test_a_token_of_its_own_does_as_well(peer):
    token = peer.path("token", ROOT_TOKEN.encode() + b"\n")
    key, done = issue(peer, auth="token", secret_file=token)
    driver.check_issued(done, peer.issuing_cert, key)


def test_a_wrong_secret_is_an_operators_matter(peer):
    _, done = issue(peer, secret_file=peer.path("wrong", b"no-such-secret\n"))
    assert done.code == 1 and "error upstream: " in done.text and "no-such-secret" not in done.text, done.text


def test_a_role_that_is_not_allowed_is_an_operators_matter(peer):
    _, done = issue(peer, profile="other")
    assert done.code == 1 and "error upstream: " in done.text, done.text


def test_it_revokes_and_a_second_time_is_no_error(peer):
    _, done = issue(peer)
    for _ in range(2):
        again = driver.drive(peer.settings, "revoke", done.serial, 4)
        assert again.code == 0, again.text


def test_it_is_well(peer):
    done = driver.drive(peer.settings, "check")
    assert done.code == 0, done.text
