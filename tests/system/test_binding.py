"""Linking identity and proof of possession (RFC 7030, section 3.5; RFC 9266 on TLS 1.3)."""
import base64
import json
import ssl

import pytest

import est
import pki
from gateway import binary, run

NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET of OpenSSL 3
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_label("bound", binding="require")
    gateway.add_label("unbound", binding="ignore")
    return gateway.start()


def bound_request(conn, value=None, newline=False):
    value = conn.unique() if value is None else value
    text = base64.b64encode(value).decode() + ("\n" if newline else "")
    return pki.csr(pki.ec_key(), challenge=text)


def reason(gw, device):
    return gw.audit("enroll.denied", device.tag)[-1]["detail"]["reason"]


@pytest.mark.parametrize("label", ["", "bound", "unbound"])
@pytest.mark.parametrize("newline", [False, True])
def test_tls_unique_of_this_connection_is_accepted(gw, device, label, newline):
    with est.Conn(gw, device, TLS12) as conn:
        csr = bound_request(conn, newline=newline)
        assert est.enroll(gw, csr, conn=conn, label=label).status == 200


def test_tls_unique_holds_for_every_request_of_its_connection(gw, device):
    with est.Conn(gw, device, TLS12) as conn:
        for _ in range(3):
            assert est.enroll(gw, bound_request(conn), conn=conn, label="bound").status == 200


@pytest.mark.parametrize("label", ["", "bound"])
def test_tls_unique_of_another_connection_is_refused(gw, device, label):
    with est.Conn(gw, device, TLS12) as other, est.Conn(gw, device, TLS12) as conn:
        answer = est.enroll(gw, bound_request(other), conn=conn, label=label)
    assert answer.status == 403
    assert reason(gw, device) == "csr.binding"
    assert gw.certs(device.tag) == []


@pytest.mark.parametrize("challenge", ["AAAA", "not base64!", "AAAAAAAAAAAAAAAA", "a shared secret"])
def test_a_challenge_that_is_no_binding_is_refused(gw, device, challenge):
    with est.Conn(gw, device, TLS12) as conn:
        assert est.enroll(gw, pki.csr(pki.ec_key(), challenge=challenge), conn=conn).status == 403
    assert reason(gw, device) == "csr.binding"


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_an_absent_binding_is_refused_where_it_is_required(gw, device, version):
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="bound", version=version).status == 403
    assert reason(gw, device) == "csr.binding"
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, version=version).status == 200


def test_a_label_may_ignore_challenges(gw, device):
    csr = pki.csr(pki.ec_key(), challenge="a shared secret")
    assert est.enroll(gw, csr, device, label="unbound").status == 200


def test_tls_1_2_without_extended_master_secret_has_no_tls_unique(gw, device):
    """Without it two connections can be made to have the same Finished messages (RFC 7627)."""
    ctx = est.context(gw.root, device, TLS12)
    ctx.options |= NO_EXTENDED_MASTER_SECRET
    with est.Conn(gw, ctx=ctx) as conn:
        assert conn.unique()
        assert est.enroll(gw, bound_request(conn), conn=conn, label="bound").status == 403
        assert est.enroll(gw, bound_request(conn), conn=conn).status == 403
        assert est.enroll(gw, pki.csr(pki.ec_key()), conn=conn).status == 200


def test_sessions_are_not_resumed_so_finished_messages_do_not_swap(gw, device):
    ctx = est.context(gw.root, device, TLS12)
    with est.Conn(gw, ctx=ctx) as first:
        session = first.sock.session
        assert first.request("GET", est.path("cacerts")).status == 200
    raw = est.socket.create_connection(("127.0.0.1", gw.port), est.TIMEOUT)
    with ctx.wrap_socket(raw, server_hostname="localhost", session=session) as second:
        assert not second.session_reused


def devsim(gw, device, tmp_path, *options):
    done = run(binary("devsim"), "enroll", "--url", "https://localhost:%d" % gw.port, "--cacert", gw.root,
               "--device", device.stem, "--out", tmp_path, "--json", *options)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("label", ["", "bound"])
def test_the_devices_binding_is_accepted(gw, device, tmp_path, version, label):
    options = ["--label", label] if label else []
    code, out = devsim(gw, device, tmp_path, "--tls", version, "--binding", "auto", *options)
    assert code == 0, out
    rows = gw.certs(device.tag)
    assert len(rows) == 1
    explained = gw.ctl("explain", rows[0]["request"])
    rules = {rule: (verdict, saw) for rule, verdict, saw in explained["decisions"][0]["rules"]}
    assert rules["csr.binding"] == ("pass", "binding=matches")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("label", ["", "bound"])
def test_a_wrong_binding_is_refused(gw, device, tmp_path, version, label):
    options = ["--label", label] if label else []
    code, out = devsim(gw, device, tmp_path, "--tls", version, "--binding", "wrong", *options)
    assert code == 3, out
    assert reason(gw, device) == "csr.binding"
    assert gw.certs(device.tag) == []
