#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "est/keygen.h"

#define BOUNDARY "0123456789abcdef"

static void
est_keygen_multipart_is_what_rfc_7030_shows(void **state)
{
	static const char expected[] = "--" BOUNDARY "\r\n"
				       "Content-Type: application/pkcs8\r\n"
				       "Content-Transfer-Encoding: base64\r\n"
				       "\r\n"
				       "a2V5\n\r\n"
				       "--" BOUNDARY "\r\n"
				       "Content-Type: application/pkcs7-mime; smime-type=certs-only\r\n"
				       "Content-Transfer-Encoding: base64\r\n"
				       "\r\n"
				       "Y2VydHM=\n\r\n"
				       "--" BOUNDARY "--\r\n";
	struct buf out = { 0 };

	(void)state;
	est_keygen_multipart(&out, BOUNDARY, bytes_of_text("key"), false, bytes_of_text("certs"),
		EST_BASE64_SINGLE_LINE);
	assert_string_equal(buf_text(&out), expected);
	buf_free(&out);
}

static void
est_keygen_split_reverses_multipart(void **state)
{
	static uint8_t key[200], certs[300];
	int style, encrypted;

	(void)state;
	memset(key, 0x5a, sizeof key);
	memset(certs, 0xa5, sizeof certs);
	for (style = 0; style < 2; style++)
		for (encrypted = 0; encrypted < 2; encrypted++) {
			struct buf body = { 0 }, k = { 0 }, c = { 0 };
			bool was_encrypted = !encrypted;
			struct err e;

			est_keygen_multipart(&body, BOUNDARY, bytes_of(key, sizeof key), encrypted,
				bytes_of(certs, sizeof certs), (enum est_base64_style)style);
			assert_int_equal(
				est_keygen_split(buf_bytes(&body), BOUNDARY, &k, &was_encrypted, &c, &e), 0);
			assert_true(bytes_equal(buf_bytes(&k), bytes_of(key, sizeof key)));
			assert_true(bytes_equal(buf_bytes(&c), bytes_of(certs, sizeof certs)));
			assert_int_equal(was_encrypted, encrypted);
			buf_free(&body);
			buf_free(&k);
			buf_free(&c);
		}
}

static int
split(const char *body, const char *boundary, enum err_code *code)
{
	struct buf key = { 0 }, certs = { 0 };
	bool encrypted = false;
	struct err e = { 0 };
	int rc;

	buf_append_text(&key, "before");
	rc = est_keygen_split(bytes_of_text(body), boundary, &key, &encrypted, &certs, &e);
	if (rc == 0) {
		assert_true(bytes_equal_text(buf_bytes(&key), "beforekey"));
		assert_true(bytes_equal_text(buf_bytes(&certs), "certs"));
	} else {
		assert_true(bytes_equal_text(buf_bytes(&key), "before"));
		assert_int_equal(certs.len, 0);
	}
	*code = e.code;
	buf_free(&key);
	buf_free(&certs);
	return rc;
}

#define KEY_PART "--b\nContent-Type: application/pkcs8\n\na2V5\n"
#define CERT_PART "--b\nContent-Type: application/pkcs7-mime\n\nY2VydHM=\n"

static void
est_keygen_split_reads_other_servers_dialects(void **state)
{
	static const char *const bodies[] = {
		KEY_PART CERT_PART "--b--",
		CERT_PART KEY_PART "--b--\n",
		"a preamble\n\n" KEY_PART CERT_PART "--b--\nan epilogue\n",
		"--b \t\r\ncontent-type:APPLICATION/PKCS8; x=y\r\nX-Other: z\r\n\r\na2V5\r\n" CERT_PART "--b--\r\n",
	};
	enum err_code code;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_int_equal(split(bodies[i], "b", &code), 0);
}

static void
est_keygen_split_refuses_broken_bodies(void **state)
{
	static const char *const bodies[] = {
		"",
		"--b--\n",
		KEY_PART "--b--\n",
		CERT_PART "--b--\n",
		KEY_PART CERT_PART,
		KEY_PART KEY_PART CERT_PART "--b--\n",
		KEY_PART CERT_PART CERT_PART "--b--\n",
		KEY_PART "--b\nContent-Type: text/plain\n\nhi\n" CERT_PART "--b--\n",
		KEY_PART "--b\n\nY2VydHM=\n--b--\n",
		KEY_PART "--b\nContent-Type: application/pkcs7-mime\n--b--\n",
		KEY_PART "--b\nContent-Type: application/pkcs7-mime\n\n--b--\n",
		KEY_PART "--b\nContent-Type: application/pkcs7-mime\n\nnot*base64\n--b--\n",
		KEY_PART "--b\nContent-Type: application/pkcs8\nContent-Type: application/pkcs7-mime\n\nY2VydHM=\n--b--\n",
		"--bb\nContent-Type: application/pkcs8\n\na2V5\n" CERT_PART "--b--\n",
		"--b",
		"--b\n",
		"--b\nContent-Type: application/pkcs8",
	};
	enum err_code code = ERR_NONE;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		if (split(bodies[i], "b", &code) == 0)
			fail_msg("accepted: %s", bodies[i]);
		assert_int_equal(code, ERR_MALFORMED);
	}
}

static enum err_code
verdict_with_boundary(const char *boundary)
{
	enum err_code code = ERR_NONE;
	struct buf body = { 0 };

	est_keygen_multipart(&body, boundary, bytes_of_text("key"), false, bytes_of_text("certs"),
		EST_BASE64_SINGLE_LINE);
	(void)split(buf_text(&body), boundary, &code);
	buf_free(&body);
	return code;
}

/* RFC 2046, section 5.1.1: 1 to 70 characters. */
static void
est_keygen_split_refuses_impossible_boundaries(void **state)
{
	char boundary[72];

	(void)state;
	memset(boundary, 'b', sizeof boundary);
	boundary[71] = '\0';
	assert_int_equal(verdict_with_boundary(boundary), ERR_MALFORMED);
	assert_int_equal(verdict_with_boundary(boundary + 1), ERR_NONE);
	assert_int_equal(verdict_with_boundary(""), ERR_MALFORMED);
}

static void
est_keygen_split_limits_the_headers_of_a_part(void **state)
{
	struct buf body = { 0 };
	enum err_code code;
	int i;

	(void)state;
	buf_append_text(&body, "--b\nContent-Type: application/pkcs8\n");
	for (i = 0; i < 15; i++)
		buf_append_text(&body, "X: y\n");
	buf_append_text(&body, "\na2V5\n" CERT_PART "--b--\n");
	assert_int_equal(split(buf_text(&body), "b", &code), 0);
	buf_clear(&body);
	for (i = 0; i < 16; i++)
		buf_append_text(&body, i == 0 ? "--b\nX: y\n" : "X: y\n");
	buf_append_text(&body, "Content-Type: application/pkcs8\n\na2V5\n" CERT_PART "--b--\n");
	assert_int_equal(split(buf_text(&body), "b", &code), -1);
	buf_free(&body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_keygen_multipart_is_what_rfc_7030_shows),
		cmocka_unit_test(est_keygen_split_reverses_multipart),
		cmocka_unit_test(est_keygen_split_reads_other_servers_dialects),
		cmocka_unit_test(est_keygen_split_refuses_broken_bodies),
		cmocka_unit_test(est_keygen_split_refuses_impossible_boundaries),
		cmocka_unit_test(est_keygen_split_limits_the_headers_of_a_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
