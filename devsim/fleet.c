/*
 * devsim fleet: options, and the order of things.
 */
#define _GNU_SOURCE
#include "devsim/fleet_protocol.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/options.h"
#include "devsim/scep_client.h"

#define CONCURRENCY_DEFAULT 16
#define TIMEOUT_DEFAULT_S   30
#define TIMEOUT_COAP_S      120
#define KEEP_ALIVE_BARE     "100"
#define HELD_MAX            100000
#define KEEP_ALIVE_MAX      1000000
#define SOURCES_MAX         200
#define PROTOCOL_COAP       2 /* in FLEET_PROTOCOLS */

static const char fleet_usage[] =
	"usage: devsim fleet --devices DIR --url URL --cacert FILE [--op enroll|reenroll|cacerts] [options]\n"
	"       devsim fleet --protocol scep --challenges FILE --url URL --cacert FILE [options]\n"
	"       devsim fleet --protocol coap --devices DIR --url coaps://HOST --cacert FILE [options]\n"
	"\n"
	"Be many devices at once, and measure. Each device is used once, unless --operations or --duration\n"
	"say otherwise. Keys and requests are made before the clock starts.\n";

static const char fleet_examples[] =
	"\nexamples:\n"
	"  every device of a factory once, sixteen at a time, certificates kept for a renewal:\n"
	"    devsim fleet --devices factory --url https://localhost:8443 --cacert root.pem --out issued\n"
	"    devsim fleet --op reenroll --devices issued --url https://localhost:8443 --cacert root.pem --out issued\n"
	"  200 arrivals a second for a minute, latency counted from when each should have begun:\n"
	"    devsim fleet --devices factory --url URL --cacert root.pem --rate 200 --duration 60s --concurrency 500\n"
	"  the same fleet while 5000 idle and 1000 slow clients hold connections:\n"
	"    devsim fleet --devices factory --url URL --cacert root.pem --hold-idle 5000 --slow 1000\n"
	"  SCEP: a challenge for each device, RSA keys made in a hurry, then the renewal:\n"
	"    devsim fleet --protocol scep --challenges challenges.csv --url http://localhost:8081 --label scep \\\n"
	"        --cacert root.pem --shared-primes --out issued\n"
	"    devsim fleet --protocol scep --op reenroll --devices issued --url http://localhost:8081 --label scep \\\n"
	"        --cacert root.pem --shared-primes --out issued\n"
	"  EST over CoAP, a thousand devices on links that lose every seventh datagram:\n"
	"    devsim fleet --protocol coap --devices factory --url coaps://localhost:5684 --cacert root.pem \\\n"
	"        --concurrency 200 --lossy drop=15,dup=5,reorder=5,mtu=256 --retry 3 --out issued\n"
	"\nexit codes: 0 everything was issued, 1 local trouble, 2 usage, 3 nothing worse than refusals,\n"
	"  4 nothing worse than pending answers, 5 failures\n";

#define AT(field) offsetof(struct fleet_options, field)

