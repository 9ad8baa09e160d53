/*
 * mdm.h - asking a mobile device management service whether a SCEP challenge is good.
 *
 * The service knows which challenge it gave to which device, with which names;
 * we do not. So an MDM label asks before it issues, tells afterwards what
 * became of it, and issues nothing when no clear "yes" came back. Validators
 * are const ops in one array (mdm.c).
 *
 * Every function may be called from any thread, except open and close. Calls
 * block, each at most deadline_s from begin to end, tokens and retries among it.
 * Nothing here logs; the only clock is the monotonic one.
 */
#ifndef GATEWAY_MDM_MDM_H
#define GATEWAY_MDM_MDM_H

#include "base/bytes.h"

struct mdm; /* opened by ops->open */

#define MDM_DEADLINE_DEFAULT_S 10
#define MDM_DEADLINE_MAX_S     60
#define MDM_ANSWER_MAX         65536 /* octets of what a service may answer */
#define MDM_CSR_MAX            65536 /* octets of a request that is passed on */
#define MDM_CHALLENGE_MAX      8192  /* octets; Intune's are about two thousand */
#define MDM_CODE_MAX           48
#define MDM_TEXT_MAX           200
#define MDM_DEVICE_MAX         192

/* Texts are copied by open. NULL where a type does not want a setting, or where a default is named. */
struct mdm_settings {
	const char *name;           /* text_is_name() */
	const char *type;           /* "intune" | "webhook" */
	const char *url;            /* intune: ".../StatelessScepRequestValidationService" or what discovery would give, unless
	                               discovery_url is set; webhook: where requests are posted */
	const char *ca;             /* PEM: the only certificates trusted, for every URL here */
	bool system_trust;          /* instead of ca */
	bool allow_plain;           /* http:// to 127.0.0.1 and [::1], for tests and local agents */
	const char *client_cert, *client_key; /* TLS client authentication; NULL: none */
	const char *secret_file;    /* intune: the application's secret; webhook: a bearer token, or NULL for none; see outbound/secret.h */
	int64_t deadline_s;         /* 1-MDM_DEADLINE_MAX_S; 0: MDM_DEADLINE_DEFAULT_S */
	size_t calls_max;           /* calls under way at once; 0: OUTBOUND_CALLS_MAX */
	/* intune */
	const char *token_url;      /* https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token */
	const char *client_id;      /* the application's id */
	const char *scope;          /* NULL: "https://api.manage.microsoft.com//.default" */
	const char *provider;       /* callerInfo: who we are, "enrolld 1.0 (Example GmbH)" */
	const char *discovery_url;  /* NULL: url is used; else Graph's list of endpoints, see README */
	const char *discovery_scope;  /* NULL: "https://graph.microsoft.com/.default" */
	const char *discovery_domain; /* what a discovered host must be or end in; NULL: "manage.microsoft.com" */
	/* webhook */
	const char *notify_url;     /* where issued() and refused() are posted; NULL: nowhere */
};

/* One enrollment. Everything is borrowed. */
struct mdm_request {
	const char *transaction; /* SCEP's transactionID */
	struct bytes csr;        /* DER as received, its challengePassword inside */
	const char *challenge;   /* the challenge alone; never told to anyone but the service */
	const char *label;
};

struct mdm_verdict {
	bool allowed;
	char code[MDM_CODE_MAX];     /* the service's own word: "Success", "ChallengeExpired"; escaped */
	char text[MDM_TEXT_MAX];     /* its sentence, escaped, for the audit; never the challenge */
	char device[MDM_DEVICE_MAX]; /* the device id that the service names, clean UTF-8 as given; "": it does not */
};

/* Why an enrollment that validate() allowed did not end in a certificate. */
struct mdm_refusal {
	enum err_code code;
	const char *text; /* cut to 255 octets for Intune */
};

struct mdm_ops {
	const char *type;
	/*
	 * Checks settings and files; nothing is sent. *out is the caller's.
	 * ERR_MALFORMED: a setting is wrong. ERR_UPSTREAM: a file is; the text says what to mend.
	 */
	MUST_USE int (*open)(const struct mdm_settings *settings, struct mdm **out, struct err *e);
	/*
	 * 0: the service gave its verdict, which may be "no". -1: it gave none
	 * (ERR_UPSTREAM, ERR_NOMEM, ERR_BUG), *out is untouched and nothing may be issued.
	 */
	MUST_USE int (*validate)(struct mdm *mdm, const struct mdm_request *request, struct mdm_verdict *out, struct err *e);
	/* A certificate (DER) was issued after validate() allowed it. ERR_UPSTREAM: the service did not take note. */
	MUST_USE int (*issued)(struct mdm *mdm, const struct mdm_request *request, struct bytes cert, struct err *e);
	/* None was. Errors as issued(). */
	MUST_USE int (*refused)(struct mdm *mdm, const struct mdm_request *request, const struct mdm_refusal *why,
		struct err *e);
	MUST_USE int (*check)(struct mdm *mdm, struct err *e); /* health, for /readyz: reachable, trusted, token given */
	void (*close)(struct mdm *mdm); /* NULL is allowed; no call may be under way */
};

extern const struct mdm_ops mdm_intune;
extern const struct mdm_ops mdm_webhook;
const struct mdm_ops *mdm_ops_of(const char *type); /* NULL: unknown */

#endif
