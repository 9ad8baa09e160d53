"""A hierarchy, requests, and the driver of one connector (drive.c), for tests against CAs that nobody here wrote."""
import datetime
import ipaddress
import os
import re
import socket
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway import binary, run

START_S = 60
PEM = serialization.Encoding.PEM


def name(cn):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Works"),
                      x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def write(path, octets, mode=0o600):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(octets)
    return str(path)


def serial_hex(serial):
    """As the gateway writes it, and wants it: whole octets."""
    return serial.to_bytes((serial.bit_length() + 7) // 8, "big").hex()


def key_pem(key, form=serialization.PrivateFormat.PKCS8):
    return key.private_bytes(PEM, form, serialization.NoEncryption())


class Hierarchy:
    """A root, an issuing CA below it, and a server certificate for 127.0.0.1 by the root."""

    def __init__(self, folder):
        self.dir = str(folder)
        self.root_key, self.issuing_key, self.server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.root_cert = self._sign(name("Peer Root"), self.root_key, name("Peer Root"), ca=1)
        self.issuing_cert = self._sign(name("Peer Issuing"), self.issuing_key, self.root_cert.subject, ca=0)
        server = self._sign(name("server"), self.server_key, self.root_cert.subject, ca=None)
        self.root = self.path("root.pem", self.root_cert.public_bytes(PEM))
        self.issuing = self.path("issuing.pem", self.issuing_cert.public_bytes(PEM))
        self.server = self.path("server.pem", server.public_bytes(PEM))
        sec1 = serialization.PrivateFormat.TraditionalOpenSSL  # what older Go programs read
        self.issuing_key_file = self.path("issuing.key", key_pem(self.issuing_key, sec1))
        self.server_key_file = self.path("server.key", key_pem(self.server_key, sec1))

    def path(self, file, octets=None):
        path = os.path.join(self.dir, file)
        return path if octets is None else write(path, octets)

    def _sign(self, subject, key, issuer, ca):
        build = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
                 .serial_number(x509.random_serial_number()).not_valid_before(now() - datetime.timedelta(days=1))
                 .not_valid_after(now() + datetime.timedelta(days=365))
                 .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if ca is None:
            address = ipaddress.ip_address("127.0.0.1")
            build = build.add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), False)
        else:
            build = build.add_extension(x509.BasicConstraints(True, ca), True).add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
        return build.sign(self.root_key, hashes.SHA256())

    def csr(self, cn="rtr-7", sans=()):
        """A request; its path and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        build = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
        if sans:
            build = build.add_extension(x509.SubjectAlternativeName(list(sans)), False)
        request = build.sign(key, hashes.SHA256())
        return self.path("%x.csr" % x509.random_serial_number(), request.public_bytes(PEM)), key


class Done:
    """What the driver printed."""

    def __init__(self, done):
        self.code, self.text = done.returncode, done.stdout
        assert self.code in (0, 1), done.stderr
        found = dict(re.findall(r"^(state|reference|serial|verify) (.*)$", self.text, re.M))
        self.state, self.serial, self.verify = found.get("state"), found.get("serial"), found.get("verify")
        self.reference = found.get("reference", "")
        at = self.text.find("-----BEGIN CERTIFICATE")
        self.cert = x509.load_pem_x509_certificate(self.text[at:].encode()) if at >= 0 else None


def drive(settings, *command, **spec):
    """settings and spec: lists give a setting more than once."""
    words = []
    for key, value in list(settings.items()) + list(spec.items()):
        words += ["%s=%s" % (key, one) for one in (value if isinstance(value, list) else [value])]
    return Done(run(binary("ca/drive"), *words, *command))


def check_issued(done, hierarchy_cert, key):
    """By another library: the request's key, the CA's signature."""
    assert done.state == "issued", done.text
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    assert done.cert.public_key().public_bytes(PEM, public) == key.public_key().public_bytes(PEM, public)
    hierarchy_cert.public_key().verify(done.cert.signature, done.cert.tbs_certificate_bytes,
                                       ec.ECDSA(done.cert.signature_hash_algorithm))
    assert "%x" % done.cert.serial_number == done.serial.lstrip("0")


def sans(cert):
    try:
        return list(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


class Service:
    """A program that listens on a port of 127.0.0.1, from start to stop."""

    def __init__(self, command, port, log, cwd, env=None):
        self.port, self.log = port, str(log)
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env)
        ends = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < ends, self.text()
                time.sleep(0.05)

    def text(self):
        with open(self.log, errors="replace") as lines:
            return lines.read()[-4000:]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
