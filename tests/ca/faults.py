"""Faults in front of a CA: a proxy that spoils answers, and what a cell of the table is made of."""
import datetime
import http.client
import os
import socket
import ssl
import struct
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

import pki
from gateway import free_port

OVERSIZED = 300 << 10  # the gateway takes 256 KiB
PIECES = 20            # of an answer that is slow, and in time
PATIENCE_S = 60
HTML, ERROR_500 = [("Content-Type", "text/html")], b"<html>Internal Server Error</html>"
DAY = datetime.timedelta(days=1)

# What each does. "before": the CA is not asked. "content": another answer, in place of a good one.
FAULTS = {
    "none": None,
    "refused": "before",        # nobody listens
    "500 unasked": "before",    # a 500 by something in between
    "reset": "transport",       # half of the answer, then RST
    "silent": "transport",      # no octet until the deadline is over
    "too slow": "transport",    # octet by octet, and the deadline passes
    "slow": "transport",        # in pieces, within the deadline
    "500": "transport",         # instead of the answer
    "garbage": "transport",     # with status and type of the answer
    "oversized": "transport",   # a good answer, and 300 KiB of line ends behind it
    "wrong key": "content", "wrong name": "content", "too long": "content",
    "another's": "content",     # the answer to the request before, of another device
    "replayed": "transport",    # reset; whoever asks again gets the lost answer, octet for octet
    # Of protected protocols alone, where nothing but the CA itself can do it.
    "given twice": "inside",    # the certificate of the device before, in an answer that is good otherwise
    "unconfirmed": "transport", # reset of the answer to the confirmation
}


