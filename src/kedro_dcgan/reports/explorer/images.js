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
