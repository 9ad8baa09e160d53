/*
 * Certificate octets, through every identity field.
 */
#include <stdlib.h>

#include <openssl/err.h>

#include "base/text.h"
#include "policy/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS (IDENTITY_SPKI_SHA256 + 1)
#define ANCHORS_MAX 16

static struct identity_rules *rules[FIELDS];

/* One set of rules per field, so that a field that is malformed does not hide the others. */
static void
init(void)
{
	struct err e;
	int i;

	if (ossl_init(&e) != 0)
		abort();
	for (i = 0; i < FIELDS; i++) {
		struct identity_rule both[2] = {
			{ .name = "plain", .trust = "t", .field = (enum identity_field)i, .pattern = "(.*)",
				.anchor = ANCHOR_HW_MODULE },
			{ .name = "part", .trust = "t", .field = (enum identity_field)i,
				.pattern = "[^:]*:?([0-9A-Fa-f:.-]+)", .anchor = ANCHOR_MDM_ID, .fold_case = true },
		};

		if (identity_rules_new(both, 2, &rules[i], &e) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(X509) X509 *cert = NULL;
	struct anchor anchors[ANCHORS_MAX];
	struct err e;
	size_t i, k;

	if (rules[0] == NULL)
		init();
	if (x509_from_der(bytes_of(data, size), &cert, &e) != 0)
		return 0;
	for (i = 0; i < FIELDS; i++) {
		size_t count = 0;

		if (identity_extract(rules[i], "t", cert, anchors, ANCHORS_MAX, &count, &e) != 0)
			continue;
		for (k = 0; k < count; k++)
			if (anchors[k].value[0] == '\0' || !text_is_clean(bytes_of_text(anchors[k].value)))
				abort();
	}
	if (ERR_peek_error() != 0)
		abort();
	return 0;
}
