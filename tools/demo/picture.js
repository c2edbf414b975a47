"use strict";
// From a drawing or a photo to MNIST's form: the steps of helpers/images/, the last ones (`toMNIST`) all of them, those
// on photos in a shorter form. SETTINGS holds the constants of the Python code; tools/make_demo.py writes them.
//
// A picture is {width, height, data}: grey levels 0..255 in a Uint8ClampedArray, which rounds halves to even as NumPy
// and OpenCV do. In a mask, ink is 255. Bright is ink unless a name says otherwise.

function picture(width, height, data = new Uint8ClampedArray(width * height)) {
  return { width, height, data };
}

/** The same picture with each grey level (and its place) put through a function. */
function change({ width, height, data }, level) {
  const result = picture(width, height);
  for (let i = 0; i < data.length; i++) result.data[i] = level(data[i], i); // several times as fast as data.map
  return result;
}

/** One colour of a canvas's pixels: 0 red, 1 green, 2 blue. */
function colourOfPixels({ width, height, data }, which) {
  const result = picture(width, height);
  for (let i = 0; i < result.data.length; i++) result.data[i] = data[4 * i + which];
  return result;
}

const invert = (grey) => change(grey, (level) => 255 - level);

// --- whole pictures ---------------------------------------------------------------------------------------------

/** For each of `to` output pixels along a side: the first of the `from` input pixels it is made of, and weights. */
function shares(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (scale >= 1) {
      // Shrinking averages the area under a pixel.
      const [start, end] = [i * scale, Math.min(from, (i + 1) * scale)];
      const first = Math.floor(start);
      const weights = [];
      for (let j = first; j < end - 1e-9; j++) weights.push((Math.min(j + 1, end) - Math.max(j, start)) / scale);
      return { first, weights };
    }
    // Enlarging interpolates between four pixels by a cubic with OpenCV's slope of -0.75.
    const centre = (i + 0.5) * scale - 0.5;
    const first = Math.floor(centre) - 1;
    const weights = [0, 1, 2, 3].map((j) => {
      const far = Math.abs(centre - first - j);
      if (far <= 1) return (1.25 * far - 2.25) * far * far + 1;
      return far < 2 ? -0.75 * (((far - 5) * far + 8) * far - 4) : 0;
    });
    return { first, weights };
  });
}

/**
 * Weighted sums along the rows of `from`, then along its columns: `across` and `down` tell for each place of the result
 * where its sum begins and its weights; beyond the edge the last pixel counts.
 */
function weigh(from, across, down) {
  const along = (data, side, sums, result) => {
    const lines = data.length / side;
    sums.forEach(({ first, weights }, to) => {
      for (let line = 0; line < lines; line++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++) {
          sum += weights[j] * data[line * side + Math.min(side - 1, Math.max(0, first + j))];
        }
        result[to * lines + line] = sum; // turned: the lines of the result are columns of `data`
      }
    });
    return result;
  };
  const rows = along(from.data, from.width, across, new Float32Array(across.length * from.height));
  const result = picture(across.length, down.length);
  along(rows, from.height, down, result.data);
  return result;
}

function resize(grey, width, height) {
  if (grey.width === width && grey.height === height) return grey;
  return weigh(grey, shares(grey.width, width), shares(grey.height, height));
}

/** Scales a picture so that its longest side has `longest` pixels. */
function fit(grey, longest) {
  const scale = longest / Math.max(grey.width, grey.height);
  const side = (pixels) => Math.max(1, Math.round(pixels * scale));
  return resize(grey, side(grey.width), side(grey.height));
}

/** The part of a picture from a corner on; what lies outside of it repeats the edge, or is `outside`. */
function cut(grey, left, top, width, height, outside = null) {
  const result = picture(width, height);
  for (let y = 0; y < height; y++) {
    const row = Math.min(grey.height - 1, Math.max(0, top + y));
    for (let x = 0; x < width; x++) {
      const column = Math.min(grey.width - 1, Math.max(0, left + x));
      const inside = outside === null || (row === top + y && column === left + x);
      result.data[y * width + x] = inside ? grey.data[row * grey.width + column] : outside;
    }
  }
  return result;
}

const pad = (mask, by = 1) => cut(mask, -by, -by, mask.width + 2 * by, mask.height + 2 * by, 0);

