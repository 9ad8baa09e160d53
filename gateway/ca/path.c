#include "gateway/ca/path.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/timefmt.h"

#define OID_SHOWN 80

/* Of all of them together. */
static int
dates_of(const STACK_OF(X509) *chain, struct path *out, struct err *e)
{
	int64_t before = 0, after = 0;
	int i;

	out->not_before_s = INT64_MIN;
	out->not_after_s = INT64_MAX;
	for (i = 0; i < sk_X509_num(chain); i++) {
		if (x509_validity(sk_X509_value(chain, i), &before, &after, e) != 0)
			return -1;
		if (before > out->not_before_s)
			out->not_before_s = before;
		if (after < out->not_after_s)
			out->not_after_s = after;
	}
	return 0;
}

int
path_open(const STACK_OF(X509) *chain, struct path *out, struct err *e)
{
	int count = sk_X509_num(chain), i;
	bool constrains = false;

	out->chain = sk_X509_dup(chain);
	if (out->chain == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a chain");
	if (dates_of(chain, out, e) != 0)
		return -1;
	for (i = 0; i < count; i++) {
		const X509 *cert = sk_X509_value(chain, i);

		constrains = constrains || X509_get_ext_by_NID(cert, NID_name_constraints, -1) >= 0 ||
			X509_get_ext_by_NID(cert, NID_ext_key_usage, -1) >= 0;
	}
	if (!constrains)
		return 0;
	out->store = X509_STORE_new();
	if (out->store == NULL || X509_STORE_add_cert(out->store, sk_X509_value(chain, count - 1)) != 1)
		return err_ossl(e, ERR_NOMEM, "the chain");
	return 0;
}

void
path_close(struct path *path)
{
	X509_STORE_free(path->store);
	sk_X509_free(path->chain);
	*path = (struct path){ 0 };
}

static bool
has_usage(const EXTENDED_KEY_USAGE *usages, const ASN1_OBJECT *wanted)
{
	int i;

	for (i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
		const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(usages, i);

		if (OBJ_cmp(usage, wanted) == 0 || OBJ_obj2nid(usage) == NID_anyExtendedKeyUsage)
			return true;
	}
	return false;
}

/* 0 unless the CA certificate has usages and the leaf others than these. */
static int
usages_check(X509 *cert, const EXTENDED_KEY_USAGE *of_leaf, struct err *e)
{
	EXTENDED_KEY_USAGE *of_ca = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	char oid[OID_SHOWN], name[80];
	int i, result = 0;

	for (i = 0; of_ca != NULL && result == 0 && i < sk_ASN1_OBJECT_num(of_leaf); i++) {
		if (has_usage(of_ca, sk_ASN1_OBJECT_value(of_leaf, i)))
			continue;
		(void)OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(of_leaf, i), 1);
		x509_name_text(X509_get_subject_name(cert), name, sizeof name);
		result = err_set(e, ERR_DENIED, "extended key usage %s is not among those of the CA certificate \"%s\"", oid, name);
	}
	EXTENDED_KEY_USAGE_free(of_ca);
	return result;
}

/*
 * A leaf cannot be used for what a CA certificate above it is not for. RFC 5280 knows no such rule; OpenSSL, Go, NSS and Windows have
 * it (CA/Browser Forum, Baseline Requirements, section 7.1.2.2).
 */
static int
all_usages_check(const struct path *path, X509 *leaf, struct err *e)
{
	EXTENDED_KEY_USAGE *of_leaf = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
	int i, result = 0;

	for (i = 0; of_leaf != NULL && result == 0 && i < sk_X509_num(path->chain); i++)
		result = usages_check(sk_X509_value(path->chain, i), of_leaf, e);
	EXTENDED_KEY_USAGE_free(of_leaf);
	return result;
}

static int
names_check(const struct path *path, X509 *leaf, struct err *e)
{
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (ctx == NULL || X509_STORE_CTX_init(ctx, path->store, leaf, path->chain) != 1)
		return err_ossl(e, ERR_NOMEM, "checking the chain");
	/* Dates are compared by whoever knows the time; see path_is_valid(). */
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
	if (X509_verify_cert(ctx) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_DENIED, "the chain does not hold with it: %s",
		X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
}

int
path_check(const struct path *path, struct bytes cert, struct err *e)
{
	CLEANUP(X509) X509 *leaf = NULL;

	if (path->store == NULL)
		return 0;
	if (x509_from_der(cert, &leaf, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_DENIED;
		return -1;
	}
	return names_check(path, leaf, e) != 0 ? -1 : all_usages_check(path, leaf, e);
}

int
path_is_valid(const struct path *path, int64_t now_s, struct err *e)
{
	char when[TIME_TEXT_MAX];

	if (now_s > path->not_after_s) {
		time_text(path->not_after_s, when);
		return err_set(e, ERR_UPSTREAM, "the chain of its certificates ended at %s", when);
	}
	if (now_s < path->not_before_s - CLOCKS_DIFFER_S) {
		time_text(path->not_before_s, when);
		return err_set(e, ERR_UPSTREAM, "the chain of its certificates is not valid before %s", when);
	}
	return 0;
}

int
path_check_at(const struct path *path, struct bytes cert, int64_t now_s, struct err *e)
{
	if (path_is_valid(path, now_s, e) != 0) {
		e->code = ERR_DENIED;
		return -1;
	}
	return path_check(path, cert, e);
}

int
ca_chain_is_valid(const STACK_OF(X509) *chain, int64_t now_s, struct err *e)
{
	struct path path = { 0 };

	return dates_of(chain, &path, e) != 0 ? -1 : path_is_valid(&path, now_s, e);
}
