"""Reads what the user asks to compare: ``leaky_relu:0.2,prelu:channel,rrelu,mypkg.act:Mine``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal, cast

from relume import activations
from relume.activations import ACTIVATIONS, Activation
from relume.artifacts.treatments import EVERY, REVIVER_RULES, SHORT, TREATMENTS
from relume.artifacts.trial import Contender
from relume.errors import ParameterError, StudyError, UnknownName, unknown_name

_OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SLOPES = ("channel", "shared")


def parse_contenders(text: str | Iterable[str]) -> tuple[Contender, ...]:
    """Read a list of contenders, separated by commas.

    Raises: as :func:`parse_contender`; StudyError: the list is empty, or names one twice.

    Example:
        >>> [c.name for c in parse_contenders("ELU, leaky_relu:0.2")]
        ['elu', 'leaky_relu:0.2']
    """
    parts = text.split(",") if isinstance(text, str) else [part for each in text for part in each.split(",")]
    found = tuple(parse_contender(part) for part in parts if part.strip())
    names = [contender.name for contender in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not found or twice:
        what = f"names {twice[0]!r} twice" if twice else "names no activation"
        raise StudyError(
            f"The list of contenders {what}. Name each contender once, such as --with leaky_relu:0.2,elu,gelu.",
            slug="bad-contenders",
        )
    return found


def parse_contender(text: str) -> Contender:
    """Read one contender: an activation with its parameters after colons, ``package.module:name``, or a treatment.

    The parameters are those of the activation's definition, in its order: ``rrelu:0.1:0.3``. A PReLU first says what
    shares a slope, "channel" (one per unit; the default) or "shared" (one per site), then the start value:
    ``prelu:shared:0.1``.

    Raises: UnknownName: no such activation. ParameterError: too many parameters, one that is not a number, or one out
    of bounds.

    Example:
        >>> read = parse_contender("LeakyReLU:0.2")
        >>> read.name, read.activation, read.parameters
        ('leaky_relu:0.2', 'leaky_relu', {'negative_slope': 0.2})
    """
    head, *given = (part.strip() for part in text.split(":"))
    if head in TREATMENTS:
        return parse_treatment(text)
    try:
        activation = activations.get(head)
    except UnknownName:
        if _OWN.fullmatch(text.strip()):
            return Contender(text.strip(), target=text.strip())
        raise
    if not activation.elementwise:
        raise ParameterError(
            f"{activation.title} mixes the units of a layer and cannot replace {ACTIVATIONS['relu'].title}. Compare "
            "elementwise activations.",
            slug="bad-contenders",
        )
    slopes: Literal["", "channel", "shared"] = ""
    if activation.name == "prelu":
        slopes = "channel"
        if given and given[0] in _SLOPES:
            slopes = cast(Literal["channel", "shared"], given.pop(0))
    name = ":".join((activation.name, *([slopes] if slopes else []), *given))
    return Contender(name, activation.name, _parameters(activation, given), slopes)


def parse_treatment(text: str) -> Contender:
    """Read one of ``TREATMENTS`` with its parameters after colons: ``lr:1/4``, ``clip``, ``revive:redo:0.1``.

    Raises: UnknownName: no such treatment or rule. ParameterError: a parameter missing, too many, or not above 0.

    Example:
        >>> parse_treatment("lr:1/4").parameters, parse_treatment("revive").parameters
        ({'factor': 0.25}, {'rule': 'gaps', 'false_resets': 0.001, 'every': 100})
    """
    head, *given = (part.strip() for part in text.split(":"))
    if head not in TREATMENTS:
        raise unknown_name("treatment", head, TREATMENTS)
    known: dict[str, Any] = dict(TREATMENTS[head].parameters)
    rule = {}
    if head == "revive":
        name = SHORT.get(given[0], given[0]) if given else "gaps"
        if name not in REVIVER_RULES:
            raise unknown_name("rule", name, [*REVIVER_RULES, *SHORT])
        rule, known, given = {"rule": name}, {**REVIVER_RULES[name], "every": EVERY[name]}, given[1:]
    read = {name: _number(head, name, part) for name, part in zip(known, given, strict=False)}
    missing = [name for name, default in known.items() if default is None and name not in read]
    if missing or len(given) > len(known):
        what = f"{missing[0]} is missing" if missing else f"{':'.join(given)} has more parts than it has parameters"
        raise ParameterError(
            f"{text}: {what}. Write {':'.join([head, *rule.values(), *known])}, such as "
            f"{':'.join([head, *rule.values(), *(f'{default or 0.25:g}' for default in known.values())])}.",
            slug="bad-contenders",
        )
    return Contender(text.strip(), parameters={**rule, **known, **read}, treatment=head)


def _number(head: str, name: str, text: str) -> float:
    above, _, below = text.partition("/")
    try:
        number = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ParameterError(f"{name} of {head} is {text!r}; it must be a number above 0.", slug="bad-contenders")
    return number


def _parameters(activation: Activation, given: list[str]) -> dict[str, Any]:
    if len(given) > len(activation.parameters):
        known = ", ".join(parameter.name for parameter in activation.parameters) or "none"
        raise ParameterError(
            f"{activation.title}: {':'.join(given)} has more parts than it has parameters ({known}). "
            f"Write {':'.join([activation.name, *(p.name for p in activation.parameters)])}.",
            slug="bad-contenders",
        )
    read: dict[str, Any] = {}
    for parameter, part in zip(activation.parameters, given, strict=False):
        try:
            read[parameter.name] = part if parameter.choices else float(part)
        except ValueError:
            raise ParameterError(
                f"{activation.title}: {part!r} is not a number for {parameter.name} ({parameter.meaning}). "
                f"Give one in {parameter.interval}, such as {activation.name}:{parameter.default}.",
                slug="bad-contenders",
            ) from None
    activation.check(**read)
    return read
