/* Public areas of TPM keys, EK certificates, and credentials for them. That a TPM opens those is a system test's matter. */
#include "policy_attest_tpm_fixture.h"

#include "base/der.h"

static EVP_PKEY *rsa, *rsa3072, *rsa1024, *p256, *p384, *p521;

static int
make_keys(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	rsa = EVP_RSA_gen(2048);
	rsa3072 = EVP_RSA_gen(3072);
	rsa1024 = EVP_RSA_gen(1024);
	p256 = EVP_EC_gen("P-256");
	p384 = EVP_EC_gen("P-384");
	p521 = EVP_EC_gen("P-521");
	return 0;
}

static int
free_keys(void **state)
{
	EVP_PKEY *all[] = { rsa, rsa3072, rsa1024, p256, p384, p521 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		EVP_PKEY_free(all[i]);
	return 0;
}

static void
digest_hex(EVP_PKEY *key, char hex[65])
{
	CLEANUP(buf) struct buf spki = { 0 };
	uint8_t digest[32];
	struct err e;

	assert_int_equal(sha256(spki_der(key, &spki), digest, &e), 0);
	hex_encode(bytes_of(digest, 32), hex);
}

static void
tpm_public_parse_reads_keys_names_and_attributes(void **state)
{
	static const uint16_t algs[] = { TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 };
	EVP_PKEY *keys[] = { rsa, rsa3072, p256, p384 };
	CLEANUP(buf) struct buf area = { 0 };
	char wanted[65], got[65];
	struct tpm_public out;
	struct err e;
	size_t i, j;

	(void)state;
	for (i = 0; i < 4; i++)
		for (j = 0; j < 3; j++) {
			put_public(&area, keys[i], algs[j], AK_ATTRIBUTES);
			assert_int_equal(tpm_public_parse(buf_bytes(&area), &out, &e), 0);
			assert_int_equal(EVP_PKEY_eq(out.key, keys[i]), 1);
			assert_int_equal(out.attributes, AK_ATTRIBUTES);
			assert_int_equal(out.name_len, 2 + 32 + 16 * j);
			assert_int_equal(out.name[0] << 8 | out.name[1], algs[j]);
			assert_null(out.weak);
			digest_hex(keys[i], wanted);
			hex_encode(bytes_of(out.spki_sha256, 32), got);
			assert_string_equal(got, wanted);
			tpm_public_clear(&out);
			tpm_public_clear(&out);
		}
}

static void
tpm_public_parse_reads_coordinates_without_their_leading_zeros(void **state)
{
	CLEANUP(buf) struct buf area = { 0 };
	struct tpm_public out;
	EVP_PKEY *key = NULL;
	struct err e;
	size_t x;

	(void)state;
	do { /* one key in 256 has such an x */
		EVP_PKEY_free(key);
		key = EVP_EC_gen("P-256");
		put_public(&area, key, TPM_ALG_SHA256, KEY_ATTRIBUTES);
		x = area.len - 66;
	} while (area.at[x] != 0);
	memmove(area.at + x, area.at + x + 1, area.len - x - 1);
	area.at[x - 1] = 31;
	area.len--;
	assert_int_equal(tpm_public_parse(buf_bytes(&area), &out, &e), 0);
	assert_int_equal(EVP_PKEY_eq(out.key, key), 1);
	tpm_public_clear(&out);
	EVP_PKEY_free(key);
}

static void
assert_area_refused(struct buf *area, enum err_code code)
{
	struct tpm_public out = { .type = 77 };
	struct err e = { 0 };

	assert_int_equal(tpm_public_parse(buf_bytes(area), &out, &e), -1);
	if (e.code != code)
		fail_msg("%s instead of %s: %s", err_code_name(e.code), err_code_name(code), e.text);
	assert_int_equal(out.type, 77);
}

/* Where fields are: 0 type, 2 nameAlg, 4 attributes, 8 authPolicy, 10 symmetric, 12 scheme, then parameters. */
static void
tpm_public_parse_refuses_other_keys(void **state)
{
	static const struct {
		size_t at;
		uint16_t value;
		enum err_code code;
	} rsa_changes[] = {
		{ 0, 0x0008, ERR_UNSUPPORTED }, /* a keyed hash */
		{ 2, 0x0004, ERR_UNSUPPORTED }, /* SHA-1 */
		{ 2, 0x0010, ERR_UNSUPPORTED }, /* no name at all */
		{ 8, 65, ERR_MALFORMED },       /* a policy longer than a digest */
		{ 12, 0x0099, ERR_UNSUPPORTED },
		{ 14, 1024, ERR_UNSUPPORTED },
		{ 14, 3072, ERR_MALFORMED },    /* not what the modulus has */
		{ 20, 255, ERR_MALFORMED },     /* an octet left over */
		{ 20, 257, ERR_MALFORMED },
	}, ecc_changes[] = {
		{ 14, 0x0005, ERR_UNSUPPORTED }, /* P-521 */
		{ 14, TPM_CURVE_P384, ERR_MALFORMED },
		{ 18, 33, ERR_MALFORMED },
	};
	CLEANUP(buf) struct buf area = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rsa_changes / sizeof rsa_changes[0]; i++) {
		put_public(&area, rsa, TPM_ALG_SHA256, KEY_ATTRIBUTES);
		area.at[rsa_changes[i].at] = (uint8_t)(rsa_changes[i].value >> 8);
		area.at[rsa_changes[i].at + 1] = (uint8_t)rsa_changes[i].value;
		assert_area_refused(&area, rsa_changes[i].code);
	}
	for (i = 0; i < sizeof ecc_changes / sizeof ecc_changes[0]; i++) {
		put_public(&area, p256, TPM_ALG_SHA256, KEY_ATTRIBUTES);
		area.at[ecc_changes[i].at] = (uint8_t)(ecc_changes[i].value >> 8);
		area.at[ecc_changes[i].at + 1] = (uint8_t)ecc_changes[i].value;
		assert_area_refused(&area, ecc_changes[i].code);
	}
	put_public(&area, p256, TPM_ALG_SHA256, KEY_ATTRIBUTES);
	area.at[area.len - 1] ^= 1;
	assert_area_refused(&area, ERR_MALFORMED); /* not on the curve */
	put_public(&area, p384, TPM_ALG_SHA256, KEY_ATTRIBUTES);
	area.at[15] = TPM_CURVE_P256;
	assert_area_refused(&area, ERR_MALFORMED); /* coordinates longer than the field */
}

