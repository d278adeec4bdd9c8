"""A writer is killed at a random instant, again and again; no accepted record is ever lost.

The ledger is outside the victim: the child says each number down a pipe after `append` returned.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest

from tracking_core.journal import Reader, layout, owner_alive, read_owner, runs

from .faulty import LONG, missing_of, read_all

CHILD = """
import os, random, sys
from zlib import crc32
from tracking_core.journal import Writer
writer = Writer.create(
    sys.argv[1], "run", mapped=sys.argv[2] == "True", segment_bytes=1_000_000, sync_interval=0.05
)
rng = random.Random(int(sys.argv[3]))
big = rng.randbytes(1_000_000)
number = 0
while True:
    number += 1
    size = rng.randrange(70_000, 1_000_000) if rng.random() < 0.1 else rng.randrange(1, 600)
    body = big[rng.randrange(1000):][:size]
    payload = b"%d %d " % (number, crc32(body)) + body
    accepted = writer.append(payload)
    os.write(1, b"%d\\n" % accepted)
"""

KILLS = 2500 if LONG else 15


def one_life(root: Path, mapped: bool, seed: int, rng: random.Random) -> tuple[Path, int]:
    """Let a child log until a random instant, kill it, and return what it had accepted."""
    known = {path for paths in runs(root).values() for path in paths}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(mapped), str(seed)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    fd = child.stdout.fileno()
    said = os.read(fd, 65536)
    # Wait for a random time on a pipe that is being drained: the instant is the wait's end.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    enough = rng.randrange(200, 6000)
    spin = rng.randrange(2000)
    while len(said) < enough and poll.poll(5000):
        said += os.read(fd, 65536)
    for _ in range(spin):
        pass
    child.send_signal(signal.SIGKILL)
    said += child.stdout.read()
    child.wait()
    (directory,) = {path for paths in runs(root).values() for path in paths} - known
    # The last line may be cut: only whole lines were said.
    lines = said.decode().split("\n")[:-1]
    assert [int(line) for line in lines] == list(range(1, len(lines) + 1))
    return directory, len(lines)


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_no_kill_loses_an_accepted_record(tmp_path: Path, mapped: bool) -> None:
    rng = random.Random(7 + mapped)
    accepted_in_all = 0
    for kill in range(KILLS):
        directory, accepted = one_life(tmp_path, mapped, kill, rng)
        accepted_in_all += accepted
        assert owner_alive(read_owner(directory)) is False
        entries, damages = read_all(directory, live=None, limit=7)
        numbers = [entry.seq for entry in entries]
        assert numbers == list(range(1, len(numbers) + 1))
        assert accepted <= len(numbers) <= accepted + 1
        for entry in entries:
            number, check, body = entry.payload.split(b" ", 2)
            assert int(number) == entry.seq
            assert int(check) == crc32(body)
        # At most the record whose append had not returned is torn.
        assert missing_of(damages) in ([], [len(numbers) + 1])
        with Reader(directory) as reader:
            while reader.read():
                pass
            assert reader.finished
        for name in layout.segments(directory):
            name.path.unlink()
    assert accepted_in_all > KILLS * 20
