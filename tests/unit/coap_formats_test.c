#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "coap/formats.h"

static const char *const short_root[] = { "/est" };

struct path_case {
	const char *path; /* segments joined by "|" */
	enum coaps_op op; /* COAPS_OP_NONE: 4.04 */
	const char *label;
};

static int
parse(const char *path, const char *const *roots, size_t root_count, enum coaps_op *op,
	char label[EST_LABEL_MAX + 1], struct err *e)
{
	struct bytes segments[16];
	size_t n = 0;

	while (*path != '\0') {
		size_t len = strcspn(path, "|");

		assert_true(n < 16);
		segments[n++] = bytes_of(path, len);
		path += len;
		if (*path == '|')
			path++;
	}
	return coaps_path_parse(segments, n, roots, root_count, op, label, e);
}

static void
coap_path_finds_operation_and_label_below_each_root(void **state)
{
	static const struct path_case cases[] = {
		/* RFC 9148, appendix A and section 4.1. */
		{ "est|crts", COAPS_OP_CRTS, "" },
		{ "est|sen", COAPS_OP_SEN, "" },
		{ "est|sren", COAPS_OP_SREN, "" },
		{ "est|att", COAPS_OP_ATT, "" },
		{ "est|skg", COAPS_OP_SKG, "" },
		{ "est|skc", COAPS_OP_SKC, "" },
		{ "est|nonce", COAPS_OP_NONCE, "" },
		{ ".well-known|est|iot|nonce", COAPS_OP_NONCE, "iot" },
		{ ".well-known|est|crts", COAPS_OP_CRTS, "" },
		{ ".well-known|est|ArbitraryLabel|sen", COAPS_OP_SEN, "ArbitraryLabel" },
		{ "est|ArbitraryLabel|sen", COAPS_OP_SEN, "ArbitraryLabel" },
		{ "est|a.b_c~d-1|skg", COAPS_OP_SKG, "a.b_c~d-1" },
		{ "est|est|crts", COAPS_OP_CRTS, "est" },
		/* The long names of RFC 7030 are not for this. */
		{ "est|cacerts", COAPS_OP_NONE, "" },
		{ "est|simpleenroll", COAPS_OP_NONE, "" },
		/* A label that is an operation, or no label at all. */
		{ "est|sen|sen", COAPS_OP_NONE, "" },
		{ "est|nonce|sen", COAPS_OP_NONE, "" },
		{ "est|simpleenroll|sen", COAPS_OP_NONE, "" },
		{ "est|fullcmc|sen", COAPS_OP_NONE, "" },
		{ "est||sen", COAPS_OP_NONE, "" },
		{ "est|.|sen", COAPS_OP_NONE, "" },
		{ "est|..|sen", COAPS_OP_NONE, "" },
		{ "est|a/b|sen", COAPS_OP_NONE, "" },
		{ "est|a b|sen", COAPS_OP_NONE, "" },
		{ "est|a%20b|sen", COAPS_OP_NONE, "" },
		/* Too little, too much, elsewhere. */
		{ "est", COAPS_OP_NONE, "" },
		{ "", COAPS_OP_NONE, "" },
		{ "est|a|b|sen", COAPS_OP_NONE, "" },
		{ "est|SEN", COAPS_OP_NONE, "" },
		{ "EST|sen", COAPS_OP_NONE, "" },
		{ "sen", COAPS_OP_NONE, "" },
		{ "es|sen", COAPS_OP_NONE, "" },
		{ "esta|sen", COAPS_OP_NONE, "" },
		{ "est/sen", COAPS_OP_NONE, "" },
		{ ".well-known|sen", COAPS_OP_NONE, "" },
		{ ".well-known/est|sen", COAPS_OP_NONE, "" },
		{ "other|est|sen", COAPS_OP_NONE, "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char label[EST_LABEL_MAX + 1] = "untouched";
		enum coaps_op op = COAPS_OP_NONE;
		struct err e = { 0 };
		int failed = parse(cases[i].path, short_root, 1, &op, label, &e);

		if ((failed != 0) != (cases[i].op == COAPS_OP_NONE))
			fail_msg("%s: %s", cases[i].path, failed == 0 ? "accepted" : e.text);
		assert_int_equal(op, cases[i].op);
		assert_string_equal(label, failed != 0 ? "untouched" : cases[i].label);
		if (failed != 0)
			assert_int_equal(e.code, ERR_UNSUPPORTED);
	}
}

static void
coap_path_takes_the_longest_root_and_no_root_that_is_not_configured(void **state)
{
	static const char *const roots[] = { "/e", "/e/x", "/pki/devices" };
	char label[EST_LABEL_MAX + 1];
	enum coaps_op op;
	struct err e;

	(void)state;
	assert_int_equal(parse("e|x|sen", roots, 3, &op, label, &e), 0);
	assert_string_equal(label, "");
	assert_int_equal(parse("e|y|sen", roots, 3, &op, label, &e), 0);
	assert_string_equal(label, "y");
	assert_int_equal(parse("e|x|y|sen", roots, 3, &op, label, &e), 0);
	assert_string_equal(label, "y");
	assert_int_equal(parse("pki|devices|sen", roots, 3, &op, label, &e), 0);
	assert_int_equal(parse("pki|sen", roots, 3, &op, label, &e), -1);
	assert_int_equal(parse("est|sen", roots, 3, &op, label, &e), -1);
	assert_int_equal(parse("est|sen", NULL, 0, &op, label, &e), -1);
	assert_int_equal(parse(".well-known|est|sen", NULL, 0, &op, label, &e), 0);
}

static void
coap_path_refuses_a_label_of_more_than_64_octets(void **state)
{
	char path[128] = "est|", label[EST_LABEL_MAX + 1];
	enum coaps_op op;
	struct err e;

	(void)state;
	memset(path + 4, 'a', EST_LABEL_MAX);
	memcpy(path + 4 + EST_LABEL_MAX, "|sen", 5);
	assert_int_equal(parse(path, short_root, 1, &op, label, &e), 0);
	assert_int_equal(strlen(label), EST_LABEL_MAX);
	memcpy(path + 4 + EST_LABEL_MAX, "a|sen", 6);
	assert_int_equal(parse(path, short_root, 1, &op, label, &e), -1);
}

#define RFC9148_OPS (COAPS_OFFER_ALL & ~(1U << COAPS_OP_NONCE))

/* Under the short root and the default one, for the label without a name and, when there is one, for another. */
static void
expect_links(const char *query, const char *label, const char *expected)
{
	const struct coaps_offer offers[] = { { "", RFC9148_OPS }, { label, RFC9148_OPS } };
	struct buf out = { 0 };

	coaps_links_write(&out, short_root, 1, offers, label == NULL ? 1 : 2, bytes_of_text(query));
	assert_false(buf_failed(&out));
	assert_string_equal(out.len == 0 ? "" : buf_text(&out), expected);
	buf_free(&out);
}

/* RFC 9148, section 4.1, the example; linefeeds there "are included only for readability". */
#define RFC9148_LINKS \
	"</est/crts>;rt=\"ace.est.crts\";ct=\"281 287\"," \
	"</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\"," \
	"</est/sren>;rt=\"ace.est.sren\";ct=\"281 287\"," \
	"</est/att>;rt=\"ace.est.att\";ct=285," \
	"</est/skg>;rt=\"ace.est.skg\";ct=62," \
	"</est/skc>;rt=\"ace.est.skc\";ct=62"

static void
coap_discovery_is_the_rfcs_example(void **state)
{
	struct buf out = { 0 };

	(void)state;
	expect_links("href=/est/*", NULL, RFC9148_LINKS);
	/* Without a filter by path the default root follows. */
	coaps_links_write(&out, short_root, 1, &(struct coaps_offer){ "", COAPS_OFFER_ALL }, 1, bytes_of_text("rt=ace.est*"));
	assert_int_equal(strncmp(buf_text(&out), RFC9148_LINKS ",</.well-known/est/crts>;",
		strlen(RFC9148_LINKS ",</.well-known/est/crts>;")), 0);
	buf_free(&out);
}

static void
coap_discovery_filters_as_rfc_6690_says(void **state)
{
	(void)state;
	expect_links("rt=ace.est.att", NULL,
		"</est/att>;rt=\"ace.est.att\";ct=285,</.well-known/est/att>;rt=\"ace.est.att\";ct=285");
	expect_links("href=/est/sen", NULL, "</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\"");
	expect_links("rt=ace.est.sen&href=/est*", "iot",
		"</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\",</est/iot/sen>;rt=\"ace.est.sen\";ct=\"281 287\"");
	expect_links("ct=287&href=/est/s*", NULL,
		"</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\",</est/sren>;rt=\"ace.est.sren\";ct=\"281 287\"");
	expect_links("ct=62&href=/est/skg", NULL, "</est/skg>;rt=\"ace.est.skg\";ct=62");
	/* Neither a prefix without the asterisk nor an unknown attribute nor no attribute. */
	expect_links("rt=ace.est", NULL, "");
	expect_links("rt=temperature*", NULL, "");
	expect_links("if=sensor", NULL, "");
	expect_links("rt", NULL, "");
	expect_links("rt=", NULL, "");
}

static void
coap_discovery_lists_what_each_label_offers(void **state)
{
	const struct coaps_offer offers[] = {
		{ "none", 0 },
		{ "keys", 1U << COAPS_OP_CRTS | 1U << COAPS_OP_SKC },
	};
	struct buf out = { 0 };

	(void)state;
	coaps_links_write(&out, short_root, 1, offers, 2, bytes_of_text("href=/est/*"));
	assert_string_equal(buf_text(&out),
		"</est/keys/crts>;rt=\"ace.est.crts\";ct=\"281 287\",</est/keys/skc>;rt=\"ace.est.skc\";ct=62");
	buf_free(&out);
}

/* What is no resource of RFC 9148 is not found as one. */
static void
coap_discovery_lists_a_nonce_without_a_resource_type(void **state)
{
	static const struct {
		const char *query, *expected;
	} cases[] = {
		{ "", "</est/tpm/crts>;rt=\"ace.est.crts\";ct=\"281 287\",</est/tpm/nonce>;ct=60,"
			"</.well-known/est/tpm/crts>;rt=\"ace.est.crts\";ct=\"281 287\",</.well-known/est/tpm/nonce>;ct=60" },
		{ "href=/est/tpm/nonce", "</est/tpm/nonce>;ct=60" },
		{ "ct=60&href=/est/*", "</est/tpm/nonce>;ct=60" },
		{ "rt=ace.est*&href=/est/*", "</est/tpm/crts>;rt=\"ace.est.crts\";ct=\"281 287\"" },
		{ "rt=ace.est.nonce", "" },
		{ "rt=&href=/est/tpm/nonce", "" },
	};
	const struct coaps_offer offer = { "tpm", 1U << COAPS_OP_CRTS | 1U << COAPS_OP_NONCE };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = { 0 };

		coaps_links_write(&out, short_root, 1, &offer, 1, bytes_of_text(cases[i].query));
		assert_string_equal(out.len == 0 ? "" : buf_text(&out), cases[i].expected);
		buf_free(&out);
	}
}

