"""Foreign clients, as Debian ships them. A missing one is a failure that names its package, never a pass."""
import glob
import os
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

import est
import pki
from gateway import run

JARS = "/usr/share/java"
PASSWORD = b"changeit"


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_label("attrs", csrattrs=["challengePassword", "ecPublicKey=secp384r1"])
    gateway.add_label("guarded", approval="manual", retry_after="2s")
    gateway.add_label("wrapped", base64="wrapped")
    return gateway.start()


def tool(name, package):
    path = shutil.which(name)
    if path is None:
        pytest.fail("%s is not installed: apt-get install %s" % (name, package), pytrace=False)
    return path


@pytest.fixture
def owned(gw, device, tmp_path):
    key = pki.ec_key()
    return device.with_cert(tmp_path, est.enroll(gw, pki.csr(key), device).cert(), key)


def check(gw, cert, device, key=None):
    """A certificate of ours, for this asset, recorded."""
    issuing = x509.load_pem_x509_certificate(open(gw.issuing, "rb").read())
    pki.verify(issuing, cert)
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == device.tag
    if key is not None:
        assert pki.spki(cert.public_key()) == pki.spki(key)
    assert pki.sha256_hex(pki.cert_der(cert)) in [row["sha256"] for row in gw.certs(device.tag)]


def url(gw, operation="", label=""):
    base = "https://localhost:%d" % gw.port
    return base + est.path(operation, label) if operation else base


# ---- strongSwan

@pytest.fixture(scope="module")
def rsa_gw(module_gateway):
    """
    strongSwan without its openssl plugin knows RSA and X25519 but no ECDSA, and
    ChaCha20-Poly1305 but no AES-GCM, and offers that in TLS 1.3 only: so here the
    CA and the server have RSA keys, and strongswan.conf allows TLS 1.3.
    """
    gateway = module_gateway()
    pki.replace_by_rsa(gateway.dir)
    return gateway.start()


@pytest.fixture
def strongswan(tmp_path):
    """Run (or start) pki with a configuration of its own."""
    path = tool("pki", "strongswan-pki")
    for plugin, package in (("chapoly", "libstrongswan-extra-plugins"), ("curve25519", "libstrongswan-extra-plugins"),
                            ("gmp", "libstrongswan")):
        if not glob.glob("/usr/lib/ipsec/plugins/libstrongswan-%s.so" % plugin):
            pytest.fail("strongSwan's plugin %s is not installed: apt-get install %s" % (plugin, package),
                        pytrace=False)
    (tmp_path / "strongswan.conf").write_text(
        "pki { load = random drbg nonce aes sha1 sha2 hmac kdf mgf1 gmp curve25519 chapoly ctr pem pkcs1 pkcs7 pkcs8"
        " x509 pubkey constraints\n  tls { version_max = 1.3 } }\n")
    env = dict(os.environ, STRONGSWAN_CONF=str(tmp_path / "strongswan.conf"))

    def call(*words, start=False):
        process = subprocess.Popen([path] + [str(word) for word in words], env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(tmp_path))
        if start:
            return process
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err.decode())

    return call


