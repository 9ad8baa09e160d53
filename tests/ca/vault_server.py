"""The documented API of Vault's PKI engine, as much of it as the connector calls: sign by a role, revoke, health."""
import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.x509.oid import NameOID

import driver
from api_server import ApiServer


class VaultServer(ApiServer):
    """A mount "pki" with one role, "device", which has an organization; names are those of the call."""

    def __init__(self, tree, organization="Operations"):
        super().__init__(tree)
        self.organization, self.token = organization, os.urandom(16).hex()

    def answer(self, method, path, headers, document):
        if path == "/v1/sys/health":
            return 200, {"initialized": True, "sealed": False, "standby": False}
        if headers.get("X-Vault-Token") != self.token:
            return 403, {"errors": ["permission denied"]}
        if (method, path) == ("POST", "/v1/pki/sign/device"):
            return self._sign(document)
        if (method, path) == ("POST", "/v1/pki/revoke"):
            if not self.revoke(int(document["serial_number"].replace(":", ""), 16), "unspecified"):
                return 400, {"errors": ["certificate not found"]}
            return 200, {"data": {"revocation_time": 1, "state": "revoked"}}
        return 404, {"errors": []}

    def _sign(self, document):
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, document["common_name"]),
                   x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organization)]
        if document.get("serial_number"):
            subject.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, document["serial_number"]))
        names = [x509.RFC822Name(name) if "@" in name else x509.DNSName(name) for name in _list(document["alt_names"])]
        names += [x509.UniformResourceIdentifier(name) for name in _list(document["uri_sans"])]
        names += [x509.IPAddress(ipaddress.ip_address(name)) for name in _list(document["ip_sans"])]
        end = datetime.datetime.strptime(document["not_after"], "%Y-%m-%dT%H:%M:%SZ")
        request = x509.load_pem_x509_csr(document["csr"].encode())
        cert = self.certify(request.public_key(), x509.Name(subject), names, end)
        serial = "%040x" % cert.serial_number
        return 200, {"data": {"certificate": cert.public_bytes(driver.PEM).decode(),
                              "issuing_ca": self.tree.issuing_cert.public_bytes(driver.PEM).decode(),
                              "serial_number": ":".join(serial[at:at + 2] for at in range(0, 40, 2))}}


def _list(names):
    return names if isinstance(names, list) else [name for name in names.split(",") if name]
