#include "coap/context.h"

#include <string.h>
#include <syslog.h>

#include "base/text.h"
#include "base/timefmt.h"

#define LINES_PER_SECOND 10 /* per thread: peers cause most of what libcoap says */
#define LINE_MAX_OCTETS  400

static _Thread_local void (*log_to)(int level, const char *text);
static _Thread_local int64_t second;
static _Thread_local int lines;

static bool
begins_with(const char *text, const char *what)
{
	return strncmp(text, what, strlen(what)) == 0;
}

static void
on_log(coap_log_t level, const char *message)
{
	char text[LINE_MAX_OCTETS];
	int64_t now_s = time_monotonic_us() / 1000000;

	if (log_to == NULL)
		return;
	/* libcoap misses the certificate that the policy sets a moment later. */
	if (begins_with(message, "*** setup_pki"))
		return;
	if (begins_with(message, "got RST"))
		level = LOG_DEBUG;
	if (now_s != second) {
		second = now_s;
		lines = 0;
	}
	if (lines++ >= LINES_PER_SECOND)
		return;
	text_escape(text, sizeof text, bytes_of(message, strcspn(message, "\n")));
	log_to(level, text);
}

void
coaps_log_setup(void)
{
	coap_set_log_handler(on_log);
	/* Below this its messages are made from buffers that all threads share. */
	coap_set_log_level(LOG_ERR);
}

void
coaps_log_to(void (*log)(int level, const char *text))
{
	log_to = log;
}
