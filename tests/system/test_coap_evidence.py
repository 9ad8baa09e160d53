"""Evidence over CoAP: a nonce as CBOR (draft-ietf-lamps-attestation-freshness), then the same pipeline as over HTTPS."""
import pytest

import coap
import est
import evidence
import pki
from coap import CBOR, CERT, CSR, GET, MAX_AGE, POST, PUT
from test_coap import check_error

NONCE_LEN = 32


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attest")
    return {name: evidence.Root(folder, name) for name in ("yubico", "google", "nobody")}


@pytest.fixture(scope="module")
def gw(module_gateway, roots):
    gateway = coap.configure(module_gateway(), roots=["/est"])
    gateway.settings["attesters"] = [
        {"name": "keys", "method": "yubikey", "roots": [roots["yubico"].pem]},
        {"name": "phones", "method": "android", "roots": [roots["google"].pem]},
    ]
    gateway.settings["rules"] = [
        {"name": "keys", "action": "require", "labels": ["keys"], "attesters": ["keys"]},
        {"name": "phones", "action": "require", "labels": ["phones*"], "attesters": ["phones"]},
        {"name": "all", "action": "allow"},
    ]
    for label in ("keys", "phones"):
        coap.add_label(gateway, label)
    coap.add_label(gateway, "phones-manual", approval="manual", retry_after="7s")
    gateway.add_label("phones-https")
    return gateway.start()


def owner_of(gw, maker, root, attester):
    """A device with a factory certificate whose attesting hardware is in the registry."""
    device = maker.idevid()
    device.token = evidence.Token(root)
    gw.import_rows([gw.row(device, anchor=["idevid_serial:acme:" + device.serial,
                                           "idevid_serial:%s:%s" % (attester, device.token.serial)])])
    return device


@pytest.fixture
def phone(gw, acme, roots):
    return owner_of(gw, acme, roots["google"], "phones")


@pytest.fixture
def holder(gw, acme, roots):
    return owner_of(gw, acme, roots["yubico"], "keys")


@pytest.fixture
def conn(gw, phone):
    with coap.Conn(gw, phone) as conn:
        yield conn


def nonce(conn, label="phones", **kw):
    answer = conn.get("nonce", label, **kw)
    assert (answer.code, answer.format) == (205, CBOR), answer
    return coap.cbor(answer.body)["nonce"]


def attested(phone, given, key=None, names=0, **kw):
    """A request, of 50 octets more for each name."""
    key = key or pki.ec_key()
    return evidence.csr(key, phone.token.android(key, given, **kw),
                        san=[("dns", "device-%03d.names-that-are-ignored.example.net" % i) for i in range(names)])


def refused(gw, device, *reasons):
    assert gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"] in reasons
    assert gw.certs(device.tag) == []


# ---- the nonce

@pytest.mark.parametrize("root", [coap.ROOT, "/est"])
@pytest.mark.parametrize("accept", [None, CBOR])
def test_a_nonce_is_a_map_in_cbor(conn, root, accept):
    seen = set()
    for _ in range(2):
        answer = conn.get("nonce", "phones", root, accept=accept)
        assert (answer.code, answer.format) == (205, CBOR)
        # RFC 7252, section 5.6.1: what has no Max-Age may be kept, and given to somebody else, for a minute.
        assert answer.get(MAX_AGE) == 0
        told = coap.cbor(answer.body)
        assert sorted(told) == ["expiry", "nonce"] and told["expiry"] == 300 and len(told["nonce"]) == NONCE_LEN
        seen.add(told["nonce"])
    assert len(seen) == 2


TEXT = {word: bytes([0x60 + len(word)]) + word.encode() for word in ("len", "type", "reqInfo", "1.2.3.4.5", "x")}


@pytest.mark.parametrize("body,code", [
    (b"\xa0", 204), (b"\xbf\xff", 204), (b"\xa1" + TEXT["len"] + b"\x18\x20", 204),
    (b"\xa2" + TEXT["type"] + TEXT["1.2.3.4.5"] + TEXT["reqInfo"] + b"\xa1\x01\x82\x02\x03", 204),
    (b"\xa1" + TEXT["x"] + b"\x81\xf6", 204),
    (b"\xa1" + TEXT["len"] + b"\x18\x30", 503), (b"\xa1" + TEXT["len"] + b"\x08", 503),
    (b"", 400), (b"\x80", 400), (b"{}", 400), (b"\xa0\x00", 400), (b"\xa1" + TEXT["len"], 400),
    (b"\xa1" + TEXT["len"] + b"\x07", 400), (b"\xa1" + TEXT["len"] + b"\x18\x41", 400),
    (b"\xa1" + TEXT["len"] + TEXT["x"], 400), (b"\xa1\x01\x02", 400), (b"\xa1" + TEXT["reqInfo"] + b"\xa0", 400),
    (b"\xa1" + TEXT["type"] + TEXT["x"], 400), (b"\xa2" + (TEXT["len"] + b"\x18\x20") * 2, 400),
    (b"\xa1" + TEXT["x"] + b"\x81" * 2000 + b"\x01", 400)])
