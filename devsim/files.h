/*
 * files.h - small files: read whole, written whole or not at all.
 */
#ifndef DEVSIM_FILES_H
#define DEVSIM_FILES_H

#include <sys/types.h>

#include "base/bytes.h"

#define FILE_READ_MAX ((size_t)4 << 20)

/* "dir/name" + suffix in out; ERR_LIMIT when it does not fit. */
#define FILE_PATH_MAX 1024
MUST_USE int file_path(char out[FILE_PATH_MAX], struct err *e, const char *fmt, ...) PRINTF(3, 4);

/* Makes the directory and its parents; one that is there already is fine. */
MUST_USE int file_mkdir(const char *path, struct err *e);
/* Appends the contents; ERR_LIMIT past FILE_READ_MAX. "-" reads standard input. */
MUST_USE int file_read(const char *path, struct buf *out, struct err *e);
/* Writes beside the file, then renames over it, with this mode whatever the umask adds. */
MUST_USE int file_write(const char *path, struct bytes contents, mode_t mode, struct err *e);
/* The same, without the temporary name: for many new files that nobody reads yet. */
MUST_USE int file_write_new(const char *path, struct bytes contents, mode_t mode, struct err *e);
bool file_exists(const char *path);

#define FILE_MODE_PUBLIC 0644
#define FILE_MODE_SECRET 0600

#endif