static void
coap_discovery_stops_at_a_whole_link_when_the_answer_is_full(void **state)
{
	enum { MANY = 600 };
	static char names[MANY][EST_LABEL_MAX + 1];
	struct coaps_offer offers[MANY];
	struct buf out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		memset(names[i], 'a' + (int)(i % 26), EST_LABEL_MAX);
		offers[i] = (struct coaps_offer){ names[i], COAPS_OFFER_ALL };
	}
	coaps_links_write(&out, short_root, 1, offers, MANY, bytes_of(NULL, 0));
	assert_false(buf_failed(&out));
	assert_in_range(out.len, COAPS_BODY_MAX - 300, COAPS_BODY_MAX);
	assert_true(out.at[out.len - 1] == '"' || (out.at[out.len - 1] >= '0' && out.at[out.len - 1] <= '9'));
	buf_free(&out);
}

static void
coap_multipart_is_figure_2_of_the_rfc(void **state)
{
	static const uint8_t key[] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };
	static const uint8_t cert[] = { 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10 };
	/* RFC 9148, section 4.3, figure 2. */
	static const uint8_t expected[] = { 0x84, 0x19, 0x01, 0x1c, 0x48, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
		0x19, 0x01, 0x19, 0x48, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10 };
	struct buf out = { 0 };

	(void)state;
	coaps_multipart_write(&out, COAPS_FORMAT_KEY, bytes_of(key, sizeof key), COAPS_FORMAT_CERTS,
		bytes_of(cert, sizeof cert));
	assert_int_equal(out.len, sizeof expected);
	assert_memory_equal(out.at, expected, sizeof expected);
	buf_free(&out);
}

