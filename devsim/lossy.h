/*
 * lossy.h - what a bad link does to datagrams: pure, and the same for the same seed.
 */
#ifndef DEVSIM_LOSSY_H
#define DEVSIM_LOSSY_H

#include <stdbool.h>

#include "base/bytes.h"

struct lossy {
	unsigned drop, dup, reorder; /* per cent of the datagrams, each way */
	size_t mtu;                  /* longer datagrams are lost; 0: no limit */
	uint64_t seed;
};

enum lossy_fate {
	LOSSY_PASS,
	LOSSY_DROP,
	LOSSY_DUPLICATE,
	LOSSY_LATE,      /* it lets the next one pass */
	LOSSY_TOO_LONG,
	LOSSY_FATES,
};
extern const char *const lossy_fate_names[LOSSY_FATES];

#define LOSSY_UP   0 /* to the server */
#define LOSSY_DOWN 1

/* "drop=15,dup=5,reorder=5,mtu=256,seed=1", each part optional. ERR_MALFORMED names the part. */
MUST_USE int lossy_parse(const char *text, struct lossy *out, struct err *e);

/* What becomes of datagram number n (from 0) of that length in one direction of one flow. */
enum lossy_fate lossy_decide(const struct lossy *lossy, uint64_t flow, unsigned direction, uint64_t n, size_t len);

#endif
