"""Which rows to send: encoders and indexes behind one protocol, and the budgeted selection."""

from hashfed.retrieval.encoder_shapes import EncoderShape, encoder_shape
from hashfed.retrieval.index_file import load_index, save_index
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys, NoEncoder
from hashfed.retrieval.registry import METHODS, build_index, make_encoder
from hashfed.retrieval.sample import sample
from hashfed.retrieval.select import Selection, budget_rows, device_rows, select
from hashfed.retrieval.settings import RetrievalSettings, SelectionSettings

__all__ = [
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
    "encoder_shape",
    "load_index",
    "make_encoder",
    "sample",
    "save_index",
    "select",
]
