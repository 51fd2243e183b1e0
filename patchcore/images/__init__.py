"""Pictures: reading and describing them, and finding copies."""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.images.decoding import rgb_of_bytes

__all__ = ["rgb_of_bytes"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "rgb_of_bytes": "patchcore.images.decoding",
    },
)
