"""Certificates per second through each connector, beside the CA's own rate.

direct   the connector's issue() in a loop of as many threads as the gateway may
         have calls under way (tests/ca/drive.c, "bench"): no store, no devices
through  EST enrollments of DEVICES devices on kept connections, by a gateway
         whose label names that CA

The CA runs on core 0, and before everybody else there, in both: it stands for a
machine of its own. The gateway and the generator, as the driver of "direct",
run where there is room, and yield to it (nice). One turn of each first, so that logs
and stores are as large as they get; then rows take turns; medians. Both figures
are of the clock, since what the CA can do is what is compared: when "CA busy" is
low in the second row, it is the rest of this machine that was the limit. "alone"
is computed: what the gateway's CPU time comes to when it has all the cores of
this machine, and CA and devices are elsewhere, as they are.
"""
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

TESTS = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
CA_CORE, OURS = "0", None
CORES = len(os.sched_getaffinity(0))
DEVICES = 32
START_S = 60
TABLES = """
CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob,
  status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL,
  expiry timestamp, PRIMARY KEY (serial_number, authority_key_identifier));
"""


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def on(place):
    return ["nice", "-n", "10"] if place is OURS else ["taskset", "-c", place]


def enrolld(bench, name, place, trust):
    """A gateway of the system tests that logs to a file."""
    from gateway import Gateway, binary

    class Pinned(Gateway):
        def start(self):
            self.settings["log"] = {"level": "warn"}
            self.settings["threads"] = {"workers": 2 * DEVICES}
            self.write()
            with open(os.path.join(self.dir, "log"), "w") as log:
                self.process = subprocess.Popen(on(place) + [binary("enrolld"), "-c", self.conf], stderr=log)
            ends = time.monotonic() + START_S
            while True:
                try:
                    self.ctl("status")
                    return self
                except AssertionError:
                    if self.process.poll() is not None or time.monotonic() > ends:
                        sys.exit("enrolld: " + self.problems())
                    time.sleep(0.05)

        def problems(self):
            return Path(self.dir, "log").read_text()[-3000:]

        def stop(self):
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    gateway = Pinned(bench.dir / name, trust)
    gateway.settings["profiles"][0].update(subject="CN={tag}", san=["dns:{tag}"])
    return gateway


class Ca:
    """settings: as in `cas`, and as tests/ca/drive takes them; pid; stop()."""
    label, profile = {}, {}  # what the gateway's need besides
    rsa = False
    threads = 16  # calls under way at once, in both rows: the most that `calls` takes

    def __init__(self, bench, tags):
        self.bench, self.tags, self.dir = bench, tags, str(bench.dir / ("ca-" + self.name))
        os.mkdir(self.dir)
        self.names = os.path.join(self.dir, "names")
        self.start()
        Path(self.names).write_text("".join(tag + "\n" for tag in tags))

    def serve(self, command, port, tree, **kw):
        import driver
        self.service = driver.Service(on(CA_CORE) + command, port, os.path.join(self.dir, "log"), tree.dir, **kw)
        self.pid = self.service.process.pid

    def stop(self):
        self.service.stop()


class Cfssl(Ca):
    name, program, package = "cfssl", "cfssl", "golang-cfssl"

    def start(self):
        import driver
        from gateway import free_port
        tree, port, key = driver.Hierarchy(self.dir), free_port(), os.urandom(16).hex()
        profile = {"usages": ["digital signature", "client auth"], "expiry": "20h", "backdate": "1m", "auth_key": "gate"}
        config = tree.path("config.json", json.dumps({
            "signing": {"default": profile, "profiles": {"device": profile}},
            "auth_keys": {"gate": {"type": "standard", "key": key}}}).encode())
        with sqlite3.connect(tree.path("certs.db")) as db:
            db.executescript(TABLES)
        database = tree.path("db.json", json.dumps({"driver": "sqlite3", "data_source": tree.path("certs.db")}).encode())
        self.serve([self.program, "serve", "-address", "127.0.0.1", "-port", str(port), "-ca", tree.issuing, "-ca-key",
                    tree.issuing_key_file, "-config", config, "-db-config", database, "-tls-cert", tree.server, "-tls-key",
                    tree.server_key_file, "-loglevel", "4"], port, tree)
        self.settings = {"type": "cfssl", "url": "https://127.0.0.1:%d" % port, "tls_ca": tree.root,
                         "certificate": tree.issuing, "chain": [tree.root], "profile": "device",
                         "secret_file": tree.path("secret", key.encode() + b"\n")}


