"""A verifier on loopback that speaks Veraison's challenge-response API over HTTPS, and signs what it is told to say.

    with EarServer(tmp_path) as verifier:
        verifier.settings()              # url, ca and keys of an attester
        verifier.status = "warning"      # of the results from now on; SWITCHES for worse
        verifier.seen                    # (nonce, media type, evidence) of each question
"""
import base64
import hashlib
import http.server
import ipaddress
import json
import os
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

import pki

ROOT = "/challenge-response/v1"
SESSION = "application/vnd.veraison.challenge-response-session+json"
SWITCHES = ("error", "other key", "other nonce", "old", "half", "no result")


def b64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def session_nonce(nonce, spki):
    return hashlib.sha384(nonce + hashlib.sha256(spki).digest()).digest()


class EarServer:
    def __init__(self, folder):
        self.folder = str(folder)
        self.key, self.other_key = pki.ec_key(), pki.ec_key()
        self.status, self.device, self.switch, self.seen = "affirming", "", None, []
        self.sessions = {}
        tls_key = pki.ec_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "verifier")])
        cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(tls_key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=1))
                .not_valid_after(pki.ahead(days=30)).add_extension(x509.BasicConstraints(True, None), True)
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                .sign(tls_key, hashes.SHA256()))
        self.stem = os.path.join(self.folder, "verifier-tls")
        pki.write_pair(self.stem, cert, tls_key)
        self.key_pem = os.path.join(self.folder, "verifier-key.pem")
        with open(self.key_pem, "wb") as out:
            out.write(self.key.public_key().public_bytes(serialization.Encoding.PEM,
                                                         serialization.PublicFormat.SubjectPublicKeyInfo))

    def settings(self):
        return {"url": "https://127.0.0.1:%d%s" % (self.server.server_port, ROOT), "ca": self.stem + ".pem",
                "keys": [self.key_pem]}

    def __enter__(self):
        owner = self

        class Handler(_Handler):
            verifier = owner

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.stem + ".pem", self.stem + ".key")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def result(self, nonce):
        """An EAR as JWT (ES256)."""
        now = int(time.time()) - (7200 if self.switch == "old" else 0)
        if self.switch == "other nonce":
            nonce = b64url(b"n" * 48)
        claims = {"eat_profile": "tag:github.com,2023:veraison/ear", "iat": now, "exp": now + 60, "eat_nonce": nonce,
                  "iss": "verifier", "submods": {"psa": {"ear.status": self.status, "device": self.device}}}
        text = b64url(json.dumps({"alg": "ES256", "typ": "JWT"}).encode()) + "." + b64url(json.dumps(claims).encode())
        key = self.other_key if self.switch == "other key" else self.key
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        token = text + "." + b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return token[:len(token) // 2] if self.switch == "half" else token


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    verifier = None

    def log_message(self, *args):
        pass

    def answer(self, status, document=None, location=None):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", SESSION)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        v = self.verifier
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if v.switch == "error":
            self.answer(500)
        elif self.path.startswith(ROOT + "/newSession?nonce="):
            name = "s%d" % len(v.sessions)
            v.sessions[name] = self.path.split("=", 1)[1]
            self.answer(201, {"nonce": v.sessions[name], "status": "waiting"}, "session/" + name)
        else:
            nonce = v.sessions[self.path.rsplit("/", 1)[1]]
            v.seen.append((nonce, self.headers.get("Content-Type"), body))
            state = {"nonce": nonce, "status": "complete"}
            if v.switch != "no result":
                state["result"] = v.result(nonce)
            self.answer(200, state)

    def do_DELETE(self):
        self.answer(204)
