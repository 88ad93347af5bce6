"""The name by which other daemons know one."""

from pathlib import Path

import pytest

from aggregator.daemon import identity
from aggregator.daemon.identity import own_name


def test_a_name_is_made_once_and_kept(tmp_path: Path) -> None:
    name = own_name(tmp_path)
    assert identity.NAME.fullmatch(name)
    assert own_name(tmp_path) == name
    assert own_name(tmp_path / "other") != name


@pytest.mark.parametrize("content", ["", "two words\n", "a/b\n", "\0\n", "x" * 65])
def test_what_is_no_name_is_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "name").write_text(content)
    name = own_name(tmp_path)
    assert identity.NAME.fullmatch(name)
    assert own_name(tmp_path) == name


def test_whatever_the_machine_is_called_the_name_can_stand_in_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("höst/1.example", "", "...", "x" * 300):
        monkeypatch.setattr("platform.node", lambda host=host: host)
        assert identity.NAME.fullmatch(identity._made())


def test_where_nothing_can_be_kept_there_is_a_name_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert identity.NAME.fullmatch(own_name(tmp_path / "file"))
    assert "another name" in caplog.text
