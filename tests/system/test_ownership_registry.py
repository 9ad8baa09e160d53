"""Owners that leave, quotas, large imports, and other systems' exports."""
import datetime
import time

import pytest

import est
import pki
from gateway import Refused
from operators import SECOND, Operators

NETBOX = """"Name","Status","Tenant","Site","Rack","Role","Manufacturer","Type","Serial number","Asset tag","IP Address","ID"
"core-sw-01","Active","Operations","stockholm","A01","Core switch","acme","X1","{0}","AT-1","10.0.0.1/24","17"
"spare-sw-02","Inventory","","stockholm","","Core switch","acme","X1","{1}","","","18"
"""
INTUNE = """Device ID,Device name,Enrollment date,Azure AD Device ID,OS version,Serial number,Manufacturer,Model,IMEI,Ownership,OS
7b1f0bd6-0b44-4c62-9d2c-2f37b3c1f001,LAPTOP-1,2026-01-02,0f8fad5b-d9cb-469f-a165-70867728950e,10.0,PF-{0},LENOVO,T14,,Corporate,Windows
7b1f0bd6-0b44-4c62-9d2c-2f37b3c1f002,PHONE-1,2026-01-03,7c9e6679-7425-40de-944b-e07fc1f90ae7,17.1,C39-{1},Apple,iPhone,490154203237518,Personal,iOS
"""
SERVICENOW = """name,asset_tag,serial_number,manufacturer,model_id,install_status,company,assigned_to,location,sys_id
rtr-sn-1,SN-{0},{0},acme,X1,Installed,Operations,Ann,Hall 1,9d385017c611228701d22104cc95c371
rtr-sn-2,SN-{1},{1},acme,X1,Stolen,,Bob,Hall 2,9d385017c611228701d22104cc95c372
"""


@pytest.fixture(scope="module")
def ops(module_gateway):
    gateway = module_gateway()
    gateway.settings["registry"] = {"import_large": 4, "offboard_lifetime": "2d"}
    operators = Operators(gateway)
    gateway.start()
    yield operators
    operators.close()


@pytest.fixture(scope="module")
def gw(ops):
    ops.ctl("root", "owner", "put", "Operations")
    return ops.gateway


def csr():
    return pki.csr(pki.ec_key(), "")


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def enrolled(gw, acme, tmp_path, owner):
    device, key = gw.own(acme.idevid(), owner=owner), pki.ec_key()
    return device, device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)


# ---- an owner leaves

def test_an_owner_that_leaves_renews_shortly_and_then_has_nothing(gw, acme, tmp_path):
    device, held = enrolled(gw, acme, tmp_path, "Leaver")
    other, _ = enrolled(gw, acme, tmp_path, "Stayer")
    report = gw.ctl("owner", "offboard", "Leaver", "--grace", "30d", "--reason", "contract ended")
    assert (report["status"], report["assets"], report["certificates_valid"], report["revokes"]) == ("offboarding", 1, 1, 1)
    assert report["revokes_at"] == report["leaves"] and report["by_state"] == {"staged": 1}
    assert gw.audit("owner.offboarding", "Leaver")[-1]["detail"]["reason"] == "contract ended"

    assert est.enroll(gw, csr(), device).status == 403 and reason(gw, device) == "owner.status"
    cert = est.reenroll(gw, csr(), held).cert()
    assert cert.not_valid_after < datetime.datetime.utcnow() + datetime.timedelta(days=2, minutes=5)

    text = gw.ctl("owner", "report", "Leaver", json_out=False)
    assert "It leaves: at %s" % report["revokes_at"] in text and "certificates, 2 now, are revoked" in text

    before = gw.metrics()["enrolld_offboarded_owners_total"]
    report = gw.ctl("owner", "offboard", "Leaver", "--grace", "0s", "--reason", "at once")
    assert (report["status"], report["certificates_valid"]) == ("offboarded", 0)
    assert gw.metrics()["enrolld_offboarded_owners_total"] == before + 1
    assert {row["status"] for row in gw.certs(device.tag)} == {"revoked"}
    assert "offboarded" in {row["revoke_reason"] for row in gw.certs(device.tag)}
    row = gw.audit("owner.offboarded", "Leaver")[-1]
    assert row["actor"] == "enrolld" and row["detail"] == {"assets": 1, "revoked": 2}
    assert est.enroll(gw, csr(), device).status == 403
    assert gw.certs(other.tag)[0]["status"] == "valid" and est.enroll(gw, csr(), other).status == 200
    assert "It has left" in gw.ctl("owner", "report", "Leaver", json_out=False)


def test_a_grace_that_ends_is_found_at_the_start(gw, acme, tmp_path):
    device, _ = enrolled(gw, acme, tmp_path, "Sleeper")
    gw.ctl("owner", "offboard", "Sleeper", "--grace", "1s", "--reason", "gone")
    ends = time.time() + 1
    while time.time() < ends + 1:
        gw.ctl("status")
    gw.restart()
    assert gw.ctl("owner", "report", "Sleeper")["status"] == "offboarded"
    assert gw.certs(device.tag)[0]["revoke_reason"] == "offboarded"
    gw.wait_log("sweep owners_left=1 assets=1 revoked=1 transfers_expired=0")


