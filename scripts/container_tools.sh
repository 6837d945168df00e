#!/usr/bin/env bash
# Install Podman, which builds the images, or with `test` also the tools of their tests: mmdebstrap, which builds a base
# image from Debian packages where none can be pulled, and Ceph's radosgw, an S3 server. Does nothing if all are
# installed.
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
  echo "Cannot build or test images: ${missing[*]} not installed. On Debian, run as root: $0 ${1:-build}" >&2
  exit 1
fi
echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q > /dev/null
apt-get install -q -y --no-install-recommends "${packages[@]}" > /dev/null
