"""What can be mutated at all."""

import pytest

from ace_analysis.source.mutation import MutationGenerator


@pytest.mark.parametrize(
    "line",
    [
        '"""a < b and not c, 1 + 2"""',
        "x: 'a < b'",
        "x: list[a]",
        "log.debug('%s', a < b, a, b)",
        "self.logger.warning('x', a + 1, exc_info=True)",
        "if __debug__: b = a < 3",
        "# a < b",
        "import a.b as c",
    ],
)
def test_what_nobody_sees_is_left_alone(line):
    text = f"def f(a, b):\n    {line}\n    return None\n"
    assert MutationGenerator().mutations_of(text) == []
