"""Discord's limits of buttons, menus and the fields of dialogs."""

from __future__ import annotations

from simulator.discord.errors import FieldPath, FormErrors, Payload

ROW, BUTTON, TEXT_MENU, TEXT_FIELD = 1, 2, 3, 4
MENUS = (TEXT_MENU, 5, 6, 7, 8)
LINK_STYLE = 5
LONGEST_ID = 100
# Components of the second version: texts, sections, containers and so on.
MOST_NEW_COMPONENTS = 40
LAYOUTS = tuple(range(9, 19))


def read_components(value: object, path: FieldPath, form: FormErrors) -> list[Payload]:
    """The rows of a message. Adds what is wrong to the form's errors."""
    rows = form.objects(value, path, 5)
    ids: set[str] = set()
    for where, row in rows:
        form.choice(row.get("type"), (*where, "type"), (ROW,))
        items = form.objects(row.get("components"), (*where, "components"), 5, 1)
        for at, item in items:
            form.choice(item.get("type"), (*at, "type"), (BUTTON, *MENUS))
            if item.get("type") == BUTTON:
                _check_button(item, at, form)
            elif item.get("type") in MENUS:
                _check_menu(item, at, form)
                if len(items) > 1:
                    form.add((*where, "components"), "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The width exceeds the limit")
            _check_unique(item, at, ids, form)
    return [row for _, row in rows]


def read_layout(value: object, path: FieldPath, form: FormErrors) -> list[Payload]:
    """Components of the second version: only their kinds, number and ids are checked."""
    rows = form.objects(value, path, MOST_NEW_COMPONENTS, 1)
    ids: set[str] = set()
    pending = list(rows)
    count = 0
    while pending:
        where, item = pending.pop()
        count += 1
        form.choice(item.get("type"), (*where, "type"), (ROW, BUTTON, *MENUS, *LAYOUTS))
        if item.get("type") == BUTTON:
            _check_button(item, where, form)
        elif item.get("type") in MENUS:
            _check_menu(item, where, form)
        _check_unique(item, where, ids, form)
        if item.get("components") is not None:
            pending += form.objects(item["components"], (*where, "components"), MOST_NEW_COMPONENTS)
        if item.get("accessory") is not None:
            pending.append(((*where, "accessory"), form.mapping(item["accessory"], (*where, "accessory"))))
    if count > MOST_NEW_COMPONENTS:
        form.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_NEW_COMPONENTS} or fewer in length.")
    return [row for _, row in rows]


def read_dialog(value: object, path: FieldPath, form: FormErrors) -> Payload:
    """A dialog (Discord's modal) with text fields."""
    dialog = form.mapping(value, path)
    form.text(dialog.get("custom_id"), (*path, "custom_id"), LONGEST_ID, 1)
    form.text(dialog.get("title"), (*path, "title"), 45, 1)
    form.objects(dialog.get("components"), (*path, "components"), 5, 1)
    return dialog


def items_of(components: list[Payload]) -> list[Payload]:
    """All components of a message, also the ones inside others."""
    items: list[Payload] = []
    for component in components:
        items.append(component)
        items += items_of([each for each in component.get("components") or [] if isinstance(each, dict)])
        if isinstance(component.get("accessory"), dict):
            items += items_of([component["accessory"]])
    return items


def _check_button(item: Payload, path: FieldPath, form: FormErrors) -> None:
    form.integer(item.get("style"), (*path, "style"), 1, 6)
    if item.get("label") is not None:
        form.text(item["label"], (*path, "label"), 80)
    elif item.get("emoji") is None:
        form.add((*path, "label"), "BUTTON_COMPONENT_LABEL_REQUIRED", "A label or an emoji is required")
    if item.get("style") == LINK_STYLE:
        url = form.text(item.get("url"), (*path, "url"), 512, 1)
        if url and not url.startswith(("http://", "https://", "discord://")):
            form.add((*path, "url"), "URL_TYPE_INVALID_SCHEME", "Scheme must be one of http, https, discord.")
        if item.get("custom_id") is not None:
            form.add((*path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", "Not with a URL")
    elif item.get("style") != 6:
        form.text(item.get("custom_id"), (*path, "custom_id"), LONGEST_ID, 1)
    if item.get("disabled") is not None:
        form.boolean(item["disabled"], (*path, "disabled"))


def _check_menu(item: Payload, path: FieldPath, form: FormErrors) -> None:
    form.text(item.get("custom_id"), (*path, "custom_id"), LONGEST_ID, 1)
    if item.get("placeholder") is not None:
        form.text(item["placeholder"], (*path, "placeholder"), 150)
    for name, smallest in (("min_values", 0), ("max_values", 1)):
        if item.get(name) is not None:
            form.integer(item[name], (*path, name), smallest, 25)
    if item.get("type") != TEXT_MENU:
        return
    values = set()
    for at, option in form.objects(item.get("options"), (*path, "options"), 25, 1):
        form.text(option.get("label"), (*at, "label"), 100, 1)
        value = form.text(option.get("value"), (*at, "value"), 100, 1)
        if option.get("description") is not None:
            form.text(option["description"], (*at, "description"), 100)
        if value and value in values:
            form.add((*at, "value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is used")
        values.add(value)


def _check_unique(item: Payload, path: FieldPath, ids: set[str], form: FormErrors) -> None:
    custom_id = item.get("custom_id")
    if not isinstance(custom_id, str):
        return
    if custom_id in ids:
        form.add((*path, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
    ids.add(custom_id)
