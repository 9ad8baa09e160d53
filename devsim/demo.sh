#!/bin/bash
# A fleet enrolls, from nothing: make demo. usage: demo.sh BINARIES DIR
set -eu

bin=$(cd "$1" && pwd)
dir=$2
count=${DEMO_DEVICES:-20}
PATH=$bin:$PATH

gateway=
tpm=
# Programs of this script alone, by their ids.
leave() {
	for pid in $gateway $tpm; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}
trap leave EXIT

say() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; "$@"; }

[ ! -e "$dir/enrolld.conf" ] || { echo "making $dir anew"; rm -rf "$dir"; }
mkdir -p "$dir"
port=8443
busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
while busy "$port" || busy "$((port + 1))" || busy "$((port + 2))"; do
	port=$((port + 10))
done

say "a factory makes $count devices, and the list of what was sold to us"
show devsim factory --out "$dir/factory" --count "$count" --manufacturer acme --model X1 --owner Operations
show devsim factory --out "$dir/stranger" --count 1 --manufacturer unknown --model Z9

# A maker of TPMs with a CA of its own, and one TPM that is told of nobody else.
make_tpm() {
	mkdir -p "$1/ca" "$1/state"
	cat > "$1/ca.conf" <<-END
		statedir = $1/ca
		signingkey = $1/ca/signkey.pem
		issuercert = $1/ca/issuercert.pem
		certserial = $1/ca/certserial
	END
	printf -- '--platform-manufacturer acme\n--platform-version 1\n--platform-model L1\n' > "$1/options"
	cat > "$1/setup.conf" <<-END
		create_certs_tool = $(command -v swtpm_localca)
		create_certs_tool_config = $1/ca.conf
		create_certs_tool_options = $1/options
	END
	swtpm_setup --tpm2 --tpmstate "$1/state" --config "$1/setup.conf" --create-ek-cert > "$1/log" 2>&1 ||
		{ cat "$1/log" >&2; exit 1; }
	tpm_port=$((port + 3))
	while busy "$tpm_port" || busy "$((tpm_port + 1))"; do
		tpm_port=$((tpm_port + 2))
	done
	swtpm socket --tpm2 --tpmstate "dir=$1/state" --server "type=tcp,bindaddr=127.0.0.1,port=$tpm_port" \
		--ctrl "type=tcp,bindaddr=127.0.0.1,port=$((tpm_port + 1))" --flags not-need-init,startup-clear &
	tpm=$!
	# Asked for at the control port: the other one serves the first who comes.
	until busy "$((tpm_port + 1))"; do
		kill -0 "$tpm" 2>/dev/null || exit 1
		sleep 0.1
	done
	tcti=swtpm:host=127.0.0.1,port=$tpm_port
}
here=$(cd "$dir" && pwd)
if command -v swtpm_setup >/dev/null && command -v swtpm >/dev/null; then
	say "a laptop is made: its TPM holds an endorsement key, with the maker's certificate"
	make_tpm "$here/tpm"
	show devsim tpm show --tpm "$tcti"
else
	say "swtpm is not installed: this demo goes without a laptop with a TPM"
fi

say "a directory for the gateway: root key set aside, issuing CA online"
show enrolld --init "$dir" --port "$port" --trust "acme=$dir/factory/manufacturer/root.pem"
# A transfer takes two operators: root, who can be both, lets a group in.
[ "$(id -u)" != 0 ] || sed -i 's|^  control = "control.sock";|& control_group = "users";|' "$dir/enrolld.conf"
{
	cat <<-'END'

		# What of a device has to be shown, and by whose word.
		attesters = (
	END
	[ -z "$tpm" ] ||
		echo '  { name = "tpm"; method = "tpm"; ek_roots = [ "tpm/ca/swtpm-localca-rootca-cert.pem", "tpm/ca/issuercert.pem" ]; },'
	cat <<-'END'
		  { name = "acme"; method = "idevid"; }
		);
		rules = (
	END
	[ -z "$tpm" ] || echo '  { name = "laptops"; action = "require"; classes = [ "laptop" ]; attesters = [ "tpm" ]; },'
	cat <<-'END'
		  { name = "routers"; action = "require"; operations = [ "enroll" ]; classes = [ "router" ]; attesters = [ "acme" ]; },
		  { name = "all"; action = "allow"; }
		);
	END
} > "$dir/policy.conf"
cat "$dir/policy.conf" >> "$dir/enrolld.conf"
sed 's/^/   | /' "$dir/policy.conf"
show enrolld -c "$dir/enrolld.conf" --check

