"""The threats that the gateway has to stand, each tried."""
import json
import os
import re
import resource
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import est
import pki
from gateway import run

BASIC_CONSTRAINTS, KEY_USAGE, EKU = "2.5.29.19", "2.5.29.15", "2.5.29.37"
CA_TRUE = pki.extension(BASIC_CONSTRAINTS, pki.seq(pki.boolean(True)), True)
KILO = 1024


@pytest.fixture(scope="module")
def gw(module_gateway, acme, globex):
    gateway = module_gateway(acme, globex)
    gateway.settings["trust"][1]["accept_expired"] = True
    gateway.settings["labels"][0]["trust"] = ["acme"]
    gateway.add_profile("named", csr_names="match")
    gateway.add_profile("brief", lifetime="2s", renewal_window="2s", backdate="0s")
    gateway.add_profile("moving", allow_subject_change=True)
    gateway.add_profile("fresh-keys", allow_key_reuse=False)
    gateway.add_label("named", profile="named")
    gateway.add_label("brief", profile="brief")
    gateway.add_label("grace", profile="brief", expired_grace="30d")
    gateway.add_label("moving", profile="moving")
    gateway.add_label("fresh-keys", profile="fresh-keys")
    gateway.add_label("globex", trust=["globex"])
    return gateway.start()


@pytest.fixture
def owned(gw, device, tmp_path):
    """The device with a certificate of ours."""
    key = pki.ec_key()
    return device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device).cert(), key)


def own_names(device):
    return "CN=%s,O=Operations,serialNumber=%s" % (device.tag.replace("-own", ""), device.serial)


def refused(gw, answer, device, reason, status=403, certs=0):
    """The answer says no, the audit says why, and nothing was issued."""
    assert answer.status == status, answer
    tag = device.tag.replace("-own", "")
    assert gw.audit("enroll.denied", tag)[-1]["detail"]["reason"] == reason
    assert len(gw.certs(tag)) == certs


def failed(gw, answer, device, statuses, text):
    """Refused before policy could speak."""
    assert answer.status in statuses, answer
    row = gw.audit("enroll.refused")[-1]
    assert re.search(text, row["detail"]["reason"]), row
    assert gw.certs(device.tag) == []


# ---- 1: the CSR names another asset

@pytest.mark.parametrize("field", ["subject", "dns", "uri"])
def test_a_request_that_names_another_asset_is_refused(gw, acme, field):
    mine, other = acme.idevid(), acme.idevid()
    gw.own(mine, other)
    subject, san = "", []
    if field == "subject":
        subject = "CN=" + other.tag
    elif field == "dns":
        san = [("dns", other.tag.lower() + ".example.net")]
    else:
        san = [("uri", "urn:dev:sn:" + other.serial)]
    refused(gw, est.enroll(gw, pki.csr(pki.ec_key(), subject, san), mine, label="named"), mine, "csr.names")


@pytest.mark.parametrize("san", [[("dns", "*.example.net")], [("dns", "*")]])
def test_a_request_for_a_wildcard_is_refused(gw, device, san):
    refused(gw, est.enroll(gw, pki.csr(pki.ec_key(), "", san), device, label="named"), device, "csr.names")


def test_a_request_that_names_its_own_asset_is_granted(gw, device):
    csr = pki.csr(pki.ec_key(), own_names(device), [("dns", device.tag.lower() + ".example.net")])
    assert est.enroll(gw, csr, device, label="named").status == 200


def test_a_name_that_is_ignored_never_gets_into_the_certificate(gw, acme):
    mine, other = acme.idevid(), acme.idevid()
    gw.own(mine, other)
    csr = pki.csr(pki.ec_key(), "CN=%s,O=Board of Directors" % other.tag, [("dns", "admin.example.net")])
    cert = est.enroll(gw, csr, mine).cert()
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == mine.tag
    assert b"admin.example" not in pki.cert_der(cert) and b"Directors" not in pki.cert_der(cert)


# ---- 2: replayed secret

