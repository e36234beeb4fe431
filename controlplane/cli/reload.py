"""`routerctl reload`: have a running router read its configuration again, and say what came of it."""

from __future__ import annotations

import msgspec

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router
from controlplane.cli.reload_answer import AllowNoWorkers, change


def reload(
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    allow_no_workers: AllowNoWorkers = False,
    as_json: AsJson = False,
) -> int:
    """Have a running router read the file that it was started with again.

    The file is checked whole and tried on a plane before it counts. When anything is wrong, nothing changes and the
    exit code is 1.
    """
    router = Router(admin, runtime_dir, admin_token_file)
    # Without it as it always was: a router of an earlier version takes no body.
    body = msgspec.json.encode({"allow_no_workers": True}) if allow_no_workers else b""
    return change(router, "/reload", body, as_json=as_json, shows_number=False)
