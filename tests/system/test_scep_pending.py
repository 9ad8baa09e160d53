"""Approval by people, polls, restarts; a CA or a registry that does not answer (notes on SCEP, 7 15)."""
import pytest

import cms
import est
import pki
import scep


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = scep.configure(module_gateway())
    scep.add_label(gateway, "guarded", approval="manual")
    scep.add_label(gateway, "also-guarded", approval="manual")
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


@pytest.fixture
def waiting(gw, owned):
    """A request that waits for an operator."""
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge, subject="CN=" + owned.tag)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    return message


def poll(gw, owned, transaction, label="guarded", signer=None, **kw):
    kw.setdefault("subject", "CN=" + owned.tag)
    return scep.send(gw, scep.cert_poll(gw.ra, signer or owned.signer, transaction, **kw), label)


def pending(gw, owned):
    rows = gw.ctl("request", "list", "--asset", owned.tag, "--state", "pending")
    assert len(rows) == 1
    return rows[0]["id"]


def approve(gw, owned):
    gw.ctl("request", "approve", pending(gw, owned))


def test_a_request_waits_and_a_poll_gets_its_certificate(gw, owned, waiting):
    for _ in range(2):
        assert poll(gw, owned, waiting.transaction).status == scep.PENDING
    assert gw.certs(owned.tag) == []
    approve(gw, owned)
    cert = poll(gw, owned, waiting.transaction).cert
    assert pki.spki(cert.public_key()) == pki.spki(owned.signer.key)
    assert poll(gw, owned, waiting.transaction).cert == cert
    assert len(gw.certs(owned.tag)) == 1


def test_a_request_waits_and_the_same_request_gets_its_certificate(gw, owned, waiting):
    """micromdm does not poll."""
    octets = waiting.der()
    assert scep.Reply(scep.post(gw, octets, "guarded"), waiting).status == scep.PENDING
    approve(gw, owned)
    cert = scep.Reply(scep.post(gw, octets, "guarded"), waiting).cert
    assert poll(gw, owned, waiting.transaction).cert == cert
    assert scep.send(gw, waiting.again(), "guarded").cert == cert
    assert len(gw.certs(owned.tag)) == 1


def test_a_request_survives_restarts(gw, owned, waiting):
    gw.restart()
    assert poll(gw, owned, waiting.transaction).status == scep.PENDING
    gw.kill()
    gw.start()
    approve(gw, owned)
    gw.restart()
    cert = poll(gw, owned, waiting.transaction).cert
    assert scep.send(gw, waiting, "guarded").cert == cert
    assert len(gw.certs(owned.tag)) == 1


@pytest.mark.parametrize("issuer", ["RA", "CA"])
@pytest.mark.parametrize("subject", ["own", "CN=other", ""])
def test_which_of_our_names_a_poll_says_does_not_matter(gw, owned, waiting, issuer, subject):
    """Some say the RA's, some the CA's; the transaction and the key say which request it is (RFC 8894, section 3.3.3)."""
    approve(gw, owned)
    name = cms.subject_of(gw.ra.cert) if issuer == "RA" else cms.issuer_of(gw.ra.cert)
    subject = "CN=" + owned.tag if subject == "own" else subject
    assert poll(gw, owned, waiting.transaction, issuer=name, subject=subject).status == scep.SUCCESS


def test_a_poll_of_a_ca_that_is_not_here_is_refused(gw, owned, waiting):
    """It might be what a wrong key made of other octets: test_scep_oracle.py."""
    approve(gw, owned)
    reply = poll(gw, owned, waiting.transaction, issuer=pki.name("CN=another CA"))
    scep.refused(gw, reply, scep.BAD_MESSAGE_CHECK, "another CA", owned)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", [dict(ber=True), dict(oaep="SHA-1"), dict(names_digest=True, cipher="AES-256")],
                         ids=["BER", "OAEP", "AES-256"])
def test_polls_of_every_encoding(gw, owned, waiting, method, how):
    approve(gw, owned)
    message = scep.cert_poll(gw.ra, owned.signer, waiting.transaction, **how)
    assert scep.send(gw, message, "guarded", method).status == scep.SUCCESS


def test_a_new_self_signed_certificate_of_the_same_key_polls_too(gw, owned, waiting):
    approve(gw, owned)
    assert poll(gw, owned, waiting.transaction, signer=scep.Signer(owned.signer.key, subject="CN=later")).status == scep.SUCCESS


