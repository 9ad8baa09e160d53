/*
 * config.h - the configuration file, parsed, checked and never changed afterwards.
 *
 * One table (config_table.c) names every setting with its type, default,
 * limits and a sentence; it drives parsing, `enrolld --check`, defaults and
 * the manual page. A mistake is reported with file, line and what to do, and
 * all mistakes are reported, not the first.
 */
#ifndef GATEWAY_CORE_CONFIG_H
#define GATEWAY_CORE_CONFIG_H

#include <stdio.h>

#include "est/body.h"
#include "policy/identity.h"
#include "policy/attest/attest.h"
#include "policy/attest/ear.h"
#include "policy/profile.h"
#include "policy/rules.h"
#include "scep/scep.h"

#define CONFIG_PATH_MAX 512
#define CONFIG_LIST_MAX 16

struct config_list { /* texts of one list setting */
	char at[CONFIG_LIST_MAX][TEMPLATE_MAX];
	size_t count;
};

struct config_trust { /* a named set of trust anchors: one manufacturer, or our own CA */
	char name[REG_TEXT_MAX];
	struct config_list files;   /* PEM roots (and intermediates) */
	struct config_list crls;    /* PEM or DER; when there is any, every leaf's issuer needs one */
	bool accept_expired;        /* IDevIDs past notAfter; NotBefore is checked always */
};

struct config_ca {
	char name[REG_TEXT_MAX];
	char type[32];
	char certificate[CONFIG_PATH_MAX];
	char key[CONFIG_PATH_MAX];
	struct config_list chain;
	char next[CONFIG_PATH_MAX];  /* the certificate that follows (SCEP GetNextCACert); "": none */
	int64_t crl_lifetime_s;      /* thisUpdate to nextUpdate */
	char crl_url[TEMPLATE_MAX], ocsp_url[TEMPLATE_MAX], issuer_url[TEMPLATE_MAX];
	/* CAs elsewhere: see struct ca_settings */
	char url[TEMPLATE_MAX], tls_ca[CONFIG_PATH_MAX], client_cert[CONFIG_PATH_MAX], client_key[CONFIG_PATH_MAX];
	bool allow_plain;
	char secret_file[CONFIG_PATH_MAX], key_file[CONFIG_PATH_MAX];
	char profile[TEMPLATE_MAX], end_entity_profile[TEMPLATE_MAX], authority[TEMPLATE_MAX], user[TEMPLATE_MAX];
	char auth[32];
	int64_t deadline_s;          /* of one call */
	int calls;                   /* under way at once */
	int64_t wait_s;              /* how long a request waits for it before the device is told to come back */
	int64_t budget;              /* certificates a minute; 0: any number */
	/* Generations and stand-ins: see world_group.c */
	char group[REG_TEXT_MAX];    /* its trust group; "": it alone */
	char succeeds[REG_TEXT_MAX]; /* the CA of the group whose next generation this is; "": none */
	struct config_list cross;    /* PEM files: certificates of one generation's CA by another's */
	char failover[CONFIG_LIST_MAX][REG_TEXT_MAX]; /* CAs of the group elsewhere, asked while this one does not answer */
	size_t failover_count;
};

/* A registration authority of SCEP: the RSA certificates that devices encrypt to and that answers are signed with. */
struct config_ra {
	char name[REG_TEXT_MAX];
	char certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];                 /* signs, and decrypts unless ... */
	char decrypt_certificate[CONFIG_PATH_MAX], decrypt_key[CONFIG_PATH_MAX]; /* ... these are given; "": none */
	struct config_list previous_certificates, previous_keys; /* still decrypt, for devices that cached them */
};

/* A service that vouches for SCEP challenges. */
struct config_mdm {
	char name[REG_TEXT_MAX];      /* also the issuer of the anchors its identity rules give */
	char type[32];                /* "intune", "webhook" */
	char url[TEMPLATE_MAX];
	char token_url[TEMPLATE_MAX], client_id[TEMPLATE_MAX], provider[REG_TEXT_MAX]; /* intune */
	char notify_url[TEMPLATE_MAX]; /* webhook: where outcomes are told; "": nowhere */
	char secret_file[CONFIG_PATH_MAX]; /* client secret or bearer token; "": none */
	char ca[CONFIG_PATH_MAX];     /* PEM file: the only CAs the service's certificate may come from */
	int64_t deadline_s;           /* of one call, all in all */
};

