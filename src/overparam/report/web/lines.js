// From rows to lines: means over seeds and what is shown around them, as overparam.report.curves makes them.

const FEW = 4; // seeds from which on the mean has an interval
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const orDash = (write) => (value) => (isNumber(value) ? write(value) : "\u2013");
const short = (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(3))));

// The forms of overparam.report.words.
const FORMS = {
  percent: orDash((value) => (100 * value).toFixed(1) + "\u00a0%"),
  points: orDash((value) => (100 * value).toFixed(1)),
  number: orDash((value) => value.toFixed(2)),
  three: orDash((value) => value.toFixed(3)),
  plain: orDash(short),
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The mean of one number per seed, with the range of the seeds or, from FEW seeds on, its 95 % interval.
const spread = (given, share, quantiles) => {
  const values = given.filter(isNumber), n = values.length;
  if (!n) return { n, mean: null, low: null, high: null };
  const middle = mean(values);
  if (n === 1) return { n, mean: middle, low: null, high: null };
  if (n < FEW) return { n, mean: middle, low: Math.min(...values), high: Math.max(...values) };
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  const half = quantiles[n] * Math.sqrt(squares / (n - 1) / n);
  const within = (end) => (share ? Math.min(1, Math.max(0, end)) : end);
  return { n, mean: middle, low: within(middle - half), high: within(middle + half) };
};

const told = (found, write) =>
  write(found.mean) + (found.low === null ? "" : ` (${write(found.low)} to ${write(found.high)})`);

// Rows by the key that `of` gives them; rows without one are left out.
const grouped = (count, of) => {
  const groups = new Map();
  for (let row = 0; row < count; row += 1) {
    const key = of(row);
    if (key === null) continue;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return groups;
};

// What overparam.report.charts.panel_data makes: the lines of a panel of an arm, and what its cursor tells.
const panelTables = (rows, number, name, chart) => {
  const arm = rows.arms[number], write = FORMS[chart.write], bands = chart.data[`${name}-bands`];
  const columns = Object.keys(chart.series).map((column) => rows.byName.get(column));
  const middle = (one, other) => (arm.linear ? (one + other) / 2 : Math.exp((Math.log(one) + Math.log(other)) / 2));
  const bandAt = (x) => (bands.find((band) => (arm.falling ? x >= band.end - 1e-12 : x <= band.end + 1e-12)) || { name: "\u2013" }).name;
  const places = arm.x.map((x, place) => ({ x, place })).sort((one, other) => (arm.falling ? other.x - one.x : one.x - other.x));
  const curves = [], levels = [];
  places.forEach(({ x, place }, position) => {
    const inside = rows.inside[number][place];
    const found = columns.map((column) =>
      spread(inside.map((row) => column.values[row]), column.name.includes("accuracy"), rows.quantiles));
    const level = {
      x, place, at: arm.at[place], band: bandAt(x), seeds: arm.n[place],
      start: position ? middle(places[position - 1].x, x) : x,
      end: position < places.length - 1 ? middle(x, places[position + 1].x) : x,
    };
    Object.values(chart.series).forEach((series, at) => {
      level[`s${at}`] = told(found[at], write);
      if (found[at].n) curves.push({ x, series, mean: found[at].mean, low: found[at].low, high: found[at].high });
    });
    levels.push(level);
  });
  return { ...chart.data, [`${name}-curves`]: curves, [`${name}-levels`]: levels };
};

// Rows as the page carries them, with what is looked up often.
const indexed = (rows) => {
  rows.byName = new Map(rows.columns.map((column) => [column.name, column]));
  rows.inside = rows.arms.map((arm) => arm.x.map(() => []));
  rows.arm.forEach((arm, row) => {
    if (arm !== null && rows.place[row] !== null) rows.inside[arm][rows.place[row]].push(row);
  });
  return rows;
};
