#!/usr/bin/env python3
"""Releases one package.

    python3 tools/dev.py release PACKAGE VERSION         commits, builds, checks, and tags
    python3 tools/dev.py release --status                what waits in each package
    python3 tools/dev.py release --changed main          is each change since then told in changes/?
    python3 tools/dev.py release --verify TAG --out DIR  builds and checks what is tagged

A release is one commit, which moves the fragments of ``changes/`` into the package's changelog and
sets its version, and an annotated tag ``<package>-v<version>``. Both are made in a worktree of their
own first: the branch gets them when everything has passed, and nothing changes before.
docs/releasing.md says more.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import changelogs
import distributions
import simple_index
import versioning
from history import VERSION, changed, git, is_ancestor, tag_of, tags
from monorepo import CORE, Package, package, packages
from versioning import listed
from wheelhouse import Built, released_core

TAG = re.compile(rf"(?P<package>[a-z0-9-]+)-v(?P<version>{VERSION.pattern})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="release PACKAGE VERSION | --status | --changed BASE | --verify TAG --out DIR",
    )
    parser.add_argument("package", nargs="?", help="its name, such as tracking-wandb or wandb")
    parser.add_argument("version", nargs="?", help="three numbers, such as 0.1.1")
    parser.add_argument("--status", action="store_true", help="show what waits in each package")
    parser.add_argument("--changed", metavar="BASE", help="look for changes without a fragment")
    parser.add_argument("--verify", metavar="TAG", help="build and check a release that is tagged")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where --verify leaves both files")
    parser.add_argument("--index", type=Path, metavar="DIR", help="add both files to a local index")
    parser.add_argument("--no-tests", action="store_true", help="leave out the package's own tests")
    parser.add_argument(
        "--date", type=date.fromisoformat, default=date.today(), help="its day, if not today"
    )
    given = parser.parse_args(arguments)
    whole = [given.package and given.version, given.status, given.changed, given.verify]
    if sum(map(bool, whole)) != 1 or bool(given.verify) != bool(given.out):
        parser.error("either PACKAGE VERSION, or --status, --changed BASE, --verify TAG --out DIR")
    # Python ends at once when it is terminated, unless told otherwise: the worktree must be removed.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit("release: stopped"))
    if given.status:
        return status()
    if given.changed:
        return told_since(given.changed)
    if given.verify:
        verify(given.verify, given.out, index=given.index, tests=not given.no_tests)
    else:
        release(
            package(given.package),
            given.version,
            day=given.date,
            index=given.index,
            tests=not given.no_tests,
        )
    return 0


def release(one: Package, version: str, *, day: date, index: Path | None, tests: bool) -> None:
    """Make a release: the commit, the tag, and the files in the index, or nothing at all.

    Raises:
        SystemExit: something stands against it; with a sentence for each thing.
    """
    branch, start = git("rev-parse", "--abbrev-ref", "HEAD"), git("rev-parse", "HEAD")
    refuse_if([*unfit_checkout(branch), *unfit_index(index, one, version)])
    say(f"looking at what changed in {one.name}")
    refuse_if(
        [
            *versioning.unfit_version(one, version),
            *versioning.unfit_fragments(one),
            *versioning.unfit_core(one),
            *unfit_day(one, day),
        ]
    )
    with worktree(start) as tree, tempfile.TemporaryDirectory() as folder:
        say("writing its version and changelogs, in a worktree of their own")
        copy = Package(tree / "packages" / one.name)
        section = write(copy, version, day)
        refuse_if(unfit_conventions(copy, tree, fix=True))
        git("add", "--all", folder=tree)
        git("commit", "--quiet", "--message", f"Release {one.name} {version}", folder=tree)
        commit = git("rev-parse", "HEAD", folder=tree)
        built = checked(copy, version, commit, Path(folder), tests=tests)
        if git("rev-parse", "--abbrev-ref", "HEAD") != branch or git("rev-parse", "HEAD") != start:
            refuse_if([f"HEAD is no longer {branch} at {start[:10]}: release it again from there"])
        tag = tag_of(one.name, version)
        message = f"{one.name} {version}\n\n{section}"
        git("tag", "--annotate", "--cleanup=verbatim", "--message", message, tag, commit)
        try:
            git("merge", "--quiet", "--ff-only", commit)
        except BaseException:
            git("tag", "--delete", tag)
            raise
        if index:
            say(f"adding it to the index {simple_index.add(index, one.name, built)}")
    say(f"released. Publish it:  git push --atomic origin {branch} {tag}")


def verify(tag: str, out: Path, *, index: Path | None, tests: bool) -> None:
    """Build and check what is tagged, and leave both files in `out`.

    Raises:
        SystemExit: it is not as a release must be; with a sentence for each thing.
    """
    match = TAG.fullmatch(tag)
    if match is None:
        raise refusal([f"{tag!r} is not the tag of a release, such as {tag_of(CORE, '1.2.3')}"])
    one, version = package(match["package"]), match["version"]
    if match["package"] != one.name or version not in tags(one.name):
        refuse_if([f"there is no tag {tag} in this clone: git fetch --tags"])
    commit = git("rev-parse", f"{tag}^{{commit}}")
    refuse_if(unfit_index(index, one, version))
    with worktree(commit) as tree, tempfile.TemporaryDirectory() as folder:
        say(f"looking at {tag}")
        copy = Package(tree / "packages" / one.name)
        refuse_if(unfit_tagged(copy, version))
        refuse_if([*versioning.unfit_core(copy), *unfit_conventions(copy, tree, fix=False)])
        built = checked(copy, version, commit, Path(folder), tests=tests)
        out.mkdir(parents=True, exist_ok=True)
        for file in built:
            shutil.copy(file, out)
            print(f"{distributions.digest(file)}  {out / file.name}")
        if index:
            simple_index.add(index, one.name, built)


def status() -> int:
    """Show what each package has released, and what waits."""
    row = "{:<22} {:<9} {:<9} {:<10} {}".format
    print(row("package", "version", "released", "fragments", "next"))
    for one in packages():
        last = versioning.last_release(one)
        waiting = len(changelogs.fragments(one))
        if missing := list(versioning.unknown_tag(one, last)):
            following = missing[0]
        elif waiting or (last and changed(one, tag_of(one.name, last))):
            need = versioning.least_next(one)
            following = f"{need.version} or newer: {need.why}"
            if not waiting:
                following += "; changed without a fragment"
        else:
            following = "nothing to release"
        print(row(one.name, one.version, last or "-", waiting, following))
    return 0


def told_since(base: str) -> int:
    """Say which packages have changed since `base` without a fragment, for a pull request."""
    start = git("merge-base", base, "HEAD")
    silent = 0
    for one in packages():
        since = start
        for version in tags(one.name):
            tag = tag_of(one.name, version)
            if is_ancestor(since, tag) and is_ancestor(tag, "HEAD"):
                since = tag  # what a release has moved to the changelog is told
        files = changed(one, since)
        folder = f"packages/{one.name}/changes"
        new = git("diff", "--name-only", "--diff-filter=d", since, "HEAD", "--", f"{folder}/*.md")
        if files and not new:
            silent += 1
            print(versioning.untold(one, base, files))
    return 1 if silent else 0


# --- what stands against it ---


def unfit_checkout(branch: str) -> Iterator[str]:
    """A release is made of what is committed, on a branch."""
    if branch == "HEAD":
        yield "HEAD is on no branch, and a release is a commit on one: git switch BRANCH"
    dirt = git("status", "--porcelain").splitlines()
    if dirt:
        files = [line[3:] for line in dirt]
        yield f"what is not committed would not be released: commit or stash {listed(files)}"


def unfit_index(index: Path | None, one: Package, version: str) -> Iterator[str]:
    """A version in an index is never another one later."""
    if index and simple_index.has(index, one.name, version):
        yield f"the index {index} has {one.name} {version} already: choose a new version or index"


def unfit_day(one: Package, day: date) -> Iterator[str]:
    """Changelogs are sorted by their days."""
    newest = next(iter(changelogs.releases(one)), None)
    if newest and day.isoformat() < newest.day:
        yield f"{day} is before {newest.day}, the day of {one.name} {newest.version}: --date is later"


def unfit_tagged(one: Package, version: str) -> Iterator[str]:
    """The tag, the version and the changelog say the same, and the version follows from the API."""
    tag = tag_of(one.name, version)
    newest = next((release.version for release in changelogs.releases(one)), "none")
    if one.version != version:
        yield f"{tag} is at a commit where {one.name} is {one.version}: tag the commit of the release"
    if newest != version:
        yield f"{tag} is at a commit where the newest heading of its changelog is {newest}"
    if waiting := changelogs.fragments(one):
        yield f"{tag} leaves changes untold: {listed([one.path.name for one in waiting])}"
    last = versioning.last_release(one, before=version)
    missing = list(versioning.unknown_tag(one, last))
    yield from missing
    if last and not missing:
        yield from versioning.unfit_api(one, last, version)


def unfit_conventions(one: Package, tree: Path, *, fix: bool) -> list[str]:
    """What tools/check_packages.py finds in the tree of the release, and does not write anew."""
    command = [sys.executable, str(tree / "tools" / "check_packages.py")]
    said = subprocess.run([*command, *(["--fix"] if fix else [])], capture_output=True, text=True)
    if said.returncode not in (0, 1) or (said.returncode and said.stderr):
        return [f"tools/check_packages.py could not look at {one.name}:\n{said.stderr}"]
    # A new core must be in the range of every package beside it; else those are not looked at.
    beside = [other.name for other in packages() if one.name not in (CORE, other.name)]
    elsewhere = tuple(f"packages/{name}/" for name in beside)
    return [
        line
        for line in said.stdout.splitlines()
        if not line.endswith(": written anew") and not line.startswith(elsewhere)
    ]


def checked(one: Package, version: str, commit: str, folder: Path, *, tests: bool) -> Built:
    """The two files of a release, built from its commit, when nothing is wrong with them."""
    say("building it twice, in two folders and time zones")
    built, differ = distributions.build_twice(one, commit, folder)
    say("looking at the source distribution and the wheel")
    refuse_if(
        [
            *differ,
            *distributions.unfit_metadata(built),
            *distributions.unfit_contents(one, version, built),
        ]
    )
    for core in cores(one, folder):
        beside = f"with {core.name}" if core else "alone"
        environment = folder / f"environment-{core.name if core else 'alone'}"
        say(f"installing it in an empty environment, {beside}")
        refuse_if(distributions.unfit_installed(one, version, built.wheel, core, environment))
        if tests:
            say(f"running its own tests there, {beside}")
            sources = folder / "sources"
            refuse_if(distributions.unfit_tested(one, built, core, environment, sources))
    return built


def cores(one: Package, folder: Path) -> list[Path | None]:
    """Wheels of the oldest and the newest released core that the package takes; none for the core."""
    if one.name == CORE:
        return [None]
    admitted = versioning.admitted_cores(one)
    ends = sorted({admitted.index(version) for version in (admitted[0], admitted[-1])})
    return [released_core(admitted[place], folder) for place in ends]


def refuse_if(problems: Iterable[str]) -> None:
    """End with these sentences, if there are any."""
    found = list(problems)
    if found:
        raise refusal(found)


def refusal(sentences: Sequence[str]) -> SystemExit:
    """What ends the command, with these sentences."""
    return SystemExit("\n".join(f"release: refused: {sentence}" for sentence in sentences))


# --- what it writes ---


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A checkout of a commit in a temporary folder, on no branch."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        tree = Path(folder, "tree")
        git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def write(one: Package, version: str, day: date) -> str:
    """Set the version of a package, move its fragments to its changelog, and return that section."""
    about = one.source / "__about__.py"
    about.write_text(f'__version__ = "{version}"\n', "utf-8")
    fragments = changelogs.fragments(one)
    section = changelogs.section(version, day.isoformat(), fragments)
    changelog = one.folder / "CHANGELOG.md"
    changelog.write_text(changelogs.with_section(changelog.read_text("utf-8"), section), "utf-8")
    for fragment in fragments:
        fragment.path.unlink()
    # git keeps no empty folder, and the next fragment wants it.
    (one.folder / "changes" / ".gitkeep").touch()
    return section


def say(what: str) -> None:
    print(f"release: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
