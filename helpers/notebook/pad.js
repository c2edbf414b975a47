// The drawing pad in the browser; helpers/notebook/pad.py is its other half. A plain module: nothing to build or to fetch.

const SIDE = 280; // of the drawing, in units of its own, whatever its size on the screen
const INK = 18; // width of a stroke
const STEP = 7; // how far an arrow key moves
const INTERVAL = 70; // milliseconds at least between two pictures sent
const PATIENCE = 5000; // milliseconds until the pad says that no answer comes

const HINT =
  "Draw with mouse, finger or pen. Or focus the paper: arrow keys move, Space puts the pen down or lifts it. " +
  "Ctrl+Z undoes, Delete clears.";
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const TEMPLATE = `
  <div class="digit-pad-draw">
    <canvas class="digit-pad-paper" width="${2 * SIDE}" height="${2 * SIDE}" tabindex="0" role="application"
      aria-roledescription="drawing pad" aria-label="Paper to draw a digit on"></canvas>
    <div class="digit-pad-buttons">
      <button type="button" class="digit-pad-undo" aria-keyshortcuts="Control+Z">Undo</button>
      <button type="button" class="digit-pad-clear" aria-keyshortcuts="Delete">Clear</button>
    </div>
    <p class="digit-pad-hint"></p>
  </div>
  <div class="digit-pad-answer" role="group" aria-label="Answer">
    <div class="digit-pad-top">
      <span class="digit-pad-digit"></span>
      <div class="digit-pad-words">
        <strong class="digit-pad-headline"></strong><span class="digit-pad-reason"></span>
      </div>
      <figure class="digit-pad-seen">
        <img alt="Your digit as the network sees it, 28 by 28 pixels"><figcaption>what the network sees</figcaption>
      </figure>
    </div>
    <ol class="digit-pad-bars" start="0" role="list" aria-label="Probability of each digit"></ol>
  </div>
  <ol class="digit-pad-uploads" role="list" aria-label="Uploaded pictures" hidden></ol>
  <p class="digit-pad-live" role="status" aria-live="polite"></p>`;
const BAR = `<span class="digit-pad-class"></span><span class="digit-pad-track" aria-hidden="true"><span></span></span>
  <span class="digit-pad-percent"></span>`;

/** The strokes of one pad and the talk with Python about them; all views of a pad share it. */
class Sketch {
  strokes = []; // of points [x, y]
  drawing = false; // whether the pen is down
  answer = null; // the latest one
  picture = null; // the uploaded one that lies on the paper
  uploads = []; // the answers to uploaded pictures
  late = false; // whether Python keeps us waiting
  views = new Set(); // each with paint(), the strokes, and show(), the answer
  #model;
  #number;
  #waiting = false; // whether a picture is under way
  #stale = false; // whether the strokes have changed since then
  #sent = -INTERVAL;
  #timer;

  constructor(model) {
    this.#model = model;
    this.#number = model.get("number") + 1; // after a reload: answers to what was drawn before do not count
    model.on("change:answer", () => this.#receive(model.get("answer")));
  }

  /** Whether no further answer is on its way. */
  get settled() {
    return !this.drawing && !this.#waiting && !this.#stale;
  }

  begin(point) {
    this.drawing = true;
    this.picture = null;
    this.strokes.push([point]);
    this.#changed();
  }

  extend(points) {
    this.strokes.at(-1).push(...points);
    this.#changed();
  }

  end() {
    if (!this.drawing) return;
    this.drawing = false;
    this.#changed();
  }

  undo() {
    this.drawing = false;
    if (this.strokes.pop()) this.#changed();
  }

  clear() {
    this.drawing = false;
    this.strokes = [];
    this.uploads = [];
    this.#changed();
  }

  #changed() {
    if (this.strokes.length) this.#stale = true;
    else this.#forget();
    for (const view of this.views) view.paint();
    if (this.#stale) this.#send();
    else this.#show();
  }

  /** Nothing is on the paper: no answer is wanted, nor one that may be under way. */
  #forget() {
    this.#number++;
    this.#stale = this.#waiting = this.late = false;
    this.answer = this.picture = null;
    clearTimeout(this.#timer);
  }

  #show() {
    for (const view of this.views) view.show();
  }

  /** Sends the picture as it is now: one at a time, and never faster than INTERVAL. */
  #send() {
    const pause = this.#sent + INTERVAL - performance.now();
    clearTimeout(this.#timer);
    if (this.#waiting) {
      this.#timer = setTimeout(() => this.#giveUp(), this.#sent + PATIENCE - performance.now());
    } else if (pause > 0) {
      this.#timer = setTimeout(() => this.#send(), pause);
    } else {
      this.#waiting = true;
      this.#stale = false;
      this.#sent = performance.now();
      this.#model.set("drawing", toPNG(this.strokes));
      this.#model.set("number", ++this.#number);
      this.#model.save_changes();
      this.#timer = setTimeout(() => this.#giveUp(), PATIENCE);
    }
  }

