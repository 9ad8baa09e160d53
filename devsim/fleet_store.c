/*
 * fleet --out: the certificates that were issued, one NAME.pem and NAME.key a
 * device, so that a later run renews them.
 */
#include <string.h>

#include "devsim/certtext.h"
#include "devsim/files.h"
#include "devsim/fleet.h"
#include "est/body.h"

static int
certs_pem(const struct kept *kept, struct buf *out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(buf) struct buf spki = { 0 };
	X509 *issued;

	if (est_certs_decode(buf_bytes(&kept->der), &certs, e) != 0 || key_spki(kept->key, &spki, e) != 0)
		return -1;
	issued = certs_with_key(certs, buf_bytes(&spki));
	if (issued == NULL)
		return err_set(e, ERR_MALFORMED, "an issued certificate is for another key");
	return certtext_pem(issued, certs, out, e);
}

static int
store_one(const struct fleet *fleet, const struct kept *kept, struct err *e)
{
	const char *name = fleet->devices[kept->device].name;
	CLEANUP(buf) struct buf pem = { 0 };
	char path[FILE_PATH_MAX];

	if (certs_pem(kept, &pem, e) != 0)
		return err_prefix(e, "%s", name);
	if (file_path(path, e, "%s/%s.key", fleet->options.out, name) != 0 || key_save(path, kept->key, e) != 0 ||
	    file_path(path, e, "%s/%s.pem", fleet->options.out, name) != 0)
		return -1;
	return file_write(path, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

int
fleet_store(const struct fleet *fleet, struct err *e)
{
	struct progress progress;
	size_t i;
	int rc = 0;

	if (fleet->options.out == NULL || fleet->options.op == FLEET_CACERTS)
		return 0;
	if (file_mkdir(fleet->options.out, e) != 0)
		return -1;
	progress_begin(&progress, stderr, fleet->options.quiet, "storing certificates", fleet->total.kept_count);
	for (i = 0; rc == 0 && i < fleet->total.kept_count; i++) {
		rc = store_one(fleet, &fleet->total.kept[i], e);
		progress_update(&progress, i + 1);
	}
	progress_end(&progress, i);
	return rc;
}
