"""Stand-in until the branch with the reports comes."""

from hashfed.files import write_atomically


def require_reproduction_report():
    pass


def write_reports(found, root):
    write_atomically(root / "report.html", repr(found).encode())
    return [root / "report.html"]


def print_reproduction(found, file):
    print(len(found.runs), file=file)
