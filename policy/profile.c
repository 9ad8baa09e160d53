#include "policy/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/syntax.h"

#define OID_ANY_EKU      "2.5.29.37.0"
#define OID_OCSP_SIGNING "1.3.6.1.5.5.7.3.9"
#define RSA_BITS_USABLE  2048

unsigned
key_usage_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned bit;
	} usages[] = {
		{ "digitalSignature", USAGE_DIGITAL_SIGNATURE },
		{ "nonRepudiation", USAGE_NON_REPUDIATION },
		{ "contentCommitment", USAGE_NON_REPUDIATION }, /* X.509's later name for it */
		{ "keyEncipherment", USAGE_KEY_ENCIPHERMENT },
		{ "dataEncipherment", USAGE_DATA_ENCIPHERMENT },
		{ "keyAgreement", USAGE_KEY_AGREEMENT },
	};
	size_t i;

	for (i = 0; i < sizeof usages / sizeof usages[0]; i++)
		if (strcmp(usages[i].name, name) == 0)
			return usages[i].bit;
	return 0;
}

const char *
extended_key_usage_oid(const char *name)
{
	static const struct {
		const char *name, *oid;
	} usages[] = {
		{ "serverAuth", "1.3.6.1.5.5.7.3.1" },
		{ "clientAuth", "1.3.6.1.5.5.7.3.2" },
		{ "codeSigning", "1.3.6.1.5.5.7.3.3" },
		{ "emailProtection", "1.3.6.1.5.5.7.3.4" },
		{ "ipsecIKE", "1.3.6.1.5.5.7.3.17" },
		{ "cmcRA", "1.3.6.1.5.5.7.3.28" },
	};
	size_t i;

	for (i = 0; i < sizeof usages / sizeof usages[0]; i++)
		if (strcmp(usages[i].name, name) == 0)
			return usages[i].oid;
	if (!oid_is_dotted(name) || strcmp(name, OID_ANY_EKU) == 0 || strcmp(name, OID_OCSP_SIGNING) == 0)
		return NULL;
	return name;
}

/* "2048-4096" or "3072". */
static int
rsa_range_parse(const char *text, struct key_rule *out)
{
	static const char digits[] = "0123456789";
	size_t low = strspn(text, digits), high;
	const char *rest = text + low;

	if (low < 1 || low > 5)
		return -1;
	out->bits_min = out->bits_max = (int)strtol(text, NULL, 10);
	if (*rest == '-') {
		high = strspn(++rest, digits);
		if (high < 1 || high > 5)
			return -1;
		out->bits_max = (int)strtol(rest, NULL, 10);
		rest += high;
	}
	return *rest == '\0' ? 0 : -1;
}

int
key_rule_parse(const char *text, struct key_rule *out, struct err *e)
{
	static const struct {
		const char *name;
		struct key_rule rule;
	} fixed[] = {
		{ "EC:P-256", { .kind = KEY_EC_P256 } },
		{ "EC:P-384", { .kind = KEY_EC_P384 } },
		{ "EC:P-521", { .kind = KEY_EC_P521 } },
		{ "Ed25519", { .kind = KEY_ED25519 } },
	};
	struct key_rule rsa = { .kind = KEY_RSA };
	char shown[60];
	size_t i;

	for (i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
		if (strcmp(fixed[i].name, text) == 0) {
			*out = fixed[i].rule;
			return 0;
		}
	text_escape(shown, sizeof shown, bytes_of_text(text));
	if (strncmp(text, "RSA:", 4) != 0 || rsa_range_parse(text + 4, &rsa) != 0)
		return err_set(e, ERR_MALFORMED,
			"\"%s\" is not a key like EC:P-256, EC:P-384, RSA:3072 or RSA:2048-4096", shown);
	if (rsa.bits_min < RSA_BITS_USABLE || rsa.bits_max > RSA_BITS_MAX || rsa.bits_min > rsa.bits_max)
		return err_set(e, ERR_MALFORMED, "\"%s\": RSA keys have %d to %d bits, the smaller number first", shown,
			RSA_BITS_USABLE, RSA_BITS_MAX);
	*out = rsa;
	return 0;
}
