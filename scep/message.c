#include "scep/message.h"

#include <stdlib.h>

#include <openssl/err.h>

#include "scep/read.h"

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
		if (scep_cert_decode(scep_string_bytes(value->value.sequence), &cert, e) != 0)
			return -1;
		message->parts->certs[sk_X509_num(message->certs)] = scep_string_bytes(value->value.sequence);
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

	for (i = 0; i < n; i++)
		if (scep_cert_is(id, sk_X509_value(message->certs, i)))
			break;
	ERR_clear_error();
	if (i == n)
		return err_set(e, ERR_MALFORMED, "the signer's certificate is not in the message");
	message->signer = sk_X509_value(message->certs, i);
	message->parts->signer = message->parts->certs[i];
	X509_up_ref(message->signer);
	return 0;
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
	if (take_attributes(message, e) != 0 || take_content(message, e) != 0 || take_certs(message, e) != 0 ||
	    take_signer(message, e) != 0)
		return err_prefix(e, "SCEP message");
	*out = message;
	message = NULL;
	return 0;
}

bool
scep_nonce_matches(const struct scep_message *reply, struct bytes sent)
{
	return reply->recipient_nonce_len != 0 &&
		bytes_equal(bytes_of(reply->recipient_nonce, reply->recipient_nonce_len), sent);
}
