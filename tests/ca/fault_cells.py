"""One device, one fault, one connector: what the device saw, what the CA issued, what the gateway recorded."""
import hashlib
import os
import sqlite3
import time
import traceback

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import est
import pki
from faults import FAULTS

WAIT_S, DEADLINE_S = 3, 3  # of the gateway's CA
SETTLE_S = 90
POLL_S = 0.05
REQUEST = ("pending", "approved", "issued", "denied")
INTENT = ("open", "sent", "waiting", "unknown", "done", "failed", "quarantined")
REVOCATION = ("waits", "done", "impossible")
AUDITED = {"done": "revoked", "impossible": "revoke_impossible"}


class Hop:
    """
    A gateway, one connector, the proxy, and the CA behind it. A subclass has ca() with the settings, issued() with what the
    CA's own records say as [(serial number, whether revoked)], revoke(serial) which an operator does there, and stop(); with
    handed_in, certificate(serial).
    """

    type = ""
    reconciles = False   # the connector can ask what became of a request
    told_absent = False  # ... and is told that nothing was issued
    only = None          # the faults that this one goes through; None: all but those that another of its type does
    handed_in = ()       # faults after which the operator hands in what he finds at the CA, instead of revoking it there
    protected = ()       # faults that only a protocol with protected answers knows
    proxy = None

    def __init__(self, gateway, acme):
        self.gw, self.acme, self.devices, self.known = gateway, acme, [], set()

    def configure(self, ca):
        gw = self.gw
        gw.settings["cas"].append(dict(ca, name="corporate", type=self.type, url=self.url(), deadline="%ds" % DEADLINE_S,
                                       wait="%ds" % WAIT_S))
        gw.add_profile("plain", san=["dns:{hostname}"])
        gw.add_label("corporate", ca="corporate", profile="plain", operations=["enroll", "renew"], retry_after="1s")

    def url(self):
        return "https://127.0.0.1:%d" % self.proxy.port

    def csr(self, device, key):
        return csr_of(device, key)

    def prepare(self, fault, device, key):
        """Before a device asks."""

    def prepare_many(self, devices, keys):
        """Before devices ask at once."""

    def recover(self, device, key):
        """The fault is gone."""

    def own(self, count):
        self.devices = [self.acme.idevid() for _ in range(count)]
        self.gw.own(*self.devices)

    def finds_out(self, fault):
        return self.reconciles

    def new(self):
        """What the CA has issued that was not looked at before: [(serial number, whether revoked)]."""
        return [(serial, revoked) for serial, revoked in self.issued() if serial not in self.known]


def names_of(device):
    """As the gateway's profile approves them."""
    subject = "CN=%s,O=Operations,serialNumber=%s" % (device.tag, device.serial)
    return subject, device.tag.lower() + ".example.net"


def csr_of(device, key):
    subject, host = names_of(device)
    return pki.csr(key, subject, san=[("dns", host)])


def ask(hop, device, csr):
    return est.enroll(hop.gw, csr, device, label="corporate")


def ask_until_told(hop, device, csr):
    ends = time.monotonic() + SETTLE_S
    while True:
        answer = ask(hop, device, csr)
        if answer.status != 202 or time.monotonic() > ends:
            return answer
        time.sleep(2 * POLL_S)


def serve(hop, device):
    """A request of this device that nothing is wrong with."""
    key = pki.ec_key()
    hop.prepare("none", device, key)
    assert ask_until_told(hop, device, hop.csr(device, key)).status == 200


