// The current image, reset, truncation, the choice of class, and the grid of samples; at the end, the start of the page.

/** Make a point the current one; the sliders start from zero there. */
function choose(base) {
  stopPlaying();
  state.base = base;
  state.units = state.units.map(() => 0);
  return update();
}

/** Show the state in the large image and in all controls. */
function update() {
  const { sample } = currentPoint();
  directions.forEach((_, number) => showValue($(`direction-${number}`), state.units[number], signed));
  showValue($("truncation"), state.strength, (value) => value.toFixed(2));
  showValue($("position"), state.position, (value) => `${Math.round(100 * value)} %`);
  if (facts.classes.length) $("label").value = String(state.label);
  for (const tile of $("samples").children) {
    tile.setAttribute("aria-pressed", String(Number(tile.dataset.number) === sample));
  }
  nameSlots();
  rememberState();
  drawEndsSoon();
  return drawCurrent();
}

/** Truncation and class apply to all images: the thumbnails follow when the slider is released. */
function wireSettings() {
  $("truncation").min = LEAST_STRENGTH;
  holdDuringScroll($("truncation"));
  $("truncation").addEventListener("input", () => {
    state.strength = Number($("truncation").value);
    update();
  });
  $("truncation").addEventListener("change", () => drawThumbnails());
  $("reset").addEventListener("click", () => {
    state.strength = 1;
    choose(state.base);
    drawThumbnails();
  });
  if (!facts.classes.length) return;
  facts.classes.forEach((name, number) => $("label").append(new Option(name, String(number))));
  $("label-row").hidden = false;
  $("label").addEventListener("change", () => {
    state.label = Number($("label").value);
    update();
    drawThumbnails();
  });
}

/** Make the grid: one stop of the Tab key, arrow keys within. */
function makeSamples() {
  samples.forEach((_, number) => {
    const tile = document.createElement("button");
    const canvas = document.createElement("canvas");
    Object.assign(tile, { type: "button", className: "tile", id: `sample-${number}`, draggable: true });
    Object.assign(tile, { tabIndex: number ? -1 : 0, title: `Sample ${number}` });
    tile.setAttribute("aria-label", `Sample ${number}`);
    tile.dataset.number = number;
    tile.append(canvas);
    tile.addEventListener("click", () => choose(samplePoint(number)));
    draggable(tile, () => samplePoint(number));
    $("samples").append(tile);
    thumbnails.push({ canvas, point: () => samplePoint(number) });
  });
  $("samples").addEventListener("keydown", moveFocus);
  $("samples").addEventListener("focusin", ({ target }) => {
    for (const tile of $("samples").children) tile.tabIndex = tile === target ? 0 : -1;
  });
}

function moveFocus(event) {
  const columns = getComputedStyle($("samples")).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const wanted = Number(document.activeElement.dataset.number) + step;
  const last = samples.length - 1;
  if (Number.isFinite(step) && (wanted < 0 || wanted > last)) return;
  $(`sample-${Math.min(last, Math.max(0, wanted))}`).focus();
}

const NO_WASM = "This page needs WebAssembly, which is disabled in this browser. Enable it, or open the page elsewhere.";

function restore() {
  stopPlaying();
  let message = "";
  try {
    state = decodeState(location.hash.slice(1));
  } catch {
    state = initialState();
    message = "This link is damaged or belongs to another page. You see sample 0.";
  }
  drawThumbnails();
  const drawn = update();
  announce(message);
  return drawn;
}

async function start() {
  if (typeof WebAssembly === "undefined") throw new Error(NO_WASM);
  try {
    await loadNetwork();
  } catch (error) {
    throw new Error(`The model cannot be loaded in this browser (${String(error.message ?? error).split("\n")[0]}).`);
  }
  clearMessagesOnActions();
  makeDirections();
  wireSettings();
  makeSamples();
  wireSlots();
  wireInterpolation();
  $("png").addEventListener("click", savePng);
  $("link").addEventListener("click", copyLink);
  window.addEventListener("hashchange", restore);
  $("loading").hidden = true;
  $("content").hidden = false;
  await restore();
  // For the console and for tests.
  window.explorer = { facts, generate, rowsOf, walkFrames, walkGif, currentPng, state: () => state, currentPoint };
}

start().catch((error) => {
  $("loading").hidden = true;
  showFailure(error.message);
});
