// The explorer: any column of the rows as x, y, colour, dash or panels; a line is what differs in nothing but seed and place.

const panel = document.getElementById("explorer");
const FEW_VALUES = 8, DASHES = [[1, 0], [7, 3], [2, 2], [8, 3, 2, 3], [12, 3], [1, 3]], PANELS = 24, BANDS = 8, LISTED = 500;
const ARM = { name: "arm", title: "arm", swept: true };
let wanted = {}, hidden = new Map();

const column = (name) => (name === "arm" ? ARM : rows.byName.get(name));
const distinct = (one) => new Set(one.values.filter((value) => value !== null)).size;

const prepare = () => {
  if (!panel) return;
  ARM.values = rows.arm.map((number) => (number === null ? null : rows.arms[number].label));
  const all = [...(rows.arms.length > 1 ? [ARM] : []), ...rows.columns];
  const numbers = rows.columns.filter((one) => one.number);
  const offers = { x: numbers, y: numbers, colour: all, dash: all, facet: all };
  const fits = { dash: DASHES.length, facet: PANELS };
  for (const [role, columns] of Object.entries(offers)) {
    const select = panel.querySelector(`select[name=${role}]`);
    if (fits[role] || role === "colour") select.append(new Option("nothing", ""));
    for (const one of columns) {
      if (one.number || !fits[role] || distinct(one) <= fits[role]) select.append(new Option(one.title, one.name));
    }
  }
  filters(all.filter((one) => one.swept || one.name === "level"));
  wanted = { ...book.explorer, seeds: "", ...Object.fromEntries(new URLSearchParams(location.hash.replace(/^#(explore&)?/, ""))) };
  tell();
  panel.addEventListener("submit", (event) => event.preventDefault());
  panel.addEventListener("change", (event) => { if (event.target.name) chosen(event.target); });
  panel.addEventListener("input", (event) => { if (event.target.name === "named") chosen(event.target); });
  document.getElementById("points").addEventListener("toggle", listPoints);
};

// Check boxes for what was swept; arms by their names.
const filters = (columns) => {
  const place = document.getElementById("filters");
  for (const one of columns) {
    const values = [...new Set(one.values)].filter((value) => value !== null);
    if (values.length < 2 || values.length > 40) continue;
    if (one.number) values.sort((first, second) => first - second);
    const set = made("fieldset");
    set.append(made("legend", one.title));
    for (const value of values) {
      const label = made("label"), box = made("input");
      Object.assign(box, { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        if (!hidden.has(one.name)) hidden.set(one.name, new Set());
        hidden.get(one.name)[box.checked ? "delete" : "add"](value);
        explore();
      });
      label.append(box, " " + (one.number ? FORMS.plain(value) : value));
      set.append(label);
    }
    place.append(set);
  }
};

// What is asked for stands in the controls, and in the address.
const tell = () => {
  for (const [name, value] of Object.entries(wanted)) {
    const control = panel.querySelector(`[name=${CSS.escape(name)}]`);
    if (!control) continue;
    if (control.type === "checkbox") control.checked = Boolean(value);
    else if (control.tagName !== "SELECT" || [...control.options].some((option) => option.value === value)) control.value = value;
    if (control.tagName === "SELECT") wanted[name] = control.value;
  }
};
const chosen = (control) => {
  wanted[control.name] = control.type === "checkbox" ? (control.checked ? "1" : "") : control.value;
  if (control.name === "x") {
    wanted.logx = column(wanted.x).log ? "1" : "";
    if (wanted.colour === "arm" && !byArm(column(wanted.x))) wanted.colour = "";
    tell();
  }
  history.replaceState(null, "", "#explore&" + new URLSearchParams(wanted));
  explore();
};

// Along the study's own axis, or another that runs along chains, lines are the arms; along a swept one, all else is kept apart.
const byArm = (x) => x.name === book.axis || (!x.swept && !rows.byName.get(book.axis)?.swept);
const alike = (x) => {
  const kept = rows.columns.filter((one) => one.swept && one !== x);
  const stages = x.swept ? ["level", "step"].map((name) => rows.byName.get(name)).filter(Boolean) : [];
  return (row) => JSON.stringify([...kept, ...stages].map((one) => one.values[row]));
};

const shownRow = (x, y) => {
  const words = (wanted.named || "").toLowerCase().split(/\s+/).filter(Boolean);
  const positive = (one, log) => (row) => isNumber(one.values[row]) && !(log && one.values[row] <= 0);
  const fits = [positive(x, wanted.logx), positive(y, wanted.logy)];
  for (const [name, off] of hidden) fits.push((row) => !off.has(column(name).values[row]));
  if (words.length) fits.push((row) => words.every((word) => (ARM.values[row] || "").toLowerCase().includes(word)));
  if (byArm(x)) fits.push((row) => rows.arm[row] !== null && rows.place[row] !== null);
  return (row) => fits.every((fit) => fit(row));
};

// Points of lines: means over seeds of the rows that differ in the seed alone.
const pointsOf = (x, y) => {
  const fits = shownRow(x, y), seeds = wanted.seeds ? (row) => rows.seeds[row] : () => "";
  const line = byArm(x) ? (row) => rows.arm[row] : alike(x), steps = rows.byName.get("step");
  const place = byArm(x) ? (row) => rows.place[row] : (row) => (x.swept ? x.values[row] : steps ? steps.values[row] : 0);
  const groups = grouped(rows.seeds.length, (row) => (fits(row) ? JSON.stringify([line(row), seeds(row), place(row)]) : null));
  return [...groups.values()].map((inside) => {
    const first = inside[0], found = spread(inside.map((row) => y.values[row]), y.name.includes("accuracy"), rows.quantiles);
    const at = mean(inside.map((row) => x.values[row]));
    return { rows: inside, line: JSON.stringify([line(first), seeds(first)]), order: x.swept ? at : place(first), x: at, ...found };
  });
};

// The value of a point for colour, dash or panel: of what was swept its own, of what was measured the mean.
const valueAt = (point, one) => {
  if (!one) return null;
  if (one.swept || !one.number) return one.values[point.rows[0]];
  const values = point.rows.map((row) => one.values[row]).filter(isNumber);
  return values.length ? mean(values) : null;
};
// Numbers with more values than there are looks are cut into quarters.
const ranges = (points, one, most) => {
  const values = points.map((point) => valueAt(point, one)), sorted = [...new Set(values.filter(isNumber))].sort((a, b) => a - b);
  if (!one.number || sorted.length <= most) return { values: values.map((value) => (isNumber(value) ? FORMS.plain(value) : value ?? "\u2013")), sort: sorted.map(FORMS.plain) };
  const cuts = [0, 0.25, 0.5, 0.75, 1].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
  const names = [0, 1, 2, 3].map((part) => `${FORMS.plain(cuts[part])} to ${FORMS.plain(cuts[part + 1])}`);
  const part = (value) => Math.max(0, [1, 2, 3].filter((cut) => value > cuts[cut]).length);
  return { values: values.map((value) => (isNumber(value) ? names[part(value)] : "\u2013")), sort: names };
};

const colouring = (points, one) => {
  if (!one) return null;
  const values = points.map((point) => valueAt(point, one)), kinds = new Set(values).size;
  const ramp = dark.matches ? [0.25, 1] : [0, 0.85], scheme = { name: "viridis", extent: ramp };
  const legend = { title: one.title, symbolLimit: 30, titleLimit: 300 };
  if (one.number && kinds > FEW_VALUES) return { values, channel: { field: "colour", type: "quantitative", scale: { scheme }, legend: { ...legend, gradientLength: 200, format: one.form } } };
  if (one.number) return { values, channel: { field: "colour", type: "ordinal", scale: { scheme }, legend: { ...legend, format: one.form } } };
  const repeated = kinds > FEW_VALUES ? { scheme: "tableau20" } : {};
  return { values: values.map((value) => value ?? "\u2013"), channel: { field: "colour", type: "nominal", sort: null, scale: repeated, legend } };
};

const looks = (points) => {
  const [colour, dash, facet] = [wanted.colour, wanted.dash, wanted.facet].map((name) => (name ? column(name) : null));
  const colours = colouring(points, colour);
  const dashes = dash && ranges(points, dash, DASHES.length), facets = facet && ranges(points, facet, 12);
  points.forEach((point, at) => {
    if (colours) point.colour = colours.values[at];
    if (dashes) point.dash = dashes.values[at];
    if (facets) point.facet = facets.values[at];
  });
  return { colours, dash, dashes, facet, facets };
};

const said = (one, value) => (!one.number ? String(value ?? "\u2013") : one.form.endsWith("%") ? FORMS.percent(value) : FORMS.plain(value));
const tipOf = (point, x, y) => {
  const swept = rows.columns.filter((one) => one.swept && one !== x).map((one) => [one.title, said(one, one.values[point.rows[0]])]);
  const write = (value) => said(y, value);
  const seeds = wanted.seeds ? [["seed", String(rows.seeds[point.rows[0]])]] : [["seeds", String(point.n)]];
  return Object.fromEntries([...swept, [x.title, said(x, point.x)], [y.title, told(point, write)], ...seeds]);
};

const layersOf = (look, x, y, lines) => {
  const scale = (log) => (log ? { type: "log", nice: false } : { zero: false, nice: false });
  const ticks = (one) => (one.ticks ? { values: one.ticks } : {});
  const axis = (one) => ({ title: one.title, format: one.form, labelOverlap: true, ...ticks(one) });
  const at = { field: "x", type: "quantitative", axis: axis(x), scale: { ...scale(wanted.logx), reverse: Boolean(x.falling && wanted.logx) } };
  const up = { field: "mean", type: "quantitative", axis: { ...axis(y), title: null }, scale: scale(wanted.logy) };
  const shared = { x: at, detail: { field: "line" }, order: { field: "order", type: "quantitative" } };
  const colour = look.colours && look.colours.channel, along = look.colours && !(column(wanted.colour).number && !column(wanted.colour).swept);
  const dash = look.dash && { strokeDash: { field: "dash", type: "nominal", sort: look.dashes.sort.length ? look.dashes.sort : undefined, scale: { range: DASHES }, legend: { title: look.dash.title, symbolType: "stroke", symbolSize: 400 } } };
  const line = { mark: { type: "line", aria: false, ...(along || !look.colours ? {} : { style: "behind" }), ...(wanted.seeds ? { strokeWidth: 1.2, opacity: 0.7 } : {}) }, encoding: { ...shared, y: up, ...(colour && along ? { color: colour } : {}), ...dash } };
  const dot = { mark: { type: "point", filled: true, size: wanted.seeds ? 18 : 34, opacity: 1, aria: false }, encoding: { x: at, y: up, ...(colour ? { color: colour } : {}) } };
  const over = { mark: { type: "point", filled: true, size: 220, opacity: 0, tooltip: { content: "data" }, aria: false }, encoding: { x: at, y: up } };
  const band = { mark: { type: "area", opacity: 0.16, aria: false }, encoding: { x: at, detail: { field: "line" }, y: { field: "low", type: "quantitative", title: null, scale: scale(wanted.logy) }, y2: { field: "high" }, ...(colour && along ? { fill: { ...colour, legend: null } } : {}) } };
  return [...(lines <= BANDS && !wanted.seeds ? [band] : []), line, dot, over];
};

const explore = async () => {
  if (!panel) return;
  await exploring();
  document.documentElement.dataset.explored = String(Number(document.documentElement.dataset.explored || 0) + 1);
};

const exploring = async () => {
  panel.hidden = false;
  const box = document.getElementById("explored"), x = column(wanted.x), y = column(wanted.y);
  const points = pointsOf(x, y), look = looks(points), lines = new Set(points.map((point) => point.line)).size;
  exploring.points = { points, x, y };
  box.setAttribute("aria-label", `${y.title} over ${x.title}: ${lines} lines of ${points.length} points; arrow keys tell them one by one.`);
  document.getElementById("explained").textContent = explained(points, x, y, lines);
  listPoints();
  box.hidden = !points.length;
  if (!points.length) return;
  const data = points.map((point) => ({ x: point.x, mean: point.mean, low: point.low ?? point.mean, high: point.high ?? point.mean, line: point.line, order: point.order, colour: point.colour, dash: point.dash, facet: point.facet, tip: tipOf(point, x, y) }));
  const letters = Math.max(...points.flatMap((point) => [point.colour, point.dash]).map((text) => (typeof text === "string" ? text.length : 6)));
  const inner = { layer: layersOf(look, x, y, lines) };
  const facet = { facet: { field: "facet", type: "nominal", sort: look.facets && look.facets.sort.length ? look.facets.sort : undefined, header: { title: look.facet && look.facet.title, labelAnchor: "start" } }, columns: 3, spec: { ...inner, width: 250, height: 190 } };
  const spec = { data: { values: data }, title: y.title, ...(look.facet ? facet : { ...inner, width: "container", height: 340 }), config: themed(box, 7 * letters + 60) };
  spec.config.legend = { ...spec.config.legend, title: undefined, titleColor: spec.config.axis.titleColor, titleFontWeight: "normal", symbolType: "circle", symbolSize: 80 };
  await show(box, fitted(spec, box), "explorer");
};

const explained = (points, x, y, lines) => {
  if (!points.length) return "Nothing is left to draw: take a filter away, or a logarithmic axis where values are zero or below.";
  const what = wanted.seeds ? "each of one seed" : lines <= BANDS ? "means over the seeds with their range, or from four seeds on the 95 % interval" : "means over the seeds";
  const same = byArm(x) ? "an arm of the study" : "what is the same in all that was swept";
  return `${points.length} points in ${lines} ${lines === 1 ? "line" : "lines"}, ${what}; a line is ${same}.`;
};

// The same for who would rather read: the points as a table.
const listPoints = () => {
  const place = document.getElementById("points");
  if (!place.open || !exploring.points) return;
  const { points, x, y } = exploring.points, body = made("tbody"), head = made("thead"), table = made("table");
  const rowOf = (cells, tag, into) => {
    const row = made("tr");
    cells.forEach((text) => row.append(made(tag, text)));
    if (tag === "th") [...row.children].forEach((cell) => { cell.scope = "col"; });
    into.append(row);
  };
  points.slice(0, LISTED).forEach((point, at) => {
    const tips = tipOf(point, x, y);
    if (!at) rowOf(Object.keys(tips), "th", head);
    rowOf(Object.values(tips), "td", body);
  });
  table.append(made("caption", points.length > LISTED ? `The first ${LISTED} of ${points.length} points` : "All points"), head, body);
  place.querySelector(".scroll").replaceChildren(table);
  watch(place);
};
