// One run of the experiment: consent, checks, practice, demonstration, main part, results.
// Everything that is shown is set as text, never as HTML. Answers are kept in this browser until the end, so that a
// reload continues where it was.
"use strict";

(() => {
  const design = JSON.parse(document.getElementById("design").textContent);
  const settings = design.settings;
  const seen = design.modality === "vision";
  const page = document.getElementById("page");
  const COLUMNS = [
    "experiment", "participant", "trial", "phase", "modality", "stimulus", "model", "layer", "response", "answer",
    "correct", "rt_ms", "network_response", "network_correct", "n_choices", "seed", "dealt", "shown_ms", "views",
  ];
  const PHASES = TEXTS.phases;
  const MOST_OPTIONS = 8;

  // Building pages

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const paragraph = (text, attributes = {}) => element("p", attributes, text);
  const heading = (text) => element("h1", { tabindex: "-1" }, text);
  const card = (...children) => element("section", { class: "card" }, ...children);
  const stage = (...children) => element("section", { class: "stage" }, ...children);

  // A text with the values of its {names}.
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  // Heading and paragraphs of a page.
  function worded(name, values = {}) {
    const [title, ...body] = TEXTS.pages[name].map((text) => filled(text, values));
    return [heading(title), ...body.map((text) => paragraph(text))];
  }

  function show(name, ...children) {
    page.dataset.page = name;
    page.replaceChildren(...children);
    window.scrollTo(0, 0);
  }

  // A page of text with buttons; gives the value of the button that was chosen.
  function ask(name, children, buttons) {
    document.getElementById("progress").hidden = true;
    return new Promise((chosen) => {
      const row = buttons.map(([label, value, kind = "primary"]) => {
        const attributes = { type: "button", class: kind, "data-value": value, onclick: () => chosen(value) };
        return element("button", attributes, label);
      });
      const made = card(...children, element("div", { class: "buttons" }, ...row));
      // Enter takes the only button there is; a key held down from the last answer does not.
      made.addEventListener("keydown", (event) => {
        const taken = event.key === "Enter" && !event.repeat && event.target.tagName !== "BUTTON";
        if (taken && buttons.length === 1) chosen(buttons[0][1]);
      });
      show(name, made);
      (page.querySelector("h1") || page).focus({ preventScroll: true });
    });
  }

  // Paragraphs between empty lines; `#` begins a heading, `-` a point of a list.
  function prose(text) {
    return text.split(/\n\s*\n/).flatMap((block) => {
      const lines = block.trim().split("\n");
      if (lines[0].startsWith("#")) {
        const title = element("h2", {}, lines[0].replace(/^#+\s*/, ""));
        return lines.length > 1 ? [title, ...prose(lines.slice(1).join("\n"))] : [title];
      }
      if (lines.every((line) => line.startsWith("- "))) {
        return [element("ul", {}, ...lines.map((line) => element("li", {}, line.slice(2))))];
      }
      return [paragraph(lines.join(" "))];
    });
  }

  // Who takes part, and what is known of him

  // Some browsers let pages keep nothing: then a reload begins anew.
  const storage = (() => {
    try {
      localStorage.removeItem("");
      return localStorage;
    } catch {
      const kept = new Map();
      return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) };
    }
  })();

  function participantOf() {
    const given = new URLSearchParams(location.search).get("participant");
    if (given !== null) return /^[\w-]{1,64}$/.test(given) ? given : null;
    const kept = storage.getItem(design.experiment);
    if (kept) return kept;
    const drawn = crypto.getRandomValues(new Uint32Array(2));
    return [...drawn].map((number) => number.toString(16).padStart(8, "0")).join("");
  }

  const participant = participantOf();
  const key = `${design.experiment}/${participant}`;
  const plan = participant === null ? [] : assignment.trials(design, participant);
  let state = { rows: [], views: {}, sent: false };

  function save() {
    storage.setItem(design.experiment, participant);
    storage.setItem(key, JSON.stringify(state));
  }

  const has = (phase) => plan.some((trial) => trial.phase === phase);
  const isMain = (trial) => trial.phase === "main" || trial.phase === "catch";

  // "check" or "demo" once it has been failed, else "".
  function failed() {
    for (const [phase, least] of [["check", settings.n_check_correct], ["demo", settings.n_demo_correct]]) {
      const rows = state.rows.filter((row) => row.phase === phase);
      const done = rows.length === plan.filter((trial) => trial.phase === phase).length;
      if (rows.length && done && rows.filter((row) => row.correct).length < least) return phase;
    }
    return "";
  }

  function progress(i) {
    const group = plan.filter((trial) => PHASES[trial.phase] === PHASES[plan[i].phase]);
    const place = group.indexOf(plan[i]);
    document.getElementById("progress").hidden = false;
    const said = { phase: PHASES[plan[i].phase], n: place + 1, total: group.length };
    document.getElementById("place").textContent = filled(TEXTS.place, said);
    const bar = document.getElementById("bar");
    bar.max = group.length;
    bar.value = place;
  }

  // Time

  const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

  // Draw each step and keep it for its time; gives the time at which each was drawn. A step ends with the frame
  // nearest to its end, so that its length is a whole number of frames.
  function timed(steps) {
    return new Promise((done) => {
      const onsets = [];
      let frame = 16;
      let last = null;
      function tick(now) {
        if (last !== null) frame = Math.min(frame, now - last);
        last = now;
        const i = onsets.length;
        if (i === 0 || now >= onsets[i - 1] + steps[i - 1].ms - frame / 2) {
          onsets.push(now);
          if (i === steps.length) { done(onsets); return; }
          steps[i].draw();
        }
        requestAnimationFrame(tick);
      }
      requestAnimationFrame(tick);
    });
  }

  // Files: asked for again if one does not arrive

  async function patiently(load) {
    for (;;) {
      try {
        return await load();
      } catch {
        await ask("lost", worded("lost"), [[TEXTS.again, "again"]]);
      }
    }
  }

  async function image(file) {
    const loaded = new Image();
    await new Promise((done, fail) => {
      loaded.addEventListener("load", done);
      loaded.addEventListener("error", fail);
      loaded.src = file;
    });
    await loaded.decode().catch(() => null); // some browsers decode drawings only when they draw them
    return loaded;
  }

  // Browsers that load no sound before it is played never say that it can be; then playing shows whether it can.
  const audible = (file, player = new Audio()) => new Promise((done, fail) => {
    player.preload = "auto";
    player.addEventListener("canplaythrough", done, { once: true });
    player.addEventListener("error", fail, { once: true });
    player.src = file;
    player.load();
    wait(3000).then(done);
  });

  // Files of the next trials are fetched while this one is answered.
  function prefetch(i) {
    for (const trial of plan.slice(i, i + 3).filter((next) => next.file)) {
      (seen ? image : audible)(trial.file).catch(() => null);
    }
  }

  // Pictures

  function canvas() {
    const scale = window.devicePixelRatio || 1;
    const side = Math.round(settings.size_px * scale);
    const made = element("canvas", { width: side, height: side, role: "img", "aria-label": "picture" });
    made.style.width = `${settings.size_px}px`;
    made.style.height = `${settings.size_px}px`;
    return made;
  }

  function drawing(surface, drawn) {
    const { width, height } = surface;
    const context = surface.getContext("2d");
    context.imageSmoothingQuality = "high";
    return () => {
      context.fillStyle = "#808080";
      context.fillRect(0, 0, width, height);
      drawn(context, width, height);
    };
  }

  function cross(context, width, height) {
    const [long, thick] = [width / 12, Math.max(2, width / 120)];
    context.fillStyle = "#000";
    context.fillRect((width - long) / 2, (height - thick) / 2, long, thick);
    context.fillRect((width - thick) / 2, (height - long) / 2, thick, long);
  }

  // Coloured noise in squares of a 64th of the side, other ones in each trial.
  function noise(context, width, height) {
    const [n, bytes] = [64, new Uint8Array(64 * 64 * 4)];
    crypto.getRandomValues(bytes);
    for (let i = 3; i < bytes.length; i += 4) bytes[i] = 255;
    const small = element("canvas", { width: n, height: n });
    small.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(bytes), n, n), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
    context.imageSmoothingEnabled = true;
  }

  function letters(text) {
    return (context, width, height) => {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, height);
      context.fillStyle = "#000";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.font = `600 ${width / 8}px sans-serif`;
      context.fillText(text, width / 2, height / 2, width * 0.9);
    };
  }

  function pictured(loaded) {
    return (context, width, height) => {
      context.fillStyle = "#fff"; // behind icons, which are transparent
      context.fillRect(0, 0, width, height);
      context.drawImage(loaded, 0, 0, width, height);
    };
  }

  async function flash(trial, slow) {
    const drawn = trial.file ? pictured(await patiently(() => image(trial.file))) : letters(trial.answer);
    const ms = (step) => settings[`${slow ? "slow_" : ""}${step}_ms`];
    const surface = canvas();
    show("trial", stage(surface));
    const onsets = await timed([
      { draw: drawing(surface, cross), ms: ms("fixation") },
      { draw: drawing(surface, drawn), ms: ms("image") },
      { draw: drawing(surface, noise), ms: ms("mask") },
    ]);
    return { onset: onsets[1], shown: Promise.resolve(onsets[2] - onsets[1]) };
  }

  // Sounds

  function listening() {
    const bars = [1, 2, 3, 4, 5].map(() => element("span"));
    const speaker = element("div", { class: "speaker", role: "img", "aria-label": "sound" }, ...bars);
    show("trial", stage(speaker, paragraph(TEXTS.listen)));
  }

  // One for all sounds: browsers go on trusting a player that once played after a click.
  const player = new Audio();

  // Plays once. `shown` is fulfilled when the sound has ended, or should long have.
  async function sound(trial) {
    await patiently(() => audible(trial.file, player));
    listening();
    await wait(settings.gap_ms);
    const ended = new Promise((done) => { player.addEventListener("ended", done, { once: true }); });
    try {
      await player.play();
    } catch { // Browsers play nothing before the first click on a page.
      await ask("silent", worded("silent"), [[TEXTS.play, "play"]]);
      listening();
      await player.play();
    }
    const onset = performance.now();
    const late = wait(1000 * player.duration + 2000);
    return { onset, shown: Promise.race([ended, late]).then(() => performance.now() - onset) };
  }

  // Answers: each gives the answer and the time of the key or button

  function buttons(choices, question, labels = {}) {
    return new Promise((answered) => {
      const icons = design.mode === "icons" && choices === design.choices;
      const made = choices.map((choice, i) => element("button", {
        type: "button", class: icons ? "icon" : "choice", "data-choice": choice,
        onclick: (event) => answered({ response: choice, time: event.timeStamp }),
        onkeydown: (event) => move(event, i),
      }, ...(icons ? [element("img", { src: design.icons[choice], alt: "" })] : []),
      element("span", {}, labels[choice] || choice)));
      const name = icons ? "grid icons" : "grid";
      const grid = element("div", { class: name, role: "group", "aria-label": question, tabindex: "-1" }, ...made);
      // Full rows, if there is a number of columns that makes them.
      grid.style.setProperty("--columns", [4, 3, 5].find((n) => made.length % n === 0) || 4);
      // Arrows move as the eye does: along a row, or to the nearest button above and below.
      function move(event, i) {
        const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
        if (!step) return;
        event.preventDefault();
        if (made[i + step]) made[i + step].focus();
      }
      grid.addEventListener("keydown", (event) => {
        if (event.target !== grid || !event.key.startsWith("Arrow")) return;
        event.preventDefault();
        made[0].focus();
      });
      page.querySelector(".stage").append(paragraph(question, { class: "question" }), grid);
      grid.focus({ preventScroll: true });
    });
  }

  // A word that is typed, completed from the list of words. Enter takes it.
  function typed(choices, question) {
    return new Promise((answered) => {
      const input = element("input", {
        id: "word", type: "text", role: "combobox", autocomplete: "off", autocapitalize: "none", spellcheck: "false",
        "aria-expanded": "false", "aria-controls": "words", "aria-autocomplete": "list", "aria-describedby": "hint",
      });
      const list = element("ul", { id: "words", role: "listbox", "aria-label": "words", hidden: true });
      const hint = paragraph("", { id: "hint", role: "status" });
      let active = -1;
      const plain = (text) => text.trim().toLowerCase();
      function matches() {
        const text = plain(input.value);
        if (!text) return [];
        const begin = choices.filter((choice) => plain(choice).startsWith(text));
        const hold = choices.filter((choice) => plain(choice).includes(text) && !begin.includes(choice));
        return [...begin, ...hold].slice(0, MOST_OPTIONS);
      }
      function offer() {
        const offered = matches();
        list.replaceChildren(...offered.map((choice, i) => element("li", {
          role: "option", id: `word-${i}`, "aria-selected": String(i === active),
          onpointerdown: (event) => { event.preventDefault(); input.value = choice; close(); input.focus(); },
        }, choice)));
        list.hidden = offered.length === 0;
        input.setAttribute("aria-expanded", String(!list.hidden));
        if (active >= 0) input.setAttribute("aria-activedescendant", `word-${active}`);
        else input.removeAttribute("aria-activedescendant");
      }
      function close() { active = -1; offer(); list.hidden = true; input.setAttribute("aria-expanded", "false"); }
      function submit(time) {
        const offered = matches();
        const exact = choices.find((choice) => plain(choice) === plain(input.value));
        const response = active >= 0 ? offered[active] : exact;
        if (response) { answered({ response, time }); return; }
        hint.textContent = TEXTS.unlisted;
        offer();
      }
      input.addEventListener("input", () => { active = -1; hint.textContent = ""; offer(); });
      input.addEventListener("keydown", (event) => {
        const n = list.hidden ? 0 : list.children.length;
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step && n) {
          event.preventDefault();
          active = (Math.max(active, step < 0 ? 0 : -1) + step + n) % n; // up from none is the last
          offer();
        }
        if (event.key === "Escape") close();
        if (event.key === "Enter") { event.preventDefault(); submit(event.timeStamp); }
      });
      const enter = element("button", { type: "button", class: "primary" }, TEXTS.enter);
      enter.addEventListener("click", (event) => submit(event.timeStamp));
      const label = element("label", { for: "word", class: "question" }, question);
      const row = element("div", { class: "typed" }, element("div", { class: "combo" }, input, list), enter);
      page.querySelector(".stage").append(label, row, hint);
      input.focus({ preventScroll: true });
    });
  }

  function answer(trial) {
    if (trial.phase === "check") return buttons(Object.keys(TEXTS.tones), TEXTS.tone, TEXTS.tones);
    const question = trial.kind === "question" ? filled(TEXTS.attention, trial) : TEXTS[seen ? "seen" : "heard"];
    return (design.mode === "typed" ? typed : buttons)(design.choices, question);
  }

  // Trials

  async function present(trial, i) {
    if (trial.kind === "question") {
      show("trial", stage());
      return { onset: performance.now(), shown: Promise.resolve("") };
    }
    if (!seen) return sound(trial);
    const practised = plan.slice(0, i).filter((before) => before.phase === "practice").length;
    return flash(trial, trial.phase === "practice" && practised < settings.n_slow);
  }

  async function run(trial, i) {
    state.views[i] = (state.views[i] || 0) + 1;
    save();
    progress(i);
    page.dataset.trial = i + 1;
    show("trial", stage()); // until the file is there
    const { onset, shown } = await present(trial, i);
    prefetch(i + 1);
    if (seen || trial.kind === "question") show("trial", stage());
    // Of tones, all three are heard before one is chosen; of a sound, it ends before the next begins.
    if (trial.phase === "check") await shown;
    if (!seen && trial.kind !== "question") page.querySelector(".stage p").remove();
    const { response, time } = await answer(trial);
    if (!seen && trial.kind !== "question") listening();
    const lasted = await shown;
    const correct = Number(response === trial.answer);
    state.rows.push({
      experiment: design.experiment, participant, trial: i + 1, phase: trial.phase, modality: design.modality,
      stimulus: trial.stimulus, model: trial.model, layer: trial.layer, response, answer: trial.answer, correct,
      rt_ms: Math.max(0, time - onset).toFixed(1), network_response: trial.label,
      network_correct: trial.label ? Number(trial.label === trial.answer) : "",
      n_choices: trial.phase === "check" ? 3 : design.choices.length, seed: design.seed, dealt: trial.dealt,
      shown_ms: lasted === "" ? "" : lasted.toFixed(1), views: state.views[i],
    });
    save();
    if (trial.phase === "practice") await feedback(correct, trial.answer);
  }

  async function feedback(correct, right) {
    const said = correct ? TEXTS.right : filled(TEXTS.wrong, { answer: right });
    show("feedback", stage(paragraph(said, { class: correct ? "feedback right" : "feedback wrong", role: "status" })));
    await wait(settings.feedback_ms);
  }

  // Pages between the trials

  async function introduce(phase) {
    const n = plan.filter((trial) => PHASES[trial.phase] === PHASES[phase]).length;
    const how = paragraph(design.mode === "typed" ? TEXTS.typing : TEXTS.choosing);
    const more = [];
    if (phase === "practice") more.push(how, paragraph(filled(TEXTS.practising, { n })));
    if (isMain({ phase }) && !has("practice") && !has("demo")) more.push(how);
    if (isMain({ phase }) && settings.n_break && n > settings.n_break) {
      more.push(paragraph(filled(TEXTS.resting, { n: settings.n_break })));
    }
    const name = { practice: `practice_${design.modality}`, catch: "main" }[phase] || phase;
    const words = worded(name, { n, least: settings.n_demo_correct });
    await ask(isMain({ phase }) ? "main" : phase, [...words, ...more], [[TEXTS.begin, "begin"]]);
  }

  async function volume() {
    show("trial", stage());
    await patiently(() => audible(design.noise, player));
    const button = element("button", { type: "button", class: "secondary", onclick: () => player.play() }, TEXTS.noise);
    const children = [...worded("volume"), element("div", { class: "buttons" }, button)];
    await ask("volume", children, [[TEXTS.proceed, "begin"]]);
    player.pause();
  }

  // Results

  function cell(value) {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function table() {
    const lines = state.rows.map((row) => COLUMNS.map((column) => cell(row[column])).join(","));
    return `${[COLUMNS.join(","), ...lines].join("\r\n")}\r\n`;
  }

  function download() {
    const address = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    const link = element("a", { href: address, download: `${design.experiment}_${participant}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  async function post() {
    try {
      const headers = { "Content-Type": "text/plain;charset=utf-8" }; // of the few that need no asking first
      const options = { method: "POST", body: table(), credentials: "omit", headers };
      const reply = await fetch(settings.post_url, options);
      state.sent = reply.ok;
    } catch {
      state.sent = false;
    }
    save();
    return state.sent;
  }

  // What became of the results, after sending or saving them if that has not been done.
  async function delivered() {
    if (settings.post_url) {
      if (!state.sent) show("sending", card(paragraph(TEXTS.sending, { role: "status" })));
      return state.sent || await post() ? TEXTS.sent : TEXTS.unsent;
    }
    if (!state.saved) {
      download();
      state.saved = true;
      save();
    }
    return TEXTS.saved;
  }

  async function end(reason) {
    const how = await delivered();
    const words = worded(reason ? `failed_${reason}` : "finished");
    if (!reason) words.push(paragraph(settings.thanks));
    if (!reason && settings.completion) {
      words.push(paragraph(TEXTS.code), paragraph(settings.completion, { class: "code" }));
    }
    const choices = [[TEXTS.save, "save", "secondary"]];
    if (how === TEXTS.unsent) choices.unshift([TEXTS.send, "send"]);
    const chosen = await ask("end", [...words, paragraph(how)], choices);
    if (chosen === "save") download();
    await end(reason);
  }

  async function consented() {
    const choices = [[TEXTS.agree, "agree"], [TEXTS.decline, "decline", "secondary"]];
    const agreed = await ask("consent", prose(design.consent), choices) === "agree";
    if (!agreed) show("declined", card(...worded("declined")));
    return agreed;
  }

  async function begin() {
    if (participant === null) {
      show("unknown", card(...worded("unknown")));
      return;
    }
    const kept = storage.getItem(key);
    if (kept) {
      state = JSON.parse(kept);
      const over = failed() || state.rows.length === plan.length;
      if (!over) await ask("back", worded("back"), [[TEXTS.proceed, "begin"]]);
    } else if (!(await consented())) return;
    save();
    await course(state.rows.length);
  }

  async function course(first) {
    const total = plan.filter(isMain).length;
    for (let i = first; i < plan.length && !failed(); i += 1) {
      const n = plan.slice(0, i).filter(isMain).length;
      const rests = settings.n_break && n && n % settings.n_break === 0 && i !== first;
      prefetch(i);
      if (i === 0 && !seen) await volume();
      if (i === 0 || PHASES[plan[i].phase] !== PHASES[plan[i - 1].phase]) await introduce(plan[i].phase);
      else if (rests) await ask("rest", worded("rest", { n, total }), [[TEXTS.proceed, "begin"]]);
      await run(plan[i], i);
    }
    await end(failed());
  }

  begin();
})();
