#include "gateway/ca/leaf.h"

#include <openssl/err.h>

#include "base/timefmt.h"
#include "gateway/ca/path.h"
#include "gateway/ca/tbs.h"

/*
 * A CA that draws 64 bits (CA/Browser Forum, Baseline Requirements, section 7.1) has one number in 256 with a leading zero octet, and
 * one in 2^24 that is shorter than this. A counter does not get here in the life of a CA.
 */
#define SERIAL_OCTETS_MIN 6
#define SERIAL_OCTETS_MAX 20 /* RFC 5280, section 4.1.2.2, counts the sign octet */

#define VERSION_3 2

static int
version_check(const LEAF *leaf, struct err *e)
{
	long version = leaf->tbs->version == NULL ? 0 : ASN1_INTEGER_get(leaf->tbs->version);

	if (version != VERSION_3)
		return err_set(e, ERR_DENIED, "it is not a version 3 certificate");
	if (leaf->tbs->issuer_uid != NULL || leaf->tbs->subject_uid != NULL)
		return err_set(e, ERR_DENIED, "it has a unique identifier (RFC 5280, section 4.1.2.8)");
	return 0;
}

static int
serial_check(const ASN1_INTEGER *serial, struct err *e)
{
	int len = ASN1_STRING_length(serial);
	const uint8_t *at = ASN1_STRING_get0_data(serial);
	char hex[SERIAL_ANY_MAX];

	if (asn1_serial_hex(serial, hex, e) != 0) {
		e->code = ERR_DENIED;
		return -1;
	}
	if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
		return err_set(e, ERR_DENIED, "its serial number is negative: %s", hex);
	if (len == 1 && at[0] == 0)
		return err_set(e, ERR_DENIED, "its serial number is zero");
	if (len < SERIAL_OCTETS_MIN)
		return err_set(e, ERR_DENIED, "its serial number %s has %d octets; fewer than %d can be guessed", hex, len,
			SERIAL_OCTETS_MIN);
	if (len + (at[0] >> 7) > SERIAL_OCTETS_MAX)
		return err_set(e, ERR_DENIED, "its serial number is longer than %d octets: %s", SERIAL_OCTETS_MAX, hex);
	return 0;
}

static int
validity_check(const LEAF *leaf, const struct ca_request *request, struct err *e)
{
	const struct cert_spec *spec = request->spec;
	char limit[TIME_TEXT_MAX];
	int64_t before = 0, after = 0;

	if (asn1_time_s(leaf->tbs->validity->notBefore, &before) != 0 ||
	    asn1_time_s(leaf->tbs->validity->notAfter, &after) != 0)
		return err_set(e, ERR_DENIED, "its validity is not a time");
	if (before < spec->not_before_s) {
		time_text(spec->not_before_s, limit);
		return err_set(e, ERR_DENIED, "it is valid before the approved %s", limit);
	}
	if (after > spec->not_after_s) {
		time_text(spec->not_after_s, limit);
		return err_set(e, ERR_DENIED, "it is valid beyond the approved %s", limit);
	}
	if (after <= before || after <= request->now_s)
		return err_set(e, ERR_DENIED, "it has expired already");
	if (before - request->now_s > CLOCKS_DIFFER_S) {
		time_text(before, limit);
		return err_set(e, ERR_DENIED, "it is not valid before %s", limit);
	}
	return 0;
}

/* Nobody's path holds through an issuing certificate that has ended (RFC 5280, section 6.1.3, (a)(2)). */
static int
issuer_validity_check(const X509 *issuer, int64_t now_s, struct err *e)
{
	int64_t before = 0, after = 0;

	if (x509_validity(issuer, &before, &after, e) != 0)
		return -1;
	if (now_s < before - CLOCKS_DIFFER_S || now_s > after)
		return err_set(e, ERR_DENIED, "the issuing certificate is not valid now");
	return 0;
}

static int
key_check(const LEAF *leaf, const struct ca_request *request, struct err *e)
{
	if (!leaf_has_key(leaf, request->spki))
		return err_set(e, ERR_DENIED, "it certifies another key than the one that was proven");
	return 0;
}

/* Octets first: decoding a name and bringing it to the canonical form costs more than the rest of the parse. */
static bool
names_issuer(const LEAF *leaf, const X509_NAME *issuer)
{
	CLEANUP(X509_NAME) X509_NAME *decoded = NULL;
	struct bytes found = leaf_octets(leaf->tbs->issuer);
	const uint8_t *der = NULL, *p = found.at;
	size_t len = 0;

	if (found.len == 0 || X509_NAME_get0_der(issuer, &der, &len) != 1)
		return false;
	if (bytes_equal(found, bytes_of(der, len)))
		return true;
	decoded = d2i_X509_NAME(NULL, &p, (long)found.len);
	return decoded != NULL && X509_NAME_cmp(decoded, issuer) == 0;
}

static int
issuer_check(const LEAF *leaf, X509 *issuer, struct err *e)
{
	const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(issuer);
	AUTHORITY_KEYID *named;
	void *decoded = NULL;
	bool critical, differs;

	if (!names_issuer(leaf, X509_get_subject_name(issuer)))
		return err_set(e, ERR_DENIED, "it names another issuer");
	if (leaf_extension(leaf, NID_authority_key_identifier, &decoded, &critical, e) != 0)
		return -1;
	named = decoded;
	differs = named != NULL && named->keyid != NULL && own != NULL &&
		ASN1_OCTET_STRING_cmp(named->keyid, own) != 0;
	AUTHORITY_KEYID_free(named);
	if (differs)
		return err_set(e, ERR_DENIED, "its authorityKeyIdentifier is not the issuer's");
	return 0;
}

