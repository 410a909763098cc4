"""Sample buckets as plain text."""

import textwrap
from typing import TextIO

from hashfed.display import printable
from hashfed.report.columns import print_columns
from hashfed.reproduction.buckets import Buckets
from hashfed.reproduction.paper_buckets import (
    PAPER_BITS,
    PAPER_BUCKET_OF,
    PAPER_BUCKETS,
    PaperBucket,
)

LEAST_WIDTH = 24
"""Columns that words get however narrow the terminal is."""
NAMING = 3
"""Words by which one of the paper's buckets is called."""
_MARKS = "¹²³"


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


def mark(word: str) -> str:
    """The superscript number of the paper's bucket that has the word; empty for other words."""
    number = PAPER_BUCKET_OF.get(word)
    return "" if number is None else _MARKS[number - 1]


def paper_heading(found: Buckets) -> str:
    """What is looked up, and how much of it there is."""
    return (
        f"The vocabulary has {found.paper.known or 'none'} of the {len(PAPER_BUCKET_OF)} words in the "
        f"paper's sample buckets (its appendix A, K = {PAPER_BITS})"
    )


def paper_name(bucket: PaperBucket) -> str:
    """The first words of one of the paper's buckets."""
    return ", ".join(PAPER_BUCKETS[bucket.number - 1][:NAMING]) + "…"


def paper_known(bucket: PaperBucket) -> str:
    """How many words of one of the paper's buckets are known."""
    return f"{len(bucket.known)} of {len(bucket.known) + len(bucket.missing)}"


def paper_baselines(found: Buckets) -> list[tuple[str, str]]:
    """With what a share is compared: pairs of different buckets of the paper, and all pairs."""
    return [
        ("two words of different ones", share(found.paper.shared_of_different)),
        ("any two words", share(found.paper.shared_of_any)),
    ]


def share(value: float | None) -> str:
    """In percent, with two digits after the point."""
    return "–" if value is None else f"{value:.2%}"


def words_heading(found: Buckets) -> str:
    """In which order words are listed."""
    return "nearest to the words asked for" if found.settings.near else "most frequent words"


def print_buckets(found: Buckets, width: int, file: TextIO) -> None:
    """Print the shown buckets' words, wrapped to ``width`` columns, the facts and the paper's words."""
    print(heading(found), file=file)
    print(file=file)
    first = max(len("bucket"), found.settings.bits)
    second = max(len("words"), *(len(f"{bucket.size:,}") for bucket in found.shown))
    print(f"{'bucket':{first}}  {'words':>{second}}  {words_heading(found)}", file=file)
    for bucket in found.shown:
        text = " ".join(printable(word) + mark(word) for word in bucket.words)
        _print_wrapped(f"{bucket.bits:{first}}  {bucket.size:>{second},}", text, width, file)
    print(file=file)
    print_columns(facts(found), file)
    print(file=file)
    _print_paper(found, width, file)


def _print_paper(found: Buckets, width: int, file: TextIO) -> None:
    """Print where the words of the paper's buckets fall, and how often two of them fall together."""
    print(*textwrap.wrap(paper_heading(found), width), sep="\n", file=file)
    if not found.paper.known:
        return
    print(file=file)
    lines = [("", "known", "share a bucket")]
    for bucket in found.paper.buckets:
        name = f"{_MARKS[bucket.number - 1]} {paper_name(bucket)}"
        lines.append((name, paper_known(bucket), share(bucket.shared)))
    lines.extend((f"  {name}", "", value) for name, value in paper_baselines(found))
    print_columns(lines, file)
    print(file=file)
    print("  in our bucket: how many", file=file)
    for bucket in found.paper.buckets:
        counts = (f"{ours:0{found.settings.bits}b}:{len(words)}" for ours, words in bucket.ours.items())
        _print_wrapped(_MARKS[bucket.number - 1], " ".join(counts) or "–", width, file, gap=1)


def _print_wrapped(start: str, text: str, width: int, file: TextIO, gap: int = 2) -> None:
    """Print ``start``, and beside it the text in lines of ``width`` columns in all."""
    indent = len(start) + gap
    lines = textwrap.wrap(text, max(LEAST_WIDTH, width - indent), break_on_hyphens=False)
    print(start + " " * gap + lines[0], file=file)
    for line in lines[1:]:
        print(" " * indent + line, file=file)
