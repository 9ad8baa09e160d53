#include "scep/message.h"

#include <stdlib.h>

#include <openssl/err.h>

#include "scep/read.h"

#define SERIAL_DER_MAX 64

void
scep_message_free(struct scep_message *message)
{
	if (message == NULL)
		return;
	X509_free(message->signer);
	sk_X509_pop_free(message->certs, X509_free);
	if (message->parts != NULL) {
		scep_signed_free(message->parts->tree);
		scep_envelope_free(message->parts->envelope);
		rsa_public_free(message->parts->key);
	}
	free(message->parts);
	free(message);
}

static int
take_certs(struct scep_message *message, struct err *e)
{
	const STACK_OF(ASN1_TYPE) *values = message->parts->tree->certs;
	int i, n = sk_ASN1_TYPE_num(values); /* -1 when there are none */

	if (n > SCEP_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "%d certificates; at most %d are allowed", n, SCEP_CERTS_MAX);
	for (i = 0; i < n; i++) {
		const ASN1_TYPE *value = sk_ASN1_TYPE_value(values, i);
		X509 *cert = NULL;

		/* The rest of CertificateChoices (RFC 5652, section 10.2.2) is obsolete, and nothing signs with it. */
		if (value->type != V_ASN1_SEQUENCE)
			continue;
		if (x509_from_der(scep_string_bytes(value->value.sequence), &cert, e) != 0)
			return -1;
		if (sk_X509_push(message->certs, cert) <= 0) {
			X509_free(cert);
			return err_set(e, ERR_NOMEM, "SCEP message: no memory");
		}
	}
	return 0;
}

/* What the message says of itself; of its signer nothing is decoded yet, which is what costs. */
static int
take_attributes(struct scep_message *message, struct err *e)
{
	const SCEP_SIGNED *tree = message->parts->tree;
	const SCEP_SIGNER *signer;

	/* A second signer would be one that nobody verifies, or one too many to say who asks. */
	if (sk_SCEP_SIGNER_num(tree->signers) != 1)
		return err_set(e, ERR_MALFORMED, "%d signers; there must be one", sk_SCEP_SIGNER_num(tree->signers));
	signer = sk_SCEP_SIGNER_value(tree->signers, 0);
	message->digest = scep_digest_of(signer->digest->algorithm);
	scep_attributes_find(signer->attributes, &message->parts->attributes);
	return scep_attributes_read(&message->parts->attributes, message, e);
}

static int
take_signer(struct scep_message *message, struct err *e)
{
	const SCEP_CERT_ID *id = sk_SCEP_SIGNER_value(message->parts->tree->signers, 0)->id;
	int i, n = sk_X509_num(message->certs);
	uint8_t *spki = NULL;
	int len;

	for (i = 0; i < n; i++)
		if (scep_cert_is(id, sk_X509_value(message->certs, i)))
			break;
	ERR_clear_error();
	if (i == n)
		return err_set(e, ERR_MALFORMED, "the signer's certificate is not in the message");
	message->signer = sk_X509_value(message->certs, i);
	X509_up_ref(message->signer);
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(message->signer), &spki);
	if (len > 0)
		message->parts->key = rsa_public_new(bytes_of(spki, (size_t)len));
	OPENSSL_free(spki);
	ERR_clear_error();
	return 0;
}

/* The octets of the name were decoded with the SignerInfo; the certificate's are the same. */
static bool
plain_is(const SCEP_CERT_ID *id, const struct scep_plain *plain)
{
	uint8_t serial[SERIAL_DER_MAX], *p = serial;
	const uint8_t *name = NULL;
	size_t len = 0;
	int serial_len;

	if (id->type != SCEP_ID_ISSUER_SERIAL || X509_NAME_get0_der(id->by.issuer_serial->issuer, &name, &len) != 1 ||
	    !bytes_equal(bytes_of(name, len), plain->name))
		return false;
	serial_len = i2d_ASN1_INTEGER(id->by.issuer_serial->serial, NULL);
	return serial_len > 0 && (size_t)serial_len <= sizeof serial &&
		i2d_ASN1_INTEGER(id->by.issuer_serial->serial, &p) == serial_len &&
		bytes_equal(bytes_of(serial, (size_t)serial_len), plain->serial);
}

