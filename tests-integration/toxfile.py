"""The environments of single packages, read off ``packages/*/pyproject.toml``; tox loads this file.

* ``pkg-py311-wandb``: the package's wheel with the wheel of this tree's core, the newest versions of
  what they need, and nothing else, on one Python. The core itself is ``pkg-py311-core``.
* ``lowest-wandb``: the same with the lowest versions that its pyproject.toml declares, among them
  the oldest core that was released.

The tests come from the package's source distribution. A new package has its environments at once;
those of several packages together are in tox.toml. ``python3 tools/dev.py tox:wheelhouse`` builds.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.config.types import Command
from tox.plugin import impl
from tox.session.state import State
from tox.tox_env.python.pip.req_file import PythonDeps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from monorepo import CORE, ROOT, Package, package, packages  # found by the line above
from wheelhouse import SOURCES, oldest_core, wheel_of  # likewise


@impl
def tox_extend_envs() -> Iterable[str]:
    return [name for name, _ in _environments()]


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    rest = state.conf.pos_args(None) or ()
    for name, one in _environments():
        state.conf.memory_seed_loaders[name].append(_Alone(name, one, rest))


def _environments() -> Iterator[tuple[str, Package]]:
    for one in packages():
        for name in one.environments:
            yield name, one


class _Alone(MemoryLoader):
    """What an environment of one package is; its wheels are looked for when that is asked."""

    def __init__(self, name: str, one: Package, rest: tuple[str, ...]) -> None:
        lowest = name.startswith("lowest-")
        tests = SOURCES / one.name
        pytest = ["pytest", "-c", str(tests / "pyproject.toml"), str(tests / "tests"), *rest]
        if one.name == CORE:
            # What they say is about the tests, and the README's test command asks it once.
            pytest.append(f"--ignore={tests / 'tests' / 'seeded_bugs'}")
        super().__init__(
            description=f"{one.name} alone, {'lowest' if lowest else 'newest'} versions",
            commands=[
                Command(["python", str(ROOT / "tools" / "installed_alone.py"), one.name]),
                Command(pytest),
            ],
        )
        if lowest:
            python = f"python{one.environments[name]}"
            self.raw |= {"base_python": [python], "uv_resolution": "lowest-direct"}
        self._one, self._lowest = one, lowest

    def found_keys(self) -> set[str]:
        return {*super().found_keys(), "deps"}

    def load_raw(self, key: str, conf: object, env_name: str | None) -> object:
        if key == "deps":
            return PythonDeps("\n".join(self._requirements()), root=ROOT)
        return super().load_raw(key, conf, env_name)

    def _requirements(self) -> Iterator[str]:
        one, core = self._one, package(CORE)
        yield _requirement(one, wheel_of(one))
        yield from one.test_requirements
        if self._lowest:
            # Named here, they are direct requirements, which is what the resolver takes the lowest of.
            for told in dict.fromkeys([one, core]):
                yield from told.project["dependencies"]
                for more in told.project.get("optional-dependencies", {}).values():
                    yield from more
        if one != core:
            yield _requirement(core, oldest_core(one) if self._lowest else wheel_of(core))


def _requirement(one: Package, wheel: Path) -> str:
    """The requirement of this wheel: another one once its content has changed."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{one.name} @ {wheel.as_uri()}#sha256={digest}"
