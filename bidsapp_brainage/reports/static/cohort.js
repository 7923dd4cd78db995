"use strict";
// All scans: search, filter, sort, choose columns, look through pictures, export. Only the rows that
// are in view exist, so that thousands scroll as well as ten. Nothing is sent.
const cohort = (() => {
  const root = document.querySelector("[data-cohort]");
  if (!root || !ratings) return null;
  const data = JSON.parse(document.getElementById("cohort-data").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const list = part("list");
  const columns = new Map(data.columns.map((column) => [column.key, column]));
  // A draft of this browser counts before what was imported.
  const draft = (i) => ratings.get(data.scan[i]);
  const value = (key, i) => {
    if (key === "scan") return data.scan[i];
    return (key === "rating" ? draft(i).rating : null) ?? data.values[key]?.[i] ?? null;
  };
  const badges = ["ok", "warn", "bad"];
  const badge = (i) => badges[data.levels.indexOf(value("verdict", i))] || "";
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const make = (tag, name = "", text = "") => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== "") element.textContent = text;
    return element;
  };
  const clip = (number) => Number(number.toPrecision(4)).toString();
  const shown = (key, i) => {
    const raw = value(key, i);
    if (raw === null) return "n/a";
    if (typeof raw !== "number") return raw;
    const { digits, signed } = columns.get(key);
    const text = digits === undefined ? clip(raw) : raw.toFixed(digits);
    return (signed && raw > 0 ? `+${text}` : text).replace("-", "\u2212");
  };

  // What is kept while one goes to a person's page and back; local files may forbid it.
  const place = `brainage-cohort:${location.pathname}`;
  const state = {
    words: "", chips: [], key: "scan", direction: 1, view: "table", strip: 0, size: 60,
    visible: data.columns.filter((column) => column.visible).map((column) => column.key),
  };
  try { Object.assign(state, JSON.parse(sessionStorage.getItem(place) || "{}")); } catch { /* none */ }
  const keep = () => { try { sessionStorage.setItem(place, JSON.stringify(state)); } catch { /* none */ } };
  if (!columns.has(state.key)) state.key = "scan";

  // Filters.
  const texts = ["verdict", ...data.columns.filter((c) => c.kind !== "number").map((c) => c.key)];
  const haystack = data.scan.map((scan, i) =>
    [scan, ...new Set(texts.map((key) => value(key, i)))].filter((text) => text !== null).join(" ").toLowerCase());
  const plain = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "");
  const named = new Map(data.columns.flatMap((c) => [[plain(c.title), c.key], [c.key, c.key]]));
  const comparisons = {
    "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };
  const condition = (word) => {
    const match = /^([a-z0-9_]+)(<=|>=|<|>|=)(.*)$/.exec(word);
    const key = match && named.get(match[1]);
    if (!key) return (i) => haystack[i].includes(word);
    if (match[2] === "=") {
      const wanted = match[3];
      return (i) => String(value(key, i) ?? "n/a").toLowerCase() === wanted || shown(key, i).toLowerCase() === wanted;
    }
    const limit = Number(match[3]);
    return (i) => typeof value(key, i) === "number" && match[3] !== "" && comparisons[match[2]](value(key, i), limit);
  };
  const chips = [
    ...data.levels.map((level) => [level, (i) => value("verdict", i) === level]),
    ["failed", (i) => value("step", i) !== null],
    ["not rated", (i) => value("rating", i) === null],
  ];

  // Order: rows without a value stay last in both directions.
  const rank = (key, i) => {
    const raw = value(key, i);
    return key === "verdict" && raw !== null ? data.levels.indexOf(raw) : raw;
  };
  let order = [];
  const placeOf = new Int32Array(data.n);
  let current = -1;
  const arrange = () => {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean).map(condition);
    const wanted = chips.filter(([name]) => state.chips.includes(name));
    // Verdicts are alternatives of each other; the other filters must all hold.
    const levels = wanted.filter(([name]) => data.levels.includes(name));
    const others = wanted.filter(([name]) => !data.levels.includes(name));
    order = [];
    for (let i = 0; i < data.n; i += 1) {
      if (words.every((test) => test(i)) && others.every(([, test]) => test(i))
        && (!levels.length || levels.some(([, test]) => test(i)))) order.push(i);
    }
    const ranks = data.scan.map((_, i) => rank(state.key, i));
    order.sort((a, b) => {
      const [one, two] = [ranks[a], ranks[b]];
      if (one === null || two === null) return (one === null) - (two === null) || a - b;
      const by = typeof one === "number" ? one - two : collator.compare(one, two);
      return state.direction * by || a - b;
    });
    placeOf.fill(-1);
    order.forEach((i, at) => { placeOf[i] = at; });
    part("count").textContent = `${order.length} of ${data.n}`;
    if (current >= 0 && placeOf[current] < 0) choose(-1);
    keep();
    document.dispatchEvent(new CustomEvent("cohort-order"));
  };

  // Pictures: a strip of the file of the scan, as high as wanted.
  const strip = (i, which, height, width) => {
    const box = make("span", "strip");
    box.style.height = `${height}px`;
    box.style.width = `${width}px`;
    box.setAttribute("role", "img");
    const title = part("strip").options[which].textContent;
    box.setAttribute("aria-label", `${title} of ${data.scan[i]}`);
    if (!data.picture[i]) {
      box.classList.add("none");
      box.textContent = "no picture";
      box.setAttribute("aria-label", `No picture of ${data.scan[i]}`);
      return box;
    }
    const row = which === data.strip.input ? data.input[i] : which;
    const scale = height / data.strip.height;
    box.style.backgroundImage = `url("${encodeURI(data.picture[i])}")`;
    box.style.backgroundSize = `${data.strip.width * scale}px auto`;
    box.style.backgroundPosition = `0 ${-row * height}px`;
    return box;
  };
  const link = (i, text) => {
    const element = make(data.page[i] ? "a" : "span", "", text);
    if (data.page[i]) element.href = data.page[i];
    else element.tabIndex = 0;
    element.dataset.item = i;
    return element;
  };

  // The table.
  const ROW = 64;
  const AROUND = 6; // rows outside of the view that exist, too
  const tableHead = () => {
    const head = make("thead");
    const row = head.insertRow();
    const add = (key, title, help, numeric) => {
      const cell = make("th", numeric ? "num" : "");
      cell.scope = "col";
      if (help) cell.title = help;
      if (key === null) { cell.textContent = title; row.append(cell); return; }
      const button = make("button", "sort", title);
      button.type = "button";
      if (state.key === key) cell.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
      button.addEventListener("click", () => sortBy(key, state.key === key ? -state.direction : 1, true));
      button.dataset.key = key;
      cell.append(button);
      row.append(cell);
    };
    add("scan", "Scan", "", false);
    add(null, part("strip").selectedOptions[0].textContent, "", false);
    for (const key of visible()) {
      const column = columns.get(key);
      const unit = column.unit ? ` (${column.unit})` : "";
      add(key, column.title + unit, column.help, column.kind === "number");
    }
    return head;
  };
  const visible = () => data.columns.map((c) => c.key).filter((key) => state.visible.includes(key));
  const tableRow = (i, at) => {
    const row = make("tr");
    row.setAttribute("aria-rowindex", at + 2);
    if (i === current) row.dataset.current = "";
    row.dataset.row = i;
    row.dataset.at = at;
    const head = make("th");
    head.scope = "row";
    head.append(link(i, data.scan[i]));
    row.append(head);
    row.insertCell().append(strip(i, state.strip, ROW - 8, data.strip.lead * (ROW - 8) / data.strip.height));
    for (const key of visible()) {
      const cell = row.insertCell();
      const { kind } = columns.get(key);
      const text = shown(key, i);
      if (kind === "number") cell.className = "num";
      if (text === "n/a") {
        cell.classList.add("na");
        cell.textContent = kind === "number" ? "n/a" : "";
      } else if (key === "rating" && draft(i).rating) {
        cell.textContent = `${text} (draft)`;
        cell.title = ratings.words(draft(i));
      } else if (kind === "level") cell.append(make("span", `badge ${badge(i)}`, text));
      else if (kind === "words") { const box = make("span", "words", text); box.title = text; cell.append(box); }
      else if (kind === "number") cell.textContent = text;
      else cell.append(make("span", "text", text));
    }
    return row;
  };
  let table = null;
  const bodies = [];
  const buildTable = () => {
    table = make("table");
    table.style.setProperty("--row", `${ROW}px`);
    const caption = make("caption", "visually-hidden", "All scans that the filters leave");
    table.append(caption, tableHead());
    bodies.length = 0;
    for (let k = 0; k < 3; k += 1) bodies.push(table.createTBody());
    for (const k of [0, 2]) {
      bodies[k].className = "spacer";
      bodies[k].setAttribute("aria-hidden", "true");
      bodies[k].insertRow().insertCell();
    }
    table.setAttribute("aria-rowcount", order.length + 1);
    list.replaceChildren(table);
  };
  const space = (body, height) => {
    body.rows[0].cells[0].style.height = `${height}px`;
    body.hidden = height === 0;
  };
  const range = (size, per) => {
    const first = Math.max(Math.floor(list.scrollTop / size) - AROUND, 0);
    const last = Math.ceil((list.scrollTop + list.clientHeight) / size) + AROUND;
    return [first * per, Math.min(last * per, order.length)];
  };
  // What is in view already stays; only what comes into view is made.
  const patch = (parent, first, last, create) => {
    const at = (child) => Number(child.dataset.at);
    for (const child of Array.from(parent.children)) {
      if (at(child) < first || at(child) >= last) child.remove();
    }
    for (let k = (parent.firstElementChild ? at(parent.firstElementChild) : last) - 1; k >= first; k -= 1) {
      parent.prepend(create(order[k], k));
    }
    for (let k = parent.lastElementChild ? at(parent.lastElementChild) + 1 : last; k < last; k += 1) {
      parent.append(create(order[k], k));
    }
  };
  const fillTable = (all) => {
    const [first, last] = all ? [0, order.length] : range(ROW, 1);
    space(bodies[0], first * ROW);
    space(bodies[2], Math.max(order.length - last, 0) * ROW);
    patch(bodies[1], first, last, tableRow);
  };

  // The mosaic.
  const UNDER = 26;
  // As many columns as come nearest to the size that is wanted; they fill the width.
  const grid = () => {
    const wanted = data.strip.width * state.size / data.strip.height + 8;
    const across = Math.max(Math.round(list.clientWidth / wanted), 1);
    const width = Math.floor(list.clientWidth / across);
    const high = Math.round((width - 8) * data.strip.height / data.strip.width);
    return { width, high, height: high + UNDER, across };
  };
  let cells = null;
  const buildMosaic = () => {
    cells = make("div", "cells");
    list.replaceChildren(cells);
  };
  const fillMosaic = (all) => {
    const { width, high, height, across } = grid();
    const [first, last] = all ? [0, order.length] : range(height, across);
    cells.style.height = `${Math.ceil(order.length / across) * height}px`;
    patch(cells, first, last, (i, at) => {
      const cell = link(i, "");
      cell.classList.add("cell");
      cell.dataset.row = i;
      cell.dataset.at = at;
      if (i === current) cell.dataset.current = "";
      cell.style.cssText = `left:${(at % across) * width}px;top:${Math.floor(at / across) * height}px;width:${width}px;height:${height}px`;
      const under = make("span", "under");
      const grade = value("rating", i);
      under.append(make("span", `dot ${badge(i)}`), make("span", "name", data.scan[i]), make("span", "", grade === null ? "" : `rated ${grade}`));
      cell.append(strip(i, state.strip, high, width - 8), under);
      cell.title = [data.scan[i], value("verdict", i), value("doubts", i)].filter(Boolean).join(": ");
      return cell;
    });
  };

  const mosaic = () => state.view === "mosaic";
  const fill = (all = false) => (mosaic() ? fillMosaic : fillTable)(all);
  const refill = () => {
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.item : undefined;
    (mosaic() ? cells : bodies[1]).replaceChildren();
    fill();
    if (held !== undefined) list.querySelector(`[data-item="${held}"]`)?.focus({ preventScroll: true });
  };
  const build = () => { (mosaic() ? buildMosaic : buildTable)(); fill(); };
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; fill(); });
  };
  list.addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", () => refill());
  addEventListener("beforeprint", () => fill(true));
  addEventListener("afterprint", () => fill());

  // One scan is chosen: its pictures and facts stand beside the list.
  const reveal = (i) => {
    const { height, across } = mosaic() ? grid() : { height: ROW, across: 1 };
    const head = mosaic() ? 0 : table.tHead.offsetHeight;
    const top = Math.floor(placeOf[i] / across) * height;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + height + head > list.scrollTop + list.clientHeight) list.scrollTop = top + height + head - list.clientHeight;
  };
  const facts = (i) => {
    const box = make("dl", "facts");
    for (const key of visible()) {
      if (value(key, i) === null) continue;
      const { title, unit, kind } = columns.get(key);
      const told = make("dd");
      if (kind === "level") told.append(make("span", `badge ${badge(i)}`, shown(key, i)));
      else told.textContent = `${shown(key, i)}${unit ? ` ${unit}` : ""}`;
      box.append(make("dt", "", title), told);
    }
    return box;
  };
  const answer = (input) => {
    if (input.type === "radio") return Number(input.value);
    return input.type === "checkbox" ? input.checked : input.value.trim();
  };
  const fillForm = (form, i) => {
    for (const input of form.querySelectorAll("[data-field]")) {
      const said = draft(i)[input.dataset.field];
      if (input.type === "radio") input.checked = Number(input.value) === said;
      else if (input.type === "checkbox") input.checked = Boolean(said);
      else if (input !== document.activeElement) input.value = said ?? "";
    }
  };
  const panel = (i) => {
    const aside = part("chosen");
    const head = make("h3");
    const close = make("button", "", "Close");
    close.type = "button";
    close.addEventListener("click", () => choose(-1));
    head.append(make("span", "", data.scan[i]), close);
    const steps = make("div", "controls");
    for (const [text, by] of [["Previous", -1], ["Next", 1]]) {
      const button = make("button", "", text);
      button.type = "button";
      button.dataset.step = by;
      button.disabled = order[placeOf[i] + by] === undefined;
      button.addEventListener("click", () => {
        step(by);
        aside.querySelector(`[data-step="${by}"]`)?.focus();
      });
      steps.append(button);
    }
    if (data.page[i]) {
      const open = make("a", "", "Open the page of the person");
      open.href = data.page[i];
      steps.append(open);
    }
    const form = part("form").content.firstElementChild.cloneNode(true);
    form.querySelector("h4").textContent = "Your rating";
    form.dataset.chosen = "";
    for (const input of form.querySelectorAll("[data-field]")) {
      const heard = input.type === "text" ? "input" : "change";
      input.addEventListener(heard, () => ratings.change(data.scan[i], { [input.dataset.field]: answer(input) }));
    }
    fillForm(form, i);
    aside.hidden = false; // before it has no width
    const width = Math.min(data.strip.width, aside.clientWidth - 28);
    const height = width * data.strip.height / data.strip.width;
    const figures = data.picture[i] ? Array.from(part("strip").options, (option, which) => {
      const figure = make("figure");
      figure.append(strip(i, which, height, width), make("figcaption", "muted", option.textContent));
      return figure;
    }) : [];
    aside.replaceChildren(head, steps, ...figures, form, facts(i));
  };
  const mark = () => {
    for (const element of list.querySelectorAll("[data-row]")) {
      if (Number(element.dataset.row) === current) element.dataset.current = "";
      else delete element.dataset.current;
    }
  };
  const choose = (i, focus = false) => {
    const wasOpen = !part("chosen").hidden;
    current = i;
    if (i < 0) part("chosen").hidden = true;
    else panel(i);
    if (mosaic() && wasOpen !== i >= 0) refill(); // the list became narrower or wider
    if (i >= 0) { reveal(i); fill(); }
    mark();
    if (focus) list.querySelector(`[data-item="${i}"]`)?.focus({ preventScroll: true });
    ratings.now(i < 0 ? "" : data.scan[i]);
    document.dispatchEvent(new CustomEvent("cohort-scan", { detail: { index: i, scan: i < 0 ? "" : data.scan[i] } }));
  };
  const step = (by, focus = false) => {
    if (!order.length) return false;
    const at = current < 0 ? (by > 0 ? 0 : order.length - 1) : placeOf[current] + by;
    const goal = order[Math.min(Math.max(at, 0), order.length - 1)];
    const moved = goal !== current;
    choose(goal, focus);
    return moved;
  };
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!mosaic() && event.target.closest("a")) return; // the name in the table opens the page
    event.preventDefault();
    choose(Number(row.dataset.row), true);
  });
  list.addEventListener("dblclick", (event) => {
    const row = event.target.closest("[data-row]");
    if (row && data.page[row.dataset.row]) location.href = data.page[row.dataset.row];
  });
  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("thead")) return;
    const { across, height } = mosaic() ? grid() : { across: 1, height: ROW };
    const screen = Math.max(Math.floor(list.clientHeight / height) - 1, 1) * across;
    const by = {
      ArrowDown: across, ArrowUp: -across, PageDown: screen, PageUp: -screen, Home: -data.n, End: data.n,
      ...(mosaic() ? { ArrowRight: 1, ArrowLeft: -1 } : {}),
    }[event.key];
    if (event.key === "Escape") choose(-1);
    else if (event.key === "Enter" && current >= 0 && data.page[current]) location.href = data.page[current];
    else if (by !== undefined) step(current < 0 && by > 0 ? 1 : by, true);
    else return;
    event.preventDefault();
  });

  // Controls.
  const sortBy = (key, direction, focus = false) => {
    Object.assign(state, { key, direction });
    part("sort").value = key;
    arrange();
    list.scrollTop = 0;
    build();
    if (focus) list.querySelector(`[data-key="${key}"]`)?.focus();
  };
  const refresh = () => { arrange(); list.scrollTop = 0; build(); };
  const search = root.querySelector("#cohort-search");
  search.value = state.words;
  search.addEventListener("input", () => { state.words = search.value; refresh(); });
  const counted = ([name, test]) => `${name} ${data.scan.reduce((sum, _, i) => sum + test(i), 0)}`;
  for (const chip of chips) {
    const [name, test] = chip;
    if (!data.scan.some((_, i) => test(i)) && !state.chips.includes(name)) continue;
    const button = make("button", "", counted(chip));
    button.type = "button";
    button.dataset.chip = name;
    button.setAttribute("aria-pressed", String(state.chips.includes(name)));
    button.addEventListener("click", () => {
      const on = !state.chips.includes(name);
      state.chips = on ? [...state.chips, name] : state.chips.filter((other) => other !== name);
      button.setAttribute("aria-pressed", String(on));
      refresh();
    });
    part("chips").append(button);
  }
  const option = (key, title) => { const made = make("option", "", title); made.value = key; return made; };
  part("sort").append(option("scan", "Scan"), ...data.columns.map((column) => option(column.key, column.title)));
  part("sort").value = state.key;
  part("sort").addEventListener("change", () => sortBy(part("sort").value, 1));
  part("strip").value = String(state.strip);
  part("strip").addEventListener("change", () => { state.strip = Number(part("strip").value); keep(); build(); });
  part("size").value = String(state.size);
  part("size").addEventListener("input", () => { state.size = Number(part("size").value); keep(); build(); });
  const view = (name) => {
    state.view = name;
    for (const button of root.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    }
    part("size-label").hidden = name !== "mosaic";
    keep();
    list.scrollTop = 0;
    build();
    if (current >= 0) choose(current);
  };
  for (const button of root.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => view(button.dataset.view));
  }
  for (const column of data.columns) {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.value = column.key;
    box.checked = state.visible.includes(column.key);
    box.addEventListener("change", () => {
      state.visible = box.checked ? [...state.visible, column.key] : state.visible.filter((key) => key !== column.key);
      keep();
      build();
    });
    label.append(box, column.title);
    if (column.help) label.title = column.help;
    part("columns").append(label);
  }

  // Export: the rows that the filters leave, in their order, with the columns that are shown.
  const quoted = (raw) => {
    if (raw === null) return "n/a";
    // A sheet would compute what begins like a formula.
    const text = typeof raw === "string" && /^[=+\-@\t]/.test(raw) ? `'${raw}` : String(raw);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  part("export").addEventListener("click", () => {
    const keys = ["scan", ...visible()];
    const lines = [keys.join(","), ...order.map((i) => keys.map((key) => quoted(value(key, i))).join(","))];
    const file = make("a");
    file.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    file.download = "scans.csv";
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 10000);
  });

  // From a person's page: to this person, or to the page before or after it in the present order.
  const follow = () => {
    const match = /^#(scan|before|after)=(.+)$/.exec(decodeURIComponent(location.hash));
    if (!match) return;
    const mine = (i) => data.scan[i] === match[2] || data.scan[i].startsWith(`${match[2]}_`);
    if (!order.some(mine)) { // the filters leave this person out
      search.value = "";
      Object.assign(state, { words: "", chips: [] });
      for (const button of part("chips").children) button.setAttribute("aria-pressed", "false");
      refresh();
    }
    const own = order.flatMap((i, at) => (mine(i) ? [at] : []));
    if (!own.length) return;
    if (match[1] !== "scan") {
      const rest = match[1] === "after" ? order.slice(own[0]) : order.slice(0, own[0]).reverse();
      const goal = rest.find((i) => data.page[i] && data.page[i] !== data.page[order[own[0]]]);
      if (goal !== undefined) { location.replace(data.page[goal]); return; }
    }
    history.replaceState(null, "", location.pathname);
    choose(order[own[0]], true);
  };

  // Ratings by form or keyboard; the list stays as it is until the filters change.
  ratings.steer({
    scan: () => {
      if (current >= 0) return data.scan[current];
      step(1, true); // the first key only chooses
      return "";
    },
    step: (by) => step(by, true),
    notes: () => part("chosen").querySelector('[data-field="notes"]')?.focus(),
  });
  document.addEventListener("rating", () => {
    for (const button of part("chips").children) {
      button.textContent = counted(chips.find(([name]) => name === button.dataset.chip));
    }
    const form = part("chosen").querySelector("[data-chosen]");
    if (current >= 0) { fillForm(form, current); ratings.now(data.scan[current]); }
    refill();
  });

  arrange();
  view(state.view);
  follow();
  addEventListener("hashchange", follow);
  return {
    data, value, badge, shown, columns, choose, step,
    current: () => current,
    inOrder: (i) => placeOf[i] >= 0,
  };
})();
