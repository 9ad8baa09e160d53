#!/bin/bash
# A fleet enrolls, from nothing: make demo. usage: demo.sh BINARIES DIR
set -eu

bin=$(cd "$1" && pwd)
dir=$2
count=${DEMO_DEVICES:-20}
PATH=$bin:$PATH

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

say "a directory for the gateway: root key set aside, issuing CA online"
show enrolld --init "$dir" --port "$port" --trust "acme=$dir/factory/manufacturer/root.pem"
show enrolld -c "$dir/enrolld.conf" --check

say "the gateway starts"
enrolld -c "$dir/enrolld.conf" 2> "$dir/enrolld.log" &
gateway=$!
trap 'kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true' EXIT
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
trap - EXIT
echo "done. Serve this directory again with:"
echo "  $1/enrolld -c $dir/enrolld.conf"
