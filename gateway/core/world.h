/*
 * world.h - what a request is judged by: one configuration, loaded whole, swapped whole.
 */
#ifndef GATEWAY_CORE_WORLD_H
#define GATEWAY_CORE_WORLD_H

#include <semaphore.h>
#include <stdatomic.h>

#include "gateway/ca/ca.h"
#include "gateway/core/config.h"
#include "gateway/core/limiter.h"
#include "gateway/core/nonce.h"
#include "gateway/core/seal.h"
#include "gateway/core/trust.h"
#include "gateway/mdm/mdm.h"
#include "gateway/store/store.h"
#include "gateway/verifier/verifier.h"
#include "scep/message.h"

struct world_ca {
	const struct ca_ops *ops;
	struct ca *ca;
	STACK_OF(X509) *next;  /* of its file next; NULL: none */
	STACK_OF(X509) *cross; /* of its files cross; NULL: none */
	/* Certs-only messages (DER) of its whole group, encoded once: see world_group.c */
	struct buf cacerts;    /* /cacerts and /crts */
	int cacerts_count;
	struct buf coming;     /* what GetNextCACert signs; empty: nothing comes */
};

#define WORLD_RECIPIENTS_MAX (CONFIG_LIST_MAX + 2)

struct world_ra {
	X509 *cert;            /* signs answers */
	EVP_PKEY *key;
	X509 *decrypt_cert;    /* what devices encrypt to; the same as cert unless configured apart */
	struct scep_recipient recipients[WORLD_RECIPIENTS_MAX]; /* the present decryption key first, previous ones after */
	size_t recipient_count;
};

/* What SCEP answers for one label without looking at the request; made once. Empty for labels without SCEP. */
struct world_scep {
	struct buf caps;       /* GetCACaps */
	struct buf ca_cert;    /* GetCACert: one certificate, or a certs-only bundle when ca_cert_bundle */
	bool ca_cert_bundle;
	struct buf next;       /* GetNextCACert, signed; empty: none */
};

struct world_mdm {
	const struct mdm_ops *ops;
	struct mdm *mdm;
};

struct world_attester {
	const struct attest_ops *ops;     /* NULL: judged elsewhere (idevid, mdm, ear) */
	struct attest_settings settings;  /* its roots are this world's */
	STACK_OF(X509) *roots, *ek_roots; /* ek_roots NULL: the registry alone vouches for EKs */
	struct verifier *verifier;        /* ear */
	atomic_int answered;              /* its latest call: 0 none yet, 1 it answered, -1 it did not */
	EVP_PKEY *keys[EAR_KEYS_MAX];
};

/* What the rules may want of requests for one label. */
struct world_wants {
	bool evidence; /* in the request itself: csrattrs asks for it, and /nonce gives what it has to carry */
	bool binding;  /* attestation keys are bound for it: /tpm-bind */
};

/* Immutable and reference-counted; a request holds one from its first to its last line. */
struct world {
	struct config *config;
	struct trust_sets *trust;
	struct identity_rules *rules;
	struct world_ca *cas;  /* in the order of config->cas */
	struct world_ra *ras;  /* in the order of config->ras */
	struct world_mdm *mdms; /* in the order of config->mdms */
	struct world_attester *attesters; /* in the order of config->attesters */
	struct policy_rules *policy; /* NULL: no rules */
	struct world_wants *wants;   /* in the order of config->labels */
	struct world_scep *scep; /* in the order of config->labels */
	struct buf *csrattrs;  /* in the order of config->labels; DER, empty when none are configured */
	struct buf master;     /* keygen master octets; empty: none */
	STACK_OF(X509) *coap_certs; /* what CoAP sessions are served with, leaf first; NULL: no CoAP */
	EVP_PKEY *coap_key;
	X509 *signer;          /* the server's certificate and key: they sign generated key packages */
	EVP_PKEY *signer_key;
	atomic_int references;
};

