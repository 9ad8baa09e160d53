#!/usr/bin/env python3
"""enrolld beside nginx on this machine, in one interleaved run.

Every figure is operations per second of the server's CPU time (user and system,
read from /proc), so that the generator and the machine's mood do not count. The
server runs on core 0, the generator on core 1. Each row is the median of
ROUNDS rounds; within a round every server takes its turn.

SCEP stands beside the RSA limit: the RSA-2048 private operations that "openssl
speed" does on core 0 in its turn, with the libcrypto that enrolld uses, divided
by the two that an enrollment takes (decrypt the request, sign the answer). The
devices have static challenges and send over kept plain connections.

EST over CoAP stands beside tests/bench/dtls, the least that a DTLS server can do
with OpenSSL. "devsim fleet" is the client of both: there it asks for
/crts, which the bare server answers with one octet.

The timing check is statistics: whether answers to messages that are wrong in
different ways take differently long (a padding oracle).
"""
import argparse
import itertools
import json
import math
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import connectors

TICK = os.sysconf("SC_CLK_TCK")
SCEP_DEVICES = 64
SCEP_PER_CONNECTION = 100
COAP_PER_SESSION = 100
COAP_AT_A_TIME = 32
HANDSHAKES_AT_A_TIME = 64  # of devsim when it opens what it holds
SIGNIFICANT = 0.001  # of all comparisons of a timing check together


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], check=True, **kwargs)


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def status_kb(pid, key):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


