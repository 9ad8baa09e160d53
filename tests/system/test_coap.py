"""EST over CoAP (RFC 9148), operation by operation, answer by answer."""
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_private_key, pkcs7
from cryptography.x509.oid import NameOID

import coap
import est
import pki
from coap import CERT, CERTS, CSR, CSRATTRS, DELETE, FETCH, GET, IPATCH, KEY, KEY_CMS, LINKS, MULTIPART, PATCH, POST, PUT
from gateway import Refused
from test_est import check_cert, check_records, key_of_signed, openssl_key

ATTRS = ["challengePassword", "ecPublicKey=secp384r1"]
OPS = ["crts", "att", "sen", "sren", "skg", "skc"]


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = coap.configure(module_gateway(), roots=["/est", "/e"])
    coap.add_label(gateway, "attrs", csrattrs=ATTRS)
    coap.add_label(gateway, "guarded", approval="manual", retry_after="7s")
    coap.add_label(gateway, "enroll-only", operations=["enroll"])
    coap.add_label(gateway, "chain", include_chain=True)
    coap.add_label(gateway, "bound", binding="require")
    coap.add_label(gateway, "unbound", binding="ignore")
    gateway.add_label("https-only")
    return gateway.start()


@pytest.fixture
def conn(gw, device):
    with coap.Conn(gw, device) as conn:
        yield conn


def fresh():
    return pki.csr(pki.ec_key(), "")


def check_error(answer, *codes):
    """RFC 7252, section 5.5.2: an error's payload is a short text, and has no Content-Format."""
    assert answer.code in codes, answer
    assert answer.format is None and answer.block(coap.BLOCK2) is None
    assert len(answer.body) < 256 and answer.body.decode().isprintable()


def refused(gw, device, reason):
    assert gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"] == reason
    assert gw.certs(device.tag) == []


# ---- crts and att

@pytest.mark.parametrize("accept", [None, CERTS])
def test_crts_holds_the_chain_to_the_root(gw, conn, accept):
    answer = conn.get("crts", accept=accept)
    assert answer.code == 205 and answer.format == CERTS
    with open(gw.issuing, "rb") as issuing, open(gw.root, "rb") as root:
        assert {pki.cert_pem(cert) for cert in answer.certs()} == {issuing.read(), root.read()}
    assert answer.body == est.get(gw, "cacerts").der()


def test_crts_of_two_certificates_is_no_single_one(conn):
    check_error(conn.get("crts", accept=CERT), 406)


def test_crts_of_one_certificate_may_be_a_single_one(new_gateway, acme):
    gateway = coap.configure(new_gateway())
    gateway.settings["cas"][0].update(certificate="ca/alone.pem", chain=[])
    key = pki.load_key(gateway.dir + "/ca/issuing.key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one CA")])
    alone = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=1))
             .not_valid_after(pki.ahead(days=900)).add_extension(x509.BasicConstraints(True, 0), True)
             .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
             .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
             .sign(key, hashes.SHA256()))
    with open(gateway.dir + "/ca/alone.pem", "wb") as out:
        out.write(pki.cert_pem(alone))
    gateway.start()
    with coap.Conn(gateway, gateway.own(acme.idevid())) as conn:
        answer = conn.get("crts", accept=CERT)
        assert (answer.code, answer.format) == (205, CERT)
        assert answer.body == pki.cert_der(alone)
        assert conn.get("crts").certs() == [alone]


def test_att_is_what_csrattrs_is_over_https(gw, conn):
    for accept in (None, CSRATTRS):
        answer = conn.get("att", "attrs", accept=accept)
        assert (answer.code, answer.format) == (205, CSRATTRS)
        assert answer.body == est.get(gw, "csrattrs", "attrs").der()


def test_att_of_a_label_without_attributes_is_not_found(conn):
    check_error(conn.get("att"), 404)


# ---- sen and sren

@pytest.mark.parametrize("accept,format", [(None, CERTS), (CERTS, CERTS), (CERT, CERT)])
def test_sen_gives_the_certificate_in_the_format_that_is_asked_for(gw, device, conn, accept, format):
    key = pki.ec_key()
    answer = conn.post("sen", pki.csr(key), accept=accept)
    assert (answer.code, answer.format) == (204, format)
    check_cert(gw, answer.cert(), device, key)
    check_records(gw, answer.cert(), device)


