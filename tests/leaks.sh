#!/bin/bash
# Ten thousand enrollments under valgrind: no error, nothing definitely lost. usage: leaks.sh BINARIES [COUNT]
set -eu

bin=$(cd "$1" && pwd)
count=${2:-10000}
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
echo | "$bin/bench/load" --port "$port" --devices "$dir/factory/devices" --count 200 --threads 4 \
	--enroll --path /.well-known/est/simpleenroll | tail -n 1
echo | "$bin/bench/load" --port "$port" --devices "$dir/factory/devices" --count "$((count - 200))" --threads 4 \
	--enroll --keep --path /.well-known/est/simpleenroll | tail -n 1
kill "$gateway"
status=0
wait "$gateway" || status=$?
gateway=
cat "$dir/log"
[ "$status" = 0 ] || { echo "leaks: valgrind complains (exit $status)" >&2; exit 1; }
echo "leaks: none in $count enrollments"
