#define _GNU_SOURCE
#include "gateway/outbound/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define DIRECTORY "CREDENTIALS_DIRECTORY"
#define LETTERS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
#define FILE_BITS (S_IRWXG | S_IRWXO) /* what a file gives nobody */
/* With an ACL the bits of the group are its mask (acl(5)): systemd gives the service's user "r" that way on tmpfs. */
#define CREDENTIAL_BITS (S_IWGRP | S_IXGRP | S_IRWXO)
#define DIRECTORY_BITS  (S_IWGRP | S_IRWXO)

enum kind { KIND_FILE, KIND_CREDENTIAL, KIND_ENVIRONMENT, KIND_OTHER };

static inline void
fd_auto(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

/* The length of "scheme" in "scheme:..." (RFC 3986, section 3.1), or 0 when the text is a path alone. */
static size_t
scheme_length(const char *source)
{
	size_t n = 0;

	if (!isalpha((unsigned char)source[0]))
		return 0;
	while (isalnum((unsigned char)source[n]) || source[n] == '+' || source[n] == '-' || source[n] == '.')
		n++;
	return source[n] == ':' ? n : 0;
}

/* *rest: what stands behind the scheme. */
static enum kind
kind_of(const char *source, const char **rest)
{
	static const char *const schemes[] = { "file", "credential", "env" }; /* in the order of enum kind */
	size_t n = scheme_length(source), i;

	*rest = n == 0 ? source : source + n + 1;
	if (n == 0)
		return KIND_FILE;
	for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strlen(schemes[i]) == n && strncasecmp(source, schemes[i], n) == 0)
			return (enum kind)i;
	return KIND_OTHER;
}

const char *
secret_path_of(const char *source)
{
	const char *rest;

	return kind_of(source, &rest) == KIND_FILE ? rest : NULL;
}

/* --- files ------------------------------------------------------------------ */

static int
check_owner(const struct stat *st, const char *shown, struct err *e)
{
	if (st->st_uid == geteuid() || st->st_uid == 0)
		return 0;
	return err_set(e, ERR_UPSTREAM, "%s belongs to user %u, and this process is user %u: chown %u %s", shown,
		(unsigned)st->st_uid, (unsigned)geteuid(), (unsigned)geteuid(), shown);
}

/* forbidden: permissions that it must not give. O_NONBLOCK, so that a FIFO in the file's place is told and not waited for. */
static int
open_checked(int folder, const char *path, const char *shown, mode_t forbidden, int *out, struct err *e)
{
	CLEANUP(fd) int fd = openat(folder, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_UPSTREAM, "%s is a symbolic link; name the file itself", shown);
	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s cannot be opened: %s", shown, strerrordesc_np(errno));
	if (fstat(fd, &st) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", shown, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_UPSTREAM, "%s is not a regular file", shown);
	if (check_owner(&st, shown, e) != 0)
		return -1;
	if ((st.st_mode & forbidden) != 0)
		return err_set(e, ERR_UPSTREAM, "%s is open to others (mode %04o): chmod 600 %s", shown,
			(unsigned)st.st_mode & 07777, shown);
	*out = fd;
	fd = -1;
	return 0;
}

/*
 * A name of nothing is not repeated: somebody may have written the secret where its file's name belongs, as nobody does with a
 * key. The folder is, when that is one: a secret that was written so has the configuration's put before it.
 */
static int
not_there(const char *path, int number, struct err *e)
{
	const char *slash = strrchr(path, '/'), *trouble = strerrordesc_np(number);
	char folder[PATH_MAX] = ".";
	struct stat st;

	if (slash != NULL)
		(void)snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_UPSTREAM, "the file of a secret cannot be opened: %s", trouble);
	return err_set(e, ERR_UPSTREAM, "the file of a secret, in %s, cannot be opened: %s", folder, trouble);
}

