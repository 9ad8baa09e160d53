#include "devsim/devsim.h"

#include <stdio.h>

int
devsim_complain(int code, const struct err *e)
{
	(void)fprintf(stderr, "devsim: %s\n", e->text);
	return code;
}