def test_a_label_may_send_the_chain_along(gw, conn):
    certs = conn.post("sen", fresh(), "chain").certs()
    assert len(certs) == 3
    assert conn.post("sen", fresh(), "chain", accept=CERT).format == CERT, "a single certificate has no chain"


def test_sren_renews_with_the_certificate_that_is_renewed(gw, device, conn, tmp_path):
    first = pki.ec_key()
    owned = device.with_cert(tmp_path, conn.post("sen", pki.csr(first)).cert(), first)
    second = pki.ec_key()
    request = pki.csr(second, "")
    for accept in (CERTS, CERT):
        with coap.Conn(gw, owned) as own:
            answer = own.post("sren", request, accept=accept)
        check_cert(gw, answer.cert(), device, second)
    assert len(gw.certs(device.tag)) == 2, "the second time it was the same request"


def test_sren_with_the_factory_certificate_is_refused(gw, device, conn):
    check_error(conn.post("sren", fresh()), 403)
    refused(gw, device, "renewal.proof")


def test_https_and_coap_are_one_pipeline(gw, device, conn):
    request = fresh()
    first = est.enroll(gw, request, device)
    assert conn.post("sen", request).body == first.der()
    assert len(gw.certs(device.tag)) == 1
    rows = gw.audit("enroll.issued", device.tag) + gw.audit("enroll.replayed", device.tag)
    assert [row["detail"]["protocol"] for row in rows] == ["est", "coap"]


def test_ipv6_serves_too(gw, device):
    assert coap.enroll(gw, fresh(), device, host="::1").code == 204
    assert gw.audit("enroll.issued", device.tag)[-1]["detail"]["peer"] == "::1"


# ---- skg and skc

@pytest.mark.parametrize("operation,format", [("skg", CERTS), ("skc", CERT)])
@pytest.mark.parametrize("accept", [None, MULTIPART])
def test_a_key_comes_with_its_certificate_in_one_multipart(gw, device, conn, operation, format, accept):
    request_key = pki.ec_key()
    parts = conn.post(operation, pki.csr(request_key), accept=accept).key_and_cert()
    assert list(parts) == [KEY, format]
    made = load_der_private_key(parts[KEY], None)
    assert pki.spki(made) != pki.spki(request_key)
    if format == CERTS:
        cert, = pkcs7.load_der_pkcs7_certificates(parts[CERTS])
    else:
        cert = x509.load_der_x509_certificate(parts[CERT])
    check_cert(gw, cert, device, made)
    check_records(gw, cert, device)


def test_a_made_key_does_not_look_at_the_requests_signature(conn):
    request = bytearray(fresh())
    request[-1] ^= 1
    assert KEY in conn.post("skg", bytes(request)).key_and_cert()


@pytest.mark.parametrize("operation", ["skg", "skc"])
def test_a_key_is_encrypted_to_a_key_wrap_key(gw, device, conn, tmp_path, operation):
    wrap = gw.ctl("secret", "keywrap", device.tag)
    request = pki.csr(pki.ec_key(), attributes=[
        pki.attribute(pki.DECRYPT_KEY_ID, pki.octets(bytes.fromhex(wrap["key_id"])))])
    parts = conn.post(operation, request).key_and_cert()
    assert list(parts) == [KEY_CMS, CERTS if operation == "skg" else CERT]
    inner = openssl_key(tmp_path, parts[KEY_CMS], "-secretkey", wrap["key"], "-secretkeyid", wrap["key_id"])
    made = key_of_signed(tmp_path, inner, gw)
    certs = pkcs7.load_der_pkcs7_certificates(parts[CERTS]) if operation == "skg" else \
        [x509.load_der_x509_certificate(parts[CERT])]
    check_cert(gw, certs[0], device, made)


def test_a_key_is_encrypted_to_the_clients_certificate(gw, acme, tmp_path):
    device = gw.own(acme.idevid(usage=("key_agreement",)))
    key_id = x509.SubjectKeyIdentifier.from_public_key(device.key.public_key()).digest
    request = pki.csr(pki.ec_key(), attributes=[pki.attribute(pki.ASYM_DECRYPT_KEY_ID, pki.octets(key_id))])
    parts = coap.post(gw, "skc", request, device).key_and_cert()
    assert list(parts) == [KEY_CMS, CERT]
    inner = openssl_key(tmp_path, parts[KEY_CMS], "-recip", device.pem, "-inkey", device.key_file)
    check_cert(gw, x509.load_der_x509_certificate(parts[CERT]), device, key_of_signed(tmp_path, inner, gw))


