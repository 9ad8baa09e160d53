/*
 * scep_content.h - whose key is it? SubjectPublicKeyInfos as octets, for comparing.
 *
 * Pure. The keys are not decoded: OpenSSL 3.0 takes longer for that than for an RSA
 * signature's verification, and the pipeline does it once anyway.
 */
#ifndef GATEWAY_HTTP_SCEP_CONTENT_H
#define GATEWAY_HTTP_SCEP_CONTENT_H

#include "base/ossl.h"

/*
 * The key that a PKCS#10 request (RFC 2986, section 4.1) is for, appended as
 * DER. Only the outline is looked at; est_csr_parse() judges. ERR_UNAUTHENTIC:
 * these octets are no such request.
 */
MUST_USE int scep_content_csr_key(struct bytes csr, struct buf *out, struct err *e);

#endif
