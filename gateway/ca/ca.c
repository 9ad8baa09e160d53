#include "gateway/ca/ca.h"

#include <string.h>

/* Every connector there is. */
static const struct ca_ops *const all[] = {
	&ca_builtin,
	&ca_cfssl,
	&ca_vault,
	&ca_stepca,
	&ca_ejbca,
	&ca_cmp,
	&ca_est,
	&ca_scep,
};

const struct ca_ops *
ca_ops_of(const char *type)
{
	size_t i;

	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(all[i]->type, type) == 0)
			return all[i];
	return NULL;
}

void
ca_answer_free(struct ca_answer *answer)
{
	if (answer == NULL)
		return;
	buf_free(&answer->cert);
	buf_free(&answer->second);
	*answer = (struct ca_answer){ 0 };
}

void
ca_answer_add(struct ca_answer *answer, struct ca_answer *other)
{
	if (answer->second.len == 0 && !bytes_equal(buf_bytes(&answer->cert), buf_bytes(&other->cert))) {
		answer->second = other->cert;
		other->cert = (struct buf){ 0 };
		memcpy(answer->second_serial, other->serial, sizeof answer->second_serial);
	}
	ca_answer_free(other);
}
