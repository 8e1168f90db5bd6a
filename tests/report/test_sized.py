"""Charts for print: as wide as a column to the point, type of the size asked for, fonts in the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from synthetic import arm, study

from overparam.errors import SpecError
from overparam.report import Material, general_sections
from overparam.report.figures import figures
from overparam.report.sections import Section
from overparam.report.sized import SMALLEST, Page, chart_named, drawing, save_figure, write_figures


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    return general_sections(Material(study(arm(variant="a_b c"), arm(variant="a_b-c"))))


def size(svg: str) -> tuple[float, float, float]:
    """Return width and height of a drawing in points, and points of a pixel of it."""
    found = re.search(r'width="([\d.]+)(?:pt)?" height="([\d.]+)(?:pt)?" viewBox="0 0 ([\d.]+)', svg)
    assert found is not None
    wide, high, pixels = map(float, found.groups())
    return wide, high, wide / pixels


@pytest.mark.parametrize(("width", "points", "inches"), [("single", 8, 3.25), ("double", 7, 6.75)])
def test_a_chart_is_as_wide_as_asked_with_type_of_the_size_asked_for(sections, width, points, inches) -> None:
    svg = drawing(chart_named(sections), Page(width, points))
    wide, high, scale = size(svg)
    assert wide == pytest.approx(72 * inches, abs=0.01)
    assert 0.2 * wide < high < 1.5 * wide
    sizes = {float(found) for found in re.findall(r'font-size="([\d.]+)px"', svg)}
    assert min(sizes) == SMALLEST
    assert min(sizes) * scale == pytest.approx(points, rel=0.01)
    assert max(sizes) * scale < 1.5 * points
    assert set(re.findall(r'font-family="([^"]+)"', svg)) == {"Liberation Sans, Arial, Helvetica, sans-serif"}


def test_small_multiples_stand_beside_each_other_as_far_as_they_fit() -> None:
    arms = [arm(variant=f"method {name}, {seed}") for name in "abcdefg" for seed in ("kept", "shuffled")]
    chart = chart_named(general_sections(Material(study(*arms))))
    assert "facet" in chart.to_dict()
    svg = drawing(chart, Page("single"))
    assert size(svg)[0] == pytest.approx(234, abs=0.01)
    assert "share of weights kept" not in svg.partition("<text")[2]


def test_files_have_the_width_their_pixels_and_their_fonts(sections, tmp_path: Path) -> None:
    chart = chart_named(sections)
    with Image.open(save_figure(chart, tmp_path / "chart.png")) as png:
        assert png.width == pytest.approx(3.25 * 300, abs=1)
        assert png.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pdf = save_figure(chart, tmp_path / "chart.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(234, abs=0.1)
    assert b"/FontFile2" in pdf
    svg = save_figure(chart, tmp_path / "chart.svg").read_text()
    assert 'width="234.00pt"' in svg
    with pytest.raises(SpecError, match=r"cannot be written as 'chart\.jpg'; end it in \.pdf, \.png, \.svg"):
        save_figure(chart, tmp_path / "chart.jpg")


def test_charts_have_names_and_no_file_takes_the_place_of_another(sections) -> None:
    found = figures(sections)
    main = [name for name, one in found.items() if one.main]
    assert (main[0], main[-2:]) == ("comparison", ["a_b-c", "a_b-c-"])
    assert "table" not in found["cost"].caption  # which is on the page
    assert "a_b-c-loss" in found
    assert "Lines are means over 3 seeds" in found["a_b-c"].caption
    with pytest.raises(SpecError, match=r"no chart 'comparson'; did you mean 'comparison'\? \(there are: comparison, "):
        chart_named(sections, "comparson")
    with pytest.raises(SpecError, match=r"there are: none, since nothing was measured"):
        chart_named([Section("Nothing")])


def test_figures_come_with_a_file_that_includes_them(sections, tmp_path: Path) -> None:
    paths = write_figures(sections, tmp_path / "new", ["a_b-c"], Page("double"), [".svg"], "own@12")
    assert [path.name for path in paths] == ["a_b-c.svg", "figures.tex"]
    text = paths[-1].read_text()
    assert "\\includegraphics[width=6.75in]{a_b-c}" in text
    assert "of a\\_b c, over density" in text
    assert "Study own@12, overparam~\\cite{overparam}." in text
    assert text.count("\\begin{figure*}") == 1


@pytest.mark.parametrize(
    ("width", "points", "message"),
    [
        ("dobule", 8, "width must be single, double or a length such as 140mm or 5.5in, got 'dobule'; did you mean"),
        ("10mm", 8, "width must be from 1 to 20 inches, got '10mm'"),
        ("single", 20, "points must be a size of type from 5 to 12, got 20"),
        (True, 8, "width must be single, double"),
    ],
)
def test_what_no_page_can_be_is_refused(width, points, message) -> None:
    with pytest.raises(SpecError, match=message):
        Page(width, points)


def test_a_column_that_is_too_narrow_is_refused(sections) -> None:
    with pytest.raises(SpecError, match=r"does not fit into 1.00 inches with type of 12 points; give it more width"):
        drawing(chart_named(sections), Page("1in", 12))
