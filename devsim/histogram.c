#include "devsim/histogram.h"

#define SUB_BITS 6 /* HISTOGRAM_SUB is 2^6 */

/* Below HISTOGRAM_SUB one bucket a value; above, the leading bit gives the octave and the next six the bucket. */
static size_t
bucket_of(uint64_t value)
{
	unsigned top = 0;
	uint64_t v;

	if (value < HISTOGRAM_SUB)
		return (size_t)value;
	for (v = value; v > 1; v >>= 1)
		top++;
	if (top - SUB_BITS >= HISTOGRAM_OCTAVES)
		return HISTOGRAM_BUCKETS - 1;
	return (size_t)(top - SUB_BITS + 1) * HISTOGRAM_SUB + (size_t)(value >> (top - SUB_BITS)) - HISTOGRAM_SUB;
}

static uint64_t
bucket_top(size_t bucket)
{
	size_t octave = bucket / HISTOGRAM_SUB;
	uint64_t sub = bucket % HISTOGRAM_SUB;

	if (octave == 0)
		return sub;
	return ((HISTOGRAM_SUB + sub + 1) << (octave - 1)) - 1;
}

void
histogram_add(struct histogram *h, int64_t value_us)
{
	uint64_t value = value_us < 0 ? 0 : (uint64_t)value_us;

	h->counts[bucket_of(value)]++;
	h->sum_us += value;
	if (h->count == 0 || value < h->min_us)
		h->min_us = value;
	if (value > h->max_us)
		h->max_us = value;
	h->count++;
}

void
histogram_merge(struct histogram *to, const struct histogram *from)
{
	size_t i;

	if (from->count == 0)
		return;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->counts[i] += from->counts[i];
	if (to->count == 0 || from->min_us < to->min_us)
		to->min_us = from->min_us;
	if (from->max_us > to->max_us)
		to->max_us = from->max_us;
	to->count += from->count;
	to->sum_us += from->sum_us;
}

uint64_t
histogram_quantile(const struct histogram *h, double fraction)
{
	double exact = fraction * (double)h->count;
	uint64_t want = (uint64_t)exact, seen = 0;
	size_t i;

	if (h->count == 0)
		return 0;
	if ((double)want < exact || want == 0)
		want++;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->counts[i];
		if (seen >= want)
			return bucket_top(i) < h->max_us ? bucket_top(i) : h->max_us;
	}
	return h->max_us;
}

double
histogram_mean(const struct histogram *h)
{
	return h->count == 0 ? 0 : (double)h->sum_us / (double)h->count;
}
