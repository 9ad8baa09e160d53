"""The EST operations (RFC 7030 with RFC 8951), answer by answer."""
import base64
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import est
import pki

CSRATTRS = ["challengePassword", "ecPublicKey=secp384r1", "extensionRequest=subjectAltName"]


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_profile("rsa-made", keygen="RSA:2048")
    gateway.add_label("attrs", csrattrs=CSRATTRS, realm="the fleet")
    gateway.add_label("lax", require_content_type=False)
    gateway.add_label("guarded", approval="manual", retry_after="7s")
    gateway.add_label("enroll-only", operations=["enroll"])
    gateway.add_label("secrets", auth=["secret"])
    gateway.add_label("rsa", profile="rsa-made")
    return gateway.start()


def check_cert(gw, cert, device, key):
    """What every certificate of this gateway has to be."""
    issuing = x509.load_pem_x509_certificate(open(gw.issuing, "rb").read())
    pki.verify(issuing, cert)
    assert pki.spki(cert.public_key()) == pki.spki(key)
    assert cert.version == x509.Version.v3
    assert cert.issuer == issuing.subject
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == device.tag
    assert cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Operations"
    assert cert.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == device.serial
    assert 64 < cert.serial_number.bit_length() <= 159
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [device.tag.lower() + ".example.net"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:dev:sn:" + device.serial]
    usage = cert.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature
    assert not usage.value.key_cert_sign and not usage.value.crl_sign
    assert list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == \
        [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = [e for e in cert.extensions if isinstance(e.value, x509.BasicConstraints)]
    assert all(not e.value.ca for e in constraints)
    assert cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == \
        issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest in pki.key_ids(key)
    assert cert.not_valid_before <= pki.now() < cert.not_valid_after
    assert 89 <= (cert.not_valid_after - pki.now()).days <= 90


def check_records(gw, cert, device, action="enroll.issued"):
    """The inventory and the audit name exactly this certificate."""
    serial = "%x" % cert.serial_number
    rows = [row for row in gw.certs(device.tag) if row["serial"].lstrip("0").lower() == serial]
    assert len(rows) == 1 and rows[0]["status"] == "valid"
    assert rows[0]["sha256"] == pki.sha256_hex(pki.cert_der(cert))
    assert rows[0]["spki_sha256"] == pki.sha256_hex(pki.spki(cert.public_key()))
    rows = [row for row in gw.audit(action, device.tag) if row["detail"].get("cert_sha256") ==
            pki.sha256_hex(pki.cert_der(cert))]
    assert len(rows) == 1 and rows[0]["actor"] == "device:" + device.tag


# ---- cacerts

def test_cacerts_holds_the_chain_to_the_root(gw):
    answer = est.get(gw, "cacerts")
    assert answer.status == 200
    assert answer.get("Content-Type") == "application/pkcs7-mime"
    assert answer.get("Content-Transfer-Encoding") == "base64"
    certs = answer.certs()
    with open(gw.issuing, "rb") as issuing, open(gw.root, "rb") as root:
        assert [pki.cert_pem(cert) for cert in certs] == [issuing.read(), root.read()] or \
            {pki.cert_pem(cert) for cert in certs} == {open(gw.issuing, "rb").read(), open(gw.root, "rb").read()}
    assert {cert.subject for cert in certs} == {certs[0].subject, certs[0].issuer}


def test_cacerts_needs_no_credentials_and_answers_under_a_label_too(gw):
    assert est.get(gw, "cacerts", "attrs").body == est.get(gw, "cacerts").body


# ---- simpleenroll

@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "RSA-3072"])
def test_a_factory_certificate_gets_a_certificate(gw, device, kind):
    key = {"P-256": lambda: pki.ec_key(), "P-384": lambda: pki.ec_key(ec.SECP384R1),
           "RSA-2048": lambda: pki.rsa_key(2048, name="enroll"),
           "RSA-3072": lambda: pki.rsa_key(3072, name="enroll")}[kind]()
    answer = est.enroll(gw, pki.csr(key, "CN=whatever"), device)
    assert answer.get("Content-Type") == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.get("Content-Transfer-Encoding") == "base64"
    check_cert(gw, answer.cert(), device, key)
    check_records(gw, answer.cert(), device)


def test_a_factory_certificate_with_an_rsa_key_gets_a_certificate(gw, acme):
    device = gw.own(acme.idevid(key=pki.rsa_key(2048, name="idevid")))
    key = pki.ec_key()
    check_cert(gw, est.enroll(gw, pki.csr(key), device).cert(), device, key)


