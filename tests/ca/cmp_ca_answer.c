/* What the CMP CA says to a message: OpenSSL's server half, and what is remembered. */
#define _GNU_SOURCE
#include "tests/ca/cmp_ca.h"

#include <stdlib.h>

#define OUR_REFERENCE "ca"

enum order { ORDER_NONE, ORDER_WAIT, ORDER_UNAVAILABLE, ORDER_AGAIN, ORDER_ALSO, ORDER_OTHER_KEY, ORDER_OTHER_NAME, ORDER_TOO_LONG };

/* One message while it is answered. */
struct message {
	struct ca *ca;
	struct bytes der, id;
	struct transaction *transaction; /* NULL: none of this name yet */
	enum order order;
	bool polling;
	bool twice; /* a request in a transaction that has one */
	bool again; /* the request of a transaction that OpenSSL's context is to know again */
};

static struct message *
message_of(OSSL_CMP_SRV_CTX *srv)
{
	struct ca *ca = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);

	return ca->message;
}

static enum order
order_of(const char *path)
{
	static const char *const words[] = { "", "wait", "unavailable", "again", "also", "other-key", "other-name", "too-long" };
	FILE *file = path == NULL ? NULL : fopen(path, "re");
	char word[32] = "";
	size_t i;

	if (file == NULL)
		return ORDER_NONE;
	if (fscanf(file, "%31s", word) != 1)
		word[0] = '\0';
	(void)fclose(file);
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(words[i], word) == 0)
			return (enum order)i;
	fprintf(stderr, "cmp_ca: \"%s\" is no order\n", word);
	abort();
}

static enum mischief
mischief_of(enum order order)
{
	return order == ORDER_OTHER_KEY ? MISCHIEF_OTHER_KEY : order == ORDER_OTHER_NAME ? MISCHIEF_OTHER_NAME :
		order == ORDER_TOO_LONG ? MISCHIEF_TOO_LONG : MISCHIEF_NONE;
}

/* The certificate of an answer. */
static OSSL_CMP_PKISI *
give(struct message *m, const X509_REQ *request, X509 **cert_out, STACK_OF(X509) **chain_out)
{
	struct records *records = &m->ca->records;
	X509 *before = records->issued == NULL ? NULL : records->issued->cert;
	bool of_another = before != NULL && (m->order == ORDER_AGAIN || m->order == ORDER_ALSO);
	CLEANUP(X509) X509 *made = NULL;
	struct err e = { 0 };

	if (!of_another || m->order == ORDER_ALSO)
		if (issuer_certify(&m->ca->issuer, request, mischief_of(m->order), &made, &e) != 0 ||
		    !records_issued(records, m->transaction, made, request)) {
			fprintf(stderr, "cmp_ca: %s\n", e.text);
			return cmp_reject(OSSL_CMP_PKIFAILUREINFO_systemFailure, NULL);
		}
	*cert_out = X509_dup(of_another ? before : made);
	*chain_out = X509_chain_up_ref(m->ca->issuer.chain);
	if (*cert_out == NULL || *chain_out == NULL || !records_given(records, m->transaction, of_another ? before : made))
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_systemFailure, NULL);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

static OSSL_CMP_PKISI *
give_again(const struct message *m, X509 **cert_out)
{
	if (m->transaction->stage == STAGE_WAITS)
		return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, NULL);
	*cert_out = X509_dup(m->transaction->given);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

static OSSL_CMP_PKISI *
certify(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, const OSSL_CRMF_MSG *crm, const X509_REQ *p10cr,
	X509 **cert_out, STACK_OF(X509) **chain_out, STACK_OF(X509) **ca_pubs)
{
	struct message *m = message_of(srv);

	(void)id;
	(void)crm;
	(void)ca_pubs;
	if (p10cr == NULL)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_badCertTemplate, "p10cr alone is known here");
	if (m->again)
		return give_again(m, cert_out);
	if (m->twice)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_transactionIdInUse, NULL);
	if (m->order == ORDER_UNAVAILABLE)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_systemUnavail, "come back later");
	if (m->transaction == NULL && (m->transaction = records_asked(&m->ca->records, m->id, req)) == NULL)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_badRequest, "transactionID");
	if (m->polling || (m->ca->wait == 0 && m->order != ORDER_WAIT))
		return give(m, p10cr, cert_out, chain_out);
	if (!records_waits(&m->ca->records, m->transaction, m->ca->wait))
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_systemFailure, NULL);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, NULL);
}

