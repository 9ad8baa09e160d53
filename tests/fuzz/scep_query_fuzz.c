/*
 * SCEP request targets: the octets before the first "?" are a path, the rest a
 * query. An accepted label leads to itself again; an accepted message comes
 * back from what scep_query_write() makes of it. The query is read as a
 * list of capabilities too, which takes any octets.
 */
#include <stdlib.h>
#include <string.h>

#include "scep/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
try_path(struct bytes path)
{
	static const char *const suffixes[] = { "/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/certsrv/mscep/mscep.dll" };
	char label[SCEP_LABEL_MAX + 1] = "", again[SCEP_LABEL_MAX + 1] = "";
	struct buf rebuilt = { 0 };
	struct err e;

	if (scep_path_parse(path, suffixes, 3, label, &e) != 0) {
		demand(e.code == ERR_UNSUPPORTED);
		return;
	}
	demand(strchr(label, '/') == NULL && strcmp(label, "..") != 0);
	/* With a suffix behind it even a label that reads like one is a label. */
	buf_printf(&rebuilt, "/scep%s%s/certsrv/mscep/mscep.dll", label[0] == '\0' ? "" : "/", label);
	demand(scep_path_parse(buf_bytes(&rebuilt), suffixes, 3, again, &e) == 0);
	demand(strcmp(again, label) == 0);
	buf_free(&rebuilt);
}

static void
try_query(struct bytes query)
{
	enum scep_operation operation = SCEP_OP_GET_CA_CAPS, again = SCEP_OP_NONE;
	struct buf message = { 0 }, rebuilt = { 0 }, back = { 0 };
	struct err e;

	if (scep_query_parse(query, true, &operation, &message, &e) == 0) {
		demand(operation != SCEP_OP_NONE);
		demand((message.len > 0) == (operation == SCEP_OP_PKI_OPERATION));
		if (message.len < SCEP_QUERY_MAX / 5) { /* every character may need three */
			scep_query_write(&rebuilt, operation, buf_bytes(&message));
			demand(scep_query_parse(buf_bytes(&rebuilt), true, &again, &back, &e) == 0);
			demand(again == operation && bytes_equal(buf_bytes(&message), buf_bytes(&back)));
		}
	} else
		demand(message.len == 0 && (e.code != ERR_UNSUPPORTED || operation == SCEP_OP_NONE));
	buf_free(&message);
	buf_free(&rebuilt);
	buf_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *mark = size == 0 ? NULL : memchr(data, '?', size);
	size_t path = mark == NULL ? size : (size_t)(mark - data);
	struct bytes query = bytes_of(data + path + (mark != NULL), size - path - (mark != NULL));
	struct scep_caps caps;

	try_path(bytes_of(data, path));
	try_query(query);
	scep_caps_parse(query, &caps);
	demand((caps.algorithms & ~(SCEP_DIGESTS | SCEP_CIPHERS)) == 0);
	return 0;
}
