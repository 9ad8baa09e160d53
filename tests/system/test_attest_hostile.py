"""What strangers may send to /nonce and /tpm-bind: nobody is known there before the body is read."""
import pytest

import est
import evidence


@pytest.fixture(scope="module")
def gw(module_gateway, tmp_path_factory):
    root = evidence.Root(tmp_path_factory.mktemp("attest"), "yubico")
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "keys", "method": "yubikey", "roots": [root.pem]},
                                     {"name": "laptops", "method": "tpm", "ak_by_binding": True}]
    gateway.settings["rules"] = [
        {"name": "keys", "action": "require", "labels": ["keys"], "attesters": ["keys", "laptops"]},
        {"name": "all", "action": "allow"}]
    gateway.add_label("keys")
    gateway.add_label("plain")
    return gateway.start()


TYPES = {"nonce": evidence.FRESHNESS, "tpm-bind": "application/json"}


def post(gw, operation, body, label="keys"):
    with est.Conn(gw) as conn:
        return conn.request("POST", est.path(operation, label), body, {"Content-Type": TYPES[operation]})


@pytest.mark.parametrize("operation", sorted(TYPES))
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_beyond_reason_is_a_bad_request(gw, operation, opening):
    """jansson recurses two thousand levels deep, and the threads that serve have 100 KiB of stack."""
    answer = post(gw, operation, opening * 5000)
    assert answer.status == 400
    assert post(gw, "nonce", b"{}").status == 200
    assert gw.process.poll() is None


@pytest.mark.parametrize("operation", sorted(TYPES))
def test_where_nothing_is_given_the_body_is_not_read(gw, operation):
    assert post(gw, operation, b"[" * 5000, "plain").status in (400, 404)
    assert gw.process.poll() is None


@pytest.mark.parametrize("operation", sorted(TYPES))
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b'{"a":1,"a":2}', b"\xff\xfe", b"{}{}"])
def test_what_is_no_object_is_a_bad_request(gw, operation, body):
    assert post(gw, operation, body).status == 400