class Record:
    """What the gateway's own database says of one request."""

    def __init__(self, hop, device, csr):
        self.subjects = {device.tag} | {"%x" % serial for serial, _ in hop.new()}  # of audit rows
        db = sqlite3.connect("file:%s?mode=ro" % hop.gw.db, uri=True, timeout=30)
        try:
            self._read(db, device.tag, hashlib.sha256(csr).digest())
        finally:
            db.close()

    def _read(self, db, tag, sha256):
        rows = db.execute(
            "SELECT r.state, i.id, i.state, i.error FROM request r JOIN asset a ON a.id = r.asset_id LEFT JOIN intent i"
            " ON i.request_id = r.id WHERE a.tag = ? AND r.csr_sha256 = ? ORDER BY i.id", (tag, sha256)).fetchall()
        self.request = REQUEST[rows[-1][0]] if rows else "none"
        self.intents = [(number, INTENT[state], error) for _, number, state, error in rows if number is not None]
        self.certs = {int(serial, 16): (status, spki, digest) for serial, status, spki, digest in db.execute(
            "SELECT c.serial, c.status, c.spki_sha256, c.sha256 FROM certificate c JOIN asset a ON a.id = c.asset_id"
            " WHERE a.tag = ?", (tag,))}
        self.revocations = {int(serial, 16): REVOCATION[state] for serial, state in db.execute(
            "SELECT serial, state FROM ca_revocation")}
        self.good = {int(serial, 16) for (serial,) in db.execute("SELECT serial FROM certificate WHERE status = 0")}
        self.audit, self.details = [], ""
        for action, subject, detail in db.execute(
                "SELECT action, subject, detail_json FROM audit WHERE action LIKE 'ca.%' ORDER BY seq"):
            if subject.lstrip("0") in self.subjects:
                self.audit.append(action[len("ca."):])
                self.details += detail

    @property
    def intent(self):
        return self.intents[-1][1] if self.intents else "none"

    def settled(self):
        return bool(self.intents) and self.intent != "sent" and (self.intent != "open" or self.intents[-1][2] != "")

    def names(self, serial):
        return "%x" % serial in self.details

    def keeps(self, serial):
        return serial in self.certs or serial in self.revocations


def await_record(hop, device, csr, good):
    ends = time.monotonic() + SETTLE_S
    while True:
        record = Record(hop, device, csr)
        if good(record):
            return record
        assert time.monotonic() < ends, "%s, %s\n%s" % (record.request, record.intents, hop.gw.log[-3000:])
        time.sleep(POLL_S)


def settled_with_revocations(serials):
    def good(record):
        waits = [serial for serial in serials if record.revocations.get(serial) == REVOCATION[0]]
        return record.settled() and not (record.intent == "quarantined" and waits)

    return good


def told(issued):
    """How many, and how many of them are revoked."""
    revoked = sum(1 for _, gone in issued if gone)
    return "%d" % len(issued) if not revoked else "%d, %d revoked" % (len(issued), revoked)


