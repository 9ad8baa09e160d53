#define _GNU_SOURCE
#include "devsim/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
file_path(char out[FILE_PATH_MAX], struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, FILE_PATH_MAX, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= FILE_PATH_MAX)
		return err_set(e, ERR_LIMIT, "a path is longer than %d octets", FILE_PATH_MAX - 1);
	return 0;
}

int
file_mkdir(const char *path, struct err *e)
{
	char part[FILE_PATH_MAX];
	struct stat st;
	char *slash;

	if (file_path(part, e, "%s", path) != 0)
		return -1;
	for (slash = strchr(part + 1, '/'); slash != NULL && slash[1] != '\0'; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return err_set(e, ERR_UPSTREAM, "%s: %s", part, strerror(errno));
		*slash = '/';
	}
	if (mkdir(path, 0755) != 0 && (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	return 0;
}

static int
read_all(int fd, const char *path, struct buf *out, struct err *e)
{
	uint8_t chunk[16384];
	size_t before = out->len;
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) != 0) {
		if (n < 0)
			return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
		buf_append(out, chunk, (size_t)n);
		if (out->len - before > FILE_READ_MAX)
			return err_set(e, ERR_LIMIT, "%s: more than %zu octets", path, FILE_READ_MAX);
	}
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "%s: no memory", path);
	return 0;
}

int
file_read(const char *path, struct buf *out, struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	rc = read_all(fd, path, out, e);
	if (!standard)
		(void)close(fd);
	return rc;
}

static int
write_to(const char *path, struct bytes contents, mode_t mode, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	size_t done = 0;
	ssize_t n = 0;
	int failed;

	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	if (fchmod(fd, mode) != 0)
		n = -1;
	while (n >= 0 && done < contents.len) {
		n = write(fd, contents.at + done, contents.len - done);
		if (n > 0)
			done += (size_t)n;
	}
	failed = n < 0 ? errno : 0;
	if (close(fd) != 0 && failed == 0)
		failed = errno;
	if (failed != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(failed));
	return 0;
}

int
file_write_new(const char *path, struct bytes contents, mode_t mode, struct err *e)
{
	return write_to(path, contents, mode, e);
}

int
file_write(const char *path, struct bytes contents, mode_t mode, struct err *e)
{
	char beside[FILE_PATH_MAX];

	if (file_path(beside, e, "%s.new", path) != 0 || write_to(beside, contents, mode, e) != 0)
		return -1;
	if (rename(beside, path) == 0)
		return 0;
	(void)err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	(void)unlink(beside);
	return -1;
}

bool
file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}
