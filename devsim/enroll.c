/*
 * devsim enroll: one device, one operation.
 */
#include "devsim/enroll.h"

#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/files.h"

#define TIMEOUT_DEFAULT_S 30
/* RFC 7252, section 4.8.2: a message alone may take MAX_TRANSMIT_WAIT, 93 seconds. */
#define TIMEOUT_COAP_S    120

static const char enroll_usage[] =
	"usage: devsim enroll --url URL --device DIR/devices/NAME --cacert FILE [--out DIR]\n"
	"       devsim enroll --url URL --user TAG --secret-file FILE --cacert FILE [--out DIR]\n"
	"\n"
	"Be one device: fetch the CA certificates, enroll, renew, or have the server make the key.\n"
	"A URL with coaps:// speaks EST over CoAP.\n";

static const char enroll_examples[] =
	"\nexamples:\n"
	"  the first certificate, with the factory's:\n"
	"    devsim enroll --url https://localhost:8443 --device factory/devices/acme-SN00000001 \\\n"
	"        --cacert root.pem --out issued\n"
	"  its renewal, with a new key:\n"
	"    devsim enroll --op reenroll --url https://localhost:8443 --device issued/acme-SN00000001 \\\n"
	"        --cacert root.pem --out issued\n"
	"  a one-time secret instead of a certificate, waiting for an approval:\n"
	"    devsim enroll --url https://localhost:8443 --user acme-SN00000002 --secret-file secret \\\n"
	"        --cacert root.pem --out issued --wait=5m\n"
	"  a constrained device, over a link that loses every seventh datagram:\n"
	"    devsim enroll --url coaps://localhost:5684 --device factory/devices/acme-SN00000003 \\\n"
	"        --cacert root.pem --out issued --lossy drop=15,mtu=256 --retry 3\n"
	"  a laptop whose key is made in its TPM, and renewed there:\n"
	"    devsim enroll --url https://localhost:8443 --user LAP-1 --secret-file secret --cacert root.pem \\\n"
	"        --tpm swtpm:host=127.0.0.1,port=2321 --out issued\n"
	"    devsim enroll --op reenroll --url https://localhost:8443 --device issued/LAP-1 --cacert root.pem \\\n"
	"        --tpm swtpm:host=127.0.0.1,port=2321 --out issued\n"
	"\nexit codes: 0 issued, 1 local trouble, 2 usage, 3 refused (HTTP 401, 403; CoAP 4.01, 4.03),\n"
	"  4 pending (HTTP 202; CoAP 5.03 with Max-Age), 5 no connection, timeout or another status,\n"
	"  6 an answer that is not what it should be\n";

#define AT(field) offsetof(struct enroll_options, field)

