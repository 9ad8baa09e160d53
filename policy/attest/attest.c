#include "policy/attest/attest.h"

static const struct attest_ops *const verifiers[] = { &attest_tpm, &attest_android, &attest_yubikey };

const struct attest_ops *
attest_ops_of(enum attest_method method)
{
	size_t i;

	for (i = 0; i < sizeof verifiers / sizeof verifiers[0]; i++)
		if (verifiers[i]->method == method)
			return verifiers[i];
	return NULL;
}
