"""An asset in quarantine, and the CA behind the gateway: what its revocation lists will say of the certificate."""
import os
import sqlite3
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cmp_ca  # noqa: E402
import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from fault_cells import csr_of  # noqa: E402
from test_ca_pipeline import Cfssl, await_rows, gw_rows  # noqa: E402

WAIT_S = 20
ACTIONS = ("ca.held", "ca.released", "ca.revoked", "ca.hold_impossible", "ca.release_impossible", "ca.revoke_impossible",
           "ca.hold_refused", "ca.release_refused", "ca.settled")
HOLD, KEY_COMPROMISE = "6", "1"  # reasons of RFC 5280, section 5.3.1


class Ejbca(EjbcaServer):
    refuses = False  # our role there may not revoke or hold, it says

    def _revoke(self, text, reason):
        if self.refuses:
            return 422, {"error_code": 422, "error_message": "not by this role"}
        return super()._revoke(text, reason)


@pytest.fixture
def ejbca(tmp_path_factory):
    tree = driver.Hierarchy(tmp_path_factory.mktemp("ejbca"))
    server = Ejbca(tree, clients=tree.root)
    server.ca = {"name": "corporate", "type": "ejbca", "url": "https://127.0.0.1:%d" % server.port, "tls_ca": tree.root,
                 "certificate": tree.issuing, "chain": [tree.root], "profile": "DEVICE", "end_entity_profile": "DEVICE_EE",
                 "authority": "Plant CA", "secret_file": tree.path("secret", os.urandom(16).hex().encode()),
                 "client_cert": tree.server, "client_key": tree.server_key_file, "wait": "20s"}
    yield server
    server.stop()


@pytest.fixture(params=[True, False], ids=["secret", "signature"])
def cmp(request, tmp_path_factory):
    made = cmp_ca.CmpCa(driver.Hierarchy(tmp_path_factory.mktemp("cmp")), by_secret=request.param).start()
    made.ca = dict(made.settings, name="corporate", wait="20s")
    yield made
    made.stop()


@pytest.fixture
def cfssl(tmp_path_factory):
    made = Cfssl(tmp_path_factory.mktemp("cfssl"))
    made.start()
    yield made
    made.stop()


def gateway_of(made, ca):
    made.settings["cas"].append(ca)
    made.add_profile("plain", san=["dns:{hostname}"])
    made.add_label("corporate", ca="corporate", profile="plain", operations=["enroll", "renew"])
    made.start()
    return made


def enrolled(gw, acme):
    device = gw.own(acme.idevid())
    answer = est.enroll(gw, csr_of(device, pki.ec_key()), device, label="corporate")
    assert answer.status == 200, (answer, gw.log)
    return device, answer.cert().serial_number


def await_standing(gw, ejbca, serial, expected):
    ends = time.monotonic() + WAIT_S
    while ejbca.standing(serial) != expected:
        assert time.monotonic() < ends, (ejbca.standing(serial), gw.log[-3000:])
        time.sleep(0.05)
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 0", 0)


def audited(gw, serial):
    """Actions about the certificate, in order."""
    with gw_rows(gw) as db:
        return [row[0] for row in db.execute(
            "SELECT action FROM audit WHERE action IN (%s) AND ltrim(subject, '0') = ? ORDER BY seq"
            % ",".join("?" * len(ACTIONS)), ACTIONS + ("%x" % serial,))]


def await_metric(gw, name, value):
    ends = time.monotonic() + WAIT_S
    while gw.metrics()['enrolld_ca_%s{ca="corporate"}' % name] != value:
        assert time.monotonic() < ends, (name, gw.metrics(), gw.log[-3000:])
        time.sleep(0.05)


def row_of(gw):
    return next(row for row in gw.ctl("ca", "list") if row["ca"] == "corporate")


