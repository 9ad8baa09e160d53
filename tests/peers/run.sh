#!/bin/sh
# CAs that Debian does not have, by their own language's registry, against the connectors.
# usage: tests/peers/run.sh BUILD_DIRECTORY
#
# What is installed stays in out/peers. What cannot be installed is skipped, and a line says so.
set -eu
cd "$(dirname "$0")/../.."
build=$1
bin=$PWD/out/peers
stepca=github.com/smallstep/certificates/cmd/step-ca@v0.30.2
limit_s=${PEERS_LIMIT_S:-1800}
mkdir -p "$bin"

skip() {
	echo "test-peers: skipped: $1" >&2
}

# The first build takes minutes: it fetches and compiles some 150 modules.
install_stepca() {
	[ ! -x "$bin/step-ca" ] || return 0
	if ! command -v go >/dev/null; then
		skip "step-ca needs Go 1.25 or newer, and there is no go"
	elif ! GOBIN=$bin CGO_ENABLED=0 timeout "$limit_s" go install "$stepca" >"$bin/step-ca.log" 2>&1; then
		skip "step-ca could not be installed: $(tail -n 1 "$bin/step-ca.log")"
	fi
}

install_stepca
# A program in PATH is used: the Go module proxy answers 403 for OpenBao's module, Debian has neither package, and
# Vault 1.14 as a module panics at its first mount, since no released sdk module is the one it was made with.
command -v bao >/dev/null || command -v vault >/dev/null ||
	skip "neither bao (OpenBao) nor vault is in PATH; no Debian package has them, and their Go modules are refused (OpenBao) or do not work (Vault 1.14)"
PATH=$bin:$PATH ENROLLD_BIN=$(cd "$build" && pwd) /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/peers
