"use strict";
// The forward pass of a network in plain JavaScript, and how sure its answer is.
//
// A map is {height, width, channels, data}: a Float32Array in the order rows, columns, channels, as in Keras. What a
// network consists of is written by tools/make_demo.py into files beside this one, each of which adds to NETWORKS.

const NETWORKS = {};

/** The numbers of a packed array: integers of `bits` bits, in base64, times the step of their last axis. */
function unpack({ shape, bits, steps, letters }) {
  const numbers = new Float32Array(shape.reduce((product, side) => product * side, 1));
  const bytes = atob(letters);
  const middle = 2 ** (bits - 1);
  let held = 0;
  let count = 0; // bits held
  for (let i = 0, next = 0; i < numbers.length; i++) {
    for (; count < bits; count += 8) held = (held << 8) | bytes.charCodeAt(next++);
    count -= bits;
    numbers[i] = ((held >> count) - middle) * steps[i % steps.length];
    held &= 2 ** count - 1;
  }
  return numbers;
}

/** Weights (inputs, outputs) as `multiply` wants them: eight outputs side by side, the last group filled up with 0. */
function inEights(weights, outputs) {
  const inputs = weights.length / outputs;
  const packed = new Float32Array(8 * Math.ceil(outputs / 8) * inputs);
  for (let k = 0; k < inputs; k++) {
    for (let o = 0; o < outputs; o++) packed[((o >> 3) * inputs + k) * 8 + (o & 7)] = weights[k * outputs + o];
  }
  return packed;
}

/**
 * The product of `rows` (count, inputs) and weights, plus the bias: (count, outputs).
 *
 * Two things make it several times as fast as three plain loops. Behind ReLU most numbers are 0, and these are left
 * out. Of the others each is read once for eight outputs, whose sums stay in registers.
 */
function multiply(rows, count, { packed, bias, outputs }) {
  const inputs = packed.length / (8 * Math.ceil(outputs / 8));
  const result = new Float32Array(count * outputs);
  const values = new Float32Array(inputs); // those of a row that are not 0
  const places = new Int32Array(inputs); // of their weights
  for (let row = 0; row < count; row++) {
    let used = 0;
    for (let k = 0; k < inputs; k++) {
      const value = rows[row * inputs + k];
      if (value === 0) continue;
      values[used] = value;
      places[used++] = 8 * k;
    }
    for (let o = 0; o < outputs; o += 8) {
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let i = 0; i < used; i++) {
        const value = values[i];
        const w = o * inputs + places[i];
        a += value * packed[w];
        b += value * packed[w + 1];
        c += value * packed[w + 2];
        d += value * packed[w + 3];
        e += value * packed[w + 4];
        f += value * packed[w + 5];
        g += value * packed[w + 6];
        h += value * packed[w + 7];
      }
      const sums = [a, b, c, d, e, f, g, h];
      for (let i = 0; i < 8 && o + i < outputs; i++) result[row * outputs + o + i] = sums[i] + bias[o + i];
    }
  }
  return result;
}

/** Pixels of padding before the first row and column: as many zeros on each side as keep the size, one more behind. */
function margin({ padding, size }) {
  return padding === "same" ? size.map((side) => (side - 1) >> 1) : [0, 0];
}

/** The window under each pixel of a convolution's result, one after the other (im2col), and the result's size. */
function windows({ height, width, channels, data }, layer) {
  const [high, wide] = layer.size;
  const [above, left] = margin(layer);
  const same = layer.padding === "same";
  const rows = same ? height : height - high + 1;
  const columns = same ? width : width - wide + 1;
  const result = new Float32Array(rows * columns * high * wide * channels);
  for (let row = 0, to = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const first = Math.max(0, column - left);
      const last = Math.min(width, column - left + wide);
      for (let y = row - above; y < row - above + high; y++, to += wide * channels) {
        if (y < 0 || y >= height) continue; // padding
        const from = (y * width + first) * channels;
        const at = to + (first - column + left) * channels;
        for (let i = 0; i < (last - first) * channels; i++) result[at + i] = data[from + i];
      }
    }
  }
  return { rows, columns, result };
}

/** The mean of the square of `side` pixels round each pixel of a map with one channel; padding does not count. */
function localMean(data, height, width, side) {
  const reach = side >> 1;
  const result = new Float32Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      let count = 0;
      for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
        for (let u = Math.max(0, x - reach); u <= Math.min(width - 1, x + reach); u++, count++) {
          sum += data[v * width + u];
        }
      }
      result[y * width + x] = sum / count;
    }
  }
  return result;
}

