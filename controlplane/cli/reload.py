"""`routerctl reload`: have a running router read its configuration again, and say what came of it."""

from __future__ import annotations

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router
from controlplane.cli.reload_answer import change


def reload(
    admin: Admin = None, runtime_dir: Folder = None, admin_token_file: TokenFile = None, as_json: AsJson = False
) -> int:
    """Have a running router read the file that it was started with again.

    The file is checked whole and tried on a plane before it counts. When anything is wrong, nothing changes and the
    exit code is 1.
    """
    router = Router(admin, runtime_dir, admin_token_file)
    return change(router, "/reload", b"", as_json=as_json, shows_number=False)