/* SHA-1 and MD5 are not on the list, whatever OpenSSL's configuration allows. */
static const EVP_MD *
digest_of(int nid)
{
	if (nid == NID_sha256)
		return ossl_sha256();
	if (nid == NID_sha384)
		return ossl_sha384();
	return nid == NID_sha512 ? ossl_sha512() : NULL;
}

static const char *
key_type_of(int nid)
{
	if (nid == NID_rsaEncryption)
		return "RSA";
	if (nid == NID_X9_62_id_ecPublicKey)
		return "EC";
	return nid == NID_ED25519 ? "ED25519" : NULL;
}

/* A verification context for the leaf's algorithm and the issuer's key. */
static int
context_make(const LEAF *leaf, X509 *issuer, EVP_MD_CTX **out, struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int digest = NID_undef, type = NID_undef, nid = OBJ_obj2nid(leaf->algorithm->algorithm);
	const char *name;
	const EVP_MD *md;

	if (ctx == NULL)
		return err_set(e, ERR_NOMEM, "signature check: no memory");
	if (key == NULL)
		return err_ossl(e, ERR_DENIED, "the issuer's public key");
	(void)OBJ_find_sigid_algs(nid, &digest, &type);
	md = digest_of(digest);
	name = key_type_of(type);
	if (name == NULL || (md == NULL && nid != NID_ED25519))
		return err_set(e, ERR_DENIED, "its signature algorithm is not acceptable");
	if (!EVP_PKEY_is_a(key, name))
		return err_set(e, ERR_DENIED, "its signature algorithm does not fit the issuer's key");
	if (EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) != 1)
		return err_ossl(e, ERR_DENIED, "signature check");
	*out = ctx;
	ctx = NULL;
	return 0;
}

static int
signature_check(const LEAF *leaf, X509 *issuer, const struct verifier *verifier, struct err *e)
{
	struct bytes signature = bytes_of(ASN1_STRING_get0_data(leaf->signature),
		(size_t)ASN1_STRING_length(leaf->signature));
	struct bytes signed_octets = bytes_of(leaf->tbs->enc.enc, (size_t)leaf->tbs->enc.len);
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = NULL;

	if (X509_ALGOR_cmp(leaf->tbs->signature, leaf->algorithm) != 0)
		return err_set(e, ERR_DENIED, "it names two signature algorithms (RFC 5280, section 4.1.1.2)");
	if (verifier != NULL && verifier_is_for(verifier, OBJ_obj2nid(leaf->algorithm->algorithm)))
		return verifier_check(verifier, signed_octets, signature, e);
	if (context_make(leaf, issuer, &ctx, e) != 0)
		return -1;
	if (EVP_DigestVerify(ctx, signature.at, signature.len, signed_octets.at, signed_octets.len) != 1)
		return err_ossl(e, ERR_DENIED, "its signature is not the issuer's");
	return 0;
}

static int
leaf_check(struct bytes cert, const struct ca_request *request, X509 *issuer, const struct verifier *verifier,
	struct err *e)
{
	CLEANUP(leaf) LEAF *leaf = NULL;

	if (leaf_parse(cert, &leaf, e) != 0) {
		e->code = ERR_DENIED;
		return -1;
	}
	if (version_check(leaf, e) != 0 || serial_check(leaf->tbs->serial, e) != 0 ||
	    validity_check(leaf, request, e) != 0 || key_check(leaf, request, e) != 0 ||
	    leaf_extensions_check(leaf, request, e) != 0 ||
	    leaf_names_check(leaf, request->spec, e) != 0 || issuer_check(leaf, issuer, e) != 0 ||
	    issuer_validity_check(issuer, request->now_s, e) != 0)
		return -1;
	return signature_check(leaf, issuer, verifier, e);
}

int
leaf_verify(struct bytes cert, const struct ca_request *request, X509 *issuer, const struct verifier *verifier,
	struct err *e)
{
	int result = leaf_check(cert, request, issuer, verifier, e);

	/* What a strange certificate leaves in OpenSSL's queue must not explain a later failure. */
	if (result != 0)
		ERR_clear_error();
	return result;
}

#define NOT_APPROVED "the CA's certificate is not what was approved"

int
ca_verify_issued(struct bytes cert, const struct ca_request *request, X509 *issuer, struct err *e)
{
	if (leaf_verify(cert, request, issuer, NULL, e) != 0)
		return err_prefix(e, NOT_APPROVED);
	return 0;
}

int
ca_verify_below(struct bytes cert, const struct ca_request *request, const STACK_OF(X509) *chain, struct err *e)
{
	struct path path = { 0 };
	int result = ca_verify_issued(cert, request, sk_X509_value(chain, 0), e);

	if (result != 0)
		return -1;
	result = path_open(chain, &path, e);
	if (result == 0 && path_check_at(&path, cert, request->now_s, e) != 0)
		result = err_prefix(e, NOT_APPROVED);
	path_close(&path);
	return result;
}
