"""What rules would decide: stored requests once more, an operator's own table, a new configuration beside the old."""
import copy
import json
import os

import pytest

import est
import pki
from gateway import Refused, binary, conf, run

RULES = [{"name": "old-models", "action": "deny", "models": ["Old*"], "text": "too old"},
         {"name": "routers-by-certificate", "action": "require", "classes": ["router"], "attesters": ["acme"]},
         {"name": "secret-places", "action": "require", "sites": ["vault"], "attesters": ["tpm"]},
         {"name": "customers-are-seen", "action": "approve", "owner_kinds": ["customer"]},
         {"name": "the-rest", "action": "allow"}]
TABLE = """name,model,class,owner_kind,tier,op,proof,attested,expect,reason
new models come in,X1,,,0,,,,allow,
old ones do not,Old 7,,,,,,,deny,policy.rules
customers wait,X1,,customer,,,,,wait,
a router needs its certificate,X1,router,,,,,,deny,attestation.present
with it it comes in,X1,router,,,,,acme,allow,
renewals too,X1,,,,renew,,,allow,ok
a secret is no proof to a router,X1,router,,,,secret,,deny,attestation.present
"""


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "acme", "method": "idevid"},
                                      {"name": "tpm", "method": "tpm"}]
    gateway.add_profile("fresh", allow_key_reuse=False)
    gateway.add_label("fresh", profile="fresh")
    gateway.settings["rules"] = copy.deepcopy(RULES)
    gateway.add_label("other")
    gateway.start()
    gateway.ctl("owner", "put", "Tenant", "--kind", "customer")
    return gateway


def csr():
    return pki.csr(pki.ec_key(), "")


def latest(gw, device):
    return gw.ctl("request", "list", "--asset", device.tag)[-1]["id"]


def outcome(decision):
    return decision["outcome"], decision["reason"]


def write(gw, name, text):
    path = os.path.join(gw.dir, name)
    with open(path, "w") as out:
        out.write(text)
    return path


def candidate(gw, change):
    """A configuration that differs from the one in force; change() gets its settings."""
    settings = copy.deepcopy(gw.settings)
    change(settings)
    return write(gw, "new.conf", "".join("%s = %s;\n" % (key, conf(value)) for key, value in settings.items()
                                         if value or key not in ("trust", "identity", "limits")))


def finding(gw, *words):
    """A command that finds something: exit 1, and what it found on standard output."""
    done = run(binary("enrollctl"), "--socket", gw.socket, "--json", *words)
    assert done.returncode == 1, done
    return json.loads(done.stdout)


# ---- explain --request

def test_a_stored_request_is_decided_once_more_by_todays_registry(gw, acme):
    device = gw.own(acme.idevid())
    assert est.enroll(gw, csr(), device).status == 200
    number, certs, audit = latest(gw, device), gw.certs(device.tag), len(gw.audit())
    again = gw.ctl("explain", "--request", number)
    assert again["request"]["id"] == number
    assert outcome(again["then"]) == ("issued", "ok") and outcome(again["now"]) == ("allowed", "ok")
    gw.set_state(device, "quarantined")
    again = gw.ctl("explain", "--request", number)
    assert outcome(again["then"]) == ("issued", "ok") and outcome(again["now"]) == ("denied", "asset.state")
    text = gw.ctl("explain", "--request", number, json_out=False)
    changed = [line for line in text.splitlines() if line.startswith("* ")]
    assert len(changed) == 1 and changed[0].split()[1:4] == ["asset.state", "pass", "fail"]
    assert "quarantined" in changed[0]
    assert len(gw.certs(device.tag)) == len(certs) and len(gw.audit()) == audit + 1, "only the change of state is written"


def test_a_denied_request_passes_once_what_denied_it_is_gone(gw, acme):
    device = gw.own(acme.idevid(), model="Old 1")
    assert est.enroll(gw, csr(), device).status == 403
    gw.own(device, model="X2")
    again = gw.ctl("explain", "--request", latest(gw, device))
    assert outcome(again["then"]) == ("denied", "policy.rules") and outcome(again["now"]) == ("allowed", "ok")


def test_evidence_of_the_stored_request_counts_again(gw, acme):
    device = gw.own(acme.idevid(), **{"class": "router"})
    assert est.enroll(gw, csr(), device).status == 200
    assert outcome(gw.ctl("explain", "--request", latest(gw, device))["now"]) == ("allowed", "ok")
    secret = gw.secret(device.tag)
    assert est.enroll(gw, csr(), user=device.tag, secret=secret).status == 403
    assert outcome(gw.ctl("explain", "--request", latest(gw, device))["now"]) == ("denied", "attestation.present")


