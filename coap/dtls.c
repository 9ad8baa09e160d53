#include "coap/dtls.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

/* RFC 9148, section 3: "the mandatory cipher suite for DTLS in EST-coaps is TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8". */
#define CIPHERS "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256"
/* Octets of plaintext in a record: all that is sent fits a datagram, and buffers follow this. */
#define FRAGMENT_MAX 2048
/* RFC 8422, section 5.1.1 */
#define GROUP_P256   23
#define GROUP_X25519 29

struct coaps_policy {
	atomic_int refs;
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) *chain;
};

struct coaps_identity {
	atomic_int refs;
	struct coaps_peer peer;
};

static int
check_key(const struct coaps_tls *tls, struct err *e)
{
	char group[32] = "";
	size_t len = 0;

	if (tls->cert == NULL || tls->key == NULL)
		return err_set(e, ERR_UNSUPPORTED, "DTLS needs a certificate and its key");
	if (!EVP_PKEY_is_a(tls->key, "EC") || EVP_PKEY_get_group_name(tls->key, group, sizeof group, &len) != 1 ||
	    strcmp(group, "prime256v1") != 0)
		return err_set(e, ERR_UNSUPPORTED, "the DTLS key is not on the curve P-256 (RFC 9148, section 3)");
	if (X509_check_private_key(tls->cert, tls->key) != 1)
		return err_ossl(e, ERR_UNSUPPORTED, "the DTLS key is not the certificate's");
	return 0;
}

static bool
copy_own_chain(const STACK_OF(X509) *chain, STACK_OF(X509) **out)
{
	int i;

	*out = sk_X509_dup(chain);
	for (i = 0; *out != NULL && i < sk_X509_num(*out); i++)
		(void)X509_up_ref(sk_X509_value(*out, i));
	return *out != NULL;
}

int
coaps_policy_new(const struct coaps_tls *tls, struct coaps_policy **out, struct err *e)
{
	struct coaps_policy *policy;

	if (check_key(tls, e) != 0)
		return -1;
	policy = calloc(1, sizeof *policy);
	if (policy == NULL)
		return err_set(e, ERR_NOMEM, "DTLS policy");
	atomic_init(&policy->refs, 1);
	if (tls->chain != NULL && !copy_own_chain(tls->chain, &policy->chain)) {
		free(policy);
		return err_set(e, ERR_NOMEM, "DTLS chain");
	}
	(void)X509_up_ref(tls->cert);
	policy->cert = tls->cert;
	(void)EVP_PKEY_up_ref(tls->key);
	policy->key = tls->key;
	*out = policy;
	return 0;
}

struct coaps_policy *
coaps_policy_ref(struct coaps_policy *policy)
{
	(void)atomic_fetch_add(&policy->refs, 1);
	return policy;
}

void
coaps_policy_unref(struct coaps_policy *policy)
{
	if (policy == NULL || atomic_fetch_sub(&policy->refs, 1) != 1)
		return;
	X509_free(policy->cert);
	EVP_PKEY_free(policy->key);
	x509_stack_free(policy->chain);
	free(policy);
}

/* No judgment here: trust, validity, revocation and ownership are decided together, upstream. */
static int
accept_client_chain(X509_STORE_CTX *ctx, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

static bool
offers_extended_master_secret(SSL *ssl)
{
	const unsigned char *value;
	size_t len;

	return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_extended_master_secret, &value, &len) == 1;
}

/* Whether the client's supported_groups (RFC 8422, section 5.1.1) name X25519 before P-256. */
static bool
prefers_x25519(SSL *ssl)
{
	const unsigned char *value;
	struct cursor c;
	size_t len;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_groups, &value, &len) != 1)
		return false;
	c = cursor_of(bytes_of(value, len));
	(void)cursor_take(&c, 2);
	while (cursor_left(&c) >= 2) {
		unsigned group = cursor_u8(&c);

		group = group << 8 | cursor_u8(&c);
		if (group == GROUP_X25519 || group == GROUP_P256)
			return group == GROUP_X25519;
	}
	return false;
}

