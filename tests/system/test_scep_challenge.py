"""Challenges: one device, one certificate, one label, one time (notes on SCEP, 4 5 6 15)."""
import os
import time

import pytest

import est
import pki
import scep

EKU, KEY_USAGE, BASIC_CONSTRAINTS = "2.5.29.37", "2.5.29.15", "2.5.29.19"


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    gateway.add_profile("named", csr_names="match")
    gateway.add_profile("usual", key_usage=["digitalSignature", "keyEncipherment"], eku=["clientAuth"])
    scep.add_label(gateway, "named", profile="named")
    scep.add_label(gateway, "usual", profile="usual")
    scep.add_label(gateway, "other")
    scep.add_label(gateway, "closed", auth=["own"])
    scep.add_label(gateway, "factory", auth=["certificate", "own"])
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


def denied(gw, owned, challenge, reason, label="", certs=0, **kw):
    scep.refused(gw, scep.enroll(gw, owned.signer, challenge, label, **kw), scep.BAD_REQUEST, reason, owned, certs)


# ---- 4: what is no challenge

@pytest.mark.parametrize("value", ["", " ", "1", "-", "1-", "-1", "wrong", "1-wrong", "99999999-" + "A" * 26, "18446744073709551617-x",
                                   "x" * 5000, "' OR 1=1 --", "1-' OR '1'='1", "%00", "ÄÖÜ"])
def test_what_is_no_challenge_opens_nothing(gw, owned, value):
    denied(gw, owned, value, "secret|challenge|proof|auth")
    assert scep.enroll(gw, owned.signer, owned.challenge).status == scep.SUCCESS


def test_no_challenge_opens_nothing(gw, owned):
    denied(gw, owned, None, "secret|challenge|proof|auth")


def test_a_challenge_with_one_wrong_character_opens_nothing(gw, owned):
    for value in (owned.challenge[:-1], owned.challenge + "x", owned.challenge[:-1] + ("A" if owned.challenge[-1] != "A" else "B"),
                  owned.challenge.swapcase(), " " + owned.challenge, owned.challenge + " ", owned.challenge + "\n"):
        if value != owned.challenge:
            denied(gw, owned, value, "secret|challenge|proof|auth")
    assert scep.enroll(gw, owned.signer, owned.challenge).status == scep.SUCCESS


def test_two_challenges_in_a_request_are_refused(gw, owned):
    good, bad = (pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(text)) for text in (owned.challenge, "wrong"))
    both = pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(owned.challenge), pki.utf8("wrong"))
    for attributes in ([good, bad], [bad, good], [good, good], [both]):
        reply = scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=pki.csr(owned.signer.key, attributes=attributes)))
        scep.refused(gw, reply, reply.fail, "", owned)


def test_the_id_of_anothers_challenge_does_not_help(gw, acme, owned):
    other = scep.Owned(gw, acme)
    mixed = owned.challenge.split("-", 1)[0] + "-" + other.challenge.split("-", 1)[1]
    denied(gw, owned, mixed, "secret|challenge|proof|auth")
    assert gw.certs(other.tag) == []


def test_a_challenge_is_for_its_own_device(gw, acme, owned):
    """The request names another device than the challenge."""
    victim = scep.Owned(gw, acme)
    for how in (dict(subject="CN=" + victim.tag), dict(subject="", san=[("dns", victim.tag.lower() + ".example.net")]),
                dict(subject="", san=[("uri", "urn:dev:sn:" + victim.serial)])):
        denied(gw, owned, owned.challenge, "csr.names", "named", **how)
    assert gw.certs(victim.tag) == []


def test_a_challenge_gives_the_names_of_its_own_device_whatever_is_asked(gw, acme, owned):
    victim = scep.Owned(gw, acme)
    cert = scep.enroll(gw, owned.signer, owned.challenge, subject="CN=" + victim.tag).cert
    assert victim.tag.encode() not in pki.cert_der(cert) and owned.tag.encode() in pki.cert_der(cert)
    assert gw.certs(victim.tag) == []


def test_a_challenge_is_for_its_own_label(gw, owned):
    bound = scep.challenge(gw, owned.device, "--label", "other")
    for label in ("", "named"):
        denied(gw, owned, bound, "secret|challenge|label|proof|auth", label)
    assert scep.enroll(gw, owned.signer, bound, "other").status == scep.SUCCESS


def test_a_secret_of_est_is_no_challenge_and_a_challenge_no_secret_of_est(gw, owned):
    secret = gw.secret(owned.tag)
    denied(gw, owned, secret, "secret|challenge|proof|auth")
    for word in (owned.challenge, owned.challenge.split("-", 1)[1]):
        assert est.enroll(gw, pki.csr(pki.ec_key()), user=owned.tag, secret=word).status == 401
    assert gw.certs(owned.tag) == []


