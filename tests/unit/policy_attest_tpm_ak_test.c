/* Whose word TPM evidence is: attestation keys, certified and bound. */
#include "policy_attest_tpm_scenes.h"

static void
attest_tpm_knows_a_certified_ak_by_the_rules_or_by_its_key(void **state)
{
	const struct identity_rule rule = { .name = "r", .trust = "tpms", .field = IDENTITY_SUBJECT_CN,
		.pattern = "AK (.*)", .anchor = ANCHOR_IDEVID_SERIAL };
	struct identity_rules *rules = NULL;
	CLEANUP(buf) struct buf spki = { 0 };
	struct attestation out;
	uint8_t digest[32];
	char hex[65];
	struct err e;

	(void)state;
	SCENE(s);
	out = tpm_scene_run(&s);
	assert_int_equal(sha256(spki_der(ec_ak, &spki), digest, &e), 0);
	hex_encode(bytes_of(digest, 32), hex);
	assert_int_equal(out.anchor_count, 1);
	assert_int_equal(out.anchors[0].type, ANCHOR_SPKI_SHA256);
	assert_string_equal(out.anchors[0].issuer, "tpms");
	assert_string_equal(out.anchors[0].value, hex);
	assert_int_equal(identity_rules_new(&rule, 1, &rules, &e), 0);
	s.settings.rules = rules;
	out = tpm_scene_judge(&s);
	assert_int_equal(out.anchor_count, 1);
	assert_int_equal(out.anchors[0].type, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(out.anchors[0].value, "1");
	identity_rules_free(rules);
	tpm_scene_free(&s);
}

static void
attest_tpm_knows_a_bound_ak_by_its_ek(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.with_cert = false;
	s.with_ak = true;
	tpm_scene_bind(&s);
	out = tpm_scene_run(&s);
	assert_valid(&out);
	assert_int_equal(out.anchor_count, 1);
	assert_int_equal(out.anchors[0].type, ANCHOR_EK_PUB_SHA256);
	assert_string_equal(out.anchors[0].issuer, "tpms");
	assert_string_equal(out.anchors[0].value, s.bound.ek_sha256);
	assert_string_equal(claim(&out, "tpm.ak"), "bound");
	tpm_scene_free(&s);
}

static void
attest_tpm_takes_a_bound_ak_whose_certificate_nobody_knows(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.with_ak = true;
	tpm_scene_bind(&s);
	sk_X509_zero(s.settings.roots);
	out = tpm_scene_run(&s);
	assert_valid(&out);
	tpm_scene_free(&s);
}

static void
attest_tpm_refuses_an_ak_that_nobody_vouches_for(void **state)
{
	(void)state;
	{
		SCENE(s);
		s.with_cert = false;
		s.with_ak = true; /* there, but not bound */
		REFUSED(s, "tpm.ak");
	}
	{
		SCENE(s);
		s.with_cert = false; /* neither */
		REFUSED(s, "tpm.ak");
	}
	{
		SCENE(s);
		s.with_ak = true;
		tpm_scene_bind(&s);
		s.settings.tpm_ak_by_binding = false; /* bound, but that does not count here */
		s.with_cert = false;
		REFUSED(s, "tpm.ak");
	}
	{
		SCENE(s);
		s.settings.tpm_ak_by_certificate = false; /* certified, but that does not count here */
		REFUSED(s, "tpm.ak");
	}
	{
		SCENE(s);
		s.in.find_ak = NULL;
		s.with_cert = false;
		s.with_ak = true;
		tpm_scene_bind(&s);
		REFUSED(s, "tpm.ak");
	}
}

static void
attest_tpm_refuses_ak_certificates_out_of_time(void **state)
{
	(void)state;
	{
		SCENE(s);
		s.in.now_s = NOW_S + DAY_S + 1;
		REFUSED(s, "tpm.ak.chain", "tpm.ak");
	}
	{
		SCENE(s);
		s.in.now_s = NOW_S - DAY_S - 1;
		REFUSED(s, "tpm.ak.chain", "tpm.ak");
	}
	{
		SCENE(s);
		X509_free(s.ak_cert);
		s.ak_cert = ak_cert_make(&s, EKU_OF_AK, NOW_S - 10, NOW_S - 1); /* only the AK's own */
		REFUSED(s, "tpm.ak.chain", "tpm.ak");
	}
}

static void
attest_tpm_refuses_certificates_that_are_not_for_aks(void **state)
{
	static const char *const usages[] = { NULL, "serverAuth,clientAuth", "anyExtendedKeyUsage", "2.23.133.8.1" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof usages / sizeof usages[0]; i++) {
		SCENE(s);
		X509_free(s.ak_cert);
		s.ak_cert = ak_cert_make(&s, usages[i], 0, 0);
		REFUSED(s, "tpm.ak");
	}
}

static void
attest_tpm_refuses_a_certificate_of_another_maker(void **state)
{
	struct cert_wish wish = { .cn = "TPM maker", .is_ca = true };
	X509 *impostor;

	(void)state;
	SCENE(s);
	wish.key = other_key;
	impostor = cert_make(&wish);
	X509_free(s.ak_cert);
	s.ak_cert = cert_make(&(struct cert_wish){ .cn = "AK", .key = ec_ak, .issuer = impostor,
		.issuer_key = other_key, .usage = EKU_OF_AK });
	X509_free(impostor);
	REFUSED(s, "tpm.ak.chain", "tpm.ak");
}

static void
attest_tpm_refuses_the_signature_of_another_ak(void **state)
{
	(void)state;
	{
		SCENE(s);
		s.signer = other_ak;
		REFUSED(s, "tpm.signature");
	}
	{
		SCENE(s); /* of another kind than the certified one */
		s.signer = rsa_ak;
		s.scheme = TPM_ALG_RSASSA;
		REFUSED(s, "tpm.signature");
	}
	{
		SCENE(s); /* bound is one AK, but another signed */
		s.with_cert = false;
		s.with_ak = true;
		tpm_scene_bind(&s);
		s.signer = other_ak;
		REFUSED(s, "tpm.signature");
	}
}

static void
attest_tpm_refuses_another_public_area_for_the_certified_ak(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.with_ak = true;
	tpm_scene_make(&s);
	put_public(&s.ak_area, other_ak, TPM_ALG_SHA256, AK_ATTRIBUTES);
	tpm_scene_wrap(&s);
	out = tpm_scene_judge(&s);
	assert_only_failed(&out, (const char *const[]){ "tpm.ak.key", NULL });
	tpm_scene_free(&s);
}

static void
attest_tpm_refuses_aks_that_are_none(void **state)
{
	static const uint32_t attributes[] = {
		AK_ATTRIBUTES & ~TPM_ATTR_RESTRICTED, /* would sign what anybody hands in */
		AK_ATTRIBUTES & ~TPM_ATTR_FIXED_TPM,
		AK_ATTRIBUTES & ~TPM_ATTR_FIXED_PARENT,
		AK_ATTRIBUTES & ~TPM_ATTR_SENSITIVE_DATA_ORIGIN,
		AK_ATTRIBUTES & ~TPM_ATTR_SIGN,
		AK_ATTRIBUTES | TPM_ATTR_DECRYPT,
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
		SCENE(s);
		s.with_cert = i % 2 == 0;
		s.with_ak = true;
		s.ak_attributes = attributes[i];
		if (!s.with_cert)
			tpm_scene_bind(&s);
		REFUSED(s, "tpm.ak.key");
	}
}

static void
attest_tpm_refuses_a_statement_with_two_aks(void **state)
{
	struct attestation out;

	(void)state;
	SCENE(s);
	s.with_ak = true;
	tpm_scene_make(&s);
	s.evidence.statements[2] = s.evidence.statements[1];
	s.evidence.statement_count = 3;
	out = tpm_scene_judge(&s);
	assert_only_failed(&out, (const char *const[]){ "tpm.form", NULL });
	tpm_scene_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attest_tpm_knows_a_certified_ak_by_the_rules_or_by_its_key),
		cmocka_unit_test(attest_tpm_knows_a_bound_ak_by_its_ek),
		cmocka_unit_test(attest_tpm_takes_a_bound_ak_whose_certificate_nobody_knows),
		cmocka_unit_test(attest_tpm_refuses_an_ak_that_nobody_vouches_for),
		cmocka_unit_test(attest_tpm_refuses_ak_certificates_out_of_time),
		cmocka_unit_test(attest_tpm_refuses_certificates_that_are_not_for_aks),
		cmocka_unit_test(attest_tpm_refuses_a_certificate_of_another_maker),
		cmocka_unit_test(attest_tpm_refuses_the_signature_of_another_ak),
		cmocka_unit_test(attest_tpm_refuses_another_public_area_for_the_certified_ak),
		cmocka_unit_test(attest_tpm_refuses_aks_that_are_none),
		cmocka_unit_test(attest_tpm_refuses_a_statement_with_two_aks),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
