"""Challenges that an MDM vouches for: Intune and a webhook, on a real HTTPS server (notes on SCEP, MDM challenge validation)."""
import hashlib
import json
import os

import pytest
from cryptography.x509.oid import NameOID

import est
import pki
import scep
from mdm_server import MdmServer

KINDS = pytest.mark.parametrize("kind", ["intune", "webhook"])
DEADLINE = "2s"


@pytest.fixture(scope="module")
def mdm(tmp_path_factory):
    with MdmServer(tmp_path_factory.mktemp("mdm")) as server:
        yield server


def offer(gateway, server, kind, **kw):
    """A label named after the MDM, which identifies devices by what it says, or by the names of the request."""
    gateway.settings.setdefault("mdms", []).append(dict(server.settings(kind), name=kind, deadline=DEADLINE))
    gateway.settings["identity"].append({"name": kind + "-cn", "trust": kind, "field": "subject_cn", "pattern": "DEV-([A-Z0-9]+)",
                                         "anchor": "mdm_id"})
    scep.add_label(gateway, kind, auth=["mdm", "own"], scep_mdm=kind, **kw)


@pytest.fixture(scope="module")
def gw(module_gateway, mdm):
    gateway = scep.configure(module_gateway())
    offer(gateway, mdm, "intune")
    offer(gateway, mdm, "webhook")
    scep.add_label(gateway, "both", auth=["mdm", "secret", "own"], scep_mdm="webhook")
    scep.add_label(gateway, "slow", auth=["mdm"], scep_mdm="intune", approval="manual")
    return gateway.start()


@pytest.fixture(autouse=True)
def well_behaved(mdm):
    yield
    mdm.switch(None)
    mdm.release()


class Managed:
    """An asset that an MDM knows, and a challenge of the MDM for it."""

    def __init__(self, gateway, acme, mdm, kind, named=True):
        self.device = acme.idevid()
        self.tag, self.serial = self.device.tag, self.device.serial
        gateway.import_rows([gateway.row(self.device, anchor=["mdm_id:%s:%s" % (kind, self.serial)])])
        self.challenge = "MDM challenge %s/+=" % os.urandom(12).hex()
        mdm.expect(self.challenge, self.serial if kind == "webhook" and named else None)
        self.signer = scep.Signer(subject="CN=DEV-" + self.serial)

    def request(self, gateway, **kw):
        kw.setdefault("subject", "CN=DEV-" + self.serial)
        return scep.pkcs_req(gateway.ra, kw.pop("signer", self.signer), kw.pop("challenge", self.challenge), **kw)


def unavailable(gw, message, label):
    answer = scep.post(gw, message.der(), label)
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0, answer
    assert len(answer.body) < 100


# ---- yes

@KINDS
def test_a_challenge_that_the_mdm_knows_is_good(gw, acme, mdm, kind):
    one = Managed(gw, acme, mdm, kind)
    message = one.request(gw)
    cert = scep.send(gw, message, kind).cert
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == one.tag
    assert [row["sha256"] for row in gw.certs(one.tag)] == [pki.sha256_hex(pki.cert_der(cert))]
    asked = mdm.await_seen("validateRequest" if kind == "intune" else "webhook")["body"]
    inner = asked["request"] if kind == "intune" else asked
    text = json.dumps(inner)
    assert message.transaction in text and scep.base64.b64encode(message.csr).decode() in text
    told = json.dumps(mdm.await_seen("successNotification" if kind == "intune" else "issued")["body"]).lower()
    assert hashlib.sha1(pki.cert_der(cert)).hexdigest() in told or hashlib.sha256(pki.cert_der(cert)).hexdigest() in told
    assert "%x" % cert.serial_number in told and message.transaction in told


def test_the_names_of_the_request_say_whose_it_is_when_the_mdm_does_not(gw, acme, mdm):
    one = Managed(gw, acme, mdm, "webhook", named=False)
    assert scep.send(gw, one.request(gw), "webhook").status == scep.SUCCESS


@KINDS
def test_the_same_message_gets_the_same_certificate_and_the_mdm_is_asked_once(gw, acme, mdm, kind):
    one = Managed(gw, acme, mdm, kind)
    message = one.request(gw)
    asked = "validateRequest" if kind == "intune" else "webhook"
    before = mdm.count(asked)
    certs = [scep.send(gw, message, kind).cert for _ in range(3)]
    assert len(set(certs)) == 1 and mdm.count(asked) == before + 1
    assert len(gw.certs(one.tag)) == 1


