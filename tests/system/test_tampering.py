"""Hostile texts on the operators' side, and an audit that somebody has touched."""
import json
import os
import re
import shutil
import socket
import sqlite3

import pytest

import est
import pki
from gateway import Refused


@pytest.fixture(scope="module")
def gw(module_gateway):
    return module_gateway().start()


# ---- injection on the admin side

HOSTILE = ["x'; DROP TABLE asset; --", 'a" OR "1"="1', "100%s%n%s", "../../etc/passwd", "a\\b", "<script>", "ä\u202eb"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_data_and_nothing_else(gw, acme, text):
    device = acme.idevid()
    gw.own(device, site=text.strip(), model=text)
    shown = gw.ctl("asset", "show", device.tag)
    assert (shown["site"], shown["model"]) == (text, text)
    gw.set_state(device, "deployed", text)
    assert gw.audit("asset.state", device.tag)[-1]["detail"]["reason"] == text
    assert gw.ctl("asset", "list", "--owner", text) == []
    assert gw.ctl("asset", "list", "--tag", text) == []
    with pytest.raises(Refused) as refusal:
        gw.ctl("asset", "show", text)
    assert refusal.value.code == 1
    assert gw.ctl("cert", "list", "--asset", text) == []
    assert len(gw.ctl("asset", "list", "--tag", device.tag)) == 1


@pytest.mark.parametrize("tag", ["a/b", "a\nb", "a\x1b[2Jb", " a", "a\x00b", "a" * 200, ""])
def test_a_tag_that_could_do_harm_is_refused(gw, tag):
    with pytest.raises(Refused) as refusal:
        gw.import_rows([{"tag": tag, "owner": "Operations"}])
    assert refusal.value.code == 1
    assert "line 1" in refusal.value.text
    assert "\x1b" not in refusal.value.text


def test_control_characters_do_not_forge_log_lines(gw, device):
    before = len(gw.log)
    hostile = "x\n2026-11-21T00:00:00Z info enroll result=issued\r\x1b[2J"
    est.enroll(gw, pki.csr(pki.ec_key(), "CN=x"), user=hostile, secret="guess")
    est.enroll(gw, pki.csr(pki.ec_key()), headers={"User-Agent": "\x80\xff"})
    answer = est.get(gw, "cacerts%0aevil")
    assert answer.status == 404
    gw.wait_log("result=", before)
    new = gw.log[before:]
    assert "\x1b" not in new and "\r" not in new
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) ", line) for line in new.splitlines()), new
    assert all(json.dumps(row) for row in gw.audit())


def test_the_control_socket_takes_no_nonsense(gw):
    for line in (b"\n", b"{}\n", b"[]\n", b"null\n", b'{"command":"nope","args":{}}\n', b'{"command":1}\n',
                 b'{"command":"asset list","args":[]}\n', b'{"command":"asset show","args":{"tag":{}}}\n',
                 b'{"command":"status","command":"import"}\n', b"\xff\xfe\n", b"A" * 100000 + b"\n",
                 b'{"command":"import","args":{}}\n', b"[" * 5000 + b"\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(gw.socket)
            try:
                sock.sendall(line)
                answer = sock.makefile("rb").read()
            except (BrokenPipeError, ConnectionResetError):
                continue
            last = json.loads(answer.splitlines()[-1])
            assert "error" in last or line.startswith(b'{"command":"asset list"'), (line[:60], answer)
    assert gw.ctl("status")["store_failing"] is False


# ---- the audit chain

@pytest.fixture(scope="module")
def audited(module_gateway, acme):
    gateway = module_gateway().start()
    device = gateway.own(acme.idevid())
    for _ in range(4):
        assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    gateway.head = gateway.ctl("audit", "verify")
    gateway.stop()
    shutil.copy(gateway.db, gateway.db + ".good")
    yield gateway


def with_good_database(gateway):
    if gateway.process:
        gateway.kill()
    for suffix in ("-wal", "-shm"):
        if os.path.exists(gateway.db + suffix):
            os.unlink(gateway.db + suffix)
    shutil.copy(gateway.db + ".good", gateway.db)
    return gateway


EDITS = {
    "edited": ["UPDATE audit SET detail_json = replace(detail_json, 'issued', 'denied') || ' ' WHERE seq = 3"],
    "actor": ["UPDATE audit SET actor = 'operator:nobody' WHERE seq = 2"],
    "time": ["UPDATE audit SET at_s = at_s + 1 WHERE seq = 2"],
    "removed": ["DELETE FROM audit WHERE seq = 3"],
    "first": ["DELETE FROM audit WHERE seq = 1"],
    "reordered": ["UPDATE audit SET seq = 100 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3",
                  "UPDATE audit SET seq = 3 WHERE seq = 100"],
    "tail": ["DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"],
    "inserted": ["INSERT INTO audit SELECT max(seq) + 1, at_s, actor, action, subject, detail_json, hash, hash FROM audit"],
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_an_audit_row_that_was_touched_is_found(audited, edit):
    gateway = with_good_database(audited)
    connection = gateway.database()
    with connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("DROP TRIGGER audit_no_delete")
        for statement in EDITS[edit]:
            connection.execute(statement)
    connection.close()
    gateway.start()
    with pytest.raises(Refused) as refusal:
        gateway.ctl("audit", "verify")
    assert refusal.value.code == 1
    assert re.search(r"row \d+", refusal.value.text), refusal.value.text


def test_an_audit_that_was_left_alone_verifies_and_holds_every_head_written_down(audited):
    gateway = with_good_database(audited).start()
    report = gateway.ctl("audit", "verify")
    assert (report["rows"], report["head"]) == (audited.head["rows"], audited.head["head"])
    for row in gateway.audit():
        assert gateway.ctl("audit", "verify", "--head", row["hash"])["head_row"] == row["seq"]
    with pytest.raises(Refused):
        gateway.ctl("audit", "verify", "--head", "0" * 64)


def test_a_chain_that_was_cut_and_made_consistent_is_found_by_a_head_written_down(audited):
    gateway = with_good_database(audited)
    connection = gateway.database()
    with connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
        connection.execute("UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1)")
    connection.close()
    gateway.start()
    gateway.ctl("audit", "verify")  # nothing in the file itself can tell
    with pytest.raises(Refused) as refusal:
        gateway.ctl("audit", "verify", "--head", audited.head["head"])
    assert "rewritten" in refusal.value.text


def test_the_database_itself_refuses_to_change_audit_rows(gw, device):
    est.enroll(gw, pki.csr(pki.ec_key()), device)
    connection = gw.database()
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "UPDATE decision SET outcome = 'x'",
                      "DELETE FROM decision"):
        with pytest.raises(sqlite3.DatabaseError):
            connection.execute(statement)
        connection.rollback()
    connection.close()
    gw.ctl("audit", "verify")