static void
tpm_public_parse_refuses_areas_that_are_not_whole(void **state)
{
	EVP_PKEY *keys[] = { rsa, p256 };
	CLEANUP(buf) struct buf area = { 0 };
	static uint8_t large[TPM_PUBLIC_MAX + 1];
	size_t i, len;

	(void)state;
	for (i = 0; i < 2; i++) {
		put_public(&area, keys[i], TPM_ALG_SHA256, KEY_ATTRIBUTES);
		for (len = area.len; len > 0;) {
			area.len = --len;
			assert_area_refused(&area, ERR_MALFORMED);
		}
		put_public(&area, keys[i], TPM_ALG_SHA256, KEY_ATTRIBUTES);
		buf_append_u8(&area, 0);
		assert_area_refused(&area, ERR_MALFORMED);
	}
	buf_clear(&area);
	buf_append(&area, large, sizeof large);
	assert_area_refused(&area, ERR_LIMIT);
}

static void
tpm_public_is_ak_says_what_a_key_lacks(void **state)
{
	static const struct {
		uint32_t attributes;
		const char *lack; /* NULL: nothing */
	} cases[] = {
		{ AK_ATTRIBUTES, NULL },
		{ AK_ATTRIBUTES & ~TPM_ATTR_USER_WITH_AUTH, NULL },
		{ AK_ATTRIBUTES & ~TPM_ATTR_FIXED_TPM, "fixedTPM" },
		{ AK_ATTRIBUTES & ~TPM_ATTR_FIXED_PARENT, "fixedParent" },
		{ AK_ATTRIBUTES & ~TPM_ATTR_SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin" },
		{ AK_ATTRIBUTES & ~TPM_ATTR_RESTRICTED, "restricted" },
		{ AK_ATTRIBUTES & ~TPM_ATTR_SIGN, "sign" },
		{ AK_ATTRIBUTES | TPM_ATTR_DECRYPT, "decrypts" },
	};
	struct tpm_public key = { 0 };
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		key.attributes = cases[i].attributes;
		e = (struct err){ 0 };
		assert_int_equal(tpm_public_is_ak(&key, &e), cases[i].lack == NULL ? 0 : -1);
		if (cases[i].lack != NULL) {
			assert_int_equal(e.code, ERR_DENIED);
			assert_non_null(strstr(e.text, cases[i].lack));
		}
	}
	key.attributes = AK_ATTRIBUTES;
	key.weak = "known to be";
	assert_int_equal(tpm_public_is_ak(&key, &e), -1);
}

