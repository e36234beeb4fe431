"""The simulated workers' tokenizer as the files of a model, for routers that tokenise by themselves.

The simulator's has no vocabulary file: each piece of text has a number by a rule. Here are the numbers of the pieces of
some texts, which is all that a test needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from controlplane.sim import tokenizer

PIECES = r" ?[A-Za-z0-9]{1,3}|[\s\S]"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tokenizer(folder: Path, texts: Iterable[str], template: str | None = TEMPLATE) -> Path:
    """Write the files that tokenise these texts, and chats of them, as the simulator does."""
    vocabulary = {"\n": 10, "?": 63, "<|im_start|>": tokenizer.IM_START, "<|im_end|>": tokenizer.IM_END}
    for text in (*texts, "system", "user", "assistant"):
        vocabulary.update((tokenizer.piece(token), token) for token in tokenizer.encode(text))
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>"} | ({"chat_template": template} if template is not None else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