static int
open_file(const char *source, const char *rest, bool is_key, int *out, struct err *e)
{
	bool authority = rest != source && strncmp(rest, "//", 2) == 0;
	const char *path = authority ? rest + 2 : rest;
	struct stat st;

	if (authority && path[0] != '/')
		return err_set(e, ERR_UNSUPPORTED, "file://<host>/... names a host; write file:<path>");
	if (path[0] == '\0')
		return err_set(e, ERR_MALFORMED, "\"%.100s\" names no file", source);
	if (!is_key && lstat(path, &st) != 0)
		return not_there(path, errno, e);
	return open_checked(AT_FDCWD, path, path, FILE_BITS, out, e);
}

/* Does the group itself have this permission, and not a mask of an ACL in its place? */
static bool
group_has(int fd, mode_t permission)
{
	struct stat st;

	return fstat(fd, &st) != 0 || ((st.st_mode & permission) != 0 && fgetxattr(fd, "system.posix_acl_access", NULL, 0) <= 0);
}

/* systemd.exec(5): files of the service's own, "not accessible to other users" (LoadCredential=). */
static int
open_credential(const char *source, const char *name, int *out, struct err *e)
{
	const char *path = getenv(DIRECTORY);
	char shown[PATH_MAX];
	CLEANUP(fd) int folder = -1;
	struct stat st;

	if (name[0] == '\0' || strspn(name, LETTERS ".-") != strlen(name) || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, ERR_MALFORMED, "credential: a credential's name is of letters, digits, \".\", \"_\" and \"-\"");
	if (path == NULL || path[0] != '/')
		return err_set(e, ERR_UPSTREAM, "%s: $" DIRECTORY " is %s; run under systemd with LoadCredential=%s:<path>", source,
			path == NULL ? "not set" : "no absolute path", name);
	folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0 || fstat(folder, &st) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: $" DIRECTORY ", %s: %s", source, path, strerrordesc_np(errno));
	if (check_owner(&st, path, e) != 0)
		return err_prefix(e, "%s", source);
	if ((st.st_mode & DIRECTORY_BITS) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: $" DIRECTORY ", %s, is open to others (mode %04o): chmod 700 %s", source, path,
			(unsigned)st.st_mode & 07777, path);
	(void)snprintf(shown, sizeof shown, "%s/%s", path, name);
	if (open_checked(folder, name, shown, CREDENTIAL_BITS, out, e) != 0)
		return -1;
	if (!group_has(folder, S_IXGRP) || !group_has(*out, S_IRGRP))
		return 0;
	(void)close(*out);
	*out = -1;
	return err_set(e, ERR_UPSTREAM, "%s is open to its group, and so is its directory: chmod 600 %s", shown, shown);
}