def strongswan_request(strongswan, tmp_path, subject):
    key = strongswan("--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
    assert key.returncode == 0, key.stderr
    (tmp_path / "key.pem").write_bytes(key.stdout)
    request = strongswan("--req", "--type", "rsa", "--in", tmp_path / "key.pem", "--dn", subject, "--outform", "der")
    assert request.returncode == 0, request.stderr
    (tmp_path / "req.der").write_bytes(request.stdout)
    return pki.serialization.load_pem_private_key(key.stdout, None)


def strongswan_est(gw, *words):
    return ["--est", "--url", url(gw), "--cacert", gw.root, "--cacert", gw.issuing, "--outform", "pem", "--in",
            "req.der"] + list(words)


def test_strongswan_fetches_the_ca_certificates(rsa_gw, strongswan, tmp_path):
    done = strongswan("--estca", "--url", url(rsa_gw), "--cacert", rsa_gw.root, "--caout", "ca.pem", "--outform", "pem")
    assert done.returncode == 0, done.stderr
    got = [x509.load_pem_x509_certificate(path.read_bytes()) for path in tmp_path.glob("ca*.pem")]
    wanted = [x509.load_pem_x509_certificate(open(name, "rb").read()) for name in (rsa_gw.root, rsa_gw.issuing)]
    assert {cert.serial_number for cert in got} == {cert.serial_number for cert in wanted}, done.stderr


def test_strongswan_enrolls_with_a_secret_and_renews_with_its_certificate(rsa_gw, acme, strongswan, tmp_path):
    device = rsa_gw.own(acme.idevid())
    secret = rsa_gw.secret(device.tag)
    key = strongswan_request(strongswan, tmp_path, "CN=%s" % device.tag)
    done = strongswan(*strongswan_est(rsa_gw, "--userpass", "%s:%s" % (device.tag, secret)))
    assert done.returncode == 0, done.stderr
    cert = x509.load_pem_x509_certificate(done.stdout)
    check(rsa_gw, cert, device, key)

    (tmp_path / "old.pem").write_bytes(done.stdout)
    shutil.copy(tmp_path / "key.pem", tmp_path / "old.key")
    key = strongswan_request(strongswan, tmp_path, "CN=%s, O=Operations, serialNumber=%s" % (device.tag, device.serial))
    done = strongswan(*strongswan_est(rsa_gw, "--cert", "old.pem", "--key", "old.key"))
    assert done.returncode == 0, done.stderr
    renewed = x509.load_pem_x509_certificate(done.stdout)
    check(rsa_gw, renewed, device, key)
    rows = {row["serial"].lstrip("0").lower(): row for row in rsa_gw.certs(device.tag)}
    assert rows["%x" % renewed.serial_number]["replaces"] == rows["%x" % cert.serial_number]["id"]
    assert rows["%x" % renewed.serial_number]["label"] == ""


def test_strongswan_is_told_when_it_is_refused(rsa_gw, acme, strongswan, tmp_path):
    device = rsa_gw.own(acme.idevid())
    strongswan_request(strongswan, tmp_path, "CN=x")
    done = strongswan(*strongswan_est(rsa_gw, "--userpass", device.tag + ":wrong"))
    assert done.returncode != 0 and done.stdout == b""
    assert rsa_gw.certs(device.tag) == []


def test_strongswan_polls_until_its_request_is_approved(rsa_gw, acme, strongswan, tmp_path):
    device = rsa_gw.own(acme.idevid())
    secret = rsa_gw.secret(device.tag)
    key = strongswan_request(strongswan, tmp_path, "CN=x")
    rsa_gw.settings["labels"][0]["approval"] = "manual"  # it knows no labels in paths
    rsa_gw.reload()
    since = len(rsa_gw.log)
    process = strongswan(*strongswan_est(rsa_gw, "--userpass", "%s:%s" % (device.tag, secret), "--interval", "1",
                                         "--maxpolltime", "60"), start=True)
    rsa_gw.wait_log("result=pending", since)
    rsa_gw.ctl("request", "approve",
               rsa_gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    check(rsa_gw, x509.load_pem_x509_certificate(out), device, key)


# ---- curl

def curl(gw, *words):
    done = run(tool("curl", "curl"), "--silent", "--show-error", "--cacert", gw.root, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl_certs(gw, *words):
    text = curl(gw, "--fail", *words)
    return est.Response(b"HTTP/1.1 200 OK\r\n", text.encode()).certs()


@pytest.mark.parametrize("label", ["", "wrapped"])
def test_curl_fetches_the_ca_certificates(gw, label):
    assert len(curl_certs(gw, url(gw, "cacerts", label))) == 2


@pytest.mark.parametrize("version", ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_curl_enrolls_with_a_client_certificate(gw, device, tmp_path, version, family):
    key = pki.ec_key()
    (tmp_path / "body").write_bytes(est.base64.b64encode(pki.csr(key)))
    certs = curl_certs(gw, *version.split(), family, "--cert", device.pem, "--key", device.key_file, "--data-binary",
                       "@%s" % (tmp_path / "body"), "-H", "Content-Type: application/pkcs10", url(gw, "simpleenroll"))
    check(gw, certs[0], device, key)


def test_curl_enrolls_with_a_secret_that_it_sends_only_when_asked(gw, acme, tmp_path):
    device = gw.own(acme.idevid())
    secret, key = gw.secret(device.tag), pki.ec_key()
    (tmp_path / "body").write_bytes(est.base64.b64encode(pki.csr(key)))
    words = ["--data-binary", "@%s" % (tmp_path / "body"), "-H", "Content-Type: application/pkcs10",
             "-u", "%s:%s" % (device.tag, secret), url(gw, "simpleenroll")]
    check(gw, curl_certs(gw, *words)[0], device, key)
    check(gw, curl_certs(gw, "--anyauth", *words)[0], device, key)


def test_curl_uploads_in_chunks_and_with_an_expectation(gw, device, tmp_path):
    key = pki.ec_key()
    (tmp_path / "body").write_bytes(est.base64.b64encode(pki.csr(key)))
    for header in ("Transfer-Encoding: chunked", "Expect: 100-continue"):
        certs = curl_certs(gw, "--cert", device.pem, "--key", device.key_file, "--data-binary", "@%s" % (tmp_path / "body"),
                           "-H", "Content-Type: application/pkcs10", "-H", header, url(gw, "simpleenroll"))
        check(gw, certs[0], device, key)


def test_curl_is_told_to_wait(gw, device, tmp_path):
    (tmp_path / "body").write_bytes(est.base64.b64encode(pki.csr(pki.ec_key())))
    text = curl(gw, "--cert", device.pem, "--key", device.key_file, "--data-binary", "@%s" % (tmp_path / "body"), "-H",
                "Content-Type: application/pkcs10", "-w", "%{http_code} %header{retry-after}",
                url(gw, "simpleenroll", "guarded"))
    assert text == "202 2"


# ---- openssl

def openssl(*words, **kw):
    return subprocess.run([tool("openssl", "openssl")] + [str(word) for word in words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, **kw)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_enrolls_octet_by_octet_and_verifies_what_it_got(gw, device, tmp_path, version):
    done = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                   tmp_path / "key.pem", "-subj", "/CN=anything", "-outform", "DER", "-out", tmp_path / "req.der")
    assert done.returncode == 0, done.stderr
    body = est.base64.encodebytes((tmp_path / "req.der").read_bytes())
    octets = est.request("POST", est.path("simpleenroll"), body, {"Connection": "close"})
    done = openssl("s_client", version, "-connect", "localhost:%d" % gw.port, "-servername", "localhost", "-CAfile", gw.root,
                   "-verify_return_error", "-verify_hostname", "localhost", "-cert", device.pem, "-key", device.key_file,
                   "-quiet", "-ign_eof", input=octets)
    head, text = done.stdout.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 "), done
    (tmp_path / "answer.p7").write_bytes(est.base64.b64decode(text))
    done = openssl("pkcs7", "-inform", "DER", "-in", tmp_path / "answer.p7", "-print_certs", "-out", tmp_path / "cert.pem")
    assert done.returncode == 0, done.stderr
    done = openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", gw.root, "-untrusted", gw.issuing,
                   tmp_path / "cert.pem")
    assert done.returncode == 0, done.stderr + done.stdout
    pem = (tmp_path / "cert.pem").read_bytes()
    check(gw, x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN"):]), device)


def test_openssl_reads_the_ca_certificates(gw, tmp_path):
    (tmp_path / "ca.p7").write_bytes(est.get(gw, "cacerts").der())
    done = openssl("pkcs7", "-inform", "DER", "-in", tmp_path / "ca.p7", "-print_certs", "-noout")
    assert done.returncode == 0
    assert done.stdout.count(b"subject=") == 2 and b"enrolld root CA" in done.stdout


def test_openssl_verifies_the_servers_own_certificate(gw):
    done = openssl("s_client", "-connect", "localhost:%d" % gw.port, "-CAfile", gw.root, "-verify_return_error",
                   "-x509_strict", "-verify_hostname", "localhost", "-brief", input=b"")
    assert b"Verification: OK" in done.stderr, done.stderr
    assert b"Verified peername: localhost" in done.stderr


# ---- Bouncy Castle

@pytest.fixture(scope="module")
def bouncy(tmp_path_factory):
    """EstClient.java, compiled against the jars of libbcpkix-java."""
    javac, java = tool("javac", "default-jdk-headless"), tool("java", "default-jdk-headless")
    jars = []
    for name in ("bcprov", "bcpkix", "bcutil"):
        jars.append(os.path.join(JARS, name + ".jar"))
        if not os.path.exists(jars[-1]):
            pytest.fail("%s is not installed: apt-get install libbcpkix-java" % jars[-1], pytrace=False)
    folder = tmp_path_factory.mktemp("bouncy")
    path = ":".join(jars)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "EstClient.java")
    done = run(javac, "-Werror", "-cp", path, "-d", folder, source)
    assert done.returncode == 0, done.stdout + done.stderr

    def command(gateway, operation, label="", subject="CN=anything", out="-", store="-", user="-", secret="-"):
        return [java, "-XX:TieredStopAtLevel=1", "-cp", "%s:%s" % (path, folder), "EstClient", operation,
                "localhost:%d" % gateway.port, label, gateway.root, subject, str(out), str(store), user, secret]

    return command


def bouncy_run(command, **kw):
    done = run(*command, **kw)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def keystore(device, tmp_path):
    path = tmp_path / (device.tag + ".p12")
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"device", device.key, device.cert, None,
                                                           BestAvailableEncryption(PASSWORD)))
    return path


def written(path):
    return x509.load_der_x509_certificate(open("%s.0" % path, "rb").read())


def test_bouncy_castle_reads_csrattrs_and_their_absence(gw, bouncy):
    assert bouncy_run(bouncy(gw, "csrattrs", "attrs")) == ["attribute: 1.2.840.113549.1.9.7", "attribute: 1.2.840.10045.2.1"]
    assert bouncy_run(bouncy(gw, "csrattrs")) == ["attributes: none"]


def test_bouncy_castle_fetches_the_ca_certificates(gw, bouncy, tmp_path):
    lines = bouncy_run(bouncy(gw, "cacerts", out=tmp_path / "ca"))
    assert lines[0] == "trusted: true" and len(lines) == 3


def test_bouncy_castle_enrolls_and_renews_with_client_certificates(gw, device, bouncy, tmp_path, owned):
    bouncy_run(bouncy(gw, "enroll", out=tmp_path / "new", store=keystore(device, tmp_path)))
    check(gw, written(tmp_path / "new"), device)
    subject = "CN=%s,O=Operations,SERIALNUMBER=%s" % (device.tag, device.serial)
    bouncy_run(bouncy(gw, "reenroll", subject=subject, out=tmp_path / "again", store=keystore(owned, tmp_path)))
    check(gw, written(tmp_path / "again"), device)
    assert len(gw.certs(device.tag)) == 3


def test_bouncy_castle_enrolls_with_a_secret(gw, acme, bouncy, tmp_path):
    device = gw.own(acme.idevid())
    secret = gw.secret(device.tag)
    bouncy_run(bouncy(gw, "enroll", out=tmp_path / "new", user=device.tag, secret=secret))
    check(gw, written(tmp_path / "new"), device)
    assert bouncy_run(bouncy(gw, "enroll", out=tmp_path / "no", user=device.tag, secret="wrong")) == ["refused: 401"]


def test_bouncy_castle_waits_for_an_approval_and_asks_again(gw, device, bouncy, tmp_path):
    command = bouncy(gw, "enroll", "guarded", out=tmp_path / "new", store=keystore(device, tmp_path))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("pending: "), line + process.stderr.read()
    assert 0 < int(line.split()[1]) <= 2000
    gw.ctl("request", "approve", gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"])
    out, err = process.communicate("go\n", timeout=60)
    assert process.returncode == 0, out + err
    check(gw, written(tmp_path / "new"), device)