static const struct option_spec specs[] = {
	{ .kind = OPTION_SECTION, .help = "where to" },
	{ "url", 'u', OPTION_TEXT, NULL, AT(client.url), "URL",
		"https://host[:port][/.well-known/est]; SCEP: http[s]://host[:port][/scep]; CoAP: coaps://" },
	{ "label", 'l', OPTION_TEXT, NULL, AT(client.label), "LABEL",
		"the label in the path; default: none" },
	{ "cacert", 0, OPTION_TEXT, NULL, AT(client.tls.cacert), "FILE",
		"trust anchors (PEM) the server is verified against" },
	{ "insecure", 0, OPTION_FLAG, NULL, AT(client.tls.insecure), NULL,
		"do not verify the server" },
	{ "tls", 0, OPTION_CHOICE, NULL, AT(client.tls.version), TLS_VERSION_CHOICES,
		"protocol version; default: any" },
	{ "timeout", 0, OPTION_DURATION, NULL, AT(client.timeout_s), "TIME",
		"for each connection and each exchange; default: 30s, CoAP 2m" },
	{ "retry", 0, OPTION_NUMBER, NULL, AT(client.retries), "N",
		"try N times more when no connection can be made, or over CoAP no answer came; default: 0" },
	{ "sources", 0, OPTION_NUMBER, NULL, AT(sources), "N",
		"IPv4 loopback only: connect from N addresses, 127.0.1.1 and up, in turn" },
	{ .kind = OPTION_SECTION, .help = "who and what" },
	{ "protocol", 'p', OPTION_CHOICE, NULL, AT(protocol), FLEET_PROTOCOLS,
		"default: est, or coap when the URL says so" },
	{ "devices", 'd', OPTION_TEXT, NULL, AT(devices), "DIR",
		"the devices: DIR/devices of a factory, or a folder of NAME.pem and NAME.key" },
	{ "challenges", 0, OPTION_TEXT, NULL, AT(challenges), "PATH",
		"SCEP: devices that have nothing else: a file of lines tag,challenge, or a folder of files TAG" },
	{ "count", 'n', OPTION_NUMBER, NULL, AT(count), "N",
		"use the first N devices; default: all" },
	{ "op", 'o', OPTION_CHOICE, NULL, AT(op), FLEET_OPS, "default: enroll" },
	{ "key", 'k', OPTION_TEXT, NULL, AT(key), "KIND",
		KEY_SPEC_HELP "; default: ec:P-256, with SCEP rsa:2048" },
	{ "shared-primes", 0, OPTION_FLAG, NULL, AT(shared_primes), NULL,
		"put RSA keys together from few primes: quick, and worthless as keys" },
	{ "binding", 0, OPTION_FLAG, NULL, AT(bind), NULL,
		"channel binding in every request, which is then signed within the measured time" },
	{ "digest", 0, OPTION_CHOICE, NULL, AT(digest), SCEP_DIGEST_CHOICES,
		"SCEP; default: auto, the best that GetCACaps names" },
	{ "cipher", 0, OPTION_CHOICE, NULL, AT(cipher), SCEP_CIPHER_CHOICES, "the same" },
	{ "oaep", 0, OPTION_FLAG, NULL, AT(oaep), NULL, "SCEP: RSAES-OAEP instead of PKCS #1 v1.5" },
	{ "get", 0, OPTION_FLAG, NULL, AT(get), NULL, "SCEP: PKIOperation by GET" },
	{ "unopened", 0, OPTION_FLAG, NULL, AT(unopened), NULL,
		"SCEP: believe SUCCESS without decrypting the certificate: spares this program a private-key "
		"operation" },
	{ .kind = OPTION_SECTION, .help = "CoAP" },
	{ "block-size", 0, OPTION_NUMBER, NULL, AT(client.coap.block_size), "N",
		"octets of a block each way, 16 to 1024; default: what fits the MTU" },
	{ "accept", 0, OPTION_NUMBER, NULL, AT(client.coap.accept), "N",
		"Accept this Content-Format: 281, or 287 for a single certificate; default: none" },
	{ "mtu", 0, OPTION_NUMBER, NULL, AT(client.coap.mtu), "N",
		"octets of the longest datagram sent; default: 1152, or the link's" },
	{ "ack-timeout", 0, OPTION_REAL, NULL, AT(client.coap.ack_timeout_s), "S",
		"seconds until a message is repeated the first time; default: 2, and half of it in the handshake" },
	{ "suite", 0, OPTION_CHOICE, NULL, AT(client.tls.suite), DTLS_SUITE_CHOICES,
		"AES128-CCM8 or AES128-GCM-SHA256; default: any" },
	{ "group", 0, OPTION_CHOICE, NULL, AT(client.tls.group), DTLS_GROUP_CHOICES,
		"the one to prefer; default: P-256" },
	{ "lossy", 0, OPTION_TEXT, NULL, AT(client.coap.lossy), "LINK", LINK_HELP },
	{ .kind = OPTION_SECTION, .help = "how much" },
	{ "once", 0, OPTION_FLAG, NULL, AT(once), NULL,
		"each device once (with --keep-alive: one connection each); the default" },
	{ "operations", 0, OPTION_NUMBER, NULL, AT(operations), "N",
		"N operations, devices in turn, every request with a new key" },
	{ "duration", 0, OPTION_DURATION, NULL, AT(duration_s), "TIME",
		"begin nothing new after this long" },
	{ "concurrency", 'c', OPTION_NUMBER, NULL, AT(concurrency), "C",
		"connections at a time; default: 16" },
	{ "rate", 'r', OPTION_REAL, NULL, AT(rate), "R",
		"open loop: R arrivals a second, at most C under way; latency counts from the intended "
		"start" },
	{ "keep-alive", 0, OPTION_NUMBER, KEEP_ALIVE_BARE, AT(keep_alive), "K",
		"K operations on each connection, all of one device; alone: 100" },
	{ "threads", 't', OPTION_NUMBER, NULL, AT(threads), "T",
		"worker threads; default: 1" },
	{ "pool", 0, OPTION_NUMBER, NULL, AT(pool), "N",
		"requests made beforehand when only --duration limits the run; default: 20000, or as many "
		"as --rate needs" },
	{ "hold-idle", 0, OPTION_NUMBER, NULL, AT(hold_idle), "N",
		"hold N idle TLS connections, or DTLS sessions, during the run" },
	{ "slow", 0, OPTION_NUMBER, NULL, AT(slow), "N",
		"hold N clients that send one octet of a request a second" },
	{ .kind = OPTION_SECTION, .help = "what comes of it" },
	{ "out", 0, OPTION_TEXT, NULL, AT(out), "DIR",
		"write NAME.pem and NAME.key of every certificate, after the run" },
	{ "report", 0, OPTION_TEXT, NULL, AT(report), "FILE", "write the report as JSON" },
	{ "json", 0, OPTION_FLAG, NULL, AT(json), NULL, "the report as JSON on stdout" },
	{ "quiet", 'q', OPTION_FLAG, NULL, AT(quiet), NULL, "no progress" },
	{ 0 },
};

