// Turns messages into elements. Text of messages is only ever the text of an element, never HTML.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const INLINE = [
  [/^`([^`\n]+)`/, (match) => element("code", {}, match[1])],
  [/^\*\*([\s\S]+?)\*\*(?!\*)/, (match, context) => element("strong", {}, ...inline(match[1], context))],
  [/^__([\s\S]+?)__/, (match, context) => element("u", {}, ...inline(match[1], context))],
  [/^~~([\s\S]+?)~~/, (match, context) => element("s", {}, ...inline(match[1], context))],
  [/^\|\|([\s\S]+?)\|\|/, (match, context) => element("span", {className: "spoiler", tabIndex: 0}, ...inline(match[1], context))],
  [/^\*([^\s*][\s\S]*?)\*/, (match, context) => element("em", {}, ...inline(match[1], context))],
  [/^_([^\s_][^_]*?)_(?!\w)/, (match, context) => element("em", {}, ...inline(match[1], context))],
  [/^<t:(-?\d{1,12})(?::([tTdDfFR]))?>/, (match) => timestamp(Number(match[1]), match[2])],
  [/^<@!?(\d+)>/, (match, context) => mention("@" + (context.people.get(match[1]) ?? "unknown-user"))],
  [/^<@&(\d+)>/, (match, context) => mention("@" + (context.roles.get(match[1]) ?? "unknown-role"))],
  [/^<#(\d+)>/, (match, context) => mention("#" + (context.channels.get(match[1]) ?? "unknown"))],
  [/^<\/([-\w ]+):\d+>/, (match) => mention("/" + match[1])],
  [/^@(everyone|here)\b/, (match) => mention(match[0])],
  [/^\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/, (match, context) => link(match[2], inline(match[1], context))],
  [/^<(https?:\/\/[^\s>]+)>/, (match) => link(match[1], [match[1]])],
  [/^https?:\/\/[^\s<>]+[^\s<>.,:;"')\]]/, (match) => link(match[0], [match[0]])],
  [/^\\([^A-Za-z0-9\s])/, (match) => match[1]],
];

function inline(text, context) {
  const nodes = [];
  let plain = "";
  while (text) {
    let match = null;
    const rule = /^[`*_~|<@\[h\\]/.test(text) && INLINE.find(([pattern]) => (match = pattern.exec(text)));
    if (rule) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(rule[1](match, context));
      text = text.slice(match[0].length);
    } else {
      plain += text[0];
      text = text.slice(1);
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

export function markdown(text, context) {
  const root = element("div", {className: "text"});
  for (const [i, part] of text.split(/```(?:\w*\n)?([\s\S]*?)```/).entries()) {
    if (i % 2) root.append(element("pre", {}, part));
    else if (part) root.append(...lines(part, context));
  }
  return root;
}

function lines(text, context) {
  const nodes = [];
  for (const [i, line] of text.split("\n").entries()) {
    const heading = /^(#{1,3}) (.+)/.exec(line);
    const quote = /^> (.*)/.exec(line);
    const small = /^-# (.+)/.exec(line);
    const item = /^\s*[-*] (.+)/.exec(line);
    if (heading) nodes.push(element("h" + (heading[1].length + 2), {}, ...inline(heading[2], context)));
    else if (quote) nodes.push(element("blockquote", {}, ...inline(quote[1], context)));
    else if (small) nodes.push(element("div", {className: "quiet"}, ...inline(small[1], context)));
    else {
      if (i) nodes.push("\n");
      nodes.push(...(item ? ["• ", ...inline(item[1], context)] : inline(line, context)));
    }
  }
  return nodes;
}

function mention(text) {
  return element("span", {className: "mention"}, text);
}

function link(url, children) {
  return element("a", {href: url, rel: "noopener noreferrer", target: "_blank"}, ...children);
}

function timestamp(seconds, style = "f") {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return "invalid time";
  const options = {t: {timeStyle: "short"}, T: {timeStyle: "medium"}, d: {dateStyle: "short"}, D: {dateStyle: "long"},
    f: {dateStyle: "long", timeStyle: "short"}, F: {dateStyle: "full", timeStyle: "short"}};
  const text = style === "R" ? relative(seconds - Date.now() / 1000) : at.toLocaleString([], options[style]);
  return element("time", {dateTime: at.toISOString(), title: at.toLocaleString()}, text);
}

function relative(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, each]) => Math.abs(seconds) >= each) ?? units[3];
  return new Intl.RelativeTimeFormat("en", {numeric: "auto"}).format(Math.round(seconds / size), unit);
}

// Only pictures of this server are shown: the page loads nothing from elsewhere.
function picture(url, className = "") {
  if (url.startsWith("/") || url.startsWith(location.origin + "/")) {
    return element("img", {src: url, alt: "picture " + url.split("/").pop(), className});
  }
  return element("p", {className: "quiet"}, "Picture elsewhere: ", link(url, [url]));
}

function embedElement(embed, context) {
  const box = element("article", {className: "embed"});
  if (embed.color) box.style.borderLeftColor = "#" + embed.color.toString(16).padStart(6, "0");
  if (embed.thumbnail) box.append(picture(embed.thumbnail.url, "thumbnail"));
  if (embed.author) box.append(element("p", {className: "quiet"}, embed.author.name));
  if (embed.title) {
    const title = inline(embed.title, context);
    const isWeb = /^https?:/.test(embed.url ?? "");
    box.append(element("h3", {}, ...(isWeb ? [link(embed.url, title)] : title)));
  }
  if (embed.description) box.append(markdown(embed.description, context));
  if (embed.fields?.length) {
    box.append(element("dl", {className: "fields"}, ...embed.fields.map((field) =>
      element("div", {className: field.inline ? "inline" : ""},
        element("dt", {}, ...inline(field.name, context)), element("dd", {}, markdown(field.value, context))))));
  }
  if (embed.image) box.append(picture(embed.image.url));
  const foot = [embed.footer?.text, embed.timestamp && new Date(embed.timestamp).toLocaleString()].filter(Boolean);
  if (foot.length) box.append(element("p", {className: "quiet"}, foot.join(" · ")));
  return box;
}