/** The largest level in the square of `side` pixels (odd) round each pixel: a dilation. */
function dilate({ width, height, data }, side) {
  const reach = side >> 1;
  const result = picture(width, height);
  const along = (from, to, length, start, step) => {
    const line = new Uint8Array(length + 2 * reach);
    for (let i = 0; i < length; i++) line[reach + i] = from[start + i * step];
    // The maximum of 1, 2, 4 … pixels in a row; two of these that overlap cover the side.
    let span = 1;
    for (; 2 * span <= side; span *= 2) {
      for (let i = 0; i + span < line.length; i++) if (line[i + span] > line[i]) line[i] = line[i + span];
    }
    for (let i = 0; i < length; i++) to[start + i * step] = Math.max(line[i], line[i + side - span]);
  };
  for (let y = 0; y < height; y++) along(data, result.data, width, y * width, 1);
  for (let x = 0; x < width; x++) along(result.data, result.data, height, x, width);
  return result;
}

const erode = (grey, side) => invert(dilate(invert(grey), side));

/** Removes what is bright and narrower than `side`; of an inverted picture, what is dark. */
const open = (grey, side) => dilate(erode(grey, side), side);

function blur(grey, sigma) {
  const reach = Math.ceil(3 * sigma);
  const bell = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sigma) ** 2));
  const total = bell.reduce((sum, weight) => sum + weight, 0);
  const weights = bell.map((weight) => weight / total);
  const sums = (length) => Array.from({ length }, (_, i) => ({ first: i - reach, weights }));
  return weigh(grey, sums(grey.width), sums(grey.height));
}

// --- connected components and distances ---------------------------------------------------------------------------

// A pixel's neighbours: the first 4, or all 8.
const ACROSS = Int8Array.of(-1, 1, 0, 0, -1, 1, -1, 1);
const DOWN = Int8Array.of(0, 0, -1, 1, -1, -1, 1, 1);

/** The connected components of a mask: their numbers per pixel, from 1 on, and each with its box and area. */
function components({ width, height, data }, neighbours = 8) {
  const labels = new Int32Array(data.length);
  const waiting = new Int32Array(data.length);
  const parts = [];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || labels[start]) continue;
    const label = parts.length + 1;
    const part = { label, left: width, top: height, right: -1, bottom: -1, area: 0, sumX: 0, sumY: 0 };
    let count = 1;
    waiting[0] = start;
    labels[start] = label;
    while (count) {
      const at = waiting[--count];
      const x = at % width;
      const y = (at - x) / width;
      part.area++;
      part.sumX += x;
      part.sumY += y;
      if (x < part.left) part.left = x;
      if (x > part.right) part.right = x;
      if (y < part.top) part.top = y;
      if (y > part.bottom) part.bottom = y;
      for (let i = 0; i < neighbours; i++) {
        const u = x + ACROSS[i];
        const v = y + DOWN[i];
        const next = v * width + u;
        if (u < 0 || v < 0 || u >= width || v >= height || !data[next] || labels[next]) continue;
        labels[next] = label;
        waiting[count++] = next;
      }
    }
    part.width = part.right - part.left + 1;
    part.height = part.bottom - part.top + 1;
    part.size = Math.max(part.width, part.height);
    parts.push(part);
  }
  return { labels, parts };
}

const count = (mask) => components(mask).parts.length;

/** The distance of each pixel of a mask's ink to the nearest paper, in pixels: the steps of a knight, as in OpenCV. */
function distances({ width, height, data }) {
  const [straight, diagonal, knight] = [1, 1.4, 2.1969];
  const steps = [[-1, 0, straight], [0, -1, straight], [-1, -1, diagonal], [1, -1, diagonal]];
  for (const [x, y] of [[-1, -2], [1, -2], [-2, -1], [2, -1]]) steps.push([x, y, knight]);
  const across = width + 4; // two pixels round the picture, so that no step leaves it
  const far = new Float32Array(across * (height + 4)).fill(1e6);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) if (!data[y * width + x]) far[(y + 2) * across + x + 2] = 0;
  }
  const offsets = Int32Array.from(steps, ([x, y]) => y * across + x);
  const lengths = Float64Array.from(steps, ([, , length]) => length);
  for (const way of [1, -1]) {
    for (let i = 0; i < width * height; i++) {
      const place = way > 0 ? i : width * height - 1 - i;
      const x = place % width;
      const at = ((place - x) / width + 2) * across + x + 2;
      let least = far[at];
      if (least === 0) continue;
      for (let s = 0; s < 8; s++) {
        const other = far[at + way * offsets[s]] + lengths[s];
        if (other < least) least = other;
      }
      far[at] = least;
    }
  }
  const result = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) result[y * width + x] = far[(y + 2) * across + x + 2];
  }
  return result;
}

