/*
 * Trust groups: CAs that vouch for the same fleet, as generations of one service (succeeds) or as each other's
 * stand-ins (failover).
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "gateway/core/log.h"
#include "gateway/core/world_parts.h"

static void
borrowing_free(STACK_OF(X509) *certs)
{
	sk_X509_free(certs);
}
DEFINE_CLEANUP(borrowing, STACK_OF(X509) *, borrowing_free);

bool
certs_take_all(STACK_OF(X509) **certs, STACK_OF(X509) *more)
{
	bool good;

	if (*certs == NULL)
		*certs = sk_X509_new_null();
	good = *certs != NULL;
	while (good && more != NULL && sk_X509_num(more) > 0) {
		good = sk_X509_push(*certs, sk_X509_value(more, 0)) > 0;
		if (good)
			(void)sk_X509_shift(more);
	}
	x509_stack_free(more);
	return good;
}

static bool
same_group(const struct config_ca *a, const struct config_ca *b)
{
	return strcmp(a->name, b->name) == 0 || (a->group[0] != '\0' && strcmp(a->group, b->group) == 0);
}

bool
world_same_group(const struct world *world, const char *a, const char *b)
{
	const struct config_ca *one = config_ca(world->config, a), *other = config_ca(world->config, b);

	if (strcmp(a, b) == 0)
		return true;
	return one != NULL && other != NULL && same_group(one, other);
}

size_t
group_successor(const struct config *config, size_t ca)
{
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (i != ca && strcmp(config->cas[i].succeeds, config->cas[ca].name) == 0)
			break;
	return i;
}

static size_t
predecessor(const struct config *config, size_t ca)
{
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (i != ca && strcmp(config->cas[ca].succeeds, config->cas[i].name) == 0)
			break;
	return i;
}

/* Each certificate once. certs may be NULL. */
static int
add_all(STACK_OF(X509) *out, const STACK_OF(X509) *certs, struct err *e)
{
	int i, k;

	for (i = 0; certs != NULL && i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);

		for (k = 0; k < sk_X509_num(out) && X509_cmp(sk_X509_value(out, k), cert) != 0; k++)
			;
		if (k == sk_X509_num(out) && sk_X509_push(out, cert) <= 0)
			return err_set(e, ERR_NOMEM, "no memory for CA certificates");
	}
	return 0;
}

/* RFC 4210, section 4.4.1: "old with new" and "new with old". */
static int
add_cross(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out, struct err *e)
{
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (same_group(&config->cas[ca], &config->cas[i]) && add_all(out, certs[i].cross, e) != 0)
			return -1;
	return 0;
}

/* What takes over from a CA: the entry that succeeds it, or the file of its next; never both (config_group.c). */
static int
add_coming(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out, struct err *e)
{
	size_t next = group_successor(config, ca);

	if (next < config->ca_count && add_all(out, certs[next].chain, e) != 0)
		return -1;
	return add_all(out, certs[ca].next, e);
}

/*
 * RFC 7030, section 4.1.3: "The EST server MUST include the current root CA certificate in the response. The EST server
 * MUST include any additional certificates the client would need to build a chain from an EST CA-issued certificate to the
 * current EST CA TA." That is the chain, and it stands first: clients that take only what they need begin there. "The EST
 * server SHOULD include the three "Root CA Key Update" certificates OldWithOld, OldWithNew, and NewWithOld": OldWithOld is
 * in the chain of the old generation; the other two are cross certificates.
 */
int
group_cacerts(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out, struct err *e)
{
	size_t i, steps = 0;

	if (add_all(out, certs[ca].chain, e) != 0 || add_coming(config, certs, ca, out, e) != 0)
		return -1;
	/* No more steps than CAs: a file with a circle is refused, but may be on its way to be. */
	for (i = predecessor(config, ca); i < config->ca_count && steps < config->ca_count; i = predecessor(config, i), steps++)
		if (add_all(out, certs[i].chain, e) != 0)
			return -1;
	for (i = 0; i < config->ca_count; i++)
		if (same_group(&config->cas[ca], &config->cas[i]) &&
		    (add_all(out, certs[i].chain, e) != 0 || add_all(out, certs[i].next, e) != 0))
			return -1;
	return add_cross(config, certs, ca, out, e);
}

/*
 * RFC 8894, section 4.7.1: "the new CA certificate(s) to be used when the current CA certificate expires". The cross
 * certificates let a client check the new one by the old, which it trusts, and the old one's certificates by the new.
 */
int
group_next(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out, struct err *e)
{
	if (add_coming(config, certs, ca, out, e) != 0)
		return -1;
	return sk_X509_num(out) == 0 ? 0 : add_cross(config, certs, ca, out, e);
}