/* How one kind of evidence is judged: a verifier and its settings. Rules (require, prefer) name attesters. */
struct config_attester {
	char name[REG_TEXT_MAX];      /* also the issuer of the anchors its evidence gives, and the trust name of its identity rules */
	enum attest_method method;    /* idevid and mdm need no files: they say "came by a certificate of trust" or "an MDM vouched" */
	struct config_list roots;     /* PEM files: the manufacturers' roots */
	bool identity_required;       /* evidence without an anchor of the asset does not count; default true */
	/* tpm */
	bool ak_by_certificate, ak_by_binding;
	int64_t ak_life_s;            /* how long a binding holds */
	struct config_list ek_roots;  /* PEM: TPM manufacturers' EK roots; none: the registry's anchor ek_pub_sha256 alone vouches */
	/* android, yubikey: as in struct attest_settings */
	int android_level;            /* choice software, tee, strongbox */
	bool android_locked;
	int64_t android_os_min, android_patch_min;
	int yubikey_pin, yubikey_touch;
	char yubikey_firmware[16];
	/* ear */
	char url[TEMPLATE_MAX], ca[CONFIG_PATH_MAX], secret_file[CONFIG_PATH_MAX];
	struct config_list keys;      /* PEM public keys or certificates of the verifier */
	char statement_type[EVIDENCE_OID_MAX]; /* which statements go there, dotted */
	char media_type[REG_TEXT_MAX];
	int ear_worst;                /* choice affirming, warning */
	struct config_list submods;
	char issuer[REG_TEXT_MAX];
	char identity_claim[REG_TEXT_MAX];
	enum anchor_type identity_anchor;
	int64_t deadline_s;
};

enum clone_action { CLONE_QUARANTINE = 0, CLONE_ALERT, CLONE_OFF };

enum content_type_style {
	CONTENT_TYPE_RFC8951 = 0, /* "application/pkcs7-mime; smime-type=certs-only" on enroll answers */
	CONTENT_TYPE_PLAIN,       /* no parameter anywhere */
	CONTENT_TYPE_EVERYWHERE,  /* the parameter on /cacerts too */
};

#define PROTOCOL_EST  1u
#define PROTOCOL_SCEP 2u
#define PROTOCOL_COAP 4u

struct config_label {
	struct label_policy policy;
	char profile[REG_TEXT_MAX];
	char ca[REG_TEXT_MAX];
	char trust[PROFILE_NAMES_MAX][REG_TEXT_MAX];
	size_t trust_count;
	struct config_list csrattrs;
	bool csrattrs_template;     /* the profile as a template too (RFC 9908) */
	enum est_base64_style base64;
	enum content_type_style content_type;
	bool include_chain;         /* in enroll answers */
	bool accept_der;            /* a raw DER request body */
	bool require_content_type;  /* 415 for another media type; false takes any */
	bool transfer_encoding_header; /* send Content-Transfer-Encoding: base64 */
	int64_t retry_after_s;
	char realm[REG_TEXT_MAX];
	unsigned protocols;         /* PROTOCOL_* it is offered over */
	char scep_ra[REG_TEXT_MAX]; /* "": none; needed for PROTOCOL_SCEP */
	char scep_mdm[REG_TEXT_MAX]; /* who vouches for challenges (AUTH_MDM); "": none */
	unsigned scep_algorithms;   /* SCEP_*: the defaults, and what scep_allow and scep_legacy add */
	bool scep_insecure;         /* scep_legacy = "insecure-cisco": every use of it is logged */
	bool scep_chain;            /* CertRep carries the CA's certificate beside the new one */
	bool scep_ra_bundle;        /* GetCACert answers the RA bundle; false: the RA certificate alone */
};

struct config {
	char path[CONFIG_PATH_MAX]; /* of the file itself; relative paths in it start at its folder */
	char version[65];           /* SHA-256 of the file, and of those with roots and keys of trust and attesters, hex: the policy version */
	struct config_list listen_https;  /* "[::]:8443", "0.0.0.0:8443" */
	struct config_list listen_coaps;  /* "[::]:5684"; none by default */
	struct config_list listen_http;   /* plain, for SCEP and revocation lists only; none by default */
	char listen_admin[REG_TEXT_MAX];  /* "127.0.0.1:9090"; "": none */
	char control_socket[CONFIG_PATH_MAX];
	int control_mode;                 /* file permissions, octal in the file as "0660" */
	char control_group[REG_TEXT_MAX]; /* "": the process's */
	char lock_file[CONFIG_PATH_MAX];  /* "": none */