def test_a_quarantine_holds_the_certificate_at_the_ca_until_it_ends(new_gateway, ejbca, acme):
    gw = gateway_of(new_gateway(), ejbca.ca)
    device, serial = enrolled(gw, acme)
    other, untouched = enrolled(gw, acme)
    gw.set_state(device, "quarantined")
    await_standing(gw, ejbca, serial, "CERTIFICATE_HOLD")
    gw.set_state(device, "staged")
    await_standing(gw, ejbca, serial, None)
    gw.set_state(device, "quarantined")
    await_standing(gw, ejbca, serial, "CERTIFICATE_HOLD")
    gw.set_state(device, "stolen")
    await_standing(gw, ejbca, serial, "KEY_COMPROMISE")
    assert ejbca.told == [(serial, "CERTIFICATE_HOLD"), (serial, "REMOVE_FROM_CRL"), (serial, "CERTIFICATE_HOLD"),
                          (serial, "KEY_COMPROMISE")]
    assert audited(gw, serial) == ["ca.held", "ca.released", "ca.held", "ca.revoked"]
    assert ejbca.standing(untouched) is None and audited(gw, untouched) == []
    assert (row_of(gw)["holds"], row_of(gw)["unheld"], row_of(gw)["revocations"]) == (0, 0, 0)
    metrics = gw.admin_get("/metrics")[1]
    metrics = metrics if isinstance(metrics, str) else metrics.decode()
    assert 'enrolld_ca_calls_total{ca="corporate",outcome="held"} 2\n' in metrics
    assert 'enrolld_ca_calls_total{ca="corporate",outcome="released"} 1\n' in metrics


def test_a_hold_whose_record_a_crash_took_is_told_again(new_gateway, ejbca, acme):
    gw = gateway_of(new_gateway(), ejbca.ca)
    device, serial = enrolled(gw, acme)
    gw.set_state(device, "quarantined")
    await_standing(gw, ejbca, serial, "CERTIFICATE_HOLD")
    gw.kill()
    with sqlite3.connect(gw.db) as db:  # as it was between the CA's answer and its record
        db.execute("UPDATE ca_revocation SET told = 3, state = 0")
    gw.start()
    await_standing(gw, ejbca, serial, "CERTIFICATE_HOLD")
    assert ejbca.told == [(serial, "CERTIFICATE_HOLD")] * 2
    gw.set_state(device, "staged")
    await_standing(gw, ejbca, serial, None)


def test_what_somebody_revoked_at_the_ca_is_not_taken_for_released(new_gateway, ejbca, acme):
    gw = gateway_of(new_gateway(), ejbca.ca)
    device, serial = enrolled(gw, acme)
    gw.set_state(device, "quarantined")
    await_standing(gw, ejbca, serial, "CERTIFICATE_HOLD")
    assert ejbca.revoke(serial, "PRIVILEGES_WITHDRAWN")
    gw.set_state(device, "staged")
    await_rows(gw, "SELECT count(*) FROM audit WHERE action = 'ca.release_impossible'", 1)
    assert audited(gw, serial) == ["ca.held", "ca.release_impossible"]
    assert ejbca.standing(serial) == "PRIVILEGES_WITHDRAWN"


def test_a_ca_that_cannot_hold_is_said_and_a_revocation_still_reaches_it(new_gateway, cfssl, acme):
    gw = gateway_of(new_gateway(), cfssl.ca)
    device, serial = enrolled(gw, acme)
    gw.set_state(device, "quarantined")
    await_rows(gw, "SELECT count(*) FROM audit WHERE action = 'ca.hold_impossible'", 1)
    assert [row[1] for row in cfssl.rows()] == ["good"]
    assert (row_of(gw)["holds"], row_of(gw)["unheld"]) == (0, 1)
    assert "cannot hold" in gw.ctl("ca", "list", json_out=False)
    gw.set_state(device, "stolen")
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1)
    assert [row[1] for row in cfssl.rows()] == ["revoked"]
    assert audited(gw, serial) == ["ca.hold_impossible", "ca.revoked"]
    assert row_of(gw)["unheld"] == 0


