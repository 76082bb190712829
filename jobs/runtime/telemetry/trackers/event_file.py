"""TensorBoard: an event file, which its own package writes without TensorFlow or PyTorch."""

import json
import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from jobs.runtime.telemetry.trackers.tracker import TrackedTask, Tracker


class EventFile(Tracker):
    """A task as a run of TensorBoard, in a folder named by the task."""

    def __init__(self, tracked: TrackedTask) -> None:
        self._writer = EventFileWriter(str(tracked.folder / tracked.task))
        settings = f"```\n{json.dumps(tracked.experiment, indent=1)}\n```"
        text = create_summary_metadata(display_name=None, description=None)
        self._add(Summary.Value(tag="experiment", metadata=text, tensor=make_tensor_proto(settings)), step=0)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch; its number is TensorBoard's step."""
        self._add(*(Summary.Value(tag=name, simple_value=value) for name, value in figures.items()), step=epoch)

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, *values: Summary.Value, step: int) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()
