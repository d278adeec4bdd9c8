"""Which process am I? The rank of this one among all that train together.

torch is never imported from here: it is asked only where the training script has imported it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

__all__ = ["PartialState"]

P = ParamSpec("P")
R = TypeVar("R")


class _Place(NamedTuple):
    """A process among those that train together: global rank, rank on its host, world size."""

    rank: int
    local_rank: int
    world_size: int


class PartialState:
    """The place of this process in a distributed job, as far as anyone has said so yet.

    Order of evidence: an initialised ``torch.distributed`` (when torch is already imported), then
    ``RANK``/``WORLD_SIZE`` (torchrun), Open MPI, PMI (MPICH, Intel MPI), SLURM (only inside
    ``srun`` with more than one task), an initialised JAX, a Ray Train worker, else one process.
    The evidence is looked at each time a `PartialState` is made, and all of them share what was
    found last; before the first one nothing was looked at and ``_shared_state`` is empty.

    Attributes:
        process_index: rank in the job, from 0.
        local_process_index: rank on this host, from 0.
        num_processes: world size.
    """

    _shared_state: ClassVar[dict[str, Any]] = {}

    process_index: int
    local_process_index: int
    num_processes: int

    def __init__(self) -> None:
        place = _find_place()
        self.__dict__ = self._shared_state
        self.process_index = place.rank
        self.local_process_index = place.local_rank
        self.num_processes = place.world_size

    @property
    def is_main_process(self) -> bool:
        """Whether this is rank 0, the one process that logs."""
        return self.process_index == 0

    @property
    def is_local_main_process(self) -> bool:
        """Whether this is the first process of its host."""
        return self.local_process_index == 0

    def on_main_process(self, function: Callable[P, R]) -> Callable[P, R | None]:
        """`function` itself on the main process, elsewhere one that does nothing."""
        return function if self.is_main_process else _do_nothing

    def __repr__(self) -> str:
        return f"PartialState(process_index={self.process_index}, local_process_index={self.local_process_index}, num_processes={self.num_processes})"


def _do_nothing(*args: object, **kwargs: object) -> None:
    return None


def _find_place() -> _Place:
    return (
        _from_torch()
        or _from_variables(os.environ, "RANK", "WORLD_SIZE", "LOCAL_RANK")
        or _from_variables(
            os.environ,
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
        )
        or _from_variables(os.environ, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID")
        or _from_slurm(os.environ)
        or _from_jax()
        or _from_ray()
        or _Place(rank=0, local_rank=0, world_size=1)
    )


def _from_torch() -> _Place | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    rank = distributed.get_rank()
    local_rank = _integer(os.environ.get("LOCAL_RANK"))
    return _Place(rank, rank if local_rank is None else local_rank, distributed.get_world_size())


def _from_variables(
    environ: Mapping[str, str], rank_name: str, size_name: str, local_rank_name: str
) -> _Place | None:
    rank, size = _integer(environ.get(rank_name)), _integer(environ.get(size_name))
    if rank is None or size is None:
        return None
    local_rank = _integer(environ.get(local_rank_name))
    return _Place(rank, rank if local_rank is None else local_rank, size)


def _from_slurm(environ: Mapping[str, str]) -> _Place | None:
    # A batch script that was not started by srun has SLURM_PROCID=0 and SLURM_NTASKS=n too; only
    # srun sets the step's own task count.
    tasks = _integer(environ.get("SLURM_STEP_NUM_TASKS"))
    if tasks is None or tasks < 2:
        return None
    rank = _integer(environ.get("SLURM_PROCID"))
    if rank is None:
        return None
    local_rank = _integer(environ.get("SLURM_LOCALID"))
    return _Place(rank, rank if local_rank is None else local_rank, tasks)


def _from_jax() -> _Place | None:
    distributed = sys.modules.get("jax.distributed")
    # is_initialized came with JAX 0.4.34; asking an older one for its rank would start a backend.
    is_initialized = getattr(distributed, "is_initialized", None)
    if is_initialized is None or not is_initialized():
        return None
    jax = sys.modules["jax"]
    rank = jax.process_index()
    return _Place(rank, 0, jax.process_count())


def _from_ray() -> _Place | None:
    train = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        context = train.get_context()
        return _Place(context.get_world_rank(), context.get_local_rank(), context.get_world_size())
    except Exception:  # outside a training worker Ray raises, with a type that changed over time
        return None


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
