"""
Kill -9 and power loss while enrolld takes over the database of an earlier version: whatever is left is sound and of some version in
between, with every row as if nothing had happened; the next start goes on from there.

Old databases are made by the released texts themselves (gateway/store/schema.c). One start on each is recorded, step by step
(halt.py); every store that a death may leave is judged by SQLite alone against the same texts, run in peace. Real deaths follow.
"""
import hashlib
import os
import re
import sqlite3
import struct

import pytest

import halt

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "gateway", "store", "schema.c")
ASSETS = 30  # rows of several pages
FAR_S = 4_000_000_000
STRIDE = 1 if halt.EVERY else 7  # of the stores that are judged


def read_texts():
    """[text of migration 1, ...]"""
    with open(SCHEMA) as file:
        source = file.read()

    def text(name):
        out, at = "", source.index("static const char %s[] =" % name)
        for token in re.finditer(r'/\*.*?\*/|"([^"\\\n]*)"|;', source[at:], re.S):
            if token.group(0) == ";":
                return out
            out += token.group(1) or ""
        raise AssertionError(name)

    return [text(name) for name in re.findall(r"\b(SCHEMA_\w+),", source[source.index("store_migrations[] ="):])]


TEXTS = read_texts()
PRESENT = len(TEXTS)
# Before migration 1 there is nothing: a death while a new database is made.
VERSIONS = range(PRESENT)

# (since version, table, columns, how many, the row of asset n). Rows that no start changes.
ROWS = [
    (1, "owner", "id name kind status contract_end_s contact", 2, lambda n: (n, "Owner %d" % n, 0, 0, 0, "ops@example.net")),
    (1, "asset", "id tag owner_id manufacturer model serial class site hostname source source_key state holding tier version"
     " state_since_s created_s locked", ASSETS, lambda n: (n, "rtr-%d" % n, 1 + n % 2, "Acme", "X" * 40, "SN-%d" % n, "", "lab", "",
                                                      "a.csv", "", 3, 0, 0, 4, 1700, 1600, 0)),
    (1, "anchor", "type issuer value asset_id", ASSETS, lambda n: (0, "acme", "SN-%d" % n, n)),
    (1, "transition", "id asset_id at_s from_state to_state actor reason", ASSETS, lambda n: (n, n, 1700, 2, 3, "operator:eve", "")),
    (1, "secret", "id asset_id once label protocol salt hash created_s expires_s used_s", ASSETS,
     lambda n: (n, n, 1, "*", "est", bytes(16), bytes(32), 1600, 0, 0)),
    (2, "request", "id asset_id label csr_sha256 attempt created_s state profile proof", ASSETS,
     lambda n: (n, n, "routers", digest("csr", n), 0, 1650, 2 if n % 3 else 3, "router", "secret of rtr-%d" % n)),
    (2, "request_csr", "id der", ASSETS, lambda n: (n, b"\x30" * 300)),
    (2, "certificate", "id asset_id request_id ca label profile serial subject sans sha256 spki_sha256 not_before_s not_after_s status"
     " revoked_s", ASSETS, lambda n: (n, n, n, "issuing", "routers", "router", "%04x" % n, "CN=rtr-%d" % n, "", digest("cert", n),
                                      digest("key", n), 1, FAR_S, n % 3, 1800 * (n % 3 == 1))),
    (2, "certificate_der", "id der", ASSETS, lambda n: (n, b"\x30" * 600)),
    (2, "decision", "id at_s request_id asset_id asset_version policy_version csr_sha256 outcome reason sentence rules_json", ASSETS,
     lambda n: (n, 1650, n, n, 4, "v1", digest("csr", n), "allowed", "ok", "", "[]")),
    (5, "challenge", "mdm sha256 request_id", ASSETS, lambda n: ("mdm", digest("challenge", n), n)),
    (6, "transfer", "id asset_id from_owner_id to_owner_id state prior_state reason offered_by offered_s expires_s decided_s", 5,
     lambda n: (n, n, 1 + n % 2, 2 - n % 2, 1, 3, "", "operator:eve", 1600, FAR_S, 1700)),
    (6, "quota", "owner_id profile most", 2, lambda n: (n, "router", ASSETS)),
    (6, "quota_place", "asset_id profile owner_id cert_until_s", ASSETS, lambda n: (n, "router", 1 + n % 2, FAR_S)),
    (7, "nonce", "sha256 request_id expires_s", ASSETS, lambda n: (digest("nonce", n), n, FAR_S)),
    (7, "request_attestation", "id json", ASSETS, lambda n: (n, "{}")),
    (7, "ak", "spki_sha256 attester ek_sha256 asset_id bound_s expires_s", ASSETS,
     lambda n: (digest("ak", n), "tpm", "ek-%d" % n, n, 1, FAR_S)),
    (7, "policy", "version at_s text", 3, lambda n: ("v%d" % n, 1, "text " * 100)),
    (9, "intent", "id request_id number ca ca_request_id state spec_json spki key_kind created_s updated_s next_try_s certificate_id",
     ASSETS, lambda n: (n, n, 0, "vault", "gw-%d-0" % n, 4 if n % 4 else 2, "{}", b"0", 1, 1651, 1660, FAR_S, n if n % 4 else None)),
    (9, "ca_revocation", "id ca serial reason certificate_id state created_s next_try_s", ASSETS // 2,
     lambda n: (n, "vault", "%04x" % (2 * n), "lost", 2 * n, n % 3, 1662, FAR_S)),
    (10, "bundle", "id ca sha256 made_s", 2, lambda n: (n, "vault", digest("bundle", n), 1)),
    (10, "bundle_cert", "bundle_id cert_sha256", 2, lambda n: (n, digest("top", n))),
    (10, "trust_seen", "asset_id ca bundle_id at_s how", ASSETS, lambda n: (n, "vault", 1 + n % 2, 1700, 1)),
]


