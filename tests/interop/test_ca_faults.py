"""
Faults in front of each connector: what the device saw, what the CA issued, what the gateway recorded.

Each connector has a gateway of its own, a proxy (tests/ca/faults.py) and the CA behind it: Debian's cfssl, a second
enrolld, a CMP CA on OpenSSL's server half, and local servers of the APIs of Vault and EJBCA and of SCEP. They run beside
each other, each through all faults in order, one new device for each.
"""
import base64
import http.client
import json
import os
import ssl
import sys
import threading

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cmp_ca  # noqa: E402
import driver  # noqa: E402
import est  # noqa: E402
import fault_cells as cells  # noqa: E402
import faults  # noqa: E402
import pki  # noqa: E402
import scep_server  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from test_ca_pipeline import Cfssl  # noqa: E402
from vault_server import VaultServer  # noqa: E402

INSIDE = ("wrong key", "wrong name", "too long")  # made by the server itself where answers are protected


def trusting(root, *client):
    context = ssl.create_default_context(cafile=root)
    context.check_hostname = False  # 127.0.0.1 is what it has, "localhost" what a second enrolld has
    if client:
        context.load_cert_chain(*client)
    return context


def base(tree):
    return {"tls_ca": tree.root, "certificate": tree.issuing, "chain": [tree.root]}


def pem_replaced(pem, kind, tree):
    cert = x509.load_pem_x509_certificate(pem.encode())
    return faults.forged(cert, kind, tree).public_bytes(driver.PEM).decode()


class CfsslHop(cells.Hop):
    type = "cfssl"
    handed_in = ("silent",)

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.cfssl = Cfssl(folder)
        self.tree = self.cfssl.tree
        self.cfssl.start()
        self.proxy = faults.Proxy(self.tree, self.cfssl.port, lambda request: request.path.endswith("/authsign"),
                                  self.spoil, cells.DEADLINE_S, trusting(self.tree.root))
        self.configure(self.cfssl.ca)

    def spoil(self, kind, body):
        document = json.loads(body)
        document["result"]["certificate"] = pem_replaced(document["result"]["certificate"], kind, self.tree)
        return json.dumps(document).encode()

    def issued(self):
        return [(int(serial), status == "revoked") for serial, status, _ in self.cfssl.rows()]

    def certificate(self, serial):
        return next(cert for number, _, cert in self.cfssl.rows() if int(number) == serial)

    def revoke(self, serial):
        conn = http.client.HTTPSConnection("127.0.0.1", self.cfssl.port, context=trusting(self.tree.root))
        conn.request("POST", "/api/v1/cfssl/revoke", json.dumps(
            {"serial": str(serial), "authority_key_id": "", "reason": "superseded"}), {"Content-Type": "application/json"})
        assert conn.getresponse().status == 200
        conn.close()

    def stop(self):
        self.cfssl.stop()


class ServerHop(cells.Hop):
    """A CA of these tests, in this process: an Authority keeps what it issued."""

    def issued(self):
        return [(one.cert.serial_number, one.revoked is not None) for one in list(self.server.issued)]

    def certificate(self, serial):
        return next(one.cert for one in list(self.server.issued) if one.cert.serial_number == serial)

    def revoke(self, serial):
        assert self.server.revoke(serial, "operator")

    def stop(self):
        self.server.stop()


class VaultHop(ServerHop):
    type = "vault"
    handed_in = ("silent",)

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = driver.Hierarchy(folder)
        self.server = VaultServer(self.tree)
        self.proxy = faults.Proxy(self.tree, self.server.port, lambda request: "/sign/" in request.path, self.spoil,
                                  cells.DEADLINE_S, trusting(self.tree.root))
        self.configure(dict(base(self.tree), profile="device", auth="token",
                            secret_file=self.tree.path("token", self.server.token.encode())))

    def spoil(self, kind, body):
        document = json.loads(body)
        document["data"]["certificate"] = pem_replaced(document["data"]["certificate"], kind, self.tree)
        return json.dumps(document).encode()


