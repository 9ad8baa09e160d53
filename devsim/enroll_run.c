/*
 * devsim enroll: the conversation with the server.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>

#include "base/timefmt.h"
#include "devsim/csr.h"
#include "devsim/devsim.h"
#include "devsim/enroll.h"
#include "devsim/files.h"
#include "est/body.h"
#include "est/csrattrs.h"

#define BINDING_TEXT_MAX 256
#define RETRY_DEFAULT_S  5 /* a 202 without Retry-After, which RFC 7030, section 4.2.3 forbids */
#define RETRY_MIN_S      1
#define SESSION_KEPT_S   20

/* The key identifier the request names, and the server has to find: that of the client certificate. */
static struct bytes
own_key_id(const struct enroll_run *run)
{
	const ASN1_OCTET_STRING *id = NULL;

	if (run->options.decrypt)
		id = X509_get0_subject_key_id(run->device.cert);
	return id == NULL ? bytes_of(NULL, 0) : bytes_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id));
}

static int
binding_text(const struct enroll_run *run, struct buf *out, struct err *e)
{
	uint8_t other[32];
	struct est_binding binding;

	if (run->options.binding == BINDING_NONE)
		return 0;
	if (run->options.binding == BINDING_WRONG) {
		if (random_octets(other, sizeof other, e) != 0)
			return -1;
		base64_encode(out, bytes_of(other, sizeof other), 0);
		return 0;
	}
	tls_binding(run->client.conn.ssl, &binding);
	est_binding_text(&binding, out);
	if (out->len == 0)
		return err_set(e, ERR_UNSUPPORTED, "this connection has no channel binding "
			"((D)TLS 1.2 without extended master secret)");
	return 0;
}

static int
make_names(struct enroll_run *run, struct err *e)
{
	const struct enroll_options *o = &run->options;
	char common_name[DEVICE_NAME_MAX + 8];

	if (run->subject.len != 0)
		return 0;
	if (o->subject == NULL && o->alt_names.count == 0 && o->choice == CHOICE_REENROLL && run->has_device)
		return csr_names_of(run->device.cert, &run->subject, &run->alt_names, e);
	(void)snprintf(common_name, sizeof common_name, "CN=%s", run->name);
	if (csr_subject(o->subject != NULL ? o->subject : common_name, &run->subject, e) != 0)
		return -1;
	return o->alt_names.count == 0 ? 0 :
		csr_alt_names(o->alt_names.at, o->alt_names.count, &run->alt_names, e);
}

static int
make_key(struct enroll_run *run, struct err *e)
{
	bool of_tpm = run->tpm.tpmc != NULL && run->options.tpm.evidence != EVIDENCE_BORROWED;

	if (run->key != NULL)
		return 0;
	if (of_tpm && enroll_tpm_key(run, e) != 0)
		return -1;
	if (!run->options.reuse_key)
		return of_tpm ? 0 : key_make(&run->key_spec, &run->key, e);
	run->key = run->device.key;
	return EVP_PKEY_up_ref(run->key) == 1 ? 0 : err_ossl(e, ERR_BUG, "key");
}

int
enroll_save_key(const struct enroll_run *run, const char *stem, const EVP_PKEY *key, char path[FILE_PATH_MAX],
	struct err *e)
{
	bool of_tpm = key == run->key && run->tpm.key.len != 0;

	path[0] = '\0';
	if (key == NULL && !of_tpm)
		return 0;
	if (file_path(path, e, of_tpm ? "%s.tpm" : "%s.key", stem) != 0)
		return -1;
	return of_tpm ? enroll_tpm_save(run, path, e) : key_save(path, key, e);
}

