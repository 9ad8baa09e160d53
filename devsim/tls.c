#include "devsim/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ec.h>
#include <openssl/err.h>

#include "base/ossl.h"

#define EXPORTER_LABEL "EXPORTER-Channel-Binding" /* RFC 9266, section 4.2 */
#define TLS_GROUPS     "X25519:P-256:P-384"
#define FLIGHT_US_MAX  60000000 /* RFC 6347, section 4.2.4.1: "no less than the RFC 6298 maximum of 60 seconds" */

struct tls {
	SSL_CTX *ctx;
	bool datagrams;
	uint64_t mtu;
	int64_t timer_us;
	char host[URL_HOST_MAX]; /* "" for an address: RFC 6066, section 3 allows no address in server_name */
	pthread_mutex_t lock;
	bool pinned;
	uint8_t pin[32];
};

/*
 * Building the server's chain costs a generator as much as the handshake, and
 * the server shows the same certificate every time: the one that passed the
 * whole check is remembered by its hash.
 */
static int
verify_once(X509_STORE_CTX *ctx, void *arg)
{
	struct tls *tls = arg;
	const X509 *cert = X509_STORE_CTX_get0_cert(ctx);
	uint8_t hash[32];
	struct err e;
	bool known;

	if (cert == NULL || x509_sha256(cert, hash, &e) != 0)
		return 0;
	(void)pthread_mutex_lock(&tls->lock);
	known = tls->pinned && memcmp(hash, tls->pin, sizeof hash) == 0;
	(void)pthread_mutex_unlock(&tls->lock);
	if (known) {
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}
	if (X509_verify_cert(ctx) != 1)
		return 0;
	(void)pthread_mutex_lock(&tls->lock);
	memcpy(tls->pin, hash, sizeof hash);
	tls->pinned = true;
	(void)pthread_mutex_unlock(&tls->lock);
	return 1;
}

static int
set_trust(struct tls *tls, const struct tls_options *options, const struct url *url, struct err *e)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls->ctx);

	if (options->insecure)
		return 0;
	if (options->cacert == NULL)
		return err_set(e, ERR_DENIED, "the server cannot be verified: give --cacert FILE, or --insecure");
	if (SSL_CTX_load_verify_locations(tls->ctx, options->cacert, NULL) != 1)
		return err_ossl(e, ERR_MALFORMED, options->cacert);
	if ((url->is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, url->host) :
		X509_VERIFY_PARAM_set1_host(param, url->host, 0)) != 1)
		return err_ossl(e, ERR_MALFORMED, "server name");
	SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(tls->ctx, verify_once, tls);
	return 0;
}

static int
set_version(SSL_CTX *ctx, int version)
{
	int least = version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
	int most = version == TLS_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;

	return SSL_CTX_set_min_proto_version(ctx, least) == 1 && SSL_CTX_set_max_proto_version(ctx, most) == 1;
}

/* RFC 9148, section 3: ECDHE_ECDSA with AES_128_CCM_8, P-256; the others as RFC 7925 allows them. */
static int
set_datagrams(struct tls *tls, const struct tls_options *options)
{
	static const char *const suites[] = { "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256",
		"ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES128-GCM-SHA256" };
	char groups[][sizeof "P-256:X25519"] = { "P-256:X25519", "X25519:P-256" };

	tls->datagrams = true;
	tls->mtu = options->mtu != 0 ? options->mtu : DTLS_MTU_DEFAULT;
	tls->timer_us = options->timer_us;
	(void)SSL_CTX_set_options(tls->ctx, SSL_OP_NO_QUERY_MTU);
	return SSL_CTX_set_app_data(tls->ctx, tls) == 1 &&
		SSL_CTX_set_min_proto_version(tls->ctx, DTLS1_2_VERSION) == 1 &&
		SSL_CTX_set_cipher_list(tls->ctx, suites[options->suite]) == 1 &&
		SSL_CTX_set1_groups_list(tls->ctx, groups[options->group]) == 1;
}

static int
set_stream(struct tls *tls, const struct tls_options *options)
{
	char groups[] = TLS_GROUPS;

	return set_version(tls->ctx, options->version) && SSL_CTX_set1_groups_list(tls->ctx, groups) == 1;
}

