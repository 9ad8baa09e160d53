#define _GNU_SOURCE
#include "gateway/ca/key_pkcs11.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#define KEY_FILE_MAX 65536 /* octets; an RSA-4096 key takes 3300 */

static inline void
fd_auto(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void
secret_auto(struct buf *b)
{
	buf_free_secret(b);
}

/* The length of "scheme" in "scheme:..." (RFC 3986, section 3.1), or 0 when the text is a path alone. */
static size_t
scheme_length(const char *uri)
{
	size_t n = 0;

	if (!isalpha((unsigned char)uri[0]))
		return 0;
	while (isalnum((unsigned char)uri[n]) || uri[n] == '+' || uri[n] == '-' || uri[n] == '.')
		n++;
	return uri[n] == ':' ? n : 0;
}

static int
path_of(const char *uri, const char **path, struct err *e)
{
	size_t n = scheme_length(uri);
	const char *rest = n == 0 ? uri : uri + n + 1;

	if (n != 0 && strncasecmp(uri, "file:", 5) != 0)
		return err_set(e, ERR_UNSUPPORTED, "keys by \"%.*s:\" are not supported; use file:<path> or a pkcs11: URI",
			(int)(n < 40 ? n : 40), uri);
	if (n != 0 && strncmp(rest, "//", 2) == 0) {
		rest += 2;
		if (rest[0] != '/')
			return err_set(e, ERR_UNSUPPORTED, "key \"%.100s\" names a host; write file:<path>", uri);
	}
	if (rest[0] == '\0')
		return err_set(e, ERR_MALFORMED, "key \"%.100s\" names no file", uri);
	*path = rest;
	return 0;
}

static int
check_file(const char *path, const struct stat *st, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_UPSTREAM, "key %s is not a regular file", path);
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return err_set(e, ERR_UPSTREAM,
			"key %s belongs to user %u, and this process is user %u: chown %u %s", path,
			(unsigned)st->st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
	if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return err_set(e, ERR_UPSTREAM, "key %s is open to others (mode %04o): chmod 600 %s", path,
			(unsigned)st->st_mode & 07777, path);
	if (st->st_size > KEY_FILE_MAX)
		return err_set(e, ERR_LIMIT, "key %s is longer than %d octets", path, KEY_FILE_MAX);
	return 0;
}

/* O_NONBLOCK, so that a FIFO in the key's place is told and not waited for. */
static int
read_file(const char *path, struct buf *out, struct err *e)
{
	CLEANUP(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	uint8_t chunk[4096];
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_UPSTREAM, "key %s is a symbolic link; name the file itself", path);
	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "key %s cannot be opened: %s", path, strerrordesc_np(errno));
	if (fstat(fd, &st) != 0)
		return err_set(e, ERR_UPSTREAM, "key %s: %s", path, strerrordesc_np(errno));
	if (check_file(path, &st, e) != 0)
		return -1;
	while (out->len <= KEY_FILE_MAX && (n = read(fd, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	OPENSSL_cleanse(chunk, sizeof chunk);
	if (n < 0)
		return err_set(e, ERR_UPSTREAM, "key %s cannot be read: %s", path, strerrordesc_np(errno));
	if (out->len > KEY_FILE_MAX)
		return err_set(e, ERR_LIMIT, "key %s is longer than %d octets", path, KEY_FILE_MAX);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "key %s: no memory", path);
	return 0;
}

/* OpenSSL would ask the terminal; a service has none. */
static int
no_passphrase(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

int
key_open(const char *uri, EVP_PKEY **out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(secret) struct buf pem = { 0 };
	CLEANUP(BIO) BIO *in = NULL;
	const char *path = uri;
	bool asked = false;

	if (strncasecmp(uri, "pkcs11:", 7) == 0)
		return key_pkcs11_open(uri, out, e);
	if (path_of(uri, &path, e) != 0 || read_file(path, &pem, e) != 0)
		return -1;
	if (pem.len == 0)
		return err_set(e, ERR_UPSTREAM, "key %s is empty", path);
	in = BIO_new_mem_buf(pem.at, (int)pem.len);
	if (in == NULL)
		return err_ossl(e, ERR_NOMEM, path);
	key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &asked);
	ERR_clear_error();
	if (asked)
		return err_set(e, ERR_UPSTREAM,
			"key %s is encrypted; nobody is there to type its passphrase: store it without", path);
	if (key == NULL)
		return err_set(e, ERR_UPSTREAM, "key %s holds no PEM private key", path);
	*out = key;
	key = NULL;
	return 0;
}
