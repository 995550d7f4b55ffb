// Which trials a participant sees. The same functions as in assignment.py, which says what they do and why;
// tests hold the two to each other, trial by trial.
"use strict";

const assignment = (() => {
  const WORD = 2 ** 32;
  const WARM_UP = 20;

  function digest(text) {
    let state = 2166136261;
    for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 16777619);
    for (const [shift, factor] of [[16, 0x85ebca6b], [13, 0xc2b2ae35], [16, 1]]) {
      state = Math.imul(state ^ (state >>> shift), factor);
    }
    return state >>> 0;
  }

  // A function that gives the next random whole number below 2^32.
  function stream(text) {
    let [a, b, c, counter] = [0, 1, 2, 3].map((i) => digest(`${i}/${text}`));
    function next() {
      const number = (a + b + counter) >>> 0;
      counter = (counter + 1) >>> 0;
      a = (b ^ (b >>> 9)) >>> 0;
      b = (c + (c << 3)) >>> 0;
      c = (((c << 21) | (c >>> 11)) + number) >>> 0;
      return number;
    }
    for (let i = 0; i < WARM_UP; i += 1) next();
    return next;
  }

  function below(n, rng) {
    let number;
    do number = rng(); while (number >= WORD - (WORD % n));
    return number % n;
  }

  function shuffled(items, rng) {
    const order = [...items];
    for (let last = order.length - 1; last > 0; last -= 1) {
      const other = below(last + 1, rng);
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  }

  const range = (n) => Array.from({ length: n }, (_, i) => i);

  function dealt(n, nConditions, rng) {
    const copies = Math.ceil(n / nConditions);
    return shuffled(range(copies * nConditions).map((i) => i % nConditions), rng).slice(0, n);
  }

  function shown(design, source, condition) {
    const wanted = design.conditions[condition];
    const place = source.files[condition] ? condition : 0;
    return {
      phase: "main", kind: "stimulus", stimulus: source.stimulus, answer: source.answer,
      ...design.conditions[place], dealt: place === condition ? "" : `${wanted.model}/${wanted.layer}`,
      label: source.labels[place], file: source.files[place],
    };
  }

  function natural(item, phase) {
    return { phase, model: "", layer: "natural", dealt: "", label: "", ...item };
  }

  function trials(design, participant) {
    const rng = stream(`${design.seed}/${participant}`);
    const sources = shuffled(design.sources, rng).slice(0, design.settings.n_trials);
    const conditions = dealt(sources.length, design.conditions.length, rng);
    const main = sources.map((source, i) => shown(design, source, conditions[i]));
    const catches = shuffled(design.catch, rng).map((item) => natural(item, "catch"));
    const n = main.length + catches.length;
    const places = new Set(shuffled(range(n), rng).slice(0, catches.length));
    const mixed = range(n).map((place) => (places.has(place) ? catches : main).shift());
    const before = ["check", "practice", "demo"].flatMap((phase) =>
      shuffled(design[phase], rng).map((item) => natural(item, phase)));
    return [...before, ...mixed];
  }

  return { stream, below, shuffled, dealt, trials };
})();
