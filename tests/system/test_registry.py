"""The ownership registry: imports, states, owners, approvals, and the reasons that are kept."""
import datetime
import json

import pytest

import est
import pki
from gateway import Refused

HEADER = ["tag", "owner", "manufacturer", "model", "serial", "class", "state", "holding", "tier", "site", "hostname",
          "source", "source_key", "anchor", "anchor"]


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["profiles"][0]["repair_grace"] = "1d"
    gateway.add_profile("staging", staging=True)
    gateway.add_profile("later", renewal_window="1d")
    gateway.add_label("staging", profile="staging")
    gateway.add_label("guarded", approval="manual")
    gateway.add_label("later", profile="later")
    return gateway.start()


@pytest.fixture
def owned(gw, device, tmp_path):
    key = pki.ec_key()
    return device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device).cert(), key)


def csr():
    return pki.csr(pki.ec_key(), "")


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def assets(gw):
    return {row["tag"]: row for row in gw.ctl("asset", "list")}


# ---- imports

def test_a_csv_import_fills_every_column(gw, acme):
    serial = acme.next_serial()
    line = ["csv-1", "Operations", "acme", '"Model ""X"", mark 2"', serial, "router", "staged", "leased", "2",
            '"Hall 4,\nrow B"', "csv-1.example.net", "erp", "4711", "idevid_serial:acme:" + serial,
            "imei:acme:490154203237518"]
    out = gw.import_csv(HEADER, [line], "--create-owners")
    assert out == {"added": 1, "updated": 0, "unchanged": 0, "owners_added": out["owners_added"], "dry_run": False}
    row = gw.ctl("asset", "show", "csv-1")
    assert (row["model"], row["holding"], row["tier"], row["site"]) == ('Model "X", mark 2', "leased", 2, "Hall 4, row B")
    assert (row["class"], row["source"], row["source_key"], row["state"]) == ("router", "erp", "4711", "staged")
    assert {(a["type"], a["issuer"], a["value"]) for a in row["anchors"]} == \
        {("idevid_serial", "acme", serial), ("imei", "acme", "490154203237518")}


def test_a_jsonl_import_does_the_same(gw, acme):
    serial = acme.next_serial()
    out = gw.import_rows([{"tag": "json-1", "owner": "Operations", "tier": 3, "anchor": "idevid_serial:acme:" + serial}])
    assert out["added"] == 1
    assert gw.ctl("asset", "show", "json-1")["tier"] == 3


def test_importing_again_changes_nothing_and_a_changed_line_updates(gw):
    rows = [{"tag": "again-%d" % i, "owner": "Operations"} for i in range(3)]
    assert gw.import_rows(rows)["added"] == 3
    version = gw.ctl("asset", "show", "again-1")["version"]
    assert gw.import_rows(rows)["unchanged"] == 3
    rows[1]["site"] = "elsewhere"
    out = gw.import_rows(rows)
    assert (out["updated"], out["unchanged"]) == (1, 2)
    assert gw.ctl("asset", "show", "again-1")["version"] > version


def test_a_dry_run_counts_and_keeps_nothing(gw):
    before, audit = assets(gw), len(gw.audit())
    out = gw.import_rows([{"tag": "dry-%d" % i, "owner": "Nobody yet"} for i in range(5)], "--dry-run")
    assert (out["added"], out["owners_added"], out["dry_run"]) == (5, 1, True)
    assert assets(gw) == before and len(gw.audit()) == audit
    assert "Nobody yet" not in [row["name"] for row in gw.ctl("owner", "list")]


