"""DTLS of EST over CoAP (RFC 9148, section 3; RFC 7925): what is offered, what is refused, what SIGHUP changes."""
import os
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import coap
import dtls
import pki
from coap import CCM8, GCM, Failed

OTHERS = ["ECDHE-ECDSA-AES256-CCM8", "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES256-GCM-SHA384",
          "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA",
          "ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "DHE-RSA-AES128-CCM8", "ECDHE-ECDSA-NULL-SHA",
          "AECDH-AES128-SHA", "ECDHE-ECDSA-ARIA128-GCM-SHA256"]


@pytest.fixture(scope="module")
def gw(module_gateway, globex, acme):
    gateway = coap.configure(module_gateway(acme, globex))
    gateway.settings["trust"][1]["accept_expired"] = True
    return gateway.start()


def fresh():
    return pki.csr(pki.ec_key(), "")


def refused(gw, device, **tls):
    """The handshake ends with an alert or with silence; the gateway goes on."""
    with pytest.raises((Failed, TimeoutError)):
        coap.Conn(gw, device, timeout=5, **tls).close()
    assert coap.enroll(gw, fresh(), device).code == 204


# ---- suites, groups, versions

@pytest.mark.parametrize("suite", [CCM8, GCM])
@pytest.mark.parametrize("groups,kind", [("P-256", "EC"), ("P-256:X25519", "EC"), ("X25519:P-256", "X25519")])
def test_both_suites_serve_on_both_groups(gw, device, suite, groups, kind):
    with coap.Conn(gw, device, ciphers=suite, groups=groups) as conn:
        assert (conn.dtls.cipher, conn.dtls.version) == (suite, "DTLSv1.2")
        assert conn.dtls.server_key_kind == kind, "what the client likes better"
        assert conn.dtls.extended_master_secret
        assert conn.post("sen", fresh()).code == 204


def test_the_mandatory_suite_is_chosen_where_both_are_offered(gw, device):
    with coap.Conn(gw, device, ciphers=GCM + ":" + CCM8) as conn:
        assert conn.dtls.cipher == CCM8


@pytest.mark.parametrize("suite", OTHERS)
def test_no_other_suite_is_taken(gw, device, suite):
    refused(gw, device, ciphers=suite + ":@SECLEVEL=0")


@pytest.mark.parametrize("groups", ["P-384", "P-521", "X448", "P-384:X448", "X25519", "X25519:P-384"])
def test_who_does_not_offer_p256_is_refused(gw, device, groups):
    """RFC 8422, section 5.1: the list is also that of the curves in certificates, and the server's is on P-256."""
    refused(gw, device, groups=groups)


def test_dtls_1_0_is_refused(gw, device):
    refused(gw, device, version=dtls.DTLS1, ciphers="ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")


def test_a_handshake_without_extended_master_secret_is_refused(gw, device):
    refused(gw, device, options=dtls.OP_NO_EXTENDED_MASTER_SECRET)


def test_the_chain_is_sent_along(gw, device):
    """The client trusts the root alone; and a name that is not in the certificate is not taken by it."""
    with coap.Conn(gw, device) as conn:
        assert conn.get("crts").code == 205
    with pytest.raises(Failed, match="certificate"):
        coap.Conn(gw, device, name="elsewhere.example", timeout=5)


def test_a_factory_certificate_may_have_an_rsa_key(gw, acme):
    device = gw.own(acme.idevid(key=pki.rsa_key(2048, name="coap device")))
    assert coap.enroll(gw, fresh(), device).code == 204


def test_a_factory_certificate_may_be_on_p384(gw, acme):
    device = gw.own(acme.idevid(key=pki.ec_key(ec.SECP384R1)))
    assert coap.enroll(gw, fresh(), device, groups="P-256:P-384").code == 204


def test_a_factory_certificate_on_another_curve_opens_no_session(gw, acme, device):
    """Over HTTPS such a device is welcome."""
    other = gw.own(acme.idevid(key=pki.ec_key(ec.SECP521R1)))
    with pytest.raises(Failed):
        coap.Conn(gw, other, groups="P-256:P-521", timeout=5)
    assert coap.enroll(gw, fresh(), device).code == 204


# ---- no second handshake in a session

def test_renegotiation_is_refused_and_harms_nobody(gw, device):
    with coap.Conn(gw, device) as conn:
        unique = conn.unique()
        conn.dtls.renegotiate()
        conn._send(conn.dtls.take())
        with pytest.raises(Failed, match="no renegotiation"):
            for _ in range(50):
                datagram = conn.receive_raw(5)
                assert datagram and not conn.dtls.step(datagram), "a second handshake was made"
                conn._send(conn.dtls.take())
        assert conn.unique() == unique
    assert coap.enroll(gw, fresh(), device).code == 204


def test_there_are_no_tickets_and_no_resumption(gw, device):
    with coap.Conn(gw, device) as first:
        session = first.dtls.session()
        assert dtls.session_facts(session) == (False, 0)
        assert first.get("crts").code == 205
    with coap.Conn(gw, device, session=session) as second:
        assert not second.dtls.reused
        assert second.post("sen", fresh()).code == 204


# ---- who is at the other end

def test_without_a_certificate_there_is_no_session(gw, device):
    with pytest.raises((Failed, TimeoutError)):
        coap.Conn(gw, timeout=5).close()
    assert coap.enroll(gw, fresh(), device).code == 204