int
tls_new(const struct tls_options *options, const struct url *url, struct tls **out, struct err *e)
{
	CLEANUP(tls) struct tls *tls = calloc(1, sizeof *tls);

	if (tls == NULL)
		return err_set(e, ERR_NOMEM, "TLS: no memory");
	(void)pthread_mutex_init(&tls->lock, NULL);
	tls->ctx = SSL_CTX_new(url->coap ? DTLS_client_method() : TLS_client_method());
	if (tls->ctx == NULL || !(url->coap ? set_datagrams(tls, options) : set_stream(tls, options)))
		return err_ossl(e, ERR_BUG, "TLS");
	/* Every handshake is a full one: that is what tls-unique and a load test need. */
	(void)SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
		SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		SSL_MODE_RELEASE_BUFFERS);
	if (!url->is_ip)
		memcpy(tls->host, url->host, sizeof tls->host);
	if (set_trust(tls, options, url, e) != 0)
		return -1;
	*out = tls;
	tls = NULL;
	return 0;
}

void
tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->ctx);
	(void)pthread_mutex_destroy(&tls->lock);
	free(tls);
}

/* How long the next flight waits for its answer: doubled each time, as OpenSSL does it, from another beginning. */
static unsigned
next_timer_us(SSL *ssl, unsigned last_us)
{
	const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (last_us == 0)
		return (unsigned)tls->timer_us;
	return last_us > FLIGHT_US_MAX / 2 ? FLIGHT_US_MAX : 2 * last_us;
}

static int
use_socket(const struct tls *tls, SSL *ssl, int fd)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof peer;
	BIO *bio;

	if (!tls->datagrams)
		return SSL_set_fd(ssl, fd);
	bio = BIO_new_dgram(fd, BIO_NOCLOSE);
	if (bio == NULL || getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
		BIO_free(bio);
		return 0;
	}
	/* A BIO_ADDR is a union of socket addresses. */
	(void)BIO_ctrl_set_connected(bio, &peer);
	SSL_set_bio(ssl, bio, bio);
	(void)SSL_set_mtu(ssl, (long)tls->mtu);
	if (tls->timer_us != 0)
		DTLS_set_timer_cb(ssl, next_timer_us);
	return 1;
}

SSL *
tls_connection(struct tls *tls, int fd, struct err *e)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (ssl == NULL || use_socket(tls, ssl, fd) != 1 ||
	    (tls->host[0] != '\0' && SSL_set_tlsext_host_name(ssl, tls->host) != 1)) {
		SSL_free(ssl);
		(void)err_ossl(e, ERR_NOMEM, "TLS connection");
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

int
tls_error(SSL *ssl, int rc, const char *phase, struct err *e)
{
	int saved = errno;
	int reason = SSL_get_error(ssl, rc);
	long verify = SSL_get_verify_result(ssl);

	if (reason == SSL_ERROR_ZERO_RETURN)
		return err_set(e, ERR_UPSTREAM, "%s: the server closed the connection", phase);
	if (reason == SSL_ERROR_SYSCALL) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s: %s", phase,
			saved == 0 ? "the server closed the connection" : strerror(saved));
	}
	if (verify != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s: the server's certificate: %s", phase,
			X509_verify_cert_error_string(verify));
	}
	return err_ossl(e, ERR_UPSTREAM, phase);
}

const char *
tls_group_name(SSL *ssl)
{
	int nid = (int)SSL_get_negotiated_group(ssl);
	const char *name = nid == NID_undef ? NULL : EC_curve_nid2nist(nid);

	if (name == NULL && nid != NID_undef)
		name = OBJ_nid2sn(nid);
	return name == NULL ? "" : name;
}

void
tls_binding(SSL *ssl, struct est_binding *out)
{
	/* DTLS counts its versions downwards. */
	bool tls13 = !SSL_is_dtls(ssl) && SSL_version(ssl) >= TLS1_3_VERSION;

	*out = (struct est_binding){ 0 };
	if (tls13 && SSL_export_keying_material(ssl, out->exporter, sizeof out->exporter, EXPORTER_LABEL,
		sizeof EXPORTER_LABEL - 1, NULL, 0, 1) == 1)
		out->exporter_len = sizeof out->exporter;
	ERR_clear_error();
	/* RFC 5929, section 3.1: the first Finished of the handshake, here the client's, for it is never resumed. */
	if (!tls13 && SSL_get_extms_support(ssl) == 1 && SSL_session_reused(ssl) == 0) {
		size_t len = SSL_get_finished(ssl, out->unique, sizeof out->unique);

		out->unique_len = len < sizeof out->unique ? len : sizeof out->unique;
	}
}
