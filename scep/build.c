#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/der.h"
#include "base/key.h"
#include "base/text.h"
#include "scep/internal.h"

#define ATTRIBUTES_MAX 9
#define STATUS_TEXT_MAX 12

static const uint8_t version_1[] = { DER_INTEGER, 1, 1 };
static const uint8_t id_data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01 };

/* Signed attributes, each as DER; each[] is in the order of a DER SET OF (X.690, section 11.6). */
struct attributes {
	struct buf der;
	struct span {
		size_t at, len;
	} each[ATTRIBUTES_MAX];
	size_t count;
};

static inline void
attributes_auto(struct attributes *attributes)
{
	buf_free(&attributes->der);
}

static bool
sorts_before(const struct buf *der, struct span a, struct span b)
{
	int order = memcmp(der->at + a.at, der->at + b.at, a.len < b.len ? a.len : b.len);

	return order < 0 || (order == 0 && a.len < b.len);
}

static void
add(struct attributes *attributes, enum scep_attribute which, uint8_t tag, struct bytes value)
{
	size_t at = attributes->der.len, i = attributes->count, sequence, set;
	struct span span;

	sequence = der_begin(&attributes->der, DER_SEQUENCE);
	der_put(&attributes->der, DER_OID, scep_attribute_oid(which));
	set = der_begin(&attributes->der, DER_SET);
	der_put(&attributes->der, tag, value);
	der_end(&attributes->der, set);
	der_end(&attributes->der, sequence);
	if (buf_failed(&attributes->der))
		return;
	span = (struct span){ .at = at, .len = attributes->der.len - at };
	for (; i > 0 && sorts_before(&attributes->der, span, attributes->each[i - 1]); i--)
		attributes->each[i] = attributes->each[i - 1];
	attributes->each[i] = span;
	attributes->count++;
}

/* Section 3.2.1: "Decimal value as a numeric text string". */
static void
add_number(struct attributes *attributes, enum scep_attribute which, int value)
{
	char text[STATUS_TEXT_MAX];

	(void)snprintf(text, sizeof text, "%d", value);
	add(attributes, which, DER_PRINTABLE_STRING, bytes_of_text(text));
}

/* RFC 5652, section 5.3: what is signed is the "SET OF" tag, what is sent is [0]. */
static void
attributes_put(const struct attributes *attributes, uint8_t tag, struct buf *out)
{
	size_t mark = der_begin(out, tag), i;

	for (i = 0; i < attributes->count; i++)
		buf_append(out, attributes->der.at + attributes->each[i].at, attributes->each[i].len);
	der_end(out, mark);
	if (buf_failed(&attributes->der))
		out->failed = true;
}

static void
add_reply(struct attributes *attributes, const struct scep_build *build)
{
	add_number(attributes, SCEP_ATTRIBUTE_STATUS, (int)build->status);
	add(attributes, SCEP_ATTRIBUTE_RECIPIENT_NONCE, DER_OCTET_STRING, build->recipient_nonce);
	if (build->status != SCEP_FAILURE)
		return;
	add_number(attributes, SCEP_ATTRIBUTE_FAIL, (int)build->fail);
	if (build->fail_text != NULL && build->fail_text[0] != '\0')
		add(attributes, SCEP_ATTRIBUTE_FAIL_TEXT, DER_UTF8_STRING, bytes_of_text(build->fail_text));
}

static int
make_attributes(const struct scep_build *build, const EVP_MD *digest, struct bytes content, struct bytes nonce,
	struct attributes *out, struct err *e)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_Digest(content.len == 0 ? "" : (const void *)content.at, content.len, hash, &len, digest, NULL) != 1)
		return err_ossl(e, ERR_BUG, "digest of a SCEP message");
	add(out, SCEP_ATTRIBUTE_CONTENT_TYPE, DER_OID, bytes_of(id_data, sizeof id_data));
	add(out, SCEP_ATTRIBUTE_MESSAGE_DIGEST, DER_OCTET_STRING, bytes_of(hash, len));
	add_number(out, SCEP_ATTRIBUTE_MESSAGE_TYPE, (int)build->type);
	add(out, SCEP_ATTRIBUTE_TRANSACTION, DER_PRINTABLE_STRING, bytes_of_text(build->transaction));
	add(out, SCEP_ATTRIBUTE_SENDER_NONCE, DER_OCTET_STRING, nonce);
	if (build->type == SCEP_CERT_REP)
		add_reply(out, build);
	return 0;
}

static int
sign(const struct scep_build *build, const EVP_MD *digest, const struct attributes *attributes,
	uint8_t signature[RSA_BITS_MAX / 8], size_t *len, struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf der = { 0 };
	int rc;

	attributes_put(attributes, DER_SET, &der);
	if (ctx == NULL || buf_failed(&der)) {
		buf_free(&der);
		return err_set(e, ERR_NOMEM, "SCEP message: no memory");
	}
	*len = RSA_BITS_MAX / 8;
	rc = EVP_DigestSignInit(ctx, NULL, digest, NULL, build->signer_key) == 1 ?
		EVP_DigestSign(ctx, signature, len, der.at, der.len) :
		0;
	buf_free(&der);
	return rc == 1 ? 0 : err_ossl(e, ERR_BUG, "signing a SCEP message");
}

