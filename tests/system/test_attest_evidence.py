"""Evidence in the request: demanded, judged, fresh, of this device and of this key; its nonce is good once."""
import json

import pytest

import est
import evidence
import pki


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attest")
    return {name: evidence.Root(folder, name) for name in ("yubico", "google", "nobody")}


@pytest.fixture(scope="module")
def gw(module_gateway, roots):
    gateway = module_gateway()
    gateway.settings["attesters"] = [
        {"name": "keys", "method": "yubikey", "roots": [roots["yubico"].pem]},
        {"name": "phones", "method": "android", "roots": [roots["google"].pem]},
        {"name": "any-phone", "method": "android", "roots": [roots["google"].pem], "identity_required": False},
    ]
    gateway.settings["rules"] = [
        {"name": "keys", "action": "require", "labels": ["keys"], "attesters": ["keys"]},
        {"name": "phones", "action": "require", "labels": ["phones*"], "operations": ["enroll"], "attesters": ["phones"]},
        {"name": "any", "action": "require", "labels": ["any"], "attesters": ["any-phone"]},
        {"name": "nice", "action": "prefer", "labels": ["nice"], "attesters": ["phones"]},
        {"name": "all", "action": "allow"},
    ]
    for label in ("keys", "phones", "any", "nice", "plain"):
        gateway.add_label(label)
    gateway.add_label("phones-manual", approval="manual")
    return gateway.start()


@pytest.fixture
def phone(gw, acme, roots):
    """A device with a factory certificate whose phone hardware is in the registry."""
    device = acme.idevid()
    device.token = evidence.Token(roots["google"])
    anchors = ["idevid_serial:acme:" + device.serial, "idevid_serial:phones:" + device.token.serial]
    gw.import_rows([gw.row(device, anchor=anchors)])
    return device


@pytest.fixture
def holder(gw, acme, roots):
    """The same with a YubiKey."""
    device = acme.idevid()
    device.token = evidence.Token(roots["yubico"])
    anchors = ["idevid_serial:acme:" + device.serial, "idevid_serial:keys:" + device.token.serial]
    gw.import_rows([gw.row(device, anchor=anchors)])
    return device


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def stored(gw, device):
    with gw.database() as db:
        rows = db.execute("SELECT e.json FROM request_attestation e JOIN request r ON r.id = e.id JOIN asset a "
                          "ON a.id = r.asset_id WHERE a.tag = ? ORDER BY e.id", (device.tag,)).fetchall()
    return [json.loads(row[0]) for row in rows]


# ---- demanded

def test_absent_evidence_is_refused_where_it_is_demanded(gw, phone):
    assert est.enroll(gw, pki.csr(pki.ec_key()), phone, label="phones").status == 403
    assert reason(gw, phone) == "attestation.present"
    assert est.enroll(gw, pki.csr(pki.ec_key()), phone, label="plain").status == 200


def test_good_evidence_gets_a_certificate(gw, phone):
    key = pki.ec_key()
    before = gw.metrics().get('enrolld_attestations_total{method="android",verdict="good"}', 0)
    given = evidence.nonce(gw, "phones")
    est.enroll(gw, evidence.csr(key, phone.token.android(key, given)), phone, label="phones").cert()
    assert gw.metrics()['enrolld_attestations_total{method="android",verdict="good"}'] == before + 1


def test_a_yubikey_speaks_of_the_request_s_key_and_of_its_own_serial_number(gw, holder):
    key = pki.ec_key()
    est.enroll(gw, evidence.csr(key, holder.token.yubikey(key)), holder, label="keys").cert()
    key = pki.ec_key()
    given = evidence.nonce(gw, "keys")
    est.enroll(gw, evidence.csr(key, holder.token.yubikey(key, given)), holder, label="keys").cert()


def test_preferred_evidence_may_be_absent(gw, phone):
    est.enroll(gw, pki.csr(pki.ec_key()), phone, label="nice").cert()


def test_a_demand_for_first_certificates_does_not_hold_for_renewals(gw, phone, tmp_path):
    key = pki.ec_key()
    given = evidence.nonce(gw, "phones")
    cert = est.enroll(gw, evidence.csr(key, phone.token.android(key, given)), phone, label="phones").cert()
    mine = phone.with_cert(tmp_path, cert, key)
    est.reenroll(gw, pki.csr(pki.ec_key(), ""), mine, label="phones").cert()


