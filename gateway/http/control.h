/*
 * control.h - the local socket enrollctl talks to. File permissions are the access control.
 *
 * PROTOCOL: one request a connection, a line of JSON:
 *   {"command": "asset list", "args": {...}}
 * with at most one open file passed along (SCM_RIGHTS). Then lines of JSON:
 *   {"row": {...}}                 any number
 *   {"progress": {"done", "total", "rows"}}   any number
 *   {"ok": {...}}  or  {"error": {"code": "denied", "text": "..."}}   the last line
 * The peer's user (SO_PEERCRED) is the actor in the audit.
 */
#ifndef GATEWAY_HTTP_CONTROL_H
#define GATEWAY_HTTP_CONTROL_H

#include "gateway/core/world.h"

struct control;

/* path: removed and made anew (a socket only); mode and group as configured. */
MUST_USE int control_start(struct gateway *gateway, const char *path, int mode, const char *group,
	struct control **out, struct err *e);
void control_stop(struct control *control); /* waits for the commands under way; removes the socket */

#endif
