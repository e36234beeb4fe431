"""`GET /v1/models` and `GET /v1/models/{id}`: the models of the fleet and the names that stand for them.

A page is made when it is first asked for, once for each version of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from shared.decoding import DECODE_ERRORS
from shared.model_rules import ModelRule, ModelRules
from shared.table import ModelCard

_OWNER = "routerctl"


class ModelsPage:
    """The entries by id: models in the table's order, then the names of `[models]` that some worker may serve."""

    def __init__(self, cards: Mapping[str, ModelCard], rules: ModelRules) -> None:
        self._cards = cards
        self._rules = rules

    @cached_property
    def entries(self) -> dict[str, bytes]:
        """Each as JSON. A name that is a model's, too, has the entry of what it stands for."""
        entries = {model: card.card for model, card in self._cards.items()}
        for name, rule in self._rules.items():
            if (entry := self._entry(name, rule)) is not None:
                entries[name] = entry
        return entries

    @cached_property
    def body(self) -> bytes:
        """The whole list, in OpenAI's shape."""
        return b'{"object":"list","data":[%b]}' % b",".join(self.entries.values())

    def _entry(self, name: str, rule: ModelRule) -> bytes | None:
        """Return the entry of a name; None when no worker has told what it stands for, or told of it by itself."""
        if rule.parent is not None:
            adapter = self._read(name) if name not in self._cards else None
            return msgspec.json.encode(adapter) if adapter is not None else None
        models = dict.fromkeys(name if arm.to is None else arm.to for arm in rule.arms)
        if list(models) == [name]:
            return None
        cards = {model: card for model in models if (card := self._read(model)) is not None}
        if not cards:
            return None
        first = next(iter(cards.values()))
        root = next(iter(models)) if len(models) == 1 else None
        entry: dict[str, Any] = {**first, "id": name, "owned_by": _OWNER, "root": root, "parent": None}
        if (longest := least(card.get("max_model_len") for card in cards.values())) is not None:
            entry["max_model_len"] = longest
        return msgspec.json.encode(entry)

    def _read(self, model: str) -> dict[str, Any] | None:
        """Return a model's entry; that of an adapter which nobody has loaded yet is made from its parent's."""
        card = self._cards.get(model)
        if card is None:
            rule = self._rules.get(model)
            parent = rule.parent if rule is not None else None
            base = self._read(parent) if parent is not None else None
            return {**base, "id": model, "root": None, "parent": parent} if base is not None else None
        try:
            return dict(msgspec.json.decode(card.card, type=dict[str, Any]))
        except DECODE_ERRORS:
            # From the table of an earlier version that took anything.
            return {"id": model, "object": "model"}


def least(lengths: Iterable[object]) -> int | None:
    """Return the context length that every one of several takes; None where none is told."""
    return min((length for length in lengths if type(length) is int), default=None)
