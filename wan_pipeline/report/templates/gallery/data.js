// ---- what is shown: items and the prompts they belong to ----
// All files of this folder are one script. Text from the data is only ever set as text.
const byId = (id) => document.getElementById(id);
const told = JSON.parse(byId("details").textContent);
const NONE = -1;
const OTHER = -2;
const MOST_TALL = 1.8;

const columns = Object.entries(told.columns).map(([name, column]) => [
  name,
  Array.isArray(column) ? column : column.c.map((number) => column.v[number]),
]);
const items = told.columns.prompt.map((_, place) => {
  const item = { place };
  for (const [name, values] of columns) item[name] = values[place];
  item.prompt = told.prompts[item.prompt];
  item.href = item.path?.replaceAll(" ", item.image);
  item.thumbHref = item.thumb?.replaceAll(" ", item.image);
  item.stored = item.outcome === "stored";
  // Of what was asked for where nothing was received.
  const [width, height] = item.stored ? [item.width, item.height] : item.size.split("*").map(Number);
  item.tallness = Math.min(height / Math.max(width, 1), MOST_TALL) || 1;
  return item;
});
const storedCount = items.filter((item) => item.stored).length;

// Side by side in an order that compares: by size, then seed.
const families = new Map();
for (const item of items) {
  if (!families.has(item.prompt)) families.set(item.prompt, []);
  families.get(item.prompt).push(item);
}
for (const family of families.values()) {
  family.sort(
    (a, b) =>
      b.stored - a.stored ||
      a.size.localeCompare(b.size, "en", { numeric: true }) ||
      a.replica - b.replica ||
      Number(a.seed) - Number(b.seed) ||
      (a.index ?? 0) - (b.index ?? 0),
  );
}

const fold = (text) => text.normalize("NFKC").toLowerCase().replaceAll("*", "×");
const pretty = (text) => String(text).replaceAll("*", "×");
const count = (number) => number.toLocaleString("en");
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
