"""What a device with a TPM may not get away with: every check over the wire, with real TPMs."""
import base64
import copy
import json

import pytest

import est
import evidence
import tpm_device
from tpm_device import attestations, bindings, decisions, devsim, reason


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return tpm_device.maker(tmp_path_factory.mktemp("maker"))


@pytest.fixture(scope="module")
def chip(tmp_path_factory, maker):
    yield from tpm_device.chip(tmp_path_factory.mktemp("chip"), maker)


@pytest.fixture(scope="module")
def other_chip(tmp_path_factory, maker):
    yield from tpm_device.chip(tmp_path_factory.mktemp("other"), maker)


@pytest.fixture
def new_chip(tmp_path, maker):
    yield from tpm_device.chip(tmp_path / "new", maker)


@pytest.fixture(scope="module")
def gw(module_gateway, maker, chip):
    gateway = module_gateway()
    tpm_device.configure(gateway, maker)
    return gateway.start()


def bound(gw, acme, chip, folder):
    """A laptop whose attestation key is bound: it has a certificate already."""
    device = tpm_device.laptop(gw, acme, chip)
    assert devsim(gw, device, chip, folder)[0] == 0
    return device


@pytest.fixture(scope="module")
def laptop(gw, acme, chip, tmp_path_factory):
    return bound(gw, acme, chip, tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def other(gw, acme, other_chip, tmp_path_factory):
    return bound(gw, acme, other_chip, tmp_path_factory.mktemp("other-laptop"))


def why(gw, device):
    """What the evidence failed by, in the words of the decision."""
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["sentence"]


def refused(gw, device, chip, folder, *options, check=None, label="tpm"):
    """Refused, for this reason, and with no word of it on the wire."""
    before = len(gw.certs(device.tag))
    code, told = devsim(gw, device, chip, folder, *options, label=label)
    assert code == 3 and told["status"] == 403 and "policy" in told["reason"], told
    assert "certificate" not in told and len(gw.certs(device.tag)) == before
    if check is not None:
        assert reason(gw, device) == "attestation.valid"
        assert check in why(gw, device)
    return told


def test_no_evidence(gw, laptop, chip, tmp_path):
    refused(gw, laptop, chip, tmp_path, "--evidence", "none")
    assert reason(gw, laptop) == "attestation.present"
    assert devsim(gw, laptop, None, tmp_path, label="plain")[0] == 0


@pytest.mark.parametrize("evidence_kind, check", [
    ("wrong-nonce", "tpm.nonce"), ("no-nonce", "tpm.nonce"), ("other-key", "tpm.key"), ("borrowed", "tpm.key")])
def test_evidence_that_is_not_of_this_request(gw, laptop, chip, tmp_path, evidence_kind, check):
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--evidence", evidence_kind, check=check)


def test_a_nonce_that_was_used(gw, laptop, chip, tmp_path):
    given = evidence.nonce(gw, "tpm").hex()
    assert devsim(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--nonce", given)[0] == 0
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--nonce", given, check="tpm.nonce")


def test_a_nonce_of_another_label(gw, laptop, chip, tmp_path):
    given = evidence.nonce(gw, "tpm-bare").hex()
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--nonce", given, check="tpm.nonce")
    # It has not been used up by that.
    assert devsim(gw, laptop, chip, tmp_path, "--tpm-bind", "always", "--nonce", given, label="tpm-bare")[0] == 0
    assert devsim(gw, laptop, chip, tmp_path, "--tpm-bind", "always")[0] == 0


def test_the_tpm_of_another_device(gw, laptop, other, other_chip, tmp_path):
    """Everything is right but whose it is: a stolen factory key beside one's own good TPM."""
    refused(gw, laptop, other_chip, tmp_path, "--tpm-bind", "never", check="identity.asset")
    assert other.tag in why(gw, laptop)


def test_another_device_s_attestation_key_did_not_sign_this(gw, laptop, other, chip, other_chip, tmp_path):
    area = tmp_path / "ak"
    area.write_bytes(base64.b64decode(tpm_device.show(other_chip)["ak_public"]))
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--evidence-ak", area, check="tpm.signature")
    # Nor does a key that was never an attestation key become one.
    area.write_bytes(area.read_bytes()[:-1] + b"\0")
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--evidence-ak", area, check="tpm.form")


def test_an_attestation_key_that_nobody_has_bound(gw, acme, new_chip, tmp_path):
    device = tpm_device.laptop(gw, acme, new_chip)
    refused(gw, device, new_chip, tmp_path, "--tpm-bind", "never", check="tpm.ak")
    told = refused(gw, device, new_chip, tmp_path, "--tpm-bind", "wrong")
    assert told["error"].startswith("/tpm-bind: ")
    assert "not what was encrypted" in gw.audit("enroll.refused")[-1]["detail"]["reason"]
    # The wrong answer has bound nothing; the right one does.
    refused(gw, device, new_chip, tmp_path, "--tpm-bind", "never", check="tpm.ak")
    assert devsim(gw, device, new_chip, tmp_path)[0] == 0


def test_an_endorsement_key_that_nobody_owns(gw, acme, new_chip, tmp_path):
    device = gw.own(acme.idevid())
    before = bindings(gw)
    told = refused(gw, device, new_chip, tmp_path)
    assert told["error"].startswith("/tpm-bind: ") and bindings(gw) == before
    refusal = gw.audit("enroll.refused")[-1]["detail"]
    assert refusal["operation"] == "tpm-bind" and tpm_device.show(new_chip)["ek_sha256"] in refusal["reason"]


@pytest.fixture(params=["no certificate", "another manufacturer's"])
def doubtful(request, tmp_path):
    yield from tpm_device.bare_chip(tmp_path / "chip") if request.param == "no certificate" else \
        tpm_device.chip(tmp_path / "chip", tpm_device.maker(tmp_path / "elsewhere"))


def test_an_endorsement_key_that_no_manufacturer_vouches_for(gw, acme, doubtful, tmp_path):
    device = tpm_device.laptop(gw, acme, doubtful, keys=[("tpm", "rsa")])
    told = refused(gw, device, doubtful, tmp_path)
    assert told["error"].startswith("/tpm-bind: ")
    assert gw.audit("enroll.refused")[-1]["detail"]["operation"] == "tpm-bind"


def test_a_binding_that_a_laxer_attester_took_is_nothing_to_a_stricter_one(gw, acme, doubtful, tmp_path):
    device = tpm_device.laptop(gw, acme, doubtful, keys=[("tpm", "rsa"), ("tpm-bare", "rsa")])
    # Where the registry alone has to vouch, it is taken.
    assert devsim(gw, device, doubtful, tmp_path, label="tpm-bare")[0] == 0
    refused(gw, device, doubtful, tmp_path, "--tpm-bind", "never", check="tpm.ak")
    refused(gw, device, doubtful, tmp_path, "--tpm-bind", "always")


def test_the_tpm_of_a_stolen_laptop(gw, acme, new_chip, tmp_path):
    device = bound(gw, acme, new_chip, tmp_path)
    thief = copy.copy(device)
    gw.set_state(device, "stolen")
    # Its attestation key is bound from before ...
    refused(gw, thief, new_chip, tmp_path, "--tpm-bind", "never")
    assert reason(gw, device) == "asset.state"
    # ... and no other will be.
    told = refused(gw, thief, new_chip, tmp_path, "--tpm-bind", "always")
    assert told["error"].startswith("/tpm-bind: ")
    assert "stolen" in gw.audit("enroll.refused")[-1]["detail"]["reason"]
    assert gw.certs(device.tag)[0]["status"] == "revoked"


def test_a_refusal_leaves_a_row_that_names_the_check(gw, laptop, chip, tmp_path):
    rows = len(decisions(gw, laptop))
    kept = len(attestations(gw, laptop))
    refused(gw, laptop, chip, tmp_path, "--tpm-bind", "never", "--evidence", "wrong-nonce", check="tpm.nonce")
    assert len(decisions(gw, laptop)) == rows + 1 and len(attestations(gw, laptop)) >= kept
    outcome, rules = decisions(gw, laptop)[-1]
    assert outcome == "denied" and ["attestation.valid", "fail"] in [rule[:2] for rule in rules]


@pytest.mark.parametrize("question, status", [
    ({"token": "AAAA", "answer": "AAAA"}, 403), ({"token": "AAAA", "answer": "AAAA", "ek": "AAAA"}, 400),
    ({"ek": "AAAA", "ak": "AAAA"}, 400), ({"ek": "", "ak": ""}, 400), ({"ek": "A"}, 400), ({"ek": 1}, 400), ({}, 400)])
def test_questions_that_make_no_sense(gw, question, status):
    with est.Conn(gw) as conn:
        answer = conn.request("POST", est.path("tpm-bind", "tpm"), json.dumps(question).encode(),
                              {"Content-Type": "application/json"})
    assert answer.status == status, answer
    assert not bindings(gw) or all(len(row[0]) == 64 for row in bindings(gw))


def test_a_label_that_wants_no_tpm_binds_none(gw, laptop, chip, tmp_path):
    code, told = devsim(gw, laptop, chip, tmp_path, label="plain")
    assert code == 5 and told["status"] == 404 and told["error"].startswith("/tpm-bind: ")


def test_devsim_says_what_does_not_go_together(gw, laptop, chip, tmp_path):
    for options, word in ((["--key", "ec:P-384"], "--key"), (["--op", "keygen"], "--op"), (["--nonce", "zz"], "--nonce"),
                          (["--reuse-key"], "--reuse-key"), (["--tpm", "nothing-like-that"], "no TPM")):
        code, told = devsim(gw, laptop, chip, tmp_path, *options, "--tpm-bind", "never") if options[0] != "--tpm" else \
            devsim(gw, laptop, None, tmp_path, *options)
        assert code in (1, 2) and word in told["error"], told
    code, told = devsim(gw, laptop, None, tmp_path, "--evidence", "none")
    assert code == 2 and "need --tpm" in told["error"]
