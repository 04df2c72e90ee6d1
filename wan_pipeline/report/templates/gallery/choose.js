// ---- which items are chosen: words, facets and pins, all of which must hold ----
const VIEWS = ["images", "prompts", "groups"];
const state = { words: "", view: "images", pins: new Map(), open: null, strange: [] };
const facets = told.facets.map((facet) => ({ ...facet, chosen: new Set(), counts: new Map() }));
// A facet of too many values to list takes them from its column.
for (const facet of facets.filter((each) => each.typed)) {
  const codes = new Map();
  for (const { [facet.key]: value } of items) {
    if (value !== null && !codes.has(value)) codes.set(value, codes.size);
  }
  facet.values = [...codes.keys()];
  facet.codes = items.map((item) => codes.get(item[facet.key]) ?? NONE);
}
// A link may add values that nothing has.
for (const facet of facets) facet.known = facet.values.length;
let visible = items;

// What a link can pin without a choice on the page.
const PINS = {
  prompt: (item) => item.prompt.id,
  request: (item) => item.request,
  group: (item) => item.group,
};

// One number for all items where none has another value.
const codeOf = (facet, item) =>
  Array.isArray(facet.codes) ? facet.codes[item.place] : facet.codes;
const has = (facet, item) => {
  const code = codeOf(facet, item);
  return Array.isArray(code)
    ? code.some((each) => facet.chosen.has(each))
    : facet.chosen.has(code);
};
const pinned = (item) => {
  for (const [name, value] of state.pins) if (PINS[name](item) !== value) return false;
  return true;
};

// One pass: an item that only one facet rules out still counts in that facet.
const choose = () => {
  const words = fold(state.words).split(/\s+/).filter(Boolean);
  const active = facets.filter((facet) => facet.chosen.size);
  for (const facet of facets) facet.counts = new Map();
  visible = items.filter((item) => {
    if (!pinned(item) || !words.every((word) => textOf(item).includes(word))) return false;
    const against = active.filter((facet) => !has(facet, item));
    if (against.length > 1) return false;
    for (const facet of against.length ? against : facets) {
      if (facet.typed || (!facet.shown && !facet.chosen.size)) continue;
      const codes = codeOf(facet, item);
      for (const code of Array.isArray(codes) ? codes : [codes]) {
        facet.counts.set(code, (facet.counts.get(code) ?? 0) + 1);
      }
    }
    return against.length === 0;
  });
};

const isNarrowed = () =>
  Boolean(state.words.trim()) || state.pins.size > 0 || facets.some((facet) => facet.chosen.size);
const clearChoice = () => {
  state.words = "";
  state.pins.clear();
  state.strange = [];
  for (const facet of facets) facet.chosen.clear();
};

// ---- the same as the part of the address after the #, so that a view can be shared ----
// A column of the user's goes by its plain name as well, where none of ours has that name.
const OURS = new Set(["q", "view", "none", "other", "image", ...Object.keys(PINS)]);
for (const facet of facets) if (!facet.own) OURS.add(facet.key);
const facetOf = (name) =>
  facets.find((facet) => facet.key === name) ??
  facets.find((facet) => facet.own && facet.label === name && !OURS.has(name));
const nameOf = (facet) => (facet.own && !OURS.has(facet.label) ? facet.label : facet.key);
const names = () => [
  ...facets.filter((facet) => !facet.own).map(nameOf),
  ...facets.filter((facet) => facet.own).map(nameOf),
];
const hasOthers = (facet) => [facet.codes].flat(2).includes(OTHER);
const addressed = () => {
  const given = new URLSearchParams();
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const facet = OURS.has(name) ? null : facetOf(name);
    if (facet) given.append(facet.key, value);
    else if (["none", "other"].includes(name) && facetOf(value)) {
      given.append(name, facetOf(value).key);
    } else if (OURS.has(name) && !["none", "other"].includes(name)) given.append(name, value);
    else state.strange.push(`${name}=${value}. Filters: ${names().join(", ")}`);
  }
  return given;
};
const readAddress = () => {
  clearChoice();
  const given = addressed();
  state.words = given.get("q") ?? "";
  const view = given.get("view") ?? "images";
  state.view = VIEWS.includes(view) ? view : "images";
  if (view !== state.view) state.strange.push(`view=${view}. Views: ${VIEWS.join(", ")}`);
  for (const facet of facets) {
    for (const value of given.getAll(facet.key)) {
      // A value that nothing has is chosen all the same: a link to it should not show the rest.
      if (!facet.values.includes(value)) facet.values.push(value);
      const code = facet.values.indexOf(value);
      facet.chosen.add(code);
      if (code >= facet.known) {
        const why = hasOthers(facet) ? "It is not among the values listed" : "No image has it";
        state.strange.push(`${nameOf(facet)}=${value}. ${why}`);
      }
    }
    if (given.getAll("none").includes(facet.key)) facet.chosen.add(NONE);
    if (given.getAll("other").includes(facet.key)) facet.chosen.add(OTHER);
  }
  for (const name of Object.keys(PINS)) if (given.has(name)) state.pins.set(name, given.get(name));
  const wanted = given.get("image");
  state.open = (wanted && items.find((item) => item.image?.startsWith(wanted))) || null;
  if (wanted && !state.open) state.strange.push(`image=${wanted}. No image's id begins so`);
};
const writeAddress = () => {
  const told = new URLSearchParams();
  if (state.view !== "images") told.set("view", state.view);
  if (state.words.trim()) told.set("q", state.words.trim());
  for (const facet of facets) {
    for (const code of facet.chosen) {
      if (code === NONE) told.append("none", facet.key);
      else if (code === OTHER) told.append("other", facet.key);
      else told.append(facet.key, facet.values[code]);
    }
  }
  for (const [name, value] of state.pins) told.set(name, value);
  if (state.open?.image) told.set("image", state.open.image);
  const address = location.href.split("#")[0];
  history.replaceState(null, "", String(told) ? `${address}#${told}` : address);
};
