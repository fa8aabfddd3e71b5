// The generator in ONNX Runtime Web: one thread, no worker, no request. Its files are embedded into this page by Python,
// gzipped and in base64; facts are JSON.

const facts = JSON.parse(document.getElementById("facts").textContent);

/** Return the bytes of a text in base64 or base64url. */
function fromBase64(text) {
  const binary = atob(text.trim().replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** Return float32 values, little endian, as base64url without padding. */
function toBase64(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Return float32 values from base64, or null if the text does not have `count` finite ones. */
function floatsFrom(text, count) {
  try {
    const values = new Float32Array(fromBase64(text).buffer);
    return values.length === count && values.every(Number.isFinite) ? values : null;
  } catch {
    return null;
  }
}

/** Return the bytes of an embedded file, and remove it from the document, which frees its memory. */
async function embeddedFile(id) {
  const element = document.getElementById(id);
  const packed = fromBase64(element.textContent);
  element.remove();
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** Return the rows of `count` latents each, as views. */
function rowsOf(values, count) {
  return Array.from({ length: values.length / count }, (_, row) => values.subarray(row * count, (row + 1) * count));
}

const samples = rowsOf(new Float32Array(fromBase64(facts.samples).buffer), facts.latentDim);
const directions = facts.directions.map(({ name, vector }) => ({
  name,
  vector: new Float32Array(fromBase64(vector).buffer),
}));

let session = null;
let queue = Promise.resolve();

/** Load the embedded runtime and model. */
async function loadNetwork() {
  const runtime = globalThis.ort;
  const [wasmBinary, model] = [await embeddedFile("runtime"), await embeddedFile("model")];
  Object.assign(runtime.env.wasm, { numThreads: 1, proxy: false, wasmBinary: wasmBinary.buffer });
  runtime.env.logLevel = "error";
  session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

/** Map [-1, 1] to 0..255 as `to_uint8` in model/sampling.py does: in float32, rounded and clamped. */
function toUint8(values) {
  const pixels = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index += 1) {
    const scaled = Math.fround(Math.fround(values[index] * 127.5) + 128);
    if (Number.isNaN(scaled)) throw new Error("the generator returned values that are no numbers");
    pixels[index] = Math.min(255, Math.max(0, scaled));
  }
  return pixels;
}

async function run(latents, label) {
  const { Tensor } = globalThis.ort;
  const count = latents.length;
  const flat = new Float32Array(count * facts.latentDim);
  latents.forEach((latent, row) => flat.set(latent, row * facts.latentDim));
  const inputs = { latents: new Tensor("float32", flat, [count, facts.latentDim]) };
  if (facts.classes.length) {
    inputs.labels = new Tensor("int64", new BigInt64Array(count).fill(BigInt(label)), [count]);
  }
  const { images } = await session.run(inputs);
  return rowsOf(toUint8(images.data), images.data.length / count);
}

/** Return the images of latents, uint8 (C, H, W) each. Calls wait for each other: a session runs one at a time. */
function generate(latents, label) {
  const images = queue.then(() => run(latents, label));
  queue = images.catch(() => null);
  return images;
}

/** Return the pixels of an image as ImageData, opaque RGBA. */
function toImageData(image) {
  const { imageSize: size, channels } = facts;
  const area = size * size;
  const data = new ImageData(size, size);
  for (let pixel = 0; pixel < area; pixel += 1) {
    for (let colour = 0; colour < 3; colour += 1) {
      data.data[4 * pixel + colour] = image[(channels === 3 ? colour : 0) * area + pixel];
    }
    data.data[4 * pixel + 3] = 255;
  }
  return data;
}

/** Draw an image on a canvas, a pixel of it on each of the canvas. */
function paint(canvas, image) {
  canvas.width = canvas.height = facts.imageSize;
  canvas.getContext("2d").putImageData(toImageData(image), 0, 0);
}
