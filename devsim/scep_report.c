/*
 * devsim scep: files and words at the end.
 */
#include <string.h>

#include <jansson.h>

#include "base/timefmt.h"
#include "devsim/certtext.h"
#include "devsim/devsim.h"
#include "devsim/files.h"
#include "devsim/scep.h"

static int
save_crl(struct scep_run *run, struct err *e)
{
	CLEANUP(buf) struct buf pem = { 0 };
	uint8_t *der = NULL;
	int len = i2d_X509_CRL(run->crl, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding a CRL");
	pem_encode(&pem, "X509 CRL", bytes_of(der, (size_t)len));
	OPENSSL_free(der);
	if (file_path(run->cert_file, e, "%s/%s.crl", run->options.out, run->name) != 0)
		return -1;
	return file_write(run->cert_file, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

static int
save_key(struct scep_run *run, const char *suffix, struct err *e)
{
	if (file_path(run->key_out_file, e, "%s/%s%s", run->options.out, run->name, suffix) != 0)
		return -1;
	return key_save(run->key_out_file, run->key, e);
}

static int
save_certs(struct scep_run *run, const char *name, struct err *e)
{
	CLEANUP(buf) struct buf pem = { 0 };

	if (certtext_pem(run->issued, run->certs, &pem, e) != 0 ||
	    file_path(run->cert_file, e, "%s/%s.pem", run->options.out, name) != 0)
		return -1;
	return file_write(run->cert_file, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

int
scep_save(struct scep_run *run, bool pending, struct err *e)
{
	switch ((enum scep_choice)run->options.choice) {
	case SCEP_CAPS:
		return 0;
	case SCEP_CACERT:
		return file_mkdir(run->options.out, e) != 0 ? -1 : save_certs(run, "cacerts", e);
	case SCEP_NEXTCACERT:
		return file_mkdir(run->options.out, e) != 0 ? -1 : save_certs(run, "nextcacerts", e);
	case SCEP_GETCRL:
		return pending ? 0 : file_mkdir(run->options.out, e) != 0 ? -1 : save_crl(run, e);
	case SCEP_GETCERT:
		return pending ? 0 : file_mkdir(run->options.out, e) != 0 ? -1 : save_certs(run, run->name, e);
	case SCEP_ENROLL:
	case SCEP_RENEW:
	case SCEP_POLL:
		break;
	}
	if (file_mkdir(run->options.out, e) != 0)
		return -1;
	/* A renewal that is pending must not take the place of the key in use. */
	if (pending)
		return save_key(run, ".request.key", e);
	/* The key first: a certificate without its key is worth nothing. */
	return save_key(run, ".key", e) != 0 ? -1 : save_certs(run, run->name, e);
}

static const char *
crl_time(const ASN1_TIME *at, char out[TIME_TEXT_MAX])
{
	struct tm tm;

	(void)snprintf(out, TIME_TEXT_MAX, "-");
	if (at != NULL && ASN1_TIME_to_tm(at, &tm) == 1)
		time_text(time_from_utc(&tm), out);
	return out;
}

static json_t *
crl_json(const X509_CRL *crl)
{
	json_t *object = json_object();
	char text[512];

	x509_name_text(X509_CRL_get_issuer(crl), text, sizeof text);
	(void)json_object_set_new(object, "issuer", json_string(text));
	(void)json_object_set_new(object, "this_update", json_string(crl_time(X509_CRL_get0_lastUpdate(crl), text)));
	(void)json_object_set_new(object, "next_update", json_string(crl_time(X509_CRL_get0_nextUpdate(crl), text)));
	return object;
}

static void
set_text(json_t *object, const char *key, const char *text)
{
	if (text[0] != '\0')
		(void)json_object_set_new(object, key, json_string(text));
}

static void
reply_json(const struct scep_run *run, json_t *root)
{
	static const char *const statuses[] = { [SCEP_SUCCESS] = "SUCCESS", [SCEP_FAILURE] = "FAILURE",
		[SCEP_PENDING] = "PENDING" };

	set_text(root, "transaction", run->transaction);
	if (run->digest != 0)
		set_text(root, "digest", scep_algorithm_name(run->digest));
	if (run->cipher != 0)
		set_text(root, "cipher", scep_algorithm_name(run->cipher));
	if (!run->replied)
		return;
	set_text(root, "pki_status", statuses[run->reply.status]);
	if (run->reply.status == SCEP_FAILURE) {
		set_text(root, "fail_info", scep_fail_name(run->reply.fail));
		set_text(root, "reason", run->reply.fail_text);
	}
}

static void
report_json(struct scep_run *run, int code, const struct err *e)
{
	static const char *const ops[] = { "caps", "cacert", "nextcacert", "enroll", "renew", "poll", "getcert", "getcrl" };
	json_t *root = json_object(), *certs = json_array();
	int i;

	set_text(root, "result", devsim_exit_name(code));
	(void)json_object_set_new(root, "exit", json_integer(code));
	set_text(root, "operation", ops[run->options.choice]);
	(void)json_object_set_new(root, "status", json_integer(run->client.conn.answer.status));
	if (code != DEVSIM_OK)
		set_text(root, "error", e->text);
	reply_json(run, root);
	(void)json_object_set_new(root, "polls", json_integer((json_int_t)run->polls));
	(void)json_object_set_new(root, "ms", json_real((double)run->took_us / 1000));
	if (run->options.choice == SCEP_CAPS)
		(void)json_object_set_new(root, "caps",
			json_stringn((const char *)run->server.caps_text.at, run->server.caps_text.len));
	if (run->issued != NULL)
		(void)json_object_set_new(root, "certificate", certtext_json(run->issued));
	for (i = 0; i < sk_X509_num(run->certs); i++)
		if (sk_X509_value(run->certs, i) != run->issued)
			(void)json_array_append_new(certs, certtext_json(sk_X509_value(run->certs, i)));
	(void)json_object_set_new(root, "certificates", certs);
	if (run->crl != NULL)
		(void)json_object_set_new(root, "crl", crl_json(run->crl));
	set_text(root, run->crl == NULL ? "certificate_file" : "crl_file", run->cert_file);
	set_text(root, "key_file", run->key_out_file);
	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(root);
}

static void
print_crl(X509_CRL *crl)
{
	char issuer[512], from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
	int revoked = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));

	x509_name_text(X509_CRL_get_issuer(crl), issuer, sizeof issuer);
	(void)printf("CRL:\n  issuer      %s\n  valid       %s to %s\n  revoked     %d\n", issuer,
		crl_time(X509_CRL_get0_lastUpdate(crl), from), crl_time(X509_CRL_get0_nextUpdate(crl), until),
		revoked < 0 ? 0 : revoked);
}

/* The server's own words; control characters are not the terminal's to obey. */
static void
print_caps(struct bytes text)
{
	size_t i;

	for (i = 0; i < text.len; i++)
		if (text.at[i] == '\n' || (text.at[i] >= 0x20 && text.at[i] < 0x7f))
			(void)putchar(text.at[i]);
	if (text.len == 0 || text.at[text.len - 1] != '\n')
		(void)putchar('\n');
}

static void
print_result(const struct scep_run *run)
{
	int i;

	if (run->options.choice == SCEP_CAPS)
		print_caps(buf_bytes(&run->server.caps_text));
	if (run->issued != NULL) {
		(void)printf("%s:\n", run->options.choice == SCEP_GETCERT ? "found" : "issued");
		certtext_print(run->issued, stdout);
	}
	for (i = 0; i < sk_X509_num(run->certs); i++)
		if (sk_X509_value(run->certs, i) != run->issued) {
			(void)printf("%s:\n", run->issued == NULL ? "certificate" : "with it");
			certtext_print(sk_X509_value(run->certs, i), stdout);
		}
	if (run->crl != NULL)
		print_crl(run->crl);
	if (run->cert_file[0] != '\0')
		(void)printf("%s in %s\n", run->crl == NULL ? "certificate" : "CRL", run->cert_file);
	if (run->key_out_file[0] != '\0')
		(void)printf("key in         %s\n", run->key_out_file);
	if (run->cert_file[0] == '\0' && run->issued != NULL)
		(void)fputs("devsim: nothing was kept; --out DIR writes certificate and key\n", stderr);
}

void
scep_report(struct scep_run *run, int code, const struct err *e)
{
	if (run->options.json)
		report_json(run, code, e);
	if (code != DEVSIM_OK)
		(void)devsim_complain(code, e);
	if (run->options.json)
		return;
	if (code == DEVSIM_OK)
		print_result(run);
	else if (code == DEVSIM_PENDING && run->key_out_file[0] != '\0')
		(void)printf("the key is kept: ask again with --op poll --request-key %s\n", run->key_out_file);
}
