"""How the results of labels read."""

from hashfed.tasks.labels.metrics import CUTS
from hashfed.tasks.presentation import Measure, Presentation

PRECISION = tuple(
    Measure(f"precision_at_{k}", f"P@{k}", f"Precision at {k}", "%", "higher", f"P@{k}" if k == 1 else "")
    for k in CUTS
)
PROPENSITY = Measure(
    "propensity_precision_at_1", "PSP@1", "Propensity-scored precision at 1", "%", "higher", "PSP@1"
)
MEASURES = (*PRECISION, PROPENSITY)

PRESENTATION = Presentation(
    examples="examples",
    rows="labels",
    targets="examples",
    measures=MEASURES,
    main=MEASURES,
    floors=("popular", "neighbors"),
    note="P@k: share of true labels among the k with the highest scores, in the mean over all "
    "{targets:,.0f} held-out examples, those without labels included; equal scores count as the mean over "
    "their orders. PSP@1: the same with each label weighted by its inverse propensity (A 0.55, B 1.5), as a "
    "share of the best possible. Floors: the most frequent labels, and those of the 20 nearest training "
    "examples (cosine).",
)
