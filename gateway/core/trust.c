#include "gateway/core/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "gateway/core/trust_cache.h"
#include "gateway/core/trust_crl.h"

#define TRUST_DEPTH_MAX 6 /* certificates between leaf and anchor */
#define TRUST_SENT_MAX  10 /* certificates a peer may send besides its leaf */

/*
 * 80 bits: SHA-1 and MD5 signatures are refused, RSA-1024 keys of old devices
 * are not. A trust anchor's own signature is not judged, so old SHA-1 roots do.
 */
#define TRUST_AUTH_LEVEL 1

struct trust_set {
	char name[REG_TEXT_MAX];
	bool accept_expired;
	bool has_crls;
	int64_t crls_until_s; /* when the first of them is out of date */
	X509_STORE *store;
};

struct trust_sets {
	struct trust_set *sets;
	size_t count;
	struct trust_cache *cache;
};

/* What one set said of a chain. */
struct attempt {
	bool expired; /* the leaf is, and that was the only thing wrong so far */
	int error, depth;
	int64_t not_before_s, not_after_s; /* when the whole chain is valid */
};

static int
add_anchor(struct trust_set *set, X509 *cert, const char *path, struct err *e)
{
	char name[100];

	/* A leaf as anchor would vouch for itself; then nothing of its content would count. */
	if (X509_check_ca(cert) == 0) {
		x509_name_text(X509_get_subject_name(cert), name, sizeof name);
		return err_set(e, ERR_MALFORMED, "%s: \"%s\" is not a CA certificate", path, name);
	}
	if (X509_STORE_add_cert(set->store, cert) != 1)
		return err_ossl(e, ERR_NOMEM, path);
	return 0;
}

static int
add_crls(struct trust_set *set, const char *path, struct err *e)
{
	CLEANUP(x509_crl_stack) STACK_OF(X509_CRL) *crls = NULL;
	int64_t until_s;
	int i;

	if (trust_crls_load(path, &crls, e) != 0)
		return -1;
	for (i = 0; i < sk_X509_CRL_num(crls); i++) {
		X509_CRL *crl = sk_X509_CRL_value(crls, i);

		if (trust_crl_until(crl, &until_s, e) != 0)
			return err_prefix(e, "%s", path);
		if (X509_STORE_add_crl(set->store, crl) != 1)
			return err_ossl(e, ERR_NOMEM, path);
		if (until_s < set->crls_until_s)
			set->crls_until_s = until_s;
	}
	set->has_crls = true;
	return 0;
}

static int
load_set(struct trust_set *set, const struct config_trust *config, struct err *e)
{
	size_t i;
	int k;

	memcpy(set->name, config->name, sizeof set->name);
	set->accept_expired = config->accept_expired;
	set->store = X509_STORE_new();
	if (set->store == NULL)
		return err_ossl(e, ERR_NOMEM, "trust store");
	for (i = 0; i < config->files.count; i++) {
		CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
		const char *path = config->files.at[i];

		if (x509_load_file(path, &certs, e) != 0)
			return -1;
		for (k = 0; k < sk_X509_num(certs); k++)
			if (add_anchor(set, sk_X509_value(certs, k), path, e) != 0)
				return -1;
	}
	set->crls_until_s = INT64_MAX;
	for (i = 0; i < config->crls.count; i++)
		if (add_crls(set, config->crls.at[i], e) != 0)
			return -1;
	return 0;
}

int
trust_load(const struct config *config, struct trust_sets **out, struct err *e)
{
	struct trust_sets *sets = calloc(1, sizeof *sets);
	size_t i;

	if (sets == NULL)
		return err_set(e, ERR_NOMEM, "trust sets: no memory");
	if (trust_cache_new(&sets->cache, e) != 0) {
		trust_free(sets);
		return -1;
	}
	sets->sets = calloc(config->trust_count + 1, sizeof *sets->sets);
	if (sets->sets == NULL) {
		trust_free(sets);
		return err_set(e, ERR_NOMEM, "trust sets: no memory");
	}
	sets->count = config->trust_count;
	for (i = 0; i < config->trust_count; i++)
		if (load_set(&sets->sets[i], &config->trust[i], e) != 0) {
			trust_free(sets);
			return err_prefix(e, "trust set \"%s\"", config->trust[i].name);
		}
	*out = sets;
	return 0;
}

void
trust_free(struct trust_sets *sets)
{
	size_t i;

	if (sets == NULL)
		return;
	for (i = 0; i < sets->count; i++)
		X509_STORE_free(sets->sets[i].store);
	free(sets->sets);
	trust_cache_free(sets->cache);
	free(sets);
}

/*
 * Purposes an IDevID or LDevID of a device may have. A certificate made for
 * web servers, mail, code, time stamps or OCSP answers does not open this door.
 */
