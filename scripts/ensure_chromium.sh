#!/usr/bin/env bash
# The browser tests open the reports in headless Chromium. Where there is none and apt-get
# may be used, install it; otherwise those tests skip and say so. Never an error.
set -uo pipefail
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "No Chromium here and no right to install it: the browser tests will be skipped"
  exit 0
fi
echo "Installing Chromium for the browser tests"
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq &&
  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 ||
  echo "Chromium could not be installed: the browser tests will be skipped"
exit 0
