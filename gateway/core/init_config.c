#include "gateway/core/init_internal.h"

static const char head[] =
	"# enrolld: a configuration to begin with. Every setting: enrolld.conf(5).\n"
	"# Paths are relative to this file. Check it with: enrolld -c enrolld.conf --check\n"
	"\n"
	"listen = {\n"
	"  https = [ \"127.0.0.1:%d\", \"[::1]:%d\" ];\n"
	"  http = [ \"127.0.0.1:%d\", \"[::1]:%d\" ];   # SCEP and revocation lists\n"
	"  coaps = [ \"127.0.0.1:%d\", \"[::1]:%d\" ];  # UDP: EST over CoAP\n"
	"  admin = \"127.0.0.1:%d\";        # /livez /readyz /metrics\n"
	"  control = \"control.sock\";        # enrollctl --socket\n"
	"  lock_file = \"enrolld.lock\";\n"
	"};\n"
	"\n"
	"tls = { certificate = \"tls/server.pem\"; key = \"file:tls/server.key\"; };\n"
	"\n"
	"store = { path = \"enrolld.db\"; };\n"
	"\n"
	"keygen = { master = \"keygen.master\"; };\n"
	"\n"
	"cas = (\n"
	"  {\n"
	"    name = \"issuing\";\n"
	"    certificate = \"ca/issuing.pem\";\n"
	"    key = \"file:ca/issuing.key\";\n"
	"    chain = [ \"ca/root.pem\" ];\n"
	"  }\n"
	");\n"
	"\n"
	"# What SCEP devices encrypt to, and what signs the answers.\n"
	"ras = ( { name = \"ra\"; certificate = \"ra/ra.pem\"; key = \"file:ra/ra.key\"; } );\n"
	"\n";

/* The rule reads both "SN1234" and a secure unique device identifier like "PID:X1 SN:SN1234". */
static const char vendor[] =
	"# Whose factory certificates count, and where in them the serial number stands.\n"
	"trust = ( { name = \"%s\"; files = [ \"trust/%s.pem\" ]; accept_expired = true; } );\n"
	"\n"
	"identity = (\n"
	"  {\n"
	"    name = \"%s-serial\";\n"
	"    trust = \"%s\";\n"
	"    field = \"subject_serial\";\n"
	"    pattern = \"PID:[^ ]+ SN:([A-Za-z0-9-]+)\";\n"
	"    anchor = \"idevid_serial\";\n"
	"  }\n"
	");\n"
	"\n";

static const char profiles[] =
	"profiles = (\n"
	"  {\n"
	"    name = \"device\";\n"
	"    subject = \"CN={tag},O={owner},serialNumber={serial}\";\n"
	"    san = [ \"dns:{hostname}\", \"uri:urn:dev:sn:{serial}\" ];\n"
	"    csr_names = \"ignore\";           # devices ask for all sorts of names; the registry decides\n"
	"    lifetime = \"90d\";\n"
	"    renewal_window = \"90d\";         # at any time; 30d is usual\n"
	"  },\n"
	"  {\n"
	"    name = \"scep-device\";           # answers are encrypted to the key of the certificate\n"
	"    subject = \"CN={tag},O={owner},serialNumber={serial}\";\n"
	"    san = [ \"dns:{hostname}\", \"uri:urn:dev:sn:{serial}\" ];\n"
	"    keys = [ \"RSA:2048-4096\" ];\n"
	"    key_usage = [ \"digitalSignature\", \"keyEncipherment\" ];\n"
	"    csr_names = \"ignore\";\n"
	"    lifetime = \"90d\";\n"
	"    renewal_window = \"90d\";\n"
	"  }\n"
	");\n"
	"\n";

static const char labels[] =
	"# Who may come in. /.well-known/est/simpleenroll is the label \"\".\n"
	"labels = (\n"
	"  {\n"
	"    name = \"\";\n"
	"    profile = \"device\";\n"
	"    ca = \"issuing\";\n"
	"    protocols = [ \"est\", \"coap\" ];\n"
	"    auth = [ %s\"secret\", \"own\" ];\n"
	"%s"
	"    operations = [ \"enroll\", \"renew\", \"keygen\" ];\n"
	"  },\n"
	"  {\n"
	"    name = \"guarded\";               # every new request waits for enrollctl request approve\n"
	"    profile = \"device\";\n"
	"    ca = \"issuing\";\n"
	"    auth = [ %s\"secret\" ];\n"
	"%s"
	"    operations = [ \"enroll\" ];\n"
	"    approval = \"manual\";\n"
	"    retry_after = \"2s\";\n"
	"  },\n"
	"  {\n"
	"    name = \"scep\";                  # http://HOST:%d/scep/scep; enrollctl secret new TAG --scep\n"
	"    profile = \"scep-device\";\n"
	"    ca = \"issuing\";\n"
	"    protocols = [ \"scep\" ];\n"
	"    scep_ra = \"ra\";\n"
	"    auth = [ \"secret\", \"own\" ];\n"
	"    operations = [ \"enroll\", \"renew\" ];\n"
	"  }\n"
	"  # Old routers know nothing but single DES and MD5, which protect nothing. Where you must:\n"
	"  # ,{\n"
	"  #   name = \"legacy-cisco\";\n"
	"  #   profile = \"scep-device\";\n"
	"  #   ca = \"issuing\";\n"
	"  #   protocols = [ \"scep\" ];\n"
	"  #   scep_ra = \"ra\";\n"
	"  #   auth = [ \"secret\", \"own\" ];\n"
	"  #   scep_legacy = \"insecure-cisco\";\n"
	"  # }\n"
	");\n";

static int
http_port(const struct init_options *o)
{
	return o->port + 2;
}

void
init_print_config(FILE *out, const struct init_options *o)
{
	const char *certificate = o->trust_name == NULL ? "" : "\"certificate\", ";
	char trust[160] = "";

	(void)fprintf(out, head, o->port, o->port, http_port(o), http_port(o), o->port, o->port, o->port + 1);
	if (o->trust_name != NULL) {
		(void)fprintf(out, vendor, o->trust_name, o->trust_name, o->trust_name, o->trust_name);
		(void)snprintf(trust, sizeof trust, "    trust = [ \"%s\" ];\n", o->trust_name);
	}
	(void)fputs(profiles, out);
	(void)fprintf(out, labels, certificate, trust, certificate, trust, http_port(o));
}

void
init_print_next(FILE *out, const struct init_options *o)
{
	(void)fprintf(out,
		"%s is ready. Take %s/offline/root.key away from this machine, then:\n"
		"  enrolld -c %s/enrolld.conf\n"
		"It listens on this machine alone: HTTPS and CoAP (UDP) on port %d, /livez, /readyz and /metrics on %d,\n"
		"and plain HTTP for SCEP on %d.\n",
		o->dir, o->dir, o->dir, o->port, o->port + 1, http_port(o));
}
