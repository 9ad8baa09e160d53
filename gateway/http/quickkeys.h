/*
 * quickkeys.h - decode EC public keys by OpenSSL's old, quick path (optional).
 *
 * OpenSSL 3.0 sends each EC key of a certificate through its decoder chain.
 * While an ENGINE offers OpenSSL's own built-in EC methods, it takes the path
 * of 1.1.1 instead. The methods are the same code; no other implementation
 * comes in. README.md has the table of what works differently afterwards.
 */
#ifndef GATEWAY_HTTP_QUICKKEYS_H
#define GATEWAY_HTTP_QUICKKEYS_H

#include "base/ossl.h"

/*
 * For the whole process; call once, before other threads exist. It tries what
 * the gateway needs of EC keys first: when anything fails, everything is as
 * before and ERR_UNSUPPORTED says what it was. That is no reason not to start.
 */
MUST_USE int quick_keys_enable(struct err *e);
/* As it was before; allowed when it was never enabled. Other threads must not use EC keys at that moment. */
void quick_keys_disable(void);

#endif