class EjbcaHop(ServerHop):
    type = "ejbca"
    reconciles = told_absent = True

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = tree = driver.Hierarchy(folder)
        self.server = EjbcaServer(tree, clients=tree.root)
        self.proxy = faults.Proxy(tree, self.server.port, lambda request: request.path.endswith("/pkcs10enroll"),
                                  self.spoil, cells.DEADLINE_S, trusting(tree.root, tree.server, tree.server_key_file),
                                  clients=(tree.root,))
        self.configure(dict(base(self.tree), profile="DEVICE", end_entity_profile="DEVICE_EE", authority="Plant CA",
                            secret_file=tree.path("secret", os.urandom(16).hex().encode()), client_cert=tree.server,
                            client_key=tree.server_key_file))

    def spoil(self, kind, body):
        document = json.loads(body)
        cert = x509.load_der_x509_certificate(base64.b64decode(document["certificate"]))
        document["certificate"] = base64.b64encode(pki.cert_der(faults.forged(cert, kind, self.tree))).decode()
        return json.dumps(document).encode()


class ScepHop(ServerHop):
    """The certificate is inside an envelope: the server changes it."""

    type = "scep"
    reconciles = told_absent = True
    protected = ("given twice",)

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = driver.Hierarchy(folder)
        self.server = scep_server.ScepServer(self.tree)
        self.proxy = faults.Proxy(self.tree, self.server.port, lambda request: request.method == "POST",
                                  None, cells.DEADLINE_S)
        self.configure(base(self.tree))

    def url(self):
        return super().url() + "/scep"

    def prepare(self, fault, device, key):
        self.server.change = (lambda cert: faults.forged(cert, fault, self.tree)) if fault in INSIDE else None
        self.server.again = fault == "given twice"

    def recover(self, device, key):
        self.prepare("none", device, key)

    def finds_out(self, fault):
        return fault != "given twice"  # the server keeps the wrong one for this request


class EstHop(cells.Hop):
    type = "est"
    reconciles = True

    def __init__(self, gateway, acme, folder, upstream):
        super().__init__(gateway, acme)
        self.upstream = upstream
        upstream.add_profile("registrar", eku=["clientAuth", "cmcRA"], classes=["registrar"])
        upstream.add_profile("plain", san=["dns:{hostname}"], lifetime="30d", backdate="10s")
        upstream.add_label("registrars", profile="registrar", auth=["certificate"])
        upstream.add_label("site", auth=["own", "registrar"], profile="plain")
        upstream.start()
        key, made = pki.ec_key(), acme.idevid()
        upstream.own(made, **{"class": "registrar"})
        registrar = made.with_cert(folder, est.enroll(upstream, pki.csr(key, ""), made, label="registrars").cert(), key)
        self.tree = driver.Hierarchy(folder)  # of the proxy
        with open(upstream.issuing, "rb") as pem:
            self.issuing_cert = x509.load_pem_x509_certificate(pem.read())
        self.issuing_key = pki.load_key(os.path.join(upstream.dir, "ca/issuing.key"))
        self.proxy = faults.Proxy(self.tree, upstream.port, lambda request: request.path.endswith("/simpleenroll"),
                                  self.spoil, cells.DEADLINE_S, trusting(upstream.root, registrar.pem, registrar.key_file),
                                  clients=(upstream.root, upstream.issuing))
        self.configure({"tls_ca": self.tree.root, "profile": "site", "certificate": upstream.issuing,
                        "chain": [upstream.root], "client_cert": registrar.pem,
                        "client_key": registrar.key_file})

    def spoil(self, kind, body):
        cert = est.pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))[0]
        return base64.encodebytes(scep_server.degenerate([faults.forged(cert, kind, self)]))

    def own(self, count):
        super().own(count)
        self.upstream.own(*self.devices)

    def issued(self):
        with self.upstream.database() as db:
            return [(int(serial, 16), status == 1) for serial, status in db.execute(
                "SELECT serial, status FROM certificate WHERE label = 'site'")]

    def stop(self):
        pass


class CmpHop(cells.Hop):
    """Answers are protected: the CA itself does what is wrong with them. It takes back what nobody confirmed, and what was refused."""

    type = "cmp"
    protected = ("given twice", "unconfirmed")
    orders = {"wrong key": "other-key", "wrong name": "other-name", "too long": "too-long", "given twice": "again"}

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = driver.Hierarchy(folder)
        self.ca = cmp_ca.CmpCa(self.tree).start()
        self.proxy = faults.Proxy(self.tree, self.ca.port, lambda request: cmp_ca.body_of(request.body) == cmp_ca.P10CR,
                                  None, cells.DEADLINE_S)
        self.configure({key: value for key, value in self.ca.settings.items() if key != "allow_plain"})

    def prepare(self, fault, device, key):
        self.ca.order(self.orders.get(fault, ""))

    def recover(self, device, key):
        self.prepare("none", device, key)
        self.ca.time_is_over()

    def issued(self):
        return [(one.serial, one.revoked) for one in self.ca.issued()]

    def revoke(self, serial):
        done = driver.drive(self.ca.settings, "revoke", "%032x" % serial, "4")
        assert done.text == "revoked\n", done.text

    def stop(self):
        self.ca.stop()


