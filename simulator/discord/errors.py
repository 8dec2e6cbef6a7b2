"""Errors of the API in Discord's form: an HTTP status, a code and, for an invalid body, the fields that are wrong."""

from __future__ import annotations

from typing import Any

Payload = dict[str, Any]
FieldPath = tuple[str | int, ...]

UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
UNKNOWN_USER = (404, 10013, "Unknown User")
UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
UNKNOWN_COMMAND = (404, 10063, "Unknown application command")
TOO_MANY_PINS = (400, 30003, "Maximum number of pins reached for the channel (50)")
ALREADY_ANSWERED = (400, 40060, "Interaction has already been acknowledged.")
MISSING_ACCESS = (403, 50001, "Missing Access")
NOT_IN_DIRECT_MESSAGES = (403, 50003, "Cannot execute action on a DM channel")
NOT_THE_AUTHOR = (403, 50005, "Cannot edit a message authored by another user")
EMPTY_MESSAGE = (400, 50006, "Cannot send an empty message")
CANNOT_SEND_TO_USER = (403, 50007, "Cannot send messages to this user")
MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
INVALID_WEBHOOK_TOKEN = (401, 50027, "Invalid Webhook Token")
INVALID_RECIPIENT = (400, 50033, "Invalid Recipient(s)")
FILE_TOO_LARGE = (413, 40005, "Request entity too large")
INVALID_JSON = (400, 50109, "The request body contains invalid JSON.")
THREAD_EXISTS = (400, 160004, "A thread has already been created for this message")
UNAUTHORIZED = (401, 0, "401: Unauthorized")
UNKNOWN_PATH = (404, 0, "404: Not Found")
INVALID_FORM_BODY = 50035


class ApiError(Exception):
    """An error response."""

    def __init__(self, reason: tuple[int, int, str], errors: Payload | None = None) -> None:
        self.status, self.code, self.message = reason
        super().__init__(self.message)
        self.errors = errors

    def body(self) -> Payload:
        body: Payload = {"message": self.message, "code": self.code}
        return body if self.errors is None else body | {"errors": self.errors}


class FormErrors:
    """What is wrong with a body, collected so that one response names everything."""

    def __init__(self) -> None:
        self._tree: Payload = {}

    def add(self, path: FieldPath, code: str, message: str) -> None:
        node = self._tree
        for part in path:
            node = node.setdefault(str(part), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def raise_if_any(self) -> None:
        """Raises ApiError if an error was added."""
        if self._tree:
            raise ApiError((400, INVALID_FORM_BODY, "Invalid Form Body"), self._tree)

    def text(self, value: object, path: FieldPath, longest: int, shortest: int = 0) -> str:
        """The text without surrounding space, as Discord stores it; an empty text if there is an error."""
        if not isinstance(value, str):
            self.add(path, "STRING_TYPE_CONVERT", f'Could not interpret "{str(value)[:50]}" as string.')
            return ""
        text = value.strip()
        if len(text) > longest and shortest == 0:
            self.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {longest} or fewer in length.")
        elif not shortest <= len(text) <= longest:
            self.add(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {shortest} and {longest} in length.")
        return text

    def integer(self, value: object, path: FieldPath, smallest: int, largest: int) -> int:
        """The integer; the smallest one if there is an error."""
        if isinstance(value, bool) or not isinstance(value, int):
            self.add(path, "NUMBER_TYPE_COERCE", f'Value "{str(value)[:50]}" is not int.')
            return smallest
        if not smallest <= value <= largest:
            self.add(path, "NUMBER_TYPE_RANGE", f"int value should be between {smallest} and {largest}.")
            return smallest
        return value

    def boolean(self, value: object, path: FieldPath) -> bool:
        if not isinstance(value, bool):
            self.add(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
        return value is True

    def choice(self, value: object, path: FieldPath, choices: tuple[object, ...]) -> None:
        if isinstance(value, bool) or value not in choices:
            self.add(path, "BASE_TYPE_CHOICES", f"Value must be one of {{{', '.join(map(str, choices))}}}.")

    def objects(self, value: object, path: FieldPath, most: int, fewest: int = 0) -> list[tuple[FieldPath, Payload]]:
        """The objects of a list with their paths; those that are no objects become errors and are left out."""
        if not isinstance(value, list):
            self.add(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return []
        if not fewest <= len(value) <= most:
            if fewest:
                self.add(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {fewest} and {most} in length.")
            else:
                self.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        objects = []
        for i, item in enumerate(value):
            if isinstance(item, dict):
                objects.append(((*path, i), item))
            else:
                self.add((*path, i), "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return objects

    def mapping(self, value: object, path: FieldPath) -> Payload:
        """The JSON object; an empty one if there is an error."""
        if isinstance(value, dict):
            return value
        self.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return {}

    def snowflake(self, value: object, path: FieldPath) -> int:
        """The id; 0 if there is an error."""
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) < 2**63:
            return int(text)
        self.add(path, "NUMBER_TYPE_COERCE", f'Value "{str(value)[:50]}" is not snowflake.')
        return 0

    def required(self, path: FieldPath) -> None:
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required")
