
// SG-Former: significance maps, and the token groups of the next block. Cells are tokens.

const view = (text, Type) => new Type(bytes(text).buffer);

/** Decodes the arrays of a block: significance, rank and group of each token, and the size of each group. */
function unpack(step) {
  step.map = view(step.values, Float32Array);
  const order = Array.from(step.map.keys()).sort((a, b) => step.map[a] - step.map[b] || a - b);
  step.rank = new Int32Array(order.length);
  order.forEach((token, rank) => { step.rank[token] = rank; });
  if (step.groups) {
    step.groups.map = view(step.groups.of, Int32Array);
    step.groups.palette = bytes(step.groups.colors);
    step.groups.counts = step.groups.kindOfGroup.map(() => 0);
    step.groups.map.forEach((group) => { step.groups.counts[group] += 1; });
  }
}

/** Draws the borders of the selected token and of its group. */
function drawMembers(pen, step) {
  const cell = chosenCell(step), side = step.stride;
  if (step.groups) {
    const group = step.groups.map[numberOf(step, cell)];
    const member = (row, col) =>
      row >= 0 && col >= 0 && row < step.rows && col < step.cols && step.groups.map[row * step.cols + col] === group;
    pen.strokeStyle = "#10141c";
    pen.lineWidth = 2 * pen.pixel;
    pen.beginPath();
    for (let row = 0; row <= step.rows; row++) {
      for (let col = 0; col <= step.cols; col++) {
        if (member(row, col) !== member(row - 1, col)) {
          pen.moveTo(col * side, row * side);
          pen.lineTo((col + 1) * side, row * side);
        }
        if (member(row, col) !== member(row, col - 1)) {
          pen.moveTo(col * side, row * side);
          pen.lineTo(col * side, (row + 1) * side);
        }
      }
    }
    pen.stroke();
  }
  frameCell(pen, step, cell, CHOSEN, state.held ? 5 : 3);
}

function drawSignificance(pen, image, step) {
  lay(pen, tiles(step.rows, step.cols, (row, col) => heatColor(step.map[row * step.cols + col], step.limits)), step.cell);
  drawMembers(pen, step);
}

function drawGroups(pen, image, step) {
  if (!step.groups) {
    return;
  }
  const { map, palette } = step.groups, chosen = map[numberOf(step, chosenCell(step))];
  const opacity = 255 * data.look.groupOpacity;
  lay(pen, tiles(step.rows, step.cols, (row, col) => {
    const group = map[row * step.cols + col];
    return group === chosen ? [255, 236, 61, 255] : [...palette.subarray(3 * group, 3 * group + 3), opacity];
  }), step.cell);
  drawMembers(pen, step);
}

const panels = { significance: drawSignificance, groups: drawGroups };

/** Returns which fraction of the tokens a kind of group covers. */
function kindName(groups, kind) {
  const names = { 1: "quarter", 2: "half", 4: "whole" };
  const where = kind === 0 ? "least significant" : kind === groups.sizes.length - 1 ? "most significant" : "middle";
  return `${where} ${names[groups.quarters[kind]]}`;
}

function describe(image, step) {
  const [row, col] = chosenCell(step), token = numberOf(step, [row, col]), total = step.map.length;
  const lines = [
    `Token at row ${row + 1}, column ${col + 1} of ${step.rows} × ${step.cols}, ${step.stride} × ${step.stride} pixels.`,
    `Significance ${step.map[token].toPrecision(3)}, rank ${step.rank[token] + 1} of ${total} from the lowest.`,
  ];
  if (!step.groups) {
    return [...lines, "This is the last block of its stage: no block uses the map."];
  }
  const group = step.groups.map[token], kind = step.groups.kindOfGroup[group], size = step.groups.counts[group];
  const ties = step.groups.differing
    ? ` Half of the heads group ${step.groups.differing} tokens of equal significance differently.`
    : "";
  return [
    ...lines,
    `Block ${step.groups.block} merges ${total} tokens into ${step.groups.counts.length}: this one is in group ` +
      `${group + 1}, ${size} token${size === 1 ? "" : "s"} of the ${kindName(step.groups, kind)} (group size ` +
      `${step.groups.sizes[kind]}).${ties}`,
  ];
}
