import pytest

from hashfed.runs.saving import SECONDS, SHARE, Saving


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_by_rounds() -> None:
    saving = Saving(3, 0, Clock())
    assert [round for round in range(1, 10) if saving.due(round)] == [3, 6, 9]


@pytest.mark.parametrize("seconds", [1.0, 7.0, 59.0])
def test_by_the_clock_a_kill_costs_a_minute_and_a_round(seconds: float) -> None:
    clock = Clock()
    saving = Saving(None, 5, clock)
    assert saving.saved == 5
    last = clock.now
    for round in range(6, 200):
        clock.now += seconds
        if saving.due(round):
            assert clock.now - last < SECONDS + seconds
            saving.save(round, lambda: None)
            assert saving.saved == round
            last = clock.now
    assert saving.saved > 100


def test_what_takes_long_to_save_is_saved_more_seldom() -> None:
    clock = Clock()
    saving = Saving(None, 0, clock)

    def write() -> None:
        clock.now += 30

    clock.now += SECONDS
    assert saving.due(1)
    saving.save(1, write)
    clock.now += 30 / SHARE - 1
    assert not saving.due(2)
    clock.now += 1
    assert saving.due(3)


def test_a_round_that_could_not_be_written_is_not_saved() -> None:
    saving = Saving(1, 0, Clock())

    def write() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        saving.save(1, write)
    assert saving.saved == 0
