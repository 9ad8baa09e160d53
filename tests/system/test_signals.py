"""SIGHUP changes what is in force without disturbing anybody; SIGTERM loses no answer."""
import os
import signal
import socket
import threading
import time

from cryptography import x509

import est
import pki
from gateway import binary, run


def peer_serial(conn):
    return x509.load_der_x509_certificate(conn.sock.getpeercert(True)).serial_number


def new_server_certificate(gateway):
    """Another key and certificate in the files that the configuration names."""
    key = pki.ec_key()
    issuer = x509.load_pem_x509_certificate(open(gateway.issuing, "rb").read())
    issuer_key = pki.serialization.load_pem_private_key(
        open(os.path.join(gateway.dir, "ca/issuing.key"), "rb").read(), None)
    cert = pki.server_cert(issuer, issuer_key, key)
    with open(os.path.join(gateway.dir, "tls/server.pem"), "wb") as out:
        out.write(pki.cert_pem(cert) + pki.cert_pem(issuer))
    with open(os.path.join(gateway.dir, "tls/server.key"), "wb") as out:
        out.write(pki.key_pem(key))
    return cert.serial_number


def test_a_new_server_certificate_serves_new_connections_and_old_ones_go_on(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    with est.Conn(gateway, device) as old:
        before = peer_serial(old)
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=old).status == 200
        serial = new_server_certificate(gateway)
        assert "is in force" in gateway.reload()
        with est.Conn(gateway, device) as fresh:
            assert peer_serial(fresh) == serial != before
            assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=fresh).status == 200
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=old).status == 200
        assert peer_serial(old) == before
    assert gateway.metrics()["enrolld_reloads_total"] == 1


def test_many_reloads_under_load_fail_no_handshake(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    done, statuses = threading.Event(), []

    def client():
        while not done.is_set():
            try:
                statuses.append(est.enroll(gateway, pki.csr(pki.ec_key()), device).status)
            except (OSError, est.Closed) as problem:
                statuses.append(repr(problem))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        new_server_certificate(gateway)
        assert "is in force" in gateway.reload()
    done.set()
    for thread in threads:
        thread.join(60)
    assert len(statuses) > 10 and set(statuses) == {200}


def test_a_broken_configuration_changes_nothing_and_every_mistake_is_logged(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    good = dict(gateway.settings)
    gateway.settings = dict(good, limits={"body": "enormous", "bodies": 1}, labels=[dict(good["labels"][0], ca="none")])
    log = gateway.reload()
    assert "former configuration stays in force" in log
    for complaint in ("limits.body", 'unknown setting \\"bodies\\"', 'there is no \\"none\\" in cas'):
        assert complaint in log or complaint.replace("\\", "") in log, log
    assert log.count(" error config ") >= 3
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    with open(gateway.conf, "w") as out:
        out.write("this is not a configuration")
    assert "stays in force" in gateway.reload(write=False)
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    gateway.settings = good
    with open(os.path.join(gateway.dir, "tls/server.key"), "wb") as out:
        out.write(pki.key_pem(pki.ec_key()))  # the key of another certificate
    assert "is in force" not in gateway.reload()
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    assert gateway.metrics()["enrolld_reloads_failed_total"] == 3
    new_server_certificate(gateway)
    assert "is in force" in gateway.reload()


def test_a_new_trust_anchor_takes_effect_also_on_connections_that_are_open(new_gateway, acme, globex):
    gateway = new_gateway().start()
    device = gateway.own(globex.idevid(), issuer="globex")
    with est.Conn(gateway, device) as conn:
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn).status in (401, 403)
        wanted = gateway._settings((acme, globex))
        gateway.settings.update(trust=wanted["trust"], identity=wanted["identity"], labels=wanted["labels"])
        assert "is in force" in gateway.reload()
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn).status == 200
        former = gateway._settings((acme,))
        gateway.settings.update(trust=former["trust"], identity=former["identity"], labels=former["labels"])
        assert "is in force" in gateway.reload()
        assert est.enroll(gateway, pki.csr(pki.ec_key()), conn=conn).status in (401, 403)