def test_what_a_device_says_of_the_nonce_is_read(conn, body, code):
    answer = conn.post("nonce", body, "phones", format=CBOR)
    if code == 204:
        assert (answer.code, answer.format) == (204, CBOR) and len(coap.cbor(answer.body)["nonce"]) == NONCE_LEN
    else:
        check_error(answer, code)


def test_other_formats_and_methods_are_refused(conn):
    for format in (None, 0, 50, CSR):
        check_error(conn.post("nonce", b"\xa0", "phones", format=format), 415)
    for accept in (0, 50, CERT):
        check_error(conn.get("nonce", "phones", accept=accept), 406)
    for method in (PUT, coap.DELETE, coap.FETCH):
        check_error(conn.request(method, coap.path("nonce", "phones")), 405)


def test_a_nonce_in_small_blocks_is_one_nonce(gw, phone, conn):
    given = nonce(conn, size=16)
    assert len(given) == NONCE_LEN
    assert conn.post("sen", attested(phone, given), "phones").cert()
    answer = conn.exchange(conn.message(GET, coap.path("nonce", "phones"), [(coap.BLOCK2, coap.block(0, False, 16))]))
    assert answer.code == 205 and answer.block(coap.BLOCK2) == (0, True, 16)
    # In a session that has not seen its beginning, the middle is of none.
    with coap.Conn(gw, phone) as other:
        check_error(other.exchange(other.message(GET, coap.path("nonce", "phones"),
                                                 [(coap.BLOCK2, coap.block(1, False, 16))])), 408)


def test_labels_that_want_no_evidence_give_no_nonce(gw, conn):
    given = gw.metrics()["enrolld_nonces_total"]
    check_error(conn.get("nonce"), 404)
    check_error(conn.post("nonce", b"\xa0", format=CBOR), 404)
    check_error(conn.get("nonce", "none-such"), 404)
    check_error(conn.get("nonce", "phones-https"), 404)
    assert gw.metrics()["enrolld_nonces_total"] == given
    nonce(conn)
    assert gw.metrics()["enrolld_nonces_total"] == given + 1


def test_who_is_not_known_gets_no_nonce(gw, stranger):
    given = gw.metrics()["enrolld_nonces_total"]
    with coap.Conn(gw, stranger.idevid()) as conn:
        check_error(conn.get("nonce", "phones"), 401, 403)
        check_error(conn.post("nonce", b"\xa0", "phones", format=CBOR), 401, 403)
    row = gw.audit("enroll.refused")[-1]["detail"]
    assert (row["protocol"], row["operation"]) == ("coap", "nonce")
    assert gw.metrics()["enrolld_nonces_total"] == given


def test_discovery_lists_nonces_where_there_are_any(conn):
    found = coap.links(conn.discover("href=/est/*").body.decode())
    assert {target: link for target, link in found.items() if target.endswith("/nonce")} == \
        {"/est/%s/nonce" % label: {"ct": "60"} for label in ("keys", "phones", "phones-manual")}
    # No resource type is registered for it, and those of RFC 9148 are other functions'.
    assert not any("nonce" in target for target in coap.links(conn.discover("rt=ace.est*").body.decode()))


def test_each_function_is_counted_by_its_name(gw, conn):
    def counted(operation, status):
        return gw.metrics().get('enrolld_requests_total{protocol="coap",operation="%s",status="%d"}' % (operation, status), 0)

    before = [counted("nonce", 205), counted("nonce", 204), counted("core", 205), counted("crts", 205), counted("sen", 403)]
    nonce(conn)
    conn.post("nonce", b"\xa0", "phones", format=CBOR)
    conn.discover()
    conn.get("crts")
    conn.post("sen", pki.csr(pki.ec_key()), "phones")
    after = [counted("nonce", 205), counted("nonce", 204), counted("core", 205), counted("crts", 205), counted("sen", 403)]
    assert after == [n + 1 for n in before]
    assert not any('protocol="coap",operation="other"' in name for name in gw.metrics())


# ---- evidence

def test_absent_evidence_is_refused_where_it_is_demanded(gw, phone, conn):
    check_error(conn.post("sen", pki.csr(pki.ec_key()), "phones"), 403)
    refused(gw, phone, "attestation.present")


def test_good_evidence_gets_a_certificate(gw, phone, conn):
    key = pki.ec_key()
    before = gw.metrics().get('enrolld_attestations_total{method="android",verdict="good"}', 0)
    cert = conn.post("sen", attested(phone, nonce(conn), key), "phones").cert()
    assert pki.spki(cert.public_key()) == pki.spki(key)
    assert gw.metrics()['enrolld_attestations_total{method="android",verdict="good"}'] == before + 1
    assert gw.audit("enroll.issued", phone.tag)[-1]["detail"]["protocol"] == "coap"


def test_another_session_and_another_transport_may_use_the_nonce(gw, phone, conn):
    """It belongs to the label: a constrained device may have gone to sleep in between."""
    given = nonce(conn)
    assert coap.enroll(gw, attested(phone, given), phone, label="phones").cert()
    assert est.enroll(gw, attested(phone, nonce(conn)), phone, label="phones").cert()
    assert conn.post("sen", attested(phone, evidence.nonce(gw, "phones", phone)), "phones").cert()


