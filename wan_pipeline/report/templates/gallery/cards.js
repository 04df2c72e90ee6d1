// ---- drawing: only what is in view, and a screen before and after it, is in the document ----
const drawn = new Map(); // element by box
const PRINTED = 200;
let printing = false;

const make = (tag, className = "", text = null, attributes = {}) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const flagText = (flag) => flag.replaceAll("_", " ");
const altText = (item) =>
  `${item.prompt.text.slice(0, 160)}${item.seed === null ? "" : `, seed ${item.seed}`}`;

const drawPicture = (item) => {
  const link = make("a", "picture");
  link.href = item.href ?? `#${new URLSearchParams({ request: item.request })}`;
  link.style.setProperty("--tallness", item.tallness);
  if (item.thumbHref) {
    const image = make("img", "", null, { alt: altText(item), decoding: "async" });
    image.src = item.thumbHref;
    link.append(image);
  } else {
    link.append(
      item.stored
        ? make("span", "no-picture", "no preview")
        : make("span", "no-picture why", item.reason),
    );
    link.setAttribute("aria-label", `${item.stored ? "no preview" : item.state}: ${altText(item)}`);
  }
  if (item.n > 1 && item.stored) link.append(make("span", "place", `${item.index + 1}/${item.n}`));
  const marks = make("span", "marks");
  if (!item.stored) marks.append(make("span", "mark mark-bad", item.state));
  if (item.stored && !item.matches) {
    marks.append(
      make("span", "mark mark-bad", `${item.width}×${item.height}`, {
        title: `Asked for ${pretty(item.size)}`,
      }),
    );
  }
  // What a request without an image is flagged with, its state and reason have told.
  for (const flag of item.stored ? (item.flags ?? "").split(" ").filter(Boolean) : []) {
    if (flag !== "wrong_size" || item.matches) marks.append(make("span", "mark", flagText(flag)));
  }
  if (marks.childElementCount) link.append(marks);
  return link;
};

const drawCard = ({ item, brief, height }, place) => {
  const card = make("article", brief ? "card brief" : "card", null, {
    "aria-posinset": place + 1,
    "aria-setsize": order.length,
  });
  if (!item.stored) card.classList.add("is-absent");
  const caption = make("div", "caption");
  if (!brief) caption.append(make("p", "prompt", item.prompt.text, { dir: "auto" }));
  const facts = make("p", "facts");
  if (item.seed !== null) {
    facts.append(make("span", "", item.seed, { title: `seed, ${item.seedSource}` }));
  }
  facts.append(make("span", "", pretty(item.size)));
  if (item.stored) facts.append(make("span", "", item.cost));
  caption.append(facts);
  card.append(drawPicture(item), caption);
  card.style.height = `${height}px`;
  return card;
};

const drawHead = ({ section }) => {
  const head = make("div", "section-head");
  const only = (name, value) =>
    make("a", "quiet", "only these", {
      href: `#${new URLSearchParams({ view: state.view, [name]: value })}`,
    });
  const number = (list) => many(list.filter((item) => item.stored).length, "image");
  if (section.prompt) {
    const { prompt, items: shown, of } = section;
    const title = make("h2", "", prompt.text, { dir: "auto", title: prompt.text });
    const seeds = new Set(shown.map((item) => item.seed)).size;
    const absent = imagesNotHere(shown);
    const facts = [number(shown), many(seeds, "seed")];
    if (absent) facts.push(`${count(absent)} not here`);
    if (shown.length < of) facts.push(`${count(of - shown.length)} filtered out`);
    const line = make("p");
    line.append(only("prompt", prompt.id), ` · ${facts.join(" · ")} · ${prompt.id}`);
    head.append(title, line);
  } else {
    const { group, items: members } = section;
    const prompts = new Set(members.map((item) => item.prompt)).size;
    const nearest = members.map((item) => item.nearest).filter((bits) => bits !== null);
    const facts = [prompts === 1 ? "all of one prompt" : `across ${count(prompts)} prompts`];
    if (nearest.length) facts.push(`the nearest differ in ${many(Math.min(...nearest), "bit")} of 64`);
    const line = make("p");
    line.append(only("group", group), ` · ${facts.join(" · ")}`);
    head.append(make("h2", "", `${number(members)} that look alike`), line);
  }
  return head;
};

const draw = () => {
  const top = -grid.getBoundingClientRect().top;
  const screen = document.documentElement.clientHeight;
  const inView = ({ y, height }) => y < top + 2 * screen && y + height > top - screen;
  // What has the focus stays, else the keyboard would lose its place.
  const wanted = printing
    ? boxes.slice(0, PRINTED)
    : boxes.filter((box) => inView(box) || drawn.get(box)?.contains(document.activeElement));
  const kept = new Set(wanted);
  for (const [box, element] of drawn) {
    if (!kept.has(box)) {
      element.remove();
      drawn.delete(box);
    }
  }
  // In the order of the page, for those who read or tab through it.
  let next = grid.firstElementChild;
  for (const box of wanted) {
    let element = drawn.get(box);
    if (!element) {
      element = box.item ? drawCard(box, order.indexOf(box.item)) : drawHead(box);
      element.style.width = `${box.width}px`;
      element.style.transform = `translate(${box.x}px, ${box.y}px)`;
      drawn.set(box, element);
      grid.insertBefore(element, next);
    } else {
      next = element.nextElementSibling;
    }
  }
};
const redraw = () => {
  grid.setAttribute("role", state.view === "images" ? "feed" : "group");
  drawn.clear();
  grid.replaceChildren();
  layOut();
  draw();
};

const boxOf = (item) => boxes.find((box) => box.item === item);
const focusItem = (item) => {
  const box = boxOf(item);
  if (!box) return;
  const above = grid.getBoundingClientRect().top + box.y;
  const bar = byId("bar").getBoundingClientRect().height;
  const screen = document.documentElement.clientHeight;
  if (above < bar + 8) scrollBy(0, above - bar - 8);
  else if (above + box.height > screen - 8) {
    scrollBy(0, Math.min(above + box.height - screen + 8, above - bar - 8));
  }
  draw();
  drawn.get(box)?.querySelector(".picture").focus({ preventScroll: true });
};
