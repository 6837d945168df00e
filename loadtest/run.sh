#!/usr/bin/env bash
# Locust without its page against a service that runs: a table, and exit status 1 when a request failed.
set -euo pipefail

host=${1:?address of the service, as in http://127.0.0.1:3000}
python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/readyz", timeout=5)' "$host" 2>/dev/null || {
  echo "No service is ready at $host. Start one with 'make serve' (and give its PORT here, or HOST=http://…)." >&2
  exit 2
}
exec locust -f loadtest/locustfile.py --headless --only-summary --host "$host" \
  --users "${USERS:-16}" --spawn-rate "${USERS:-16}" --run-time "${TIME:-30s}" --stop-timeout 10 --exit-code-on-error 1
