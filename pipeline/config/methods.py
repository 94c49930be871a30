"""The table of methods: which loss terms a student is trained with, and how its layers are matched."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a student."""

    name: str
    display_name: str
    terms: tuple[str, ...]  # names in LOSS_TERMS (pipeline/distillation/losses.py)
    layer_map: str | None = None  # name in LAYER_MAPS (pipeline/distillation/layer_map.py); None: matches no layers
    selectable: bool = True  # by --method; else it follows from other options

    @property
    def matches_layers(self) -> bool:
        """Whether student layers are matched with teacher layers."""
        return self.layer_map is not None


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(name="ft", display_name="FT", terms=("label",)),
        Method(name="pseudo", display_name="Pseudo-labels", terms=("pseudo-label",)),
        Method(name="kd", display_name="KD", terms=("label", "logit")),
        Method(name="pkd-skip", display_name="PKD-Skip", terms=("label", "logit", "patience"), layer_map="skip"),
        Method(name="pkd-last", display_name="PKD-Last", terms=("label", "logit", "patience"), layer_map="last"),
        Method(
            name="pkd-custom",
            display_name="PKD-custom",
            terms=("label", "logit", "patience"),
            layer_map="custom",
            selectable=False,  # --teacher-layers names another map
        ),
    )
}
METHOD_CHOICES = tuple(method.name for method in METHODS.values() if method.selectable)
