"""Operators: health and metrics on the admin port, enrollctl on the control socket."""
import grp
import json
import os
import pwd
import re
import stat
import subprocess
import time

import pytest

import est
import pki
from gateway import ENV, Refused, binary, run
from operators import GROUP, Operators


@pytest.fixture(scope="module")
def gw(module_gateway):
    gateway = module_gateway()
    gateway.add_label("guarded", approval="manual")
    return gateway.start()


def series(metrics, name, **labels):
    """Sum of all series of a name that have these labels."""
    return sum(value for key, value in metrics.items() if key.split("{")[0] == name and
               all('%s="%s"' % item in key for item in labels.items()))


# ---- the admin port

def test_livez_and_readyz_say_what_works(gw):
    assert gw.admin_get("/livez") == (200, "ok\n")
    status, text = gw.admin_get("/readyz")
    assert status == 200
    assert text.splitlines() == ["store: ok", "ca issuing: ok"]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/.well-known/est/cacerts", "/livez/..", "/%2e%2e/etc/passwd",
                                  "//livez", "/debug"])
def test_the_admin_port_has_nothing_else(gw, path):
    assert gw.admin_get(path)[0] == 404


def test_the_admin_port_takes_only_get(gw):
    for method in ("POST", "PUT", "DELETE"):
        assert gw.admin_get("/livez", method)[0] == 405


def test_the_public_port_has_no_admin_pages(gw):
    with est.Conn(gw) as conn:
        for path in ("/metrics", "/livez", "/readyz"):
            assert conn.request("GET", path).status == 404


def test_an_admin_address_beyond_loopback_is_refused(new_gateway):
    gateway = new_gateway()
    gateway.settings["listen"]["admin"] = "0.0.0.0:%d" % gateway.admin_port
    gateway.write()
    done = gateway.check()
    assert done.returncode == 1 and "loopback" in done.stderr


