"""Deadlines and limits: slow clients are cut off, crowds get a defined answer."""
import base64
import socket
import ssl
import time

import pytest

import est
import pki
from est import GET, POST

SECOND = 1


# ---- deadlines and limits

@pytest.fixture(scope="module")
def hasty(module_gateway):
    gateway = module_gateway()
    gateway.settings["limits"].update(handshake_time="1s", header_time="1s", body_time="1s", idle_time="2s",
                                      connections=40, connections_per_address=25, requests_per_connection=5)
    return gateway.start()


def drip(conn, octets, seconds):
    """Send octet by octet until the server has had enough; how long that took, and what it said."""
    began = time.monotonic()
    conn.sock.settimeout(0.05)
    received = b""
    for octet in octets:
        if time.monotonic() - began > seconds:
            break
        try:
            conn.send(bytes([octet]))
            received += conn.sock.recv(4096)
            if received:
                break
        except (socket.timeout, TimeoutError, ssl.SSLWantReadError):
            continue
        except OSError:
            break
    took = time.monotonic() - began
    conn.sock.settimeout(est.TIMEOUT)
    try:
        received += conn.at_end()
    except OSError:
        pass
    return took, received


def test_a_header_that_drips_in_is_cut_off_at_its_deadline(hasty):
    with est.Conn(hasty) as conn:
        took, received = drip(conn, GET + b"X: " + b"y" * 5000, 20)
    assert received.startswith(b"HTTP/1.1 408 "), received
    assert 0.5 * SECOND < took < 10 * SECOND


def test_a_body_that_drips_in_is_cut_off_at_its_deadline(hasty):
    with est.Conn(hasty) as conn:
        conn.send(POST + b"Content-Length: 5000\r\n\r\n")
        took, received = drip(conn, b"M" * 5000, 20)
    assert received.startswith(b"HTTP/1.1 408 "), received
    assert 0.5 * SECOND < took < 10 * SECOND


def test_a_handshake_that_never_comes_is_cut_off(hasty):
    with socket.create_connection(("127.0.0.1", hasty.port), 15) as sock:
        sock.sendall(b"\x16\x03\x01")
        assert sock.recv(10) == b""


def test_an_idle_connection_is_closed_after_its_time(hasty):
    with est.Conn(hasty) as conn:
        assert conn.request("GET", est.path("cacerts")).status == 200
        assert conn.at_end() == b""


def test_a_connection_serves_a_limited_number_of_requests(hasty):
    with est.Conn(hasty) as conn:
        answers = [conn.request("GET", est.path("csrattrs")) for _ in range(5)]
        assert [answer.get("Connection") for answer in answers] == [None] * 4 + ["close"]
        assert conn.at_end() == b""


def connect_many(gateway, host, count):
    """Raw connections, and those of them that the server keeps."""
    socks = [socket.create_connection((host, gateway.port), 10) for _ in range(count)]
    kept = 0
    for sock in socks:
        sock.settimeout(0.3)
        try:
            kept += sock.recv(1) != b""
        except socket.timeout:
            kept += 1
        except OSError:
            pass
    return socks, kept


def wait_open(gateway, count):
    """Until the server has seen the ends of connections."""
    deadline = time.monotonic() + 10
    while gateway.metrics()["enrolld_connections_open"] != count:
        assert time.monotonic() < deadline, gateway.metrics()


def test_one_address_gets_a_limited_number_of_connections(new_gateway):
    gateway = new_gateway()
    gateway.settings["limits"].update(connections=12, connections_per_address=8)
    gateway.start()
    first, kept = connect_many(gateway, "127.0.0.1", 11)
    assert kept == 8
    with est.Conn(gateway, host="::1") as conn:  # others are still served
        assert conn.request("GET", est.path("cacerts")).status == 200
    wait_open(gateway, 8)
    second, kept = connect_many(gateway, "::1", 6)
    assert kept == 4, "12 in all"
    assert gateway.metrics()["enrolld_connections_refused_total"] >= 5
    for sock in first + second:
        sock.close()
    wait_open(gateway, 0)
    assert est.get(gateway, "cacerts").status == 200


# ---- more requests than workers

class Busy:
    """A gateway whose only worker waits for the database, which another process holds."""

    def __init__(self, gateway, acme, **limits):
        self.gateway = gateway
        gateway.settings["threads"] = {"workers": 1, "loops": 1}
        gateway.settings["limits"].update(limits)
        gateway.start()
        self.device = gateway.own(acme.idevid())
        self.database = gateway.database()
        self.database.isolation_level = None
        self.database.execute("BEGIN IMMEDIATE")
        self.conns = []

    def send(self):
        conn = est.Conn(self.gateway, self.device)
        conn.send(est.request("POST", est.path("simpleenroll"), base64.b64encode(pki.csr(pki.ec_key()))))
        self.conns.append(conn)
        return conn

    def wait_queued(self, count):
        deadline = time.monotonic() + 8
        while self.gateway.metrics()["enrolld_requests_queued"] != count:
            assert time.monotonic() < deadline, self.gateway.metrics()

    def free(self):
        self.database.execute("ROLLBACK")
        self.database.close()


def test_requests_beyond_workers_and_queue_are_told_to_come_back(new_gateway, acme):
    busy = Busy(new_gateway(), acme, queue=2)
    first = [busy.send() for _ in range(3)]
    busy.wait_queued(2)
    answer = busy.send().receive()
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0
    busy.free()
    assert [conn.receive().status for conn in first] == [200] * 3
    assert len(busy.gateway.certs(busy.device.tag)) == 3
    metrics = busy.gateway.metrics()
    assert (metrics["enrolld_requests_refused_total"], metrics["enrolld_requests_queued"]) == (1, 0)


def test_a_request_does_not_wait_longer_than_it_is_worth(new_gateway, acme):
    busy = Busy(new_gateway(), acme, queue_age="1s")
    first = busy.send()
    busy.wait_queued(0)
    second = busy.send()
    busy.wait_queued(1)
    answer = second.receive()
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0
    busy.free()
    assert first.receive().status == 200
