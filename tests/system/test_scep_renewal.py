"""Renewal: RenewalReq (17), and PKCSReq (19) that is signed by a current certificate (notes on SCEP, 2)."""
import time

import pytest

import cms
import pki
import scep

KINDS = pytest.mark.parametrize("kind", [scep.RENEWAL_REQ, scep.PKCS_REQ], ids=["RenewalReq", "PKCSReq"])


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    gateway.add_profile("late", renewal_window="10d")
    gateway.add_profile("brief", lifetime="3s", renewal_window="3s", backdate="0s")
    gateway.add_profile("moving", allow_subject_change=True)
    gateway.add_profile("named", csr_names="match")
    scep.add_label(gateway, "named", profile="named")
    scep.add_label(gateway, "late", profile="late")
    scep.add_label(gateway, "brief", profile="brief")
    scep.add_label(gateway, "grace", profile="brief", expired_grace="30d")
    scep.add_label(gateway, "no-renewal", operations=["enroll"])
    scep.add_label(gateway, "only-secrets", auth=["secret"])
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


@pytest.fixture
def mine(gw, owned):
    return owned.enrolled(gw)


def renew(gw, signer, kind, label="", key=None, **kw):
    key = key or scep.fresh_key()
    reply = scep.send(gw, scep.renewal_req(gw.ra, signer, key, kind=kind, **kw), label)
    if reply.status == scep.SUCCESS:
        assert pki.spki(reply.cert.public_key()) == pki.spki(key)
    return reply


@KINDS
def test_a_current_certificate_renews_itself(gw, owned, mine, kind):
    cert = renew(gw, mine, kind).cert
    old, new = sorted(gw.certs(owned.tag), key=lambda row: row["id"])
    assert new["sha256"] == pki.sha256_hex(pki.cert_der(cert)) and new["replaces"] == old["id"]
    assert cert.subject == mine.cert_object.subject


@KINDS
def test_a_renewed_certificate_renews_itself_again(gw, owned, mine, kind):
    key = scep.fresh_key()
    again = scep.Signer(key, renew(gw, mine, kind, key=key).cert)
    assert renew(gw, again, kind).status == scep.SUCCESS
    assert len(gw.certs(owned.tag)) == 3


@KINDS
@pytest.mark.parametrize("old", ["own", "nonsense"])
def test_an_old_challenge_that_is_sent_again_does_not_break_a_renewal(gw, owned, mine, kind, old):
    """micromdm and MDM profiles do."""
    challenge = owned.challenge if old == "own" else "an-old-password"
    assert renew(gw, mine, kind, challenge=challenge).status == scep.SUCCESS


def test_a_renewal_under_the_old_transaction_id(gw, owned):
    """micromdm takes the same one for everything: it is a hash of the key, which it keeps."""
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, transaction="kept-" + owned.tag)
    mine = owned.signer.with_cert(scep.send(gw, message).cert)
    reply = renew(gw, mine, scep.RENEWAL_REQ, key=owned.signer.key, challenge=owned.challenge, transaction=message.transaction)
    assert reply.status == scep.SUCCESS


@KINDS
def test_elliptic_keys_may_be_certified(gw, mine, kind):
    assert renew(gw, mine, kind, key=pki.ec_key()).status == scep.SUCCESS


@KINDS
@pytest.mark.parametrize("how", [dict(ber=True), dict(oaep="SHA-256", cipher="AES-256"), dict(names_digest=True, digest="SHA-512")],
                         ids=["BER", "OAEP", "SHA-512"])
def test_renewals_of_every_encoding(gw, mine, kind, how):
    assert renew(gw, mine, kind, **how).status == scep.SUCCESS


@KINDS
def test_a_renewal_that_comes_again_is_the_same(gw, owned, mine, kind):
    message = scep.renewal_req(gw.ra, mine, scep.fresh_key(), kind=kind)
    octets = message.der()
    assert len({scep.Reply(scep.post(gw, octets), message).cert for _ in range(3)}) == 1
    assert len(gw.certs(owned.tag)) == 2


# ---- who may not

@pytest.fixture(scope="module")
def impostor():
    """A CA with our CA's name."""
    return scep.fresh_key()


