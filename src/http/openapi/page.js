
"use strict";
// Everything that comes from the server is put in place as text, never as markup.
const METHODS = ["get", "post", "put", "delete", "patch", "options"];
const MOST_SHOWN = 200000;
let spec = null;

const byId = (id) => document.getElementById(id);

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// JSON with a line for each member and each row of a list. Works on the text, because numbers of
// 64 bits would not survive being read.
function pretty(text) {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) || [];
  const open = [];
  let out = "", before = "";
  const line = () => "\n" + "  ".repeat(open.filter((it) => it === "{").length);
  for (const token of tokens) {
    if (token === "}" || token === "]") {
      open.pop();
      out += token === "}" && before !== "{" ? line() + token : token;
    } else {
      if (before === "{") out += line();
      out += token;
    }
    if (token === "{" || token === "[") open.push(token);
    else if (token === ":") out += " ";
    else if (token === ",") out += open.at(-1) === "{" || before === "]" || before === "}" ? line() : " ";
    before = token;
  }
  // Short objects stand in one line; no line break is left in a text.
  return out.replace(/\{\n[^{}[\]]*\}/g, (it) => (it.length < 100 ? it.replace(/\n\s*/g, " ").replace("{ ", "{").replace(" }", "}") : it));
}

function operations() {
  const list = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS) if (item[method]) list.push({ path, method, ...item[method] });
  }
  return list;
}

// What is refused whoever asks is in the document, and of no use here.
const isDone = (operation) => Object.keys(operation.responses).some((status) => status < 400);
const key = (operation) => operation.method + " " + operation.path;
const link = (operation) => "#" + encodeURIComponent(key(operation));
const models = () => spec["x-sconce-models"] || [];
// Only the paths of one model have a colon in their ids.
const isOfModel = (operation) => operation.operationId.includes(":");
const ofModel = (name) => operations().filter((it) => it.method === "post" && it.operationId.endsWith(":" + name));

function chosen() {
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* a broken link chooses nothing */ }
  const all = operations();
  const first = models().flatMap((model) => ofModel(model.name));
  return all.find((it) => key(it) === wanted) || first[0] || all[0];
}

function drawNavigation() {
  const filter = byId("filter").value.trim().toLowerCase();
  const current = chosen();
  const fits = (...texts) => texts.some((text) => text.toLowerCase().includes(filter));
  const entry = (href, isCurrent, ...children) =>
    make("li", {}, make("a", { href, "aria-current": isCurrent ? "page" : null }, ...children));
  const sections = [];
  const cards = models().filter((model) => fits(model.name, model.description || ""));
  if (cards.length) {
    sections.push(make("h3", {}, "Models"), make("ul", {}, ...cards.map((model) => {
      const own = ofModel(model.name);
      const href = own.length ? link(own[0]) : "#" + encodeURIComponent("model " + model.name);
      return entry(href, own.some((it) => key(it) === key(current)),
        make("span", { class: "dot " + model.state, title: model.state }),
        model.name, make("span", { class: "dim" }, model.version ? "v" + model.version : model.state));
    })));
  }
  const groups = new Map();
  for (const operation of operations()) {
    if (isOfModel(operation) || !isDone(operation) || !fits(operation.path, operation.summary, operation.tags[0])) continue;
    const tag = operation.tags[0];
    groups.set(tag, [...(groups.get(tag) || []), operation]);
  }
  for (const [tag, list] of groups) {
    sections.push(make("h3", {}, tag), make("ul", {}, ...list.map((operation) =>
      entry(link(operation), key(operation) === key(current),
        make("span", { class: "method" }, operation.method.toUpperCase()), operation.path))));
  }
  byId("nav").replaceChildren(...sections);
}

function tensors(title, list) {
  if (!list || !list.length) return null;
  const row = (tensor) => make("tr", {},
    make("td", { class: "mono" }, tensor.name + (tensor.optional ? " (optional)" : "")),
    make("td", { class: "mono" }, tensor.datatype),
    make("td", { class: "mono" }, tensor.shape ? "[" + tensor.shape.join(", ") + "]" : "unknown"));
  return make("div", {}, make("h3", {}, title), make("table", {},
    make("thead", {}, make("tr", {}, ...["name", "datatype", "shape (−1: any; the first counts rows)"].map((it) => make("th", { scope: "col" }, it)))),
    make("tbody", {}, ...list.map(row))));
}

function drawModel(model, current) {
  const own = ofModel(model.name);
  return [
    make("h2", {}, model.name, " ", make("small", { class: "dim" }, model.version ? "version " + model.version : model.state)),
    model.description ? make("p", {}, model.description) : null,
    tensors("Inputs", model.inputs), tensors("Outputs", model.outputs),
    model.labels ? make("p", { class: "dim" }, model.labels + " labels") : null,
    own.length > 1 ? make("div", { class: "row tabs" }, ...own.map((it) =>
      make("a", { href: link(it), "aria-current": key(it) === key(current) ? "true" : null }, it.path))) : null,
  ];
}

function resolved(value) {
  return value && value.$ref ? value.$ref.slice(2).split("/").reduce((at, part) => at && at[part], spec) : value;
}

// One word of a shell, whatever is in it.
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

