#!/usr/bin/env bash
# The demo behind `make serve` and `make model`: train a model or take given weights, package, publish, serve.
#
# Every step writes its result atomically and is skipped if the result exists, so an interrupted demo
# continues with the next start. If MODEL_STORE_URL is set, that store is served unchanged.
set -euo pipefail

target=${1:?serve or model}
port=${PORT:-3000}
weights=${WEIGHTS:-}
name=${MODEL_NAME:-xception}
local_dir=$PWD/.local

heading() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 2; }

# Each kind of model has its own folder and store.
case $weights in
  "") base=$local_dir ;;
  imagenet) base=$local_dir/imagenet ;;
  *)
    [ -f "$weights" ] || fail "WEIGHTS=$weights: no such file. Use 'imagenet', or a file of Xception weights (.h5)."
    base=$local_dir/weights-$(python -c 'import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], "rb"), "sha256").hexdigest()[:12])' "$weights")
    ;;
esac
package=$base/package

make_model() {
  if [ -z "$weights" ]; then
    heading "Training Keras' Xception on scikit-learn's digits (a few minutes; after Ctrl-C the next start continues)"
    python -m training train --data digits --output "$base/run" --resume
    [ -f "$base/run/evaluation.json" ] || { heading "Evaluating it on held-out digits"; python -m training evaluate "$base/run"; }
    [ -d "$package" ] || { heading "Packaging it"; python -m training export "$base/run" --output "$package"; }
  elif [ ! -d "$package" ]; then
    heading "Packaging Keras' ImageNet Xception"
    python -m training package-imagenet --weights "$weights" --output "$package"
  fi
  heading "Publishing it"
  python -m model_store publish "$package" --store "$MODEL_STORE_URL" --model "$name" --label stable
}

if [ -n "${MODEL_STORE_URL:-}" ]; then
  [ -z "$weights" ] || fail "WEIGHTS and MODEL_STORE_URL are both set, but a store already has its models; unset one of them."
  echo "Using the store $MODEL_STORE_URL"
else
  export MODEL_STORE_URL=file://$base/store
  mkdir -p "$base"
  # Only exit status 3 (not found) means that there is no model yet; publishing does not solve other errors.
  status=0
  output=$(env -u MODEL_PUBLIC_KEY python -m model_store show "$name:stable" 2>&1 >/dev/null) || status=$?
  case $status in
    0) ;;
    3) make_model ;;
    *) fail "$output" ;;
  esac
fi
# An image for the example commands. The digits have one golden image per class, in order; take the 8.
example=
images=("$package"/golden/*.*g)
if [ -f "${images[0]}" ]; then
  [ -z "$weights" ] && [ -f "$package/golden/08.png" ] && images=("$package/golden/08.png")
  example=$base/example.${images[0]##*.}
  cp "${images[0]}" "$example"
  example=${example#"$PWD"/}
fi
[ "$target" = serve ] || exit 0

export MODEL_NAME=$name
export MODEL_CACHE_DIR=${MODEL_CACHE_DIR:-$local_dir/cache}
python - "${BIND:-127.0.0.1}" "$port" <<'END' || fail "Port $port is not available; choose another with PORT=..."
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    pass
END
# BentoML stores metrics in its home; servers that share one would delete each other's.
export BENTOML_HOME=${BENTOML_HOME:-$local_dir/bentoml/$port}
mkdir -p "$BENTOML_HOME"
url=http://localhost:$port

announce_when_ready() {
  until python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)' "$url/readyz" 2>/dev/null; do
    kill -0 $$ 2>/dev/null || return 0
    sleep 0.3
  done
  heading "Ready after $SECONDS s: $url (interactive API documentation), $url/metrics"
  if [ -n "$example" ]; then
    printf '\n  curl -F image=@%s %s/classify\n' "$example" "$url"
    printf '\n  echo "{\\"instances\\": [{\\"b64\\": \\"$(base64 -w0 %s)\\"}]}" | curl -d @- %s/v1/models/%s:predict\n\n' \
      "$example" "$url" "$name"
  else
    printf '\n  curl -F image=@IMAGE %s/classify\n\n' "$url"
  fi
}

SECONDS=0
heading "Starting bentoml serve on $url (Ctrl-C stops it)"
announce_when_ready &
exec bentoml serve --host "${BIND:-127.0.0.1}" --port "$port"
