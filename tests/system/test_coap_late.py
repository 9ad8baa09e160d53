"""Doubles, late answers, bad links: what was asked once is done once."""
import pytest

import coap
import est
import pki
from coap import ACK, CON, CSR, EMPTY, NON, POST, Message, number
from link import Link

SEN = "/est/sen"
FORMAT = (coap.CONTENT_FORMAT, number(CSR))


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = coap.configure(module_gateway(), mtu=256)
    gateway.settings["threads"] = {"workers": 6}
    return gateway.start()


@pytest.fixture
def conn(gw, device):
    with coap.Conn(gw, device) as conn:
        yield conn


def ask(conn, key=None, kind=CON):
    return conn.message(POST, SEN, [FORMAT], pki.csr(key or pki.ec_key(), ""), kind)


def issued(gw, device, count=1):
    assert len(gw.certs(device.tag)) == count
    assert len(gw.audit("enroll.issued", device.tag)) == count
    assert gw.audit("enroll.replayed", device.tag) == []


class Slow:
    """While in it nothing is issued: somebody else writes to the database."""

    def __init__(self, gateway):
        self.database = gateway.database()
        self.database.isolation_level = None

    def __enter__(self):
        self.database.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_):
        self.database.execute("ROLLBACK")
        self.database.close()


# ---- doubles

def test_a_request_that_is_sent_again_gets_the_same_octets_and_runs_once(gw, device, conn):
    request = ask(conn)
    answers = []
    for _ in range(4):
        conn.send(request)
        answers.append(conn.receive().encode())
    assert len(set(answers)) == 1 and Message.decode(answers[0]).code == 204
    issued(gw, device)


def test_doubles_that_come_at_once_run_once(gw, device, conn):
    request = ask(conn)
    for _ in range(8):
        conn.send(request)
    first = conn.exchange(request)
    assert first.code == 204
    assert conn.alive()
    issued(gw, device)


def test_the_same_message_id_in_another_session_is_another_message(gw, acme):
    devices = [acme.idevid() for _ in range(2)]
    gw.own(*devices)
    for device in devices:
        with coap.Conn(gw, device) as conn:
            request = ask(conn)
            request.mid, request.token = 77, b"same"
            assert conn.exchange(request).code == 204
        issued(gw, device)


def test_a_doubled_datagram_is_the_record_layers_to_drop(gw, device, conn):
    datagram = conn.dtls.seal(ask(conn).encode())
    for _ in range(3):
        conn._send([datagram])
    assert conn.receive().code == 204
    assert conn.alive() and len(conn.trace) == 2, "two answers to two requests"
    issued(gw, device)


def test_overtaken_datagrams_are_taken(gw, device, conn):
    requests = [ask(conn) for _ in range(3)]
    datagrams = [conn.dtls.seal(request.encode()) for request in requests]
    conn._send(reversed(datagrams))
    assert {conn.receive().token for _ in requests} == {request.token for request in requests}
    issued(gw, device, 3)


# ---- late answers (RFC 7252, section 5.2.2)

def test_a_late_answer_is_announced_and_comes_by_itself(gw, device, conn):
    key = pki.ec_key()
    request = ask(conn, key)
    with Slow(gw):
        conn.send(request)
        promise = conn.receive()
        assert (promise.kind, promise.code, promise.mid) == (ACK, EMPTY, request.mid)
    answer = conn.receive()
    assert (answer.kind, answer.code, answer.token) == (CON, 204, request.token)
    assert answer.mid != request.mid
    conn.send(Message(ACK, EMPTY, answer.mid))
    assert pki.spki(conn.download(answer, SEN, POST).cert().public_key()) == pki.spki(key)
    issued(gw, device)


def test_doubles_of_a_request_under_way_are_acknowledged_and_run_nothing(gw, device, conn):
    request = ask(conn)
    with Slow(gw):
        for _ in range(3):
            conn.send(request)
            promise = conn.receive()
            assert (promise.kind, promise.code, promise.mid) == (ACK, EMPTY, request.mid)
    answer = conn.receive()
    assert (answer.kind, answer.code) == (CON, 204)
    conn.send(Message(ACK, EMPTY, answer.mid))
    conn.send(request)
    late = conn.receive()
    assert (late.kind, late.code, late.mid) == (ACK, EMPTY, request.mid)
    issued(gw, device)


def test_a_late_answer_is_sent_again_until_it_is_acknowledged(gw, device, conn):
    request = ask(conn)
    with Slow(gw):
        conn.send(request)
        assert conn.receive().code == EMPTY
    first, second = conn.receive(), conn.receive()
    assert first.encode() == second.encode() and first.kind == CON
    conn.send(Message(ACK, EMPTY, first.mid))
    issued(gw, device)