/* Up to max octets and one that is too many. */
static int
read_file(int fd, const char *source, size_t max, struct buf *out, struct err *e)
{
	uint8_t chunk[4096];
	ssize_t n = 0;

	while (out->len <= max && (n = read(fd, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	OPENSSL_cleanse(chunk, sizeof chunk);
	return n < 0 ? err_set(e, ERR_UPSTREAM, "%s cannot be read: %s", source, strerrordesc_np(errno)) : 0;
}

/* --- any source ---------------------------------------------------------------- */

static int
read_variable(const char *source, const char *name, struct buf *out, struct err *e)
{
	const char *value;

	if (name[0] == '\0' || strspn(name, LETTERS) != strlen(name))
		return err_set(e, ERR_MALFORMED, "env: a variable's name is of letters, digits and \"_\"");
	value = getenv(name);
	if (value == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: there is no such variable in this process's environment", source);
	buf_append_text(out, value);
	return 0;
}

/* Refused by name when it is one that keys are named by elsewhere; what stands before another colon may be a user, or half a secret. */
static int
unknown_scheme(const char *source, struct err *e)
{
	static const char *const known[] = { "pkcs11", "tpm", "tpm2", "vault", "engine", "data", "http", "https", "awskms", "gcpkms",
		"azurekms" };
	size_t n = scheme_length(source), i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strlen(known[i]) == n && strncasecmp(source, known[i], n) == 0)
			return err_set(e, ERR_UNSUPPORTED, "keys and secrets by \"%s:\" are not supported; use a path, credential:<name> or "
				"env:<name>", known[i]);
	return err_set(e, ERR_UNSUPPORTED, "keys and secrets by what stands before \":\" here are not supported; use a path, "
		"credential:<name> or env:<name>");
}

static int
read_source(const char *source, bool is_key, size_t max, struct buf *out, struct err *e)
{
	CLEANUP(fd) int fd = -1;
	const char *rest;
	int rc = -1;

	switch (kind_of(source, &rest)) {
	case KIND_FILE:
		rc = open_file(source, rest, is_key, &fd, e);
		break;
	case KIND_CREDENTIAL:
		rc = open_credential(source, rest, &fd, e);
		break;
	case KIND_ENVIRONMENT:
		return read_variable(source, rest, out, e);
	case KIND_OTHER:
		return unknown_scheme(source, e);
	}
	return rc == 0 ? read_file(fd, source, max, out, e) : -1;
}

static int
read_octets(const char *source, bool is_key, size_t min, size_t max, struct buf *out, struct err *e)
{
	CLEANUP(secret_buf) struct buf got = { 0 };

	if (read_source(source, is_key, max, &got, e) != 0)
		return -1;
	if (got.len == 0)
		return err_set(e, ERR_UPSTREAM, "%s is empty", source);
	if (got.len < min)
		return err_set(e, ERR_UPSTREAM, "%s: %zu octets; at least %zu are needed", source, got.len, min);
	if (got.len > max)
		return err_set(e, ERR_UPSTREAM, "%s is longer than %zu octets", source, max);
	buf_append_bytes(out, buf_bytes(&got));
	return buf_failed(&got) || buf_failed(out) ? err_set(e, ERR_NOMEM, "%s: no memory", source) : 0;
}

int
secret_read(const char *source, size_t min, size_t max, struct buf *out, struct err *e)
{
	return read_octets(source, false, min, max, out, e);
}

/* --- a line ------------------------------------------------------------------ */

int
secret_file_read(const char *source, struct buf *out, struct err *e)
{
	CLEANUP(secret_buf) struct buf line = { 0 };
	size_t i;

	if (secret_read(source, 1, SECRET_FILE_MAX + 2, &line, e) != 0)
		return -1;
	if (line.at[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0)
		return err_set(e, ERR_UPSTREAM, "%s is empty", source);
	if (line.len > SECRET_FILE_MAX)
		return err_set(e, ERR_UPSTREAM, "%s is longer than %d octets", source, SECRET_FILE_MAX);
	/* A newline in the middle means that it is something else, a key for example. */
	for (i = 0; i < line.len; i++)
		if (line.at[i] < 0x20 || line.at[i] > 0x7e)
			return err_set(e, ERR_UPSTREAM, "%s must hold one line of printable ASCII", source);
	buf_append_bytes(out, buf_bytes(&line));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "%s: no memory", source) : 0;
}

/* --- a key ------------------------------------------------------------------- */

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
secret_key_read(const char *source, struct buf *pem, EVP_PKEY **out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(secret_buf) struct buf text = { 0 };
	CLEANUP(BIO) BIO *in = NULL;
	bool asked = false;

	if (read_octets(source, true, 1, SECRET_KEY_MAX, &text, e) != 0)
		return -1;
	in = BIO_new_mem_buf(text.at, (int)text.len);
	if (in == NULL)
		return err_ossl(e, ERR_NOMEM, source);
	key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &asked);
	ERR_clear_error();
	if (asked)
		return err_set(e, ERR_UPSTREAM,
			"%s is encrypted; nobody is there to type its passphrase: store it without", source);
	if (key == NULL)
		return err_set(e, ERR_UPSTREAM, "%s holds no PEM private key", source);
	if (pem != NULL)
		buf_append_bytes(pem, buf_bytes(&text));
	if (pem != NULL && buf_failed(pem))
		return err_set(e, ERR_NOMEM, "%s: no memory", source);
	*out = key;
	key = NULL;
	return 0;
}
