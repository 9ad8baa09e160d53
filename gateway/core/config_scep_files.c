/*
 * The checks of what SCEP's settings name on this machine: RA certificates and keys, MDMs' files.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/key.h"
#include "gateway/ca/ca.h"
#include "gateway/core/config_reader.h"
#include "gateway/core/world_parts.h"
#include "scep/build.h"

#define RA_BITS_MIN 2048

/* What one certificate of an RA is for, as keyUsage names it. */
struct ra_use {
	const char *certificate_setting, *key_setting;
	unsigned usage; /* KU_* */
	bool present;   /* false: one that was replaced, and may have expired */
};

/* An RA as far as it could be loaded; NULL where it could not. */
struct ra_files {
	X509 *cert, *decrypt_cert;
	EVP_PKEY *key;
};

STACK_OF(X509) *
config_load_quietly(const char *path)
{
	STACK_OF(X509) *certs = NULL;
	struct err e;

	if (path[0] == '\0' || config_file_trouble(path) != NULL || x509_load_file(path, &certs, &e) != 0)
		return NULL;
	return certs;
}

static bool
holds_key_of(const char *path, const X509 *cert)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = config_load_quietly(path);
	int i;

	for (i = 0; certs != NULL && i < sk_X509_num(certs); i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(certs, i)), X509_get0_pubkey(cert)) == 1)
			return true;
	return false;
}

/* The CA whose key the certificate has; NULL: none, as it should be. */
static const struct config_ca *
ca_of_key(const struct config *config, const X509 *cert)
{
	size_t i, n;

	for (i = 0; i < config->ca_count; i++) {
		const struct config_ca *ca = &config->cas[i];

		if (holds_key_of(ca->certificate, cert) || holds_key_of(ca->next, cert))
			return ca;
		for (n = 0; n < ca->chain.count; n++)
			if (holds_key_of(ca->chain.at[n], cert))
				return ca;
	}
	return NULL;
}

/* These return whether there was nothing to complain about. */
static bool
check_key_kind(struct config_reader *r, size_t i, const struct ra_use *use, X509 *cert)
{
	const struct config_ca *ca;
	struct key_facts facts;
	char kind[24];

	key_facts_of(X509_get0_pubkey(cert), &facts);
	key_text(&facts, kind);
	if (facts.kind != KEY_RSA || facts.bits < RA_BITS_MIN) {
		config_complain(r, SECTION_RAS, i, use->certificate_setting,
			"its key is %s; an RA needs RSA of %d bits or more",
			facts.kind == KEY_OTHER ? "of another kind" : kind, RA_BITS_MIN);
		return false;
	}
	if (facts.weak != NULL) {
		config_complain(r, SECTION_RAS, i, use->key_setting, "%s: make a new key", facts.weak);
		return false;
	}
	ca = ca_of_key(r->config, cert);
	if (ca != NULL)
		config_complain(r, SECTION_RAS, i, use->key_setting,
			"this is a key of CA \"%s\"; who can decrypt requests must not be able to issue: give the RA a key "
			"of its own", ca->name);
	else if (X509_check_ca(cert) != 0)
		config_complain(r, SECTION_RAS, i, use->certificate_setting,
			"this is a CA's certificate; give the RA one of its own");
	return ca == NULL && X509_check_ca(cert) == 0;
}

static bool
check_usage(struct config_reader *r, size_t i, const struct ra_use *use, X509 *cert)
{
	unsigned missing = use->usage & ~X509_get_key_usage(cert); /* which is all bits without the extension */

	if (missing != 0)
		config_complain(r, SECTION_RAS, i, use->certificate_setting, "its keyUsage lacks %s",
			missing == KU_DIGITAL_SIGNATURE ? "digitalSignature" :
			missing == KU_KEY_ENCIPHERMENT ? "keyEncipherment" : "digitalSignature and keyEncipherment");
	return missing == 0;
}