class Cell:
    """
    One run; what has to hold whatever the table says is asserted here. lost: certificates of the CA that no record leads
    to. harmed: certificates that are good here and revoked there.
    """

    def __init__(self, hop, fault, device):
        self.hop, self.fault, self.device = hop, fault, device
        self.key = pki.ec_key()
        self.csr = hop.csr(device, self.key)
        self.lost, self.harmed, self.way = [], [], "-"
        hop.known = {serial for serial, _ in hop.issued()}

    def run(self):
        hop = self.hop
        hop.prepare(self.fault, self.device, self.key)
        hop.proxy.set(self.fault)
        first = ask(hop, self.device, self.csr)
        self.saw = first.status
        record = await_record(hop, self.device, self.csr, settled_with_revocations(
            [serial for serial, _ in hop.new()]))
        assert self.fault == "none" or hop.proxy.spoilt or self.fault == "refused", "the fault has hit nothing"
        self.recorded, self.audit = self._told_of(record), " ".join(record.audit)
        self.issued = told(hop.new())
        self._nothing_is_lost(record)
        self._check_answer(first, record)
        self._recover(record)
        again = ask_until_told(hop, self.device, self.csr)
        self.again = again.status
        hop.proxy.clear()
        record = await_record(hop, self.device, self.csr, settled_with_revocations(
            [serial for serial, _ in hop.new()]))
        self._check_answer(again, record)
        self._nothing_is_lost(record)
        self.end = told(hop.new())
        valid = [serial for serial, (status, _, _) in record.certs.items() if status == 0]
        assert len(valid) <= 1, "two certificates released for one request"
        self.harmed = ["%x" % serial for serial, revoked in hop.issued() if revoked and serial in record.good]
        self.kept = len(valid)
        if self.again != 200:
            serve(hop, self.device)
        assert hop.gw.metrics()['enrolld_ca_breaker_state{ca="corporate"}'] == 0
        return (str(self.saw), self.issued, self.recorded, self.audit, self.way, str(self.again), self.end,
                "%d" % self.kept)

    def _told_of(self, record):
        """What became of revocations is told by the audit: that both say the same is looked at here."""
        for serial, _ in self.hop.new():
            state = record.revocations.get(serial)
            assert state is None or AUDITED[state] in record.audit, (state, record.audit)
        return "%s, %s" % (record.request, record.intent)

    def _nothing_is_lost(self, record):
        """Each certificate of the CA is recorded, taken back, named for an operator, or may still be asked for."""
        for serial, revoked in self.hop.new():
            may_be = record.intent in ("unknown", "sent", "waiting") or record.names(serial)
            if not (revoked or record.keeps(serial) or may_be):
                self.lost.append("%x" % serial)

    def _check_answer(self, answer, record):
        """Nothing reaches the device but what was approved, and it is what is recorded."""
        assert answer.status in (200, 202, 403), answer
        if answer.status == 202:
            assert int(answer.get("Retry-After")) >= 1
        if answer.status != 200:
            return
        cert = answer.cert()
        subject, host = names_of(self.device)
        assert pki.spki(cert.public_key()) == pki.spki(self.key)
        assert sorted(subject.split(",")) == sorted(
            "%s=%s" % ({"commonName": "CN", "organizationName": "O"}.get(one.oid._name, one.oid._name), one.value)
            for one in cert.subject)
        assert [name.value for name in cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value] == [host]
        assert cert.not_valid_after <= pki.ahead(days=90)
        assert record.certs[cert.serial_number][2] == hashlib.sha256(pki.cert_der(cert)).digest()
        assert cert.serial_number in [serial for serial, _ in self.hop.new()]

    def _recover(self, record):
        hop = self.hop
        if record.intent == "unknown" and self.fault == "replayed":
            hop.proxy.repeat()
            self._resolve(look=False)
            record = await_record(hop, self.device, self.csr, lambda found: found.intent == "done" or (
                found.intent == "unknown" and hop.proxy.repeated))
        hop.proxy.clear()
        hop.recover(self.device, self.key)
        if record.intent == "unknown":
            self._resolve(look=True)
            await_record(hop, self.device, self.csr, lambda found: found.intent == "done")
        elif record.intent == "open":
            self.way = "itself"
        elif record.intent in ("failed", "quarantined"):
            self._outlast(len(record.intents))

    def _outlast(self, count):
        """The CA has refused it: for a while that is told from the record, and the CA is not asked."""
        ends = time.monotonic() + SETTLE_S
        while ask(self.hop, self.device, self.csr).status == 403:
            assert len(Record(self.hop, self.device, self.csr).intents) == count and time.monotonic() < ends
            time.sleep(2 * POLL_S)

    def _resolve(self, look):
        """The connector finds out; or an operator does, who revokes at the CA what nobody has, and says so."""
        hop = self.hop
        self.way = "itself" if hop.finds_out(self.fault) else "operator"
        if self.way == "itself":
            return
        number = Record(hop, self.device, self.csr).intents[-1][0]
        if self.fault in hop.handed_in:
            self._hand_in(number)
            return
        for serial, revoked in hop.new():
            if look and not revoked:
                hop.revoke(serial)
        hop.gw.ctl("ca", "resolve", str(number), "--absent", "--reason", "looked at the CA")


    def _hand_in(self, number):
        (serial, _), = self.hop.new()
        path = os.path.join(self.hop.gw.dir, "found-%x.pem" % serial)
        with open(path, "wb") as out:
            out.write(self.hop.certificate(serial).public_bytes(Encoding.PEM))
        self.way = "handed in"
        told = self.hop.gw.ctl("ca", "resolve", str(number), "--issued", path, "--reason", "looked at the CA")
        assert told["state"] == "done" and int(told["serial"], 16) == serial, told


OUTAGE = 5  # failures in a row open the breaker


