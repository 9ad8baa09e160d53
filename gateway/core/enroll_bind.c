/*
 * A TPM's attestation key is bound to its endorsement key (TPM2_ActivateCredential):
 * a secret is encrypted so that only the TPM with this EK, which has loaded
 * exactly this AK, gives it back. What has to be remembered between the two steps goes with the device, sealed.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/metrics.h"
#include "policy/attest/attest.h"
#include "policy/attest/credential.h"

#define TOKEN_LIFE_S 300
#define EK_DIGEST_LEN 64 /* hex */

/* What the token says. */
struct binding {
	int64_t expires_s, asset_id;
	uint8_t secret[CREDENTIAL_SECRET_LEN];
	uint8_t ak[32]; /* SHA-256 of its SubjectPublicKeyInfo */
	char ek[EK_DIGEST_LEN + 1];
	char attester[REG_TEXT_MAX];
};

/* The keys of step 1. */
struct keys {
	X509 *ek_cert; /* NULL: a bare key */
	EVP_PKEY *ek;
	char ek_sha256[EK_DIGEST_LEN + 1];
	struct tpm_public ak;
};

static void
keys_clear(struct keys *keys)
{
	X509_free(keys->ek_cert);
	EVP_PKEY_free(keys->ek);
	tpm_public_clear(&keys->ak);
}

static void
put_number(struct buf *out, int64_t value)
{
	int i;

	for (i = 56; i >= 0; i -= 8)
		buf_append_u8(out, (uint8_t)((uint64_t)value >> i));
}

static int64_t
take_number(struct cursor *c)
{
	uint64_t value = 0;
	int i;

	for (i = 0; i < 8; i++)
		value = value << 8 | cursor_u8(c);
	return (int64_t)value;
}

/* A token is good for one label: another one's rules may trust other endorsement keys. */
static struct bytes
token_context(const struct enroll_request *request, char out[REG_TEXT_MAX + 16])
{
	(void)snprintf(out, REG_TEXT_MAX + 16, "tpm-bind %s", request->label->policy.name);
	return bytes_of_text(out);
}

static int
token_write(const struct attempt *a, const struct binding *binding, struct buf *out, struct err *e)
{
	char context[REG_TEXT_MAX + 16];
	struct buf plain = { 0 };
	int result;

	put_number(&plain, binding->expires_s);
	put_number(&plain, binding->asset_id);
	buf_append(&plain, binding->secret, sizeof binding->secret);
	buf_append(&plain, binding->ak, sizeof binding->ak);
	buf_append(&plain, binding->ek, EK_DIGEST_LEN);
	buf_append_text(&plain, binding->attester);
	buf_append_u8(&plain, '\0');
	result = buf_failed(&plain) ? err_set(e, ERR_NOMEM, "no memory for a token") :
		seal_close(a->gateway->seal, token_context(a->request, context), buf_bytes(&plain), out, e);
	buf_free_secret(&plain);
	return result;
}

static bool
token_take(struct bytes plain, struct binding *out)
{
	struct cursor c = cursor_of(plain);
	struct bytes secret, ak, ek, attester;

	out->expires_s = take_number(&c);
	out->asset_id = take_number(&c);
	secret = cursor_take(&c, sizeof out->secret);
	ak = cursor_take(&c, sizeof out->ak);
	ek = cursor_take(&c, EK_DIGEST_LEN);
	attester = cursor_until(&c, '\0');
	if (!cursor_done(&c) || attester.len >= sizeof out->attester)
		return false;
	memcpy(out->secret, secret.at, secret.len);
	memcpy(out->ak, ak.at, ak.len);
	memcpy(out->ek, ek.at, ek.len);
	memcpy(out->attester, attester.at, attester.len);
	return true;
}

static int
token_read(const struct attempt *a, struct bytes token, struct binding *out, struct err *e)
{
	char context[REG_TEXT_MAX + 16];
	struct buf plain = { 0 };
	struct err odd;
	bool good;

	*out = (struct binding){ .expires_s = 0 };
	good = seal_open(a->gateway->seal, token_context(a->request, context), token, &plain, &odd) == 0 &&
		token_take(buf_bytes(&plain), out);
	buf_free_secret(&plain);
	if (!good)
		return err_set(e, ERR_DENIED, "the token was not given out here for this label");
	if (a->request->now_s > out->expires_s)
		return err_set(e, ERR_DENIED, "the token is too old");
	return 0;
}

static int
load_ek(struct bytes octets, struct keys *out, struct err *e)
{
	const uint8_t *at = octets.at;
	struct err odd;

	if (octets.len == 0 || octets.len > EVIDENCE_OCTETS_MAX)
		return err_set(e, ERR_MALFORMED, "an endorsement key of %zu octets", octets.len);
	if (x509_from_der(octets, &out->ek_cert, &odd) == 0)
		return tpm_ek_key(out->ek_cert, &out->ek, out->ek_sha256, e);
	out->ek = d2i_PUBKEY(NULL, &at, (long)octets.len);
	ERR_clear_error();
	if (out->ek == NULL || at != octets.at + octets.len)
		return err_set(e, ERR_MALFORMED, "the endorsement key is neither a certificate nor a SubjectPublicKeyInfo");
	return tpm_ek_digest(out->ek, out->ek_sha256, e);
}

