#include "devsim/lossy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PER_CENT 100
#define PART_MAX 64
#define MTU_MIN  64
#define MTU_MAX  65535

const char *const lossy_fate_names[LOSSY_FATES] = { [LOSSY_PASS] = "passed", [LOSSY_DROP] = "dropped",
	[LOSSY_DUPLICATE] = "duplicated", [LOSSY_LATE] = "reordered", [LOSSY_TOO_LONG] = "too_long" };

static int
parse_number(const char *part, const char *value, uint64_t least, uint64_t most, uint64_t *out, struct err *e)
{
	char *end = NULL;
	unsigned long long n;

	errno = 0;
	n = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || n < least || n > most)
		return err_set(e, ERR_MALFORMED, "\"%s\": %llu to %llu", part, (unsigned long long)least,
			(unsigned long long)most);
	*out = n;
	return 0;
}

static int
parse_part(const char *part, struct lossy *out, struct err *e)
{
	const char *equals = strchr(part, '=');
	size_t len = equals == NULL ? 0 : (size_t)(equals - part);
	struct bytes name = bytes_of(part, len);
	uint64_t n = 0;

	if (bytes_equal_text(name, "mtu")) {
		if (parse_number(part, equals + 1, MTU_MIN, MTU_MAX, &n, e) != 0)
			return -1;
		out->mtu = (size_t)n;
	} else if (bytes_equal_text(name, "seed")) {
		if (parse_number(part, equals + 1, 0, UINT64_MAX, &out->seed, e) != 0)
			return -1;
	} else {
		unsigned *slot = bytes_equal_text(name, "drop") ? &out->drop : bytes_equal_text(name, "dup") ? &out->dup :
			bytes_equal_text(name, "reorder") ? &out->reorder : NULL;

		if (slot == NULL)
			return err_set(e, ERR_MALFORMED, "\"%s\" is none of drop=, dup=, reorder=, mtu=, seed=", part);
		if (parse_number(part, equals + 1, 0, PER_CENT, &n, e) != 0)
			return -1;
		*slot = (unsigned)n;
	}
	return 0;
}

int
lossy_parse(const char *text, struct lossy *out, struct err *e)
{
	struct lossy lossy = { .seed = 1 };
	char part[PART_MAX];

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		if (len >= sizeof part)
			return err_set(e, ERR_MALFORMED, "a part of more than %d characters", PART_MAX - 1);
		memcpy(part, text, len);
		part[len] = '\0';
		if (parse_part(part, &lossy, e) != 0)
			return -1;
		text += len + (text[len] == ',' ? 1 : 0);
	}
	if (lossy.drop + lossy.dup + lossy.reorder > PER_CENT)
		return err_set(e, ERR_MALFORMED, "drop, dup and reorder are more than 100 per cent together");
	*out = lossy;
	return 0;
}

/* splitmix64's finisher. */
static uint64_t
mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* No state: what happens to one flow does not depend on how others mingle with it. */
enum lossy_fate
lossy_decide(const struct lossy *lossy, uint64_t flow, unsigned direction, uint64_t n, size_t len)
{
	uint64_t dice = mix(mix(mix(lossy->seed) ^ (flow << 1 | direction)) ^ n) % PER_CENT;

	if (lossy->mtu != 0 && len > lossy->mtu)
		return LOSSY_TOO_LONG;
	if (dice < lossy->drop)
		return LOSSY_DROP;
	if (dice < lossy->drop + lossy->dup)
		return LOSSY_DUPLICATE;
	return dice < lossy->drop + lossy->dup + lossy->reorder ? LOSSY_LATE : LOSSY_PASS;
}