say "the gateway starts"
enrolld -c "$dir/enrolld.conf" 2> "$dir/enrolld.log" &
gateway=$!
ENROLLCTL_SOCKET=$dir/control.sock
export ENROLLCTL_SOCKET
tries=0
until enrollctl status >/dev/null 2>&1; do
	tries=$((tries + 1))
	if [ "$tries" -gt 100 ] || ! kill -0 "$gateway" 2>/dev/null; then
		cat "$dir/enrolld.log" >&2
		exit 1
	fi
	sleep 0.1
done
url=https://localhost:$port
scep=http://localhost:$((port + 2))
coap=coaps://localhost:$port
root=$dir/ca/root.pem

say "the registry learns the devices: first a dry run, then for good"
show enrollctl import "$dir/factory/assets.csv" --source factory --create-owners --dry-run
show enrollctl import "$dir/factory/assets.csv" --source factory --create-owners

say "the fleet enrolls with its factory certificates, then renews with the new ones"
show devsim fleet --devices "$dir/factory/devices" --url "$url" --cacert "$root" --op enroll --concurrency 4 --out "$dir/issued"
show devsim fleet --devices "$dir/issued" --url "$url" --cacert "$root" --op reenroll --concurrency 4 --out "$dir/issued"

say "constrained devices: EST over CoAP, then the renewal over a link that loses every seventh datagram"
show devsim fleet --protocol coap --devices "$dir/factory/devices" --count 6 --url "$coap" --cacert "$root" --out "$dir/coap"
show devsim fleet --protocol coap --op reenroll --devices "$dir/coap" --url "$coap" --cacert "$root" --out "$dir/coap" \
	--lossy drop=15,dup=5,reorder=5 --ack-timeout 0.3 --retry 5

# refused CODE WHAT...: a command that must end with this exit code
refused() {
	code=$1
	shift
	printf '   $ %s\n' "$*"
	status=0
	"$@" || status=$?
	[ "$status" = "$code" ] || { echo "demo: expected exit $code, got $status" >&2; exit 1; }
}
device() { basename "$(ls "$dir/factory/devices/"*.key | sed -n "$1p")" .key; }

# why TAG RULES: the newest decision about a device, and of its rules those that matter here
why() {
	id=$(enrollctl --json request list --asset "$1" | sed -n 's/.*"id": \([0-9]*\).*/\1/p' | sort -n | tail -n 1)
	printf '   $ enrollctl explain %s   (in part)\n' "$id"
	enrollctl explain "$id" | awk -v rules="$2" \
		'/^20[0-9][0-9]-/ && n++ { exit } NF && (!/^  / || $1 == "rule" || ($1 ~ rules && $2 != "skip"))'
}
# enroll TAG: the device with its factory certificate
enroll() { show devsim enroll --url "$url" --cacert "$root" --device "$dir/factory/devices/$1" --out "$dir/issued"; }

router=$(device 7)
say "a router: its factory certificate is the evidence that the rules ask for, and a secret is none"
sed -n "1p;/^$router,/s/,sensor,/,router,/p" "$dir/factory/assets.csv" > "$dir/routers.csv"
show enrollctl import "$dir/routers.csv" --source factory
enroll "$router"
why "$router" 'proof.present|identity|policy|attestation'
enrollctl secret new "$router" > "$dir/secret.txt" 2>/dev/null
refused 3 devsim enroll --url "$url" --cacert "$root" --user "$router" --secret-file "$dir/secret.txt"
why "$router" 'proof.present|policy|attestation'

if [ -n "$tpm" ]; then
	say "a laptop: a one-time secret says who it is, and its TPM that the key is in there"
	ek=$(devsim tpm show --tpm "$tcti" --json | sed -n 's/.*"ek_sha256": "\([0-9a-f]*\)".*/\1/p')
	printf 'tag,owner,manufacturer,model,serial,class,anchor\nLAP-1,Operations,acme,L1,L0001,laptop,ek_pub_sha256:tpm:%s\n' \
		"$ek" > "$dir/laptops.csv"
	show enrollctl import "$dir/laptops.csv" --source purchasing
	enrollctl secret new LAP-1 > "$dir/secret.txt" 2>/dev/null
	refused 3 devsim enroll --url "$url" --cacert "$root" --user LAP-1 --secret-file "$dir/secret.txt"
	show devsim enroll --url "$url" --cacert "$root" --user LAP-1 --secret-file "$dir/secret.txt" --tpm "$tcti" \
		--out "$dir/issued"
	why LAP-1 'proof.present|policy|attestation'
	show devsim enroll --op reenroll --url "$url" --cacert "$root" --device "$dir/issued/LAP-1" --tpm "$tcti" \
		--out "$dir/issued"
