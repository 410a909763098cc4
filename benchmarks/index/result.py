"""The benchmark's result: nested plain values, as ``result.json`` holds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.index.run import OPTIMUM

QUALITIES = ("coverage", "recall")
COSTS = (
    "build_seconds",
    "refresh_seconds",
    "encode_seconds",
    "lookup_seconds",
    "encoder_bytes",
    "key_bytes",
    "index_bytes",
)


def summarize(measured: Sequence[tuple[str, int, Mapping[str, Any]]], target: str) -> dict[str, Any]:
    """One layer's measurements of all seeds: means and spreads.

    Returns:
        ``target``, ``name``, ``rows``, ``d``, and ``indexes``: by name ``coverage`` and ``recall`` (means
        over seeds, one for each budget), ``coverage_of_optimum`` and its ``..._spread`` (largest minus
        smallest over seeds, of the ratio within a seed), medians of the costs; or ``skipped``, why.

    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for name, _, result in measured:
        by_name.setdefault(name, []).append(result)
    layer = by_name.pop("layer")[0]
    best = np.array([result["coverage"] for result in by_name[OPTIMUM]])
    indexes: dict[str, Any] = {}
    for name, results in by_name.items():
        reasons = [result["skipped"] for result in results if "skipped" in result]
        if reasons:
            indexes[name] = {"skipped": reasons[0]}
            continue
        ratios = np.array([result["coverage"] for result in results]) / best
        indexes[name] = {
            **{
                quality: np.mean([result[quality] for result in results], axis=0).tolist()
                for quality in QUALITIES
            },
            "coverage_of_optimum": ratios.mean(axis=0).tolist(),
            "coverage_of_optimum_spread": np.ptp(ratios, axis=0).tolist(),
            **{cost: float(np.median([r[cost] for r in results])) for cost in COSTS if cost in results[0]},
        }
    return {"target": target, **layer, "indexes": indexes}
