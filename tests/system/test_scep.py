"""What SCEP clients ask for, and what they get (RFC 8894, sections 3.5 and 4)."""
import base64

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import est
import pki
import scep
from gateway import run

CAPS = {"AES", "POSTPKIOperation", "Renewal", "SCEPStandard", "SHA-256", "SHA-384", "SHA-512"}
RA_BUNDLE, ONE = "application/x-x509-ca-ra-cert", "application/x-x509-ca-cert"


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    scep.add_label(gateway, "legacy", scep_allow=["sha1", "3des"])
    scep.add_label(gateway, "cisco", scep_legacy="insecure-cisco")
    scep.add_label(gateway, "leaf", scep_chain=False)
    scep.add_label(gateway, "single", scep_ra_bundle=False)
    scep.add_label(gateway, "no-renewal", operations=["enroll"])
    gateway.add_label("est-only")
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


def check(gw, cert, owned, key=None):
    """A certificate by our CA for this asset and key, and the one that is recorded."""
    pki.verify(scep.pem(gw.issuing), cert)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == owned.tag
    assert pki.spki(cert.public_key()) == pki.spki(key or owned.signer.key)
    assert pki.sha256_hex(pki.cert_der(cert)) in [row["sha256"] for row in gw.certs(owned.tag)]


# ---- GetCACaps

def caps(gw, label="", **kw):
    answer = scep.get(gw, "GetCACaps", label, **kw)
    assert answer.status == 200 and answer.get("Content-Type") == "text/plain", answer
    assert b"\r" not in answer.body and answer.body.endswith(b"\n"), "Apple splits at LF and compares exactly"
    lines = answer.text.splitlines()
    assert len(lines) == len(set(lines))
    return set(lines)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_capabilities_are_those_of_the_standard(gw, tls):
    assert caps(gw, tls=tls) == CAPS


def test_capabilities_of_a_label_name_what_it_allows_beside(gw):
    assert caps(gw, "legacy") == CAPS | {"SHA-1", "DES3"}


def test_insecure_algorithms_are_no_capabilities(gw):
    """DES and MD5 have no words in RFC 8894; a client that needs them asks nobody."""
    assert {word for word in caps(gw, "cisco") if "MD5" in word or word == "DES"} == set()


def test_renewal_is_no_capability_where_it_is_not_offered(gw):
    assert caps(gw, "no-renewal") == CAPS - {"Renewal"}


