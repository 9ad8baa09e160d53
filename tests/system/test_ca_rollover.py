"""One CA takes over from another: what devices are given before, during and after, and what goes on meanwhile.

The new generation has the names of the old one, as RFC 4210, section 4.4 has it: nothing but keys tells them apart.
"""
import os
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import cms
import coap
import est
import pki
import scep
from gateway import run

BUNDLE, NEXT = "application/x-x509-ca-ra-cert", "application/x-x509-next-ca-cert"


def ca_cert(subject, key, issuer=None, issuer_key=None, like=None, length=None):
    """A CA certificate; issuer None: by itself. like: a certificate whose key identifier it takes over."""
    ski = like.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value if like else \
        x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    aki = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value if issuer else ski
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(pki.ago(days=2)).not_valid_after(pki.ahead(days=3000))
            .add_extension(x509.BasicConstraints(True, length), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .add_extension(ski, False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(aki), False)
            .sign(issuer_key or key, hashes.SHA256()))


class Generation:
    """A root and an issuing CA below it, and their keys."""

    def __init__(self, root, root_key, issuing, issuing_key):
        self.root, self.root_key, self.issuing, self.issuing_key = root, root_key, issuing, issuing_key

    @property
    def chain(self):
        return [self.issuing, self.root]

    def issued(self, cert):
        """The issuing names of all generations are one, so the signature alone tells."""
        try:
            pki.verify(self.issuing, cert)
        except Exception:
            return False
        return True


def old_generation(gw):
    """The one that --init has made; its root's key is put aside."""
    path = lambda name: os.path.join(gw.dir, name)
    return Generation(scep.pem(gw.root), pki.load_key(path("offline/root.key")), scep.pem(gw.issuing),
                      pki.load_key(path("ca/issuing.key")))


def new_generation(root_name, issuing_name):
    root_key, issuing_key = pki.ec_key(), pki.ec_key()
    root = ca_cert(root_name, root_key)
    return Generation(root, root_key, ca_cert(issuing_name, issuing_key, root, root_key, length=0), issuing_key)


def put(gw, name, cert):
    with open(os.path.join(gw.dir, name), "wb") as out:
        out.write(pki.cert_pem(cert))


class GenerationRa(scep.Ra):
    """An RA of another issuing CA than the first."""

    def __init__(self, gw, name, generation):
        self.name, self._dir, self.apart, self.key = name, gw.dir, False, scep.fresh_key()
        self.decrypt_key = self.key
        cert = pki.ra_cert(generation.issuing, generation.issuing_key, self.key, "SCEP RA " + name)
        pki.write_pair(os.path.join(gw.dir, name), cert, self.key)
        self.cert = self.encryption = pki.cert_der(cert)


class Rollover:
    """A gateway whose CA has a successor, step by step."""

    def __init__(self, gw):
        self.gw, self.old = coap.configure(scep.configure(gw)), old_generation(gw)
        self.new = new_generation(self.old.root.subject, self.old.issuing.subject)
        self.old_with_new = ca_cert(self.old.root.subject, self.old.root_key, self.new.root, self.new.root_key, self.old.root)
        self.new_with_old = ca_cert(self.new.root.subject, self.new.root_key, self.old.root, self.old.root_key, self.new.root)
        for name, cert in (("new-root", self.new.root), ("old-with-new", self.old_with_new), ("new-with-old", self.new_with_old)):
            put(gw, "ca/%s.pem" % name, cert)
        pki.write_pair(os.path.join(gw.dir, "ca/new"), self.new.issuing, self.new.issuing_key)
        gw.settings["labels"][0].update(protocols=["est", "coap", "scep"], scep_ra="ra")
        self.ras = {"old": gw.ra, "new": GenerationRa(gw, "ra-new", self.new)}
        self.entry = {"name": "new", "certificate": "ca/new.pem", "key": "file:ca/new.key", "chain": ["ca/new-root.pem"],
                      "group": "fleet", "succeeds": "issuing", "cross": ["ca/old-with-new.pem", "ca/new-with-old.pem"]}

    @property
    def cross(self):
        return [self.old_with_new, self.new_with_old]

    def announce(self):
        """Step 1: the new CA is there, and no label names it."""
        self.gw.settings["cas"][0]["group"] = "fleet"
        self.gw.settings["cas"].append(self.entry)

    def switch(self):
        """Step 2: what is issued from here on is issued by it."""
        for label in self.gw.settings["labels"]:
            if label["ca"] == "issuing":
                label["ca"] = "new"
        self.gw.settings["ras"] = [self.ras["new"].settings([self.ras["old"]])]
        self.gw.ra = self.ras["new"]

    def end(self):
        """Step 3: nothing of the old one is left."""
        self.gw.settings["cas"] = [dict(self.entry, cross=[])]
        del self.gw.settings["cas"][0]["succeeds"]

    def reload(self):
        assert "is in force" in self.gw.reload()


