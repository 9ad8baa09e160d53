"""CA certificates that are too much for an answer over CoAP: the configuration says so, before a device is told of an internal error."""
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import coap
import est
import pki
import scep
from gateway import binary, run
from test_ca_rollover_visible import add_generation

ANSWER_MAX = 65536          # octets of an answer over all blocks: coap/README.md, "Limits"
LEAF_ROOM = 8192            # gateway/core/config_group.c
FILLER = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")  # RFC 5612: for examples


def bundle_of(certs):
    """application/pkcs7-mime; smime-type=certs-only, as /cacerts has it."""
    return pki.seq(pki.oid("1.2.840.113549.1.7.2"), pki.tlv(0xa0, pki.seq(
        pki.integer(1), pki.der_set(), pki.seq(pki.oid("1.2.840.113549.1.7.1")),
        pki.tlv(0xa0, *[pki.cert_der(cert) for cert in certs]), pki.der_set())))


class Chain:
    """The CA of --init, whose root is made anew as long as it has to be."""

    def __init__(self, gateway):
        self.gateway, self.root, self.issuing = gateway, scep.pem(gateway.root), scep.pem(gateway.issuing)
        self.key = pki.load_key(os.path.join(gateway.dir, "offline/root.key"))

    def _root(self, filler):
        root = self.root
        build = (x509.CertificateBuilder().subject_name(root.subject).issuer_name(root.subject).public_key(root.public_key())
                 .serial_number(root.serial_number).not_valid_before(root.not_valid_before).not_valid_after(root.not_valid_after))
        for one in root.extensions:
            build = build.add_extension(one.value, one.critical)
        return build.add_extension(x509.UnrecognizedExtension(FILLER, bytes(filler)), False).sign(self.key, hashes.SHA256())

    def make(self, length):
        """So that all of it together has this many octets; a signature's length is chance."""
        filler = length - len(bundle_of([self.issuing, self._root(1 << 15)])) + (1 << 15)
        while True:
            made = [self.issuing, self._root(filler)]
            if len(bundle_of(made)) == length:
                break
        with open(self.gateway.root, "wb") as out:
            out.write(pki.cert_pem(made[1]))
        return made


@pytest.fixture
def gw(new_gateway):
    gateway = new_gateway()
    gateway.add_label("https-only")
    return coap.configure(gateway)


def complaints(gw):
    gw.write()
    done = gw.check()
    assert done.returncode == (1 if done.stderr else 0)
    return done.stderr.splitlines()


def too_long(gw, n, length=ANSWER_MAX + 1):
    with open(gw.conf) as text:
        line = [at for at, row in enumerate(text, 1) if "protocols" in row][n]
    return ("%s:%d: labels \"%s\": protocols: over \"coap\" /crts would be %d octets of CA certificates, and an answer has at most %d: "
            "take some out of the chain and cross of the group of CA \"issuing\", or \"coap\" out of this label") % (
                gw.conf, line, gw.settings["labels"][n]["name"], length, ANSWER_MAX)


def test_the_longest_bundle_that_coap_takes_is_served(gw, acme):
    certs = Chain(gw).make(ANSWER_MAX)
    assert complaints(gw) == []
    gw.start()
    with coap.Conn(gw, gw.own(acme.idevid())) as conn:
        answer = conn.get("crts")
        assert (answer.code, answer.format, len(answer.body)) == (205, coap.CERTS, ANSWER_MAX)
    assert answer.certs() == certs and answer.body == est.get(gw, "cacerts").der()


def test_an_octet_more_is_refused_with_what_to_do_by_check_start_and_reload(gw, acme):
    chain, device = Chain(gw), acme.idevid()
    before = chain.make(ANSWER_MAX)
    gw.start()
    gw.own(device)
    chain.make(ANSWER_MAX + 1)
    # Both labels speak it, as configure() has it.
    assert complaints(gw) == [too_long(gw, 0), too_long(gw, 1)]
    log = gw.reload()
    assert "stays in force" in log and "take some out of the chain" in log
    with coap.Conn(gw, device) as conn:
        assert conn.get("crts").certs() == before, "what was in force is served"
    gw.stop()
    done = run(binary("enrolld"), "-c", gw.conf)
    assert done.returncode == 1 and done.stderr.splitlines()[:1] == [too_long(gw, 0)]

    # Over HTTPS it is good.
    gw.settings["labels"][1]["protocols"] = ["est"]
    assert complaints(gw) == [too_long(gw, 0)]
    gw.settings["labels"][0]["protocols"] = ["est"]
    gw.settings["labels"][1]["protocols"] = ["est", "coap"]
    gw.settings["labels"][1]["ca"] = "short"
    gw.settings["cas"].append({"name": "short", "certificate": "ca/short.pem", "key": "file:ca/short.key"})
    pki.write_pair(os.path.join(gw.dir, "ca/short"), chain.root, chain.key)
    gw.settings["listen"]["coaps"] = gw.settings["listen"]["coaps"][:1]
    assert complaints(gw) == [], "and another CA's label is none of it"
    gw.start()
    assert len(est.get(gw, "cacerts").der()) == ANSWER_MAX + 1
    with coap.Conn(gw, device) as conn:
        assert conn.get("crts", "https-only").certs() == [chain.root]


def test_what_a_group_hands_out_together_is_counted_together(gw):
    certs = Chain(gw).make(ANSWER_MAX)
    certs.append(add_generation(gw))
    assert complaints(gw) == [too_long(gw, n, len(bundle_of(certs))) for n in (0, 1)]
    del gw.settings["cas"][1]["group"]
    assert complaints(gw) == []


def test_a_chain_that_goes_along_leaves_room_for_the_certificate(gw, acme):
    chain = Chain(gw)
    gw.settings["labels"][0]["include_chain"] = True
    longest = ANSWER_MAX - LEAF_ROOM
    chain.make(longest + 1)
    line, = complaints(gw)
    assert "labels \"\": include_chain: over \"coap\" a certificate and %d octets of its issuers are too much" % (longest + 1) in line
    certs = chain.make(longest)
    assert complaints(gw) == []
    gw.start()
    with coap.Conn(gw, gw.own(acme.idevid())) as conn:
        answer = conn.post("sen", pki.csr(pki.ec_key(), ""))
        assert answer.code == 204 and answer.certs()[1:] == certs
