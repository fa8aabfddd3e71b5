// What the page shows, as one object, and the same in the fragment of its address, so that a link restores it.

const SLOTS = ["from", "to", "plus", "minus", "also"];
// Much shorter latents than those of the training often give grey images.
const LEAST_STRENGTH = 0.5;
// The base can be a point, or one of these: then it follows its slots.
const LIVE = {
  walk: { slots: ["from", "to"], point: () => walkPoint(state.from, state.to, state.position) },
  sum: { slots: ["plus", "minus", "also"], point: () => sumPoint(state.plus, state.minus, state.also) },
};

/** Return three samples A, B, C, as numbers: A − B + C points least to A and to C, so that its image is another one. */
function differentSum() {
  const dots = samples.map((one) => samples.map((other) => dot(one, other)));
  let [best, least] = [[0, 0, 0], Infinity];
  samples.forEach((_, a) => samples.forEach((_, c) => samples.forEach((_, b) => {
    if (a >= c || b === a || b === c) return;
    const [toA, toC] = [dots[a][a] - dots[b][a] + dots[c][a], dots[a][c] - dots[b][c] + dots[c][c]];
    const length = Math.sqrt(Math.max(toA - (dots[a][b] - dots[b][b] + dots[c][b]) + toC, 1e-12));
    const likeness = Math.max(toA / Math.sqrt(dots[a][a]), toC / Math.sqrt(dots[c][c])) / length;
    if (likeness < least) [best, least] = [[a, b, c], likeness];
  })));
  return best;
}

const usualSum = differentSum();

function initialState() {
  const numbers = [0, 1 % samples.length, ...usualSum];
  const slots = Object.fromEntries(SLOTS.map((slot, index) => [slot, samplePoint(numbers[index])]));
  return { base: samplePoint(0), units: directions.map(() => 0), strength: 1, label: 0, position: 0, ...slots };
}

let state = initialState();

/** Return the point from which the sliders start. */
const basePoint = () => LIVE[state.base]?.point() ?? state.base;

/** Return the current point: the base moved along the directions. Truncation is applied when images are made. */
const currentPoint = () => movedPoint(basePoint(), state.units);

/** Return what an image is named besides its point: the truncation that applies to all. */
const truncationName = () => (state.strength === 1 ? "" : `truncation ${state.strength.toFixed(2)}`);

/** Return the state as text for the fragment; parts that are as at the start are left out. */
function encodeState() {
  const [initial, parts] = [initialState(), []];
  const escaped = (value) => encodeURIComponent(value).replaceAll("%3A", ":").replaceAll("%2C", ",");
  const set = (key, value, usual) => value !== usual && parts.push(`${key}=${escaped(value)}`);
  set("z", state.base.origin ?? state.base, null);
  set("d", unitsText(state.units), "");
  set("t", String(state.strength), "1");
  set("class", facts.classes[state.label] ?? "", facts.classes[0] ?? "");
  set("p", String(state.position), "0");
  for (const slot of SLOTS) set(slot, state[slot].origin, initial[slot].origin);
  return parts.join("&");
}

/** Return the state of a fragment; parts that are missing are as at the start. Throw if a part is wrong. */
function decodeState(text) {
  const [parts, decoded] = [new URLSearchParams(text), initialState()];
  const read = (key, name, decode) => {
    if (parts.has(key)) decoded[name] = decode(parts.get(key));
  };
  read("z", "base", (value) => (Object.hasOwn(LIVE, value) ? value : pointFrom(value)));
  for (const slot of SLOTS) read(slot, slot, pointFrom);
  read("d", "units", unitsFrom);
  read("t", "strength", (value) => numberFrom(value, LEAST_STRENGTH, 1, 100));
  read("p", "position", (value) => numberFrom(value, 0, 1, 100));
  read("class", "label", (value) => facts.classes.indexOf(value));
  if (decoded.label < 0) throw new Error("no such class");
  return decoded;
}

let writing = null;

/** Write the state into the address soon: browsers allow only some changes per second. */
function rememberState() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", `#${encodeState()}`), 150);
}

// The large image and the thumbnails: each shows the current state, the large image first.

const $ = (id) => document.getElementById(id);
const imageOf = async (point) => (await generate([truncate(point.latent, state.strength)], state.label))[0];
const labelName = () => facts.classes[state.label] ?? "";

let [isDrawing, isStale] = [false, false];

/** Draw the current image. Calls during a drawing lead to one more, of the latest state. */
async function drawCurrent() {
  const parts = [currentPoint().name, truncationName(), labelName() && `class ${labelName()}`];
  $("caption").textContent = $("caption").title = parts.filter(Boolean).join(", ");
  $("current").setAttribute("aria-label", `Current image: ${$("caption").textContent}`);
  isStale = true;
  if (isDrawing) return;
  isDrawing = true;
  try {
    while (isStale) {
      isStale = false;
      paint($("current"), await imageOf(currentPoint()));
    }
  } catch (error) {
    showFailure(`The image cannot be generated: ${error.message}`);
  } finally {
    isDrawing = false;
  }
}

/** Draw thumbnails, `{canvas, point}`, in small batches, so that the current image never waits long. */
async function drawAll(chosen, isWanted) {
  const size = facts.imageSize > 64 ? 1 : 4;
  for (let start = 0; start < chosen.length && isWanted(); start += size) {
    const batch = chosen.slice(start, start + size);
    const latents = batch.map(({ point }) => truncate(point().latent, state.strength));
    const images = await generate(latents, state.label);
    if (!isWanted()) return;
    batch.forEach(({ canvas }, index) => paint(canvas, images[index]));
    await new Promise((resolve) => setTimeout(resolve));
  }
}

// The thumbnails of slots and samples.
const thumbnails = [];
let thumbnailsRound = 0;

/** Draw thumbnails of slots and samples; a later call for all replaces this one. */
function drawThumbnails(chosen = thumbnails) {
  const round = chosen === thumbnails ? (thumbnailsRound += 1) : thumbnailsRound;
  return drawAll(chosen, () => round === thumbnailsRound);
}