  /** Puts a picture on the paper, as soon as the browser has decoded it. */
  #lay(source) {
    const picture = (this.picture = new Image());
    picture.onload = () => {
      for (const view of this.views) view.paint();
    };
    picture.src = source;
  }

  #giveUp() {
    this.#waiting = false; // the next stroke tries again
    this.late = true;
    this.#show();
  }

  #receive(answer) {
    if (answer.name) {
      this.drawing = false;
      this.strokes = [];
      this.#forget();
      this.uploads.push(answer);
      if (answer.picture) this.#lay(`data:image/jpeg;base64,${answer.picture}`);
      for (const view of this.views) view.paint();
    } else if (answer.number !== this.#number) {
      return;
    }
    this.answer = answer;
    this.late = false;
    this.#waiting = false;
    clearTimeout(this.#timer);
    if (this.#stale) this.#send();
    this.#show();
  }
}

/** Draws strokes in the context's colour. */
function paint(context, strokes) {
  context.lineWidth = INK;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] + 0.01, points[0][1]); // a line without length would leave no dot
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  }
}

/** The strokes as black ink on white paper, whatever the theme: the base64 text of a PNG file. */
function toPNG(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "white";
  context.fillRect(0, 0, SIDE, SIDE);
  paint(context, strokes);
  return canvas.toDataURL("image/png").split(",")[1];
}

function percent(p) {
  return p > 0.999 ? "> 99.9 %" : `${(100 * p).toFixed(1)} %`; // nothing is 100 % sure
}

/** What the pad says: its state, the digit or a sign, a headline and a sentence. */
function describe({ answer, late }) {
  if (late) return ["late", "–", "No answer yet", "Python is busy or has stopped: run the cell again if it stays so."];
  if (!answer) return ["empty", "?", "Draw one digit", "0 to 9, as large as you like."];
  const { name, status, headline, reason, text, confidence } = answer;
  if (status === "ok") return ["ok", text, `${percent(confidence)} sure`, name];
  return [status, status === "error" ? "!" : "–", headline, name ? `${name}: ${reason}` : reason];
}

/** An answer in the list of uploaded pictures. */
function item(answer) {
  const [state, digit, headline, reason] = describe({ answer });
  const entry = document.createElement("li");
  entry.innerHTML = `<span><img alt=""></span><strong></strong><span></span>`;
  const image = entry.querySelector("img");
  if (answer.picture) image.src = `data:image/jpeg;base64,${answer.picture}`;
  else image.remove();
  entry.children[1].textContent = state === "ok" ? `${digit} · ${headline}` : headline;
  entry.children[2].textContent = reason;
  return entry;
}

/** Fills the side of the answer. */
function show(root, sketch) {
  const [state, digit, headline, reason] = describe(sketch);
  const find = (name) => root.querySelector(`.digit-pad-${name}`);
  root.dataset.state = state;
  find("digit").textContent = digit;
  find("headline").textContent = headline;
  find("reason").textContent = reason;
  const seen = sketch.answer?.seen;
  const image = find("seen").querySelector("img");
  find("seen").style.visibility = seen ? "visible" : "hidden";
  if (seen) image.src = `data:image/png;base64,${seen}`;
  [...find("bars").children].forEach((bar, i) => {
    const p = sketch.answer?.probabilities[i] ?? 0;
    bar.classList.toggle("digit-pad-best", state === "ok" && String(i) === digit);
    bar.querySelector(".digit-pad-track span").style.width = `${100 * p}%`;
    bar.querySelector(".digit-pad-percent").textContent = percent(p);
  });
  const list = find("uploads");
  if (list.childElementCount !== sketch.uploads.length) list.replaceChildren(...sketch.uploads.map(item));
  list.hidden = sketch.uploads.length < 2; // the answer above is that of the last one
  if (!(sketch.settled || state === "late")) return; // not a word before the end of a stroke
  if (state === "empty" && !find("live").textContent) return; // nor when the pad appears
  find("live").textContent = state === "ok" ? `${digit}, ${headline}. ${reason}` : `${headline}. ${reason}`;
}

/** Mouse, finger and pen. */
function listenToPointer(canvas, sketch) {
  let pointer = null;
  const toPoint = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return; // a second finger, or another button
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer); // strokes may leave the paper and come back
    sketch.end();
    sketch.begin(toPoint(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer || !sketch.drawing) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    sketch.extend((passed.length ? passed : [event]).map(toPoint));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      sketch.end();
    });
  }
}

/**
 * Arrow keys and Space on the paper, undo and clear anywhere in the pad. `cursor` is where the next stroke begins.
 * Returns the function that stops it.
 */
