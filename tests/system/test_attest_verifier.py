"""Evidence that an external verifier judges: asked once, believed only when fresh, signed and good; fail closed."""
import pytest

import ear_server
import est
import evidence
import pki

TYPE = "1.3.6.1.4.1.99999.1"


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    with ear_server.EarServer(tmp_path_factory.mktemp("ear")) as server:
        yield server


@pytest.fixture(scope="module")
def gw(module_gateway, verifier):
    gateway = module_gateway()
    gateway.settings["attesters"] = [dict(
        verifier.settings(), name="veraison", method="ear", statement_type=TYPE,
        media_type="application/psa-attestation-token", identity_claim="submods.psa.device")]
    gateway.settings["rules"] = [{"name": "must", "action": "require", "attesters": ["veraison"]},
                                 {"name": "all", "action": "allow"}]
    gateway.add_label("manual", approval="manual")
    return gateway.start()


@pytest.fixture
def device(gw, acme, verifier):
    verifier.status, verifier.switch = "affirming", None
    device = acme.idevid()
    gw.import_rows([gw.row(device, anchor=["idevid_serial:acme:" + device.serial,
                                           "idevid_serial:veraison:psa-" + device.serial])])
    verifier.device = "psa-" + device.serial
    return device


def statement(given, octets=b"opaque evidence"):
    return pki.seq(pki.seq(pki.seq(pki.oid(TYPE), pki.seq(pki.octets(given), pki.octets(octets)))))


def ask(gw, device, label="", given=None, key=None):
    key = key or pki.ec_key()
    given = evidence.nonce(gw, label) if given is None else given
    return est.enroll(gw, evidence.csr(key, statement(given)), device, label=label)


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def test_a_good_result_gets_a_certificate_and_binds_nonce_and_key(gw, device, verifier):
    key, given = pki.ec_key(), evidence.nonce(gw)
    before = len(verifier.seen)
    ask(gw, device, given=given, key=key).cert()
    assert verifier.seen[before:] == [(ear_server.b64url(ear_server.session_nonce(given, pki.spki(key))),
                                       "application/psa-attestation-token", b"opaque evidence")]


@pytest.mark.parametrize("status", ["warning", "contraindicated", "none"])
def test_a_worse_status_is_refused(gw, device, verifier, status):
    verifier.status = status
    assert ask(gw, device).status == 403
    assert reason(gw, device) == "attestation.valid"


@pytest.mark.parametrize("switch", ["other key", "other nonce", "old", "half"])
def test_a_result_that_is_not_the_verifier_s_word_on_this_request_is_refused(gw, device, verifier, switch):
    verifier.switch = switch
    assert ask(gw, device).status == 403
    assert reason(gw, device) == "attestation.valid"


def test_a_result_about_another_device_is_refused(gw, device, verifier):
    verifier.device = "psa-unknown"
    assert ask(gw, device).status == 403
    assert reason(gw, device) == "attestation.identity"


@pytest.mark.parametrize("switch", ["error", "no result"])
def test_without_an_answer_nothing_is_issued_and_the_device_comes_again(gw, device, verifier, switch):
    verifier.switch = switch
    key, given = pki.ec_key(), evidence.nonce(gw)
    request = evidence.csr(key, statement(given))
    answer = est.enroll(gw, request, device)
    assert answer.status == 503 and answer.get("Retry-After")
    assert not gw.certs(device.tag)
    assert gw.metrics()["enrolld_verifier_calls_failed_total"] >= 1
    verifier.switch = None
    est.enroll(gw, request, device).cert()


def test_a_wrong_nonce_is_refused_without_a_question(gw, device, verifier):
    before = len(verifier.seen)
    for given in (b"", b"n" * 32, evidence.nonce(gw, "manual")):
        assert ask(gw, device, given=given).status == 403
        assert reason(gw, device) == "attestation.valid"
    used = evidence.nonce(gw)
    ask(gw, device, given=used).cert()
    assert ask(gw, device, given=used).status == 403
    assert len(verifier.seen) == before + 1


def test_a_request_that_waits_is_asked_about_once(gw, device, verifier):
    key, given = pki.ec_key(), evidence.nonce(gw, "manual")
    request = evidence.csr(key, statement(given))
    before = len(verifier.seen)
    assert est.enroll(gw, request, device, label="manual").status == 202
    verifier.switch = "error"
    assert est.enroll(gw, request, device, label="manual").status == 202
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"])
    est.enroll(gw, request, device, label="manual").cert()
    assert len(verifier.seen) == before + 1


def test_a_statement_of_another_form_is_malformed(gw, device):
    for stmt in (b"\x05\x00", pki.octets(b"x"), pki.seq(pki.octets(b"x"))):
        request = evidence.csr(pki.ec_key(), pki.seq(pki.seq(pki.seq(pki.oid(TYPE), stmt))))
        assert est.enroll(gw, request, device).status == 400


def test_readyz_says_how_the_verifier_answered(gw, device, verifier):
    ask(gw, device).cert()
    assert "verifier veraison: ok\n" in gw.admin_get("/readyz")[1]
    verifier.switch = "error"
    assert ask(gw, device).status == 503
    status, text = gw.admin_get("/readyz")
    assert status == 200 and "verifier veraison: its latest call brought no answer" in text