/* A certificate whose SubjectPublicKeyInfo is these octets; nobody signed it. */
static X509 *
cert_of_spki(struct bytes spki)
{
	static const uint8_t signature[] = { 0, 1, 2 }, zero = 0;
	CLEANUP(buf) struct buf b = { 0 };
	size_t cert = der_begin(&b, DER_SEQUENCE), body = der_begin(&b, DER_SEQUENCE), part;
	X509 *out = NULL;
	struct err e;
	int i;

	der_put_integer(&b, bytes_of(&zero, 1));
	part = der_begin(&b, DER_SEQUENCE);
	der_put_oid(&b, "1.2.840.10045.4.3.2");
	der_end(&b, part);
	der_put(&b, DER_SEQUENCE, bytes_of(NULL, 0));
	part = der_begin(&b, DER_SEQUENCE);
	for (i = 0; i < 2; i++)
		der_put_time(&b, NOW_S);
	der_end(&b, part);
	der_put(&b, DER_SEQUENCE, bytes_of(NULL, 0));
	buf_append_bytes(&b, spki);
	der_end(&b, body);
	part = der_begin(&b, DER_SEQUENCE);
	der_put_oid(&b, "1.2.840.10045.4.3.2");
	der_end(&b, part);
	der_put(&b, DER_BIT_STRING, bytes_of(signature, sizeof signature));
	der_end(&b, cert);
	if (x509_from_der(buf_bytes(&b), &out, &e) != 0)
		fail_msg("%s", e.text);
	return out;
}

/* The SubjectPublicKeyInfo of an RSA key with id-RSAES-OAEP and its default parameters, as TPM makers write it. */
static struct bytes
oaep_spki(EVP_PKEY *key, struct buf *out)
{
	CLEANUP(buf) struct buf plain = { 0 };
	struct bytes spki = spki_der(key, &plain);
	size_t whole, algorithm, bits = spki.len == 294 ? 19 : 0; /* where the BIT STRING of an RSA-2048 key begins */

	assert_int_not_equal(bits, 0);
	buf_clear(out);
	whole = der_begin(out, DER_SEQUENCE);
	algorithm = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.1.7");
	der_put(out, DER_SEQUENCE, bytes_of(NULL, 0));
	der_end(out, algorithm);
	buf_append(out, spki.at + bits, spki.len - bits);
	der_end(out, whole);
	return buf_bytes(out);
}

static void
tpm_ek_key_reads_rsa_ec_and_oaep_certificates_alike(void **state)
{
	EVP_PKEY *keys[] = { rsa, rsa3072, p256, p384, rsa };
	CLEANUP(buf) struct buf spki = { 0 };
	char wanted[65], got[65], bare[65];
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		X509 *cert = cert_of_spki(i == 4 ? oaep_spki(keys[i], &spki) : spki_der(keys[i], &spki));
		EVP_PKEY *key = NULL;

		if (tpm_ek_key(cert, &key, got, &e) != 0)
			fail_msg("key %zu: %s", i, e.text);
		assert_int_equal(EVP_PKEY_eq(key, keys[i]), 1);
		digest_hex(keys[i], wanted);
		assert_string_equal(got, wanted);
		assert_int_equal(tpm_ek_digest(key, bare, &e), 0);
		assert_string_equal(bare, wanted);
		EVP_PKEY_free(key);
		X509_free(cert);
	}
}

