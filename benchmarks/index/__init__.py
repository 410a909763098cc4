"""How good and how dear the indexes are, on trained and synthetic layers (``python -m benchmarks.index``)."""
