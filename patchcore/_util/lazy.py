"""Public names of a package that are imported when they are first used (PEP 562): torch and MLflow take seconds."""

import importlib
from collections.abc import Callable, Collection, Mapping


def lazy_attributes(
    package: str, modules: Mapping[str, str], packages: Collection[str] = ()
) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: The package's ``__name__``.
        modules: For each public name the module that defines it.
        packages: Names of packages inside this one that are public too.

    Returns:
        A function from a name to the object of that name. It raises AttributeError for an unknown name.

    Example:
        >>> find = lazy_attributes("numbers", {"sqrt": "math"})
        >>> find("sqrt")(9.0)
        3.0
    """

    def __getattr__(name: str) -> object:  # noqa: N807  # PEP 562
        if name in modules:
            return getattr(importlib.import_module(modules[name]), name)
        if name in packages:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
