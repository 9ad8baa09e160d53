#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/coapc_est.h"
#include "devsim/devsim.h"
#include "devsim/tls.h"
#include "est/body.h"
#include "tests/unit/tls_certs.h"

static struct url
url_of(const char *text)
{
	struct url url;
	struct err e;

	assert_int_equal(url_kind_est(text), URL_COAP);
	assert_int_equal(url_parse_as(URL_COAP, text, &url, &e), 0);
	return url;
}

static void
coapc_est_names_each_operation_with_method_and_format(void **state)
{
	static const struct {
		enum coaps_op op;
		const char *url, *label, *path, *query;
		int code, format;
	} operations[] = {
		{ COAPS_OP_CRTS, "coaps://h", "", "/.well-known/est/crts", NULL, COAPC_GET, -1 },
		{ COAPS_OP_ATT, "coaps://h/", "iot", "/.well-known/est/iot/att", NULL, COAPC_GET, -1 },
		{ COAPS_OP_NONCE, "coaps://h/est", "iot", "/est/iot/nonce", NULL, COAPC_GET, -1 },
		{ COAPS_OP_SEN, "coaps://h/est", "", "/est/sen", NULL, COAPC_POST, 286 },
		{ COAPS_OP_SREN, "coaps://h/est/", "iot", "/est/iot/sren", NULL, COAPC_POST, 286 },
		{ COAPS_OP_SKG, "coaps://h", "", "/.well-known/est/skg", NULL, COAPC_POST, 286 },
		{ COAPS_OP_SKC, "coaps://h", "", "/.well-known/est/skc", NULL, COAPC_POST, 286 },
		{ COAPS_OP_NONE, "coaps://h/est", "iot", "/.well-known/core", "rt=ace.est*", COAPC_GET, -1 },
	};
	struct coapc_options options = { .accept = COAPC_NO_ACCEPT };
	size_t i;
	struct err e;

	(void)state;
	assert_int_equal(coapc_options_settle(&options, 0, &e), 0);
	for (i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		CLEANUP(buf) struct buf path = { 0 };
		struct url url = url_of(operations[i].url);
		struct coapc_request request;

		coapc_est_request(&options, &url, operations[i].label, operations[i].op, bytes_of_text("csr"), &path, &request);
		assert_string_equal(request.path, operations[i].path);
		assert_int_equal(request.code, operations[i].code);
		assert_int_equal(request.content_format, operations[i].format);
		assert_int_equal(request.accept, -1);
		assert_int_equal(request.szx, COAPC_SZX_MAX);
		assert_int_equal(request.body.len, operations[i].code == COAPC_POST ? 3 : 0);
		if (operations[i].query == NULL)
			assert_null(request.query);
		else
			assert_string_equal(request.query, operations[i].query);
	}
}

static void
coapc_est_chooses_blocks_that_fit_the_mtu(void **state)
{
	static const struct {
		uint64_t mtu, block_size;
		size_t link_mtu, size;
	} cases[] = { { 0, 0, 0, 1024 }, { 1024, 0, 0, 512 }, { 0, 0, 256, 128 }, { 0, 0, 576, 256 }, { 228, 0, 0, 128 },
		{ 0, 0, 70, 1024 }, { 0, 0, 9000, 1024 }, { 0, 64, 256, 64 }, { 0, 512, 256, 512 }, { 0, 16, 0, 16 } };
	struct url url = url_of("coaps://h");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct coapc_options options = { .accept = 287, .mtu = cases[i].mtu, .block_size = cases[i].block_size };
		CLEANUP(buf) struct buf path = { 0 };
		struct coapc_request request;
		struct err e;

		assert_int_equal(coapc_options_settle(&options, cases[i].link_mtu, &e), 0);
		coapc_est_request(&options, &url, "", COAPS_OP_SEN, bytes_of(NULL, 0), &path, &request);
		assert_int_equal(coapc_block_size(request.szx), cases[i].size);
		assert_int_equal(request.accept, 287);
	}
}