def test_what_the_ca_refuses_is_told_once_and_counted_until_it_takes_it(new_gateway, ejbca, acme):
    gw = gateway_of(new_gateway(), ejbca.ca)
    device, serial = enrolled(gw, acme)
    assert gw.metrics()['enrolld_ca_holds_waiting{ca="corporate"}'] == 0
    for state, before, after, refused, taken in (("quarantined", None, "CERTIFICATE_HOLD", "ca.hold_refused", "ca.held"),
                                                 ("staged", "CERTIFICATE_HOLD", None, "ca.release_refused", "ca.released")):
        ejbca.refuses = True
        gw.set_state(device, state)
        await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 0 AND tries >= 2", 1)
        assert gw.metrics()['enrolld_ca_holds_waiting{ca="corporate"}'] == 1
        assert (row_of(gw)["holds"], row_of(gw)["refused"], row_of(gw)["unheld"]) == (1, 1, 0)
        (alert,) = gw.audit(refused)
        assert alert["detail"]["alert"] == 1 and "not by this role" in alert["detail"]["reason"]
        assert ejbca.standing(serial) == before
        ejbca.refuses = False
        await_standing(gw, ejbca, serial, after)
        await_metric(gw, "holds_waiting", 0)
        assert audited(gw, serial)[-2:] == [refused, taken] and row_of(gw)["refused"] == 0
    assert gw.metrics()['enrolld_ca_unheld{ca="corporate"}'] == 0


def test_metrics_tell_what_a_ca_cannot_hold(new_gateway, cfssl, acme):
    gw = gateway_of(new_gateway(), cfssl.ca)
    devices = [enrolled(gw, acme)[0] for _ in range(2)]
    assert gw.metrics()['enrolld_ca_unheld{ca="corporate"}'] == 0
    for device in devices:
        gw.set_state(device, "quarantined")
    await_metric(gw, "unheld", 2)
    assert gw.metrics()['enrolld_ca_holds_waiting{ca="corporate"}'] == 0
    gw.set_state(devices[0], "staged")
    await_metric(gw, "unheld", 1)
    gw.set_state(devices[1], "stolen")
    await_metric(gw, "unheld", 0)


def told_by_cmp(ca, serial):
    """What its journal says of the certificate, in order."""
    return [tuple([event] + words[1:]) for event, *words in ca.events()
            if event in ("revoked", "released") and int(words[0], 16) == serial]


def await_told(gw, ca, serial, expected):
    ends = time.monotonic() + WAIT_S
    while told_by_cmp(ca, serial) != expected:
        assert time.monotonic() < ends, (told_by_cmp(ca, serial), gw.log[-3000:])
        time.sleep(0.05)
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 0", 0)


def test_holds_and_their_ends_are_told_by_cmp(new_gateway, cmp, acme):
    gw = gateway_of(new_gateway(), cmp.ca)
    device, serial = enrolled(gw, acme)
    _, untouched = enrolled(gw, acme)
    expected = []
    for state, event in (("quarantined", ("revoked", HOLD)), ("staged", ("released",)), ("quarantined", ("revoked", HOLD)),
                         ("stolen", ("revoked", KEY_COMPROMISE))):
        gw.set_state(device, state)
        expected.append(event)
        await_told(gw, cmp, serial, expected)
    assert [(one.serial, one.revoked, one.held) for one in cmp.issued()] == [(serial, True, False), (untouched, False, False)]
    assert audited(gw, serial) == ["ca.held", "ca.released", "ca.held", "ca.revoked"]
    assert told_by_cmp(cmp, untouched) == [] and audited(gw, untouched) == []


def test_a_quarantine_that_ends_while_the_cmp_ca_is_down_leaves_a_good_certificate(new_gateway, cmp, acme):
    """Nobody knows whether the hold arrived, so its end is told: what was never on hold is held for a moment."""
    gw = gateway_of(new_gateway(), cmp.ca)
    device, serial = enrolled(gw, acme)
    cmp.kill()
    gw.set_state(device, "quarantined")
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 0 AND tries > 0", 1)
    await_metric(gw, "holds_waiting", 1)
    gw.set_state(device, "staged")
    await_metric(gw, "holds_waiting", 1)
    cmp.start()
    await_told(gw, cmp, serial, [("revoked", HOLD), ("released",)])
    assert [(one.revoked, one.held) for one in cmp.issued()] == [(False, False)]
    assert audited(gw, serial) == ["ca.released"]
    await_metric(gw, "holds_waiting", 0)
