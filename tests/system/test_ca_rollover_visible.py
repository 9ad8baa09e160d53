"""What operators see of a rollover: who has fetched the new CA's certificates, who still uses the old one, and when it may go."""
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

import est
import pki
from gateway import Refused, binary, run

FETCHED = 'enrolld_ca_certificates_fetched_total{how="cacerts",known="%s"}'


def self_signed(name, days):
    key = pki.ec_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(pki.ago(days=1)).not_valid_after(pki.ahead(days=days))
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False).sign(key, hashes.SHA256()))
    return cert, key


def add_generation(gw, name="new", **kw):
    """A CA with a top of its own, in the group of "issuing"."""
    cert, key = self_signed(name, 3000)
    pki.write_pair("%s/ca/%s" % (gw.dir, name), cert, key)
    gw.settings["cas"][0]["group"] = "fleet"
    gw.settings["cas"].append(dict({"name": name, "group": "fleet", "certificate": "ca/%s.pem" % name,
                                    "key": "file:ca/%s.key" % name}, **kw))
    return cert


def enrolled(gw, acme, folder):
    """A device with a certificate of ours, which it uses from now on."""
    device = gw.own(acme.idevid())
    key = pki.ec_key()
    cert = est.enroll(gw, pki.csr(key, ""), device).cert()
    own = device.with_cert(folder, cert, key)
    own.tag = device.tag
    return own


def renew(gw, device):
    return est.reenroll(gw, pki.csr(device.key, ""), device).cert()


def generations(gw, *args):
    return {row["ca"]: row for row in gw.ctl("ca", "rollover", *args)}


def behind(gw, *args):
    return gw.ctl("ca", "rollover", "issuing", "--behind", *args)


def end_of(cert):
    return cert.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_rollover_is_seen_from_the_first_fetch_to_the_last_renewal(new_gateway, acme, tmp_path):
    gw = new_gateway()
    gw.start()
    first, second = enrolled(gw, acme, tmp_path), enrolled(gw, acme, tmp_path)
    assert gw.ctl("ca", "rollover") == []
    alone = generations(gw, "issuing")["issuing"]
    assert (alone["role"], alone["group"], alone["certificates"], alone["know"]) == ("issuing", "", 2, 0)

    # The new CA is there, and no label names it yet.
    new = add_generation(gw, succeeds="issuing")
    assert "is in force" in gw.reload()
    rows = generations(gw)
    assert {ca: row["role"] for ca, row in rows.items()} == {"issuing": "issuing", "new": "next"}
    assert [rows["new"][key] for key in ("certificates", "devices", "know", "group_devices", "last_end")] == [0, 0, 0, 2, None]
    assert rows["new"]["not_after"] == end_of(new)
    assert rows["issuing"]["last_end"] == max(end_of(first.cert), end_of(second.cert))

    # One device fetches as itself, one as nobody, one with its maker's certificate.
    assert new in est.get(gw, "cacerts", device=first).certs()
    assert est.get(gw, "cacerts").status == 200
    assert est.get(gw, "cacerts", device=gw.own(acme.idevid())).status == 200
    rows = generations(gw, "new")
    assert (rows["issuing"]["know"], rows["new"]["know"]) == (1, 1)
    assert (gw.metrics()[FETCHED % "yes"], gw.metrics()[FETCHED % "no"]) == (1, 2)
    assert behind(gw) == []

    # Labels issue from it: both are behind, the one that ends first comes first.
    gw.settings["labels"][0]["ca"] = "new"
    assert "is in force" in gw.reload()
    assert {ca: row["role"] for ca, row in generations(gw).items()} == {"issuing": "previous", "new": "issuing"}
    rows = behind(gw)
    assert [(row["asset"], row["ca"], row["not_after"]) for row in rows] == \
        [(device.tag, "issuing", end_of(device.cert)) for device in (first, second)]
    assert rows[0]["knows_since"] is not None and rows[1]["knows_since"] is None
    assert rows[0]["owner"] == "Operations" and int(rows[0]["serial"], 16) == first.cert.serial_number
    assert behind(gw, "--limit", "1") == rows[:1]
    assert behind(gw, "--after", str(rows[0]["id"])) == rows[1:]

    # Who renews leaves the list.
    assert renew(gw, first).issuer == new.subject
    assert [row["asset"] for row in behind(gw)] == [second.tag]
    assert renew(gw, second).issuer == new.subject
    assert behind(gw) == []
    rows = generations(gw)
    assert (rows["new"]["devices"], rows["new"]["group_devices"]) == (2, 2)


