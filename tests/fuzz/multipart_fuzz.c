/*
 * Serverkeygen answers as a client reads them; two SEQUENCEs that split must
 * split again when they are put together here.
 */
#include <stdlib.h>

#include "est/keygen.h"

#define BOUNDARY "boundary"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf key = { 0 }, certs = { 0 }, whole = { 0 }, key2 = { 0 }, certs2 = { 0 };
	bool encrypted = false, encrypted2 = false;
	struct err e;

	if (est_keygen_split(bytes_of(data, size), BOUNDARY, &key, &encrypted, &certs, &e) != 0)
		demand(key.len == 0 && certs.len == 0);
	/* What is no SEQUENCE may look, in base64, like DER of the wrong kind. */
	else if (key.at[0] == 0x30 && certs.at[0] == 0x30) {
		est_keygen_multipart(&whole, BOUNDARY, buf_bytes(&key), encrypted, buf_bytes(&certs),
			EST_BASE64_WRAPPED);
		demand(est_keygen_split(buf_bytes(&whole), BOUNDARY, &key2, &encrypted2, &certs2, &e) == 0);
		demand(bytes_equal(buf_bytes(&key), buf_bytes(&key2)) && encrypted == encrypted2);
		demand(bytes_equal(buf_bytes(&certs), buf_bytes(&certs2)));
	}
	buf_free_secret(&key);
	buf_free_secret(&key2);
	buf_free(&certs);
	buf_free(&certs2);
	buf_free(&whole);
	return 0;
}
