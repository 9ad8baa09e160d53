#define _GNU_SOURCE
#include "gateway/http/control.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/core/admin.h"
#include "gateway/core/log.h"

#define CONTROL_LINE_MAX 65536
#define CONTROL_CLIENTS_MAX 32
#define CONTROL_WAIT_S 10

struct control {
	struct gateway *gateway;
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
	int listener, wake;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	int clients; /* under lock */
};

struct client {
	struct control *control;
	int fd;
	int file; /* passed along; -1: none */
};

static bool
send_line(void *arg, json_t *line)
{
	struct client *client = arg;
	char *text = json_dumps(line, JSON_COMPACT);
	size_t len = text == NULL ? 0 : strlen(text), sent = 0;
	ssize_t n = 1;

	json_decref(line);
	if (text == NULL)
		return false;
	text[len] = '\n';
	while (sent <= len && n > 0) {
		n = send(client->fd, text + sent, len + 1 - sent, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
	}
	OPENSSL_cleanse(text, len + 1); /* it may hold a new secret */
	free(text);
	return sent == len + 1;
}

/* Receive octets, and the file that may come with them. */
static ssize_t
receive(struct client *client, char *at, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = at, .iov_len = size };
	/* Room for one descriptor and not its padding, into which a second would fit: the kernel drops the rest. */
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n <= 0 ? NULL : CMSG_FIRSTHDR(&msg);

	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (client->file >= 0)
			(void)close(client->file);
		memcpy(&client->file, CMSG_DATA(c), sizeof client->file);
	}
	return n;
}

static int
read_line(struct client *client, char *line, size_t size, struct err *e)
{
	size_t len = 0;
	ssize_t n;

	while (len + 1 < size) {
		n = receive(client, line + len, size - 1 - len);
		if (n <= 0)
			return err_set(e, ERR_MALFORMED, "the request ended before its line did");
		len += (size_t)n;
		line[len] = '\0';
		if (line[len - 1] == '\n')
			return 0;
	}
	return err_set(e, ERR_LIMIT, "a request of more than %d octets", CONTROL_LINE_MAX);
}

/* One person is one actor: where the user's name cannot be told now, nothing is done under another. */
static int
peer_name(int fd, char *out, size_t size, struct err *e)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;
	struct passwd pw, *found = NULL;
	char space[4096];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
	    getpwuid_r(peer.uid, &pw, space, sizeof space, &found) != 0)
		return err_set(e, ERR_UPSTREAM, "the system does not say now who is asking; try again");
	if (found != NULL)
		(void)snprintf(out, size, "operator:%s", pw.pw_name);
	else
		(void)snprintf(out, size, "operator:uid-%u", (unsigned)peer.uid);
	return 0;
}

static int
run_line(struct client *client, const char *line, json_t **result, struct err *e)
{
	char actor[96];
	json_error_t why;
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, &why);
	const char *command = json_string_value(json_object_get(request, "command"));
	struct admin_call call = { .gateway = client->control->gateway,
		.actor = actor,
		.args = json_object_get(request, "args"),
		.fd = client->file,
		.now_s = time_now_s(),
		.emit = send_line,
		.emit_arg = client };
	int status;

	if (peer_name(client->fd, actor, sizeof actor, e) != 0)
		status = -1;
	else if (command == NULL)
		status = err_set(e, ERR_MALFORMED, "not a request: %.100s", request == NULL ? why.text : "no command");
	else
		status = admin_run(command, &call, e);
	json_decref(request);
	*result = call.result;
	return status;
}

/* A text that was cut inside a character is no JSON string. */
static void
send_error(struct client *client, const struct err *e)
{
	char escaped[ERR_TEXT_MAX];

	text_escape(escaped, sizeof escaped, bytes_of_text(e->text));
	(void)send_line(client, json_pack("{s:{s:s, s:s}}", "error", "code", err_code_name(e->code), "text",
		text_is_clean(bytes_of_text(e->text)) ? e->text : escaped));
}

static void
serve(struct client *client)
{
	char *line = malloc(CONTROL_LINE_MAX);
	struct err e = { 0 };
	json_t *result = NULL;
	int status = -1;

	if (line == NULL)
		(void)err_set(&e, ERR_NOMEM, "no memory for the request");
	else if (read_line(client, line, CONTROL_LINE_MAX, &e) == 0)
		status = run_line(client, line, &result, &e);
	if (status == 0)
		(void)send_line(client, json_pack("{s:o}", "ok", result == NULL ? json_object() : json_incref(result)));
	else
		send_error(client, &e);
	json_decref(result);
	free(line);
}

static void *
client_thread(void *arg)
{
	struct client *client = arg;
	struct control *control = client->control;

	serve(client);
	(void)close(client->fd);
	if (client->file >= 0)
		(void)close(client->file);
	free(client);
	(void)pthread_mutex_lock(&control->lock);
	control->clients--;
	(void)pthread_cond_signal(&control->idle);
	(void)pthread_mutex_unlock(&control->lock);
	return NULL;
}

