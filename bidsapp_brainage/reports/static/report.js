"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // Light, dark, or as the system says. Storage may be forbidden for local files: then the
  // choice lasts until the page is closed.
  const remember = (key, value) => {
    try {
      if (value === undefined) return localStorage.getItem(key);
      localStorage.setItem(key, value);
    } catch { /* no storage */ }
    return null;
  };
  const themes = ["auto", "light", "dark"];
  const applyTheme = (theme, button) => {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    button.textContent = `Theme: ${theme}`;
    button.dataset.current = theme;
  };
  for (const button of all("[data-theme-switch]")) {
    const stored = remember("brainage-theme");
    applyTheme(themes.includes(stored) ? stored : "auto", button);
    button.addEventListener("click", () => {
      const next = themes[(themes.indexOf(button.dataset.current) + 1) % themes.length];
      applyTheme(next, button);
      remember("brainage-theme", next);
    });
  }

  // Tables: sort by a column; rows without a value stay last in both directions.
  const sortValue = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
  };
  const comparison = (numeric, direction) => (a, b) => {
    if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
    const order = numeric
      ? Number(a.value) - Number(b.value)
      : a.value.localeCompare(b.value, undefined, { numeric: true, sensitivity: "base" });
    return direction * order;
  };
  const sortTable = (table, header, direction) => {
    const column = header.cellIndex;
    const numeric = header.classList.contains("num");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row) => ({ row, value: sortValue(row, column) }));
    rows.sort(comparison(numeric, direction));
    body.append(...rows.map((item) => item.row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  };
  for (const button of all("table[data-sortable] button.sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const first = header.classList.contains("num") && !header.dataset.ascending ? -1 : 1;
      const now = header.getAttribute("aria-sort");
      const direction = now ? (now === "ascending" ? -1 : 1) : first;
      sortTable(header.closest("table"), header, direction);
    });
  }

  // Tables: keep the rows that hold every word typed, not looking at numbers.
  const rowText = (row) => Array.from(row.cells)
    .filter((cell) => !cell.classList.contains("num"))
    .map((cell) => cell.textContent.toLowerCase())
    .join(" ");
  for (const input of all("input[data-filters]")) {
    const table = document.getElementById(input.dataset.filters);
    const count = document.getElementById(`${input.dataset.filters}-count`);
    const rows = Array.from(table.tBodies[0].rows);
    const texts = new Map(rows.map((row) => [row, rowText(row)]));
    const update = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => texts.get(row).includes(word));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length}`;
    };
    input.addEventListener("input", update);
    update();
  }

  // Two pictures on one place: point at them, press a button, a key, or let them alternate.
  for (const figure of all("[data-flicker]")) {
    const stage = figure.querySelector(".stage");
    const play = figure.querySelector("[data-play]");
    let timer = null;
    let pinned = "before";
    const show = (state) => {
      figure.dataset.state = state;
      stage.setAttribute("aria-pressed", String(state === "after"));
      for (const button of all("[data-show]", figure)) {
        button.setAttribute("aria-pressed", String(button.dataset.show === state));
      }
    };
    const other = (state) => (state === "after" ? "before" : "after");
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.setAttribute("aria-pressed", "false");
    };
    const pin = (state) => { stop(); pinned = state; show(state); };
    const hovers = (event) => event.pointerType === "mouse" && timer === null;
    stage.addEventListener("pointerenter", (event) => { if (hovers(event)) show(other(pinned)); });
    stage.addEventListener("pointerleave", (event) => { if (hovers(event)) show(pinned); });
    stage.addEventListener("click", () => pin(other(figure.dataset.state)));
    stage.addEventListener("keydown", (event) => {
      const wanted = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
      if (!wanted && event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      pin(wanted || other(figure.dataset.state));
    });
    for (const button of all("[data-show]", figure)) {
      button.addEventListener("click", () => pin(button.dataset.show));
    }
    play.addEventListener("click", () => {
      if (timer !== null) { stop(); return; }
      play.setAttribute("aria-pressed", "true");
      timer = setInterval(() => show(other(figure.dataset.state)), 700);
    });
    show("before");
  }

  // Tabs (arrow keys move between them).
  for (const list of all("[role=tablist]")) {
    const tabs = all("[role=tab]", list);
    const select = (chosen) => {
      for (const tab of tabs) {
        const on = tab === chosen;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
        document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
      }
    };
    tabs.forEach((tab, position) => {
      tab.addEventListener("click", () => select(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!step) return;
        const next = tabs[(position + step + tabs.length) % tabs.length];
        select(next);
        next.focus();
      });
    });
    if (tabs.length) select(tabs[0]);
  }

  // Copy the text of an element; older browsers and local files lack navigator.clipboard.
  const selectText = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const button of all("[data-copies]")) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copies);
      let done = false;
      try {
        await navigator.clipboard.writeText(source.textContent);
        done = true;
      } catch {
        selectText(source);
        done = Boolean(document.execCommand && document.execCommand("copy"));
      }
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
      setTimeout(() => { button.textContent = label; }, 1600);
    });
  }

  // What is wider than the window can be scrolled with the keyboard, too.
  const reachable = () => {
    for (const box of all(".brain.wide, .chart")) {
      if (box.scrollWidth > box.clientWidth + 1) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  };
  reachable();
  addEventListener("load", reachable);
  addEventListener("resize", reachable);

  // Show one scan only.
  for (const chooser of all("select[data-scans]")) {
    chooser.addEventListener("change", () => {
      for (const block of all("[data-scan]")) {
        block.hidden = chooser.value !== "" && block.dataset.scan !== chooser.value;
      }
    });
  }

  // Mark the section that is being read.
  const links = new Map(all(".contents a").map((link) => [link.getAttribute("href").slice(1), link]));
  if ("IntersectionObserver" in window && links.size) {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }, { rootMargin: "-15% 0px -75% 0px" });
    for (const id of links.keys()) {
      const section = document.getElementById(id);
      if (section) observer.observe(section);
    }
  }

  // Paper has no folds: everything open while printing.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const fold of all("details:not([open])")) { fold.open = true; opened.push(fold); }
  });
  addEventListener("afterprint", () => {
    for (const fold of opened.splice(0)) fold.open = false;
  });
})();