static const char *const device_purposes[] = {
	"1.3.6.1.5.5.7.3.2",  /* clientAuth */
	"1.3.6.1.5.5.7.3.5",  /* ipsecEndSystem */
	"1.3.6.1.5.5.7.3.6",  /* ipsecTunnel */
	"1.3.6.1.5.5.7.3.7",  /* ipsecUser */
	"1.3.6.1.5.5.7.3.13", /* eapOverPPP */
	"1.3.6.1.5.5.7.3.14", /* eapOverLAN */
	"1.3.6.1.5.5.7.3.17", /* ipsecIKE */
	"1.3.6.1.5.5.7.3.18", /* capwapAC */
	"1.3.6.1.5.5.7.3.19", /* capwapWTP */
	OID_CMC_RA,
};
#define TCG_ARC "2.23.133." /* the Trusted Computing Group's: TPM-backed device keys */

static bool
is_device_purpose(const ASN1_OBJECT *purpose)
{
	char oid[80];
	size_t i;

	(void)OBJ_obj2txt(oid, sizeof oid, purpose, 1);
	for (i = 0; i < sizeof device_purposes / sizeof device_purposes[0]; i++)
		if (strcmp(oid, device_purposes[i]) == 0)
			return true;
	return strncmp(oid, TCG_ARC, sizeof TCG_ARC - 1) == 0;
}

/* anyExtendedKeyUsage says nothing about devices, so it counts as nothing. */
static bool
purposes_allow(X509 *leaf)
{
	EXTENDED_KEY_USAGE *purposes;
	bool allowed = false;
	int critical = -1, i;

	purposes = X509_get_ext_d2i(leaf, NID_ext_key_usage, &critical, NULL);
	if (purposes == NULL)
		return critical == -1; /* absent; -2 is "twice", 0 and 1 "does not decode" */
	for (i = 0; i < sk_ASN1_OBJECT_num(purposes); i++)
		allowed = allowed || is_device_purpose(sk_ASN1_OBJECT_value(purposes, i));
	EXTENDED_KEY_USAGE_free(purposes);
	return allowed;
}

/* What OpenSSL's chain verification does not ask of a leaf (it would take a CA's certificate for one). */
static int
check_leaf(X509 *leaf, struct err *e)
{
	uint32_t flags = X509_get_extension_flags(leaf);

	if ((flags & EXFLAG_INVALID) != 0)
		return err_set(e, ERR_UNAUTHENTIC, "client certificate has an extension that does not decode");
	if (X509_get0_pubkey(leaf) == NULL)
		return err_set(e, ERR_UNAUTHENTIC, "client certificate has a public key that does not decode");
	if ((flags & EXFLAG_CA) != 0 || X509_check_ca(leaf) != 0)
		return err_set(e, ERR_UNAUTHENTIC, "client certificate is a CA's");
	if ((flags & EXFLAG_KUSAGE) != 0 &&
	    (X509_get_key_usage(leaf) & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)) == 0)
		return err_set(e, ERR_UNAUTHENTIC,
			"client certificate's keyUsage allows neither digitalSignature nor keyAgreement");
	if (!purposes_allow(leaf))
		return err_set(e, ERR_UNAUTHENTIC, "client certificate's extendedKeyUsage is not for devices");
	return 0;
}

/* Everything wrong ends the verification, but for the leaf's notAfter, which is for policy to judge. */
static int
on_certificate(int ok, X509_STORE_CTX *ctx)
{
	struct attempt *attempt = X509_STORE_CTX_get_app_data(ctx);

	if (ok == 1)
		return 1;
	if (X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CERT_HAS_EXPIRED &&
	    X509_STORE_CTX_get_error_depth(ctx) == 0) {
		attempt->expired = true;
		return 1;
	}
	return 0;
}

static int
chain_validity(const STACK_OF(X509) *chain, struct attempt *attempt, struct err *e)
{
	int64_t before, after;
	int i;

	attempt->not_before_s = INT64_MIN;
	attempt->not_after_s = INT64_MAX;
	for (i = 0; i < sk_X509_num(chain); i++) {
		if (x509_validity(sk_X509_value(chain, i), &before, &after, e) != 0)
			return -1;
		if (before > attempt->not_before_s)
			attempt->not_before_s = before;
		if (after < attempt->not_after_s)
			attempt->not_after_s = after;
	}
	return 0;
}

/* 1: the set vouches for it; 0: it does not, and *attempt says why; -1 with *e. */
static int
try_set(const struct trust_set *set, X509 *leaf, STACK_OF(X509) *chain, int64_t now_s, struct attempt *attempt,
	struct err *e)
{
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int result;

	if (ctx == NULL || X509_STORE_CTX_init(ctx, set->store, leaf, chain) != 1)
		return err_ossl(e, ERR_NOMEM, "checking the client certificate");
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(param, TRUST_DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, TRUST_AUTH_LEVEL);
	/* An intermediate may be the anchor: a manufacturer's root need not be trusted whole. */
	if (X509_VERIFY_PARAM_set_flags(param,
		    X509_V_FLAG_PARTIAL_CHAIN | (set->has_crls ? X509_V_FLAG_CRL_CHECK : 0)) != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY) != 1 ||
	    X509_STORE_CTX_set_app_data(ctx, attempt) != 1)
		return err_ossl(e, ERR_NOMEM, "checking the client certificate");
	*attempt = (struct attempt){ 0 };
	X509_STORE_CTX_set_verify_cb(ctx, on_certificate);
	result = X509_verify_cert(ctx);
	attempt->error = X509_STORE_CTX_get_error(ctx);
	attempt->depth = X509_STORE_CTX_get_error_depth(ctx);
	ERR_clear_error();
	if (result < 0 && attempt->error == X509_V_ERR_OUT_OF_MEM)
		return err_set(e, ERR_NOMEM, "checking the client certificate: no memory");
	if (result == 1 && chain_validity(X509_STORE_CTX_get0_chain(ctx), attempt, e) != 0)
		return -1;
	return result == 1 ? 1 : 0;
}

