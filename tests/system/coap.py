"""
A CoAP client of the tests' own (RFC 7252, RFC 7959) for EST (RFC 9148): they decide every octet
of a message and every datagram, and see all that comes back.
"""
import random
import socket
import time

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from dtls import CCM8, GCM, Dtls, Failed  # noqa: F401

CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = range(1, 8)
EMPTY, CONTINUE = 0, 231
IF_MATCH, URI_HOST, OBSERVE, URI_PORT, URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, ACCEPT = 1, 3, 6, 7, 11, 12, 14, 15, 17
BLOCK2, BLOCK1, SIZE2, PROXY_URI, SIZE1 = 23, 27, 28, 35, 60
LINKS, CBOR, MULTIPART, KEY_CMS, CERTS, KEY, CSRATTRS, CSR, CERT = 40, 60, 62, 280, 281, 284, 285, 286, 287

ROOT = "/.well-known/est"
SIZES = [16, 32, 64, 128, 256, 512, 1024]
TIMEOUT = 30
RESEND = 2.0  # RFC 7252, section 4.8: ACK_TIMEOUT; tests on bad links take less


# ---- messages

class Malformed(Exception):
    """What came is no CoAP message."""


def number(value):
    """RFC 7252, section 3.2: the fewest octets, none for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def block(num, more, size):
    return number(num << 4 | (8 if more else 0) | SIZES.index(size))


def _nibble(value):
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes([value - 13])
    return 14, (value - 269).to_bytes(2, "big")


class Message:
    def __init__(self, kind, code, mid, token=b"", options=(), payload=b""):
        """code: 1 to 7 is a method, otherwise 205 for 2.05. options: [(number, octets)], in any order."""
        self.kind, self.code, self.mid, self.token = kind, code, mid, token
        self.options, self.payload = sorted(options, key=lambda option: option[0]), payload
        self.body = payload

    def __repr__(self):
        return "<%s %d mid=%d token=%s %s %r>" % (("CON", "NON", "ACK", "RST")[self.kind], self.code, self.mid,
                                                  self.token.hex(), self.options, self.body[:200])

    def encode(self):
        code = self.code if self.code < 100 else self.code // 100 << 5 | self.code % 100
        out = bytes([0x40 | self.kind << 4 | len(self.token), code]) + self.mid.to_bytes(2, "big") + self.token
        before = 0
        for kind, value in self.options:
            (delta, more), (length, longer) = _nibble(kind - before), _nibble(len(value))
            out += bytes([delta << 4 | length]) + more + longer + value
            before = kind
        return out + (b"\xff" + self.payload if self.payload else b"")

    @classmethod
    def decode(cls, octets):
        """Strictly: a server has no licence to be sloppy."""
        if len(octets) < 4 or octets[0] >> 6 != 1 or octets[0] & 15 > 8:
            raise Malformed(octets)
        code = octets[1] if octets[1] < 32 else (octets[1] >> 5) * 100 + (octets[1] & 31)
        at = 4 + (octets[0] & 15)
        out = cls(octets[0] >> 4 & 3, code, int.from_bytes(octets[2:4], "big"), octets[4:at])
        if at > len(octets) or (code == EMPTY and len(octets) != 4):
            raise Malformed(octets)

        def extended(nibble):
            nonlocal at
            size = {13: 1, 14: 2}.get(nibble, 0)
            if nibble == 15 or at + size > len(octets):
                raise Malformed(octets)
            at += size
            return nibble if size == 0 else int.from_bytes(octets[at - size:at], "big") + (13 if size == 1 else 269)

        kind = 0
        while at < len(octets) and octets[at] != 0xff:
            first, at = octets[at], at + 1
            kind += extended(first >> 4)
            length = extended(first & 15)
            out.options.append((kind, octets[at:at + length]))
            at += length
            if at > len(octets):
                raise Malformed(octets)
        if at < len(octets):
            out.payload = out.body = octets[at + 1:]
            if not out.payload:
                raise Malformed(octets)
        return out

    # ---- what answers say

    def values(self, kind):
        return [value for number_, value in self.options if number_ == kind]

    def get(self, kind):
        """The number in an option; None when it is absent."""
        values = self.values(kind)
        assert len(values) < 2, self
        assert all(value[:1] != b"\0" for value in values), "numbers are sent in the fewest octets"
        return int.from_bytes(values[0], "big") if values else None

    def block(self, kind):
        """(number, more, size)"""
        value = self.get(kind)
        return None if value is None else (value >> 4, bool(value & 8), SIZES[value & 7])

    @property
    def format(self):
        return self.get(CONTENT_FORMAT)

    def certs(self):
        assert self.code in (204, 205) and self.format == CERTS, self
        return pkcs7.load_der_pkcs7_certificates(self.body)

    def cert(self):
        """The one certificate of an enrollment."""
        assert self.code == 204, self
        if self.format == CERT:
            return x509.load_der_x509_certificate(self.body)
        certs = self.certs()
        assert len(certs) == 1, certs
        return certs[0]

    def key_and_cert(self):
        """The parts of a server-side generated key: {format: octets}."""
        assert self.code == 204 and self.format == MULTIPART, self
        items = cbor(self.body)
        assert isinstance(items, list) and len(items) == 4, items
        return dict(zip(items[::2], items[1::2]))


def cbor(octets):
    """One CBOR item of numbers, octets, texts, arrays and maps (RFC 8949), in its shortest form and with nothing behind it."""
    def head(at):
        kind, low = octets[at] >> 5, octets[at] & 31
        assert low < 28, "definite lengths"
        size = 1 << low - 24 if low >= 24 else 0
        value = int.from_bytes(octets[at + 1:at + 1 + size], "big") if size else low
        assert not size or value >= (24 if size == 1 else 1 << 4 * size), "the shortest form"
        return kind, value, at + 1 + size

    def item(at):
        kind, value, at = head(at)
        if kind == 0:
            return value, at
        if kind in (2, 3):
            assert at + value <= len(octets)
            return octets[at:at + value] if kind == 2 else octets[at:at + value].decode(), at + value
        assert kind in (4, 5), "numbers, octets, texts, arrays, maps"
        out = []
        for _ in range(value * (kind - 3)):
            one, at = item(at)
            out.append(one)
        if kind == 4:
            return out, at
        assert len(set(out[::2])) == value, "each key once"
        return dict(zip(out[::2], out[1::2])), at

    value, end = item(0)
    assert end == len(octets), "octets behind the item"
    return value


# ---- sessions

class Reset(Exception):
    """The server answered with RST."""


class Conn:
    """One DTLS session over one UDP socket."""

    def __init__(self, gateway, device=None, host="127.0.0.1", port=None, source=None, resend=RESEND, timeout=TIMEOUT,
                 **tls):
        self.timeout, self.resend = timeout, resend
        self.trace = []  # every message that came
        self._mid, self._token = random.randrange(65536), random.randrange(1 << 32)
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.dtls = Dtls(gateway.root, device, **tls)
        try:
            if source is not None:
                self.sock.bind(source)
            self.sock.connect((host, port or gateway.port))
            self.shake()
        except BaseException:
            self.sock.close()
            self.dtls.free()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, notify=True):
        """notify=False: gone without a word, as a device that lost power."""
        if notify and self.dtls.done:
            self._send(self.dtls.shutdown())
        self.sock.close()
        self.dtls.free()

    def _send(self, datagrams):
        for datagram in datagrams:
            try:
                self.sock.send(datagram)
            except ConnectionRefusedError:
                pass  # what an earlier datagram met

    def receive_raw(self, seconds):
        """One datagram, or None when its time is over."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            return self.sock.recv(65536)
        except (socket.timeout, BlockingIOError, ConnectionRefusedError):
            return None

    def shake(self):
        """The handshake (or the rest of one), with what is lost sent again."""
        end = time.monotonic() + self.timeout
        while not self.dtls.step():
            while True:
                self._send(self.dtls.take())
                left = self.dtls.timeout()
                datagram = self.receive_raw(1.0 if left is None else left)
                if datagram:
                    break
                if time.monotonic() > end:
                    raise TimeoutError("no handshake within %d s" % self.timeout)
                self.dtls.resend()
            try:
                complete = self.dtls.step(datagram)
            finally:
                self._send(self.dtls.take())
            if complete:
                return

    # ---- messages

    def next_mid(self):
        self._mid = self._mid + 1 & 0xffff
        return self._mid

    def next_token(self):
        self._token = self._token + 1 & 0xffffffff
        return self._token.to_bytes(4, "big")

    def message(self, code, path="", options=(), payload=b"", kind=CON, query=(), token=None):
        """A request with a new message id and token."""
        options = list(options) + [(URI_PATH, part.encode()) for part in path.split("/")[1:]]
        options += [(URI_QUERY, part.encode()) for part in query]
        return Message(kind, code, self.next_mid(), self.next_token() if token is None else token, options, payload)

    def send(self, message):
        """A Message, or octets that may be none."""
        self._send([self.dtls.seal(message.encode() if isinstance(message, Message) else message)])

    def receive(self, seconds=None):
        """The next message, whatever it is; None when nothing comes."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while True:
            datagram = self.receive_raw(end - time.monotonic())
            if datagram is None:
                if time.monotonic() >= end:
                    return None
                continue
            for octets in self.dtls.open(datagram):
                message = Message.decode(octets)
                self.trace.append(message)
                return message

    def await_answer(self, request, end, acknowledged=False):
        """(answer or None, whether the request was acknowledged); CONs are acknowledged, others' are not for us."""
        while True:
            message = self.receive(end - time.monotonic())
            if message is None:
                return None, acknowledged
            if message.kind == CON:
                self.send(Message(ACK, EMPTY, message.mid))
            if message.kind == RST and message.mid == request.mid:
                raise Reset(request)
            if message.kind == ACK and message.mid != request.mid:
                continue
            if message.kind == ACK and message.code == EMPTY:
                if not acknowledged:
                    return None, True
            elif message.token == request.token:
                return message, True

    def exchange(self, request):
        """Send until it is answered (RFC 7252, section 4.2)."""
        end, wait, acknowledged = time.monotonic() + self.timeout, self.resend, False
        answer = None
        while answer is None:
            if time.monotonic() > end:
                raise TimeoutError("no answer to %r" % request)
            if not acknowledged:
                self.send(request)
            until = end if acknowledged else min(end, time.monotonic() + wait)
            answer, acknowledged = self.await_answer(request, until, acknowledged)
            wait *= 1.5
        return answer

    # ---- whole requests

    def upload(self, path, body, size, options=(), code=POST, extra=()):
        """Send a body in blocks; the last answer. extra: options of the last block."""
        count = max(1, -(-len(body) // size))
        for num in range(count):
            last = num + 1 == count
            request = self.message(code, path, list(options) + [(BLOCK1, block(num, not last, size))] +
                                   (list(extra) if last else []), body[num * size:(num + 1) * size])
            answer = self.exchange(request)
            if last:
                return answer
            if answer.code != CONTINUE:
                return answer
            assert answer.block(BLOCK1) == (num, True, size), answer

    def download(self, answer, path, code, options=(), size=None):
        """The rest of an answer's body, block by block; the answer with all of it."""
        first = answer
        while answer.block(BLOCK2) and answer.block(BLOCK2)[1]:
            size = answer.block(BLOCK2)[2]
            assert len(answer.payload) == size, answer
            num = len(first.body) // size
            answer = self.exchange(self.message(code, path, list(options) + [(BLOCK2, block(num, False, size))]))
            if answer.code != first.code:
                return answer
            assert answer.block(BLOCK2)[::2] == (num, size) and answer.format == first.format, answer
            first.body += answer.payload
        return first

    def request(self, code, path, body=None, accept=None, format=None, size=None, query=(), options=()):
        """size: of blocks in both directions; None leaves it to the server, and cuts a body only where it must be."""
        options = list(options)
        if accept is not None:
            options.append((ACCEPT, number(accept)))
        later = list(options)
        if format is not None:
            options.append((CONTENT_FORMAT, number(format)))
        first = [(BLOCK2, block(0, False, size))] if size else []
        if body is not None and (size or len(body) > 1024):
            answer = self.upload(path, body, size or 1024, options, code, first)
        else:
            answer = self.exchange(self.message(code, path, options + first, body or b"", query=query))
        return self.download(answer, path, code, later)

    def get(self, operation, label="", root=ROOT, **kw):
        return self.request(GET, path(operation, label, root), **kw)

    def post(self, operation, body, label="", root=ROOT, format=CSR, **kw):
        return self.request(POST, path(operation, label, root), body, format=format, **kw)

    def discover(self, *query, **kw):
        return self.request(GET, "/.well-known/core", query=query, **kw)

    def ping(self, seconds=TIMEOUT):
        """RFC 7252, section 4.3: an empty CON is answered by RST, if not too often. True when it was."""
        end, mids = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            message = Message(CON, EMPTY, self.next_mid())
            mids.add(message.mid)
            self.send(message)
            answer = self.receive(1)
            while answer is not None:
                if answer.kind == RST and answer.mid in mids:
                    return True
                answer = self.receive(1)
        return False

    def alive(self):
        """The session goes on: another request is answered. A gateway with too much to do may say so first."""
        end, code = time.monotonic() + self.timeout, 503
        while code == 503 and time.monotonic() < end:
            code = self.exchange(self.message(GET, "/.well-known/core", query=["rt=none"])).code
        return code in (205, 404)

    def unique(self):
        return self.dtls.unique()


def path(operation, label="", root=ROOT):
    return "%s/%s%s" % (root, label + "/" if label else "", operation)


def post(gateway, operation, csr, device=None, **kw):
    """One request in a session of its own."""
    tls = {key: kw.pop(key) for key in ("host", "port", "source", "ciphers", "groups") if key in kw}
    with Conn(gateway, device, **tls) as conn:
        return conn.post(operation, csr, **kw)


def enroll(gateway, csr, device=None, **kw):
    return post(gateway, "sen", csr, device, **kw)


def links(text):
    """RFC 6690, the part that is used: {target: {attribute: value}}."""
    out = {}
    for link in text.split(",<"):
        target, *attributes = link.lstrip("<").split(";")
        assert target.endswith(">") and target[:-1] not in out, text
        out[target[:-1]] = {key: value.strip('"') for key, value in (part.split("=", 1) for part in attributes)}
    return out


# ---- the gateway's side

def configure(gateway, **section):
    """Let a new gateway speak CoAP at its labels, on its own ports' UDP."""
    settings = gateway.settings
    settings["listen"]["coaps"] = ["127.0.0.1:%d" % gateway.port, "[::1]:%d" % gateway.port]
    settings["coap"] = dict({"contexts": 2}, **section)
    for label in settings["labels"]:
        label["protocols"] = ["est", "coap"]
    return gateway


def add_label(gateway, name, **kw):
    gateway.add_label(name, **dict({"protocols": ["est", "coap"]}, **kw))


def hello(gateway, device):
    """A first ClientHello, as a datagram."""
    conn = Dtls(gateway.root, device)
    conn.step()
    datagram, = conn.take()
    conn.free()
    return datagram


def process_status(gateway, name):
    """A number of /proc/PID/status, such as VmRSS in KiB."""
    with open("/proc/%d/status" % gateway.process.pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))
