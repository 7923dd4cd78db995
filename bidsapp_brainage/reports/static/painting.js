"use strict";
// Colours, outlines and the look of slices; knows nothing of the page.
const brainPainting = (() => {
  const unpackTable = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // Place of a value of -1..1 in a table of colours: as in reports/figures/colours.py.
  const placeOf = (share, table) => {
    const middle = (table.length / 4 - 1) / 2;
    const place = Math.round((Math.min(Math.max(share, -1), 1) + 1) * middle);
    return place === middle && share !== 0 ? middle + Math.sign(share) : place;
  };
  // Blend a colour (values of 0..255, opacity 0..1) over grey into four bytes of a picture.
  const blend = (pixels, spot, grey, colours, from, opacity) => {
    for (let k = 0; k < 3; k += 1) pixels[spot + k] = grey * (1 - opacity) + colours[from + k] * opacity;
    pixels[spot + 3] = 255;
  };
  // Paint a value of -1..1 (0 leaves the grey) with a table of colours.
  const paint = (pixels, spot, grey, share, table, opacity = 1) => {
    const from = 4 * placeOf(share, table);
    blend(pixels, spot, grey, table, from, (table[from + 3] / 255) * opacity);
  };
  // The colours of a legend from the least to the largest value, as a picture one pixel high.
  const legend = (canvas, table, grey, opacity, signed) => {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, 1);
    for (let x = 0; x < canvas.width; x += 1) {
      const share = x / (canvas.width - 1);
      paint(image.data, 4 * x, grey, signed ? 2 * share - 1 : share, table, opacity);
    }
    context.putImageData(image, 0, 0);
  };

  // Weights 1, 2, 1 along both axes: outlines of voxels become curves.
  const smooth = (field, width, height) => {
    const half = new Float32Array(field.length);
    const whole = new Float32Array(field.length);
    for (let v = 0, i = 0; v < height; v += 1) {
      for (let u = 0; u < width; u += 1, i += 1) {
        half[i] = (field[u ? i - 1 : i] + 2 * field[i] + field[u < width - 1 ? i + 1 : i]) / 4;
      }
    }
    for (let v = 0, i = 0; v < height; v += 1) {
      for (let u = 0; u < width; u += 1, i += 1) {
        whole[i] = (half[v ? i - width : i] + 2 * half[i] + half[v < height - 1 ? i + width : i]) / 4;
      }
    }
    return whole;
  };
  // Pieces of the line where a field passes 1/2 (marching squares), as [u, v, u, v].
  const outline = (field, width, height) => {
    const pieces = [];
    const cross = (a, b) => (0.5 - a) / (b - a);
    for (let v = 0; v < height - 1; v += 1) {
      for (let u = 0; u < width - 1; u += 1) {
        const i = v * width + u;
        const [a, b, c, d] = [field[i], field[i + 1], field[i + width + 1], field[i + width]];
        const inside = (a > 0.5) + (b > 0.5) + (c > 0.5) + (d > 0.5);
        if (inside === 0 || inside === 4) continue;
        const points = [];
        if (a > 0.5 !== b > 0.5) points.push(u + cross(a, b), v);
        if (b > 0.5 !== c > 0.5) points.push(u + 1, v + cross(b, c));
        if (c > 0.5 !== d > 0.5) points.push(u + cross(d, c), v + 1);
        if (d > 0.5 !== a > 0.5) points.push(u, v + cross(a, d));
        for (let k = 0; k + 3 < points.length; k += 4) pieces.push(points.slice(k, k + 4));
      }
    }
    return pieces;
  };
  const drawOutline = (context, field, width, height, toScreen, colour, thick) => {
    context.beginPath();
    for (const [u, v, s, t] of outline(smooth(field, width, height), width, height)) {
      context.moveTo(...toScreen(u, v));
      context.lineTo(...toScreen(s, t));
    }
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.lineCap = "round";
    context.stroke();
  };
  return { unpackTable, paint, blend, legend, drawOutline };
})();
