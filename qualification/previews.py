"""What people see of a list before they apply it: counts, samples and reasons."""

from collections import Counter, defaultdict
from typing import Any

from qualification import countries, lists
from qualification.coverage_lists import MERGED, CoveragePlan
from qualification.coverage_rows import CoverageRows
from qualification.lists import ADDED, CHANGED, REMOVED, UNCHANGED
from qualification.place_lists import PlacePlan
from qualification.place_rows import PlaceRows

# What an import counts in columns of its own.
COUNTED = (ADDED, CHANGED, REMOVED, UNCHANGED)
MOST_REASONS = 20


def preview(
    plan: CoveragePlan | PlacePlan, reader: CoverageRows | PlaceRows
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return how many rows are of which kind, and the summary that an import keeps.

    The counts are `added, changed, removed, unchanged, rejected` and `rows_total`. The summary is
    plain JSON: `technologies` with counts, `reasons` of refusals, `samples` by kind, how many rows
    were `merged` into cells, and the `unused` columns.
    """
    by_technology: dict[int, Counter[str]] = defaultdict(Counter)
    kinds: Counter[str] = Counter()
    for technology, kind, count in plan.counts():
        kinds[kind] += count
        if technology is not None and kind in COUNTED:
            by_technology[technology][kind] += count
    counts = {kind: kinds[kind] for kind in COUNTED}
    rows_total = kinds.total() - kinds[REMOVED]
    rejected = kinds.total() - sum(counts.values()) - kinds[MERGED]
    summary = {
        "technologies": [
            {"technology": technology, **{kind: found[kind] for kind in COUNTED}}
            for technology, found in sorted(by_technology.items())
        ],
        "reasons": _reasons(plan) if rejected else [],
        "samples": {
            kind: [_sample(sample) for sample in plan.samples(kind)]
            for kind in (ADDED, CHANGED, REMOVED)
            if kinds[kind]
        },
        "merged": kinds[MERGED],
        "unused": reader.unused[:MOST_REASONS],
    }
    return {**counts, "rejected": rejected, "rows_total": rows_total}, summary


def _reasons(plan: CoveragePlan | PlacePlan) -> list[dict[str, Any]]:
    """Return why rows are refused, the most frequent reason first."""
    found = lists.read(
        f"SELECT kind, field, reason, count(*) FROM {plan.name}"  # noqa: S608
        " WHERE kind = ANY(%s) GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT %s",
        [plan.refused_kinds, MOST_REASONS],
    )
    named = [
        (*plan.refusals.get(kind, (field, reason)), count) for kind, field, reason, count in found
    ]
    return [{"field": field, "reason": reason, "count": count} for field, reason, count in named]


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    """Return a sample with its place in words."""
    parts = {name: row.pop(name) for name in ("street", "unit", "city", "region", "postal_code")}
    cell = row.pop("h3_res8", "")
    place = countries.here().one_line(**parts) if parts["street"] else f"H3 cell {cell}"
    return {"place": place, **row}
