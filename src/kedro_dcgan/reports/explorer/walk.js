// Interpolation: the way from start to end, played, and saved as GIF.

const FRAMES = 24;
const FRAMES_PER_SECOND = 20;
const SECONDS_EACH_WAY = 3;

/** Show the image at a share of the way from start to end, in whole percents. */
function goTo(share) {
  state.position = Math.round(100 * share) / 100;
  state.base = "walk";
  state.units = state.units.map(() => 0);
  return update();
}

/** Return the frames from start to end and back, without repeating either, as ImageData. */
async function walkFrames() {
  const [{ from, to, strength, label }, frames] = [{ ...state }, []];
  for (let frame = 0; frame <= FRAMES; frame += 1) {
    const latent = truncate(interpolate(from.latent, to.latent, frame / FRAMES), strength);
    frames.push(toImageData((await generate([latent], label))[0]));
    announce(`Frame ${frame + 1} of ${FRAMES + 1}`);
    await new Promise((resolve) => setTimeout(resolve));
  }
  return [...frames, ...frames.slice(1, -1).reverse()];
}

const walkGif = async () => encodeGif(await walkFrames(), FRAMES_PER_SECOND, scaleOfFiles());

let isSaving = false;

/** Save the GIF. The button keeps the focus, which a disabled one would lose. */
async function saveGif() {
  if (isSaving) return;
  stopPlaying();
  isSaving = true;
  $("gif").setAttribute("aria-disabled", "true");
  const file = `${fileName(`${inBrackets(state.from)} to ${inBrackets(state.to)}`)}.gif`;
  try {
    save(await walkGif(), file, ", from start to end and back,");
  } finally {
    isSaving = false;
    $("gif").removeAttribute("aria-disabled");
  }
}

let playing = null;

function stopPlaying() {
  playing = null;
  $("play").textContent = "Play";
}

/** Go from the present position to the end and back until stopped. */
async function play() {
  const own = (playing = {});
  $("play").textContent = "Pause";
  let [position, way, before] = [state.position, state.position < 1 ? 1 : -1, performance.now()];
  while (playing === own) {
    const now = await new Promise(requestAnimationFrame);
    position += (way * Math.min(now - before, 200)) / (1000 * SECONDS_EACH_WAY);
    before = now;
    if (position >= 1 || position <= 0) way = -way;
    position = Math.min(1, Math.max(0, position));
    if (playing === own) await goTo(position);
  }
}

function wireInterpolation() {
  holdDuringScroll($("position"));
  $("position").addEventListener("input", () => {
    stopPlaying();
    goTo(Number($("position").value));
  });
  $("play").addEventListener("click", () => (playing ? stopPlaying() : play()));
  $("gif").addEventListener("click", saveGif);
}
