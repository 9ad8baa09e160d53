/*
 * devsim scep: one device, one operation over SCEP.
 */
#include "devsim/scep.h"

#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/files.h"

#define TIMEOUT_DEFAULT_S 30
#define EVERY_DEFAULT_S   5
#define KEY_DEFAULT       "rsa:2048"

static const char scep_usage[] =
	"usage: devsim scep --url URL --cacert FILE --challenge-file FILE [--name TAG] [--out DIR]\n"
	"       devsim scep --op renew --url URL --cacert FILE --device DIR/NAME [--out DIR]\n"
	"\n"
	"Be one device that speaks SCEP: look around, enroll, renew, poll, fetch certificates and CRLs.\n";

static const char scep_examples[] =
	"\nexamples:\n"
	"  what does the server offer:\n"
	"    devsim scep --op caps --url http://localhost:8081 --label network --insecure\n"
	"  the first certificate, with a challenge (enrollctl secret new rtr-7 --scep):\n"
	"    devsim scep --url http://localhost:8081 --label network --cacert root.pem \\\n"
	"        --challenge-file challenge --name rtr-7 --out issued\n"
	"  its renewal, with a new key, signed by the old one:\n"
	"    devsim scep --op renew --url http://localhost:8081 --label network --cacert root.pem \\\n"
	"        --device issued/rtr-7 --out issued\n"
	"  like a router of 2005, where the label allows it:\n"
	"    devsim scep --url http://localhost:8081 --label old --cacert root.pem --get --digest md5 \\\n"
	"        --cipher des --challenge-file challenge --name rtr-8\n"
	"\nexit codes: 0 issued, 1 local trouble, 2 usage, 3 FAILURE (or HTTP 401, 403), 4 PENDING,\n"
	"  5 no connection, timeout or another HTTP status, 6 an answer that is not what it should be\n";

#define AT(field) offsetof(struct scep_options, field)

static const struct option_spec specs[] = {
	{ .kind = OPTION_SECTION, .help = "where to" },
	{ "url", 'u', OPTION_TEXT, NULL, AT(client.url), "URL",
		"http[s]://host[:port][/scep], or any path such as /cgi-bin/pkiclient.exe" },
	{ "label", 'l', OPTION_TEXT, NULL, AT(client.label), "LABEL",
		"the label, after the path; default: none" },
	{ "cacert", 0, OPTION_TEXT, NULL, AT(client.tls.cacert), "FILE",
		"trust anchors (PEM): for TLS, and for the certificates in the answers" },
	{ "chain", 0, OPTION_TEXT, NULL, AT(chain), "FILE",
		"other trust anchors for the certificates in the answers" },
	{ "insecure", 0, OPTION_FLAG, NULL, AT(client.tls.insecure), NULL,
		"do not verify the server, and without --chain believe the RA's certificate as it comes" },
	{ "tls", 0, OPTION_CHOICE, NULL, AT(client.tls.version), TLS_VERSION_CHOICES,
		"protocol version; default: any" },
	{ "timeout", 0, OPTION_DURATION, NULL, AT(client.timeout_s), "TIME",
		"for the connection and for each exchange; default: 30s" },
	{ "retry", 0, OPTION_NUMBER, NULL, AT(client.retries), "N",
		"try N times more when no connection can be made; default: 0" },
	{ .kind = OPTION_SECTION, .help = "who" },
	{ "challenge-file", 0, OPTION_TEXT, NULL, AT(challenge_file), "FILE",
		"the challenge, the first line of a file; - is standard input" },
	{ "challenge", 0, OPTION_TEXT, NULL, AT(challenge), "TEXT",
		"the challenge; other users of this machine can see it" },
	{ "device", 'd', OPTION_TEXT, NULL, AT(device), "STEM",
		"current certificate and its RSA key: STEM.pem and STEM.key" },
	{ "cert", 0, OPTION_TEXT, NULL, AT(cert), "FILE",
		"current certificate (PEM), with --key-file" },
	{ "key-file", 0, OPTION_TEXT, NULL, AT(key_file), "FILE", "its private key (PEM)" },
	{ .kind = OPTION_SECTION, .help = "what" },
	{ "op", 'o', OPTION_CHOICE, NULL, AT(choice), SCEP_CHOICES, "default: enroll" },
	{ "key", 'k', OPTION_TEXT, NULL, AT(key), "KIND",
		"a new key: " KEY_SPEC_HELP " (ec with renew only); default: " KEY_DEFAULT },
	{ "request-key", 0, OPTION_TEXT, NULL, AT(request_key), "FILE",
		"this key (PEM) instead of a new one; what poll needs" },
	{ "reuse-key", 0, OPTION_FLAG, NULL, AT(reuse_key), NULL,
		"renew: ask for the current certificate's own key" },
	{ "subject", 's', OPTION_TEXT, NULL, AT(subject), "NAME",
		"\"CN=router-7,O=acme\"; default: renew repeats the certificate's names, else CN=the name" },
	{ "san", 0, OPTION_LIST, NULL, AT(alt_names), "NAME",
		"dns:host, ip:address, uri:text, email:a@b; may repeat" },
	{ "ask-ca", 0, OPTION_FLAG, NULL, AT(ask_ca), NULL,
		"ask for CA:TRUE, which no gateway may grant" },
	{ "as-pkcsreq", 0, OPTION_FLAG, NULL, AT(as_pkcsreq), NULL,
		"renew: say PKCSReq (19) instead of RenewalReq (17), as certmonger and Apple do" },
	{ "transaction", 0, OPTION_TEXT, NULL, AT(transaction), "ID",
		"transactionID; default: the hash of the request's key" },
	{ "of", 0, OPTION_TEXT, NULL, AT(of), "FILE",
		"getcert, getcrl: the certificate (PEM) in question; default: the current one" },
	{ .kind = OPTION_SECTION, .help = "how" },
	{ "digest", 0, OPTION_CHOICE, NULL, AT(digest), SCEP_DIGEST_CHOICES,
		"default: auto, the best that GetCACaps names" },
	{ "cipher", 0, OPTION_CHOICE, NULL, AT(cipher), SCEP_CIPHER_CHOICES, "the same" },
	{ "oaep", 0, OPTION_FLAG, NULL, AT(oaep), NULL, "RSAES-OAEP instead of PKCS #1 v1.5" },
	{ "get", 0, OPTION_FLAG, NULL, AT(get), NULL, "PKIOperation by GET, whatever GetCACaps says" },
	{ "wait", 'w', OPTION_DURATION, "10m", AT(wait_s), "TIME",
		"while the answer is PENDING, or HTTP 503, ask again, for this long; default: 10m" },
	{ "every", 0, OPTION_DURATION, NULL, AT(every_s), "TIME", "how often; default: 5s" },
	{ "resend", 0, OPTION_FLAG, NULL, AT(resend), NULL,
		"ask again with the identical request instead of CertPoll" },
	{ .kind = OPTION_SECTION, .help = "what comes back" },
	{ "out", 0, OPTION_TEXT, NULL, AT(out), "DIR",
		"write NAME.pem and NAME.key (cacert: cacerts.pem, nextcacert: nextcacerts.pem, getcrl: NAME.crl)" },
	{ "name", 0, OPTION_TEXT, NULL, AT(name), "NAME",
		"their name, and the CN asked for; default: the device's, or \"device\"" },
	{ "verbose", 'v', OPTION_FLAG, NULL, AT(verbose), NULL,
		"show connection, requests and answers on stderr" },
	{ "json", 0, OPTION_FLAG, NULL, AT(json), NULL, "one JSON object on stdout" },
	{ 0 },
};