def test_labels_profiles_and_logs_follow_a_reload(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device, label="late").status == 404
    gateway.add_profile("short", lifetime="1d")
    gateway.add_label("late", profile="short")
    gateway.settings["log"] = {"format": "json"}
    gateway.write()
    since = len(gateway.log)
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_log(r"^\{.*\"event\":\"reload\"", since)
    cert = est.enroll(gateway, pki.csr(pki.ec_key()), device, label="late").cert()
    assert cert.not_valid_after <= pki.ahead(days=1)


def test_sigterm_under_load_loses_no_answer(new_gateway, acme):
    gateway = new_gateway().start()
    devices = [acme.idevid() for _ in range(8)]
    gateway.own(*devices)
    started, bodies, lost = threading.Semaphore(0), [], []

    def client(device):
        # a request that was sent as a whole is answered as a whole, or the connection was closed before it was read
        with est.Conn(gateway, device) as conn:
            for i in range(200):
                body = est.base64.b64encode(pki.csr(pki.ec_key(), "CN=%d" % i))
                try:
                    conn.send(est.request("POST", est.path("simpleenroll"), body))
                except OSError:
                    return
                try:
                    answer = conn.receive()
                except est.Closed as closed:
                    if closed.received:
                        lost.append(closed.received)
                    return
                assert answer.status == 200
                bodies.append(answer.body)
                started.release()
                if answer.get("Connection") == "close":
                    return

    def stopper():
        for _ in range(20):
            assert started.acquire(timeout=60)
        gateway.process.send_signal(signal.SIGTERM)

    est.in_parallel([lambda d=device: client(d) for device in devices] + [stopper])
    gateway.stop()
    assert not lost
    assert len(bodies) >= 20
    connection = gateway.database()
    recorded = {row[0] for row in connection.execute("SELECT sha256 FROM certificate")}
    connection.close()
    released = {pki.hashlib.sha256(pki.cert_der(est.Response(b"HTTP/1.1 200 OK\r\n", body).cert())).digest()
                for body in bodies}
    assert released == recorded, "what was issued was delivered, and what was delivered was recorded"


def test_sigterm_waits_for_a_request_under_way(new_gateway, acme):
    gateway = new_gateway().start()
    device = gateway.own(acme.idevid())
    body = est.base64.b64encode(pki.csr(pki.ec_key()))
    octets = est.request("POST", est.path("simpleenroll"), body)
    with est.Conn(gateway, device) as conn:
        conn.send(octets[:-10])
        deadline_free = est.Conn(gateway)  # idle: is closed at once
        since = len(gateway.log)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_log(" stop ", since)
        assert deadline_free.at_end() == b""
        conn.send(octets[-10:])
        answer = conn.receive()
        assert answer.status == 200 and answer.get("Connection") == "close"
        assert conn.at_end() == b""


def test_new_connections_are_refused_while_stopping(new_gateway):
    gateway = new_gateway().start()
    with est.Conn(gateway) as conn:
        conn.send(b"GET /.well-known/est/cacerts HTTP/1.1\r\n")
        since = len(gateway.log)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_log(" stop ", since)
        refused = False
        deadline = time.monotonic() + 10
        while not refused and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", gateway.port), 5).close()
            except OSError:
                refused = True
        conn.send(b"Host: localhost\r\n\r\n")
        assert conn.receive("GET").status == 200
    assert refused


def test_a_second_gateway_on_the_same_store_refuses_to_start(new_gateway):
    gateway = new_gateway().start()
    done = run(binary("enrolld"), "-c", gateway.conf)
    assert done.returncode == 1
    assert "another enrolld" in done.stderr
    assert est.get(gateway, "cacerts").status == 200