def forged(cert, kind, issuer):
    """The certificate as a CA would have made it that mistakes one thing; signed with its key, under the same serial."""
    subject, public, end = cert.subject, cert.public_key(), cert.not_valid_after
    if kind == "wrong key":
        public = pki.ec_key().public_key()
    elif kind == "wrong name":
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody-else")])
    else:
        assert kind == "too long", kind
        end = pki.now() + 120 * DAY
    build = (x509.CertificateBuilder().subject_name(subject).issuer_name(cert.issuer).public_key(public)
             .serial_number(cert.serial_number).not_valid_before(cert.not_valid_before).not_valid_after(end))
    for extension in cert.extensions:
        build = build.add_extension(extension.value, extension.critical)
    return build.sign(issuer.issuing_key, hashes.SHA256())


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def octets(self):
        lines = ["HTTP/1.1 %d %s" % (self.status, http.client.responses[self.status])]
        lines += ["%s: %s" % field for field in self.fields] + ["Content-Length: %d" % len(self.body)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


class Request:
    def __init__(self, stream):
        """Nothing came: method is None."""
        self.method = None
        line = stream.readline(65536)
        if not line:
            return
        self.method, self.path = line.decode("latin-1").split(" ")[:2]
        self.fields = http.client.parse_headers(stream)
        self.body = stream.read(int(self.fields.get("Content-Length", 0)))


class Proxy:
    """
    TLS in front, a service behind it, one fault at a time.

    issues(request): does it ask for a certificate? spoil(kind, body): the body of a good answer with another
    certificate; None where the service itself has to do that, because answers are protected.
    deadline_s: of the gateway. Behind it is one connection that is kept, because a CMP transaction may live in one.
    seen(request, answer) is called with what the service said, before it is spoilt.
    """

    def __init__(self, tree, route, issues, spoil, deadline_s, behind=None, clients=None,
                 seen=lambda request, answer: None):
        """
        route: a port, or what gives one for a request. behind: an ssl context, or None for plain HTTP.
        clients: PEM files; who may show certificates to it, and must.
        """
        self.seen = seen
        self.issues, self.spoil, self.deadline_s = issues, spoil, deadline_s
        self.route = route if callable(route) else lambda request: route
        self.behind, self.upstream = behind, None
        self.front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.front.load_cert_chain(tree.server, tree.server_key_file)
        if clients is not None:
            self.front.verify_mode = ssl.CERT_REQUIRED
            for path in clients:
                self.front.load_verify_locations(path)
        self.fault, self.lost, self.previous, self.last = "none", None, None, None
        self.spoilt, self.repeating, self.repeated = 0, False, False
        self.over = threading.Event()  # the present fault is
        self.lock, self.one_behind = threading.Lock(), threading.Lock()
        self.open = set()
        self.port = free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self._listen()

    # ---- what a test does

    def set(self, fault):
        assert fault in FAULTS, fault
        with self.lock:
            self.over.set()
            self.over = threading.Event()
            self.fault, self.lost, self.spoilt, self.repeating, self.repeated = fault, None, 0, False, False
            self.previous = self.last
        if fault == "refused":
            # The port stays ours: a socket that was bound to it keeps it when it listens no more.
            self.listener.shutdown(socket.SHUT_RDWR)
            self._join()
            self.hang_up()

    def clear(self):
        refused = self.fault == "refused"
        self.set("none")
        if refused:
            self._listen()

    def repeat(self):
        """"replayed": from now on the lost answer comes."""
        with self.lock:
            self.repeating = True

    def hang_up(self):
        """End all kept connections of the gateway."""
        with self.lock:
            for conn in self.open:
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.over.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._join()
        self.listener.close()
        self.hang_up()
        self.forget_upstream()

    def forget_upstream(self):
        with self.one_behind:
            if self.upstream is not None:
                self.upstream.close()
            self.upstream = None

    # ---- connections

    def _listen(self):
        self.listener.listen(16)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _join(self):
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        try:
            raw.settimeout(PATIENCE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = self.front.wrap_socket(raw, server_side=True)
        except OSError:
            raw.close()
            return
        with self.lock:
            self.open.add(conn)
        try:
            stream = conn.makefile("rb")
            while self._one(conn, stream):
                pass
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(conn)
            conn.close()

    def _connect(self, port):
        if self.upstream is not None and self.upstream.port != port:
            self.upstream.close()
            self.upstream = None
        if self.upstream is None and self.behind is None:
            self.upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        elif self.upstream is None:
            self.upstream = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE_S, context=self.behind)

    def _forward(self, request):
        fields = {key: value for key, value in request.fields.items() if key.lower() not in ("host", "content-length")}
        with self.one_behind:
            port = self.route(request)
            for again in (True, False):
                try:
                    self._connect(port)
                    self.upstream.request(request.method, request.path, request.body or None, fields)
                    got = self.upstream.getresponse()
                    break
                except (http.client.RemoteDisconnected, ConnectionError):
                    self.upstream.close()
                    self.upstream = None
                    if not again:
                        raise
            body = got.read()
            if got.will_close:
                self.upstream = None
        keep = [(key, value) for key, value in got.getheaders()
                if key.lower() not in ("connection", "keep-alive", "content-length", "transfer-encoding")]
        return Answer(got.status, keep, body)

    # ---- faults

    def _one(self, conn, stream):
        """false: this connection is over."""
        request = Request(stream)
        if request.method is None:
            return False
        with self.lock:
            fault, over, issues, repeating = self.fault, self.over, self.issues(request), self.repeating
            self.spoilt += fault != "none"
        if fault == "500 unasked" or (self._mixes_up(fault) and not issues):
            return self._say(conn, Answer(500, HTML, ERROR_500))
        if repeating and issues:
            self.repeated = True
            return self._say(conn, self.lost)
        answer = self._forward(request)
        self.seen(request, answer)
        good = issues and answer.status in (200, 201)
        if good:
            with self.lock:
                self.last, self.lost = answer, self.lost or answer
        if FAULTS[fault] == "content":
            return self._say(conn, self._other(fault, answer) if good else answer)
        if FAULTS[fault] == "transport" and not repeating and (fault != "unconfirmed" or not issues):
            return self._break(fault, conn, answer, over)
        return self._say(conn, answer)

    def _mixes_up(self, fault):
        """Then nothing else must mend it before the fault is over."""
        return fault == "another's" or (fault == "wrong key" and self.spoil is not None)

    def _other(self, fault, answer):
        if fault == "another's":
            return self.previous
        if self.spoil is None:
            return answer
        return Answer(answer.status, answer.fields, self.spoil(fault, answer.body))

    @staticmethod
    def _say(conn, answer):
        conn.sendall(answer.octets())
        return True

    def _break(self, fault, conn, answer, over):
        octets = answer.octets()
        if fault in ("reset", "replayed", "unconfirmed"):
            conn.sendall(octets[:len(octets) // 2])
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(conn.detach())
            return False
        if fault == "silent":
            over.wait(PATIENCE_S)
            return False
        if fault in ("too slow", "slow"):
            return self._trickle(conn, octets, over, in_time=fault == "slow")
        if fault == "500":
            answer = Answer(500, HTML, ERROR_500)
        elif fault == "garbage":
            answer = Answer(answer.status, answer.fields, os.urandom(600))
        else:
            assert fault == "oversized", fault
            answer = Answer(answer.status, answer.fields, answer.body + b"\n" * OVERSIZED)
        return self._say(conn, answer)

    def _trickle(self, conn, octets, over, in_time):
        size = len(octets) // PIECES + 1 if in_time else 1
        pause_s = self.deadline_s * (0.2 / PIECES if in_time else 2 / len(octets))
        for at in range(0, len(octets), size):
            conn.sendall(octets[at:at + size])
            if over.wait(pause_s):
                return False
        return True
