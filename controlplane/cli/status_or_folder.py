"""What a router's admin API tells of it, or else what its runtime folder and its planes tell."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from controlplane.cli.admin_client import Target, access_to, find, nobody
from controlplane.cli.admin_command import Refusal, Router, ask_admin
from controlplane.cli.status_view import RouterView
from shared.runtime_dir import RuntimeDirError


def status_of(router: Router, path: str, shape: type[object], of_folder: Callable[[RouterView], object]) -> bytes:
    """Return the JSON at `path`, of `shape`; else `of_folder` of what can be told without a control plane, as JSON.

    Raises Refusal and ConfigError.
    """
    try:
        target = find(router.admin, router.folder)
        try:
            if target.url is None:
                raise Refusal(nobody(target.runtime))
            access = access_to(target.url, router.token_file, target.runtime)
            return ask_admin(target.url, access, path, shape)[1].body
        except Refusal as refusal:
            # Who names an address only must not be shown the router of some folder instead.
            view = _of_folder(target) if target.is_folder_meant else None
            if view is None:
                raise Refusal(_nothing_found(target, refusal)) from None
    except RuntimeDirError as error:
        raise Refusal(str(error)) from None
    return msgspec.json.encode(of_folder(view))


def _nothing_found(target: Target, refusal: Refusal) -> str:
    if not target.is_folder_meant:
        return f"no router found: {refusal}"
    if target.url is None:
        return str(refusal)
    return f"no router found: none runs on runtime folder {target.runtime.path}, and {refusal}"


def _of_folder(target: Target) -> RouterView | None:
    from controlplane.cli.local_status import folder_status

    return folder_status(target.runtime)
