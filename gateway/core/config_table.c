#include "gateway/core/config_table_rows.h"

static const char *const tls_versions[] = { "1.2", "1.3", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };

static const struct config_row listen_rows[] = {
	{ "https", TYPE_TEXTS, TEXTS_AT(config, listen_https), "[ \"[::]:8443\", \"0.0.0.0:8443\" ]", 1,
		CONFIG_LIST_MAX, NULL,
		"Addresses and ports for devices, IPv6 in brackets. \"[::]\" is every IPv6 address and no "
		"IPv4 one, so both families are named. A host without IPv6 leaves the first out. Port 0 picks "
		"a free one." },
	{ "coaps", TYPE_TEXTS, TEXTS_AT(config, listen_coaps), "[]", 0, CONFIG_LIST_MAX, NULL,
		"Addresses and UDP ports for EST over CoAP with DTLS; 5684 is the usual port." },
	{ "http", TYPE_TEXTS, TEXTS_AT(config, listen_http), "[]", 0, CONFIG_LIST_MAX, NULL,
		"Addresses and ports for plain HTTP, which most SCEP clients speak: its messages are signed and "
		"encrypted themselves. Nothing but SCEP and revocation lists is answered there." },
	{ "admin", TYPE_TEXT, AT(config, listen_admin), "\"127.0.0.1:9180\"", 0, 0, NULL,
		"Address and port of /livez, /readyz and /metrics over plain HTTP. It knows no passwords, so "
		"only a loopback address is taken. \"\" turns it off." },
	{ "control", TYPE_PATH, AT(config, control_socket), "\"/run/enrolld/control.sock\"", 0, 0, NULL,
		"The local socket enrollctl talks to. Whoever may open it is an operator." },
	{ "control_mode", TYPE_MODE, AT(config, control_mode), "\"0660\"", 0, 0770, NULL,
		"File permissions of the control socket in octal. Others than user and group get none." },
	{ "control_group", TYPE_TEXT, AT(config, control_group), "\"\"", 0, 0, NULL,
		"Group of the control socket, by name: its members are operators. \"\" leaves the group "
		"enrolld runs with." },
	{ "lock_file", TYPE_PATH, AT(config, lock_file), "\"/run/enrolld/enrolld.lock\"", 0, 0, NULL,
		"Locked while enrolld runs, so that a second one with this configuration refuses to start. "
		"\"\" is for none." },
};

static const struct config_row tls_rows[] = {
	{ "certificate", TYPE_PATH, AT(config, tls_certificate), NULL, 0, 0, NULL,
		"PEM file with the server certificate, then its intermediates." },
	{ "key", TYPE_KEY, AT(config, tls_key), NULL, 0, 0, NULL,
		"Private key of the server certificate, PEM. All keys and secrets are named in one way. A path, or "
		"\"file:path\": the file must belong to root or to the user enrolld runs as and give nothing to group and "
		"others (chmod 600). \"credential:name\": what systemd provides by LoadCredential=name:path or SetCredential=, "
		"in $CREDENTIALS_DIRECTORY. \"env:name\": an environment variable that holds the key or secret itself. They are "
		"read at the start and with every reload." },
	{ "min_version", TYPE_WORD, AT(config, tls_min_version), "\"1.2\"", 0, 0, tls_versions,
		"The oldest TLS version a device may speak." },
	{ "groups", TYPE_TEXT, AT(config, tls_groups), "\"X25519:P-256:P-384\"", 0, 0, NULL,
		"Key exchange groups, the preferred first, separated by colons. X25519 costs half of P-256." },
	{ "quick_keys", TYPE_BOOL, AT(config, tls_quick_keys), "true", 0, 0, NULL,
		"Decode the EC keys of client certificates by the code OpenSSL had before 3.0, which is several "
		"times as fast. It is tried out at the start, and left alone when anything is not as it should be." },
};

static const struct config_row store_rows[] = {
	{ "type", TYPE_NAME, AT(config, store_type), "\"sqlite\"", 0, 0, NULL,
		"Where the registry, requests, certificates and audit are kept: \"sqlite\" is one local file." },
	{ "path", TYPE_PATH, AT(config, store_path), "\"/var/lib/enrolld/enrolld.db\"", 0, 0, NULL,
		"The database file. Its folder must exist and be on a local disk; the file is made when "
		"missing." },
	{ "readers", TYPE_INT, AT(config, store_readers), "0", 0, 1024, NULL,
		"Database connections kept for reading. 0 is one for each worker." },
	{ "cache", TYPE_KIB, AT(config, store_cache_kib), "\"8M\"", KIB(256), MIB(4096), NULL,
		"Page cache of the writing connection. Each reading one gets an eighth of it." },
};

