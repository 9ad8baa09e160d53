"""One enrolld in a folder of its own: make, configure, start, operate, stop."""
import csv
import http.client
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import threading

BIN = os.environ.get("ENROLLD_BIN", "")
READY_S = 30
STOP_S = 60
PORTS = (20000, 32000)
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")
ENV = dict(os.environ, ASAN_OPTIONS="abort_on_error=0:detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")
ENV.pop("ENROLLCTL_SOCKET", None)
_given = set()


def binary(name):
    path = os.path.join(BIN, name)
    assert BIN and os.access(path, os.X_OK), "ENROLLD_BIN names no folder with %s" % name
    return path


def run(*command, **kw):
    """A command to its end; its outputs as text."""
    kw.setdefault("timeout", 120)
    done = subprocess.run([str(word) for word in command], stdin=kw.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=kw.pop("env", ENV), **kw)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def _ports():
    """Below what the system gives to outgoing connections; each worker of pytest-xdist has a part of its own."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    pairs = (PORTS[1] - PORTS[0]) // 2 // workers
    first = PORTS[0] + 2 * pairs * number
    return range(first, first + 2 * pairs, 2)


def free_port():
    """A port that is free on both families, and the next one too (HTTPS and admin). None is given twice."""
    while True:
        port = random.choice([one for one in _ports() if one not in _given])
        _given.add(port)
        try:
            for family, host, number in ((socket.AF_INET, "127.0.0.1", port), (socket.AF_INET6, "::1", port),
                                         (socket.AF_INET, "127.0.0.1", port + 1)):
                with socket.socket(family) as probe:
                    probe.bind((host, number))
            return port
        except OSError:
            continue


def conf(value, depth=0):
    """A Python value as libconfig text."""
    pad = "  " * depth
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')
    if isinstance(value, dict):
        return "{\n%s%s}" % ("".join("%s  %s = %s;\n" % (pad, k, conf(v, depth + 1)) for k, v in value.items()), pad)
    if value and isinstance(value[0], dict):
        return "(\n%s\n%s)" % (",\n".join(pad + "  " + conf(v, depth + 1) for v in value), pad)
    return "[ %s ]" % ", ".join(conf(v) for v in value)


class Refused(AssertionError):
    """enrollctl ended with another code than 0."""

    def __init__(self, done):
        super().__init__("exit %d: %s" % (done.returncode, done.stderr))
        self.code = done.returncode
        self.text = done.stderr


class Gateway:
    running = []  # for the report of a failed test

    def __init__(self, folder, trust=()):
        """trust: manufacturers; the first one is given to --init, the others are added to the settings."""
        self.dir = str(folder)
        self.port = free_port()
        self.admin_port = self.port + 1
        self.conf = os.path.join(self.dir, "enrolld.conf")
        self.root = os.path.join(self.dir, "ca/root.pem")
        self.issuing = os.path.join(self.dir, "ca/issuing.pem")
        self.db = os.path.join(self.dir, "enrolld.db")
        self.socket = os.path.join(self.dir, "control.sock")
        self.process = None
        self.log = ""
        self._news = threading.Condition()
        self._batch = 0
        command = [binary("enrolld"), "--init", self.dir, "--port", str(self.port)]
        if trust:
            command += ["--trust", "%s=%s" % (trust[0].name, trust[0].pem)]
        done = run(*command)
        assert done.returncode == 0, done.stderr
        self.settings = self._settings(trust)

    def _settings(self, trust):
        """What --init writes, as a structure that tests change before write()."""
        names = [maker.name for maker in trust]
        return {
            "listen": {"https": ["127.0.0.1:%d" % self.port, "[::1]:%d" % self.port],
                       "admin": "127.0.0.1:%d" % self.admin_port, "control": "control.sock",
                       "lock_file": "enrolld.lock"},
            "tls": {"certificate": "tls/server.pem", "key": "file:tls/server.key"},
            "store": {"path": "enrolld.db"},
            "threads": {"workers": 8},
            "limits": {"auth_failures": 250},  # every test comes from one address
            "keygen": {"master": "keygen.master"},
            "cas": [{"name": "issuing", "certificate": "ca/issuing.pem", "key": "file:ca/issuing.key",
                     "chain": ["ca/root.pem"]}],
            "trust": [{"name": maker.name, "files": [maker.pem], "accept_expired": False} for maker in trust],
            "identity": [{"name": name + "-serial", "trust": name, "field": IDENTITY_FIELD,
                          "pattern": "PID:[^ ]+ SN:([A-Za-z0-9-]+)", "anchor": "idevid_serial"} for name in names],
            "profiles": [{"name": "device", "subject": "CN={tag},O={owner},serialNumber={serial}",
                          "san": ["dns:{hostname}", "uri:urn:dev:sn:{serial}"], "csr_names": "ignore",
                          "lifetime": "90d", "renewal_window": "90d"}],
            "labels": [self.label("", trust=names)],
        }

    @staticmethod
    def label(name, **kw):
        out = {"name": name, "profile": "device", "ca": "issuing", "auth": ["certificate", "secret", "own"],
               "operations": ["enroll", "renew", "keygen"], "retry_after": "1s"}
        out.update(kw)
        if not out.get("trust") and "certificate" in out["auth"]:
            out["auth"] = [kind for kind in out["auth"] if kind != "certificate"]
        return out

    def add_label(self, name, **kw):
        kw.setdefault("trust", [maker["name"] for maker in self.settings["trust"]])
        self.settings["labels"].append(self.label(name, **kw))

    def add_profile(self, name, **kw):
        self.settings["profiles"].append(dict(self.settings["profiles"][0], name=name, **kw))

    def write(self):
        with open(self.conf, "w") as out:
            for key, value in self.settings.items():
                if value or key not in ("trust", "identity", "limits"):
                    out.write("%s = %s;\n" % (key, conf(value)))

    def check(self):
        return run(binary("enrolld"), "-c", self.conf, "--check")

    # ---- life

    def _read_log(self, pipe):
        for line in pipe:
            with self._news:
                self.log += line
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_log(self, pattern, since=0, timeout=READY_S):
        """Wait for a line of the log; the match. Fails at once when the process has ended."""
        found = re.compile(pattern, re.M)

        def done():
            return found.search(self.log, since) or not self._reader.is_alive()

        with self._news:
            self._news.wait_for(done, timeout)
            match = found.search(self.log, since)
        assert match, "no %r in the log:\n%s" % (pattern, self.log[since:])
        return match

    def start(self, write=True, prefix=()):
        if write:
            self.write()
        self.process = subprocess.Popen(list(prefix) + [binary("enrolld"), "-c", self.conf],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, errors="replace", env=ENV)
        since = len(self.log)
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        Gateway.running.append(self)
        self.wait_log(r" ready |\"event\":\"ready\"", since)
        assert self.admin_get("/readyz")[0] == 200
        return self

    def _ended(self):
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        self.process.stderr.close()
        self.process = None
        Gateway.running.remove(self)
        return code

    def stop(self):
        """SIGTERM; a clean end without complaints of the sanitizers is part of every test."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self._ended()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("enrolld did not stop within %d s:\n%s" % (STOP_S, self.log[-4000:]))
        assert not SANITIZER.search(self.log), self.log[-20000:]
        assert code == 0, "exit %d:\n%s" % (code, self.log[-4000:])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def restart(self):
        self.stop()
        return self.start()

    def reload(self, write=True):
        """SIGHUP; the log text of the reload."""
        if write:
            self.write()
        since = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        match = self.wait_log(r"^.* reload .*$", since)
        return self.log[since:match.end()]

    # ---- operators

    def ctl(self, *args, json_out=True, code=0):
        """enrollctl; the parsed answer (or its text). Another exit code than code raises Refused."""
        done = run(binary("enrollctl"), "--socket", self.socket, *(("--json",) if json_out else ()), *args)
        if done.returncode != code:
            raise Refused(done)
        if code != 0:
            return done.stderr
        return json.loads(done.stdout) if json_out else done.stdout

    def import_rows(self, rows, *options):
        """rows: dicts; "anchor" may be a list."""
        self._batch += 1
        path = os.path.join(self.dir, "import-%d.jsonl" % self._batch)
        with open(path, "w") as out:
            for row in rows:
                out.write(json.dumps(row) + "\n")
        return self.ctl("import", path, "--create-owners", *options)

    def import_csv(self, header, lines, *options, code=0):
        self._batch += 1
        path = os.path.join(self.dir, "import-%d.csv" % self._batch)
        with open(path, "w", newline="") as out:
            csv.writer(out).writerow(header)
            out.writelines(line + "\n" if isinstance(line, str) else ",".join(line) + "\n" for line in lines)
        return self.ctl("import", path, *options, code=code)

    @staticmethod
    def row(device, issuer="acme", **kw):
        out = {"tag": device.tag, "owner": "Operations", "manufacturer": issuer, "model": "X1",
               "serial": device.serial, "hostname": device.tag.lower() + ".example.net", "site": "lab",
               "anchor": ["idevid_serial:%s:%s" % (issuer, device.serial)]}
        out.update(kw)
        return out

    def own(self, *devices, issuer="acme", **kw):
        """Put devices into the registry."""
        self.import_rows([self.row(device, issuer, **kw) for device in devices])
        return devices[0]

    def set_state(self, device, state, reason="test"):
        return self.ctl("asset", "set-state", device.tag, state, "--reason", reason)

    def audit(self, action=None, subject=None):
        return [row for row in self.ctl("audit", "list", "--limit", "100000")
                if action in (None, row["action"]) and subject in (None, row["subject"])]

    def certs(self, tag):
        return self.ctl("cert", "list", "--asset", tag)

    def secret(self, tag, *options):
        return self.ctl("secret", "new", tag, *options)["secret"]

    def admin_get(self, path, method="GET"):
        conn = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=READY_S)
        try:
            conn.request(method, path)
            answer = conn.getresponse()
            return answer.status, answer.read().decode()
        finally:
            conn.close()

    def metrics(self):
        """The exposition as {series with labels: value}."""
        status, text = self.admin_get("/metrics")
        assert status == 200
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line and not line.startswith("#")}

    def database(self):
        return sqlite3.connect(self.db, timeout=30)


IDENTITY_FIELD = "subject_serial"
