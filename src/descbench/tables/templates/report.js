// Sorting, filtering and choosing in the report. Without it all is still shown, and cells open by `command`.
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const one = (selector, from = document) => from.querySelector(selector);
const tables = all("main table[id]").filter((table) => !table.closest("#stages"));

// Browsers that do not know `command` of a button yet.
if (!("command" in HTMLButtonElement.prototype)) {
  for (const button of all("button[commandfor]")) {
    const dialog = document.getElementById(button.getAttribute("commandfor"));
    button.addEventListener("click", () =>
      button.getAttribute("command") === "close" ? dialog.close() : dialog.showModal());
  }
}

// The figure that was opened is marked in the dialog's list; a click beside the dialog closes it.
for (const button of all("button.cell")) {
  button.addEventListener("click", () => {
    const table = button.closest("table");
    const cell = button.closest("td");
    const heading = one("thead tr", table).cells[cell.cellIndex].dataset.label;
    const row = one("th", cell.parentNode).textContent;
    for (const line of all("table.figures tbody tr", document.getElementById(button.getAttribute("commandfor")))) {
      const [name, label, column] = [...line.cells].map((found) => found.textContent);
      line.classList.toggle("opened", name === table.id && label === row && column === heading);
    }
  });
}
for (const dialog of all("dialog")) {
  dialog.addEventListener("click", (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });
}

function valueOf(row, column) {
  const cell = row.cells[column];
  if (column === 0) return cell.textContent;
  const button = one("button.cell", cell);
  return button ? Number(button.dataset.value) : null;
}

// Empty cells stay at the end whichever way the others go.
function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const compare = (one, other) => {
    const [a, b] = [valueOf(one, column), valueOf(other, column)];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return descending ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
}

for (const table of tables) {
  const given = [...table.tBodies[0].rows];
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.dataset.label = heading.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      // The best first, then the worst, then the order of the paper.
      const first = column > 0 && heading.dataset.better !== "lower" ? "descending" : "ascending";
      const before = heading.getAttribute("aria-sort");
      for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
      if (before && before !== first) {
        table.tBodies[0].append(...given);
        return;
      }
      const now = before ? (first === "ascending" ? "descending" : "ascending") : first;
      heading.setAttribute("aria-sort", now);
      sortBy(table, column, now === "descending");
    });
  });
}

const text = one("#filter-text");
const verdict = one("#filter-verdict");
const reference = one("#choose-reference");

function verdictOf(button) {
  const chosen = reference && reference.value !== "both" ? reference.value : null;
  return chosen ? button.dataset[chosen] || "no reference" : button.dataset.verdict;
}

function filter() {
  const part = text.value.trim().toLowerCase();
  const wanted = verdict ? verdict.value : "";
  let shown = 0;
  let rows = 0;
  for (const table of tables) {
    for (const row of table.tBodies[0].rows) {
      const named = one("th", row).textContent.toLowerCase().includes(part);
      const judged = !wanted || all("button.cell", row).some((button) => verdictOf(button) === wanted);
      row.hidden = !(named && judged);
      rows += 1;
      shown += row.hidden ? 0 : 1;
    }
  }
  one("#shown-rows").textContent = `${shown} of ${rows} rows`;
}

function compareWith() {
  const chosen = reference.value;
  for (const cell of all("td", one("main"))) {
    const spans = all("[data-by]", cell);
    if (!spans.length) continue;
    const fitting = spans.find((span) => span.dataset.by === chosen);
    for (const span of spans) span.hidden = span !== fitting;
    const button = one("button.cell", cell);
    const figure = one("span", button);
    const found = verdictOf(button);
    figure.className = found.replaceAll(" ", "-");
    figure.title = found;
  }
  filter();
}

for (const select of all(".metric select")) {
  select.closest(".metric").hidden = false;
  const table = document.getElementById(select.dataset.table);
  select.addEventListener("change", () => {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (!column) return;
      const hidden = select.value !== "" && heading.dataset.metric !== select.value;
      for (const row of table.rows) row.cells[column].hidden = hidden;
    });
  });
}

text.addEventListener("input", filter);
if (verdict) verdict.addEventListener("change", filter);
if (reference) reference.addEventListener("change", compareWith);
one("#controls").hidden = false;
filter();