	char tls_certificate[CONFIG_PATH_MAX], tls_key[CONFIG_PATH_MAX];
	char tls_min_version[8];          /* "1.2" or "1.3" */
	char tls_groups[TEMPLATE_MAX];
	bool tls_quick_keys;

	char store_type[32];
	char store_path[CONFIG_PATH_MAX];
	int store_readers, store_cache_kib;

	char log_format[8];               /* "text" or "json" */
	char log_level[8];                /* "debug" "info" "warn" "error" */

	int threads_loops;                /* 0: one per core */
	int threads_workers;
	int limit_connections, limit_connections_per_address;
	int limit_header, limit_body;     /* octets */
	int limit_queue;                  /* complete requests waiting for a worker */
	int64_t limit_queue_age_s, limit_handshake_s, limit_header_s, limit_body_s, limit_idle_s;
	int limit_requests_per_connection;
	int limit_auth_failures;          /* per asset and per address, then locked for limit_auth_lock_s */
	int64_t limit_auth_window_s, limit_auth_lock_s;
	int64_t stop_grace_s;             /* how long a stop waits for requests under way */

	char coap_certificate[CONFIG_PATH_MAX], coap_key[CONFIG_PATH_MAX]; /* "": those of tls */
	struct config_list coap_roots;    /* beside "/.well-known/est" */
	int coap_contexts;                /* 0: one per core */
	int coap_sessions, coap_handshakes; /* per context */
	int64_t coap_session_timeout_s;
	int coap_mtu;

	struct config_list scep_suffixes; /* "/pkiclient.exe": paths that devices append or have built in */

	char keygen_master[CONFIG_PATH_MAX]; /* file with the octets the per-asset key-wrap keys come from; "": none */

	/* registry */
	enum clone_action clone_keys;     /* one identity came with two keys */
	enum clone_action clone_places;   /* one asset was in two networks at once, seen as A, B, A within clone_window_s */
	int64_t clone_window_s;
	int64_t transfer_life_s, approval_life_s; /* defaults of how long an offer, an approval may wait */
	int64_t import_large;             /* records from which an import needs a second operator; 0: never */
	int64_t offboard_grace_s, offboard_lifetime_s; /* default grace of a leaving owner; longest lifetime of certificates renewed in it */

	/* policy */
	bool policy_otherwise_allow;      /* past the last rule */
	int64_t nonce_life_s;
	struct policy_rule *rules;    size_t rule_count;
	struct config_attester *attesters; size_t attester_count;

	struct config_trust *trust;   size_t trust_count;
	struct identity_rule *identity; size_t identity_count;
	struct config_ca *cas;        size_t ca_count;
	struct config_ra *ras;        size_t ra_count;
	struct config_mdm *mdms;      size_t mdm_count;
	struct profile *profiles;     size_t profile_count;
	struct config_label *labels;  size_t label_count;
};

/* One mistake: "enrolld.conf:17: unknown setting \"lisen\" (did you mean \"listen\"?)". */
typedef void (*config_problem)(void *arg, const char *text);

/*
 * Read and check a file. Every mistake goes to problem(); 0 only when there
 * was none. References between sections are checked (a label's profile, CA and
 * trust sets exist; trust files and certificates can be opened; templates are
 * well formed; values are in range). *out is the caller's: config_free().
 */
MUST_USE int config_load(const char *path, config_problem problem, void *arg, struct config **out);
void config_free(struct config *config);
DEFINE_CLEANUP(config, struct config *, config_free);

/* The SETTINGS part of enrolld.conf(5) in man macros, from the same table. */
void config_print_manual(FILE *out);

/* NULL when there is none of that name. */
const struct profile *config_profile(const struct config *config, const char *name);
const struct config_label *config_label(const struct config *config, const char *name);
const struct config_ca *config_ca(const struct config *config, const char *name);
const struct config_ra *config_ra(const struct config *config, const char *name);
const struct config_mdm *config_mdm(const struct config *config, const char *name);
const struct config_attester *config_attester(const struct config *config, const char *name);

/* What decides, as canonical text: rules, profiles, labels, attesters; no paths of keys. For the record of a policy version. */
void config_policy_text(const struct config *config, struct buf *out);
/*
 * A candidate for comparing decisions (enrollctl policy diff): the text of a whole file, checked like config_load() but for what
 * lies on disk, which is taken from the present configuration's folder.
 */
MUST_USE int config_load_text(const char *text, const struct config *present, config_problem problem, void *arg,
	struct config **out);

#endif
