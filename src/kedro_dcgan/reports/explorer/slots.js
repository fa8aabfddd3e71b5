// Slots that hold latents, filled by drag and drop or by a click; arithmetic and interpolation with them.

const FRAMES = 24;
const FRAMES_PER_SECOND = 20;
const SLOT_NAMES = { from: "start", to: "end", plus: "A", minus: "B", also: "C" };

let dragged = null;

/** Let an element be dragged into slots. */
function draggable(element, point) {
  element.addEventListener("dragstart", (event) => {
    dragged = point();
    event.dataTransfer.setData("text/plain", dragged.name);
    event.dataTransfer.effectAllowed = "copy";
  });
  element.addEventListener("dragend", () => (dragged = null));
}

const sumPoint = () => freeLatent(combine(state.plus.latent, state.minus.latent, state.also.latent), "A − B + C");

function wireSlots() {
  for (const slot of SLOTS) {
    const button = $(`slot-${slot}`);
    button.addEventListener("click", () => fill(slot, currentPoint()));
    button.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      button.classList.add("target");
    });
    button.addEventListener("dragleave", () => button.classList.remove("target"));
    button.addEventListener("drop", (event) => {
      event.preventDefault();
      button.classList.remove("target");
      if (dragged) fill(slot, dragged);
    });
    thumbnails.unshift({ canvas: button.querySelector("canvas"), point: () => state[slot], slot });
  }
  thumbnails.unshift({ canvas: $("sum").querySelector("canvas"), point: sumPoint, slot: "sum" });
  $("sum").addEventListener("click", () => choose(sumPoint()));
  draggable($("sum"), sumPoint);
  draggable($("current"), currentPoint);
}

/** Put a latent into a slot, and draw it and the sum. */
function fill(slot, point) {
  state[slot] = point;
  announce(`${SLOT_NAMES[slot]} is now ${point.name}.`);
  nameSlots();
  rememberState();
  return drawThumbnails(thumbnails.filter((one) => one.slot === slot || one.slot === "sum"));
}

function nameSlots() {
  for (const slot of SLOTS) {
    const button = $(`slot-${slot}`);
    button.setAttribute("aria-label", `${SLOT_NAMES[slot]}: ${state[slot].name}. Replace it by the current image`);
    button.querySelector(".name").textContent = state[slot].name;
  }
}

/** Show the image at a share of the way from start to end. */
function goTo(position) {
  state.position = position;
  const end = { 0: state.from, 1: state.to }[position];
  const between = () => freeLatent(interpolate(state.from.latent, state.to.latent, position), "between start and end");
  state.base = end ?? between();
  state.units = state.units.map(() => 0);
  return update();
}

/** Return the frames from start to end and back, without repeating either, as ImageData. */
async function walkFrames() {
  const frames = [];
  for (let frame = 0; frame <= FRAMES; frame += 1) {
    const latent = interpolate(state.from.latent, state.to.latent, frame / FRAMES);
    frames.push(toImageData(await imageOf({ latent })));
    announce(`Frame ${frame + 1} of ${FRAMES + 1}`);
    await new Promise((resolve) => setTimeout(resolve));
  }
  return [...frames, ...frames.slice(1, -1).reverse()];
}

async function walkGif() {
  const scale = Math.max(1, Math.round(256 / facts.imageSize));
  return encodeGif(await walkFrames(), FRAMES_PER_SECOND, scale);
}

let playing = null;

function stopPlaying() {
  playing = null;
  $("play").textContent = "Play";
}

/** Go from the present position to the end and back, three seconds each way, until stopped. */
async function play() {
  const own = (playing = {});
  $("play").textContent = "Pause";
  let [position, way, before] = [state.position, state.position < 1 ? 1 : -1, performance.now()];
  while (playing === own) {
    const now = await new Promise(requestAnimationFrame);
    position += (way * Math.min(now - before, 200)) / 3000;
    before = now;
    if (position >= 1 || position <= 0) way = -way;
    position = Math.min(1, Math.max(0, position));
    if (playing === own) await goTo(position);
  }
}

function wireInterpolation() {
  $("position").addEventListener("input", () => {
    stopPlaying();
    goTo(Number($("position").value));
  });
  $("play").addEventListener("click", () => (playing ? stopPlaying() : play()));
  $("gif").addEventListener("click", async () => {
    stopPlaying();
    $("gif").disabled = true;
    try {
      save(await walkGif(), `${state.from.name} to ${state.to.name}`, ".gif");
    } finally {
      $("gif").disabled = false;
    }
  });
}