function listenToKeys(root, canvas, sketch, cursor, view) {
  const held = new Set(); // two arrow keys together go diagonally
  const actions = {
    " "() {
      if (sketch.drawing) sketch.end();
      else sketch.begin([cursor.x, cursor.y]);
      root.querySelector(".digit-pad-live").textContent = sketch.drawing ? "Pen down" : "Pen up";
    },
    Escape: () => sketch.end(),
  };
  const move = (step) => {
    for (const [dx, dy] of [...held].map((key) => DIRECTIONS[key])) {
      cursor.x = Math.min(SIDE, Math.max(0, cursor.x + dx * step));
      cursor.y = Math.min(SIDE, Math.max(0, cursor.y + dy * step));
    }
    if (sketch.drawing) sketch.extend([[cursor.x, cursor.y]]);
  };
  const draw = ({ key, shiftKey, repeat }) => {
    cursor.shown = true;
    if (key in DIRECTIONS) {
      held.add(key);
      move(shiftKey ? 1 : STEP);
    } else if (!repeat) {
      actions[key]();
    }
    view.paint();
  };
  const listen = (event) => {
    if (!event.composedPath().includes(root)) return;
    const { key } = event;
    const command = event.ctrlKey || event.metaKey;
    // To the notebook plain keys are shortcuts, up to deleting the cell. Shift+Enter, which runs it, may pass.
    if (!command && !event.altKey && key !== "Tab" && !(key === "Enter" && event.shiftKey)) event.stopPropagation();
    if (command && key.toLowerCase() === "z") sketch.undo();
    else if (command || event.altKey) return;
    else if (key === "Delete" || key === "Backspace") sketch.clear();
    else if (event.composedPath()[0] === canvas && (key in DIRECTIONS || key in actions)) draw(event);
    else return;
    event.stopPropagation();
    event.preventDefault(); // the page must not scroll
  };
  window.addEventListener("keydown", listen, true); // at the very top: notebooks listen at the document, some first
  root.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("blur", () => {
    held.clear();
    sketch.end();
  });
  return () => window.removeEventListener("keydown", listen, true);
}

/** Calls `repaint` when the page's theme changes; returns the function that stops it. */
function watchTheme(repaint) {
  const observer = new MutationObserver(repaint);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  const queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  for (const query of queries) query.addEventListener("change", repaint);
  return () => {
    observer.disconnect();
    for (const query of queries) query.removeEventListener("change", repaint);
  };
}

/** Builds one view of a pad in `el`; returns the function that takes it down. */
function render(el, sketch) {
  const root = document.createElement("div");
  root.className = "digit-pad";
  root.innerHTML = TEMPLATE;
  const canvas = root.querySelector("canvas");
  const hint = root.querySelector(".digit-pad-hint");
  hint.textContent = HINT;
  hint.id = `digit-pad-${Math.random().toString(36).slice(2)}`;
  canvas.setAttribute("aria-describedby", hint.id);
  for (let i = 0; i < 10; i++) {
    const bar = document.createElement("li");
    bar.innerHTML = BAR;
    bar.querySelector(".digit-pad-class").textContent = i;
    root.querySelector(".digit-pad-bars").append(bar);
  }
  const context = canvas.getContext("2d");
  context.scale(2, 2); // sharp on fine screens
  const cursor = { x: SIDE / 2, y: SIDE / 4, shown: false };
  const view = {
    paint() {
      const { color, accentColor } = getComputedStyle(canvas);
      context.clearRect(0, 0, SIDE, SIDE);
      if (sketch.picture) paintPicture(context, sketch.picture);
      context.strokeStyle = color;
      paint(context, sketch.strokes);
      if (cursor.shown) paintCursor(context, cursor, sketch.drawing, accentColor);
    },
    show: () => show(root, sketch),
  };
  listenToPointer(canvas, sketch);
  canvas.addEventListener("pointerdown", () => {
    cursor.shown = false;
    canvas.focus({ preventScroll: true }); // so that Ctrl+Z and Delete reach the pad
  });
  canvas.addEventListener("focus", () => {
    cursor.shown = canvas.matches(":focus-visible");
    view.paint();
  });
  canvas.addEventListener("blur", () => {
    cursor.shown = false;
    view.paint();
  });
  const stopKeys = listenToKeys(root, canvas, sketch, cursor, view);
  root.querySelector(".digit-pad-undo").addEventListener("click", () => sketch.undo());
  root.querySelector(".digit-pad-clear").addEventListener("click", () => sketch.clear());
  el.append(root);
  sketch.views.add(view);
  const unwatch = watchTheme(view.paint);
  view.paint();
  view.show();
  return () => {
    sketch.views.delete(view);
    unwatch();
    stopKeys();
  };
}

/** The uploaded picture, as large as the paper is; nothing before the browser has decoded it. */
function paintPicture(context, picture) {
  const { width, height } = picture;
  if (!width) return;
  const scale = SIDE / Math.max(width, height);
  const place = [(SIDE - scale * width) / 2, (SIDE - scale * height) / 2, scale * width, scale * height];
  context.drawImage(picture, ...place);
}

/** A ring where the next stroke begins; full while the pen is down. */
function paintCursor(context, { x, y }, down, colour) {
  context.beginPath();
  context.arc(x, y, INK / 2 + 3, 0, 2 * Math.PI);
  context.lineWidth = 3;
  context.strokeStyle = context.fillStyle = colour;
  if (down) context.fill();
  context.stroke();
}

export default () => {
  let sketch;
  return {
    initialize({ model }) {
      sketch = new Sketch(model);
    },
    render: ({ el }) => render(el, sketch),
  };
};
