/*
 * ctl.h - enrollctl: commands as a table, one connection to the gateway each.
 */
#ifndef GATEWAY_CTL_CTL_H
#define GATEWAY_CTL_CTL_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"

/* The gateway's (gateway/process.h), which this folder does not include; a unit test compares the two. */
#define ENROLLCTL_VERSION "0.1.0"

#define CTL_POSITIONALS_MAX 3
#define CTL_OPTIONS_MAX 8

enum ctl_option_kind {
	CTL_TEXT = 1,
	CTL_INT,
	CTL_FLAG,
	CTL_FILE, /* opened here and passed along; behind the positional file, if there is one (key: where it begins) */
	CTL_MAP,  /* a name (key), or a file whose text is sent (key_text) */
};

struct ctl_option {
	const char *name; /* "--dry-run" */
	enum ctl_option_kind kind;
	const char *key;  /* in the request's args */
	const char *help;
};

struct ctl_column {
	const char *key, *title;
};

struct ctl_command {
	const char *words;      /* "asset set-state" */
	const char *wire;       /* the gateway's name for it */
	const char *positionals[CTL_POSITIONALS_MAX]; /* keys, in order; "*file" is opened and passed along, and
	                                                 its name's end tells its format; "+file" the same without a format */
	int optional;           /* how many of them, from the end, may be left out */
	const char *fixed_flag; /* a flag that this command always sets; NULL: none */
	const char *fixed_key, *fixed_text; /* the same for a text */
	struct ctl_option options[CTL_OPTIONS_MAX + 1];
	const struct ctl_column *columns; /* of its rows; NULL: it has none */
	const char *other_flag; /* with this flag (its key) its rows are others ... */
	const struct ctl_column *other_columns; /* ... and have these */
	/* The "ok" object for people; behind the table of rows, when it has columns. NULL: key and value lines, or rows alone. */
	void (*show)(const json_t *result, FILE *out);
	const char *fails;      /* the result's number that makes it exit 1 unless it is 0; NULL: none */
	const char *help;
	const char *more;       /* for --help: how it is used; NULL: nothing to add */
};

/* All of them; the last has words NULL. */
extern const struct ctl_command ctl_commands[];

/* Ways of showing a result (render.c). */
void ctl_show_pairs(const json_t *result, FILE *out);
void ctl_show_asset(const json_t *result, FILE *out);
void ctl_show_cert(const json_t *result, FILE *out);
void ctl_show_request(const json_t *result, FILE *out);
void ctl_show_explain(const json_t *result, FILE *out);
void ctl_show_secret(const json_t *result, FILE *out);
void ctl_show_import(const json_t *result, FILE *out);
void ctl_show_verify(const json_t *result, FILE *out);
void ctl_show_done(const json_t *result, FILE *out);
void ctl_show_transfer(const json_t *result, FILE *out);
void ctl_show_exception(const json_t *result, FILE *out);
void ctl_show_quota(const json_t *result, FILE *out);
void ctl_show_approval(const json_t *result, FILE *out);
void ctl_show_report(const json_t *result, FILE *out);
void ctl_show_replay(const json_t *result, FILE *out);
void ctl_show_policy_test(const json_t *result, FILE *out);
void ctl_show_policy_diff(const json_t *result, FILE *out);
/* A member of an object as text, "" when it is none. */
const char *ctl_text_of(const json_t *object, const char *key);
long long ctl_int_of(const json_t *object, const char *key);
/* Rows (an array of objects) as a table. */
void ctl_show_rows(const struct ctl_column *columns, const json_t *rows, FILE *out);

enum ctl_exit { CTL_OK = 0, CTL_REFUSED = 1, CTL_USAGE = 2, CTL_UNREACHABLE = 3, CTL_WAITS = 4 /* for another operator */ };

/*
 * Send one request and read the answer's lines. row() is called for each row
 * (borrowed), progress lines drive a bar on standard error. file: passed
 * along, -1: none. *result gets the "ok" object, the caller's; CTL_WAITS when it says so.
 */
enum ctl_exit ctl_call(const char *socket_path, const char *wire, json_t *args, int file,
	void (*row)(void *arg, const json_t *row), void *arg, json_t **result, struct err *e);

#endif
