#!/usr/bin/env bash
# Run podman with settings that also work for root in a sandbox: resource limits that the account may set, and a runtime
# that supports mixed cgroup v1 and v2. An existing configuration takes precedence.
set -euo pipefail

limit() { # NAME LETTER MAXIMUM: the hard limit of this account, at most MAXIMUM (32768 is Linux' default for processes)
  local limit
  limit=$(ulimit "-H$2")
  { [ "$limit" != unlimited ] && [ "$limit" -lt "$3" ]; } || limit=$3
  echo "\"$1=$limit:$limit\""
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
