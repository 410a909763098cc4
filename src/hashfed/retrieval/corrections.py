"""Which estimator of the tail goes with which retrieval settings (``selection.correction``)."""

from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.registry import METHODS
from hashfed.retrieval.settings import SelectionSettings


def uses_planes(retrieval: RetrievalSettings, selection: SelectionSettings) -> bool:
    """Whether the server sends planes of the tail with a part of the rows."""
    asked = selection.correction in ("auto", "control-variate") and selection.planes > 0
    return asked and _planes_problem(retrieval, selection) is None


def uses_sketch(retrieval: RetrievalSettings, selection: SelectionSettings) -> bool:
    """Whether clients send centroids of their queries for the planes alone."""
    return selection.points == "sketch" and uses_planes(retrieval, selection)


def correction_problem(retrieval: RetrievalSettings, selection: SelectionSettings) -> str | None:
    """Why these do not go together, as ``field = value: what is allowed``; None where they do."""
    if selection.correction != "control-variate":
        return None
    problem = _planes_problem(retrieval, selection)
    return None if problem is None else f"selection.correction = control-variate: {problem}"


def _planes_problem(retrieval: RetrievalSettings, selection: SelectionSettings) -> str | None:
    """What stands in the way of planes."""
    if selection.delivery == "secure":
        return None  # of the sums that a cohort makes, whatever the method
    if selection.delivery != "on-demand":
        return (
            f"needs selection.delivery on-demand, not {selection.delivery}, for the server makes planes of a "
            "client's points and draw, which it then does not know"
        )
    if selection.points == "keys" and not (retrieval.tells_queries or retrieval.sends_all):
        able = ", ".join(name for name, method in METHODS.items() if method.tells_queries)
        return (
            f"the keys of retrieval.method {retrieval.method} say nothing of where queries are; needs "
            f"selection.points sketch, or method {able}"
        )
    return None