@KINDS
@pytest.mark.parametrize("how", ["another CA", "our CA's name", "a chain of its own"])
def test_a_certificate_of_another_ca_renews_nothing(gw, owned, mine, impostor, kind, how):
    issuing = pki.cert_der(scep.pem(gw.issuing))
    fake = issuing if how == "our CA's name" else scep.certificate(impostor, "CN=another CA")
    cert = scep.certificate(owned.signer.key, cms.subject_of(mine.cert), serial=mine.cert_object.serial_number,
                            issuer=fake, issuer_key=impostor)
    message = scep.renewal_req(gw.ra, owned.signer.with_cert(cert), scep.fresh_key(), kind=kind)
    if how == "a chain of its own":
        message.certs.append(fake)
    reply = scep.send(gw, message)
    scep.refused(gw, reply, reply.fail, "", owned, 1)
    assert reply.fail in (scep.BAD_MESSAGE_CHECK, scep.BAD_REQUEST)


def test_another_cas_certificate_does_not_spend_the_challenge_beside_it(gw, owned, impostor):
    """A certificate that proves nothing is worse than none: the message claims what is not so."""
    cert = scep.certificate(owned.signer.key, "CN=" + owned.tag, issuer=scep.certificate(impostor, "CN=another CA"),
                            issuer_key=impostor)
    reply = scep.enroll(gw, owned.signer.with_cert(cert), owned.challenge)
    scep.refused(gw, reply, reply.fail, "", owned)
    assert scep.enroll(gw, owned.signer, owned.challenge).status == scep.SUCCESS


def test_a_self_signed_certificate_renews_nothing(gw, owned, mine):
    for challenge in (None, owned.challenge, scep.challenge(gw, owned.device)):
        reply = renew(gw, owned.signer, scep.RENEWAL_REQ, key=owned.signer.key, challenge=challenge)
        scep.refused(gw, reply, scep.BAD_REQUEST, "self-signed", owned, 1)


def test_a_certificate_of_ours_that_nobody_recorded_renews_nothing(gw, owned, mine):
    """The RA's, and the server's: of our CA, and no device's."""
    for signer in (scep.Signer(gw.ra.key, gw.ra.cert),):
        reply = renew(gw, signer, scep.RENEWAL_REQ)
        scep.refused(gw, reply, reply.fail, "", owned, 1)


def test_a_factory_certificate_renews_nothing(gw, acme):
    device = gw.own(acme.idevid(key=scep.fresh_key()))
    reply = renew(gw, scep.Signer(device.key, device.cert), scep.RENEWAL_REQ, subject="")
    scep.refused(gw, reply, scep.BAD_REQUEST)
    assert gw.certs(device.tag) == []


@KINDS
def test_a_revoked_certificate_renews_nothing(gw, owned, mine, kind):
    gw.ctl("cert", "revoke", gw.certs(owned.tag)[0]["serial"], "--reason", "lost")
    scep.refused(gw, renew(gw, mine, kind), scep.BAD_REQUEST, "proof.revoked", owned, 1)


@KINDS
def test_a_revoked_certificate_renews_nothing_with_a_challenge_either(gw, owned, mine, kind):
    gw.ctl("cert", "revoke", gw.certs(owned.tag)[0]["serial"], "--reason", "lost")
    fresh = scep.challenge(gw, owned.device)
    scep.refused(gw, renew(gw, mine, kind, challenge=fresh), scep.BAD_REQUEST, "", owned, 1)


def expired(gw, owned, label):
    mine = owned.enrolled(gw, label)
    while pki.now() <= mine.cert_object.not_valid_after:
        time.sleep(0.05)  # the end of a certificate has no event but the moment itself
    time.sleep(0.05)
    return mine


@KINDS
def test_an_expired_certificate_renews_nothing_but_within_the_labels_grace(gw, acme, kind):
    one, two = scep.Owned(gw, acme), scep.Owned(gw, acme)
    graced = two.enrolled(gw, "grace")
    scep.refused(gw, renew(gw, expired(gw, one, "brief"), kind, "brief"), scep.BAD_REQUEST, "proof.expired", one, 1)
    assert renew(gw, graced, kind, "grace").status == scep.SUCCESS
    assert graced.cert_object.not_valid_after < pki.now()


@KINDS
def test_a_certificate_is_not_renewed_before_its_window(gw, owned, kind):
    mine = owned.enrolled(gw, "late")
    scep.refused(gw, renew(gw, mine, kind, "late"), scep.BAD_REQUEST, "window", owned, 1)


