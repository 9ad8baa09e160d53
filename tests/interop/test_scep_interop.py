"""SCEP clients that nobody here wrote, as Debian ships them. A missing one is a failure that names its package, never a pass."""
import glob
import os
import shutil
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import cms
import pki
import scep
from gateway import run

WAIT_S = 60


@pytest.fixture(scope="module")
def gw(module_gateway):
    """strongSwan knows no ECDSA without its openssl plugin, so the CA is an RSA one here."""
    gateway = module_gateway()
    pki.replace_by_rsa(gateway.dir)
    scep.configure(gateway)
    gateway.add_profile("usual", key_usage=["digitalSignature", "keyEncipherment"])
    gateway.settings["labels"][0]["profile"] = "usual"
    scep.add_label(gateway, "cisco", profile="usual", scep_legacy="insecure-cisco", scep_allow=["sha1"])
    scep.add_label(gateway, "guarded", profile="usual", approval="manual")
    scep.add_label(gateway, "guarded-cisco", profile="usual", approval="manual", scep_legacy="insecure-cisco", scep_allow=["sha1"])
    return gateway.start()


@pytest.fixture(scope="module", autouse=True)
def patient(gw, acme, tmp_path_factory):
    """scepclient asks again after half a minute: it begins first, and its test is the last one."""
    owned, folder = scep.Owned(gw, acme), tmp_path_factory.mktemp("patient")
    process = subprocess.Popen([tool("scepclient", "scep")] + scepclient_words(gw, owned, folder, "guarded-cisco"), cwd=str(folder),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        gw.wait_log("op=PKCSReq label=guarded-cisco .*result=pending")
        approve(gw, owned)
        yield process, owned, folder
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def owned(gw, acme):
    return scep.Owned(gw, acme)


def tool(path, package):
    found = shutil.which(path)
    if found is None:
        pytest.fail("%s is not installed: apt-get install %s" % (path, package), pytrace=False)
    return found


def url(gw, label="", suffix=""):
    return "http://127.0.0.1:%d%s" % (gw.http_port, scep.path(label, suffix))


def check(gw, cert, owned, key):
    """A certificate of ours, for this asset and key, recorded; what openssl says of it."""
    pki.verify(scep.pem(gw.issuing), cert)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == owned.tag
    assert pki.spki(cert.public_key()) == pki.spki(key)
    rows = {row["sha256"]: row for row in gw.certs(owned.tag)}
    return rows[pki.sha256_hex(pki.cert_der(cert))]


def approve(gw, owned):
    rows = gw.ctl("request", "list", "--asset", owned.tag, "--state", "pending")
    assert len(rows) == 1
    gw.ctl("request", "approve", rows[0]["id"])


# ---- strongSwan

@pytest.fixture
def strongswan(tmp_path):
    """Run (or start) pki with a configuration of its own."""
    path = tool("pki", "strongswan-pki")
    for plugin, package in (("curl", "libstrongswan-extra-plugins"), ("pkcs7", "libstrongswan"), ("gmp", "libstrongswan")):
        if not glob.glob("/usr/lib/ipsec/plugins/libstrongswan-%s.so" % plugin):
            pytest.fail("strongSwan's plugin %s is not installed: apt-get install %s" % (plugin, package), pytrace=False)
    (tmp_path / "strongswan.conf").write_text(
        "pki { load = random drbg nonce aes sha1 sha2 hmac kdf mgf1 gmp pem pkcs1 pkcs7 pkcs8 x509 pubkey constraints curl }\n")
    env = dict(os.environ, STRONGSWAN_CONF=str(tmp_path / "strongswan.conf"))

    def call(*words, start=False):
        process = subprocess.Popen([path] + [str(word) for word in words], env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(tmp_path))
        if start:
            return process
        out, err = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, err.decode()
        return out

    call.dir = tmp_path
    return call


def strongswan_ca(gw, strongswan, label=""):
    """--scepca sorts the bundle itself; the words that name what it wrote."""
    strongswan("--scepca", "--url", url(gw, label), "--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem")
    assert pki.cert_der(scep.pem(strongswan.dir / "ra.pem")) == gw.ra.cert
    assert scep.pem(strongswan.dir / "ca.pem") == scep.pem(gw.root)
    assert scep.pem(strongswan.dir / "ca-1.pem") == scep.pem(gw.issuing)
    return ["--cacert-enc", "ra.pem", "--cacert-sig", "ca-1.pem", "--cacert", "ca.pem", "--outform", "pem"]


def strongswan_key(strongswan, name):
    octets = strongswan("--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
    (strongswan.dir / name).write_bytes(octets)
    return pki.serialization.load_pem_private_key(octets, None)


@pytest.mark.parametrize("suffix", ["", "/cgi-bin/pkiclient.exe"])
def test_strongswan_enrolls_with_a_challenge_and_renews_with_its_certificate(gw, owned, strongswan, suffix):
    cas = strongswan_ca(gw, strongswan)
    key = strongswan_key(strongswan, "old.key")
    out = strongswan("--scep", "--url", url(gw, suffix=suffix), "--in", "old.key", "--dn", "CN=" + owned.tag, "--san",
                     owned.tag.lower() + ".example.net", "--password", owned.challenge, *cas)
    first = check(gw, x509.load_pem_x509_certificate(out), owned, key)
    (strongswan.dir / "old.pem").write_bytes(out)
    key = strongswan_key(strongswan, "new.key")
    out = strongswan("--scep", "--url", url(gw), "--in", "new.key", "--dn", "CN=" + owned.tag, "--cert", "old.pem", "--key",
                     "old.key", "--cipher", "aes", "--digest", "sha512", *cas)
    assert check(gw, x509.load_pem_x509_certificate(out), owned, key)["replaces"] == first["id"]


@pytest.mark.parametrize("renewal", [False, True], ids=["enrolls", "renews"])
def test_strongswan_polls_until_its_request_is_approved(gw, owned, strongswan, renewal):
    cas = strongswan_ca(gw, strongswan, "guarded")
    words = ["--password", owned.challenge]
    if renewal:
        mine = owned.enrolled(gw)
        pki.write_pair(str(strongswan.dir / "mine"), mine.cert_object, mine.key)
        words = ["--cert", "mine.pem", "--key", "mine.key"]
    key = strongswan_key(strongswan, "new.key")
    since = len(gw.log)
    process = strongswan("--scep", "--url", url(gw, "guarded"), "--in", "new.key", "--dn", "CN=" + owned.tag, "--interval", "1",
                         "--maxpolltime", WAIT_S, *words, *cas, start=True)
    gw.wait_log("op=CertPoll.* result=pending", since)
    approve(gw, owned)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err.decode()
    check(gw, x509.load_pem_x509_certificate(out), owned, key)
    assert len(gw.certs(owned.tag)) == (2 if renewal else 1)


def test_strongswan_is_told_when_it_is_refused(gw, owned, strongswan):
    cas = strongswan_ca(gw, strongswan)
    strongswan_key(strongswan, "key")
    process = strongswan("--scep", "--url", url(gw), "--in", "key", "--dn", "CN=x", "--password", "wrong", *cas, start=True)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode != 0 and out == b"" and b"badRequest" in err.replace(b" ", b"").replace(b"BadR", b"badR"), err
    assert gw.certs(owned.tag) == []


# ---- micromdm's scepclient, which speaks SHA-1 and DES whatever it is told

def scepclient_words(gw, owned, folder, label, suffix=""):
    return ["-server-url", url(gw, label, suffix), "-challenge", owned.challenge, "-cn", owned.tag, "-certificate",
            str(folder / "client.pem"), "-private-key", str(folder / "client.key")]


def scepclient(gw, owned, folder, label="cisco", suffix=""):
    return run(tool("scepclient", "scep"), *scepclient_words(gw, owned, folder, label, suffix), cwd=str(folder))


def scepclient_result(owned, folder):
    return scep.pem(folder / "client.pem"), owned, pki.load_key(str(folder / "client.key"))


@pytest.mark.parametrize("suffix", ["", "/pkiclient.exe"])
def test_scepclient_enrolls_and_renews(gw, owned, tmp_path, suffix):
    since = len(gw.log)
    done = scepclient(gw, owned, tmp_path, suffix=suffix)
    assert done.returncode == 0, done.stdout + done.stderr
    first = check(gw, *scepclient_result(owned, tmp_path))
    gw.wait_log("insecure.*cisco.*DES", since)
    done = scepclient(gw, owned, tmp_path, suffix=suffix)
    assert done.returncode == 0, done.stdout + done.stderr
    gw.wait_log("op=RenewalReq.* result=issued", since)
    rows = gw.certs(owned.tag)
    assert [row["replaces"] for row in sorted(rows, key=lambda row: row["id"])] == [0, first["id"]]


def test_scepclient_is_refused_where_the_label_is_not_insecure(gw, owned, tmp_path):
    done = scepclient(gw, owned, tmp_path, label="")
    assert done.returncode != 0 and "badAlg" in done.stdout + done.stderr
    assert gw.certs(owned.tag) == []


# ---- certmonger: its daemon on a bus of its own, which calls its helper scep-submit

@pytest.fixture(scope="module")
def certmonger(gw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certmonger")
    daemon, bus_path = tool("/usr/lib/certmonger/certmonger-session", "certmonger"), tool("dbus-daemon", "dbus-daemon")
    env = dict(os.environ, HOME=str(folder), XDG_RUNTIME_DIR=str(folder))
    for name in ("CONFIG", "REQUESTS", "CAS", "LOCAL_CA", "TMP"):
        os.mkdir(str(folder / name))
        env["CERTMONGER_%s%s" % (name, "DIR" if name == "TMP" else "_DIR")] = str(folder / name)
    bus = subprocess.Popen([bus_path, "--session", "--nofork", "--print-address=1"], env=env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
    log = open(str(folder / "log"), "w")
    process = subprocess.Popen([daemon, "-n"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def getcert(*words):
        return run(tool("getcert", "certmonger"), words[0], "-s", *words[1:], env=env)

    def state(name, wanted):
        deadline = time.monotonic() + WAIT_S
        while True:
            text = getcert("list", "-i", name).stdout
            if "status: " + wanted in text:
                return
            assert time.monotonic() < deadline and process.poll() is None, text
            time.sleep(0.1)  # D-Bus would tell, but not getcert

    getcert.dir, getcert.state = folder, state
    try:
        deadline = time.monotonic() + WAIT_S
        while getcert("list-cas").returncode != 0:
            assert time.monotonic() < deadline and process.poll() is None, open(str(folder / "log")).read()
            time.sleep(0.05)
        for name in ("", "guarded"):
            done = getcert("add-scep-ca", "-c", "enrolld" + name, "-u", url(gw, name))
            assert done.returncode == 0, done.stdout + done.stderr
        yield getcert
    finally:
        for child in (process, bus):
            child.terminate()
            child.wait(WAIT_S)
        bus.stdout.close()
        log.close()


def certmonger_request(certmonger, owned, ca):
    return certmonger("request", "-c", ca, "-I", owned.tag, "-k", certmonger.dir / (owned.tag + ".key"), "-f",
                      certmonger.dir / (owned.tag + ".pem"), "-N", "CN=" + owned.tag, "-L", owned.challenge, "-w", "-v")


def certmonger_result(certmonger, owned):
    stem = str(certmonger.dir / owned.tag)
    return scep.pem(stem + ".pem"), owned, pki.load_key(stem + ".key")


def test_certmonger_enrolls_and_renews_with_the_same_key_and_with_another(gw, owned, certmonger):
    done = certmonger_request(certmonger, owned, "enrolld")
    assert done.returncode == 0, done.stdout + done.stderr
    before = check(gw, *certmonger_result(certmonger, owned))
    for word in ("rekey", "resubmit"):
        since = len(gw.log)
        done = certmonger(word, "-i", owned.tag, "-w", "-v")
        assert done.returncode == 0, done.stdout + done.stderr
        gw.wait_log("op=PKCSReq .*proof=\"certificate .*result=issued", since)
        after = check(gw, *certmonger_result(certmonger, owned))
        assert after["replaces"] == before["id"]
        before = after


def test_certmonger_polls_until_its_request_is_approved(gw, owned, certmonger):
    since = len(gw.log)
    certmonger_request(certmonger, owned, "enrolldguarded")
    certmonger.state(owned.tag, "CA_WORKING")
    approve(gw, owned)
    certmonger("refresh", "-i", owned.tag)
    certmonger.state(owned.tag, "MONITORING")
    gw.wait_log("label=guarded .*result=issued", since)
    check(gw, *certmonger_result(certmonger, owned))
    assert len(gw.certs(owned.tag)) == 1


def test_certmonger_is_told_when_it_is_refused(gw, owned, certmonger):
    owned.challenge = "wrong"
    certmonger_request(certmonger, owned, "enrolld")
    certmonger.state(owned.tag, "CA_REJECTED")
    assert gw.certs(owned.tag) == []


@pytest.mark.parametrize("words,wanted", [(["-c"], "SCEPStandard"), (["-c", "-i", "my CA"], "AES"), (["-C"], "BEGIN CERTIFICATE")])
def test_certmongers_helper_asks_for_capabilities_and_certificates(gw, words, wanted):
    helper = tool("/usr/lib/certmonger/scep-submit", "certmonger")
    done = run(helper, "-u", url(gw, suffix="/certsrv/mscep/mscep.dll"), *words)
    assert done.returncode == 0 and wanted in done.stdout, done.stdout + done.stderr
    if wanted.startswith("BEGIN"):
        first = x509.load_pem_x509_certificate(done.stdout[done.stdout.index("-----BEGIN"):].encode())
        assert pki.cert_der(first) == gw.ra.cert


def test_certmongers_helper_polls(gw, owned, tmp_path):
    """Its daemon sends the request again; the helper can poll too, with a message that it is given."""
    helper = tool("/usr/lib/certmonger/scep-submit", "certmonger")
    message = scep.pkcs_req(gw.ra, owned.signer, owned.challenge)
    assert scep.send(gw, message, "guarded").status == scep.PENDING
    poll = scep.cert_poll(gw.ra, owned.signer, message.transaction)
    text = scep.base64.encodebytes(poll.der()).decode()
    (tmp_path / "poll").write_text("-----BEGIN PKCS7-----\n%s-----END PKCS7-----\n" % text)
    words = [helper, "-u", url(gw, "guarded"), "-g", "-r", os.path.join(gw.dir, "ra.pem"), "-N", gw.root, "-I", gw.issuing,
             tmp_path / "poll"]
    assert run(*words).returncode in (1, 5), "the CA is still thinking"
    approve(gw, owned)
    done = run(*words)
    assert done.returncode == 0 and "BEGIN PKCS7" in done.stdout, done.stdout + done.stderr
    lines = done.stdout[done.stdout.index("-----BEGIN PKCS7-----"):].splitlines()
    der = scep.base64.b64decode("".join(lines[1:lines.index("-----END PKCS7-----")]))
    inner = cms.Opened(cms.Sealed(der, owned.signer.cert, owned.signer.key).content)
    check(gw, x509.load_der_x509_certificate(inner.certs[0]), owned, owned.signer.key)


# ---- the last one

def test_scepclient_waits_and_asks_again_with_the_same_request(gw, patient):
    process, owned, folder = patient
    out = process.communicate(timeout=WAIT_S)[0]
    assert process.returncode == 0, out.decode()
    check(gw, *scepclient_result(owned, folder))
    assert len(gw.certs(owned.tag)) == 1
