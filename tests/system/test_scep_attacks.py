"""What somebody tries who has one legitimate credential, one that he stole, or none: each of these once worked."""
import os
import socket

import pytest

import cms
import est
import pki
import scep
from mdm_server import MdmServer

MDM = "webhook"
REVOKED_ROWS = 150000    # a revocation list of five megabytes
READERS = 200            # of it, who take none of it
GROWTH_MAX = 500 << 20   # octets; a copy for each reader would be 1 GB, and the sanitizer keeps 256 MB of what is freed


@pytest.fixture(scope="module")
def mdm(tmp_path_factory):
    with MdmServer(tmp_path_factory.mktemp("mdm")) as server:
        yield server


@pytest.fixture(scope="module")
def gw(module_gateway, mdm):
    gateway = scep.configure(module_gateway())
    gateway.settings["mdms"] = [dict(mdm.settings("webhook"), name=MDM)]
    gateway.settings["identity"].append({"name": "mdm-cn", "trust": MDM, "field": "subject_cn", "pattern": "DEV-([A-Z0-9]+)",
                                         "anchor": "mdm_id"})
    scep.add_label(gateway, "managed", auth=["mdm", "own"], scep_mdm=MDM)
    scep.add_label(gateway, "also-managed", auth=["mdm", "own"], scep_mdm=MDM)
    scep.add_label(gateway, "guarded", approval="manual")
    return gateway.start()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


class Managed:
    """An asset that the MDM vouched for, enrolled."""

    def __init__(self, gateway, acme, mdm):
        device = acme.idevid()
        self.tag, self.serial = device.tag, device.serial
        gateway.import_rows([gateway.row(device, anchor=["mdm_id:%s:%s" % (MDM, self.serial)])])
        self.challenge = "MDM challenge " + os.urandom(12).hex()
        mdm.expect(self.challenge, self.serial)
        self.signer = scep.Signer()
        self.message = self.request(gateway)
        assert scep.send(gateway, self.message, "managed").status == scep.SUCCESS

    def request(self, gateway, signer=None):
        return scep.pkcs_req(gateway.ra, signer or self.signer, self.challenge, subject="CN=DEV-" + self.serial)


def poll(gw, signer, transaction, label=""):
    return scep.send(gw, scep.cert_poll(gw.ra, signer, transaction), label)


def by_id(gw, tag):
    return sorted(gw.certs(tag), key=lambda row: row["id"])


def revoke(gw, tag, index):
    gw.ctl("cert", "revoke", by_id(gw, tag)[index]["serial"], "--reason", "stolen")


def valid(gw, tag):
    return [index for index, row in enumerate(by_id(gw, tag)) if row["status"] == "valid"]


def approve(gw, tag):
    for row in gw.ctl("request", "list", "--asset", tag, "--state", "pending"):
        gw.ctl("request", "approve", row["id"])


# ---- a stolen key whose certificate was revoked

def stolen_static(gw, acme, mdm):
    owned = scep.Owned(gw, acme, "--static")
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    assert scep.send(gw, message).status == scep.SUCCESS
    return owned.tag, owned.signer, message.transaction, ""


def stolen_once(gw, acme, mdm):
    owned = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    assert scep.send(gw, message).status == scep.SUCCESS
    return owned.tag, owned.signer, message.transaction, ""


def stolen_managed(gw, acme, mdm):
    one = Managed(gw, acme, mdm)
    return one.tag, one.signer, one.message.transaction, "managed"


def stolen_renewed(gw, acme, mdm):
    """The certificate before it is still good."""
    owned = scep.Owned(gw, acme)
    key = scep.fresh_key()
    message = scep.renewal_req(gw.ra, owned.enrolled(gw), key)
    assert scep.send(gw, message).status == scep.SUCCESS
    return owned.tag, scep.Signer(key), message.transaction, ""


@pytest.mark.parametrize("steal", [stolen_static, stolen_once, stolen_managed, stolen_renewed])
def test_a_revoked_certificates_key_does_not_poll_itself_a_new_one(gw, acme, mdm, steal):
    """CertPoll asks for an outcome. The transaction was on the wire in clear, and the thief knows no challenge."""
    tag, thief, transaction, label = steal(gw, acme, mdm)
    revoke(gw, tag, -1)
    before = valid(gw, tag)
    assert poll(gw, thief, transaction, label).status == scep.FAILURE
    assert valid(gw, tag) == before


@pytest.mark.parametrize("how", ["octet by octet", "signed anew"])
def test_a_request_that_the_mdm_vouched_for_gives_no_second_certificate_after_revocation(gw, acme, mdm, how):
    """Its challenge was good once; the MDM, which is not asked again, may have withdrawn the device since."""
    one = Managed(gw, acme, mdm)
    revoke(gw, one.tag, 0)
    message = one.message if how == "octet by octet" else one.message.again()
    reply = scep.send(gw, message, "managed")
    assert (reply.status, valid(gw, one.tag)) == (scep.FAILURE, [])


