#define _GNU_SOURCE
#include "devsim/device.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "devsim/files.h"
#include "devsim/keys.h"

void
device_free(struct device *device)
{
	X509_free(device->cert);
	x509_stack_free(device->chain);
	EVP_PKEY_free(device->key);
	*device = (struct device){ 0 };
}

static void
name_of_path(const char *path, char out[DEVICE_NAME_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len;

	(void)snprintf(out, DEVICE_NAME_MAX, "%s", slash == NULL ? path : slash + 1);
	len = strlen(out);
	if (len > 4 && strcmp(out + len - 4, ".pem") == 0)
		out[len - 4] = '\0';
}

int
device_load_with(const char *cert_path, EVP_PKEY *key, struct device *out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct device device = { 0 };

	if (x509_load_file(cert_path, &certs, e) != 0)
		return -1;
	if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_MALFORMED, "%s: the certificate is of another key", cert_path);
	}
	device.key = key;
	device.cert = sk_X509_shift(certs);
	device.chain = certs;
	certs = NULL;
	name_of_path(cert_path, device.name);
	*out = device;
	return 0;
}

int
device_load(const char *cert_path, const char *key_path, struct device *out, struct err *e)
{
	EVP_PKEY *key = NULL;

	if (key_load(key_path, &key, e) != 0)
		return -1;
	if (device_load_with(cert_path, key, out, e) == 0)
		return 0;
	EVP_PKEY_free(key);
	return -1;
}

int
device_load_stem(const char *stem, struct device *out, struct err *e)
{
	char cert[FILE_PATH_MAX], key[FILE_PATH_MAX];
	size_t len = strlen(stem);

	if (len > 4 && strcmp(stem + len - 4, ".pem") == 0)
		len -= 4;
	if (file_path(cert, e, "%.*s.pem", (int)len, stem) != 0 || file_path(key, e, "%.*s.key", (int)len, stem) != 0)
		return -1;
	return device_load(cert, key, out, e);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int
add_name(struct device_names *names, const char *file, struct err *e)
{
	size_t len = strlen(file);
	char key[FILE_PATH_MAX];
	char (*grown)[DEVICE_NAME_MAX];

	if (len <= 4 || strcmp(file + len - 4, ".pem") != 0 || len - 4 >= DEVICE_NAME_MAX)
		return 0;
	if (file_path(key, e, "%s/%.*s.key", names->dir, (int)len - 4, file) != 0)
		return -1;
	if (!file_exists(key))
		return 0;
	if ((names->count & (names->count - 1)) == 0) {
		grown = realloc(names->at, (names->count == 0 ? 1 : names->count * 2) * sizeof *names->at);
		if (grown == NULL)
			return err_set(e, ERR_NOMEM, "%s: no memory", names->dir);
		names->at = grown;
	}
	memcpy(names->at[names->count], file, len - 4);
	names->at[names->count++][len - 4] = '\0';
	return 0;
}

int
device_names_read(const char *dir, size_t max, struct device_names *out, struct err *e)
{
	struct device_names names = { 0 };
	struct dirent *entry;
	int rc = 0;
	DIR *d;

	(void)snprintf(names.dir, sizeof names.dir, "%s/devices", dir);
	d = opendir(names.dir);
	if (d == NULL) {
		(void)snprintf(names.dir, sizeof names.dir, "%s", dir);
		d = opendir(dir);
	}
	if (d == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: %s", dir, strerror(errno));
	while (rc == 0 && (entry = readdir(d)) != NULL)
		rc = add_name(&names, entry->d_name, e);
	(void)closedir(d);
	if (rc == 0 && names.count == 0)
		rc = err_set(e, ERR_MALFORMED, "%s: no device in it (NAME.pem with NAME.key)", names.dir);
	if (rc != 0) {
		device_names_free(&names);
		return -1;
	}
	qsort(names.at, names.count, sizeof *names.at, by_name);
	if (max != 0 && names.count > max)
		names.count = max;
	*out = names;
	return 0;
}

void
device_names_free(struct device_names *names)
{
	free(names->at);
	*names = (struct device_names){ 0 };
}

void
device_common_name(const X509 *cert, char *out, size_t size)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	uint8_t *text = NULL;
	int len;

	out[0] = '\0';
	if (at < 0)
		return;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len > 0)
		(void)snprintf(out, size, "%.*s", len, (const char *)text);
	OPENSSL_free(text);
}