static void
expect_multipart(const char *hex, int code)
{
	struct coaps_multipart parts = { .key_format = -7 };
	uint8_t body[64];
	size_t len = strlen(hex) / 2;
	struct err e = { 0 };

	assert_int_equal(hex_decode(bytes_of_text(hex), body, len, &e), 0);
	if (coaps_multipart_parse(bytes_of(body, len), &parts, &e) != (code == 0 ? 0 : -1))
		fail_msg("%s: %s", hex, code == 0 ? e.text : "accepted");
	if (code != 0) {
		assert_int_equal(e.code, code);
		assert_int_equal(parts.key_format, -7);
	}
}

static void
coap_multipart_takes_either_order_and_nothing_else(void **state)
{
	(void)state;
	expect_multipart("8419011c41aa19011941bb", 0);
	/* RFC 9148, section 4.8: "do not have to be in a particular order". */
	expect_multipart("8419011941bb19011c41aa", 0);
	expect_multipart("8419011841aa19011f41bb", 0);
	/* A number written longer than it has to be is the same number. */
	expect_multipart("841a0000011c41aa19011941bb", 0);

	expect_multipart("8419011c41aa19011c41bb", ERR_MALFORMED); /* two keys */
	expect_multipart("8419011941aa19011f41bb", ERR_MALFORMED); /* two certificates */
	expect_multipart("8419011c41aa183c41bb", ERR_MALFORMED);   /* format 60 */
	expect_multipart("8419011c40190119", ERR_MALFORMED);
	expect_multipart("8419011c4019011941bb", ERR_MALFORMED);   /* an empty key */
	expect_multipart("8219011c41aa", ERR_MALFORMED);
	expect_multipart("9f19011c41aa19011941bbff", ERR_MALFORMED); /* of no definite length */
	expect_multipart("8419011c41aa19011941bb00", ERR_MALFORMED); /* left over */
	expect_multipart("8419011c61aa19011941bb", ERR_MALFORMED);   /* text instead of octets */
	expect_multipart("8439011c41aa19011941bb", ERR_MALFORMED);   /* a negative number */
	expect_multipart("84f641aa19011941bb", ERR_MALFORMED);
	expect_multipart("8419011c42aa", ERR_MALFORMED);             /* cut */
	expect_multipart("8419011c5bffffffffffffffff", ERR_MALFORMED);
	expect_multipart("84", ERR_MALFORMED);
	expect_multipart("", ERR_MALFORMED);
	expect_multipart("00", ERR_MALFORMED);
	expect_multipart("a219011c41aa19011941bb", ERR_MALFORMED);   /* a map */
	expect_multipart("a419011c41aa19011941bb", ERR_MALFORMED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coap_path_finds_operation_and_label_below_each_root),
		cmocka_unit_test(coap_path_takes_the_longest_root_and_no_root_that_is_not_configured),
		cmocka_unit_test(coap_path_refuses_a_label_of_more_than_64_octets),
		cmocka_unit_test(coap_discovery_is_the_rfcs_example),
		cmocka_unit_test(coap_discovery_filters_as_rfc_6690_says),
		cmocka_unit_test(coap_discovery_lists_what_each_label_offers),
		cmocka_unit_test(coap_discovery_lists_a_nonce_without_a_resource_type),
		cmocka_unit_test(coap_discovery_stops_at_a_whole_link_when_the_answer_is_full),
		cmocka_unit_test(coap_multipart_is_figure_2_of_the_rfc),
		cmocka_unit_test(coap_multipart_takes_either_order_and_nothing_else),
	};

	return cmocka_run_group_tests_name("coap formats", tests, NULL, NULL);
}
