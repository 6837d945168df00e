#!/usr/bin/env bash
# The demo behind `make serve` and `make model`: train or take weights, package, publish, serve.
#
# Every step leaves its result only once it is whole, and is skipped when that is there: whatever was
# interrupted goes on at the next start. A MODEL_STORE_URL of your own is served as it is.
set -euo pipefail

target=${1:?serve or model}
port=${PORT:-3000}
weights=${WEIGHTS:-}
name=${MODEL_NAME:-xception}
local_dir=$PWD/.local

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 2; }

# Each kind of model has a folder, and so a store, of its own.
case $weights in
  "") base=$local_dir ;;
  imagenet) base=$local_dir/imagenet ;;
  *)
    [ -f "$weights" ] || fail "WEIGHTS=$weights: no such file. Give 'imagenet', or a file of Xception weights (.h5)."
    base=$local_dir/weights-$(python -c 'import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], "rb"), "sha256").hexdigest()[:12])' "$weights")
    ;;
esac
package=$base/package

make_model() {
  if [ -z "$weights" ]; then
    say "Training Keras' Xception on scikit-learn's digits (a few minutes; Ctrl-C is fine, the next start goes on)"
    python -m training train --data digits --output "$base/run" --resume
    [ -f "$base/run/evaluation.json" ] || { say "Evaluating it on digits it has not seen"; python -m training evaluate "$base/run"; }
    [ -d "$package" ] || { say "Packaging it"; python -m training export "$base/run" --output "$package"; }
  elif [ ! -d "$package" ]; then
    say "Packaging Keras' ImageNet Xception"
    python -m training package-imagenet --weights "$weights" --output "$package"
  fi
  say "Publishing it"
  python -m model_store publish "$package" --store "$MODEL_STORE_URL" --model "$name" --label stable
}

if [ -n "${MODEL_STORE_URL:-}" ]; then
  [ -z "$weights" ] || fail "WEIGHTS and MODEL_STORE_URL are both set; the store says which model is served, so drop one."
  echo "Using the store $MODEL_STORE_URL"
else
  export MODEL_STORE_URL=file://$base/store
  mkdir -p "$base"
  # Only «not found» (3) means that there is no model yet; whatever else is wrong, publishing does not mend it.
  status=0
  said=$(env -u MODEL_PUBLIC_KEY python -m model_store show "$name:stable" 2>&1 >/dev/null) || status=$?
  case $status in
    0) ;;
    3) make_model ;;
    *) fail "$said" ;;
  esac
fi
# An image to try it with; of the digits, which have one golden image per class in order, an 8.
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
python - "${BIND:-127.0.0.1}" "$port" <<'END' || fail "Port $port is in use, or not to be had; choose another with PORT=..."
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    pass
END
# BentoML keeps metrics below its home; servers that share one would wipe each other's.
export BENTOML_HOME=${BENTOML_HOME:-$local_dir/bentoml/$port}
mkdir -p "$BENTOML_HOME"
url=http://localhost:$port

say_ready() {
  until python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)' "$url/readyz" 2>/dev/null; do
    kill -0 $$ 2>/dev/null || return 0
    sleep 0.3
  done
  say "Ready after $SECONDS s: $url (the API, to try out), $url/metrics"
  if [ -n "$example" ]; then
    printf '\n  curl -F image=@%s %s/classify\n' "$example" "$url"
    printf '\n  echo "{\\"instances\\": [{\\"b64\\": \\"$(base64 -w0 %s)\\"}]}" | curl -d @- %s/v1/models/%s:predict\n\n' \
      "$example" "$url" "$name"
  else
    printf '\n  curl -F image=@IMAGE %s/classify\n\n' "$url"
  fi
}

SECONDS=0
say "Starting bentoml serve on $url (Ctrl-C stops it)"
say_ready &
exec bentoml serve --host "${BIND:-127.0.0.1}" --port "$port"
