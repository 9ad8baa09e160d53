/* An EAR (draft-ietf-rats-ear) as a signed JWT: RFC 7515 for the signature, RFC 7519 for the claims. */
#include "policy/attest/ear.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "policy/attest/jws.h"
#include "policy/attest/leaf.h"

#define AGE_DEFAULT_S 300
#define SKEW_S        60 /* how far the verifier's clock may be ahead of ours */

DEFINE_CLEANUP(json, json_t *, json_decref);

static const struct {
	const char *name;
	enum ear_status status;
} statuses[] = {
	{ "none", EAR_NONE },
	{ "affirming", EAR_AFFIRMING },
	{ "warning", EAR_WARNING },
	{ "contraindicated", EAR_CONTRAINDICATED },
};
#define STATUSES (sizeof statuses / sizeof statuses[0])

int
ear_status_of(const char *name)
{
	size_t i;

	for (i = 0; i < STATUSES; i++)
		if (strcmp(statuses[i].name, name) == 0)
			return (int)statuses[i].status;
	return -1;
}

/* A tier is told by its name or its number (EAR, section 3.2: "none" 0, "affirming" 2, "warning" 32, "contraindicated" 96). */
static bool
read_status(const json_t *value, int *status)
{
	size_t i;

	*status = json_is_string(value) ? ear_status_of(json_string_value(value)) : -1;
	if (json_is_integer(value))
		for (i = 0; i < STATUSES; i++)
			if (json_integer_value(value) == (json_int_t)statuses[i].status)
				*status = (int)statuses[i].status;
	return *status >= 0;
}

static const char *
status_text(int status)
{
	size_t i;

	for (i = 0; i < STATUSES; i++)
		if ((int)statuses[i].status == status)
			return statuses[i].name;
	return "unknown";
}

/*
 * The nonce that the session was begun with: it binds our nonce and the CSR's
 * key, so a result for another key, or for another day, does not fit.
 */
int
ear_session_nonce(struct bytes nonce, struct bytes spki, uint8_t out[EAR_SESSION_NONCE_LEN], struct err *e)
{
	uint8_t both[EAR_NONCE_MAX + 32];

	if (nonce.len == 0 || nonce.len > EAR_NONCE_MAX)
		return err_set(e, ERR_MALFORMED, "a nonce of %zu octets", nonce.len);
	memcpy(both, nonce.at, nonce.len);
	if (sha256(spki, both + nonce.len, e) != 0)
		return -1;
	if (EVP_Digest(both, nonce.len + 32, out, NULL, ossl_sha384(), NULL) != 1)
		return err_ossl(e, ERR_BUG, "SHA-384");
	return 0;
}

/* eat_nonce is one text or a list of them (RFC 9711, section 4.1); one of ours is enough. */
static bool
holds_nonce(const json_t *claim, const char *wanted)
{
	size_t i;

	if (json_is_string(claim))
		return json_string_length(claim) == strlen(wanted) && strcmp(json_string_value(claim), wanted) == 0;
	for (i = 0; json_is_array(claim) && i < json_array_size(claim); i++)
		if (json_is_string(json_array_get(claim, i)) && strcmp(json_string_value(json_array_get(claim, i)), wanted) == 0)
			return true;
	return false;
}

static void
check_nonce(const json_t *claims, struct bytes nonce, struct bytes spki, struct attestation *out)
{
	CLEANUP(buf) struct buf wanted = { 0 };
	const json_t *claim = json_object_get(claims, "eat_nonce");
	uint8_t session[EAR_SESSION_NONCE_LEN];
	struct err e;

	if (nonce.len == 0 || ear_session_nonce(nonce, spki, session, &e) != 0) {
		(void)attest_check(out, "ear.nonce", false, "there is no nonce of ours to compare with");
		return;
	}
	base64url_encode(&wanted, bytes_of(session, sizeof session));
	/* The same octets stand for freshness and for the key: both were put into the session's nonce. */
	out->fresh = attest_check(out, "ear.nonce", !buf_failed(&wanted) && holds_nonce(claim, buf_text(&wanted)), "%s",
		claim == NULL ? "no eat_nonce" : "eat_nonce against the session's");
	out->key_bound = out->fresh;
	(void)attest_check(out, "ear.key", out->key_bound, "the session's nonce holds the request's key");
}

static void
check_times(const struct ear_settings *settings, const json_t *claims, int64_t now_s, struct attestation *out)
{
	const json_t *iat = json_object_get(claims, "iat"), *exp = json_object_get(claims, "exp");
	const json_t *nbf = json_object_get(claims, "nbf");
	int64_t age_max_s = settings->age_max_s == 0 ? AGE_DEFAULT_S : settings->age_max_s;
	int64_t at_s = (int64_t)json_integer_value(iat);

	(void)attest_check(out, "ear.issued",
		json_is_integer(iat) && at_s <= now_s + SKEW_S && at_s >= now_s - age_max_s, "iat %" PRId64 ", now %" PRId64,
		at_s, now_s);
	if (exp == NULL && nbf == NULL) {
		(void)attest_check(out, "ear.expires", true, "says no end");
		return;
	}
	out->expires_s = (int64_t)json_integer_value(exp);
	(void)attest_check(out, "ear.expires",
		(exp == NULL || (json_is_integer(exp) && out->expires_s > now_s)) &&
			(nbf == NULL || (json_is_integer(nbf) && (int64_t)json_integer_value(nbf) <= now_s + SKEW_S)),
		"exp %" PRId64 ", nbf %" PRId64, out->expires_s, (int64_t)json_integer_value(nbf));
}