@pytest.mark.parametrize("bad,complaint", [
    (["bad-1", "Operations", "sold"], 'line 4, column state: "sold"'),
    (["bad-1", "", "staged"], "line 4, column owner"),
    (["", "Operations", "staged"], "line 4, column tag"),
    (["bad-1", "Operations"], "line 4: 2 fields"),
    (["bad-1", "Nobody", "staged"], "line 4"),
    (["good-1", "Operations", "staged", "x"], "line 4"),
])
def test_an_import_with_a_mistake_names_its_line_and_keeps_nothing(gw, bad, complaint):
    before = assets(gw)
    lines = [["good-1", "Operations", "staged"], ["good-2", "Operations", "staged"], bad, ["good-3", "Operations", "staged"]]
    with pytest.raises(Refused) as refusal:
        gw.import_csv(["tag", "owner", "state"], lines)
    assert refusal.value.code == 1
    assert complaint in refusal.value.text
    assert assets(gw) == before


@pytest.mark.parametrize("header,complaint", [(["tag", "owner", "hostnam"], 'did you mean "hostname"'),
                                              (["tag"], "no column owner"), (["tag", "owner", "tag"], "twice")])
def test_a_wrong_header_is_explained(gw, header, complaint):
    with pytest.raises(Refused) as refusal:
        gw.import_csv(header, [["a"] * len(header)])
    assert "line 1" in refusal.value.text and complaint in refusal.value.text


def test_a_broken_json_line_is_explained(gw):
    for row, complaint in (({"tag": "x", "owner": "Operations", "tier": "high"}, "line 2, column tier"),
                           ({"tag": "x", "owner": "Operations", "colour": "red"}, 'unknown column "colour"')):
        with pytest.raises(Refused) as refusal:
            gw.import_rows([{"tag": "fine", "owner": "Operations"}, row])
        assert complaint in refusal.value.text
    assert "fine" not in assets(gw)


def test_two_assets_cannot_share_an_anchor(gw, acme):
    anchor = "idevid_serial:acme:" + acme.next_serial()
    with pytest.raises(Refused) as refusal:
        gw.import_rows([{"tag": "twin-1", "owner": "Operations", "anchor": anchor},
                        {"tag": "twin-2", "owner": "Operations", "anchor": anchor}])
    assert "line 2" in refusal.value.text
    assert "twin-1" not in assets(gw)


def test_an_import_never_frees_a_stolen_asset_and_never_revives_a_tombstone(gw, acme):
    device, gone = acme.idevid(), acme.idevid()
    gw.own(device, gone)
    gw.set_state(device, "stolen")
    gw.set_state(gone, "decommissioned")
    for row in (gw.row(device, state="deployed"), gw.row(gone, state="staged")):
        with pytest.raises(Refused):
            gw.import_rows([row])
    # the same serial number under a new tag is the same device
    with pytest.raises(Refused) as refusal:
        gw.import_rows([gw.row(gone, tag="phoenix", anchor=[])])
    assert gone.tag in refusal.value.text
    assert gw.ctl("asset", "show", device.tag)["state"] == "stolen"
    assert gw.ctl("asset", "show", gone.tag)["state"] == "decommissioned"


def test_a_large_import_is_quick(gw):
    rows = [{"tag": "bulk-%05d" % i, "owner": "Bulk", "manufacturer": "acme", "serial": "B%05d" % i,
             "anchor": ["idevid_serial:acme:B%05d" % i]} for i in range(5000)]
    assert gw.import_rows(rows)["added"] == 5000
    assert len(gw.ctl("asset", "list", "--owner", "Bulk")) == 5000
    assert len(gw.ctl("asset", "list", "--owner", "Bulk", "--limit", "10")) == 10


# ---- states

ENROLLS = {"ordered": False, "shipped": False, "in_stock": False, "staged": True, "deployed": True, "repair": False,
           "quarantined": False, "lost": False, "stolen": False, "decommissioned": False,
           "disposed": False}


