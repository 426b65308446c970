"use strict";
// Shows the pairs a page at a time, as the reader comes to them; text enters by textContent alone, never as HTML.
(() => {
  const { pairs, pictures } = JSON.parse(document.getElementById("data").textContent);
  const BATCH = 48;

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function frame(number, alt) {
    if (number < 0) return element("div", { className: "frame" }, element("span", {}, "cannot be read"));
    const [width, height, file] = pictures[number];
    return element("div", { className: "frame" },
      element("img", { width, height, alt, decoding: "async", src: "data:image/jpeg;base64," + file }));
  }

  for (const place of document.querySelectorAll("[data-picture]"))
    place.replaceWith(frame(Number(place.dataset.picture), place.dataset.alt));

  const list = document.getElementById("list");
  if (!list) return;
  const [kind, splits, labels, search, count, more, dialog] =
    ["kind", "only-splits", "only-labels", "search", "count", "more", "enlarged"].map((id) => document.getElementById(id));
  const paths = pairs.map((pair) => pair.images.map((image) => image.path.toLowerCase()).join("\n"));
  let found = [];  // places in pairs of what passes the filter

  function figure(image, side) {
    const facts = [image.split || "no split", image.label || "no label"].join(", ");
    return element("figure", {}, frame(image.picture, `Picture ${side}: ${facts}, ${image.path}`),
      element("figcaption", {}, element("b", {}, facts), element("br"), element("span", { className: "path" }, image.path),
        element("br"), image.size));
  }

  function heading(pair) {
    const flags = [pair.splits && "across splits", pair.labels && "two labels"].filter(Boolean);
    return element("div", { className: "head" }, element("h3", {}, pair.kind),
      element("span", { className: "score" }, `score ${pair.score.toFixed(3)}`),
      element("div", { className: "flags" }, ...flags.map((flag) => element("span", { className: "flag" }, flag))));
  }

  function card(at) {
    const pair = pairs[found[at]];
    const open = element("button", { type: "button" }, "Enlarge");
    open.addEventListener("click", () => enlarge(at));
    const item = element("li", { className: "pair", tabIndex: 0 }, heading(pair),
      element("div", { className: "two" }, figure(pair.images[0], "A"), figure(pair.images[1], "B")), open);
    item.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === item) { event.preventDefault(); enlarge(at); }
    });
    return item;
  }

  function grow() {
    const from = list.childElementCount;
    const until = Math.min(from + BATCH, found.length);
    const batch = document.createDocumentFragment();
    for (let at = from; at < until; at++) batch.append(card(at));
    list.append(batch);
    more.hidden = until === found.length;
  }

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    found = [...pairs.keys()].filter((at) => (!kind.value || pairs[at].kind === kind.value)
      && (!splits.checked || pairs[at].splits) && (!labels.checked || pairs[at].labels) && paths[at].includes(wanted));
    list.replaceChildren();
    count.textContent = `${found.length.toLocaleString("en")} of ${pairs.length.toLocaleString("en")} pairs`;
    grow();
  }

  function move(step) {
    const at = [...list.children].indexOf(document.activeElement.closest(".pair"));
    const next = Math.max(0, at + step);
    if (next >= list.childElementCount) grow();
    list.children[Math.min(next, list.childElementCount - 1)]?.focus();
  }

  let enlarged = 0;
  function enlarge(at) {
    enlarged = Math.min(Math.max(at, 0), found.length - 1);
    while (list.childElementCount <= enlarged) grow();
    const pair = pairs[found[enlarged]];
    const sides = element("div", { className: "two" }, figure(pair.images[0], "A"), figure(pair.images[1], "B"));
    const button = (name, act) => {
      const made = element("button", { type: "button" }, name);
      made.addEventListener("click", act);
      return made;
    };
    const [over] = sides.getElementsByClassName("frame");
    const [own, other] = [...sides.querySelectorAll("img")].map((image) => image.src);
    const lay = button("Lay B over A (Space)", () => {
      const image = over.querySelector("img");
      if (!image || !other) return;
      image.src = image.src === own ? other : own;
      lay.textContent = image.src === own ? "Lay B over A (Space)" : "Show A again (Space)";
    });
    lay.id = "lay";
    const pressed = dialog.open && document.activeElement.textContent;
    dialog.replaceChildren(heading(pair), sides, element("div", { className: "bottom" },
      button("Previous", () => enlarge(enlarged - 1)), button("Next", () => enlarge(enlarged + 1)), lay,
      button("Close", () => dialog.close())));
    if (!dialog.open) dialog.showModal();
    // Who walks through the pairs by a button stays on it.
    ([...dialog.querySelectorAll("button")].find((made) => made.textContent === pressed) ?? lay).focus();
  }
  dialog.addEventListener("close", () => list.children[enlarged]?.focus());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) enlarge(enlarged + step);
  });

  document.addEventListener("keydown", (event) => {
    if (dialog.open || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    if (event.key === "j") move(1);
    if (event.key === "k") move(-1);
  });

  for (const button of document.querySelectorAll("button[data-show]"))
    button.addEventListener("click", () => {
      kind.value = search.value = "";
      splits.checked = button.dataset.show === "splits";
      labels.checked = button.dataset.show === "labels";
      filter();
      document.getElementById("pairs").scrollIntoView();
      list.firstElementChild?.focus({ preventScroll: true });
    });
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [kind, splits, labels, search]) control.addEventListener("input", filter);
  more.addEventListener("click", grow);
  // Keyboard and screen readers use the button; for those who scroll it presses itself.
  new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && grow(), { rootMargin: "800px" })
    .observe(more);
  filter();  // at once, as browsers keep what a form held when a page is loaded again
})();
