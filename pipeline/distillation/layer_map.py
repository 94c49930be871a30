"""The layer map: which teacher layer each student layer matches (Sun et al. 2019, section 3.2).

Layers are numbered 1..L in the teacher and 1..N in the student. Student layers 1..N-1 are matched; the teacher's
last layer never is, since its [CLS] already decides the logits.
"""

from collections.abc import Callable, Collection, Mapping

from pipeline.config.methods import METHODS, Method
from pipeline.errors import BadOption, one_line


def pkd_skip(teacher_depth: int, student_depth: int) -> tuple[int, ...]:
    """Return every few layers: student layer j matches ⌊j·L/N⌋. 12 → 6: (2, 4, 6, 8, 10)."""
    return tuple(j * teacher_depth // student_depth for j in range(1, student_depth))


def pkd_last(teacher_depth: int, student_depth: int) -> tuple[int, ...]:
    """Return the last layers before the final one: j matches L − 1 − K + j, K = N − 1. 12 → 6: (7, 8, 9, 10, 11)."""
    return tuple(teacher_depth - student_depth + j for j in range(1, student_depth))


# Name in a method's `layer_map` -> teacher layers of student layers 1..N-1, from L and N.
LAYER_MAPS: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {"skip": pkd_skip, "last": pkd_last}
CUSTOM = "custom"


def parse_layers(option: str, text: str, teacher_depth: int) -> tuple[int, ...]:
    """Return layer numbers written as 2,4. Raises `BadOption` if out of 1..L-1, repeated or not rising."""
    layers = layer_numbers(option, text)
    for layer in layers:
        if not 1 <= layer < teacher_depth:
            raise BadOption(
                f"{option} {text}: layer {layer} is outside 1..{teacher_depth - 1} (the last of the teacher's "
                f"{teacher_depth} layers is never matched)"
            )
    return layers


def layer_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return layer numbers written as 2,4. Raises `BadOption` if repeated or not rising."""
    try:
        layers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadOption(f"{option} takes layer numbers as 2,4, not {one_line(text, 60)!r}") from None
    if len(set(layers)) < len(layers):
        raise BadOption(f"{option} {text}: a layer is repeated. Name each once")
    if list(layers) != sorted(layers):
        rising = ",".join(map(str, sorted(layers)))
        raise BadOption(f"{option} {text}: layers must rise. Try {option} {rising}")
    return layers


def student_depth(requested: int | None, teacher_depth: int) -> int:
    """Return N: as requested, by default half of the teacher's. Raises `BadOption` for more than the teacher has."""
    depth = requested or max(1, teacher_depth // 2)
    if depth > teacher_depth:
        raise BadOption(
            f"--student-layers {depth}: the teacher has only {teacher_depth} layers. "
            f"Use --student-layers {max(1, teacher_depth // 2)}, or any number up to {teacher_depth}"
        )
    return depth


def resolve_layer_map(
    name: str, by_hand: str | None, student: int, teacher_depth: int, kept: Collection[int]
) -> tuple[Method, tuple[int, ...]]:
    """Return the method that is meant and the teacher layers that student layers 1..N-1 match; none for FT and KD.

    A map by hand belongs to the method whose map it is, else to pkd-custom. Raises `BadOption` for a map that
    does not fit the depths, or that needs layers that the cache does not keep.
    """
    method = METHODS[name]
    if not method.matches_layers:
        if by_hand:
            raise BadOption(f"--teacher-layers does not apply to --method {name}. Leave it out, or use pkd-skip")
        return method, ()
    if not teacher_depth:
        raise BadOption(
            f"the targets of this cache were made elsewhere: it has no layers for {name} to match. Use --method kd"
        )
    if student == 1:
        raise BadOption(f"a student of one layer does not have a layer for {name} to match. Use --method kd")
    if student > teacher_depth:
        raise BadOption(
            f"a student of {student} layers is deeper than the teacher, whose {teacher_depth} layers {name} matches. "
            "Use --method kd"
        )
    layers = LAYER_MAPS[method.layer_map or CUSTOM](teacher_depth, student)
    if by_hand:
        layers_by_hand = parse_layers("--teacher-layers", by_hand, teacher_depth)
        if len(layers_by_hand) != student - 1:
            raise BadOption(
                f"--teacher-layers {by_hand}: a student of {student} layers matches {student - 1}, not "
                f"{len(layers_by_hand)}. Try --student-layers {len(layers_by_hand) + 1}"
            )
        if layers_by_hand != layers:
            layers, method = layers_by_hand, _method_of(layers_by_hand, method, student, teacher_depth)
    missing = [layer for layer in layers if layer not in kept]
    if missing:
        if not kept:
            raise BadOption("the cache keeps no teacher layers. Use --method kd, or cache again with --layers all")
        raise BadOption(
            f"the cache keeps teacher layers {_listed(kept)}, not {_listed(missing)}. "
            "Use --teacher-layers with layers that it keeps, or cache again with --layers all"
        )
    return method, layers


def _method_of(layers: tuple[int, ...], named: Method, student: int, teacher_depth: int) -> Method:
    """Return the method of the same terms whose map these layers are, else the one of maps by hand."""
    candidates = [method for method in METHODS.values() if method.terms == named.terms]
    for method in candidates:
        layer_map = LAYER_MAPS.get(method.layer_map or CUSTOM)
        if layer_map is not None and layer_map(teacher_depth, student) == layers:
            return method
    return next((method for method in candidates if method.layer_map == CUSTOM), named)


def _listed(layers: Collection[int]) -> str:
    return ",".join(map(str, layers))