/* RFC 5754, section 2: SHA-2 "with absent parameters"; older readers of SHA-1 and MD5 know NULL. */
static void
put_digest_algorithm(unsigned digest, const EVP_MD *md, struct buf *out)
{
	scep_put_algorithm(out, EVP_MD_get_type(md), (digest & (SCEP_MD5 | SCEP_SHA1)) != 0);
}

static int
put_signer_info(const struct scep_build *build, const EVP_MD *digest, const struct attributes *attributes,
	struct buf *out, struct err *e)
{
	uint8_t signature[RSA_BITS_MAX / 8];
	size_t len = 0, set, info;

	if (sign(build, digest, attributes, signature, &len, e) != 0)
		return -1;
	set = der_begin(out, DER_SET);
	info = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_1, sizeof version_1);
	scep_put_issuer_and_serial(out, build->signer);
	put_digest_algorithm(build->digest, digest, out);
	attributes_put(attributes, DER_CONTEXT_CONS(0), out);
	scep_put_algorithm(out, NID_rsaEncryption, true);
	der_put(out, DER_OCTET_STRING, bytes_of(signature, len));
	der_end(out, info);
	der_end(out, set);
	return 0;
}

/*
 * A message without content still has an eContent, of no octets: where it is
 * absent, as section 3.3.2.2 could be read, certmonger fails.
 */
static void
put_content(struct bytes content, struct buf *out)
{
	size_t sequence = der_begin(out, DER_SEQUENCE), explicit;

	der_put_oid(out, "1.2.840.113549.1.7.1");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	der_put(out, DER_OCTET_STRING, content);
	der_end(out, explicit);
	der_end(out, sequence);
}

static int
put_signed_data(const struct scep_build *build, const EVP_MD *digest, struct bytes content,
	const struct attributes *attributes, struct buf *out, struct err *e)
{
	size_t outer = der_begin(out, DER_SEQUENCE), explicit, signed_data, set, certs;

	der_put_oid(out, "1.2.840.113549.1.7.2");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	signed_data = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_1, sizeof version_1);
	set = der_begin(out, DER_SET);
	put_digest_algorithm(build->digest, digest, out);
	der_end(out, set);
	put_content(content, out);
	certs = der_begin(out, DER_CONTEXT_CONS(0));
	if (x509_to_der(build->signer, out, e) != 0)
		return -1;
	der_end(out, certs);
	if (put_signer_info(build, digest, attributes, out, e) != 0)
		return -1;
	der_end(out, signed_data);
	der_end(out, explicit);
	der_end(out, outer);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "SCEP message: no memory") : 0;
}

static int
check(const struct scep_build *build, const EVP_MD *digest, struct err *e)
{
	size_t len = build->transaction == NULL ? 0 : strlen(build->transaction);

	if (len == 0 || len > SCEP_TRANSACTION_MAX)
		return err_set(e, ERR_BUG, "SCEP transactionID of %zu characters", len);
	if (build->sender_nonce.len > SCEP_NONCE_MAX || build->recipient_nonce.len > SCEP_NONCE_MAX)
		return err_set(e, ERR_BUG, "SCEP nonce that is too long");
	if (build->fail_text != NULL && !text_is_clean(bytes_of_text(build->fail_text)))
		return err_set(e, ERR_BUG, "SCEP failInfoText is not UTF-8 or holds control characters");
	if (digest == NULL)
		return err_set(e, ERR_UNSUPPORTED, "SCEP digest %s is not available",
			scep_algorithm_name(build->digest));
	if (build->signer == NULL || build->signer_key == NULL || !EVP_PKEY_is_a(build->signer_key, "RSA") ||
	    EVP_PKEY_get_bits(build->signer_key) > RSA_BITS_MAX)
		return err_set(e, ERR_UNSUPPORTED, "a SCEP signer's key must be RSA of at most %d bits", RSA_BITS_MAX);
	return 0;
}

int
scep_build(const struct scep_build *build, struct buf *out, struct err *e)
{
	CLEANUP(attributes) struct attributes attributes = { 0 };
	CLEANUP(buf) struct buf content = { 0 };
	const EVP_MD *digest = scep_digest(build->digest);
	struct bytes nonce = build->sender_nonce;
	uint8_t fresh[SCEP_NONCE_LEN];
	size_t mark = out->len;

	if (check(build, digest, e) != 0)
		return -1;
	if (nonce.len == 0) {
		if (random_octets(fresh, sizeof fresh, e) != 0)
			return -1;
		nonce = bytes_of(fresh, sizeof fresh);
	}
	if (build->content.len != 0 && scep_envelop(build, &content, e) != 0)
		return -1;
	if (buf_failed(&content))
		return err_set(e, ERR_NOMEM, "SCEP message: no memory");
	if (make_attributes(build, digest, buf_bytes(&content), nonce, &attributes, e) != 0)
		return -1;
	if (put_signed_data(build, digest, buf_bytes(&content), &attributes, out, e) != 0) {
		out->len = mark;
		return -1;
	}
	if (build->made_nonce != NULL && build->sender_nonce.len == 0)
		memcpy(build->made_nonce, fresh, sizeof fresh);
	return 0;
}