def test_evidence_that_was_judged_is_taken_from_the_record(gw, acme):
    device = gw.own(acme.idevid())
    assert est.enroll(gw, csr(), device).status == 200
    number = latest(gw, device)
    gw.own(device, site="vault")
    assert outcome(gw.ctl("explain", "--request", number)["now"]) == ("denied", "attestation.present")
    gw.stop()
    evidence = [{"method": "tpm", "attester": "tpm", "valid": True, "key_bound": True, "fresh": True, "of_asset": True,
                 "identity_required": True, "expires": 1, "anchors": [], "checks": [["tpm.nonce", True, ""]], "claims": {}}]
    with gw.database() as db:
        db.execute("INSERT INTO request_attestation (id, json) VALUES (?, ?)", (number, json.dumps(evidence)))
    db.close()
    gw.start()
    assert outcome(gw.ctl("explain", "--request", number)["now"]) == ("allowed", "ok"), "it has not ended for this request"


def test_the_key_of_the_request_itself_is_not_used_before(gw, acme):
    device, key = gw.own(acme.idevid()), pki.ec_key()
    assert est.enroll(gw, pki.csr(key, ""), device, label="fresh").status == 200
    assert outcome(gw.ctl("explain", "--request", latest(gw, device))["now"]) == ("allowed", "ok")


def test_an_approval_is_not_the_requests_own(gw, acme):
    device = gw.own(acme.idevid(), owner="Tenant")
    assert est.enroll(gw, csr(), device).status == 202
    number = latest(gw, device)
    gw.ctl("request", "approve", number)
    assert outcome(gw.ctl("explain", "--request", number)["now"]) == ("pending", "approval")


def test_a_renewal_is_judged_by_the_certificate_that_it_came_with(gw, acme, tmp_path):
    key = pki.ec_key()
    device = gw.own(acme.idevid())
    held = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)
    assert est.reenroll(gw, csr(), held).status == 200
    again = gw.ctl("explain", "--request", latest(gw, device))
    assert again["request"]["operation"] == "simplereenroll"
    assert outcome(again["now"]) == ("allowed", "ok"), again["now"]
    first = min(gw.certs(device.tag), key=lambda row: row["id"])
    gw.ctl("cert", "revoke", first["serial"], "--reason", "lost")
    assert outcome(gw.ctl("explain", "--request", latest(gw, device))["now"]) == ("denied", "proof.revoked")


def test_a_request_that_is_not_there_is_told(gw):
    with pytest.raises(Refused) as refusal:
        gw.ctl("explain", "--request", "999999")
    assert "no request 999999" in refusal.value.text


# ---- policy test

def test_an_operators_table_holds(gw):
    done = gw.ctl("policy", "test", write(gw, "table.csv", TABLE))
    assert (done["tests"], done["failed"], done["rows"]) == (7, 0, [])
    assert "7 expected decisions, 7 as expected" in gw.ctl("policy", "test", write(gw, "table.csv", TABLE), json_out=False)


def test_a_table_that_does_not_hold_names_its_lines(gw):
    path = write(gw, "wrong.csv", TABLE.replace("Old 7,,,,,,,deny", "Old 7,,,,,,,allow"))
    done = finding(gw, "policy", "test", path)
    assert (done["tests"], done["failed"]) == (7, 1)
    row = done["rows"][0]
    assert (row["line"], row["name"]) == (3, "old ones do not")
    assert (row["expected"], row["got"], row["reason"]) == ("allow policy.rules", "deny", "policy.rules")
    assert ["policy.rules", "fail"] in [rule[:2] for rule in row["rules"]]


def test_a_table_may_be_json_lines(gw):
    tests = [{"expect": "allow", "model": "X1", "tier": 2}, {"expect": "deny", "model": "Old", "reason": "policy.rules"},
             {"expect": "deny", "state": "stolen", "reason": "asset.state"},
             {"expect": "deny", "owner_status": "suspended", "reason": "owner.status"},
             {"expect": "deny", "key": "RSA:2048", "op": "enroll", "proof": "none"},
             {"expect": "allow", "label": "other", "protocol": "coap", "peer": "192.0.2.1"}]
    path = write(gw, "table.jsonl", "".join(json.dumps(test) + "\n" for test in tests))
    assert gw.ctl("policy", "test", path)["tests"] == len(tests)


