/*
 * What MDM services answer: the first octet chooses the reader, the rest is the body.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "gateway/mdm/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char challenge[] = "0123456789abcdef";

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
check_verdict(int rc, const struct mdm_verdict *v, const struct err *e)
{
	must(rc == 0 || (rc == -1 && e->code == ERR_UPSTREAM && e->text[0] != '\0'));
	if (rc != 0) {
		must(strstr(e->text, challenge) == NULL);
		return;
	}
	must(v->code[0] != '\0' && memchr(v->code, '\0', sizeof v->code) != NULL);
	must(memchr(v->text, '\0', sizeof v->text) != NULL && memchr(v->device, '\0', sizeof v->device) != NULL);
	must(text_is_clean(bytes_of_text(v->code)) && text_is_clean(bytes_of_text(v->text)));
	must(text_is_clean(bytes_of_text(v->device)));
	must(strstr(v->code, challenge) == NULL && strstr(v->text, challenge) == NULL && strstr(v->device, challenge) == NULL);
	must(v->allowed || v->device[0] == '\0' || strcmp(v->code, "allowed") != 0);
}

static void
check_token(struct bytes body)
{
	struct buf token = { 0 };
	int64_t lifetime_s = -1;
	char why[MDM_TEXT_MAX];
	struct err e;
	size_t i;

	if (mdm_answer_token(body, &token, &lifetime_s, &e) == 0) {
		must(lifetime_s >= 0 && lifetime_s <= MDM_TOKEN_S_MAX && token.len >= 1 && token.len <= MDM_TOKEN_MAX);
		for (i = 0; i < token.len; i++)
			must(token.at[i] > 0x20 && token.at[i] < 0x7f);
	} else
		must(token.len == 0 && lifetime_s == -1);
	mdm_answer_token_error(body, challenge, why);
	must(strlen(why) < sizeof why && strstr(why, challenge) == NULL && text_is_clean(bytes_of_text(why)));
	buf_free_secret(&token);
}

static void
check_endpoint(struct bytes body)
{
	struct buf out = { 0 };
	struct err e;

	if (mdm_answer_endpoint(body, "manage.microsoft.com", false, &out, &e) == 0)
		must(out.len > strlen("https://") && out.len <= MDM_ENDPOINT_MAX && strncasecmp(buf_text(&out), "https:", 6) == 0);
	else
		must(out.len == 0 && e.text[0] != '\0');
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mdm_verdict verdict = { 0 };
	struct bytes body;
	struct err e;

	if (size == 0)
		return 0;
	body = bytes_of(data + 1, size - 1);
	if (data[0] % 4 == 0)
		check_verdict(mdm_answer_intune(body, challenge, &verdict, &e), &verdict, &e);
	else if (data[0] % 4 == 1)
		check_verdict(mdm_answer_webhook(body, challenge, &verdict, &e), &verdict, &e);
	else if (data[0] % 4 == 2)
		check_token(body);
	else
		check_endpoint(body);
	return 0;
}
