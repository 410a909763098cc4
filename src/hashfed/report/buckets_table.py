"""Sample buckets as plain text."""

import textwrap
from typing import TextIO

from hashfed.display import printable
from hashfed.experiments.buckets import Buckets

LEAST_WIDTH = 24
"""Columns that words get however narrow the terminal is."""


def heading(found: Buckets) -> str:
    """What was hashed, in one line."""
    settings = found.settings
    rows = "centred rows" if settings.center else "rows as they are"
    return (
        f"{len(found.words):,} words in {len(found.sizes):,} buckets "
        f"(SimHash of {rows}, K = {settings.bits}, seed {settings.seed})"
    )


def facts(found: Buckets) -> list[tuple[str, str]]:
    """Names and values of what is measured on all buckets."""
    empty = int((found.sizes == 0).sum())
    return [
        ("words in a bucket, mean", f"{found.sizes.mean():,.1f}"),
        ("smallest and largest bucket", f"{found.sizes.min():,} and {found.sizes.max():,}"),
        ("largest over mean", f"{found.largest_to_mean:.2f}"),
        ("empty buckets", f"{empty:,} of {len(found.sizes):,}"),
        ("cosine, two words of a bucket", cosine(found.cosine_in_bucket)),
        ("cosine, any two words", cosine(found.cosine_of_any)),
        ("cosine in a bucket, random rows", cosine(found.cosine_without_structure)),
    ]


def cosine(value: float | None) -> str:
    """With three digits; what rounds to zero has no sign."""
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}"


def words_heading(found: Buckets) -> str:
    """In which order words are listed."""
    return "nearest to the words asked for" if found.settings.near else "most frequent words"


def print_buckets(found: Buckets, width: int, file: TextIO) -> None:
    """Print the shown buckets with their words, wrapped to ``width`` columns, and the facts."""
    print(heading(found), file=file)
    print(file=file)
    first = max(len("bucket"), found.settings.bits)
    second = max(len("words"), *(len(f"{bucket.size:,}") for bucket in found.shown))
    indent = first + second + 4
    print(f"{'bucket':{first}}  {'words':>{second}}  {words_heading(found)}", file=file)
    for bucket in found.shown:
        text = " ".join(printable(word) for word in bucket.words)
        lines = textwrap.wrap(text, max(LEAST_WIDTH, width - indent), break_on_hyphens=False)
        print(f"{bucket.bits:{first}}  {bucket.size:>{second},}  {lines[0]}", file=file)
        for line in lines[1:]:
            print(" " * indent + line, file=file)
    print(file=file)
    rows = facts(found)
    names = max(len(name) for name, _ in rows)
    values = max(len(value) for _, value in rows)
    for name, value in rows:
        print(f"{name:{names}}  {value:>{values}}", file=file)
