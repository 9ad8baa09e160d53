#include "scep/query.h"

#include "scep/internal.h"

static const char root[] = "/scep";

/* RFC 3986, section 2.3. */
static bool
is_unreserved(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		c == '.' || c == '_' || c == '~';
}

/* The next character of a label, percent-decoded; 0 when none belongs there. */
static uint8_t
label_octet(struct cursor *c)
{
	uint8_t octet = cursor_u8(c);
	struct err ignored;

	if (octet == '%' && hex_decode(cursor_take(c, 2), &octet, 1, &ignored) != 0)
		return 0;
	return is_unreserved(octet) ? octet : 0;
}

static bool
read_label(struct bytes segment, char out[SCEP_LABEL_MAX + 1])
{
	struct cursor c = cursor_of(segment);
	char label[SCEP_LABEL_MAX + 1];
	size_t n = 0, i;

	while (cursor_left(&c) > 0) {
		uint8_t octet = label_octet(&c);

		if (octet == 0 || n == SCEP_LABEL_MAX)
			return false;
		label[n++] = (char)octet;
	}
	label[n] = '\0';
	if (n == 0 || bytes_equal_text(bytes_of(label, n), ".") || bytes_equal_text(bytes_of(label, n), ".."))
		return false;
	for (i = 0; i <= n; i++)
		out[i] = label[i];
	return true;
}

static bool
ends_with(struct bytes path, struct bytes suffix)
{
	return suffix.len > 0 && suffix.len <= path.len &&
		scep_same_but_case(bytes_of(path.at + path.len - suffix.len, suffix.len), suffix);
}

/* The longest one, because a suffix may end in another: "/cgi-bin/pkiclient.exe" and "/pkiclient.exe". */
static size_t
suffix_length(struct bytes path, const char *const *suffixes, size_t count)
{
	size_t longest = 0, i;

	for (i = 0; i < count; i++) {
		struct bytes suffix = bytes_of_text(suffixes[i]);

		if (suffix.len > longest && ends_with(path, suffix))
			longest = suffix.len;
	}
	return longest;
}

int
scep_path_parse(struct bytes path, const char *const *suffixes, size_t suffix_count, char label[SCEP_LABEL_MAX + 1],
	struct err *e)
{
	size_t suffix = suffix_length(path, suffixes, suffix_count), head = sizeof root - 1;
	struct bytes rest = bytes_of(path.at, path.len - suffix);

	if (rest.len == 0 && suffix > 0) {
		label[0] = '\0';
		return 0;
	}
	if (rest.len < head || !bytes_equal_text(bytes_of(rest.at, head), root))
		return err_set(e, ERR_UNSUPPORTED, "the path does not start with %s", root);
	if (rest.len == head) {
		label[0] = '\0';
		return 0;
	}
	if (rest.at[head] != '/' || !read_label(bytes_of(rest.at + head + 1, rest.len - head - 1), label))
		return err_set(e, ERR_UNSUPPORTED, "the path holds no possible label");
	return 0;
}