@pytest.mark.parametrize("state", list(ENROLLS))
def test_a_state_says_whether_a_new_certificate_is_given(gw, acme, state):
    device = gw.own(acme.idevid(), state=state)
    answer = est.enroll(gw, csr(), device)
    assert answer.status == (200 if ENROLLS[state] else 403)
    if not ENROLLS[state]:
        assert reason(gw, device) == "asset.state"
        assert gw.audit("enroll.denied", device.tag)[-1]["detail"].get("alert") == \
            (1 if state in ("lost", "stolen") else None)
    staging = est.enroll(gw, csr(), device, label="staging")
    assert staging.status == (200 if ENROLLS[state] or state == "in_stock" else 403)


@pytest.mark.parametrize("state,renews,status", [
    ("repair", True, "valid"), ("quarantined", False, "held"),
    ("lost", False, "revoked"), ("stolen", False, "revoked"), ("decommissioned", False, "revoked")])
def test_a_state_says_what_becomes_of_certificates(gw, device, owned, state, renews, status):
    out = gw.set_state(device, state, "because")
    assert out["revoked"] == (0 if status == "valid" else 1)
    assert [row["status"] for row in gw.certs(device.tag)] == [status]
    answer = est.reenroll(gw, csr(), owned)
    assert answer.status == (200 if renews else 403)
    row = gw.audit("asset.state", device.tag)[-1]
    assert row["actor"].startswith("operator:") and row["detail"]["reason"] == "because"
    assert "because" in json.dumps(row["detail"])


def test_a_decommissioned_device_gets_nothing_by_any_way(gw, device, owned):
    secret = gw.secret(device.tag, "--static")
    gw.set_state(device, "decommissioned")
    assert est.enroll(gw, csr(), device).status == 403
    assert est.enroll(gw, csr(), owned).status == 403
    assert est.reenroll(gw, csr(), owned).status == 403
    assert est.enroll(gw, csr(), user=device.tag, secret=secret).status == 403
    assert est.post(gw, "serverkeygen", csr(), device).status == 403
    assert [row["status"] for row in gw.certs(device.tag)] == ["revoked"]
    with pytest.raises(Refused):
        gw.set_state(device, "deployed")


def test_a_quarantine_that_ends_gives_the_certificates_back(gw, device, owned):
    gw.set_state(device, "quarantined")
    assert est.reenroll(gw, csr(), owned).status == 403
    gw.set_state(device, "deployed")
    assert [row["status"] for row in gw.certs(device.tag)] == ["valid"]
    assert est.reenroll(gw, csr(), owned).status == 200


def test_a_stolen_device_that_comes_back_is_looked_at_first(gw, device):
    gw.set_state(device, "stolen")
    with pytest.raises(Refused) as refusal:
        gw.set_state(device, "deployed")
    assert refusal.value.code == 4, "a second operator looks, too"
    with pytest.raises(Refused) as refusal:
        gw.set_state(device, "in_stock")
    assert refusal.value.code == 1 and "quarantined" in refusal.value.text
    assert gw.ctl("asset", "show", device.tag)["state"] == "stolen"
    assert est.enroll(gw, csr(), device).status == 403


def test_a_lost_answer_of_a_device_that_was_stolen_meanwhile_is_not_repeated(gw, device):
    request = csr()
    assert est.enroll(gw, request, device).status == 200
    gw.set_state(device, "stolen")
    assert est.enroll(gw, request, device).status == 403


# ---- owners

def test_an_owner_decides_over_its_assets(gw, acme, tmp_path):
    key = pki.ec_key()
    device = gw.own(acme.idevid(), owner="Tenant")
    mine = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)
    for status, enrolls, renews in (("suspended", 403, 403), ("offboarding", 403, 200), ("offboarded", 403, 403),
                                    ("active", 200, 200)):
        if status == "offboarding":
            gw.ctl("owner", "offboard", "Tenant", "--reason", "notice")
        else:
            gw.ctl("owner", "put", "Tenant", "--status", status, "--kind", "customer")
        assert est.enroll(gw, csr(), device).status == enrolls, status
        if enrolls == 403:
            assert reason(gw, device) == "owner.status"
        assert est.reenroll(gw, csr(), mine).status == renews, status


