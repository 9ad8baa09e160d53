"""enrolld --init and --check: a beginning that works, and every mistake with its line."""
import os
import re
import stat

import pytest
from cryptography import x509

import est
import pki
from gateway import Gateway, binary, run

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


@pytest.fixture
def conf(tmp_path, acme):
    """The text of a fresh configuration and its check: check(text) gives exit code and complaints."""
    gateway = Gateway(tmp_path / "gw", (acme,))
    with open(gateway.conf) as source:
        text = source.read()

    def check(changed):
        with open(gateway.conf, "w") as out:
            out.write(changed)
        done = gateway.check()
        return done.returncode, done.stderr.splitlines()

    check.text, check.gateway = text, gateway
    return check


def line_of(text, part):
    return text[:text.index(part)].count("\n") + 1


def test_a_fresh_directory_has_no_mistakes(conf):
    assert conf(conf.text) == (0, [])
    assert not re.search("issue|session", conf.text)


def test_a_fresh_directory_serves(new_gateway, acme):
    gateway = new_gateway()
    gateway.start(write=False)
    device = gateway.own(acme.idevid())
    cert = est.enroll(gateway, pki.csr(pki.ec_key()), device).cert()
    assert cert.subject.rfc4514_string().count(device.serial) == 2  # the tag ends in it
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device, label="guarded").status == 202
    keygen = est.post(gateway, "serverkeygen", pki.csr(pki.ec_key()), device)
    assert keygen.status == 200
    expired = gateway.own(acme.idevid(not_after=pki.ago(days=1)))
    assert est.enroll(gateway, pki.csr(pki.ec_key()), expired).status == 200, "factory certificates outlive their dates"


def test_a_fresh_directory_keeps_its_root_key_aside(conf):
    gateway = conf.gateway
    root = x509.load_pem_x509_certificate(open(gateway.root, "rb").read())
    issuing = x509.load_pem_x509_certificate(open(gateway.issuing, "rb").read())
    assert root.issuer == root.subject == issuing.issuer
    assert issuing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert "offline" not in conf.text
    os.unlink(os.path.join(gateway.dir, "offline/root.key"))
    assert conf(conf.text)[0] == 0
    for folder in ("", "ca", "tls", "trust"):
        assert stat.S_IMODE(os.stat(os.path.join(gateway.dir, folder)).st_mode) == 0o700


def test_init_does_not_touch_what_is_there(conf):
    before = open(conf.gateway.root, "rb").read()
    done = run(binary("enrolld"), "--init", conf.gateway.dir)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert open(conf.gateway.root, "rb").read() == before


def test_init_refuses_what_it_cannot_do(tmp_path):
    for words, code in ((["--init", tmp_path / "a", "--port", "0"], 2), (["--init", tmp_path / "b", "--trust", "x"], 1),
                        (["--init", tmp_path / "c", "--trust", "x=/nonexistent"], 1),
                        (["--init", "/proc/nowhere"], 1), (["--init", tmp_path / "d", "--trust", "../x=/etc/passwd"], 1),
                        (["--nonsense"], 2), (["stray"], 2)):
        done = run(binary("enrolld"), *words)
        assert done.returncode == code, (words, done)
        assert done.stderr


def test_a_folder_that_looks_like_a_scheme_is_a_folder(tmp_path):
    done = run(binary("enrolld"), "--init", "site:1", cwd=tmp_path)
    assert done.returncode == 0, done
    done = run(binary("enrolld"), "-c", "site:1/enrolld.conf", "--check", cwd=tmp_path)
    assert done.returncode == 0, done


def test_the_example_file_has_no_mistakes_of_its_own(tmp_path):
    """Only the files and folders that it names are missing here."""
    text = open(os.path.join(TREE, "gateway/enrolld.conf.example")).read()
    (tmp_path / "enrolld.conf").write_text(text)
    done = run(binary("enrolld"), "-c", tmp_path / "enrolld.conf", "--check")
    other = [line for line in done.stderr.splitlines() if "No such file or directory" not in line]
    assert other == []


