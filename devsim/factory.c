/*
 * devsim factory: devices as their manufacturer ships them, and the list that goes to the registry.
 */
#define _GNU_SOURCE
#include "devsim/factory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/text.h"
#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/files.h"
#include "devsim/options.h"

#define DAY_S          86400
#define YEAR_S         ((int64_t)365 * DAY_S)
#define COUNT_MAX      100000000
#define VALID_DAYS_MAX 365000
#define NAME_PART_MAX  32   /* of model and serial: "PID:<model> SN:<serial>" has to fit in 64 characters */
#define SERIAL_MAX     48
#define FLUSH_OCTETS   65536
#define CSV_HEADER     "tag,owner,manufacturer,model,serial,class,state,anchor\n"

struct factory_options {
	const char *out, *manufacturer, *model, *class_name, *owner, *prefix, *state, *key, *trust;
	uint64_t count, valid_days;
	bool forever, expired, hw_module, assets_only, quiet;
};

struct factory_run {
	struct factory_options options;
	struct factory_ca ca;
	struct key_spec key_spec;
	struct factory_device device; /* what they have in common: all but the serial */
	int assets_fd;
	struct buf rows;
	uint64_t first; /* the number of the first device of this run */
};

static const char factory_usage[] =
	"usage: devsim factory --out DIR --count N [--manufacturer NAME] [--model NAME] [--owner NAME]\n"
	"\n"
	"Make a manufacturer's root and issuing CA in DIR/manufacturer, N devices with factory\n"
	"certificates (IDevIDs) in DIR/devices, and their rows for the registry in DIR/assets.csv.\n"
	"Running it again with the same DIR adds N devices of the same manufacturer.\n";

static const char factory_examples[] =
	"\nexamples:\n"
	"  devsim factory --out factory --count 100 --owner acme-fleet\n"
	"  devsim factory --out factory --count 3 --prefix OLD --expired      # certificates from last year\n"
	"  devsim factory --out stranger --count 1 --manufacturer nobody      # a CA nobody trusts\n"
	"  devsim factory --out big --count 1000000 --assets-only             # registry rows alone\n"
	"\nwhat a device is called: tag <manufacturer>-<serial>, serial <prefix><8 digits>; its certificate\n"
	"says serialNumber \"PID:<model> SN:<serial>\", and its registry anchor is\n"
	"idevid_serial:<manufacturer>:<serial>.\n";

#define AT(field) offsetof(struct factory_options, field)

static const struct option_spec specs[] = {
	{ "out", 0, OPTION_TEXT, NULL, AT(out), "DIR", "where everything goes" },
	{ "count", 'n', OPTION_NUMBER, NULL, AT(count), "N", "how many devices" },
	{ "manufacturer", 0, OPTION_TEXT, NULL, AT(manufacturer), "NAME", "default: acme" },
	{ "model", 0, OPTION_TEXT, NULL, AT(model), "NAME", "default: X100" },
	{ "class", 0, OPTION_TEXT, NULL, AT(class_name), "NAME",
		"what kind of device, for the registry; default: sensor" },
	{ "owner", 0, OPTION_TEXT, NULL, AT(owner), "NAME",
		"the owner in the registry; default: fleet" },
	{ "state", 0, OPTION_TEXT, NULL, AT(state), "STATE",
		"the asset state in the registry; default: deployed" },
	{ "prefix", 0, OPTION_TEXT, NULL, AT(prefix), "TEXT",
		"what serials begin with; default: SN" },
	{ "trust", 0, OPTION_TEXT, NULL, AT(trust), "NAME",
		"the trust set named in the anchors; default: the manufacturer" },
	{ "key", 'k', OPTION_TEXT, NULL, AT(key), "KIND",
		KEY_SPEC_HELP "; default: ec:P-256" },
	{ "valid-days", 0, OPTION_NUMBER, NULL, AT(valid_days), "N",
		"lifetime of the certificates; default: 7300" },
	{ "forever", 0, OPTION_FLAG, NULL, AT(forever), NULL, "notAfter 99991231235959Z" },
	{ "expired", 0, OPTION_FLAG, NULL, AT(expired), NULL,
		"certificates that ended a year ago" },
	{ "hw-module", 0, OPTION_FLAG, NULL, AT(hw_module), NULL,
		"a hardwareModuleName in the certificates" },
	{ "assets-only", 0, OPTION_FLAG, NULL, AT(assets_only), NULL,
		"rows in assets.csv, neither keys nor certificates" },
	{ "quiet", 'q', OPTION_FLAG, NULL, AT(quiet), NULL, "no progress" },
	{ 0 },
};

static int
parse(struct factory_options *o, int argc, char **argv, struct err *e)
{
	bool help = false;

	if (options_parse(specs, o, argc, argv, &help, e) != 0)
		return -1;
	if (help) {
		(void)fputs(factory_usage, stdout);
		(void)fputs("\noptions:\n", stdout);
		options_help(specs, stdout);
		(void)fputs(factory_examples, stdout);
		exit(DEVSIM_OK);
	}
	return 0;
}

