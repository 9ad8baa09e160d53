"""A fake MDM service over HTTPS on loopback: Intune's token, discovery and ScepActions endpoints, and a webhook.

    with MdmServer(tmp_path) as mdm:
        mdm.url, mdm.ca_pem                   # what a gateway's settings want; mdm.settings() is a start
        mdm.expect("challenge-1", device="SN-1")
        mdm.switch("expired")                 # see SWITCHES; None is well-behaved; on="token": that endpoint only
        seen = mdm.await_seen("validateRequest")   # the next one, as a dict; waits for it
        mdm.seen                              # everything that came, in order

A challenge is good once, and only when expect() named it. Intune's challenge is read from the
request itself (challengePassword), as Intune does; the webhook's from its JSON, and both must agree.
"""
import base64
import datetime
import http.server
import ipaddress
import json
import os
import socket
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE_S = 30
CHALLENGE_PASSWORD = x509.ObjectIdentifier("1.2.840.113549.1.9.7")

SWITCHES = {
    "deny": "the service says no",
    "expired": "the challenge is too old",
    "error": "HTTP 500",
    "busy": "HTTP 503 with Retry-After",
    "unauthorized": "HTTP 401 for every token",
    "no_token": "the token endpoint refuses the client",
    "hang": "nothing is answered until release() or stop()",
    "oversized": "a body past every limit",
    "invalid_json": "half a document",
    "wrong_type": "a verdict of the wrong JSON type",
    "redirect": "HTTP 307 to the right place",
    "drop": "the connection is closed without an answer",
}


