/*
 * seal.h - octets that hold a secret and must outlive a restart: encrypted, with a key beside the database.
 *
 * A SCEP request holds its challenge, and cannot be stored without it, since
 * its signature covers it. Who reads the database or its backup without the
 * key file reads no challenge. AES-256-GCM with a random nonce.
 */
#ifndef GATEWAY_CORE_SEAL_H
#define GATEWAY_CORE_SEAL_H

#include "base/bytes.h"

struct seal;

/*
 * The key file's key; a file that is not there is made (0600, synced), one that
 * others may read is refused: ERR_UPSTREAM says what to mend. *out is the caller's.
 */
MUST_USE int seal_load(const char *path, struct seal **out, struct err *e);
void seal_free(struct seal *seal); /* NULL is allowed */
DEFINE_CLEANUP(seal, struct seal *, seal_free);

/* Appended to out. context (such as the digest of what is sealed) is bound to it, and not in it. */
MUST_USE int seal_close(const struct seal *seal, struct bytes context, struct bytes plain, struct buf *out,
	struct err *e);
/* ERR_UPSTREAM: sealed with another key or context, or changed. */
MUST_USE int seal_open(const struct seal *seal, struct bytes context, struct bytes sealed, struct buf *out,
	struct err *e);
/*
 * Octets for another purpose, made from the key file's key by HKDF-SHA-256 (RFC 5869): the same ones as long as the file
 * is, and they tell nothing of the key.
 */
MUST_USE int seal_derive(const struct seal *seal, const char *purpose, uint8_t *out, size_t len, struct err *e);
/* Does it begin like something sealed here? No DER does. */
bool seal_is(struct bytes octets);

#endif
