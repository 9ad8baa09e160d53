"""
DTLS by ctypes on OpenSSL's libssl, without a socket: datagrams in, datagrams out.

Python's ssl has no DTLS. Here every datagram is in the caller's hands, who may
lose, double, reorder or spoil it, and choose suites, groups and options freely.
"""
import ctypes
import ctypes.util

_ssl = ctypes.CDLL("libssl.so.3")
_crypto = ctypes.CDLL("libcrypto.so.3")
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long


def _bind(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_bind(_ssl, "DTLS_client_method", _P)
_bind(_ssl, "SSL_CTX_new", _P, _P)
_bind(_ssl, "SSL_CTX_free", None, _P)
_bind(_ssl, "SSL_CTX_ctrl", _L, _P, _I, _L, _P)
_bind(_ssl, "SSL_CTX_set_options", ctypes.c_uint64, _P, ctypes.c_uint64)
_bind(_ssl, "SSL_CTX_set_verify", None, _P, _I, _P)
_bind(_ssl, "SSL_CTX_load_verify_locations", _I, _P, ctypes.c_char_p, ctypes.c_char_p)
_bind(_ssl, "SSL_CTX_set_cipher_list", _I, _P, ctypes.c_char_p)
_bind(_ssl, "SSL_CTX_use_certificate_chain_file", _I, _P, ctypes.c_char_p)
_bind(_ssl, "SSL_CTX_use_PrivateKey_file", _I, _P, ctypes.c_char_p, _I)
_bind(_ssl, "SSL_new", _P, _P)
_bind(_ssl, "SSL_free", None, _P)
_bind(_ssl, "SSL_set_bio", None, _P, _P, _P)
_bind(_ssl, "SSL_set_connect_state", None, _P)
_bind(_ssl, "SSL_set1_host", _I, _P, ctypes.c_char_p)
_bind(_ssl, "SSL_ctrl", _L, _P, _I, _L, _P)
_bind(_ssl, "SSL_do_handshake", _I, _P)
_bind(_ssl, "SSL_renegotiate", _I, _P)
_bind(_ssl, "SSL_renegotiate_pending", _I, _P)
_bind(_ssl, "SSL_read", _I, _P, ctypes.c_char_p, _I)
_bind(_ssl, "SSL_write", _I, _P, ctypes.c_char_p, _I)
_bind(_ssl, "SSL_shutdown", _I, _P)
_bind(_ssl, "SSL_get_error", _I, _P, _I)
_bind(_ssl, "SSL_get_shutdown", _I, _P)
_bind(_ssl, "SSL_get_finished", ctypes.c_size_t, _P, ctypes.c_char_p, ctypes.c_size_t)
_bind(_ssl, "SSL_get_version", ctypes.c_char_p, _P)
_bind(_ssl, "SSL_get_current_cipher", _P, _P)
_bind(_ssl, "SSL_CIPHER_get_name", ctypes.c_char_p, _P)
_bind(_ssl, "SSL_get1_peer_certificate", _P, _P)
_bind(_ssl, "SSL_get1_session", _P, _P)
_bind(_ssl, "SSL_set_session", _I, _P, _P)
_bind(_ssl, "SSL_session_reused", _I, _P)
_bind(_ssl, "SSL_SESSION_has_ticket", _I, _P)
_bind(_ssl, "SSL_SESSION_get_id", ctypes.POINTER(ctypes.c_ubyte), _P, ctypes.POINTER(ctypes.c_uint))
_bind(_ssl, "SSL_SESSION_free", None, _P)
_bind(_crypto, "BIO_s_mem", _P)
_bind(_crypto, "BIO_new", _P, _P)
_bind(_crypto, "BIO_read", _I, _P, ctypes.c_char_p, _I)
_bind(_crypto, "BIO_write", _I, _P, ctypes.c_char_p, _I)
_bind(_crypto, "BIO_ctrl_pending", ctypes.c_size_t, _P)
_bind(_crypto, "i2d_X509", _I, _P, ctypes.POINTER(_P))
_bind(_crypto, "X509_free", None, _P)
_bind(_crypto, "CRYPTO_free", None, _P, ctypes.c_char_p, _I)
_bind(_crypto, "EVP_PKEY_get0_type_name", ctypes.c_char_p, _P)
_bind(_crypto, "EVP_PKEY_free", None, _P)
_bind(_crypto, "ERR_get_error", ctypes.c_ulong)
_bind(_crypto, "ERR_clear_error", None)
_bind(_crypto, "ERR_error_string_n", None, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_size_t)

# Of openssl/ssl.h
CTRL_SET_MTU, DTLS_GET_TIMEOUT, DTLS_HANDLE_TIMEOUT = 17, 73, 74
CTRL_GROUPS, CTRL_SIGALGS, CTRL_PEER_TMP_KEY, CTRL_EXTMS, CTRL_MIN, CTRL_MAX = 92, 98, 109, 122, 123, 124
OP_NO_EXTENDED_MASTER_SECRET, OP_NO_QUERY_MTU = 1 << 0, 1 << 12
ERROR_WANT_READ, ERROR_ZERO_RETURN = 2, 6
DTLS1, DTLS12 = 0xfeff, 0xfefd

CCM8, GCM = "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES128-GCM-SHA256"
RECORD_HEADER = 13
RECORD_ALERT, RECORD_HANDSHAKE, RECORD_DATA = 21, 22, 23


class Failed(Exception):
    """OpenSSL ended the handshake or the connection."""


class _Timeval(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("microseconds", ctypes.c_long)]


def _reason():
    texts, text = [], ctypes.create_string_buffer(256)
    while True:
        code = _crypto.ERR_get_error()
        if code == 0:
            return "; ".join(texts) or "no reason given"
        _crypto.ERR_error_string_n(code, text, len(text))
        texts.append(text.value.decode())


def records(octets):
    """The DTLS records of a datagram, or of what a connection wants to send."""
    out = []
    while octets:
        end = RECORD_HEADER + int.from_bytes(octets[11:13], "big")
        assert len(octets) >= end, octets
        out.append(octets[:end])
        octets = octets[end:]
    return out


def pack(octets, mtu):
    """Records put into datagrams of at most mtu octets, in their order."""
    out = []
    for record in records(octets):
        if out and len(out[-1]) + len(record) <= mtu:
            out[-1] += record
        else:
            out.append(record)
    return out


class Dtls:
    """The client's end of one connection."""

    def __init__(self, root, device=None, ciphers=CCM8, groups="P-256", mtu=1152, version=DTLS12, options=0,
                 sigalgs=None, name="localhost", session=None):
        self.mtu = mtu
        self.done = False
        ctx = _ssl.SSL_CTX_new(_ssl.DTLS_client_method())
        try:
            self._configure(ctx, root, device, ciphers, groups, version, options, sigalgs)
            self._ssl = _ssl.SSL_new(ctx)
        finally:
            _ssl.SSL_CTX_free(ctx)
        self._in, self._out = (_crypto.BIO_new(_crypto.BIO_s_mem()) for _ in range(2))
        _ssl.SSL_set_bio(self._ssl, self._in, self._out)
        _ssl.SSL_ctrl(self._ssl, CTRL_SET_MTU, mtu, None)
        assert _ssl.SSL_set1_host(self._ssl, name.encode()) == 1
        if session is not None:
            assert _ssl.SSL_set_session(self._ssl, session) == 1, _reason()
        _ssl.SSL_set_connect_state(self._ssl)

    @staticmethod
    def _configure(ctx, root, device, ciphers, groups, version, options, sigalgs):
        _ssl.SSL_CTX_set_options(ctx, OP_NO_QUERY_MTU | options)
        for which in (CTRL_MIN, CTRL_MAX):
            assert _ssl.SSL_CTX_ctrl(ctx, which, version, None) == 1, _reason()
        assert _ssl.SSL_CTX_set_cipher_list(ctx, ciphers.encode()) == 1, _reason()
        if groups:
            assert _ssl.SSL_CTX_ctrl(ctx, CTRL_GROUPS, 0, groups.encode()) == 1, _reason()
        if sigalgs:
            assert _ssl.SSL_CTX_ctrl(ctx, CTRL_SIGALGS, 0, sigalgs.encode()) == 1, _reason()
        _ssl.SSL_CTX_set_verify(ctx, 1, None)
        assert _ssl.SSL_CTX_load_verify_locations(ctx, root.encode(), None) == 1, _reason()
        if device is not None:
            assert _ssl.SSL_CTX_use_certificate_chain_file(ctx, device.pem.encode()) == 1, _reason()
            assert _ssl.SSL_CTX_use_PrivateKey_file(ctx, device.key_file.encode(), 1) == 1, _reason()

    def free(self):
        if self._ssl:
            _ssl.SSL_free(self._ssl)
            self._ssl = None

    def _outcome(self, result):
        """True when done, False when more must come; raises Failed."""
        if result > 0:
            return True
        error = _ssl.SSL_get_error(self._ssl, result)
        if error == ERROR_WANT_READ:
            return False
        raise Failed("closed" if error == ERROR_ZERO_RETURN else _reason())

    # ---- datagrams

    def take(self):
        """What is to be sent, in datagrams."""
        out = b""
        while True:
            pending = _crypto.BIO_ctrl_pending(self._out)
            if pending == 0:
                return pack(out, self.mtu)
            text = ctypes.create_string_buffer(pending)
            count = _crypto.BIO_read(self._out, text, pending)
            out += text.raw[:count]

    def step(self, datagram=None):
        """Go on with the handshake; True when it is complete."""
        if datagram:
            _crypto.BIO_write(self._in, datagram, len(datagram))
        _crypto.ERR_clear_error()
        self.done = self._outcome(_ssl.SSL_do_handshake(self._ssl))
        return self.done

    def seal(self, message):
        """An application message as one datagram."""
        _crypto.ERR_clear_error()
        assert self._outcome(_ssl.SSL_write(self._ssl, message, len(message)))
        datagrams = self.take()
        assert len(datagrams) == 1, "the message fits no datagram"
        return datagrams[0]

    def open(self, datagram):
        """The messages in a datagram."""
        _crypto.BIO_write(self._in, datagram, len(datagram))
        out, text = [], ctypes.create_string_buffer(16384)
        while True:
            _crypto.ERR_clear_error()
            count = _ssl.SSL_read(self._ssl, text, len(text))
            if not self._outcome(count):
                return out
            out.append(text.raw[:count])

    def timeout(self):
        """Seconds until the handshake's next flight goes out again; None: it waits for nothing."""
        left = _Timeval()
        if _ssl.SSL_ctrl(self._ssl, DTLS_GET_TIMEOUT, 0, ctypes.byref(left)) != 1:
            return None
        return left.seconds + left.microseconds / 1e6

    def resend(self):
        _crypto.ERR_clear_error()
        if _ssl.SSL_ctrl(self._ssl, DTLS_HANDLE_TIMEOUT, 0, None) < 0:
            raise Failed(_reason())

    def shutdown(self):
        """close_notify, as datagrams."""
        _crypto.ERR_clear_error()
        _ssl.SSL_shutdown(self._ssl)
        return self.take()

    def renegotiate(self):
        """Begin another handshake in this connection; step() goes on with it."""
        _crypto.ERR_clear_error()
        assert _ssl.SSL_renegotiate(self._ssl) == 1, _reason()
        return self.step()

    # ---- facts

    @property
    def renegotiating(self):
        return _ssl.SSL_renegotiate_pending(self._ssl) == 1

    @property
    def cipher(self):
        return _ssl.SSL_CIPHER_get_name(_ssl.SSL_get_current_cipher(self._ssl)).decode()

    @property
    def version(self):
        return _ssl.SSL_get_version(self._ssl).decode()

    @property
    def extended_master_secret(self):
        return _ssl.SSL_ctrl(self._ssl, CTRL_EXTMS, 0, None) == 1

    @property
    def server_key_kind(self):
        """Of the server's ephemeral key: "EC", "X25519"."""
        key = _P()
        assert _ssl.SSL_ctrl(self._ssl, CTRL_PEER_TMP_KEY, 0, ctypes.byref(key)) == 1
        try:
            return _crypto.EVP_PKEY_get0_type_name(key).decode()
        finally:
            _crypto.EVP_PKEY_free(key)

    def unique(self):
        """tls-unique (RFC 5929): the first Finished, which is the client's."""
        text = ctypes.create_string_buffer(64)
        length = _ssl.SSL_get_finished(self._ssl, text, len(text))
        return text.raw[:length]

    def peer_der(self):
        cert, out = _ssl.SSL_get1_peer_certificate(self._ssl), _P()
        assert cert
        length = _crypto.i2d_X509(cert, ctypes.byref(out))
        _crypto.X509_free(cert)
        der = ctypes.string_at(out, length)
        _crypto.CRYPTO_free(out, b"", 0)
        return der

    def session(self):
        """For another connection to resume; leaked, as tests are few."""
        return _ssl.SSL_get1_session(self._ssl)

    @property
    def reused(self):
        return _ssl.SSL_session_reused(self._ssl) == 1


def session_facts(session):
    """(has a ticket, length of the session id)"""
    length = ctypes.c_uint()
    _ssl.SSL_SESSION_get_id(session, ctypes.byref(length))
    return _ssl.SSL_SESSION_has_ticket(session) == 1, length.value
