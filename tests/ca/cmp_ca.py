"""The CMP CA of these tests (cmp_ca.c) as a process: begin, order about, kill, and read what it did."""
import datetime
import os
import signal
import socket
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import driver
from gateway import ENV, SANITIZER, binary

CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
STOP_S = 30
P10CR, CP = 0xa4, 0xa3
HOLD = "6"  # reason certificateHold (RFC 5280, section 5.3.1)


def body_of(message):
    """The tag of a PKIMessage's body (RFC 4210, section 5.1.2): the second member."""
    def after(at, inside):
        size = message[at + 1]
        octets = 0 if size < 0x80 else size & 0x7f
        length = size if size < 0x80 else int.from_bytes(message[at + 2:at + 2 + octets], "big")
        return at + 2 + octets + (0 if inside else length)
    return message[after(after(0, True), False)]


class Issued:
    """One certificate of its records."""

    def __init__(self, transaction, request, cert):
        self.transaction, self.request, self.cert = transaction, request, cert
        self.revoked, self.held = False, False  # one on hold is both
        self.serial = cert.serial_number


class CmpCa:
    """options: of cmp_ca, for every start. settings: as in a gateway's `cas`, and as ca/drive takes them."""

    def __init__(self, tree, *options, by_secret=True, prefix=()):
        self.tree, self.prefix, self.process, self.port = tree, list(prefix), None, 0
        self.journal, self.orders = tree.path("cmp.journal"), tree.path("cmp.orders", b"\n")
        self.log = tree.path("cmp.log")
        self.options = ["--certificate", tree.issuing, "--chain", tree.root, "--key", tree.issuing_key_file, "--orders",
                        self.orders] + list(options)
        self.settings = {"type": "cmp", "allow_plain": True, "tls_ca": tree.root, "certificate": tree.issuing,
                         "chain": [tree.root]}
        self.by_secret() if by_secret else self.by_signature()

    def by_secret(self):
        secret = self.tree.path("cmp.secret", os.urandom(16).hex().encode() + b"\n")
        self.protection = ["--reference", "gateway", "--secret-file", secret]
        self.settings.update(auth="secret", user="gateway", secret_file=secret)

    def by_signature(self):
        """Its issuing certificate signs no messages, so it has one of a registration authority; so has the gateway."""
        (ours, our_key), (theirs, their_key) = self.authority("CMP server"), self.authority("gateway")
        self.protection = ["--signer", ours, "--signer-key", our_key, "--trusted", self.tree.root]
        self.settings.update(auth="signature", client_cert=theirs, client_key=their_key)

    def authority(self, cn, usage=CMC_RA):
        tree, key = self.tree, ec.generate_private_key(ec.SECP256R1())
        name = cn.replace(" ", "-")
        cert = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
                .issuer_name(tree.issuing_cert.subject).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(driver.now() - datetime.timedelta(minutes=1))
                .not_valid_after(driver.now() + datetime.timedelta(days=1))
                .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
                .add_extension(x509.ExtendedKeyUsage([usage]), False)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(tree.issuing_key.public_key()), False)
                .sign(tree.issuing_key, hashes.SHA256()))
        chain = cert.public_bytes(driver.PEM) + tree.issuing_cert.public_bytes(driver.PEM)
        return tree.path(name + ".pem", chain), tree.path(name + ".key", driver.key_pem(key))

    def start(self, *options, journal=True):
        """It listens when this returns; on the same port as before. options: for this once."""
        command = self.prefix + [binary("ca/cmp_ca"), "--port", str(self.port)] + self.options + self.protection
        command += (["--journal", self.journal] if journal else []) + list(options)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=ENV,
                                            text=True)
        line = self.process.stdout.readline()
        assert line.startswith("port "), self.text()
        self.port = int(line.split()[1])
        self.settings["url"] = "http://127.0.0.1:%d/pkix/" % self.port
        return self

    def text(self):
        with open(self.log, errors="replace") as lines:
            return lines.read()[-4000:]

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + STOP_S
        while self.process.poll() is None:  # CivetWeb looks every two seconds whether it is to stop, or when somebody comes
            assert time.monotonic() < ends, self.text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                pass
            time.sleep(0.02)
        code = self.process.returncode
        self._ended()
        assert code == 0 and not SANITIZER.search(self.text()), "exit %d:\n%s" % (code, self.text())

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_S)
        self._ended()

    def _ended(self):
        self.process.stdout.close()
        self.process = None

    def order(self, word=""):
        """What becomes of requests from now on; as a whole or not at all."""
        driver.write(self.orders + ".new", word.encode() + b"\n")
        os.rename(self.orders + ".new", self.orders)

    def time_is_over(self):
        """It takes back what nobody has confirmed."""
        open_ones = [one for one in self.issued() if not one.revoked and self.told(one) is None]
        self.process.send_signal(signal.SIGHUP)
        ends = time.monotonic() + STOP_S
        while not all(one.revoked for one in self.issued() if one.serial in [of.serial for of in open_ones]):
            assert time.monotonic() < ends, self.text()
            time.sleep(0.01)

    # ---- its records

    def events(self):
        with open(self.journal) as lines:
            return [line.split() for line in lines if line.endswith("\n")]

    def issued(self):
        """In the order of their making."""
        out = []
        for event, *words in self.events():
            if event == "issued":
                out.append(Issued(words[0], words[2], x509.load_der_x509_certificate(bytes.fromhex(words[3]))))
            elif event in ("revoked", "released"):
                found = next(one for one in out if one.serial == int(words[0], 16))
                found.revoked = event == "revoked"
                found.held = words[1:] == [HOLD]
        return out

    def told(self, issued):
        """"confirmed", "refused", or None."""
        said = [event for event, *words in self.events()
                if event in ("confirmed", "refused") and words[0] == issued.transaction]
        return said[-1] if said else None
