"""Devices, a gateway, and Debian's cfssl behind it: through an outage, a kill, and a revocation."""
import json
import os
import shutil
import sqlite3
import sys
import time

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from gateway import free_port  # noqa: E402

KEY = os.urandom(16).hex()
TABLES = """
CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob,
  status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL,
  expiry timestamp, PRIMARY KEY (serial_number, authority_key_identifier));
"""
WAIT_S = 20


class Cfssl:
    def __init__(self, folder):
        self.program = shutil.which("cfssl")
        if self.program is None:
            pytest.fail("cfssl is not installed: apt-get install golang-cfssl", pytrace=False)
        self.tree = driver.Hierarchy(folder)
        self.port = free_port()
        self.service = None
        tree = self.tree
        profile = {"usages": ["digital signature", "client auth"], "expiry": "20h", "backdate": "1m",
                   "auth_key": "gate"}
        tree.path("config.json", json.dumps({
            "signing": {"default": profile, "profiles": {"device": profile}},
            "auth_keys": {"gate": {"type": "standard", "key": KEY}}}).encode())
        self.db = tree.path("certs.db")
        with sqlite3.connect(self.db) as db:
            db.executescript(TABLES)
        tree.path("db.json", json.dumps({"driver": "sqlite3", "data_source": self.db}).encode())
        self.ca = {"name": "corporate", "type": "cfssl", "url": "https://127.0.0.1:%d" % self.port, "tls_ca": tree.root,
                   "certificate": tree.issuing, "chain": [tree.root], "profile": "device", "wait": "20s",
                   "secret_file": tree.path("secret", KEY.encode() + b"\n")}

    def start(self):
        tree = self.tree
        self.service = driver.Service(
            [self.program, "serve", "-address", "127.0.0.1", "-port", str(self.port), "-ca", tree.issuing, "-ca-key",
             tree.issuing_key_file, "-config", tree.path("config.json"), "-db-config", tree.path("db.json"), "-tls-cert",
             tree.server, "-tls-key", tree.server_key_file], self.port, tree.path("cfssl.log"), tree.dir)

    def stop(self):
        if self.service is not None:
            self.service.stop()
        self.service = None

    def rows(self):
        """(serial as text, status, certificate) of everything it has issued."""
        with sqlite3.connect(self.db) as db:
            found = db.execute("SELECT serial_number, status, pem FROM certificates").fetchall()
        return [(str(serial), str(status), x509.load_pem_x509_certificate(
            pem if isinstance(pem, bytes) else pem.encode())) for serial, status, pem in found]


@pytest.fixture
def cfssl(tmp_path_factory):
    made = Cfssl(tmp_path_factory.mktemp("cfssl"))
    yield made
    made.stop()


@pytest.fixture
def gw(new_gateway, cfssl):
    made = new_gateway()
    made.settings["cas"].append(cfssl.ca)
    made.add_profile("plain", san=["dns:{hostname}"])
    made.add_label("corporate", ca="corporate", profile="plain", operations=["enroll", "renew"])
    return made


def await_rows(gw, sql, count):
    """Until the gateway's own database says so."""
    ends = time.monotonic() + WAIT_S
    while True:
        with sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True) as db:
            found = db.execute(sql).fetchone()[0]
        if found == count:
            return
        assert time.monotonic() < ends, "%s is %s, not %s\n%s" % (sql, found, count, gw.log[-3000:])
        time.sleep(0.1)


def check(cert, cfssl, key):
    public = driver.serialization.PublicFormat.SubjectPublicKeyInfo
    assert cert.public_key().public_bytes(driver.PEM, public) == key.public_key().public_bytes(driver.PEM, public)
    assert cert.issuer == cfssl.tree.issuing_cert.subject


def test_a_device_gets_its_certificate_from_the_ca_behind_the_gateway(gw, cfssl, acme):
    cfssl.start()
    gw.start()
    device = gw.own(acme.idevid())
    key = pki.ec_key()
    answer = est.enroll(gw, pki.csr(key, ""), device, label="corporate")
    assert answer.status == 200, (answer, gw.log)
    check(answer.cert(), cfssl, key)
    assert [row["breaker"] for row in gw.ctl("ca", "list") if row["ca"] == "corporate"] == ["closed"]
    assert [row["state"] for row in gw.ctl("ca", "intents")] == ["done"]
    metrics = gw.admin_get("/metrics")[1]
    metrics = metrics if isinstance(metrics, str) else metrics.decode()
    assert 'enrolld_ca_calls_total{ca="corporate",outcome="issued"} 1\n' in metrics


def test_a_ca_that_is_down_and_a_gateway_that_is_killed_cost_the_device_time_only(gw, cfssl, acme):
    cfssl.ca["wait"] = "0s"
    gw.start()
    devices = [gw.own(acme.idevid()) for _ in range(3)]
    keys = [pki.ec_key() for _ in devices]
    requests = [pki.csr(key, "") for key in keys]
    for device, request in zip(devices, requests):
        answer = est.enroll(gw, request, device, label="corporate")
        assert answer.status == 202 and int(answer.get("Retry-After")) >= 1, answer
    assert gw.admin_get("/readyz")[0] == 200
    gw.kill()
    cfssl.start()
    gw.start()
    # One that was just being sent when the kill came is unknown, and cfssl cannot be asked: an operator looks.
    for row in gw.ctl("ca", "intents", "--open"):
        if row["state"] == "unknown":
            gw.ctl("ca", "resolve", row["id"], "--absent", "--reason", "it was down")
    await_rows(gw, "SELECT count(*) FROM intent WHERE state = 4", 3)
    for device, request, key in zip(devices, requests, keys):
        answer = est.enroll(gw, request, device, label="corporate")
        assert answer.status == 200, answer
        check(answer.cert(), cfssl, key)
    assert len(cfssl.rows()) == 3


def test_what_is_revoked_here_is_revoked_there(gw, cfssl, acme):
    cfssl.start()
    gw.start()
    device = gw.own(acme.idevid())
    answer = est.enroll(gw, pki.csr(pki.ec_key(), ""), device, label="corporate")
    assert answer.status == 200, (answer, gw.log)
    gw.ctl("asset", "set-state", device.tag, "deployed", "--reason", "test")
    gw.ctl("asset", "set-state", device.tag, "stolen", "--reason", "test")
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1)
    assert [row[:2] for row in cfssl.rows()] == [(str(answer.cert().serial_number), "revoked")]
    with gw_rows(gw) as db:
        assert db.execute("SELECT count(*) FROM audit WHERE action = 'ca.revoked'").fetchone()[0] == 1


def gw_rows(gw):
    return sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True)


def test_what_the_ca_cannot_do_is_quarantined_and_refused(gw, cfssl, acme):
    """cfssl drops URIs silently: what came is not what was approved."""
    cfssl.start()
    gw.settings["labels"][-1]["profile"] = "device"
    gw.start()
    device = gw.own(acme.idevid())
    answer = est.enroll(gw, pki.csr(pki.ec_key(), ""), device, label="corporate")
    assert answer.status == 403, (answer, gw.log)
    await_rows(gw, "SELECT count(*) FROM ca_revocation WHERE state = 1", 1)
    assert [row[1] for row in cfssl.rows()] == ["revoked"]
    with gw_rows(gw) as db:
        assert db.execute("SELECT count(*) FROM audit WHERE action = 'ca.quarantined'").fetchone()[0] == 1
        assert db.execute("SELECT count(*) FROM certificate").fetchone()[0] == 0
