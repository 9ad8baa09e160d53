#!/bin/sh
# Includes only point down: tests/lint/layers.txt holds the allowed arrows.
set -eu
status=0
for file in $(git ls-files '*.c' '*.h'); do
	folder=$(dirname "$file")
	rule=$(sed -n "s|^$folder: *||p" tests/lint/layers.txt)
	case $folder in tests/*) continue ;; esac
	if ! grep -q "^$folder:" tests/lint/layers.txt; then
		echo "$file: its folder is not in tests/lint/layers.txt"
		status=1
		continue
	fi
	for target in $(sed -n 's|^#include "\(.*\)/[^/]*"$|\1|p' "$file" | sort -u); do
		[ "$target" = "$folder" ] && continue
		case " $rule " in
		*" $target "*) ;;
		*) echo "$file includes $target/, which $folder may not"; status=1 ;;
		esac
	done
	if grep -n '^#include "[^/]*"$' "$file"; then
		echo "$file: name includes from the top folder"
		status=1
	fi
done
exit $status
