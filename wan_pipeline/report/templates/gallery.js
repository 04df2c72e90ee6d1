"use strict";
// Filter, layout and large view of the gallery. Text from the data is only ever set as text.
(() => {
  const byId = (id) => document.getElementById(id);
  const grid = byId("grid");
  const filter = byId("filter");
  const size = byId("size");
  const viewer = byId("viewer");
  const details = JSON.parse(byId("details").textContent);

  const fold = (text) => text.normalize("NFKC").toLowerCase().replaceAll("*", "×");
  const items = [...grid.children].map((card, index) => {
    const detail = details[index];
    const prompt = card.querySelector(".prompt").textContent;
    const columns = detail.columns.flat().join(" ");
    return {
      card,
      detail,
      prompt,
      link: card.querySelector(".picture"),
      tallness: Number(card.style.getPropertyValue("--tallness")),
      text: fold(
        [prompt, detail.negative, detail.promptId, detail.seed, detail.size, columns].join("\n"),
      ),
    };
  });
  let visible = items;
  let current = 0;

  // ---- layout: each card under the shortest column; heights are known, nothing is measured ----
  const place = () => {
    const style = getComputedStyle(document.documentElement);
    const gap = parseFloat(style.getPropertyValue("--gap"));
    const caption = parseFloat(style.getPropertyValue("--caption"));
    const width = grid.clientWidth;
    const count = Math.max(width < 340 ? 1 : 2, Math.round((width + gap) / (280 + gap)));
    const column = (width - gap * (count - 1)) / count;
    const heights = new Array(count).fill(0);
    grid.style.setProperty("--column", `${column}px`);
    for (const { card, tallness } of visible) {
      const shortest = heights.indexOf(Math.min(...heights));
      card.style.transform = `translate(${shortest * (column + gap)}px, ${heights[shortest]}px)`;
      heights[shortest] += Math.round(column * tallness + caption + gap);
    }
    grid.style.height = `${Math.max(...heights)}px`;
    grid.classList.add("placed");
  };

  // ---- filter: every word must occur somewhere ----
  const apply = () => {
    const words = fold(filter.value).split(/\s+/).filter(Boolean);
    const wanted = size ? size.value : "";
    visible = items.filter(({ card, detail, text }) => {
      const fits = (!wanted || detail.size === wanted) && words.every((word) => text.includes(word));
      card.hidden = !fits;
      return fits;
    });
    byId("count").textContent =
      `${visible.length.toLocaleString("en")} of ${items.length.toLocaleString("en")}`;
    byId("nothing").hidden = visible.length > 0;
    place();
  };

  // ---- large view ----
  const field = (name, value, kind = "") => {
    const row = document.createElement("div");
    row.className = kind;
    for (const [tag, text] of [["dt", name], ["dd", value]]) {
      row.appendChild(document.createElement(tag)).textContent = text;
    }
    return row;
  };
  const show = (position) => {
    current = (position + visible.length) % visible.length;
    const { detail, prompt, link } = visible[current];
    byId("viewer-place").textContent = `${current + 1} of ${visible.length}`;
    byId("viewer-prompt").textContent = prompt;
    byId("viewer-image").src = link.href;
    byId("viewer-image").alt = prompt;
    byId("viewer-link").href = byId("viewer-open").href = link.href;
    byId("viewer-fields").replaceChildren(
      ...(detail.negative ? [field("negative", detail.negative)] : []),
      field("seed", `${detail.seed} (${detail.seedSource})`),
      field("size", detail.size),
      ...(detail.matches ? [] : [field("received", `${detail.actual}, not the size asked for`, "warn")]),
      field("image", detail.place),
      field("cost", detail.cost),
      ...detail.columns.map(([name, value]) => field(name, value)),
      field("prompt id", detail.promptId, "mono"),
      field("request id", detail.requestId, "mono"),
      field("image id", detail.imageId, "mono"),
    );
    document.querySelector(".panel").scrollTop = 0;
    if (!viewer.open) viewer.showModal();
    // The neighbour is likely to be next: let the browser read it meanwhile.
    new Image().src = visible[(current + 1) % visible.length].link.href;
  };

  grid.addEventListener("click", (event) => {
    const link = event.target.closest(".picture");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(visible.findIndex((item) => item.link === link));
  });
  byId("previous").addEventListener("click", () => show(current - 1));
  byId("next").addEventListener("click", () => show(current + 1));
  // At once, not on the dialog's late "close" event: the next key may already be a shortcut.
  const hide = () => {
    viewer.close();
    visible[current].link.focus();
  };
  byId("close").addEventListener("click", hide);
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer || event.target.className === "stage") hide();
  });

  filter.addEventListener("input", apply);
  size?.addEventListener("change", apply);
  byId("clear")?.addEventListener("click", () => {
    filter.value = "";
    if (size) size.value = "";
    apply();
    filter.focus();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (viewer.open) {
      if (step) show(current + step);
      if (event.key === "Escape") {
        event.preventDefault();
        hide();
      }
    } else if (event.key === "/" && document.activeElement !== filter) {
      event.preventDefault();
      filter.select();
    } else if (event.key === "Escape" && document.activeElement === filter) {
      filter.value = "";
      apply();
    } else if (step && document.activeElement.className === "picture") {
      const here = visible.findIndex((item) => item.link === document.activeElement);
      visible[here + step]?.link.focus();
    }
  });

  new ResizeObserver(place).observe(grid.parentElement);
  apply();
})();