def test_a_certificate_without_its_key_opens_no_session(gw, device, tmp_path):
    """The signature over the handshake is another key's: OpenSSL will not make it, so a bit of it is turned."""
    conn = None
    dtls_class = coap.Dtls

    class Spoilt(dtls_class):
        def take(self):
            out = super().take()
            if any(record[0] == dtls.RECORD_HANDSHAKE and record[13] == 15 for d in out for record in dtls.records(d)):
                out = [self.spoil(datagram) for datagram in out]
            return out

        @staticmethod
        def spoil(datagram):
            whole = b""
            for record in dtls.records(datagram):
                if record[0] == dtls.RECORD_HANDSHAKE and record[13] == 15:
                    record = record[:-1] + bytes([record[-1] ^ 1])
                whole += record
            return whole

    coap.Dtls = Spoilt
    try:
        with pytest.raises((Failed, TimeoutError)):
            conn = coap.Conn(gw, device, timeout=4)
    finally:
        coap.Dtls = dtls_class
    assert conn is None
    assert coap.enroll(gw, fresh(), device).code == 204


def test_an_expired_factory_certificate_is_refused(gw, acme):
    device = gw.own(acme.idevid(not_after=pki.ago(days=1)))
    assert coap.enroll(gw, fresh(), device).code in (401, 403)
    assert "expired" in gw.audit("enroll.refused")[-1]["detail"]["reason"]
    assert gw.certs(device.tag) == []


def test_an_expired_factory_certificate_is_taken_where_its_trust_set_says_so(gw, globex):
    device = gw.own(globex.idevid(not_after=pki.ago(days=1)), issuer="globex")
    with coap.Conn(gw, device) as conn:
        assert conn.get("crts").code == 205
        assert conn.post("sen", fresh()).code == 204


def test_a_factory_certificate_that_is_not_valid_yet_is_never_taken(gw, globex):
    device = gw.own(globex.idevid(not_before=pki.ahead(days=1)), issuer="globex")
    assert coap.enroll(gw, fresh(), device).code in (401, 403)
    assert gw.certs(device.tag) == []


# ---- SIGHUP

def new_certificate(gateway, key=None):
    """Another certificate in the files that the configuration names; its DER."""
    key = key or pki.ec_key()
    with open(gateway.issuing, "rb") as file:
        issuer = x509.load_pem_x509_certificate(file.read())
    cert = pki.server_cert(issuer, pki.load_key(os.path.join(gateway.dir, "ca/issuing.key")), key)
    pki.write_pair(os.path.join(gateway.dir, "tls/coap"), cert, key)
    with open(os.path.join(gateway.dir, "tls/coap.pem"), "ab") as out:
        out.write(pki.cert_pem(issuer))
    return pki.cert_der(cert)


def test_a_new_certificate_serves_new_sessions_and_old_ones_go_on(new_gateway, acme):
    gateway = coap.configure(new_gateway(), certificate="tls/coap.pem", key="file:tls/coap.key")
    first = new_certificate(gateway)
    gateway.start()
    device = gateway.own(acme.idevid())
    with coap.Conn(gateway, device) as old:
        assert old.dtls.peer_der() == first
        request = fresh()
        parts = [old.message(coap.POST, "/est/sen", [(coap.CONTENT_FORMAT, coap.number(286)),
                                                     (coap.BLOCK1, coap.block(n, (n + 1) * 128 < len(request), 128))],
                             request[n * 128:(n + 1) * 128]) for n in range(-(-len(request) // 128))]
        assert old.exchange(parts[0]).code == coap.CONTINUE
        for _ in range(3):
            second = new_certificate(gateway)
            assert "is in force" in gateway.reload()
            with coap.Conn(gateway, device) as new:
                assert new.dtls.peer_der() == second
                assert new.post("sen", fresh()).code == 204
        answers = [old.exchange(part) for part in parts[1:]]
        assert answers[-1].code == 204, "a body that was under way is not disturbed"


def test_a_key_that_may_not_be_leaves_the_former_in_force(new_gateway, acme):
    gateway = coap.configure(new_gateway(), certificate="tls/coap.pem", key="file:tls/coap.key")
    first = new_certificate(gateway)
    gateway.start()
    device = gateway.own(acme.idevid())
    for key in (pki.ec_key(ec.SECP384R1), pki.rsa_key(2048, name="coap server")):
        new_certificate(gateway, key)
        assert "former configuration stays in force" in gateway.reload()
        with coap.Conn(gateway, device) as conn:
            assert conn.dtls.peer_der() == first
            assert conn.post("sen", fresh()).code == 204


def test_trust_is_loaded_again_for_new_sessions_and_old_ones(new_gateway, acme, globex, stranger):
    gateway = coap.configure(new_gateway(acme, globex))
    whole = {key: gateway.settings[key] for key in ("trust", "identity", "labels")}
    gateway.settings.update(trust=whole["trust"][:1], identity=whole["identity"][:1],
                            labels=[dict(whole["labels"][0], trust=["acme"])])
    gateway.start()
    device = gateway.own(globex.idevid(), issuer="globex")
    with coap.Conn(gateway, device) as old:
        assert old.post("sen", fresh()).code in (401, 403)
        gateway.settings.update(whole)
        assert "is in force" in gateway.reload()
        assert coap.enroll(gateway, fresh(), device).code == 204
        assert old.post("sen", fresh()).code == 204


def test_a_port_that_is_taken_is_told_and_nothing_starts(new_gateway):
    gateway = coap.configure(new_gateway())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", gateway.port))
        with pytest.raises(AssertionError, match=r"(?i)in use"):
            gateway.start()
    gateway.process.wait(30)
    gateway._ended()