@pytest.fixture
def roll(new_gateway):
    return Rollover(new_gateway())


@pytest.fixture
def gw(roll):
    return roll.gw


def cacerts(gw, label="", device=None):
    return est.get(gw, "cacerts", label, device).certs()


def next_certs(gw):
    """What GetNextCACert gives, in a message that the present RA has signed."""
    answer = scep.get(gw, "GetNextCACert")
    assert answer.status == 200 and answer.get("Content-Type") == NEXT, answer
    opened = cms.Opened(answer.body)
    assert opened.signer == gw.ra.cert
    inner = cms.Opened(opened.content)
    assert inner.signer is None and inner.content is None
    return [x509.load_der_x509_certificate(cert) for cert in inner.certs]


def enrolled(gw, device, tmp_path, name="-own", **kw):
    """The device with a certificate of its own."""
    key = pki.ec_key()
    answer = est.enroll(gw, pki.csr(key, ""), device, **kw)
    assert answer.status == 200, answer
    return device.with_cert(tmp_path, answer.certs()[0], key, name)


def owned(gw, acme):
    return gw.own(acme.idevid())


# ---- what is handed out

def test_each_step_hands_out_what_devices_need_then(roll, gw, acme):
    def crts():
        with coap.Conn(gw, device) as conn:
            assert conn.get("crts", accept=coap.CERT).code == 406, "there is more than one"
            answer = conn.get("crts")
            assert (answer.code, answer.format) == (205, coap.CERTS)
            return answer.certs()

    def capable():
        return "GetNextCACert" in scep.get(gw, "GetCACaps").text.splitlines()

    def bundle():
        return [x509.load_der_x509_certificate(cert) for cert in scep.certs_of(scep.get(gw, "GetCACert"), BUNDLE)]

    gw.start()
    device = owned(gw, acme)
    assert cacerts(gw) == crts() == roll.old.chain
    assert not capable() and scep.get(gw, "GetNextCACert").status == 404

    roll.announce()
    roll.reload()
    assert cacerts(gw) == crts() == roll.old.chain + roll.new.chain + roll.cross
    assert capable() and next_certs(gw) == roll.new.chain + roll.cross
    assert bundle()[1:] == roll.old.chain, "one top for clients that want one"

    roll.switch()
    roll.reload()
    assert cacerts(gw) == crts() == roll.new.chain + roll.old.chain + roll.cross
    assert not capable() and scep.get(gw, "GetNextCACert").status == 404
    assert bundle()[1:] == roll.new.chain

    roll.end()
    roll.reload()
    assert cacerts(gw) == crts() == roll.new.chain


