#include "gateway/core/expiry.h"

#define SERIES "enrolld_certificate_not_after_seconds"

/* Names are configuration's: letters, digits, "-", "_" and ".". */
static void
render(const char *use, const char *name, const X509 *cert, struct buf *out)
{
	int64_t not_before_s, not_after_s;
	struct err e;

	if (cert != NULL && x509_validity(cert, &not_before_s, &not_after_s, &e) == 0)
		buf_printf(out, SERIES "{use=\"%s\",name=\"%s\"} %lld\n", use, name, (long long)not_after_s);
}

void
expiry_render(const struct world *world, struct buf *out)
{
	const struct config *config = world->config;
	size_t i;

	buf_append_text(out, "# HELP " SERIES " When a certificate of the gateway itself ends, since 1970.\n"
			     "# TYPE " SERIES " gauge\n");
	for (i = 0; i < config->ca_count; i++)
		render("ca", config->cas[i].name, sk_X509_value(world->cas[i].ops->chain(world->cas[i].ca), 0), out);
	for (i = 0; i < config->ra_count; i++)
		render("ra", config->ras[i].name, world->ras[i].cert, out);
	render("tls", "server", world->signer, out);
	if (world->coap_certs != NULL)
		render("coap", "server", sk_X509_value(world->coap_certs, 0), out);
}
