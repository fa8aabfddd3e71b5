// The large image and the thumbnails: each shows the current state, the large image first.

const $ = (id) => document.getElementById(id);
const imageOf = async (point) => (await generate([truncate(point.latent, state.strength)], state.label))[0];
const labelName = () => facts.classes[state.label] ?? "";

let [isDrawing, isStale] = [false, false];

/** Draw the current image. Calls during a drawing lead to one more, of the latest state. */
async function drawCurrent() {
  $("caption").textContent = [currentPoint().name, labelName() && `class ${labelName()}`].filter(Boolean).join(", ");
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

// Canvases by the function that returns their point.
const thumbnails = [];
let thumbnailsRound = 0;

/** Draw thumbnails in small batches, so that the current image never waits long; a later call replaces this one. */
async function drawThumbnails(chosen = thumbnails) {
  const round = chosen === thumbnails ? (thumbnailsRound += 1) : thumbnailsRound;
  const size = facts.imageSize > 64 ? 1 : 4;
  for (let start = 0; start < chosen.length && round === thumbnailsRound; start += size) {
    const batch = chosen.slice(start, start + size);
    const latents = batch.map(({ point }) => truncate(point().latent, state.strength));
    const images = await generate(latents, state.label);
    if (round !== thumbnailsRound) return;
    batch.forEach(({ canvas }, index) => paint(canvas, images[index]));
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** Say something to the user, also to screen readers. */
function announce(text) {
  $("status").textContent = text;
}

function showFailure(text) {
  $("failure").textContent = text;
  $("failure").hidden = false;
}

/** Offer a file for download, named after the dataset, the class and what it shows. */
function save(blob, content, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  const name = [facts.dataset, labelName(), content].filter(Boolean).join(" ");
  link.download = `${name.replaceAll(/[^\p{L}\p{N}]+/gu, "-")}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  announce(`Saved as ${link.download}.`);
}

/** Return the current image as PNG, with its own pixels. */
async function currentPng() {
  const canvas = document.createElement("canvas");
  paint(canvas, await imageOf(currentPoint()));
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
