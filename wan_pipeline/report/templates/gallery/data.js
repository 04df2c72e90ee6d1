// ---- what is shown: items and the prompts they belong to ----
// All files of this folder are one script. Text from the data is only ever set as text.
const byId = (id) => document.getElementById(id);
const told = JSON.parse(byId("details").textContent);
const NONE = -1;
const OTHER = -2;
const MOST_TALL = 1.8;

// Values stay in their columns; an item only knows its place in them.
class Item {
  constructor(place) {
    this.place = place;
  }
  get prompt() {
    return told.prompts[told.columns.prompt[this.place]];
  }
  get href() {
    return this.path?.replaceAll(" ", this.image);
  }
  get thumbHref() {
    return this.thumb?.replaceAll(" ", this.image);
  }
  get stored() {
    return this.outcome === "stored";
  }
  get tallness() {
    // Of what was asked for where nothing was received.
    const [width, height] = this.stored
      ? [this.width, this.height]
      : this.size.split("*").map(Number);
    return Math.min(height / Math.max(width, 1), MOST_TALL) || 1;
  }
}
for (const [name, column] of Object.entries(told.columns)) {
  if (name === "prompt") continue;
  const get = Array.isArray(column)
    ? function () {
        return column[this.place];
      }
    : function () {
        return column.v[column.c[this.place]];
      };
  Object.defineProperty(Item.prototype, name, { get });
}
const items = told.columns.prompt.map((_, place) => new Item(place));
const imagesNotHere = (list) => list.reduce((sum, item) => sum + item.notHere, 0);
const storedCount = items.filter((item) => item.stored).length;

const families = new Map();
for (const item of items) {
  if (!families.has(item.prompt)) families.set(item.prompt, []);
  families.get(item.prompt).push(item);
}
// Side by side in an order that compares: by size, then seed; sorted when first looked at.
const inOrder = new Set();
const bySize = new Intl.Collator("en", { numeric: true });
const familyOf = (prompt) => {
  const family = families.get(prompt);
  if (!inOrder.has(prompt)) {
    inOrder.add(prompt);
    family.sort(
      (a, b) =>
        b.stored - a.stored ||
        bySize.compare(a.size, b.size) ||
        a.replica - b.replica ||
        Number(a.seed) - Number(b.seed) ||
        (a.index ?? 0) - (b.index ?? 0),
    );
  }
  return family;
};

const fold = (text) => text.normalize("NFKC").toLowerCase().replaceAll("*", "×");
const pretty = (text) => String(text).replaceAll("*", "×");
const grouped = new Intl.NumberFormat("en");
const count = (number) => grouped.format(number);
const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

const texts = new Map();
// What the filter looks in; made when somebody first types.
const textOf = (item) => {
  if (!texts.has(item)) {
    if (!texts.has(item.prompt)) {
      const { id, text, negative, columns: own } = item.prompt;
      texts.set(item.prompt, fold([text, negative, id, own.flat().join(" ")].join("\n")));
    }
    const { seed, size, image, request, task, reason, actual, flags } = item;
    const own = [seed, size, image, request, task, reason, actual, flags];
    texts.set(item, `${texts.get(item.prompt)}\n${fold(own.filter(Boolean).join("\n"))}`);
  }
  return texts.get(item);
};