static const struct option_spec specs[] = {
	{ .kind = OPTION_SECTION, .help = "where to" },
	{ "url", 'u', OPTION_TEXT, NULL, AT(client.url), "URL",
		"https://host[:port][/.well-known/est], or coaps:// for EST over CoAP (RFC 9148)" },
	{ "label", 'l', OPTION_TEXT, NULL, AT(client.label), "LABEL",
		"the label in the path; default: none" },
	{ "cacert", 0, OPTION_TEXT, NULL, AT(client.tls.cacert), "FILE",
		"trust anchors (PEM) the server is verified against" },
	{ "insecure", 0, OPTION_FLAG, NULL, AT(client.tls.insecure), NULL,
		"do not verify the server: only to look at a /cacerts answer that is then compared by hand" },
	{ "tls", 0, OPTION_CHOICE, NULL, AT(client.tls.version), TLS_VERSION_CHOICES,
		"protocol version; default: any" },
	{ "timeout", 0, OPTION_DURATION, NULL, AT(client.timeout_s), "TIME",
		"for the connection and for each exchange; default: 30s, CoAP 2m" },
	{ "retry", 0, OPTION_NUMBER, NULL, AT(client.retries), "N",
		"try N times more when no connection can be made, or over CoAP no answer came; default: 0" },
	{ .kind = OPTION_SECTION, .help = "who" },
	{ "device", 'd', OPTION_TEXT, NULL, AT(device), "STEM",
		"client certificate and key: STEM.pem and STEM.key" },
	{ "cert", 0, OPTION_TEXT, NULL, AT(cert), "FILE",
		"client certificate and chain (PEM), with --key-file" },
	{ "key-file", 0, OPTION_TEXT, NULL, AT(key_file), "FILE", "its private key (PEM)" },
	{ "user", 0, OPTION_TEXT, NULL, AT(user), "NAME", "HTTP Basic user: the asset's tag" },
	{ "secret-file", 0, OPTION_TEXT, NULL, AT(secret_file), "FILE",
		"its secret, the first line of a file; - is standard input" },
	{ "secret", 0, OPTION_TEXT, NULL, AT(secret), "TEXT",
		"its secret; other users of this machine can see it" },
	{ .kind = OPTION_SECTION, .help = "what" },
	{ "op", 'o', OPTION_CHOICE, NULL, AT(choice), ENROLL_CHOICES,
		"default: enroll; CoAP alone: skc, which is keygen with a single certificate, and discover" },
	{ "key", 'k', OPTION_TEXT, NULL, AT(key), "KIND",
		KEY_SPEC_HELP "; default: like the client certificate's, or ec:P-256" },
	{ "reuse-key", 0, OPTION_FLAG, NULL, AT(reuse_key), NULL,
		"ask for a certificate for the client certificate's own key" },
	{ "subject", 's', OPTION_TEXT, NULL, AT(subject), "NAME",
		"\"CN=router-7,O=acme\"; default: reenroll repeats the certificate's names, else CN=the "
		"device's name" },
	{ "san", 0, OPTION_LIST, NULL, AT(alt_names), "NAME",
		"dns:host, ip:address, uri:text, email:a@b; may repeat" },
	{ "binding", 0, OPTION_CHOICE, NULL, AT(binding), BINDING_CHOICES,
		"channel binding in the request (tls-unique, on TLS 1.3 tls-exporter); wrong sends another "
		"value; default: none" },
	{ "ask-ca", 0, OPTION_FLAG, NULL, AT(ask_ca), NULL,
		"ask for CA:TRUE, which no gateway may grant" },
	{ "decrypt", 0, OPTION_FLAG, NULL, AT(decrypt), NULL,
		"keygen: ask for a key encrypted to the client certificate" },
	{ "kek", 0, OPTION_TEXT, NULL, AT(kek), "ID:HEX",
		"keygen: ask for a key encrypted to this shared AES key; ID is text, or hexadecimal after "
		"0x" },
	{ "save-csr", 0, OPTION_TEXT, NULL, AT(save_csr), "FILE",
		"keep the request (PEM), and its key in FILE.key" },
	{ "repeat-csr", 0, OPTION_TEXT, NULL, AT(repeat_csr), "FILE",
		"send exactly this request, PEM or DER" },
	{ "wait", 'w', OPTION_DURATION, "10m", AT(wait_s), "TIME",
		"while the answer is 202 or 5.03, ask again after its Retry-After or Max-Age, for this long; "
		"default: 10m" },
	{ .kind = OPTION_SECTION, .help = "CoAP" },
	{ "block-size", 0, OPTION_NUMBER, NULL, AT(client.coap.block_size), "N",
		"octets of a block each way, 16 to 1024; default: what fits the MTU" },
	{ "accept", 0, OPTION_NUMBER, NULL, AT(client.coap.accept), "N",
		"Accept this Content-Format: 281, 287 (a single certificate), 62 ...; default: none" },
	{ "mtu", 0, OPTION_NUMBER, NULL, AT(client.coap.mtu), "N",
		"octets of the longest datagram sent; default: 1152, or the link's" },
	{ "ack-timeout", 0, OPTION_REAL, NULL, AT(client.coap.ack_timeout_s), "S",
		"seconds until a message is repeated the first time; default: 2, and half of it in the handshake" },
	{ "suite", 0, OPTION_CHOICE, NULL, AT(client.tls.suite), DTLS_SUITE_CHOICES,
		"AES128-CCM8 or AES128-GCM-SHA256; default: any" },
	{ "group", 0, OPTION_CHOICE, NULL, AT(client.tls.group), DTLS_GROUP_CHOICES,
		"the one to prefer; default: P-256" },
	{ "lossy", 0, OPTION_TEXT, NULL, AT(client.coap.lossy), "LINK", LINK_HELP },
	{ .kind = OPTION_SECTION, .help = "a TPM 2.0, over HTTPS" },
	{ "tpm", 0, OPTION_TEXT, NULL, AT(tpm.tcti), "TCTI",
		"the key is made in this TPM, and evidence says so: swtpm:host=127.0.0.1,port=2321, device:/dev/tpmrm0" },
	{ "tpm-ek", 0, OPTION_CHOICE, NULL, AT(tpm.ek), TPMC_EK_CHOICES, "its endorsement key; default: rsa" },
	{ "tpm-bind", 0, OPTION_CHOICE, NULL, AT(tpm.bind), BIND_CHOICES,
		"bind the attestation key to it first; auto does that when NAME.tpm knows of none; wrong gives a wrong "
		"answer; default: auto" },
	{ "tpm-ak-cert", 0, OPTION_TEXT, NULL, AT(tpm.ak_cert), "FILE",
		"the attestation key's certificate and those above it (PEM), which then is not bound" },
	{ "evidence", 0, OPTION_CHOICE, NULL, AT(tpm.evidence), EVIDENCE_CHOICES,
		"how to misbehave: without a nonce, with a made-up one, for another key of the TPM, or for that while the "
		"request's key is made by software; default: good" },
	{ "nonce", 0, OPTION_TEXT, NULL, AT(tpm.nonce), "HEX", "put this into the evidence instead of asking for one" },
	{ "evidence-ak", 0, OPTION_TEXT, NULL, AT(tpm.ak_area), "FILE",
		"say that this is the attestation key (a TPMT_PUBLIC)" },
	{ .kind = OPTION_SECTION, .help = "what comes back" },
	{ "out", 0, OPTION_TEXT, NULL, AT(out), "DIR",
		"write NAME.pem and NAME.key (cacerts: cacerts.pem; a TPM's key: NAME.tpm)" },
	{ "name", 0, OPTION_TEXT, NULL, AT(name), "NAME",
		"their name; default: the device's" },
	{ "chain", 0, OPTION_TEXT, NULL, AT(chain), "FILE",
		"CA certificates (PEM) the issued one must chain to" },
	{ "cacerts-first", 0, OPTION_FLAG, NULL, AT(cacerts_first), NULL,
		"fetch /cacerts on the same connection and check the chain against it" },
	{ "verbose", 'v', OPTION_FLAG, NULL, AT(verbose), NULL,
		"show connection, requests, answers and certificates on stderr" },
	{ "json", 0, OPTION_FLAG, NULL, AT(json), NULL, "one JSON object on stdout" },
	{ 0 },
};

