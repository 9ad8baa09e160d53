"""libcoap's coap-client-openssl, as Debian ships it, against EST over CoAP. A missing one is a failure, never a pass."""
import os
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_private_key, pkcs7

import coap
import pki
from test_interop import check

SIZES = [16, 32, 64, 128, 256, 512, 1024]
CAN_WAIT_S = "30"


@pytest.fixture(scope="module")
def gw(module_gateway, acme, hydra):
    gateway = coap.configure(module_gateway(acme, hydra))
    # The client sends its own certificate alone: what is between it and the root is the trust set's.
    gateway.settings["trust"][1]["files"].append(hydra.intermediate_pem)
    coap.add_label(gateway, "attrs", csrattrs=["challengePassword", "ecPublicKey=secp384r1"])
    coap.add_label(gateway, "guarded", approval="manual", retry_after="7s")
    return gateway.start()


@pytest.fixture(scope="module")
def hydra(tmp_path_factory):
    """A manufacturer whose devices' certificates come from an intermediate CA."""
    maker = pki.Manufacturer(tmp_path_factory.mktemp("hydra"), "hydra")
    key = pki.ec_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hydra line 4")])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(maker.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=900))
            .not_valid_after(pki.NO_EXPIRY).add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(maker.key.public_key()), False)
            .sign(maker.key, hashes.SHA256()))
    maker.intermediate_pem = os.path.join(maker.folder, "line4.pem")
    with open(maker.intermediate_pem, "wb") as out:
        out.write(pki.cert_pem(cert))
    maker.key, maker.subject = key, name
    return maker


class Client:
    def __init__(self, gw, folder):
        self.path = shutil.which("coap-client-openssl")
        if self.path is None:
            pytest.fail("coap-client-openssl is not installed: apt-get install libcoap3-bin", pytrace=False)
        self.gw, self.dir, self.count = gw, str(folder), 0

    def __call__(self, device, path, *options, body=None, host="localhost"):
        """(octets that came, what it says about errors)"""
        self.count += 1
        out = os.path.join(self.dir, "out%d" % self.count)
        words = [self.path, "-c", device.pem, "-j", device.key_file, "-R", self.gw.root, "-B", CAN_WAIT_S, "-o", out]
        if body is not None:
            with open(out + ".body", "wb") as file:
                file.write(body)
            words += ["-m", "post", "-t", str(coap.CSR), "-f", out + ".body"]
        words += [str(option) for option in options] + ["coaps://%s:%d%s" % (host, self.gw.port, path)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=60)
        octets = b""
        if os.path.exists(out):
            with open(out, "rb") as file:
                octets = file.read()
        return octets, done.stdout


@pytest.fixture
def client(gw, tmp_path):
    return Client(gw, tmp_path)


def one(octets):
    cert, = pkcs7.load_der_pkcs7_certificates(octets)
    return cert


def multipart(octets):
    items = coap.cbor(octets)
    return dict(zip(items[::2], items[1::2]))


@pytest.mark.parametrize("size", SIZES)
def test_it_enrolls_in_blocks_of_any_size(gw, client, device, size):
    key = pki.ec_key()
    octets, said = client(device, "/est/sen", "-b", size, body=pki.csr(key))
    assert octets, said
    check(gw, one(octets), device, key)
    assert len(gw.certs(device.tag)) == len(gw.audit("enroll.issued", device.tag)) == 1


@pytest.mark.parametrize("size", SIZES)
def test_it_fetches_the_ca_certificates_in_blocks_of_any_size(gw, client, device, size):
    octets, said = client(device, "/est/crts", "-b", size, "-A", coap.CERTS)
    assert octets, said
    with open(gw.issuing, "rb") as issuing, open(gw.root, "rb") as root:
        assert {pki.cert_pem(cert) for cert in pkcs7.load_der_pkcs7_certificates(octets)} == {issuing.read(), root.read()}


@pytest.mark.parametrize("options", [[], ["-N"], ["-U"], ["-N", "-b", "128"], ["-T", "device07", "-b", "64"], ["-L", "3"]])
def test_it_enrolls_in_whatever_manner(gw, client, device, options):
    key = pki.ec_key()
    octets, said = client(device, "/.well-known/est/sen", *options, body=pki.csr(key))
    assert octets, said
    check(gw, one(octets), device, key)
    assert len(gw.certs(device.tag)) == 1


