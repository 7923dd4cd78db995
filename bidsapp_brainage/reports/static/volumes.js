"use strict";
// Volumes that come with the page, packed: unpacked once, however many viewers show them.
const packedVolumes = (() => {
  const KINDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
  const opened = new Map();

  const inflate = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };
  // Differences from what the neighbours predict become values, in place (modulo 256).
  const restore = (values, [nx, ny, nz]) => {
    for (let z = 0, i = 0; z < nz; z += 1) {
      for (let y = 0; y < ny; y += 1) {
        for (let x = 0; x < nx; x += 1, i += 1) {
          const left = x ? values[i - 1] : 0;
          const up = y ? values[i - nx] : 0;
          const corner = x && y ? values[i - nx - 1] : 0;
          const low = Math.min(left, up);
          const high = Math.max(left, up);
          let guess = left + up - corner;
          if (corner >= high) guess = low;
          else if (corner <= low) guess = high;
          values[i] += guess;
        }
      }
    }
    return values;
  };
  const unpack = async (holder, shape) => {
    const values = new KINDS[holder.dataset.width](await inflate(holder.dataset.volume));
    holder.removeAttribute("data-volume");
    return holder.dataset.predicted ? restore(values, shape) : values;
  };
  const open = (identifier, shape) => {
    if (!opened.has(identifier)) opened.set(identifier, unpack(document.getElementById(identifier), shape));
    return opened.get(identifier);
  };
  return { open };
})();