@pytest.mark.parametrize("before", ["active", "suspended", "offboarded"])
def test_an_owner_does_not_leave_without_an_end(gw, acme, tmp_path, before):
    gw.ctl("owner", "put", "Lingering", "--status", before)
    with pytest.raises(Refused) as refusal:
        gw.ctl("owner", "put", "Lingering", "--status", "offboarding")
    assert "owner offboard" in refusal.value.text
    assert gw.ctl("owner", "report", "Lingering")["status"] == before


def test_an_owner_that_stays_after_all_enrolls_again(gw, acme, tmp_path):
    device, _ = enrolled(gw, acme, tmp_path, "Undecided")
    gw.ctl("owner", "offboard", "Undecided", "--reason", "notice")
    assert est.enroll(gw, csr(), device).status == 403
    assert gw.ctl("owner", "put", "Undecided", "--status", "active")["leaves"] is None
    assert est.enroll(gw, csr(), device).status == 200


@pytest.mark.parametrize("words", ["owner offboard Nobody --reason x", "owner offboard Stayer", "owner report Nobody",
                                   "owner offboard Stayer --reason x --grace soon"])
def test_leaving_wants_an_owner_a_reason_and_a_time(gw, words):
    gw.ctl("owner", "put", "Stayer")
    with pytest.raises(Refused) as refusal:
        gw.ctl(*words.split())
    assert refusal.value.code == 1


# ---- quotas

def test_a_full_quota_lets_no_other_device_in(gw, acme, tmp_path):
    first, _ = enrolled(gw, acme, tmp_path, "Small")
    second = gw.own(acme.idevid(), owner="Small")
    gw.ctl("quota", "set", "Small", "device", "1")
    assert gw.ctl("quota", "list", "--owner", "Small") == [{"owner": "Small", "profile": "device", "limit": 1, "used": 1}]
    assert est.enroll(gw, csr(), second).status == 403 and reason(gw, second) == "owner.quota"
    assert est.enroll(gw, csr(), first).status == 200, "who has a place keeps it"
    gw.ctl("cert", "list")
    gw.set_state(first, "decommissioned")
    assert est.enroll(gw, csr(), second).status == 200, "a place is free again"
    gw.ctl("quota", "set", "Small", "device", "none")
    assert gw.ctl("quota", "list", "--owner", "Small") == []


def test_a_lower_quota_stops_no_renewal(gw, acme, tmp_path):
    held = [enrolled(gw, acme, tmp_path, "Shrinking")[1] for _ in range(3)]
    gw.ctl("quota", "set", "Shrinking", "device", "3")
    gw.ctl("quota", "set", "Shrinking", "device", "1")
    assert [est.reenroll(gw, csr(), mine).status for mine in held] == [200, 200, 200]
    late = gw.own(acme.idevid(), owner="Shrinking")
    assert est.enroll(gw, csr(), late).status == 403 and reason(gw, late) == "owner.quota"


@pytest.mark.parametrize("words,complaint", [("Small nothing 5", 'no profile "nothing"; there are: device'),
                                             ("Small device many", '"many"'), ("Small device -1", "-1"),
                                             ("Nobody device 5", "Nobody"), ("Small device 99999999999", "99999999999")])
def test_a_quota_that_makes_no_sense_is_refused(gw, words, complaint):
    gw.ctl("owner", "put", "Small")
    with pytest.raises(Refused) as refusal:
        gw.ctl("quota", "set", *words.split())
    assert complaint in refusal.value.text


# ---- large imports

def test_a_large_import_waits_for_a_second_operator(ops, gw):
    text = "tag,owner\n" + "".join("large-%d,Operations\n" % i for i in range(5))
    path = ops.file("large.csv", text)
    waits = ops.ctl("root", "import", path, code=4)
    assert waits["waits"] and gw.ctl("asset", "list", "--tag", "large-1") == []
    shown = gw.ctl("approval", "show", waits["approval"])
    assert (shown["kind"], shown["needed"]) == ("import", 1) and "5 records" in shown["detail"]
    assert "enrollctl approval give %d" % waits["approval"] in ops.ctl("root", "import", path, code=4, json_out=False)
    with pytest.raises(Refused):
        gw.ctl("approval", "give", waits["approval"])
    ops.ctl(SECOND, "approval", "give", waits["approval"])

    other = ops.file("other.csv", text.replace("large-3", "large-9"))
    assert ops.ctl("root", "import", other, code=4)["approval"] != waits["approval"], "other records are another import"
    assert gw.ctl("import", path)["added"] == 5
    used = gw.audit("approval.used")[-1]
    assert used["detail"]["approval"] == waits["approval"] and gw.audit("import.waits")
    assert ops.ctl("root", "import", ops.file("again.csv", text.replace("large", "more")), code=4)["waits"]


def test_a_large_dry_run_needs_nobody(ops, gw):
    path = ops.file("dry.csv", "tag,owner\n" + "".join("dry-%d,Operations\n" % i for i in range(9)))
    assert ops.ctl("root", "import", path, "--dry-run")["added"] == 9