static struct group_certs
certs_of(const struct world_ca *ca)
{
	return (struct group_certs){ .chain = ca->ops->chain(ca->ca), .next = ca->next, .cross = ca->cross };
}

static X509 *
top_of(const STACK_OF(X509) *chain)
{
	return sk_X509_value(chain, sk_X509_num(chain) - 1);
}

/* Names and key identifiers tell at once whose it is not; the signature tells for certain. */
static bool
signed_by(X509 *cert, X509 *issuer)
{
	bool is = X509_check_issued(issuer, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(issuer)) == 1;

	ERR_clear_error();
	return is;
}

/* Is one of these the root's key certified by one of that chain, and good today? */
static bool
has_cross(const STACK_OF(X509) *cross, const X509 *root, const STACK_OF(X509) *by)
{
	int i, k;

	for (i = 0; cross != NULL && i < sk_X509_num(cross); i++) {
		X509 *cert = sk_X509_value(cross, i);

		if (EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(root)) != 1 ||
		    X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
			continue;
		for (k = 0; k < sk_X509_num(by); k++)
			if (signed_by(cert, sk_X509_value(by, k)))
				return true;
	}
	return false;
}

/* Another of the group that vouches for the old root is of no use to whoever trusts the new one alone. */
static bool
is_vouched_for(const struct config *config, const struct group_certs *certs, size_t old, size_t new)
{
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (same_group(&config->cas[old], &config->cas[i]) &&
		    has_cross(certs[i].cross, top_of(certs[old].chain), certs[new].chain))
			return true;
	return false;
}

/*
 * RFC 7030, section 4.1.3: "all the other certificates MUST be validated using normal [RFC5280] certificate path validation
 * (using the most recent CA certificate as the TA) before they can be used". Whoever does that and has no OldWithNew drops
 * the old root, and does not know this gateway any more by a server certificate from there.
 */
static void
warn_of_lone_root(const struct config *config, const struct group_certs *certs, size_t old)
{
	size_t new = group_successor(config, old);

	if (new >= config->ca_count || X509_cmp(top_of(certs[old].chain), top_of(certs[new].chain)) == 0 ||
	    is_vouched_for(config, certs, old, new))
		return;
	log_text(LOG_LEVEL_WARN, "ca", "\"%s\" succeeds \"%s\" with another root, and no certificate in cross says that the new "
		"root vouches for the old one: devices that trust the newest root alone will not know what the old one certified, "
		"this gateway's TLS certificate, perhaps", config->cas[new].name, config->cas[old].name);
}

int
world_group_load(struct world *world, struct err *e)
{
	const struct config *config = world->config;
	struct group_certs *certs = calloc(config->ca_count + 1, sizeof *certs);
	int result = 0;
	size_t i;

	if (certs == NULL)
		return err_set(e, ERR_NOMEM, "no memory for CA certificates");
	for (i = 0; i < config->ca_count; i++)
		certs[i] = certs_of(&world->cas[i]);
	for (i = 0; result == 0 && i < config->ca_count; i++) {
		CLEANUP(borrowing) STACK_OF(X509) *all = sk_X509_new_null();
		CLEANUP(borrowing) STACK_OF(X509) *coming = sk_X509_new_null();
		struct world_ca *ca = &world->cas[i];

		if (all == NULL || coming == NULL)
			result = err_set(e, ERR_NOMEM, "no memory for CA certificates");
		else if (group_cacerts(config, certs, i, all, e) != 0 || group_next(config, certs, i, coming, e) != 0 ||
			 world_certs_encode(all, &ca->cacerts, e) != 0 ||
			 (sk_X509_num(coming) > 0 && world_certs_encode(coming, &ca->coming, e) != 0))
			result = err_prefix(e, "CA \"%s\"", config->cas[i].name);
		else
			ca->cacerts_count = sk_X509_num(all);
	}
	for (i = 0; result == 0 && i < config->ca_count; i++)
		warn_of_lone_root(config, certs, i);
	free(certs);
	return result;
}

static X509 *
issuing(const struct world_ca *ca)
{
	return sk_X509_value(ca->ops->chain(ca->ca), 0);
}

/* Behind the same url, as the next key of the same CA. A stand-in with a url of its own is another CA. */
static bool
same_service(const struct config_ca *a, const struct config_ca *b)
{
	return same_group(a, b) && strcmp(a->type, b->type) == 0 && strcmp(a->url, b->url) == 0;
}

