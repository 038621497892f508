"""One line chart as SVG text: axes, lines with a legend, dots, levels. No dependency, no script, no fonts of its own.

In: points in the axes' units. Out: a standalone SVG document. Used by bench.plots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 960, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 290, 40, 55  # margins; the legend stands on the right
# Okabe and Ito's colours, told apart by most colour-blind readers; beyond them the dash changes.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES: Final = ("", "7 3", "2 3")
TICKS_WANTED: Final = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """A direction with its range."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return where a value stands, 0 to 1."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Return round values within the range."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) < TICKS_WANTED else (1,)
            candidates = [step * 10.0**decade for decade in decades for step in steps]
        else:
            rough = (self.high - self.low) / TICKS_WANTED or 1
            unit = 10.0 ** math.floor(math.log10(rough))
            step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough)
            first = math.ceil(self.low / step)
            candidates = [number * step for number in range(first, first + 2 * TICKS_WANTED + 2)]
        slack = (self.high - self.low) * 1e-9
        return [value for value in candidates if self.low - slack <= value <= self.high + slack]


@dataclass(slots=True)
class Chart:
    """A chart being drawn."""

    title: str
    across: Axis
    up: Axis
    _parts: list[str] = field(default_factory=list)
    _legend: int = 0

    def line(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line and its legend."""
        colour, dash = self._next_style()
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="1.8"' + (f' stroke-dasharray="{dash}"' if dash else "")
        self._parts.append(f'<polyline points="{path}" {style}/>')
        y = TOP + 8 + 18 * self._legend
        x = WIDTH - RIGHT + 15
        self._parts.append(f'<polyline points="{x},{y} {x + 24},{y}" {style}/>')
        self._parts.append(text(x + 30, y + 4, name))

    def dots(self, points: Iterable[tuple[float, float]]) -> None:
        """Draw single values."""
        self._parts += [
            f'<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="2.5" fill="#666" fill-opacity="0.6"/>'
            for x, y in points
        ]

    def level(self, name: str, height: float) -> None:
        """Draw a horizontal line with its meaning above it."""
        y = self._y(height)
        self._parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#b00" stroke-dasharray="4 4"/>')
        self._parts.append(text(LEFT + 6, y - 5, name, colour="#b00"))

    def text(self) -> str:
        """Return the document."""
        body = "\n".join([*self._frame(), *self._parts])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
        )

    def _next_style(self) -> tuple[str, str]:
        number = self._legend
        self._legend += 1
        return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]

    def _x(self, value: float) -> float:
        return LEFT + self.across.share(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - self.up.share(value) * (HEIGHT - TOP - BOTTOM)

    def _frame(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = [text((LEFT + right) / 2, 22, self.title, anchor="middle", size=15)]
        for value in self.across.ticks():
            x = self._x(value)
            parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#ddd"/>')
            parts.append(text(x, bottom + 18, f"{value:,g}", anchor="middle"))
        for value in self.up.ticks():
            y = self._y(value)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
            parts.append(text(LEFT - 8, y + 4, f"{value:,g}", anchor="end"))
        parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>')
        parts.append(text((LEFT + right) / 2, HEIGHT - 14, self.across.label, anchor="middle"))
        middle = (TOP + bottom) / 2
        turned = f'transform="rotate(-90 18 {middle:g})" '
        parts.append(text(18, middle, self.up.label, anchor="middle", more=turned))
        return parts


def text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#222", size: int = 12, more: str = ""
) -> str:
    """Return one text element."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f"<text {more}{place}>{escape(words)}</text>"
