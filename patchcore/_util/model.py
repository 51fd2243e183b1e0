"""The base of every result that crosses a border: typed, frozen, and with one JSON form."""

import inspect
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

_ATTRIBUTE = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


class Model(BaseModel):
    """A frozen value. Its fields are the keys of its JSON form; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema; keys have the words that the docstring has for their attributes."""
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        words = {name: text for base in reversed(cls.__mro__) for name, text in _attributes(base).items()}
        for name, field in own.get("properties", {}).items():
            if name in words:
                field.setdefault("description", words[name])
        own["description"] = (inspect.getdoc(cls) or "").partition("\n\nAttributes:\n")[0]
        return schema


def _attributes(kind: type) -> dict[str, str]:
    """Return what a class's own docstring says of each attribute."""
    attributes = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Attributes:\n")[2]
    _, *parts = _ATTRIBUTE.split(attributes)
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
