#!/usr/bin/env bash
# Opens the pages in headless Chromium and checks what a person would see.
#
#   tests/browser/run.sh [PROGRAM]    PROGRAM: the release build's windtunnel
#
# Needs chromium, chromium-driver and python3-selenium; installs nothing.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${1:-$root/build/release/windtunnel}
[ -x "$program" ] || { echo "no program at $program: build it first" >&2; exit 1; }

# A python of the user's own may come first and know nothing of Debian's selenium.
for python in python3 /usr/bin/python3; do
  "$python" -c 'import selenium' 2>/dev/null && break
  python=
done
[ -n "$python" ] || { echo "no python3 with selenium: install python3-selenium" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for page in report sweep compare; do
  echo "$page.html"
  mkdir "$folder/$page"
  "$python" "$root/tests/browser/${page}_page.py" "$program" "$root" "$folder/$page"
done
