"""For hints where a model is too large, by those that know no task."""

SIZE_SETTING = "data.vocabulary"
"""The setting that decides the number of rows of the output table."""
