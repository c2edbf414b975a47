"use strict";
// The page that reads a digit: what is drawn, while it is drawn, or a photo.

const LONGEST = 1000; // side in pixels at which a photo is kept: enough to read one digit

const network = prepare(NETWORKS.shipped);
const showBars = makeBars(byId("bars"));
const paper = new Paper(byId("paper"), () => answer(), say);
let latest = null; // readings of the photo on the paper
let later; // the timer of the second look

/** Tells those who cannot see the page. */
function say(text) {
  byId("live").textContent = text;
}

/** What an image shows: the digit and how sure it is, or why there is none. With `care` the answer is final. */
function read({ image, pieces, outside, box }, care) {
  const found = { ...judge(network, image, care), image, box };
  found.unclear = found.doubtful || !found.isDigit || outside;
  if (care && (!found.isDigit || outside)) {
    const others = pieces().map((piece) => judge(network, piece, false));
    found.digits = others.filter((one) => one.isDigit && Math.max(...one.probabilities) >= SETTINGS.COUNTED).length;
  }
  return found;
}

function choose(found) {
  return found.reduce((best, one) => (one.energy > best.energy + network.calibration.prior ? one : best));
}

/**
 * Reads what is on the paper and shows it. A second look, and whether there are several digits, take several times as
 * long: that waits until the pen is up and the first answer is on the screen, and is left where that is clear.
 */
function answer(care = false) {
  clearTimeout(later);
  if (paper.blank) return show(null);
  const started = performance.now();
  const readings = paper.photo ? latest : [digitInDrawing(paper.toPicture())].filter(Boolean);
  const found = readings.length ? choose(readings.map((reading) => read(reading, care))) : null;
  const final = !paper.drawing && (care || !found?.unclear);
  if (paper.photo) {
    paper.photo.box = found?.box;
    paper.paint();
  }
  show(found, final, performance.now() - started);
  if (!final && !paper.drawing) later = setTimeout(() => answer(true), 20);
}

/** What the page says: its state, the digit or a sign, a headline and a sentence. */
function describe(found) {
  if (paper.blank) return ["empty", "?", "Draw one digit", "0 to 9, as large as you like; or choose a photo."];
  if (!found) return ["rejected", "–", "No ink found", "The picture is blank, or its strokes are too faint."];
  if (found.digits > 1) {
    return ["rejected", "–", "Several digits", `${found.digits} were found: this page reads one. Leave a single one.`];
  }
  if (!found.isDigit) {
    const share = found.score < 0.001 ? "under 0.1 %" : `${(100 * found.score).toPrecision(2)} %`;
    return ["rejected", "–", "Not a digit", `The network gives it a probability of ${share} of being one.`];
  }
  const { digit, probabilities } = found;
  const sure = probabilities[digit];
  if (sure >= 0.9) return ["ok", digit, `${percent(sure)} sure`, ""];
  const order = probabilities.map((p, i) => [p, i]).sort((one, other) => other[0] - one[0]);
  return ["doubtful", digit, `Only ${percent(sure)} sure`, `It may be a ${order[1][1]}, with ${percent(order[1][0])}.`];
}

function show(found, final = true, milliseconds = null) {
  const [state, digit, headline, reason] = describe(found);
  document.body.dataset.state = state;
  byId("digit").textContent = digit;
  byId("headline").textContent = headline;
  byId("reason").textContent = reason;
  showBars(found?.probabilities, state === "ok" || state === "doubtful" ? digit : null);
  document.body.dataset.final = final;
  byId("seen").hidden = !found;
  if (found) paintImage(byId("image"), found.image);
  if (milliseconds !== null) byId("time").textContent = `The last answer took ${Math.ceil(milliseconds)} ms.`;
  if (final && state !== "empty") say(`${state === "rejected" ? "" : `${digit}, `}${headline}. ${reason}`);
}

/** Reads a picture file: shrunk, then as its three colours. */
async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    paper.clear();
    return requestAnimationFrame(() => complain(`${file.name}: this browser cannot open it as a picture.`));
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(scale * side)));
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  latest = digitsInPhoto([1, 0, 2].map((which) => colourOfPixels(pixels, which)));
  paper.show({ canvas });
}

function complain(sentence) {
  document.body.dataset.state = "rejected";
  byId("digit").textContent = "!";
  byId("headline").textContent = "Could not be read";
  byId("reason").textContent = sentence;
  say(`Could not be read. ${sentence}`);
}

byId("undo").addEventListener("click", () => paper.undo());
byId("clear").addEventListener("click", () => paper.clear());
byId("photo").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  if (target.files.length) readPhoto(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
byId("parameters").textContent = network.parameters.toLocaleString("en");
show(null);
// A browser translates functions to machine code once they have run for a while: a ring, read a few times before the
// first stroke, so that the first answers do not wait for it.
function warmUp(times) {
  const ring = picture(SIDE, SIDE);
  for (let i = 0; i < ring.data.length; i++) {
    const [x, y] = [(i % SIDE) - SIDE / 2, Math.floor(i / SIDE) - SIDE / 2];
    ring.data[i] = Math.abs(Math.hypot(1.6 * x, y) - 90) < 12 ? 255 : 0;
  }
  judge(network, digitInDrawing(ring).image, false);
  if (times > 1) setTimeout(() => warmUp(times - 1));
}
setTimeout(() => warmUp(5));
