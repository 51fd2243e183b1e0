"""The base of every result that crosses a border: typed, frozen, and with one JSON form."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen value. Its fields are the keys of its JSON form; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