int
enroll_save_csr(const struct enroll_run *run, const char *path, struct err *e)
{
	CLEANUP(buf) struct buf pem = { 0 };
	char key_path[FILE_PATH_MAX];

	pem_encode(&pem, "CERTIFICATE REQUEST", buf_bytes(&run->csr));
	if (enroll_save_key(run, path, run->key, key_path, e) != 0)
		return -1;
	return file_write(path, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

int
enroll_make_csr(struct enroll_run *run, struct err *e)
{
	CLEANUP(buf) struct buf challenge = { 0 };
	struct csr_spec spec = { .ask_ca = run->options.ask_ca };

	if (make_names(run, e) != 0 || make_key(run, e) != 0 || binding_text(run, &challenge, e) != 0)
		return -1;
	if (run->tpm.tpmc != NULL && enroll_tpm_attest(run, e) != 0)
		return -1;
	spec.evidence = buf_bytes(&run->tpm.evidence);
	spec.subject = buf_bytes(&run->subject);
	spec.alt_names = buf_bytes(&run->alt_names);
	spec.challenge = buf_text(&challenge);
	spec.decrypt_key_id = bytes_of(run->kek_id, run->kek_id_len);
	spec.asym_decrypt_key_id = own_key_id(run);
	if (run->options.decrypt && spec.asym_decrypt_key_id.len == 0)
		return err_set(e, ERR_UNSUPPORTED, "the client certificate has no subject key identifier to ask with");
	buf_clear(&run->csr);
	buf_clear(&run->spki);
	if (csr_build(&spec, run->key, &run->csr, e) != 0 || key_spki(run->key, &run->spki, e) != 0)
		return -1;
	return run->options.save_csr == NULL ? 0 : enroll_save_csr(run, run->options.save_csr, e);
}

int
enroll_load_csr(struct enroll_run *run, struct err *e)
{
	CLEANUP(X509_REQ) X509_REQ *req = NULL;
	CLEANUP(buf) struct buf file = { 0 };
	char key_path[FILE_PATH_MAX];
	const uint8_t *at;
	uint8_t *der = NULL;
	int len;

	if (file_read(run->options.repeat_csr, &file, e) != 0 ||
	    est_body_decode(buf_bytes(&file), true, &run->csr, e) != 0)
		return err_prefix(e, "%.100s", run->options.repeat_csr);
	/* One that OpenSSL cannot read is sent all the same: somebody wants to see the refusal. */
	at = run->csr.at;
	req = d2i_X509_REQ(NULL, &at, (long)run->csr.len);
	if (req != NULL) {
		len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &der);
		if (len > 0)
			buf_append(&run->spki, der, (size_t)len);
		OPENSSL_free(der);
	}
	ERR_clear_error();
	if (file_path(key_path, e, "%s.tpm", run->options.repeat_csr) != 0)
		return -1;
	if (file_exists(key_path))
		return enroll_tpm_read(run, key_path, &run->tpm.key, e);
	if (file_path(key_path, e, "%s.key", run->options.repeat_csr) != 0)
		return -1;
	return file_exists(key_path) ? key_load(key_path, &run->key, e) : 0;
}

/* Connect, unless there is a connection, and make the request if the operation has one. An enum devsim_exit. */
static int
get_ready(struct enroll_run *run, bool post, struct err *e)
{
	if (!client_connected(&run->client)) {
		if (client_connect(&run->client, run->has_device ? &run->device : NULL, e) != 0)
			return DEVSIM_SERVER;
		/* The binding of the last connection means nothing on this one. */
		if (run->options.binding == BINDING_AUTO && run->options.repeat_csr == NULL)
			buf_clear(&run->csr);
	}
	if (post && run->csr.len == 0 &&
	    (run->options.repeat_csr != NULL ? enroll_load_csr(run, e) : enroll_make_csr(run, e)) != 0)
		return run->tpm.refused != DEVSIM_OK ? run->tpm.refused :
			e->code == ERR_MALFORMED ? DEVSIM_USAGE : DEVSIM_LOCAL;
	/* The server may have closed the connection after a question that came before the request. */
	if (run->tpm.tpmc != NULL && !client_connected(&run->client) &&
	    client_connect(&run->client, run->has_device ? &run->device : NULL, e) != 0)
		return DEVSIM_SERVER;
	return DEVSIM_OK;
}

/* Connect if needed, send, receive. DEVSIM_OK: there is an answer, whatever it says. */
static int
exchange(struct enroll_run *run, enum enroll_choice choice, struct err *e)
{
	bool post = choice != CHOICE_CACERTS && choice != CHOICE_CSRATTRS && choice != CHOICE_DISCOVER;
	uint64_t attempt;
	int code;

	for (attempt = 0;; attempt++) {
		code = get_ready(run, post, e);
		if (code == DEVSIM_OK && run->transport->exchange(run, choice, e) != 0)
			code = e->code == ERR_MALFORMED || e->code == ERR_LIMIT ? DEVSIM_MALFORMED : DEVSIM_SERVER;
		else
			return code;
		/* Only datagrams leave it open whether the server heard; then the identical request does no harm. */
		if (code != DEVSIM_SERVER || run->client.conn.connected || attempt == run->options.client.retries)
			return code;
		if (run->options.verbose)
			(void)fprintf(stderr, "* %s; trying again\n", e->text);
	}
}

static int
malformed(int failed)
{
	return failed == 0 ? DEVSIM_OK : DEVSIM_MALFORMED;
}

static int
run_cacerts(struct enroll_run *run, STACK_OF(X509) **out, struct err *e)
{
	int code = exchange(run, CHOICE_CACERTS, e);

	if (code == DEVSIM_OK)
		code = run->transport->judge(run, e);
	return code == DEVSIM_OK ? malformed(run->transport->certs(run, out, e)) : code;
}

static int
run_csrattrs(struct enroll_run *run, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	int code = exchange(run, CHOICE_CSRATTRS, e);

	if (code != DEVSIM_OK || run->transport->no_attributes(run))
		return code;
	code = run->transport->judge(run, e);
	if (code != DEVSIM_OK)
		return code;
	if (run->transport->attributes(run, &der, e) != 0 ||
	    est_csrattrs_decode(buf_bytes(&der), &run->csrattrs, e) != 0)
		return DEVSIM_MALFORMED;
	return DEVSIM_OK;
}

static int
run_discovery(struct enroll_run *run, struct err *e)
{
	int code = exchange(run, CHOICE_DISCOVER, e);

	if (code == DEVSIM_OK)
		code = run->transport->judge(run, e);
	return code == DEVSIM_OK ? malformed(enroll_coap_links(run, e)) : code;
}

/*
 * RFC 9148, section 3: sessions "SHOULD only be kept alive for EST messages that are relatively close to each other"; a
 * server forgets them sooner or later, and over datagrams nobody would notice. What is bound to the session keeps it.
 */
static void
leave_for(struct enroll_run *run, int64_t pause_s)
{
	if (run->options.client.kind == URL_COAP && pause_s > SESSION_KEPT_S && run->options.binding != BINDING_AUTO)
		conn_close(&run->client.conn);
}

static void
sleep_s(int64_t seconds)
{
	struct timespec t = { .tv_sec = seconds };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/*
 * RFC 7030, section 4.2.3: the client "simply sends the same request repeatedly until it receives a different response".
 * RFC 9148, section 4.7: "After a delay of Max-Age, the client SHOULD resend the identical CSR".
 */
static int
exchange_until_done(struct enroll_run *run, struct err *e)
{
	int64_t until_us = time_monotonic_us() + run->options.wait_s * 1000000;
	int code;

	for (;;) {
		int64_t pause_s;

		code = exchange(run, (enum enroll_choice)run->options.choice, e);
		if (code == DEVSIM_OK)
			code = run->transport->judge(run, e);
		if (code != DEVSIM_PENDING || run->options.wait_s == 0)
			return code;
		pause_s = run->retry_after_s < 0 ? RETRY_DEFAULT_S : run->retry_after_s;
		if (pause_s < RETRY_MIN_S)
			pause_s = RETRY_MIN_S;
		if (time_monotonic_us() + pause_s * 1000000 > until_us)
			return code;
		if (run->options.verbose)
			(void)fprintf(stderr, "* pending; asking again in %lld s\n", (long long)pause_s);
		leave_for(run, pause_s);
		sleep_s(pause_s);
		run->polls++;
	}
}

/* The answer holds a certificate for our key, and it chains to what we trust. */
static int
check_issued(struct enroll_run *run, struct err *e)
{
	CLEANUP(buf) struct buf made = { 0 };
	struct bytes spki = buf_bytes(&run->spki);

	if (run->made_key != NULL) {
		if (key_spki(run->made_key, &made, e) != 0)
			return -1;
		spki = buf_bytes(&made);
	}
	/* A request that could not be read has no key to compare with. */
	run->issued = spki.len == 0 ? sk_X509_value(run->certs, 0) : certs_with_key(run->certs, spki);
	if (run->issued == NULL)
		return err_set(e, ERR_MALFORMED, "the issued certificate is for another key than the request's");
	return run->cas == NULL ? 0 : chain_check(run->issued, run->certs, run->cas, e);
}

int
enroll_request(struct enroll_run *run, struct err *e)
{
	const struct enroll_options *o = &run->options;
	int code = DEVSIM_OK;

	run->transport = o->client.kind == URL_COAP ? &enroll_coap : &enroll_http;
	if (o->choice == CHOICE_CACERTS)
		return run_cacerts(run, &run->certs, e);
	if (o->choice == CHOICE_CSRATTRS)
		return run_csrattrs(run, e);
	if (o->choice == CHOICE_DISCOVER)
		return run_discovery(run, e);
	if (o->cacerts_first && run->cas == NULL)
		code = run_cacerts(run, &run->cas, e);
	if (code == DEVSIM_OK)
		code = exchange_until_done(run, e);
	if (code != DEVSIM_OK)
		return code;
	if ((o->choice == CHOICE_KEYGEN || o->choice == CHOICE_SKC ? run->transport->keygen(run, e) :
		run->transport->certs(run, &run->certs, e)) != 0)
		return DEVSIM_MALFORMED;
	return malformed(check_issued(run, e));
}
