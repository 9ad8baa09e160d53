#include "gateway/core/config.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/core/config_memory.h"
#include "gateway/core/config_reader.h"

#define NEAR_TEXT_MAX 60

/* libconfig names no place but the line; the line itself says more. */
static void
report_syntax(struct config_reader *r)
{
	const char *text = buf_text(&r->source->text);
	int line = config_error_line(&r->tree), i;
	size_t len;

	for (i = 1; i < line && text != NULL; i++) {
		text = strchr(text, '\n');
		text = text == NULL ? NULL : text + 1;
	}
	if (text == NULL)
		text = "";
	text += strspn(text, " \t");
	len = strcspn(text, "\n");
	config_source_report(r->source, line < 1 ? 0 : (size_t)line, "%s%s%.*s%s", config_error_text(&r->tree),
		len == 0 ? "" : " at or before \"", (int)(len < NEAR_TEXT_MAX ? len : NEAR_TEXT_MAX), text,
		len == 0 ? "" : "\"");
}

/* What one setting says together with another, or with this machine. */
static void
settle(struct config *config)
{
	size_t i;

	if (config->store_readers == 0)
		config->store_readers = config->threads_workers;
	for (i = 0; i < config->label_count; i++) {
		struct config_label *label = &config->labels[i];

		label->scep_algorithms |= SCEP_ALGORITHMS_DEFAULT;
		if (label->scep_insecure)
			label->scep_algorithms |= SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO;
	}
}

static void
parse(struct config_reader *r)
{
	config_init(&r->tree);
	/* No @include is left in the text; were one missed, nothing can be opened below a device file. */
	config_set_include_dir(&r->tree, "/dev/null");
	if (config_read_string(&r->tree, buf_text(&r->source->text)) != CONFIG_TRUE) {
		report_syntax(r);
		return;
	}
	config_fill(r);
	settle(r->config);
	config_check(r);
	if (!r->text_alone)
		config_check_files(r);
}

static void
set_version(struct config_reader *r)
{
	uint8_t digest[32];
	struct err e;

	if (sha256(buf_bytes(&r->source->octets), digest, &e) != 0)
		config_source_report(r->source, 0, "%s", e.text);
	else
		hex_encode(bytes_of(digest, sizeof digest), r->config->version);
}

static int
load(struct config_source *source, bool text_alone, struct config **out)
{
	CLEANUP(config) struct config *config = calloc(1, sizeof *config);
	struct config_reader r = { .config = config, .source = source, .text_alone = text_alone };
	size_t i;

	if (config == NULL)
		config_source_report(source, 0, "no memory");
	if (config == NULL || source->broken)
		return -1;
	(void)snprintf(config->path, sizeof config->path, "%s", source->paths[0]);
	config_folder(config->path, r.folder, sizeof r.folder);
	set_version(&r);
	parse(&r);
	config_destroy(&r.tree);
	for (i = 0; i < SECTION_COUNT; i++)
		free(r.entries[i]);
	if (source->problems != 0)
		return -1;
	*out = config;
	config = NULL;
	return 0;
}

int
config_load(const char *path, config_problem problem, void *arg, struct config **out)
{
	struct config_source source = { .problem = problem, .arg = arg };
	int result;

	config_source_read(&source, path);
	result = load(&source, false, out);
	config_source_free(&source);
	return result;
}

int
config_load_octets(const char *path, struct bytes octets, config_problem problem, void *arg, struct config **out)
{
	struct config_source source = { .problem = problem, .arg = arg };
	int result;

	config_source_take(&source, path, octets);
	result = load(&source, false, out);
	config_source_free(&source);
	return result;
}

int
config_load_text(const char *text, const struct config *present, config_problem problem, void *arg,
	struct config **out)
{
	struct config_source source = { .problem = problem, .arg = arg };
	int result;

	config_source_take(&source, present->path, bytes_of_text(text));
	result = load(&source, true, out);
	config_source_free(&source);
	return result;
}

void
config_free(struct config *config)
{
	if (config == NULL)
		return;
	free(config->trust);
	free(config->identity);
	free(config->cas);
	free(config->ras);
	free(config->mdms);
	free(config->attesters);
	free(config->rules);
	free(config->profiles);
	free(config->labels);
	free(config);
}

const struct profile *
config_profile(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->profile_count; i++)
		if (strcmp(config->profiles[i].name, name) == 0)
			return &config->profiles[i];
	return NULL;
}

const struct config_label *
config_label(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->label_count; i++)
		if (strcmp(config->labels[i].policy.name, name) == 0)
			return &config->labels[i];
	return NULL;
}

const struct config_ca *
config_ca(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->ca_count; i++)
		if (strcmp(config->cas[i].name, name) == 0)
			return &config->cas[i];
	return NULL;
}

const struct config_ra *
config_ra(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->ra_count; i++)
		if (strcmp(config->ras[i].name, name) == 0)
			return &config->ras[i];
	return NULL;
}

const struct config_mdm *
config_mdm(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->mdm_count; i++)
		if (strcmp(config->mdms[i].name, name) == 0)
			return &config->mdms[i];
	return NULL;
}

const struct config_attester *
config_attester(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->attester_count; i++)
		if (strcmp(config->attesters[i].name, name) == 0)
			return &config->attesters[i];
	return NULL;
}