def test_a_late_answer_in_blocks_is_whole(gw, device, conn):
    key = pki.ec_key()
    body = pki.csr(key, "")
    with Slow(gw):
        for request in [conn.message(POST, SEN, [FORMAT, (coap.BLOCK1, coap.block(num, (num + 1) * 64 < len(body), 64))],
                                     body[num * 64:(num + 1) * 64]) for num in range(-(-len(body) // 64))]:
            conn.send(request)
            last = conn.receive()
        assert (last.kind, last.code) == (ACK, EMPTY)
    answer = conn.exchange(request)
    assert answer.kind == CON and answer.block(coap.BLOCK1)[1] is False
    assert pki.spki(conn.download(answer, SEN, POST).cert().public_key()) == pki.spki(key)
    issued(gw, device)


def test_a_late_answer_to_a_non_confirmable_request_is_not_announced(gw, device, conn):
    request = ask(conn, kind=NON)
    with Slow(gw):
        conn.send(request)
        assert conn.receive(1.5) is None
    answer = conn.receive()
    assert (answer.kind, answer.code, answer.token) == (NON, 204, request.token)


def test_who_has_gone_before_the_answer_gets_the_same_certificate_later(gw, device):
    request, conns = pki.csr(pki.ec_key(), ""), [coap.Conn(gw, device) for _ in range(2)]
    with Slow(gw):
        for conn in conns:
            conn.send(conn.message(POST, SEN, [FORMAT], request))
            assert conn.receive().code == EMPTY
        conns[0].close()
    answer = coap.enroll(gw, request, device)
    assert answer.cert()
    late = conns[1].receive()
    conns[1].send(Message(ACK, EMPTY, late.mid))
    assert conns[1].download(late, SEN, POST).body == answer.body
    conns[1].close()
    assert len(gw.certs(device.tag)) == 1 and len(gw.audit("enroll.issued", device.tag)) == 1


def test_more_than_one_session_should_ask_at_a_time_is_told_to_come_back(gw, device, conn):
    requests = [ask(conn) for _ in range(5)]
    with Slow(gw):
        for request in requests:
            conn.send(request)
        answer = conn.receive()
        assert answer.code == 503 and answer.get(coap.MAX_AGE) > 0
        assert answer.token == requests[4].token


def test_requests_beyond_workers_and_queue_are_told_to_come_back(new_gateway, acme):
    gateway = coap.configure(new_gateway(), contexts=1)
    gateway.settings["threads"] = {"workers": 1, "loops": 1}
    gateway.settings["limits"]["queue"] = 2
    gateway.start()
    device = gateway.own(acme.idevid())
    conns = [coap.Conn(gateway, device) for _ in range(6)]
    requests = [ask(conn) for conn in conns]
    with Slow(gateway):
        for conn, request in zip(conns, requests):
            conn.send(request)
        firsts = [conn.receive() for conn in conns]
        refused = [first.code for first in firsts].count(503)
        assert refused in (3, 4), "the worker may not have taken the first one yet"
        assert all(first.get(coap.MAX_AGE) > 0 for first in firsts if first.code == 503)
    for conn, request, first in zip(conns, requests, firsts):
        if first.code == EMPTY:
            assert conn.exchange(request).code == 204
        conn.close()
    assert len(gateway.certs(device.tag)) == 6 - refused


# ---- bad links

def enroll_over(gw, device, port, key):
    """A device that gets no answer for long begins a new session, as any would: a gateway forgets half a handshake."""
    request = pki.csr(key, "")
    for last in (False, False, True):
        try:
            with coap.Conn(gw, device, port=port, mtu=256, resend=0.4, timeout=35) as conn:
                answer = conn.post("sen", request, size=128)
                made = conn.post("skc", request, size=128)
            return answer.cert(), made.key_and_cert()
        except TimeoutError:
            if last:
                raise


def test_a_link_that_loses_doubles_and_delays_issues_once(gw, acme):
    devices = [acme.idevid() for _ in range(8)]
    gw.own(*devices)
    keys = [pki.ec_key() for _ in devices]
    with Link(gw, loss=0.15, double=0.1, overtake=0.1, mtu=256) as link:
        results = est.in_parallel([lambda d=device, k=key: enroll_over(gw, d, link.port, k)
                                   for device, key in zip(devices, keys)])
        for device, key, result in zip(devices, keys, results):
            assert result is not None, "a device gave up"
            assert pki.spki(result[0].public_key()) == pki.spki(key)
            made = pki.serialization.load_der_private_key(result[1][coap.KEY], None)
            cert = coap.x509.load_der_x509_certificate(result[1][coap.CERT])
            assert pki.spki(cert.public_key()) == pki.spki(made)
            issued(gw, device, 2)
        assert link.too_large == 0 and link.largest <= 256
        assert min(link.lost, link.doubled, link.overtaken) > 5


@pytest.mark.parametrize("direction", [0, 1], ids=["to the gateway", "to the device"])
def test_whatever_datagram_is_lost_it_is_issued_once(gw, acme, direction):
    """One device for each datagram of the conversation, which that device's link loses."""
    devices = [acme.idevid() for _ in range(18)]
    gw.own(*devices)
    keys = [pki.ec_key() for _ in devices]

    def one(device, key, n):
        with Link(gw, lose=(direction, n), mtu=256) as link:
            with coap.Conn(gw, device, port=link.port, mtu=256, resend=0.4) as conn:
                cert = conn.post("sen", pki.csr(key, ""), size=64).cert()
        return cert, link.lost

    results = est.in_parallel([lambda d=device, key=key, n=n: one(d, key, n)
                               for n, (device, key) in enumerate(zip(devices, keys), 1)])
    for device, key, (cert, lost) in zip(devices, keys, results):
        assert pki.spki(cert.public_key()) == pki.spki(key) and lost == 1
        issued(gw, device)
