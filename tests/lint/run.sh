#!/bin/sh
# make lint: everything that can be said about the code without running it.
set -eu
cd "$(dirname "$0")/../.."

flags="-std=c17 -I."
sources=$(git ls-files 'base/*.c' 'est/*.c' 'scep/*.c' 'coap/*.c' 'policy/*.c' 'gateway/*.c' 'gateway/*/*.c' 'devsim/*.c')
failed=

step() {
	name=$1
	shift
	printf '== %s\n' "$name"
	"$@" || failed="$failed $name"
}

manuals() {
	mkdir -p out/lint
	make --no-print-directory -s all out/release/enrolld.conf.5
	mandoc -T lint -W warning gateway/man/enrolld.8 gateway/man/enrollctl.1 devsim/devsim.1 out/release/enrolld.conf.5
}
analyzer() {
	# The analyzer of gcc 12 follows one file at a time; what it reports must be empty.
	printf '%s\n' $sources | xargs -P "$(nproc)" -I{} gcc $flags -O1 -fanalyzer -Werror -c -o /dev/null {}
}
check() {
	cppcheck --quiet --std=c11 --language=c -I. --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro --error-exitcode=1 -j "$(nproc)" $sources
}
step layers tests/lint/layers.sh
step sizes tests/lint/sizes.sh
step manuals manuals
step cppcheck check
step analyzer analyzer
[ -z "$failed" ] || { echo "lint:$failed failed" >&2; exit 1; }
echo "lint: nothing to say"
