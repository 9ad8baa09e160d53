/*
 * The rows of what decides: registry, policy, attesters, rules.
 */
#include "gateway/core/config_table_rows.h"
#include "policy/decide.h"

#define RULE_LIST_AT(field) TEXTS_AT(policy_rule, field)

static const char *const clone_choices[] = { "quarantine", "alert", "off", NULL };
_Static_assert(CLONE_QUARANTINE == 0 && CLONE_ALERT == 1 && CLONE_OFF == 2, "clone_choices");
static const char *const otherwise_choices[] = { "deny", "allow", NULL };
static const char *const method_choices[] = { "idevid", "tpm", "android", "yubikey", "ear", "mdm", NULL };
_Static_assert(ATTEST_IDEVID == 0 && ATTEST_TPM == 1 && ATTEST_ANDROID == 2 && ATTEST_YUBIKEY == 3 && ATTEST_EAR == 4 &&
		ATTEST_MDM == 5 && ATTEST_METHODS == 6, "method_choices");
static const char *const level_choices[] = { "software", "tee", "strongbox", NULL };
static const char *const pin_choices[] = { "any", "never", "once", "always", NULL };
static const char *const touch_choices[] = { "any", "never", "always", "cached", NULL };
static const char *const worst_choices[] = { "affirming", "warning", NULL };
static const char *const action_choices[] = { "require", "prefer", "approve", "allow", "deny", NULL };
_Static_assert(RULE_REQUIRE == 0 && RULE_PREFER == 1 && RULE_APPROVE == 2 && RULE_ALLOW == 3 && RULE_DENY == 4,
	"action_choices");
/* Bit n is (1 << n) of the enumeration. */
static const char *const protocol_choices[] = { "est", "scep", "coap", NULL };
_Static_assert(RULE_EST == 0 && RULE_SCEP == 1 && RULE_COAP == 2, "protocol_choices");
static const char *const operation_choices[] = { "enroll", "renew", "keygen", NULL };
_Static_assert(POLICY_ENROLL == 0 && POLICY_RENEW == 1 && POLICY_KEYGEN == 2, "operation_choices");
static const char *const proof_choices[] = { "none", "certificate", "secret", "own", "registrar", "mdm", NULL };
_Static_assert(PROOF_CERTIFICATE == 1 && PROOF_SECRET == 2 && PROOF_OWN == 3 && PROOF_REGISTRAR == 4 && PROOF_MDM == 5,
	"proof_choices");
static const char *const owner_kind_choices[] = { "internal", "partner", "customer", NULL };
_Static_assert(OWNER_INTERNAL == 0 && OWNER_PARTNER == 1 && OWNER_CUSTOMER == 2, "owner_kind_choices");
static const char *const holding_choices[] = { "corporate", "personal", "leased", NULL };
_Static_assert(HOLDING_CORPORATE == 0 && HOLDING_PERSONAL == 1 && HOLDING_LEASED == 2, "holding_choices");

