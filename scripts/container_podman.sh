#!/usr/bin/env bash
# Run podman with settings that also fit a root account within a sandbox: limits that are there to be given, and a
# runtime that takes cgroups of both versions side by side. An existing configuration is kept.
set -euo pipefail

limit() { # NAME LETTER MOST: what this account may have, no more than MOST; of processes Linux counts to 32768 by default
  local most
  most=$(ulimit "-H$2")
  { [ "$most" != unlimited ] && [ "$most" -lt "$3" ]; } || most=$3
  echo "\"$1=$most:$most\""
}

if [ -z "${CONTAINERS_CONF:-}" ] && [ "$(id -u)" = 0 ] && [ ! -e /etc/containers/containers.conf ]; then
  CONTAINERS_CONF=$(cd "$(dirname "$0")/.." && pwd)/.local/containers.conf
  export CONTAINERS_CONF
  mkdir -p "${CONTAINERS_CONF%/*}"
  written=$(mktemp "$CONTAINERS_CONF.XXXXXX")
  printf '[containers]\ndefault_ulimits = [%s, %s]\n' \
    "$(limit nofile n 1048576)" "$(limit nproc u 32768)" > "$written"
  ! command -v runc > /dev/null || printf '[engine]\nruntime = "runc"\n' >> "$written"
  mv "$written" "$CONTAINERS_CONF"
fi
exec podman "$@"
