#include "devsim/devsim.h"

#include <stdio.h>

int
devsim_complain(int code, const struct err *e)
{
	(void)fprintf(stderr, "devsim: %s\n", e->text);
	return code;
}

const char *
devsim_exit_name(int code)
{
	static const char *const names[] = { [DEVSIM_OK] = "ok", [DEVSIM_LOCAL] = "local", [DEVSIM_USAGE] = "usage",
		[DEVSIM_REFUSED] = "refused", [DEVSIM_PENDING] = "pending", [DEVSIM_SERVER] = "server",
		[DEVSIM_MALFORMED] = "malformed" };

	return names[code];
}
