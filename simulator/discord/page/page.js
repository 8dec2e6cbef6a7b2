// The page of the simulated Discord: shows a channel as one person sees it, and sends what the person does.

import {element, messageElement, renderInto} from "/page/messages.js";

const $ = (id) => document.getElementById(id);
const state = {person: null, channel: null, overview: null, seen: new Map(), stream: null, shown: new Map(), pinned: new Map()};

async function call(path, body) {
  const options = body && {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message ?? response.statusText);
  return answer;
}

function notice(text) {
  $("notice").textContent = text;
}

async function attempt(action) {
  try {
    notice("");
    return await action();
  } catch (error) {
    notice(error.message);
    return null;
  }
}

function context() {
  const names = (items) => new Map(items.map((item) => [item.id, item.name]));
  return {people: names(state.overview.people), roles: names(state.overview.roles),
    channels: names([...state.overview.channels, ...state.overview.threads])};
}

function showBot(isConnected, text) {
  $("bot").textContent = text;
  $("bot").className = isConnected ? "connected" : "";
}

function channelButton(channel) {
  const prefix = {text: "# ", thread: "↳ ", direct: "@ "}[channel.kind];
  const button = element("button", {type: "button", onclick: () => openChannel(channel.id)},
    prefix + (channel.kind === "direct" ? state.overview.bot.name : channel.name));
  if (channel.id === state.channel) button.setAttribute("aria-current", "page");
  const seen = state.seen.get(channel.id) ?? "";
  const isUnread = channel.id !== state.channel && channel.last_message && channel.last_message !== seen;
  return element("li", {className: `${channel.kind} ${isUnread ? "unread" : ""}`}, button);
}

async function refreshOverview() {
  state.overview = await call("/fake/overview" + (state.person ? "?person=" + state.person : ""));
  const {people, channels, threads, guild, bot} = state.overview;
  state.person ??= people[0].id;
  state.channel ??= channels[0].id;
  $("guild").textContent = guild.name;
  showBot(bot.connected, `${bot.name} is ${bot.connected ? "" : "not "}connected`);
  $("person").replaceChildren(...people.map((person) =>
    element("option", {value: person.id, selected: person.id === state.person}, person.name)));
  const me = people.find((person) => person.id === state.person);
  $("roles").textContent = me.roles.length ? "Role: " + me.roles.join(", ") : "No role";
  $("blocks").checked = me.blocks_bot;
  const focused = document.activeElement.closest("#channels, #direct") ? document.activeElement.textContent : null;
  const items = channels.filter((each) => each.kind === "text").flatMap((channel) =>
    [channel, ...threads.filter((thread) => thread.parent === channel.id)]);
  $("channels").replaceChildren(...items.map(channelButton));
  const direct = channels.filter((each) => each.kind === "direct");
  $("direct").replaceChildren(...(direct.length ? direct.map(channelButton) : [element("li", {},
    element("button", {type: "button", onclick: openDirect}, "Open messages with " + bot.name))]));
  if (focused) [...document.querySelectorAll("#side li button")].find((each) => each.textContent === focused)?.focus();
}

async function refreshChannel() {
  const channel = state.channel;
  const view = await call(`/fake/channels/${channel}?person=${state.person}`);
  if (channel !== state.channel) return;
  $("title").textContent = (view.channel.kind === "text" ? "# " : "") + view.channel.name;
  $("topic").textContent = view.channel.topic;
  $("line").placeholder = `Message ${$("title").textContent}, or / for the bot's commands`;
  const log = $("messages");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const actions = {use: useComponent, open: openChannel, context: context()};
  renderInto(log, view.messages, state.shown, (message) => messageElement(message, actions));
  const pinned = view.messages.filter((message) => view.pinned.includes(message.id));
  $("pin-count").textContent = pinned.length;
  renderInto($("pinned"), pinned, state.pinned, (message) => messageElement(message, actions));
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  if (view.channel.last_message) state.seen.set(channel, view.channel.last_message);
}

let isRefreshing = false;
let isAgain = false;
async function refresh() {
  if (isRefreshing) { isAgain = true; return; }
  isRefreshing = true;
  try {
    do {
      isAgain = false;
      await refreshOverview();
      await refreshChannel();
    } while (isAgain);
  } catch (error) {
    showBot(false, "The simulation does not answer. Is it still running?");
  } finally {
    isRefreshing = false;
  }
}

async function openChannel(id) {
  state.channel = id;
  state.shown.clear();
  state.pinned.clear();
  $("messages").replaceChildren();
  $("pinned").replaceChildren();
  showSide(false);
  await refresh();
  $("messages").scrollTop = $("messages").scrollHeight;
}

// On a narrow screen the channels are a drawer.
function showSide(isOpen) {
  $("side").classList.toggle("open", isOpen);
  $("show-side").setAttribute("aria-expanded", String(isOpen));
}

