"""RA certificates: one or two, rolled over without a restart, never the CA's; the CA certificate that follows; the settings of all that."""
import os
import re
import time

import pytest
from cryptography import x509

import cms
import est
import pki
import scep
from gateway import run

RA_BUNDLE, ONE, NEXT = ("application/x-x509-" + kind for kind in ("ca-ra-cert", "ca-cert", "next-ca-cert"))


@pytest.fixture
def gw(new_gateway):
    return scep.configure(new_gateway())


def bundle(gw, label=""):
    return scep.certs_of(scep.get(gw, "GetCACert", label), RA_BUNDLE)


def chain(gw):
    return [pki.cert_der(scep.pem(path)) for path in (gw.issuing, gw.root)]


def enrolls(gw, acme, ra=None):
    """A device that knows this RA's certificate gets one of its own; the answer is by the present RA."""
    one = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, one.signer, one.challenge)
    message.envelope = cms.Envelope(message.csr, [(ra or gw.ra).encryption])
    return scep.send(gw, message)


# ---- two certificates

def test_signing_and_decryption_may_be_two_certificates(gw, acme):
    gw.ra = scep.Ra(gw, "split", apart=True)
    gw.settings["ras"] = [gw.ra.settings()]
    gw.start()
    assert bundle(gw) == [gw.ra.cert, gw.ra.encryption] + chain(gw)
    assert enrolls(gw, acme).status == scep.SUCCESS
    both = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, both.signer, both.challenge, extra_recipients=[gw.ra.cert])
    assert scep.send(gw, message).status == scep.SUCCESS, "micromdm encrypts to both"


def test_what_is_encrypted_to_a_certificate_that_signs_only_is_not_opened(gw, acme):
    gw.ra = scep.Ra(gw, "split", apart=True)
    gw.settings["ras"] = [gw.ra.settings()]
    gw.start()
    one = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, one.signer, one.challenge)
    message.envelope = cms.Envelope(message.csr, [gw.ra.cert])
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "", one)


def test_labels_may_have_ras_of_their_own(gw, acme):
    other = scep.Ra(gw, "other")
    gw.settings["ras"].append(dict(other.settings(), name="other"))
    scep.add_label(gw, "other", scep_ra="other")
    gw.start()
    first = gw.ra
    assert bundle(gw)[0] == first.cert and bundle(gw, "other")[0] == other.cert
    one = scep.Owned(gw, acme)
    message = scep.pkcs_req(first, one.signer, one.challenge)
    message.ra = other  # who signs there
    scep.refused(gw, scep.send(gw, message, "other"), scep.BAD_MESSAGE_CHECK, "", one)
    assert scep.send(gw, scep.pkcs_req(other, one.signer, one.challenge), "other").status == scep.SUCCESS


# ---- rollover

def test_an_ra_is_rolled_over_without_a_restart_and_the_old_one_still_decrypts(gw, acme):
    scep.add_label(gw, "guarded", approval="manual")
    gw.start()
    pid, old = gw.process.pid, gw.ra
    one = scep.Owned(gw, acme)
    waiting = scep.pkcs_req(old, one.signer, one.challenge)
    assert scep.send(gw, waiting, "guarded").status == scep.PENDING
    mine = scep.Owned(gw, acme).enrolled(gw)

    gw.ra = scep.Ra(gw, "ra2")
    gw.settings["ras"] = [gw.ra.settings([old])]
    assert "is in force" in gw.reload()
    assert bundle(gw) == [gw.ra.cert] + chain(gw)
    assert enrolls(gw, acme).status == scep.SUCCESS
    assert enrolls(gw, acme, old).status == scep.SUCCESS, "a device that cached the old certificate"
    message = scep.renewal_req(gw.ra, mine, scep.fresh_key())
    assert scep.send(gw, message).status == scep.SUCCESS
    gw.ctl("request", "approve", gw.ctl("request", "list", "--state", "pending")[0]["id"])
    poll = scep.cert_poll(old, one.signer, waiting.transaction)
    poll.ra = gw.ra
    assert scep.send(gw, poll, "guarded").status == scep.SUCCESS

    third = scep.Ra(gw, "ra3")
    gw.settings["ras"] = [third.settings([gw.ra, old])]
    second, gw.ra = gw.ra, third
    assert "is in force" in gw.reload()
    for ra in (third, second, old):
        assert enrolls(gw, acme, ra).status == scep.SUCCESS

    gw.settings["ras"] = [third.settings([second])]
    assert "is in force" in gw.reload()
    reply = enrolls(gw, acme, old)
    assert (reply.status, reply.fail) == (scep.FAILURE, scep.BAD_MESSAGE_CHECK)
    assert gw.process.pid == pid


def test_a_renewed_certificate_of_the_same_key_is_found_by_its_own_name(gw, acme):
    gw.start()
    old, gw.ra = gw.ra, scep.Ra(gw, "renewed", key=gw.ra.key)
    gw.settings["ras"] = [gw.ra.settings([old])]
    assert "is in force" in gw.reload()
    assert enrolls(gw, acme).status == scep.SUCCESS and enrolls(gw, acme, old).status == scep.SUCCESS