def test_a_ca_outside_of_the_group_is_not_handed_out_with_it(roll, gw):
    apart = new_generation(roll.old.root.subject, roll.old.issuing.subject)
    put(gw, "ca/apart-root.pem", apart.root)
    pki.write_pair(os.path.join(gw.dir, "ca/apart"), apart.issuing, apart.issuing_key)
    gw.settings["cas"].append({"name": "apart", "certificate": "ca/apart.pem", "key": "file:ca/apart.key",
                               "chain": ["ca/apart-root.pem"]})
    gw.add_label("apart", ca="apart")
    roll.announce()
    gw.start()
    assert cacerts(gw) == roll.old.chain + roll.new.chain + roll.cross
    assert cacerts(gw, "apart") == apart.chain


def test_the_file_of_a_coming_certificate_is_handed_out_too(roll, gw):
    gw.settings["cas"][0].update(next="ca/both.pem", cross=["ca/old-with-new.pem", "ca/new-with-old.pem"])
    with open(os.path.join(gw.dir, "ca/both.pem"), "wb") as out:
        out.write(b"".join(pki.cert_pem(cert) for cert in roll.new.chain))
    gw.start()
    assert cacerts(gw) == roll.old.chain + roll.new.chain + roll.cross
    assert next_certs(gw) == roll.new.chain + roll.cross


def verifies(tmp_path, trusted, untrusted, leaf):
    for name, certs in (("trusted", trusted), ("untrusted", untrusted), ("leaf", [leaf])):
        (tmp_path / name).write_bytes(b"".join(pki.cert_pem(cert) for cert in certs))
    done = run("openssl", "verify", "-CAfile", tmp_path / "trusted", "-untrusted", tmp_path / "untrusted", "-no-CApath",
               "-no-CAstore", tmp_path / "leaf")
    return done.returncode == 0


def test_openssl_verifies_either_generation_by_the_other_ones_root_with_the_cross_certificates(roll, gw, acme, tmp_path):
    roll.announce()
    gw.start()
    before = enrolled(gw, owned(gw, acme), tmp_path).cert
    roll.switch()
    roll.reload()
    after = enrolled(gw, owned(gw, acme), tmp_path).cert
    assert roll.old.issued(before) and roll.new.issued(after)
    given = [cert for cert in cacerts(gw) if cert not in (roll.old.root, roll.new.root)]
    assert len(given) == 4
    assert verifies(tmp_path, [roll.new.root], given, before), "OldWithNew"
    assert verifies(tmp_path, [roll.old.root], given, after), "NewWithOld"
    without = [cert for cert in given if cert not in roll.cross]
    assert not verifies(tmp_path, [roll.new.root], without, before)
    assert not verifies(tmp_path, [roll.old.root], without, after)


def test_a_new_root_that_does_not_vouch_for_the_old_one_is_told(roll, gw):
    """RFC 7030, section 4.1.3: clients may trust the most recent root alone."""
    lone = '"new" succeeds "issuing" with another root'
    roll.announce()
    gw.start()
    assert lone not in gw.log
    roll.entry["cross"] = ["ca/new-with-old.pem"]
    roll.reload()
    gw.wait_log(" warn .*%s" % lone.replace('"', '.?"'))


def test_every_way_to_fetch_is_counted_once_it_gave_something(roll, gw, acme, tmp_path):
    def fetched():
        found = {}
        for series, value in gw.metrics().items():
            match = re.match(r'enrolld_ca_certificates_fetched_total{how="(.*)",known="(.*)"}', series)
            if match and value:
                found[match.groups()] = value
        return found

    gw.start()
    mine = enrolled(gw, owned(gw, acme), tmp_path)
    assert fetched() == {} and scep.get(gw, "GetNextCACert").status == 404
    with coap.Conn(gw, mine) as conn:
        assert conn.get("crts", accept=coap.CERT).code == 406
    assert fetched() == {}
    roll.announce()
    roll.reload()
    cacerts(gw, device=mine)
    cacerts(gw)
    with coap.Conn(gw, mine) as conn:
        conn.get("crts")
    assert scep.get(gw, "GetCACert").status == scep.get(gw, "GetNextCACert").status == 200
    assert fetched() == {(how, known): 1 for how, known in (("cacerts", "yes"), ("cacerts", "no"), ("crts", "yes"),
                                                            ("getcacert", "no"), ("getnextcacert", "no"))}


