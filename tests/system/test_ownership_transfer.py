"""Ownership moves: offers and acceptances, stolen devices that come back, exceptions on other operators' word."""
import pytest

import est
import pki
from gateway import Refused
from operators import SECOND, THIRD, Operators


@pytest.fixture(scope="module")
def ops(module_gateway):
    gateway = module_gateway()
    gateway.settings["rules"] = [{"name": "no-old-models", "action": "deny", "models": ["Old*"]},
                                 {"name": "everybody-else", "action": "allow"}]
    operators = Operators(gateway)
    gateway.start()
    yield operators
    operators.close()


@pytest.fixture(scope="module")
def gw(ops):
    ops.ctl("root", "owner", "put", "Buyer", "--kind", "customer", "--operators", SECOND)
    return ops.gateway


def csr():
    return pki.csr(pki.ec_key(), "")


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


@pytest.fixture
def device(gw, acme):
    return gw.own(acme.idevid(), owner="Seller")


@pytest.fixture
def owned(gw, device, tmp_path):
    key = pki.ec_key()
    return device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)



def offer(gw, device, *options):
    return gw.ctl("transfer", "offer", device.tag, "--to", "Buyer", "--reason", "sold", *options)


def state(gw, device):
    return gw.ctl("asset", "show", device.tag)["state"]


# ---- transfers

def test_only_an_offer_brings_a_device_into_a_transfer(gw, acme, device):
    with pytest.raises(Refused) as refusal:
        gw.set_state(device, "transfer_pending")
    assert "transfer offer" in refusal.value.text and state(gw, device) == "staged"
    for row in (gw.row(device, owner="Seller", state="transfer_pending"),
                gw.row(acme.idevid(), owner="Seller", state="transfer_pending")):
        with pytest.raises(Refused) as refusal:
            gw.import_rows([row])
        assert "transfer offer" in refusal.value.text


@pytest.mark.parametrize("before,renews", [("staged", 200), ("deployed", 200), ("in_stock", 403)])
def test_an_offered_device_renews_when_it_did_before(gw, device, owned, before, renews):
    if before != "staged":
        gw.set_state(device, before)
    offer(gw, device)
    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "asset.state"
    assert est.reenroll(gw, csr(), owned).status == renews
    if renews == 403:
        assert reason(gw, device) == "asset.state"


def test_a_transfer_takes_two_and_ends_what_the_old_owner_had(ops, gw, device, owned):
    secret = gw.secret(device.tag, "--static")
    number = offer(gw, device)["id"]
    assert state(gw, device) == "transfer_pending"
    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "asset.state"
    held = gw.certs(device.tag)[0]
    assert held["status"] == "valid", "the old owner's, until the new one accepts"
    assert est.reenroll(gw, csr(), owned).status == 200

    with pytest.raises(Refused) as refusal:
        gw.ctl("transfer", "accept", number)
    assert "does not accept it too" in refusal.value.text
    with pytest.raises(Refused) as refusal:
        ops.ctl(THIRD, "transfer", "accept", number)
    assert "may not decide for owner Buyer" in refusal.value.text
    assert state(gw, device) == "transfer_pending"

    done = ops.ctl(SECOND, "transfer", "accept", number, "--reason", "received")
    assert (done["state"], done["decided_by"]) == ("accepted", "operator:" + SECOND)
    row = gw.audit("transfer.accepted", device.tag)[-1]
    assert row["actor"] == "operator:" + SECOND and row["detail"]["revoked"] >= 1 and row["detail"]["to"] == "Buyer"
    assert gw.audit("transfer.offered", device.tag)[-1]["actor"] == "operator:root"

    assert est.reenroll(gw, csr(), owned).status == 403
    assert reason(gw, device) == "proof.revoked"
    assert est.enroll(gw, csr(), user=device.tag, secret=secret).status == 401, "its secrets have ended too"
    cert = est.enroll(gw, csr(), device).cert()
    assert cert.subject.get_attributes_for_oid(pki.NameOID.ORGANIZATION_NAME)[0].value == "Buyer"


@pytest.mark.parametrize("who,word,what", [(SECOND, "decline", "declined"), ("root", "cancel", "cancelled")])
def test_an_offer_that_comes_to_nothing_leaves_everything_as_it_was(ops, gw, device, owned, who, word, what):
    gw.set_state(device, "deployed")
    number = offer(gw, device)["id"]
    assert ops.ctl(who, "transfer", word, number)["state"] == what
    asset = gw.ctl("asset", "show", device.tag)
    assert (asset["state"], asset["owner"]) == ("deployed", "Seller")
    assert gw.certs(device.tag)[0]["status"] == "valid"
    assert gw.audit("transfer." + what, device.tag)
    assert est.enroll(gw, csr(), device).status == 200
    with pytest.raises(Refused):
        ops.ctl(SECOND, "transfer", "accept", number)


