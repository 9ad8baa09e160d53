/* What TPM evidence is taken, and what a liar can do to it. */
#include "policy_attest_tpm_scenes.h"

static void
attest_tpm_takes_certify_and_creation_of_every_scheme_hash_and_kind_of_key(void **state)
{
	static const struct {
		EVP_PKEY **ak, **key;
		uint16_t scheme, hash, name_alg, type;
	} cases[] = {
		{ &rsa_ak, &rsa_key, TPM_ALG_RSASSA, TPM_ALG_SHA256, TPM_ALG_SHA256, TPM_ST_CERTIFY },
		{ &rsa_ak, &ec_key, TPM_ALG_RSASSA, TPM_ALG_SHA384, TPM_ALG_SHA384, TPM_ST_CREATION },
		{ &rsa_ak, &ec_key, TPM_ALG_RSAPSS, TPM_ALG_SHA256, TPM_ALG_SHA512, TPM_ST_CERTIFY },
		{ &rsa_ak, &ec_key, TPM_ALG_RSAPSS, TPM_ALG_SHA512, TPM_ALG_SHA256, TPM_ST_CREATION },
		{ &ec_ak, &rsa_key, TPM_ALG_ECDSA, TPM_ALG_SHA256, TPM_ALG_SHA256, TPM_ST_CREATION },
		{ &p384_ak, &ec_key, TPM_ALG_ECDSA, TPM_ALG_SHA384, TPM_ALG_SHA256, TPM_ST_CERTIFY },
		{ &ec_ak, &p384_ak, TPM_ALG_ECDSA, TPM_ALG_SHA512, TPM_ALG_SHA384, TPM_ST_CERTIFY },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct attestation out;
		struct tpm_scene s;

		tpm_scene_init(&s, *cases[i].ak, *cases[i].key);
		s.scheme = cases[i].scheme;
		s.hash = cases[i].hash;
		s.name_alg = cases[i].name_alg;
		s.type = cases[i].type;
		out = tpm_scene_run(&s);
		assert_valid(&out);
		assert_int_equal(s.asked, 1);
		tpm_scene_free(&s);
	}
}

static void
attest_tpm_names_its_checks_in_order(void **state)
{
	static const char *const names[] = { "tpm.form", "tpm.ak.certificate", "tpm.ak.chain", "tpm.ak", "tpm.ak.key",
		"tpm.signature", "tpm.magic", "tpm.type", "tpm.nonce", "tpm.name", "tpm.attributes", "tpm.key",
		"tpm.identity" };
	struct attestation out;
	size_t i;

	(void)state;
	SCENE(s);
	s.with_ak = true;
	out = tpm_scene_run(&s);
	assert_valid(&out);
	assert_int_equal(out.check_count, sizeof names / sizeof names[0]);
	for (i = 0; i < out.check_count; i++)
		assert_string_equal(out.checks[i].name, names[i]);
	tpm_scene_free(&s);
}

static void
attest_tpm_tells_what_the_tpm_says_of_itself(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	out = tpm_scene_run(&s);
	assert_string_equal(claim(&out, "tpm.firmware"), "2019102300163636");
	assert_string_equal(claim(&out, "tpm.clock_ms"), "123456");
	assert_string_equal(claim(&out, "tpm.resets"), "7");
	assert_string_equal(claim(&out, "tpm.restarts"), "3");
	assert_string_equal(claim(&out, "tpm.ak"), "certificate");
	assert_string_equal(claim(&out, "tpm.ak_issuer"), "CN=TPM maker");
	assert_string_equal(claim(&out, "tpm.key_attributes"), "0x00040072");
	assert_string_equal(claim(&out, "tpm.statement"), "certify");
	tpm_scene_free(&s);
}

static void
attest_tpm_refuses_other_magic_and_other_kinds_of_statements(void **state)
{
	static const uint16_t types[] = { 0x8018, 0x8014, 0x8016, 0x8019, 0x0000 }; /* the first is a quote */
	size_t i;

	(void)state;
	{
		SCENE(s);
		s.magic = 0xff544348;
		REFUSED(s, "tpm.magic");
	}
	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		SCENE(s);
		s.type = types[i];
		REFUSED(s, "tpm.type");
	}
}

static void
attest_tpm_refuses_wrong_empty_and_unknown_nonces(void **state)
{
	static const uint8_t wrong[16] = { 1, 2, 3 };

	(void)state;
	{
		SCENE(s);
		s.nonce = bytes_of(wrong, sizeof wrong);
		REFUSED(s, "tpm.nonce");
	}
	{
		SCENE(s);
		s.nonce = bytes_of(NULL, 0);
		tpm_scene_run(&s);
		assert_int_equal(s.asked, 0);
		REFUSED(s, "tpm.nonce");
	}
	{
		SCENE(s); /* a prefix of the right one, below the shortest */
		s.nonce = bytes_of(good_nonce, ATTEST_NONCE_MIN - 1);
		REFUSED(s, "tpm.nonce");
	}
	{
		SCENE(s);
		s.in.is_nonce = NULL;
		REFUSED(s, "tpm.nonce");
	}
}

static void
attest_tpm_asks_for_no_nonce_of_a_statement_that_nobody_signed(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.signer = other_ak;
	out = tpm_scene_run(&s);
	assert_false(out.valid);
	assert_int_equal(s.asked, 0);
	tpm_scene_free(&s);
}

