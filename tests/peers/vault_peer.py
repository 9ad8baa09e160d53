"""OpenBao (bao) or HashiCorp Vault (vault) in development mode, over TLS, with a PKI engine and logins for the gateway."""
import glob
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request

import driver
from gateway import free_port

PROGRAM = shutil.which("bao") or shutil.which("vault")
MISSING = "neither bao (OpenBao) nor vault is there: make test-peers installs the latter"
READY_S = 60
POLL_S = 0.05
POLICY = """path "pki/sign/device" { capabilities = ["update"] }
path "pki/revoke" { capabilities = ["update"] }"""
ROLE = {"allow_any_name": True, "enforce_hostnames": False, "allow_ip_sans": True, "allowed_uri_sans": "*",
        "allowed_serial_numbers": "*", "use_csr_common_name": False, "use_csr_sans": False, "key_type": "any",
        "key_usage": "DigitalSignature", "server_flag": False, "client_flag": True, "max_ttl": "2160h",
        "not_before_duration": "30s"}


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__("HTTP %d: %s" % (status, text))
        self.status = status


class VaultPeer:
    """flags: more of `vault server`. organization: of the role "device". Its log says no secret but the root token's."""

    def __init__(self, tree, *flags, organization="Example Works"):
        self.tree, self.port, self.root_token = tree, free_port(), "root-" + os.urandom(8).hex()
        self.url = "https://127.0.0.1:%d" % self.port
        self.service = driver.Service(
            [PROGRAM, "server", "-dev", "-dev-root-token-id=" + self.root_token, "-dev-no-store-token", "-dev-tls",
             "-dev-tls-cert-dir=" + tree.dir, "-dev-listen-address=127.0.0.1:%d" % self.port] + list(flags),
            self.port, tree.path("vault.log"), tree.dir, dict(os.environ, HOME=tree.dir))
        try:
            self.tls_ca, = glob.glob(tree.path("*-ca.pem"))
            self.tls = ssl.create_default_context(cafile=self.tls_ca)
            self.await_health(200)
            self._configure(organization)
        except BaseException:
            self.stop()
            raise

    def api(self, method, path, body=None, url=None):
        asked = urllib.request.Request((url or self.url) + "/v1/" + path, None if body is None else json.dumps(body).encode(),
                                       {"X-Vault-Token": self.root_token, "Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30, context=self.tls) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read()) from None
        return json.loads(text) if text else {}

    def health(self):
        try:
            self.api("GET", "sys/health")
        except Refused as refused:
            return refused.status
        return 200

    def await_health(self, status):
        ends = time.monotonic() + READY_S
        while self.health() != status:
            assert time.monotonic() < ends, self.service.text()
            time.sleep(POLL_S)

    def await_passing_on(self, url):
        """url: of a standby node. A redirected POST is not followed."""
        ends = time.monotonic() + READY_S
        while True:
            try:
                return self.api("POST", "auth/token/lookup-self", {}, url)
            except Refused as refused:
                assert time.monotonic() < ends, refused
                time.sleep(POLL_S)

    def _configure(self, organization):
        self.api("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "8760h"}})
        with open(self.tree.issuing) as cert, open(self.tree.issuing_key_file) as key:
            self.api("POST", "pki/config/ca", {"pem_bundle": cert.read() + key.read()})
        self.add_role("device", organization=organization)
        self.api("PUT", "sys/policies/acl/gate", {"policy": POLICY})
        self.api("POST", "sys/auth/approle", {"type": "approle"})
        self.ca = {"url": self.url, "tls_ca": self.tls_ca, "certificate": self.tree.issuing, "profile": "device",
                   **self.add_approle("gate", token_ttl="1h")}
        self.settings = dict(self.ca, type="vault", chain=self.tree.root)

    def add_role(self, name, **change):
        self.api("POST", "pki/roles/" + name, dict(ROLE, **change))

    def add_approle(self, name, **change):
        """What the gateway's configuration says of it."""
        path = "auth/approle/role/" + name
        self.api("POST", path, dict({"token_policies": "gate"}, **change))
        role = self.api("GET", path + "/role-id")["data"]["role_id"]
        secret = self.api("POST", path + "/secret-id", {"metadata": "{}"})["data"]["secret_id"]
        return {"auth": "approle", "user": role, "secret_file": self.tree.path(name + ".secret", secret.encode() + b"\n")}

    def as_root(self):
        return {"auth": "token", "secret_file": self.tree.path("root.token", self.root_token.encode() + b"\n")}

    def seal(self):
        self.api("PUT", "sys/seal")

    def unseal(self):
        """By the key that development mode prints."""
        with open(self.service.log, errors="replace") as lines:
            key = re.search(r"Unseal Key: (\S+)", lines.read()).group(1)
        self.api("PUT", "sys/unseal", {"key": key})
        self.await_health(200)

    def record(self, serial):
        """What it has on the certificate of this number: its PEM text, whether it is revoked."""
        kept = self.api("GET", "pki/cert/" + ":".join(re.findall("..", driver.serial_hex(serial))))["data"]
        return kept["certificate"], kept["revocation_time"] != 0

    def serials(self):
        return [int(text.replace(":", "").replace("-", ""), 16) for text in
                self.api("GET", "pki/certs?list=true")["data"]["keys"]]

    def stop(self):
        self.service.stop()
