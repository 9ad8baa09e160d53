/*
 * conn_internal.h - what conn.c and conn_coap.c share.
 */
#ifndef DEVSIM_CONN_INTERNAL_H
#define DEVSIM_CONN_INTERNAL_H

#include "devsim/conn.h"

/* The state is CONN_BROKEN; returns CONN_WANT_NOTHING. */
enum conn_want conn_broken(struct conn *conn);
/* What an SSL call that did not succeed waits for; CONN_WANT_NOTHING: it failed, conn->err says why. */
enum conn_want conn_ssl_want(struct conn *conn, int rc, const char *phase);

/* SSL_do_handshake() with repeated flights. */
int conn_coap_handshake(struct conn *conn);
/* After a failed handshake: nobody listens there, and there is another address. */
bool conn_coap_refused(const struct conn *conn);
/* CONN_RECEIVING: send what is to be sent, take what came. */
enum conn_want conn_coap_step(struct conn *conn);

#endif
