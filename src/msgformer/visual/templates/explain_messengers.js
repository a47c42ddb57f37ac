
// MSG-Transformer: messenger attention, exchange routes, receptive fields. Cells are windows.

/** Decodes the arrays of a block; attention is [head][window][messenger, then patches]. */
function unpack(step) {
  const shades = bytes(step.attention), length = 1 + step.window[0] * step.window[1];
  const windows = step.rows * step.cols;
  step.heads = step.tops.map((top, head) => Float32Array.from(
    shades.subarray(head * windows * length, (head + 1) * windows * length), (shade) => shade / 255 * top));
  step.mean = new Float32Array(windows * length);
  for (const head of step.heads) {
    head.forEach((part, at) => { step.mean[at] += part / step.heads.length; });
  }
  step.reachBits = bytes(step.reach);
  step.reachRow = Math.ceil(step.first.rows * step.first.cols / 8);
}

const headOf = (step) => clamp(state.head, 0, step.heads.length);

/** Returns the attention of a window's messenger: to itself first, then to the patches. */
function attentionOf(step, window) {
  const length = 1 + step.window[0] * step.window[1], head = headOf(step);
  return (head ? step.heads[head - 1] : step.mean).subarray(window * length, (window + 1) * length);
}

const knows = (step, window, first) => step.reachBits[window * step.reachRow + (first >> 3)] >> (7 - first % 8) & 1;

/** Returns the index of a patch in the attention of its window, for a row and a column of the map. */
const patchAt = (step, row, col) => 1 + row % step.window[0] * step.window[1] + col % step.window[1];

function drawAttention(pen, image, step) {
  const [high, wide] = step.window, whole = step.limits[headOf(step)];
  const all = Array.from({ length: step.rows * step.cols }, (_, window) => attentionOf(step, window));
  const limits = all.map((parts) => {
    const patches = parts.subarray(1);
    return state.scale === "window" ? [Math.min(...patches), Math.max(...patches)] : whole;
  });
  lay(pen, tiles(step.rows * high, step.cols * wide, (row, col) => {
    const window = Math.floor(row / high) * step.cols + Math.floor(col / wide);
    return heatColor(all[window][patchAt(step, row, col)], limits[window]);
  }), [step.stride, step.stride]);
  drawGrid(pen, step);
  frameCell(pen, step, chosenCell(step), CHOSEN, state.held ? 5 : 3);
}

const sourceColor = (place, count, opacity) => `hsl(${Math.round(360 * place / count)} 75% 62% / ${opacity})`;

/** Returns the source windows of a window in order, each once with its total share. */
function sourcesOf(step, window) {
  const shares = new Map();
  for (const [source, share] of step.routes[window]) {
    shares.set(source, (shares.get(source) || 0) + share);
  }
  return shares;
}

function drawArrow(pen, from, to, color, width) {
  const angle = Math.atan2(to[0] - from[0], to[1] - from[1]), head = (6 + 2 * width) * pen.pixel;
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = width * pen.pixel;
  pen.beginPath();
  pen.moveTo(from[1], from[0]);
  pen.lineTo(to[1] - head * Math.cos(angle), to[0] - head * Math.sin(angle));
  pen.stroke();
  pen.beginPath();
  pen.moveTo(to[1], to[0]);
  for (const turn of [-0.4, 0.4]) {
    pen.lineTo(to[1] - head * Math.cos(angle + turn), to[0] - head * Math.sin(angle + turn));
  }
  pen.fill();
}

function drawRoutes(pen, image, step) {
  const chosen = chosenCell(step), window = numberOf(step, chosen);
  const sources = [...sourcesOf(step, window)], most = Math.max(...sources.map(([, share]) => share));
  const place = ([number]) => [Math.floor(number / step.cols), number % step.cols];
  drawGrid(pen, step);
  sources.forEach((source, order) => {
    const [row, col] = place(source);
    pen.fillStyle = sourceColor(order, sources.length, 0.15 + 0.6 * source[1] / most);
    pen.fillRect(col * step.cell[1], row * step.cell[0], step.cell[1], step.cell[0]);
    frameCell(pen, step, [row, col], LINE, 1);
  });
  const target = middle(step, chosen);
  for (const source of sources) {
    if (source[0] !== window) {
      const from = middle(step, place(source)), part = 0.42 * Math.min(...step.cell);
      const length = Math.hypot(target[0] - from[0], target[1] - from[1]);
      const to = target.map((at, axis) => at - (at - from[axis]) / length * part);
      drawArrow(pen, from, to, `rgb(31 36 48 / ${0.3 + 0.6 * source[1] / most})`, 0.8 + 1.2 * source[1] / most);
    }
  }
  frameCell(pen, step, chosen, CHOSEN, state.held ? 5 : 3);
}

