#!/usr/bin/env bash
# Installs the Debian packages of tools/packages.txt that are missing, after saying which.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
while read -r name _; do
  [[ -z $name || $name == \#* ]] && continue
  status=$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$name")
done <tools/packages.txt
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "Installing from Debian: ${missing[*]}"
as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || { echo "root or sudo is needed to install them" >&2; exit 1; }
  as_root=(sudo)
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  "${missing[@]}" ||
  { "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
      --no-install-recommends "${missing[@]}"; }
