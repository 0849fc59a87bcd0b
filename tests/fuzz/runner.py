"""Run readers on damaged files, in child processes with limits of time and memory, and say what escaped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from mutations import damage_bytes
from registry import READERS, Reader

from descbench.errors import DescbenchError

SECONDS = 8  # of processor time for one input
_WALL_SECONDS = 120  # only for readers that sleep: the machine may be busy
MEMORY = 512 << 20  # bytes by which one input may make the process grow
_ADDRESSES = 4 << 30  # bytes it may ask for; keeps the machine alive
_LONGEST_MESSAGE = 4000
_CHUNK = 1000  # inputs a child reads before it is replaced

_CONTEXT = multiprocessing.get_context("fork")


@dataclass
class Report:
    """What became of the inputs.

    Attributes:
        refused, accepted: numbers of inputs.
        escapes: (reader, number of the input, what happened).
    """

    refused: int = 0
    accepted: int = 0
    escapes: list[tuple[str, int, str]] = field(default_factory=list)

    def closing_line(self) -> str:
        """The last line of a run."""
        inputs = self.refused + self.accepted + len(self.escapes)
        return f"{inputs} inputs, {self.refused} refused, {self.accepted} accepted, {len(self.escapes)} escapes"


@dataclass
class _Child:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    reader: str
    numbers: range
    at: int | None = None  # the input it is reading


def make_input(reader: Reader, seeds: Sequence[bytes], number: int, seed: int) -> bytes:
    """Input ``number`` of a reader: the seeds themselves first, then damaged ones; the same every time."""
    if number < len(seeds):
        return seeds[number]
    dice = Random(f"{seed} {reader.name} {number}")
    content = dice.choice(seeds)
    if dice.random() < 0.1:  # the beginning of one, the end of another
        other = dice.choice(seeds)
        content = content[: dice.randrange(len(content) + 1)] + other[dice.randrange(len(other) + 1) :]
        return damage_bytes(dice, content)
    if reader.mutations and dice.random() < 0.6:
        return dice.choice(reader.mutations)(dice, content)
    return damage_bytes(dice, content)


def run(readers: Sequence[Reader], inputs: int, seed: int, processes: int) -> Report:
    """Read ``inputs`` files, shared out among the readers."""
    report, children = Report(), {}
    waiting = list(_chunks(readers, inputs))
    while waiting or children:
        while waiting and len(children) < processes:
            child = _started(*waiting.pop(0), seed)
            children[child.pipe] = child
        ready = wait(list(children), timeout=_WALL_SECONDS)
        for pipe in ready or list(children):
            child = children[pipe]
            rest = _lost(child, report, slept=not ready) if not ready else _heard(child, report)
            if rest is not None:
                del children[pipe]
                if rest:
                    waiting.insert(0, (child.reader, rest))
    return report


def _chunks(readers: Sequence[Reader], inputs: int) -> Iterator[tuple[str, range]]:
    total, passed, given = sum(reader.share for reader in readers), 0.0, 0
    for reader in readers:
        passed += reader.share
        count = round(inputs * passed / total) - given  # shares that add up to the number that was asked for
        given += count
        for start in range(0, count, _CHUNK):
            yield reader.name, range(start, min(start + _CHUNK, count))


def _started(reader: str, numbers: range, seed: int) -> _Child:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(READERS[reader], numbers, seed, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Child(process, ours, reader, numbers)


def _heard(child: _Child, report: Report) -> range | None:
    """Take one message of a child; what it leaves to read once it has ended, else None."""
    try:
        number, verdict, detail = child.pipe.recv()
    except EOFError:
        return _lost(child, report, slept=False)
    if verdict == "begins":
        child.at = number
    elif verdict == "escaped":
        report.escapes.append((child.reader, number, detail))
        child.at = None
    elif verdict == "ended":
        child.process.join()
        return child.numbers[:0]
    else:
        report.refused += verdict == "refused"
        report.accepted += verdict == "accepted"
        child.at = None
    return None


def _lost(child: _Child, report: Report, *, slept: bool) -> range:
    """A child that was killed, or sleeps: the input it was reading escaped; the numbers behind it are left."""
    if slept:
        child.process.kill()
    child.process.join()
    if child.at is None:
        raise RuntimeError(f"the process that reads {child.reader} ended with {child.process.exitcode} between inputs")
    code = -(child.process.exitcode or 0)
    reason = {signal.SIGXCPU: f"took more than {SECONDS} s"}.get(code, f"ended with {child.process.exitcode}")
    report.escapes.append((child.reader, child.at, "did not end" if slept else reason))
    return child.numbers[child.at - child.numbers.start + 1 :]


def _work(reader: Reader, numbers: range, seed: int, pipe: Connection) -> None:
    """What a child does: read inputs one by one and tell of each."""
    logging.disable()
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries complain there of damaged files
    with tempfile.TemporaryDirectory() as folder:
        path, seeds = Path(folder) / reader.file, reader.seeds()
        path.write_bytes(seeds[0])  # what is read first imports modules; that memory is no input's
        _verdict(reader, path)
        for number in numbers:
            pipe.send((number, "begins", ""))
            path.write_bytes(make_input(reader, seeds, number, seed))
            _limit()
            verdict, detail = _verdict(reader, path)
            if verdict == "refused" and number < len(seeds):
                verdict, detail = "escaped", f"a valid file was refused: {detail}"
            pipe.send((number, verdict, detail))
    pipe.send((0, "ended", ""))


def _limit() -> None:
    """Bound the processor time and the addresses of the input that comes next."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    addresses = _status("VmSize") + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (addresses, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _verdict(reader: Reader, path: Path) -> tuple[str, str]:
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory use is counted anew
    before = _status("VmRSS")
    try:
        reader.read(path)
        verdict, detail = "accepted", ""
    except DescbenchError as error:
        verdict, detail = "refused", str(error)
        if len(detail) > _LONGEST_MESSAGE:
            verdict, detail = "escaped", f"a message of {len(detail)} characters: {detail[:100]}..."
        elif isinstance(error.__cause__ or error.__context__, MemoryError):
            verdict, detail = "escaped", f"asked for more than {_ADDRESSES >> 30} GiB: {detail}"
    except (Exception, SystemExit) as error:
        verdict, detail = "escaped", _told(error)
    grown = _status("VmHWM") - before
    if grown > MEMORY:
        verdict, detail = "escaped", f"took {grown >> 20} MiB of memory ({detail or verdict})"
    return verdict, detail


def _told(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((f for f in reversed(frames) if "descbench" in f.filename), frames[-1])
    return f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}: {str(error)[:200]}"


def _status(field_name: str) -> int:
    """A line of the process's memory figures, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field_name} in /proc/self/status")


def replay(reader: Reader, number: int, seed: int, folder: Path) -> None:
    """Write one input and read it here, without limits and with its traceback."""
    path = folder / reader.file
    path.write_bytes(make_input(reader, reader.seeds(), number, seed))
    print(f"input {number} of {reader.name!r} is {path}", file=sys.stderr)
    reader.read(path)