static int
load_keys(const struct enroll_tpm_bind *bind, struct keys *out, struct err *e)
{
	if (load_ek(bind->ek, out, e) != 0 || tpm_public_parse(bind->ak, &out->ak, e) != 0)
		return -1;
	return tpm_public_is_ak(&out->ak, e);
}

/* The registry's word for this EK under one attester's name: 1 with the asset in a, 0 none, -1 error. */
static int
find_asset(struct attempt *a, const char *attester, const char *ek_sha256, struct err *e)
{
	struct anchor anchor = { .type = ANCHOR_EK_PUB_SHA256 };
	int found;

	(void)snprintf(anchor.issuer, sizeof anchor.issuer, "%s", attester);
	(void)snprintf(anchor.value, sizeof anchor.value, "%s", ek_sha256);
	found = a->gateway->store_ops->asset_by_anchor(a->read, &anchor, &a->asset, &a->owner, e);
	return found < 0 ? err_prefix(e, "registry") : found;
}

static int
check_state(const struct attempt *a, struct err *e)
{
	const struct state_rules *rules = asset_state_rules(a->asset.state);

	if (rules->enroll || rules->enroll_staging)
		return 0;
	return err_set(e, ERR_DENIED, "asset %.100s is %s", a->asset.tag, asset_state_name(a->asset.state));
}

static bool
takes_bound(const struct attempt *a, const struct config_attester *attester)
{
	return attester->method == ATTEST_TPM && attester->ak_by_binding &&
		world_may_use(a->world, a->request->label, attester->name);
}

static bool
vouched_for(const struct attempt *a, const struct world_attester *attester, struct bytes certificate)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct attest_settings settings = attester->settings;
	struct attestation checks = { .method = ATTEST_TPM };
	char digest[EK_DIGEST_LEN + 1];

	if (attester->ek_roots == NULL)
		return true;
	settings.roots = attester->ek_roots;
	return attest_ek_chain(&settings, &certificate, 1, a->request->now_s, &key, digest, &checks) == 0;
}

/*
 * The first attester of this label that takes bound keys, knows an asset by this EK, and trusts it. The registry is
 * asked first: who asks has proven nothing, and a chain costs signatures.
 */
static int
find_attester(struct attempt *a, const struct keys *keys, struct bytes ek, const struct config_attester **out,
	struct err *e)
{
	const struct config *config = a->world->config;
	bool untrusted = false;
	size_t i;
	int found;

	for (i = 0; i < config->attester_count; i++) {
		if (!takes_bound(a, &config->attesters[i]))
			continue;
		found = find_asset(a, config->attesters[i].name, keys->ek_sha256, e);
		if (found < 0)
			return -1;
		if (found == 0)
			continue;
		if (vouched_for(a, &a->world->attesters[i], ek)) {
			*out = &config->attesters[i];
			return check_state(a, e);
		}
		untrusted = true;
	}
	return err_set(e, ERR_DENIED, untrusted ? "no certificate of the endorsement key %s leads to ek_roots" :
		"no asset has the endorsement key %s", keys->ek_sha256);
}

static int
challenge(struct attempt *a, const struct keys *keys, struct enroll_tpm_bind *bind, struct err *e)
{
	const struct config_attester *attester = NULL;
	struct binding binding = { .expires_s = a->request->now_s + TOKEN_LIFE_S };
	int result;

	if (find_attester(a, keys, bind->ek, &attester, e) != 0 || random_octets(binding.secret, sizeof binding.secret, e) != 0)
		return -1;
	binding.asset_id = a->asset.id;
	memcpy(binding.ak, keys->ak.spki_sha256, sizeof binding.ak);
	memcpy(binding.ek, keys->ek_sha256, sizeof binding.ek);
	(void)snprintf(binding.attester, sizeof binding.attester, "%s", attester->name);
	result = tpm_make_credential(keys->ek, bytes_of(keys->ak.name, keys->ak.name_len), binding.secret, &bind->out_blob,
		&bind->out_secret, e);
	if (result == 0)
		result = token_write(a, &binding, &bind->out_token, e);
	OPENSSL_cleanse(&binding, sizeof binding);
	bind->expires_s = a->request->now_s + TOKEN_LIFE_S;
	return result;
}

static int
begin(struct attempt *a, struct enroll_tpm_bind *bind, struct err *e)
{
	struct keys keys = { .ek = NULL };
	int result = load_keys(bind, &keys, e);

	if (result == 0)
		result = challenge(a, &keys, bind, e);
	keys_clear(&keys);
	/* Nobody has proven anything yet: keys are tried out here like secrets elsewhere. */
	if (result != 0 && (e->code == ERR_DENIED || e->code == ERR_MALFORMED || e->code == ERR_UNSUPPORTED))
		attempt_wrong_secret(a, NULL);
	return result;
}