def test_requests_do_not_notice_a_rollover(gw, acme):
    gw.start()
    owned = [scep.Owned(gw, acme) for _ in range(12)]
    old, new = gw.ra, scep.Ra(gw, "ra2")
    messages = [scep.pkcs_req(old, one.signer, one.challenge) for one in owned]

    def client(message):
        answer = scep.post(gw, message.der())
        message.ra = old if old.cert in answer.body else new
        return scep.Reply(answer, message)

    def operator():
        gw.settings["ras"] = [new.settings([old])]
        return gw.reload()

    results = est.in_parallel([lambda m=message: client(m) for message in messages] + [operator])
    assert "is in force" in results[-1]
    assert [reply.status for reply in results[:-1]] == [scep.SUCCESS] * 12


def test_a_reload_with_a_broken_ra_keeps_the_one_that_works(gw, acme):
    gw.start()
    working = gw.settings["ras"]
    other = scep.Ra(gw, "other")
    for broken in (dict(key="file:other.key"), dict(certificate="missing.pem"), dict(key="file:missing.key")):
        gw.settings["ras"] = [dict(working[0], **broken)]
        assert "stays in force" in gw.reload()
        assert enrolls(gw, acme).status == scep.SUCCESS
    assert other.cert not in bundle(gw)


# ---- what cannot be configured

def rsa_ca(gw):
    pki.replace_by_rsa(gw.dir)
    return scep.configure(gw)


def test_what_is_encrypted_to_the_ca_is_not_opened(new_gateway, acme):
    """The CA key signs certificates and revocation lists, and nothing else."""
    gw = rsa_ca(new_gateway()).start()
    one = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, one.signer, one.challenge)
    message.envelope = cms.Envelope(message.csr, [chain(gw)[0]])
    scep.refused(gw, scep.send(gw, message), scep.BAD_MESSAGE_CHECK, "", one)
    assert enrolls(gw, acme).status == scep.SUCCESS


def _pair(gw, name, key, **kw):
    cert = pki.ra_cert(scep.pem(gw.issuing), pki.load_key(os.path.join(gw.dir, "ca/issuing.key")), key, "RA", **kw)
    pki.write_pair(os.path.join(gw.dir, name), cert, key)
    return {"name": "ra", "certificate": name + ".pem", "key": "file:%s.key" % name}


def complaint(gw):
    gw.write()
    done = gw.check()
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("what,words", [("EC", "RSA"), ("weak", "RSA|2048|weak"), ("no encipherment", "(?i)keyEncipherment"),
                                        ("no signature", "(?i)digitalSignature")])
def test_certificates_that_cannot_be_an_ras_are_refused(gw, what, words):
    usage = {"no encipherment": ("digital_signature",), "no signature": ("key_encipherment",)}
    usage = usage.get(what, ("digital_signature", "key_encipherment"))
    key = {"EC": pki.ec_key, "weak": lambda: pki.rsa_key(1024)}.get(what, scep.fresh_key)()
    gw.settings["ras"] = [_pair(gw, "bad", key, usage=usage)]
    assert re.search(words, complaint(gw))


def test_an_ra_that_has_expired_is_told_and_keeps_nothing_else_from_starting(gw):
    gw.settings["ras"] = [_pair(gw, "old", scep.fresh_key(), not_before=pki.ago(days=9), not_after=pki.ago(days=2))]
    assert gw.check().returncode == 0
    gw.start()
    gw.wait_log("certificate of RA .* has expired")


def test_the_ca_is_no_ra(new_gateway):
    gw = rsa_ca(new_gateway())
    gw.settings["ras"] = [{"name": "ra", "certificate": "ca/issuing.pem", "key": "file:ca/issuing.key"}]
    assert re.search("(?i)CA", complaint(gw))


@pytest.mark.parametrize("change,words", [
    (lambda s: s["ras"][0].update(previous_certificates=["ra.pem"]), "previous_keys"),
    (lambda s: s["ras"][0].update(previous_certificates=["ra.pem"], previous_keys=["file:tls/server.key"]), "(?i)key"),
    (lambda s: s["ras"][0].update(decrypt_certificate="ra.pem"), "decrypt_key"),
    (lambda s: s["ras"][0].update(decrypt_key="file:ra.key"), "decrypt_certificate"),
    (lambda s: s["labels"][0].update(scep_ra="none"), "none"),
    (lambda s: s["labels"][0].pop("scep_ra"), "scep_ra"),
    (lambda s: s["labels"][0].update(scep_legacy="insecure"), "insecure-cisco"),
    (lambda s: s["labels"][0].update(scep_allow=["des"]), "scep_allow|3des"),
    (lambda s: s["labels"][0].update(scep_allow=["md5"]), "scep_allow|sha1"),
    (lambda s: s["labels"][0].update(auth=["mdm"]), "scep_mdm"),
    (lambda s: s["labels"][0].update(protocols=["scep", "smtp"]), "smtp|protocols"),
    (lambda s: s["scep"].update(suffixes=["no-slash"]), "suffix"),
    (lambda s: s["scep"].update(suffixes=["/scep"]), "suffix"),
    (lambda s: s["cas"][0].update(next="missing.pem"), "missing.pem"),
    (lambda s: s["cas"][0].update(next="ra.pem"), "(?i)CA"),
    (lambda s: s["listen"].update(http=["nowhere:x"]), "http|listen"),
], ids=["previous without keys", "previous with another key", "decryption without a key", "decryption without a certificate",
        "no such RA", "no RA", "legacy by another word", "DES allowed", "MD5 allowed", "MDM without one", "protocol", "suffix",
        "suffix that is taken", "no next CA", "a next CA that is none", "address"])
