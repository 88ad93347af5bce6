import pytest

from aggregator.exchange import Meaning, Trouble
from aggregator.refusals import coded, meaning_of

read = coded("code", "msg", fine=("0", "true"), busy=("50011",))


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("Exceeded msg RATE", "passing"), ("no such pair, rate", "passing"), ("no such pair", "final"), ("?", "unknown")],
)
def test_a_refusal_means_what_its_words_say(reason: str, meaning: Meaning) -> None:
    assert meaning_of(reason, final=("No Such Pair",), passing=("rate",)) == meaning


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        (b'{"code":"0","msg":"","data":[]}', None),
        (b'{"code":0}', None),
        (b'{"code":true}', None),
        (b'{"code":null}', None),
        (b'{"data":[]}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b'{"code":"50011","msg":"Too Many Requests"}', Trouble("50011: Too Many Requests", is_busy=True)),
        (b'{"code":50001,"msg":"busy"}', Trouble("50001: busy")),
        (b'{"code":"9"}', Trouble("9")),
        (b'{"code":"9","msg":{"a":1}}', Trouble('9: {"a":1}')),
    ],
)
def test_an_answer_says_its_code_and_words(body: bytes, trouble: Trouble | None) -> None:
    assert read(200, {}, body) == trouble
