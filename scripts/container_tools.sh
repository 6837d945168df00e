#!/usr/bin/env bash
# Install what building and testing the images takes: Podman, and where images cannot be pulled, mmdebstrap for a base
# image from Debian's packages; Ceph's radosgw, the S3 server of the tests. Does nothing where all of it is there.
set -euo pipefail

commands=(podman buildah runc mmdebstrap radosgw ceph-mon ceph-osd)
packages=(podman buildah runc netavark aardvark-dns catatonit iptables mmdebstrap radosgw ceph-mon ceph-osd)

missing=()
for command in "${commands[@]}"; do
  command -v "$command" > /dev/null || missing+=("$command")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "The images cannot be built and tested here: ${missing[*]} missing. On Debian, as root: scripts/container_tools.sh" >&2
  exit 1
fi
echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q > /dev/null
apt-get install -q -y --no-install-recommends "${packages[@]}" > /dev/null