def test_mistakes_in_the_settings_of_scep_are_told(gw, change, words):
    change(gw.settings)
    assert re.search(words, complaint(gw))


# ---- the next CA

@pytest.fixture
def following(gw):
    """The issuing CA that follows, in its file."""
    key = scep.fresh_key()
    now = scep.pem(gw.issuing)
    cert = (x509.CertificateBuilder().subject_name(now.subject).issuer_name(now.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=1)).not_valid_after(pki.ahead(days=4000))
            .add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, pki.hashes.SHA256()))
    with open(os.path.join(gw.dir, "ca/next.pem"), "wb") as out:
        out.write(pki.cert_pem(cert))
    return cert


def next_certs(gw):
    answer = scep.get(gw, "GetNextCACert")
    assert answer.status == 200 and answer.get("Content-Type") == NEXT, answer
    opened = cms.Opened(answer.body)
    assert opened.signer == gw.ra.cert, "the present RA vouches, whom the present CA certified"
    assert opened.digest == "SHA-256"
    inner = cms.Opened(opened.content)
    assert inner.signer is None and inner.content is None
    return inner.certs


def test_the_ca_certificate_that_follows_is_told_in_a_signed_answer(gw, following):
    gw.settings["cas"][0]["next"] = "ca/next.pem"
    gw.start()
    assert "GetNextCACert" in scep.get(gw, "GetCACaps").text.splitlines()
    assert next_certs(gw)[0] == pki.cert_der(following)
    for message in ("", "0", "x"):
        assert scep.get(gw, "GetNextCACert", message=message).status == 200


def test_a_next_ca_certificate_comes_and_goes_with_a_reload(gw, following):
    gw.start()
    assert scep.get(gw, "GetNextCACert").status == 404
    assert "GetNextCACert" not in scep.get(gw, "GetCACaps").text
    gw.settings["cas"][0]["next"] = "ca/next.pem"
    assert "is in force" in gw.reload()
    assert next_certs(gw)[0] == pki.cert_der(following)
    assert "GetNextCACert" in scep.get(gw, "GetCACaps").text.splitlines()
    del gw.settings["cas"][0]["next"]
    assert "is in force" in gw.reload()
    assert scep.get(gw, "GetNextCACert").status == 404


def test_openssl_verifies_the_signed_answer(gw, following, tmp_path):
    gw.settings["cas"][0]["next"] = "ca/next.pem"
    gw.start()
    (tmp_path / "next").write_bytes(scep.get(gw, "GetNextCACert").body)
    with open(gw.root) as root, open(gw.issuing) as issuing:
        (tmp_path / "cas").write_text(root.read() + issuing.read())
    done = run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", tmp_path / "next", "-out", tmp_path / "certs",
                    "-CAfile", tmp_path / "cas", "-purpose", "any")
    assert done.returncode == 0, done.stderr
    done = run("openssl", "pkcs7", "-inform", "DER", "-in", tmp_path / "certs", "-print_certs", "-noout")
    assert done.returncode == 0 and "subject=" in done.stdout


# ---- revocation lists

def test_a_revoked_certificate_is_on_the_list(gw, acme):
    gw.settings["cas"][0]["crl_lifetime"] = "2h"
    gw.start()
    owned = scep.Owned(gw, acme)
    mine = owned.enrolled(gw)

    def crl():
        reply = scep.send(gw, scep.get_cert(gw.ra, mine, mine.cert, kind=scep.GET_CRL))
        assert reply.crls[0].is_signature_valid(scep.pem(gw.issuing).public_key())
        return reply.crls[0]

    before = crl()
    assert (before.next_update - before.last_update).total_seconds() in range(7200, 7200 + 3600 + 1)
    assert before.get_revoked_certificate_by_serial_number(mine.cert_object.serial_number) is None
    while pki.now() <= before.last_update:
        time.sleep(0.05)  # lists of one second are one list
    gw.ctl("cert", "revoke", gw.certs(owned.tag)[0]["serial"], "--reason", "lost")
    gw.restart()  # whatever is kept of a list for a while is gone
    after = crl_by_http(gw)
    assert after.get_revoked_certificate_by_serial_number(mine.cert_object.serial_number) is not None
    number = [list_.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for list_ in (before, after)]
    assert number[1] > number[0]


def crl_by_http(gw):
    answer = scep.request(gw, "GET", "/crl/issuing.crl")
    assert answer.status == 200
    return x509.load_der_x509_crl(answer.body)
