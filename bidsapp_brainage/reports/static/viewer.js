"use strict";
// Slices of a scan or a group to look through: three planes, what lies over them, a glass brain.
(() => {
  const AXES = [
    { name: "sagittal", across: 1, up: 2, ends: ["P", "A", "I", "S"] },
    { name: "coronal", across: 0, up: 2, ends: ["L", "R", "I", "S"] },
    { name: "axial", across: 0, up: 1, ends: ["L", "R", "P", "A"] },
  ];
  const DOTS_PER_MM = 4;
  const MOST_DOTS = 1000;
  const ZOOMS = [1, 1.5, 2, 3, 4, 6];
  const FAR = 10; // voxels of a step with the shift key
  const MASK_COLOUR = "#ff4d4d"; // as in the pictures of slices
  const GLASS_GREY = 38;
  const USUAL = { regions: 100, segmentation: 50, none: 100 }; // opacity, in percent
  const OVERLAYS = { regions: "contributions", segmentation: "segmentation", none: "nothing" };
  const SIDES = "brain-sides"; // all viewers of a page show the same side on the left

  const written = (value, digits) => {
    const text = Math.abs(value).toFixed(digits);
    return (value < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
  };
  const decimals = (most) => Math.min(Math.max(2 - Math.floor(Math.log10(most || 1)), 2), 6);
  const range = (value, low, high) => Math.min(Math.max(value, low), high);

  // Position of the region of every voxel in the list of a layer, from 1; 0 outside.
  const positions = (labels, layer) => {
    const most = labels.reduce((largest, label) => Math.max(largest, label), 0);
    const table = new Uint16Array(most + 1);
    layer.indices.forEach((label, i) => { if (label <= most) table[label] = i + 1; });
    return Uint16Array.from(labels, (label) => table[label]);
  };
  const rgb = (codes) => Uint8Array.from(codes.flatMap((code) => [1, 3, 5].map((i) => parseInt(code.slice(i, i + 2), 16))));

  const start = (root, facts, data) => {
    const { shape, sizes } = facts;
    const strides = [1, shape[0], shape[0] * shape[1]];
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    const place = (at) => at[0] + strides[1] * at[1] + strides[2] * at[2];
    const tables = { signed: brainPainting.unpackTable(facts.colours.signed), plain: brainPainting.unpackTable(facts.colours.plain) };
    const segmentColours = facts.segmentation && rgb(facts.segmentation.colours);
    const { grey, mask } = data;
    const brightness = new Float32Array(256);
    const levelOf = (value) => (facts.grey.step ? 1 + (value - facts.grey.least) / facts.grey.step : value);
    const [black, white] = [levelOf(facts.grey.black), levelOf(facts.grey.white)];
    for (let level = 1; level < 256; level += 1) brightness[level] = range((255 * (level - black)) / (white - black), 0, 255);

    const planes = AXES.map((axis, i) => ({ ...axis, axis: i, canvas: part(axis.name), slider: part(`${axis.name}-at`) }));
    const glasses = facts.regions ? AXES.map((axis, i) => ({ ...axis, axis: i, canvas: part(`glass-${axis.name}`) })) : [];
    const state = {
      at: shape.map((size) => size >> 1), overlay: facts.regions ? "regions" : facts.segmentation ? "segmentation" : "none",
      measure: 0, threshold: 0, most: 1, digits: 2, opacity: 1, zoom: 1, outlined: !facts.regions,
      radiological: document.documentElement.dataset.sides === "radiological", shown: new Float32Array(1),
    };
    const layer = () => facts[state.overlay];
    const labels = () => data[state.overlay];
    const measure = () => facts.regions.measures[state.measure];
    const table = () => (measure().signed ? tables.signed : tables.plain);

    // --- where voxels lie on the screen -------------------------------------------------------
    for (const plane of [...planes, ...glasses]) {
      plane.size = [shape[plane.across], shape[plane.up]];
      const extent = [plane.size[0] * sizes[plane.across], plane.size[1] * sizes[plane.up]];
      const dots = Math.min(DOTS_PER_MM, MOST_DOTS / Math.max(...extent));
      plane.canvas.width = Math.round(extent[0] * dots);
      plane.canvas.height = Math.round(extent[1] * dots);
      plane.context = plane.canvas.getContext("2d");
      plane.small = document.createElement("canvas");
      [plane.small.width, plane.small.height] = plane.size;
      plane.pixels = plane.small.getContext("2d");
      plane.corner = [0, 0];
    }
    const flipped = (plane) => plane.across === 0 && state.radiological;
    // Shares of the whole plane, from the left and from the top.
    const shares = (plane, u, v) => {
      const across = (u + 0.5) / plane.size[0];
      return [flipped(plane) ? 1 - across : across, 1 - (v + 0.5) / plane.size[1]];
    };
    const zoomOf = (plane) => (plane.slider ? state.zoom : 1);
    const toScreen = (plane) => (u, v) => shares(plane, u, v).map((share, i) => (
      (share - plane.corner[i]) * zoomOf(plane) * [plane.canvas.width, plane.canvas.height][i]));
    const toVoxel = (plane, event) => {
      const box = plane.canvas.getBoundingClientRect();
      const seen = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      let [across, down] = seen.map((share, i) => share / zoomOf(plane) + plane.corner[i]);
      if (flipped(plane)) across = 1 - across;
      const at = state.at.slice();
      at[plane.across] = across * plane.size[0] - 0.5;
      at[plane.up] = (1 - down) * plane.size[1] - 0.5;
      return at.map((value, i) => range(Math.round(value), 0, shape[i] - 1));
    };
    // The cross stays in sight: where it would leave, it comes to the middle.
    const follow = (plane) => {
      const cross = shares(plane, state.at[plane.across], state.at[plane.up]);
      const part_ = 1 / zoomOf(plane);
      plane.corner = plane.corner.map((corner, i) => {
        const seen = cross[i] > corner && cross[i] < corner + part_;
        return range(seen ? corner : cross[i] - part_ / 2, 0, 1 - part_);
      });
    };

    // --- painting -----------------------------------------------------------------------------
    const finish = (plane, cross) => {
      const { context, canvas, small } = plane;
      const part_ = 1 / zoomOf(plane);
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(
        small, plane.corner[0] * small.width, plane.corner[1] * small.height, part_ * small.width, part_ * small.height,
        0, 0, canvas.width, canvas.height,
      );
      const dot = canvas.width / (canvas.clientWidth || canvas.width);
      plane.dot = dot;
      const [x, y] = toScreen(plane)(state.at[plane.across], state.at[plane.up]);
      context.strokeStyle = `rgb(255 255 255 / ${cross}%)`;
      context.lineWidth = dot;
      context.beginPath();
      context.moveTo(x, 0); context.lineTo(x, canvas.height);
      context.moveTo(0, y); context.lineTo(canvas.width, y);
      context.stroke();
    };
    const write = (plane) => {
      const { context, canvas, dot } = plane;
      const [left, right] = flipped(plane) ? [plane.ends[1], plane.ends[0]] : plane.ends;
      context.font = `600 ${13 * dot}px system-ui, sans-serif`;
      context.fillStyle = "#fff";
      context.strokeStyle = "#000";
      context.lineWidth = 3 * dot;
      context.textBaseline = "middle";
      const put = (text, x, y, align) => {
        context.textAlign = align;
        context.strokeText(text, x, y);
        context.fillText(text, x, y);
      };
      put(left, 4 * dot, canvas.height / 2, "left");
      put(right, canvas.width - 4 * dot, canvas.height / 2, "right");
      put(plane.ends[3], canvas.width / 2, 9 * dot, "center");
      put(plane.ends[2], canvas.width / 2, canvas.height - 9 * dot, "center");
      plane.canvas.dataset.sides = left + right;
    };
    const lineOf = (plane, colour, thick, inside) => {
      const [width, height] = plane.size;
      const field = new Float32Array(width * height);
      const base = plane.slider ? state.at[plane.axis] * strides[plane.axis] : 0;
      for (let v = 0, i = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1, i += 1) field[i] = inside(base + u * strides[plane.across] + v * strides[plane.up], i);
      }
      brainPainting.drawOutline(plane.context, field, width, height, toScreen(plane), colour, thick * plane.dot);
    };
    const stripe = (plane, u, v) => Math.floor((u * sizes[plane.across] + v * sizes[plane.up]) / facts.stripe) % 2 === 1;
    const paintRegion = (pixels, spot, base, label, gap) => {
      const value = gap ? 0 : state.shown[label];
      brainPainting.paint(pixels, spot, base, value / state.most, table(), state.opacity);
    };
    const striped = (label) => label > 0 && measure().signed && facts.regions.marks[label - 1] !== "";
    const drawPlane = (plane) => {
      follow(plane);
      const [width, height] = plane.size;
      const image = plane.pixels.createImageData(width, height);
      const base = state.at[plane.axis] * strides[plane.axis];
      const over = labels();
      const flip = flipped(plane);
      for (let v = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1) {
          const voxel = base + u * strides[plane.across] + v * strides[plane.up];
          const spot = 4 * ((height - 1 - v) * width + (flip ? width - 1 - u : u));
          const light = brightness[grey[voxel]];
          const label = over ? over[voxel] : 0;
          if (state.overlay === "regions") paintRegion(image.data, spot, light, label, striped(label) && stripe(plane, u, v));
          else if (label) brainPainting.blend(image.data, spot, light, segmentColours, 3 * (label - 1), 2 * facts.paint * state.opacity);
          else brainPainting.blend(image.data, spot, light, [0, 0, 0], 0, 0);
        }
      }
      plane.pixels.putImageData(image, 0, 0);
      finish(plane, 35);
      if (state.outlined && mask) lineOf(plane, MASK_COLOUR, 1.5, (voxel) => mask[voxel]);
      const chosen = over ? over[place(state.at)] : 0;
      if (chosen) lineOf(plane, "rgb(255 255 255 / 85%)", 1.5, (voxel) => (over[voxel] === chosen ? 1 : 0));
      write(plane);
    };
    // Mean over the brain along each line of sight, and without the regions that are striped: in the
    // unit and the colours of the regions themselves. The largest value would show the thin shell of
    // fluid around the brain and little else.
    const project = (plane) => {
      const [width, height] = plane.size;
      const seen = { mean: new Float32Array(width * height), stable: new Float32Array(width * height), solid: new Uint8Array(width * height) };
      const stable = state.shown.map((value, label) => (striped(label) ? 0 : value));
      for (let v = 0, i = 0; v < height; v += 1) {
        for (let u = 0; u < width; u += 1, i += 1) {
          let [sum, sure, depth] = [0, 0, 0];
          for (let d = 0, voxel = u * strides[plane.across] + v * strides[plane.up]; d < shape[plane.axis]; d += 1, voxel += strides[plane.axis]) {
            const label = data.regions[voxel];
            if (!label && !(mask && mask[voxel])) continue;
            sum += state.shown[label];
            sure += stable[label];
            depth += 1;
          }
          if (!depth) continue;
          [seen.mean[i], seen.stable[i], seen.solid[i]] = [sum / depth, sure / depth, 1];
        }
      }
      return seen;
    };
    const drawGlass = (plane) => {
      const key = [state.measure, state.threshold, state.opacity, flipped(plane)].join(" ");
      const [width, height] = plane.size;
      if (plane.drawn !== key) {
        plane.seen = project(plane);
        const image = plane.pixels.createImageData(width, height);
        for (let v = 0, i = 0; v < height; v += 1) {
          for (let u = 0; u < width; u += 1, i += 1) {
            const spot = 4 * ((height - 1 - v) * width + (flipped(plane) ? width - 1 - u : u));
            const value = (stripe(plane, u, v) ? plane.seen.stable : plane.seen.mean)[i];
            brainPainting.paint(image.data, spot, plane.seen.solid[i] ? GLASS_GREY : 0, value / state.most, table(), state.opacity);
          }
        }
        plane.pixels.putImageData(image, 0, 0);
        plane.drawn = key;
      }
      finish(plane, 25);
      lineOf(plane, "rgb(255 255 255 / 60%)", 1, (voxel, i) => plane.seen.solid[i]);
      write(plane);
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

    // --- words --------------------------------------------------------------------------------
    const millimetres = (at) => facts.affine.map((row) => row[3] + at.reduce((sum, voxel, i) => sum + row[i] * voxel, 0));
    const intensity = (level) => {
      const { least, step, last } = facts.grey;
      const digits = Math.max(-Math.floor(Math.log10(step)), 0);
      return `intensity ${level === last ? "\u2265 " : ""}${written(least + step * (level - 1), digits)}`;
    };
    const contribution = (label) => {
      const value = label ? measure().values[label - 1] : null;
      if (value === null) return "";
      const mark = measure().signed && facts.regions.marks[label - 1] ? ` (${facts.regions.marks[label - 1]})` : "";
      return `: ${value > 0 && measure().signed ? "+" : ""}${written(value, state.digits)} ${measure().unit}`.trimEnd() + mark;
    };
    const named = (kind, at) => {
      const label = facts[kind] ? data[kind][place(at)] : 0;
      return label ? facts[kind].names[label - 1] : "";
    };
    const tell = (at) => {
      const voxel = place(at);
      const label = labels() ? labels()[voxel] : 0;
      const name = layer() ? named(state.overlay, at) || "no region" : "";
      part("where").textContent = name + (state.overlay === "regions" ? contribution(label) : "");
      const details = [];
      if (facts.grey.step && grey[voxel]) details.push(intensity(grey[voxel]));
      if (facts.grey.step && !grey[voxel]) details.push("too far from the brain to be in this page");
      if (state.overlay !== "segmentation" && named("segmentation", at)) details.push(named("segmentation", at));
      if (mask) details.push(mask[voxel] ? "inside the mask" : "outside the mask");
      part("details").textContent = details.join(" \u00b7 ");
      const spot = millimetres(at).map((value, i) => `${"xyz"[i]} ${written(value, 0)}`).join(", ");
      const index = at.map((value, i) => facts.first[i] + facts.thin * value).join(", ");
      part("position").textContent = `${spot} mm${facts.grey.step ? `, voxel ${index}` : ""}`;
    };
    const move = (at) => {
      state.at = at.map((value, i) => range(Math.round(value), 0, shape[i] - 1));
      for (const plane of planes) {
        plane.slider.value = String(state.at[plane.axis]);
        plane.slider.setAttribute("aria-valuetext", `${"xyz"[plane.axis]} ${written(millimetres(state.at)[plane.axis], 0)} mm`);
      }
      const label = labels() ? labels()[place(state.at)] : 0;
      part("region").value = label ? String(label) : "";
      tell(state.at);
      draw();
    };

    // --- what is chosen -----------------------------------------------------------------------
    const limit = part("threshold");
    const choose = () => {
      const known = measure().values.filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
      const hidden = Math.min(Number(limit.value), known.length - 1);
      state.most = known[known.length - 1] || 1;
      state.digits = decimals(state.most);
      state.threshold = hidden > 0 ? known[hidden] : 0;
      state.shown = Float32Array.from([0, ...measure().values.map((value) => (
        value !== null && Math.abs(value) >= state.threshold ? value : 0))]);
      const count = state.shown.reduce((sum, value) => sum + (value !== 0), 0);
      const least = `${written(state.threshold, state.digits)} ${measure().unit}`.trim();
      const text = `${count} of ${known.length} regions${state.threshold ? `, at least ${least} in size` : ""}`;
      part("shown").textContent = text;
      limit.setAttribute("aria-valuetext", text);
      const ends = [measure().signed ? -state.most : 0, state.most].map((value) => written(value, state.digits));
      part("low").textContent = ends[0];
      part("high").textContent = `${measure().signed ? "+" : ""}${ends[1]} ${measure().unit}`.trim();
      root.dataset.scale = measure().signed ? "signed" : "plain";
    };
    const shade = () => {
      state.opacity = Number(part("opacity").value) / 100;
      if (facts.regions) brainPainting.legend(part("ramp"), table(), facts.legend_grey, state.opacity, measure().signed);
      draw();
    };
    const order = () => {
      const present = layer().names.map((name, i) => i).filter((i) => layer().centres[i]);
      if (state.overlay === "segmentation") return present.sort((a, b) => layer().names[a].localeCompare(layer().names[b]));
      const first = facts.regions.measures[0].values;
      return present.filter((i) => first[i] !== null).sort((a, b) => Math.abs(first[b]) - Math.abs(first[a]));
    };
    const lay = (overlay) => {
      state.overlay = overlay;
      part("overlay").value = overlay;
      part("opacity").value = String(USUAL[overlay]);
      for (const item of root.querySelectorAll("[data-for]")) item.hidden = item.dataset.for !== overlay;
      part("region-dial").hidden = overlay === "none";
      const entries = layer() ? order().map((i) => new Option(layer().names[i], String(i + 1))) : [];
      part("region").replaceChildren(new Option("no region", ""), ...entries);
      shade();
      move(state.at);
    };
    const turn = (radiological) => {
      document.documentElement.dataset.sides = radiological ? "radiological" : "neurological";
      document.dispatchEvent(new CustomEvent(SIDES));
    };
    const showSides = () => {
      state.radiological = document.documentElement.dataset.sides === "radiological";
      part("sides").setAttribute("aria-pressed", String(state.radiological));
      draw();
    };
    const magnify = (step) => {
      state.zoom = ZOOMS[range(ZOOMS.indexOf(state.zoom) + step, 0, ZOOMS.length - 1)];
      for (const plane of planes) plane.corner = [-1, -1]; // around the cross again
      part("zoom").textContent = `${state.zoom} \u00d7`;
      draw();
    };
    const outline = (on) => {
      state.outlined = on;
      part("outlined").checked = on;
      draw();
    };

    // --- mouse, touch and keys ----------------------------------------------------------------
    const keys = (plane) => ({
      ArrowLeft: [plane.across, flipped(plane) ? 1 : -1], ArrowRight: [plane.across, flipped(plane) ? -1 : 1],
      ArrowDown: [plane.up, -1], ArrowUp: [plane.up, 1], PageDown: [plane.axis, -1], PageUp: [plane.axis, 1],
    });
    const actions = { // letters that rate a scan are others
      s: () => turn(!state.radiological), e: () => mask && outline(!state.outlined),
      "+": () => magnify(1), "=": () => magnify(1), "-": () => magnify(-1),
    };
    const press = (plane, event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = keys(plane)[event.key];
      const action = actions[event.key];
      if (!step && !action) return;
      event.preventDefault();
      event.stopPropagation();
      if (action) { action(); return; }
      const at = state.at.slice();
      at[step[0]] += step[1] * (event.shiftKey ? FAR : 1);
      move(at);
    };
    for (const plane of planes) {
      plane.slider.max = String(shape[plane.axis] - 1);
      plane.slider.addEventListener("input", () => {
        const at = state.at.slice();
        at[plane.axis] = Number(plane.slider.value);
        move(at);
      });
      plane.canvas.addEventListener("keydown", (event) => press(plane, event));
      plane.canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return; // two fingers on a touchpad; the plain wheel scrolls the page
        event.preventDefault();
        magnify(event.deltaY < 0 ? 1 : -1);
      }, { passive: false });
    }
    for (const plane of [...planes, ...glasses]) {
      plane.canvas.addEventListener("pointerdown", (event) => {
        plane.canvas.setPointerCapture(event.pointerId);
        move(toVoxel(plane, event));
      });
      plane.canvas.addEventListener("pointermove", (event) => {
        if (event.buttons) move(toVoxel(plane, event));
        else if (plane.slider) tell(toVoxel(plane, event));
      });
      plane.canvas.addEventListener("pointerleave", () => tell(state.at));
    }

    // --- dials --------------------------------------------------------------------------------
    for (const [kind, title] of Object.entries(OVERLAYS)) {
      if (kind === "none" || facts[kind]) part("overlay").append(new Option(title, kind));
    }
    part("overlay").addEventListener("change", (event) => lay(event.target.value));
    part("opacity").addEventListener("input", shade);
    part("region").addEventListener("change", (event) => {
      if (event.target.value) move(layer().centres[Number(event.target.value) - 1]);
    });
    part("outlined-dial").hidden = !mask;
    part("outlined").addEventListener("change", (event) => outline(event.target.checked));
    part("sides").addEventListener("click", () => turn(!state.radiological));
    document.addEventListener(SIDES, showSides);
    part("closer").addEventListener("click", () => magnify(1));
    part("farther").addEventListener("click", () => magnify(-1));
    part("large").addEventListener("click", () => {
      const large = root.classList.toggle("large");
      part("large").setAttribute("aria-pressed", String(large));
      draw();
    });
    outline(state.outlined);
    showSides();
    if (facts.regions) {
      for (const [i, entry] of facts.regions.measures.entries()) part("measure").append(new Option(entry.title, String(i)));
      part("measure").addEventListener("change", (event) => { state.measure = Number(event.target.value); choose(); shade(); tell(state.at); });
      const ranked = order();
      limit.max = String(Math.max(ranked.length - 1, 0));
      limit.value = String(Math.max(ranked.length - facts.shown, 0));
      limit.addEventListener("input", () => { choose(); draw(); });
      choose();
      if (ranked.length) state.at = facts.regions.centres[ranked[0]];
      listen(root, facts.regions, (i) => { if (state.overlay !== "regions") lay("regions"); move(facts.regions.centres[i]); });
    }
    lay(state.overlay);
  };

  // A row of the table of regions shows its region.
  const listen = (root, regions, show) => {
    const table = document.getElementById(root.dataset.table);
    if (!table) return;
    const numbers = new Map(regions.names.map((name, i) => [name, i]));
    table.classList.add("points");
    table.tBodies[0].addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      const i = row && numbers.get(row.cells[0].textContent.trim());
      if (i !== undefined && regions.centres[i]) show(i);
    });
  };

  const open = async (root) => {
    try {
      const facts = JSON.parse(root.dataset.facts);
      const load = async (identifier) => (identifier ? packedVolumes.open(identifier, facts.shape) : null);
      const named = async (layer) => (layer ? positions(await load(layer.volume), layer) : null);
      const [grey, mask, segmentation, regions] = await Promise.all([
        load(facts.grey.volume), load(facts.mask), named(facts.segmentation), named(facts.regions),
      ]);
      root.querySelector("[data-part=body]").hidden = false;
      start(root, facts, { grey, mask, segmentation, regions });
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