/* The set knows nobody above this leaf: it says less than any other failure. */
static bool
is_stranger(int error)
{
	return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
		error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
		error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
		error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
}

static const struct trust_set *
set_of(const struct trust_sets *sets, const char *name)
{
	size_t i;

	for (i = 0; i < sets->count; i++)
		if (strcmp(sets->sets[i].name, name) == 0)
			return &sets->sets[i];
	return NULL;
}

static int
refuse(X509 *leaf, const struct trust_set *nearest, const struct attempt *why, struct err *e)
{
	char name[100];

	x509_name_text(X509_get_subject_name(leaf), name, sizeof name);
	if (nearest == NULL)
		return err_set(e, ERR_UNAUTHENTIC, "no trust set is there to vouch for client certificate \"%s\"",
			name);
	return err_set(e, ERR_UNAUTHENTIC,
		"trust set \"%.40s\" does not vouch for client certificate \"%s\": %s (certificate %d of the chain)",
		nearest->name, name, X509_verify_cert_error_string(why->error), why->depth + 1);
}

static void
fill_verdict(const struct trust_set *set, bool expired, struct trust_verdict *out)
{
	*out = (struct trust_verdict){ .expired = expired, .accept_expired = set->accept_expired };
	memcpy(out->set, set->name, sizeof out->set);
}

/* The leaf and the names of the sets, each with its NUL: the verdict depends on nothing else but the time. */
static int
cache_key(X509 *leaf, const char (*names)[REG_TEXT_MAX], size_t name_count, uint8_t key[32], struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t i;

	if (x509_sha256(leaf, key, e) != 0)
		return -1;
	buf_append(&text, key, 32);
	for (i = 0; i < name_count; i++)
		buf_append(&text, names[i], strlen(names[i]) + 1);
	if (buf_failed(&text))
		return err_set(e, ERR_NOMEM, "checking the client certificate: no memory");
	return sha256(buf_bytes(&text), key, e);
}

static int
verify(const struct trust_sets *sets, const char (*names)[REG_TEXT_MAX], size_t name_count, X509 *leaf,
	STACK_OF(X509) *chain, int64_t now_s, const uint8_t key[32], struct trust_verdict *out, struct err *e)
{
	const struct trust_set *nearest = NULL;
	struct attempt attempt, why = { 0 };
	size_t i;

	for (i = 0; i < name_count; i++) {
		const struct trust_set *set = set_of(sets, names[i]);
		int result = set == NULL ? 0 : try_set(set, leaf, chain, now_s, &attempt, e);

		if (result < 0)
			return -1;
		if (result == 1) {
			fill_verdict(set, attempt.expired, out);
			if (!attempt.expired)
				trust_cache_put(sets->cache, key,
					&(struct trust_cached){ .set = (size_t)(set - sets->sets),
						.not_before_s = attempt.not_before_s,
						.not_after_s = attempt.not_after_s < set->crls_until_s ?
							attempt.not_after_s : set->crls_until_s });
			return 0;
		}
		if (set != NULL && (nearest == NULL || (is_stranger(why.error) && !is_stranger(attempt.error)))) {
			nearest = set;
			why = attempt;
		}
	}
	return refuse(leaf, nearest, &why, e);
}

int
trust_verify(const struct trust_sets *sets, const char (*names)[REG_TEXT_MAX], size_t name_count, X509 *leaf,
	const STACK_OF(X509) *chain, int64_t now_s, struct trust_verdict *out, struct err *e)
{
	STACK_OF(X509) *copy = NULL;
	struct trust_cached cached;
	uint8_t key[32];
	int result;

	if (sk_X509_num(chain) > TRUST_SENT_MAX)
		return err_set(e, ERR_UNAUTHENTIC, "client sent %d certificates besides its own; %d are allowed",
			sk_X509_num(chain), TRUST_SENT_MAX);
	if (cache_key(leaf, names, name_count, key, e) != 0)
		return -1;
	if (trust_cache_get(sets->cache, key, now_s, &cached)) {
		fill_verdict(&sets->sets[cached.set], false, out);
		return 0;
	}
	if (check_leaf(leaf, e) != 0) {
		ERR_clear_error();
		return -1;
	}
	/* OpenSSL takes the stack without const, though it only reads it; a shallow copy keeps our promise. */
	if (sk_X509_num(chain) > 0 && (copy = sk_X509_dup(chain)) == NULL)
		return err_set(e, ERR_NOMEM, "client certificate chain: no memory");
	result = verify(sets, names, name_count, leaf, copy, now_s, key, out, e);
	sk_X509_free(copy);
	return result;
}
