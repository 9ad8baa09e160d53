#include "gateway/ca/tbs.h"

#define PATH_LEN_MAX 100

DEFINE_CLEANUP(BASIC_CONSTRAINTS, BASIC_CONSTRAINTS *, BASIC_CONSTRAINTS_free);
DEFINE_CLEANUP(ASN1_BIT_STRING, ASN1_BIT_STRING *, ASN1_BIT_STRING_free);
DEFINE_CLEANUP(ASN1_OCTET_STRING, ASN1_OCTET_STRING *, ASN1_OCTET_STRING_free);
DEFINE_CLEANUP(AUTHORITY_KEYID, AUTHORITY_KEYID *, AUTHORITY_KEYID_free);

static int
put_name(X509_NAME *name, int nid, const char *value, struct err *e)
{
	if (value == NULL || value[0] == '\0')
		return 0;
	if (X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const uint8_t *)value, -1, -1, 0) != 1)
		return err_ossl(e, ERR_MALFORMED, OBJ_nid2sn(nid));
	return 0;
}

static int
put_serial(X509 *cert, int64_t made_s, struct err *e)
{
	uint8_t octets[CA_SERIAL_OCTETS];

	if (tbs_serial(made_s, octets, e) != 0)
		return -1;
	if (ASN1_STRING_set(X509_get_serialNumber(cert), octets, sizeof octets) != 1)
		return err_ossl(e, ERR_NOMEM, "serial number");
	return 0;
}

static int
put_extension(X509 *cert, int nid, void *value, int critical, struct err *e)
{
	if (X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_DEFAULT) != 1)
		return err_ossl(e, ERR_NOMEM, OBJ_nid2sn(nid));
	return 0;
}

static int
put_basic_constraints(X509 *cert, int path_len, struct err *e)
{
	CLEANUP(BASIC_CONSTRAINTS) BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();

	if (basic == NULL)
		return err_set(e, ERR_NOMEM, "basicConstraints: no memory");
	basic->ca = 0xff;
	if (path_len >= 0) {
		basic->pathlen = ASN1_INTEGER_new();
		if (basic->pathlen == NULL || ASN1_INTEGER_set(basic->pathlen, path_len) != 1)
			return err_set(e, ERR_NOMEM, "basicConstraints: no memory");
	}
	return put_extension(cert, NID_basic_constraints, basic, 1, e);
}

static int
put_key_usage(X509 *cert, struct err *e)
{
	CLEANUP(ASN1_BIT_STRING) ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

	/* keyCertSign and cRLSign */
	if (bits == NULL || ASN1_BIT_STRING_set_bit(bits, 5, 1) != 1 || ASN1_BIT_STRING_set_bit(bits, 6, 1) != 1)
		return err_set(e, ERR_NOMEM, "keyUsage: no memory");
	return put_extension(cert, NID_key_usage, bits, 1, e);
}

static int
put_key_ids(X509 *cert, X509 *issuer, struct err *e)
{
	CLEANUP(ASN1_OCTET_STRING) ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
	CLEANUP(AUTHORITY_KEYID) AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(cert);
	const ASN1_OCTET_STRING *above;
	uint8_t id[CA_KEY_ID_OCTETS];

	if (own == NULL || authority == NULL || key == NULL)
		return err_set(e, ERR_NOMEM, "key identifiers: no memory");
	if (tbs_key_id(bytes_of(ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key)), id, e) != 0)
		return -1;
	if (ASN1_OCTET_STRING_set(own, id, sizeof id) != 1)
		return err_set(e, ERR_NOMEM, "key identifiers: no memory");
	above = issuer == NULL ? own : X509_get0_subject_key_id(issuer);
	if (above == NULL)
		return err_set(e, ERR_MALFORMED, "the issuer has no subjectKeyIdentifier");
	authority->keyid = ASN1_OCTET_STRING_dup(above);
	if (authority->keyid == NULL)
		return err_set(e, ERR_NOMEM, "key identifiers: no memory");
	if (put_extension(cert, NID_subject_key_identifier, own, 0, e) != 0)
		return -1;
	return put_extension(cert, NID_authority_key_identifier, authority, 0, e);
}

static int
check(const struct ca_make *make, struct err *e)
{
	if (make->common_name == NULL || make->common_name[0] == '\0')
		return err_set(e, ERR_MALFORMED, "a CA certificate needs a common name");
	if (make->not_after_s <= make->not_before_s)
		return err_set(e, ERR_MALFORMED, "the validity ends before it begins");
	if (make->path_len < -1 || make->path_len > PATH_LEN_MAX)
		return err_set(e, ERR_MALFORMED, "path length %d", make->path_len);
	if (make->issuer == NULL)
		return 0;
	if (X509_check_ca(make->issuer) != 1)
		return err_set(e, ERR_MALFORMED, "the issuer is not a CA");
	if (make->issuer_key == NULL || X509_check_private_key(make->issuer, make->issuer_key) != 1)
		return err_ossl(e, ERR_MALFORMED, "the issuer's key is not its certificate's");
	return 0;
}

static int
fill(X509 *cert, const struct ca_make *make, struct err *e)
{
	X509_NAME *name = X509_get_subject_name(cert);

	if (X509_set_version(cert, X509_VERSION_3) != 1 || X509_set_pubkey(cert, make->key) != 1 ||
	    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)make->not_before_s) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)make->not_after_s) == NULL)
		return err_ossl(e, ERR_MALFORMED, "CA certificate");
	if (put_serial(cert, make->not_before_s, e) != 0 || put_name(name, NID_organizationName, make->organisation, e) != 0 ||
	    put_name(name, NID_commonName, make->common_name, e) != 0)
		return -1;
	if (X509_set_issuer_name(cert, make->issuer == NULL ? name : X509_get_subject_name(make->issuer)) != 1)
		return err_ossl(e, ERR_NOMEM, "issuer name");
	if (put_basic_constraints(cert, make->path_len, e) != 0 || put_key_usage(cert, e) != 0)
		return -1;
	return put_key_ids(cert, make->issuer, e);
}

int
ca_make_certificate(const struct ca_make *make, X509 **out, struct err *e)
{
	EVP_PKEY *signer = make->issuer == NULL ? make->key : make->issuer_key;
	CLEANUP(X509) X509 *cert = X509_new();
	struct key_facts facts;

	if (cert == NULL)
		return err_set(e, ERR_NOMEM, "CA certificate: no memory");
	if (check(make, e) != 0 || fill(cert, make, e) != 0)
		return -1;
	key_facts_of(signer, &facts);
	if (X509_sign(cert, signer, facts.kind == KEY_EC_P384 ? ossl_sha384() :
	    facts.kind == KEY_ED25519 ? NULL : ossl_sha256()) <= 0)
		return err_ossl(e, ERR_BUG, "signing a CA certificate");
	*out = cert;
	cert = NULL;
	return 0;
}
