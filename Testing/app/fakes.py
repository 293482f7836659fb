"""A child process that the test plays."""

import json


class FakeProcess:
    """Says what the test puts into it, and notes what is done to it."""

    def __init__(self):
        self.waiting, self.errors, self.code, self.deeds = [], [], None, []

    def say(self, **words):
        self.waiting.append(json.dumps(words))

    def report(self, done, total=10, seconds_left=None, stage="synthesis"):
        self.say(stage=stage, done=done, total=total, seconds_left=seconds_left)

    def lines(self):
        said, self.waiting = self.waiting, []
        return said

    def log(self):
        return "\n".join(self.errors)

    def exit_code(self):
        return self.code

    def ask_to_stop(self):
        self.deeds.append("ask_to_stop")

    def terminate(self):
        self.deeds.append("terminate")

    def kill(self):
        self.deeds.append("kill")

    def close(self):
        assert self.code is not None, "it still runs"


class FakeStart:
    """Starts fake processes and keeps them with their arguments."""

    def __init__(self):
        self.calls, self.processes = [], []

    def __call__(self, arguments):
        self.calls.append(list(arguments))
        self.processes.append(FakeProcess())
        return self.processes[-1]

    @property
    def process(self):
        return self.processes[-1]

    def option(self, name):
        """Return the value of an option of the last call, None where it is not given."""
        last = self.calls[-1]
        for index, argument in enumerate(last):
            if argument == name:
                return last[index + 1]
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
        return None

    def finish(self, images, uncertainty=None, **provenance):
        """Let the last child write ``{modality: image}`` where it was told to, and end well."""
        from pathlib import Path

        from MMHVAESynthesisLib.volumes import files

        folder = Path(self.option("--output-dir"))
        folder.mkdir(exist_ok=True)

        def write(volumes, suffix):
            return {m: str(files.write(v, folder / f"{m}{suffix}.nrrd")) for m, v in (volumes or {}).items()}

        self.process.say(
            result={
                "outputs": write(images, ""),
                "uncertainty": write(uncertainty, "-u"),
                "provenance": {"reference": "us", "warnings": [], "targets": list(images), **provenance},
            }
        )
        self.process.code = 0
