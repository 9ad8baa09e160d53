#define _GNU_SOURCE
#include "gateway/core/world_parts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/outbound/secret.h"

#define MASTER_MIN 32
#define MASTER_MAX 1024

static pthread_mutex_t present_lock = PTHREAD_MUTEX_INITIALIZER;
static struct world *present;

static void
free_scep(struct world *world)
{
	const struct config *config = world->config;
	size_t i;

	for (i = 0; world->ras != NULL && i < config->ra_count; i++)
		world_ra_clear(&world->ras[i]);
	for (i = 0; world->mdms != NULL && i < config->mdm_count; i++)
		if (world->mdms[i].mdm != NULL)
			world->mdms[i].ops->close(world->mdms[i].mdm);
	for (i = 0; world->scep != NULL && i < config->label_count; i++)
		world_scep_clear(&world->scep[i]);
	free(world->ras);
	free(world->mdms);
	free(world->scep);
}

static void
world_free(struct world *world)
{
	size_t i;

	if (world == NULL)
		return;
	free_scep(world);
	world_policy_clear(world);
	for (i = 0; world->cas != NULL && i < world->config->ca_count; i++) {
		if (world->cas[i].ca != NULL)
			world->cas[i].ops->close(world->cas[i].ca);
		x509_stack_free(world->cas[i].next);
		x509_stack_free(world->cas[i].cross);
		buf_free(&world->cas[i].cacerts);
		buf_free(&world->cas[i].coming);
	}
	for (i = 0; world->csrattrs != NULL && i < world->config->label_count; i++)
		buf_free(&world->csrattrs[i]);
	free(world->cas);
	free(world->csrattrs);
	buf_free_secret(&world->master);
	x509_stack_free(world->coap_certs);
	EVP_PKEY_free(world->coap_key);
	X509_free(world->signer);
	EVP_PKEY_free(world->signer_key);
	identity_rules_free(world->rules);
	trust_free(world->trust);
	config_free(world->config);
	free(world);
}

DEFINE_CLEANUP(world, struct world *, world_free);

int
world_certs_encode(const STACK_OF(X509) *stack, struct buf *out, struct err *e)
{
	struct bytes certs[EST_CERTS_MAX];
	struct buf ders[EST_CERTS_MAX] = { 0 };
	int count = sk_X509_num(stack), i, result = 0;

	if (count < 1 || count > EST_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "%d certificates; 1 to %d are possible", count, EST_CERTS_MAX);
	for (i = 0; i < count && result == 0; i++) {
		result = x509_to_der(sk_X509_value(stack, i), &ders[i], e);
		certs[i] = buf_bytes(&ders[i]);
	}
	if (result == 0)
		result = est_certs_encode(certs, (size_t)count, out, e);
	for (i = 0; i < count; i++)
		buf_free(&ders[i]);
	return result;
}

static const char *
text_or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

/* chain: room for the paths. */
static struct ca_settings
ca_settings_of(const struct config_ca *config, const char **chain)
{
	size_t i;

	for (i = 0; i < config->chain.count; i++)
		chain[i] = config->chain.at[i];
	return (struct ca_settings){
		.name = config->name,
		.type = config->type,
		.certificate = config->certificate,
		.key = config->key,
		.chain = chain,
		.chain_count = config->chain.count,
		.crl_url = text_or_null(config->crl_url),
		.ocsp_url = text_or_null(config->ocsp_url),
		.issuer_url = text_or_null(config->issuer_url),
		.url = text_or_null(config->url),
		.tls_ca = text_or_null(config->tls_ca),
		.allow_plain = config->allow_plain,
		.client_cert = text_or_null(config->client_cert),
		.client_key = text_or_null(config->client_key),
		.secret_file = text_or_null(config->secret_file),
		.connect_ms = config->deadline_s * 1000 / 3,
		.deadline_ms = config->deadline_s * 1000,
		.calls_max = (size_t)config->calls,
		.profile = text_or_null(config->profile),
		.end_entity_profile = text_or_null(config->end_entity_profile),
		.authority = text_or_null(config->authority),
		.user = text_or_null(config->user),
		.key_file = text_or_null(config->key_file),
		.auth = text_or_null(config->auth),
	};
}

int
world_ca_open(const struct config_ca *config, const struct ca_ops **ops, struct ca **out, struct err *e)
{
	const char *chain[CONFIG_LIST_MAX];
	struct ca_settings settings = ca_settings_of(config, chain);

	*ops = ca_ops_of(config->type);
	if (*ops == NULL)
		return err_set(e, ERR_UNSUPPORTED, "unknown type \"%s\"", config->type);
	return (*ops)->open(&settings, out, e);
}

static int
load_cross(const struct config_ca *config, struct world_ca *out, struct err *e)
{
	size_t i;

	for (i = 0; i < config->cross.count; i++) {
		STACK_OF(X509) *certs = NULL;

		if (x509_load_file(config->cross.at[i], &certs, e) != 0)
			return -1;
		if (!certs_take_all(&out->cross, certs))
			return err_set(e, ERR_NOMEM, "no memory for cross certificates");
	}
	return 0;
}

