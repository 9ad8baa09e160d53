#include "policy/attestation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define FORMATTED_MAX 512 /* of a text before it is cut to its place */

static const char *const method_names[] = {
	[ATTEST_IDEVID] = "idevid",
	[ATTEST_TPM] = "tpm",
	[ATTEST_ANDROID] = "android",
	[ATTEST_YUBIKEY] = "yubikey",
	[ATTEST_EAR] = "ear",
	[ATTEST_MDM] = "mdm",
};
_Static_assert(sizeof method_names / sizeof method_names[0] == ATTEST_METHODS, "every method has a name");

const char *
attest_method_name(enum attest_method method)
{
	return (unsigned)method < ATTEST_METHODS ? method_names[method] : "unknown";
}

int
attest_method_of(const char *name)
{
	int i;

	for (i = 0; i < ATTEST_METHODS; i++)
		if (strcmp(method_names[i], name) == 0)
			return i;
	return -1;
}

static void put_text(char *out, size_t size, const char *fmt, va_list ap) PRINTF(3, 0);

/* What is clean stays as it is, so that a text which was escaped before is not escaped twice. */
static void
put_text(char *out, size_t size, const char *fmt, va_list ap)
{
	char text[FORMATTED_MAX];

	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	text_mend_end(text);
	if (!text_is_clean(bytes_of_text(text))) {
		text_escape(out, size, bytes_of_text(text));
		return;
	}
	(void)snprintf(out, size, "%.*s", (int)size - 1, text);
	text_mend_end(out);
}

bool
attest_check(struct attestation *out, const char *name, bool passed, const char *fmt, ...)
{
	struct attest_check *check;
	va_list ap;

	if (out->check_count >= ATTEST_CHECKS_MAX) {
		/* What cannot be told has not passed. */
		check = &out->checks[ATTEST_CHECKS_MAX - 1];
		check->passed = false;
		(void)snprintf(check->saw, sizeof check->saw, "more than %d checks", ATTEST_CHECKS_MAX);
		return false;
	}
	check = &out->checks[out->check_count++];
	check->name = name;
	check->passed = passed;
	va_start(ap, fmt);
	put_text(check->saw, sizeof check->saw, fmt, ap);
	va_end(ap);
	return passed;
}

void
attest_claim(struct attestation *out, const char *name, const char *fmt, ...)
{
	struct attest_claim *claim;
	va_list ap;

	if (out->claim_count >= ATTEST_CLAIMS_MAX)
		return;
	claim = &out->claims[out->claim_count++];
	text_escape(claim->name, sizeof claim->name, bytes_of_text(name));
	va_start(ap, fmt);
	put_text(claim->value, sizeof claim->value, fmt, ap);
	va_end(ap);
}

void
attest_conclude(struct attestation *out)
{
	size_t i;

	out->valid = out->check_count != 0 && out->check_count <= ATTEST_CHECKS_MAX;
	for (i = 0; i < out->check_count && i < ATTEST_CHECKS_MAX; i++)
		if (!out->checks[i].passed)
			out->valid = false;
}
