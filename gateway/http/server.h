/*
 * server.h - CivetWeb behind the front: routes complete requests to handlers on worker threads.
 *
 * It listens on 127.0.0.1 on a random port, and believes only requests that
 * carry a handle of front.h.
 */
#ifndef GATEWAY_HTTP_SERVER_H
#define GATEWAY_HTTP_SERVER_H

#include "gateway/core/world.h"

struct mg_connection;

struct server;

/* The public side's workers. *port is where the front connects. */
MUST_USE int server_start(struct gateway *gateway, int workers, struct server **out, int *port, struct err *e);
/* The local admin listener: /livez /readyz /metrics. address as "127.0.0.1:9443". */
MUST_USE int admin_server_start(struct gateway *gateway, const char *address, struct server **out, struct err *e);
/* Call after the front has drained: answers under way are lost otherwise. */
void server_stop(struct server *server);

/* One answer: head and body in one write. content_type may be NULL with an empty body;
   headers are complete "Name: value\r\n" lines or NULL. Returns status, for the access line. */
int server_answer(struct mg_connection *conn, int status, const char *content_type, const char *headers,
	struct bytes body);
/* The same with one line of text and a newline. */
int server_answer_text(struct mg_connection *conn, int status, const char *headers, const char *text);

/* For front_settings: SCEP's paths of the present configuration, whose GETs carry whole messages. */
bool server_takes_long_target(struct bytes path);

#endif
