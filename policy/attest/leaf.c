#include "policy/attest/leaf.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/key.h"
#include "base/text.h"

DEFINE_CLEANUP(ASN1_OBJECT, ASN1_OBJECT *, ASN1_OBJECT_free);

struct bytes
leaf_statement(const struct attest_input *in)
{
	if (in->statement >= in->evidence->statement_count)
		return bytes_of(NULL, 0);
	return in->evidence->statements[in->statement].stmt;
}

bool
leaf_is_null(struct bytes der)
{
	return bytes_equal(der, bytes_of("\x05\x00", 2));
}

void
leaf_begin(const struct attest_settings *settings, struct attestation *out)
{
	*out = (struct attestation){ .method = settings->method };
	memcpy(out->attester, settings->name, sizeof out->attester);
}

void
leaf_conclude(struct attestation *out)
{
	attest_conclude(out);
	if (out->valid)
		return;
	out->key_bound = out->fresh = false;
	out->anchor_count = 0;
}

int
attest_leaf_extension(const X509 *cert, const char *dotted, struct bytes *out)
{
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *oid = OBJ_txt2obj(dotted, 1);
	const ASN1_OCTET_STRING *value;
	int at;

	if (oid == NULL)
		return -1;
	at = X509_get_ext_by_OBJ(cert, oid, -1);
	if (at < 0)
		return 0;
	if (X509_get_ext_by_OBJ(cert, oid, at) >= 0)
		return -1;
	value = X509_EXTENSION_get_data(X509_get_ext(cert, at));
	if (value == NULL)
		return -1;
	*out = bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	return 1;
}

bool
leaf_check_key(X509 *leaf, struct bytes spki, const char *name, struct attestation *out)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	EVP_PKEY *attested = X509_get0_pubkey(leaf);
	struct key_facts facts;
	char text[24];
	struct err e;

	if (key_from_spki(spki, &key, &facts, &e) != 0)
		return attest_check(out, name, false, "the request's key: %s", e.text);
	key_text(&facts, text);
	out->key_bound = attested != NULL && EVP_PKEY_eq(attested, key) == 1;
	ERR_clear_error();
	return attest_check(out, name, out->key_bound, "%s%s", text,
		out->key_bound ? "" : ": another key than the attested one");
}

bool
leaf_check_nonce(const struct attest_input *in, struct bytes nonce, const char *name, struct attestation *out)
{
	char hex[2 * ATTEST_NONCE_MAX + 1];

	if (nonce.len < ATTEST_NONCE_MIN || nonce.len > ATTEST_NONCE_MAX)
		return attest_check(out, name, false, "%zu octets; a nonce has %d to %d", nonce.len, ATTEST_NONCE_MIN,
			ATTEST_NONCE_MAX);
	hex_encode(nonce, hex);
	out->fresh = in->is_nonce != NULL && in->is_nonce(in->nonce_arg, nonce);
	return attest_check(out, name, out->fresh, "%.32s%s%s", hex, hex[32] == '\0' ? "" : "...",
		out->fresh ? "" : ": not a nonce of ours");
}

bool
leaf_anchor(const struct attest_settings *settings, enum anchor_type type, struct bytes value,
	struct attestation *out, struct err *why)
{
	struct anchor anchor = { .type = type };

	if (out->anchor_count == ATTEST_ANCHORS_MAX) {
		(void)err_set(why, ERR_LIMIT, "more than %d identities", ATTEST_ANCHORS_MAX);
		return false;
	}
	if (text_copy(anchor.value, sizeof anchor.value, value, anchor_type_name(type), why) != 0 ||
	    anchor_normalise(&anchor, why) != 0)
		return false;
	memcpy(anchor.issuer, settings->name, sizeof anchor.issuer);
	out->anchors[out->anchor_count++] = anchor;
	return true;
}
