"""The issuing CAs a fleet may have: RSA, P-384, with CRL, OCSP and issuer addresses; each checked by openssl and cryptography."""
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID as AIA, ExtensionOID

import est
import pki

KINDS = {"RSA-2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
         "RSA-4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
         "P-384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]}


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def issuing_ca(folder, kind):
    """A root and an issuing CA made by openssl; names of certificate, key and root."""
    names = [os.path.join(folder, "other-" + name) for name in ("issuing.pem", "issuing.key", "root.pem", "root.key", "ext")]
    cert, key, root, root_key, ext = names
    openssl("genpkey", *KINDS[kind], "-out", root_key)
    openssl("genpkey", *KINDS[kind], "-out", key)
    openssl("req", "-x509", "-new", "-key", root_key, "-subj", "/CN=%s root" % kind, "-days", "100", "-out", root,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-new", "-key", key, "-subj", "/CN=%s issuing" % kind, "-out", cert + ".csr")
    with open(ext, "w") as out:
        out.write("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
                  "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl("x509", "-req", "-in", cert + ".csr", "-CA", root, "-CAkey", root_key, "-CAcreateserial", "-days", "50",
            "-extfile", ext, "-out", cert)
    os.chmod(key, 0o600)
    return cert, key, root


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_ca_of_this_kind_issues(new_gateway, acme, kind, tmp_path):
    gw = new_gateway()
    cert, key, root = issuing_ca(str(tmp_path), kind)
    gw.settings["cas"].append({"name": "other", "certificate": cert, "key": key, "chain": [root],
                               "crl_url": "http://pki.example.com/a.crl", "ocsp_url": "http://ocsp.example.com/",
                               "issuer_url": "http://pki.example.com/a.cer"})
    gw.add_label("other", ca="other", auth=["certificate", "own"])
    gw.start()
    device = gw.own(acme.idevid())
    answer = est.enroll(gw, pki.csr(pki.ec_key(), ""), device, label="other")
    assert answer.status == 200, answer
    issued = answer.cert()
    (tmp_path / "leaf.pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", cert, str(tmp_path / "leaf.pem"))
    points = issued.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
    assert points[0].full_name[0].value == "http://pki.example.com/a.crl"
    access = {a.access_method: a.access_location.value
              for a in issued.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value}
    assert access == {AIA.OCSP: "http://ocsp.example.com/", AIA.CA_ISSUERS: "http://pki.example.com/a.cer"}
    issuer = x509.load_pem_x509_certificate(open(cert, "rb").read())
    assert issued.issuer == issuer.subject
    # The profile gives 90 days, the CA has 50: what is recorded is what the certificate says.
    row = gw.certs(device.tag)[-1]
    assert row["not_after"] == issued.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ"), (row["not_after"], issued.not_valid_after)