// What each kind of layer makes of a map, before its activation.
const LAYERS = {
  /** Local contrast normalisation: `local_contrast` in helpers/models/networks.py. */
  contrast({ height, width, data }, { side, whole, least }) {
    const mean = localMean(data, height, width, side);
    const difference = data.map((value, i) => value - mean[i]);
    const energy = difference.map((value) => value * value);
    const overall = energy.reduce((sum, value) => sum + value, 0) / energy.length;
    const around = localMean(localMean(energy, height, width, side), height, width, side);
    const result = difference.map((value, i) => value / Math.sqrt(around[i] + whole * overall + least));
    return { height, width, channels: 1, data: result };
  },

  convolution(map, layer) {
    const { rows, columns, result } = windows(map, layer);
    const data = multiply(result, rows * columns, layer);
    return { height: rows, width: columns, channels: layer.outputs, data };
  },

  /** The largest of each window; the windows lie side by side. A rest at the right and at the bottom is dropped. */
  pooling({ height, width, channels, data }, { size: [high, wide] }) {
    const [rows, columns] = [Math.floor(height / high), Math.floor(width / wide)];
    const result = new Float32Array(rows * columns * channels).fill(-Infinity);
    for (let y = 0; y < rows * high; y++) {
      for (let x = 0; x < columns * wide; x++) {
        const from = (y * width + x) * channels;
        const to = (Math.floor(y / high) * columns + Math.floor(x / wide)) * channels;
        for (let c = 0; c < channels; c++) if (data[from + c] > result[to + c]) result[to + c] = data[from + c];
      }
    }
    return { height: rows, width: columns, channels, data: result };
  },

  /** Batch normalisation with the statistics of training: a factor and a summand for each channel. */
  normalisation(map, { factor, summand }) {
    const data = map.data.map((value, i) => value * factor[i % map.channels] + summand[i % map.channels]);
    return { ...map, data };
  },

  /** The mean of each channel (global average pooling). */
  mean({ height, width, channels, data }) {
    const result = new Float32Array(channels);
    data.forEach((value, i) => (result[i % channels] += value / (height * width)));
    return { height: 1, width: 1, channels, data: result };
  },

  /** Each unit sees the whole map, whatever its shape: a convolution whose window is as large as the map. */
  dense: ({ data }, layer) => ({ height: 1, width: 1, channels: layer.outputs, data: multiply(data, 1, layer) }),
};

/** A network of NETWORKS with its weights unpacked, ready to run. */
function prepare({ layers, calibration, ...about }) {
  const weighted = (layer) => {
    const weights = unpack(layer.weights);
    return { ...layer, weights, packed: inEights(weights, layer.outputs) };
  };
  return {
    ...about,
    layers: layers.map((layer) => (layer.weights ? weighted(layer) : layer)),
    calibration: { ...calibration, gate: calibration.gate?.map(weighted) },
  };
}

/**
 * The map behind each layer, the logits and the features (what the last layer sees) of one image.
 *
 * `image` holds 28 × 28 grey levels, 0 (background) to 255 (ink).
 */
function run(network, image) {
  const maps = [];
  let map = { height: 28, width: 28, channels: 1, data: Float32Array.from(image, (level) => level / 255) };
  for (const layer of network.layers) {
    map = LAYERS[layer.kind](map, layer);
    if (layer.relu) for (let i = 0; i < map.data.length; i++) if (map.data[i] < 0) map.data[i] = 0;
    maps.push(map);
  }
  return { maps, logits: [...map.data], features: maps.at(-2).data };
}

function softmax(logits, temperature = 1) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp((logit - most) / temperature));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** log Σ exp of the logits: large where some class fits well. */
function energy(logits) {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}

/** The probability of being a digit, by the small network on features, sorted logits and energy. */
function digitScore({ calibration }, logits, features) {
  const sorted = [...logits].sort((one, other) => other - one);
  let x = Float32Array.from([...features, ...sorted, energy(logits)]);
  calibration.gate.forEach((layer, i) => (x = multiply(i ? x.map((value) => Math.max(0, value)) : x, 1, layer)));
  return 1 / (1 + Math.exp(-x[0]));
}

/** Four copies of an image, moved by half a pixel towards each corner: a moved pixel is the mean of four. */
function halfPixelMoves(image, side = 28) {
  const level = (y, x) => (y < 0 || x < 0 || y >= side || x >= side ? 0 : image[y * side + x]);
  return [[-1, -1], [-1, 0], [0, -1], [0, 0]].map(([up, left]) => {
    const moved = new Uint8ClampedArray(side * side); // rounds halves to even, as NumPy does
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const [v, u] = [y + up, x + left];
        moved[y * side + x] = (level(v, u) + level(v, u + 1) + level(v + 1, u) + level(v + 1, u + 1)) / 4;
      }
    }
    return moved;
  });
}

/**
 * What the network says of an image: the calibrated probabilities, the score of being a digit, whether it is one.
 *
 * Of an image of which the network is not sure, the mean of five views counts, if a second look is wanted: that takes
 * five times as long. A network without calibration takes everything for a digit.
 */
function judge(network, image, secondLook = true) {
  const { temperature = 1, threshold, sure, gate } = network.calibration;
  const { logits, features } = run(network, image);
  let probabilities = softmax(logits, temperature);
  const doubtful = Math.max(...probabilities) < sure;
  if (doubtful && secondLook) {
    const others = halfPixelMoves(image).map((moved) => softmax(run(network, moved).logits, temperature));
    probabilities = probabilities.map((p, i) => (p + others.reduce((sum, other) => sum + other[i], 0)) / 5);
  }
  const score = gate ? digitScore(network, logits, features) : null;
  const digit = probabilities.indexOf(Math.max(...probabilities));
  // Not "score < threshold": with NaN nothing is sure, so it is refused.
  return { probabilities, digit, doubtful, score, isDigit: !gate || score >= threshold, energy: energy(logits) };
}
