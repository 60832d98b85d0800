import pytest

from flexlam.core.progress import progress, say, silence


def test_silence_is_for_what_is_inside_and_ends_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "Outer", "step") as outer:
        with silence():
            say("inside")
            with progress(1, "Inner", "step") as inner:
                inner.update()
        outer.update(2)
    say("after")
    told = capsys.readouterr().err
    assert "Outer" in told and "after" in told
    assert "inside" not in told and "Inner" not in told


def test_silence_ends_after_an_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), silence():
        raise ValueError("broken")
    say("after")
    assert "after" in capsys.readouterr().err


def test_what_is_refused_at_once_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="refused"), progress(2, "Never", "step"):
        raise ValueError("refused")
    assert capsys.readouterr().err == ""
    with progress(2, "Short", "step") as bar:
        bar.update(2)
    assert "2/2" in capsys.readouterr().err
