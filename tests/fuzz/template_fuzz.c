/*
 * Profile templates and registry fields: lines, in order, are the subject, two
 * SAN templates, and then tag, serial, site, hostname and the owner's name.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* Fields are not checked for clean text here: filling must hold against a damaged registry too. */
static void
take_line(struct cursor *c, char *out, size_t size)
{
	const uint8_t *end = cursor_left(c) == 0 ? NULL : memchr(c->at, '\n', cursor_left(c));
	size_t len = end == NULL ? cursor_left(c) : (size_t)(end - c->at);
	struct bytes line = cursor_take(c, len);

	if (end != NULL)
		(void)cursor_u8(c);
	if (line.len >= size)
		line.len = size - 1;
	if (line.len > 0)
		memcpy(out, line.at, line.len);
	out[line.len] = '\0';
}

static void
check(const struct cert_spec *spec)
{
	size_t i;

	must(spec->rdn_count + spec->san_count > 0);
	must(spec->rdn_count <= SPEC_RDNS_MAX && spec->san_count <= SPEC_SANS_MAX);
	for (i = 0; i < spec->rdn_count; i++) {
		must(text_is_clean(bytes_of_text(spec->rdns[i].value)));
		must(strcmp(spec->rdns[i].oid, "2.5.4.3") != 0 || strchr(spec->rdns[i].value, '*') == NULL);
	}
	for (i = 0; i < spec->san_count; i++) {
		const char *p = spec->sans[i].value;

		must(*p != '\0' && (spec->sans[i].type == SPEC_SAN_URI || strchr(p, '*') == NULL));
		for (; *p != '\0'; p++)
			must(*p > 0x20 && *p < 0x7f);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct profile profile;
	static struct cert_spec spec;
	struct cursor c = cursor_of(bytes_of(data, size));
	struct asset asset = { .id = 1 };
	struct owner owner = { .id = 1 };
	struct err e;
	bool good;
	int rc;

	profile = (struct profile){ .name = "p", .san_count = 2, .lifetime_s = 86400 };
	take_line(&c, profile.subject, sizeof profile.subject);
	take_line(&c, profile.san[0], sizeof profile.san[0]);
	take_line(&c, profile.san[1], sizeof profile.san[1]);
	take_line(&c, asset.tag, sizeof asset.tag);
	take_line(&c, asset.serial, sizeof asset.serial);
	take_line(&c, asset.site, sizeof asset.site);
	take_line(&c, asset.hostname, sizeof asset.hostname);
	take_line(&c, owner.name, sizeof owner.name);
	good = profile_check(&profile, &e) == 0;
	rc = profile_fill(&profile, &asset, &owner, 1800000000, &spec, &e);
	if (rc == 0)
		check(&spec);
	else
		/* A template that passed its check never turns out to be malformed for some asset. */
		must(!good || e.code == ERR_DENIED);
	return 0;
}
