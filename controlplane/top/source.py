"""Where frames come from: one request to the admin API for each refresh, and one for each change."""

from __future__ import annotations

import msgspec

from controlplane.cli.admin_client import NotReached, access_to, ask, find, nobody
from controlplane.cli.admin_command import Refusal, Router, ask_admin, fetch
from controlplane.cli.workers_attributes import path_of
from controlplane.cli.workers_view import Changed, changed_text
from controlplane.top.snapshot import Snapshot
from controlplane.top.view import Wish
from shared.config import ConfigError
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDirError

EVENTS = 50
_PATH = f"/monitor?events={EVENTS}"


class Source:
    """Asks a router. Where it is is found out anew each time: a new control plane may be elsewhere."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._known = ""
        self.where = router.admin or ""

    def look(self) -> Snapshot:
        """Return what the router tells now. Raises Refusal."""
        try:
            target = find(self._router.admin, self._router.folder)
            if target.url is None:
                raise Refusal(nobody(target.runtime))
            self.where = target.url
            access = access_to(target.url, self._router.token_file, target.runtime)
        except (ConfigError, RuntimeDirError) as error:
            raise Refusal(str(error)) from None
        if target.url == self._known:
            try:
                answer = ask(target.url + _PATH, access=access)
            except NotReached as error:
                self._known = ""
                raise Refusal(f"{target.url}: {error}") from None
            if answer.status == 200:
                try:
                    return msgspec.json.decode(answer.body, type=Snapshot)
                except DECODE_ERRORS:
                    self._known = ""
        # This makes sure that a router answers there, and has a text for all that can be wrong.
        snapshot, _ = ask_admin(target.url, access, _PATH, Snapshot)
        self._known = target.url
        return snapshot

    def change(self, wish: Wish) -> str:
        """Make a change, and return what came of it, in a line. Raises Refusal."""
        try:
            told, _ = fetch(self._router, path_of(wish.worker, f"/{wish.verb}"), Changed, b"", method="POST")
        except ConfigError as error:
            raise Refusal(str(error)) from None
        return "; ".join(changed_text(told).splitlines())