def test_a_one_time_secret_is_worth_one_certificate_to_many_who_come_at_once(gw, acme):
    device = gw.own(acme.idevid())
    secret, answers = gw.secret(device.tag), []
    csrs = [pki.csr(pki.ec_key()) for _ in range(8)]
    conns = [est.Conn(gw) for _ in csrs]
    threads = [threading.Thread(target=lambda c=conn, r=csr: answers.append(
        est.enroll(gw, r, conn=c, user=device.tag, secret=secret).status)) for conn, csr in zip(conns, csrs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for conn in conns:
        conn.close()
    assert sorted(answers) == [200] + [401] * 7
    assert len(gw.certs(device.tag)) == 1


def test_secrets_are_stored_as_hashes_only(gw, device):
    secret = gw.secret(device.tag)
    for suffix in ("", "-wal"):
        if os.path.exists(gw.db + suffix):
            assert secret.encode() not in open(gw.db + suffix, "rb").read()
    assert secret not in json.dumps(gw.audit("secret.new", device.tag))
    assert secret not in gw.log


def test_guessing_secrets_is_limited_for_the_asset_and_the_address(new_gateway, acme):
    gateway = new_gateway()
    gateway.settings["limits"].update(auth_failures=3, auth_window="10m", auth_lock="10m")
    gateway.start()
    device = gateway.own(acme.idevid())
    secret = gateway.secret(device.tag, "--static")
    with est.Conn(gateway) as conn:
        for guess in ("a", "b", "c"):
            assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn, user=device.tag, secret=guess).status == 401
        answer = est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn, user=device.tag, secret=secret)
    assert answer.status == 429 and 0 < int(answer.get("Retry-After")) <= 600
    assert gateway.certs(device.tag) == []
    with est.Conn(gateway, host="::1") as conn:  # another address, the same asset
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn, user=device.tag, secret=secret).status == 429
    other = gateway.own(acme.idevid())
    with est.Conn(gateway) as conn:  # the same address, another asset
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn, user=other.tag, secret="d").status == 429
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200, "certificates are not guessed"


# ---- 3, 4: revoked and expired certificates

@pytest.mark.parametrize("operation", ["simplereenroll", "simpleenroll", "serverkeygen"])
def test_a_revoked_certificate_opens_nothing(gw, device, owned, operation):
    serial = gw.certs(device.tag)[0]["serial"]
    gw.ctl("cert", "revoke", serial, "--reason", "stolen laptop")
    refused(gw, est.post(gw, operation, pki.csr(pki.ec_key(), own_names(device)), owned), device, "proof.revoked", certs=1)


def wait_past(moment):
    """There is no event for the end of a certificate but the moment itself."""
    while pki.now() <= moment:
        time.sleep(0.05)
    time.sleep(0.05)


def expired(gw, device, tmp_path, label):
    key = pki.ec_key()
    cert = est.enroll(gw, pki.csr(key), device, label=label).cert()
    wait_past(cert.not_valid_after)
    return device.with_cert(tmp_path, cert, key)


def test_an_expired_certificate_of_ours_is_refused(gw, device, tmp_path):
    owned = expired(gw, device, tmp_path, "brief")
    refused(gw, est.reenroll(gw, pki.csr(pki.ec_key()), owned, label="brief"), device, "proof.expired", certs=1)


def test_an_expired_certificate_of_ours_may_renew_within_the_labels_grace(gw, device, tmp_path):
    owned = expired(gw, device, tmp_path, "grace")
    assert est.reenroll(gw, pki.csr(pki.ec_key(), ""), owned, label="grace").status == 200


def test_an_expired_factory_certificate_is_refused(gw, acme):
    device = gw.own(acme.idevid(not_after=pki.ago(days=1)))
    answer = est.enroll(gw, pki.csr(pki.ec_key()), device)
    failed(gw, answer, device, (401, 403), "expired")


def test_an_expired_factory_certificate_is_taken_where_its_trust_set_says_so(gw, globex):
    device = gw.own(globex.idevid(not_after=pki.ago(days=1)), issuer="globex")
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="globex").status == 200


def test_a_factory_certificate_that_is_not_valid_yet_is_never_taken(gw, globex):
    device = gw.own(globex.idevid(not_before=pki.ahead(days=1)), issuer="globex")
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), device, label="globex"), device, (401, 403), "not.*valid")