def test_an_expired_challenge_opens_nothing(gw, owned):
    brief = scep.challenge(gw, owned.device, "--expires", "1s")
    deadline = time.time() + 2
    while time.time() < deadline:
        time.sleep(0.1)  # the end of a challenge has no event but the moment itself
    denied(gw, owned, brief, "secret|challenge|expired|proof|auth")


@pytest.mark.parametrize("label", ["closed", "factory"])
def test_where_no_challenge_is_configured_none_opens(gw, owned, label):
    """VU#971035: closed, not open."""
    for value in (owned.challenge, None, ""):
        denied(gw, owned, value, "secret|challenge|proof|auth", label)


def test_an_asset_without_a_challenge_is_closed(gw, acme):
    device = gw.own(acme.idevid())
    signer = scep.Signer(subject="CN=" + device.tag)
    for value in (None, "", device.tag, device.serial):
        scep.refused(gw, scep.enroll(gw, signer, value, subject="CN=" + device.tag), scep.BAD_REQUEST)
    assert gw.certs(device.tag) == []


@pytest.mark.parametrize("state", ["quarantined", "lost"])
def test_a_challenge_does_not_help_an_asset_that_is_out(gw, owned, state):
    gw.set_state(owned.device, state)
    scep.refused(gw, scep.enroll(gw, owned.signer, owned.challenge), scep.BAD_REQUEST, "state|secret|challenge", owned)


# ---- 4: one time

def test_a_challenge_is_good_once(gw, owned):
    assert scep.enroll(gw, owned.signer, owned.challenge).status == scep.SUCCESS
    for signer in (owned.signer, scep.Signer()):
        denied(gw, scep_as(owned, signer), owned.challenge, "secret|challenge|proof|auth", certs=1, subject="CN=again")


def scep_as(owned, signer):
    other = object.__new__(scep.Owned)
    other.__dict__.update(owned.__dict__, signer=signer)
    return other


def test_a_static_challenge_is_good_many_times(gw, acme):
    one = scep.Owned(gw, acme, "--static")
    for i in range(3):
        assert scep.enroll(gw, scep.Signer(), one.challenge, subject="CN=%d" % i).status == scep.SUCCESS
    assert len(gw.certs(one.tag)) == 3


def test_a_challenge_raced_by_many_keys_is_won_by_one(gw, owned):
    messages = [scep.pkcs_req(gw.ra, scep.Signer(), owned.challenge) for _ in range(8)]
    conns = [scep.Plain(gw) for _ in messages]
    replies = est.in_parallel([lambda m=message, c=conn: scep.send(gw, m, conn=c) for message, conn in zip(messages, conns)])
    for conn in conns:
        conn.close()
    assert sorted(reply.status for reply in replies) == [scep.SUCCESS] + [scep.FAILURE] * 7
    assert {reply.fail for reply in replies if reply.status == scep.FAILURE} == {scep.BAD_REQUEST}
    assert len(gw.certs(owned.tag)) == 1


# ---- 6: the same again

