/*
 * policy_attest_tpm_scenes.h - the keys of a test program, and one honest scene for each test to spoil.
 */
#ifndef TESTS_UNIT_POLICY_ATTEST_TPM_SCENES_H
#define TESTS_UNIT_POLICY_ATTEST_TPM_SCENES_H

#include "policy_attest_tpm_fixture.h"

static EVP_PKEY *rsa_ak, *ec_ak, *other_ak, *p384_ak, *rsa_key, *ec_key, *other_key;

static inline int
make_keys(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	rsa_ak = EVP_RSA_gen(2048);
	rsa_key = EVP_RSA_gen(2048);
	ec_ak = EVP_EC_gen("P-256");
	p384_ak = EVP_EC_gen("P-384");
	other_ak = EVP_EC_gen("P-256");
	ec_key = EVP_EC_gen("P-256");
	other_key = EVP_EC_gen("P-256");
	return 0;
}

static inline int
free_keys(void **state)
{
	EVP_PKEY *all[] = { rsa_ak, rsa_key, ec_ak, p384_ak, other_ak, ec_key, other_key };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		EVP_PKEY_free(all[i]);
	return 0;
}

static inline void
assert_valid(const struct attestation *out)
{
	if (!out->valid)
		print_checks(out);
	assert_true(out->valid && out->fresh && out->key_bound);
}

#define SCENE(s)               \
	struct tpm_scene s;    \
	tpm_scene_init(&s, ec_ak, ec_key)

/* Runs the scene, frees it, and demands that these checks and no other failed. */
#define REFUSED(s, ...)                                                        \
	do {                                                                   \
		const char *const names[] = { __VA_ARGS__, NULL };             \
		struct attestation said = tpm_scene_run(&s);                   \
		assert_only_failed(&said, names);                              \
		tpm_scene_free(&s);                                            \
	} while (0)

static inline const char *
claim(const struct attestation *out, const char *name)
{
	size_t i;

	for (i = 0; i < out->claim_count; i++)
		if (strcmp(out->claims[i].name, name) == 0)
			return out->claims[i].value;
	return "";
}

#endif
