/*
 * devsim tpm show: what a registry and a gateway have to know of a TPM.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "devsim/certtext.h"
#include "devsim/devsim.h"
#include "devsim/enroll_tpm.h"
#include "devsim/options.h"
#include "policy/attest/credential.h"

static const char tpm_usage[] =
	"usage: devsim tpm show --tpm TCTI [--tpm-ek rsa|ecc] [--json]\n"
	"\n"
	"Show a TPM's endorsement key, as the registry knows it, and the attestation key that devsim enroll uses.\n";

static const char tpm_examples[] =
	"\nexample: put a laptop into the registry by its TPM, where an attester is called \"tpm\":\n"
	"    devsim tpm show --tpm swtpm:host=127.0.0.1,port=2321\n"
	"    (as anchor: ek_pub_sha256:tpm: and the SHA-256 that is shown)\n";

struct tpm_options {
	const char *tcti;
	int ek;
	bool json;
};

#define AT(field) offsetof(struct tpm_options, field)

static const struct option_spec specs[] = {
	{ .kind = OPTION_SECTION, .help = "options" },
	{ "tpm", 0, OPTION_TEXT, NULL, AT(tcti), "TCTI", "swtpm:host=127.0.0.1,port=2321, device:/dev/tpmrm0" },
	{ "tpm-ek", 0, OPTION_CHOICE, NULL, AT(ek), TPMC_EK_CHOICES, "which endorsement key; default: rsa" },
	{ "json", 0, OPTION_FLAG, NULL, AT(json), NULL, "one JSON object on stdout" },
	{ 0 },
};

struct shown {
	char ek_sha256[65];
	char ak_name[2 * TPM_NAME_MAX + 1];
	struct buf ak_area, ek_cert;
	X509 *cert;
};

static void
shown_auto(struct shown *shown)
{
	buf_free(&shown->ak_area);
	buf_free(&shown->ek_cert);
	X509_free(shown->cert);
}

static int
look_at_ak(struct tpmc *tpmc, struct shown *out, struct err *e)
{
	struct tpm_public ak;

	if (tpmc_ak_area(tpmc, &out->ak_area, e) != 0 || tpm_public_parse(buf_bytes(&out->ak_area), &ak, e) != 0)
		return -1;
	hex_encode(bytes_of(ak.name, ak.name_len), out->ak_name);
	tpm_public_clear(&ak);
	return 0;
}

static int
look_at_ek(struct tpmc *tpmc, struct shown *out, struct err *e)
{
	CLEANUP(buf) struct buf area = { 0 };
	struct tpm_public ek;
	int result;

	if (tpmc_ek_area(tpmc, &area, e) != 0 || tpm_public_parse(buf_bytes(&area), &ek, e) != 0)
		return -1;
	result = tpm_ek_digest(ek.key, out->ek_sha256, e);
	tpm_public_clear(&ek);
	if (result != 0 || tpmc_ek_certificate(tpmc, &out->ek_cert, e) != 0)
		return -1;
	return out->ek_cert.len == 0 ? 0 : x509_from_der(buf_bytes(&out->ek_cert), &out->cert, e);
}

static int
look(const struct tpm_options *o, struct shown *out, struct err *e)
{
	CLEANUP(tpmc) struct tpmc *tpmc = NULL;

	if (tpmc_open(o->tcti, (enum tpmc_ek)o->ek, &tpmc, e) != 0)
		return -1;
	return look_at_ek(tpmc, out, e) != 0 || look_at_ak(tpmc, out, e) != 0 ? -1 : 0;
}

static void
show_json(const struct tpm_options *o, const struct shown *shown)
{
	CLEANUP(buf) struct buf area = { 0 }, cert = { 0 };
	json_t *root = json_object();

	base64_encode(&area, buf_bytes(&shown->ak_area), 0);
	base64_encode(&cert, buf_bytes(&shown->ek_cert), 0);
	(void)json_object_set_new(root, "ek", json_string(o->ek == TPMC_EK_RSA ? "rsa" : "ecc"));
	(void)json_object_set_new(root, "ek_sha256", json_string(shown->ek_sha256));
	(void)json_object_set_new(root, "ek_certificate", shown->cert == NULL ? json_null() : json_string(buf_text(&cert)));
	(void)json_object_set_new(root, "ak_name", json_string(shown->ak_name));
	(void)json_object_set_new(root, "ak_public", json_string(buf_text(&area)));
	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(root);
}

static void
show_text(const struct tpm_options *o, const struct shown *shown)
{
	(void)printf("endorsement key  %s\nits SHA-256      %s\nattestation key  %s\n",
		o->ek == TPMC_EK_RSA ? "RSA-2048" : "ECC P-256", shown->ek_sha256, shown->ak_name);
	if (shown->cert == NULL)
		(void)printf("no certificate of the endorsement key is in the TPM\n");
	else {
		(void)printf("its certificate:\n");
		certtext_print(shown->cert, stdout);
	}
}

int
tpm_main(int argc, char **argv)
{
	CLEANUP(shown) struct shown shown = { .cert = NULL };
	struct tpm_options o = { .tcti = NULL };
	bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	struct err e = { 0 };

	if (!help && (argc < 2 || strcmp(argv[1], "show") != 0)) {
		(void)fputs(tpm_usage, stderr);
		return DEVSIM_USAGE;
	}
	if (!help && options_parse(specs, &o, argc - 2, argv + 2, &help, &e) != 0)
		return devsim_complain(DEVSIM_USAGE, &e);
	if (help) {
		(void)fputs(tpm_usage, stdout);
		options_help(specs, stdout);
		(void)fputs(tpm_examples, stdout);
		return DEVSIM_OK;
	}
	if (o.tcti == NULL) {
		(void)err_set(&e, ERR_MALFORMED, "--tpm is needed (devsim tpm --help)");
		return devsim_complain(DEVSIM_USAGE, &e);
	}
	if (look(&o, &shown, &e) != 0)
		return devsim_complain(DEVSIM_LOCAL, &e);
	if (o.json)
		show_json(&o, &shown);
	else
		show_text(&o, &shown);
	return DEVSIM_OK;
}