static int
polled(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, OSSL_CMP_MSG **request, int64_t *check_after)
{
	struct message *m = message_of(srv);

	(void)req;
	(void)id;
	*request = NULL;
	*check_after = m->ca->check_after_s;
	if (m->transaction == NULL || m->transaction->stage != STAGE_WAITS)
		return 0;
	if (m->order == ORDER_WAIT)
		return 1;
	if (m->transaction->polls_left > 1)
		return records_waits(&m->ca->records, m->transaction, m->transaction->polls_left - 1);
	m->polling = true;
	*request = OSSL_CMP_MSG_dup(m->transaction->request);
	return *request != NULL;
}

/* Only what was made for it: the certificate of the answer may be another's. */
static void
take_back(struct ca *ca, struct transaction *transaction)
{
	records_told(&ca->records, transaction, false);
	if (transaction->made != NULL && !transaction->made->revoked)
		records_revoked(&ca->records, transaction->made, CRL_REASON_UNSPECIFIED);
}

void
cmp_time_is_over(struct ca *ca)
{
	struct transaction *one;
	size_t i;

	for (i = 0; i < BUCKETS; i++)
		for (one = ca->records.transactions[i]; one != NULL; one = one->next)
			if (one->stage == STAGE_UNCONFIRMED)
				take_back(ca, one);
}

/* certHash: "the hash of the certificate" by the digest of its signature (RFC 4210, section 5.3.18). */
static int
confirmed(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, const ASN1_OCTET_STRING *hash,
	const OSSL_CMP_PKISI *status)
{
	struct message *m = message_of(srv);
	uint8_t given[32];
	struct err e;

	(void)req;
	(void)id;
	if (m->transaction == NULL || m->transaction->stage != STAGE_UNCONFIRMED ||
	    x509_sha256(m->transaction->given, given, &e) != 0 ||
	    !bytes_equal(bytes_of(ASN1_STRING_get0_data(hash), (size_t)ASN1_STRING_length(hash)), bytes_of(given, sizeof given)))
		return 0;
	if (cmp_accepts(status))
		records_told(&m->ca->records, m->transaction, true);
	else
		take_back(m->ca, m->transaction);
	return 1;
}

/* As EJBCA answers: certRevoked to what is revoked for good, and to a release of what is not on hold. */
static OSSL_CMP_PKISI *
revoked(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
	struct message *m = message_of(srv);
	X509 *issuing = sk_X509_value(m->ca->issuer.chain, 0);
	int reason = cmp_reason(m->der);
	char name[SERIAL_HEX_MAX];
	struct issued *found;

	(void)req;
	cmp_serial_hex(serial, name);
	found = records_find_serial(&m->ca->records, name);
	if (found == NULL || X509_NAME_cmp(issuer, X509_get_subject_name(issuing)) != 0)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_badCertId, "no such certificate");
	if (reason == CRL_REASON_REMOVE_FROM_CRL ? !found->held : found->revoked && !found->held)
		return cmp_reject(OSSL_CMP_PKIFAILUREINFO_certRevoked, NULL);
	records_revoked(&m->ca->records, found, reason < 0 ? CRL_REASON_UNSPECIFIED : reason);
	return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

/* A reference that is not known has no secret: with any other one the message fails as with a wrong secret. */
static bool
protect(const struct ca *ca, struct bytes sender, OSSL_CMP_CTX *ctx)
{
	struct bytes secret = buf_bytes(&ca->secret);
	uint8_t nobodys[16];
	struct err e;

	if (secret.len != 0) {
		if (!bytes_equal_text(sender, ca->reference)) {
			if (random_octets(nobodys, sizeof nobodys, &e) != 0)
				return false;
			secret = bytes_of(nobodys, sizeof nobodys);
		}
		return OSSL_CMP_CTX_set1_secretValue(ctx, secret.at, (int)secret.len) == 1 &&
			OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)OUR_REFERENCE, sizeof OUR_REFERENCE - 1) == 1;
	}
	if (X509_STORE_up_ref(ca->trusted) != 1)
		return false;
	if (OSSL_CMP_CTX_set0_trustedStore(ctx, ca->trusted) != 1) {
		X509_STORE_free(ca->trusted);
		return false;
	}
	return OSSL_CMP_CTX_set1_cert(ctx, sk_X509_value(ca->signer, 0)) == 1 &&
		OSSL_CMP_CTX_set1_pkey(ctx, ca->signer_key) == 1 && OSSL_CMP_CTX_set1_extraCertsOut(ctx, ca->signer) == 1 &&
		OSSL_CMP_CTX_set1_untrusted(ctx, ca->issuer.chain) == 1;
}