static int
parse(struct fleet_options *o, int argc, char **argv, struct err *e)
{
	bool help = false;

	if (options_parse(specs, o, argc, argv, &help, e) != 0)
		return -1;
	if (help) {
		(void)fputs(fleet_usage, stdout);
		options_help(specs, stdout);
		(void)fputs(fleet_examples, stdout);
		exit(DEVSIM_OK);
	}
	return 0;
}

static int
check_options(const struct fleet_options *o, struct err *e)
{
	if (o->client.url == NULL)
		return err_set(e, ERR_MALFORMED, "--url is needed (devsim fleet --help)");
	if (o->client.tls.cacert == NULL && !o->client.tls.insecure)
		return err_set(e, ERR_MALFORMED, "--cacert FILE is needed to verify the server (or say --insecure)");
	if (o->devices == NULL && o->challenges == NULL && o->op != FLEET_CACERTS)
		return err_set(e, ERR_MALFORMED, "--devices DIR is needed for --op enroll and reenroll "
			"(--protocol scep: or --challenges)");
	if (o->devices == NULL && o->op == FLEET_CACERTS && o->operations == 0 && o->duration_s == 0)
		return err_set(e, ERR_MALFORMED, "--op cacerts without --devices needs --operations or --duration");
	if (o->once && (o->operations != 0 || o->duration_s != 0))
		return err_set(e, ERR_MALFORMED, "--once and --operations or --duration exclude each other");
	if (o->concurrency == 0 || o->concurrency > FLEET_CONCURRENCY_MAX)
		return err_set(e, ERR_LIMIT, "--concurrency: 1 to %d", FLEET_CONCURRENCY_MAX);
	if (o->threads == 0 || o->threads > FLEET_THREADS_MAX || o->threads > o->concurrency)
		return err_set(e, ERR_LIMIT, "--threads: 1 to %d, and not more than --concurrency", FLEET_THREADS_MAX);
	if (o->keep_alive == 0 || o->keep_alive > KEEP_ALIVE_MAX)
		return err_set(e, ERR_LIMIT, "--keep-alive: 1 to %d", KEEP_ALIVE_MAX);
	if (o->hold_idle > HELD_MAX || o->slow > HELD_MAX)
		return err_set(e, ERR_LIMIT, "--hold-idle and --slow: at most %d", HELD_MAX);
	if (o->sources > SOURCES_MAX)
		return err_set(e, ERR_LIMIT, "--sources: at most %d", SOURCES_MAX);
	return 0;
}

static struct fleet *interrupted;

void
fleet_interrupt(struct fleet *fleet)
{
	atomic_store(&fleet->stop, true);
}

static void
on_signal(int number)
{
	(void)number;
	fleet_interrupt(interrupted);
}

/* The first ^C ends the run with a report, the second one the program. */
static void
catch_interrupt(struct fleet *fleet)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	interrupted = fleet;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int
check_file_limit(const struct fleet_options *o, struct err *e)
{
	uint64_t sockets = o->concurrency + o->hold_idle + o->slow;
	/* A lossy link has a socket for each device, too. */
	uint64_t need = sockets * (o->client.coap.lossy != NULL ? 2 : 1) + 64;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < need)
		return err_set(e, ERR_LIMIT, "%llu open files are needed and %llu allowed (ulimit -n)",
			(unsigned long long)need, (unsigned long long)limit.rlim_cur);
	return 0;
}

