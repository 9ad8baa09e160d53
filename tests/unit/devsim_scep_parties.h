/*
 * devsim_scep_parties.h - an RA, a CA and a client, made at run time, for the devsim_scep_*test programs.
 */
#ifndef TESTS_UNIT_DEVSIM_SCEP_PARTIES_H
#define TESTS_UNIT_DEVSIM_SCEP_PARTIES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devsim/devsim.h"
#include "devsim/keys.h"
#include "devsim/scep_client.h"
#include "est/body.h"
#include "scep_build_fixture.h"

static struct party ra, ca, client;

/* The party's certificate once more, with these extensions. */
static inline void
extend(struct party *party, const char *constraints, const char *usage)
{
	X509_EXTENSION *extensions[2] = { X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, constraints),
		X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage) };
	size_t i;

	for (i = 0; i < 2; i++) {
		assert_non_null(extensions[i]);
		assert_int_equal(X509_add_ext(party->cert, extensions[i], -1), 1);
		X509_EXTENSION_free(extensions[i]);
	}
	assert_true(X509_sign(party->cert, party->key, EVP_sha256()) > 0);
}

static inline void
set_answer(struct http_answer *answer, const char *type, struct bytes body)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t used = 0;
	struct err e = { 0 };

	buf_printf(&text, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type, body.len);
	buf_append_bytes(&text, body);
	http_answer_clear(answer);
	assert_int_equal(http_answer_feed(answer, buf_bytes(&text), &used, &e), 0);
	assert_int_equal(answer->state, HTTP_DONE);
}

static inline void
bundle(X509 *const *certs, size_t count, struct buf *out)
{
	struct buf ders[4] = { 0 };
	struct bytes list[4];
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < count; i++) {
		assert_int_equal(x509_to_der(certs[i], &ders[i], &e), 0);
		list[i] = buf_bytes(&ders[i]);
	}
	assert_int_equal(est_certs_encode(list, count, out, &e), 0);
	for (i = 0; i < count; i++)
		buf_free(&ders[i]);
}

static inline int
setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		fail_msg("%s", e.text);
	make_party(&ra, EVP_RSA_gen(2048), "RA", 1);
	make_party(&ca, EVP_RSA_gen(2048), "CA", 2);
	make_party(&client, EVP_RSA_gen(2048), "client", 3);
	extend(&ra, "critical,CA:FALSE", "critical,digitalSignature,keyEncipherment");
	extend(&ca, "critical,CA:TRUE", "critical,keyCertSign,digitalSignature,keyEncipherment");
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	free_party(&ra);
	free_party(&ca);
	free_party(&client);
	return 0;
}

#endif
