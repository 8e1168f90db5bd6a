"""The page in a real browser, opened from disk: are the charts there, do they tell values, is nothing wrong?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from pages import make
from synthetic import arm, study

from overparam.report.theme import DARK

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt install chromium)"),
]

# Added to a copy of the page: moves a pointer over the charts, prints, and writes down what happened.
PROBE = """
<script>
const log = {errors: [], tips: [], fetched: []};
window.addEventListener("error", (event) => log.errors.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => log.errors.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => log.errors.push(event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => log.errors.push(kind + ": " + words.join(" "));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const paths = (box) => box.querySelectorAll("svg path").length;
const rect = (box) => [...box.querySelectorAll("svg .mark-rect.role-mark")].pop().querySelectorAll("path");
(async () => {
  for (let turn = 0; turn < 200 && !document.documentElement.dataset.drawn; turn += 1) await wait(50);
  const boxes = [...document.querySelectorAll(".chart")].filter((box) => !box.parentElement.hidden);
  log.charts = Object.fromEntries(boxes.map((box) => [box.dataset.panel, paths(box)]));
  const words = (box) => [...box.querySelectorAll("svg text")].map((text) => text.textContent);
  log.words = Object.fromEntries(boxes.map((box) => [box.dataset.panel, words(box)]));
  for (const strip of [...rect(boxes[0])].slice(10, 13)) {
    const place = strip.getBoundingClientRect();
    const at = {clientX: place.x + place.width / 2, clientY: place.y + 20, bubbles: true};
    for (const kind of ["pointerover", "pointermove", "mouseover", "mousemove"]) {
      strip.dispatchEvent(new PointerEvent(kind, at));
    }
    await wait(100);
    log.tips.push(document.getElementById("vg-tooltip-element").textContent);
  }
  const axis = [...boxes[0].querySelectorAll(".role-axis-label text")].map((text) => {
    return [text.textContent, text.getBoundingClientRect().x];
  });
  log.axis = axis.filter(([text]) => ["100%", "10%", "1%"].includes(text));
  log.wide = document.documentElement.scrollWidth - window.innerWidth;
  log.drawn = boxes.map((box) => box.querySelector("svg").outerHTML);
  log.plots = boxes.slice(0, 2).map((box) => {
    const plot = box.querySelector(".role-frame > g > path.background").getBoundingClientRect();
    return [Math.round(plot.left), Math.round(plot.right)];
  });
  window.dispatchEvent(new Event("beforeprint"));
  log.printed = boxes.map((box) => box.querySelector("svg").outerHTML);
  log.shown = document.getElementById("errors").hidden ? "" : document.getElementById("errors").textContent;
  log.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
  const place = document.createElement("pre");
  place.id = "log";
  place.textContent = JSON.stringify(log);
  document.body.append(place);
})();
</script>
"""


def visit(page, folder, *, width=1280, dark=False, anchor=""):
    """Open the page, with the probe in it, and return what the probe wrote down."""
    copy = folder / "probed.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</main>", "</main>" + PROBE), encoding="utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=20000"),
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        *("--dump-dom", f"{copy.as_uri()}{anchor}"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="log">(.*?)</pre>', run.stdout, re.S)
    assert found, f"the page did not finish: {run.stderr[-2000:]}"
    return json.loads(unescape(found.group(1)))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    frame = study(
        arm(variant="magnitude"),
        arm(variant="<b>random</b>", criterion="random", worst=0.2, best=0.03),
        arm(variant="clean", noise_rate=0.0, depth=0),
    )
    folder = tmp_path_factory.mktemp("page")
    make(folder, frame, "sparse-double-descent", name="browser")
    return folder / "report.html"


@pytest.fixture(scope="module")
def log(page, tmp_path_factory):
    return visit(page, tmp_path_factory.mktemp("visit"))


def test_every_chart_is_drawn_and_tells_its_values(log):
    assert log["errors"] == []
    assert log["shown"] == ""
    assert log["fetched"] == []
    assert set(log["charts"]) == {"accuracy", "distance", "kept-distance", "comparison", "loss", "soft-error"}
    assert min(log["charts"].values()) > 10
    for word in ("light", "critical", "sweet", "collapsed", "train (noisy labels)", "test"):
        assert word in log["words"]["accuracy"]
    assert "<b>random</b>" in log["words"]["comparison"]
    assert all("density" in tip and "critical" in tip and "test" in tip for tip in log["tips"])
    assert "(level 10)" in log["tips"][0]


def test_density_falls_to_the_right_and_charts_share_their_axis(log):
    places = dict(log["axis"])
    assert places["100%"] < places["10%"] < places["1%"]
    assert log["plots"][0] == log["plots"][1]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_a_telephone(page, tmp_path, dark):
    log = visit(page, tmp_path, width=500, dark=dark)
    assert log["errors"] == []
    assert log["wide"] <= 0
    assert min(log["charts"].values()) > 10
    assert log["plots"][0] == log["plots"][1]
    assert (DARK["paper"] in log["drawn"][0]) is dark


def test_dark_charts_are_printed_in_light_colours(page, tmp_path):
    log = visit(page, tmp_path, dark=True)
    for color in (DARK["paper"], DARK["ink"], *DARK["category"][:2]):
        assert any(color in svg for svg in log["drawn"])
        assert not any(color in svg for svg in log["printed"])


def test_another_arm_is_shown_by_its_address(page, tmp_path):
    log = visit(page, tmp_path, anchor="#arm-2")
    assert log["errors"] == []
    assert "critical" not in log["words"]["accuracy"]
    assert "train" in log["words"]["accuracy"]
