"""A worker that behaves as vLLM 0.32 does on the wire, without a model: for tests, demos and measurements.

    routerctl sim --count 3 --port 8000

`config` says what can be set, `engine` what time and memory a request costs, `faults` what can be broken.
"""

from .config import ConfigError, SimConfig
from .service import serve

__all__ = ["ConfigError", "SimConfig", "serve"]
