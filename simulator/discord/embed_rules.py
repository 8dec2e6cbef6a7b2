"""Discord's limits of embeds."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from simulator.discord.errors import FieldPath, FormErrors, Payload

MOST_EMBEDS = 10
MOST_CHARACTERS = 6000
LONGEST = {"title": 256, "description": 4096}
LONGEST_URL = 2048


def read_embeds(value: object, path: FieldPath, form: FormErrors) -> list[Payload]:
    """The embeds in the form in which Discord returns them. Adds what is wrong to the form's errors."""
    embeds = [_read_embed(item, where, form) for where, item in form.objects(value, path, MOST_EMBEDS)]
    if sum(_characters(embed) for embed in embeds) > MOST_CHARACTERS:
        form.add(path, "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MOST_CHARACTERS}")
    return embeds


def _read_embed(item: Payload, path: FieldPath, form: FormErrors) -> Payload:
    embed: Payload = {"type": "rich"}
    for name, longest in LONGEST.items():
        if item.get(name) is not None and (text := form.text(item[name], (*path, name), longest)):
            embed[name] = text
    if item.get("url") is not None:
        embed["url"] = _url(item["url"], (*path, "url"), form)
    if item.get("color") is not None:
        embed["color"] = form.integer(item["color"], (*path, "color"), 0, 0xFFFFFF)
    if item.get("timestamp") is not None:
        embed["timestamp"] = _timestamp(item["timestamp"], (*path, "timestamp"), form)
    if item.get("footer") is not None:
        embed["footer"] = _named(item["footer"], "text", 2048, (*path, "footer"), form)
    if item.get("author") is not None:
        embed["author"] = _named(item["author"], "name", 256, (*path, "author"), form)
    for name in ("image", "thumbnail"):
        if item.get(name) is not None:
            picture = form.mapping(item[name], (*path, name))
            embed[name] = {"url": _url(picture.get("url"), (*path, name, "url"), form)}
    if item.get("fields") is not None:
        where = (*path, "fields")
        embed["fields"] = [_field(each, at, form) for at, each in form.objects(item["fields"], where, 25)]
    if len(embed) == 1:
        form.add((*path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
    return embed


def _field(item: Payload, path: FieldPath, form: FormErrors) -> Payload:
    field: Payload = {"inline": form.boolean(item.get("inline", False), (*path, "inline"))}
    for name, longest in (("name", 256), ("value", 1024)):
        text = item.get(name)
        # Discord accepts a field that consists of an invisible character, but none without text.
        field[name] = form.text(text, (*path, name), longest) if text is not None else ""
        if field[name] == "" and (text is None or isinstance(text, str)):
            form.required((*path, name))
    return field


def _named(value: object, name: str, longest: int, path: FieldPath, form: FormErrors) -> Payload:
    """A footer or an author: a text and optionally addresses."""
    item = form.mapping(value, path)
    named: Payload = {name: form.text(item.get(name, ""), (*path, name), longest)}
    for key in ("url", "icon_url"):
        if item.get(key) is not None:
            named[key] = _url(item[key], (*path, key), form)
    return named


def _url(value: object, path: FieldPath, form: FormErrors) -> str:
    url = form.text(value, path, LONGEST_URL, 1)
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if url and (parts.scheme not in {"http", "https", "attachment"} or not parts.netloc):
        form.add(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    return url


def _timestamp(value: object, path: FieldPath, form: FormErrors) -> str:
    text = value if isinstance(value, str) else ""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        form.add(path, "DATE_TIME_TYPE_PARSE", f"Could not parse {str(value)[:50]}. Should be ISO8601.")
        return text


def _characters(embed: Payload) -> int:
    texts = [embed.get("title", ""), embed.get("description", "")]
    texts += [embed.get("footer", {}).get("text", ""), embed.get("author", {}).get("name", "")]
    texts += [field[name] for field in embed.get("fields", []) for name in ("name", "value")]
    return sum(map(len, texts))
