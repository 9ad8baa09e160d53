/*
 * enroll.h - the one enrollment pipeline.
 *
 * Every protocol handler fills a struct enroll_request, calls enroll_run(), and
 * translates the struct enroll_result back. Nothing about policy lives in a
 * handler, nothing about a protocol lives here.
 */
#ifndef GATEWAY_CORE_ENROLL_H
#define GATEWAY_CORE_ENROLL_H

#include "est/bind.h"
#include "est/csr.h"
#include "gateway/core/world.h"
#include "policy/decide.h"

enum enroll_op {
	ENROLL_NEW,
	ENROLL_RENEW,
	ENROLL_KEYGEN,
	ENROLL_EITHER, /* a renewal when a certificate of ours proves who asks, else a first enrollment (SCEP PKCSReq) */
};

struct enroll_request {
	const char *protocol;         /* "est" */
	const char *operation;        /* the protocol's own word, for the records: "simpleenroll" */
	enum enroll_op op;
	const struct config_label *label;
	struct bytes csr;             /* DER as received */
	enum est_csr_mode csr_mode;   /* which signatures prove possession; ENROLL_KEYGEN wants none */
	const struct rsa_public *known_key; /* made ready already, and maybe the CSR's; NULL: none */
	X509 *client_cert;            /* from TLS; NULL: none */
	const STACK_OF(X509) *client_chain;
	const struct est_binding *binding; /* NULL: the transport has none */
	const char *user, *secret;    /* HTTP Basic; NULL: none */
	bool challenge;               /* the secret is the CSR's challengePassword, and says itself whose it is */
	bool renewal_names_free;      /* see policy/decide.h */
	const char *transaction;      /* the protocol's own id of this exchange; NULL: none */
	const char *peer;
	int64_t now_s;
};

struct enroll_result {
	enum err_code code;           /* ERR_NONE: issued; ERR_PENDING: wait; else why not */
	char reason[48];              /* a code for machines: "asset.state" */
	char sentence[ERR_TEXT_MAX];  /* for the log and the audit */
	const char *public_text;      /* the category that goes on the wire; static */
	int64_t retry_after_s;        /* PENDING, LIMIT, UPSTREAM */
	int64_t request_id;           /* 0: none was stored */
	char asset_tag[REG_TEXT_MAX]; /* "": unknown */
	char proof[REG_VALUE_MAX];
	struct buf cert;              /* DER, when issued */
	char ca[REG_TEXT_MAX];        /* when issued: by which entry of cas, which may be gone by now */
	struct buf key;               /* ENROLL_KEYGEN: PKCS#8 DER, or CMS when key_encrypted */
	bool key_encrypted;
	bool replayed;                /* the certificate of an earlier identical request */
};

/* Always fills *out; free with enroll_result_free(). */
void enroll_run(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_result *out);
/*
 * Ask for the outcome of an earlier request (SCEP CertPoll, section 3.3.3). request needs protocol,
 * operation, label, transaction, peer and now_s, and says who asks: client_cert,
 * or poll_key, the SubjectPublicKeyInfo (DER) whose possession was proven. The stored request is taken up
 * where it stands, in the state its asset is in now. Somebody else's transaction, or
 * none, is ERR_DENIED with reason "request.unknown".
 */
void enroll_poll(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, struct enroll_result *out);

/*
 * A certificate issued before (SCEP GetCert): only for the asset that holds it, which
 * proves itself by client_cert, or by poll_key as the key in that very certificate.
 * issuer is the name of a CA of the label's group. ERR_DENIED, reason "certificate.unknown".
 */
void enroll_fetch(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, const X509_NAME *issuer, const char *serial, struct enroll_result *out);

/*
 * Is who asks somebody this label takes? For what wants a certificate but decides nothing (EST over CoAP, /crts and
 * /att). request needs protocol, operation, label, client_cert, client_chain, peer and now_s. A refusal is one audit
 * row. ERR_UNAUTHENTIC, ERR_DENIED, ERR_UPSTREAM.
 */
MUST_USE int enroll_admit(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct err *e);

/* The revocation list of a label's CA, DER, from a short-lived copy when there is one. Appended to out. */
struct crl_cache; /* of struct gateway */
MUST_USE int crl_cache_new(struct crl_cache **out, struct err *e);
void crl_cache_free(struct crl_cache *cache);
MUST_USE int enroll_crl(struct gateway *gateway, const struct world *world, const char *ca_name, int64_t now_s,
	struct buf *out, struct err *e);

/*
 * The revocation list that a certificate of this issuer and serial number would stand on (SCEP GetCRL): of the label's CA,
 * or of another of its group. ERR_DENIED: no CA here has that name; ERR_UNSUPPORTED: that one makes its lists itself.
 */
MUST_USE int enroll_crl_of(struct gateway *gateway, const struct world *world, const struct config_label *label,
	const X509_NAME *issuer, const char *serial, int64_t now_s, struct buf *out, struct err *e);

/* A request that never got as far: its bytes broke the protocol. One audit row, best effort. */
void enroll_refuse(struct gateway *gateway, const struct enroll_request *request, const struct err *why);
void enroll_result_free(struct enroll_result *result);

/* A nonce for evidence, for this label. ERR_UNSUPPORTED: none are given here. */
MUST_USE int enroll_nonce(struct gateway *gateway, const struct world *world, const struct config_label *label,
	int64_t now_s, uint8_t out[NONCE_LEN], int64_t *life_s, struct err *e);

/*
 * The ActivateCredential exchange that binds an AK to an EK, in two steps over one path; the step is told by what
 * the device sends. Step 1: ek (an EK certificate, DER, or its bare SubjectPublicKeyInfo) and ak (TPMT_PUBLIC); the answer has
 * blob and secret for the TPM and a token that carries what we have to remember (sealed, so nothing is stored).
 * Step 2: the token and what the TPM gave back; the AK is bound to the asset whose anchor ek_pub_sha256 it is.
 * The asset is the one the EK names; who asks need not prove more. ERR_MALFORMED, ERR_DENIED (unknown EK, key
 * is no AK, wrong answer, token too old), ERR_UNSUPPORTED (no attester takes bound AKs).
 */
struct enroll_tpm_bind {
	struct bytes ek, ak;                /* step 1 */
	struct bytes token, answer;         /* step 2 */
	struct buf out_blob, out_secret, out_token; /* of step 1 */
	int64_t expires_s;                  /* of step 1: of the token; of step 2: until when the binding holds */
	char asset_tag[REG_TEXT_MAX];
};
MUST_USE int enroll_tpm_bind(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_tpm_bind *bind, struct err *e);

/*
 * What would be decided, without issuing or recording anything: the asset is
 * given, and so is what it would prove (PROOF_OWN uses its newest valid
 * certificate). request needs operation, op, label, csr and now_s.
 * ERR_DENIED: no such asset, or no certificate for PROOF_OWN.
 */
MUST_USE int enroll_explain(struct gateway *gateway, const struct world *world,
	const struct enroll_request *request, const char *asset_tag, enum proof_kind proof, struct decision *out,
	struct err *e);

#endif