def digest(*words):
    return hashlib.sha256(repr(words).encode()).digest()


def append(db, seq, last):
    """A row of the audit chain (gateway/store/README.md)."""
    values = (seq, 1650 + seq, "enrolld", "enroll.issued", "rtr-%d" % seq, "{}")
    chained = hashlib.sha256(last)
    for value in values:
        octets = struct.pack(">q", value) if isinstance(value, int) else value.encode()
        chained.update(struct.pack(">I", len(octets)) + octets)
    db.execute("INSERT INTO audit (seq, at_s, actor, action, subject, detail_json, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
               values + (last, chained.digest()))
    return chained.digest()


def fill(db, version):
    """A row in every table that there is then."""
    for since, table, columns, count, row in ROWS:
        if since <= version:
            words = columns.split()
            db.executemany("INSERT INTO %s (%s) VALUES (%s)" % (table, ", ".join(words), ", ".join("?" * len(words))),
                           [row(n) for n in range(1, count + 1)])
    if version >= 3:
        last = bytes(32)
        for seq in range(1, ASSETS + 1):
            last = append(db, seq, last)
        db.execute("UPDATE audit_head SET seq = ?, hash = ?" if db.execute("SELECT 1 FROM audit_head").fetchone() else
                   "INSERT INTO audit_head (one, seq, hash) VALUES (1, ?, ?)", (ASSETS, last))


def tables(db):
    return [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]


