"""Devices with a TPM 2.0, end to end: devsim and a swtpm against the gateway, judged by python3-cryptography."""
import copy
import hashlib
import json
import os
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

import est
import evidence
import pki
import tpm_device
from tpm_device import LABELS, attestations, decisions, devsim, issued

EKU_AK = ObjectIdentifier("2.23.133.8.3")


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return tpm_device.maker(tmp_path_factory.mktemp("maker"))


@pytest.fixture(scope="module")
def chip(tmp_path_factory, maker):
    """A laptop's TPM."""
    yield from tpm_device.chip(tmp_path_factory.mktemp("chip"), maker)


@pytest.fixture(scope="module")
def ak_ca(tmp_path_factory):
    """Who certifies attestation keys."""
    return evidence.Root(tmp_path_factory.mktemp("ak"), "ak-ca")


@pytest.fixture(scope="module")
def gw(module_gateway, maker, chip, ak_ca):
    gateway = module_gateway()
    tpm_device.configure(gateway, maker, ak_ca.pem)
    return gateway.start()


@pytest.fixture(scope="module")
def owned(gw, acme, chip):
    return tpm_device.laptop(gw, acme, chip)


@pytest.fixture
def laptop(owned):
    """It has a factory certificate, a TPM, and a place in the registry."""
    return copy.copy(owned)


def test_devsim_and_tpm2_tools_agree_about_a_tpm(chip):
    for kind in ("rsa", "ecc"):
        shown = tpm_device.show(chip, kind)
        chip.ek(kind)
        public = serialization.load_pem_public_key(chip.read("ek.pem"))
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert shown["ek_sha256"] == hashlib.sha256(der).hexdigest()
        assert (shown["ek_certificate"] is not None) == (kind == "rsa")
    assert len(bytes.fromhex(shown["ak_name"])) == 34
    text = tpm_device.show(chip, "rsa", as_json=False)
    assert "endorsement key  RSA-2048" in text and "CN=swtpm-localca" in text


@pytest.mark.parametrize("ek", ["rsa", "ecc"])
def test_a_key_in_a_tpm_is_certified(gw, laptop, chip, tmp_path, ek):
    label = LABELS[ek]
    code, told = devsim(gw, laptop, chip, tmp_path, "--tpm-ek", ek, label=label)
    assert code == 0 and told["attestation_key_bound_now"]
    cert = issued(gw, told)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == laptop.tag
    assert isinstance(cert.public_key().curve, ec.SECP256R1)
    # The key is nowhere but in the TPM; what is kept of it is for its owner's eyes all the same.
    kept = told["key_file"]
    assert kept.endswith(".tpm") and stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert set(json.load(open(kept))) == {"template", "bound"}
    assert not os.path.exists(kept[:-4] + ".key")
    judged = attestations(gw, laptop)[-1]
    assert len(judged) == 1 and judged[0]["valid"] and judged[0]["fresh"] and judged[0]["key_bound"] and judged[0]["of_asset"]
    assert judged[0]["attester"] == LABELS[ek] and judged[0]["claims"]["tpm.ek"] == tpm_device.show(chip, ek)["ek_sha256"]
    outcome, rules = decisions(gw, laptop)[-1]
    assert outcome == "issued"
    verdicts = {name: verdict for name, verdict, _ in rules}
    for name in ("present", "valid", "fresh", "key", "identity"):
        assert verdicts["attestation." + name] == "pass", rules
    assert "fail" not in verdicts.values()
    audit = [row["action"] for row in gw.audit(subject=laptop.tag)]
    assert {"ak.bound", "enroll.issued"} <= set(audit), audit


