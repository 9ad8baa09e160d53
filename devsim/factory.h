/*
 * factory.h - a manufacturer: a root, an issuing CA under it, and the certificates of its devices (IEEE 802.1AR).
 */
#ifndef DEVSIM_FACTORY_H
#define DEVSIM_FACTORY_H

#include "devsim/keys.h"

struct factory_ca {
	X509 *root;
	X509 *issuing;
	EVP_PKEY *issuing_key;
	struct buf chain_pem; /* the issuing certificate, for the end of every device's file */
};

/*
 * Load DIR/manufacturer, or make it: root.pem, root.key, issuing.pem, issuing.key
 * (keys 0600). An existing CA of another manufacturer is refused.
 */
MUST_USE int factory_ca_open(const char *dir, const char *manufacturer, int64_t now_s, struct factory_ca *ca,
	struct err *e);
void factory_ca_close(struct factory_ca *ca);

struct factory_device {
	const char *manufacturer;
	const char *model;
	const char *serial;
	int64_t not_before_s, not_after_s;
	bool hw_module; /* a hardwareModuleName (RFC 4108, section 5) in subjectAltName */
};

/* 99991231235959Z, which says "no well-defined expiration" (RFC 5280, section 4.1.2.5). */
#define FACTORY_FOREVER_S 253402300799

/*
 * An IDevID: subject serialNumber "PID:<model> SN:<serial>", CN "<model>-<serial>", O
 * the manufacturer. *out is the caller's.
 */
MUST_USE int factory_issue(const struct factory_ca *ca, const struct factory_device *device, EVP_PKEY *key,
	X509 **out, struct err *e);

/* The number behind prefix in a row of assets.csv whose tag reads "<manufacturer>-<prefix><number>"; 0: none. */
uint64_t factory_row_number(struct bytes row, const char *manufacturer, const char *prefix);

/* A CSV field, quoted when it has to be (RFC 4180), appended. */
void factory_csv_field(struct buf *out, const char *text);

#endif