function drawReach(pen, image, step) {
  const window = numberOf(step, chosenCell(step)), { rows, cols, cell } = step.first;
  const known = (row, col) =>
    row >= 0 && col >= 0 && row < rows && col < cols && knows(step, window, row * cols + col);
  const gradient = step.gradients[window];
  if (gradient) {
    const shades = bytes(gradient.values);
    lay(pen, tiles(gradient.rows, gradient.cols, (row, col) => heatColor(shades[row * gradient.cols + col], [0, 255])), [4, 4]);
  }
  lay(pen, tiles(rows, cols, (row, col) => known(row, col) ? [0, 0, 0, 0] : [40, 46, 58, 120]), cell);
  pen.strokeStyle = CHOSEN;
  pen.lineWidth = 3 * pen.pixel;
  pen.beginPath();
  for (let row = 0; row <= rows; row++) {
    for (let col = 0; col <= cols; col++) {
      if (Boolean(known(row, col)) !== Boolean(known(row - 1, col))) {
        pen.moveTo(col * cell[1], row * cell[0]);
        pen.lineTo((col + 1) * cell[1], row * cell[0]);
      }
      if (Boolean(known(row, col)) !== Boolean(known(row, col - 1))) {
        pen.moveTo(col * cell[1], row * cell[0]);
        pen.lineTo(col * cell[1], (row + 1) * cell[0]);
      }
    }
  }
  pen.stroke();
  for (const measured of Object.keys(step.gradients).map(Number)) {
    const [y, x] = middle(step, [Math.floor(measured / step.cols), measured % step.cols]);
    pen.fillStyle = measured === window ? CHOSEN : "#ffffff";
    pen.strokeStyle = "#1f2430";
    pen.lineWidth = pen.pixel;
    pen.beginPath();
    pen.arc(x, y, 4 * pen.pixel, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
  frameCell(pen, step, chosenCell(step), "#1f2430", 1.5);
}

const panels = { attention: drawAttention, routes: drawRoutes, reach: drawReach };

function describe(image, step) {
  const [row, col] = chosenCell(step), window = numberOf(step, [row, col]);
  fillHeads(step);
  fillStrip(step, window);
  return [
    `Window at row ${row + 1}, column ${col + 1} of ${step.rows} × ${step.cols}, ${step.window.join(" × ")} patches ` +
      `of ${step.stride} × ${step.stride} pixels.`,
    attentionLine(image, step, window, row, col),
    routesLine(step, window),
    reachLine(step, window),
  ];
}

function attentionLine(image, step, window, row, col) {
  const parts = attentionOf(step, window), sum = parts.reduce((total, part) => total + part, 0);
  let beyond = 0;
  for (let at = 1; at < parts.length; at++) {
    const y = row * step.window[0] + Math.floor((at - 1) / step.window[1]);
    const x = col * step.window[1] + (at - 1) % step.window[1];
    if (y * step.stride >= image.size[0] || x * step.stride >= image.size[1]) {
      beyond += parts[at];
    }
  }
  const head = headOf(step), count = step.heads.length;
  const whose = head ? `head ${head}` : count === 1 ? "its one head" : `mean of ${count} heads`;
  const padded = beyond ? `, ${percent(beyond / sum)} to padding` : "";
  const patches = parts.subarray(1);
  return `Attention (${whose}): ${percent(parts[0] / sum)} to the messenger itself${padded}, ` +
    `${percent(Math.min(...patches) / sum)} to ${percent(Math.max(...patches) / sum)} per patch; uniform attention would be ` +
    `${percent(1 / parts.length)}.`;
}

function routesLine(step, window) {
  const sources = sourcesOf(step, window), own = sources.get(window) || 0;
  if (step.channels === null) {
    return `Exchange (${step.exchange}): mixes messengers; ${percent(own)} of the result comes from this window, ` +
      `${percent(1 - own)} from other windows.`;
  }
  return `Exchange (${step.exchange}): its ${step.channels} channels come from ${sources.size} ` +
    `window${sources.size === 1 ? "" : "s"}, ${Math.round(own * step.channels)} of them from this one.`;
}

function reachLine(step, window) {
  const total = step.first.rows * step.first.cols;
  let known = 0;
  for (let first = 0; first < total; first++) {
    known += knows(step, window, first);
  }
  const measured = step.gradients[window];
  const gradients = measured
    ? `by gradients, patches in ${measured.windows} of them do`
    : "gradients were measured for the windows with a dot";
  return `Receptive field: by routes, ${known} of the ${total} windows of stage 1 can influence the messenger; ${gradients}.`;
}

/** Fills the list of heads; stages have different numbers of heads. */
function fillHeads(step) {
  const select = byId("head");
  if (select.options.length !== step.heads.length + 1) {
    const names = ["mean of all", ...step.heads.map((_, head) => `head ${head + 1}`)];
    select.replaceChildren(...names.map((name, value) => new Option(name, value)));
    select.onchange = () => choose({ head: Number(select.value) });
    byId("scale").onchange = (event) => choose({ scale: event.target.value });
  }
  select.value = headOf(step);
}

/** Shows the channels of the selected messenger after the exchange, in the colors of their source windows. */
function fillStrip(step, window) {
  const sources = [...sourcesOf(step, window).keys()];
  byId("strip").setAttribute("aria-label", "Channels by source window");
  byId("strip").replaceChildren(...step.routes[window].map(([source, share]) => {
    const part = document.createElement("span");
    part.style.width = `${100 * share}%`;
    part.style.background = sourceColor(sources.indexOf(source), sources.length, 0.85);
    part.textContent = part.title = `${Math.floor(source / step.cols) + 1}.${source % step.cols + 1}`;
    return part;
  }));
}