static int
check_name(const char *option, const char *text, struct err *e)
{
	if (text_is_name(text) && strlen(text) <= NAME_PART_MAX)
		return 0;
	return err_set(e, ERR_MALFORMED, "%s: \"%.40s\" is not 1 to %d of the characters A-Z a-z 0-9 . _ -", option,
		text, NAME_PART_MAX);
}

static int
check_options(const struct factory_options *o, struct err *e)
{
	if (o->out == NULL || o->count == 0)
		return err_set(e, ERR_MALFORMED, "--out DIR and --count N are needed (devsim factory --help)");
	if (o->count > COUNT_MAX)
		return err_set(e, ERR_LIMIT, "--count: at most %d", COUNT_MAX);
	if (o->valid_days == 0 || o->valid_days > VALID_DAYS_MAX)
		return err_set(e, ERR_LIMIT, "--valid-days: 1 to %d", VALID_DAYS_MAX);
	if (o->forever && o->expired)
		return err_set(e, ERR_MALFORMED, "--forever and --expired exclude each other");
	if (!text_is_clean(bytes_of_text(o->owner)) || !text_is_clean(bytes_of_text(o->class_name)) ||
	    o->owner[0] == '\0')
		return err_set(e, ERR_MALFORMED, "--owner and --class are UTF-8 without control characters");
	if (check_name("--manufacturer", o->manufacturer, e) != 0 || check_name("--model", o->model, e) != 0 ||
	    check_name("--prefix", o->prefix, e) != 0 || check_name("--state", o->state, e) != 0)
		return -1;
	return check_name("--trust", o->trust == NULL ? o->manufacturer : o->trust, e);
}

uint64_t
factory_row_number(struct bytes row, const char *manufacturer, const char *prefix)
{
	char start[2 * NAME_PART_MAX + 2];
	size_t len, i;
	uint64_t n = 0;

	(void)snprintf(start, sizeof start, "%s-%s", manufacturer, prefix);
	len = strlen(start);
	if (row.len <= len || memcmp(row.at, start, len) != 0)
		return 0;
	for (i = len; i < row.len && row.at[i] >= '0' && row.at[i] <= '9' && i < len + 18; i++)
		n = n * 10 + (uint64_t)(row.at[i] - '0');
	return i < row.len && row.at[i] == ',' ? n : 0;
}

void
factory_csv_field(struct buf *out, const char *text)
{
	if (strpbrk(text, ",\"") == NULL) {
		buf_append_text(out, text);
		return;
	}
	buf_append_u8(out, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"')
			buf_append_u8(out, '"');
		buf_append_u8(out, (uint8_t)*text);
	}
	buf_append_u8(out, '"');
}

/* The highest number already used with this prefix. */
static int
find_last(const struct factory_run *run, const char *path, uint64_t *last, struct err *e)
{
	FILE *in = fopen(path, "re");
	char line[1024];

	*last = 0;
	if (in == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof line, in) != NULL) {
		uint64_t n = factory_row_number(bytes_of_text(line), run->options.manufacturer, run->options.prefix);

		if (n > *last)
			*last = n;
	}
	(void)fclose(in);
	return 0;
}

