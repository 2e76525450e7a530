// The service's HTTP interface. A refusal becomes an Error whose message is the service's own reason.

let token = sessionStorage.getItem("trivium-token") ?? "";

async function call(path, options = {}, signal = undefined) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  let reply;
  try {
    reply = await fetch(path, { ...options, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (reply.status === 401) {
    await askForToken();
    return call(path, options, signal);
  }
  const content = await reply.json().catch(() => ({}));
  if (!reply.ok) throw Object.assign(new Error(content.detail ?? `The service answered with status ${reply.status}.`), { status: reply.status });
  return content;
}

let asking;

function askForToken() {
  asking ??= new Promise((resolve) => {
    const door = document.getElementById("door");
    door.addEventListener("close", () => {
      token = document.getElementById("token").value.trim();
      sessionStorage.setItem("trivium-token", token);
      asking = undefined;
      resolve();
    }, { once: true });
    door.showModal();
  });
  return asking;
}

function get(path, parameters, signal) {
  return call(`${path}?${new URLSearchParams(parameters)}`, {}, signal);
}

function post(path, body, signal) {
  return call(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }, signal);
}

export const info = (signal) => call("api/info", {}, signal);
export const search = (q, kind, signal) => get("api/search", { q, kind, limit: 12 }, signal).then((found) => found.results);
export const entity = (name, offset, limit, signal) => get("api/entity", { name, offset, limit }, signal);
export const rank = (view, k, signal) =>
  post("api/rank", { [view.inverse ? "tail" : "head"]: view.entity, relation: view.relation, k, include_known: view.known, range: view.range || null }, signal);
export const why = (head, relation, tail, signal) => post("api/explain", { head, relation, tail }, signal);
export const explain = (view, signal) =>
  post("api/explain", {
    head: view.inverse ? view.answer : view.entity,
    relation: view.relation,
    tail: view.inverse ? view.entity : view.answer,
    inverse: view.inverse,
    range: view.range || null,
  }, signal);

export const relations = (q, offset, limit, signal) => get("api/relations", { q, offset, limit }, signal);
export const complete = (relation, offset, k, signal) => post("api/complete", { relation, offset, k }, signal);
export const tell = (fact, reviewer, note) => post("api/facts", { facts: [fact], reviewer, note });
export const takeBack = (reviewer) => post("api/facts/undo", { reviewer });

// Suggestions, one after another; a choice is { relation: [name], min_confidence, doubtful_first }.
export function review(choice, signal) {
  const parameters = choice.relation.map((relation) => ["relation", relation]);
  if (choice.min_confidence !== null) parameters.push(["min_confidence", choice.min_confidence]);
  if (choice.doubtful_first) parameters.push(["doubtful_first", true]);
  return get("api/review", parameters, signal);
}
export const judge = (link, verdict, reviewer, note, choice) => post("api/review/decide", { link, verdict, reviewer, note, choice });
export const undo = (reviewer, choice) => post("api/review/undo", { reviewer, choice });