static int
parse(struct enroll_options *o, int argc, char **argv, struct err *e)
{
	bool help = false;

	if (options_parse(specs, o, argc, argv, &help, e) != 0)
		return -1;
	if (help) {
		(void)fputs(enroll_usage, stdout);
		options_help(specs, stdout);
		(void)fputs(enroll_examples, stdout);
		exit(DEVSIM_OK);
	}
	return 0;
}

/* What belongs to one of the two transports. */
static int
check_transport(const struct enroll_options *o, struct err *e)
{
	if (o->client.kind == URL_COAP) {
		/* RFC 9148, section 9.1: "HTTP Basic Authentication is not supported". */
		if (o->user != NULL)
			return err_set(e, ERR_MALFORMED, "--user: over CoAP there are client certificates only");
		if (o->client.tls.version != TLS_ANY)
			return err_set(e, ERR_MALFORMED, "--tls: coaps:// is DTLS 1.2");
		return 0;
	}
	if (o->choice == CHOICE_SKC || o->choice == CHOICE_DISCOVER)
		return err_set(e, ERR_MALFORMED, "--op %s needs a URL with coaps://", enroll_choice_names[o->choice]);
	if (coapc_options_given(&o->client.coap) || o->client.tls.suite != 0 || o->client.tls.group != 0)
		return err_set(e, ERR_MALFORMED, "--block-size, --accept, --mtu, --ack-timeout, --suite, --group and "
			"--lossy need a URL with coaps://");
	return 0;
}

/* What belongs to a TPM. */
static int
check_tpm(const struct enroll_options *o, struct err *e)
{
	const struct enroll_tpm_options *tpm = &o->tpm;

	if (tpm->tcti == NULL)
		return tpm->ek == 0 && tpm->bind == 0 && tpm->evidence == 0 && tpm->ak_cert == NULL && tpm->nonce == NULL &&
			tpm->ak_area == NULL ? 0 : err_set(e, ERR_MALFORMED, "--tpm-ek, --tpm-bind, --tpm-ak-cert, "
			"--evidence, --nonce and --evidence-ak need --tpm");
	if (o->client.kind == URL_COAP)
		return err_set(e, ERR_MALFORMED, "--tpm needs a URL with https://");
	if (o->choice != CHOICE_ENROLL && o->choice != CHOICE_REENROLL)
		return err_set(e, ERR_MALFORMED, "--tpm belongs to --op enroll and reenroll");
	if (o->key != NULL && tpm->evidence != EVIDENCE_BORROWED && strcmp(o->key, KEY_SPEC_DEFAULT) != 0)
		return err_set(e, ERR_MALFORMED, "--key: keys in the TPM are " KEY_SPEC_DEFAULT);
	if (o->reuse_key && !enroll_tpm_is_device(o->device))
		return err_set(e, ERR_MALFORMED, "--reuse-key: the client certificate's key is not in a TPM");
	return 0;
}

