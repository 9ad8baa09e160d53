/*
 * Who is who in SCEP: the certificates of GetCACert, a key's transaction, a certificate that signs itself.
 */
#include "devsim/scep_client.h"

#include <openssl/err.h>

#include "base/text.h"
#include "est/body.h"

#define SELF_SIGNED_S  86400 /* of validity, either way: devices' clocks are wrong */
#define SERIAL_OCTETS  16

void
scep_server_free(struct scep_server *server)
{
	buf_free(&server->caps_text);
	x509_stack_free(server->certs);
	sk_X509_free(server->recipients);
	*server = (struct scep_server){ 0 };
}

static bool
is_rsa(X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);

	return key != NULL && EVP_PKEY_is_a(key, "RSA");
}

static bool
is_ca(X509 *cert)
{
	return X509_check_ca(cert) != 0 && (X509_get_extension_flags(cert) & EXFLAG_CA) != 0;
}

/*
 * An RA's certificate if there is one, else the CA's own. By keyUsage, as Apple's client
 * chooses; section 3.5.2 knows servers that make nonsense of it, so it only comes first.
 */
static X509 *
choose_recipient(STACK_OF(X509) *certs)
{
	X509 *best = NULL;
	int best_rank = 0, i;

	for (i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);
		int rank = 1;

		if (!is_rsa(cert))
			continue;
		rank += is_ca(cert) ? 0 : 2;
		rank += (X509_get_key_usage(cert) & KU_KEY_ENCIPHERMENT) != 0 ? 1 : 0;
		if (rank > best_rank) {
			best = cert;
			best_rank = rank;
		}
	}
	ERR_clear_error();
	return best;
}

/* Who issues: the CA whose name the RA's certificate bears as its issuer, or the first one there is. */
static X509 *
choose_ca(STACK_OF(X509) *certs, X509 *recipient)
{
	X509 *found = NULL;
	int i;

	for (i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);

		if (!is_ca(cert))
			continue;
		if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(recipient)) == 0)
			return cert;
		if (found == NULL)
			found = cert;
	}
	ERR_clear_error();
	return found;
}

static int
read_certs(const struct http_answer *answer, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct bytes type = http_field(answer, "Content-Type"), body = buf_bytes(&answer->body);
	char shown[80];
	X509 *cert = NULL;

	if (http_type_is(type, "application/x-x509-ca-ra-cert"))
		return est_certs_decode(body, out, e);
	if (!http_type_is(type, "application/x-x509-ca-cert")) {
		text_escape(shown, sizeof shown, type);
		return err_set(e, ERR_MALFORMED, "the answer is \"%s\", no kind of CA certificate", shown);
	}
	certs = sk_X509_new_null();
	if (x509_from_der(body, &cert, e) != 0)
		return -1;
	if (certs == NULL || sk_X509_push(certs, cert) <= 0) {
		X509_free(cert);
		return err_ossl(e, ERR_NOMEM, "CA certificate");
	}
	*out = certs;
	certs = NULL;
	return 0;
}

int
scep_server_take(struct scep_server *server, const struct http_answer *answer, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	STACK_OF(X509) *recipients;
	X509 *recipient;

	if (read_certs(answer, &certs, e) != 0)
		return err_prefix(e, "GetCACert");
	recipient = choose_recipient(certs);
	if (recipient == NULL)
		return err_set(e, ERR_MALFORMED, "GetCACert: no RSA certificate in it to encrypt to");
	recipients = sk_X509_new_null();
	if (recipients == NULL || sk_X509_push(recipients, recipient) <= 0) {
		sk_X509_free(recipients);
		return err_ossl(e, ERR_NOMEM, "GetCACert");
	}
	server->ca = choose_ca(certs, recipient);
	server->recipients = recipients;
	server->certs = certs;
	certs = NULL;
	return 0;
}

int
scep_transaction_of(struct bytes spki, char out[SCEP_TRANSACTION_TEXT], struct err *e)
{
	uint8_t hash[32];

	if (sha256(spki, hash, e) != 0)
		return -1;
	hex_encode(bytes_of(hash, sizeof hash), out);
	return 0;
}

static int
set_serial(X509 *cert, struct err *e)
{
	uint8_t octets[SERIAL_OCTETS];
	BIGNUM *number;
	bool set;

	if (random_octets(octets, sizeof octets, e) != 0)
		return -1;
	octets[0] = (uint8_t)(octets[0] % 0x7f + 1); /* positive, and of this length */
	number = BN_bin2bn(octets, sizeof octets, NULL);
	set = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return set ? 0 : err_ossl(e, ERR_NOMEM, "serial number");
}

int
scep_self_sign(EVP_PKEY *key, struct bytes subject, X509 **out, struct err *e)
{
	CLEANUP(X509) X509 *cert = X509_new();
	CLEANUP(X509_NAME) X509_NAME *name = NULL;
	const uint8_t *at = subject.at;

	if (!EVP_PKEY_is_a(key, "RSA"))
		return err_set(e, ERR_UNSUPPORTED, "a SCEP client's own key must be RSA");
	name = d2i_X509_NAME(NULL, &at, (long)subject.len);
	if (cert == NULL || name == NULL)
		return err_ossl(e, ERR_NOMEM, "self-signed certificate");
	if (set_serial(cert, e) != 0)
		return -1;
	if (X509_set_version(cert, X509_VERSION_3) != 1 || X509_set_subject_name(cert, name) != 1 ||
	    X509_set_issuer_name(cert, name) != 1 || X509_gmtime_adj(X509_getm_notBefore(cert), -SELF_SIGNED_S) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(cert), SELF_SIGNED_S) == NULL || X509_set_pubkey(cert, key) != 1 ||
	    X509_sign(cert, key, ossl_sha256()) <= 0)
		return err_ossl(e, ERR_BUG, "self-signed certificate");
	*out = cert;
	cert = NULL;
	return 0;
}
