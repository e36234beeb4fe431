"""Modules that take long to import are loaded beside the event loop, once what others wait for has been done."""

from __future__ import annotations

import asyncio
import importlib


async def load(*modules: str) -> None:
    """Import modules in a thread; importing them again then costs nothing."""
    for module in modules:
        await asyncio.to_thread(importlib.import_module, module)