static double
cpu_s(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int
run(struct fleet *fleet, struct err *e)
{
	struct fleet_hold *hold = NULL;
	int rc;

	if (check_file_limit(&fleet->options, e) != 0 || fleet_load(fleet, e) != 0 ||
	    (fleet->protocol->open != NULL && fleet->protocol->open(fleet, e) != 0) || fleet_prepare(fleet, e) != 0)
		return -1;
	fleet->prepare_s = cpu_s();
	catch_interrupt(fleet);
	if (fleet_hold_start(fleet, &hold, e) != 0)
		return -1;
	rc = fleet_run(fleet, e);
	fleet_hold_stop(hold, fleet);
	if (fleet->link != NULL)
		proxy_stats(fleet->link, &fleet->link_stats);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	if (rc != 0 || fleet_store(fleet, e) != 0)
		return -1;
	return fleet_report(fleet, e);
}

static int
exit_of(const struct fleet_stats *total)
{
	if (total->failed > 0 || total->ok + total->refused + total->pending == 0)
		return DEVSIM_SERVER;
	if (total->refused > 0)
		return DEVSIM_REFUSED;
	return total->pending > 0 ? DEVSIM_PENDING : DEVSIM_OK;
}

/* What CoAP's own options say. */
static int
settle_coap(struct fleet *fleet, struct err *e)
{
	struct client_options *c = &fleet->options.client;

	if (c->timeout_s < 0)
		c->timeout_s = c->kind == URL_COAP ? TIMEOUT_COAP_S : TIMEOUT_DEFAULT_S;
	if (c->kind != URL_COAP)
		return !coapc_options_given(&c->coap) && c->tls.suite == 0 && c->tls.group == 0 ? 0 :
			err_set(e, ERR_MALFORMED, "--block-size, --accept, --mtu, --ack-timeout, --suite, --group and "
				"--lossy belong to --protocol coap");
	if (c->coap.lossy != NULL && lossy_parse(c->coap.lossy, &fleet->lossy, e) != 0)
		return err_prefix(e, "--lossy");
	if (coapc_options_settle(&c->coap, fleet->lossy.mtu, e) != 0)
		return -1;
	c->tls.mtu = c->coap.mtu;
	c->tls.timer_us = coapc_ack_timeout_us(&c->coap) / 2;
	return 0;
}

/* Everything that is wrong with the options by themselves. */
static int
settle_options(struct fleet *fleet, struct url *url, struct err *e)
{
	static const struct fleet_protocol *const protocols[] = { &fleet_est, &fleet_scep, &fleet_coap };
	static const char *const keys[] = { KEY_SPEC_DEFAULT, "rsa:2048", KEY_SPEC_DEFAULT };
	struct fleet_options *o = &fleet->options;

	if (check_options(o, e) != 0)
		return -1;
	if (protocols[o->protocol] == &fleet_est && url_kind_est(o->client.url) == URL_COAP)
		o->protocol = PROTOCOL_COAP;
	if (protocols[o->protocol]->check(o, e) != 0)
		return -1;
	o->client.kind = protocols[o->protocol]->url;
	if (settle_coap(fleet, e) != 0)
		return -1;
	if (key_spec_parse(o->key != NULL ? o->key : keys[o->protocol], &fleet->key_spec, e) != 0 ||
	    url_parse_as(o->client.kind, o->client.url, url, e) != 0)
		return -1;
	if (o->shared_primes && fleet->key_spec.algorithm != KEY_ALGORITHM_RSA)
		return err_set(e, ERR_MALFORMED, "--shared-primes: only RSA keys have primes");
	if (url->plain && o->hold_idle + o->slow > 0)
		return err_set(e, ERR_MALFORMED, "--hold-idle and --slow hold TLS connections: https://");
	fleet->protocol = protocols[o->protocol];
	return 0;
}

int
fleet_main(int argc, char **argv)
{
	struct fleet *fleet = calloc(1, sizeof *fleet);
	struct err e = { 0 };
	struct url url;
	int code;

	if (fleet == NULL) {
		(void)err_set(&e, ERR_NOMEM, "no memory");
		return devsim_complain(DEVSIM_LOCAL, &e);
	}
	fleet->options = (struct fleet_options){ .concurrency = CONCURRENCY_DEFAULT, .threads = 1, .keep_alive = 1,
		.client = { .label = "", .timeout_s = -1, .coap = { .accept = COAPC_NO_ACCEPT } } };
	raise_file_limit();
	if (parse(&fleet->options, argc - 1, argv + 1, &e) != 0 || settle_options(fleet, &url, &e) != 0)
		code = devsim_complain(DEVSIM_USAGE, &e);
	else if (!url.plain && tls_new(&fleet->options.client.tls, &url, &fleet->tls, &e) != 0)
		code = devsim_complain(DEVSIM_LOCAL, &e);
	else if (target_open(&fleet->target, &url, &e) != 0 || (fleet->options.client.coap.lossy != NULL &&
		link_open(&fleet->target, &fleet->lossy, NULL, &fleet->link, &e) != 0))
		code = devsim_complain(DEVSIM_SERVER, &e);
	else {
		fleet->target.sources = (unsigned)fleet->options.sources;
		code = run(fleet, &e) == 0 ? exit_of(&fleet->total) : devsim_complain(DEVSIM_LOCAL, &e);
	}
	fleet_free(fleet);
	free(fleet);
	return code;
}