def test_the_exposition_is_well_formed(gw):
    text = gw.admin_get("/metrics")[1]
    assert text.endswith("\n")
    helped, typed, seen = set(), {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram") and name not in typed
            typed[name] = kind
        else:
            match = re.fullmatch(r'([a-z_]+)(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? (-?[\d.e+]+|\+Inf)', line)
            assert match, line
            assert line.rsplit(" ", 1)[0] not in seen
            seen.add(line.rsplit(" ", 1)[0])
            family = re.sub(r"_(bucket|sum|count)$", "", match.group(1)) if match.group(1) not in typed else match.group(1)
            assert family in typed and family in helped, line
            if typed[family] == "counter":
                assert match.group(1).endswith("_total"), line


def test_counters_move_with_what_happens(gw, acme):
    device = gw.own(acme.idevid())
    before = gw.metrics()
    assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 200
    assert est.enroll(gw, pki.csr(pki.ec_key())).status == 401
    assert est.get(gw, "cacerts").status == 200
    assert est.get(gw, "nope").status == 404
    gw.set_state(device, "quarantined")
    assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 403

    def moved(name, **labels):
        return series(after, name, **labels) - series(before, name, **labels)

    ends = time.monotonic() + 30
    after = gw.metrics()
    while moved("enrolld_request_seconds_count", operation="simpleenroll") < 3 and time.monotonic() < ends:
        after = gw.metrics()  # a request is counted when its answer is out
    assert moved("enrolld_requests_total", operation="simpleenroll", status="200") == 1
    assert moved("enrolld_requests_total", operation="simpleenroll", status="401") == 1
    assert moved("enrolld_requests_total", operation="simpleenroll", status="403") == 1
    assert moved("enrolld_requests_total", operation="cacerts", status="200") == 1
    assert moved("enrolld_requests_total", status="404") == 1
    assert moved("enrolld_decisions_total", outcome="issued") == 1
    assert moved("enrolld_decisions_total", reason="asset.state") == 1
    assert moved("enrolld_request_seconds_count", operation="simpleenroll") == 3
    assert moved("enrolld_request_seconds_bucket", operation="simpleenroll", le="+Inf") == 3
    assert moved("enrolld_connections_total") == 5
    assert moved("enrolld_store_commits_total") >= 3
    assert after["process_resident_memory_bytes"] > 1e6 and after["process_open_fds"] > 5
    assert any(key.startswith("enrolld_build_info{") for key in after)


# ---- logs

def test_every_request_is_one_line(gw, acme):
    device = gw.own(acme.idevid())
    since = len(gw.log)
    assert est.enroll(gw, pki.csr(pki.ec_key()), device).status == 200
    line = gw.wait_log("^.* enroll .*$", since).group(0)
    for part in ("proto=est", "op=simpleenroll", "peer=127.0.0.1", "device=" + device.tag, "ca=issuing", "result=issued",
                 "status=200", "ms="):
        assert part in line, line


def test_json_logs_are_json(new_gateway, acme):
    gateway = new_gateway()
    gateway.settings["log"] = {"format": "json", "level": "debug"}
    gateway.start()
    device = gateway.own(acme.idevid())
    since = len(gateway.log)
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    est.enroll(gateway, pki.csr(pki.ec_key()), user='a"b\\c\x01', secret="x")
    gateway.wait_log("unauthentic", since)
    rows = [json.loads(line) for line in gateway.log.splitlines()]
    issued = [row for row in rows if row["event"] == "enroll" and row["result"] == "issued"]
    assert issued[0]["device"] == device.tag and issued[0]["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", issued[0]["time"])


# ---- the control socket

def test_the_control_socket_is_the_owners_and_groups_only(gw):
    mode = os.lstat(gw.socket)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o660


def test_the_control_sockets_mode_is_a_setting(new_gateway):
    gateway = new_gateway()
    gateway.settings["listen"]["control_mode"] = "0600"
    gateway.start()
    assert stat.S_IMODE(os.lstat(gateway.socket).st_mode) == 0o600
    gateway.stop()
    assert not os.path.exists(gateway.socket)


def test_others_may_not_open_the_control_socket(new_gateway):
    operators = Operators(new_gateway())  # program and socket where anybody may go: the socket's mode alone says no
    try:
        operators.gateway.start()
        words = (operators.enrollctl, "--socket", operators.gateway.socket, "status")
        group = grp.getgrnam(GROUP).gr_gid
        assert run(*words, cwd="/", user=65534, group=group, extra_groups=[]).returncode == 0
        done = run(*words, cwd="/", user=65534, group=65534, extra_groups=[])
        assert done.returncode == 3 and done.stdout == "" and "Permission denied" in done.stderr, done
        operators.gateway.stop()
    finally:
        operators.close()


def test_keys_and_database_are_not_for_others(gw):
    for name in ("ca/issuing.key", "tls/server.key", "keygen.master", "offline/root.key", "enrolld.db"):
        assert stat.S_IMODE(os.stat(os.path.join(gw.dir, name)).st_mode) & 0o077 == 0, name


# ---- every command, for people and as JSON

@pytest.fixture(scope="module")
def stocked(gw, acme):
    """A registry with one of everything; the words that commands need."""
    device = gw.own(acme.idevid())
    csr = pki.csr(pki.ec_key())
    assert est.enroll(gw, csr, device).status == 200
    assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="guarded").status == 202
    path = os.path.join(gw.dir, "stock.csr")
    with open(path, "wb") as out:
        out.write(csr)
    pending = gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"]
    offered = gw.own(acme.idevid()).tag
    gw.ctl("owner", "put", "Buyer")
    gw.ctl("owner", "put", "Leaver")
    gw.ctl("transfer", "offer", offered, "--to", "Buyer")
    gw.ctl("quota", "set", "Operations", "device", "1000")
    approval = gw.ctl("exception", "request", "--asset", device.tag, "--waive", "quota", "--reason", "r", "--ticket", "t")["approval"]
    table = os.path.join(gw.dir, "table.csv")
    with open(table, "w") as out:
        out.write("state,expect\nstaged,allow\n")
    return {"offered": offered, "approval": approval, "table": table, "conf": gw.conf, "tag": device.tag, "serial": gw.certs(device.tag)[0]["serial"], "csr": path, "pending": str(pending),
            "head": gw.ctl("audit", "verify")["head"]}


LISTS = {
    "asset list": ["tag", "owner", "state", "certs_valid", "next_expiry"],
    "asset list --tag {tag} --state staged --owner Operations --limit 5": ["tag"],
    "owner list": ["name", "kind", "status"],
    "request list": ["id", "asset", "state", "operation", "label", "tries", "reason"],
    "request list --state pending --limit 1 --after 0": ["id"],
    "cert list": ["serial", "asset", "subject", "status", "not_after"],
    "cert list --asset {tag} --status valid": ["serial"],
    "audit list": ["seq", "at", "actor", "action", "subject", "detail", "hash"],
    "audit list --after 1 --limit 2": ["seq"],
    "transfer list": ["id", "asset", "from", "to", "state", "expires", "offered_by", "reason"],
    "transfer list --asset {offered} --open": ["id"],
    "exception list": ["id", "asset", "owner", "label", "waives", "state", "ticket", "uses", "max_uses"],
    "exception list --asset {tag} --open": ["id"],
    "quota list": ["owner", "profile", "limit", "used"],
    "quota list --owner Operations": ["owner"],
    "approval list": ["id", "kind", "subject", "detail", "state", "requested_by", "needed"],
    "approval list --open": ["id"],
}