# ---- 5: renewal keeps the identity

@pytest.mark.parametrize("subject,san", [("CN=somebody else", ()), ("", [("dns", "else.example.net")])])
def test_a_renewal_that_changes_names_is_refused(gw, device, owned, subject, san):
    refused(gw, est.reenroll(gw, pki.csr(pki.ec_key(), subject, san), owned), device, "renewal.identity", certs=1)


def test_a_renewal_after_a_change_in_the_registry_keeps_its_names_or_is_refused(gw, device, owned):
    gw.import_rows([gw.row(device, hostname="moved.example.net")])
    refused(gw, est.reenroll(gw, pki.csr(pki.ec_key(), ""), owned), device, "renewal.identity", certs=1)
    cert = est.reenroll(gw, pki.csr(pki.ec_key(), ""), owned, label="moving").cert()
    assert b"moved.example.net" in pki.cert_der(cert)


# ---- 6: asking to be a CA

@pytest.mark.parametrize("extensions", [
    [CA_TRUE],
    [pki.extension(BASIC_CONSTRAINTS, pki.seq(pki.boolean(True), pki.integer(0)))],
    [pki.extension(BASIC_CONSTRAINTS, b"\x30\x80\x01\x01\xff\x00\x00")],
    [pki.extension(KEY_USAGE, b"\x03\x02\x02\x04", True)],   # keyCertSign
    [pki.extension(KEY_USAGE, b"\x03\x02\x01\x02", True)],   # cRLSign
    [pki.extension(EKU, pki.seq(pki.oid("2.5.29.37.0")))],   # anyExtendedKeyUsage
    [pki.extension(EKU, pki.seq())],
    [pki.extension(EKU, pki.seq(pki.oid("1.3.6.1.5.5.7.3.3")))],  # codeSigning
    [pki.extension("2.5.29.30", pki.seq(), True)],                # name constraints
    [pki.extension("1.2.3.4.5", b"\x05\x00", True)],
], ids=["CA", "CA with path length", "CA in BER", "keyCertSign", "cRLSign", "any EKU", "empty EKU", "codeSigning",
        "name constraints", "unknown and critical"])
def test_a_request_for_a_privilege_is_refused(gw, device, extensions):
    refused(gw, est.enroll(gw, pki.csr(pki.ec_key(), extensions=extensions), device), device, "csr.extensions")


def test_two_instances_of_an_extension_are_refused(gw, device):
    twice = [pki.extension(BASIC_CONSTRAINTS, pki.seq()), CA_TRUE]
    answer = est.enroll(gw, pki.csr(pki.ec_key(), extensions=twice), device)
    assert answer.status in (400, 403) and gw.certs(device.tag) == []


def test_two_extension_requests_are_refused(gw, device):
    twice = [pki.attribute(pki.EXTENSION_REQUEST, pki.seq()), pki.attribute(pki.EXTENSION_REQUEST, pki.seq(CA_TRUE))]
    assert est.enroll(gw, pki.csr(pki.ec_key(), attributes=twice), device).status == 400
    assert gw.certs(device.tag) == []


def test_a_harmless_extension_is_taken_and_not_copied(gw, device):
    csr = pki.csr(pki.ec_key(), extensions=[pki.extension(BASIC_CONSTRAINTS, pki.seq()),
                                            pki.extension("1.2.3.4.5", b"\x05\x00")])
    cert = est.enroll(gw, csr, device).cert()
    assert "1.2.3.4.5" not in [e.oid.dotted_string for e in cert.extensions]


# ---- 7: proof of possession

def test_a_request_signed_by_another_key_is_refused(gw, device):
    csr = pki.csr(pki.ec_key(), signer=pki.ec_key())
    failed(gw, est.enroll(gw, csr, device), device, (400, 401, 403), "signature|proof|possession")


def test_a_request_whose_key_was_swapped_is_refused(gw, device):
    mine, victim = pki.ec_key(), pki.ec_key()
    csr = pki.csr(mine).replace(pki.spki(mine), pki.spki(victim))
    failed(gw, est.enroll(gw, csr, device), device, (400, 401, 403), "signature|proof|possession")


