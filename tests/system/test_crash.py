"""
Kill -9 and power loss at every step of an enrollment with the built-in CA: one request, one certificate, one spent secret.

One enrollment is recorded, step by step (halt.py). Every store that a death before any of these steps can leave, by a kill or by
a power loss of each kind, is put together from the record and judged by SQLite alone. Real deaths follow, at each STRIDE-th step
and at the last ones, where the commit is: the store is what the record says, a gateway starts on it, and the device repeats its
request. The same for a gateway that is stopped.
"""
import pytest

import est
import halt
import pki
import scep

STRIDE = 1 if halt.EVERY else 3  # of real deaths: what one costs is two starts
LAST_ONES = 4
BEGINS = ["write", "sync", "synced", "sync", "synced"]  # a log: its head, the file, the folder it is in
COMMITS = ["sync", "synced"]


def broken(ask):
    """The answer, or None when the connection ended without one."""
    try:
        return ask()
    except (OSError, est.Closed):
        return None


class ByEst:
    """A one-time secret by HTTP Basic."""

    def __init__(self, gateway, device):
        self.gateway, self.tag = gateway, device.tag
        self.secret, self.csr = gateway.secret(device.tag), pki.csr(pki.ec_key(), "")

    def ask(self):
        return pki.cert_der(est.enroll(self.gateway, self.csr, user=self.tag, secret=self.secret).cert())


class ByScep:
    """A one-time challenge."""

    def __init__(self, gateway, device):
        self.gateway, self.tag = gateway, device.tag
        signer = scep.Signer(subject="CN=" + device.tag)
        self.message = scep.pkcs_req(gateway.ra, signer, scep.challenge(gateway, device))
        self.octets = self.message.der()

    def ask(self):
        return pki.cert_der(scep.Reply(scep.post(self.gateway, self.octets), self.message).cert)


def recorded(db, tag):
    """How many certificates the asset has; all that the store says of it agrees."""
    def count(sql):
        return db.execute(sql, (tag,)).fetchone()[0]

    certs = count("SELECT count(*) FROM certificate c JOIN asset a ON a.id = c.asset_id WHERE a.tag = ?")
    assert certs == count("SELECT count(*) FROM certificate c JOIN asset a ON a.id = c.asset_id"
                          " JOIN certificate_der d ON d.id = c.id WHERE a.tag = ? AND c.status = 0")
    assert certs == count("SELECT count(*) FROM secret s JOIN asset a ON a.id = s.asset_id WHERE a.tag = ? AND s.used_s != 0"
                          ), "spent if and only if it was good for a certificate"
    assert certs == count("SELECT count(*) FROM request r JOIN asset a ON a.id = r.asset_id WHERE a.tag = ? AND r.state = 2"
                          " AND r.cert_id IS NOT NULL")
    assert certs == count("SELECT count(*) FROM audit WHERE subject = ? AND action = 'enroll.issued'")
    return certs


class Store:
    """One gateway, whose store is as it was at the beginning of each round: so every round has the same steps."""

    def __init__(self, gateway, folder, acme, kind):
        self.gateway, self.folder = gateway, str(folder)
        self.halting = halt.Halting(gateway)
        gateway.start()
        devices = [acme.idevid() for _ in range(3)]
        gateway.own(*devices)
        neighbour, self.client, self.other = (kind(gateway, device) for device in devices)
        self.kept = neighbour.tag
        neighbour.ask()
        gateway.stop()
        self.beginning = self.halting.files()
        assert self.beginning["log"] is None

    def begin(self, at=0):
        self.halting.replace(self.beginning)
        self.halting.start(at)

    def judge(self, files):
        """How many certificates the client has in such a store."""
        with halt.opened(self.folder, files) as db:
            halt.check_chain(db)
            assert recorded(db, self.kept) == 1
            return recorded(db, self.client.tag)

    def repeat(self, seen):
        """Started again, the device has one certificate: the one it has seen, if any."""
        self.halting.start()
        got = self.client.ask()
        assert seen in (None, got), "a second certificate for one request"
        assert self.client.ask() == got
        with halt.reading(self.gateway.db) as db:
            assert db.execute("SELECT d.der FROM certificate c JOIN asset a ON a.id = c.asset_id JOIN certificate_der d"
                              " ON d.id = c.id WHERE a.tag = ?", (self.client.tag,)).fetchall() == [(got,)]
            assert recorded(db, self.client.tag) == 1
        self.gateway.ctl("audit", "verify")
        self.gateway.kill()


