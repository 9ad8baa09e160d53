/*
 * scep_message_fixture.h - a key, two certificates, and messages that parse or do not.
 */
#ifndef TESTS_UNIT_SCEP_MESSAGE_FIXTURE_H
#define TESTS_UNIT_SCEP_MESSAGE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "scep/message.h"
#include "tests/unit/scep_make.h"

static EVP_PKEY *key;
static X509 *cert, *ra;

static inline int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(scep_init(&e), 0);
	key = EVP_RSA_gen(2048);
	cert = make_cert(key, "device-1", key, "device-1", 8, 2);
	ra = make_cert(key, "RA", key, "CA", 8, 2);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	X509_free(cert);
	X509_free(ra);
	return 0;
}

static inline int
try(const struct make *m, struct scep_message **out, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };

	*e = (struct err){ 0 };
	make_message(m, &der);
	return scep_message_parse(buf_bytes(&der), out, e);
}

static inline struct scep_message *
parse(const struct make *m)
{
	struct scep_message *message = NULL;
	struct err e;

	if (try(m, &message, &e) != 0)
		fail_msg("%s", e.text);
	return message;
}

/* Frees m. */
static inline void
refuse(struct make *m, enum err_code code, const char *text)
{
	struct scep_message *message = NULL;
	struct err e;

	assert_int_equal(try(m, &message, &e), -1);
	assert_null(message);
	if (e.code != code || strstr(e.text, text) == NULL)
		fail_msg("%d %s", (int)e.code, e.text);
	make_free(m);
}

#endif
