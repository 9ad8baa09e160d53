/*
 * Message bodies: what decodes must decode again from what the encoder makes
 * of it, in both dialects; and certs-only messages as a client reads them.
 */
#include <stdlib.h>

#include "est/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
round_trip(struct bytes der, enum est_base64_style style)
{
	struct buf text = { 0 }, again = { 0 };
	struct err e;

	est_body_encode(&text, der, style);
	demand(est_body_decode(buf_bytes(&text), false, &again, &e) == 0);
	demand(bytes_equal(buf_bytes(&again), der));
	buf_free(&text);
	buf_free(&again);
}

static void
read_certs(struct bytes der)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct err e;

	if (est_certs_decode(der, &certs, &e) == 0)
		demand(sk_X509_num(certs) >= 1 && sk_X509_num(certs) <= EST_CERTS_MAX);
	else
		demand(certs == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = { 0 };
	struct err e;
	int allow_der;

	for (allow_der = 0; allow_der < 2; allow_der++) {
		buf_clear(&out);
		if (est_body_decode(bytes_of(data, size), allow_der, &out, &e) != 0) {
			demand(out.len == 0);
			continue;
		}
		demand(out.len > 0);
		read_certs(buf_bytes(&out));
		round_trip(buf_bytes(&out), EST_BASE64_SINGLE_LINE);
		round_trip(buf_bytes(&out), EST_BASE64_WRAPPED);
	}
	buf_free(&out);
	return 0;
}
