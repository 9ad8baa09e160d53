"""The CoAP client of these tests itself, against what the RFCs print."""
import pytest

import coap
from coap import ACK, CON, GET, Malformed, Message


def test_the_header_of_rfc_9148_appendix_a_1():
    request = Message(CON, GET, 0x1234, b"\x9a", [(coap.ACCEPT, coap.number(281)), (coap.URI_HOST, b"example.com"),
                                                  (coap.URI_PORT, coap.number(9085)), (coap.URI_PATH, b"est"),
                                                  (coap.URI_PATH, b"crts")])
    octets = bytes.fromhex("4101 1234 9a 3b") + b"example.com" + bytes.fromhex("42 237d 43") + b"est\x04crts" + \
        bytes.fromhex("62 0119")
    assert request.encode() == octets
    again = Message.decode(octets)
    assert again.options == request.options and again.token == b"\x9a" and again.code == GET


def test_the_answer_of_rfc_9148_appendix_a_1():
    answer = Message.decode(bytes.fromhex("6145 1234 9a c2 0119 ff 3082"))
    assert (answer.kind, answer.code, answer.format, answer.payload) == (ACK, 205, 281, b"\x30\x82")


@pytest.mark.parametrize("delta", [0, 12, 13, 268, 269, 65535])
@pytest.mark.parametrize("length", [0, 12, 13, 268, 269, 700])
def test_long_options_survive_the_way_there_and_back(delta, length):
    message = Message(CON, GET, 1, b"", [(delta, b"x" * length), (delta, b"")], b"p")
    again = Message.decode(message.encode())
    assert again.options == message.options and again.payload == b"p"


@pytest.mark.parametrize("octets", ["", "400112", "80011234", "49011234", "4101 1234", "4001 1234 ff", "4001 1234 f0",
                                    "4001 1234 0f", "4001 1234 d0", "4001 1234 02 61", "4000 1234 ff 61"])
def test_what_is_no_message_is_not_read_as_one(octets):
    with pytest.raises(Malformed):
        Message.decode(bytes.fromhex(octets))


def test_the_multipart_of_rfc_9148_section_4_3():
    octets = bytes.fromhex("84 19011c 48 0123456789abcdef 190119 48 fedcba9876543210")
    assert coap.cbor(octets) == [284, bytes.fromhex("0123456789abcdef"), 281, bytes.fromhex("fedcba9876543210")]
    for wrong in (octets + b"\0", b"\x9f" + octets[1:], octets.replace(b"\x48\x01", b"\x58\x08\x01"), octets[:-1]):
        with pytest.raises((AssertionError, IndexError)):
            coap.cbor(wrong)


def test_a_block_option_is_number_more_and_size():
    assert coap.block(0, False, 16) == b""
    assert coap.block(1, True, 128) == b"\x1b"
    assert coap.block(4095, False, 1024) == b"\xff\xf6"


def test_links_are_read_as_rfc_6690_has_them():
    assert coap.links('</est/crts>;rt="ace.est.crts";ct="281 287",</est/att>;rt="ace.est.att";ct=285') == {
        "/est/crts": {"rt": "ace.est.crts", "ct": "281 287"}, "/est/att": {"rt": "ace.est.att", "ct": "285"}}
