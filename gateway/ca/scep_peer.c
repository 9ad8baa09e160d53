/*
 * Who the SCEP server is, and who we are to it.
 */
#include "gateway/ca/scep_up.h"

#include <string.h>

#include <openssl/err.h>

#include "base/text.h"
#include "est/body.h"

#define FRESH_S       600   /* GetCACert is asked again after that: RA certificates change */
#define OWN_BITS      2048
#define OWN_BACK_S    86400 /* clocks differ */
#define OWN_VALID_S   (30 * 365 * INT64_C(86400))
#define OWN_NAME      "enrolld registration authority"
#define SERIAL_OCTETS 16

void
scep_peer_free(struct scep_peer *peer)
{
	x509_stack_free(peer->certs);
	*peer = (struct scep_peer){ 0 };
}

static int
peer_copy(const struct scep_peer *peer, struct scep_peer *out, struct err *e)
{
	STACK_OF(X509) *certs = X509_chain_up_ref(peer->certs);

	if (certs == NULL)
		return err_ossl(e, ERR_NOMEM, "SCEP server");
	*out = *peer;
	out->certs = certs;
	return 0;
}

/* --- the server ---------------------------------------------------------------- */

static int
ask(struct ca *ca, enum scep_operation operation, struct scep_peer *peer, struct outbound_answer *out, struct err *e)
{
	CLEANUP(buf) struct buf url = { 0 };
	struct outbound_request request = { .method = "GET" };

	buf_printf(&url, "%s?operation=%s", ca->url, scep_operation_name(operation));
	if (ca->identifier != NULL)
		buf_printf(&url, "&message=%s", ca->identifier);
	request.path_or_url = buf_text(&url);
	if (buf_failed(&url))
		return err_set(e, ERR_NOMEM, "%s: no memory", ca->remote.name);
	if (outbound_call(ca->remote.client, &request, out, e) != 0)
		return -1;
	if (out->status == 429 || out->status == 503)
		peer->retry_s = out->retry_after_s;
	if (out->status != 200)
		return err_set(e, ERR_UPSTREAM, "%s: %s: HTTP %d", ca->remote.name, scep_operation_name(operation), out->status);
	return 0;
}

/* "AES" means AES128-CBC (section 3.5.2); nothing there says that a server can do more. */
static int
choose_algorithms(const struct ca *ca, struct bytes text, struct scep_peer *peer, struct err *e)
{
	struct scep_caps caps;
	unsigned both;

	scep_caps_parse(text, &caps);
	both = caps.algorithms & ca->allowed;
	peer->digest = (both & SCEP_SHA256) != 0 ? SCEP_SHA256 : (both & SCEP_SHA512) != 0 ? SCEP_SHA512 : both & SCEP_SHA1;
	peer->cipher = (both & SCEP_AES128) != 0 ? SCEP_AES128 : both & SCEP_3DES;
	if (peer->digest == 0 || peer->cipher == 0)
		return err_set(e, ERR_UPSTREAM, "%s: GetCACaps offers no %s that may be used here%s", ca->remote.name,
			peer->digest == 0 ? "digest" : "cipher",
			(ca->allowed & SCEP_3DES) != 0 ? "" : " (auth = \"legacy\" allows SHA-1 and DES3)");
	if (!caps.post)
		return err_set(e, ERR_UPSTREAM, "%s: it takes no requests by POST (GetCACaps)", ca->remote.name);
	return 0;
}

static int
ask_algorithms(struct ca *ca, struct scep_peer *peer, struct err *e)
{
	struct outbound_answer answer = { 0 };
	int result = ask(ca, SCEP_OP_GET_CA_CAPS, peer, &answer, e);

	if (result == 0)
		result = choose_algorithms(ca, buf_bytes(&answer.body), peer, e);
	outbound_answer_free(&answer);
	return result;
}

/* Section 4.2.1: one certificate, or a certs-only message. */
static int
read_certs(const struct outbound_answer *answer, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	X509 *cert = NULL;

	if (strcmp(answer->content_type, "application/x-x509-ca-ra-cert") == 0)
		return est_certs_decode(buf_bytes(&answer->body), out, e);
	if (strcmp(answer->content_type, "application/x-x509-ca-cert") != 0)
		return err_set(e, ERR_UPSTREAM, "\"%s\" is no kind of CA certificate", answer->content_type);
	if (x509_from_der(buf_bytes(&answer->body), &cert, e) != 0)
		return -1;
	certs = sk_X509_new_null();
	if (certs == NULL || sk_X509_push(certs, cert) <= 0) {
		X509_free(cert);
		return err_ossl(e, ERR_NOMEM, "CA certificate");
	}
	*out = certs;
	certs = NULL;
	return 0;
}

static bool
leads_to(STACK_OF(X509) *chain, X509 *cert, int64_t now_s)
{
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	CLEANUP(X509_STORE) X509_STORE *store = X509_STORE_new();
	int i;
	bool held;

	if (ctx == NULL || store == NULL)
		return false;
	for (i = 0; i < sk_X509_num(chain); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(chain, i)) != 1)
			return false;
	if (X509_STORE_CTX_init(ctx, store, cert, NULL) != 1)
		return false;
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now_s);
	held = X509_verify_cert(ctx) == 1;
	ERR_clear_error();
	return held;
}

