/* The operators' socket: who may open it, and what becomes of the files passed along. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "gateway/http/control.h"

static struct control *control;
static char path[96];

static int
open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	return count;
}

static void
start(struct rig *r)
{
	struct err e = { 0 };

	(void)snprintf(path, sizeof path, "%s/control.sock", r->dir);
	if (control_start(&r->gateway, path, 0600, "", &control, &e) != 0)
		fail_msg("%s", e.text);
}

static int
connect_here(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof at.sun_path, "%.90s", path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

/* Some octets with this many descriptors of a file. */
static void
send_with(int fd, const char *text, int descriptors)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} space = { .space = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int files[4] = { -1, -1, -1, -1 }, i;

	for (i = 0; i < descriptors; i++)
		files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (descriptors > 0) {
		msg.msg_control = &space;
		msg.msg_controllen = CMSG_SPACE((size_t)descriptors * sizeof(int));
		space.header.cmsg_level = SOL_SOCKET;
		space.header.cmsg_type = SCM_RIGHTS;
		space.header.cmsg_len = CMSG_LEN((size_t)descriptors * sizeof(int));
		memcpy(CMSG_DATA(&space.header), files, (size_t)descriptors * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), strlen(text));
	for (i = 0; i < descriptors; i++)
		(void)close(files[i]);
}

/* Everything up to the end, as one text. */
static void
read_answer(int fd, char out[4096])
{
	size_t len = 0;
	ssize_t n;

	while (len < 4095 && (n = read(fd, out + len, 4095 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	(void)close(fd);
}

static void
a_command_is_answered_with_lines_of_json(void **state)
{
	char answer[4096];
	int fd;

	start(*state);
	fd = connect_here();
	send_with(fd, "{\"command\": \"owner ", 0);
	send_with(fd, "list\", \"args\": {}}\n", 0);
	read_answer(fd, answer);
	assert_non_null(strstr(answer, "{\"row\":{\"name\":\"Fleet\""));
	assert_non_null(strstr(answer, "\n{\"ok\":{}}\n"));
	control_stop(control);
	assert_int_equal(access(path, F_OK), -1);
}

static void
only_the_owner_may_open_the_socket(void **state)
{
	struct stat st;

	start(*state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	control_stop(control);
}

static void
a_file_that_is_not_a_socket_is_left_alone(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	assert_int_equal(control_start(&r->gateway, r->conf, 0600, "", &control, &e), -1);
	assert_non_null(strstr(e.text, "not a socket"));
	assert_int_equal(access(r->conf, F_OK), 0);
}

/* Descriptors that nobody closes would starve the gateway's connections. */
static void
files_that_are_not_wanted_are_closed(void **state)
{
	char answer[4096];
	int before, fd, count;

	start(*state);
	control_stop(control);
	before = open_descriptors();
	start(*state);
	for (count = 0; count <= 4; count++) {
		fd = connect_here();
		send_with(fd, "{\"command\": \"nothing\"", count);
		send_with(fd, "}\n", count);
		read_answer(fd, answer);
		assert_non_null(strstr(answer, "{\"error\":{\"code\":\"unsupported\""));
	}
	control_stop(control); /* waits for the commands under way */
	assert_int_equal(open_descriptors(), before);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_command_is_answered_with_lines_of_json),
		test(only_the_owner_may_open_the_socket),
		test(a_file_that_is_not_a_socket_is_left_alone),
		test(files_that_are_not_wanted_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
