"use strict";
// Filters the cases, walks through them by keyboard, and takes the filter along from page to page: #in=0,3,7.
(() => {
  const typing = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")
    || event.target.matches("select") && !"jku".includes(event.key);  // its own are the arrows and Enter
  const stepOf = (event) => ({ j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 })[event.key] ?? 0;
  const page = (number) => `${String(number + 1).padStart(4, "0")}.html`;

  const article = document.querySelector("[data-case]");
  if (article) {
    const own = Number(article.dataset.case), all = Number(article.dataset.of);
    const given = /^#in=(\d+(?:,\d+)*)$/.exec(location.hash);
    const walk = given ? given[1].split(",").map(Number).filter((number) => number < all) : [...Array(all).keys()];
    const at = walk.indexOf(own);
    const links = { "-1": document.getElementById("previous"), 1: document.getElementById("next") };
    for (const step of [-1, 1]) {
      const number = at < 0 ? undefined : walk[at + step];
      if (number === undefined) links[step].removeAttribute("href");
      else links[step].href = page(number) + (given ? location.hash : "");
    }
    document.getElementById("place").textContent = at < 0 ? "" : `${at + 1} of ${walk.length}`;
    document.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      const step = event.target.closest(".scroll") && event.key.startsWith("Arrow") ? 0 : stepOf(event);
      if (step && links[step].hasAttribute("href")) location.href = links[step].href;
      if (event.key === "u") location.href = document.getElementById("up").href;
    });
    return;
  }

  const form = document.getElementById("filter");
  if (!form) return;
  const [list, label, approach, verdict, count] =
    ["only-list", "only-class", "only-approach", "only-verdict", "count"].map((id) => document.getElementById(id));
  const cards = [...document.querySelectorAll(".card")];
  const has = (card, key, value) => (card.dataset[key] || "").split(" ").includes(value);

  function passes(card) {
    if (list.value && !has(card, "lists", list.value)) return false;
    if (label.value && card.dataset.label !== label.value) return false;
    if (approach.value && !has(card, "right", approach.value) && !has(card, "wrong", approach.value)) return false;
    if (!verdict.value) return true;
    if (approach.value) return has(card, verdict.value, approach.value);
    return verdict.value === "wrong" ? Boolean(card.dataset.wrong) : !card.dataset.wrong;
  }

  function filter() {
    approach.title = verdict.value ? "" : "of what this approach said: choose right or wrong too";
    const found = cards.filter(passes);
    const chosen = found.length < cards.length ? `#in=${found.map((card) => card.dataset.number).join(",")}` : "";
    for (const card of cards) {
      card.hidden = !found.includes(card);
      const link = card.querySelector("a");
      link.href = link.getAttribute("href").replace(/#.*|$/, chosen);
    }
    count.textContent = `${found.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")} cases`;
  }

  function move(step) {
    const links = cards.filter((card) => !card.hidden).map((card) => card.querySelector("a"));
    const at = links.indexOf(document.activeElement);
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  for (const control of [list, label, approach, verdict]) control.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.target.closest(".scroll")) return;
    if (stepOf(event)) { event.preventDefault(); move(stepOf(event)); }
  });
  addEventListener("pageshow", filter);  // browsers keep what a form held when one comes back
  filter();
})();
