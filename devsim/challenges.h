/*
 * challenges.h - SCEP challenges of many devices: who has which.
 */
#ifndef DEVSIM_CHALLENGES_H
#define DEVSIM_CHALLENGES_H

#include "devsim/device.h"

struct challenge {
	char tag[DEVICE_NAME_MAX];
	struct buf text; /* a C string; secret */
};

struct challenges {
	struct challenge *at;
	size_t count;
};

/*
 * Lines "tag,challenge"; a first line "tag,challenge", empty lines and those that begin with # are
 * skipped. Everything after the first comma is the challenge, blanks around both are not.
 * ERR_MALFORMED names the line.
 */
MUST_USE int challenges_parse(struct bytes text, struct challenges *out, struct err *e);
/* Such a file, or a folder of files TAG or TAG.challenge with the challenge in the first line. At most max (0: all). */
MUST_USE int challenges_read(const char *path, size_t max, struct challenges *out, struct err *e);
void challenges_free(struct challenges *challenges); /* the struct itself stays the caller's */

#endif
