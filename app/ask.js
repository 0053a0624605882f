// A question in a dialog.

const dialog = document.getElementById("play-ask");

/**
 * Ask a question. `answers`: [value, words, more words, kanji]. Return the value of the chosen
 * answer, or null if the dialog was closed.
 */
export function ask(question, answers) {
  document.getElementById("play-question").textContent = question;
  return new Promise((resolve) => {
    let chosen = null;
    const buttons = answers.map(([value, ...words]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(words.slice(0, 2).join(" "), ...words.slice(2).map(kanji));
      button.addEventListener("click", () => {
        chosen = value;
        dialog.close();
      });
      return button;
    });
    document.getElementById("play-answers").replaceChildren(...buttons);
    dialog.addEventListener("close", () => resolve(chosen), { once: true });
    dialog.showModal();
  });
}

function kanji(text) {
  const made = document.createElement("span");
  made.className = "kanji";
  made.lang = "ja";
  made.ariaHidden = "true";
  made.textContent = text;
  return made;
}
