#!/usr/bin/env bash
# Installs the Debian packages of tools/packages.txt that are missing, after saying which.
#     tools/install_packages.sh build|test|bench      both test and bench include build
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=$1

missing=()
while read -r name group _; do
  [[ -z $name || $name == \#* ]] && continue
  [[ $group == build || ,$group, == *",$purpose,"* ]] || continue
  status=$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$name")
done <tools/packages.txt
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "Installing from Debian: ${missing[*]}"
as_root=(env DEBIAN_FRONTEND=noninteractive)
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || { echo "root or sudo is needed to install them" >&2; exit 1; }
  as_root=(sudo "${as_root[@]}")
fi
install=("${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}")
# The package lists of a fresh machine are empty or old; they are fetched only when needed.
"${install[@]}" || { "${as_root[@]}" apt-get update -q && "${install[@]}"; }