class StepCa(Ca):
    name, program, package = "step-ca", "step-ca", None
    template = """{"subject": {{ toJson .Token.subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"]}"""

    def start(self):
        import base64

        import driver
        from cryptography.hazmat.primitives.asymmetric import ec
        from gateway import free_port
        tree, port, key = driver.Hierarchy(self.dir), free_port(), ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        provisioner = {"type": "JWK", "name": "gate", "options": {"x509": {"template": self.template}},
                       "key": {"use": "sig", "kty": "EC", "kid": "gate-1", "crv": "P-256", "alg": "ES256", "x": x, "y": y},
                       "claims": {"maxTLSCertDuration": "2400h", "defaultTLSCertDuration": "24h"}}
        tree.path("ca.json", json.dumps({
            "root": tree.root, "crt": tree.issuing, "key": tree.issuing_key_file, "address": "127.0.0.1:%d" % port,
            "dnsNames": ["127.0.0.1"], "db": {"type": "badgerv2", "dataSource": tree.path("db")},
            "authority": {"provisioners": [provisioner]}}).encode())
        self.serve([self.program, tree.path("ca.json")], port, tree, env=dict(os.environ, STEPPATH=tree.dir, HOME=tree.dir))
        self.settings = {"type": "stepca", "url": "https://127.0.0.1:%d" % port, "tls_ca": tree.root,
                         "certificate": tree.issuing, "chain": [tree.root], "profile": "gate", "user": "gate-1",
                         "key_file": tree.path("provisioner.key", driver.key_pem(key))}


class Enrolld(Ca):
    """A second enrolld. What it writes must lie within what the gateway approved: a shorter lifetime."""
    name, program, package = "est", None, None

    def start(self):
        import est
        import pki
        maker = pki.Manufacturer(self.dir, "registrars")
        up = self.gateway = enrolld(self.bench, "upstream", CA_CORE, self.bench.makers + (maker,))
        up.settings["profiles"][0]["lifetime"] = "89d"
        up.add_profile("registrar", eku=["clientAuth", "cmcRA"], classes=["registrar"], san=[])
        up.add_label("registrars", profile="registrar", auth=["certificate"], trust=["registrars"])
        up.add_label("site", auth=["own", "registrar"])
        up.start()
        self.pid = up.process.pid
        up.ctl("import", str(self.bench.dir / "factory/assets.csv"), "--create-owners")
        key, made = pki.ec_key(), maker.idevid()
        up.own(made, issuer="registrars", owner="Bench", **{"class": "registrar"})
        mine = made.with_cert(Path(self.dir), est.enroll(up, pki.csr(key, ""), made, label="registrars").cert(), key)
        self.settings = {"type": "est", "url": "https://127.0.0.1:%d" % up.port, "tls_ca": up.root, "profile": "site",
                         "client_cert": mine.pem, "client_key": mine.key_file, "certificate": up.issuing, "chain": [up.root]}

    def stop(self):
        self.gateway.stop()