def test_a_large_request_is_enrolled_without_being_told_its_block_size(gw, client, device):
    key = pki.ec_key()
    request = pki.csr(key, "", [("dns", "device-%03d.names-that-are-ignored.example.net" % i) for i in range(60)])
    octets, said = client(device, "/est/sen", body=request)
    assert octets, said
    check(gw, one(octets), device, key)
    assert len(gw.audit("enroll.issued", device.tag)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_takes_a_single_certificate_over_either_family(gw, client, device, host):
    key = pki.ec_key()
    octets, said = client(device, "/est/sen", "-A", coap.CERT, body=pki.csr(key), host=host)
    assert octets, said
    check(gw, x509.load_der_x509_certificate(octets), device, key)


def test_it_renews(gw, client, device, tmp_path):
    first, second = pki.ec_key(), pki.ec_key()
    owned = device.with_cert(tmp_path, one(client(device, "/est/sen", body=pki.csr(first))[0]), first)
    octets, said = client(owned, "/est/sren", "-b", 256, body=pki.csr(second, ""))
    assert octets, said
    check(gw, one(octets), device, second)


def test_it_fetches_the_attributes(client, device):
    octets, said = client(device, "/est/attrs/att", "-A", coap.CSRATTRS)
    assert octets[:1] == b"\x30", said


@pytest.mark.parametrize("operation,format", [("skg", coap.CERTS), ("skc", coap.CERT)])
@pytest.mark.parametrize("size", [16, 64, 1024])
def test_it_gets_a_key_made(gw, client, device, operation, format, size):
    octets, said = client(device, "/est/" + operation, "-b", size, "-A", coap.MULTIPART, body=pki.csr(pki.ec_key()))
    assert octets, said
    parts = multipart(octets)
    assert list(parts) == [coap.KEY, format]
    cert = one(parts[format]) if format == coap.CERTS else x509.load_der_x509_certificate(parts[format])
    check(gw, cert, device, load_der_private_key(parts[coap.KEY], None))
    assert len(gw.certs(device.tag)) == 1, "a block was lost nowhere, so the key was made once"


def test_it_discovers_the_functions(client, device):
    octets, said = client(device, "/.well-known/core?rt=ace.est*")
    found = coap.links(octets.decode())
    assert found["/est/sen"] == {"rt": "ace.est.sen", "ct": "281 287"}, said
    octets, said = client(device, "/.well-known/core?rt=ace.est.skg", "-b", 16)
    assert {link.rsplit("/", 1)[1] for link in coap.links(octets.decode())} == {"skg"}, said


def test_a_device_of_an_intermediate_ca_that_it_does_not_send_is_known_by_the_trust_set(gw, client, hydra):
    key = pki.ec_key()
    with open(hydra.intermediate_pem, "rb") as file:
        chain = [x509.load_pem_x509_certificate(file.read())]
    device = gw.own(hydra.idevid(chain=chain), issuer="hydra")
    octets, said = client(device, "/est/sen", "-b", 64, body=pki.csr(key))
    assert octets, said
    check(gw, one(octets), device, key)


def test_it_hears_about_refusals(gw, client, device, stranger):
    for who, path, options, code in ((device, "/est/nope", [], "4.04"), (device, "/est/crts", ["-A", "50"], "4.06"),
                                     (device, "/est/crts", ["-m", "put", "-e", "x"], "4.05")):
        octets, said = client(who, path, *options)
        assert not octets and code in said, said
    for who in (stranger.idevid(),):
        octets, said = client(who, "/est/sen", body=pki.csr(pki.ec_key()))
        assert not octets and "4.0" in said, said
    octets, said = client(device, "/est/guarded/sen", body=pki.csr(pki.ec_key(), ""))
    assert not octets and "5.03" in said, said


def test_a_lossy_link_costs_it_time_and_nothing_else(gw, client, device):
    """It loses by itself what it sends (-l), so the gateway hears each block late or twice."""
    key = pki.ec_key()
    octets, said = client(device, "/est/sen", "-b", 64, "-l", "10", body=pki.csr(key))
    assert octets, said
    check(gw, one(octets), device, key)
    assert len(gw.audit("enroll.issued", device.tag)) == 1
