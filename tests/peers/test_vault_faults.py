"""
Faults in front of OpenBao or HashiCorp Vault: what the device saw, what was issued, what is recorded (tests/ca/faults.py);
and a gateway whose token is renewed, and whose Vault has no active node for a while.
"""
import json
import os
import ssl
import sys
import time

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import fault_cells as cells  # noqa: E402
import faults  # noqa: E402
import pki  # noqa: E402
import vault_peer  # noqa: E402

LEASE_S, RENEWED_S = 15, 4  # with so little left it is certain that it is to be renewed
# The columns are fault_cells.HEAD's; "issued" is what its own API says.
EXPECTED = """
none        | all | 200 | 1            | issued, done        |                     | -         | 200 | 1            | 1
refused     | all | 202 | 0            | pending, open       |                     | itself    | 200 | 1            | 1
500 unasked | all | 202 | 0            | pending, unknown    | unknown             | operator  | 200 | 1            | 1
reset       | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
silent      | all | 202 | 1            | pending, unknown    | unknown             | handed in | 200 | 1            | 1
too slow    | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
slow        | all | 200 | 1            | issued, done        |                     | -         | 200 | 1            | 1
500         | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
garbage     | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
oversized   | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
wrong key   | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
wrong name  | all | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked | -         | 200 | 2, 1 revoked | 1
too long    | all | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked | -         | 200 | 2, 1 revoked | 1
another's   | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 2, 1 revoked | 1
replayed    | all | 202 | 1            | pending, unknown    | unknown             | operator  | 200 | 1            | 1
outage      | all | 202 | 0            | pending, open       |                     | itself    | 200 | 5            | 5
"""


class VaultHop(cells.Hop):
    type = "vault"
    handed_in = ("silent",)

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = driver.Hierarchy(folder)
        self.vault = vault_peer.VaultPeer(self.tree, organization="Operations")
        behind = ssl.create_default_context(cafile=self.vault.tls_ca)
        behind.check_hostname = False
        self.proxy = faults.Proxy(self.tree, self.vault.port, lambda request: "/sign/" in request.path, self.spoil,
                                  cells.DEADLINE_S, behind)
        self.configure(dict(self.vault.ca, tls_ca=self.tree.root, chain=[self.tree.root]))

    def spoil(self, kind, body):
        document = json.loads(body)
        cert = x509.load_pem_x509_certificate(document["data"]["certificate"].encode())
        document["data"]["certificate"] = faults.forged(cert, kind, self.tree).public_bytes(driver.PEM).decode()
        return json.dumps(document).encode()

    def issued(self):
        return [(serial, self.vault.record(serial)[1]) for serial in self.vault.serials()
                if serial not in (self.tree.issuing_cert.serial_number, self.tree.root_cert.serial_number)]

    def certificate(self, serial):
        return x509.load_pem_x509_certificate(self.vault.record(serial)[0].encode())

    def revoke(self, serial):
        assert driver.drive(self.vault.settings, "revoke", driver.serial_hex(serial), 4).code == 0

    def stop(self):
        self.vault.stop()


@pytest.fixture(scope="module")
def ran(module_gateway, acme, tmp_path_factory):
    if vault_peer.PROGRAM is None:
        pytest.skip(vault_peer.MISSING)
    rows, done = {}, {}
    cells.through_all(VaultHop(module_gateway(), acme, tmp_path_factory.mktemp("vault")), rows, done)
    return rows, done


def test_each_fault_ends_as_the_table_says(ran, tmp_path_factory, record_property):
    cells.leave_table(ran[0], ["vault"], tmp_path_factory.getbasetemp() / "vault-faults.txt", record_property)
    cells.compare("vault", ran[0], cells.read_table(EXPECTED, ["vault"]))


def test_no_good_certificate_is_revoked_at_the_ca(ran):
    assert not cells.found(ran[1], "vault", "harmed")


def test_no_certificate_of_the_ca_is_lost(ran):
    assert not cells.found(ran[1], "vault", "lost")


class Direct(cells.Hop):
    """Without a proxy."""

    type = "vault"

    def __init__(self, gateway, acme, folder, flags=(), **login):
        super().__init__(gateway, acme)
        self.vault = vault_peer.VaultPeer(driver.Hierarchy(folder), *flags, organization="Operations")
        try:
            if login:
                self.vault.ca.update(self.vault.add_approle("short", **login))
            self.configure(dict(self.vault.ca, chain=[self.vault.tree.root]))
            gateway.start()
            self.own(2)
        except BaseException:
            self.vault.stop()
            raise

    def url(self):
        return self.vault.url

    def enroll(self, device):
        key = pki.ec_key()
        return cells.ask(self, device, self.csr(device, key))

    def issued(self):
        return []


@pytest.fixture
def direct(new_gateway, acme, tmp_path):
    if vault_peer.PROGRAM is None:
        pytest.skip(vault_peer.MISSING)
    made = []

    def make(*flags, **login):
        made.append(Direct(new_gateway(), acme, tmp_path, flags, **login))
        return made[-1]

    yield make
    for hop in made:
        hop.vault.stop()


def tokens(vault):
    """What Vault has on the tokens that the AppRole "short" was given."""
    every = vault.api("GET", "auth/token/accessors?list=true")["data"]["keys"]
    found = [vault.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"] for accessor in every]
    return [one for one in found if (one["meta"] or {}).get("role_name") == "short"]


def test_a_token_is_renewed_before_it_ends_as_often_as_need_be(direct):
    """By a secret_id that lets in once: without renewals the second half would not be served."""
    hop = direct(token_ttl="%ds" % LEASE_S, secret_id_num_uses=1)
    device, served = hop.devices[0], 0
    began = time.monotonic()
    while time.monotonic() < began + 2 * LEASE_S:
        assert hop.enroll(device).status == 200, hop.gw.log[-3000:]
        served += 1
        token, = tokens(hop.vault)
        while token["ttl"] > RENEWED_S:
            time.sleep(cells.POLL_S)
            token, = tokens(hop.vault)
    assert served >= 3 and token["last_renewal_time"] > token["creation_time"]


def test_without_an_active_node_devices_wait_and_are_served_when_there_is_one(direct):
    hop = direct("-dev-ha")
    key = pki.ec_key()
    csr = hop.csr(hop.devices[0], key)
    assert hop.enroll(hop.devices[1]).status == 200
    hop.vault.api("PUT", "sys/step-down")
    hop.vault.await_health(429)
    assert cells.ask(hop, hop.devices[0], csr).status == 202
    record = cells.await_record(hop, hop.devices[0], csr, lambda found: found.settled())
    assert record.intent == "open", record.intents
    answer = cells.ask_until_told(hop, hop.devices[0], csr)
    assert answer.status == 200 and pki.spki(answer.cert().public_key()) == pki.spki(key)
