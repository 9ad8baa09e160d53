#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "devsim/url.h"

static void
assert_url(const char *text, const char *host, const char *port, const char *base, bool is_ip)
{
	struct err e = { 0 };
	struct url url;

	assert_int_equal(url_parse(text, &url, &e), 0);
	assert_string_equal(url.host, host);
	assert_string_equal(url.port, port);
	assert_string_equal(url.base, base);
	assert_int_equal(url.is_ip, is_ip);
}

static void
url_of_coap_has_a_scheme_and_a_port_of_its_own(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct url url;
	struct err e;

	(void)state;
	assert_int_equal(url_kind_est("coaps://gateway.example"), URL_COAP);
	assert_int_equal(url_kind_est("COAPS://gateway.example"), URL_COAP);
	assert_int_equal(url_kind_est("https://gateway.example"), URL_EST);
	assert_int_equal(url_parse_as(URL_COAP, "coaps://gateway.example/est/", &url, &e), 0);
	assert_true(url.coap);
	assert_false(url.plain);
	assert_string_equal(url.port, "5684");
	assert_string_equal(url.base, "/est");
	url_authority(&url, &out);
	assert_string_equal(buf_text(&out), "gateway.example");
	assert_int_equal(url_parse_as(URL_COAP, "coaps://[::1]:61616", &url, &e), 0);
	assert_string_equal(url.port, "61616");
	assert_string_equal(url.base, URL_EST_BASE);
	assert_int_equal(url_parse_as(URL_COAP, "https://gateway.example", &url, &e), -1);
	assert_int_equal(url_parse_as(URL_COAP, "coap://gateway.example", &url, &e), -1);
	assert_int_equal(url_parse_as(URL_EST, "coaps://gateway.example", &url, &e), -1);
	assert_int_equal(url_parse_as(URL_SCEP, "coaps://gateway.example", &url, &e), -1);
}

static void
url_has_defaults_for_port_and_path(void **state)
{
	(void)state;
	assert_url("https://est.example", "est.example", "443", "/.well-known/est", false);
	assert_url("https://est.example/", "est.example", "443", "/.well-known/est", false);
	assert_url("HTTPS://est.example:8443/ra/", "est.example", "8443", "/ra", false);
}

static void
url_takes_addresses(void **state)
{
	(void)state;
	assert_url("https://127.0.0.1:8443", "127.0.0.1", "8443", "/.well-known/est", true);
	assert_url("https://[::1]:8443/.well-known/est", "::1", "8443", "/.well-known/est", true);
	assert_url("https://[2001:db8::1]", "2001:db8::1", "443", "/.well-known/est", true);
}

static void
url_refuses_what_it_does_not_understand(void **state)
{
	static const char *const bad[] = { "http://x", "x", "", "https://", "https://:8443", "https:///path",
		"https://user@host", "https://host:0", "https://host:65536", "https://host:80a", "https://host:",
		"https://[::1", "https://[::1]x:1", "https://::1:8443", "https://h/p?q=1", "https://h/p#f", "https://h h",
		"https://host:123456" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct url url = { .host = "untouched" };
		struct err e = { 0 };

		assert_int_equal(url_parse(bad[i], &url, &e), -1);
		assert_string_equal(url.host, "untouched");
	}
}

static void
url_of_scep_may_be_plain(void **state)
{
	static const struct {
		const char *text, *port, *base, *authority;
		bool plain;
	} urls[] = {
		{ "http://ca.example", "80", "/scep", "ca.example", true },
		{ "HTTP://ca.example:8080/cgi-bin/pkiclient.exe", "8080", "/cgi-bin/pkiclient.exe", "ca.example:8080", true },
		{ "http://ca.example:443", "443", "/scep", "ca.example:443", true },
		{ "https://ca.example/", "443", "/scep", "ca.example", false },
		{ "https://ca.example:80/x", "80", "/x", "ca.example:80", false },
	};
	struct url url = { .host = "untouched" };
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		CLEANUP(buf) struct buf out = { 0 };

		assert_int_equal(url_parse_as(URL_SCEP, urls[i].text, &url, &e), 0);
		assert_string_equal(url.host, "ca.example");
		assert_string_equal(url.port, urls[i].port);
		assert_string_equal(url.base, urls[i].base);
		assert_int_equal(url.plain, urls[i].plain);
		url_authority(&url, &out);
		assert_string_equal(buf_text(&out), urls[i].authority);
	}
	assert_int_equal(url_parse_as(URL_SCEP, "ftp://ca.example", &url, &e), -1);
	assert_int_equal(url_parse_as(URL_SCEP, "http://ca.example/?operation=x", &url, &e), -1);
	assert_int_equal(url_parse_as(URL_EST, "http://ca.example", &url, &e), -1);
}

static void
url_writes_paths_and_hosts(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };
	struct url url;

	(void)state;
	assert_int_equal(url_parse("https://[::1]:8443", &url, &e), 0);
	url_authority(&url, &out);
	buf_append_u8(&out, ' ');
	url_path(&url, "iot", "simpleenroll", &out);
	buf_append_u8(&out, ' ');
	url_path(&url, "", "cacerts", &out);
	assert_string_equal(buf_text(&out),
		"[::1]:8443 /.well-known/est/iot/simpleenroll /.well-known/est/cacerts");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(url_of_coap_has_a_scheme_and_a_port_of_its_own),
		cmocka_unit_test(url_has_defaults_for_port_and_path),
		cmocka_unit_test(url_takes_addresses),
		cmocka_unit_test(url_refuses_what_it_does_not_understand),
		cmocka_unit_test(url_of_scep_may_be_plain),
		cmocka_unit_test(url_writes_paths_and_hosts),
	};

	return cmocka_run_group_tests_name("devsim/url", tests, NULL, NULL);
}