def test_a_message_that_comes_again_octet_by_octet_is_answered_with_the_same_certificate(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    octets = message.der()
    certs = [scep.Reply(scep.post(gw, octets), message).cert for _ in range(4)]
    assert len(set(certs)) == 1 and len(gw.certs(owned.tag)) == 1
    assert len(gw.audit("enroll.issued", owned.tag)) == 1 and len(gw.audit("enroll.replayed", owned.tag)) == 3


def test_a_replay_says_nothing_to_who_has_not_the_key(gw, owned):
    """A caught message gives its sender's certificate, and only the sender can open the answer."""
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    octets = message.der()
    scep.Reply(scep.post(gw, octets), message)
    message.signer = scep.Signer(cert=owned.signer.cert)
    with pytest.raises(Exception):
        scep.Reply(scep.post(gw, octets), message)


def test_the_same_request_in_a_new_message_is_the_same_request(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    first = scep.send(gw, message).cert
    again = scep.send(gw, message.again()).cert
    fresh = scep.pkcs_req(gw.ra, owned.signer, csr=message.csr, transaction=message.transaction)
    assert first == again == scep.send(gw, fresh).cert
    assert len(gw.certs(owned.tag)) == 1


def test_identical_messages_at_once_are_one_certificate(gw, owned):
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    octets = message.der()
    conns = [scep.Plain(gw) for _ in range(8)]
    replies = est.in_parallel([lambda c=conn: scep.Reply(scep.post(gw, octets, conn=c), message) for conn in conns])
    for conn in conns:
        conn.close()
    assert len({reply.cert for reply in replies}) == 1 and len(gw.certs(owned.tag)) == 1


def test_a_transaction_with_another_key_is_refused(gw, acme):
    one, two = scep.Owned(gw, acme, "--static"), scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, one.signer, one.challenge)
    assert scep.send(gw, message).status == scep.SUCCESS
    same = scep_as(one, scep.Signer())
    denied(gw, same, one.challenge, "transaction", certs=1, transaction=message.transaction)
    denied(gw, two, two.challenge, "transaction", transaction=message.transaction)
    assert scep.enroll(gw, two.signer, two.challenge).status == scep.SUCCESS


# ---- 5: beyond the record

@pytest.mark.parametrize("how", [
    dict(subject="CN=somebody"), dict(subject="CN={tag},O=Board of Directors"), dict(subject="", san=[("dns", "*.example.net")]),
    dict(subject="", san=[("dns", "admin.example.net")]), dict(subject="", san=[("email", "ceo@example.net")]),
    dict(subject="", san=[("dns", "{tag}.example.net"), ("dns", "admin.example.net")]),
], ids=["subject", "organisation", "wildcard", "DNS name", "e-mail", "one of two"])
def test_names_beyond_the_record_are_refused(gw, owned, how):
    how = {key: value.format(tag=owned.tag) if isinstance(value, str) else [(kind, name.format(tag=owned.tag.lower()))
                                                                           for kind, name in value]
           for key, value in how.items()}
    denied(gw, owned, owned.challenge, "csr.names", "named", **how)
    own = "CN=%s,O=Operations,serialNumber=%s" % (owned.tag, owned.serial)
    assert scep.enroll(gw, owned.signer, owned.challenge, "named", subject=own).status == scep.SUCCESS


@pytest.mark.parametrize("extension", [
    pki.extension(BASIC_CONSTRAINTS, pki.seq(pki.boolean(True)), True), pki.extension(KEY_USAGE, b"\x03\x02\x02\x04", True),
    pki.extension(KEY_USAGE, b"\x03\x02\x01\x06", True), pki.extension(EKU, pki.seq(pki.oid("2.5.29.37.0"))),
    pki.extension(EKU, pki.seq(pki.oid("1.3.6.1.5.5.7.3.3"))), pki.extension(EKU, pki.seq(pki.oid("1.3.6.1.5.5.7.3.9"))),
    pki.extension(EKU, pki.seq()), pki.extension("1.2.3.4", b"\x05\x00", True),
], ids=["CA", "keyCertSign", "cRLSign", "any", "codeSigning", "OCSPSigning", "empty", "unknown and critical"])
@pytest.mark.parametrize("label", ["", "named"])
def test_usages_beyond_the_profile_are_refused(gw, owned, label, extension):
    attributes = [pki.attribute(pki.CHALLENGE_PASSWORD, pki.utf8(owned.challenge)),
                  pki.attribute(pki.EXTENSION_REQUEST, pki.seq(extension))]
    csr = pki.csr(owned.signer.key, "", attributes=attributes)
    reply = scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr), label)
    scep.refused(gw, reply, scep.BAD_REQUEST, "csr.extensions", owned)


def test_the_usual_extensions_are_no_privilege(gw, owned):
    extensions = [pki.extension(KEY_USAGE, b"\x03\x02\x05\xa0", True), pki.extension(EKU, pki.seq(pki.oid("1.3.6.1.5.5.7.3.2"))),
                  pki.extension(BASIC_CONSTRAINTS, pki.seq())]
    csr = pki.csr(owned.signer.key, "", challenge=owned.challenge, extensions=extensions)
    assert scep.send(gw, scep.pkcs_req(gw.ra, owned.signer, csr=csr), "usual").status == scep.SUCCESS


# ---- 15: nowhere to be read

def test_challenges_are_neither_in_the_log_nor_in_the_database_nor_in_the_audit(gw, acme):
    owned = scep.Owned(gw, acme)
    wrong = owned.challenge[:-4] + "Zz9q"
    denied(gw, owned, wrong, "")
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    assert scep.send(gw, message).status == scep.SUCCESS
    static = scep.Owned(gw, acme, "--static")
    assert static.enrolled(gw)
    everything = gw.log.encode() + repr(gw.audit()).encode()
    for name in os.listdir(gw.dir):
        if name.startswith("enrolld.db"):
            everything += open(os.path.join(gw.dir, name), "rb").read()
    for challenge in (owned.challenge, wrong, static.challenge):
        assert challenge.encode() not in everything
        assert challenge.split("-", 1)[1].encode() not in everything
