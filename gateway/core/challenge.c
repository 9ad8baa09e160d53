/*
 * A SCEP challenge is a challengePassword and nothing else: no user name goes
 * with it. So what is handed out begins with the number of the secret's row,
 * which says whose it is, and the secret behind the dash proves it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"

#define ID_DIGITS_MAX 18 /* any number of so many digits fits an int64_t */

void
challenge_text(int64_t id, const char *secret, char out[CHALLENGE_MAX])
{
	(void)snprintf(out, CHALLENGE_MAX, "%" PRId64 "-%s", id, secret);
}

int
challenge_split(const char *challenge, int64_t *secret_id, const char **secret)
{
	size_t digits = strspn(challenge, "0123456789"), i;
	int64_t id = 0;

	/* One spelling for each: nothing before the number, and no zeros. */
	if (digits < 1 || digits > ID_DIGITS_MAX || challenge[0] == '0' || challenge[digits] != '-' ||
	    challenge[digits + 1] == '\0' || strlen(challenge) >= CHALLENGE_MAX)
		return -1;
	for (i = 0; i < digits; i++)
		id = id * 10 + (challenge[i] - '0');
	*secret_id = id;
	*secret = challenge + digits + 1;
	return 0;
}
