/*
 * options.h - command-line options from a table, and the help text from the same table.
 *
 * Options read "--name value" or "--name=value"; letters stand
 * alone. There are no positional arguments.
 */
#ifndef DEVSIM_OPTIONS_H
#define DEVSIM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum option_kind {
	OPTION_SECTION,  /* no option: help is a heading */
	OPTION_FLAG,     /* bool */
	OPTION_TEXT,     /* const char *, borrowed from argv */
	OPTION_NUMBER,   /* uint64_t */
	OPTION_REAL,     /* double, not negative; a "/s" after it is allowed */
	OPTION_DURATION, /* int64_t seconds: "90d", "30s" */
	OPTION_CHOICE,   /* int: index into value, which reads "one|two|three" */
	OPTION_LIST,     /* struct option_list: may repeat */
};

#define OPTION_LIST_MAX 32

struct option_list {
	const char *at[OPTION_LIST_MAX];
	size_t count;
};

struct option_spec {
	const char *name;  /* without dashes; NULL in a section. Without name and help: the end of the table */
	char letter;       /* 0: none */
	enum option_kind kind;
	const char *bare;  /* the value that is meant when the option stands alone; NULL: it needs one */
	size_t at;         /* offset in the struct of all options of a variable as named at the kind */
	const char *value; /* what the help calls the value, or the choices */
	const char *help;
};

/*
 * Parse argv[0..argc) into the struct at to; what is absent keeps its value.
 * *help says that --help or -h was met; parsing stops there. ERR_MALFORMED
 * names the option, what is wrong and what would be right.
 */
MUST_USE int options_parse(const struct option_spec *specs, void *to, int argc, char **argv, bool *help,
	struct err *e);

/* The option part of a help page. */
void options_help(const struct option_spec *specs, FILE *to);

#endif