@pytest.mark.parametrize("attribute", [pki.DECRYPT_KEY_ID, pki.ASYM_DECRYPT_KEY_ID])
def test_a_key_that_cannot_be_encrypted_is_an_error_and_never_plaintext(gw, device, conn, attribute):
    request = pki.csr(pki.ec_key(), attributes=[pki.attribute(attribute, pki.octets(b"unknown"))])
    check_error(conn.post("skg", request), 400, 403)
    assert gw.certs(device.tag) == []


def test_a_made_key_in_small_blocks_is_whole(gw, device):
    for size in (16, 64):
        with coap.Conn(gw, device) as conn:
            parts = conn.post("skg", fresh(), size=size).key_and_cert()
        cert, = pkcs7.load_der_pkcs7_certificates(parts[CERTS])
        assert pki.spki(load_der_private_key(parts[KEY], None)) == pki.spki(cert.public_key())


# ---- formats

@pytest.mark.parametrize("format", [None, 0, 50, CERTS, CSRATTRS, 287, 65535])
def test_another_content_format_is_415_and_audited(gw, device, conn, format):
    check_error(conn.post("sen", fresh(), format=format), 415)
    row = gw.audit("enroll.refused")[-1]["detail"]
    assert (row["protocol"], row["operation"]) == ("coap", "sen")
    assert gw.certs(device.tag) == []


@pytest.mark.parametrize("operation,accepts", [
    ("crts", [0, KEY, CSRATTRS, MULTIPART]), ("att", [0, CERTS, CERT]), ("sen", [0, CSR, MULTIPART, KEY_CMS]),
    ("sren", [LINKS, KEY]), ("skg", [CERTS, KEY, KEY_CMS]), ("skc", [CERT, KEY, 0])])
def test_another_accept_is_406(gw, device, conn, operation, accepts):
    for accept in accepts:
        answer = conn.get(operation, "attrs", accept=accept) if operation in ("crts", "att") else \
            conn.post(operation, fresh(), "attrs", accept=accept)
        check_error(answer, 406)
    assert gw.certs(device.tag) == []