@KINDS
def test_a_renewal_does_not_ask_the_mdm_and_may_carry_the_old_challenge(gw, acme, mdm, kind):
    one = Managed(gw, acme, mdm, kind)
    mine = one.signer.with_cert(scep.send(gw, one.request(gw), kind).cert)
    before = len(mdm.seen)
    for how in (scep.RENEWAL_REQ, scep.PKCS_REQ):
        message = scep.renewal_req(gw.ra, mine, scep.fresh_key(), kind=how, challenge=one.challenge)
        assert scep.send(gw, message, kind).status == scep.SUCCESS
    assert not [seen for seen in mdm.seen[before:] if seen["kind"] in ("validateRequest", "webhook")]


def test_a_label_may_take_challenges_of_both_kinds(gw, acme, mdm):
    managed, owned = Managed(gw, acme, mdm, "webhook"), scep.Owned(gw, acme)
    before = mdm.count("webhook")
    assert scep.enroll(gw, owned.signer, owned.challenge, "both").status == scep.SUCCESS
    assert mdm.count("webhook") == before, "a challenge of ours is nobody else's business"
    assert scep.send(gw, managed.request(gw), "both").status == scep.SUCCESS


def test_an_approval_comes_after_the_mdms(gw, acme, mdm):
    one = Managed(gw, acme, mdm, "intune")
    message = one.request(gw)
    before = mdm.count("validateRequest")
    assert scep.send(gw, message, "slow").status == scep.PENDING
    poll = scep.cert_poll(gw.ra, one.signer, message.transaction)
    assert scep.send(gw, poll, "slow").status == scep.PENDING
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", one.tag, "--state", "pending")[0]["id"])
    assert scep.send(gw, poll, "slow").status == scep.SUCCESS
    assert mdm.count("validateRequest") == before + 1


# ---- no

@KINDS
@pytest.mark.parametrize("how", ["deny", "expired"])
def test_what_the_mdm_refuses_is_refused(gw, acme, mdm, kind, how):
    one = Managed(gw, acme, mdm, kind)
    mdm.switch(how)
    scep.refused(gw, scep.send(gw, one.request(gw), kind), scep.BAD_REQUEST, kind + " refused", one)


@KINDS
def test_a_challenge_that_the_mdm_does_not_know_is_refused(gw, acme, mdm, kind):
    one = Managed(gw, acme, mdm, kind)
    for challenge in ("unknown", "1-unknown", None, ""):
        reply = scep.send(gw, one.request(gw, challenge=challenge), kind)
        scep.refused(gw, reply, reply.fail, "", one)
    assert scep.send(gw, one.request(gw), kind).status == scep.SUCCESS


@KINDS
def test_a_challenge_is_good_for_one_request(gw, acme, mdm, kind):
    """Also when the MDM would say yes again."""
    one = Managed(gw, acme, mdm, kind)
    assert scep.send(gw, one.request(gw), kind).status == scep.SUCCESS
    mdm._used.discard(one.challenge)
    scep.refused(gw, scep.send(gw, one.request(gw, signer=scep.Signer()), kind), scep.BAD_REQUEST, "used", one, 1)
    gw.restart()
    mdm._used.discard(one.challenge)
    scep.refused(gw, scep.send(gw, one.request(gw, signer=scep.Signer()), kind), scep.BAD_REQUEST, "used", one, 1)


@KINDS
def test_a_challenge_raced_by_many_keys_is_won_by_one(gw, acme, mdm, kind):
    one = Managed(gw, acme, mdm, kind)
    real_use, mdm._use = mdm._use, lambda challenge: None  # an MDM that says yes to all of them
    try:
        messages = [one.request(gw, signer=scep.Signer()) for _ in range(4)]  # half of the workers may ask at once
        conns = [scep.Plain(gw) for _ in messages]
        replies = est.in_parallel([lambda m=message, c=conn: scep.send(gw, m, kind, conn=c)
                                   for message, conn in zip(messages, conns)])
    finally:
        mdm._use = real_use
    for conn in conns:
        conn.close()
    assert sorted(reply.status for reply in replies) == [scep.SUCCESS] + [scep.FAILURE] * 3
    assert len(gw.certs(one.tag)) == 1