# ---- what goes on meanwhile

def test_devices_of_the_old_generation_renew_into_the_new_one(roll, gw, acme, tmp_path):
    gw.start()
    by_est, by_coap = (enrolled(gw, owned(gw, acme), tmp_path) for _ in range(2))
    asset = scep.Owned(gw, acme)
    by_scep = asset.enrolled(gw)
    roll.announce()
    roll.reload()
    middle = enrolled(gw, by_est, tmp_path, "-middle")
    assert roll.old.issued(middle.cert), "the label names the old one"
    roll.switch()
    roll.reload()

    key = pki.ec_key()
    cert = est.reenroll(gw, pki.csr(key, ""), middle).cert()
    assert roll.new.issued(cert) and not roll.old.issued(cert)
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), middle.with_cert(tmp_path, cert, key)).status == 200

    with coap.Conn(gw, by_coap) as conn:
        assert roll.new.issued(conn.post("sren", pki.csr(pki.ec_key(), "")).cert())

    message = scep.renewal_req(gw.ra, by_scep, scep.fresh_key())
    reply = scep.send(gw, message)
    assert roll.new.issued(reply.certs[0]) and reply.certs[1:] == [roll.new.issuing], reply
    assert len(gw.certs(asset.tag)) == 2


def test_a_certificate_of_a_ca_outside_of_the_group_does_not_authenticate(roll, gw, acme, tmp_path):
    roll.announce()
    gw.settings["cas"].append(dict(roll.entry, name="apart", group="others", succeeds="", cross=[]))
    gw.add_label("apart", ca="apart")
    gw.start()
    device = owned(gw, acme)
    stranger = enrolled(gw, device, tmp_path, label="apart")
    assert roll.new.issued(stranger.cert), "the same key, by another entry"
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), stranger, label="apart").status == 200
    refused = est.reenroll(gw, pki.csr(pki.ec_key(), ""), stranger)
    assert refused.status in (401, 403), refused
    with coap.Conn(gw, stranger) as conn:
        assert conn.get("crts").code in (401, 403)


def test_a_generation_that_has_gone_does_not_authenticate(roll, gw, acme, tmp_path):
    roll.announce()
    gw.start()
    late = enrolled(gw, owned(gw, acme), tmp_path)
    roll.switch()
    roll.reload()
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), late).status == 200
    roll.end()
    roll.reload()
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), late).status in (401, 403)


def test_a_certificate_goes_out_with_the_chain_of_its_own_generation(roll, gw, acme):
    coap.add_label(gw, "chain", include_chain=True)
    roll.announce()
    gw.start()
    device = owned(gw, acme)
    request = pki.csr(pki.ec_key(), "")
    first = est.enroll(gw, request, device, label="chain").certs()
    assert set(first[1:]) == set(roll.old.chain)
    asset = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, asset.signer, asset.challenge)
    cert, issuer = scep.send(gw, message).certs
    assert issuer == roll.old.issuing

    roll.switch()
    roll.reload()
    again = est.enroll(gw, request, device, label="chain").certs()
    assert again == first, "the certificate of the first time, and what vouches for it"
    with coap.Conn(gw, device) as conn:
        assert conn.post("sen", request, "chain").certs() == first
    message.ra = gw.ra
    message.envelope = cms.Envelope(message.csr, [gw.ra.encryption])
    assert scep.send(gw, message.again()).certs == [cert, roll.old.issuing]
    fresh = est.enroll(gw, pki.csr(pki.ec_key(), ""), owned(gw, acme), label="chain").certs()
    assert roll.new.issued(fresh[0]) and set(fresh[1:]) == set(roll.new.chain)

    roll.end()
    roll.reload()
    orphan = est.enroll(gw, request, device, label="chain").certs()
    assert orphan[0] == first[0] and set(orphan[1:]) == set(roll.new.chain), "that entry is gone; the label's is there"
    gw.wait_log(r"(?:result=replayed[\s\S]*?){4}")
    log = [line for line in gw.log.splitlines() if " enroll " in line and "result=replayed" in line]
    assert len(log) == 4 and all("ca=issuing" in line for line in log)


