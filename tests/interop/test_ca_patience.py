"""A CA elsewhere, end to end: whom the gateway trusts to be it, when it is asked again, and what is told of a certificate that it may not take."""
import datetime
import http.server
import os
import sqlite3
import ssl
import sys
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import est  # noqa: E402
import pki  # noqa: E402
from gateway import binary, run  # noqa: E402

CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
WAIT_S = 20


class Busy:
    """An EST server that says 429 to everything, each time on a connection of its own."""

    def __init__(self, tree, retry_after):
        owner = self
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                owner.asked += 1
                owner.answers.wait(WAIT_S)
                self.send_response(429)
                self.send_header("Retry-After", str(retry_after))
                self.send_header("Content-Length", "0")
                self.end_headers()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tree.server, tree.server_key_file)
        context.num_tickets = 0  # every handshake is a whole one, which looks at certificates
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.ca = {"name": "corporate", "type": "est", "url": "https://127.0.0.1:%d" % self.server.server_port,
                   "tls_ca": tree.path("pinned.pem", tree.root_cert.public_bytes(driver.PEM)), "certificate": tree.issuing,
                   "chain": [tree.root], "wait": "0s", "user": "gateway", "secret_file": tree.path("secret", b"password\n")}

    def stop(self):
        self.answers.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def tree(tmp_path_factory):
    return driver.Hierarchy(tmp_path_factory.mktemp("busy"))


@pytest.fixture
def busy(tree):
    made = Busy(tree, 3000)
    yield made
    made.stop()


@pytest.fixture
def gw(new_gateway, busy):
    made = new_gateway()
    made.settings["cas"].append(busy.ca)
    made.add_profile("plain", san=["dns:{hostname}"])
    made.add_label("corporate", ca="corporate", profile="plain", operations=["enroll"])
    return made


def ask(gw, acme):
    answer = est.enroll(gw, pki.csr(pki.ec_key(), ""), gw.own(acme.idevid()), label="corporate")
    assert answer.status == 202, (answer, gw.log)


def put_off(gw, acme, count):
    """One device more asks; when its first try, in vain, is recorded: the seconds until its next one."""
    ask(gw, acme)
    ends = time.monotonic() + WAIT_S
    while True:
        with sqlite3.connect("file:%s?mode=ro" % gw.db, uri=True) as db:
            rows = db.execute("SELECT next_try_s, error FROM intent WHERE tries > 0 AND state = 0 AND error <> '' ORDER BY id").fetchall()
        if len(rows) == count:
            assert "HTTP 429" in rows[-1][1], rows
            return rows[-1][0] - time.time()
        assert time.monotonic() < ends, (rows, gw.log[-3000:])
        time.sleep(0.1)


def test_what_stands_in_the_pinned_file_later_counts_from_a_reload_on(gw, busy, acme):
    gw.start()
    put_off(gw, acme, 1)
    good = open(busy.ca["tls_ca"], "rb").read()
    with open(busy.ca["tls_ca"], "wb") as file:
        file.write(good[:len(good) // 2])
    # Two calls at once: one by the handle of the first call, and one that has never read the file.
    busy.answers.clear()
    before = busy.asked
    ask(gw, acme)
    ask(gw, acme)
    ends = time.monotonic() + WAIT_S
    while busy.asked < before + 2:
        assert time.monotonic() < ends, gw.log[-3000:]
        time.sleep(0.05)
    assert "not trusted" not in gw.log, gw.log
    assert "pinned.pem" in gw.reload(write=False)


@pytest.mark.parametrize("usages, warned", [([ExtendedKeyUsageOID.CLIENT_AUTH], True), ([CMC_RA], False)])
def test_the_check_warns_of_an_est_client_that_is_no_registrar(gw, busy, tree, usages, warned):
    key = ec.generate_private_key(ec.SECP256R1())
    cert = (x509.CertificateBuilder().subject_name(driver.name("ra")).issuer_name(driver.name("ra")).public_key(key.public_key())
            .serial_number(7).not_valid_before(driver.now()).not_valid_after(driver.now() + datetime.timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage(usages), False).sign(key, hashes.SHA256()))
    for setting in ("user", "secret_file"):
        del busy.ca[setting]
    busy.ca["client_cert"] = tree.path("ra.pem", cert.public_bytes(driver.PEM))
    busy.ca["client_key"] = tree.path("ra.key", driver.key_pem(key))
    gw.write()
    done = run(binary("enrolld"), "-c", gw.conf, "--check")
    assert done.returncode == 0, done.stderr
    assert ("lacks the extended key usage id-kp-cmcRA" in done.stderr) == warned, done.stderr
    gw.start()
    assert ("lacks the extended key usage id-kp-cmcRA" in gw.log) == warned, gw.log


def test_a_busy_ca_is_asked_again_when_it_says(gw, busy, acme):
    gw.start()
    assert 2900 < put_off(gw, acme, 1) <= 3000
    assert busy.asked == 1
