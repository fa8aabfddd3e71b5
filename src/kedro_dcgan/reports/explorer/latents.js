// Arithmetic with latents, as in model/latents.py: computed in float64, rounded to float32 at the end. And points: latents
// with their origin, once in words, once as text for links. The text "walk*19*1*43" is 43 % of the way from sample 19 to 1.

// Below this sine of the angle between two latents, a line and an arc are the same.
const LEAST_SINE = 1e-4;

const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
const norm = (latent) => Math.sqrt(dot(Float64Array.from(latent), latent));

/** Return a * one + b * other. */
function weighted(a, one, b, other) {
  return Float32Array.from(one, (value, index) => a * value + b * other[index]);
}

/** Return the latent at a share, 0 to 1, of the way: uniform ones along a line; normal ones turn along an arc, while
 * their length changes evenly. */
function interpolate(start, end, share) {
  const [from, to] = [Math.max(norm(start), 1e-12), Math.max(norm(end), 1e-12)];
  const cosine = dot(Float64Array.from(start), end) / (from * to);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (facts.latents !== "normal" || !(sine > LEAST_SINE)) return weighted(1 - share, start, share, end);
  const length = ((1 - share) * from + share * to) / sine;
  return weighted(
    (length * Math.sin((1 - share) * angle)) / from, start, (length * Math.sin(share * angle)) / to, end,
  );
}

/** Return plus - minus + also: a normal latent gets the length that most have, a uniform one stays in [-1, 1]. */
function combine(plus, minus, also) {
  const sum = Float64Array.from(plus, (value, index) => value - minus[index] + also[index]);
  if (facts.latents !== "normal") return Float32Array.from(sum, (value) => Math.min(1, Math.max(-1, value)));
  const scale = Math.sqrt(facts.latentDim) / Math.max(norm(sum), 1e-12);
  return Float32Array.from(sum, (value) => value * scale);
}

/** Return a latent moved along each direction by its number of units; a uniform one stays in [-1, 1]. */
function shifted(latent, units) {
  const moved = Float64Array.from(latent);
  units.forEach((distance, number) => {
    if (distance) directions[number].vector.forEach((value, index) => (moved[index] += distance * value));
  });
  if (facts.latents !== "normal") return Float32Array.from(moved, (value) => Math.min(1, Math.max(-1, value)));
  return Float32Array.from(moved);
}

/** Return a latent shortened to a share of its length: 1 changes nothing, 0 gives the mean image. */
function truncate(latent, strength) {
  return strength === 1 ? latent : Float32Array.from(latent, (value) => value * strength);
}

const MOST_UNITS = 3;
// A longer origin is replaced by the latent itself.
const LONGEST_ORIGIN = 300;

const samplePoint = (number) => ({
  latent: samples[number], sample: number, name: `sample ${number}`, origin: String(number),
});

/** Return the point of a latent of unknown origin, named after its bits (FNV-1a). */
function latentPoint(latent) {
  const bytes = new Uint8Array(latent.buffer, latent.byteOffset, latent.byteLength);
  const hash = bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 16777619) >>> 0, 2166136261);
  const name = `latent ${hash.toString(16).padStart(8, "0")}`;
  return { latent, sample: null, name, origin: `~${toBase64(latent)}` };
}

function derivedPoint(latent, name, origin) {
  return origin.length > LONGEST_ORIGIN ? latentPoint(latent) : { latent, sample: null, name, origin };
}

const inBrackets = ({ name }) => (/^\w+ \w+$/.test(name) ? name : `(${name})`);

/** Return the point at a share of the way, in whole percents. */
function walkPoint(from, to, share) {
  if (share === 0 || share === 1) return share ? to : from;
  const percent = Math.round(100 * share);
  return derivedPoint(
    interpolate(from.latent, to.latent, share),
    `${inBrackets(from)} to ${inBrackets(to)}, ${percent} %`,
    `walk*${from.origin}*${to.origin}*${percent}`,
  );
}

function sumPoint(plus, minus, also) {
  return derivedPoint(
    combine(plus.latent, minus.latent, also.latent),
    `${inBrackets(plus)} − ${inBrackets(minus)} + ${inBrackets(also)}`,
    `sum*${plus.origin}*${minus.origin}*${also.origin}`,
  );
}

const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1);

/** Return a point moved along each direction by its number of units. */
function movedPoint(point, units) {
  const text = unitsText(units);
  if (!text) return point;
  const moves = units.map((distance, number) => distance && `, ${directions[number].name} ${signed(distance)}`);
  const name = point.name + moves.filter(Boolean).join("");
  return derivedPoint(shifted(point.latent, units), name, `move*${point.origin}*${text}`);
}

/** Return the units that are not zero as text: "1:-1.2,3:0.7". */
function unitsText(units) {
  return units.map((distance, number) => distance && `${number}:${distance}`).filter(Boolean).join(",");
}

/** Return the units of a text; throw if it is none. */
function unitsFrom(text) {
  const units = directions.map(() => 0);
  for (const pair of text ? text.split(",") : []) {
    const [index, distance] = pair.split(":");
    if (!/^\d+$/.test(index) || Number(index) >= units.length) throw new Error(`no direction ${index}`);
    units[Number(index)] = numberFrom(distance, -MOST_UNITS, MOST_UNITS, 10);
  }
  return units;
}

/** Return the number of a text, limited and rounded to a step of 1 / `parts`; throw if it is none. */
function numberFrom(text, least, most, parts) {
  if (!text || !Number.isFinite(Number(text))) throw new Error(`not a number: ${text}`);
  return Math.min(most, Math.max(least, Math.round(Number(text) * parts) / parts));
}

/** Return the point of an origin; throw if it is none. */
function pointFrom(origin) {
  const words = origin.split("*");
  const read = () => {
    const word = words.shift();
    if (word === "walk") return walkPoint(read(), read(), numberFrom(words.shift(), 0, 100, 1) / 100);
    if (word === "sum") return sumPoint(read(), read(), read());
    if (word === "move") return movedPoint(read(), unitsFrom(words.shift()));
    const latent = word?.startsWith("~") ? floatsFrom(word.slice(1), facts.latentDim) : null;
    if (latent) return latentPoint(latent);
    if (/^\d+$/.test(word) && Number(word) < samples.length) return samplePoint(Number(word));
    throw new Error(`no image ${word}`);
  };
  const point = read();
  if (words.length) throw new Error(`more than an image: ${words}`);
  return point;
}
