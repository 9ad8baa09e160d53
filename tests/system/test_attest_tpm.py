"""A TPM's attestation key is bound to its endorsement key here, then certifies the key that is enrolled."""
import json

import pytest
from cryptography.hazmat.primitives import serialization

import est
import evidence
import pki
import tpm as tpms

pytestmark = pytest.mark.skipif(tpms.missing() is not None, reason=str(tpms.missing()))
AK = "ecc256:ecdsa-sha256:null"
MAGIC = bytes.fromhex("badcc0de00000001")  # of the files that tpm2_activatecredential reads


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    made = tpms.Tpm(tmp_path_factory.mktemp("tpm"))
    made.ek("rsa")
    made.key("ak", AK, tpms.AK_ATTRIBUTES)
    made.key("unbound", AK, tpms.AK_ATTRIBUTES)
    made.key("signer", "ecc256:ecdsa-sha256:null")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "tpm", "method": "tpm"}]
    gateway.settings["rules"] = [{"name": "must", "action": "require", "labels": ["laptops", "others"], "attesters": ["tpm"]},
                                 {"name": "all", "action": "allow"}]
    for label in ("laptops", "others", "plain"):
        gateway.add_label(label)
    return gateway.start()


def spki_of(tpm, name):
    key = serialization.load_pem_public_key(tpm.read(name + ".pem"))
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def laptop(gw, acme, tpm):
    device = acme.idevid()
    gw.import_rows([gw.row(device, anchor=["idevid_serial:acme:" + device.serial,
                                           "ek_pub_sha256:tpm:" + pki.sha256_hex(spki_of(tpm, "ek"))])])
    return device


def bind(gw, label="laptops", **members):
    body = json.dumps({name: evidence.b64url(octets) for name, octets in members.items()}).encode()
    with est.Conn(gw) as conn:
        return conn.request("POST", est.path("tpm-bind", label), body, {"Content-Type": "application/json"})


def public(tpm, name):
    return tpm.read(name + ".pub")[2:]  # TPMT_PUBLIC


def challenge(gw, tpm, ak="ak", label="laptops"):
    answer = bind(gw, label, ek=spki_of(tpm, "ek"), ak=public(tpm, ak))
    assert answer.status == 200, answer
    return {name: evidence.unb64url(value) if isinstance(value, str) else value
            for name, value in json.loads(answer.body).items()}


def activate(tpm, given, ak="ak"):
    return tpm.activate("ek", ak, tpm.write("credential", MAGIC + given["blob"] + given["secret"]), True)


def request(tpm, name, ak, given):
    """A request whose key the TPM holds, has certified, and signs with."""
    key = tpm.read(name + ".spki")
    attribute = pki.attribute(evidence.ATTRIBUTE, tpms.bundle(*tpm.certify(name, ak, given), public(tpm, name), public(tpm, ak)))
    info = pki.csr_info(None, attributes=[attribute], public=key)
    tpm.write("info", info)
    tpm.run("tpm2_sign", "-c", name + ".ctx", "-g", "sha256", "-f", "plain", "-o", "info.sig", "info")
    return pki.csr_wrap(info, pki.ECDSA_SHA256, tpm.read("info.sig"))


def test_a_bound_key_vouches_for_the_key_that_is_enrolled(gw, tpm, laptop):
    given = challenge(gw, tpm)
    assert given["expiry"] == 300
    secret = activate(tpm, given)
    assert secret is not None
    before = request(tpm, "signer", "ak", evidence.nonce(gw, "laptops"))
    assert est.enroll(gw, before, laptop, label="laptops").status == 403, "an AK counts only when it is bound"
    done = bind(gw, token=given["token"], answer=secret)
    assert done.status == 200 and json.loads(done.body)["expiry"] == 365 * 86400
    cert = est.enroll(gw, request(tpm, "signer", "ak", evidence.nonce(gw, "laptops")), laptop, label="laptops").cert()
    assert pki.spki(cert.public_key()) == tpm.read("signer.spki")
    other = request(tpm, "signer", "unbound", evidence.nonce(gw, "laptops"))
    assert est.enroll(gw, other, laptop, label="laptops").status == 403


def test_a_wrong_answer_and_another_label_s_token_bind_nothing(gw, tpm, laptop):
    given = challenge(gw, tpm)
    secret = activate(tpm, given)
    assert bind(gw, token=given["token"], answer=b"\0" * 32).status == 403
    assert bind(gw, token=given["token"], answer=b"").status == 403
    assert bind(gw, "others", token=given["token"], answer=secret).status == 403
    assert bind(gw, token=given["token"][:-1] + b"\0", answer=secret).status == 403
    assert bind(gw, "plain", token=given["token"], answer=secret).status == 404
    assert activate(tpm, given, "unbound") is None, "the TPM gives the secret for this AK only"
    assert gw.audit("enroll.refused")[-1]["detail"]["operation"] == "tpm-bind"


