// ---- keyboard, colours, and the beginning ----
const help = byId("keys");
const currentBox = () => {
  for (const [box, element] of drawn) {
    if (box.item && element.contains(document.activeElement)) return box;
  }
  return null;
};
const isTyping = () => document.activeElement === filter;

const move = (key) => {
  const here = currentBox();
  const place = here ? order.indexOf(here.item) : -1;
  if (!here && document.activeElement !== document.body) return false;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const seen = boxes.find(
      (box) => box.item && grid.getBoundingClientRect().top + box.y + box.height / 2 > 0,
    );
    const to = here ? order[place + (key === "ArrowRight" ? 1 : -1)] : seen?.item;
    if (to) focusItem(to);
    return true;
  }
  if (!here) return false;
  if (key === "Home") focusItem(order[0]);
  else if (key === "End") focusItem(order[order.length - 1]);
  else {
    const to = neighbour(here, key === "ArrowDown");
    if (to) focusItem(to.item);
  }
  return true;
};
const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

const inViewer = (event) => {
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "Escape") hide();
  else return;
  event.preventDefault();
};
const onPage = (event) => {
  if (document.activeElement.className === "typed") {
    if (event.key === "Escape") document.activeElement.blur();
    return;
  }
  if (isTyping()) {
    if (event.key === "Escape") {
      filter.value = state.words = "";
      apply();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      if (order.length) focusItem(order[0]);
      event.preventDefault();
    }
    return;
  }
  const views = { 1: "images", 2: "prompts", 3: "groups" };
  const wanted = document.querySelector(`#views button[data-view="${views[event.key]}"]`);
  if (event.key === "/") filter.select();
  else if (event.key === "?") help.showModal();
  else if (event.key === "f") byId("filters-toggle").click();
  else if (wanted && !wanted.hidden) setView(wanted.dataset.view);
  else if (event.key === "Escape" && isNarrowed()) clearAll();
  else if (!MOVES.has(event.key) || !move(event.key)) return;
  event.preventDefault();
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (viewer.open) inViewer(event);
  else onPage(event);
});
byId("show-keys").addEventListener("click", () => help.showModal());
byId("keys-close").addEventListener("click", () => help.close());

// Colours: the system's unless somebody chose; a browser may keep no choice of a page from disk.
const THEMES = ["auto", "light", "dark"];
const KEPT = "wan-gallery-colours";
const setTheme = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").dataset.now = theme;
  byId("theme-name").textContent = `Colours: ${theme}`;
};
const kept = () => {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
};
setTheme(THEMES.includes(kept()) ? kept() : "auto");
byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(byId("theme").dataset.now) + 1) % THEMES.length];
  setTheme(next);
  try {
    localStorage.setItem(KEPT, next);
  } catch {
    return; // it holds until the page is closed
  }
});

const follow = () => {
  const { open } = (readAddress(), state);
  filter.value = state.words;
  drawFacets();
  state.open = null;
  apply();
  if (open) show(open);
  else if (viewer.open) viewer.close();
};
addEventListener("hashchange", follow);

let asked = false;
const soon = () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
};
addEventListener("scroll", soon, { passive: true });
for (const [name, now] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(name, () => {
    printing = now;
    byId("printed").textContent =
      order.length > PRINTED ? `The first ${PRINTED} of ${count(order.length)}.` : "";
    draw();
  });
}
let width = 0;
new ResizeObserver(() => {
  if (grid.clientWidth === width) return soon();
  width = grid.clientWidth;
  const focused = currentBox()?.item;
  redraw();
  if (focused) focusItem(focused);
}).observe(grid);

grid.classList.add("placed");
document.body.classList.add("scripted");
width = grid.clientWidth;
follow();
