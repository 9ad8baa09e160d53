/*
 * coap_client.h - a CoAP client over DTLS made of OpenSSL and octets. It sends whatever a test wants;
 * libcoap has no part in it.
 */
#ifndef TESTS_UNIT_COAP_CLIENT_H
#define TESTS_UNIT_COAP_CLIENT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/ossl.h"

#define CLIENT_WAIT_S 20 /* an answer that does not come fails the test */

enum { CON = 0, NON = 1, ACK = 2, RST = 3 };
enum { GET = 1, POST = 2, PUT = 3, DELETE = 4 };

struct identity {
	X509 *cert;
	EVP_PKEY *key;
};

/* Self-signed: the server judges nothing. days may be negative: expired. */
static inline void
identity_make_on(struct identity *id, const char *cn, long days, const char *curve)
{
	X509_NAME *name;

	id->key = EVP_EC_gen(curve);
	id->cert = X509_new();
	assert_non_null(id->key);
	assert_non_null(id->cert);
	assert_int_equal(X509_set_version(id->cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(id->cert), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(id->cert), -86400L * 400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(id->cert), 86400L * days));
	name = X509_get_subject_name(id->cert);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(id->cert, name), 1);
	assert_int_equal(X509_set_pubkey(id->cert, id->key), 1);
	assert_true(X509_sign(id->cert, id->key, EVP_sha256()) > 0);
}

static inline void
identity_make(struct identity *id, const char *cn, long days)
{
	identity_make_on(id, cn, days, "P-256");
}

static inline void
identity_free(struct identity *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
	id->cert = NULL;
	id->key = NULL;
}

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
	uint16_t next_id;
};

struct client_wish {
	const char *ciphers; /* NULL: ECDHE-ECDSA-AES128-CCM8 */
	const char *groups;  /* NULL: P-256 */
	uint64_t options;    /* SSL_OP_... */
};

static inline int
udp_connected(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Everything but the handshake. id NULL: no certificate. */
static inline void
client_prepare(struct client *c, int port, const struct identity *id, const struct client_wish *wish)
{
	const struct timeval wait = { .tv_sec = 1 };
	struct sockaddr_in peer;
	socklen_t size = sizeof peer;
	BIO *bio;

	memset(c, 0, sizeof *c);
	c->next_id = 1000;
	c->fd = udp_connected(port);
	assert_int_equal(getpeername(c->fd, (struct sockaddr *)&peer, &size), 0);
	c->ctx = SSL_CTX_new(DTLS_client_method());
	assert_non_null(c->ctx);
	assert_int_equal(SSL_CTX_set_cipher_list(c->ctx,
		wish != NULL && wish->ciphers != NULL ? wish->ciphers : "ECDHE-ECDSA-AES128-CCM8"), 1);
	assert_int_equal(SSL_CTX_set1_groups_list(c->ctx, (char *)(uintptr_t)(wish != NULL && wish->groups != NULL
		? wish->groups : "P-256")), 1);
	if (wish != NULL)
		(void)SSL_CTX_set_options(c->ctx, wish->options);
	if (id != NULL) {
		assert_int_equal(SSL_CTX_use_certificate(c->ctx, id->cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(c->ctx, id->key), 1);
	}
	c->ssl = SSL_new(c->ctx);
	assert_non_null(c->ssl);
	bio = BIO_new_dgram(c->fd, BIO_NOCLOSE);
	assert_non_null(bio);
	(void)BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &peer);
	(void)BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_RECV_TIMEOUT, 0, (void *)(uintptr_t)&wait);
	SSL_set_bio(c->ssl, bio, bio);
}

/* 1: connected. Lost datagrams are sent again. */
static inline int
client_handshake(struct client *c)
{
	int tries, r = -1;

	for (tries = 0; tries < CLIENT_WAIT_S; tries++) {
		r = SSL_connect(c->ssl);
		if (r == 1)
			return 1;
		if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ)
			return r;
		(void)DTLSv1_handle_timeout(c->ssl);
	}
	return r;
}

static inline void
client_open(struct client *c, int port, const struct identity *id)
{
	client_prepare(c, port, id, NULL);
	assert_int_equal(client_handshake(c), 1);
}

static inline void
client_close(struct client *c)
{
	if (c->ssl != NULL && SSL_is_init_finished(c->ssl))
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	(void)close(c->fd);
	memset(c, 0, sizeof *c);
}

/* A message under construction. */
struct draft {
	uint8_t octets[1400];
	size_t len;
	unsigned last_option;
};

static inline void
draft_raw(struct draft *d, const void *at, size_t len)
{
	assert_true(d->len + len <= sizeof d->octets);
	memcpy(d->octets + d->len, at, len);
	d->len += len;
}

static inline void
draft_octet(struct draft *d, unsigned octet)
{
	uint8_t o = (uint8_t)octet;

	draft_raw(d, &o, 1);
}

static inline void
draft_begin(struct draft *d, int type, int code, uint16_t id, const char *token)
{
	memset(d, 0, sizeof *d);
	draft_octet(d, 0x40U | (unsigned)type << 4 | (unsigned)strlen(token));
	draft_octet(d, (unsigned)code);
	draft_octet(d, id >> 8);
	draft_octet(d, id & 0xff);
	draft_raw(d, token, strlen(token));
}

static inline unsigned
draft_nibble(size_t value)
{
	return value < 13 ? (unsigned)value : value < 269 ? 13 : 14;
}

