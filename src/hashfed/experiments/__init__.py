"""Benchmarks that are commands of ``hashfed bench``."""
