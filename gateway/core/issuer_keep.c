/*
 * What the store did not take. A certificate that a CA has given, and that no row tells of, is kept here until the store takes it: asking
 * the CA again might make a second one, and this one would be nobody's.
 */
#include <stdlib.h>

#include "gateway/core/issuer_internal.h"

void
issuer_kept_free(struct issuer_kept *kept)
{
	if (kept != NULL)
		ca_answer_free(&kept->answer);
	free(kept);
}

void
lane_keep(struct lane *lane, struct issuer_kept *kept)
{
	kept->next = lane->kept;
	lane->kept = kept;
	lane->kept_count++;
}

size_t
lane_take_kept(struct lane *lane, int64_t now_s, struct lane_job *jobs, size_t most)
{
	struct issuer_kept **at = &lane->kept, *kept;
	size_t count = 0;

	while ((kept = *at) != NULL) {
		if (kept->until_s > now_s || (kept->answered && count == most)) {
			at = &kept->next;
			continue;
		}
		*at = kept->next;
		lane->kept_count--;
		if (kept->answered)
			jobs[count++] = (struct lane_job){ .intent_id = kept->id, .kept = kept };
		else
			issuer_kept_free(kept); /* the store has it: it is found there */
	}
	return count;
}

int64_t
lane_kept_due(const struct lane *lane)
{
	const struct issuer_kept *kept;
	int64_t at_s = INT64_MAX;

	for (kept = lane->kept; kept != NULL; kept = kept->next)
		if (kept->until_s < at_s)
			at_s = kept->until_s;
	return at_s;
}
