// What the page shows, as one object, and the same in the fragment of its address, so that a link restores it.

const SLOTS = ["from", "to", "plus", "minus", "also"];
const MOST_UNITS = 3;

/** A latent and where it comes from: `sample` is the number of an embedded sample, otherwise null. */
const sampleNumber = (number) => ({ latent: samples[number], sample: number, name: `sample ${number}` });
const freeLatent = (latent, name) => ({ latent, sample: null, name });

function initialState() {
  const slots = Object.fromEntries(SLOTS.map((slot, index) => [slot, sampleNumber(index % samples.length)]));
  return { base: sampleNumber(0), units: directions.map(() => 0), strength: 1, label: 0, position: 0, ...slots };
}

let state = initialState();

/** Return the current latent: the base moved along the directions. Truncation is applied when images are made. */
function currentPoint() {
  if (state.units.every((distance) => !distance)) return state.base;
  return freeLatent(shifted(state.base.latent, state.units), `${state.base.name}, changed`);
}

/** Return the state as text for the fragment; parts that are as at the start are left out. */
function encodeState() {
  const [initial, parts] = [initialState(), new URLSearchParams()];
  const set = (key, value, usual) => value !== usual && parts.set(key, value);
  const pointText = ({ latent, sample }) => (sample === null ? `~${toBase64(latent)}` : String(sample));
  parts.set("z", pointText(state.base));
  const moved = state.units.map((distance, number) => [number, distance]).filter(([, distance]) => distance);
  set("d", moved.map((pair) => pair.join(":")).join(","), "");
  set("t", String(state.strength), "1");
  set("class", facts.classes[state.label] ?? "", facts.classes[0] ?? "");
  set("p", String(state.position), "0");
  for (const slot of SLOTS) set(slot, pointText(state[slot]), pointText(initial[slot]));
  return parts.toString();
}

/** Return a state from the text of a fragment; parts that are missing or wrong are as at the start. */
function decodeState(text) {
  const [parts, decoded] = [new URLSearchParams(text), initialState()];
  const number = (value, least, most, usual) => {
    const read = value === null || value === "" ? NaN : Number(value);
    return Number.isFinite(read) ? Math.min(most, Math.max(least, read)) : usual;
  };
  for (const slot of ["base", ...SLOTS]) {
    const value = parts.get(slot === "base" ? "z" : slot) ?? "";
    const latent = value.startsWith("~") ? floatsFrom(value.slice(1), facts.latentDim) : null;
    if (latent) decoded[slot] = freeLatent(latent, "your own");
    else if (/^\d+$/.test(value) && Number(value) < samples.length) decoded[slot] = sampleNumber(Number(value));
  }
  for (const pair of (parts.get("d") ?? "").split(",")) {
    const [index, distance] = pair.split(":");
    if (/^\d+$/.test(index) && Number(index) < directions.length) {
      decoded.units[Number(index)] = number(distance ?? null, -MOST_UNITS, MOST_UNITS, 0);
    }
  }
  decoded.strength = number(parts.get("t"), 0, 1, 1);
  decoded.position = number(parts.get("p"), 0, 1, 0);
  decoded.label = Math.max(0, facts.classes.indexOf(parts.get("class") ?? ""));
  return decoded;
}

let writing = null;

/** Write the state into the address soon: browsers allow only some changes per second. */
function rememberState() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", `#${encodeState()}`), 150);
}
