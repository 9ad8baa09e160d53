/*
 * policy_attest_leaf.h - evidence that is a chain of certificates, with extensions of any octets, for tests.
 */
#ifndef TESTS_UNIT_POLICY_ATTEST_LEAF_H
#define TESTS_UNIT_POLICY_ATTEST_LEAF_H

#include "policy_attest_certs.h"

#include "base/der.h"

static const uint8_t our_nonce[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
#define OUR_NONCE bytes_of(our_nonce, sizeof our_nonce)

/* A root, an intermediate, and a leaf for key; another root that signs for nobody here. */
struct leaf_scene {
	EVP_PKEY *root_key, *middle_key, *key, *other_key;
	X509 *root, *other_root;
	struct cert_wish middle, leaf;
	struct buf middle_extensions, leaf_extensions; /* contents of an Extensions SEQUENCE, to be added */
	struct buf certs[2], spki, stmt;
	struct evidence evidence;
	struct attest_settings settings;
	struct attest_input in;
};

static inline bool
scene_is_nonce(void *arg, struct bytes nonce)
{
	(void)arg;
	return bytes_equal(nonce, OUR_NONCE);
}

/* One more extension, as octets, and a new signature. */
static inline void
scene_extend(X509 *cert, struct bytes extensions, EVP_PKEY *signer)
{
	const uint8_t *p = extensions.at, *end = p + extensions.len;

	while (p != end) {
		X509_EXTENSION *extension = d2i_X509_EXTENSION(NULL, &p, end - p);

		assert_non_null(extension);
		assert_int_equal(X509_add_ext(cert, extension, -1), 1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
}

static inline void
scene_put_extension(struct buf *extensions, const char *oid, struct bytes value)
{
	size_t mark = der_begin(extensions, DER_SEQUENCE);

	der_put_oid(extensions, oid);
	der_put(extensions, DER_OCTET_STRING, value);
	der_end(extensions, mark);
}

static inline void
scene_clear(struct leaf_scene *s)
{
	size_t i;

	EVP_PKEY_free(s->root_key);
	EVP_PKEY_free(s->middle_key);
	EVP_PKEY_free(s->key);
	EVP_PKEY_free(s->other_key);
	X509_free(s->root);
	X509_free(s->other_root);
	sk_X509_free(s->settings.roots);
	buf_free(&s->middle_extensions);
	buf_free(&s->leaf_extensions);
	for (i = 0; i < 2; i++)
		buf_free(&s->certs[i]);
	buf_free(&s->spki);
	buf_free(&s->stmt);
	*s = (struct leaf_scene){ .stmt = { 0 } };
}

static inline void
scene_init(struct leaf_scene *s, enum attest_method method)
{
	struct err e;

	*s = (struct leaf_scene){ .stmt = { 0 } };
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	s->root_key = EVP_EC_gen("P-256");
	s->middle_key = EVP_EC_gen("P-256");
	s->key = EVP_EC_gen("P-256");
	s->other_key = EVP_EC_gen("P-256");
	s->root = cert_make(&(struct cert_wish){ .cn = "Maker's Root", .key = s->root_key, .is_ca = true });
	s->other_root = cert_make(&(struct cert_wish){ .cn = "Maker's Root", .key = s->other_key, .is_ca = true });
	s->middle = (struct cert_wish){ .cn = "Device", .key = s->middle_key, .issuer = s->root,
		.issuer_key = s->root_key, .is_ca = true };
	s->leaf = (struct cert_wish){ .cn = "Attested Key", .key = s->key, .issuer_key = s->middle_key };
	s->settings = (struct attest_settings){ .name = "maker", .method = method, .roots = sk_X509_new_null() };
	sk_X509_push(s->settings.roots, s->root);
	s->in = (struct attest_input){ .evidence = &s->evidence, .spki = spki_der(s->key, &s->spki),
		.is_nonce = scene_is_nonce, .now_s = NOW_S };
	buf_append(&s->stmt, "\x05\x00", 2);
}

static inline void
scene_trust(struct leaf_scene *s, X509 *root)
{
	while (sk_X509_num(s->settings.roots) > 0)
		(void)sk_X509_pop(s->settings.roots);
	if (root != NULL)
		sk_X509_push(s->settings.roots, root);
}

/* Make the certificates as they are wished, and the evidence of them. */
static inline void
scene_make(struct leaf_scene *s, const char *type)
{
	X509 *middle = cert_make(&s->middle), *leaf;

	scene_extend(middle, buf_bytes(&s->middle_extensions), s->middle.issuer_key);
	s->leaf.issuer = middle;
	leaf = cert_make(&s->leaf);
	scene_extend(leaf, buf_bytes(&s->leaf_extensions), s->leaf.issuer_key);
	s->evidence = (struct evidence){ .statement_count = 1, .cert_count = 2 };
	strcpy(s->evidence.statements[0].type, type);
	s->evidence.statements[0].stmt = buf_bytes(&s->stmt);
	s->evidence.certs[0] = cert_der(leaf, &s->certs[0]);
	s->evidence.certs[1] = cert_der(middle, &s->certs[1]);
	X509_free(leaf);
	X509_free(middle);
	s->leaf.issuer = NULL;
}

static inline struct attestation
scene_judge(struct leaf_scene *s, const struct attest_ops *ops)
{
	struct attestation out;
	struct err e = { 0 };

	memset(&out, 0xff, sizeof out); /* whatever was there before */
	assert_int_equal(ops->verify(&s->settings, &s->in, &out, &e), 0);
	return out;
}

static inline void
assert_claim(const struct attestation *out, const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < out->claim_count; i++)
		if (strcmp(out->claims[i].name, name) == 0) {
			assert_string_equal(out->claims[i].value, value);
			return;
		}
	fail_msg("no claim %s", name);
}

static inline void
assert_good(const struct attestation *out)
{
	if (!out->valid)
		print_checks(out);
	assert_true(out->valid);
	assert_true(out->key_bound);
	assert_string_equal(out->attester, "maker");
}

/* A flipped bit in any octet of the leaf makes the evidence worthless; and back. */
static inline void
assert_every_octet_of_the_leaf_counts(struct leaf_scene *s, const struct attest_ops *ops)
{
	size_t i;

	for (i = 0; i < s->certs[0].len; i++) {
		struct attestation out;

		s->certs[0].at[i] ^= (uint8_t)(1u << i % 8);
		out = scene_judge(s, ops);
		if (out.valid || out.fresh || out.key_bound || out.anchor_count > 0)
			fail_msg("octet %zu of the leaf may be changed", i);
		s->certs[0].at[i] ^= (uint8_t)(1u << i % 8);
	}
}

#endif