static int
parse(struct scep_options *o, int argc, char **argv, struct err *e)
{
	bool help = false;

	if (options_parse(specs, o, argc, argv, &help, e) != 0)
		return -1;
	if (help) {
		(void)fputs(scep_usage, stdout);
		options_help(specs, stdout);
		(void)fputs(scep_examples, stdout);
		exit(DEVSIM_OK);
	}
	return 0;
}

static int
check_device(const struct scep_options *o, struct err *e)
{
	bool has_device = o->device != NULL || o->cert != NULL;

	if ((o->cert == NULL) != (o->key_file == NULL))
		return err_set(e, ERR_MALFORMED, "--cert and --key-file go together");
	if (o->cert != NULL && o->device != NULL)
		return err_set(e, ERR_MALFORMED, "--device and --cert exclude each other");
	if (o->choice == SCEP_RENEW && !has_device)
		return err_set(e, ERR_MALFORMED, "--op renew needs the current certificate: --device STEM");
	if (o->reuse_key && (o->choice != SCEP_RENEW || o->request_key != NULL))
		return err_set(e, ERR_MALFORMED, "--reuse-key belongs to --op renew, without --request-key");
	if (o->choice == SCEP_POLL && o->request_key == NULL)
		return err_set(e, ERR_MALFORMED, "--op poll needs the key of the request: --request-key FILE");
	if ((o->choice == SCEP_GETCERT || o->choice == SCEP_GETCRL) && o->of == NULL && !has_device)
		return err_set(e, ERR_MALFORMED, "which certificate? --of FILE, or --device STEM");
	return 0;
}

static int
check_options(const struct scep_options *o, struct err *e)
{
	if (o->client.url == NULL)
		return err_set(e, ERR_MALFORMED, "--url is needed (devsim scep --help)");
	if (o->challenge != NULL && o->challenge_file != NULL)
		return err_set(e, ERR_MALFORMED, "--challenge and --challenge-file exclude each other");
	if (o->client.tls.cacert == NULL && o->chain == NULL && !o->client.tls.insecure)
		return err_set(e, ERR_MALFORMED, "--cacert FILE is needed to verify the RA's certificate; "
			"a stranger's is not trusted (or say --insecure)");
	if (o->transaction != NULL && (o->transaction[0] == '\0' || strlen(o->transaction) > SCEP_TRANSACTION_MAX))
		return err_set(e, ERR_MALFORMED, "--transaction: 1 to %d characters", SCEP_TRANSACTION_MAX);
	if (o->every_s < 1)
		return err_set(e, ERR_MALFORMED, "--every: at least 1s");
	return check_device(o, e);
}

