// Everything on the page is there without this: it opens figures large and filters the claims.
"use strict";

const dialog = document.getElementById("large");
const canvas = dialog.querySelector(".canvas");
for (const plate of document.querySelectorAll("a.plate")) {
  plate.setAttribute("aria-haspopup", "dialog");
  plate.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab or window was asked for
    event.preventDefault();
    const small = plate.querySelector("img");
    const large = document.createElement("img");
    large.alt = small.alt;
    large.src = small.src;
    canvas.replaceChildren(large);
    document.getElementById("large-title").textContent = plate.dataset.title;
    dialog.showModal(); // gives the focus back when it is closed
  });
}
dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside the figure
});

const filter = document.querySelector(".filter");
const rows = [...document.querySelectorAll("table.claims tbody tr")];
filter.hidden = false;
filter.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  for (const button of filter.children) button.setAttribute("aria-pressed", String(button === pressed));
  const verdict = pressed.dataset.verdict;
  for (const row of rows) row.hidden = verdict !== "" && row.dataset.verdict !== verdict;
  const count = rows.filter((row) => !row.hidden).length;
  const text = `${count} of ${rows.length} claims shown: ${verdict}`;
  document.getElementById("shown").textContent = verdict === "" ? "" : text;
});