@pytest.mark.parametrize("command", list(LISTS))
def test_lists_are_arrays_in_json_and_tables_for_people(gw, stocked, command):
    words = command.format(**stocked).split()
    rows = gw.ctl(*words)
    assert isinstance(rows, list) and rows
    for row in rows:
        assert set(LISTS[command]) <= set(row)
    lines = gw.ctl(*words, json_out=False).splitlines()
    assert len(lines) >= len(rows) + 1, "a heading and a line for each"
    assert all("\x1b" not in line for line in lines), "no colours into a pipe"


SHOWS = {
    "asset show {tag}": ["tag", "owner", "anchors", "certs", "version"],
    "request show {pending}": ["id", "state", "csr"],
    "cert show {serial}": ["serial", "pem", "sha256"],
    "explain {pending}": ["request", "decisions"],
    "explain --asset {tag} --csr {csr}": ["asset", "trial"],
    "explain --request {pending}": ["request", "then", "now"],
    "policy test {table}": ["tests", "failed", "rows"],
    "policy diff {conf}": ["decided", "differ", "rows"],
    "owner report Operations": ["name", "assets", "by_state", "certificates_valid", "revokes", "transfers", "quotas"],
    "owner offboard Leaver --grace 10d --reason gone": ["name", "status", "revokes_at"],
    "approval show {approval}": ["id", "kind", "detail", "state"],
    "quota set Operations device 500": ["owner", "profile", "limit"],
    "asset forget-key {tag} --reason board": ["tag"],
    "audit verify": ["rows", "head"],
    "status": ["pid", "store", "commits", "policy_version"],
    "owner put Partner --kind partner --contact x@example.net --contract-end 2099-01-01": ["name", "kind", "contract_end"],
    "secret new {tag} --static --expires 12h": ["tag", "secret", "once", "expires"],
    "secret keywrap {tag}": ["tag", "key_id", "key"],
    "asset set-state {tag} deployed --reason moved": ["tag", "state", "revoked"],
}


@pytest.mark.parametrize("command", list(SHOWS))
def test_single_answers_are_objects_in_json_and_text_for_people(gw, stocked, command):
    words = command.format(**stocked).split()
    answer = gw.ctl(*words)
    assert set(SHOWS[command]) <= set(answer)
    if "set-state" in command:
        words[3] = "staged"
    assert gw.ctl(*words, json_out=False).strip()


def test_a_pem_is_printed_whole(gw, stocked):
    text = gw.ctl("cert", "show", stocked["serial"], json_out=False)
    pem = text[text.index("-----BEGIN"):]
    assert pki.x509.load_pem_x509_certificate(pem.encode())
    assert gw.ctl("cert", "show", stocked["serial"])["pem"] in pem


def test_a_secret_goes_to_standard_output_alone(gw, stocked):
    done = run(binary("enrollctl"), "--socket", gw.socket, "secret", "new", stocked["tag"])
    assert re.fullmatch(r"[a-z2-9-]{26,}\n", done.stdout)
    assert stocked["tag"] in done.stderr and done.stdout.strip() not in done.stderr


def test_approving_denying_and_revoking_for_people(gw, acme):
    device = gw.own(acme.idevid())
    for verb in ("approve", "deny"):
        assert est.enroll(gw, pki.csr(pki.ec_key()), device, label="guarded").status == 202
        number = gw.ctl("request", "list", "--asset", device.tag, "--state", "pending")[0]["id"]
        assert str(number) in gw.ctl("request", verb, number, "--reason", "ok", json_out=False)
    est.enroll(gw, pki.csr(pki.ec_key()), device)
    serial = gw.certs(device.tag)[0]["serial"]
    assert "revoked" in gw.ctl("cert", "revoke", serial, "--reason", "gone", json_out=False)
    row = gw.audit("cert.revoked")[-1]
    assert row["actor"].startswith("operator:") and "gone" in json.dumps(row["detail"])
    assert gw.ctl("cert", "list", "--asset", device.tag, "--status", "revoked")[0]["revoke_reason"] == "gone"


# ---- exit codes

