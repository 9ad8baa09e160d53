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
		skip "step-ca, which needs Go 1.25 or newer, could not be installed with $(go env GOVERSION): $(tail -n 1 "$bin/step-ca.log")"
	fi
}

# A program in PATH is used: its module is refused by the Go module proxy (OpenBao), and Debian has neither package. The
# source's go.mod names three modules; what they need is written beside its copy. Cold, it fetches 430 MB in 230 modules.
install_vault() {
	if command -v bao >/dev/null || command -v vault >/dev/null; then
		rm -f "$bin/vault"
		return 0
	fi
	[ ! -x "$bin/vault" ] || [ -n "$(find tests/peers/vault -newer "$bin/vault")" ] || return 0
	if ! command -v go >/dev/null; then
		skip "neither bao (OpenBao) nor vault is in PATH, and there is no go to install the latter with"
		return 0
	fi
	rm -rf "$bin/vault" "$bin/vault.source"
	cp -r tests/peers/vault "$bin/vault.source"
	if ! (cd "$bin/vault.source" && GOFLAGS=-mod=mod CGO_ENABLED=0 timeout "$limit_s" go build -ldflags='-s -w' -o "$bin/vault" .) \
		>"$bin/vault.log" 2>&1; then
		skip "Vault could not be installed with $(go env GOVERSION): $(tail -n 1 "$bin/vault.log")"
	fi
}

install_stepca
install_vault
PATH=$bin:$PATH ENROLLD_BIN=$(cd "$build" && pwd) /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/peers
