/*
 * attested.h - fuzzed octets as extensions of a leaf that is trusted as it stands, so that verifiers read them.
 */
#ifndef TESTS_FUZZ_ATTESTED_H
#define TESTS_FUZZ_ATTESTED_H

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/key.h"
#include "base/text.h"
#include "policy/attest/attest.h"

#define ATTESTED_NOW_S 1800000000

struct attested {
	EVP_PKEY *key;
	struct buf spki;
};

static inline void
demand(bool condition)
{
	if (!condition)
		abort();
}

static inline bool
attested_any_nonce(void *arg, struct bytes nonce)
{
	(void)arg;
	return nonce.len > 0;
}

static inline void
attested_init(struct attested *a)
{
	uint8_t *der = NULL;
	struct err e;
	int len;

	if (a->key != NULL)
		return;
	demand(ossl_init(&e) == 0 && key_init(&e) == 0);
	a->key = EVP_EC_gen("P-256");
	demand(a->key != NULL);
	len = i2d_PUBKEY(a->key, &der);
	demand(len > 0);
	buf_append(&a->spki, der, (size_t)len);
	OPENSSL_free(der);
}

static inline X509 *
attested_cert(const struct attested *a)
{
	X509 *cert = X509_new();

	demand(cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && X509_set_pubkey(cert, a->key) == 1);
	demand(ASN1_TIME_set(X509_getm_notBefore(cert), ATTESTED_NOW_S - 60) != NULL);
	demand(ASN1_TIME_set(X509_getm_notAfter(cert), ATTESTED_NOW_S + 60) != NULL);
	demand(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
		       (const uint8_t *)"YubiKey PIV Attestation 9a", -1, -1, 0) == 1);
	demand(X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1);
	return cert;
}

static inline void
attested_extend(X509 *cert, const char *oid, struct bytes value)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	demand(object != NULL && octets != NULL && ASN1_OCTET_STRING_set(octets, value.at, (int)value.len) == 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, octets);
	demand(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(object);
}

static inline void
attested_demand_sense(const struct attestation *out)
{
	size_t i;

	demand(out->check_count > 0 && out->check_count <= ATTEST_CHECKS_MAX);
	demand(out->claim_count <= ATTEST_CLAIMS_MAX && out->anchor_count <= ATTEST_ANCHORS_MAX);
	demand(out->valid || (!out->key_bound && !out->fresh && out->anchor_count == 0));
	for (i = 0; i < out->check_count; i++)
		demand(!out->valid || out->checks[i].passed);
	for (i = 0; i < out->anchor_count; i++)
		demand(out->anchors[i].value[0] != '\0' && text_is_clean(bytes_of_text(out->anchors[i].value)));
	for (i = 0; i < out->claim_count; i++)
		demand(text_is_clean(bytes_of_text(out->claims[i].value)));
	demand(ERR_peek_error() == 0);
}

/* Sign, trust, judge. Frees the certificate. */
static inline void
attested_judge(struct attested *a, X509 *cert, struct bytes stmt, const struct attest_settings *wanted,
	const struct attest_ops *ops)
{
	struct attest_settings settings = *wanted;
	struct evidence evidence = { .statement_count = 1, .cert_count = 1 };
	struct attest_input in = { .evidence = &evidence, .spki = buf_bytes(&a->spki), .is_nonce = attested_any_nonce,
		.now_s = ATTESTED_NOW_S };
	struct attestation out;
	struct buf der = { 0 };
	struct err e;

	demand(X509_sign(cert, a->key, ossl_sha256()) > 0);
	demand(x509_to_der(cert, &der, &e) == 0);
	settings.roots = sk_X509_new_null();
	demand(settings.roots != NULL && sk_X509_push(settings.roots, cert) > 0);
	evidence.statements[0].stmt = stmt;
	evidence.certs[0] = buf_bytes(&der);
	demand(ops->verify(&settings, &in, &out, &e) == 0);
	attested_demand_sense(&out);
	sk_X509_free(settings.roots);
	X509_free(cert);
	buf_free(&der);
}

#endif
