"""
EJBCA's documented REST API, as much of it as the connector calls: enroll, search, revoke, hold, release, status. No approvals.

What it makes of a second call about one certificate is as in its sources (EndEntityManagementSessionBean.revokeCert).
"""
import base64
import re

from cryptography import x509

import pki
from api_server import ApiServer

ROOT = "/ejbca/ejbca-rest-api/v1/certificate"


class EjbcaServer(ApiServer):
    def __init__(self, tree, clients=None):
        self.told = []  # (serial number, reason) of all calls to revoke, in order
        super().__init__(tree, clients)

    def answer(self, method, path, headers, document):
        assert path.startswith(ROOT), path
        at = path[len(ROOT):]
        if (method, at) == ("POST", "/pkcs10enroll"):
            return self._enroll(document)
        if (method, at) == ("POST", "/search"):
            return self._search(document)
        if (method, at) == ("GET", "/status"):
            return 200, {"status": "OK", "version": "1.0", "revision": "test"}
        revoked = re.fullmatch(r"/[^/]+/([0-9a-fA-F]+)/revoke\?reason=([A-Z_]+)", at)
        if method == "PUT" and revoked:
            return self._revoke(revoked.group(1), revoked.group(2))
        asked = re.fullmatch(r"/[^/]+/([0-9a-fA-F]+)/revocationstatus", at)
        if method == "GET" and asked:
            return self._standing(asked.group(1))
        return 404, {"error_code": 404, "error_message": "no such resource"}

    def standing(self, serial):
        """None: it is good; CERTIFICATE_HOLD, or why it is revoked."""
        with self.lock:
            return next(one.revoked for one in self.issued if one.cert.serial_number == serial)

    def _revoke(self, text, reason):
        serial = int(text, 16)
        with self.lock:
            self.told.append((serial, reason))
            found = next((one for one in self.issued if one.cert.serial_number == serial), None)
            if found is None:
                return 404, {"error_code": 404, "error_message": "no such certificate"}
            held = found.revoked == "CERTIFICATE_HOLD"
            if not held and (reason == "REMOVE_FROM_CRL" or found.revoked is not None):
                return 409, {"error_code": 409, "error_message": "it is not on hold, or revoked already"}
            found.revoked = None if reason == "REMOVE_FROM_CRL" else reason
            return 200, {"serial_number": text, "revoked": found.revoked is not None, "revocation_reason": reason}

    def _standing(self, text):
        with self.lock:
            found = [one for one in self.issued if one.cert.serial_number == int(text, 16)]
            if not found:
                return 404, {"error_code": 404, "error_message": "no such certificate"}
            return 200, {"serial_number": text, "revoked": found[0].revoked is not None,
                         "revocation_reason": found[0].revoked or "NOT_REVOKED"}

    def _enroll(self, document):
        user = document["username"]
        wanted = ("DEVICE", "DEVICE_EE", "Plant CA")
        named = tuple(document[name] for name in ("certificate_profile_name", "end_entity_profile_name",
                                                  "certificate_authority_name"))
        if named != wanted or len(document["password"]) < 16:
            return 400, {"error_code": 400, "error_message": "unknown profile, CA, or a weak enrollment code"}
        # An end entity that has its certificate enrolls no second time by the same code.
        if any(one.user == user for one in self.issued):
            return 400, {"error_code": 400, "error_message": "wrong user status"}
        cert = self.of_request(x509.load_pem_x509_csr(document["certificate_request"].encode()), user)
        return 201, {"certificate": base64.b64encode(pki.cert_der(cert)).decode(),
                     "serial_number": "%X" % cert.serial_number, "response_format": "DER"}

    def _search(self, document):
        wanted = {one["property"]: one["value"] for one in document["criteria"]}
        assert wanted["CA"] == "Plant CA" and wanted["END_ENTITY_PROFILE"] == "DEVICE_EE", wanted
        found = [one for one in self.issued if wanted.get("QUERY") in (None, one.user)]
        found = found[:document["max_number_of_results"]]
        return 200, {"certificates": [{"certificate": base64.b64encode(base64.b64encode(pki.cert_der(one.cert))).decode(),
                                       "serial_number": "%X" % one.cert.serial_number} for one in found],
                     "more_results": False}