// --- the last steps: from the strokes of a digit to MNIST's form --------------------------------------------------

/** The box of a picture's ink: {left, top, width, height}; null without ink. */
function inkBox({ width, height, data }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** A picture cropped to the box of its ink. */
function crop(grey) {
  const { left, top, width, height } = inkBox(grey);
  return cut(grey, left, top, width, height);
}

/** Fills the holes of a mask that are too small to be loops. */
function fillPinholes(mask) {
  const { labels, parts } = components(invert(mask), 4);
  const { width, height } = mask;
  const most = SETTINGS.PINHOLE * Math.max(width, height) ** 2;
  const small = parts.map((part) => {
    const inside = part.left > 0 && part.top > 0 && part.right < width - 1 && part.bottom < height - 1;
    return inside && part.area <= most; // a bay at the edge is not a hole
  });
  return change(mask, (level, i) => (labels[i] && small[labels[i] - 1] ? 255 : level));
}

/** Crops the kept strokes and scales them to TRACE pixels: a mask with smooth edges. `level` is where ink begins. */
function trace(ink, kept, level) {
  const { left, top, width, height } = inkBox(kept);
  const around = [Math.max(0, left - 2), Math.max(0, top - 2)];
  const across = Math.min(kept.width, left + width + 2) - around[0];
  const down = Math.min(kept.height, top + height + 2) - around[1];
  const [levels, mask] = [ink, kept].map((whole) => cut(whole, ...around, across, down));
  const near = dilate(mask, 3);
  const grey = change(levels, (value, i) => {
    if (mask.data[i]) return value > level ? value : Math.min(255, Math.floor(level) + 1); // it bridges a gap
    return value > level ? 0 : Math.min(value, near.data[i]); // ink that was not kept must not come back
  });
  const scale = SETTINGS.TRACE / Math.max(width, height);
  const smooth = resize(grey, ...[across, down].map((side) => Math.max(1, Math.round(side * scale))));
  const strokes = change(smooth, (value) => (value > level ? 255 : 0));
  return inkBox(strokes) && fillPinholes(crop(strokes));
}

/** The typical width of the strokes in pixels: twice the median distance, weighted by ink, from centre line to edge. */
function strokeWidth(mask) {
  const { width, height, data } = pad(mask);
  const depth = distances({ width, height, data });
  const middle = [];
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = y * width + x;
      let highest = depth[at] > 0;
      for (let i = 0; highest && i < 8; i++) highest = depth[at] >= depth[at + DOWN[i] * width + ACROSS[i]];
      if (highest) middle.push(depth[at]);
    }
  }
  middle.sort((one, other) => one - other);
  let left = middle.reduce((sum, value) => sum + value, 0) / 2;
  return 2 * (middle.find((value) => (left -= value) <= 0) ?? 0);
}

/** Dilates or erodes strokes outside MNIST's range of widths, less where a loop would close or a stroke break. */
function normaliseStroke(mask) {
  const [low, high] = SETTINGS.STROKE.map((pixels) => (pixels * SETTINGS.TRACE) / SETTINGS.BOX);
  const width = strokeWidth(mask);
  const size = Math.max(mask.width, mask.height);
  const wanted = (width < low ? low : high) / size;
  if (width === 0 || (low <= width && width <= high) || wanted >= 1) return mask;
  const by = (wanted * size - width) / (2 * (1 - wanted)); // (width + 2 by) / (size + 2 by) = wanted
  const holes = count(invert(pad(mask)));
  if (by > 0) {
    const wide = pad(mask, Math.floor(by) + 2);
    const away = distances(invert(wide));
    let grown;
    for (const share of [1, 0.6, 0.3]) {
      grown = change(wide, (_, i) => (away[i] <= share * by ? 255 : 0));
      if (count(invert(pad(grown))) >= holes) break;
    }
    return grown;
  }
  const padded = pad(mask);
  const depth = distances(padded);
  const pieces = count(mask);
  for (const share of [1, 0.7, 0.4, 0.2]) {
    const thinner = change(padded, (_, i) => (depth[i] > -share * by ? 255 : 0));
    if (count(thinner) === pieces && count(invert(thinner)) === holes) return thinner;
  }
  return mask;
}

