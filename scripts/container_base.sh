#!/usr/bin/env bash
# Build IMAGE as a replacement for `python:3.11-slim` where no registry is reachable: Debian 12 with its own Python
# 3.11, from the APT sources of this machine. Takes half a minute; needs root and mmdebstrap.
set -euo pipefail

image=${1:?the name of the image}
podman=$(dirname "$0")/container_podman.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Use this machine's APT sources if it runs the same release: they name a mirror that is reachable.
sources=()
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  if [ -e "$file" ] && grep -qw bookworm "$file"; then
    sources=("$file")
    break
  fi
done
# usr-is-merged instead of usrmerge, which needs Perl; no manuals and translations, like the official image.
mmdebstrap --quiet --variant=minbase --include=usr-is-merged,python3,python3-venv,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  bookworm "$folder/base.tar" "${sources[@]}"
"$podman" import --quiet --change 'CMD ["python3"]' "$folder/base.tar" "$image"