def test_tls_1_2_and_1_3_both_serve(gw, device):
    for version in (est.ssl.TLSVersion.TLSv1_2, est.ssl.TLSVersion.TLSv1_3):
        key = pki.ec_key()
        check_cert(gw, est.enroll(gw, pki.csr(key), device, version=version).cert(), device, key)


def test_a_one_time_secret_gets_a_certificate_once(gw, acme):
    device = gw.own(acme.idevid())
    secret, key = gw.secret(device.tag), pki.ec_key()
    cert = est.enroll(gw, pki.csr(key), user=device.tag, secret=secret).cert()
    check_cert(gw, cert, device, key)
    check_records(gw, cert, device)
    again = est.enroll(gw, pki.csr(pki.ec_key()), user=device.tag, secret=secret)
    assert again.status == 401
    assert len(gw.certs(device.tag)) == 1


def test_a_static_secret_gets_as_many_certificates_as_asked_for(gw, acme):
    device = gw.own(acme.idevid())
    secret = gw.secret(device.tag, "--static")
    for _ in range(2):
        key = pki.ec_key()
        check_cert(gw, est.enroll(gw, pki.csr(key), user=device.tag, secret=secret).cert(), device, key)
    assert len(gw.certs(device.tag)) == 2


def test_a_secret_for_one_label_opens_no_other(gw, acme):
    device = gw.own(acme.idevid())
    secret = gw.secret(device.tag, "--label", "secrets")
    assert est.enroll(gw, pki.csr(pki.ec_key()), user=device.tag, secret=secret).status == 401
    assert est.enroll(gw, pki.csr(pki.ec_key()), label="secrets", user=device.tag, secret=secret).status == 200


def test_an_expired_secret_opens_nothing(gw, acme):
    device = gw.own(acme.idevid())
    secret = gw.secret(device.tag)
    connection = gw.database()
    with connection:  # time cannot be waited for; the row is aged instead
        connection.execute("UPDATE secret SET expires_s = 1000 WHERE asset_id ="
                           " (SELECT id FROM asset WHERE tag = ?)", (device.tag,))
    connection.close()
    assert est.enroll(gw, pki.csr(pki.ec_key()), user=device.tag, secret=secret).status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(),
                                    "Basic " + base64.b64encode(b":empty user").decode(),
                                    "Basic " + base64.b64encode(b"user:").decode(), "Bearer abc",
                                    "Basic " + base64.b64encode(b"a\0b:c").decode()])
def test_unreadable_credentials_are_none(gw, header):
    answer = est.enroll(gw, pki.csr(pki.ec_key()), headers={"Authorization": header})
    assert answer.status == 401
    assert answer.get("WWW-Authenticate") == 'Basic realm="enrolld"'


# ---- simplereenroll

@pytest.fixture
def owned(gw, device, tmp_path):
    """The device with its first certificate of ours."""
    key = pki.ec_key()
    return device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device).cert(), key)


def renewal(gw, device, owned, key):
    old = owned.cert
    csr = pki.csr(key, "CN=%s,O=Operations,serialNumber=%s" % (device.tag, device.serial))
    cert = est.reenroll(gw, csr, owned).cert()
    check_cert(gw, cert, device, key)
    assert cert.subject == old.subject and cert.serial_number != old.serial_number
    rows = {row["serial"].lstrip("0").lower(): row for row in gw.certs(device.tag)}
    new = rows["%x" % cert.serial_number]
    assert new["replaces"] == rows["%x" % old.serial_number]["id"]
    assert rows["%x" % old.serial_number]["status"] == "valid", "a renewal revokes nothing"


def test_a_renewal_may_keep_the_key(gw, device, owned):
    renewal(gw, device, owned, owned.key)


def test_a_renewal_may_change_the_key(gw, device, owned):
    renewal(gw, device, owned, pki.ec_key())


def test_a_renewal_may_change_the_kind_of_key(gw, device, owned):
    renewal(gw, device, owned, pki.rsa_key(2048, name="rekey"))


def test_a_renewal_needs_the_certificate_that_is_renewed(gw, device):
    answer = est.reenroll(gw, pki.csr(pki.ec_key()), device)
    assert answer.status == 403
    assert gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"] in ("renewal.proof", "proof.allowed")


def test_our_own_certificate_may_enroll_again(gw, device, owned):
    key = pki.ec_key()
    check_cert(gw, est.enroll(gw, pki.csr(key), owned).cert(), device, key)