def ctl(gw, *words, **kw):
    return run(binary("enrollctl"), "--socket", gw.socket, *words, **kw)


def commands():
    text = run(binary("enrollctl"), "--help").stdout
    return re.findall(r"^  ([a-z-]+(?: [a-z-]+)?) {2,}", text, re.M)


def test_every_command_teaches_itself():
    names = commands()
    assert len(names) > 35 and {"transfer offer", "policy diff", "approval give", "owner report"} <= set(names)
    for name in names:
        done = run(binary("enrollctl"), *name.split(), "--help")
        assert done.returncode == 0 and done.stdout.startswith("usage: enrollctl " + name) and "--json" in done.stdout
        assert all(len(line) < 130 for line in done.stdout.splitlines()), name


def test_every_command_is_in_the_manual():
    manual = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../gateway/man/enrollctl.1")
    with open(manual) as file:
        text = file.read()
    for name in commands():
        assert re.search(r"Ic %s\b" % name, text), name


def test_exit_0_is_done(gw):
    assert ctl(gw, "status").returncode == 0
    assert run(binary("enrollctl"), "--help").returncode == 0
    assert run(binary("enrollctl"), "import", "--help").returncode == 0


@pytest.mark.parametrize("words", ["asset show nobody", "cert show 00", "request show 999999", "explain 999999",
                                   "request approve 999999", "asset set-state nobody deployed --reason x",
                                   "asset list --state sold", "cert list --status odd", "owner put x --kind odd",
                                   "audit verify --head 00", "secret new nobody", "import {dir}/missing-header.csv",
                                   "cert list --expires-before yesterday", "secret new {tag} --expires soon",
                                   "asset set-state {tag} deployed", "transfer offer {tag} --to Nobody",
                                   "transfer accept 999999", "approval give 999999", "approval refuse {approval}",
                                   "exception revoke 999999 --reason x", "quota set Operations device x",
                                   "owner report Nobody", "owner offboard Operations", "policy test {csr}",
                                   "policy diff {csr}", "explain --request 999999", "import {table} --map nothing"])
def test_exit_1_is_refused_with_the_reason(gw, stocked, words):
    with open(os.path.join(gw.dir, "missing-header.csv"), "w") as out:
        out.write("a,b\n")
    done = ctl(gw, *words.format(dir=gw.dir, **stocked).split())
    assert done.returncode == 1, done
    assert done.stdout == "" and re.fullmatch(r"enrollctl: .+\n", done.stderr)


@pytest.mark.parametrize("words", ["", "nonsense", "asset", "asset nonsense", "asset show", "asset show a b",
                                   "asset list --nope", "asset list --limit", "asset list --limit many", "request show x",
                                   "import /does/not/exist", "--nope status", "policy test",
                                   "policy diff /does/not/exist", "import /dev/null --map ./nothing.map", "transfer accept x",
                                   "approval give", "quota set a b", "policy test /dev/null --config /does/not/exist"])
def test_exit_2_is_usage(gw, words):
    done = ctl(gw, *words.split())
    assert done.returncode == 2, done
    assert done.stderr


def test_exit_3_is_a_gateway_that_cannot_be_reached(gw, tmp_path):
    for path in (tmp_path / "nothing.sock", gw.conf, "/" + "a" * 200):
        done = run(binary("enrollctl"), "--socket", path, "status")
        assert done.returncode == 3
        assert "Is enrolld running" in done.stderr or "longer than" in done.stderr


def test_the_socket_may_come_from_the_environment(gw):
    done = run(binary("enrollctl"), "--json", "status", env=dict(ENV, ENROLLCTL_SOCKET=gw.socket))
    assert done.returncode == 0
    assert json.loads(done.stdout)["pid"] == gw.process.pid


def test_operators_are_named_in_the_audit(gw):
    gw.ctl("owner", "put", "Named")
    assert gw.audit("owner.put")[-1]["actor"] == "operator:" + pwd.getpwuid(os.geteuid()).pw_name


def test_many_operators_at_once_are_served(gw):
    procs = [subprocess.Popen([binary("enrollctl"), "--socket", gw.socket, "--json", "asset", "list"], env=ENV,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(12)]
    for proc in procs:
        out, err = proc.communicate(timeout=60)
        assert proc.returncode == 0, err
        assert isinstance(json.loads(out), list)


def test_refusals_name_no_command_that_does_not_exist(gw):
    with pytest.raises(Refused) as refusal:
        gw.ctl("request", "deny", "1")
    assert "--reason" in refusal.value.text
