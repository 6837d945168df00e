#!/usr/bin/env bash
# Install what building the images takes, Podman, or with `test` also what testing them does: mmdebstrap, for a base image
# from Debian's packages where none can be pulled, and Ceph's radosgw, the S3 server. Does nothing where all of it is there.
set -euo pipefail

commands=(podman)
packages=(podman buildah runc netavark aardvark-dns catatonit iptables mmdebstrap)
if [ "${1:-build}" = test ]; then
  commands+=(buildah runc mmdebstrap radosgw ceph-mon ceph-osd)
  packages+=(radosgw ceph-mon ceph-osd)
fi

missing=()
for command in "${commands[@]}"; do
  command -v "$command" > /dev/null || missing+=("$command")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "The images cannot be built or tested here: ${missing[*]} missing. On Debian, as root: $0 ${1:-build}" >&2
  exit 1
fi
echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q > /dev/null
apt-get install -q -y --no-install-recommends "${packages[@]}" > /dev/null
