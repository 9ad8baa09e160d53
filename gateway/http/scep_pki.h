/*
 * scep_pki.h - one PKIOperation: a pkiMessage in, a CertRep out.
 */
#ifndef GATEWAY_HTTP_SCEP_PKI_H
#define GATEWAY_HTTP_SCEP_PKI_H

#include "gateway/http/exchange.h"

/*
 * Answers 200 with a CertRep whenever the message can be read, whatever is
 * decided. HTTP speaks for itself only where no CertRep can say it: 400, a
 * message that cannot be read; 503, try again later; 500. One log line.
 */
int scep_pki_operation(struct exchange *x, struct bytes der);

#endif
