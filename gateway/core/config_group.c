/*
 * The checks of trust groups: which generation follows which, what stands in for what, and whether the certificates that are
 * handed out for a group belong together.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "est/body.h"
#include "gateway/ca/ca.h"
#include "gateway/core/config_reader.h"
#include "gateway/core/world_parts.h"

#define COAP_LEAF_ROOM 8192 /* octets of an issued certificate, in an answer with others */

static bool
is_elsewhere(const struct config_ca *ca)
{
	const struct ca_ops *ops = ca_ops_of(ca->type);

	return ops != NULL && ops->remote;
}

static bool
same_group(const struct config_ca *a, const struct config_ca *b)
{
	return a == b || (a->group[0] != '\0' && strcmp(a->group, b->group) == 0);
}

/* Whoever follows the names from here comes by here again. */
static bool
goes_in_a_circle(const struct config *config, const struct config_ca *from)
{
	const struct config_ca *at = from;
	size_t steps;

	for (steps = 0; at != NULL && steps <= config->ca_count; steps++) {
		at = at->succeeds[0] == '\0' ? NULL : config_ca(config, at->succeeds);
		if (at == from)
			return true;
	}
	return false;
}

static void
check_succeeds(struct config_reader *r, size_t i)
{
	const struct config *config = r->config;
	const struct config_ca *ca = &config->cas[i], *old;
	size_t k;

	if (!config_check_reference(r, SECTION_CAS, i, "succeeds", SECTION_CAS, ca->succeeds) || ca->succeeds[0] == '\0')
		return;
	old = config_ca(config, ca->succeeds);
	if (goes_in_a_circle(config, ca)) {
		config_complain(r, SECTION_CAS, i, "succeeds", "it would succeed itself: name the CA that came before it");
		return;
	}
	if (!same_group(ca, old))
		config_complain(r, SECTION_CAS, i, "succeeds",
			"\"%s\" is not in its group: give both the same group, so that devices of the old one get the "
			"certificates of the new one", old->name);
	for (k = 0; k < i; k++)
		if (&config->cas[k] != old && strcmp(config->cas[k].succeeds, old->name) == 0) {
			config_complain(r, SECTION_CAS, i, "succeeds", "\"%s\" succeeds \"%s\" already: one generation follows "
				"another", config->cas[k].name, old->name);
			return;
		}
	if (old->next[0] != '\0')
		config_complain(r, SECTION_CAS, (size_t)(old - config->cas), "next",
			"\"%s\" succeeds this CA, and its certificates are what comes next: take next out", ca->name);
}

static void
check_failover(struct config_reader *r, size_t i)
{
	const struct config_ca *ca = &r->config->cas[i], *other;
	size_t n, k;

	if (ca->failover_count != 0 && ca_ops_of(ca->type) != NULL && !is_elsewhere(ca))
		config_complain(r, SECTION_CAS, i, "failover", "a CA of type \"%s\" is in this process: it does not fail alone",
			ca->type);
	for (n = 0; n < ca->failover_count; n++) {
		if (ca->failover[n][0] == '\0' ||
		    !config_check_reference(r, SECTION_CAS, i, "failover", SECTION_CAS, ca->failover[n]))
			continue;
		other = config_ca(r->config, ca->failover[n]);
		for (k = 0; k < n && strcmp(ca->failover[k], ca->failover[n]) != 0; k++)
			;
		if (k < n)
			config_complain(r, SECTION_CAS, i, "failover", "\"%s\" stands there twice", other->name);
		else if (other == ca)
			config_complain(r, SECTION_CAS, i, "failover", "it cannot stand in for itself");
		else if (!same_group(ca, other))
			config_complain(r, SECTION_CAS, i, "failover", "\"%s\" is not in its group: devices would get certificates "
				"that nobody expects", other->name);
		else if (ca_ops_of(other->type) != NULL && !is_elsewhere(other))
			config_complain(r, SECTION_CAS, i, "failover", "\"%s\" is in this process; only a CA elsewhere stands in",
				other->name);
	}
}

void
config_check_group(struct config_reader *r)
{
	size_t i;

	for (i = 0; i < r->config->ca_count; i++) {
		check_succeeds(r, i);
		check_failover(r, i);
	}
}

/* What the files of one CA hold; NULL where they cannot be read, or there are none. */
struct files {
	STACK_OF(X509) *chain, *next, *cross;
};