# ---- csrattrs

def test_csrattrs_without_entries_is_204_without_a_body(gw):
    with est.Conn(gw) as conn:
        answer = conn.request("GET", est.path("csrattrs"))
        assert (answer.status, answer.body, answer.get("Content-Type")) == (204, b"", None)
        assert conn.request("GET", est.path("cacerts")).status == 200  # nothing followed it


def test_csrattrs_with_entries_names_them_in_der(gw):
    answer = est.get(gw, "csrattrs", "attrs")
    assert answer.status == 200
    assert answer.get("Content-Type") == "application/csrattrs"
    assert answer.der() == pki.seq(
        pki.oid(pki.CHALLENGE_PASSWORD),
        pki.attribute("1.2.840.10045.2.1", pki.oid("1.3.132.0.34")),
        pki.attribute(pki.EXTENSION_REQUEST, pki.oid("2.5.29.17")))


# ---- serverkeygen

def keygen_parts(answer):
    assert answer.status == 200, answer
    (key_fields, key), (cert_fields, certs) = est.multipart(answer)
    assert cert_fields["Content-Type"] == "application/pkcs7-mime; smime-type=certs-only"
    return key_fields["Content-Type"], key, est.pkcs7.load_der_pkcs7_certificates(certs)


@pytest.mark.parametrize("label,kind", [("", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)])
def test_serverkeygen_sends_a_key_and_its_certificate(gw, device, label, kind):
    request_key = pki.ec_key()
    kind_of_part, pkcs8, certs = keygen_parts(
        est.post(gw, "serverkeygen", pki.csr(request_key), device, label))
    assert kind_of_part == "application/pkcs8"
    made = load_der_private_key(pkcs8, None)
    assert isinstance(made, kind)
    assert pki.spki(made) != pki.spki(request_key)
    assert len(certs) == 1
    check_cert(gw, certs[0], device, made)
    check_records(gw, certs[0], device)


def test_serverkeygen_does_not_look_at_the_requests_signature(gw, device):
    csr = bytearray(pki.csr(pki.ec_key()))
    csr[-1] ^= 1
    keygen_parts(est.post(gw, "serverkeygen", bytes(csr), device))


def test_every_serverkeygen_makes_another_key_and_the_lost_one_is_revoked(gw, device):
    csr = pki.csr(pki.ec_key())
    first = keygen_parts(est.post(gw, "serverkeygen", csr, device))
    second = keygen_parts(est.post(gw, "serverkeygen", csr, device))
    assert first[1] != second[1]
    status = {row["serial"].lstrip("0").lower(): (row["status"], row["revoke_reason"]) for row in gw.certs(device.tag)}
    assert status["%x" % first[2][0].serial_number] == ("revoked", "superseded")
    assert status["%x" % second[2][0].serial_number][0] == "valid"


def openssl_key(tmp_path, cms, *options):
    """Decrypt the EnvelopedData, then take the key out of what is inside."""
    (tmp_path / "key.cms").write_bytes(cms)
    done = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-in", str(tmp_path / "key.cms"), "-binary",
                           "-out", str(tmp_path / "inner")] + [str(word) for word in options],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return (tmp_path / "inner").read_bytes()


def key_of_signed(tmp_path, inner, gw):
    """RFC 7030, section 4.4.2: SignedData by the server around the key package; openssl wants its ContentInfo."""
    signed_data = pki.seq(pki.oid("1.2.840.113549.1.7.2"), pki.tlv(0xa0, inner))
    (tmp_path / "signed.cms").write_bytes(signed_data)
    (tmp_path / "cas.pem").write_bytes(open(gw.root, "rb").read() + open(gw.issuing, "rb").read())
    done = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-in", str(tmp_path / "signed.cms"),
                           "-binary", "-CAfile", str(tmp_path / "cas.pem"), "-purpose", "any", "-out",
                           str(tmp_path / "package")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    package = (tmp_path / "package").read_bytes()
    # AsymmetricKeyPackage (RFC 5958) is a SEQUENCE OF OneAsymmetricKey
    if package[:1] == b"\x30":
        at = 2 + (package[1] & 0x7f if package[1] & 0x80 else 0)
        if package[at:at + 1] == b"\x30":
            return load_der_private_key(package[at:], None)
    return load_der_private_key(package, None)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_serverkeygen_encrypts_to_the_clients_certificate(gw, acme, tmp_path, key):
    device = gw.own(acme.idevid(key=pki.rsa_key(2048, name="envelope") if key == "rsa" else None,
                                usage=("key_encipherment",) if key == "rsa" else ("key_agreement",)))
    key_id = x509.SubjectKeyIdentifier.from_public_key(device.key.public_key()).digest
    csr = pki.csr(pki.ec_key(), attributes=[pki.attribute(pki.ASYM_DECRYPT_KEY_ID, pki.octets(key_id))])
    kind, cms, certs = keygen_parts(est.post(gw, "serverkeygen", csr, device))
    assert kind == "application/pkcs7-mime; smime-type=server-generated-key"
    inner = openssl_key(tmp_path, cms, "-recip", device.pem, "-inkey", device.key_file)
    made = key_of_signed(tmp_path, inner, gw)
    check_cert(gw, certs[0], device, made)


