"""The schema of a report, as its types have it: `python -m tests.evaluation.schema > FILE` after these have changed."""

from __future__ import annotations

import json
from typing import Any

from calomlp.documents import schema_of
from calomlp.evaluation.report import REPORT_SCHEMA, Report


def schema() -> dict[str, Any]:
    """Return what `calomlp/evaluation/report.schema.json` holds."""
    found = schema_of(Report)
    found["properties"] = {"schema": {"const": REPORT_SCHEMA}, **found["properties"]}
    found["required"] = ["schema", *found["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "calomlp report"}
    return {**head, **found}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))  # noqa: T201 - this is what it is for