# ---- other systems' exports

def rows(gw, *tags):
    return [gw.ctl("asset", "show", tag) for tag in tags]


def test_a_netbox_export_enrolls_its_devices(ops, gw, acme):
    device, spare = acme.idevid(), acme.idevid()
    path = ops.file("netbox.csv", NETBOX.format(device.serial, spare.serial))
    options = ("--map", "netbox", "--issuer", "acme", "--owner", "Operations")
    dry = ops.ctl("root", "import", path, *options, "--dry-run")
    assert (dry["added"], dry["ignored_columns"], dry["ignored"]) == (2, 2, ["Rack", "IP Address"])
    assert gw.ctl("asset", "list", "--tag", "AT-1") == []
    text = ops.ctl("root", "import", path, *options, json_out=False)
    assert "2 added" in text and "2 columns were not read: Rack, IP Address" in text
    core, stock = rows(gw, "AT-1", "spare-sw-02")
    assert (core["state"], core["site"], core["class"], core["hostname"]) == ("deployed", "stockholm", "Core switch", "core-sw-01")
    assert (core["source"], core["source_key"], core["model"]) == ("netbox", "17", "X1")
    assert (stock["state"], stock["owner"]) == ("in_stock", "Operations")
    assert core["anchors"] == [{"type": "idevid_serial", "issuer": "acme", "value": device.serial}]
    assert est.enroll(gw, csr(), device).status == 200
    assert est.enroll(gw, csr(), spare).status == 403
    assert ops.ctl("root", "import", path, *options)["unchanged"] == 2


def test_an_intune_export_brings_ids_and_ownership(ops, gw, acme):
    one, two = acme.next_serial(), acme.next_serial()
    path = ops.file("intune.csv", INTUNE.format(one, two))
    with pytest.raises(Refused) as refusal:
        ops.ctl("root", "import", path, "--map", "intune")
    assert "line 2, column owner" in refusal.value.text and "--owner" in refusal.value.text
    assert ops.ctl("root", "import", path, "--map", "intune", "--owner", "Staff", "--issuer", "mdm",
                   "--create-owners")["added"] == 2
    laptop, phone = rows(gw, "PF-" + one, "C39-" + two)
    assert (laptop["holding"], laptop["manufacturer"], laptop["hostname"]) == ("corporate", "LENOVO", "LAPTOP-1")
    assert phone["holding"] == "personal" and phone["class"] == "iOS"
    assert {(a["type"], a["value"]) for a in phone["anchors"]} == {
        ("mdm_id", "7b1f0bd6-0b44-4c62-9d2c-2f37b3c1f002"), ("mdm_id", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("imei", "490154203237518")}


def test_a_servicenow_export_knows_what_is_stolen(ops, gw, acme):
    device, stolen = acme.idevid(), acme.idevid()
    path = ops.file("servicenow.csv", SERVICENOW.format(device.serial, stolen.serial))
    assert ops.ctl("root", "import", path, "--map", "servicenow", "--issuer", "acme", "--create-owners")["added"] == 2
    first, second = rows(gw, "SN-" + device.serial, "SN-" + stolen.serial)
    assert (first["state"], first["owner"], second["state"], second["owner"]) == ("deployed", "Operations", "stolen", "Bob")
    assert est.enroll(gw, csr(), device).status == 200
    assert est.enroll(gw, csr(), stolen).status == 403


def test_a_map_of_ones_own_is_a_file(ops, gw, acme):
    serial = acme.next_serial()
    chart = ops.file("ours.map", "# ours\nInventarnummer = tag\nGerät = model\nowner := Operations\nZustand = state\n"
                                 "state: aktiv = deployed\nstate: * = in_stock\nsite := Werk {Halle}\n")
    path = ops.file("ours.csv", "Inventarnummer,Gerät,Zustand,Halle,Farbe\n%s,R1,aktiv,4,rot\n%s-b,R2,kaputt,,\n" % (serial, serial))
    assert ops.ctl("root", "import", path, "--map", chart)["ignored"] == ["Farbe"]
    one, two = rows(gw, serial, serial + "-b")
    assert (one["model"], one["state"], one["site"]) == ("R1", "deployed", "Werk 4")
    assert (two["state"], two["site"]) == ("in_stock", "")


@pytest.mark.parametrize("text,complaint", [("Name = tagg\nowner := x\n", 'line 1: unknown column "tagg"'),
                                            ("Name = tag\n", "the map gives no owner"),
                                            ("Name = tag\nowner := {$who}\n", "line 2"),
                                            ("nonsense\n", "line 1")])
def test_a_map_with_a_mistake_names_its_line(ops, text, complaint):
    path = ops.file("any.csv", "Name\nx\n")
    with pytest.raises(Refused) as refusal:
        ops.ctl("root", "import", path, "--map", ops.file("wrong.map", text))
    assert complaint in refusal.value.text


def test_an_unknown_map_is_told_with_those_there_are(ops):
    with pytest.raises(Refused) as refusal:
        ops.ctl("root", "import", ops.file("any.csv", "Name\nx\n"), "--map", "netbx")
    assert "intune, netbox, servicenow" in refusal.value.text