static const struct config_row log_rows[] = {
	{ "format", TYPE_WORD, AT(config, log_format), "\"text\"", 0, 0, log_formats,
		"One line per event on standard error: \"text\" for people, \"json\" for collectors." },
	{ "level", TYPE_WORD, AT(config, log_level), "\"info\"", 0, 0, log_levels,
		"The least important lines that are written." },
};

static const struct config_row threads_rows[] = {
	{ "loops", TYPE_INT, AT(config, threads_loops), "0", 0, 256, NULL,
		"Threads that own connections and TLS. 0 is one for each core." },
	{ "workers", TYPE_INT, AT(config, threads_workers), "32", 1, 1024, NULL,
		"Threads that decide and sign, and so the requests under way at one time. Idle and slow "
		"clients occupy none." },
};

static const struct config_row limits_rows[] = {
	{ "connections", TYPE_INT, AT(config, limit_connections), "10000", 1, 1000000, NULL,
		"Open connections in all; more are refused. An idle one takes about 18 kB, and each one a "
		"file descriptor (LimitNOFILE in systemd.service)." },
	{ "connections_per_address", TYPE_INT, AT(config, limit_connections_per_address), "1024", 1, 1000000, NULL,
		"Open connections from one address. A site of many devices may sit behind one address, and "
		"after a power cut all of them come at once; a tenth of all connections still leaves room for "
		"everybody else." },
	{ "header", TYPE_SIZE, AT(config, limit_header), "\"16k\"", KIB(1), KIB(24), NULL,
		"Octets of a request's line and header fields; more is answered 431." },
	{ "body", TYPE_SIZE, AT(config, limit_body), "\"64k\"", KIB(1), MIB(1), NULL,
		"Octets of a request's body, counted while reading; more is answered 413. A request with an "
		"RSA-4096 key takes about 2 kB." },
	{ "queue", TYPE_INT, AT(config, limit_queue), "1024", 1, 100000, NULL,
		"Complete requests that wait for a worker; more are answered 503 with Retry-After." },
	{ "queue_age", TYPE_DURATION, AT(config, limit_queue_age_s), "\"10s\"", SECONDS(1), MINUTES(10), NULL,
		"How long a request waits for a worker before it is answered 503: a device that has given up "
		"is not worth the work." },
	{ "handshake_time", TYPE_DURATION, AT(config, limit_handshake_s), "\"10s\"", SECONDS(1), MINUTES(10), NULL,
		"How long a TLS handshake may take in all." },
	{ "header_time", TYPE_DURATION, AT(config, limit_header_s), "\"15s\"", SECONDS(1), MINUTES(10), NULL,
		"How long a request's header may take from its first octet." },
	{ "body_time", TYPE_DURATION, AT(config, limit_body_s), "\"30s\"", SECONDS(1), MINUTES(10), NULL,
		"How long a request's body may take in all." },
	{ "idle_time", TYPE_DURATION, AT(config, limit_idle_s), "\"60s\"", SECONDS(1), DAYS(1), NULL,
		"How long a connection may stay open between requests." },
	{ "requests_per_connection", TYPE_INT, AT(config, limit_requests_per_connection), "1000", 1, 1000000, NULL,
		"Requests after which a kept-alive connection is closed." },
	{ "auth_failures", TYPE_INT, AT(config, limit_auth_failures), "10", 1, 256, NULL,
		"Wrong secrets, for one asset or from one address, within auth_window; then further attempts "
		"are refused for auth_lock. Wrong SCEP challenges count for the address alone." },
	{ "auth_window", TYPE_DURATION, AT(config, limit_auth_window_s), "\"5m\"", SECONDS(1), DAYS(1), NULL,
		"The time in which wrong secrets are counted." },
	{ "auth_lock", TYPE_DURATION, AT(config, limit_auth_lock_s), "\"15m\"", SECONDS(1), DAYS(7), NULL,
		"How long attempts are refused after too many wrong secrets." },
	{ "stop_grace", TYPE_DURATION, AT(config, stop_grace_s), "\"30s\"", 0, MINUTES(10), NULL,
		"How long a stop waits for requests under way." },
};