def test_a_refused_request_is_told(gw, owned, waiting):
    gw.ctl("request", "deny", pending(gw, owned), "--reason", "not today")
    reply = poll(gw, owned, waiting.transaction)
    assert (reply.status, reply.fail) == (scep.FAILURE, scep.BAD_REQUEST)
    assert "not today" not in (reply.fail_text or ""), "what operators write to each other stays among them"
    assert gw.certs(owned.tag) == []


def test_a_renewal_waits_and_is_polled_by_the_old_certificate_and_by_the_new_key(gw, owned, waiting):
    approve(gw, owned)
    mine = owned.signer.with_cert(poll(gw, owned, waiting.transaction).cert)
    for kind in (scep.RENEWAL_REQ, scep.PKCS_REQ):
        key = scep.fresh_key()
        message = scep.renewal_req(gw.ra, mine, key, kind=kind)
        assert scep.send(gw, message, "guarded").status == scep.PENDING
        assert poll(gw, owned, message.transaction, signer=mine).status == scep.PENDING
        approve(gw, owned)
        cert = poll(gw, owned, message.transaction, signer=mine).cert
        assert pki.spki(cert.public_key()) == pki.spki(key)
        assert poll(gw, owned, message.transaction, signer=scep.Signer(key)).cert == cert


# ---- 7: somebody else's transaction

def test_another_devices_transaction_is_not_there(gw, acme, owned, waiting):
    other = scep.Owned(gw, acme)
    issued = other.enrolled(gw)
    for signer in (scep.Signer(), other.signer, issued, scep.Signer(subject="CN=" + owned.tag)):
        reply = poll(gw, owned, waiting.transaction, signer=signer)
        scep.refused(gw, reply, scep.BAD_CERT_ID, "no such transaction")
    approve(gw, owned)
    for signer in (scep.Signer(), other.signer, issued):
        reply = poll(gw, owned, waiting.transaction, signer=signer)
        scep.refused(gw, reply, scep.BAD_CERT_ID, "no such transaction", owned)
    assert poll(gw, owned, waiting.transaction).status == scep.SUCCESS


@pytest.mark.parametrize("transaction", ["unknown", "", "%", "' OR '1'='1", "{t}x", "{t} "])
def test_a_transaction_that_is_none_is_not_there(gw, owned, waiting, transaction):
    message = scep.cert_poll(gw.ra, owned.signer, transaction.format(t=waiting.transaction))
    answer = scep.post(gw, message.der(), "guarded")
    if transaction == "":
        assert answer.status == 400
    else:
        scep.refused(gw, scep.Reply(answer, message), scep.BAD_CERT_ID, "no such transaction", owned)


@pytest.mark.parametrize("label", ["", "also-guarded"])
def test_a_transaction_belongs_to_its_label(gw, owned, waiting, label):
    approve(gw, owned)
    scep.refused(gw, poll(gw, owned, waiting.transaction, label), scep.BAD_CERT_ID, "no such transaction", owned)


def test_a_poll_does_not_help_an_asset_that_is_out_meanwhile(gw, owned, waiting):
    approve(gw, owned)
    gw.set_state(owned.device, "quarantined")
    reply = poll(gw, owned, waiting.transaction)
    assert reply.status == scep.FAILURE and gw.certs(owned.tag) == []


def test_a_revoked_certificate_polls_nothing(gw, owned, waiting):
    approve(gw, owned)
    mine = owned.signer.with_cert(poll(gw, owned, waiting.transaction).cert)
    message = scep.renewal_req(gw.ra, mine, scep.fresh_key())
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    approve(gw, owned)
    gw.ctl("cert", "revoke", gw.certs(owned.tag)[0]["serial"], "--reason", "lost")
    assert poll(gw, owned, message.transaction, signer=mine).status == scep.FAILURE
    assert len(gw.certs(owned.tag)) == 1


def test_a_waiting_request_holds_its_challenge(gw, owned, waiting):
    """A second key does not get in with it, neither while the first waits nor when it is approved."""
    thief = scep.Signer()
    first = scep.send(gw, scep.pkcs_req(gw.ra, thief, owned.challenge), "guarded")
    approve(gw, owned) if first.status == scep.FAILURE else gw.ctl(
        "request", "approve", min(row["id"] for row in gw.ctl("request", "list", "--asset", owned.tag, "--state", "pending")))
    assert poll(gw, owned, waiting.transaction).status == scep.SUCCESS
    for row in gw.ctl("request", "list", "--asset", owned.tag, "--state", "pending"):
        gw.ctl("request", "approve", row["id"])
    second = scep.send(gw, scep.pkcs_req(gw.ra, thief, owned.challenge), "guarded")
    assert second.status == scep.FAILURE and len(gw.certs(owned.tag)) == 1