static void
tpm_ek_key_refuses_other_weak_and_broken_keys(void **state)
{
	EVP_PKEY *keys[] = { rsa1024, p521 };
	CLEANUP(buf) struct buf spki = { 0 };
	EVP_PKEY *key = NULL;
	char hex[65] = "before";
	X509 *cert;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		cert = cert_of_spki(spki_der(keys[i], &spki));
		assert_int_equal(tpm_ek_key(cert, &key, hex, &e), -1);
		assert_int_equal(e.code, ERR_UNSUPPORTED);
		X509_free(cert);
	}
	(void)oaep_spki(rsa, &spki);
	for (i = spki.len - 270; i < spki.len - 255; i++) { /* the numbers' tags and lengths */
		spki.at[i] ^= 0x81;
		cert = cert_of_spki(buf_bytes(&spki));
		if (tpm_ek_key(cert, &key, hex, &e) == 0) {
			/* Another first octet of the modulus is another key. */
			assert_int_equal(EVP_PKEY_eq(key, rsa), 0);
			EVP_PKEY_free(key);
			key = NULL;
			(void)strcpy(hex, "before");
		}
		spki.at[i] ^= 0x81;
		X509_free(cert);
	}
	assert_null(key);
	assert_string_equal(hex, "before");
}

static void
tpm_make_credential_writes_what_each_template_has_room_for(void **state)
{
	static const uint8_t name[34] = { 0, 0x0b, 1 }, secret[CREDENTIAL_SECRET_LEN] = { 7 };
	const struct {
		EVP_PKEY *ek;
		size_t blob, sealed;
	} cases[] = {
		{ rsa, 2 + 2 + 32 + 34, 2 + 256 }, { rsa3072, 2 + 2 + 48 + 34, 2 + 384 },
		{ p256, 2 + 2 + 32 + 34, 2 + 2 * 34 }, { p384, 2 + 2 + 48 + 34, 2 + 2 * 50 },
	};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		CLEANUP(buf) struct buf blob = { 0 };
		CLEANUP(buf) struct buf sealed = { 0 };
		CLEANUP(buf) struct buf again = { 0 };
		CLEANUP(buf) struct buf sealed_again = { 0 };

		assert_int_equal(tpm_make_credential(cases[i].ek, bytes_of(name, 34), secret, &blob, &sealed, &e), 0);
		assert_int_equal(blob.len, cases[i].blob);
		assert_int_equal(sealed.len, cases[i].sealed);
		assert_int_equal(blob.at[0] << 8 | blob.at[1], blob.len - 2);
		assert_int_equal(sealed.at[0] << 8 | sealed.at[1], sealed.len - 2);
		assert_int_equal(tpm_make_credential(cases[i].ek, bytes_of(name, 34), secret, &again, &sealed_again, &e),
			0);
		assert_false(bytes_equal(buf_bytes(&blob), buf_bytes(&again)));
		assert_false(bytes_equal(buf_bytes(&sealed), buf_bytes(&sealed_again)));
	}
}

static void
tpm_make_credential_refuses_other_eks_and_names(void **state)
{
	static const uint8_t name[TPM_NAME_MAX + 1] = { 0, 0x0b, 1 }, secret[CREDENTIAL_SECRET_LEN] = { 7 };
	CLEANUP(buf) struct buf blob = { 0 };
	CLEANUP(buf) struct buf sealed = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(tpm_make_credential(rsa1024, bytes_of(name, 34), secret, &blob, &sealed, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(tpm_make_credential(p521, bytes_of(name, 34), secret, &blob, &sealed, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(tpm_make_credential(rsa, bytes_of(name, 0), secret, &blob, &sealed, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(tpm_make_credential(rsa, bytes_of(name, sizeof name), secret, &blob, &sealed, &e), -1);
	assert_int_equal(blob.len + sealed.len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tpm_public_parse_reads_keys_names_and_attributes),
		cmocka_unit_test(tpm_public_parse_reads_coordinates_without_their_leading_zeros),
		cmocka_unit_test(tpm_public_parse_refuses_other_keys),
		cmocka_unit_test(tpm_public_parse_refuses_areas_that_are_not_whole),
		cmocka_unit_test(tpm_public_is_ak_says_what_a_key_lacks),
		cmocka_unit_test(tpm_ek_key_reads_rsa_ec_and_oaep_certificates_alike),
		cmocka_unit_test(tpm_ek_key_refuses_other_weak_and_broken_keys),
		cmocka_unit_test(tpm_make_credential_writes_what_each_template_has_room_for),
		cmocka_unit_test(tpm_make_credential_refuses_other_eks_and_names),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
