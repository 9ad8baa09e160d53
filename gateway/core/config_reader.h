/*
 * config_reader.h - one reading of the configuration: the parsed tree beside the structure it fills.
 *
 * Checks look settings up again by name, to tell the line a mistake is on.
 */
#ifndef GATEWAY_CORE_CONFIG_READER_H
#define GATEWAY_CORE_CONFIG_READER_H

#include <libconfig.h>

#include "base/timefmt.h"

#include "gateway/core/config_source.h"
#include "gateway/core/config_table.h"

#define CONFIG_WHERE_MAX 256
#define CONFIG_COAP_ANSWER_MAX 65536 /* octets; coap/coaps.h has it as COAPS_BODY_MAX, and is none of this folder's */

struct config_reader {
	struct config *config;
	struct config_source *source;
	char folder[CONFIG_PATH_MAX]; /* relative paths start here */
	bool text_alone;              /* what it names on this machine is not looked at */
	config_t tree;
	const config_setting_t *groups[SECTION_COUNT];  /* NULL: not in the file */
	const config_setting_t **entries[SECTION_COUNT]; /* of list sections, beside their arrays */
};

/* Reports a mistake on the setting's line (NULL: on none). */
void config_report(struct config_reader *r, const config_setting_t *at, const char *fmt, ...) PRINTF(3, 4);

/* Fills config from the tree, every row from its setting or its default. Mistakes are reported. */
void config_fill(struct config_reader *r);

/*
 * One setting into its field of base. where names it in messages: "limits.body".
 * Reports what is wrong; what could be read is stored all the same.
 */
void config_value_put(struct config_reader *r, const struct config_row *row, const char *where,
	const config_setting_t *setting, void *base);

/* "64k", "2M" or plain octets; -1 when it is neither. */
int64_t config_size_parse(const char *text);
/* A number of a row's type as one would write it. */
void config_number_text(enum config_type type, int64_t value, char out[TIME_TEXT_MAX]);

/* The checks across settings, and of what they name on this machine; of SCEP, trust groups, CoAP, rules and attesters apart. */
void config_check(struct config_reader *r);
void config_check_scep(struct config_reader *r);
void config_check_group(struct config_reader *r);
void config_check_group_files(struct config_reader *r);
void config_check_files(struct config_reader *r);
void config_check_scep_files(struct config_reader *r);
void config_check_coap(struct config_reader *r);
void config_check_policy(struct config_reader *r);
void config_check_policy_files(struct config_reader *r);

/*
 * Reports a mistake in one entry of a list section (or, for other sections,
 * with index 0): `labels "factory": ca: ...` on the line of that key, or of the entry.
 */
void config_complain(struct config_reader *r, enum config_section_id section, size_t index, const char *key,
	const char *fmt, ...) PRINTF(5, 6);

/* Complains of a name that leads nowhere; true when it leads to an entry, or is empty. */
bool config_check_reference(struct config_reader *r, enum config_section_id from, size_t i, const char *key,
	enum config_section_id to, const char *name);

/* An http or https URL of printable ASCII with something behind its scheme. */
bool config_is_url(const char *text);

/* Complains of certificate files that cannot be loaded; true when all can. */
bool config_check_certificates(struct config_reader *r, enum config_section_id section, size_t i, const char *key,
	const struct config_list *paths);
/* Complains of a secret_file that cannot be read, or that others may read; "" is none. */
void config_check_secret_file(struct config_reader *r, enum config_section_id section, size_t i, const char *source);

/* NULL when path is a regular file, else why not; OpenSSL would wait for a FIFO for ever. */
const char *config_file_trouble(const char *path);

/* The certificates of a file, the caller's; NULL after complaining why not, or when path is "". */
STACK_OF(X509) *config_load_certificates(struct config_reader *r, enum config_section_id section, size_t i,
	const char *key, const char *path);
/* The same without a complaint: whoever names the file complains. */
STACK_OF(X509) *config_load_quietly(const char *path);
/* A CA's issuing certificate and those above it, quietly; NULL when the first cannot be loaded. */
STACK_OF(X509) *config_load_chain(const struct config_ca *ca);

#endif
