/*
 * enrollctl: parses a command by its table row, calls the gateway, shows the answer.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/ctl/ctl.h"

#define SOCKET_DEFAULT "/run/enrolld/control.sock"
#define MAP_TEXT_MAX 32768 /* what the gateway takes */

struct invocation {
	const char *socket;
	bool json;
	bool help;
	bool version;
	const struct ctl_command *command;
	json_t *args;
	int file;        /* to be passed along; -1: none */
	int option_file; /* an option's, to be passed behind it; -1: none */
	const char *option_key;
	int positionals;
};

static int
usage(FILE *out)
{
	const struct ctl_command *c;

	(void)fputs("usage: enrollctl [--socket PATH] [--json] COMMAND [ARGUMENT...] [OPTION...]\n"
		    "       enrollctl --version | --help\n\n",
		out);
	for (c = ctl_commands; c->words != NULL; c++)
		(void)fprintf(out, "  %-18s %s\n", c->words, c->help);
	(void)fputs("\nenrollctl COMMAND --help tells its arguments. The socket is " SOCKET_DEFAULT
		    "\nunless --socket or ENROLLCTL_SOCKET names another; who may open it is an operator.\n"
		    "Exit: 0 done, 1 refused, 2 usage, 3 gateway not reachable, 4 waits for a second operator.\n",
		out);
	return out == stdout ? CTL_OK : CTL_USAGE;
}

static int
command_usage(const struct ctl_command *c, FILE *out)
{
	int i;

	(void)fprintf(out, "usage: enrollctl %s", c->words);
	for (i = 0; i < CTL_POSITIONALS_MAX && c->positionals[i] != NULL; i++)
		(void)fprintf(out, c->optional > 0 ? " [%s]" : " %s", c->positionals[i] + strspn(c->positionals[i], "*+#"));
	(void)fputs(c->options[0].name == NULL ? "\n" : " [OPTION...]\n", out);
	(void)fprintf(out, "\n%s.\n\n", c->help);
	if (c->more != NULL)
		(void)fprintf(out, "%s\n\n", c->more);
	for (i = 0; c->options[i].name != NULL; i++)
		(void)fprintf(out, "  %-18s %s\n", c->options[i].name, c->options[i].help);
	(void)fputs("  --json             the answer as JSON\n", out);
	return out == stdout ? CTL_OK : CTL_USAGE;
}

static int
complain(const char *what, const char *about)
{
	(void)fprintf(stderr, "enrollctl: %s%s%s\n", what, about == NULL ? "" : ": ", about == NULL ? "" : about);
	return -1;
}

static int
open_option_file(struct invocation *in, const char *key, const char *path)
{
	if (in->option_file >= 0)
		return complain("one file too many", path);
	in->option_key = key;
	in->option_file = open(path, O_RDONLY | O_CLOEXEC);
	return in->option_file < 0 ? complain("cannot read", path) : 0;
}

/* A name has neither "/" nor "."; else it is a file, and its text is sent. */
static int
put_map(struct invocation *in, const char *key, const char *value)
{
	char text[MAP_TEXT_MAX + 1], text_key[40];
	size_t len;
	FILE *file;

	if (strpbrk(value, "/.") == NULL)
		return json_object_set_new(in->args, key, json_string(value));
	file = fopen(value, "re");
	if (file == NULL)
		return complain("cannot read", value);
	len = fread(text, 1, sizeof text, file);
	(void)fclose(file);
	if (len == sizeof text)
		return complain("too large for a map", value);
	(void)snprintf(text_key, sizeof text_key, "%s_text", key);
	if (json_object_set_new(in->args, text_key, json_stringn(text, len)) != 0)
		return complain("not UTF-8", value);
	return 0;
}

static int
copy_file(FILE *to, int from, long long *copied)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(from, chunk, sizeof chunk)) > 0) {
		if (fwrite(chunk, 1, (size_t)n, to) != (size_t)n)
			return -1;
		*copied += n;
	}
	return n < 0 ? -1 : 0;
}

