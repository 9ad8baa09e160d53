#include "gateway/core/work.h"

#include <errno.h>

void
work_begin(struct gateway *gateway)
{
	if (gateway->work == NULL)
		return;
	while (sem_wait(gateway->work) != 0 && errno == EINTR)
		;
}

void
work_end(struct gateway *gateway)
{
	if (gateway->work != NULL)
		(void)sem_post(gateway->work);
}
