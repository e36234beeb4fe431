"""The models that a client names within a session of `/v1/realtime`, for keys that are good for some only.

vLLM reads the model from `session.update`, whenever that comes, and OpenAI's from the session in it. Each message is
read as a whole: names within JSON can be written in many ways, so that looking for one finds not every one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dataplane.client_keys import Holder
from shared.decoding import DECODE_ERRORS


class _Event(msgspec.Struct):
    model: Any = None
    session: Any = None


_decoder = msgspec.json.Decoder(_Event)
UNREADABLE = ""
"""Stands for the model of a message that is no JSON object, as JSON is defined: a worker may read one in it."""


def forbidden(message: bytes, key: Holder) -> str | None:
    """Return a model in a message of the client's that the key is not for; None when there is none.

    A message without a model has none for vLLM, either: it refuses a session that names none.
    """
    try:
        event = _decoder.decode(message)
    except DECODE_ERRORS:
        return UNREADABLE
    session = event.session
    for model in (event.model, session.get("model") if isinstance(session, dict) else None):
        if model is not None and not (isinstance(model, str) and key.may_use(model)):
            return model if isinstance(model, str) else UNREADABLE
    return None