static bool
is_ca_of(X509 *cert, const STACK_OF(X509) *certs)
{
	int i;

	for (i = 0; certs != NULL && i < sk_X509_num(certs); i++) {
		X509 *ca = sk_X509_value(certs, i);

		if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_subject_name(ca)) == 0 &&
		    EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(ca)) == 1)
			return true;
	}
	return false;
}

static bool
is_signed_by(X509 *cert, const STACK_OF(X509) *certs)
{
	int i;

	for (i = 0; certs != NULL && i < sk_X509_num(certs); i++) {
		X509 *ca = sk_X509_value(certs, i);

		if (X509_check_issued(ca, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(ca)) == 1)
			return true;
	}
	return false;
}

/* A cross certificate says of a key that devices know that another key they know vouches for it; nothing else belongs there. */
static const char *
trouble_with(const struct config *config, const struct files *files, size_t i, X509 *cert)
{
	bool named = false, vouched = false;
	size_t k;

	if (X509_check_ca(cert) != 1)
		return "is not a CA's (basicConstraints CA:TRUE, keyUsage keyCertSign)";
	if (X509_verify(cert, X509_get0_pubkey(cert)) == 1)
		return "is signed by itself: it belongs in chain";
	for (k = 0; k < config->ca_count; k++) {
		if (!same_group(&config->cas[i], &config->cas[k]))
			continue;
		named = named || is_ca_of(cert, files[k].chain) || is_ca_of(cert, files[k].next);
		vouched = vouched || is_signed_by(cert, files[k].chain) || is_signed_by(cert, files[k].next);
	}
	if (!named)
		return "has not the name and key of a CA of this group";
	return vouched ? NULL : "was not signed by a CA of this group";
}

static void
check_cross(struct config_reader *r, const struct files *files, size_t i)
{
	const struct config_ca *ca = &r->config->cas[i];
	size_t n;
	int c;

	for (n = 0; n < ca->cross.count; n++) {
		CLEANUP(x509_stack) STACK_OF(X509) *certs = config_load_quietly(ca->cross.at[n]);

		for (c = 0; certs != NULL && c < sk_X509_num(certs); c++) {
			const char *trouble = trouble_with(r->config, files, i, sk_X509_value(certs, c));

			if (trouble != NULL)
				config_complain(r, SECTION_CAS, i, "cross", "%s: certificate %d %s", ca->cross.at[n], c + 1, trouble);
		}
	}
	ERR_clear_error();
}

/*
 * Two entries for one issuing key of a group: front ends of one CA, each with its url, may stand in for each other, and whoever asks
 * for a revocation list asks the CA. Two generations they are not. Nor may a CA in this process be there twice: each entry would
 * sign a list of its own, with half of what is revoked, and a device that finds the other half trusts a thief.
 */
static void
check_twins(struct config_reader *r, const struct files *files, size_t i)
{
	const struct config_ca *ca = &r->config->cas[i];
	size_t k;

	for (k = 0; files[i].chain != NULL && k < i; k++) {
		const struct config_ca *other = &r->config->cas[k];
		bool generations = strcmp(ca->succeeds, other->name) == 0 || strcmp(other->succeeds, ca->name) == 0;

		if (!same_group(ca, other) || files[k].chain == NULL ||
		    X509_NAME_cmp(X509_get_subject_name(sk_X509_value(files[i].chain, 0)),
			    X509_get_subject_name(sk_X509_value(files[k].chain, 0))) != 0 ||
		    EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(files[i].chain, 0)),
			    X509_get0_pubkey(sk_X509_value(files[k].chain, 0))) != 1)
			continue;
		if (generations)
			config_complain(r, SECTION_CAS, i, "succeeds", "it has the name and key of \"%s\": a certificate that was only "
				"renewed takes the old one's place in the same entry", other->name);
		else if (!is_elsewhere(ca) || !is_elsewhere(other) || strcmp(ca->url, other->url) == 0)
			config_complain(r, SECTION_CAS, i, "certificate", "CA \"%s\" of this group has the same name and key, and "
				"%s: one entry is enough", other->name,
				is_elsewhere(ca) ? "the same url" : "a CA in this process has one revocation list");
	}
}

/* Into *len, how many octets a message with these certificates has; false: there is none, or too many for one. */
static bool
measure(const STACK_OF(X509) *certs, size_t *len)
{
	CLEANUP(buf) struct buf message = { 0 };
	struct err e;

	if (certs == NULL || sk_X509_num(certs) < 1 || sk_X509_num(certs) > EST_CERTS_MAX ||
	    world_certs_encode(certs, &message, &e) != 0)
		return false;
	*len = message.len;
	return true;
}

