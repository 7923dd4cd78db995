"use strict";
// Points of figures: say who they are, light up in all figures, and lead to the person's page.
(() => {
  const all = Array.from(document.querySelectorAll("svg .point"));
  if (!all.length) return;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  const twins = new Map();
  for (const point of all) twins.set(point.dataset.key, [...(twins.get(point.dataset.key) || []), point]);

  const show = (point) => {
    tip.textContent = point.dataset.tip;
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(box.left + box.width / 2 - own.width / 2, 6), innerWidth - own.width - 6);
    const above = box.top - own.height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : box.bottom + 8) + scrollY}px`;
    for (const twin of twins.get(point.dataset.key)) twin.classList.add("on");
  };
  const hide = () => {
    tip.hidden = true;
    for (const point of document.querySelectorAll(".point.on")) point.classList.remove("on");
  };
  // One stop for the tab key per figure; arrows walk from left to right.
  for (const svg of new Set(all.map((point) => point.ownerSVGElement))) {
    const points = Array.from(svg.querySelectorAll(".point"));
    const middle = (point) => point.getBoundingClientRect().left;
    const order = points.map((point) => [middle(point), point]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
    order.forEach((point, i) => {
      point.setAttribute("tabindex", i === 0 ? "0" : "-1");
      point.addEventListener("pointerenter", () => show(point));
      point.addEventListener("pointerleave", hide);
      point.addEventListener("focus", () => show(point));
      point.addEventListener("blur", hide);
      point.addEventListener("keydown", (event) => {
        if (event.key === "Escape") { hide(); return; }
        const goal = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: order.length - 1 }[event.key];
        if (goal === undefined || !order[goal]) return;
        event.preventDefault();
        for (const other of order) other.setAttribute("tabindex", "-1");
        order[goal].setAttribute("tabindex", "0");
        order[goal].focus();
      });
    });
  }
})();