static const struct config_row keygen_rows[] = {
	{ "master", TYPE_SECRET, AT(config, keygen_master), "\"\"", 0, 0, NULL,
		"Where at least 32 random octets are, named as the key of tls: every asset's key-wrap key is "
		"derived from them. Needed only where devices ask /serverkeygen for symmetric encryption. \"\" is for "
		"none." },
};

static const struct config_row scep_rows[] = {
	{ "suffixes", TYPE_TEXTS, TEXTS_AT(config, scep_suffixes),
		"[ \"/pkiclient.exe\", \"/cgi-bin/pkiclient.exe\", \"/certsrv/mscep/mscep.dll\" ]", 0, CONFIG_LIST_MAX,
		NULL,
		"Paths that clients have built in or put behind the one they were given. They are taken behind "
		"/scep and /scep/NAME, and alone for the label \"\", in upper or lower case." },
};

static const struct config_row coap_rows[] = {
	{ "certificate", TYPE_PATH, AT(config, coap_certificate), "\"\"", 0, 0, NULL,
		"PEM file with the certificate for DTLS, then its intermediates; its key is on P-256 (RFC 9148, section 3). "
		"\"\" takes the one of tls." },
	{ "key", TYPE_KEY, AT(config, coap_key), "\"\"", 0, 0, NULL,
		"Its private key, in the same forms as the key of tls." },
	{ "roots", TYPE_TEXTS, TEXTS_AT(config, coap_roots), "[ \"/est\" ]", 0, CONFIG_LIST_MAX, NULL,
		"Short paths beside /.well-known/est, which saves octets in every block. Devices find them by GET "
		"/.well-known/core?rt=ace.est*." },
	{ "contexts", TYPE_INT, AT(config, coap_contexts), "0", 0, 64, NULL,
		"How many threads receive datagrams. 0 is one for each core." },
	{ "sessions", TYPE_INT, AT(config, coap_sessions), "1000", 1, 10000, NULL,
		"DTLS sessions for each of these threads. One holds about 62 KiB, and each datagram costs more the more there "
		"are." },
	{ "handshakes", TYPE_INT, AT(config, coap_handshakes), "5000", 1, 50000, NULL,
		"Handshakes under way for each of these threads. A sender of forged addresses can fill less than these." },
	{ "session_timeout", TYPE_DURATION, AT(config, coap_session_timeout_s), "\"60s\"", SECONDS(1), DAYS(1), NULL,
		"An idle session ends. Until then a device that has restarted and uses the same UDP port cannot come in." },
	{ "mtu", TYPE_INT, AT(config, coap_mtu), "1152", 256, 1472, NULL,
		"Octets of a datagram that is sent, at most. Thin links want less; 256 works." },
};

static const struct config_row trust_rows[] = {
	{ "name", TYPE_NAME, AT(config_trust, name), NULL, 0, 0, NULL,
		"What labels and identity rules call it. It is also the issuer in an asset's anchors "
		"(\"idevid_serial:NAME:value\")." },
	{ "files", TYPE_PATHS, TEXTS_AT(config_trust, files), NULL, 1, CONFIG_LIST_MAX, NULL,
		"PEM files with this manufacturer's root certificates, and with intermediates its devices do "
		"not send." },
	{ "crls", TYPE_PATHS, TEXTS_AT(config_trust, crls), "[]", 0, CONFIG_LIST_MAX, NULL,
		"Files with this manufacturer's revocation lists, PEM or DER; SIGHUP reads them again. Once there "
		"is one, the CA that issued a device's certificate must have one here that is not out of date, "
		"or the device is refused." },
	{ "accept_expired", TYPE_BOOL, AT(config_trust, accept_expired), "false", 0, 0, NULL,
		"Take device certificates past their notAfter: factory certificates outlive their dates. A "
		"certificate that is not valid yet is never taken." },
};

static const struct config_row identity_rows[] = {
	{ "name", TYPE_NAME, AT(identity_rule, name), NULL, 0, 0, NULL,
		"What messages call the rule." },
	{ "trust", TYPE_NAME, AT(identity_rule, trust), NULL, 0, 0, NULL,
		"The trust set whose certificates it reads: a manufacturer speaks for its own serial numbers "
		"only. Or one of mdms: then it reads the names in requests that the MDM vouches for, and the "
		"anchors it gives have the MDM's name for their issuer. Or one of attesters: then it reads the "
		"certificates that its evidence comes with." },
	{ "field", TYPE_FIELD, AT(identity_rule, field), NULL, 0, 0, NULL,
		"The part of the certificate it reads. A serial number is unique only under the CA that gave it: "
		"for cert_serial the trust set must hold one issuing CA alone." },
	{ "pattern", TYPE_TEXT, AT(identity_rule, pattern), "\"(.+)\"", 0, 0, NULL,
		"A POSIX extended regular expression that must match the whole value; its one (group) is what "
		"the registry is asked for." },
	{ "anchor", TYPE_ANCHOR, AT(identity_rule, anchor), "\"idevid_serial\"", 0, 0, NULL,
		"The type of anchor that is looked up." },
	{ "fold_case", TYPE_BOOL, AT(identity_rule, fold_case), "false", 0, 0, NULL,
		"Compare in lower case and without \":\", \"-\" and \".\" between pairs of hexadecimal "
		"digits, as MAC addresses need." },
};