/** Places a digit in 28 × 28 black pixels with its centre of mass in the middle, moving it by whole pixels. */
function centreOfMass(digit) {
  const side = SETTINGS.FIELD;
  let [mass, down, across] = [0, 0, 0];
  digit.data.forEach((level, i) => {
    mass += level;
    across += level * (i % digit.width);
    down += level * Math.floor(i / digit.width);
  });
  const place = (moment, length) => {
    const [first] = Uint8ClampedArray.of(side / 2 - moment / mass); // at least 0, and halves to even
    return Math.min(side - length, first);
  };
  return cut(digit, -place(across, digit.width), -place(down, digit.height), side, side, 0);
}

/**
 * The 28 × 28 grey levels of a digit, as in MNIST: a box of 20 × 20, the centre of mass in the middle; null if nothing
 * is left of it. `ink` are grey levels, `kept` the mask of what belongs to the digit, `level` where ink begins.
 */
function toMNIST(ink, kept, level) {
  const strokes = trace(ink, kept, level);
  return strokes && centreOfMass(fit(crop(normaliseStroke(strokes)), SETTINGS.BOX)).data;
}

// --- photos -------------------------------------------------------------------------------------------------------

/** How much structure thinner than paper a grey picture has, dark and bright: what closings and openings remove. */
function thinStructures(grey) {
  const reach = 27;
  const small = fit(grey, 64);
  const page = cut(small, -reach, -reach, small.width + 2 * reach, small.height + 2 * reach);
  const turned = invert(page);
  const result = { dark: 0, bright: 0 };
  for (const side of [3, 5, 9, 15, 21, 27]) {
    for (const [name, of] of [["bright", page], ["dark", turned]]) {
      const opened = open(of, side);
      for (let y = reach; y < reach + small.height; y++) {
        for (let x = reach; x < reach + small.width; x++) {
          const at = y * page.width + x;
          result[name] += ((of.data[at] - opened.data[at]) / side) ** 2; // large squares remove more
        }
      }
    }
  }
  return result;
}

/** Subtracts paper, shadows and uneven light from a picture of bright ink: background 0. Light multiplies. */
function removeBackground(bright, darkInk) {
  const { width, height } = bright;
  const smooth = blur(bright, Math.max(0.5, Math.max(width, height) / 250));
  const { KERNEL } = SETTINGS;
  const side = Math.max(3, KERNEL * Math.min(width, height), 0.75 * KERNEL * Math.max(width, height));
  const background = dilate(open(smooth, Math.floor(side) | 1), 3);
  const mean = background.data.reduce((sum, level) => sum + level, 0) / background.data.length;
  return change(smooth, (level, i) => {
    const paper = background.data[i];
    const scale = darkInk ? 255 / Math.max(255 - paper, 32) : (mean + 64) / (paper + 64);
    return (level - paper) * scale;
  });
}

/** The grey level that separates ink from paper, by Otsu's method, and the lowest above noise; null if blank. */
function threshold(ink) {
  const counts = new Float64Array(256);
  for (const level of ink.data) counts[level]++;
  const quantile = (share) => {
    let left = share * ink.data.length;
    return Math.max(0, counts.findIndex((number) => (left -= number) <= 0));
  };
  const [least, paper, middle] = [0.05, 0.25, 0.5].map(quantile);
  const below = (paper - least) / 0.97; // the distances of these quantiles in Gaussian noise
  const noise = Math.max(below, Math.min((middle - paper) / 0.67, 2 * below + 2));
  const floor = paper + Math.max(SETTINGS.LEAST_CONTRAST, 5.5 * noise);
  counts.fill(0, 0, Math.floor(floor) + 1);
  const standing = counts.reduce((sum, number) => sum + number, 0);
  if (standing < 12) return null;
  counts[paper] = standing; // both classes get equal weight
  const total = counts.reduce((sum, number, level) => sum + number * level, 0);
  let [number, sum, best, level] = [0, 0, -1, 0];
  for (let i = 0; i < 256; i++) {
    number += counts[i];
    sum += counts[i] * i;
    const rest = 2 * standing - number;
    const between = ((total * number) / (2 * standing) - sum) ** 2 / Math.max(number * rest, 1);
    if (between > best) [best, level] = [between, i];
  }
  return { level: Math.max(level, floor), floor };
}

