"""What local servers of CAs' APIs share: HTTPS with JSON, and a CA that remembers what it issued."""
import http.server
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

import driver
import pki


class Issued:
    def __init__(self, cert, user=""):
        self.cert, self.user, self.revoked = cert, user, None


class Authority:
    """Makes certificates by a hierarchy's issuing key, and keeps them."""

    def __init__(self, tree):
        self.tree, self.issued, self.lock = tree, [], threading.Lock()

    def certify(self, public, subject, names=None, end=None, user="", keep=True):
        ski = x509.SubjectKeyIdentifier.from_public_key
        build = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.tree.issuing_cert.subject)
                 .public_key(public).serial_number(x509.random_serial_number()).not_valid_before(pki.ago(seconds=30))
                 .not_valid_after(end or pki.ahead(hours=20))
                 .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
                 .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                 .add_extension(ski(public), False)
                 .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.tree.issuing_key.public_key()),
                                False))
        if names:
            build = build.add_extension(x509.SubjectAlternativeName(names), False)
        cert = build.sign(self.tree.issuing_key, hashes.SHA256())
        if keep:
            self.keep(cert, user)
        return cert

    def keep(self, cert, user=""):
        with self.lock:
            self.issued.append(Issued(cert, user))

    def of_request(self, csr, user=""):
        """A certificate with the names of the request."""
        return self.certify(csr.public_key(), csr.subject, driver.sans(csr), user=user)

    def revoke(self, serial, reason):
        """false: it has no such certificate."""
        with self.lock:
            found = [one for one in self.issued if one.cert.serial_number == serial]
            for one in found:
                one.revoked = reason
        return bool(found)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64  # whose handshake comes later waits here, not a second for its next SYN
    daemon_threads = True


class ApiServer(Authority):
    """answer(method, path, headers, document) of a subclass gives (status, document)."""

    def __init__(self, tree, clients=None):
        """clients: PEM file; who may show certificates to it, and then must."""
        super().__init__(tree)
        owner = self

        class Handler(_Handler):
            api = owner

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tree.server, tree.server_key_file)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one segment
    api = None

    def log_message(self, *args):
        pass

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, document = self.api.answer(self.command, self.path, self.headers, json.loads(body) if body else None)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _serve