static int
check_options(struct enroll_options *o, struct err *e)
{
	if (o->client.url == NULL)
		return err_set(e, ERR_MALFORMED, "--url is needed (devsim enroll --help)");
	o->client.kind = url_kind_est(o->client.url);
	if (check_transport(o, e) != 0 || check_tpm(o, e) != 0)
		return -1;
	if (o->client.timeout_s < 0)
		o->client.timeout_s = o->client.kind == URL_COAP ? TIMEOUT_COAP_S : TIMEOUT_DEFAULT_S;
	if ((o->cert == NULL) != (o->key_file == NULL))
		return err_set(e, ERR_MALFORMED, "--cert and --key-file go together");
	if (o->cert != NULL && o->device != NULL)
		return err_set(e, ERR_MALFORMED, "--device and --cert exclude each other");
	if (o->user != NULL && o->secret == NULL && o->secret_file == NULL)
		return err_set(e, ERR_MALFORMED, "--user needs --secret-file or --secret");
	if (o->user == NULL && (o->secret != NULL || o->secret_file != NULL))
		return err_set(e, ERR_MALFORMED, "a secret needs --user");
	if ((o->decrypt || o->kek != NULL) && o->choice != CHOICE_KEYGEN && o->choice != CHOICE_SKC)
		return err_set(e, ERR_MALFORMED, "--decrypt and --kek belong to --op keygen and skc");
	if ((o->decrypt || o->reuse_key) && o->device == NULL && o->cert == NULL)
		return err_set(e, ERR_MALFORMED, "--decrypt and --reuse-key need a client certificate");
	if (o->client.tls.cacert == NULL && !o->client.tls.insecure)
		return err_set(e, ERR_MALFORMED, "--cacert FILE is needed to verify the server; "
			"the first /cacerts answer of a stranger is not trusted (or say --insecure)");
	return 0;
}

static int
load_secret(struct enroll_run *run, struct err *e)
{
	struct buf secret = { 0 };
	int rc = 0;

	if (run->options.user == NULL)
		return 0;
	if (run->options.secret != NULL)
		buf_append_text(&secret, run->options.secret);
	else
		rc = file_read(run->options.secret_file, &secret, e);
	if (rc == 0) {
		char *text = NULL;

		buf_append_u8(&secret, '\0');
		text = (char *)secret.at;
		if (text == NULL)
			rc = err_set(e, ERR_NOMEM, "secret: no memory");
		else {
			text[strcspn(text, "\r\n")] = '\0';
			rc = basic_authorization(run->options.user, text, &run->authorization, e);
		}
	}
	buf_free_secret(&secret);
	return rc;
}

static int
load_kek(struct enroll_run *run, struct err *e)
{
	const char *kek = run->options.kek, *colon = kek == NULL ? NULL : strrchr(kek, ':');
	size_t id_len, key_len;

	if (kek == NULL)
		return 0;
	if (colon == NULL || colon == kek)
		return err_set(e, ERR_MALFORMED, "--kek reads ID:HEX");
	id_len = (size_t)(colon - kek);
	key_len = strlen(colon + 1) / 2;
	if (key_len != 16 && key_len != 24 && key_len != 32)
		return err_set(e, ERR_MALFORMED, "--kek: an AES key has 32, 48 or 64 hexadecimal digits");
	if (hex_decode(bytes_of_text(colon + 1), run->kek, key_len, e) != 0)
		return err_prefix(e, "--kek");
	run->kek_len = key_len;
	if (strncmp(kek, "0x", 2) == 0) {
		run->kek_id_len = (id_len - 2) / 2;
		if (run->kek_id_len == 0 || run->kek_id_len > KEK_ID_MAX)
			return err_set(e, ERR_MALFORMED, "--kek: the ID has 1 to %d octets", KEK_ID_MAX);
		return hex_decode(bytes_of(kek + 2, id_len - 2), run->kek_id, run->kek_id_len, e);
	}
	if (id_len > KEK_ID_MAX)
		return err_set(e, ERR_MALFORMED, "--kek: the ID has 1 to %d octets", KEK_ID_MAX);
	memcpy(run->kek_id, kek, id_len);
	run->kek_id_len = id_len;
	return 0;
}

