/*
 * Loaded into a gateway (LD_PRELOAD), it ends the process by SIGKILL at a step that the test names, and keeps a record of what the
 * process did to its store, from which the test puts together what a power loss would have left.
 *
 * A step is what somebody else can see: a file of the store is created, written, cut, synchronised or removed, its folder is
 * synchronised; a connection to the CA is begun, octets are sent to it, octets have come from it. Each is a place to die just
 * before it; "synced" and "received" are places just after.
 *
 *   HALT_STORE  the database, as the gateway opens it; its log and journal lie beside it
 *   HALT_PORT   the CA's port, or those of several CAs with a comma between them; 0: none
 *   HALT_TRACE  the record, which begins anew
 *   HALT_ARM    steps are counted from when this file exists: what a start does is not the test's, and a file comes without a race
 *               or a thread of its own, which a signal would need
 *   HALT_AT     the step; 0: never
 *   HALT_CLOCK  eight octets that the test may write at any time: how many seconds later it is for the gateway than for others
 *
 * The record: "<step or 0> <what> <where> <offset> <length>\n", after "write" the octets; offset -1: the end. Nobody else takes a
 * step meanwhile, and it is written by one call each, so it is whole up to the end. What is wrapped here goes to the kernel
 * directly: a sanitizer's wrappers, which would come next, are not needed for it (ASAN_OPTIONS=verify_asan_link_order=0). The
 * shared memory beside the log is left out: no power loss leaves it, and what a killed process leaves in it is rebuilt.
 */
#define _DEFAULT_SOURCE     /* with _GNU_SOURCE connect() would take a union that C does not know */
#define _LARGEFILE64_SOURCE
#undef _FORTIFY_SOURCE      /* it makes inline functions of what is defined here */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX   4096
#define PORTS_MAX 4

enum place { ELSEWHERE, DATABASE, LOG, JOURNAL, FOLDER, CA };

static const char *const places[] = { "", "database", "log", "journal", "folder", "ca" };
static const char *const suffixes[] = { NULL, "", "-wal", "-journal" };

/* The process's own: a library of this kind has no other place to keep them. All but `where` under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned char where[FDS_MAX];
static char store[1024], folder[1024];
static const char *arm;
static in_port_t ports[PORTS_MAX];
static long steps, halt_at;
static int trace = -1;
static const _Atomic int64_t *later; /* NULL: the clock is as it is */

static const char *
setting(const char *name)
{
	const char *value = getenv(name);

	return value == NULL ? "" : value;
}

static void
read_ports(const char *text)
{
	char *end;
	size_t i;

	for (i = 0; i < PORTS_MAX; i++) {
		ports[i] = htons((in_port_t)strtol(text, &end, 10));
		if (*end != ',')
			return;
		text = end + 1;
	}
	abort();
}

static void
map_clock(const char *path)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof *later, PROT_READ, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (at != MAP_FAILED)
		later = at;
}