class Enrolld:
    def __init__(self, bench, name, fill):
        self.bench, self.name, self.fill = bench, name, fill
        self.dir = bench.dir / name
        self.port, self.plain_port, self.admin_port = free_port(), free_port(), free_port()
        run(bench.bin / "enrolld", "--init", self.dir, "--port", self.port, "--trust",
            f"acme={bench.dir}/factory/manufacturer/root.pem", stdout=subprocess.DEVNULL)
        conf = self.dir / "enrolld.conf"
        text = conf.read_text().replace(f"127.0.0.1:{self.port + 1}", f"127.0.0.1:{self.admin_port}")
        text = text.replace(f":{self.port + 2}\"", f":{self.plain_port}\"")
        text = text.replace("listen = {", 'log = { level = "warn"; };\nlisten = {', 1)
        conf.write_text(text)
        if fill:
            began = time.monotonic()
            run(bench.bin / "bench/fill", self.dir / "enrolld.db", fill)
            print(f"  {name}: store filled with {fill} assets and certificates in "
                  f"{time.monotonic() - began:.0f} s", flush=True)
        self.conf = conf
        self.log = open(self.dir / "log", "w")
        self.start()
        self.ctl("import", bench.dir / "factory/assets.csv", "--create-owners")

    def start(self):
        self.process = subprocess.Popen(["taskset", "-c", "0", str(self.bench.bin / "enrolld"), "-c", str(self.conf)],
                                        stderr=self.log)
        self.wait()

    def restart(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.start()

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics") as answer:
            return float(next(line.split()[1] for line in answer.read().decode().splitlines()
                              if line.startswith(name + " ")))

    def ctl(self, *words):
        return run(self.bench.bin / "enrollctl", "--socket", self.dir / "control.sock", *words,
                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def challenges(self):
        """A file of tag,challenge for the first devices of the factory; made once."""
        path = self.dir / "challenges.csv"
        if not path.exists():
            rows = (self.bench.dir / "factory/assets.csv").read_text().splitlines()[1:SCEP_DEVICES + 1]
            tags = [row.split(",", 1)[0] for row in rows]
            path.write_text("".join(
                f"{tag},{self.ctl('secret', 'new', tag, '--scep', '--static', '--label', 'scep').strip()}\n" for tag in tags))
        return path

    def wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"enrolld ended: {(self.dir / 'log').read_text()}")
            done = subprocess.run([str(self.bench.bin / "enrollctl"), "--socket", str(self.dir / "control.sock"),
                                   "status"], capture_output=True)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        sys.exit("enrolld does not answer")

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


class Nginx:
    def __init__(self, bench, tls_from):
        self.dir = bench.dir / "nginx"
        self.dir.mkdir()
        self.port = free_port()
        conf = self.dir / "nginx.conf"
        conf.write_text(f"""
daemon off; worker_processes 1; pid {self.dir}/pid; error_log {self.dir}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {self.dir}/a; proxy_temp_path {self.dir}/b; fastcgi_temp_path {self.dir}/c;
  uwsgi_temp_path {self.dir}/d; scgi_temp_path {self.dir}/e; keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {tls_from}/tls/server.pem; ssl_certificate_key {tls_from}/tls/server.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1; ssl_session_tickets off; ssl_session_cache off;
    ssl_verify_client on; ssl_client_certificate {bench.dir}/factory/manufacturer/root.pem; ssl_verify_depth 3;
    location / {{ default_type text/plain; return 200 "x"; }}
  }}
}}
""")
        self.process = subprocess.Popen(["taskset", "-c", "0", "/usr/sbin/nginx", "-c", str(conf), "-p", str(self.dir)],
                                        stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("nginx does not answer")

    def pids(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid] + [int(c) for c in children]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Dtls:
    """The bare DTLS server. It checks the client's chain, as nginx does, or takes any."""
    def __init__(self, bench, tls_from, *extra):
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", str(bench.bin / "bench/dtls"), "--cert", f"{tls_from}/tls/server.pem", "--key",
             f"{tls_from}/tls/server.key", "--trust", f"{bench.dir}/factory/manufacturer/root.pem", *extra],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Bench:
    def __init__(self, options):
        self.options = options
        self.bin = Path(options.bin).resolve()
        self.dir = Path(tempfile.mkdtemp(prefix="enrolld-bench-"))
        self.results = {}
        run(self.bin / "devsim", "factory", "--out", self.dir / "factory", "--count", options.count, "--manufacturer", "acme",
            "--model", "X1", "--owner", "Bench", "--quiet", stdout=subprocess.DEVNULL)

    def load(self, server, count, *extra):
        """Operations per second of server CPU, and what the generator saw."""
        generator = subprocess.Popen(
            ["taskset", "-c", "1", str(self.bin / "bench/load"), "--port", str(server.port), "--devices",
             str(self.dir / "factory/devices"), "--count", str(count), *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        generator.stdout.readline()
        before = cpu_s(server.pids())
        generator.stdin.write("\n")
        generator.stdin.flush()
        seen = json.loads(generator.stdout.readline())
        used = cpu_s(server.pids()) - before
        generator.wait()
        if seen["failures"]:
            sys.exit(f"{seen['failures']} of {seen['ops']} operations failed; the first: {seen['first_failure']}")
        seen["per_cpu_s"] = seen["ops"] / max(used, 1 / TICK)
        return seen

    def fleet(self, server, count, *words):
        """The same with devsim. Keys and messages are made before the first of them is sent, while the server is idle."""
        before = cpu_s(server.pids())
        done = subprocess.run(["taskset", "-c", "1", str(self.bin / "devsim"), "fleet", "--operations", str(count), "--quiet",
                               "--json", *words], stdout=subprocess.PIPE, text=True)
        used = cpu_s(server.pids()) - before
        if not done.stdout:
            sys.exit("devsim has not begun")
        seen = json.loads(done.stdout)
        if done.returncode != 0 or seen["ok"] != count:
            sys.exit(f"{count - seen['ok']} of {count} operations of \"devsim fleet\" failed: {seen['errors']}")
        return {"per_cpu_s": count / max(used, 1 / TICK), "p50_ms": seen["latency_ms"]["p50"],
                "p99_ms": seen["latency_ms"]["p99"]}

    def scep(self, server, count):
        return self.fleet(server, count, "--protocol", "scep", "--url", f"http://localhost:{server.plain_port}", "--label",
                          "scep", "--cacert", str(server.dir / "ca/root.pem"), "--challenges", str(server.challenges()),
                          "--concurrency", "32", "--unopened", f"--keep-alive={SCEP_PER_CONNECTION}", "--shared-primes")

    def coap_client(self, server):
        # Whether the client checks the server is the client's cost.
        return ["--protocol", "coap", "--url", f"coaps://127.0.0.1:{server.port}", "--insecure", "--devices",
                str(self.dir / "factory/devices")]

    def coap(self, server, count, *extra, lanes=COAP_AT_A_TIME):
        return self.fleet(server, count, *self.coap_client(server), "--concurrency", str(lanes), *extra)

    def coap_memory(self, server, sessions):
        """Octets of RSS for each idle session; one client that asks now and then goes with them."""
        self.coap(server, 2000, lanes=HANDSHAKES_AT_A_TIME)
        before = status_kb(server.pids()[0], "VmRSS")
        holder = subprocess.Popen([str(self.bin / "devsim"), "fleet", *self.coap_client(server), "--op", "cacerts", "--rate", "1",
                                   "--duration", "600s", "--hold-idle", str(sessions), "--quiet"], stdout=subprocess.DEVNULL)
        for _ in range(600):
            if server.metric("enrolld_coap_sessions_open") >= sessions or holder.poll() is not None:
                break
            time.sleep(0.1)
        held, after = server.metric("enrolld_coap_sessions_open"), status_kb(server.pids()[0], "VmRSS")
        holder.send_signal(signal.SIGINT)
        holder.wait(60)
        if held < sessions:
            sys.exit(f"{held:.0f} of {sessions} CoAP sessions are open")
        return {"sessions": held, "octets": (after - before) * 1024 / held, "rss_mb": after / 1024}

    def rsa_limit(self):
        done = run("taskset", "-c", "0", "openssl", "speed", "-mr", "-seconds", "2", "rsa2048", stdout=subprocess.PIPE,
                   stderr=subprocess.DEVNULL, text=True).stdout
        line = next(line for line in done.splitlines() if line.startswith("+F2:"))
        return {"per_cpu_s": float(line.split(":")[3]) / 2, "p50_ms": 0, "p99_ms": 0}

    def rounds(self, rows):
        """rows: (name, what measures it). Interleaved; medians."""
        figures = {name: [] for name, _ in rows}
        for _ in range(self.options.rounds):
            for name, measure in rows:
                figures[name].append(measure())
        for name in figures:
            self.results[name] = {key: statistics.median(f[key] for f in figures[name])
                                  for key in ("per_cpu_s", "p50_ms", "p99_ms")}
            self.results[name]["spread"] = [round(min(f["per_cpu_s"] for f in figures[name])),
                                            round(max(f["per_cpu_s"] for f in figures[name]))]

    def table(self, base, names):
        print(f"\n{'':52}{'per CPU-s':>10}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}  spread")
        for name in names:
            r = self.results[name]
            print(f"{name:52}{r['per_cpu_s']:>10.0f}{r['per_cpu_s'] / self.results[base]['per_cpu_s']:>8.2f}"
                  f"{r['p50_ms']:>9.2f}{r['p99_ms']:>9.2f}  {r['spread'][0]}-{r['spread'][1]}", flush=True)

    def timing(self, server, count):
        done = run("taskset", "-c", "1", self.bin / "bench/timing", "--port", server.plain_port, "--path", "/scep/scep",
                   "--ra", server.dir / "ra/ra.pem", "--count", count, stdout=subprocess.PIPE, text=True)
        took = json.loads(done.stdout)
        print(f"\nSCEP: how long refusals take, {count} of each kind in random order, microseconds\n{'':36}"
              f"{'p10':>9}{'p25':>9}{'median':>9}{'p75':>9}")
        for name, values in took.items():
            quartiles = statistics.quantiles(values, n=20)
            print(f"{name:36}" + "".join(f"{quartiles[i] / 1000:>9.1f}" for i in (1, 4, 9, 14)))
        pairs = list(itertools.combinations(took, 2))
        found = []
        for a, b in pairs:
            z = mann_whitney(took[a], took[b])
            p = min(1.0, math.erfc(abs(z) / math.sqrt(2)) * len(pairs))
            apart = (statistics.median(took[a]) - statistics.median(took[b])) / 1000
            found.append({"a": a, "b": b, "z": z, "p": p, "median_us": apart})
        worst = min(found, key=lambda f: (f["p"], -abs(f["z"])))
        print(f"Mann-Whitney, {len(pairs)} pairs: the least alike are \"{worst['a']}\" and \"{worst['b']}\": z = "
              f"{worst['z']:.2f}, p = {worst['p']:.3g} (times {len(pairs)}), medians {worst['median_us']:+.1f} us apart")
        for f in found:
            if f["p"] < SIGNIFICANT:
                print(f"  different: \"{f['a']}\", \"{f['b']}\": z = {f['z']:.2f}, medians {f['median_us']:+.1f} us apart")
        different = any(f["p"] < SIGNIFICANT for f in found)
        print("verdict: " + ("answers DIFFER in time" if different else "no difference found") +
              f" (significance {SIGNIFICANT} of all pairs together)", flush=True)
        self.results["timing"] = {"count": count, "different": different, "pairs": found}

    def held_open(self, server, idle, slow):
        """p99 of one well-behaved client while idle and slow connections are held."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        held, stop = [], threading.Event()

        def connect():
            raw = socket.create_connection(("127.0.0.1", server.port))
            return context.wrap_socket(raw)

        for _ in range(idle + slow):
            held.append(connect())
        dripping = held[:slow]
        for s in dripping:
            s.send(b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

        def drip():
            while not stop.wait(1):
                for s in dripping:
                    try:
                        s.send(b"a")
                    except OSError:
                        pass

        thread = threading.Thread(target=drip)
        thread.start()
        seen = self.load(server, 500, "--path", "/.well-known/est/simpleenroll", "--enroll", "--threads", "1")
        stop.set()
        thread.join()
        rss = status_kb(server.pids()[0], "VmRSS") / 1024
        for s in held:
            s.close()
        return seen, rss


def mann_whitney(a, b):
    """z of the rank sum of a among both; ties share their rank. Normal approximation, for thousands of values."""
    marked = sorted([(value, 0) for value in a] + [(value, 1) for value in b])
    ranks, ties, at = 0.0, 0, 0
    while at < len(marked):
        end = at
        while end < len(marked) and marked[end][0] == marked[at][0]:
            end += 1
        ranks += sum(which == 0 for _, which in marked[at:end]) * (at + 1 + end) / 2
        ties += (end - at) ** 3 - (end - at)
        at = end
    n, m = len(a), len(b)
    spread = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    return (ranks - n * (n + m + 1) / 2) / spread


def allow_many(conf):
    text = conf.read_text()
    conf.write_text(text + '\nlimits = { connections = 20000; connections_per_address = 20000; header_time = "600s"; '
                           'idle_time = "600s"; };\ncoap = { sessions = 10000; session_timeout = "600s"; };\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="out/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="operations a round")
    parser.add_argument("--sizes", default="10000,1000000", help="filled stores to compare with an empty one")
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--slow", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=1000, help="idle CoAP sessions whose memory is measured; 0: none")
    parser.add_argument("--timing", type=int, default=3000, help="messages of each kind in the timing check; 0: none")
    parser.add_argument("--only", choices=("all", "est", "scep", "coap", "connectors", "decide", "timing"),
                        default="all")
    parser.add_argument("--cas", default="", help="of the connectors only these: cfssl,est,scep,cmp,step-ca,vault,ejbca")
    parser.add_argument("--json", help="write the figures here")
    options = parser.parse_args()
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bench = Bench(options)
    enroll = ("--path", "/.well-known/est/simpleenroll", "--enroll")
    servers = []
    try:
        empty = Enrolld(bench, "small", 0)
        servers.append(empty)
        nginx = dtls = unseen = None
        if options.only in ("all", "est"):
            nginx = Nginx(bench, empty.dir)
            servers.append(nginx)
        if options.only in ("all", "coap"):
            dtls, unseen = Dtls(bench, empty.dir), Dtls(bench, empty.dir, "--unverified")
            servers += [dtls, unseen]
        sizes = [] if options.only in ("coap", "connectors", "timing") else map(int, filter(None, options.sizes.split(",")))
        filled = [(size, Enrolld(bench, f"with-{size}", size)) for size in sizes]
        servers += [server for _, server in filled]
        n, base = options.count, "nginx: TLS 1.3 handshake, one octet"
        est = [(base, lambda: bench.load(nginx, n)),
               ("enrolld: TLS 1.3 handshake + enrollment", lambda: bench.load(empty, n, *enroll))]
        est += [(f"enrolld: the same with {size} assets and certs", lambda server=server: bench.load(server, n, *enroll))
                for size, server in filled]
        est += [("nginx: TLS 1.2 handshake, one octet", lambda: bench.load(nginx, n, "--tls", "1.2")),
                ("enrolld: TLS 1.2 handshake + enrollment", lambda: bench.load(empty, n, *enroll, "--tls", "1.2")),
                ("enrolld: kept-alive enrollments", lambda: bench.load(empty, 2 * n, *enroll, "--keep"))]
        limit = "RSA limit: openssl speed rsa2048, two operations"
        scep = [(limit, bench.rsa_limit), ("enrolld: SCEP enrollment", lambda: bench.scep(empty, n))]
        scep += [(f"enrolld: the same with {size} assets and certs", lambda server=server: bench.scep(server, n))
                 for size, server in filled]
        bare, asks = "bare DTLS 1.2 handshake, one octet", ("--op", "cacerts")
        coap = [(bare, lambda: bench.coap(dtls, n, *asks)),
                ("the same, client's chain not looked at", lambda: bench.coap(unseen, n, *asks)),
                ("enrolld: DTLS handshake + /crts", lambda: bench.coap(empty, n, *asks)),
                ("enrolld: DTLS handshake + enrollment", lambda: bench.coap(empty, n)),
                (f"enrolld: {COAP_PER_SESSION} enrollments a session",
                 lambda: bench.coap(empty, 2 * n, f"--keep-alive={COAP_PER_SESSION}"))]
        if options.only in ("all", "est"):
            bench.rounds(est)
            bench.table(base, [name for name, _ in est])
        if options.only in ("all", "scep"):
            bench.rounds(scep)
            bench.table(limit, [name for name, _ in scep])
        if options.only in ("all", "coap"):
            bench.rounds(coap)
            bench.table(bare, [name for name, _ in coap])
        if options.only in ("all", "connectors"):
            bench.results["connectors"] = connectors.run(bench, options.rounds, n, options.cas.split(",") if options.cas else ())
        peak = status_kb(empty.pids()[0], "VmHWM") / 1024
        print(f"\npeak RSS of enrolld at default settings: {peak:.1f} MB")
        bench.results["peak_rss_mb"] = peak
        if filled and options.only in ("all", "decide"):
            size, largest = filled[-1]
            print("\nthe decision alone, microseconds of one core:", flush=True)
            run("taskset", "-c", "1", bench.bin / "bench/decide", "--store", largest.dir / "enrolld.db", "--assets", size)
        if options.timing and options.only in ("all", "timing"):
            bench.timing(empty, options.timing)
        if options.sessions and options.only in ("all", "coap"):
            allow_many(empty.conf)
            empty.restart()
            held = bench.results["coap_sessions"] = bench.coap_memory(empty, options.sessions)
            print(f"memory of an idle CoAP session: {held['octets'] / 1000:.1f} kB ({held['sessions']:.0f} held, "
                  f"RSS {held['rss_mb']:.0f} MB)", flush=True)
        if options.idle and options.only in ("all", "est"):
            if "idle_time" not in empty.conf.read_text():
                allow_many(empty.conf)
            empty.restart()
            quiet = bench.load(empty, 500, *enroll, "--threads", "1")
            seen, rss = bench.held_open(empty, options.idle, options.slow)
            print(f"one device enrolling: p99 {quiet['p99_ms']:.1f} ms; with {options.idle} idle and {options.slow} slow "
                  f"connections held: p99 {seen['p99_ms']:.1f} ms, RSS {rss:.0f} MB")
            bench.results["held"] = {"quiet_p99_ms": quiet["p99_ms"], "p99_ms": seen["p99_ms"], "rss_mb": rss}
        if options.json:
            Path(options.json).write_text(json.dumps(bench.results, indent=2))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(bench.dir)


if __name__ == "__main__":
    main()