/* One certificate and its key; the outputs, which may be NULL, are set only when all is well. */
static bool
check_ra_pair(struct config_reader *r, size_t i, const struct ra_use *use, const char *path, const char *uri,
	X509 **cert_out, EVP_PKEY **key_out)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs =
		config_load_certificates(r, SECTION_RAS, i, use->certificate_setting, path);
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	X509 *cert = certs == NULL ? NULL : sk_X509_value(certs, 0);
	bool good;
	struct err e;

	if (uri[0] == '\0')
		return false;
	if (key_open(uri, &key, &e) != 0)
		config_complain(r, SECTION_RAS, i, use->key_setting, "%s", e.text);
	if (key == NULL || cert == NULL)
		return false;
	good = X509_check_private_key(cert, key) == 1;
	if (!good)
		config_complain(r, SECTION_RAS, i, use->key_setting, "this is not the key of the certificate in %s", path);
	good = check_key_kind(r, i, use, cert) && good;
	good = check_usage(r, i, use, cert) && good;
	ERR_clear_error();
	if (!good || cert_out == NULL)
		return good;
	*cert_out = sk_X509_shift(certs);
	*key_out = key;
	key = NULL;
	return true;
}

static void
check_ra(struct config_reader *r, size_t i, struct ra_files *files)
{
	const struct config_ra *ra = &r->config->ras[i];
	bool apart = ra->decrypt_certificate[0] != '\0';
	struct ra_use sign = { "certificate", "key", KU_DIGITAL_SIGNATURE | (apart ? 0 : KU_KEY_ENCIPHERMENT), true };
	struct ra_use decrypt = { "decrypt_certificate", "decrypt_key", KU_KEY_ENCIPHERMENT, true };
	struct ra_use previous = { "previous_certificates", "previous_keys", KU_KEY_ENCIPHERMENT, false };
	EVP_PKEY *decrypt_key = NULL;
	size_t n;

	(void)check_ra_pair(r, i, &sign, ra->certificate, ra->key, &files->cert, &files->key);
	if (apart)
		(void)check_ra_pair(r, i, &decrypt, ra->decrypt_certificate, ra->decrypt_key, &files->decrypt_cert,
			&decrypt_key);
	EVP_PKEY_free(decrypt_key);
	for (n = 0; n < ra->previous_certificates.count && n < ra->previous_keys.count; n++)
		(void)check_ra_pair(r, i, &previous, ra->previous_certificates.at[n], ra->previous_keys.at[n], NULL, NULL);
}

STACK_OF(X509) *
config_load_chain(const struct config_ca *ca)
{
	STACK_OF(X509) *chain = config_load_quietly(ca->certificate);
	size_t n;

	for (n = 0; chain != NULL && n < ca->chain.count; n++) {
		CLEANUP(x509_stack) STACK_OF(X509) *more = config_load_quietly(ca->chain.at[n]);

		while (more != NULL && sk_X509_num(more) > 0)
			if (sk_X509_push(chain, sk_X509_value(more, 0)) > 0)
				(void)sk_X509_shift(more);
			else
				break;
	}
	return chain;
}

/* Whether the certificate leads to the last one of the chain through nothing but the chain. */
static bool
leads_to_top(X509 *cert, STACK_OF(X509) *chain)
{
	CLEANUP(X509_STORE) X509_STORE *store = X509_STORE_new();
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool good;

	good = store != NULL && ctx != NULL &&
		X509_STORE_add_cert(store, sk_X509_value(chain, sk_X509_num(chain) - 1)) == 1 &&
		/* Dates are told by other checks; a chain may end below its root. */
		X509_STORE_set_flags(store, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
		X509_STORE_CTX_init(ctx, store, cert, chain) == 1 && X509_verify_cert(ctx) == 1;
	ERR_clear_error();
	return good;
}

/* Apple's clients want that "all certificates must chain to one top", and the others lose nothing by it. */
static void
check_issuer(struct config_reader *r, size_t i, const struct ra_files *files)
{
	const struct config_label *label = &r->config->labels[i];
	const struct config_ca *ca = config_ca(r->config, label->ca);
	CLEANUP(x509_stack) STACK_OF(X509) *chain = ca == NULL ? NULL : config_load_chain(ca);

	if (chain == NULL)
		return;
	if ((files->cert != NULL && !leads_to_top(files->cert, chain)) ||
	    (files->decrypt_cert != NULL && !leads_to_top(files->decrypt_cert, chain)))
		config_complain(r, SECTION_LABELS, i, "scep_ra",
			"the certificate of \"%s\" was not issued by CA \"%s\" nor by one of its chain, so no device could "
			"check it: have it issued there", label->scep_ra, ca->name);
}

/* Tried out: a message to ourselves with the worst this label allows. */
static void
check_legacy(struct config_reader *r, size_t i, const struct ra_files *files)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	CLEANUP(buf) struct buf message = { 0 };
	struct scep_build build = {
		.type = SCEP_PKCS_REQ,
		.transaction = "check",
		.digest = SCEP_MD5,
		.cipher = SCEP_DES,
		.signer = files->cert,
		.signer_key = files->key,
		.recipients = recipients,
		.content = bytes_of_text("check"),
	};
	struct err e = { 0 };

	if (recipients != NULL && sk_X509_push(recipients, files->cert) > 0 && scep_build(&build, &message, &e) != 0)
		config_complain(r, SECTION_LABELS, i, "scep_legacy",
			"\"insecure-cisco\" needs MD5 and single DES: %s; install OpenSSL's legacy provider, or set \"none\"", e.text);
	sk_X509_free(recipients);
}