def test_serverkeygen_encrypts_to_a_key_wrap_key(gw, device, tmp_path):
    wrap = gw.ctl("secret", "keywrap", device.tag)
    csr = pki.csr(pki.ec_key(), attributes=[
        pki.attribute(pki.DECRYPT_KEY_ID, pki.octets(bytes.fromhex(wrap["key_id"])))])
    kind, cms, certs = keygen_parts(est.post(gw, "serverkeygen", csr, device))
    assert kind == "application/pkcs7-mime; smime-type=server-generated-key"
    inner = openssl_key(tmp_path, cms, "-secretkey", wrap["key"], "-secretkeyid", wrap["key_id"])
    check_cert(gw, certs[0], device, key_of_signed(tmp_path, inner, gw))


def test_a_certificate_that_may_not_be_encrypted_to_is_an_error_and_never_plaintext(gw, device):
    key_id = x509.SubjectKeyIdentifier.from_public_key(device.key.public_key()).digest
    csr = pki.csr(pki.ec_key(), attributes=[pki.attribute(pki.ASYM_DECRYPT_KEY_ID, pki.octets(key_id))])
    assert est.post(gw, "serverkeygen", csr, device).status == 400
    assert gw.certs(device.tag) == []


@pytest.mark.parametrize("attribute", [pki.DECRYPT_KEY_ID, pki.ASYM_DECRYPT_KEY_ID])
@pytest.mark.parametrize("value", [b"", b"unknown", bytes(16), bytes(20)])
def test_an_unusable_decrypt_key_identifier_is_an_error_and_never_plaintext(gw, device, attribute, value):
    csr = pki.csr(pki.ec_key(), attributes=[pki.attribute(attribute, pki.octets(value))])
    answer = est.post(gw, "serverkeygen", csr, device)
    assert answer.status in (400, 403), answer
    assert b"\n" not in answer.body.rstrip(b"\n") and b"PRIVATE" not in answer.body
    assert gw.certs(device.tag) == []


def test_a_key_wrap_key_of_another_asset_is_refused(gw, acme):
    mine, other = acme.idevid(), acme.idevid()
    gw.own(mine, other)
    key_id = bytes.fromhex(gw.ctl("secret", "keywrap", other.tag)["key_id"])
    csr = pki.csr(pki.ec_key(), attributes=[pki.attribute(pki.DECRYPT_KEY_ID, pki.octets(key_id))])
    assert est.post(gw, "serverkeygen", csr, mine).status in (400, 403)
    assert gw.certs(mine.tag) == []


# ---- labels, methods, statuses

@pytest.mark.parametrize("label", ["", "attrs", "%61ttrs"])
def test_a_label_leads_to_its_own_rules(gw, device, label):
    key = pki.ec_key()
    check_cert(gw, est.enroll(gw, pki.csr(key), device, label=label).cert(), device, key)


@pytest.mark.parametrize("path", ["/", "/.well-known/est", "/.well-known/est/", "/.well-known/est/nope",
                                  "/.well-known/est/fullcmc", "/.well-known/est/unknown-label/cacerts",
                                  "/.well-known/est/attrs/nope", "/.well-known/est/attrs/x/cacerts",
                                  "/.well-known/est//cacerts", "/.well-known/est/cacerts/cacerts",
                                  "/.well-known/est/cacerts/", "/.well-known/est/CACERTS",
                                  "/.well-known/est/../est/cacerts", "/.well-known/est/%2e%2e/cacerts",
                                  "/.well-known/est/attrs%2fcacerts", "/.well-known/EST/cacerts",
                                  "/.well-known/est/%00/cacerts", "/.well-known/est/" + "a" * 500 + "/cacerts"])