/* Only one descriptor goes along: two files are one after the other in it, and the option's key says where the second begins. */
static int
join_files(struct invocation *in)
{
	long long first = 0, second = 0;
	FILE *both;
	int fd;

	if (in->option_file < 0)
		return 0;
	if (in->file < 0) {
		in->file = in->option_file;
		in->option_file = -1;
		return 0;
	}
	both = tmpfile();
	if (both == NULL || copy_file(both, in->file, &first) != 0 || copy_file(both, in->option_file, &second) != 0 ||
	    fflush(both) != 0 || fseek(both, 0, SEEK_SET) != 0 || (fd = dup(fileno(both))) < 0) {
		if (both != NULL)
			(void)fclose(both);
		return complain("cannot read the two files", NULL);
	}
	(void)fclose(both);
	(void)close(in->file);
	in->file = fd;
	return json_object_set_new(in->args, in->option_key, json_integer(first));
}

static int
open_file(struct invocation *in, const char *path)
{
	const char *dot = in->command->positionals[0][0] == '+' ? NULL : strrchr(path, '.');

	in->file = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (in->file < 0)
		return complain("cannot read", path);
	if (json_object_get(in->args, "format") == NULL && dot != NULL &&
	    (strcmp(dot, ".jsonl") == 0 || strcmp(dot, ".ndjson") == 0 || strcmp(dot, ".json") == 0))
		(void)json_object_set_new(in->args, "format", json_string("jsonl"));
	return 0;
}

static int
put_int(struct invocation *in, const char *key, const char *text)
{
	char *end = NULL;
	long long n = strtoll(text, &end, 10);

	if (end == text || *end != '\0')
		return complain("not a number", text);
	return json_object_set_new(in->args, key, json_integer(n));
}

static int
put_positional(struct invocation *in, const char *text)
{
	const char *key = in->positionals < CTL_POSITIONALS_MAX ? in->command->positionals[in->positionals] : NULL;

	if (key == NULL)
		return complain("one argument too many", text);
	in->positionals++;
	if (key[0] == '*' || key[0] == '+')
		return open_file(in, text);
	if (key[0] == '#')
		return put_int(in, key + 1, text);
	if (json_object_set_new(in->args, key, json_string(text)) != 0)
		return complain("not UTF-8", text);
	return 0;
}

static int
put_option(struct invocation *in, const struct ctl_option *option, const char *value)
{
	switch (option->kind) {
	case CTL_FLAG:
		return json_object_set_new(in->args, option->key, json_true());
	case CTL_INT:
		return put_int(in, option->key, value);
	case CTL_FILE:
		return open_option_file(in, option->key, value);
	case CTL_MAP:
		return put_map(in, option->key, value);
	case CTL_TEXT:
		break;
	}
	if (json_object_set_new(in->args, option->key, json_string(value)) != 0)
		return complain("not UTF-8", value);
	return 0;
}

/* The octets two words of a command take: "asset", "list" is "asset list". */
static const struct ctl_command *
find_command(char **argv, int *used)
{
	const struct ctl_command *c;
	char two[64];

	for (c = ctl_commands; c->words != NULL; c++) {
		*used = strchr(c->words, ' ') == NULL ? 1 : 2;
		(void)snprintf(two, sizeof two, "%s%s%s", argv[0], *used == 2 ? " " : "",
			*used == 2 && argv[1] != NULL ? argv[1] : "");
		if (strcmp(two, c->words) == 0)
			return c;
	}
	return NULL;
}

static int
parse_rest(struct invocation *in, char **argv)
{
	const struct ctl_option *o;

	for (; *argv != NULL; argv++) {
		if (strcmp(*argv, "--json") == 0)
			in->json = true;
		else if (strcmp(*argv, "--help") == 0)
			in->help = true;
		else if (strncmp(*argv, "--", 2) == 0) {
			for (o = in->command->options; o->name != NULL && strcmp(o->name, *argv) != 0; o++)
				;
			if (o->name == NULL)
				return complain("no such option", *argv);
			if (o->kind != CTL_FLAG && argv[1] == NULL)
				return complain("needs a value", *argv);
			if (put_option(in, o, argv[1]) != 0)
				return -1;
			argv += o->kind != CTL_FLAG;
		} else if (put_positional(in, *argv) != 0)
			return -1;
	}
	return 0;
}

