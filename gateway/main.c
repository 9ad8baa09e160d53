/*
 * enrolld: the command line.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/key.h"
#include "base/timefmt.h"
#include "gateway/core/config.h"
#include "gateway/core/init.h"
#include "gateway/process.h"
#include "scep/scep.h"

#define CONFIG_DEFAULT "/etc/enrolld/enrolld.conf"
#define PORT_DEFAULT 8443

static void
print_problem(void *arg, const char *text)
{
	(void)arg;
	(void)fprintf(stderr, "%s\n", text);
}

static int
check(const char *path)
{
	CLEANUP(config) struct config *config = NULL;

	if (config_load(path, print_problem, NULL, &config) != 0)
		return 1;
	(void)printf("%s: no mistakes\n", path);
	return 0;
}

/* "acme=roots.pem", cut in two where it stands. */
static void
split_trust(struct init_options *init, char *text)
{
	char *equals = strchr(text, '=');

	init->trust_name = text;
	init->trust_file = equals == NULL ? "" : equals + 1;
	if (equals != NULL)
		*equals = '\0';
}

static int
make_directory(struct init_options *init)
{
	struct err e;

	init->now_s = time_now_s();
	if (init->port < 1 || init->port > INIT_PORT_MAX) {
		(void)fprintf(stderr, "enrolld: --port wants a number from 1 to %d\n", INIT_PORT_MAX);
		return 2;
	}
	if (init_directory(init, &e) != 0) {
		(void)fprintf(stderr, "enrolld: %s\n", e.text);
		return 1;
	}
	init_print_next(stdout, init);
	return 0;
}

static int
usage(FILE *out)
{
	(void)fputs("usage: enrolld [-c FILE] [--check]\n"
		    "       enrolld --init DIR [--port N] [--trust NAME=FILE]\n"
		    "\n"
		    "The gateway between a fleet's devices and its certificate authority: EST over HTTPS\n"
		    "and CoAP, and SCEP, checked against the ownership registry, recorded, explained.\n"
		    "\n"
		    "  -c, --config FILE   the configuration (" CONFIG_DEFAULT ")\n"
		    "      --check         say what is wrong with it, and stop\n"
		    "      --init DIR      make a directory to begin with: two-tier CA, server certificate,\n"
		    "                      registry and configuration, ready to serve on this machine\n"
		    "      --port N        its HTTPS and CoAP port (8443); the next ones are admin and plain HTTP (SCEP)\n"
		    "      --trust NAME=FILE  take a manufacturer's root certificates into it\n"
		    "      --config-manual print the settings as enrolld.conf(5) has them\n"
		    "      --version       print the version\n"
		    "\n"
		    "SIGHUP reads the configuration again, SIGTERM stops. Operators talk to the running\n"
		    "gateway with enrollctl(1). First steps: enrolld --init demo; enrolld -c demo/enrolld.conf\n",
		out);
	return out == stdout ? 0 : 2;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' }, { "init", required_argument, NULL, 'i' },
		{ "port", required_argument, NULL, 'p' }, { "trust", required_argument, NULL, 't' },
		{ "config-manual", no_argument, NULL, 'm' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct init_options init = { .port = PORT_DEFAULT };
	const char *path = CONFIG_DEFAULT;
	bool only_check = false;
	struct err e = { 0 };
	int option;

	/* Without OpenSSL's legacy provider only single DES and MD5 are missing; the configuration says whether they are wanted. */
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || (scep_init(&e) != 0 && e.code != ERR_UNSUPPORTED)) {
		(void)fprintf(stderr, "enrolld: %s\n", e.text);
		return 1;
	}
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (option == 'c')
			path = optarg;
		else if (option == 'k')
			only_check = true;
		else if (option == 'i')
			init.dir = optarg;
		else if (option == 'p')
			init.port = atoi(optarg);
		else if (option == 't')
			split_trust(&init, optarg);
		else if (option == 'm')
			return config_print_manual(stdout), 0;
		else if (option == 'v')
			return printf("enrolld %s\n", ENROLLD_VERSION) < 0;
		else
			return usage(option == 'h' ? stdout : stderr);
	}
	if (optind != argc)
		return usage(stderr);
	if (init.dir != NULL)
		return make_directory(&init);
	return only_check ? check(path) : process_serve(path);
}
