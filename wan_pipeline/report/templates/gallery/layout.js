// ---- where everything lies: heights are known, so nothing is measured and nothing jumps ----
const grid = byId("grid");
let boxes = [];
let order = []; // items as they follow each other on the page

const room = () => {
  const style = getComputedStyle(document.documentElement);
  return {
    width: grid.clientWidth,
    gap: parseFloat(style.getPropertyValue("--gap")),
    caption: parseFloat(style.getPropertyValue("--caption")),
  };
};

// Each card under the shortest column.
const inColumns = (list, { width, gap, caption }) => {
  const number = Math.max(width < 340 ? 1 : 2, Math.round((width + gap) / (280 + gap)));
  const column = (width - gap * (number - 1)) / number;
  const heights = new Array(number).fill(0);
  boxes = list.map((item) => {
    const shortest = heights.indexOf(Math.min(...heights));
    const height = Math.round(column * item.tallness + caption);
    const box = { item, x: shortest * (column + gap), y: heights[shortest], width: column, height };
    heights[shortest] += height + gap;
    return box;
  });
  return Math.max(...heights);
};

// What fits beside each other, as [item, width] when all are equally tall.
const inRows = (list, tall, { width, gap }) => {
  const rows = [];
  let x = Infinity;
  for (const item of list) {
    const wide = Math.min(tall / item.tallness, width);
    if (x + wide > width + 0.5) {
      rows.push([]);
      x = 0;
    }
    rows.at(-1).push([item, wide]);
    x += wide + gap;
  }
  return rows;
};
// A row with no room for one more like its last fills the width, within bounds: where there are
// few beside each other, on a phone, room counts for more than equal heights.
const scaleOf = (row, { width, gap }, squares) => {
  const most = squares > 2 ? 1.15 : 1.6;
  const free = width - gap * (row.length - 1);
  const wide = row.reduce((sum, [, each]) => sum + each, 0);
  const hasRoom = wide + gap + row.at(-1)[1] <= free + 0.5;
  return hasRoom || free > wide * most ? 1 : free / wide;
};

// Sections of cards, side by side; a row's are of one height, such that squares fill the width.
const HEAD = 68;
const inSections = (sections, space, caption) => {
  const { width, gap } = space;
  const squares = Math.max(2, Math.ceil((width + gap) / (250 + gap)));
  const tall = (width - gap * (squares - 1)) / squares;
  let y = 0;
  boxes = [];
  for (const section of sections) {
    boxes.push({ section, x: 0, y, width, height: HEAD });
    y += HEAD + gap / 2;
    for (const row of inRows(section.items, tall, space)) {
      const scale = scaleOf(row, space, squares);
      const height = tall * scale + caption;
      let x = 0;
      for (const [item, wide] of row) {
        boxes.push({ item, x, y, width: wide * scale, height, brief: section.brief });
        x += wide * scale + gap;
      }
      y += height + gap;
    }
    y += gap;
  }
  return y;
};

const byPrompt = () => {
  const chosen = new Set(visible);
  const sections = [];
  for (const prompt of families.keys()) {
    const family = familyOf(prompt);
    const shown = family.filter((item) => chosen.has(item));
    if (shown.length) sections.push({ prompt, items: shown, of: family.length, brief: true });
  }
  return sections;
};
const byGroup = () => {
  const groups = new Map();
  for (const item of visible) {
    if (!item.group) continue;
    if (!groups.has(item.group)) groups.set(item.group, []);
    groups.get(item.group).push(item);
  }
  return [...groups]
    .map(([group, members]) => ({ group, items: members, brief: false }))
    .sort((a, b) => b.items.length - a.items.length);
};

const layOut = () => {
  const space = room();
  let height;
  if (state.view === "prompts") height = inSections(byPrompt(), space, 58);
  else if (state.view === "groups") height = inSections(byGroup(), space, space.caption);
  else height = inColumns(visible, space);
  order = boxes.filter((box) => box.item).map((box) => box.item);
  grid.style.height = `${Math.max(height, 0)}px`;
};

// The card above or below: the nearest one there.
const neighbour = (from, down) => {
  const middle = (box) => box.x + box.width / 2;
  const distance = (box) =>
    Math.abs(box.y - from.y) + 2 * Math.abs(middle(box) - middle(from));
  return boxes
    .filter((box) => box.item && (down ? box.y >= from.y + from.height : box.y + box.height <= from.y))
    .reduce((best, box) => (best && distance(best) <= distance(box) ? best : box), null);
};
