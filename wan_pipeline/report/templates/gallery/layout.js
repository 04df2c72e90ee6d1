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

// Sections of cards of one height, side by side.
const HEAD = 68;
const inSections = (sections, { width, gap }, caption) => {
  const tall = Math.max(140, Math.min(250, width * 0.3));
  let y = 0;
  boxes = [];
  for (const section of sections) {
    boxes.push({ section, x: 0, y, width, height: HEAD });
    y += HEAD + gap / 2;
    let x = 0;
    for (const item of section.items) {
      const wide = Math.min(tall / item.tallness, width);
      if (x > 0 && x + wide > width + 0.5) {
        x = 0;
        y += tall + caption + gap;
      }
      boxes.push({ item, x, y, width: wide, height: tall + caption, brief: section.brief });
      x += wide + gap;
    }
    y += tall + caption + gap * 2;
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