const struct config_row config_registry_rows[REGISTRY_ROWS] = {
	{ "clone_keys", TYPE_CHOICE, AT(config, clone_keys), "\"quarantine\"", 0, 0, clone_choices,
		"A manufacturer's certificate for a known device comes with another key than before: two devices claim one "
		"identity. \"quarantine\" refuses the request and puts the asset into quarantine, \"alert\" tells and goes "
		"on, \"off\" does not look. A device that came back from repair with another board needs "
		"\"enrollctl asset forget-key\" first." },
	{ "clone_places", TYPE_CHOICE, AT(config, clone_places), "\"alert\"", 0, 0, clone_choices,
		"One asset is seen in two networks by turns (A, B, A again, within clone_window): IPv4 networks of 24 bits, "
		"IPv6 networks of 48. Sites with two uplinks look like that too, so the default tells and goes on; where "
		"devices stay in one place, set \"quarantine\"." },
	{ "clone_window", TYPE_DURATION, AT(config, clone_window_s), "\"60s\"", SECONDS(1), DAYS(1), NULL,
		"How close together these three sightings are." },
	{ "transfer_life", TYPE_DURATION, AT(config, transfer_life_s), "\"14d\"", MINUTES(1), DAYS(365), NULL,
		"How long the offer of an asset to another owner stands, unless it says otherwise." },
	{ "approval_life", TYPE_DURATION, AT(config, approval_life_s), "\"7d\"", MINUTES(1), DAYS(365), NULL,
		"How long an approval by a second operator may take, and how long evidence that was judged good holds for a "
		"request that waits." },
	{ "import_large", TYPE_LONG, AT(config, import_large), "10000", 0, 1000000000, NULL,
		"An import of more records than this, or one that gives any known asset another owner, waits for a second "
		"operator. 0 is for never." },
	{ "offboard_grace", TYPE_DURATION, AT(config, offboard_grace_s), "\"30d\"", 0, DAYS(3650), NULL,
		"How long the devices of an owner who leaves may still renew, unless the command says otherwise; then their "
		"certificates are revoked." },
	{ "offboard_lifetime", TYPE_DURATION, AT(config, offboard_lifetime_s), "\"30d\"", MINUTES(1), DAYS(3650), NULL,
		"Certificates renewed in that time live no longer than this, nor past its end." },
};

const struct config_row config_policy_rows[POLICY_ROWS] = {
	{ "otherwise", TYPE_SWITCH, AT(config, policy_otherwise_allow), "\"deny\"", 0, 0, otherwise_choices,
		"What becomes of a request that no rule has allowed or denied. Without any rule there is nothing to allow "
		"or deny." },
	{ "nonce_life", TYPE_DURATION, AT(config, nonce_life_s), "\"5m\"", SECONDS(1), DAYS(1), NULL,
		"How long a number that evidence has to carry is good for, from when /nonce gave it. Each is good for one "
		"request." },
};

