"""Faults in front of smallstep's step-ca: what the device saw, what was issued, what is recorded (tests/ca/faults.py)."""
import json
import os
import re
import shutil
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import fault_cells as cells  # noqa: E402
import faults  # noqa: E402
import pki  # noqa: E402
from gateway import free_port  # noqa: E402
from test_stepca import configuration  # noqa: E402

# A token that was used is the one thing that it remembers of a request.
FINDS_OUT = ("500 unasked", "replayed")
# The columns are fault_cells.HEAD's; "issued" is what its log says.
EXPECTED = """
none        | all | 200 | 1            | issued, done        |                     | -        | 200 | 1            | 1
refused     | all | 202 | 0            | pending, open       |                     | itself   | 200 | 1            | 1
500 unasked | all | 202 | 0            | pending, unknown    | unknown             | itself   | 200 | 1            | 1
reset       | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
silent      | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
too slow    | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
slow        | all | 200 | 1            | issued, done        |                     | -        | 200 | 1            | 1
500         | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
garbage     | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
oversized   | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
wrong key   | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
wrong name  | all | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked | -        | 200 | 2, 1 revoked | 1
too long    | all | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked | -        | 200 | 2, 1 revoked | 1
another's   | all | 202 | 1            | pending, unknown    | unknown             | operator | 200 | 2, 1 revoked | 1
replayed    | all | 202 | 1            | pending, unknown    | unknown             | itself   | 200 | 1            | 1
outage      | all | 202 | 0            | pending, open       |                     | itself   | 200 | 5            | 5
"""


class StepcaHop(cells.Hop):
    type = "stepca"

    def __init__(self, gateway, acme, folder, program):
        super().__init__(gateway, acme)
        self.tree = tree = driver.Hierarchy(folder)
        tree.provisioner_key = ec.generate_private_key(ec.SECP256R1())
        port = free_port()
        tree.path("ca.json", json.dumps(dict(configuration(tree, port), logger={"format": "json"})).encode())
        self.service = driver.Service([program, tree.path("ca.json")], port, tree.path("stepca.log"), tree.dir,
                                      dict(os.environ, STEPPATH=tree.dir, HOME=tree.dir))
        ca = {"tls_ca": tree.root, "certificate": tree.issuing, "profile": "gate", "user": "gate-1",
              "key_file": tree.path("provisioner.key", driver.key_pem(tree.provisioner_key))}
        self.direct = dict(ca, type="stepca", url="https://127.0.0.1:%d" % port, chain=tree.root)
        self._begin()
        self.proxy = faults.Proxy(tree, port, lambda request: request.path.endswith("/sign"), self.spoil,
                                  cells.DEADLINE_S, self._behind())
        self.configure(dict(ca, chain=[tree.root]))

    def _begin(self):
        """Tokens of the second in which it began are too old for it."""
        for n in range(100):
            csr, _ = self.tree.csr("rtr-7")
            if driver.drive(self.direct, "issue", csr, "begin-%d" % n, cn="rtr-7").state == "issued":
                return
        raise AssertionError(self.service.text())

    def _behind(self):
        context = faults.ssl.create_default_context(cafile=self.tree.root)
        context.check_hostname = False
        return context

    def spoil(self, kind, body):
        document = json.loads(body)
        cert = x509.load_pem_x509_certificate(document["crt"].encode())
        document["crt"] = faults.forged(cert, kind, self.tree).public_bytes(driver.PEM).decode()
        document["certChain"][0] = document["crt"]
        return json.dumps(document).encode()

    def csr(self, device, key):
        """It refuses a common name that is no alternative name."""
        return pki.csr(key, "", san=[("dns", cells.names_of(device)[1])])

    def finds_out(self, fault):
        return fault in FINDS_OUT

    def issued(self):
        """By its log."""
        with open(self.service.log, errors="replace") as lines:
            said = [json.loads(line) for line in lines if re.match(r'\{.*"path":"/1.0/(sign|revoke)"', line)]
        gone = {int(one["serial"]) for one in said if one["path"] == "/1.0/revoke" and one["status"] == 200}
        return [(int(one["serial"]), int(one["serial"]) in gone) for one in said
                if one["path"] == "/1.0/sign" and one["status"] == 201]

    def revoke(self, serial):
        assert driver.drive(self.direct, "revoke", "%x" % serial, 4).code == 0

    def stop(self):
        self.service.stop()


@pytest.fixture(scope="module")
def ran(module_gateway, acme, tmp_path_factory):
    program = shutil.which("step-ca")
    if program is None:
        pytest.skip("step-ca is not installed: make test-peers does it")
    rows, done = {}, {}
    cells.through_all(StepcaHop(module_gateway(), acme, tmp_path_factory.mktemp("stepca"), program), rows, done)
    return rows, done


def test_each_fault_ends_as_the_table_says(ran, tmp_path_factory, record_property):
    cells.leave_table(ran[0], ["stepca"], tmp_path_factory.getbasetemp() / "stepca-faults.txt", record_property)
    cells.compare("stepca", ran[0], cells.read_table(EXPECTED, ["stepca"]))


def test_no_good_certificate_is_revoked_at_the_ca(ran):
    assert not cells.found(ran[1], "stepca", "harmed")


def test_no_certificate_of_the_ca_is_lost(ran):
    assert not cells.found(ran[1], "stepca", "lost")
