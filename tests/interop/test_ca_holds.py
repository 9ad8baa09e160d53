"""An asset in quarantine, and the CA behind the gateway: what its revocation lists will say of the certificate."""
import os
import sqlite3
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from fault_cells import csr_of  # noqa: E402
from test_ca_pipeline import Cfssl, await_rows, gw_rows  # noqa: E402

WAIT_S = 20
ACTIONS = ("ca.held", "ca.released", "ca.revoked", "ca.hold_impossible", "ca.release_impossible", "ca.revoke_impossible")


@pytest.fixture
def ejbca(tmp_path_factory):
    tree = driver.Hierarchy(tmp_path_factory.mktemp("ejbca"))
    server = EjbcaServer(tree, clients=tree.root)
    server.ca = {"name": "corporate", "type": "ejbca", "url": "https://127.0.0.1:%d" % server.port, "tls_ca": tree.root,
                 "certificate": tree.issuing, "chain": [tree.root], "profile": "DEVICE", "end_entity_profile": "DEVICE_EE",
                 "authority": "Plant CA", "secret_file": tree.path("secret", os.urandom(16).hex().encode()),
                 "client_cert": tree.server, "client_key": tree.server_key_file, "wait": "20s"}
    yield server
    server.stop()


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