def test_evidence_is_not_looked_at_where_nobody_wants_it(gw, phone):
    est.enroll(gw, evidence.csr(pki.ec_key(), b"\x30\x00"), phone, label="plain").cert()


# ---- judged

@pytest.mark.parametrize("wrong", ["random", "empty", "short", "other label", "changed"])
def test_a_wrong_nonce_is_refused(gw, phone, wrong):
    key = pki.ec_key()
    given = {"random": b"r" * len(evidence.nonce(gw, "phones")), "empty": b"", "short": b"12345678", "other label": evidence.nonce(gw, "any"),
             "changed": bytes(evidence.nonce(gw, "phones")[:-1]) + b"\0"}[wrong]
    assert est.enroll(gw, evidence.csr(key, phone.token.android(key, given)), phone, label="phones").status == 403
    assert reason(gw, phone).startswith("attestation.")


def test_a_nonce_is_good_for_one_request(gw, phone):
    given = evidence.nonce(gw, "phones")
    first, second = pki.ec_key(), pki.ec_key()
    request = evidence.csr(first, phone.token.android(first, given))
    answer = est.enroll(gw, request, phone, label="phones")
    assert answer.status == 200
    assert est.enroll(gw, evidence.csr(second, phone.token.android(second, given)), phone, label="phones").status == 403
    assert reason(gw, phone).startswith("attestation.")
    # ... which may be asked for again.
    assert est.enroll(gw, request, phone, label="phones").body == answer.body


def test_a_refusal_does_not_use_the_nonce_up(gw, phone):
    given = evidence.nonce(gw, "phones")
    key = pki.ec_key()
    bad = evidence.csr(key, phone.token.android(key, given, locked=False))
    assert est.enroll(gw, bad, phone, label="phones").status == 403
    assert est.enroll(gw, evidence.csr(key, phone.token.android(key, given)), phone, label="phones").status == 200


def test_of_many_requests_with_one_nonce_one_is_issued(gw, phone):
    given = evidence.nonce(gw, "phones")
    keys = [pki.ec_key() for _ in range(6)]
    requests = [evidence.csr(key, phone.token.android(key, given)) for key in keys]
    answers = est.in_parallel([lambda r=r: est.enroll(gw, r, phone, label="phones") for r in requests])
    assert sorted(a.status for a in answers) == [200] + [403] * 5


@pytest.mark.parametrize("what, change", [
    ("software", {"level": 0}), ("unlocked", {"locked": False}), ("imported", {"origin": 2}),
    ("expired", {"not_after": pki.ago(days=1)})])
def test_evidence_of_a_worse_device_is_refused(gw, phone, what, change):
    key = pki.ec_key()
    given = evidence.nonce(gw, "phones")
    assert est.enroll(gw, evidence.csr(key, phone.token.android(key, given, **change)), phone, label="phones").status == 403
    assert reason(gw, phone) == "attestation.valid"


def test_evidence_under_an_unknown_root_is_refused(gw, phone, roots):
    key = pki.ec_key()
    stranger = evidence.Token(roots["nobody"], phone.token.serial)
    given = evidence.nonce(gw, "phones")
    assert est.enroll(gw, evidence.csr(key, stranger.android(key, given)), phone, label="phones").status == 403
    assert reason(gw, phone) == "attestation.valid"


def test_evidence_about_another_key_is_refused(gw, phone):
    given = evidence.nonce(gw, "phones")
    borrowed = phone.token.android(pki.ec_key(), given)
    assert est.enroll(gw, evidence.csr(pki.ec_key(), borrowed), phone, label="phones").status == 403
    assert reason(gw, phone) in ("attestation.valid", "attestation.key")


def test_evidence_of_a_device_the_asset_does_not_know_is_refused(gw, phone, roots):
    key = pki.ec_key()
    other = evidence.Token(roots["google"])
    given = evidence.nonce(gw, "phones")
    assert est.enroll(gw, evidence.csr(key, other.android(key, given)), phone, label="phones").status == 403
    assert reason(gw, phone) == "attestation.identity"