@pytest.mark.parametrize("body", [b"", b"\x00", b"not asn.1", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x00",
                                  b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_malformed_request_is_400_and_audited(gw, device, conn, body):
    check_error(conn.post("sen", body), 400)
    row = gw.audit("enroll.refused")[-1]["detail"]
    assert (row["protocol"], row["operation"], row["peer"]) == ("coap", "sen", "127.0.0.1")


def test_octets_behind_the_request_are_400(conn):
    check_error(conn.post("sen", fresh() + b"\0"), 400)


def test_base64_is_not_der(conn):
    check_error(conn.post("sen", est.base64.b64encode(fresh())), 400)


# ---- who asks

def every_operation(conn):
    return [conn.get("crts"), conn.get("att", "attrs")] + [conn.post(op, fresh()) for op in OPS[2:]]


def test_a_device_of_an_unknown_manufacturer_gets_nothing(gw, stranger):
    with coap.Conn(gw, stranger.idevid()) as conn:
        for answer in every_operation(conn):
            check_error(answer, 401, 403)
    assert gw.audit("enroll.refused")[-1]["detail"]["protocol"] == "coap"


def test_a_device_that_is_not_in_the_registry_gets_no_certificate(gw, acme):
    device = acme.idevid()
    with coap.Conn(gw, device) as conn:
        check_error(conn.post("sen", fresh()), 403)
    assert gw.audit("enroll.denied")[-1]["detail"]["reason"] == "asset.known"


def test_a_certificate_with_somebody_elses_name_is_worth_nothing(gw, device, stranger):
    fake = stranger.idevid(serial=device.serial, subject=device.cert.subject)
    with coap.Conn(gw, fake) as conn:
        check_error(conn.post("sen", fresh()), 401, 403)
    assert gw.certs(device.tag) == []


def test_no_function_serves_without_a_certificate(gw):
    """RFC 9148, section 4: "the client MUST be authenticated for all functions"; DTLS sees to it."""
    with pytest.raises((coap.Failed, TimeoutError)):
        with coap.Conn(gw, timeout=5) as conn:
            check_error(conn.get("crts"), 401)
            raise coap.Failed("nothing but 4.01")


def test_an_asset_that_is_out_of_service_is_refused(gw, device, conn):
    gw.set_state(device, "quarantined")
    check_error(conn.post("sen", fresh()), 403)
    refused(gw, device, "asset.state")


# ---- channel binding

def bound_request(value):
    return pki.csr(pki.ec_key(), challenge=est.base64.b64encode(value).decode())


@pytest.mark.parametrize("label", ["", "bound", "unbound"])
@pytest.mark.parametrize("cipher", [coap.CCM8, coap.GCM])
def test_tls_unique_of_this_session_is_accepted(gw, device, label, cipher):
    with coap.Conn(gw, device, ciphers=cipher) as conn:
        assert len(conn.unique()) == 12
        assert conn.post("sen", bound_request(conn.unique()), label).code == 204


@pytest.mark.parametrize("label", ["", "bound"])
def test_tls_unique_of_another_session_is_refused(gw, device, conn, label):
    with coap.Conn(gw, device) as other:
        check_error(conn.post("sen", bound_request(other.unique()), label), 403)
    refused(gw, device, "csr.binding")


def test_a_missing_binding_is_refused_where_it_is_required(gw, device, conn):
    check_error(conn.post("sen", fresh(), "bound"), 403)
    refused(gw, device, "csr.binding")


# ---- paths, labels, methods

@pytest.mark.parametrize("root", [coap.ROOT, "/est", "/e"])
@pytest.mark.parametrize("label", ["", "attrs"])
def test_roots_and_labels_lead_to_the_same_functions(gw, device, conn, root, label):
    key = pki.ec_key()
    check_cert(gw, conn.post("sen", pki.csr(key), label, root).cert(), device, key)
    assert conn.get("crts", label, root).code == 205


@pytest.mark.parametrize("path", ["", "/", "/est", "/e/", "/est/nope", "/est/unknown-label/crts", "/est//crts",
                                  "/est/attrs/x/crts", "/est/crts/", "/est/CRTS", "/est/cacerts", "/EST/crts",
                                  "/est/https-only/crts", "/.well-known/est", "/.well-known/crts", "/est/../est/crts",
                                  "/.well-known/core/x", "/est/" + "a" * 255 + "/crts", "/est" + "/x" * 40])
def test_an_unknown_path_is_404(conn, path):
    check_error(conn.request(GET, path), 404)


@pytest.mark.parametrize("method", [GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH])
@pytest.mark.parametrize("operation", OPS)
def test_a_wrong_method_is_405(gw, conn, method, operation):
    if method != (GET if operation in ("crts", "att") else POST):
        check_error(conn.request(method, coap.path(operation)), 405)


def test_an_operation_the_label_does_not_offer_is_refused(gw, device, conn):
    check_error(conn.post("skg", fresh(), "enroll-only"), 403, 404)
    assert gw.certs(device.tag) == []


def test_host_and_port_and_harmless_options_are_taken(gw, conn):
    options = [(coap.URI_HOST, b"localhost"), (coap.URI_PORT, coap.number(gw.port)), (coap.SIZE2, b""), (2048, b"x" * 40)]
    assert conn.get("crts", options=options).code == 205
    assert conn.post("sen", fresh(), options=options).code == 204


# ---- discovery

def test_discovery_names_every_function_with_its_formats(conn):
    answer = conn.discover("rt=ace.est*")
    assert (answer.code, answer.format) == (205, LINKS)
    found = coap.links(answer.body.decode())
    formats = {"crts": "281 287", "sen": "281 287", "sren": "281 287", "att": "285", "skg": "62", "skc": "62"}
    for root in ("/est", "/e", coap.ROOT):
        assert root + "/att" not in found, "this label asks for no attributes"
        formats_here = [(root, operation) for operation in OPS if operation != "att"] + [(root + "/attrs", "att")]
        for base, operation in formats_here:
            assert found[base + "/" + operation] == {"rt": "ace.est." + operation, "ct": formats[operation]}
    assert conn.discover().body == answer.body, "nothing else is here"
    assert conn.discover("rt=ace.est*", size=64).body == answer.body


@pytest.mark.parametrize("query,targets", [
    (["rt=ace.est.sen"], {"/est/sen", "/e/sen", coap.ROOT + "/sen"}), (["href=/est/skc"], {"/est/skc"}),
    (["href=/e/*", "rt=ace.est.s*"], {"/e/sen", "/e/sren", "/e/skg", "/e/skc"}),
    (["ct=285"], set()),
    (["href=/est/*", "ct=287"], {"/est/crts", "/est/sen", "/est/sren"})])
def test_discovery_filters(conn, query, targets):
    found = coap.links(conn.discover(*query).body.decode())
    assert {target for target in found if target.rsplit("/", 1)[0] in ("/est", "/e", coap.ROOT)} == targets


def test_discovery_lists_what_a_label_offers(conn):
    """skg and skc where keys are made, att where attributes are asked for; a label of HTTPS not at all."""
    found = coap.links(conn.discover("href=/est/*").body.decode())

    def offered(label):
        return {target.split("/")[-1] for target in found if target.startswith("/est/%s/" % label)}

    assert offered("enroll-only") == {"crts", "sen"}
    assert offered("attrs") == set(OPS)
    assert offered("chain") == set(OPS) - {"att"}
    assert offered("https-only") == set()


def test_discovery_follows_the_configuration(new_gateway, acme):
    gateway = coap.configure(new_gateway())
    gateway.start()
    with coap.Conn(gateway, gateway.own(acme.idevid())) as conn:
        assert coap.links(conn.discover("href=/est/later/*").body.decode() or "</x>;a=b") == {"/x": {"a": "b"}}
        coap.add_label(gateway, "later", operations=["renew"])
        assert "is in force" in gateway.reload()
        assert set(coap.links(conn.discover("href=/est/later/*").body.decode())) == {"/est/later/crts", "/est/later/sren"}


def test_discovery_of_what_is_not_here_is_empty(conn):
    for query in ("rt=ace.est", "rt=core.rd", "href=/nope", "if=x", "rt="):
        answer = conn.discover(query)
        assert answer.code in (205, 404) and answer.body in (b"", b"no such link"), answer


def test_discovery_has_one_format(conn):
    assert conn.discover(accept=LINKS).code == 205
    check_error(conn.discover(accept=0), 406)
    check_error(conn.request(POST, "/.well-known/core", b"x"), 405)


# ---- waiting for an approval

def pending(gw, device, request, conn):
    answer = conn.post("sen", request, "guarded")
    check_error(answer, 503)
    assert answer.get(coap.MAX_AGE) == 7
    rows = gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")
    assert len(rows) == 1
    return rows[0]["id"]


def test_an_approved_request_gets_its_certificate_in_another_session(gw, device, conn):
    key = pki.ec_key()
    request = pki.csr(key)
    number = pending(gw, device, request, conn)
    assert pending(gw, device, request, conn) == number, "asking again is no other request"
    gw.ctl("request", "approve", number)
    with coap.Conn(gw, device) as other:
        answer = other.post("sen", request, "guarded", size=64)
    check_cert(gw, answer.cert(), device, key)
    assert conn.post("sen", request, "guarded").body == answer.body
    assert len(gw.certs(device.tag)) == 1


def test_a_denied_request_stays_refused(gw, device, conn):
    request = fresh()
    gw.ctl("request", "deny", pending(gw, device, request, conn), "--reason", "not ours")
    for _ in range(2):
        check_error(conn.post("sen", request, "guarded"), 403)
    with pytest.raises(Refused):
        gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", device.tag)[0]["id"])


def test_an_approval_survives_restarts(new_gateway, acme):
    gateway = coap.configure(new_gateway())
    coap.add_label(gateway, "guarded", approval="manual", retry_after="7s")
    gateway.start()
    device, request = gateway.own(acme.idevid()), fresh()
    with coap.Conn(gateway, device) as conn:
        number = pending(gateway, device, request, conn)
    gateway.restart()
    with coap.Conn(gateway, device) as conn:
        assert pending(gateway, device, request, conn) == number
    gateway.ctl("request", "approve", number)
    gateway.kill()
    gateway.start()
    answers = [coap.enroll(gateway, request, device, label="guarded") for _ in range(2)]
    assert answers[0].cert() and answers[0].body == answers[1].body
    assert len(gateway.certs(device.tag)) == 1


def test_openssl_reads_what_came(gw, device, conn, tmp_path):
    (tmp_path / "crts.der").write_bytes(conn.get("crts").body)
    done = subprocess.run(["openssl", "pkcs7", "-inform", "DER", "-in", str(tmp_path / "crts.der"), "-print_certs"],
                          capture_output=True, text=True)
    assert done.stdout.count("BEGIN CERTIFICATE") == 2, done.stderr
