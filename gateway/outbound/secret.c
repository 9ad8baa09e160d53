#define _GNU_SOURCE
#include "gateway/outbound/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

static inline void
fd_auto(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

/* O_NONBLOCK, so that a FIFO in the file's place is told and not waited for. */
static int
open_checked(const char *path, int *out, struct err *e)
{
	CLEANUP(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_UPSTREAM, "%s is a symbolic link; name the file itself", path);
	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s cannot be opened: %s", path, strerrordesc_np(errno));
	if (fstat(fd, &st) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_UPSTREAM, "%s is not a regular file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(e, ERR_UPSTREAM, "%s belongs to user %u, and this process is user %u: chown %u %s", path,
			(unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return err_set(e, ERR_UPSTREAM, "%s is open to others (mode %04o): chmod 600 %s", path,
			(unsigned)st.st_mode & 07777, path);
	*out = fd;
	fd = -1;
	return 0;
}

int
secret_file_check(const char *path, struct err *e)
{
	CLEANUP(fd) int fd = -1;

	return open_checked(path, &fd, e);
}

/* One line: a newline in the middle means that the file is something else, a key for example. */
static int
check_line(const uint8_t *line, size_t len, const char *path, struct err *e)
{
	size_t i;

	if (len == 0)
		return err_set(e, ERR_UPSTREAM, "%s is empty", path);
	for (i = 0; i < len; i++)
		if (line[i] < 0x20 || line[i] > 0x7e)
			return err_set(e, ERR_UPSTREAM, "%s must hold one line of printable ASCII", path);
	return 0;
}

int
secret_file_read(const char *path, struct buf *out, struct err *e)
{
	CLEANUP(fd) int fd = -1;
	uint8_t line[SECRET_FILE_MAX + 3]; /* room for CR LF, and one that is too many */
	size_t len = 0;
	ssize_t n = 0;
	int rc = 0;

	if (open_checked(path, &fd, e) != 0)
		return -1;
	while (len < sizeof line && (n = read(fd, line + len, sizeof line - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		rc = err_set(e, ERR_UPSTREAM, "%s cannot be read: %s", path, strerrordesc_np(errno));
	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (rc == 0 && len > SECRET_FILE_MAX)
		rc = err_set(e, ERR_UPSTREAM, "%s is longer than %d octets", path, SECRET_FILE_MAX);
	if (rc == 0)
		rc = check_line(line, len, path, e);
	if (rc == 0)
		buf_append(out, line, len);
	OPENSSL_cleanse(line, sizeof line);
	if (rc == 0 && buf_failed(out))
		rc = err_set(e, ERR_NOMEM, "%s: no memory", path);
	return rc;
}
