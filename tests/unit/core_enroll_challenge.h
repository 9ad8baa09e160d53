/*
 * core_enroll_challenge.h - SCEP requests against the whole gateway of core_enroll_fixture.h.
 */
#ifndef TESTS_UNIT_CORE_ENROLL_CHALLENGE_H
#define TESTS_UNIT_CORE_ENROLL_CHALLENGE_H

#include "tests/unit/core_enroll_fixture.h"

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz22"
#define UTF8_STRING 0x0c
#define PRINTABLE_STRING 0x13

static inline void
ask_with_key(struct rig *r, EVP_PKEY *key, const char *challenge, uint8_t tag)
{
	struct buf attributes = { 0 };

	if (challenge != NULL)
		make_text_attribute(&attributes, "1.2.840.113549.1.9.7", tag, bytes_of_text(challenge));
	rig_csr(r, key, challenge == NULL ? NULL : &attributes);
	buf_free(&attributes);
	r->request.protocol = "scep";
	r->request.operation = "PKCSReq";
	r->request.op = ENROLL_EITHER;
	r->request.client_cert = NULL;
	r->request.challenge = true;
	r->request.renewal_names_free = true;
}

/* A new key's request with this challenge; NULL: without. */
static inline void
ask(struct rig *r, const char *challenge)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");

	ask_with_key(r, key, challenge, PRINTABLE_STRING);
}

static inline void
challenge_for(const struct rig *r, char out[64], const char *label, int64_t expires_s)
{
	challenge_text(rig_secret(r, SECRET, label, "scep", expires_s), SECRET, out);
}

static inline void
key_of(EVP_PKEY *key, struct buf *out)
{
	buf_clear(out);
	make_spki(out, key);
}

/* The certificate that came of a challenge, which signs from here on; the caller frees. */
static inline X509 *
enrolled(struct rig *r, EVP_PKEY *key)
{
	char challenge[64];

	challenge_for(r, challenge, "*", 0);
	ask_with_key(r, key, challenge, PRINTABLE_STRING);
	r->request.transaction = "T1";
	rig_expect(r, ERR_NONE);
	return rig_cert(r);
}

#endif