def test_a_request_whose_names_were_changed_is_refused(gw, device):
    csr = pki.csr(pki.ec_key(), "CN=aaaa").replace(b"aaaa", b"bbbb")
    failed(gw, est.enroll(gw, csr, device), device, (400, 401, 403), "signature|proof|possession")


def test_a_request_signed_with_sha1_or_md5_is_refused(gw, device, tmp_path):
    for digest in ("sha1", "md5"):
        done = run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-subj", "/CN=x",
                   "-" + digest, "-outform", "DER", "-out", tmp_path / "csr")
        assert done.returncode == 0, done.stderr
        answer = est.enroll(gw, (tmp_path / "csr").read_bytes(), device)
        assert answer.status in (400, 403) and gw.certs(device.tag) == []


# ---- 8: weak and duplicate keys

@pytest.mark.parametrize("key", [lambda: pki.rsa_key(1024), lambda: pki.rsa_key(2048, 3), pki.roca_key],
                         ids=["RSA-1024", "exponent 3", "ROCA"])
def test_a_weak_key_is_refused(gw, device, key):
    answer = est.enroll(gw, pki.csr(key()), device)
    assert answer.status in (400, 403), answer
    assert gw.certs(device.tag) == []
    rows = [row for row in gw.audit() if row["action"] in ("enroll.denied", "enroll.refused")]
    assert re.search("weak|RSA|ROCA|exponent", rows[-1]["detail"].get("sentence", "") + rows[-1]["detail"]["reason"])


def test_a_key_of_a_kind_the_profile_does_not_take_is_refused(gw, device):
    p521 = pki.csr(pki.ec_key(pki.ec.SECP521R1))
    refused(gw, est.enroll(gw, p521, device), device, "csr.key")
    key = ed25519.Ed25519PrivateKey.generate()
    csr = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
           .public_bytes(pki.serialization.Encoding.DER))
    assert est.enroll(gw, csr, device).status in (400, 403)
    assert gw.certs(device.tag) == []


def test_a_point_that_is_not_on_its_curve_is_refused(gw, device):
    key = pki.ec_key()
    public = bytearray(pki.spki(key))
    public[-1] ^= 1
    info = pki.csr_info(key, public=bytes(public))
    assert est.enroll(gw, pki.csr_wrap(info, *pki.sign(key, info)), device).status == 400


def test_a_key_of_another_asset_is_refused_and_raises_an_alert(gw, acme):
    mine, other = acme.idevid(), acme.idevid()
    gw.own(mine, other)
    key = pki.ec_key()
    assert est.enroll(gw, pki.csr(key), other).status == 200
    refused(gw, est.enroll(gw, pki.csr(key, "CN=x"), mine), mine, "csr.reuse")
    assert gw.audit("enroll.denied", mine.tag)[-1]["detail"]["alert"] == 1


def test_a_key_is_not_certified_twice_where_the_profile_wants_new_ones(gw, device):
    key = pki.ec_key()
    assert est.enroll(gw, pki.csr(key), device, label="fresh-keys").status == 200
    refused(gw, est.enroll(gw, pki.csr(key, "CN=other"), device, label="fresh-keys"), device, "csr.reuse", certs=1)


# ---- 14: the wrong trust domain

def test_a_certificate_of_an_unknown_manufacturer_is_refused(gw, stranger):
    device = stranger.idevid()
    gw.import_rows([gw.row(device, "stranger")])
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), device), device, (401, 403), ".")


def test_a_manufacturer_vouches_only_at_labels_that_trust_it(gw, globex):
    device = gw.own(globex.idevid(), issuer="globex")
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), device), device, (401, 403), ".")
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="globex").status == 200


def test_a_manufacturer_does_not_vouch_for_serial_numbers_of_another(gw, acme, globex):
    victim = gw.own(acme.idevid())
    clone = globex.idevid(serial=victim.serial)
    answer = est.enroll(gw, pki.csr(pki.ec_key()), clone, label="globex")
    assert answer.status == 403
    assert gw.audit("enroll.denied")[-1]["detail"]["reason"] == "asset.known"
    assert gw.certs(victim.tag) == []


