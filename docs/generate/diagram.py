"""Draw rows of (inputs, box, outputs) as an SVG that is readable on light and on dark pages."""

from __future__ import annotations

from html import escape

from catalog import Row

WIDTH, COLUMN, GAP = 656, 176, 56
BOX, STEP, BETWEEN, EDGE = 26, 34, 26, 8
DATA, WORK, LINE = "#566573", "#00796b", "#8d99a6"
STYLE = "font-family='system-ui, sans-serif' font-size='13'"


def draw(rows: list[Row], title: str) -> str:
    """Draw inputs on the left, the box in the middle and outputs on the right; one row below the other."""
    parts, top = [], EDGE
    for row in rows:
        height = STEP * max(len(row.inputs), len(row.outputs), 1) - (STEP - BOX)
        parts += _row(row, top, height)
        top += height + BETWEEN
    total = top - BETWEEN + EDGE
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {total}' width='{WIDTH}' role='img' "
        f"aria-label='{escape(_words(rows, title), quote=True)}' {STYLE}>"
    )
    arrow = (
        f"<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{LINE}'/></marker></defs>"
    )
    return "\n".join([head, arrow, *parts, "</svg>", ""])


def _row(row: Row, top: int, height: int) -> list[str]:
    left, middle, right = EDGE, EDGE + COLUMN + GAP, EDGE + 2 * (COLUMN + GAP)
    centre = top + height / 2
    parts = []
    for names, column in ((row.inputs, left), (row.outputs, right)):
        first = centre - (STEP * len(names) - (STEP - BOX)) / 2
        for place, name in enumerate(names):
            y = first + STEP * place
            start, end = (column + COLUMN, middle) if column == left else (middle + COLUMN, column)
            source, target = (y + BOX / 2, centre) if column == left else (centre, y + BOX / 2)
            parts.append(_curve(start, source, end, target))
            parts.append(_box(column, y, BOX, name, DATA, round_=13))
    return [*parts, _box(middle, centre - 17, 34, row.title, WORK, round_=4)]


def _box(x: float, y: float, height: float, name: str, colour: str, *, round_: int) -> str:
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{COLUMN}' height='{height:g}' rx='{round_}' fill='{colour}'/>"
        f"<text x='{x + COLUMN / 2:g}' y='{y + height / 2 + 4.5:g}' fill='#fff' text-anchor='middle'>"
        f"{escape(name)}</text>"
    )


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    return (
        f"<path d='M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}' fill='none' "
        f"stroke='{LINE}' stroke-width='1.5' marker-end='url(#a)'/>"
    )


def _words(rows: list[Row], title: str) -> str:
    """Describe the diagram in words, for screen readers."""
    sentences = [
        f"{row.title} reads {', '.join(row.inputs)} and writes {', '.join(row.outputs) or 'nothing'}" for row in rows
    ]
    return f"{title}: {'; '.join(sentences)}"