def test_what_a_device_knows_outlives_a_restart_and_is_asked_once(new_gateway, acme, tmp_path):
    gw = new_gateway()
    add_generation(gw, succeeds="issuing")
    gw.start()
    device = enrolled(gw, acme, tmp_path)
    assert gw.ctl("asset", "show", device.tag)["knows"] == []
    est.get(gw, "cacerts", device=device)
    knows = gw.ctl("asset", "show", device.tag)["knows"]
    assert [(row["ca"], row["how"]) for row in knows] == [("issuing", "cacerts"), ("new", "cacerts")]
    assert "knows CA" in gw.ctl("asset", "show", device.tag, json_out=False)
    before = gw.metrics()["enrolld_store_writes_total"]
    with est.Conn(gw, device) as conn:
        for _ in range(30):
            assert conn.request("GET", est.path("cacerts")).status == 200
    assert gw.metrics()["enrolld_store_writes_total"] == before
    rows = len(gw.audit("ca.certificates"))
    assert rows == 2  # one for each CA, whoever fetches
    gw.restart()
    assert gw.ctl("asset", "show", device.tag)["knows"] == knows
    assert len(gw.audit("ca.certificates")) == rows


def test_certificates_that_were_revoked_know_nothing_and_count_for_nothing(new_gateway, acme, tmp_path):
    gw = new_gateway()
    add_generation(gw, succeeds="issuing")
    gw.start()
    device, lost = enrolled(gw, acme, tmp_path), enrolled(gw, acme, tmp_path)
    est.get(gw, "cacerts", device=lost)
    gw.set_state(lost, "lost")
    gw.ctl("cert", "revoke", "%x" % device.cert.serial_number, "--reason", "test")
    est.get(gw, "cacerts", device=device)
    assert gw.ctl("asset", "show", device.tag)["knows"] == []
    row = generations(gw)["issuing"]
    assert (row["certificates"], row["devices"], row["know"], row["group_devices"]) == (0, 0, 0, 0)


def test_people_get_a_table_and_a_sentence_that_teaches(new_gateway, acme, tmp_path):
    gw = new_gateway()
    add_generation(gw, succeeds="issuing")
    gw.start()
    device = enrolled(gw, acme, tmp_path)
    lines = gw.ctl("ca", "rollover", json_out=False).splitlines()
    assert "know it" in lines[0] and "last one ends" in lines[0]
    assert any("issuing" in line for line in lines[1:]) and any("next" in line for line in lines[1:])
    gw.settings["labels"][0]["ca"] = "new"
    gw.reload()
    lines = gw.ctl("ca", "rollover", "new", "--behind", json_out=False).splitlines()
    assert "knows the next since" in lines[0] and any(device.tag in line for line in lines[1:])
    text = run(binary("enrollctl"), "ca", "rollover", "--help").stdout
    assert "A rollover replaces an issuing CA by its successor" in text and "--behind" in text


@pytest.mark.parametrize("args, code, part", [(("gone",), 1, 'no CA "gone"'), (("--behind",), 1, "name of a CA"),
                                              (("issuing", "--limit", "3"), 1, "--behind"),
                                              (("issuing", "--after", "x"), 2, "not a number")])
def test_mistakes_are_told(new_gateway, args, code, part):
    gw = new_gateway()
    gw.start()
    with pytest.raises(Refused) as refused:
        gw.ctl("ca", "rollover", *args)
    assert refused.value.code == code and part in refused.value.text