def test_a_root_of_the_same_name_is_not_the_root(gw, acme, tmp_path):
    victim = gw.own(acme.idevid())
    impostor = pki.Manufacturer(tmp_path / "impostor", "acme")
    clone = impostor.idevid(serial=victim.serial)
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), clone), victim, (401, 403), ".")


def test_a_device_cannot_issue_certificates_with_its_own(gw, acme, tmp_path):
    owner, victim = acme.idevid(), acme.idevid()
    gw.own(owner, victim)
    rogue = pki.Manufacturer(tmp_path / "rogue", "rogue", key=owner.key)
    rogue.subject = owner.cert.subject
    child = rogue.idevid(serial=victim.serial, chain=[owner.cert])
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), child), victim, (401, 403), ".")


def test_a_ca_certificate_is_no_device(gw, acme):
    ca = gw.own(acme.idevid(ca=True))
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), ca), ca, (401, 403), ".")


def test_a_server_certificate_is_no_device(gw, acme):
    server = gw.own(acme.idevid(eku=[ExtendedKeyUsageOID.SERVER_AUTH]))
    failed(gw, est.enroll(gw, pki.csr(pki.ec_key()), server), server, (401, 403), ".")


def test_a_certificate_whose_key_one_does_not_have_cannot_be_shown(gw, acme, device):
    ctx = est.context(gw.root)
    thief = pki.ec_key()
    with open(device.key_file, "wb") as out:
        out.write(pki.key_pem(thief))
    with pytest.raises(ssl.SSLError):
        ctx.load_cert_chain(device.pem, device.key_file)  # the library refuses; the server need not be asked


# ---- 15: forged headers

@pytest.mark.parametrize("name", ["X-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-Verify", "SSL-Client-Cert",
                                  "X-Forwarded-Client-Cert", "Client-Cert", "X-Front-Id", "x-front-id", "X-Front-Cert",
                                  "X-Forwarded-For", "X-Real-IP"])
def test_a_header_proves_no_identity(gw, device, name):
    value = pki.cert_pem(device.cert).decode().replace("\n", "%0A")
    for text in (value, "SUCCESS", "0" * 32):
        answer = est.enroll(gw, pki.csr(pki.ec_key()), headers={name: text})
        assert answer.status == 401
    assert gw.certs(device.tag) == []
    assert "peer=127.0.0.1" in gw.log.splitlines()[-1]


