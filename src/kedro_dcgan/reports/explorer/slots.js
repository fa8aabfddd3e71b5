// Slots that hold latents, filled by drag and drop or by a click; arithmetic with them.

const SLOT_NAMES = { from: "start", to: "end", plus: "A", minus: "B", also: "C" };

let dragged = null;

/** Let an element be dragged into slots. */
function draggable(element, point) {
  element.addEventListener("dragstart", (event) => {
    dragged = point();
    event.dataTransfer.setData("text/plain", dragged.name);
    event.dataTransfer.effectAllowed = "copy";
  });
  element.addEventListener("dragend", () => (dragged = null));
}

function wireSlots() {
  for (const slot of SLOTS) {
    const button = $(`slot-${slot}`);
    button.addEventListener("click", () => {
      stopPlaying();
      fill(slot, currentPoint());
    });
    button.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      button.classList.add("target");
    });
    button.addEventListener("dragleave", () => button.classList.remove("target"));
    button.addEventListener("drop", (event) => {
      event.preventDefault();
      button.classList.remove("target");
      if (dragged) fill(slot, dragged);
    });
    draggable(button, () => state[slot]);
    thumbnails.unshift({ canvas: button.querySelector("canvas"), point: () => state[slot], slot });
  }
  thumbnails.unshift({ canvas: $("sum").querySelector("canvas"), point: LIVE.sum.point, slot: "sum" });
  $("sum").addEventListener("click", () => choose("sum"));
  draggable($("sum"), LIVE.sum.point);
  draggable($("current"), currentPoint);
}

/** Put a point into a slot, and draw it and all that depends on it. */
function fill(slot, point) {
  // The current image stays the same when it becomes a part of itself.
  if (LIVE[state.base]?.slots.includes(slot) && point.origin === currentPoint().origin) state.base = basePoint();
  state[slot] = point;
  update();
  announce(`${SLOT_NAMES[slot]} is now ${point.name}.`);
  return drawThumbnails(thumbnails.filter((one) => one.slot === slot || one.slot === "sum"));
}

function nameSlots() {
  for (const slot of SLOTS) {
    const [button, { name }] = [$(`slot-${slot}`), state[slot]];
    button.querySelector(".name").textContent = button.title = name;
    button.setAttribute("aria-label", `${SLOT_NAMES[slot]}: ${name}. Replace it by the current image`);
  }
  const { name } = LIVE.sum.point();
  $("sum").title = name;
  $("sum").setAttribute("aria-label", `Result: ${name}. Make it the current image`);
}
