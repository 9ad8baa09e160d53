"""What breaks the rules of UDP, DTLS or CoAP harms nobody else; crowds and floods are bounded."""
import random
import re
import socket

import pytest

import coap
import dtls
import pki
from coap import ACK, CON, CSR, GET, NON, POST, RST, Message, Reset, number

CANARY = b"canary%sn%d\x1b[31m\r\n{}\xff"
SEEN = "canary"


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = coap.configure(module_gateway())
    gateway.settings["log"] = {"level": "debug"}
    return gateway.start()


@pytest.fixture
def conn(gw, device):
    with coap.Conn(gw, device) as conn:
        yield conn


def fresh():
    return pki.csr(pki.ec_key(), "")


def serves(gw, device):
    """Whatever came before, a well-behaved device is served."""
    assert coap.enroll(gw, fresh(), device).code == 204


def valid(conn):
    return conn.message(POST, "/est/sen", [(coap.CONTENT_FORMAT, number(CSR)), (coap.ACCEPT, number(coap.CERT))],
                        fresh()).encode()


def drain(conn, seconds=0.05):
    """Read what comes, whatever it is."""
    while True:
        try:
            if conn.receive(seconds) is None:
                return
        except dtls.Failed:
            return


# ---- options

@pytest.mark.parametrize("option,value", [(coap.IF_MATCH, b"x"), (5, b""), (coap.PROXY_URI, b"coap://a/"), (39, b"coap"),
                                          (9, CANARY), (13, b""), (2049, b"x"), (65001, CANARY), (21, b"")])
def test_a_critical_option_that_nobody_knows_is_402(conn, option, value):
    """RFC 7252, section 5.4.1; If-Match and proxies are known to libcoap and of no meaning here."""
    try:
        answer = conn.exchange(conn.message(GET, "/est/crts", [(option, value)]))
    except Reset:
        return
    assert answer.code in (402, 404, 412, 505), answer


@pytest.mark.parametrize("option", [coap.CONTENT_FORMAT, coap.ACCEPT, coap.BLOCK1, coap.BLOCK2, coap.URI_HOST, coap.URI_PORT])
def test_a_single_option_twice_is_refused_or_its_double_ignored(conn, option):
    """RFC 7252, section 5.4.5: the double is treated as an option that nobody knows: elective ones are ignored."""
    values = {coap.CONTENT_FORMAT: number(CSR), coap.ACCEPT: number(coap.CERTS), coap.URI_HOST: b"localhost"}
    options = [] if option == coap.CONTENT_FORMAT else [(coap.CONTENT_FORMAT, number(CSR))]
    answer = conn.exchange(conn.message(POST, "/est/sen", options + [(option, values.get(option, b""))] * 2, fresh()))
    assert answer.code in ((204,) if option & 1 == 0 else (402,)), answer


@pytest.mark.parametrize("count", [48, 49, 300, 650])
def test_many_options_are_refused_or_ignored(conn, count):
    for option, value in ((coap.URI_PATH, b""), (2048, b""), (coap.URI_QUERY, b"a")):
        answer = conn.exchange(conn.message(GET, "/est/crts", [(option, value)] * count))
        assert answer.code in (205, 402, 404), answer
    assert conn.alive()


@pytest.mark.parametrize("option,value", [(coap.CONTENT_FORMAT, b"\0\1\x1e"), (coap.ACCEPT, b"\0\0\1\x19"),
                                          (coap.URI_PATH, b"x" * 256), (coap.URI_PORT, b"123"), (coap.URI_HOST, b""),
                                          (coap.BLOCK2, b"1234"), (coap.URI_QUERY, b"x" * 700)])
def test_an_option_longer_than_it_may_be_is_refused(conn, option, value):
    message = conn.message(POST, "/est/sen", [(option, value)], fresh())
    try:
        answer = conn.exchange(message)
        assert answer.code in (400, 402, 404, 415), answer
    except Reset:
        pass
    assert conn.alive()


# ---- messages

@pytest.mark.parametrize("octets", [b"", b"\x40", b"\x40\x01\x00", b"\x00\x01\x12\x34", b"\x80\x01\x12\x34", b"\xc0\x01\x12\x34",
                                    b"\x49\x01\x12\x34" + b"t" * 9, b"\x4f\x01\x12\x34" + b"t" * 15, b"\x44\x01\x12\x34t",
                                    b"\x40\x01\x12\x34\xff", b"\x40\x01\x12\x34\xf0", b"\x40\x01\x12\x34\x0f",
                                    b"\x40\x01\x12\x34\xd0", b"\x40\x01\x12\x34\xe0\x01", b"\x40\x01\x12\x34\xbdest",
                                    b"\x40\x01\x12\x34\xee\xff\xff\xff\xff", b"\x41\x00\x12\x34t", b"\x40\x00\x12\x34\xff\x00",
                                    b"\x40\xff\x12\x34", b"\x40\x45\x12\x34", b"\x60\x45\x12\x34", b"\x70\x00\x12\x34",
                                    b"\x40\x08\x12\x34", b"\x40\x1f\x12\x34", b"\x40\x20\x12\x34", b"\x50\xe1\x12\x34",
                                    b"\x60\x01\x12\x34\xb3est\x04crts", b"\x70\x02\x12\x34\xb3est\x03sen", b"\x60\x00\x12\x34",
                                    b"GET / HTTP/1.1\r\n\r\n", b"\x16\xfe\xfd" + bytes(60), bytes(1400), b"\xff" * 1400])