static const struct config_row ra_rows[] = {
	{ "name", TYPE_NAME, AT(config_ra, name), NULL, 0, 0, NULL,
		"What labels call it." },
	{ "certificate", TYPE_PATH, AT(config_ra, certificate), NULL, 0, 0, NULL,
		"PEM file with the RA's certificate: an RSA key of 2048 bits or more, keyUsage digitalSignature and "
		"keyEncipherment, issued by the CA of the labels that use it or by one above that." },
	{ "key", TYPE_KEY, AT(config_ra, key), NULL, 0, 0, NULL,
		"Private key of that certificate, in the same forms as the key of tls. It signs the answers, and "
		"decrypts the requests unless decrypt_key does. It is never the key of a CA." },
	{ "decrypt_certificate", TYPE_PATH, AT(config_ra, decrypt_certificate), "\"\"", 0, 0, NULL,
		"PEM file with a second certificate, for encryption alone (keyEncipherment): then the first one needs "
		"digitalSignature only. \"\" is for one certificate that does both." },
	{ "decrypt_key", TYPE_KEY, AT(config_ra, decrypt_key), "\"\"", 0, 0, NULL,
		"Private key of decrypt_certificate." },
	{ "previous_certificates", TYPE_PATHS, TEXTS_AT(config_ra, previous_certificates), "[]", 0, CONFIG_LIST_MAX, NULL,
		"Certificates of this RA that were replaced. What devices that remember them encrypt is still "
		"read; nothing is signed with their keys. They may have expired." },
	{ "previous_keys", TYPE_KEYS, TEXTS_AT(config_ra, previous_keys), "[]", 0, CONFIG_LIST_MAX, NULL,
		"Private keys of previous_certificates, in the same order." },
};

static const struct config_row mdm_rows[] = {
	{ "name", TYPE_NAME, AT(config_mdm, name), NULL, 0, 0, NULL,
		"What labels and identity rules call it. It is also the issuer in an asset's anchors "
		"(\"mdm_id:NAME:value\"), so that no trust set may have the same name." },
	{ "type", TYPE_NAME, AT(config_mdm, type), NULL, 0, 0, NULL,
		"\"intune\" is Microsoft Intune's validateRequest; \"webhook\" posts the challenge to a service of "
		"yours, as Jamf and Fleet have it." },
	{ "url", TYPE_TEXT, AT(config_mdm, url), NULL, 0, 0, NULL,
		"The service, by https." },
	{ "token_url", TYPE_TEXT, AT(config_mdm, token_url), "\"\"", 0, 0, NULL,
		"For intune: where the token for the service comes from (OAuth 2.0 client credentials), by https." },
	{ "client_id", TYPE_TEXT, AT(config_mdm, client_id), "\"\"", 0, 0, NULL,
		"For intune: the identifier of this application in the directory." },
	{ "provider", TYPE_TEXT, AT(config_mdm, provider), "\"enrolld\"", 0, 0, NULL,
		"For intune: what this gateway calls itself (callerInfo)." },
	{ "notify_url", TYPE_TEXT, AT(config_mdm, notify_url), "\"\"", 0, 0, NULL,
		"For webhook: where it is told what became of each request, by https. \"\" tells nobody." },
	{ "secret_file", TYPE_SECRET, AT(config_mdm, secret_file), "\"\"", 0, 0, NULL,
		"Where the client secret for intune, or the bearer token for webhook, is: one line, named as the key of tls. "
		"\"\" is for a webhook that wants none." },
	{ "ca", TYPE_PATH, AT(config_mdm, ca), NULL, 0, 0, NULL,
		"PEM file with the CAs the service's certificate may come from; no others count." },
	{ "deadline", TYPE_DURATION, AT(config_mdm, deadline_s), "\"5s\"", SECONDS(1), SECONDS(60), NULL,
		"How long one question may take in all. A worker waits for the answer; without one the request is "
		"refused, and the device may ask again." },
};

