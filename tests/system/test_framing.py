"""HTTP framing: what is not a well-formed request is refused in a defined way."""
import base64
import re
import socket
import ssl

import pytest

import est
import pki
from est import GET, HOST, POST

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY_MAX = 16 * 1024


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["limits"].update(body="16k", header="8k")
    gateway.settings["log"] = {"format": "json", "level": "info"}
    return gateway.start()


def fields(count):
    return b"".join(b"X-%d: y\r\n" % i for i in range(count))


REFUSED = {
    "200 fields": (431, GET + HOST + fields(200) + b"\r\n"),
    "bare LF after the request line": (400, b"GET /.well-known/est/cacerts HTTP/1.1\nHost: x\r\n\r\n"),
    "bare LF everywhere": (400, b"GET /.well-known/est/cacerts HTTP/1.1\nHost: x\n\n"),
    "bare LF between fields": (400, GET + b"Host: x\nX: y\r\n\r\n"),
    "bare CR in a value": (400, GET + HOST + b"X: a\rb\r\n\r\n"),
    "NUL in a value": (400, GET + HOST + b"X: a\0b\r\n\r\n"),
    "a folded line": (400, GET + HOST + b"X: a\r\n b\r\n\r\n"),
    "a folded first line": (400, GET + b" Host: x\r\n\r\n"),
    "space before the colon": (400, GET + b"Host : x\r\n\r\n"),
    "space before the colon of Content-Length": (400, POST + b"Content-Length : 5\r\n\r\nhello"),
    "no colon": (400, GET + HOST + b"nonsense\r\n\r\n"),
    "an empty name": (400, GET + HOST + b": x\r\n\r\n"),
    "a name with a space": (400, GET + HOST + b"a b: x\r\n\r\n"),
    "no Host": (400, GET + b"\r\n"),
    "two Hosts": (400, GET + b"Host: a\r\nHost: b\r\n\r\n"),
    "an impossible Host": (400, GET + b"Host: a/b\r\n\r\n"),
    "two Content-Lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    "two equal Content-Lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "a list of Content-Lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "a Content-Length with a sign": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "a negative Content-Length": (400, POST + b"Content-Length: -5\r\n\r\nhello"),
    "a Content-Length with letters": (400, POST + b"Content-Length: 5abc\r\n\r\nhello"),
    "a Content-Length in hexadecimal": (400, POST + b"Content-Length: 0x5\r\n\r\nhello"),
    "an empty Content-Length": (400, POST + b"Content-Length: \r\n\r\nhello"),
    "a Content-Length beyond 64 bits": (400, POST + b"Content-Length: 18446744073709551621\r\n\r\nhello"),
    "a Content-Length beyond the limit": (413, POST + b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1)),
    "Content-Length and Transfer-Encoding": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                                             b"0\r\n\r\n"),
    "Transfer-Encoding and Content-Length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
                                             b"0\r\n\r\n"),
    "Transfer-Encoding twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "Transfer-Encoding identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "Transfer-Encoding gzip, chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "Transfer-Encoding with a tail": (501, POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    "Transfer-Encoding in HTTP/1.0": (400, POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a chunk size that is no number": (400, CHUNKED + b"xyz\r\n"),
    "an empty chunk size": (400, CHUNKED + b"\r\n"),
    "a chunk size with a sign": (400, CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with 0x": (400, CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with a space": (400, CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": (413, CHUNKED + b"ffffffffffffffff1\r\n"),
    "a chunk size beyond the limit": (413, CHUNKED + b"%x\r\n" % (BODY_MAX + 1)),
    "a chunk size of many zeros": (400, CHUNKED + b"0" * 200 + b"5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size ended by bare LF": (400, CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": (400, CHUNKED + b"3\r\nhello\r\n0\r\n\r\n"),
    "endless chunk extensions": (400, CHUNKED + b"5;" + b"a" * 20000),
    "endless trailers": (431, CHUNKED + b"0\r\n" + b"X: y\r\n" * 5000),
    "63 fields": (431, GET + HOST + fields(62) + b"\r\n"),
    "a huge field": (431, GET + HOST + b"X: " + b"y" * 9000 + b"\r\n\r\n"),
    "a huge request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an endless request line": (414, b"GET /" + b"a" * 9000),
    "an endless header": (431, GET + b"X: " + b"y" * 9000),
    "HTTP/0.9": (400, b"GET /.well-known/est/cacerts\r\n"),
    "HTTP/0.9 with fields": (400, b"GET /.well-known/est/cacerts\r\n\r\n"),
    "HTTP/2.0": (505, GET.replace(b"1.1", b"2.0") + HOST + b"\r\n"),
    "HTTP/1.2": (505, GET.replace(b"1.1", b"1.2") + HOST + b"\r\n"),
    "the preface of HTTP/2": (501, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a version of other letters": (400, GET.replace(b"HTTP/1.1", b"HTTQ/1.1") + HOST + b"\r\n"),
    "a version in small letters": (400, GET.replace(b"HTTP/1.1", b"http/1.1") + HOST + b"\r\n"),
    "two spaces in the request line": (400, GET.replace(b"GET ", b"GET  ") + HOST + b"\r\n"),
    "a tab in the request line": (400, GET.replace(b"GET ", b"GET\t") + HOST + b"\r\n"),
    "space before the method": (400, b" " + GET + HOST + b"\r\n"),
    "a target that is no path": (400, b"GET cacerts HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with a control character": (400, b"GET /a\x01 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with octets above 127": (400, b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a fragment": (400, b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (501, b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an asterisk": (400, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an endless method": (501, b"A" * 200 + b" / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "TLS inside TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "an unknown expectation": (417, POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello"),
    "two Authorizations": (400, POST + b"Authorization: Basic YTpi\r\nAuthorization: Basic YzpkCg\r\n"
                           b"Content-Length: 5\r\n\r\nhello"),
    "two Content-Types": (400, POST + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_what_is_not_a_request_is_refused_and_the_connection_ends(gw, what):
    status, octets = REFUSED[what]
    with est.Conn(gw) as conn:
        # a second request follows: were the first one framed otherwise, its answer would show
        conn.send(octets + GET + HOST + b"\r\n")
        received = conn.at_end()
    assert received.startswith(b"HTTP/1.1 %d " % status), received[:200]
    assert len(re.findall(rb"^HTTP/1\.1 \d", received, re.M)) == 1, received
    assert b"Connection: close\r\n" in received


TAKEN = {
    "an absolute target": (200, b"GET https://localhost/.well-known/est/cacerts HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an absolute target of another host": (200, b"GET http://evil.example/.well-known/est/cacerts HTTP/1.1\r\n" + HOST +
                                           b"\r\n"),
    "one empty line before": (200, b"\r\n" + GET + HOST + b"\r\n"),
    "62 fields": (200, GET + HOST + fields(61) + b"\r\n"),
    "spaces around a value": (200, GET + b"Host:    localhost \t\r\n\r\n"),
    "no space after the colon": (200, GET + b"Host:localhost\r\n\r\n"),
    "an empty value": (200, GET + HOST + b"X:\r\n\r\n"),
    "a query": (200, GET.replace(b"cacerts", b"cacerts?a=b") + HOST + b"\r\n"),
    "a name in capitals": (200, GET + b"HOST: localhost\r\n\r\n"),
    "chunk extensions": (401, CHUNKED + b"4;a=b\r\nAAAA\r\n0;c\r\n\r\n"),
    "trailers": (401, CHUNKED + b"4\r\nAAAA\r\n0\r\nX-Sum: 1\r\n\r\n"),
    "chunks in capitals": (401, CHUNKED + b"C\r\nAAAAAAAAAAAA\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("what", list(TAKEN))
def test_what_is_a_request_is_answered_and_the_connection_goes_on(gw, what):
    status, octets = TAKEN[what]
    with est.Conn(gw) as conn:
        conn.send(octets)
        assert conn.receive().status == status
        assert conn.request("GET", est.path("csrattrs")).status == 204


@pytest.mark.parametrize("method", [b"BREW", b"get", b"PATCH", b"TRACE", b"PROPFIND", b"M-SEARCH"])
def test_an_unusual_method_is_405_or_501_in_our_own_words(gw, method):
    with est.Conn(gw) as conn:
        conn.send(GET.replace(b"GET", method) + HOST + b"\r\n")
        answer = conn.receive()
    assert answer.status in (405, 501), answer
    assert answer.get("Cache-Control") is None and answer.text.count("\n") == 1


def test_head_is_refused_without_a_body(gw):
    with est.Conn(gw) as conn:
        conn.send(b"HEAD /.well-known/est/cacerts HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        received = conn.at_end()
    assert received.startswith(b"HTTP/1.1 405 ") and received.endswith(b"\r\n\r\n")


def test_pipelined_requests_are_answered_in_order(gw):
    with est.Conn(gw) as conn:
        conn.send((GET + HOST + b"\r\n") + GET.replace(b"cacerts", b"csrattrs") + HOST + b"\r\n" +
                  GET.replace(b"cacerts", b"nope") + HOST + b"Connection: close\r\n\r\n")
        assert [conn.receive().status for _ in range(3)] == [200, 204, 404]
        assert conn.at_end() == b""


def test_a_pipelined_request_belongs_to_its_own_connection_only(gw, acme):
    """One connection's second request is never answered with another connection's identity."""
    mine, other = acme.idevid(), acme.idevid()
    gw.own(mine, other)
    conns = [(est.Conn(gw, device), device) for device in (mine, other) for _ in range(6)]
    for round_ in range(4):
        for conn, _ in conns:
            body = base64.b64encode(pki.csr(pki.ec_key(), ""))
            conn.send(est.request("POST", est.path("simpleenroll"), body) * 1 + GET + HOST + b"\r\n")
        for conn, device in conns:
            subject = conn.receive().cert().subject.rfc4514_string()
            assert device.tag in subject
            assert conn.receive().status == 200
    for conn, _ in conns:
        conn.close()


def test_a_request_in_single_octets_is_a_request(gw):
    with est.Conn(gw) as conn:
        for octet in GET + HOST + b"\r\n":
            conn.send(bytes([octet]))
        assert conn.receive().status == 200


def test_expect_100_continue_is_answered_before_the_body(gw, acme):
    device = gw.own(acme.idevid())
    body = base64.b64encode(pki.csr(pki.ec_key()))
    with est.Conn(gw, device) as conn:
        conn.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert conn.receive().status == 100
        conn.send(body)
        assert conn.receive().status == 200


def test_expect_100_continue_of_a_body_that_is_too_large_is_refused_at_once(gw):
    with est.Conn(gw) as conn:
        conn.send(POST + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        assert conn.receive().status == 413


def test_a_chunked_upload_is_cut_at_the_limit_while_it_is_read(gw):
    with est.Conn(gw) as conn:
        conn.send(CHUNKED)
        received = b""
        try:
            for _ in range(100):
                conn.send(b"400\r\n" + b"A" * 1024 + b"\r\n")
        except OSError:
            pass
        received = conn.at_end()
    assert received.startswith(b"HTTP/1.1 413 "), received[:100]


def test_http_1_0_is_served_and_closed_unless_it_asks_to_stay(gw):
    with est.Conn(gw) as conn:
        conn.send(GET.replace(b"1.1", b"1.0") + b"\r\n")
        received = conn.at_end()
        assert received.startswith(b"HTTP/1.1 200 ") and b"Connection: close\r\n" in received
    with est.Conn(gw) as conn:
        for _ in range(2):
            conn.send(GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n")
            answer = conn.receive()
            assert (answer.status, answer.get("Connection")) == (200, "keep-alive")


def test_connection_close_is_honoured(gw):
    with est.Conn(gw) as conn:
        conn.send(GET + HOST + b"Connection: Close\r\n\r\n")
        assert conn.at_end().startswith(b"HTTP/1.1 200 ")


SMUGGLED = {
    "X-Front-Id": b"X-Front-Id: %s\r\n" % (b"0" * 32),
    "x-front-id": b"x-front-id: %s\r\n" % (b"f" * 32),
    "X-FRONT-ID twice": b"X-FRONT-ID: a\r\nX-Front-Id: b\r\n",
    "X-Front-Anything": b"X-Front-Cert: MIIB\r\n",
    "X_Front_Id": b"X_Front_Id: %s\r\n" % (b"0" * 32),
    "a second head in a value": b"X: a\\r\\nX-Front-Id: 0\r\n",
}


@pytest.mark.parametrize("what", list(SMUGGLED))
def test_the_fronts_own_header_cannot_be_smuggled(gw, what):
    body = base64.b64encode(pki.csr(pki.ec_key()))
    with est.Conn(gw) as conn:
        conn.send(POST + SMUGGLED[what] + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert conn.receive().status == 401, "the connection has no certificate, so neither has the request"


def test_connection_cannot_name_the_fronts_header_away(gw, device):
    body = base64.b64encode(pki.csr(pki.ec_key()))
    with est.Conn(gw, device) as conn:
        conn.send(POST + b"Connection: X-Front-Id\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert conn.receive().status == 200


# ---- addresses and TLS versions

def test_both_address_families_are_served(gw, device):
    for host in ("127.0.0.1", "::1"):
        with est.Conn(gw, device, host=host) as conn:
            assert est.enroll(gw, pki.csr(pki.ec_key()), conn=conn).status == 200
    peers = {row["peer"] for row in gw.ctl("request", "list", "--asset", device.tag)}
    assert peers == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_versions_are_refused(gw, version):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        est.Conn(gw, version=version)
    assert est.get(gw, "cacerts").status == 200


def test_old_tls_is_refused_by_the_server_itself(gw):
    """A ClientHello of TLS 1.1, in octets: no library on our side has a say."""
    hello = bytes.fromhex("0302") + bytes(32) + b"\x00" + bytes.fromhex("0004c013c014") + b"\x01\x00"
    body = b"\x01" + len(hello).to_bytes(3, "big") + hello
    with socket.create_connection(("127.0.0.1", gw.port), 10) as sock:
        sock.sendall(b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body)
        answer = sock.recv(100)
    assert answer[:1] == b"\x15" and answer[5:7] == b"\x02\x46", "fatal alert protocol_version"


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_weak_cipher_suites_are_refused(gw, ciphers):
    ctx = est.context(gw.root, version=ssl.TLSVersion.TLSv1_2)
    ctx.set_ciphers(ciphers + ":@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        est.Conn(gw, ctx=ctx)


def test_plain_http_on_the_tls_port_gets_no_answer_from_the_handler(gw):
    with socket.create_connection(("127.0.0.1", gw.port), 10) as sock:
        sock.sendall(GET + HOST + b"\r\n")
        assert b" 200 " not in sock.recv(1000)


def test_the_minimum_version_can_be_1_3(new_gateway):
    gateway = new_gateway()
    gateway.settings["tls"]["min_version"] = "1.3"
    gateway.start()
    assert est.get(gateway, "cacerts").status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        est.Conn(gateway, version=ssl.TLSVersion.TLSv1_2)
