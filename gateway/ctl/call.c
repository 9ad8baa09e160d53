#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/progress.h"
#include "gateway/ctl/ctl.h"

static int
connect_to(const char *path, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof at.sun_path)
		return err_set(e, ERR_UPSTREAM, "%s: longer than a socket's path may be", path);
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	(void)err_set(e, ERR_UPSTREAM,
		"%s: %s. Is enrolld running, and may you open its socket? --socket names another", path,
		strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* The line, and the file with its first octet. */
static int
send_request(int fd, const char *text, size_t len, int file)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (file >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &file, sizeof file);
	}
	while (len > 0) {
		iov = (struct iovec){ .iov_base = (void *)(size_t)text, .iov_len = len };
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (n <= 0)
			return -1;
		text += n;
		len -= (size_t)n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
	return 0;
}

struct answer {
	void (*row)(void *arg, const json_t *row);
	void *arg;
	struct progress progress;
	bool progressing;
	uint64_t done;
};

static void
show_progress(struct answer *answer, const json_t *p)
{
	answer->done = (uint64_t)json_integer_value(json_object_get(p, "done"));
	if (!answer->progressing)
		progress_begin(&answer->progress, stderr, false, "working",
			(uint64_t)json_integer_value(json_object_get(p, "total")));
	answer->progressing = true;
	progress_update(&answer->progress, answer->done);
}

/* 1: the last line was taken, 0: more to come. */
static int
take_line(struct answer *answer, const json_t *line, json_t **result, enum ctl_exit *status, struct err *e)
{
	const json_t *row = json_object_get(line, "row"), *error = json_object_get(line, "error");
	json_t *ok = json_object_get(line, "ok");
	const char *text = json_string_value(json_object_get(error, "text"));

	if (row != NULL && answer->row != NULL)
		answer->row(answer->arg, row);
	else if (json_object_get(line, "progress") != NULL)
		show_progress(answer, json_object_get(line, "progress"));
	if (ok == NULL && error == NULL)
		return 0;
	*status = ok != NULL ? CTL_OK : CTL_REFUSED;
	if (json_is_true(json_object_get(ok, "waits")))
		*status = CTL_WAITS;
	if (ok != NULL)
		*result = json_incref(ok);
	else
		(void)err_set(e, ERR_DENIED, "%s", text == NULL ? "refused" : text);
	return 1;
}

static enum ctl_exit
read_answer(FILE *in, struct answer *answer, json_t **result, struct err *e)
{
	enum ctl_exit status = CTL_UNREACHABLE;
	char *text = NULL;
	size_t cap = 0;
	int last = 0;

	(void)err_set(e, ERR_UPSTREAM, "the gateway closed the connection before it had answered");
	while (last == 0 && getline(&text, &cap, in) > 0) {
		json_t *line = json_loads(text, 0, NULL);

		last = take_line(answer, line, result, &status, e);
		json_decref(line);
	}
	free(text);
	if (answer->progressing)
		progress_end(&answer->progress, answer->done);
	return status;
}

enum ctl_exit
ctl_call(const char *socket_path, const char *wire, json_t *args, int file,
	void (*row)(void *arg, const json_t *row), void *arg, json_t **result, struct err *e)
{
	struct answer answer = { .row = row, .arg = arg };
	json_t *request = json_pack("{s:s, s:O}", "command", wire, "args", args);
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len = text == NULL ? 0 : strlen(text);
	int fd = connect_to(socket_path, e);
	enum ctl_exit status = CTL_UNREACHABLE;
	FILE *in;

	json_decref(request);
	if (fd >= 0 && text != NULL) {
		text[len] = '\n';
		in = fdopen(fd, "r");
		if (in != NULL && send_request(fd, text, len + 1, file) == 0)
			status = read_answer(in, &answer, result, e);
		else
			(void)err_set(e, ERR_UPSTREAM, "sending the request: %s", strerror(errno));
		if (in != NULL)
			(void)fclose(in);
	}
	free(text);
	return status;
}
