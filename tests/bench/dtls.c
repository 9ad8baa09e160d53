/*
 * dtls: the least that a DTLS server can do, to stand beside enrolld's CoAP. Plain OpenSSL on one UDP socket and
 * one thread: cookie, full DTLS 1.2 handshake with a client certificate, cipher suites and options as in
 * coap/dtls.c, key exchange on P-256, which devsim asks for first. The first message of a client is answered with
 * one octet (a piggybacked 2.05 of RFC 7252, so that devsim can be the client); then the connection is freed.
 * Prints its port.
 *
 *   dtls --cert FILE --key FILE --trust FILE [--unverified]
 *
 * --unverified: the client proves its key, and its chain is accepted unseen, as coap/dtls.c does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#define CIPHERS       "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256"
#define DATAGRAM_MAX  2048
#define MTU           1152
#define CHAIN_MAX     16384
#define LOOK_S        1        /* between looks at the timers of handshakes */
#define QUIET_S       30       /* a handshake that does not move is given up */
#define SOCKET_OCTETS (4 << 20)
#define PORTS         65536

#define COAP_ACK          0x60 /* version 1, acknowledgement; the length of the token is added */
#define COAP_TOKEN_LEN    0x0f
#define COAP_HEAD         4
#define COAP_CONTENT      0x45 /* 2.05 */
#define COAP_FORMAT_CERTS 281
#define COAP_TOKEN_MAX    8

/* A client is its port: everything is on 127.0.0.1. */
struct peer {
	SSL *ssl;
	time_t seen;
};

/* What the BIO of a connection reads from and writes to. */
struct datagram {
	uint8_t octets[DATAGRAM_MAX];
	size_t len; /* 0: it has been read */
	bool peeking;
	struct sockaddr_in from;
	int fd;
};

static struct datagram datagram;
static struct peer peers[PORTS];
static uint8_t cookie_key[32];
static BIO_METHOD *method;

static void
die(const char *what)
{
	(void)fprintf(stderr, "dtls: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static time_t
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec;
}

static int
bio_read(BIO *bio, char *out, int size)
{
	int len = datagram.len < (size_t)size ? (int)datagram.len : size;

	BIO_clear_retry_flags(bio);
	if (len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(out, datagram.octets, (size_t)len);
	if (!datagram.peeking)
		datagram.len = 0;
	return len;
}

/* To the port that the BIO belongs to, which need not be the one that spoke last. */
static int
bio_write(BIO *bio, const char *at, int len)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	to.sin_port = htons((uint16_t)(uintptr_t)BIO_get_data(bio));
	BIO_clear_retry_flags(bio);
	return (int)sendto(datagram.fd, at, (size_t)len, 0, (const struct sockaddr *)&to, sizeof to);
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_DGRAM_SET_PEEK_MODE:
		datagram.peeking = number != 0;
		return 1;
	case BIO_CTRL_FLUSH:
		return 1;
	default:
		return 0;
	}
}

static int
bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void
make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram");
	if (method == NULL || BIO_meth_set_read(method, bio_read) != 1 || BIO_meth_set_write(method, bio_write) != 1 ||
	    BIO_meth_set_ctrl(method, bio_ctrl) != 1 || BIO_meth_set_create(method, bio_create) != 1)
		die("BIO");
}

static void
make_cookie(uint8_t out[32])
{
	unsigned len = 32;

	if (HMAC(EVP_sha256(), cookie_key, sizeof cookie_key, (const uint8_t *)&datagram.from.sin_port,
		sizeof datagram.from.sin_port, out, &len) == NULL)
		die("HMAC");
}

static int
cookie_generate(SSL *ssl, unsigned char *out, unsigned *len)
{
	(void)ssl;
	make_cookie(out);
	*len = 32;
	return 1;
}

static int
cookie_verify(SSL *ssl, const unsigned char *cookie, unsigned len)
{
	uint8_t expected[32];

	(void)ssl;
	make_cookie(expected);
	return len == sizeof expected && CRYPTO_memcmp(cookie, expected, sizeof expected) == 0;
}

static int
accept_unseen(X509_STORE_CTX *ctx, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

static SSL_CTX *
make_context(const char *cert, const char *key, const char *trust, bool verified)
{
	SSL_CTX *ctx = SSL_CTX_new(DTLS_server_method());
	char groups[] = "P-256:X25519";

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 || SSL_CTX_set1_groups_list(ctx, groups) != 1)
		die("DTLS");
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		die(cert);
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die(key);
	if (SSL_CTX_load_verify_file(ctx, trust) != 1)
		die(trust);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_max_send_fragment(ctx, DATAGRAM_MAX);
	SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_QUERY_MTU);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT | SSL_VERIFY_CLIENT_ONCE, NULL);
	if (!verified)
		SSL_CTX_set_cert_verify_callback(ctx, accept_unseen, NULL);
	SSL_CTX_set_cookie_generate_cb(ctx, cookie_generate);
	SSL_CTX_set_cookie_verify_cb(ctx, cookie_verify);
	return ctx;
}

