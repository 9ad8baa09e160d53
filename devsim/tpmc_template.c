/*
 * What keys are made from.
 */
#include <string.h>

#include <tss2/tss2_mu.h>

#include "devsim/tpmc_internal.h"

/*
 * TCG EK Credential Profile for TPM 2.0, annex B.3: PolicySecret of the endorsement hierarchy, by
 * SHA-256, is what the use of an endorsement key needs.
 */
static const uint8_t policy_a_sha256[32] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

#define ATTRIBUTES_EK (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | \
	TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)
#define ATTRIBUTES_KEY (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | \
	TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT)

/* Template L-1, or L-2 for ECC: their unique fields are of zero octets, as long as the key's numbers. */
TPM2B_PUBLIC
tpmc_template_ek(enum tpmc_ek kind)
{
	static const TPMT_SYM_DEF_OBJECT aes = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB };
	TPM2B_PUBLIC t = { .publicArea = { .nameAlg = TPM2_ALG_SHA256, .objectAttributes = ATTRIBUTES_EK } };

	t.publicArea.authPolicy.size = sizeof policy_a_sha256;
	memcpy(t.publicArea.authPolicy.buffer, policy_a_sha256, sizeof policy_a_sha256);
	if (kind == TPMC_EK_RSA) {
		t.publicArea.type = TPM2_ALG_RSA;
		t.publicArea.parameters.rsaDetail.symmetric = aes;
		t.publicArea.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
		t.publicArea.parameters.rsaDetail.keyBits = 2048;
		t.publicArea.unique.rsa.size = 256;
		return t;
	}
	t.publicArea.type = TPM2_ALG_ECC;
	t.publicArea.parameters.eccDetail.symmetric = aes;
	t.publicArea.parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
	t.publicArea.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	t.publicArea.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
	t.publicArea.unique.ecc.x.size = 32;
	t.publicArea.unique.ecc.y.size = 32;
	return t;
}

static TPM2B_PUBLIC
template_signer(TPMA_OBJECT attributes)
{
	TPM2B_PUBLIC t = { .publicArea = { .type = TPM2_ALG_ECC, .nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = attributes } };

	t.publicArea.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
	t.publicArea.parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
	t.publicArea.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	t.publicArea.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
	return t;
}

TPM2B_PUBLIC
tpmc_template_ak(void)
{
	TPM2B_PUBLIC t = template_signer(ATTRIBUTES_KEY | TPMA_OBJECT_RESTRICTED);

	/* A restricted key has to say how it signs. */
	t.publicArea.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
	t.publicArea.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
	return t;
}

bool
tpmc_template_is_key(const TPM2B_PUBLIC *template)
{
	return template->publicArea.type == TPM2_ALG_ECC && template->publicArea.nameAlg == TPM2_ALG_SHA256 &&
		template->publicArea.objectAttributes == ATTRIBUTES_KEY &&
		template->publicArea.parameters.eccDetail.curveID == TPM2_ECC_NIST_P256;
}

int
tpmc_template_read(struct bytes octets, TPM2B_PUBLIC *out, struct err *e)
{
	TPM2B_PUBLIC template = { 0 };
	size_t offset = 0;

	if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(octets.at, octets.len, &offset, &template) != TSS2_RC_SUCCESS ||
	    offset != octets.len || !tpmc_template_is_key(&template))
		return err_set(e, ERR_MALFORMED, "not the template of a signing key");
	*out = template;
	return 0;
}

int
tpmc_key_template(struct buf *out, struct err *e)
{
	TPM2B_PUBLIC t = template_signer(ATTRIBUTES_KEY);
	TPMS_ECC_POINT *unique = &t.publicArea.unique.ecc;
	uint8_t octets[sizeof t];
	size_t len = 0;

	/* A primary key is a function of the hierarchy's seed and the template: with this, of this template alone. */
	unique->x.size = 32;
	unique->y.size = 32;
	if (random_octets(unique->x.buffer, 32, e) != 0 || random_octets(unique->y.buffer, 32, e) != 0)
		return -1;
	if (Tss2_MU_TPM2B_PUBLIC_Marshal(&t, octets, sizeof octets, &len) != TSS2_RC_SUCCESS)
		return err_set(e, ERR_BUG, "template of a signing key");
	buf_append(out, octets, len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a template") : 0;
}
