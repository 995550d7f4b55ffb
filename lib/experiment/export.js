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
    "correct", "rt_ms", "network_response", "network_correct", "n_choices", "seed",
  ];
  const PHASES = { check: "Headphone check", practice: "Practice", demo: "Trial run", main: "Main part", catch: "Main part" };
  const PLACES = { 1: "First", 2: "Second", 3: "Third" };
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

  function show(name, ...children) {
    page.dataset.page = name;
    page.replaceChildren(...children);
    window.scrollTo(0, 0);
  }

  // A page of text with buttons; gives the value of the button that was chosen.
  function ask(name, children, buttons) {
    document.getElementById("progress").hidden = true;
    return new Promise((chosen) => {
      const row = element("div", { class: "buttons" }, ...buttons.map(([label, value, kind = "primary"]) =>
        element("button", { type: "button", class: kind, "data-value": value, onclick: () => chosen(value) }, label)));
      // Enter takes the only button there is; a key held down from the last answer does not.
      const key = (event) => {
        if (event.key === "Enter" && !event.repeat && buttons.length === 1 && event.target.tagName !== "BUTTON") chosen(buttons[0][1]);
      };
      show(name, element("section", { class: "card", onkeydown: key }, ...children, row));
      (page.querySelector("h1") || page).focus({ preventScroll: true });
    });
  }

  const heading = (text) => element("h1", { tabindex: "-1" }, text);

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
    document.getElementById("place").textContent = `${PHASES[plan[i].phase]}: ${place + 1} of ${group.length}`;
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
        await ask("lost", [heading("A file could not be loaded"), paragraph("Please check your connection.")],
          [["Try again", "again"]]);
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
    show("trial", element("section", { class: "stage" }, surface));
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
    show("trial", element("section", { class: "stage" }, speaker, paragraph("Listen.")));
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
      await ask("silent", [heading("Ready?")], [["Play the sound", "play"]]);
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
      const grid = element("div", { class: icons ? "grid icons" : "grid", role: "group", "aria-label": question, tabindex: "-1" }, ...made);
      grid.style.setProperty("--columns", [4, 3, 5].find((n) => made.length % n === 0) || 4); // no last one alone, if possible
      // Arrows move as the eye does: along a row, or to the nearest button above and below.
      function move(event, i) {
        const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
        if (!step) return;
        event.preventDefault();
        if (made[i + step]) made[i + step].focus();
      }
      grid.addEventListener("keydown", (event) => {
        if (event.target === grid && event.key.startsWith("Arrow")) { event.preventDefault(); made[0].focus(); }
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
        hint.textContent = "Please choose a word from the list: type its beginning, then use the arrow keys or tap.";
        offer();
      }
      input.addEventListener("input", () => { active = -1; hint.textContent = ""; offer(); });
      input.addEventListener("keydown", (event) => {
        const n = list.hidden ? 0 : list.children.length;
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step && n) { event.preventDefault(); active = (active + step + n + (active < 0 && step < 0 ? 1 : 0)) % n; offer(); }
        if (event.key === "Escape") close();
        if (event.key === "Enter") { event.preventDefault(); submit(event.timeStamp); }
      });
      const enter = element("button", { type: "button", class: "primary", onclick: (event) => submit(event.timeStamp) }, "Enter");
      page.querySelector(".stage").append(element("label", { for: "word", class: "question" }, question),
        element("div", { class: "typed" }, element("div", { class: "combo" }, input, list), enter), hint);
      input.focus({ preventScroll: true });
    });
  }

  function answer(trial) {
    if (trial.phase === "check") return buttons(["1", "2", "3"], "Which tone was the softest?", PLACES);
    const what = seen ? "What was in the picture?" : "What did you hear?";
    const question = trial.kind === "question" ? `To show that you are attentive, please choose "${trial.answer}".` : what;
    return (design.mode === "typed" ? typed : buttons)(design.choices, question);
  }

  // Trials

  async function present(trial, i) {
    if (trial.kind === "question") {
      show("trial", element("section", { class: "stage" }));
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
    show("trial", element("section", { class: "stage" })); // until the file is there
    const { onset, shown } = await present(trial, i);
    prefetch(i + 1);
    if (seen || trial.kind === "question") show("trial", element("section", { class: "stage" }));
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
    const said = correct ? "Correct" : `It was: ${right}`;
    show("feedback", element("section", { class: "stage" },
      paragraph(said, { class: correct ? "feedback right" : "feedback wrong", role: "status" })));
    await wait(settings.feedback_ms);
  }

  // Pages between the trials

  function how() {
    if (design.mode === "typed") return "Type the word, choose it from the list that appears, and press Enter.";
    return "Choose your answer by clicking or tapping it, or with the arrow keys and Enter.";
  }

  async function introduce(phase) {
    const n = plan.filter((trial) => trial.phase === phase).length;
    if (phase === "check") {
      await volume();
      await ask("check", [heading("Are your headphones on?"),
        paragraph("In each trial you hear three tones. Say which of them is the softest: the first, the second or the third."),
        paragraph("This works only with headphones. The tones are played once.")], [["Begin", "begin"]]);
    } else if (phase === "practice") {
      const what = seen
        ? ["A cross appears in the middle of the screen: look at it. A picture follows for a very short time, and then coloured dots. Say what was in the picture.",
          "Some pictures look strange. If you are not sure, choose what comes nearest."]
        : ["You hear a sound once. Say what it was.", "Some sounds are strange. If you are not sure, choose what comes nearest."];
      await ask("practice", [heading("Practice"), ...what.map((text) => paragraph(text)), paragraph(how()),
        paragraph(`First there are ${n} trials to practise. After each you are told the right answer.`)], [["Begin", "begin"]]);
    } else if (phase === "demo") {
      await ask("demo", [heading("Trial run"),
        paragraph(`Now there are ${n} trials like those of the main part: you are no longer told the right answer.`),
        paragraph(`With ${settings.n_demo_correct} right answers or more you go on to the main part.`)], [["Begin", "begin"]]);
    } else {
      const total = plan.filter(isMain).length;
      await ask("main", [heading("Main part"), ...(has("practice") || has("demo") ? [] : [paragraph(how())]),
        paragraph(`There are ${total} trials. Many are hard; that is meant to be so. Please answer each as well as you can.`),
        ...(total > settings.n_break && settings.n_break
          ? [paragraph(`You can rest after every ${settings.n_break} trials.`)] : [])], [["Begin", "begin"]]);
    }
  }

  async function volume() {
    await patiently(() => audible(design.noise, player));
    const enough = element("button", { type: "button", class: "secondary", onclick: () => player.play() }, "Play noise");
    await ask("volume", [heading("Headphones and volume"),
      paragraph("Please put on headphones, and go to a quiet place."),
      paragraph("Turn the volume down, play the noise, and turn it up until the noise is loud but pleasant. Leave the volume as it is from then on."),
      element("div", { class: "buttons" }, enough)], [["Continue", "begin"]]);
    player.pause();
  }

  async function rest(done, total) {
    await ask("rest", [heading("Time to rest"), paragraph(`You have done ${done} of ${total} trials. Go on whenever you like.`)],
      [["Go on", "begin"]]);
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
      const options = { method: "POST", body: table(), credentials: "omit", headers: { "Content-Type": "text/plain;charset=utf-8" } };
      const reply = await fetch(settings.post_url, options);
      state.sent = reply.ok;
    } catch {
      state.sent = false;
    }
    save();
    return state.sent;
  }

  async function end(reason) {
    const said = {
      "": [settings.thanks],
      check: ["You have reached the end.", "The tones could not be told apart well enough, so the main part does not follow: it needs headphones. This says nothing about your hearing."],
      demo: ["You have reached the end.", "The main part follows only after a certain number of right answers in the trial run. Thank you for your effort."],
    }[reason];
    const code = settings.completion && !reason ? [paragraph("Your completion code:"), paragraph(settings.completion, { class: "code" })] : [];
    if (settings.post_url && !state.sent) show("sending", element("section", { class: "card" }, paragraph("Your answers are being sent …", { role: "status" })));
    const sent = settings.post_url && (state.sent || await post());
    let how = "Your answers are saved as a file by your browser.";
    if (sent) how = "Your answers have been sent. You may close this page.";
    else if (settings.post_url) how = "Your answers could not be sent. Please try again, or save them as a file and send it to the experimenters.";
    else if (!state.saved) { download(); state.saved = true; save(); }
    const choices = [["Save as a file", "save", "secondary"]];
    if (settings.post_url && !sent) choices.unshift(["Send again", "send"]);
    const title = reason ? "Thank you" : "Finished";
    const chosen = await ask("end", [heading(title), ...said.map((text) => paragraph(text)), ...code, paragraph(how)], choices);
    if (chosen === "save") download();
    await end(reason);
  }

  async function consented() {
    const chosen = await ask("consent", prose(design.consent), [["I agree", "agree"], ["I do not agree", "decline", "secondary"]]);
    if (chosen === "agree") return true;
    show("declined", element("section", { class: "card" }, heading("Thank you"),
      paragraph("You have not agreed, so nothing is shown and nothing is kept. You may close this page.")));
    return false;
  }

  async function begin() {
    if (participant === null) {
      show("unknown", element("section", { class: "card" }, heading("This address is not complete"),
        paragraph("The participant in the address may have letters, digits, _ and - only, at most 64. Please use the address that you were given.")));
      return;
    }
    const kept = storage.getItem(key);
    if (kept) {
      state = JSON.parse(kept);
      const over = failed() || state.rows.length === plan.length;
      if (!over) await ask("back", [heading("Welcome back"), paragraph("You can go on where you stopped.")], [["Go on", "begin"]]);
    } else if (!(await consented())) return;
    save();
    await course(state.rows.length);
  }

  async function course(first) {
    for (let i = first; i < plan.length && !failed(); i += 1) {
      const begins = i === 0 || PHASES[plan[i].phase] !== PHASES[plan[i - 1].phase];
      const done = plan.slice(0, i).filter(isMain).length;
      prefetch(i);
      if (begins) await introduce(plan[i].phase);
      else if (settings.n_break && done && done % settings.n_break === 0 && i !== first) await rest(done, plan.filter(isMain).length);
      await run(plan[i], i);
    }
    await end(failed());
  }

  begin();
})();
