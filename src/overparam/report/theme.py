"""How charts look on light and on dark paper, in colours (Okabe, Ito) that colour-blind readers tell apart."""

from __future__ import annotations

from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

LIGHT: dict[str, Any] = {
    "ink": "#1f2328",
    "faint": "#59636e",
    "grid": "#e3e6ea",
    "paper": "#ffffff",
    "category": ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#444444", "#e69f00"],
    "levels": ["#08306b", "#2171b5", "#d98200", "#a63603"],  # from the first level to the last
    "bad": "#d55e00",
    "good": "#009e73",
    "gone": "#6b7280",
    "open": "#6b7280",
    "tint": 0.10,
}
DARK: dict[str, Any] = {
    "ink": "#e6e9ed",
    "faint": "#9aa4b0",
    "grid": "#2d333b",
    "paper": "#15181c",
    "category": ["#56b4e9", "#ff8c42", "#2fcf9f", "#e6a0c8", "#f0e442", "#3f8fd0", "#c9ced6", "#e69f00"],
    "levels": ["#c6dbef", "#6baed6", "#ffbf5e", "#ff7f4d"],
    "bad": "#ff8c42",
    "good": "#2fcf9f",
    "gone": "#9aa4b0",
    "open": "#9aa4b0",
    "tint": 0.15,
}


def light_for_dark() -> dict[str, str]:
    """Return which colour on light paper stands for each colour on dark paper."""
    named = {DARK[name]: LIGHT[name] for name in ("gone", "faint", "grid", "ink", "paper")}
    listed = [
        *zip(DARK["category"], LIGHT["category"], strict=True),
        *zip(DARK["levels"], LIGHT["levels"], strict=True),
    ]
    return dict(listed) | named


def theme(dark: bool = False, columns: int = 3) -> dict[str, Any]:
    """Return the Vega-Lite config for light or dark paper; legends have at most ``columns`` columns."""
    look = DARK if dark else LIGHT
    ink, faint = look["ink"], look["faint"]
    return {
        "background": look["paper"],
        "font": FONT,
        "view": {"stroke": None},
        "title": {"anchor": "start", "fontSize": 14, "fontWeight": 600, "color": ink, "offset": 8, "frame": "group"},
        "header": {"labelColor": ink, "labelFontSize": 13, "labelFontWeight": 600, "titleColor": faint},
        "axis": {
            "labelColor": faint,
            "titleColor": faint,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": look["grid"],
            "domainColor": faint,
            "tickColor": faint,
        },
        # Equal room for the labels of every chart, so that charts above each other share their x axis to the
        # pixel.
        "axisY": {"minExtent": 40, "maxExtent": 40, "domain": False, "ticks": False, "tickCount": 6},
        "axisX": {"grid": False, "labelOverlap": "greedy"},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "labelColor": ink,
            "labelFontSize": 12.5,
            "labelLimit": 320,
            "symbolType": "stroke",
            "symbolSize": 500,
            "symbolStrokeWidth": 2.5,
            "columnPadding": 18,
            "offset": 24,
            "columns": columns,
        },
        "range": {"category": look["category"], "ordinal": look["levels"]},
        "line": {"strokeWidth": 2.5, "strokeCap": "butt"},
        "style": {
            **{
                f"band-{name}": {"color": look[name], "opacity": look["tint"]}
                for name in ("bad", "good", "gone", "open")
            },
            "band-label": {"color": faint, "fontSize": 12.5, "fontWeight": 600},
            "border": {"color": faint, "opacity": 0.55, "strokeDash": [2, 3], "strokeWidth": 1},
            "behind": {"color": faint, "opacity": 0.22, "strokeWidth": 1},
            "front": {"color": faint, "strokeWidth": 1.2, "strokeDash": [3, 2]},
            "other": {"color": faint, "opacity": 0.35, "size": 35},
            "dense": {"fill": "transparent", "stroke": ink, "strokeWidth": 1.5, "size": 170, "shape": "circle"},
            "dense-label": {"color": ink, "fontSize": 11.5, "fontWeight": 600},
            "left": {"align": "right", "dx": 8},  # of a point
            "right": {"align": "left", "dx": -8},
            "cursor": {"color": faint, "strokeWidth": 1},
            "turn": {
                "fill": look["paper"],
                "stroke": look["category"][0],
                "strokeWidth": 2.5,
                "size": 70,
                "opacity": 1,
            },
            "turn-label": {"color": ink, "fontSize": 13, "fontWeight": 600},
            "at-left-edge": {"align": "left", "dx": 6},
            "halo": {
                "fontSize": 13,
                "fontWeight": 600,
                "color": look["paper"],
                "stroke": look["paper"],
                "strokeWidth": 4,
                "strokeJoin": "round",
            },
        },
    }
