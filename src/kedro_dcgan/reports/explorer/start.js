// Start: load the network, restore the state from the address, connect the controls.

const NO_WASM = "This page needs WebAssembly, which is disabled in this browser. Enable it, or open the page elsewhere.";

function restore() {
  stopPlaying();
  let message = "";
  try {
    state = decodeState(location.hash.slice(1));
  } catch {
    state = initialState();
    message = "This link is damaged or belongs to another page. You see sample 0.";
  }
  drawThumbnails();
  const drawn = update();
  announce(message);
  return drawn;
}

async function start() {
  if (typeof WebAssembly === "undefined") throw new Error(NO_WASM);
  try {
    await loadNetwork();
  } catch (error) {
    throw new Error(`The model cannot be loaded in this browser (${String(error.message ?? error).split("\n")[0]}).`);
  }
  clearMessagesOnActions();
  makeDirections();
  wireSettings();
  makeSamples();
  wireSlots();
  wireInterpolation();
  $("png").addEventListener("click", savePng);
  $("link").addEventListener("click", copyLink);
  window.addEventListener("hashchange", restore);
  $("loading").hidden = true;
  $("content").hidden = false;
  await restore();
  // For the console and for tests.
  window.explorer = { facts, generate, rowsOf, walkFrames, walkGif, currentPng, state: () => state, currentPoint };
}

start().catch((error) => {
  $("loading").hidden = true;
  showFailure(error.message);
});
