#include "scep/scep.h"

const char *
scep_type_name(enum scep_type type)
{
	switch (type) {
	case SCEP_CERT_REP:
		return "CertRep";
	case SCEP_RENEWAL_REQ:
		return "RenewalReq";
	case SCEP_PKCS_REQ:
		return "PKCSReq";
	case SCEP_CERT_POLL:
		return "CertPoll";
	case SCEP_GET_CERT:
		return "GetCert";
	case SCEP_GET_CRL:
		return "GetCRL";
	}
	return "unknown";
}

const char *
scep_fail_name(enum scep_fail fail)
{
	switch (fail) {
	case SCEP_BAD_ALG:
		return "badAlg";
	case SCEP_BAD_MESSAGE_CHECK:
		return "badMessageCheck";
	case SCEP_BAD_REQUEST:
		return "badRequest";
	case SCEP_BAD_TIME:
		return "badTime";
	case SCEP_BAD_CERT_ID:
		return "badCertId";
	}
	return "unknown";
}

const char *
scep_algorithm_name(unsigned algorithm)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{ SCEP_MD5, "MD5" },
		{ SCEP_SHA1, "SHA-1" },
		{ SCEP_SHA256, "SHA-256" },
		{ SCEP_SHA384, "SHA-384" },
		{ SCEP_SHA512, "SHA-512" },
		{ SCEP_DES, "DES" },
		{ SCEP_3DES, "DES3" },
		{ SCEP_AES128, "AES-128" },
		{ SCEP_AES192, "AES-192" },
		{ SCEP_AES256, "AES-256" },
	};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].bit == algorithm)
			return names[i].name;
	return "unknown";
}
