"use strict";
(() => {
  const MOST_SENT = 1000;  // more than any model reads; the server takes so many characters
  const QUIET = 800;  // milliseconds without a key press before suggestions are read out
  const area = document.getElementById("text");
  const trouble = document.getElementById("trouble");
  const status = document.getElementById("status");
  const columns = [];
  let announcing;

  const percent = (share) => (share < 0.001 ? "< 0.1%" : (100 * share).toFixed(1) + "%");
  const milliseconds = (time) => time.toFixed(time < 10 ? 1 : 0) + " ms";
  const median = (numbers) => {
    const sorted = [...numbers].sort((one, other) => one - other), middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  };
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  // The message as far as the cursor.
  const before = () => {
    const text = area.value.slice(0, area.selectionStart);
    return text.slice(text.lastIndexOf("\n") + 1).slice(-MOST_SENT);
  };

  const ask = async (path, question) => {
    let response;
    try {
      response = await fetch(path, question && {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
      });
    } catch {
      throw new Error("hashfed keyboard does not answer: it was stopped. Start it again and reload this page.");
    }
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  };

  const tell = (message) => {
    trouble.textContent = message;
    trouble.hidden = !message;
  };

  class Column {
    constructor(run) {
      this.name = run.name;
      this.asked = 0;
      this.words = [];
      this.times = [];
      const section = document.getElementById("run").content.cloneNode(true).firstElementChild;
      const heading = section.querySelector("h2");
      heading.id = "run-" + columns.length;
      section.setAttribute("aria-labelledby", heading.id);
      section.querySelector(".name-of-run").textContent = run.name;
      section.querySelector(".suggestions").setAttribute("aria-label", "Suggestions of " + run.name);
      for (const [fact, value] of run.facts) {
        const pair = document.createElement("div");
        pair.append(element("dt", fact), element("dd", value));
        section.querySelector(".facts").append(pair);
      }
      this.read = section.querySelector(".read");
      this.time = section.querySelector(".time");
      this.buttons = [...section.querySelectorAll("button")];
      this.buttons.forEach((button, place) => button.addEventListener("click", () => this.take(place)));
      document.getElementById("runs").append(section);
    }

    async refresh(text) {
      const number = ++this.asked, start = performance.now();
      let answer;
      try {
        answer = await ask("/suggest", { run: this.name, text });
      } catch (error) {
        if (number === this.asked) tell(error.message);
        return;
      }
      if (number !== this.asked) return;  // a later key press has asked anew
      tell("");
      this.text = text;
      this.units = answer.units;
      this.words = answer.words.map(({ word }) => word);
      this.times.push(answer.milliseconds);
      this.buttons.forEach((button, place) => {
        const found = answer.words[place];
        button.disabled = !found;
        button.querySelector(".word").textContent = found ? found.word : "–";
        button.querySelector(".probability").textContent = found ? percent(found.probability) : "";
        button.style.setProperty("--probability", found ? found.probability : 0);
      });
      this.showRead(answer);
      const shownAfter = performance.now() - start;
      this.time.textContent = `Computed in ${milliseconds(answer.milliseconds)} ` +
        `(median ${milliseconds(median(this.times))}), shown after ${milliseconds(shownAfter)}`;
    }

    showRead({ read, begun, words }) {
      this.read.replaceChildren(read.length ? "Reads: " : "Reads the beginning of a message");
      for (const { word, known } of read) {
        this.read.append(element(known ? "bdi" : "mark", word));
        if (!known) this.read.append(Object.assign(element("span", " (unknown)"), { className: "unseen" }));
        this.read.append(" ");
      }
      if (begun && !words.length) this.read.append(" – no word begins with ", element("bdi", `“${begun}”`));
    }

    take(place) {
      const word = this.words[place];
      if (word === undefined || this.text !== before()) return;  // it does not fit what was typed meanwhile
      let start = area.selectionStart - this.units, end = area.selectionEnd;
      const begun = area.value.slice(start, area.selectionStart), last = area.value.slice(start - 1, start);
      const alike = begun.toLowerCase() === word.slice(0, begun.length);
      let insert = alike ? begun + word.slice(begun.length) : word;  // capitals stay as typed
      if (!begun && start > 0) {
        if (/^[.,;:!?…)\]}]$/u.test(word)) start -= last === " ";
        else if (!/\s/.test(last)) insert = " " + insert;
      }
      end += area.value[end] === " ";
      area.focus();
      area.setSelectionRange(start, end);
      // Unlike setRangeText it can be undone.
      if (!document.execCommand("insertText", false, insert + " ")) area.setRangeText(insert + " ", start, end, "end");
      update();
    }
  }

  let shown;
  const update = async () => {
    const text = before();
    if (text === shown || !columns.length) return;
    shown = text;
    clearTimeout(announcing);
    await Promise.all(columns.map((column) => column.refresh(text)));
    if (text !== shown) return;
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      const lists = columns.map(({ name, words }) => `${name}: ${words.join(", ") || "none"}`);
      status.textContent = "Suggestions of " + lists.join("; of ");
    }, QUIET);
  };

  area.addEventListener("input", update);
  document.addEventListener("selectionchange", update);

  area.addEventListener("keydown", (event) => {
    const plain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.isComposing);
    const atEnd = area.selectionStart === area.value.length;
    const first = columns.flatMap(({ buttons }) => buttons).find((button) => !button.disabled);
    if (event.key !== "ArrowDown" || !plain || !atEnd || !first) return;
    event.preventDefault();
    first.focus();
  });

  const runs = document.getElementById("runs");
  runs.addEventListener("mousedown", (event) => {
    if (event.target.closest("button")) event.preventDefault();  // the text keeps the focus, a phone its keyboard
  });
  runs.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = columns.findIndex(({ buttons }) => buttons.includes(event.target));
    const place = columns[row].buttons.indexOf(event.target);
    const all = columns.flatMap(({ buttons }) => buttons).filter((button) => !button.disabled);
    const here = all.indexOf(event.target);
    const other = (column) => column && (column.buttons.slice(0, place + 1).reverse().find((button) => !button.disabled));
    let next;
    if (event.key === "ArrowRight") next = all[here + 1] || event.target;
    else if (event.key === "ArrowLeft") next = all[here - 1] || area;
    else if (event.key === "ArrowDown") next = other(columns[row + 1]) || event.target;
    else if (event.key === "ArrowUp") next = other(columns[row - 1]) || area;
    else if (event.key === "Escape") next = area;
    else {
      // Typing on, without a way back first; the browser gives the character to what has the focus then.
      if ((event.key.length === 1 && event.key !== " ") || event.key === "Backspace") area.focus();
      return;
    }
    event.preventDefault();
    next.focus();
  });

  ask("/runs").then((answer) => {
    for (const run of answer.runs) columns.push(new Column(run));
    return update();
  }).catch((error) => tell(error.message));
})();
