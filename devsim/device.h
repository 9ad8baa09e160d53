/*
 * device.h - what a device is: a name, a certificate with its chain, a key.
 */
#ifndef DEVSIM_DEVICE_H
#define DEVSIM_DEVICE_H

#include "base/ossl.h"

#define DEVICE_NAME_MAX 128

struct device {
	char name[DEVICE_NAME_MAX];
	X509 *cert;             /* NULL: none; the connection is made without */
	STACK_OF(X509) *chain;  /* issuing certificates, without the root; may be NULL */
	EVP_PKEY *key;
};

/* The first certificate of the file is the device's, the others its chain. ERR_MALFORMED: the key is another's. */
MUST_USE int device_load(const char *cert_path, const char *key_path, struct device *out, struct err *e);
/* The same with a key that is at hand, which on success is the device's. */
MUST_USE int device_load_with(const char *cert_path, EVP_PKEY *key, struct device *out, struct err *e);
/* stem.pem and stem.key; stem may also name the .pem itself. The name is its last part. */
MUST_USE int device_load_stem(const char *stem, struct device *out, struct err *e);
void device_free(struct device *device); /* the struct itself stays the caller's */

/*
 * The names of a directory's devices, those X with X.pem and X.key, sorted.
 * DIR/devices is read when DIR has such a folder. At most max (0: all).
 */
struct device_names {
	char dir[1024];
	char (*at)[DEVICE_NAME_MAX];
	size_t count;
};
MUST_USE int device_names_read(const char *dir, size_t max, struct device_names *out, struct err *e);
void device_names_free(struct device_names *names);

/* The common name of a subject, or "". */
void device_common_name(const X509 *cert, char *out, size_t size);

#endif
