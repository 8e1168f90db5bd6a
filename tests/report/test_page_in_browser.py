"""The page in a real browser, opened from disk: charts, controls, widths, schemes, keyboard, print, no complaint."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from browser import CHROMIUM, Browser
from pages import make
from synthetic import arm, study

from overparam.report import arms, curves
from overparam.report.charts import panel_data
from overparam.report.panels import ACCURACY
from overparam.report.theme import DARK

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt install chromium)"),
]

WIDTHS = (390, 700, 1300)
EVIL = '</script><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\\input{/etc/passwd}'
CHECKS = Path(__file__).with_name("checks.js").read_text(encoding="utf-8")
FRAME = study(
    arm(variant="magnitude", seeds=range(4)),
    arm(variant="<b>random</b>", seeds=range(4), criterion="random", worst=0.2, best=0.03),
    arm(variant="a variant with a name that is longer than it need be", seeds=range(4), noise_rate=0.0, depth=0),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    make(folder, FRAME, "sparse-double-descent", name="browser")
    return folder / "report.html"


def shown(browser, name):
    """Return the words of a chart."""
    return browser.run(
        f"[...document.querySelectorAll('[data-panel={name}] svg text')].map((text) => text.textContent)"
    )


def explorer(browser, **wanted):
    """Use the controls of the explorer; return what it says, and its points as a table."""
    for name, value in wanted.items():
        before = browser.run("document.documentElement.dataset.explored")
        browser.run(f"""{{
            const control = document.querySelector("#explorer [name={name}]");
            control.type === "checkbox" ? (control.checked = {str(bool(value)).lower()}) : (control.value = "{value}");
            control.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }}""")
        assert browser.run(f'document.querySelector("#explorer [name={name}]").value') in (value, "on")
        browser.until(f"document.documentElement.dataset.explored !== '{before}'")
    rows = browser.run("""
        document.getElementById("points").open = true;
        [...document.querySelectorAll("#points tr")].map((row) => [...row.children].map((cell) => cell.textContent))
    """) or browser.run(
        "[...document.querySelectorAll('#points tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return browser.run("document.getElementById('explained').textContent"), rows


CHECKED = f"""(async () => {{
    const check = {CHECKS};
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const found = {{ overflows: check.overflows(), contrasts: check.contrasts(), unnamed: check.unnamed() }};
    return {{ ...found, tips: await check.tips() }};
}})()"""
OPENED = """document.querySelectorAll("main details, footer details").forEach((one) => {
    one.open = !one.matches(".vega-embed *");
})"""
MARKED = ("place", "band")  # a place of another key, and what the paper's section marks


def same(row):
    """Return a row of a chart as the page has it: with fewer digits, and spaces that do not break lines."""
    told = {
        name: value.replace(" %", "\u00a0%") if name in ("s0", "s1", "s2") else value for name, value in row.items()
    }
    return {
        name: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
        for name, value in told.items()
        if name not in MARKED
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_cut_off_faint_or_unnamed_at_any_width(browser, page, dark):
    browser.open(page, width=WIDTHS[-1], dark=dark)
    browser.run(OPENED)
    for turn, width in enumerate(reversed(WIDTHS)):
        browser.resize(width, dark=dark)
        browser.drawn(turn + 1)
        found = browser.run(CHECKED)
        assert found == {"overflows": [], "contrasts": [], "unnamed": [], "tips": []}, f"at {width}"
    assert browser.complaints == []
    assert browser.run("document.getElementById('errors').hidden")
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    paper = browser.run("document.querySelector('.chart svg').outerHTML")
    assert (DARK["paper"] in paper) is dark


def test_charts_are_drawn_of_the_rows_as_python_draws_them(browser, page):
    browser.open(page)
    names = browser.run("[...document.querySelectorAll('[data-panel]')].map((box) => box.dataset.panel)")
    assert set(names) >= {"accuracy", "distance", "kept-distance", "comparison", "loss", "soft-error"}
    for number, one in enumerate(arms(FRAME)):
        browser.run(f"location.hash = '#arm-{number}'")
        browser.drawn(number + 1)
        for table, expected in panel_data(one, ACCURACY).items():
            if not expected:
                continue
            script = (
                f"document.querySelector('[data-panel=accuracy]').view.data('{table}').map((row) => ({{ ...row }}))"
            )
            found = sorted(browser.run(script), key=lambda row: (row.get("series", ""), -row["x"]))
            for mine, theirs in zip(
                found, sorted(expected, key=lambda row: (row.get("series", ""), -row["x"])), strict=True
            ):
                assert {name: mine[name] for name in theirs if name not in MARKED} == same(theirs)
    assert "<b>random</b>" in " ".join(shown(browser, "comparison"))
    assert browser.complaints == []


def test_an_arm_is_chosen_by_its_address_and_by_the_list(browser, page):
    browser.open(page, hash="#arm-2")
    assert "critical" not in shown(browser, "accuracy")
    assert not browser.run("document.getElementById('said').hidden")
    browser.run(
        "document.getElementById('arm').value = '0'; document.getElementById('arm').dispatchEvent(new Event('change'))"
    )
    browser.drawn(2)
    assert browser.run("location.hash") == "#arm-0"
    assert "critical" in shown(browser, "accuracy")


def test_words_are_explained_on_hover_and_on_focus(browser, page):
    browser.open(page)
    word = "document.querySelector('a.word[href=\"#word-level\"]')"
    browser.run(f"{word}.scrollIntoView({{ block: 'center' }})")
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    x, y = browser.run(f"(() => {{ const box = {word}.getBoundingClientRect(); return [box.x + 4, box.y + 4]; }})()")
    browser.point(x, y)
    assert "How many times" in browser.run("tip.textContent")
    assert not browser.run("tip.hidden")
    browser.press("Escape")
    assert browser.run("tip.hidden")
    browser.run(f"{word}.focus()")
    assert not browser.run("tip.hidden")
    assert browser.run(f"document.getElementById({word}.getAttribute('aria-describedby')).textContent").startswith(
        "How many"
    )


def test_the_keyboard_reaches_what_a_pointer_does(browser, page):
    browser.open(page)
    reached = []
    for _ in range(30):
        browser.press("Tab")
        reached.append(
            browser.run("document.activeElement.matches('.chart') ? 'chart' : document.activeElement.tagName")
        )
        if reached[-1] == "chart":
            break
    assert reached[-1] == "chart"
    assert {"A", "SELECT"} <= set(reached)
    browser.press("ArrowRight")
    first = browser.run("document.getElementById('spoken').textContent")
    assert first.startswith("density: 100")
    browser.press("End")
    assert browser.run("document.getElementById('spoken').textContent") != first
    assert not browser.run("tip.hidden")


def test_the_explorer_draws_any_column_over_any_other(browser, page):
    browser.open(page)
    said, rows = explorer(browser, y="test_loss")
    expected = curves(FRAME, y=["test_loss"])
    assert said.startswith(f"{len(expected)} points in 3 lines")
    assert len(rows) == 1 + len(expected)
    head = rows[0]
    found = {float(row[head.index("test loss")].split()[0]) for row in rows[1:]}
    for mean in expected["test_loss"]:
        assert min(abs(mean - one) for one in found) <= 0.005 * mean
    for choice in (
        {"colour": "learning_distance"},
        {"colour": "criterion", "dash": "density", "facet": "variant"},
        {"x": "learning_distance", "logx": ""},
    ):
        explorer(browser, **choice)
    said, rows = explorer(browser, x="world.label_noise.rate")
    assert rows[0][-3:-1] == ["world.label_noise.rate", "test loss"]
    assert said.startswith(f"{3 * 28} points")
    said, rows = explorer(browser, x="density", seeds="1", facet="", dash="")
    assert said.startswith(f"{12 * 28} points in 12 lines")
    hash = browser.run("location.hash")
    browser.open(page, hash=hash)
    assert explorer(browser)[0] == said
    explorer(browser, seeds="", named="random")
    assert explorer(browser)[0].startswith("28 points in 1 line")
    assert browser.complaints == []


def test_what_is_printed_is_light_and_whole(browser, page):
    browser.open(page, width=718, dark=True)
    browser.run(OPENED)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.resize(718, dark=False, media="print")
    charts = browser.run("[...document.querySelectorAll('.chart svg')].map((svg) => svg.outerHTML).join('')")
    assert not any(color in charts for color in (DARK["paper"], DARK["ink"], *DARK["category"][:2]))
    right = browser.run("[...document.querySelectorAll('table, svg')].map((one) => one.getBoundingClientRect().right)")
    assert max(right) <= 718
    browser.resize(718)


def test_names_of_a_user_are_text_and_nothing_else(browser, tmp_path):
    frame = study(arm(variant=EVIL, levels=4), arm(variant="=cmd()", levels=4)).with_columns(
        pl.lit(0.5).alias(f"{EVIL}.x")
    )
    make(tmp_path, frame, name=EVIL, spec_yaml=EVIL, facts={EVIL: EVIL}, failures=[EVIL], remarks=[EVIL])
    browser.open(tmp_path / "report.html")
    explorer(browser, colour="variant", facet="variant")
    assert browser.run("[window.pwned === undefined, document.querySelectorAll('img').length]") == [True, 0]
    assert browser.run("document.querySelector('h1').closest('header').textContent").count(EVIL) >= 1
    assert browser.complaints == []


def test_without_scripts_the_page_says_what_is_missing(browser, page):
    browser.open(page, scripts=False)
    seen = browser.run("document.body.innerText")
    assert "JavaScript is switched off" in seen
    assert "Claims from the literature" in seen
    assert browser.run("document.querySelectorAll('table.levels tbody tr').length") == 3 * 28
    browser.open(page)


def test_a_large_study_has_its_tables_packed(browser, tmp_path):
    frame = study(*(arm(variant=f"v{number}", seeds=[0]) for number in range(30)))
    text = make(tmp_path, frame)
    browser.open(tmp_path / "report.html")
    assert browser.run("document.querySelectorAll('table.levels').length") == 30
    assert "most of its tables are packed" in text
    assert len(text) < 0.8e6
    assert browser.complaints == []
