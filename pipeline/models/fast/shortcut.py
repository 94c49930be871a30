"""Use of a shortcut where it computes what the plain model does: outputs and gradients on a probe batch."""

from collections.abc import Sequence
from typing import Any, Protocol

from pipeline.models.probe import Observation, observe
from pipeline.system.digests import config_digest
from pipeline.system.progress import note
from pipeline.system.system_errors import raise_if_of_system


class Shortcut(Protocol):
    """A faster way to compute a part of one model."""

    name: str

    def applies(self) -> bool:
        """Return whether the model looks as if the shortcut fits it."""
        ...

    def apply(self) -> None:
        """Let the model use it."""
        ...

    def undo(self) -> None:
        """Let the model compute as before."""
        ...


# (digest of the configuration, class, device, shortcut) -> whether it is equal. A sweep trains the same shape again.
_verdicts: dict[tuple[str, type, str, str], bool] = {}


def use_where_equal(model: Any, shortcuts: Sequence[Shortcut]) -> list[str]:
    """Use those shortcuts of `model` that are equal, in this order; return their names.

    Models of one configuration are compared once in a process. A shortcut that fails or differs leaves a note.
    """
    fitting = [shortcut for shortcut in shortcuts if shortcut.applies()]
    keys = [
        (config_digest(model.config), type(model), next(model.parameters()).device.type, shortcut.name)
        for shortcut in fitting
    ]
    if not all(key in _verdicts for key in keys):
        plain = observe(model)
        if _equal(model, fitting, plain):
            _verdicts.update(dict.fromkeys(keys, True))
        else:  # which of them?
            for key, shortcut in zip(keys, fitting, strict=True):
                _verdicts[key] = _equal(model, [shortcut], plain)
                if not _verdicts[key]:
                    kind = model.config.model_type
                    note(f"{kind}: computed without a shortcut that does not fit it ({shortcut.name})")
    used = [shortcut for key, shortcut in zip(keys, fitting, strict=True) if _verdicts[key]]
    for shortcut in used:
        shortcut.apply()
    return [shortcut.name for shortcut in used]


def _equal(model: Any, shortcuts: Sequence[Shortcut], plain: Observation) -> bool:
    """Return whether the model computes the same with these shortcuts, which are not in use afterwards."""
    for shortcut in shortcuts:
        shortcut.apply()
    try:
        return plain.equals(observe(model))
    except Exception as error:  # an architecture that a shortcut was not made for may raise anything
        raise_if_of_system(error)
        return False
    finally:
        for shortcut in reversed(shortcuts):
            shortcut.undo()
