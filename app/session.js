// The session of this browser: the sign-out button, and no buttons on a read-only server.

import { get, remove } from "./api.js";

const button = document.getElementById("sign-out");

export async function loadSession() {
  const { signed_in: signedIn, read_only: readOnly } = await get("api/session");
  button.hidden = !signedIn;
  document.body.classList.toggle("read-only", readOnly);
}

button.addEventListener("click", async () => {
  button.disabled = true;
  await remove("api/session").catch(() => {});
  location.reload();
});

// The link with the token may be opened again while the browser is signed in.
function hideToken() {
  if (location.hash.startsWith("#token=")) history.replaceState(null, "", location.pathname + location.search);
}

addEventListener("hashchange", hideToken);
hideToken();