@KINDS
def test_a_device_that_the_registry_does_not_own_is_refused_and_the_mdm_is_told(gw, mdm, kind):
    challenge = "for a stranger " + os.urandom(8).hex()
    mdm.expect(challenge, "NOBODY" if kind == "webhook" else None)
    message = scep.pkcs_req(gw.ra, scep.Signer(), challenge, subject="CN=DEV-NOBODY")
    scep.refused(gw, scep.send(gw, message, kind), scep.BAD_REQUEST, "asset")
    told = mdm.await_seen("failureNotification" if kind == "intune" else "refused")["body"]
    assert message.transaction in json.dumps(told)


def test_an_mdm_speaks_for_its_own_devices_only(gw, acme, mdm):
    one = Managed(gw, acme, mdm, "intune")
    mdm.expect(one.challenge, one.serial)
    scep.refused(gw, scep.send(gw, one.request(gw), "webhook"), scep.BAD_REQUEST, "asset", one)


# ---- no answer: fail closed, and nothing is spent

@KINDS
@pytest.mark.parametrize("how", ["error", "busy", "unauthorized", "oversized", "invalid_json", "wrong_type", "redirect", "drop"])
def test_an_mdm_that_does_not_answer_sensibly_opens_nothing(gw, acme, mdm, kind, how):
    one = Managed(gw, acme, mdm, kind)
    message = one.request(gw)
    mdm.switch(how)
    unavailable(gw, message, kind)
    mdm.switch(None)
    assert gw.certs(one.tag) == []
    assert scep.send(gw, message, kind).status == scep.SUCCESS


def test_a_token_service_that_refuses_us_opens_nothing(gw, acme, mdm):
    one = Managed(gw, acme, mdm, "intune")
    gw.reload()  # which forgets the token
    mdm.revoke_tokens()
    mdm.switch("no_token")
    unavailable(gw, one.request(gw), "intune")
    mdm.switch(None)
    assert scep.send(gw, one.request(gw), "intune").status == scep.SUCCESS


@KINDS
def test_an_mdm_that_hangs_is_given_up_at_its_deadline_and_holds_up_nobody(gw, acme, mdm, kind):
    one, other = Managed(gw, acme, mdm, kind), scep.Owned(gw, acme)
    message = one.request(gw)
    mdm.switch("hang")

    def waits():
        unavailable(gw, message, kind)
        return "unavailable"

    def passes():
        return [scep.enroll(gw, other.signer, other.challenge).status for _ in range(3)]

    results = est.in_parallel([waits, passes])
    assert results == ["unavailable", [scep.SUCCESS] * 3]
    mdm.release()
    assert gw.certs(one.tag) == []


@KINDS
def test_an_mdm_whose_certificate_is_not_its_cas_is_not_asked(new_gateway, acme, tmp_path, kind):
    with MdmServer(tmp_path, trusted=False) as impostor:
        gateway = scep.configure(new_gateway())
        offer(gateway, impostor, kind)
        gateway.start()
        one = Managed(gateway, acme, impostor, kind)
        unavailable(gateway, one.request(gateway), kind)
        assert impostor.seen == [], "nothing is told to a stranger, a challenge least of all"
        impostor.stop()
        unavailable(gateway, one.request(gateway), kind)
        assert gateway.certs(one.tag) == []


# ---- nowhere to be read

@KINDS
def test_neither_challenges_nor_the_mdms_secrets_are_written_anywhere(gw, acme, mdm, kind):
    one, wrong = Managed(gw, acme, mdm, kind), "a wrong challenge " + os.urandom(8).hex()
    assert scep.send(gw, one.request(gw, challenge=wrong), kind).status == scep.FAILURE
    assert scep.send(gw, one.request(gw), kind).status == scep.SUCCESS
    everything = gw.log.encode() + repr(gw.audit()).encode()
    for secret in (one.challenge, wrong, mdm.secret, mdm.bearer) + tuple(mdm.tokens):
        assert secret.encode() not in everything, secret
    for name in os.listdir(gw.dir):
        if name.startswith("enrolld.db"):
            with open(os.path.join(gw.dir, name), "rb") as file:
                octets = file.read()
            for secret in (one.challenge, wrong, mdm.secret, mdm.bearer):
                assert secret.encode() not in octets, (name, secret)
