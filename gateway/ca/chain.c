#include "gateway/ca/chain.h"

#include <openssl/err.h>

int
ca_chain_load(const struct ca_settings *settings, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *chain = NULL;
	size_t i;

	if (settings->certificate == NULL)
		return err_set(e, ERR_MALFORMED, "it has no certificate");
	if (x509_load_file(settings->certificate, &chain, e) != 0)
		return -1;
	if (sk_X509_num(chain) != 1)
		return err_set(e, ERR_MALFORMED, "%s holds %d certificates; the issuing one alone belongs there, "
			"the others in chain", settings->certificate, sk_X509_num(chain));
	for (i = 0; i < settings->chain_count; i++) {
		CLEANUP(x509_stack) STACK_OF(X509) *more = NULL;

		if (x509_load_file(settings->chain[i], &more, e) != 0)
			return -1;
		while (sk_X509_num(more) > 0) {
			X509 *cert = sk_X509_shift(more);

			if (sk_X509_push(chain, cert) <= 0) {
				X509_free(cert);
				return err_set(e, ERR_NOMEM, "no memory");
			}
		}
	}
	*out = chain;
	chain = NULL;
	return 0;
}

static int
check_ca_certificate(X509 *cert, struct err *e)
{
	uint32_t flags = X509_get_extension_flags(cert);
	char name[120];

	x509_name_text(X509_get_subject_name(cert), name, sizeof name);
	if ((flags & EXFLAG_INVALID) != 0)
		return err_set(e, ERR_MALFORMED, "certificate \"%s\" has an extension that does not decode", name);
	if ((flags & EXFLAG_CA) == 0)
		return err_set(e, ERR_MALFORMED, "certificate \"%s\" is not a CA's (basicConstraints)", name);
	/* X509_get_key_usage() says "everything" when there is no keyUsage. */
	if ((flags & EXFLAG_KUSAGE) == 0 || (X509_get_key_usage(cert) & KU_KEY_CERT_SIGN) == 0)
		return err_set(e, ERR_MALFORMED, "certificate \"%s\" may not sign certificates (keyUsage)", name);
	return 0;
}

/* Signatures, names, path lengths and name constraints from the issuing certificate up to the last. */
static int
check_path(STACK_OF(X509) *chain, struct err *e)
{
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	CLEANUP(X509_STORE) X509_STORE *store = X509_STORE_new();
	int count = sk_X509_num(chain), i;

	if (ctx == NULL || store == NULL ||
	    X509_STORE_add_cert(store, sk_X509_value(chain, count - 1)) != 1 ||
	    X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) != 1)
		return err_ossl(e, ERR_NOMEM, "checking the chain");
	/* A connector reads no clock; issue() compares times. */
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx),
		X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_CHECK_SS_SIGNATURE);
	if (X509_verify_cert(ctx) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_MALFORMED, "the chain does not hold at certificate %d: %s",
			X509_STORE_CTX_get_error_depth(ctx) + 1,
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	for (i = 0; i < count; i++)
		if (i >= sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) ||
		    X509_cmp(sk_X509_value(chain, i),
			    sk_X509_value(X509_STORE_CTX_get0_chain(ctx), i)) != 0)
			return err_set(e, ERR_MALFORMED,
				"certificate %d of the chain is not the issuer of the one before it", i + 1);
	return 0;
}

/*
 * RFC 5280, section 4.2.1.9: "it gives the maximum number of non-self-issued intermediate certificates that may follow this
 * certificate". The issuing one is such a certificate for its leaves, but not for OpenSSL, to which it is the path's last.
 */
static int
check_lengths(const STACK_OF(X509) *chain, struct err *e)
{
	long below = 0, most;
	char name[120];
	int i;

	for (i = 0; i < sk_X509_num(chain); i++) {
		X509 *cert = sk_X509_value(chain, i);

		most = X509_get_pathlen(cert);
		if (most >= 0 && below > most) {
			x509_name_text(X509_get_subject_name(cert), name, sizeof name);
			return err_set(e, ERR_MALFORMED, "the path length (%ld) of certificate \"%s\" leaves no room for "
				"certificates of the issuing one", most, name);
		}
		below += X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(cert)) != 0;
	}
	return 0;
}

int
ca_chain_check(STACK_OF(X509) *chain, struct err *e)
{
	X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
	char name[120];
	int i;

	for (i = 0; i < sk_X509_num(chain); i++)
		if (check_ca_certificate(sk_X509_value(chain, i), e) != 0)
			return -1;
	if (X509_NAME_cmp(X509_get_issuer_name(last), X509_get_subject_name(last)) != 0) {
		x509_name_text(X509_get_issuer_name(last), name, sizeof name);
		return err_set(e, ERR_MALFORMED, "the chain ends below its root: add the certificate of \"%s\"",
			name);
	}
	return check_path(chain, e) != 0 ? -1 : check_lengths(chain, e);
}
