"""The operator's rules on real requests: allow, deny, approve, limits, lifetimes; clones; reload all or nothing."""
import json

import pytest

import est
import evidence
import pki

@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "acme", "method": "idevid"},
                                     {"name": "tpm", "method": "tpm"}]
    gateway.settings["rules"] = [
        {"name": "no-sensors", "action": "deny", "classes": ["sensor*"], "text": "sensors stay outside"},
        {"name": "factory-only", "action": "require", "labels": ["factory"], "attesters": ["acme"]},
        {"name": "with-tpm", "action": "require", "labels": ["tpm"], "attesters": ["tpm"]},
        {"name": "look-first", "action": "approve", "labels": ["looked"], "lifetime": "3d"},
        {"name": "from-nowhere", "action": "deny", "labels": ["far"], "addresses": ["192.0.2.0/24", "2001:db8::/32"]},
        {"name": "two-a-day", "action": "allow", "labels": ["few"], "count": 2, "per": "1d"},
        {"name": "listed", "action": "allow", "manufacturers": ["ACME"]},
    ]
    for label in ("factory", "looked", "far", "few", "tpm"):
        gateway.add_label(label)
    gateway.add_profile("shaped", csr_names="match", keys=["EC:P-384"])
    gateway.add_label("shaped", profile="shaped", csrattrs_template=True, binding="require")
    return gateway.start()


@pytest.fixture
def device(gw, acme):
    return gw.own(acme.idevid())


def denied(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]


def test_a_deny_rule_gives_its_own_reason(gw, acme):
    sensor = acme.idevid()
    gw.import_rows([gw.row(sensor, **{"class": "sensor-9"})])
    assert est.enroll(gw, pki.csr(pki.ec_key()), sensor).status == 403
    assert denied(gw, sensor)["reason"] == "policy.rules"
    assert "sensors stay outside" in json.dumps(denied(gw, sensor))
    assert gw.metrics()['enrolld_rule_denials_total{rule="no-sensors"}'] >= 1


@pytest.fixture
def unlisted(gw, acme):
    device = acme.idevid()
    gw.import_rows([gw.row(device, manufacturer="Initech")])
    return device


def test_past_the_last_rule_the_answer_is_no(gw, unlisted):
    assert est.enroll(gw, pki.csr(pki.ec_key()), unlisted).status == 403
    assert denied(gw, unlisted)["reason"] == "policy.rules"


def test_a_rule_for_other_addresses_does_not_match(gw, device):
    est.enroll(gw, pki.csr(pki.ec_key()), device, label="far").cert()


def test_a_manufacturer_s_certificate_is_evidence_and_a_secret_is_not(gw, device):
    est.enroll(gw, pki.csr(pki.ec_key()), device, label="factory").cert()
    secret = gw.secret(device.tag)
    answer = est.enroll(gw, pki.csr(pki.ec_key()), label="factory", user=device.tag, secret=secret)
    assert answer.status == 403
    assert denied(gw, device)["reason"] == "attestation.present"


def test_a_rule_may_want_an_approval_and_a_shorter_life(gw, device):
    csr = pki.csr(pki.ec_key())
    assert est.enroll(gw, csr, device, label="looked").status == 202
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", device.tag)[0]["id"])
    assert 2 <= evidence.days_from(est.enroll(gw, csr, device, label="looked").cert()) <= 3


def test_a_limit_counts_certificates_and_survives_a_reload(gw, acme):
    one, two, three = (gw.own(acme.idevid()) for _ in range(3))
    request = pki.csr(pki.ec_key())
    first = est.enroll(gw, request, one, label="few")
    assert first.status == 200
    # What is refused, and what is answered again, does not count.
    assert est.enroll(gw, request, one, label="few").body == first.body
    assert est.enroll(gw, pki.csr(pki.ec_key(), challenge="x" * 300), one, label="few").status in (400, 403)
    assert est.enroll(gw, pki.csr(pki.ec_key()), two, label="few").status == 200
    assert est.enroll(gw, pki.csr(pki.ec_key()), three, label="few").status == 403
    assert "policy.rules" == denied(gw, three)["reason"]
    gw.settings["labels"][0]["realm"] = "changed"
    assert "is in force" in gw.reload()
    assert est.enroll(gw, pki.csr(pki.ec_key()), three, label="few").status == 403
    assert est.enroll(gw, request, one, label="few").body == first.body


def test_of_many_at_once_a_limit_lets_through_as_many_as_it_says(gw, acme):
    gw.settings["rules"].insert(0, {"name": "three", "action": "approve", "labels": ["burst"], "count": 3, "per": "1d"})
    gw.settings["rules"].insert(1, {"name": "burst", "action": "allow", "labels": ["burst"]})
    gw.settings["rules"][0]["action"] = "prefer"
    gw.settings["rules"][0]["attesters"] = ["acme"]
    gw.add_label("burst")
    assert "is in force" in gw.reload()
    devices = [acme.idevid() for _ in range(8)]
    gw.own(*devices)
    answers = est.in_parallel([lambda d=d: est.enroll(gw, pki.csr(pki.ec_key()), d, label="burst") for d in devices])
    assert sorted(a.status for a in answers) == [200] * 3 + [403] * 5


