"""Objects of other libraries, recognised without importing these.

An object of theirs can only come from a program that has imported them, so `sys.modules` tells.
"""

from __future__ import annotations

import sys
from typing import Any

from tracking_core.errors import UnfitValueError

__all__ = ["array_of", "imported_numpy", "is_a", "without_mask"]

_FLOATS_OF_NUMPY = ("torch.float16", "torch.float32", "torch.float64")


def is_a(module: str, name: str, value: object) -> bool:
    """Whether `value` is an instance of the class `name` of `module`."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def array_of(value: object) -> Any:
    """`value` as a numpy array if it is an array or tensor of any library, else None.

    It shares the memory of `value` where that is possible. Its dtype is one of numpy's own: bfloat16
    and the like become float32. An array with a mask keeps it (`without_mask`).

    Raises:
        UnfitValueError: it is a tensor without values.
    """
    if is_a("torch", "Tensor", value):
        return _of_tensor(value)
    if is_a("numpy", "ndarray", value):
        return _of_numpy(value)
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        numpy = sys.modules.get("numpy")
        return None if numpy is None else _of_numpy(numpy.asarray(value))
    return None


def imported_numpy() -> Any:
    """numpy itself, for whoever holds one of its arrays."""
    return sys.modules["numpy"]


def is_masked(array: Any) -> bool:
    """Whether anything in `array` is masked."""
    return is_a("numpy.ma", "MaskedArray", array) and bool(array.mask.any())


def without_mask(array: Any, fill: Any) -> Any:
    """`array` with `fill` in the place of what is masked; itself if nothing is."""
    if not is_a("numpy.ma", "MaskedArray", array):
        return array
    return array.filled(fill) if is_masked(array) else array.data


def _of_tensor(tensor: Any) -> Any:
    if tensor.device.type == "meta":
        raise UnfitValueError("a tensor on the meta device has no values")
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    tensor = tensor.cpu()
    if tensor.is_floating_point() and str(tensor.dtype) not in _FLOATS_OF_NUMPY:
        tensor = tensor.float()
    elif tensor.is_complex():
        tensor = tensor.cfloat()
    return tensor.resolve_conj().resolve_neg().numpy()


def _of_numpy(array: Any) -> Any:
    if not is_a("numpy.ma", "MaskedArray", array):
        # A matrix has two axes whatever is done to it.
        array = array.view(imported_numpy().ndarray)
    if array.dtype.isbuiltin != 2:
        return array
    # Dtypes that others have added: those of ml_dtypes, which JAX has, for instance.
    name = array.dtype.name
    whole = "int8" if name.startswith("int") else "uint8" if name.startswith("uint") else None
    return array.astype(whole or "float32")
