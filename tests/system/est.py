"""A raw EST client on ssl and sockets: the tests decide every octet that is sent and see every one that comes."""
import base64
import socket
import ssl
import threading

from cryptography.hazmat.primitives.serialization import pkcs7

ROOT = "/.well-known/est"
TIMEOUT = 30

# Pieces of raw requests
HOST = b"Host: localhost\r\n"
GET = b"GET /.well-known/est/cacerts HTTP/1.1\r\n"
POST = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"


class Closed(Exception):
    """The server closed the connection before a whole answer had come."""

    def __init__(self, received):
        super().__init__("closed after %r" % received[:200])
        self.received = received


class Response:
    def __init__(self, head, body):
        self.head = head
        lines = head.decode("latin-1").split("\r\n")
        self.version, status, self.reason = (lines[0].split(" ", 2) + [""])[:3]
        self.status = int(status)
        self.fields = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.body = body

    def __repr__(self):
        return "<%d %s %r>" % (self.status, self.fields, self.body[:300])

    def get(self, name):
        """A field by its exact spelling, as libest compares."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, self
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()

    def der(self):
        return base64.b64decode(self.body.replace(b"\r\n", b"").replace(b"\n", b""), validate=True)

    def certs(self):
        return pkcs7.load_der_pkcs7_certificates(self.der())

    def cert(self):
        """The one certificate of an enrollment answer (RFC 7030, section 4.2.3)."""
        assert self.status == 200, self
        certs = self.certs()
        assert len(certs) == 1, certs
        return certs[0]


def context(root, device=None, version=None, minimum=None):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.load_verify_locations(root)
    if device is not None:
        ctx.load_cert_chain(device.pem, device.key_file)
    if version is not None:
        if version < ssl.TLSVersion.TLSv1_2:
            ctx.set_ciphers("ALL:@SECLEVEL=0")
        ctx.minimum_version = minimum or version
        ctx.maximum_version = version
    return ctx


class Conn:
    """One TLS connection."""

    def __init__(self, gateway, device=None, version=None, host="127.0.0.1", ctx=None, timeout=TIMEOUT):
        raw = socket.create_connection((host, gateway.port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ctx = ctx or context(gateway.root, device, version)
        try:
            self.sock = ctx.wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, octets):
        self.sock.sendall(octets)

    def _more(self):
        try:
            octets = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError) as e:
            if isinstance(e, TimeoutError):
                raise
            octets = b""
        if not octets:
            raise Closed(self.buffer)
        self.buffer += octets

    def receive(self, method="POST"):
        """One answer, framed by Content-Length alone."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, rest = self.buffer.split(b"\r\n\r\n", 1)
        response = Response(head + b"\r\n", b"")
        assert response.get("Transfer-Encoding") is None, "EST answers are never chunked"
        length = response.get("Content-Length")
        if response.status in (204, 304) or response.status < 200 or method == "HEAD":
            length = "0"
        assert length is not None, response
        while len(rest) < int(length):
            self.buffer = head + b"\r\n\r\n" + rest
            self._more()
            rest = self.buffer.split(b"\r\n\r\n", 1)[1]
        response.body, self.buffer = rest[:int(length)], rest[int(length):]
        return response

    def at_end(self):
        """Wait for the server's close; whatever came before it is the answer."""
        try:
            while True:
                self._more()
        except Closed as closed:
            self.buffer = b""
            return closed.received

    def request(self, method, path, body=None, headers=()):
        self.send(request(method, path, body, headers))
        return self.receive(method)

    def unique(self):
        return self.sock.get_channel_binding("tls-unique")


def request(method, path, body=None, headers=()):
    """A well-formed request; headers override and None removes."""
    fields = {"Host": "localhost"}
    if body is not None:
        fields["Content-Type"] = "application/pkcs10"
        fields["Content-Length"] = str(len(body))
    for key, value in dict(headers).items():
        if value is None:
            fields.pop(key, None)
        else:
            fields[key] = value
    lines = ["%s %s HTTP/1.1" % (method, path)] + ["%s: %s" % item for item in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def path(operation, label=""):
    return "%s/%s%s" % (ROOT, label + "/" if label else "", operation)


def basic(user, secret):
    return {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, secret)).encode()).decode()}


def post(gateway, operation, body, device=None, label="", user=None, secret=None, headers=(), version=None, conn=None):
    """POST a CSR: DER is sent in base64, text (bytes that are no SEQUENCE) as it is."""
    if body[:1] == b"\x30":
        body = base64.b64encode(body)
    fields = dict(headers)
    if user is not None:
        fields.update(basic(user, secret))
    if conn is not None:
        return conn.request("POST", path(operation, label), body, fields)
    with Conn(gateway, device, version) as fresh:
        return fresh.request("POST", path(operation, label), body, fields)


def enroll(gateway, csr, device=None, **kw):
    return post(gateway, "simpleenroll", csr, device, **kw)


def reenroll(gateway, csr, device=None, **kw):
    return post(gateway, "simplereenroll", csr, device, **kw)


def get(gateway, operation, label="", device=None, headers=()):
    with Conn(gateway, device) as conn:
        return conn.request("GET", path(operation, label), headers=headers)


def multipart(response):
    """The two parts of a serverkeygen answer: [(fields, decoded octets)]."""
    kind, boundary = response.get("Content-Type").split("; boundary=")
    assert kind == "multipart/mixed"
    pieces = (b"\r\n" + response.body).split(b"\r\n--" + boundary.strip('"').encode())
    assert pieces[-1].startswith(b"--"), response.body
    parts = []
    for piece in pieces[1:-1]:
        head, body = piece.split(b"\r\n\r\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        assert fields.get("Content-Transfer-Encoding") == "base64"
        parts.append((fields, base64.b64decode(body.replace(b"\r\n", b"").replace(b"\n", b""), validate=True)))
    return parts


def in_parallel(jobs):
    """Run all at once; their results in order, None for those whose connection broke."""
    results, start, failures = [None] * len(jobs), threading.Barrier(len(jobs)), []

    def run(i, job):
        start.wait(60)
        try:
            results[i] = job()
        except (OSError, Closed):
            pass
        except AssertionError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if failures:
        raise failures[0]
    return results