@KINDS
def test_renewal_happens_where_it_is_offered(gw, owned, mine, kind):
    for label in ("no-renewal", "only-secrets"):
        scep.refused(gw, renew(gw, mine, kind, label), scep.BAD_REQUEST, "", owned, 1)


@KINDS
@pytest.mark.parametrize("what", ["subject", "dns", "uri"])
def test_another_assets_certificate_is_not_renewed(gw, acme, owned, mine, kind, what):
    """The signer is one device's, the request names another."""
    other = scep.Owned(gw, acme)
    other.enrolled(gw)
    how = {"subject": dict(subject="CN=%s,O=Operations,serialNumber=%s" % (other.tag, other.serial)),
           "dns": dict(subject="", san=[("dns", other.tag.lower() + ".example.net")]),
           "uri": dict(subject="", san=[("uri", "urn:dev:sn:" + other.serial)])}[what]
    scep.refused(gw, renew(gw, mine, kind, "named", **how), scep.BAD_REQUEST, "renewal.identity|csr.names", owned, 1)
    reply = renew(gw, mine, kind, **how)
    if reply.status == scep.SUCCESS:  # names are ignored there: it is the signer's own, whatever it asked for
        assert reply.cert.subject == mine.cert_object.subject
    assert len(gw.certs(other.tag)) == 1


@KINDS
def test_a_renewal_may_repeat_the_names_of_the_first_request(gw, mine, kind):
    """Routers and scepclient ask for what they were set up with, not for what the registry made of it."""
    assert renew(gw, mine, kind, subject="CN=router,O=whatever").cert.subject == mine.cert_object.subject


@KINDS
def test_another_assets_key_is_not_certified(gw, acme, owned, mine, kind):
    other = scep.Owned(gw, acme)
    other.enrolled(gw)
    scep.refused(gw, renew(gw, mine, kind, key=other.signer.key), scep.BAD_REQUEST, "csr.reuse", owned, 1)


@KINDS
def test_a_devices_message_in_another_devices_envelope_takes_nothing_from_it(gw, acme, owned, mine, kind):
    """Caught on the wire and signed anew by somebody with a certificate: he must not get the key certified as his own,
    because it belongs to one asset from then on, and its owner would be refused."""
    victim = scep.Owned(gw, acme)
    caught = scep.pkcs_req(gw.ra, victim.signer, victim.challenge)
    message = scep.Message(gw.ra, mine, kind, None)
    message.envelope = caught.envelope
    scep.refused(gw, scep.send(gw, message), scep.BAD_REQUEST, "", owned, 1)
    assert gw.certs(victim.tag) == []
    assert scep.send(gw, caught).status == scep.SUCCESS


@KINDS
@pytest.mark.parametrize("state", ["quarantined", "lost"])
def test_an_asset_that_is_out_renews_nothing(gw, owned, mine, kind, state):
    gw.set_state(owned.device, state)
    scep.refused(gw, renew(gw, mine, kind), scep.BAD_REQUEST, "state|revoked", owned, 1)


@KINDS
def test_a_renewal_asks_for_no_privilege(gw, owned, mine, kind):
    csr = pki.csr(owned.signer.key, cms.subject_of(mine.cert),
                  extensions=[pki.extension("2.5.29.19", pki.seq(pki.boolean(True)), True)])
    reply = scep.send(gw, scep.pkcs_req(gw.ra, mine, csr=csr, kind=kind))
    scep.refused(gw, reply, scep.BAD_REQUEST, "csr.extensions", owned, 1)


@KINDS
def test_without_the_key_a_certificate_is_worth_nothing(gw, owned, mine, kind):
    thief = scep.Signer(cert=mine.cert)
    scep.refused(gw, renew_blind(gw, thief, kind), scep.BAD_MESSAGE_CHECK, "(?i)signature", owned, 1)


def renew_blind(gw, thief, kind):
    return scep.send(gw, scep.renewal_req(gw.ra, thief, scep.fresh_key(), kind=kind))


def test_a_renewal_after_a_restart(gw, owned, mine):
    gw.restart()
    assert renew(gw, mine, scep.RENEWAL_REQ).status == scep.SUCCESS