/*
 * A request with one certificate that names itself as issuer, as a device has before it has one of a CA: OpenSSL takes
 * 50 microseconds to decode that and to free it again, and of all it says only name, number and key are used.
 */
static bool
take_plainly(struct scep_message *message)
{
	const STACK_OF(ASN1_TYPE) *values = message->parts->tree->certs;
	const ASN1_TYPE *value = sk_ASN1_TYPE_value(values, 0);
	struct scep_plain plain;

	if (message->type == SCEP_CERT_REP || sk_ASN1_TYPE_num(values) != 1 || value->type != V_ASN1_SEQUENCE ||
	    !scep_plain_read(scep_string_bytes(value->value.sequence), &plain) ||
	    !plain_is(sk_SCEP_SIGNER_value(message->parts->tree->signers, 0)->id, &plain))
		return false;
	message->parts->key = rsa_public_new(plain.spki);
	if (message->parts->key != NULL)
		message->parts->plain = plain;
	return message->parts->key != NULL;
}

int
scep_message_decode(struct scep_message *message, struct err *e)
{
	if (message->signer != NULL)
		return 0;
	rsa_public_free(message->parts->key);
	message->parts->key = NULL;
	message->parts->plain = (struct scep_plain){ 0 };
	return take_certs(message, e) == 0 ? take_signer(message, e) : -1;
}

static int
take_content(struct scep_message *message, struct err *e)
{
	const SCEP_CONTENT *content = message->parts->tree->content;
	struct bytes octets = scep_string_bytes(content->octets);

	/* Section 3.2: "The eContentType in encapsulatedContentInfo MUST be data ({pkcs-7 1})." */
	if (OBJ_obj2nid(content->type) != NID_pkcs7_data)
		return err_set(e, ERR_MALFORMED, "the signed content is not data");
	if (octets.len == 0)
		return 0;
	if (scep_envelope_parse(octets, &message->parts->envelope, e) != 0)
		return -1;
	message->has_content = true;
	message->cipher = message->parts->envelope->cipher;
	return 0;
}

static struct scep_message *
message_new(void)
{
	struct scep_message *message = calloc(1, sizeof *message);

	if (message == NULL)
		return NULL;
	message->parts = calloc(1, sizeof *message->parts);
	message->certs = sk_X509_new_null();
	if (message->parts == NULL || message->certs == NULL) {
		scep_message_free(message);
		return NULL;
	}
	return message;
}

int
scep_message_parse(struct bytes der, struct scep_message **out, struct err *e)
{
	CLEANUP(scep_message) struct scep_message *message = message_new();

	if (message == NULL)
		return err_set(e, ERR_NOMEM, "SCEP message: no memory");
	message->parts->tree = scep_signed_decode(der, e);
	if (message->parts->tree == NULL)
		return -1;
	if (take_attributes(message, e) != 0 || take_content(message, e) != 0 ||
	    (!take_plainly(message) && scep_message_decode(message, e) != 0))
		return err_prefix(e, "SCEP message");
	*out = message;
	message = NULL;
	return 0;
}

int
scep_message_key(const struct scep_message *message, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len;

	if (message->signer == NULL) {
		buf_append_bytes(out, message->parts->plain.spki);
		return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a key") : 0;
	}
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(message->signer), &der);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "the signer's key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a key") : 0;
}

const struct rsa_public *
scep_message_get0_rsa(const struct scep_message *message)
{
	return message->parts->key;
}

bool
scep_nonce_matches(const struct scep_message *reply, struct bytes sent)
{
	return reply->recipient_nonce_len != 0 &&
		bytes_equal(bytes_of(reply->recipient_nonce, reply->recipient_nonce_len), sent);
}
