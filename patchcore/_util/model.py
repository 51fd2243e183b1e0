"""The base of every result that crosses a border: typed, frozen, and with one JSON form."""

import inspect
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler

_ATTRIBUTES = "\n\nAttributes:\n"
_ATTRIBUTE = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


class Model(BaseModel):
    """A frozen value. Its fields are the keys of its JSON form; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema; keys have the words that the docstring has for their attributes."""
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        own["description"] = inspect.getdoc(cls) or ""
        for base in cls.__mro__:
            describe(own, inspect.cleandoc(base.__dict__.get("__doc__") or ""))
        return schema


def describe(schema: dict[str, Any], docstring: str) -> None:
    """Give the properties of a JSON Schema the words of a docstring's Attributes, and take those out of its own."""
    _, *parts = _ATTRIBUTE.split(docstring.partition(_ATTRIBUTES)[2])
    words = dict(zip(parts[::2], parts[1::2], strict=True))
    for name, field in schema.get("properties", {}).items():
        if name in words:
            field.setdefault("description", " ".join(words[name].split()))
    schema["description"] = schema.get("description", "").partition(_ATTRIBUTES)[0]
