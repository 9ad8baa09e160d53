/*
 * primes.h - RSA keys by the thousand, put together from a few primes.
 *
 * Finding primes is what making an RSA key costs. n primes give n(n-1)/2 keys
 * that no server can tell from others - and that anybody can factor who has
 * seen two of them that share a prime: good as load, worthless as keys.
 */
#ifndef DEVSIM_PRIMES_H
#define DEVSIM_PRIMES_H

#include "base/ossl.h"

struct primes;

/* Room for as many primes of bits / 2 bits as count keys of bits bits need. */
MUST_USE int primes_new(size_t keys, int bits, struct primes **out, struct err *e);
void primes_free(struct primes *primes);

size_t primes_count(const struct primes *primes);
/* Find the prime of that index; each once, from any thread. */
MUST_USE int primes_find(struct primes *primes, size_t index, struct err *e);
/* The key of that index, after all primes were found; no two of them are equal. */
MUST_USE int primes_key(const struct primes *primes, size_t index, EVP_PKEY **out, struct err *e);

#endif