function openDirect() {
  return attempt(async () => openChannel((await call("/fake/direct", {person: state.person})).channel));
}

function listen() {
  state.stream?.close();
  state.stream = new EventSource("/fake/events?person=" + state.person);
  state.stream.onmessage = refresh;
  state.stream.onopen = refresh;
  state.stream.onerror = refresh;
}

async function followInteraction(id) {
  for (;;) {
    const view = await call("/fake/interactions/" + id);
    if (view.dialog) return showDialog(id, view.dialog);
    if (view.answered) return null;
    if (view.failed) {
      const {name, connected} = state.overview.bot;
      return notice(connected ? "The application did not respond within 3 seconds."
        : `${name} is not connected. Start a notifier with the settings that the simulation printed.`);
    }
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

function useComponent(message, customId, values = null) {
  return attempt(async () => {
    const body = {person: state.person, message: message.id, custom_id: customId, values};
    await followInteraction((await call("/fake/components", body)).interaction);
  });
}

function showDialog(id, dialog) {
  const fields = dialog.components.flatMap((row) => row.components ?? (row.component ? [row.component] : []));
  const inputs = fields.map((field) => element(field.style === 2 ? "textarea" : "input",
    {name: field.custom_id, value: field.value ?? "", required: field.required !== false, maxLength: field.max_length ?? 4000}));
  $("dialog").querySelector("h2").textContent = dialog.title;
  $("fields").replaceChildren(...fields.map((field, i) => element("label", {}, field.label ?? field.custom_id, inputs[i])));
  $("dialog").onclose = () => $("dialog").returnValue === "send" && attempt(async () => {
    const values = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
    await followInteraction((await call("/fake/dialogs", {interaction: id, values})).interaction);
  });
  $("dialog").showModal();
}

const completion = {items: [], selected: 0, request: 0, timer: 0};

function showCompletions(items) {
  completion.items = items;
  completion.selected = 0;
  const list = $("completions");
  list.hidden = items.length === 0;
  $("line").setAttribute("aria-expanded", String(items.length > 0));
  list.replaceChildren(...items.map((item, i) => element("li", {id: "completion-" + i, role: "option",
    onmousedown: (event) => { event.preventDefault(); accept(i); }},
  element("b", {}, item.label), element("span", {className: "quiet"}, item.description))));
  select(0);
}

function select(i) {
  completion.selected = i;
  [...$("completions").children].forEach((node, n) => {
    node.setAttribute("aria-selected", String(n === i));
    if (n === i) node.scrollIntoView({block: "nearest"});
  });
  if (completion.items.length) $("line").setAttribute("aria-activedescendant", "completion-" + i);
  else $("line").removeAttribute("aria-activedescendant");
}

function accept(i) {
  $("line").value = completion.items[i].line;
  complete();
}

async function complete() {
  clearTimeout(completion.timer);
  const request = ++completion.request;
  const line = $("line").value;
  if (!line.startsWith("/")) return showCompletions([]);
  const answer = await attempt(() => call("/fake/completions", {person: state.person, channel: state.channel, line}));
  if (request === completion.request) showCompletions(answer?.completions ?? []);
}

$("line").addEventListener("input", () => {
  clearTimeout(completion.timer);
  completion.timer = setTimeout(complete, 120);
});
$("line").addEventListener("keydown", (event) => {
  const {items, selected} = completion;
  if (!items.length || event.isComposing) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    select((selected + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length);
  } else if (event.key === "Tab" && !event.shiftKey) {
    event.preventDefault();
    accept(selected);
  } else if (event.key === "Escape") {
    showCompletions([]);
  }
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const line = $("line").value.trim();
  if (!line) return;
  attempt(async () => {
    const answer = await call("/fake/lines", {person: state.person, channel: state.channel, line});
    $("line").value = "";
    clearTimeout(completion.timer);
    completion.request += 1;
    showCompletions([]);
    $("messages").scrollTop = $("messages").scrollHeight;
    if (answer.interaction) await followInteraction(answer.interaction);
  });
});
$("person").addEventListener("change", () => {
  state.person = $("person").value;
  const current = state.overview.channels.find((each) => each.id === state.channel);
  listen();
  openChannel(current?.kind === "direct" ? state.overview.channels[0].id : state.channel);
});
$("blocks").addEventListener("change", () =>
  attempt(() => call("/fake/blocks", {person: state.person, blocks: $("blocks").checked})));
$("show-pins").addEventListener("click", () => {
  $("pins").hidden = !$("pins").hidden;
  $("show-pins").setAttribute("aria-expanded", String(!$("pins").hidden));
});
$("show-side").addEventListener("click", () => showSide(!$("side").classList.contains("open")));
document.addEventListener("keydown", (event) => event.key === "Escape" && showSide(false));
$("content").addEventListener("click", () => showSide(false));
setInterval(() => document.hidden || refresh(), 30_000);

await refresh();
listen();
$("line").focus();
