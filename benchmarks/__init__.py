"""What hashfed costs, and how good it is: ``python -m benchmarks.NAME`` in a checkout (docs/performance.md).

Not part of the installed package.
"""