const struct config_row config_attester_rows[ATTESTER_ROWS] = {
	{ "name", TYPE_NAME, AT(config_attester, name), NULL, 0, 0, NULL,
		"What rules and identity rules call it. It is also the issuer in the anchors its evidence gives "
		"(\"ek_pub_sha256:NAME:value\"). Of method idevid it is the name of a trust set, of method mdm that of one of "
		"mdms; of the others it is the name of neither." },
	{ "method", TYPE_CHOICE, AT(config_attester, method), NULL, 0, 0, method_choices,
		"\"idevid\": the request came by a certificate of that trust set. \"mdm\": that service vouched for it. "
		"In the request: \"tpm\" is a key certified by a TPM 2.0, \"android\" Android key attestation, \"yubikey\" "
		"YubiKey PIV attestation, \"ear\" anything an external verifier judges." },
	{ "roots", TYPE_PATHS, TEXTS_AT(config_attester, roots), "[]", 0, CONFIG_LIST_MAX, NULL,
		"PEM files with the roots its evidence leads to. For android and yubikey, and for tpm with "
		"ak_by_certificate." },
	{ "identity_required", TYPE_BOOL, AT(config_attester, identity_required), "true", 0, 0, NULL,
		"Evidence counts only when it names the device by one of the asset's anchors. false takes evidence of any "
		"good device, which the asset's owner could borrow from another." },
	{ "ak_by_certificate", TYPE_BOOL, AT(config_attester, ak_by_certificate), "false", 0, 0, NULL,
		"For tpm: attestation keys with a certificate that leads to roots count." },
	{ "ak_by_binding", TYPE_BOOL, AT(config_attester, ak_by_binding), "true", 0, 0, NULL,
		"For tpm: attestation keys that were bound to the TPM's endorsement key here, by /tpm-bind, count." },
	{ "ak_life", TYPE_DURATION, AT(config_attester, ak_life_s), "\"365d\"", MINUTES(1), DAYS(36500), NULL,
		"For tpm: how long such a binding holds." },
	{ "ek_roots", TYPE_PATHS, TEXTS_AT(config_attester, ek_roots), "[]", 0, CONFIG_LIST_MAX, NULL,
		"For tpm: PEM files with TPM manufacturers' roots and intermediates; then an endorsement key needs a "
		"certificate that leads there. Without any, it is enough that the registry knows the key." },
	{ "android_level", TYPE_CHOICE, AT(config_attester, android_level), "\"tee\"", 0, 0, level_choices,
		"For android: the least security level of both the attestation and the key." },
	{ "android_locked", TYPE_BOOL, AT(config_attester, android_locked), "true", 0, 0, NULL,
		"For android: the bootloader is locked and the boot was verified." },
	{ "android_os", TYPE_LONG, AT(config_attester, android_os_min), "0", 0, 99999999, NULL,
		"For android: the least system version, as in 140000 for 14. 0 is any." },
	{ "android_patch", TYPE_LONG, AT(config_attester, android_patch_min), "0", 0, 999999, NULL,
		"For android: the least patch level, as in 202611 for November 2026. 0 is any." },
	{ "yubikey_pin", TYPE_CHOICE, AT(config_attester, yubikey_pin), "\"any\"", 0, 0, pin_choices,
		"For yubikey: how often the key asks for its PIN, at least." },
	{ "yubikey_touch", TYPE_CHOICE, AT(config_attester, yubikey_touch), "\"any\"", 0, 0, touch_choices,
		"For yubikey: how often the key wants to be touched, at least." },
	{ "yubikey_firmware", TYPE_TEXT, AT(config_attester, yubikey_firmware), "\"\"", 0, 0, NULL,
		"For yubikey: the least firmware version, as in \"5.7.0\". \"\" is any." },
	{ "url", TYPE_TEXT, AT(config_attester, url), "\"\"", 0, 0, NULL,
		"For ear: the verifier's challenge-response service, by https." },
	{ "ca", TYPE_PATH, AT(config_attester, ca), "\"\"", 0, 0, NULL,
		"For ear: PEM file with the CAs the service's certificate may come from; no others count." },
	{ "secret_file", TYPE_SECRET, AT(config_attester, secret_file), "\"\"", 0, 0, NULL,
		"For ear: where the bearer token is, one line, named as the key of tls. \"\" is for a service that wants none." },
	{ "keys", TYPE_PATHS, TEXTS_AT(config_attester, keys), "[]", 0, EAR_KEYS_MAX, NULL,
		"For ear: PEM files with the public keys, or certificates, that sign its results." },
	{ "statement_type", TYPE_TEXT, AT(config_attester, statement_type), "\"\"", 0, 0, NULL,
		"For ear: the object identifier of the statements that are sent there, dotted. Such a statement is a "
		"SEQUENCE of two OCTET STRINGs: the nonce, and the evidence." },
	{ "media_type", TYPE_TEXT, AT(config_attester, media_type), "\"\"", 0, 0, NULL,
		"For ear: what the service calls this evidence, as in \"application/psa-attestation-token\"." },
	{ "worst", TYPE_CHOICE, AT(config_attester, ear_worst), "\"affirming\"", 0, 0, worst_choices,
		"For ear: the worst status that is taken." },
	{ "submods", TYPE_TEXTS, TEXTS_AT(config_attester, submods), "[]", 0, EAR_SUBMODS_MAX, NULL,
		"For ear: the parts of the device that must be in the result. None: every part that is there must be good." },
	{ "issuer", TYPE_TEXT, AT(config_attester, issuer), "\"\"", 0, 0, NULL,
		"For ear: who the result says it is by. \"\" is anybody with one of the keys." },
	{ "identity_claim", TYPE_TEXT, AT(config_attester, identity_claim), "\"\"", 0, 0, NULL,
		"For ear: the claim that names the device, its parts separated by dots." },
	{ "identity_anchor", TYPE_ANCHOR, AT(config_attester, identity_anchor), "\"idevid_serial\"", 0, 0, NULL,
		"For ear: the type of anchor that claim is looked up as." },
	{ "deadline", TYPE_DURATION, AT(config_attester, deadline_s), "\"5s\"", SECONDS(1), SECONDS(60), NULL,
		"For ear: how long one question may take in all. A worker waits for the answer; without one the device may "
		"ask again." },
};