@pytest.mark.parametrize("size", [None, 64, 512])
def test_ten_kilobytes_of_request_come_in_blocks(gw, phone, conn, size):
    key = pki.ec_key()
    request = attested(phone, nonce(conn), key, names=180)
    assert 9500 < len(request) < 16000
    answer = conn.post("sen", request, "phones", accept=CERT, size=size)
    assert pki.spki(answer.cert().public_key()) == pki.spki(key)
    assert len(gw.audit("enroll.issued", phone.tag)) == 1
    # The same request again is the same certificate, and needs no second nonce.
    assert conn.post("sen", request, "phones", accept=CERT, size=size).body == answer.body


def test_a_nonce_is_good_for_one_request(gw, phone, conn):
    given = nonce(conn)
    first = attested(phone, given)
    answer = conn.post("sen", first, "phones")
    assert answer.cert()
    check_error(conn.post("sen", attested(phone, given), "phones"), 403)
    assert gw.audit("enroll.denied", phone.tag)[-1]["detail"]["reason"].startswith("attestation.")
    assert conn.post("sen", first, "phones").body == answer.body
    assert len(gw.certs(phone.tag)) == 1


@pytest.mark.parametrize("wrong", ["random", "empty", "short", "other label", "changed", "of the map"])
def test_a_wrong_nonce_is_refused(gw, phone, conn, wrong):
    given = nonce(conn)
    given = {"random": b"r" * NONCE_LEN, "empty": b"", "short": given[:8], "other label": nonce(conn, "keys"),
             "changed": given[:-1] + bytes([given[-1] ^ 1]), "of the map": b"\x58\x20" + given}[wrong]
    check_error(conn.post("sen", attested(phone, given), "phones"), 403)
    refused(gw, phone, "attestation.valid")


@pytest.mark.parametrize("change", [{"level": 0}, {"locked": False}, {"origin": 2}, {"not_after": pki.ago(days=1)}])
def test_evidence_of_a_worse_device_is_refused(gw, phone, conn, change):
    given = nonce(conn)
    check_error(conn.post("sen", attested(phone, given, **change), "phones"), 403)
    refused(gw, phone, "attestation.valid")
    assert conn.post("sen", attested(phone, given), "phones").cert(), "a refusal does not use the nonce up"


def test_borrowed_evidence_is_refused(gw, phone, conn, roots):
    given = nonce(conn)
    borrowed = phone.token.android(pki.ec_key(), given)
    check_error(conn.post("sen", evidence.csr(pki.ec_key(), borrowed), "phones"), 403)
    key = pki.ec_key()
    for root in ("nobody", "google"):
        other = evidence.Token(roots[root], phone.token.serial if root == "nobody" else None)
        check_error(conn.post("sen", evidence.csr(key, other.android(key, given)), "phones"), 403)
    refused(gw, phone, "attestation.identity")


@pytest.mark.parametrize("octets", [b"\x30\x00", b"\x30\x02\x30\x00", b"\x04\x01\x00"])
def test_what_is_no_evidence_is_malformed(gw, phone, conn, octets):
    check_error(conn.post("sen", evidence.csr(pki.ec_key(), octets), "phones"), 400)
    assert gw.audit("enroll.refused")[-1]["detail"]["protocol"] == "coap"


def test_a_renewal_brings_evidence_of_its_new_key(gw, holder, tmp_path):
    key, later = pki.ec_key(), pki.ec_key()
    with coap.Conn(gw, holder) as conn:
        cert = conn.post("sen", evidence.csr(key, holder.token.yubikey(key, nonce(conn, "keys"))), "keys").cert()
    mine = holder.with_cert(tmp_path, cert, key)
    with coap.Conn(gw, mine) as conn:
        check_error(conn.post("sren", pki.csr(later, ""), "keys"), 403)
        given = nonce(conn, "keys")
        check_error(conn.post("sren", evidence.csr(later, holder.token.yubikey(key, given), subject=""), "keys"), 403)
        renewed = conn.post("sren", evidence.csr(later, holder.token.yubikey(later, given), subject=""), "keys").cert()
        check_error(conn.post("sren", evidence.csr(key, holder.token.yubikey(key, given), subject=""), "keys"), 403)
    assert pki.spki(renewed.public_key()) == pki.spki(later)
    assert len(gw.certs(holder.tag)) == 2


def test_a_request_that_waits_needs_its_nonce_once(gw, phone, conn):
    request = attested(phone, nonce(conn, "phones-manual"))
    for _ in range(2):
        answer = conn.post("sen", request, "phones-manual")
        check_error(answer, 503)
        assert answer.get(MAX_AGE) == 7
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", phone.tag, "--state", "pending")[0]["id"])
    answer = conn.post("sen", request, "phones-manual")
    assert answer.cert()
    assert conn.post("sen", request, "phones-manual").body == answer.body