def test_no_certificate_outlives_the_owners_contract(gw, acme):
    end = pki.ahead(days=10)
    gw.ctl("owner", "put", "Leaser", "--contract-end", end.strftime("%Y-%m-%dT%H:%M:%SZ"))
    device = gw.own(acme.idevid(), owner="Leaser")
    cert = est.enroll(gw, csr(), device).cert()
    assert cert.not_valid_after == end
    gw.ctl("owner", "put", "Leaser", "--contract-end", pki.ago(days=1).strftime("%Y-%m-%d"))
    assert est.enroll(gw, csr(), device).status == 403
    assert reason(gw, device) == "owner.contract"


def test_a_certificate_is_renewed_only_in_its_window(gw, device, tmp_path):
    key = pki.ec_key()
    mine = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device, label="later").cert(), key)
    assert est.reenroll(gw, csr(), mine, label="later").status == 403
    assert reason(gw, device) == "renewal.window"


# ---- approvals

def pending(gw, device, request):
    assert est.enroll(gw, request, device, label="guarded").status == 202
    rows = gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")
    assert len(rows) == 1
    return rows[0]["id"]


def test_an_approved_request_gets_its_certificate_when_it_comes_again(gw, device):
    key = pki.ec_key()
    request = pki.csr(key)
    number = pending(gw, device, request)
    assert gw.certs(device.tag) == []
    gw.ctl("request", "approve", number, "--reason", "seen on site")
    cert = est.enroll(gw, request, device, label="guarded").cert()
    assert pki.spki(cert.public_key()) == pki.spki(key)
    shown = gw.ctl("request", "show", number)
    assert shown["state"] == "issued" and shown["decided_by"].startswith("operator:")
    assert gw.audit("request.approved", device.tag)[-1]["detail"]["reason"] == "seen on site"
    assert est.enroll(gw, csr(), device, label="guarded").status == 202, "another request is another decision"


def test_a_denied_request_stays_refused(gw, device):
    request = csr()
    number = pending(gw, device, request)
    with pytest.raises(Refused):
        gw.ctl("request", "deny", number)  # a refusal needs a reason
    gw.ctl("request", "deny", number, "--reason", "not ours")
    for _ in range(2):
        assert est.enroll(gw, request, device, label="guarded").status == 403
    assert gw.ctl("request", "show", number)["state"] == "refused"
    with pytest.raises(Refused):
        gw.ctl("request", "approve", number)
    assert gw.certs(device.tag) == []


def test_an_approval_does_not_outlive_the_assets_state(gw, device):
    request = csr()
    gw.ctl("request", "approve", pending(gw, device, request))
    gw.set_state(device, "stolen")
    assert est.enroll(gw, request, device, label="guarded").status == 403
    assert gw.certs(device.tag) == []


def test_pending_requests_and_approvals_survive_a_restart(new_gateway, acme):
    gateway = new_gateway()
    gateway.add_label("guarded", approval="manual")
    gateway.start()
    waiting, approved = acme.idevid(), acme.idevid()
    gateway.own(waiting, approved)
    requests = {device.tag: csr() for device in (waiting, approved)}
    numbers = {device.tag: pending(gateway, device, requests[device.tag]) for device in (waiting, approved)}
    gateway.ctl("request", "approve", numbers[approved.tag])
    gateway.restart()
    assert est.enroll(gateway, requests[waiting.tag], waiting, label="guarded").status == 202
    assert est.enroll(gateway, requests[approved.tag], approved, label="guarded").status == 200
    gateway.ctl("request", "approve", numbers[waiting.tag])
    gateway.kill()
    gateway.start()
    assert est.enroll(gateway, requests[waiting.tag], waiting, label="guarded").status == 200


# ---- explanations

