import pytest

from patchcore.errors import Fault, PatchcoreError, Refused, UsageError


@pytest.mark.parametrize(("kind", "code"), [(PatchcoreError, 1), (Fault, 1), (UsageError, 2), (Refused, 3)])
def test_an_error_is_one_line_with_its_parts_and_an_exit_code(kind: type[PatchcoreError], code: int) -> None:
    error = kind("the file x", got="two\nlines", expected="  one \t line", remedy="join\r\n them")
    assert str(error) == "the file x: got two lines, expected one line; join them"
    assert (error.what, error.got, error.expected, error.remedy) == ("the file x", "two lines", "one line", "join them")
    assert kind.exit_code == error.exit_code == code
    assert isinstance(error, PatchcoreError)


def test_every_part_is_needed() -> None:
    with pytest.raises(TypeError, match="remedy"):
        Refused("what", "got", "expected")  # type: ignore[call-arg]