static const char *const csr_names_choices[] = { "match", "ignore", NULL };

static const struct config_row profile_rows[] = {
	{ "name", TYPE_NAME, AT(profile, name), NULL, 0, 0, NULL,
		"What labels call it." },
	{ "subject", TYPE_TEXT, AT(profile, subject), "\"CN={tag}\"", 0, 0, NULL,
		"The subject, filled from the registry: {tag} {serial} {manufacturer} {model} {class} {site} "
		"{hostname} {owner} {source_key}. A part whose field is empty is left out; an empty CN "
		"refuses the request." },
	{ "san", TYPE_TEXTS, LIST_AT(profile, san, san_count), "[]", 0, PROFILE_NAMES_MAX, NULL,
		"Subject alternative names with the same fields, each \"dns:\", \"uri:\", \"ip:\" or "
		"\"email:\" and a template. One whose field is empty is left out." },
	{ "keys", TYPE_KEY_RULES, LIST_AT(profile, keys, key_count),
		"[ \"EC:P-256\", \"EC:P-384\", \"RSA:2048-4096\" ]", 1, PROFILE_NAMES_MAX, NULL,
		"Keys that are certified, each \"EC:curve\" or \"RSA:bits\" or \"RSA:least-most\"." },
	{ "keygen", TYPE_KEY_RULE, AT(profile, keygen), "\"EC:P-256\"", 0, 0, NULL,
		"The key /serverkeygen makes: \"EC:P-256\", \"EC:P-384\" or \"RSA:bits\" from 2048 to 4096." },
	{ "key_usage", TYPE_KEY_USAGE, AT(profile, key_usage), "[ \"digitalSignature\" ]", 1, 5, NULL,
		"Key usages: digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, "
		"keyAgreement. One the key cannot do is left out." },
	{ "eku", TYPE_EKUS, LIST_AT(profile, eku, eku_count), "[ \"clientAuth\" ]", 0, PROFILE_NAMES_MAX, NULL,
		"Extended key usages: clientAuth, serverAuth, emailProtection, codeSigning, ipsecIKE, cmcRA, "
		"or a dotted object identifier. anyExtendedKeyUsage is refused." },
	{ "lifetime", TYPE_DURATION, AT(profile, lifetime_s), "\"90d\"", SECONDS(1), DAYS(36500), NULL,
		"How long a certificate is valid from now on. It never outlives its CA." },
	{ "renewal_window", TYPE_DURATION, AT(profile, renewal_window_s), "\"30d\"", 0, DAYS(36500), NULL,
		"Renewal is allowed this long before the end. As long as lifetime or longer: at any time." },
	{ "repair_grace", TYPE_DURATION, AT(profile, repair_grace_s), "\"0s\"", 0, DAYS(3650), NULL,
		"How long an asset in state repair may still renew. 0 is not at all." },
	{ "backdate", TYPE_DURATION, AT(profile, backdate_s), "\"5m\"", 0, DAYS(30), NULL,
		"How far notBefore lies in the past, for devices whose clock is slow." },
	{ "csr_names", TYPE_CHOICE, AT(profile, csr_names), "\"match\"", 0, 0, csr_names_choices,
		"Names in the request: \"match\" refuses one the templates do not give, \"ignore\" replaces "
		"them." },
	{ "allow_subject_change", TYPE_BOOL, AT(profile, allow_subject_change), "false", 0, 0, NULL,
		"Renewal may change subject and alternative names, as after a move to another site." },
	{ "staging", TYPE_BOOL, AT(profile, staging), "false", 0, 0, NULL,
		"This profile is for assets in stock." },
	{ "classes", TYPE_TEXTS, LIST_AT(profile, classes, class_count), "[]", 0, PROFILE_NAMES_MAX, NULL,
		"The asset classes this profile is for, as the registry spells them. An empty list is for every "
		"class. A profile with the EKU cmcRA wants one: who gets it can enroll every asset of its owner." },
	{ "allow_key_reuse", TYPE_BOOL, AT(profile, allow_key_reuse), "true", 0, 0, NULL,
		"A renewal may keep the key (RFC 7030, section 4.2.2); false demands a new one each time. A "
		"key of another asset is refused always." },
};

