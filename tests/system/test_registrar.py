"""A registrar (id-kp-cmcRA) passes devices' requests on: RFC 7030, section 3.7, and RFC 6402, section 2.10."""
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import est
import pki


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_profile("registrar", eku=["clientAuth", "cmcRA"], classes=["registrar"])
    gateway.add_label("registrars", profile="registrar", auth=["certificate"])
    gateway.add_label("site", auth=["own", "registrar"])
    gateway.add_label("devices-only", auth=["own"])
    return gateway.start()


@pytest.fixture
def registrar(gw, acme, tmp_path):
    key, made = pki.ec_key(), acme.idevid()
    gw.own(made, **{"class": "registrar"})
    return made.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), made, label="registrars").cert(), key)


@pytest.fixture
def other(gw, acme):
    """Another asset, which never speaks for itself."""
    made = acme.idevid()
    gw.own(made)
    return made


def tag_of(device):
    return device.tag.removesuffix("-own")


def common_name(cert):
    return cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def test_a_registrar_enrolls_a_device_and_renews_it(gw, registrar, other):
    first = est.enroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), registrar, label="site")
    assert first.status == 200 and common_name(first.cert()) == other.tag
    again = est.reenroll(gw, pki.csr(pki.ec_key(), first.cert().subject.public_bytes()), registrar, label="site")
    assert again.status == 200, again
    assert again.cert().subject == first.cert().subject
    assert again.cert().serial_number != first.cert().serial_number
    rows = {row["serial"]: row for row in gw.certs(other.tag)}
    assert rows["%x" % again.cert().serial_number]["replaces"] == rows["%x" % first.cert().serial_number]["id"]
    detail = gw.audit("enroll.issued", other.tag)[-1]["detail"]
    assert tag_of(registrar) in str(detail)


def test_a_registrar_renews_nothing_for_a_device_without_a_certificate(gw, registrar, other):
    assert est.reenroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), registrar, label="site").status == 403
    assert gw.audit("enroll.denied", other.tag)[-1]["detail"]["reason"] == "renewal.proof"


def test_a_device_is_no_registrar(gw, device, other, tmp_path):
    """Without id-kp-cmcRA the certificate speaks for its own asset, whatever the request names."""
    key = pki.ec_key()
    mine = device.with_cert(tmp_path, est.enroll(gw, pki.csr(key, ""), device).cert(), key)
    answer = est.enroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), mine, label="site")
    assert answer.status != 200 or common_name(answer.cert()) == tag_of(mine)
    assert gw.certs(other.tag) == []


def test_a_device_of_another_class_never_becomes_a_registrar(gw, device):
    assert est.enroll(gw, pki.csr(pki.ec_key(), ""), device, label="registrars").status == 403
    assert gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"] == "asset.class"


def test_a_registrar_is_one_only_where_the_label_says_so(gw, registrar, other):
    answer = est.enroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), registrar, label="devices-only")
    assert answer.status != 200 or common_name(answer.cert()) == tag_of(registrar)
    assert gw.certs(other.tag) == []


def test_a_registrar_asks_for_no_asset_that_is_not_there_or_may_not(gw, registrar, other):
    assert est.enroll(gw, pki.csr(pki.ec_key(), "CN=nobody-knows-me"), registrar, label="site").status == 403
    gw.set_state(other, "stolen")
    assert est.enroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), registrar, label="site").status == 403
    assert gw.audit("enroll.denied", other.tag)[-1]["detail"]["reason"] == "asset.state"


def test_a_quarantined_or_revoked_registrar_speaks_for_nobody(gw, registrar, other):
    serial = "%x" % registrar.cert.serial_number
    gw.ctl("cert", "revoke", serial, "--reason", "test")
    assert est.enroll(gw, pki.csr(pki.ec_key(), "CN=" + other.tag), registrar, label="site").status == 403
    assert gw.audit("enroll.denied", other.tag)[-1]["detail"]["reason"] == "proof.revoked"
    assert gw.certs(other.tag) == []


def test_the_registrars_certificate_says_what_it_is(registrar):
    purposes = registrar.cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {p.dotted_string for p in purposes} == {"1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.28"}
