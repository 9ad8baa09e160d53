#include "gateway/ca/leaf.h"

#include <stdlib.h>

#include "base/timefmt.h"
#include "gateway/ca/chain.h"
#include "gateway/ca/crl.h"
#include "gateway/ca/path.h"
#include "gateway/ca/tbs.h"
#include "gateway/ca/verifier.h"

#define SIGNATURE_MAX 512 /* octets: RSA-4096 */

struct ca {
	STACK_OF(X509) *chain; /* issuing certificate first, root last */
	X509 *issuer;          /* the first of chain; its public key is decoded */
	EVP_PKEY *key;
	EVP_MD_CTX *signing;   /* ready to sign: copied for each signature, never used itself */
	struct verifier *verifier;
	struct path path;
	struct tbs_common common;
	int64_t not_before_s, not_after_s; /* of the issuing certificate */
};

static void
ca_close(struct ca *ca)
{
	if (ca == NULL)
		return;
	EVP_MD_CTX_free(ca->signing);
	verifier_free(ca->verifier);
	path_close(&ca->path);
	EVP_PKEY_free(ca->key);
	x509_stack_free(ca->chain);
	tbs_common_free(&ca->common);
	free(ca);
}
DEFINE_CLEANUP(ca, struct ca *, ca_close);

static int
check_key(const struct ca *ca, struct err *e)
{
	struct key_facts facts;
	char text[24];

	key_facts_of(ca->key, &facts);
	key_text(&facts, text);
	if (facts.kind != KEY_EC_P256 && facts.kind != KEY_EC_P384 &&
	    (facts.kind != KEY_RSA || facts.bits < 2048 || facts.bits > 4096))
		return err_set(e, ERR_UNSUPPORTED,
			"a CA cannot issue with a key of kind %s; EC P-256, P-384 and RSA of 2048 to 4096 bits are "
			"supported", text);
	if (facts.weak != NULL)
		return err_set(e, ERR_UNSUPPORTED, "issuing key: %s", facts.weak);
	if (X509_check_private_key(ca->issuer, ca->key) != 1)
		return err_ossl(e, ERR_MALFORMED, "the key is not the issuing certificate's");
	return 0;
}

/* Copying such a context costs 0.2 microseconds, initialising one 2.5. */
static int
prepare(struct ca *ca, struct err *e)
{
	struct key_facts facts;
	const EVP_MD *md;

	key_facts_of(ca->key, &facts);
	md = facts.kind == KEY_EC_P384 ? ossl_sha384() : ossl_sha256();
	ca->signing = EVP_MD_CTX_new();
	if (ca->signing == NULL || EVP_DigestSignInit(ca->signing, NULL, md, NULL, ca->key) != 1)
		return err_ossl(e, ERR_BUG, "preparing to sign");
	return verifier_new(X509_get0_pubkey(ca->issuer), md, &ca->verifier, e);
}

static int
open_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	if (settings->key == NULL)
		return err_set(e, ERR_MALFORMED, "it has no key");
	if (ca_chain_load(settings, &ca->chain, e) != 0)
		return -1;
	ca->issuer = sk_X509_value(ca->chain, 0);
	if (key_open(settings->key, &ca->key, e) != 0 || check_key(ca, e) != 0 || ca_chain_check(ca->chain, e) != 0 ||
	    x509_validity(ca->issuer, &ca->not_before_s, &ca->not_after_s, e) != 0 || prepare(ca, e) != 0 ||
	    path_open(ca->chain, &ca->path, e) != 0)
		return -1;
	return tbs_common_make(&ca->common, ca->issuer, settings, e);
}