static bool
take_place(struct control *control)
{
	bool free_place;

	(void)pthread_mutex_lock(&control->lock);
	free_place = control->clients < CONTROL_CLIENTS_MAX;
	if (free_place)
		control->clients++;
	(void)pthread_mutex_unlock(&control->lock);
	return free_place;
}

static void
accept_client(struct control *control)
{
	struct timeval limit = { .tv_sec = CONTROL_WAIT_S };
	int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
	struct client *client = fd < 0 ? NULL : calloc(1, sizeof *client);
	pthread_t thread;

	if (client == NULL || !take_place(control)) {
		if (fd >= 0)
			(void)close(fd);
		free(client);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	*client = (struct client){ .control = control, .fd = fd, .file = -1 };
	if (pthread_create(&thread, NULL, client_thread, client) == 0)
		(void)pthread_detach(thread);
	else {
		log_rare(LOG_LEVEL_ERROR, "control", "no thread for a command: %s", strerror(errno));
		(void)close(fd);
		free(client);
		(void)pthread_mutex_lock(&control->lock);
		control->clients--;
		(void)pthread_mutex_unlock(&control->lock);
	}
}

static void *
accept_thread(void *arg)
{
	struct control *control = arg;
	struct pollfd fds[2] = { { .fd = control->listener, .events = POLLIN }, { .fd = control->wake, .events = POLLIN } };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents != 0)
			return NULL;
		if (fds[0].revents != 0)
			accept_client(control);
	}
}

static int
set_access(const char *path, int mode, const char *group, struct err *e)
{
	struct group gr, *found = NULL;
	char space[4096];

	if (group[0] != '\0') {
		if (getgrnam_r(group, &gr, space, sizeof space, &found) != 0 || found == NULL)
			return err_set(e, ERR_UPSTREAM, "listen.control_group: there is no group \"%.60s\"", group);
		if (chown(path, (uid_t)-1, found->gr_gid) != 0)
			return err_set(e, ERR_UPSTREAM, "%s: cannot be given to group %.60s: %s", path, group,
				strerror(errno));
	}
	if (chmod(path, (mode_t)mode) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	return 0;
}

static int
listen_on(struct control *control, int mode, const char *group, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t old;
	int bound;

	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", control->path);
	if (lstat(control->path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_UPSTREAM, "%s is there and is not a socket", control->path);
	(void)unlink(control->path);
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control->listener < 0)
		return err_set(e, ERR_UPSTREAM, "control socket: %s", strerror(errno));
	old = umask(0177); /* nobody else in before the permissions are right */
	bound = bind(control->listener, (struct sockaddr *)&at, sizeof at);
	(void)umask(old);
	if (bound != 0 || set_access(control->path, mode, group, e) != 0)
		return bound == 0 ? -1 : err_set(e, ERR_UPSTREAM, "%s: %s", control->path, strerror(errno));
	if (listen(control->listener, 16) != 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", control->path, strerror(errno));
	return 0;
}

static void
control_free(struct control *control)
{
	if (control->listener >= 0)
		(void)close(control->listener);
	if (control->wake >= 0)
		(void)close(control->wake);
	(void)pthread_mutex_destroy(&control->lock);
	(void)pthread_cond_destroy(&control->idle);
	free(control);
}

DEFINE_CLEANUP(control, struct control *, control_free);

int
control_start(struct gateway *gateway, const char *path, int mode, const char *group, struct control **out,
	struct err *e)
{
	CLEANUP(control) struct control *control = calloc(1, sizeof *control);

	if (control == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the control socket");
	control->gateway = gateway;
	control->listener = -1;
	(void)pthread_mutex_init(&control->lock, NULL);
	(void)pthread_cond_init(&control->idle, NULL);
	control->wake = eventfd(0, EFD_CLOEXEC);
	if (strlen(path) >= sizeof control->path)
		return err_set(e, ERR_UPSTREAM, "%s: longer than a socket's path may be", path);
	(void)snprintf(control->path, sizeof control->path, "%s", path);
	if (control->wake < 0 || listen_on(control, mode, group, e) != 0)
		return control->wake < 0 ? err_set(e, ERR_UPSTREAM, "eventfd: %s", strerror(errno)) : -1;
	if (pthread_create(&control->thread, NULL, accept_thread, control) != 0)
		return err_set(e, ERR_NOMEM, "no thread for the control socket");
	*out = control;
	control = NULL;
	return 0;
}

void
control_stop(struct control *control)
{
	uint64_t one = 1;

	if (control == NULL)
		return;
	if (write(control->wake, &one, sizeof one) == (ssize_t)sizeof one)
		(void)pthread_join(control->thread, NULL);
	(void)pthread_mutex_lock(&control->lock);
	while (control->clients > 0)
		(void)pthread_cond_wait(&control->idle, &control->lock);
	(void)pthread_mutex_unlock(&control->lock);
	(void)unlink(control->path);
	control_free(control);
}
