/*
 * query.h - SCEP's HTTP side (RFC 8894, section 4): paths, query strings, GetCACaps.
 */
#ifndef SCEP_QUERY_H
#define SCEP_QUERY_H

#include "scep/scep.h"

#define SCEP_LABEL_MAX  64
#define SCEP_QUERY_MAX  24576 /* octets of a query string: a message of 16 kB in base64, percent-encoded here and there */
#define SCEP_SUFFIX_MAX 128

enum scep_operation {
	SCEP_OP_NONE = 0,
	SCEP_OP_GET_CA_CAPS,
	SCEP_OP_GET_CA_CERT,
	SCEP_OP_GET_NEXT_CA_CERT,
	SCEP_OP_PKI_OPERATION,
};
const char *scep_operation_name(enum scep_operation operation); /* "GetCACaps", ...; "" for NONE */

/*
 * "/scep", "/scep/<label>", either followed by one of the suffixes, or a suffix
 * alone, which is the label "". suffixes: each begins with "/". Case matters, but not in a suffix
 * (Windows clients). Percent-encoding as in est/path.h: of unreserved characters in the label only.
 * Returns 0, or -1 with ERR_UNSUPPORTED: SCEP does not live there (404).
 */
MUST_USE int scep_path_parse(struct bytes path, const char *const *suffixes, size_t suffix_count,
	char label[SCEP_LABEL_MAX + 1], struct err *e);

/*
 * A query string without its "?". operation and message may come in either
 * order; unknown parameters are ignored, a second operation or message is
 * refused. When want_message (PKIOperation by GET), the message is percent-decoded, a
 * space stands for "+", "-" and "_" for "+" and "/", white space and line breaks are
 * dropped, padding may be missing; the DER is appended to message. Otherwise
 * (CA identifier) message is not looked at, and may be missing.
 *
 * ERR_UNSUPPORTED  no operation, or an unknown one; *operation is SCEP_OP_NONE
 * ERR_LIMIT        longer than SCEP_QUERY_MAX
 * ERR_MALFORMED    bad percent-encoding, no message, or not base64
 */
MUST_USE int scep_query_parse(struct bytes query, bool want_message, enum scep_operation *operation,
	struct buf *message, struct err *e);

/* The reverse, for clients: base64, percent-encoded where it must be; appended. message len 0: none. */
void scep_query_write(struct buf *out, enum scep_operation operation, struct bytes message);

/*
 * The answer to GetCACaps (section 3.5.2): a line for each capability, each
 * ended by LF, never CRLF, exactly what is enforced. next: GetNextCACert has an answer.
 * strongSwan's pki goes on only when "SHA-384" is among them; "SCEPStandard" is there
 * when AES and SHA-256 are allowed ("AES", "POSTPKIOperation", "SHA-256" and it imply each other).
 */
void scep_caps_write(struct buf *out, unsigned allowed, bool renewal, bool next);

/* For clients: what a server says it can. Unknown lines are ignored; CR is too. */
struct scep_caps {
	unsigned algorithms;
	bool post, renewal, next;
};
void scep_caps_parse(struct bytes text, struct scep_caps *out);

#endif
