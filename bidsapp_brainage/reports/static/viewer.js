"use strict";
// A map of regions on three planes and on a glass brain. The volumes come with the page, packed.
(() => {
  const AXES = [
    { name: "sagittal", across: 1, up: 2, ends: ["P", "A"] },
    { name: "coronal", across: 0, up: 2, ends: ["L", "R"] },
    { name: "axial", across: 0, up: 1, ends: ["L", "R"] },
  ];
  const RED = [239, 72, 66];
  const BLUE = [60, 140, 245];
  const ZOOM = 3;

  const inflate = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };
  const written = (value, digits) => {
    const text = Math.abs(value).toFixed(digits);
    return (value < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
  };
  const decimals = (most) => Math.min(Math.max(2 - Math.floor(Math.log10(most || 1)), 2), 6);
  const strength = (share, power) => (power > 0.5 ? 0 : 0.18) + 0.78 * share ** power;

  const start = (root, facts, grey, labels) => {
    const [nx, ny, nz] = facts.shape;
    const strides = [1, nx, nx * ny];
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    const planes = AXES.map((axis, i) => ({ ...axis, axis: i, canvas: part(axis.name), slider: part(`${axis.name}-at`) }));
    const glasses = AXES.map((axis, i) => ({ ...axis, axis: i, canvas: part(`glass-${axis.name}`) }));
    const state = { at: [nx >> 1, ny >> 1, nz >> 1], measure: 0, threshold: 0, shown: new Float32Array(1), most: 1 };

    const brush = (canvas, width, height) => {
      canvas.width = width * ZOOM;
      canvas.height = height * ZOOM;
      const small = document.createElement("canvas");
      small.width = width;
      small.height = height;
      return { context: canvas.getContext("2d"), small, pixels: small.getContext("2d") };
    };
    const size = (plane) => [facts.shape[plane.across], facts.shape[plane.up]];
    for (const plane of [...planes, ...glasses]) plane.brush = brush(plane.canvas, ...size(plane));
    const colour = (value) => (value < 0 ? RED : BLUE);
    const signed = () => facts.measures[state.measure].signed;
    const striped = Uint8Array.from([0, ...facts.regions.map((name, i) => (facts.marks[i] ? 1 : 0))]);

    const blend = (pixels, place, base, value, power = 0.5) => {
      const share = value === 0 ? 0 : strength(Math.min(Math.abs(value) / state.most, 1), power);
      const paint = signed() ? colour(value) : BLUE;
      for (let k = 0; k < 3; k += 1) pixels[place + k] = base * (1 - share) + paint[k] * share;
      pixels[place + 3] = 255;
    };
    const finish = (plane, image, width, height, mark) => {
      const { context, small, pixels } = plane.brush;
      pixels.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, width * ZOOM, height * ZOOM);
      context.strokeStyle = `rgb(255 255 255 / ${mark}%)`;
      context.lineWidth = 1;
      const x = (state.at[plane.across] + 0.5) * ZOOM;
      const y = (height - state.at[plane.up] - 0.5) * ZOOM;
      context.beginPath();
      context.moveTo(x, 0); context.lineTo(x, height * ZOOM);
      context.moveTo(0, y); context.lineTo(width * ZOOM, y);
      context.stroke();
      context.font = "600 12px system-ui, sans-serif";
      context.fillStyle = "#fff";
      context.textBaseline = "middle";
      context.fillText(plane.ends[0], 5, (height * ZOOM) / 2);
      context.textAlign = "right";
      context.fillText(plane.ends[1], width * ZOOM - 5, (height * ZOOM) / 2);
      context.textAlign = "left";
    };
    const drawPlane = (plane) => {
      const [width, height] = size(plane);
      const image = plane.brush.pixels.createImageData(width, height);
      const base = state.at[plane.axis] * strides[plane.axis];
      const chosen = labels[place(state.at)];
      const [du, dv] = [strides[plane.across], strides[plane.up]];
      for (let v = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1) {
          const voxel = base + u * du + v * dv;
          const label = labels[voxel];
          const spot = 4 * ((height - 1 - v) * width + u);
          const gap = striped[label] && (u + v) % 4 < 2 && signed();
          blend(image.data, spot, grey[voxel] * 3.1, gap ? 0 : state.shown[label]);
          const inner = u > 0 && v > 0 && u < width - 1 && v < height - 1;
          if (chosen && label === chosen && inner && (labels[voxel - du] !== chosen || labels[voxel + du] !== chosen
            || labels[voxel - dv] !== chosen || labels[voxel + dv] !== chosen)) {
            for (let k = 0; k < 3; k += 1) image.data[spot + k] = 0.35 * image.data[spot + k] + 0.65 * 255;
          }
        }
      }
      finish(plane, image, width, height, 30);
    };
    // Each region's value is spread evenly over its voxels and added up along the lines of sight:
    // the largest value instead would show little but a thin shell of fluid around the brain.
    const voxels = new Float32Array(facts.regions.length + 1);
    for (const label of labels) voxels[label] += 1;
    const look = (plane, width, height) => {
      const sums = new Float32Array(width * height);
      const depth = facts.shape[plane.axis];
      const [du, dv, dd] = [strides[plane.across], strides[plane.up], strides[plane.axis]];
      const spread = state.shown.map((value, label) => (label && voxels[label] ? value / voxels[label] : 0));
      for (let v = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1) {
          let sum = 0;
          for (let d = 0, voxel = u * du + v * dv; d < depth; d += 1, voxel += dd) sum += spread[labels[voxel]];
          sums[v * width + u] = sum;
        }
      }
      return sums;
    };
    const drawGlass = (plane) => {
      const [width, height] = size(plane);
      if (!plane.solid) plane.solid = silhouette(plane, width, height);
      if (plane.drawn !== `${state.measure} ${state.threshold}`) {
        plane.image = plane.brush.pixels.createImageData(width, height);
        const sums = look(plane, width, height);
        const sizes = sums.map(Math.abs).filter((value) => value > 0).sort();
        const most = sizes.length ? sizes[Math.floor(0.99 * (sizes.length - 1))] : 1;
        for (let v = 0; v < height; v += 1) {
          for (let u = 0; u < width; u += 1) {
            const i = v * width + u;
            blend(plane.image.data, 4 * ((height - 1 - v) * width + u), plane.solid[i], (sums[i] / most) * state.most, 0.7);
          }
        }
        plane.drawn = `${state.measure} ${state.threshold}`;
      }
      finish(plane, plane.image, width, height, 22);
    };
    const silhouette = (plane, width, height) => {
      const [du, dv, dd] = [strides[plane.across], strides[plane.up], strides[plane.axis]];
      const solid = new Uint8Array(width * height);
      for (let v = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1) {
          for (let d = 0, voxel = u * du + v * dv; d < facts.shape[plane.axis]; d += 1, voxel += dd) {
            if (grey[voxel] || labels[voxel]) { solid[v * width + u] = 1; break; }
          }
        }
      }
      const at = (u, v) => (u < 0 || v < 0 || u >= width || v >= height ? 0 : solid[v * width + u]);
      return Uint8Array.from(solid, (inside, i) => {
        const [u, v] = [i % width, Math.floor(i / width)];
        if (!inside) return 0;
        return at(u - 1, v) && at(u + 1, v) && at(u, v - 1) && at(u, v + 1) ? 38 : 170;
      });
    };

    const place = (at) => at[0] + nx * (at[1] + ny * at[2]);
    const nameOf = (label) => (label ? facts.regions[label - 1] : "no region");
    const readout = () => {
      const measure = facts.measures[state.measure];
      const label = labels[place(state.at)];
      const value = label ? measure.values[label - 1] : null;
      const spot = state.at.map((voxel, i) => `${"xyz"[i]} ${written(facts.origin[i] + voxel * facts.step[i], 0)}`);
      const number = value === null ? "" : `: ${value > 0 && measure.signed ? "+" : ""}${written(value, state.digits)} ${measure.unit}`;
      const mark = label && signed() && facts.marks[label - 1] ? ` (${facts.marks[label - 1]})` : "";
      part("where").textContent = `${nameOf(label)}${number}`.trim() + mark;
      part("position").textContent = `${spot.join(", ")} mm`;
      part("region").value = label ? String(label) : "";
    };
    let waiting = false;
    const draw = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        planes.forEach(drawPlane);
        glasses.forEach(drawGlass);
        root.dataset.ready = "true";
      });
    };
    const move = (at) => {
      state.at = at.map((value, i) => Math.min(Math.max(Math.round(value), 0), facts.shape[i] - 1));
      for (const plane of planes) {
        plane.slider.value = String(state.at[plane.axis]);
        const mm = facts.origin[plane.axis] + state.at[plane.axis] * facts.step[plane.axis];
        plane.slider.setAttribute("aria-valuetext", `${"xyz"[plane.axis]} ${written(mm, 0)} mm`);
      }
      readout();
      draw();
    };

    const limit = part("threshold");
    const choose = () => {
      const measure = facts.measures[state.measure];
      const sizes = measure.values.filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
      const hidden = Math.min(Number(limit.value), sizes.length - 1);
      state.most = sizes[sizes.length - 1] || 1;
      state.digits = decimals(state.most);
      state.threshold = hidden > 0 ? sizes[hidden] : 0;
      state.shown = Float32Array.from([0, ...measure.values.map((value) => (
        value !== null && Math.abs(value) >= state.threshold ? value : 0))]);
      const count = state.shown.reduce((sum, value) => sum + (value !== 0), 0);
      const least = `${written(state.threshold, state.digits)} ${measure.unit}`.trim();
      const text = `${count} of ${sizes.length} regions${state.threshold ? `, at least ${least} in size` : ""}`;
      part("shown").textContent = text;
      limit.setAttribute("aria-valuetext", text);
      const ends = [measure.signed ? -state.most : 0, state.most].map((value) => written(value, state.digits));
      part("low").textContent = ends[0];
      part("high").textContent = `${measure.signed ? "+" : ""}${ends[1]} ${measure.unit}`.trim();
      root.dataset.scale = measure.signed ? "signed" : "plain";
      readout();
      draw();
    };

    for (const [i, measure] of facts.measures.entries()) part("measure").append(new Option(measure.title, String(i)));
    part("measure").addEventListener("change", (event) => { state.measure = Number(event.target.value); choose(); });
    const first = facts.measures[0].values;
    const order = facts.regions.map((name, i) => i).filter((i) => facts.centres[i] && first[i] !== null)
      .sort((a, b) => Math.abs(first[b]) - Math.abs(first[a]));
    part("region").append(new Option("no region", ""), ...order.map((i) => new Option(facts.regions[i], String(i + 1))));
    part("region").addEventListener("change", (event) => {
      if (event.target.value) move(facts.centres[Number(event.target.value) - 1]);
    });
    limit.max = String(Math.max(order.length - 1, 0));
    limit.value = String(Math.max(order.length - 20, 0));
    limit.addEventListener("input", choose);
    for (const plane of planes) {
      plane.slider.max = String(facts.shape[plane.axis] - 1);
      plane.slider.addEventListener("input", () => {
        const at = state.at.slice();
        at[plane.axis] = Number(plane.slider.value);
        move(at);
      });
    }
    for (const plane of [...planes, ...glasses]) {
      const point = (event) => {
        const box = plane.canvas.getBoundingClientRect();
        const at = state.at.slice();
        at[plane.across] = ((event.clientX - box.left) / box.width) * facts.shape[plane.across] - 0.5;
        at[plane.up] = (1 - (event.clientY - box.top) / box.height) * facts.shape[plane.up] - 0.5;
        move(at);
      };
      plane.canvas.addEventListener("pointerdown", (event) => { plane.canvas.setPointerCapture(event.pointerId); point(event); });
      plane.canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    }
    // A region's name in the table beside shows the region.
    const table = document.getElementById(root.dataset.table);
    const numbers = new Map(facts.regions.map((name, i) => [name, i]));
    if (table) {
      table.classList.add("points");
      table.tBodies[0].addEventListener("click", (event) => {
        const row = event.target.closest("tr");
        const i = row && numbers.get(row.cells[0].textContent.trim());
        if (i !== undefined && facts.centres[i]) move(facts.centres[i]);
      });
    }
    choose();
    if (order.length) move(facts.centres[order[0]]);
    else move(state.at);
  };

  const open = async (root) => {
    try {
      const [grey, labels] = await Promise.all([inflate(root.dataset.grey), inflate(root.dataset.labels)]);
      root.querySelector("[data-part=body]").hidden = false;
      start(root, JSON.parse(root.dataset.facts), new Uint8Array(grey), new Uint16Array(labels));
    } catch {
      root.querySelector("[data-part=sorry]").hidden = false;
    }
  };
  // Unpacked when it comes into view: a page of many sessions opens at once.
  const roots = Array.from(document.querySelectorAll("[data-viewer]"));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      open(entry.target);
    }
  }, { rootMargin: "600px 0px" });
  for (const root of roots) observer.observe(root);
  addEventListener("beforeprint", () => { for (const root of roots) root.classList.toggle("unopened", !root.dataset.ready); });
})();
