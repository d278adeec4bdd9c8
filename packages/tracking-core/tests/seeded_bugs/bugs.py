"""Bugs that were planted on purpose, and the test that has to notice each.

    python3 tools/dev.py seeded-bugs [NAME ...]

Each bug goes into a copy of the package in a temporary directory, and its test runs against that
copy and must fail. Against an untouched copy the same tests must pass. A bug whose place in the
code is gone is an error: find its new place, or a worse bug.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent.parent


class Edit(NamedTuple):
    """In `file` of the package, `old` becomes `new`; `old` is there exactly once."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """A bug, and the test that turns red, as pytest names it below ``tests``."""

    name: str
    test: str
    edits: tuple[Edit, ...]


def bug(name: str, test: str, file: str, old: str, new: str) -> Bug:
    return Bug(name, test, (Edit(file, old, new),))


WRITER = "journal/writer.py"
SEGMENT = "journal/segment.py"
FRAME = "journal/frame.py"
CURSOR = "journal/cursor.py"
WORKER = "delivery/worker.py"

BUGS = (
    bug(
        "appended to a buffer, written when that is full",
        "journal/test_kill.py::test_no_kill_loses_an_accepted_record[written]",
        SEGMENT,
        "        written = self._write(self.fd, data)\n        if written != len(data):\n",
        "        self._held = getattr(self, '_held', b'') + data\n"
        "        written = len(data)\n"
        "        if len(self._held) > 4096:\n"
        "            held, self._held = self._held, b''\n"
        "            self._files.write_all(self.fd, held)\n"
        "        if written != len(data):\n",
    ),
    bug(
        "appended to the map with the next record",
        "journal/test_kill.py::test_no_kill_loses_an_accepted_record[mapped]",
        SEGMENT,
        "        self._map[start:end] = data\n",
        "        held = getattr(self, '_held', None)\n"
        "        self._held = (start, end, data)\n"
        "        if held:\n"
        "            self._map[held[0] : held[1]] = held[2]\n",
    ),
    bug(
        "a short write is taken for a whole one",
        "journal/test_failing_disk.py::test_no_failing_operation_loses_a_record",
        SEGMENT,
        "        if written != len(data):\n            self._write_rest(data, written)\n",
        "",
    ),
    bug(
        "half a frame stays at the end of a file that failed",
        "journal/test_failing_disk.py"
        "::test_a_disk_that_fills_while_a_frame_is_written_leaves_no_half_frame",
        SEGMENT,
        "        if os.fstat(self.fd).st_size > self.end:\n            self._files.ftruncate(self.fd, self.end)\n",
        "",
    ),
    bug(
        "the checksum of a payload is not looked at",
        "journal/test_frame.py::test_damaged_regions_lose_only_what_they_held",
        FRAME,
        "        if checksum(payload, salt) != crc or not 0 < length <= MAX_PAYLOAD:\n",
        "        if not 0 < length <= MAX_PAYLOAD:\n",
    ),
    bug(
        "reading ends at the first damage",
        "journal/test_reader.py::test_damage_in_the_middle_names_its_place_and_its_numbers",
        "journal/reader.py",
        "                if self._payload_holds(at + spot, header):\n                    return at + spot\n",
        "",
    ),
    Bug(
        "a length is believed before the header's checksum",
        "journal/test_frame.py::test_every_flipped_bit_costs_one_record",
        (
            Edit(
                FRAME,
                " or checksum(data[at : at + 20], salt) != own or end > size:",
                " or end > size:",
            ),
            Edit(FRAME, " or crc32(data[at : at + 20], salt) != own:", ":"),
        ),
    ),
    bug(
        "a tracker's place is stored before it has the records",
        "delivery/test_lanes.py::test_what_a_tracker_never_takes_is_kept_and_said_with_the_command",
        WORKER,
        "self._tracker.deliver([item.record for item in items])",
        "self._cursor.ack(items[-1].seq), self._tracker.deliver([item.record for item in items])",
    ),
    bug(
        "a record is put aside though the tracker takes no other one either",
        "delivery/test_refused.py::test_what_refuses_everything_buries_nothing_and_goes_on_when_it_is_over",
        "delivery/refusals.py",
        '        return "probe" if others else "wait"\n',
        '        return "bury"\n',
    ),
    bug(
        "what the library has of a refused batch is delivered again",
        "delivery/test_refused.py::test_what_a_tracker_has_taken_of_a_batch_is_not_given_again",
        WORKER,
        "taken = len(given) if error is None else self._taken_of(given)",
        "taken = len(given) if error is None else 0",
    ),
    bug(
        "a place is written over the one that counts",
        "journal/test_cursor.py::test_every_flipped_bit_goes_back_by_one_ack_at_most",
        CURSOR,
        "        slot = 1 - self._slot\n",
        "        slot = 0\n",
    ),
    bug(
        "a damaged place counts as the journal's end",
        "journal/test_cursor.py::test_two_bad_slots_start_over_and_say_so",
        CURSOR,
        "        return 1, 0, 0\n",
        "        return 1, 0, 2**63\n",
    ),
    bug(
        "a forked child writes to its parent's journal",
        "journal/test_writer.py::test_a_forked_child_writes_nothing_into_its_parents_journal",
        WRITER,
        "    os.register_at_fork(after_in_child=_forget_all)\n",
        "    pass\n",
    ),
    bug(
        "a sync that failed is taken for one that did not",
        "journal/test_failing_disk.py::test_a_sync_that_failed_is_not_believed_the_second_time",
        WRITER,
        "            self._files.fdatasync(old.fd)\n        except OSError as error:\n",
        "            self._files.fdatasync(old.fd)\n        except OSError as error:\n"
        "            old.synced = max(old.synced, end)\n"
        "            return True\n",
    ),
    bug(
        "a segment goes when the fastest tracker has passed it",
        "journal/test_writer.py::test_pruning_deletes_what_every_cursor_has_passed",
        CURSOR,
        "    return min(positions, default=None)\n",
        "    return max(positions, default=None)\n",
    ),
    bug(
        "a record that was refused for good is thrown away",
        "delivery/test_lanes.py"
        "::test_a_record_that_is_refused_for_ever_is_buried_and_the_next_is_delivered",
        WORKER,
        "self._dead.append(seq, payload, ",
        "str(seq).format(payload, ",
    ),
    bug(
        "a native run is named only after it has begun",
        "delivery/test_process_lane.py"
        "::test_a_death_in_the_middle_of_the_start_leaves_no_second_native_run",
        WORKER,
        "            self._note(now=bool(self._identity))\n",
        "",
    ),
    bug(
        "an append chooses its segment before it says that it is under way",
        "journal/test_writer.py"
        "::test_a_handler_that_logs_at_any_instruction_of_an_append_loses_nothing",
        WRITER,
        "            if self._busy or self._ring or self._segment is None:\n"
        "                seq = self._append_slowly(payload)\n"
        "            else:\n"
        "                # From here on a handler's record waits, and the segment stays the same.\n"
        "                self._busy = True\n"
        "                current = self._segment\n",
        "            current = self._segment\n"
        "            if self._busy or self._ring or current is None:\n"
        "                seq = self._append_slowly(payload)\n"
        "            else:\n"
        "                self._busy = True\n",
    ),
    bug(
        "the death of the training is not noticed",
        "delivery/test_kill.py::test_killed_training_is_delivered_by_the_delivery_process_alone",
        "delivery/child.py",
        "        return os.getppid() == order.parent\n",
        "        return True\n",
    ),
    bug(
        "a dead owner is taken for a living one",
        "journal/test_layout.py::test_a_living_owner_is_alive_and_a_killed_one_is_dead",
        "journal/layout.py",
        "    except (ProcessLookupError, OverflowError):  # or a number that no process has\n"
        "        return False\n",
        "    except (ProcessLookupError, OverflowError):\n        return True\n",
    ),
    bug(
        "a link in place of a file is followed",
        "journal/test_regular.py::test_what_is_no_regular_file_is_refused_at_once",
        "journal/regular.py",
        '_GUARDED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)\n',
        '_GUARDED = getattr(os, "O_NONBLOCK", 0)\n',
    ),
    bug(
        "a folder that is a link is followed",
        "journal/test_regular.py::test_a_file_in_a_folder_that_is_a_link_is_refused",
        "journal/regular.py",
        "    if stat.S_ISLNK(os.lstat(path.parent).st_mode):\n",
        "    if False:\n",
    ),
    bug(
        "the class that a manifest names is made",
        "delivery/test_strangers.py::test_no_class_that_a_file_names_is_made",
        "recovery.py",
        "        kind = LOGGER_TYPE_TO_CLASS[name]\n",
        "        found: Any = __import__(stored.module or 'os', fromlist=['_'])\n"
        "        for part in stored.qualname.split('.'):\n"
        "            found = getattr(found, part)\n"
        "        kind = found\n",
    ),
    bug(
        "the original of a file is taken from any run",
        "delivery/test_strangers.py::test_no_path_leaves_the_run_and_the_rest_of_the_record_lands",
        "delivery/vetting.py",
        "        if os.path.isabs(file.path) and self._originals:\n",
        "        if os.path.isabs(file.path):\n",
    ),
)


class MovedError(Exception):
    """The code that a bug changes is not there any more, or there twice."""


def copy_of_package(place: Path) -> Path:
    """A copy of the package that is installed here."""
    import tracking_core

    target = place / "tracking_core"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(tracking_core.__file__).parent, target, ignore=without)
    return target


def plant(package: Path, edits: tuple[Edit, ...]) -> None:
    """Put a bug into a copy.

    Raises `MovedError` where the code does not look as it did.
    """
    for file, old, new in edits:
        path = package / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise MovedError(f"{file} has this {text.count(old)} times, not once:\n{old}")
        path.write_text(text.replace(old, new), encoding="utf-8")


def outcome(place: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit status with the package in `place`, and what it printed."""
    settings = place / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-c", str(settings)]
    command += ["--rootdir", str(TESTS), "--import-mode=importlib", "-p", "no:cacheprovider"]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "TRACKING_LONG"},
        "PYTHONPATH": str(place),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        [*command, *(str(TESTS / test) for test in tests)],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return ran.returncode, ran.stdout


def with_bug(planted: Bug | None, tests: list[str]) -> tuple[int, str]:
    """What `outcome` says of a fresh copy with that bug, or with none."""
    with tempfile.TemporaryDirectory(prefix="tracking-bug-") as folder:
        package = copy_of_package(Path(folder))
        if planted is not None:
            plant(package, planted.edits)
        return outcome(Path(folder), tests)


def main(names: list[str]) -> int:
    chosen = [one for one in BUGS if not names or any(name in one.name for name in names)]
    began = time.monotonic()
    status, text = with_bug(None, sorted({one.test for one in chosen}))
    print(f"no bug: {'green' if status == 0 else 'RED'}, {time.monotonic() - began:.1f} s")
    if status != 0:
        print(text)
        return 1
    unnoticed = 0
    for one in chosen:
        began = time.monotonic()
        status, text = with_bug(one, [one.test])
        said = {0: "NOT NOTICED", 1: "red"}.get(status, f"no verdict, pytest says {status}")
        unnoticed += status != 1
        print(f"{said}, {time.monotonic() - began:4.1f} s: {one.name}\n    {one.test}", flush=True)
        if status not in (0, 1):
            print(text)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} bugs were noticed")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