static inline void
draft_more(struct draft *d, size_t value)
{
	if (value >= 269) {
		draft_octet(d, (unsigned)(value - 269) >> 8);
		draft_octet(d, (unsigned)(value - 269) & 0xff);
	} else if (value >= 13) {
		draft_octet(d, (unsigned)value - 13);
	}
}

static inline void
draft_option(struct draft *d, unsigned number, const void *value, size_t len)
{
	unsigned delta = number - d->last_option;

	draft_octet(d, draft_nibble(delta) << 4 | draft_nibble(len));
	draft_more(d, delta);
	draft_more(d, len);
	draft_raw(d, value, len);
	d->last_option = number;
}

static inline void
draft_number(struct draft *d, unsigned number, uint32_t value)
{
	uint8_t octets[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value };
	size_t skip = 0;

	while (skip < 4 && octets[skip] == 0)
		skip++;
	draft_option(d, number, octets + skip, 4 - skip);
}

/* "est/sen": one Uri-Path option each. */
static inline void
draft_path(struct draft *d, const char *path)
{
	while (*path != '\0') {
		size_t len = strcspn(path, "/");

		draft_option(d, 11, path, len);
		path += len + (path[len] == '/' ? 1 : 0);
	}
}

static inline uint32_t
block_value(uint32_t num, int more, uint32_t szx)
{
	return num << 4 | (more ? 8U : 0U) | szx;
}

static inline void
draft_payload(struct draft *d, struct bytes payload)
{
	if (payload.len == 0)
		return;
	draft_octet(d, 0xff);
	draft_raw(d, payload.at, payload.len);
}

static inline void
client_send(struct client *c, const struct draft *d)
{
	assert_int_equal(SSL_write(c->ssl, d->octets, (int)d->len), (int)d->len);
}

/* A message received, taken apart. */
struct answer {
	int type, code; /* 205 */
	uint16_t id;
	char token[9];
	int content_format;  /* -1: absent */
	int64_t max_age, block1, block2, size1; /* -1: absent */
	uint8_t octets[2048];
	struct bytes payload;
};

static inline size_t
answer_extended(struct cursor *c, unsigned nibble)
{
	if (nibble == 13)
		return (size_t)cursor_u8(c) + 13;
	if (nibble == 14) {
		size_t high = cursor_u8(c);

		return (high << 8 | cursor_u8(c)) + 269;
	}
	return nibble;
}

static inline void
answer_option(struct answer *a, size_t number, struct bytes value)
{
	int64_t v = 0;
	size_t i;

	for (i = 0; i < value.len && i < 4; i++)
		v = v << 8 | value.at[i];
	if (number == 12)
		a->content_format = (int)v;
	else if (number == 14)
		a->max_age = v;
	else if (number == 23)
		a->block2 = v;
	else if (number == 27)
		a->block1 = v;
	else if (number == 60)
		a->size1 = v;
}

static inline void
answer_parse(struct answer *a, size_t len)
{
	struct cursor c = cursor_of(bytes_of(a->octets, len));
	unsigned head = cursor_u8(&c), code = cursor_u8(&c);
	struct bytes token;
	size_t number = 0;

	a->type = (int)(head >> 4 & 3);
	a->code = (int)((code >> 5) * 100 + (code & 31));
	a->id = (uint16_t)(cursor_u8(&c) << 8);
	a->id = (uint16_t)(a->id | cursor_u8(&c));
	token = cursor_take(&c, head & 15);
	assert_false(c.failed);
	assert_true(token.len < sizeof a->token);
	memset(a->token, 0, sizeof a->token);
	memcpy(a->token, token.at, token.len);
	a->content_format = -1;
	a->max_age = a->block1 = a->block2 = a->size1 = -1;
	a->payload = (struct bytes){ 0 };
	while (cursor_left(&c) > 0) {
		unsigned octet = cursor_u8(&c);
		size_t value_len;

		if (octet == 0xff) {
			a->payload = cursor_take(&c, cursor_left(&c));
			break;
		}
		number += answer_extended(&c, octet >> 4);
		value_len = answer_extended(&c, octet & 15);
		answer_option(a, number, cursor_take(&c, value_len));
	}
	assert_false(c.failed);
}

/* Waits up to wait_s; false: nothing came. */
static inline bool
client_receive_within(struct client *c, struct answer *a, int wait_s)
{
	int tries;

	for (tries = 0; tries < wait_s; tries++) {
		int n = SSL_read(c->ssl, a->octets, sizeof a->octets);

		if (n > 0) {
			answer_parse(a, (size_t)n);
			return true;
		}
		if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
			return false;
	}
	return false;
}

static inline void
client_receive(struct client *c, struct answer *a)
{
	assert_true(client_receive_within(c, a, CLIENT_WAIT_S));
}

/* A message, and the next one that comes. */
static inline void
client_ask(struct client *c, const struct draft *d, struct answer *a)
{
	client_send(c, d);
	client_receive(c, a);
}

static inline void
client_acknowledge(struct client *c, uint16_t id)
{
	struct draft d;

	draft_begin(&d, ACK, 0, id, "");
	client_send(c, &d);
}

/* One confirmable request without payload, and its answer. */
static inline void
client_get(struct client *c, const char *path, struct answer *a)
{
	struct draft d;

	draft_begin(&d, CON, GET, ++c->next_id, "tk");
	draft_path(&d, path);
	client_ask(c, &d, a);
}

#endif
