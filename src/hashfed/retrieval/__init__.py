"""Which rows to send: methods behind one base class, and the budgeted selection."""

from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys, NoEncoder
from hashfed.retrieval.registry import BY_METHOD, METHODS, build_index, make_encoder, retrieval_settings
from hashfed.retrieval.sample import sample
from hashfed.retrieval.select import Selection, budget_rows, device_rows, select
from hashfed.retrieval.settings import SelectionSettings

__all__ = [
    "BY_METHOD",
    "METHODS",
    "Candidates",
    "Encoder",
    "EncoderShape",
    "Index",
    "Keys",
    "NoEncoder",
    "RetrievalSettings",
    "Selection",
    "SelectionSettings",
    "budget_rows",
    "build_index",
    "device_rows",
    "make_encoder",
    "retrieval_settings",
    "sample",
    "select",
]
