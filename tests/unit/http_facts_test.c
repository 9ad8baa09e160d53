#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gateway/http/facts.h"
#include "gateway/http/peers.h"

#define MANY 1000

static void
facts_are_found_by_their_handle_until_the_request_is_answered(void **state)
{
	struct conn_facts *facts = facts_new();
	const struct conn_facts *found;
	char handle[FACTS_HANDLE_SIZE];
	struct err e;

	(void)state;
	(void)snprintf(facts->peer, sizeof facts->peer, "192.0.2.7");
	assert_int_equal(facts_register(facts, handle, &e), 0);
	assert_int_equal(strlen(handle), FACTS_HANDLE_SIZE - 1);
	found = front_facts_get(handle);
	assert_ptr_equal(found, facts);
	facts_remove(handle);
	front_facts_put(facts);
	assert_null(front_facts_get(handle));
	/* The handler's reference outlives both. */
	assert_string_equal(found->peer, "192.0.2.7");
	front_facts_put(found);
	assert_int_equal(facts_count(), 0);
}

static void
facts_are_not_found_by_guesses(void **state)
{
	struct conn_facts *facts = facts_new();
	char handle[FACTS_HANDLE_SIZE], guess[FACTS_HANDLE_SIZE];
	struct err e;
	size_t i;

	(void)state;
	assert_int_equal(facts_register(facts, handle, &e), 0);
	for (i = 0; i < FACTS_HANDLE_SIZE - 1; i++) {
		memcpy(guess, handle, sizeof guess);
		guess[i] = guess[i] == '0' ? '1' : '0';
		assert_null(front_facts_get(guess));
		facts_remove(guess);
	}
	assert_null(front_facts_get(NULL));
	assert_null(front_facts_get(""));
	assert_null(front_facts_get("00000000000000000000000000000000ffffffff"));
	assert_null(front_facts_get("0000000000000000000000000000000000000000"));
	handle[FACTS_HANDLE_SIZE - 2] = '\0';
	assert_null(front_facts_get(handle));
	assert_int_equal(facts_count(), 1);
	front_facts_put(facts);
}

static void
facts_of_a_reused_slot_are_not_given_to_the_old_handle(void **state)
{
	struct conn_facts *first = facts_new(), *second = facts_new();
	char old[FACTS_HANDLE_SIZE], fresh[FACTS_HANDLE_SIZE];
	const struct conn_facts *found;
	struct err e;

	(void)state;
	assert_int_equal(facts_register(first, old, &e), 0);
	facts_remove(old);
	assert_int_equal(facts_register(second, fresh, &e), 0);
	assert_string_equal(old + 32, fresh + 32);
	assert_null(front_facts_get(old));
	facts_remove(old);
	found = front_facts_get(fresh);
	assert_ptr_equal(found, second);
	front_facts_put(found);
	facts_remove(fresh);
	front_facts_put(first);
	front_facts_put(second);
}

static void *
use_many(void *arg)
{
	static char handles[4][MANY][FACTS_HANDLE_SIZE];
	char(*mine)[FACTS_HANDLE_SIZE] = handles[*(const int *)arg];
	struct conn_facts *facts = facts_new();
	size_t i, failures = 0;
	struct err e;

	for (i = 0; i < MANY; i++)
		failures += facts_register(facts, mine[i], &e) != 0;
	for (i = 0; i < MANY; i++) {
		const struct conn_facts *found = front_facts_get(mine[i]);

		failures += found != facts;
		front_facts_put(found);
		facts_remove(mine[i]);
		failures += front_facts_get(mine[i]) != NULL;
	}
	front_facts_put(facts);
	return failures == 0 ? NULL : arg;
}

static void
facts_are_kept_apart_between_threads(void **state)
{
	static const int numbers[4] = { 0, 1, 2, 3 };
	pthread_t threads[4];
	size_t before = facts_count(), i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_many, (void *)(uintptr_t)&numbers[i]), 0);
	for (i = 0; i < 4; i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(facts_count(), before);
}

static struct sockaddr_storage
address_of(const char *text)
{
	struct sockaddr_storage out = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
		out.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
		out.ss_family = AF_INET6;
	in->sin_port = htons(8443);
	return out;
}

static uint64_t
key_of(const char *text)
{
	struct sockaddr_storage address = address_of(text);

	return peer_key_of(&address).address;
}

static void
peers_are_one_address_or_one_network_of_64_bits(void **state)
{
	(void)state;
	assert_true(key_of("192.0.2.1") != key_of("192.0.2.2"));
	assert_true(key_of("192.0.2.1") == key_of("::ffff:192.0.2.1"));
	assert_true(key_of("2001:db8::1") == key_of("2001:db8::ffff:0:0:1"));
	assert_true(key_of("2001:db8:0:1::1") != key_of("2001:db8::1"));
	assert_true(key_of("::1") != 0);
}

static void
peers_have_readable_names(void **state)
{
	struct sockaddr_storage four = address_of("::ffff:192.0.2.7"), six = address_of("2001:db8::7");
	char text[64];

	(void)state;
	peer_text(&four, false, text, sizeof text);
	assert_string_equal(text, "192.0.2.7");
	peer_text(&four, true, text, sizeof text);
	assert_string_equal(text, "192.0.2.7:8443");
	peer_text(&six, true, text, sizeof text);
	assert_string_equal(text, "[2001:db8::7]:8443");
}

static void
peers_are_counted_through_a_full_and_an_empty_table(void **state)
{
	struct peers *peers = NULL;
	struct err e;
	uint64_t i;

	(void)state;
	assert_int_equal(peers_new(MANY, &peers, &e), 0);
	for (i = 1; i <= MANY; i++) {
		assert_true(peers_enter(peers, (struct peer_key){ i }, 2));
		assert_true(i % 2 == 0 || peers_enter(peers, (struct peer_key){ i }, 2));
	}
	/* Every third goes, wherever its place was; the others keep their counts. */
	for (i = 3; i <= MANY; i += 3) {
		peers_leave(peers, (struct peer_key){ i });
		if (i % 2 == 1)
			peers_leave(peers, (struct peer_key){ i });
	}
	for (i = 1; i <= MANY; i++) {
		bool full = i % 3 != 0 && i % 2 == 1;

		assert_int_equal(peers_enter(peers, (struct peer_key){ i }, 2), !full);
	}
	peers_leave(peers, (struct peer_key){ MANY + 1 });
	peers_free(peers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts_are_found_by_their_handle_until_the_request_is_answered),
		cmocka_unit_test(facts_are_not_found_by_guesses),
		cmocka_unit_test(facts_of_a_reused_slot_are_not_given_to_the_old_handle),
		cmocka_unit_test(facts_are_kept_apart_between_threads),
		cmocka_unit_test(peers_are_one_address_or_one_network_of_64_bits),
		cmocka_unit_test(peers_have_readable_names),
		cmocka_unit_test(peers_are_counted_through_a_full_and_an_empty_table),
	};
	struct err e;

	if (ossl_init(&e) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
