"""Many idle and slow connections do not keep a well-behaved device from its certificate; fleets enroll."""
import json
import resource

import pytest

import est
import pki
from gateway import binary, run

IDLE, SLOW = 300, 60


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.settings["threads"]["workers"] = 4
    return gateway.start()


@pytest.fixture(autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_device_enrolls_beside_idle_and_slow_connections(gw, device):
    ctx = est.context(gw.root)
    idle = [est.Conn(gw, ctx=ctx) for _ in range(IDLE)]
    slow = [est.Conn(gw, ctx=ctx) for _ in range(SLOW)]
    for i, conn in enumerate(slow):
        conn.send([b"P", b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n",
                   b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nMII"][i % 3])
    assert gw.metrics()["enrolld_connections_open"] >= IDLE + SLOW
    for _ in range(5):
        assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 200
    with est.Conn(gw, device) as conn:
        for _ in range(5):
            assert est.enroll(gw, pki.csr(pki.ec_key()), conn=conn).status == 200
    assert gw.admin_get("/readyz")[0] == 200
    assert gw.ctl("status")["store_failing"] is False
    for conn in idle[:50]:  # they are alive
        assert conn.request("GET", est.path("csrattrs")).status == 204
    for conn in idle + slow:
        conn.close()


def test_clients_that_leave_before_their_answer_do_no_harm(gw, device):
    body = est.base64.b64encode(pki.csr(pki.ec_key()))
    for _ in range(40):
        with est.Conn(gw, device) as conn:
            conn.send(est.request("POST", est.path("simpleenroll"), body))
    assert est.enroll(gw, body, device).status == 200
    assert len(gw.certs(device.tag)) == 1


def test_a_fleet_from_the_factory_enrolls_and_renews(new_gateway, acme, tmp_path):
    factory, issued = tmp_path / "factory", tmp_path / "issued"
    done = run(binary("devsim"), "factory", "--out", factory, "--count", "30", "--manufacturer", "maker", "--model", "M1",
               "--owner", "Fleet")
    assert done.returncode == 0, done.stderr
    maker = type("Maker", (), {"name": "maker", "pem": str(factory / "manufacturer/root.pem")})
    gateway = new_gateway(maker).start()
    assert gateway.ctl("import", factory / "assets.csv", "--create-owners")["added"] == 30

    def fleet(devices, op):
        report = tmp_path / (op + ".json")
        done = run(binary("devsim"), "fleet", "--devices", devices, "--url", "https://localhost:%d" % gateway.port,
                   "--cacert", gateway.root, "--op", op, "--concurrency", "8", "--out", issued, "--report", report)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(report.read_text())

    fleet(factory / "devices", "enroll")
    assert len(gateway.ctl("cert", "list", "--limit", "1000")) == 30
    fleet(issued, "reenroll")
    assert len(gateway.ctl("cert", "list", "--limit", "1000")) == 60
    assert all(row["certs_valid"] == 2 for row in gateway.ctl("asset", "list"))
    gateway.ctl("audit", "verify")