static void
check_issuer(const struct ear_settings *settings, const json_t *claims, struct attestation *out)
{
	const char *issuer = json_string_value(json_object_get(claims, "iss"));
	char shown[64];

	text_escape(shown, sizeof shown, bytes_of_text(issuer == NULL ? "" : issuer));
	(void)attest_check(out, "ear.issuer",
		settings->issuer[0] == '\0' || (issuer != NULL && strcmp(issuer, settings->issuer) == 0), "iss \"%s\"", shown);
}

static bool
status_passes(const struct ear_settings *settings, const char *name, const json_t *submod, struct attestation *out)
{
	int status;
	bool known = read_status(json_object_get(submod, "ear.status"), &status);
	char shown[48], claim[48 + 12];

	text_escape(shown, sizeof shown, bytes_of_text(name));
	(void)snprintf(claim, sizeof claim, "ear.%s", shown);
	attest_claim(out, claim, "%s", known ? status_text(status) : "unknown");
	return known && (status == EAR_AFFIRMING || (settings->worst == EAR_WARNING && status == EAR_WARNING));
}

/* "none" is no word for the device: neither affirming nor warning, so it does not pass. */
static void
check_status(const struct ear_settings *settings, json_t *claims, struct attestation *out)
{
	json_t *submods = json_object_get(claims, "submods"), *submod;
	const char *name, *bad = NULL;
	size_t i;

	if (!json_is_object(submods) || json_object_size(submods) == 0 || json_object_size(submods) > EAR_SUBMODS_MAX) {
		(void)attest_check(out, "ear.status", false, "1 to %d submods are wanted, there are %zu", EAR_SUBMODS_MAX,
			json_object_size(submods));
		return;
	}
	for (i = 0; i < settings->submod_count && bad == NULL; i++)
		if (json_object_get(submods, settings->submods[i]) == NULL)
			bad = settings->submods[i];
	json_object_foreach(submods, name, submod) {
		bool asked = settings->submod_count == 0;

		for (i = 0; i < settings->submod_count; i++)
			asked = asked || strcmp(settings->submods[i], name) == 0;
		if (!status_passes(settings, name, submod, out) && asked && bad == NULL)
			bad = name;
	}
	if (bad == NULL)
		(void)attest_check(out, "ear.status", true, "%zu submods", json_object_size(submods));
	else {
		char shown[64];

		text_escape(shown, sizeof shown, bytes_of_text(bad));
		(void)attest_check(out, "ear.status", false, "submod \"%s\" is missing or not good enough", shown);
	}
}

/* A claim by its path; names with dots in them ("ear.status") are taken as the longest that is there. */
static const json_t *
claim_at(const json_t *object, const char *path)
{
	char name[REG_TEXT_MAX];
	size_t len = strlen(path);

	while (json_is_object(object) && len > 0) {
		const json_t *value;

		memcpy(name, path, len);
		name[len] = '\0';
		value = json_object_get(object, name);
		if (value != NULL)
			return path[len] == '\0' ? value : claim_at(value, path + len + 1);
		do
			len--;
		while (len > 0 && path[len] != '.');
	}
	return NULL;
}

static void
find_identity(const struct ear_settings *settings, const json_t *claims, struct attestation *out)
{
	const json_t *value;
	struct anchor anchor = { .type = settings->identity_anchor };
	struct err e;

	if (settings->identity_claim[0] == '\0')
		return;
	value = claim_at(claims, settings->identity_claim);
	if (!json_is_string(value) || text_copy(anchor.value, sizeof anchor.value,
					      bytes_of(json_string_value(value), json_string_length(value)), "claim", &e) != 0)
		return; /* without an anchor the evidence speaks of nobody, and the policy says what that means */
	(void)snprintf(anchor.issuer, sizeof anchor.issuer, "%s", settings->name);
	if (anchor_normalise(&anchor, &e) == 0)
		out->anchors[out->anchor_count++] = anchor;
}

int
ear_verify(const struct ear_settings *settings, struct bytes token, struct bytes nonce, struct bytes spki,
	int64_t now_s, struct attestation *out, struct err *e)
{
	CLEANUP(json) json_t *claims = NULL;
	struct jws_failure why = { 0 };

	*out = (struct attestation){ .method = ATTEST_EAR };
	(void)snprintf(out->attester, sizeof out->attester, "%s", settings->name);
	if (token.len == 0 || token.len > EAR_TOKEN_MAX) {
		(void)attest_check(out, "ear.form", false, "a token of %zu octets", token.len);
		leaf_conclude(out);
		return 0;
	}
	if (jws_open(token, settings->keys, settings->key_count, &claims, &why, e) != 0) {
		if (e->code == ERR_NOMEM || e->code == ERR_BUG)
			return -1;
		(void)attest_check(out, why.step == JWS_FORM ? "ear.form" :
				why.step == JWS_ALGORITHM ? "ear.algorithm" : "ear.signature", false, "%s", e->text);
		leaf_conclude(out);
		return 0;
	}
	(void)attest_check(out, "ear.signature", true, "%s", why.algorithm);
	check_nonce(claims, nonce, spki, out);
	check_times(settings, claims, now_s, out);
	check_issuer(settings, claims, out);
	check_status(settings, claims, out);
	find_identity(settings, claims, out);
	leaf_conclude(out);
	return 0;
}