def stride(steps):
    """The steps with real deaths; one behind the last, where the device has its answer."""
    return [at for at in range(1, steps + 2) if at % STRIDE == 1 or at > steps + 1 - LAST_ONES]


@pytest.mark.parametrize("kind", [ByEst, ByScep], ids=["est", "scep"])
def test_a_death_at_any_step_leaves_one_certificate_and_one_spent_secret(new_gateway, acme, tmp_path, kind):
    store = Store(scep.configure(new_gateway()), tmp_path, acme, kind)
    client, halting = store.client, store.halting
    store.begin()
    halting.arm()
    client.ask()
    assert halting.dead() is None
    ops = halting.ops()
    kinds = [op.what for op in halting.steps()]

    seen = {state: [] for state in halt.STATES}
    for at in range(1, len(kinds) + 2):
        for state, files in halt.Disk(store.beginning).follow(halt.until(ops, at)).all_left().items():
            seen[state].append(store.judge(files))
    safe = [0] * (len(kinds) - 1) + [1, 1]  # from "synced" on
    assert seen[halt.NOTHING] == safe, "the answer goes out when it is safe, and not before"
    for state, counts in seen.items():
        assert counts == sorted(counts) and counts[-2:] == [1, 1] and counts[0] == 0, (state, counts)
    writes = len(kinds) - len(BEGINS + COMMITS)
    assert writes > 10 and kinds == BEGINS + ["write"] * writes + COMMITS, "one commit: %s" % kinds

    for at in stride(len(kinds)):
        state = halt.STATES[at % len(halt.STATES)]
        store.begin(at)
        halting.arm()
        answer = broken(client.ask)
        end = halting.dead()
        assert (end and end.what) == (kinds + [None])[at - 1] and (end is None) == (answer is not None)
        assert halting.files() == halting.disk().now(), "the record is what happened"
        halting.lose_power(state)
        store.repeat(answer)
    print("%s: %d steps, real deaths at %s" % (kind.__name__, len(kinds), stride(len(kinds))))


def test_a_death_at_any_step_of_stopping_loses_nothing(new_gateway, acme, tmp_path):
    """The log goes into the database then and is removed."""
    store = Store(scep.configure(new_gateway()), tmp_path, acme, ByEst)
    client, halting = store.client, store.halting

    def stopped(at):
        store.begin(at)
        answer = client.ask()
        halting.arm()
        store.gateway.process.terminate()
        store.gateway.process.wait(halt.STOP_S)
        return answer, halting.dead()

    assert stopped(0)[1] is None
    ops, kinds = halting.ops(), [op.what for op in halting.steps()]
    for at in range(1, len(kinds) + 2):
        for files in halt.Disk(store.beginning).follow(halt.until(ops, at)).all_left().values():
            assert store.judge(files) == 1
    assert set(kinds) == {"write", "truncate", "sync", "synced", "unlink"} and kinds[-1] == "unlink"
    for at in stride(len(kinds)):
        answer, end = stopped(at)
        assert (end and end.what) == (kinds + [None])[at - 1]
        assert halting.files() == halting.disk().now(), "the record is what happened"
        halting.lose_power(halt.STATES[at % len(halt.STATES)])
        store.repeat(answer)
    print("stopping: %s, real deaths at %s" % (" ".join(kinds), stride(len(kinds))))