static void
coapc_est_refuses_options_out_of_range(void **state)
{
	static const struct coapc_options bad[] = {
		{ .accept = COAPC_NO_ACCEPT, .block_size = 15 }, { .accept = COAPC_NO_ACCEPT, .block_size = 48 },
		{ .accept = COAPC_NO_ACCEPT, .block_size = 2048 }, { .accept = 65536 }, { .accept = 0, .mtu = 100 },
		{ .accept = 0, .mtu = 70000 }, { .accept = 0, .ack_timeout_s = 0.001 }, { .accept = 0, .ack_timeout_s = 61 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct coapc_options options = bad[i];
		struct err e;

		if (coapc_options_settle(&options, 0, &e) == 0)
			fail_msg("options %zu were taken", i);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
}

static void
coapc_est_tells_what_a_code_means(void **state)
{
	static const struct {
		int code;
		int64_t max_age_s;
		int exit;
		const char *text;
	} codes[] = {
		{ 204, -1, DEVSIM_OK, NULL },
		{ 205, -1, DEVSIM_OK, NULL },
		{ 401, -1, DEVSIM_REFUSED, "CoAP 4.01: because" },
		{ 403, -1, DEVSIM_REFUSED, "CoAP 4.03: because" },
		{ 400, -1, DEVSIM_SERVER, "CoAP 4.00: because" },
		{ 406, -1, DEVSIM_SERVER, "CoAP 4.06: because" },
		{ 503, 30, DEVSIM_PENDING, "pending: CoAP 5.03, ask again in 30 s: because" },
		{ 503, 0, DEVSIM_PENDING, "pending: CoAP 5.03, ask again in 0 s: because" },
		{ 503, -1, DEVSIM_SERVER, "CoAP 5.03: because" },
		{ 201, -1, DEVSIM_SERVER, "CoAP 2.01" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		struct coapc_answer answer = { .code = codes[i].code, .content_format = -1, .max_age_s = codes[i].max_age_s };
		struct err e = { 0 };

		buf_append_text(&answer.body, "because\nof\x01this");
		assert_int_equal(coapc_est_exit(&answer, &e), codes[i].exit);
		if (codes[i].text != NULL)
			assert_string_equal(e.text, codes[i].text);
		buf_free(&answer.body);
	}
}

static void
coapc_est_takes_one_certificate_or_a_message_of_them(void **state)
{
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf message = { 0 };
	CLEANUP(x509_stack) STACK_OF(X509) *one = NULL;
	CLEANUP(x509_stack) STACK_OF(X509) *many = NULL;
	STACK_OF(X509) *none = NULL;
	struct bytes both[2];
	struct certs certs;
	struct err e;

	(void)state;
	certs_make(&certs);
	assert_int_equal(x509_to_der(certs.ca, &der, &e), 0);
	both[0] = both[1] = buf_bytes(&der);
	assert_int_equal(est_certs_encode(both, 2, &message, &e), 0);
	assert_int_equal(coapc_est_certs(COAPS_FORMAT_CERT, buf_bytes(&der), &one, &e), 0);
	assert_int_equal(sk_X509_num(one), 1);
	assert_int_equal(coapc_est_certs(COAPS_FORMAT_CERTS, buf_bytes(&message), &many, &e), 0);
	assert_int_equal(sk_X509_num(many), 2);
	assert_int_equal(coapc_est_certs(COAPS_FORMAT_CERTS, buf_bytes(&der), &none, &e), -1);
	assert_int_equal(coapc_est_certs(COAPS_FORMAT_CERT, buf_bytes(&message), &none, &e), -1);
	assert_int_equal(coapc_est_certs(COAPC_URI_PATH, buf_bytes(&der), &none, &e), -1);
	assert_int_equal(coapc_est_certs(-1, buf_bytes(&der), &none, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_null(none);
	certs_free(&certs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coapc_est_names_each_operation_with_method_and_format),
		cmocka_unit_test(coapc_est_chooses_blocks_that_fit_the_mtu),
		cmocka_unit_test(coapc_est_refuses_options_out_of_range),
		cmocka_unit_test(coapc_est_tells_what_a_code_means),
		cmocka_unit_test(coapc_est_takes_one_certificate_or_a_message_of_them),
	};

	return cmocka_run_group_tests_name("devsim/coapc_est", tests, NULL, NULL);
}