/* Bit n is AUTH_*, and (1 << n) of enum policy_op. */
static const char *const auth_choices[] = { "certificate", "secret", "own", "registrar", "mdm", NULL };
_Static_assert(AUTH_CERTIFICATE == 1u << 0 && AUTH_SECRET == 1u << 1 && AUTH_OWN == 1u << 2 &&
		AUTH_REGISTRAR == 1u << 3 && AUTH_MDM == 1u << 4, "auth_choices");
static const char *const protocol_choices[] = { "est", "scep", "coap", NULL };
_Static_assert(PROTOCOL_EST == 1u << 0 && PROTOCOL_SCEP == 1u << 1 && PROTOCOL_COAP == 1u << 2, "protocol_choices");
/* config_value.c knows what they stand for. */
static const char *const scep_allow_choices[] = { "sha1", "3des", NULL };
static const char *const scep_legacy_choices[] = { "none", "insecure-cisco", NULL };
static const char *const operation_choices[] = { "enroll", "renew", "keygen", NULL };
_Static_assert(POLICY_ENROLL == 0 && POLICY_RENEW == 1 && POLICY_KEYGEN == 2, "operation_choices");
static const char *const binding_choices[] = { "verify", "require", "ignore", NULL };
_Static_assert(BINDING_VERIFY == 0 && BINDING_REQUIRE == 1 && BINDING_IGNORE == 2, "binding_choices");
static const char *const approval_choices[] = { "none", "manual", NULL };
_Static_assert(APPROVAL_NONE == 0 && APPROVAL_MANUAL == 1, "approval_choices");
static const char *const base64_choices[] = { "single-line", "wrapped", NULL };
_Static_assert(EST_BASE64_SINGLE_LINE == 0 && EST_BASE64_WRAPPED == 1, "base64_choices");
static const char *const content_type_choices[] = { "rfc8951", "plain", "everywhere", NULL };
_Static_assert(CONTENT_TYPE_RFC8951 == 0 && CONTENT_TYPE_PLAIN == 1 && CONTENT_TYPE_EVERYWHERE == 2,
	"content_type_choices");
_Static_assert(CSR_NAMES_MATCH == 0 && CSR_NAMES_IGNORE == 1, "csr_names_choices");