static int
load_challenge(struct scep_run *run, struct err *e)
{
	struct buf *challenge = &run->challenge;
	char *text;

	if (run->options.challenge != NULL)
		buf_append_text(challenge, run->options.challenge);
	else if (run->options.challenge_file != NULL && file_read(run->options.challenge_file, challenge, e) != 0)
		return -1;
	buf_append_u8(challenge, '\0');
	if (buf_failed(challenge))
		return err_set(e, ERR_NOMEM, "challenge: no memory");
	text = (char *)challenge->at;
	text[strcspn(text, "\r\n")] = '\0';
	return 0;
}

static int
load_device(struct scep_run *run, struct err *e)
{
	const struct scep_options *o = &run->options;
	int rc = 0;

	if (o->device != NULL)
		rc = device_load_stem(o->device, &run->device, e);
	else if (o->cert != NULL)
		rc = device_load(o->cert, o->key_file, &run->device, e);
	if (rc != 0)
		return -1;
	if (run->device.key != NULL && !EVP_PKEY_is_a(run->device.key, "RSA"))
		return err_set(e, ERR_MALFORMED, "SCEP needs a current certificate with an RSA key");
	(void)snprintf(run->name, sizeof run->name, "%s", o->name != NULL ? o->name :
		run->device.cert != NULL ? run->device.name : "device");
	if (strchr(run->name, '/') != NULL)
		return err_set(e, ERR_MALFORMED, "--name: \"%s\" is no file name", run->name);
	return o->request_key == NULL ? 0 : key_load(o->request_key, &run->key, e);
}

static int
prepare(struct scep_run *run, struct err *e)
{
	const struct scep_options *o = &run->options;
	const char *anchors = o->chain != NULL ? o->chain : o->client.tls.cacert;

	if (load_device(run, e) != 0 || load_challenge(run, e) != 0)
		return -1;
	if (anchors != NULL && x509_load_file(anchors, &run->anchors, e) != 0)
		return -1;
	return key_spec_parse(o->key == NULL ? KEY_DEFAULT : o->key, &run->key_spec, e);
}

static void
run_free(struct scep_run *run)
{
	client_close(&run->client);
	device_free(&run->device);
	scep_server_free(&run->server);
	EVP_PKEY_free(run->key);
	X509_free(run->self_signed);
	buf_free_secret(&run->challenge);
	buf_free(&run->subject);
	buf_free(&run->alt_names);
	buf_free_secret(&run->csr);
	buf_free(&run->spki);
	buf_free(&run->message);
	buf_free(&run->reply.content);
	x509_stack_free(run->anchors);
	x509_stack_free(run->certs);
	X509_CRL_free(run->crl);
}

/* Trouble before anything was sent: whose it is decides the exit code. */
static int
early_exit(const struct scep_run *run, const struct err *e)
{
	if (e->code == ERR_UPSTREAM && run->client.options != NULL)
		return DEVSIM_SERVER;
	return e->code == ERR_MALFORMED || e->code == ERR_UNSUPPORTED ? DEVSIM_USAGE : DEVSIM_LOCAL;
}

static int
save(struct scep_run *run, int code, struct err *e)
{
	struct err trouble;

	if (run->options.out == NULL || (code != DEVSIM_OK && code != DEVSIM_PENDING) ||
	    scep_save(run, code == DEVSIM_PENDING, &trouble) == 0)
		return 0;
	*e = trouble;
	return -1;
}

int
scep_main(int argc, char **argv)
{
	struct scep_run run = { 0 };
	struct err e = { 0 };
	int64_t began_us;
	int code;

	run.options = (struct scep_options){ .choice = SCEP_ENROLL, .every_s = EVERY_DEFAULT_S,
		.client = { .label = "", .kind = URL_SCEP, .timeout_s = TIMEOUT_DEFAULT_S } };
	if (parse(&run.options, argc - 1, argv + 1, &e) != 0 || check_options(&run.options, &e) != 0)
		return devsim_complain(DEVSIM_USAGE, &e);
	if (run.options.verbose)
		run.options.client.trace = stderr;
	if (prepare(&run, &e) != 0 || client_open(&run.client, &run.options.client, &e) != 0)
		code = early_exit(&run, &e);
	else {
		began_us = time_monotonic_us();
		code = scep_request(&run, &e);
		run.took_us = time_monotonic_us() - began_us;
		if (save(&run, code, &e) != 0)
			code = DEVSIM_LOCAL;
	}
	scep_report(&run, code, &e);
	run_free(&run);
	return code;
}