@pytest.mark.parametrize("line,complaint", [
    ("colour,expect\nred,allow", 'line 2: unknown field "colour"'), ("model\nX1", "expect: it is required"),
    ("expect\nperhaps", 'expect: "perhaps"'), ("label,expect\nnowhere,allow", 'no label "nowhere"'),
    ("attested,expect\nnobody,allow", 'no attester "nobody"'), ("tier,expect\n9,allow", 'tier: "9"'),
    ("state,expect\nsold,deny", 'state: "sold"'), ("time,expect\nlater,allow", "time"), ("a,expect\nx", "1 fields"),
])
def test_a_table_with_a_mistake_is_explained(gw, line, complaint):
    with pytest.raises(Refused) as refusal:
        gw.ctl("policy", "test", write(gw, "mistake.csv", line + "\n"))
    assert complaint in refusal.value.text


def test_a_table_runs_against_a_new_configuration(gw):
    table = write(gw, "table.csv", "model,expect\nOld 7,allow\n")
    new = candidate(gw, lambda settings: settings["rules"].pop(0))
    with pytest.raises(Refused):
        gw.ctl("policy", "test", table)
    assert gw.ctl("policy", "test", table, "--config", new)["failed"] == 0
    assert gw.ctl("policy", "test", "--config", new, table)["failed"] == 0, "in either order"


# ---- policy diff

def test_the_same_configuration_decides_the_same(gw, acme, tmp_path):
    key = pki.ec_key()
    device = gw.own(acme.idevid())
    held = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)
    assert est.reenroll(gw, csr(), held).status == 200
    assert est.enroll(gw, csr(), gw.own(acme.idevid(), owner="Tenant")).status == 202
    done = gw.ctl("policy", "diff", candidate(gw, lambda settings: None))
    assert done["differ"] == 0 and done["rows"] == [] and done["skipped"] == 0
    assert done["decided"] == len(gw.ctl("request", "list")) and done["decided"] > 3
    assert gw.ctl("policy", "diff", candidate(gw, lambda settings: None), "--last", "2")["decided"] == 2


def diff(gw, new, *options):
    return finding(gw, "policy", "diff", new, *options)


def test_a_new_rule_is_told_by_the_requests_it_would_have_stopped(gw, acme):
    device = gw.own(acme.idevid(), model="Y9")
    assert est.enroll(gw, csr(), device).status == 200
    number, version = latest(gw, device), gw.ctl("status")["policy_version"]
    new = candidate(gw, lambda settings: settings["rules"].insert(0, {"name": "no-y9", "action": "deny", "models": ["Y9"]}))
    done = diff(gw, new)
    assert done["differ"] == 1
    row = done["rows"][0]
    assert (row["request"], row["asset"], row["now"], row["new"], row["new_reason"]) == \
        (number, device.tag, "allow", "deny", "policy.rules")
    assert gw.ctl("status")["policy_version"] == version, "it is not in force"
    assert est.enroll(gw, csr(), device).status == 200


def test_a_rule_that_goes_lets_in_who_was_denied(gw, acme):
    device = gw.own(acme.idevid(), model="Old 5")
    assert est.enroll(gw, csr(), device).status == 403
    done = diff(gw, candidate(gw, lambda settings: settings["rules"].pop(0)), "--last", "1")
    assert [(row["request"], row["now"], row["new"]) for row in done["rows"]] == [(latest(gw, device), "deny", "allow")]


def test_an_approval_that_is_new_or_gone_is_told_too(gw, acme):
    device = gw.own(acme.idevid(), model="Z1")
    assert est.enroll(gw, csr(), device).status == 200
    new = candidate(gw, lambda settings: settings["rules"].insert(0, {"name": "look", "action": "approve", "models": ["Z1"]}))
    rows = diff(gw, new, "--last", "1")["rows"]
    assert [(row["now"], row["new"], row["new_reason"]) for row in rows] == [("allow", "wait", "approval")]


def test_a_label_that_goes_denies_its_requests(gw, acme):
    device = gw.own(acme.idevid())
    assert est.enroll(gw, csr(), device, label="other").status == 200
    rows = diff(gw, candidate(gw, lambda settings: settings["labels"].pop()), "--last", "1")["rows"]
    assert len(rows) == 1 and rows[0]["new"] == "deny" and 'no label "other"' in rows[0]["new_sentence"]


def test_a_new_configuration_with_mistakes_is_refused(gw):
    new = candidate(gw, lambda settings: settings["rules"].append({"name": "x", "action": "perhaps"}))
    with pytest.raises(Refused) as refusal:
        gw.ctl("policy", "diff", new)
    assert refusal.value.code == 1 and "perhaps" in refusal.value.text
    assert "mistakes, enrolld --check tells them; line " in refusal.value.text
