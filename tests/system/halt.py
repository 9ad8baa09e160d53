"""A gateway that dies at a step of its own (ca/halt.c), and what a power loss would have left of its store."""
import collections
import contextlib
import hashlib
import http.client
import os
import signal
import sqlite3
import struct

from gateway import ENV, STOP_S, binary

SUFFIXES = {"database": "", "log": "-wal", "journal": "-journal"}
SHARED = "-shm"  # the log's index: rebuilt by whoever opens the store first, whatever it holds
SECTOR = 512

# What of the writes that were not synchronised a power loss leaves
NOTHING, TORN, LAST = "nothing", "torn", "last"
KILLED = "killed"  # no power loss: the system lives on, and what was written is there
LOSSES = (NOTHING, TORN, LAST)
STATES = (KILLED,) + LOSSES

# Deaths at each step, and every kind of them: minutes for each test
EVERY = os.environ.get("CRASH_EVERY", "") not in ("", "0")

Op = collections.namedtuple("Op", "step what place offset octets end")


def read_record(path):
    """What the process did, in order; `end` is true for what it did not live to do (or to see done)."""
    with open(path, "rb") as record:
        text = record.read()
    ops, at = [], 0
    while at < len(text):
        line, at = text[at:text.index(b"\n", at)], text.index(b"\n", at) + 1
        step, what, place, offset, length = line.decode().split(" ")
        kept = int(length) if what == "write" else 0
        ops.append(Op(int(step), what, place, int(offset), text[at:at + kept], offset == "-1"))
        at += kept
    return ops


def until(ops, step):
    """What was done before the step; all of it, when there is no such step."""
    for i, op in enumerate(ops):
        if op.step == step:
            return ops[:i]
    return ops