# ---- 15: parts that are away

def unavailable(answer):
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0, answer
    assert answer.get("Content-Type").startswith("text/plain") and len(answer.body) < 100


def test_without_the_registry_nobody_enrolls_and_no_challenge_is_spent(new_gateway, acme):
    gateway = scep.configure(new_gateway()).start()
    owned = scep.Owned(gateway, acme)
    message = scep.pkcs_req(gateway.ra, owned.signer, owned.challenge)
    connection = gateway.database()
    with connection:
        connection.execute("ALTER TABLE secret RENAME TO secret_away")
    for method in ("GET", "POST"):
        answer = scep.post(gateway, message.der()) if method == "POST" else \
            scep.get(gateway, "PKIOperation", message=scep.quoted(message.der()))
        unavailable(answer)
        assert "secret" not in answer.text and owned.challenge not in gateway.log
    with connection:
        connection.execute("ALTER TABLE secret_away RENAME TO secret")
    connection.close()
    assert gateway.certs(owned.tag) == []
    assert scep.send(gateway, message).status == scep.SUCCESS


def test_while_the_database_takes_no_writes_nothing_is_issued_and_no_challenge_is_spent(new_gateway, acme):
    gateway = scep.configure(new_gateway()).start()
    owned = scep.Owned(gateway, acme)
    message = scep.pkcs_req(gateway.ra, owned.signer, owned.challenge)
    connection = gateway.database()
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE")
    unavailable(scep.post(gateway, message.der()))
    connection.execute("ROLLBACK")
    connection.close()
    assert gateway.certs(owned.tag) == []
    assert scep.send(gateway, message).status == scep.SUCCESS


def test_what_needs_no_registry_is_there_without_it(new_gateway, acme):
    gateway = scep.configure(new_gateway()).start()
    connection = gateway.database()
    with connection:
        connection.execute("ALTER TABLE secret RENAME TO secret_away")
    for operation in ("GetCACaps", "GetCACert"):
        assert scep.get(gateway, operation).status == 200
    with connection:
        connection.execute("ALTER TABLE secret_away RENAME TO secret")
    connection.close()


# ---- kill -9

@pytest.mark.parametrize("moment", [1, 5, 12])
def test_kill_in_the_middle_of_a_storm_loses_no_certificate_and_makes_no_second_one(new_gateway, acme, moment):
    gateway = scep.configure(new_gateway()).start()
    owned = [scep.Owned(gateway, acme) for _ in range(16)]
    messages = [scep.pkcs_req(gateway.ra, one.signer, one.challenge) for one in owned]
    octets = [message.der() for message in messages]
    got, enough = {}, est.threading.Event()

    def client(i):
        got[i] = scep.Reply(scep.post(gateway, octets[i]), messages[i]).cert
        if len(got) >= moment:
            enough.set()

    def killer():
        assert enough.wait(60)
        gateway.kill()

    est.in_parallel([lambda i=i: client(i) for i in range(16)] + [killer])
    assert len(got) >= moment
    gateway.start()
    for i, one in enumerate(owned):
        cert = scep.Reply(scep.post(gateway, octets[i]), messages[i]).cert
        assert got.get(i, cert) == cert, "a second certificate for one request"
        assert [row["sha256"] for row in gateway.certs(one.tag)] == [pki.sha256_hex(pki.cert_der(cert))]
    gateway.ctl("audit", "verify")


def test_a_poll_by_the_new_key_at_a_label_of_registrars(module_gateway, acme):
    """The poll is signed with the key alone: there is no certificate in it to be a registrar's."""
    gw = scep.configure(module_gateway())
    scep.add_label(gw, "guarded", approval="manual", auth=["secret", "own", "registrar"])
    gw.start()
    owned = scep.Owned(gw, acme)
    key = scep.fresh_key()
    message = scep.renewal_req(gw.ra, owned.enrolled(gw), key)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    poller = scep.Signer(key, subject="CN=" + owned.tag)
    poll = scep.cert_poll(gw.ra, poller, message.transaction, subject="CN=" + owned.tag)
    assert scep.send(gw, poll, "guarded").status == scep.PENDING
    assert gw.process.poll() is None
