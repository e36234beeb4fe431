"""How commands trust an admin port that speaks TLS, and how they say who they are.

| variable | file |
|---|---|
| `ROUTERCTL_ADMIN_CA` | authorities that the admin port's certificate may be of, instead of the system's |
| `ROUTERCTL_ADMIN_CERT`, `ROUTERCTL_ADMIN_KEY` | the command's own certificate and key, where the port asks for one |

The router on this machine is known by its very certificate, the file of which is in its configuration, whatever name is
in it.
"""

from __future__ import annotations

import os
import ssl

from shared.config import ConfigError
from shared.tls import TlsFileError, load_pair, trust

CA, CERT, KEY = "ROUTERCTL_ADMIN_CA", "ROUTERCTL_ADMIN_CERT", "ROUTERCTL_ADMIN_KEY"


def context_for(pinned: str | None) -> ssl.SSLContext:
    """Return the context for connections; `pinned` is the file of the certificate to be met. Raises ConfigError."""
    try:
        if authorities := os.environ.get(CA):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust(context, CA, authorities)
        elif pinned is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Only what is in this file is trusted, its first certificate too, which is no authority's.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.check_hostname = False
            trust(context, "--admin-tls-cert", pinned)
        else:
            context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert := os.environ.get(CERT):
            load_pair(context, (CERT, cert), (KEY, os.environ.get(KEY)))
    except TlsFileError as error:
        raise ConfigError(str(error)) from None
    return context