/* The issuing certificate and its entry; false: none that is known here. */
static bool
find_signer(const struct world *world, const struct config_ca *ca, X509 *cert, const struct config_ca **generation,
	X509 **signer)
{
	const struct config *config = world->config;
	size_t own = (size_t)(ca - config->cas), i, k;

	for (i = 0; i < config->ca_count; i++) {
		k = i == 0 ? own : i <= own ? i - 1 : i; /* its own first, then the others in their order */
		if (!same_service(ca, &config->cas[k]) || !signed_by(cert, issuing(&world->cas[k])))
			continue;
		*generation = &config->cas[k];
		*signer = issuing(&world->cas[k]);
		return true;
	}
	if (world->cas[own].next == NULL || !signed_by(cert, sk_X509_value(world->cas[own].next, 0)))
		return false;
	*generation = ca;
	*signer = sk_X509_value(world->cas[own].next, 0);
	return true;
}

const struct config_ca *
world_generation_of(const struct world *world, const struct config_ca *ca, struct bytes cert)
{
	const struct config_ca *generation = NULL;
	X509 *parsed = NULL, *signer = NULL;
	struct err e;

	if (x509_from_der(cert, &parsed, &e) != 0)
		return NULL;
	(void)find_signer(world, ca, parsed, &generation, &signer);
	X509_free(parsed);
	return generation;
}

int
world_ca_is_valid(const struct world *world, const struct config_ca *ca, int64_t now_s, struct err *e)
{
	const struct config *config = world->config;
	const struct world_ca *own = &world->cas[ca - config->cas];
	struct err other;
	size_t i;

	if (ca_chain_is_valid(own->ops->chain(own->ca), now_s, e) == 0)
		return 0;
	if (!own->ops->remote) /* issues by this chain alone */
		return -1;
	if (own->next != NULL && ca_chain_is_valid(own->next, now_s, &other) == 0)
		return 0;
	for (i = 0; i < config->ca_count; i++)
		if (same_service(ca, &config->cas[i]) &&
		    ca_chain_is_valid(world->cas[i].ops->chain(world->cas[i].ca), now_s, &other) == 0)
			return 0;
	return -1;
}

X509 *
world_signer_of(const struct world *world, const struct config_ca *ca, struct bytes cert)
{
	const struct config_ca *generation = NULL;
	X509 *parsed = NULL, *signer = NULL;
	struct err e;

	if (x509_from_der(cert, &parsed, &e) != 0)
		return NULL;
	(void)find_signer(world, ca, parsed, &generation, &signer);
	X509_free(parsed);
	return signer;
}

/* Nobody's word is believed here: whoever verifies the chain looks at signatures. */
static bool
is_by_next(const struct world_ca *ca, struct bytes cert)
{
	X509 *parsed = NULL;
	struct err e;
	bool is;

	if (ca->next == NULL || x509_from_der(cert, &parsed, &e) != 0)
		return false;
	is = X509_check_issued(issuing(ca), parsed) != X509_V_OK &&
		X509_check_issued(sk_X509_value(ca->next, 0), parsed) == X509_V_OK;
	ERR_clear_error();
	X509_free(parsed);
	return is;
}

const STACK_OF(X509) *
world_chain_of(const struct world *world, const struct config_label *label, const char *ca_name, struct bytes cert)
{
	bool there = config_ca(world->config, ca_name) != NULL;
	const struct world_ca *ca = world_ca_of(world, there ? ca_name : label->ca);

	return is_by_next(ca, cert) ? ca->next : ca->ops->chain(ca->ca);
}

static bool
has_name(const STACK_OF(X509) *certs, const X509_NAME *name)
{
	int i;

	for (i = 0; certs != NULL && i < sk_X509_num(certs); i++)
		if (X509_NAME_cmp(name, X509_get_subject_name(sk_X509_value(certs, i))) == 0 ||
		    X509_NAME_cmp(name, X509_get_issuer_name(sk_X509_value(certs, i))) == 0)
			return true;
	return false;
}

bool
world_knows_name(const struct world *world, const struct config_label *label, const X509_NAME *name)
{
	size_t i;

	for (i = 0; i < world->config->ca_count; i++) {
		const struct world_ca *ca = &world->cas[i];

		if (world_same_group(world, label->ca, world->config->cas[i].name) &&
		    (has_name(ca->ops->chain(ca->ca), name) || has_name(ca->next, name)))
			return true;
	}
	return false;
}

bool
world_ca_is(const struct world_ca *ca, const X509_NAME *name)
{
	return X509_NAME_cmp(name, X509_get_subject_name(issuing(ca))) == 0 ||
		(ca->next != NULL && X509_NAME_cmp(name, X509_get_subject_name(sk_X509_value(ca->next, 0))) == 0);
}
