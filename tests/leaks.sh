#!/bin/bash
# Ten thousand enrollments under valgrind: no error, nothing definitely lost.
# usage: leaks.sh BINARIES [COUNT] [PROTOCOL]   PROTOCOL: est, or coap, where 400 is the usual COUNT
set -euo pipefail

bin=$(cd "$1" && pwd)
protocol=${3:-est}
case $protocol in
est) count=${2:-10000} ;;
coap) count=${2:-400} ;;
*) echo "leaks: protocol est or coap" >&2; exit 2 ;;
esac
dir=$(mktemp -d)
gateway=
trap '[ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true; rm -rf "$dir"' EXIT

port=21000
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 10)); done
"$bin/devsim" factory --out "$dir/factory" --count 16 --manufacturer acme --model X1 --owner Leaks --quiet >/dev/null
"$bin/enrolld" --init "$dir/gateway" --port "$port" --trust "acme=$dir/factory/manufacturer/root.pem" >/dev/null
# valgrind is slow: nobody is to be turned away for that.
cat >> "$dir/gateway/enrolld.conf" <<'CONF'
log = { level = "warn"; };
limits = { handshake_time = "300s"; header_time = "300s"; body_time = "300s"; queue_age = "300s"; idle_time = "300s";
           requests_per_connection = 1000000; };
coap = { mtu = 512; session_timeout = "5m"; };
CONF
valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 \
	"$bin/enrolld" -c "$dir/gateway/enrolld.conf" 2> "$dir/log" &
gateway=$!
export ENROLLCTL_SOCKET=$dir/gateway/control.sock
tries=0
until "$bin/enrollctl" status >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] && kill -0 "$gateway" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
	sleep 0.1
done
"$bin/enrollctl" import "$dir/factory/assets.csv" --create-owners 2>/dev/null
if [ "$protocol" = coap ]; then
	# Half on connections of their own, over a bad link; the other half twenty to a connection.
	fleet() {
		"$bin/devsim" fleet --protocol coap --devices "$dir/factory" --url "coaps://localhost:$port" \
			--cacert "$dir/gateway/ca/root.pem" --timeout 10m --concurrency 8 --quiet "$@" > "$dir/fleet" 2>&1 ||
			{ cat "$dir/fleet" "$dir/log" >&2; exit 1; }
	}
	fleet --operations "$((count / 2))" --lossy drop=5,dup=5,reorder=5,mtu=512 --ack-timeout 5
	fleet --operations "$((count - count / 2))" --keep-alive=20
else
	echo | "$bin/bench/load" --port "$port" --devices "$dir/factory/devices" --count 200 --threads 4 \
		--enroll --path /.well-known/est/simpleenroll | tail -n 1
	echo | "$bin/bench/load" --port "$port" --devices "$dir/factory/devices" --count "$((count - 200))" --threads 4 \
		--enroll --keep --path /.well-known/est/simpleenroll | tail -n 1
fi
kill "$gateway"
status=0
wait "$gateway" || status=$?
gateway=
cat "$dir/log"
[ "$status" = 0 ] || { echo "leaks: valgrind complains (exit $status)" >&2; exit 1; }
echo "leaks: none in $count enrollments by $protocol"