def contents(db):
    """{table: its rows}, and what else there is; but for the chain's head, which moves."""
    found = {name: set(db.execute("SELECT * FROM %s" % name)) for name in tables(db) if name != "audit_head"}
    found["schema"] = {(kind, name, sql) for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_schema")}
    return found


class Old:
    """A database of an earlier version, and what becomes of it in peace."""

    def __init__(self, folder, version):
        self.version, self.path = version, os.path.join(str(folder), "old.db")
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        for text in TEXTS[:version]:
            db.executescript("BEGIN;" + text + "COMMIT;")
        if version % 2 == 0:
            # Of every second one the rows are in the log, as somebody who died left it.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA wal_autocheckpoint = 0")
        if version:
            db.execute("BEGIN")
            fill(db, version)
            db.execute("COMMIT")
        db.execute("PRAGMA foreign_keys = ON")  # the first schema names a table of the second, so not before
        self.files = {}
        if version % 2:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for place, suffix in halt.SUFFIXES.items():
            octets = None
            if os.path.exists(self.path + suffix):
                with open(self.path + suffix, "rb") as file:
                    octets = file.read()
            self.files[place] = octets or None
        self.at = {version: contents(db)}
        for number, text in enumerate(TEXTS[version:], version + 1):
            db.executescript("BEGIN;" + text + "COMMIT;")
            self.at[number] = contents(db)
        db.close()
        assert not version or all(self.at[PRESENT][table] for since, table, *_ in ROWS if since <= version)

    def judge(self, db):
        """The version of such a store, with every row."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        assert self.version <= version <= PRESENT
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        found, expected = contents(db), self.at[version]
        assert found["schema"] == expected["schema"]
        for name, rows in expected.items():
            assert rows <= found[name], (version, name)
        if version >= 3:
            halt.check_chain(db)
        return version


def stride(steps):
    """Where a migration ends, and of the rest every so many."""
    ends = [i for i, op in enumerate(steps, 1) if op.what != "write"]
    return sorted(set(range(1, len(steps) + 2, STRIDE)) | set(ends))


def deaths(version, steps):
    """[(step, what becomes of the store)]: one, where another migration ends for each version; of the first version more."""
    if halt.EVERY:
        return [(at, halt.STATES[at % len(halt.STATES)]) for at in range(1, len(steps) + 1, 3)]
    commits = [op.step for op in steps if op.what == "sync" and op.place == "log"]
    if version == 1:
        return [(commits[(i + 1) * len(commits) // 6] - i % 2, state) for i, state in enumerate(halt.STATES)]
    return [(commits[len(commits) * (version % 3 + 1) // 4] - version % 2, halt.STATES[version % len(halt.STATES)])]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_death_at_any_step_of_a_migration_is_made_good_by_the_next_start(version, new_gateway, tmp_path):
    gateway, old = new_gateway(), Old(tmp_path, version)
    halting = halt.Halting(gateway)
    halting.replace(old.files)
    halting.start_armed()
    assert halting.dead() is None
    ops, steps = halting.ops(), halting.steps()
    seen, known = {state: [] for state in halt.STATES}, {}
    for at in stride(steps):
        for state, files in halt.Disk(old.files).follow(halt.until(ops, at)).all_left().items():
            same = tuple(octets and hashlib.sha256(octets).digest() for octets in files.values())
            if same not in known:
                with halt.opened(str(tmp_path), files) as db:
                    known[same] = old.judge(db)
            seen[state].append(known[same])
    for state, versions in seen.items():
        assert versions == sorted(versions) and versions[-1] == PRESENT, (state, versions)
    assert set(seen[halt.NOTHING]) == set(range(version, PRESENT + 1)), "each is a commit of its own"
    for at, state in deaths(version, steps):
        halting.replace(old.files)
        halting.start_armed(at)
        assert halting.dead().step == at
        assert halting.files() == halting.disk().now(), "the record is what happened"
        halting.lose_power(state)
        halting.start()
        gateway.ctl("audit", "verify")
        gateway.stop()
        with halt.opened(str(tmp_path), halting.files()) as db:
            assert old.judge(db) == PRESENT
    print("from %d: %d steps, %d stores judged, real deaths at %s" % (
        version, len(steps), len(known), " ".join("%d (%s)" % one for one in deaths(version, steps))))
