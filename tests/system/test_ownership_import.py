"""What an import does to devices that are known already: nothing that one operator could not do alone."""
import pytest

import est
import pki
from gateway import Refused
from operators import SECOND, Operators


@pytest.fixture(scope="module")
def ops(module_gateway):
    gateway = module_gateway()
    gateway.settings["rules"] = [{"name": "not-tier-3", "action": "deny", "tiers": [3]},
                                 {"name": "everybody-else", "action": "allow"}]
    gateway.add_label("manual", approval="manual")
    operators = Operators(gateway)
    gateway.start()
    yield operators
    operators.close()


@pytest.fixture(scope="module")
def gw(ops):
    for owner in ("Seller", "Buyer"):
        ops.ctl("root", "owner", "put", owner)
    return ops.gateway


@pytest.fixture
def device(gw, acme):
    return gw.own(acme.idevid(), owner="Seller")


def csr():
    return pki.csr(pki.ec_key(), "")


def move(ops, name, device, owner):
    """A file that gives the device to this owner, and what is said of it."""
    path = ops.file(name, "tag,owner\n%s,%s\n" % (device.tag, owner))
    return path, ops.ctl("root", "import", path, code=4)


def test_an_import_that_gives_a_device_to_another_owner_waits_for_a_second_operator(ops, gw, device):
    path, waits = move(ops, "move.csv", device, "Buyer")
    assert waits["waits"] and gw.ctl("asset", "show", device.tag)["owner"] == "Seller"
    assert "1 records, 1 moved" in gw.ctl("approval", "show", waits["approval"])["detail"]
    with pytest.raises(Refused):
        gw.ctl("approval", "give", waits["approval"])
    ops.ctl(SECOND, "approval", "give", waits["approval"])
    assert gw.ctl("import", path)["updated"] == 1
    assert gw.ctl("asset", "show", device.tag)["owner"] == "Buyer"
    assert gw.ctl("import", path)["unchanged"] == 1, "what moves nothing waits for nobody"
    assert gw.ctl("import", ops.file("new.csv", "tag,owner\n%s-new,Buyer\n" % device.tag))["added"] == 1


def test_an_import_of_another_owner_ends_what_the_old_one_had(ops, gw, device):
    secret, waiting = gw.secret(device.tag, "--static"), csr()
    assert est.enroll(gw, csr(), device).status == 200
    assert est.enroll(gw, waiting, label="manual", user=device.tag, secret=secret).status == 202
    request = gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"]
    gw.ctl("request", "approve", request)
    asked = gw.ctl("exception", "request", "--asset", device.tag, "--waive", "rules", "--reason", "r", "--ticket", "T-1")
    ops.ctl(SECOND, "approval", "give", asked["approval"])

    path, waits = move(ops, "ends.csv", device, "Buyer")
    ops.ctl(SECOND, "approval", "give", waits["approval"])
    gw.ctl("import", path)
    assert est.enroll(gw, waiting, label="manual", user=device.tag, secret=secret).status == 401
    assert gw.ctl("request", "list", "--asset", device.tag, "--state", "denied")[0]["id"] == request
    assert gw.ctl("exception", "list", "--asset", device.tag)[0]["state"] == "revoked"
    detail = gw.audit("asset.import", device.tag)[-1]["detail"]
    assert (detail["old_owner"], detail["new_owner"]) == ("Seller", "Buyer")
    assert (detail["secrets_ended"], detail["requests_denied"], detail["exceptions_ended"]) == (1, 1, 1)
    assert [row["status"] for row in gw.certs(device.tag)] == ["valid"], "the device is the same: its certificates stay"


def test_a_line_that_says_nothing_of_the_tier_leaves_it(gw, acme):
    device = acme.idevid()
    known = {"tier": 3, "class": "router", "site": "vault", "holding": "leased"}
    gw.own(device, owner="Seller", **known)
    assert est.enroll(gw, csr(), device).status == 403
    gw.import_csv(["tag", "owner"], [[device.tag, "Seller"]])
    gw.import_rows([{"tag": device.tag, "owner": "Seller", "hostname": "new.example.net", "tier": None}])
    shown = gw.ctl("asset", "show", device.tag)
    assert {key: shown[key] for key in known} == known and shown["serial"] == device.serial
    assert est.enroll(gw, csr(), device).status == 403
    assert gw.audit("asset.import", device.tag) == []
    gw.import_csv(["tag", "owner", "tier", "class"], [[device.tag, "Seller", "1", ""]])
    detail = gw.audit("asset.import", device.tag)[-1]["detail"]
    assert (detail["tier"], detail["tier_was"], detail["class"], detail["class_was"]) == (1, 3, "", "router")
    assert "site" not in detail
    assert est.enroll(gw, csr(), device).status == 200


def test_an_unknown_owner_is_told_with_the_option_that_adds_it(gw):
    text = gw.import_csv(["tag", "owner"], [["x-1", "Stranger"]], code=1)
    assert "no owner Stranger" in text and "--create-owners" in text
