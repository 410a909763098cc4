"""Models by name: a new model adds its file and one line here."""

from hashfed.models.bag import BagSettings
from hashfed.models.sasrec import SASRecSettings
from hashfed.models.settings import ModelSettings
from hashfed.models.transformer import TransformerSettings
from hashfed.settings import ByName

MODELS: dict[str, type[ModelSettings]] = {
    "transformer": TransformerSettings,
    "bag": BagSettings,
    "sasrec": SASRecSettings,
}

BY_MODEL = ByName("name", MODELS, "transformer")
"""How a configuration names one."""
