/*
 * devsim proxy: a bad link for clients that nobody here wrote; and what both links report.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "devsim/devsim.h"
#include "devsim/link.h"
#include "devsim/options.h"

#define HOST_MAX 256

struct proxy_options {
	const char *listen, *to, *lossy;
	bool verbose, json;
};

static const char proxy_usage[] =
	"usage: devsim proxy --to HOST:PORT [--listen HOST:PORT] [--lossy drop=15,dup=5,reorder=5,mtu=256,seed=1]\n"
	"\n"
	"Be a bad link between UDP clients and one server, until interrupted. The port is printed first,\n"
	"the count of what happened to the datagrams last.\n";

static const char proxy_examples[] =
	"\nexample:\n"
	"    devsim proxy --listen 127.0.0.1:15684 --to 127.0.0.1:5684 --lossy drop=15,dup=5,reorder=5 &\n"
	"    coap-client-openssl -m get coaps://127.0.0.1:15684/.well-known/est/crts ...\n";

#define AT(field) offsetof(struct proxy_options, field)

static const struct option_spec specs[] = {
	{ "to", 0, OPTION_TEXT, NULL, AT(to), "HOST:PORT", "the server" },
	{ "listen", 0, OPTION_TEXT, NULL, AT(listen), "HOST:PORT", "default: 127.0.0.1:0; port 0 takes a free one" },
	{ "lossy", 0, OPTION_TEXT, NULL, AT(lossy), "LINK", LINK_HELP },
	{ "verbose", 'v', OPTION_FLAG, NULL, AT(verbose), NULL, "one line a datagram on stderr" },
	{ "json", 0, OPTION_FLAG, NULL, AT(json), NULL, "the counts as JSON" },
	{ 0 },
};

static int
resolve(const char *text, int flags, struct addrinfo **out, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV | flags };
	const char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - text), skip = 0;
	char host[HOST_MAX];
	int rc;

	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		skip = 1;
		len -= 2;
	}
	if (len == 0 || len >= sizeof host)
		return err_set(e, ERR_MALFORMED, "\"%.80s\" is not HOST:PORT", text);
	memcpy(host, text + skip, len);
	host[len] = '\0';
	rc = getaddrinfo(host, colon + 1, &hints, out);
	return rc == 0 ? 0 : err_set(e, ERR_UPSTREAM, "%.80s: %s", text, gai_strerror(rc));
}

static int
start(const struct proxy_options *o, const struct lossy *lossy, struct proxy **out, struct err *e)
{
	struct addrinfo *listen = NULL, *to = NULL;
	int rc = resolve(o->listen, AI_PASSIVE, &listen, e);

	if (rc == 0)
		rc = resolve(o->to, 0, &to, e);
	if (rc == 0)
		rc = proxy_start(lossy, listen, to, o->verbose ? stderr : NULL, out, e);
	if (listen != NULL)
		freeaddrinfo(listen);
	if (to != NULL)
		freeaddrinfo(to);
	return rc;
}

static void
report(const struct proxy_options *o, struct proxy *proxy)
{
	struct proxy_stats stats;
	json_t *root;

	proxy_stats(proxy, &stats);
	if (!o->json) {
		link_print(&stats, stdout);
		return;
	}
	root = link_json(&stats);
	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(root);
}

static int
run(const struct proxy_options *o, struct err *e)
{
	struct proxy *proxy = NULL;
	struct lossy lossy = { 0 };
	sigset_t signals;
	int number;

	if (o->lossy != NULL && lossy_parse(o->lossy, &lossy, e) != 0) {
		(void)err_prefix(e, "--lossy");
		return DEVSIM_USAGE;
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	/* Before there is another thread, which inherits it. */
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (start(o, &lossy, &proxy, e) != 0)
		return e->code == ERR_MALFORMED ? DEVSIM_USAGE : DEVSIM_LOCAL;
	if (!o->json)
		(void)printf("listening on port %d\n", proxy_port(proxy));
	else
		(void)printf("{ \"port\": %d }\n", proxy_port(proxy));
	(void)fflush(stdout);
	(void)sigwait(&signals, &number);
	report(o, proxy);
	proxy_stop(proxy);
	return DEVSIM_OK;
}

int
proxy_main(int argc, char **argv)
{
	struct proxy_options o = { .listen = "127.0.0.1:0" };
	bool help = false;
	struct err e = { 0 };
	int code;

	if (options_parse(specs, &o, argc - 1, argv + 1, &help, &e) != 0)
		return devsim_complain(DEVSIM_USAGE, &e);
	if (help) {
		(void)fputs(proxy_usage, stdout);
		options_help(specs, stdout);
		(void)fputs(proxy_examples, stdout);
		return DEVSIM_OK;
	}
	if (o.to == NULL) {
		(void)err_set(&e, ERR_MALFORMED, "--to HOST:PORT is needed (devsim proxy --help)");
		return devsim_complain(DEVSIM_USAGE, &e);
	}
	code = run(&o, &e);
	return code == DEVSIM_OK ? code : devsim_complain(code, &e);
}