/* The process: the store stays, the world is swapped on reload. */
struct gateway {
	const struct store_ops *store_ops;
	struct store *store;
	struct limiter *by_asset, *by_address;
	sem_t *work;           /* see work.h; NULL: any number */
	void (*refresh_metrics)(void *arg); /* before /metrics answers; NULL: nothing to do */
	void *refresh_arg;
	struct seal *seal;     /* for stored requests that hold a secret; NULL: these cannot be recorded */
	atomic_int mdm_calls;   /* under way */
	int mdm_calls_max;      /* past it requests are told to come back: a slow MDM does not take every worker; 0: any number */
	struct nonces *nonces;  /* NULL: none are given */
	struct sightings *sightings; /* where assets were seen lately; NULL: clones by place are not looked for */
	struct rule_limits *rule_limits; /* certificates by rule; NULL: limits have room always */
	struct crl_cache *crls; /* NULL: every revocation list is made anew */
	struct issuer *issuer; /* asks CAs elsewhere; NULL: none can be asked */
	struct limiter *strangers; /* how many refusals of nobody we know are recorded, by address; NULL: all */
};

/* Build everything a configuration names. ERR_* says what could not be loaded. Takes config over, on failure too. */
MUST_USE int world_load(struct config *config, struct world **out, struct err *e);

/* The present one, with a reference; world_put() gives it back. Never NULL once one was set. */
struct world *world_get(void);
void world_put(struct world *world);
/* Makes it the present one; requests under way keep theirs. Takes over the caller's reference. */
void world_swap(struct world *world);

/* Before it becomes the present one: the store learns what this policy version says, and what its CAs hand out. */
MUST_USE int world_enter(const struct gateway *gateway, const struct world *world, int64_t now_s, struct err *e);

/* Open a CA as configured; *out is the caller's, by (*ops)->close. For the world, and for checking a configuration. */
MUST_USE int world_ca_open(const struct config_ca *config, const struct ca_ops **ops, struct ca **out,
	struct err *e);

const struct world_ca *world_ca_of(const struct world *world, const char *name); /* never NULL: config is checked */
/* Does a certificate of CA b prove as much as one of CA a? The same, or of one trust group. b may be gone by now. */
bool world_same_group(const struct world *world, const char *a, const char *b);
/* Whose key signed this certificate (DER): ca's, or another generation's of the same service (of its group, with the same type
   and url). NULL: nobody's that is known here. */
const struct config_ca *world_generation_of(const struct world *world, const struct config_ca *ca, struct bytes cert);
/* The same search, and the CA certificate with that key, which may be the one of ca's file next. Borrowed. */
X509 *world_signer_of(const struct world *world, const struct config_ca *ca, struct bytes cert);
/* Its chain is valid; of one elsewhere, that of any generation of its service is. ERR_UPSTREAM says what is wrong with its own. */
MUST_USE int world_ca_is_valid(const struct world *world, const struct config_ca *ca, int64_t now_s, struct err *e);
/* The chain for handing a certificate out, issuer first: of the entry that issued it, by name; of the label's CA when that entry
   is gone. Borrowed. */
const STACK_OF(X509) *world_chain_of(const struct world *world, const struct config_label *label, const char *ca_name,
	struct bytes cert);
/* Is this the name of a CA of the label's group, or of one above it? */
bool world_knows_name(const struct world *world, const struct config_label *label, const X509_NAME *name);
/* Is it what this CA calls itself, now or next, as issuer of certificates? */
bool world_ca_is(const struct world_ca *ca, const X509_NAME *name);
const struct world_ra *world_ra_of(const struct world *world, const char *name); /* NULL: none of that name */
const struct world_mdm *world_mdm_of(const struct world *world, const char *name); /* NULL: none of that name */
const struct world_attester *world_attester_of(const struct world *world, const char *name); /* NULL: none of that name */
const struct world_wants *world_wants_of(const struct world *world, const struct config_label *label);
/* Does some rule that can match this label name the attester? */
bool world_may_use(const struct world *world, const struct config_label *label, const char *attester);
const struct world_scep *world_scep_of(const struct world *world, const struct config_label *label);
const struct buf *world_csrattrs_of(const struct world *world, const struct config_label *label);

#endif