static int
builtin_open(const struct ca_settings *settings, struct ca **out, struct err *e)
{
	CLEANUP(ca) struct ca *ca = calloc(1, sizeof *ca);

	if (ca == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a CA");
	if (open_parts(ca, settings, e) != 0)
		return err_prefix(e, "CA \"%s\"", settings->name == NULL ? "" : settings->name);
	*out = ca;
	ca = NULL;
	return 0;
}

/*
 * A leaf never outlives its issuer: the part of the approved validity that lies
 * outside the issuing certificate's own is cut off.
 */
static int
choose(const struct ca *ca, const struct ca_request *request, struct tbs_choice *out, struct err *e)
{
	const struct cert_spec *spec = request->spec;
	char when[TIME_TEXT_MAX];

	if (request->now_s >= ca->not_after_s || spec->not_before_s >= ca->not_after_s) {
		time_text(ca->not_after_s, when);
		return err_set(e, ERR_UPSTREAM, "the issuing certificate ends at %s", when);
	}
	if (request->now_s < ca->not_before_s || spec->not_after_s <= ca->not_before_s) {
		time_text(ca->not_before_s, when);
		return err_set(e, ERR_UPSTREAM, "the issuing certificate is not valid before %s", when);
	}
	out->not_before_s = spec->not_before_s > ca->not_before_s ? spec->not_before_s : ca->not_before_s;
	out->not_after_s = spec->not_after_s < ca->not_after_s ? spec->not_after_s : ca->not_after_s;
	return tbs_serial(request->now_s, out->serial, e);
}

static int
sign(const struct ca *ca, struct bytes tbs, uint8_t out[SIGNATURE_MAX], size_t *len, struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	*len = SIGNATURE_MAX;
	if (ctx == NULL || EVP_MD_CTX_copy_ex(ctx, ca->signing) != 1)
		return err_ossl(e, ERR_NOMEM, "signing");
	if (EVP_DigestSign(ctx, out, len, tbs.at, tbs.len) != 1)
		return err_ossl(e, ERR_BUG, "signing");
	return 0;
}

static int
verify(const struct ca *ca, struct bytes tbs, struct bytes signature, struct err *e)
{
	if (verifier_check(ca->verifier, tbs, signature, e) == 0)
		return 0;
	return e->code == ERR_NOMEM ? -1 : err_set(e, ERR_UPSTREAM, "the issuing key's signature does not verify");
}

static void
put_signature(const struct ca *ca, struct bytes signature, struct buf *out)
{
	size_t bits;

	buf_append_bytes(out, buf_bytes(&ca->common.signature));
	bits = der_begin(out, DER_BIT_STRING);
	buf_append_u8(out, 0);
	buf_append_bytes(out, signature);
	der_end(out, bits);
}

/* Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING } */
static int
make(const struct ca *ca, const struct ca_request *request, const struct tbs_choice *choice, struct buf *out,
	struct err *e)
{
	uint8_t signature[SIGNATURE_MAX];
	size_t len = 0, whole, start;

	whole = der_begin(out, DER_SEQUENCE);
	start = out->len;
	if (tbs_put(out, &ca->common, request, choice, e) != 0 ||
	    sign(ca, bytes_of(out->at + start, out->len - start), signature, &len, e) != 0)
		return -1;
	put_signature(ca, bytes_of(signature, len), out);
	der_end(out, whole);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "certificate: no memory");
	return 0;
}

static int
builtin_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(buf) struct buf cert = { 0 };
	struct tbs_choice choice;

	if (spec_check(request, e) != 0 || choose(ca, request, &choice, e) != 0 ||
	    make(ca, request, &choice, &cert, e) != 0)
		return -1;
	/* A faulty signature tells the key; a certificate that differs from its spec is our own fault. */
	if (leaf_verify(buf_bytes(&cert), request, ca->issuer, ca->verifier, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_BUG;
		return err_prefix(e, "the certificate just made is withheld");
	}
	if (path_check(&ca->path, buf_bytes(&cert), e) != 0)
		return -1;
	*out = (struct ca_answer){ .state = CA_ISSUED, .cert = cert, .not_before_s = choice.not_before_s,
		.not_after_s = choice.not_after_s };
	hex_encode(bytes_of(choice.serial, sizeof choice.serial), out->serial);
	cert = (struct buf){ 0 };
	return 0;
}

/* CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue BIT STRING } */
static int
builtin_crl(struct ca *ca, const struct ca_revoked *revoked, size_t count, int64_t number, int64_t now_s,
	int64_t next_s, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf list = { 0 };
	uint8_t signature[SIGNATURE_MAX];
	size_t len = 0, whole, start;

	if ((X509_get_key_usage(ca->issuer) & KU_CRL_SIGN) == 0)
		return err_set(e, ERR_UNSUPPORTED, "the issuing certificate may not sign revocation lists (keyUsage)");
	whole = der_begin(&list, DER_SEQUENCE);
	start = list.len;
	if (crl_put(&list, &ca->common, revoked, count, number, now_s, next_s, e) != 0 ||
	    sign(ca, bytes_of(list.at + start, list.len - start), signature, &len, e) != 0)
		return -1;
	if (verify(ca, bytes_of(list.at + start, list.len - start), bytes_of(signature, len), e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_BUG;
		return err_prefix(e, "the revocation list just made is withheld");
	}
	put_signature(ca, bytes_of(signature, len), &list);
	der_end(&list, whole);
	buf_append_bytes(out, buf_bytes(&list));
	if (buf_failed(&list) || buf_failed(out))
		return err_set(e, ERR_NOMEM, "revocation list: no memory");
	return 0;
}

/* The key signs, and what it signs verifies. */
static int
builtin_check(struct ca *ca, struct err *e)
{
	static const uint8_t probe[] = "readiness probe, not a certificate";
	uint8_t signature[SIGNATURE_MAX];
	size_t len = 0;

	if (sign(ca, bytes_of(probe, sizeof probe), signature, &len, e) != 0)
		return -1;
	return verify(ca, bytes_of(probe, sizeof probe), bytes_of(signature, len), e);
}

static const STACK_OF(X509) *
builtin_chain(const struct ca *ca)
{
	return ca->chain;
}

const struct ca_ops ca_builtin = {
	.type = "builtin",
	.verified = true,
	.open = builtin_open,
	.issue = builtin_issue,
	.crl = builtin_crl,
	.check = builtin_check,
	.chain = builtin_chain,
	.close = ca_close,
};