class File:
    def __init__(self, octets=b""):
        self.safe, self.unsafe = octets, []

    def with_writes(self, ops):
        octets = bytearray(self.safe)
        for op in ops:
            if op.what == "truncate":
                octets = octets[:op.offset].ljust(op.offset, b"\0")
            elif op.octets:
                octets = octets.ljust(op.offset, b"\0")
                octets[op.offset:op.offset + len(op.octets)] = op.octets
        return bytes(octets)

    def left(self, keep):
        if keep == NOTHING or not self.unsafe:
            return self.safe
        if keep == LAST:
            return self.with_writes(self.unsafe[-1:])
        half = len(self.unsafe) // 2
        torn = self.unsafe[half]
        torn = torn._replace(octets=torn.octets[:len(torn.octets) // 2 // SECTOR * SECTOR])
        return self.with_writes(self.unsafe[:half] + ([] if torn.what == "truncate" else [torn]))


class Disk:
    """
    A folder of files where only what was synchronised is safe. A file's name is safe when its folder has been synchronised since
    it was made or removed; Linux is kinder on most file systems, and promises no more (fsync(2)).
    """

    def __init__(self, before):
        self.files = {place: File(octets) for place, octets in before.items() if octets is not None}
        self.safe = dict(self.files)

    def follow(self, ops):
        for op in ops:
            if op.end:
                break
            if op.what == "create":
                self.files[op.place] = File()
            elif op.what in ("write", "truncate"):
                self.files[op.place].unsafe.append(op)
            elif op.what == "unlink":
                del self.files[op.place]
            elif op.what == "sync" and op.place == "folder":
                self.safe = dict(self.files)
            elif op.what == "sync":
                file = self.files[op.place]
                file.safe, file.unsafe = file.with_writes(file.unsafe), []
        return self

    def is_safe(self):
        return self.files == self.safe and not any(file.unsafe for file in self.files.values())

    def now(self):
        """As the system shows it."""
        return {place: self.files[place].with_writes(self.files[place].unsafe) if place in self.files else None
                for place in SUFFIXES}

    def all_left(self):
        """Every store that a death now can leave."""
        return {state: self.left(state) for state in STATES}

    def left(self, keep):
        if keep == KILLED:
            return self.now()
        files = self.safe if keep == NOTHING else self.files
        return {place: files[place].left(keep) if place in files else None for place in SUFFIXES}


@contextlib.contextmanager
def reading(path):
    """A store that is in use, as it is at one moment."""
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as db:
        db.execute("BEGIN")
        yield db


@contextlib.contextmanager
def opened(folder, files):
    """A store put together from files, opened as a gateway would: SQLite finds out what the log is worth."""
    path = os.path.join(folder, "left.db")
    for place, suffix in list(SUFFIXES.items()) + [(None, SHARED)]:
        if files.get(place) is not None:
            with open(path + suffix, "wb") as out:
                out.write(files[place])
        elif os.path.exists(path + suffix):
            os.unlink(path + suffix)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")  # nobody loses power while this is looked at
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        yield db


def check_chain(db):
    """gateway/store/README.md, "Audit chain"."""
    last, seq = bytes(32), 0
    for row in db.execute("SELECT prev, hash, seq, at_s, actor, action, subject, detail_json FROM audit ORDER BY seq"):
        digest = hashlib.sha256(row[0])
        for value in row[2:]:
            octets = struct.pack(">q", value) if isinstance(value, int) else value.encode()
            digest.update(struct.pack(">I", len(octets)) + octets)
        seq += 1
        assert (row[0], row[1], row[2]) == (last, digest.digest(), seq)
        last = row[1]
    assert db.execute("SELECT seq, hash FROM audit_head").fetchall() == [(seq, last)]


class Halting:
    """One gateway, started again and again."""

    def __init__(self, gateway, *ports):
        """ports: of the CAs elsewhere."""
        self.gateway, self.ports = gateway, ports or (0,)
        self.store = os.path.realpath(gateway.db)
        self.arm_file, self.record_file, self.clock_file = (
            os.path.join(gateway.dir, name) for name in ("halt.arm", "halt.record", "halt.clock"))
        self.library = os.path.join(gateway.dir, "halt.so")  # LD_PRELOAD splits at spaces, of which the tree's path may have some
        if not os.path.lexists(self.library):
            os.symlink(binary("ca/halt.so"), self.library)
        self.set_clock(0)

    def set_clock(self, later_s):
        """How much later it is for the gateway, at once and for good."""
        self.later_s = later_s
        file = os.open(self.clock_file, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, struct.pack("=q", later_s), 0)
        os.close(file)

    def files(self):
        found = {}
        for place, suffix in SUFFIXES.items():
            try:
                with open(self.store + suffix, "rb") as file:
                    found[place] = file.read()
            except FileNotFoundError:
                found[place] = None
        return found

    def start(self, at=0):
        """at: the step that it does not take any more, counted from arm(); 0: none."""
        if os.path.exists(self.arm_file):
            os.unlink(self.arm_file)
        self.before = self.files()
        self._start(at)

    def _start(self, at):
        self.gateway.start(prefix=[
            "env", "LD_PRELOAD=" + self.library, "ASAN_OPTIONS=%s:verify_asan_link_order=0" % ENV["ASAN_OPTIONS"],
            "HALT_STORE=" + self.store, "HALT_PORT=" + ",".join(str(port) for port in self.ports),
            "HALT_TRACE=" + self.record_file, "HALT_ARM=" + self.arm_file, "HALT_AT=%d" % at, "HALT_CLOCK=" + self.clock_file])

    def start_armed(self, at=0):
        """The same with steps counted from the beginning of the process: it may die before it is ready."""
        self.before = self.files()
        self.arm()
        try:
            self._start(at)
        except (AssertionError, OSError, http.client.HTTPException):
            if self.gateway.process.wait(STOP_S) != -signal.SIGKILL:
                raise

    def arm(self):
        open(self.arm_file, "w").close()

    def ops(self):
        return read_record(self.record_file)

    def steps(self):
        """The steps that were counted, in order."""
        return [op for op in self.ops() if op.step]

    def dead(self):
        """The step at which it died; None when it came past it, or the test ended it then."""
        end = self.ops()[-1]
        if end.end:
            self.gateway.process.wait(STOP_S)
        else:
            assert self.gateway.process.poll() in (None, 0), "it died of something else:\n" + self.gateway.log[-4000:]
        self.gateway.kill()
        return end if end.end else None

    def disk(self):
        """What was safe at the moment of death."""
        return Disk(self.before).follow(self.ops())

    def replace(self, files):
        """The store, and an index of the log that nobody can have written."""
        for place, octets in files.items():
            self._put(self.store + SUFFIXES[place], octets)
        self._put(self.store + SHARED, os.urandom(32768) if files["log"] else None)

    @staticmethod
    def _put(path, octets):
        if octets is not None:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(octets)
        elif os.path.exists(path):
            os.unlink(path)

    def lose_power(self, keep):
        """After the death. KILLED: the power is there, and so is what was written."""
        if keep != KILLED:
            self.replace(self.disk().left(keep))
