"use strict";
// Ratings of scans: drafts that this browser keeps, the keys that make them, and one table of all.
// Nothing is sent. A page has one bar ([data-rating-bar]) and any number of forms
// ([data-rating-form=SCAN]); a page with rows of scans uses `ratings`: `get` and `change` the draft
// of a scan, `words` for it, `now` which scan the bar speaks of, `steer` the keys. The event
// "rating" of the document tells that a draft, or the rater, has changed.
const ratings = (() => {
  const bar = document.querySelector("[data-rating-bar]");
  if (!bar) return null;
  const facts = JSON.parse(bar.dataset.ratingBar);
  const place = `brainage-ratings ${new URL(facts.root || ".", location.href).href}`;
  const part = (name) => bar.querySelector(`[data-part="${name}"]`);
  const empty = () => ({ rater: "", keys: false, drafts: {} });
  let kept = true; // storage may be forbidden for local files: then drafts last as long as the page
  let state = empty();

  // Another window may have rated in between, so every change begins with what is stored.
  const load = () => {
    try {
      state = { ...empty(), ...JSON.parse(localStorage.getItem(place) ?? "{}") };
    } catch { kept = false; }
  };
  const store = () => {
    try {
      localStorage.setItem(place, JSON.stringify(state));
    } catch { kept = false; }
  };
  const tell = (scan) => document.dispatchEvent(new CustomEvent("rating", { detail: scan }));

  const get = (scan) => state.drafts[state.rater]?.[scan] ?? {};
  const says = (draft) => facts.columns.some((name) => name !== "rated_at" && draft[name]);
  const change = (scan, changes) => {
    if (kept) load();
    const own = (state.drafts[state.rater] ??= {});
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    own[scan] = { ...own[scan], ...changes, rated_at: now };
    if (!says(own[scan])) delete own[scan];
    store();
    tell(scan);
  };

  // The table: one row per rater and rated scan, the columns of the dictionary.
  const label = (scan, key) => scan.split("_").find((text) => text.startsWith(`${key}-`));
  const cell = (value) => {
    if (typeof value === "boolean") return String(value);
    return String(value ?? "").replace(/\s+/g, " ").trim() || "n/a";
  };
  const row = (rater, scan, draft) => {
    const seen = Object.fromEntries(facts.artefacts.map(([key]) => [key, Boolean(draft[key])]));
    const whose = {
      participant_id: label(scan, "sub"), session_id: label(scan, "ses"), run_id: label(scan, "run"),
    };
    return { ...draft, ...seen, ...whose, scan, rater };
  };
  const rows = () => Object.entries(state.drafts).flatMap(([rater, drafts]) => (
    Object.entries(drafts)
      .filter(([, draft]) => draft.rating)
      .map(([scan, draft]) => row(rater, scan, draft))
  ));
  const table = () => [facts.columns, ...rows().map((item) => facts.columns.map((name) => cell(item[name])))]
    .map((cells) => `${cells.join("\t")}\n`).join("");

  const say = (text) => { part("said").textContent = text; };
  const save = () => {
    if (kept) load();
    const all = rows();
    if (all.some((item) => !item.rater)) {
      say("Write who rates first: your name or initials.");
      part("rater").focus();
      return;
    }
    if (!all.length) {
      say("There is nothing to export: no scan has a grade yet.");
      return;
    }
    const who = Array.from(new Set(all.map((item) => item.rater)));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/tab-separated-values" }));
    link.download = who.length === 1 ? `ratings_${who[0].replace(/[^\w-]+/g, "")}.tsv` : "ratings.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${all.length} ratings by ${who.join(", ")} saved as ${link.download} where your browser keeps downloads.`);
  };

  // A draft in words, for lists and for the bar.
  const words = (draft) => {
    const seen = facts.artefacts.filter(([key]) => draft[key]).map(([, title]) => title);
    const grade = draft.rating ? `${draft.rating} ${facts.grades[draft.rating]}` : "no grade";
    return [grade, ...seen, draft.notes].filter(Boolean).join(", ");
  };

  // Keys: grades and letters of artefacts change the scan; the same key again takes it back.
  // `page` has scan(), which is being looked at, step(by), and notes(), which focuses the field.
  let page = null;
  const free = ":is(input[type=checkbox], input[type=radio], input[type=range], input[type=button])";
  const writes = (target) => target.closest(`textarea, select, input:not(${free})`);
  const act = (key, scan) => {
    const artefact = facts.artefacts.find(([, , letter]) => letter === key);
    if (key in facts.grades) {
      const grade = Number(key);
      change(scan, { rating: get(scan).rating === grade ? null : grade });
    } else if (artefact) {
      change(scan, { [artefact[0]]: !get(scan)[artefact[0]] });
    } else if (key === "n") page.step(1);
    else if (key === "p") page.step(-1);
    else if (key === "t") page.notes();
    else return false;
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (!page || !state.keys || event.ctrlKey || event.metaKey || event.altKey) return;
    if (writes(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "x") {
      save();
      return;
    }
    const scan = page.scan();
    if (scan && act(event.key, scan)) event.preventDefault();
  });

  const show = () => {
    part("rater").value = state.rater;
    part("keys").setAttribute("aria-pressed", String(state.keys));
    bar.classList.toggle("keyed", state.keys);
    part("help").hidden = !state.keys;
    const count = rows().length;
    part("export").textContent = `Export all ratings (${count})`;
    part("sorry").hidden = kept;
  };
  // What was rated before anybody said who rates belongs to the first name.
  const rename = (rater) => {
    if (kept) load();
    if (!state.rater && rater && state.drafts[""]) {
      state.drafts[rater] = { ...state.drafts[""], ...state.drafts[rater] };
      delete state.drafts[""];
    }
    state.rater = rater;
    store();
    tell("");
  };
  const switchKeys = () => {
    if (kept) load();
    state.keys = !state.keys;
    store();
    show();
  };

  load();
  part("rater").addEventListener("change", () => rename(part("rater").value.trim()));
  part("keys").addEventListener("click", switchKeys);
  part("export").addEventListener("click", save);
  document.addEventListener("rating", show);
  addEventListener("storage", (event) => { if (event.key === place) { load(); tell(""); } });
  show();
  return {
    get,
    change,
    words,
    steer: (steering) => { page = steering; },
    now: (scan) => { part("now").textContent = scan && `${scan}: ${words(get(scan))}`; },
  };
})();

