/*
 * crl.h - a TBSCertList (RFC 5280, section 5.1) as DER, written straight.
 *
 * Inside gateway/ca only. Nothing here keeps state; every function may be
 * called from any thread.
 */
#ifndef GATEWAY_CA_CRL_H
#define GATEWAY_CA_CRL_H

#include "gateway/ca/tbs.h"

#define CRL_ENTRIES_MAX 1000000 /* at most 54 octets each, so a list stays below BUF_MAX */

/*
 * Append one TBSCertList, its entries in the order given.
 *
 * ERR_LIMIT      more than CRL_ENTRIES_MAX
 * ERR_MALFORMED  a serial number that is none
 * ERR_BUG        a negative number, a list that ends before it begins, a time that cannot be written
 */
MUST_USE int crl_put(struct buf *out, const struct tbs_common *common, const struct ca_revoked *revoked, size_t count,
	int64_t number, int64_t now_s, int64_t next_s, struct err *e);

#endif
