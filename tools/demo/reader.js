"use strict";
// The page that reads a digit: what is drawn, while it is drawn, or a photo.

const LONGEST = 1000; // side in pixels at which a photo is kept: enough to read one digit

const network = prepare(NETWORKS.shipped);
const showBars = makeBars(byId("bars"));
const paper = new Paper(byId("paper"), answer, say);
let latest = null; // readings of the photo on the paper

/** Tells those who cannot see the page. */
function say(text) {
  byId("live").textContent = text;
}

/** What an image shows: the digit and how sure it is, or why there is none. `pieces` may be digits of their own. */
function read({ image, pieces, outside }, secondLook) {
  const found = judge(network, image, secondLook);
  if (found.isDigit && !outside) return { ...found, image };
  const several = secondLook ? pieces().map((piece) => judge(network, piece, false)) : [];
  const number = several.filter((one) => one.isDigit && Math.max(...one.probabilities) >= SETTINGS.COUNTED).length;
  return { ...found, image, number };
}

function choose(readings) {
  return readings.reduce((best, one) => (one.energy > best.energy + network.calibration.prior ? one : best));
}

/** Reads what is on the paper. While the pen is down one look is enough: the second takes four times as long. */
function answer() {
  const started = performance.now();
  if (paper.blank) return show(null);
  const settled = !paper.drawing;
  const found = paper.photo ? latest : [digitInDrawing(paper.toPicture())].filter(Boolean);
  const readings = found.map((one) => ({ ...read(one, settled), box: one.box }));
  const best = readings.length ? choose(readings) : null;
  if (paper.photo) paper.photo.box = best?.box;
  paper.paint();
  show(best, settled, performance.now() - started);
}

/** What the page says: its state, the digit or a sign, a headline and a sentence. */
function describe(found) {
  if (paper.blank) return ["empty", "?", "Draw one digit", "0 to 9, as large as you like; or choose a photo."];
  if (!found) return ["rejected", "–", "No ink found", "The picture is blank, or its strokes are too faint."];
  if (found.number > 1) {
    return ["rejected", "–", "Several digits", `${found.number} were found: this page reads one. Leave a single one.`];
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

function show(found, settled = true, milliseconds = null) {
  const [state, digit, headline, reason] = describe(found);
  document.body.dataset.state = state;
  byId("digit").textContent = digit;
  byId("headline").textContent = headline;
  byId("reason").textContent = reason;
  showBars(found?.probabilities, state === "ok" || state === "doubtful" ? digit : null);
  byId("seen").hidden = !found;
  if (found) paintImage(byId("image"), found.image);
  if (milliseconds !== null) byId("time").textContent = `The last answer took ${Math.ceil(milliseconds)} ms.`;
  if (settled && state !== "empty") say(`${state === "rejected" ? "" : `${digit}, `}${headline}. ${reason}`);
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
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const { width, height, data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const colour = (channel) => Uint8ClampedArray.from({ length: width * height }, (_, i) => data[4 * i + channel]);
  latest = digitsInPhoto([1, 0, 2].map((channel) => picture(width, height, colour(channel))));
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
// The browser translates a function to machine code once it has run for a while: before the first stroke, not during it.
setTimeout(() => judge(network, new Uint8Array(28 * 28), true));