def test_scep_finds_certificates_and_lists_of_either_generation(roll, gw, acme):
    roll.announce()
    gw.start()
    first = scep.Owned(gw, acme).enrolled(gw)
    roll.switch()
    gw.settings["cas"].reverse()  # the old one is not found by standing first
    roll.reload()
    second = scep.Owned(gw, acme).enrolled(gw)
    assert roll.old.issued(first.cert_object) and roll.new.issued(second.cert_object)
    for mine, generation in ((first, roll.old), (second, roll.new)):
        assert scep.send(gw, scep.get_cert(gw.ra, mine, mine.cert)).certs == [mine.cert_object]
        crl, = scep.send(gw, scep.get_cert(gw.ra, mine, mine.cert, kind=scep.GET_CRL)).crls
        assert crl.is_signature_valid(generation.issuing.public_key()), "the names are the same, the keys are not"
    other = scep.send(gw, scep.get_cert(gw.ra, first, second.cert))
    assert (other.status, other.fail) == (scep.FAILURE, scep.BAD_CERT_ID), "another device's"


def test_scep_knows_issuers_of_the_group_by_other_names_too(roll, gw, acme):
    """A generation with names of its own: CertPoll, GetCert and GetCRL take them all, and none of a CA outside."""
    other = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another name")])
    roll.new = new_generation(other, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another issuing name")]))
    put(gw, "ca/new-root.pem", roll.new.root)
    pki.write_pair(os.path.join(gw.dir, "ca/new"), roll.new.issuing, roll.new.issuing_key)
    roll.ras["new"] = GenerationRa(gw, "ra-new", roll.new)
    roll.entry["cross"] = []
    scep.add_label(gw, "guarded", approval="manual")
    gw.settings["labels"][1].update(scep_ra="ra")
    roll.announce()
    gw.start()
    first = scep.Owned(gw, acme).enrolled(gw)
    waiting = scep.Owned(gw, acme)
    message = scep.pkcs_req(gw.ra, waiting.signer, waiting.challenge)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    roll.switch()
    roll.reload()
    assert scep.send(gw, scep.get_cert(gw.ra, first, first.cert)).certs == [first.cert_object]
    crl, = scep.send(gw, scep.get_cert(gw.ra, first, first.cert, kind=scep.GET_CRL)).crls
    assert crl.is_signature_valid(roll.old.issuing.public_key())
    for issuer in (roll.old.issuing, roll.new.issuing, roll.old.root):
        poll = scep.cert_poll(gw.ra, waiting.signer, message.transaction, issuer=cms.subject_of(pki.cert_der(issuer)))
        assert scep.send(gw, poll, "guarded").status == scep.PENDING
    poll = scep.cert_poll(gw.ra, waiting.signer, message.transaction, issuer=pki.name("CN=nobody"))
    scep.refused(gw, scep.send(gw, poll, "guarded"), scep.BAD_MESSAGE_CHECK)
    gw.ctl("request", "approve", gw.ctl("request", "list", "--state", "pending")[0]["id"])
    poll = scep.cert_poll(gw.ra, waiting.signer, message.transaction, issuer=cms.subject_of(pki.cert_der(roll.old.issuing)))
    reply = scep.send(gw, poll, "guarded")
    assert roll.new.issued(reply.certs[0]) and reply.certs[1] == roll.new.issuing


def test_what_the_old_generation_issued_is_revoked_on_its_own_list(roll, gw, acme, tmp_path):
    roll.announce()
    gw.start()
    device = owned(gw, acme)
    lost = enrolled(gw, device, tmp_path)
    roll.switch()
    roll.reload()
    gw.ctl("cert", "revoke", gw.certs(device.tag)[0]["serial"], "--reason", "lost")

    def crl(name, generation):
        answer = scep.request(gw, "GET", "/crl/%s.crl" % name)
        assert answer.status == 200
        found = x509.load_der_x509_crl(answer.body)
        assert found.is_signature_valid(generation.issuing.public_key())
        return found.get_revoked_certificate_by_serial_number(lost.cert.serial_number)

    assert crl("issuing", roll.old) is not None
    assert crl("new", roll.new) is None
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), lost).status == 403