def test_an_unknown_path_is_404(gw, path):
    with est.Conn(gw) as conn:
        answer = conn.request("GET", path)
    assert answer.status == 404
    assert answer.body.count(b"\n") <= 1


@pytest.mark.parametrize("operation,method,allow", [
    ("cacerts", "POST", "GET"), ("csrattrs", "DELETE", "GET"), ("simpleenroll", "GET", "POST"),
    ("simplereenroll", "PUT", "POST"), ("serverkeygen", "GET", "POST"), ("simpleenroll", "OPTIONS", "POST")])
def test_a_wrong_method_is_405_and_the_right_one_is_named(gw, operation, method, allow):
    with est.Conn(gw) as conn:
        answer = conn.request(method, est.path(operation), b"x" if method in ("POST", "PUT") else None)
    assert answer.status == 405
    assert answer.get("Allow") == allow


@pytest.mark.parametrize("kind", [None, "text/plain", "application/pkcs10x", "application/x-pkcs10",
                                  "application/json; charset=application/pkcs10"])
def test_a_wrong_media_type_is_415(gw, device, kind):
    answer = est.enroll(gw, pki.csr(pki.ec_key()), device, headers={"Content-Type": kind})
    assert answer.status == 415
    assert gw.certs(device.tag) == []
    assert gw.audit("enroll.refused")[-1]["detail"]["operation"] == "simpleenroll"


@pytest.mark.parametrize("kind", ["Application/PKCS10", "application/pkcs10; charset=utf-8", "application/pkcs10;x=y"])
def test_the_media_type_is_compared_without_case_and_parameters(gw, device, kind):
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, headers={"Content-Type": kind}).status == 200


def test_a_label_may_take_any_media_type(gw, device):
    for kind in (None, "text/plain"):
        assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="lax", headers={"Content-Type": kind}).status == 200


def test_a_body_beyond_the_limit_is_413(gw, device):
    answer = est.enroll(gw, b"A" * (64 * 1024 + 1), device)
    assert answer.status == 413


@pytest.mark.parametrize("body", [b"", b"\n", b"!!!!", b"AAAA", base64.b64encode(b"not asn.1"),
                                  b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", b"-----BEGIN CERTIFICATE-----\nAAAA\n"
                                  b"-----END CERTIFICATE-----\n", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x00"])
def test_a_malformed_body_is_400_with_one_line_of_text(gw, device, body):
    answer = est.post(gw, "simpleenroll", b"", device, headers={"Content-Length": str(len(body))}) \
        if not body else est.Conn(gw, device).request("POST", est.path("simpleenroll"), body)
    assert answer.status == 400, answer
    assert answer.get("Content-Type").startswith("text/plain")
    assert re.fullmatch(rb"[\x20-\x7e]+\n", answer.body), answer.body
    row = gw.audit("enroll.refused")[-1]
    assert row["detail"]["code"] and row["detail"]["operation"] == "simpleenroll"


def test_no_credentials_is_401_with_a_challenge(gw):
    answer = est.enroll(gw, pki.csr(pki.ec_key()), label="attrs")
    assert answer.status == 401
    assert answer.get("WWW-Authenticate") == 'Basic realm="the fleet"'


def test_a_refusal_is_403_with_a_category_and_the_reason_stays_in_the_audit(gw, acme):
    unknown = acme.idevid()
    answer = est.enroll(gw, pki.csr(pki.ec_key()), unknown)
    assert answer.status == 403
    assert answer.text.startswith("refused by policy")
    assert "asset" not in answer.text and "registry" not in answer.text
    assert gw.audit("enroll.denied")[-1]["detail"]["reason"] == "asset.known"


def test_an_operation_the_label_does_not_offer_is_refused(gw, device):
    answer = est.post(gw, "serverkeygen", pki.csr(pki.ec_key()), device, "enroll-only")
    assert answer.status in (403, 404)
    assert gw.certs(device.tag) == []


def test_a_pending_request_is_202_with_retry_after_and_an_empty_body(gw, device):
    csr = pki.csr(pki.ec_key())
    with est.Conn(gw, device) as conn:
        answer = est.enroll(gw, csr, conn=conn, label="guarded")
        assert (answer.status, answer.body, answer.get("Retry-After")) == (202, b"", "7")
        assert answer.get("Content-Type") is None
        assert est.enroll(gw, csr, conn=conn, label="guarded").status == 202
    rows = gw.ctl("request", "list", "--asset", device.tag)
    assert [(row["state"], row["tries"]) for row in rows] == [("pending", 2)]
