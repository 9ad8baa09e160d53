/*
 * The part of the world that SCEP needs: registration authorities, MDM
 * connectors, and the answers that are the same for everybody.
 */
#include <string.h>

#include "base/timefmt.h"
#include "gateway/core/log.h"
#include "gateway/core/world_parts.h"
#include "scep/build.h"
#include "scep/query.h"

#define RA_WARNING_S (INT64_C(14) * 86400)

/* The first certificate of a file, and the key that belongs to it. */
static int
load_pair(const char *certificate, const char *key_uri, X509 **cert, EVP_PKEY **key, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

	if (x509_load_file(certificate, &certs, e) != 0 || key_open(key_uri, key, e) != 0)
		return -1;
	*cert = sk_X509_shift(certs);
	if (X509_check_private_key(*cert, *key) != 1)
		return err_ossl(e, ERR_UPSTREAM, "the key of an RA's certificate");
	return 0;
}

/* Keeps references of its own. */
static void
add_recipient(struct world_ra *ra, X509 *cert, EVP_PKEY *key)
{
	(void)X509_up_ref(cert);
	(void)EVP_PKEY_up_ref(key);
	ra->recipients[ra->recipient_count++] = (struct scep_recipient){ .cert = cert, .key = key };
}

static int
load_decrypt(const struct config_ra *config, struct world_ra *out, struct err *e)
{
	EVP_PKEY *key = NULL;
	int result;

	if (config->decrypt_certificate[0] == '\0') {
		(void)X509_up_ref(out->cert);
		out->decrypt_cert = out->cert;
		add_recipient(out, out->cert, out->key);
		return 0;
	}
	result = load_pair(config->decrypt_certificate, config->decrypt_key, &out->decrypt_cert, &key, e);
	if (result == 0) {
		add_recipient(out, out->decrypt_cert, key);
		/* Some clients encrypt to every certificate of the bundle, or to the first that does not forbid it. */
		if ((X509_get_key_usage(out->cert) & KU_KEY_ENCIPHERMENT) != 0)
			add_recipient(out, out->cert, out->key);
	}
	EVP_PKEY_free(key);
	return result;
}

static int
load_previous(const struct config_ra *config, struct world_ra *out, struct err *e)
{
	size_t i;

	for (i = 0; i < config->previous_certificates.count && i < config->previous_keys.count; i++) {
		X509 *cert = NULL;
		EVP_PKEY *key = NULL;
		int result = load_pair(config->previous_certificates.at[i], config->previous_keys.at[i], &cert, &key, e);

		if (result == 0)
			add_recipient(out, cert, key);
		X509_free(cert);
		EVP_PKEY_free(key);
		if (result != 0)
			return -1;
	}
	return 0;
}

/* No reason to refuse a start, since other protocols go on; but devices will not take its answers. */
static void
warn_of_end(const char *name, const X509 *cert)
{
	int64_t not_before_s, not_after_s, now_s = time_now_s();
	char text[TIME_TEXT_MAX];
	struct err e;

	if (x509_validity(cert, &not_before_s, &not_after_s, &e) != 0 || not_after_s > now_s + RA_WARNING_S)
		return;
	time_text(not_after_s, text);
	log_text(LOG_LEVEL_WARN, "ra", "the certificate of RA \"%s\" %s %s: put a new one in its place, move this one to "
		"previous_certificates, and send SIGHUP", name, not_after_s < now_s ? "has expired:" : "ends", text);
}

int
world_ra_load(const struct config_ra *config, struct world_ra *out, struct err *e)
{
	_Static_assert(WORLD_RECIPIENTS_MAX >= 2 + CONFIG_LIST_MAX, "the present certificates and every previous one");

	if (load_pair(config->certificate, config->key, &out->cert, &out->key, e) != 0 ||
	    load_decrypt(config, out, e) != 0 || load_previous(config, out, e) != 0)
		return err_prefix(e, "RA \"%s\"", config->name);
	warn_of_end(config->name, out->cert);
	if (out->decrypt_cert != NULL && X509_cmp(out->decrypt_cert, out->cert) != 0)
		warn_of_end(config->name, out->decrypt_cert);
	return 0;
}