# ---- what cannot be configured

def two(settings, **kw):
    settings["cas"][1].update(kw)


@pytest.mark.parametrize("change,words", [
    (lambda s: two(s, succeeds="nobody"), 'cas "new": succeeds: there is no "nobody"'),
    (lambda s: two(s, group="others"), 'cas "new": succeeds: "issuing" is not in its group'),
    (lambda s: two(s, group=""), 'cas "new": succeeds: "issuing" is not in its group'),
    (lambda s: two(s, succeeds="new"), 'cas "new": succeeds: it would succeed itself'),
    (lambda s: s["cas"][0].update(succeeds="new"), 'cas "issuing": succeeds: it would succeed itself'),
    (lambda s: s["cas"].append(dict(s["cas"][1], name="third")), 'cas "third": succeeds: "new" succeeds "issuing" already'),
    (lambda s: s["cas"][0].update(next="ca/new.pem"), 'cas "issuing": next: "new" succeeds this CA'),
    (lambda s: two(s, certificate="ca/issuing.pem", key="file:ca/issuing.key", chain=["ca/root.pem"]),
     'cas "new": succeeds: it has the name and key of "issuing"'),
    (lambda s: two(s, cross=["ca/missing.pem"]), 'cas "new": cross: .*ca/missing.pem: No such file'),
    (lambda s: two(s, cross=["ca/new-root.pem"]), 'cas "new": cross: .*ca/new-root.pem: .*signed by itself'),
    (lambda s: two(s, cross=["tls/server.pem"]), "cross: .*tls/server.pem: certificate 1 is not a CA's"),
    (lambda s: two(s, cross=["ca/foreign.pem"]), "cross: .*ca/foreign.pem: certificate 1 was not signed by a CA of this group"),
    (lambda s: two(s, cross=["ca/vouched.pem"]), "cross: .*ca/vouched.pem: certificate 1 has not the name and key"),
    (lambda s: two(s, failover=["issuing"]), "failover"),
], ids=["no such CA", "another group", "no group", "itself", "a circle", "two successors", "next as well", "no new key",
        "no such file", "a root", "no CA", "a stranger's", "for a stranger", "a stand-in here"])
def test_mistakes_in_the_settings_of_generations_are_told(roll, gw, change, words):
    foreign_key = pki.ec_key()
    foreign = ca_cert(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "foreign")]), foreign_key)
    put(gw, "ca/foreign.pem", ca_cert(roll.old.root.subject, roll.old.root_key, foreign, foreign_key, roll.old.root))
    put(gw, "ca/vouched.pem", ca_cert(foreign.subject, foreign_key, roll.new.root, roll.new.root_key))
    roll.announce()
    gw.write()
    assert gw.check().returncode == 0
    change(gw.settings)
    gw.write()
    done = gw.check()
    assert done.returncode == 1 and re.search(words, done.stderr), done.stderr


def test_a_reload_with_a_mistake_keeps_what_is_handed_out(roll, gw):
    gw.start()
    roll.announce()
    good = list(roll.entry["cross"])
    roll.entry["cross"] = ["tls/server.pem"]
    assert "stays in force" in gw.reload()
    assert cacerts(gw) == roll.old.chain
    roll.entry["cross"] = good
    roll.reload()
    assert cacerts(gw) == roll.old.chain + roll.new.chain + roll.cross