MISTAKES = [
    # what to replace, by what, which line complains (a part of the changed text), what it says
    ('lifetime = "90d"', 'lifetimes = "90d"', "lifetimes", 'unknown setting "lifetimes" (did you mean "lifetime"?)'),
    ('lifetime = "90d"', 'lifetime = "90 moons"', "90 moons", "profiles \"device\": lifetime"),
    ('lifetime = "90d"', "lifetime = 90.5", "90.5", "lifetime"),
    ('lifetime = "90d"', "workers = 3", "workers = 3", 'belongs in "threads"'),
    ("store = {", "storage = {", "storage = {", "storage"),
    ('path = "enrolld.db"', 'path = "missing/enrolld.db"', "missing/enrolld.db", "No such file"),
    ('certificate = "tls/server.pem"', 'certificate = "tls/missing.pem"', "tls/missing.pem", "No such file"),
    ('certificate = "tls/server.pem"', 'certificate = "ca/root.pem"', "tls = {", "not the key of the certificate"),
    ('"file:tls/server.key"', '"pkcs11:token=x"', "pkcs11:token", "key"),
    ('"file:ca/issuing.key"', '"file:tls/server.key"', 'key = "file:tls/server.key";\n    chain', "not the key"),
    ('chain = [ "ca/root.pem" ]', 'chain = [ "trust/acme.pem" ]', None, ""),
    ('ca = "issuing";\n    auth', 'ca = "other";\n    auth', 'ca = "other"', 'there is no "other" in cas'),
    ('profile = "device";\n    ca', 'profile = "devices";\n    ca', 'profile = "devices"', 'there is no "devices"'),
    ('name = "guarded"', 'name = "cacerts"', 'name = "cacerts"', "EST operation"),
    ('name = "guarded"', 'name = ""', None, "two of this name"),
    ('name = "guarded"', 'name = "a/b"', "a/b", "name"),
    ('approval = "manual"', 'approval = "perhaps"', "perhaps", '"none", "manual"'),
    ('operations = [ "enroll" ]', 'operations = [ "enroll", "dance" ]', "dance", "dance"),
    ('operations = [ "enroll" ]', "operations = [ ]", "operations = [ ]", "operations"),
    ('"CN={tag},O={owner},serialNumber={serial}"', '"CN={tags}"', "{tags}", "tags"),
    ('"CN={tag},O={owner},serialNumber={serial}"', '"XX={tag}"', "XX=", "XX"),
    ('"dns:{hostname}"', '"mail:{hostname}"', "mail:", "mail"),
    ('"PID:[^ ]+ SN:([A-Za-z0-9-]+)"', '"SN:["', '"SN:["', "pattern"),
    ('"PID:[^ ]+ SN:([A-Za-z0-9-]+)"', '"no group"', '"no group"', "group"),
    ('field = "subject_serial"', 'field = "subject_shoe_size"', "shoe", "field"),
    ('anchor = "idevid_serial"', 'anchor = "chain"', 'anchor = "chain"', "anchor"),
    ('trust/acme.pem', 'trust/nobody.pem', "trust/nobody.pem", "No such file"),
    ('accept_expired = true', 'accept_expired = "yes"', "accept_expired = ", "accept_expired"),
    ('control = "control.sock"', 'control = "%s"' % ("x" * 120), "control = ", "at most 107 octets"),
    ('admin = "127.0.0.1:', 'admin = "192.0.2.1:', "192.0.2.1", "loopback"),
    ('"[::1]:', '"[::1', '"[::1', "address"),
    ('keygen.master"', 'keygen.missing"', "keygen.missing", "No such file"),
    ('retry_after = "2s"', 'retry_after = "0s"', 'retry_after = "0s"', "retry_after"),
    ("store = {", "limits = { workers = 7; body = \"2G\"; header = \"1\"; };\nstore = {", "limits = {", "limits.body"),
    ("store = {", "tls = { };\nstore = {", None, "tls"),
    ("store = {", "store = = {", None, "syntax error"),
]