def test_it_is_renewed_with_the_key_in_the_handshake(gw, laptop, chip, tmp_path):
    code, told = devsim(gw, laptop, chip, tmp_path)
    assert code == 0
    first = issued(gw, told)
    mine = laptop.with_cert(tmp_path, first)  # for its name
    mine.stem = told["certificate_file"][:-4]
    for version in ("1.2", "1.3"):
        code, told = devsim(gw, mine, chip, tmp_path / version, "--op", "reenroll", "--tls", version)
        assert code == 0 and not told["attestation_key_bound_now"], told
        second = issued(gw, told)
        assert second.subject == first.subject and pki.spki(second) != pki.spki(first)
        mine.stem = told["certificate_file"][:-4]
    # ... and with the same key, which its template brings back.
    code, told = devsim(gw, mine, chip, tmp_path / "same", "--op", "reenroll", "--reuse-key")
    assert code == 0 and pki.spki(issued(gw, told)) == pki.spki(second)


@pytest.fixture
def other_chip(tmp_path, maker):
    yield from tpm_device.chip(tmp_path / "other", maker)


def test_the_key_of_another_tpm_is_told_before_anything_is_sent(gw, laptop, chip, other_chip, tmp_path):
    code, told = devsim(gw, laptop, chip, tmp_path)
    assert code == 0
    laptop.stem = told["certificate_file"][:-4]
    code, told = devsim(gw, laptop, other_chip, tmp_path / "out", "--op", "reenroll")
    assert code == 2 and "TPM" in told["error"]


def test_an_attestation_key_is_bound_once(gw, laptop, chip, tmp_path):
    assert devsim(gw, laptop, chip, tmp_path)[1]["attestation_key_bound_now"]
    bound = tpm_device.bindings(gw)
    # NAME.tpm remembers it.
    code, told = devsim(gw, laptop, chip, tmp_path)
    assert code == 0 and not told["attestation_key_bound_now"]
    assert tpm_device.bindings(gw) == bound
    assert devsim(gw, laptop, chip, tmp_path, "--tpm-bind", "always")[1]["attestation_key_bound_now"]


def test_an_attestation_key_with_a_certificate_needs_no_binding(gw, laptop, chip, tmp_path, ak_ca):
    public = tpm_device.ak_key(chip)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AK")])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(ak_ca.cert.subject).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=1))
            .not_valid_after(pki.ahead(days=30)).add_extension(x509.ExtendedKeyUsage([EKU_AK]), False)
            .sign(ak_ca.key, hashes.SHA256()))
    path = tmp_path / "ak.pem"
    path.write_bytes(pki.cert_pem(cert))
    code, told = devsim(gw, laptop, chip, tmp_path, "--tpm-ak-cert", path, label="certified")
    assert code == 0 and not told["attestation_key_bound_now"], told
    assert attestations(gw, laptop)[-1][0]["claims"]["tpm.ak"] == "certificate"
    # Without it, a bound key does not help at this label.
    code, told = devsim(gw, laptop, chip, tmp_path, "--tpm-bind", "never", label="certified")
    assert code == 3 and tpm_device.reason(gw, laptop) == "attestation.valid"


def test_a_request_that_waits_needs_no_second_nonce(gw, laptop, chip, tmp_path):
    code, told = devsim(gw, laptop, chip, tmp_path, label="manual")
    assert code == 4, told
    request = told["request_file"]
    assert os.path.exists(request + ".tpm")
    gw.restart()
    nonces = gw.metrics().get("enrolld_nonces_total", 0)
    assert devsim(gw, laptop, None, tmp_path, "--repeat-csr", request, label="manual")[0] == 4
    waiting = gw.ctl("request", "list", "--asset", laptop.tag, "--state", "pending")
    gw.ctl("request", "approve", waiting[0]["id"])
    # The TPM is not needed to fetch it: what was asked for is repeated, octet for octet.
    code, told = devsim(gw, laptop, None, tmp_path, "--repeat-csr", request, label="manual")
    assert code == 0
    issued(gw, told)
    assert gw.metrics().get("enrolld_nonces_total", 0) == nonces
    assert told["key_file"].endswith(".tpm")
    # And the certificate's key is that of the template which was kept.
    laptop.stem = told["certificate_file"][:-4]
    assert devsim(gw, laptop, chip, tmp_path / "renewed", "--op", "reenroll")[0] == 0


def test_csrattrs_asks_for_evidence_of_the_tpm(gw):
    assert pki.oid(evidence.ATTRIBUTE) in est.get(gw, "csrattrs", "tpm").der()
