"""Locality-sensitive hashing: hash functions, transforms and hash tables (paper, section 3.1)."""

from hashfed.hashing.simhash import SimHash
from hashfed.hashing.tables import HashTables
from hashfed.hashing.transforms import QueryTransform, Transform, fit_transform

__all__ = ["HashTables", "QueryTransform", "SimHash", "Transform", "fit_transform"]
