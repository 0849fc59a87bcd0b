// Filters of a page with queries. Without it all is still shown.
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const one = (selector, from = document) => from.querySelector(selector);
const controls = one("#controls");
const [name, outcome, low, high] = ["#filter-name", "#filter-outcome", "#filter-low", "#filter-high"].map((id) => one(id));
const queries = all("[data-query]");
const number = (field) => (field && field.value !== "" ? field.valueAsNumber : null);

// `first` is the rank of the first right image: 0 where none was found, empty where nothing has labels.
const outcomes = {
  right: (first) => first === "1",
  wrong: (first) => first !== "1",
  none: (first) => first === "0",
};

function fits(query) {
  const { name: given, score = "", first = "" } = query.dataset;
  const path = given ?? one(".text", query).textContent;
  const [least, most] = [number(low), number(high)];
  if (!path.toLowerCase().includes(name.value.trim().toLowerCase())) return false;
  if (outcome && outcome.value && !outcomes[outcome.value](first)) return false;
  if (least !== null && !(score !== "" && Number(score) >= least)) return false;
  return most === null || (score !== "" && Number(score) <= most);
}

function filter() {
  const shown = new Set();
  for (const query of queries) {
    query.hidden = !fits(query);
    if (!query.hidden) shown.add(query.dataset.query);
  }
  for (const group of all("section[data-group]")) {
    group.hidden = all("[data-query]", group).every((query) => query.hidden);
  }
  const total = new Set(queries.map((query) => query.dataset.query)).size;
  one("#shown-queries").textContent = `${shown.size} of ${total} queries`;
}

for (const field of [name, low, high]) if (field) field.addEventListener("input", filter);
if (outcome) outcome.addEventListener("change", filter);
controls.hidden = false;
filter();
