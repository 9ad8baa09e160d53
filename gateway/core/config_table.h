/*
 * config_table.h - every setting there is: the one list of them.
 *
 * Parsing, defaults, ranges, "did you mean", the manual page and the test of
 * the example file all walk this table; a new setting is a row here, a field
 * in config.h and a line in enrolld.conf.example.
 */
#ifndef GATEWAY_CORE_CONFIG_TABLE_H
#define GATEWAY_CORE_CONFIG_TABLE_H

#include "gateway/core/config.h"

enum config_type {
	/* one value */
	TYPE_TEXT,
	TYPE_NAME,       /* text_is_name() */
	TYPE_LABEL,      /* the same, or "" */
	TYPE_PATH,       /* relative ones start at the configuration's folder */
	TYPE_KEY,        /* what key_open() takes; a path in it likewise */
	TYPE_SECRET,     /* what secret_read() takes; a path in it likewise */
	TYPE_MODE,       /* "0660" */
	TYPE_BOOL,
	TYPE_INT,
	TYPE_LONG,       /* the same, stored as an int64_t */
	TYPE_SIZE,       /* octets: 65536 or "64k" */
	TYPE_KIB,        /* the same, stored in units of 1024 */
	TYPE_DURATION,   /* seconds: 90 or "90d" */
	TYPE_WORD,       /* one of choices, stored as text */
	TYPE_CHOICE,     /* one of choices, stored as its index in an enum */
	TYPE_SWITCH,     /* one of two choices, stored as a bool: true is the second */
	TYPE_KEY_RULE,   /* key_rule_parse() */
	TYPE_FIELD,      /* identity_field_of() */
	TYPE_ANCHOR,     /* anchor_type_of() */
	/* lists of texts; min and max count them */
	TYPE_FLAGS,      /* of choices, stored as bits (1 << index) */
	TYPE_TEXTS,
	TYPE_NAMES,
	TYPE_PATHS,
	TYPE_KEYS,
	TYPE_KEY_RULES,
	TYPE_KEY_USAGE,  /* key_usage_of(), stored as bits */
	TYPE_EKUS,       /* extended_key_usage_oid() */
	TYPE_ALGORITHMS, /* of choices, stored as SCEP_* bits beside SCEP_ALGORITHMS_DEFAULT */
	TYPE_NUMBERS,    /* a list of integers from min to max, stored as bits (1 << number) */
};

struct config_row {
	const char *key;
	enum config_type type;
	size_t offset;              /* in struct config, or in the entry of a list section */
	size_t size;                /* octets of the field, or of one item of a list */
	size_t count_offset;        /* lists that are not bits: a size_t */
	const char *fallback;       /* the default, as one would write it; NULL: it must be set */
	int64_t min, max;           /* of numbers, and of the length of lists; 0 and 0: no range */
	const char *const *choices; /* NULL-terminated */
	const char *doc;            /* what it does; plain sentences */
};

enum config_section_id {
	SECTION_LISTEN,
	SECTION_TLS,
	SECTION_STORE,
	SECTION_LOG,
	SECTION_THREADS,
	SECTION_LIMITS,
	SECTION_KEYGEN,
	SECTION_SCEP,
	SECTION_COAP,
	SECTION_REGISTRY,
	SECTION_POLICY,
	SECTION_TRUST,
	SECTION_IDENTITY,
	SECTION_CAS,
	SECTION_RAS,
	SECTION_MDMS,
	SECTION_ATTESTERS,
	SECTION_PROFILES,
	SECTION_LABELS,
	SECTION_RULES,
	SECTION_COUNT
};

struct config_section {
	const char *name;
	const char *doc;
	const struct config_row *rows;
	size_t row_count;
	/* lists of groups only (entry_size 0: one group): where the array and its length are */
	size_t entry_size, array_offset, count_offset;
};

extern const struct config_section config_sections[SECTION_COUNT];

/* The choices of TYPE_FIELD and TYPE_ANCHOR by number, from policy's own tables; NULL past the last. */
const char *config_choice(const struct config_row *row, int index);

static inline bool
config_type_is_list(enum config_type type)
{
	return type >= TYPE_FLAGS;
}

#endif
