"use strict";
// The page that shows the inside of a network: the maps behind each layer, and the sum behind one of their pixels.

const TERMS = 4; // input maps whose part in a sum is shown in full, largest first
const NAMES = {
  contrast: "Local contrast", convolution: "Convolution", pooling: "Max pooling", normalisation: "Batch normalisation",
  mean: "Mean of each map", dense: "Dense",
};

let network, sheets; // the chosen network, and the functions that show each layer's maps
let image = new Uint8Array(28 * 28);
let state; // what `run` has found for the image
let chosen = { layer: 0, channel: 0, row: 12, column: 12 };

const showBars = makeBars(byId("bars"));
const paper = new Paper(byId("paper"), answer, (text) => (byId("live").textContent = text));

const number = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−");
const clamp = (value, count) => Math.min(count - 1, Math.max(0, value));

/** A colour of the theme as [red, green, blue]. */
function themeColour(name) {
  const dot = element("canvas", { width: 1, height: 1 }).getContext("2d");
  dot.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
  dot.fillRect(0, 0, 1, 1);
  return [...dot.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

let colours;
function readColours() {
  const names = { ink: "--ink", zero: "--paper", plus: "--accent", minus: "--minus" };
  colours = Object.fromEntries(Object.entries(names).map(([name, variable]) => [name, themeColour(variable)]));
}

/** The colour of a value: that of paper for 0, blue above, orange below; strongest at `most`. */
function colourOf(value, most) {
  const share = Math.min(1, Math.abs(value) / (most || 1));
  const end = value > 0 ? colours.plus : colours.minus;
  return colours.zero.map((level, i) => level + share * (end[i] - level));
}

function largest(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

// --- the layers' maps ---------------------------------------------------------------------------------------------

/** Titles of the layers, with a number where there are several of a kind. */
function titles(layers) {
  return layers.map(({ kind }, i) => {
    const same = layers.filter((layer) => layer.kind === kind);
    const which = layers.slice(0, i + 1).filter((layer) => layer.kind === kind).length;
    return same.length > 1 ? `${NAMES[kind]} ${which}` : NAMES[kind];
  });
}

function sizeOf({ height, width, channels }) {
  if (height * width === 1) return `${channels} units`;
  return `${channels} ${channels > 1 ? "maps" : "map"} of ${height}\u00a0×\u00a0${width}`;
}

/** Adds a layer to the page: one canvas with all its maps. Returns the function that shows them anew. */
function addLayer(index, title) {
  const map = state.maps[index];
  const { relu } = network.layers[index];
  const heading = element("h2", { textContent: `${title}${relu ? ", ReLU" : ""}: ${sizeOf(map)}` });
  const canvas = element("canvas", { className: "sheet layer", tabIndex: 0 });
  canvas.setAttribute("role", "slider"); // one of a row of maps, chosen with the arrow keys
  canvas.setAttribute("aria-label", `Maps of ${title}`);
  canvas.setAttribute("aria-valuemin", 1);
  canvas.setAttribute("aria-valuemax", map.channels);
  byId("layers").append(heading, canvas);
  const unit = map.height * map.width === 1; // a dense layer
  const room = byId("layers").clientWidth;
  const columns = Math.min(map.channels, unit ? 16 : 8);
  const cell = Math.min(room / columns, unit ? 24 : 52); // pixels of the screen for each map
  const side = unit ? 8 : map.width; // pixels of the canvas for each map, plus a gap
  const [across, down] = [side + 2, (unit ? 8 : map.height) + 2];
  canvas.width = columns * across;
  canvas.height = Math.ceil(map.channels / columns) * down;
  canvas.style.width = `${columns * cell}px`;
  const context = canvas.getContext("2d");

  const paint = () => {
    const { data, height, width, channels } = state.maps[index];
    const pixels = context.createImageData(canvas.width, canvas.height);
    const most = largest(data);
    for (let c = 0; c < channels; c++) {
      const [left, top] = [(c % columns) * across, Math.floor(c / columns) * down];
      const here = chosen.layer === index && chosen.channel === c;
      for (let y = 0; y < down; y++) {
        for (let x = 0; x < across; x++) {
          const [v, u] = unit ? [0, 0] : [y - 1, x - 1];
          const rim = y === 0 || x === 0 || y === down - 1 || x === across - 1;
          const shown = rim ? colours.ink : colourOf(data[(v * width + u) * channels + c], most);
          pixels.data.set([...shown, rim && !here ? 0 : 255], 4 * ((top + y) * canvas.width + left + x));
        }
      }
    }
    context.putImageData(pixels, 0, 0);
    const current = chosen.layer === index ? chosen.channel : 0;
    canvas.setAttribute("aria-valuenow", current + 1);
    canvas.setAttribute("aria-valuetext", `${unit ? "unit" : "map"} ${current + 1} of ${channels}`);
  };
  const take = (channel) => {
    const { height, width, channels } = state.maps[index];
    const same = state.maps[chosen.layer].height === height; // keep the place where the size stays
    const [row, column] = same ? [chosen.row, chosen.column] : [height >> 1, width >> 1];
    choose({ layer: index, channel: clamp(channel, channels), row, column });
  };
  canvas.addEventListener("click", (event) => {
    const [x, y] = placeIn(canvas, event);
    take(Math.floor(y / down) * columns + Math.floor(x / across));
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -1e4, End: 1e4 };
    if (event.key in steps) take((chosen.layer === index ? chosen.channel : 0) + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") take(chosen.layer === index ? chosen.channel : 0);
    else return;
    event.preventDefault();
  });
  return paint;
}

// --- the sum behind a pixel ---------------------------------------------------------------------------------------

/** The map that a layer sees. */
function inputOf(index) {
  if (index) return state.maps[index - 1];
  return { height: 28, width: 28, channels: 1, data: Float32Array.from(image, (level) => level / 255) };
}

/** The part of each input map in a weighted sum: {channel, window, filter, sum}, each a list of numbers row by row. */
function termsOf(layer, map, { channel, row, column }) {
  const dense = layer.kind === "dense";
  const [high, wide] = dense ? [map.height, map.width] : layer.size;
  const [above, left] = dense ? [0, 0] : margin(layer);
  const [top, side] = dense ? [0, 0] : [row - above, column - left];
  return Array.from({ length: map.channels }, (_, from) => {
    const term = { channel: from, wide, window: [], filter: [], sum: 0 };
    for (let y = 0; y < high; y++) {
      for (let x = 0; x < wide; x++) {
        const [v, u] = [top + y, side + x];
        const inside = v >= 0 && u >= 0 && v < map.height && u < map.width;
        const value = inside ? map.data[(v * map.width + u) * map.channels + from] : 0;
        const weight = layer.weights[((y * wide + x) * map.channels + from) * layer.outputs + channel];
        term.window.push(value);
        term.filter.push(weight);
        term.sum += value * weight;
      }
    }
    return term;
  });
}

/** Numbers in cells coloured by them, row by row. */
function grid(caption, values, wide, most = largest(values)) {
  const table = element("table", { className: "grid" });
  table.createCaption().textContent = caption;
  for (let start = 0; start < values.length; start += wide) {
    const row = table.insertRow();
    for (const value of values.slice(start, start + wide)) {
      const cell = row.insertCell();
      const colour = colourOf(value, most);
      cell.style.backgroundColor = `rgb(${colour.map(Math.round)})`;
      // Where the luminance is 0.18, black and white have the same contrast, 4.6.
      const [red, green, blue] = colour.map((level) => (level / 255) ** 2.2);
      cell.style.color = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "black" : "white";
      cell.textContent = number(value);
    }
  }
  return table;
}

/** One input map's part in the sum: window × filter = products. */
function showTerm({ channel, wide, window, filter, sum }, named) {
  const box = element("div", { className: "term" });
  if (named) box.append(element("p", { textContent: `Input ${named} ${channel + 1}: ${number(sum)}` }));
  if (window.length === 1) {
    box.firstChild.textContent += ` = ${number(window[0])} × ${number(filter[0])}`;
  } else {
    box.append(grid("pixels", window, wide), "×", grid("filter", filter, wide));
    if (!named) box.append("=", grid("products", window.map((value, i) => value * filter[i]), wide));
  }
  return box;
}

/** What is behind a value of a layer with weights: a sentence, the largest parts, and the sum. */
function explainWeights(layer, map) {
  const terms = termsOf(layer, map, chosen);
  const bias = layer.bias[chosen.channel];
  const sum = terms.reduce((total, term) => total + term.sum, 0);
  const first = [...terms].sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum)).slice(0, TERMS);
  const rest = sum - first.reduce((total, term) => total + term.sum, 0);
  const unit = map.height * map.width === 1;
  const what = unit ? "unit" : "map";
  const parts = first.map((term) => showTerm(term, map.channels > 1 ? what : null));
  const others = map.channels - first.length;
  const remark = `The other ${others} ${what}s add ${number(rest)} together.`;
  if (others > 0) parts.push(element("p", { textContent: remark }));
  const seen = layer.kind === "dense" ? "all of" : `a window of ${layer.size.join(" × ")} in`;
  const how = unit ? "each times its weight" : "each pixel times its weight in the filter";
  const largestParts = others > 0 ? ` Below, its ${first.length} largest parts.` : "";
  const sentence = `It sees ${seen} ${sizeOf(map)}: ${how}, summed.${largestParts}`;
  return [sentence, parts, `sum ${number(sum)} + bias ${number(bias)} = ${number(sum + bias)}`];
}

// The same for layers without weights; `from` is a value of the chosen map before the layer.
const EXPLAIN = {
  pooling({ size: [high, wide] }, from, { row, column }) {
    const at = (i) => from(row * high + Math.floor(i / wide), column * wide + (i % wide));
    const window = Array.from({ length: high * wide }, (_, i) => at(i));
    const sentence = "It keeps the largest of a window; where exactly the pattern was is lost.";
    return [sentence, [grid("pixels", window, wide)], `largest = ${number(Math.max(...window))}`];
  },
  normalisation(layer, from, { row, column, channel }) {
    const [factor, summand, before] = [layer.factor[channel], layer.summand[channel], from(row, column)];
    const after = number(before * factor + summand);
    const sentence = "It brings each map to the same range, by its mean and variance in training.";
    return [sentence, [], `${number(before)} × ${number(factor)} + ${number(summand)} = ${after}`];
  },
  mean(layer, from, { channel }, value) {
    const sentence = `It takes the mean of map ${channel + 1}: how much of its pattern there is, wherever it is.`;
    return [sentence, [], `mean = ${number(value)}`];
  },
  contrast(layer, from, { row, column }, value) {
    const sentence =
      "Each pixel minus the mean round it, divided by the standard deviation round it: how bright the picture is, " +
      "and how strong its contrast, does not count.";
    return [sentence, [], `${number(from(row, column))} becomes ${number(value)}`];
  },
};

/** What is behind the chosen pixel: a sentence, the parts, and the result. */
function explain() {
  const layer = network.layers[chosen.layer];
  const map = inputOf(chosen.layer);
  const { channel, row, column } = chosen;
  const out = state.maps[chosen.layer];
  const value = out.data[(row * out.width + column) * out.channels + channel];
  const from = (v, u) => map.data[(v * map.width + u) * map.channels + channel];
  const [sentence, parts, result] = layer.weights
    ? explainWeights(layer, map)
    : EXPLAIN[layer.kind](layer, from, chosen, value);
  if (layer.relu) return [sentence, parts, `${result} → ReLU → ${number(value)}`];
  if (chosen.layer < network.layers.length - 1) return [sentence, parts, result];
  const probability = softmax(state.logits, network.calibration.temperature)[channel];
  return [sentence, parts, `${result}, the logit; softmax makes ${percent(probability)} of it`];
}

/** Shows the chosen map, enlarged, its pixel marked, and the sum behind it. */
function showSum() {
  const map = state.maps[chosen.layer];
  const title = titles(network.layers)[chosen.layer];
  const { channel, row, column } = chosen;
  const unit = map.height * map.width === 1;
  const last = chosen.layer === network.layers.length - 1;
  const name = last ? `digit ${channel}` : `unit ${channel + 1}`;
  const pixel = `map ${channel + 1}, row ${row + 1}, column ${column + 1}`;
  byId("place").textContent = `${title}: ${unit ? name : pixel}`;
  const canvas = byId("map");
  canvas.hidden = unit;
  const size = Math.floor(280 / map.width);
  [canvas.width, canvas.height] = [size * map.width, size * map.height];
  const context = canvas.getContext("2d");
  const values = map.data.filter((_, i) => i % map.channels === channel);
  const most = largest(values);
  values.forEach((value, i) => {
    context.fillStyle = `rgb(${colourOf(value, most).map(Math.round)})`;
    context.fillRect((i % map.width) * size, Math.floor(i / map.width) * size, size, size);
  });
  context.lineWidth = 2;
  context.strokeStyle = getComputedStyle(canvas).color;
  context.strokeRect(1, 1, canvas.width - 2, canvas.height - 2);
  context.strokeRect(column * size, row * size, size, size);
  const [kind, parts, result] = explain();
  byId("kind").textContent = kind;
  byId("terms").replaceChildren(...parts);
  byId("result").textContent = result;
}

/** The sum stands beside the layers; on a narrow screen below the chosen one. */
function placeSum() {
  const narrow = matchMedia("(max-width: 760px)").matches;
  const before = narrow ? byId("layers").querySelectorAll("canvas.layer")[chosen.layer] : byId("layers");
  if (before.nextSibling !== byId("sum")) before.after(byId("sum"));
}

function choose(place) {
  const before = chosen.layer;
  chosen = place;
  sheets[before]();
  if (before !== place.layer) sheets[place.layer]();
  placeSum();
  showSum();
}

// --- the page -----------------------------------------------------------------------------------------------------

/** Runs the network on what is on the paper, and shows all of it. */
function answer() {
  const digit = paper.blank ? null : digitInDrawing(paper.toPicture());
  image = digit ? digit.image : new Uint8Array(28 * 28);
  state = run(network, image);
  const probabilities = softmax(state.logits, network.calibration.temperature);
  const best = probabilities.indexOf(Math.max(...probabilities));
  byId("digit").textContent = digit ? best : "?";
  byId("headline").textContent = digit ? `${percent(probabilities[best])} sure` : "Draw one digit";
  showBars(digit && probabilities, digit ? best : null);
  paintImage(byId("image"), image);
  for (const paint of sheets) paint();
  showSum();
  if (digit && !paper.drawing) byId("live").textContent = `${best}, ${percent(probabilities[best])} sure`;
}

/** Shows another network, or the same one after the page has changed its width or its colours. */
function build() {
  readColours();
  const named = titles(network.layers);
  byId("inside").append(byId("sum"));
  byId("layers").replaceChildren();
  sheets = network.layers.map((_, i) => addLayer(i, named[i]));
  placeSum();
  answer();
}

function select(name) {
  network = prepare(NETWORKS[name]);
  state = run(network, image);
  const layer = Math.max(0, network.layers.findIndex(({ kind }) => kind === "convolution"));
  chosen = { layer, channel: 0, row: state.maps[layer].height >> 1, column: state.maps[layer].width >> 1 };
  build();
}

for (const name of ["student", "shipped"]) {
  const found = NETWORKS[name];
  const text = found && `${found.title}: ${found.parameters.toLocaleString("en")} parameters`;
  if (found) byId("which").add(new Option(text, name));
}
byId("which").addEventListener("change", ({ target }) => select(target.value));
byId("undo").addEventListener("click", () => paper.undo());
byId("clear").addEventListener("click", () => paper.clear());
byId("map").addEventListener("click", (event) => {
  const { width, height } = state.maps[chosen.layer];
  const [x, y] = placeIn(event.target, event);
  const row = clamp(Math.floor((y / event.target.height) * height), height);
  choose({ ...chosen, row, column: clamp(Math.floor((x / event.target.width) * width), width) });
});
byId("map").addEventListener("keydown", (event) => {
  if (!(event.key in DIRECTIONS)) return;
  const { width, height } = state.maps[chosen.layer];
  const [x, y] = DIRECTIONS[event.key];
  choose({ ...chosen, row: clamp(chosen.row + y, height), column: clamp(chosen.column + x, width) });
  event.preventDefault();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
let across = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== across) build(); // not when a phone hides its address bar
  across = innerWidth;
});
select(byId("which").value);
