#!/bin/sh
# Functions stay under 70 lines and files under 520: one job each.
set -eu
status=0
files=$(git ls-files '*.c' '*.h')
for file in $files; do
	lines=$(wc -l < "$file")
	[ "$lines" -le 520 ] || { echo "$file: $lines lines"; status=1; }
done
long=$(ctags -x --c-kinds=f --fields=+ne --_xformat='%{end} %{line} %N %F' $files 2>/dev/null |
	awk '$1 - $2 + 1 > 70 { print $4 ":" $2 ": " $3 "() has " $1 - $2 + 1 " lines" }')
[ -z "$long" ] || { echo "$long"; status=1; }
exit $status
