/* EC_KEY is deprecated since OpenSSL 3.0; this file is the only one here that uses it. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "gateway/ca/cmp.h"

#include <openssl/ec.h>

/*
 * OpenSSL protects a message by ASN1_item_sign(), which asks the signing context for the algorithm's name. While an ENGINE offers
 * EC methods (gateway/http/quickkeys.h) that context is one of the old kind, and a key of the new kind gets no
 * answer from it ("command not supported"). With a key of the old kind it does not have to ask.
 */
int
cmp_key_fit(EVP_PKEY **key, struct err *e)
{
	EVP_PKEY *fit;
	EC_KEY *ec;

	if (!EVP_PKEY_is_a(*key, "EC") || EVP_PKEY_get0_provider(*key) == NULL)
		return 0;
	ec = EVP_PKEY_get1_EC_KEY(*key);
	fit = ec == NULL ? NULL : EVP_PKEY_new();
	if (fit == NULL || EVP_PKEY_set1_EC_KEY(fit, ec) != 1) {
		EC_KEY_free(ec);
		EVP_PKEY_free(fit);
		return err_ossl(e, ERR_NOMEM, "client_key");
	}
	EC_KEY_free(ec);
	EVP_PKEY_free(*key);
	*key = fit;
	return 0;
}
