"""Write the PrometheusRule object of the operator from the plain rule files, which are what Prometheus itself reads.

    python scripts/monitoring_rules.py

Kustomize cannot put one file into another; tests/deploy/test_rules.py holds the two together.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

FOLDER = Path(__file__).parent.parent / "deploy" / "monitoring"

_HEAD = """\
# Written by scripts/monitoring_rules.py from rules/; change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: xception
  labels:
    app.kubernetes.io/part-of: xception-service
spec:
  groups:
"""


def prometheus_rule() -> str:
    """Return the object as YAML: the groups of all rule files, with their comments."""
    groups = []
    for file in sorted((FOLDER / "rules").glob("*.yaml")):
        comment, _, text = file.read_text().partition("groups:\n")
        groups.append(indent(comment, "    ") + indent(text, "  "))
    return _HEAD + "\n".join(groups)


if __name__ == "__main__":
    (FOLDER / "prometheus-rule.yaml").write_text(prometheus_rule())
