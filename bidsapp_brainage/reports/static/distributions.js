"use strict";
// One plot per quality metric: a dot for every scan, the box of the middle half, and who it is.
(() => {
  const root = document.querySelector("[data-distributions]");
  if (!root || !cohort) return;
  const { data, value, shown, columns, badge } = cohort;
  const REACH = 9; // pixels around a dot that belong to it
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const quantile = (sorted, share) => {
    const at = share * (sorted.length - 1);
    const low = sorted[Math.floor(at)];
    return low + (sorted[Math.ceil(at)] - low) * (at % 1);
  };
  // Sideways by how many share the value, in an order that is the same every time.
  const sideways = (points, low, span) => {
    const BINS = 40;
    const bins = Array.from({ length: BINS }, () => []);
    for (const point of points) bins[Math.min(Math.floor((point.value - low) / span * BINS), BINS - 1)].push(point);
    const most = Math.max(...bins.map((bin) => bin.length));
    for (const bin of bins) {
      bin.forEach((point, k) => {
        const width = Math.min(bin.length / Math.max(most, 6), 1);
        point.x = ((((k * 0.618034) % 1) - 0.5) * width);
      });
    }
  };
  const plots = [];
  const build = (key) => {
    const points = data.scan.flatMap((_, i) => (typeof value(key, i) === "number" ? [{ i, value: value(key, i) }] : []));
    if (!points.length) return null;
    points.sort((a, b) => a.value - b.value);
    points.forEach((point, at) => { point.at = at; });
    const sorted = points.map((point) => point.value);
    const others = data.reference[key] ?? [];
    const [low, high] = [Math.min(sorted[0], ...others), Math.max(sorted.at(-1), ...others)];
    const span = high - low || Math.abs(high) || 1;
    sideways(points, low, span);
    const column = columns.get(key);
    const figure = document.createElement("figure");
    figure.className = "distribution";
    const title = document.createElement("figcaption");
    title.textContent = column.title + (column.unit ? ` (${column.unit})` : "");
    if (column.help) title.title = column.help;
    const canvas = document.createElement("canvas");
    canvas.dataset.metric = key;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "slider");
    canvas.setAttribute("aria-label", `${title.textContent}, scans in order of the value`);
    canvas.setAttribute("aria-valuemin", "1");
    canvas.setAttribute("aria-valuemax", String(points.length));
    const foot = document.createElement("p");
    const words = (number) => Number(number.toPrecision(4)).toString().replace("-", "\u2212");
    foot.textContent = `median ${words(quantile(sorted, 0.5))}, middle 90 % ${words(quantile(sorted, 0.05))} to ${words(quantile(sorted, 0.95))}`;
    figure.append(title, canvas, foot);
    const plot = { key, points, sorted, low, span, others, flat: low === high, canvas, at: -1, drawn: false };
    listen(plot);
    say(plot, Math.floor((points.length - 1) / 2));
    return plot;
  };
  const text = (plot, point) => {
    const share = Math.round(100 * (point.at + 0.5) / plot.points.length);
    return `${data.scan[point.i]}: ${shown(plot.key, point.i)}, larger than ${share} % of ${plot.points.length}`;
  };
  const say = (plot, at) => {
    plot.canvas.setAttribute("aria-valuenow", String(at + 1));
    plot.canvas.setAttribute("aria-valuetext", text(plot, plot.points[at]));
  };
  const where = (plot, point) => {
    const { clientWidth: width, clientHeight: height } = plot.canvas;
    const y = height - 14 - (point.value - plot.low) / plot.span * (height - 28);
    return [width * (0.47 + 0.76 * point.x), plot.flat ? height / 2 : y];
  };
  const draw = (plot) => {
    const { canvas } = plot;
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const height = (share) => where(plot, { x: 0, value: quantile(plot.sorted, share) })[1];
    const width = canvas.clientWidth;
    pen.strokeStyle = style("--muted");
    pen.fillStyle = style("--line");
    pen.fillRect(width * 0.31, height(0.75), width * 0.32, height(0.25) - height(0.75));
    const colours = { ok: style("--ok"), warn: style("--warn"), bad: style("--bad"), "": style("--muted") };
    const size = plot.points.length > 400 ? 1.7 : 2.8;
    const dot = (point, radius) => {
      const [x, y] = where(plot, point);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
    };
    for (const kept of [false, true]) {
      pen.globalAlpha = kept ? 0.8 : 0.15;
      for (const point of plot.points) {
        if (cohort.inOrder(point.i) !== kept) continue;
        pen.fillStyle = colours[badge(point.i)];
        dot(point, badge(point.i) === "ok" ? size : size * 1.35);
      }
    }
    pen.globalAlpha = 1;
    if (plot.others.length) {
      const [from, middle, to] = plot.others.map((other) => where(plot, { x: 0, value: other })[1]);
      pen.fillStyle = style("--accent");
      pen.fillRect(width * 0.93 - 1.5, to, 3, from - to);
      pen.fillRect(width * 0.93 - 6, middle - 1.5, 12, 3);
    }
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(width * 0.31, height(0.5));
    pen.lineTo(width * 0.63, height(0.5));
    pen.stroke();
    for (const point of plot.points.filter((other) => other.i === lit || other.i === cohort.current())) {
      pen.fillStyle = style("--focus");
      dot(point, 5);
    }
    plot.drawn = true;
  };
  let lit = -1;
  const nearest = (plot, x, y) => {
    let best = null;
    let least = REACH ** 2;
    for (const point of plot.points) {
      const [px, py] = where(plot, point);
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far <= least) { best = point; least = far; }
    }
    return best;
  };
  const light = (plot, point) => {
    const next = point ? point.i : -1;
    if (next !== lit) {
      lit = next;
      for (const other of plots) if (other.inView) draw(other);
    }
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = text(plot, point);
    const box = plot.canvas.getBoundingClientRect();
    const [x, y] = where(plot, point);
    const own = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(Math.max(box.left + x - own.width / 2, 6), innerWidth - own.width - 6) + scrollX}px`;
    tip.style.top = `${box.top + y - own.height - 10 + scrollY}px`;
  };
  const open = (point) => {
    if (!point) return;
    if (data.page[point.i]) location.href = data.page[point.i];
    else cohort.choose(point.i);
  };
  const listen = (plot) => {
    const { canvas } = plot;
    canvas.addEventListener("pointermove", (event) => light(plot, nearest(plot, event.offsetX, event.offsetY)));
    canvas.addEventListener("pointerleave", () => light(plot, null));
    canvas.addEventListener("click", (event) => open(nearest(plot, event.offsetX, event.offsetY)));
    canvas.addEventListener("blur", () => light(plot, null));
    canvas.addEventListener("keydown", (event) => {
      const last = plot.points.length - 1;
      const goal = {
        ArrowUp: plot.at + 1, ArrowRight: plot.at + 1, ArrowDown: plot.at - 1, ArrowLeft: plot.at - 1,
        PageUp: plot.at + 10, PageDown: plot.at - 10, Home: 0, End: last,
      }[event.key];
      if (event.key === "Enter") open(plot.points[plot.at]);
      else if (event.key === "Escape") light(plot, null);
      if (goal === undefined) return;
      event.preventDefault();
      plot.at = plot.at < 0 ? Math.floor(last / 2) : Math.min(Math.max(goal, 0), last);
      say(plot, plot.at);
      light(plot, plot.points[plot.at]);
    });
  };
  for (const key of data.metrics) {
    const plot = build(key);
    if (plot) { plots.push(plot); root.append(plot.canvas.parentElement); }
  }
  const redraw = () => { for (const plot of plots) if (plot.inView) draw(plot); else plot.drawn = false; };
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const plot = plots.find((other) => other.canvas === target);
      plot.inView = isIntersecting;
      if (isIntersecting && !plot.drawn) draw(plot);
    }
  }, { rootMargin: "200px" });
  for (const plot of plots) watch.observe(plot.canvas);
  document.addEventListener("cohort-order", redraw);
  document.addEventListener("cohort-scan", redraw);
  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  addEventListener("beforeprint", () => { for (const plot of plots) draw(plot); });
})();