HOPS = {"cfssl": CfsslHop, "cmp": CmpHop, "est": EstHop, "scep": ScepHop, "vault": VaultHop, "ejbca": EjbcaHop}

# The columns are fault_cells.HEAD's; "issued" is what the CA's own records say.
EXPECTED = """
none        | all                   | 200 | 1            | issued, done        |                               | -         | 200 | 1            | 1
refused     | all                   | 202 | 0            | pending, open       |                               | itself    | 200 | 1            | 1
500 unasked | cfssl cmp vault       | 202 | 0            | pending, unknown    | unknown                       | operator  | 200 | 1            | 1
500 unasked | est scep ejbca        | 202 | 0            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
reset       | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
reset       | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
silent      | cfssl vault           | 202 | 1            | pending, unknown    | unknown                       | handed in | 200 | 1            | 1
silent      | cmp                   | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
silent      | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
too slow    | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
too slow    | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
slow        | all                   | 200 | 1            | issued, done        |                               | -         | 200 | 1            | 1
500         | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
500         | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
garbage     | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
garbage     | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
oversized   | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
oversized   | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
wrong key   | cfssl vault           | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
wrong key   | cmp                   | 202 | 1, 1 revoked | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
wrong key   | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
wrong name  | cfssl cmp vault ejbca | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked           | -         | 200 | 2, 1 revoked | 1
wrong name  | est                   | 403 | 1            | denied, quarantined | quarantined revoke_impossible | -         | 200 | 1            | 1
wrong name  | scep                  | 403 | 1            | denied, quarantined | quarantined revoke_impossible | -         | 200 | 2            | 1
too long    | cfssl cmp vault ejbca | 403 | 1, 1 revoked | denied, quarantined | quarantined revoked           | -         | 200 | 2, 1 revoked | 1
too long    | est                   | 403 | 1            | denied, quarantined | quarantined revoke_impossible | -         | 200 | 1            | 1
too long    | scep                  | 403 | 1            | denied, quarantined | quarantined revoke_impossible | -         | 200 | 2            | 1
another's   | cfssl cmp vault       | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
another's   | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
replayed    | cfssl vault           | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 1            | 1
replayed    | cmp                   | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
replayed    | est scep ejbca        | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
given twice | cmp scep              | 202 | 0            | pending, unknown    | unknown                       | operator  | 200 | 1            | 1
unconfirmed | cmp                   | 202 | 1            | pending, unknown    | unknown                       | operator  | 200 | 2, 1 revoked | 1
outage      | all                   | 202 | 0            | pending, open       |                               | itself    | 200 | 5            | 5
"""


@pytest.fixture(scope="module")
def ran(module_gateway, acme, tmp_path_factory):
    """(rows, cells), each by (connector, fault)."""
    rows, done, threads = {}, {}, []
    # What takes longest begins first.
    wanted = [(name, cells.TAKES_LONG) for name, kind in HOPS.items() if kind.told_absent] + [(name, None) for name in HOPS]
    for name, only in wanted:
        more = (module_gateway(),) if name == "est" else ()
        hop = HOPS[name](module_gateway(), acme, tmp_path_factory.mktemp(name), *more)
        hop.only = only
        threads.append(threading.Thread(target=cells.through_all, args=(hop, rows, done)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return rows, done


def test_the_table_of_faults(ran, tmp_path_factory, record_property):
    cells.leave_table(ran[0], HOPS, tmp_path_factory.getbasetemp() / "ca-faults.txt", record_property)
    assert {connector for connector, _ in ran[0]} == set(HOPS)


@pytest.mark.parametrize("connector", HOPS)
def test_each_fault_ends_as_the_table_says(ran, connector):
    cells.compare(connector, ran[0], cells.read_table(EXPECTED, HOPS))


@pytest.mark.parametrize("connector", HOPS)
def test_no_certificate_of_the_ca_is_lost(ran, connector):
    assert not cells.found(ran[1], connector, "lost")


@pytest.mark.parametrize("connector", HOPS)
def test_no_good_certificate_is_revoked_at_the_ca(ran, connector):
    assert not cells.found(ran[1], connector, "harmed")
