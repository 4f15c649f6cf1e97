"""Checks whose condition raises, with real Spark: they do not hold, and are told in Spark's words."""

import pytest

from assets.declaration import (
    accepted_range,
    holds,
    unique,
)
from assets.errors import CheckFailedError
from contracts.reasons import ReasonCode
from tests.integration.spark.test_checks import ROWS, SCHEMA
from tests.integration.spark_mill import Mill, table_of


def test_a_check_whose_condition_raises_is_named_with_sparks_words_and_ends_the_process(mill: Mill) -> None:
    checks = [
        holds("n > 0"),
        holds("share / (n - 2) < 100"),
        unique("n"),
        accepted_range("day", at_least="2024-10-05"),
        holds("kind IS NULL OR 'a' RLIKE concat('(', kind)"),
    ]
    with pytest.raises(CheckFailedError) as refused:
        mill.run(table_of(mill, SCHEMA, ROWS, checks=checks))
    holding, dividing, doubled, bounded, matching = refused.value.results
    assert (holding.passed, doubled.measured, bounded.passed) == (True, "1 rows too many", True)
    assert "[DIVIDE_BY_ZERO]" in dividing.measured
    assert "PatternSyntaxException" in matching.measured
    reason = mill.control.reports[-1].reason
    assert reason is not None
    assert (reason.code, reason.is_retriable) == (ReasonCode.CHECK_FAILED, False)
    assert "holds(share / (n - 2) < 100): ArithmeticException: [DIVIDE_BY_ZERO]" in reason.message
    assert "\n" not in reason.message


RAISING = [
    (holds("CAST(kind AS int) > 0"), "[CAST_INVALID_INPUT]"),
    (holds("CAST(kind AS date) > day"), "[CAST_INVALID_INPUT]"),
    (holds("array(1)[n] > 0"), "[INVALID_ARRAY_INDEX]"),
    (holds("n + 9223372036854775806 > 0"), "[ARITHMETIC_OVERFLOW]"),
    (holds("if(n < 2, true, raise_error('two is too many'))"), "two is too many"),
    (holds("is_small(n)"), "ValueError: 2 is not small"),
]


def test_in_whatever_way_a_condition_raises_its_check_does_not_hold(mill: Mill) -> None:
    def is_small(number: int) -> bool:
        if number > 1:
            raise ValueError(f"{number} is not small")
        return True

    mill.spark.udf.register("is_small", is_small, "boolean")
    with pytest.raises(CheckFailedError) as refused:
        mill.run(table_of(mill, SCHEMA, ROWS, checks=[check for check, _ in RAISING]))
    told = {result.name: result.measured for result in refused.value.results if not result.passed}
    for check, words in RAISING:
        assert words in told[str(check)]