const struct config_row config_rule_rows[RULE_ROWS] = {
	{ "name", TYPE_NAME, AT(policy_rule, name), NULL, 0, 0, NULL,
		"What decisions and messages call it." },
	{ "action", TYPE_CHOICE, AT(policy_rule, action), NULL, 0, 0, action_choices,
		"\"require\" demands evidence of one of attesters, \"prefer\" asks for it and judges it when it comes, "
		"\"approve\" has an operator approve the request, \"allow\" and \"deny\" are the last word." },
	{ "labels", TYPE_TEXTS, RULE_LIST_AT(labels), "[]", 0, RULE_LIST_MAX, NULL,
		"Labels, by name. In these texts \"*\" stands for any octets and \"?\" for one, and case does not matter." },
	{ "protocols", TYPE_FLAGS, AT(policy_rule, protocols), "[]", 0, 3, protocol_choices,
		"Which protocols it came by." },
	{ "operations", TYPE_FLAGS, AT(policy_rule, operations), "[]", 0, 3, operation_choices,
		"What is asked for: a first certificate, one in the place of another, one with a key made here." },
	{ "proofs", TYPE_FLAGS, AT(policy_rule, proofs), "[]", 0, 6, proof_choices,
		"How who asks has proven itself, in the words of a label's auth." },
	{ "owners", TYPE_TEXTS, RULE_LIST_AT(owners), "[]", 0, RULE_LIST_MAX, NULL,
		"The asset's owner, by name." },
	{ "owner_kinds", TYPE_FLAGS, AT(policy_rule, owner_kinds), "[]", 0, 3, owner_kind_choices,
		"What kind of owner the asset has." },
	{ "holdings", TYPE_FLAGS, AT(policy_rule, holdings), "[]", 0, 3, holding_choices,
		"Whose the device is." },
	{ "manufacturers", TYPE_TEXTS, RULE_LIST_AT(manufacturers), "[]", 0, RULE_LIST_MAX, NULL,
		"The asset's manufacturer." },
	{ "models", TYPE_TEXTS, RULE_LIST_AT(models), "[]", 0, RULE_LIST_MAX, NULL,
		"The asset's model." },
	{ "classes", TYPE_TEXTS, RULE_LIST_AT(classes), "[]", 0, RULE_LIST_MAX, NULL,
		"The asset's class." },
	{ "sites", TYPE_TEXTS, RULE_LIST_AT(sites), "[]", 0, RULE_LIST_MAX, NULL,
		"The asset's site." },
	{ "tiers", TYPE_NUMBERS, AT(policy_rule, tiers), "[]", 0, 3, NULL,
		"The asset's risk tier." },
	{ "addresses", TYPE_TEXTS, RULE_LIST_AT(addresses), "[]", 0, RULE_LIST_MAX, NULL,
		"Where the request comes from: addresses and networks, as in \"10.1.0.0/16\"." },
	{ "time", TYPE_TEXT, AT(policy_rule, time), "\"\"", 0, 0, NULL,
		"When, in UTC: \"Mon-Fri 08:00-18:00\", \"Sat,Sun\", \"22:00-06:00\". \"\" is always." },
	{ "attesters", TYPE_TEXTS, RULE_LIST_AT(attesters), "[]", 0, RULE_LIST_MAX, NULL,
		"For require and prefer: whose word is wanted; any one of them suffices." },
	{ "lifetime", TYPE_DURATION, AT(policy_rule, lifetime_s), "\"0s\"", 0, DAYS(36500), NULL,
		"The certificate lives no longer than this. 0 is as the profile says." },
	{ "count", TYPE_LONG, AT(policy_rule, count), "0", 0, 1000000000, NULL,
		"So many certificates by this rule within per, then it denies. 0 is any number. They are counted in memory, "
		"and from the start again when enrolld is started; a reload goes on counting." },
	{ "per", TYPE_DURATION, AT(policy_rule, per_s), "\"0s\"", 0, DAYS(366), NULL,
		"The time for count." },
	{ "text", TYPE_TEXT, AT(policy_rule, text), "\"\"", 0, 0, NULL,
		"For deny: the reason that decisions and audit give. \"\" is the rule's name." },
};
