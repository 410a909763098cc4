"""A pretended GPU: tensors that are said to be there, and a mode that finds what a real one refuses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

HOST, DEVICE = torch.device("cpu"), torch.device("cuda")
READ_BY_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)
ASKED = {torch.Tensor.device.__get__: DEVICE, torch.Tensor.is_cuda.__get__: True}  # type: ignore[attr-defined]
COPIED = (torch.Tensor.copy_, torch.Tensor.__setitem__)
JOINED = (torch.cat, torch.stack)


class WrongDeviceError(AssertionError):
    """An operation that a GPU refuses."""


def there(value: object) -> bool:
    """Whether it is a tensor on the pretended device."""
    return isinstance(value, torch.Tensor) and "pretended" in value.__dict__


def put(value: Any, device: torch.device) -> Any:
    """All tensors in ``value`` are said to be there."""
    for one in tree_leaves(value):
        if isinstance(one, torch.Tensor):
            one.__dict__.pop("pretended", None)
            if device.type == DEVICE.type:
                one.__dict__["pretended"] = True
    return value


class PretendedDevice(TorchFunctionMode):
    """Within it tensors can be moved to "cuda", where they and what is made of them stay.

    It raises ``WrongDeviceError`` where tensors of both sides meet and torch forbids it, and where NumPy
    is given one of there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if self.paused:
            return func(*args, **kwargs)
        if func in ASKED:
            return ASKED[func] if there(args[0]) else func(*args)
        if func in (torch.Tensor.cpu, torch.Tensor.to):
            return self._moved(func, args, kwargs)
        if func in READ_BY_NUMPY and there(args[0]):
            raise WrongDeviceError("NumPy cannot read it")
        asked = kwargs.get("device")
        if asked is not None:
            kwargs["device"] = HOST
        self._check(func, args, kwargs)
        found = func(*args, **kwargs)
        if func in COPIED:
            return found  # where it was
        if func is torch.Tensor.__iter__:
            found = list(found)
        device = torch.device(asked) if asked is not None else HOST
        if asked is None and any(map(there, tree_leaves((args, kwargs)))):
            device = DEVICE
        if device.type == DEVICE.type:
            put(found, DEVICE)
        return iter(found) if func is torch.Tensor.__iter__ else found

    def _moved(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value, rest = args[0], list(args[1:])
        device = HOST if func is torch.Tensor.cpu else kwargs.pop("device", None)
        for place, asked in enumerate(rest):
            if isinstance(asked, str | torch.device):
                device = torch.device(rest.pop(place))
                break
        before = DEVICE if there(value) else HOST
        after = before if device is None else torch.device(device)
        found = value.to(*rest, **kwargs) if rest or kwargs else value
        if found is value and after.type == before.type:
            return value
        return put(found.clone() if found is value else found, after)

    def _check(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        far = [one for one in tensors if there(one)]
        if len(far) in (0, len(tensors)) or func is torch.Tensor.copy_:
            return
        near = [one for one in tensors if not there(one)]
        if func is torch.Tensor.__getitem__ and there(args[0]):
            return  # by numbers from either side
        if func is torch.Tensor.__setitem__ and not any(
            isinstance(one, torch.Tensor) for one in tree_leaves(args[1])
        ):
            return  # a copy
        if all(one.dim() == 0 for one in near) and func not in JOINED:
            return
        raise WrongDeviceError(f"{getattr(func, '__name__', func)} of tensors on both sides")


@contextmanager
def pretended_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block ``device: cuda`` is played on the CPU, and what a GPU refuses raises.

    Not looked at is what is mapped over clients, the layers below the output: there tensors are others.
    """
    mode = PretendedDevice()
    real_map = torch.func.vmap

    def mapped(*arguments: Any, **named: Any) -> Callable[..., Any]:
        def play(*values: Any) -> Any:
            mode.paused = True
            try:
                return put(real_map(*arguments, **named)(*values), DEVICE)
            finally:
                mode.paused = False

        return play

    monkeypatch.setattr(torch.func, "vmap", mapped)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1 << 30, 1 << 30))
    with mode:
        yield