static void __attribute__((constructor))
begin(void)
{
	char *slash;

	(void)snprintf(store, sizeof store, "%s", setting("HALT_STORE"));
	(void)snprintf(folder, sizeof folder, "%s", store);
	slash = strrchr(folder, '/');
	if (slash != NULL)
		*slash = '\0';
	arm = setting("HALT_ARM");
	read_ports(setting("HALT_PORT"));
	map_clock(setting("HALT_CLOCK"));
	halt_at = strtol(setting("HALT_AT"), NULL, 10);
	trace = (int)syscall(SYS_openat, AT_FDCWD, setting("HALT_TRACE"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

static enum place
place_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? (enum place)where[fd] : ELSEWHERE;
}

static bool
is_store(enum place place)
{
	return place == DATABASE || place == LOG || place == JOURNAL;
}

static void
remember(int fd, enum place place)
{
	if (fd >= 0 && fd < FDS_MAX)
		where[fd] = (unsigned char)place;
}

static enum place
place_of_path(const char *path)
{
	size_t len = strlen(store);
	int place;

	if (len == 0)
		return ELSEWHERE;
	for (place = DATABASE; place <= JOURNAL; place++)
		if (strncmp(path, store, len) == 0 && strcmp(path + len, suffixes[place]) == 0)
			return (enum place)place;
	return strcmp(path, folder) == 0 ? FOLDER : ELSEWHERE;
}

/* Under the lock. */
static void
record(long step, const char *what, enum place place, int64_t offset, const void *data, size_t len, bool with_data)
{
	union { const void *from; void *to; } octets = { .from = data }; /* iov_base is not const, writev() reads */
	char head[96];
	int n = snprintf(head, sizeof head, "%ld %s %s %lld %zu\n", step, what, places[place], (long long)offset, len);
	struct iovec parts[] = { { head, (size_t)n }, { octets.to, with_data ? len : 0 } };

	if (syscall(SYS_writev, trace, parts, with_data ? 2 : 1) != n + (with_data ? (long)len : 0))
		abort();
}

/* Under the lock, which is never given back when this is the end. The step's number; 0 while they are not counted. */
static long
step(const char *what, enum place place)
{
	if (steps == 0 && syscall(SYS_faccessat, AT_FDCWD, arm, F_OK) != 0)
		return 0;
	steps++;
	if (steps != halt_at)
		return steps;
	record(steps, what, place, -1, NULL, 0, false);
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

static int
open_path(const char *path, int flags, mode_t mode)
{
	enum place place = place_of_path(path);
	bool made;
	long at = 0;
	int fd;

	if (place == ELSEWHERE)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	(void)pthread_mutex_lock(&lock);
	made = (flags & O_CREAT) != 0 && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
	if (made)
		at = step("create", place);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	remember(fd, place);
	if (made && fd >= 0)
		record(at, "create", place, 0, NULL, 0, false);
	(void)pthread_mutex_unlock(&lock);
	return fd;
}

int
open(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
	va_end(more);
	return open_path(path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
	va_end(more);
	return open_path(path, flags, mode);
}

int
close(int fd)
{
	remember(fd, ELSEWHERE);
	return (int)syscall(SYS_close, fd);
}

/* To a place in a file, or to the CA. */
static ssize_t
write_at(int fd, const void *data, size_t len, int64_t offset)
{
	enum place place = place_of(fd);
	ssize_t done;
	long at;

	(void)pthread_mutex_lock(&lock);
	at = step(place == CA ? "send" : "write", place);
	done = place == CA ? syscall(SYS_write, fd, data, len) : syscall(SYS_pwrite64, fd, data, len, offset);
	if (done > 0)
		record(at, place == CA ? "send" : "write", place, offset, data, (size_t)done, place != CA);
	(void)pthread_mutex_unlock(&lock);
	return done;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return is_store(place_of(fd)) ? write_at(fd, data, len, offset) : syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	return is_store(place_of(fd)) ? write_at(fd, data, len, offset) : syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t
write(int fd, const void *data, size_t len)
{
	if (is_store(place_of(fd)))
		abort(); /* the record knows no offset for it */
	return place_of(fd) == CA ? write_at(fd, data, len, 0) : syscall(SYS_write, fd, data, len);
}

static int
synchronise(int fd, long call)
{
	enum place place = place_of(fd);
	long at;
	int result;

	if (!is_store(place) && place != FOLDER)
		return (int)syscall(call, fd);
	(void)pthread_mutex_lock(&lock);
	at = step("sync", place);
	result = (int)syscall(call, fd);
	if (result == 0) {
		record(at, "sync", place, 0, NULL, 0, false);
		record(step("synced", place), "synced", place, 0, NULL, 0, false);
	}
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int
fsync(int fd)
{
	return synchronise(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return synchronise(fd, SYS_fdatasync);
}

static int
cut(int fd, int64_t len)
{
	enum place place = place_of(fd);
	long at;
	int result;

	if (!is_store(place))
		return (int)syscall(SYS_ftruncate, fd, len);
	(void)pthread_mutex_lock(&lock);
	at = step("truncate", place);
	result = (int)syscall(SYS_ftruncate, fd, len);
	if (result == 0)
		record(at, "truncate", place, len, NULL, 0, false);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int
ftruncate(int fd, off_t len)
{
	return cut(fd, len);
}

int
ftruncate64(int fd, off64_t len)
{
	return cut(fd, len);
}

int
unlink(const char *path)
{
	enum place place = place_of_path(path);
	long at;
	int result;

	if (!is_store(place))
		return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	(void)pthread_mutex_lock(&lock);
	at = step("unlink", place);
	result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	if (result == 0)
		record(at, "unlink", place, 0, NULL, 0, false);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

static bool
is_ca(const struct sockaddr *address)
{
	in_port_t port = 0;
	size_t i;

	if (address->sa_family == AF_INET)
		port = ((const struct sockaddr_in *)(const void *)address)->sin_port;
	else if (address->sa_family == AF_INET6)
		port = ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
	for (i = 0; i < PORTS_MAX; i++)
		if (port != 0 && port == ports[i])
			return true;
	return false;
}

/* What the gateway takes for the time of day (base/timefmt.c). */
time_t
time(time_t *out)
{
	struct timespec now;

	(void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	if (later != NULL)
		now.tv_sec += (time_t)*later;
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

/* The clock that nobody sets is as much later, or a minute that the test lets pass would be the wall clock's alone (issuer_settle.c). */
int
clock_gettime(clockid_t clock, struct timespec *out)
{
	int result = (int)syscall(SYS_clock_gettime, clock, out);

	if (result == 0 && clock == CLOCK_BOOTTIME && later != NULL)
		out->tv_sec += (time_t)*later;
	return result;
}

int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int result;

	if (!is_ca(address))
		return (int)syscall(SYS_connect, fd, address, len);
	(void)pthread_mutex_lock(&lock);
	record(step("connect", CA), "connect", CA, 0, NULL, 0, false);
	remember(fd, CA);
	result = (int)syscall(SYS_connect, fd, address, len);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
	ssize_t done;
	long at;

	if (place_of(fd) != CA)
		return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
	(void)pthread_mutex_lock(&lock);
	at = step("send", CA);
	done = syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
	if (done > 0)
		record(at, "send", CA, 0, NULL, (size_t)done, false);
	(void)pthread_mutex_unlock(&lock);
	return done;
}

/* Octets have come, and nobody has seen them yet. How often it is asked for nothing is chance, and no step. */
static ssize_t
received(int fd, ssize_t len)
{
	int saved = errno;

	if (len <= 0 || place_of(fd) != CA)
		return len;
	(void)pthread_mutex_lock(&lock);
	record(step("received", CA), "received", CA, 0, NULL, (size_t)len, false);
	(void)pthread_mutex_unlock(&lock);
	errno = saved;
	return len;
}

ssize_t
read(int fd, void *out, size_t len)
{
	return received(fd, syscall(SYS_read, fd, out, len));
}

ssize_t
recv(int fd, void *out, size_t len, int flags)
{
	return received(fd, syscall(SYS_recvfrom, fd, out, len, flags, NULL, NULL));
}
