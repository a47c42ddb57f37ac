"use strict";

// State, controls and canvases of the page. The script of the model family, which follows this one, defines `panels`, an
// object that maps canvas names to functions draw(pen, image, step), and describe(image, step).

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const percent = (part) => `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`;
const heat = bytes(data.look.heat);
const CHOSEN = "#1458be", LINE = "rgba(255, 255, 255, .75)";

// `spot` is the selected point in the image, in pixels from the top and the left.
const state = { image: 0, step: 0, spot: [0, 0], held: false, head: 0, scale: "block", padding: false };

const cellAt = (step, spot) => spot.map((place, axis) =>
  clamp(Math.floor(place / step.cell[axis]), 0, (axis ? step.cols : step.rows) - 1));
const middle = (step, cell) => cell.map((place, axis) => (place + 0.5) * step.cell[axis]);
const chosenCell = (step) => cellAt(step, state.spot);
const numberOf = (step, [row, col]) => row * step.cols + col;
const stepName = (step) => `${step.stage}.${step.block}`;

function shownExtent(image) {
  return state.padding ? image.extent : image.size;
}

// --- drawing ---

/** Converts an image to light gray, on a canvas of the same size. */
function toLightGray(photo) {
  const canvas = document.createElement("canvas");
  canvas.width = photo.naturalWidth;
  canvas.height = photo.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.drawImage(photo, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const { gray, white } = data.look;
  for (let at = 0; at < pixels.data.length; at += 4) {
    const light = gray[0] * pixels.data[at] + gray[1] * pixels.data[at + 1] + gray[2] * pixels.data[at + 2];
    pixels.data.fill(255 * white + (1 - white) * light, at, at + 3);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Creates a canvas with one pixel per cell of a grid; colorOf(row, col) returns its RGBA bytes. */
function tiles(rows, cols, colorOf) {
  const canvas = document.createElement("canvas");
  canvas.width = cols;
  canvas.height = rows;
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(cols, rows);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      pixels.data.set(colorOf(row, col), 4 * (row * cols + col));
    }
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Returns the heat color of a value; `low` is transparent and `high` has the strongest color. */
function heatColor(value, [low, high]) {
  const at = 4 * Math.round(255 * clamp((value - low) / (high - low || 1), 0, 1));
  return heat.subarray(at, at + 4);
}

/** Draws a canvas of tiles over the image, each `side` pixels high and wide. */
function lay(pen, canvas, side) {
  pen.imageSmoothingEnabled = false;
  pen.drawImage(canvas, 0, 0, canvas.width * side[1], canvas.height * side[0]);
}

/** Draws a line of `line` screen pixels around a rectangle of the image. */
function frame(pen, top, left, height, width, color, line) {
  pen.strokeStyle = color;
  pen.lineWidth = line * pen.pixel;
  pen.strokeRect(left, top, width, height);
}

function frameCell(pen, step, [row, col], color, line) {
  frame(pen, row * step.cell[0], col * step.cell[1], ...step.cell, color, line);
}

function drawGrid(pen, step) {
  pen.strokeStyle = LINE;
  pen.lineWidth = pen.pixel;
  pen.beginPath();
  for (let row = 1; row < step.rows; row++) {
    pen.moveTo(0, row * step.cell[0]);
    pen.lineTo(step.cols * step.cell[1], row * step.cell[0]);
  }
  for (let col = 1; col < step.cols; col++) {
    pen.moveTo(col * step.cell[1], 0);
    pen.lineTo(col * step.cell[1], step.rows * step.cell[0]);
  }
  pen.stroke();
}

/** Draws stripes where the input of the model is padding. */
function drawPadding(pen, image) {
  const [height, width] = image.extent;
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.rect(0, 0, image.size[1], image.size[0]);
  pen.clip("evenodd");
  pen.fillStyle = "#d5d9df";
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = "#c0c6ce";
  pen.lineWidth = 2 * pen.pixel;
  pen.beginPath();
  for (let at = -height; at < width; at += 9 * pen.pixel) {
    pen.moveTo(at, height);
    pen.lineTo(at + height, 0);
  }
  pen.stroke();
  pen.restore();
}

/** Fits a canvas into its panel, and returns a context whose unit is a pixel of the image. */
function penFor(canvas, image) {
  const [height, width] = shownExtent(image);
  const style = getComputedStyle(canvas.parentElement);
  const room = canvas.parentElement.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const scale = Math.min(room / width, Math.max(280, 0.72 * window.innerHeight) / height);
  const ratio = window.devicePixelRatio || 1;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  canvas.width = Math.round(width * scale * ratio);
  canvas.height = Math.round(height * scale * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(canvas.width / width, canvas.height / height);
  pen.pixel = 1 / scale;
  pen.drawImage(image.ground, 0, 0);
  drawPadding(pen, image);
  return pen;
}

function draw() {
  const image = data.images[state.image], step = image.steps[state.step];
  for (const [name, drawPanel] of Object.entries(panels)) {
    drawPanel(penFor(byId(name), image), image, step);
  }
  byId("step").max = image.steps.length - 1;
  byId("step").value = state.step;
  byId("step").setAttribute("aria-valuetext", `stage ${step.stage}, block ${step.block}`);
  byId("step-name").textContent =
    `stage ${step.stage}, block ${step.block} (${state.step + 1} of ${image.steps.length})`;
  byId("before").disabled = state.step === 0;
  byId("after").disabled = state.step === image.steps.length - 1;
  byId("chosen").replaceChildren(...describe(image, step).map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    return paragraph;
  }));
  const [row, col] = chosenCell(step);
  Object.assign(document.body.dataset, { image: state.image + 1, block: stepName(step), cell: `${row + 1}.${col + 1}` });
  document.body.dataset.held = state.held;
}

// --- selection ---

function choose(changes) {
  Object.assign(state, changes);
  draw();
  writeAddress();
}

function goTo(step) {
  choose({ step: clamp(step, 0, data.images[state.image].steps.length - 1) });
}

const cellWord = data.family === "messengers" ? "window" : "token";

function writeAddress() {
  const { block, image, cell } = document.body.dataset;
  const words = [`image=${image}`, `block=${block}`, `${cellWord}=${cell}`];
  if (state.head) {
    words.push(`head=${state.head}`);
  }
  history.replaceState(null, "", `#${words.join("&")}`);
}

/** Restores the selection from the URL, such as #image=1&block=2.3&window=4.5; ignores values that do not exist. */
function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const number = Number(words.get("image"));
  if (data.images[number - 1]) {
    state.image = number - 1;
  }
  const steps = data.images[state.image].steps;
  const at = steps.findIndex((step) => stepName(step) === words.get("block"));
  state.step = at >= 0 ? at : clamp(state.step, 0, steps.length - 1);
  const cell = /^(\d+)\.(\d+)$/.exec(words.get(cellWord) || "");
  if (cell) {
    state.spot = middle(steps[state.step], [cell[1] - 1, cell[2] - 1]);
    state.held = true;
  }
  state.head = Number(words.get("head")) || 0;
}

function spotUnder(canvas, event) {
  const box = canvas.getBoundingClientRect(), [height, width] = shownExtent(data.images[state.image]);
  return [(event.clientY - box.top) / box.height * height, (event.clientX - box.left) / box.width * width];
}

function pointedAt(canvas, event) {
  const step = data.images[state.image].steps[state.step], spot = spotUnder(canvas, event);
  if (!state.held && String(cellAt(step, spot)) !== String(chosenCell(step))) {
    choose({ spot });
  }
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function pressed(event) {
  const step = data.images[state.image].steps[state.step];
  if (ARROWS[event.key]) {
    const [row, col] = chosenCell(step), [down, right] = ARROWS[event.key];
    choose({ spot: middle(step, [clamp(row + down, 0, step.rows - 1), clamp(col + right, 0, step.cols - 1)]) });
  } else if (event.key === "PageDown" || event.key === "PageUp") {
    goTo(state.step + (event.key === "PageDown" ? 1 : -1));
  } else if (event.key === "Enter" || event.key === " ") {
    choose({ held: !state.held });
  } else if (event.key === "Escape") {
    choose({ held: false });
  } else {
    return;
  }
  event.preventDefault();
}

function listen() {
  for (const name of Object.keys(panels)) {
    const canvas = byId(name);
    canvas.addEventListener("pointermove", (event) => pointedAt(canvas, event));
    canvas.addEventListener("click", (event) => choose({ held: !state.held, spot: spotUnder(canvas, event) }));
    canvas.addEventListener("keydown", pressed);
  }
  byId("step").addEventListener("input", (event) => goTo(Number(event.target.value)));
  byId("before").addEventListener("click", () => goTo(state.step - 1));
  byId("after").addEventListener("click", () => goTo(state.step + 1));
  byId("padding").addEventListener("change", (event) => choose({ padding: event.target.checked }));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("image")?.addEventListener("change", (event) => {
    state.image = Number(event.target.value);
    state.spot = data.images[state.image].size.map((side) => side / 2);
    goTo(state.step);
  });
  window.addEventListener("resize", draw);
  window.addEventListener("hashchange", () => { readAddress(); draw(); });
}

async function start() {
  await Promise.all(data.images.map(async (image) => {
    const photo = new Image();
    await new Promise((loaded, failed) => {
      photo.onload = loaded;
      photo.onerror = failed;
      photo.src = image.source;
    });
    image.ground = toLightGray(photo);
    image.steps.forEach(unpack);
  }));
  state.spot = data.images[0].size.map((side) => side / 2);
  listen();
  readAddress();
  if (byId("image")) {
    byId("image").value = state.image;
  }
  draw();
  document.body.dataset.ready = "yes";
}
