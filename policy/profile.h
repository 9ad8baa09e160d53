/*
 * profile.h - what a certificate may contain, who may come in, and the result: a certificate spec.
 *
 * The CSR proposes; the profile decides. Profiles and labels are filled from
 * the configuration and never change afterwards.
 */
#ifndef POLICY_PROFILE_H
#define POLICY_PROFILE_H

#include "base/key.h"
#include "policy/record.h"

#define PROFILE_NAMES_MAX 16   /* SAN templates, key rules, EKUs, trust sets: each */
#define TEMPLATE_MAX 256

/* keyUsage bits as in RFC 5280, section 4.2.1.3: bit 0 is digitalSignature. Only these can be configured. */
enum {
	USAGE_DIGITAL_SIGNATURE = 1u << 0,
	USAGE_NON_REPUDIATION = 1u << 1,
	USAGE_KEY_ENCIPHERMENT = 1u << 2,
	USAGE_DATA_ENCIPHERMENT = 1u << 3,
	USAGE_KEY_AGREEMENT = 1u << 4,
};
unsigned key_usage_of(const char *name); /* "digitalSignature" ...; 0: unknown, or one that only CAs have */

/* "clientAuth", "serverAuth", "emailProtection", "codeSigning", "ipsecIKE", "cmcRA" or dotted; NULL when it
   is unknown, or anyExtendedKeyUsage or OCSPSigning, which are never allowed: the first is every usage, the
   second would let a device answer for the CA whether it is revoked (RFC 6960, section 4.2.2.2). The result is the dotted OID (static for names,
   the argument itself for dotted text). */
const char *extended_key_usage_oid(const char *name);

struct key_rule {
	enum key_kind kind;
	int bits_min, bits_max; /* RSA only */
};
/* "EC:P-256", "EC:P-384", "EC:P-521", "Ed25519", "RSA:2048-4096", "RSA:3072"; RSA from 2048 to RSA_BITS_MAX.
   ERR_MALFORMED otherwise. */
MUST_USE int key_rule_parse(const char *text, struct key_rule *out, struct err *e);

enum csr_names_rule {
	CSR_NAMES_MATCH = 0, /* whatever the CSR names must be among what the templates give */
	CSR_NAMES_IGNORE,    /* the CSR's names are replaced by the templates' */
};

struct profile {
	char name[REG_TEXT_MAX];
	char subject[TEMPLATE_MAX];                      /* "CN={tag},O={owner},OU={site}" */
	char san[PROFILE_NAMES_MAX][TEMPLATE_MAX];       /* "dns:{hostname}", "uri:urn:dev:sn:{serial}", "ip:..", "email:.." */
	size_t san_count;
	struct key_rule keys[PROFILE_NAMES_MAX];
	size_t key_count;
	struct key_rule keygen;                          /* what /serverkeygen makes; bits_min is used */
	unsigned key_usage;
	char eku[PROFILE_NAMES_MAX][64];                 /* dotted */
	size_t eku_count;
	int64_t lifetime_s;
	int64_t renewal_window_s;                        /* renewal is allowed this long before notAfter */
	int64_t repair_grace_s;
	int64_t backdate_s;                              /* notBefore lies this long before now, for wrong clocks */
	enum csr_names_rule csr_names;
	bool allow_subject_change;                       /* renewal may change subject and SAN */
	bool staging;                                    /* usable for assets in stock */
	char classes[PROFILE_NAMES_MAX][REG_TEXT_MAX];   /* the asset classes it is for */
	size_t class_count;                              /* 0: every class */
	bool allow_key_reuse;                            /* a key certified for this asset before may be used again */
};

#define AUTH_CERTIFICATE 1u /* a manufacturer's certificate (IDevID) */
#define AUTH_SECRET      2u /* HTTP Basic with a per-asset secret */
#define AUTH_OWN         4u /* a certificate this gateway issued */
#define AUTH_REGISTRAR   8u /* the same with id-kp-cmcRA (RFC 6402, section 2.10), for a device the CSR names */
#define AUTH_MDM        16u /* a challenge that the label's MDM vouches for */

enum binding_rule { BINDING_VERIFY = 0 /* when present */, BINDING_REQUIRE, BINDING_IGNORE };
enum approval_rule { APPROVAL_NONE = 0, APPROVAL_MANUAL };

/* The decision's part of a label; protocol quirks live with the protocol. */
struct label_policy {
	char name[REG_TEXT_MAX]; /* "" is the label of paths without one */
	unsigned auth;           /* AUTH_* that may come in */
	unsigned operations;     /* bit (1u << enum policy_op) */
	enum binding_rule binding;
	enum approval_rule approval;
	int64_t expired_grace_s; /* our own certificates may renew this long after notAfter; 0: not at all */
};

enum policy_op { POLICY_ENROLL = 0, POLICY_RENEW, POLICY_KEYGEN };

#define SPEC_RDNS_MAX 16
#define SPEC_SANS_MAX PROFILE_NAMES_MAX

enum spec_san_type { SPEC_SAN_DNS, SPEC_SAN_URI, SPEC_SAN_IP, SPEC_SAN_EMAIL };

/* The approved contents of one certificate: everything but key, serial and issuer. */
struct cert_spec {
	struct {
		char oid[32]; /* dotted, an attribute type */
		char value[REG_TEXT_MAX];
	} rdns[SPEC_RDNS_MAX];
	size_t rdn_count;
	struct {
		enum spec_san_type type;
		char value[TEMPLATE_MAX]; /* text; an address in its canonical text form */
	} sans[SPEC_SANS_MAX];
	size_t san_count;
	unsigned key_usage;
	const char (*eku)[64]; /* borrowed from the profile */
	size_t eku_count;
	int64_t not_before_s;
	int64_t not_after_s;
};

/*
 * Fill the templates: {tag} {serial} {manufacturer} {model} {class} {site}
 * {hostname} {owner} {source_key}. A template whose field is empty is left out
 * when it is a SAN or an RDN other than CN, and an error (ERR_DENIED) for CN.
 * Values are bound as values: a comma, "=" or "+" in a field never becomes
 * structure, and in a URI everything but unreserved characters (RFC 3986,
 * section 2.3) is percent-encoded. In a template a backslash makes the next
 * character literal; multi-valued RDNs do not exist. DNS and URI results are checked for their syntax; wildcards,
 * control characters and NULs are refused (ERR_DENIED names the template).
 * not_after_s is now_s plus the lifetime; decide() cuts it to the owner's contract.
 * *out is scratch on failure.
 */
MUST_USE int profile_fill(const struct profile *profile, const struct asset *asset, const struct owner *owner,
	int64_t now_s, struct cert_spec *out, struct err *e);

/* Check templates without an asset, for `enrolld --check`: unknown fields, attribute types, SAN types, and the
   syntax of what does not come from the asset. ERR_MALFORMED names the template. */
MUST_USE int profile_check(const struct profile *profile, struct err *e);

#endif
