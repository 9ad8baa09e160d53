/*
 * The statement for an external verifier: two octet strings, and what is stored of evidence, read back.
 */
#include <stdlib.h>

#include <openssl/err.h>

#include "gateway/core/enroll_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool holds)
{
	if (!holds)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct attestation list[ATTEST_PER_REQUEST_MAX];
	CLEANUP(buf) struct buf nonce = { 0 };
	CLEANUP(buf) struct buf evidence = { 0 };
	CLEANUP(buf) struct buf json = { 0 };
	struct err e = { 0 };
	size_t count = 0, again = 0;

	if (question_parse(bytes_of(data, size), &nonce, &evidence, &e) == 0)
		demand(nonce.len <= QUESTION_NONCE_MAX && evidence.len > 0 && evidence.len < size);
	else
		demand(e.code == ERR_MALFORMED);
	demand(ERR_peek_error() == 0);
	if (attestations_from_json(bytes_of(data, size), list, ATTEST_PER_REQUEST_MAX, &count, &e) != 0)
		return 0;
	attestations_json(list, count, &json);
	demand(attestations_from_json(buf_bytes(&json), list, ATTEST_PER_REQUEST_MAX, &again, &e) == 0 && again == count);
	return 0;
}
