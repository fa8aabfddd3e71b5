// An encoder of animated GIF (GIF89a): grey levels and up to 256 colours exactly, otherwise the median cut of a frame.

/** Return the palette of a frame as [r, g, b] rows, at most 256, and the function from a colour to its index. */
function paletteOf(pixels) {
  const counts = new Map();
  for (let at = 0; at < pixels.length; at += 4) {
    const colour = (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const colours = [...counts].map(([colour, count]) => [colour >> 16, (colour >> 8) & 255, colour & 255, count, colour]);
  const boxes = medianCut(colours);
  const indices = new Map();
  const palette = boxes.map((box, index) => {
    const total = box.reduce((sum, colour) => sum + colour[3], 0);
    for (const colour of box) indices.set(colour[4], index);
    return [0, 1, 2].map((axis) => Math.round(box.reduce((sum, colour) => sum + colour[axis] * colour[3], 0) / total));
  });
  return { palette, indices };
}

/** Divide colours into at most 256 boxes, each time the box with the largest spread times count (Heckbert 1982). */
function medianCut(colours) {
  const measured = (box) => {
    const total = box.reduce((sum, colour) => sum + colour[3], 0);
    let [axis, range] = [0, 0];
    for (const one of [0, 1, 2]) {
      const values = box.map((colour) => colour[one]);
      const spread = values.reduce((a, b) => Math.max(a, b), 0) - values.reduce((a, b) => Math.min(a, b), 255);
      if (spread > range) [axis, range] = [one, spread];
    }
    return { box, axis, weight: range * total, total };
  };
  const boxes = [measured(colours)];
  while (boxes.length < 256) {
    const largest = boxes.reduce((a, b) => (b.weight > a.weight ? b : a));
    if (!largest.weight) break;
    const sorted = [...largest.box].sort((a, b) => a[largest.axis] - b[largest.axis]);
    let [seen, cut] = [0, 0];
    while (cut < sorted.length - 1 && seen + sorted[cut][3] <= largest.total / 2) seen += sorted[cut++][3];
    cut = Math.max(1, cut);
    boxes.splice(boxes.indexOf(largest), 1, measured(sorted.slice(0, cut)), measured(sorted.slice(cut)));
  }
  return boxes.map(({ box }) => box);
}

/** Compress indices of 8 bits with GIF's LZW; return blocks of at most 255 bytes, each after its length. */
function compress(indices) {
  const bytes = [];
  let [buffer, filled, width, next, table] = [0, 0, 9, 258, new Map()];
  const write = (code) => {
    buffer |= code << filled;
    for (filled += width; filled >= 8; filled -= 8, buffer >>>= 8) bytes.push(buffer & 255);
  };
  write(256);
  let prefix = indices[0];
  for (let at = 1; at < indices.length; at += 1) {
    const key = prefix * 256 + indices[at];
    if (table.has(key)) {
      prefix = table.get(key);
      continue;
    }
    write(prefix);
    if (next < 4096) {
      table.set(key, next);
      if (next === 1 << width) width += 1;
      next += 1;
    } else {
      write(256);
      [width, next, table] = [9, 258, new Map()];
    }
    prefix = indices[at];
  }
  write(prefix);
  write(257);
  if (filled) bytes.push(buffer & 255);
  const blocks = [];
  for (let at = 0; at < bytes.length; at += 255) {
    const block = bytes.slice(at, at + 255);
    blocks.push(Uint8Array.of(block.length, ...block));
  }
  return [...blocks, Uint8Array.of(0)];
}

const word = (value) => [value & 255, value >> 8];

/** Return frames, ImageData of one size, as an animated GIF that repeats for ever: bytes. */
function encodeGif(frames, framesPerSecond, scale) {
  const { width, height } = frames[0];
  const [wide, high] = [width * scale, height * scale];
  const parts = [
    new TextEncoder().encode("GIF89a"),
    Uint8Array.of(...word(wide), ...word(high), 0x70, 0, 0),
    Uint8Array.of(0x21, 0xff, 11, ...new TextEncoder().encode("NETSCAPE2.0"), 3, 1, 0, 0, 0),
  ];
  for (const { data } of frames) {
    const { palette, indices } = paletteOf(data);
    const table = new Uint8Array(768);
    palette.forEach((colour, index) => table.set(colour, 3 * index));
    const pixels = new Uint8Array(wide * high);
    for (let at = 0; at < pixels.length; at += 1) {
      const from = 4 * (Math.floor(at / wide / scale) * width + Math.floor((at % wide) / scale));
      pixels[at] = indices.get((data[from] << 16) | (data[from + 1] << 8) | data[from + 2]);
    }
    parts.push(
      Uint8Array.of(0x21, 0xf9, 4, 4, ...word(Math.round(100 / framesPerSecond)), 0, 0),
      Uint8Array.of(0x2c, 0, 0, 0, 0, ...word(wide), ...word(high), 0x87),
      table,
      Uint8Array.of(8),
      ...compress(pixels),
    );
  }
  return new Blob([...parts, Uint8Array.of(0x3b)], { type: "image/gif" });
}
