"""Bodies in blocks (RFC 7959): every size, doubled, reordered, mixed, too large, abandoned."""
import random

import pytest

import coap
import pki
from coap import BLOCK1, BLOCK2, CON, CONTINUE, CSR, GET, NON, POST, SIZE1, SIZES, block, number

SEN = "/est/sen"
CAP = 65536
FORMAT = (coap.CONTENT_FORMAT, number(CSR))
HELD_MAX = 16 << 20  # octets of unfinished bodies that one context keeps


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = coap.configure(module_gateway(), contexts=1)
    coap.add_label(gateway, "a")
    coap.add_label(gateway, "b")
    return gateway.start()


@pytest.fixture
def conn(gw, device):
    with coap.Conn(gw, device) as conn:
        yield conn


def big_request(key=None, names=60):
    """About 3 kB."""
    return pki.csr(key or pki.ec_key(), "", [("dns", "device-%03d.names-that-are-ignored.example.net" % i) for i in range(names)])


def pieces(conn, body, size, path=SEN, token=None, kind=CON):
    """The requests of an upload, not yet sent."""
    count = -(-len(body) // size)
    return [conn.message(POST, path, [FORMAT, (BLOCK1, block(num, num + 1 < count, size))],
                         body[num * size:(num + 1) * size], kind, token=token) for num in range(count)]


def piece(conn, num, more, size, payload, path=SEN, code=POST, options=()):
    return conn.exchange(conn.message(code, path, [FORMAT, (BLOCK1, block(num, more, size))] + list(options), payload))


def issued_once(gw, device):
    assert len(gw.certs(device.tag)) == 1
    assert len(gw.audit("enroll.issued", device.tag)) == 1
    assert gw.audit("enroll.replayed", device.tag) == []


# ---- up

@pytest.mark.parametrize("size", SIZES)
def test_a_request_in_blocks_of_any_size_is_one_request(gw, device, conn, size):
    key = pki.ec_key()
    answer = conn.post("sen", big_request(key), size=size)
    assert pki.spki(answer.cert().public_key()) == pki.spki(key)
    assert all(seen.block(BLOCK2)[2] <= size for seen in conn.trace if seen.block(BLOCK2))
    issued_once(gw, device)


@pytest.mark.parametrize("size1", [0, 1, 100, CAP, 0xffffffff])
def test_size1_may_lie(gw, device, conn, size1):
    assert conn.post("sen", big_request(), size=256, options=[(SIZE1, number(size1))]).code == 204
    issued_once(gw, device)


def test_one_token_for_all_blocks_is_as_good_as_one_for_each(gw, device, conn):
    for token in (b"", b"\x07", b"12345678"):
        answers = [conn.exchange(request) for request in pieces(conn, big_request(), 512, token=token)]
        assert [answer.code for answer in answers] == [CONTINUE] * (len(answers) - 1) + [204]
        assert all(answer.token == token for answer in answers)


def test_a_doubled_block_gets_the_same_octets_and_runs_nothing_twice(gw, device, conn):
    for request in pieces(conn, big_request(), 512):
        answers = []
        for _ in range(3):
            conn.send(request)
            answers.append(conn.receive().encode())
        assert answers[0] == answers[1] == answers[2]
    issued_once(gw, device)


def test_blocks_between_the_first_and_the_last_may_come_in_any_order(gw, device, conn):
    key = pki.ec_key()
    requests = pieces(conn, big_request(key), 128)
    middle = requests[1:-1]
    random.Random(3).shuffle(middle)
    for request in requests[:1] + middle:
        assert conn.exchange(request).code == CONTINUE
    answer = conn.exchange(requests[-1])
    assert answer.code == 204
    issued_once(gw, device)


def test_blocks_sent_all_at_once_are_put_together(gw, device, conn):
    requests = pieces(conn, big_request(), 512)
    for request in requests:
        conn.send(request)
    answers = {answer.token: answer.code for answer in (conn.receive() for _ in requests)}
    assert [answers[request.token] for request in requests] == [CONTINUE] * (len(requests) - 1) + [204]


def test_a_last_block_that_comes_too_early_is_408_and_what_was_missing_may_follow(gw, device, conn):
    body = big_request()
    requests = pieces(conn, body, 256)
    assert conn.exchange(requests[0]).code == CONTINUE
    assert conn.exchange(requests[-1]).code == 408
    for request in requests[1:-1]:
        assert conn.exchange(request).code == CONTINUE
    assert conn.exchange(pieces(conn, body, 256)[-1]).code == 204
    issued_once(gw, device)


def test_a_block_that_says_something_else_than_before_spoils_the_body(gw, device, conn):
    request = big_request()
    assert piece(conn, 0, True, 64, request[:64]).code == CONTINUE
    assert piece(conn, 1, True, 64, request[64:128]).code == CONTINUE
    assert piece(conn, 1, True, 64, bytes(64)).code == 408
    assert conn.post("sen", request, size=64).code == 204, "beginning again helps"
    issued_once(gw, device)


def test_a_new_first_block_begins_anew(gw, device, conn):
    first, second = big_request(), pki.ec_key()
    for request in pieces(conn, first, 256)[:-1]:
        assert conn.exchange(request).code == CONTINUE
    answer = conn.post("sen", big_request(second), size=256)
    assert pki.spki(answer.cert().public_key()) == pki.spki(second)
    issued_once(gw, device)


def test_a_block_without_a_beginning_is_408(conn):
    for num, more in ((1, True), (1, False), (4000, False)):
        assert piece(conn, num, more, 16, b"x" * 16).code == 408


def test_blocks_of_two_devices_do_not_mix(gw, acme):
    devices = [acme.idevid() for _ in range(2)]
    gw.own(*devices)
    keys = [pki.ec_key() for _ in devices]
    conns = [coap.Conn(gw, device) for device in devices]
    rows = [pieces(conn, pki.csr(key, ""), 16) for conn, key in zip(conns, keys)]
    for i in range(max(len(row) for row in rows)):
        for conn, row in zip(conns, rows):
            if i < len(row):
                conn.last = conn.exchange(row[i])
    for conn, key, device in zip(conns, keys, devices):
        answer = conn.download(conn.last, SEN, POST)
        assert pki.spki(answer.cert().public_key()) == pki.spki(key)
        issued_once(gw, device)
        conn.close()


def test_two_bodies_of_one_session_do_not_mix_and_a_third_displaces_the_oldest(gw, conn):
    keys = {label: pki.ec_key() for label in ("", "a", "b")}
    rows = {label: pieces(conn, pki.csr(key, ""), 64, coap.path("sen", label, "/est")) for label, key in keys.items()}
    for first, second in zip(rows[""][:-1], rows["a"][:-1]):
        assert conn.exchange(first).code == conn.exchange(second).code == CONTINUE
    for label in ("", "a"):
        answer = conn.download(conn.exchange(rows[label][-1]), coap.path("sen", label, "/est"), POST)
        assert pki.spki(answer.cert().public_key()) == pki.spki(keys[label])
    for label in ("", "a", "b"):
        row = rows[label] = pieces(conn, pki.csr(keys[label], ""), 64, coap.path("sen", label, "/est"))
        assert conn.exchange(row[0]).code == CONTINUE
    assert [conn.exchange(rows[label][1]).code for label in ("", "a", "b")] == [408, CONTINUE, CONTINUE]


# ---- limits

def test_the_largest_body_is_read_and_one_octet_more_is_413(gw, conn):
    answer = conn.post("sen", bytes(CAP))
    assert (answer.code, answer.get(SIZE1)) == (413, None), "read, and too long for a request"
    assert answer.body == b"a certificate request has at most 32768 octets"
    assert gw.audit("enroll.refused")[-1]["detail"]["operation"] == "sen"
    answer = conn.post("sen", bytes(CAP + 1))
    assert (answer.code, answer.get(SIZE1)) == (413, CAP)
    assert answer.body == b"a body has at most 65536 octets"
    assert conn.get("crts").code == 205


@pytest.mark.parametrize("num,size", [(64, 1024), (4096, 16), (0xfffff, 16), (0xfffff, 1024)])
def test_a_block_beyond_the_largest_body_is_413(conn, num, size):
    assert piece(conn, 0, True, size, bytes(size)).code == CONTINUE
    for more in (True, False):
        answer = piece(conn, num, more, size, bytes(size))
        assert answer.code in (413, 408), answer
        assert answer.code == 413 or not more, "the first time"


def test_a_smaller_limit_of_the_configuration_holds(new_gateway, acme):
    gateway = coap.configure(new_gateway())
    gateway.settings["limits"]["body"] = "2k"
    gateway.start()
    with coap.Conn(gateway, gateway.own(acme.idevid())) as conn:
        answer = conn.post("sen", big_request(), size=1024)
        assert (answer.code, answer.get(SIZE1)) == (413, 2048)
        assert conn.post("sen", big_request(names=8), size=64).code == 204


@pytest.mark.parametrize("value,payload", [(b"\x0f", b"x" * 16), (b"\x08", b"x" * 15), (b"\x08", b""), (b"\x00", b"x" * 17)])
def test_a_block_that_breaks_its_own_rules_is_400(conn, value, payload):
    answer = conn.exchange(conn.message(POST, SEN, [FORMAT, (BLOCK1, value)], payload))
    assert answer.code == 400, answer


def test_a_block_option_of_four_octets_is_no_option(conn):
    with pytest.raises(coap.Reset):
        conn.exchange(conn.message(POST, SEN, [FORMAT, (BLOCK1, b"\0\0\0\x08")], b"x" * 16))
    assert conn.alive()


def test_blocks_where_there_is_no_body_are_400(conn):
    assert piece(conn, 0, False, 16, b"", "/est/crts", GET).code == 400
    assert piece(conn, 0, False, 16, b"x", options=[(BLOCK2, block(1, False, 16))]).code == 400


def test_what_unfinished_bodies_take_is_bounded_and_the_stalest_gives_way(gw, acme):
    """A block far behind the first one reserves the octets between, so two datagrams take 64 KiB."""
    device = gw.own(acme.idevid())
    count = HELD_MAX // CAP + 8
    conns = [coap.Conn(gw, device) for _ in range(count)]
    for conn in conns:
        assert piece(conn, 0, True, 1024, bytes(1024)).code == CONTINUE
        assert piece(conn, 63, True, 1024, bytes(1024)).code == CONTINUE
    assert piece(conns[0], 1, True, 1024, bytes(1024)).code == 408
    assert piece(conns[-1], 1, True, 1024, bytes(1024)).code == CONTINUE
    assert conns[0].post("sen", big_request(), size=1024).code == 204
    for conn in conns:
        conn.close()


def test_an_abandoned_body_ends_with_its_session(gw, device):
    with coap.Conn(gw, device) as conn:
        source = conn.sock.getsockname()
        request = big_request()
        for part in pieces(conn, request, 512)[:-1]:
            assert conn.exchange(part).code == CONTINUE
    with coap.Conn(gw, device, source=source) as conn:
        assert conn.exchange(pieces(conn, request, 512)[-1]).code == 408


# ---- down

def test_a_get_begins_at_any_block(conn):
    whole = conn.get("crts").body
    for num in (3, 1, len(whole) // 64):
        answer = conn.exchange(conn.message(GET, "/est/crts", [(BLOCK2, block(num, False, 64))]))
        assert answer.code == 205 and answer.payload == whole[num * 64:(num + 1) * 64]
        assert answer.block(BLOCK2) == (num, (num + 1) * 64 < len(whole), 64)
    answer = conn.exchange(conn.message(GET, "/est/crts", [(BLOCK2, block(len(whole) // 64 + 1, False, 64))]))
    assert answer.code == 400


def test_a_client_may_go_on_with_smaller_blocks(conn):
    whole = conn.get("crts").body
    first = conn.exchange(conn.message(GET, "/est/crts", [(BLOCK2, block(0, False, 256))]))
    assert first.payload == whole[:256]
    body = first.payload
    while True:
        answer = conn.exchange(conn.message(GET, "/est/crts", [(BLOCK2, block(len(body) // 64, False, 64))]))
        body += answer.payload
        if not answer.block(BLOCK2)[1]:
            break
    assert body == whole


def test_what_a_post_did_is_not_done_again_for_a_late_block(gw, device, conn):
    answer = conn.exchange(conn.message(POST, SEN, [FORMAT, (BLOCK2, block(2, False, 64))], pki.csr(pki.ec_key(), "")))
    assert answer.code == 408
    assert gw.certs(device.tag) == []


def test_a_private_key_is_forgotten_once_its_last_block_is_out_but_a_lost_block_comes_again(gw, device, conn):
    request = pki.csr(pki.ec_key(), "")
    first = conn.post("skg", request, size=64)
    count = -(-len(first.body) // 64)
    last = conn.message(POST, coap.path("skg"), [(BLOCK2, block(count - 1, False, 64))])
    assert conn.exchange(last).code == 408, "gone"
    answer = conn.upload(coap.path("skg"), request, 64, [FORMAT], extra=[(BLOCK2, block(0, False, 64))])
    while answer.block(BLOCK2)[1]:
        ask = conn.message(POST, coap.path("skg"), [(BLOCK2, block(answer.block(BLOCK2)[0] + 1, False, 64))])
        answer = conn.exchange(ask)
    conn.send(ask)
    assert conn.receive().encode() == answer.encode()


def test_answers_fit_the_mtu_that_is_configured(new_gateway, acme):
    gateway = coap.configure(new_gateway(), mtu=256)
    gateway.start()
    with coap.Conn(gateway, gateway.own(acme.idevid()), mtu=256, ciphers=coap.GCM) as conn:
        seen = []
        receive = conn.receive_raw
        conn.receive_raw = lambda seconds: seen.append(receive(seconds)) or seen[-1]
        assert conn.get("crts", size=1024).code == 205
        assert max(len(datagram) for datagram in seen if datagram) <= 256
        assert {answer.block(BLOCK2)[2] for answer in conn.trace} == {128}


def test_a_large_block_that_is_asked_for_is_given_as_a_small_one_at_the_same_place(new_gateway, acme):
    gateway = coap.configure(new_gateway(), mtu=256)
    gateway.start()
    with coap.Conn(gateway, gateway.own(acme.idevid())) as conn:
        whole = conn.get("crts").body
        answer = conn.exchange(conn.message(GET, "/est/crts", [(BLOCK2, block(1, False, 512))]))
        assert answer.block(BLOCK2) == (4, True, 128) and answer.payload == whole[512:640]


# ---- non-confirmable

def test_non_confirmable_requests_are_answered_in_kind_and_their_doubles_ignored(gw, device, conn):
    requests = pieces(conn, big_request(), 512, kind=NON)
    for request in requests:
        conn.send(request)
        conn.send(request)
        answer = conn.receive()
        assert (answer.kind, answer.token) == (NON, request.token)
    assert answer.code == 204
    assert conn.alive()
    assert [seen for seen in conn.trace if seen.token == request.token] == [answer]
    issued_once(gw, device)
