"""How requests and answers are written: what clients send, and what single clients need to read."""
import base64
import itertools
import re

import pytest
from cryptography.x509.oid import NameOID

import est
import pki


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_label("wrapped", base64="wrapped")
    gateway.add_label("plain", content_type="plain", transfer_encoding_header=False)
    gateway.add_label("everywhere", content_type="everywhere")
    gateway.add_label("chain", include_chain=True)
    gateway.add_label("strict", accept_der=False)
    return gateway.start()


def check(cert, device, key):
    assert pki.spki(cert.public_key()) == pki.spki(key)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == device.tag


# ---- encodings

def test_single_line_base64_has_one_newline_at_its_end(gw, device):
    for answer in (est.get(gw, "cacerts"), est.enroll(gw, pki.csr(pki.ec_key()), device)):
        assert re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}\n", answer.body)


def test_wrapped_base64_has_short_lines(gw, device):
    for answer in (est.get(gw, "cacerts", "wrapped"), est.enroll(gw, pki.csr(pki.ec_key()), device, label="wrapped")):
        lines = answer.body.rstrip(b"\r\n").splitlines()
        assert len(lines) > 1 and all(len(line) <= 76 for line in lines)
        assert {len(line) for line in lines[:-1]} == {len(lines[0])}
        assert answer.certs()


def test_wrapped_base64_is_also_that_of_serverkeygen(gw, device):
    answer = est.post(gw, "serverkeygen", pki.csr(pki.ec_key()), device, "wrapped")
    assert max(len(line) for line in answer.body.splitlines()) <= 90
    assert len(est.multipart(answer)) == 2


@pytest.mark.parametrize("label,cacerts,enroll", [
    ("", "application/pkcs7-mime", "application/pkcs7-mime; smime-type=certs-only"),
    ("plain", "application/pkcs7-mime", "application/pkcs7-mime"),
    ("everywhere", "application/pkcs7-mime; smime-type=certs-only", "application/pkcs7-mime; smime-type=certs-only")])
def test_the_content_type_is_as_the_label_says(gw, device, label, cacerts, enroll):
    assert est.get(gw, "cacerts", label).get("Content-Type") == cacerts
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, label=label).get("Content-Type") == enroll


def test_the_transfer_encoding_header_can_be_left_out(gw):
    assert est.get(gw, "cacerts", "plain").get("Content-Transfer-Encoding") is None


def test_the_chain_comes_along_where_the_label_says_so(gw, device):
    certs = est.enroll(gw, pki.csr(pki.ec_key()), device, label="chain").certs()
    subjects = [cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for cert in certs]
    assert sorted(subjects) == sorted([device.tag, "enrolld issuing CA", "enrolld root CA"])


def encodings(der):
    text = base64.b64encode(der).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    pem = "-----BEGIN %s-----\n" + "\n".join(lines) + "\n-----END %s-----\n"
    crlf = (pem % (("CERTIFICATE REQUEST",) * 2)).replace("\n", "\r\n")
    return {
        "one line": text, "one line and LF": text + "\n", "one line and CRLF": text + "\r\n",
        "wrapped by LF": "\n".join(lines), "wrapped by CRLF": "\r\n".join(lines) + "\r\n",
        "PEM": pem % (("CERTIFICATE REQUEST",) * 2), "PEM with CRLF": crlf,
        "PEM of the other name": pem % (("NEW CERTIFICATE REQUEST",) * 2),
        "PEM without the last newline": (pem % (("CERTIFICATE REQUEST",) * 2)).rstrip("\n"),
    }


@pytest.mark.parametrize("kind", list(encodings(b"x")))
def test_a_request_may_be_encoded_in_the_ways_clients_do(gw, device, kind):
    key = pki.ec_key()
    body = encodings(pki.csr(key))[kind].encode()
    check(est.enroll(gw, body, device).cert(), device, key)


def test_a_request_may_be_der_unless_the_label_forbids_it(gw, device):
    key = pki.ec_key()
    der = pki.csr(key)
    with est.Conn(gw, device) as conn:
        answer = conn.request("POST", est.path("simpleenroll", "strict"), der)
        assert answer.status == 400
        check(conn.request("POST", est.path("simpleenroll"), der).cert(), device, key)


def test_a_chunked_request_enrolls_and_the_answer_is_not_chunked(gw, device):
    key = pki.ec_key()
    body = base64.b64encode(pki.csr(key))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    with est.Conn(gw, device) as conn:
        conn.send(est.request("POST", est.path("simpleenroll"), None,
                              {"Content-Type": "application/pkcs10", "Transfer-Encoding": "chunked"}) +
                  chunks + b"0\r\n\r\n")
        check(conn.receive().cert(), device, key)


def test_answers_are_small_enough_for_small_clients(gw, device):
    """strongSwan 5.9.8 gives up when the header is longer than 1024 octets."""
    for answer in (est.get(gw, "cacerts"), est.enroll(gw, pki.csr(pki.ec_key()), device)):
        assert len(answer.head) < 400
        assert answer.version == "HTTP/1.1"


def test_a_connection_serves_every_operation_one_after_the_other(gw, device):
    key = pki.ec_key()
    with est.Conn(gw, device) as conn:
        for _, operation in zip(range(12), itertools.cycle(["cacerts", "csrattrs", "simpleenroll", "nope"])):
            if operation == "simpleenroll":
                assert est.enroll(gw, pki.csr(key, "CN=%d" % _), conn=conn).status == 200
            elif operation == "nope":
                assert est.enroll(gw, b"!!!", conn=conn).status == 400
            else:
                assert conn.request("GET", est.path(operation)).status in (200, 204)
