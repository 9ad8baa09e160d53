#define _DEFAULT_SOURCE
#include "coap/bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"

#define HOST_MAX 64

static _Thread_local bool shared;

void
coaps_bind_shared(bool on)
{
	shared = on;
}

/* Stands before the C library's, in front of every caller in the process. */
int
bind(int fd, const struct sockaddr *address, socklen_t size)
{
	const int on = 1;

	if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
		return -1;
	return (int)syscall(SYS_bind, fd, address, size);
}

int
coaps_address_parse(const char *text, struct coaps_address *out, struct err *e)
{
	const char *colon = strrchr(text, ':');
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_DGRAM,
	};
	struct addrinfo *found = NULL;
	char host[HOST_MAX], shown[96];
	size_t len = colon == NULL ? 0 : (size_t)(colon - text);
	bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	text_escape(shown, sizeof shown, bytes_of_text(text));
	if (colon == NULL || len == 0 || len >= sizeof host || (!bracketed && memchr(text, ':', len) != NULL))
		return err_set(e, ERR_MALFORMED, "\"%s\" is not an address and a port", shown);
	if (bracketed)
		len -= 2;
	memcpy(host, text + (bracketed ? 1 : 0), len);
	host[len] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0 || found->ai_addrlen > sizeof out->as) {
		if (found != NULL)
			freeaddrinfo(found);
		return err_set(e, ERR_MALFORMED, "\"%s\" is not an address and a port", shown);
	}
	memset(out, 0, sizeof *out);
	out->size = found->ai_addrlen;
	memcpy(&out->as, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

int
coaps_address_probe(struct coaps_address *address, const char *text, struct err *e)
{
	const int off = 0;
	int fd = socket(address->as.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof address->as;
	bool failed;

	if (fd == -1)
		return err_set(e, ERR_UPSTREAM, "UDP socket for %s: %s", text, strerror(errno));
	/* As libcoap does it: an IPv6 socket takes IPv4 too. */
	failed = (address->as.any.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
		bind(fd, &address->as.any, address->size) != 0 || getsockname(fd, &address->as.any, &size) != 0;
	if (failed)
		(void)err_set(e, ERR_UPSTREAM, "UDP %s: %s", text, strerror(errno));
	(void)close(fd);
	return failed ? -1 : 0;
}

int
coaps_address_port(const struct coaps_address *address)
{
	return ntohs(address->as.any.sa_family == AF_INET6 ? address->as.v6.sin6_port : address->as.v4.sin_port);
}

void
coaps_address_text(const struct sockaddr *address, char *out, size_t size)
{
	struct coaps_address copy = { 0 };
	struct in_addr v4;
	const char *text;

	memcpy(&copy.as, address, address->sa_family == AF_INET6 ? sizeof copy.as.v6 : sizeof copy.as.v4);
	if (copy.as.any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&copy.as.v6.sin6_addr)) {
		text = inet_ntop(AF_INET6, &copy.as.v6.sin6_addr, out, (socklen_t)size);
	} else {
		if (copy.as.any.sa_family == AF_INET6)
			memcpy(&v4, copy.as.v6.sin6_addr.s6_addr + 12, sizeof v4);
		else
			v4 = copy.as.v4.sin_addr;
		text = inet_ntop(AF_INET, &v4, out, (socklen_t)size);
	}
	if (text == NULL)
		(void)snprintf(out, size, "?");
}
