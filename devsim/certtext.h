/*
 * certtext.h - what a certificate says, for people and as JSON.
 */
#ifndef DEVSIM_CERTTEXT_H
#define DEVSIM_CERTTEXT_H

#include <stdio.h>

#include <jansson.h>

#include "base/ossl.h"

/* Indented lines: subject, issuer, serial, names, validity, key, usages, fingerprint. */
void certtext_print(const X509 *cert, FILE *to);

/* The same as a JSON object, with the PEM; a new reference. */
json_t *certtext_json(const X509 *cert);

/* PEM of all of them, appended; first, which may be one of certs or NULL, before the others. */
MUST_USE int certtext_pem(X509 *first, STACK_OF(X509) *certs, struct buf *out, struct err *e);

#endif
