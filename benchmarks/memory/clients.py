"""A client's peak memory at several budgets against all rows."""

from collections.abc import Callable, Sequence
from typing import Any

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import Config, make_config
from hashfed.cost.budgets import Budget, budget_label, budget_settings
from hashfed.engines.budget import build_model
from hashfed.engines.device_memory import measure_device_memory
from hashfed.randomness import stream

SENTENCES, LENGTH = 64, 20
"""Of the client, all full."""


def client_memory(words: int, budgets: Sequence[Budget], tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the default model and method with ``words`` words.

    Args:
        words: V; the model has V + 4 rows.
        budgets: fractions of the rows, or own rows and others; measured after 1, which is all of them.
        tell: told of each budget before it is measured.

    Returns:
        ``rows``, and for each budget ``process`` (peak resident bytes), ``baseline`` (of the loaded
        libraries), ``memory`` (the difference), and ``process_to_full`` and ``memory_to_full``.

    """
    data = synthetic_text(words, 1, SENTENCES, LENGTH)
    model = build_model(Config())
    parameters = model.init({"output": data.size}, stream(0, "init"))
    found: dict[Budget, dict[str, float]] = {}
    for budget in dict.fromkeys([1.0, *budgets]):
        tell(f"{words:,} words, budget {budget_label(budget)}")
        measured = measure_device_memory(_config(words, budget), model, data, parameters)
        peak, baseline = measured["memory_peak"], measured["memory_baseline"]
        found[budget] = {"process": peak, "baseline": baseline, "memory": peak - baseline}
        for name in ("process", "memory"):
            found[budget][f"{name}_to_full"] = found[budget][name] / found[1.0][name]
    return {
        "words": words,
        "rows": data.size,
        "sentences": SENTENCES,
        "length": LENGTH,
        "budgets": {budget_label(budget): entry for budget, entry in found.items()},
    }


def _config(words: int, budget: Budget) -> Config:
    return make_config(
        {
            "data": {"vocabulary": words, "sentence_length": LENGTH},
            "retrieval": {"method": "full"} if budget == 1 else {},
            "selection": budget_settings(budget),
            "client": {"examples": SENTENCES},
        }
    )
