#include <string.h>

#include "base/text.h"
#include "policy/identity_field.h"

#define SHA256_DIGITS 64
#define IMEI_DIGITS_MIN 14 /* without check digit */
#define IMEI_DIGITS_MAX 16 /* IMEISV */

static const char decimal[] = "0123456789";
static const char lower_hex[] = "0123456789abcdef";

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void
lower_case(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

static bool
between_pairs(const char *value, size_t at, size_t len)
{
	return at >= 2 && at + 2 < len && is_hex(value[at - 2]) && is_hex(value[at - 1]) &&
		is_hex(value[at + 1]) && is_hex(value[at + 2]);
}

void
anchor_fold(char *value)
{
	char was[REG_VALUE_MAX];
	size_t len = strlen(value), n = 0, i;

	if (len >= sizeof was)
		return;
	memcpy(was, value, len);
	for (i = 0; i < len; i++) {
		bool separator = was[i] == ':' || was[i] == '-' || was[i] == '.';

		if (!separator || !between_pairs(was, i, len))
			value[n++] = was[i];
	}
	value[n] = '\0';
	lower_case(value);
}

static void
trim(char *value)
{
	size_t from = strspn(value, " \t\r\n"), len = strlen(value + from);

	while (len > 0 && strchr(" \t\r\n", value[from + len - 1]) != NULL)
		len--;
	if (from != 0)
		memmove(value, value + from, len);
	value[len] = '\0';
}

static void
drop_all(char *value, const char *unwanted)
{
	char *to = value;

	for (; *value != '\0'; value++)
		if (strchr(unwanted, *value) == NULL)
			*to++ = *value;
	*to = '\0';
}

static int
normalise_sha256(struct anchor *anchor, struct err *e)
{
	drop_all(anchor->value, ":");
	lower_case(anchor->value);
	if (strlen(anchor->value) != SHA256_DIGITS || strspn(anchor->value, lower_hex) != SHA256_DIGITS)
		return err_set(e, ERR_MALFORMED, "a %s is %d hexadecimal digits", anchor_type_name(anchor->type),
			SHA256_DIGITS);
	return 0;
}

static int
normalise_imei(struct anchor *anchor, struct err *e)
{
	size_t len;

	drop_all(anchor->value, " -");
	len = strlen(anchor->value);
	if (strspn(anchor->value, decimal) != len || len < IMEI_DIGITS_MIN || len > IMEI_DIGITS_MAX)
		return err_set(e, ERR_MALFORMED, "an imei is %d to %d digits", IMEI_DIGITS_MIN, IMEI_DIGITS_MAX);
	return 0;
}

/* "<hwType dotted>:<hwSerialNum hex>" has no case of its own; a vendor's other texts may. */
static void
normalise_hw_module(struct anchor *anchor)
{
	const char *colon = strchr(anchor->value, ':');
	const char *hex;

	if (colon == NULL || strspn(anchor->value, "0123456789.") != (size_t)(colon - anchor->value))
		return;
	for (hex = colon + 1; is_hex(*hex);)
		hex++;
	if (*hex == '\0')
		lower_case(anchor->value);
}

int
anchor_normalise(struct anchor *anchor, struct err *e)
{
	struct anchor copy = *anchor;

	if (memchr(copy.value, '\0', sizeof copy.value) == NULL)
		return err_set(e, ERR_MALFORMED, "the anchor's value has no end");
	trim(copy.value);
	if (!text_is_clean(bytes_of_text(copy.value)))
		return err_set(e, ERR_MALFORMED, "the anchor's value is not clean text");
	if (copy.value[0] == '\0')
		return err_set(e, ERR_MALFORMED, "the anchor's value is empty");
	switch (copy.type) {
	case ANCHOR_EK_PUB_SHA256:
	case ANCHOR_SPKI_SHA256:
		if (normalise_sha256(&copy, e) != 0)
			return -1;
		break;
	case ANCHOR_IMEI:
		if (normalise_imei(&copy, e) != 0)
			return -1;
		break;
	case ANCHOR_HW_MODULE:
		normalise_hw_module(&copy);
		break;
	case ANCHOR_IDEVID_SERIAL:
	case ANCHOR_MDM_ID:
		break;
	}
	*anchor = copy;
	return 0;
}
