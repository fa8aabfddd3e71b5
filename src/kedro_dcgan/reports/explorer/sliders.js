// Sliders: their value, touch, and those along the directions with the images at both ends.

// Milliseconds without a change until the images at the ends are drawn.
const ENDS_DELAY = 200;
// Pixels that a finger moves at least when it drags or scrolls.
const LEAST_MOVE = 8;

/** Show a value: in words, and as the filled part of the track, from zero or from the left end. */
function showValue(slider, value, written) {
  const [least, most] = [Number(slider.min), Number(slider.max)];
  const shares = [least < 0 ? -least : least - most, value - least].map((one) => one / (most - least));
  slider.value = String(value);
  slider.setAttribute("aria-valuetext", written(value));
  slider.style.setProperty("--low", Math.min(...shares));
  slider.style.setProperty("--high", Math.max(...shares));
  $(`${slider.id}-value`).textContent = written(value);
}

/** Let a finger that moves up or down scroll the page: the value changes when it moves sideways or is lifted. */
function holdDuringScroll(slider) {
  let touch = null;
  const change = (value) => {
    slider.value = value;
    for (const type of ["input", "change"]) slider.dispatchEvent(new Event(type, { bubbles: true }));
  };
  slider.addEventListener("pointerdown", ({ pointerType, clientX: x, clientY: y }) => {
    touch = pointerType === "touch" ? { x, y, before: slider.value, wanted: null, isHeld: true } : null;
  });
  slider.addEventListener("pointermove", ({ clientX, clientY }) => {
    if (!touch) return;
    const sideways = Math.abs(clientX - touch.x);
    if (sideways > LEAST_MOVE && sideways > Math.abs(clientY - touch.y)) touch.isHeld = false;
  });
  slider.addEventListener("pointerup", ({ clientY }) => {
    const isTap = touch?.isHeld && Math.abs(clientY - touch.y) <= LEAST_MOVE;
    const wanted = isTap ? touch.wanted : null;
    touch = null;
    if (wanted !== null) change(wanted);
  });
  // The browser scrolls.
  slider.addEventListener("pointercancel", () => {
    const before = touch?.before ?? slider.value;
    touch = null;
    if (slider.value !== before) change(before);
  });
  slider.addEventListener("input", (event) => {
    if (!touch?.isHeld) return;
    event.stopImmediatePropagation();
    touch.wanted = slider.value;
    slider.value = touch.before;
  });
}

const ends = [];

function makeDirections() {
  directions.forEach(({ name }, number) => {
    const row = $("slider-template").content.cloneNode(true);
    const [label, slider, value] = ["label", "input", "output"].map((tag) => row.querySelector(tag));
    Object.assign(slider, { id: `direction-${number}`, min: -MOST_UNITS, max: MOST_UNITS, step: 0.1 });
    label.htmlFor = value.htmlFor = slider.id;
    value.id = `${slider.id}-value`;
    label.textContent = name;
    const move = (distance) => {
      stopPlaying();
      state.units[number] = distance;
      update();
    };
    holdDuringScroll(slider);
    slider.addEventListener("input", () => move(Number(slider.value)));
    slider.addEventListener("dblclick", () => move(0));
    row.querySelectorAll("canvas").forEach((canvas, index) => {
      const distance = [-MOST_UNITS, MOST_UNITS][index];
      const units = () => state.units.map((usual, other) => (other === number ? distance : usual));
      ends.push({ canvas, point: () => movedPoint(basePoint(), units()) });
    });
    $("directions").append(row);
  });
  window.addEventListener("resize", drawEndsSoon);
}

let [endsTimer, endsRound] = [null, 0];

/** Draw the images at the ends of the sliders when nothing changes for a moment, and where there is room for them. */
function drawEndsSoon() {
  const round = (endsRound += 1);
  clearTimeout(endsTimer);
  endsTimer = setTimeout(() => {
    const shown = ends.filter(({ canvas }) => canvas.offsetParent);
    drawAll(shown, () => round === endsRound).catch((error) => showFailure(error.message));
  }, ENDS_DELAY);
}