/*
 * RFC 8422, section 5.1: in TLS 1.2 these are also the curves of ECDSA keys in certificates. So who does not offer P-256
 * cannot be shown our certificate, and P-384 is there for the certificates of clients: for the key exchange it is never
 * chosen, because P-256 is offered as well.
 */
static bool
set_groups(SSL *ssl)
{
	int groups[] = { NID_X9_62_prime256v1, NID_X25519, NID_secp384r1 };

	if (prefers_x25519(ssl)) {
		groups[0] = NID_X25519;
		groups[1] = NID_X9_62_prime256v1;
	}
	return SSL_set1_groups(ssl, groups, sizeof groups / sizeof groups[0]) == 1;
}

bool
coaps_policy_apply(const struct coaps_policy *policy, SSL *ssl, int mtu)
{
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);

	if (!offers_extended_master_secret(ssl))
		return false;
	/* These belong to the library's context, which one thread uses: setting them again changes nothing. */
	SSL_CTX_set_cert_verify_callback(ctx, accept_client_chain, NULL);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_max_send_fragment(ctx, FRAGMENT_MAX);

	(void)SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT | SSL_VERIFY_CLIENT_ONCE, NULL);
	SSL_set_max_cert_list(ssl, COAPS_CHAIN_OCTETS_MAX);
	(void)SSL_set_mtu(ssl, mtu);
	return SSL_set_min_proto_version(ssl, DTLS1_2_VERSION) == 1 && SSL_set_cipher_list(ssl, CIPHERS) == 1 &&
		set_groups(ssl) && SSL_use_certificate(ssl, policy->cert) == 1 &&
		SSL_use_PrivateKey(ssl, policy->key) == 1 &&
		SSL_set1_chain(ssl, policy->chain) == 1;
}

/* The chain as sent, without the leaf, which OpenSSL keeps apart on a server. */
static bool
copy_chain(SSL *ssl, struct coaps_peer *peer)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	if (chain == NULL)
		return true;
	peer->chain = X509_chain_up_ref(chain);
	return peer->chain != NULL;
}

struct coaps_identity *
coaps_identity_new(SSL *ssl, const char *address)
{
	struct coaps_identity *identity = calloc(1, sizeof *identity);
	struct est_binding *binding;

	if (identity == NULL)
		return NULL;
	atomic_init(&identity->refs, 1);
	binding = &identity->peer.binding;
	identity->peer.cert = SSL_get1_peer_certificate(ssl);
	if (identity->peer.cert == NULL || !copy_chain(ssl, &identity->peer)) {
		coaps_identity_unref(identity);
		return NULL;
	}
	/* RFC 5929, section 3.1: the first Finished, which without resumption is the client's. */
	if (SSL_session_reused(ssl) == 0 && SSL_get_extms_support(ssl) == 1) {
		binding->unique_len = SSL_get_peer_finished(ssl, binding->unique, sizeof binding->unique);
		if (binding->unique_len > sizeof binding->unique)
			binding->unique_len = 0;
	}
	(void)snprintf(identity->peer.address, sizeof identity->peer.address, "%s", address);
	(void)snprintf(identity->peer.cipher, sizeof identity->peer.cipher, "%s", SSL_get_cipher_name(ssl));
	return identity;
}

struct coaps_identity *
coaps_identity_ref(struct coaps_identity *identity)
{
	(void)atomic_fetch_add(&identity->refs, 1);
	return identity;
}

void
coaps_identity_unref(struct coaps_identity *identity)
{
	if (identity == NULL || atomic_fetch_sub(&identity->refs, 1) != 1)
		return;
	X509_free(identity->peer.cert);
	x509_stack_free(identity->peer.chain);
	free(identity);
}

const struct coaps_peer *
coaps_identity_peer(const struct coaps_identity *identity)
{
	return &identity->peer;
}