RULES = ["label.operation", "proof.present", "proof.allowed", "proof.revoked", "proof.expired", "registrar.state",
         "asset.known", "asset.unique", "identity.clone", "asset.state", "asset.class", "owner.status", "owner.contract",
         "owner.quota", "policy.rules", "attestation.present", "attestation.valid", "attestation.fresh",
         "attestation.key", "attestation.identity", "renewal.proof", "renewal.window", "csr.key", "csr.weak", "csr.reuse",
         "csr.extensions", "csr.names", "csr.binding", "request.transaction", "profile.fill", "renewal.identity",
         "approval"]


def test_a_stored_decision_shows_every_rule(gw, device):
    assert est.enroll(gw, csr(), device).status == 200
    number = gw.ctl("request", "list", "--asset", device.tag)[0]["id"]
    decision = gw.ctl("explain", number)["decisions"][0]
    assert [rule[0] for rule in decision["rules"]] == RULES
    assert {rule[1] for rule in decision["rules"]} == {"pass", "skip"}
    assert (decision["outcome"], decision["reason"]) == ("issued", "ok")
    assert decision["asset_version"] >= 1 and len(decision["policy_version"]) == 64
    text = gw.ctl("explain", number, json_out=False)
    for rule in RULES:
        assert rule in text


def test_a_refused_decision_is_stored_with_what_it_saw(gw, device):
    gw.set_state(device, "quarantined")
    assert est.enroll(gw, csr(), device).status == 403
    number = gw.ctl("request", "list", "--asset", device.tag, "--state", "denied")[0]["id"]
    rules = {rule[0]: rule[1:] for rule in gw.ctl("explain", number)["decisions"][0]["rules"]}
    assert rules["asset.state"] == ["fail", "state=quarantined"]
    assert rules["csr.key"] == ["pass", "key=EC P-256"]


def test_a_request_can_be_tried_without_issuing(gw, device, tmp_path):
    path = tmp_path / "try.csr"
    path.write_bytes(csr())
    audit = len(gw.audit())
    trial = gw.ctl("explain", "--asset", device.tag, "--csr", path)["trial"]
    assert trial["outcome"] == "allowed"
    trial = gw.ctl("explain", "--asset", device.tag, "--csr", path, "--label", "guarded")["trial"]
    assert trial["outcome"] == "pending"
    gw.set_state(device, "lost")
    trial = gw.ctl("explain", "--asset", device.tag, "--csr", path, "--proof", "secret")["trial"]
    assert (trial["outcome"], trial["reason"]) == ("denied", "asset.state")
    path.write_bytes(b"nonsense")
    with pytest.raises(Refused):
        gw.ctl("explain", "--asset", device.tag, "--csr", path)
    assert gw.certs(device.tag) == [] and gw.ctl("request", "list", "--asset", device.tag) == []
    assert len(gw.audit()) == audit + 1, "only the change of state"


def test_a_renewal_can_be_tried(gw, device, owned, tmp_path):
    path = tmp_path / "renew.csr"
    path.write_bytes(csr())
    trial = gw.ctl("explain", "--asset", device.tag, "--csr", path, "--op", "renew")["trial"]
    assert trial["outcome"] == "allowed", trial
    fresh = gw.ctl("explain", "--asset", device.tag, "--csr", path, "--op", "renew", "--label", "later")["trial"]
    assert fresh["reason"] == "renewal.window"


def test_the_inventory_tells_until_when_a_certificate_holds(gw, device, owned):
    row = gw.ctl("asset", "list", "--tag", device.tag)[0]
    assert row["certs_valid"] == 1
    assert row["next_expiry"] == owned.cert.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    soon = (pki.now() + datetime.timedelta(days=91)).strftime("%Y-%m-%d")
    assert gw.ctl("cert", "list", "--asset", device.tag, "--expires-before", soon)
    assert gw.ctl("cert", "list", "--asset", device.tag, "--expires-before", pki.now().strftime("%Y-%m-%d")) == []


def test_the_audit_verifies_after_all_this(gw):
    report = gw.ctl("audit", "verify")
    assert report["rows"] == len(gw.audit()) > 50
