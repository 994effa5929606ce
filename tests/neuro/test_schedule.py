"""Windows and periods; whether a schedule is right is shown in test_encode by running it."""

from neuro.schedule import Schedule, Window


def test_a_window_ends_before_its_end():
    assert Window(3, 4).end == 7


def test_a_second_membrane_shortens_the_period():
    schedule = Schedule("unary", {"in": Window(0, 7)}, {}, 15, (14, 7))
    assert (schedule.period(False), schedule.period(True)) == (14, 7)