// Forms of single scans, and walking from one to the next with keys.
(() => {
  const forms = ratings ? Array.from(document.querySelectorAll("[data-rating-form]")) : [];
  if (!forms.length) return;
  const scan = (form) => form.dataset.ratingForm;
  const inputs = (form) => Array.from(form.querySelectorAll("[data-field]"));
  const show = (form) => {
    const draft = ratings.get(scan(form));
    for (const input of inputs(form)) {
      const value = draft[input.dataset.field];
      if (input.type === "radio") input.checked = Number(input.value) === value;
      else if (input.type === "checkbox") input.checked = Boolean(value);
      else if (input !== document.activeElement) input.value = value ?? "";
    }
  };
  const value = (input) => {
    if (input.type === "radio") return Number(input.value);
    return input.type === "checkbox" ? input.checked : input.value.trim();
  };
  let current = forms[0];
  const visible = () => forms.filter((form) => form.offsetParent !== null);
  const choose = (form) => {
    current = form;
    for (const other of forms) other.classList.toggle("current", other === form && forms.length > 1);
    ratings.now(scan(form));
  };
  // Beyond the last scan of this page comes the next page, where there is one.
  const step = (by) => {
    const shown = visible();
    const next = shown[shown.indexOf(current) + by];
    if (!next) {
      document.querySelector(by > 0 ? 'a[rel~="next"]' : 'a[rel~="prev"]')?.click();
      return;
    }
    choose(next);
    next.scrollIntoView({ block: "center" });
    next.focus({ preventScroll: true });
  };
  for (const form of forms) {
    form.addEventListener("focusin", () => choose(form));
    for (const input of inputs(form)) {
      const heard = input.type === "text" ? "input" : "change";
      input.addEventListener(heard, () => ratings.change(scan(form), { [input.dataset.field]: value(input) }));
    }
  }
  ratings.steer({
    scan: () => scan(current),
    step,
    notes: () => current.querySelector('[data-field="notes"]').focus(),
  });
  document.addEventListener("rating", () => { for (const form of forms) show(form); choose(current); });
  for (const form of forms) show(form);
  choose(current);
})();
