/*
 * devsim enroll: files and words at the end.
 */
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "devsim/certtext.h"
#include "devsim/devsim.h"
#include "devsim/enroll.h"
#include "devsim/files.h"

static int
save_certs(struct enroll_run *run, const char *path, struct err *e)
{
	CLEANUP(buf) struct buf pem = { 0 };

	if (certtext_pem(run->issued, run->certs, &pem, e) != 0)
		return -1;
	return file_write(path, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

int
enroll_save(struct enroll_run *run, bool pending, struct err *e)
{
	const char *out = run->options.out;
	const EVP_PKEY *key = run->made_key != NULL ? run->made_key : run->key;
	char stem[FILE_PATH_MAX];
	bool cacerts = run->options.choice == CHOICE_CACERTS;

	if (run->options.choice == CHOICE_CSRATTRS || run->options.choice == CHOICE_DISCOVER)
		return 0;
	if (file_mkdir(out, e) != 0)
		return -1;
	if (pending) {
		if (file_path(run->csr_file, e, "%s/%s.csr", out, run->name) != 0)
			return -1;
		return enroll_save_csr(run, run->csr_file, e);
	}
	if (file_path(run->cert_file, e, "%s/%s.pem", out, cacerts ? "cacerts" : run->name) != 0)
		return -1;
	/* The key first: a certificate without its key is worth nothing. */
	if (!cacerts && (file_path(stem, e, "%s/%s", out, run->name) != 0 ||
		enroll_save_key(run, stem, key, run->key_out_file, e) != 0))
		return -1;
	return save_certs(run, run->cert_file, e);
}

const char *const enroll_choice_names[] = { "cacerts", "csrattrs", "enroll", "reenroll", "keygen", "skc", "discover" };

/* What only CoAP has. */
static void
report_coap(const struct enroll_run *run, json_t *root)
{
	const struct coapc_exchange *coap = &run->client.conn.coap;
	char code[COAPC_CODE_TEXT];
	struct proxy_stats stats;

	if (run->options.client.kind != URL_COAP)
		return;
	coapc_code_text(run->status, code);
	(void)json_object_set_new(root, "code", json_string(code));
	(void)json_object_set_new(root, "content_format", json_integer(coap->answer.content_format));
	(void)json_object_set_new(root, "separate", json_boolean(coap->answer.separate));
	(void)json_object_set_new(root, "messages", json_integer((json_int_t)coap->sent));
	(void)json_object_set_new(root, "retransmissions", json_integer((json_int_t)coap->retransmitted));
	if (run->client.link != NULL) {
		proxy_stats(run->client.link, &stats);
		(void)json_object_set_new(root, "link", link_json(&stats));
	}
	if (run->options.choice == CHOICE_DISCOVER)
		(void)json_object_set_new(root, "links", json_stringn((const char *)run->links.at, run->links.len));
}

static void
report_tpm(const struct enroll_run *run, json_t *root)
{
	if (run->options.tpm.tcti == NULL)
		return;
	(void)json_object_set_new(root, "evidence_octets", json_integer((json_int_t)run->tpm.evidence.len));
	(void)json_object_set_new(root, "attestation_key_bound_now", json_boolean(run->tpm.bound_now));
}

static void
report_json(const struct enroll_run *run, int code, const struct err *e)
{
	json_t *root = json_object();
	json_t *certs = json_array();
	int i;

	(void)json_object_set_new(root, "result", json_string(devsim_exit_name(code)));
	(void)json_object_set_new(root, "exit", json_integer(code));
	(void)json_object_set_new(root, "operation", json_string(enroll_choice_names[run->options.choice]));
	(void)json_object_set_new(root, "status", json_integer(run->status));
	if (code != DEVSIM_OK)
		(void)json_object_set_new(root, "error", json_string(e->text));
	if (run->reason[0] != '\0')
		(void)json_object_set_new(root, "reason", json_string(run->reason));
	if (run->retry_after_s >= 0)
		(void)json_object_set_new(root, "retry_after_s", json_integer(run->retry_after_s));
	(void)json_object_set_new(root, "polls", json_integer((json_int_t)run->polls));
	(void)json_object_set_new(root, "ms", json_real((double)run->took_us / 1000));
	if (run->client.conn.ssl != NULL)
		(void)json_object_set_new(root, "tls", json_string(SSL_get_version(run->client.conn.ssl)));
	report_coap(run, root);
	report_tpm(run, root);
	if (run->issued != NULL)
		(void)json_object_set_new(root, "certificate", certtext_json(run->issued));
	for (i = 0; i < sk_X509_num(run->certs); i++)
		if (sk_X509_value(run->certs, i) != run->issued)
			(void)json_array_append_new(certs, certtext_json(sk_X509_value(run->certs, i)));
	(void)json_object_set_new(root, "certificates", certs);
	if (run->options.choice == CHOICE_CSRATTRS)
		(void)json_object_set_new(root, "attributes",
			json_stringn((const char *)run->csrattrs.at, run->csrattrs.len));
	if (run->options.choice == CHOICE_KEYGEN || run->options.choice == CHOICE_SKC)
		(void)json_object_set_new(root, "key_encrypted", json_boolean(run->key_was_encrypted));
	if (run->cert_file[0] != '\0')
		(void)json_object_set_new(root, "certificate_file", json_string(run->cert_file));
	if (run->key_out_file[0] != '\0')
		(void)json_object_set_new(root, "key_file", json_string(run->key_out_file));
	if (run->csr_file[0] != '\0')
		(void)json_object_set_new(root, "request_file", json_string(run->csr_file));
	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(root);
}

static void
report_files(const struct enroll_run *run)
{
	if (run->cert_file[0] != '\0')
		(void)printf("certificate in %s\n", run->cert_file);
	if (run->key_out_file[0] != '\0')
		(void)printf("key in         %s\n", run->key_out_file);
	if (run->cert_file[0] == '\0' && run->issued != NULL)
		(void)fputs("devsim: nothing was kept; --out DIR writes certificate and key\n", stderr);
}

void
enroll_report(const struct enroll_run *run, int code, const struct err *e)
{
	int i;

	if (run->options.json)
		report_json(run, code, e);
	if (code != DEVSIM_OK) {
		(void)devsim_complain(code, e);
		if (!run->options.json && run->csr_file[0] != '\0')
			(void)printf("the request is kept: ask again with --repeat-csr %s\n", run->csr_file);
		return;
	}
	if (run->options.json)
		return;
	if (run->options.choice == CHOICE_CSRATTRS)
		(void)printf("%.*s", run->csrattrs.len == 0 ? 14 : (int)run->csrattrs.len,
			run->csrattrs.len == 0 ? "no attributes\n" : (const char *)run->csrattrs.at);
	if (run->links.len > 0)
		(void)printf("%.*s\n", (int)run->links.len, (const char *)run->links.at);
	if (run->issued != NULL) {
		(void)printf("issued%s:\n", run->made_key == NULL ? "" : run->key_was_encrypted ?
			" with a key that came encrypted" : " with a key");
		certtext_print(run->issued, stdout);
	}
	for (i = 0; i < sk_X509_num(run->certs); i++)
		if (sk_X509_value(run->certs, i) != run->issued) {
			(void)printf("%s:\n", run->options.choice == CHOICE_CACERTS ? "CA certificate" : "with it");
			certtext_print(sk_X509_value(run->certs, i), stdout);
		}
	report_files(run);
}
