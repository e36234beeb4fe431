"""What msgspec raises for input that it can not read.

Besides its own errors these are UnicodeDecodeError (text that is no UTF-8) and RecursionError (nesting deeper
than the interpreter's stack allows): whoever reads foreign bytes must expect all three.
"""

from __future__ import annotations

import msgspec

DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
