/*
 * basic.h - HTTP Basic credentials (RFC 7617).
 */
#ifndef GATEWAY_HTTP_BASIC_H
#define GATEWAY_HTTP_BASIC_H

#include <stdbool.h>

#define BASIC_MAX 256 /* octets of user and of secret, with the final NUL */

struct basic_credentials {
	char user[BASIC_MAX];
	char secret[BASIC_MAX];
};

/*
 * Parse an Authorization header's value. false, with both texts empty, when it
 * is absent (NULL), of another scheme, not base64, without a colon, longer than
 * BASIC_MAX or holds control characters (RFC 7617, section 2). The caller
 * overwrites the struct when done.
 */
bool basic_parse(const char *header, struct basic_credentials *out);

/*
 * The header line that asks for them, with CRLF: the realm as a quoted-string
 * (RFC 9110, section 5.6.4), without what cannot stand in one and cut to fit.
 */
#define BASIC_CHALLENGE_MAX 320
void basic_challenge(const char *realm, char out[BASIC_CHALLENGE_MAX]);

#endif
