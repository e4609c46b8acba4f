"""The AsyncAPI 3 document of the socket, made from the schemas that validate its packets."""

import inspect
from typing import Any

from pydantic.json_schema import models_json_schema

from realtime.packets import PACKETS, Auth

Json = dict[str, Any]
_POSITION: Json = {
    "type": "object",
    "properties": {"offset": {"type": "integer"}, "epoch": {"type": "string"}},
    "required": ["offset", "epoch"],
}


def _object(required: str, **optional: Json) -> Json:
    kinds: dict[str, Json] = {
        "offset": {"type": "integer", "minimum": 1},
        "data": {},
        "position": _POSITION,
        "user": {"type": "object"},
        "limits": {"type": "object"},
        "expires_in": {"type": "integer"},
        "retry": {"enum": ["now", "later", "never"]},
        "retry_after": {"type": "number"},
        "actor": {"type": ["string", "null"]},
        "key": {"type": ["string", "null"]},
    }
    names = required.split()
    properties = {name: kinds.get(name, {"type": "string"}) for name in names}
    return {"type": "object", "required": names, "properties": {**properties, **optional}}


_FROM_SERVER: dict[str, tuple[str, Json]] = {
    "ready": (
        "Sent once after connecting. The connection follows its user's own stream from here.",
        _object("user connection_id node server_time limits position"),
    ),
    "event": (
        "An event of a stream that is followed.",
        _object("stream offset type data actor key at"),
    ),
    "signal": ("A signal: no offset, may be dropped.", _object("stream type data actor at")),
    "reset": (
        "The stream can't be gone on with: take a new sync.",
        _object("stream reason position"),
    ),
    "unsubscribed": ("Access to a stream was lost.", _object("stream code")),
    "auth.expiring": ("The token expires soon: send auth.refresh.", _object("expires_in")),
    "bye": ("The server closes the connection.", _object("code detail retry retry_after")),
}
_ACK: Json = {
    "type": "object",
    "required": ["ok"],
    "properties": {
        "ok": {"type": "boolean"},
        "error": {
            "type": "object",
            "required": ["code", "detail", "retryable"],
            "properties": {
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "retryable": {"type": "boolean"},
                "retry_after": {"type": "number"},
                "errors": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
}


def document(version: str) -> Json:
    """Describe the socket."""
    models = [(model, "validation") for model in [*PACKETS.values(), Auth]]
    refs, found = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    messages: dict[str, Json] = {}
    operations: dict[str, Json] = {}
    for name, model in PACKETS.items():
        about = inspect.cleandoc(model.__doc__ or "")
        messages[name] = {"name": name, "summary": about, "payload": refs[model, "validation"]}
        operations[f"receive {name}"] = _operation("receive", name, about) | {
            "reply": {"messages": [{"$ref": "#/channels/socket/messages/ack"}]}
        }
    for name, (about, payload) in _FROM_SERVER.items():
        messages[name] = {"name": name, "summary": about, "payload": payload}
        operations[f"send {name}"] = _operation("send", name, about)
    messages["ack"] = {"name": "ack", "summary": "The answer to a packet.", "payload": _ACK}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fanfare over Socket.IO",
            "version": version,
            "description": "Socket.IO protocol 5 at /socket.io. Connect with "
            '`auth: {"token": "…"}`; a refused connect is a connect_error with '
            "`data: {code, detail}`. Every packet takes one object and is acked.",
        },
        "channels": {
            "socket": {
                "address": "/socket.io",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {**found.get("$defs", {}), "Auth": found["$defs"]["Auth"]},
        },
    }


def _operation(action: str, name: str, about: str) -> Json:
    return {
        "action": action,
        "summary": about,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{name}"}],
    }