static void
attest_tpm_refuses_a_software_key_with_borrowed_evidence(void **state)
{
	CLEANUP(buf) struct buf spki = { 0 };

	(void)state;
	{
		SCENE(s); /* somebody's good statement beside a request for a key of one's own */
		s.in.spki = spki_der(other_key, &spki);
		REFUSED(s, "tpm.key");
	}
	{
		SCENE(s); /* and with a public area written for that key: the name tells */
		s.named = ec_key;
		s.key = other_key;
		s.in.spki = spki_der(other_key, &spki);
		REFUSED(s, "tpm.name");
	}
	{
		SCENE(s);
		s.in.spki = bytes_of("x", 1);
		REFUSED(s, "tpm.key");
	}
}

static void
attest_tpm_refuses_keys_that_are_not_at_home_in_the_tpm(void **state)
{
	static const uint32_t attributes[] = {
		KEY_ATTRIBUTES & ~TPM_ATTR_FIXED_TPM,
		KEY_ATTRIBUTES & ~TPM_ATTR_FIXED_PARENT,
		KEY_ATTRIBUTES & ~(TPM_ATTR_FIXED_TPM | TPM_ATTR_FIXED_PARENT), /* duplicable */
		KEY_ATTRIBUTES | TPM_ATTR_ENCRYPTED_DUPLICATION,
		KEY_ATTRIBUTES & ~TPM_ATTR_SENSITIVE_DATA_ORIGIN,               /* imported */
		KEY_ATTRIBUTES & ~TPM_ATTR_SIGN,
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
		SCENE(s);
		s.key_attributes = attributes[i];
		REFUSED(s, "tpm.attributes");
	}
}

static void
attest_tpm_does_not_mind_user_with_auth(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.key_attributes &= ~TPM_ATTR_USER_WITH_AUTH;
	out = tpm_scene_run(&s);
	assert_valid(&out);
	tpm_scene_free(&s);
}

static void
attest_tpm_refuses_sha1(void **state)
{
	(void)state;
	SCENE(s);
	s.hash = 0x0004;
	REFUSED(s, "tpm.form");
}

static void
attest_tpm_refuses_a_statement_without_the_public_area(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	tpm_scene_make(&s);
	buf_clear(&s.area);
	tpm_scene_wrap(&s);
	out = tpm_scene_judge(&s);
	assert_only_failed(&out, (const char *const[]){ "tpm.form", NULL });
	assert_string_equal(out.checks[0].saw, "tpmTPublic is missing");
	tpm_scene_free(&s);
}

/* Every octet of the three parts, three ways each: there is no other statement next to a good one that passes. */
static void
assert_no_octet_may_change(struct tpm_scene *s, struct buf *part)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	struct attestation out;
	size_t i, j;

	for (i = 0; i < part->len; i++)
		for (j = 0; j < sizeof masks; j++) {
			part->at[i] ^= masks[j];
			tpm_scene_wrap(s);
			out = tpm_scene_judge(s);
			if (out.valid || out.fresh || out.key_bound || out.anchor_count != 0)
				fail_msg("octet %zu ^ %02x passed", i, masks[j]);
			part->at[i] ^= masks[j];
		}
	tpm_scene_wrap(s);
	out = tpm_scene_judge(s);
	assert_valid(&out);
}

static void
attest_tpm_refuses_every_changed_octet(void **state)
{
	EVP_PKEY *aks[] = { rsa_ak, ec_ak };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct tpm_scene s;

		tpm_scene_init(&s, aks[i], ec_key);
		s.with_cert = false;
		s.with_ak = true;
		tpm_scene_bind(&s);
		tpm_scene_make(&s);
		assert_no_octet_may_change(&s, &s.attest);
		assert_no_octet_may_change(&s, &s.signature);
		assert_no_octet_may_change(&s, &s.area);
		tpm_scene_free(&s);
	}
}

static void
attest_tpm_refuses_parts_cut_short_or_with_octets_after_them(void **state)
{
	size_t part, whole, len;

	(void)state;
	for (part = 0; part < 3; part++) {
		struct attestation out;
		struct buf *b;

		SCENE(s);
		b = part == 0 ? &s.attest : part == 1 ? &s.signature : &s.area;
		tpm_scene_make(&s);
		whole = b->len;
		buf_append_u8(b, 0);
		for (len = whole + 1; len > 0; len--) {
			b->len = len;
			tpm_scene_wrap(&s);
			out = tpm_scene_judge(&s);
			assert_int_equal(out.valid, len == whole);
		}
		tpm_scene_free(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attest_tpm_takes_certify_and_creation_of_every_scheme_hash_and_kind_of_key),
		cmocka_unit_test(attest_tpm_names_its_checks_in_order),
		cmocka_unit_test(attest_tpm_tells_what_the_tpm_says_of_itself),
		cmocka_unit_test(attest_tpm_refuses_other_magic_and_other_kinds_of_statements),
		cmocka_unit_test(attest_tpm_refuses_wrong_empty_and_unknown_nonces),
		cmocka_unit_test(attest_tpm_asks_for_no_nonce_of_a_statement_that_nobody_signed),
		cmocka_unit_test(attest_tpm_refuses_a_software_key_with_borrowed_evidence),
		cmocka_unit_test(attest_tpm_refuses_keys_that_are_not_at_home_in_the_tpm),
		cmocka_unit_test(attest_tpm_does_not_mind_user_with_auth),
		cmocka_unit_test(attest_tpm_refuses_sha1),
		cmocka_unit_test(attest_tpm_refuses_a_statement_without_the_public_area),
		cmocka_unit_test(attest_tpm_refuses_every_changed_octet),
		cmocka_unit_test(attest_tpm_refuses_parts_cut_short_or_with_octets_after_them),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
