// ---- filter, facets, views, and what they say about themselves ----
const FIRST_VALUES = 8;
const OPEN = 5;
const filter = byId("filter");

const valueText = (facet, code) => {
  if (code === NONE) return facet.key === "flag" ? "no flag" : "none";
  if (code === OTHER) return "other";
  return facet.own ? facet.values[code] : pretty(facet.values[code]).replaceAll("_", " ");
};
const codesOf = (facet) => {
  const found = new Set([facet.codes].flat(2));
  const codes = facet.values.map((_, code) => code);
  if (found.has(OTHER)) codes.push(OTHER);
  if (found.has(NONE)) codes.push(NONE);
  return codes;
};

const drawValue = (facet, code) => {
  const label = make("label", "value");
  const box = make("input", "", null, { type: "checkbox" });
  box.checked = facet.chosen.has(code);
  box.addEventListener("change", () => {
    if (box.checked) facet.chosen.add(code);
    else facet.chosen.delete(code);
    apply();
  });
  const text = valueText(facet, code);
  label.append(
    box,
    make("span", "value-name", text, { title: text, dir: "auto" }),
    make("span", "value-count"),
  );
  facet.rows.set(code, { label, box });
  return label;
};
const drawValues = (facet, group) => {
  facet.rows = new Map();
  group.append(...codesOf(facet).map((code) => drawValue(facet, code)));
  facet.more = make("button", "quiet", "", { type: "button" });
  facet.more.addEventListener("click", () => {
    const next = [...facet.rows.values()].find(({ label }) => label.classList.contains("is-late"));
    facet.whole = true;
    tellCounts();
    next.box.focus();
  });
  group.append(facet.more);
};
// Where nearly every image has a value of its own, one is typed.
const drawBox = (facet, group) => {
  const box = make("input", "typed", null, {
    type: "text",
    placeholder: `Type a ${facet.label}, then Enter`,
    "aria-label": facet.label,
    autocomplete: "off",
    spellcheck: "false",
  });
  const note = make("p", "typed-note", "", { role: "status" });
  box.addEventListener("change", () => {
    const value = box.value.trim();
    const code = facet.values.indexOf(value);
    const found = code >= 0 && code < facet.known;
    note.textContent = value && !found ? `No image has ${value}.` : "";
    if (!found) return;
    box.value = "";
    facet.chosen.add(code);
    apply();
  });
  group.append(box, note);
};
const drawFacet = (facet, place) => {
  const section = make("details", "facet");
  section.open = place < OPEN || facet.own || facet.chosen.size > 0;
  section.append(make("summary", "", facet.label, { dir: "auto" }));
  const group = make("div", "values", null, { role: "group", "aria-label": facet.label });
  if (facet.typed) drawBox(facet, group);
  else drawValues(facet, group);
  section.append(group);
  facet.section = section;
  return section;
};
const drawFacets = () => {
  const shown = facets.filter((facet) => facet.shown || facet.chosen.size);
  byId("facets").replaceChildren(...shown.map(drawFacet));
  byId("filters-toggle").hidden = shown.length === 0;
  document.body.classList.toggle("no-facets", shown.length === 0);
};

// What a click would not find is not offered; what is chosen can always be taken back.
const tellCounts = () => {
  for (const facet of facets.filter((each) => each.rows)) {
    let found = 0;
    let late = 0;
    for (const [code, { label, box }] of facet.rows) {
      const number = facet.counts.get(code) ?? 0;
      label.querySelector(".value-count").textContent = count(number);
      box.checked = facet.chosen.has(code);
      if (number) found += 1;
      const isLate = number > 0 && found > FIRST_VALUES && !facet.whole && !box.checked;
      if (isLate) late += 1;
      label.classList.toggle("is-late", isLate);
      label.hidden = !box.checked && (number === 0 || isLate);
    }
    facet.more.textContent = `${count(late)} more`;
    facet.more.hidden = late === 0;
    facet.section.hidden = [...facet.rows.values()].every(({ label }) => label.hidden);
  }
};
const drawChips = () => {
  const chips = [];
  const chip = (text, remove) => {
    const button = make("button", "choice", text, { type: "button", title: "Remove", dir: "auto" });
    button.setAttribute("aria-label", `Remove ${text}`);
    button.addEventListener("click", () => {
      remove();
      apply();
      (byId("chips").querySelector("button") ?? filter).focus();
    });
    chips.push(button);
  };
  for (const facet of facets) {
    for (const code of facet.chosen) {
      chip(`${facet.label}: ${valueText(facet, code)}`, () => facet.chosen.delete(code));
    }
  }
  for (const [name, value] of state.pins) {
    const short = value.length > 24 ? `${value.slice(0, 12)}…` : value;
    chip(`${name}: ${short}`, () => state.pins.delete(name));
  }
  const number = chips.length;
  byId("filters-toggle").textContent = number ? `Filters (${number})` : "Filters";
  if (number + Boolean(state.words.trim()) > 1) {
    const all = make("button", "quiet", "Clear all", { type: "button" });
    all.addEventListener("click", clearAll);
    chips.push(all);
  }
  byId("chips").replaceChildren(...chips);
  byId("chips").hidden = number === 0;
};

const tellTotals = () => {
  const shown = order.filter((item) => item.stored).length;
  const absent = imagesNotHere(order);
  const parts = [`${count(shown)} of ${many(storedCount, "image")}`];
  if (absent) parts.push(`${count(absent)} not here`);
  const sections = boxes.filter((box) => box.section).length;
  if (state.view === "prompts") parts.push(many(sections, "prompt"));
  if (state.view === "groups") parts.push(many(sections, "group"));
  byId("count").textContent = parts.join(" · ");
  byId("nothing").hidden = order.length > 0;
  byId("nothing-text").textContent = !items.length
    ? "No image is stored yet."
    : isNarrowed()
      ? "No image matches."
      : "No images that look alike were found.";
  byId("clear").hidden = !isNarrowed();
  for (const tab of document.querySelectorAll("#views button")) {
    tab.setAttribute("aria-pressed", String(tab.dataset.view === state.view));
  }
};

// What an address asked for in vain is said until the next choice.
const tellStrange = () => {
  byId("strange").hidden = state.strange.length === 0;
  byId("strange").textContent = state.strange.length
    ? `The address asks for something that this page does not have: ${state.strange.join("; ")}.`
    : "";
  state.strange = [];
};

// Everything that follows from a choice.
const apply = () => {
  choose();
  redraw();
  tellCounts();
  drawChips();
  tellTotals();
  tellStrange();
  writeAddress();
  const above = grid.getBoundingClientRect().top - byId("bar").getBoundingClientRect().bottom;
  if (above < 0) scrollBy(0, above - 8);
};
const clearAll = () => {
  clearChoice();
  filter.value = "";
  apply();
  filter.focus();
};
const setView = (view) => {
  state.view = view;
  apply();
};

filter.addEventListener("input", () => {
  state.words = filter.value;
  apply();
});
byId("clear").addEventListener("click", clearAll);
for (const tab of document.querySelectorAll("#views button")) {
  tab.hidden = tab.dataset.view === "groups" && !items.some((item) => item.group);
  tab.addEventListener("click", () => setView(tab.dataset.view));
}
const showFacets = (open) => {
  document.body.classList.toggle("with-facets", open);
  byId("filters-toggle").setAttribute("aria-expanded", String(open));
};
byId("filters-toggle").addEventListener("click", () =>
  showFacets(!document.body.classList.contains("with-facets")),
);
showFacets(matchMedia("(min-width: 1001px)").matches);
