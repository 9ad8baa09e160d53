"""A laptop with a TPM, and a gateway that wants to hear of it."""
import base64
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tpm
from gateway import binary, run

# Whose endorsement keys come with certificates and whose do not: two attesters, and a label for each, named alike.
LABELS = {"rsa": "tpm", "ecc": "tpm-bare"}


def maker(folder):
    assert tpm.missing() is None, tpm.missing()
    return tpm.Maker(folder)


def chip(folder, made_by):
    made = tpm.MadeTpm(folder, made_by)
    try:
        yield made
    finally:
        made.stop()


def bare_chip(folder):
    """One without a certificate in it."""
    made = tpm.Tpm(folder)
    try:
        yield made
    finally:
        made.stop()


def configure(gateway, made_by, ak_roots=None):
    attesters = [
        {"name": "tpm", "method": "tpm", "ek_roots": made_by.roots},
        {"name": "tpm-bare", "method": "tpm"},
    ]
    rules = [{"name": name, "action": "require", "labels": [name], "attesters": [name]} for name in LABELS.values()]
    rules.append({"name": "manual", "action": "require", "labels": ["manual"], "operations": ["enroll"],
                  "attesters": ["tpm"]})
    for label in LABELS.values():
        gateway.add_label(label)
    gateway.add_label("manual", approval="manual", operations=["enroll"])
    gateway.add_label("plain")
    if ak_roots is not None:
        attesters.append({"name": "ak-ca", "method": "tpm", "roots": [ak_roots], "ak_by_certificate": True,
                          "ak_by_binding": False, "identity_required": False})
        rules.append({"name": "certified", "action": "require", "labels": ["certified"], "attesters": ["ak-ca"]})
        gateway.add_label("certified")
    rules.append({"name": "all", "action": "allow"})
    gateway.settings["attesters"] = attesters
    gateway.settings["rules"] = rules


def laptop(gateway, acme, chip_, keys=(("tpm", "rsa"), ("tpm-bare", "rsa"), ("tpm-bare", "ecc"))):
    """A device with a factory certificate whose TPM is in the registry; keys: for which attesters, which of its keys."""
    device = acme.idevid()
    anchors = ["ek_pub_sha256:%s:%s" % (attester, show(chip_, ek)["ek_sha256"]) for attester, ek in keys]
    gateway.import_rows([gateway.row(device, anchor=["idevid_serial:acme:" + device.serial] + anchors)])
    return device


def show(chip_, ek="rsa", as_json=True):
    done = run(binary("devsim"), "tpm", "show", "--tpm", chip_.tcti, "--tpm-ek", ek, *(["--json"] if as_json else []))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if as_json else done.stdout


def ak_key(chip_):
    """The attestation key, from the end of its TPMT_PUBLIC: two coordinates with their sizes."""
    area = base64.b64decode(show(chip_)["ak_public"])
    assert area[-68:-66] == area[-34:-32] == b"\x00\x20"
    x, y = area[-66:-34], area[-32:]
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()


def devsim(gateway, device, chip_, out, *options, label="tpm"):
    """(exit code, what it told)"""
    words = ["--url", "https://localhost:%d" % gateway.port, "--cacert", gateway.root, "--label", label, "--device",
             device.stem, "--out", out, "--json", *options]
    if chip_ is not None:
        words += ["--tpm", chip_.tcti]
    done = run(binary("devsim"), "enroll", *words)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def issued(gateway, told):
    """The certificate in the file, which the gateway's CA has signed."""
    with open(told["certificate_file"], "rb") as file:
        cert = x509.load_pem_x509_certificate(file.read())
    with open(gateway.issuing, "rb") as file:
        pki.verify(x509.load_pem_x509_certificate(file.read()), cert)
    return cert


def reason(gateway, device):
    return gateway.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


def _rows(gateway, text, *parameters):
    with gateway.database() as db:
        return db.execute(text, parameters).fetchall()


def attestations(gateway, device):
    """What the evidence of each of its requests came to."""
    return [json.loads(row[0]) for row in _rows(
        gateway, "SELECT e.json FROM request_attestation e JOIN request r ON r.id = e.id JOIN asset a "
        "ON a.id = r.asset_id WHERE a.tag = ? ORDER BY e.id", device.tag)]


def decisions(gateway, device):
    """[(outcome, rules)]"""
    return [(outcome, json.loads(rules)) for outcome, rules in _rows(
        gateway, "SELECT d.outcome, d.rules_json FROM decision d JOIN asset a ON a.id = d.asset_id "
        "WHERE a.tag = ? ORDER BY d.id", device.tag)]


def bindings(gateway):
    return _rows(gateway, "SELECT hex(spki_sha256), ek_sha256, asset_id, bound_s FROM ak")