/** A mask of the ink, and the level at which it begins: faint stretches count where they continue a clear stroke. */
function findInk(ink) {
  const found = threshold(ink);
  if (!found) return null;
  const low = Math.max(found.floor, 0.5 * found.level);
  const plain = change(ink, (level) => (level > found.level ? 255 : 0));
  const weak = change(ink, (level) => (level > low ? 255 : 0));
  const { labels, parts } = components(weak);
  const strong = new Uint8Array(parts.length + 1);
  plain.data.forEach((level, i) => level && (strong[labels[i]] = 1));
  const linked = change(weak, (level, i) => (level && strong[labels[i]] ? 255 : 0));
  const area = ({ data }) => data.reduce((sum, level) => sum + (level > 0), 0);
  // More than that is a shadow that hangs on the strokes.
  return area(linked) < 1.6 * area(plain) ? { mask: linked, level: low } : { mask: plain, level: found.level };
}

/** Whether the ink of one component surrounds another, as a frame does. */
function goesRound({ labels, label, width }, { left, top, right, bottom }) {
  const share = (length, hit) => Array.from({ length }, (_, i) => hit(i)).filter(Boolean).length / length;
  const is = (x, y) => labels[y * width + x] === label;
  const height = labels.length / width;
  const any = (from, to, hit) => {
    for (let i = from; i < to; i++) if (hit(i)) return true;
    return false;
  };
  return [
    share(bottom - top + 1, (i) => any(0, left, (x) => is(x, top + i))),
    share(bottom - top + 1, (i) => any(right + 1, width, (x) => is(x, top + i))),
    share(right - left + 1, (i) => any(0, top, (y) => is(left + i, y))),
    share(right - left + 1, (i) => any(bottom + 1, height, (y) => is(left + i, y))),
  ].every((found) => found > 0.8);
}

/** Pixels between the boxes of two components; 0 where they overlap. */
function gap(one, other) {
  const across = Math.max(one.left - other.right, other.left - one.right, 0);
  const down = Math.max(one.top - other.bottom, other.top - one.bottom, 0);
  return Math.hypot(across, down);
}

/** The connected components of a mask as candidates for the digit, the most likely first. */
function candidates(mask) {
  const { width, height } = mask;
  const { labels, parts } = components(mask);
  for (const part of parts) {
    const { left, top, right, bottom } = part;
    part.touches = [left === 0, top === 0, right === width - 1, bottom === height - 1].filter(Boolean).length;
    const away = Math.hypot(part.sumX / part.area / width - 0.5, part.sumY / part.area / height - 0.5);
    part.likely = part.size ** 2 * (1 - 0.6 * away) * [1, 0.5, 0.1, 0.1, 0.1][part.touches];
    if (part.area > 0.55 * part.size ** 2) part.likely *= 0.5; // a solid blob: a punched hole, a thumb
    if (part.width > 2.5 * part.height || part.height > 12 * part.width) part.likely *= 0.1; // a printed line
  }
  const byLikely = (one, other) => other.likely - one.likely;
  const ordered = [...parts].sort(byLikely).slice(0, 50);
  for (const outer of ordered.slice(0, 5)) {
    if (outer.area > 0.3 * outer.width * outer.height) continue;
    const inside = ordered.filter((part) => part !== outer && part.size > 0.25 * outer.size && part.touches < 2);
    const frame = { labels, label: outer.label, width };
    if (inside.some((part) => goesRound(frame, part))) outer.likely *= 0.02;
  }
  return { labels, ordered: ordered.sort(byLikely) };
}

/** The components that form one digit with the first: its other strokes, or fragments of a broken one. */
function groupOf(ordered) {
  const core = ordered[0];
  let group = [core];
  let waiting = ordered.slice(1).filter((part) => part.area >= Math.max(3, 0.01 * core.area));
  if (core.touches < 2) waiting = waiting.filter((part) => part.touches <= core.touches);
  for (let joined = [null]; joined.length; group = [...group, ...joined]) {
    const [left, top] = ["left", "top"].map((side) => Math.min(...group.map((part) => part[side])));
    const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...group.map((part) => part[side])));
    const size = Math.max(right - left, bottom - top) + 1;
    const stroke = group.reduce((sum, part) => sum + part.area, 0) / size; // a lower bound of its width
    joined = waiting.filter((part) => {
      const long = part.size / size; // dust lies anywhere, a broken stroke continues where it stopped
      const near = Math.min(...group.map((member) => gap(member, part)));
      return long > 0.04 && near < Math.max(size * Math.min(0.4, 0.06 + 0.6 * long), 1.5 * stroke);
    });
    waiting = waiting.filter((part) => !joined.includes(part));
  }
  return group;
}