static bool
positionals_missing(const struct invocation *in)
{
	int wanted = 0;

	while (wanted < CTL_POSITIONALS_MAX && in->command->positionals[wanted] != NULL)
		wanted++;
	return in->positionals < wanted - in->command->optional;
}

static int
parse(struct invocation *in, char **argv)
{
	int used = 0;

	for (; *argv != NULL && (*argv)[0] == '-'; argv++) {
		if (strcmp(*argv, "--json") == 0)
			in->json = true;
		else if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0)
			in->help = true;
		else if (strcmp(*argv, "--version") == 0)
			in->version = true;
		else if (strcmp(*argv, "--socket") == 0 && argv[1] != NULL)
			in->socket = *++argv;
		else
			return complain("no such option", *argv);
	}
	if (*argv == NULL)
		return 0;
	in->command = find_command(argv, &used);
	if (in->command == NULL)
		return complain("no such command", *argv);
	if (parse_rest(in, argv + used) != 0)
		return -1;
	if (!in->help && positionals_missing(in))
		return complain("an argument is missing; see --help", in->command->words);
	if (in->command->fixed_flag != NULL)
		(void)json_object_set_new(in->args, in->command->fixed_flag, json_true());
	if (in->command->fixed_key != NULL)
		(void)json_object_set_new(in->args, in->command->fixed_key, json_string(in->command->fixed_text));
	return in->help ? 0 : join_files(in);
}

static void
collect_row(void *arg, const json_t *row)
{
	(void)json_array_append(arg, (json_t *)(size_t)row);
}

static const struct ctl_column *
columns_of(const struct invocation *in)
{
	const struct ctl_command *c = in->command;

	return c->other_flag != NULL && json_is_true(json_object_get(in->args, c->other_flag)) ? c->other_columns : c->columns;
}

static void
show(const struct invocation *in, json_t *rows, json_t *result)
{
	const struct ctl_command *c = in->command;

	if (in->json && c->columns != NULL && c->show != NULL)
		(void)json_object_set(result, "rows", rows);
	if (in->json) {
		(void)(json_dumpf(c->columns != NULL && c->show == NULL ? rows : result, stdout, JSON_INDENT(2)) == 0 &&
			fputc('\n', stdout) != EOF);
		return;
	}
	if (c->columns != NULL && (c->show == NULL || json_array_size(rows) != 0))
		ctl_show_rows(columns_of(in), rows, stdout);
	if (c->show != NULL)
		c->show(result, stdout);
	else if (c->columns == NULL)
		ctl_show_pairs(result, stdout);
}

static int
run(struct invocation *in)
{
	json_t *rows = json_array(), *result = NULL;
	struct err e = { 0 };
	enum ctl_exit status;

	status = ctl_call(in->socket, in->command->wire, in->args, in->file, collect_row, rows, &result, &e);
	if (status == CTL_OK || status == CTL_WAITS)
		show(in, rows, result);
	else
		(void)complain(e.text, NULL);
	if (status == CTL_OK && in->command->fails != NULL && ctl_int_of(result, in->command->fails) != 0)
		status = CTL_REFUSED;
	json_decref(rows);
	json_decref(result);
	return (int)status;
}

int
main(int argc, char **argv)
{
	const char *socket_path = getenv("ENROLLCTL_SOCKET");
	struct invocation in = { .socket = socket_path == NULL ? SOCKET_DEFAULT : socket_path,
		.args = json_object(),
		.file = -1,
		.option_file = -1 };
	int status;

	if (argc < 1 || parse(&in, argv + 1) != 0)
		status = CTL_USAGE;
	else if (in.version)
		status = printf("enrollctl %s\n", ENROLLCTL_VERSION) < 0 ? CTL_REFUSED : CTL_OK;
	else if (in.command == NULL)
		status = usage(in.help ? stdout : stderr);
	else if (in.help)
		status = command_usage(in.command, stdout);
	else
		status = run(&in);
	if (in.file >= 0)
		(void)close(in.file);
	if (in.option_file >= 0)
		(void)close(in.option_file);
	json_decref(in.args);
	return status;
}