def test_evidence_of_another_asset_is_refused_even_where_identity_is_not_required(gw, phone, acme, roots):
    key = pki.ec_key()
    other, unknown = acme.idevid(), evidence.Token(roots["google"])
    token = evidence.Token(roots["google"])
    gw.import_rows([gw.row(other, anchor=["idevid_serial:acme:" + other.serial, "idevid_serial:any-phone:" + token.serial])])
    given = evidence.nonce(gw, "any")
    assert est.enroll(gw, evidence.csr(key, token.android(key, given)), phone, label="any").status == 403
    assert reason(gw, phone) == "attestation.valid"
    assert est.enroll(gw, evidence.csr(key, unknown.android(key, given)), phone, label="any").status == 200


@pytest.mark.parametrize("octets", [b"\x30\x00", b"\x30\x02\x30\x00", b"\x04\x01\x00"])
def test_what_is_no_evidence_is_malformed_and_recorded(gw, phone, octets):
    answer = est.enroll(gw, evidence.csr(pki.ec_key(), octets), phone, label="phones")
    assert answer.status == 400
    assert gw.audit("enroll.refused")[-1]["detail"]["reason"].startswith(("evidence: ", "attestation: "))


# ---- waits

def test_a_request_that_waits_needs_its_nonce_once(gw, phone):
    key = pki.ec_key()
    request = evidence.csr(key, phone.token.android(key, evidence.nonce(gw, "phones-manual")))
    assert est.enroll(gw, request, phone, label="phones-manual").status == 202
    other = pki.ec_key()
    assert est.enroll(gw, pki.csr(other), phone, label="phones-manual").status == 403
    gw.restart()
    assert est.enroll(gw, request, phone, label="phones-manual").status == 202
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", phone.tag, "--state", "pending")[0]["id"])
    answer = est.enroll(gw, request, phone, label="phones-manual")
    assert answer.status == 200
    assert est.enroll(gw, request, phone, label="phones-manual").body == answer.body


def test_a_nonce_survives_a_restart(gw, phone):
    key = pki.ec_key()
    given = evidence.nonce(gw, "phones")
    gw.restart()
    est.enroll(gw, evidence.csr(key, phone.token.android(key, given)), phone, label="phones").cert()


# ---- asking for it

def test_a_nonce_is_given_by_get_and_post_where_evidence_is_wanted(gw):
    first, second = evidence.nonce(gw, "phones"), evidence.nonce(gw, "phones")
    assert first != second and 8 <= len(first) <= 64
    with est.Conn(gw) as conn:
        kind = {"Content-Type": evidence.FRESHNESS}
        answer = conn.request("POST", est.path("nonce", "phones"), b"{}", kind)
        assert answer.status == 200 and json.loads(answer.body)["expiry"] == 300
        assert answer.get("Cache-Control") == "no-store"
        for body, status in ((b'{"len": %d}' % len(first), 200), (b'{"len": 48}', 503), (b'{"len": 7}', 400), (b'{"len": "8"}', 400),
                             (b'{"type": "1.2.3", "reqInfo": {}}', 200), (b'{"reqInfo": {}}', 400), (b"[]", 400),
                             (b"", 400), (b'{"len":40,"len":40}', 400)):
            assert conn.request("POST", est.path("nonce", "phones"), body, kind).status == status, body
        assert conn.request("POST", est.path("nonce", "phones"), b"{}").status == 415
        assert conn.request("PUT", est.path("nonce", "phones"), b"{}", kind).status == 405
        assert conn.request("GET", est.path("nonce", "plain")).status == 404
        assert conn.request("GET", est.path("nonce", "none-such")).status == 404
    assert gw.metrics()["enrolld_nonces_total"] >= 4


def test_csrattrs_asks_for_evidence_where_rules_want_it(gw):
    wanted = pki.oid(evidence.ATTRIBUTE)
    assert wanted in est.get(gw, "csrattrs", "phones").der()
    assert wanted in est.get(gw, "csrattrs", "nice").der()
    assert est.get(gw, "csrattrs", "plain").status == 204


def test_what_evidence_came_to_is_kept_with_the_request(gw, phone):
    key = pki.ec_key()
    est.enroll(gw, evidence.csr(key, phone.token.android(key, evidence.nonce(gw, "phones"))), phone, label="phones").cert()
    kept = stored(gw, phone)[-1][0]
    assert (kept["method"], kept["attester"], kept["valid"], kept["fresh"], kept["key_bound"], kept["of_asset"]) == \
        ("android", "phones", True, True, True, True)
    assert kept["claims"]["android.security_level"] == "tee"