static void
check_label(struct config_reader *r, size_t i, const struct ra_files *files)
{
	const struct config_label *label = &r->config->labels[i];
	size_t n;

	if ((label->protocols & PROTOCOL_SCEP) == 0)
		return;
	for (n = 0; n < r->config->ra_count; n++)
		if (strcmp(r->config->ras[n].name, label->scep_ra) == 0) {
			check_issuer(r, i, &files[n]);
			if (label->scep_insecure && files[n].cert != NULL)
				check_legacy(r, i, &files[n]);
			return;
		}
}

static void
check_next(struct config_reader *r, size_t i)
{
	const struct config_ca *ca = &r->config->cas[i];
	CLEANUP(x509_stack) STACK_OF(X509) *next = config_load_certificates(r, SECTION_CAS, i, "next", ca->next);
	CLEANUP(x509_stack) STACK_OF(X509) *present = config_load_quietly(ca->certificate);

	if (next == NULL)
		return;
	if (X509_check_ca(sk_X509_value(next, 0)) != 1)
		config_complain(r, SECTION_CAS, i, "next", "%s: its first certificate is not a CA's (basicConstraints CA:TRUE)",
			ca->next);
	else if (present != NULL && X509_cmp(sk_X509_value(next, 0), sk_X509_value(present, 0)) == 0)
		config_complain(r, SECTION_CAS, i, "next", "this is the present certificate: name the one that follows it");
}

/* The last question, when all else is in order: the connector knows what its type needs. */
static void
check_mdm(struct config_reader *r, size_t i)
{
	const struct config_mdm *config = &r->config->mdms[i];
	const struct mdm_ops *ops;
	struct mdm *mdm = NULL;
	struct err e;

	x509_stack_free(config_load_certificates(r, SECTION_MDMS, i, "ca", config->ca));
	config_check_secret_file(r, SECTION_MDMS, i, config->secret_file);
	if (r->source->problems != 0)
		return;
	if (world_mdm_open(config, &ops, &mdm, &e) == 0)
		ops->close(mdm);
	else
		config_complain(r, SECTION_MDMS, i, "type", "%s", e.text);
}

void
config_check_scep_files(struct config_reader *r)
{
	const struct config *config = r->config;
	struct ra_files *files = calloc(config->ra_count + 1, sizeof *files);
	size_t i;

	if (files == NULL) {
		config_report(r, NULL, "no memory");
		return;
	}
	for (i = 0; i < config->ca_count; i++)
		check_next(r, i);
	for (i = 0; i < config->ra_count; i++)
		check_ra(r, i, &files[i]);
	for (i = 0; i < config->label_count; i++)
		check_label(r, i, files);
	for (i = 0; i < config->mdm_count; i++)
		check_mdm(r, i);
	for (i = 0; i < config->ra_count; i++) {
		X509_free(files[i].cert);
		X509_free(files[i].decrypt_cert);
		EVP_PKEY_free(files[i].key);
	}
	free(files);
}
