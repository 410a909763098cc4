"""Reads pages that hashfed wrote."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """What a page shows and would load.

    Attributes:
        source: without plotly's code.
        tables: by caption and first cell of a row: the other cells.
        rows: by caption: all rows with all their cells, the header first.
        loads: whatever attributes name to be loaded or linked.
        text: outside of scripts and styles.
        figures: plotly's, as plain data.

    """

    def __init__(self, path: Path) -> None:
        from plotly.offline import get_plotlyjs

        super().__init__()
        self.source = path.read_text(encoding="utf-8").replace(get_plotlyjs(), "")
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self.loads: list[str] = []
        self.text = ""
        self.figures: list[dict[str, Any]] = []
        self._in: list[str] = []
        self._table: dict[str, list[str]] = {}
        self._rows: list[list[str]] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in.append(tag)
        if tag in ("meta", "link", "line"):
            self._in.pop()
        self.loads += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag == "tr":
            self._row: list[str] = []
        if tag in ("td", "th", "caption"):
            self._cell = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("meta", "link", "line"):
            return
        assert self._in.pop() == tag, "tags are nested"
        if tag == "caption":
            self._table = self.tables.setdefault(self._cell, {})
            self._rows = self.rows.setdefault(self._cell, [])
        if tag in ("td", "th"):
            self._row.append(self._cell.strip())
        if tag == "tr":
            self._table[self._row[0]] = self._row[1:]
            self._rows.append(self._row)

    def handle_data(self, data: str) -> None:
        inside = self._in[-1] if self._in else ""
        if inside == "script" and data.startswith("{"):
            self.figures.append(json.loads(data))
        elif inside not in ("script", "style"):
            self.text += data
            if any(tag in self._in for tag in ("td", "th", "caption")):
                self._cell += " " + data if inside == "span" else data