static int
open_assets(struct factory_run *run, struct err *e)
{
	char path[FILE_PATH_MAX];
	uint64_t last;

	if (file_path(path, e, "%s/assets.csv", run->options.out) != 0)
		return -1;
	run->assets_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE_PUBLIC);
	if (run->assets_fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	/* Two factories in one folder at once would give out the same serials. */
	if (flock(run->assets_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: another factory is at work here", run->options.out);
	if (lseek(run->assets_fd, 0, SEEK_END) == 0)
		buf_append_text(&run->rows, CSV_HEADER);
	if (find_last(run, path, &last, e) != 0)
		return -1;
	run->first = last + 1;
	return 0;
}

static int
flush_rows(struct factory_run *run, struct err *e)
{
	size_t done = 0;

	if (buf_failed(&run->rows))
		return err_set(e, ERR_NOMEM, "assets.csv: no memory");
	while (done < run->rows.len) {
		ssize_t n = write(run->assets_fd, run->rows.at + done, run->rows.len - done);

		if (n < 0)
			return err_set(e, ERR_UPSTREAM, "assets.csv: %s", strerror(errno));
		done += (size_t)n;
	}
	buf_clear(&run->rows);
	return 0;
}

static void
append_row(struct factory_run *run, const char *tag, const char *serial)
{
	const struct factory_options *o = &run->options;

	buf_printf(&run->rows, "%s,", tag);
	factory_csv_field(&run->rows, o->owner);
	buf_printf(&run->rows, ",%s,%s,%s,", o->manufacturer, o->model, serial);
	factory_csv_field(&run->rows, o->class_name);
	buf_printf(&run->rows, ",%s,idevid_serial:%s:%s\n", o->state, o->trust == NULL ? o->manufacturer : o->trust,
		serial);
}

static int
save_device(const struct factory_run *run, const char *tag, const X509 *cert, const EVP_PKEY *key, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf pem = { 0 };
	struct buf secret = { 0 };
	char path[FILE_PATH_MAX];
	int rc;

	if (x509_to_der(cert, &der, e) != 0)
		return -1;
	pem_encode(&pem, "CERTIFICATE", buf_bytes(&der));
	buf_append_bytes(&pem, buf_bytes(&run->ca.chain_pem));
	if (buf_failed(&pem))
		return err_set(e, ERR_NOMEM, "device: no memory");
	if (file_path(path, e, "%s/devices/%s.pem", run->options.out, tag) != 0 ||
	    file_write_new(path, buf_bytes(&pem), FILE_MODE_PUBLIC, e) != 0 ||
	    file_path(path, e, "%s/devices/%s.key", run->options.out, tag) != 0)
		return -1;
	rc = key_to_pem(key, &secret, e);
	if (rc == 0)
		rc = file_write_new(path, buf_bytes(&secret), FILE_MODE_SECRET, e);
	buf_free_secret(&secret);
	return rc;
}

static int
make_device(struct factory_run *run, uint64_t number, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(X509) X509 *cert = NULL;
	struct factory_device device = run->device;
	char serial[SERIAL_MAX], tag[NAME_PART_MAX + SERIAL_MAX + 2];

	(void)snprintf(serial, sizeof serial, "%s%08llu", run->options.prefix, (unsigned long long)number);
	(void)snprintf(tag, sizeof tag, "%s-%s", run->options.manufacturer, serial);
	if (!run->options.assets_only) {
		device.serial = serial;
		if (key_make(&run->key_spec, &key, e) != 0 ||
		    factory_issue(&run->ca, &device, key, &cert, e) != 0 ||
		    save_device(run, tag, cert, key, e) != 0)
			return -1;
	}
	append_row(run, tag, serial);
	return run->rows.len >= FLUSH_OCTETS ? flush_rows(run, e) : 0;
}

static int
make_all(struct factory_run *run, struct err *e)
{
	const struct factory_options *o = &run->options;
	char path[FILE_PATH_MAX];
	struct progress progress;
	uint64_t i;
	int rc = 0;

	if (file_path(path, e, "%s/devices", o->out) != 0 || (!o->assets_only && file_mkdir(path, e) != 0))
		return -1;
	progress_begin(&progress, stderr, o->quiet, o->assets_only ? "listing assets" : "making devices", o->count);
	for (i = 0; rc == 0 && i < o->count; i++) {
		rc = make_device(run, run->first + i, e);
		progress_update(&progress, i + 1);
	}
	progress_end(&progress, i);
	return rc == 0 ? flush_rows(run, e) : -1;
}

static int
run_factory(struct factory_run *run, struct err *e)
{
	const struct factory_options *o = &run->options;
	int64_t now_s = time_now_s();

	run->device = (struct factory_device){ .manufacturer = o->manufacturer, .model = o->model,
		.not_before_s = now_s - DAY_S, .not_after_s = now_s + (int64_t)o->valid_days * DAY_S,
		.hw_module = o->hw_module };
	if (o->forever)
		run->device.not_after_s = FACTORY_FOREVER_S;
	if (o->expired) {
		run->device.not_before_s = now_s - 2 * YEAR_S;
		run->device.not_after_s = now_s - YEAR_S;
	}
	if (file_mkdir(o->out, e) != 0 || open_assets(run, e) != 0 ||
	    factory_ca_open(o->out, o->manufacturer, now_s, &run->ca, e) != 0)
		return -1;
	return make_all(run, e);
}

int
factory_main(int argc, char **argv)
{
	struct factory_run run = { .assets_fd = -1 };
	const struct factory_options *o = &run.options;
	struct err e = { 0 };
	int rc;

	run.options = (struct factory_options){ .manufacturer = "acme", .model = "X100", .class_name = "sensor",
		.owner = "fleet", .state = "deployed", .prefix = "SN", .key = KEY_SPEC_DEFAULT, .valid_days = 7300 };
	if (parse(&run.options, argc - 1, argv + 1, &e) != 0 || check_options(o, &e) != 0 ||
	    key_spec_parse(o->key, &run.key_spec, &e) != 0)
		return devsim_complain(DEVSIM_USAGE, &e);
	rc = run_factory(&run, &e);
	if (rc == 0)
		(void)printf("%llu devices of %s, numbers %llu to %llu\nassets        %s/assets.csv\n"
			"trust anchor  %s/manufacturer/root.pem\n", (unsigned long long)o->count, o->manufacturer,
			(unsigned long long)run.first, (unsigned long long)(run.first + o->count - 1), o->out, o->out);
	factory_ca_close(&run.ca);
	buf_free(&run.rows);
	if (run.assets_fd >= 0)
		(void)close(run.assets_fd);
	return rc == 0 ? DEVSIM_OK : devsim_complain(DEVSIM_LOCAL, &e);
}
