// Start: load the network, restore the state from the address, connect the controls.

const NO_WASM = "This page needs WebAssembly, which is disabled in this browser. Enable it, or open the page elsewhere.";

function restore() {
  stopPlaying();
  state = decodeState(location.hash.slice(1));
  drawThumbnails();
  return update();
}

async function copyLink() {
  clearTimeout(writing);
  history.replaceState(null, "", `#${encodeState()}`);
  try {
    await navigator.clipboard.writeText(location.href);
    announce("Link copied.");
  } catch {
    announce("The address bar has the link.");
  }
}

async function start() {
  if (typeof WebAssembly === "undefined") throw new Error(NO_WASM);
  try {
    await loadNetwork();
  } catch (error) {
    throw new Error(`The model cannot be loaded in this browser (${String(error.message ?? error).split("\n")[0]}).`);
  }
  makeDirections();
  wireSettings();
  makeSamples();
  wireSlots();
  wireInterpolation();
  $("png").addEventListener("click", async () => save(await currentPng(), currentPoint().name, ".png"));
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
