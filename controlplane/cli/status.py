"""`routerctl status`: how the router's processes and workers are, also when its control plane is down."""

from __future__ import annotations

import msgspec

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Refusal, Router, fail, print_json
from controlplane.cli.status_or_folder import status_of
from controlplane.cli.status_view import RouterView, as_text, terminal_width


def status(
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show the processes and workers of a running router, and the ages of what they know.

    When the control plane is down, the planes and the runtime folder are asked instead. The exit code is 0 when
    a router was found, however it is, and 1 when none was.
    """
    try:
        found = status_of(Router(admin, runtime_dir, admin_token_file), "/status", RouterView, lambda view: view)
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if as_json:
        print_json(found)
    else:
        print(as_text(msgspec.json.decode(found, type=RouterView), terminal_width()))
    return 0
