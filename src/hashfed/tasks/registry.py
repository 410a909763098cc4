"""Tasks by name: a new one adds its folder and one line here."""

from hashfed.settings import ByName
from hashfed.tasks.labels.task import LabelsSettings
from hashfed.tasks.next_item.task import NextItemSettings
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.protocol import Task
from hashfed.tasks.settings import TaskSettings

TASKS: dict[str, type[TaskSettings]] = {
    "next-word": NextWordSettings,
    "labels": LabelsSettings,
    "next-item": NextItemSettings,
}

BY_TASK = ByName("task", TASKS, "next-word")
"""How a configuration names one."""


def make_task(settings: TaskSettings) -> Task:
    """The task that the settings are of."""
    return settings.build()