/* Who is sent the chain of an issuer along with a certificate gets that of whichever CA of the group issued it. */
static size_t
longest_chain(const struct config *config, const struct files *files, size_t i)
{
	size_t longest = 0, len, k;

	for (k = 0; k < config->ca_count; k++) {
		if (!same_group(&config->cas[i], &config->cas[k]))
			continue;
		if (measure(files[k].chain, &len) && len > longest)
			longest = len;
		if (measure(files[k].next, &len) && len > longest)
			longest = len;
	}
	return longest;
}

/* Of labels that speak CoAP, where an answer that is too long is none: the device would hear of an internal error, and nothing else. */
static void
check_coap_size(struct config_reader *r, const struct files *files, size_t i, const STACK_OF(X509) *all)
{
	const struct config *config = r->config;
	size_t len = 0, chain, k;

	if (!measure(all, &len))
		return;
	for (k = 0; k < config->label_count; k++) {
		const struct config_label *label = &config->labels[k];

		if ((label->protocols & PROTOCOL_COAP) == 0 || strcmp(label->ca, config->cas[i].name) != 0)
			continue;
		chain = label->include_chain ? longest_chain(config, files, i) : 0;
		if (len > CONFIG_COAP_ANSWER_MAX)
			config_complain(r, SECTION_LABELS, k, "protocols", "over \"coap\" /crts would be %zu octets of CA certificates, and an "
				"answer has at most %d: take some out of the chain and cross of the group of CA \"%s\", or \"coap\" out "
				"of this label", len, CONFIG_COAP_ANSWER_MAX, label->ca);
		else if (chain + COAP_LEAF_ROOM > CONFIG_COAP_ANSWER_MAX)
			config_complain(r, SECTION_LABELS, k, "include_chain", "over \"coap\" a certificate and %zu octets of its "
				"issuers are too much for an answer of %d: devices get these by /crts; set it to false", chain,
				CONFIG_COAP_ANSWER_MAX);
	}
}

/* /cacerts is one message, and clients of small devices have an end, too. */
static void
check_count(struct config_reader *r, const struct files *files, size_t i)
{
	struct group_certs *certs = calloc(r->config->ca_count + 1, sizeof *certs);
	STACK_OF(X509) *all = sk_X509_new_null();
	struct err e;
	size_t k;

	for (k = 0; certs != NULL && k < r->config->ca_count; k++)
		certs[k] = (struct group_certs){ files[k].chain, files[k].next, files[k].cross };
	if (certs == NULL || all == NULL || group_cacerts(r->config, certs, i, all, &e) != 0)
		config_report(r, NULL, "no memory");
	else if (sk_X509_num(all) > EST_CERTS_MAX)
		config_complain(r, SECTION_CAS, i, "chain", "its devices would get %d CA certificates, and at most %d are "
			"possible: take some out of the chain and cross of its group", sk_X509_num(all), EST_CERTS_MAX);
	else
		check_coap_size(r, files, i, all);
	sk_X509_free(all);
	free(certs);
}

static void
load_files(struct config_reader *r, size_t i, struct files *out)
{
	const struct config_ca *ca = &r->config->cas[i];
	size_t n;

	out->chain = config_load_chain(ca);
	out->next = config_load_quietly(ca->next);
	for (n = 0; n < ca->cross.count; n++)
		if (!certs_take_all(&out->cross, config_load_quietly(ca->cross.at[n])))
			config_report(r, NULL, "no memory");
}

void
config_check_group_files(struct config_reader *r)
{
	const struct config *config = r->config;
	struct files *files = calloc(config->ca_count + 1, sizeof *files);
	size_t i;

	if (files == NULL) {
		config_report(r, NULL, "no memory");
		return;
	}
	for (i = 0; i < config->ca_count; i++)
		load_files(r, i, &files[i]);
	for (i = 0; i < config->ca_count; i++) {
		if (config_check_certificates(r, SECTION_CAS, i, "cross", &config->cas[i].cross))
			check_cross(r, files, i);
		check_twins(r, files, i);
		check_count(r, files, i);
	}
	for (i = 0; i < config->ca_count; i++) {
		x509_stack_free(files[i].chain);
		x509_stack_free(files[i].next);
		x509_stack_free(files[i].cross);
	}
	free(files);
}
