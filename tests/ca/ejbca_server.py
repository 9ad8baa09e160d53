"""EJBCA's documented REST API, as much of it as the connector calls: enroll, search, revoke, status. No approvals."""
import base64
import re

from cryptography import x509

import pki
from api_server import ApiServer

ROOT = "/ejbca/ejbca-rest-api/v1/certificate"


class EjbcaServer(ApiServer):
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
            serial, reason = int(revoked.group(1), 16), revoked.group(2)
            if not self.revoke(serial, reason):
                return 404, {"error_code": 404, "error_message": "no such certificate"}
            return 200, {"serial_number": revoked.group(1), "revoked": True, "revocation_reason": reason}
        return 404, {"error_code": 404, "error_message": "no such resource"}

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
