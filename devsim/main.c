/*
 * devsim - simulated devices for an EST or SCEP server: a factory, one device, a fleet.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/key.h"
#include "devsim/devsim.h"
#include "devsim/enroll_tpm.h"
#include "scep/scep.h"

static const struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} subcommands[] = {
	{ "factory", factory_main, "make a manufacturer's CA, devices with factory certificates, and their asset list" },
	{ "enroll", enroll_main, "be one device over EST, HTTPS or CoAP: CA certificates, enroll, renew, server-made keys" },
	{ "scep", scep_main, "be one device over SCEP: capabilities, enroll, renew, poll, certificates, CRLs" },
	{ "fleet", fleet_main, "be many devices at once, and measure" },
	{ "tpm", tpm_main, "show a TPM's endorsement and attestation keys" },
	{ "proxy", proxy_main, "be a bad link between UDP clients and a server" },
};

#define SUBCOMMANDS (sizeof subcommands / sizeof subcommands[0])

static int
usage(FILE *to, int code)
{
	size_t i;

	(void)fprintf(to, "usage: devsim COMMAND [options]\n\nSimulated devices for an EST (RFC 7030, RFC 9148) or SCEP (RFC 8894) server.\n\ncommands:\n");
	for (i = 0; i < SUBCOMMANDS; i++)
		(void)fprintf(to, "  %-9s %s\n", subcommands[i].name, subcommands[i].summary);
	(void)fprintf(to, "\ndevsim COMMAND --help lists a command's options with examples; devsim --version.\n"
		"\nfrom nothing to a fleet with certificates:\n"
		"  devsim factory --out factory --count 100 --owner acme-fleet\n"
		"  (import factory/assets.csv into the registry; trust factory/manufacturer/root.pem)\n"
		"  devsim fleet --devices factory --url https://localhost:8443 --cacert root.pem --out issued\n"
		"  devsim fleet --op reenroll --devices issued --url https://localhost:8443 --cacert root.pem\n");
	return code;
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };
	size_t i;

	if (argc < 2)
		return usage(stderr, DEVSIM_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return usage(stdout, DEVSIM_OK);
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("devsim %s\n", DEVSIM_VERSION);
		return DEVSIM_OK;
	}
	/* A server that closes early is an error to report, not a reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return devsim_complain(DEVSIM_LOCAL, &e);
	/* Without the legacy provider there is no DES: scep_build() says so if it comes to that. */
	if (scep_init(&e) != 0 && e.code != ERR_UNSUPPORTED)
		return devsim_complain(DEVSIM_LOCAL, &e);
	for (i = 0; i < SUBCOMMANDS; i++)
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	(void)fprintf(stderr, "devsim: unknown command \"%s\"\n", argv[1]);
	return usage(stderr, DEVSIM_USAGE);
}
