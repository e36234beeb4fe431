"""A request's prompt as keys of the KV index: body -> token ids -> keys. In a thread of its own, bounded.

Read are completions, chats, responses and messages; token ids that a client gives need no tokenizer. What can not be
read says why, by one of the words of `WHY`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from dataplane.kv.conversations import (
    MessagesBody,
    ResponsesBody,
    UnreadableError,
    of_messages,
    of_responses,
    template_variables,
)
from shared.decoding import DECODE_ERRORS
from shared.kv_chain import chain, encode_extra, root
from shared.kv_config import tokenizer_folders
from shared.routes import route_of

if TYPE_CHECKING:
    from dataplane.kv.tokenizer import ModelTokenizer

MOST_BODY: Final = 1024 * 1024
"""Bytes of a body that is read: parsing holds the interpreter's lock, 2 ms for so many."""
MOST_PENDING: Final = 32
"""Prompts that wait to be read; more are chosen for without: they would wait longer than a cached prefix saves."""

WHY: Final[Mapping[str, str]] = {
    "no_tokenizer": "prompts can not be read without the model's tokenizer; give its folder with --tokenizer",
    "tokenizer_failed": "the folder of --tokenizer can not be used; the log has said why",
    "tokenizer_loading": "the tokenizer is being loaded",
    "too_large": "bodies above 1 MiB are not read",
    "too_many": "more prompts wait to be read than can be read in time",
    "unreadable": "prompts with parts that are no text, or of other endpoints, can not be read (docs/kv-events.md)",
}

logger = logging.getLogger(__name__)


class PromptKeys(NamedTuple):
    """A prompt: how many tokens it has, and its full blocks' keys by block size; or `why` it can not be read."""

    tokens: int = 0
    keys: Mapping[int, list[int]] = {}
    why: str = ""


class _Body(msgspec.Struct):
    prompt: str | list[Any] | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[Any] | None = None
    cache_salt: str | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    documents: list[Any] | None = None
    reasoning_effort: str | None = None
    truncate_prompt_tokens: int | None = None


_decode = msgspec.json.Decoder(_Body).decode
_DECODERS: Final[Mapping[str, Callable[[bytes], ResponsesBody | MessagesBody]]] = {
    "/v1/responses": msgspec.json.Decoder(ResponsesBody).decode,
    "/v1/messages": msgspec.json.Decoder(MessagesBody).decode,
}