fi

stolen=$(device 8)
say "a device is stolen: what it holds is revoked, and to come back is an alert"
show enrollctl asset set-state "$stolen" stolen --reason "not in its rack"
refused 3 devsim enroll --url "$url" --cacert "$root" --device "$dir/factory/devices/$stolen"
why "$stolen" 'asset'

# The other side of a transfer: another user, whom only root can be.
partner=
[ "$(id -u)" != 0 ] || partner="setpriv --reuid=backup --regid=users --clear-groups"
# shellcheck disable=SC2086
[ -z "$partner" ] || $partner enrollctl status >/dev/null 2>&1 || partner=

moved=$(device 9)
say "a device is sold to a partner: one side offers, the other accepts, and the old owner's certificates end"
show enrollctl owner put Partner --kind partner --operators backup
show enrollctl transfer offer "$moved" --to Partner --reason "order 4711"
id=$(enrollctl --json transfer list --asset "$moved" --open | sed -n 's/.*"id": \([0-9]*\).*/\1/p' | head -n 1)
refused 1 enrollctl transfer accept "$id"
if [ -n "$partner" ]; then
	printf '   (as user backup, the partner)\n   $ enrollctl transfer accept %s\n' "$id"
	$partner enrollctl transfer accept "$id"
	refused 3 devsim enroll --op reenroll --url "$url" --cacert "$root" --device "$dir/issued/$moved"
	enroll "$moved"
	why "$moved" 'proof.present|asset.state|owner'
else
	echo "   (nobody else may come in here to be the partner's operator: the offer is withdrawn)"
	show enrollctl transfer cancel "$id"
fi

say "a stranger: a factory nobody trusts here"
refused 3 devsim enroll --url "$url" --cacert "$root" --device "$dir/stranger/devices/$(basename "$dir/stranger/devices/"*.key .key)"

gone=$(device 1)
say "a device that was decommissioned: its certificates are revoked, and it gets no other"
show enrollctl asset set-state "$gone" decommissioned --reason "sold"
refused 3 devsim enroll --url "$url" --cacert "$root" --device "$dir/factory/devices/$gone"

waiting=$(device 2)
say "a label where an operator decides: 202, approve, and the same request gets its certificate"
refused 4 devsim enroll --url "$url" --label guarded --cacert "$root" --device "$dir/factory/devices/$waiting" --save-csr "$dir/waiting.csr"
id=$(enrollctl --json request list --state pending | sed -n 's/.*"id": \([0-9]*\).*/\1/p' | head -n 1)
show enrollctl request approve "$id" --reason "known to us"
show devsim enroll --url "$url" --label guarded --cacert "$root" --device "$dir/factory/devices/$waiting" --repeat-csr "$dir/waiting.csr"
show enrollctl explain "$id"

secret=$(device 3)
say "a device without a factory certificate: a one-time secret"
enrollctl secret new "$secret" > "$dir/secret.txt" 2>/dev/null
show devsim enroll --url "$url" --cacert "$root" --user "$secret" --secret-file "$dir/secret.txt"
refused 3 devsim enroll --url "$url" --cacert "$root" --user "$secret" --secret-file "$dir/secret.txt"

say "devices that speak SCEP: each with a one-time challenge of its own, then renewed by the certificate it got"
: > "$dir/challenges.csv"
for n in 4 5 6; do
	printf '%s,%s\n' "$(device "$n")" "$(enrollctl secret new "$(device "$n")" --scep 2>/dev/null)" >> "$dir/challenges.csv"
done
show devsim fleet --protocol scep --challenges "$dir/challenges.csv" --url "$scep" --label scep --cacert "$root" --out "$dir/scep"
show devsim fleet --protocol scep --op reenroll --devices "$dir/scep" --url "$scep" --label scep --cacert "$root" --out "$dir/scep"

say "SCEP: a challenge works once"
head -n 1 "$dir/challenges.csv" | cut -d , -f 2 > "$dir/challenge.txt"
refused 3 devsim scep --url "$scep" --label scep --cacert "$root" --challenge-file "$dir/challenge.txt" --name "$(device 4)"

say "the inventory"
show enrollctl asset list

say "the audit: who did what, and proof that no row was touched"
show enrollctl audit list --limit 8
show enrollctl audit verify

say "the gateway stops"
kill "$gateway"
wait "$gateway"
gateway=
echo "done. Serve this directory again with:"
echo "  $1/enrolld -c $dir/enrolld.conf"