static const struct config_row label_rows[] = {
	{ "name", TYPE_LABEL, AT(config_label, policy.name), NULL, 0, 0, NULL,
		"The part of the path in /.well-known/est/NAME/simpleenroll and /scep/NAME. \"\" is the label of "
		"paths without one; without such a label these are not found." },
	{ "profile", TYPE_NAME, AT(config_label, profile), NULL, 0, 0, NULL,
		"The profile of its certificates." },
	{ "ca", TYPE_NAME, AT(config_label, ca), NULL, 0, 0, NULL,
		"The CA that issues them." },
	{ "protocols", TYPE_FLAGS, AT(config_label, protocols), "[ \"est\" ]", 1, 3, protocol_choices,
		"What it is offered over: \"est\" on the HTTPS addresses, \"scep\" on those and the HTTP ones, \"coap\" on "
		"the CoAPS ones, where the CA certificates of an answer are 65536 octets at most. SCEP needs scep_ra, and RSA "
		"keys." },
	{ "auth", TYPE_FLAGS, AT(config_label, policy.auth), NULL, 1, 5, auth_choices,
		"Who may come in: \"certificate\" is a manufacturer's certificate of a trust set below, "
		"\"secret\" a secret of the asset by HTTP Basic or as a SCEP challenge, \"own\" a certificate this "
		"gateway issued, \"registrar\" one with the EKU cmcRA, on behalf of the asset whose tag is the CN of "
		"the request, \"mdm\" a SCEP challenge that scep_mdm vouches for. "
		"There is no default: nobody comes in unasked." },
	{ "trust", TYPE_NAMES, LIST_AT(config_label, trust, trust_count), "[]", 0, PROFILE_NAMES_MAX, NULL,
		"The trust sets a client certificate may belong to." },
	{ "operations", TYPE_FLAGS, AT(config_label, policy.operations), "[ \"enroll\", \"renew\" ]", 1, 3,
		operation_choices,
		"What may be asked for: \"enroll\" is /simpleenroll, \"renew\" /simplereenroll, \"keygen\" "
		"/serverkeygen. Over SCEP, \"enroll\" is a first certificate and \"renew\" one in the place of "
		"another." },
	{ "binding", TYPE_CHOICE, AT(config_label, policy.binding), "\"verify\"", 0, 0, binding_choices,
		"The TLS channel binding in the request's challengePassword: \"verify\" checks it when it is "
		"there, \"require\" wants it, \"ignore\" does not look." },
	{ "approval", TYPE_CHOICE, AT(config_label, policy.approval), "\"none\"", 0, 0, approval_choices,
		"\"manual\" keeps each new request until an operator approves it; devices are told to ask "
		"again." },
	{ "expired_grace", TYPE_DURATION, AT(config_label, policy.expired_grace_s), "\"0s\"", 0, DAYS(3650), NULL,
		"How long after its end a certificate of ours may still renew, for devices that were switched "
		"off. 0 is not at all." },
	{ "csrattrs", TYPE_TEXTS, TEXTS_AT(config_label, csrattrs), "[]", 0, CONFIG_LIST_MAX, NULL,
		"What /csrattrs answers, each an object identifier by name or number, or one with values: "
		"\"challengePassword\", \"ecPublicKey=secp384r1\", \"extensionRequest=subjectAltName\". Where rules "
		"want evidence, the attribute for it is asked for too. An empty answer is 204." },
	{ "csrattrs_template", TYPE_BOOL, AT(config_label, csrattrs_template), "false", 0, 0, NULL,
		"/csrattrs also answers the profile as a template for requests (RFC 9908): subject, alternative names, "
		"usages and keys. Older clients stumble over it." },
	{ "base64", TYPE_CHOICE, AT(config_label, base64), "\"single-line\"", 0, 0, base64_choices,
		"How answers are encoded: \"single-line\" suits strongSwan and Bouncy Castle, \"wrapped\" "
		"suits libest. Requests may use either." },
	{ "content_type", TYPE_CHOICE, AT(config_label, content_type), "\"rfc8951\"", 0, 0, content_type_choices,
		"The smime-type parameter in answers: \"rfc8951\" puts it on certificates but not on "
		"/cacerts, \"plain\" nowhere, \"everywhere\" on both." },
	{ "include_chain", TYPE_BOOL, AT(config_label, include_chain), "false", 0, 0, NULL,
		"Send the CA's certificates along with the new one. RFC 7030 wants that one alone; some "
		"clients want the chain." },
	{ "accept_der", TYPE_BOOL, AT(config_label, accept_der), "true", 0, 0, NULL,
		"Take a request whose body is DER and not base64." },
	{ "require_content_type", TYPE_BOOL, AT(config_label, require_content_type), "true", 0, 0, NULL,
		"Answer 415 to a request of another media type than application/pkcs10." },
	{ "transfer_encoding_header", TYPE_BOOL, AT(config_label, transfer_encoding_header), "true", 0, 0, NULL,
		"Send \"Content-Transfer-Encoding: base64\". RFC 8951 has dropped it; libest and Bouncy "
		"Castle need it." },
	{ "retry_after", TYPE_DURATION, AT(config_label, retry_after_s), "\"60s\"", SECONDS(1), DAYS(7), NULL,
		"When a device whose request waits is told to ask again. What a CA elsewhere has refused is answered from the "
		"record for as long: it is not asked at once again." },
	{ "realm", TYPE_TEXT, AT(config_label, realm), "\"enrolld\"", 0, 0, NULL,
		"The realm named in a 401 answer." },
	{ "scep_ra", TYPE_LABEL, AT(config_label, scep_ra), "\"\"", 0, 0, NULL,
		"Which of ras answers SCEP. \"\" is for labels without SCEP." },
	{ "scep_mdm", TYPE_LABEL, AT(config_label, scep_mdm), "\"\"", 0, 0, NULL,
		"Which of mdms vouches for SCEP challenges (auth \"mdm\"). \"\" is for none." },
	{ "scep_allow", TYPE_ALGORITHMS, AT(config_label, scep_algorithms), "[]", 0, 2, scep_allow_choices,
		"Old algorithms taken over SCEP besides AES and SHA-2, by name: \"sha1\", \"3des\". GetCACaps says "
		"exactly what is taken." },
	{ "scep_legacy", TYPE_SWITCH, AT(config_label, scep_insecure), "\"none\"", 0, 0, scep_legacy_choices,
		"\"insecure-cisco\" also takes single DES and MD5, which protect nothing: whoever listens can read the "
		"challenge. For routers that can do no better, on a network you trust; each use is logged." },
	{ "scep_chain", TYPE_BOOL, AT(config_label, scep_chain), "true", 0, 0, NULL,
		"Send the CA's certificate beside the new one in SCEP answers: Cisco VPN clients want it, Juniper "
		"forbids it." },
	{ "scep_ra_bundle", TYPE_BOOL, AT(config_label, scep_ra_bundle), "true", 0, 0, NULL,
		"GetCACert answers the RA's certificate and the CA's with it; false answers the RA's certificate "
		"alone, for clients that take one certificate only." },
};