@pytest.mark.parametrize("old,new,part,says", MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_a_mistake_is_told_with_file_line_and_reason(conf, old, new, part, says):
    assert old in conf.text
    text = conf.text.replace(old, new, 1) if old != "store = {" else conf.text.replace("\n" + old, "\n" + new, 1)
    code, complaints = conf(text)
    assert code == 1 and complaints, "accepted: " + new
    where = [re.fullmatch(r"(.+/enrolld\.conf)(?::(\d+))?: (.+)", line) for line in complaints]
    assert all(where), complaints
    hits = [match for match in where if says in match.group(3) and match.group(2)]
    assert hits, complaints
    if part is not None:
        assert line_of(text, part) in [int(match.group(2)) for match in hits], (complaints, line_of(text, part))


def test_many_mistakes_are_told_at_once(conf):
    text = conf.text.replace('lifetime = "90d"', 'lifetime = "x"').replace('ca = "issuing"', 'ca = "other"') \
        .replace('admin = "127', 'admin = "8.8.8').replace("store = {", "store = { colour = 1;")
    code, complaints = conf(text)
    assert code == 1
    assert len(complaints) >= 5
    assert len(set(complaints)) == len(complaints)


def test_an_included_file_is_named(conf):
    with open(os.path.join(conf.gateway.dir, "more.conf"), "w") as out:
        out.write("\n\nthreads = { workers = 0; };\n")
    code, complaints = conf(conf.text + '@include "more.conf"\n')
    assert code == 1
    assert any(re.search(r"more\.conf:3: .*workers", line) for line in complaints), complaints


def test_a_key_that_others_can_read_is_refused(conf):
    for name in ("tls/server.key", "ca/issuing.key", "keygen.master"):
        path = os.path.join(conf.gateway.dir, name)
        os.chmod(path, 0o644)
        code, complaints = conf(conf.text)
        assert code == 1 and any(name in line for line in complaints), complaints
        os.chmod(path, 0o600)
    assert conf(conf.text)[0] == 0


def test_a_missing_file_is_told(tmp_path):
    done = run(binary("enrolld"), "-c", tmp_path / "none.conf", "--check")
    assert done.returncode == 1 and "none.conf" in done.stderr


def test_enrolld_does_not_start_on_a_configuration_with_mistakes(conf):
    conf(conf.text.replace('lifetime = "90d"', 'lifetime = "x"'))
    done = run(binary("enrolld"), "-c", conf.gateway.conf)
    assert done.returncode == 1
    assert re.search(r"enrolld\.conf:\d+: ", done.stderr)


def test_whatever_check_accepts_also_starts(new_gateway):
    """The ends of the ranges of limits, as the manual has them."""
    for limits in ({"auth_failures": 256, "auth_window": "1d", "auth_lock": "7d", "queue": 100000},
                   {"connections": 1, "queue": 1, "requests_per_connection": 1, "auth_failures": 1, "header": "1k",
                    "body": "1k"},
                   {"connections": 1000000, "connections_per_address": 1000000, "header": "24k", "body": "1M"}):
        gateway = new_gateway()
        gateway.settings["limits"] = limits
        gateway.write()
        assert gateway.check().returncode == 0
        gateway.start()
        assert est.get(gateway, "cacerts").status == 200


def test_the_manual_names_every_setting_of_the_example():
    manual = run(binary("enrolld"), "--config-manual").stdout
    text = open(os.path.join(TREE, "gateway/enrolld.conf.example")).read()
    for key in re.findall(r"^\s*#?([a-z_0-9]+) = ", text, re.M):
        assert key in manual, key
