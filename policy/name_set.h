/*
 * name_set.h - subjects and SANs as sets of values, wherever they come from. Internal to policy/.
 *
 * Values are compared as characters: whether a name was a PrintableString or a
 * UTF8String does not matter, nor does the order.
 */
#ifndef POLICY_NAME_SET_H
#define POLICY_NAME_SET_H

#include "policy/profile.h"
#include "policy/syntax.h"

/* A set of subject attributes or of SANs: of a certificate or CSR, or of a spec. Exactly one member is set. */
struct rdn_set {
	const X509_NAME *name;
	const struct cert_spec *spec;
};
struct san_set {
	const GENERAL_NAMES *names; /* NULL, with spec NULL too: the empty set */
	const struct cert_spec *spec;
};

struct rdn_value {
	const char *oid;          /* dotted; static, the spec's, or own_oid */
	const struct attribute *attribute; /* NULL: not one of ours */
	struct bytes text;        /* UTF-8 */
	char own_oid[OID_TEXT_MAX];
	uint8_t *own_text;        /* rdn_value_clear() frees it */
};

struct san_value {
	enum spec_san_type type;
	struct bytes value;       /* characters; an address in octets */
	uint8_t address[16];
};

size_t rdn_set_count(const struct rdn_set *set);
/* False when the value cannot be read as text. */
MUST_USE bool rdn_set_at(const struct rdn_set *set, size_t at, struct rdn_value *out);
void rdn_value_clear(struct rdn_value *value);
bool rdn_value_equal(const struct rdn_value *a, const struct rdn_value *b);

size_t san_set_count(const struct san_set *set);
/* False when it is of a type that no certificate here has. */
MUST_USE bool san_set_at(const struct san_set *set, size_t at, struct san_value *out);

/* Whether every member of a is in b; when not, *first is the index in a of one that is not. */
bool rdn_set_within(const struct rdn_set *a, const struct rdn_set *b, size_t *first);
bool san_set_within(const struct san_set *a, const struct san_set *b, size_t *first);
bool rdn_set_equal(const struct rdn_set *a, const struct rdn_set *b);
bool san_set_equal(const struct san_set *a, const struct san_set *b);

/* "CN=rtr-7", "dns:rtr-7.example"; escaped, cut to fit. */
void rdn_set_show(const struct rdn_set *set, size_t at, char *out, size_t size);
void san_set_show(const struct san_set *set, size_t at, char *out, size_t size);

/* ASCII letters compare without case. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);

#endif
