"""All routes of the API, below /api/v10. The first one that matches counts."""

from __future__ import annotations

from simulator.discord.routes import channels, commands, identity, interactions, messages
from simulator.discord.routes.call import RouteHandler

_CHANNEL = "/channels/{channel}"
_MESSAGE = "/channels/{channel}/messages/{message}"
_COMMANDS = "/applications/{application}/commands"
_GUILD_COMMANDS = "/applications/{application}/guilds/{guild}/commands"
_WEBHOOK = "/webhooks/{webhook}/{token}"

ROUTES: tuple[tuple[str, str, RouteHandler], ...] = (
    ("GET", "/users/@me", identity.get_me),
    ("GET", "/users/@me/guilds", identity.list_my_guilds),
    ("POST", "/users/@me/channels", channels.open_direct_messages),
    ("GET", "/users/{user}", identity.get_user),
    ("GET", "/oauth2/applications/@me", identity.get_application),
    ("GET", "/applications/@me", identity.get_application),
    *(
        (method, path, handler)
        for path in (_COMMANDS, _GUILD_COMMANDS)
        for method, handler in (
            ("GET", commands.list_commands),
            ("PUT", commands.overwrite_commands),
            ("POST", commands.create_command),
        )
    ),
    *(
        (method, path + "/{command}", handler)
        for path in (_COMMANDS, _GUILD_COMMANDS)
        for method, handler in (
            ("GET", commands.get_command),
            ("PATCH", commands.edit_command),
            ("DELETE", commands.delete_command),
        )
    ),
    ("GET", "/gateway", identity.get_gateway),
    ("GET", "/gateway/bot", identity.get_bot_gateway),
    ("GET", "/guilds/{guild}", identity.get_guild),
    ("GET", "/guilds/{guild}/channels", identity.list_channels),
    ("GET", "/guilds/{guild}/roles", identity.list_roles),
    ("GET", "/guilds/{guild}/members/{user}", identity.get_member),
    ("GET", "/guilds/{guild}/threads/active", channels.list_active_threads),
    ("GET", _CHANNEL, channels.get_channel),
    ("PATCH", _CHANNEL, channels.edit_channel),
    ("POST", _CHANNEL + "/typing", channels.trigger_typing),
    ("POST", _CHANNEL + "/threads", channels.start_thread),
    ("PUT", _CHANNEL + "/thread-members/@me", channels.join_thread),
    ("GET", _CHANNEL + "/pins", messages.list_pins_of_old_route),
    ("PUT", _CHANNEL + "/pins/{message}", messages.pin_message),
    ("DELETE", _CHANNEL + "/pins/{message}", messages.unpin_message),
    ("GET", _CHANNEL + "/messages/pins", messages.list_pins),
    ("PUT", _CHANNEL + "/messages/pins/{message}", messages.pin_message),
    ("DELETE", _CHANNEL + "/messages/pins/{message}", messages.unpin_message),
    ("GET", _CHANNEL + "/messages", messages.list_messages),
    ("POST", _CHANNEL + "/messages", messages.create_message),
    ("GET", _MESSAGE, messages.get_message),
    ("PATCH", _MESSAGE, messages.edit_message),
    ("DELETE", _MESSAGE, messages.delete_message),
    ("POST", _MESSAGE + "/threads", channels.start_message_thread),
    ("POST", "/interactions/{interaction}/{token}/callback", interactions.answer_interaction),
    ("GET", _WEBHOOK, interactions.get_webhook),
    ("POST", _WEBHOOK, interactions.create_webhook_message),
    ("GET", _WEBHOOK + "/messages/{message}", interactions.get_webhook_message),
    ("PATCH", _WEBHOOK + "/messages/{message}", interactions.edit_webhook_message),
    ("DELETE", _WEBHOOK + "/messages/{message}", interactions.delete_webhook_message),
)
# Their token is in the path.
WITHOUT_BOT_TOKEN = ("/interactions/", "/webhooks/")
