// The charts of the page: of the arm that is chosen, in the colours of the window, as wide as there is room.

const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const run = (text) => {
  const script = made("script", text);
  document.head.append(script);
  script.remove();
};
const complain = (error) => {
  const place = document.getElementById("errors");
  place.hidden = false;
  place.textContent = "A chart could not be drawn: " + ((error && error.message) || error);
};
window.addEventListener("error", (event) => complain(event.error || event.message));
window.addEventListener("unhandledrejection", (event) => complain(event.reason));

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const copied = (value) => JSON.parse(JSON.stringify(value)); // Vega writes into what it gets
let book = null, rows = null, arm = 0;

const show = async (box, spec, name) => {
  if (box.view) box.view.finalize();
  hideTip();
  const shown = await vegaEmbed(box, spec, {
    mode: "vega-lite", renderer: "svg", logLevel: 1, tooltip: chartTip, downloadFileName: name,
    actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
  });
  box.view = shown.view;
  box.querySelector("summary").setAttribute("aria-label", "Save this chart as an image");
};

const themed = (box, legend) => {
  const config = copied(book.themes[dark.matches ? "dark" : "light"]);
  config.title.limit = box.clientWidth - 60;
  config.legend.labelLimit = Math.min(320, box.clientWidth - 110);
  config.legend.columns = Math.max(1, Math.floor((box.clientWidth - 50) / Math.min(legend, config.legend.labelLimit + 50)));
  config.legend.layout = { top: { direction: "vertical", anchor: "start", margin: 6 } }; // one below the other
  return config;
};

// Of one seed the band has no height: Vega complains of a band that is nowhere.
const banded = (tables) => {
  for (const row of Object.values(tables).flat()) if (row.low === null) row.low = row.high = row.mean;
  return tables;
};

// A chart is a drawing that arms share, and the data of this arm.
const specOf = (box) => {
  const name = box.dataset.panel, charts = book.charts[name];
  const chart = charts[charts.length === 1 ? 0 : arm];
  if (!chart) return null;
  const spec = copied(book.specs[chart.spec]);
  spec.datasets = banded(chart.series ? panelTables(rows, arm, name, copied(chart)) : copied(chart.data));
  spec.config = themed(box, chart.legend);
  return fitted(spec, box);
};

// Small multiples: as many beside each other as have room.
const fitted = (spec, box) => {
  if (!spec.facet) return spec;
  const columns = spec.columns || 3, wanted = Math.max(1, Math.min(columns, Math.floor(box.clientWidth / 260)));
  spec.columns = wanted;
  spec.spec.width = Math.floor((box.clientWidth - 50) / wanted) - 22;
  return spec;
};

const draw = async () => {
  await Promise.all([...document.querySelectorAll(".chart[data-panel]")].map(async (box) => {
    box.parentElement.hidden = false;
    const spec = specOf(box);
    box.parentElement.hidden = !spec;
    if (spec) await show(box, spec, box.dataset.panel);
  }));
  await explore();
  document.querySelectorAll(".shown").forEach((place) => { place.textContent = book.labels[arm]; });
  const said = document.getElementById("said");
  if (said) said.hidden = arm === book.main;
  if (said) said.textContent = book.findings[arm].replaceAll(" %", "\u00a0%");
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn || 0) + 1);
};

// Printing does not wait for a new drawing, so dark charts only have their colours changed.
const lighten = () => {
  if (dark.matches) document.querySelectorAll(".chart svg").forEach((svg) => {
    svg.outerHTML = svg.outerHTML.replace(/#[0-9a-f]{6}/g, (color) => book.print[color] || color);
  });
};

// What a pointer is told of: the marks of the layer with the most of them, and of these the last, which lies on top.
const pointable = (box) => {
  const layers = new Map();
  for (const group of box.querySelectorAll(".mark-rect.role-mark, .mark-symbol.role-mark")) {
    const name = group.getAttribute("class");
    layers.set(name, [...(layers.get(name) || []), ...group.querySelectorAll("path")]); // of every panel
  }
  return [...layers.values()].reduce((most, marks) => (marks.length >= most.length ? marks : most), []);
};

// Arrow keys go from place to place of a chart, and say what a pointer would be told.
document.addEventListener("keydown", (event) => {
  const box = event.target.closest && event.target.closest(".chart");
  const turn = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!box || box !== event.target || turn === undefined) return;
  const places = pointable(box);
  if (!places.length) return;
  event.preventDefault();
  box.at = Math.min(places.length - 1, Math.max(0, (box.at === undefined ? (turn > 0 ? -1 : places.length) : box.at) + turn));
  const place = places[box.at].getBoundingClientRect();
  const at = { clientX: place.x + place.width / 2, clientY: place.y + Math.min(20, place.height / 2), bubbles: true };
  for (const kind of ["pointerover", "pointermove", "mouseover", "mousemove"]) {
    const moved = new PointerEvent(kind, at);
    Object.defineProperty(moved, "detail", { value: "keyboard" });
    places[box.at].dispatchEvent(moved);
  }
});
document.addEventListener("focusout", (event) => { if (event.target.matches && event.target.matches(".chart")) hideTip(); });

const pick = document.getElementById("arm");
const choose = (index) => {
  arm = index;
  if (pick) pick.value = String(index);
  return draw();
};
const named = () => {
  const index = Number((location.hash.match(/^#arm-(\d+)$/) || [])[1]);
  return index < book.labels.length ? index : null;
};

const start = async () => {
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser cannot unpack what the page carries; Chrome from 80 on, Firefox from 113 and Safari from 16.4 can");
  }
  const [library, packet] = await Promise.all([unpack("library"), unpack("book")]);
  run(library);
  book = JSON.parse(packet);
  rows = indexed(book.rows);
  document.querySelectorAll("[data-table]").forEach((place) => {
    place.innerHTML = book.tables[Number(place.dataset.table)]; // markup of the page's own, escaped where it was written
    watch(place);
  });
  prepare();
  if (pick) pick.addEventListener("change", () => {
    history.replaceState(null, "", "#arm-" + pick.value);
    choose(Number(pick.value));
  });
  window.addEventListener("hashchange", () => { if (named() !== null) choose(named()); });
  dark.addEventListener("change", draw);
  let width = window.innerWidth, waiting = 0; // legends have as many columns as fit
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 150);
  });
  window.addEventListener("beforeprint", lighten);
  window.addEventListener("afterprint", () => { if (dark.matches) draw(); });
  await choose(named() ?? book.main);
};
start();
