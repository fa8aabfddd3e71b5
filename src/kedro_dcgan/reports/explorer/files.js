// Messages, and images as files.

const MESSAGE_SECONDS = 10;
let clearing = null;

/** Say something to the user, also to screen readers, until the next action or for some seconds. */
function announce(text) {
  clearTimeout(clearing);
  $("status").textContent = text;
  if (text) clearing = setTimeout(() => announce(""), 1000 * MESSAGE_SECONDS);
}

function clearMessagesOnActions() {
  for (const type of ["click", "input", "dragstart"]) document.addEventListener(type, () => announce(""), true);
}

function showFailure(text) {
  $("failure").textContent = text;
  $("failure").hidden = false;
}

/** Return the name of a file, without its ending: the dataset, the class and the origin of the image. */
function fileName(origin) {
  const parts = [facts.dataset, labelName(), origin, truncationName()].filter(Boolean).join(" ");
  const spelt = parts.replaceAll("−", " minus ").replaceAll("+", " plus ").replaceAll("%", " percent ");
  return spelt.replaceAll(/[^\p{L}\p{N}.]+/gu, "-").slice(0, 150).replaceAll(/^[-.]+|[-.]+$/g, "");
}

/** Offer a file for download. */
function save(blob, file, description) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  const side = scaleOfFiles() * facts.imageSize;
  announce(`Saved ${side} × ${side} pixels${description} as ${file}.`);
}

/** Return the whole number of times that saved images are enlarged, to at least 256 pixels. */
const scaleOfFiles = () => Math.max(1, Math.ceil(256 / facts.imageSize));

/** Return the current image as PNG, each pixel of it as a square. */
async function currentPng() {
  const [small, large] = [document.createElement("canvas"), document.createElement("canvas")];
  paint(small, await imageOf(currentPoint()));
  large.width = large.height = scaleOfFiles() * facts.imageSize;
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, large.width, large.height);
  return marked(await new Promise((resolve) => large.toBlob(resolve, "image/png")));
}

/** Return a PNG file that says that a trained model made the image (`model/synthetic_marks.py`). */
function marked(png) {
  // The chunk goes behind the signature and the header.
  const [start, chunk] = [33, fromBase64(facts.markChunk)];
  return new Blob([png.slice(0, start), chunk, png.slice(start)], { type: png.type });
}

async function savePng() {
  const file = `${fileName(currentPoint().name)}.png`;
  save(await currentPng(), file, "");
}

async function copyLink() {
  clearTimeout(writing);
  history.replaceState(null, "", `#${encodeState()}`);
  // Others have no such file on their disk.
  const note = location.protocol === "file:" ? " It works with a copy of this same file: send the file, too." : "";
  try {
    await navigator.clipboard.writeText(location.href);
    announce(`Link copied.${note}`);
  } catch {
    announce(`The address bar has the link.${note}`);
  }
}
