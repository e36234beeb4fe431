"""How the API server is reached and what lets us in: what Kubernetes gives every pod, or a folder with the same files.

Where it is stands in the environment, `KUBERNETES_SERVICE_HOST` and `_PORT`; the service account's token and the
authority of the server's certificate are files. Both are replaced while the router runs: a token is read for each
request, an authority for each connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_MAX_TOKEN = 64 * 1024


class CredentialsError(Exception):
    """What is missing, and what to do about it."""


class Credentials(NamedTuple):
    """The API server's URL, and the folder of the files."""

    url: str
    folder: Path

    @classmethod
    def find(cls, environment: Mapping[str, str], folder: str | None) -> Self:
        """Look in the environment and in the folder. Raises CredentialsError, also for files that are of no use."""
        host, port = environment.get(_HOST, ""), environment.get(_PORT, "443")
        if not host:
            raise CredentialsError(
                f"--service-discovery: {_HOST} is not set, so this is no pod of Kubernetes; run the router in one "
                f"(deploy/kubernetes), or set {_HOST} and {_PORT}, and --service-discovery-credentials"
            )
        found = cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", Path(folder or FOLDER))
        found.token()
        found.trust()
        return found

    def token(self) -> str:
        """Return the token as it is now. Raises CredentialsError."""
        path = self.folder / "token"
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_TOKEN + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"{path}: {_cause(error)}; {_ADVICE}") from None
        if not text or len(text) > _MAX_TOKEN or not text.isprintable() or " " in text:
            raise CredentialsError(f"{path} holds no token; {_ADVICE}")
        return text

    def trust(self) -> ssl.SSLContext:
        """Return what tells the API server from others. Raises CredentialsError."""
        path = self.folder / "ca.crt"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f"{path}: {_cause(error)}; {_ADVICE}") from None
        return context


_ADVICE = (
    "the pod's service account gives it (automountServiceAccountToken), or a folder of --service-discovery-credentials"
)


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate in PEM"
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is no text"