def test_an_offer_nobody_takes_in_time_goes_back(gw, device):
    number = offer(gw, device, "--expires", "1s")["id"]
    for _ in range(1000):
        if not gw.ctl("transfer", "list", "--asset", device.tag, "--open"):
            break
    with pytest.raises(Refused) as refusal:
        gw.ctl("transfer", "accept", number)
    assert refusal.value.code == 1
    gw.restart()  # what time has ended is looked for at the start, too
    assert state(gw, device) == "staged"
    row = gw.audit("transfer.expired", device.tag)[-1]
    assert row["actor"] == "enrolld" and row["detail"]["transfer"] == number


def test_transfers_are_listed_for_people(gw, device):
    number = offer(gw, device)["id"]
    text = gw.ctl("transfer", "list", "--asset", device.tag, json_out=False)
    assert "Seller" in text and "Buyer" in text and "offered" in text
    row = gw.ctl("transfer", "list", "--asset", device.tag, "--open")[0]
    assert (row["id"], row["from"], row["to"], row["was"]) == (number, "Seller", "Buyer", "staged")
    gw.ctl("transfer", "cancel", number)
    assert gw.ctl("transfer", "list", "--asset", device.tag, "--open") == []


def test_an_offer_says_what_the_other_side_types(gw, device):
    text = gw.ctl("transfer", "offer", device.tag, "--to", "Buyer", json_out=False)
    number = gw.ctl("transfer", "list", "--asset", device.tag)[0]["id"]
    assert "enrollctl transfer accept %d" % number in text


# ---- four eyes

def test_a_stolen_device_comes_back_when_two_operators_say_so(ops, gw, device, owned):
    gw.set_state(device, "stolen")
    text = ops.ctl("root", "asset", "set-state", device.tag, "deployed", "--reason", "police found it", code=4,
                   json_out=False)
    number = [row for row in gw.ctl("approval", "list", "--open") if row["subject"] == device.tag][0]["id"]
    assert "enrollctl approval give %d" % number in text
    assert state(gw, device) == "stolen" and est.enroll(gw, csr(), device).status == 403

    shown = gw.ctl("approval", "show", number)
    assert (shown["kind"], shown["detail"], shown["state"]) == ("asset.state", "stolen -> deployed", "waiting")
    with pytest.raises(Refused) as refusal:
        gw.ctl("approval", "give", number)
    assert "another operator" in refusal.value.text
    with pytest.raises(Refused) as refusal:
        gw.ctl("asset", "set-state", device.tag, "deployed", "--reason", "again")
    assert "approval %d waits" % number in refusal.value.text

    assert ops.ctl(SECOND, "approval", "give", number, "--reason", "seen it")["state"] == "used"
    assert state(gw, device) == "deployed"
    row = gw.audit("asset.state", device.tag)[-1]
    assert (row["actor"], row["detail"]["requested_by"]) == ("operator:" + SECOND, "operator:root")
    assert row["detail"]["reason"] == "police found it"
    assert est.enroll(gw, csr(), device).status == 200
    assert est.reenroll(gw, csr(), owned).status == 403, "what was revoked stays so"


def test_a_refused_approval_moves_nothing(ops, gw, device):
    gw.set_state(device, "stolen")
    waits = ops.ctl("root", "asset", "set-state", device.tag, "quarantined", "--reason", "found", code=4)
    with pytest.raises(Refused):
        ops.ctl(SECOND, "approval", "refuse", waits["approval"])
    assert ops.ctl(SECOND, "approval", "refuse", waits["approval"], "--reason", "not seen")["state"] == "refused"
    assert state(gw, device) == "stolen"
    assert gw.audit("approval.refused", device.tag)[-1]["detail"]["reason"] == "not seen"
    with pytest.raises(Refused):
        ops.ctl(SECOND, "approval", "give", waits["approval"])


def test_an_approval_of_the_first_theft_is_none_of_the_second(ops, gw, device):
    gw.set_state(device, "stolen")
    asked = [ops.ctl("root", "asset", "set-state", device.tag, to, "--reason", "found", code=4)["approval"]
             for to in ("deployed", "quarantined")]
    ops.ctl(SECOND, "approval", "give", asked[1])
    gw.set_state(device, "deployed")
    gw.set_state(device, "stolen", "again")
    with pytest.raises(Refused) as refusal:
        ops.ctl(SECOND, "approval", "give", asked[0])
    assert "is refused" in refusal.value.text and state(gw, device) == "stolen"


# ---- exceptions

def ask_exception(gw, *scope):
    return gw.ctl("exception", "request", *scope, "--waive", "rules", "--reason", "spare part", "--ticket", "T-17")


def test_an_exception_waives_a_rule_for_one_certificate_once_another_operator_agrees(ops, gw, acme):
    device = gw.own(acme.idevid(), owner="Seller", model="Old 1")
    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "policy.rules"
    asked = ask_exception(gw, "--asset", device.tag)
    assert asked["needed"] == 1
    assert est.enroll(gw, csr(), device).status == 403, "nobody has agreed yet"
    with pytest.raises(Refused):
        gw.ctl("approval", "give", asked["approval"])
    ops.ctl(SECOND, "approval", "give", asked["approval"])
    row = gw.ctl("exception", "list", "--asset", device.tag)[0]
    assert (row["state"], row["approved_by"], row["uses"]) == ("active", "operator:" + SECOND, 0)

    assert est.enroll(gw, csr(), device).status == 200
    assert gw.ctl("exception", "list", "--asset", device.tag)[0]["uses"] == 1
    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "policy.rules"
    decisions = gw.ctl("explain", gw.ctl("request", "list", "--asset", device.tag, "--state", "issued")[0]["id"])["decisions"]
    assert any("T-17" in rule[2] for rule in decisions[0]["rules"]), "a decision says what waived it"