/** The mask of some components. */
function members(labels, group, { width, height }) {
  const wanted = new Uint8Array(labels.length + 1);
  for (const { label } of group) wanted[label] = 255;
  return picture(width, height, Uint8ClampedArray.from(labels, (label) => wanted[label]));
}

/** Components that may each be a digit: hardly less likely than the first, and nearly as high. */
function digitLike(ordered) {
  return ordered.filter((part) => part.likely > 0.05 * ordered[0].likely && part.height > 0.5 * ordered[0].height);
}

/** Those components in MNIST's form, one by one. */
function formsOf(ink, { labels, ordered }, level) {
  const most = 12; // more of them need not be counted
  const parts = digitLike(ordered).slice(0, most);
  return parts.length < 2 ? [] : parts.map((part) => toMNIST(ink, members(labels, [part], ink), level)).filter(Boolean);
}

// What a picture shows is {image, pieces, outside, box}: the digit in MNIST's form; a function that returns images of
// what may be digits of their own; whether some of these lie outside the digit; and the digit's box in the picture.

/** What a drawing shows, given its strokes bright on black: all of its ink is the digit. null if there is none. */
function digitInDrawing(ink) {
  const level = 127;
  const mask = change(ink, (value) => (value > level ? 255 : 0));
  const box = inkBox(mask);
  const image = box && toMNIST(ink, mask, level);
  return image && { image, pieces: () => formsOf(ink, candidates(mask), level), outside: false, box };
}

/** What the ink of a photo shows; null if nothing has the size of a digit. */
function digitInMask(ink, mask, level) {
  const found = candidates(mask);
  const least = Math.max(4, 0.025 * Math.max(mask.width, mask.height));
  if (!found.ordered.length || found.ordered[0].size < least) return null;
  const group = groupOf(found.ordered);
  const kept = members(found.labels, group, ink);
  const outside = digitLike(found.ordered).some((part) => !group.includes(part));
  const image = toMNIST(ink, kept, level);
  return image && { image, pieces: () => formsOf(ink, found, level), outside, box: inkBox(kept) };
}

/** The readings of a photo, given as pictures of its three colours: both polarities where that is in doubt. */
function digitsInPhoto(colours) {
  const { WORK, LEAST_WORK, NEAR, UNDECIDED } = SETTINGS;
  const longest = Math.max(colours[0].width, colours[0].height);
  const found = colours.map((colour) => ({ colour, ...thinStructures(colour) }));
  // Yellow ink shows in blue only: the colour in which thin structures stand out most.
  const { colour, dark, bright } = found.sort((one, other) => other.dark + other.bright - one.dark - one.bright)[0];
  const evidence = (dark - bright) / Math.max(dark + bright, 1e-9);
  const polarities = Math.abs(evidence) > UNDECIDED ? [evidence > 0] : [evidence > 0, evidence <= 0];
  const read = (grey, work, darkInk) => {
    const small = fit(grey, work);
    const ink = removeBackground(darkInk ? invert(small) : small, darkInk);
    const masked = findInk(ink);
    const digit = masked && digitInMask(ink, masked.mask, masked.level);
    const scale = small.width / grey.width;
    if (digit) for (const side of Object.keys(digit.box)) digit.box[side] /= scale;
    return digit;
  };
  return polarities.flatMap((darkInk) => {
    const whole = read(colour, Math.min(Math.max(2 * longest, LEAST_WORK), WORK), darkInk);
    if (!whole) return [];
    const { left, top, width, height } = whole.box;
    const size = Math.max(width, height);
    if (longest <= WORK || size > NEAR * longest || whole.outside) return [whole];
    // A small digit is looked at again from near.
    const reach = Math.round(1.1 * size + 4);
    const [x, y] = [left + width / 2, top + height / 2].map((at) => Math.max(0, Math.round(at) - reach));
    const [across, down] = [colour.width - x, colour.height - y].map((room) => Math.min(2 * reach, room));
    const work = Math.min(Math.max(LEAST_WORK, 2 * reach), WORK / 2);
    const near = read(cut(colour, x, y, across, down), work, darkInk);
    if (!near) return [whole];
    near.box.left += x;
    near.box.top += y;
    return [near];
  });
}
