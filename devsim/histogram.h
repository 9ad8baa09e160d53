/*
 * histogram.h - latencies in microseconds, counted in buckets at most 1.6 % wide.
 *
 * Constant memory whatever the number of values; histograms of several
 * threads are added up afterwards.
 */
#ifndef DEVSIM_HISTOGRAM_H
#define DEVSIM_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SUB     64 /* buckets per power of two */
#define HISTOGRAM_OCTAVES 32 /* up to 2^37 us, 38 hours; longer values count there */
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * (HISTOGRAM_OCTAVES + 1))

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t count;
	uint64_t sum_us;
	uint64_t min_us;
	uint64_t max_us;
};

void histogram_add(struct histogram *h, int64_t value_us); /* a negative value counts as 0 */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The value that a fraction (0.99) of the values does not exceed, at most a bucket too high; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
double histogram_mean(const struct histogram *h);

#endif
