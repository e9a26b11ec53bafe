// A table whose rows are kept by key: an update touches only the cells whose text has changed.

/** Set a text, unless it is there already: the browser lays out again what is set. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Table {
  #table; #body; #columns; #labels;
  #rows = new Map(); // by key: the data, the row of the table, its cells

  /**
   * `columns`: for each column a function of the row's data that returns the text of the cell,
   * or, with a second parameter, fills the cell.
   */
  constructor(table, columns) {
    this.#table = table;
    this.#body = table.tBodies[0];
    this.#columns = columns;
    this.#labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  }

  get size() { return this.#rows.size; }

  data(key) { return this.#rows.get(key)?.data; }

  /** Apply a change of the server: `rows` that are new or changed, and the `order` of all keys. */
  apply({ rows = [], order }) {
    for (const data of rows) {
      const known = this.#rows.get(data.key);
      if (known) known.data = data;
      else this.#rows.set(data.key, this.#make(data));
      this.#fill(this.#rows.get(data.key));
    }
    if (order) this.#arrange(order);
  }

  /** Write all cells again, since their texts depend on the time. */
  refresh() {
    for (const row of this.#rows.values()) this.#fill(row);
  }

  #make(data) {
    const element = document.createElement("tr");
    element.setAttribute("role", "row");
    element.dataset.key = data.key;
    const cells = this.#columns.map((column, place) => {
      const cell = element.insertCell();
      cell.setAttribute("role", "cell");
      cell.dataset.label = this.#labels[place];
      return cell;
    });
    return { data, element, cells };
  }

  #fill({ data, cells }) {
    this.#columns.forEach((column, place) => {
      const text = column(data, cells[place]);
      if (text !== undefined) write(cells[place], text);
    });
  }

  /** Bring the rows into an order; those that are not in it go. The others are not moved. */
  #arrange(order) {
    const wanted = new Set(order);
    const focused = document.activeElement?.closest("tr");
    const place = [...this.#body.rows].indexOf(focused);
    for (const [key, { element }] of this.#rows) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    let next = this.#body.firstElementChild;
    for (const key of order) {
      const { element } = this.#rows.get(key);
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
    if (place >= 0 && !focused.isConnected) this.#focus(place);
  }

  /** Move the focus to a row, after the one that had it has gone. */
  #focus(place) {
    const row = this.#body.rows[Math.min(place, this.#body.rows.length - 1)];
    const button = row?.querySelector("[data-close]") ?? row?.querySelector("button");
    if (!button) this.#table.tabIndex = -1;
    (button ?? this.#table).focus();
  }
}
