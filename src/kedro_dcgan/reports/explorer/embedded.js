// The parts that Python embedded into this page: facts as JSON, binary files gzipped and in base64.

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
