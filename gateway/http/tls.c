#include "gateway/http/tls.h"

#include <stdio.h>
#include <string.h>

#include "base/key.h"
#include "base/text.h"
#include "gateway/ca/ca.h"

/* AES-128 with SHA-256 before AES-256 with SHA-384: an enrollment moves 2 kB, and its key schedule costs half. */
#define TLS12_CIPHERS "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"
#define TLS13_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS_DEFAULT "X25519:P-256:P-384" /* X25519 costs half of P-256 */
#define GROUPS_MAX 256
#define EXPORTER_LABEL "EXPORTER-Channel-Binding" /* RFC 9266, section 4.2 */

static const uint8_t alpn_http11[] = { 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };

/*
 * Instead of libssl's own verification. What is refused here is only what
 * would cost too much to look at later; trust is the pipeline's judgement.
 */
static int
accept_client_chain(X509_STORE_CTX *ctx, void *arg)
{
	EVP_PKEY *key = X509_get0_pubkey(X509_STORE_CTX_get0_cert(ctx));

	(void)arg;
	if (sk_X509_num(X509_STORE_CTX_get0_untrusted(ctx)) > TLS_CHAIN_DEPTH_MAX) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_CHAIN_TOO_LONG);
		return 0;
	}
	if (key == NULL || (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) > RSA_BITS_MAX)) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
		return 0;
	}
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

/* RFC 7301, section 3.2: no protocol in common is a fatal alert. */
static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
	unsigned int in_len, void *arg)
{
	struct cursor c = cursor_of(bytes_of(in, in_len));

	(void)ssl;
	(void)arg;
	while (cursor_left(&c) != 0) {
		struct bytes name = cursor_take(&c, cursor_u8(&c));

		if (!bytes_equal(name, bytes_of(alpn_http11 + 1, sizeof alpn_http11 - 1)))
			continue;
		*out = name.at;
		*out_len = (unsigned char)name.len;
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int
set_groups(SSL_CTX *ctx, const char *groups, struct err *e)
{
	char list[GROUPS_MAX];

	if (groups == NULL || groups[0] == '\0')
		groups = GROUPS_DEFAULT;
	if (text_copy(list, sizeof list, bytes_of_text(groups), "TLS groups", e) != 0)
		return -1;
	if (SSL_CTX_set1_groups_list(ctx, list) != 1) {
		(void)err_ossl(e, ERR_UNSUPPORTED, "TLS groups");
		return err_set(e, ERR_UNSUPPORTED, "TLS groups \"%s\": unknown name", list);
	}
	return 0;
}

static int
set_versions(SSL_CTX *ctx, const struct front_settings *settings, struct err *e)
{
	const char *min = settings->min_version == NULL ? "1.2" : settings->min_version;
	int version = strcmp(min, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;

	if (version == TLS1_2_VERSION && strcmp(min, "1.2") != 0)
		return err_set(e, ERR_UNSUPPORTED, "TLS version \"%s\": write \"1.2\" or \"1.3\"", min);
	if (SSL_CTX_set_min_proto_version(ctx, version) != 1 ||
		SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS) != 1 ||
		SSL_CTX_set_ciphersuites(ctx, TLS13_CIPHERS) != 1)
		return err_ossl(e, ERR_BUG, "TLS versions and ciphers");
	return set_groups(ctx, settings->groups, e);
}

static int
load_identity(SSL_CTX *ctx, const struct front_settings *settings, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *chain = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	int i;

	if (x509_load_file(settings->certificate, &chain, e) != 0 || key_open(settings->key, &key, e) != 0)
		return -1;
	if (X509_check_private_key(sk_X509_value(chain, 0), key) != 1) {
		(void)err_ossl(e, ERR_UPSTREAM, "private key");
		return err_set(e, ERR_UPSTREAM, "%s: its first certificate is not that of the key %s",
			settings->certificate, settings->key);
	}
	if (SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return err_ossl(e, ERR_UPSTREAM, settings->certificate);
	for (i = 1; i < sk_X509_num(chain); i++)
		if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1)
			return err_ossl(e, ERR_UPSTREAM, settings->certificate);
	return 0;
}

static void
set_behaviour(SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION |
		SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* No resumption of any kind: a binding and a proof of possession belong to one full handshake. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_recv_max_early_data(ctx, 0);
	/* One read(2) for a record instead of two; wire.c asks SSL_has_pending(). */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_max_cert_list(ctx, TLS_CHAIN_OCTETS_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(ctx, TLS_CHAIN_DEPTH_MAX);
	SSL_CTX_set_cert_verify_callback(ctx, accept_client_chain, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
}

int
tls_context_new(const struct front_settings *settings, SSL_CTX **out, struct err *e)
{
	CLEANUP(SSL_CTX) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return err_ossl(e, ERR_NOMEM, "TLS context");
	set_behaviour(ctx);
	if (set_versions(ctx, settings, e) != 0 || load_identity(ctx, settings, e) != 0)
		return -1;
	*out = ctx;
	ctx = NULL;
	return 0;
}

bool
tls_handshake_is_absurd(SSL *ssl)
{
	uint64_t octets = BIO_number_read(SSL_get_rbio(ssl));

	return octets > TLS_HANDSHAKE_OCTETS_MAX ||
		(octets > TLS_HELLO_OCTETS_MAX && SSL_get_state(ssl) == TLS_ST_BEFORE);
}

/* RFC 5929, section 3 and RFC 9266, section 4: what ties a CSR to this connection. */
static int
read_binding(SSL *ssl, struct est_binding *binding, struct err *e)
{
	if (SSL_version(ssl) == TLS1_3_VERSION) {
		if (SSL_export_keying_material(ssl, binding->exporter, sizeof binding->exporter, EXPORTER_LABEL,
			    strlen(EXPORTER_LABEL), (const unsigned char *)"", 0, 1) != 1)
			return err_ossl(e, ERR_BUG, "TLS exporter");
		binding->exporter_len = sizeof binding->exporter;
		return 0;
	}
	/* Without the extended master secret a man in the middle can make two connections share one (RFC 7627),
	 * and the value binds nothing. */
	if (SSL_get_extms_support(ssl) == 1 && SSL_session_reused(ssl) == 0) {
		size_t len = SSL_get_peer_finished(ssl, binding->unique, sizeof binding->unique);

		binding->unique_len = len <= sizeof binding->unique ? len : 0;
	}
	return 0;
}

/* The chain without the leaf, which a server's SSL_get_peer_cert_chain() leaves out already. */
static int
read_chain(SSL *ssl, struct conn_facts *facts, struct err *e)
{
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);

	facts->client_cert = SSL_get1_peer_certificate(ssl);
	if (facts->client_cert == NULL)
		return 0;
	if (sk_X509_num(sent) > 0) {
		facts->client_chain = X509_chain_up_ref(sent);
		if (facts->client_chain == NULL)
			return err_ossl(e, ERR_NOMEM, "client chain");
	}
	return x509_sha256(facts->client_cert, facts->client_sha256, e);
}

int
tls_facts(SSL *ssl, struct conn_facts *facts, struct err *e)
{
	if (read_chain(ssl, facts, e) != 0 || read_binding(ssl, &facts->binding, e) != 0)
		return -1;
	(void)snprintf(facts->tls_version, sizeof facts->tls_version, "%s", SSL_get_version(ssl));
	(void)snprintf(facts->tls_cipher, sizeof facts->tls_cipher, "%s", SSL_get_cipher_name(ssl));
	return 0;
}