const STYLES = {1: "primary", 2: "", 3: "success", 4: "danger"};

function componentElement(component, message, actions) {
  if (component.type === 2) {
    const text = [component.emoji?.name, component.label].filter(Boolean).join(" ");
    if (component.style === 5) return link(component.url, [text + " ↗"]);
    return element("button", {type: "button", className: STYLES[component.style] ?? "", disabled: component.disabled === true,
      "data-id": component.custom_id, onclick: () => actions.use(message, component.custom_id)}, text);
  }
  if (component.type === 3) {
    const menu = element("select", {ariaLabel: component.placeholder ?? "Choose", disabled: component.disabled === true,
      onchange: () => menu.value && actions.use(message, component.custom_id, [menu.value])},
    element("option", {value: ""}, component.placeholder ?? "Choose"),
    ...(component.options ?? []).map((option) =>
      element("option", {value: option.value, selected: option.default === true}, option.label)));
    return menu;
  }
  if (component.type === 10) return markdown(component.content ?? "", actions.context);
  const children = [...(component.components ?? []), component.accessory].filter(Boolean);
  if (children.length) {
    return element("div", {className: "row"}, ...children.map((each) => componentElement(each, message, actions)));
  }
  return element("span", {className: "quiet"}, `(component of type ${component.type})`);
}

function attachmentElement(file) {
  const name = element("p", {}, link(file.url, [file.filename]), element("span", {className: "quiet"}, sizeOf(file.size)));
  const isPicture = file.content_type.startsWith("image/");
  return element("div", {className: "attachment"}, isPicture ? picture(file.url) : null, name);
}

function askedNote(message) {
  if (!message.asked_by) return null;
  const used = message.asked_with ? [" used ", mention("/" + message.asked_with)] : [" used a button"];
  return element("p", {className: "asked"}, element("span", {}, element("b", {}, message.asked_by), ...used));
}

function icon(name) {
  return element("i", {className: "icon " + name, ariaHidden: "true"});
}

function timeOfDay(instant) {
  return instant.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
}

function countOf(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function sizeOf(bytes) {
  return bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function messageElement(message, actions) {
  const author = message.author.global_name ?? message.author.username;
  const at = new Date(message.timestamp);
  if (message.type === 6) {
    return element("li", {className: "message notice"}, icon("pin"), `${author} pinned a message to this channel.`);
  }
  const classes = ["message", message.only_you && "ephemeral", message.notifies_you && "notifies"].filter(Boolean);
  const hue = [...author].reduce((sum, letter) => sum + letter.charCodeAt(0) * 7, 0) % 360;
  const isBot = message.author.bot === true;
  const avatar = element("div", {className: isBot ? "avatar bot" : "avatar", ariaHidden: "true"}, isBot ? null : author.slice(0, 1));
  if (!isBot) avatar.style.background = `hsl(${hue} 45% 38%)`;
  const head = element("div", {className: "head"}, element("span", {className: "name"}, author),
    isBot ? element("span", {className: "tag"}, "APP") : null,
    element("time", {dateTime: message.timestamp, title: at.toLocaleString()}, timeOfDay(at)),
    message.edited ? element("span", {className: "quiet"}, "(edited)") : null,
    message.pinned ? element("span", {className: "quiet"}, icon("pin"), " pinned") : null,
    message.notifies_you ? element("span", {className: "quiet"}, "notifies you") : null);
  const body = element("div", {}, head,
    message.thinking ? element("p", {className: "quiet"}, `${author} is thinking…`) : null,
    message.content ? markdown(message.content, actions.context) : null,
    ...message.embeds.map((embed) => embedElement(embed, actions.context)),
    ...message.attachments.map(attachmentElement),
    ...message.components.map((row) => componentElement(row, message, actions)),
    message.thread ? element("button", {type: "button", className: "thread-link", onclick: () => actions.open(message.thread.id)},
      icon("thread"), `${message.thread.name} · ${countOf(message.thread.total_message_sent, "message")}`) : null,
    message.only_you ? element("p", {className: "quiet"}, icon("eye"), " Only you can see this") : null);
  return element("li", {className: classes.join(" ")}, askedNote(message), avatar, body);
}

// Keeps what did not change, so that the focus stays where it is.
export function renderInto(parent, items, shown, make) {
  const wanted = new Map(items.map((item) => [item.id, JSON.stringify(item)]));
  for (const [id, entry] of shown) if (!wanted.has(id)) { entry.node.remove(); shown.delete(id); }
  items.forEach((item, i) => {
    const text = wanted.get(item.id);
    let entry = shown.get(item.id);
    if (!entry || entry.text !== text) {
      const node = make(item);
      const focused = entry && entry.node.contains(document.activeElement) ? document.activeElement.dataset.id : null;
      if (entry) entry.node.replaceWith(node);
      entry = {node, text};
      shown.set(item.id, entry);
      if (focused) node.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
    }
    if (parent.children[i] !== entry.node) parent.insertBefore(entry.node, parent.children[i] ?? null);
  });
}