/* The row as it is to be. 1: it is there already, by this very answer or a later one; then it stays as it is. */
static int
make_row(struct attempt *a, const struct binding *binding, int64_t life_s, struct ak_row *row, struct err *e)
{
	struct ak_row now;
	int found = a->gateway->store_ops->ak_find(a->read, binding->ak, binding->attester, a->request->now_s, &now, e);

	if (found < 0)
		return err_prefix(e, "registry");
	*row = (struct ak_row){ .asset_id = a->asset.id, .bound_s = binding->expires_s - TOKEN_LIFE_S,
		.expires_s = a->request->now_s + life_s };
	memcpy(row->spki_sha256, binding->ak, sizeof row->spki_sha256);
	memcpy(row->ek_sha256, binding->ek, sizeof row->ek_sha256);
	memcpy(row->attester, binding->attester, sizeof row->attester);
	if (found == 0 || now.asset_id != row->asset_id || now.bound_s < row->bound_s ||
	    strcmp(now.ek_sha256, row->ek_sha256) != 0)
		return 0;
	*row = now;
	return 1;
}

/* As make_row(). */
static int
finish(struct attempt *a, struct enroll_tpm_bind *bind, struct ak_row *row, struct err *e)
{
	const struct config_attester *attester;
	struct binding binding;
	bool right;
	int found;

	if (token_read(a, bind->token, &binding, e) != 0)
		return -1;
	right = bytes_equal_secret(bytes_of(binding.secret, sizeof binding.secret), bind->answer);
	OPENSSL_cleanse(binding.secret, sizeof binding.secret);
	if (!right) {
		attempt_wrong_secret(a, NULL);
		return err_set(e, ERR_DENIED, "this is not what was encrypted for the TPM");
	}
	/* The registry may have changed since the first step. */
	attester = config_attester(a->world->config, binding.attester);
	if (attester == NULL || !takes_bound(a, attester))
		return err_set(e, ERR_DENIED, "attester %s takes no bound keys any more", binding.attester);
	found = find_asset(a, binding.attester, binding.ek, e);
	if (found < 0)
		return -1;
	if (found == 0 || a->asset.id != binding.asset_id)
		return err_set(e, ERR_DENIED, "the endorsement key is not this asset's any more");
	if (check_state(a, e) != 0)
		return -1;
	return make_row(a, &binding, attester->ak_life_s, row, e);
}

/* The snapshot ends before anything is written. */
static int
take_step(struct attempt *a, struct enroll_tpm_bind *bind, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	bool last = bind->token.len != 0;
	char actor[REG_VALUE_MAX];
	struct ak_row row;
	int result;

	if (!world_wants_of(a->world, a->request->label)->binding || a->gateway->seal == NULL)
		return err_set(e, ERR_UNSUPPORTED, "no attester of this label takes bound attestation keys");
	if (last == (bind->ek.len != 0 || bind->ak.len != 0))
		return err_set(e, ERR_MALFORMED, "either ek and ak, or token and answer");
	if (attempt_locked(a, NULL, e) != 0 || ops->read_begin(a->gateway->store, &a->read, e) != 0)
		return -1;
	result = last ? finish(a, bind, &row, e) : begin(a, bind, e);
	ops->read_end(a->read);
	a->read = NULL;
	if (result < 0)
		return -1;
	(void)snprintf(bind->asset_tag, sizeof bind->asset_tag, "%s", a->asset.tag);
	if (!last)
		return 0;
	bind->expires_s = row.expires_s;
	if (result == 1)
		return 0;
	(void)snprintf(actor, sizeof actor, "device:%s", a->asset.tag);
	return ops->ak_bind(a->gateway->store, &row, actor, a->request->now_s, e);
}

int
enroll_tpm_bind(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_tpm_bind *bind, struct err *e)
{
	struct enroll_result unused;
	struct attempt *a = attempt_begin(gateway, world, request, &unused);
	int result;

	if (a == NULL)
		return err_set(e, ERR_NOMEM, "no memory to bind a key");
	result = take_step(a, bind, e);
	if (result != 0)
		attempt_audit_failure(a, e);
	attempt_free(a);
	return result;
}

int
enroll_nonce(struct gateway *gateway, const struct world *world, const struct config_label *label, int64_t now_s,
	uint8_t out[NONCE_LEN], int64_t *life_s, struct err *e)
{
	if (gateway->nonces == NULL || !world_wants_of(world, label)->evidence)
		return err_set(e, ERR_UNSUPPORTED, "nothing that this label wants carries a nonce");
	if (nonce_make(gateway->nonces, label->policy.name, now_s, out, e) != 0)
		return -1;
	*life_s = world->config->nonce_life_s;
	metric_add(METRIC_NONCES_TOTAL, 1);
	return 0;
}
