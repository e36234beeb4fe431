"""The product's version: the one place it is written.

Planes are adopted by a new supervisor only when their version equals its own.
"""

__version__ = "0.1.0"
