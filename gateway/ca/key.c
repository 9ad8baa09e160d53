#include <strings.h>

#include "gateway/ca/key_pkcs11.h"
#include "gateway/outbound/secret.h"

int
key_open(const char *uri, EVP_PKEY **out, struct err *e)
{
	return strncasecmp(uri, "pkcs11:", 7) == 0 ? key_pkcs11_open(uri, out, e) : secret_key_read(uri, NULL, out, e);
}