def test_a_tier_3_exception_needs_two_others(ops, gw, acme):
    device = gw.own(acme.idevid(), owner="Seller", model="Old 3", tier=3)
    text = gw.ctl("exception", "request", "--asset", device.tag, "--waive", "rules,quota", "--reason", "spare part",
                  "--ticket", "T-18", json_out=False)
    number = [row for row in gw.ctl("approval", "list", "--open") if device.tag in row["detail"]][0]["id"]
    assert "Two other operators, each: enrollctl approval give %d" % number in text
    assert ops.ctl(SECOND, "approval", "give", number)["state"] == "waiting"
    assert est.enroll(gw, csr(), device).status == 403
    with pytest.raises(Refused):
        ops.ctl(SECOND, "approval", "give", number)
    assert ops.ctl(THIRD, "approval", "give", number)["state"] == "used"
    assert gw.ctl("exception", "list", "--asset", device.tag)[0]["approved_by"] == \
        "operator:%s, operator:%s" % (SECOND, THIRD)
    assert est.enroll(gw, csr(), device).status == 200


def test_one_word_is_not_enough_for_a_device_that_is_of_tier_3_since(ops, gw, acme):
    device, other = [gw.own(acme.idevid(), owner="Riser", model="Old 4") for _ in range(2)]
    for scope in (("--asset", device.tag), ("--owner", "Riser")):
        asked = gw.ctl("exception", "request", *scope, "--waive", "rules", "--reason", "r", "--ticket", "T-19", "--uses", "9")
        assert asked["needed"] == 1
        ops.ctl(SECOND, "approval", "give", asked["approval"])
    assert est.enroll(gw, csr(), device).status == 200
    gw.own(device, owner="Riser", model="Old 4", tier=3)
    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "policy.rules"
    new = gw.own(acme.idevid(), owner="Riser", model="Old 4", tier=3)
    assert est.enroll(gw, csr(), new).status == 403
    assert est.enroll(gw, csr(), other).status == 200, "it is of no higher tier"


def test_a_revoked_exception_waives_nothing(ops, gw, acme):
    device = gw.own(acme.idevid(), owner="Seller", model="Old 2")
    asked = ask_exception(gw, "--asset", device.tag)
    ops.ctl(SECOND, "approval", "give", asked["approval"])
    with pytest.raises(Refused):
        gw.ctl("exception", "revoke", asked["id"])
    assert gw.ctl("exception", "revoke", asked["id"], "--reason", "part came")["state"] == "revoked"
    assert est.enroll(gw, csr(), device).status == 403
    assert gw.audit("exception.revoked", device.tag)


@pytest.mark.parametrize("words,complaint", [
    ("--waive rules --reason r --ticket t", "--asset TAG or --owner NAME"),
    ("--asset x --owner y --waive rules --reason r --ticket t", "--asset TAG or --owner NAME"),
    ("--owner Seller --waive state --reason r --ticket t", '"state" cannot be waived'),
    ("--owner Seller --waive rules --reason r", '"ticket" is missing'),
    ("--owner Seller --waive rules --ticket t", '"reason" is missing'),
    ("--owner Seller --waive rules --reason r --ticket t --label nowhere", 'no label "nowhere"'),
    ("--owner Seller --waive rules --reason r --ticket t --expires soon", "expires"),
    ("--owner Seller --waive rules --reason r --ticket t --uses 0", "1 to 1000 uses"),
    ("--owner Nobody --waive rules --reason r --ticket t", "Nobody"),
])
def test_an_exception_that_says_too_little_is_refused(gw, words, complaint):
    with pytest.raises(Refused) as refusal:
        gw.ctl("exception", "request", *words.split())
    assert refusal.value.code == 1 and complaint in refusal.value.text


# ---- keys

def test_a_device_with_another_board_is_let_in_when_its_key_is_forgotten(gw, acme, tmp_path):
    device = gw.own(acme.idevid(), owner="Seller")
    assert est.enroll(gw, csr(), device).status == 200
    again = acme.idevid(serial=device.serial)
    assert est.enroll(gw, csr(), again).status == 403 and reason(gw, device) == "identity.clone"
    assert state(gw, device) == "quarantined"
    with pytest.raises(Refused):
        gw.ctl("asset", "forget-key", device.tag)
    gw.ctl("asset", "forget-key", device.tag, "--reason", "board replaced, RMA 12")
    gw.set_state(device, "staged")
    assert est.enroll(gw, csr(), again).status == 200
    assert "RMA 12" in str(gw.audit("anchor.key_forgotten", device.tag)[-1]["detail"])