static int
load_ca(const struct config_ca *config, struct world_ca *out, struct err *e)
{
	if (world_ca_open(config, &out->ops, &out->ca, e) != 0 ||
	    (config->next[0] != '\0' && x509_load_file(config->next, &out->next, e) != 0) || load_cross(config, out, e) != 0)
		return err_prefix(e, "CA \"%s\"", config->name);
	return 0;
}

int
world_master_load(const char *source, struct buf *out, struct err *e)
{
	if (source[0] == '\0')
		return 0;
	if (secret_read(source, MASTER_MIN, SECRET_KEY_MAX, out, e) != 0)
		return -1;
	out->len = out->len < MASTER_MAX ? out->len : MASTER_MAX; /* what stands behind never counted */
	return 0;
}

/* The server's own certificate signs the key packages it generates (RFC 7030, section 4.4.2). */
static int
load_signer(struct world *world, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

	if (x509_load_file(world->config->tls_certificate, &certs, e) != 0 ||
	    key_open(world->config->tls_key, &world->signer_key, e) != 0)
		return -1;
	world->signer = sk_X509_shift(certs);
	return 0;
}

static int
load_coap(struct world *world, struct err *e)
{
	const struct config *config = world->config;
	bool own = config->coap_certificate[0] != '\0';

	if (config->listen_coaps.count == 0)
		return 0;
	if (x509_load_file(own ? config->coap_certificate : config->tls_certificate, &world->coap_certs, e) != 0 ||
	    key_open(own ? config->coap_key : config->tls_key, &world->coap_key, e) != 0)
		return err_prefix(e, "coap");
	return 0;
}

static int
load_mdm(const struct config_mdm *config, struct world_mdm *out, struct err *e)
{
	if (world_mdm_open(config, &out->ops, &out->mdm, e) != 0)
		return err_prefix(e, "MDM \"%s\"", config->name);
	return 0;
}

/* In this order: the answers of labels are made of CAs and RAs. */
static int
load_entries(struct world *world, struct err *e)
{
	const struct config *config = world->config;
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (load_ca(&config->cas[i], &world->cas[i], e) != 0)
			return -1;
	if (world_group_load(world, e) != 0)
		return -1;
	for (i = 0; i < config->ra_count; i++)
		if (world_ra_load(&config->ras[i], &world->ras[i], e) != 0)
			return -1;
	for (i = 0; i < config->mdm_count; i++)
		if (load_mdm(&config->mdms[i], &world->mdms[i], e) != 0)
			return -1;
	if (world_policy_load(world, e) != 0)
		return -1;
	for (i = 0; i < config->label_count; i++)
		if (world_csrattrs_load(world, &config->labels[i], &world->csrattrs[i], e) != 0 ||
		    world_scep_load(world, &config->labels[i], &world->scep[i], e) != 0)
			return -1;
	return 0;
}

static int
load_all(struct world *world, struct err *e)
{
	const struct config *config = world->config;

	world->cas = calloc(config->ca_count + 1, sizeof *world->cas);
	world->ras = calloc(config->ra_count + 1, sizeof *world->ras);
	world->mdms = calloc(config->mdm_count + 1, sizeof *world->mdms);
	world->scep = calloc(config->label_count + 1, sizeof *world->scep);
	world->csrattrs = calloc(config->label_count + 1, sizeof *world->csrattrs);
	if (world->cas == NULL || world->ras == NULL || world->mdms == NULL || world->scep == NULL ||
	    world->csrattrs == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the configuration");
	if (trust_load(config, &world->trust, e) != 0 ||
	    identity_rules_new(config->identity, config->identity_count, &world->rules, e) != 0 ||
	    world_master_load(config->keygen_master, &world->master, e) != 0 || load_signer(world, e) != 0 ||
	    load_coap(world, e) != 0)
		return -1;
	return load_entries(world, e);
}

int
world_load(struct config *config, struct world **out, struct err *e)
{
	CLEANUP(world) struct world *world = calloc(1, sizeof *world);

	if (world == NULL) {
		config_free(config);
		return err_set(e, ERR_NOMEM, "no memory for the configuration");
	}
	world->config = config;
	atomic_init(&world->references, 1);
	if (load_all(world, e) != 0)
		return -1;
	*out = world;
	world = NULL;
	return 0;
}

struct world *
world_get(void)
{
	struct world *world;

	(void)pthread_mutex_lock(&present_lock);
	world = present;
	if (world != NULL)
		atomic_fetch_add(&world->references, 1);
	(void)pthread_mutex_unlock(&present_lock);
	return world;
}

void
world_put(struct world *world)
{
	if (world != NULL && atomic_fetch_sub(&world->references, 1) == 1)
		world_free(world);
}

void
world_swap(struct world *world)
{
	struct world *old;

	(void)pthread_mutex_lock(&present_lock);
	old = present;
	present = world;
	(void)pthread_mutex_unlock(&present_lock);
	world_put(old);
}

const struct world_ca *
world_ca_of(const struct world *world, const char *name)
{
	size_t i;

	for (i = 0; i + 1 < world->config->ca_count; i++)
		if (strcmp(world->config->cas[i].name, name) == 0)
			break;
	return &world->cas[i];
}

const struct buf *
world_csrattrs_of(const struct world *world, const struct config_label *label)
{
	return &world->csrattrs[label - world->config->labels];
}