const struct config_section config_sections[SECTION_COUNT] = {
	[SECTION_LISTEN] = { "listen", "Where enrolld listens.", ROWS(listen_rows), 0, 0, 0 },
	[SECTION_TLS] = { "tls", "The server's side of TLS. SIGHUP reads certificate and key again.", ROWS(tls_rows), 0, 0,
		0 },
	[SECTION_STORE] = { "store", "The database.", ROWS(store_rows), 0, 0, 0 },
	[SECTION_LOG] = { "log", "What is told on standard error.", ROWS(log_rows), 0, 0, 0 },
	[SECTION_THREADS] = { "threads", "How much is done at one time.", ROWS(threads_rows), 0, 0, 0 },
	[SECTION_LIMITS] = { "limits", "What one client, and all together, may ask for.", ROWS(limits_rows), 0, 0, 0 },
	[SECTION_KEYGEN] = { "keygen", "Keys made here for devices.", ROWS(keygen_rows), 0, 0, 0 },
	[SECTION_SCEP] = { "scep", "What all SCEP clients share.", ROWS(scep_rows), 0, 0, 0 },
	[SECTION_COAP] = { "coap", "EST over CoAP. SIGHUP reads certificate and key again, for new sessions.",
		ROWS(coap_rows), 0, 0, 0 },
	[SECTION_REGISTRY] = { "registry", "What the ownership registry watches by itself, and how long things wait.",
		ROWS(config_registry_rows), 0, 0, 0 },
	[SECTION_POLICY] = { "policy", "What holds for all rules.", ROWS(config_policy_rows), 0, 0, 0 },
	[SECTION_TRUST] = { "trust", "Named sets of trust anchors: one for each manufacturer.", ROWS(trust_rows),
		LIST_OF(config_trust, trust, trust_count) },
	[SECTION_IDENTITY] = { "identity",
		"Rules that find the asset a manufacturer's certificate speaks of. All rules of the "
		"certificate's trust set are tried.",
		ROWS(identity_rows), LIST_OF(identity_rule, identity, identity_count) },
	[SECTION_CAS] = { "cas", "The CAs that issue.", ROWS(config_ca_rows), LIST_OF(config_ca, cas, ca_count) },
	[SECTION_RAS] = { "ras",
		"The registration authorities of SCEP: what devices encrypt to, and what signs the answers. SIGHUP "
		"reads certificates and keys again.",
		ROWS(ra_rows), LIST_OF(config_ra, ras, ra_count) },
	[SECTION_MDMS] = { "mdms", "Device management services that vouch for SCEP challenges they have handed out.",
		ROWS(mdm_rows), LIST_OF(config_mdm, mdms, mdm_count) },
	[SECTION_ATTESTERS] = { "attesters",
		"How evidence of what a device is gets judged. Rules demand it, by these names.",
		ROWS(config_attester_rows), LIST_OF(config_attester, attesters, attester_count) },
	[SECTION_PROFILES] = { "profiles", "What a certificate may contain. Nothing else of a request gets into it.",
		ROWS(profile_rows), LIST_OF(profile, profiles, profile_count) },
	[SECTION_LABELS] = { "labels", "The doors: who may come in, for which profile, from which CA.",
		ROWS(label_rows), LIST_OF(config_label, labels, label_count) },
	[SECTION_RULES] = { "rules",
		"The operator's own rules, judged in this order. \"require\", \"prefer\" and \"approve\" go on to the next; "
		"\"allow\" and \"deny\" stop; past the last one otherwise of policy decides. Without any rule nothing is "
		"judged here. A rule never widens what state, owner, label and profile allow. Settings of a rule that are "
		"left out match anything.",
		ROWS(config_rule_rows), LIST_OF(policy_rule, rules, rule_count) },
};

const char *
config_choice(const struct config_row *row, int index)
{
	int i;

	if (row->type == TYPE_FIELD)
		return index <= IDENTITY_SPKI_SHA256 ? identity_field_name((enum identity_field)index) : NULL;
	if (row->type == TYPE_ANCHOR)
		return index <= ANCHOR_MDM_ID ? anchor_type_name((enum anchor_type)index) : NULL;
	for (i = 0; row->choices != NULL && i <= index; i++)
		if (row->choices[i] == NULL)
			return NULL;
	return row->choices == NULL ? NULL : row->choices[index];
}