@pytest.mark.parametrize("label", ["", "legacy", "cisco"])
def test_every_digest_and_cipher_that_is_told_works_and_no_other(gw, acme, label):
    told = caps(gw, label)
    insecure = {"MD5", "DES"} if label == "cisco" else set()
    digests = {"SHA-1", "SHA-256", "SHA-384", "SHA-512"} & told | {"MD5"} & insecure
    ciphers = {"AES-128", "AES-192", "AES-256"} | ({"3DES"} if "DES3" in told else set()) | {"DES"} & insecure
    one = scep.Owned(gw, acme, "--static")
    for digest in ("MD5", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"):
        reply = scep.enroll(gw, one.signer, one.challenge, label, digest=digest)
        assert (reply.status == scep.SUCCESS) == (digest in digests), (digest, reply)
        assert reply.fail == (None if digest in digests else scep.BAD_ALG)
    for cipher in ("DES", "3DES", "AES-128", "AES-192", "AES-256", "Camellia-128"):
        reply = scep.enroll(gw, one.signer, one.challenge, label, cipher=cipher)
        assert (reply.status == scep.SUCCESS) == (cipher in ciphers), (cipher, reply)
        assert reply.fail == (None if cipher in ciphers else scep.BAD_ALG)


@pytest.mark.parametrize("digest,cipher", [("SHA-256", "AES-128"), ("SHA-512", "AES-256"), ("SHA-384", "AES-192"),
                                           ("SHA-1", "3DES"), ("MD5", "DES")])
def test_an_answer_speaks_the_algorithms_of_the_request(gw, owned, digest, cipher):
    label = {"SHA-1": "legacy", "MD5": "cisco"}.get(digest, "")
    reply = scep.enroll(gw, owned.signer, owned.challenge, label, digest=digest, cipher=cipher)
    check(gw, reply.cert, owned)
    assert (reply.digest, reply.cipher) == (digest, cipher)


def test_every_use_of_an_insecure_algorithm_is_logged(gw, acme):
    one = scep.Owned(gw, acme, "--static")
    for how in (dict(digest="MD5"), dict(cipher="DES"), dict(digest="MD5", cipher="DES")):
        since = len(gw.log)
        assert scep.enroll(gw, one.signer, one.challenge, "cisco", **how).status == scep.SUCCESS
        for word in how.values():
            gw.wait_log(r"(?i)insecure.*\b%s\b" % word, since)
    since = len(gw.log)
    assert scep.enroll(gw, one.signer, one.challenge, "cisco").status == scep.SUCCESS
    gw.wait_log("result=issued|result=replayed", since)
    assert "insecure" not in gw.log[since:]


# ---- GetCACert, GetNextCACert

def test_the_bundle_begins_with_the_ra_and_goes_on_to_the_root(gw):
    wanted = [gw.ra.cert, pki.cert_der(scep.pem(gw.issuing)), pki.cert_der(scep.pem(gw.root))]
    for tls in (False, True):
        assert scep.certs_of(scep.get(gw, "GetCACert", tls=tls), RA_BUNDLE) == wanted


@pytest.mark.parametrize("message", ["", "0", "1", "default", "CA-IDENT", "my%20ca"])
def test_a_ca_identifier_changes_nothing(gw, message):
    for operation in ("GetCACert", "GetCACaps"):
        assert scep.get(gw, operation, message=message).body == scep.get(gw, operation).body


def test_a_label_may_show_the_ra_certificate_alone(gw):
    assert scep.certs_of(scep.get(gw, "GetCACert", "single"), ONE) == [gw.ra.cert]


def test_without_a_next_ca_certificate_there_is_none_to_get(gw):
    assert scep.get(gw, "GetNextCACert").status == 404


# ---- paths

@pytest.mark.parametrize("suffix", [""] + scep.SUFFIXES + ["/certsrv/mscep/MSCEP.dll", "/PKIClient.exe"])
@pytest.mark.parametrize("label", ["", "legacy"])
def test_suffixes_of_paths_are_ignored(gw, owned, label, suffix):
    assert ("DES3" in caps(gw, label, suffix=suffix)) == (label == "legacy")
    check(gw, scep.enroll_at(gw, owned, label, suffix).cert, owned)


@pytest.mark.parametrize("path", scep.SUFFIXES)
def test_a_suffix_alone_is_the_first_label(gw, owned, path):
    answer = scep.request(gw, "GET", path + "?operation=GetCACaps")
    assert set(answer.text.split()) == CAPS
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    check(gw, scep.Reply(scep.request(gw, "POST", path + "?operation=PKIOperation", message.der()), message).cert, owned)


@pytest.mark.parametrize("path", ["/scep/unknown", "/scep/est-only", "/scep/legacy/unknown.exe", "/scepter", "/", "/cgi-bin",
                                  "/pkiclient.exe/scep", "/scep/%2e%2e/legacy", "/scep/legacy/../leaf"])
def test_scep_lives_nowhere_else(gw, path):
    for tls in (False, True):
        assert scep.request(gw, "GET", path + "?operation=GetCACaps", tls=tls).status == 404


@pytest.mark.parametrize("method,path", [("GET", "/.well-known/est/cacerts"), ("POST", "/.well-known/est/simpleenroll"),
                                         ("POST", "/.well-known/est/serverkeygen")])
def test_the_plain_listener_speaks_no_est(gw, owned, method, path):
    body = base64.b64encode(pki.csr(owned.signer.key)) if method == "POST" else None
    with scep.Plain(gw) as conn:
        answer = conn.request(method, path, body, est.basic(owned.tag, owned.challenge) if body else ())
    assert answer.status in (403, 404), answer
    assert gw.certs(owned.tag) == []


def test_est_is_as_it_was(gw, device):
    assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 200


def test_a_label_without_est_is_not_there_for_est(gw, new_gateway, acme):
    gateway = scep.configure(new_gateway(), protocols=["scep"]).start()
    assert est.get(gateway, "cacerts").status == 404
    assert caps(gateway) == CAPS


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_routers_speak_http_1_0(gw, owned, version):
    octets = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    target = scep.path() + "?operation=PKIOperation&message=" + scep.quoted(octets.der())
    with scep.Plain(gw) as conn:
        conn.send(("GET %s HTTP/%s\r\nHost: x\r\nConnection: close\r\n\r\n" % (target, version)).encode())
        answer = conn.receive()
        assert conn.at_end() == b""
    check(gw, scep.Reply(answer, octets).cert, owned)


# ---- PKIOperation

@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_device_with_a_challenge_enrolls(gw, owned, method, tls):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, subject="CN=" + owned.tag)
    reply = scep.send(gw, message, method=method, tls=tls)
    check(gw, reply.cert, owned)
    row = gw.audit("enroll.issued", owned.tag)[-1]["detail"]
    assert row["protocol"] == "scep" and row["operation"] == "PKCSReq"
    cert = gw.certs(owned.tag)[0]
    assert cert["label"] == ""


