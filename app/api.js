// Requests to the service. An error has the `detail` of the problem document as its message.

export async function get(path) {
  return read(await fetch(path, { cache: "no-store" }));
}

export async function post(path, body) {
  const request = { method: "POST" };
  if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  return read(await fetch(path, request));
}

export async function remove(path) {
  return read(await fetch(path, { method: "DELETE" }));
}

async function read(response) {
  if (response.status === 401) location.reload(); // the session has ended: show the page to sign in
  if (response.status === 204) return null;
  const document = await response.json();
  if (!response.ok) throw new Error(document.detail ?? `The service answered ${response.status}.`);
  return document;
}