@pytest.mark.parametrize("when", ["approved before", "approved after"])
def test_a_renewal_that_waits_ends_with_the_certificate_that_asked_for_it(gw, owned, when):
    """The owner noticed, enrolled anew, and revoked what was stolen; the new certificate must not stand in for it."""
    thief, key = owned.enrolled(gw), scep.fresh_key()
    message = scep.renewal_req(gw.ra, thief, key)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    assert scep.enroll(gw, scep.Signer(), scep.challenge(gw, owned.device)).status == scep.SUCCESS
    if when == "approved before":
        approve(gw, owned.tag)
    revoke(gw, owned.tag, 0)
    if when == "approved after":
        approve(gw, owned.tag)
    assert poll(gw, scep.Signer(key), message.transaction, "guarded").status == scep.FAILURE
    assert valid(gw, owned.tag) == [1]


# ---- one challenge, more than one use

def test_a_challenge_of_an_mdm_is_good_once_whatever_the_label(gw, acme, mdm):
    """Both labels ask the same MDM, which says yes as often as it is asked."""
    one = Managed(gw, acme, mdm)
    mdm._used.discard(one.challenge)
    reply = scep.send(gw, one.request(gw, scep.Signer()), "also-managed")
    assert (reply.status, len(gw.certs(one.tag))) == (scep.FAILURE, 1)


def test_a_challenge_is_spent_also_when_a_certificate_fetches_what_it_was_for(gw, owned):
    """The request waited on a challenge; the device's older certificate may ask for its outcome."""
    mine, fresh = owned.enrolled(gw), scep.challenge(gw, owned.device)
    message = scep.pkcs_req(gw.ra, scep.Signer(), fresh)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    approve(gw, owned.tag)
    assert poll(gw, mine, message.transaction, "guarded").status == scep.SUCCESS
    assert scep.enroll(gw, scep.Signer(), fresh).status == scep.FAILURE
    assert len(gw.certs(owned.tag)) == 2


# ---- an envelope that was caught on the wire

@pytest.mark.parametrize("subject", ["its own", "as set up"])
def test_a_caught_renewal_signed_by_another_device_takes_no_key_away(gw, acme, owned, subject):
    """It holds no challenge that says whose it is, but a name. A key is one asset's for ever: the victim would be refused."""
    victim = scep.Owned(gw, acme)
    theirs = victim.enrolled(gw)
    named = cms.subject_of(theirs.cert) if subject == "its own" else "CN=" + victim.tag
    caught = scep.renewal_req(gw.ra, theirs, scep.fresh_key(), subject=named)
    message = scep.Message(gw.ra, owned.enrolled(gw), scep.RENEWAL_REQ, None)
    message.envelope = caught.envelope
    assert scep.send(gw, message).status == scep.FAILURE
    assert len(gw.certs(owned.tag)) == 1
    assert scep.send(gw, caught).status == scep.SUCCESS


# ---- a short question with a long answer

def fill(gateway, count):
    """So many revoked certificates, as the store would have them."""
    with gateway.database() as db:
        columns = "asset_id, request_id, ca, label, profile, serial, subject, sans, sha256, spki_sha256, not_before_s, not_after_s"
        row = db.execute("SELECT %s FROM certificate LIMIT 1" % columns).fetchone()
        db.executemany("INSERT INTO certificate (%s, status, revoked_s, revoke_reason) VALUES (%s, 1, %d, 'lost')"
                       % (columns, ", ".join("?" * 12), row[10]),
                       (row[:5] + ("%032x" % (1 << 126 | i), "", "", os.urandom(32), os.urandom(32)) + row[10:]
                        for i in range(count)))
    db.close()


def resident(gateway):
    with open("/proc/%d/statm" % gateway.process.pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_those_who_ask_for_a_long_revocation_list_and_do_not_take_it_cost_no_memory(new_gateway, acme):
    gateway = scep.configure(new_gateway()).start()
    scep.Owned(gateway, acme).enrolled(gateway)
    fill(gateway, REVOKED_ROWS)
    assert len(scep.request(gateway, "GET", "/crl/issuing.crl").body) > REVOKED_ROWS * 30
    before, readers = resident(gateway), []
    try:
        for _ in range(READERS):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(est.TIMEOUT)
            sock.connect(("127.0.0.1", gateway.http_port))
            sock.sendall(b"GET /crl/issuing.crl HTTP/1.1\r\nHost: x\r\n\r\n")
            readers.append(sock)
        for sock in readers:
            assert sock.recv(12, socket.MSG_WAITALL).startswith(b"HTTP/1.1 ")  # a list, or that there is no room now
        assert resident(gateway) - before < GROWTH_MAX
        assert scep.get(gateway, "GetCACaps").status == 200
    finally:
        for sock in readers:
            sock.close()


# ---- guesses

def test_a_strangers_guesses_lock_out_nobody_but_himself(new_gateway, acme):
    """A challenge begins with a small number: who counts from one finds every asset's, and needs no name."""
    gateway = scep.configure(new_gateway())
    gateway.settings["limits"]["auth_failures"] = 4
    gateway.start()
    owned = scep.Owned(gateway, acme)
    guess = owned.challenge.split("-")[0] + "-guess"
    for _ in range(5):
        conn = scep.Plain.__new__(scep.Plain)
        conn.sock, conn.buffer = socket.create_connection(("127.0.0.1", gateway.http_port), est.TIMEOUT, ("127.0.0.9", 0)), b""
        message = scep.pkcs_req(gateway.ra, scep.Signer(), guess)
        assert scep.send(gateway, message, conn=conn).status == scep.FAILURE
        conn.close()
    scep.recorded(gateway, "too many")
    assert scep.enroll(gateway, owned.signer, owned.challenge).status == scep.SUCCESS