def test_one_mistake_in_a_rule_leaves_the_former_rules_in_force(gw, device, unlisted):
    good = list(gw.settings["rules"])
    for mistake, said in (({"name": "x", "action": "require", "attesters": ["nobody"]}, "nobody"),
                          ({"name": "x", "action": "deny", "labels": ["no-such-label"]}, "no-such-label"),
                          ({"name": "x", "action": "allow", "addresses": ["10.0.0.0/99"]}, "x"),
                          ({"name": "x", "action": "require"}, "x"),
                          ({"name": "listed", "action": "allow"}, "listed"),
                          ({"name": "x", "action": "allow", "tiers": [4]}, "0 to 3")):
        gw.settings["rules"] = [mistake] + good
        assert "mistakes" in gw.reload()
        assert said in gw.check().stderr
    gw.settings["rules"] = good
    gw.write()
    est.enroll(gw, pki.csr(pki.ec_key()), device).cert()
    assert est.enroll(gw, pki.csr(pki.ec_key()), unlisted).status == 403


def test_every_policy_that_was_in_force_is_on_record(gw):
    with gw.database() as db:
        texts = dict(db.execute("SELECT version, text FROM policy"))
    assert len(texts) >= 3
    assert all("rules = (" in text and "no-sensors" in text for text in texts.values())
    assert not any(".pem" in text or ".key" in text for text in texts.values())


# ---- clones

def twin(acme, first, folder):
    """Another key with a certificate for the same serial number; the first one's files stay."""
    clone = acme.idevid(serial=first.serial)
    moved = clone.with_cert(folder, clone.cert)
    pki.Device(acme.folder, first.tag, first.key, first.cert, first.serial)
    return moved


def test_one_identity_with_two_keys_is_quarantined(gw, acme, tmp_path):
    first = gw.own(acme.idevid())
    clone = twin(acme, first, tmp_path)
    est.enroll(gw, pki.csr(pki.ec_key()), first).cert()
    assert est.enroll(gw, pki.csr(pki.ec_key()), clone).status == 403
    assert denied(gw, first)["reason"] == "identity.clone"
    assert gw.ctl("asset", "show", first.tag)["state"] == "quarantined"
    assert est.enroll(gw, pki.csr(pki.ec_key()), first).status == 403
    assert gw.audit("identity.clone", first.tag)[-1]["detail"]["action"] == "quarantine"
    assert gw.metrics()["enrolld_clones_total"] >= 1


def test_a_clone_s_key_is_not_the_one_that_is_remembered(gw, acme, tmp_path):
    first = gw.own(acme.idevid())
    est.enroll(gw, pki.csr(pki.ec_key()), first).cert()
    assert est.enroll(gw, pki.csr(pki.ec_key()), twin(acme, first, tmp_path)).status == 403
    gw.set_state(first, "deployed")
    est.enroll(gw, pki.csr(pki.ec_key()), first).cert()


def test_alert_tells_of_a_clone_and_goes_on(gw, acme, tmp_path):
    gw.settings["registry"] = {"clone_keys": "alert"}
    assert "is in force" in gw.reload()
    first = gw.own(acme.idevid())
    est.enroll(gw, pki.csr(pki.ec_key()), first).cert()
    est.enroll(gw, pki.csr(pki.ec_key()), twin(acme, first, tmp_path)).cert()
    assert gw.audit("identity.clone", first.tag)[-1]["detail"]["action"] == "alert"
    assert gw.ctl("asset", "show", first.tag)["state"] != "quarantined"
    del gw.settings["registry"]
    assert "is in force" in gw.reload()


# ---- binding a TPM's attestation key: the door; what a TPM does is tested with one

def bind(gw, body, label="tpm", kind="application/json"):
    with est.Conn(gw) as conn:
        return conn.request("POST", est.path("tpm-bind", label), json.dumps(body).encode(), {"Content-Type": kind})


@pytest.mark.parametrize("body, status", [
    ({}, 400), ({"ek": "AAAA"}, 400), ({"ek": 1}, 400), ({"ek": "A="}, 400),
    ({"token": "AAAA", "answer": "AAAA"}, 403), ({"token": "AAAA", "ek": "AAAA"}, 400)])
def test_binding_refuses_what_is_no_key_and_no_token(gw, body, status):
    assert bind(gw, body).status == status


def test_binding_refuses_an_endorsement_key_without_a_key_to_bind(gw):
    ek = evidence.b64url(pki.spki(pki.ec_key()))
    assert bind(gw, {"ek": ek, "ak": "AAAA"}).status == 400
    assert bind(gw, {"ek": ek, "ak": "AAAA"}, label="far").status == 404
    assert bind(gw, {"ek": ek, "ak": "AAAA"}, kind="text/plain").status == 415
    with est.Conn(gw) as conn:
        assert conn.request("GET", est.path("tpm-bind", "tpm")).status == 405


def test_csrattrs_shows_the_profile_as_a_template(gw):
    der = est.get(gw, "csrattrs", "shaped").der()
    assert pki.oid("1.2.840.113549.1.9.16.2.61") in der
    for wanted in ("2.5.4.3", "2.5.4.10", "1.3.132.0.34", "2.5.29.17", "1.2.840.113549.1.9.7"):
        assert pki.oid(wanted) in der, wanted
