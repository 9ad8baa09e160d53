#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "est/body.h"

/* The DER 30 03 02 01 00, whose base64 is "MAMCAQA=". */
static const uint8_t small[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };

static void
assert_decodes(const char *body)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	if (est_body_decode(bytes_of_text(body), false, &out, &e) != 0)
		fail_msg("%s: %s", body, e.text);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(small, sizeof small)));
	buf_free(&out);
}

static void
assert_malformed(struct bytes body, bool allow_der)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_text(&out, "before");
	assert_int_equal(est_body_decode(body, allow_der, &out, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_true(bytes_equal_text(buf_bytes(&out), "before"));
	buf_free(&out);
}

/* RFC 8951, section 3.1: "white space including CR, LF, spaces (ASCII 32), and tabs (ASCII 9) SHOULD be tolerated". */
static void
est_body_decode_takes_base64_with_any_white_space(void **state)
{
	(void)state;
	assert_decodes("MAMCAQA=");
	assert_decodes("MAMCAQA=\n");
	assert_decodes("MAMC\nAQA=\n");
	assert_decodes("MAMC\r\nAQA=\r\n");
	assert_decodes("\r\n \tM A\tMCAQA = \n\n");
}

static void
est_body_decode_takes_a_pem_request(void **state)
{
	(void)state;
	assert_decodes("-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQA=\n-----END CERTIFICATE REQUEST-----\n");
	assert_decodes("-----BEGIN CERTIFICATE REQUEST-----\r\nMAMC\r\nAQA=\r\n-----END CERTIFICATE REQUEST-----");
	assert_decodes("\n-----BEGIN NEW CERTIFICATE REQUEST-----\nMAMCAQA=\n"
		       "-----END NEW CERTIFICATE REQUEST-----\n\n");
}

#define TWICE(text) (text text)

static void
est_body_decode_refuses_other_and_broken_pem(void **state)
{
	static const char *const bodies[] = {
		"-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQA=\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQA=\n-----END NEW CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----",
		TWICE("-----BEGIN CERTIFICATE REQUEST-----\nMAMCAQA=\n-----END CERTIFICATE REQUEST-----\n"),
		"-----END CERTIFICATE REQUEST-----",
		"-",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_malformed(bytes_of_text(bodies[i]), true);
}

static void
est_body_decode_takes_der_only_when_allowed(void **state)
{
	struct buf out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_body_decode(bytes_of(small, sizeof small), true, &out, &e), 0);
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(small, sizeof small)));
	assert_malformed(bytes_of(small, sizeof small), false);
	buf_free(&out);
}

static void
est_body_decode_refuses_empty_and_broken_base64(void **state)
{
	static const char *const bodies[] = { "", " \r\n", "====", "MAMCAQA", "MAMC*QA=", "MAMCAQA=MAMCAQA=", "MA==x",
		"MAMCAQB=", "MAMCAQ\x01=" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_malformed(bytes_of_text(bodies[i]), true);
	assert_malformed(bytes_of(NULL, 0), true);
	assert_malformed(bytes_of("MAMC\0AQA=", 9), true);
}

static void
est_body_encode_speaks_both_dialects(void **state)
{
	struct buf der = { 0 }, single = { 0 }, wrapped = { 0 };
	const char *line;
	size_t i;

	(void)state;
	for (i = 0; i < 100; i++)
		buf_append_u8(&der, (uint8_t)i);
	est_body_encode(&single, buf_bytes(&der), EST_BASE64_SINGLE_LINE);
	assert_int_equal(single.len, 136 + 1);
	assert_ptr_equal(strchr(buf_text(&single), '\n'), buf_text(&single) + 136);

	est_body_encode(&wrapped, buf_bytes(&der), EST_BASE64_WRAPPED);
	line = buf_text(&wrapped);
	assert_int_equal(strcspn(line, "\n"), 64);
	assert_int_equal(strcspn(line + 65, "\n"), 64);
	assert_int_equal(strcspn(line + 130, "\n"), 8);
	assert_int_equal(wrapped.len, 136 + 3);
	buf_free(&der);
	buf_free(&single);
	buf_free(&wrapped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_body_decode_takes_base64_with_any_white_space),
		cmocka_unit_test(est_body_decode_takes_a_pem_request),
		cmocka_unit_test(est_body_decode_refuses_other_and_broken_pem),
		cmocka_unit_test(est_body_decode_takes_der_only_when_allowed),
		cmocka_unit_test(est_body_decode_refuses_empty_and_broken_base64),
		cmocka_unit_test(est_body_encode_speaks_both_dialects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