def _name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(common_name, key, issuer=None, issuer_key=None, san=None):
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(_name(common_name))
               .issuer_name(issuer.subject if issuer else _name(common_name)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=30))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def _pem(path, *parts):
    with open(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(b"".join(parts))
    return str(path)


def _cert_pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def challenge_of(csr_der):
    """The challengePassword of a PKCS#10 request, or None; the request must verify."""
    csr = x509.load_der_x509_csr(csr_der)
    assert csr.is_signature_valid
    try:
        return csr.attributes.get_attribute_for_oid(CHALLENGE_PASSWORD).value.decode()
    except x509.AttributeNotFound:
        return None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner, context):
        self.owner = owner
        self.context = context
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self):
        plain, peer = super().get_request()
        # The handshake belongs to the connection's own thread: a slow peer must not stop the others.
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request, client_address):
        """Peers that break off are what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, document=None, headers=(), raw=None):
        body = raw if raw is not None else b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.owner.handle(self, body)

    do_GET = do_POST


class MdmServer:
    """One service; random port, its own CA in folder/mdm-ca.pem, secrets in files of mode 0600."""

    client_id = "11111111-2222-3333-4444-555555555555"
    secret = "intune-Client~Secret/+="
    bearer = "webhook-bearer-token"

    def __init__(self, folder, name="mdm", trusted=True):
        """trusted False: the certificate chains to a CA that is not in ca_pem."""
        stem = os.path.join(str(folder), name)
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca = _certificate("MDM CA", ca_key)
        other_key = ec.generate_private_key(ec.SECP256R1())
        other = _certificate("Other CA", other_key)
        issuer, issuer_key = (ca, ca_key) if trusted else (other, other_key)
        cert = _certificate("mdm", key, issuer, issuer_key,
                            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
        self.ca_pem = _pem(stem + "-ca.pem", _cert_pem(ca))
        self.secret_file = _pem(stem + "-client.secret", self.secret.encode() + b"\n")
        self.bearer_file = _pem(stem + "-bearer.secret", self.bearer.encode() + b"\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_pem(stem + "-cert.pem", _cert_pem(cert), _key_pem(key)))
        self.server = _Server(self, context)
        self.port = self.server.server_address[1]
        self.url = "https://127.0.0.1:%d" % self.port
        self.token_url = self.url + "/tenant/oauth2/v2.0/token"
        self.discovery_url = self.url + "/v1.0/servicePrincipals/appId=0000000a-0000-0000-c000-000000000000/endpoints"
        self.intune_url = self.url + "/shard/ScepService"
        self.webhook_url = self.url + "/hook"
        self.notify_url = self.url + "/notify"
        self.seen = []            # every request, in order
        self.tokens = []          # every token given, in order
        self.expires_in = 3600
        self._good = {}           # challenge -> device
        self._used = set()
        self._switch, self._switch_on = None, None
        self._taken = {}          # kind -> how many await_seen() gave
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._thread = None

    # ---- what a test does

    def start(self):
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Calls that hang end; later ones are refused a connection."""
        self._released.set()
        if self._thread is not None:
            self.server.shutdown()
            self._thread.join(PATIENCE_S)
            self._thread = None
        self.server.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def settings(self, kind, **more):
        """Settings of a gateway's MDM service, under the names of struct mdm_settings."""
        if kind == "webhook":
            base = {"type": "webhook", "url": self.webhook_url, "ca": self.ca_pem, "secret_file": self.bearer_file,
                    "notify_url": self.notify_url}
        else:
            base = {"type": "intune", "url": self.intune_url, "ca": self.ca_pem, "token_url": self.token_url,
                    "client_id": self.client_id, "secret_file": self.secret_file, "provider": "enrolld test"}
        return dict(base, **more)

    def expect(self, challenge, device=None):
        """This challenge is good for one enrollment."""
        with self._changed:
            self._good[challenge] = device

    def switch(self, how, on=None):
        """on: a kind of request, as await_seen() names them; None: all but token and discovery."""
        assert how is None or how in SWITCHES, how
        with self._changed:
            self._switch, self._switch_on = how, "token" if how == "no_token" else on
            if how == "hang":
                self._released.clear()

    def release(self):
        """What hangs is answered as if nothing had been."""
        with self._changed:
            self._switch = None
        self._released.set()

    def revoke_tokens(self):
        """Tokens given so far are answered 401."""
        with self._changed:
            del self.tokens[:]

    def count(self, kind):
        with self._changed:
            return sum(1 for seen in self.seen if seen["kind"] == kind)

    def await_seen(self, kind, timeout=PATIENCE_S):
        """The next request of this kind that was not given yet: token, discovery, validateRequest,
        successNotification, failureNotification, webhook, issued, refused."""
        def at():
            return [seen for seen in self.seen if seen["kind"] == kind]

        with self._changed:
            wanted = self._taken.get(kind, 0)
            assert self._changed.wait_for(lambda: len(at()) > wanted, timeout), \
                "no %s came; seen: %s" % (kind, [seen["kind"] for seen in self.seen])
            self._taken[kind] = wanted + 1
            return at()[wanted]

    # ---- what the service does

    def handle(self, handler, body):
        path = urllib.parse.urlsplit(handler.path).path
        kind, document = self._kind(path, body)
        with self._changed:
            self.seen.append({"kind": kind, "path": handler.path, "method": handler.command, "body": document,
                              "headers": {name.lower(): value for name, value in handler.headers.items()}})
            self._changed.notify_all()
            concerned = kind == self._switch_on or (self._switch_on is None and kind not in ("token", "discovery"))
            how = self._switch if concerned else None
        if how == "hang":
            self._released.wait(PATIENCE_S)
            how = None
        if not self._misbehave(handler, how):
            self._behave(handler, kind, document, how)

    @staticmethod
    def _kind(path, body):
        if path.endswith("/token"):
            return "token", dict(urllib.parse.parse_qsl(body.decode()))
        if path.endswith("/endpoints"):
            return "discovery", None
        document = json.loads(body) if body else None
        if "/ScepActions/" in path:
            return path.rsplit("/", 1)[1], document
        if path == "/notify":
            return document["event"], document
        return ("webhook" if path == "/hook" else "unknown"), document

    def _misbehave(self, handler, how):
        if how == "error":
            handler.answer(500, {"allow": True, "code": "Success"})
        elif how == "busy":
            handler.answer(503, None, [("Retry-After", "30")])
        elif how == "oversized":
            handler.answer(200, {"allow": True, "code": "Success", "padding": "x" * (4 << 20)})
        elif how == "invalid_json":
            handler.answer(200, raw=b'{"allow": true, "code": "Success"')
        elif how == "redirect":
            handler.answer(307, None, [("Location", self.url + handler.path)])
        elif how == "drop":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            return False
        return True

    def _behave(self, handler, kind, document, how):
        authorization = handler.headers.get("Authorization", "")
        if kind == "token":
            self._give_token(handler, document, how)
        elif kind in ("webhook", "issued", "refused"):
            if how == "unauthorized" or authorization != "Bearer " + self.bearer:
                handler.answer(401)
            elif kind == "webhook":
                handler.answer(200, self._webhook_verdict(document, how))
            else:
                handler.answer(204)
        elif how == "unauthorized" or not self._knows_token(authorization):
            handler.answer(401, {"error": {"code": "InvalidAuthenticationToken"}})
        elif kind == "discovery":
            handler.answer(200, {"value": [{"providerName": "SomethingElse", "uri": "https://127.0.0.1:1/"},
                                           {"providerName": "ScepRequestValidationFEService", "uri": self.intune_url}]})
        elif kind == "validateRequest":
            handler.answer(200, self._intune_verdict(document["request"], how))
        elif kind in ("successNotification", "failureNotification"):
            code = "CertificateRequestDecodingFailed" if how == "deny" else "Success"
            handler.answer(200, {"code": code, "errorDescription": ""})
        else:
            handler.answer(404)

    def _give_token(self, handler, form, how):
        wanted = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.secret}
        if how == "no_token" or any(form.get(name) != value for name, value in wanted.items()):
            handler.answer(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."})
            return
        with self._changed:
            self.tokens.append("token-%d-%s" % (len(self.seen), base64.urlsafe_b64encode(os.urandom(9)).decode()))
            token = self.tokens[-1]
        handler.answer(200, {"token_type": "Bearer", "expires_in": self.expires_in, "access_token": token})

    def _knows_token(self, authorization):
        with self._changed:
            return authorization.startswith("Bearer ") and authorization[len("Bearer "):] in self.tokens

    def _use(self, challenge):
        """None when it is good, and used from now on; else why not."""
        with self._changed:
            if challenge is None or challenge not in self._good:
                return "unknown"
            if challenge in self._used:
                return "used"
            self._used.add(challenge)
            return None

    def _intune_verdict(self, request, how):
        if how == "expired":
            return {"code": "ChallengeExpired", "errorDescription": "The challenge has expired."}
        if how == "deny":
            return {"code": "SubjectNameMismatch", "errorDescription": "Not what the profile says."}
        if how == "wrong_type":
            return {"code": True, "errorDescription": ""}
        try:
            why = self._use(challenge_of(base64.b64decode(request["certificateRequest"], validate=True)))
        except (ValueError, AssertionError):
            return {"code": "CertificateRequestDecodingFailed", "errorDescription": "No request."}
        if why is not None:
            return {"code": "ChallengeDecryptionError", "errorDescription": why}
        return {"code": "Success", "errorDescription": ""}

    def _webhook_verdict(self, document, how):
        if how in ("expired", "deny"):
            return {"allow": False, "error": {"code": how, "message": SWITCHES[how]}}
        if how == "wrong_type":
            return {"allow": "true"}
        challenge = document["challenge"]
        if challenge_of(base64.b64decode(document["csr"], validate=True)) not in (None, challenge):
            return {"allow": False, "error": {"code": "mismatch", "message": "the request holds another challenge"}}
        why = self._use(challenge)
        if why is not None:
            return {"allow": False, "error": {"code": why, "message": "not a good challenge"}}
        device = self._good[challenge]
        return {"allow": True, "data": {} if device is None else {"device": device}}
