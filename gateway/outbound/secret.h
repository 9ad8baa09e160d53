/*
 * secret.h - passwords, tokens and private keys that an operator keeps outside the configuration.
 *
 * A setting names where one is, in one notation everywhere:
 *
 *   PATH or file:PATH  a regular file of this process's user (or root) with no permission for group or others
 *   credential:NAME    the file NAME in $CREDENTIALS_DIRECTORY, where systemd puts what LoadCredential= and SetCredential= name
 *   env:NAME           the value of an environment variable
 *
 * Each call reads anew. ERR_UPSTREAM, ERR_MALFORMED and ERR_UNSUPPORTED say what to mend ("chmod 600 ..."), never what
 * was read, nor the name of a secret's file that is not there, which may be the secret itself. Nothing is left behind here
 * but in out, which is the caller's: buf_free_secret(). OpenSSL's decoder is not as clean: a private key's DER stays in
 * memory it has freed, until that is used again.
 */
#ifndef GATEWAY_OUTBOUND_SECRET_H
#define GATEWAY_OUTBOUND_SECRET_H

#include "base/ossl.h"

#define SECRET_FILE_MAX 4096  /* octets of a secret that is one line */
#define SECRET_KEY_MAX  65536 /* octets of a private key's PEM; an RSA-4096 key takes 3300 */

/* The octets as they are, min to max of them, appended to out, which is untouched on failure. */
MUST_USE int secret_read(const char *source, size_t min, size_t max, struct buf *out, struct err *e);

/* The only line, without its newline, appended to out: 1-SECRET_FILE_MAX printable ASCII characters. */
MUST_USE int secret_file_read(const char *source, struct buf *out, struct err *e);

/* A private key in PEM without passphrase; *out is the caller's. pem, when not NULL, gets its octets too. */
MUST_USE int secret_key_read(const char *source, struct buf *pem, EVP_PKEY **out, struct err *e);

/* Where the path begins in "file:PATH" or a path alone; NULL when a source of these names no file by its path. */
const char *secret_path_of(const char *source);

static inline void
secret_buf_auto(struct buf *b)
{
	buf_free_secret(b);
}

#endif