def test_an_unknown_endorsement_key_a_key_that_signs_anything_and_a_quarantined_device_are_refused(gw, tpm, laptop):
    stranger = pki.spki(pki.rsa_key())
    assert bind(gw, ek=stranger, ak=public(tpm, "ak")).status == 403
    assert bind(gw, ek=spki_of(tpm, "ek"), ak=public(tpm, "signer")).status == 403
    given = challenge(gw, tpm)
    secret = activate(tpm, given)
    gw.set_state(laptop, "quarantined")
    assert bind(gw, ek=spki_of(tpm, "ek"), ak=public(tpm, "ak")).status == 403
    assert bind(gw, token=given["token"], answer=secret).status == 403
    gw.set_state(laptop, "deployed")
    assert bind(gw, token=given["token"], answer=secret).status == 200


def bindings(gateway):
    return len([row for row in gateway.audit("ak.bound")])


def test_the_same_answer_once_more_changes_nothing(gw, tpm, laptop):
    given = challenge(gw, tpm)
    secret = activate(tpm, given)
    assert bind(gw, token=given["token"], answer=secret).status == 200
    before = bindings(gw)
    with gw.database() as db:
        kept = db.execute("SELECT * FROM ak").fetchall()
    assert bind(gw, token=given["token"], answer=secret).status == 200
    assert bindings(gw) == before
    with gw.database() as db:
        assert db.execute("SELECT * FROM ak").fetchall() == kept


def test_who_tries_out_endorsement_keys_is_told_to_wait(new_gateway, tpm):
    gateway = new_gateway()
    gateway.settings["limits"] = {"auth_failures": 3}
    gateway.settings["attesters"] = [{"name": "tpm", "method": "tpm"}]
    gateway.settings["rules"] = [{"name": "must", "action": "require", "labels": ["laptops"], "attesters": ["tpm"]}]
    gateway.add_label("laptops")
    gateway.start()
    got = [bind(gateway, ek=pki.spki(pki.ec_key()), ak=public(tpm, "ak")).status for _ in range(4)]
    assert got[:3] == [403] * 3 and got[3] in (429, 503), got


@pytest.fixture(scope="module")
def vendor(tmp_path_factory):
    return evidence.Root(tmp_path_factory.mktemp("vendor"), "vendor")


@pytest.fixture(scope="module")
def three(module_gateway, vendor):
    """A gateway with attesters of which one trusts the registry alone, and each is for one label."""
    gateway = module_gateway()
    gateway.settings["attesters"] = [{"name": "lab", "method": "tpm"}, {"name": "strict", "method": "tpm", "ek_roots": [vendor.pem]},
                                     {"name": "anytpm", "method": "tpm", "identity_required": False}]
    labels = [attester["name"] for attester in gateway.settings["attesters"]]
    gateway.settings["rules"] = [{"name": name, "action": "require", "labels": [name], "attesters": [name]} for name in labels]
    gateway.settings["rules"].append({"name": "all", "action": "allow"})
    for label in labels:
        gateway.add_label(label)
    return gateway.start()


def try_to_bind(gateway, tpm, label):
    answer = bind(gateway, label, ek=spki_of(tpm, "ek"), ak=public(tpm, "ak"))
    if answer.status != 200:
        return answer.status
    given = {name: evidence.unb64url(value) if isinstance(value, str) else value for name, value in json.loads(answer.body).items()}
    return bind(gateway, label, token=given["token"], answer=activate(tpm, given)).status


def test_a_binding_is_one_attester_s_and_one_asset_s(three, acme, tpm):
    device, thief = acme.idevid(), three.own(acme.idevid())
    digest = pki.sha256_hex(spki_of(tpm, "ek"))
    three.import_rows([three.row(device, anchor=["idevid_serial:acme:" + device.serial] + [
        "ek_pub_sha256:%s:%s" % (name, digest) for name in ("lab", "strict", "anytpm")])])
    # Each label has the attester that its own rules name: a bare key is not the strict one's.
    assert try_to_bind(three, tpm, "strict") == 403
    assert try_to_bind(three, tpm, "lab") == 200

    def enroll(who, label):
        return est.enroll(three, request(tpm, "signer", "ak", evidence.nonce(three, label)), who, label=label).status

    assert enroll(device, "lab") == 200
    assert enroll(device, "strict") == 403
    assert enroll(device, "anytpm") == 403
    assert try_to_bind(three, tpm, "anytpm") == 200
    assert enroll(thief, "anytpm") == 403, "another asset's, even where nobody asks whose"
    assert "another asset" in json.dumps(three.audit("enroll.denied", thief.tag)[-1]["detail"]) or device.tag in json.dumps(
        three.audit("enroll.denied", thief.tag)[-1]["detail"])
    assert enroll(device, "anytpm") == 200