def test_a_malformed_message_ends_nothing(gw, device, conn, octets):
    if octets:
        conn.send(octets)
    assert conn.alive()


def test_messages_with_turned_bits_or_cut_off_end_nothing_and_issue_nothing_strange(gw, device, conn):
    dice, sent = random.Random(5), 0
    for _ in range(300):
        octets = bytearray(valid(conn))
        for _ in range(dice.choice((1, 1, 1, 2, 8))):
            octets[dice.randrange(min(len(octets), dice.choice((4, 30, 400))))] ^= 1 << dice.randrange(8)
        conn.send(bytes(octets[:dice.choice((len(octets), len(octets), dice.randrange(len(octets))))]))
        sent += 1
        if sent % 20 == 0:
            drain(conn)
            assert conn.alive()
    drain(conn)
    assert conn.alive()
    assert all(row["status"] == "valid" for row in gw.certs(device.tag))


def test_answers_to_requests_that_never_were_are_ignored(conn):
    for kind, code in ((ACK, 205), (ACK, 0), (RST, 0), (NON, 205), (CON, 204), (ACK, 231)):
        conn.send(Message(kind, code, 4711, b"" if code == 0 else b"tok"))
    assert conn.alive()


def test_an_empty_message_is_answered_by_reset(conn):
    assert conn.ping()


# ---- datagrams

def test_datagrams_that_are_no_dtls_are_ignored(gw, device):
    dice = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", gw.port))
        for size in [0, 1, 12, 13, 14, 60, 500, 1400, 9000, 60000] * 10:
            for first in (b"", b"\x16\xfe\xfd", b"\x17\xfe\xfd\0\1", b"\x40\x01\x12\x34"):
                try:
                    sock.send((first + dice.randbytes(size))[:size])
                except ConnectionRefusedError:
                    pass
    serves(gw, device)


def test_records_with_turned_bits_are_dropped_and_the_session_goes_on(gw, device, conn):
    for at in range(0, 120, 3):
        datagram = bytearray(conn.dtls.seal(valid(conn)))
        datagram[at % len(datagram)] ^= 0x10
        conn._send([bytes(datagram)])
    assert conn.alive()
    assert len(gw.certs(device.tag)) == 0


def test_handshakes_with_turned_bits_or_cut_off_fail_alone(gw, device):
    dice = random.Random(9)

    class Spoilt(dtls.Dtls):
        def take(self):
            out = super().take()
            return [self.spoil(datagram) if dice.random() < 0.4 else datagram for datagram in out]

        @staticmethod
        def spoil(datagram):
            spoilt = bytearray(datagram)
            spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
            return bytes(spoilt[:dice.choice((len(spoilt), dice.randrange(1, len(spoilt) + 1)))])

    def one():
        conn = Spoilt(gw.root, device)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", gw.port))
            sock.settimeout(0.05)
            try:
                conn.step()
                for _ in range(6):
                    for datagram in conn.take():
                        sock.send(datagram)
                    conn.step(sock.recv(65536))
            except (OSError, dtls.Failed):
                pass
        conn.free()

    for _ in range(60):
        one()
    serves(gw, device)


def test_a_cut_off_handshake_message_that_claims_to_be_long_takes_no_memory(gw, device):
    """A fragment of a Certificate of 16 MiB, after a cookie exchange of which the gateway keeps nothing."""
    hello = coap.hello(gw, device)
    long = hello[:14] + b"\xff\xff\xff" + hello[17:]
    before = coap.process_status(gw, "VmRSS")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(200):
            sock.sendto(long, ("127.0.0.1", gw.port))
    serves(gw, device)
    assert coap.process_status(gw, "VmRSS") - before < 100 * 1024


# ---- what is written about it

def test_refusals_are_audited_and_nothing_of_a_peer_gets_into_the_log_as_it_came(gw, acme, device, conn):
    text = CANARY
    for message in (conn.message(GET, "", [(coap.URI_PATH, b"est"), (coap.URI_PATH, text), (coap.URI_PATH, b"crts")]),
                    conn.message(GET, "", [(coap.URI_PATH, text)]), conn.message(GET, "", [(coap.URI_HOST, text), (9, text)]),
                    conn.message(GET, "/.well-known/core", [(coap.URI_QUERY, text)]),
                    conn.message(POST, "/est/sen", payload=text),
                    conn.message(POST, "/est/sen", [(coap.CONTENT_FORMAT, number(CSR))], text, token=b"canary"),
                    conn.message(POST, "/est/sen", [(coap.CONTENT_FORMAT, number(CSR))],
                                 pki.csr(pki.ec_key(), "CN=canary%s\r\n\x1b[31m", challenge="canary\r\nx"))):
        try:
            answer = conn.exchange(message)
            assert answer.code // 100 in (2, 4), answer
            assert SEEN.encode() not in answer.payload
        except Reset:
            pass
    conn.send(text)
    assert conn.alive()
    rows = gw.audit("enroll.refused")[-2:]
    assert [row["detail"]["protocol"] for row in rows] == ["coap"] * 2
    assert all(row["detail"]["peer"] == "127.0.0.1" and row["detail"]["operation"] == "sen" for row in rows)
    assert SEEN not in gw.log
    assert not re.search(r"[^\x20-\x7e\n]", gw.log)


def test_the_audit_verifies_after_all_this(gw):
    assert gw.ctl("audit", "verify")["rows"] == len(gw.audit()) > 20
