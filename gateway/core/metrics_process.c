#define _GNU_SOURCE
#include "gateway/core/metrics_process.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define VERSION_MAX 64

static char version[VERSION_MAX];
static atomic_llong start_s;

void
metrics_start(const char *program_version, int64_t now_s)
{
	(void)snprintf(version, sizeof version, "%s", program_version);
	/* Released last: a reader that sees the time sees the version. */
	atomic_store_explicit(&start_s, now_s, memory_order_release);
}

static void
put_gauge(struct buf *out, const char *name, const char *help, long long value)
{
	if (value < 0)
		return;
	metrics_put_head(out, name, "gauge", help);
	buf_printf(out, "%s %lld\n", name, value);
}

/* Resident octets, or -1. */
static long long
resident(void)
{
	FILE *in = fopen("/proc/self/statm", "re");
	long long pages = -1;

	if (in == NULL)
		return -1;
	if (fscanf(in, "%*s %lld", &pages) != 1)
		pages = -1;
	(void)fclose(in);
	return pages < 0 ? -1 : pages * (long long)sysconf(_SC_PAGESIZE);
}

/* Open descriptors but the one that counts them, or -1. */
static long long
descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	long long count = -1;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	/* ".", ".." and the folder itself; the count began at -1. */
	return count - 2;
}

static void
put_cpu(struct buf *out)
{
	struct rusage usage;
	long long us;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	us = ((long long)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
	     usage.ru_stime.tv_usec;
	metrics_put_head(out, "process_cpu_seconds_total", "counter", "User and system CPU time.");
	buf_printf(out, "process_cpu_seconds_total %lld.%06lld\n", us / 1000000, us % 1000000);
}

void
metrics_put_process(struct buf *out)
{
	long long started = atomic_load_explicit(&start_s, memory_order_acquire);
	struct rlimit limit;

	if (started != 0) {
		metrics_put_head(out, "enrolld_build_info", "gauge", "1, with the version as a label.");
		buf_append_text(out, "enrolld_build_info{");
		metrics_put_label(out, "version", version);
		buf_append_text(out, "} 1\n");
		put_gauge(out, "process_start_time_seconds", "When the process started, in seconds since 1970.", started);
	}
	put_cpu(out);
	put_gauge(out, "process_resident_memory_bytes", "Resident memory.", resident());
	put_gauge(out, "process_open_fds", "Open file descriptors.", descriptors());
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		put_gauge(out, "process_max_fds", "File descriptors that may be open.", (long long)limit.rlim_cur);
}
