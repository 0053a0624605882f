// The line below the header that tells what happened.

const line = document.getElementById("notice");

export const notice = {
  say: (message) => show(message, false),
  bad: (message) => show(message, true),
  clear() { line.hidden = true; },
};

function show(message, bad) {
  line.textContent = message;
  line.classList.toggle("bad", bad);
  line.hidden = false;
}