/* Ours and those it issued; what else GetCACert names (parents, other CAs) has nothing to say here. */
static int
keep_known(struct ca *ca, STACK_OF(X509) *certs, int64_t now_s, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *kept = sk_X509_new_null();
	X509 *issuer = sk_X509_value(ca->remote.chain, 0);
	bool ours = false;
	int i;

	if (kept == NULL)
		return err_ossl(e, ERR_NOMEM, "GetCACert");
	for (i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);
		bool same = X509_cmp(cert, issuer) == 0;

		ours = ours || same;
		if (!leads_to(ca->remote.chain, cert, now_s))
			continue;
		if (X509_up_ref(cert) != 1 || sk_X509_push(kept, cert) <= 0)
			return err_ossl(e, ERR_NOMEM, "GetCACert");
	}
	if (!ours)
		return err_set(e, ERR_UPSTREAM, "%s: GetCACert does not name the configured certificate", ca->remote.name);
	*out = kept;
	kept = NULL;
	return 0;
}

/* An RA's certificate for encryption if there is one, else the CA's own. */
static X509 *
choose_recipient(STACK_OF(X509) *certs)
{
	X509 *best = NULL;
	int best_rank = 0, i;

	for (i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);
		const EVP_PKEY *key = X509_get0_pubkey(cert);
		int rank = 1;

		if (key == NULL || !EVP_PKEY_is_a(key, "RSA"))
			continue;
		rank += X509_check_ca(cert) == 1 ? 0 : 1;
		rank += (X509_get_key_usage(cert) & KU_KEY_ENCIPHERMENT) != 0 ? 2 : 0;
		if (rank > best_rank) {
			best = cert;
			best_rank = rank;
		}
	}
	ERR_clear_error();
	return best;
}

static int
ask_certs(struct ca *ca, int64_t now_s, struct scep_peer *peer, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct outbound_answer answer = { 0 };
	int result = ask(ca, SCEP_OP_GET_CA_CERT, peer, &answer, e);

	if (result == 0 && read_certs(&answer, &certs, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_UPSTREAM;
		result = err_prefix(e, "%s: GetCACert", ca->remote.name);
	}
	outbound_answer_free(&answer);
	if (result != 0 || keep_known(ca, certs, now_s, &peer->certs, e) != 0)
		return -1;
	peer->recipient = choose_recipient(peer->certs);
	if (peer->recipient == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: GetCACert names no RSA certificate to encrypt to", ca->remote.name);
	return 0;
}

int
scep_peer_get(struct ca *ca, int64_t now_s, struct scep_peer *out, struct err *e)
{
	struct scep_peer peer = { .fetched_s = now_s };
	int result = 1;

	(void)pthread_mutex_lock(&ca->lock);
	if (ca->peer.certs != NULL && now_s >= ca->peer.fetched_s && now_s - ca->peer.fetched_s < FRESH_S)
		result = peer_copy(&ca->peer, out, e);
	(void)pthread_mutex_unlock(&ca->lock);
	if (result <= 0)
		return result;
	if (ask_algorithms(ca, &peer, e) != 0 || ask_certs(ca, now_s, &peer, e) != 0 || peer_copy(&peer, out, e) != 0) {
		out->retry_s = peer.retry_s;
		scep_peer_free(&peer);
		return -1;
	}
	(void)pthread_mutex_lock(&ca->lock);
	scep_peer_free(&ca->peer);
	ca->peer = peer;
	(void)pthread_mutex_unlock(&ca->lock);
	return 0;
}

/* --- who we are -------------------------------------------------------------- */

static bool
set_serial(X509 *cert)
{
	uint8_t octets[SERIAL_OCTETS];
	struct err ignored;
	BIGNUM *number = NULL;
	bool set;

	if (random_octets(octets, sizeof octets, &ignored) != 0)
		return false;
	octets[0] = (uint8_t)(octets[0] % 0x7f + 1); /* positive, and of this length */
	number = BN_bin2bn(octets, sizeof octets, NULL);
	set = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return set;
}

/* Section 2.3: a self-signed certificate signs the messages of whoever has no other. */
static int
make_own(int64_t now_s, EVP_PKEY **key_out, X509 **out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_RSA_gen(OWN_BITS);
	CLEANUP(X509_NAME) X509_NAME *name = X509_NAME_new();
	CLEANUP(X509) X509 *cert = X509_new();

	if (key == NULL || name == NULL || cert == NULL || !set_serial(cert) ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)OWN_NAME, -1, -1, 0) != 1 ||
	    X509_set_version(cert, X509_VERSION_3) != 1 || X509_set_subject_name(cert, name) != 1 ||
	    X509_set_issuer_name(cert, name) != 1 ||
	    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - OWN_BACK_S)) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now_s + OWN_VALID_S)) == NULL ||
	    X509_set_pubkey(cert, key) != 1 || X509_sign(cert, key, ossl_sha256()) <= 0)
		return err_ossl(e, ERR_NOMEM, "a SCEP client's own certificate");
	*key_out = key;
	*out = cert;
	key = NULL;
	cert = NULL;
	return 0;
}

int
scep_identity(struct ca *ca, int64_t now_s, struct err *e)
{
	int result = 0;

	(void)pthread_mutex_lock(&ca->lock);
	if (ca->own == NULL)
		result = make_own(now_s, &ca->key, &ca->own, e);
	(void)pthread_mutex_unlock(&ca->lock);
	return result;
}