def outage(hop, devices):
    """Nobody listens until the breaker is open: everybody waits, and is served when the CA is back."""
    keys = [pki.ec_key() for _ in devices]
    csrs = [hop.csr(device, key) for device, key in zip(devices, keys)]
    hop.known = {serial for serial, _ in hop.issued()}
    hop.prepare_many(devices, keys)
    hop.proxy.set("refused")
    saw = est.in_parallel([lambda device=device, csr=csr: ask(hop, device, csr).status
                           for device, csr in zip(devices, csrs)])
    await_breaker(hop, 2)
    states = {"%s, %s" % (record.request, record.intent) for record in (
        Record(hop, device, csr) for device, csr in zip(devices, csrs))}
    issued = told(hop.new())
    hop.proxy.clear()
    again = {str(ask_until_told(hop, device, csr).status) for device, csr in zip(devices, csrs)}
    await_breaker(hop, 0)
    kept = sum(len(Record(hop, device, csr).certs) for device, csr in zip(devices, csrs))
    return (" ".join(sorted({str(status) for status in saw})), issued, " or ".join(sorted(states)), "", "itself",
            " ".join(sorted(again)), told(hop.new()), "%d" % kept)


def await_breaker(hop, state):
    ends = time.monotonic() + SETTLE_S
    while hop.gw.metrics()['enrolld_ca_breaker_state{ca="corporate"}'] != state:
        assert time.monotonic() < ends, hop.gw.log[-3000:]
        time.sleep(POLL_S)


# "Not issued" is believed when it is heard twice, a minute apart: such a cell has a gateway of its own.
TAKES_LONG = ("500 unasked",)


def faults_of(hop):
    if hop.only is not None:
        return hop.only
    return [fault for fault in FAULTS if (fault not in ("given twice", "unconfirmed") or fault in hop.protected)
            and not (hop.told_absent and fault in TAKES_LONG)]


def through_all(hop, rows, done):
    """Rows of a connector, and what ran; its failure is a row too."""
    try:
        hop.gw.start()
        hop.own(1 + len(FAULTS) + OUTAGE)
        devices = iter(hop.devices)
        serve(hop, next(devices))  # the first call makes keys and asks what the CA can
        for fault in faults_of(hop):
            cell = Cell(hop, fault, next(devices))
            rows[hop.type, fault] = cell.run()
            done[hop.type, fault] = cell
        if hop.only is None:
            rows[hop.type, "outage"] = outage(hop, [next(devices) for _ in range(OUTAGE)])
    except Exception:
        rows[hop.type, "failure"] = "%s: %s\n%s" % (hop.type, traceback.format_exc(), hop.gw.log[-3000:])
    finally:
        hop.proxy.stop()
        hop.stop()


# ---- the table

HEAD = ("fault", "connectors", "saw", "issued", "recorded", "audit", "mended", "again", "in all", "kept")


def read_table(text, order):
    """{(connector, fault): row} of lines like those that table_lines() makes; "all" stands for all of order."""
    rows = {}
    for line in text.strip().splitlines():
        fault, connectors, *row = [part.strip() for part in line.split("|")]
        for connector in order if connectors == "all" else connectors.split():
            assert (connector, fault) not in rows, line
            rows[connector, fault] = tuple(row)
    return rows


def table_lines(rows, order):
    """Connectors with the same outcome share a line."""
    lines = [HEAD]
    for fault in list(FAULTS) + ["outage"]:
        same = {}
        for connector in order:
            if (connector, fault) in rows:
                same.setdefault(rows[connector, fault], []).append(connector)
        lines += [(fault, "all" if connectors == list(order) else " ".join(connectors)) + row
                  for row, connectors in same.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return [" | ".join(part.ljust(width) for part, width in zip(line, widths)).rstrip() for line in lines]


def found(done, connector, what):
    """{fault: serial numbers} of a connector's cells."""
    return {fault: getattr(cell, what) for (of, fault), cell in done.items() if of == connector and getattr(cell, what)}


TITLE = """Faults in front of a CA: what the device saw, what was issued, what is recorded; who mended it,
and what the identical request saw, what was issued in all, how many certificates are kept"""


def leave_table(rows, order, path, record_property):
    """In a file, and for the end of the run."""
    text = "\n".join([TITLE] + table_lines(rows, order))
    with open(path, "w") as out:
        out.write(text + "\n")
    record_property("table", text)


def compare(connector, rows, expected):
    """Every difference at once."""
    if (connector, "failure") in rows:
        raise AssertionError(rows[connector, "failure"])
    wrong = ["%s\n  is       %s\n  expected %s" % (fault, rows.get((connector, fault)), expected.get((connector, fault)))
             for fault in list(FAULTS) + ["outage"] if rows.get((connector, fault)) != expected.get((connector, fault))]
    assert not wrong, "\n".join(wrong)
