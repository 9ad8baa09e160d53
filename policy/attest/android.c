/*
 * android.c - Android key attestation: the chain in certs is the evidence, the statement is NULL.
 *
 * The leaf belongs to the attested key; an app chooses its subject and validity,
 * so that nothing but its key and the KeyDescription is believed, and identity
 * rules are not applied to it. Whether Google has revoked a certificate of the
 * chain is not looked up: that list is outside.
 */
#include "policy/attest/android_description.h"
#include "policy/attest/leaf.h"

#define OID_DESCRIPTION "1.3.6.1.4.1.11129.2.1.17"
#define ORIGIN_GENERATED 0
#define BOOT_VERIFIED    0
#define PATCH_LEVEL_MAX  999999 /* YYYYMM */

static const char *const level_names[ANDROID_LEVELS] = { "software", "tee", "strongbox" };

static const char *
boot_name(int64_t state)
{
	static const char *const names[] = { "verified", "self-signed", "unverified", "failed" };

	return state >= 0 && state < (int64_t)(sizeof names / sizeof names[0]) ? names[state] : "unknown";
}

static const char *
origin_name(int64_t origin)
{
	static const char *const names[] = { "generated", "derived", "imported", "unknown", "securely imported" };

	if (origin < 0)
		return "absent";
	return origin < (int64_t)(sizeof names / sizeof names[0]) ? names[origin] : "unknown";
}

/*
 * A key with purpose ATTEST_KEY can sign certificates for others, as any key of
 * an app whose certificate says CA can on devices with weak firmware. Then
 * the extension stands in an intermediate, and the leaf's is the app's invention.
 */
static bool
check_extended(const struct evidence *evidence, struct attestation *out)
{
	size_t i;

	for (i = 1; i < evidence->cert_count; i++) {
		CLEANUP(X509) X509 *cert = NULL;
		struct bytes ignored;
		struct err e;

		if (x509_from_der(evidence->certs[i], &cert, &e) != 0)
			return attest_check(out, "android.extended", false, "certificate %zu: %s", i + 1, e.text);
		if (attest_leaf_extension(cert, OID_DESCRIPTION, &ignored) != 0)
			return attest_check(out, "android.extended", false,
				"certificate %zu is itself that of an attested key", i + 1);
	}
	return attest_check(out, "android.extended", true, "only the leaf is that of an attested key");
}

static bool
check_description(const X509 *leaf, struct android_description *out_description, struct attestation *out)
{
	struct bytes value;
	struct err e;
	int found = attest_leaf_extension(leaf, OID_DESCRIPTION, &value);

	if (found != 1)
		return attest_check(out, "android.description", false,
			found == 0 ? "the leaf has none" : "the leaf has more than one");
	if (android_description_parse(value, out_description, &e) != 0)
		return attest_check(out, "android.description", false, "%s", e.text);
	return attest_check(out, "android.description", true, "version %lld", (long long)out_description->version);
}

/* Who attests, and where the key lives: both must be good enough. */
static void
check_level(const struct attest_settings *settings, const struct android_description *d, struct attestation *out)
{
	int64_t least = d->level < d->key_level ? d->level : d->key_level;

	attest_check(out, "android.level", least >= settings->android_level_min, "attestation in %s, key in %s",
		level_names[d->level], level_names[d->key_level]);
}

/* What the key's own environment enforces; a software key has only the other list. */
static void
check_key_properties(const struct android_description *d, struct attestation *out)
{
	const struct android_list *own = d->key_level == ANDROID_SOFTWARE ? &d->software : &d->hardware;

	attest_check(out, "android.origin", own->origin == ORIGIN_GENERATED, "%s", origin_name(own->origin));
	attest_check(out, "android.purpose", own->signs, "%s",
		own->signs ? "it may sign" : own->has_purpose ? "it may not sign" : "absent");
}

