// Arithmetic with latents, as in model/latents.py: computed in float64, rounded to float32 at the end.

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