class Prompts:
    """Reads prompts with the tokenizers that the operator gave."""

    def __init__(self) -> None:
        self._given: tuple[str, ...] = ()
        self._folders: Mapping[str | None, str] = {}
        self._tokenizers: dict[str, ModelTokenizer | None] = {}
        self._pending = 0
        self._executor: ThreadPoolExecutor | None = None

    def use(self, given: tuple[str, ...]) -> None:
        """Read with the tokenizers of these folders (`[MODEL=]FOLDER`); load those that are new."""
        if given == self._given:
            return
        self._given = given
        self._folders = tokenizer_folders(given)
        self._tokenizers = {}
        for folder in set(self._folders.values()):
            self._in_thread(self._load, folder)

    def close(self) -> None:
        """End the thread."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def why_not(self, path: str, body: bytes | bytearray) -> str | None:
        """Return why a request's prompt will not be read, without looking into it; None when it will."""
        if not route_of(path).hands_over:
            return "unreadable"
        if len(body) > MOST_BODY:
            return "too_large"
        return "too_many" if self._pending >= MOST_PENDING else None

    def read(
        self, path: str, body: bytes | bytearray, model: str | None, adapter: str | None, sizes: Iterable[int]
    ) -> asyncio.Future[PromptKeys]:
        """Read a prompt of `model` in the thread; `adapter` is the LoRA adapter's name, `sizes` are block sizes."""
        self._pending += 1
        future = self._in_thread(self._read, path, bytes(body), model, adapter, tuple(sizes))
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[PromptKeys]) -> None:
        self._pending -= 1

    def _in_thread(self, work: Any, *arguments: Any) -> asyncio.Future[Any]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    # --- in the thread ---------------------------------------------------------------------------------

    def _load(self, folder: str) -> None:
        try:
            from dataplane.kv.tokenizer import ModelTokenizer, TokenizerError
        except ImportError as error:
            logger.error("tokenizer %s: %s; pip install routerctl[kv]", folder, error)
            self._tokenizers[folder] = None
            return
        try:
            self._tokenizers[folder] = ModelTokenizer(folder)
            logger.info("tokenizer %s is loaded", folder)
        except TokenizerError as error:
            logger.error("tokenizer %s", error)
            self._tokenizers[folder] = None

    def _read(
        self, path: str, body: bytes, model: str | None, adapter: str | None, sizes: tuple[int, ...]
    ) -> PromptKeys:
        try:
            found: _Body | ResponsesBody | MessagesBody = _DECODERS.get(path, _decode)(body)
        except DECODE_ERRORS:
            return PromptKeys(why="unreadable")
        given = _ids_of(found) if path == "/v1/completions" and isinstance(found, _Body) else None
        ids = given if given is not None else self._tokenise(path, found, model)
        if isinstance(ids, str):
            return PromptKeys(why=ids)
        extra = encode_extra([found.cache_salt] if found.cache_salt else [])
        try:
            keys = {
                size: chain(root(adapter), ids, size, _salted(extra, len(ids) // size)) for size in sizes if size > 0
            }
        except (OverflowError, TypeError):
            return PromptKeys(why="unreadable")
        return PromptKeys(len(ids), keys)

    def _tokenise(self, path: str, body: _Body | ResponsesBody | MessagesBody, model: str | None) -> list[int] | str:
        """Return the token ids, or why there are none."""
        folder = self._folders.get(model, self._folders.get(None))
        if folder is None:
            return "no_tokenizer"
        if folder not in self._tokenizers:
            return "tokenizer_loading"
        tokenizer = self._tokenizers[folder]
        if tokenizer is None:
            return "tokenizer_failed"
        if not isinstance(body, _Body):
            return _of_conversation(tokenizer, body)
        if body.truncate_prompt_tokens is not None:
            return "unreadable"
        if path == "/v1/completions":
            text = body.prompt[0] if isinstance(body.prompt, list) and body.prompt else body.prompt
            if not isinstance(text, str):
                return "unreadable"
            return tokenizer.of_text(text, add_special_tokens=body.add_special_tokens is not False)
        return _of_chat(tokenizer, body)


def _of_chat(tokenizer: ModelTokenizer, body: _Body) -> list[int] | str:
    if not body.messages or body.chat_template is not None:
        return "unreadable"
    given = {
        "add_generation_prompt": body.add_generation_prompt and not body.continue_final_message,
        **({"documents": body.documents} if body.documents is not None else {}),
        **(body.chat_template_kwargs or {}),
    }
    more = template_variables(body.reasoning_effort, given)
    try:
        return tokenizer.of_chat(body.messages, body.tools, more, special=bool(body.add_special_tokens))
    except UnreadableError:
        return "unreadable"


def _of_conversation(tokenizer: ModelTokenizer, body: ResponsesBody | MessagesBody) -> list[int] | str:
    try:
        if isinstance(body, ResponsesBody):
            # vLLM adds what begins a text here, and in no other chat.
            return tokenizer.of_chat(*of_responses(body), special=True)
        chat = of_messages(body, system_first=tokenizer.system_first)
        return tokenizer.of_chat(*chat, special=False)
    except UnreadableError:
        return "unreadable"


def _ids_of(body: _Body) -> list[int] | None:
    """Return the token ids that a client gave; of several prompts those of the first."""
    prompt = body.prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], list):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
        return prompt
    return None


def _salted(salt: bytes | None, blocks: int) -> list[bytes | None] | None:
    # vLLM puts a salt into the first block's hash alone; those behind it depend on it.
    return [salt] + [None] * (blocks - 1) if salt is not None and blocks else None