def backend_port(pid):
    """The loopback port that the process listens on beside the configured ones."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = []
    for line in open("/proc/%d/net/tcp" % pid).read().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and words[9] in inodes:
            ports.append((words[1].split(":")[0], int(words[1].split(":")[1], 16)))
    return ports


def test_the_inner_port_is_on_loopback_and_serves_nobody_else(gw):
    ports = [(host, port) for host, port in backend_port(gw.process.pid) if port not in (gw.port, gw.admin_port)]
    assert len(ports) == 1 and ports[0][0] == "0100007F"
    for handle in ("", "X-Front-Id: %s\r\n" % ("0" * 32), "X-Front-Id: ' OR 1=1\r\n"):
        with socket.create_connection(("127.0.0.1", ports[0][1]), 1) as sock:
            sock.sendall(b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n" + handle.encode() + b"\r\n")
            try:
                assert sock.recv(4096).startswith(b"HTTP/1.1 403 ")
            except socket.timeout:
                pass  # all workers belong to the front: as good a refusal
    assert est.get(gw, "cacerts").status == 200


# ---- 16, 20: the registry or the disk fails

def test_without_the_registry_nobody_enrolls(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    connection = gateway.database()
    with connection:
        connection.execute("ALTER TABLE anchor RENAME TO anchor_away")
    answer = est.enroll(gateway, pki.csr(pki.ec_key()), device)
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0
    assert "anchor" not in answer.text, "no inner detail on the wire"
    with connection:
        connection.execute("ALTER TABLE anchor_away RENAME TO anchor")
    connection.close()
    assert gateway.certs(device.tag) == []
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200


def test_while_the_database_takes_no_writes_nothing_is_issued(new_gateway, acme):
    gateway = new_gateway().start()
    device, csr = gateway.own(acme.idevid()), pki.csr(pki.ec_key())
    connection = gateway.database()
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE")
    answer = est.enroll(gateway, csr, device)
    assert answer.status == 503 and int(answer.get("Retry-After")) > 0
    connection.execute("ROLLBACK")
    connection.close()
    assert gateway.certs(device.tag) == []
    assert est.enroll(gateway, csr, device).status == 200


def test_a_full_disk_refuses_and_recovers(new_gateway, acme):
    gateway = new_gateway()
    # SIGXFSZ is ignored like on a full disk, where write() just fails
    gateway.start(prefix=["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"])
    device = gateway.own(acme.idevid())
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    unlimited = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (4 * KILO, unlimited[1]))
    csrs = [pki.csr(pki.ec_key()) for _ in range(4)]
    answers = [est.enroll(gateway, csr, device) for csr in csrs]
    assert {answer.status for answer in answers} == {503}
    assert gateway.admin_get("/readyz")[0] == 503
    assert gateway.admin_get("/livez")[0] == 200
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, unlimited)
    for csr in csrs:
        assert est.enroll(gateway, csr, device).status == 200
    assert gateway.admin_get("/readyz")[0] == 200
    assert len(gateway.certs(device.tag)) == 5
    gateway.ctl("audit", "verify")


# ---- 21: oversized and deep ASN.1

def nested(depth, tag=0x30):
    out = b""
    for _ in range(depth):
        out = pki.tlv(tag, out)
    return out


@pytest.mark.parametrize("body", [
    nested(30), nested(1000), nested(8000), nested(5000, 0x31), nested(4000, 0xa0),
    b"\x30\x84\x7f\xff\xff\xff", b"\x30\x88" + b"\xff" * 8, b"\x30\x89" + b"\x01" * 9, b"\x30\x80" * 8000,
    b"\x30\x82\x00\x05\x02\x01\x00\x30\x00", b"\x30\x81\x03\x02\x01\x00", b"\x3f" + b"\xff" * 40,
    pki.seq(pki.integer(0), pki.seq(), pki.tlv(0x04, b"A" * 32700)),
], ids=["30 deep", "1000 deep", "8000 deep", "sets", "contexts", "2 GB", "2^64", "9 octets of length",
        "indefinite", "long form", "length not minimal", "tag without end", "33 kB"])
def test_bad_asn1_is_refused_at_once(gw, device, body):
    began = time.monotonic()
    with est.Conn(gw, device) as conn:
        answer = est.enroll(gw, body, conn=conn)
        assert answer.status in (400, 413), answer
        assert conn.request("GET", est.path("cacerts")).status == 200
    assert time.monotonic() - began < 20, "parsing must not be where time goes"
    assert gw.certs(device.tag) == []


def test_octets_after_the_request_are_refused(gw, device):
    csr = pki.csr(pki.ec_key())
    for extra in (b"\x00", b"\x30\x00", csr):
        assert est.enroll(gw, csr + extra, device).status == 400
    assert gw.certs(device.tag) == []


def test_too_many_attributes_and_names_are_refused(gw, device):
    attributes = [pki.attribute("1.2.3.%d" % i, pki.octets(b"x")) for i in range(200)]
    assert est.enroll(gw, pki.csr(pki.ec_key(), attributes=attributes), device).status in (400, 403, 413)
    san = [("dns", "n%d.example.net" % i) for i in range(400)]
    assert est.enroll(gw, pki.csr(pki.ec_key(), "", san), device, label="named").status in (400, 403, 413)
    assert gw.certs(device.tag) == []


def test_a_huge_client_certificate_does_no_harm(gw, acme):
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "%060d" % i) for i in range(1500)])
    monster = acme.idevid(subject=subject)
    try:
        assert est.enroll(gw, pki.csr(pki.ec_key()), monster).status in (401, 403)
    except (OSError, est.Closed):
        pass  # the handshake may be refused as well
    assert est.get(gw, "cacerts").status == 200


# ---- 23: slow clients (their deadlines: test_limits.py)

def test_slow_clients_hold_up_nobody(gw, device):
    slow = [est.Conn(gw) for _ in range(40)]
    for conn in slow:
        conn.send(b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nM")
    for _ in range(4):
        assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 200
    for conn in slow:
        conn.close()
