#include "scep/internal.h"

/* RFC 5652, section 11. */
static const uint8_t content_type[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03 };
static const uint8_t message_digest[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04 };
/* RFC 8894, section 3.2.1: under 2.16.840.1.113733.1.9. */
static const uint8_t message_type[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x02 };
static const uint8_t status[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x03 };
static const uint8_t fail[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x04 };
static const uint8_t sender_nonce[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x05 };
static const uint8_t recipient_nonce[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x06 };
static const uint8_t transaction[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, 0x07 };
/* Section 6: id-scep-failInfoText, 1.3.6.1.5.5.7.24.1. */
static const uint8_t fail_text[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x18, 0x01 };

struct bytes
scep_attribute_oid(enum scep_attribute attribute)
{
	switch (attribute) {
	case SCEP_ATTRIBUTE_CONTENT_TYPE:
		return bytes_of(content_type, sizeof content_type);
	case SCEP_ATTRIBUTE_MESSAGE_DIGEST:
		return bytes_of(message_digest, sizeof message_digest);
	case SCEP_ATTRIBUTE_TRANSACTION:
		return bytes_of(transaction, sizeof transaction);
	case SCEP_ATTRIBUTE_MESSAGE_TYPE:
		return bytes_of(message_type, sizeof message_type);
	case SCEP_ATTRIBUTE_STATUS:
		return bytes_of(status, sizeof status);
	case SCEP_ATTRIBUTE_FAIL:
		return bytes_of(fail, sizeof fail);
	case SCEP_ATTRIBUTE_FAIL_TEXT:
		return bytes_of(fail_text, sizeof fail_text);
	case SCEP_ATTRIBUTE_SENDER_NONCE:
		return bytes_of(sender_nonce, sizeof sender_nonce);
	case SCEP_ATTRIBUTE_RECIPIENT_NONCE:
		return bytes_of(recipient_nonce, sizeof recipient_nonce);
	}
	return bytes_of(NULL, 0);
}
