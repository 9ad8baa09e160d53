#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gateway/core/spec_json.h"

static void
fill(struct kept_spec *kept)
{
	const struct kept_spec *self = kept;

	*kept = (struct kept_spec){ .spec = { .rdn_count = 2, .san_count = 2, .key_usage = 0x81, .eku_count = 2,
		.not_before_s = 1800000000, .not_after_s = 1807776000 } };
	(void)snprintf(kept->spec.rdns[0].oid, sizeof kept->spec.rdns[0].oid, "2.5.4.3");
	(void)snprintf(kept->spec.rdns[0].value, sizeof kept->spec.rdns[0].value, "rtr \"7\", Z\xc3\xbcrich");
	(void)snprintf(kept->spec.rdns[1].oid, sizeof kept->spec.rdns[1].oid, "2.5.4.10");
	(void)snprintf(kept->spec.rdns[1].value, sizeof kept->spec.rdns[1].value, "Fleet\\Ops");
	kept->spec.sans[0].type = SPEC_SAN_EMAIL;
	(void)snprintf(kept->spec.sans[0].value, sizeof kept->spec.sans[0].value, "ops@example.net");
	kept->spec.sans[1].type = SPEC_SAN_IP;
	(void)snprintf(kept->spec.sans[1].value, sizeof kept->spec.sans[1].value, "2001:db8::7");
	(void)snprintf(kept->eku[0], sizeof kept->eku[0], "1.3.6.1.5.5.7.3.2");
	(void)snprintf(kept->eku[1], sizeof kept->eku[1], "1.3.6.1.5.5.7.3.1");
	kept->spec.eku = self->eku;
}

static void
core_spec_json_gives_back_what_it_was_given(void **state)
{
	static struct kept_spec in, out;
	struct buf text = { 0 };
	struct err e;

	(void)state;
	fill(&in);
	assert_int_equal(spec_to_json(&in.spec, &text, &e), 0);
	assert_int_equal(spec_from_json(buf_bytes(&text), &out, &e), 0);
	assert_memory_equal(out.spec.rdns, in.spec.rdns, sizeof in.spec.rdns);
	assert_memory_equal(out.spec.sans, in.spec.sans, sizeof in.spec.sans);
	assert_memory_equal(out.eku, in.eku, sizeof in.eku);
	assert_ptr_equal(out.spec.eku, out.eku);
	assert_int_equal(out.spec.rdn_count, 2);
	assert_int_equal(out.spec.san_count, 2);
	assert_int_equal(out.spec.eku_count, 2);
	assert_int_equal(out.spec.key_usage, 0x81);
	assert_int_equal(out.spec.not_before_s, in.spec.not_before_s);
	assert_int_equal(out.spec.not_after_s, in.spec.not_after_s);
	buf_free(&text);
}

static void
core_spec_json_takes_nothing_else(void **state)
{
	static const char *const wrong[] = { "", "[]", "{}", "{\"subject\":[],\"sans\":[],\"eku\":[],\"key_usage\":1,"
		"\"not_before\":1}", "{\"subject\":[[\"2.5.4.3\"]],\"sans\":[],\"eku\":[],\"key_usage\":1,\"not_before\":1,"
		"\"not_after\":2}", "{\"subject\":[],\"sans\":[[9,\"x\"]],\"eku\":[],\"key_usage\":1,\"not_before\":1,"
		"\"not_after\":2}", "{\"subject\":[],\"sans\":[],\"eku\":[5],\"key_usage\":1,\"not_before\":1,"
		"\"not_after\":2}" };
	static struct kept_spec out;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(spec_from_json(bytes_of_text(wrong[i]), &out, &e), -1);
		assert_int_equal(e.code, ERR_BUG);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(core_spec_json_gives_back_what_it_was_given),
		cmocka_unit_test(core_spec_json_takes_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
