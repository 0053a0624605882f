// Calls to the service. Errors carry what its problem document says.

export async function get(path) {
  return answer(await fetch(path, { cache: "no-store" }));
}

export async function post(path, body) {
  const request = { method: "POST" };
  if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  return answer(await fetch(path, request));
}

export async function remove(path) {
  return answer(await fetch(path, { method: "DELETE" }));
}

async function answer(response) {
  const document = await response.json();
  if (!response.ok) throw new Error(document.detail ?? `The service answered ${response.status}.`);
  return document;
}
