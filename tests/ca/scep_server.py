"""A SCEP server (RFC 8894) of these tests' own CMS: PKCSReq, CertPoll. It certifies whatever it is sent."""
import http.server
import os
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import cms
import pki
import scep
from api_server import Authority

CAPS = b"AES\nPOSTPKIOperation\nSHA-256\nSCEPStandard\n"
MESSAGE = "application/x-pki-message"


def degenerate(certs):
    """certs-only: no content, no signature."""
    return cms.signed_data(None, [], [pki.cert_der(cert) for cert in certs])


class ScepServer(Authority):
    """
    Plain HTTP. change(cert): the certificate that is given instead of the one that was made, or None. again: nothing is made,
    and the newest of all is given. slow: nothing is made, and who asks or polls for it waits.
    """

    def __init__(self, tree):
        super().__init__(tree)
        self.change, self.again, self.slow, self.transactions = None, False, False, {}
        self.key = rsa.generate_private_key(65537, 2048)
        self.ra = pki.ra_cert(tree.issuing_cert, tree.issuing_key, self.key)
        owner = self

        class Handler(_Handler):
            api = owner

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def get(self, path):
        operation = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["operation"][0]
        if operation == "GetCACaps":
            return "text/plain", CAPS
        assert operation == "GetCACert", operation
        return "application/x-x509-ca-ra-cert", degenerate([self.ra, self.tree.issuing_cert])

    def post(self, octets):
        message = cms.Opened(octets)
        attribute = {oid: value.native for oid, value in message.attributes.items()}
        transaction, kind = attribute[scep.TRANSACTION_ID], int(attribute[scep.MESSAGE_TYPE])
        sealed = cms.Sealed(message.content, pki.cert_der(self.ra), self.key)
        if kind == scep.PKCS_REQ and self.slow:
            self.transactions[transaction] = None
        elif kind == scep.PKCS_REQ and self.again:
            self.transactions[transaction] = self.issued[-1].cert
        elif kind == scep.PKCS_REQ:
            self.transactions[transaction] = self.of_request(x509.load_der_x509_csr(sealed.content))
        else:
            assert kind == scep.CERT_POLL, kind
        cert = self.transactions.get(transaction)
        if cert is not None and self.change is not None:
            cert = self.change(cert)
        waits = self.slow and transaction in self.transactions and cert is None
        return self._reply(message.signer, transaction, attribute[scep.SENDER_NONCE], cert, waits)

    def _reply(self, client, transaction, nonce, cert, waits):
        ra = pki.cert_der(self.ra)
        signature = cms.Signature(ra, self.key)
        signature.set(scep.MESSAGE_TYPE, pki.printable(str(scep.CERT_REP)))
        signature.set(scep.TRANSACTION_ID, pki.printable(transaction))
        signature.set(scep.SENDER_NONCE, pki.octets(os.urandom(16)))
        signature.set(scep.RECIPIENT_NONCE, pki.octets(nonce))
        signature.set(scep.PKI_STATUS, pki.printable(scep.SUCCESS if cert is not None else scep.PENDING if waits else scep.FAILURE))
        content = b""
        if cert is None and not waits:
            signature.set(scep.FAIL_INFO, pki.printable(scep.BAD_CERT_ID))
        elif cert is not None:
            content = cms.Envelope(degenerate([cert]), [client]).der()
        return cms.signed_data(content, [signature], [ra])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *args):
        pass

    def _answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self._answer(*self.api.get(self.path))

    def do_POST(self):
        self._answer(MESSAGE, self.api.post(self.rfile.read(int(self.headers["Content-Length"]))))
