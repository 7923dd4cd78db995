#!/usr/bin/env bash
# Makes a virtual environment also where Debian's python3-venv package is missing.
#   make_venv.sh FOLDER [PYTHON]
set -euo pipefail
folder=${1:?folder of the environment}
python=${2:-}

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ -z "$python" ]; then
  for candidate in python3.11 python3 python3.12 python3.13 python; do
    if command -v "$candidate" >/dev/null && usable "$candidate"; then python=$candidate; break; fi
  done
fi
if [ -z "$python" ] || ! usable "$python"; then
  echo "No Python 3.11 or newer found. On Debian 12: apt-get install python3 python3-venv" >&2
  echo "Elsewhere, name one: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
fi

works() { [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; }
works && exit 0
rm -rf "$folder"
"$python" -m venv "$folder" >/dev/null 2>&1 && works && exit 0

rm -rf "$folder"
"$python" -m virtualenv "$folder" >/dev/null 2>&1 && works && exit 0

rm -rf "$folder"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "This Python has no venv module; installing Debian's python3-venv"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  "$python" -m venv "$folder" && works && exit 0
fi
echo "Could not make a virtual environment with $python." >&2
echo "On Debian: apt-get install python3-venv. Elsewhere: $python -m pip install --user virtualenv" >&2
exit 1