class Scepserver(Ca):
    """micromdm's. It knows RSA alone, and its serial numbers begin where its depot says: past what the gateway refuses."""
    name, program, package = "scep", "scepserver", "scep"
    label = {"binding": "ignore"}
    profile = {"san": []}
    rsa = True
    threads = 1  # with more it answers some with badRequest

    def start(self):
        from gateway import free_port
        port = free_port()
        subprocess.run([self.program, "ca", "-init", "-depot", "depot", "-keySize", "2048"], cwd=self.dir, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Path(self.dir, "depot/serial").write_text("1" + os.urandom(12).hex().upper() + "0\n")
        self.serve([self.program, "-depot", "depot", "-port", str(port), "-allowrenew", "0", "-crtvalid", "60"],
                   port, SimpleNamespace(dir=self.dir))
        ca = os.path.join(self.dir, "depot/ca.pem")
        self.settings = {"type": "scep", "url": "http://127.0.0.1:%d/scep" % port, "allow_plain": True, "tls_ca": ca,
                         "certificate": ca, "auth": "legacy"}


class Cmp(Ca):
    """The CMP CA of these tests, on OpenSSL's server half: it does what a CA has to, and keeps its records in memory."""
    name, program, package = "cmp", None, None
    profile = {"san": []}  # names are the request's

    def start(self):
        import cmp_ca
        import driver
        self.service = cmp_ca.CmpCa(driver.Hierarchy(self.dir), prefix=on(CA_CORE)).start(journal=False)
        self.pid, self.settings = self.service.process.pid, self.service.settings


class Documented(Ca):
    """
    A server of the documented API in Python, in a process of its own, because the real one is not to be had: its rate says what
    the connector costs beside it, not what such a CA does.
    """
    program = package = None

    def start(self):
        import driver
        self.tree = tree = driver.Hierarchy(self.dir)
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(told)
            os.sched_setaffinity(0, {int(CA_CORE)})
            server = self.serve_api(tree)
            os.write(tell, json.dumps({"port": server.port, "secret": self.secret_of(server)}).encode())
            os.close(tell)
            signal.pause()
            os._exit(0)
        os.close(tell)
        with os.fdopen(told) as lines:
            up = json.loads(lines.read())
        self.settings = dict(type=self.name, url="https://127.0.0.1:%d" % up["port"], tls_ca=tree.root, certificate=tree.issuing,
                             chain=[tree.root], secret_file=tree.path("secret", up["secret"].encode()), **self.own(tree))

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)


class Vault(Ca):
    name, program, package = "vault", "vault", None
    profile = {"subject": "CN={tag},O={owner}"}

    def start(self):
        import driver
        from vault_peer import VaultPeer
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {int(CA_CORE)})
        try:
            peer = VaultPeer(driver.Hierarchy(self.dir), organization=self.bench.owner)
        finally:
            os.sched_setaffinity(0, cores)
        self.service, self.pid = peer.service, peer.service.process.pid
        self.settings = dict(peer.ca, type="vault", chain=[peer.tree.root])


class Ejbca(Documented):
    name = "ejbca"
    profile = {"san": []}  # names are the request's

    def serve_api(self, tree):
        from ejbca_server import EjbcaServer
        return EjbcaServer(tree, clients=tree.root)

    @staticmethod
    def secret_of(_):
        return os.urandom(16).hex()

    @staticmethod
    def own(tree):
        return {"profile": "DEVICE", "end_entity_profile": "DEVICE_EE", "authority": "Plant CA", "client_cert": tree.server,
                "client_key": tree.server_key_file}


CAS = [Cfssl, Enrolld, Cmp, Scepserver, StepCa, Vault, Ejbca]


def through(bench, ca):
    """A gateway whose only label is about that CA."""
    gateway = enrolld(bench, "through-" + ca.name, OURS, bench.makers)
    gateway.settings["cas"].append(dict(ca.settings, name="upstream", wait="20s", calls=ca.threads))
    gateway.add_profile("upstream", **ca.profile)
    gateway.add_label("upstream", ca="upstream", profile="upstream", operations=["enroll"], **ca.label)
    gateway.start()
    gateway.ctl("import", str(bench.dir / "factory/assets.csv"), "--create-owners")
    return gateway