void
world_ra_clear(struct world_ra *ra)
{
	size_t i;

	for (i = 0; i < ra->recipient_count; i++) {
		X509_free(ra->recipients[i].cert);
		EVP_PKEY_free(ra->recipients[i].key);
	}
	X509_free(ra->decrypt_cert);
	X509_free(ra->cert);
	EVP_PKEY_free(ra->key);
	*ra = (struct world_ra){ .cert = NULL };
}

static const char *
set_or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

int
world_mdm_open(const struct config_mdm *config, const struct mdm_ops **ops, struct mdm **out, struct err *e)
{
	struct mdm_settings settings = {
		.name = config->name,
		.type = config->type,
		.url = config->url,
		.token_url = set_or_null(config->token_url),
		.client_id = set_or_null(config->client_id),
		.provider = config->provider,
		.notify_url = set_or_null(config->notify_url),
		.secret_file = set_or_null(config->secret_file),
		.ca = config->ca,
		.deadline_s = config->deadline_s,
	};

	*ops = mdm_ops_of(config->type);
	if (*ops == NULL)
		return err_set(e, ERR_UNSUPPORTED, "unknown type \"%s\"", config->type);
	return (*ops)->open(&settings, out, e);
}

/* Borrowed certificates in the order clients get them: signing, decryption if apart, issuing CA to root. */
static int
encode_bundle(const struct world_ra *ra, const STACK_OF(X509) *chain, struct buf *out, struct err *e)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	bool good = certs != NULL && sk_X509_push(certs, ra->cert) > 0;
	int i, result;

	if (good && X509_cmp(ra->decrypt_cert, ra->cert) != 0)
		good = sk_X509_push(certs, ra->decrypt_cert) > 0;
	for (i = 0; good && i < sk_X509_num(chain); i++)
		good = sk_X509_push(certs, sk_X509_value(chain, i)) > 0;
	result = good ? world_certs_encode(certs, out, e) : err_set(e, ERR_NOMEM, "no memory for the RA bundle");
	sk_X509_free(certs);
	return result;
}

static int
encode_answers(const struct world *world, const struct config_label *label, const struct world_ra *ra,
	struct world_scep *out, struct err *e)
{
	const struct world_ca *ca = world_ca_of(world, label->ca);
	bool renewal = (label->policy.operations & (1u << POLICY_RENEW)) != 0;

	scep_caps_write(&out->caps, label->scep_algorithms, renewal, ca->coming.len > 0);
	if (buf_failed(&out->caps))
		return err_set(e, ERR_NOMEM, "no memory for the capabilities");
	out->ca_cert_bundle = label->scep_ra_bundle;
	/* The present chain alone, whatever the group has: some clients want all certificates to lead to one top. */
	if (label->scep_ra_bundle) {
		if (encode_bundle(ra, ca->ops->chain(ca->ca), &out->ca_cert, e) != 0)
			return -1;
	} else if (x509_to_der(ra->cert, &out->ca_cert, e) != 0)
		return -1;
	return ca->coming.len == 0 ? 0 : scep_next_encode(buf_bytes(&ca->coming), ra->cert, ra->key, &out->next, e);
}

int
world_scep_load(const struct world *world, const struct config_label *label, struct world_scep *out, struct err *e)
{
	const struct world_ra *ra = world_ra_of(world, label->scep_ra);

	if ((label->protocols & PROTOCOL_SCEP) == 0)
		return 0;
	if (ra == NULL)
		return err_set(e, ERR_BUG, "label \"%s\": no RA \"%s\"", label->policy.name, label->scep_ra);
	if (encode_answers(world, label, ra, out, e) != 0)
		return err_prefix(e, "label \"%s\", SCEP", label->policy.name);
	return 0;
}

void
world_scep_clear(struct world_scep *scep)
{
	buf_free(&scep->caps);
	buf_free(&scep->ca_cert);
	buf_free(&scep->next);
}

const struct world_ra *
world_ra_of(const struct world *world, const char *name)
{
	size_t i;

	for (i = 0; i < world->config->ra_count; i++)
		if (strcmp(world->config->ras[i].name, name) == 0)
			return &world->ras[i];
	return NULL;
}

const struct world_mdm *
world_mdm_of(const struct world *world, const char *name)
{
	size_t i;

	for (i = 0; i < world->config->mdm_count; i++)
		if (strcmp(world->config->mdms[i].name, name) == 0)
			return &world->mdms[i];
	return NULL;
}

const struct world_scep *
world_scep_of(const struct world *world, const struct config_label *label)
{
	return &world->scep[label - world->config->labels];
}
