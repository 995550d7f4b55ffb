// Everything that participants read, apart from the title, the consent and the thanks. Numbers stand for {names}.
"use strict";

const TEXTS = {
  phases: {
    check: "Headphone check",
    practice: "Practice",
    demo: "Trial run",
    main: "Main part",
    catch: "Main part",
  },
  place: "{phase}: {n} of {total}",

  agree: "I agree",
  decline: "I do not agree",
  begin: "Begin",
  proceed: "Go on",
  play: "Play",
  enter: "Enter",
  again: "Try again",
  send: "Send again",
  save: "Save as a file",

  pages: {
    declined: ["Thank you", "You have not agreed, so nothing is shown and nothing is kept. You may close this page."],
    unknown: [
      "This address is not complete",
      "The participant in the address may have letters, digits, _ and - only, at most 64.",
      "Please use the address that you were given.",
    ],
    back: ["Welcome back", "You can go on where you stopped."],
    volume: [
      "Headphones and volume",
      "Please put on headphones, and go to a quiet place.",
      "Turn the volume down, play the noise, and turn it up until the noise is loud but pleasant. "
        + "Leave the volume as it is from then on.",
    ],
    check: [
      "Are your headphones on?",
      "In each trial you hear three tones. Say which of them is the softest: the first, the second or the third.",
      "This works only with headphones. The tones are played once.",
    ],
    practice_vision: [
      "Practice",
      "A cross appears in the middle of the screen: look at it. A picture follows for a very short time, and then "
        + "coloured dots. Say what was in the picture.",
      "Some pictures look strange. If you are not sure, choose what comes nearest.",
    ],
    practice_audio: [
      "Practice",
      "You hear a sound once. Say what it was.",
      "Some sounds are strange. If you are not sure, choose what comes nearest.",
    ],
    demo: [
      "Trial run",
      "Now there are {n} trials like those of the main part: you are no longer told the right answer.",
      "With {least} right answers or more you go on to the main part.",
    ],
    main: [
      "Main part",
      "There are {n} trials. Many are hard; that is meant to be so. Please answer each as well as you can.",
    ],
    rest: ["Time to rest", "You have done {n} of {total} trials. Go on whenever you like."],
    lost: ["A file could not be loaded", "Please check your connection."],
    silent: ["Ready?"],
    finished: ["Finished"],
    failed_check: [
      "Thank you",
      "You have reached the end. The tones could not be told apart well enough, so the main part does not follow: it "
        + "needs headphones. This says nothing about your hearing.",
    ],
    failed_demo: [
      "Thank you",
      "You have reached the end. The main part follows only after a certain number of right answers in the trial "
        + "run. Thank you for your effort.",
    ],
  },

  typing: "Type the word, choose it from the list that appears, and press Enter.",
  choosing: "Choose your answer by clicking or tapping it, or with the arrow keys and Enter.",
  practising: "First there are {n} trials to practise. After each you are told the right answer.",
  resting: "You can rest after every {n} trials.",
  noise: "Play noise",
  listen: "Listen.",

  tone: "Which tone was the softest?",
  tones: { 1: "First", 2: "Second", 3: "Third" },
  seen: "What was in the picture?",
  heard: "What did you hear?",
  attention: "To show that you are attentive, please choose \"{answer}\".",
  unlisted: "Please choose a word from the list: type its beginning, then use the arrow keys or tap.",
  right: "Correct",
  wrong: "It was: {answer}",

  code: "Your completion code:",
  sending: "Your answers are being sent …",
  saved: "Your answers are saved as a file by your browser.",
  sent: "Your answers have been sent. You may close this page.",
  unsent: "Your answers could not be sent. Please try again, or save them as a file and send it to the experimenters.",
};
