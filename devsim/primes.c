#include "devsim/primes.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#define EXPONENT 65537

DEFINE_CLEANUP(BN_CTX, BN_CTX *, BN_CTX_free);
DEFINE_CLEANUP(OSSL_PARAM_BLD, OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free);
DEFINE_CLEANUP(OSSL_PARAM, OSSL_PARAM *, OSSL_PARAM_free);

struct primes {
	int bits; /* of one prime */
	size_t count;
	BIGNUM **at;
};

int
primes_new(size_t keys, int bits, struct primes **out, struct err *e)
{
	struct primes *primes = calloc(1, sizeof *primes);

	if (primes == NULL)
		return err_set(e, ERR_NOMEM, "primes: no memory");
	primes->bits = bits / 2;
	for (primes->count = 2; primes->count * (primes->count - 1) / 2 < keys; primes->count++)
		continue;
	primes->at = calloc(primes->count, sizeof(BIGNUM *));
	if (primes->at == NULL) {
		free(primes);
		return err_set(e, ERR_NOMEM, "primes: no memory");
	}
	*out = primes;
	return 0;
}

void
primes_free(struct primes *primes)
{
	size_t i;

	if (primes == NULL)
		return;
	for (i = 0; i < primes->count; i++)
		BN_clear_free(primes->at[i]);
	free(primes->at);
	free(primes);
}

size_t
primes_count(const struct primes *primes)
{
	return primes->count;
}

/* BN_generate_prime_ex() sets the two highest bits, so that a product of two has full length. */
int
primes_find(struct primes *primes, size_t index, struct err *e)
{
	BIGNUM *prime = BN_new();

	do {
		if (prime == NULL || BN_generate_prime_ex(prime, primes->bits, 0, NULL, NULL, NULL) != 1) {
			BN_free(prime);
			return err_ossl(e, ERR_BUG, "finding a prime");
		}
	} while (BN_mod_word(prime, EXPONENT) == 1); /* the exponent needs an inverse modulo prime - 1 */
	primes->at[index] = prime;
	return 0;
}

/* The numbers of RFC 8017, appendix A.1.2. */
static bool
push_numbers(OSSL_PARAM_BLD *build, const BIGNUM *p, const BIGNUM *q, BN_CTX *ctx)
{
	BIGNUM *n = BN_CTX_get(ctx), *d = BN_CTX_get(ctx), *phi = BN_CTX_get(ctx), *e = BN_CTX_get(ctx);
	BIGNUM *p1 = BN_CTX_get(ctx), *q1 = BN_CTX_get(ctx), *dp = BN_CTX_get(ctx), *dq = BN_CTX_get(ctx);
	BIGNUM *inverse = BN_CTX_get(ctx);

	return inverse != NULL && BN_set_word(e, EXPONENT) == 1 && BN_mul(n, p, q, ctx) == 1 &&
		BN_sub(p1, p, BN_value_one()) == 1 && BN_sub(q1, q, BN_value_one()) == 1 &&
		BN_mul(phi, p1, q1, ctx) == 1 && BN_mod_inverse(d, e, phi, ctx) != NULL &&
		BN_mod(dp, d, p1, ctx) == 1 && BN_mod(dq, d, q1, ctx) == 1 &&
		BN_mod_inverse(inverse, q, p, ctx) != NULL &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_D, d) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_FACTOR1, p) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_FACTOR2, q) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_EXPONENT1, dp) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_EXPONENT2, dq) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, inverse) == 1;
}

static int
put_together(const BIGNUM *p, const BIGNUM *q, EVP_PKEY **out, struct err *e)
{
	CLEANUP(BN_CTX) BN_CTX *ctx = BN_CTX_new();
	CLEANUP(OSSL_PARAM_BLD) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	CLEANUP(OSSL_PARAM) OSSL_PARAM *params = NULL;

	if (ctx == NULL || build == NULL || maker == NULL)
		return err_ossl(e, ERR_NOMEM, "making a key");
	BN_CTX_start(ctx);
	if (push_numbers(build, p, q, ctx))
		params = OSSL_PARAM_BLD_to_param(build);
	BN_CTX_end(ctx);
	if (params == NULL || EVP_PKEY_fromdata_init(maker) != 1 ||
	    EVP_PKEY_fromdata(maker, out, EVP_PKEY_KEYPAIR, params) != 1)
		return err_ossl(e, ERR_BUG, "making a key");
	return 0;
}

/* Pairs in the order (0,1) (0,2) (1,2) (0,3) ...; p is the larger one, as OpenSSL makes its own keys. */
int
primes_key(const struct primes *primes, size_t index, EVP_PKEY **out, struct err *e)
{
	const BIGNUM *p, *q;
	size_t second = 1;

	while (index >= second)
		index -= second++;
	p = primes->at[second];
	q = primes->at[index];
	return BN_cmp(p, q) > 0 ? put_together(p, q, out, e) : put_together(q, p, out, e);
}