function drawRequest(operation) {
  const inPath = (operation.parameters || []).map(resolved).filter((it) => it && it.in === "path");
  const content = (operation.requestBody && operation.requestBody.content) || {};
  const json = content["application/json"];
  const fields = inPath.map((parameter) => {
    const known = parameter.name === "model" && models()[0] ? models()[0].name : parameter.name === "version" ? "1" : "";
    return { name: parameter.name, input: make("input", { value: known, oninput: () => showCommand() }) };
  });
  const example = json && json.example !== undefined ? pretty(JSON.stringify(json.example)) : "";
  const body = json ? make("textarea", { spellcheck: "false", id: "body", oninput: () => showCommand() }) : null;
  if (body) {
    body.value = example;
    body.rows = Math.min(24, Math.max(6, example.split("\n").length + 1, Math.ceil(example.length / 90)));
  }
  const path = () => fields.reduce((at, { name, input }) =>
    at.replace("{" + name + "}", name === "rest" ? input.value : encodeURIComponent(input.value)), operation.path);
  const command = make("pre", { class: "command", tabindex: "0", "aria-label": "The same with curl" });
  const showCommand = () => {
    const method = operation.method === "get" ? "" : "-X " + operation.method.toUpperCase() + " ";
    const sent = body && body.value ? " \\\n  -H 'Content-Type: application/json' \\\n  -d " + quoted(body.value) : "";
    command.textContent = "curl " + method + quoted(location.origin + path()) + sent;
  };
  const result = make("section", { "aria-live": "polite", id: "result" });
  const send = make("button", { class: "send", type: "submit" }, "Send");
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    result.replaceChildren(make("p", { class: "dim" }, "Waiting …"));
    result.replaceChildren(...await ask(operation.method.toUpperCase(), path(), body && body.value));
    send.disabled = false;
  };
  const copy = make("button", { type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(command.textContent); copy.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(command); copy.textContent = "Selected"; }
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const form = make("form", { onsubmit: submit },
    ...fields.map(({ name, input }) => make("div", { class: "row" }, make("label", {}, name, input))),
    body ? make("h3", {}, make("label", { for: "body" }, "Body")) : null, body,
    make("div", { class: "row" }, send,
      body && example ? make("button", { type: "button", onclick: () => { body.value = example; showCommand(); } }, "Reset") : null,
      make("span", { class: "dim" }, body ? "or Ctrl + Enter in the body" : "")));
  if (body) {
    body.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }
  showCommand();
  return [
    make("h3", {}, "Request"),
    make("p", {}, make("code", {}, operation.method.toUpperCase() + " " + operation.path), " ", operation.summary), form, result,
    make("h3", {}, "The same with curl"), command, make("div", { class: "row" }, copy),
    make("h3", {}, "Answers"), answers(operation),
  ];
}

async function ask(method, path, body) {
  const started = performance.now();
  try {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const response = await fetch(path, { method, headers, body: body || undefined, cache: "no-store" });
    const text = await response.text();
    const took = performance.now() - started;
    const type = response.headers.get("content-type") || "";
    const shown = type.includes("json") && text.length < MOST_SHOWN ? pretty(text) : text.slice(0, MOST_SHOWN);
    const timing = response.headers.get("server-timing");
    return [
      make("h3", {}, "Answer"),
      make("div", { class: "row" },
        make("span", { class: "status " + (response.ok ? "good" : "bad") }, response.status + " " + response.statusText),
        make("span", {}, took.toFixed(1) + " ms"),
        make("span", { class: "dim" }, new Blob([text]).size.toLocaleString("en") + " bytes")),
      timing ? make("p", { class: "dim" }, "In the server, ms: " + timing.replaceAll(";dur=", " ")) : null,
      make("pre", { tabindex: "0", "aria-label": "Body of the answer" }, shown || "no body"),
    ].filter(Boolean);
  } catch (error) {
    return [make("h3", {}, "Answer"), make("p", { class: "bad" }, "No answer: " + error.message)];
  }
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => make("tr", {},
    make("td", { class: "mono" }, status), make("td", {}, answer.description.replaceAll("`", ""))));
  return make("table", {}, make("tbody", {}, ...rows));
}

function draw() {
  drawNavigation();
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* as above */ }
  const alone = models().find((model) => "model " + model.name === wanted);
  const operation = chosen();
  const model = alone || models().find((it) => ofModel(it.name).some((own) => key(own) === key(operation)));
  const parts = model ? drawModel(model, operation) : [];
  if (alone) parts.push(make("p", { class: "bad" }, "It does not serve: " + alone.state + "."));
  else if (operation) parts.push(...drawRequest(operation));
  byId("main").replaceChildren(...parts.filter(Boolean));
}

async function load() {
  try {
    const response = await fetch("openapi.json", { cache: "no-store" });
    if (!response.ok) throw new Error("status " + response.status);
    spec = await response.json();
    byId("version").textContent = spec.info.version + " at " + location.host;
    draw();
  } catch (error) {
    byId("main").replaceChildren(make("p", { class: "bad" }, "The document cannot be read: " + error.message));
  }
}

byId("filter").addEventListener("input", () => spec && drawNavigation());
byId("reload").addEventListener("click", load);
addEventListener("hashchange", () => { if (spec) { draw(); byId("main").focus({ preventScroll: true }); scrollTo(0, 0); } });
load();