def measure(command, pids):
    """pids: {name: process}. Its JSON, with the CPU seconds that each of them used."""
    generator = subprocess.Popen(on(OURS) + [str(word) for word in command], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
    generator.stdout.readline()
    pids = dict(pids, generator=generator.pid)
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    generator.stdin.write("\n")
    generator.stdin.flush()
    line = generator.stdout.readline()
    if not line:
        sys.exit("the generator has ended")
    seen = json.loads(line)
    seen["cpu"] = {name: cpu_s(pid) - before[name] for name, pid in pids.items() if name != "generator"}
    generator.stdin.close()
    _, _, used = os.wait4(generator.pid, 0)
    seen["cpu"]["generator"] = used.ru_utime + used.ru_stime
    generator.returncode = 0
    generator.stdout.close()
    if seen["failures"]:
        sys.exit("%d of %d failed; the first: %s" % (seen["failures"], seen["ops"], seen["first_failure"]))
    return seen


def words_of(settings):
    words = []
    for key, value in settings.items():
        words += ["%s=%s" % (key, one) for one in (value if isinstance(value, list) else [value])]
    return words


def rates(bench, ca, rounds, count):
    gateway = through(bench, ca)
    direct = [bench.bin / "ca/drive"] + words_of(dict(ca.settings, calls_max=ca.threads))
    direct += ["bench", ca.threads, count, ca.names, "rsa" if ca.rsa else "ec"]
    asked = [bench.bin / "bench/load", "--port", gateway.port, "--devices", bench.dir / "factory/devices", "--count", count,
             "--threads", DEVICES, "--path", "/.well-known/est/upstream/simpleenroll", "--enroll", "--keep", "--names",
             ca.names] + ["--rsa"] * ca.rsa
    rows = {"direct": [], "through": []}
    try:
        for _ in range(1 + rounds):
            rows["direct"].append(measure(direct, {"ca": ca.pid}))
            rows["through"].append(measure(asked, {"ca": ca.pid, "gateway": gateway.process.pid}))
    except SystemExit as problem:
        sys.exit("%s: %s\n%s" % (ca.name, problem, gateway.problems()))
    finally:
        gateway.stop()
    return {name: summary(seen[1:]) for name, seen in rows.items()}


def summary(seen):
    def median(value):
        return statistics.median(value(one) for one in seen)

    per_s = [one["ops"] / one["seconds"] for one in seen]
    return {"per_s": statistics.median(per_s), "spread": [round(min(per_s)), round(max(per_s))],
            "p50_ms": median(lambda one: one["p50_ms"]), "p99_ms": median(lambda one: one["p99_ms"]),
            "ca_ms": median(lambda one: one["cpu"]["ca"] * 1000 / one["ops"]),
            "ca_busy": median(lambda one: one["cpu"]["ca"] / one["seconds"]),
            "generator_ms": median(lambda one: one["cpu"]["generator"] * 1000 / one["ops"]),
            "gateway_ms": median(lambda one: one["cpu"].get("gateway", 0) * 1000 / one["ops"])}


def row(name, r, base):
    alone = f"{CORES * 1000 / r['gateway_ms']:>8.0f}" if r["gateway_ms"] else " " * 8
    print(f"{name:30}{r['per_s']:>8.0f}{r['per_s'] / base:>7.2f}{r['p50_ms']:>9.1f}{r['p99_ms']:>9.1f}{r['ca_ms']:>10.2f}"
          f"{100 * r['ca_busy']:>9.0f}{r['gateway_ms']:>12.2f}{alone}  {r['spread'][0]}-{r['spread'][1]}", flush=True)


def run(bench, rounds, count, only=()):
    """bench: dir, bin, and the factory in dir. The figures by CA."""
    os.environ["ENROLLD_BIN"] = str(bench.bin)
    os.environ["PATH"] += ":" + str(Path("out/peers").resolve())
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(TESTS / "system"), str(TESTS / "ca"), str(TESTS / "peers")]
    bench.makers = (SimpleNamespace(name="acme", pem=str(bench.dir / "factory/manufacturer/root.pem")),)
    rows = (bench.dir / "factory/assets.csv").read_text().splitlines()[1:DEVICES + 1]
    tags = [line.split(",", 1)[0] for line in rows]
    bench.owner = rows[0].split(",")[1]  # tag,owner,...
    print(f"\n{'connectors':30}{'per s':>8}{'ratio':>7}{'p50 ms':>9}{'p99 ms':>9}{'CA ms':>10}{'CA busy%':>9}{'gateway ms':>12}"
          f"{'alone':>8}  spread", flush=True)
    results = {}
    if not (bench.bin / "ca/drive").exists():
        print("skipped: ca/drive is not built")
        return results
    for kind in CAS:
        if only and kind.name not in only:
            continue
        if kind.program is not None and shutil.which(kind.program) is None:
            print("%s: skipped, it is not installed%s" % (kind.name, "" if kind.package else " (make test-peers does it)"))
            continue
        ca = kind(bench, tags)
        try:
            found = results[kind.name] = rates(bench, ca, rounds, count)
        except SystemExit as problem:
            print(problem)
            continue
        finally:
            ca.stop()
        base = found["direct"]["per_s"]
        row(kind.name + ": the CA, called directly", found["direct"], base)
        row(kind.name + ": through the gateway", found["through"], base)
    return results
