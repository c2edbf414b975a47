"use strict";
// The paper: strokes by mouse, finger, pen or keyboard, or a photo instead; and the ten bars that both pages show.

const SIDE = 280; // of a drawing, in units of its own, whatever its size on the screen
const INK = 18; // width of a stroke
const STEP = 7; // how far an arrow key moves
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const byId = (id) => document.getElementById(id);
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Where in a canvas, in its own pixels, an event happened. */
function placeIn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * canvas.width,
    ((event.clientY - box.top) / box.height) * canvas.height,
  ];
}

class Paper {
  strokes = []; // of points [x, y]
  drawing = false; // whether the pen is down
  photo = null; // {canvas, box}: what is shown instead of strokes, and where its digit is
  #canvas;
  #context;
  #changed; // called at each change, at most once a frame
  #waiting = false;
  #cursor = { x: SIDE / 2, y: SIDE / 4, shown: false }; // where the keyboard begins its next stroke
  #sketch = element("canvas", { width: SIDE, height: SIDE });

  /** `say` tells a listener what a key has done. */
  constructor(canvas, changed, say) {
    this.#canvas = canvas;
    this.#changed = changed;
    canvas.width = canvas.height = 2 * SIDE; // sharp on fine screens
    this.#context = canvas.getContext("2d");
    this.#context.scale(2, 2);
    this.#listenToPointer();
    this.#listenToKeys(say);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.paint());
    }
    this.paint();
  }

  get blank() {
    return !this.strokes.length && !this.photo;
  }

  begin(point) {
    this.photo = null;
    this.drawing = true;
    this.strokes.push([point]);
    this.change();
  }

  extend(points) {
    this.strokes.at(-1).push(...points);
    this.change();
  }

  end() {
    if (!this.drawing) return;
    this.drawing = false;
    this.change();
  }

  undo() {
    this.show(null, this.strokes.slice(0, -1));
  }

  clear() {
    this.show(null);
  }

  show(photo, strokes = []) {
    this.drawing = false;
    this.photo = photo;
    this.strokes = strokes;
    this.change();
  }

  /** Shows what has changed, and has it read in the next frame: however fast the pointer, once a frame is enough. */
  change() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.paint();
      this.#changed();
    });
  }

  paint() {
    const context = this.#context;
    const { color, accentColor } = getComputedStyle(this.#canvas);
    context.clearRect(0, 0, SIDE, SIDE);
    if (this.photo) this.#paintPhoto(accentColor);
    paintStrokes(context, this.strokes, color);
    if (!this.#cursor.shown) return;
    context.beginPath(); // a ring where the next stroke begins; full while the pen is down
    context.arc(this.#cursor.x, this.#cursor.y, INK / 2 + 3, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = context.fillStyle = accentColor;
    if (this.drawing) context.fill();
    context.stroke();
  }

  #paintPhoto(colour) {
    const { canvas, box } = this.photo;
    const scale = SIDE / Math.max(canvas.width, canvas.height);
    const [width, height] = [scale * canvas.width, scale * canvas.height];
    const [left, top] = [(SIDE - width) / 2, (SIDE - height) / 2];
    this.#context.drawImage(canvas, left, top, width, height);
    if (!box) return;
    this.#context.lineWidth = 3;
    this.#context.strokeStyle = colour;
    const [x, y] = [left + scale * box.left - 4, top + scale * box.top - 4];
    this.#context.strokeRect(x, y, scale * box.width + 8, scale * box.height + 8);
  }

  /** The strokes as grey levels, ink bright on black, whatever the theme. */
  toPicture() {
    const context = this.#sketch.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "black";
    context.fillRect(0, 0, SIDE, SIDE);
    paintStrokes(context, this.strokes, "white");
    return colourOfPixels(context.getImageData(0, 0, SIDE, SIDE), 0);
  }

  #listenToPointer() {
    const canvas = this.#canvas;
    let pointer = null;
    const toPoint = (event) => placeIn(canvas, event).map((pixels) => pixels / 2);
    canvas.addEventListener("pointerdown", (event) => {
      if (pointer !== null || event.button !== 0) return; // a second finger, or another button
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer); // strokes may leave the paper and come back
      canvas.focus({ preventScroll: true }); // so that Ctrl+Z and Delete reach it
      this.#cursor.shown = false;
      this.begin(toPoint(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pointer || !this.drawing) return;
      const passed = event.getCoalescedEvents?.() ?? [];
      this.extend((passed.length ? passed : [event]).map(toPoint));
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        if (event.pointerId !== pointer) return;
        pointer = null;
        this.end();
      });
    }
  }

  #listenToKeys(say) {
    const canvas = this.#canvas;
    const held = new Set(); // two arrow keys together go diagonally
    const move = (step) => {
      const cursor = this.#cursor;
      for (const [x, y] of [...held].map((key) => DIRECTIONS[key])) {
        cursor.x = Math.min(SIDE, Math.max(0, cursor.x + x * step));
        cursor.y = Math.min(SIDE, Math.max(0, cursor.y + y * step));
      }
      if (this.drawing) this.extend([[cursor.x, cursor.y]]);
    };
    canvas.addEventListener("keydown", (event) => {
      const { key } = event;
      const command = event.ctrlKey || event.metaKey;
      if (command && key.toLowerCase() === "z") this.undo();
      else if (command || event.altKey) return;
      else if (key === "Delete" || key === "Backspace") this.clear();
      else if (key === "Escape") this.end();
      else if (key === " " && !event.repeat) {
        if (this.drawing) this.end();
        else this.begin([this.#cursor.x, this.#cursor.y]);
        say(this.drawing ? "Pen down" : "Pen up");
      } else if (key in DIRECTIONS) {
        held.add(key);
        move(event.shiftKey ? 1 : STEP);
      } else return;
      this.#cursor.shown ||= key === " " || key in DIRECTIONS;
      event.preventDefault(); // the page must not scroll
      this.paint();
    });
    canvas.addEventListener("keyup", ({ key }) => held.delete(key));
    canvas.addEventListener("focus", () => {
      this.#cursor.shown = canvas.matches(":focus-visible");
      this.paint();
    });
    canvas.addEventListener("blur", () => {
      held.clear();
      this.#cursor.shown = false;
      this.end();
      this.paint();
    });
  }
}

function paintStrokes(context, strokes, colour) {
  context.strokeStyle = colour;
  context.lineWidth = INK;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] + 0.01, points[0][1]); // a line without length would leave no dot
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  }
}

function percent(p) {
  return p > 0.999 ? "> 99.9 %" : `${(100 * p).toFixed(1)} %`; // nothing is 100 % sure
}

/** Fills a list with ten bars and returns the function that shows probabilities in them. */
function makeBars(list) {
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const bar = document.createElement("li");
    const track = '<span class="track" aria-hidden="true"><span></span></span>';
    bar.innerHTML = `<span>${digit}</span>${track}<span class="percent"></span>`;
    list.append(bar);
    return bar;
  });
  return (probabilities, best = null) => {
    bars.forEach((bar, digit) => {
      const p = probabilities ? probabilities[digit] : 0;
      bar.classList.toggle("best", digit === best);
      bar.querySelector(".track span").style.width = `${100 * p}%`;
      bar.querySelector(".percent").textContent = probabilities ? percent(p) : "–";
    });
  };
}

/** Shows the 28 × 28 pixels of an image on a canvas of that size, bright ink on black as in MNIST. */
function paintImage(canvas, image) {
  const pixels = new ImageData(28, 28);
  image.forEach((level, i) => pixels.data.set([level, level, level, 255], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
