// ---- the large view: one image, everything known about it, and its siblings ----
const viewer = byId("viewer");
const SIBLINGS = 60;

const copy = async (text, button) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Older browsers allow it for a selection only, when they open a page from disk.
    const area = make("textarea");
    area.value = text;
    byId("viewer-panel").append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => {
    button.textContent = "copy";
  }, 1500);
};
const copyButton = (name, text) => {
  const button = make("button", "copy", "copy", { type: "button", "aria-label": `Copy ${name}` });
  button.addEventListener("click", () => copy(text, button));
  return button;
};
const field = (name, value, { kind = "", copied = null } = {}) => {
  const row = make("div", kind);
  const told = make("dd", "", String(value), { dir: "auto" });
  row.append(make("dt", "", name, { dir: "auto" }), told);
  if (copied !== null) told.append(" ", copyButton(name, copied));
  return row;
};
const size = (bytes) =>
  bytes >= 1e6 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;

const fieldsOf = (item) => {
  const { prompt } = item;
  const rows = [];
  const tell = (name, value, options) => {
    if (value !== null && value !== undefined && value !== "") rows.push(field(name, value, options));
  };
  if (!item.stored) tell(item.state, item.reason, { kind: "warn" });
  tell("negative", prompt.negative, { copied: prompt.negative });
  if (item.actual && item.actual !== prompt.text) {
    tell("rewritten as", item.actual, { copied: item.actual });
  }
  if (item.seed !== null) {
    const source = item.seedSource ? ` (${item.seedSource})` : "";
    tell("seed", `${item.seed}${source}`, { copied: item.seed });
  }
  tell("size", pretty(item.size));
  if (item.stored && !item.matches) {
    tell("received", `${item.width}×${item.height}, not the size asked for`, { kind: "warn" });
  }
  if (item.flags) tell("flags", item.flags.split(" ").map(flagText).join(", "), { kind: "warn" });
  if (item.stored) tell("image", `${item.index + 1} of ${item.n}`);
  tell("replica", item.replica);
  if (item.cost) tell("cost", item.cost + (item.costSource ? ` (${item.costSource})` : ""));
  for (const [name, value] of prompt.columns) tell(name, value);
  tell("model", item.model);
  if (item.extend !== null) tell("may be rewritten", item.extend ? "yes" : "no");
  if (item.watermark) tell("watermark", "asked for");
  if (item.created) tell("bought", item.created.replace("T", " ").replace("+00:00", " UTC"));
  if (item.latency !== null) tell("latency", `${item.latency} s`);
  if (item.bytes !== null) tell("file", `${item.format}, ${size(item.bytes)}`);
  for (const [name, value] of [
    ["prompt id", prompt.id],
    ["task id", item.task],
    ["request id", item.request],
    ["image id", item.image],
    ["run id", item.run],
    ["phash", item.phash],
  ]) {
    tell(name, value, { kind: "mono", copied: value });
  }
  return rows;
};

const drawSiblings = (item) => {
  const family = familyOf(item.prompt);
  byId("siblings").hidden = family.length < 2;
  const strip = family.slice(0, SIBLINGS).map((each) => {
    const name = each.stored ? `seed ${each.seed}, ${pretty(each.size)}` : each.state;
    const button = make("button", "sibling", null, { type: "button", title: name });
    button.setAttribute("aria-label", name);
    if (each === item) button.setAttribute("aria-current", "true");
    if (each.thumbHref) {
      const image = make("img", "", null, { alt: "", loading: "lazy", decoding: "async" });
      image.src = each.thumbHref;
      button.append(image);
    } else {
      button.append(make("span", "", each.stored ? "?" : "–"));
    }
    button.addEventListener("click", () => show(each));
    return button;
  });
  byId("sibling-strip").replaceChildren(...strip);
  byId("side-by-side").textContent = `Compare ${many(family.length, "picture")} of this prompt`;
};

const show = (item) => {
  state.open = item;
  const place = order.indexOf(item);
  byId("viewer-place").textContent =
    place < 0 ? "outside the filter" : `${count(place + 1)} of ${count(order.length)}`;
  byId("viewer-prompt").textContent = item.prompt.text;
  byId("viewer-copy").replaceChildren(copyButton("prompt", item.prompt.text));
  const image = byId("viewer-image");
  image.hidden = byId("viewer-open").hidden = !item.stored;
  byId("viewer-reason").hidden = item.stored;
  byId("viewer-reason").textContent = item.stored ? "" : `${item.state}: ${item.reason}`;
  for (const link of [byId("viewer-link"), byId("viewer-open")]) {
    if (item.stored) link.href = item.href;
    else link.removeAttribute("href");
  }
  if (item.stored) {
    image.src = item.href;
    image.alt = altText(item);
  } else image.removeAttribute("src");
  byId("viewer-fields").replaceChildren(...fieldsOf(item));
  byId("show-group").hidden = !item.group;
  byId("show-group").textContent = `Show the ${many(item.alike ?? 0, "image")} that look like it`;
  drawSiblings(item);
  byId("viewer-panel").scrollTop = 0;
  if (!viewer.open) viewer.showModal();
  writeAddress();
  // The neighbour is likely to be next: let the browser read it meanwhile.
  const next = order[(place + 1) % order.length];
  if (next?.stored) new Image().src = next.href;
};
// The page may outlive the files that it shows.
byId("viewer-image").addEventListener("error", () => {
  const item = state.open;
  if (!item?.stored) return;
  byId("viewer-image").hidden = byId("viewer-open").hidden = true;
  byId("viewer-link").removeAttribute("href");
  byId("viewer-reason").hidden = false;
  const path = decodeURIComponent(item.href).replace(/^(\.\.\/)+/, "");
  byId("viewer-reason").textContent = `The file is not there, or is no picture: ${path}`;
});
const step = (by) => {
  if (!order.length) return;
  const place = order.indexOf(state.open);
  show(order[place < 0 ? 0 : (place + by + order.length) % order.length]);
};
// At once, not on the dialog's late "close" event: the next key may already be a shortcut.
const hide = () => {
  const item = state.open;
  state.open = null;
  viewer.close();
  writeAddress();
  focusItem(item);
};
const leaveFor = (view, pin, value) => {
  hide();
  clearChoice();
  filter.value = "";
  state.pins.set(pin, value);
  setView(view);
};

grid.addEventListener("click", (event) => {
  const link = event.target.closest(".picture");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  for (const [box, element] of drawn) if (element.contains(link)) show(box.item);
});
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", hide);
byId("side-by-side").addEventListener("click", () =>
  leaveFor("prompts", "prompt", state.open.prompt.id),
);
byId("show-group").addEventListener("click", () => leaveFor("groups", "group", state.open.group));
viewer.addEventListener("click", (event) => {
  if (event.target === viewer || event.target.className === "stage") hide();
});
// A browser may close it whatever the page says.
viewer.addEventListener("close", () => {
  if (!state.open) return;
  state.open = null;
  writeAddress();
});
// Escape by other ways than the keyboard, a phone's back gesture for example.
viewer.addEventListener("cancel", (event) => {
  event.preventDefault();
  if (state.open) hide();
});