static int
load_device(struct enroll_run *run, struct err *e)
{
	const struct enroll_options *o = &run->options;
	int rc = 0;

	if (enroll_tpm_is_device(o->device))
		rc = enroll_tpm_load_device(run, e);
	else if (o->device != NULL)
		rc = device_load_stem(o->device, &run->device, e);
	else if (o->cert != NULL)
		rc = device_load(o->cert, o->key_file, &run->device, e);
	if (rc != 0)
		return -1;
	run->has_device = run->device.cert != NULL;
	(void)snprintf(run->name, sizeof run->name, "%s", o->name != NULL ? o->name :
		run->has_device ? run->device.name : o->user != NULL ? o->user : "device");
	if (strchr(run->name, '/') != NULL)
		return err_set(e, ERR_MALFORMED, "--name: \"%s\" is no file name", run->name);
	return 0;
}

static int
prepare(struct enroll_run *run, struct err *e)
{
	const struct enroll_options *o = &run->options;

	if (enroll_tpm_open(run, e) != 0 || load_device(run, e) != 0 || enroll_tpm_recall(run, e) != 0 ||
	    load_secret(run, e) != 0 || load_kek(run, e) != 0)
		return -1;
	if (o->chain != NULL && x509_load_file(o->chain, &run->cas, e) != 0)
		return -1;
	if (o->key == NULL && run->has_device && key_spec_of(run->device.key, &run->key_spec, e) == 0)
		return 0;
	return key_spec_parse(o->key == NULL ? KEY_SPEC_DEFAULT : o->key, &run->key_spec, e);
}

static void
run_free(struct enroll_run *run)
{
	client_close(&run->client);
	device_free(&run->device);
	buf_free_secret(&run->authorization);
	EVP_PKEY_free(run->key);
	EVP_PKEY_free(run->made_key);
	enroll_tpm_close(&run->tpm);
	buf_free(&run->subject);
	buf_free(&run->alt_names);
	buf_free(&run->csr);
	buf_free(&run->spki);
	buf_free(&run->csrattrs);
	buf_free(&run->links);
	x509_stack_free(run->cas);
	x509_stack_free(run->certs);
	OPENSSL_cleanse(run->kek, sizeof run->kek);
}

/* Trouble before anything was sent: whose it is decides the exit code. */
static int
early_exit(const struct err *e)
{
	return e->code == ERR_MALFORMED || e->code == ERR_UNSUPPORTED ? DEVSIM_USAGE : DEVSIM_LOCAL;
}

static int
save(struct enroll_run *run, int code, struct err *e)
{
	struct err trouble;

	if (run->options.out == NULL || (code != DEVSIM_OK && code != DEVSIM_PENDING) ||
	    enroll_save(run, code == DEVSIM_PENDING, &trouble) == 0)
		return 0;
	*e = trouble;
	return -1;
}

int
enroll_main(int argc, char **argv)
{
	struct enroll_run run = { .retry_after_s = -1 };
	struct err e = { 0 };
	int64_t began_us;
	int code;

	run.options = (struct enroll_options){ .choice = CHOICE_ENROLL,
		.client = { .label = "", .timeout_s = -1, .coap = { .accept = COAPC_NO_ACCEPT } } };
	if (parse(&run.options, argc - 1, argv + 1, &e) != 0 || check_options(&run.options, &e) != 0)
		return devsim_complain(DEVSIM_USAGE, &e);
	if (run.options.verbose)
		run.options.client.trace = stderr;
	if (prepare(&run, &e) != 0 || client_open(&run.client, &run.options.client, &e) != 0) {
		code = early_exit(&e);
		if (run.client.tls != NULL && e.code == ERR_UPSTREAM)
			code = DEVSIM_SERVER;
	} else {
		began_us = time_monotonic_us();
		code = enroll_request(&run, &e);
		run.took_us = time_monotonic_us() - began_us;
		if (save(&run, code, &e) != 0)
			code = DEVSIM_LOCAL;
	}
	enroll_report(&run, code, &e);
	run_free(&run);
	return code;
}
