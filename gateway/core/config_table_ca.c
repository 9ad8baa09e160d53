/* The settings of CAs: the one in this process, and those elsewhere. */
#include "gateway/core/config_table_rows.h"

static const char *const auths[] = { "", "token", "approle", "cert", "secret", "signature", "legacy", NULL };

const struct config_row config_ca_rows[CA_ROWS] = {
	{ "name", TYPE_NAME, AT(config_ca, name), NULL, 0, 0, NULL,
		"What labels call it, and what the records say issued a certificate. Certificates prove whose device it is by "
		"this name: renamed, it knows none of its own any more, and another CA of that name would take them for its own." },
	{ "type", TYPE_NAME, AT(config_ca, type), "\"builtin\"", 0, 0, NULL,
		"\"builtin\" signs in this process with a key of its own. \"cfssl\", \"vault\" (HashiCorp Vault, OpenBao), "
		"\"stepca\", \"ejbca\", \"cmp\", \"est\" and \"scep\" ask a CA elsewhere." },
	{ "certificate", TYPE_PATH, AT(config_ca, certificate), NULL, 0, 0, NULL,
		"PEM file with the issuing certificate. What a CA elsewhere gives must have been signed by it." },
	{ "key", TYPE_KEY, AT(config_ca, key), "\"\"", 0, 0, NULL,
		"Private key of the issuing certificate, named as the key of tls, or in a token: "
		"\"pkcs11:token=...;object=...?module-path=...&pin-source=...\" (RFC 7512), the PIN named likewise. \"builtin\" needs it; "
		"a CA elsewhere keeps its own." },
	{ "chain", TYPE_PATHS, TEXTS_AT(config_ca, chain), "[]", 0, CONFIG_LIST_MAX, NULL,
		"PEM files with the certificates above the issuing one, the root last. Devices get all of them "
		"(/cacerts)." },
	{ "next", TYPE_PATH, AT(config_ca, next), "\"\"", 0, 0, NULL,
		"PEM file with the certificate that takes over from the issuing one, and those above it that are "
		"new, for a CA elsewhere that will go on under this entry. Devices get them beforehand, by /cacerts and "
		"GetNextCACert. A CA that is an entry of its own says succeeds instead. \"\" is for none." },
	{ "crl_lifetime", TYPE_DURATION, AT(config_ca, crl_lifetime_s), "\"1d\"", MINUTES(1), DAYS(365), NULL,
		"How long a revocation list made here is good for: the time from thisUpdate to nextUpdate." },
	{ "crl_url", TYPE_TEXT, AT(config_ca, crl_url), "\"\"", 0, 0, NULL,
		"CRL distribution point written into certificates. This gateway has the list at /crl/NAME.crl, on its "
		"HTTP and HTTPS addresses. \"\" writes none." },
	{ "ocsp_url", TYPE_TEXT, AT(config_ca, ocsp_url), "\"\"", 0, 0, NULL,
		"OCSP responder written into certificates. \"\" writes none." },
	{ "issuer_url", TYPE_TEXT, AT(config_ca, issuer_url), "\"\"", 0, 0, NULL,
		"Where the issuing certificate can be fetched (caIssuers), written into certificates. \"\" "
		"writes none." },
	{ "url", TYPE_TEXT, AT(config_ca, url), "\"\"", 0, 0, NULL,
		"Where a CA elsewhere is asked: https, or http for CMP and SCEP, which protect themselves." },
	{ "tls_ca", TYPE_PATH, AT(config_ca, tls_ca), "\"\"", 0, 0, NULL,
		"PEM file: the only certificates that the service's own TLS certificate may come from." },
	{ "allow_plain", TYPE_BOOL, AT(config_ca, allow_plain), "false", 0, 0, NULL,
		"Take an http URL to 127.0.0.1 or [::1], as for a CA's proxy on this machine." },
	{ "client_cert", TYPE_PATH, AT(config_ca, client_cert), "\"\"", 0, 0, NULL,
		"PEM file with the certificate that this gateway shows to the CA, or signs CMP and SCEP messages with." },
	{ "client_key", TYPE_KEY, AT(config_ca, client_key), "\"\"", 0, 0, NULL,
		"Its private key." },
	{ "secret_file", TYPE_SECRET, AT(config_ca, secret_file), "\"\"", 0, 0, NULL,
		"Where the secret is, named as the key of tls: a token, a password or an HMAC key, by type; one line. vault "
		"reads a token anew when it is refused." },
	{ "key_file", TYPE_KEY, AT(config_ca, key_file), "\"\"", 0, 0, NULL,
		"stepca: the provisioner's private key." },
	{ "profile", TYPE_TEXT, AT(config_ca, profile), "\"\"", 0, 0, NULL,
		"vault: the role. stepca: the provisioner. ejbca: the certificate profile. cfssl: the profile. est and scep: "
		"the label or CA identifier." },
	{ "end_entity_profile", TYPE_TEXT, AT(config_ca, end_entity_profile), "\"\"", 0, 0, NULL,
		"ejbca: the end entity profile." },
	{ "authority", TYPE_TEXT, AT(config_ca, authority), "\"\"", 0, 0, NULL,
		"ejbca: the CA's name there. vault: the mount." },
	{ "user", TYPE_TEXT, AT(config_ca, user), "\"\"", 0, 0, NULL,
		"cmp: the reference value. vault: the AppRole's role_id. stepca: the key id of the provisioner." },
	{ "auth", TYPE_WORD, AT(config_ca, auth), "\"\"", 0, 0, auths,
		"How this gateway proves itself. vault: \"token\", \"approle\" or \"cert\"; cmp: \"secret\" or \"signature\". scep: "
		"\"legacy\" takes SHA-1 and single DES from a server that has nothing better." },
	{ "deadline", TYPE_DURATION, AT(config_ca, deadline_s), "\"15s\"", SECONDS(1), MINUTES(5), NULL,
		"How long one call to a CA elsewhere may take, all in all. Connecting may take a third of it." },
	{ "calls", TYPE_INT, AT(config_ca, calls), "4", 1, 16, NULL,
		"How many calls to it may be under way at once. Fewer take effect with a reload, and so do more." },
	{ "wait", TYPE_DURATION, AT(config_ca, wait_s), "\"5s\"", SECONDS(0), MINUTES(1), NULL,
		"How long a request waits for it before the device is told to come back." },
	{ "group", TYPE_LABEL, AT(config_ca, group), "\"\"", 0, 0, NULL,
		"Its trust group: a name that its other members have too, and nothing else. Devices get the certificates of all "
		"CAs of the group (/cacerts), and a certificate of any of them proves as much as one of their label's own. "
		"So a label that takes \"own\" is as strict as the laxest label with a CA of the group. "
		"\"\": it is alone." },
	{ "succeeds", TYPE_LABEL, AT(config_ca, succeeds), "\"\"", 0, 0, NULL,
		"The CA of the same group whose next generation this is: devices get its certificate before any label names "
		"it, by /cacerts and GetNextCACert. At most one CA succeeds another." },
	{ "cross", TYPE_PATHS, TEXTS_AT(config_ca, cross), "[]", 0, CONFIG_LIST_MAX, NULL,
		"PEM files with cross certificates (one generation's CA certified by another's), which devices get with the "
		"chains: the old root by the new one, the new root by the old one. Without the former, devices that keep the "
		"newest root alone cannot check what the old one vouches for." },
	{ "failover", TYPE_NAMES, LIST_AT(config_ca, failover, failover_count), "[]", 0, CONFIG_LIST_MAX, NULL,
		"CAs of the same group, elsewhere too, that are asked in this order instead of this one while it does not answer. "
		"Only what was certainly not sent, or certainly not issued, goes to another, and only forward in this list; what "
		"is new begins with this CA again when it is back." },
	{ "budget", TYPE_LONG, AT(config_ca, budget), "0", 0, 1000000, NULL,
		"How many certificates it is asked for in a minute: a wave of renewals is spread. 0 is for any number." },
};