def test_over_ipv6_too(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    with scep.Plain(gw, "::1") as conn:
        check(gw, scep.send(gw, message, conn=conn).cert, owned)


def test_a_connection_serves_many_operations(gw, acme):
    with scep.Plain(gw) as conn:
        for _ in range(3):
            one = scep.Owned(gw, acme)
            assert scep.get(gw, "GetCACaps", conn=conn).status == 200
            assert scep.get(gw, "GetCACert", conn=conn).status == 200
            check(gw, scep.send(gw, scep.pkcs_req(gw.ra, one.signer, one.challenge), conn=conn).cert, one)


@pytest.mark.parametrize("query", ["", "?operation=PKIOperation", "?message=x&operation=PKIOperation", "?operation=PKIOperation&x=y"])
@pytest.mark.parametrize("kind", ["application/x-pki-message", "application/octet-stream", None])
def test_a_post_needs_neither_an_operation_nor_a_content_type(gw, owned, query, kind):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    answer = scep.post(gw, message.der(), query=query, headers={"Content-Type": kind})
    check(gw, scep.Reply(answer, message).cert, owned)


@pytest.mark.parametrize("label,along", [("", True), ("leaf", False)])
def test_the_ca_certificate_comes_along_where_the_label_wants_it(gw, owned, label, along):
    """Cisco's VPN wants it, Juniper forbids it."""
    reply = scep.enroll(gw, owned.signer, owned.challenge, label)
    check(gw, reply.cert, owned)
    assert reply.certs[1:2] == ([scep.pem(gw.issuing)] if along else [])


def test_the_subject_of_the_signer_may_differ_from_the_requests(gw, owned):
    """Old Cisco routers do."""
    signer = scep.Signer(owned.signer.key, subject="CN=router.example.net")
    check(gw, scep.enroll(gw, signer, owned.challenge, subject="CN=" + owned.tag).cert, owned)


def test_the_certificate_says_what_the_registry_says(gw, owned):
    cert = scep.enroll(gw, owned.signer, owned.challenge, subject="CN=whatever").cert
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [owned.tag.lower() + ".example.net"]
    assert cert.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == owned.serial


# ---- GetCert

@pytest.fixture
def mine(gw, owned):
    return owned.enrolled(gw)


def test_an_owner_gets_its_certificate_again_with_the_certificate_itself(gw, mine):
    assert scep.send(gw, scep.get_cert(gw.ra, mine, mine.cert)).cert == mine.cert_object


def test_an_owner_gets_its_certificate_again_with_the_key_in_it(gw, owned, mine):
    assert scep.send(gw, scep.get_cert(gw.ra, owned.signer, mine.cert)).cert == mine.cert_object


def test_a_stranger_gets_nobodys_certificate(gw, acme, mine):
    other = scep.Owned(gw, acme)
    for signer in (other.signer, other.enrolled(gw), scep.Signer(subject="CN=" + other.tag)):
        scep.refused(gw, scep.send(gw, scep.get_cert(gw.ra, signer, mine.cert)), scep.BAD_CERT_ID, "another key|another device")


@pytest.mark.parametrize("how", ["serial", "issuer", "ours"])
def test_a_certificate_that_is_not_there_is_not_got(gw, owned, mine, how):
    cert = {"serial": scep.certificate(owned.signer.key, issuer=pki.cert_der(scep.pem(gw.issuing)), issuer_key=owned.signer.key),
            "issuer": scep.certificate(owned.signer.key, "CN=no CA of ours", serial=mine.cert_object.serial_number),
            "ours": pki.cert_der(scep.pem(gw.issuing))}[how]
    reply = scep.send(gw, scep.get_cert(gw.ra, mine, cert))
    # a name that nobody here bears might be what a wrong key made of other octets: test_scep_oracle.py
    scep.refused(gw, reply, scep.BAD_MESSAGE_CHECK if how == "issuer" else scep.BAD_CERT_ID, "no certificate|another CA")


# ---- GetCRL, and the list by plain HTTP

def check_crl(gw, crl):
    issuing = scep.pem(gw.issuing)
    assert crl.is_signature_valid(issuing.public_key()) and crl.issuer == issuing.subject
    assert crl.last_update <= pki.now() < crl.next_update
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number >= 1
    identifier = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_a_device_gets_the_revocation_list(gw, owned, mine):
    for signer in (mine, owned.signer):
        reply = scep.send(gw, scep.get_cert(gw.ra, signer, mine.cert, kind=scep.GET_CRL))
        assert reply.status == scep.SUCCESS and reply.certs == [] and len(reply.crls) == 1
        check_crl(gw, reply.crls[0])


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_revocation_list_is_there_for_everybody(gw, tls):
    answer = scep.request(gw, "GET", "/crl/issuing.crl", tls=tls)
    assert answer.status == 200 and answer.get("Content-Type") == "application/pkix-crl"
    check_crl(gw, x509.load_der_x509_crl(answer.body))


@pytest.mark.parametrize("path", ["/crl/unknown.crl", "/crl/issuing", "/crl/", "/crl/..%2fca%2fissuing.crl", "/crl/issuing.crl/"])
def test_there_is_no_revocation_list_of_anything_else(gw, path):
    assert scep.request(gw, "GET", path).status == 404


# ---- OpenSSL's opinion

def test_openssl_verifies_and_decrypts_an_answer(gw, owned, tmp_path):
    reply = scep.enroll(gw, owned.signer, owned.challenge)
    pki.write_pair(str(tmp_path / "device"), owned.signer.cert_object, owned.signer.key)
    (tmp_path / "reply").write_bytes(reply.octets)
    with open(gw.root) as root, open(gw.issuing) as issuing:
        (tmp_path / "cas").write_text(root.read() + issuing.read())
    for words in (["-verify", "-in", "reply", "-out", "envelope", "-CAfile", "cas", "-purpose", "any"],
                  ["-decrypt", "-in", "envelope", "-out", "certs", "-recip", "device.pem", "-inkey", "device.key"]):
        done = run("openssl", "cms", "-binary", "-inform", "DER", *words, cwd=str(tmp_path))
        assert done.returncode == 0, done.stderr
    done = run("openssl", "pkcs7", "-inform", "DER", "-in", "certs", "-print_certs", "-noout", cwd=str(tmp_path))
    assert owned.tag in done.stdout, done.stderr