static SSL *
make_connection(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);
	BIO *bio = BIO_new(method);

	if (ssl == NULL || bio == NULL)
		die("no memory");
	SSL_set_bio(ssl, bio, bio);
	(void)SSL_set_mtu(ssl, MTU);
	SSL_set_accept_state(ssl);
	return ssl;
}

static void
drop(struct peer *peer)
{
	SSL_free(peer->ssl);
	peer->ssl = NULL;
	ERR_clear_error();
}

/* The token and the message's number, 2.05, Content-Format 281, one octet. False: it was not a request. */
static bool
answer(SSL *ssl, const uint8_t *in, int len)
{
	uint8_t out[COAP_HEAD + COAP_TOKEN_MAX + 5] = { 0 };
	size_t token = len < COAP_HEAD ? 0 : in[0] & COAP_TOKEN_LEN, n;

	if (token > COAP_TOKEN_MAX || len < COAP_HEAD + (int)token)
		return false;
	out[0] = (uint8_t)(COAP_ACK | token);
	out[1] = COAP_CONTENT;
	memcpy(out + 2, in + 2, 2 + token);
	n = COAP_HEAD + token;
	out[n++] = 12 << 4 | 2; /* option 12, Content-Format, of two octets */
	out[n++] = COAP_FORMAT_CERTS >> 8;
	out[n++] = COAP_FORMAT_CERTS & 0xff;
	out[n++] = 0xff;
	out[n++] = 'x';
	return SSL_write(ssl, out, (int)n) == (int)n;
}

/* A datagram for a connection. A handshake goes on until it wants the next one; the first message ends it all. */
static void
drive(struct peer *peer)
{
	uint8_t in[DATAGRAM_MAX];
	int n, reason;

	ERR_clear_error();
	n = SSL_read(peer->ssl, in, sizeof in);
	if (n > 0 && !answer(peer->ssl, in, n))
		(void)fprintf(stderr, "dtls: not a CoAP message\n");
	reason = n > 0 ? SSL_ERROR_NONE : SSL_get_error(peer->ssl, n);
	if (reason == SSL_ERROR_WANT_READ)
		return;
	if (reason == SSL_ERROR_SSL)
		ERR_print_errors_fp(stderr);
	drop(peer);
}

/* From somebody new: without a good cookie nothing of it is kept. */
static SSL *
listen_to(SSL_CTX *ctx, SSL *listener, struct peer *peer, BIO_ADDR *nobody)
{
	int heard;

	(void)BIO_set_data(SSL_get_rbio(listener), (void *)(uintptr_t)ntohs(datagram.from.sin_port));
	heard = DTLSv1_listen(listener, nobody);
	ERR_clear_error();
	if (heard != 1)
		return listener;
	peer->ssl = listener;
	drive(peer);
	return make_connection(ctx);
}

static void
look_at_timers(time_t now)
{
	size_t i;

	for (i = 0; i < PORTS; i++) {
		if (peers[i].ssl == NULL)
			continue;
		if (now - peers[i].seen > QUIET_S || DTLSv1_handle_timeout(peers[i].ssl) < 0)
			drop(&peers[i]);
	}
}

static void
serve(SSL_CTX *ctx)
{
	SSL *listener = make_connection(ctx);
	BIO_ADDR *nobody = BIO_ADDR_new();
	time_t now = 0, looked = 0;

	for (;;) {
		socklen_t size = sizeof datagram.from;
		ssize_t n = recvfrom(datagram.fd, datagram.octets, sizeof datagram.octets, 0,
			(struct sockaddr *)&datagram.from, &size);
		struct peer *peer = &peers[ntohs(datagram.from.sin_port)];

		now = now_s();
		if (now - looked >= LOOK_S) {
			look_at_timers(now);
			looked = now;
		}
		if (n <= 0)
			continue;
		datagram.peeking = false;
		datagram.len = (size_t)n;
		peer->seen = now;
		if (peer->ssl != NULL)
			drive(peer);
		else
			listener = listen_to(ctx, listener, peer, nobody);
	}
}

static int
open_socket(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const struct timeval look = { .tv_sec = LOOK_S };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), octets = SOCKET_OCTETS;
	socklen_t size = sizeof at;

	if (fd == -1 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &size) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look) != 0)
		die(strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
	(void)printf("%d\n", ntohs(at.sin_port));
	(void)fflush(stdout);
	return fd;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = { { "cert", required_argument, NULL, 'c' },
		{ "key", required_argument, NULL, 'k' }, { "trust", required_argument, NULL, 't' },
		{ "unverified", no_argument, NULL, 'u' }, { NULL, 0, NULL, 0 } };
	const char *cert = NULL, *key = NULL, *trust = NULL;
	bool verified = true;
	SSL_CTX *ctx;
	int o;

	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (o == 'c')
			cert = optarg;
		else if (o == 'k')
			key = optarg;
		else if (o == 't')
			trust = optarg;
		else if (o == 'u')
			verified = false;
		else
			die("see the head of dtls.c");
	}
	if (cert == NULL || key == NULL || trust == NULL)
		die("--cert, --key and --trust are needed");
	if (RAND_bytes(cookie_key, sizeof cookie_key) != 1)
		die("no random octets");
	make_method();
	ctx = make_context(cert, key, trust, verified);
	datagram.fd = open_socket();
	serve(ctx);
}