/* Only what the secure environment itself has seen at boot counts. */
static void
check_device(const struct attest_settings *settings, const struct android_list *hardware, struct attestation *out)
{
	if (settings->android_locked && !hardware->has_root)
		attest_check(out, "android.boot", false, "no root of trust");
	else if (settings->android_locked)
		attest_check(out, "android.boot", hardware->locked && hardware->boot_state == BOOT_VERIFIED,
			"%s, %s", hardware->locked ? "locked" : "unlocked", boot_name(hardware->boot_state));
	if (settings->android_os_min > 0)
		attest_check(out, "android.os", hardware->os_version >= settings->android_os_min,
			"%lld; at least %lld is demanded", (long long)hardware->os_version,
			(long long)settings->android_os_min);
	/* A level spelled with a day would be larger than any without. */
	if (settings->android_patch_min > 0)
		attest_check(out, "android.patch", hardware->patch_level >= settings->android_patch_min &&
				hardware->patch_level <= PATCH_LEVEL_MAX,
			"%lld; at least %lld is demanded", (long long)hardware->patch_level,
			(long long)settings->android_patch_min);
}

/* Identifiers count only where the secure environment has compared them with what it was provisioned with. */
static void
take_identity(const struct attest_settings *settings, const struct android_list *hardware, struct attestation *out)
{
	const struct {
		enum anchor_type type;
		struct bytes value;
	} ids[] = { { ANCHOR_IDEVID_SERIAL, hardware->serial }, { ANCHOR_IMEI, hardware->imei },
		{ ANCHOR_IMEI, hardware->second_imei } };
	struct err why;
	size_t i;

	for (i = 0; i < sizeof ids / sizeof ids[0]; i++)
		if (ids[i].value.len > 0 && !leaf_anchor(settings, ids[i].type, ids[i].value, out, &why))
			attest_check(out, "android.identity", false, "%s", why.text);
}

static void
claim_text(struct attestation *out, const char *name, struct bytes text)
{
	if (text.len > 0)
		attest_claim(out, name, "%.*s", (int)text.len, (const char *)text.at);
}

static void
claim_number(struct attestation *out, const char *name, int64_t number)
{
	if (number >= 0)
		attest_claim(out, name, "%lld", (long long)number);
}

static void
claim(const struct android_description *d, struct attestation *out)
{
	const struct android_list *hardware = &d->hardware;

	attest_claim(out, "android.version", "%lld", (long long)d->version);
	attest_claim(out, "android.security_level", "%s", level_names[d->level]);
	attest_claim(out, "android.key_level", "%s", level_names[d->key_level]);
	if (hardware->has_root) {
		attest_claim(out, "android.locked", "%s", hardware->locked ? "yes" : "no");
		attest_claim(out, "android.boot_state", "%s", boot_name(hardware->boot_state));
	}
	claim_number(out, "android.os_version", hardware->os_version);
	claim_number(out, "android.patch_level", hardware->patch_level);
	claim_number(out, "android.vendor_patch_level", hardware->vendor_patch_level);
	claim_number(out, "android.boot_patch_level", hardware->boot_patch_level);
	claim_text(out, "android.brand", hardware->brand);
	claim_text(out, "android.manufacturer", hardware->manufacturer);
	claim_text(out, "android.model", hardware->model);
}

static void
judge(const struct attest_settings *settings, const struct attest_input *in, X509 *leaf, struct attestation *out)
{
	CLEANUP(android_description) struct android_description description = { .decoded = NULL };

	if (!check_extended(in->evidence, out) || !check_description(leaf, &description, out))
		return;
	(void)leaf_check_nonce(in, description.challenge, "android.nonce", out);
	(void)leaf_check_key(leaf, in->spki, "android.key", out);
	check_level(settings, &description, out);
	check_key_properties(&description, out);
	check_device(settings, &description.hardware, out);
	take_identity(settings, &description.hardware, out);
	claim(&description, out);
}

static int
verify(const struct attest_settings *settings, const struct attest_input *in, struct attestation *out, struct err *e)
{
	CLEANUP(X509) X509 *leaf = NULL;
	bool null = leaf_is_null(leaf_statement(in));

	(void)e;
	leaf_begin(settings, out);
	if (attest_check(out, "android.statement", null, "%s", null ? "NULL" : "not NULL: the chain alone says it") &&
	    attest_chain(settings, "android", in->evidence->certs, in->evidence->cert_count, in->now_s, &leaf, out) == 0)
		judge(settings, in, leaf, out);
	leaf_conclude(out);
	return 0;
}

const struct attest_ops attest_android = {
	.method = ATTEST_ANDROID,
	.statement_type = EVIDENCE_ANDROID,
	.verify = verify,
};
