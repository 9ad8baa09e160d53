"""
Faults in front of each connector: what the device saw, what the CA issued, what the gateway recorded.

Each connector has a gateway of its own, a proxy (tests/ca/faults.py) and the CA behind it: Debian's cfssl, `openssl cmp`, a
second enrolld, and local servers of the APIs of Vault and EJBCA and of SCEP. They run beside each other, each through
all faults in order, one new device for each.
"""
import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading

import pytest
from cryptography import x509

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import est  # noqa: E402
import fault_cells as cells  # noqa: E402
import faults  # noqa: E402
import pki  # noqa: E402
import scep_server  # noqa: E402
from api_server import Authority  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from test_ca_pipeline import Cfssl  # noqa: E402
from test_ca_upstream import SECRET as CMP_SECRET, need  # noqa: E402
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


P10CR, CERT_CONF, CP, RP = 0xa4, 0xb8, 0xa3, 0xac


def body_of(message):
    """The tag of a PKIMessage's body (RFC 4210, section 5.1.2): the second member."""
    def after(at, inside):
        size = message[at + 1]
        if size < 0x80:
            return at + 2 + (0 if inside else size)
        octets = size & 0x7f
        return at + 2 + octets + (0 if inside else int.from_bytes(message[at + 2:at + 2 + octets], "big"))
    return message[after(after(0, True), False)]


class MockCmp:
    """`openssl cmp -port`, which answers everybody with one certificate. Not a driver.Service: a connection without a request
    costs it a second."""

    def __init__(self, tree, cert):
        self.cert, self.port = cert, faults.free_port()
        command = [need("openssl", "openssl"), "cmp", "-port", str(self.port), "-srv_ref", "ca", "-srv_secret",
                   "pass:" + CMP_SECRET, "-rsp_cert", tree.path("rsp-%d.pem" % self.port, cert.public_bytes(driver.PEM))]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("ACCEPT"):
                break
        else:
            raise AssertionError("".join(lines))
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.reader.join(30)
        self.process.stdout.close()


class CmpHop(cells.Hop):
    """
    Each device has a server of its own, and a new one when a fault is over: it would wait for the confirmation for ever.
    It forgets what it did; what it said is seen in the proxy. A CA takes back what was not confirmed: when it ends.
    """

    type = "cmp"
    protected = ("given twice", "unconfirmed")

    def __init__(self, gateway, acme, folder):
        super().__init__(gateway, acme)
        self.tree = driver.Hierarchy(folder)
        self.made, self.unconfirmed, self.mocks, self.now = Authority(self.tree), set(), {}, None
        self.proxy = faults.Proxy(self.tree, self.route, lambda request: body_of(request.body) == P10CR,
                                  None, cells.DEADLINE_S, seen=self.seen)
        # One transaction after the other: what follows a request belongs to it.
        self.configure(dict(base(self.tree), calls=1, auth="secret", user="gateway",
                            secret_file=self.tree.path("secret", CMP_SECRET.encode() + b"\n")))

    def route(self, request):
        if body_of(request.body) == P10CR:
            self.now = next(mock for public, mock in self.mocks.items() if public in request.body)
        return self.now.port

    def seen(self, request, answer):
        said, serial = body_of(answer.body), self.now.cert.serial_number
        if said == CP:
            self.made.keep(self.now.cert)
            self.unconfirmed.add(serial)
        elif body_of(request.body) == CERT_CONF:
            self.unconfirmed.discard(serial)
        elif said == RP:
            self.made.revoke(serial, "asked to")

    def prepare(self, fault, device, key):
        self.end()
        self.add(fault, device, key)

    def prepare_many(self, devices, keys):
        self.end()
        for device, key in zip(devices, keys):
            self.add("none", device, key)

    def add(self, fault, device, key):
        csr = x509.load_der_x509_csr(cells.csr_of(device, key))
        cert = self.made.certify(key.public_key(), csr.subject, driver.sans(csr), keep=False)
        if fault == "given twice":
            cert = self.made.issued[-1].cert
        elif fault in INSIDE:
            cert = faults.forged(cert, fault, self.tree)
        self.mocks[pki.spki(key)] = MockCmp(self.tree, cert)

    def recover(self, device, key):
        self.prepare("none", device, key)

    def issued(self):
        return [(one.cert.serial_number, one.revoked is not None) for one in list(self.made.issued)]

    def revoke(self, serial):
        assert self.made.revoke(serial, "operator")

    def end(self):
        self.proxy.forget_upstream()
        for mock in self.mocks.values():
            mock.stop()
        self.mocks = {}
        for serial in self.unconfirmed:
            self.made.revoke(serial, "not confirmed")
        self.unconfirmed = set()

    def stop(self):
        self.end()


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
wrong key   | est ejbca             | 202 | 1            | pending, unknown    | unknown                       | itself    | 200 | 1            | 1
wrong key   | cmp scep              | 403 | 1            | denied, failed      | refused                       | -         | 200 | 2            | 1
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
given twice | cmp scep              | 403 | 0            | denied, failed      | refused                       | -         | 200 | 1            | 1
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