static bool
set_octets(OSSL_CMP_CTX *ctx, int (*set)(OSSL_CMP_CTX *ctx, const ASN1_OCTET_STRING *octets), struct bytes value)
{
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	bool done = octets != NULL && ASN1_OCTET_STRING_set(octets, value.at, (int)value.len) == 1 && set(ctx, octets) == 1;

	ASN1_OCTET_STRING_free(octets);
	return done;
}

/*
 * OpenSSL's context is one transaction's, from its first message to its last; an error message is the last one, and a process
 * takes it along. A CA does not forget what it has in its hands for either: a new context hears the request again.
 */
static bool
remind(struct message *m, OSSL_CMP_SRV_CTX *srv)
{
	const struct transaction *t = m->transaction;
	OSSL_CMP_CTX *ctx = OSSL_CMP_SRV_CTX_get0_cmp_ctx(srv);
	CLEANUP(buf) struct buf der = { 0 }, unsaid = { 0 };
	uint8_t *octets = NULL;
	int len = i2d_OSSL_CMP_MSG(t->request, &octets);
	bool heard;

	buf_append(&der, octets, len > 0 ? (size_t)len : 0);
	OPENSSL_free(octets);
	m->again = true;
	heard = protect(m->ca, cmp_head(buf_bytes(&der), HEAD_SENDER_KID), ctx) && cmp_service_answer(srv, t->request, &unsaid);
	m->again = false;
	return heard && (t->nonce_len == 0 || set_octets(ctx, OSSL_CMP_CTX_set1_senderNonce, bytes_of(t->nonce, t->nonce_len)));
}

static OSSL_CMP_SRV_CTX *
context_for(struct message *m)
{
	static const struct cmp_callbacks callbacks = { certify, revoked, confirmed, polled };
	const struct transaction *t = m->transaction;
	OSSL_CMP_SRV_CTX *srv;

	if (t != NULL && t->srv != NULL && !m->twice)
		return t->srv;
	srv = cmp_service_new(m->ca, &callbacks);
	if (srv == NULL || t == NULL || t->stage == STAGE_OVER || m->twice || remind(m, srv))
		return srv;
	OSSL_CMP_SRV_CTX_free(srv);
	return NULL;
}

/* The context of a transaction lives as long as it, and as OpenSSL goes on with it. */
static void
keep_context(struct message *m, OSSL_CMP_SRV_CTX *srv, struct bytes said)
{
	struct transaction *t = m->transaction;

	if (t == NULL || t->stage == STAGE_OVER || m->twice || cmp_body(said) == ERROR_MESSAGE) {
		if (t != NULL && t->srv == srv)
			t->srv = NULL;
		OSSL_CMP_SRV_CTX_free(srv);
		return;
	}
	t->srv = srv;
	records_answered(&m->ca->records, t, cmp_head(said, HEAD_SENDER_NONCE));
}

bool
cmp_answer(struct ca *ca, struct bytes der, struct buf *out)
{
	struct message m = { .ca = ca, .der = der, .id = cmp_head(der, HEAD_TRANSACTION), .order = order_of(ca->orders) };
	OSSL_CMP_MSG *request = cmp_service_decode(der);
	OSSL_CMP_SRV_CTX *srv;
	bool answered;

	if (request == NULL)
		return false;
	ca->message = &m;
	m.transaction = records_find(&ca->records, m.id);
	m.twice = m.transaction != NULL && OSSL_CMP_MSG_get_bodytype(request) == P10CR;
	srv = context_for(&m);
	answered = srv != NULL && protect(ca, cmp_head(der, HEAD_SENDER_KID), OSSL_CMP_SRV_CTX_get0_cmp_ctx(srv)) &&
		cmp_service_answer(srv, request, out);
	keep_context(&m, srv, buf_bytes(out));
	OSSL_CMP_MSG_free(request);
	ca->message = NULL;
	return answered;
}
