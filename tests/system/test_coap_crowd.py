"""Crowds and floods are bounded, and keep nobody out (RFC 6347, section 4.2.1)."""
import random
import socket
import threading
import time

import pytest

import coap
import dtls
import est
import pki


@pytest.fixture(scope="module")
def gw(module_gateway):
    return coap.configure(module_gateway()).start()


def fresh():
    return pki.csr(pki.ec_key(), "")


def test_two_thousand_hellos_from_everywhere_keep_no_device_out(gw, device):
    """Nobody answers the cookie at those addresses. A device comes in meanwhile, and after."""
    hello = coap.hello(gw, device)
    dice, halfway, done, during = random.Random(11), threading.Event(), threading.Event(), []

    def flood():
        for i in range(2000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.%d.%d.%d" % (dice.randrange(1, 255), dice.randrange(256), dice.randrange(1, 255)), 0))
                sock.sendto(hello, ("127.0.0.1", gw.port))
            if i == 1000:
                halfway.set()
        done.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert halfway.wait(30)
    while True:
        during.append(coap.enroll(gw, fresh(), device).code)
        if done.is_set():
            break
    thread.join()
    began = time.monotonic()
    assert coap.enroll(gw, fresh(), device).code == 204
    assert time.monotonic() - began < 10
    assert set(during) == {204}


def test_a_thousand_sessions_at_once_are_all_served(gw, acme):
    devices = [acme.idevid() for _ in range(1000)]
    gw.own(*devices)
    conns, lock = [], threading.Lock()

    def some(mine):
        """Sessions first, all of them; requests when every session is open."""
        opened = [coap.Conn(gw, device) for device in mine]
        with lock:
            conns.extend(opened)
        together.wait(60)
        return [conn.post("sen", fresh(), size=256).code for conn in opened]

    together = threading.Barrier(10)
    answers = est.in_parallel([lambda m=devices[i::10]: some(m) for i in range(10)])
    assert answers == [[204] * 100] * 10
    for conn in conns:
        conn.close()
    assert len(gw.ctl("cert", "list", "--limit", "2000")) >= 1000


def test_more_sessions_than_there_may_be_displace_the_one_that_is_quiet_for_longest(new_gateway, acme):
    gateway = coap.configure(new_gateway(), contexts=1, sessions=6)
    gateway.start()
    device = gateway.own(acme.idevid())
    conns = [coap.Conn(gateway, device, timeout=3) for _ in range(6)]
    assert all(conn.alive() for conn in conns[1:])
    more = [coap.Conn(gateway, device) for _ in range(1)]
    assert all(conn.post("sen", fresh()).code == 204 for conn in more + conns[1:])
    with pytest.raises((dtls.Failed, TimeoutError)):
        conns[0].alive()
    for conn in conns + more:
        conn.close()


def test_a_device_that_lost_power_comes_back_on_the_same_port(new_gateway, acme):
    """Its former session would live for ten minutes; nobody else's is touched."""
    gateway = coap.configure(new_gateway(), contexts=1, session_timeout="10m").start()
    device = gateway.own(acme.idevid())
    with coap.Conn(gateway, device) as neighbour:
        conn = coap.Conn(gateway, device)
        for _ in range(3):
            source = conn.sock.getsockname()
            assert conn.post("sen", fresh()).code == 204
            conn.close(notify=False)
            conn = coap.Conn(gateway, device, source=source)
        assert conn.alive() and neighbour.alive()
        conn.close()


def test_hellos_from_a_forged_address_end_no_session(new_gateway, acme):
    """Hellos that look as if a device had sent them, without the cookie that only it would see."""
    gateway = coap.configure(new_gateway(), contexts=1).start()
    device = gateway.own(acme.idevid())
    with coap.Conn(gateway, device) as conn:
        hellos = [coap.hello(gateway, device) for _ in range(50)]
        for wait in (0, 1.5):
            assert conn.receive_raw(wait) is None
            conn._send(hellos)
            assert conn.alive()
