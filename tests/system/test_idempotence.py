"""A lost answer is asked for again: one request, one certificate, whatever happens in between."""
import collections
import threading

import pytest

import est
import pki


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_profile("late", renewal_window="10d")
    gateway.add_label("late", profile="late")
    return gateway.start()


def test_the_same_request_gets_the_same_octets(gw, device):
    csr = pki.csr(pki.ec_key())
    first = est.enroll(gw, csr, device)
    for _ in range(3):
        again = est.enroll(gw, csr, device)
        assert (again.status, again.body) == (200, first.body)
    assert len(gw.certs(device.tag)) == 1
    assert len(gw.audit("enroll.issued", device.tag)) == 1
    assert len(gw.audit("enroll.replayed", device.tag)) == 3


def test_the_same_request_in_another_encoding_is_the_same_request(gw, device):
    csr = pki.csr(pki.ec_key())
    first = est.enroll(gw, csr, device)
    with est.Conn(gw, device) as conn:
        assert conn.request("POST", est.path("simpleenroll"), csr).body == first.body


def test_another_request_with_the_same_key_is_another_request(gw, device):
    key = pki.ec_key()
    assert est.enroll(gw, pki.csr(key, "CN=1"), device).body != est.enroll(gw, pki.csr(key, "CN=2"), device).body
    assert len(gw.certs(device.tag)) == 2


def test_another_label_is_another_request(gw, device):
    csr = pki.csr(pki.ec_key())
    assert est.enroll(gw, csr, device).body != est.enroll(gw, csr, device, label="late").body


def test_a_repeated_renewal_gets_the_same_octets(gw, device, tmp_path):
    key = pki.ec_key()
    mine = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device).cert(), key)
    csr = pki.csr(pki.ec_key(), "")
    assert est.reenroll(gw, csr, mine).body == est.reenroll(gw, csr, mine).body
    assert len(gw.certs(device.tag)) == 2


def test_the_request_that_spent_a_secret_may_be_repeated_with_it(gw, acme):
    device = gw.own(acme.idevid())
    secret, csr = gw.secret(device.tag), pki.csr(pki.ec_key())
    first = est.enroll(gw, csr, user=device.tag, secret=secret)
    assert first.status == 200
    assert est.enroll(gw, csr, user=device.tag, secret=secret).body == first.body
    assert est.enroll(gw, pki.csr(pki.ec_key()), user=device.tag, secret=secret).status == 401


def test_a_revoked_certificate_is_not_handed_out_again(gw, device):
    csr = pki.csr(pki.ec_key())
    first = est.enroll(gw, csr, device).cert()
    gw.ctl("cert", "revoke", gw.certs(device.tag)[0]["serial"], "--reason", "lost key")
    again = est.enroll(gw, csr, device)
    assert again.status != 200 or again.cert().serial_number != first.serial_number


def test_a_denial_in_between_does_not_lead_to_a_second_certificate(gw, device):
    """The asset was in quarantine when the device asked again; afterwards the first answer still holds."""
    request = pki.csr(pki.ec_key(), "")
    first = est.enroll(gw, request, device)
    gw.set_state(device, "quarantined")
    assert est.enroll(gw, request, device).status == 403
    assert est.enroll(gw, request, device).status == 403
    gw.set_state(device, "deployed")
    again = est.enroll(gw, request, device)
    assert again.status == 200 and again.body == first.body
    assert len(gw.certs(device.tag)) == 1


def test_sixteen_identical_requests_at_once_are_one_certificate(gw, device):
    csr = pki.csr(pki.ec_key())
    conns = [est.Conn(gw, device) for _ in range(16)]
    answers = est.in_parallel([lambda c=conn: est.enroll(gw, csr, conn=c) for conn in conns])
    for conn in conns:
        conn.close()
    assert [answer.status for answer in answers] == [200] * 16
    assert len({answer.body for answer in answers}) == 1
    assert len(gw.certs(device.tag)) == 1
    assert len(gw.audit("enroll.issued", device.tag)) == 1


def test_many_different_requests_at_once_share_commits(gw, acme):
    devices = [acme.idevid() for _ in range(12)]
    gw.own(*devices)
    before = gw.metrics()
    conns = [est.Conn(gw, device) for device in devices]
    answers = est.in_parallel([lambda c=conn: [est.enroll(gw, pki.csr(pki.ec_key()), conn=c).status for _ in range(5)]
                           for conn in conns])
    for conn in conns:
        conn.close()
    assert answers == [[200] * 5] * 12
    after = gw.metrics()
    assert after["enrolld_store_writes_total"] - before["enrolld_store_writes_total"] >= 60


@pytest.mark.parametrize("moment", [1, 4, 9, 17, 30])
def test_kill_in_the_middle_of_a_storm_loses_no_certificate_and_makes_no_second_one(new_gateway, acme, moment):
    gateway = new_gateway().start()
    devices = [acme.idevid() for _ in range(12)]
    gateway.own(*devices)
    requests = {device.tag: [pki.csr(pki.ec_key(), "CN=%d" % i) for i in range(4)] for device in devices}
    got, count, enough = {}, [0], threading.Event()

    def client(device):
        with est.Conn(gateway, device) as conn:
            for i, csr in enumerate(requests[device.tag]):
                answer = est.enroll(gateway, csr, conn=conn)
                assert answer.status == 200
                got[device.tag, i] = answer.body
                count[0] += 1
                if count[0] >= moment:
                    enough.set()

    def killer():
        assert enough.wait(60)
        gateway.kill()

    est.in_parallel([lambda d=device: client(d) for device in devices] + [killer])
    assert len(got) >= moment
    gateway.start()
    recorded = collections.Counter(row["sha256"] for row in gateway.ctl("cert", "list", "--limit", "1000"))
    for body in got.values():
        der = pki.cert_der(est.Response(b"HTTP/1.1 200 OK\r\n", body).cert())
        assert recorded[pki.sha256_hex(der)] == 1, "a certificate was released and is not recorded once"
    for device in devices:
        with est.Conn(gateway, device) as conn:
            for i, csr in enumerate(requests[device.tag]):
                answer = est.enroll(gateway, csr, conn=conn)
                assert answer.status == 200
                assert got.get((device.tag, i), answer.body) == answer.body, "a second certificate for one request"
    assert len(gateway.ctl("cert", "list", "--limit", "1000")) == 12 * 4
    issued = [row["detail"]["csr_sha256"] for row in gateway.audit("enroll.issued")]
    assert len(issued) == len(set(issued)) == 12 * 4
    gateway.ctl("audit", "verify")
