"""Tasks by their settings."""

from hashfed.tasks.next_word.settings import NextWordSettings
from hashfed.tasks.next_word.task import NextWord
from hashfed.tasks.protocol import Task


def make_task(settings: NextWordSettings) -> Task:
    """The task that the settings are of."""
    return NextWord(settings)
